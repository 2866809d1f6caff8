"""Each check must fail on the fault that it is for, and pass on an honest model."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from steadyread.checks import Evidence, believed
from steadyread.checks.evidence import at_least_as_strong, severity_of
from steadyread.checks.gradients import zero_gradients
from steadyread.checks.reading import reads
from steadyread.checks.repeatable import repeatable
from steadyread.checks.sample import shown
from steadyread.classifier import Classifier, prediction_of
from steadyread.findings import merged
from steadyread.types import Bounds
from test_assessment import made_cases, made_classifier

BOUNDS = Bounds(-4, 4, "HU")


def found(classifier, cases=None):
    return {finding.check: finding for finding in believed(classifier, cases or made_cases(60).part("test"))}


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
    assert {finding.severity for finding in findings.values()} <= {"ok", "note", "warning"}
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


def test_a_network_of_nan_alone_is_undecided_and_not_called_silent():
    findings = found(Classifier(Head(after=lambda z: z * torch.nan), BOUNDS, "logits"))
    assert findings["undecided"].severity == "error"
    assert "one class" not in findings


def test_undecided_images_are_named():
    def moody(z):
        return torch.where(z[:, :1] > z[:, 1:], torch.nan, z)

    finding = found(Classifier(Head(after=moody), BOUNDS, "logits"))["undecided"]
    assert finding.severity == "warning"
    assert finding.rows


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_networks_of_another_precision_are_judged_by_every_check(kind):
    findings = found(Classifier(Head().to(kind), BOUNDS, "logits"), made_cases(24).part("test"))
    assert {"unbounded attack", "planted example", "repeatable"} <= set(findings)
    if kind == torch.float64:
        assert findings["planted example"].severity == "ok"


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


@pytest.mark.parametrize("mask", [-1e9, -3.4e38, -float("inf")])
def test_a_masked_class_hides_no_randomness_and_is_none(mask):
    """Differences were judged by the largest logit of all."""
    def noisy(logits, much):
        masked = torch.full_like(logits[:, :1], mask)
        return torch.cat([logits + much * torch.randn_like(logits), masked], 1)

    still, random = (again(lambda z, much=much: noisy(z, much)) for much in (0.0, 0.3))
    assert still.severity == "ok"
    assert random.severity == "error"


@pytest.mark.parametrize("change", [lambda z: z * 1e-20, lambda z: z * 1e20, lambda z: z + 1e4])
def test_no_scale_or_offset_of_the_logits_makes_a_model_random_or_hides_that_it_is(change):
    assert again(change).severity == "ok"
    assert again(lambda z: change(z * (1 + 0.3 * torch.randn_like(z)))).severity == "error"


def test_a_model_that_reads_an_image_by_its_company_is_seen():
    findings = found(Classifier(Head(before=lambda x: x - x.mean(0, keepdim=True)), BOUNDS, "logits"))
    assert findings["company"].severity == "error"


def again(after):
    """What is said of reading the same images again."""
    seen = evidence(after=after)
    with torch.no_grad():
        logits = seen.classifier.logits(seen.batch.images)
    cases = made_cases(60).pick(range(20))
    return next(iter(repeatable(shown(seen.classifier, cases, range(20), seen.batch, torch.zeros(20), logits))))


def evidence(n=20, sizes=1.0, after=lambda z: z):
    """Images of an honest network with stated sizes for their smallest flips."""
    classifier = Classifier(Head(after), BOUNDS, "logits")
    batch = classifier.batch(torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(0)).clamp(-4, 4))
    reference = prediction_of(classifier.logits(batch.images)).detach()
    return Evidence(classifier, batch, reference, torch.full((n,), sizes), 0)


@pytest.mark.parametrize(("count", "images", "severity"), [
    (0, 20, "ok"), (1, 20, "note"), (2, 20, "note"), (3, 20, "error"), (3, 48, "note"), (4, 48, "error"),
    (0, 0, "ok")])
def test_a_share_is_judged_by_how_many_images_it_stands_on(count, images, severity):
    assert severity_of(count, images, (("error", 0.02),)) == severity


@pytest.mark.parametrize(("missed", "severity"), [(0, "ok"), (1, "note"), (6, "error")])
def test_what_a_weaker_attack_found_first_is_an_error_only_where_more_than_chance(missed, severity):
    seen = evidence()
    finding = at_least_as_strong(seen, "one step", torch.arange(20) < missed, "FGSM", 0.5)
    assert (finding.severity, finding.value, len(finding.rows)) == (severity, missed / 20, missed)
    assert f"missed {missed} at that size" in finding.message


@pytest.mark.parametrize(("others", "severity"), [(1, "note"), (4, "warning"), (8, "error")])
def test_one_image_of_another_class_makes_no_network_silent(others, severity):
    logits = torch.tensor([[1.0, 0.0]]).expand(20, 2)
    finding = next(reads(logits, (torch.arange(20) < others).long()))
    assert finding.severity == severity


@pytest.mark.parametrize(("flat", "severity"), [(0, "ok"), (1, "note"), (3, "warning"), (8, "error")])
def test_one_image_without_a_gradient_is_a_note(flat, severity):
    class Flat(Head):
        def forward(self, images):
            still = torch.arange(len(images))[:, None] < flat
            return super().forward(images) * ~still + torch.tensor([1.0, 0.0]) * still

    seen = evidence()
    module = replace(seen.classifier, module=Flat())
    finding = zero_gradients(replace(seen, classifier=module))
    assert (finding.severity, finding.value) == (severity, flat / 20)


def test_what_several_networks_are_told_alike_is_told_once_with_their_names():
    silent, steep = ({"check": name, "severity": severity, "message": "", "rows": []}
                     for name, severity in (("silent", "warning"), ("steep", "error")))
    assert merged([("fold 0", [silent]), ("fold 1", [silent, steep]), ("", [silent])]) == [
        steep | {"networks": ["fold 1"]}, silent | {"networks": ["fold 0", "fold 1"]}]
    assert "networks" not in merged([("", [silent])])[0]
