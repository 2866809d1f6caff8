"""CT noise against what is known of it: its own spectrum, exact covariances, a scan simulated from its photons."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from steadyread.threats import CTNoise, Spectrum
from steadyread.threats.drawing import Field
from steadyread.threats.power import noise_power, radial_frequency, ring_average
from steadyread.types import Batch, Bounds, NativeGrid

Floats = NDArray[np.float64]
SOFT, LUNG = Spectrum.soft(), Spectrum.lung()
GRIDS = [(SOFT, (1.0, 1.0)), (LUNG, (0.7, 0.7)), (LUNG, (0.45, 0.6))]
N = 64
NUMBERS = [str(place) for place in range(2000)]


def _unit(field: Field, count: int) -> Floats:
    return field.draw(NUMBERS[:count], (), seed=0, draw=0).double().numpy()


def _given(spectrum: Spectrum, shape: tuple[int, int], spacing: tuple[float, float]) -> Floats:
    """The spectrum's radial average, over the same rings as an estimate's."""
    return ring_average(spectrum.power(radial_frequency(shape, spacing), 250), spacing)[1]


def _whole(half: Floats) -> Floats:
    """The full spectrum (n, n), n even, of which rfft2 has the half."""
    n = len(half)
    return np.concatenate([half, half[-np.arange(n)][:, n // 2 - 1:0:-1]], axis=1)


@pytest.mark.parametrize(("spectrum", "spacing"), GRIDS)
@pytest.mark.parametrize("shape", [(N, N), (24, 32)])
def test_sigma_is_the_integral(spectrum: Spectrum, spacing: tuple[float, float], shape: tuple[int, int]) -> None:
    noise = _unit(Field(spectrum, shape, spacing), 500) * spectrum.sigma_hu(250, spacing)
    fine = np.sqrt(spectrum.power(radial_frequency((1024, 1024), spacing), 250).mean() / np.prod(spacing))
    assert noise.std() == pytest.approx(fine, rel=0.01)


@pytest.mark.parametrize(("spectrum", "spacing"), GRIDS)
def test_estimated_is_given_in_every_ring(spectrum: Spectrum, spacing: tuple[float, float]) -> None:
    """Within 3 % in every ring above 1.5 / (N dx): the literal formula, which does not leak, against S itself;
    a cut patch against the exact expectation of its own periodogram."""
    sigma = spectrum.sigma_hu(250, spacing)
    for periodic in (True, False):
        field = Field(spectrum, (N, N), spacing, periodic)
        found = noise_power(_unit(field, 1500) * sigma, spacing, detrend="none")
        exact = _whole(field.expected_power())
        wanted = (_given(spectrum, (N, N), spacing) if periodic else
                  ring_average(exact, spacing)[1] * sigma**2 * np.prod(spacing))
        judged = found.frequency_per_mm > 1.5 / (N * max(spacing))
        assert judged.sum() > 30
        ratio = found.power_hu2_mm2[judged] / wanted[judged]
        assert np.abs(ratio - 1).max() < 0.03


@pytest.mark.parametrize(("spectrum", "spacing"), GRIDS)
def test_a_windowed_estimate_of_cut_patches_is_the_given(spectrum: Spectrum, spacing: tuple[float, float]) -> None:
    """Up to the Nyquist frequency, within 3 %; the second ring within 6 %, where a Hann window still leaks."""
    noise = _unit(Field(spectrum, (N, N), spacing), 2000) * spectrum.sigma_hu(250, spacing)
    found = noise_power(noise, spacing, detrend="none", window="hann")
    error = np.abs(found.power_hu2_mm2 / _given(spectrum, (N, N), spacing) - 1)
    frequency, step = found.frequency_per_mm, 1 / (N * min(spacing))
    assert error[(frequency > 2.5 * step) & (frequency < found.nyquist_per_mm)].max() < 0.03
    assert error[(frequency > 1.5 * step) & (frequency < 2.5 * step)].max() < 0.06


@pytest.mark.parametrize("spectrum", [SOFT, LUNG], ids=lambda spectrum: spectrum.name)
def test_noise_is_gaussian_and_has_no_symmetry(spectrum: Spectrum) -> None:
    """Zero mean, Gaussian kurtosis and skewness, and no image that mirrors itself in a point, as those of a real
    Gaussian for every frequency do."""
    noise = _unit(Field(spectrum, (N, N), (0.7, 0.7)), 500)
    assert noise.mean() == pytest.approx(0, abs=5 * noise.mean((1, 2)).std() / 500**0.5)
    third, fourth = (noise**3).mean((1, 2)), (noise**4).mean((1, 2))
    assert third.mean() == pytest.approx(0, abs=5 * third.std() / 500**0.5)
    assert fourth.mean() == pytest.approx(3, abs=5 * fourth.std() / 500**0.5)
    assert fourth.std() / 500**0.5 < 0.02
    for mirrored in (noise[:, ::-1, ::-1], np.roll(noise[:, ::-1, ::-1], 1, (1, 2)), noise[:, :, ::-1]):
        alike = (noise * mirrored).mean((1, 2))
        assert alike.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("spectrum", "shape", "width"), [
    (SOFT, (24, 24), 1.0), (SOFT, (32, 32), 1.0), (LUNG, (32, 32), 1.0), (SOFT, (48, 48), 0.6)])
def test_opposite_edges_know_nothing_of_each_other(spectrum: Spectrum, shape: tuple[int, int],
                                                   width: float) -> None:
    """The correlation of a patch's first and last column is below 0.003, exactly and as drawn; the literal
    formula's is that of neighbours."""
    spacing = (width, width)
    cut, wrapped = (np.fft.ifft2(Field(spectrum, shape, spacing, periodic).unit_power()).real
                    for periodic in (False, True))
    assert abs(cut[0, shape[1] - 1] / cut[0, 0]) < 0.003
    assert wrapped[0, -1] == pytest.approx(wrapped[0, 1])
    assert abs(wrapped[0, -1] / wrapped[0, 0]) > 0.03
    noise = _unit(Field(spectrum, shape, spacing), 1000)
    edges = (noise[:, :, 0] * noise[:, :, -1]).mean(1)
    assert edges.mean() == pytest.approx(0, abs=0.003 + 4 * edges.std() / 1000**0.5)


def test_a_slice_of_a_volume_is_an_image() -> None:
    """In spectrum, as drawn; slices of one volume are independent."""
    threat = CTNoise(SOFT, 100, 1.0)
    image, volume = (threat.draw(*what, seed=1).double().numpy()[:, 0] for what in ((1500, (24, 24)),
                                                                                   (300, (5, 24, 24))))
    assert volume.std() == pytest.approx(image.std(), rel=0.01)
    one, other = (noise_power(noise.reshape(-1, 24, 24), 1.0, "none") for noise in (image, volume))
    np.testing.assert_allclose(one.power_hu2_mm2, other.power_hu2_mm2, rtol=0.12)
    neighbours = (volume[:, 1:] * volume[:, :-1]).mean((1, 2, 3)) / volume.var()
    assert neighbours.mean() == pytest.approx(0, abs=5 * neighbours.std() / 300**0.5)


def _linear(new: int, old: int, width: float, shift: float) -> torch.Tensor:
    at = (np.arange(new) - (new - 1) / 2 + shift) / width + (old - 1) / 2
    return torch.from_numpy(np.stack([np.interp(at, np.arange(old), row) for row in np.eye(old)], 1))


def test_native_noise_has_the_covariance_of_its_operators() -> None:
    """Exactly: A (z) and B (y, x) make of the native covariance C the image's, (A A') x (B C B'). So sigma, each
    slice's, and the correlation of slices: near those measured for 2.5 mm slices resampled linearly to 1 mm."""
    new, old, spacing = (8, 12, 10), (5, 20, 17), (2.5, 0.7, 0.7)
    operators = tuple(_linear(*sizes, shift=0.2) for sizes in zip(new, old, spacing, strict=True))
    field = Field(SOFT, old[1:], spacing[1:])
    covariance = np.fft.ifft2(field.unit_power()).real
    y, x = (axis.ravel() for axis in np.meshgrid(np.arange(old[1]), np.arange(old[2]), indexing="ij"))
    native = covariance[y[:, None] - y, x[:, None] - x]
    in_plane = np.kron(operators[1].numpy(), operators[2].numpy())
    through = (operators[0] @ operators[0].T).numpy()
    after = in_plane @ native @ in_plane.T
    exact = np.einsum("ab,ij->aibj", through, after).diagonal(axis1=1, axis2=3).mean(-1)     # (z, z), over a slice

    batch = Batch(torch.zeros(1500, 1, *new), tuple(NUMBERS[:1500]), Bounds(-1024, 3071, "HU"),
                  native=(NativeGrid(spacing, operators),) * 1500)
    threat = CTNoise(SOFT, domain="native")
    assert field.variance_after((operators[1].numpy(), operators[2].numpy())) == pytest.approx(after.trace() / 120)
    share = float(threat.image_sigma_hu(100, batch.pick(torch.tensor([0])))) / SOFT.sigma_hu(100, 0.7)
    assert share**2 == pytest.approx(exact.trace() / new[0], rel=1e-6)

    noise = threat.start(batch, torch.ones(1500), 0, 0)[:, 0].double().numpy()
    drawn = np.einsum("nayx,nbyx->ab", noise, noise) / (1500 * 120)
    np.testing.assert_allclose(drawn, exact, atol=0.02)
    pixel = np.einsum("nzi,nzj->ij", *(noise.reshape(1500, 8, 120),) * 2) / 1500 / through.trace()
    np.testing.assert_allclose(pixel, after, atol=0.06)
    deviation = np.sqrt(np.diag(exact))
    assert 0.5 < share < 0.75
    assert 0.7 < float(np.mean(np.diag(exact, 1) / (deviation[1:] * deviation[:-1]))) < 0.9


@dataclass(frozen=True, eq=False)
class Scanner:
    """A parallel-beam scanner of monoenergetic photons with a disk of water in it; noise only, since filtered
    backprojection is linear. 43 mm of water, 0.7 mm pixels, 200 views, Hann kernel."""

    pixels: int = 128
    views: int = 200
    width_mm: float = 0.7
    radius_mm: float = 43.0
    water_per_mm: float = 0.02

    @property
    def angles(self) -> Floats:
        """Degrees."""
        return np.arange(self.views) * 180 / self.views

    def attenuation(self, place_mm: Floats) -> Floats:
        """-log of the share of photons that come through at this distance from the middle ray."""
        return 2 * self.water_per_mm * np.sqrt(np.clip(self.radius_mm**2 - place_mm**2, 0, None))

    def noise_hu(self, photons: float, rng: np.random.Generator) -> Floats:
        """The noise of one reconstruction with this many photons a ray."""
        from skimage.transform import iradon
        place = (np.arange(self.pixels) - self.pixels // 2) * self.width_mm
        clean = self.attenuation(place)[:, None].repeat(self.views, 1)
        noisy = -np.log(rng.poisson(photons * np.exp(-clean)) / photons)
        found: Floats = iradon((noisy - clean) / self.width_mm, theta=self.angles, filter_name="hann", circle=True)
        return found * 1000 / self.water_per_mm

    def theory(self, mas: float, side: int) -> Spectrum:
        """S = (pi / M) f A(f)^2 MTF(f)^2 s^2 ds, for a ray's variance s^2 averaged over views and over the
        `side` pixels in the middle; linear interpolation, so MTF = sinc^2."""
        y, x = (np.indices((side, side)) - side // 2) * self.width_mm
        variance = np.mean([np.exp(self.attenuation(x * np.cos(angle) - y * np.sin(angle)))
                            for angle in np.deg2rad(self.angles)]) / (mas * PHOTONS)
        nyquist = 0.5 / self.width_mm
        frequency = np.linspace(0, 2 * nyquist, 1000)
        hann = np.where(frequency < nyquist, 0.5 + 0.5 * np.cos(np.pi * frequency / nyquist), 0)
        mtf = np.sinc(frequency * self.width_mm) ** 2
        scale = np.pi / self.views * variance * self.width_mm * (1000 / self.water_per_mm) ** 2
        return Spectrum("theory", "", mas, tuple(frequency), tuple(scale * frequency * hann**2 * mtf**2))


PHOTONS = 4000.0    # a ray and mAs
SIDE = 64           # pixels of the region in the middle


@pytest.fixture(scope="module")
def regions() -> Floats:
    """The middle of 80 reconstructions at 100 mAs."""
    pytest.importorskip("skimage")
    scanner, rng = Scanner(), np.random.default_rng(7)
    middle = slice(scanner.pixels // 2 - SIDE // 2, scanner.pixels // 2 + SIDE // 2)
    return np.stack([scanner.noise_hu(100 * PHOTONS, rng)[middle, middle] for _ in range(80)])


def test_the_dose_law_is_that_of_photons() -> None:
    """sigma sqrt(mAs) of reconstructions is constant within 2 % from 10 to 500 mAs, as is ours exactly."""
    pytest.importorskip("skimage")
    scanner, rng = Scanner(), np.random.default_rng(3)
    y, x = (np.indices((scanner.pixels,) * 2) - scanner.pixels // 2) * scanner.width_mm
    inside = y**2 + x**2 < 36**2
    law = [np.stack([scanner.noise_hu(mas * PHOTONS, rng)[inside] for _ in range(8)]).std() * mas**0.5
           for mas in (10, 50, 100, 200, 500)]
    np.testing.assert_allclose(law, np.mean(law), rtol=0.02)
    ours = [SOFT.sigma_hu(mas) * mas**0.5 for mas in (10, 50, 100, 200, 500)]
    np.testing.assert_allclose(ours, ours[0], rtol=1e-12)


def test_reconstructions_have_the_shape_of_theory(regions: Floats) -> None:
    """Within 5 % of the peak in every ring above 1.5 / (N dx), leakage into the region reckoned with; sigma
    within 2 %."""
    width = Scanner().width_mm
    theory = Scanner().theory(100, SIDE)
    found = noise_power(regions, width, "mean")
    assert found.sigma_hu == pytest.approx(theory.sigma_hu(100, width), rel=0.02)
    expected = _whole(Field(theory, (SIDE, SIDE), (width, width)).expected_power())
    wanted = ring_average(expected, (width, width))[1]
    shape = found.power_hu2_mm2 / (found.sigma_hu * width) ** 2
    judged = found.frequency_per_mm > 1.5 / (SIDE * width)
    assert np.abs(shape - wanted)[judged].max() < 0.05 * wanted.max()


def test_a_measured_spectrum_draws_what_was_measured(regions: Floats) -> None:
    """Sigma within 1 %, and under the same estimate every ring above 1.5 / (N dx) within 5 % of the peak."""
    width = Scanner().width_mm
    spectrum = Spectrum.measured(regions, width, mas=100)
    assert spectrum.sigma_hu(100, width) == pytest.approx(regions.std(), rel=0.01)
    drawn = CTNoise(spectrum, 100, width).draw(400, (SIDE, SIDE), seed=0).double().numpy()[:, 0]
    assert drawn.std() == pytest.approx(regions.std(), rel=0.01)
    ours, theirs = (noise_power(noise, width, "mean") for noise in (drawn, regions))
    judged = theirs.frequency_per_mm > 1.5 / (SIDE * width)
    error = np.abs(ours.power_hu2_mm2 - theirs.power_hu2_mm2)[judged]
    assert error.max() < 0.05 * theirs.power_hu2_mm2.max()
