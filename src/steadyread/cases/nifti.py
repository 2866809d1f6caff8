"""NIfTI volumes as arrays (z, y, x) of one stated orientation, through nibabel where it is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.case_set import Pixels
from steadyread.cases.medical import library
from steadyread.errors import InputRefused

# How far a voxel axis may lean from an axis of the patient: sin of about one degree, 0.3 mm over a 32 mm box.
_LEAN = 0.02


@dataclass(frozen=True, slots=True)
class Volume:
    """A NIfTI file known by its header: shape and spacing of the array (z, y, x) that `voxels` gives.

    `order` and `flips` turn the file's array into one whose z runs towards the head, y towards the back and x
    to the patient's left (the order of DICOM; NIfTI's own world is right to left, back to front).
    """

    file: Path
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    order: tuple[int, ...]
    flips: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...]


def open_volume(file: Path) -> Volume:
    """The volume of a NIfTI file, its header read.

    Raises:
        InputRefused: nibabel is not installed; a damaged file; not three axes; axes that stand oblique to the
            patient's.
    """
    with _named(file):
        image = nibabel().load(file)
        shape, affine = tuple(image.shape), np.asarray(image.affine, np.float64)
    if len(shape) != 3 or 0 in shape:
        raise InputRefused(f"{file}: expected a volume of three axes; got the shape {shape}")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        raise InputRefused(f"{file}: its header gives no usable voxel size and place; fetch or convert it again")
    order, flips = _turned(affine[:3, :3] / lengths, file)
    return Volume(file, tuple(shape[axis] for axis in order), tuple(float(lengths[axis]) for axis in order), order,
                  flips, tuple(map(tuple, affine.tolist())))


def voxels(volume: Volume) -> Pixels:
    """The values, (z, y, x), in the type that the file and its scaling give.

    Raises:
        InputRefused: the file is damaged or has changed.
    """
    with _named(volume.file):
        values: NDArray[Any] = np.asanyarray(nibabel().load(volume.file).dataobj)
    if values.dtype.kind not in "iufb":
        raise InputRefused(f"{volume.file}: expected one number a voxel; got {values.dtype}")
    return np.flip(values.transpose(volume.order), volume.flips)


def centroid(mask: Volume) -> tuple[float, ...]:
    """The mean place of the mask's voxels above 0, in voxels along (z, y, x); () where there is none."""
    marked = np.argwhere(voxels(mask) > 0)
    return tuple(marked.mean(0).tolist()) if len(marked) else ()


def _turned(directions: NDArray[np.float64], file: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which of the file's axes run along z, y and x, and which of these three must be flipped."""
    world = np.abs(directions).argmax(0)
    lean = np.abs(directions).copy()
    lean[world, range(3)] = 0
    if sorted(world) != [0, 1, 2] or lean.max() > _LEAN:
        raise InputRefused(f"{file}: its axes stand oblique to the patient's (by {_degrees(lean):.0f} degrees); "
                           "resample it to an axial grid first")
    order = tuple(int(np.flatnonzero(world == axis)[0]) for axis in (2, 1, 0))
    towards = (1, -1, -1)  # head, back, left in a world that counts towards head, front, right
    flips = tuple(place for place, axis in enumerate(order)
                  if directions[world[axis], axis] * towards[place] < 0)
    return order, flips


def _degrees(lean: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arcsin(np.clip(lean.max(), 0, 1))))


def nibabel() -> Any:
    """The library. InputRefused where it is not installed."""
    return library("nibabel", "NIfTI volumes")


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Turns what nibabel raises on damaged files into one refusal that names the file."""
    try:
        yield
    except InputRefused:
        raise
    except FileNotFoundError:
        raise InputRefused(f"{file}: no such file") from None
    except Exception as problem:  # nibabel and zlib raise many kinds on a damaged file
        said = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise InputRefused(f"{file}: truncated, damaged or no NIfTI ({said})") from None
