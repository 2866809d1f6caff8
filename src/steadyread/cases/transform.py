"""A preparation of the user's own: a function of an image, whose scale is undone so that sizes stay in stored units."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from steadyread.cases.case_set import Cases, unknown_grid, unknown_mask
from steadyread.cases.given import undone
from steadyread.cases.row import Pixels, Row
from steadyread.errors import InputRefused, SteadyreadError, UsageError
from steadyread.models.factories import code_of
from steadyread.units import Bounds

Transform = Callable[[Any], Any]
# Where in the range a transform is tried on images of one value, and how far it may be from a scale and an offset.
_LEVELS, _ALIKE = (0.1, 0.3, 0.5, 0.7, 0.9), 2e-3
_WHOLE = 16     # a range from which whole values are tried: what rounds keeps them
# On how many images it is tried besides, how far half an image may be from half of it, and in which share of pixels.
_TRIED, _NEAR, _FEW = 4, 0.01, 0.05
_REMEDY = ("sizes could not be told in stored units: let it only cut, turn and resize; or {}state preparation.unit, in "
           "which sizes are then told, with model.bounds")


@dataclass(frozen=True)
class Scale:
    """What a transform does to values besides moving them, per channel: (x - mean) / deviation."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def is_none(self, bounds: Bounds) -> bool:
        """Whether it leaves values as they are."""
        return all(abs(mean) <= _ALIKE * bounds.range and abs(deviation - 1) <= _ALIKE
                   for mean, deviation in zip(self.mean, self.deviation, strict=True))

    def undone(self, image: Pixels, bounds: Bounds) -> Pixels:
        """An image (channels, *space) that came through the transform, in the units before it."""
        scale = np.array(self.mean), np.array(self.deviation)
        return image if self.is_none(bounds) else undone(image[None], scale)[0]


def transform_of(name: str) -> Transform:
    """The function that `file.py:name` or `package.module:name` names. Importing it runs that file's code.

    Raises:
        UsageError: no such file or name, or what is no function of an image.
        InputRefused: importing it failed.
    """
    found = code_of(name, "preparation.transform")
    if isinstance(found, type) or not callable(found):
        raise UsageError(f"preparation.transform: {name} is a {'class' if isinstance(found, type) else 'value'}, not a "
                         "function of an image (or an object that is called with one)")
    return found


def transformed(cases: Cases, transform: Transform, unit: str | None = None, bounds: Bounds | None = None) -> Cases:
    """The cases through a transform, lazily, (channels, *space) as it leaves them, its scale of values undone.

    It gets each image as a float32 array (channels, *space) in stored units, or as a tensor where its argument is
    annotated as one or it is a torch module, and returns either. It is called twice for every image, and must give the
    same. The scanner's grid below the images, masks and the pixels' spacing are known no longer.

    Args:
        unit: of the values that it leaves, where it changes them by another rule than a scale and an offset; nothing is
            undone then.
        bounds: within which its scale is looked for; the cases' own unless stated.

    Raises:
        InputRefused: when an image is read: it failed, gives no image, another one each time, or values that follow no
            scale and no `unit` is stated.
    """
    valid = bounds or cases.bounds
    scales: list[Scale] = []
    tried: set[str] = set()

    def load(row: Row) -> Pixels:
        pixels = cases.load(row.source)
        given = applied(transform, pixels, row.where or row.id)
        if unit is not None:
            return given
        if not scales:
            scales.append(scale_of(transform, tuple(pixels.shape), valid))
        if len(tried) < _TRIED and row.id not in tried:
            refuse_uneven(transform, pixels, scales[0], valid, row.where or row.id)
            tried.add(row.id)
        return scales[0].undone(given, valid)

    rows = tuple(replace(row, source=row, spacing_mm=None, shape=None, beyond=None) for row in cases.rows)
    return replace(cases, rows=rows, load=load, native=unknown_grid, mask=unknown_mask,
                   bounds=cases.bounds if unit is None else Bounds(cases.bounds.low, cases.bounds.high, unit))


def applied(transform: Transform, pixels: Pixels, where: str) -> NDArray[np.float32]:
    """An image (channels, *space) through a transform.

    Raises:
        InputRefused: see `transformed`.
    """
    first, again = (_called(transform, pixels, where) for _ in range(2))
    if not np.array_equal(first, again, equal_nan=True):
        raise InputRefused(f"{where}: preparation.transform gives another image each time, as a random augmentation "
                           "does: give the one that is used for testing")
    return first


def scale_of(transform: Transform, shape: tuple[int, ...], bounds: Bounds) -> Scale:
    """What a transform does to values, found on images of one value each.

    Raises:
        InputRefused: it is not one scale and offset per channel over the whole range.
    """
    levels = np.array([bounds.low + share * bounds.range for share in _LEVELS])
    levels = np.round(levels) if bounds.range >= _WHOLE else levels
    told = np.stack([np.median(image.reshape(len(image), -1), axis=1) for image in (
        applied(transform, np.full(shape, level, np.float32), "an image of one value") for level in levels)])
    gain = (told[-1] - told[0]) / (levels[-1] - levels[0])
    offset = told[0] - gain * levels[0]
    error = np.abs(told - (levels[:, None] * gain + offset)).max(0)
    if not (np.isfinite(told).all() and (gain > 0).all() and (error <= _ALIKE * gain * bounds.range).all()):
        pairs = ", ".join(f"{level:g} becomes {value:.4g}" for level, value in zip(
            levels, told[:, 0], strict=True))
        raise InputRefused(
            f"preparation.transform does not scale values evenly over {bounds.low:g} to {bounds.high:g} ({pairs}): "
            + _REMEDY.format("state the window in which it scales evenly as model.bounds; or "))
    return Scale(tuple(float(value) for value in -offset / gain), tuple(float(value) for value in 1 / gain))


def refuse_uneven(transform: Transform, pixels: Pixels, scale: Scale, bounds: Bounds, where: str) -> None:
    """Nothing where an image (channels, *space) of half the height above the lowest value becomes half as high, as a
    scale alone has it. What evens out a histogram leaves images of one value as they are, and is found by this. Pixels
    that depend on no image (padding) do not count, nor do images whose shape depends on their values.

    Raises:
        InputRefused: it does not in more than a few pixels.
    """
    whole = np.clip(np.asarray(pixels, np.float32), bounds.low, bounds.high)
    ways = (whole, bounds.low + (whole - bounds.low) / 2, np.full_like(whole, bounds.low),
            np.full_like(whole, bounds.high))
    became, halved, lowest, highest = (
        scale.undone(applied(transform, way, where), bounds) - bounds.low for way in ways)
    if became.shape != halved.shape:
        return
    moved = highest - lowest > bounds.range / 2 if highest.shape == lowest.shape == became.shape else np.ones(
        became.shape, bool)
    off = np.abs(halved - became / 2)[moved] > _NEAR * bounds.range
    if off.size and off.mean() > _FEW:
        raise InputRefused(f"{where}: preparation.transform changes values by more than a scale: of the same image at "
                           f"half its height, {100 * off.mean():.0f} % of the pixels are not half as high: "
                           + _REMEDY.format(""))


def _called(transform: Transform, pixels: Pixels, where: str) -> NDArray[np.float32]:
    image: Any = np.array(pixels, np.float32)
    tensor = _wants_tensor(transform)
    try:
        given = transform(torch.from_numpy(image) if tensor else image)
        result = np.array(given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given, np.float32)
    except SteadyreadError:
        raise
    except Exception as problem:     # code of the user's own raises what it likes
        kind = "a tensor" if tensor else "a numpy array (annotate its argument as torch.Tensor for a tensor)"
        said = " ".join(str(problem).split())[:200]
        raise InputRefused(f"{where}: preparation.transform failed on {kind} of shape {image.shape}: "
                           f"{type(problem).__name__}: {said}") from problem
    if not 2 <= result.ndim <= 4 or 0 in result.shape:
        raise InputRefused(f"{where}: preparation.transform must return an image (channels, *space); got the shape "
                           f"{result.shape}")
    return result


def _wants_tensor(transform: Transform) -> bool:
    """Whether a transform takes tensors: a torch module, or by the annotation of its first argument."""
    if isinstance(transform, torch.nn.Module):
        return True
    try:
        first = next(iter(inspect.signature(transform).parameters.values()), None)
    except (TypeError, ValueError):      # a function in C
        return False
    return first is not None and "Tensor" in str(first.annotation)
