"""NIfTI volumes as arrays (z, y, x) of one stated orientation, through nibabel where it is installed."""

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.orientation import turned
from steadyread.cases.row import Pixels
from steadyread.errors import InputRefused, first_line
from steadyread.extras import library
from steadyread.files import regular_file

logging.getLogger("nibabel").addHandler(logging.NullHandler())   # a damaged file is refused once, in our words
_HEADERS = {348: "Nifti1Header", 540: "Nifti2Header"}    # by their size, which they state first
_SINGLE = (b"n+1\0", b"n+2\0\r\n\x1a\n")               # the magic of header and voxels in one file
_LARGEST = 512 * 2**20    # bytes of a volume in memory: 512 x 512 x 1024 voxels of 16 bits
_EXTENSIONS = 64 * 2**20  # bytes between the header and the voxels


@dataclass(frozen=True, slots=True)
class Volume:
    """A NIfTI file known by its header: shape and spacing of the array that `voxels` gives.

    `order` and `flips` turn the file's array into one whose axes are those asked for: unless stated (z, y, x), z
    towards the head, y towards the back and x to the patient's left (the order of DICOM; NIfTI's own world is right to
    left, back to front). One that is read `whole` has scaled values as float32, which takes half the memory.
    """

    file: Path
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    order: tuple[int, ...]
    flips: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...]
    whole: bool = False

    def part(self, used: tuple[slice, ...]) -> Pixels:
        """The values of a part, (z, y, x); see `voxels`."""
        return voxels(self)[used]


def open_volume(file: Path, axes: str = "SPL", whole: bool = False) -> Volume:
    """The volume of a NIfTI file, its header read, with axes as `orientation.turned` says.

    Raises:
        InputRefused: nibabel is not installed; a damaged file; not three axes; too large; axes that stand oblique to
            the patient's, unless it is read whole.
    """
    with _named(file):
        _refuse_unreadable(regular_file(file), whole)
        image = nibabel().load(file)
        shape, affine = _three(image.shape), np.asarray(image.affine, np.float64)
    if len(shape) != 3 or 0 in shape:
        raise InputRefused(f"{file}: expected a volume of three axes; got the shape {shape}")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        raise InputRefused(f"{file}: its header gives no usable voxel size and place; fetch or convert it again")
    order, flips = turned(affine[:3, :3] / lengths, str(file), axes, oblique=whole)
    return Volume(file, tuple(shape[axis] for axis in order), tuple(float(lengths[axis]) for axis in order), order,
                  flips, tuple(map(tuple, affine.tolist())), whole)


def voxels(volume: Volume) -> Pixels:
    """The values, (z, y, x), in the type that the file and its scaling give.

    Raises:
        InputRefused: the file is damaged or has changed.
    """
    with _named(volume.file):
        _refuse_unreadable(regular_file(volume.file), volume.whole)
        stored = nibabel().load(volume.file).dataobj
        values: NDArray[Any] = _scaled(stored) if volume.whole else np.asanyarray(stored)
    if values.dtype.kind not in "iufb":
        raise InputRefused(f"{volume.file}: expected one number a voxel; got {values.dtype}")
    return np.flip(values.reshape(_three(values.shape)).transpose(volume.order), volume.flips)


def _scaled(stored: Any) -> NDArray[Any]:
    """The values of nibabel's array, those that are scaled as float32."""
    values: NDArray[Any] = np.asanyarray(stored.get_unscaled())
    if (stored.slope, stored.inter) == (1.0, 0.0) or values.dtype.kind not in "iuf":
        return values
    values = values.astype(np.float32)
    values *= np.float32(stored.slope)
    values += np.float32(stored.inter)
    return values


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of space: a plane has one slice, and further axes of one voxel are none."""
    further = shape[3:]
    return (*shape, 1) if len(shape) == 2 else tuple(shape[:3]) if set(further) == {1} else tuple(shape)


def centroid(mask: Volume) -> tuple[float, ...]:
    """The mean place of the mask's voxels above 0, in voxels along (z, y, x); () where there is none."""
    marked = voxels(mask) > 0
    count = int(marked.sum())
    if not count:
        return ()
    return tuple(int(marked.sum(tuple(other for other in range(3) if other != axis)) @ np.arange(extent)) / count
                 for axis, extent in enumerate(marked.shape))


def _refuse_unreadable(file: Path, whole: bool) -> None:
    """Refuses by the header alone what is no single file, or would unpack to more than a volume has."""
    name = file.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise InputRefused(f"{file}: expected a NIfTI file, .nii or .nii.gz")
    packed = name.endswith(".gz")
    with gzip.open(file) if packed else file.open("rb") as stream:
        start = stream.read(max(_HEADERS) + 4)
    size = next((size for size in _HEADERS if size in (int.from_bytes(start[:4], order)
                                                       for order in ("little", "big"))), 0)
    magic = start[344:348] if size == min(_HEADERS) else start[4:12]
    if not size or len(start) < size + 4 or magic not in _SINGLE:
        raise InputRefused(f"{file}: truncated, damaged or no NIfTI (no header of one at its beginning)")
    header = getattr(nibabel(), _HEADERS[size])(start[:size])
    _refuse_large(file, header, whole)
    _refuse_short(file, header, any(start[size:size + 4]), packed)


def _refuse_large(file: Path, header: Any, whole: bool) -> None:
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    # a whole one is held as it is stored and as float32 besides
    needed = math.prod(shape) * (kind.itemsize + 4 if whole else max(kind.itemsize, 8 if scaled else 0))
    if not 0 <= needed <= _LARGEST:
        raise InputRefused(f"{file}: a volume of {' x '.join(map(str, shape))} voxels needs {needed} bytes; "
                           f"expected at most {_LARGEST}: cut it to the part that is read")


def _refuse_short(file: Path, header: Any, extended: bool, packed: bool) -> None:
    begins, count, kind = int(header["vox_offset"]), math.prod(header.get_data_shape()), header.get_data_dtype()
    if not (header.sizeof_hdr + 4 <= begins <= _EXTENSIONS or (begins == 0 and not extended)):
        raise InputRefused(f"{file}: truncated, damaged or no NIfTI (its voxels begin at byte {begins}, it says)")
    if not packed and file.stat().st_size < begins + count * kind.itemsize:
        raise InputRefused(f"{file}: truncated, damaged or no NIfTI (it holds {file.stat().st_size} bytes; its "
                           f"header says {begins + count * kind.itemsize})")


def nibabel() -> Any:
    """The library. InputRefused where it is not installed."""
    return library("nibabel", "medical", "NIfTI volumes are read with")


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Turns what nibabel raises on damaged files into one refusal that names the file; what it logs is left out."""
    try:
        with nibabel().imageglobals.LoggingOutputSuppressor():
            yield
    except InputRefused:
        raise
    except FileNotFoundError:
        raise InputRefused(f"{file}: no such file") from None
    except Exception as problem:  # nibabel and zlib raise many kinds on a damaged file
        raise InputRefused(f"{file}: truncated, damaged or no NIfTI ({first_line(problem)})") from None
