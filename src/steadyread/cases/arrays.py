"""Reader of npz files in the MedMNIST layout (doi:10.1038/s41597-022-01721-8), 2D and 3D, grey and colour."""

from pathlib import Path

import numpy as np

from steadyread.cases.case_set import Cases, Pixels, Row
from steadyread.cases.stored import npz_array, npz_names
from steadyread.errors import InputRefused
from steadyread.types import Bounds

_PARTS = {"train": "train", "val": "validation", "test": "test"}
LOOKED_FOR = "an .npz with train_images, train_labels, val_*, test_* (MedMNIST layout)"


def recognises(path: Path) -> bool:
    """Whether `path` is such a file, or a folder that holds exactly one."""
    return _file(path) is not None


def read(path: Path) -> Cases:
    """The cases of a MedMNIST file: uint8 images (n, *space) or (n, *space, 3), labels (n,) or (n, 1).

    The official parts are kept; each image is its own patient (the file has no patients).

    Raises:
        InputRefused: wrong names, shapes or types; labels of several tasks at once.
    """
    file = _file(path)
    if file is None:
        raise InputRefused(f"{path}: expected {LOOKED_FOR}")
    present = [short for short in _PARTS if f"{short}_images" in npz_names(file)]
    images = {short: npz_array(file, f"{short}_images") for short in present}
    rows: list[Row] = []
    for short in present:
        labels = _labels(file, short, len(images[short]))
        shape = _shape(file, short, images[short])
        rows += [Row(f"{_PARTS[short]}/{index:06d}", f"{_PARTS[short]}/{index:06d}", label, str(label), None,
                     _PARTS[short], (short, index), f"{file.name} {short}_images row {index}", shape=shape)
                 for index, label in enumerate(labels)]

    def load(row: Row) -> Pixels:
        short, index = row.source
        pixels = images[short][index]
        channels = row.shape[0] if row.shape else 1
        return np.moveaxis(pixels, -1, 0) if channels == 3 else pixels[None]

    classes = tuple(str(label) for label in range(1 + max(row.label or 0 for row in rows)))
    return Cases(file.stem, tuple(rows), load, classes, Bounds(0.0, 255.0, "grey level"))


def _file(path: Path) -> Path | None:
    found = [path] if path.is_file() else sorted(path.glob("*.npz"))
    found = [file for file in found if file.suffix == ".npz"]
    if len(found) == 1 and any(f"{short}_images" in npz_names(found[0]) for short in _PARTS):
        return found[0]
    return None


def _shape(file: Path, short: str, images: Pixels) -> tuple[int, ...]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4, 5):
        raise InputRefused(f"{file}: {short}_images must be uint8 of shape (n, *space) or (n, *space, 3); "
                           f"got {images.dtype} of shape {images.shape}")
    space = images.shape[1:]
    if len(space) > 2 and space[-1] == 3:
        return 3, *space[:-1]
    if len(space) == 4:
        raise InputRefused(f"{file}: {short}_images of shape {images.shape}: a colour image needs 3 channels last")
    return 1, *space


def _labels(file: Path, short: str, count: int) -> list[int]:
    labels = npz_array(file, f"{short}_labels")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputRefused(f"{file}: {short}_labels has {labels.shape[1]} columns (several tasks at once); "
                           "keep the one column to be assessed")
    if labels.dtype.kind not in "iub" or labels.size != count or labels.ndim > 2:
        raise InputRefused(f"{file}: {short}_labels must be {count} whole numbers, one an image; "
                           f"got {labels.dtype} of shape {labels.shape}")
    values = [int(label) for label in labels.reshape(-1)]
    low, high = min(values), max(values)
    if low < 0 or high > 65535:
        wrong = values.index(low if low < 0 else high)
        raise InputRefused(f"{file}: {short}_labels row {wrong}: a label must be a class index from 0; "
                           f"got {values[wrong]}")
    return values
