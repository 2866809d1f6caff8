"""What every threat can do. A threat says which changes are allowed; a search says how hard they are tried."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from steadyread.types import Batch, Images, Values


class Threat(ABC):
    """A set of allowed changes that grows with `size`, one value an image, in native units.

    `delta` is what is searched; `render` makes images of it. The search climbs the gradient in `delta`.
    `holds_zero`: no change at all is inside the set, so an image that is flipped to begin with is flipped.
    """

    holds_zero: ClassVar[bool] = True
    unit: ClassVar[str | None] = None   # of an attack's size in the records; that of the images where None

    @abstractmethod
    def start(self, batch: Batch, size: Values, seed: int, draw: int) -> Tensor:
        """A random allowed delta for each image, from the image's own stream (seed, key, draw)."""

    @abstractmethod
    def climb(self, batch: Batch, delta: Tensor, gradient: Tensor, step: float, size: Values) -> Tensor:
        """`delta` moved along `gradient` by `step`, a share of `size`. Not projected."""

    @abstractmethod
    def project(self, batch: Batch, delta: Tensor, size: Values) -> Tensor:
        """The nearest allowed delta of at most `size`."""

    @abstractmethod
    def render(self, batch: Batch, delta: Tensor) -> Images:
        """The images that `delta` makes, differentiable in `delta`."""
