"""Cases of what a program already holds: arrays, or a torch data set whose items are images with labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from steadyread.cases.case_set import Cases, Pixels, Row
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
    no such axis (none), where that is not clear from the shape. name: what reports call the data.
    """

    patients: Sequence[object] | None
    classes: Sequence[str] | None
    parts: Sequence[str] | str
    ids: Sequence[object] | None
    spacing_mm: Sequence[float] | None
    channels: Literal["first", "last", "none"] | None
    name: str


def from_arrays(images: object, labels: object, *, bounds: Valid, **known: Unpack[Known]) -> Cases:
    """Cases of images that are in memory.

    Args:
        images: (n, c, *space) in native units; grey ones may be (n, h, w), and colour may stand last, (n, h, w, 3).
        labels: one class index an image, (n,).
        bounds: the valid native values, (low, high), (low, high, unit) or `Bounds`.
        known: patients, classes, parts, ids, spacing_mm, channels, name: see `Known`.

    Raises:
        InputRefused, UsageError: not as stated here.
    """
    pixels = _channels_first(as_images(images).numpy(), known.get("channels"))
    return _rows(pixels, labels, bounds, {"name": "arrays", **known})


def from_dataset(dataset: Any, *, bounds: Valid, **known: Unpack[Known]) -> Cases:
    """Cases of a torch data set or loader. Its items are (image, label, ...), or a mapping with an image and a label
    by their usual names, or `Case`s; images are tensors, arrays or pictures in native units, as its transforms leave
    them.

    Every item is read once for its label; its image is read again when it is assessed, unless the set can only be
    gone through (then all images are held). Of a loader the data set is taken, in its own order, unless the loader
    puts batches together in a way of its own. The other arguments are those of `from_arrays`; classes are the data
    set's own (`classes`) unless stated.

    Raises:
        InputRefused: items of another kind, or an image that is another one each time it is read, as one is that is
            augmented at random.
    """
    source = dataset.dataset if isinstance(dataset, DataLoader) else dataset
    own = getattr(source, "classes", None)
    known = {"name": type(source).__name__, **({"classes": own} if own is not None else {}), **known}
    if isinstance(dataset, DataLoader) and dataset.collate_fn is default_collate:
        dataset = source
    if isinstance(dataset, DataLoader | IterableDataset) or not hasattr(dataset, "__getitem__"):
        items = list(_gone_through(dataset, known["name"]))
        return from_arrays([torch.from_numpy(image) for image, _ in items], [label for _, label in items],
                           bounds=bounds, **known) if items else _empty(known["name"])
    return _read_when_asked(dataset, bounds, known) if len(dataset) else _empty(known["name"])


def cases_of(data: object, **stated: Any) -> Cases:
    """Cases of whatever a caller has: `Cases` as they are, (images, labels), or a torch data set or loader.

    Raises:
        UsageError: no bounds for images that bring none, or bounds beside cases that have them.
    """
    given = {key: value for key, value in stated.items() if value is not None}
    if isinstance(data, Cases):
        if given:
            raise UsageError(f"{', '.join(given)}: these cases say that themselves; leave it out")
        return data
    if "bounds" not in given:
        raise UsageError("bounds: state the valid values of the images, such as bounds=(-1000, 400, 'HU') or (0, 1)")
    if isinstance(data, tuple | list) and len(data) == 2:
        return from_arrays(data[0], data[1], **given)
    if isinstance(data, Dataset | DataLoader) or hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
        return from_dataset(data, **given)
    raise UsageError(f"data must be Cases, (images, labels), or a torch Dataset or DataLoader; got "
                     f"{type(data).__name__}")


def _empty(name: str) -> Cases:
    raise InputRefused(f"{name} is empty: no images to assess")


def _read_when_asked(dataset: Any, bounds: Valid, known: Known) -> Cases:
    """Cases whose images are read from the data set each time."""
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

    return replace(_rows(_channels_first(like, channels), labels, bounds, known), load=load)


def _rows(pixels: Pixels, labels: object, bounds: Valid, known: Known) -> Cases:
    """The cases of images (n, c, *space) with everything else that is known of them."""
    count, name, parts = len(pixels), known["name"], known.get("parts", "test")
    index = as_labels(labels, count).tolist()
    names = _names(known.get("classes"), max(index, default=0))
    patients = _each("patients", known.get("patients"), count)
    keys = _each("ids", known.get("ids"), count) or [f"{at:0{max(4, len(str(count)))}d}" for at in range(count)]
    _refuse_twice(keys)
    placed = [parts] * count if isinstance(parts, str) else _each("parts", parts, count) or []
    spacing = known.get("spacing_mm")
    rows = tuple(Row(key, patients[at] if patients else key, label, names[label],
                     None if spacing is None else tuple(map(float, spacing)), _part(placed[at]), at,
                     f"{name}, image {at}", shape=tuple(pixels.shape[1:]))
                 for at, (key, label) in enumerate(zip(keys, index, strict=True)))

    def load(row: Row) -> Pixels:
        image: Pixels = pixels[row.source]
        return image

    return Cases(name, rows, load, names, bounds if isinstance(bounds, Bounds) else Bounds(*bounds),
                 patients_known=patients is not None)


def _gone_through(dataset: Any, name: str) -> Iterator[tuple[Pixels, int]]:
    """The items of a set without places, or of a loader's batches."""
    for item in dataset:
        if not isinstance(dataset, DataLoader) or dataset.batch_size is None:
            yield _parted(item, name)
            continue
        images, labels = _two(item, name)
        yield from ((np.asarray(image), int(label)) for image, label in zip(
            as_images(images).numpy(), as_labels(labels, len(images)).tolist(), strict=True))


def _parted(item: object, name: str) -> tuple[Pixels, int]:
    """An item's image and label."""
    if isinstance(item, Case):
        return item.image.numpy(), item.label
    image, label = _two(item, name)
    pixels = np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
    if pixels.dtype.kind not in "biuf" or pixels.ndim < 2:
        shape = f" of shape {pixels.shape}" if pixels.dtype.kind in "biuf" else ""
        raise InputRefused(f"{name}: the image of an item must be a tensor, an array or a picture; got "
                           f"{type(image).__name__}{shape}")
    return pixels.astype(np.float32), int(as_labels(label if np.ndim(label) else [label], 1)[0])


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
