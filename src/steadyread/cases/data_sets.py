"""Cases of data sets of other libraries: torch data sets and loaders, those of Hugging Face, and medmnist's."""

from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, default_collate

from steadyread.cases.given import Known, Valid, channels_first, fields, of_arrays, told_normalised, undone
from steadyread.cases.row import Pixels, Row
from steadyread.errors import InputRefused
from steadyread.types import Case, as_images, as_labels

_KEYS = (("image", "images", "img", "pixel_values", "x"), ("label", "labels", "target", "targets", "class", "y"))
_PARTS = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train", "testing": "test"}
_AGAIN = 16    # items that are read twice


def of_dataset(dataset: Any, bounds: Valid, known: Known) -> dict[str, Any]:
    """The fields of `Cases` of a data set or loader, see `Cases.from_dataset`."""
    source = dataset.dataset if isinstance(dataset, DataLoader) else dataset
    known = {"name": type(source).__name__, **_told(source), **known}
    if isinstance(dataset, DataLoader) and dataset.collate_fn is default_collate:
        dataset = source
    made = _fields(dataset, bounds, known)
    taught = str(getattr(source, "split", "")).startswith("train") and "parts" not in known
    return made | {"warnings": (*made["warnings"], told_taught(known["name"]))} if taught else made


def told_taught(name: str) -> str:
    """A warning of images that are the part for training of a data set."""
    return f"{name}: these are its images for training: a network that was trained on them reads others less well"


def _fields(dataset: Any, bounds: Valid, known: Known) -> dict[str, Any]:
    if _is_medmnist(dataset) and getattr(dataset, "transform", None) is None:
        colour = dataset.imgs.ndim > 3 and dataset.imgs.shape[-1] == 3
        return of_arrays(dataset.imgs, dataset.labels, bounds, {"channels": "last" if colour else "none", **known})
    if isinstance(dataset, Mapping):
        dataset = ConcatDataset([_Named.of(part) for part in dataset.values()]) if dataset else []
    if not isinstance(dataset, DataLoader | IterableDataset) and hasattr(dataset, "__getitem__"):
        return _read_when_asked(_Named.of(dataset), bounds, known)
    items = list(_gone_through(_Named.of(dataset), known["name"]))
    _refuse_empty(items, known)
    return of_arrays([torch.from_numpy(image) for image, _ in items], [label for _, label in items], bounds, known)


def _told(source: Any) -> Known:
    """What a data set says of itself: its classes or findings, and the parts of several in one mapping."""
    if isinstance(source, Mapping):
        parts = [_PARTS.get(str(name), str(name)) for name, part in source.items() for _ in range(len(part))]
        return {**_told(next(iter(source.values()), None)), "parts": parts}
    if _is_medmnist(source):
        info = getattr(source, "info", None) or {}
        stated = [str(name) for _, name in sorted(info.get("label", {}).items(), key=lambda pair: int(pair[0]))]
        several = source.labels.ndim > 1 and source.labels.shape[1] > 1
        return {} if not stated else {"findings": stated} if several else {"classes": stated}
    names = getattr(_features(source).get(_declared(source, "ClassLabel")), "names", getattr(source, "classes", None))
    return {} if names is None else {"classes": names}


def _is_medmnist(source: Any) -> bool:
    return all(isinstance(getattr(source, name, None), np.ndarray) for name in ("imgs", "labels"))


def _features(source: Any) -> Mapping[Any, Any]:
    """The columns that a data set of Hugging Face's declares."""
    features = getattr(source, "features", None)
    return features if isinstance(features, Mapping) else {}


def _declared(source: Any, kind: str) -> str | None:
    """The column that is declared as of a kind, None where not one is."""
    names = [name for name, feature in _features(source).items() if type(feature).__name__ == kind]
    return names[0] if len(names) == 1 else None


@dataclass(frozen=True)
class _Named:
    """A data set whose items are (image, label) where its columns are declared as such."""

    source: Any
    image: str
    label: str

    @classmethod
    def of(cls, source: Any) -> Any:
        """The data set so, or as it is where it declares nothing."""
        image, label = _declared(source, "Image"), _declared(source, "ClassLabel")
        return source if image is None or label is None else cls(source, image, label)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, at: int) -> Any:
        return self._named(self.source[at])

    def __iter__(self) -> Iterator[Any]:
        return map(self._named, self.source)

    def _named(self, item: Any) -> Any:
        return (item[self.image], item[self.label]) if {self.image, self.label} <= set(item) else item


def _refuse_empty(items: Sized, known: Known) -> None:
    if not len(items):
        raise InputRefused(f"{known['name']} is empty: no images to assess")


def _read_when_asked(dataset: Any, bounds: Valid, known: Known) -> dict[str, Any]:
    """Images that are read from the data set each time."""
    _refuse_empty(dataset, known)
    name, channels, labels, shapes = known["name"], known.get("channels"), [], set()
    count, ends = len(dataset), [np.inf, -np.inf]
    twice: dict[int, Pixels] = {}

    def read(at: int) -> tuple[Pixels, Any]:
        image, label = _parted(dataset[at], name)
        return undone(channels_first(image[None], channels), known.get("normalised"))[0], label

    for at in range(count):
        image, label = read(at)
        labels.append(label)
        shapes.add(image.shape)
        ends = [min(ends[0], float(image.min())), max(ends[1], float(image.max()))]
        if at % -(-count // _AGAIN) == 0:
            twice[at] = image
    if len(shapes) > 1:
        several = " and ".join(map(str, sorted(shapes)[:2]))
        raise InputRefused(f"{name}: its images have several shapes, such as {several}: let its transform crop or "
                           "resize them to one")
    for at, image in twice.items():
        if not np.array_equal(read(at)[0], image, equal_nan=True):
            raise InputRefused(f"{name}: item {at} is another image each time it is read, as of a random augmentation: "
                               "give the data set without it, as for testing")
    warnings = told_normalised(ends[0], ends[1], bounds, name)
    like = np.broadcast_to(twice[0], (count, *twice[0].shape))     # takes no memory

    def load(row: Row) -> Pixels:
        return read(row.source)[0]

    return fields(like, labels, bounds, known) | {"load": load, "warnings": warnings}


def _gone_through(dataset: Any, name: str) -> Iterator[tuple[Pixels, Any]]:
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
