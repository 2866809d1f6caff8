"""Boxes about places in volumes, read by plain linear interpolation on a grid of one spacing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.operators import Matrix, applied, copied, half_inside, linear, native_grid, outside, padding_told
from steadyread.cases.row import Pixels, Row
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds, NativeGrid

LOW_HU, HIGH_HU = -1024.0, 3071.0
# What a study of nodules is about, unless it says otherwise: the network of cubes and how it is trained.
OF_NODULES = {
    "model": {"name": "nodule_cnn"},
    "training": {"epochs": 40, "weight_decay": 0.1, "max_norm": None, "rotation_degrees": (180.0, 5.0, 5.0),
                 "shift_pixels": (0.5, 1.0, 1.0)}}

_MOST_POINTS = 2**24     # of a box: 256 x 256 x 256
_LEAST_MM = 0.01


class Volume(Protocol):
    """Values on a grid whose axes (z, y, x) run towards the head, the back and the patient's left."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        ...

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """The distance of neighbouring voxels' centres along each axis."""
        ...

    def part(self, used: tuple[slice, ...]) -> Pixels:
        """The values of a part of the grid. InputRefused where they cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Size:
    """How many points a box has along (z, y, x), and how far apart in mm."""

    extents: tuple[int, ...]
    spacing_mm: float

    @classmethod
    def of(cls, box_mm: float | Sequence[float], spacing_mm: float) -> "Size":
        """The size of a box of these sides, one value or (z, y, x), both in mm.

        Raises:
            UsageError: a side or a spacing that is not positive, or more points than are held.
        """
        box = tuple(box_mm) if isinstance(box_mm, list | tuple) else (box_mm,) * 3
        if len(box) != 3:
            raise UsageError(f"box_mm must be one value or three, (z, y, x); got {len(box)}")
        for name, values in (("spacing_mm", (spacing_mm,)), ("box_mm", box)):
            for value in values:
                if not isinstance(value, int | float) or not 0 < value < 1e4:
                    raise UsageError(f"{name} must be positive, in mm; got {value}")
        extents = tuple(max(1, round(side / max(spacing_mm, _LEAST_MM))) for side in box)
        if np.prod([float(extent) for extent in extents]) > _MOST_POINTS:
            raise UsageError(f"box_mm and spacing_mm make a box of {' x '.join(map(str, extents))} points; at most "
                             f"{_MOST_POINTS:,} are held: a smaller box, or a wider spacing")
        return cls(extents, float(spacing_mm))

    @property
    def told(self) -> str:
        """The sides in mm, for sentences."""
        return " x ".join(f"{extent * self.spacing_mm:g}" for extent in self.extents)


@dataclass(frozen=True, slots=True)
class Box:
    """A box about a place of a volume: the image of one case.

    `centre` is in voxels along (z, y, x), 0 being the middle of the first one; the box's middle comes to lie there, so
    that of an even number of points none does. Points beyond the volume repeat its outermost voxel. `marked` is the
    finding on the volume's grid, None where it is unknown; `problem` says why there is no volume.
    """

    size: Size
    volume: Volume | None
    centre: tuple[float, ...] = ()
    problem: str = ""
    marked: Volume | None = None

    def image(self) -> Pixels:
        """The box in HU, (1, z, y, x). Values below -1024, which no tissue has, are raised to it.

        Raises:
            InputRefused: there is no volume, or it cannot be read.
        """
        if self.volume is None:
            raise InputRefused(self.problem)
        used, matrices = self._read()
        values = self.volume.part(used)
        values = np.where(np.isfinite(values) & (values < LOW_HU), LOW_HU, values)   # -inf stays, to be refused
        return applied(values[None], matrices)

    def mask(self) -> Pixels | None:
        """The finding on the box's grid, read as the image is, (z, y, x)."""
        if self.marked is None:
            return None
        used, matrices = self._read()
        return half_inside(self.marked.part(used), matrices)

    def native(self) -> NativeGrid | None:
        """The volume's own grid below the box."""
        return None if self.volume is None else native_grid(self.volume.spacing_mm, self._read()[1])

    @property
    def used(self) -> tuple[slice, ...]:
        """The part of the volume that the box is read from."""
        return self._read()[0]

    @property
    def beyond(self) -> tuple[tuple[int, int], ...] | None:
        """How many points lie beyond either end of the volume, along each axis."""
        return None if self.volume is None else tuple(outside(*axis) for axis in self._lines())

    def facts(self) -> dict[str, object]:
        """How much of the box lies beyond the volume or repeats its outermost slice, and the volume's spacing in mm."""
        beyond = self.beyond
        if self.volume is None or beyond is None:
            return {}
        first = self._lines()[0]
        return {**padding_told(beyond, self.size.extents), "copied_slices_share": copied(*first) / first[-1],
                "slice_spacing_mm": self.volume.spacing_mm[0], "pixel_spacing_mm": self.volume.spacing_mm[-1]}

    def _lines(self) -> list[tuple[int, float, float, int]]:
        """Along each axis: the volume's extent, the centre and the step in its voxels, the box's extent."""
        assert self.volume is not None
        return [(held, centre, self.size.spacing_mm / own, extent) for held, centre, own, extent in
                zip(self.volume.shape, self.centre, self.volume.spacing_mm, self.size.extents, strict=True)]

    def _read(self) -> tuple[tuple[slice, ...], list[Matrix]]:
        read = [linear(*axis) for axis in self._lines()]
        return tuple(slice(start, start + matrix.shape[1]) for start, matrix in read), [matrix for _, matrix in read]


def cases_of(name: str, rows: Sequence[Row], classes: tuple[str, ...], missing: Sequence[str], notes: Sequence[str]
             ) -> Cases:
    """The cases of rows whose `source` is a `Box`, patients known."""
    return Cases(name, tuple(rows), lambda row: row.source.image(), classes, Bounds(LOW_HU, HIGH_HU, "HU"), True,
                 tuple(missing), tuple(notes), native=lambda row: row.source.native(),
                 mask=lambda row: row.source.mask())


def told_beyond(rows: Sequence[Row], size: Size) -> str:
    """A sentence on how many boxes reach beyond their volume."""
    padded = sum(any(map(any, row.beyond or ())) for row in rows)
    return (f"{padded} of {len(rows)} volumes end within their box of {size.told} mm (z, y, x): there the outermost "
            "voxel is repeated")
