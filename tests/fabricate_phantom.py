"""Made CT phantoms whose noise is known: water, line patterns, bone and air; a head without any uniform part."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadyread.threats.ct_noise import CTNoise
from steadyread.threats.spectrum import Spectrum

Pixels = NDArray[np.float32]
SPACING = 0.5     # mm
_SIZE = 224


def noise(slices: int, mas: float = 100.0, seed: int = 1, spectrum: Spectrum | None = None) -> Pixels:
    """CT noise, (slices, 224, 224) in HU."""
    drawn = CTNoise(spectrum or Spectrum.soft(), mas=mas, spacing_mm=SPACING).draw(slices, (_SIZE, _SIZE), seed)
    held: Pixels = drawn[:, 0].numpy()
    return held


def disc_among_bars(slices: int = 2, bars_hu: float = 1500.0, seed: int = 1, water_mm: float = 30.0) -> Pixels:
    """A water disc of 30 mm (centre row 112, column 112) in acrylic that line patterns of five periods fill, with a
    block of bone and one of air, and the noise of `soft` at 100 mAs everywhere."""
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(float)
    image = np.full((_SIZE, _SIZE), 120.0)
    for place, period in enumerate((3, 4, 6, 9, 14)):
        along = x if place % 2 else y
        rows = slice(place * 45, place * 45 + 42)
        image[rows] = np.where((along[rows] // (period / 2)) % 2, bars_hu, 0.0)
    image[8:40, 180:212], image[180:212, 8:40] = 1000.0, -1000.0
    disc = np.hypot(y - 112, x - 112) * SPACING < water_mm / 2 + 2
    image[disc] = 120.0
    image[np.hypot(y - 112, x - 112) * SPACING < water_mm / 2] = 0.0
    return (ndimage.gaussian_filter(image, 0.6) + noise(slices, seed=seed)).astype(np.float32)


def head(slices: int = 2, seed: int = 1) -> Pixels:
    """A skull of spongy bone, cells of air and a brain of convolutions, with the noise of `soft` at 100 mAs."""
    y, x = np.mgrid[:_SIZE, :_SIZE] - (_SIZE - 1) / 2
    radius = np.hypot(y, x)
    rng = np.random.default_rng(seed)

    def texture(scale: float) -> NDArray[np.float64]:
        field = ndimage.gaussian_filter(rng.standard_normal((_SIZE, _SIZE)), scale)
        return np.asarray(field / field.std())

    brain = 35 + 25 * np.tanh(2 * texture(4))
    spongy, cells = 700 + 450 * texture(1.2), np.where(texture(2.0) > 0, 800.0, -900.0)
    image = np.where(radius < 70, brain, np.where(radius < 100, spongy, -1000.0))
    image = np.where((radius > 60) & (radius < 100) & (y > 10), cells, image)
    return (image + np.where(radius < 100, noise(slices, seed=seed), 0)).astype(np.float32)
