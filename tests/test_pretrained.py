"""ImageNet weights in VGG16: files with the names and shapes of torchvision and Keras, and of other networks."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.jobs.material import gather
from steadyread.jobs.networks import untrained
from steadyread.models.pretrained import load_pretrained
from steadyread.models.scales import caffe, imagenet
from steadyread.models.vgg import Vgg, narrow_vgg, vgg16
from steadyread.study import Study
from steadyread.units import Bounds

h5py = pytest.importorskip("h5py")

# Written out once more, independently of the code: VGG16's layers in Keras and in torchvision.
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
LAYERS = ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1", "block3_conv2",
          "block3_conv3", "block4_conv1", "block4_conv2", "block4_conv3", "block5_conv1", "block5_conv2",
          "block5_conv3")
ENDS = (1, 3, 6, 9, 12)                                              # of a stage
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)            # torchvision's vgg16
BN_PLACES = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)        # torchvision's vgg16_bn
VGG19 = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
FIRST, NEWER = ("{0}_W_1:0", "{0}_b_1:0"), ("{0}/kernel:0", "{0}/bias:0")
NAME = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
GREY = Bounds(0.0, 255.0, "grey level")

Kernels = list[tuple[NDArray[np.float32], NDArray[np.float32]]]      # (height, width, in, out) and (out,)


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    """Random weights of the full size, scaled so that signals last through thirteen layers."""
    rng, before, made = np.random.default_rng(0), 3, []
    for width in WIDTHS:
        kernel = rng.standard_normal((3, 3, before, width), np.float32) * np.float32(np.sqrt(2 / (9 * before)))
        made.append((kernel, rng.standard_normal(width, np.float32) / 10))
        before = width
    return made


def keras_file(path: Path, kernels: Kernels, names: tuple[str, str] = FIRST, root: str = "") -> Path:
    """Groups and attributes as Keras writes them, layers without weights among them."""
    with h5py.File(path, "w") as file:
        top = file.require_group(root) if root else file
        top.attrs["layer_names"] = [name.encode() for name in ("input_1", *LAYERS, "block1_pool")]
        for layer in ("input_1", "block1_pool"):
            top.create_group(layer)
        for layer, arrays in zip(LAYERS, kernels, strict=True):
            group = top.create_group(layer)
            for name, values in zip(names, arrays, strict=True):
                group[name.format(layer)] = values
        if root:
            file["optimizer_weights/SGD/iterations:0"] = np.int64(3)
    return path


def state_of(kernels: Kernels) -> dict[str, Tensor]:
    """The same numbers as torchvision would name and turn them, channels in the order they have."""
    state = {}
    for place, (kernel, bias) in zip(PLACES, kernels, strict=True):
        state[f"features.{place}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"features.{place}.bias"] = torch.from_numpy(bias)
    return state


@pytest.fixture(scope="module")
def keras(kernels: Kernels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keras_file(tmp_path_factory.mktemp("keras") / NAME, kernels)


@pytest.fixture(scope="module")
def torchvision(kernels: Kernels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchvision") / "vgg16-397923af.pth"
    torch.save({**state_of(kernels), "classifier.6.bias": torch.zeros(1000)}, path)
    return path


def network(channels: int = 3, norm: bool = False) -> Vgg:
    """VGG16 of full width for 32x32 images, zeros everywhere: made at once, and every change shows."""
    net = unmade(channels, norm=norm).to_empty(device="cpu")
    with torch.no_grad():
        for value in net.state_dict().values():
            value.zero_()
    return net.eval()


def unmade(channels: int = 3, **arguments: object) -> Vgg:
    """Names and shapes alone, for files that are refused before any number counts."""
    with torch.device("meta"):
        return vgg16(2, channels, size=32, **arguments)  # type: ignore[arg-type]


def features_by_hand(images: NDArray[np.float32], kernels: Kernels) -> NDArray[np.float32]:
    """Thirteen convolutions with ReLU and five maxima of images (n, height, width, channels), without torch."""
    for place, (kernel, bias) in enumerate(kernels):
        sides = images.shape[1:3]
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        images = bias + sum(padded[:, down:down + sides[0], right:right + sides[1]] @ kernel[down, right]
                            for down in range(3) for right in range(3))
        images = np.maximum(images, 0)
        if place in ENDS:
            images = images.reshape(len(images), sides[0] // 2, 2, sides[1] // 2, 2, -1).max((2, 4))
    return images


def photographs() -> NDArray[np.float32]:
    """Red, green and blue on 0 to 255, (n, height, width, 3)."""
    return np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)


def features_of(net: Vgg, scale: tuple[Tensor, Tensor] | tuple[float, float], images: NDArray[np.float32]
                ) -> NDArray[np.float32]:
    told = Classifier(net, GREY, "logits", scale)
    with torch.no_grad():
        found = net.features(told.normalised(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())))
    return found.numpy().transpose(0, 2, 3, 1)


# weights

def test_keras_weights_give_the_features_that_keras_computes(keras: Path, kernels: Kernels) -> None:
    """Blue first, the mean of ImageNet taken off, kernels (height, width, in, out): all of it by hand."""
    net = network()
    load_pretrained(net, keras)
    images = photographs()
    blue_first = np.ascontiguousarray(images[..., ::-1]) - np.array([103.939, 116.779, 123.68], np.float32)
    expected = features_by_hand(blue_first, kernels)
    assert expected.max() > 10
    np.testing.assert_allclose(features_of(net, caffe(GREY, 3), images), expected, rtol=1e-4, atol=1e-3)
    assert all(not value.any() for name, value in net.state_dict().items() if name.startswith("head."))


def test_torchvision_weights_give_the_features_that_torchvision_computes(torchvision: Path, kernels: Kernels
                                                                         ) -> None:
    net = network()
    load_pretrained(net, torchvision)
    images = photographs()
    seen = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    expected = features_by_hand(seen.astype(np.float32), kernels)
    np.testing.assert_allclose(features_of(net, imagenet(GREY, 3), images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("names", "root"), [
    (NEWER, ""), (("{0}/kernel", "{0}/bias"), "model_weights"), (("{0}_b", "{0}_a"), "")])
def test_later_names_of_keras_are_read_alike(tmp_path: Path, kernels: Kernels, names: tuple[str, str], root: str
                                             ) -> None:
    net = network()
    load_pretrained(net, keras_file(tmp_path / "vgg16.hdf5", kernels, names, root))
    wanted = state_of(kernels)
    wanted["features.0.weight"] = wanted["features.0.weight"].flip(1)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("way", ["safetensors", "parallel", "checkpoint"])
def test_torchvision_weights_as_people_store_them(tmp_path: Path, kernels: Kernels, way: str) -> None:
    state, path = state_of(kernels), tmp_path / "w.pt"
    if way == "safetensors":                       # as other collections of the same weights: another head
        path = tmp_path / "w.safetensors"
        save_file({**state, "head.fc.bias": torch.zeros(3)}, path)
    else:
        stored: Mapping[str, object] = {
            "parallel": {f"module.{name}": value for name, value in state.items()},
            "checkpoint": {"state_dict": state, "epoch": 3}}[way]
        torch.save(stored, path)
    net = network()
    load_pretrained(net, path)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("source", ["keras", "torchvision"])
def test_a_network_of_one_channel_reads_grey_as_one_of_three_reads_it_repeated(
        source: str, request: pytest.FixtureRequest) -> None:
    one, three = network(1), network(3)
    for net in (one, three):
        load_pretrained(net, request.getfixturevalue(source))
    grey = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        repeated = three.features(grey.expand(-1, 3, -1, -1))
        assert repeated.max() > 0.1
        assert torch.allclose(one.features(grey), repeated, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("counted", [True, False])
def test_batch_normalisation_comes_from_torchvisions_vgg16_bn(tmp_path: Path, kernels: Kernels, counted: bool
                                                              ) -> None:
    """Old files do not count the batches seen."""
    state, draw = {}, torch.Generator().manual_seed(0)
    for place, width, (kernel, bias) in zip(BN_PLACES, WIDTHS, kernels, strict=True):
        state[f"features.{place}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"features.{place}.bias"] = torch.from_numpy(bias)
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"features.{place + 1}.{name}"] = torch.rand(width, generator=draw)
        if counted:
            state[f"features.{place + 1}.num_batches_tracked"] = torch.tensor(9)
    torch.save(state, tmp_path / "vgg16_bn-6c64b313.pth")
    net = network(norm=True)
    load_pretrained(net, tmp_path / "vgg16_bn-6c64b313.pth")
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items()
               if not name.endswith("num_batches_tracked"))


def test_a_study_starts_from_them(keras: Path, kernels: Kernels) -> None:
    """With the head that the seed makes, and the scale that goes with the weights."""
    study = Study.model_validate({
        "data": {"synthetic": 12}, "preparation": {"crop": 32},
        "model": {"pretrained": str(keras), "normalise": "caffe",
                  "arguments": {"width": 1.0, "norm": False, "convolutions": [2, 2, 3, 3, 3]}},
        "training": {"epochs": 1}})
    made = untrained(gather(study), 5)
    module = made.module
    assert isinstance(module, Vgg)
    assert torch.equal(module.state_dict()["features.28.weight"], state_of(kernels)["features.28.weight"])
    assert module.head[2].weight.std() > 0
    low, high = (float(made.normalised(torch.tensor([[[[value]]]]))) for value in (-1000.0, 400.0))
    assert (low, high) == pytest.approx((-114.7993, 255 - 114.7993), rel=1e-5)


def test_a_window_lies_below_the_scale_of_grey_images_only(tmp_path: Path) -> None:
    window = {"window": (-600.0, 200.0), "normalise": "imagenet"}
    grey = untrained(gather(Study.model_validate({"data": {"synthetic": 12}, "model": window})), 0)
    seen = grey.normalised(torch.tensor([-1000.0, -600.0, -200.0, 200.0, 400.0]).reshape(1, 1, 1, 5)).flatten()
    assert seen.tolist() == pytest.approx([(share - 0.449) / 0.226 for share in (0, 0, 0.5, 1, 1)], rel=1e-5)
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(range(2)) * (3073 * 20))
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    colour = Study.model_validate({"data": {"path": str(tmp_path)}, "model": {**window, "window": (0.0, 200.0)}})
    with pytest.raises(UsageError, match="for grey images imagenet or caffe"):
        untrained(gather(colour), 0)


# the scales

def test_scales_are_those_of_photographs_laid_over_the_bounds() -> None:
    lung = Bounds(-1000.0, 400.0, "HU")
    mean, deviation = imagenet(lung, 3)
    np.testing.assert_allclose(mean, [-1000 + 1400 * 0.485, -1000 + 1400 * 0.456, -1000 + 1400 * 0.406], rtol=1e-6)
    np.testing.assert_allclose(deviation, [1400 * 0.229, 1400 * 0.224, 1400 * 0.225], rtol=1e-6)
    mean, deviation = caffe(GREY, 3)
    np.testing.assert_allclose(mean, [123.68, 116.779, 103.939], rtol=1e-6)
    np.testing.assert_allclose(deviation, [1.0, 1.0, 1.0], rtol=1e-6)
    assert caffe(lung, 1) == pytest.approx((-1000 + 1400 * 344.398 / 765, 1400 / 255))
    assert imagenet(Bounds(0.0, 1.0), 1) == pytest.approx((0.449, 0.226))


@pytest.mark.parametrize("scale", [imagenet, caffe])
def test_a_scale_is_for_grey_or_colour(scale: Callable[[Bounds, int], object]) -> None:
    with pytest.raises(UsageError, match=r"one channel or three; these have 4: state all means"):
        scale(GREY, 4)


# networks that they do not fit

@pytest.mark.parametrize(("net", "told"), [
    (lambda: narrow_vgg(2, size=32), r"1 channel\(s\), then 16, 32, 64, 128, 128 features: state width = 1, "
                                     r"convolutions = \[2, 2, 3, 3, 3\]"),
    (lambda: unmade(width=0.5), "then 32, 32, 64"), (lambda: unmade(2), r"have 2 channel\(s\)"),
    (lambda: unmade(convolutions=(2, 2, 4, 4, 4)), "256, 256, 256, 256, 512"),
    (lambda: nn.Linear(3, 2), r"is for VGG16 \(model.name = vgg16\); a Linear has no 'features'"),
    (lambda: nn.ModuleDict({"features": nn.Sequential(nn.ReLU())}), "then no features")])
def test_other_networks_of_the_user_are_refused(torchvision: Path, net: Callable[[], nn.Module], told: str) -> None:
    module = net()
    if isinstance(module, nn.ModuleDict):
        module.features = module["features"]
    with pytest.raises(UsageError, match=told):
        load_pretrained(module, torchvision)


@pytest.mark.parametrize("source", ["keras", "torchvision"])
def test_a_convolution_without_bias_is_not_filled_by_half(source: str, request: pytest.FixtureRequest) -> None:
    net = unmade()
    net.features[28].bias = None
    with pytest.raises(InputRefused, match=r"1 unexpected \(first 'features.28.bias'\)"):
        load_pretrained(net, request.getfixturevalue(source))


# files of other networks

def shapes(places: tuple[int, ...], widths: tuple[int, ...], channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a VGG's convolutions."""
    named: dict[str, tuple[int, ...]] = {}
    for place, before, width in zip(places, (channels, *widths), widths, strict=False):
        named |= {f"features.{place}.weight": (width, before, 3, 3), f"features.{place}.bias": (width,)}
    return named


def stored(path: Path, named: Mapping[str, tuple[int, ...]]) -> Path:
    """A state dict of zeros that takes no room: each tensor is one number, laid out to its shape."""
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in named.items()}, path)
    return path


VGG16 = shapes(PLACES, WIDTHS)


@pytest.mark.parametrize(("named", "told"), [
    ({"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 3, 3)},
     r"26 missing \(first 'features.0.weight', .*2 unexpected \(first 'conv1.weight', 'layer1.0.conv1.weight'\)"),
    (shapes(VGG19, (64, 64, 128, 128, *[256] * 4, *[512] * 8)),
     r"6 missing \(first 'features.17.weight'.*12 unexpected \(first 'features.16.weight'"),
    (shapes(PLACES, tuple(width // 4 for width in WIDTHS)),
     r"'features.0.weight' has the shape \(16, 3, 3, 3\), expected \(64, 3, 3, 3\)"),
    (shapes(PLACES, WIDTHS, channels=1),
     r"'features.0.weight' has the shape \(64, 1, 3, 3\), expected \(64, 3, 3, 3\)"),
    (VGG16 | {"features.28.bias": (256,)}, r"'features.28.bias' has the shape \(256,\), expected \(512,\)")])
def test_state_dicts_of_other_networks_name_what_differs_first(tmp_path: Path, named: dict[str, tuple[int, ...]],
                                                               told: str) -> None:
    with pytest.raises(InputRefused, match=f"^[^\n]*does not fit the convolutions of VGG16: [^\n]*{told}"):
        load_pretrained(unmade(), stored(tmp_path / "other.pth", named))


@pytest.mark.parametrize(("value", "told"), [
    (torch.full((64,), torch.inf), "'features.0.bias' has NaN or infinite values"),
    (torch.zeros(64, dtype=torch.int64), r"'features.0.bias' holds no plain numbers \(torch.int64"),
    (torch.zeros(64).to_sparse(), "'features.0.bias' holds no plain numbers"),
    (torch.full((64,), 1e300, dtype=torch.float64), "'features.0.bias' has NaN or infinite values")])
def test_broken_values_of_a_state_dict_are_refused(tmp_path: Path, value: Tensor, told: str) -> None:
    state = {name: torch.zeros(1).expand(shape) for name, shape in VGG16.items()}
    torch.save({**state, "features.0.bias": value}, tmp_path / "w.pth")
    with pytest.raises(InputRefused, match=told):
        load_pretrained(unmade(), tmp_path / "w.pth")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Keras' file with its shapes and no numbers (HDF5 reads zeros there), changed by the test."""

    def make(change: Callable[[object], None], name: str = NAME) -> Path:
        before = 3
        with h5py.File(tmp_path / name, "w") as file:
            for layer, width in zip(LAYERS, WIDTHS, strict=True):
                file.create_dataset(f"{layer}/{layer}_W_1:0", (3, 3, before, width), "f4")
                file.create_dataset(f"{layer}/{layer}_b_1:0", (width,), "f4")
                before = width
            change(file)
        return tmp_path / name

    return make


def put(name: str, values: object, **settings: object) -> Callable[[object], None]:
    """A dataset in the place of another."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=values, **settings)

    return change


def without(*names: str) -> Callable[[object], None]:
    def change(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return change


BIAS, KERNEL = "block1_conv1/block1_conv1_b_1:0", "block1_conv1/block1_conv1_W_1:0"


@pytest.mark.parametrize(("change", "told"), [
    (put("block3_conv4/block3_conv4_W_1:0", np.zeros((3, 3, 256, 256), np.float32)),
     "of its 13 names 1 unexpected .first 'block3_conv4'.: expected torchvision's vgg16"),
    (put("fc1/fc1_W_1:0", np.zeros((2, 3))), "1 unexpected .first 'fc1'.: .*_notop.h5"),
    (put(KERNEL, np.zeros((64, 3, 3, 3))),
     "'block1_conv1/block1_conv1_W_1:0' has the shape .64, 3, 3, 3., expected .3, 3, 3, 64."),
    (put("block1_conv1/gamma:0", np.zeros(64)), "the layer 'block1_conv1' holds 3 arrays, expected a kernel and"),
    (without(BIAS), "the layer 'block1_conv1' holds 1 arrays"),
    (put(BIAS, np.full(64, np.nan)), "'block1_conv1/block1_conv1_b_1:0' has NaN or infinite values"),
    (put(BIAS, [b"ab"] * 64), "'block1_conv1/block1_conv1_b_1:0' holds no plain numbers"),
    (put(BIAS, np.zeros(64, np.int32)), "'block1_conv1/block1_conv1_b_1:0' holds no plain numbers"),
    (put(BIAS, h5py.Empty("f4")), "cannot be read as weights"),
    (lambda file: file.attrs.update({"backend": "theano"}), "of Theano, whose kernels stand turned")])
def test_keras_files_of_other_networks_name_what_differs_first(
        empty: Callable[..., Path], change: Callable[[object], None], told: str) -> None:
    load_pretrained(unmade(), empty(lambda file: None))
    with pytest.raises(InputRefused, match=f"notop.h5[^\n]*{told}") as refused:
        load_pretrained(unmade(), empty(change))
    assert "\n" not in str(refused.value)


# broken and hostile files

@pytest.mark.parametrize("keep", [0.0, 0.3])
@pytest.mark.parametrize("source", ["keras", "torchvision"])
def test_a_file_that_is_cut_off_leaves_the_network_alone(tmp_path: Path, source: str, keep: float,
                                                         request: pytest.FixtureRequest) -> None:
    whole: Path = request.getfixturevalue(source)
    content = whole.read_bytes()
    (tmp_path / whole.name).write_bytes(content[:int(keep * len(content))])
    net = network(1)
    with pytest.raises(InputRefused, match=r"cut off") as refused:
        load_pretrained(net, tmp_path / whole.name)
    assert "\n" not in str(refused.value)
    assert not any(value.any() for value in net.state_dict().values())


def test_a_last_broken_layer_leaves_the_network_alone(tmp_path: Path, kernels: Kernels) -> None:
    broken = [*kernels[:-1], (kernels[-1][0], np.full(512, np.nan, np.float32))]
    net = network()
    with pytest.raises(InputRefused, match="'block5_conv3/block5_conv3_b_1:0' has NaN"):
        load_pretrained(net, keras_file(tmp_path / NAME, broken))
    assert not any(value.any() for value in net.state_dict().values())


def test_a_file_never_brings_in_what_stands_in_others(tmp_path: Path, empty: Callable[..., Path]) -> None:
    """Links that leave the file are not followed, and values that are kept outside are refused."""
    secret = np.full(64, 7.0, np.float32)
    (tmp_path / "secret.raw").write_bytes(secret.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["bias"] = secret
    layout = h5py.VirtualLayout((64,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "bias", (64,))

    def link(file: h5py.File) -> None:
        del file[BIAS]
        file[BIAS] = h5py.ExternalLink("secret.h5", "bias")

    def outside(file: h5py.File) -> None:
        del file[BIAS]
        file.create_dataset(BIAS, (64,), "f4", external=[(str(tmp_path / "secret.raw"), 0, 256)])

    def virtual(file: h5py.File) -> None:
        del file[BIAS]
        file.create_virtual_dataset(BIAS, layout)

    for change, told in ((link, "is a link to elsewhere"), (outside, "keeps its values in other files"),
                         (virtual, "keeps its values in other files")):
        with pytest.raises(InputRefused, match=told):
            load_pretrained(unmade(), empty(change))


def test_without_h5py_it_says_how_to_install_it(keras: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputRefused, match=r"not installed: pip install 'steadyread\[keras\]'"):
        load_pretrained(unmade(), keras)
