"""The key figures of a page: a value, what it is, and its interval."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.tidy import QUOTED
from steadyread.report.items import Card
from steadyread.words.hardening import difference_said
from steadyread.words.numbers import NONE, percent

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


def quoted(at: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The tabled size nearest to the one that [A] quotes."""
    return min(at, key=lambda row: abs(math.log(float(row["size"]["of_range"]) / QUOTED)), default=None)
