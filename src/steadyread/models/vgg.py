"""VGG16 with the dense head of paper [A], at any width and for small images too."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from steadyread.errors import InputRefused, UsageError

# Simonyan and Zisserman, arXiv:1409.1556, configuration D: features and convolutions of each stage.
FEATURES = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
MOST_CONVOLUTIONS = 64   # of a stage


class Vgg(nn.Module):
    """Convolutional `features`, then a dense `head`: images (n, channels, height, width) -> logits (n, classes).

    `features` is numbered as torchvision's `vgg16` (`vgg16_bn` with `norm`), so ImageNet weights of the
    full width fit it by name (see `steadyread.models.pretrained`).
    """

    def __init__(self, features: nn.Sequential, head: nn.Sequential, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.channels = channels
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of normalised images (n, channels, *size), or of grey ones (n, 1, *size).

        A grey image is repeated here to as many channels as the network has: it keeps one channel where
        it is attacked, since attacked as three, sizes would change up to threefold.
        """
        if tuple(images.shape[2:]) != self.size:
            raise InputRefused(f"this network was made for images of {_by(self.size)} pixels; got "
                               f"{_by(images.shape[2:])}: crop or resize them, or make the network with that size")
        if images.shape[1] not in (1, self.channels):
            raise InputRefused(f"this network was made for {self.channels} channel(s); the images have "
                               f"{images.shape[1]}")
        logits: Tensor = self.head(self.features(images.expand(-1, self.channels, -1, -1)))
        return logits


def vgg16(classes: int = 2, channels: int = 1, *, size: int | Sequence[int] = 116, width: float = 1.0,
          dropout: float = 0.5, norm: bool = False, convolutions: Sequence[int] = CONVOLUTIONS) -> Vgg:
    """VGG16 as paper [A] (doi:10.1200/CCI.21.00170): 13 convolutions 3x3 with ReLU in five stages that end
    in a 2x2 maximum, flattened, dense 4096, dense 1024, and one logit a class.

    Args:
        classes: how many logits come out (at least 2).
        channels: of the first convolution. Grey images are repeated to this many, so 3 (as ImageNet
            weights need, and [A] has) takes grey and colour.
        size: height and width of the images in pixels (116 in [A] for lung and mammography).
        width: scales the features of every stage *and* the two dense layers: 0.25 gives 16 to 128
            features and dense layers of 1024 and 256.
        dropout: share dropped before each of the two dense layers ([A]: 0.5).
        norm: batch normalisation after every convolution. Not in [A].
        convolutions: of each of the five stages; (1, 1, 1, 1, 1) for a shallow one.

    Deviation from [A] for small images: a stage ends in a maximum only where both axes still have two
    pixels, so 28x28 has four of them. [A]'s max-norm of the dense weights is kept by the training
    (see `steadyread.training.fit`).

    Raises:
        UsageError: an argument out of its range.
    """
    sides = (size, size) if isinstance(size, int) else tuple(int(side) for side in size)
    _refuse_bad_arguments(classes, channels, sides, width, convolutions)
    layers: list[nn.Module] = []
    left, made = (sides[0], sides[1]), channels
    for features, count in zip(FEATURES, convolutions, strict=True):
        wanted = _scaled(features, width)
        for _ in range(count):
            layers += [nn.Conv2d(made, wanted, 3, padding=1), *([nn.BatchNorm2d(wanted)] if norm else []),
                       nn.ReLU(inplace=True)]
            made = wanted
        pooled = min(left) > 1
        layers.append(nn.MaxPool2d(2) if pooled else nn.Identity())
        left = (left[0] // 2, left[1] // 2) if pooled else left
    first, second = _scaled(4096, width), _scaled(1024, width)
    head = nn.Sequential(
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(made * left[0] * left[1], first), nn.ReLU(inplace=True),
        nn.Dropout(dropout), nn.Linear(first, second), nn.ReLU(inplace=True), nn.Linear(second, classes))
    module = Vgg(nn.Sequential(*layers), head, channels, (sides[0], sides[1]))
    module.apply(_start)
    return module


def narrow_vgg(classes: int = 2, channels: int = 1, *, size: int | Sequence[int] = 64) -> Vgg:
    """A VGG for a laptop: 16 to 128 features, one normalised convolution a stage, the head of `vgg16` at a quarter.

    Deviates from [A] in depth (five convolutions for thirteen) and by batch normalisation: from scratch, on
    822 lung patches of 64x64 and in the same time, it reads better than thirteen plain ones (measured).
    """
    return vgg16(classes, channels, size=size, width=0.25, norm=True, convolutions=(1, 1, 1, 1, 1))


def _start(layer: nn.Module) -> None:
    """Weights from He et al., arXiv:1502.01852, which keep the variance through many ReLUs; biases 0."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _scaled(features: int, width: float) -> int:
    return max(1, math.floor(features * width + 0.5))


def _by(size: Sequence[int]) -> str:
    return "x".join(str(side) for side in size)


def _refuse_bad_arguments(classes: int, channels: int, sides: Sequence[int], width: float,
                          convolutions: Sequence[int]) -> None:
    if classes < 2:
        raise UsageError(f"classes must be at least 2; got {classes}")
    if channels < 1:
        raise UsageError(f"channels must be at least 1; got {channels}")
    if len(sides) != 2 or min(sides) < 1:
        raise UsageError(f"size must be one side or (height, width) in pixels; got {_by(sides)}")
    if not 0 < width <= 4:
        raise UsageError(f"width must lie above 0 and up to 4; got {width:g}")
    if len(convolutions) != len(FEATURES) or min(convolutions) < 1 or max(convolutions) > MOST_CONVOLUTIONS:
        raise UsageError(f"convolutions must be five numbers from 1 to {MOST_CONVOLUTIONS}; got "
                         f"{str(tuple(convolutions))[:80]}")
