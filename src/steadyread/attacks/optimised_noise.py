"""Optimised CT noise: the worst noise of a dose that a search finds, each image on its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from steadyread.attacks.headlines import of_flips
from steadyread.attacks.improbability import deviations_towards_flip
from steadyread.attacks.paper_noise import PaperCTNoise
from steadyread.attacks.search import Attacked, Search, climb
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels, Values

Strength = Literal["rings", "plausible", "pooled", "paper", "paper_hu"]
# Steps as shares of the noise, from the first to the last, on a cosine: the noise first all but replaced by what
# gains most on a straight line, then refined. Chosen among some 60 settings on validation nodules of
# two networks: momentum, averaged gradients, Euclidean and whitened directions were no better, nor several starts.
_STEPS = (4.0, 0.05)
GRADIENTS = 20
ITERATIONS = 10                             # of [B], section 2.6
OF_PAPER = ("pooled", "paper", "paper_hu")  # [B]'s Algorithm 1


@dataclass(frozen=True)
class OptimisedCTNoise:
    """Climbs minus the margin over the noises of one dose: a threat and a search, called as an attack.

    `threat.projection` says what the noise keeps: `slice` (the name `rings_ct_noise`) or `plausible`.
    """

    threat: CTNoise
    search: Search

    def __post_init__(self) -> None:
        if self.threat.projection not in ("slice", "plausible"):
            raise UsageError(f"each image's own noise has the projection 'slice' or 'plausible'; got "
                             f"'{self.threat.projection}', which is paper [B]'s (PaperCTNoise)")

    @property
    def name(self) -> str:
        """As it stands in the records."""
        return "plausible_ct_noise" if self.threat.projection == "plausible" else "rings_ct_noise"

    @property
    def size(self) -> float:
        """The dose, in mAs."""
        return self.threat.mas

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> "WorstNoise":
        size = self.threat.size_of(self.threat.mas, batch)
        found = climb(classifier, batch, reference, self.threat, self.search, size, seed)
        noise = found.images - batch.images
        return WorstNoise(found, {**self.threat.likeness(batch, noise, size), "deviations": deviations_towards_flip(
            classifier, batch, reference, self.threat, (noise, size))})


@dataclass(frozen=True, eq=False, repr=False)
class WorstNoise:
    """What a search found, and the figures of the noise of the lowest margin."""

    found: Attacked
    likely: Mapping[str, Values]

    @property
    def images(self) -> Images:
        """Those of the lowest margin met."""
        return self.found.images

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records."""
        return {**self.found.columns(), "found_size": torch.full_like(self.found.margin, torch.nan), **self.likely}

    def __repr__(self) -> str:
        return of_flips(self, self.found.flipped)


def optimised_ct_noise(noise: CTNoise, strength: Strength = "rings", *, starts: int = 1, steps: int = GRADIENTS,
                       iterations: int = ITERATIONS, window_hu: tuple[float, float] = (-1000.0, 400.0)
                       ) -> OptimisedCTNoise | PaperCTNoise:
    """Optimised CT noise at the dose `noise.mas`, after paper [B], section 2.2.2, doi:10.1088/1361-6560/abc812.

    Args:
        noise: spectrum, dose and mode; its `projection` is set by `strength`.
        strength: `rings` climbs the margin, each image on its own, at exactly the expected power of every ring of
            every slice: the worst that it finds at the power that noise of that spectrum has. `plausible` besides
            keeps to what random draws look like. `paper`, `paper_hu` and `pooled` are [B]'s Algorithm 1
            (`PaperCTNoise`).
        starts: random draws to start from, each searched until its own flip; `trials` in the records.
        steps: gradients a start, for `rings` and `plausible`.
        iterations: gradients a start, for [B]'s.
        window_hu: what the network's input is clipped to, by which [B]'s step of 1 is scaled.
    """
    if strength not in get_args(Strength):
        raise UsageError(f"strength is one of {', '.join(get_args(Strength))}; got '{strength}'")
    if strength in OF_PAPER:
        pooled = replace(noise, projection="pooled" if strength == "pooled" else "paper")
        return PaperCTNoise(pooled, "HU" if strength == "paper_hu" else "window", starts, iterations,
                            window_hu=window_hu)
    search = Search(steps, _STEPS[0], starts, random_start=True, every_start=True, last_step=_STEPS[1])
    return OptimisedCTNoise(replace(noise, projection="slice" if strength == "rings" else "plausible"), search)


def step_lengths(steps: int) -> tuple[float, ...]:
    """The lengths of so many steps of our search, as shares of the noise."""
    search = Search(steps, _STEPS[0], last_step=_STEPS[1])
    return tuple(search.length(step) for step in range(steps))
