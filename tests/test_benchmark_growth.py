"""The benchmarks' own arithmetic: exponents, automatic batches, estimators; and the GPU's code on a CPU."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from steadyread import Bounds, Classifier, CTNoise, Spectrum, flip_probability
from steadyread.attacks.flip_probability import with_linear_part
from steadyread.attacks.random_noise import sizes_at

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # the benchmarks are no part of the package

from benchmarks import card, gpu, growth
from benchmarks.ct_noise import Estimates, Judged, compared, counted, error, ours


def test_exponent_is_that_of_an_exact_power() -> None:
    exponent, deviation = growth.exponent_of([10, 100, 1000], [3 * work**1.5 for work in (10, 100, 1000)])
    assert exponent == pytest.approx(1.5)
    assert deviation == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("who", ["smallest_flip", "pgd", "bare"])
@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 4, 4, 4)])
def test_a_point_is_measured(who: str, shape: tuple[int, ...]) -> None:
    found = growth.here(growth.Point(who, 150, shape, 5))
    assert found.seconds > 0
    assert found.forwards > found.backwards > 0
    if who != "smallest_flip":
        assert (found.forwards, found.backwards) == (growth.STEPS + 1, growth.STEPS)


def axes(*, last: float = 8.0, classes: float = 4.0
         ) -> tuple[tuple[growth.Axis, ...], dict[str, growth.Measured]]:
    """Two axes of work, each of three points, of which the last took so long."""
    made, found = [], {}
    for name, ends in (("images", (2.0, 4.0, last)), ("classes", (1.0, 2.0, classes))):
        points = tuple(growth.Point("pgd", images, (1, 10, 10), 2) for images in (100, 200, 400))
        made.append(growth.Axis(name, name, points, lambda point: point.images))
        found[name] = {"pgd": [(point, growth.Found(end, 400 * point.images, 1, 1))
                               for point, end in zip(points, ends, strict=True)]}
    return tuple(made), found


def test_time_that_grows_as_the_work_meets_the_goal_and_faster_does_not() -> None:
    assert growth.time_goal("pgd", *axes()).met
    assert growth.time_goal("pgd", *axes(classes=100.0)).met   # no goal rests on the classes
    assert not growth.time_goal("pgd", *axes(last=12.0)).met
    assert not growth.time_goal("pgd", *axes(last=math.nan)).met


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_point_that_came_to_nothing_misses_the_goals(lost: int) -> None:
    made, found = axes()
    points = [(point, "killed" if place == lost else one)
              for place, (point, one) in enumerate(found["images"]["pgd"])]
    goals = (growth.time_goal("pgd", made, {"images": {"pgd": points}}), growth.memory_goal("pgd", points))
    assert not any(goal.met for goal in goals)
    assert all("killed" in goal.found for goal in goals)
    assert not growth.time_goal("pgd", made, {"images": {"pgd": [(point, "killed") for point, _ in points]}}).met


def test_the_bare_loop_takes_the_chunks_of_steadyread() -> None:
    seen: dict[str, set[int]] = {}
    for who in ("bare", "pgd"):
        network = growth._tiny(growth.Point(who, 150, (1, 80, 80), 2)).eval().requires_grad_(False)
        lots = seen.setdefault(who, set())
        network.register_forward_pre_hook(lambda _, given, lots=lots: lots.add(len(given[0])))
        growth._runs(network)[who](torch.rand(150, 1, 80, 80), torch.zeros(150, dtype=torch.int64))
    assert seen["bare"] == seen["pgd"] == {20, 10}


def test_batch_grows_until_doubling_gains_nothing() -> None:
    rates = {8: 100.0, 16: 190.0, 32: 300.0, 64: 310.0, 128: 500.0}
    assert card.best_batch(rates.__getitem__) == (64, {8: 100.0, 16: 190.0, 32: 300.0, 64: 310.0})


def test_batch_grows_until_memory_ends() -> None:
    def rate(many: int) -> float:
        if many > 32:
            raise torch.OutOfMemoryError("out of memory")
        return float(many)

    assert card.best_batch(rate)[0] == 32
    assert card.best_batch(rate, most=16)[0] == 16
    with pytest.raises(torch.OutOfMemoryError):
        card.best_batch(rate, least=64)


@pytest.mark.slow
def test_the_gpu_table_runs_on_a_cpu() -> None:
    scale = gpu.Scale(torch.device("cpu"), width=0.05, side=16, box=8, most=16, matrix=64, rounds=1, compiled=False)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    parts, ratios = gpu.figures(scale)
    assert len(parts) == 1 + 2 * 3
    assert len(ratios) == 2
    assert all(len(row) == len(part.columns) for part in parts for row in part.rows)
    assert any(row[0] == "steadyread" and row[1] == "11 + 10" for part in parts for row in part.rows)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_lot_of_draws_is_what_flip_probability_has() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 2))
    classifier = Classifier(net, Bounds(-1000, 400, "HU"), "logits", normalise=(-300.0, 700.0))
    noise, images = CTNoise(Spectrum.soft(), spacing_mm=1.0), torch.rand(3, 1, 16, 16) * 1000 - 900
    batch = classifier.batch(images)
    with torch.no_grad():
        reference = classifier.logits(images).argmax(1)
    clean, pool, linear = with_linear_part(classifier, batch, reference, noise,
                                           sizes_at(noise, (10.0, 100.0), batch), 40, seed=0)
    found = ours(clean, pool, linear)
    told = flip_probability(classifier, images, reference, noise, (10.0, 100.0), 16)
    assert found.probability.shape == (2, 6)   # two lots of 16 in 40 draws
    for name in ("probability", "low", "high"):
        np.testing.assert_allclose(getattr(found, name)[0], getattr(told, name).flatten(), atol=1e-6)
    np.testing.assert_allclose(counted(pool, 20).probability[1], (pool[..., 20:] < 0).double().mean(2).flatten())


def two_estimators(errors: np.ndarray, others: np.ndarray, keys: str) -> Judged:
    truth = np.full(len(keys), 0.5)
    made = [Estimates("one", truth + each * np.array([[1.0], [-1.0]]), truth, truth) for each in (errors, others)]
    return Judged("net", 1000, truth, truth, truth, tuple(made), tuple(keys))


def test_ratio_of_errors_has_an_interval_over_images() -> None:
    errors = np.array([0.1, 0.2, 0.01, 0.02])
    found = compared([two_estimators(errors, 2 * errors, "aabb"), two_estimators(errors, 2 * errors, "abcd")],
                     (0.1, 0.9), other=1)
    assert (found.ratio, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))   # the same on every image
    judged = two_estimators(errors, np.full(4, 0.1), "abcd")
    found = compared([judged], (0.1, 0.9), other=1)
    assert found.ratio == pytest.approx(error([judged], 0, (0.1, 0.9)) / error([judged], 1, (0.1, 0.9)))
    assert found.low < found.ratio < found.high
    together = compared([replace(judged, images=("a",) * 4)], (0.1, 0.9), other=1)   # nothing to resample
    assert together.low == together.high == pytest.approx(found.ratio)


def test_a_range_without_pairs_or_without_errors_meets_no_goal() -> None:
    judged = two_estimators(np.full(2, 0.1), np.zeros(2), "ab")
    assert not compared([judged], (0.0, 0.01), other=1).ratio <= 1
    assert str(compared([judged], (0.0, 0.01), other=1)) == "nothing to compare in this range"
    assert not compared([judged], (0.1, 0.9), other=1).ratio <= 1
