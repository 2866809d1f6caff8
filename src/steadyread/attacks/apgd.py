"""APGD: projected gradient ascent that finds its own step length, each image on its own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import accumulate, takewhile
from typing import Any, get_args

import torch
from torch import Tensor

from steadyread.attacks.recipe import in_chunks
from steadyread.attacks.search import Attacked, Found, Loss, loss_of
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats import Linf
from steadyread.threats.linf import an_image
from steadyread.types import Batch, Flags, Images, Labels, Values

_FIRST_STEP = 2.0      # eta at the start, as a share of epsilon
_FORWARD = 0.75        # alpha: the share of the new step in a move; the rest is the last move's
_RISING = 0.75         # rho: the share of steps since the last checkpoint that must have raised the loss
_INTERVALS = (22, 3, 6)     # between checkpoints, in percent of the steps: the first, less by, the least


@dataclass(frozen=True)
class AutoPGD:
    """A threat and how hard it is tried; made by `recipes.apgd`, called as (classifier, batch, reference, seed)."""

    threat: Linf
    steps: int = 100
    restarts: int = 1
    loss: Loss = "margin"
    name: str = "apgd"

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            told = getattr(self, name)
            if type(told) is not int or told < 1:
                raise UsageError(f"apgd: {name} must be a whole number of at least 1; got {told!r}")
        if self.loss not in get_args(Loss):
            raise UsageError(f"apgd: loss must be 'margin' or 'cross_entropy'; got '{self.loss}'")

    @property
    def size(self) -> float:
        """Epsilon in native units, as it stands in the records."""
        return self.threat.epsilon

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> Attacked:
        """One forward pass of the image itself, then `steps` + 1 forwards and `steps` backwards a start; images
        that flip leave, and further starts go to the others."""
        return Attacked(**in_chunks(partial(self._attacked, classifier, seed), batch, reference))

    def _attacked(self, classifier: Classifier, seed: int, batch: Batch, reference: Labels) -> Attacked:
        found = Found(batch, reference)
        with classifier.frozen():
            with torch.no_grad():
                logits = classifier.logits(batch.images)
                found.see(found.everyone, batch.images, logits, margin_of(logits, reference))
            for draw in range(self.restarts):
                active = (~found.flipped).nonzero()[:, 0]
                if not len(active):
                    break
                found.trials[active] += 1
                part = batch.pick(active)
                size = torch.full((len(active),), self.threat.epsilon, device=batch.images.device)
                start = self.threat.start(part, size, seed, draw)
                self._climb(classifier, found, _Going.at(active, part, size, start))
        found.trials.clamp_(min=1)
        found.flips += found.flipped
        return found.attacked()

    def _climb(self, classifier: Classifier, found: Found, going: "_Going") -> None:
        """Algorithm 1 from one start."""
        due, checked = checkpoints(self.steps), 0
        for step in range(self.steps + 1):
            last = step == self.steps
            value, gradient, flips = self._look(classifier, found, going, last)
            left = (~flips).nonzero()[:, 0]
            if last or not len(left):
                break
            going = going.taking_in(value, gradient, first=step == 0)
            going = going.pick(left) if len(left) < len(flips) else going
            if step in due:
                going, checked = going.checked(step - checked), step
            going = going.moved(self.threat, 1.0 if step == 0 else _FORWARD)

    def _look(self, classifier: Classifier, found: Found, going: "_Going", last: bool
              ) -> tuple[Values, Tensor, Flags]:
        """The loss where the images stand, its gradient (not at the last look), and which of them are flipped."""
        reference = found.reference[going.active]
        delta = going.delta.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            images: Images = self.threat.render(going.part, delta)
            logits = classifier.logits(images)
            margin = margin_of(logits, reference)
            value = loss_of(logits, margin, reference, self.loss)
        flips = found.see(going.active, images.detach(), logits.detach(), margin.detach())
        if last:
            return value, torch.zeros_like(delta), flips
        gradient = classifier.gradient(value.sum(), delta)
        found.backwards[going.active] += 1
        return value.detach(), gradient, flips


@dataclass(frozen=True, eq=False)
class _Going:
    """The images under way from one start; every tensor has one entry an image. x(k) is image + delta.

    `step` is eta, in native units; `best`, `best_gradient` and `best_value` are x_max, the gradient there and
    f_max, `best_then` f_max at the last checkpoint; `rises` counts the steps since then that raised the loss;
    `halved` says whether that checkpoint halved the step.
    """

    active: Tensor
    part: Batch
    size: Values
    delta: Tensor
    before: Tensor
    gradient: Tensor
    value: Values
    best: Tensor
    best_gradient: Tensor
    best_value: Values
    best_then: Values
    step: Values
    rises: Labels
    halved: Flags

    @classmethod
    def at(cls, active: Tensor, part: Batch, size: Values, delta: Tensor) -> "_Going":
        """At a start that has not been looked at."""
        nothing = torch.full_like(size, -torch.inf)
        flat = torch.zeros_like(delta)
        return cls(active, part, size, delta=delta, before=delta, gradient=flat, value=nothing, best=delta,
                   best_gradient=flat, best_value=nothing, best_then=nothing, step=_FIRST_STEP * size,
                   rises=torch.zeros_like(active), halved=torch.zeros_like(active, dtype=torch.bool))

    def pick(self, left: Tensor) -> "_Going":
        """Those at the indices `left`."""
        told: Mapping[str, Any] = {each.name: getattr(self, each.name)[left] for each in fields(self)
                                   if each.name != "part"}
        return replace(self, part=self.part.pick(left), **told)

    def taking_in(self, value: Values, gradient: Tensor, first: bool) -> "_Going":
        """With loss and gradient where the images stand. A loss that is not a number is neither a rise nor best."""
        better = value > self.best_value
        pixels = an_image(better, gradient)
        best_value = torch.where(better, value, self.best_value)
        return replace(self, value=value, gradient=gradient, best_value=best_value,
                       best=torch.where(pixels, self.delta, self.best),
                       best_gradient=torch.where(pixels, gradient, self.best_gradient),
                       best_then=best_value if first else self.best_then,
                       rises=self.rises if first else self.rises + (value > self.value).long())

    def checked(self, taken: int) -> "_Going":
        """A checkpoint after so many steps since the last: where either condition holds, half the step, from x_max.

        Condition 1: too few of the steps raised the loss. Condition 2: the last checkpoint left the step as it
        was, and f_max has not risen since.
        """
        halved = (self.rises < _RISING * taken) | (~self.halved & (self.best_value == self.best_then))
        pixels = an_image(halved, self.delta)
        return replace(self, halved=halved, step=torch.where(halved, self.step / 2, self.step),
                       delta=torch.where(pixels, self.best, self.delta),
                       gradient=torch.where(pixels, self.best_gradient, self.gradient),
                       best_then=self.best_value, rises=torch.zeros_like(self.rises))

    def moved(self, threat: Linf, forward: float) -> "_Going":
        """x(k + 1) = P(x(k) + alpha (z - x(k)) + (1 - alpha) (x(k) - x(k - 1))), where z is the projected sign step
        of length eta and alpha is `forward`."""
        ahead = threat.project(self.part, threat.climb(self.part, self.delta, self.gradient, 1.0, self.step),
                               self.size)
        moved = self.delta + forward * (ahead - self.delta) + (1 - forward) * (self.delta - self.before)
        return replace(self, delta=threat.project(self.part, moved, self.size), before=self.delta)


def checkpoints(steps: int) -> frozenset[int]:
    """The steps w_j = ceil(p_j steps) after which the step may be halved: p_1 = 0.22, then
    p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06), counted in whole percent so that no rounding moves one."""
    first, less, least = _INTERVALS
    lengths = (max(first - less * place, least) for place in range(100))
    return frozenset(-(-percent * steps // 100) for percent in takewhile(lambda at: at <= 100, accumulate(lengths)))
