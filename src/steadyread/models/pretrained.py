"""ImageNet weights for the convolutions of VGG16, of torchvision or of Keras."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from steadyread.errors import InputRefused, UsageError
from steadyread.models.hdf5 import opened
from steadyread.models.loading import existing, read_state, refuse_misfit, refuse_not_finite
from steadyread.models.vgg import CONVOLUTIONS, FEATURES

_WIDTHS = [width for width, count in zip(FEATURES, CONVOLUTIONS, strict=True) for _ in range(count)]
_LAYERS = [f"block{stage}_conv{place}" for stage, count in enumerate(CONVOLUTIONS, 1)
           for place in range(1, count + 1)]   # as Keras names them
_KERAS, _TORCH = (".h5", ".hdf5"), (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_NETWORK = "the convolutions of VGG16"
_EXPECTED = ("expected torchvision's vgg16 (its vgg16_bn for norm = true) or, from Keras, "
             "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
_ADVICE = (_EXPECTED, _EXPECTED)   # for names, for shapes


def load_pretrained(module: nn.Module, path: str | Path) -> None:
    """Fill the convolutions of a VGG16 with ImageNet weights, from which paper [A] starts; the head is left alone.

    The file is torchvision's state dict of `vgg16`, or of `vgg16_bn` for a network with norm = true: what stands
    outside `features` is passed over. Or it is Keras' file without the dense layers,
    `vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`: its kernels (height, width, in, out) become
    (out, in, height, width), its inputs blue, green, red become red, green, blue. Both are read as data.

    A network of one channel gets the first convolution summed over its three inputs. That is exactly what the
    network of three computes where a grey image is repeated.

    Raises:
        UsageError: the network is no VGG16 of full width, or has batch normalisation and the file is Keras'.
        InputRefused: no such file, cut off, of another network (the first names that differ are told), with
            values that are not finite; or it is Keras' and h5py is not installed. The network is as before then.
    """
    path = existing(Path(path))
    features = _features_of(module)
    own = {f"features.{name}": value for name, value in features.state_dict().items()
           if not name.endswith("num_batches_tracked")}
    kernels = [name for name, value in own.items() if value.ndim == 4]
    if path.suffix in _KERAS:
        if any(isinstance(layer, nn.BatchNorm2d) for layer in features):
            raise UsageError(f"{path} has no batch normalisation and the network has (norm = true): take "
                             "torchvision's vgg16_bn, or norm = false")
        state = _of_keras(path, kernels)
        refuse_misfit(path, _NETWORK, dict.fromkeys(state, ()), dict.fromkeys(own, ()), _ADVICE)
    else:
        state = _of_torchvision(path, {name: value.shape for name, value in own.items()}
                                | {kernels[0]: (FEATURES[0], 3, 3, 3)})   # also for a network of one channel
    if own[kernels[0]].shape[1] == 1:
        state[kernels[0]] = state[kernels[0]].sum(1, keepdim=True)
    for name, value in own.items():
        value.copy_(state[name])


def _features_of(module: nn.Module) -> nn.Sequential:
    features = getattr(module, "features", None)
    if not isinstance(features, nn.Sequential):
        raise UsageError(f"model.pretrained is for VGG16 (model.name = vgg16); a {type(module).__name__} has no "
                         "'features' in a row: leave model.pretrained out")
    shapes = [tuple(layer.weight.shape) for layer in features if isinstance(layer, nn.Conv2d)]
    channels = shapes[0][1] if shapes else 0
    if channels not in (1, 3) or shapes != [(width, before, 3, 3) for before, width in
                                            zip([channels, *_WIDTHS], _WIDTHS, strict=False)]:
        had = ", ".join(str(shape[0]) for shape in shapes) or "no"
        raise UsageError("model.pretrained is for VGG16 of full width with 3 channels or 1; this network's "
                         f"convolutions have {channels} channel(s), then {had} features: state width = 1, "
                         f"convolutions = {list(CONVOLUTIONS)} under model.arguments, or leave model.pretrained "
                         "out")
    return features


def _of_torchvision(path: Path, wanted: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    if path.suffix not in _TORCH:
        raise InputRefused(f"{path} is of no known format: {_EXPECTED}")
    stored = read_state(path, wanted)
    # The dense layers have no place here and may even be NaN (IMAGENET1K_FEATURES of torchvision).
    found = {name: value for name, value in stored.items() if name.startswith("features.")} or stored
    found = {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}
    refuse_misfit(path, _NETWORK, {name: value.shape for name, value in found.items()}, wanted, _ADVICE)
    for name, value in found.items():
        if not value.is_floating_point() or value.layout != torch.strided or value.is_meta:
            raise InputRefused(f"{path}: {name!r} holds no plain numbers ({value.dtype}, {value.layout}): "
                               f"{_EXPECTED}")
    return {name: _as_float(path, name, value) for name, value in found.items()}


def _of_keras(path: Path, kernels: Sequence[str]) -> dict[str, Tensor]:
    """The state of our names, from the kernel and bias of each of Keras' layers in turn."""
    state: dict[str, Tensor] = {}
    with opened(path) as (file, datasets):
        if "th_kernels" in path.name or "theano" in str(file.attrs.get("backend", "")):
            raise InputRefused(f"{path} is of Theano, whose kernels stand turned by 180 degrees: {_EXPECTED}")
        layers: dict[str, list[Any]] = {}
        for name, dataset in datasets.items():
            layers.setdefault(name.removeprefix("model_weights/").partition("/")[0], []).append(dataset)
        layers.pop("optimizer_weights", None)
        refuse_misfit(path, _NETWORK, dict.fromkeys(layers, ()), dict.fromkeys(_LAYERS, ()), _ADVICE)
        for place, (name, layer) in enumerate(zip(kernels, _LAYERS, strict=True)):
            width, before = _WIDTHS[place], _WIDTHS[place - 1] if place else 3
            kernel, bias = _kernel_and_bias(path, layer, layers[layer], (3, 3, before, width))
            state[name] = kernel.permute(3, 2, 0, 1)
            state[name.removesuffix("weight") + "bias"] = bias
    state[kernels[0]] = state[kernels[0]].flip(1)
    return state


def _kernel_and_bias(path: Path, layer: str, datasets: Sequence[Any], shape: tuple[int, ...]
                     ) -> tuple[Tensor, Tensor]:
    """Of one layer, whatever its datasets are called: block1_conv1_W_1:0 at first, kernel:0 or kernel later."""
    held = {dataset.name.lstrip("/"): dataset for dataset in datasets}
    ordered = sorted(held, key=lambda name: -len(held[name].shape))
    if len(held) != 2:
        raise InputRefused(f"{path}: the layer {layer!r} holds {len(held)} arrays, expected a kernel and a bias: "
                           f"{_EXPECTED}")
    refuse_misfit(path, _NETWORK, {name: held[name].shape for name in ordered},
                  dict(zip(ordered, (shape, shape[-1:]), strict=True)), _ADVICE)
    kernel, bias = (_values(path, name, held[name]) for name in ordered)
    return kernel, bias


def _values(path: Path, name: str, dataset: Any) -> Tensor:
    if dataset.dtype.kind != "f":
        raise InputRefused(f"{path}: {name!r} holds no plain numbers ({dataset.dtype}): {_EXPECTED}")
    return _as_float(path, name, torch.from_numpy(np.asarray(dataset[()], np.float64)))


def _as_float(path: Path, name: str, value: Tensor) -> Tensor:
    value = value.to(torch.float32)
    refuse_not_finite(path, name, value)
    return value
