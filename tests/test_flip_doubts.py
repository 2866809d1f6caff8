"""What a search for smallest flips saw itself stands beside its sizes, without a pass more."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from steadyread import attack, pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, NoGradient

IMAGES = 12


class Changed(nn.Module):
    """A linear network of two classes, with something done to its images or logits."""

    def __init__(self, before=lambda images: images, after=lambda logits: logits, classes=2):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(64, classes)
        self.before, self.after = before, after

    def forward(self, images):
        return self.after(self.layer(self.before(images).flatten(1)))


def searched(classes=2, **changes):
    classifier = Classifier(Changed(classes=classes, **changes), (0.0, 1.0), "logits")
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(2)) * 0.4 + 0.3
    plain = Classifier(Changed(classes=classes), (0.0, 1.0), "logits")
    with torch.no_grad():
        return smallest_flip(classifier, images, plain.logits(images).argmax(1))


def doubted(found):
    return [doubt.check for doubt in found.doubts]


@pytest.mark.parametrize("classes", [2, 4])
def test_a_plain_network_gives_no_doubt(classes):
    found = searched(classes)
    assert found.doubts == ()
    assert repr(found).startswith(f"SmallestFlip({IMAGES} images: {IMAGES} flipped, median size 0.")
    assert repr(found).endswith("; no doubts)")
    assert "tensor" not in repr(found)
    assert "\n" not in repr(found)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_network_whose_gradient_vanishes_is_said_to_be_blind(classes):
    found = searched(classes, before=lambda images: (images * 4).round() / 4)
    assert (found.zero_gradients == 1).all()
    assert "zero gradients" in doubted(found)
    assert f"{int((found.size > 0).sum())} of {IMAGES} images had a gradient of 0 in every pixel" in repr(found)
    assert "100 % of all" in repr(found)


def test_a_pixel_without_a_derivative_is_said():
    def root(images):
        return images + 0 * (images[:, :, :1, :1] - images[:, :, :1, :1].detach()).sqrt()

    found = searched(before=root)
    assert "broken gradients" in doubted(found)
    assert (found.broken_gradients == 1).all()


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf")])
def test_undecided_reads_are_said(spoilt):
    bright = []

    def look(images):
        bright[:] = [images.mean((1, 2, 3)) > 0.51]
        return images

    found = searched(before=look, after=lambda logits: torch.where(bright[0][:, None], spoilt, logits))
    undecided = found.margin.isnan()
    assert 0 < undecided.sum() < IMAGES
    assert doubted(found) == ["undecided"]
    assert f"{int(undecided.sum())} undecided" in repr(found)
    assert found.doubts[0].rows == tuple(str(place) for place in undecided.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("change", [
    {"before": lambda images: functional.dropout(images, 0.05, training=True)},
    {"before": lambda images: images + 0.2 * torch.randn_like(images)},
    {"after": lambda logits: logits + 0.05 * torch.randn_like(logits)},
    {"before": lambda images: images - images.mean(0) + 3 * torch.rand(())},
    {"before": lambda images: images - images.mean((0, 2, 3), keepdim=True)}],
    ids=["dropout", "noise", "noise on the logits", "by its company", "by its company alone"])
def test_a_network_that_reads_the_same_image_otherwise_again_is_said(classes, change):
    torch.manual_seed(4)
    found = searched(classes, **change)
    assert "repeatable" in doubted(found)
    assert found.unrepeatable.any()
    assert "read again" in repr(found)


def test_a_mask_on_a_random_network_does_not_hide_that_it_is_random():
    torch.manual_seed(4)
    found = searched(4, after=lambda logits: torch.cat([logits[:, :3] + 0.05 * torch.randn_like(logits[:, :3]),
                                                        torch.full_like(logits[:, :1], -1e9)], 1))
    assert "repeatable" in doubted(found)


@pytest.mark.parametrize("change", [lambda logits: logits.detach(), lambda logits: torch.ones(len(logits), 2)])
def test_a_network_without_gradients_is_searched_by_square_and_attacks_by_gradient_say_so(change):
    (doubt, *_) = searched(after=change).doubts
    assert "weak upper bounds" in doubt.message
    classifier = Classifier(Changed(after=change), (0.0, 1.0), "logits")
    with pytest.raises(NoGradient, match="no gradient reaches the image"):
        attack(classifier, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), pgd(0.1))
    assert issubclass(NoGradient, InputRefused)


def test_printing_a_result_shows_its_headline_and_its_unit() -> None:
    from steadyread.attacks.flip_probability import FlipProbability
    from steadyread.attacks.search import Attacked

    found = replace(searched(2), unit="HU")
    median = float(found.size[torch.isfinite(found.size) & (found.size > 0)].median())
    assert f"median size {median:.4g} HU; no doubts" in repr(found)
    ones = torch.ones(3, dtype=torch.int64)
    attacked = Attacked(torch.zeros(3, 1, 2), torch.tensor([True, False, True]), ones, ones, ones, ones, ones, ones)
    assert repr(attacked).startswith("Attacked(3 images: 2 flipped; fields: images, flipped")
    share = torch.tensor([[0.1, 0.4], [0.3, 0.5], [0.2, 0.9]])
    chances = FlipProbability(*[share] * 8)
    assert "3 images at 2 doses: median and largest P(flip) 0.2 and 0.3; 0.5 and 0.9" in repr(chances)
    assert "tensor" not in repr(attacked) + repr(chances)
