"""What leaves the boundary where it is leaves the sizes: masks, offsets, scales, and the order of classes."""

import math

import pytest
import torch
from torch import nn

from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.apgd import apgd
from steadyread.attacks.recipes.bim import bim
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.attacks.square import Square
from steadyread.classifier import Classifier

CLASSES, IMAGES = 5, 24
MASKS = [-1e6, -1e9, -3.4e38, -math.inf]


class Changed(nn.Module):
    """A small curved network whose logits are changed at the end."""

    def __init__(self, change=lambda logits: logits, classes=CLASSES):
        super().__init__()
        torch.manual_seed(7)
        self.net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                 nn.Linear(6 * 16, classes))
        with torch.no_grad():
            self.net[-1].weight.mul_(4)
        self.change = change

    def forward(self, images):
        return self.change(self.net(images))


def masked(value, two=False):
    def change(logits):
        ruled_out = torch.zeros_like(logits, dtype=torch.bool)
        ruled_out[:, 2:] = two
        ruled_out[:, 3] = True
        return logits.masked_fill(ruled_out, value)
    return change


def without(two=False):
    return lambda logits: logits[:, [0, 1] if two else [0, 1, 2, 4]]


def prepared(change=lambda logits: logits):
    classifier = Classifier(Changed(change), (0.0, 1.0), "logits")
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return classifier, images, classifier.logits(images).argmax(1)


def sizes(change=lambda logits: logits):
    return smallest_flip(*prepared(change)).size


@pytest.mark.parametrize("two", [False, True], ids=["four classes left", "two classes left"])
@pytest.mark.parametrize("mask", MASKS)
def test_a_masked_class_leaves_the_sizes_of_the_network_without_it(mask, two):
    plain, hidden = sizes(without(two)), sizes(masked(mask, two))
    assert torch.isfinite(plain).all()
    assert torch.allclose(hidden, plain, rtol=1e-3)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("make", [fgsm, bim, pgd, apgd, lambda epsilon: apgd(epsilon, loss="cross_entropy"),
                                  lambda epsilon: pgd(epsilon, loss="cross_entropy"),
                                  lambda epsilon: Square(epsilon, 60)])
def test_attacks_of_one_size_flip_the_same_images_under_a_mask(mask, make):
    epsilon = 0.06
    outcomes = [attack(*prepared(change), make(epsilon)) for change in (without(), masked(mask))]
    assert torch.equal(outcomes[0].flipped, outcomes[1].flipped)
    assert 0 < outcomes[0].flipped.sum() < IMAGES
    assert torch.allclose(outcomes[0].margin, outcomes[1].margin, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**-100, 2.0**10, 2.0**66, 2.0**110])
def test_the_scale_of_the_logits_leaves_the_sizes(scale):
    assert torch.allclose(sizes(lambda logits: logits * scale), sizes(), rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_any_scale_leaves_the_sizes_of_a_linear_network(scale):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    torch.manual_seed(3)
    nn.init.normal_(module[1].weight)
    _, images, _ = prepared()
    plain = Classifier(module, (-9.0, 9.0), "logits")
    with torch.no_grad():
        reference = plain.logits(images).argmax(1)
    before = smallest_flip(plain, images, reference).size
    with torch.no_grad():
        module[1].weight *= scale
        module[1].bias *= scale
    assert torch.allclose(smallest_flip(plain, images, reference).size, before, rtol=1e-3)


@pytest.mark.parametrize(("offset", "apart"), [(-3.0, 1e-3), (100.0, 1e-3), (1e3, 2e-3), (1e6, 0.25)])
def test_a_common_offset_costs_no_more_than_float32_rounds_by(offset, apart):
    plain = sizes()
    moved = smallest_flip(*prepared(lambda logits: logits + offset))
    classifier, images, reference = prepared()
    with torch.no_grad():
        clear = classifier.margins(images, reference) > 0.25   # four of float32's steps at 1e6
    assert clear.sum() > 5
    assert ((moved.size[clear] / plain[clear]).median() - 1).abs() < apart
    assert any("offset" in doubt.message for doubt in moved.doubts) == (offset == 1e6)


def test_the_order_of_the_classes_leaves_the_sizes():
    order = [3, 0, 4, 2, 1]
    assert torch.allclose(sizes(lambda logits: logits[:, order]), sizes(), rtol=1e-3)


def test_a_reference_that_is_masked_is_flipped_to_begin_with():
    for mask in MASKS:
        classifier, images, _ = prepared(masked(mask))
        found = smallest_flip(classifier, images, torch.full((IMAGES,), 3))
        assert (found.size == 0).all()
        assert attack(classifier, images, torch.full((IMAGES,), 3), pgd(0.01)).flipped.all()
