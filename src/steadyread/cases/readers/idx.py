"""Reader of MNIST's IDX files, gzipped or not (http://yann.lecun.com/exdb/mnist, doi:10.1109/5.726791)."""

import gzip
import math
import struct
from pathlib import Path
from typing import IO, cast

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.reader import reader
from steadyread.cases.row import Pixels, Row
from steadyread.cases.stored import Mapped, broken_is_refused, refuse_bomb, refuse_many, unpacked
from steadyread.errors import InputRefused
from steadyread.files import is_regular, regular_file
from steadyread.names import shown
from steadyread.types import Bounds

_PARTS = {"train": "train", "t10k": "test"}


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with at least one part's images."""
    return any(_file(path, part, "images", 3) for part in _PARTS)


@reader("idx", recognises=recognises, order=60, defaults={
    "data": {"limit": 12_000}, "training": {"epochs": 6, "flips": False, "rotation_degrees": 10.0},
    "attacks": {"epsilons": ("0.05 range", "0.1 range", "0.2 range", "0.3 range"), "limit": 500}},
        looked_for="train-images-idx3-ubyte and t10k-images-idx3-ubyte with their -labels-idx1-ubyte, .gz or not "
                   "(MNIST)")
def read(path: Path) -> Cases:
    """The cases of an IDX folder, with the official parts train and test.

    Raises:
        InputRefused: a file that is missing, truncated, of another type, or that does not fit its pair.
    """
    images: dict[str, Pixels] = {}
    rows: list[Row] = []
    for short, part in _PARTS.items():
        file = _file(path, short, "images", 3)
        if file is None:
            continue
        images[part] = _array(file, 3)
        labels_file = _file(path, short, "labels", 1)
        if labels_file is None:
            raise InputRefused(f"{path}: {file.name} has no {short}-labels-idx1-ubyte beside it")
        labels = np.array(_array(labels_file, 1))
        if len(labels) != len(images[part]):
            raise InputRefused(f"{labels_file}: {len(labels)} labels for {len(images[part])} images of {file.name}")
        shape = (1, *images[part].shape[1:])
        rows += [Row(f"{part}/{index:06d}", f"{part}/{index:06d}", label, str(label), None, part, (part, index),
                     f"{file.name} row {index}", shape=shape) for index, label in enumerate(labels.tolist())]
    classes = tuple(str(label) for label in range(1 + max(row.label or 0 for row in rows)))
    return Cases(shown(path.name), tuple(rows), lambda row: images[row.source[0]][row.source[1]][None], classes,
                 Bounds(0.0, 255.0, "grey level"))


def _file(path: Path, short: str, what: str, axes: int) -> Path | None:
    names = [f"{short}-{what}{dash}idx{axes}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    return next((path / name for name in names if is_regular(path / name)), None)


def _array(file: Path, axes: int) -> Pixels:
    """The array of an IDX file: bytes only, `axes` axes, unpacked into a nameless file where gzipped."""
    with broken_is_refused(file), regular_file(file).open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if packed else raw)
        head = stream.read(4 + 4 * axes)
        if len(head) < 4 + 4 * axes or head[:4] != bytes((0, 0, 8, axes)):
            raise InputRefused(f"{file}: expected IDX bytes with {axes} axes (magic 0x{0x800 + axes:08x}); "
                               f"it begins with 0x{head[:4].hex()}")
        shape = struct.unpack(f">{axes}I", head[4:])
        size = math.prod(shape)
        if size == 0:
            raise InputRefused(f"{file}: declares the shape {shape}, which holds nothing")
        refuse_many(file, shape[0])
        if packed:
            refuse_bomb(file, f"the shape {shape}", size, file.stat().st_size)
            return unpacked(stream, np.dtype(np.uint8), shape, file, f"the shape {shape}")
        held = file.stat().st_size - len(head)
        if held != size:
            raise InputRefused(f"{file}: declares the shape {shape}, {size} bytes, and holds {held}")
        return Mapped(file, np.uint8, "r", len(head), shape)
