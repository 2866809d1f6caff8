"""The images of one part of the data, in memory where they fit, and index tensors that walk through them."""

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from steadyread.cases import Cases, collate, spooled
from steadyread.errors import InputRefused
from steadyread.types import Batch, Images

_HELD_BYTES = 2**30   # images of one part up to this size are held in memory, larger ones on disk


class PartImages:
    """Images, labels and class weights of the training or the validation cases.

    `labels` and `weights` have one value a case, weights such that every class has the same total;
    `counts` has one a label; `dims` is 2 for images and 3 for volumes. `held` = False leaves the images where they
    are, for cases whose pixels lie on disk ready to be read. The last `as_they_are` of the cases are not to be
    augmented: noise that was found for an image is gone once that is turned and interpolated.

    Raises:
        InputRefused: no cases, a case without a label, or images of different shapes.
    """

    def __init__(self, cases: Cases, part: str, held: bool = True, as_they_are: int = 0) -> None:
        if not len(cases):
            raise InputRefused(f"{cases.name}: no {part} cases; split the data, or give a larger share")
        first = cases[0].image
        self.labels = torch.tensor([-1 if row.label is None else row.label for row in cases.rows])
        lost = int((self.labels < 0).sum())
        if lost:
            raise InputRefused(f"{cases.name}: {lost} of {len(cases)} {part} cases have no label; drop them")
        self.dims = first.ndim - 1
        self.counts = torch.bincount(self.labels)
        self.weights = 1.0 / self.counts[self.labels].double()
        self.classes = cases.classes
        self.augmentable = torch.arange(len(cases)) < len(cases) - as_they_are
        small = first.numel() * first.element_size() * len(cases) <= _HELD_BYTES
        self._cases = cases if small or not held else spooled(cases)
        self._held = self._read(range(len(cases))) if small and held else None

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, chosen: Tensor) -> Images:
        """The images at the indices `chosen`, (m, c, *space), in native units."""
        return self.batch(chosen).images

    def batch(self, chosen: Tensor) -> Batch:
        """The images at the indices `chosen` with their ids and all that is known of their grids."""
        return self._read(chosen.tolist()) if self._held is None else self._held.pick(chosen)

    def keys(self, chosen: Tensor) -> tuple[str, ...]:
        """The case ids at the indices `chosen`."""
        return tuple(self._cases.rows[place].id for place in chosen.tolist())

    def digest(self) -> str:
        """SHA-256 over the images, with their ids and labels, in their order."""
        digest = hashlib.sha256(repr([(row.id, row.label) for row in self._cases.rows]).encode())
        for chosen in torch.split(torch.arange(len(self)), 256):
            digest.update(self.images(chosen).contiguous().numpy().data)
        return digest.hexdigest()

    def _read(self, places: Sequence[int]) -> Batch:
        batch, _ = collate([self._cases[place] for place in places], self._cases.bounds)
        return batch


def chunks(order: Tensor, size: int) -> Iterator[Tensor]:
    """Index tensors of `size`; a single left over joins the one before, since BatchNorm cannot learn from it."""
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return iter(parts)
