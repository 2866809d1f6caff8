"""Small networks and images for which it is known exactly which reads can be flipped.

Every network is affine in its input, whatever its layers, so the least margin within a box is a sum over pixels.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from steadyread.classifier import Output

HU = (-1000.0, 400.0)
UNIT = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Situation:
    """What is attacked, and what an attack must find: `truth` says which reads can be flipped within epsilon.

    `attacks` is tried in order, and the first that a library offers is the one it is judged by. `watched` are the
    things about the network that an attack must leave as they are: statistics, mode, gradients. `judged` says how
    the answer is looked at.
    """

    name: str
    network: nn.Module
    images: Tensor
    labels: Tensor
    epsilon: float
    truth: Tensor
    output: Output = "logits"
    bounds: tuple[float, float] = UNIT
    attacks: tuple[str, ...] = ("pgd", "apgd")
    steps: int = 20
    watched: tuple[str, ...] = ()
    judged: str = "flips"


class OneLogit(nn.Module):
    """A linear network with one logit, of shape (n, 1) or (n,)."""

    def __init__(self, pixels: int, flat: bool) -> None:
        super().__init__()
        self.linear, self.flat = nn.Linear(pixels, 1), flat

    def forward(self, images: Tensor) -> Tensor:
        """Above 0 for class 1."""
        found: Tensor = self.linear(images.flatten(1))
        return found[:, 0] if self.flat else found


class Windowed(nn.Module):
    """A network that takes HU and brings them to 0 to 1 itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Of images in HU."""
        found: Tensor = self.network((images - HU[0]) / (HU[1] - HU[0]))
        return found


class Scaled(nn.Module):
    """A network whose logits are so far apart that the softmax is 0 and 1 in float32."""

    def __init__(self, network: nn.Module, by: float) -> None:
        super().__init__()
        self.network, self.by = network, by

    def forward(self, images: Tensor) -> Tensor:
        """The logits, scaled."""
        found: Tensor = self.network(images)
        return self.by * found


def situations(images: int) -> list[Situation]:
    """All of them, the same each time."""
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    flat, deep = (images, 1, 12, 12), (images, 1, 6, 6, 6)
    plain = made("", _linear(144, 2), flat)
    found = [
        made("one logit, shape (n, 1)", OneLogit(144, flat=False), flat, output="logit"),
        made("one logit, shape (n,)", OneLogit(144, flat=True), flat, output="logit"),
        made("three classes, PGD", _linear(144, 3), flat, attacks=("pgd, margin", "pgd", "apgd")),
        made("three classes, AutoAttack", _linear(144, 3), flat, attacks=("suite",)),
        made("3D images, PGD", _convolved(nn.Conv3d(1, 2, 3, padding=1), 432), deep),
        made("3D images, APGD", _convolved(nn.Conv3d(1, 2, 3, padding=1), 432), deep, attacks=("apgd",), steps=30),
        made("images in HU (-1000 to 400)", Windowed(_linear(144, 2)), flat, bounds=HU),
        made("logits hundreds apart (softmax of 0 and 1)", Scaled(_linear(144, 2), 10_000.0), flat,
             attacks=("pgd, margin", "pgd", "apgd")),
        in_training(made("BatchNorm, left in training mode", _normed(flat), flat)),
        replace(plain, name="no gradients left in the parameters", watched=("gradients",)),
        with_nan(replace(plain, name="one image of NaN in the batch")),
        replace(plain, name="an image alone as in the batch", judged="alone", steps=3),
    ]
    torch.random.set_rng_state(generator)
    return found


def _linear(pixels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))


def _convolved(convolution: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(convolution, nn.Flatten(), nn.Linear(features, 2))


def _normed(shape: tuple[int, ...]) -> nn.Module:
    network = nn.Sequential(OrderedDict(convolution=nn.Conv2d(1, 4, 3, padding=1), norm=nn.BatchNorm2d(4),
                                        flat=nn.Flatten(), linear=nn.Linear(4 * shape[2] * shape[3], 2)))
    network.train()
    for _ in range(20):   # statistics of images that are darker than those attacked, as another scanner's may be
        network(0.7 * torch.rand(shape))
    return network


def made(name: str, network: nn.Module, shape: tuple[int, ...], **more: object) -> Situation:
    """Random images with the network's own reads, and the epsilon that best parts what flips from what does not."""
    bounds = more.get("bounds", UNIT)
    assert isinstance(bounds, tuple)
    low, high = bounds
    network.eval()
    images = low + (high - low) * torch.rand(shape)
    with torch.no_grad():
        labels = columns(network(images)).argmax(1)
    sizes = (high - low) * torch.logspace(-4, -0.3, 200, dtype=torch.float64)
    known = affine(network, images)
    least = torch.stack([least_margin(known, images, labels, float(size), (low, high)) for size in sizes])
    share = (least < 0).double().mean(1)
    clear = least.abs().amin(1) / least.abs().mean(1)   # no read hangs by float32's rounding
    best = torch.where((share >= 0.3) & (share <= 0.6), clear, -1.0).argmax()
    return Situation(name, network, images, labels, float(sizes[best]), least[best] < 0, **more)  # type: ignore[arg-type]


def columns(logits: Tensor) -> Tensor:
    """One logit as two, (0, logit); others as they are."""
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits
    one = logits.reshape(-1)
    return torch.stack([torch.zeros_like(one), one], 1)


def least_margin(known: tuple[Tensor, Tensor], images: Tensor, labels: Tensor, epsilon: float,
                 bounds: tuple[float, float] = UNIT) -> Tensor:
    """The lowest margin of each image within epsilon and the bounds, exactly: below 0 a flip exists, (n,).

    `known` is what `affine` says of the network and the images.
    """
    weights, clean = known
    pixels = images.double().flatten(1)
    down = (pixels - bounds[0]).clamp(max=epsilon)
    up = (bounds[1] - pixels).clamp(max=epsilon)
    everyone = torch.arange(len(images))
    least = torch.full((len(images),), torch.inf, dtype=torch.float64)
    for other in range(clean.shape[1]):
        apart = weights[labels] - weights[other]
        margin = clean[everyone, labels] - clean[:, other] - (apart.clamp(min=0) * down).sum(1)
        margin = margin - ((-apart).clamp(min=0) * up).sum(1)
        least = torch.where(labels == other, least, torch.minimum(least, margin))
    return least


def affine(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The network's weights (classes, pixels) and its logits of the images (n, classes), in double precision."""
    one = images[:1].double()
    held = {name: value.double() if value.is_floating_point() else value
            for name, value in network.state_dict().items()}

    def logits(some: Tensor) -> Tensor:
        return columns(torch.func.functional_call(network, held, (some,)))

    weights: Tensor = torch.autograd.functional.jacobian(logits, one)[0]  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return weights.flatten(1), logits(images.double())


def in_training(situation: Situation) -> Situation:
    """The same with the network left in training mode; the answer asked for is that of evaluation mode."""
    situation.network.train()
    return replace(situation, watched=("statistics", "mode"))


def with_nan(situation: Situation) -> Situation:
    """The same with one pixel of the first image not a number: it is to be told, and no other image to be lost."""
    images = situation.images.clone()
    images[0, 0, 0, 0] = torch.nan
    return replace(situation, images=images, judged="nan")
