"""How far out among the noises of its dose a noise lies, along the direction that the network reacts to most."""

import torch

from steadyread.attacks.slopes import clean_margins
from steadyread.classifier import Classifier
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels, Values

_AT_ONCE = 8   # images whose gradient is held


def deviations_towards_flip(classifier: Classifier, batch: Batch, reference: Labels, noise: CTNoise,
                            found: tuple[Images, Values]) -> Values:
    """The noise's product with the clean margin's gradient, in standard deviations of what it is in random draws.

    CT noise is Gaussian and linear in white noise, so the product has a Gaussian distribution whose variance the
    spectrum tells exactly (`CTNoise.variance_along`): a draw lies `z` or further out with probability Phi(-z), 19 of
    20 draws within 2 either way. It is the furthest of all directions for a network that is linear in the noise; an
    improbable noise may lie elsewhere, so this says how unlikely a noise is at least.

    Args:
        reference: (n,) the class that is to be lost; above 0 is towards that.
        found: the noise (n, 1, *space) in HU, and its size (n,), as `CTNoise.size_of`.

    Returns:
        (n,) float32; NaN where no gradient reaches the image.
    """
    told = []
    for places in torch.split(torch.arange(len(batch)), _AT_ONCE):
        part = batch.pick(places)
        with classifier.frozen():
            _, gradient = clean_margins(classifier, part, reference[places])
        spread = noise.variance_along(part, gradient).sqrt() * found[1][places].double().cpu()
        moved = (gradient.double() * found[0][places]).flatten(1).sum(1).cpu()
        told.append(torch.where(spread > 0, -moved / spread.clamp(min=1e-300), torch.nan))
    return torch.cat(told).to(batch.images)
