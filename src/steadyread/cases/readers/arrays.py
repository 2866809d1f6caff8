"""Reader of npz files in the MedMNIST layout (doi:10.1038/s41597-022-01721-8), 2D and 3D, grey and colour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.labels import UNNAMED
from steadyread.cases.reader import reader
from steadyread.cases.row import Pixels, Row
from steadyread.cases.stored import npz_array, npz_names, refuse_many
from steadyread.errors import InputRefused
from steadyread.files import entries, is_folder, is_regular
from steadyread.names import shown
from steadyread.types import Bounds

_PARTS = {"train": "train", "val": "validation", "test": "test"}
LOOKED_FOR = "an .npz with train_images, train_labels, val_*, test_* (MedMNIST layout)"


def recognises(path: Path) -> bool:
    """Whether `path` is such a file, or a folder that holds exactly one."""
    return _file(path) is not None


@reader("medmnist", recognises=recognises, order=70, defaults={"data": {"limit": 12_000}, "attacks": {"limit": 500}},
        looked_for=LOOKED_FOR)
def read(path: Path) -> Cases:
    """The cases of a MedMNIST file: uint8 images (n, *space) or (n, *space, 3), labels (n,), (n, 1) or (n, findings).

    The official parts are kept, empty ones left out; each image is its own patient (the file has no patients). One
    channel may stand last, as in (n, *space, 1).

    Raises:
        InputRefused: wrong names, shapes or types; a part without its labels.
    """
    file = _file(path)
    if file is None:
        raise InputRefused(f"{path}: expected {LOOKED_FOR}")
    images, notes = _images(file)
    rows: list[Row] = []
    for short, (pixels, shape) in images.items():
        labels = _labels(file, short, len(pixels))
        rows += [_row(file, short, index, label, shape) for index, label in enumerate(labels)]
    if not rows:
        raise InputRefused(f"{file}: all its parts are empty")

    def load(row: Row) -> Pixels:
        short, index = row.source
        pixels, shape = images[short]
        return np.moveaxis(pixels[index], -1, 0) if shape[0] == 3 else pixels[index].reshape(shape)

    known = [row.label for row in rows if row.label is not None]
    classes = tuple(str(label) for label in range(1 + max(known, default=-1)))
    return Cases(shown(file.stem), tuple(rows), load, classes, Bounds(0.0, 255.0, "grey level"), notes=notes)


def _row(file: Path, short: str, index: int, label: int | list[int], shape: tuple[int, ...]) -> Row:
    """One image; where it has several labels, each stands under the name of its place."""
    name, where = f"{_PARTS[short]}/{index:06d}", f"{file.name} {short}_images row {index}"
    if isinstance(label, int):
        return Row(name, name, label, str(label), None, _PARTS[short], (short, index), where, shape=shape)
    return Row(name, name, None, "", None, _PARTS[short], (short, index), where,
               {f"{UNNAMED}{place}": value for place, value in enumerate(label)}, shape)


def _file(path: Path) -> Path | None:
    files = [path] if is_regular(path) else entries(path) if is_folder(path) else []
    files = [file for file in files if file.suffix.lower() == ".npz" and is_regular(file)]
    if len(files) == 1 and any(f"{short}_images" in npz_names(files[0]) for short in _PARTS):
        return files[0]
    return None


def _images(file: Path) -> tuple[dict[str, tuple[Pixels, tuple[int, ...]]], tuple[str, ...]]:
    """The images of each part that has any, with the shape (channels, *space) of one, and a note.

    Raises:
        InputRefused: labels without their images, or more images than can be held.
    """
    names = npz_names(file)
    for short in _PARTS:
        if f"{short}_labels" in names and f"{short}_images" not in names:
            raise InputRefused(f"{file}: {short}_labels has no {short}_images; the file holds {', '.join(names)}")
    images = {}
    for short in (short for short in _PARTS if f"{short}_images" in names):
        pixels = npz_array(file, f"{short}_images")
        shape = _shape(file, short, pixels)
        if len(pixels) or npz_array(file, f"{short}_labels").size:
            images[short] = pixels, shape
    refuse_many(file, sum(len(pixels) for pixels, _ in images.values()))
    read = {f"{short}_{kind}" for short in _PARTS for kind in ("images", "labels")}
    further = [name for name in names if name not in read]
    return images, (f"arrays that are not read: {', '.join(further)}",) if further else ()


def _shape(file: Path, short: str, images: Pixels) -> tuple[int, ...]:
    """(channels, *space) of one image.

    Raises:
        InputRefused: not uint8, or an axis that may be channels or space.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4, 5) or 0 in images.shape[1:]:
        raise InputRefused(f"{file}: {short}_images must be uint8 of shape (n, *space) or (n, *space, 3); "
                           f"got {images.dtype} of shape {images.shape}")
    space = images.shape[1:]
    if len(space) > 2 and space[-1] == 3:
        return 3, *space[:-1]
    if len(space) > 2 and 1 in (space[0], space[-1]):
        return (1, *space[:-1]) if space[-1] == 1 else space
    if len(space) == 4:
        raise InputRefused(f"{file}: {short}_images of shape {images.shape}: a colour image needs 3 channels last")
    if len(space) == 3 and min(space) < 5 and max(space) >= 3 * min(space):
        raise InputRefused(f"{file}: {short}_images of shape {images.shape}: may be {min(space)} channels or "
                           f"{min(space)} slices; give colour as (n, rows, columns, 3), grey as (n, rows, columns)")
    return 1, *space


def _labels(file: Path, short: str, count: int) -> Sequence[int | list[int]]:
    labels = npz_array(file, f"{short}_labels")
    if labels.dtype.kind in "iub" and labels.ndim == 2 and labels.shape[1] > 1 and len(labels) == count:
        several: list[list[int]] = labels.astype(int).tolist()
        return several
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
