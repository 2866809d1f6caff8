"""NumPy arrays, one image a file (`.npy`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steadyread.cases.kind import Asked, Images, Known, kind, range_of
from steadyread.cases.row import Pixels
from steadyread.cases.stored import npy_array, refuse_large
from steadyread.errors import InputRefused

_COLOURS = (1, 3)
_THIN = 5      # an axis shorter than this may be channels


@kind("npy", title="NumPy arrays", endings=(".npy",), order=50)
def images(files: Sequence[Path], asked: Asked) -> Images:
    """Arrays of numbers, never pickled objects: (rows, columns), (slices, rows, columns), or with an axis of one or
    three channels that stands first or last.

    Raises:
        InputRefused: not one can be read.
    """
    def read(file: Path) -> Pixels:
        pixels = npy_array(file)
        refuse_large(file, pixels.shape, pixels.dtype)
        where = _channels(pixels.shape, asked, file)
        shaped = pixels[None] if where is None else np.moveaxis(pixels, where, 0)
        return np.asarray(shaped, np.float32 if shaped.dtype == bool else None)

    def known(file: Path, _: bool) -> Known:
        return Known(read(file).shape)

    bounds, notes = range_of(files, read, asked.unit)
    return Images(bounds, read, known, notes)


def _channels(shape: tuple[int, ...], asked: Asked, file: Path) -> int | None:
    """Which axis of an array is that of its channels.

    Raises:
        InputRefused: as many axes as no image has, or it is not clear.
    """
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise InputRefused(f"{file}: an array of shape {shape}; expected (rows, columns), (slices, rows, columns), or "
                           "these with channels")
    if len(shape) > 2:
        for axis in (0, -1):
            if shape[axis] in _COLOURS and not (len(shape) == 3 and asked.channels == "grey" and shape[axis] == 3):
                return axis
    if len(shape) == 4 or (len(shape) == 3 and min(shape) < _THIN and asked.channels != "grey"):
        raise InputRefused(f"{file}: an array of shape {shape}; expected one or three channels, or a volume: state "
                           "data.options.channels = \"grey\" if it is a volume")
    return None
