"""What counts as a success, for every library alike: a fresh look at the images that it returned."""

from collections.abc import Callable

import torch
from torch import Tensor

SLACK = 1e-5   # of the range: float32 rounds x + epsilon - x


def flipped_within(network: Callable[[Tensor], Tensor], images: Tensor, attacked: Tensor, labels: Tensor,
                   epsilon: float, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Which images are read as another class after an attack, (n,), whatever the library itself claimed.

    The attacked images are clipped into the bounds; where one then lies further than epsilon from its original,
    or is not finite, or the network's logits (n, classes) are not, it is no success.
    """
    low, high = bounds
    held = attacked.detach().to(images).clamp(low, high)
    # the difference in double, so that what is judged is the images' rounding and not its own
    far = (held.double() - images.double()).flatten(1).abs().amax(1)
    within = far <= epsilon + SLACK * (high - low)   # False where not a number
    with torch.no_grad():
        logits = network(held)
    return within & torch.isfinite(logits).all(1) & (logits.argmax(1) != labels)
