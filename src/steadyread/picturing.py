"""The pictures that an assessment leaves: of each block as many as it has room for, written with its records."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from steadyread.attacks.flips import SmallestFlip
from steadyread.metrics.choosing import Shown, chosen
from steadyread.pictured import FLIPS, ROOM, Pictured, Whole, in_steps, parts_of, read_part, room_of
from steadyread.types import Batch, Flags
from steadyread.units import Bounds


@dataclass(frozen=True, eq=False)
class _Taken:
    """One case: its image and change (c, *space), the change's step, its flip, and whether it was read wrongly."""

    image: np.ndarray
    change: np.ndarray
    scale: float
    size: float
    wrong: bool


@dataclass(eq=False)
class Album:
    """The pictures of the cases at work, each with the change of its smallest flip.

    `room` are the bytes of a block, before they are deflated, all blocks together at most `pictured.ROOM`. Where more
    cases would be shown, the most fragile ones, wrong ones and drawn ones are, as in a page.
    """

    folder: Path
    bounds: Bounds
    part: str | None
    room: int
    taken: dict[str, _Taken] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, bounds: Bounds, parts: Collection[str], blocks: int) -> "Album":
        """For the cases of the part that is judged, in so many blocks."""
        return cls(folder, bounds, "test" if "test" in parts else None, ROOM // max(blocks, 1))

    def take(self, batch: Batch, part: str, wrong: Flags, searched: Tensor, found: SmallestFlip | None) -> None:
        """The cases of a batch, all of one part: `wrong` (n,) before any change; `found` is of those `searched`, their
        places in the batch (m,)."""
        if self.part not in (None, part):
            return
        if self.taken and next(iter(self.taken.values())).image.shape != batch.images.shape[1:]:
            return     # of images of several sizes, which are read one by one, those of the first have pictures
        size = torch.full((len(batch),), torch.nan, dtype=torch.float64)
        row = {int(place): at for at, place in enumerate(searched)} if found is not None else {}
        if found is not None:
            size[searched.cpu()] = found.size.double().cpu()
        flags = wrong.cpu().numpy()
        for place in self._places(batch.keys, size.numpy(), flags, batch.images.shape[1:]):
            image = batch.images[place]
            flips = place in row and 0 < float(size[place]) < torch.inf
            change = found.images[row[place]] - image if flips and found is not None else torch.zeros_like(image)
            steps, scale = in_steps(change[None].cpu().numpy())
            self.taken[batch.keys[place]] = _Taken(image.cpu().numpy(), steps[0], float(scale[0]) if flips else np.nan,
                                                   float(size[place]), bool(flags[place]))

    def write(self, block: int, ids: Collection[str], others: Collection[str] = ()) -> None:
        """Writes the pictures of a block: those of the cases `ids` that were taken since the last, after those of
        `others` that were written before.

        Raises:
            Partial: the disk is full.
        """
        taken = {name: picture for name, picture in self.taken.items() if name in set(ids)}
        self.taken = {}
        if not taken:
            return
        parts, held = parts_of(self.folder, FLIPS), list(taken.values())
        found = Pictured(tuple(taken), Whole.of(np.stack([each.image for each in held]), self.bounds),
                         np.stack([each.change for each in held]), np.array([[each.scale] for each in held]))
        before = next((read_part(path) for number, path in parts if number == block), None) if others else None
        if before is not None and before.change.shape[1:] == found.change.shape[1:]:
            whole = Pictured.joined([before.of(others), found], self.bounds)
            places = list(range(len(whole)))[:self.room // found.room]
        else:
            whole, places = found, self._places(found.id, np.array([each.size for each in held]), np.array(
                [each.wrong for each in held]), found.change.shape[1:])
        parts.write(block, whole.pick(places).as_npz())

    def _places(self, ids: Sequence[str], size: np.ndarray, wrong: np.ndarray, shape: Sequence[int]) -> list[int]:
        """The places of as many cases as a block has room for."""
        places: list[int] = chosen(ids, size, wrong, Shown().within(self.room // room_of(shape))).tolist()
        return places
