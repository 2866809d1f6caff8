"""NRRD volumes and images (`.nrrd`, and `.nhdr` beside its data), read by their own definition
(teem.sourceforge.net/nrrd/format.html)."""

import bz2
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import SEEK_END, BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.kind import Asked, Images, Known, kind, range_of
from steadyread.cases.orientation import STORED, squeezed, turned
from steadyread.cases.row import Pixels
from steadyread.cases.stored import MOST_BYTES, broken_is_refused, refuse_large
from steadyread.cases.tables import inside
from steadyread.errors import InputRefused
from steadyread.files import regular_file

_MOST_HEADER, _PIECE = 2**16, 2**20
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
_COLOURS = (1, 3)
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


@dataclass(frozen=True)
class _Placed:
    """How the file's array becomes (channels, *space): its axes in order, those to flip, the shape and spacing."""

    order: tuple[int, ...]
    flips: tuple[int, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None


@kind("nrrd", title="NRRD volumes", endings=(".nrrd", ".nhdr"), order=40)
def images(files: Sequence[Path], asked: Asked) -> Images:
    """NRRD volumes, (channels, *space) with the axes that `orientation` states; an axis of one voxel is none. Where
    a file says nothing of the patient, slices stand first and columns last.

    Raises:
        InputRefused: not one can be read.
    """
    def read(file: Path) -> Pixels:
        with broken_is_refused(file):
            header = _read_header(file)
            placed = _placed(header, asked.orientation)
            values = _values(header).reshape(header.sizes, order="F").transpose(placed.order)
            return np.flip(values, placed.flips).reshape(placed.shape)

    def known(file: Path, _: bool) -> Known:
        with broken_is_refused(file):
            placed = _placed(_read_header(file), asked.orientation)
            return Known(placed.shape, placed.spacing_mm)

    bounds, notes = range_of(files, read, asked.unit)
    return Images(bounds, read, known, notes)


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


def _placed(header: _Header, axes: str) -> _Placed:
    """How the array lies, by its space and the directions in it."""
    sizes, vectors = header.sizes, header.vectors
    spread = _spread(header)
    channels = [axis for axis, kind_of in enumerate(_kinds(header)) if "color" in kind_of or "vector" in kind_of]
    channels = channels or [axis for axis, vector in enumerate(vectors) if vector is None]
    if len(channels) > 1 or any(sizes[axis] not in _COLOURS for axis in channels):
        raise InputRefused(f"{header.file}: an NRRD file of the sizes {header.fields['sizes']}; expected one value or "
                           "three colours a voxel")
    space = [axis for axis in range(len(sizes)) if axis not in channels]
    signs = _SPACES.get(header.fields.get("space", "").lower())
    flips: tuple[int, ...] = ()
    if axes == STORED:
        order = space
    elif signs is None or len(space) != 3 or not vectors:
        order = space[::-1]
    else:
        directions = np.array([vectors[axis] for axis in space], np.float64).T * np.array(signs)[:, None]
        turns, flips = turned(directions / np.linalg.norm(directions, axis=0), str(header.file), axes, True)
        order = [space[axis] for axis in turns]
    extents = [sizes[axis] for axis in order]
    spacing = tuple(spread[axis] for axis in order) if spread else None
    whole = (sizes[channels[0]] if channels else 1, *squeezed(extents, extents))
    return _Placed((*channels, *order), tuple(place + len(channels) for place in flips), whole,
                   squeezed(spacing, extents) if spacing and all(0 < step < np.inf for step in spacing) else None)


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
    """The values, in the order of the file, unpacked no further than the header says."""
    name = header.fields.get("data file", header.fields.get("datafile"))
    file, begins = (header.file, header.begins) if name is None else (_detached(header, name), 0)
    size = int(np.prod(header.sizes)) * header.dtype.itemsize
    packed = _DECODERS.get(header.fields["encoding"].lower())
    skip, lines = (int(header.fields.get(key, header.fields.get(key.replace(" ", ""), 0)))
                   for key in ("byte skip", "line skip"))
    if max(skip, lines) > MOST_BYTES:
        raise InputRefused(f"{header.file}: its values are said to begin after {skip} bytes and {lines} lines; at most "
                           f"{MOST_BYTES} are passed over")
    with file.open("rb") as stream:
        stream.seek(begins)
        for _ in range(lines):
            if not stream.readline(_PIECE):
                break
        if packed is None and skip == -1:
            stream.seek(max(0, file.stat().st_size - size))
            skip = 0
        elif packed is None:
            stream.seek(stream.tell() + max(0, skip))
            skip = 0
        skip = max(0, skip)
        data = _stored(stream, size) if packed is None else _unpacked(stream, packed(), size + skip)
        begins = 0 if packed is None else min(skip, len(data))
    if len(data) - begins != size:
        raise InputRefused(f"{header.file}: its header says {size} bytes of voxels, and there are "
                           f"{len(data) - begins}: the file is truncated or damaged, fetch it again")
    return _native(np.frombuffer(data, header.dtype, offset=begins))


def _native(values: NDArray[Any]) -> NDArray[Any]:
    """The values in this machine's order of bytes, exchanged where they lie: a copy would be a second quarter of a
    gigabyte."""
    if values.dtype.isnative:
        return values
    return values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))


def _stored(stream: BufferedReader, size: int) -> bytearray:
    """The next `size` bytes of a file, or as many as there are."""
    begins, ends = stream.tell(), stream.seek(0, SEEK_END)
    data = bytearray(max(0, min(size, ends - begins)))
    stream.seek(begins)
    stream.readinto(data)
    return data


def _unpacked(stream: IO[bytes], decoder: Any, size: int) -> bytearray:
    """What a packed stream holds, at most `size` bytes and one more, by which a bomb or another size shows."""
    data = bytearray()
    while not decoder.eof and len(data) <= size:
        waiting = getattr(decoder, "unconsumed_tail", b"") or (stream.read(_PIECE) if getattr(
            decoder, "needs_input", True) else b"")
        piece = decoder.decompress(waiting, min(_PIECE, size + 1 - len(data)))
        if not waiting and not piece:
            break
        data += piece
    return data


def _detached(header: _Header, name: str) -> Path:
    """The file that holds the values of a detached header: one in its own folder, and no other.

    Raises:
        InputRefused: several files, or one outside the folder.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise InputRefused(f"{header.file}: its values stand in several files; store it as one")
    file = inside(header.file.parent, name, header.file.name)
    if file.resolve().parent != header.file.parent.resolve():
        raise InputRefused(f"{header.file}: its values are said to be in {name}; expected a file beside it")
    return regular_file(file)
