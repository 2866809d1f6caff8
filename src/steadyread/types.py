"""The nouns that pass between the rooms: shapes, a case, a batch, and each image's own random stream."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steadyread.errors import InputRefused
from steadyread.units import Bounds

__all__ = ["Batch", "Bounds", "Case", "Flags", "Images", "Labels", "Logits", "NativeGrid", "Values", "as_images",
           "as_labels", "image_keys", "stream"]

Images = Float[Tensor, "n c *space"]
Logits = Float[Tensor, "n k"]
Values = Float[Tensor, "n"]
Labels = Int[Tensor, "n"]
Flags = Bool[Tensor, "n"]


@dataclass(frozen=True, eq=False)
class NativeGrid:
    """The scanner's own grid below an image, and the linear operator by which the image came from it.

    `spacing_mm` has one value an axis of space. `operators` has one matrix (new, old) an axis: the image is the
    native one with each applied along its axis, so noise made on the native grid becomes the image's likewise.
    """

    spacing_mm: tuple[float, ...]
    operators: tuple[Float[Tensor, "new old"], ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One image with what is known of it.

    `image` is float32 of shape (channels, *space) in native units (HU, grey levels); `spacing_mm` has one
    value an axis of space, None where unknown; `part` is train, validation or test, "" where not split yet;
    `native` is the scanner's grid below the image, `scan_mas` the dose it was taken at, None where unknown.
    """

    id: str
    image: Float[Tensor, "c *space"]
    label: int
    patient: str
    spacing_mm: tuple[float, ...] | None = None
    part: str = ""
    extras: Mapping[str, object] = field(default_factory=dict)
    native: NativeGrid | None = None
    scan_mas: float | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with what a threat may need to know of them. `keys` name each image's random stream."""

    images: Images
    keys: tuple[str, ...]
    bounds: Bounds
    spacing_mm: tuple[tuple[float, ...] | None, ...] | None = None
    native: tuple[NativeGrid | None, ...] | None = None
    scan_mas: tuple[float | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def pick(self, chosen: Int[Tensor, "m"]) -> "Batch":
        """The images at the indices `chosen`, with everything that belongs to them."""
        places = chosen.tolist()
        if len(places) == len(self.keys) and places == list(range(len(places))):
            return self
        told: dict[str, Any] = {name: tuple(held[place] for place in places)
                                for name in ("spacing_mm", "native", "scan_mas")
                                if (held := getattr(self, name)) is not None}
        return replace(self, images=self.images[chosen], keys=tuple(self.keys[place] for place in places), **told)


def stream(seed: int, key: str, draw: int = 0) -> torch.Generator:
    """The random stream of one image: a CPU generator keyed by (seed, case id, draw), never by position.

    So a draw is bit-equal alone, in any batch, in any order, for any device and after a resume.
    """
    digest = hashlib.blake2b(f"{seed}\x1f{key}\x1f{draw}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def image_keys(images: Images) -> tuple[str, ...]:
    """Keys for images without case ids: a hash of each image's pixels."""
    pixels = images.detach().to("cpu", torch.float32).contiguous().numpy()
    return tuple(hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in pixels)


def as_images(given: object) -> Tensor:
    """Images as one float32 tensor: of a tensor, an array, or a list of either, of any kind of number or bool.

    Raises:
        InputRefused: not numbers, or images of different shapes.
    """
    if isinstance(given, list | tuple) and given and all(isinstance(image, Tensor) for image in given):
        shapes = sorted({tuple(image.shape) for image in given})
        if len(shapes) > 1:
            raise _uneven(shapes)
        given = torch.stack([image.detach() for image in given])
    numbers = given if isinstance(given, Tensor) else _array(given)
    if numbers.is_complex():
        raise InputRefused("images must be real numbers; got complex ones")
    return numbers.detach().to(torch.float32)


def as_labels(given: object, images: int) -> Labels:
    """One class index per image, (n,) of int64: of a tensor, an array or a list, (n, 1), whole floats or bool too.

    Raises:
        InputRefused: another shape, or values that are no whole numbers.
    """
    numbers = given if isinstance(given, Tensor) else _array(given, "labels")
    expected = f"the reference must be one class index per image, shape ({images},)"
    if numbers.numel() != images or (numbers.ndim and numbers.shape[0] != images):
        one_hot = "; of a row of scores per image give .argmax(1)" if numbers.ndim == 2 else ""
        raise InputRefused(f"{expected}; got {tuple(numbers.shape)}{one_hot}")
    flat = numbers.detach().reshape(-1)
    if flat.is_complex() or (flat.is_floating_point() and not bool((flat == flat.round()).all())):
        first = flat[(flat != flat.round())][0] if not flat.is_complex() else flat[0]
        raise InputRefused(f"{expected}; got {first.item():g}, which is no whole number")
    return flat.to(torch.int64)


def _array(given: object, what: str = "images") -> Tensor:
    try:
        numbers = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):   # a list of lists of different lengths, say
        shapes = sorted({np.shape(image) for image in given}) if isinstance(given, list | tuple) else []
        raise _uneven(shapes, what) from None
    if numbers.dtype.kind not in "biuf":
        several = isinstance(given, np.ndarray | list | tuple)
        got = f"an array of {numbers.dtype}" if several else type(given).__name__
        raise InputRefused(f"{what} must be a tensor, an array or a list of numbers; got {got}")
    whole = np.int64 if numbers.dtype.kind in "iu" else bool if numbers.dtype.kind == "b" else np.float64
    return torch.from_numpy(numbers.astype(whole if what == "labels" else np.float32))


def _uneven(shapes: Sequence[tuple[int, ...]], what: str = "images") -> InputRefused:
    first = " and ".join(str(shape) for shape in shapes[:2])
    advice = alike(*shapes[:2]) if len(shapes) > 1 else "crop or resize them first"
    return InputRefused(f"{what} must all have one shape{f'; got {first}' if len(shapes) > 1 else ''}: {advice}")


def alike(one: Sequence[int], other: Sequence[int]) -> str:
    """What to do where images have two shapes (channels, *space)."""
    if len(one) != len(other):
        return "all must have the same axes (channels, then space)"
    if tuple(one[1:]) == tuple(other[1:]):
        return "read all as grey or all as colour"
    return "crop or resize to one size first (preparation.crop, preparation.size)"


def uniform_noise(keys: Sequence[str], shape: Sequence[int], seed: int, draw: int) -> Tensor:
    """Independent uniform values on [-1, 1), shape (n, *shape), each image from its own stream."""
    noise = torch.empty(len(keys), *shape)
    for place, key in zip(noise, keys, strict=True):
        torch.rand(tuple(shape), generator=stream(seed, key, draw), out=place)
    return noise.mul_(2).sub_(1)
