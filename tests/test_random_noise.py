"""Random CT noise and flip probabilities: exact on linear classifiers, the same alone and in a batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import fft
from torch import nn

from steadyread.attacks.flip_probability import flip_probability, margins_under_noise
from steadyread.attacks.random_noise import Noisy, _worse, random_ct_noise, sizes_at
from steadyread.attacks.recipe import attack
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import InputRefused, UsageError
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Batch, Bounds, NativeGrid

BOUNDS = Bounds(-1024.0, 3071.0, "HU")
NOISE = CTNoise(Spectrum.soft(), spacing_mm=1.0)
SHAPES = [(12, 12), (3, 10, 12)]


def linear(shape, seed=0):
    """One logit, w . x / 100 + b."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 1))
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        module[1].weight.copy_(torch.from_numpy(rng.normal(0, 0.002, (1, math.prod(shape)))))
        module[1].bias.fill_(0.0)
    return Classifier(module, BOUNDS, "logit")


def batch_of(n, shape, seed=1):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.normal(0, 10, (n, 1, *shape)).astype("f4"))
    return Batch(images, tuple(f"case-{at}" for at in range(n)), BOUNDS)


def deviation(classifier, shape, mas):
    """The standard deviation of w . noise, exactly: noise is linear in its white draws, slice by slice."""
    noise = NOISE.start(batch_of(4000, shape), torch.ones(4000), 7, 0) * NOISE.sigma_hu(mas)
    with torch.no_grad():
        return float((classifier.module[1](noise.flatten(1))).std())


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_margins_have_no_drift_and_the_jitter_of_their_weights(shape):
    classifier, batch = linear(shape), batch_of(6, shape)
    reference = prediction_of(classifier.examine(batch.images))
    found = flip_probability(classifier, batch, reference, NOISE, mas=(10, 100), draws=400)
    for at, mas in enumerate((10, 100)):
        sd = deviation(classifier, shape, mas)
        assert found.jitter[:, at].numpy() == pytest.approx(sd, rel=0.15)
        assert (found.drift[:, at].abs() < 4 * sd / math.sqrt(400)).all()
        margin = classifier.margins(batch.images, reference).detach().double()
        exact = torch.special.ndtr(-margin / sd)
        assert (found.probability[:, at] - exact).abs().max() < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_margin_has_its_exact_probability_from_few_draws(shape):
    classifier, batch = linear(shape), batch_of(20, shape)
    reference = prediction_of(classifier.examine(batch.images))
    found = flip_probability(classifier, batch, reference, NOISE, mas=(10, 100), draws=8)
    field = NOISE._field(shape, (1.0, 1.0))
    weights = classifier.module[1].weight.detach().double().numpy().reshape(-1, shape[-2], shape[-1])
    white = [fft.irfft2(fft.rfft2(np.eye(1, math.prod(field.whole), place).reshape(field.whole))
                        * np.sqrt(field.unit_power()[:, :field.whole[1] // 2 + 1]), s=field.whole)
             for place in range(math.prod(field.whole))]     # what noise is made of, without `variance_along`
    responses = np.stack([one[:shape[-2], :shape[-1]] for one in white])
    unit = math.sqrt(sum(((responses * part).sum((1, 2))**2).sum() for part in weights))
    margin = classifier.margins(batch.images, reference).detach().double()
    for at, mas in enumerate((10, 100)):
        exact = torch.special.ndtr(-margin / (unit * NOISE.sigma_hu(mas)))
        for one in (found.probability, found.low, found.high):
            assert (one[:, at] - exact).abs().max() < 1e-3
        assert found.drift[:, at].abs().max() < 1e-4


class Bent(nn.Module):
    """w . x + bend (v . x)^2: what the noise does is part linear, part not; without `taught` no gradient."""

    def __init__(self, bend, taught=True):
        super().__init__()
        rng = np.random.default_rng(5)
        self.lines = nn.Parameter(torch.from_numpy(rng.normal(0, 0.002, (2, 144)).astype("f4")))
        self.bend, self.taught = bend, taught

    def forward(self, images):
        with torch.set_grad_enabled(self.taught and torch.is_grad_enabled()):
            one, other = (images.flatten(1) @ self.lines.T).unbind(1)
            return one + self.bend * other**2


def test_the_gradient_sharpens_the_probability_and_the_interval_still_holds_it():
    image = batch_of(1, (12, 12)).images
    batch = Batch(image.repeat(300, 1, 1, 1), tuple(f"copy-{at}" for at in range(300)), BOUNDS)
    helped, alone = (Classifier(Bent(0.3, taught), BOUNDS, "logit") for taught in (True, False))
    reference = prediction_of(helped.examine(batch.images))
    found, plain = (flip_probability(one, batch, reference, NOISE, mas=(10,), draws=16) for one in (helped, alone))
    _, many = margins_under_noise(helped, batch, reference, NOISE, sizes_at(NOISE, (10,), batch), 100, 1)
    truth = float((many < 0).double().mean())      # of 30,000 draws
    assert 0.02 < truth < 0.5
    error, before = (float((one.probability - truth).square().mean().sqrt()) for one in (found, plain))
    assert error < 0.7 * before
    assert ((found.low <= truth) & (truth <= found.high)).double().mean() > 0.92
    assert torch.equal(found.flips, plain.flips)
    _, few = margins_under_noise(alone, batch, reference, NOISE, sizes_at(NOISE, (10,), batch), 16, 0)
    assert torch.allclose(plain.jitter, few.double().std(2))     # as it always was where no gradient is to be had


def test_the_variance_along_weights_is_that_of_resampled_draws():
    rng = np.random.default_rng(3)
    operators = tuple(torch.from_numpy(rng.uniform(0, 0.4, (new, old)).astype("f4")) for new, old in
                      ((4, 3), (9, 12), (10, 14)))
    native = NativeGrid((2.0, 0.8, 0.8), operators)
    batch = replace(batch_of(3000, (4, 9, 10)), native=(native,) * 3000)
    noise = CTNoise(Spectrum.soft(), domain="native")
    weights = torch.from_numpy(rng.normal(0, 1, (1, 1, 4, 9, 10)).astype("f4"))
    drawn = (noise.start(batch, torch.ones(3000), 0, 0) * weights).flatten(1).sum(1)
    exact = float(noise.variance_along(batch.pick(torch.tensor([0])), weights)[0])
    assert float(drawn.var()) == pytest.approx(exact, rel=0.12)


def test_probabilities_are_the_same_alone_and_in_a_batch():
    classifier, batch = Classifier(Bent(0.3), BOUNDS, "logit"), batch_of(5, (12, 12))
    reference = torch.tensor([0, 1, 0, 1, 0])
    together = flip_probability(classifier, batch, reference, NOISE, (10, 50), draws=9, seed=3)
    for at in range(5):
        place = torch.tensor([at])
        alone = flip_probability(classifier, batch.pick(place), reference[place], NOISE, (10, 50), draws=9, seed=3)
        for name in ("probability", "low", "high", "drift", "jitter"):
            assert torch.allclose(getattr(alone, name)[0], getattr(together, name)[at], atol=1e-5)


def test_the_passes_are_as_stated():
    classifier, batch = Classifier(Bent(0.3), BOUNDS, "logit"), batch_of(3, (12, 12))
    flip_probability(classifier, batch, torch.tensor([0, 1, 0]), NOISE, (10, 50), draws=9)
    assert (classifier.passes.forwards, classifier.passes.backwards) == (3 * (2 * 9 + 1), 3)


def test_doses_share_their_draws():
    classifier, batch = linear((12, 12)), batch_of(3, (12, 12))
    found = random_ct_noise(NOISE, (10, 1000), draws=3)(classifier, batch, torch.zeros(3, dtype=torch.long), 0)
    low, high = ((one.images - batch.images) for one in found)
    shifts = [one.margins - one.clean[:, None] for one in found]
    assert torch.allclose(shifts[0], shifts[1] * 10, rtol=1e-3, atol=1e-5)
    assert low.std() > 5 * high.std()


def test_the_same_alone_and_in_a_batch():
    classifier, batch = linear((3, 10, 12)), batch_of(5, (3, 10, 12))
    reference = torch.tensor([0, 1, 0, 1, 0])
    together = random_ct_noise(NOISE, (50,), draws=4)(classifier, batch, reference, 3)[0]
    for at in range(5):
        place = torch.tensor([at])
        alone = random_ct_noise(NOISE, (50,), draws=4)(classifier, batch.pick(place), reference[place], 3)[0]
        assert torch.equal(alone.images[0], together.images[at])
        assert torch.allclose(alone.margins[0], together.margins[at], atol=1e-5)


def test_columns_count_every_draw_and_show_the_worst():
    classifier, batch = linear((12, 12)), batch_of(8, (12, 12))
    reference = prediction_of(classifier.examine(batch.images))
    found = random_ct_noise(NOISE, (10, 500), draws=20)(classifier, batch, reference, 0)
    for one in found:
        columns = one.columns()
        assert (columns["trials"] == 20).all()
        assert torch.equal(columns["flips"], (one.margins < 0).sum(1))
        assert torch.allclose(columns["margin"], one.margins.amin(1))
        assert torch.allclose(classifier.margins(one.images, reference), one.margin, atol=1e-5)
        assert torch.allclose(columns["sigma_hu"], torch.full((8,), NOISE.sigma_hu(10 if one is found[0] else 500)),
                              rtol=0.2)


def test_the_module_is_left_as_found():
    classifier, batch = linear((12, 12)), batch_of(2, (12, 12))
    classifier.module.train()
    flip_probability(classifier, batch, torch.tensor([0, 1]), NOISE, draws=8)
    assert classifier.module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in classifier.module.parameters())


def test_bad_input_is_refused():
    classifier, batch = linear((12, 12)), batch_of(2, (12, 12))
    with pytest.raises(UsageError, match="at least 8 draws"):
        flip_probability(classifier, batch, torch.tensor([0, 1]), NOISE, draws=3)
    with pytest.raises(UsageError, match="doses that differ"):
        random_ct_noise(NOISE, (10, 10))
    with pytest.raises(UsageError):
        flip_probability(classifier, batch, torch.tensor([0, 1]), NOISE, mas=(0,))
    with pytest.raises(UsageError, match="takes doses"):
        flip_probability(classifier, batch, torch.tensor([0, 1]), NOISE, mas=[])
    with pytest.raises(UsageError, match="RandomCTNoise itself"):
        attack(classifier, batch, torch.tensor([0, 1]), random_ct_noise(NOISE))
    with pytest.raises(InputRefused, match="one channel"):
        random_ct_noise(NOISE)(classifier, Batch(torch.zeros(1, 3, 12, 12), ("a",), BOUNDS), torch.tensor([0]))
    grey = Classifier(classifier.module, Bounds(0, 255, "grey level"), "logit")
    with pytest.raises(InputRefused, match="HU"):
        flip_probability(grey, batch.images.abs(), torch.tensor([0, 1]), NOISE)


def test_the_figures_of_native_noise_go_by_each_images_own_spacing():
    """The box of 5 mm over which local sigma is taken was the first image's."""
    plain, operators = batch_of(2, (12, 12)), (torch.eye(12), torch.eye(12))
    batch = replace(plain, spacing_mm=((0.5, 0.5), (2.0, 2.0)), native=(NativeGrid((0.5, 0.5), operators),
                                                                        NativeGrid((2.0, 2.0), operators)))
    classifier, attack_ = linear((12, 12)), random_ct_noise(CTNoise(Spectrum.soft(), domain="native"), (100,), 2)
    together, = attack_(classifier, batch, torch.zeros(2, dtype=torch.int64))
    for place in (0, 1):
        alone, = attack_(classifier, batch.pick(torch.tensor([place])), torch.zeros(1, dtype=torch.int64))
        for name, values in alone.likely.items():
            assert torch.allclose(together.likely[name][place], values[0], rtol=1e-4, equal_nan=True), name


def test_an_undecided_draw_never_stands_for_the_worst_of_several():
    def read(*margins):
        values = torch.tensor(margins)[:, None]
        return Noisy(torch.zeros(3, 1, 2), values.reshape(3, 1, 1, 1).expand(3, 1, 1, 2).clone(),
                     values[..., None].expand(3, 1, 2).clone(), values)

    worst = _worse(read(math.nan, 1.0, 2.0), read(0.5, math.nan, 1.0))
    for held in (worst.margin[:, 0], worst.logits[:, 0, 1], worst.images[:, 0, 0, 1]):
        assert held.tolist() == [0.5, 1.0, 1.0]
