"""Before and after hardening, image by image: what was gained, what it cost, and how sure that is.

[A] Fig. 3 (doi:10.1200/CCI.21.00170) sets two accuracies side by side. The same images are read by both networks,
so here each difference is paired, see `contrasts`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.errors import InputRefused
from steadyread.metrics.contrasts import Contrast, contrast, flips_contrast
from steadyread.metrics.intervals import Estimate, Flags, Floats, Ints, share
from steadyread.metrics.paired_tests import sign_flip_test
from steadyread.metrics.pairs import Pair, key_of, paired
from steadyread.metrics.reads import ALL, CT_NOISE, LINF, Reads
from steadyread.metrics.robustness import Merged, median_flip, merged_found_size
from steadyread.units import Bounds, Size, number_of, size_json

ACCURACY, ROBUST, CHANGED = "accuracy", "robust_accuracy", "changed_at_least_once"
_ROUNDING = 1e-6     # of a size: what a plan's text or float32 may have lost of it


@dataclass(frozen=True)
class Compared:
    """One number of two networks: `measure` under an attack of a threat at a `size` on the threat's axis.

    The columns are those of `tidy.Number`; `size` is that of `units.size_json`, or a dose in mAs, None of clean reads.
    `exact` is False of an accuracy merged from the sizes tried alone.
    """

    measure: str
    contrast: Contrast
    threat: str = ""
    attack: str = ""
    against: str = ""
    size: Size | None = None
    exact: bool = True

    def as_json(self) -> dict[str, Any]:
        """The columns, and the parts of the contrast beside them."""
        return {name: value for name, value in vars(self).items() if name != "contrast"} | self.contrast.as_json()


def compared(before: Reads, after: Reads, sizes: Sequence[float], bounds: Bounds, seed: int = 0, *,
             against: str = "label", limit: float = math.inf) -> dict[str, Any]:
    """What hardening did to the same images: `Estimate`s and `Compared` inside, plain values by `summary.as_json`.

    `rows` are the clean accuracy; at each of `sizes` (native) the accuracy under each fixed attack of that size, and
    the robust one by the smallest flips over all attacks that both networks met; and of each CT noise that both met
    at a dose the share of reads that it changes at least once. An attack's rows stand together. `clean` is the first
    row's contrast.

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
    patients = pair.before.patient
    clean = contrast(_known(pair.before.correct, pair), _known(pair.after.correct, pair), patients, seed)
    under = [row for size in sorted(set(map(float, sizes)))
             for row in _at(pair, against, (size, size_json(size, bounds)), limit, seed)]
    names = [(row.measure, row.attack, row.threat) for row in under]
    under.sort(key=lambda row: (row.measure, not row.exact and row.measure == ROBUST,
                                names.index((row.measure, row.attack, row.threat))))
    return {"against": against, "images": int((pair.before.there & pair.after.there).any(1).sum()),
            "patients": len(np.unique(patients)), "only_before": pair.only_before, "only_after": pair.only_after,
            "clean": clean, "rows": [Compared(ACCURACY, clean), *under, *_under_noise(pair, seed)],
            "classes": {"label": _kinds(pair.before.label), "before": _kinds(pair.before.prediction),
                        "after": _kinds(pair.after.prediction)},
            "flips": _flips(pair, against, bounds, seed)}


def headline(rows: Sequence[Compared], epsilon: float | None) -> Compared | None:
    """The row that a verdict speaks of: the robust accuracy at the size that training taught (native), else at the
    largest that is told; None without any."""
    robust = [row for row in rows if row.measure == ROBUST]
    taught = [row for row in robust if epsilon is not None
              and math.isclose(number_of(row.size), epsilon, rel_tol=_ROUNDING)]
    return next(iter(taught), max(robust, key=lambda row: number_of(row.size), default=None))


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


def _at(pair: Pair, against: str, size: tuple[float, Size], limit: float, seed: int) -> Iterator[Compared]:
    """Which reads are right at one size: under each attack of that size, and by the merged smallest flips."""
    patients, searched = pair.before.patient, _searched(pair, against) and size[0] <= limit * (1 + _ROUNDING)
    tried = {key_of(outcome): outcome for outcome in pair.after.fixed(against)}
    here = [(outcome, tried[key_of(outcome)]) for outcome in pair.before.fixed(against)
            if math.isclose(outcome.level, size[0], rel_tol=_ROUNDING)]
    for first, second in here:
        judged = first.present & second.present
        row = contrast(_known(first.prediction == pair.before.labels, pair, judged),
                       _known(second.prediction == pair.after.labels, pair, judged), patients, seed)
        yield Compared(ACCURACY, row, first.threat, first.attack, against, size[1])
    if here or searched:
        sides = [merged_found_size(reads, against) for reads in (pair.before, pair.after)]
        judged = sides[0].present & sides[1].present
        if judged.any():
            row = contrast(_known(stands_at(pair.before, sides[0], size[0]), pair, judged),
                           _known(stands_at(pair.after, sides[1], size[0]), pair, judged), patients, seed)
            yield Compared(ROBUST, row, LINF, ALL, against, size[1], searched)


def _under_noise(pair: Pair, seed: int) -> Iterator[Compared]:
    """The reads that each CT noise changes, by attack and dose."""
    for attack, mas in pair.before.under:
        row = flips_contrast(pair, attack, mas, pair.before.judged, seed)
        if row is not None:
            yield Compared(CHANGED, row, CT_NOISE, attack, "prediction",
                           {"native": mas, "unit": "mAs", "of_range": None})


def stands_at(reads: Reads, merged: Merged, size: float) -> Flags:
    """Which images are right at a size: the flipped ones by what they flipped to, the others as unattacked."""
    return np.where(merged.found <= size, merged.prediction == reads.labels, reads.correct)


def _searched(pair: Pair, against: str) -> bool:
    return pair.before.smallest_flip(against) is not None     # an attack here is one that both met


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
