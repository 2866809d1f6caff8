"""The network of paper [B]: its layers, its variants, any box, and ratings whose logits are squared errors."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from steadyread.errors import InputRefused, UsageError
from steadyread.models.loading import load_classifier_module, load_saved, save_weights
from steadyread.models.nodule import VARIANTS, NoduleCnn, Ratings, nodule_cnn

BOX = (5, 24, 24)


def made(variant: str = "original", size: int | tuple[int, ...] = BOX, **more: Any) -> NoduleCnn:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nodule_cnn(size=size, width=1 / 16, variant=variant, **more)


def outline(**arguments: Any) -> tuple[list[int], list[int], int]:
    """Features of the convolutions, of the dense layers, and how many parameters, without making them."""
    with torch.device("meta"):
        net = nodule_cnn(**arguments)
    return ([layer.out_channels for layer in net.features if isinstance(layer, nn.Conv3d)],
            [layer.out_features for layer in net.head if isinstance(layer, nn.Linear)],
            sum(parameter.numel() for parameter in net.parameters()))


def count(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(layer, kind) for layer in net.modules())


def test_the_original_is_that_of_paper_b() -> None:
    features, dense, parameters = outline()
    assert features == [64, 128, 256, 512]
    assert dense == [512, 256, 128, 1]
    convolutions = sum(27 * a * b + b for a, b in itertools.pairwise([1, *features]))
    assert parameters == convolutions + sum(a * b + b for a, b in itertools.pairwise([512 * 4**3, *dense]))
    net = made()
    assert all(layer.kernel_size == (3, 3, 3) for layer in net.modules() if isinstance(layer, nn.Conv3d))
    assert count(net, nn.ReLU) == 7
    assert count(net, nn.MaxPool3d) == 3
    assert not count(net, nn.Dropout) + count(net, nn.BatchNorm3d)


@pytest.mark.parametrize(("variant", "features", "dense"), [
    ("batch_norm", [64, 128, 256, 512], [512, 256, 128, 1]),
    ("deeper", [64, 128, 256, 512, 1024], [1024, 512, 256, 128, 1]),
    ("shallower", [64, 128, 256], [256, 128, 1]),
    ("wider", [128, 256, 512, 1024], [1024, 512, 256, 1]),
    ("narrower", [32, 64, 128, 256], [256, 128, 64, 1]),
    ("five_class", [64, 128, 256, 512], [512, 256, 128, 1])])
def test_the_variants_of_table_3(variant: str, features: list[int], dense: list[int]) -> None:
    assert outline(variant=variant)[:2] == (features, dense)
    quarter = outline(variant=variant, width=0.25, size=BOX)
    assert quarter[0] == [one // 4 for one in features]
    assert quarter[1][:-1] == [one // 4 for one in dense[:-1]]
    assert quarter[2] < outline(variant=variant, size=BOX)[2] / 10


def test_a_strided_one_has_no_pooling_and_the_same_parameters() -> None:
    strided, pooled = made("strided"), made()
    assert count(strided, nn.MaxPool3d) == 0
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (strided, pooled)]
    assert list(shapes[0].values()) == list(shapes[1].values())
    steps = [layer.stride for layer in strided.modules() if isinstance(layer, nn.Conv3d)]
    assert steps == [(2, 2, 2), (1, 2, 2), (1, 2, 2), (1, 1, 1)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reads_volumes_and_gives_gradients(variant: str) -> None:
    net = made(variant).eval()
    volumes = (torch.rand(3, 1, *BOX, generator=torch.Generator().manual_seed(1)) * 2 - 1).requires_grad_()
    logits = net(volumes)
    assert logits.shape == ((3, 5) if variant == "five_class" else (3, 1))
    logits[:, 0].sum().backward()
    assert torch.isfinite(logits).all()
    assert volumes.grad is not None
    assert (volumes.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("down", ["max", "stride"])
@pytest.mark.parametrize(("size", "left"), [
    (BOX, (3, 3, 3)), (32, (4, 4, 4)), ((32, 32, 5), (4, 4, 3)), (1, (1, 1, 1)), (3, (3, 3, 3)),
    ((4, 7, 8), (2, 2, 2)), ((1, 40, 9), (1, 5, 3)), ((6, 48, 25), (3, 6, 4))])
def test_any_box(size: int | tuple[int, ...], left: tuple[int, ...], down: str) -> None:
    net = made(size=size, down=down).eval()
    volumes = torch.rand(2, 1, *net.size)
    assert net.features(volumes).shape[2:] == left
    assert torch.isfinite(net(volumes)).all()


def test_no_slice_is_lost_where_an_axis_is_odd() -> None:
    volumes = torch.rand(1, 1, *BOX).requires_grad_()
    made(norm=True).eval().features(volumes).sum().backward()
    assert volumes.grad is not None
    assert (volumes.grad.abs().sum((0, 1, 3, 4)) > 0).all()


def test_what_is_stated_is_stronger_than_the_variant() -> None:
    dropped = [layer.p for layer in made("dropout_0.2", dropout=0.5).modules() if isinstance(layer, nn.Dropout)]
    assert dropped == [0.5] * 7
    assert outline(variant="wider", width=0.25)[0] == outline(width=0.5)[0]


# ratings

def test_the_logits_of_ratings_are_minus_squared_errors_and_their_highest_is_the_rounding() -> None:
    rating = torch.linspace(-3, 9, 1201).reshape(-1, 1)
    logits = Ratings(5)(rating)
    assert torch.equal(logits, -(rating - torch.tensor([1.0, 2, 3, 4, 5])) ** 2)
    clear = ((rating * 2) % 2 - 1).abs()[:, 0] > 1e-3   # not half way between two
    assert torch.equal(logits.argmax(1)[clear] + 1, rating[:, 0].round().clamp(1, 5).long()[clear])


def test_the_order_of_the_cases_by_any_cut_is_that_of_their_rating() -> None:
    logits = Ratings(5)(torch.linspace(0, 6, 50, dtype=torch.float64).reshape(-1, 1))
    for cut in range(1, 5):
        above = logits[:, cut:].logsumexp(1) - logits[:, :cut].logsumexp(1)
        assert (above.diff() > 0).all()


def test_a_fresh_network_of_ratings_starts_in_the_middle_of_the_scale() -> None:
    net = made("five_class").eval()
    with torch.no_grad():
        assert float(net.head[:-1](net.features(torch.zeros(1, 1, *BOX)))) == pytest.approx(3)
    assert "levels" not in " ".join(net.state_dict())


# the ways in

def test_it_is_built_in_and_comes_back_from_its_file(tmp_path: Path) -> None:
    arguments = {"size": list(BOX), "width": 0.0625, "variant": "five_class"}
    net = load_classifier_module("nodule_cnn", seed=3, **arguments)
    save_weights(net, tmp_path / "net.safetensors", {"model": "nodule_cnn", "arguments": arguments})
    again, _ = load_saved(tmp_path / "net.safetensors")
    volumes = torch.rand(2, 1, *BOX)
    assert torch.equal(net(volumes), again(volumes))


@pytest.mark.parametrize(("arguments", "told"), [
    ({"variant": "batchnorm"}, "no variant 'batchnorm': did you mean 'batch_norm'"),
    ({"droput": 0.1}, "no argument 'droput': did you mean 'dropout'"),
    ({"down": "mean"}, "down must be one of max, stride"),
    ({"depth": 2}, "depth must be -1, 0 or 1"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ({"size": (24, 24)}, r"size must be one side or \(z, y, x\)"),
    ({"size": 0}, "size must be"),
    ({"width": 0.0}, "width must lie above 0"),
    ({"width": 3.0, "variant": "wider"}, "width must lie above 0 and up to 4; got 6"),
    ({"classes": 1}, "classes must be at least 2"),
    ({"channels": 0}, "channels must be at least 1"),
    ({"ratings": 1}, "ratings must be 0 or at least 3")])
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        nodule_cnn(**arguments)


def test_another_box_is_refused() -> None:
    with pytest.raises(InputRefused, match=r"1 channel\(s\) of 5x24x24 voxels \(z, y, x\); got 1 of 4x24x24"):
        made()(torch.rand(1, 1, 4, 24, 24))
