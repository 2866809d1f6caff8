"""Which data set's reads are the most fragile, everything else held equal: medians of smallest flips, set by set.

[A] (doi:10.1200/CCI.21.00170) holds that networks for medical images are more fragile than those for everyday ones,
from networks that differ in image size, training and number of classes. Here every set has the same network, size
and training, and sizes are shares of the range of valid values.
The sets are independent of each other, so a ratio of two medians is drawn from both sets' own resampled patients.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.metrics.intervals import FEWEST, Estimate, Floats, enough, resamples, tails, weighted_median
from steadyread.metrics.reads import Strings
from steadyread.metrics.verdicts import verdict
from steadyread.units import Bounds, size_json


@dataclass(frozen=True, eq=False)
class Alike:
    """One set at equal conditions: the smallest flips (n,) of its right reads, native (inf: none), and its facts.

    `medical` is None where nobody said so. `limit` is the size up to which every flip was searched for.
    """

    name: str
    found: Floats
    patients: Strings
    bounds: Bounds
    accuracy: Estimate
    medical: bool | None = None
    limit: float = math.inf


def fragility(sets: Sequence[Alike], seed: int = 0) -> dict[str, Any]:
    """Medians of the smallest flips with ranks, and the ratios of every medical set to every everyday one.

    `rows` have the set's facts, and `median` with `low` and `high` in native units; `of_range` is the same median as
    an Estimate of the share of the range (infinite where most reads were never flipped), and `rank` its place: 1 is
    the most fragile, with its 95 % interval. `pairs` have a medical set (`one`), an everyday one (`other`) and the
    ratio of their medians: below 1 the medical one is more fragile.
    """
    draws = {one.name: _medians(one, seed) for one in sets}
    ranks = _ranks(sets, draws)
    rows = [_row(one, draws[one.name]) | {"rank": ranks.get(one.name)} for one in sets]
    pairs = [{"one": one.name, "other": other.name, "ratio": ratio} for one in sets for other in sets
             if one.medical is True and other.medical is False and (ratio := _ratio(one, other, draws)) is not None]
    return {"rows": rows, "pairs": pairs}


def way_of(ratio: Estimate) -> str:
    """"more" where a ratio's interval says more fragile than the other, "less", "alike", or "few" without one."""
    way = verdict(ratio, nothing=1.0)
    return {"better": "less", "worse": "more"}.get(way, way)


def tally(pairs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many pairs go which way."""
    ways = [way_of(pair["ratio"]) for pair in pairs]
    return {way: ways.count(way) for way in ("more", "less", "alike", "few")}


@dataclass(frozen=True, eq=False)
class _Median:
    """The median of a set's flips, native, and that of each resample of so many `patients`.

    `told` is False for too few patients.
    """

    value: float
    drawn: Floats
    told: bool
    patients: int = 0


def _medians(one: Alike, seed: int) -> _Median:
    """Drawn with a seed of the set's own name: two sets of as many patients must not be drawn alike."""
    if len(one.found) < FEWEST:
        return _Median(math.nan, np.zeros(0), False)
    own = seed + zlib.crc32(one.name.encode())
    drawn = np.concatenate([weighted_median(weights, one.found) for weights in resamples(one.patients, own)])
    value = float(weighted_median(np.ones((1, len(one.found))), one.found)[0])
    return _Median(value, drawn, enough(drawn, one.patients), len(np.unique(one.patients)))


def _row(one: Alike, median: _Median) -> dict[str, Any]:
    low, high = _interval(median.drawn, median.patients) if median.told else (math.nan, math.nan)
    return {"name": one.name, "images": len(one.found), "patients": len(np.unique(one.patients)),
            "accuracy": one.accuracy, "medical": one.medical, "unit": one.bounds.unit,
            "range": one.bounds.range, "never": float(np.isinf(one.found).mean()) if len(one.found) else None,
            "searched_up_to": size_json(one.limit, one.bounds) if math.isfinite(one.limit) else None,
            "median": size_json(median.value, one.bounds), "low": size_json(low, one.bounds),
            "high": size_json(high, one.bounds), "of_range": _of_range(median, one)}


def _of_range(median: _Median, one: Alike) -> Estimate:
    if math.isnan(median.value):
        return Estimate(None)
    unit = one.bounds.range
    low, high = _interval(median.drawn, median.patients) if median.told else (None, None)
    return Estimate(median.value / unit, None if low is None else low / unit, None if high is None else high / unit,
                    len(one.found))


def _ranks(sets: Sequence[Alike], draws: Mapping[str, _Median]) -> dict[str, dict[str, Any]]:
    """The rank of each set that has a median; its interval where all of them have enough patients."""
    held = [(one, one.bounds.range) for one in sets if not math.isnan(draws[one.name].value)]
    if not held:
        return {}
    values = np.array([draws[one.name].value / unit for one, unit in held])
    ranks = 1 + (values[:, None] > values[None]).sum(1)
    spans: list[tuple[int | None, int | None]] = [(None, None)] * len(held)
    if all(draws[one.name].told for one, _ in held):
        count = min(len(draws[one.name].drawn) for one, _ in held)
        drawn = np.stack([draws[one.name].drawn[:count] / unit for one, unit in held])
        spread = 1 + (drawn[:, None] > drawn[None]).sum(1)
        fewest = min(draws[one.name].patients for one, _ in held)
        spans = [(int(low), int(high)) for low, high in (_interval(row, fewest) for row in spread.astype(float))]
    return {one.name: {"rank": int(rank), "low": low, "high": high, "of": len(held)}
            for (one, _), rank, (low, high) in zip(held, ranks, spans, strict=True)}


def _ratio(one: Alike, other: Alike, draws: Mapping[str, _Median]) -> Estimate | None:
    """The ratio of two medians; None where neither set is flipped by half."""
    first, second = draws[one.name], draws[other.name]
    scale = other.bounds.range / one.bounds.range
    with np.errstate(invalid="ignore"):
        value = float(np.float64(first.value) / second.value * scale)
        if math.isnan(value):
            return None
        if not (first.told and second.told):
            return Estimate(value)
        count = min(len(first.drawn), len(second.drawn))
        drawn = first.drawn[:count] / second.drawn[:count] * scale
    known = drawn[~np.isnan(drawn)]
    if 2 * len(known) <= count:
        return Estimate(value)
    low, high = _interval(known, min(first.patients, second.patients))
    return Estimate(value, low, high)


def _interval(drawn: Floats, patients: int) -> tuple[float, float]:
    """The 95 % interval of values drawn from so many patients, some maybe infinite: none between two is made up."""
    ordered = np.sort(drawn)
    low, high = (float(ordered[round(tail * (len(ordered) - 1))]) for tail in tails(patients))
    return low, high
