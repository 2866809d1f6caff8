"""SYNTHETIC lung nodules in HU, for a demonstration without data: made from formulas, of no clinical meaning."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from steadyread.cases.case_set import Cases
from steadyread.cases.operators import own_grid
from steadyread.cases.row import Pixels, Row
from steadyread.errors import UsageError
from steadyread.types import Bounds

_SPACING = 0.7
_LUNG = -850.0
_TISSUE = 30.0
Field = NDArray[np.floating[Any]]


def nodules(n: int, seed: int, size: int = 64) -> Cases:
    """`n` images (1, size, size) in HU at 0.7 mm: half smooth round benign, half spiculated malignant nodules.

    Lung at -850 HU with a correlated texture, vessels, now and then the chest wall, and correlated CT noise.
    Spiculation, lobes and (weakly) diameter tell the classes apart and overlap between them, so that no
    reader is perfect. Every image is drawn when it is read, from its own stream (seed, index); every fifth
    patient has two nodules.
    """
    if n < 2 or size < 32:
        raise UsageError(f"a phantom needs n >= 2 images of size >= 32; got n = {n}, size = {size}")
    rows = tuple(_row(index, seed, size) for index in range(n))

    def load(row: Row) -> Pixels:
        index, malignant = row.source
        return _image(np.random.default_rng([seed & 0xFFFFFFFF, index]), malignant, size)

    return Cases(f"SYNTHETIC nodules (seed {seed})", rows, load, ("benign", "malignant"),
                 Bounds(-1024.0, 3071.0, "HU"), True, synthetic=True, native=own_grid)


def _row(index: int, seed: int, size: int) -> Row:
    pair, within = divmod(index, 6)
    patient = 5 * pair + min(within, 4)
    # the class alternates by a coin per pair of images, so that any first n are balanced to one
    coin = hashlib.blake2b(f"{seed}\x1f{index // 2}".encode(), digest_size=1).digest()[0] & 1
    malignant = (index & 1) ^ coin
    return Row(f"synthetic-{index:06d}", f"synthetic-patient-{patient:05d}", malignant,
               ("benign", "malignant")[malignant], (_SPACING, _SPACING), "", (index, bool(malignant)),
               f"synthetic image {index}", shape=(1, size, size))


def _image(rng: np.random.Generator, malignant: bool, size: int) -> NDArray[np.float32]:
    mm = ((np.arange(size) - (size - 1) / 2) * _SPACING).astype(np.float32)
    y, x = mm[:, None], mm[None, :]
    lung = _LUNG + rng.normal(0, 25) + 50 * _smooth_field(rng, size, (1.2, 5.0))
    density = np.maximum(_vessels(rng, x, y, float(mm[-1])), _wall(rng, x, y, float(mm[-1])))
    density = np.maximum(density, _nodule(rng, malignant, x, y))
    tissue = _TISSUE + rng.normal(0, 20)
    noise = rng.uniform(15, 35) * _smooth_field(rng, size, (0.4,))
    image = np.clip(lung + density * (tissue - lung) + noise, -1024, 3071)
    return np.asarray(image[None], np.float32)


def _nodule(rng: np.random.Generator, malignant: bool, x: Field, y: Field) -> Field:
    """Share of tissue (0..1): a lobed disc, with rays whose length the degree of spiculation sets."""
    degree = float(np.clip(rng.normal(0.70 if malignant else 0.20, 0.17), 0, 1))
    radius = rng.uniform(3.5, 8.0) if malignant else rng.uniform(2.5, 7.0)
    u, v = x - rng.normal(0, 1.0), y - rng.normal(0, 1.0)
    distance, angle = np.hypot(u, v), np.arctan2(v, u)
    lobes = sum(rng.normal(0, (0.07, 0.05, 0.03)[k - 2] * (1 + degree)) * np.cos(k * angle + rng.uniform(0, 6.3))
                for k in (2, 3, 4))
    edge = radius * (1 + lobes)
    core = rng.uniform(0.75, 1.0) * _step((edge - distance) / rng.uniform(0.3, 0.55))
    count = int(rng.integers(8, 15))
    turn = rng.uniform(-np.pi, np.pi, (count, 1, 1)).astype(np.float32)
    length = (degree * rng.uniform(0.5, 1.3, (count, 1, 1)) * (5.0 + 0.7 * radius)).astype(np.float32)
    width = rng.uniform(0.5, 0.9, (count, 1, 1)).astype(np.float32)
    across, along = v * np.cos(turn) - u * np.sin(turn), u * np.cos(turn) + v * np.sin(turn) - 0.9 * edge
    fade = np.clip(1 - along / np.maximum(length, 0.2), 0, 1) * (along > -2)
    rays = (fade * np.exp(-0.5 * (across / (width * (0.5 + 0.5 * fade) + 0.1)) ** 2)).max(0)
    return np.asarray(np.maximum(core, rays * (0.2 + 0.7 * degree)))


def _vessels(rng: np.random.Generator, x: Field, y: Field, half: float) -> Field:
    """Slightly bent, tapering tubes, and dots where others cross the slice."""
    count = int(rng.integers(1, 5))
    turn = rng.uniform(0, 2 * np.pi, (count, 1, 1)).astype(np.float32)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    across = across - rng.uniform(-half, half, (count, 1, 1)) - rng.normal(0, 0.003, (count, 1, 1)) * along**2
    begins = rng.uniform(-half, 0.5 * half, (count, 1, 1))
    width = rng.uniform(0.35, 1.0, (count, 1, 1)) * np.clip(0.5 + 0.3 * (along - begins) / half, 0.3, 1.2)
    tubes = (rng.uniform(0.3, 0.75, (count, 1, 1)) * np.exp(-0.5 * (across / width) ** 2)
             * _step((along - begins) / 1.5)).max(0)
    dots = int(rng.integers(1, 6))
    place = rng.uniform(-half, half, (2, dots, 1, 1))
    away = (x - place[0]) ** 2 + (y - place[1]) ** 2
    bright, wide = rng.uniform(0.3, 0.8, (dots, 1, 1)), rng.uniform(0.4, 0.9, (dots, 1, 1))
    spots = (bright * np.exp(-0.5 * away / wide**2)).max(0)
    return np.asarray(np.maximum(tubes, spots))


def _wall(rng: np.random.Generator, x: Field, y: Field, half: float) -> Field:
    """The chest wall on one side of one image in four, beyond the nodule."""
    present, turn, place = rng.random() < 0.25, rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 0.95)
    if not present:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return _step((along - place * half + 0.006 * across**2) / 0.5)


def _step(value: Field) -> Field:
    """A smooth step from 0 to 1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -30, 30))))


def _smooth_field(rng: np.random.Generator, size: int, lengths_mm: tuple[float, ...]) -> Field:
    """White noise low-passed by Gaussians of these lengths in equal parts, of unit standard deviation."""
    white = rng.standard_normal((size, size), np.float32)
    return np.asarray(irfft2(rfft2(white) * _gain(size, lengths_mm), (size, size)))


@lru_cache(maxsize=16)
def _gain(size: int, lengths_mm: tuple[float, ...]) -> NDArray[np.float32]:
    """The square root of the power per frequency, (size, size//2 + 1), of mean power 1 over the whole plane."""
    across, along = np.fft.fftfreq(size, _SPACING)[:, None], np.fft.fftfreq(size, _SPACING)[None, :]
    power = np.zeros((size, size))
    for length in lengths_mm:
        one = np.exp(-4 * (np.pi * length) ** 2 * (across**2 + along**2))
        power += one / one.mean() / len(lengths_mm)
    return np.asarray(np.sqrt(power[:, :size // 2 + 1]), np.float32)
