"""All scores of a read in one: a logistic regression of right against wrong, fitted on validation reads alone.

The combination asks whether scores that each say little more than the margin say more together. It is fitted
with a fixed penalty, so nothing is tuned; with few wrong reads, or few right ones, there is nothing to fit it on,
and it is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from steadyread.metrics.intervals import Flags, Floats

COMBINED = "combined"
FEWEST_OF_EACH = 10   # wrong and right validation reads, below which nothing is fitted
PENALTY = 1.0
_KNOTS = 101


@dataclass(frozen=True, eq=False)
class Feature:
    """One score as the combination sees it: a monotone map of its values, drawn through knots.

    `values` (m,) ascend and are finite, but for a last one of inf; `levels` (m,) are the normal scores of their
    ranks among the validation reads, with mean 0 and standard deviation 1 there. Between knots the map is a
    straight line, beyond them flat.
    """

    values: Floats
    levels: Floats
    weight: float

    def __call__(self, score: Floats) -> Floats:
        """The levels of scores (n,)."""
        finite = np.isfinite(self.values)
        if not finite.any():
            return np.full(len(score), self.levels[-1])
        reached = np.interp(score, self.values[finite], self.levels[finite])
        return np.where(score == np.inf, self.levels[-1], reached)


@dataclass(frozen=True, eq=False)
class Combination:
    """The log odds that a read is right, from its scores: `intercept` plus weight x level of each feature."""

    features: Mapping[str, Feature]
    intercept: float
    reads: int
    wrong: int

    def __call__(self, score: Mapping[str, Floats]) -> Floats:
        """The log odds of n reads, (n,), from the scores that it was fitted on, by name."""
        return np.asarray(self.intercept + sum(
            feature.weight * feature(score[name]) for name, feature in self.features.items()))

    def as_json(self) -> dict[str, Any]:
        """The whole rule, as `combination_of` reads it: a weight is of log odds a standard deviation."""
        return {"reads": self.reads, "wrong": self.wrong, "penalty": PENALTY, "intercept": self.intercept,
                "features": {name: {"weight": feature.weight, "values": feature.values, "levels": feature.levels}
                             for name, feature in self.features.items()}}


def combination_of(told: Mapping[str, Any] | None) -> Combination | None:
    """The rule that a summary tells; None where it has none."""
    if told is None or told["features"] is None:
        return None
    features = {name: Feature(np.array([float(value) for value in one["values"]]),
                              np.array(one["levels"], np.float64), float(one["weight"]))
                for name, one in told["features"].items()}
    return Combination(features, float(told["intercept"]), int(told["reads"]), int(told["wrong"]))


def fitted(score: Mapping[str, Floats], wrong: Flags) -> tuple[Combination | None, str | None]:
    """The combination of the scores of m validation reads, (m,) each; or None, and in one sentence why.

    A read of which any score is -inf (undecided) is left out of the fit. Scores that are the same for all reads
    carry nothing and get no weight.
    """
    usable = np.all([values > -np.inf for values in score.values()], axis=0)
    missed = int(wrong[usable].sum())
    right = int(usable.sum()) - missed
    if min(missed, right) < FEWEST_OF_EACH:
        return None, (f"The scores are not combined: that needs {FEWEST_OF_EACH} wrong and {FEWEST_OF_EACH} right "
                      f"validation reads to be fitted on, and there are {missed} wrong and {right} right.")
    maps = {name: normal_scores(values[usable]) for name, values in score.items()}
    levels = np.stack([made(values[usable]) for made, values in zip(maps.values(), score.values(), strict=True)], 1)
    weights, intercept = logistic(levels, ~wrong[usable])
    features = {name: Feature(made.values, made.levels, float(weight))
                for (name, made), weight in zip(maps.items(), weights, strict=True)}
    return Combination(features, intercept, missed + right, missed), None


def normal_scores(values: Floats) -> Feature:
    """The map from scores to the normal scores of their ranks among `values` (m,); equal values share a mid-rank.

    So a feature is the same in any unit, on any monotone scale, and with an infinite flip among its values.
    """
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(values)
    level = stats.norm.ppf(middle)
    mean, deviation = float(level[place].mean()), float(level[place].std())
    level = (level - mean) / deviation if deviation > 0 else np.zeros(len(level))
    if len(distinct) > _KNOTS:
        kept = np.unique(np.linspace(0, len(distinct) - 1, _KNOTS).round().astype(int))
        distinct, level = distinct[kept], level[kept]
    return Feature(distinct, level, 1.0)


def logistic(features: Floats, right: Flags, penalty: float = PENALTY) -> tuple[Floats, float]:
    """Weights (f,) and intercept that minimise sum log(1 + exp(-s (x.w + b))) + penalty / 2 |w|^2.

    s is 1 where a read is right and -1 where it is wrong; the intercept is free of the penalty. The problem is
    convex with one minimum wherever both kinds occur (le Cessie and van Houwelingen 1992, doi:10.2307/2347628).
    """
    signs = np.where(right, 1.0, -1.0)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, intercept = parameters[:-1], parameters[-1]
        signed = signs * (features @ weights + intercept)
        pull = -signs * special.expit(-signed)
        value = float(np.logaddexp(0, -signed).sum() + penalty / 2 * weights @ weights)
        return value, np.append(features.T @ pull + penalty * weights, pull.sum())

    found = optimize.minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B",
                              options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9})
    return np.asarray(found.x[:-1]), float(found.x[-1])
