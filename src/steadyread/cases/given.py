"""Cases of what a program already holds: arrays, or a torch data set whose items are images with labels."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate

from steadyread.cases.row import NOTHING, Pixels, Row
from steadyread.errors import InputRefused, UsageError
from steadyread.metrics.reads import PARTS
from steadyread.types import Bounds, Case, as_images, as_labels

Valid = Bounds | tuple[float, float] | tuple[float, float, str]
_CHANNELS = (1, 3)     # that an image may have where nothing says which axis they are
_KEYS = (("image", "images", "img", "pixel_values", "x"), ("label", "labels", "target", "targets", "class", "y"))


class Known(TypedDict, total=False):
    """What else may be known of images that a program holds.

    patients: whose each image is, (n,); without them an image counts as its own patient. classes: the names of classes
    0, 1, ... parts: of each image, or of all: train, validation, test; those of `test`, which all are unless stated,
    are judged. ids: by which each image is named in records and reports; its place if left out. spacing_mm: of the
    pixels, one value an axis of space, of all images. channels: whether they stand first in an image, last, or there is
    no such axis (none), where that is not clear from the shape. findings: the names of the columns of labels (n, k),
    of which each says 1, 0, or -1 where it is not known; such cases have no label until one is chosen
    (`cases.of_finding`). name: what reports call the data.
    """

    patients: Sequence[object] | None
    classes: Sequence[str] | None
    parts: Sequence[str] | str
    ids: Sequence[object] | None
    spacing_mm: Sequence[float] | None
    channels: Literal["first", "last", "none"] | None
    findings: Sequence[str]
    name: str


def of_arrays(images: object, labels: object, bounds: Valid, known: Known) -> dict[str, Any]:
    """The fields of `Cases` of images in memory, see `Cases.from_arrays`."""
    pixels = _channels_first(as_images(images).numpy(), known.get("channels"))
    return _fields(pixels, labels, bounds, {"name": "arrays", **known})


def of_dataset(dataset: Any, bounds: Valid, known: Known) -> dict[str, Any]:
    """The fields of `Cases` of a torch data set or loader, see `Cases.from_dataset`."""
    source = dataset.dataset if isinstance(dataset, DataLoader) else dataset
    own = getattr(source, "classes", None)
    known = {"name": type(source).__name__, **({"classes": own} if own is not None else {}), **known}
    if isinstance(dataset, DataLoader) and dataset.collate_fn is default_collate:
        dataset = source
    if not isinstance(dataset, DataLoader | IterableDataset) and hasattr(dataset, "__getitem__"):
        return _read_when_asked(dataset, bounds, known)
    items = list(_gone_through(dataset, known["name"]))
    _refuse_empty(items, known)
    return of_arrays([torch.from_numpy(image) for image, _ in items], [label for _, label in items], bounds, known)


def _refuse_empty(items: Sized, known: Known) -> None:
    if not len(items):
        raise InputRefused(f"{known['name']} is empty: no images to assess")


def _read_when_asked(dataset: Any, bounds: Valid, known: Known) -> dict[str, Any]:
    """Images that are read from the data set each time."""
    _refuse_empty(dataset, known)
    name, channels, labels, shapes = known["name"], known.get("channels"), [], set()
    for at in range(len(dataset)):
        image, label = _parted(dataset[at], name)
        labels.append(label)
        shapes.add(image.shape)
    if len(shapes) > 1:
        several = " and ".join(map(str, sorted(shapes)[:2]))
        raise InputRefused(f"{name}: its images have several shapes, such as {several}: let its transform crop or "
                           "resize them to one")
    first, again = (_parted(dataset[0], name)[0] for _ in range(2))
    if not np.array_equal(again, first):
        raise InputRefused(f"{name}: item 0 is another image each time it is read, as of a random augmentation: give "
                           "the data set without it, as for testing")
    like = np.broadcast_to(first, (len(labels), *first.shape))     # takes no memory

    def load(row: Row) -> Pixels:
        image: Pixels = _channels_first(_parted(dataset[row.source], name)[0][None], channels)[0]
        return image

    return _fields(_channels_first(like, channels), labels, bounds, known) | {"load": load}


def _fields(pixels: Pixels, labels: object, bounds: Valid, known: Known) -> dict[str, Any]:
    """The fields of images (n, c, *space) with everything else that is known of them."""
    unknown = known.keys() - Known.__annotations__.keys()
    if unknown:
        raise UsageError(f"{', '.join(sorted(unknown))}: not known of images; these may be stated: "
                         f"{', '.join(Known.__annotations__)}")
    count, name, parts = len(pixels), known["name"], known.get("parts", "test")
    columns = _columns(labels, count, known.get("findings", ()))
    index = [None] * count if columns else as_labels(labels, count).tolist()
    names = () if columns else _names(known.get("classes"), max(index, default=0))
    patients = _each("patients", known.get("patients"), count)
    keys = _each("ids", known.get("ids"), count) or [f"{at:0{max(4, len(str(count)))}d}" for at in range(count)]
    _refuse_twice(keys)
    placed = [parts] * count if isinstance(parts, str) else _each("parts", parts, count) or []
    spacing = known.get("spacing_mm")
    rows = tuple(Row(key, patients[at] if patients else key, label, "" if label is None else names[label],
                     None if spacing is None else tuple(map(float, spacing)), _part(placed[at]), at,
                     f"{name}, image {at}", columns[at] if columns else NOTHING, tuple(pixels.shape[1:]))
                 for at, (key, label) in enumerate(zip(keys, index, strict=True)))

    def load(row: Row) -> Pixels:
        image: Pixels = pixels[row.source]
        return image

    return {"name": name, "rows": rows, "load": load, "classes": names, "patients_known": patients is not None,
            "bounds": bounds if isinstance(bounds, Bounds) else Bounds(*bounds)}


def _columns(labels: object, count: int, findings: Sequence[str]) -> list[dict[str, object]]:
    """The labels (n, k) of several findings by name, one table an image; none where none are named.

    Raises:
        InputRefused: labels of another shape.
    """
    if not findings:
        return []
    values = np.stack([np.asarray(label) for label in labels]) if isinstance(labels, list) and labels else np.asarray(
        labels)
    if values.shape != (count, len(findings)):
        raise InputRefused(f"labels of {len(findings)} findings must have the shape ({count}, {len(findings)}); got "
                           f"{values.shape}")
    return [dict(zip(findings, row, strict=True)) for row in values.tolist()]


def _gone_through(dataset: Any, name: str) -> Iterator[tuple[Pixels, int]]:
    """The items of a set without places, or of a loader's batches."""
    for item in dataset:
        if not isinstance(dataset, DataLoader) or dataset.batch_size is None:
            yield _parted(item, name)
            continue
        images, labels = _two(item, name)
        yield from ((np.asarray(image), int(label)) for image, label in zip(
            as_images(images).numpy(), as_labels(labels, len(images)).tolist(), strict=True))


def _parted(item: object, name: str) -> tuple[Pixels, Any]:
    """An item's image and label; the labels of several findings as they are."""
    if isinstance(item, Case):
        return item.image.numpy(), item.label
    image, label = _two(item, name)
    pixels = np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
    if pixels.dtype.kind not in "biuf" or pixels.ndim < 2:
        shape = f" of shape {pixels.shape}" if pixels.dtype.kind in "biuf" else ""
        raise InputRefused(f"{name}: the image of an item must be a tensor, an array or a picture; got "
                           f"{type(image).__name__}{shape}")
    return pixels.astype(np.float32), label if np.prod(np.shape(label)) > 1 else int(
        as_labels(label if np.ndim(label) else [label], 1)[0])


def _two(item: object, name: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        found = [next((item[key] for key in keys if key in item), None) for keys in _KEYS]
        if all(value is not None for value in found):
            return found[0], found[1]
        raise InputRefused(f"{name}: an item needs an image and a label; it has {', '.join(map(str, item))}")
    if isinstance(item, tuple | list) and len(item) >= 2:
        return item[0], item[1]
    raise InputRefused(f"{name}: an item must be (image, label) or a mapping with both; got {type(item).__name__}")


def _channels_first(images: Pixels, channels: str | None = None) -> Pixels:
    """Images as (n, c, *space): where their channels stand is as stated, or clear from their shape.

    Raises:
        InputRefused: it is neither.
    """
    where = channels or _where_channels(images.shape)
    if where == "none":
        return images[:, None]
    return np.moveaxis(images, -1, 1) if where == "last" else images


def _where_channels(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return "none"
    if len(shape) != 4 or shape[1] in _CHANNELS:
        return "first"
    if shape[-1] in _CHANNELS:
        return "last"
    raise InputRefused(f"images of shape {shape[1:]} may be {shape[1]} channels, or volumes of one: state "
                       "channels='first' or channels='none'")


def _names(classes: Sequence[str] | None, highest: int) -> tuple[str, ...]:
    names = tuple(map(str, classes)) if classes is not None else tuple(str(at) for at in range(max(highest + 1, 2)))
    if highest >= len(names):
        raise InputRefused(f"a label is {highest}, and there are {len(names)} classes: {', '.join(names)}")
    return names


def _each(what: str, values: Sequence[object] | None, count: int) -> list[str] | None:
    if values is None:
        return None
    texts = [str(value.item() if hasattr(value, "item") else value) for value in values]
    if len(texts) != count:
        raise InputRefused(f"{what}: {count} are needed, one an image; got {len(texts)}")
    return texts


def _part(name: str) -> str:
    if name not in PARTS:
        raise InputRefused(f"parts: each must be one of {', '.join(PARTS)}; got '{name}'")
    return name


def _refuse_twice(ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise InputRefused(f"ids: each must name one image; '{twice}' is there more than once")
