"""Each check must fail on the fault that it is for, and pass on an honest model."""

import pytest
import torch
from torch import nn

from steadyread.checks import believed
from steadyread.classifier import Classifier
from steadyread.types import Bounds
from test_assessment import made_cases, made_classifier

BOUNDS = Bounds(-4, 4, "HU")


def found(classifier, cases=None):
    return {finding.check: finding for finding in believed(classifier, cases or made_cases(120).part("test"))}


class Head(nn.Module):
    """The honest net with something done to its output or input."""

    def __init__(self, after=lambda z: z, before=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
        self.after, self.before = after, before

    def forward(self, images):
        return self.after(self.net(self.before(images)))


def test_an_honest_model_passes_everything():
    findings = found(Classifier(Head(), BOUNDS, "logits"))
    assert {finding.severity for finding in findings.values()} <= {"ok", "warning"}
    assert {name for name, finding in findings.items() if finding.severity == "warning"} <= {"images"}
    assert findings["planted example"].value == 1.0


def test_a_gradient_that_is_cut_off_is_seen():
    """Rounding the input leaves no gradient: the attack is blind, and must not call the model robust."""
    findings = found(Classifier(Head(before=lambda x: (x * 4).round() / 4), BOUNDS, "logits"))
    assert findings["zero gradients"].severity == "error"
    assert findings["zero gradients"].value == 1.0


def test_a_gradient_that_points_the_wrong_way_is_seen():
    class Backwards(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            return -gradient

    findings = found(Classifier(Head(before=Backwards.apply), BOUNDS, "logits"))
    worse = [name for name, finding in findings.items() if finding.severity == "error"]
    assert set(worse) & {"gradient-free attack", "random noise", "unbounded attack", "planted example"}


@pytest.mark.filterwarnings("ignore::steadyread.errors.Doubt")
@pytest.mark.parametrize(("after", "output"), [
    (lambda z: z.softmax(1), "logits"), (lambda z: z.softmax(1)[:, 1], "logit"),
    (lambda z: (z[:, 1] - z[:, 0] + 2).sigmoid(), "logit")])
def test_probabilities_stated_as_logits_are_seen(after, output):
    assert found(Classifier(Head(after=after), BOUNDS, output))["head"].severity == "error"


def test_a_model_that_always_says_the_same_is_seen():
    findings = found(Classifier(Head(after=lambda z: z + torch.tensor([1000.0, 0.0])), BOUNDS, "logits"))
    assert findings["one class"].severity == "error"
    assert findings["unbounded attack"].severity == "error"


def test_undecided_images_are_named():
    def moody(z):
        return torch.where(z[:, :1] > z[:, 1:], torch.nan, z)

    finding = found(Classifier(Head(after=moody), BOUNDS, "logits"))["undecided"]
    assert finding.severity == "warning"
    assert finding.rows


def test_few_images_are_said_to_be_few():
    assert found(made_classifier(), made_cases(20).part("test"))["images"].severity == "warning"


def test_no_test_images_is_an_error_not_a_crash():
    assert [finding.severity for finding in believed(made_classifier(), made_cases(20).part("train"))] == ["error"]


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_a_single_output_can_be_planted_too(output):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 1)]
    module = nn.Sequential(*layers, *([nn.Sigmoid()] if output == "probability" else []))
    assert found(Classifier(module, BOUNDS, output))["planted example"].severity in ("ok", "note")


def test_a_model_that_is_random_while_evaluating_is_seen():
    findings = found(Classifier(Head(before=lambda x: nn.functional.dropout(x, 0.3)), BOUNDS, "logits"))
    assert findings["repeatable"].severity == "error"


def test_a_model_that_reads_an_image_by_its_company_is_seen():
    findings = found(Classifier(Head(before=lambda x: x - x.mean(0, keepdim=True)), BOUNDS, "logits"))
    assert findings["repeatable"].severity == "error"
