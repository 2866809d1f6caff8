"""Windows, crops and grids, the same code for any number of axes: how an image becomes a network's input."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.case_set import Cases, refuse_non_finite
from steadyread.cases.operators import Matrix, carried, composed, half_inside, padding_told
from steadyread.cases.resampling import Interpolation, Way, resample, weights
from steadyread.cases.row import Pixels, Row
from steadyread.cases.transform import Transform, transformed
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds, NativeGrid

Extents = tuple[int, ...]
Spacing = tuple[float, ...] | None
T = TypeVar("T", int, float)
Fit = Literal["cut", "shorter", "pad", "squash"]
Resample = Literal["centred", "monai"]
Clip = Literal["first", "resampled", "last"]
_SAME = 1e-3     # in mm, and as a share: MONAI leaves a grid that is this near as it is (AFFINE_TOL)
_MOST_SIDE, _MOST_PIXELS = 8192, 2**27   # of a prepared image: 512 MB


@dataclass(frozen=True)
class Preparation:
    """What is done to each image, in this order; None leaves a step out.

    Args:
        transform: a function of the user's own, which comes first; see `cases.transform.transformed`.
        unit: of the values that it leaves, where it does more to them than a scale and an offset.
        spacing_mm: the grid is resampled to this pixel spacing (one value, or one an axis).
        crop: the centre of this many pixels an axis (one value, or one an axis); what lies beyond the image
            is filled with `fill`.
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
            interpolation belongs to the measured values; see `clip`.
        resample: where the pixels of `spacing_mm` and `crop` lie. `centred` keeps the centre, and widens where the grid
            becomes coarser (antialiased). `monai` is as its Spacing, ResizeWithPadOrCrop and CenterSpatialCrop: from
            the first pixel's centre on, as many pixels as reach nearest to the last one's, linear between neighbours;
            where an axis is filled up, the smaller half before.
        fill: what `crop` and `fit = "pad"` put beyond the image, in native units; the native range's lowest value where
            None. `never` fills nothing: an axis shorter than `crop` stays so (MONAI's CenterSpatialCrop).
        clip: when the window is applied: `last`, `first`, or once `resampled` and cropped and before `size`.
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
    resample: Resample = "centred"
    fill: float | Literal["never"] | None = None
    clip: Clip = "last"


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
    result = _clipped(np.asarray(image, np.float32), preparation, "first")
    grid = _grid(result.shape[1:], spacing, preparation)
    low, high = float(result.min()), float(result.max())
    fill = preparation.fill if isinstance(preparation.fill, int | float) else fill
    if grid.step is not None:
        result = resample(result, grid.resampled, grid.step, _way(preparation))
    if grid.cropped != grid.resampled:
        result = box(result, _middle(grid.resampled, grid.cropped, preparation), grid.cropped, fill)
    result = _sized(_clipped(result, preparation, "resampled"), grid, preparation, fill)
    # linear weights sum to 1 up to rounding: hold the image's own range (`fill` included), then the window
    result = np.clip(result, min(low, fill), max(high, fill))
    return np.clip(result, *preparation.window) if preparation.window else result


def _sized(image: NDArray[np.float32], grid: "_Grid", preparation: Preparation, fill: float) -> NDArray[np.float32]:
    """(c, *space) brought to the size asked for."""
    result = image
    if grid.fitted != grid.cropped:
        result = centre_crop(result, grid.fitted, fill)
    if grid.scaled != grid.fitted:
        step = tuple(old / new for old, new in zip(grid.fitted, grid.scaled, strict=True))
        result = resample(result, grid.scaled, step, preparation.interpolation)
    if grid.size != grid.scaled:
        result = box(result, _corner(grid.scaled, grid.size), grid.size, fill)
    return result


def _clipped(image: NDArray[np.float32], preparation: Preparation, now: Clip) -> NDArray[np.float32]:
    """The image within the window, where that is applied now."""
    return np.clip(image, *preparation.window) if preparation.window and preparation.clip == now else image


def _way(preparation: Preparation) -> Way:
    return "from the first" if preparation.resample == "monai" else "linear"


@lru_cache(maxsize=64)
def matrices(space: Extents, spacing: Spacing, preparation: Preparation) -> tuple[Matrix, ...]:
    """What `shaped` does to an image of this shape and spacing before the window: one matrix (new, old) an axis."""
    grid = _grid(space, spacing, preparation)
    found = []
    for axis, held in enumerate(space):
        matrix = np.eye(held, dtype=np.float32)
        if grid.step is not None:
            matrix = weights(held, grid.resampled[axis], grid.step[axis], _way(preparation)) @ matrix
        matrix = box(matrix.T, _middle((len(matrix),), (grid.cropped[axis],), preparation), (grid.cropped[axis],), 0).T
        matrix = box(matrix.T, (len(matrix) // 2 - grid.fitted[axis] // 2,), (grid.fitted[axis],), 0).T
        if grid.fitted[axis] != grid.scaled[axis]:
            matrix = weights(len(matrix), grid.scaled[axis], len(matrix) / grid.scaled[axis],
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


def _middle(held: Extents, extents: Extents, preparation: Preparation) -> tuple[int, ...]:
    """Where the box of `crop` begins, see `Preparation.resample`."""
    return tuple((old - new + 1) // 2 if preparation.resample == "monai" and new > old else old // 2 - new // 2
                 for old, new in zip(held, extents, strict=True))


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
        resampled, step = _resampled(space, spacing, asked, preparation)
        spacing = tuple(float(value) for value in asked)
    cropped = resampled if preparation.crop is None else _each(preparation.crop, axes, "crop")
    if preparation.fill == "never":
        cropped = tuple(map(min, cropped, resampled))
    size = cropped if preparation.size is None else _each(preparation.size, axes, "size")
    fitted, scaled = (cropped, cropped) if preparation.size is None else _fitted(cropped, size, preparation)
    for extents in {resampled, cropped, scaled, size} - {space}:
        _refuse_huge(space, extents)
    if spacing is not None and preparation.size is not None:
        spacing = tuple(one * old / new for one, old, new in zip(spacing, fitted, scaled, strict=True))
    return _Grid(resampled, step, cropped, fitted, scaled, size, spacing)


def _resampled(space: Extents, spacing: tuple[float, ...], asked: tuple[float, ...], preparation: Preparation
               ) -> tuple[Extents, tuple[float, ...] | None]:
    """The extents on the grid of the spacing `asked` for, and the step in old pixels; None where all stays as it is."""
    step = tuple(new / old for new, old in zip(asked, spacing, strict=True))
    if preparation.resample != "monai":
        return tuple(max(1, round(min(held / one, 1e12))) for held, one in zip(space, step, strict=True)), step
    step = tuple(1.0 if abs(new - old) <= _SAME else new / old for new, old in zip(asked, spacing, strict=True))
    extents = tuple(round(min((held - 1) / one + 1, 1e12)) for held, one in zip(space, step, strict=True))
    same = extents == space and all(abs(one - 1) <= _SAME for one in step)
    return extents, None if same else step


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
                               ("interpolation", preparation.interpolation, get_args(Interpolation)),
                               ("resample", preparation.resample, get_args(Resample)),
                               ("clip", preparation.clip, get_args(Clip))):
        if value not in known:
            raise UsageError(f"{name} must be one of {', '.join(known)}; got '{value}'")
    if preparation.clip != "last" and preparation.window is None:
        raise UsageError("preparation.clip says when the window is applied, and there is none: state "
                         "preparation.window too")
    if isinstance(preparation.fill, int | float) and not math.isfinite(preparation.fill):
        raise UsageError(f"fill must be a finite number, or never; got {preparation.fill:g}")
    if not 0 < preparation.central <= 1:
        raise UsageError(f"central must lie above 0 and be at most 1; got {preparation.central:g}")
    if preparation.central < 1 and preparation.fit not in ("shorter", "squash"):
        raise UsageError(f"central goes with fit = \"shorter\" or \"squash\"; got fit = \"{preparation.fit}\"")
