"""The pictures of cases beside the records: the clean image, and the change that flips its read, or a draw of noise.

A network's folder holds `flips/` and `redraws/`, a part a block of cases as the records have, each written whole
before the block's records are, and `walk.npz`: what the network says along the way. All of it may be missing or
damaged: then a case has no picture, and nothing else is lost. Images are whole numbers of 16 bits, exact where the
images themselves are of whole numbers; changes are of 8 bits.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadyread.errors import InputRefused
from steadyread.units import Bounds
from steadyread.whole_files import Parts, intact, npz, npz_in, read_npz, write_npz

FLIPS, REDRAWS, WALK = "flips", "redraws", "walk.npz"
ROOM = 2**28                # bytes of a network's pictures before they are deflated: 256 MiB
STEPS = 127                 # of a change of 8 bits that is as large as the largest
_BESIDE = 2**22             # bytes of a part that are no pixels: ids and scales
_LEAST, _MOST = -32_768, 32_767
_LEVELS = _MOST - _LEAST
_ARRAYS = {"id": "U", "image": "i", "change": "i", "scale": "f", "level": "f"}
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whole:
    """Images as integers: a native value is `offset + scale * values`."""

    values: NDArray[np.int16]
    scale: float
    offset: float

    @classmethod
    def of(cls, images: ArrayLike, bounds: Bounds, step: float | None = None) -> "Whole":
        """Images of native values. They are exact, at a scale of 1, where all are whole numbers that 16 bits tell apart
        (HU, 8 and 16 bits); else to within half a `step`, 1/65535 of the range of the `bounds` if None, and cut to
        what 16 bits hold of these."""
        native = np.asarray(images, np.float64)
        low, high = (float(native.min()), float(native.max())) if native.size else (0.0, 0.0)
        if high - low <= _LEVELS and bool((native == np.rint(native)).all()):
            offset = 0.0 if low >= _LEAST and high <= _MOST else low - _LEAST
            return cls((native - offset).astype(np.int16), 1.0, offset)
        scale = bounds.range / _LEVELS if step is None else step
        offset = bounds.low - _LEAST * scale if step is None else bounds.low
        return cls(np.clip(np.rint((native - offset) / scale), _LEAST, _MOST).astype(np.int16), scale, offset)

    @classmethod
    def joined(cls, several: Sequence["Whole"], bounds: Bounds) -> "Whole":
        """Images one after the other."""
        if len({(each.scale, each.offset) for each in several}) == 1:
            return replace(several[0], values=np.concatenate([each.values for each in several]))
        return cls.of(np.concatenate([each.native for each in several]), bounds)

    @property
    def native(self) -> Floats:
        """The images in native units."""
        return self.offset + self.scale * self.values.astype(np.float64)

    def pick(self, places: NDArray[np.int64]) -> "Whole":
        """The images at these places."""
        return replace(self, values=self.values[places])


def in_steps(change: ArrayLike) -> tuple[NDArray[np.int8], Floats]:
    """Changes (n, c, *space) in 1/127 of the largest of each, with that step (n,) in native units; 0 where nothing
    changes, and NaN (and no change) where it is not finite."""
    native = np.asarray(change, np.float64)
    scale = np.abs(native).reshape(len(native), -1).max(1, initial=0.0) / STEPS
    per = np.where(np.isfinite(scale) & (scale > 0), scale, np.inf).reshape(-1, *[1] * (native.ndim - 1))
    return np.rint(np.nan_to_num(native, posinf=0, neginf=0) / per).astype(np.int8), np.where(
        np.isfinite(scale), scale, np.nan)


@dataclass(frozen=True, eq=False)
class Pictured:
    """The pictures of n cases: `image` and `change` (n, c, *space). A change in native units is `scale` (n, k) times
    `change`: at k = 1 the found change, NaN where none was found or searched; or one draw at k doses."""

    id: tuple[str, ...]
    image: Whole
    change: NDArray[np.int8]
    scale: Floats

    def __len__(self) -> int:
        return len(self.id)

    def pick(self, places: Sequence[int]) -> "Pictured":
        """The pictures at these places."""
        at = np.asarray(places, np.int64)
        return Pictured(tuple(self.id[place] for place in places), self.image.pick(at), self.change[at], self.scale[at])

    def of(self, ids: Iterable[str]) -> "Pictured":
        """The pictures of those of the cases that have one, in their order."""
        place = {name: at for at, name in enumerate(self.id)}
        return self.pick([place[name] for name in ids if name in place])

    @classmethod
    def joined(cls, several: Sequence["Pictured"], bounds: Bounds) -> "Pictured":
        """Pictures of one shape, one after the other."""
        return cls(tuple(name for each in several for name in each.id),
                   Whole.joined([each.image for each in several], bounds),
                   np.concatenate([each.change for each in several]), np.concatenate([each.scale for each in several]))

    def alike(self, other: "Pictured") -> bool:
        """Whether both are of one shape, with as many doses."""
        return (self.change.shape[1:], self.scale.shape[1:]) == (other.change.shape[1:], other.scale.shape[1:])

    def as_npz(self) -> bytes:
        """As the bytes of one part."""
        return npz({"id": np.array(self.id, str), "image": self.image.values, "change": self.change,
                    "scale": self.scale, "level": np.array([self.image.scale, self.image.offset])})

    @property
    def room(self) -> int:
        """Bytes of an image and its change."""
        return room_of(self.change.shape[1:])


def room_of(shape: Sequence[int]) -> int:
    """Bytes of an image (c, *space) and its change before they are deflated."""
    return 3 * int(np.prod(shape, dtype=np.int64))


def parts_of(folder: Path, kind: str) -> Parts:
    """The parts with pictures of one kind in a network's folder."""
    return Parts(folder / kind, "npz")


def read_part(path: Path) -> Pictured | None:
    """The pictures of a part; None where it is damaged, or no such thing."""
    try:
        content = intact(path)
    except InputRefused:
        return None
    arrays = npz_in(content, ROOM + _BESIDE) if content is not None else None
    if arrays is None or any(name not in arrays or arrays[name].dtype.kind != kind for name, kind in _ARRAYS.items()):
        return None
    image, change, scale = arrays["image"], arrays["change"], arrays["scale"]
    fits = (image.dtype == np.int16 and change.dtype == np.int8 and image.ndim >= 3 and image.shape == change.shape
            and arrays["id"].shape == (len(image),) and scale.ndim == 2 and len(scale) == len(image)
            and arrays["level"].shape == (2,) and bool(np.isfinite(arrays["level"]).all()))
    return Pictured(tuple(map(str, arrays["id"])), Whole(image, *map(float, arrays["level"])), change, scale.astype(
        np.float64)) if fits else None


def open_pictures(folder: Path, kind: str, bounds: Bounds, ids: Collection[str] | None = None) -> Pictured | None:
    """The pictures of some cases in a network's folder, all if None; those of the shape of the first. None where there
    are none."""
    wanted = None if ids is None else set(ids)
    found: list[Pictured] = []
    for part in _parts_read(folder, kind):
        some = part if wanted is None else part.of(name for name in part.id if name in wanted)
        if len(some) and (not found or found[0].alike(some)):
            found.append(some)
    if not found:
        return None
    whole = Pictured.joined(found, bounds)
    return whole.of(dict.fromkeys(whole.id if ids is None else ids))


def shape_of(folder: Path, kind: str) -> tuple[int, ...] | None:
    """The shape (c, *space) of the first picture of one kind; None where there is none."""
    return next((part.change.shape[1:] for part in _parts_read(folder, kind) if len(part)), None)


def pictured_ids(folder: Path, kind: str) -> set[str]:
    """The cases that have a picture of one kind."""
    return {name for part in _parts_read(folder, kind) for name in part.id}


def _parts_read(folder: Path, kind: str) -> Iterator[Pictured]:
    for _, path in parts_of(folder, kind):
        part = read_part(path)
        if part is not None:
            yield part


@dataclass(frozen=True, eq=False)
class Walk:
    """What a network says along the way, `probability` (n, k, classes): of n cases at k values `at`, multiples of the
    flip or doses (mAs)."""

    id: tuple[str, ...]
    at: Floats
    probability: Floats

    def write(self, folder: Path, kind: str) -> None:
        """Beside the pictures of that kind."""
        write_npz(folder / kind / WALK, {"id": np.array(self.id, str), "at": self.at,
                                         "probability": self.probability.astype(np.float32)})

    @classmethod
    def joined(cls, several: Sequence["Walk"]) -> "Walk | None":
        """Walks of one way, one after the other: those along the way of the first."""
        alike = [each for each in several if each.at.tolist() == several[0].at.tolist()
                 and each.probability.shape[2] == several[0].probability.shape[2]]
        return cls(tuple(name for each in alike for name in each.id), several[0].at,
                   np.concatenate([each.probability for each in alike])) if alike else None

    def of(self, ids: Sequence[str]) -> "Walk":
        """That of these cases, NaN where nothing is known."""
        place = {name: at for at, name in enumerate(self.id)}
        chance = np.full((len(ids), *self.probability.shape[1:]), np.nan)
        for at, name in enumerate(ids):
            chance[at] = self.probability[place[name]] if name in place else np.nan
        return Walk(tuple(ids), self.at, chance)


def read_walk(folder: Path, kind: str) -> Walk | None:
    """The walk beside the pictures of that kind; None where there is none, or a damaged one."""
    path = folder / kind / WALK
    if not path.exists():
        return None
    try:
        arrays: dict[str, Any] = read_npz(path)
        walk = Walk(tuple(map(str, arrays["id"])), arrays["at"].astype(np.float64),
                    arrays["probability"].astype(np.float64))
    except (InputRefused, KeyError, TypeError, ValueError):
        return None
    fits = walk.at.ndim == 1 and walk.probability.shape[:2] == (len(walk.id), len(walk.at))
    return walk if fits and walk.probability.ndim == 3 else None
