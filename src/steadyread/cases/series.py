"""A stack of CT slices in HU with what is known of them: the noun that noise is measured on, and its npz form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.stored import npz_array, npz_names
from steadyread.errors import InputRefused, UsageError
from steadyread.findings import Finding

IMAGES, SPACING, MAS = "images_hu", "spacing_mm", "mas"
_EVEN = 0.01   # share by which the steps of a whole series may differ
_MOST_VALUES = 2**27  # 512 slices of 512 x 512, half a gigabyte of float32
_MOST_SLICES = 100_000
_LIKE_DOSES = 1.6   # ratio of doses over which sigma changes by a quarter, well within one noise level


@dataclass(frozen=True, eq=False)
class Series:
    """Slices of one geometry, in the order of their position along the slices' normal.

    `images_hu` is float32 (z, y, x). `spacing_mm` is (dy, dx), None where unknown. `positions_mm` is one value
    a slice along the normal, None where the images are repeats of one slice or their place is unknown. `mas`
    is one value a slice, None where unknown. `slice_names` says where each slice came from. `facts` holds what
    the tags say (manufacturer, model, kernel, kVp, slice thickness, series uids), not checked in any way.
    """

    name: str
    images_hu: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None
    positions_mm: tuple[float, ...] | None
    mas: tuple[float | None, ...]
    slice_names: tuple[str, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.slice_names)

    @property
    def mean_mas(self) -> float | None:
        """The dose of the series' mean noise power."""
        return harmonic_mean(self.mas)

    def dose_groups(self) -> list[int]:
        """A number for each slice: slices of one number differ in dose by a factor of 1.6 at most, so that their
        noise is about equally loud. 0 holds the highest dose. All are one group where a dose is unknown."""
        known = [mas for mas in self.mas if mas is not None]
        if len(known) < len(self.mas):
            return [0] * len(self)
        tops: list[float] = []
        for mas in sorted(known, reverse=True):
            if not tops or mas < tops[-1] / _LIKE_DOSES:
                tops.append(mas)
        return [max(place for place, top in enumerate(tops) if mas <= top) for mas in known]

    def refuse_gaps(self) -> None:
        """Refuses a series whose neighbours are not neighbours.

        Raises:
            InputRefused: fewer than two slices, or steps between them that differ.
        """
        if len(self) < 2:
            raise InputRefused(f"{self.name}: one slice only; differences need two neighbouring slices or more")
        if self.positions_mm is None:
            return
        steps = np.diff(self.positions_mm)
        usual = float(np.median(steps))
        wrong = np.flatnonzero(np.abs(steps - usual) > _EVEN * usual)
        if len(wrong):
            at = int(wrong[0])
            raise InputRefused(f"{self.name}: {steps[at]:.4g} mm between {self.slice_names[at]} and "
                               f"{self.slice_names[at + 1]}, {usual:.4g} mm elsewhere: slices are missing, and "
                               "differences need neighbours; take an unbroken part, such as --slices "
                               f"{_longest(wrong, len(self))}")


def harmonic_mean(mas: Sequence[float | None]) -> float | None:
    """The dose of the mean noise power of slices, since power ~ 1/mAs. None where one of them is unknown."""
    known = [dose for dose in mas if dose is not None]
    return len(known) / sum(1 / dose for dose in known) if known and len(known) == len(mas) else None


def slice_range(text: str | None) -> slice:
    """`a:b`, counted from 0 along the series, as a slice; the whole where None.

    Raises:
        UsageError: not two whole numbers with a colon, of which either may be left out.
    """
    try:
        first, last = (int(part) if part.strip() else None for part in (text or ":").split(":"))
    except ValueError:
        raise UsageError(f"--slices takes FIRST:END, counted from 0, such as 0:8; got '{text}'") from None
    return slice(first, last)


def read_npz(path: Path, array: str | None = None, offset: float = 0.0, slices: slice = slice(None)) -> Series:
    """Slices from an npz file: the array `array`, else `images_hu`, else the only one that has three axes.

    The file may also hold `spacing_mm` (one value, or one an axis, of which the last two count) and `mas`.
    `offset` is subtracted, such as 1000 where water is stored as 1000.

    Raises:
        InputRefused: no readable npz, no such array, other shapes, values that are no finite numbers.
    """
    name = array or _only_stack(path)
    values = npz_array(path, name)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.dtype.kind not in "iuf":
        raise InputRefused(f"{path}: array '{name}' must hold numbers of shape (slices, rows, columns); got "
                           f"{values.dtype} of shape {values.shape}")
    chosen = range(len(values))[slices]
    if not chosen:
        raise InputRefused(f"{path}: --slices leaves none of its {len(values)} slices")
    refuse_many_values(str(path), f"array '{name}'", (len(chosen), *values.shape[1:]))
    images = np.array(values[slices], np.float32)
    images -= np.float32(offset)
    if not np.isfinite(images).all():
        raise InputRefused(f"{path}: array '{name}' holds values that are not finite numbers")
    mas = _numbers(path, MAS)
    doses: tuple[float | None, ...] = (None,) * len(images)
    if mas is not None:
        if mas.size not in (1, len(values)) or not (mas > 0).all():
            raise InputRefused(f"{path}: '{MAS}' must be positive, one value or one a slice; got {mas.size} values")
        doses = tuple(np.broadcast_to(mas, (len(values),))[slices].tolist())
    return Series(f"{path.name}[{name}]", images, _pixel_spacing(path), None, doses,
                  tuple(f"{name}[{place}]" for place in chosen))


def refuse_many_values(told: str, what: str, shape: tuple[int, ...]) -> None:
    """Refuses more than is held at once.

    Raises:
        InputRefused: with the way to take less.
    """
    count = math.prod(shape)
    if count > _MOST_VALUES:
        raise InputRefused(f"{told}: {what} holds {count} values in {shape[0]} slices; at most {_MOST_VALUES} are "
                           "measured at once: take fewer with --slices FIRST:END")


def _only_stack(path: Path) -> str:
    names = npz_names(path)
    if IMAGES in names:
        return IMAGES
    stacks = [name for name in names if npz_array(path, name).ndim == 3]
    if len(stacks) != 1:
        told = f"{len(stacks)} arrays of three axes ({', '.join(stacks)})" if stacks else "no array of three axes"
        raise InputRefused(f"{path} holds {told}; expected '{IMAGES}' or one such: name it with --array")
    return stacks[0]


def _pixel_spacing(path: Path) -> tuple[float, float] | None:
    spacing = _numbers(path, SPACING)
    if spacing is None:
        return None
    if spacing.size > 3 or not spacing.size or not (spacing > 0).all():
        raise InputRefused(f"{path}: '{SPACING}' must be positive, one value or one an axis; got "
                           f"{spacing.tolist()[:4]}")
    return float(spacing[-2:][0]), float(spacing[-1])


def _numbers(path: Path, name: str) -> NDArray[np.float64] | None:
    """The finite numbers of a small array, None where the file has none of that name."""
    if name not in npz_names(path):
        return None
    values = npz_array(path, name)
    if values.dtype.kind not in "iuf" or values.size > _MOST_SLICES or not np.isfinite(values).all():
        raise InputRefused(f"{path}: '{name}' must hold finite numbers, {_MOST_SLICES} at most; got {values.size} "
                           f"of {values.dtype}")
    return np.asarray(values, float).reshape(-1)


def _longest(wrong: NDArray[np.int64], count: int) -> str:
    """The longest run without a wrong step, as FIRST:END."""
    edges = [0, *(int(at) + 1 for at in wrong), count]
    first, end = max(pairwise(edges), key=lambda run: run[1] - run[0])
    return f"{first}:{end}"
