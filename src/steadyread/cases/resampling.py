"""Images read on another grid, one sparse matrix of weights an axis."""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadyread.cases.row import Pixels

Interpolation = Literal["linear", "cubic", "plain", "area", "nearest"]
Way = Interpolation | Literal["from the first"]     # plain, from the first pixel's centre on


def resample(image: Pixels, extents: tuple[int, ...], step: tuple[float, ...], interpolation: Way = "linear"
             ) -> NDArray[np.float32]:
    """(c, *space) read at `extents` points an axis, `step` old pixels apart, the centre staying the centre (or the
    first pixel the first).

    Where `step` exceeds 1 the kernel of `linear` and `cubic` widens with it (antialiased, as Pillow's bilinear and
    bicubic and torch's `antialias=True`); beyond the border the weights are those of the pixels inside.
    """
    result = np.asarray(image, np.float32)
    for axis, (extent, one) in enumerate(zip(extents, step, strict=True), 1):
        if extent == result.shape[axis] and one == 1:
            continue
        matrix = weights(result.shape[axis], extent, one, interpolation)
        first = np.moveaxis(result, axis, 0)
        read = matrix @ first.reshape(len(first), -1)
        result = np.moveaxis(read.reshape(extent, *first.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


@lru_cache(maxsize=32)
def weights(held: int, extent: int, step: float, interpolation: Way = "linear") -> csr_array:
    """Interpolation weights (extent, held), each row summing to 1. Sparse: no threads, the same bits."""
    places = (np.arange(extent) * step if interpolation == "from the first" else
              (np.arange(extent) - (extent - 1) / 2) * step + (held - 1) / 2)
    if interpolation == "nearest":
        nearest = np.clip(np.floor(places + 0.5), 0, held - 1).astype(np.int64)
        return csr_array((np.ones(extent, np.float32), (np.arange(extent), nearest)), shape=(extent, held))
    if interpolation == "area":
        first, last = (np.arange(extent) * held // extent, -(-(np.arange(extent) + 1) * held // extent))
        pixels = np.arange(held)
        inside = (pixels >= first[:, None]) & (pixels < last[:, None])
        return csr_array((inside / inside.sum(1, keepdims=True)).astype(np.float32))
    widened = 1.0 if interpolation in ("plain", "from the first") else max(1.0, step)
    places = np.clip(places, 0, held - 1) if widened == 1 and interpolation != "cubic" else places
    distance = np.abs(places[:, None] - np.arange(held)) / widened
    kernel = _cubic(distance) if interpolation == "cubic" else np.maximum(0.0, 1 - distance)
    return csr_array((kernel / kernel.sum(1, keepdims=True)).astype(np.float32))


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -0.5 (doi:10.1109/TASSP.1981.1163711), as Pillow's bicubic."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
