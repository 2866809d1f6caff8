"""Heads are stated, never guessed; what does not fit is refused in a sentence."""

import pytest
import torch
from torch import nn

from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.classifier import Classifier, margin_of, prediction_of
from steadyread.errors import InputRefused, UsageError


class Fixed(nn.Module):
    """Returns what it was made with, whatever it is shown."""

    def __init__(self, output):
        super().__init__()
        self.output = torch.as_tensor(output)

    def forward(self, images):
        return self.output[:len(images)]


IMAGES = torch.rand(3, 1, 4, 4)


def classifier(output, head, **more):
    return Classifier(Fixed(output), (0, 1), head, **more)


def test_one_logit_is_two_classes_with_a_threshold():
    found = classifier([[1.0], [-2.0], [0.5]], "logit", threshold=0.7).logits(IMAGES)
    shift = torch.log(torch.tensor(0.7 / 0.3))
    assert torch.allclose(found[:, 1], torch.tensor([1.0, -2.0, 0.5]) - shift)
    assert torch.equal(found[:, 0], torch.zeros(3))


def test_probability_and_logit_agree():
    z = torch.tensor([1.0, -2.0, 0.3])
    a = classifier(z, "logit").logits(IMAGES)
    b = classifier(z.sigmoid(), "probability").logits(IMAGES)
    ones = torch.ones(3, dtype=torch.long)
    assert torch.allclose(margin_of(a, ones), margin_of(b, ones), atol=1e-5)


def test_probabilities_and_logits_have_equal_margins():
    z = torch.randn(3, 5)
    reference = z.argmax(1)
    a, b = classifier(z, "logits").logits(IMAGES), classifier(z.softmax(1), "probabilities").logits(IMAGES)
    assert torch.allclose(margin_of(a, reference), margin_of(b, reference), atol=1e-5)


def test_a_threshold_on_two_logits():
    z = torch.tensor([[0.0, 0.5], [0.0, 1.5], [0.0, -1.0]])
    assert prediction_of(classifier(z, "logits", threshold=0.7).logits(IMAGES)).tolist() == [0, 1, 0]


def test_undecided_is_minus_one():
    z = torch.tensor([[0.0, torch.nan], [0.0, torch.inf], [0.0, 1.0]])
    assert prediction_of(classifier(z, "logits").logits(IMAGES)).tolist() == [-1, -1, 1]


@pytest.mark.parametrize(("output", "head", "words"), [
    ([[2.0, -1.0]] * 3, "probabilities", "state it as 'logits'"),
    ([[0.7, 0.7]] * 3, "probabilities", "sum to 1.4"),
    ([3.0] * 3, "probability", "state it as 'logit'"),
    ([[1.0, 2.0]] * 3, "logit", r"shape of \(n,\) or \(n, 1\)"),
    ([1.0] * 3, "logits", "at least 2 classes"),
    ([[1.0]] * 3, "logits", "at least 2 classes")])
def test_outputs_that_do_not_fit_the_head(output, head, words):
    with pytest.raises(InputRefused, match=words):
        classifier(output, head).logits(IMAGES)


def test_saturated_probabilities_ask_for_the_layer_before():
    with pytest.raises(InputRefused, match="state its head as 'logits'"):
        classifier([[1.0, 0.0]] * 3, "probabilities").examine(IMAGES)
    with pytest.raises(InputRefused, match="state its head as 'logit'"):
        classifier([1.0] * 3, "probability").examine(IMAGES)


def test_settings_that_are_refused():
    with pytest.raises(UsageError, match="output must be one of"):
        classifier([1.0], "softmax")
    with pytest.raises(UsageError, match="threshold"):
        classifier([1.0], "logit", threshold=1.0)
    with pytest.raises(UsageError, match="LOW below HIGH"):
        Classifier(Fixed([1.0]), (1, 0), "logit")
    with pytest.raises(UsageError, match="two classes"):
        classifier(torch.zeros(3, 4), "logits", threshold=0.3).logits(IMAGES)


def test_a_per_channel_normalisation():
    module = nn.Flatten()
    images = torch.rand(2, 3, 2, 2)
    mean, deviation = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 3.0])
    out = Classifier(module, (0, 1), "logits", normalise=(mean, deviation)).logits(images)
    expected = (images - mean.reshape(1, 3, 1, 1)) / deviation.reshape(1, 3, 1, 1)
    assert torch.allclose(out, expected.flatten(1))


def test_probabilities_are_the_models_own_whatever_the_threshold():
    p = torch.tensor([0.3, 0.6, 0.9])
    found = classifier(p, "probability", threshold=0.2)
    assert torch.allclose(found.probabilities(found.logits(IMAGES))[:, 1], p, atol=1e-6)


def test_what_would_look_steady_and_is_not_is_refused():
    class Detached(nn.Module):
        def forward(self, images):
            return images.detach().flatten(1)[:, :2]

    blind = Classifier(Detached(), (0, 1), "logits")
    with pytest.raises(InputRefused, match="no gradient reaches the image"):
        attack(blind, IMAGES, torch.zeros(3, dtype=torch.long), fgsm(0.1))
    with pytest.raises(UsageError, match="deviations above 0"):
        Classifier(Detached(), (0, 1), "logits", normalise=(0.0, 0.0))
    seeing = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (0, 1), "logits")
    with pytest.raises(InputRefused, match="names class 2"):
        attack(seeing, IMAGES, torch.full((3,), 2), fgsm(0.1))


@pytest.mark.parametrize("row", [[1.0, float("inf")], [1.0, float("-inf")], [float("nan"), 0.0]])
def test_a_logit_that_is_not_finite_leaves_the_read_undecided_not_flipped(row):
    logits = torch.tensor([row, [1.0, 0.0]])
    assert torch.isnan(margin_of(logits, torch.tensor([0, 0]))).tolist() == [True, False]
    assert prediction_of(logits).tolist() == [-1, 0]
