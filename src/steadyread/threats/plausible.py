"""Does a noise look like a scan's? Figures that tell, their range over random draws, and noise kept within it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from steadyread.errors import InputRefused
from steadyread.threats.drawing import Field
from steadyread.threats.linf import an_image
from steadyread.threats.rings import RingSet, ring_set
from steadyread.types import Flags, Images, Values

BOX_MM = 5.0            # over which the local sigma is taken
_DRAWS = 1000           # from which the limits are taken
# The central 94 % of each figure: a noise at the edge of all three at once then still lies within the joint 99 % of
# draws (three independent Gaussian figures at 1.88 SD each: a chi-square of 10.6 below 11.3).
_RANGE = (0.03, 0.97)
_ROUNDS = 12            # of correction before a noise is mixed with a draw
_INWARD = 0.98          # a correction aims a little inside the limit, or it never gets there
_MIXES = 8              # steps of the mix, the last being the draw itself
_VOXELS = 2**22         # of draws held at a time


def plausibility(noise: Images, spacing_mm: float | Sequence[float] = 1.0) -> dict[str, Values]:
    """Figures of every noise (n, 1, *space) in HU, by the names of the records' columns, (n,) each.

    `sigma_hu` is the root mean square over the image; `kurtosis` in excess of a Gaussian's; `z_correlation` that of
    neighbouring slices (NaN where there is one slice); `largest_local_sigma_hu` the largest root mean square over a
    box of 5 mm along every axis (whole voxels, at most the image) that lies inside the image; `ring_error` is NaN:
    it is known only where there is a target, and a random draw is not held to one.

    Args:
        spacing_mm: of the voxels, one value or one an axis of space.
    """
    space = noise.shape[2:]
    spacing = [float(spacing_mm)] * len(space) if isinstance(spacing_mm, int | float) else spacing_mm
    square = noise.square()
    power = square.flatten(1).mean(1)
    return {"sigma_hu": power.sqrt(), "ring_error": torch.full_like(power, torch.nan),
            "kurtosis": _kurtosis(square), "z_correlation": _z_correlation(noise, square),
            "largest_local_sigma_hu": _local_power(square, _sides(space, spacing)).flatten(1).amax(1).sqrt()}


@dataclass(frozen=True)
class Limits:
    """The central range (low, high) of each figure over random draws of 1 HU; `along_z` None in 2D."""

    local: tuple[float, float]
    kurtosis: tuple[float, float]
    along_z: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class PlausibleSet:
    """Noise with the exact power of every ring of every slice (`RingSet`) that also looks like a random draw:
    largest local sigma, kurtosis and correlation of neighbouring slices each lie in the central 94 % of random
    draws, so that all three together stay within their joint 99 %.

    The set is not convex and its nearest point has no formula. `nearest` returns a point of the set near to the
    given one: round by round, what is outside is corrected (a local gain where the noise piles up, a bend of the
    values' distribution, a share of the neighbouring slices added or taken), and the rings are set again; what is
    still outside then is mixed with one fixed draw of the set, by as small a share of eight as leads inside.
    """

    rings: RingSet
    limits: Limits
    sides: tuple[int, ...]
    draw: Images

    def nearest(self, noise: Images, size: Values) -> Images:
        """A noise of the set near to the given one; that itself where it is inside."""
        unit = self.rings.nearest(noise / an_image(size, noise), torch.ones_like(size))
        left = (~self.holds(unit)).nonzero()[:, 0]
        for _ in range(_ROUNDS):
            if not len(left):
                break
            unit[left] = self._exact(self._corrected(unit[left]))
            left = left[~self.holds(unit[left])]
        given = unit[left]
        for mix in range(1, _MIXES + 1):
            if not len(left):
                break
            share = mix / _MIXES
            unit[left] = self._exact((1 - share) * given + share * self.draw)
            outside = ~self.holds(unit[left])
            left, given = left[outside], given[outside]
        return unit * an_image(size, noise)

    def steepest(self, gradient: Images, size: Values) -> Images:
        """As for a `RingSet`: where it leads out of the set, `nearest` leads back."""
        return self.rings.steepest(gradient, size)

    def error(self, noise: Images, size: Values) -> Values:
        """As for a `RingSet`."""
        return self.rings.error(noise, size)

    def holds(self, unit: Images) -> Flags:
        """Whether a noise of 1 HU is inside the limits, (n,); its rings are not looked at."""
        square, limits = unit.square(), self.limits
        local = _local_power(square, self.sides).flatten(1).amax(1).sqrt()
        inside = _within(local, limits.local) & _within(_kurtosis(square), limits.kurtosis)
        if limits.along_z is not None:
            inside &= _within(_z_correlation(unit, square), limits.along_z)
        return inside

    def _exact(self, unit: Images) -> Images:
        return self.rings.nearest(unit, torch.ones(len(unit), device=unit.device))

    def _corrected(self, unit: Images) -> Images:
        """One round: every figure led towards its range."""
        if self.limits.along_z is not None:
            unit = _decorrelated(unit, self.limits.along_z)
        return _bent(self._levelled(unit), self.limits.kurtosis)

    def _levelled(self, unit: Images) -> Images:
        """Boxes above the limit brought down to it: each voxel divided by the worst excess of its boxes."""
        excess = _local_power(unit.square(), self.sides) / (_INWARD * self.limits.local[1]) ** 2
        worst = _largest_of_boxes(excess.clamp(min=1.0), self.sides)
        return unit / worst.sqrt()


def _bent(unit: Images, limits: tuple[float, float]) -> Images:
    """Values bent by p / (1 + b p^2), which takes 4 b (m6 / m2^2 - m4^2 / m2^3) of the kurtosis to first order."""
    square = unit.square()
    kurtosis = _kurtosis(square)
    off = kurtosis - kurtosis.clamp(_INWARD * limits[0], _INWARD * limits[1])
    flat = square.flatten(1)
    second = flat.mean(1)
    slope = 4 * (flat.pow(3).mean(1) / second.pow(2) - flat.square().mean(1).square() / second.pow(3))
    bend = (off / slope.clamp(min=1e-6)).clamp(-0.05, 0.05)
    return unit / (1 + an_image(bend, unit) * square).clamp(min=0.5)


def _decorrelated(unit: Images, limits: tuple[float, float]) -> Images:
    """A share a of both neighbours taken from every slice, which lowers their correlation by 2 a."""
    found = _z_correlation(unit, unit.square())
    share = an_image((found - found.clamp(_INWARD * limits[0], _INWARD * limits[1])) / 2, unit)
    around = torch.zeros_like(unit)
    around[:, :, 1:] += unit[:, :, :-1]
    around[:, :, :-1] += unit[:, :, 1:]
    return unit - share * around


@lru_cache(maxsize=64)
def plausible_set(field: Field, lead: tuple[int, ...], spacing_mm: tuple[float, ...], device: str = "cpu"
                  ) -> PlausibleSet:
    """The set of a field's draws on images of `lead` slices, with its limits from 1,000 draws of its own stream.

    `spacing_mm` has one value an axis of space.
    """
    space = (*lead, *field.shape)
    sides, rings = _sides(space, spacing_mm), ring_set(field, device)
    names = [f"draw {place} of the limits" for place in range(_DRAWS)]
    at_once = max(1, _VOXELS // math.prod(space))
    told: dict[str, list[Tensor]] = {}
    for first in range(0, _DRAWS, at_once):
        drawn = field.draw(names[first:first + at_once], lead, 0, 0)[:, None]
        for name, values in plausibility(drawn, spacing_mm).items():
            told.setdefault(name, []).append(values)
    low, high = ({name: float(torch.cat(values).double().quantile(end)) for name, values in told.items()
                  if name != "ring_error"} for end in _RANGE)
    ranges = {name: (low[name], high[name]) for name in low}
    limits = Limits(ranges["largest_local_sigma_hu"], ranges["kurtosis"],
                    ranges["z_correlation"] if lead and lead[0] > 1 else None)
    for name in names:
        one = field.draw([name], lead, 0, 0)[:, None].to(device)
        kept = PlausibleSet(rings, limits, sides, rings.nearest(one, torch.ones(1, device=device)))
        if bool(kept.holds(kept.draw)):
            return kept
    raise InputRefused(f"no random draw of {'x'.join(map(str, space))} voxels keeps both the exact power of its "
                       "rings and the range of random draws: the image is too small for the strength 'plausible'")


def _within(values: Values, limits: tuple[float, float]) -> Flags:
    return (values >= limits[0]) & (values <= limits[1])


def _sides(space: Sequence[int], spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """The box in voxels."""
    widths = zip(space, spacing_mm, strict=True)
    return tuple(min(length, max(1, round(BOX_MM / width))) for length, width in widths)


def _local_power(square: Images, sides: Sequence[int]) -> Images:
    """The mean over every box inside the image, (n, 1, *places)."""
    for axis, side in enumerate(sides, start=2):
        places = square.shape[axis] - side + 1
        total = square.narrow(axis, 0, places).clone()
        for shift in range(1, side):
            total += square.narrow(axis, shift, places)
        square = total / side
    return square


def _largest_of_boxes(values: Images, sides: Sequence[int]) -> Images:
    """At every voxel the largest value of the boxes that hold it, from (n, 1, *places) to (n, 1, *space)."""
    for axis, side in enumerate(sides, start=2):
        around = [0, 0] * (values.ndim - 1 - axis) + [side - 1, side - 1]
        padded = functional.pad(values, around)
        places = values.shape[axis] + side - 1
        values = padded.narrow(axis, 0, places).clone()
        for shift in range(1, side):
            torch.maximum(values, padded.narrow(axis, shift, places), out=values)
    return values


def _kurtosis(square: Images) -> Values:
    flat = square.flatten(1)
    found: Values = flat.square().mean(1) / flat.mean(1).square() - 3
    return found


def _z_correlation(noise: Images, square: Images) -> Values:
    if noise.ndim < 5 or noise.shape[2] < 2:
        return torch.full((len(noise),), torch.nan, dtype=noise.dtype, device=noise.device)
    powers = square.flatten(3).sum((1, 3))
    shared = (noise[:, :, 1:] * noise[:, :, :-1]).flatten(1).sum(1)
    found: Values = shared / (powers[:, 1:].sum(1) * powers[:, :-1].sum(1)).sqrt()
    return found
