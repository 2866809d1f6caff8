"""The smallest change found that flips each image: a minimum-norm search with a radius of its own per image.

The idea of a radius that shrinks after a flip and grows after a failure is FMN's (arXiv:2102.12827). Here the
step is a sign step in proportion to the image's own radius, so that it does not depend on the image's size; between
two classes the radius grows slowly until the first flip, so that the change is good for its size before it becomes
larger; then it shrinks by what the margin says was overshot; gradients are averaged over steps; several near
classes are tried first where there are more than two; and the found change is polished by forward passes alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, pi

import torch
from torch import Tensor

from steadyread.attacks.recipes import checked_reference, in_chunks
from steadyread.attacks.search import Search, climb
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats.linf import Linf, an_image
from steadyread.types import Batch, Flags, Images, Labels, Logits, Values


@dataclass(frozen=True)
class Effort:
    """How hard the smallest flip is searched, in gradient steps.

    Two classes: `steps` of them. More classes: `explore` against each of the `targets` nearest other classes,
    then `refine` against whichever class is nearest, from the best flip found. Last, `polish` forward passes.
    The defaults cost 44 forward and 35 backward passes an image for two classes, 110 and 100 for more.
    `THOROUGH` costs about four times that and is the one to quote when a single net is judged.
    """

    steps: int = 35
    targets: int = 3
    explore: int = 17
    refine: int = 49
    polish: int = 8


THOROUGH = Effort(steps=150, explore=40, refine=250, polish=12)
_RADIUS_RATE = (0.05, 0.001)   # how fast a radius grows or shrinks, from the first step to the last
_STEP = (0.85, 0.01)           # a step's length as a share of the radius
_MOMENTUM = 0.5                # of the gradients' directions: damps the zigzag at the kinks of a max-pooled net
_FIRST = 0.6                   # a patient walk's first radius, as a share of where the gradient puts the boundary
_PACE = 1.75                   # by this over its steps a patient walk's radius grows at least, a step, until a flip
_ROUNDING = 2.0**-20           # of the largest clean logit, by which a flip is one: read again in another batch or
                               # memory layout it shall flip still
_CUT = 0.95                    # a polish looks for flips between this share of the found size and all of it


@dataclass(frozen=True, eq=False)
class SmallestFlip:
    """One value an image: `size` is the largest absolute change of the returned image, in native units;
    0 where the image is flipped to begin with, inf (and the clean image) where no flip was found."""

    size: Values
    images: Images
    forwards: Labels
    backwards: Labels
    margin: Values = field(repr=False)
    logits: Logits = field(repr=False)

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records."""
        return {"found_size": self.size, "flips": torch.isfinite(self.size).long(),
                "trials": torch.ones_like(self.forwards), "logits": self.logits, "margin": self.margin,
                "forwards": self.forwards, "backwards": self.backwards}


def smallest_flip(classifier: Classifier, images: Images | Batch, reference: Labels, seed: int = 0, *,
                  largest: float | None = None, keys: tuple[str, ...] | None = None,
                  effort: Effort = Effort()) -> SmallestFlip:
    """The smallest L-infinity change found that flips each image, an upper bound of the true one.

    Args:
        images: (n, c, *space) in native units, finite and inside the classifier's bounds.
        reference: (n,) the class that each image must lose: its label or its prediction.
        largest: the size up to which is searched, native units; the whole range where None.
        seed: for the random starts of images that resist the first search.

    On a linear classifier with the bounds inactive it is |margin| / ||w||_1.
    """
    batch = classifier.batch(images, keys)
    reference = checked_reference(reference, batch)
    largest = batch.bounds.range if largest is None else float(largest)
    if not largest > 0:
        raise UsageError(f"largest must be a positive size in native units; got {largest}")

    def hunted(part: Batch, lost: Labels) -> SmallestFlip:
        return _Hunt(classifier, part, lost, largest, effort).run(seed)

    with classifier.frozen():
        return SmallestFlip(**in_chunks(hunted, batch, reference))


class _Hunt:
    """The state of one chunk's search: the best flip of each image so far."""

    def __init__(self, classifier: Classifier, batch: Batch, reference: Labels, largest: float,
                 effort: Effort) -> None:
        self.classifier, self.batch, self.reference = classifier, batch, reference
        self.largest, self.effort = largest, effort
        # what is searched, so that the realised change keeps within `largest` in spite of float32 at 1000 HU
        rounding = torch.finfo(torch.float32).eps * max(abs(batch.bounds.low), abs(batch.bounds.high))
        self.reach = max(largest - rounding, largest / 2)
        self.threat = Linf(self.reach)
        n, device = len(batch), batch.images.device
        self.size = torch.full((n,), torch.inf, device=device)
        self.images = batch.images.clone()
        self.margin = torch.full((n,), torch.nan, device=device)
        self.forwards, self.backwards = (torch.zeros(n, dtype=torch.int64, device=device) for _ in range(2))

    def run(self, seed: int) -> SmallestFlip:
        """Every stage in turn."""
        clean = self.batch.images.clone().requires_grad_(True)
        logits = self.classifier.logits(clean)
        self.clean_logits, self.logits = logits.detach(), logits.detach().clone()
        self.margin = margin_of(self.logits, self.reference)
        self.surely = -_ROUNDING * self.logits.abs().amax(1)
        self.forwards += 1
        self.size[self.margin < 0] = 0.0
        undecided = ~torch.isfinite(self.margin)
        targets, gradients = self._nearest(logits, clean)
        searched = ((self.margin >= 0) & ~undecided).nonzero()[:, 0]
        if targets.shape[1] == 1:
            self._descend(searched, targets[searched, 0], self.effort.steps, gradients[0][searched], patient=True)
        else:
            for rank, gradient in enumerate(gradients):
                self._descend(searched, targets[searched, rank], self.effort.explore, gradient[searched])
            self._descend(searched, None, self.effort.refine)
        self._rescue((torch.isinf(self.size) & ~undecided).nonzero()[:, 0], seed)
        self._polish((torch.isfinite(self.size) & (self.size > 0)).nonzero()[:, 0])
        return SmallestFlip(self.size, self.images, self.forwards, self.backwards, self.margin, self.logits)

    def _nearest(self, logits: Logits, clean: Images) -> tuple[Tensor, list[Tensor]]:
        """The other classes of the highest logits, (n, targets), and the gradients of the margins to them."""
        own = torch.zeros_like(self.logits, dtype=torch.bool).scatter_(1, self.reference[:, None], True)
        count = min(self.effort.targets, logits.shape[1] - 1)
        targets = self.logits.masked_fill(own, -torch.inf).topk(count, 1).indices
        gradients = []
        for rank in range(count):
            margin = _margin_to(logits, self.reference, targets[:, rank])
            gradients.append(self.classifier.gradient(margin.sum(), clean, keep_graph=rank < count - 1))
        self.backwards += count
        return targets, gradients

    def _descend(self, active: Tensor, target: Labels | None, steps: int, gradient: Tensor | None = None,
                 patient: bool = False) -> None:
        """`steps` sign steps, each image at a radius of its own that follows the boundary.

        Against one `target` class, or against whichever is nearest where None. Begins at the clean image, whose
        `gradient` is known, or else at the best flip found. A `patient` walk takes its time to the first flip.
        """
        if not len(active):
            return
        walk = _Walk(self, active, target, gradient, 1 + _PACE / steps if patient else None)
        for step in range(steps):
            share = 0.5 * (1 + cos(pi * step / steps))
            walk.step(share, last=step == steps - 1)

    def see(self, active: Tensor, part: Batch, images: Images, logits: Logits) -> Flags:
        """Takes in one iterate of the images `active`, clean in `part`; returns which of them it flips."""
        self.forwards[active] += 1
        margin = margin_of(logits, self.reference[active])
        size = (images - part.images).abs().flatten(1).amax(1)
        flips = margin < self.surely[active]
        better = flips & (size < self.size[active]) & (size <= self.largest)
        places = active[better]
        self.size[places] = size[better]
        self.images[places] = images[better]
        self.margin[places] = margin[better]
        self.logits[places] = logits[better]
        return flips

    def _rescue(self, active: Tensor, seed: int) -> None:
        """Images that resisted: random starts at the largest size, and another descent from what these flip."""
        if not len(active):
            return
        part = self.batch.pick(active)
        size = torch.full((len(active),), self.reach, device=part.images.device)
        out = climb(self.classifier, part, self.reference[active], self.threat,
                    Search(steps=20, step=0.1, starts=3, random_start=True), size, seed)
        self.forwards[active] += out.forwards
        self.backwards[active] += out.backwards
        flipped = out.flipped.nonzero()[:, 0]
        if len(flipped):
            self.see(active[flipped], part.pick(flipped), out.images[flipped], out.logits[flipped])
            self.forwards[active[flipped]] -= 1  # that look was the search's own
            self._descend(active[flipped], None, self.effort.steps)

    def _polish(self, active: Tensor) -> None:
        """Cuts the found change down to smaller radii, by bisection, with forward passes alone."""
        if not len(active):
            return
        part = self.batch.pick(active)
        delta = self.images[active] - part.images
        high = self.size[active].clone()
        low = _CUT * high
        with torch.no_grad():
            for _ in range(self.effort.polish):
                middle = (low + high) / 2
                images = self.threat.render(part, self.threat.project(part, delta, middle))
                flips = self.see(active, part, images, self.classifier.logits(images))
                high = torch.where(flips, middle, high)
                low = torch.where(flips, low, middle)


class _Walk:
    """One descent of some images: where each is, and the radius that it may use."""

    def __init__(self, hunt: _Hunt, active: Tensor, target: Labels | None, gradient: Tensor | None,
                 pace: float | None) -> None:
        self.pace = pace
        self.hunt, self.active, self.target = hunt, active, target
        self.part, self.reference = hunt.batch.pick(active), hunt.reference[active]
        self.delta = torch.zeros_like(self.part.images)
        self.radius = torch.zeros(len(active), device=self.delta.device)
        self.flipped = torch.zeros(len(active), dtype=torch.bool, device=self.delta.device)
        self.direction = torch.zeros_like(self.delta)
        if gradient is None:
            self.delta = hunt.images[active] - self.part.images
            self.look(last=False)
        else:
            self.margin = self._margin(hunt.clean_logits[active])
            self.gradient = gradient

    def step(self, share: float, last: bool) -> None:
        """One sign step; `share` falls from 1 at the first step to 0 after the last."""
        self.radius = self._next_radius(share)
        steepest = self.gradient / an_image(_norm(self.gradient), self.gradient)
        self.direction = _MOMENTUM * self.direction + (1 - _MOMENTUM) * steepest
        threat = self.hunt.threat
        moved = threat.climb(self.part, self.delta, -self.direction, _between(_STEP, share), self.radius)
        self.delta = threat.project(self.part, moved, self.radius)
        self.look(last)

    def look(self, last: bool) -> None:
        """Evaluates the images where they stand and, unless it is the last time, takes the gradient there."""
        classifier = self.hunt.classifier
        delta = self.delta.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            images = self.hunt.threat.render(self.part, delta)
            logits = classifier.logits(images)
            margin = self._margin(logits)
        self.flipped = self.hunt.see(self.active, self.part, images.detach(), logits.detach())
        if not last:
            self.gradient = classifier.gradient(margin.sum(), delta)
            self.hunt.backwards[self.active] += 1
        self.margin = margin.detach()

    def _margin(self, logits: Logits) -> Values:
        if self.target is None:
            return margin_of(logits, self.reference)
        return _margin_to(logits, self.reference, self.target)

    def _next_radius(self, share: float) -> Values:
        """Shrinks after a flip by as much as the boundary seems overshot, grows after a failure.

        Before any flip is known see `_ahead`.
        """
        rate = _between(_RADIUS_RATE, share)
        best = self.hunt.size[self.active]
        known = torch.isfinite(best)
        size = self.delta.flatten(1).abs().amax(1)
        slope = self.gradient.flatten(1).abs().sum(1).clamp(min=1e-30)
        inner = torch.minimum(size, best)
        overshot = (-self.margin).clamp(min=0) / slope
        shrunk = torch.minimum(inner - overshot.minimum(inner / 2), inner * (1 - rate))
        grown = torch.where(self.radius > 0, self.radius, size) * (1 + rate)
        radius = torch.where(known & (size > 0), torch.where(self.flipped, shrunk, grown),
                             self._ahead(size, slope, share))
        return torch.minimum(radius, torch.where(known, best, torch.full_like(best, self.hunt.reach)))

    def _ahead(self, size: Values, slope: Values, share: float) -> Values:
        """The next radius of an image without a flip.

        On a straight line from here the radius runs away where the network is bent: to many times the smallest
        flip, since the change is far from the best of its size and the margin hardly falls. So the first half of
        a patient walk goes where this gradient puts the boundary for its own best change, and at least a little
        outwards. Else it is the line, and a little beyond: exactly on the boundary rounding decides.
        """
        gap = self.margin.clamp(min=0) / slope
        if self.pace is None or share < 0.5:
            return (size + gap) * (1 + _between(_RADIUS_RATE, share))
        along = -(self.gradient * self.delta).flatten(1).sum(1) / slope
        return torch.where(size > 0, torch.maximum(along + gap, size * self.pace), _FIRST * gap)


def _margin_to(logits: Logits, reference: Labels, target: Labels) -> Values:
    return (logits.gather(1, reference[:, None]) - logits.gather(1, target[:, None]))[:, 0]


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[1] + (ends[0] - ends[1]) * share


def _norm(values: Tensor) -> Values:
    length: Values = values.flatten(1).norm(dim=1)
    return length.clamp(min=1e-30)
