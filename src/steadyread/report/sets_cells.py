"""Figures of several data sets as the words of one cell, for the page and for Markdown alike."""

from collections.abc import Mapping
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.units import number_of, unit_word
from steadyread.words.numbers import NONE, digits, factor, points


def told(estimate: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """A figure with its interval in one cell: `51.2 (47.0 to 55.3)`."""
    if estimate is None or estimate.value is None:
        return NONE
    value = f"{scale * estimate.value:.{decimals}f}"
    if estimate.low is not None and estimate.high is not None:
        value += f" ({scale * estimate.low:.{decimals}f} to {scale * estimate.high:.{decimals}f})"
    return value.replace("-", "−")


def told_points(estimate: Estimate | None) -> str:
    """A difference in points with its interval in one cell: `+3.2 (+1.0 to +5.1)`."""
    if estimate is None or estimate.value is None:
        return NONE
    between = "" if estimate.low is None or estimate.high is None else (
        f" ({points(estimate.low)} to {points(estimate.high)})")
    return points(estimate.value) + between


def told_digits(estimate: Estimate | None) -> str:
    """A size with its interval to two digits: `0.0021 (0.0019 to 0.0024)`; `none found` where infinite."""
    if estimate is None or estimate.value is None:
        return NONE
    between = "" if estimate.low is None or estimate.high is None else (
        f" ({digits(estimate.low)} to {digits(estimate.high)})")
    return digits(estimate.value) + between


def rank_said(ranked: Mapping[str, Any] | None) -> str:
    """`2 (1 to 3)`; a dash without a rank."""
    if ranked is None:
        return NONE
    return f"{ranked['rank']}" + (f" ({ranked['low']} to {ranked['high']})" if ranked["low"] is not None else "")


def size_said(size: Any) -> str:
    """`64 × 64`; a dash where it is not known."""
    return "\u00a0×\u00a0".join(str(side) for side in size) if isinstance(size, list | tuple) and size else NONE


def unit_said(one: Mapping[str, Any]) -> str:
    """The unit of a set's images in a column's head."""
    return unit_word(str(one["unit"]))


def native(size: Mapping[str, Any]) -> str:
    """A size in the images' own unit, without its name."""
    return digits(number_of(size))


def times(estimate: Estimate) -> str:
    """A ratio with its interval: `2.4 (2.1 to 2.8)`."""
    if estimate.value is None:
        return NONE
    between = "" if estimate.low is None or estimate.high is None else (
        f" ({factor(estimate.low)} to {factor(estimate.high)})")
    return factor(estimate.value) + between
