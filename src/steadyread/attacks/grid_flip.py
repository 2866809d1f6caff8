"""The first size of a grid at which an attack of stated sizes flips an image: [A]'s sensitivity."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from steadyread.attacks.recipe import in_chunks
from steadyread.attacks.search import Search, climb
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.threats import Linf
from steadyread.types import Batch, Images, Labels, Logits, Values


@dataclass(frozen=True, eq=False)
class FirstSize:
    """One value an image: `size` is the first of the grid at which it flipped, inf where it did at none, 0 where it is
    flipped to begin with. `images` are flipped ones; where none was found, those of the lowest margin at the last size.
    `forwards` and `backwards` are of all sizes tried."""

    size: Values
    images: Images
    margin: Values
    logits: Logits
    forwards: Labels
    backwards: Labels

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records."""
        return {"found_size": self.size, "flips": torch.isfinite(self.size).long(),
                "trials": torch.ones_like(self.forwards), "logits": self.logits, "margin": self.margin,
                "forwards": self.forwards, "backwards": self.backwards}


@dataclass(frozen=True)
class GridFlip:
    """The sizes of a grid (native units), ascending, and how hard each is tried. An image leaves at its first."""

    sizes: tuple[float, ...]
    search: Search
    name: str = "grid_flip"

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) <= 0 or list(self.sizes) != sorted(set(self.sizes)):
            raise UsageError("a grid of sizes must have one at least, above 0, each once and ascending; got "
                             f"{', '.join(f'{size:g}' for size in self.sizes) or 'none'}")

    @property
    def gradients(self) -> int:
        """How many an image takes, at most: what one takes that flips at no size."""
        return len(self.sizes) * self.search.starts * self.search.steps

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> FirstSize:
        def of_chunk(part: Batch, lost: Labels) -> FirstSize:
            return _first_size(self, classifier, part, lost, seed)

        return FirstSize(**in_chunks(of_chunk, batch, reference))


def _first_size(grid: GridFlip, classifier: Classifier, batch: Batch, reference: Labels, seed: int) -> FirstSize:
    everyone = torch.arange(len(batch), device=batch.images.device)
    found = _tried(grid, classifier, batch, reference, seed, 0)
    left = everyone[torch.isinf(found.size)]
    for at in range(1, len(grid.sizes)):
        if not len(left):
            break
        more = _tried(grid, classifier, batch.pick(left), reference[left], seed, at)
        for name in ("size", "images", "margin", "logits"):
            getattr(found, name)[left] = getattr(more, name)
        found.forwards[left] += more.forwards
        found.backwards[left] += more.backwards
        left = left[torch.isinf(more.size)]
    return found


def _tried(grid: GridFlip, classifier: Classifier, batch: Batch, reference: Labels, seed: int, at: int) -> FirstSize:
    """One size of the grid, from starts of its own; an image that is flipped to begin with is looked at once."""
    size = torch.full((len(batch),), grid.sizes[at], dtype=torch.float64, device=batch.images.device)
    out = climb(classifier, batch, reference, Linf(0.0), grid.search, size.float(), seed + at)
    first = torch.where(out.flipped, torch.where(out.forwards > 1, size, 0.0), torch.inf)
    return FirstSize(first, out.images, out.margin, out.logits, out.forwards, out.backwards)
