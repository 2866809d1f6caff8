"""Arrays inside npz and gz files as memory maps, with every declared size checked before it is believed."""

import errno
import gzip
import math
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from steadyread.errors import InputRefused, Partial, first_line
from steadyread.files import member_begins, regular_file, whole_zip

# A member that claims more than this many times its stored size, and more than this many bytes, is taken
# for a decompression bomb: real image arrays compress up to some 30-fold.
_BOMB_RATIO = 200
_BOMB_BYTES = 64 * 2**20
_CHUNK = 2**20
MOST_BYTES = 2**28     # of one image's array: 512 x 512 x 512 voxels of 16 bits
_MOST_HELD = 2**29     # of an image as it is stored, and as float32 besides: 512 x 512 x 340 voxels of 16 bits
_MOST_ROWS = 10**6
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError,
           struct.error, tokenize.TokenError, SyntaxError, MemoryError, OverflowError, TypeError, KeyError,
           AttributeError, IndexError)


class Mapped(np.memmap[Any, Any]):
    """A map of a file that asks at each look whether the file is still whole: what is cut off meanwhile reads as
    zeros, and kills beyond the file's last page.

    Raises:
        InputRefused: it is shorter than when it was mapped.
    """

    def __getitem__(self, key: Any) -> Any:
        path = self.filename   # None of what was computed from a map
        if path is not None and Path(path).stat().st_size < self.offset + self.nbytes:
            raise InputRefused(f"{path}: has become shorter since it was opened; get the whole file again, and run "
                               "the same command")
        found = super().__getitem__(key)
        return found.view(np.ndarray) if isinstance(found, np.ndarray) else found


def npz_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in an npz file, read from its directory and compared with the members' own.

    Raises:
        InputRefused: not a readable npz, or a member whose two names differ.
    """
    with _zip(path) as archive:
        for info in archive.infolist():
            archive.open(info).close()   # compares the directory's name with the member's own
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


def npz_array(path: Path, name: str) -> NDArray[Any]:
    """One array of an npz file as a read-only memory map, its pixels never held.

    A stored member is mapped where it lies; a compressed one is unpacked once, in pieces, into a nameless
    temporary file (in the folder that TMPDIR names).

    Raises:
        InputRefused: missing, truncated, changed (by its CRC), an object array, or larger than its stored size
            makes credible.
    """
    with _zip(path) as archive:
        try:
            info = archive.getinfo(f"{name}.npy")
        except KeyError:
            held = ", ".join(item.removesuffix(".npy") for item in archive.namelist()) or "nothing"
            raise InputRefused(f"{path}: no array '{name}'; the file holds {held}") from None
        refuse_bomb(path, f"array '{name}'", info.file_size, info.compress_size)
        with archive.open(info) as member:
            shape, fortran, dtype = _header(member, path, name)
            start = member.tell()
            size = math.prod(shape) * dtype.itemsize
            if size != info.file_size - start:
                raise InputRefused(f"{path}: array '{name}' of shape {shape} and type {dtype} needs {size} bytes; "
                                   f"the file holds {info.file_size - start}")
            if not size:
                return np.zeros(shape, dtype)
            if info.compress_type != zipfile.ZIP_STORED:
                return unpacked(member, dtype, shape, path, f"array '{name}'", fortran)
        with path.open("rb") as file:
            offset = member_begins(file, info)
            _refuse_changed(path, f"array '{name}'", file, offset, info)
        return Mapped(path, dtype, "r", offset + start, shape, "F" if fortran else "C")


def npy_array(path: Path, most: int = MOST_BYTES) -> NDArray[Any]:
    """The array of an npy file as a read-only memory map.

    Raises:
        InputRefused: truncated or damaged, Python objects, no plain numbers, or more than `most` bytes.
    """
    with broken_is_refused(path), regular_file(path).open("rb") as file:
        shape, fortran, dtype = _header(file, path, path.stem)
        size, begins = math.prod(shape) * dtype.itemsize, file.tell()
        if dtype.kind not in "biuf":
            raise InputRefused(f"{path}: an array of {dtype}; expected real numbers")
        if size > most:
            raise InputRefused(f"{path}: an array of shape {shape} has {size} bytes; at most {most} are read: cut it")
        if size != path.stat().st_size - begins:
            raise InputRefused(f"{path}: an array of shape {shape} and type {dtype} needs {size} bytes; the file holds "
                               f"{path.stat().st_size - begins}")
        return Mapped(path, dtype, "r", begins, shape, "F" if fortran else "C") if size else np.zeros(shape, dtype)


def unpacked(stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], path: Path, what: str,
             fortran: bool = False) -> NDArray[Any]:
    """The array that `stream` holds, copied in pieces into a nameless temporary file and mapped.

    Raises:
        InputRefused: the stream is damaged, shorter or longer.
        Partial: there is no room for the copy.
    """
    size = left = math.prod(shape) * dtype.itemsize
    with broken_is_refused(path), tempfile.TemporaryFile() as temporary:
        while left >= 0 and (piece := stream.read(min(_CHUNK, left) or 1)):
            left -= len(piece)
            temporary.write(piece)
        temporary.flush()
        if left:
            came = "more" if left < 0 else f"only {size - left}"
            raise InputRefused(f"{path}: {what} should unpack to {size} bytes and holds {came}; "
                               "the file is truncated or damaged, fetch it again")
        return np.memmap(temporary, dtype, "r", 0, shape, "F" if fortran else "C")


def refuse_many(path: Path, count: int) -> None:
    """Refuses more images than can be held as rows.

    Raises:
        InputRefused: more than a million.
    """
    if count > _MOST_ROWS:
        raise InputRefused(f"{path}: declares {count} images; at most {_MOST_ROWS} are read: divide the set")


def refuse_large(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuses an image that would not be held beside its values as float32.

    Raises:
        InputRefused: as said.
    """
    needed = math.prod(shape) * (dtype.itemsize + 4)
    if needed > _MOST_HELD:
        raise InputRefused(f"{path}: an image of {' x '.join(map(str, shape))} values needs {needed} bytes; at most "
                           f"{_MOST_HELD} are taken: cut it to the part that is read")


def refuse_bomb(path: Path, what: str, declared: int, stored: int) -> None:
    """Refuses sizes that no real image array has.

    Raises:
        InputRefused: `declared` bytes from `stored` ones is a decompression bomb.
    """
    if declared > _BOMB_BYTES and declared > _BOMB_RATIO * max(stored, 1):
        raise InputRefused(f"{path}: {what} claims {declared} bytes from {stored} stored ones, more than "
                           f"{_BOMB_RATIO}-fold: taken for a decompression bomb and not read")


@contextmanager
def broken_is_refused(path: Path) -> Iterator[None]:
    """Turns what readers raise on damaged files into one refusal that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise InputRefused(f"{path}: no such file") from None
    except _BROKEN as problem:
        if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
            raise Partial(f"{path}: no room to unpack it in {tempfile.gettempdir()}; make room, or set TMPDIR to a "
                          "folder with more, and run the same command again") from None
        raise InputRefused(f"{path}: truncated, damaged or not what its name says ({first_line(problem)})") from None


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with broken_is_refused(path), regular_file(path).open("rb") as file, whole_zip(file) as archive:
        yield archive


def _refuse_changed(path: Path, what: str, file: IO[bytes], offset: int, info: zipfile.ZipInfo) -> None:
    """Compares a stored member with its CRC, as unpacking does with a compressed one."""
    left, sum_so_far = info.file_size, 0
    file.seek(offset)
    while left and (piece := file.read(min(_CHUNK, left))):
        sum_so_far = zlib.crc32(piece, sum_so_far)
        left -= len(piece)
    if left or sum_so_far != info.CRC:
        raise InputRefused(f"{path}: {what} is not what was stored (its CRC-32 is {sum_so_far:08x}, it should be "
                           f"{info.CRC:08x}); the file is damaged, fetch it again")


def _header(member: IO[bytes], path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise InputRefused(f"{path}: array '{name}' has npy version {version}; expected 1.0 or 2.0")
    shape, fortran, dtype = _HEADERS[version](member)
    if dtype.hasobject:
        raise InputRefused(f"{path}: array '{name}' holds Python objects (a pickle, which can run code); "
                           "save it as a plain array of numbers")
    return shape, fortran, dtype

