"""The forms of values in tables: shares, differences, sizes, medians, each with its interval where it has one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.report.table import Form
from steadyread.units import number_of
from steadyread.words.numbers import NONE, digits, factor, p_shown, points

Ends = Callable[[float], str]


def number(value: float | None, scale: float = 100.0, decimals: int = 1) -> str:
    """A number for a column whose head says the unit; never a minus sign before 0, a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{scale * value:z.{decimals}f}".replace("-", "−")


def interval(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """The interval alone, `79.1 to 92.3`; a dash where a value has none, empty where there is no value."""
    return between(found, lambda end: number(end, scale, decimals))


def between(found: Estimate | None, show: Ends) -> str:
    """The ends of an interval in words, as `interval` has it."""
    if found is None or found.value is None:
        return ""
    return NONE if found.low is None or found.high is None else f"{show(found.low)} to {show(found.high)}"


def _value(found: Estimate | None) -> float | None:
    return None if found is None else found.value


def _signed(value: float | None, scale: float, decimals: int) -> str:
    return f"{'+' if value is not None and value > 0 else ''}{number(value, scale, decimals)}"


def _known(show: Callable[[Estimate | None], str]) -> Callable[[Estimate | None], str]:
    """Only where there is an interval: for small words beneath."""
    return lambda found: "" if found is None or found.low is None or found.high is None else show(found)


def share(scale: float = 100.0, decimals: int = 1) -> Form:
    """A number of an `Estimate` in a column, its interval in one beside."""
    return Form(lambda found: number(_value(found), scale, decimals),
                beside=lambda found: interval(found, scale, decimals))


def stacked(scale: float = 100.0, decimals: int = 1) -> Form:
    """A number with its interval beneath."""
    return Form(lambda found: number(_value(found), scale, decimals),
                beneath=_known(lambda found: interval(found, scale, decimals)))


def signed(scale: float = 100.0, decimals: int = 1) -> Form:
    """A difference with its sign, its interval beside."""
    return Form(lambda found: _signed(_value(found), scale, decimals),
                beside=lambda found: interval(found, scale, decimals))


def signed_stacked(scale: float = 100.0, decimals: int = 1) -> Form:
    """A difference with its sign, its interval beneath."""
    return Form(lambda found: _signed(_value(found), scale, decimals),
                beneath=_known(lambda found: interval(found, scale, decimals)))


def _points(found: Estimate | None) -> str:
    return between(found, points)


def only(decimals: int = 1, scale: float = 100.0) -> Form:
    """A number alone, of an `Estimate` or as it is."""
    return Form(lambda found: number(found.value if isinstance(found, Estimate) else found, scale, decimals))


@dataclass(frozen=True)
class Mixed:
    """An estimate that brings its own scale and decimals, for a column of unlike rows."""

    found: Estimate
    scale: float = 100.0
    decimals: int = 1


MIXED = Form(lambda mixed: number(_value(mixed.found), mixed.scale, mixed.decimals),
             beside=lambda mixed: interval(mixed.found, mixed.scale, mixed.decimals))
TEXT = Form(str, tone="")
WRAPPED = Form(str, tone="wrap")
COUNT = Form(str)
POINTS = Form(lambda found: points(_value(found)), beside=_points)
POINTS_STACKED = Form(lambda found: points(_value(found)), beneath=_known(_points))
P_VALUE = Form(p_shown)
DIGITS = Form(lambda value: NONE if value is None else digits(value))
FACTOR_STACKED = Form(lambda found: factor(_value(found)), beneath=_known(lambda found: between(found, factor)))
DIGITS_STACKED = Form(lambda found: NONE if found is None or found.value is None else digits(found.value),
                      beneath=_known(lambda found: between(found, digits)))


def of_range(size: Mapping[str, Any] | None) -> str:
    """A stored size as a share of the range; 0 of a clean image."""
    return "0" if size is None else digits(float(size["of_range"]))


def native(size: Mapping[str, Any] | None) -> str:
    """A stored size in its own unit, without its name."""
    return "0" if size is None else digits(number_of(size))


OF_RANGE = Form(of_range)
NATIVE = Form(native)


def flip(found: Mapping[str, Any]) -> str:
    """A median smallest flip as a share of the range; a dash where none was searched."""
    value = number_of(found["median"])
    return "none found" if value == math.inf else NONE if math.isnan(value) else digits(
        float(found["median"]["of_range"]))
