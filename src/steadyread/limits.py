"""What no honest settings file holds: the limits within which everything that a stranger wrote is read."""

import math
from collections.abc import Mapping

MOST_DEPTH = 64               # tables within tables; what is deeper ends in Python's own limit
MOST_WHOLE = 2**63 - 1        # whole numbers as files and tensors store them
MOST_BYTES = 32 * 2**20       # of a JSON text
MOST_VALUES = 2_000_000       # of a JSON text, by its commas: an empty table takes two bytes there and 64 in memory
MOST_UNPACKED = 2**29         # of the arrays of a run's file, in bytes
MOST_HEADER = 24 * 2**20      # of what stands before the tensors of a file of weights
MOST_ROWS = 2_000_000         # of a run's records
MOST_SEED = 2**53 - 1         # JSON's whole numbers are exact up to here; further seeds lie above, within 63 bits
MOST_PARAMETERS = 250_000_000  # of a built-in network: 1 GB


def beyond_limits(value: object) -> str:
    """What is wrong with plain values (tables, lists, numbers, text) whatever they mean, "" where nothing is."""
    waiting: list[tuple[str, int, object]] = [("", 0, value)]
    while waiting:
        key, depth, value = waiting.pop()
        if depth > MOST_DEPTH:
            return f"{key[:40]}... is nested more than {MOST_DEPTH} deep"
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{name}" if key else str(name), depth + 1, inner) for name, inner in value.items()
                        if not isinstance(inner, str)]
        elif isinstance(value, list | tuple):
            waiting += [(key, depth + 1, inner) for inner in value if not isinstance(inner, str)]
        elif wrong := _wrong_number(value):
            return f"{key} {wrong}".lstrip()
    return ""


def _wrong_number(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number; got {value}"
    if isinstance(value, int) and not -MOST_WHOLE <= value <= MOST_WHOLE:
        return f"must be a whole number of at most 63 bits; got one of {value.bit_length()}"
    return ""
