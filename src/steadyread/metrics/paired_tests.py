"""Tests of paired differences that respect patients, and their correction where several are made."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from steadyread.metrics.intervals import LEVEL, Estimate, Floats
from steadyread.metrics.reads import Strings

_EXACT = 12          # patients that differ, up to which every pattern of signs is counted
_DRAWS, _CHUNK = 20_000, 2_000
_COUNTED = 20_000    # the sum of counts up to which their distribution is told exactly
_TIE = 1e-12


def sign_flip_test(values: Floats, patients: Strings, seed: int = 0) -> float:
    """The two-sided p of a mean difference of 0, from `values` (n,): the sign of each patient's sum is exchanged.

    Under the null hypothesis before and after could change places in any patient (Fisher's randomisation test; by
    whole patients, so that their images may depend on each other). Exact where the sums are whole, as counts of reads
    are (with one read a patient it is McNemar's exact test, doi:10.1007/BF02295996), and up to 12 patients that
    differ; else from 20 000 drawn patterns and never below 1 / 20 001. 1 where no patient differs.
    """
    _, codes = np.unique(patients, return_inverse=True)
    sums = np.bincount(codes, values) if len(values) else np.zeros(0)
    sums = sums[np.abs(sums) > _TIE]
    if not len(sums):
        return 1.0
    seen = abs(float(sums.sum())) - _TIE
    whole = np.abs(np.rint(sums)).astype(np.int64)
    if np.abs(np.abs(sums) - whole).max() < _TIE and whole.sum() <= _COUNTED:
        return _of_counts(whole, seen)
    if len(sums) <= _EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sums))))
        return float(np.mean(np.abs(signs @ sums) >= seen))
    random, beyond = np.random.default_rng(seed), 0
    for _ in range(_DRAWS // _CHUNK):
        signs = random.integers(0, 2, (_CHUNK, len(sums))) * 2.0 - 1.0
        beyond += int(np.sum(np.abs(signs @ sums) >= seen))
    return (1 + beyond) / (1 + _DRAWS)


def sign_flip_bound(values: Floats, patients: Strings) -> float:
    """Hoeffding's bound (doi:10.1080/01621459.1963.10500830) of the p of `sign_flip_test`, where so many are made that
    drawn patterns would not be enough: 2 exp(-t^2 / 2), t the sum over the root of the patients' summed squares."""
    _, codes = np.unique(patients, return_inverse=True)
    sums = np.bincount(codes, values) if len(values) else np.zeros(0)
    square = float((sums**2).sum())
    return 1.0 if square <= _TIE**2 else min(1.0, 2 * float(np.exp(-float(sums.sum()) ** 2 / 2 / square)))


def _of_counts(counts: NDArray[np.int64], seen: float) -> float:
    """The exact p of a sum of counts (n,), each with either sign: their distribution, count by count."""
    chances = np.ones(1)                    # of the sums -total, -total + 2, ..., total
    for count in counts:
        longer = np.zeros(len(chances) + count)
        longer[:len(chances)] += chances / 2
        longer[count:] += chances / 2
        chances = longer
    return min(1.0, float(chances[np.abs(2.0 * np.arange(len(chances)) - counts.sum()) >= seen].sum()))


def t_test(difference: Estimate, freedom: int) -> float | None:
    """The two-sided p of a difference of 0, from its interval of value -+ t SD; None where it has none.

    None where it has no width too: nothing differs in any resample, so nothing is tested, nor to be corrected for.
    """
    if difference.value is None or difference.low is None or difference.high is None:
        return None
    freedom = max(1, freedom)
    deviation = (difference.high - difference.low) / 2 / stats.t.ppf((1 + LEVEL) / 2, freedom)
    return None if deviation <= 0 else float(2 * stats.t.sf(abs(difference.value) / deviation, freedom))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p of each (1979, Scand J Statist 6:65-70); None stays None and does not count."""
    known = sorted((p, at) for at, p in enumerate(values) if p is not None)
    found: list[float | None] = [None] * len(values)
    least = 0.0
    for place, (p, at) in enumerate(known):
        least = max(least, min(1.0, (len(known) - place) * p))
        found[at] = least
    return found
