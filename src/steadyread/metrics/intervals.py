"""Intervals: exact for shares, by resampling patients for everything else.

Several images of one patient are not independent. A share's interval is Clopper-Pearson at the effective
sample size (Korn and Graubard 1998, Survey Methodology 24:193-201): the number of independent images that
would give the variance seen between patients. With one image a patient it is Clopper-Pearson as it stands,
and unlike a bootstrap it stays honest where every image is right, or none. Resampling tells nothing of patients
unlike those seen: with few of them, or where all resamples agree, it gives no interval rather than a narrow one.
Quantiles of resamples are too narrow for tens of patients: they are taken further out, as Student's t of
(patients - 1) asks for, and figures between 0 and 1 get that t on the logit scale (see `Scale`).
docs/concepts.md holds the coverage of each, simulated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

LEVEL = 0.95
FEWEST = 10       # patients, below which resampling gives no interval
FEWEST_ALIKE = 30   # the same where all resamples agree: one patient in ten may differ and not have been seen
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Statistic = Callable[[Floats], Floats]
_CELLS = 4_000_000     # resamples x images held at a time


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over patients; None where there is nothing to tell. `n` images.

    Over folds `value` is their mean, `folds` are their values (None where one has none) and `sd` is their standard
    deviation (None where fewer than two have a value).
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    sd: float | None = None
    folds: tuple[float | None, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The estimate as plain values; `sd` and `folds` only where there are folds."""
        plain = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        return {**plain, "sd": self.sd, "folds": list(self.folds)} if self.folds else plain

    def within(self, interval: ArrayLike) -> Self:
        """The same number with another interval (2,), NaN where it has none."""
        low, high = np.asarray(interval, np.float64)
        return replace(self, low=_number(low), high=_number(high))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The estimate that `as_json` wrote, whose whole numbers may have come back as integers."""
        value, low, high = (None if plain[key] is None else float(plain[key]) for key in ("value", "low", "high"))
        return cls(value, low, high, int(plain["n"]), plain.get("sd"), tuple(plain.get("folds", ())))


def estimate(value: float, interval: ArrayLike, n: int) -> Estimate:
    """An `Estimate` of numbers of which any may be NaN (then None)."""
    return Estimate(_number(value), n=n).within(interval)


def revived(value: Any) -> Any:
    """A summary with its estimates again, from plain values as JSON holds them; estimates stay as they are."""
    if isinstance(value, Mapping):
        if {"value", "low", "high", "n"} <= value.keys():
            return Estimate.from_json(value)
        return {key: revived(inner) for key, inner in value.items()}
    return [revived(inner) for inner in value] if isinstance(value, list) else value


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """The exact binomial interval (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).

    `successes` and `trials` broadcast and need not be whole (an effective sample size is not). No trials
    give 0 to 1.
    """
    count, total = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    tail = (1 - level) / 2
    missing = np.maximum(total - count, 0.0)
    low = special.betaincinv(np.maximum(count, 1e-12), missing + 1, tail)
    high = special.betaincinv(count + 1, np.maximum(missing, 1e-12), 1 - tail)
    return np.where(count <= 0, 0.0, low), np.where(missing <= 0, 1.0, high)


def exceeds(count: int, trials: int, allowed: float) -> bool:
    """Whether `count` of the trials are more than an allowed share, by the lower end of Clopper and Pearson's."""
    return float(clopper_pearson(count, trials)[0]) > allowed


def share(flags: ArrayLike, patients: ArrayLike, level: float = LEVEL) -> Estimate:
    """The share of true `flags` (n,) with its interval over `patients` (n,)."""
    chosen = np.asarray(flags, bool)
    n = len(chosen)
    if not n:
        return Estimate(None)
    _, codes = np.unique(np.asarray(patients), return_inverse=True)
    sizes = np.bincount(codes).astype(np.float64)
    value = float(chosen.mean())
    spread = float(np.sum((np.bincount(codes, chosen) - value * sizes) ** 2))
    low, high = share_interval(value, spread, n, len(sizes), level)
    return Estimate(value, float(low), float(high), n)


def share_interval(value: ArrayLike, spread: ArrayLike, n: int, patients: int,
                   level: float = LEVEL) -> tuple[Floats, Floats]:
    """The interval of shares of `n` images of so many patients.

    `spread` is the sum over patients of (true flags - value x images)^2, so that spread / n^2 is the
    share's variance; with one image a patient this is value (1 - value) / n and the effective size n.
    """
    share_, between = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(spread, np.float64))
    inside = (share_ > 0) & (share_ < 1) & (between > 1e-12)
    effective = np.full(share_.shape, float(patients))
    effective = np.divide(share_ * (1 - share_) * n**2, between, out=effective, where=inside)
    effective = np.minimum(effective, n) * _freedom(n, patients, level)
    return clopper_pearson(share_ * effective, effective, level)


@dataclass(frozen=True)
class Scale:
    """How an interval is made of resamples: by their quantiles, or as value -+ t SD on one of two scales.

    `quantiles` are the expanded ones of Hesterberg 2015 (doi:10.1080/00031305.2015.1089789), which follow a
    median's steps; `linear` is for differences; `logit` for areas between 0 and 1, where resamples beyond half a
    pair of patients from either end are taken for that. `freedom` are the degrees of freedom of t, (patients - 1)
    where None: fewer where few of the patients carry the figure, such as those with a wrong read.
    """

    name: Literal["quantiles", "linear", "logit"] = "quantiles"
    freedom: int | None = None


QUANTILES = Scale()


def bootstrap(statistic: Statistic, patients: ArrayLike, seed: int = 0, level: float = LEVEL,
              scales: Sequence[Scale] = (QUANTILES,)) -> Floats:
    """Intervals (s, 2) of a statistic, by drawing whole patients with replacement.

    Args:
        statistic: takes weights (b, n), how often each image was drawn in each of b resamples, and returns
            (b,) or (b, s). NaN where a resample has no value (one class only, say): those are left out, and
            an interval is NaN where more than half of them are.
        patients: (n,), whose equal values are drawn together. Below `FEWEST` of them, or below
            `FEWEST_ALIKE` where all resamples agree, the interval is NaN: too few to tell.
        scales: one for each of the s values, or one for all.
    """
    groups = len(np.unique(np.asarray(patients)))
    values = np.concatenate([_as_columns(statistic(weights)) for weights in resamples(patients, seed)])
    whole = _as_columns(statistic(np.ones((1, len(np.asarray(patients))))))[0]
    known = np.isfinite(values)
    intervals = np.full((values.shape[1], 2), np.nan)
    for column, value in enumerate(whole):
        drawn = values[known[:, column], column]
        if known[:, column].mean() > 0.5 and enough(drawn, patients):
            scale = scales[column if len(scales) > 1 else 0]
            intervals[column] = np.quantile(drawn, tails(groups, level)) if scale.name == "quantiles" else \
                _by_deviation(float(value), drawn, groups, scale, level)
    return intervals


def tails(patients: int, level: float = LEVEL) -> tuple[float, float]:
    """The quantiles of resamples of so many patients that make an interval: 0.025 and 0.975 of endlessly many.

    Further out for fewer, as Student's t with the standard deviation of n - 1 asks for (expanded percentiles).
    """
    if patients < 2:
        return 0.0, 1.0
    reach = np.sqrt(patients / (patients - 1)) * stats.t.ppf((1 + level) / 2, patients - 1)
    low = float(stats.norm.cdf(-reach))
    return low, 1 - low


def by_t(p: float, patients: int) -> float:
    """A two-sided p read off resamples of so many patients, as `tails` has it for intervals."""
    if patients < 2:
        return 1.0
    reach = stats.norm.isf(p / 2) * np.sqrt((patients - 1) / patients)
    return float(2 * stats.t.sf(reach, patients - 1))


def _by_deviation(value: float, drawn: Floats, groups: int, scale: Scale, level: float) -> Floats:
    """value -+ t SD on the scale, (2,)."""
    freedom = groups - 1 if scale.freedom is None else max(1, min(scale.freedom, groups - 1))
    reach = stats.t.ppf((1 + level) / 2, freedom) * np.array([-1.0, 1.0])
    if scale.name == "linear":
        return np.asarray(value + reach * drawn.std())
    end = min(2 / groups**2, value / 2, (1 - value) / 2)
    if end <= 0:                       # the end itself has no logit; nor does a mean of shares but for rounding
        return np.full(2, np.nan)
    deviation = special.logit(np.clip(drawn, end, 1 - end)).std()
    return np.asarray(special.expit(special.logit(value) + reach * deviation))


def enough(drawn: Floats, patients: ArrayLike) -> bool:
    """Whether so many `patients` (n,) allow an interval from the values `drawn` (b,) by resampling them."""
    alike = len(drawn) == 0 or bool(np.isclose(drawn, drawn[0], rtol=1e-12, atol=1e-12).all())
    return len(np.unique(np.asarray(patients))) >= (FEWEST_ALIKE if alike else FEWEST)


def resamples(patients: ArrayLike, seed: int = 0) -> Iterator[Floats]:
    """Weights (b, n) of the images, chunk by chunk: 2000 resamples in all, fewer above 2000 images."""
    _, codes = np.unique(np.asarray(patients), return_inverse=True)
    n, groups = len(codes), int(codes.max(initial=-1)) + 1
    if not n:
        yield np.zeros((1, 0))
        return
    random = np.random.default_rng(seed)
    left = int(np.clip(_CELLS / n, 400, 2000))
    while left:
        rows = min(left, max(1, _CELLS // n))
        drawn = random.integers(0, groups, (rows, groups)) + np.arange(rows)[:, None] * groups
        counts = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
        yield counts[:, codes].astype(np.float64)
        left -= rows


def weighted_mean(weights: Floats, values: ArrayLike) -> Floats:
    """Mean of `values` (n,) under each row of `weights` (b, n); NaN where all weights are 0."""
    return ratio(weights @ np.asarray(values, np.float64), weights.sum(1))


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, NaN where the whole is 0."""
    found: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return found


def weighted_median(weights: Floats, values: ArrayLike) -> Floats:
    """The smallest of `values` (n,) that half of each row's weight does not exceed; inf is a value too."""
    flat = np.asarray(values, np.float64)
    order = np.argsort(flat, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    total = reached[:, -1:] if len(flat) else np.zeros((len(weights), 1))
    if not len(flat):
        return np.full(len(weights), np.nan)
    found = flat[order][np.argmax(reached >= total / 2, axis=1)]
    return np.where(total[:, 0] > 0, found, np.nan)


def _freedom(n: int, patients: int, level: float) -> float:
    """Korn and Graubard's correction for the few patients from whom the variance is known."""
    if patients == n or n < 2:
        return 1.0
    if patients < 2:
        return 0.0
    tail = (1 + level) / 2
    return float((stats.t.ppf(tail, n - 1) / stats.t.ppf(tail, patients - 1)) ** 2)


def _as_columns(values: Floats) -> Floats:
    return values[:, None] if values.ndim == 1 else values


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
