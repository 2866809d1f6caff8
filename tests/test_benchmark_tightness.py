"""The benchmarks' tightness against gradients: what is pooled, what is judged, and what came to nothing."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # the benchmarks are no part of the package

from benchmarks.smallest import Row
from benchmarks.tightness import OURS, Outcome, Point, goals, pooled

INF = float("inf")


def point(name: str, steps: int, *sizes: float) -> Point:
    return Point(name, steps, Row(name, torch.tensor(sizes), steps + 9.0, float(steps)))


def test_a_method_is_pooled_by_its_steps_over_the_networks_that_have_it() -> None:
    first = Outcome("a", (point(OURS, 35, 1.0, 2.0), point("FMN", 10, 3.0, 2.0), point("FMN", 50, 1.5, 2.0)))
    failed = Point("FMN", 10, Row("FMN", torch.empty(0), said="ValueError: no"))
    second = Outcome("b", (point(OURS, 35, 1.0), failed, point("FMN", 50, 2.0)))
    found = {(each.name, each.steps): each for each in pooled([first, second])}
    assert found["FMN", 50].ratios.tolist() == [1.0, 1.5, 2.0]
    assert (found["FMN", 50].networks, found["FMN", 10].networks) == (2, 1)
    assert (found[OURS, 35].gradients, found[OURS, 35].forwards) == (35.0, 44.0)
    no_worse, tail = goals([first, second])
    assert (no_worse.met, no_worse.found) == (True, "no worse in 2 of 2; absent or failed: FMN of 10 on b")
    assert (tail.met, tail.found) == (True, "1.0000 / 1.0000")


def test_a_peer_that_is_tighter_at_as_many_gradients_is_named_and_a_budget_need_not_be_spent() -> None:
    spent = Point(OURS, 35, Row(OURS, torch.tensor([1.0, 1.1]), 43.0, 34.4))
    one = Outcome("a", (point(OURS, 10, 2.0, 2.0), spent, point("FMN", 50, 1.0, 1.0), point("FAB", 20, 3.0, INF)))
    no_worse, tail = goals([one])
    assert (no_worse.met, no_worse.found) == (False, "no worse in 1 of 2; worse than FMN on a")
    assert (tail.met, tail.found) == (False, "1.0000 / 1.100")


def test_an_image_that_nobody_flips_is_left_out() -> None:
    one = Outcome("a", (point(OURS, 35, INF, 1.0), point("FMN", 50, INF, 0.5)))
    assert one.ratios(one.points[0]).tolist() == [2.0]
    assert [goal.met for goal in goals([one])] == [False, False]


def test_heart_is_art_in_its_wraps() -> None:
    pytest.importorskip("art")
    pytest.importorskip("heart_library")
    from benchmarks.peers import ATTACKS

    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval(), torch.rand(4, 1, 6, 6)
    labels = network(images).argmax(1)
    for attack in ATTACKS["HEART"]:
        asked = (network, images, labels, 0.05, 5, 0)
        assert torch.equal(ATTACKS["HEART"][attack](*asked)(), ATTACKS["ART"][attack](*asked)())
