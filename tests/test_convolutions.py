"""Where the weights of convolutions lie: fastest while an attack goes on, afterwards exactly as they were."""

import pytest
import torch
from torch import nn

from steadyread import attack, pgd, smallest_flip
from steadyread.classifier import Classifier
from steadyread.convolutions import whole_float32
from steadyread.training.descent import lay


class Viewed(nn.Module):
    """A network that flattens by `view`, which refuses images whose channels lie last."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.first = nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU(), conv(4, 4, 3, padding=1))
        self.last = nn.Linear(4 * 8 ** dims, 2)

    def forward(self, images):
        return self.last(self.first(images).relu().view(len(images), -1))


class Flattened(Viewed):
    def forward(self, images):
        return self.last(self.first(images).relu().flatten(1))


def made(kind: type[Viewed], dims: int = 2) -> Classifier:
    torch.manual_seed(0)
    return Classifier(kind(dims), (0.0, 1.0), "logits")


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_lie_last_within_and_the_weights_are_the_same_tensors_afterwards(dims: int) -> None:
    classifier = made(Flattened, dims)
    weight = classifier.module.first[2].weight
    before, values = weight.data_ptr(), weight.detach().clone()
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
    images = torch.rand(3, 1, *[8] * dims)
    plain = classifier.logits(images)
    with classifier.frozen(), classifier.frozen():
        for layers in (classifier.module.first, classifier.module.first[0]):    # the first has weights of one channel
            assert layers(images).is_contiguous(memory_format=layout)
        assert torch.allclose(classifier.logits(images), plain, atol=1e-6)
    assert weight.data_ptr() == before
    assert weight.is_contiguous()
    assert torch.equal(weight, values)


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_that_lie_so_already_are_not_copied(dims: int) -> None:
    classifier = made(Flattened, dims)
    lay(classifier.module, dims, torch.device("cpu"))
    places = [weight.data_ptr() for weight in classifier.module.parameters()]
    with classifier.frozen():
        assert [weight.data_ptr() for weight in classifier.module.parameters()] == places


@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_that_views_is_attacked_all_the_same(dims: int) -> None:
    images = torch.rand(4, 1, *[8] * dims)
    viewed, flattened = made(Viewed, dims), made(Flattened, dims)
    reference = flattened.logits(images).argmax(1)
    for _ in range(2):
        mine, other = (smallest_flip(one, images, reference).size for one in (viewed, flattened))
        assert torch.allclose(mine, other, rtol=1e-3)
    assert attack(viewed, images, reference, pgd(0.05)).flipped.shape == (4,)
    assert viewed.module.first[2].weight.is_contiguous()


def test_another_failure_of_the_network_stays_its_own() -> None:
    class Broken(Flattened):
        def forward(self, images):
            raise RuntimeError("broken in its own way")

    with pytest.raises(RuntimeError, match="in its own way"):
        attack(made(Broken), torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), pgd(0.1))


def test_a_gpu_computes_in_whole_float32_within_and_as_it_did_afterwards() -> None:
    asked = torch.backends.cudnn.conv
    before = asked.fp32_precision
    with whole_float32(torch.device("cuda")):
        assert asked.fp32_precision == "ieee"
    with whole_float32(torch.device("cpu")):
        assert asked.fp32_precision == before
    assert asked.fp32_precision == before


def test_a_gpus_setting_is_put_back_by_the_last_of_several_threads() -> None:
    asked = torch.backends.cudnn.conv
    before = asked.fp32_precision
    first, second = (whole_float32(torch.device("cuda")) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert asked.fp32_precision == "ieee"
    second.__exit__(None, None, None)
    assert asked.fp32_precision == before


def test_weights_are_put_back_when_something_is_raised_within() -> None:
    classifier = made(Flattened)
    before = classifier.module.first[2].weight.data_ptr()
    with pytest.raises(ValueError, match="within"), classifier.frozen():
        raise ValueError("within")
    assert classifier.module.first[2].weight.data_ptr() == before
