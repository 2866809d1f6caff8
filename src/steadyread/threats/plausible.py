"""Does a noise look like a scan's? Figures that tell, their range over random draws, and noise kept within it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from steadyread.types import Flags, Images, Values

BOX_MM = 5.0        # over which the local sigma is taken


def plausibility(noise: Images, spacing_mm: float | Sequence[float] = 1.0) -> dict[str, Values]:
    """Figures of every noise (n, 1, *space) in HU, by the names of the records' columns, (n,) each.

    `sigma_hu` is the root mean square over the image; `kurtosis` in excess of a Gaussian's; `z_correlation` that of
    neighbouring slices (NaN in 2D); `largest_local_sigma_hu` the largest root mean square over a box of 5 mm along
    every axis (whole voxels, at most the image) that lies inside the image; `ring_error` is NaN: it is known only
    where there is a target, and a random draw is not held to it.

    Args:
        spacing_mm: of the voxels, one value or one an axis of space.
    """
    space = noise.shape[2:]
    spacing = [float(spacing_mm)] * len(space) if isinstance(spacing_mm, int | float) else list(spacing_mm)
    square = noise.square()
    power = square.flatten(1).mean(1)
    return {"sigma_hu": power.sqrt(), "ring_error": torch.full_like(power, torch.nan),
            "kurtosis": _kurtosis(square), "z_correlation": _z_correlation(noise, square),
            "largest_local_sigma_hu": local_power(square, spacing).flatten(1).amax(1).sqrt()}


def local_power(square: Images, spacing_mm: Sequence[float]) -> Images:
    """The mean over every box of 5 mm inside the image, (n, 1, *places)."""
    for axis, width in enumerate(spacing_mm, start=2):
        side = _side(square.shape[axis], width)
        places = square.shape[axis] - side + 1
        total = square.narrow(axis, 0, places).clone()
        for shift in range(1, side):
            total += square.narrow(axis, shift, places)
        square = total / side
    return square


def _side(length: int, width_mm: float) -> int:
    return min(length, max(1, round(BOX_MM / width_mm)))


def _kurtosis(square: Images) -> Values:
    flat = square.flatten(1)
    found: Values = flat.square().mean(1) / flat.mean(1).square() - 3
    return found


def _z_correlation(noise: Images, square: Images) -> Values:
    if noise.ndim < 5:
        return torch.full((len(noise),), torch.nan, dtype=noise.dtype, device=noise.device)
    powers = square.flatten(3).sum((1, 3))
    shared = (noise[:, :, 1:] * noise[:, :, :-1]).flatten(1).sum(1)
    found: Values = shared / (powers[:, 1:].sum(1) * powers[:, :-1].sum(1)).sqrt()
    return found


@dataclass(frozen=True, eq=False)
class PlausibleSet:
    """stub"""

    def nearest(self, noise: Images, size: Values) -> Images:
        raise NotImplementedError

    def steepest(self, noise: Images, size: Values) -> Images:
        raise NotImplementedError

    def error(self, noise: Images, size: Values) -> Values:
        raise NotImplementedError


def plausible_set(field: object, lead: object, grid: object, device: str) -> PlausibleSet:
    return PlausibleSet()
