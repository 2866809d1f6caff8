"""Before and after hardening, image by image: what was gained, what it cost, and how sure that is.

[A] Fig. 3 (doi:10.1200/CCI.21.00170) sets two accuracies side by side. The same images are read by both networks,
so here each difference is paired, see `contrasts`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from steadyread.errors import InputRefused
from steadyread.metrics.contrasts import contrast
from steadyread.metrics.intervals import Estimate, Flags, Floats, Ints, share
from steadyread.metrics.paired_tests import sign_flip_test
from steadyread.metrics.pairs import Pair, key_of, paired
from steadyread.metrics.reads import Reads
from steadyread.metrics.robustness import Merged, median_flip, merged_found_size
from steadyread.units import Bounds, size_json

_ROUNDING = 1e-6     # of a size: what a plan's text or float32 may have lost of it
_MERGED = "merged"


class Named(NamedTuple):
    """What is set side by side: the clean reads, merged over all attacks, or under one attack, at a size."""

    size: float
    attack: str
    threat: str = ""


_CLEAN = Named(0.0, "clean")


def compared(before: Reads, after: Reads, sizes: Sequence[float], bounds: Bounds, seed: int = 0, *,
             against: str = "label", limit: float = math.inf) -> dict[str, Any]:
    """What hardening did to the same images: `Estimate`s and `Contrast`s inside, plain values by `summary.as_json`.

    Contrasts of the reads that are right: `clean`, and at each of `sizes` (native) `merged` (by the smallest flips
    over all attacks that both networks met; None where nothing tells) and the `accuracy` under each fixed attack of
    that size.

    `flips` are of the reads that are right in both: `larger` the share that needs a larger change after, with
    `p` of `sign_flip_test`; `ratio` the median of after / before (infinite where most are never flipped after);
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
    reads = {_CLEAN: (_known(pair.before.correct, pair), _known(pair.after.correct, pair))}
    for size in sorted(set(map(float, sizes))):
        reads |= _right_at(pair, against, size, limit)
    rows = {named: contrast(*sides, pair.before.patient, seed) for named, sides in reads.items()}
    told = dict.fromkeys(named.size for named in rows if named != _CLEAN)
    return {"against": against, "images": int((pair.before.there & pair.after.there).any(1).sum()),
            "patients": len(np.unique(pair.before.patient)),
            "only_before": pair.only_before, "only_after": pair.only_after, "clean": rows[_CLEAN],
            "classes": {"label": _kinds(pair.before.label), "before": _kinds(pair.before.prediction),
                        "after": _kinds(pair.after.prediction)},
            "sizes": [{"size": size_json(size, bounds), "exact": _searched(pair, against) and _within(size, limit),
                       "merged": rows.get(Named(size, _MERGED)),
                       "attacks": [{"attack": named.attack, "threat": named.threat, "accuracy": row}
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


def _known(right: Flags, pair: Pair, judged: Flags | None = None) -> Floats:
    """Which reads are right, (n, f), NaN where either network has none, or none that is `judged`."""
    both = pair.before.there & pair.after.there if judged is None else judged
    return np.where(both, right.astype(np.float64), np.nan)


def _right_at(pair: Pair, against: str, size: float, limit: float) -> dict[Named, tuple[Floats, Floats]]:
    """Which images are right at one size: by the merged smallest flips, and under each attack of that size."""
    found: dict[Named, tuple[Floats, Floats]] = {}
    tried = {key_of(outcome): outcome for outcome in pair.after.fixed(against)}
    here = [(outcome, tried[key_of(outcome)]) for outcome in pair.before.fixed(against)
            if math.isclose(outcome.level, size, rel_tol=_ROUNDING)]
    if here or (_searched(pair, against) and _within(size, limit)):
        sides = [merged_found_size(reads, against) for reads in (pair.before, pair.after)]
        judged = sides[0].present & sides[1].present
        if judged.any():
            found[Named(size, _MERGED)] = (_known(_stands(pair.before, sides[0], size), pair, judged),
                                           _known(_stands(pair.after, sides[1], size), pair, judged))
    for first, second in here:
        judged = first.present & second.present
        found[Named(size, first.attack, first.threat)] = (
            _known(first.prediction == pair.before.labels, pair, judged),
            _known(second.prediction == pair.after.labels, pair, judged))
    return found


def _stands(reads: Reads, merged: Merged, size: float) -> Flags:
    """Which images are right at a size: the flipped ones by what they flipped to, the others as unattacked."""
    return np.where(merged.found <= size, merged.prediction == reads.labels, reads.correct)


def _searched(pair: Pair, against: str) -> bool:
    return pair.before.smallest_flip(against) is not None     # an attack here is one that both met


def _within(size: float, limit: float) -> bool:
    return size <= limit * (1 + _ROUNDING)


def _flips(pair: Pair, against: str, bounds: Bounds, seed: int) -> dict[str, Any]:
    """The smallest flips of the reads that are right in both, image by image."""
    sides = [merged_found_size(reads, against) for reads in (pair.before, pair.after)]
    chosen = pair.before.correct & pair.after.correct & sides[0].present & sides[1].present
    chosen &= _searched(pair, against)
    first, second = (side.found[chosen] for side in sides)
    patients = pair.before.patients[chosen]
    larger, smaller = second > first * (1 + _ROUNDING), first > second * (1 + _ROUNDING)
    finite = (np.isfinite(first) | np.isfinite(second)) & (np.maximum(first, second) > 0)
    with np.errstate(divide="ignore"):
        grown = second[finite] / first[finite]
    return {"searched": _searched(pair, against), "images": len(first),
            "larger": share(larger, patients), "smaller": share(smaller, patients),
            "ties": int(np.sum(~larger & ~smaller)),
            "p": sign_flip_test(larger.astype(np.float64) - smaller, patients, seed),
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
