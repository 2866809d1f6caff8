"""Numbers as words: the same number reads the same in the report, on the command line and in figures."""

import math
from collections.abc import Mapping
from typing import Any

from steadyread.registry import ATTACKS
from steadyread.units import Bounds, number_of, unit_word

NONE = "–"
_BESIDE = {"clean": "Clean", "smallest_flip": "Smallest flip"}     # what stands in records beside attacks
_SCORES = {"smallest_flip": "Smallest flip", "margin": "Margin", "entropy": "Entropy", "random": "Random",
           "views": "Mean over views", "members": "Mean over networks",
           "disagreement": "Disagreement", "combined": "All combined",
           "gradient": "Margin over its gradient"}
_MANY = 10.0     # a factor from which on no decimals are printed


def digits(value: float, significant: int = 2) -> str:
    """A number to so many significant digits, zeros kept: 9.8, 0.0070, 140. A true minus sign."""
    if not math.isfinite(value):
        return "none found" if value > 0 else NONE
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -6:
        return f"{value:.{significant - 1}e}".replace("-", "−")
    decimals = max(0, significant - 1 - exponent)
    return f"{value:.{decimals}f}".replace("-", "−")


def show_native(size: float, bounds: Bounds) -> str:
    """A size in native units for a sentence: `9.8 HU (0.0070 of the range)`."""
    if not math.isfinite(size):
        return "none found"
    share = f"{digits(size / bounds.range)} of the range"
    return f"{digits(size)} {unit_word(bounds.unit, size)} ({share})" if bounds.unit else share


def show_size_json(size: Mapping[str, Any] | None) -> str:
    """`show_native` of a stored size."""
    value = number_of(size)
    if size is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "none found"
    share = f"{digits(float(size['of_range']))} of the range"
    return f"{digits(value)} {unit_word(str(size['unit']), value)} ({share})" if size["unit"] else share


def counted(number: int, name: str) -> str:
    """`1 patient`, `40 patients`."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def percent(value: float | None, decimals: int = 1) -> str:
    """A share as `86.2 %`."""
    return NONE if value is None else f"{100 * value:.{decimals}f} %".replace("-", "−")


def attack_name(name: str) -> str:
    """An attack's name as the literature writes it."""
    return _BESIDE.get(name) or ATTACKS.title(name)


def score_name(name: str) -> str:
    """A triage score's name."""
    return _SCORES.get(name) or ATTACKS.title(name)


def points(value: float | None, decimals: int = 1) -> str:
    """A difference of shares in points, signed: `+40.8`, `−2.0`, `0.0`."""
    if value is None:
        return NONE
    rounded = round(100 * value, decimals) + 0.0
    return f"{'+' if rounded > 0 else ''}{rounded:.{decimals}f}".replace("-", "−")


def p_shown(p: float | None) -> str:
    """A p-value for print, never 0."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"


def factor(value: float | None) -> str:
    """A ratio of sizes: `2.4`, `13`, `none found` where most are never flipped after."""
    if value is None or math.isinf(value):
        return NONE if value is None else "none found"
    return f"{value:.0f}" if value >= _MANY else digits(value)
