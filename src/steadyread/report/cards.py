"""The key figures of a page: a value, what it is, and its interval."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.tidy import QUOTED
from steadyread.report.items import Card
from steadyread.units import number_of, unit_word
from steadyread.words.hardening import difference_said
from steadyread.words.numbers import NONE, digits, percent
from steadyread.words.plain import MERGED, flips_told

Summary = Mapping[str, Any]
Show = Callable[[float], str]
FEW = "too few patients for an interval"


def estimated(name: str, found: Estimate, show: Show, of: str = "images") -> Card:
    """A card of an estimate with its interval, and its spread over folds where it has one."""
    if found.value is None:
        return Card(NONE, name, f"cannot be told from these {of}")
    spread = f"; SD over folds {show(found.sd)}" if found.sd is not None else ""
    known = found.low is not None and found.high is not None
    return Card(show(found.value), name, f"{within(found, show) if known else FEW}{spread}")


def contrast_card(name: str, row: Contrast, show: Show = percent, change: Callable[[Estimate], str] = difference_said
                  ) -> Card:
    """A card of a number after hardening, with that before and how they differ."""
    if row.after.value is None or row.before.value is None:
        return Card(NONE, name, "unknown from these images")
    few = "" if row.difference.low is not None else f"; {FEW}"
    return Card(show(row.after.value), f"{name}, {show(row.before.value)} before", f"{change(row.difference)}{few}")


def within(found: Estimate, show: Show) -> str:
    """The interval of an estimate in words, or that there is none."""
    return FEW if found.low is None or found.high is None else f"95 %: {show(found.low)} to {show(found.high)}"


def plain_cards(summary: Summary) -> Iterator[Card]:
    """The key figures of one network under changes of any pixels."""
    found = summary["discrimination"]
    flips, reads = flips_told(summary)
    yield estimated("AUC" if found["classes"] == 2 else "AUC, macro", found["auc"], lambda value: digits(value, 3))
    yield estimated("clean accuracy", found["accuracy"], percent)
    if flips["searched"]:
        yield _of_flips(flips, reads)
    at = _quoted(summary["robustness"]["label"]["at"])
    if at is not None and at["accuracy"].value is not None:
        how = "" if at["exact"] else f", {MERGED.lower()}"
        yield estimated(f"robust accuracy at {bare(at['size'])}{how}", at["accuracy"], percent)
    kept = next((row for row in summary["triage"]["rows"] if row["score"] == "smallest_flip"), None)
    if kept is not None and kept["accuracy"].value is not None:
        yield estimated(f"accuracy, {percent(kept['withheld'].value, 0)} withheld", kept["accuracy"], percent)


def _of_flips(flips: Summary, reads: str) -> Card:
    median = flips["median"]
    known = 0 < number_of(median) < math.inf
    between = f"95 %: {bare(flips['low'])} to {bare(flips['high'])}" if known else ""
    between = FEW if known and math.isnan(number_of(flips["low"])) else between
    return Card(bare(median), f"flips half of the {reads}", "; ".join(filter(None, [_share_of(median), between])))


def _quoted(at: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The tabled size nearest to the one that [A] quotes."""
    return min(at, key=lambda row: abs(math.log(float(row["size"]["of_range"]) / QUOTED)), default=None)


def bare(size: Mapping[str, Any]) -> str:
    """A size in its own unit alone, or as a share of the range where there is none."""
    value = number_of(size)
    if not math.isfinite(value):
        return "none found" if value > 0 else NONE
    if not size["unit"]:
        return f"{digits(float(size['of_range']))} range"
    return f"{digits(value)} {unit_word(str(size['unit']), value)}"


def _share_of(size: Mapping[str, Any]) -> str:
    told = size["unit"] and math.isfinite(number_of(size))
    return f"{digits(float(size['of_range']))} of the range" if told else ""
