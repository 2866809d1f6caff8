"""The Square attack: random search with windows of +-epsilon, without a gradient, in any number of dimensions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from steadyread.attacks.recipe import in_chunks
from steadyread.attacks.search import Attacked, Found
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats import Linf
from steadyread.threats.linf import an_image
from steadyread.types import Batch, Labels, Values, stream

# the share of an image that a window covers, by the share of the queries spent (the source's schedule)
_SHRINKING = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Square:
    """Square (doi:10.48550/arXiv.1912.00049) in L-infinity, epsilon in native units, on 1D to 3D images.

    A second opinion that no vanishing gradient can fool. Deviations from the source: a window is a cube of the
    image's own dimension; all random numbers of an image are drawn before the loop, from its own stream; and
    the margin is what falls (the source's loss for untargeted attacks).
    """

    epsilon: float
    queries: int = 200
    first_share: float = 0.8
    name: str = "square"

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise UsageError(f"queries must be at least 1; got {self.queries}")

    @property
    def threat(self) -> Linf:
        """What may be done."""
        return Linf(self.epsilon)

    @property
    def size(self) -> float:
        """Epsilon, as it stands in the records."""
        return self.epsilon

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> Attacked:
        """Up to `queries` forward passes per image; flipped images leave."""
        def searched(part: Batch, lost: Labels) -> Attacked:
            size = torch.full((len(part),), self.epsilon, device=part.images.device)
            return squares(classifier, part, lost, size, Tries(self.queries, self.first_share, seed))

        return Attacked(**in_chunks(searched, batch, reference))


@dataclass(frozen=True)
class Tries:
    """How many windows are tried, the first window's share of an image, and the seed of their random streams.

    With `level` a window stays too that leaves the margin as it is: where a network returns its decision alone, or
    rounds, it would try one window after the other on the first change and never two together. What flips has a
    margin below `surely`.
    """

    queries: int
    first_share: float = 0.8
    seed: int = 0
    level: bool = False
    surely: Values | float = 0.0


def squares(classifier: Classifier, batch: Batch, reference: Labels, size: Values, tries: Tries) -> Attacked:
    """The Square attack on images that go through the network together, each at its own `size` (n,)."""
    found = Found(batch, reference)
    threat = Linf(0.0)   # sizes go by image
    numbers = _numbers(batch, tries.queries, tries.seed)
    with classifier.frozen(), torch.no_grad():
        logits = classifier.logits(batch.images)
        surely = torch.zeros_like(size) + tries.surely
        found.see(found.everyone, batch.images, logits, margin_of(logits, reference) - surely)
        delta = threat.project(batch, _stripes(batch, tries.seed) * an_image(size, batch.images), size)
        lowest = torch.full_like(size, torch.inf)  # of delta, not of the clean image
        for query in range(tries.queries):
            active = (~found.flipped).nonzero()[:, 0]
            if not len(active):
                break
            part = batch.pick(active)
            share = tries.first_share / 2 ** sum(query / tries.queries > limit for limit in _SHRINKING)
            tried = delta[active] if query == 0 else _moved(part, delta[active], numbers[active, query],
                                                            size[active], share)
            images = threat.render(part, tried)
            logits = classifier.logits(images)
            margin = margin_of(logits, reference[active]) - surely[active]
            found.see(active, images, logits, margin)
            better = margin <= lowest[active] if tries.level else margin < lowest[active]
            lowest[active[better]] = margin[better]
            delta[active[better]] = tried[better]
    found.margin += surely
    found.trials += 1
    found.flips += found.flipped
    return found.attacked()


def _moved(part: Batch, delta: Tensor, numbers: Tensor, size: Values, share: float) -> Tensor:
    """One window of each image, `share` of it, set to +-size, a sign a channel."""
    channels, space = delta.shape[1], delta.shape[2:]
    inside = torch.ones_like(delta[:, :1], dtype=torch.bool)
    for axis, length in enumerate(space):
        side = max(1, round(length * share ** (1 / len(space))))
        first = (numbers[:, axis] * (length - side + 1)).floor()
        at = torch.arange(length, device=delta.device)
        here = (at >= first[:, None]) & (at < first[:, None] + side)
        inside = inside & here.reshape(len(delta), 1, *(length if i == axis else 1 for i in range(len(space))))
    signs = torch.where(numbers[:, len(space):len(space) + channels] < 0.5, -1.0, 1.0)
    window = signs.reshape(*signs.shape, *[1] * len(space)) * an_image(size, delta)
    return Linf(0.0).project(part, torch.where(inside, window, delta), size)


def _numbers(batch: Batch, queries: int, seed: int) -> Tensor:
    """What each query needs, (n, queries, axes + channels): the window's corner and a sign a channel."""
    width = batch.images.ndim - 2 + batch.images.shape[1]
    drawn = [torch.rand(queries, width, generator=stream(seed, key)) for key in batch.keys]
    return torch.stack(drawn).to(batch.images.device)


def _stripes(batch: Batch, seed: int) -> Tensor:
    """The start: +-1 in stripes that run along every axis but the last, a sign a channel and column."""
    n, channels, *space = batch.images.shape
    drawn = [torch.rand(channels, space[-1], generator=stream(seed, key, draw=1)) for key in batch.keys]
    signs = torch.where(torch.stack(drawn) < 0.5, -1.0, 1.0).to(batch.images.device)
    return signs.reshape(n, channels, *[1] * (len(space) - 1), space[-1]).expand_as(batch.images).clone()
