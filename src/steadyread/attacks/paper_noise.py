"""Paper [B]'s optimised CT noise, Algorithm 1 as printed, faults included; see `PooledSet` for its projection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from steadyread.attacks.headlines import of_flips
from steadyread.attacks.improbability import deviations_towards_flip
from steadyread.attacks.search import Attacked, Found
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels, Logits, Values

Unit = Literal["window", "HU"]
_AT_ONCE = {"cpu": 64, "cuda": 2048}         # noisy images that go through the network together


@dataclass(frozen=True)
class PaperCTNoise:
    """[B]'s Algorithm 1 (doi:10.1088/1361-6560/abc812) on the images of one block together.

    Gradient ascent on the squared difference of the sigmoid output from the clean one (eq. 2), whose gradient
    vanishes where the network is sure and which rewards moving either way; steps of `step` (delta) times two times
    the difference times the output's gradient (eq. 3); after each the projection of eq. 5; until the noise of the
    block changes by `tolerance` of its norm or less, or `iterations` are done. Flips are counted on each start's
    last noise, not on the way. Starts are random draws.

    The paper does not say in which unit delta = 1 is: `window` takes it for an input scaled so that `window_hu`
    is 0 to 1, `HU` for one in HU (a factor of the window's width squared, 1.96 million, in the step).

    The projection pools all images that come in one call (the assessment's blocks of cases): here alone a result
    depends on who shares the block, as in the paper. For more than two classes the squared differences of all
    their probabilities are summed, a choice of ours.
    """

    threat: CTNoise
    unit_of_step: Unit = "window"
    starts: int = 50
    iterations: int = 10
    step: float = 1.0
    tolerance: float = 1e-3
    window_hu: tuple[float, float] = (-1000.0, 400.0)

    def __post_init__(self) -> None:
        if self.threat.projection not in ("paper", "pooled"):
            raise UsageError(f"paper [B]'s noise has the projection 'paper' or 'pooled'; got "
                             f"'{self.threat.projection}'")
        if self.unit_of_step not in get_args(Unit) or not self.window_hu[0] < self.window_hu[1]:
            raise UsageError(f"the step's unit is 'window' or 'HU' and window_hu is (low, high); got "
                             f"'{self.unit_of_step}' and {self.window_hu}")
        if self.starts < 1 or self.iterations < 0 or self.step < 0 or self.tolerance < 0:
            raise UsageError("starts must be at least 1, and iterations, step and tolerance at least 0; got "
                             f"{self.starts}, {self.iterations}, {self.step:g} and {self.tolerance:g}")

    @property
    def name(self) -> str:
        """As it stands in the records."""
        if self.threat.projection == "pooled":
            return "pooled_ct_noise"
        return "paper_ct_noise" if self.unit_of_step == "window" else "paper_hu_ct_noise"

    @property
    def size(self) -> float:
        """The dose, in mAs."""
        return self.threat.mas

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> "PaperNoise":
        size = self.threat.size_of(self.threat.mas, batch)
        found = Found(batch, reference)
        several = max(1, _at_once(batch.images) // len(batch))
        with classifier.frozen():
            with torch.no_grad():
                clean = _in_pieces(classifier, batch.images)
            ascent = _Ascent(self, classifier, batch, size, _outputs(classifier, clean))
            for first in range(0, self.starts, several):
                draws = range(first, min(first + several, self.starts))
                noises = ascent.climbed(torch.stack([self.threat.start(batch, size, seed, draw) for draw in draws]))
                for noise in noises:
                    images = batch.images + noise
                    with torch.no_grad():
                        logits = _in_pieces(classifier, images)
                    found.flips += found.see(found.everyone, images, logits, margin_of(logits, reference))
        found.trials += self.starts
        found.backwards += ascent.gradients
        found.forwards += ascent.gradients + 1
        attacked = found.attacked()
        noise = attacked.images - batch.images
        return PaperNoise(attacked, {**self.threat.likeness(batch, noise, size),
                                     "deviations": deviations_towards_flip(classifier, batch, reference, self.threat,
                                                                           (noise, size))})


@dataclass(frozen=True, eq=False, repr=False)
class PaperNoise:
    """What all starts came to; `images` are those of the lowest margin among the last noises of the starts.

    `likely` has the figures of that noise.
    """

    found: Attacked
    likely: Mapping[str, Values]

    @property
    def images(self) -> Images:
        """Those of the lowest margin."""
        return self.found.images

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records."""
        return {**self.found.columns(), "found_size": torch.full_like(self.found.margin, torch.nan), **self.likely}

    def __repr__(self) -> str:
        return of_flips(self, self.found.flipped)


class _Ascent:
    """Algorithm 1 on one block, some starts at a time; counts the gradients that each image took."""

    def __init__(self, attack: PaperCTNoise, classifier: Classifier, batch: Batch, size: Values, clean: Tensor
                 ) -> None:
        self.attack, self.classifier, self.batch, self.size, self.clean = attack, classifier, batch, size, clean
        low, high = attack.window_hu
        self.step = attack.step * ((high - low) ** 2 if attack.unit_of_step == "window" else 1.0)
        self.gradients = 0

    def climbed(self, noise: Float[Tensor, "s n 1 *space"]) -> Float[Tensor, "s n 1 *space"]:
        """The last noise of each start."""
        going = torch.arange(len(noise), device=noise.device)
        for _ in range(self.attack.iterations):
            before = noise[going]
            after = self._projected(before + self.step * self._gradient(before))
            noise[going] = after
            change = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
            self.gradients += len(going)
            going = going[change > self.attack.tolerance]
            if not len(going):
                break
        return noise

    def _projected(self, noise: Tensor) -> Tensor:
        for places, allowed in self.attack.threat.allowed(self.batch):
            noise[:, places] = allowed.nearest(noise[:, places], self.size[places])
        return noise

    def _gradient(self, noise: Tensor) -> Tensor:
        """Of the squared difference of the output, which is twice the difference times the output's gradient."""
        starts, pieces = len(noise), []
        images, clean = self.batch.images.repeat(starts, *[1] * (noise.ndim - 2)), self.clean.repeat(starts, 1)
        for image, start, output in zip(*(torch.split(whole, _at_once(images)) for whole in (
                images, noise.flatten(0, 1), clean)), strict=True):
            delta = start.detach().requires_grad_(True)
            difference = _outputs(self.classifier, self.classifier.logits(image + delta)) - output
            pieces.append(self.classifier.gradient(difference.square().sum(), delta))
        return torch.cat(pieces).reshape(noise.shape)


def _outputs(classifier: Classifier, logits: Logits) -> Float[Tensor, "n outputs"]:
    """The network's output D: the probability of class 1 of two, or of every class of more."""
    probabilities = classifier.probabilities(logits)
    return probabilities[:, 1:] if logits.shape[1] == 2 else probabilities


def _in_pieces(classifier: Classifier, images: Images) -> Logits:
    return torch.cat([classifier.logits(part) for part in torch.split(images, _at_once(images))])


def _at_once(images: Images) -> int:
    return _AT_ONCE.get(images.device.type, _AT_ONCE["cpu"])
