"""Hardening: larger flips, an honest rule for the epoch kept, sizes found on training images alone."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fabricate_training import BOUNDS, QUICK, accuracy, classifier, spots
from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, Row, collate
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.training import loop
from steadyread.training.epsilon import useful_epsilons
from steadyread.training.fit import fit
from steadyread.training.harden import HardeningSettings, Rule, harden
from steadyread.training.loop import Course, Stage, Standing
from steadyread.training.recipes import Clean

PLAIN = replace(QUICK, learning_rate=3e-3)
SETTINGS = HardeningSettings(epsilons=(100.0,), epochs=(6,), training=PLAIN)
EPOCH = {"epoch", "stage", "epsilon", "train_loss", "validation_loss", "validation_auc", "validation_accuracy",
         "robust_accuracy", "predicted_classes", "seconds"}
HISTORY = {"method", "epsilon", "unit", "epsilons", "start", "rule", "epochs", "chosen_epoch", "failed", "settings",
           "seed", "seconds"}


@pytest.fixture(scope="module")
def trained() -> Classifier:
    return fit(classifier(), spots(120, 1), spots(60, 2), replace(QUICK, epochs=8)).classifier


def flips(network: Classifier, cases: Cases) -> np.ndarray:
    batch, labels = collate([cases[i] for i in range(len(cases))], cases.bounds)
    found: np.ndarray = smallest_flip(network, batch, labels).size.numpy()
    return found


def robust(network: Classifier, cases: Cases, epsilon: float) -> float:
    """As the docstring states it, by the public attack."""
    batch, labels = collate([cases[i] for i in range(len(cases))], cases.bounds)
    return 1 - float(attack(network, batch, labels, pgd(epsilon, restarts=1), 0).flipped.float().mean())


# what comes of it

@pytest.mark.parametrize("method", ["pgd", "trades", "unsupervised"])
def test_hardening_raises_the_smallest_flips_at_little_cost(method: Any, trained: Classifier) -> None:
    before = copy.deepcopy(trained.module.state_dict())
    found = harden(trained, spots(120, 1), spots(60, 2), replace(SETTINGS, method=method))
    test = spots(80, 3)
    assert np.quantile(flips(found.classifier, test), 0.25) > 1.2 * np.quantile(flips(trained, test), 0.25)
    assert accuracy(found.classifier, test) > 0.9
    assert robust(found.classifier, test, 100.0) > robust(trained, test, 100.0) + 0.2
    assert found.history["failed"] is None
    assert (found.classifier.stage, trained.stage) == ("hardened", "plain")
    assert all(torch.equal(before[name], value) for name, value in trained.module.state_dict().items())


def test_the_history_is_what_training_json_holds_and_its_figures_are_those_of_the_network(
        trained: Classifier) -> None:
    validation = spots(60, 2)
    found = harden(trained, spots(120, 1), validation, replace(SETTINGS, epsilons=(50.0, 100.0), epochs=(2, 3)))
    history = found.history
    assert set(history) == HISTORY
    assert all(set(row) == EPOCH for row in history["epochs"])
    assert [(row["epoch"], row["stage"], row["epsilon"]) for row in history["epochs"]] == [
        (1, 1, 50.0), (2, 1, 50.0), (3, 2, 100.0), (4, 2, 100.0), (5, 2, 100.0)]
    assert (history["method"], history["epsilon"], history["unit"]) == ("pgd", 100.0, "HU")
    assert history["epsilons"] == [50.0, 100.0]
    assert history["start"] == {"validation_accuracy": pytest.approx(accuracy(trained, validation)),
                                "robust_accuracy": pytest.approx(robust(trained, validation, 100.0))}
    kept = history["epochs"][history["chosen_epoch"] - 1]
    assert kept["validation_accuracy"] == pytest.approx(accuracy(found.classifier, validation))
    assert kept["robust_accuracy"] == pytest.approx(robust(found.classifier, validation, 100.0), abs=1 / 60)
    assert "0.07143 range (100 HU)" in history["rule"]
    assert "at most 2.0 % below" in history["rule"]
    assert history["settings"]["training"]["learning_rate"] == 3e-3


def test_the_same_seed_hardens_alike_and_the_callers_random_state_is_left_alone(trained: Classifier) -> None:
    quick = replace(SETTINGS, epochs=(2,), steps=3)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one, two, three = (harden(trained, spots(50, 1), spots(20, 2), quick, seed=seed).module.state_dict()
                       for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)


def test_from_scratch_the_start_is_no_measure_of_clean_accuracy() -> None:
    settings = replace(SETTINGS, epochs=(10,), training=QUICK)
    found = harden(classifier(), spots(120, 1), spots(60, 2), settings, scratch=True)
    sums = [row["validation_accuracy"] + row["robust_accuracy"] if row["predicted_classes"] > 1 else 0
            for row in found.history["epochs"]]
    assert sums[found.history["chosen_epoch"] - 1] == max(sums)
    assert accuracy(found.classifier, spots(80, 3)) > 0.9
    assert robust(found.classifier, spots(80, 3), 100.0) > 0.7
    assert found.history["rule"].startswith("the epoch of the highest sum of accuracy on clean validation images")


def test_images_of_the_test_part_are_never_read(trained: Classifier) -> None:
    made = spots(100, 1)
    rows = tuple(replace(row, part=("train", "validation", "test", "train")[row.source % 4]) for row in made.rows)

    def load(row: Row) -> Any:
        assert row.part != "test", "a test image was read"
        return made.load(row)

    cases = replace(made, rows=rows, load=load)
    harden(trained, cases.part("train"), cases.part("validation"), replace(SETTINGS, epochs=(1,), steps=2))
    useful_epsilons(trained, cases.part("train"), seed=0, images=20)


# which epoch is kept

def row(clean: float, robust: float, classes: int = 2, loss: float = 0.5) -> dict[str, Any]:
    return {"validation_accuracy": clean, "robust_accuracy": robust, "predicted_classes": classes,
            "validation_loss": loss}


def kept(rule: Rule, rows: Sequence[dict[str, Any]]) -> int:
    """The epoch that a training with these figures keeps."""
    course = Course((Stage(Clean(), len(rows)),), PLAIN, dict, rule.merit, None, "")
    module, standing = nn.Linear(1, 1), Standing({})
    for told in rows:
        standing.enter(told, rule.merit(told), module, course)
    return standing.chosen


@pytest.mark.parametrize(("rows", "epoch"), [
    ([row(0.86, 0.5), row(0.84, 0.7), row(0.85, 0.6)], 2),               # most robust of those near enough
    ([row(0.86, 0.5), row(0.70, 0.9), row(0.85, 0.6)], 3),               # too dear, however robust
    ([row(0.79, 0.2), row(0.70, 0.6), row(0.60, 0.69)], 2),              # none near enough: the highest sum
    ([row(0.83, 0.5), row(0.85, 0.5)], 2),                               # equally robust: the more accurate
    ([row(0.85, 0.5, loss=0.5), row(0.85, 0.5, loss=0.4)], 2),           # and then the lower loss
    ([row(0.85, 0.85, classes=1), row(0.6, 0.3)], 2),                    # always the same class: never
    ([row(0.85, 0.85, classes=1)] * 3, 0),
    ([row(0.86, 0.35), row(0.8, 0.7)], 2),                               # near enough, but less robust than before
    ([row(0.5, 0.5)], 0),                                                # no better than always saying the same
    ([row(0.83, 0.5)], 1)])
def test_the_rule_keeps_the_epoch_that_it_names(rows: list[dict[str, Any]], epoch: int) -> None:
    assert kept(Rule(0.85 - 0.02, 0.4, 0.5), rows) == epoch


def silent() -> Classifier:
    """A network that can only learn one answer for all images."""
    blind = nn.Linear(144, 2)
    nn.init.zeros_(blind.weight).requires_grad_(False)
    return Classifier(nn.Sequential(nn.Flatten(), blind), BOUNDS, "logits", normalise=(-700.0, 300.0))


def test_a_network_that_says_one_class_is_never_kept() -> None:
    given = silent()
    found = harden(given, spots(40, 1), spots(20, 2), replace(SETTINGS, epochs=(3,), steps=2))
    assert found.history["chosen_epoch"] == 0
    assert found.history["failed"].startswith("after none of the 3 epochs did the network read more validation")
    assert [told["predicted_classes"] for told in found.history["epochs"]] == [1, 1, 1]
    assert found.classifier.stage == "plain"
    assert all(torch.equal(a, b) for a, b in zip(given.module.state_dict().values(),
                                                 found.module.state_dict().values(), strict=True))


def test_a_network_made_worse_is_left_as_it_was(trained: Classifier) -> None:
    """Training images with their labels exchanged teach the contrary of what validation asks."""
    made = spots(60, 1)
    wrong = replace(made, rows=tuple(replace(one, label=1 - int(one.label or 0)) for one in made.rows))
    level = replace(PLAIN, schedule="constant")
    found = harden(trained, wrong, spots(40, 2),
                   replace(SETTINGS, epsilons=(60.0,), epochs=(2,), steps=2, training=level))
    assert found.history["chosen_epoch"] == 0
    assert found.history["failed"].startswith("none of the 2 epochs was better than the network they began with")
    assert accuracy(found.classifier, spots(40, 2)) == accuracy(trained, spots(40, 2))


def test_patience_ends_a_stage_and_each_stage_has_its_own_schedule(
        trained: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    made, still = [], replace(PLAIN, learning_rate=1e-30, weight_decay=0.0, max_norm=None)
    kept_back = loop.descent_of
    monkeypatch.setattr(loop, "descent_of", lambda module, settings, steps: (
        made.append(steps), kept_back(module, settings, steps))[1])
    settings = HardeningSettings(epsilons=(10.0, 20.0), epochs=(9, 8), steps=1, patience=2, training=still)
    history = harden(trained, spots(50, 1), spots(20, 2), settings).history
    assert [told["stage"] for told in history["epochs"]] == [1, 1, 1, 2, 2, 2]
    assert made == [9 * 4, 8 * 4]   # steps of a schedule: epochs times batches of 16
    assert history["chosen_epoch"] == 1
    assert history["failed"] is None   # no better and no worse


def test_at_most_so_many_validation_images_are_attacked_by_class(
        trained: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(network: Classifier, images: Any, labels: torch.Tensor, *rest: Any) -> Any:
        seen.append(torch.bincount(labels).tolist())
        return attack(network, images, labels, *rest)

    monkeypatch.setattr("steadyread.training.harden.attack", watched)
    harden(trained, spots(40, 1), spots(60, 2), replace(SETTINGS, epochs=(2,), steps=1, judged=20))
    assert seen == [[10, 10]] * 3


@pytest.mark.parametrize(("wrong", "told"), [
    ({"method": "magic"}, "method: no hardening method 'magic'; known are pgd, trades, unsupervised, clean"),
    ({"epsilons": (2.0, 1.0), "epochs": (1, 1)}, "must rise"), ({"epochs": (1, 2)}, "got 2 of them for 1 epsilons"),
    ({"epsilons": (0.0,)}, "epsilons must be above 0"), ({"epochs": (0,)}, "epochs must be above 0"),
    ({"share": 1.2}, "share must be at most 1"), ({"steps": 0}, "steps")])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        HardeningSettings(**({"epsilons": (1.0,)} | wrong))


def test_what_fit_refuses_hardening_refuses(trained: Classifier) -> None:
    with pytest.raises(InputRefused, match="no validation cases"):
        harden(trained, spots(20, 1), spots(10, 2).pick([]), SETTINGS)
    with pytest.raises(InputRefused, match=r"of one class \(a\)"):
        harden(trained, spots(20, 1).pick(range(0, 20, 2)), spots(10, 2), SETTINGS)
    wild = replace(PLAIN, learning_rate=1e30, optimiser="sgd", schedule="constant", max_norm=None)
    with pytest.raises(InputRefused, match=r"diverged in epoch 1"):
        harden(trained, spots(20, 1), spots(10, 2), replace(SETTINGS, training=wild))


# sizes found on training images

def exact(n: int = 60) -> tuple[Classifier, Cases, np.ndarray]:
    """A linear network, images well inside the bounds, and the signed distance of each to the boundary."""
    chance = np.random.default_rng(4)
    weight = chance.normal(size=16).astype(np.float32)
    pixels = chance.uniform(-500, -200, (n, 1, 4, 4)).astype(np.float32)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    bias = -float(np.median(pixels.reshape(n, 16) @ weight))
    with torch.no_grad():
        net[1].weight.copy_(torch.from_numpy(weight)[None])
        net[1].bias.fill_(bias)
    z = pixels.reshape(n, 16) @ weight + bias
    labels = (z > 0).astype(int)
    labels[:8] = 1 - labels[:8]   # eight are read wrong
    rows = tuple(Row(f"case {i}", f"p{i}", int(label), str(label), None, "train", i)
                 for i, label in enumerate(labels))
    cases = Cases("line", rows, lambda one: pixels[one.source], ("a", "b"), BOUNDS)
    distance = np.abs(z) / np.abs(weight).sum()
    distance[:8] = np.nan
    return Classifier(net, BOUNDS, "logit"), cases, distance


def test_useful_sizes_are_the_exact_ones_of_a_linear_network() -> None:
    network, cases, distance = exact()
    found = useful_epsilons(network, cases, seed=0)
    expected = np.sort(distance[8:])
    assert found.images == 52
    assert (found.low, found.median, found.high) == pytest.approx(expected[[5, 25, 46]], rel=1e-3)
    assert "flips half of 52 training images that the network reads right" in found.why
    assert f"({found.median:.3g} HU)" in found.why


def test_useful_sizes_come_from_a_draw_by_class() -> None:
    network, cases, _ = exact()
    found = useful_epsilons(network, cases, seed=0, images=30)
    assert 20 <= found.images <= 30
    assert found == useful_epsilons(network, cases, seed=0, images=30)
    assert found != useful_epsilons(network, cases, seed=1, images=30)


def test_sizes_that_cannot_be_found_are_refused() -> None:
    network, cases, _ = exact()
    with pytest.raises(InputRefused, match=r"of 12 training images the network reads 4 right, too few .* 10\)"):
        useful_epsilons(network, cases.pick(range(12)), seed=0)
    with pytest.raises(InputRefused, match="more than half of 20 training images could not be flipped at any size"):
        useful_epsilons(silent(), spots(40, 1), seed=0)
