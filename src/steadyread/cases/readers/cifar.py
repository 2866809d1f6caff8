"""Reader of CIFAR-10's binary version (https://www.cs.toronto.edu/~kriz/cifar.html)."""

from pathlib import Path
from typing import Literal

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.reader import reader
from steadyread.cases.row import Pixels, Row
from steadyread.cases.stored import Mapped, refuse_many
from steadyread.errors import InputRefused, UsageError
from steadyread.files import is_folder, is_regular, regular_file
from steadyread.names import shown
from steadyread.types import Bounds

_RECORD = 1 + 3 * 32 * 32
_NAMES = 2**16   # bytes that hold the names of the classes
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with a batch of records."""
    return is_folder(path) and any(_batches(path).values())


@reader("cifar-10", recognises=recognises, order=50, defaults={
    "model": {"arguments": {"dropout": 0.2}},
    "training": {"epochs": 25, "weight_decay": 0.005, "max_norm": None, "rotation_degrees": 0.0},
    "attacks": {"limit": 500}},
        looked_for="data_batch_*.bin and test_batch.bin (CIFAR-10, the binary version)")
def read(path: Path, channels: Literal["colour", "grey"] = "colour") -> Cases:
    """The cases of a CIFAR-10 folder: records of one label and 3 x 32 x 32 bytes, official parts kept.

    Args:
        channels: `colour`, or `grey` by luma (ITU-R 601).

    Raises:
        UsageError: `channels` is neither.
        InputRefused: a file that is not whole records, or a label without a class.
    """
    if channels not in ("colour", "grey"):
        raise UsageError(f"channels must be colour or grey; got '{channels}'")
    files = _batches(path)
    maps = {file: _records(file) for part in files.values() for file in part}
    refuse_many(path, sum(map(len, maps.values())))
    classes = _classes(path)
    rows: list[Row] = []
    for part, held in files.items():
        number = 0
        for file in held:
            labels = np.array(maps[file][:, 0]).tolist()
            for index, label in enumerate(labels):
                where = f"{file.name} record {index}"
                if label >= len(classes):
                    raise InputRefused(f"{where}: label {label}, where the set has the {len(classes)} classes "
                                       f"{', '.join(classes)}")
                name = f"{part}/{number:06d}"
                rows.append(Row(name, name, label, classes[label], None, part, (file, index), where,
                                shape=(3 if channels == "colour" else 1, 32, 32)))
                number += 1

    def load(row: Row) -> Pixels:
        colour = _pixels(maps[row.source[0]], row.source[1])
        return colour if channels == "colour" else np.tensordot(_LUMA, colour, 1)[None]

    return Cases(shown(path.name), tuple(rows), load, classes, Bounds(0.0, 255.0, "grey level"))


def _batches(path: Path) -> dict[str, list[Path]]:
    return {part: [file for file in sorted(path.glob(f"{name}.bin")) if is_regular(file)]
            for part, name in (("train", "data_batch_*"), ("test", "test_batch"))}


def _records(file: Path) -> Pixels:
    size = regular_file(file).stat().st_size
    if not size or size % _RECORD:
        raise InputRefused(f"{file}: {size} bytes are not whole records of {_RECORD} (a label and 3 x 32 x 32 "
                           "pixels); the file is truncated or another format")
    return Mapped(file, np.uint8, "r", 0, (size // _RECORD, _RECORD))


def _pixels(records: Pixels, index: int) -> Pixels:
    return records[index, 1:].reshape(3, 32, 32)


def _classes(path: Path) -> tuple[str, ...]:
    file = path / "batches.meta.txt"
    if not is_regular(file):
        return tuple(str(label) for label in range(10))
    with regular_file(file).open("rb") as stream:
        text = stream.read(_NAMES).decode("utf-8", "replace")
    names = tuple(shown(line.strip()) for line in text.splitlines() if line.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputRefused(f"{file}: expected one class name per line, all different; got {', '.join(names)}")
    return names
