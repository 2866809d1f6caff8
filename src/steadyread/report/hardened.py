"""A hardening in words: key figures, the other hardenings beside it, how it was trained."""

import math
from collections.abc import Mapping
from typing import Any

from steadyread.metrics.contrasts import UNKNOWN, Contrast
from steadyread.report import forms
from steadyread.report.cards import contrast_card, within
from steadyread.report.items import Card
from steadyread.report.marks import italic, mark
from steadyread.report.table import Column, Form, Table, begun, table
from steadyread.units import Bounds
from steadyread.words.answer import size_shown
from steadyread.words.hardening import method_name, sized
from steadyread.words.numbers import NONE, factor, percent, points, show_native
from steadyread.words.plain import MERGED

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
        merged = "" if row.exact else f", {MERGED.lower()}"
        made.append(contrast_card(f"robust accuracy at {size_shown(row.size)}{merged}", row.contrast))
    made.append(contrast_card("clean accuracy", found["clean"]))
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


def others_table(told: Told) -> Table | None:
    """The network before, the study's own hardening, then each that it is compared with; None without any of these.
    Differences are of the accuracy under attack to the study's own hardening, on the same images."""
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
    at = f"{italic('Under attack')}: accuracy under {sized(row)}. " if row else ""
    columns = [Column("Hardening", _NAME), Column("Trained at", forms.SIZED), Column("Kept epoch", forms.COUNT),
               Column("Clean, %", forms.stacked()), Column("Under attack, %", forms.stacked()),
               Column("Difference", forms.optional(forms.POINTS_STACKED)), Column("p", forms.COUNT),
               Column("Median flip", forms.SIZED)]
    return table(columns, [(name, size, kept, own, robust, None if row is UNKNOWN else row.difference,
                            "" if row is UNKNOWN else forms.P_VALUE.show(row.p), median["median"])
                           for name, size, kept, own, robust, row, median in rows], tone="snug", above=(
        f"{at}Difference in points to this study's own hardening, over the same resampled patients and the attacks "
        "that both networks met. The median smallest flip is of each network's own correct reads."))


def seeds_table(each: Mapping[str, Told]) -> Table | None:
    """What hardening gained from every seed that was run, by set where there are several; None without any."""
    told = {title: one["seeds"] for title, one in each.items() if one.get("seeds")}
    if not told:
        return None
    rows: list[tuple[Any, ...]] = []
    for title, found in told.items():
        named = [title] if title else []
        rows += [(*named, f"{row['seed']}{', hardening failed' * row['failed']}", _share(row["before"]),
                  _share(row["after"]), points(row["robust"]), _share(row["clean_before"]), _share(row["clean_after"]),
                  points(row["clean"])) for row in found["rows"]]
        rows.append((*named, "mean (range)", "", "", ranged(found["gains"]["robust"]), "", "",
                     ranged(found["gains"]["clean"])))
    columns = [*([] if "" in told else [Column("Set", forms.TEXT)]), Column("Seed", forms.TEXT),
               *(Column(title, forms.COUNT, group) for group in ("Under attack, %", "Clean, %")
                 for title in ("Before", "After", "Gain, points"))]
    return table(columns, begun(rows) if "" not in told else rows, tone="snug", above=(
        "The network trained and hardened anew from each seed, on the same split, and judged on the same images by the "
        "smallest flips alone. The range goes from the lowest to the highest: seeds are no patients, so there is no "
        "interval."), note=" ".join(filter(None, (_left_out(title, found) for title, found in told.items()))))


def _share(value: float) -> str:
    return forms.number(value)


def ranged(found: Told) -> str:
    """`+38.0 (+35.1 to +40.2)`: the mean and the range over seeds."""
    return f"{points(found['mean'])} ({points(found['lowest'])} to {points(found['highest'])})"


def _left_out(title: str, found: Told) -> str:
    """Seeds that no row tells of, in words."""
    said = [f"{found[key]} {words}" for key, words in (("none", "left no network"),
                                                       ("unfinished", "not judged yet")) if found[key]]
    return f"{f'{title}: ' if title else ''}seeds left out: {', '.join(said)}." if said else ""


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


def _sentence(text: Any) -> str:
    """A sentence that begins with a capital and ends with a full stop; empty of nothing."""
    stripped = str(text or "").strip().rstrip(".")
    return f"{stripped[:1].upper()}{stripped[1:]}." if stripped else ""
