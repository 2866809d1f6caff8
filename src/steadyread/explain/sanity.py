"""Whether maps tell of what was learned: with weights drawn anew they must change (arXiv:1810.03292)."""

import copy
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyread.classifier import Classifier, prediction_of
from steadyread.explain.attention import Method, attention
from steadyread.explain.layers import layer_named, weighted_last
from steadyread.metrics.attention_shift import rank_correlation
from steadyread.types import Images, stream

Which = Literal["all layers", "last layer"]
WHICH: tuple[Which, ...] = ("all layers", "last layer")


def randomised(classifier: Classifier, images: Images, which: Which = "all layers", seed: int = 0) -> Classifier:
    """The same network with weights drawn anew, in all its layers or in the last one that has any.

    Weights are normal about 0 with the root mean square of their tensor, so that signals keep their size through
    the layers; biases and the scales of normalisations are shuffled. The classifier itself is left alone.

    Raises:
        InputRefused: the network has no weights.
    """
    made = replace(classifier, module=copy.deepcopy(classifier.module))
    last = weighted_last(made, images)
    chosen: nn.Module = made.module if which == "all layers" else last
    random = stream(seed, which)
    with torch.no_grad():
        for held in chosen.parameters():
            if held.ndim > 1:
                drawn = torch.randn(held.shape, generator=random).to(held) * held.square().mean().sqrt()
                held.copy_(drawn)
            else:
                held.copy_(held[torch.randperm(held.numel(), generator=random).to(held.device)]
                           if held.ndim else held)
    return made


def map_correlation(one: Classifier, other: Classifier, images: Images, method: Method, layer: str | None = None
                    ) -> Float[Tensor, "n"]:
    """Spearman's correlation of two networks' maps of each image, each map being of what its network reads there.

    Of its own read, since a network of two classes with one layer drawn anew has its sign by chance: against the
    other's reference its map would be all or nothing. NaN where a map is zero everywhere.
    """
    found = []
    for each in (one, other):
        read = prediction_of(each.examine(images)).clamp(min=0)
        found.append(attention(each, images, read, layer_named(each, images, layer), method).cpu().numpy())
    return torch.from_numpy(rank_correlation(*found))
