"""Gates: a figure that an assessment must reach, such as `robust_accuracy@0.002 range=0.5` or `auc=0.8`."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from steadyread.errors import UsageError
from steadyread.metrics.discrimination import discrimination
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.plan import (
    Plan,
    bounds_of,
    class_count,
    exact_up_to,
    part_of,
    share_to_withhold,
    stages_of,
)
from steadyread.metrics.reads import Reads, reads_of
from steadyread.metrics.robustness import robust_curve
from steadyread.metrics.triage import SMALLEST_FLIP, triage
from steadyread.metrics.wording import show_native
from steadyread.units import Bounds, size_in_native

ROBUST = "robust_accuracy"
CLEAN = ("accuracy", "auc", "sensitivity", "specificity")
KEPT = "kept_accuracy"
KNOWN = (ROBUST, *CLEAN, KEPT)
_ROUNDING = 1e-6
_SHAPE = re.compile(r"^\s*([A-Za-z_]+)\s*(?:@\s*([^=]*?))?\s*=\s*([^=]+?)\s*$")


@dataclass(frozen=True)
class Gate:
    """`metric`, for robust_accuracy `at` a size as typed, must be at least `least` (a share, 0 to 1)."""

    metric: str
    at: str | None
    least: float

    def __str__(self) -> str:
        return f"{self.metric}{'@' + self.at if self.at else ''}={self.least:g}"


@dataclass(frozen=True)
class Judged:
    """A gate with the figure that was measured, and one sentence for the reader."""

    gate: Gate
    value: float | None
    passed: bool
    message: str


def gate(text: str) -> Gate:
    """The gate that `text` states: `metric=share`, or `robust_accuracy@SIZE=share`.

    Robust accuracy is against the label; `kept_accuracy` is triage's, among the reads kept by smallest flip.

    Raises:
        UsageError: another shape, an unknown metric (the nearest is named), a size without a unit, or a
            share outside 0 to 1.
    """
    match = _SHAPE.match(text)
    if match is None:
        raise UsageError(f"a gate is a figure and its least value, such as '{ROBUST}@0.002 range=0.5' or "
                         f"'auc=0.8'; got '{text}'")
    metric, at, least = match.groups()
    if metric not in KNOWN:
        near = get_close_matches(metric, KNOWN, 1)
        raise UsageError(f"no gate on '{metric}'; " + (f"did you mean '{near[0]}'? " if near else "")
                         + f"Known: {', '.join(KNOWN)}")
    if (metric == ROBUST) != bool(at):
        raise UsageError(f"the gate '{text.strip()}' " + (
            f"needs a size: '{ROBUST}@0.002 range={least}'" if metric == ROBUST else
            f"has a size, but {metric} has none: '{metric}={least}'"))
    if at:
        unit = re.sub(r"^[\s0-9.eE+-]+", "", at).strip()
        size_in_native(at, Bounds(0, 1, unit))
    return Gate(metric, at or None, _share(least, text))


def judge(stated: Gate, table: pa.Table, plan: Plan, seed: int = 0) -> Judged:
    """The gate against the records.

    Raises:
        UsageError: the size is not in the images' unit or lies beyond what was searched or tried, or the
            records hold nothing to judge by.
    """
    bounds = bounds_of(plan)
    stage = next(iter(stages_of(table)), None)
    reads, validation = (reads_of(table, part, stage, bounds) for part in (part_of(table), "validation"))
    found, said = _measured(stated, reads, validation, plan, seed)
    if found.value is None:
        raise UsageError(f"the gate '{stated}' cannot be judged: the records hold nothing to measure it by")
    passed = found.value >= stated.least
    at = f" at {show_native(size_in_native(stated.at, bounds), bounds)}" if stated.at else ""
    return Judged(stated, found.value, passed,
                  f"{stated.metric.replace('_', ' ')}{at} is {found.value:.4f}, "
                  f"{'at least' if passed else 'below'} {stated.least:g}{said}")


def _measured(stated: Gate, reads: Reads, validation: Reads, plan: Plan, seed: int) -> tuple[Estimate, str]:
    """The figure, and what is to be said of it beside its value."""
    if stated.metric == ROBUST:
        return _robust_at(stated.at or "", reads, plan)
    if stated.metric == KEPT:
        rows: list[dict[str, Any]] = triage(reads, validation if len(validation) else None,
                                            share_to_withhold(plan), seed)["rows"]
        return next((row["accuracy"] for row in rows if row["score"] == SMALLEST_FLIP), Estimate(None)), ""
    found: Estimate | None = discrimination(reads, class_count(plan, reads), seed)[stated.metric]
    return found or Estimate(None), ""


def _robust_at(at: str, reads: Reads, plan: Plan) -> tuple[Estimate, str]:
    """Robust accuracy at any size up to which was searched; beyond, or without a search, at a size tried.

    Between tried sizes the next larger one is judged: its accuracy is the lower one.
    """
    bounds = bounds_of(plan)
    size = size_in_native(at, bounds)
    tried = sorted({outcome.size for outcome in reads.fixed("label") if outcome.threat == "Linf"})
    limit = exact_up_to(plan, reads, "label")
    if not limit and not tried:
        return Estimate(None), ""
    curve = robust_curve(reads, "label")
    above = next((one for one in tried if one >= size * (1 - _ROUNDING)), None)
    same = above is not None and above <= size * (1 + _ROUNDING)
    if size <= limit * (1 + _ROUNDING):
        return curve.at(above if same and above is not None else size), ""
    if above is None:
        raise UsageError(f"the gate's size '{at}' lies beyond the largest that was searched or tried, "
                         f"{show_native(max([limit, *tried]), bounds)}: search further or state a smaller one")
    said = "at that size" if same else f"at {show_native(above, bounds)}, the next larger size tried"
    return curve.at(above), f" (merged from fixed sizes, {said}: no smallest flips were searched there)"


def _share(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UsageError(f"the gate '{whole.strip()}' needs a least value between 0 and 1; got '{text}'")
    return value
