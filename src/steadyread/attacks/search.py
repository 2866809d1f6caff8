"""The one loop behind FGSM, BIM, PGD and random search: climb a loss inside a threat, look at every iterate."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import cos, pi
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from steadyread.attacks.headlines import of_flips
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats.threat import Threat
from steadyread.types import Batch, Flags, Images, Labels, Logits, Values

Loss = Literal["margin", "cross_entropy"]


@dataclass(frozen=True)
class Search:
    """How hard it is tried.

    Args:
        steps: gradient steps from each start; 0 only looks at the starts.
        step: length of a step, as a share of the threat's size.
        starts: how many starts an image gets. With `random_start` each is another draw.
        stop_at_flip: an image leaves the search when it flips, and further starts go to the others only.
        every_start: an image that flipped leaves its start only, so that `flips` of `starts` can be counted.
        last_step: the length that steps shrink to, on a cosine, from `step` at the first; `step` where None.
        loss: what is climbed. `margin` (minus the logit margin) does not vanish where the network is sure;
            `cross_entropy` is what the papers climbed.
    """

    steps: int
    step: float
    starts: int = 1
    random_start: bool = False
    stop_at_flip: bool = True
    loss: Loss = "margin"
    every_start: bool = False
    last_step: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or self.starts < 1 or self.step < 0 or (self.last_step or 0) < 0:
            raise UsageError(f"a search needs steps >= 0, step >= 0 and starts >= 1; got {self}")
        if self.loss not in get_args(Loss):
            raise UsageError(f"loss must be 'margin' or 'cross_entropy'; got '{self.loss}'")

    def length(self, step: int) -> float:
        """Of the step with this index, as a share of the threat's size."""
        if self.last_step is None:
            return self.step
        share = 0.5 * (1 + cos(pi * step / max(self.steps - 1, 1)))
        return self.last_step + (self.step - self.last_step) * share


@dataclass(frozen=True, eq=False, repr=False)
class Attacked:
    """What a search found, one value an image, on the classifier's device.

    `images` are the iterates of the lowest margin met (the flipped ones where `flipped`), `logits` and
    `margin` theirs. `trials` counts the starts tried, `flips` those with a flip on their way.
    """

    images: Images
    flipped: Flags
    margin: Values
    flips: Labels
    trials: Labels
    forwards: Labels
    backwards: Labels
    logits: Logits = field(repr=False)

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records."""
        return {"trials": self.trials, "flips": self.flips, "logits": self.logits, "margin": self.margin,
                "forwards": self.forwards, "backwards": self.backwards}

    def __repr__(self) -> str:
        return of_flips(self, self.flipped)


def loss_of(logits: Logits, margin: Values, reference: Labels, loss: Loss) -> Values:
    """The value to climb, (n,). Cross-entropy has the margin gradient's sign for two classes until it vanishes."""
    return -margin if loss == "margin" else functional.cross_entropy(logits, reference, reduction="none")


def climb(classifier: Classifier, batch: Batch, reference: Labels, threat: Threat, search: Search,
          size: Values, seed: int) -> Attacked:
    """Searches every image for a flip at its own `size` (n,), in native units.

    An image that is flipped before any change counts as flipped: no change is inside every set.
    """
    found = Found(batch, reference)
    once = search.stop_at_flip and not search.every_start
    with classifier.frozen():
        if search.random_start and once and threat.holds_zero:
            with torch.no_grad():
                logits = classifier.logits(batch.images)
                found.see(found.everyone, batch.images, logits, margin_of(logits, reference))
            found.flips += found.flipped
        for draw in range(search.starts):
            active = (~found.flipped).nonzero()[:, 0] if once else found.everyone
            if not len(active):
                break
            found.trials[active] += 1
            part, sizes = batch.pick(active), size[active]
            delta = (threat.project(part, threat.start(part, sizes, seed, draw), sizes) if search.random_start
                     else torch.zeros_like(part.images))
            found.flips[_one_start(classifier, threat, search, found, _Going(active, part, sizes, delta))] += 1
    found.trials.clamp_(min=1)
    return found.attacked()


@dataclass(frozen=True, eq=False)
class _Going:
    """The images still under way from one start: their places, themselves, their sizes, and where they are."""

    active: Tensor
    part: Batch
    sizes: Values
    delta: Tensor

    def pick(self, left: Tensor) -> "_Going":
        """Those at the indices `left`."""
        return _Going(self.active[left], self.part.pick(left), self.sizes[left], self.delta[left])


def _one_start(classifier: Classifier, threat: Threat, search: Search, found: "Found", going: _Going) -> Tensor:
    """Climbs from one start. Returns the places of the images that flipped on the way."""
    flipped = torch.zeros_like(found.flipped)
    for step in range(search.steps + 1):
        last = step == search.steps
        delta = going.delta.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            images = threat.render(going.part, delta)
            logits = classifier.logits(images)
            margin = margin_of(logits, found.reference[going.active])
            value = loss_of(logits, margin, found.reference[going.active], search.loss)
        flipped[going.active] |= found.see(going.active, images.detach(), logits.detach(), margin.detach())
        if last:
            break
        gradient = classifier.gradient(value.sum(), delta)
        found.backwards[going.active] += 1
        if search.stop_at_flip:
            left = (~flipped[going.active]).nonzero()[:, 0]
            if not len(left):
                break
            if len(left) < len(going.active):
                going, gradient = going.pick(left), gradient[left]
        moved = threat.climb(going.part, going.delta, gradient, search.length(step), going.sizes)
        going = replace(going, delta=threat.project(going.part, moved, going.sizes))
    return flipped.nonzero()[:, 0]


class Found:
    """The best met so far, image by image, while a search goes on."""

    def __init__(self, batch: Batch, reference: Labels) -> None:
        n, device = len(batch), batch.images.device
        self.reference = reference
        self.everyone = torch.arange(n, device=device)
        self.images = batch.images.clone()
        self.logits: Tensor | None = None
        self.margin = torch.full((n,), torch.inf, device=device)
        self.flipped = torch.zeros(n, dtype=torch.bool, device=device)
        self.flips, self.trials, self.forwards, self.backwards = (
            torch.zeros(n, dtype=torch.int64, device=device) for _ in range(4))

    def see(self, active: Tensor, images: Images, logits: Logits, margin: Values) -> Flags:
        """Takes in one iterate of the images `active`; returns which of them it flips."""
        self.forwards[active] += 1
        if self.logits is None:
            self.logits = torch.full((len(self.everyone), logits.shape[1]), torch.nan, device=logits.device)
        better = margin < self.margin[active]  # False where it is NaN: such an iterate is undecided
        places = active[better]
        self.margin[places] = margin[better]
        self.logits[places] = logits[better]
        self.images[places] = images[better]
        flips = margin < 0
        self.flipped[active] |= flips
        return flips

    def attacked(self) -> Attacked:
        assert self.logits is not None  # every search looks at one iterate at least
        self.margin[self.margin == torch.inf] = torch.nan   # no iterate was decided
        return Attacked(self.images, self.flipped, self.margin, self.flips, self.trials, self.forwards,
                        self.backwards, self.logits)
