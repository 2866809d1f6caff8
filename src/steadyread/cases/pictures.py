"""PNG, JPEG and other pictures as arrays: one depth and one channel count for a whole set."""

import io
import logging
import math
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from steadyread.cases.colours import luma
from steadyread.cases.deep_colour import is_deep, joined, keep_low
from steadyread.cases.kind import Channels
from steadyread.cases.netpbm import is_netpbm, read_netpbm
from steadyread.cases.png import refuse_changed
from steadyread.errors import InputRefused, UsageError, first_line
from steadyread.files import refuse_stand_in, regular_file
from steadyread.types import Bounds

logging.getLogger("PIL").addHandler(logging.NullHandler())   # a damaged picture is refused once, in our words
SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm", ".bmp", ".tif", ".tiff", ".jpe", ".jfif", ".ppm", ".pnm", ".pbm",
            ".dib", ".apng")
# Nothing else is opened whatever its name says: PostScript would start a program.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "PPM")
# Larger pictures are refused by their declared size, before a pixel is decoded: pixels, and pixels times channels,
# so that reading one stays below a gigabyte.
_MOST_PIXELS, _MOST_VALUES = 2**26, 2**27
_LARGEST, _MOST_TILE = 2**28, 2**24   # bytes of a file, pixels of a tile
# A progressive JPEG of many scans is decoded as often: scans times pixels.
_USUAL_SCANS, _MOST_SCANNED = 16, 2**29
_SAMPLE = 256
_HEAD = 512    # bytes that tell what a file is
# An image counts as grey where its channels differ by no more than this on average: JPEG's chroma rounding
# and faint tints stay below, stained and natural images do not.
_GREY_DIFFERENCE = 2.0
_GREY_SHARE = 0.9
_SIXTEEN = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _TILE = 274, 258, 262, 339, (322, 323)   # TIFF tags, EXIF's too
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, KeyError, AttributeError,
           OverflowError, MemoryError, RuntimeError, ZeroDivisionError, struct.error, zlib.error,
           Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Embedded:
    """A picture that stands within another file; `where` names it in messages."""

    data: bytes
    where: str

    def __str__(self) -> str:
        return self.where


@dataclass(frozen=True)
class Look:
    """What the pictures of a set have in common: 1 or 3 channels, 8, 16 or 32 bits (signed or real numbers), and the
    range of values."""

    channels: int = 1
    bits: int = 8
    high: float | None = None
    low: float = 0.0

    @property
    def bounds(self) -> Bounds:
        """The range of the stored values."""
        return Bounds(self.low, float(2**self.bits - 1) if self.high is None else self.high,
                      "grey level" if self.bits <= 16 else "")


@dataclass(frozen=True)
class _Seen:
    """What one picture is like: bits per pixel as read, the highest value that they allow, whether it is grey,
    turned, transparent anywhere, stored with fewer than 8 bits, and the largest value where that was looked at. Of 32
    bits `low` and `high` are those of its values."""

    bits: int
    high: float
    grey: bool
    turned: bool
    transparent: bool
    few: bool = False
    largest: int | None = None
    low: float = 0.0


def read_picture(path: Path | Embedded, look: Look) -> NDArray[Any]:
    """A picture as (channels, rows, columns), uint8, uint16 or float32, with the values that are stored.

    Colour becomes grey by luma (ITU-R 601), which leaves equal channels exactly as they are. What is
    transparent is laid over black. It is turned as its EXIF orientation says, and white is the highest value
    whatever the file calls so (MINISWHITE). Colour profiles and gamma are not applied.

    Raises:
        InputRefused: not a readable picture, too large, several frames, or another depth than the set's.
    """
    with _opened(path) as (picture, _):
        bits, _ = _depth(picture)
        if bits != look.bits:
            raise InputRefused(f"{path}: {bits} bits a pixel, where the set has {look.bits}; "
                               "convert the set to one depth")
        if bits > 8:
            deep = _deep(picture, path)
            if deep.ndim == 3:
                return luma(deep)[None] if look.channels == 1 else deep
            return np.repeat(deep[None], look.channels, axis=0)
        opaque = _over_black(picture, path)
        pixels = np.asarray(opaque.convert("L" if look.channels == 1 else "RGB"))
    return pixels[None] if look.channels == 1 else np.moveaxis(pixels, -1, 0)


def picture_shape(path: Path) -> tuple[int, int]:
    """(rows, columns) from a picture's header, as `read_picture` turns it.

    Raises:
        InputRefused: not a readable picture, or too large.
    """
    with _opened(path) as (picture, _):
        return picture.height, picture.width


def look_of(paths: Sequence[Path | Embedded], channels: Channels = "auto") -> tuple[Look, str]:
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
    seen, refused = [], []
    for path in paths[::step]:
        try:
            seen.append(_seen(path, colour=channels == "auto"))
        except InputRefused as problem:
            refused.append(problem)
    if not seen:
        raise refused[0]
    bits = max(one.bits for one in seen)
    grey = sum(one.grey for one in seen)
    as_grey = channels == "grey" or (channels == "auto" and grey >= _GREY_SHARE * len(seen))
    how = f"read as {'one grey channel' if as_grey else 'three colour channels'}"
    why = f"{grey} of {len(seen)} images looked at are grey" if channels == "auto" else "as asked"
    low, high = min(one.low for one in seen), max(one.high for one in seen)
    if bits == 32:
        low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1)
    look = Look(1 if as_grey else 3, bits, high, low)
    return look, "; ".join((f"{how}: {why}", *_remarks(seen, look)))


def _remarks(seen: Sequence[_Seen], look: Look) -> Iterator[str]:
    """What was done to pictures, or may be meant otherwise than it is read."""
    for count, words in ((sum(one.turned for one in seen), "are turned as their EXIF orientation says"),
                         (sum(one.transparent for one in seen), "are transparent and laid over black"),
                         (sum(one.few for one in seen), "are stored with 1, 2 or 4 bits a pixel, whose values are "
                          "stretched to 0 to 255")):
        if count:
            yield f"{count} of {len(seen)} {words}"
    if look.bits == 32:
        yield (f"real or signed numbers; the range is that of the values looked at, {look.bounds.low:g} to "
               f"{look.bounds.high:g}: state the bounds for another")
        return
    highs = Counter(one.high for one in seen if one.bits == look.bits)
    if len(highs) > 1:
        told = ", ".join(f"{high:g} in {count}" for high, count in sorted(highs.items()))
        yield (f"the highest value that they state differs ({told} of {len(seen)}): values are taken as stored, so "
               "the same grey may stand for different brightness; convert the set to one")
    largest = max((one.largest for one in seen if one.largest is not None), default=look.bounds.high)
    if 2 * largest < look.bounds.high:
        yield (f"their largest value is {largest} of {look.bounds.high:g}: if the scanner stores fewer than "
               f"{look.bits} bits, state the bounds")


def _seen(path: Path | Embedded, colour: bool) -> _Seen:
    """What a picture is like; whether it is grey is only looked at where `colour` matters."""
    with _opened(path) as (picture, turned):
        bits, high = _depth(picture)
        few = _few_bits(picture)
        if bits == 32:
            values = _deep(picture, path)
            finite = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
            return _Seen(32, float(finite.max()), True, turned, False, low=float(finite.min()))
        if bits == 16:
            clear = picture.info.get("transparency")
            seen = isinstance(clear, int) and bool((np.asarray(picture) == clear).any())
            deep = _deep(picture, path)
            grey = deep.ndim == 2 or float((deep.max(0) - deep.min(0)).mean()) <= _GREY_DIFFERENCE * 257
            return _Seen(16, high, grey, turned, seen, largest=int(deep.max()))
        transparent = _is_transparent(picture)
        grey = picture.mode in ("L", "LA", "1")
        if transparent:
            picture = picture.convert("RGBA")
            transparent = int(np.asarray(picture.getchannel("A")).min()) < 255
        if not colour or grey:
            return _Seen(8, high, True, turned, transparent, few)
        picture.draft("RGB", (256, 256))
        if picture.mode in ("RGB", "RGBA"):
            picture.thumbnail((256, 256), Image.Resampling.BOX)
        pixels = np.asarray(_over_black(picture, path).convert("RGB")).astype(np.int16)
    return _Seen(8, high, float((pixels.max(-1) - pixels.min(-1)).mean()) <= _GREY_DIFFERENCE, turned, transparent,
                 few)


def _few_bits(picture: Image.Image) -> bool:
    """Whether grey values are stored in fewer than 8 bits, which Pillow stretches to 255."""
    stored = _tags(picture).get(_BITS) or (8,)
    raw = [str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in getattr(picture, "tile", ())]
    return picture.mode == "1" or (picture.mode == "L" and (
        max(stored) < 8 or any(name.endswith((";2", ";4", ";1")) for name in raw)))


@contextmanager
def _opened(path: Path | Embedded) -> Iterator[tuple[Image.Image, bool]]:
    """The picture as it is to be looked at, and whether it was turned for that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # a stream, not a name: Pillow maps a file by the turned size of a TIFF and reads it askew
            with _stream(path) as file, _identified(file, path) as picture:
                _refuse_large(picture, path)
                if picture.format != "MPO" and getattr(picture, "is_animated", False):   # n_frames reads them all
                    raise InputRefused(f"{path}: holds several frames; give one file an image")
                if is_deep(picture):
                    with _stream(path) as again, _identified(again, path) as low:
                        keep_low(low)
                        picture.info["low"] = _upright(low)[0]
                        yield _upright(picture)
                    return
                _refuse_deep_colour(picture, path)
                yield _upright(picture)
    except FileNotFoundError:
        raise InputRefused(f"{path}: no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputRefused(f"{path}: too many pixels, taken for a decompression bomb and not read") from None
    except _ERRORS as problem:
        raise InputRefused(f"{path}: not a whole, readable picture ({first_line(problem)})") from None


def _stream(path: Path | Embedded) -> IO[bytes]:
    return io.BytesIO(path.data) if isinstance(path, Embedded) else regular_file(path).open("rb")


def _identified(file: IO[bytes], path: Path | Embedded) -> Image.Image:
    size = file.seek(0, os.SEEK_END)
    if size > _LARGEST:
        raise InputRefused(f"{path}: {size} bytes; at most {_LARGEST} are read: convert it to a PNG")
    file.seek(0)
    netpbm = is_netpbm(file.read(2))
    file.seek(0)
    if netpbm:
        return read_netpbm(file, path)
    refuse_changed(file, path)
    file.seek(0)
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        refuse_stand_in(path, file.read(_HEAD), "a picture")
        raise InputRefused(f"{path}: not a whole, readable picture (it holds no {', '.join(_FORMATS)})") from None


def _refuse_large(picture: Image.Image, path: Path | Embedded) -> None:
    """Refuses by the declared size what would take too much memory or time."""
    pixels, tags = picture.width * picture.height, getattr(picture, "tag_v2", {})
    tile = math.prod(tags.get(tag, 1) for tag in _TILE)
    if tile > _MOST_TILE:
        raise InputRefused(f"{path}: tiles of {tile} pixels; at most {_MOST_TILE} are read: convert it to a PNG")
    values = pixels * (8 if _is_transparent(picture) or is_deep(picture) else 3 if picture.mode in (*_SIXTEEN, "P")
                       else len(picture.getbands()))   # laying over black holds the picture twice
    if pixels > _MOST_PIXELS or values > _MOST_VALUES:
        raise InputRefused(f"{path}: {picture.width} x {picture.height} pixels of {picture.mode}; at most "
                           f"{_MOST_PIXELS} grey ones are read (a decompression bomb, or cut it first)")
    if picture.format in ("JPEG", "MPO") and picture.info.get("progressive"):
        with _stream(path) as file:
            scans = file.read().count(b"\xff\xda")
        if scans > _USUAL_SCANS and scans * pixels > _MOST_SCANNED:
            raise InputRefused(f"{path}: {scans} scans of {picture.width} x {picture.height} pixels, taken for a "
                               "decompression bomb and not read")


def _refuse_deep_colour(picture: Image.Image, path: Path | Embedded) -> None:
    """Refuses what else has 16 bits, as transparency, which Pillow cuts to 8 without a word."""
    if picture.mode in (*_SIXTEEN, "F"):
        return
    tags = getattr(picture, "tag_v2", {})
    if 2 in tags.get(_SAMPLE_FORMAT, ()):
        raise InputRefused(f"{path}: signed values of 8 bits, which are not read; convert it to 0 to 255")
    raw = str([tile[3] for tile in getattr(picture, "tile", ())])
    if (picture.format == "PNG" and ";16" in raw) or max(tags.get(_BITS, (8,))) > 8:
        raise InputRefused(f"{path}: 16 bits per channel with transparency, or in planes of their own, which are "
                           "not read; convert it to opaque RGB, or to 8 bits")


def _upright(picture: Image.Image) -> tuple[Image.Image, bool]:
    """The picture turned as its EXIF says, and whether it was."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return picture, False   # looking for it would decode the picture
    turned = picture.getexif().get(_ORIENTATION, 1) in range(2, 9)
    if not turned:
        return picture, False
    info = dict(picture.info)
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    upright.info = {**info, "tags": getattr(picture, "tag_v2", {})}
    return upright, True


def _depth(picture: Image.Image) -> tuple[int, float]:
    """Bits per pixel that a picture is read at, 8, 16, or 32 for signed, real or larger numbers, and the highest value
    that it may store."""
    high, tags = picture.info.get("maxval"), _tags(picture)
    if "low" in picture.info:
        return 16, 65535.0
    if picture.mode == "F" or (picture.mode == "I" and (
            2 in tags.get(_SAMPLE_FORMAT, ()) or max(tags.get(_BITS, (16,))) > 16)):
        return 32, math.inf
    if picture.mode not in _SIXTEEN:
        return 8, float(high or 255)
    bits = max(tags.get(_BITS, (16,)))
    return 16, float(high or 2**min(bits, 16) - 1)


def _tags(picture: Image.Image) -> Any:
    return picture.info.get("tags") or getattr(picture, "tag_v2", {})


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _over_black(picture: Image.Image, path: Path | Embedded) -> Image.Image:
    if _is_transparent(picture):
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    if picture.mode in ("L", "RGB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _deep(picture: Image.Image, path: Path | Embedded) -> NDArray[Any]:
    """The values of a picture of 16 or 32 bits, (rows, columns), or (3, rows, columns) of colour, white the highest."""
    if "low" in picture.info:
        return joined(picture, picture.info["low"])
    values = np.asarray(picture)
    if _depth(picture)[0] == 32:
        return _numbers(picture, values, path)
    if values.ndim != 2 or values.min() < 0 or values.max() > 65535:
        raise InputRefused(f"{path}: expected one channel of 16 bits; got values up to {values.max()}")
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, 0, values)
    if _tags(picture).get(_PHOTOMETRIC) == 0:
        values = _depth(picture)[1] - values
    return np.asarray(values, np.uint16)


def _numbers(picture: Image.Image, values: NDArray[Any], path: Path | Embedded) -> NDArray[np.float32]:
    """Real or signed numbers, or those of 32 bits, which Pillow takes to be signed."""
    if _tags(picture).get(_PHOTOMETRIC) == 0:
        raise InputRefused(f"{path}: real or signed numbers of which the lowest is white; turn it and store it anew")
    if picture.mode == "I" and 2 not in _tags(picture).get(_SAMPLE_FORMAT, ()) and values.min() < 0:
        raise InputRefused(f"{path}: whole numbers above {2**31 - 1}, which are not read; store it with fewer bits")
    return values.astype(np.float32)
