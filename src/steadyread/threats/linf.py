"""Every pixel may change by at most epsilon, and stays inside the bounds."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steadyread.errors import UsageError
from steadyread.threats.threat import Threat, threat
from steadyread.types import Batch, Images, Values, uniform_noise
from steadyread.units import as_number


@threat
@dataclass(frozen=True)
class Linf(Threat):
    """The set {x + delta: |delta|_inf <= epsilon, low <= x + delta <= high}, epsilon in native units.

    `delta` is the change itself. arXiv:1412.6572 and arXiv:1706.06083.
    """

    epsilon: float
    title: ClassVar[str] = "any pixels"

    def __post_init__(self) -> None:
        stated = self.epsilon
        object.__setattr__(self, "epsilon", as_number(self.epsilon))
        if not self.epsilon >= 0:
            raise UsageError(f"epsilon must be a number of at least 0, in native units; got {stated!r}")

    def start(self, batch: Batch, size: Values, seed: int, draw: int) -> Tensor:
        """Uniform in the ball, then cut to the bounds."""
        noise = uniform_noise(batch.keys, batch.images.shape[1:], seed, draw).to(batch.images)
        return self.project(batch, noise * an_image(size, noise), size)

    def climb(self, batch: Batch, delta: Tensor, gradient: Tensor, step: float, size: Values) -> Tensor:
        """A sign step of length step * size: the steepest ascent in this norm. Where the gradient is 0 a pixel
        stays as it is."""
        return torch.addcmul(delta, gradient.sign(), step * an_image(size, delta))

    def project(self, batch: Batch, delta: Tensor, size: Values) -> Tensor:
        """One clamp to the intersection of ball and bounds, which is a box."""
        reach = an_image(size, delta)
        low = (batch.bounds.low - batch.images).clamp_(max=0)
        high = (batch.bounds.high - batch.images).clamp_(min=0)
        return torch.clamp(delta, torch.maximum(low, -reach, out=low), torch.minimum(high, reach, out=high))

    def render(self, batch: Batch, delta: Tensor) -> Images:
        """x + delta. Rounding may leave the bounds by one unit in the last place, which is cut off in the
        value and not in the gradient, so that a pixel at its bound can still come back."""
        images = batch.images + delta
        with torch.no_grad():
            images.clamp_(batch.bounds.low, batch.bounds.high)
        return images


def an_image(values: Values, like: Tensor) -> Tensor:
    """One value an image, shaped to multiply `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
