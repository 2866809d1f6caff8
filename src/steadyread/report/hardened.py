"""A hardening in words: key figures, the other hardenings beside it, how it was trained."""

import math
from collections.abc import Mapping
from typing import Any

from steadyread.metrics.contrasts import UNKNOWN, Contrast
from steadyread.report import forms
from steadyread.report.accuracy_drawings import Trained
from steadyread.report.cards import FEW, bare, within
from steadyread.report.items import Card
from steadyread.report.marks import italic, mark
from steadyread.report.table import Column, Form, Table, table
from steadyread.units import Bounds, number_of
from steadyread.words.hardening import difference_said, method_name
from steadyread.words.numbers import NONE, digits, factor, percent, points, show_native, show_size_json

Told = Mapping[str, Any]
_NAME = Form(lambda named: str(named[0]), tone="", beneath=lambda named: "\n".join(filter(None, (
    named[1], mark("tag error", "failed") if named[2] else ""))))


def hardening_cards(told: Told) -> list[Card]:
    """The key figures: accuracy under attack and clean with their differences, and how the flips grew.

    None of a hardening that failed: its figures may look like a success.
    """
    found = told["compared"]
    if found is None or told["failed"]:
        return []
    made = []
    row = told["headline"]
    if row:
        made.append(_paired_card(f"robust accuracy at {bare(row.size)}", row.contrast))
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


def others_table(told: Told, unit: str = "") -> Table | None:
    """The network before, the study's own hardening, then each that it is compared with; None without any of these.

    `unit` is that of a further column of sizes in the images' own unit. Differences are of the accuracy under attack
    to the study's own hardening, on the same images.
    """
    found = told["compared"]
    if found is None or not told["others"]:
        return None
    row = told["headline"]
    merged: Contrast = row.contrast if row else UNKNOWN
    clean, medians, training = found["clean"], told["medians"], told["training"]
    rows: list[tuple[Any, ...]] = [
        (("before hardening", "", False), None, "", clean.before, merged.before, UNKNOWN, medians["before"]),
        (("this study's", method_name(training.get("method")), told["failed"]), told["epsilon"], epoch(training),
         clean.after, merged.after, UNKNOWN, medians["after"])]
    rows += [((other["name"].replace("_", " ") + _doubted(other), method_name(other["method"]), other["failed"]),
              other["epsilon"], epoch(other["training"]), other["clean"].after, other["robust"].after, other["robust"],
              other["median"]) for other in told["others"]]
    at = f"{italic('Under attack')}: accuracy under changes of at most {show_size_json(told['at'])}. " if row else ""
    native = [Column(unit, forms.optional(forms.NATIVE))] if unit else []
    keep = [mark("keep", words) for words in ("Trained at,", "of range", "Under", "attack, %", "Median flip,")]
    columns = [Column("Hardening", _NAME), Column(f"{keep[0]}\n{keep[1]}", forms.optional(forms.OF_RANGE)), *native,
               Column("Kept epoch", forms.COUNT), Column("Clean, %", forms.stacked()),
               Column(f"{keep[2]} {keep[3]}", forms.stacked()),
               Column("Difference", forms.optional(forms.POINTS_STACKED)), Column("p", forms.COUNT),
               Column(f"{keep[4]}\n{keep[1]}", forms.COUNT)]
    return table(columns, [(name, size, *([size] if unit else []), kept, own, robust,
                            None if row is UNKNOWN else row.difference,
                            "" if row is UNKNOWN else forms.P_VALUE.show(row.p), forms.flip(median))
                           for name, size, kept, own, robust, row, median in rows], tone="snug", above=(
        f"{at}The difference in points is to this study's own hardening, over the same resampled patients and the "
        "attacks that both networks met, so that columns of unlike attacks need not subtract. The median smallest flip "
        "is of each network's own correct reads. Each interval stands for itself: of twenty such comparisons one "
        "leaves out 0 by chance."))


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
    if found is None or told["headline"] is None:
        return []
    own = told["headline"].contrast
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
