"""Spectra: what the presets say, the dose law, tables from a file or a phantom, and what is refused."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steadyread.errors import UsageError
from steadyread.threats.power import radial_frequency
from steadyread.threats.spectrum import PRESETS, Spectrum, SpectrumWarning

DOSES = (10, 50, 100, 200, 500)
Write = Callable[[str], Path]


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """Writes a table and says where it lies."""

    def write(text: str) -> Path:
        path = tmp_path / "scanner.csv"
        path.write_text(text, "utf-8")
        return path

    return write


def _cone(last: float = 1.0) -> Spectrum:
    """S(f) = f up to `last`: every figure of it is known in closed form."""
    return Spectrum("cone", "made up", 100.0, (0.0, last), (0.0, last))


@pytest.mark.parametrize(("name", "sigma", "peak"), [("soft", 11.7, 0.25), ("lung", 25.2, 0.6)])
def test_presets_have_their_sigma_on_their_reference_grid(name: str, sigma: float, peak: float) -> None:
    spectrum = Spectrum.preset(name)
    assert spectrum.reference_mas == 250
    assert spectrum.sigma_hu(250, 0.7) == pytest.approx(sigma, rel=1e-9)
    assert spectrum.peak_per_mm == pytest.approx(peak, abs=0.003)
    assert spectrum.power(0.0, 250) == 0
    assert "Pontana" in spectrum.provenance
    assert "Dolly" not in spectrum.provenance


def test_presets_have_the_published_shape() -> None:
    """S = a f exp(-(f/b)^2.2), whose table is fine enough to be taken for the curve."""
    spectrum = Spectrum.soft()
    b = 0.25 * 2.2 ** (1 / 2.2)
    frequency = np.linspace(0.01, 0.9, 777)
    curve = frequency * np.exp(-((frequency / b) ** 2.2))
    ratio = spectrum.power(frequency, 250) / curve
    assert ratio.std() / ratio.mean() < 1e-3


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_power_goes_with_the_inverse_of_the_dose(name: str) -> None:
    spectrum, frequency = Spectrum.preset(name), np.linspace(0, 1, 50)
    for mas in DOSES:
        np.testing.assert_allclose(spectrum.power(frequency, mas), spectrum.power(frequency, 250) * 250 / mas)
        assert spectrum.sigma_hu(mas) == pytest.approx(spectrum.sigma_hu(250) * (250 / mas) ** 0.5)


@pytest.mark.parametrize("spacing", [1.0, (0.5, 0.9), 0.7])
def test_sigma_is_the_sum_over_the_grid_of_its_definition(spacing: float | tuple[float, float]) -> None:
    """sigma^2 = sum(S) / (Nx dx Ny dy), over the whole plane and not a quarter of it."""
    dy, dx = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    radius = radial_frequency((512, 512), (dy, dx))
    whole = Spectrum.lung().power(radius, 100).sum() / (512 * dx * 512 * dy)
    assert Spectrum.lung().sigma_hu(100, spacing) ** 2 == pytest.approx(whole, rel=1e-12)


def test_figures_of_a_cone_are_those_of_geometry() -> None:
    cone = _cone()
    assert cone.sigma_hu(100, 0.25) ** 2 == pytest.approx(2 * np.pi / 3, rel=2e-3)   # a cone of radius 1, S = f
    assert cone.whole_variance_hu2 == pytest.approx(np.pi, rel=1e-12)   # trapezoid of 2 pi f f over two points
    assert Spectrum("fine", "", 100, tuple(np.linspace(0, 1, 501)), tuple(np.linspace(0, 1, 501))).mean_per_mm == (
        pytest.approx(2 / 3, rel=1e-4))
    assert cone.peak_per_mm == 1
    assert cone.power([0.25, 0.5, 1.0, 1.0001, -0.5], 50).tolist() == [0.5, 1.0, 2.0, 0.0, 1.0]


@pytest.mark.parametrize("mas", [0, -10, float("nan"), float("inf")])
def test_dose_is_a_positive_number(mas: float) -> None:
    with pytest.raises(UsageError, match="mAs above 0"):
        Spectrum.soft().sigma_hu(mas)
    with pytest.raises(UsageError, match="mAs above 0"):
        Spectrum.soft().power(0.1, mas)


def test_a_table_needs_the_dose_it_was_measured_at(table: Write) -> None:
    with pytest.raises(UsageError, match="mAs above 0"):
        Spectrum.from_csv(table("0,0\n0.5,3\n"), 0)


def test_what_a_grid_cannot_have_is_warned_of() -> None:
    with pytest.warns(SpectrumWarning, match="ends at 0.4/mm, below the Nyquist frequency 0.5/mm of 1 mm pixels"):
        _cone(0.4).warn_where_cut(1.0)
    with pytest.warns(SpectrumWarning, match=r"peaks at 0.6/mm, above .* 0.5/mm of 1 mm pixels: .* holds 19 %"):
        Spectrum.lung().warn_where_cut(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Spectrum.soft().warn_where_cut(1.0)
        Spectrum.lung().warn_where_cut(0.7)
        _cone(0.5).warn_where_cut(1.0)


def test_power_above_nyquist_is_lost_and_not_made_up_for() -> None:
    """One scanner has one spectrum: S is the same function on every grid, and sigma what the grid holds of it."""
    sigmas = [Spectrum.lung().sigma_hu(250, spacing) for spacing in (0.35, 0.7, 1.0)]
    assert sigmas[0] > 1.3 * sigmas[1] > 1.3 * 1.3 * sigmas[2]


def test_measured_from_regions_of_known_noise() -> None:
    """White noise of 20 HU: S = sigma^2 dx dy at every frequency, above the trend that is taken off."""
    rois = np.random.default_rng(1).normal(0, 20, (400, 32, 32))
    spectrum = Spectrum.measured(rois, 0.5, mas=120)
    assert spectrum.reference_mas == 120
    assert spectrum.sigma_hu(120, 0.5) == pytest.approx(20, rel=0.01)
    np.testing.assert_allclose(spectrum.power(np.linspace(0.15, 1.3, 20), 120), 100, rtol=0.05)
    assert "400 regions of 32x32 pixels of 0.5x0.5 mm" in spectrum.provenance
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum.warn_where_cut(0.5)
