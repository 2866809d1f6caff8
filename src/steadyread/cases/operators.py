"""One matrix an axis: how an image came from its scanner's own grid, and how much of it shows anything."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadyread.cases.row import Pixels, Row
from steadyread.types import NativeGrid

Matrix = NDArray[np.float32]


def points(centre: float, step: float, extent: int) -> NDArray[np.float64]:
    """The places of `extent` points, `step` old pixels apart, about the place `centre`."""
    return centre + (np.arange(extent, dtype=np.float64) - (extent - 1) / 2) * step


def linear(held: int, centre: float, step: float, extent: int) -> tuple[int, Matrix]:
    """Linear interpolation of `extent` points, `step` old pixels apart, about the place `centre` of `held` pixels.

    Points beyond the first or the last pixel repeat it. Returns the first pixel that is used and the weights
    (extent, used), each row of which sums to 1. Nothing widens where `step` exceeds 1: this is plain
    interpolation, which lets frequencies between the two grids' limits fold back.
    """
    places = np.clip(points(centre, step, extent), 0, held - 1)
    weights = np.maximum(0.0, 1 - np.abs(places[:, None] - np.arange(held)))
    used = np.flatnonzero(weights.any(0))
    start = int(used[0])
    return start, weights[:, start:used[-1] + 1].astype(np.float32)


def outside(held: int, centre: float, step: float, extent: int) -> tuple[int, int]:
    """How many of these points lie before the first pixel's edge, and behind the last one's."""
    places = points(centre, step, extent)
    return int((places < -0.5).sum()), int((places > held - 0.5).sum())


def copied(held: int, centre: float, step: float, extent: int) -> int:
    """How many of these points repeat the first or the last pixel: those beyond the middle of it."""
    places = points(centre, step, extent)
    return int(((places < 0) | (places > held - 1)).sum())


def applied(image: Pixels, matrices: Sequence[Matrix]) -> NDArray[np.float32]:
    """(c, *space) with each matrix (new, old) applied along its axis of space (sparse: the same bits always)."""
    result = np.asarray(image, np.float32)
    for axis, matrix in enumerate(matrices, 1):
        first = np.moveaxis(result, axis, 0)
        read = csr_array(matrix) @ first.reshape(len(first), -1)
        result = np.moveaxis(read.reshape(len(matrix), *first.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


def half_inside(mask: Pixels, matrices: Sequence[Matrix]) -> NDArray[np.uint8]:
    """A mask (*space) with each matrix (new, old) applied along its axis: 1 where at least half of it is inside."""
    inside: NDArray[np.bool_] = applied((mask > 0)[None], matrices)[0] >= 0.5 - 1e-6   # sums of float32 weights
    return inside.astype(np.uint8)


def native_grid(spacing_mm: tuple[float, ...], matrices: Sequence[Matrix]) -> NativeGrid:
    """The matrices as a `NativeGrid`."""
    return NativeGrid(spacing_mm, tuple(torch.from_numpy(np.ascontiguousarray(matrix)) for matrix in matrices))


def own_grid(row: Row) -> NativeGrid | None:
    """The grid of an image whose pixels are the scanner's: its own. None where spacing or shape is unknown."""
    if row.spacing_mm is None or row.shape is None:
        return None
    return NativeGrid(row.spacing_mm, tuple(_identity(extent) for extent in row.shape[1:]))


@lru_cache(maxsize=64)
def _identity(extent: int) -> torch.Tensor:
    return torch.eye(extent)


def composed(native: NativeGrid | None, matrices: Sequence[Matrix] | None) -> NativeGrid | None:
    """The grid below an image to which `matrices` were applied besides; None where either is unknown."""
    if native is None or matrices is None:
        return None
    return native_grid(native.spacing_mm, [
        (matrix.astype(np.float64) @ below.numpy().astype(np.float64)).astype(np.float32)
        for matrix, below in zip(matrices, native.operators, strict=True)])


def padding_told(beyond: Sequence[tuple[int, int]], extents: Sequence[int]) -> dict[str, float]:
    """The share of an image's pixels that lie beyond the scan, and that of its slices (the first axis of space)."""
    outside = [(low + high) / extent for (low, high), extent in zip(beyond, extents, strict=True)]
    return {"padded_share": 1 - float(np.prod([1 - share for share in outside])), "padded_slices_share": outside[0]}


def carried(beyond: Sequence[tuple[int, int]], matrices: Sequence[Matrix]) -> tuple[tuple[int, int], ...]:
    """`beyond` after each matrix (new, old): fill, and what is mostly read beyond, lies beyond."""
    found = []
    for (low, high), matrix in zip(beyond, matrices, strict=True):
        inside = np.ones(matrix.shape[1])
        inside[:low], inside[matrix.shape[1] - high:] = 0, 0
        shown = np.flatnonzero(matrix @ inside > 0.5)
        found.append((int(shown[0]), len(matrix) - 1 - int(shown[-1])) if len(shown) else (len(matrix), 0))
    return tuple(found)
