"""Where a phantom is uniform: square regions that hold noise and nothing else.

A square of a slice counts as uniform where it is not air, a plane explains little of its variance (an edge
would), smoothing takes part of its variance away (noise has more power at high frequencies than structure),
it is nowhere still (objects in air are, around their edges) and no pixel stands out. Of what passes, the
quietest noise level that covers a good part of the area is taken, and of that the commonest material.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadyread.errors import InputRefused, UsageError

Pixels = NDArray[np.float32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_SIDES_MM = (32.0, 24.0, 16.0, 12.0, 8.0)   # tried from the largest: large regions resolve low frequencies
_COVERED = 0.5        # a side is taken if it covers this much of what the best one covers
_LEAST = 12           # pixels a side; a spectrum of less has five rings
_AIR_HU = -300.0      # the mean of a region must lie above
_CONSTANT_HU = 0.3       # sigma below which there is no noise but a constant (padding)
_TREND, _COARSE = 0.25, 0.75   # largest shares of the variance that a plane explains, that smoothing leaves
_STILL = 0.08         # smallest variance of any third of the side, as a share of the whole square's
_STANDING_OUT = 6.5   # largest deviation of a pixel in sigma
_MARGIN_MM = 1.5      # from where a region would stop being uniform
_BAND = 1.5           # ratio of the sigmas of one noise level
_ENOUGH = 0.25        # of the area of the commonest noise level that a quieter one needs
_LOOKED_AT = 6        # images by which the side, the noise level and the material are chosen
_MOST = 200           # images that are searched, evenly spaced where there are more


@dataclass(frozen=True, order=True)
class Region:
    """A square of a slice: its upper left pixel and its side in pixels. `image` counts slices, or pairs."""

    image: int
    row: int
    column: int
    side: int


@dataclass(frozen=True, eq=False)
class _Level:
    """The noise and the material that regions are taken from."""

    sigma_hu: float
    mean_hu: float

    def holds(self, sigma: Pixels, mean: Pixels) -> Flags:
        near = np.abs(mean - self.mean_hu) <= _alike(self.sigma_hu)
        held: Flags = near & (sigma > self.sigma_hu / _BAND) & (sigma < self.sigma_hu * _BAND)
        return held


def find_regions(images_hu: Pixels, spacing_mm: tuple[float, float], side_mm: float | None = None,
                 together: int = 1) -> list[Region]:
    """Squares that do not overlap in the uniform part of slices (z, y, x).

    Args:
        side_mm: their side; the largest of a few that still covers half of the uniform part if None.
        together: slices in which a region must be uniform at one place: 2 where neighbours are subtracted;
            `Region.image` then counts the pairs (0, 1), (1, 2), ...

    Raises:
        InputRefused: no uniform part is found.
        UsageError: a side of too few pixels.
    """
    count = len(images_hu) - together + 1
    wanted = _SIDES_MM if side_mm is None else (side_mm,)
    widths = [round(side / max(spacing_mm)) for side in wanted]
    usable = [width for width in widths if _LEAST <= width <= min(images_hu.shape[1:])]
    if side_mm is not None and not usable:
        raise UsageError(f"--side {side_mm:g} mm is {widths[0]} pixels of {max(spacing_mm):.3g} mm; expected "
                         f"{_LEAST} to {min(images_hu.shape[1:])} pixels")
    margin = max(1, round(_MARGIN_MM / max(spacing_mm)))
    tried = []
    for side in usable:
        maps = list(_maps(images_hu, _spread(count, _LOOKED_AT), side, together))
        level = _level(maps, side)
        if level is not None:
            squares = sum(len(_packed(_accepted(one, level, side, margin), side)) for one in maps)
            tried.append((squares * side**2, side, level))
    largest = max((area for area, _, _ in tried), default=0)
    if not largest:
        least = min(usable, default=_LEAST)
        raise InputRefused(f"no uniform part of at least {least} x {least} pixels is found in these slices; name "
                           "regions with --roi ROW,COLUMN,SIZE, or a smaller --side")
    _, side, level = next(one for one in tried if one[0] >= _COVERED * largest)
    places = _spread(count, _MOST)
    return [Region(place, row, column, side)
            for place, group in zip(places, _maps(images_hu, places, side, together), strict=True)
            for row, column in _packed(_accepted(group, level, side, margin), side)]


def cut(images_hu: Pixels, regions: list[Region], difference: bool = False) -> Floats:
    """The pixels of regions of one size, (n, side, side); with `difference`, of each slice less the next, over
    the root of 2, which leaves the noise of one slice where their noise is independent."""
    found = []
    for one in regions:
        place = (slice(one.row, one.row + one.side), slice(one.column, one.column + one.side))
        here = images_hu[one.image][place].astype(float)
        found.append((here - images_hu[one.image + 1][place]) / np.sqrt(2) if difference else here)
    return np.stack(found)


def not_uniform(rois_hu: Floats) -> list[int]:
    """Which of the regions (n, side, side) hold more than noise, by the same measures as `find_regions`."""
    side = rois_hu.shape[-1]
    middle = side // 2
    return [place for place, roi in enumerate(rois_hu) if not _map(roi, side).plain[middle, middle]]


@dataclass(frozen=True, eq=False)
class _Map:
    """Of the square around every pixel of a slice (which begins side // 2 before it): mean and sigma in HU,
    and whether it holds noise and no structure."""

    mean: Pixels
    sigma: Pixels
    plain: Flags


def _map(pixels: Pixels | Floats, side: int) -> _Map:
    image: Floats = np.clip(np.asarray(pixels, np.float64), -1024, 3071)
    ramp = np.arange(side) - (side - 1) / 2
    ramp = ramp / (np.sqrt((ramp**2).mean()) * side)
    mean, variance = _moments(image, side)
    along_y = ndimage.correlate1d(ndimage.uniform_filter1d(image, side, axis=1), ramp, axis=0)
    along_x = ndimage.correlate1d(ndimage.uniform_filter1d(image, side, axis=0), ramp, axis=1)
    plane = along_y**2 + along_x**2
    left = np.maximum(variance - plane, 1e-9)
    _, smooth = _moments(ndimage.uniform_filter(image, max(3, round(side / 6))), side)
    extreme = np.maximum(ndimage.maximum_filter(image, side) - mean, mean - ndimage.minimum_filter(image, side))
    plain = ((left > _CONSTANT_HU**2) & (plane < _TREND * variance) & (smooth - plane < _COARSE * left)
             & (_stillest(image, side) > _STILL * left) & (extreme < _STANDING_OUT * np.sqrt(left)))
    return _Map(mean.astype(np.float32), np.sqrt(left).astype(np.float32), plain)


def _stillest(image: Floats, side: int) -> Floats:
    """The smallest variance among the squares of a third of the side inside each square."""
    third = side // 3
    _, variance = _moments(image, third)
    inside = side - third + 1     # windows of an even size begin one pixel earlier: the origin makes up for it
    smallest: Floats = ndimage.minimum_filter(variance, inside, origin=side // 2 - third // 2 - inside // 2)
    return smallest


def _moments(image: Floats, side: int) -> tuple[Floats, Floats]:
    mean = ndimage.uniform_filter(image, side)
    return mean, np.maximum(ndimage.uniform_filter(image**2, side) - mean**2, 0)


def _maps(images_hu: Pixels, places: list[int], side: int, together: int) -> Iterator[list[_Map]]:
    """The maps of each group of slices that begins at one of the places, each slice looked at once."""
    near: dict[int, _Map] = {}
    for place in places:
        near = {at: near[at] if at in near else _map(images_hu[at], side) for at in range(place, place + together)}
        yield list(near.values())


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, evenly spaced."""
    spread: list[int] = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()
    return spread


def _uniform(one: _Map, side: int) -> Flags:
    """Where a whole square is, holds noise only, and is not air."""
    rows, columns = one.plain.shape
    first = side // 2
    whole = np.zeros((rows, columns), bool)
    whole[first:rows - side + first + 1, first:columns - side + first + 1] = True
    return one.plain & whole & (one.mean > _AIR_HU)


def _level(maps: list[list[_Map]], side: int) -> _Level | None:
    """The quietest noise level of enough area, and its commonest material."""
    every = [one for group in maps for one in group]
    chosen = [_uniform(one, side) for one in every]
    sigma = np.sort(np.concatenate([one.sigma[where] for one, where in zip(every, chosen, strict=True)]))
    if not len(sigma):
        return None
    covered = np.searchsorted(sigma, sigma * _BAND) - np.arange(len(sigma))
    quietest = int(np.argmax(covered >= _ENOUGH * covered.max()))
    # from there to where the level is fullest within its own band
    near = np.arange(quietest, quietest + covered[quietest])
    first = int(near[covered[near].argmax()])
    middle = float(np.median(sigma[first:first + covered[first]]))
    mean = np.sort(np.concatenate([one.mean[where & (one.sigma > middle / _BAND) & (one.sigma < middle * _BAND)]
                                   for one, where in zip(every, chosen, strict=True)]))
    common = np.searchsorted(mean, mean + 2 * _alike(middle)) - np.arange(len(mean))
    at = int(common.argmax())
    return _Level(middle, float(np.median(mean[at:at + common[at]])))


def _alike(sigma_hu: float) -> float:
    """By how much, in HU, the mean of a square may differ from its material's: cupping and noise."""
    return max(10.0, sigma_hu / 2)


def _accepted(group: list[_Map], level: _Level, side: int, margin: int) -> Flags:
    """Where a square may begin (its upper left pixel is `side // 2` less), kept clear of what is not uniform."""
    where = reduce(np.logical_and, (_uniform(one, side) & level.holds(one.sigma, one.mean) for one in group))
    clear: Flags = ndimage.minimum_filter(where, 2 * margin + 1, mode="constant", cval=0)
    return clear


def _packed(accepted: Flags, side: int) -> list[tuple[int, int]]:
    """Upper left pixels of squares that do not overlap, row by row."""
    free = accepted.copy()
    found = []
    while free.any():
        row, column = divmod(int(free.argmax()), free.shape[1])
        found.append((row - side // 2, column - side // 2))
        free[max(0, row - side + 1):row + side, max(0, column - side + 1):column + side] = False
    return found
