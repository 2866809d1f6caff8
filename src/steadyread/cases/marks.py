"""What is marked in a volume, by outlines or points: the voxels inside, and where their middle lies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.row import Pixels
from steadyread.errors import InputRefused

Points = NDArray[np.float64]
MOST_VOXELS = 2**21     # that are marked: a litre at 0.7 x 0.7 x 1 mm


@dataclass(frozen=True, eq=False)
class Marks:
    """A volume of 0 and 1 that is 0 outside a small box: `values` (z, y, x), whose first voxel is `corner`."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    corner: tuple[int, ...]
    values: NDArray[np.uint8]

    def part(self, used: tuple[slice, ...]) -> Pixels:
        """The marks in a part of the volume."""
        result = np.zeros([piece.stop - piece.start for piece in used], np.uint8)
        source, target = [], []
        for piece, corner, held in zip(used, self.corner, self.values.shape, strict=True):
            first, last = max(piece.start, corner), min(piece.stop, corner + held)
            source.append(slice(first - corner, max(first, last) - corner))
            target.append(slice(first - piece.start, max(first, last) - piece.start))
        result[tuple(target)] = self.values[tuple(source)]
        return result

    @property
    def centre(self) -> tuple[float, ...]:
        """The mean place of the marked voxels, along (z, y, x)."""
        return tuple(float(places.mean()) + corner for places, corner in
                     zip(np.nonzero(self.values), self.corner, strict=True))

    @property
    def volume_mm3(self) -> float:
        """Of the marked voxels."""
        return float(self.values.sum()) * float(np.prod(self.spacing_mm))


def marked(places: NDArray[np.int64], shape: Sequence[int], spacing_mm: Sequence[float]) -> Marks | None:
    """The voxels at these places (n, 3) as marks; None where none lies inside a volume of this shape."""
    inside = places[((places >= 0) & (places < np.asarray(shape))).all(1)]
    if not len(inside):
        return None
    corner = inside.min(0)
    values = np.zeros(inside.max(0) - corner + 1, np.uint8)
    values[tuple((inside - corner).T)] = 1
    return Marks(tuple(shape), tuple(spacing_mm), tuple(map(int, corner)), values)


def inside_outlines(outlines: Sequence[Points], shape: Sequence[int]) -> NDArray[np.int64]:
    """The voxels (n, 3) of a volume of this shape whose middle lies inside closed outlines (m, 3), each in one slice of
    z, in voxels (z, y, x).

    Of several in one slice those inside an even number are outside: an outline within another is a hole.

    Raises:
        InputRefused: more than can be held.
    """
    slices: dict[int, list[Points]] = {}
    for outline in outlines:
        slices.setdefault(round(float(outline[:, 0].mean())), []).append(outline[:, 1:])
    found = [np.empty((0, 3), np.int64)]
    for place, flat in slices.items():
        first, last = (np.clip(end, 0, shape[1:]).astype(int) for end in (
            np.floor(np.min([outline.min(0) for outline in flat], axis=0)),
            np.ceil(np.max([outline.max(0) for outline in flat], axis=0)) + 1))
        inside = np.logical_xor.reduce([_inside(outline - first, last - first) for outline in flat])
        rows, columns = np.nonzero(inside)
        refuse_many(sum(map(len, found)) + len(rows))
        found.append(np.column_stack([np.full(len(rows), place), rows + first[0], columns + first[1]]))
    return np.concatenate(found)


def refuse_many(voxels: int) -> None:
    """Refuses more marked voxels than are held.

    Raises:
        InputRefused: as said.
    """
    if voxels > MOST_VOXELS:
        raise InputRefused(f"more than {MOST_VOXELS:,} voxels are marked: no lesion, about which a cube could be cut")


def _inside(outline: Points, extent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pixels' middles lie inside a polygon, by the even-odd rule along each row."""
    y, x = outline.T
    y_next, x_next = np.roll(y, -1), np.roll(x, -1)
    first, last = (np.clip(np.ceil(end(y, y_next)), 0, extent[0]).astype(int) for end in (np.minimum, np.maximum))
    counts = last - first       # the rows that each edge crosses; level ones cross none
    refuse_many(int(counts.sum()))
    edges = np.repeat(np.arange(len(y)), counts)
    rows = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[edges]
    slope = (x_next - x)[edges] / np.where(y_next == y, 1, y_next - y)[edges]
    crossed = np.clip(np.ceil(x[edges] + (rows - y[edges]) * slope), 0, extent[1]).astype(int)
    turns = np.zeros((extent[0], extent[1] + 1), np.int64)
    np.add.at(turns, (rows, crossed), 1)
    return np.asarray(turns.cumsum(1)[:, :-1] % 2 == 1)
