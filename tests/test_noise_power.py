"""The noise power spectrum of noise that is known, by formula and in real phantoms."""


import numpy as np
import pytest
from numpy.typing import NDArray

from steadyread.errors import InputRefused, UsageError
from steadyread.threats.power import noise_power, radial_frequency, ring_average, without_trend

Floats = NDArray[np.float64]
SPACING = (0.5, 0.7)


def _white(n: int, rows: int = 40, columns: int = 32, sigma: float = 20.0, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, sigma, (n, rows, columns))


@pytest.mark.parametrize("window", ["none", "hann"])
def test_white_noise_has_the_power_of_its_pixels(window: str) -> None:
    """S = sigma^2 dx dy at every frequency, whatever the window."""
    found = noise_power(_white(400), SPACING, "none", window)   # type: ignore[arg-type]
    inner = found.samples >= 40
    np.testing.assert_allclose(found.power_hu2_mm2[inner], 400 * SPACING[0] * SPACING[1], rtol=0.04)
    assert found.sigma_hu == pytest.approx(20, rel=0.005)
    assert found.rois == 400
    assert found.nyquist_per_mm == pytest.approx(0.5 / 0.7)


def test_sigma_is_that_of_the_pixels_and_of_the_rings() -> None:
    """Parseval: the integral of the spectrum is the variance, exactly; and so is that over the rings."""
    rois = _white(5)
    found = noise_power(rois, SPACING, "mean")
    variance = ((rois - rois.mean((1, 2), keepdims=True)) ** 2).mean()
    assert found.sigma_hu**2 == pytest.approx(variance, rel=1e-12)
    area = rois.shape[1] * rois.shape[2] * SPACING[0] * SPACING[1]
    assert (found.power_hu2_mm2 * found.samples).sum() / area == pytest.approx(variance, rel=1e-12)
    assert found.samples.sum() == rois.shape[1] * rois.shape[2] - 1


def test_one_wave_stands_in_one_sample() -> None:
    """A cosine of amplitude a has the power a^2/4 Nx dx Ny dy at each of its two frequencies, by hand."""
    rows, columns, amplitude = 32, 40, 6.0
    wave = amplitude * np.cos(2 * np.pi * 5 * np.arange(columns) / columns)[None].repeat(rows, 0)
    found = noise_power(wave, SPACING, "mean")
    wanted = amplitude**2 / 4 * rows * SPACING[0] * columns * SPACING[1]
    middle = (rows // 2, columns // 2)
    assert found.power_2d[middle[0], middle[1] + 5] == pytest.approx(wanted)
    assert found.power_2d[middle[0], middle[1] - 5] == pytest.approx(wanted)
    assert found.sigma_hu == pytest.approx(amplitude / np.sqrt(2))
    assert found.peak_per_mm == pytest.approx(5 / (columns * SPACING[1]), abs=1 / (rows * SPACING[0]))


@pytest.mark.parametrize(("detrend", "degree"), [("mean", 0), ("plane", 1), ("quadratic", 2)])
def test_a_trend_is_taken_off_and_nothing_else(detrend: str, degree: int) -> None:
    y, x = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 32), indexing="ij")
    surface = sum(7.0 * y**i * x**j for i in range(degree + 1) for j in range(degree + 1 - i))
    rois = _white(3)
    kept = without_trend(rois, detrend)   # type: ignore[arg-type]
    np.testing.assert_allclose(without_trend(rois + 1000 * surface, detrend), kept, atol=1e-8)   # type: ignore[arg-type]
    np.testing.assert_allclose(without_trend(kept, detrend), kept, atol=1e-10)   # type: ignore[arg-type]
    assert 0.97 < kept.std() / rois.std() <= 1


def test_a_window_keeps_a_strong_trend_from_leaking() -> None:
    """A ramp that is not taken off leaks into every ring; the Hann window stops it."""
    ramp = np.linspace(0, 500, 64)[None, :, None] * np.ones((1, 1, 64))
    rois = _white(20, 64, 64, 5.0) + ramp
    high = [noise_power(rois, 1.0, "mean", window).power_hu2_mm2[20:40].mean() for window in ("none", "hann")]
    assert high[0] > 1.2 * high[1]
    assert high[1] == pytest.approx(25, rel=0.05)


def test_rings_cover_every_frequency_once() -> None:
    radius = radial_frequency((12, 15), SPACING)
    frequency, mean, samples = ring_average(radius, SPACING)
    np.testing.assert_allclose(mean, frequency)
    assert samples.sum() == 12 * 15 - 1
    assert (np.diff(frequency) > 0).all()
    assert frequency[-1] <= radius.max()


def test_mean_frequencies_follow_their_definitions() -> None:
    """White noise on a square grid: the radial mean lies near half of the corner, the 2-D mean higher."""
    found = noise_power(_white(200, 64, 64), 1.0, "none")
    assert found.mean_per_mm == pytest.approx(0.5 * found.frequency_per_mm[-1], rel=0.05)
    assert found.mean_2d_per_mm == pytest.approx(0.3826, rel=0.02)   # the mean distance from a square's middle


@pytest.mark.parametrize("rois", [np.zeros(5), np.zeros((0, 8, 8)), np.zeros((2, 3, 8)), np.full((2, 8, 8), np.nan),
                                  np.full((2, 8, 8), 7.0)])
def test_what_is_no_noise_is_refused(rois: Floats) -> None:
    with pytest.raises(InputRefused):
        noise_power(rois, 1.0)


@pytest.mark.parametrize(("spacing", "detrend", "window"), [
    (0.0, "plane", "none"), (-1.0, "plane", "none"), ((1.0, 1.0, 1.0), "plane", "none"),
    (float("nan"), "mean", "none"), (1.0, "cubic", "none"), (1.0, "plane", "hamming")])
def test_settings_that_cannot_be_are_refused(spacing: float, detrend: str, window: str) -> None:
    with pytest.raises(UsageError):
        noise_power(_white(2), spacing, detrend, window)   # type: ignore[arg-type]


def test_rings_of_a_spectrum_are_as_wide_as_the_coarser_step() -> None:
    frequency, power, samples = ring_average(np.ones((8, 16)), (1.0, 1.0))     # steps of 1/8 and 1/16 per mm
    assert len(frequency) == 6                   # up to 5.7 steps of 1/8
    assert samples.sum() == 8 * 16 - 1 - 2       # all but 0 and what lies within half a step of it
    assert power == pytest.approx(1)
    assert np.rint(8 * frequency).tolist() == [1, 2, 3, 4, 5, 6]
