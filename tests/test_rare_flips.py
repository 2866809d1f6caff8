"""Probabilities of rare flips: exact on linear networks, unbiased and honest on bent ones, as counting says."""

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from steadyread import rare_flip_probability
from steadyread.attacks.flip_probability import margins_under_noise
from steadyread.attacks.random_noise import sizes_at
from steadyread.attacks.rare_flips import estimate
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import InputRefused, UsageError
from steadyread.metrics.intervals import clopper_pearson
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Batch, NativeGrid
from test_random_noise import BOUNDS, NOISE, SHAPES, Bent, batch_of, linear


class Raised(nn.Module):
    """`Bent`, whose margin lies higher by `by`, so that it flips rarely."""

    def __init__(self, bend: float, by: float, taught: bool = True) -> None:
        super().__init__()
        self.bent, self.by = Bent(bend, taught), by

    def forward(self, images):
        return self.bent(images) + self.by


def copies(n: int) -> Batch:
    """One image under n keys, so that n estimates of one probability are independent."""
    image = batch_of(1, (12, 12)).images
    return Batch(image.repeat(n, 1, 1, 1), tuple(f"copy-{at}" for at in range(n)), BOUNDS)


def true_probability(module: Raised, mas: float) -> float:
    """Of a margin that two Gaussian coordinates decide: one integral, on a grid."""
    lines = module.bent.lines.detach().double().reshape(2, 1, 12, 12)
    batch = copies(2)
    covariance = NOISE.covariance_with(batch, lines)
    square = np.array([[float((line * moved).sum()) for moved in covariance] for line in lines])
    square *= float(NOISE.size_of(mas, batch)[0])**2
    one, other = (batch.images[0].double() * lines).flatten(1).sum(1).tolist()
    place = np.linspace(-10, 10, 20001)
    sd = math.sqrt(square[1, 1])
    middle = one + square[0, 1] / sd * place + module.bent.bend * (other + sd * place)**2 + module.by
    rest = math.sqrt(square[0, 0] - square[0, 1]**2 / square[1, 1])
    density = np.exp(-place**2 / 2) / math.sqrt(2 * math.pi) * (place[1] - place[0])
    return float((special.ndtr(-middle / rest) * density).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_on_a_linear_network_it_is_exact_at_any_dose(shape: tuple[int, ...]) -> None:
    classifier, batch = linear(shape), batch_of(3, shape)
    reference = prediction_of(classifier.examine(batch.images))
    mas = (50.0, 5_000.0, 10_000.0)
    told = rare_flip_probability(classifier, batch, reference, NOISE, mas, passes=150)
    sign = torch.where(reference == 1, 1.0, -1.0).reshape(-1, *[1] * (len(shape) + 1))
    gradient = classifier.module[1].weight.detach().reshape(1, 1, *shape) * sign
    deviation = NOISE.variance_along(batch, gradient).sqrt()[:, None] * sizes_at(NOISE, mas, batch)
    margin = classifier.margins(batch.images, reference).detach().double()
    exact = torch.special.ndtr(-margin[:, None] / deviation)
    assert exact.min() < 1e-4
    for column in (told.probability, told.low, told.high):
        assert torch.allclose(column, exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("bend", "by", "mas"), [(0.3, 1.0, 100.0), (0.3, 3.0, 30.0), (-0.3, 2.0, 100.0),
                                                 (-1.0, 1.0, 10.0)])
def test_on_bent_networks_it_is_unbiased_and_its_interval_holds_the_truth(bend: float, by: float, mas: float
                                                                          ) -> None:
    module = Raised(bend, by)
    classifier, truth = Classifier(module, BOUNDS, "logit"), true_probability(module, mas)
    told = rare_flip_probability(classifier, copies(120), torch.ones(120, dtype=torch.int64), NOISE, (mas,))
    error = float(told.probability.std()) / 120**0.5
    assert abs(float(told.probability.mean()) - truth) < 3.5 * error
    assert error < 0.06 * truth
    assert ((told.low <= truth) & (truth <= told.high)).double().mean() > 0.87      # 95 % but for chance, of 120
    assert classifier.passes.forwards == 120 * 300
    assert classifier.passes.backwards == 120 * 65


class Shaped(nn.Module):
    """A margin that is a function of two independent standard Gaussian coordinates of the noise at 100 mAs."""

    def __init__(self, margin) -> None:
        super().__init__()
        lines = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0)).double()
        square = (lines.flatten(1) @ NOISE.covariance_with(copies(2), lines).flatten(1).T) * float(
            NOISE.size_of(100.0, copies(2))[0])**2
        self.lines = nn.Parameter((torch.linalg.inv(torch.linalg.cholesky(square)) @ lines.flatten(1)).float())
        self.margin = margin

    def forward(self, images):
        still = copies(1).images.to(images)
        return self.margin(*((images - still).flatten(1) @ self.lines.T).T)[:, None]


@pytest.mark.parametrize(("margin", "truth"), [
    (lambda one, _: 3 - one.abs() + 0.001 * one, 2 * special.ndtr(-3)),
    (lambda one, _: 9 - one**2 + 0.05 * one, 2 * special.ndtr(-3)),
    (lambda one, _: 3 - one - 8 * torch.relu(-one - 2.2), special.ndtr(-3) + special.ndtr(-20.6 / 7))])
def test_flips_on_the_side_that_the_gradient_turns_away_from_are_counted(margin, truth: float) -> None:
    """By draws along the gradient alone half of them or more were missed: intervals held 0.40, 0.09 and 0.01."""
    told = rare_flip_probability(Classifier(Shaped(margin), BOUNDS, "logit"), copies(60),
                                 torch.ones(60, dtype=torch.int64), NOISE, (100.0,))
    error = float(told.probability.std()) / 60**0.5
    assert abs(float(told.probability.mean()) - truth) < 3.5 * error
    assert error < 0.15 * truth
    assert ((told.low <= truth) & (truth <= told.high)).double().mean() > 0.8


def test_an_interval_of_flips_met_by_chance_holds_what_unshifted_draws_say() -> None:
    """The gradient leads away, and of the shifted draws a few flip with weights of 1e-18: intervals held 0.49."""
    module = Shaped(lambda one, other: 1 - 0.05 * other - 4 * torch.relu(one - 2.25))
    places = np.linspace(-8, 8, 2001)
    truth = float(np.sum(special.ndtr(-2.25 - (1 - 0.05 * places) / 4) * np.exp(-places**2 / 2)) * 0.008
                  / math.sqrt(2 * math.pi))
    told = rare_flip_probability(Classifier(module, BOUNDS, "logit"), copies(20),
                                 torch.ones(20, dtype=torch.int64), NOISE, (100.0,))
    assert (told.effective < 10).all()
    assert ((told.low <= truth) & (truth <= told.high)).double().mean() > 0.87


@pytest.mark.slow
def test_it_agrees_with_a_hundred_thousand_draws_on_a_pooled_network() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                           nn.Linear(288, 1))
    with torch.no_grad():
        module[0].weight.mul_(0.02)
        module[4].bias.sub_(module(batch_of(20, (12, 12), 3).images).median())
    classifier, batch = Classifier(module, BOUNDS, "logit"), batch_of(20, (12, 12), 3)
    reference = prediction_of(classifier.examine(batch.images))
    mas = (200.0,)
    told = rare_flip_probability(classifier, batch, reference, NOISE, mas)
    _, many = margins_under_noise(classifier, batch, reference, NOISE, sizes_at(NOISE, mas, batch), 5_000, 99)
    counted = (many < 0).double().mean(2)          # 100,000 draws in all
    assert abs(float(told.probability.mean() / counted.mean()) - 1) < 0.1
    known = counted > 0.002
    assert int(known.sum()) >= 5
    assert ((told.low <= counted) & (counted <= told.high))[known].double().mean() >= 0.85


def test_it_is_the_same_alone_and_in_a_batch() -> None:
    classifier, batch = Classifier(Raised(0.3, 1.0), BOUNDS, "logit"), batch_of(3, (12, 12))
    reference = torch.ones(3, dtype=torch.int64)
    together = rare_flip_probability(classifier, batch, reference, NOISE, (50, 100), passes=150, seed=3)
    alone = rare_flip_probability(classifier, batch.pick(torch.tensor([1])), reference[1:2], NOISE, (50, 100),
                                  passes=150, seed=3)
    assert torch.allclose(alone.probability[0], together.probability[1], rtol=1e-3)
    assert torch.equal(alone.flips[0], together.flips[1])


def test_noise_of_the_scanners_grid_is_shifted_on_that_grid() -> None:
    rng = np.random.default_rng(3)
    operators = tuple(torch.from_numpy(rng.uniform(0, 0.4, (12, old)).astype("f4")) for old in (14, 15))
    noise = CTNoise(Spectrum.soft(), domain="native")
    plain = batch_of(2, (12, 12))
    batch = Batch(plain.images, plain.keys, BOUNDS, native=(NativeGrid((0.8, 0.8), operators),) * 2)
    classifier = linear((12, 12))
    reference = prediction_of(classifier.examine(batch.images))
    told = rare_flip_probability(classifier, batch, reference, noise, (3_000.0,), passes=150)
    weights = classifier.module[1].weight.detach().reshape(1, 1, 12, 12).repeat(2, 1, 1, 1)
    deviation = noise.variance_along(batch, weights).sqrt() * noise.size_of(3_000.0, batch)
    exact = torch.special.ndtr(-classifier.margins(batch.images, reference).detach().double() / deviation)
    assert torch.allclose(told.probability[:, 0], exact, rtol=1e-3, atol=0)


def test_without_a_flip_the_bound_is_that_of_the_unshifted_draws() -> None:
    nothing = torch.zeros(1, 40, dtype=torch.bool)
    weights = torch.full((1, 40), 0.5, dtype=torch.float64)
    threshold = torch.tensor([40.0], dtype=torch.float64)
    probability, low, high, effective, flips = estimate(nothing, nothing, weights, threshold, [10, 30],
                                                         clopper_pearson(np.zeros(1), 34))
    assert (float(probability), float(low), int(flips), float(effective)) == (0, 0, 0, 0)
    assert float(high) == pytest.approx(1 - 0.025**(1 / 34), rel=1e-6)


def test_bad_input_is_refused() -> None:
    classifier, batch = linear((12, 12)), batch_of(2, (12, 12))
    reference = torch.tensor([0, 1])
    with pytest.raises(UsageError, match="at least 150 passes"):
        rare_flip_probability(classifier, batch, reference, NOISE, passes=100)
    with pytest.raises(InputRefused, match="no gradient"):
        rare_flip_probability(Classifier(Raised(0.3, 1.0, taught=False), BOUNDS, "logit"), batch, reference, NOISE)
