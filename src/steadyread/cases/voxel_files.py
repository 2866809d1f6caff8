"""Volumes as a text header and values behind it or beside it: how the array lies, and its values read within bounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import SEEK_END, BufferedReader
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.kind import Asked, Images, Known, range_of
from steadyread.cases.orientation import STORED, squeezed, turned
from steadyread.cases.row import Pixels
from steadyread.cases.stored import MOST_BYTES, broken_is_refused
from steadyread.cases.tables import inside
from steadyread.errors import InputRefused
from steadyread.files import regular_file

COLOURS = (1, 3)
_PIECE = 2**20


@dataclass(frozen=True, eq=False)
class Grid:
    """The axes of a file's array, the one that runs fastest first.

    `sizes` are their voxels, `channels` are those that are none of space. `vectors` (3, axes of space) are their
    directions in a world towards right, front and head, None where nothing says so; `spread` is the distance of
    neighbouring voxels along each axis, () where that is unknown.
    """

    sizes: tuple[int, ...]
    channels: tuple[int, ...] = ()
    vectors: NDArray[np.float64] | None = None
    spread: Sequence[float] = ()


@dataclass(frozen=True)
class Placed:
    """How the file's array becomes (channels, *space): its axes in order, those to flip, the shape and spacing."""

    order: tuple[int, ...]
    flips: tuple[int, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None

    def of(self, values: NDArray[Any], sizes: Sequence[int]) -> Pixels:
        """The values of a file so."""
        return np.flip(values.reshape(sizes, order="F").transpose(self.order), self.flips).reshape(self.shape)


@dataclass(frozen=True)
class Lines:
    """Where the values of `file` begin: behind `begins` bytes, then `lines` lines, then `skip` bytes, which are counted
    once unpacked where the values are packed; -1 of values that are not packed stands for those at the file's end."""

    file: Path
    begins: int = 0
    lines: int = 0
    skip: int = 0


class Header(Protocol):
    """What the text of such a file says."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the array's axes, the one that runs fastest first."""
        ...


Read = TypeVar("Read", bound=Header)


def images_of(files: Sequence[Path], asked: Asked, opened: Callable[[Path], Read],
              lying: Callable[[Read, str], Placed], held: Callable[[Read], NDArray[Any]]) -> Images:
    """The images of a format of such files: its header `opened`, how the array is `lying` with axes such as SPL, and
    the values `held`, in the order of the file.

    Raises:
        InputRefused: not one can be read.
    """
    def read(file: Path) -> Pixels:
        with broken_is_refused(file):
            header = opened(file)
            return lying(header, asked.orientation).of(held(header), header.sizes)

    def known(file: Path, _: bool) -> Known:
        with broken_is_refused(file):
            lies = lying(opened(file), asked.orientation)
            return Known(lies.shape, lies.spacing_mm)

    bounds, notes = range_of(files, read, asked.unit)
    return Images(bounds, read, known, notes)


def placed(grid: Grid, axes: str, where: str) -> Placed:
    """How an array lies with axes such as SPL; an axis of one voxel is none. Where a file says nothing of the patient,
    slices stand first and columns last.

    Raises:
        InputRefused: more than one value or three colours a voxel, or two axes that lie nearest to the same.
    """
    if len(grid.channels) > 1 or any(grid.sizes[axis] not in COLOURS for axis in grid.channels):
        raise InputRefused(f"{where}: the sizes {' '.join(map(str, grid.sizes))}; expected one value or three colours "
                           "a voxel")
    space = [axis for axis in range(len(grid.sizes)) if axis not in grid.channels]
    flips: tuple[int, ...] = ()
    if axes == STORED:
        order = space
    elif grid.vectors is None or len(space) != 3:
        order = space[::-1]
    else:
        turns, flips = turned(grid.vectors / np.linalg.norm(grid.vectors, axis=0), where, axes, True)
        order = [space[axis] for axis in turns]
    extents = [grid.sizes[axis] for axis in order]
    spacing = tuple(grid.spread[axis] for axis in order) if grid.spread else None
    whole = (grid.sizes[grid.channels[0]] if grid.channels else 1, *squeezed(extents, extents))
    return Placed((*grid.channels, *order), tuple(place + len(grid.channels) for place in flips), whole,
                  squeezed(spacing, extents) if spacing and all(0 < step < np.inf for step in spacing) else None)


def values(header: Path, stored: Lines, count: int, dtype: np.dtype[Any], decoder: Any = None) -> NDArray[Any]:
    """`count` values in the order of the file and this machine's order of bytes, unpacked no further than that by
    `decoder`.

    Raises:
        InputRefused: other than the header says.
    """
    if max(stored.skip, stored.lines) > MOST_BYTES:
        raise InputRefused(f"{header}: its values are said to begin after {stored.skip} bytes and {stored.lines} "
                           f"lines; at most {MOST_BYTES} are passed over")
    size, skip = count * dtype.itemsize, max(0, stored.skip)
    with stored.file.open("rb") as stream:
        stream.seek(stored.begins)
        for _ in range(stored.lines):
            if not stream.readline(_PIECE):
                break
        if decoder is None:
            stream.seek(max(0, stored.file.stat().st_size - size) if stored.skip == -1 else stream.tell() + skip)
        data = _stored(stream, size) if decoder is None else _unpacked(stream, decoder, size + skip)
    begins = 0 if decoder is None else min(skip, len(data))
    if len(data) - begins != size:
        raise InputRefused(f"{header}: its header says {size} bytes of voxels, and there are {len(data) - begins}: the "
                           "file is truncated or damaged, fetch it again")
    return _native(np.frombuffer(data, dtype, offset=begins))


def beside(header: Path, name: str) -> Path:
    """The file that holds the values of a detached header: one in its own folder, and no other.

    Raises:
        InputRefused: several files, or one outside the folder.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise InputRefused(f"{header}: its values stand in several files; store it as one")
    file = inside(header.parent, name, header.name)
    if file.resolve().parent != header.parent.resolve():
        raise InputRefused(f"{header}: its values are said to be in {name}; expected a file beside it")
    return regular_file(file)


def _native(held: NDArray[Any]) -> NDArray[Any]:
    """The values in this machine's order of bytes, exchanged where they lie: a copy would be a second quarter of a
    gigabyte."""
    if held.dtype.isnative:
        return held
    return held.byteswap(inplace=True).view(held.dtype.newbyteorder("="))


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
