"""On a linear classifier the smallest flip is |margin| / ||w||_1, for every head and dimension: equalities."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.bim import bim
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import THOROUGH, Effort, smallest_flip
from steadyread.attacks.square import Square
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import UsageError

SPACES = [(20,), (9, 7), (5, 4, 6)]
HEADS = ["logit", "logits", "probability", "probabilities"]


class Linear(nn.Module):
    """w.x + b with a head; the weights are kept for the exact answer."""

    def __init__(self, features: int, classes: int, head: str) -> None:
        super().__init__()
        self.head = head
        self.layer = nn.Linear(features, 1 if head in ("logit", "probability") else classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raw = self.layer(images.flatten(1))
        if self.head == "probability":
            return raw.sigmoid()
        return raw.softmax(1) if self.head == "probabilities" else raw


def linear_case(space, head="logits", classes=2, threshold=0.5, n=17):
    """A classifier whose flips lie far inside the bounds, images, predictions and the exact smallest sizes."""
    torch.manual_seed(3)
    features = 2 * math.prod(space)
    module = Linear(features, classes, head)
    # logits of order one, whatever the image's size, so that no probability saturates
    classifier = Classifier(module, (-1000.0, 1000.0), head, normalise=(0.0, 1000.0), threshold=threshold)
    images = torch.rand(n, 2, *space) * 100 - 50
    with torch.no_grad():
        logits = classifier.logits(images)
        weights = module.layer.weight / 1000
        if len(weights) == 1:
            weights = torch.cat([torch.zeros_like(weights), weights])
    predictions = logits.argmax(1)
    gaps = logits.gather(1, predictions[:, None]) - logits
    slopes = (weights[predictions][:, None] - weights[None]).abs().sum(2)
    exact = torch.where(slopes > 0, gaps / slopes.clamp(min=1e-30), torch.inf).amin(1)
    assert exact.max() < 900  # the bounds are inactive
    return classifier, images, predictions, exact


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("classes", [2, 5])
def test_smallest_flip_is_exact_on_a_linear_classifier(space, head, classes):
    if classes > 2 and head in ("logit", "probability"):
        classes = 2
    classifier, images, predictions, exact = linear_case(space, head, classes)
    found = smallest_flip(classifier, images, predictions)
    with torch.no_grad():
        clear = classifier.margins(images, predictions) > 1e-3  # below, a probability's last bits decide
    assert clear.sum() > 10
    assert torch.allclose(found.size[clear], exact[clear], rtol=1e-3)
    assert torch.all(found.size[clear] >= exact[clear] * (1 - 1e-3)), "nothing flips below the exact size"


def exact_inside_bounds(slopes, gaps, images, low, high):
    """The size at which sum |g_i| min(size, room_i) is the gap, by sorting the pixels by their room, (n,)."""
    weights, room = slopes.abs(), torch.where(slopes > 0, images - low, high - images)
    room, order = room.sort(1)
    weights = weights.gather(1, order)
    taken = (weights * room).cumsum(1)                          # by the pixels that are at their bound by then
    left = weights.sum(1, keepdim=True) - weights.cumsum(1)     # the weight of the others
    corner = (taken + left * room < gaps[:, None]).sum(1)
    before = torch.nn.functional.pad(taken, (1, 0)).gather(1, corner[:, None])[:, 0]
    rest = torch.nn.functional.pad(weights.sum(1, keepdim=True) - weights.cumsum(1), (1, 0)).clone()
    rest[:, 0] = weights.sum(1)
    size = (gaps - before) / rest.gather(1, corner[:, None])[:, 0]
    return torch.where(corner == weights.shape[1], torch.inf, size)


@pytest.mark.parametrize("bounds", [(-20.0, 20.0), (-1.0, 1.0)], ids=["bounds inactive", "bounds active"])
@pytest.mark.parametrize("spread", ["to a factor e", "e^(-1..1)", "log-normal"])
@pytest.mark.parametrize("classes", [3, 5, 8, 20, 100])
def test_many_classes_are_exact_whatever_the_norms_of_their_weights(classes, spread, bounds):
    """The nearest boundary is not always that of the highest other logit: then sizes were up to 2.6 times it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(63, classes))
    norms = {"to a factor e": torch.rand(classes).exp(), "e^(-1..1)": (2 * torch.rand(classes) - 1).exp(),
             "log-normal": torch.randn(classes).exp()}[spread]
    with torch.no_grad():
        module[1].weight.copy_(torch.randn(classes, 63) * norms[:, None])
        module[1].bias.normal_()
    images = (torch.rand(32, 1, 9, 7) * 3 - 1.5).clamp(-1, 1)    # a third of the pixels at a bound
    classifier = Classifier(module, bounds, "logits")
    with torch.no_grad():
        logits = classifier.logits(images).double()
    reference, weights = logits.argmax(1), module[1].weight.detach().double()
    flat, gaps = images.flatten(1).double(), logits.amax(1, keepdim=True) - logits
    exact = torch.stack([torch.where(reference == other, torch.inf, exact_inside_bounds(
        weights[reference] - weights[other], gaps[:, other], flat, *bounds)) for other in range(classes)]).amin(0)
    found = smallest_flip(classifier, images, reference)
    rounding = 1e-7    # of a pixel in float32, by which no size can be told apart
    assert (found.size <= exact * 1.001 + rounding).all()
    assert (found.size >= exact * 0.999 - rounding).all()
    assert not found.doubts
    if classes <= 10:
        assert found.backwards.tolist() == [81 + classes - 1 if classes == 3 else 97 + classes - 1] * 32
    assert (found.forwards <= 112).all()
    assert (found.backwards <= 97 + classes - 1).all()


def test_classes_beyond_the_nearest_are_not_looked_at_where_none_can_lie_nearer():
    classifier, images, predictions, _ = linear_case((9, 7), classes=60)
    found = smallest_flip(classifier, images, predictions)
    assert found.backwards.min() < found.backwards.max() <= 97 + 59


@pytest.mark.parametrize("head", ["logit", "probability"])
def test_the_threshold_moves_the_boundary(head):
    classifier, images, predictions, exact = linear_case((9, 7), head, threshold=0.52)
    assert torch.allclose(smallest_flip(classifier, images, predictions).size, exact, rtol=1e-3)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("make", [fgsm, bim, pgd, lambda e: pgd(e, loss="cross_entropy")])
def test_fixed_sizes_flip_exactly_what_can_be_flipped(space, head, make):
    classifier, images, predictions, exact = linear_case(space, head)
    epsilon = float(exact.median()) * 1.002
    outcome = attack(classifier, images, predictions, make(epsilon))
    sure = (exact / epsilon - 1).abs() > 1e-3
    assert torch.equal(outcome.flipped[sure], (exact < epsilon)[sure])


@pytest.mark.parametrize("space", SPACES)
def test_square_flips_what_is_well_within_reach_and_nothing_beyond(space):
    classifier, images, predictions, exact = linear_case(space)
    epsilon = float(exact.median())
    outcome = Square(3 * epsilon, queries=300)(classifier, classifier.batch(images), predictions)
    assert not outcome.flipped[exact > 3 * epsilon * 1.001].any()
    assert outcome.flipped[exact < 0.2 * epsilon].all()
    assert (outcome.forwards <= 301).all()


def test_active_bounds_make_flips_larger_and_never_leave_them():
    classifier, images, predictions, exact = linear_case((9, 7))
    tight = Classifier(classifier.module, (-50.0, 50.0), "logits", normalise=(0.0, 1000.0))
    found = smallest_flip(tight, images, predictions)
    assert torch.all(found.size >= exact * (1 - 1e-4))
    assert found.images.min() >= -50
    assert found.images.max() <= 50


def test_no_flip_is_a_value_not_an_error():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].bias.copy_(torch.tensor([1.0, 0.0]))
    images = torch.rand(3, 1, 4)
    found = smallest_flip(Classifier(module, (0, 1), "logits"), images, torch.zeros(3, dtype=torch.long))
    assert torch.isinf(found.size).all()
    assert torch.equal(found.images, images)


def test_wrong_before_any_change_is_size_zero_and_one_forward():
    classifier, images, predictions, _ = linear_case((9, 7))
    found = smallest_flip(classifier, images, 1 - predictions)
    assert (found.size == 0).all()
    assert torch.equal(found.images, images)
    assert (attack(classifier, images, 1 - predictions, pgd(1.0)).flipped).all()


def test_largest_bounds_the_search():
    classifier, images, predictions, exact = linear_case((9, 7))
    limit = float(exact.median())
    found = smallest_flip(classifier, images, predictions, largest=limit)
    sure = (exact / limit - 1).abs() > 2e-3
    assert torch.equal(torch.isfinite(found.size)[sure], (exact < limit)[sure])
    assert (found.size[torch.isfinite(found.size)] <= limit).all()


def test_overconfident_logits_change_nothing():
    """The trap that makes cross-entropy attacks report 100 % robust (arXiv:1902.06705)."""
    classifier, images, predictions, exact = linear_case((9, 7))
    with torch.no_grad():
        classifier.module.layer.weight *= 1e5
        classifier.module.layer.bias *= 1e5
    assert torch.allclose(smallest_flip(classifier, images, predictions).size, exact, rtol=1e-3)
    epsilon = float(exact.median()) * 1.01
    margin = attack(classifier, images, predictions, pgd(epsilon)).flipped.float().mean()
    blind = attack(classifier, images, predictions, pgd(epsilon, loss="cross_entropy")).flipped.float().mean()
    assert margin > 0.4
    assert blind < margin


class Kinked(nn.Module):
    """One logit: 1 - u.x + sum_j |v_j.x|, whose gradient is mostly that of the kinks on which it stands."""

    def __init__(self, features=100, kinks=5):
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.kinks = nn.Parameter(2 * torch.randn(kinks, features, generator=stream))
        self.slope = nn.Parameter(torch.randn(features, generator=stream))

    def forward(self, images):
        flat = images.flatten(1)
        return 1 - flat @ self.slope + (flat @ self.kinks.T).abs().sum(1)

    def exact(self, image):
        """An image's smallest flip to a negative logit: a linear programme in (change, |v_j.x|, size)."""
        flat, slope, kinks = (value.detach().double().numpy()
                              for value in (image.flatten(), self.slope, self.kinks))
        every, count = np.eye(len(flat)), len(kinks)
        rows = [np.hstack([-slope, np.ones(count), 0.0])]
        rows += [np.hstack([sign * kinks, -np.eye(count), np.zeros((count, 1))]) for sign in (1, -1)]
        rows += [np.hstack([sign * every, np.zeros((len(flat), count)), -np.ones((len(flat), 1))])
                 for sign in (1, -1)]
        limits = np.hstack([slope @ flat - 1, -kinks @ flat, kinks @ flat, np.zeros(2 * len(flat))])
        cost = np.r_[np.zeros(len(flat) + count), 1.0]
        return linprog(cost, np.vstack(rows), limits, bounds=[(None, None)] * (len(flat) + count) + [(0, None)]).fun


@pytest.mark.parametrize(("effort", "most"), [(Effort(), 2.5), (THOROUGH, 1.4)])
def test_kinks_do_not_lead_the_search_away(effort, most):
    """A radius that follows the straight line before the first flip ends at 58 and 4 times the smallest here."""
    module = Kinked()
    images = torch.rand(6, 1, 10, 10, generator=torch.Generator().manual_seed(1)) * 0.4 - 0.2
    exact = torch.tensor([module.exact(image) for image in images])
    found = smallest_flip(Classifier(module, (-50.0, 50.0), "logit"), images, torch.ones(6, dtype=torch.long),
                          effort=effort)
    assert (found.size >= exact * (1 - 1e-4)).all()
    assert (found.size <= exact * most).all()


def test_an_image_that_still_moves_gets_further_steps_and_one_that_has_settled_none():
    images = torch.rand(6, 1, 10, 10, generator=torch.Generator().manual_seed(1)) * 0.4 - 0.2
    labels, effort = torch.ones(6, dtype=torch.long), Effort()
    bent, straight = (Classifier(module, (-50.0, 50.0), "logit") for module in (
        Kinked(), nn.Sequential(nn.Flatten(), nn.Linear(100, 1))))
    few, found = (smallest_flip(bent, images, labels, effort=each) for each in (replace(effort, further=0), effort))
    assert (few.backwards == effort.steps).all()
    assert set(found.backwards.tolist()) <= {effort.steps, effort.steps + effort.beyond}
    assert found.backwards.max() > effort.steps
    with pytest.raises(UsageError, match="further must be at least 0"):
        Effort(further=-1)
    assert (found.size <= few.size * (1 + 1e-3)).all()      # cut down from another change each
    for at in (0, 5):       # whoever shares the batch
        alone = smallest_flip(bent, images[at:at + 1], labels[:1], effort=effort)
        assert alone.backwards == found.backwards[at]
        assert alone.size.item() == pytest.approx(found.size[at].item(), rel=1e-4)
    assert (smallest_flip(straight, images, prediction_of(straight.logits(images))).backwards == effort.steps).all()
