"""NRRD volumes and images (`.nrrd`, and `.nhdr` beside its data), read by their own definition
(teem.sourceforge.net/nrrd/format.html)."""

import bz2
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.kind import Asked, Images, kind
from steadyread.cases.stored import refuse_large
from steadyread.cases.voxel_files import Grid, Lines, Placed, beside, images_of, placed, values
from steadyread.errors import InputRefused
from steadyread.files import regular_file

_MOST_HEADER = 2**16
_TYPES = {name: kind for kind, names in {
    "i1": ("signed char", "int8", "int8_t"), "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"), "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "uint64", "uint64_t"), "f4": ("float",), "f8": ("double",)}.items()
    for name in names}
# Of the spaces in which an axis is said to run: the signs that lead to right, front, head.
_SPACES = {"right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1), "left-anterior-superior": (-1, 1, 1),
           "las": (-1, 1, 1), "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1)}
_DECODERS = {"gzip": lambda: zlib.decompressobj(31), "gz": lambda: zlib.decompressobj(31),
             "bzip2": bz2.BZ2Decompressor, "bz2": bz2.BZ2Decompressor}


@dataclass(frozen=True)
class _Header:
    """A file's fields, and where its values begin."""

    file: Path
    fields: dict[str, str]
    begins: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Voxels along each axis, the one that runs fastest first."""
        return tuple(int(word) for word in self.fields["sizes"].split())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a voxel."""
        order = {"little": "<", "big": ">"}.get(self.fields.get("endian", "little").lower(), "<")
        return np.dtype(order + _TYPES[self.fields["type"].lower()])

    @property
    def vectors(self) -> list[list[float] | None]:
        """Where each axis runs, None of one that is no axis of space; [] where nothing says."""
        words = re.findall(r"none|\([^)]*\)", self.fields.get("space directions", ""))
        return [None if word == "none" else [float(part) for part in word[1:-1].split(",")] for word in words]


@kind("nrrd", title="NRRD volumes", endings=(".nrrd", ".nhdr"), order=40)
def images(files: Sequence[Path], asked: Asked) -> Images:
    """NRRD volumes, (channels, *space) with the axes that `orientation` states; an axis of one voxel is none. Where
    a file says nothing of the patient, slices stand first and columns last.

    Raises:
        InputRefused: not one can be read.
    """
    return images_of(files, asked, _read_header, _placed, _values)


def _read_header(file: Path) -> _Header:
    with regular_file(file).open("rb") as stream:
        start = stream.read(_MOST_HEADER)
    if not start.startswith(b"NRRD000"):
        raise InputRefused(f"{file}: not an NRRD file")
    text, end = start, len(start)
    for mark in (b"\n\n", b"\r\n\r\n"):
        at = start.find(mark)
        if 0 <= at < end:
            text, end = start[:at], at + len(mark)
    fields = dict(line.split(":", 1) for line in text.decode("latin-1").splitlines()[1:]
                  if ":" in line and not line.startswith("#") and ":=" not in line)
    fields = {" ".join(key.lower().split()): value.strip() for key, value in fields.items()}
    if text is start and "data file" not in fields and "datafile" not in fields:
        raise InputRefused(f"{file}: its NRRD header has no end within {_MOST_HEADER} bytes")
    header = _Header(file, fields, end)
    _refuse_other(header)
    return header


def _refuse_other(header: _Header) -> None:
    """Refuses what is no array of plain numbers, or too large, by the header alone."""
    fields, file = header.fields, header.file
    lacking = [key for key in ("type", "dimension", "sizes", "encoding") if key not in fields]
    if lacking:
        raise InputRefused(f"{file}: its NRRD header states no {lacking[0]}")
    if fields["type"].lower() not in _TYPES:
        raise InputRefused(f"{file}: an NRRD file of the type '{fields['type']}'; expected plain numbers")
    if fields["encoding"].lower() not in ("raw", *_DECODERS):
        raise InputRefused(f"{file}: NRRD values in the encoding '{fields['encoding']}'; expected raw, gzip or bzip2")
    if len(header.sizes) != int(fields["dimension"]) or not 2 <= len(header.sizes) <= 5 or min(header.sizes) < 1:
        raise InputRefused(f"{file}: an NRRD file of {fields['dimension']} axes and the sizes {fields['sizes']}; "
                           "expected two or three axes of space, and one of channels")
    refuse_large(file, header.sizes, header.dtype)


def _placed(header: _Header, axes: str) -> Placed:
    """How the array lies, by its space and the directions in it."""
    vectors, signs = header.vectors, _SPACES.get(header.fields.get("space", "").lower())
    channels = [axis for axis, kind_of in enumerate(_kinds(header)) if "color" in kind_of or "vector" in kind_of]
    channels = channels or [axis for axis, vector in enumerate(vectors) if vector is None]
    space = [vectors[axis] for axis in range(len(header.sizes)) if axis not in channels] if vectors and signs else []
    directions = np.array(space, np.float64).T * np.array(signs)[:, None] if len(space) == 3 else None
    return placed(Grid(header.sizes, tuple(channels), directions, _spread(header)), axes, f"{header.file}: NRRD")


def _kinds(header: _Header) -> list[str]:
    return header.fields.get("kinds", "").lower().split()[:len(header.sizes)]


def _spread(header: _Header) -> list[float]:
    """The distance of neighbouring voxels along each axis; [] where nothing says."""
    if header.vectors:
        if len(header.vectors) != len(header.sizes):
            raise ValueError(f"{len(header.vectors)} space directions for {len(header.sizes)} axes")
        return [float(np.linalg.norm(vector)) if vector else 0.0 for vector in header.vectors]
    stated = [float(word) for word in header.fields.get("spacings", "").split()]
    return stated if len(stated) == len(header.sizes) else []


def _values(header: _Header) -> NDArray[Any]:
    name = header.fields.get("data file", header.fields.get("datafile"))
    skip, lines = (int(header.fields.get(key, header.fields.get(key.replace(" ", ""), 0)))
                   for key in ("byte skip", "line skip"))
    stored = Lines(header.file, header.begins, lines, skip) if name is None else Lines(
        beside(header.file, name), 0, lines, skip)
    packed = _DECODERS.get(header.fields["encoding"].lower())
    return values(header.file, stored, math.prod(header.sizes), header.dtype, packed() if packed else None)
