"""The smallest change found that flips each image: a minimum-norm search with a radius of its own per image.

The idea of a radius that shrinks after a flip and grows after a failure is FMN's (arXiv:2102.12827). Here the
step is a sign step in proportion to the image's own radius, so that it does not depend on the image's size; between
two classes the radius grows slowly until the first flip, so that the change is good for its size before it becomes
larger; then it shrinks by what the margin says was overshot; gradients are averaged over steps; an image whose change
still becomes much smaller late in its steps (or first flips then), as on max-pooled networks, gets further ones;
where there are more than two classes, those of the highest logits are tried first, each by itself, and the one that
the clean gradients put nearest among them; and the found change is polished by forward passes alone.
"""

from dataclasses import dataclass, replace
from math import cos, pi

import torch
from torch import Tensor

from steadyread.attacks.blind import QUERIES, Budget, smallest_by_squares
from steadyread.attacks.flips import SmallestFlip
from steadyread.attacks.recipe import checked_reference, in_chunks
from steadyread.attacks.search import Search, climb
from steadyread.attacks.slopes import ROUNDS, Nearest, Slope, gaps
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats.linf import Linf, an_image
from steadyread.types import Batch, Flags, Images, Labels, Logits, Values


@dataclass(frozen=True)
class Effort:
    """How hard the smallest flip is searched, in gradient steps.

    Two classes, or two that are not masked: `steps` of them, and `further` ones (5/3 of `steps` where None) from the
    best flip for an image whose change became a twentieth smaller in the second half of these, or came then. More: one
    towards each other class, which say which is nearest; `explore` against each of `targets` (the highest logits, the
    nearest among them, masked ones left out), then `refine` against whichever class is nearest, from the best flip
    found. Last, `polish` forward passes, the last of which reads the returned image once more.

    The defaults cost 33 forward and 24 backward passes per image for two classes, or 74 and 64 where it goes further
    (28 backward ones on average, table `tightness` of the benchmarks); 110 forward and 97 + (classes - 1) backward ones
    for 4 to 10 classes. Beyond 10 the 9 other classes of the highest logits come first, then the next 30 and 60, a
    forward pass each round, unless these would have to be more than 16 times steeper than all before to lie nearer: at
    most 112 and 196 passes for 100 classes and more. Classes beyond the 100 highest are never targets. `THOROUGH` costs
    four to six times the gradients and is the one to quote when a single net is judged.

    `queries`: where no gradient is to be had, forward passes per image at most, the clean read and the polish aside.
    """

    steps: int = 24
    targets: int = 3
    explore: int = 17
    refine: int = 49
    polish: int = 8
    queries: int = QUERIES
    further: int | None = None

    @property
    def budget(self) -> Budget:
        """How the queries are spent."""
        return Budget() if self.queries == QUERIES else Budget.of(self.queries)

    @property
    def beyond(self) -> int:
        """How many steps an image gets that still moves after the first ones."""
        return round(5 * self.steps / 3) if self.further is None else self.further

    def __post_init__(self) -> None:
        for name, value, least in (("queries", self.queries, 1), ("further", self.beyond, 0)):
            if value < least:
                raise UsageError(f"{name} must be at least {least}; got {value}")


THOROUGH = Effort(steps=150, further=0, explore=40, refine=250, polish=12)
_RADIUS_RATE = (0.05, 0.001)   # how fast a radius grows or shrinks, from the first step to the last
_STEP = (0.85, 0.01)           # a step's length as a share of the radius
_STILL, _CLOSER = 1.055, 0.5   # made so much smaller by half of the steps, a change gets further, half as long ones
_MOMENTUM = 0.5                # of the gradients' directions: damps the zigzag at the kinks of a max-pooled net
_FIRST = 0.6                   # a patient walk's first radius, as a share of where the gradient puts the boundary
_PACE = 1.75                   # by this over its steps a patient walk's radius grows at least, a step, until a flip
_SHORT = 0.998                 # of what was overshot is taken off: exactly on the boundary rounding decides
_ROUNDING = (2.0**-20, 2.0**-24)   # of what `_between` says: by their sum a flip is one, so that in another batch
                               # or memory layout it is one still
_ANEW = (1e-3, 2.0**-18)       # of the same: by so much margins may differ when the returned image is read again
_NARROWER = 0.999              # a size by so much smaller matters
_COARSE = 0.01                 # of the clean margin, as does so much rounding
_CUT = 0.95                    # a polish looks for flips between this share of the found size and all of it;
_FIRST_CUT = 0.2               # first it cuts by this share of the rest: most are found within a hundredth


def smallest_flip(classifier: Classifier, images: Images | Batch, reference: Labels, seed: int = 0, *,
                  largest: float | None = None, keys: tuple[str, ...] | None = None,
                  effort: Effort = Effort()) -> SmallestFlip:
    """The smallest L-infinity change found that flips each image, an upper bound of the true one.

    Args:
        images: (n, c, *space) in native units, finite and inside the classifier's bounds.
        reference: (n,) the class that each image must lose: its label or its prediction.
        largest: the size up to which is searched, native units; the whole range where None.
        seed: for the random starts of images that resist the first search.

    On a linear classifier with the bounds inactive it is |margin| / ||w||_1. Where no gradient reaches an image, or
    most are 0 in every pixel, Square is tried at falling radii instead (see `blind`): many more forward passes, and
    a weaker bound, which `doubts` says.
    """
    batch = classifier.batch(images, keys)
    reference = checked_reference(reference, batch)
    largest = batch.bounds.range if largest is None else float(largest)
    if not largest > 0:
        raise UsageError(f"largest must be a positive size in native units; got {largest}")

    def hunted(part: Batch, lost: Labels) -> SmallestFlip:
        return _Hunt(classifier, part, lost, largest, effort).run(seed)

    with classifier.frozen():
        flips = SmallestFlip(**in_chunks(hunted, batch, reference))
    classifier.tell_doubts()
    return replace(flips, stated=classifier.doubts, unit=batch.bounds.unit)


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
        self.forwards, self.backwards, self.gradients, self.zero, self.broken = (
            torch.zeros(n, dtype=torch.int64, device=device) for _ in range(5))
        self.grazed = torch.full_like(self.size, torch.inf)   # the smallest size that flips by rounding alone
        self.unrepeatable = torch.zeros(n, dtype=torch.bool, device=device)

    def run(self, seed: int) -> SmallestFlip:
        """Every stage in turn."""
        clean = self.batch.images.clone().requires_grad_(True)
        logits = self.classifier.logits(clean)
        self.clean_logits, self.logits = logits.detach(), logits.detach().clone()
        self.margin = margin_of(self.logits, self.reference)
        self.between = _between(self.logits)
        self.surely = -self.between @ self.margin.new_tensor(_ROUNDING)
        self.forwards += 1
        self.size[self.margin < 0] = 0.0
        margin, undecided = self.margin.clone(), ~torch.isfinite(self.margin)
        searched = (margin >= 0) & ~undecided
        if logits.requires_grad:
            self._follow(self._nearest(logits, clean), searched)
            self._rescue((torch.isinf(self.size) & ~undecided).nonzero()[:, 0], seed)
        else:   # a network under torch.no_grad, say, or a function of arrays: counted as one gradient of 0
            self.gradients, self.zero = self.gradients + 1, self.zero + 1
        self._ask((searched & (2 * self.zero > self.gradients)).nonzero()[:, 0], seed)
        self._polish((torch.isfinite(self.size) & (self.size > 0)).nonzero()[:, 0])
        every = self.gradients.clamp(min=1)
        return SmallestFlip(self.size, self.images, self.forwards, self.backwards, self.margin, self.logits,
                            self.zero / every, self.broken / every, searched & (
                                (self.grazed < _NARROWER * self.size) | (-self.surely > _COARSE * margin)),
                            self.unrepeatable)

    def _follow(self, nearest: Nearest, searched: Flags) -> None:
        """Down the gradient towards each of the classes, then towards whichever is nearest."""
        several = searched & ~nearest.lone
        before = self._descend(searched & nearest.lone, None, self.effort.steps, nearest.slopes[0], patient=True)
        self._descend(searched & nearest.lone & (before > _STILL * self.size), None, self.effort.beyond, at=_CLOSER)
        for target, slope, within in nearest.targets():
            self._descend(several & within, target, self.effort.explore, slope)
        self._descend(several, None, self.effort.refine)

    def _ask(self, active: Tensor, seed: int) -> None:
        """Images whose gradients are mostly 0 in every pixel: a search that needs none (see `blind`)."""
        if not len(active):
            return
        part = self.batch.pick(active)
        reach = self.size[active].clamp(max=self.reach)
        out = smallest_by_squares(self.classifier, part, self.reference[active], reach, self.surely[active], seed,
                                  self.effort.budget)
        self.forwards[active] += out.forwards
        flipped = out.flipped.nonzero()[:, 0]
        if len(flipped):
            self.see(active[flipped], part.pick(flipped), out.images[flipped], out.logits[flipped])
            self.forwards[active[flipped]] -= 1  # that look was the search's own

    def _nearest(self, logits: Logits, clean: Images) -> Nearest:
        """The other classes to be tried, by the clean gradients; `logits` hang on `clean`."""
        classes, gap = gaps(self.logits, self.reference, sum(ROUNDS))
        nearest = Nearest(classes[:, :self.effort.targets], gap, self.batch)
        active, part, first = torch.arange(len(self.batch), device=clean.device), self.batch, 0
        for length in ROUNDS:
            if first:
                active = (nearest.open(gap[:, first]) & (self.margin >= 0)).nonzero()[:, 0]
                if not len(active):
                    break
                part = self.batch.pick(active)
                clean = part.images.clone().requires_grad_(True)
                logits = self.classifier.logits(clean)
                self.forwards[active] += 1
            self._look_towards(classes[active, first:first + length], nearest, active, part, clean, logits)
            first += length
            if first >= classes.shape[1]:
                break
        return nearest

    def _look_towards(self, classes: Tensor, nearest: Nearest, active: Tensor, part: Batch, clean: Images,
                      logits: Logits) -> None:
        """One gradient towards each of the classes (m, ranks) of the images `active`."""
        last = classes.shape[1] - 1
        for rank, target in enumerate(classes.T):
            margin = _margin_to(logits, self.reference[active], target)
            slope = self.slope(active, margin, clean, keep_graph=rank < last)
            nearest.take(active, target, slope, slope.reach_inside(margin.detach(), part))

    def slope(self, active: Tensor, margin: Values, at: Images, keep_graph: bool = False) -> Slope:
        """The slope of the margins of the images `active`, with what it shows of their gradients."""
        slope = Slope.of(self.classifier.derivative(margin.sum(), at, keep_graph))
        for count, flags in ((self.backwards, True), (self.gradients, True), (self.zero, slope.peak == 0),
                             (self.broken, slope.broken)):
            count[active] += flags
        return slope

    def _descend(self, chosen: Flags, target: Labels | None, steps: int, slope: Slope | None = None,
                 patient: bool = False, at: float = 1.0) -> Values:
        """`steps` sign steps of the images chosen, each at a radius of its own that follows the boundary; returns the
        sizes of all images (n,) after half of them. They become shorter from `at` of the longest on.

        Against one `target` class, or against whichever is nearest where None. Begins at the clean image, whose
        `slope` is known, or else at the best flip found. A `patient` walk takes its time to the first flip.
        """
        active, before = chosen.nonzero()[:, 0], self.size.clone()
        if not len(active) or not steps:
            return before
        walk = _Walk(self, active, None if target is None else target[active],
                     None if slope is None else slope.pick(active), 1 + _PACE / steps if patient else None)
        for step in range(steps):
            share = at * 0.5 * (1 + cos(pi * step / steps))
            walk.step(share, last=step == steps - 1)
            if step + 1 == (steps + 1) // 2:
                before = self.size.clone()
        return before

    def see(self, active: Tensor, part: Batch, images: Images, logits: Logits) -> Flags:
        """Takes in one iterate of the images `active`, clean in `part`; returns which of them it flips."""
        self.forwards[active] += 1
        margin = margin_of(logits, self.reference[active])
        size = (images - part.images).abs().flatten(1).amax(1)
        flips = margin < self.surely[active]
        grazes = (margin < 0) & ~flips
        self.grazed[active] = torch.where(grazes, self.grazed[active].minimum(size), self.grazed[active])
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
            again = torch.zeros_like(self.unrepeatable)
            again[active[flipped]] = True
            self._descend(again, None, self.effort.steps + self.effort.beyond // 4)   # about the average of images

    def _polish(self, active: Tensor) -> None:
        """Cuts the found change down to smaller radii, by bisection, with forward passes alone; the last of them
        reads what is returned once more, as whoever uses it will."""
        if not len(active) or not self.effort.polish:
            return
        part = self.batch.pick(active)
        delta = self.images[active] - part.images
        high = self.size[active].clone()
        low = _CUT * high
        with torch.no_grad():
            for step in range(self.effort.polish - 1):
                middle = high - (high - low) * (_FIRST_CUT if step == 0 else 0.5)
                images = self.threat.render(part, self.threat.project(part, delta, middle))
                flips = self.see(active, part, images, self.classifier.logits(images))
                high = torch.where(flips, middle, high)
                low = torch.where(flips, low, middle)
            halves = self.images[active].tensor_split(2) if len(active) > 1 else (self.images[active],)
            margin = margin_of(torch.cat([self.classifier.logits(half) for half in halves]), self.reference[active])
        self.forwards[active] += 1
        slack = self.between[active] @ self.margin.new_tensor(_ANEW)
        self.unrepeatable[active] = ~((margin < 0) & ((margin - self.margin[active]).abs() <= slack))


class _Walk:
    """One descent of some images: where each is, and the radius that it may use."""

    def __init__(self, hunt: _Hunt, active: Tensor, target: Labels | None, slope: Slope | None,
                 pace: float | None) -> None:
        self.pace = pace
        self.hunt, self.active, self.target = hunt, active, target
        self.part, self.reference = hunt.batch.pick(active), hunt.reference[active]
        self.delta = torch.zeros_like(self.part.images)
        self.radius = torch.zeros(len(active), device=self.delta.device)
        self.flipped = torch.zeros(len(active), dtype=torch.bool, device=self.delta.device)
        self.direction = torch.zeros_like(self.delta)
        if slope is None:
            self.delta = hunt.images[active] - self.part.images
            self.look(last=False)
        else:
            self.margin = self._margin(hunt.clean_logits[active])
            self.slope = slope

    def step(self, share: float, last: bool) -> None:
        """One sign step; `share` falls from 1 at the first step to 0 after the last."""
        self.radius = self._next_radius(share)
        steepest = self.slope.direction / an_image(_norm(self.slope.direction), self.slope.direction)
        self.direction = _MOMENTUM * self.direction + (1 - _MOMENTUM) * steepest
        threat = self.hunt.threat
        moved = threat.climb(self.part, self.delta, -self.direction, _mean(_STEP, share), self.radius)
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
            self.slope = self.hunt.slope(self.active, margin, delta)
        self.margin = margin.detach()

    def _margin(self, logits: Logits) -> Values:
        if self.target is None:
            return margin_of(logits, self.reference)
        return _margin_to(logits, self.reference, self.target)

    def _next_radius(self, share: float) -> Values:
        """Shrinks after a flip by as much as the boundary seems overshot, grows after a failure.

        Before any flip is known see `_ahead`.
        """
        rate = _mean(_RADIUS_RATE, share)
        best = self.hunt.size[self.active]
        known = torch.isfinite(best)
        size = self.delta.flatten(1).abs().amax(1)
        inner = torch.minimum(size, best)
        overshot = _SHORT * self.slope.reach(-self.margin)
        shrunk = torch.minimum(inner - overshot.minimum(inner / 2), inner * (1 - rate))
        grown = torch.where(self.radius > 0, self.radius, size) * (1 + rate)
        radius = torch.where(known & (size > 0), torch.where(self.flipped, shrunk, grown),
                             self._ahead(size, share))
        return torch.minimum(radius, torch.where(known, best, torch.full_like(best, self.hunt.reach)))

    def _ahead(self, size: Values, share: float) -> Values:
        """The next radius of an image without a flip.

        On a straight line from here the radius runs away where the network is bent: to many times the smallest
        flip, since the change is far from the best of its size and the margin hardly falls. So the first half of
        a patient walk goes where this gradient puts the boundary for its own best change, and at least a little
        outwards. Else it is the line, and a little beyond: exactly on the boundary rounding decides.
        """
        gap = self.slope.reach(self.margin)
        if self.pace is None or share < 0.5:
            return (size + gap) * (1 + _mean(_RADIUS_RATE, share))
        along = -(self.slope.direction * self.delta).flatten(1).sum(1) / self.slope.length.clamp(min=1)
        return torch.where(size > 0, torch.maximum(along + gap, size * self.pace), _FIRST * gap)


def _margin_to(logits: Logits, reference: Labels, target: Labels) -> Values:
    return (logits.gather(1, reference[:, None]) - logits.gather(1, target[:, None]))[:, 0]


def _between(logits: Logits) -> Tensor:
    """How far apart the three highest logits are, and how large the two highest, (n, 2): what the rounding of a
    read's margin follows. A third that is farther away than the two are large (a mask) counts as they do."""
    highest = logits.topk(min(3, logits.shape[1]), 1).values
    large = highest[:, :2].abs().amax(1)
    gap, spread = highest[:, 0] - highest[:, 1], highest[:, 0] - highest[:, -1]
    return torch.stack([torch.minimum(spread, torch.maximum(gap, large)), large], 1)


def _mean(ends: tuple[float, float], share: float) -> float:
    return ends[1] + (ends[0] - ends[1]) * share


def _norm(values: Tensor) -> Values:
    length: Values = values.flatten(1).norm(dim=1)
    return length.clamp(min=1)   # 0 or at least the largest entry, which is 1
