"""Which sizes of attack are worth training with: between those that flip hardly any image and nearly all."""

import math
from dataclasses import dataclass

import numpy as np

from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, collate, limit
from steadyread.classifier import Classifier
from steadyread.errors import TrainingFailed
from steadyread.units import show_size

_FEWEST = 10
_LOW, _HIGH = 0.1, 0.9   # shares of the images that flip


@dataclass(frozen=True)
class Useful:
    """Sizes in native units at which a tenth, half and nine tenths of so many images flip; `why` says it.

    `high` is inf where more than a tenth could not be flipped at any size.
    """

    low: float
    median: float
    high: float
    images: int
    why: str


def useful_epsilons(classifier: Classifier, training: Cases, *, seed: int, images: int = 200) -> Useful:
    """The sizes of attack that training can learn from, by the smallest flips of training images read right.

    Below `low` a step of training sees almost only images that the network reads already; above `high` almost
    every image is lost. `median`, where every second image is still read right, is the size to train with. The
    images are drawn by class; validation and test images play no part.

    Raises:
        TrainingFailed: fewer than ten of the images are read right, or half of those cannot be flipped.
    """
    drawn = limit(training, max(images, len(training.classes)), seed)
    batch, labels = collate([drawn[place] for place in range(len(drawn))], drawn.bounds)
    right = classifier.examine(classifier.batch(batch).images).argmax(1).cpu() == labels
    many = int(right.sum())
    if many < _FEWEST:
        raise TrainingFailed(f"{training.name}: of {len(labels)} training images the network reads {many} right, "
                             f"too few to find a size of attack by (at least {_FEWEST}): state epsilon, or train "
                             "longer")
    places = right.nonzero()[:, 0]
    sizes = np.sort(smallest_flip(classifier, batch.pick(places), labels[places], seed).size.cpu().double().numpy())
    low, median, high = (float(sizes[math.ceil(share * many) - 1]) for share in (_LOW, 0.5, _HIGH))
    if not math.isfinite(median):
        raise TrainingFailed(f"{training.name}: more than half of {many} training images could not be flipped at "
                             "any size, so none is found to train with: state epsilon")
    shown = {name: show_size(size, drawn.bounds) if math.isfinite(size) else "any size"
             for name, size in (("low", low), ("median", median), ("high", high))}
    why = (f"{shown['median']} flips half of {many} training images that the network reads right (drawn by class); "
           f"a tenth flip at {shown['low']}, below which training sees almost only images that are read right "
           f"already, and nine tenths at {shown['high']}")
    return Useful(low, median, high, many, why)
