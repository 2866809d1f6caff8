"""Pictures as whole numbers of 16 bits, exact where the images are of whole numbers themselves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadyread.units import Bounds

_LEAST, _MOST = -32_768, 32_767
_STEPS = _MOST - _LEAST


@dataclass(frozen=True, eq=False)
class Whole:
    """Images as integers: a native value is `offset + scale * values`."""

    values: NDArray[np.int16]
    scale: float
    offset: float

    @classmethod
    def of(cls, images: ArrayLike, bounds: Bounds) -> "Whole":
        """Images of native values. They are exact, at a scale of 1, where all are whole numbers that 16 bits tell apart
        (HU, 8 and 16 bits); else to within half of 1/65535 of the range of the `bounds`, beyond which they are cut."""
        native = np.asarray(images, np.float64)
        low, high = (float(native.min()), float(native.max())) if native.size else (0.0, 0.0)
        if high - low <= _STEPS and bool((native == np.rint(native)).all()):
            offset = 0.0 if low >= _LEAST and high <= _MOST else low - _LEAST
            return cls((native - offset).astype(np.int16), 1.0, offset)
        scale = bounds.range / _STEPS
        offset = bounds.low - _LEAST * scale
        return cls(np.clip(np.rint((native - offset) / scale), _LEAST, _MOST).astype(np.int16), scale, offset)

    @property
    def native(self) -> NDArray[Any]:
        """The images in native units, float64."""
        return self.offset + self.scale * self.values.astype(np.float64)
