"""What hardening did, in plain words that are right whichever way it went."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.verdicts import way_of
from steadyread.registry import METHODS
from steadyread.units import number_of
from steadyread.words.numbers import counted, factor, p_shown, percent, points, show_size_json

Compared = Mapping[str, Any]


def method_name(method: str | None) -> str:
    """A hardening's name as the literature writes it."""
    return METHODS.title(method or "hardening")


def headline(found: Compared, epsilon: float | None) -> Mapping[str, Any] | None:
    """The size that a verdict speaks of: the training's own, else the largest that is told; None without any."""
    told = [row for row in found["sizes"] if row["merged"] is not None]
    if epsilon is not None:
        own = [row for row in told if math.isclose(number_of(row["size"]), epsilon, rel_tol=1e-6)]
        if own:
            return dict(own[0])
    return max(told, key=lambda row: number_of(row["size"]), default=None)


def failure(training: Mapping[str, Any] | None, found: Compared | None) -> str | None:
    """Why a hardening is none, in one or two sentences; None where it is one."""
    if training and training.get("failed"):
        sentence = str(training["failed"]).strip()
        return f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}. No gain is claimed."
    if found and found["classes"]["after"] == 1 < found["classes"]["label"]:
        if found["classes"]["before"] == 1:
            return ("The network reads every image as one and the same class, before hardening and after it: its "
                    "steadiness is worth nothing.")
        return ("After hardening every image is read as one and the same class: the network has stopped reading, "
                "and its steadiness is worth nothing.")
    return None


def hardening_verdict(found: Compared | None, training: Mapping[str, Any] | None,
                      epsilon: float | None = None) -> str:
    """What hardening did to accuracy under attack, clean accuracy and smallest flips, each in a sentence."""
    first = hardening_short(found, training, epsilon)
    if found is None or failure(training, found) or (training and training.get("chosen_epoch") == 0):
        return first
    clean = clean_said(found["clean"])
    said = [first, clean if clean != first else None, flips_said(found["flips"])]
    return " ".join(filter(None, said))


def hardening_short(found: Compared | None, training: Mapping[str, Any] | None,
                    epsilon: float | None = None) -> str:
    """The first sentence of `hardening_verdict`: the accuracy under attack, or why there is no gain."""
    failed = failure(training, found)
    if failed or found is None:
        return failed or "The hardened network has not been assessed yet."
    if training and training.get("chosen_epoch") == 0:
        return ("No epoch of the hardening was better on the validation images than the network it started from, "
                "which was kept: there is no gain.")
    row = headline(found, epsilon)
    return under_attack(row, found) if row else clean_said(found["clean"])


def doubt_said(failed: Sequence[str]) -> str:
    """What takes a gain back: the checks of the hardened network's evaluation that failed; empty without any."""
    return (" But this cannot be trusted while these checks of the hardened network fail: "
            f"{', '.join(failed)}.") if failed else ""


def under_attack(row: Mapping[str, Any], found: Compared) -> str:
    """The accuracy under attack at one size, before and after."""
    merged = row["merged"]
    size = f"{'changes of at most' if row['exact'] else 'the attacks tried at'} {show_size_json(row['size'])}"
    reads = (f"under {size}, {percent(merged.after.value)} of the images are read right after hardening and "
             f"{percent(merged.before.value)} before")
    told = _told(merged)
    return {"better": f"Hardening made the reads steadier: {reads} ({told}).",
            "worse": f"Hardening made the reads less steady: {reads} ({told}).",
            "alike": f"Hardening made no detectable difference: {reads} ({told}).",
            "same": (f"Under {size} no image is read right, neither before hardening nor after it."
                     if merged.before.value == 0 else
                     f"Hardening changed nothing here: under {size} the very same images are read right after as "
                     f"before ({percent(merged.before.value)})."),
            "few": f"Whether hardening made the reads steadier cannot be told from {_patients(found)}: {reads}."
            }[way_of(merged)]


def clean_said(row: Contrast) -> str:
    """What became of the clean accuracy."""
    before, after = percent(row.before.value), percent(row.after.value)
    told = _told(row)
    return {"better": f"The clean accuracy rose from {before} to {after} ({told}).",
            "worse": f"The price: the clean accuracy fell from {before} to {after} ({told}).",
            "alike": f"On clean images the accuracy is {before} before and {after} after, no difference that can "
                     f"be told ({told}).",
            "same": ("On clean images no read is right, neither before nor after." if row.before.value == 0 else
                     f"On clean images the very same reads are right as before ({before})."),
            "few": f"On clean images the accuracy is {before} before and {after} after; too few patients tell the "
                   "difference."}[way_of(row)]


def flips_said(flips: Mapping[str, Any]) -> str | None:
    """How many smallest flips grew, and by what factor; None where there is none to compare."""
    if not flips["searched"] or not flips["images"]:
        return None
    middle: Estimate = flips["ratio"]
    words = (f"Of the {flips['images']} reads that are right in both, {percent(flips['larger'].value)} need a "
             f"larger change to flip than before and {percent(flips['smaller'].value)} a smaller one")
    if middle.value is None:
        return f"{words}."
    if math.isinf(middle.value):
        return f"{words}; most were not flipped any more."
    between = ("" if middle.low is None or middle.high is None
               else f" (95 % interval {factor(middle.low)} to {factor(middle.high)})")
    return f"{words}; the median size is {factor(middle.value)} times that before{between}."


def difference_said(difference: Estimate) -> str:
    """A difference with its interval: `+40.8 points, 95 % interval +35.1 to +46.0`."""
    if difference.low is None or difference.high is None:
        return f"{points(difference.value)} points"
    return (f"{points(difference.value)} points, 95 % interval {points(difference.low)} to "
            f"{points(difference.high)}")


def _told(row: Contrast) -> str:
    """The difference with its interval, and with p where that is why no difference is told."""
    p = f", p = {p_shown(row.p)}" if way_of(row) == "alike" else ""
    return difference_said(row.difference) + p


def _patients(found: Compared) -> str:
    return counted(found["patients"], "patient")
