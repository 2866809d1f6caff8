"""How far two attention maps lie apart: what their strongest parts share, their centres, what is inside a mask.

Maps are non-negative, (n, *space), one row an image, the same code for 2D and 3D. Nothing here knows how a map was
made. A map that is zero everywhere tells nothing: every figure of it is NaN.
"""

from math import ceil, prod

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from steadyread.errors import InputRefused
from steadyread.metrics.intervals import Flags, Floats

TOP = 0.1        # the share of an image's voxels that is called the strongest part of its map
_HALF = 0.5      # of a map's mass, in `area`


def overlap(first: ArrayLike, second: ArrayLike, top: float = TOP) -> Floats:
    """The share (n,) that the strongest tenths of two maps have in common: 1 for the same, 0 for none.

    Two maps that have nothing to do with each other share `top`. Voxels that tie at the edge of the tenth belong to
    it in part, and voxels at zero never do, so that the same maps give 1 whatever their ties.

    Raises:
        InputRefused: maps of different shapes, negative or not finite.
    """
    one, other = _pair(first, second)
    chosen, also = _strongest(one, top), _strongest(other, top)
    whole = np.maximum(chosen.sum(1), also.sum(1))
    return _known(np.minimum(chosen, also).sum(1), whole, _told(one) & _told(other))


def centre_distance_mm(first: ArrayLike, second: ArrayLike, spacing_mm: ArrayLike) -> Floats:
    """The distance (n,) in mm between the centres of mass of two maps.

    `spacing_mm` has one value an axis of space, (d,) for all images or (n, d).

    Raises:
        InputRefused: as `overlap`; spacings of another number of axes, or not above 0.
    """
    one, other = _pair(first, second)
    space = np.shape(first)[1:]
    spacing = np.asarray(spacing_mm, np.float64)
    if spacing.shape not in ((len(space),), (len(one), len(space))) or not (spacing > 0).all():
        raise InputRefused(f"the spacing of attention maps of shape {tuple(space)} must be {len(space)} numbers in "
                           f"mm above 0, one an axis; it is {spacing.tolist()}: state the images' own")
    apart = (_centre(one, space) - _centre(other, space)) * spacing
    return np.where(_told(one) & _told(other), np.sqrt((apart**2).sum(1)), np.nan)


def share_inside(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """The share (n,) of each map's mass inside its mask (n, *space); a mask is inside where it is above 0.

    NaN too where a mask is empty, which is how an unknown one is stored.

    Raises:
        InputRefused: masks of another shape than the maps; maps negative or not finite.
    """
    flat, inside = _inside(maps, masks)
    mass = flat.sum(1)
    return _known((flat * inside).sum(1), mass, (mass > 0) & inside.any(1))


def mask_share(masks: ArrayLike) -> Floats:
    """The share (n,) of each image that its mask (n, *space) covers: `share_inside` of a map alike everywhere.

    NaN where a mask is empty.
    """
    inside = np.asarray(masks) > 0
    flat = inside.reshape(len(inside), prod(inside.shape[1:]))
    return _known(flat.sum(1).astype(np.float64), np.full(len(flat), float(flat.shape[1])), np.asarray(flat.any(1)))


def area(maps: ArrayLike, mass: float = _HALF) -> Floats:
    """The smallest share (n,) of each image's voxels that holds half of its map's mass.

    Small where attention is on one spot, `mass` itself where it is alike everywhere. Linear between voxels.

    Raises:
        InputRefused: maps negative or not finite.
    """
    flat = _flat(maps)
    held = np.cumsum(-np.sort(-flat, axis=1), axis=1)
    wanted = mass * held[:, -1:]
    at = np.argmax(held >= wanted, axis=1)
    rows = np.arange(len(flat))
    before = np.where(at > 0, held[rows, at - 1], 0.0)
    step = held[rows, at] - before
    part = np.divide(wanted[:, 0] - before, step, out=np.zeros(len(flat)), where=step > 0)
    return np.where(_told(flat), (at + part) / flat.shape[1], np.nan)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Floats:
    """Spearman's rank correlation (n,) of two maps over their voxels, ties at their mean rank.

    NaN too where either is alike everywhere.

    Raises:
        InputRefused: as `overlap`.
    """
    one, other = _pair(first, second)
    if not one.size:
        return np.full(len(one), np.nan)
    ranks, others = (rankdata(flat, axis=1) - (flat.shape[1] + 1) / 2 for flat in (one, other))
    scale = np.sqrt((ranks**2).sum(1) * (others**2).sum(1))
    return _known((ranks * others).sum(1), scale, _told(one) & _told(other) & (scale > 0))


def _strongest(flat: Floats, top: float) -> Floats:
    """How much of each voxel belongs to the strongest `top` of its map: 1, 0, or a part where voxels tie."""
    count = max(1, ceil(top * flat.shape[1]))
    edge = np.sort(flat, axis=1)[:, -count][:, None]
    above, tied = flat > edge, flat == edge
    left = count - above.sum(1, keepdims=True)
    shared = np.where(edge > 0, left / np.maximum(tied.sum(1, keepdims=True), 1), 0.0)
    return np.where(above, 1.0, np.where(tied, shared, 0.0))


def _centre(flat: Floats, space: tuple[int, ...]) -> Floats:
    """Centres of mass (n, d) in voxels, any value where a map is zero everywhere."""
    places = np.stack(np.meshgrid(*(np.arange(size) for size in space), indexing="ij"), axis=-1)
    found: Floats = (flat @ places.reshape(-1, len(space))) / np.maximum(flat.sum(1, keepdims=True), 1e-300)
    return found


def _inside(maps: ArrayLike, masks: ArrayLike) -> tuple[Floats, Flags]:
    held, covered = np.asarray(maps), np.asarray(masks)
    if held.shape != covered.shape:
        raise InputRefused(f"a mask must lie on its image's grid: the attention maps are {held.shape}, the masks "
                           f"{covered.shape}: resample the masks as the images were")
    return _flat(held), (covered > 0).reshape(len(covered), prod(covered.shape[1:]))


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape:
        raise InputRefused(f"attention maps must be on one grid to be compared: one side is {one.shape}, the other "
                           f"{other.shape}: bring both to the image's grid")
    return _flat(one), _flat(other)


def _flat(maps: ArrayLike) -> Floats:
    """Maps as (n, voxels)."""
    held = np.asarray(maps, np.float64)
    if held.ndim < 2:
        raise InputRefused(f"attention maps must be (images, *space); they are {held.shape}: add that of images")
    if not np.isfinite(held).all() or (held < 0).any():
        raise InputRefused("attention maps must be finite and not negative: keep their positive part (a rectified "
                           "map), and look for NaN in the network's gradients")
    return held.reshape(len(held), prod(held.shape[1:]))


def _told(flat: Floats) -> NDArray[np.bool_]:
    """Which maps are not zero everywhere."""
    return np.asarray(flat.max(axis=1, initial=0.0) > 0)


def _known(part: Floats, whole: Floats, known: NDArray[np.bool_]) -> Floats:
    """part / whole, NaN where not known."""
    found: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=known)
    return found
