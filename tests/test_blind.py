"""Networks without gradients are judged by what needs none, said to be, and never called steady for it."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from steadyread import Classifier, fgsm, pgd, smallest_flip
from steadyread.assessment import assess
from steadyread.attacks.blind import QUERIES, without_gradients
from steadyread.attacks.recipes.apgd import apgd
from steadyread.attacks.smallest_flip import Effort
from steadyread.attacks.square import Square
from steadyread.checks import believed
from steadyread.errors import Doubt
from test_assessment import made_cases, made_classifier, rows_of
from test_classifier_types import IMAGES, PLAIN, REFERENCE, WEIGHT, Halves


class Ungraded(Halves):
    def forward(self, images):
        with torch.no_grad():
            return super().forward(images)


def of_arrays(images):
    pixels = images.numpy().reshape(len(images), -1)
    side = pixels @ WEIGHT.numpy()
    return np.stack([side, -side], axis=1)


def decision(images):
    side = (images.flatten(1) @ WEIGHT) > 0
    return torch.stack([side, ~side], 1).long()


def rounded(images):
    return Halves()((images * 64).round() / 64)


@pytest.mark.parametrize("module", [Ungraded(), Halves(before=lambda x: x.detach()), of_arrays, decision, rounded])
def test_a_network_without_gradients_gets_sizes_near_those_with_and_is_said_to_have_none(module):
    found = smallest_flip(Classifier(module, (0, 1), "logits"), IMAGES, REFERENCE)
    assert torch.isfinite(found.size).all()
    slack = 1 / 64 if module is rounded else 0
    assert (found.size >= PLAIN * 0.999 - slack).all()
    assert float((found.size / PLAIN).median()) < (3 if module is decision else 1.5)   # one bit a query
    assert (found.forwards <= QUERIES + 200).all()
    assert [doubt.check for doubt in found.doubts] == ["zero gradients"]
    assert "weak upper bounds" in repr(found)


@pytest.mark.parametrize("queries", [20, 60, 300, 3000])
def test_a_stated_budget_of_queries_is_kept_and_more_queries_find_smaller_flips(queries):
    classifier = Classifier(Ungraded(), (0, 1), "logits")
    found = smallest_flip(classifier, IMAGES, REFERENCE, effort=Effort(queries=queries))
    assert (found.forwards <= queries + 1 + Effort().polish).all()
    assert (found.size >= PLAIN * 0.999).all()
    within, above = {20: 100, 60: 2.5, 300: 2, 3000: 1.2}[queries], found.size / PLAIN
    print(f"{queries} queries: {float(above.min()):.2f} to {float(above.max()):.2f} times the smallest flip")
    assert float(above.median()) < within


def test_what_never_flips_is_found_out_within_the_first_radius():
    constant = Classifier(lambda images: torch.tensor([[2.0, 1.0]]).repeat(len(images), 1), (0, 1), "logits")
    found = smallest_flip(constant, IMAGES, torch.zeros(12, dtype=torch.long))
    assert torch.isinf(found.size).all()
    assert (found.forwards < 200).all()
    assert torch.equal(found.images, IMAGES)


def test_sizes_without_gradients_do_not_depend_on_the_company():
    torch.manual_seed(0)
    net = nn.Sequential(Detach(), nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2))
    classifier = Classifier(net, (0, 1), "logits")
    reference = classifier.logits(IMAGES).argmax(1)
    whole = smallest_flip(classifier, IMAGES, reference)
    few = smallest_flip(classifier, IMAGES[3:6], reference[3:6])
    assert torch.allclose(whole.size[3:6], few.size, rtol=1e-4)
    assert torch.equal(whole.size, smallest_flip(classifier, IMAGES, reference).size)


def test_attacks_that_climb_are_replaced_size_by_size_and_once():
    replaced = without_gradients([smallest_flip, fgsm(0.1), pgd(0.1), pgd(0.2), apgd(0.2), Square(0.1)])
    assert replaced[0] is smallest_flip
    assert [(each.name, each.size) for each in replaced[1:]] == [("square", 0.1), ("random", 0.1), ("square", 0.2),
                                                               ("random", 0.2)]


@pytest.mark.parametrize("way", ["no_grad", "rounded"])
def test_assess_judges_them_and_says_so_before_the_first_row(way):
    linear = made_classifier()
    module = (nn.Sequential(Detach(), linear.module) if way == "no_grad" else
              nn.Sequential(Rounded(), linear.module))
    classifier = Classifier(module, linear.bounds, "logits", name=way)
    cases = made_cases(12)
    with pytest.warns(Doubt, match="no gradient reaches the images"):
        table = assess(classifier, cases, [smallest_flip, fgsm(0.05), pgd(0.1)])
    assert set(table["attack"].to_pylist()) == {"clean", "smallest_flip", "square", "random"}
    sizes = sizes_of(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = assess(linear, cases, [smallest_flip])
    exact = sizes_of(plain)
    assert all(exact[case] * 0.99 - 0.01 <= size <= exact[case] * 1.2 + 0.01 for case, size in sizes.items())
    findings = {finding.check: finding for finding in believed(classifier, cases.part("test"))}
    assert findings["zero gradients"].severity == "error"
    assert "weak upper bounds" in findings["zero gradients"].message
    assert findings["gradient-free attack"].severity in ("ok", "note")


def sizes_of(table):
    return {row["case_id"]: row["found_size"]
            for row in rows_of(table, attack="smallest_flip", against="prediction")}


class Detach(nn.Module):
    def forward(self, images):
        return images.detach()


class Rounded(nn.Module):
    def forward(self, images):
        return (images * 256).round() / 256
