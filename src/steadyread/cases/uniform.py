"""Where a phantom is uniform: square regions that hold noise and nothing else.

Homogeneity is judged before area. A square of a slice counts as uniform where it is not air and not louder than
CT noise can be, a plane explains little of its variance (an edge would), smoothing takes part of its variance away
(noise has more power at high frequencies than structure), it is nowhere still (objects in air are, around their
edges), no pixel stands out, and its high frequencies have the mean absolute value of Gaussian noise (edges have
less, bars more). Of what passes, the quietest level is taken that has room for a region, however little of the
area that is: one material, one loudness and one texture (the ratio of SD to the noise at the scale of a pixel,
which structure raises).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

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
LOUDEST_HU = 200.0    # sigma above which it is no noise: the sharpest kernels at the lowest doses reach some 150
_TREND, _COARSE = 0.25, 0.75   # largest shares of the variance that a plane explains, that smoothing leaves
_STILL = 0.08         # smallest variance of any third of the side, as a share of the whole square's
_STANDING_OUT = 6.5   # largest deviation of a pixel in sigma
_GAUSSIAN = float(np.sqrt(2 / np.pi))   # mean absolute value over SD (Geary 1935, doi:10.1093/biomet/27.3-4.310)
_GAUSSIAN_OFF = (0.03, 1.2)   # how far from it may be: at any side, and this over the side in pixels besides
_MARGIN_MM = 1.5      # from where a region would stop being uniform
_BAND = 1.5           # ratio of the sigmas of one noise level, and of the textures of one noise
_LOUDER = 1.5         # ratio to the quietest side's sigma beyond which another side has found something else
_ENOUGH = 0.02        # of the area of the commonest noise level that a quieter one needs
_LEVELS = 8           # levels that are tried until one has room for a region
_LOOKED_AT = 6        # images of a group by which the side, the noise level and the material are chosen
_MOST = 200           # images that are searched, evenly spaced where there are more
# A Laplacian that is blind to planes: white noise of SD s comes out with SD 6 s (doi:10.1006/cviu.1996.0060).
_LAPLACIAN = (1.0, -2.0, 1.0)   # along either axis


@dataclass(frozen=True, order=True)
class Region:
    """A square of a slice: its upper left pixel and its side in pixels. `image` counts slices, or pairs."""

    image: int
    row: int
    column: int
    side: int


@dataclass(frozen=True, eq=False)
class _Level:
    """The noise and the material that regions are taken from. `texture` is the ratio of sigma to the noise at the
    scale of a pixel."""

    sigma_hu: float
    mean_hu: float
    texture: float

    def holds(self, one: "_Map") -> Flags:
        near: Flags = np.abs(one.mean - self.mean_hu) <= _alike(self.sigma_hu)
        return near & _within(one.sigma, self.sigma_hu) & _within(one.texture, self.texture)


@dataclass(frozen=True, eq=False)
class _Tried:
    """What one side gives: the noise level of each group, None where it has none, and the area in pixels."""

    side: int
    levels: tuple[_Level | None, ...]
    area: int


def find_regions(images_hu: Pixels, spacing_mm: tuple[float, float], side_mm: float | None = None,
                 together: int = 1, groups: Sequence[int] | None = None) -> list[Region]:
    """Squares that do not overlap in the uniform part of slices (z, y, x).

    Args:
        side_mm: their side; the largest of a few that still covers half of the uniform part if None.
        together: slices in which a region must be uniform at one place: 2 where neighbours are subtracted;
            `Region.image` then counts the pairs (0, 1), (1, 2), ...
        groups: which slices may be equally loud: 0, 1, ... for each slice, the quietest group first. Each group
            has its own noise level; all have one material.

    Raises:
        InputRefused: no uniform part is found.
        UsageError: a side of too few pixels.
    """
    group = np.zeros(len(images_hu), int) if groups is None else np.asarray(groups)
    usable = _usable(images_hu.shape[1:], spacing_mm, side_mm)
    margin = max(1, round(_MARGIN_MM / max(spacing_mm)))
    search = _Search(images_hu, group, together, margin)
    tried = _alike_sides([search.tried(side) for side in usable])
    largest = max((one.area for one in tried), default=0)
    if not largest:
        least = min(usable, default=_LEAST)
        raise InputRefused(f"no uniform part of at least {least} x {least} pixels is found in these slices; name "
                           "regions with --roi ROW,COLUMN,SIZE, or a smaller --side")
    best = next(one for one in tried if one.area >= _COVERED * largest)
    places = _spread(np.arange(search.count), _MOST)
    return [Region(place, row, column, best.side) for place in places
            for row, column in search.squares(place, best.side, best.levels)]


def cut(images_hu: Pixels, regions: list[Region], difference: bool = False) -> Floats:
    """The pixels of regions of one size, (n, side, side); with `difference`, of each slice less the next, over
    the root of 2, which leaves the noise of one slice where their noise is independent."""
    found = []
    for one in regions:
        place = (slice(one.row, one.row + one.side), slice(one.column, one.column + one.side))
        here = images_hu[one.image][place].astype(float)
        found.append((here - images_hu[one.image + 1][place]) / np.sqrt(2) if difference else here)
    return np.stack(found)


def _usable(shape: tuple[int, ...], spacing_mm: tuple[float, float], side_mm: float | None) -> list[int]:
    """The sides in pixels that fit."""
    wanted = _SIDES_MM if side_mm is None else (side_mm,)
    widths = [round(side / max(spacing_mm)) for side in wanted]
    usable = [width for width in widths if _LEAST <= width <= min(shape)]
    if side_mm is not None and not usable:
        raise UsageError(f"--side {side_mm:g} mm is {widths[0]} pixels of {max(spacing_mm):.3g} mm; expected "
                         f"{_LEAST} to {min(shape)} pixels")
    return usable


def _alike_sides(tried: Sequence[_Tried]) -> list[_Tried]:
    """The sides that found the same noise as the quietest one, group by group: a side that is much louder, or of
    a coarser texture, fits into structure only."""
    kept = list(tried)
    for group in range(len(tried[0].levels) if tried else 0):
        levels = [one.levels[group] for one in tried]
        known = [level for level in levels if level is not None]
        quiet = min(known, key=lambda level: level.sigma_hu, default=None)
        if quiet is not None:
            kept = [one for one in kept if _same_noise(one.levels[group], quiet)]
    return kept


def _same_noise(level: _Level | None, quiet: _Level) -> bool:
    return level is None or (level.sigma_hu < _LOUDER * quiet.sigma_hu and level.texture < _BAND * quiet.texture)


@dataclass(frozen=True, eq=False)
class _Map:
    """Of the square around every pixel of a slice (which begins side // 2 before it): mean, sigma in HU and
    texture, and whether it is whole and holds noise of a material other than air, and no structure."""

    mean: Pixels
    sigma: Pixels
    texture: Pixels
    uniform: Flags


@dataclass(frozen=True, eq=False)
class _Search:
    """The slices, their groups, how many must be uniform at one place, and the margin in pixels."""

    images_hu: Pixels
    group: NDArray[np.int64]
    together: int
    margin: int

    @property
    def count(self) -> int:
        """Of the places: slices, or pairs."""
        return len(self.images_hu) - self.together + 1

    def tried(self, side: int) -> _Tried:
        """The noise levels of a side, by a few slices of each group, and the area that it covers in them."""
        groups = range(int(self.group.max()) + 1)
        members = [np.array([group in self._groups(place) for place in range(self.count)]) for group in groups]
        places = sorted({place for own in members for place in _spread(np.flatnonzero(own), _LOOKED_AT)})
        maps = {image: _map(self.images_hu[image], side)
                for image in sorted({place + more for place in places for more in range(self.together)})}
        levels: list[_Level | None] = []
        for group in groups:
            material = next((level.mean_hu for level in levels if level is not None), None)
            levels.append(self._level([one for image, one in maps.items() if self.group[image] == group], side,
                                      material))
        squares = sum(len(self._regions(place, [maps[place + more] for more in range(self.together)], side, levels))
                      for place in places)
        return _Tried(side, tuple(levels), squares * side**2)

    def squares(self, place: int, side: int, levels: Sequence[_Level | None]) -> list[tuple[int, int]]:
        """Upper left pixels of the regions at one place."""
        maps = [_map(image, side) for image in self.images_hu[place:place + self.together]]
        return self._regions(place, maps, side, levels)

    def _groups(self, place: int) -> NDArray[np.int64]:
        return self.group[place:place + self.together]

    def _regions(self, place: int, maps: list[_Map], side: int, levels: Sequence[_Level | None]
                 ) -> list[tuple[int, int]]:
        own = [levels[group] for group in self._groups(place)]
        known = [level for level in own if level is not None]
        return self._packed(maps, known, side) if len(known) == len(own) else []

    def _level(self, maps: list[_Map], side: int, material: float | None) -> _Level | None:
        """The quietest noise level that has room for a region in one of these slices."""
        quietest = 0.0
        for _ in range(_LEVELS if maps else 0):
            level = _quietest(maps, quietest, (2 * self.margin + 1)**2, material)
            if level is None:
                break
            if any(self._packed([one], [level], side) for one in maps):
                return level
            quietest = level.sigma_hu * _BAND
        return None

    def _packed(self, maps: list[_Map], levels: Sequence[_Level], side: int) -> list[tuple[int, int]]:
        where = reduce(np.logical_and, (one.uniform & level.holds(one)
                                        for one, level in zip(maps, levels, strict=True)))
        return _packed(ndimage.minimum_filter(where, 2 * self.margin + 1, mode="constant", cval=0), side)


def _quietest(maps: Sequence[_Map], above: float, least: int, material: float | None) -> _Level | None:
    """The quietest noise level of enough area whose sigma lies above `above`, and its commonest material."""
    sigma, mean, texture = (np.concatenate([getattr(one, name)[one.uniform] for one in maps])
                            for name in ("sigma", "mean", "texture"))
    chosen = sigma > above
    if material is not None:
        chosen &= np.abs(mean - material) <= _alike(sigma)
    order = np.flatnonzero(chosen)[np.argsort(sigma[chosen])]
    sigma, mean, texture = sigma[order], mean[order], texture[order]
    if len(sigma) < least:
        return None
    covered = np.searchsorted(sigma, sigma * _BAND) - np.arange(len(sigma))
    quietest = int(np.argmax(covered >= min(covered.max(), max(least, _ENOUGH * covered.max()))))
    middle = float(np.median(sigma[quietest:quietest + covered[quietest]]))
    own = _within(sigma, middle)
    ordered = np.sort(mean[own])
    common = np.searchsorted(ordered, ordered + 2 * _alike(middle)) - np.arange(len(ordered))
    at = int(common.argmax())
    centre = float(np.median(ordered[at:at + common[at]]))
    return _Level(middle, centre, float(np.median(texture[own & (np.abs(mean - centre) <= _alike(middle))])))


def _map(pixels: Pixels, side: int) -> _Map:
    image: Floats = np.clip(np.asarray(pixels, np.float64), -1024, 3071)
    ramp = np.arange(side) - (side - 1) / 2
    ramp = ramp / (np.sqrt((ramp**2).mean()) * side)
    mean, variance = _moments(image, side)
    along_y = ndimage.correlate1d(ndimage.uniform_filter1d(image, side, axis=1), ramp, axis=0)
    along_x = ndimage.correlate1d(ndimage.uniform_filter1d(image, side, axis=0), ramp, axis=1)
    plane = along_y**2 + along_x**2
    left = np.maximum(variance - plane, 1e-9)
    sigma = np.sqrt(left)
    _, smooth = _moments(ndimage.uniform_filter(image, max(3, round(side / 6))), side)
    extreme = np.maximum(ndimage.maximum_filter(image, side) - mean, mean - ndimage.minimum_filter(image, side))
    plain = ((sigma > _CONSTANT_HU) & (sigma < LOUDEST_HU) & (plane < _TREND * variance)
             & (smooth - plane < _COARSE * left) & (_stillest(image, side) > _STILL * left)
             & (extreme < _STANDING_OUT * sigma) & _gaussian(image, side))
    rough = ndimage.correlate1d(ndimage.correlate1d(image, _LAPLACIAN, axis=0), _LAPLACIAN, axis=1)
    fine = ndimage.uniform_filter(np.abs(rough), side) / (6 * _GAUSSIAN)
    return _Map(mean.astype(np.float32), sigma.astype(np.float32),
                (sigma / np.maximum(fine, 1e-9)).astype(np.float32),
                plain & _whole(image.shape, side) & (mean > _AIR_HU))


def _gaussian(image: Floats, side: int) -> Flags:
    """Where a square's high frequencies have the mean absolute value of Gaussian noise of their SD."""
    rough = image - ndimage.uniform_filter(image, max(3, side // 2) | 1)
    size, power = ndimage.uniform_filter(np.abs(rough), side), ndimage.uniform_filter(rough**2, side)
    always, by_side = _GAUSSIAN_OFF
    close: Flags = np.abs(size / np.sqrt(np.maximum(power, 1e-18)) - _GAUSSIAN) < always + by_side / side
    return close


def _whole(shape: tuple[int, ...], side: int) -> Flags:
    """Where a square lies within the slice."""
    rows, columns = shape
    first = side // 2
    whole = np.zeros((rows, columns), bool)
    whole[first:rows - side + first + 1, first:columns - side + first + 1] = True
    return whole


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


def _spread(places: NDArray[np.int64], most: int) -> list[int]:
    """At most so many of the places, evenly spaced."""
    if not len(places):
        return []
    chosen = np.unique(np.linspace(0, len(places) - 1, min(len(places), most)).astype(int))
    spread: list[int] = places[chosen].tolist()
    return spread


def _within(values: Pixels, middle: float) -> Flags:
    near: Flags = (values > middle / _BAND) & (values < middle * _BAND)
    return near


def _alike(sigma_hu: float | Pixels) -> Any:
    """By how much, in HU, the mean of a square may differ from its material's: cupping and noise."""
    return np.maximum(10.0, np.asarray(sigma_hu) / 2)


def _packed(accepted: Flags, side: int) -> list[tuple[int, int]]:
    """Upper left pixels of squares that do not overlap, row by row; a part with room for one only has it where it
    is farthest from the part's edge."""
    parts, _ = ndimage.label(accepted)
    found = []
    for part, box in enumerate(ndimage.find_objects(parts), 1):
        inside = parts[box] == part
        places = _row_by_row(inside, side)
        if len(places) == 1:
            depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
            places = [divmod(int(depth.argmax()), depth.shape[1])]
        found += [(box[0].start + row - side // 2, box[1].start + column - side // 2) for row, column in places]
    return _apart(found, side)


def _row_by_row(accepted: Flags, side: int) -> list[tuple[int, int]]:
    """Places of squares that do not overlap."""
    free = accepted.copy()
    found = []
    while free.any():
        row, column = divmod(int(free.argmax()), free.shape[1])
        found.append((row, column))
        free[max(0, row - side + 1):row + side, max(0, column - side + 1):column + side] = False
    return found


def _apart(places: list[tuple[int, int]], side: int) -> list[tuple[int, int]]:
    """The places that do not overlap with an earlier one."""
    kept: list[tuple[int, int]] = []
    for row, column in places:
        if all(abs(row - other) >= side or abs(column - beside) >= side for other, beside in kept):
            kept.append((row, column))
    return kept
