"""Words of cells for the pages that are written by templates of their own."""

import re

from steadyread.metrics.intervals import Estimate
from steadyread.words.numbers import NONE, points

_PARTED = re.compile(r"(?<=\d) (?=(?:%|HU)(?![A-Za-z]))")


def signed_interval(found: Estimate | None) -> str:
    """The interval of a difference, in points: `−2.1 to +3.4`."""
    if found is None or found.value is None:
        return ""
    if found.low is None or found.high is None:
        return NONE
    return f"{points(found.low)} to {points(found.high)}"


def tight(text: str) -> str:
    """Words in which no number is parted from its unit at a line's end."""
    return _PARTED.sub("\u00a0", text)
