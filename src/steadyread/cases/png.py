"""The check sums of a PNG's chunks, which Pillow passes over where they follow pixels."""

import zlib
from typing import IO

from steadyread.errors import InputRefused

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIECE = 2**20


def refuse_changed(file: IO[bytes], path: object) -> None:
    """Compares every critical chunk of a PNG with its CRC-32, from the start of `file`; others are left alone.

    Raises:
        InputRefused: a chunk that is cut off, or not what was stored.
    """
    file.seek(0)
    if file.read(8) != _SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        left, kind, total = int.from_bytes(head[:4], "big"), head[4:], zlib.crc32(head[4:])
        while left and (piece := file.read(min(left, _PIECE))):
            total = zlib.crc32(piece, total)
            left -= len(piece)
        stored = file.read(4)
        if left or len(stored) < 4 or (kind[:1].isupper() and total != int.from_bytes(stored, "big")):
            raise InputRefused(f"{path}: not a whole, readable picture (its {kind.decode('latin-1')} chunk is cut "
                               "off or damaged)")
        if kind == b"IEND":
            return
