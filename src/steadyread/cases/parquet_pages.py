"""What the pages of a Parquet file say that they unpack to, read before one is unpacked: Arrow gives them that memory.

After the format's own definition (github.com/apache/parquet-format): page headers in Thrift's compact protocol.
"""

from collections.abc import Collection, Iterator
from io import SEEK_END
from pathlib import Path
from typing import Any

from steadyread.cases.stored import refuse_bomb
from steadyread.errors import InputRefused

_MOST_PAGE, _MOST_PAGES, _MOST_FOOTER, _HEAD = 2**27, 2**20, 2**24, 2**16
_MAGIC = b"PAR1"
_NONE, _VARINTS, _EIGHT, _BYTES, _LISTS, _STRUCT = (1, 2), (3, 4, 5, 6), 7, 8, (9, 10), 12      # types of fields
_DEEPEST, _INT, _LONG = 24, 5, 6


def refuse_footer(path: Path) -> None:
    """Refuses what is no whole Parquet file, or describes itself at length.

    Raises:
        InputRefused: as said.
    """
    _footer(path)


def largest_page(path: Path, name: str) -> int:
    """How many bytes the largest page of a column, or of what stands in it, unpacks to.

    Raises:
        InputRefused: more than a picture has, or than its packed size makes credible.
        ValueError, IndexError: damaged.
    """
    largest, count = 1, 0
    footer = _footer(path)
    with path.open("rb") as stream:
        for begins, size in _chunks(footer, name):
            for unpacked, packed in _pages(stream, begins, begins + size):
                if unpacked > _MOST_PAGE:
                    raise InputRefused(f"{path}: a page of {unpacked} bytes; at most {_MOST_PAGE} are read: write it "
                                       "with smaller pages")
                refuse_bomb(path, "a page", unpacked, packed)
                largest, count = max(largest, unpacked), count + 1
                if count > _MOST_PAGES:
                    raise InputRefused(f"{path}: more than {_MOST_PAGES} pages: write it with larger ones")
    return largest


def _footer(path: Path) -> bytes:
    with path.open("rb") as stream:
        begins = stream.read(4)
        size = stream.seek(0, SEEK_END)
        stream.seek(max(0, size - 8))
        end = stream.read(8)
        length = int.from_bytes(end[:4], "little")
        if begins != _MAGIC or end[4:] != _MAGIC or length > size - 12:
            raise InputRefused(f"{path}: cut off, damaged or no Parquet file; fetch it again")
        if length > _MOST_FOOTER:
            raise InputRefused(f"{path}: {length} bytes that describe its columns; expected {_MOST_FOOTER} at most")
        stream.seek(size - 8 - length)
        return stream.read(length)


def _chunks(footer: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Where the chunks of a column begin, and their packed sizes. Read here: Arrow's own view of a damaged footer ends
    the process (26.0)."""
    for groups in _places(footer, 0, 4, _LISTS):
        for group in _items(footer, groups):
            for columns in _places(footer, group, 1, _LISTS):
                for column in _items(footer, columns):
                    for chunk in _places(footer, column, 3, (_STRUCT,)):
                        if f"{_path(footer, chunk)}.".startswith(f"{name}."):
                            stated = {number: _zigzag(footer, at)[0] for number, kind, at in _fields(footer, chunk)
                                      if kind == _LONG}
                            dictionary, values = stated.get(11, 0), stated[9]
                            yield dictionary if 0 < dictionary < values else values, stated[7]


def _path(footer: bytes, chunk: int) -> str:
    parts = []
    for path in _places(footer, chunk, 3, _LISTS):
        for item in _items(footer, path):
            size, at = _varint(footer, item)
            parts.append(footer[at:at + size].decode("utf-8", "replace"))
    return ".".join(parts)


def _pages(stream: Any, at: int, end: int) -> Iterator[tuple[int, int]]:
    """The sizes of each page of a chunk, unpacked and packed."""
    while at < end:
        stream.seek(at)
        head = stream.read(min(_HEAD, end - at))
        stated = {number: _zigzag(head, place)[0] for number, kind, place in _fields(head, 0) if kind == _INT}
        unpacked, packed = stated.get(2, -1), stated.get(3, -1)
        if min(unpacked, packed) < 0:
            raise ValueError("a page without its sizes")
        yield unpacked, packed
        at += _behind_struct(head, 0, 0) + packed


def _fields(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a struct: the number and type of each, and where its value begins."""
    number = 0
    while data[at]:
        kind, step = data[at] & 15, data[at] >> 4
        number, at = (number + step, at + 1) if step else _zigzag(data, at + 1)
        yield number, kind, at
        at = _behind(data, at, kind, 0)


def _places(data: bytes, at: int, wanted: int, kinds: Collection[int]) -> Iterator[int]:
    return (place for number, kind, place in _fields(data, at) if number == wanted and kind in kinds)


def _items(data: bytes, at: int) -> Iterator[int]:
    """Where the elements of a list begin."""
    kind, count, at = _list(data, at)
    for _ in range(count):
        yield at
        at = _behind(data, at, kind, 0)


def _behind(head: bytes, at: int, kind: int, depth: int) -> int:
    """Where the value of a field ends."""
    if kind in _NONE:
        return at
    if kind in _VARINTS:
        return at + 1 if kind == 3 else _varint(head, at)[1]
    if kind == _EIGHT:
        return at + 8
    if kind == _BYTES:
        size, at = _varint(head, at)
        return at + size
    if depth > _DEEPEST or kind not in (*_LISTS, _STRUCT):
        raise ValueError(f"a field of the type {kind}")
    return _behind_list(head, at, depth) if kind in _LISTS else _behind_struct(head, at, depth)


def _behind_struct(head: bytes, at: int, depth: int) -> int:
    while head[at]:
        kind, step = head[at] & 15, head[at] >> 4
        at = _behind(head, at + 1 if step else _varint(head, at + 1)[1], kind, depth + 1)
    return at + 1


def _behind_list(head: bytes, at: int, depth: int) -> int:
    kind, count, at = _list(head, at)
    for _ in range(count):
        at = at + 1 if kind in _NONE else _behind(head, at, kind, depth + 1)
    return at


def _list(head: bytes, at: int) -> tuple[int, int, int]:
    """The type of a list's elements, their number, and where the first begins."""
    kind, count = head[at] & 15, head[at] >> 4
    count, at = (count, at + 1) if count < 15 else _varint(head, at + 1)
    if count > len(head):
        raise ValueError("an endless list")
    return kind, count, at


def _zigzag(head: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(head, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(head: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        value |= (head[at + place] & 127) << 7 * place
        if head[at + place] < 128:
            return value, at + place + 1
    raise ValueError("a number of more than 64 bits")
