"""Colour of 16 bits a channel, which Pillow cuts to the high byte: read twice, the other time for the low byte."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# How a channel lies in the file (high byte first, low byte first, as this machine has it), and as what the byte that
# Pillow leaves out is the one that it keeps.
_HIDDEN = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def is_deep(picture: Any) -> bool:
    """Whether a picture is opaque colour of 16 bits a channel, in one piece for all channels."""
    return (picture.mode == "RGB" and "transparency" not in picture.info and bool(picture.tile)
            and all(_raw(tile)[:-1] == "RGB;16" for tile in picture.tile))


def keep_low(picture: Any) -> None:
    """Turns an opened picture that `is_deep` into that of its low bytes."""
    picture.tile = [tile._replace(args=_other(tile[3])) if hasattr(tile, "_replace")
                    else (*tile[:3], _other(tile[3])) for tile in picture.tile]      # plain before Pillow 11


def joined(high: Image.Image, low: Image.Image) -> NDArray[np.uint16]:
    """The values of both halves, (3, rows, columns)."""
    values = np.asarray(high).astype(np.uint16)
    values <<= 8
    values |= np.asarray(low)
    return np.moveaxis(values, -1, 0)


def _raw(tile: Any) -> str:
    return str(tile[3] if isinstance(tile[3], str) else tile[3][0])


def _other(stated: Any) -> Any:
    name = stated if isinstance(stated, str) else stated[0]
    changed = name[:-1] + _HIDDEN[name[-1]]
    return changed if isinstance(stated, str) else (changed, *stated[1:])
