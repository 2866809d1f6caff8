"""What judges smallest flips in the benchmarks: sizes, quantiles, curves, and [A]'s procedure on known truths."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from steadyread import Bounds, Classifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # the benchmarks are no part of the package

from benchmarks import curve, minimum_norm, smallest, success
from benchmarks.setup import Setup
from benchmarks.subjects import RECIPES, Subject

INF = float("inf")


class Sum(nn.Module):
    """Class 1 where the pixels sum to more than 2; of one channel of 2 x 2, the smallest flip is |2 - sum| / 4."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        margin = self.weight * (images.flatten(1).sum(1) - 2)
        others = [margin - 100 - place for place in range(self.classes - 2)]
        return torch.stack([torch.zeros_like(margin), margin, *others], dim=1)


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def subject_of(images: Tensor, classes: int = 2) -> Subject:
    classifier = Classifier(Sum(classes), Bounds(0.0, 1.0, ""), "logits")
    return Subject(classifier, images, (images.flatten(1).sum(1) > 2).long(), RECIPES[0], "plain")


def test_size_is_the_largest_change_where_the_class_is_lost_and_infinite_elsewhere() -> None:
    clean = grey(0.4, 0.4, 0.4)
    found = grey(0.55, 0.45, 0.4)
    found[0, 0, 0, 0] = 0.6
    sizes = success.flip_sizes(Sum(), clean, found, torch.zeros(3, dtype=torch.int64), (0.0, 1.0))
    assert sizes.tolist() == pytest.approx([0.2, INF, INF])


def test_an_image_or_a_logit_that_is_not_finite_is_no_flip() -> None:
    found = grey(0.4, float("nan"))
    spoilt = success.flip_sizes(lambda images: torch.full((2, 2), torch.nan), grey(0.4, 0.4), found,
                                     torch.tensor([1, 1]), (0.0, 1.0))
    assert spoilt.tolist() == [INF, INF]
    assert success.flip_sizes(Sum(), grey(0.4, 0.4), found, torch.tensor([0, 0]), (0.0, 1.0)).isinf().all()


def test_the_papers_procedure_finds_the_first_epsilon_beyond_the_truth() -> None:
    images = grey(0.42, 0.499, 0.2)
    grid = (0.001, 0.05, 0.1, 0.2)
    method = {each.name: each for each in minimum_norm.methods(2, grid, 3, torch.ones(3))}[minimum_norm.PAPERS_WAY]
    assert method.gradients == 4 * 10 * 3
    torch.manual_seed(0)
    found = method.find(Sum().requires_grad_(False), images, torch.zeros(3, dtype=torch.int64))
    sizes = success.flip_sizes(Sum(), images, found, torch.zeros(3, dtype=torch.int64), (0.0, 1.0))
    assert 0.08 <= sizes[0] <= 0.1 + 1e-6      # the truth is 0.08
    assert 0.001 <= sizes[1] <= 0.05 + 1e-6    # the truth is 0.001, where rounding decides
    assert sizes[2] == INF                     # the truth is 0.3, beyond the grid


@pytest.mark.parametrize("gradients", [1, 5, 42, 100, 101, 303, 640])
def test_an_effort_adds_up_to_what_was_asked(gradients: int) -> None:
    effort = smallest.effort_of(gradients, 2)
    assert effort.steps <= gradients <= effort.steps + max(effort.beyond, 1)
    if gradients >= 5:
        effort = smallest.effort_of(gradients, 10)
        assert effort.targets * effort.explore + effort.refine == gradients


@pytest.mark.parametrize("classes", [2, 5])
def test_no_more_gradients_are_taken_than_allowed(classes: int) -> None:
    subject = subject_of(grey(0.3, 0.45, 0.7), classes)
    row = smallest.within(subject, 12, 3)
    assert row.backwards <= 12
    assert row.sizes.tolist() == pytest.approx([0.2, 0.05, 0.2], rel=0.05)


def test_a_yardstick_is_the_best_of_all_rows_and_rows_are_judged_on_their_own_images() -> None:
    rows = (smallest.Row("a", torch.tensor([1.0, 4.0, INF])), smallest.Row("b", torch.tensor([2.0, 2.0])))
    yardstick = torch.tensor([1.0, 2.0, 3.0])
    one = smallest.Outcome(subject_of(grey(0.1)), rows, (), rows[0], yardstick)
    assert one.ratios(rows[0]).tolist() == [1.0, 2.0, INF]
    assert one.ratios(rows[1]).tolist() == [1.0, 2.0]


def test_a_method_that_fails_is_a_row_that_says_so() -> None:
    def fails(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        raise IndexError("Target 1 is out of bounds.")

    subject = subject_of(grey(0.3))
    row = smallest.theirs(subject, minimum_norm.Method("broken", 1, fails), 1, Setup(Path(), Path(), 1, 1, True))
    assert row.said == "IndexError: Target 1 is out of bounds."


def outcome_of(mine: list[float], *peers: smallest.Row) -> smallest.Outcome:
    ours = smallest.Row("steadyread", torch.tensor(mine), 40, 35)
    duels = tuple(smallest.Duel(peer, ours, 35) for peer in peers if not peer.said)
    yardstick = torch.stack([row.sizes for row in (ours, *peers) if not row.said]).amin(0)
    return smallest.Outcome(subject_of(grey(0.1)), (ours, *peers), duels, ours, yardstick)


def test_no_goal_is_met_where_nothing_was_measured_and_what_is_absent_is_named() -> None:
    gone = [smallest.Row(name, torch.empty(0), said="not installed")
            for name in ("FMN", minimum_norm.PAPERS_WAY, minimum_norm.ART_WAY)]
    goals = list(smallest._goals([outcome_of([0.1], *gone)]))
    assert [goal.met for goal in goals] == [False, False, False]
    assert minimum_norm.PAPERS_WAY in goals[0].found
    assert "FMN" not in goals[0].found
    assert minimum_norm.ART_WAY in goals[1].found
    assert all(row.name in goals[2].found for row in gone)
    assert not any(goal.met for goal in smallest._goals([]))
    assert not any(goal.met for goal in curve._goals([]))


def test_the_papers_procedure_is_judged_on_the_images_that_it_flips() -> None:
    paper = smallest.Row(minimum_norm.PAPERS_WAY, torch.tensor([INF, 0.2, INF]), 6500, 6400)
    won = next(smallest._goals([outcome_of([5.0, 0.1, INF], paper)]))
    assert won.met
    assert "1.0000 / 1.0000 against 2.000 / 2.000 on the 1 of 3 that it flips" in won.found
    assert not next(smallest._goals([outcome_of([0.1, 0.3, 0.1], paper)])).met
    none = smallest.Row(minimum_norm.PAPERS_WAY, torch.tensor([INF, INF, INF]), 6500, 6400)
    assert not next(smallest._goals([outcome_of([0.1, 0.3, 0.1], none)])).met
    assert not list(smallest._against(subject_of(grey(0.4, 0.4, 0.4)), [none], paper))


def test_what_flips_beyond_epsilon_does_not_count_on_the_curve() -> None:
    subject = subject_of(grey(0.4))
    swept = curve.sweep(subject, "bare torch loop", ("fgsm",), (0.05, 0.15), 1, Setup(Path(), Path(), 1, 1, True))
    assert swept.sizes.flatten().tolist() == pytest.approx([INF, 0.15])
    assert swept.backwards == 2
    cheat = curve._judged({("fgsm", 0.05): [grey(0.9)]},
                          lambda found: success.flip_sizes(Sum(), grey(0.4), found, torch.tensor([0]), (0, 1)))
    assert cheat.flatten().tolist() == [INF]
