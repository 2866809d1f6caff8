"""The slope of a margin at an image, at any scale of the logits, and the other classes that it puts nearest."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from steadyread.classifier import Classifier
from steadyread.threats.linf import an_image
from steadyread.types import Batch, Flags, Images, Labels, Values

ROUNDS = (9, 30, 60)   # so many of the other classes, by clean logit, are looked at one round after another
_STEEPER = 16.0        # by no more than this is a class steeper, that was not looked at, than the steepest that was
_CORNERS = 4           # Newton's steps to the boundary inside the bounds; each passes a pixel that is at its bound


@dataclass(frozen=True, eq=False)
class Slope:
    """A margin's gradient over the pixels, taken apart: logits times 1e20 have one whose Euclidean norm overflows.

    The gradient is `peak` (n,) times `direction`, whose largest entry is 1 (0 where the gradient is 0 in every
    pixel); `length` is the direction's L1 norm. `broken` says where pixels were not finite; these count as 0.
    """

    direction: Images
    peak: Values
    length: Values
    broken: Flags

    @classmethod
    def of(cls, gradient: Images) -> "Slope":
        """Of a gradient as autograd gives it."""
        peak = gradient.flatten(1).abs().amax(1)   # not finite where any pixel is not
        broken = ~torch.isfinite(peak)
        if bool(broken.any()):
            gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
            peak = gradient.flatten(1).abs().amax(1)
        direction = gradient / an_image(torch.where(peak > 0, peak, 1.0), gradient)
        return cls(direction, peak, direction.flatten(1).abs().sum(1), broken)

    def pick(self, places: Tensor) -> "Slope":
        """Those at the indices `places`."""
        return Slope(self.direction[places], self.peak[places], self.length[places], self.broken[places])

    def reach(self, margin: Values) -> Values:
        """The change of every pixel that takes off a margin of at least 0 on a straight line: margin / L1 norm of
        the gradient (DeepFool, arXiv:1511.04599). Infinite where the gradient is 0 and the margin is not."""
        return torch.where(margin > 0, margin / self.peak / self.length, torch.zeros_like(margin))

    def reach_inside(self, margin: Values, batch: Batch) -> Values:
        """`reach` where no pixel may leave the bounds: the least size at which sum |g_i| min(size, room_i) is the
        margin. Concave in the size, so that Newton's steps come from below; they end there unless pixels reach
        their bounds at many different sizes."""
        room = torch.where(self.direction > 0, batch.images - batch.bounds.low, batch.bounds.high - batch.images)
        room, weight = room.flatten(1), self.direction.flatten(1).abs()
        size, due = self.reach(margin), margin / self.peak
        for _ in range(_CORNERS):
            taken = (weight * torch.minimum(room, size[:, None])).sum(1)
            left = (weight * (room > size[:, None])).sum(1)
            size = torch.where(due > taken, size + (due - taken) / left, size)
        return size


class Nearest:
    """For each image the other classes to be tried: those of the highest logits, and among them, in place of the
    last if need be, the one that lies nearest on a straight line, inside the bounds.

    On a linear classifier that one is the class of the smallest flip (FAB, arXiv:1907.02044, chooses its classes
    so). On curved ones the highest logits are the better guess.
    """

    def __init__(self, highest: Labels, gap: Float[Tensor, "n others"], batch: Batch) -> None:
        images, n = batch.images, len(batch)
        self.highest, self.gap, self.range = highest, gap, batch.bounds.range
        self.slopes: list[Slope] = []
        self.classes = highest[:, 0].clone()
        self.size = torch.full((n,), torch.inf, device=images.device)
        self.direction = torch.zeros_like(images)
        self.peak, self.length, self.steepest = (torch.zeros_like(self.size) for _ in range(3))

    def take(self, places: Tensor, classes: Labels, slope: Slope, size: Values) -> None:
        """Takes in one class of each of the images `places`, by falling logit, the slope of the margin to it, and
        the size at which it lies on a straight line."""
        if len(self.slopes) < self.highest.shape[1]:
            self.slopes.append(slope)   # the first come for all images
        self.steepest[places] = torch.maximum(self.steepest[places], slope.peak * slope.length)
        nearer = size < self.size[places]
        rows = places[nearer]
        self.classes[rows], self.size[rows] = classes[nearer], size[nearer]
        self.direction[rows] = slope.direction[nearer]
        self.peak[rows], self.length[rows] = slope.peak[nearer], slope.length[nearer]

    def open(self, gap: Values) -> Flags:
        """Which images have a nearer class perhaps among those whose margins are `gap` or more, (n,): not where
        that would have to be many times steeper than the steepest of those seen."""
        closed = (gap >= _STEEPER * self.steepest * self.size) | torch.isinf(gap)
        return ~closed

    @property
    def lone(self) -> Flags:
        """Which images have one other class alone, the rest being masked: as if there were two classes."""
        if self.gap.shape[1] == 1:
            return torch.ones_like(self.size, dtype=torch.bool)
        return self._masked(self.gap[:, 1])

    def _masked(self, gap: Values) -> Flags:
        """Where a margin of `gap` is out of reach: many times what the steepest slope makes of the whole range."""
        return torch.isinf(gap) | ((gap >= _STEEPER * self.steepest * self.range) & (self.steepest > 0))

    def targets(self) -> Iterator[tuple[Labels, Slope, Flags]]:
        """The classes, one of each image after the other, the slopes towards them, and which are not masked."""
        *first, last = zip(self.highest.T, self.slopes, self.gap.T, strict=False)
        for classes, slope, gap in first:
            yield classes, slope, ~self._masked(gap)
        classes, slope, gap = last
        other = (self.highest != self.classes[:, None]).all(1) & torch.isfinite(self.size)
        pixels = an_image(other, self.direction)
        direction = torch.where(pixels, self.direction, slope.direction)
        peak, length = torch.where(other, self.peak, slope.peak), torch.where(other, self.length, slope.length)
        yield (torch.where(other, self.classes, classes), Slope(direction, peak, length, slope.broken),
               other | ~self._masked(gap))


def gaps(logits: Float[Tensor, "n k"], reference: Labels, most: int) -> tuple[Labels, Values]:
    """The `most` other classes of the highest logits, (n, most), and what the reference's logit is above theirs."""
    others = logits.scatter(1, reference[:, None], -torch.inf)
    highest = others.topk(min(most, logits.shape[1] - 1), 1)
    return highest.indices, logits.gather(1, reference[:, None]) - highest.values


def clean_margins(classifier: Classifier, batch: Batch, reference: Labels) -> tuple[Values, Images]:
    """The clean margins and their gradient; 0 where none reaches the images."""
    with torch.enable_grad():
        images = batch.images.detach().requires_grad_(True)
        margin = classifier.margins(images, reference)
        gradient = classifier.gradient(margin.sum(), images) if margin.requires_grad else torch.zeros_like(images)
    return margin.detach(), gradient
