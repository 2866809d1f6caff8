"""The rings of a slice's spectrum, the sets of noise that keep their power, and what makes a noise plausible."""

import math

import pytest
import torch
from torch import Tensor

from steadyread.threats import Spectrum
from steadyread.threats import plausible as module
from steadyread.threats.drawing import Field
from steadyread.threats.plausible import PlausibleSet, plausibility, plausible_set
from steadyread.threats.rings import RingSet, onto_rings, pooled_set, ring_power, ring_set, rings_of, steepest

SHAPES = [(24, 24), (5, 24, 24), (3, 17, 30), (4, 16, 25)]
SOFT = Spectrum.soft()


def field_of(shape: tuple[int, ...], spacing: tuple[float, float] = (1.0, 1.0)) -> Field:
    return Field(SOFT, (shape[-2], shape[-1]), spacing)


def draws(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return field_of(shape).draw([f"{place}" for place in range(n)], shape[:-2], seed, 0)[:, None]


def off_target(kept: RingSet, noise: Tensor, size: float) -> float:
    return float((ring_power(noise, kept.rings) / (size**2 * kept.power) - 1).abs().max())


@pytest.mark.parametrize("shape", [(24, 24), (17, 30), (16, 25), (5, 64), (1, 8), (7, 7)])
def test_rings_share_out_every_frequency(shape: tuple[int, int]) -> None:
    rings = rings_of(shape)
    white = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    power = ring_power(white, rings)
    whole = torch.fft.fft2(white).abs().square()
    assert torch.allclose(power.sum(-1), whole.sum((-1, -2)))
    assert torch.allclose(power[:, 0], whole[:, 0, 0])
    assert (rings.sums(torch.ones(rings.index.shape)) > 0).all()
    assert int(rings.index.max()) == rings.count - 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_target_is_what_draws_have(shape: tuple[int, ...]) -> None:
    """Its sum is the variance of a draw, and the mean over draws is each ring's."""
    kept = ring_set(field_of(shape))
    pixels = shape[-1] * shape[-2]
    assert float(kept.power.sum()) == pytest.approx(pixels**2, rel=1e-4)
    mean = ring_power(draws(1500 if len(shape) == 2 else 400, shape), kept.rings).flatten(0, -2).mean(0)
    assert float((mean / kept.power - 1).abs()[1:].max()) < 0.08


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("start", ["inside", "on", "outside", "zero"])
def test_projection_holds_every_ring_of_every_slice(shape: tuple[int, ...], start: str) -> None:
    kept, drawn = ring_set(field_of(shape)), draws(4, shape)
    noise = {"inside": 0.1 * drawn, "on": kept.nearest(20 * drawn, torch.full((4,), 20.0)),
             "outside": 1e4 * drawn, "zero": torch.zeros_like(drawn)}[start]
    size = torch.full((4,), 20.0)
    projected = kept.nearest(noise, size)
    assert off_target(kept, projected, 20.0) < 1e-4
    sigma = projected.square().mean((-1, -2)).sqrt()
    assert torch.allclose(sigma, torch.full_like(sigma, 20.0), rtol=1e-4)
    assert torch.allclose(kept.nearest(projected, size), projected, atol=1e-3)
    if start == "on":
        assert torch.allclose(projected, noise, atol=1e-3)


def test_projection_is_the_nearest_point() -> None:
    kept, noise, size = ring_set(field_of((16, 16))), draws(1, (16, 16)) * 7, torch.ones(1)
    nearest = float((kept.nearest(noise, size) - noise).norm())
    others = kept.nearest(draws(300, (16, 16), seed=5) + 3 * noise, torch.ones(300))
    assert float((others - noise).flatten(1).norm(dim=1).min()) >= nearest - 1e-4


def test_a_slice_without_power_and_a_ring_without_power() -> None:
    """Phases are nobody's there: the same ones every time, and the other slices stay as they are."""
    kept, noise = ring_set(field_of((3, 24, 24))), draws(2, (3, 24, 24))
    noise[0, 0, 1] = 0
    noise[1, 0, 2] -= noise[1, 0, 2].mean()
    projected = kept.nearest(noise, torch.ones(2))
    assert off_target(kept, projected, 1.0) < 1e-3
    assert torch.equal(kept.nearest(noise, torch.ones(2)), projected)
    assert torch.allclose(projected[0, 0, 0], kept.nearest(noise[:1, :, :1], torch.ones(1))[0, 0, 0], atol=1e-5)


def test_a_ring_that_should_be_empty_is_emptied() -> None:
    rings = rings_of((16, 16))
    power = torch.ones(rings.count)
    power[3:] = 0
    found = ring_power(onto_rings(torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(1)), power, rings),
                       rings)
    assert torch.allclose(found, power.expand_as(found), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_steepest_is_the_optimum_of_a_linear_model(shape: tuple[int, ...]) -> None:
    """<g, p> at most the sum over slices and rings of sqrt(power G) / (ny nx), and no point of the set above."""
    kept = ring_set(field_of(shape))
    gradient = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(2))
    best = steepest(gradient, kept.power, kept.rings)
    reached = float((best * gradient).sum())
    closed = float((kept.power * ring_power(gradient, kept.rings)).sqrt().sum()) / (shape[-1] * shape[-2])
    assert reached == pytest.approx(closed, rel=1e-5)
    assert off_target(kept, best, 1.0) < 1e-4
    others = kept.nearest(draws(100, shape) + 2 * best, torch.ones(100))
    assert float((others * gradient).flatten(1).sum(1).max()) <= reached * (1 + 1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-20, 1e20, 1e35])
def test_steepest_knows_no_scale_of_the_gradient(scale: float) -> None:
    kept = ring_set(field_of((5, 24, 24)))
    gradient = torch.randn(1, 1, 5, 24, 24, generator=torch.Generator().manual_seed(2))
    expected = steepest(gradient, kept.power, kept.rings) if scale else torch.zeros_like(gradient)
    torch.testing.assert_close(steepest(gradient * scale, kept.power, kept.rings), expected, rtol=1e-4, atol=1e-4)


def test_unequal_pixels_have_rings_of_their_own() -> None:
    """Rings follow the frequency in 1/mm, not the index."""
    rings = rings_of((24, 24), (2.0, 1.0))
    assert rings.index[8, 0] == rings.index[0, 4]
    kept = ring_set(field_of((24, 24), (2.0, 1.0)))
    assert float(kept.power.sum()) == pytest.approx(576**2, rel=1e-4)


@pytest.mark.parametrize("modulus", [True, False])
def test_the_paper_s_projection_pools_its_samples(modulus: bool) -> None:
    """The mean modulus inflates sigma by 2 / sqrt(pi), the root mean square does not; and one image may hoard."""
    shape = (5, 24, 24)
    kept = pooled_set(field_of(shape), 1, modulus)
    noise, size = 20 * draws(60, shape), torch.full((60,), 20.0)
    projected = kept.nearest(noise, size)
    sigma = float(projected.square().mean().sqrt())
    assert sigma == pytest.approx(20 * (2 / math.sqrt(math.pi) if modulus else 1), rel=0.01)
    assert float(projected.mean((-1, -2)).abs().max()) < 1e-3     # 0/0 at the zero frequency is 0
    assert torch.allclose(kept.nearest(projected, size), projected, rtol=1e-3, atol=1e-2)
    noise[0] *= 10
    hoarded = kept.nearest(noise, size).square().mean((1, 2, 3, 4)).sqrt()
    assert hoarded[0] > 3 * hoarded[1:].max()
    both = kept.nearest(torch.stack([noise, noise.flip(0)]), size)
    assert torch.allclose(both[1].flip(0), both[0], rtol=1e-3, atol=1e-3)


def test_plausibility_of_noise_that_is_known() -> None:
    white = torch.randn(50, 1, 9, 24, 24, generator=torch.Generator().manual_seed(3)) * 4
    told = plausibility(white)
    assert float(told["sigma_hu"].mean()) == pytest.approx(4, rel=0.01)
    assert abs(float(told["kurtosis"].mean())) < 0.05
    assert abs(float(told["z_correlation"].mean())) < 0.01
    assert 4 < float(told["largest_local_sigma_hu"].mean()) < 6
    assert torch.isnan(told["ring_error"]).all()
    piled = white.clone()
    piled[:, :, 2:7, 8:13, 8:13] *= 3
    assert float(plausibility(piled)["largest_local_sigma_hu"].mean()) == pytest.approx(12, rel=0.1)
    assert (plausibility(piled)["kurtosis"] > told["kurtosis"] + 0.5).all()
    same = white[:, :, :1].expand(-1, -1, 9, -1, -1)
    assert torch.allclose(plausibility(same)["z_correlation"], torch.ones(50), atol=1e-5)
    assert torch.isnan(plausibility(white[:, :, 0])["z_correlation"]).all()


def test_the_box_is_in_mm() -> None:
    """A patch of 5 mm fills a box of 5 voxels of 1 mm, and a box of 2 mm voxels only in part."""
    noise = torch.zeros(1, 1, 24, 24)
    noise[:, :, 8:13, 8:13] = 1
    assert float(plausibility(noise)["largest_local_sigma_hu"]) == pytest.approx(1)
    assert float(plausibility(noise, (0.5, 0.5))["largest_local_sigma_hu"]) == pytest.approx(0.5)


def hostile(shape: tuple[int, ...], n: int = 24) -> Tensor:
    """Noise piled on the middle, with heavy tails, alike in all slices."""
    noise = draws(n, shape)
    if len(shape) == 3:
        noise = noise + 0.5 * noise[:, :, :1]
    at = [torch.linspace(-1, 1, length) for length in shape]
    far = sum(axis.square() for axis in torch.meshgrid(*at, indexing="ij"))
    return noise * (1 + 4 * torch.exp(-4 * torch.as_tensor(far)))


@pytest.mark.parametrize("shape", [(24, 24), (5, 24, 24), (12, 20, 20), (1, 24, 24)])
def test_plausible_noise_is_inside_every_limit(shape: tuple[int, ...]) -> None:
    kept = plausible_set(field_of(shape), shape[:-2], (1.0,) * len(shape))
    noise = hostile(shape)
    assert not kept.holds(noise).any()
    size = torch.linspace(5, 50, len(noise))
    projected = kept.nearest(noise, size)
    told = plausibility(projected)
    assert kept.holds(projected / size.reshape(-1, *[1] * (len(shape) + 1))).all()
    assert (told["largest_local_sigma_hu"] / size <= kept.limits.local[1] + 1e-5).all()
    assert (told["kurtosis"] <= kept.limits.kurtosis[1] + 1e-4).all()
    assert (kept.error(projected, size) < 1e-3).all()
    assert torch.allclose(told["sigma_hu"], size, rtol=1e-3)
    assert torch.allclose(kept.nearest(projected, size), projected, rtol=1e-3, atol=1e-3)
    if len(shape) == 3 and shape[0] > 1:
        assert kept.limits.along_z is not None
        assert (told["z_correlation"] <= kept.limits.along_z[1] + 1e-4).all()
    kinship = torch.nn.functional.cosine_similarity(projected.flatten(1), noise.flatten(1))
    assert (kinship > 0.5).all()


def test_most_random_draws_are_inside() -> None:
    kept = plausible_set(field_of((5, 24, 24)), (5,), (1.0, 1.0, 1.0))
    assert 0.8 < float(kept.holds(draws(1000, (5, 24, 24), seed=9)).double().mean()) < 0.92


def figures(noise: torch.Tensor) -> torch.Tensor:
    told = plausibility(noise)
    return torch.stack([told[name] / (told["sigma_hu"] if name.endswith("_hu") else 1)
                        for name in ("largest_local_sigma_hu", "kurtosis", "z_correlation")], dim=1).double()


def test_plausible_noise_is_inside_the_joint_range_of_all_three_figures() -> None:
    shape = (5, 24, 24)
    drawn = figures(draws(4000, shape, seed=3))
    centre, inverse = drawn.mean(0), torch.linalg.inv(drawn.T.cov())

    def distance(values: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ni,ij,nj->n", values - centre, inverse, values - centre)

    kept = plausible_set(field_of(shape), shape[:-2], (1.0,) * 3)
    projected = kept.nearest(hostile(shape), torch.ones(24))
    assert (distance(figures(projected)) <= torch.quantile(distance(drawn), 0.99)).all()


def test_what_no_round_corrects_is_mixed_with_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 0)
    kept: PlausibleSet = plausible_set(field_of((5, 24, 24)), (5,), (1.0, 1.0, 1.0))
    projected = kept.nearest(hostile((5, 24, 24)), torch.ones(24))
    assert kept.holds(projected).all()
    zero = kept.nearest(torch.zeros(1, 1, 5, 24, 24), torch.ones(1))
    assert kept.holds(zero).all()


def test_rings_are_as_wide_as_the_frequency_step_of_the_shorter_side():
    rings = rings_of((8, 16), (1.0, 1.0))         # steps of 1/8 and 1/16 per mm
    assert rings.count == 7                       # up to sqrt(1/2) per mm, 5.7 steps of 1/8
    assert rings.index[:5, 0].tolist() == [0, 1, 2, 3, 4]
    assert rings.index[0].tolist() == [0, 1, 1, 2, 2, 2, 3, 4, 4]
    assert rings_of((8, 16), (2.0, 1.0)).count == 10      # both sides 16 mm: up to 0.56 per mm, 8.9 steps
