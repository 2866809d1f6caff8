"""Networks through which no gradient comes: rounded inputs, trees, plain functions. They can only be asked.

What is found so is an upper bound, and a weak one: a search without gradients needs many more passes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steadyread.attacks.apgd import AutoPGD
from steadyread.attacks.grid_flip import GridFlip
from steadyread.attacks.recipe import Recipe
from steadyread.attacks.search import Attacked, Found, Search
from steadyread.attacks.square import Square, Tries, squares
from steadyread.classifier import Classifier, margin_of
from steadyread.threats import Linf
from steadyread.types import Batch, Labels, Values

_ROUNDS, _QUERIES, _CUTS = 8, 150, 6         # radii, windows at each, passes that cut a flip down
QUERIES = _ROUNDS * (1 + _QUERIES + _CUTS)   # forward passes per image, at most, where nothing else is stated
# Of a stated budget: radii at most, after how many the windows become more, and how much lower than a flip one is tried
# again.
_MOST_RADII, _MORE, _LOWER = 64, 6, 1.2
_DRAWS = 50                                  # of random changes, in place of an attack that climbs
_CLOSE = 1.05                                # a radius that failed and a size that flips, nearer, are done


def reached(classifier: Classifier, images: Tensor) -> bool:
    """Whether a gradient reaches any of the images that is not 0 in every pixel."""
    with classifier.frozen():
        images = images.detach().clone().requires_grad_(True)
        logits = classifier.logits(images)
        if not logits.requires_grad:
            return False
        highest = logits.topk(2, 1).values
        gradient = classifier.gradient((highest[:, 0] - highest[:, 1]).sum(), images)
    return bool((gradient != 0).any())


def without_gradients(attacks: Sequence[Any]) -> list[Any]:
    """The attacks with those that climb a gradient replaced, size by size, by Square and by random changes; a grid of
    sizes is left out, which the smallest flip stands for."""
    kept: list[Any] = []
    for attack in attacks:
        kept += list(_replaced(attack))
    names = [(getattr(attack, "name", ""), getattr(attack, "size", None)) for attack in kept]
    return [attack for place, attack in enumerate(kept)
            if not isinstance(attack, Square | Recipe) or names[place] not in names[:place]]


@dataclass(frozen=True)
class Budget:
    """How a search without gradients spends its forward passes per image: `first` windows at the largest radius, then
    `windows` at each of the `radii` that fall from it, beside a look at the start of each and the passes that cut a
    flip down."""

    queries: int = QUERIES
    first: int = _QUERIES
    windows: int = _QUERIES
    radii: int = _ROUNDS
    stated: bool = False

    def at(self, number: int) -> int:
        """How many windows are tried at the radius of that number: of a stated budget more at every sixth."""
        return self.first if number == 0 else self.windows * (1 + number // _MORE if self.stated else 1)

    @classmethod
    def of(cls, queries: int) -> "Budget":
        """Half of a stated number of passes for the first flip, without which the rest is nothing; what that leaves
        for as many radii as it is enough for."""
        return cls(queries, max(1, queries // 2 - 1 - _CUTS), max(4, queries // 24), _MOST_RADII, True)


def smallest_by_squares(classifier: Classifier, batch: Batch, reference: Labels, reach: Values, surely: Values,
                        seed: int, budget: Budget = Budget()) -> Attacked:
    """The smallest flips found by Square at radii that fall from `reach` (n,), each image's on its own.

    What flips has a margin below `surely` (n,), less than rounding makes of a tie: a network of rounded inputs has
    many, and one that is followed down loses the flips beyond it.

    A flip is cut down to its smallest radius that flips still, and the next radius lies halfway (by ratio) between
    that and the largest that failed. At most as many forward passes per image as the budget has; one
    that Square does not flip at `reach` leaves after the first radius.
    """
    best = _Smallest(classifier, batch, reference, surely)
    low, epsilon = torch.zeros_like(reach), reach.clone()
    active = torch.ones_like(best.found.flipped)
    for number in range(budget.radii):
        places = active.nonzero()[:, 0]
        if not len(places):
            break
        part, lost = batch.pick(places), reference[places]
        windows = budget.at(number)
        out = squares(classifier, part, lost, epsilon[places],
                      Tries(windows, seed=seed + number, level=True, surely=surely[places]))
        best.found.forwards[places] += out.forwards
        best.take(places[out.flipped], out.images[out.flipped], out.logits[out.flipped])
        best.cut(places[out.flipped], low)
        low[places[~out.flipped]] = epsilon[places[~out.flipped]]
        epsilon = torch.where(low > 0, (low * best.size).sqrt(), best.size / 2)
        done = best.size <= _CLOSE * low
        if budget.stated:     # with more windows a radius that failed may not fail again
            low[done], epsilon[done] = 0.0, best.size[done] / _LOWER
            done = best.found.forwards + 1 + budget.at(number + 1) + _CUTS > budget.queries
        active &= torch.isfinite(best.size) & ~done
    return best.attacked()


class _Smallest:
    """The smallest flip of each image so far."""

    def __init__(self, classifier: Classifier, batch: Batch, reference: Labels, surely: Values) -> None:
        self.classifier, self.batch, self.reference, self.surely = classifier, batch, reference, surely
        self.found = Found(batch, reference)
        self.size = torch.full((len(batch),), torch.inf, device=batch.images.device)

    def take(self, places: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        """Takes in one change of the images at `places`; returns which of them it flips."""
        if self.found.logits is None:
            self.found.logits = torch.full((len(self.batch), logits.shape[1]), torch.nan, device=logits.device)
        margin = margin_of(logits, self.reference[places])
        size = (images - self.batch.images[places]).abs().flatten(1).amax(1)
        flips = margin < self.surely[places]
        better = flips & (size < self.size[places])
        rows = places[better]
        self.size[rows], self.found.margin[rows] = size[better], margin[better]
        self.found.images[rows], self.found.logits[rows] = images[better], logits[better]
        self.found.flipped[rows] = True
        return flips

    def cut(self, places: Tensor, low: Values) -> None:
        """Bisects the radius of the images' best flips, down to `low` at most."""
        if not len(places):
            return
        part = self.batch.pick(places)
        delta = self.found.images[places] - part.images
        under, over = low[places], self.size[places]
        threat = Linf(0.0)
        with self.classifier.frozen(), torch.no_grad():
            for _ in range(_CUTS):
                middle = (under + over) / 2
                images = threat.render(part, threat.project(part, delta, middle))
                flips = self.take(places, images, self.classifier.logits(images))
                under, over = torch.where(flips, under, middle), torch.where(flips, middle, over)
        self.found.forwards[places] += _CUTS

    def attacked(self) -> Attacked:
        """What was found, as attacks return it."""
        if self.found.logits is None:
            with self.classifier.frozen(), torch.no_grad():
                self.found.logits = self.classifier.logits(self.batch.images)
        self.found.trials += 1
        self.found.flips += self.found.flipped
        return self.found.attacked()


def _replaced(attack: Callable[..., Any]) -> Iterator[Any]:
    if isinstance(attack, AutoPGD) or (isinstance(attack, Recipe) and attack.search.steps > 0):
        yield Square(attack.size)
        yield Recipe("random", Linf(attack.size), Search(0, 0.0, starts=_DRAWS, random_start=True))
    elif not isinstance(attack, GridFlip):
        yield attack
