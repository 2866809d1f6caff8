"""Random CT noise and flip probabilities: exact on linear classifiers, the same alone and in a batch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from steadyread.attacks.flip_probability import flip_probability
from steadyread.attacks.random_noise import random_ct_noise
from steadyread.attacks.recipes import attack
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import InputRefused, UsageError
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Batch, Bounds

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


def test_intervals_hold_the_exact_probability():
    shape = (12, 12)
    classifier, batch = linear(shape), batch_of(200, shape)
    reference = prediction_of(classifier.examine(batch.images))
    found = flip_probability(classifier, batch, reference, NOISE, mas=(10,), draws=16)
    exact = torch.special.ndtr(-classifier.margins(batch.images, reference).detach().double()
                               / deviation(classifier, shape, 10))
    inside = (found.low[:, 0] <= exact + 1e-3) & (exact - 1e-3 <= found.high[:, 0])
    assert inside.double().mean() > 0.9


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
