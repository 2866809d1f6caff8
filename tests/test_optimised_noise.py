"""Optimised CT noise: the exact optimum of a linear model, noise that keeps what it must, and honest counts."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from steadyread.attacks.optimised_noise import OptimisedCTNoise, optimised_ct_noise
from steadyread.attacks.random_noise import random_ct_noise
from steadyread.attacks.search import Search, climb
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import InputRefused, UsageError
from steadyread.threats import CTNoise, Linf, Spectrum
from steadyread.threats.drawing import Field
from steadyread.threats.plausible import plausible_set
from steadyread.threats.rings import ring_power, ring_set
from steadyread.types import Batch, Bounds, NativeGrid

BOUNDS = Bounds(-1024.0, 3071.0, "HU")
NOISE = CTNoise(Spectrum.soft(), mas=100, spacing_mm=1.0)
SHAPES = [(20, 20), (3, 17, 24)]
VOLUME = (5, 24, 24)


def _linear(shape: tuple[int, ...], bias: float = 0.0) -> tuple[Classifier, Tensor]:
    """One logit w . x + bias, and w."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 1))
    layer = module[1]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(4)) / 1000
        layer.weight.copy_(weight.reshape(1, -1))
        layer.bias.fill_(bias)
    return Classifier(module, BOUNDS, "logit"), weight


def _net(seed: int = 0) -> Classifier:
    """A small max-pooled network on windowed volumes, its logits centred on the images of `_volumes`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
                               nn.Conv3d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2)), nn.Flatten(),
                               nn.Linear(8 * 5 * 36, 1))
    classifier = Classifier(module, BOUNDS, "logit", normalise=lambda x: (x.clamp(-1000, 400) + 300) / 700)
    with torch.no_grad():
        logits = classifier.logits(_volumes(40).images)[:, 1]
        layer = module[-1]
        assert isinstance(layer, nn.Linear)
        layer.weight.mul_(2 / logits.std())
        layer.bias.sub_(classifier.logits(_volumes(40).images)[:, 1].median())
    return classifier


def _volumes(n: int, shape: tuple[int, ...] = VOLUME) -> Batch:
    """Blobs of different sizes in lung, with the scan's own noise."""
    generator = torch.Generator().manual_seed(5)
    at = torch.meshgrid(*(torch.arange(length) - (length - 1) / 2 for length in shape), indexing="ij")
    far = torch.stack(at).square().sum(0).sqrt()
    radius = 3 + 7 * torch.rand(n, *[1] * len(shape), generator=generator)
    images = -850 + 900 * torch.sigmoid(radius - far) + 20 * torch.randn(n, *shape, generator=generator)
    return Batch(images[:, None], tuple(f"case {place}" for place in range(n)), BOUNDS,
                 ((1.0,) * len(shape),) * n)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [0, 1])
def test_reaches_the_closed_form_on_a_linear_model(shape: tuple[int, ...], side: int) -> None:
    """The margin falls by the sum over slices and rings of sqrt(power G) / (ny nx), within 0.1 %."""
    classifier, weight = _linear(shape, bias=1e4 * (2 * side - 1))
    batch, reference = _volumes(3, shape), torch.full((3,), side)
    found = optimised_ct_noise(NOISE)(classifier, batch, reference, 0)
    kept, sigma = ring_set(Field(NOISE.spectrum, (shape[-2], shape[-1]), (1.0, 1.0))), NOISE.sigma_hu(100)
    most = sigma * float((kept.power * ring_power(weight, kept.rings)).sqrt().sum()) / (shape[-1] * shape[-2])
    noise = found.images - batch.images
    assert torch.allclose((noise * weight).flatten(1).sum(1) * (1 - 2 * side), torch.full((3,), most), rtol=1e-3)
    assert (found.columns()["backwards"] == 20).all()


@pytest.mark.parametrize("strength", ["rings", "plausible"])
def test_keeps_what_it_must_and_beats_random_noise(strength: str) -> None:
    classifier, batch = _net(), _volumes(40)
    reference = prediction_of(classifier.examine(batch.images))
    attack = optimised_ct_noise(NOISE, strength)
    columns = attack(classifier, batch, reference, 0).columns()
    random = random_ct_noise(NOISE, (100,), draws=5)(classifier, batch, reference, 0)[0].columns()
    sigma = NOISE.sigma_hu(100)
    assert torch.allclose(columns["sigma_hu"], torch.full((40,), sigma), rtol=1e-3)
    assert (columns["ring_error"] < 0.01).all()
    assert columns["flips"].sum() > random["flips"].clamp(max=1).sum()
    assert (columns["margin"] < random["margin"] + 1e-4)[columns["flips"] == 0].all()
    assert torch.isnan(columns["found_size"]).all()
    assert (columns["trials"] == 1).all()
    assert (columns["backwards"] <= 20).all()
    assert (columns["forwards"] <= 21).all()
    if strength == "plausible":
        limits = plausible_set(Field(NOISE.spectrum, (24, 24), (1.0, 1.0)), (5,), (1.0, 1.0, 1.0)).limits
        assert limits.along_z is not None
        assert (columns["kurtosis"] <= limits.kurtosis[1] + 1e-3).all()
        assert (columns["largest_local_sigma_hu"] <= sigma * limits.local[1] + 1e-3).all()
        assert (columns["z_correlation"] <= limits.along_z[1] + 1e-3).all()


def test_margins_and_flips_are_those_of_the_images() -> None:
    classifier, batch = _net(), _volumes(30)
    reference = prediction_of(classifier.examine(batch.images))
    found = optimised_ct_noise(NOISE, "plausible", starts=2)(classifier, batch, reference, 1)
    columns = found.columns()
    margin = classifier.margins(found.images, reference).detach()
    assert torch.allclose(columns["margin"], margin, atol=1e-4)
    assert torch.equal(columns["flips"] > 0, columns["margin"] < 0)


def test_every_start_is_tried_and_counted() -> None:
    """SAR counts starts, so that a flip by one of them ends no other; more starts flip no fewer images."""
    classifier, batch = _net(), _volumes(30)
    reference = prediction_of(classifier.examine(batch.images))
    one, three = (optimised_ct_noise(replace(NOISE, mas=300), starts=starts)(
        classifier, batch, reference, 0).columns() for starts in (1, 3))
    assert (three["trials"] == 3).all()
    assert (three["flips"] <= 3).all()
    assert (three["flips"] >= one["flips"]).all()
    assert (three["flips"] == 3).any()


def test_the_same_alone_and_in_a_batch() -> None:
    classifier, batch = _net(), _volumes(12)
    reference = prediction_of(classifier.examine(batch.images))
    attack = optimised_ct_noise(NOISE, "rings", steps=6)
    together = attack(classifier, batch, reference, 0).columns()
    for at in (0, 7):
        place = torch.tensor([at])
        alone = attack(classifier, batch.pick(place), reference[place], 0).columns()
        assert float(alone["margin"][0]) == pytest.approx(float(together["margin"][at]), abs=0.02)
        assert alone["flips"][0] == together["flips"][at]


def test_pixels_of_several_sizes_share_a_batch() -> None:
    """Each image keeps the power of its own grid."""
    classifier, batch = _net(), _volumes(6)
    mixed = replace(batch, spacing_mm=((1.0, 1.0, 1.0), (2.5, 0.7, 0.7)) * 3)
    noise = replace(NOISE, spacing_mm=None)
    columns = optimised_ct_noise(noise, "plausible", steps=3)(classifier, mixed, torch.zeros(6).long(), 0).columns()
    assert torch.allclose(columns["sigma_hu"], noise.size_of(100, mixed), rtol=1e-3)
    assert (columns["ring_error"] < 0.01).all()


def test_an_image_without_a_gradient_keeps_its_start() -> None:
    classifier, weight = _linear((20, 20), bias=1.0)
    layer = classifier.module[1]  # type: ignore[index]
    with torch.no_grad():
        layer.weight.zero_()
    found = optimised_ct_noise(NOISE, steps=3)(classifier, _volumes(2, weight.shape), torch.ones(2).long(), 0)
    columns = found.columns()
    assert torch.allclose(columns["sigma_hu"], torch.full((2,), NOISE.sigma_hu(100)), rtol=1e-3)
    assert (columns["flips"] == 0).all()


def test_every_start_counts_at_most_the_starts_where_zero_is_allowed() -> None:
    classifier, weight = _linear((20, 20))
    batch = _volumes(8, weight.shape)
    wrong = 1 - prediction_of(classifier.examine(batch.images))
    found = climb(classifier, batch, wrong, Linf(1.0), Search(1, 1.0, 3, random_start=True, every_start=True),
                  torch.ones(8), 0)
    assert (found.flips <= found.trials).all()
    assert found.flipped.all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="strength is one of rings"):
        optimised_ct_noise(NOISE, "ring")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="PaperCTNoise"):
        OptimisedCTNoise(replace(NOISE, projection="paper"), Search(1, 1.0))
    classifier, batch = _net(), _volumes(2)
    native = NativeGrid((1.0,) * 3, tuple(torch.eye(length) for length in VOLUME))
    with pytest.raises(InputRefused, match="drawn only"):
        optimised_ct_noise(replace(NOISE, domain="native", spacing_mm=None))(
            classifier, replace(batch, native=(native,) * 2), torch.zeros(2).long(), 0)
    grey = Classifier(classifier.module, Bounds(0.0, 255.0, "grey level"), "logit")
    with pytest.raises(InputRefused, match="HU"):
        optimised_ct_noise(NOISE)(grey, replace(batch, bounds=grey.valid), torch.zeros(2).long(), 0)
    with pytest.raises(UsageError, match="steps >= 0"):
        Search(3, 1.0, last_step=-1.0)
