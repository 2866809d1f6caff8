"""Where the axes of a volume point to in the patient: R or L, A or P, S or I, as in RAS."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from steadyread.errors import InputRefused, UsageError

T = TypeVar("T")
STORED = "stored"
# Axis of a world that counts towards right, front and head, and which way each letter points along it.
_LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
# How far a voxel axis may lean from an axis of the patient: sin of about one degree, 0.3 mm over a 32 mm box.
_LEAN = 0.02


def turned(directions: NDArray[np.float64], where: str, axes: str = "SPL", oblique: bool = False
           ) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which of a file's axes run along those of `axes`, and which of these three must be flipped.

    Args:
        directions: (3, 3), the unit vector of each of the file's axes as a column, in a world towards right, front and
            head.
        where: the beginning of messages.
        axes: such as SPL; `stored` leaves all as it is.
        oblique: whether axes may lean from those of the patient, and go by the nearest.

    Raises:
        InputRefused: they lean, and may not, or two lie nearest to the same.
        UsageError: no such axes.
    """
    if axes == STORED:
        return (0, 1, 2), ()
    wanted = [_LETTERS.get(letter, (-1, 0)) for letter in axes]
    if sorted(axis for axis, _ in wanted) != [0, 1, 2]:
        raise UsageError("data.options.orientation must be three letters, one of R or L, one of A or P and one of S or "
                         f"I, such as SPL or RAS, or stored; got '{axes}'")
    world = np.abs(directions).argmax(0)
    lean = np.abs(directions).copy()
    lean[world, range(3)] = 0
    if sorted(world) != [0, 1, 2] or (lean.max() > _LEAN and not oblique):
        raise InputRefused(f"{where}: its axes stand oblique to the patient's (by {_degrees(lean):.0f} degrees); "
                           "resample it to an axial grid first")
    order = tuple(int(np.flatnonzero(world == axis)[0]) for axis, _ in wanted)
    flips = tuple(place for place, (axis, (along, sign)) in enumerate(zip(order, wanted, strict=True))
                  if directions[along, axis] * sign < 0)
    return order, flips


def squeezed(values: Sequence[T], shape: Sequence[int]) -> tuple[T, ...]:
    """The values of those axes that have more than one voxel; all of them where fewer than two have."""
    long = [value for value, extent in zip(values, shape, strict=True) if extent > 1]
    return tuple(long) if len(long) > 1 else tuple(values)


def _degrees(lean: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arcsin(np.clip(lean.max(), 0, 1))))
