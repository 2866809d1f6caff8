"""PGM and PPM pictures with the values that they store: libraries stretch them from maxval to 255."""

import re
from typing import IO

import numpy as np
from PIL import Image

from steadyread.errors import InputRefused

_MAGIC = (b"P2", b"P3", b"P5", b"P6")
_NUMBER = rb"(?:\s+|#[^\n\r]*[\n\r])+(\d{1,9})"
_HEADER = re.compile(rb"(P[2356])" + 3 * _NUMBER + rb"\s", re.DOTALL)
_COMMENT = re.compile(rb"#[^\n\r]*")
_MOST = 2**26


def is_netpbm(head: bytes) -> bool:
    """Whether a file that begins so is a PGM or PPM, plain or binary."""
    return head[:2] in _MAGIC


def read_netpbm(file: IO[bytes], path: object) -> Image.Image:
    """The picture in `file` with its stored values, of mode L, RGB or I;16, and `maxval` in its info.

    `path` is its name for messages.

    Raises:
        InputRefused: a header that is none, too large, 16 bits in colour, truncated, values above its maxval, or
            several pictures.
    """
    header = _HEADER.match(file.read(4096))
    if header is None:
        raise InputRefused(f"{path}: not a whole, readable picture (no PGM or PPM header)")
    magic, width, height, maxval = header[1], *(int(value) for value in header.groups()[1:])
    channels = 3 if magic in (b"P3", b"P6") else 1
    _refuse_header(path, (width, height, maxval), channels)
    file.seek(header.end())
    size, count = 1 if maxval < 256 else 2, width * height * channels
    if magic in (b"P5", b"P6"):
        data = file.read(count * size + 3)
        values = np.frombuffer(data[:len(data) // size * size], ">u2" if size == 2 else np.uint8)
        if data[count * size:].lstrip()[:2] in _MAGIC:
            raise InputRefused(f"{path}: holds several frames; give one file an image")
    else:
        words = _COMMENT.sub(b" ", file.read(12 * count + 2**16)).split(maxsplit=count)[:count]
        plain = all(word.isdigit() and len(word) < 10 for word in words)
        values = np.array(words, np.int64) if plain else np.empty(0, np.int64)
    if len(values) < count:
        raise InputRefused(f"{path}: not a whole, readable picture ({count} values declared, {len(values)} stored)")
    values = values[:count]
    if int(values.max()) > maxval:
        raise InputRefused(f"{path}: holds the value {values.max()}, above its own maxval {maxval}; it is damaged")
    pixels = values.astype(np.uint8 if size == 1 else np.uint16).reshape(height, width, channels)
    picture = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
    picture.info["maxval"] = maxval
    return picture


def _refuse_header(path: object, declared: tuple[int, int, int], channels: int) -> None:
    width, height, maxval = declared
    if not 0 < maxval < 65536 or not width * height:
        raise InputRefused(f"{path}: not a whole, readable picture ({width} x {height} pixels of at most {maxval})")
    if width * height * channels > _MOST:
        raise InputRefused(f"{path}: {width} x {height} pixels; at most {_MOST} values are read (a decompression "
                           "bomb, or cut it first)")
    if maxval > 255 and channels == 3:
        raise InputRefused(f"{path}: 16 bits per channel with colour, which are not read; convert it to 8 bits, "
                           "or to one grey channel of 16")
