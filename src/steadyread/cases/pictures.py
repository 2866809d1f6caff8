"""PNG, JPEG and other pictures as arrays: one depth and one channel count for a whole set."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds

SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm", ".bmp", ".tif", ".tiff")
Channels = Literal["auto", "grey", "colour"]
# Larger pictures are refused by their declared size, before a pixel is decoded.
_MOST_PIXELS = 2**26
_SAMPLE = 256
# An image counts as grey where its channels differ by no more than this on average: JPEG's chroma rounding
# and faint tints stay below, stained and natural images do not.
_GREY_DIFFERENCE = 2.0
_GREY_SHARE = 0.9
_SIXTEEN = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, KeyError, AttributeError,
           OverflowError, MemoryError, RuntimeError, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Look:
    """What the pictures of a set have in common: 1 or 3 channels, 8 or 16 bits."""

    channels: int = 1
    bits: int = 8

    @property
    def bounds(self) -> Bounds:
        """The range of the stored values."""
        return Bounds(0.0, float(2**self.bits - 1), "grey level")


def read_picture(path: Path, look: Look) -> NDArray[Any]:
    """A picture as (channels, rows, columns), uint8 or uint16.

    Colour becomes grey by luma (ITU-R 601), which leaves equal channels exactly as they are. What is
    transparent is laid over black.

    Raises:
        InputRefused: not a readable picture, too large, several frames, or another depth than the set's.
    """
    with _opened(path) as picture:
        bits = 16 if picture.mode in _SIXTEEN else 8
        if bits != look.bits:
            raise InputRefused(f"{path}: {bits} bits a pixel, where the set has {look.bits}; "
                               "convert the set to one depth")
        if bits == 16:
            return _deep(picture, path, look)
        opaque = _over_black(picture)
        pixels = np.asarray(opaque.convert("L" if look.channels == 1 else "RGB"))
    return pixels[None] if look.channels == 1 else np.moveaxis(pixels, -1, 0)


def picture_shape(path: Path) -> tuple[int, int]:
    """(rows, columns) from a picture's header.

    Raises:
        InputRefused: not a readable picture, or too large.
    """
    with _opened(path) as picture:
        return picture.height, picture.width


def look_of(paths: Sequence[Path], channels: Channels = "auto") -> tuple[Look, str]:
    """The look of a set of pictures, and a sentence that says how it was found.

    Up to 256 pictures, evenly spaced, are looked at. The set is grey where nine in ten of them are: their
    channels differ by at most 2 of 255 levels on average (many grey images are stored as colour).

    One that cannot be read is passed over here; it is refused when its case is read.

    Raises:
        InputRefused: none of them is a readable picture.
    """
    if channels not in ("auto", "grey", "colour"):
        raise UsageError(f"channels must be auto, grey or colour; got '{channels}'")
    step = max(1, -(-len(paths) // _SAMPLE))
    sample = paths[::step]
    found, refused = [], []
    for path in sample:
        try:
            found.append(_seen(path, colour=channels == "auto"))
        except InputRefused as problem:
            refused.append(problem)
    if not found:
        raise refused[0]
    bits = max(depth for depth, _ in found)
    grey = sum(is_grey for _, is_grey in found)
    as_grey = channels == "grey" or (channels == "auto" and grey >= _GREY_SHARE * len(found))
    how = f"read as {'one grey channel' if as_grey else 'three colour channels'}"
    why = f"{grey} of {len(found)} images looked at are grey" if channels == "auto" else "as asked"
    return Look(1 if as_grey else 3, bits), f"{how}: {why}"


def _seen(path: Path, colour: bool) -> tuple[int, bool]:
    """Bits a pixel, and whether the picture is grey (only looked at where `colour` matters)."""
    with _opened(path) as picture:
        if picture.mode in _SIXTEEN:
            return 16, True
        if not colour or picture.mode in ("L", "LA", "1"):
            return 8, True
        picture.draft("RGB", (256, 256))
        if picture.mode == "RGB":
            picture.thumbnail((256, 256), Image.Resampling.BOX)
        pixels = np.asarray(_over_black(picture).convert("RGB")).astype(np.int16)
    return 8, float((pixels.max(-1) - pixels.min(-1)).mean()) <= _GREY_DIFFERENCE


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    raise InputRefused(f"{path}: {picture.width} x {picture.height} pixels; at most "
                                       f"{_MOST_PIXELS} are read (a decompression bomb, or cut it first)")
                if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
                    raise InputRefused(f"{path}: holds several frames; give one file an image")
                yield picture
    except FileNotFoundError:
        raise InputRefused(f"{path}: no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputRefused(f"{path}: too many pixels, taken for a decompression bomb and not read") from None
    except _ERRORS as problem:
        said = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise InputRefused(f"{path}: not a whole, readable picture ({said})") from None


def _over_black(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    if picture.mode in ("L", "RGB"):
        return picture
    if picture.mode == "F":
        raise InputRefused(f"{getattr(picture, 'filename', 'a picture')}: holds floating-point pixels; "
                           "expected 8 or 16 bits")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _deep(picture: Image.Image, path: Path, look: Look) -> NDArray[Any]:
    values = np.asarray(picture)
    if values.ndim != 2 or values.min() < 0 or values.max() > 65535:
        raise InputRefused(f"{path}: expected one channel of 16 bits; got values up to {values.max()}")
    return np.repeat(values[None].astype(np.uint16), look.channels, axis=0)
