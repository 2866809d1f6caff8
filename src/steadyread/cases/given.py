"""Cases of arrays that a program already holds, and what may be known of them."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np

from steadyread.cases.row import NOTHING, Pixels, Row
from steadyread.errors import InputRefused, UsageError
from steadyread.metrics.reads import PARTS
from steadyread.models.scales import stated_scale
from steadyread.types import Bounds, as_images, as_labels

Valid = Bounds | tuple[float, float] | tuple[float, float, str]
_CHANNELS = (1, 3)     # that an image may have where nothing says which axis they are
_ROUNDING = 0.01       # share of the range by which an image may leave it
_NORMALISED, _WIDE = 10.0, 100.0    # values this near to 0 are no stored ones where the range is so wide


class Known(TypedDict, total=False):
    """What else may be known of images that a program holds.

    patients: whose each image is, (n,); without them an image counts as its own patient. classes: the names of classes
    0, 1, ... parts: of each image, or of all: train, validation, test; those of `test`, which all are unless stated,
    are judged. ids: by which each image is named in records and reports; its place if left out. spacing_mm: of the
    pixels, one value an axis of space, of all images. channels: whether they stand first in an image, last, or there is
    no such axis (none), where that is not clear from the shape. normalised: (mean, deviation), each one value or one
    per channel, which the images were normalised with: this is undone, so that sizes are in stored units, and belongs
    to the classifier's `normalise`. findings: the names of the columns of labels (n, k), of which each says 1, 0, or -1
    where it is not known; such cases have no label until one is chosen (`cases.of_finding`). name: what reports call
    the data.
    """

    patients: Sequence[object] | None
    classes: Sequence[str] | None
    parts: Sequence[str] | str
    ids: Sequence[object] | None
    spacing_mm: Sequence[float] | None
    channels: Literal["first", "last", "none"] | None
    findings: Sequence[str]
    normalised: object | None
    name: str


def of_arrays(images: object, labels: object, bounds: Valid, known: Known) -> dict[str, Any]:
    """The fields of `Cases` of images in memory, see `Cases.from_arrays`."""
    pixels = channels_first(as_images(images).numpy(), known.get("channels"))
    pixels = undone(pixels, known.get("normalised"))
    known = {"name": "arrays", **known}
    told = told_normalised(float(pixels.min()), float(pixels.max()), bounds, known["name"]) if pixels.size else ()
    return fields(pixels, labels, bounds, known) | {"warnings": told}


def fields(pixels: Pixels, labels: object, bounds: Valid, known: Known) -> dict[str, Any]:
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


def channels_first(images: Pixels, channels: str | None = None) -> Pixels:
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


def undone(images: Pixels, normalised: object | None) -> Pixels:
    """Images (n, c, *space) times the deviations plus the means that they were normalised with.

    Raises:
        UsageError: no means and deviations, or not as many as channels.
    """
    if normalised is None:
        return images
    means, deviations = (np.asarray(value, np.float32).reshape(-1) for value in stated_scale(normalised))
    if {len(means), len(deviations)} - {1, images.shape[1]}:
        raise UsageError(f"normalised has {len(means)} means and {len(deviations)} deviations, the images "
                         f"{images.shape[1]} channels: state one of each, or one per channel")
    whole = [1] * (images.ndim - 2)
    return np.asarray(images * deviations.reshape(-1, *whole) + means.reshape(-1, *whole), np.float32)


def told_normalised(low: float, high: float, bounds: Valid, name: str) -> tuple[str, ...]:
    """A warning where images from `low` to `high` lie close to 0 and their bounds are wide.

    Raises:
        InputRefused: negative values where the bounds have none: images that are normalised.
    """
    valid = bounds if isinstance(bounds, Bounds) else Bounds(*bounds)
    width = valid.high - valid.low
    told = (f"{name}: the images go from {low:.4g} to {high:.4g}, the bounds from {valid.low:g} to {valid.high:g}: "
            "they look normalised. Leave that to the classifier (normalise=(MEAN, SD)), or state here "
            "normalised=(MEAN, SD), which is undone, so that sizes are in stored units")
    if valid.low >= 0 and low < valid.low - _ROUNDING * width:
        raise InputRefused(f"{told}; or state the bounds of the values as they are")
    return (told,) if width >= _WIDE and high > low and max(abs(low), abs(high)) <= _NORMALISED else ()


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
