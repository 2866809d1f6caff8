"""Which features of a network change most under noise ([B] Fig. 9), over all test images.

The features of two networks have nothing to do with each other, so each fold's are ranked by themselves. How a
feature's change is measured stands in seen.json; here it is a number an image and a feature, NaN where a feature
has none (it is silent on that image).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from steadyread.metrics.intervals import Estimate, Floats, Ints, bootstrap, estimate, weighted_median
from steadyread.metrics.reads import Strings

_HALVES = 200      # random halves of the patients, in which the ranking is compared


@dataclass(frozen=True, eq=False)
class FeatureChange:
    """The change (n, k) of each of k features on n test images under one noise, of one fold's network."""

    fold: int
    case_id: Strings
    patient: Strings
    change: Floats

    def lively(self) -> Ints:
        """The features that have a figure on most images."""
        return np.flatnonzero(np.isfinite(self.change).mean(0) > 0.5) if len(self.change) else np.zeros(0, np.int64)


def feature_rows(held: Sequence[FeatureChange], seed: int = 0) -> list[dict[str, Any]]:
    """A network a row: its features from the most changed down, and how steady that ranking is.

    `ranked` has a feature a row with its median change and interval over patients; `silent` counts features without
    a figure on most images; `ratio` is the most changed feature's median over that of the middle feature, the most
    changed chosen anew in every resample; `agreement` the rank correlation of the rankings of two halves of the
    patients, median and middle nine tenths of 200 halvings.
    """
    return [_row(one, seed) for one in held if one.change.size]


def _row(one: FeatureChange, seed: int) -> dict[str, Any]:
    told = np.isfinite(one.change)
    lively = one.lively()
    medians = np.array([float(np.median(one.change[told[:, at], at])) for at in lively])

    def resampled(weights: Floats) -> Floats:
        each = np.stack([weighted_median(weights[:, told[:, at]], one.change[told[:, at], at]) for at in lively], 1)
        middle = np.median(each, axis=1)
        top = each.max(1)
        return np.column_stack([each, np.divide(top, middle, out=np.full(len(top), np.nan), where=middle > 0)])

    n = len(one.change)
    intervals = bootstrap(resampled, one.patient, seed) if len(lively) else np.full((1, 2), np.nan)
    order = np.argsort(-medians, kind="stable")
    ranked = [{"feature": int(lively[at]), **estimate(float(medians[at]), intervals[at],
                                                      int(told[:, lively[at]].sum())).as_json()} for at in order]
    middle = float(np.median(medians)) if len(lively) else float("nan")
    ratio = estimate(float(medians.max()) / middle, intervals[-1], n) if middle > 0 else Estimate(None, n=n)
    return {"fold": one.fold, "images": n, "patients": len(np.unique(one.patient)),
            "features": one.change.shape[1], "silent": one.change.shape[1] - len(lively), "ranked": ranked,
            "ratio": ratio, "agreement": agreement(one, seed)}


def agreement(one: FeatureChange, seed: int = 0) -> Estimate:
    """Rank correlation of the features' median changes in two random halves of the patients.

    None for fewer than three features with a figure, or fewer than two patients.
    """
    told = np.isfinite(one.change)
    lively = one.lively()
    _, codes = np.unique(one.patient, return_inverse=True)
    patients = int(codes.max(initial=-1)) + 1
    if len(lively) < 3 or patients < 2:
        return Estimate(None, n=len(one.change))
    random = np.random.default_rng(seed)
    change = np.where(told, one.change, np.nan)[:, lively]
    found = np.array([_halved(change, random.permutation(patients)[codes] < patients // 2) for _ in range(_HALVES)])
    found = found[np.isfinite(found)]
    if not len(found):
        return Estimate(None, n=len(one.change))
    return estimate(float(np.median(found)), np.quantile(found, (0.05, 0.95)), len(one.change))


def _halved(change: Floats, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Spearman's correlation of the columns' medians on either side of a halving; NaN where one has no median."""
    sides = [half for half in (change[chosen], change[~chosen]) if np.isfinite(half).any(0).all()]
    if len(sides) < 2:
        return float("nan")
    middles = [np.median if np.isfinite(half).all() else np.nanmedian for half in sides]     # the first is faster
    one, other = (rankdata(middle(half, axis=0)) for middle, half in zip(middles, sides, strict=True))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float(one @ other) / scale if scale > 0 else float("nan")
