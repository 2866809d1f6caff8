"""A figure of each fold's network, its mean and standard deviation over folds, and an interval over patients.

The folds judge the same patients, so their spread ([B]'s plus-minus) tells how much the training varies and not how
much another sample of patients would: both are told. Patients are resampled once for all folds.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from steadyread.metrics.intervals import (
    QUANTILES,
    Estimate,
    Floats,
    Scale,
    bootstrap,
    clopper_pearson,
    estimate,
    share_interval,
    weighted_mean,
)
from steadyread.metrics.reads import Strings

_ROUNDING = 1e-6     # of a share: what a model expects less often than this was not seen to happen
FoldStatistic = Callable[[Floats, int], Floats]


def over_folds(folds: Floats, interval: Floats, n: int) -> Estimate:
    """Fold values (f,), of which NaN are absent, with the interval (2,) of their mean over n cases."""
    known = folds[np.isfinite(folds)]
    mean = float(known.mean()) if len(known) else float("nan")
    spread = float(known.std(ddof=1)) if len(known) > 1 else None
    return replace(estimate(mean, interval, n), sd=spread,
                   folds=tuple(float(value) if np.isfinite(value) else None for value in folds))


def share_over_folds(flags: Floats, patients: Strings) -> Estimate:
    """The share of `flags` (n, f) of 0 and 1, NaN where absent, with the interval over `patients` (n,).

    Clopper and Pearson at the effective number of independent reads (see `intervals`), from the variance between
    patients of the folds' mean share: it stays honest where no case, or every case, is flagged. Networks that err
    on other cases make up to n x f independent reads.
    """
    kept = np.isfinite(flags).any(1)
    flags, patients = flags[kept], patients[kept]
    present = np.isfinite(flags)
    n, reads, counts = len(flags), int(present.sum()), present.sum(0)
    if not n:
        return over_folds(np.full(flags.shape[1], np.nan), np.full(2, np.nan), 0)
    filled = np.where(present, flags, 0.0)
    folds = np.divide(filled.sum(0), counts, out=np.full(len(counts), np.nan), where=counts > 0)
    there = counts > 0
    parted = np.where(present[:, there], flags[:, there] - folds[there], 0.0) * (reads / counts[there])
    _, codes = np.unique(patients, return_inverse=True)
    spread = float(np.sum(np.bincount(codes, parted.mean(1)) ** 2))
    low, high = share_interval(folds[there].mean(), spread, reads, int(codes.max()) + 1)
    return over_folds(folds, np.array([low, high]), n)


def mean_over_folds(values: Floats, patients: Strings, seed: int = 0) -> Estimate:
    """The mean of `values` (n, f), shares between 0 and 1, NaN where absent, with a bootstrap over patients.

    Where all are 0 (or 1, but for rounding), of which every resample is a copy, the interval is Clopper and
    Pearson's of as many independent cases as there are patients.
    """
    kept = np.isfinite(values).any(1)
    values, patients = values[kept], patients[kept]
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    n = len(values)
    whole = np.ones((1, n))
    folds = np.array([float(weighted_mean(whole * present[:, at], filled[:, at])[0]) if n else np.nan
                      for at in range(values.shape[1])])
    known = values[present]
    if len(known) and any(np.abs(known - end).max() < _ROUNDING for end in (0.0, 1.0)):
        patients_seen = len(np.unique(patients))
        return over_folds(folds, np.array(clopper_pearson(round(known[0]) * patients_seen, patients_seen)), n)
    interval = bootstrap(lambda weights: _mean_of_folds(weights, filled, present), patients, seed)[0] if n \
        else np.full(2, np.nan)
    return over_folds(folds, interval, n)


def statistic_over_folds(statistic: FoldStatistic, folds: int, patients: Strings, seed: int = 0,
                         scale: Scale = QUANTILES) -> Estimate:
    """Any statistic (weights (b, n), fold) -> (b,), averaged over folds within each resample of patients."""
    def averaged(weights: Floats) -> Floats:
        found = np.stack([statistic(weights, fold) for fold in range(folds)], axis=1)
        return _known_mean(found)

    n = len(patients)
    if not n:
        return over_folds(np.full(folds, np.nan), np.full(2, np.nan), 0)
    values = np.array([float(statistic(np.ones((1, n)), fold)[0]) for fold in range(folds)])
    return over_folds(values, bootstrap(averaged, patients, seed, scales=(scale,))[0], n)


def _mean_of_folds(weights: Floats, filled: Floats, present: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """The mean over folds of each fold's weighted mean, (b,), from values (n, f) of which some are absent."""
    whole = weights @ present.astype(np.float64)
    part = weights @ filled
    means = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return _known_mean(means)


def _known_mean(found: Floats) -> Floats:
    """The mean over the second axis of (b, f), NaN left out; NaN where all are."""
    known = np.isfinite(found)
    mean: Floats = np.divide(np.where(known, found, 0.0).sum(1), known.sum(1), out=np.full(len(found), np.nan),
                             where=known.any(1))
    return mean
