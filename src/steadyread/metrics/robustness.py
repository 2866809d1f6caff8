"""Robust accuracy: under each attack and size, and at every size from the smallest flips.

[A] Table 1 and Fig. 2 (doi:10.1200/CCI.21.00170). Two references: against the label (the standard robust
accuracy, which goes to 0) and against the clean prediction ([A]'s: wrong images are pushed to right, so with
two classes the accuracy stops at 100 % minus the clean one). Either way *accuracy* is the share of returned
images whose prediction is the label.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steadyread.metrics.intervals import (
    FEWEST,
    Estimate,
    Flags,
    Floats,
    Ints,
    enough,
    resamples,
    share,
    share_interval,
    tails,
    weighted_median,
)
from steadyread.metrics.reads import Outcome, Reads, Strings

_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy at every size: `accuracy[j]` from `sizes[j]` up to the next size. Native units.

    `sizes[0]` is 0, the clean accuracy. `low` and `high` are the 95 % band over patients at each size: the whole
    curve lies in it less often. `end` is the largest size of which it speaks.
    """

    sizes: Floats
    accuracy: Floats
    low: Floats
    high: Floats
    n: int
    end: float = float("inf")

    @property
    def half_way(self) -> float:
        """The size at which half of the clean accuracy is lost, as in the headline; 0 where that is not shown."""
        lost = self.accuracy <= self.accuracy[:1] / 2
        return float(self.sizes[np.argmax(lost)]) if lost.any() else 0.0

    def at(self, size: float) -> Estimate:
        """The accuracy at one size (an image whose smallest flip is exactly that size has flipped)."""
        if not self.n or size > self.end:
            return Estimate(None)
        step = int(np.searchsorted(self.sizes, size, side="right")) - 1
        return Estimate(float(self.accuracy[step]), float(self.low[step]), float(self.high[step]), self.n)

    def until(self, end: float) -> "Curve":
        """The curve up to and with the size `end`."""
        kept = self.sizes <= end
        return replace(self, sizes=self.sizes[kept], accuracy=self.accuracy[kept], low=self.low[kept],
                       high=self.high[kept], end=end)


@dataclass(frozen=True, eq=False)
class Merged:
    """Per read (n, f) the smallest flip that any attack found, in native units (inf: none; 0: wrong unattacked).

    `prediction` is that of the flipped image (the clean one where none flipped); `improved` is the share of
    searched images where another attack did better than the search, 0 for a search that is believed.
    """

    found: Floats
    prediction: Ints
    present: Flags
    improved: float | None


def accuracy_under_attack(reads: Reads, against: str) -> list[dict[str, Any]]:
    """[A] Table 1: one row an attack and size, over the images with a label.

    `accuracy` is faithful to [A] (each size on its own, so it may rise with the size); `carried` lets a flip
    at a smaller size stand at every larger one, the clean read being size 0; `flipped` is the share whose
    prediction is no longer the reference.
    """
    rows: list[dict[str, Any]] = []
    previous: tuple[str, str] | None = None
    for outcome in reads.fixed(against):
        if (outcome.attack, outcome.threat) != previous:
            previous = (outcome.attack, outcome.threat)
            carried, flipped, lowest = reads.prediction.copy(), _wrong_before(reads, against), np.inf
        met = outcome.present & ~flipped
        carried[met] = outcome.prediction[met]
        flipped = flipped | (outcome.present & outcome.flipped)
        judged = outcome.present & reads.known
        faithful = _share(outcome.prediction == reads.labels, reads, judged)
        rows.append({"attack": outcome.attack, "threat": outcome.threat, "against": against,
                     "size": outcome.level, "accuracy": faithful,
                     "carried": _share(carried == reads.labels, reads, judged),
                     "flipped": _share(outcome.flipped, reads, outcome.present),
                     "rises": faithful.value is not None and faithful.value > lowest})
        lowest = min(lowest, faithful.value if faithful.value is not None else np.inf)
    return rows


def accuracy_on_other_axes(reads: Reads) -> list[dict[str, Any]]:
    """The accuracy under each attack whose levels have a unit of their own, at each level, and the share `flipped`,
    whose prediction is no longer the reference; from weak to strong."""
    return [{"attack": outcome.attack, "threat": outcome.threat, "against": against, "level": outcome.level,
             "unit": outcome.unit,
             "accuracy": _share(outcome.prediction == reads.labels, reads, outcome.present & reads.known),
             "flipped": _share(outcome.flipped, reads, outcome.present)}
            for against in ("label", "prediction") for outcome in reads.otherwise(against)]


def merged_found_size(reads: Reads, against: str, threat: str = "Linf") -> Merged:
    """The smallest flip of each image over the search and every other attack of the same threat.

    The curve of these lies at or below the accuracy of every attack that kept to its stated size: what
    any attack has shown is part of the answer. One that overstepped its size counts at the size it took.
    """
    wrong = _wrong_before(reads, against)
    found = np.where(wrong, 0.0, np.inf)
    prediction = reads.prediction.copy()
    present = np.zeros(reads.there.shape, bool)
    search = reads.smallest_flip(against)
    if search is not None:
        _take_better(found, prediction, search)
        present |= search.present
    searched = found.copy()
    for outcome in reads.outcomes:
        if outcome is not search and (outcome.against, outcome.threat) == (against, threat):
            _take_better(found, prediction, outcome)
            present |= outcome.present
    improved = None
    if search is not None and search.present.any():
        better = found < searched * (1 - _ROUNDING)
        improved = float(better[search.present].mean())
    return Merged(found, prediction, present, improved)


def robust_curve(reads: Reads, against: str, threat: str = "Linf") -> Curve:
    """The accuracy at every size, from the merged smallest flips, over the images with a label."""
    merged = merged_found_size(reads, against, threat)
    chosen = merged.present & reads.known
    return step_curve(merged.found[chosen], reads.correct[chosen],
                      (merged.prediction == reads.labels)[chosen], reads.patients[chosen])


def step_curve(found: Floats, before: Flags, after: Flags, patients: Strings) -> Curve:
    """The share of true flags at every size, where each image goes from `before` to `after` at `found`.

    Handles found sizes of 0 and inf and ties; its band is that of `share_interval` at each size, in one sorted
    pass: of the sum of squares over patients only one term changes at each flip. It is no band of the whole curve.
    """
    n = len(found)
    if not n:
        empty = np.zeros(0)
        return Curve(empty, empty, empty, empty, 0)
    _, codes = np.unique(patients, return_inverse=True)
    sizes = np.bincount(codes).astype(np.float64)
    order = np.argsort(found, kind="stable")[: int(np.isfinite(found).sum())]
    change = after[order].astype(np.float64) - before[order]
    right = np.bincount(codes, before)[codes[order]] + _earlier(change, codes[order])
    count = before.sum() + _running(change)
    squares = np.sum(np.bincount(codes, before) ** 2) + _running(2 * right * change + change**2)
    mixed = np.sum(np.bincount(codes, before) * sizes) + _running(change * sizes[codes[order]])
    value = count / n
    spread = np.maximum(squares - 2 * value * mixed + value**2 * np.sum(sizes**2), 0.0)
    steps = np.concatenate([[0.0], np.maximum(found[order], 0.0)])
    last = np.append(steps[1:] != steps[:-1], True)       # of equal sizes, the state after the last flip
    low, high = share_interval(value[last], spread[last], n, len(sizes))
    return Curve(steps[last], value[last], low, high, n)


def _wrong_before(reads: Reads, against: str) -> Flags:
    if against == "label":
        return reads.known & ~reads.correct
    return reads.there & (reads.prediction < 0)


def _take_better(found: Floats, prediction: Ints, outcome: Outcome) -> None:
    better = outcome.present & outcome.flipped & (outcome.found < found)
    found[better] = outcome.found[better]
    prediction[better] = outcome.prediction[better]


def _share(flags: Flags, reads: Reads, chosen: Flags) -> Estimate:
    return share(flags[chosen], reads.patients[chosen])


def _running(change: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(change)])


def _earlier(change: Floats, codes: Ints) -> Floats:
    """For each entry, the sum of the entries before it that have the same code."""
    by_group = np.argsort(codes, kind="stable")
    total = np.cumsum(change[by_group]) - change[by_group]
    first = np.append(True, codes[by_group][1:] != codes[by_group][:-1])[: len(codes)]
    start = np.maximum.accumulate(np.where(first, np.arange(len(codes)), 0)) if len(codes) else codes
    earlier = np.empty(len(codes))
    earlier[by_group] = total - total[start]
    return earlier


def median_flip(found: Floats, patients: Strings, seed: int = 0) -> tuple[float, float, float]:
    """The median of `found` with its 95 % interval over patients; inf where most never flipped, NaN of
    fewer than `FEWEST`, which tell no half.

    The lower of two middle values, so that half of the images do flip at it or below. The interval is NaN for
    too few patients, as in `bootstrap`.
    """
    if len(found) < FEWEST:
        return float("nan"), float("nan"), float("nan")
    drawn = np.sort(np.concatenate([weighted_median(weights, found) for weights in resamples(patients, seed)]))
    middle = float(weighted_median(np.ones((1, len(found))), found)[0])
    if not enough(drawn, patients):
        return middle, float("nan"), float("nan")
    low, high = (drawn[round(tail * (len(drawn) - 1))] for tail in tails(len(np.unique(patients))))
    return middle, float(low), float(high)
