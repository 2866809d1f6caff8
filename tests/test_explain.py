"""What a network sees: maps exactly where the evidence is, features ranked by noise, modules left as found."""

import copy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.explain.attention import METHODS, attention, grad_cam, integrated_gradients, signed_gradients
from steadyread.explain.features import feature_change, ranked
from steadyread.explain.layers import layer_named, layers_of, values, weighted_last
from steadyread.explain.sanity import WHICH, map_correlation, randomised
from steadyread.models.nodule import nodule_cnn
from steadyread.models.vgg import narrow_vgg

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MEAN = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
SPACES = [(9,), (6, 7), (3, 4, 5)]


def seeing(weights: list[list[float]], space: tuple[int, ...], inplace: bool = True) -> nn.Sequential:
    """Features x and 2x (rectified), their means, and logits = weights (classes, 2) times these."""
    axes = len(space)
    conv, last = CONV[axes](1, 2, 1), nn.Linear(2, len(weights))
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, *[1] * axes))
        conv.bias.zero_()
        last.weight.copy_(torch.tensor(weights))
        last.bias.zero_()
    return nn.Sequential(conv, nn.ReLU(inplace=inplace), MEAN[axes](1), nn.Flatten(), last)


def patched(space: tuple[int, ...]) -> Tensor:
    """Two images that are 0 but for a patch: of 300 at 1 and 2 on every axis, then of 500 on the last voxel."""
    images = torch.zeros(2, 1, *space)
    images[(0, 0, *[slice(1, 3)] * len(space))] = 300
    images[(1, 0, *[-1] * len(space))] = 500
    return images


def untouched(module: nn.Module) -> tuple[object, ...]:
    """Everything that a look may not change."""
    return (copy.deepcopy(module.state_dict()), [part.training for part in module.modules()],
            [getattr(part, "inplace", None) for part in module.modules()],
            [parameter.requires_grad for parameter in module.parameters()],
            [parameter.grad for parameter in module.parameters()],
            [(len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
             for part in module.modules()])


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    states = all(torch.equal(held, other[0][name]) for name, held in one[0].items())
    return states and one[1:] == other[1:]


# attention

@pytest.mark.parametrize("space", SPACES, ids=len)
@pytest.mark.parametrize(("weights", "output", "reference", "gain"), [
    ([[1.0, 0.5]], "logit", 1, 2.0), ([[-1.0, 0.5]], "logit", 1, 0.0), ([[-1.0, 0.0]], "logit", 0, 1.0),
    ([[0.0, 0.0], [1.0, 1.0]], "logits", 1, 3.0), ([[1.0, 0.0], [0.0, 0.0], [3.0, 0.0]], "logits", 2, 2.0),
    ([[1.0, 0.5]], "probability", 1, 2.0)])
def test_evidence_of_a_linear_network_is_exactly_where_it_is(space, weights, output, reference, gain) -> None:
    """The margin is gain x mean(x): both methods give gain x / voxels, each voxel's share of the margin."""
    module = seeing(weights, space)
    if output == "probability":
        module.append(nn.Sigmoid())
    classifier, images = Classifier(module, (0, 1000), output), patched(space) / 100
    wanted = gain * images[:, 0] / images[0].numel()
    chosen = torch.full((2,), reference)
    layer = layer_named(classifier, images)
    for method in METHODS:
        tolerance = 2e-2 if output == "probability" else 1e-6   # the log of a sigmoid is integrated in 16 steps
        torch.testing.assert_close(attention(classifier, images, chosen, layer, method), wanted, rtol=tolerance,
                                   atol=1e-6)
    if gain == 0:
        assert float(grad_cam(classifier, images, chosen, layer).abs().max()) == 0


def test_evidence_against_is_left_out_of_a_map_and_kept_in_the_signed_one() -> None:
    classifier = Classifier(seeing([[1.0, 0.0]], (6, 7)), (0, 1000), "logit")
    images = patched((6, 7))
    against = torch.tensor([0, 0])
    assert float(integrated_gradients(classifier, images, against).max()) == 0
    signed = signed_gradients(classifier, images, against)
    torch.testing.assert_close(signed, -images[:, 0] / 42)


@pytest.mark.parametrize("baseline", [None, 100.0])
def test_integrated_gradients_are_complete(baseline: float | None) -> None:
    """Their sum is the margin less the baseline's, for any network."""
    torch.manual_seed(1)
    classifier = Classifier(nodule_cnn(size=(4, 8, 8), width=0.1), (-1000, 400), "logit", normalise=(-300.0, 700.0))
    images = torch.rand(5, 1, 4, 8, 8) * 1400 - 1000
    reference = torch.tensor([0, 1, 0, 1, 1])
    found = signed_gradients(classifier, images, reference, 512, baseline).flatten(1).sum(1)
    with torch.no_grad():
        start = torch.full_like(images, -1000.0 if baseline is None else baseline)
        wanted = classifier.margins(images, reference) - classifier.margins(start, reference)
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-3)


def test_a_window_within_the_classifier_hides_what_it_clips() -> None:
    module = seeing([[1.0, 0.0]], (6, 7))
    classifier = Classifier(module, (-1024, 3071), "logit", normalise=lambda images: images.clamp(0, 200))
    images = patched((6, 7)) - 100     # the surroundings lie below the window
    found = integrated_gradients(classifier, images, torch.ones(2, dtype=torch.int64))
    assert (found[0] > 0).sum() == 4
    assert (found[1] > 0).sum() == 1
    assert found[0, 1, 1] == pytest.approx(200 / 42, rel=0.1)


def test_grad_cam_lies_on_the_images_grid_however_coarse_its_layer() -> None:
    conv = nn.Conv2d(1, 1, 2, stride=2, bias=False)
    nn.init.constant_(conv.weight, 1.0)
    module = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1, bias=False))
    nn.init.constant_(module[-1].weight, 1.0)
    classifier = Classifier(module, (0, 1), "logit")
    images = torch.zeros(1, 1, 8, 8)
    images[0, 0, 2:4, 4:6] = 1
    found = grad_cam(classifier, images, torch.tensor([1]), layer_named(classifier, images))
    assert found.shape == (1, 8, 8)
    assert found[0, 2:4, 4:6].min() == found.max() > 0
    rows, columns = (found[0].sum(1 - axis) @ torch.arange(8.0) / found.sum() for axis in (0, 1))
    assert (float(rows), float(columns)) == (pytest.approx(2.5, abs=0.1), pytest.approx(4.5, abs=0.1))


@pytest.mark.parametrize("make", ["volumes", "pictures"])
@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_the_same_alone_and_in_a_batch_and_the_module_is_left_as_found(make: str, method) -> None:
    torch.manual_seed(0)
    volumes = make == "volumes"
    module = nodule_cnn(size=(4, 9, 8), width=0.1, norm=True) if volumes else narrow_vgg(3, size=32)
    space = (4, 9, 8) if volumes else (32, 32)
    module.train()
    module.requires_grad_(True)
    classifier = Classifier(module, (0, 1), "logit" if volumes else "logits")
    images = torch.rand(5, 1, *space)
    before = untouched(module)
    reference = torch.tensor([0, 1, 1, 0, 1])
    layer = layer_named(classifier, images)
    together = attention(classifier, images, reference, layer, method)
    assert together.shape == (5, *space)
    assert float(together.min()) >= 0
    alone = torch.cat([attention(classifier, images[at:at + 1], reference[at:at + 1], layer, method)
                       for at in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5 * float(together.max()))
    randomised(classifier, images)
    values(classifier, images, layer_named(classifier, images, default="first"))
    assert same(before, untouched(module))
    assert not images.requires_grad


# layers

class Residual(nn.Module):
    """A sum between a convolution and its activation, which serves twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 2)
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.active = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        held = self.active(self.first(images))
        logits: Tensor = self.last(self.active(self.second(held) + held).mean((2, 3)))
        return logits


def test_layers_come_in_the_order_of_a_pass_with_what_stands_behind_them() -> None:
    classifier = Classifier(Residual(), (0, 1), "logits")
    images = torch.rand(2, 1, 6, 6)
    first, second = layers_of(classifier, images)
    assert (first.name, second.name) == ("first", "second")
    assert first.active is classifier.module.active
    assert first.seen_at is classifier.module.first      # the activation serves another layer too
    assert second.active is None
    assert second.seen_at is classifier.module.second
    assert weighted_last(classifier, images) is classifier.module.last
    assert grad_cam(classifier, images, torch.tensor([0, 1]), second).shape == (2, 6, 6)
    torch.testing.assert_close(values(classifier, images, first), classifier.module.first(images).relu().detach())


def test_values_are_normalised_and_rectified_and_not_pooled() -> None:
    torch.manual_seed(2)
    module = nodule_cnn(size=(4, 8, 8), width=0.1, norm=True).eval()
    nn.init.uniform_(module.features[1].running_mean)
    classifier = Classifier(module, (0, 1), "logit")
    images = torch.rand(2, 1, 4, 8, 8)
    layer = layer_named(classifier, images, default="first")
    found = values(classifier, images, layer)
    conv, norm, pool, active = module.features[:4]
    with torch.no_grad():
        torch.testing.assert_close(found, norm(conv(images)).relu())
        torch.testing.assert_close(pool(found), active(pool(norm(conv(images)))))


def test_a_layer_that_is_not_there_is_refused_in_one_line() -> None:
    images = torch.rand(1, 1, 6, 6)
    with pytest.raises(UsageError, match=r"no convolution 'secnd': did you mean 'second'\? it has first, second"):
        layer_named(Classifier(Residual(), (0, 1), "logits"), images, "secnd")
    dense = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 1)), (0, 1), "logit", name="dense")
    with pytest.raises(InputRefused, match="'dense' has no convolution"):
        layer_named(dense, images)
    with pytest.raises(UsageError, match="no attention method 'heat'"):
        attention(dense, images, torch.tensor([0]), None, "heat")  # type: ignore[arg-type]


def test_without_captum_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(seeing([[1.0, 0.5]], (6, 7)), (0, 1000), "logit")
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputRefused, match=r"pip install 'steadyread\[explain\]'"):
        integrated_gradients(classifier, patched((6, 7)), torch.tensor([1, 1]))


# features

FILTERS = ("smooth", "fine", "silent", "only_noise", "loud")


def filters() -> Classifier:
    """Five features of 3x3: a mean, a Laplacian, none, one that fires above 130 only, the mean x 1000."""
    conv = nn.Conv2d(1, 5, 3, padding=1, padding_mode="replicate")
    laplacian = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    centre = torch.zeros(3, 3)
    centre[1, 1] = 1
    with torch.no_grad():
        conv.weight.copy_(torch.stack([torch.full((3, 3), 1 / 9), laplacian, torch.zeros(3, 3), centre,
                                       torch.full((3, 3), 1000 / 9)])[:, None])
        conv.bias.copy_(torch.tensor([0.0, 0.0, 1.0, -130.0, 0.0]))
    module = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(5 * 256, 1))
    return Classifier(module, (-1000, 1000), "logit")


def ramps() -> tuple[Tensor, Tensor]:
    """Smooth images from 0 to 120, and the same under white noise of 10."""
    torch.manual_seed(3)
    clean = torch.stack([torch.linspace(0, 100 + 5 * at, 16).expand(1, 16, 16) for at in range(5)])
    return clean, clean + 10 * torch.randn(clean.shape)


def test_features_are_ranked_by_what_noise_does_to_them() -> None:
    classifier, (clean, noisy) = filters(), ramps()
    change = feature_change(classifier, clean, noisy, layer_named(classifier, clean))
    order = [FILTERS[at] for at in ranked(change)]
    assert set(order[:2]) == {"fine", "only_noise"}      # a ramp has neither: what they have is noise
    assert set(order[2:4]) == {"smooth", "loud"}
    assert order[4] == "silent"
    assert change[:, 2].isnan().all()
    torch.testing.assert_close(change[:, 0], change[:, 4])                  # no feature is ahead by its scale
    smooth = change[:, 0].median()
    spread = torch.cat([clean, noisy]).std()
    assert float(smooth) == pytest.approx(10 / 3 / float(spread), rel=0.2)   # a mean of nine: a third of the noise
    assert float(change[:, 1].median()) > 0.9


def test_nothing_changes_where_there_is_no_noise_and_the_root_of_two_where_nothing_is_shared() -> None:
    classifier, (clean, _) = filters(), ramps()
    layer = layer_named(classifier, clean)
    assert float(feature_change(classifier, clean, clean.clone(), layer).nan_to_num().max()) == 0
    torch.manual_seed(0)
    one, other = (500 + 10 * torch.randn(70, 1, 16, 16) for _ in range(2))
    found = feature_change(classifier, one, other, layer)[:, 0]
    assert float(found.median()) == pytest.approx(2 ** 0.5, abs=0.05)


# sanity

@pytest.fixture(scope="module")
def trained() -> tuple[Classifier, Tensor]:
    """A network that was taught that a bright patch in the middle is class 1, and images of both."""
    torch.manual_seed(0)
    images = torch.rand(64, 1, 12, 12)
    labels = torch.arange(64) % 2
    images[labels == 1, 0, 4:8, 4:8] += 0.6
    module = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                           nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(288, 1))
    steps = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(40):
        steps.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(module(images)[:, 0], labels.float()).backward()
        steps.step()
    return Classifier(module, (0, 2), "logit"), images


@pytest.mark.parametrize("method", METHODS)
def test_maps_follow_the_weights(trained, method) -> None:
    classifier, images = trained
    same = map_correlation(classifier, replace(classifier, module=copy.deepcopy(classifier.module)), images, method)
    assert float(same[same.isfinite()].min()) > 0.999
    others = [map_correlation(classifier, randomised(classifier, images, "all layers", seed), images, method)
              for seed in range(3)]
    assert float(torch.stack(others).nanmedian()) < 0.5


@pytest.mark.parametrize("which", WHICH)
def test_weights_drawn_anew_keep_their_size_and_leave_the_network_alone(trained, which) -> None:
    classifier, images = trained
    before = untouched(classifier.module)
    other = randomised(classifier, images, which, 5)
    assert same(before, untouched(classifier.module))
    changed = [name for name, held in other.module.named_parameters()
               if not torch.equal(held, classifier.module.get_parameter(name))]
    weights = {"all layers": ["0.weight", "0.bias", "3.weight", "3.bias", "6.weight"], "last layer": ["6.weight"]}
    assert changed == weights[which]       # one bias cannot be shuffled
    for name in changed:
        one, its = (held.module.get_parameter(name).detach() for held in (classifier, other))
        assert float(its.square().mean() / one.square().mean()) == pytest.approx(1, abs=0.5)
    again = randomised(classifier, images, which, 5).module
    assert all(torch.equal(held, again.get_parameter(name)) for name, held in other.module.named_parameters())


def test_evidence_of_a_trained_network_lies_where_its_classes_differ(trained) -> None:
    classifier, images = trained
    bright = images[1::2]
    mask = np.zeros((32, 12, 12), bool)
    mask[:, 4:8, 4:8] = True
    found = integrated_gradients(classifier, bright, torch.ones(32, dtype=torch.int64)).numpy()
    inside = (found * mask).sum((1, 2)) / found.sum((1, 2))
    assert np.median(inside) > 3 * mask.mean()
