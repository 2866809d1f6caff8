"""Sizes with their units: what "0.002 range" and "5.6 HU" mean for images of stated bounds.

Between modules every size is in the image's native unit. Only what a person types (study files,
flags) and what is printed carries another, and both pass through here.
"""

import re
from dataclasses import dataclass

from steadyread.errors import UsageError

_NUMBER = r"[0-9.]+(?:[eE][+-]?[0-9]+)?"
_SIZE = re.compile(rf"^\s*({_NUMBER})(?:\s*/\s*({_NUMBER}))?\s*([A-Za-z][A-Za-z \-]*?)?\s*$")
RANGE = "range"


@dataclass(frozen=True)
class Bounds:
    """The valid values of an image: `low` to `high`, in `unit` ("HU", "grey level", or "" where unknown)."""

    low: float
    high: float
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UsageError(f"bounds must be LOW,HIGH with LOW below HIGH; got {self.low:g},{self.high:g}")

    @property
    def range(self) -> float:
        """high - low, in native units."""
        return self.high - self.low


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
    native = f"'2 {bounds.unit}', " if bounds.unit else ""
    known = f"'0.002 range', {native}or '8/255', which is of the range"
    value, unit = _parsed(text)
    if not 0 < value < float("inf"):
        raise UsageError(f"a size is a positive number with its unit, such as {known}; got '{text}'")
    if not unit:
        raise UsageError(f"the size '{text.strip()}' has no unit: write {known}")
    if unit == RANGE:
        return value * bounds.range
    if bounds.unit and unit.casefold().removesuffix("s") == bounds.unit.casefold().removesuffix("s"):
        return value
    raise UsageError(f"the size '{text.strip()}' has the unit '{unit}', the images have '{bounds.unit}': "
                     f"write {known}")


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
    return f"{share} ({size:.3g} {bounds.unit})" if bounds.unit else share
