"""APGD: exact on linear models, inside the set, the same alone and in company, and Algorithm 1 step by step."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from fabricate_training import QUICK, spots
from fabricate_training import classifier as plain_classifier
from steadyread.assessment import assess
from steadyread.attacks.apgd import checkpoints
from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.apgd import apgd
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import Effort, smallest_flip
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.jobs.attacks import pixel_attacks
from steadyread.study import keyed, read_study
from steadyread.training.fit import fit
from steadyread.types import Batch, Bounds
from test_assessment import made_cases, made_classifier
from test_attacks_exact import HEADS, SPACES, linear_case
from test_attacks_invariants import BOUNDS, net_classifier, predictions_of, small_net, some_images

LOSSES = ["margin", "cross_entropy"]
LOW, HIGH = BOUNDS


class Watched(nn.Module):
    """Keeps every batch of images that goes through a network."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, images):
        self.seen.append(images.detach().clone())
        return self.net(images)


class Wavy(nn.Module):
    """Three classes, many hills inside the ball, and a lead of the first class that no hill takes away."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(8)
            self.first, self.second = nn.Linear(12, 24).double(), nn.Linear(24, 3).double()

    def forward(self, images):
        waves = torch.sin(2 * self.first(images.double().flatten(1) / 300.0))
        return (0.2 * self.second(waves)).float() + torch.tensor([4.0, 0.0, 0.0])


# -- exact --

@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [2, 5])
def test_flips_exactly_what_can_be_flipped(space, head, loss, classes):
    classes = 2 if head in ("logit", "probability") else classes
    classifier, images, predictions, exact = linear_case(space, head, classes)
    epsilon = float(exact.median()) * 1.002
    outcome = attack(classifier, images, predictions, apgd(epsilon, steps=25, restarts=2, loss=loss))
    sure = (exact / epsilon - 1).abs() > 1e-3
    assert not outcome.flipped[sure & (exact > epsilon)].any()
    # with more classes the highest loss may be another class's than the one that is soonest lost to
    within = sure & (exact < epsilon * (1.0 if classes == 2 else 0.8))
    assert within.any()
    assert outcome.flipped[within].all()


def test_active_bounds_are_kept_in_the_search_not_cut_afterwards():
    """One pixel cannot move: what the others can do decides, exactly."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([[1.0, 1.0, -1.0], [0.0, 0.0, 0.0]]))
    images = torch.tensor([[[0.0, 5.0, 2.0]]])   # the margin is 3; the first pixel is at its bound
    classifier = Classifier(module, (0.0, 10.0), "logits")
    reference = torch.zeros(1, dtype=torch.long)
    assert not attack(classifier, images, reference, apgd(1.49, steps=20)).flipped.any()
    assert attack(classifier, images, reference, apgd(1.51, steps=20)).flipped.all()


# -- Algorithm 1 --

def algorithm_1(f, image, start, epsilon, steps):
    """Algorithm 1 of arXiv:2003.01690 for one image: x(0) .. x(N), f_max, and the steps that halved eta.

    `f` gives loss and gradient at x. Checkpoints are looked at once f(x(w_j)) is known, as the authors' code does.
    """
    def project(x):
        return x.clamp(image - epsilon, image + epsilon).clamp(LOW, HIGH)

    p = [Fraction(0), Fraction(22, 100)]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)))
    w = sorted({math.ceil(each * steps) for each in p if each <= 1})
    alpha, rho, eta = 0.75, 0.75, 2 * epsilon
    before, x = start, start
    iterates, losses = [x], [f(x)[0]]
    x_max, f_max = x, losses[0]
    eta_at, f_max_at, halvings = {0: eta}, {0: f_max}, []
    for k in range(steps):
        z = project(x + eta * f(x)[1].sign())
        moved = z if k == 0 else project(x + alpha * (z - x) + (1 - alpha) * (x - before))
        before, x = x, moved
        iterates.append(x)
        losses.append(f(x)[0])
        if losses[-1] > f_max:
            x_max, f_max = x, losses[-1]
        if k + 1 in w:
            now, last = k + 1, w[w.index(k + 1) - 1]
            rises = sum(losses[i + 1] > losses[i] for i in range(last, now))
            eta_at[now], f_max_at[now] = eta, f_max
            if rises < rho * (now - last) or (eta_at[last] == eta and f_max_at[last] == f_max):
                eta, x = eta / 2, x_max
                halvings.append(now)
    return torch.stack(iterates), f_max, tuple(halvings)


def loss_at(module, loss):
    def f(x):
        x = x.clone().requires_grad_(True)
        logits = module(x[None])
        value = (nn.functional.cross_entropy(logits, torch.tensor([0])) if loss == "cross_entropy"
                 else logits[0, 1:].max() - logits[0, 0])
        return float(value.detach()), torch.autograd.grad(value, x)[0]
    return f


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_every_iterate_is_that_of_algorithm_1(loss, steps):
    module = Watched(Wavy())
    classifier = Classifier(module, BOUNDS, "logits")
    images = torch.rand(8, 1, 3, 4, generator=torch.Generator().manual_seed(2)) * 1400 - 1000
    images[0, 0, 0] = LOW
    images[1, 0, :, 0] = HIGH
    epsilon = 120.0
    outcome = attack(classifier, images, torch.zeros(8, dtype=torch.long), apgd(epsilon, steps, loss=loss))
    clean, *seen = module.seen
    assert torch.equal(clean, images)
    assert not outcome.flipped.any()
    assert len(seen) == steps + 1, "the start and every step, the last one too"
    halved = set()
    for place in range(8):
        iterates, f_max, halvings = algorithm_1(loss_at(module.net, loss), images[place].double(),
                                                seen[0][place].double(), epsilon, steps)
        assert torch.allclose(torch.stack(seen)[:, place].double(), iterates, atol=2e-3, rtol=0)  # of 120 HU
        reached = max(loss_at(module.net, loss)(each[place].double())[0] for each in seen)
        assert reached == pytest.approx(f_max, rel=1e-5)
        halved.add(halvings)
    assert steps < 40 or len(halved) > 1, "images halve at checkpoints of their own"


def test_the_checkpoints_of_a_hundred_steps_are_the_papers():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert all(0 < step <= steps for steps in range(1, 60) for step in checkpoints(steps))


def test_the_scale_of_the_logits_changes_nothing():
    """What the paper's DLR loss is for; by a power of two, so that rounding is the same."""
    net = small_net(classes=4)
    images = some_images(12)
    loud = Classifier(nn.Sequential(net, Scaled(2.0**40)), BOUNDS, "logits", normalise=(-1000.0, 1400.0))
    quiet = net_classifier(module=net)
    reference = predictions_of(quiet, images)
    one, other = (attack(each, images, reference, apgd(115.0, 30)) for each in (quiet, loud))
    assert 0 < int(one.flipped.sum()) < 12
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.flipped, other.flipped)
    blind = attack(loud, images, reference, apgd(115.0, 30, loss="cross_entropy"))
    assert blind.flipped.sum() < one.flipped.sum()


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, logits):
        return logits * self.by


# -- invariants --

@pytest.mark.parametrize("epsilon", [0.5, 20.0, 900.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_no_iterate_leaves_ball_or_bounds_and_flips_are_real(epsilon, classes):
    module = Watched(small_net(classes=classes))
    classifier = Classifier(module, BOUNDS, "logits")
    images = some_images()
    reference = predictions_of(classifier, images)
    outcome = attack(classifier, images, reference, apgd(epsilon, 25, restarts=2))
    assert all(float(seen.min()) >= LOW and float(seen.max()) <= HIGH for seen in module.seen)
    change = [(seen[:, None] - images[None]).flatten(2).abs().amax(2).amin(1).max() for seen in module.seen]
    assert max(change) <= epsilon + 1e-4  # one float32 step at 1000 HU
    assert (outcome.images - images).abs().max() <= epsilon + 1e-4
    sure = outcome.margin.abs() > 1e-4
    assert torch.equal((predictions_of(classifier, outcome.images) != reference)[sure], outcome.flipped[sure])
    assert torch.equal(outcome.flips > 0, outcome.flipped)


def test_alone_in_a_batch_and_in_another_order():
    classifier, images = net_classifier(3), some_images(10)
    reference = predictions_of(classifier, images)

    def run(places):
        batch = Batch(images[places], tuple(f"case {place}" for place in places), Bounds(*BOUNDS))
        return attack(classifier, batch, reference[places], apgd(105.0, 30, restarts=2), seed=4)

    whole, back = run(list(range(10))), run(list(range(9, -1, -1)))
    assert 0 < int(whole.flipped.sum()) < 10
    alone = [run([place]) for place in range(10)]
    sure = whole.margin.abs() > 1e-4
    assert torch.equal(back.flipped.flip(0)[sure], whole.flipped[sure])
    assert torch.equal(torch.cat([each.flipped for each in alone])[sure], whole.flipped[sure])
    assert torch.allclose(torch.cat([each.margin for each in alone]), whole.margin, rtol=1e-3, atol=1e-3)
    assert torch.equal(torch.cat([each.forwards for each in alone]), whole.forwards)


def test_seeds_decide_and_the_global_generator_is_left_alone():
    classifier, images = net_classifier(), some_images()
    reference = predictions_of(classifier, images)
    state = torch.random.get_rng_state()
    one, again, other = (attack(classifier, images, reference, apgd(3.0, 10), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_flipped_images_leave_and_passes_are_counted():
    classifier, images = net_classifier(), some_images(12)
    reference = predictions_of(classifier, images)
    reference[0] = 1 - reference[0]    # wrong to begin with
    classifier.passes.forwards = classifier.passes.backwards = 0
    outcome = attack(classifier, images, reference, apgd(20.0, steps=15, restarts=3))
    assert int(outcome.forwards.sum()) == classifier.passes.forwards
    assert int(outcome.backwards.sum()) == classifier.passes.backwards
    stood = ~outcome.flipped
    assert stood.any()
    assert (outcome.trials[stood] == 3).all()
    assert (outcome.forwards[stood] == 1 + 3 * 16).all()
    assert (outcome.backwards[stood] == 3 * 15).all()
    assert outcome.forwards[0] == 1
    assert torch.equal(outcome.images[0], images[0])
    flipped = outcome.flipped.clone()
    flipped[0] = False
    assert (outcome.forwards[flipped] < 1 + 3 * 16).all()


def test_logits_that_are_no_numbers_are_survived():
    class Moody(nn.Module):
        """Not a number for one image wherever it is moved, and for others on the way at times."""

        def __init__(self):
            super().__init__()
            self.net = small_net()

        def forward(self, images):
            mean = images.mean((1, 2, 3))[:, None]
            return torch.where((mean > 0.8) | ((mean * 1e5).floor() % 7 == 0), torch.nan, self.net(images))

    classifier, images = net_classifier(module=Moody()), some_images(6)
    images[2] = 300.0
    outcome = attack(classifier, images, torch.zeros(6, dtype=torch.long), apgd(30.0, 40, restarts=2))
    others = torch.arange(6) != 2
    assert not outcome.flipped[2]
    assert torch.isnan(outcome.margin[2])
    assert torch.equal(outcome.images[2], images[2])
    assert torch.isfinite(outcome.images).all()
    assert torch.isfinite(outcome.margin[others]).all()
    assert outcome.flipped[others].any()


# -- strength --

def test_at_equal_passes_it_flips_at_least_as_many_as_pgd():
    """On a trained network, at sizes at which some reads flip and some stand."""
    trained = fit(plain_classifier(seed=1), spots(120, 1), spots(60, 2), replace(QUICK, epochs=6)).classifier
    cases = spots(32, 3)
    images = torch.stack([cases[place].image for place in range(32)])
    labels = torch.tensor([row.label for row in cases.rows])
    sizes = smallest_flip(trained, images, labels, effort=Effort(steps=10, polish=4)).size

    def flips(make):
        return sum(int(attack(trained, images, labels, make(float(sizes.quantile(share)))).flipped.sum())
                   for share in (0.4, 0.7))

    ours, shared_out = flips(lambda size: apgd(size, 50)), flips(lambda size: apgd(size, 20, 5))
    assert 0.3 * 2 * 32 < ours < 0.8 * 2 * 32
    assert ours > flips(lambda size: pgd(size, 50, restarts=1))
    assert ours > flips(lambda size: pgd(size, 10, restarts=5))
    assert shared_out >= flips(lambda size: pgd(size, 20, restarts=5))


# -- arguments and names --

@pytest.mark.parametrize(("spoiled", "told"), [
    ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
    ({"steps": 2.5}, "steps must be a whole number of at least 1; got 2.5"),
    ({"steps": "many"}, "steps must be a whole number of at least 1; got 'many'"),
    ({"restarts": 0}, "restarts must be a whole number of at least 1; got 0"),
    ({"loss": "dlr"}, "loss must be 'margin' or 'cross_entropy'; got 'dlr'"),
    ({"epsilon": -1.0}, "epsilon must be a number of at least 0"),
    ({"epsilon": math.nan}, "epsilon must be a number of at least 0")])
def test_what_is_refused(spoiled, told):
    with pytest.raises(UsageError) as refused:
        apgd(**({"epsilon": 1.0} | spoiled))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_it_is_known_by_name_in_a_study(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[attacks]\nuse = ["apgd"]\nepsilons = ["0.01 range"]\nsmallest_flip = false\n'
                    "[attacks.settings.apgd]\nsteps = 12\nrestarts = 2\n", encoding="utf-8")
    made = pixel_attacks(read_study(path, keyed(attacks__loss="cross_entropy")), Bounds(-4, 4, "HU"))["test"]
    assert made == [apgd(0.08, 12, 2, loss="cross_entropy")]
    rows = assess(made_classifier(), made_cases(20), made).to_pylist()
    found = [row for row in rows if row["attack"] == "apgd"]
    assert {row["size"] for row in found} == {0.08}
    assert {row["threat"] for row in found} == {"Linf"}
    assert 0 < sum(row["flips"] for row in found) < len(found)
    path.write_text("[attacks.settings.apgd]\nstep = 12\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"unknown key 'attacks\.settings\.apgd\.step': did you mean 'steps'\?"):
        read_study(path)


@pytest.mark.parametrize("sizes", [["2 grey levels", "2 grey levels"], ["2 grey levels", "8/1020"]])
def test_a_size_stated_twice_is_named(sizes: list[str]) -> None:
    study = read_study(None, {"name": "x", "attacks": {"epsilons": sizes}})
    with pytest.raises(UsageError, match=rf"'{sizes[0]}' and '{sizes[1]}' are one size, .*2 grey levels"):
        pixel_attacks(study, Bounds(0, 255, "grey level"))
