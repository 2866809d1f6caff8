"""What must hold for any attack on any model: inside the set, the same alone and in company, no trace left."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from steadyread.attacks import square
from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.bim import bim
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.attacks.square import Square, _moved
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, SteadyreadError, UsageError
from steadyread.threats import Linf
from steadyread.types import Batch, Bounds, uniform_noise

BOUNDS = (-1000.0, 400.0)
RECIPES = {"fgsm": fgsm, "bim": bim, "pgd": pgd}


def small_net(channels=1, classes=2, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Flatten(), nn.Linear(6 * 36, classes))
    net(torch.rand(32, channels, 12, 12))  # BatchNorm has seen something
    return net.eval()


def net_classifier(classes=2, module=None):
    return Classifier(module or small_net(classes=classes), BOUNDS, "logits", normalise=(-1000.0, 1400.0))


def some_images(n=9, seed=1):
    return torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed)) * 1400 - 1000


def predictions_of(classifier, images):
    with torch.no_grad():
        return classifier.logits(images).argmax(1)


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(RECIPES)), epsilon=st.floats(0.01, 800.0), seed=st.integers(0, 5),
       classes=st.sampled_from([2, 4]))
def test_images_stay_inside_ball_and_bounds_and_flips_are_real(name, epsilon, seed, classes):
    classifier, images = net_classifier(classes), some_images(seed=seed)
    reference = predictions_of(classifier, images)
    outcome = attack(classifier, images, reference, RECIPES[name](epsilon), seed)
    change = (outcome.images.double() - images.double()).flatten(1).abs().amax(1)
    assert (change <= epsilon * (1 + 1e-6) + 1e-4).all()  # 1e-4: one float32 step at 1000 HU
    assert outcome.images.min() >= BOUNDS[0]
    assert outcome.images.max() <= BOUNDS[1]
    sure = outcome.margin.abs() > 1e-4
    again = predictions_of(classifier, outcome.images) != reference
    assert torch.equal(again[sure], outcome.flipped[sure])
    assert torch.equal(outcome.flips > 0, outcome.flipped)


def test_smallest_flip_returns_images_of_its_size_that_flip():
    classifier, images = net_classifier(4), some_images(20)
    reference = predictions_of(classifier, images)
    found = smallest_flip(classifier, images, reference)
    assert torch.isfinite(found.size).all()
    assert torch.equal((found.images - images).flatten(1).abs().amax(1), found.size)
    sure = found.margin.abs() > 1e-4
    assert (predictions_of(classifier, found.images) != reference)[sure].all()


@pytest.mark.parametrize("kind", ["pgd", "smallest", "square"])
def test_alone_in_a_batch_and_in_another_order(kind):
    classifier, images = net_classifier(), some_images(12)
    reference = predictions_of(classifier, images)
    keys = tuple(f"case {place}" for place in range(12))
    epsilon = 30.0

    def run(places):
        batch = Batch(images[places], tuple(keys[place] for place in places), Bounds(*BOUNDS))
        if kind == "smallest":
            outcome = smallest_flip(classifier, batch, reference[places], seed=4)
            return outcome.size, outcome.margin
        recipe = pgd(epsilon, restarts=2) if kind == "pgd" else Square(epsilon, 40)
        outcome = recipe(classifier, classifier.batch(batch), reference[places], 4)
        return outcome.flipped.float(), outcome.margin

    whole, margin = run(list(range(12)))
    back, _ = run(list(range(11, -1, -1)))
    alone = torch.cat([run([place])[0] for place in range(12)])
    sure = torch.ones_like(whole, dtype=torch.bool) if kind == "smallest" else margin.abs() > 1e-4
    assert torch.allclose(back.flip(0)[sure], whole[sure], rtol=1e-3)
    assert torch.allclose(alone[sure], whole[sure], rtol=1e-3)


def test_draws_are_bit_equal_alone_and_in_a_batch():
    keys = tuple("abcdef")
    whole = uniform_noise(keys, (1, 5, 5), seed=3, draw=2)
    alone = torch.cat([uniform_noise((key,), (1, 5, 5), seed=3, draw=2) for key in keys])
    assert torch.equal(whole, alone)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, uniform_noise(keys, (1, 5, 5), seed=3, draw=3))


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_exactly_as_found(training):
    module = small_net()
    module.train(training)
    module[3].train(not training)  # a mixture of modes is put back too
    module[0].weight.requires_grad_(False)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(module)
    state = torch.random.get_rng_state()
    classifier, images = net_classifier(module=module), some_images()
    reference = torch.zeros(len(images), dtype=torch.long)
    attack(classifier, images, reference, pgd(20.0))
    smallest_flip(classifier, images, reference)
    assert [part.training for part in module.modules()] == [part.training for part in before.modules()]
    for (name, now), then in zip(module.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then), name
        assert now.requires_grad == then.requires_grad
        assert torch.equal(now.grad, torch.ones_like(now))
    for now, then in zip(module.buffers(), before.buffers(), strict=True):
        assert torch.equal(now, then)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_passes_of_the_search_are_those_of_the_classifier():
    classifier, images = net_classifier(3), some_images()
    reference = predictions_of(classifier, images)
    for run in (lambda: attack(classifier, images, reference, pgd(10.0)),
                lambda: smallest_flip(classifier, images, reference)):
        classifier.passes.forwards = classifier.passes.backwards = 0
        outcome = run()
        assert int(outcome.forwards.sum()) == classifier.passes.forwards
        assert int(outcome.backwards.sum()) == classifier.passes.backwards


def test_epsilon_zero_changes_nothing():
    classifier, images = net_classifier(), some_images()
    outcome = attack(classifier, images, predictions_of(classifier, images), pgd(0.0))
    assert torch.equal(outcome.images, images)
    assert not outcome.flipped.any()


@pytest.mark.parametrize("space", [(8,), (5, 6), (3, 4, 5)])
def test_projection_onto_the_box(space):
    images = torch.rand(4, 2, *space)
    batch, threat = Batch(images, tuple("abcd"), Bounds(0, 1)), Linf(0.2)
    size = torch.full((4,), 0.2)
    wild = torch.randn(4, 2, *space)
    once = threat.project(batch, wild, size)
    assert once.abs().max() <= 0.2
    assert torch.equal(threat.project(batch, once, size), once), "idempotent"
    other = threat.project(batch, wild + 0.1 * torch.randn_like(wild), size)
    assert (other - once).norm() <= (0.1 * 10 * torch.ones_like(wild)).norm()
    images = threat.render(batch, once)
    assert images.min() >= 0
    assert images.max() <= 1
    delta = torch.zeros_like(wild, requires_grad=True)
    threat.render(batch, delta).sum().backward()
    assert torch.isfinite(delta.grad).all()


def test_a_model_with_a_nan_on_some_images_leaves_them_undecided():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_net()

        def forward(self, images):
            out = self.net(images)
            return torch.where(images.mean((1, 2, 3), keepdim=False)[:, None] > 0.8, torch.nan, out)

    classifier, images = net_classifier(module=Moody()), some_images(6)
    images[2] = 300.0
    outcome = attack(classifier, images, torch.zeros(6, dtype=torch.long), pgd(1.0))
    assert not outcome.flipped[2]
    assert torch.isnan(outcome.margin[2])
    assert torch.isfinite(outcome.margin[:2]).all()


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda x: x.index_fill_(0, torch.tensor([1]), torch.nan), "NaN or infinite"),
    (lambda x: x.add_(2000), "outside the stated bounds"),
    (lambda x: x[0], "shape")])
def test_images_that_are_refused(spoil, words):
    classifier, images = net_classifier(), some_images(3)
    with pytest.raises(SteadyreadError, match=words):
        attack(classifier, spoil(images), torch.zeros(3, dtype=torch.long), fgsm(1.0))


def test_arguments_that_are_refused():
    classifier, images = net_classifier(), some_images(3)
    with pytest.raises(InputRefused, match="one class index per image"):
        attack(classifier, images, torch.zeros(2, dtype=torch.long), fgsm(1.0))
    with pytest.raises(UsageError):
        fgsm(-1.0)
    with pytest.raises(UsageError):
        pgd(1.0, loss="dlr")
    with pytest.raises(UsageError):
        smallest_flip(classifier, images, torch.zeros(3, dtype=torch.long), largest=0.0)
    with pytest.raises(UsageError, match="one key per image"):
        attack(classifier, images, torch.zeros(3, dtype=torch.long), fgsm(1.0), keys=("a",))


class Knee(nn.Module):
    """Flat around the middle of the window, so that only a change beyond a knee moves the logit."""

    def forward(self, images):
        z = (1.0 - (images - images.detach().round(decimals=-3)).abs().flatten(1).amax(1))
        return torch.stack([z, torch.zeros_like(z)], dim=1)


@pytest.mark.parametrize("largest", [2.8, 5.6, None])
def test_a_flip_that_only_random_starts_find_is_kept_at_hu_offsets(largest):
    classifier = Classifier(Knee(), BOUNDS, "logits")
    images = torch.full((3, 1, 4, 4), -1000.0) + torch.tensor([0.0, 0.25, 0.5]).reshape(3, 1, 1, 1)
    reference = torch.zeros(3, dtype=torch.long)
    found = smallest_flip(classifier, images, reference, largest=largest)
    assert torch.isfinite(found.size).all()
    assert (found.size <= (largest or 1400.0)).all()


def test_one_pixel_without_a_derivative_does_not_blind_the_search():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_net()

        def forward(self, images):
            return self.net(images) + 0.0 * (images[:, :, :1, :1] + 1000.0).clamp(min=0).sqrt().flatten(1)

    images = some_images(8)
    images[:, :, 0, 0] = -1000.0  # the root's derivative is infinite here, and times 0 it is not a number
    plain, rooted = net_classifier(), Classifier(Root(), BOUNDS, "logits", normalise=None)
    rooted.module.net.load_state_dict(plain.module.state_dict())
    plain = Classifier(plain.module, BOUNDS, "logits")
    reference = predictions_of(plain, images)
    a, b = smallest_flip(plain, images, reference).size, smallest_flip(rooted, images, reference).size
    assert torch.allclose(a, b, rtol=0.05)


def test_picking_in_another_order_reorders():
    batch = Batch(torch.rand(2, 1, 3), ("a", "b"), Bounds(0, 1))
    assert batch.pick(torch.tensor([1, 0])).keys == ("b", "a")


def test_the_windows_of_square_reach_both_ends_of_every_axis():
    batch = Batch(torch.zeros(2, 1, 5, 7), ("a", "b"), Bounds(-1, 1))
    numbers = torch.tensor([[0.0, 0.0, 0.9], [0.9999, 0.9999, 0.1]])
    moved = _moved(batch, torch.zeros(2, 1, 5, 7), numbers, torch.full((2,), 0.5), 0.8 / 2**9)
    assert moved[0, 0, 0, 0] == 0.5
    assert moved[1, 0, -1, -1] == -0.5
    assert moved[0, 0, -1, -1] == moved[1, 0, 0, 0] == 0


def test_the_windows_of_square_shrink_as_the_source_has_it(monkeypatch):
    """arXiv:1912.00049, for 10,000 queries: halved at 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000."""
    shares = []
    monkeypatch.setattr(square, "_moved", lambda part, delta, *rest: shares.append(rest[-1]) or delta)
    classifier = net_classifier(module=nn.Sequential(nn.Flatten(), Unmoved()))
    Square(1.0, 1000)(classifier, classifier.batch(some_images(1)), torch.zeros(1, dtype=torch.long))
    seen = {spent: shares[spent - 1] for spent in (1, 2, 6, 30, 60, 150, 300, 500, 700, 900)}
    assert seen == {spent: 0.8 / 2**place for place, spent in enumerate(seen)}


class Unmoved(nn.Module):
    """The first of two classes whatever it is given."""

    def forward(self, flat):
        return torch.stack([torch.ones(len(flat)), torch.zeros(len(flat))], 1) + 0 * flat[:, :1]
