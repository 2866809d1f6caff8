"""A hardening in words: key figures, the other hardenings beside it, how it was trained."""

import math
from collections.abc import Mapping
from typing import Any

from steadyread.metrics.contrasts import UNKNOWN, Contrast
from steadyread.report.accuracy_drawings import Trained
from steadyread.report.cards import FEW, bare, within
from steadyread.report.items import Card
from steadyread.units import Bounds, number_of
from steadyread.words.hardening import difference_said, headline, method_name
from steadyread.words.numbers import NONE, digits, factor, percent, points, show_native, show_size_json

Told = Mapping[str, Any]


def hardening_cards(told: Told) -> list[Card]:
    """The key figures: accuracy under attack and clean with their differences, and how the flips grew.

    None of a hardening that failed: its figures may look like a success.
    """
    found = told["compared"]
    if found is None or told["failed"]:
        return []
    made = []
    row = headline(found, number_of(told["at"])) if told["at"] else None
    if row:
        made.append(_paired_card(f"robust accuracy at {bare(row['size'])}", row["merged"]))
    made.append(_paired_card("clean accuracy", found["clean"]))
    flips = found["flips"]
    if flips["searched"] and flips["images"]:
        larger = flips["larger"]
        made.append(Card(percent(larger.value), f"of the {flips['images']} reads right in both need a larger change to "
                         "flip", within(larger, percent)))
        if flips["ratio"].value is not None:
            ratio = flips["ratio"]
            value = factor(ratio.value) if math.isinf(ratio.value) else f"× {factor(ratio.value)}"
            made.append(Card(value, "median smallest flip after, over that before", within(ratio, factor)))
    return made


def other_rows(told: Told) -> list[dict[str, Any]]:
    """The network before, the study's own hardening, then each that it is compared with.

    `difference` is the accuracy under attack minus that of the study's own, on the same images.
    """
    found = told["compared"]
    if found is None or not told["others"]:
        return []
    row = headline(found, number_of(told["at"])) if told["at"] else None
    merged: Contrast = row["merged"] if row else UNKNOWN
    training = told["training"]
    rows: list[dict[str, Any]] = [
            {"name": "before hardening", "method": "", "epsilon": None, "epoch": "", "failed": False,
             "clean": found["clean"].before, "robust": merged.before, "median": told["medians"]["before"]},
            {"name": "this study's", "method": method_name(training.get("method")), "epsilon": told["epsilon"],
             "epoch": epoch(training), "failed": bool(told["failed"]), "clean": found["clean"].after,
             "robust": merged.after, "median": told["medians"]["after"]}]
    rows += [{"name": other["name"].replace("_", " ") + _doubted(other), "method": method_name(other["method"]),
              "epsilon": other["epsilon"], "epoch": epoch(other["training"]), "failed": bool(other["failed"]),
              "clean": other["clean"].after, "robust": other["robust"].after, "median": other["median"],
              "difference": other["robust"].difference, "p": other["robust"].p} for other in told["others"]]
    return [{"difference": None, "p": None} | row for row in rows]


def _doubted(other: Told) -> str:
    """Checks that a network to compare with failed, beside its name."""
    return f" (not to be trusted: {', '.join(other['doubt'])})" if other.get("doubt") else ""


def training_terms(training: Told, bounds: Bounds) -> list[tuple[str, str]]:
    """How it was trained: a term and what it was, a row each, of what the training told."""
    if not training:
        return []
    epochs = training.get("epochs") or ()
    seconds = training.get("seconds")
    rows = [("Method", method_name(training.get("method")) + f", {len(epochs)} epochs"
             + (f" in {seconds:.0f} s" if isinstance(seconds, int | float) else ""))]
    sizes = training.get("epsilons") or ([training["epsilon"]] if training.get("epsilon") is not None else [])
    if sizes:
        stages = ", then ".join(show_native(float(size), bounds) for size in sizes)
        rows.append(("Size of change", f"{stages}. {_sentence(training.get('why'))}".strip()))
    useful = training.get("useful")
    if useful:
        low, high = (show_native(float(useful[end]), bounds) for end in ("low", "high"))
        rows.append(("Useful sizes", f"{low} to {high}: between a tenth and nine tenths of {useful['images']} "
                     "training images flip there."))
    if training.get("chosen_epoch") is not None:
        kept = f"Epoch {epoch(training)}" if training["chosen_epoch"] else "The network it started from"
        rows.append(("Kept", f"{kept}. {_sentence(training.get('rule'))}".strip()))
    return rows


def epoch(training: Told) -> str:
    """Which epoch was kept, of how many."""
    chosen = training.get("chosen_epoch")
    if chosen is None:
        return NONE
    return f"{chosen} of {len(training.get('epochs') or ())}" if chosen else "none, the start"


def trained_sizes(told: Mapping[str, Any]) -> list[Trained]:
    """Each PGD hardening with its size of training, in native units, smallest first; none that was not assessed."""
    found = told["compared"]
    if found is None or told["at"] is None:
        return []
    own = next(row["merged"] for row in found["sizes"] if row["size"] == told["at"])
    rows = [(told["training"].get("method"), told["epsilon"], found["clean"], own, told["failed"])]
    rows += [(other["method"], other["epsilon"], other["clean"], other["robust"], other["failed"])
             for other in told["others"] if other["assessed"]]
    return sorted((Trained(number_of(size), clean.after, robust.after, bool(failed))
                   for method, size, clean, robust, failed in rows if method == "pgd" and size),
                  key=lambda one: one.epsilon)


def sizes_said(told: Told, bounds: Bounds) -> str:
    """What the sizes of training made of the networks, in figures; empty where there is but one."""
    sizes = trained_sizes(told)
    good = [one for one in sizes if not one.failed and one.robust.value is not None]
    if len(sizes) < 2:
        return ""
    at = show_size_json(told["at"])
    said = []
    if good:
        best = max(good, key=lambda one: one.robust.value or 0.0)
        said.append(f"On these images the highest accuracy under changes of at most {at}, "
                    f"{percent(best.robust.value)}, came of training at {show_native(best.epsilon, bounds)}; how "
                    "far the others are from this study's own stands in the table.")
        least, most = good[0], good[-1]
        if most is not least:
            said.append(f"From the smallest size ({_of_range(least, bounds)}) to the largest "
                        f"({_of_range(most, bounds)}) it goes from {percent(least.robust.value)} to "
                        f"{percent(most.robust.value)}, and the clean accuracy from "
                        f"{percent(least.clean.value)} to {percent(most.clean.value)}.")
    failed = [_of_range(one, bounds) for one in sizes if one.failed]
    if failed:
        said.append(f"Training at {', '.join(failed)} of the range failed.")
    return " ".join(said)


def _paired_card(name: str, row: Contrast) -> Card:
    if row.after.value is None:
        return Card(NONE, name, "unknown from these images")
    return Card(percent(row.after.value), f"{name}, {percent(row.before.value)} before",
                difference_said(row.difference) if row.difference.low is not None
                else f"{points(row.difference.value)} points; {FEW}")


def _of_range(one: Trained, bounds: Bounds) -> str:
    return digits(one.epsilon / bounds.range)


def _sentence(text: Any) -> str:
    """A sentence that begins with a capital and ends with a full stop; empty of nothing."""
    stripped = str(text or "").strip().rstrip(".")
    return f"{stripped[:1].upper()}{stripped[1:]}." if stripped else ""
