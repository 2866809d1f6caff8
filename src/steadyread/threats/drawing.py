"""Stationary Gaussian noise of a given spectrum on a pixel grid, and the exact power that a patch of it has.

Paper [B] A.2 read with care (its formula taken literally, a real Gaussian for every frequency, halves the
variance and makes point-symmetric images): p = irfft2(rfft2(w) sqrt(S / (dx dy))), w real, white, N(0, 1).
A patch is cut from a field larger by 8 mm, since a field made by a DFT is periodic and a scan is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from steadyread.errors import InputRefused
from steadyread.threats.power import radial_frequency
from steadyread.threats.spectrum import Spectrum
from steadyread.types import stream

Floats = NDArray[np.float64]
Operators = tuple[Floats, Floats]
_MARGIN_MM = 8.0        # opposite edges of a patch then correlate by 0.003 (both presets)


@dataclass(frozen=True)
class Field:
    """Noise on slices of `shape` (ny, nx) pixels of `spacing_mm` (dy, dx).

    Draws have unit size: times `spectrum.sigma_hu(mas, spacing_mm)` they are the noise at that dose. Their
    variance is exactly 1: the sum of S over the field's DFT grid is set to the integral over its band, from
    which it differs by 0.2 % or less for the presets on patches of 16 pixels or more. Where `periodic`, [B]'s
    formula stands as it is.

    Raises:
        InputRefused: the spectrum has no power below the grid's Nyquist frequency.
    """

    spectrum: Spectrum
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    periodic: bool = False

    @property
    def whole(self) -> tuple[int, int]:
        """The pixels (my, mx) of the field that is drawn, of which `shape` is a corner."""
        if self.periodic:
            return self.shape
        rows, columns = (fft.next_fast_len(count + math.ceil(_MARGIN_MM / width), real=True)
                         for count, width in zip(self.shape, self.spacing_mm, strict=True))
        return rows, columns

    def unit_power(self) -> Floats:
        """E|DFT(p)|^2 / (my mx) of the whole field at unit size, (my, mx), zero frequency first; mean 1."""
        return _unit_power(self)

    def draw(self, keys: Sequence[str], lead: tuple[int, ...], seed: int, draw: int) -> Float[Tensor, "n *space"]:
        """Unit noise for every key from its own stream: (n, *lead, ny, nx), slices independent.

        Image by image and on one thread: transforms of a whole batch may round otherwise than one image alone.
        """
        found = torch.empty(len(keys), *lead, *self.shape)
        white = torch.empty(*lead, *self.whole)
        amplitude = _amplitude(self)
        (rows, columns), held, filled = self.shape, found.numpy(), white.numpy()
        for place, key in enumerate(keys):
            white.normal_(generator=stream(seed, key, draw))
            waves = fft.rfft2(filled)
            waves *= amplitude
            held[place] = fft.irfft2(waves, s=self.whole, overwrite_x=True)[..., :rows, :columns]
        return found

    def expected_power(self, operators: Operators | None = None) -> Floats:
        """The expected periodogram E|rfft2(p)|^2 / (ny nx) of a slice at unit size, (ny, nx // 2 + 1).

        Exact: each frequency of the whole field leaks into the slice's by the slice's own window, so that a
        slice has power at 0 though the field has none. Times sigma_hu^2 it is in HU^2; times ny nx besides, it
        is the expected |rfft2(p)|^2. Its mean over the full DFT grid (columns between 0 and Nyquist count
        twice) is the slice's variance: 1, or `variance_after(operators)`.

        Args:
            operators: for images resampled from this grid, one matrix (new, old) along y and one along x,
                `old` being `shape`; the result then is of (new_y, new_x // 2 + 1).
        """
        power = _periodogram(self, operators) if operators is not None else _patch_power(self)
        return power[:, :power.shape[1] // 2 + 1]

    def covariance_with(self, weights: Float[Tensor, "*lead y x"]) -> Float[Tensor, "*lead y x"]:
        """The covariance of unit noise in each pixel with the sum of `weights` times that noise, exactly (float64).

        Among noises of a given probability it is, up to its length, the one that moves that sum furthest.
        """
        waves = fft.fft2(weights.double().cpu().numpy(), s=self.whole) * self.unit_power()
        rows, columns = self.shape
        return torch.from_numpy(fft.ifft2(waves).real[..., :rows, :columns].copy())

    def variance_after(self, operators: Operators | None = None) -> float:
        """The mean variance over a slice of unit noise, resampled by matrices along y and x."""
        return float((_periodogram(self, operators) if operators is not None else _patch_power(self)).mean())


@lru_cache(maxsize=64)
def _patch_power(field: Field) -> Floats:
    rows, columns = field.shape
    power = _periodogram(field, (np.eye(rows), np.eye(columns)))
    power.setflags(write=False)     # the cache hands out the array itself
    return power


def _periodogram(field: Field, operators: Operators) -> Floats:
    along_y, along_x = operators
    power: Floats = _leakage(along_y, field.whole[0]) @ field.unit_power() @ _leakage(along_x, field.whole[1]).T
    return power


def _leakage(operator: Floats, whole: int) -> Floats:
    """|DFT . operator . crop . inverse DFT|^2, (new, whole), as shares: what of each frequency comes where."""
    new, old = operator.shape
    waves = np.exp(2j * np.pi * np.outer(np.arange(old), np.arange(whole)) / whole)
    leak: Floats = np.abs(np.fft.fft(operator @ waves, axis=0)) ** 2 / (new * whole)
    return leak


@lru_cache(maxsize=16)
def _unit_power(field: Field) -> Floats:
    spectrum, spacing = field.spectrum, field.spacing_mm
    variance = spectrum.sigma_hu(spectrum.reference_mas, spacing) ** 2
    power = spectrum.power(radial_frequency(field.whole, spacing), spectrum.reference_mas)
    power /= spacing[0] * spacing[1]
    if not power.any() or not variance:
        raise InputRefused(f"the spectrum '{spectrum.name}' has no power below the Nyquist frequency of pixels of "
                           f"{spacing[0]:g}x{spacing[1]:g} mm: no noise can be drawn there")
    unit: Floats = power / (variance if field.periodic else power.mean())
    unit.setflags(write=False)
    return unit


@lru_cache(maxsize=1024)
def _amplitude(field: Field) -> NDArray[np.float32]:
    """What rfft2 of unit white noise is multiplied with, (my, mx // 2 + 1)."""
    power = _unit_power(field)
    return np.sqrt(power[:, :power.shape[1] // 2 + 1]).astype(np.float32)
