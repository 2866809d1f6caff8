"""Whether regions hold noise and nothing else, by other measures than those by which uniform regions are found.

`find_regions` looks at squares through filters; here each region is judged by the moments of its values and by its
parts, and all of them by their common spectrum. So regions that a user states are judged too, and what the search
overlooks is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadyread.cases.uniform import LOUDEST_HU, Floats, Region
from steadyread.findings import Finding
from steadyread.threats.power import PowerEstimate, without_trend

_TILT = 1.5           # largest difference between the means of a region's quarters, in sigma
_UNEVEN = 6.0         # largest ratio between the variances of its quarters
_FLAT, _PEAKED = -0.9, 1.5     # bounds of the excess kurtosis: two-valued patterns have -2, waves -0.75 to -1.5
_STRUCTURE = 1.5      # largest ratio of the SD to that of high-pass noise
_MEDIAN_OF_NORMAL = 0.6744897501960817    # of |N(0, 1)|
_STILL = 1e-3         # share of the loudest region's SD below which a region is a constant
_ONE_MATERIAL = (5.0, 0.15)    # largest SD of the regions' means: in HU, or this share of sigma
_COVERED, _LITTLE = 0.25, 0.1   # shares of what is not air below which that is said, and warned of
_AIR_HU = -300.0
_PHANTOM_HU, _EMPTY_HU = (-200.0, 300.0), -900.0   # water and plastics; the air around them


@dataclass(frozen=True)
class Material:
    """What the regions are made of: the mean of each in HU, and which share they have of what is not air (None
    where the user chose them)."""

    means_hu: Floats
    covered: float | None


def not_uniform(rois_hu: Floats) -> list[int]:
    """Which of the regions (n, side, side) hold more than noise: a trend or a constant, quarters that differ,
    values that no Gaussian has, or power at low frequencies that robust high-pass noise does not explain."""
    left = without_trend(rois_hu, "plane")
    sigma = left.std((1, 2))
    some = sigma > max(_STILL * float(sigma.max()), 1e-9)
    scale = np.where(some, sigma, 1.0)
    quarters = np.stack([part for half in np.array_split(rois_hu, 2, 1) for part in [
        block.reshape(len(block), -1).mean(1) for block in np.array_split(half, 2, 2)]])
    spreads = np.stack([block.reshape(len(block), -1).var(1) for half in np.array_split(left, 2, 1)
                        for block in np.array_split(half, 2, 2)])
    kurtosis = (left**4).mean((1, 2)) / scale**4 - 3
    sound = (some & (np.ptp(quarters, axis=0) < _TILT * scale) & (spreads.max(0) < _UNEVEN * spreads.min(0))
             & (kurtosis > _FLAT) & (kurtosis < _PEAKED) & (sigma < _STRUCTURE * _high_pass(left)))
    return np.flatnonzero(~sound).tolist()


def of_all(power: PowerEstimate, material: Material) -> list[Finding]:
    """What the regions' common spectrum, loudness and material say against noise of one material."""
    told = []
    first, rest = power.power_hu2_mm2[0], power.power_hu2_mm2[1:]
    if len(rest) and first > rest.max():
        told.append(Finding("low frequencies", "warning", (
            f"the power is highest in the lowest ring ({power.frequency_per_mm[0]:.3g} /mm), where reconstructed "
            "noise has little: structure, or a trend; look at the picture, and try --difference"),
            float(power.frequency_per_mm[0])))
    if power.sigma_hu > LOUDEST_HU:
        told.append(Finding("loud", "warning", f"sigma is {power.sigma_hu:.0f} HU; the noise of CT stays below "
                            f"{LOUDEST_HU:g} HU: the regions hold structure, or values that are not HU",
                            power.sigma_hu))
    mean, (low, high) = float(np.median(material.means_hu)), _PHANTOM_HU
    if not (low <= mean <= high or mean <= _EMPTY_HU):
        told.append(Finding("scale in HU", "warning", f"the regions' mean is {mean:z.0f} HU, far from water (0) "
                            "and air (-1000): are RescaleSlope and RescaleIntercept right? Sigma is in their scale",
                            mean))
    spread, (most, share) = float(material.means_hu.std()), _ONE_MATERIAL
    if spread > max(most, share * power.sigma_hu):
        low, high = material.means_hu.min(), material.means_hu.max()
        told.append(Finding("material", "warning", f"the regions' means go from {low:z.0f} to {high:z.0f} HU (SD "
                            f"{spread:.1f}): several materials, as a patient has; a phantom is needed", spread))
    if material.covered is not None and material.covered < _COVERED:
        little = material.covered < _LITTLE
        told.append(Finding("covered", "warning" if little else "note", (
            f"the regions cover {100 * material.covered:.0f} % of what is not air: a patient, or a phantom of many "
            "objects? Look at the picture whether they lie where it is uniform"), material.covered))
    return told


def covered_share(images_hu: NDArray[np.float32], regions: Sequence[Region]) -> float:
    """Which share of what is not air, in the slices that have regions, these cover."""
    solid = sum(int((images_hu[place] > _AIR_HU).sum()) for place in {one.image for one in regions})
    return sum(one.side**2 for one in regions) / solid if solid else 1.0


def _high_pass(left: Floats) -> Floats:
    """The SD of the noise in each region by the median absolute value of its high frequencies, so that edges,
    which are few, do not count."""
    side = left.shape[-1]
    smooth = ndimage.uniform_filter(left, (0, max(3, side // 2) | 1, max(3, side // 2) | 1))
    return np.asarray(np.median(np.abs(left - smooth), axis=(1, 2)) / _MEDIAN_OF_NORMAL)
