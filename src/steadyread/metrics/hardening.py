"""Before and after hardening, image by image: what was gained, what it cost, and how sure that is.

[A] Fig. 3 (doi:10.1200/CCI.21.00170) sets two accuracies side by side. The same images are read by both networks,
so here each difference is paired: its interval comes from resampling patients, once for every difference, and
its p-value is McNemar's in the exact form (doi:10.1007/BF02295996): of the images that are right under one network
only, as many should lie on either side. That test takes the images as independent, the interval does not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from steadyread.errors import InputRefused
from steadyread.metrics.intervals import (
    Estimate,
    Flags,
    Floats,
    Ints,
    bootstrap,
    estimate,
    ratio,
    share,
)
from steadyread.metrics.paired_tests import sign_flip_test
from steadyread.metrics.pairs import Pair, key_of, paired
from steadyread.metrics.reads import Reads
from steadyread.metrics.robustness import Merged, median_flip, merged_found_size
from steadyread.units import Bounds, size_json

_ROUNDING = 1e-6     # of a size: what a plan's text or float32 may have lost of it
_MERGED = "merged"


class Named(NamedTuple):
    """A figure that is set side by side: clean, merged over all attacks, or one attack, at a size."""

    size: float
    attack: str
    threat: str = ""


@dataclass(frozen=True, eq=False)
class Right:
    """Which reads are right before and after, (n, f), of those `judged` in both."""

    before: Flags
    after: Flags
    judged: Flags


_CLEAN = Named(0.0, "clean")


def compared(before: Reads, after: Reads, sizes: Sequence[float], bounds: Bounds, seed: int = 0, *,
             against: str = "label", limit: float = math.inf) -> dict[str, Any]:
    """What hardening did to the same images: `Estimate`s inside, plain values by `summary.as_json`.

    `clean`, and at each of `sizes` (native) `merged` (the smallest flips over all attacks that both networks met;
    None where nothing tells) and each fixed attack of that size, are rows of

        before, after   shares right of the images that both judged, each with its interval
        difference      after minus before, over the same resampled patients
        gained, lost    images (of several folds, reads) that only the second, or only the first network reads right
        p               exact McNemar, two-sided; of several folds, whose networks read the same images, the test of
                        `sign_flip_test`, by patients

    `flips` are of the reads that are right in both: `larger` the share that needs a larger change after, with
    `p` of the sign test; `ratio` the median of after / before (infinite where most are never flipped after);
    `medians`, and the sizes `before` and `after` themselves (n,), inf where none was found. An image that neither
    network lets flip has no ratio and is a tie. `classes` counts those that the labels name and that each network
    predicts: one that says the same of every image is steady, and worth nothing.

    Args:
        limit: the size up to which both networks' images were searched for every flip. Beyond it only the sizes
            that were tried on both are told, and `exact` is False.

    Raises:
        InputRefused: no fold or no image in both, or an image whose labels differ.
    """
    pair = pair_of_networks(before, after)
    rights = {_CLEAN: Right(pair.before.correct, pair.after.correct, pair.before.there & pair.after.there)}
    for size in sorted(set(map(float, sizes))):
        rights |= _rights_at(pair, against, size, limit)
    rows = dict(zip(rights, _rows(list(rights.values()), pair, seed), strict=True))
    told = dict.fromkeys(named.size for named in rows if named != _CLEAN)
    return {"against": against, "images": int((pair.before.there & pair.after.there).any(1).sum()),
            "patients": len(np.unique(pair.before.patient)),
            "only_before": pair.only_before, "only_after": pair.only_after, "clean": rows[_CLEAN],
            "classes": {"label": _kinds(pair.before.label), "before": _kinds(pair.before.prediction),
                        "after": _kinds(pair.after.prediction)},
            "sizes": [{"size": size_json(size, bounds), "exact": _searched(pair, against) and _within(size, limit),
                       "merged": rows.get(Named(size, _MERGED)),
                       "attacks": [{"attack": named.attack, "threat": named.threat} | row
                                   for named, row in rows.items() if named.size == size and named.threat]}
                      for size in told],
            "flips": _flips(pair, against, bounds, seed)}


def pair_of_networks(before: Reads, after: Reads) -> Pair:
    """The labelled images that two networks read, and the attacks that both met.

    Raises:
        InputRefused: no fold or no image in both, or an image whose labels differ.
    """
    pair = paired(before, after)
    if pair is None:
        raise InputRefused(f"the reads before and after are of the folds {before.folds} and {after.folds}, which have "
                           "none in common: assess both on the same folds")
    return pair.labelled()


def sign_test(more: int, fewer: int) -> float:
    """The exact two-sided p that so many lie on either side where each is as likely; 1 where none lies on any."""
    return float(stats.binomtest(more, more + fewer).pvalue) if more + fewer else 1.0


def _rights_at(pair: Pair, against: str, size: float, limit: float) -> dict[Named, Right]:
    """Which images are right at one size: by the merged smallest flips, and under each attack of that size."""
    found: dict[Named, Right] = {}
    tried = {key_of(outcome): outcome for outcome in pair.after.fixed(against)}
    here = [(outcome, tried[key_of(outcome)]) for outcome in pair.before.fixed(against)
            if math.isclose(outcome.level, size, rel_tol=_ROUNDING)]
    if here or (_searched(pair, against) and _within(size, limit)):
        sides = [merged_found_size(reads, against) for reads in (pair.before, pair.after)]
        judged = sides[0].present & sides[1].present
        if judged.any():
            found[Named(size, _MERGED)] = Right(_stands(pair.before, sides[0], size),
                                            _stands(pair.after, sides[1], size), judged)
    for first, second in here:
        found[Named(size, first.attack, first.threat)] = Right(
            first.prediction == pair.before.labels, second.prediction == pair.after.labels,
            first.present & second.present)
    return found


def _stands(reads: Reads, merged: Merged, size: float) -> Flags:
    """Which images are right at a size: the flipped ones by what they flipped to, the others as unattacked."""
    return np.where(merged.found <= size, merged.prediction == reads.labels, reads.correct)


def _searched(pair: Pair, against: str) -> bool:
    return pair.before.smallest_flip(against) is not None     # an attack here is one that both met


def _within(size: float, limit: float) -> bool:
    return size <= limit * (1 + _ROUNDING)


def _rows(rights: Sequence[Right], pair: Pair, seed: int) -> list[dict[str, Any]]:
    """A row a pair of flags; every difference over the same resampled patients."""
    patients = pair.before.patients.ravel()
    judged = np.stack([right.judged.ravel() for right in rights], axis=1).astype(np.float64)
    change = judged * np.stack([(right.after.astype(float) - right.before).ravel() for right in rights], axis=1)
    values = ratio(change.sum(0), judged.sum(0))
    intervals = bootstrap(lambda weights: ratio(weights @ change, weights @ judged), patients, seed)
    return [_row(right, pair, estimate(value, interval, int(right.judged.sum())), seed)
            for right, value, interval in zip(rights, values, intervals, strict=True)]


def _row(right: Right, pair: Pair, difference: Estimate, seed: int) -> dict[str, Any]:
    patients = pair.before.patients
    gained = int(np.sum(right.judged & right.after & ~right.before))
    lost = int(np.sum(right.judged & right.before & ~right.after))
    sides = {name: share(flags[right.judged], patients[right.judged])
             for name, flags in (("before", right.before), ("after", right.after))}
    change = np.where(right.judged, right.after.astype(float) - right.before, 0.0)
    return {**sides, "difference": difference, "gained": gained, "lost": lost,
            "p": sign_test(gained, lost) if len(pair.before.folds) == 1 else sign_flip_test(
                change.sum(1), pair.before.patient, seed)}


def _flips(pair: Pair, against: str, bounds: Bounds, seed: int) -> dict[str, Any]:
    """The smallest flips of the reads that are right in both, image by image."""
    sides = [merged_found_size(reads, against) for reads in (pair.before, pair.after)]
    chosen = pair.before.correct & pair.after.correct & sides[0].present & sides[1].present
    chosen &= _searched(pair, against)
    several = len(pair.before.folds) > 1
    first, second = (side.found[chosen] for side in sides)
    patients = pair.before.patients[chosen]
    larger, smaller = second > first * (1 + _ROUNDING), first > second * (1 + _ROUNDING)
    finite = (np.isfinite(first) | np.isfinite(second)) & (np.maximum(first, second) > 0)
    with np.errstate(divide="ignore"):
        grown = second[finite] / first[finite]
    return {"searched": _searched(pair, against), "images": len(first),
            "larger": share(larger, patients), "smaller": share(smaller, patients),
            "ties": int(np.sum(~larger & ~smaller)),
            "p": sign_flip_test(larger.astype(np.float64) - smaller, patients, seed)
            if several else sign_test(int(larger.sum()), int(smaller.sum())),
            "ratio": _median(grown, patients[finite], seed),
            "medians": {name: size_json(median_flip(found, patients, seed)[0], bounds)
                        for name, found in (("before", first), ("after", second))},
            "before": first, "after": second}


def _kinds(classes: Ints) -> int:
    return len(np.unique(classes[classes >= 0]))


def _median(values: Floats, patients: np.ndarray[Any, Any], seed: int) -> Estimate:
    """The median with its interval; infinite where most are, None where it cannot be told."""
    told = [None if math.isnan(end) else end for end in median_flip(values, patients, seed)]
    return Estimate(told[0], told[1], told[2], len(values))
