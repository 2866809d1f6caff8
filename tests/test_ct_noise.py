"""CT noise as a threat: streams, doses, grids, and what is refused."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyread.errors import InputRefused, UsageError
from steadyread.threats import CTNoise, Spectrum
from steadyread.threats.ct_noise import resampled
from steadyread.threats.drawing import Field
from steadyread.threats.spectrum import SpectrumWarning, ThicknessWarning
from steadyread.types import Batch, Bounds, NativeGrid

HU = Bounds(-1024, 3071, "HU")
SHAPES = [(24, 24), (17, 30), (5, 24, 24), (3, 19, 16)]


def _batch(n: int, shape: tuple[int, ...], spacing: float = 1.0, value: float = -600.0) -> Batch:
    return Batch(torch.full((n, 1, *shape), value), tuple(f"case {place}" for place in range(n)), HU,
                 ((spacing,) * len(shape),) * n)


def _linear(new: int, old: int, spacing_mm: float) -> Tensor:
    """Linear interpolation to a 1 mm grid about the same centre, as a matrix (new, old)."""
    at = (np.arange(new) - (new - 1) / 2) / spacing_mm + (old - 1) / 2
    return torch.from_numpy(np.stack([np.interp(at, np.arange(old), row) for row in np.eye(old)], 1)).float()


def _native(spacing_mm: tuple[float, ...], new: tuple[int, ...]) -> NativeGrid:
    """The scanner's grid just large enough for an image of `new` voxels of 1 mm."""
    old = tuple(int(np.ceil(count / width)) + 2 for count, width in zip(new, spacing_mm, strict=True))
    return NativeGrid(spacing_mm, tuple(_linear(*sizes) for sizes in zip(new, old, spacing_mm, strict=True)))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_has_its_own_stream(shape: tuple[int, ...]) -> None:
    """The same bits alone, in a batch, and in any order; others for another key, seed or draw."""
    threat, batch = CTNoise(Spectrum.soft()), _batch(7, shape)
    size = threat.size_of(100, batch)
    noise = threat.start(batch, size, seed=3, draw=2)
    assert noise.shape == batch.images.shape
    assert noise.dtype == torch.float32
    order = torch.tensor([4, 0, 6, 1])
    assert torch.equal(threat.start(batch.pick(order), size[order], 3, 2), noise[order])
    for place in range(len(batch)):
        alone = torch.tensor([place])
        assert torch.equal(threat.start(batch.pick(alone), size[alone], 3, 2), noise[alone])
    for seed, draw in ((4, 2), (3, 3)):
        assert not torch.isclose(threat.start(batch, size, seed, draw), noise).any(dim=-1).all()
    assert len({image.numpy().tobytes() for image in noise}) == 7


@pytest.mark.parametrize("shape", SHAPES)
def test_draw_has_the_stated_shape_and_is_its_seed_s(shape: tuple[int, ...]) -> None:
    noise = CTNoise(Spectrum.soft(), mas=50, spacing_mm=1.0)
    drawn = noise.draw(4, shape, seed=1)
    assert drawn.shape == (4, 1, *shape)
    assert torch.equal(noise.draw(6, shape, seed=1)[:4], drawn)
    assert not torch.equal(noise.draw(4, shape, seed=2), drawn)
    assert drawn.std() == pytest.approx(Spectrum.soft().sigma_hu(50, 1.0), rel=0.1)


def test_one_draw_serves_all_doses() -> None:
    """sigma goes with 1 / sqrt(mAs), exactly, since the draw is the same."""
    threat, batch = CTNoise(Spectrum.soft()), _batch(3, (5, 24, 24))
    unit = threat.start(batch, torch.ones(3), 0, 0)
    for mas in (10, 50, 100, 200, 500):
        size = threat.size_of(mas, batch)
        assert size.tolist() == pytest.approx([Spectrum.soft().sigma_hu(mas, 1.0)] * 3)
        torch.testing.assert_close(threat.start(batch, size, 0, 0), unit * size.reshape(-1, 1, 1, 1, 1))
        drawn, at_250 = (CTNoise(Spectrum.soft(), dose, 1.0).draw(2, (24, 24)) for dose in (mas, 250))
        torch.testing.assert_close(drawn, at_250 * (250 / mas) ** 0.5)


def test_each_image_s_own_pixels_count() -> None:
    """Images of several spacings in one batch: each is drawn as it is alone, and has its own sigma."""
    spacings = ((2.5, 0.7, 0.7), (1.0, 0.9, 0.6), (2.5, 0.7, 0.7))
    batch = replace(_batch(3, (4, 24, 24)), spacing_mm=spacings)
    threat = CTNoise(Spectrum.soft())
    size = threat.size_of(100, batch)
    assert size.tolist() == pytest.approx([Spectrum.soft().sigma_hu(100, spacing[1:]) for spacing in spacings])
    noise = threat.start(batch, size, 0, 0)
    for place in range(3):
        alone = torch.tensor([place])
        assert torch.equal(threat.start(batch.pick(alone), size[alone], 0, 0), noise[alone])


def test_stated_pixels_go_before_the_image_s_own() -> None:
    batch = _batch(2, (24, 24), spacing=0.6)
    own, stated = CTNoise(Spectrum.soft()), CTNoise(Spectrum.soft(), spacing_mm=(0.6, 0.6))
    assert torch.equal(stated.start(batch, torch.ones(2), 0, 0), own.start(batch, torch.ones(2), 0, 0))
    assert torch.equal(stated.start(replace(batch, spacing_mm=None), torch.ones(2), 0, 0),
                       own.start(batch, torch.ones(2), 0, 0))


def test_noise_is_added_and_never_clipped() -> None:
    threat, batch = CTNoise(Spectrum.soft()), _batch(2, (24, 24), value=3071.0)
    delta = threat.start(batch, threat.size_of(10, batch), 0, 0).requires_grad_()
    images = threat.render(batch, delta)
    assert torch.equal(images, batch.images + delta)
    assert images.max() > 3071
    images.sum().backward()
    assert delta.grad is not None
    assert (delta.grad == 1).all()


def test_expected_power_adds_up_to_sigma() -> None:
    for spectrum, spacing in ((Spectrum.soft(), (1.0, 1.0)), (Spectrum.lung(), (0.7, 0.5))):
        for shape in ((24, 24), (17, 32), (33, 21)):
            power = Field(spectrum, shape, spacing).expected_power()
            assert power.shape == (shape[0], shape[1] // 2 + 1)
            twice = np.full(power.shape[1], 2.0)
            twice[[0, -1] if shape[1] % 2 == 0 else [0]] = 1.0
            assert (power * twice).sum() / np.prod(shape) == pytest.approx(1, rel=1e-12)
            assert power[0, 0] > 0      # a patch's mean varies, though S(0) = 0


def test_a_real_gaussian_a_frequency_has_half_the_variance_and_is_point_symmetric() -> None:
    """[B] A.2 as it is written, p = Re F^-1[g sqrt(S)] with g real: only the even part of g reaches the image."""
    field = Field(Spectrum.soft(), (24, 32), (1.0, 1.0), periodic=True)
    radius = np.hypot(np.fft.fftfreq(24)[:, None], np.fft.fftfreq(32))
    root = np.sqrt(Spectrum.soft().power(radius, 100)) / Spectrum.soft().sigma_hu(100, (1.0, 1.0))
    white = np.random.default_rng(0).normal(size=(600, 24, 32))
    drawn = np.fft.ifft2(white * root * np.sqrt(24 * 32)).real
    turned = np.roll(drawn[:, ::-1, ::-1], (1, 1), (1, 2))
    np.testing.assert_allclose(drawn, turned, atol=1e-12)
    whole = np.square(field.draw([str(at) for at in range(600)], (), 0, 0).numpy()).mean()
    assert np.square(drawn).mean() / whole == pytest.approx(0.5, rel=0.03)


def test_periodic_noise_has_the_power_of_the_spectrum() -> None:
    """`periodic`: |DFT|^2 / (Nx Ny) = S / (dx dy) at each frequency, and a mean of exactly 0."""
    field = Field(Spectrum.soft(), (24, 32), (1.0, 0.8), periodic=True)
    radius = np.hypot(np.fft.fftfreq(24, 1.0)[:, None], np.fft.rfftfreq(32, 0.8))
    wanted = Spectrum.soft().power(radius, 100) / 0.8 / Spectrum.soft().sigma_hu(100, (1.0, 0.8)) ** 2
    np.testing.assert_allclose(field.expected_power(), wanted, rtol=1e-9, atol=1e-12)
    noise = CTNoise(Spectrum.soft(), 10, (1.0, 0.8), periodic=True).draw(5, (3, 24, 32))
    assert noise.mean((-2, -1)).abs().max() < 1e-4
    assert noise.std() > 40


@pytest.mark.parametrize("new", [(24, 24), (5, 24, 24)])
def test_native_noise_goes_through_each_image_s_own_operators(new: tuple[int, ...]) -> None:
    """Alone and in a batch, though the grids below differ in shape from image to image."""
    grids = [_native((2.5, 0.7, 0.7)[-len(new):], new), _native((1.25, 0.6, 0.8)[-len(new):], new)]
    batch = replace(_batch(4, new), native=tuple(grids * 2))
    threat = CTNoise(Spectrum.soft(), domain="native")
    size = threat.size_of(100, batch)
    assert size.tolist() == pytest.approx([Spectrum.soft().sigma_hu(100, grid.spacing_mm[-2:])  # type: ignore[arg-type]
                                           for grid in grids * 2])
    noise = threat.start(batch, size, 0, 0)
    assert noise.shape == batch.images.shape
    for place in range(4):
        alone = torch.tensor([place])
        assert torch.equal(threat.start(batch.pick(alone), size[alone], 0, 0), noise[alone])
    assert (threat.image_sigma_hu(100, batch) < 0.85 * size).all()


def test_native_where_nothing_was_resampled_is_the_grid() -> None:
    shape = (3, 20, 24)
    native = NativeGrid((1.0, 1.0, 1.0), tuple(torch.eye(count) for count in shape))
    batch = replace(_batch(2, shape), native=(native, native))
    grid, below = CTNoise(Spectrum.soft()), CTNoise(Spectrum.soft(), domain="native")
    torch.testing.assert_close(below.start(batch, torch.ones(2), 0, 0), grid.start(batch, torch.ones(2), 0, 0))
    torch.testing.assert_close(below.image_sigma_hu(100, batch), grid.image_sigma_hu(100, batch))


def test_resampled_takes_each_axis_by_its_own_matrix() -> None:
    torch.manual_seed(0)
    noise, operators = torch.randn(4, 6, 7), (torch.randn(3, 4), torch.randn(5, 6), torch.randn(2, 7))
    wanted = torch.einsum("az,by,cx,zyx->abc", *operators, noise)
    torch.testing.assert_close(resampled(noise, operators), wanted)


def test_simulate_inserts_what_is_missing() -> None:
    batch = replace(_batch(2, (24, 24)), scan_mas=(200.0, 400.0))
    threat = CTNoise(Spectrum.soft(), mode="simulate")
    size, sigma = threat.size_of(100, batch), Spectrum.soft().sigma_hu
    for place, own in enumerate((200.0, 400.0)):
        assert float(size[place]) ** 2 == pytest.approx(sigma(100) ** 2 - sigma(own) ** 2, rel=1e-5)


@pytest.mark.parametrize(("scan_mas", "told"), [
    (None, "case 0: .* own is not known"), ((300.0, None), "case 1: .* own is not known"),
    ((300.0, 100.0), "case 1: .* own is 100 mAs"), ((99.0, 300.0), "case 0: .* own is 99 mAs")])
def test_simulate_needs_a_scan_of_a_higher_dose(scan_mas: tuple[float | None, ...] | None, told: str) -> None:
    batch = replace(_batch(2, (24, 24)), scan_mas=scan_mas)
    with pytest.raises(InputRefused, match=told):
        CTNoise(Spectrum.soft(), mode="simulate").size_of(100, batch)
    assert (CTNoise(Spectrum.soft(), mode="add").size_of(100, batch) > 0).all()


@pytest.mark.parametrize(("bounds", "told"), [
    (Bounds(0, 1), "have no unit and bounds 0 to 1. Are they HU?"),
    (Bounds(-1024, 3071), r"Are they HU\? Then state it: Bounds\(-1024, 3071, 'HU'\)"),
    (Bounds(0, 255, "grey level"), "the unit 'grey level'"), (Bounds(0, 1, "HU"), "Are they windowed or scaled?")])
def test_images_must_be_in_hu(bounds: Bounds, told: str) -> None:
    batch = replace(_batch(2, (24, 24)), bounds=bounds)
    for use in (lambda noise: noise.size_of(100, batch), lambda noise: noise.start(batch, torch.ones(2), 0, 0)):
        with pytest.raises(InputRefused, match=told):
            use(CTNoise(Spectrum.soft()))


def test_unknown_grids_are_refused_with_the_case() -> None:
    batch = replace(_batch(2, (24, 24)), spacing_mm=((1.0, 1.0), None))
    with pytest.raises(InputRefused, match="case 1: its pixel spacing is not known"):
        CTNoise(Spectrum.soft()).size_of(100, batch)
    with pytest.raises(InputRefused, match="case 0: its pixel spacing is not known"):
        CTNoise(Spectrum.soft()).start(replace(batch, spacing_mm=None), torch.ones(2), 0, 0)
    for native in (None, (_native((0.7, 0.7), (24, 24)), None)):
        with pytest.raises(InputRefused, match=f"case {0 if native is None else 1}: domain 'native' needs"):
            CTNoise(Spectrum.soft(), domain="native").size_of(100, replace(batch, native=native))


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="projection is one of slice, paper"):
        CTNoise(Spectrum.soft(), projection="sphere")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="domain is one of grid, native; got 'voxel'"):
        CTNoise(Spectrum.soft(), domain="voxel")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="positive numbers in mm"):
        CTNoise(Spectrum.soft(), spacing_mm=-1.0)
    with pytest.raises(UsageError, match="draw needs spacing_mm"):
        CTNoise(Spectrum.soft()).draw(1, (24, 24))
    with pytest.raises(UsageError, match="a shape"):
        CTNoise(Spectrum.soft(), spacing_mm=1.0).draw(1, (24,))
    high = Spectrum("high", "", 100, (0, 2, 3), (0, 0, 5))
    with pytest.raises(InputRefused, match="'high' has no power below the Nyquist frequency"):
        Field(high, (24, 24), (1.0, 1.0)).unit_power()


def test_a_grid_that_cannot_hold_the_spectrum_warns() -> None:
    with pytest.warns(SpectrumWarning, match="not scaled up"):
        noise = CTNoise(Spectrum.lung(), 250, 1.0).draw(100, (24, 24))
    assert noise.std() == pytest.approx(Spectrum.lung().sigma_hu(250, 1.0), rel=0.03)
    with pytest.warns(SpectrumWarning, match="not scaled up"):
        CTNoise(Spectrum.lung()).start(_batch(1, (24, 24)), torch.ones(1), 0, 0)
    short = Spectrum("short", "", 100, (0, 0.2, 0.4), (0, 100, 20))
    with pytest.warns(SpectrumWarning, match="taken as zero from there"):
        CTNoise(short, 100, 1.0).draw(1, (24, 24))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CTNoise(Spectrum.soft()).start(_batch(1, (24, 24)), torch.ones(1), 0, 0)


def test_the_thickness_of_slices_is_their_distance_and_not_a_pixels_width() -> None:
    images = torch.zeros(1, 1, 3, 8, 8)
    noise = CTNoise(replace(Spectrum.soft(), slice_thickness_mm=2.0))
    noise.start(Batch(images, ("a",), Bounds(-1000, 400, "HU"), ((2.0, 0.8, 0.8),)), torch.ones(1), 0, 0)
    with pytest.warns(ThicknessWarning, match="slices of 5 mm"):
        noise.start(Batch(images, ("a",), Bounds(-1000, 400, "HU"), ((5.0, 0.8, 2.0),)), torch.ones(1), 0, 0)
