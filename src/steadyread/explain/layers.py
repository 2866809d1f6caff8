"""A network's convolutions by name, and what each hands on, without changing the network."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Images

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
          nn.InstanceNorm3d, nn.LayerNorm)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
                nn.Hardswish, nn.Softplus, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution and what stands directly behind it.

    `output` is the module whose output is the layer's own: the convolution, or the normalisation behind it.
    `active` is the activation behind that, maybe behind a maximum of pooling first; None where a network has its
    activations elsewhere (as functions, behind a sum). `seen_at` is where gradients are taken: the activation
    where it serves this layer alone, else `output`.
    """

    name: str
    output: nn.Module
    active: nn.Module | None
    seen_at: nn.Module


@dataclass(frozen=True, eq=False)
class _Call:
    """A leaf module at work: what went in, what came out."""

    name: str
    module: nn.Module
    given: Any
    made: Any


def layers_of(classifier: Classifier, images: Images) -> tuple[Layer, ...]:
    """The convolutions that serve once in a pass of `images` (one will do), in the order of that pass."""
    calls = _calls(classifier, images[:1])
    times = [call.module for call in calls]
    return tuple(_layer(call, calls[at + 1:], times) for at, call in enumerate(calls)
                 if isinstance(call.module, _CONVOLUTIONS) and times.count(call.module) == 1)


def layer_named(classifier: Classifier, images: Images, name: str | None = None,
                default: Literal["first", "last"] = "last") -> Layer:
    """The convolution of that name, else the first or the last one.

    Raises:
        InputRefused: the network has no convolution.
        UsageError: it has none of that name.
    """
    found = layers_of(classifier, images)
    if not found:
        raise InputRefused(f"the network '{classifier.name}' has no convolution (that serves once in a pass), and "
                           "attention and features are those of one: explain a convolutional network")
    if name is None:
        return found[0 if default == "first" else -1]
    for layer in found:
        if layer.name == name:
            return layer
    names = [layer.name for layer in found]
    near = difflib.get_close_matches(name, names, 1, 0.5)
    raise UsageError(f"the network '{classifier.name}' has no convolution '{name}': "
                     + (f"did you mean '{near[0]}'? " if near else "") + f"it has {', '.join(names)}")


def values(classifier: Classifier, images: Images, layer: Layer) -> Float[Tensor, "n k *inner"]:
    """What the layer makes of each image: k features on the convolution's own grid, rectified by its activation.

    A maximum of pooling between the two is left out, so that features lie on as fine a grid as they are made on;
    the maximum of rectified values is the rectified maximum, so this is what the next layer picks from.
    """
    held: list[Tensor] = []

    def keep(module: nn.Module, given: Any, made: Tensor) -> None:
        held.append(made.detach().clone())

    with classifier.frozen(), out_of_place(classifier.module), torch.no_grad():
        hook = layer.output.register_forward_hook(keep)
        try:
            classifier.logits(images)
        finally:
            hook.remove()
        return held[-1] if layer.active is None else layer.active(held[-1])


def weighted_last(classifier: Classifier, images: Images) -> nn.Module:
    """The last module of a pass that has weights of its own: the one that makes the logits.

    Raises:
        InputRefused: no module has any.
    """
    weighted = [call.module for call in _calls(classifier, images[:1])
                if any(held.ndim > 1 for held in call.module.parameters(recurse=False))]
    if not weighted:
        raise InputRefused(f"the network '{classifier.name}' has no weights in its modules: nothing can be "
                           "randomised to check its maps")
    return weighted[-1]


@contextmanager
def out_of_place(module: nn.Module) -> Iterator[None]:
    """Activations that overwrite their input do not, within: what came in can be looked at. No value changes.

    A function that overwrites (`relu_`) cannot be reached; what is kept of a layer is copied before it works.
    """
    changed = [part for part in module.modules() if getattr(part, "inplace", False) is True]
    for part in changed:
        part.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in changed:
            part.inplace = True  # type: ignore[assignment]


def _calls(classifier: Classifier, images: Images) -> list[_Call]:
    """Every leaf module in the order in which a pass of the images uses them."""
    found: list[_Call] = []
    hooks = []
    with classifier.frozen(), out_of_place(classifier.module), torch.no_grad():
        for name, part in classifier.module.named_modules():
            if next(part.children(), None) is None:
                hooks.append(part.register_forward_hook(
                    lambda module, given, made, name=name: found.append(
                        _Call(name, module, given[0] if given else None, made))))
        try:
            classifier.logits(images)
        finally:
            for hook in hooks:
                hook.remove()
    return found


def _layer(call: _Call, after: list[_Call], times: list[nn.Module]) -> Layer:
    """The convolution of a call with what follows it step by step: a normalisation, a pooling, an activation."""
    layer = Layer(call.name, call.module, None, call.module)
    made, pooled = call.made, False
    for one in after:
        if one.given is not made:
            break   # something that is no module stands between, such as a sum
        alone = times.count(one.module) == 1
        if isinstance(one.module, _ACTIVATIONS):
            return replace(layer, active=one.module, seen_at=one.module if alone else layer.output)
        if isinstance(one.module, _POOLS):
            pooled = True
        elif isinstance(one.module, _NORMS) and alone and not pooled:
            layer = replace(layer, output=one.module, seen_at=one.module)
        elif not isinstance(one.module, nn.Identity):
            break
        made = one.made
    return layer
