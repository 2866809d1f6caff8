"""One look at every image of a set, from which the audit works: a hash, a thumbnail and a few figures each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.case_set import Cases
from steadyread.cases.readable import NO_CASE, reason
from steadyread.cases.resampling import resample
from steadyread.cases.row import Pixels
from steadyread.progress import Progress, quiet

# A thumbnail has 256 values, whatever the number of axes.
_THUMBNAIL = {1: (256,), 2: (16, 16), 3: (8, 8, 4)}
Shapes = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Glances:
    """What was seen of `n` images; `refused` holds the message of those that could not be read.

    `thumbnails` (n, 256) have mean 0 and length 1 (0 where the image is constant or not finite).
    `padding` is the share of pixels equal to the most frequent value of the image's border, `copied` the
    share of border slices (rows, columns) that repeat the outermost one, averaged over the axes; `outside`
    are pixels beyond the stated bounds; `lowest` and `highest` are the images' extreme values.
    """

    refused: dict[int, str]
    digests: tuple[bytes, ...]
    shapes: tuple[Shapes, ...]
    non_finite: NDArray[np.bool_]
    constant: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    thumbnails: NDArray[np.float32]
    padding: NDArray[np.float64]
    copied: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


def glance(cases: Cases, progress: Progress = quiet) -> Glances:
    """Reads every image once, keeping about 1 KB of each."""
    n = len(cases)
    refused: dict[int, str] = {}
    digests = [b""] * n
    shapes: list[Shapes] = [()] * n
    flags, figures = np.zeros((3, n), bool), np.full((4, n), np.nan)
    thumbnails = np.zeros((n, 256), np.float32)
    for index, row in enumerate(progress(cases.rows, n, f"looking at the images of {cases.name}")):
        try:
            pixels = np.ascontiguousarray(cases.load(row))
        except NO_CASE:
            raise
        except Exception as problem:   # a reader of the user's own raises what it likes
            refused[index] = reason(problem)
            continue
        digests[index] = digest_of(pixels)
        shapes[index] = pixels.shape
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            flags[0, index] = True
            continue
        low, high = pixels.min(), pixels.max()
        flags[1:, index] = low == high, low < cases.bounds.low or high > cases.bounds.high
        thumbnails[index] = standardised(thumbnail(pixels))
        figures[:, index] = padding_of(pixels), copied_of(pixels), low, high
    return Glances(refused, tuple(digests), tuple(shapes), flags[0], flags[1], flags[2], thumbnails,
                   figures[0], figures[1], figures[2], figures[3])


def digest_of(pixels: Pixels) -> bytes:
    """A hash of the pixels' values and shape."""
    plain = np.ascontiguousarray(pixels)
    return hashlib.blake2b(plain.data, digest_size=16, key=repr(plain.shape).encode()).digest()


def thumbnail(pixels: Pixels, extents: Sequence[int] | None = None) -> NDArray[np.float32]:
    """The mean of the channels on a coarse grid (256 values unless `extents` are given)."""
    plane = np.asarray(pixels, np.float32).mean(0, keepdims=True)
    wanted = tuple(extents or _THUMBNAIL.get(plane.ndim - 1, (256,)))
    step = tuple(held / new for held, new in zip(plane.shape[1:], wanted, strict=True))
    return np.asarray(resample(plane, wanted, step)[0])


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values as a vector of mean 0 and length 1; all 0 where they do not vary."""
    vector = values.reshape(-1) - values.mean()
    length = float(np.linalg.norm(vector))
    varies = length > 1e-6 * (1 + float(np.abs(values).max()))
    return np.asarray(vector / length if varies else 0 * vector, np.float32)


def padding_of(pixels: Pixels) -> float:
    """The share of pixels equal to the most frequent value on the border of (c, *space)."""
    border = np.concatenate([np.take(pixels, (0, -1), axis).reshape(-1) for axis in range(1, pixels.ndim)])
    values, counts = np.unique(border, return_counts=True)
    return float((pixels == values[counts.argmax()]).mean())


def copied_of(pixels: Pixels) -> float:
    """The share of slices, from the border inwards, that repeat the outermost one: mean over the axes."""
    return float(np.mean([_copies(np.moveaxis(pixels, axis, 0)) for axis in range(1, pixels.ndim)]))


def _copies(slices: Pixels) -> float:
    count = 0
    for order in (slices, slices[::-1]):
        place = 1
        while place < len(order) and np.array_equal(order[place], order[0]):
            place += 1
        count += place - 1
    return min(1.0, count / len(slices))
