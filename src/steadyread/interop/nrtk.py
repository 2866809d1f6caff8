"""CT noise as a perturber of nrtk (Natural Robustness Toolkit), for slices in HU.

    from steadyread.interop.nrtk import CTNoisePerturber
    noisy, boxes = CTNoisePerturber(spectrum="soft", mas=50.0, spacing_mm=0.7, seed=1)(image=slice_hu)
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.threats import CTNoise, Spectrum

_interfaces = library("nrtk.interfaces", "nrtk", "this perturber is one of")
_SEEDS = 2**31 - 1
_PerturbImage: Any = _interfaces.PerturbImage


class CTNoisePerturber(_PerturbImage):  # type: ignore[misc]
    """Adds the noise of a CT scan at a dose to a slice (rows, columns) or (rows, columns, 1) in HU.

    Args:
        spectrum: `soft`, `lung`, or the CSV of a table.
        mas: the dose.
        spacing_mm: of the pixels.
        seed: of the noise; None draws another one each time.
        is_static: the same noise at each call, where a seed is stated.

    Raises:
        UsageError: a dose that is none, another spectrum.
        InputRefused: when called, an image of another shape, or of 8 bits, which are no HU.
    """

    def __init__(self, spectrum: str = "soft", mas: float = 100.0, spacing_mm: float = 0.7, seed: int | None = None,
                 is_static: bool = False) -> None:
        self.spectrum, self.seed, self.is_static = spectrum, seed, is_static
        self.noise = CTNoise(Spectrum.named(spectrum), mas=mas, spacing_mm=spacing_mm)
        self._random = np.random.default_rng(seed)

    def perturb(self, *, image: NDArray[Any], boxes: Iterable[Any] | None = None, **_: Any
                ) -> tuple[NDArray[Any], Iterable[Any] | None]:
        """The slice with noise, of the same type (whole numbers are rounded and kept in their range); boxes stay."""
        flat = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        if flat.ndim != 2 or image.dtype.kind not in "iuf" or image.dtype.itemsize < 2:
            raise InputRefused(f"CT noise is for slices (rows, columns) in HU of 16 bits or more; got {image.dtype} of "
                               f"shape {image.shape}")
        random = np.random.default_rng(self.seed) if self.is_static and self.seed is not None else self._random
        noise = self.noise.draw(1, flat.shape, int(random.integers(_SEEDS)))[0, 0].numpy()
        noisy = flat + noise.astype(np.float64)
        if image.dtype.kind != "f":
            limits = np.iinfo(image.dtype)
            noisy = np.rint(noisy).clip(limits.min, limits.max)
        return noisy.astype(image.dtype).reshape(image.shape), deepcopy(boxes)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as they were given."""
        return {"spectrum": self.spectrum, "mas": self.noise.mas, "spacing_mm": self.noise.spacing_mm,
                "seed": self.seed, "is_static": self.is_static}
