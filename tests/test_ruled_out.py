"""A class at -inf is ruled out, in reads, margins, losses and records; NaN and +inf make a read undecided."""

import math

import numpy as np
import pytest
import torch

from steadyread.attacks.search import loss_of
from steadyread.classifier import decided, margin_of, prediction_of
from steadyread.metrics import reads
from steadyread.metrics.discrimination import area_under_curve, class_scores
from steadyread.metrics.summary import _probability
from steadyread.metrics.triage import _margin, _negative_entropy

INF, NAN = math.inf, math.nan
CASES = [                                    # logits, decided, margin of class 0
    ([2.0, 0.5, -INF], True, 1.5),
    ([0.5, 2.0, -INF], True, -1.5),
    ([-INF, 1.0, 2.0], True, -INF),          # the reference is ruled out: another class is read
    ([-3.4e38, 1.0, 2.0], True, -3.4e38),
    ([2.0, -INF, -INF], False, NAN),         # nothing to compare with
    ([-INF, 2.0, -INF], False, NAN),
    ([-INF, -INF, -INF], False, NAN),
    ([2.0, INF, 0.0], False, NAN),
    ([INF, 2.0, 0.0], False, NAN),
    ([INF, INF, 0.0], False, NAN),
    ([NAN, 1.0, 2.0], False, NAN),
    ([1.0, NAN, -INF], False, NAN),
    ([NAN, INF, -INF], False, NAN),
]


@pytest.mark.parametrize(("logits", "sure", "margin"), CASES, ids=[str(case[0]) for case in CASES])
def test_which_reads_are_decided(logits, sure, margin):
    given = torch.tensor([logits])
    assert bool(decided(given)[0]) == sure
    assert bool(reads.decided(np.array([logits]))[0]) == sure, "the records judge as the network's reads are judged"
    assert int(prediction_of(given)[0]) == (int(np.argmax(logits)) if sure else -1)
    own = margin_of(given, torch.zeros(1, dtype=torch.long))
    assert torch.allclose(own, torch.tensor([margin]), equal_nan=True)


def test_losses_and_their_gradients_stay_finite_beside_a_class_that_is_ruled_out():
    for loss in ("margin", "cross_entropy"):
        logits = torch.tensor([[2.0, 0.5, -INF]], requires_grad=True)
        reference = torch.zeros(1, dtype=torch.long)
        value = loss_of(logits, margin_of(logits, reference), reference, loss)
        gradient, = torch.autograd.grad(value.sum(), logits)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()
        assert gradient[0, 2] == 0


def test_scores_of_records_leave_a_ruled_out_class_aside():
    logits = np.array([[2.0, 0.5, -INF], [0.2, 0.1, -INF], [1.0, 2.0, -INF], [NAN, 0.0, 1.0], [0.0, INF, 1.0]])
    label = np.array([0, 0, 1, 1, 1])
    patient = np.array(list("abcde"))
    whole = area_under_curve(class_scores(logits, 3), label, patient)
    plain = area_under_curve(class_scores(logits[:3, :2], 2), label[:3], patient[:3])
    assert whole.n == plain.n == 3
    assert whole.value == plain.value == 1.0
    assert _probability(logits[0], 0) == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert _probability(logits[4], 1) is None
    assert _margin(logits[:3]) == pytest.approx([1.5, 0.1, 1.0])
    assert _negative_entropy(logits[:3]) == pytest.approx(_negative_entropy(logits[:3, :2]))
