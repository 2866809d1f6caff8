"""The noise power spectrum of an ensemble of regions, as ICRU Report 87 defines it (doi:10.1093/jicru/nds002).

    S(fx, fy) = dx dy / (Nx Ny) <|DFT[p - trend]|^2>        HU^2 mm^2
    sigma^2   = sum(S) / (Nx dx Ny dy)                      HU^2

Paper [B]'s eq. A.1 prints F[p]^2 where it must be |F[p]|^2. Numbers only: no torch, no files.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadyread.errors import InputRefused, UsageError

Floats = NDArray[np.float64]
Detrend = Literal["plane", "mean", "quadratic", "none"]
Window = Literal["none", "hann"]
_DEGREE: dict[str, int] = {"mean": 0, "plane": 1, "quadratic": 2}
_ROUNDING = 1e-12    # of the values: what taking a trend off a constant leaves
_LEAST = 4   # pixels a side: below it no ring is left between the trend and the Nyquist frequency


@dataclass(frozen=True, eq=False)
class PowerEstimate:
    """A measured noise power spectrum.

    `frequency_per_mm` and `power_hu2_mm2` (m,) are averages over rings of the 2-D spectrum, one frequency step
    of the regions wide, ascending from the first ring above 0 to the corner of the spectrum, which lies beyond
    the Nyquist frequency of the axes; a ring's frequency is the mean of its samples'. `samples` (m,) counts
    these. `power_2d` (ny, nx) has its zero in the middle (fftshift). `spacing_mm` is (dy, dx).
    `sigma_hu` is the root of the integral of `power_2d`, and `rois` the number of regions.
    """

    frequency_per_mm: Floats
    power_hu2_mm2: Floats
    power_2d: Floats
    spacing_mm: tuple[float, float]
    sigma_hu: float
    rois: int
    samples: NDArray[np.int64]

    @property
    def peak_per_mm(self) -> float:
        """The frequency of the ring with the most power: as fine as the rings are."""
        return float(self.frequency_per_mm[self.power_hu2_mm2.argmax()])

    @property
    def mean_per_mm(self) -> float:
        """Sum of f S(f) over sum of S(f) along the 1-D radial average, as TG-233 of the AAPM has it."""
        return float((self.frequency_per_mm * self.power_hu2_mm2).sum() / self.power_hu2_mm2.sum())

    @property
    def mean_2d_per_mm(self) -> float:
        """Sum of |f| S over sum of S over the 2-D spectrum: rings weigh by their samples, so it lies higher."""
        weight = self.power_hu2_mm2 * self.samples
        return float((self.frequency_per_mm * weight).sum() / weight.sum())

    @property
    def nyquist_per_mm(self) -> float:
        """The Nyquist frequency of the axis with the coarser pixels."""
        return 0.5 / max(self.spacing_mm)


def noise_power(rois_hu: ArrayLike, spacing_mm: float | tuple[float, float], detrend: Detrend = "plane",
                window: Window = "none", weights: Floats | None = None) -> PowerEstimate:
    """The noise power spectrum of regions of the same size, `rois_hu` (n, ny, nx) in HU (or one, (ny, nx)).

    Args:
        spacing_mm: (dy, dx), or one value for both.
        detrend: what is taken off each region by least squares: its mean, a plane or a quadratic surface. It
            takes a part of the lowest rings' power with it (below about 1.5 / (N dx)), which is not put back.
        window: `hann` lets less power leak between the rings of a steep spectrum; the power that it takes
            is put back (divided by the window's mean square), so that sigma keeps its expectation.
        weights: what each region counts (n,), all alike if None.

    Raises:
        InputRefused: other shapes, non-finite values, regions without any noise.
        UsageError: a spacing that is not positive, an unknown word.
    """
    rois = _regions(rois_hu)
    spacing = pixel_spacing(spacing_mm)
    if detrend not in get_args(Detrend) or window not in get_args(Window):
        raise UsageError(f"detrend is one of {', '.join(get_args(Detrend))} and window one of "
                         f"{', '.join(get_args(Window))}; got '{detrend}' and '{window}'")
    left = without_trend(rois, detrend)
    if window == "hann":
        taper = _hann(rois.shape[1])[:, None] * _hann(rois.shape[2])
        left = left * (taper / np.sqrt((taper**2).mean()))
    _, rows, columns = rois.shape
    area = spacing[0] * spacing[1]
    power = np.average(np.abs(np.fft.fft2(left)) ** 2, 0, weights) * (area / (rows * columns))
    if np.abs(left).max() <= _ROUNDING * np.abs(rois).max():
        raise InputRefused("the regions hold one value and no noise: nothing to measure a noise power spectrum of")
    frequency, ring_power, samples = ring_average(power, spacing)
    sigma = float(np.sqrt(power.sum() / (rows * columns * area)))
    return PowerEstimate(frequency, ring_power, np.fft.fftshift(power), spacing, sigma, len(rois), samples)


def ring_average(power: Floats, spacing_mm: tuple[float, float]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Means over rings of a 2-D spectrum (ny, nx) in the order of the DFT (zero first).

    Returns:
        The mean frequency (1/mm), the mean power and the number of samples of every ring but that at 0. A
        ring is as wide as the coarser of the two axes' frequency steps.
    """
    radius = radial_frequency(power.shape, spacing_mm)
    step = max(1 / (count * width) for count, width in zip(power.shape, spacing_mm, strict=True))
    ring = np.rint(radius / step).astype(np.int64).ravel()
    samples = np.bincount(ring)
    chosen = samples.nonzero()[0]
    chosen = chosen[chosen > 0]
    frequency, total = (np.bincount(ring, values.ravel())[chosen] / samples[chosen] for values in (radius, power))
    return frequency, total, samples[chosen]


def radial_frequency(shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> Floats:
    """|f| in 1/mm at every sample of a DFT over (ny, nx) pixels of (dy, dx) mm, zero first."""
    along_y, along_x = (np.fft.fftfreq(count, width) for count, width in zip(shape, spacing_mm, strict=True))
    radius: Floats = np.hypot(along_y[:, None], along_x)
    return radius


def without_trend(rois: Floats, detrend: Detrend = "plane") -> Floats:
    """Regions (n, ny, nx) less each one's least-squares surface of the stated kind."""
    if detrend == "none":
        return rois
    surface = _surfaces(rois.shape[1], rois.shape[2], _DEGREE[detrend])
    flat = rois.reshape(len(rois), -1)
    left: Floats = (flat - (flat @ surface) @ surface.T).reshape(rois.shape)
    return left


def pixel_spacing(spacing_mm: float | tuple[float, float]) -> tuple[float, float]:
    """(dy, dx) in mm from one value or two.

    Raises:
        UsageError: not one or two positive numbers.
    """
    given = np.atleast_1d(np.asarray(spacing_mm, float))
    if given.shape not in ((1,), (2,)) or not (np.isfinite(given) & (given > 0)).all():
        raise UsageError(f"a pixel spacing is one or two positive numbers in mm, (dy, dx); got {spacing_mm}")
    return float(given[0]), float(given[-1])


def _regions(rois_hu: ArrayLike) -> Floats:
    rois = np.asarray(rois_hu, float)
    rois = rois[None] if rois.ndim == 2 else rois
    if rois.ndim != 3 or not len(rois) or min(rois.shape[1:]) < _LEAST:
        raise InputRefused(f"regions are an array (n, rows, columns) of at least {_LEAST} x {_LEAST} pixels; "
                           f"got the shape {rois.shape}")
    if not np.isfinite(rois).all():
        raise InputRefused("the regions hold values that are not finite numbers")
    return rois


def _hann(count: int) -> Floats:
    """The periodic Hann window, moved by half a pixel so that it is symmetric and nowhere zero."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(count) + 0.5) / count)


def _surfaces(rows: int, columns: int, degree: int) -> Floats:
    """Orthonormal polynomials up to `degree` in both axes together, as columns (ny nx, terms)."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    terms = [(y**power * x**other).ravel() for power in range(degree + 1) for other in range(degree + 1 - power)]
    orthonormal: Floats = np.linalg.qr(np.stack(terms, 1))[0]
    return orthonormal
