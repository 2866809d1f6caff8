"""Colour as grey: luma (ITU-R 601), which leaves equal channels exactly as they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_WEIGHTS = (19595, 38470, 7471)      # of red, green and blue, in 65536ths: Pillow's


def luma(colours: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers (3, *space) as one channel (*space), rounded as Pillow does."""
    red, green, blue = (weight * channel.astype(np.int64) for weight, channel in zip(_WEIGHTS, colours, strict=True))
    return np.asarray((red + green + blue + 2**15) >> 16, colours.dtype)
