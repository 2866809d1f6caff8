"""The 3D nodule network of paper [B] and its variants of Table 3, at any width and for any box."""

import difflib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch
from torch import Tensor, nn

from steadyread.errors import InputRefused, UsageError

Down = Literal["max", "stride"]
SHORTEST = 4   # an axis with fewer voxels is not halved any more
# [B] section 2.3 and Fig. 1: 64 features in the first convolution, "deeper" inserts 1024 after the last.
_FEATURES = {-1: (64, 128, 256), 0: (64, 128, 256, 512), 1: (64, 128, 256, 512, 1024)}
# The paper's text gives no sizes of the fully connected layers: these are ours (see `nodule_cnn`).
_DENSE = {-1: (256, 128), 0: (512, 256, 128), 1: (1024, 512, 256, 128)}
_PLAIN: Mapping[str, Any] = MappingProxyType(
    {"norm": False, "dropout": 0.0, "depth": 0, "down": "max", "ratings": 0})


class Changes(TypedDict, total=False):
    """What `nodule_cnn` takes besides, and what a variant is made of. See there."""

    norm: bool
    dropout: float
    depth: int
    down: Down
    ratings: int


# [B] Table 3 by name, as arguments of `nodule_cnn`; `width` is relative to the one that is asked for.
VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "original": {},
    "batch_norm": {"norm": True},
    "dropout_0.1": {"dropout": 0.1},
    "dropout_0.2": {"dropout": 0.2},
    "deeper": {"depth": 1},
    "shallower": {"depth": -1},
    "wider": {"width": 2.0},
    "narrower": {"width": 0.5},
    "five_class": {"ratings": 5},
    "strided": {"down": "stride"},   # not in [B]: max-pooling picks maxima, so noise drifts its logits one way
})


class Ratings(nn.Module):
    """A predicted rating r, (n, 1), as the logits -(r - c)^2, (n, count), of the ratings c = 1, 2, ..., count.

    The highest is that of the rating nearest to r: r rounded, and held within 1 to count. Minus the logit of
    the true rating is exactly the squared error of [B]'s regression, a margin between two ratings is linear
    in r, and the log odds of "rated above c" grow with r: by any c, the order of the cases is that of r.
    """

    levels: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.arange(1.0, count + 1), persistent=False)

    def forward(self, rating: Tensor) -> Tensor:
        """Logits (n, count) of ratings (n, 1)."""
        return -(rating - self.levels).square()


class NoduleCnn(nn.Module):
    """Convolutional `features`, then a dense `head`: volumes (n, channels, z, y, x) -> (n, 1) or (n, classes)."""

    def __init__(self, features: nn.Sequential, head: nn.Sequential, channels: int,
                 size: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.channels = channels
        self.size = size

    def forward(self, volumes: Tensor) -> Tensor:
        """The logit (n, 1) of class 1 before the sigmoid, or logits (n, classes), of normalised volumes."""
        if tuple(volumes.shape[1:]) != (self.channels, *self.size):
            raise InputRefused(f"this network was made for {self.channels} channel(s) of {_by(self.size)} voxels "
                               f"(z, y, x); got {volumes.shape[1]} of {_by(volumes.shape[2:])}: take boxes of that "
                               "size, or make the network with this one")
        logits: Tensor = self.head(self.features(volumes))
        return logits


def nodule_cnn(classes: int = 2, channels: int = 1, *, size: int | Sequence[int] = 32, width: float = 1.0,
               variant: str = "original", **changes: Unpack[Changes]) -> NoduleCnn:
    """The network of paper [B] (doi:10.1088/1361-6560/abc812): four 3D convolutions 3x3x3 of 64, 128, 256 and
    512 features with ReLU, downsampling between them, four fully connected layers, the last one logit.

    The sigmoid of [B] is the classifier's (output "logit"). The paper's text does not give the features of
    the second and third convolution, the kind of downsampling or the sizes of the fully connected layers.
    Ours: features double, three times a 2x2x2 maximum, and dense layers of 512, 256 and 128, so that what
    "deeper" inserts (1024 features, a dense layer of 1024) continues both rows.

    Args:
        classes: 2 for one logit (n, 1); more for one logit a class, (n, classes).
        channels: of the volumes.
        size: voxels of the box (z, y, x), or one side of a cube ([B]: 32).
        width: scales the features of every convolution and dense layer: 0.25 gives 16, 32, 64 and 128.
        variant: a name of `VARIANTS`, whose arguments are taken where `changes` do not state their own;
            the width of `wider` and `narrower` multiplies `width`.
        changes:
            norm: batch normalisation after each convolution and each fully connected layer but the last.
            dropout: share dropped after the ReLU of each of them (0 for none).
            depth: 1 for one more convolution of 1024 3x3x3 and one more fully connected layer of 1024
                between the last convolution and the first fully connected layer; -1 for neither that
                last convolution nor that first layer; 0 for [B]'s.
            down: `max`, or `stride`: no pooling, the convolution before it takes steps of two
                (arXiv:1412.6806).
            ratings: above 0, the regression of a rating from 1 to this many instead of classes
                (see `Ratings`; output "logits").

    An axis is halved (rounded up, so that no slice is lost) only while it has at least 4 voxels, so any box
    works: 5x24x24 ends as 3x3x3 and 32x32x32 as 4x4x4.

    Raises:
        UsageError: no such variant or argument, or one out of its range.
    """
    own = _told(variant, changes)
    width *= own.pop("width", 1.0)
    sides = (size,) * 3 if isinstance(size, int) else tuple(int(side) for side in size)
    _refuse_bad_arguments(classes, channels, sides, width, own)
    depth, ratings = own["depth"], own["ratings"]
    features, left = _convolutions(channels, sides, [_scaled(count, width) for count in _FEATURES[depth]], own)
    made = _scaled(_FEATURES[depth][-1], width) * math.prod(left)
    dense: list[nn.Module] = [nn.Flatten()]
    for count in _DENSE[depth]:
        wanted = _scaled(count, width)
        dense += [nn.Linear(made, wanted), *_after(nn.BatchNorm1d(wanted), own)]
        made = wanted
    last = nn.Linear(made, 1 if ratings or classes == 2 else classes)
    dense.append(last)
    module = NoduleCnn(nn.Sequential(*features), nn.Sequential(*dense), channels, _three(sides))
    module.apply(_start)
    if ratings:
        nn.init.constant_(last.bias, (ratings + 1) / 2)   # the middle of the scale
        module.head.append(Ratings(ratings))
    return module


def _convolutions(channels: int, sides: Sequence[int], features: Sequence[int], own: Mapping[str, Any]
                  ) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The layers up to the last convolution's, and the voxels that are left along each axis."""
    layers: list[nn.Module] = []
    left, made = tuple(sides), channels
    for place, wanted in enumerate(features):
        steps = [2 if place < len(features) - 1 and side >= SHORTEST else 1 for side in left]
        strided = own["down"] == "stride"
        # the maximum before the ReLU: the same values and gradients in an eighth less time (measured)
        pool = [nn.MaxPool3d(_three(steps), ceil_mode=True)] if max(steps) > 1 and not strided else []
        layers += [nn.Conv3d(made, wanted, 3, stride=_three(steps) if strided else 1, padding=1),
                   *_after(nn.BatchNorm3d(wanted), own, pool)]
        left = tuple(math.ceil(side / step) for side, step in zip(left, steps, strict=True))
        made = wanted
    return layers, left


def _after(norm: nn.Module, own: Mapping[str, Any], pool: Sequence[nn.Module] = ()) -> list[nn.Module]:
    """What follows a convolution or a dense layer."""
    return [*([norm] if own["norm"] else []), *pool, nn.ReLU(inplace=True),
            *([nn.Dropout(own["dropout"])] if own["dropout"] else [])]


def _start(layer: nn.Module) -> None:
    """Weights from He et al., arXiv:1502.01852, which keep the variance through many ReLUs; biases 0."""
    if isinstance(layer, nn.Conv3d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _told(variant: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments besides the fixed ones: the default, the variant's, the caller's own."""
    for name, known, what in ((variant, VARIANTS, "variant"), *((name, _PLAIN, "argument") for name in changes)):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(f"nodule_cnn has no {what} '{name}': "
                             + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"))
    return {**_PLAIN, **VARIANTS[variant], **changes}


def _refuse_bad_arguments(classes: int, channels: int, sides: Sequence[int], width: float,
                          own: Mapping[str, Any]) -> None:
    wrong = {
        f"classes must be at least 2; got {classes}": classes < 2,
        f"channels must be at least 1; got {channels}": channels < 1,
        f"size must be one side or (z, y, x) in voxels; got {_by(sides)}": len(sides) != 3 or min(sides) < 1,
        f"width must lie above 0 and up to 4; got {width:g}": not 0 < width <= 4,
        f"dropout must be at least 0 and below 1; got {own['dropout']}": not 0 <= own["dropout"] < 1,
        f"depth must be -1, 0 or 1; got {own['depth']}": own["depth"] not in _FEATURES,
        f"down must be one of {', '.join(get_args(Down))}; got '{own['down']}'": own["down"] not in get_args(Down),
        f"ratings must be 0 or at least 3; got {own['ratings']}": own["ratings"] != 0 and own["ratings"] < 3,
    }
    for told, applies in wrong.items():
        if applies:
            raise UsageError(told)


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    return values[0], values[1], values[2]


def _scaled(features: int, width: float) -> int:
    return max(1, math.floor(features * width + 0.5))


def _by(size: Sequence[int]) -> str:
    return "x".join(str(side) for side in size)
