"""[A]'s sensitivity: the first size of a grid at which PGD flips an image, set beside the smallest flip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyread.assessment import assess
from steadyread.attacks.blind import without_gradients
from steadyread.attacks.recipes.grid_flip import grid_flip
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.errors import UsageError
from steadyread.jobs.attacks import pixel_attacks
from steadyread.jobs.quick import gradients_of
from steadyread.jobs.run import carry_out
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.triage import scores, triage
from steadyread.study.reading import checked
from steadyread.types import Bounds
from test_assessment import made_cases, made_classifier
from test_attacks_exact import linear_case


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("space", [(20,), (9, 7), (5, 4, 6)])
def test_on_a_linear_network_it_is_the_first_size_that_is_not_below_the_exact_one(space, classes):
    classifier, images, predictions, exact = linear_case(space, classes=classes)
    batch = classifier.batch(images)
    grid = torch.linspace(float(exact.min()) / 2, float(exact.max()) / (1.0 if classes == 5 else 1.3), 12)
    found = grid_flip(grid.tolist(), restarts=1)(classifier, batch, predictions, 0)
    first = torch.searchsorted(grid, exact)     # the first that is >= the exact size
    expected = torch.cat([grid, torch.tensor([torch.inf])])[first].double()
    near = (exact[:, None] / grid - 1).abs().amin(1) < 1e-4      # decided by rounding
    if classes == 2:      # with more, a climb of the margin may take another class than the nearest
        assert torch.equal(found.size[~near], expected[~near])
        assert torch.isinf(found.size).any(), "the grid ends below the steadiest"
    assert (found.size >= expected)[~near].all()
    flips = torch.isfinite(found.size)
    with torch.no_grad():
        assert ((classifier.margins(found.images, predictions) < 0) == flips).all()
    assert ((found.images - images).flatten(1).abs().amax(1)[flips] <= found.size[flips] * (1 + 1e-5)).all()


def test_it_is_pgd_at_each_size_and_an_image_that_flipped_costs_no_more():
    classifier, images, predictions, exact = linear_case((9, 7))
    batch, grid = classifier.batch(images), sorted(exact.tolist())[1:-2:4]
    found = grid_flip(grid, restarts=2)(classifier, batch, predictions, 7)
    left, first = torch.ones(len(images), dtype=torch.bool), torch.full((len(images),), torch.inf, dtype=torch.float64)
    forwards, backwards = torch.zeros(len(images), dtype=torch.long), torch.zeros(len(images), dtype=torch.long)
    for at, size in enumerate(grid):
        out = pgd(size, restarts=2)(classifier, batch.pick(left.nonzero()[:, 0]), predictions[left], 7 + at)
        forwards[left] += out.forwards
        backwards[left] += out.backwards
        first[left] = torch.where(out.flipped, size, first[left])
        left = torch.isinf(first)
    assert torch.equal(found.size, first)
    assert torch.equal(found.forwards, forwards)
    assert torch.equal(found.backwards, backwards)
    never = torch.isinf(found.size)
    assert never.any()
    assert (found.backwards[never] == grid_flip(grid, restarts=2).gradients).all(), "the stated cost is that of these"
    assert grid_flip(np.geomspace(1e-4, 0.02, 32).tolist()).gradients == 6400
    assert gradients_of([grid_flip([1.0], restarts=4), pgd(1.0)], 2) == 40 + 50


def test_the_same_alone_and_in_company_and_an_image_that_is_flipped_before_has_size_0():
    classifier, images, predictions, exact = linear_case((9, 7))
    grid, reference = sorted(exact.tolist())[::5], predictions.clone()
    reference[0] = 1 - reference[0]
    batch = classifier.batch(images)
    whole = grid_flip(grid, restarts=2)(classifier, batch, reference, 0)
    for place in (0, 3, 11):
        alone = grid_flip(grid, restarts=2)(classifier, batch.pick(torch.tensor([place])), reference[[place]], 0)
        assert alone.size == whole.size[place]
    assert (whole.size[0], whole.backwards[0]) == (0, 0)


@pytest.mark.parametrize("sizes", [(), (0.0, 1.0), (2.0, 1.0), (1.0, 1.0)])
def test_a_grid_that_is_none_is_refused(sizes):
    with pytest.raises(UsageError, match="a grid of sizes"):
        grid_flip(sizes)


def test_it_is_a_score_beside_the_smallest_flip_and_stays_out_of_the_combination():
    classifier, bounds = made_classifier(), Bounds(-4, 4, "HU")
    attacks = [grid_flip([0.02, 0.1, 0.4], restarts=1), smallest_flip]
    table = assess(classifier, made_cases(60), attacks)
    test, validation = (reads_of(table, part, bounds=bounds) for part in ("test", "validation"))
    scored = scores(test)
    theirs, ours = scored.score["grid_flip"], scored.score["smallest_flip"]
    assert set(np.unique(theirs)) <= {0.02, 0.1, 0.4, np.inf}
    assert (theirs >= ours * (1 - 1e-3)).all()
    assert not np.array_equal(theirs, ours)
    assert not any(outcome.attack == "grid_flip" for outcome in test.fixed("label")), "it is no attack of a size"
    found = triage(test, validation)
    assert [row["score"] for row in found["rows"]] == ["smallest_flip", "grid_flip", "margin", "entropy", "random"]
    assert found["combined"] is None
    more = {name: np.where(part.there, np.random.default_rng(0).normal(size=part.there.shape), np.nan)
            for name, part in (("test", test), ("validation", validation))}
    combined = triage(*(replace(part, scores={"views": more[name]})
                        for name, part in (("test", test), ("validation", validation))))["combined"]
    assert "grid_flip" not in (combined["features"] or {})


def test_a_change_that_flips_nothing_is_no_flip_of_its_size():
    def none(classifier, batch, reference, seed):
        """A tenth of a unit on everything, which moves no read."""
        return (batch.images + 1e-4).clamp(-4, 4)

    classifier, cases = made_classifier(), made_cases()
    reads = reads_of(assess(classifier, cases, [none]), "test", bounds=Bounds(-4, 4, "HU"))
    (outcome,) = (one for one in reads.outcomes if one.against == "prediction")
    assert np.isinf(outcome.found).all()
    assert not outcome.flipped.any()


def test_a_network_without_gradients_is_not_tried_by_it():
    assert without_gradients([grid_flip([1.0]), smallest_flip]) == [smallest_flip]


STUDY = {"data": {"synthetic": 90}, "model": {"arguments": {"width": 0.05}},
         "attacks": {"use": ["pgd", "grid_flip"], "epsilons": ["0.004 range", "0.002 range"],
                     "settings": {"grid_flip": {"restarts": 2, "epsilons": ["0.02 range", "0.001 range",
                                                                         "0.1 range"]}}}}


def test_a_study_gives_it_a_grid_of_its_own_and_validation_images():
    found = pixel_attacks(checked(STUDY, "here"), Bounds(0, 1000, "HU"))
    assert [getattr(one, "name", "") for one in found["test"]] == ["pgd", "pgd", "grid_flip", ""]
    assert found["test"][2].sizes == pytest.approx((1.0, 20.0, 100.0))
    assert [getattr(one, "name", "") for one in found["validation"]] == ["grid_flip", ""]
    shared = {**STUDY, "attacks": {**STUDY["attacks"], "settings": {}}}
    assert pixel_attacks(checked(shared, "here"), Bounds(0, 1000, "HU"))["test"][2].sizes == pytest.approx((2.0, 4.0))


@pytest.mark.parametrize(("settings", "message"), [
    ({"grid_flip": {"epsilons": ["-1 range"]}}, "-1 range"),
    ({"grid_flip": {"epsilon": ["0.1 range"]}}, "unknown key 'attacks.settings.grid_flip.epsilon'"),
    ({"apgd": {"epsilons": "0.1 range"}}, "attacks")])
def test_sizes_of_one_attack_are_refused_like_those_of_all(settings, message):
    with pytest.raises(UsageError, match=message):
        checked({**STUDY, "attacks": {**STUDY["attacks"], "settings": settings}}, "here")


@pytest.mark.slow
def test_a_study_has_it_in_its_triage_and_none_of_it_at_its_hardened_network(tmp_path: Path):
    stated = {**STUDY, "training": {"epochs": 2}, "hardening": {"epsilon": "0.004 range", "epochs": 1},
              "preparation": {"size": 16}, "attacks": {**STUDY["attacks"], "limit": 12}}
    done = carry_out(checked(stated, "here"), tmp_path / "run")
    assert [row["score"] for row in done.summary["triage"]["rows"]][:2] == ["smallest_flip", "grid_flip"]
    passes = {row["attack"]: row["backwards"] for row in done.summary["passes"]}
    assert 0 < passes["grid_flip"] <= 60
    assert "[A]'s sensitivity" in done.report.read_text("utf-8")
    plan = (tmp_path / "run" / "hardened" / "plan.json").read_text("utf-8")
    assert "GridFlip" not in plan
    assert "GridFlip" in (tmp_path / "run" / "plan.json").read_text("utf-8")
