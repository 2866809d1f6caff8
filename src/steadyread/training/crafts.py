"""How the images of a training step are attacked within the step, against the network as it is then.

Nothing else is done than the stated forward and backward passes over the attacked images: the last iterate is
taught, not the best one met. The attack reads the network in evaluation mode. So it climbs the loss of the very
network that will read patients' images, without dropout's noise, and each image is attacked for itself and not by
way of its neighbours in a batch statistic; and the running statistics of BatchNorm, which see each taught image
once, do not see the attack's iterates. (arXiv:2010.00467 found this mode to cost less clean accuracy.) Parameters
are frozen meanwhile.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from steadyread.attacks.optimised_noise import step_lengths
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.threats import CTNoise
from steadyread.threats.linf import Linf
from steadyread.threats.threat import Threat
from steadyread.types import Batch, Images, Logits, Values

Climbed = Callable[[Logits], Values]   # of the logits of the attacked images: what the attack makes large, (n,)
# The attacked images of a batch, from what is climbed and a generator on the CPU that all its draws come from.
Craft = Callable[[Classifier, Batch, Climbed, torch.Generator], Images]


@dataclass(frozen=True)
class SignSteps:
    """PGD (arXiv:1706.06083) from one random start: at most `epsilon` (native units) a pixel.

    `step` is a step's length as a share of epsilon. [A] (doi:10.1200/CCI.21.00170) has 7 steps of epsilon / 4
    in its code: seven quarters of epsilon, so that a pixel may fall an eighth short of the far side of the ball.
    """

    epsilon: float
    steps: int = 7
    step: float = 0.25

    def __post_init__(self) -> None:
        for name in ("epsilon", "steps", "step"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} must be above 0; got {value}")

    def __call__(self, classifier: Classifier, batch: Batch, climbed: Climbed, generator: torch.Generator
                 ) -> Images:
        """The images after the last step, inside ball and bounds; `steps` forward and backward passes, no more."""
        threat, size = Linf(self.epsilon), batch.images.new_full((len(batch),), self.epsilon)
        drawn = torch.rand(batch.images.shape, generator=generator) * 2 - 1
        delta = threat.project(batch, drawn.to(batch.images) * self.epsilon, size)
        return _climbed(classifier, (threat, batch, size), delta, (self.step,) * self.steps, climbed)


@dataclass(frozen=True)
class NoiseSteps:
    """CT noise of a dose drawn for each image among `mas`: with 0 `steps` a random draw, else optimised.

    The optimised noise keeps what `noise.projection` says (`slice`: the power of every ring of every slice), so
    that it always has the dose's sigma; its steps are those of `attacks.optimised_noise`, fewer of them.
    """

    noise: CTNoise
    mas: tuple[float, ...]
    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.mas or min(self.mas) <= 0:
            raise UsageError(f"noise in training needs steps of at least 0 and doses above 0; got {self.steps} and "
                             f"{', '.join(f'{mas:g}' for mas in self.mas) or 'no dose'}")

    def __call__(self, classifier: Classifier, batch: Batch, climbed: Climbed, generator: torch.Generator
                 ) -> Images:
        """The images under noise, in HU; `steps` forward and backward passes, no more."""
        which = torch.randint(len(self.mas), (len(batch),), generator=generator)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        # an image that is drawn twice into a batch gets two noises
        own = replace(batch, keys=tuple(f"{place} {key}" for place, key in enumerate(batch.keys)))
        each = torch.stack([self.noise.size_of(mas, own) for mas in self.mas], 1)
        size = each.gather(1, which.to(each.device)[:, None])[:, 0]
        with torch.no_grad():
            delta = self.noise.start(own, size, seed, 0)
            if self.steps:
                delta = self.noise.project(own, delta, size)
        return _climbed(classifier, (self.noise, own, size), delta, step_lengths(self.steps), climbed)


def _climbed(classifier: Classifier, inside: tuple[Threat, Batch, Values], delta: torch.Tensor,
             lengths: tuple[float, ...], climbed: Climbed) -> Images:
    """The images after one step of each length, from `delta`, inside the threat at each image's size."""
    threat, batch, size = inside
    with classifier.frozen():
        for length in lengths:
            delta.requires_grad_(True)
            value = climbed(classifier.logits(threat.render(batch, delta)))
            gradient = classifier.gradient(value.sum(), delta)
            delta = threat.project(batch, threat.climb(batch, delta.detach(), gradient, length, size), size)
    return threat.render(batch, delta.detach())
