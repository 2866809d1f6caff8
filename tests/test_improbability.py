"""How far out a noise lies among the draws of its dose: exact on a linear network, and told where it matters."""

import pytest
import torch
from torch import nn

from steadyread.attacks.improbability import deviations_towards_flip
from steadyread.attacks.optimised_noise import optimised_ct_noise
from steadyread.attacks.random_noise import RandomCTNoise, random_ct_noise
from steadyread.classifier import Classifier, prediction_of
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import RINGS
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Bounds
from steadyread.words.noise import worst_said

SIDE, MAS = 16, 100.0


def linear(pixels: int = SIDE * SIDE) -> Classifier:
    """A linear network of HU, of two classes."""
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(pixels, 1)), Bounds(-1000.0, 400.0, "HU"), "logit")


def images(n: int) -> torch.Tensor:
    return torch.full((n, 1, SIDE, SIDE), -300.0)


def test_draws_are_of_standard_deviation_one_along_the_gradient() -> None:
    classifier, noise = linear(), CTNoise(Spectrum.lung(), mas=MAS, spacing_mm=0.7)
    batch = classifier.batch(images(400), [str(place) for place in range(400)])
    reference = torch.zeros(400, dtype=torch.long)
    size = noise.size_of(MAS, batch)
    drawn = noise.start(batch, size, 0, 0)
    found = deviations_towards_flip(classifier, batch, reference, noise, (drawn, size))
    assert abs(float(found.mean())) < 0.15
    assert abs(float(found.std()) - 1) < 0.12
    assert torch.allclose(deviations_towards_flip(classifier, batch, reference, noise, (-drawn, size)), -found)


def test_the_covariance_with_the_gradient_lies_furthest_out() -> None:
    """Of all noises of one size that of steepest likelihood, C g, lies sqrt(g' C g) / |that size| out, exactly."""
    classifier, noise = linear(), CTNoise(Spectrum.lung(), mas=MAS, spacing_mm=0.7)
    batch = classifier.batch(images(1))
    reference = torch.zeros(1, dtype=torch.long)
    size = noise.size_of(MAS, batch)
    weight = next(classifier.module.parameters()).detach().reshape(1, 1, SIDE, SIDE)
    spread = noise.covariance_with(batch, weight)
    length = (weight.double() * spread).sum().sqrt()
    at_seven = (7.0 * float(size[0]) * spread / length).float()
    found = deviations_towards_flip(classifier, batch, reference, noise, (at_seven, size))
    assert abs(float(found[0]) - 7.0) < 1e-3


def test_optimised_noise_is_far_out_and_a_draw_is_not() -> None:
    classifier, noise = linear(), CTNoise(Spectrum.lung(), mas=MAS, spacing_mm=0.7)
    batch = classifier.batch(images(8), [str(place) for place in range(8)])
    reference = prediction_of(classifier.logits(batch.images))
    searched = optimised_ct_noise(noise)(classifier, batch, reference).columns()["deviations"]
    drawn = random_ct_noise(noise, mas=(MAS,), draws=2)(classifier, batch, reference)[0].columns()["deviations"]
    assert (searched > 5).all()
    assert (drawn.abs() < 4).all()


def test_inflated_noise_lies_further_out_by_what_it_has_more_than_noise_of_its_dose() -> None:
    classifier, noise = linear(), CTNoise(Spectrum.lung(), mas=MAS, spacing_mm=0.7)
    batch = classifier.batch(images(4), [str(place) for place in range(4)])
    reference = torch.zeros(4, dtype=torch.long)
    plain, inflated = (RandomCTNoise(noise, (MAS,), 1, more)(classifier, batch, reference)[0].columns()["deviations"]
                       for more in (False, True))
    assert torch.allclose(inflated, plain * 2 / torch.pi ** 0.5)


@pytest.mark.parametrize(("median", "said"), [(3.1, False), (4.9, False), (9.0, True)])
def test_only_what_hardly_any_draw_reaches_is_said_not_to_come_by_chance(median: float, said: bool) -> None:
    at = {"attack": RINGS, "mas": MAS, "part": "test"}
    found = {"attacks": [RINGS], "stated_mas": MAS, "part": "test", "rows": [
        {**at, "san": Estimate(0.5, 0.4, 0.6, 10), "trials": 5, "most_trials": 5}],
        "plausibility": [{**at, "deviations": {"median": median}}]}
    assert ("does not occur by chance" in worst_said(found)) == said


def test_a_network_without_gradients_has_none() -> None:
    class Blind(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.detach().flatten(1).mean(1, keepdim=True)

    classifier = Classifier(Blind(), Bounds(-1000.0, 400.0, "HU"), "logit")
    noise = CTNoise(Spectrum.lung(), mas=MAS, spacing_mm=0.7)
    batch = classifier.batch(images(2))
    size = noise.size_of(MAS, batch)
    drawn = noise.start(batch, size, 0, 0)
    found = deviations_towards_flip(classifier, batch, torch.zeros(2, dtype=torch.long), noise, (drawn, size))
    assert found.isnan().all()
