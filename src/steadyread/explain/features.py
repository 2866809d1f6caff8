"""How much noise changes each feature of a layer, on a scale on which features can be ranked ([B] Fig. 9)."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steadyread.classifier import Classifier
from steadyread.explain.layers import Layer, values
from steadyread.types import Images

MEASURE = ("root mean square of what the noise changes in a feature's values on an image, as a share of the "
           "feature's own spread (its standard deviation over all voxels of all images, clean and noisy alike): 0 "
           "where nothing changes, 1.4 where clean and noisy values have nothing in common; none for a constant "
           "feature")
_AT_ONCE = 64      # images whose features are held at one time
_CONSTANT = 1e-6   # of the largest feature's spread: a feature below it varies by rounding only


def feature_change(classifier: Classifier, clean: Images, noisy: Images, layer: Layer) -> Float[Tensor, "n k"]:
    """How much each of k features changes between the clean and the noisy image; NaN for one that is constant.

    sqrt(mean (noisy - clean)^2) over the image, divided by the feature's standard deviation over all voxels of all
    images, both sides pooled. The spread belongs to the feature and not to the image, so that an image on which it
    is all but silent does not blow its change up; and both sides make it, so that a feature that fires under noise
    only is ranked high rather than divided by nothing. Two unrelated sides of one spread give the root of 2.
    """
    squares, sums, moments = [], [], []
    for one, other in _pairs(classifier, clean, noisy, layer):
        squares.append((other - one).square().mean(2))
        sums.append((one.mean(2) + other.mean(2)) / 2)
        moments.append((one.square().mean(2) + other.square().mean(2)) / 2)
    spread = (torch.cat(moments).mean(0) - torch.cat(sums).mean(0).square()).clamp(min=0).sqrt()
    lively = spread > _CONSTANT * spread.max()
    change = torch.cat(squares).sqrt() / spread
    return torch.where(lively, change, torch.nan).float()


def ranked(change: Float[Tensor, "n k"]) -> Int[Tensor, "k"]:
    """The features from the most changed down, by the median over images; constant ones last."""
    medians = torch.nan_to_num(change.nanmedian(0).values, nan=-torch.inf)
    return medians.argsort(descending=True, stable=True)


def _pairs(classifier: Classifier, clean: Images, noisy: Images, layer: Layer) -> Iterator[tuple[Tensor, Tensor]]:
    """The features of some images at a time, clean and noisy, each (n, k, voxels), in float64."""
    for one, other in zip(torch.split(clean, _AT_ONCE), torch.split(noisy, _AT_ONCE), strict=True):
        made = values(classifier, torch.cat([one, other]), layer).flatten(2).double()
        yield made[:len(one)], made[len(one):]
