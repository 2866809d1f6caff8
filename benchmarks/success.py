"""The one judge of every library: a fresh look at the images that it returned."""

from collections.abc import Callable

import torch
from torch import Tensor

SLACK = 1e-5   # of the range: float32 rounds x + epsilon - x
Reader = Callable[[Tensor], Tensor]   # images to logits (n, classes)


def flip_sizes(logits_of: Reader, clean: Tensor, found: Tensor, labels: Tensor,
               bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """The largest absolute change of each image, (n,) in float64; inf where the network still says its class.

    What is returned is clipped to the bounds and read once more, whatever the library claimed. An image or a logit
    that is not finite is no flip.
    """
    held = found.detach().to(clean).clamp(*bounds)
    with torch.no_grad():
        logits = logits_of(held)
    flipped = torch.isfinite(logits).all(1) & (logits.argmax(1) != labels)
    # the difference in double, so that what is judged is the images' rounding and not its own
    size = (held.double() - clean.double()).flatten(1).abs().amax(1)
    return torch.where(flipped & torch.isfinite(size), size, torch.inf)


def flipped_within(logits_of: Reader, clean: Tensor, found: Tensor, labels: Tensor, epsilon: float,
                   bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Which images are read as another class by a change of at most epsilon, (n,)."""
    low, high = bounds
    return flip_sizes(logits_of, clean, found, labels, bounds) <= epsilon + SLACK * (high - low)
