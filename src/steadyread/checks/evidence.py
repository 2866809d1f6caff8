"""What the rules look at after the search."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from steadyread.attacks.recipe import Recipe
from steadyread.attacks.search import Search
from steadyread.classifier import Classifier
from steadyread.findings import Finding, Severity
from steadyread.metrics.intervals import exceeds
from steadyread.threats import Linf
from steadyread.types import Batch, Labels, Values
from steadyread.units import show_size

ALLOWED = 0.02      # share of images on which a search may fail: more only where the interval lies above it


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks look at: a sample of decided images, and the smallest flips found for them."""

    classifier: Classifier
    batch: Batch
    reference: Labels
    found: Values
    seed: int

    @property
    def typical(self) -> float:
        """The median of the found sizes; a twentieth of the range where most were never flipped."""
        middle = float(self.found.median()) if len(self.found) else float("inf")
        usual = self.classifier.valid.range / 20
        return middle if 0 < middle < self.classifier.valid.range else usual


def severity_of(count: int, images: int, allowed: Sequence[tuple[Severity, float]]) -> Severity:
    """The first severity whose allowed share so many of the images exceed; a note for any fewer, "ok" for none.

    One image of twenty is five per cent, and says little of a share: `exceeds` goes by the interval.
    """
    beyond = (severity for severity, share in allowed if exceeds(count, images, share))
    return next(beyond, "note" if count else "ok")


def climbed(evidence: Evidence, epsilon: float, search: Search) -> Tensor:
    """Where a search at `epsilon` (native units) flips, (n,)."""
    recipe = Recipe("check", Linf(epsilon), search)
    return recipe(evidence.classifier, evidence.batch, evidence.reference, evidence.seed).flipped


def at_least_as_strong(evidence: Evidence, name: str, flipped: Tensor, weaker: str, epsilon: float) -> Finding:
    """Whether the found sizes lie at or below what `weaker`, which flips these images at `epsilon`, shows."""
    missed = flipped & ~(evidence.found <= epsilon)
    count = int(missed.sum())
    rows = tuple(evidence.batch.keys[place] for place in missed.nonzero()[:, 0].tolist())
    return Finding(name, severity_of(count, len(flipped), (("error", ALLOWED),)),
                   f"{weaker} at {show_size(epsilon, evidence.classifier.valid)} flips "
                   f"{int(flipped.sum())} of {len(flipped)} images; the smallest-flip search had "
                   f"missed {count} at that size", count / len(flipped), rows)
