"""Networks of torchvision by their names, `torchvision:resnet18` with weights of its own. Nothing is fetched."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.factories import library_network
from steadyread.models.format import FORMATS, Facts, Format, trained_on

_INTERPOLATIONS = {"bicubic": "cubic", "bilinear": "linear", "nearest": "nearest"}


def _facts(name: str) -> Facts:
    """What the transforms of torchvision's own weights do to images.

    Raises:
        InputRefused: torchvision does not know the network, or is not installed.
    """
    models = _models()
    try:
        steps = models.get_model_weights(name).DEFAULT.transforms()
        (size,), (resized,) = steps.crop_size, steps.resize_size
        prepared = {"size": [size, size], "fit": "cut", "central": min(1.0, size / resized),
                    "interpolation": _INTERPOLATIONS.get(steps.interpolation.value, "linear")}
        mean, deviation = list(steps.mean), list(steps.std)
    except Exception as problem:
        near = ", ".join(models.list_models(include=f"*{name[:6]}*")[:3])
        raise InputRefused(f"torchvision knows no classifier '{name[:80]}'" + (f"; it has {near}" if near else "")
                           ) from problem
    notes = ("its scale and size are those that torchvision's own weights of it were trained with",)
    return trained_on(mean, deviation, prepared, Facts(channels=3, size=(size, size), notes=notes))


def _load(name: object) -> nn.Module:
    raise InputRefused(f"torchvision:{name} has no weights of its own: give --weights FILE")


def _factory(name: str) -> Callable[..., nn.Module]:
    return partial(library_network, partial(_models().get_model, name), ("weights", "weights_backbone"))


def _models() -> Any:
    return library("torchvision.models", "timm", "Networks of torchvision's are made by")


FORMATS.add(Format("torchvision", "a network of torchvision's by its name (torchvision:resnet18)", lambda _: False,
                   _facts, _load, extra="timm", order=23, factory=_factory))
