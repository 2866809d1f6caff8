"""What every threat can do. A threat says which changes are allowed; a search says how hard they are tried."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeVar

from torch import Tensor

from steadyread.registry import THREATS, Axis
from steadyread.types import Batch, Images, Values

C = TypeVar("C", bound="type[Threat]")


def threat(cls: C) -> C:
    """Registers a class of threats with the axis that it states: `title`, `unit`, `stronger`."""
    THREATS.add(Axis(cls.__name__, cls.title or cls.__name__, cls.unit, cls.stronger))
    return cls


class Threat(ABC):
    """A set of allowed changes that grows with `size`, one value an image, in native units.

    `delta` is what is searched; `render` makes images of it. The search climbs the gradient in `delta`.
    `unit` and `stronger` say how the levels of its axis go (larger sizes, smaller doses).
    `holds_zero`: no change at all is inside the set, so an image that is flipped to begin with is flipped.
    """

    holds_zero: ClassVar[bool] = True
    title: ClassVar[str] = ""
    unit: ClassVar[str | None] = None   # of an attack's size in the records; that of the images where None
    stronger: ClassVar[Literal["larger", "smaller"]] = "larger"

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
