"""Windows, crops and grids, the same code for any number of axes: how an image becomes a network's input."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadyread.cases.case_set import Cases, refuse_non_finite
from steadyread.cases.operators import Matrix, carried, composed, half_inside, padding_told
from steadyread.cases.row import Pixels, Row
from steadyread.cases.transform import Transform, transformed
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds, NativeGrid

Extents = tuple[int, ...]
Spacing = tuple[float, ...] | None
T = TypeVar("T", int, float)
Fit = Literal["cut", "shorter", "pad", "squash"]
Interpolation = Literal["linear", "cubic", "plain", "area", "nearest"]
_MOST_SIDE, _MOST_PIXELS = 8192, 2**27   # of a prepared image: 512 MB


@dataclass(frozen=True)
class Preparation:
    """What is done to each image, in this order; None leaves a step out.

    Args:
        transform: a function of the user's own, which comes first; see `cases.transform.transformed`.
        unit: of the values that it leaves, where it does more to them than a scale and an offset.
        spacing_mm: the grid is resampled to this pixel spacing (one value, or one an axis).
        crop: the centre of this many pixels an axis (one value, or one an axis); what lies beyond the image
            is filled with the native range's lowest value.
        size: resized to this many pixels an axis.
        fit: what becomes of other proportions than those of `size`: `cut` takes off the ends of the longer sides before
            it is resized; `shorter` resizes the shorter side and takes the centre (torchvision's Resize and CenterCrop,
            Hugging Face's shortest_edge); `pad` resizes the longer side and fills beside the shorter ones with the
            lowest value (MONAI's Resize to the longest and SpatialPad); `squash` gives every axis a scale of its own.
        central: of `shorter` and `squash` the share of each side that is kept at the end: 0.875 for a network that is
            given the central 224 pixels of images whose shorter side is resized to 256.
        interpolation: of `size`: `linear` and `cubic` widen where the image shrinks (antialiased, as Pillow's and
            torchvision's), `plain` is linear without that (as OpenCV's, TensorFlow's and MONAI's bilinear), `area`
            takes means (MONAI's default), `nearest` the pixel that lies nearest.
        window: values are clipped to (low, high), in native units, which become the bounds. Last, since
            interpolation belongs to the measured values.
    """

    window: tuple[float, float] | None = None
    spacing_mm: float | tuple[float, ...] | None = None
    crop: int | tuple[int, ...] | None = None
    size: int | tuple[int, ...] | None = None
    fit: Fit = "cut"
    central: float = 1.0
    interpolation: Interpolation = "linear"
    transform: Transform | None = None
    unit: str | None = None


def prepare(cases: Cases, preparation: Preparation) -> Cases:
    """The cases as `preparation` says, lazily: nothing is read until a case is.

    The native grid below each stays known: its operators followed by those of the preparation, in which fill is
    a row of zeros (the window is no linear step and no part of them). A mask goes through the same operators.

    Raises:
        UsageError: a size that is not positive, a window that is empty.
        InputRefused: a spacing is asked for and a row has none.
    """
    _refuse_nonsense(preparation)
    if preparation.transform is not None:
        cases = transformed(cases, preparation.transform, preparation.unit, seen_by(preparation, cases.bounds))
    for row in cases.rows:
        if preparation.spacing_mm is not None and row.spacing_mm is None:
            raise InputRefused(f"{row.where or row.id}: no pixel spacing is known, so the image cannot be "
                               "resampled to one in mm; leave spacing_mm out")
    low = cases.bounds.low

    def load(row: Row) -> Pixels:
        raw: Row = row.source
        pixels = cases.load(raw)
        refuse_non_finite(pixels, raw)  # before a window makes an infinite value look sound
        return shaped(pixels, raw.spacing_mm, preparation, low)

    def native(row: Row) -> NativeGrid | None:
        raw: Row = row.source
        below = cases.native(raw)
        if below is None or raw.shape is None:
            return None
        return composed(below, matrices(raw.shape[1:], raw.spacing_mm, preparation))

    window = preparation.window
    bounds = Bounds(*window, cases.bounds.unit) if window else cases.bounds
    return replace(cases, rows=tuple(_prepared(row, preparation) for row in cases.rows), load=load, bounds=bounds,
                   native=native, mask=lambda row: _mask(cases.mask(row.source), row.source, preparation),
                   notes=(*cases.notes, *_cuts(cases, preparation)))


def seen_by(preparation: Preparation, bounds: Bounds) -> Bounds:
    """The values within which a transform of the user's own is looked at: the window, where there is one."""
    return bounds if preparation.window is None else Bounds(*preparation.window, bounds.unit)


def _cuts(cases: Cases, preparation: Preparation) -> Iterator[str]:
    """What `size` cuts off, which a network that was trained on squeezed images has seen."""
    known = [(row.shape[1:], row.spacing_mm) for row in cases.rows if row.shape is not None]
    grids = [_grid(space, spacing, preparation) for space, spacing in known]
    lost = [1 - math.prod(grid.fitted) / math.prod(grid.cropped) for grid in grids if grid.fitted != grid.cropped]
    taken = [1 - math.prod(grid.size) / math.prod(grid.scaled) for grid in grids
             if preparation.fit == "shorter" and math.prod(grid.size) < math.prod(grid.scaled)]
    if taken:
        yield (f"the centre is taken once the shorter side is resized: {len(taken)} of {len(cases)} images lose up to "
               f"{100 * max(taken):.0f} % of their pixels")
    if lost:
        yield (f"cut to the proportions of the size asked for: {len(lost)} of {len(cases)} images lose up to "
               f"{100 * max(lost):.0f} % of their pixels, at the ends of the longer sides. Nothing is squeezed; of a "
               "network that was trained on squeezed images, state preparation.fit = \"squash\"")


def _mask(marked: Pixels | None, raw: Row, preparation: Preparation) -> Pixels | None:
    """What is marked on a raw image, on the grid of the prepared one."""
    if marked is None:
        return None
    if raw.shape is not None and marked.shape != raw.shape[1:]:
        raise InputRefused(f"{raw.where or raw.id}: its mask has the shape {marked.shape}, its image "
                           f"{raw.shape[1:]}: give the mask on the image's grid")
    return half_inside(marked, matrices(marked.shape, raw.spacing_mm, preparation))


def shaped(image: Pixels, spacing: Spacing, preparation: Preparation, fill: float) -> NDArray[np.float32]:
    """One image (c, *space) with its spacing, prepared: float32 (c, *new space)."""
    result = np.asarray(image, np.float32)
    grid = _grid(result.shape[1:], spacing, preparation)
    low, high = float(result.min()), float(result.max())
    if grid.step is not None:
        result = resample(result, grid.resampled, grid.step)
    if grid.cropped != grid.resampled:
        result = centre_crop(result, grid.cropped, fill)
    if grid.fitted != grid.cropped:
        result = centre_crop(result, grid.fitted, fill)
    if grid.scaled != grid.fitted:
        step = tuple(old / new for old, new in zip(grid.fitted, grid.scaled, strict=True))
        result = resample(result, grid.scaled, step, preparation.interpolation)
    if grid.size != grid.scaled:
        result = box(result, _corner(grid.scaled, grid.size), grid.size, fill)
    # linear weights sum to 1 up to rounding: hold the image's own range (`fill` included), then the window
    result = np.clip(result, min(low, fill), max(high, fill))
    return np.clip(result, *preparation.window) if preparation.window else result


@lru_cache(maxsize=64)
def matrices(space: Extents, spacing: Spacing, preparation: Preparation) -> tuple[Matrix, ...]:
    """What `shaped` does to an image of this shape and spacing before the window: one matrix (new, old) an axis."""
    grid = _grid(space, spacing, preparation)
    found = []
    for axis, held in enumerate(space):
        matrix = np.eye(held, dtype=np.float32)
        if grid.step is not None:
            matrix = _weights(held, grid.resampled[axis], grid.step[axis]) @ matrix
        for extent in (grid.cropped[axis], grid.fitted[axis]):
            matrix = box(matrix.T, (len(matrix) // 2 - extent // 2,), (extent,), 0).T
        if grid.fitted[axis] != grid.scaled[axis]:
            matrix = _weights(len(matrix), grid.scaled[axis], len(matrix) / grid.scaled[axis],
                              preparation.interpolation) @ matrix
        if grid.scaled[axis] != grid.size[axis]:
            matrix = box(matrix.T, _corner(grid.scaled[axis:axis + 1], grid.size[axis:axis + 1]),
                         grid.size[axis:axis + 1], 0).T
        found.append(np.ascontiguousarray(matrix))
    return tuple(found)


def centre_crop(image: Pixels, extents: Extents, fill: float) -> Pixels:
    """The central `extents` of (c, *space): index n//2 comes to extent//2; `fill` beyond the image."""
    corner = tuple(old // 2 - new // 2 for old, new in zip(image.shape[1:], extents, strict=True))
    return box(image, corner, extents, fill)


def _corner(held: Extents, extents: Extents) -> tuple[int, ...]:
    """Where the middle `extents` of `held` pixels begin: torchvision's rule where they are cut off (halves to the even
    pixel), MONAI's where they are filled up (the smaller half before)."""
    return tuple(round((old - new) / 2) if old >= new else -((new - old) // 2)
                 for old, new in zip(held, extents, strict=True))


def box(image: Pixels, corner: tuple[int, ...], extents: Extents, fill: float) -> Pixels:
    """The box of (c, *space) that begins at `corner`, which may lie outside; `fill` beyond the image."""
    result = np.full((image.shape[0], *extents), fill, image.dtype)
    source, target = [slice(None)], [slice(None)]
    for start, extent, held in zip(corner, extents, image.shape[1:], strict=True):
        first, last = max(start, 0), min(start + extent, held)
        source.append(slice(first, max(first, last)))
        target.append(slice(first - start, max(first, last) - start))
    if all(piece.stop > piece.start for piece in source[1:]):
        result[tuple(target)] = image[tuple(source)]
    return result


def resample(image: Pixels, extents: Extents, step: tuple[float, ...], interpolation: Interpolation = "linear"
             ) -> NDArray[np.float32]:
    """(c, *space) read at `extents` points an axis, `step` old pixels apart, the centre staying the centre.

    Where `step` exceeds 1 the kernel of `linear` and `cubic` widens with it (antialiased, as Pillow's bilinear and
    bicubic and torch's `antialias=True`); beyond the border the weights are those of the pixels inside.
    """
    result = np.asarray(image, np.float32)
    for axis, (extent, one) in enumerate(zip(extents, step, strict=True), 1):
        if extent == result.shape[axis] and one == 1:
            continue
        weights = _weights(result.shape[axis], extent, one, interpolation)
        first = np.moveaxis(result, axis, 0)
        read = weights @ first.reshape(len(first), -1)
        result = np.moveaxis(read.reshape(extent, *first.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


@lru_cache(maxsize=32)
def _weights(held: int, extent: int, step: float, interpolation: Interpolation = "linear") -> csr_array:
    """Interpolation weights (extent, held), each row summing to 1. Sparse: no threads, the same bits."""
    places = (np.arange(extent) - (extent - 1) / 2) * step + (held - 1) / 2
    if interpolation == "nearest":
        nearest = np.clip(np.floor(places + 0.5), 0, held - 1).astype(np.int64)
        return csr_array((np.ones(extent, np.float32), (np.arange(extent), nearest)), shape=(extent, held))
    if interpolation == "area":
        first, last = (np.arange(extent) * held // extent, -(-(np.arange(extent) + 1) * held // extent))
        pixels = np.arange(held)
        inside = (pixels >= first[:, None]) & (pixels < last[:, None])
        return csr_array((inside / inside.sum(1, keepdims=True)).astype(np.float32))
    widened = 1.0 if interpolation == "plain" else max(1.0, step)
    places = np.clip(places, 0, held - 1) if widened == 1 and interpolation != "cubic" else places
    distance = np.abs(places[:, None] - np.arange(held)) / widened
    weights = _cubic(distance) if interpolation == "cubic" else np.maximum(0.0, 1 - distance)
    return csr_array((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -0.5 (doi:10.1109/TASSP.1981.1163711), as Pillow's bicubic."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


@dataclass(frozen=True)
class _Grid:
    """The extents after each step, and the spacing at the end."""

    resampled: Extents
    step: tuple[float, ...] | None
    cropped: Extents
    fitted: Extents
    scaled: Extents
    size: Extents
    spacing: Spacing


@lru_cache(maxsize=1024)
def _grid(space: Extents, spacing: Spacing, preparation: Preparation) -> _Grid:
    axes = len(space)
    resampled, step = space, None
    if preparation.spacing_mm is not None and spacing is not None:
        asked = _each(preparation.spacing_mm, axes, "spacing_mm")
        step = tuple(new / old for new, old in zip(asked, spacing, strict=True))
        resampled = tuple(max(1, round(min(held / one, 1e12))) for held, one in zip(space, step, strict=True))
        spacing = tuple(float(value) for value in asked)
    cropped = resampled if preparation.crop is None else _each(preparation.crop, axes, "crop")
    size = cropped if preparation.size is None else _each(preparation.size, axes, "size")
    fitted, scaled = (cropped, cropped) if preparation.size is None else _fitted(cropped, size, preparation)
    for extents in {resampled, cropped, scaled, size} - {space}:
        _refuse_huge(space, extents)
    if spacing is not None and preparation.size is not None:
        spacing = tuple(one * old / new for one, old, new in zip(spacing, fitted, scaled, strict=True))
    return _Grid(resampled, step, cropped, fitted, scaled, size, spacing)


def _fitted(held: Extents, size: Extents, preparation: Preparation) -> tuple[Extents, Extents]:
    """Of an image of `held` pixels an axis the part that is resized, and to what (see `Preparation.fit`)."""
    share = preparation.central
    if preparation.fit == "squash":
        return held, tuple(_floor(new / share) for new in size)
    if preparation.fit == "shorter":
        scales = [_floor(new / share) / old for old, new in zip(held, size, strict=True)]
        return held, tuple(max(new, _floor(old * max(scales))) for old, new in zip(held, size, strict=True))
    scales = [old / new for old, new in zip(held, size, strict=True)]
    if preparation.fit == "pad":
        return held, tuple(max(1, min(new, round(old / max(scales)))) for old, new in zip(held, size, strict=True))
    return tuple(min(old, max(1, round(new * min(scales)))) for old, new in zip(held, size, strict=True)), size


def _floor(value: float) -> int:
    """The whole number below, but for what rounding took away: 224 / 0.875 is 256."""
    return math.floor(value + 1e-6)


def _refuse_huge(space: Extents, extents: Extents) -> None:
    if max(extents) > _MOST_SIDE or math.prod(extents) > _MOST_PIXELS:
        held, became = ("x".join(map(str, sides)) for sides in (space, extents))
        raise InputRefused(f"images of {held} pixels would become {became}: at most {_MOST_SIDE} per axis and "
                           f"{_MOST_PIXELS:,} in all; give a coarser spacing_mm, or a smaller crop or size")


def _prepared(row: Row, preparation: Preparation) -> Row:
    """The row with the spacing and shape it will have; the raw row becomes its source."""
    if row.shape is None:
        known = preparation.size is None and preparation.spacing_mm is None
        return replace(row, source=row, spacing_mm=row.spacing_mm if known else None)
    grid = _grid(row.shape[1:], row.spacing_mm, preparation)
    ready = replace(row, source=row, spacing_mm=grid.spacing, shape=(row.shape[0], *grid.size))
    if row.beyond is None:
        return ready
    beyond = carried(row.beyond, matrices(row.shape[1:], row.spacing_mm, preparation))
    return replace(ready, beyond=beyond, extras={**row.extras, **padding_told(beyond, grid.size)})


def _each(value: T | tuple[T, ...], axes: int, name: str) -> tuple[T, ...]:
    values = value if isinstance(value, tuple) else (value,) * axes
    if len(values) != axes:
        raise UsageError(f"{name} must be one value or {axes}, one an axis; got {len(values)}")
    return values


def _refuse_nonsense(preparation: Preparation) -> None:
    for name in ("spacing_mm", "crop", "size"):
        value = getattr(preparation, name)
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None and not (0 < one < math.inf):
                raise UsageError(f"{name} must be positive; got {one:g}")
    _refuse_ways(preparation)
    if preparation.window and not preparation.window[0] < preparation.window[1]:
        raise UsageError(f"window must be LOW,HIGH with LOW below HIGH; got {preparation.window}")


def _refuse_ways(preparation: Preparation) -> None:
    if preparation.unit is not None and preparation.transform is None:
        raise UsageError("preparation.unit is that of what preparation.transform leaves, and there is none: the unit "
                         "of stored values is data.options.unit")
    for name, value, known in (("fit", preparation.fit, get_args(Fit)),
                               ("interpolation", preparation.interpolation, get_args(Interpolation))):
        if value not in known:
            raise UsageError(f"{name} must be one of {', '.join(known)}; got '{value}'")
    if not 0 < preparation.central <= 1:
        raise UsageError(f"central must lie above 0 and be at most 1; got {preparation.central:g}")
    if preparation.central < 1 and preparation.fit not in ("shorter", "squash"):
        raise UsageError(f"central goes with fit = \"shorter\" or \"squash\"; got fit = \"{preparation.fit}\"")
