"""The forms of values in tables: shares, differences, sizes, medians, each with its interval where it has one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.report.table import Column, Form
from steadyread.units import number_of, unit_word
from steadyread.words.noise import plus_minus
from steadyread.words.numbers import NONE, digits, factor, p_shown, points

Ends = Callable[[float], str]
Show = Callable[[float | None], str]
Words = Callable[[Estimate | None], str]


def number(value: float | None, scale: float = 100.0, decimals: int = 1) -> str:
    """A number for a column whose head says the unit; never a minus sign before 0, a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{scale * value:z.{decimals}f}".replace("-", "−")


def interval(estimate: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """The interval alone, `79.1 to 92.3`; a dash where a value has none or one of no width, empty without a value."""
    low, _, high = (ends := between(estimate, _number(scale, decimals))).partition(" to ")
    return NONE if high and low == high else ends


def between(estimate: Estimate | None, show: Ends) -> str:
    """The ends of an interval in words; a dash where a value has none, empty where there is no value."""
    if estimate is None or estimate.value is None:
        return ""
    return NONE if estimate.low is None or estimate.high is None else f"{show(estimate.low)} to {show(estimate.high)}"


def _number(scale: float, decimals: int) -> Show:
    return lambda value: number(value, scale, decimals)


def _signed(scale: float, decimals: int) -> Show:
    return lambda value: f"{'+' if value is not None and value > 0 else ''}{number(value, scale, decimals)}"


def _points(scale: float, decimals: int) -> Show:
    return lambda value: points(None if value is None else scale * value / 100, decimals)


def _digits(value: float | None) -> str:
    return NONE if value is None else digits(value)


def _value(show: Show) -> Words:
    return lambda estimate: show(None if estimate is None else estimate.value)


def _ends(show: Ends) -> Words:
    return lambda estimate: between(estimate, show)


def _interval(scale: float, decimals: int) -> Words:
    return lambda estimate: interval(estimate, scale, decimals)


def _known(words: Words) -> Words:
    """Only where there is an interval: for small words beneath."""
    return lambda estimate: "" if estimate is None or None in (estimate.low, estimate.high) else words(estimate)


def share(scale: float = 100.0, decimals: int = 1) -> Form:
    """A number of an `Estimate` in a column, its interval in one beside."""
    return Form(_value(_number(scale, decimals)), beside=_interval(scale, decimals))


def stacked(scale: float = 100.0, decimals: int = 1) -> Form:
    """A number with its interval beneath."""
    return Form(_value(_number(scale, decimals)), beneath=_known(_interval(scale, decimals)))


def signed(scale: float = 100.0, decimals: int = 1) -> Form:
    """A difference with its sign, its interval beside."""
    return Form(_value(_signed(scale, decimals)), beside=_ends(_number(scale, decimals)))


def signed_stacked(scale: float = 100.0, decimals: int = 1) -> Form:
    """A difference with its sign, its interval beneath."""
    return Form(_value(_signed(scale, decimals)), beneath=_known(_ends(_number(scale, decimals))))


def change(scale: float = 100.0, decimals: int = 1) -> Form:
    """A difference with its sign, `+4.1` or `0.0`, its interval beneath with the signs of both ends."""
    show = _points(scale, decimals)
    return Form(_value(show), beneath=_ends(show))


def mean_sd(scale: float = 100.0, decimals: int = 1) -> Form:
    """Mean and standard deviation over folds, `11.2 ± 4.1`, the values of the folds as a tooltip."""
    return replace(folded(scale, decimals), beside=None)


def folded(scale: float = 100.0, decimals: int = 1) -> Form:
    """As `mean_sd`, the interval over patients beside."""
    def hint(value: Estimate | None) -> str:
        if value is None or len(value.folds) < 2:
            return ""
        return "folds: " + ", ".join(NONE if each is None else f"{scale * each:.{decimals}f}" for each in value.folds)

    return Form(lambda value: plus_minus(value, scale, decimals), beside=_interval(scale, decimals), hint=hint)


def optional(form: Form) -> Form:
    """The same, empty where there is no value."""
    beneath = form.beneath
    return replace(form, show=lambda value: "" if value is None else form.show(value),
                   beneath=None if beneath is None else lambda value: "" if value is None else beneath(value))


def only(decimals: int = 1, scale: float = 100.0) -> Form:
    """A number alone, of an `Estimate` or as it is."""
    show = _number(scale, decimals)
    return Form(lambda value: show(value.value if isinstance(value, Estimate) else value))


TEXT = Form(str, tone="")
TEXTS = Form(lambda pair: str(pair[0]), beside=lambda pair: str(pair[1]))   # both as words
WRAPPED = Form(str, tone="wrap")
COUNT = Form(str)
OPTIONAL = Form(lambda count: NONE if count is None else f"{count:,}")
DOSE = Form(lambda mas: mas if isinstance(mas, str) else f"{mas:g}")
POINTS = Form(_value(points), beside=_ends(points))
POINTS_STACKED = change()
P_VALUE = Form(p_shown)
DIGITS = Form(_digits)
DIGITS_BESIDE = Form(_value(_digits), beside=_ends(digits))
FACTOR_STACKED = Form(_value(factor), beneath=_known(_ends(factor)))
DIGITS_STACKED = Form(_value(_digits), beneath=_known(_ends(digits)))


def of_range(size: Mapping[str, Any] | None) -> str:
    """A stored size as a share of the range; 0 of a clean image."""
    return "0" if size is None else digits(float(size["of_range"]))


def native(size: Mapping[str, Any] | None) -> str:
    """A stored size in its own unit, without its name."""
    return "0" if size is None else digits(number_of(size))


def sized(size: Mapping[str, Any] | None) -> str:
    """A stored size with its unit, `2.8 HU`; of images without a unit as a share of the range; empty without one."""
    if size is None:
        return ""
    value = number_of(size)
    if not math.isfinite(value):
        return "none found" if value > 0 else NONE
    return f"{digits(value)} {unit_word(str(size['unit']), value)}" if size["unit"] else f"{of_range(size)} of range"


def _small_share(size: Mapping[str, Any] | None) -> str:
    known = size is not None and size["unit"] and math.isfinite(number_of(size))
    return f"{of_range(size)} of range" if known else ""


SIZED = Form(sized, beneath=_small_share)


def size_column(title: str, unit: str) -> Column:
    """A column of stored sizes: in the images' own unit, the share of the range small beside; of images without a unit
    the share alone."""
    form = Form(native, beside=of_range, beside_title="of range") if unit else Form(of_range)
    return Column(f"{title}, {unit or 'of range'}", form)
