"""Sizes with their units: what "0.002 range" and "5.6 HU" mean for images of stated bounds.

Between modules every size is in the image's native unit. Only what a person types (study files,
flags) and what is printed carries another, and both pass through here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from steadyread.errors import UsageError

_NUMBER = r"[0-9.]+(?:[eE][+-]?[0-9]+)?"
_SIZE = re.compile(rf"^\s*({_NUMBER})(?:\s*/\s*({_NUMBER}))?\s*([A-Za-z][A-Za-z \-]*?)?\s*$")
RANGE = "range"
Size = dict[str, float | str | None]


@dataclass(frozen=True)
class Bounds:
    """The valid values of an image: `low` to `high`, in `unit` ("HU", "grey level", or "" where unknown)."""

    low: float
    high: float
    unit: str = ""

    def __post_init__(self) -> None:
        stated = self.low, self.high
        for name in ("low", "high"):
            object.__setattr__(self, name, as_number(getattr(self, name)))
        if not self.low < self.high:
            raise UsageError(f"bounds must be LOW,HIGH with LOW below HIGH; got {stated[0]},{stated[1]}")

    @property
    def range(self) -> float:
        """high - low, in native units."""
        return self.high - self.low


def as_number(value: Any) -> float:
    """A number as it stands, that of a tensor or an array of one; NaN for what is none, text among it."""
    if isinstance(value, Real):
        return value    # type: ignore[return-value]
    try:
        return math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def unit_word(unit: str, count: float = math.inf) -> str:
    """The unit's name beside a number: grey levels have a plural, HU and whatever else a user states has none."""
    return "grey levels" if unit == "grey level" and count != 1 else unit


def size_json(size: float, bounds: Bounds) -> Size:
    """A size as plain values: native, its unit, and the share of the range. "inf" where none was found."""
    if math.isnan(size):
        return {"native": None, "unit": bounds.unit, "of_range": None}
    if math.isinf(size):
        return {"native": "inf", "unit": bounds.unit, "of_range": "inf"}
    return {"native": size, "unit": bounds.unit, "of_range": size / bounds.range}


def number_of(size: Mapping[str, Any] | None) -> float:
    """The native value of `size_json`'s answer; NaN for null."""
    native = size.get("native") if size else None
    return float(native) if native is not None else math.nan


def unit_of(text: str) -> str:
    """The unit of a size as typed, "" where it has none: `HU` of `"5.6 HU"`, `range` of a bare fraction."""
    return _parsed(text)[1]


def size_in_native(text: str, bounds: Bounds) -> float:
    """The native value of a size as typed: `"0.002 range"`, `"5.6 HU"`, or `"8/255"`, a fraction of the range.

    A bare number is refused: 0.002 of a range and 0.002 HU differ 1400-fold on a lung window. A bare fraction is
    what the literature writes for a share of the range, and means that.

    Raises:
        UsageError: no unit, an unknown one, or not a positive number.
    """
    native = f"'2 {unit_word(bounds.unit)}', " if bounds.unit else ""
    known = f"'0.002 range', {native}or '8/255', which is of the range"
    percent = text.strip().removesuffix("%")
    share = _parsed(percent)[0] / 100
    if percent != text.strip() and share > 0:
        raise UsageError(f"the size '{text.strip()}' is a per cent of what is not clear: write '{share:g} range' "
                         "if of the range")
    value, unit = _parsed(text)
    if not 0 < value < float("inf"):
        raise UsageError(f"a size is a positive number with its unit, such as {known}; got '{text}'")
    if not unit:
        raise UsageError(f"the size '{text.strip()}' has no unit: write {known}")
    if unit == RANGE:
        return value * bounds.range
    if bounds.unit and unit.casefold().removesuffix("s") == bounds.unit.casefold().removesuffix("s"):
        return value
    raise UsageError(f"the size '{text.strip()}' has the unit '{unit}', the images have "
                     f"'{unit_word(bounds.unit)}': write {known}")


def _parsed(text: str) -> tuple[float, str]:
    """Number and unit; 0 where there is no number."""
    match = _SIZE.match(text)
    if match is None:
        return 0.0, ""
    above, below, unit = match.groups()
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0, ""
    return value, (unit or (RANGE if below else "")).strip()


def show_size(size: float, bounds: Bounds) -> str:
    """A native size for print: its share of the range, and in the images' own unit where that is known."""
    share = f"{size / bounds.range:.4g} range"
    return f"{share} ({size:.3g} {unit_word(bounds.unit, size)})" if bounds.unit else share
