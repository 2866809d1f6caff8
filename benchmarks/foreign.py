"""Networks of kinds that steadyread ships none of, small, with an image's channels and classes as arguments."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Residual(nn.Module):
    """Two convolutions with batch norm and a way round them (arXiv:1512.03385)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.round = nn.Conv2d(before, after, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Of maps (n, before, h, w)."""
        found = functional.relu(self.norms[0](self.first(maps)))
        return functional.relu(self.norms[1](self.second(found)) + self.round(maps))


def residual(classes: int, channels: int, width: int = 16) -> nn.Module:
    """Residual with batch norm: three blocks, each of half the side of the one before."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        _Residual(width, width, 1), _Residual(width, 2 * width, 2), _Residual(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


class _Squeezed(nn.Module):
    """A depthwise convolution with SiLU whose channels are weighed by what they hold on average (arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 4, 1), nn.SiLU(),
                                   nn.Conv2d(width // 4, width, 1), nn.Sigmoid())
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Of maps (n, width, h, w)."""
        found = functional.silu(self.norm(self.depth(maps)))
        mixed: Tensor = self.mix(found * self.weigh(found))
        return maps + mixed


def squeezed(classes: int, channels: int, width: int = 32) -> nn.Module:
    """SiLU with squeeze and excitation, as EfficientNet has them (arXiv:1905.11946)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1), nn.SiLU(), _Squeezed(width),
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.SiLU(), _Squeezed(2 * width),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))


class _Transformer(nn.Module):
    """Patches of the image as tokens through two layers of attention with GELU (arXiv:2010.11929)."""

    def __init__(self, classes: int, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.cut = nn.Conv2d(channels, width, patch, patch)
        self.place = nn.Parameter(torch.zeros(1, 1024, width))
        nn.init.trunc_normal_(self.place, std=0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Of images (n, channels, h, w), at most 1,024 patches of them."""
        tokens = self.cut(images).flatten(2).transpose(1, 2)
        tokens = tokens + self.place[:, :tokens.shape[1]]
        for layer in self.layers:
            tokens = layer(tokens)
        found: Tensor = self.head(self.norm(tokens.mean(1)))
        return found


def transformer(classes: int, channels: int, patch: int = 8, width: int = 64) -> nn.Module:
    """A ViT: no convolution but the one that cuts the patches."""
    return _Transformer(classes, channels, patch, width)


def pooled(classes: int, channels: int, width: int = 12) -> nn.Module:
    """Max-pooling with batch norm, two convolutions a stage: of the kinds here the hardest to search."""
    layers: list[nn.Module] = []
    for before, after in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
        for first in (before, after):
            layers += [nn.Conv2d(first, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


FOREIGN = {"residual with batch norm": residual, "SiLU with squeeze and excitation": squeezed, "ViT": transformer,
           "max-pooling with batch norm": pooled}
