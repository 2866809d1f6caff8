"""CT noise as a MONAI dictionary transform, for training pipelines: coloured, in HU, at a dose drawn each time.

    from steadyread.interop.monai import RandCTNoised
    Compose([LoadImaged("image"), EnsureChannelFirstd("image"), RandCTNoised("image", prob=0.5, mas=(10, 100)),
             ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True)])
"""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from steadyread.errors import InputRefused, UsageError
from steadyread.extras import library
from steadyread.threats import CTNoise, Spectrum
from steadyread.threats.spectrum import tube_load

_transforms = library("monai.transforms", "monai", "this transform is one of")
_data = library("monai.data", "monai", "this transform is one of")
_utils = library("monai.utils", "monai", "this transform is one of")
_SEEDS = 2**31 - 1
_SCALED = 10.0     # images within this much of 0 are none in HU
_Randomizable: Any = _transforms.RandomizableTransform
_Map: Any = _transforms.MapTransform


class RandCTNoised(_Randomizable, _Map):  # type: ignore[misc]
    """Adds the noise of a CT scan at a random dose to images (c, *space) in HU, before they are windowed or resampled.

    Slices are independent, and so are channels; all keys get the same noise where their grids are the same. Seeded as
    MONAI's transforms are (`set_random_state`): the same state gives the same noise.

    Args:
        keys: of the images.
        prob: of adding noise.
        spectrum: `soft`, `lung`, the CSV of a table, or a `Spectrum`.
        mas: the dose, or the lowest and the highest, between which it is drawn evenly on a logarithmic scale.
        spacing_mm: (one per axis of a slice) of the pixels; that of the image's own affine where None.
        slice_axis: the axis of space across the slices of a volume; where None the one along the patient's body by the
            image's affine, the last one where it has none.
        allow_missing_keys: as of other transforms.

    Raises:
        UsageError: a dose that is none, another spectrum.
        InputRefused: when called, images that have no spacing, or that are scaled already.
    """

    backend = _transforms.RandGaussianNoised.backend

    def __init__(self, keys: Any, prob: float = 0.1, spectrum: str | Spectrum = "soft",
                 mas: float | tuple[float, float] = (10.0, 100.0),
                 spacing_mm: float | tuple[float, float] | None = None, slice_axis: int | None = None,
                 allow_missing_keys: bool = False) -> None:
        _Map.__init__(self, keys, allow_missing_keys)
        _Randomizable.__init__(self, prob)
        ends = (mas, mas) if isinstance(mas, int | float) else tuple(mas)
        if len(ends) != 2 or tube_load(ends[0]) > tube_load(ends[-1]):
            raise UsageError(f"mas must be a dose, or the lowest and the highest of them; got {mas}")
        self.spectrum = Spectrum.named(spectrum) if isinstance(spectrum, str) else spectrum
        self.ends, self.spacing_mm, self.slice_axis = ends, spacing_mm, slice_axis
        self.mas, self.seed = ends[0], 0

    def randomize(self, data: Any = None) -> None:
        """Draws whether noise is added, at which dose, and the seed of the noise."""
        super().randomize(None)
        if self._do_transform:
            low, high = (math.log(end) for end in self.ends)
            self.mas = math.exp(self.R.uniform(low, high))
            self.seed = int(self.R.randint(_SEEDS))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The images with noise, as tensors with their meta data."""
        made = dict(data)
        self.randomize(None)
        for key in self.key_iterator(made):
            image = _utils.convert_to_tensor(made[key], dtype=torch.float32, track_meta=_data.get_track_meta())
            made[key] = image + self._noise(image, made[key], str(key)) if self._do_transform else image
        return made

    def _noise(self, image: Tensor, given: Any, key: str) -> Tensor:
        space = tuple(image.shape[1:])
        if len(space) not in (2, 3):
            raise InputRefused(f"{key}: CT noise is for images or volumes with channels, such as (c, y, x); got "
                               f"{tuple(image.shape)}")
        low, high = (float(end) for end in torch.aminmax(image))
        if low < high and max(abs(low), abs(high)) <= _SCALED:
            raise InputRefused(f"{key}: CT noise is added in HU; the image goes from {low:g} to {high:g}: put the "
                               "transform before those that scale intensities")
        affine = given.affine.double() if isinstance(given, _data.MetaTensor) else None
        across = _across(self.slice_axis, affine, len(space))
        flat = [axis for axis in range(len(space)) if axis != across]
        spacing = self.spacing_mm
        if spacing is None:
            if affine is None:
                raise InputRefused(f"{key}: its pixel spacing is not known, and CT noise depends on it: state "
                                   "spacing_mm, or load it with its meta data")
            lengths = affine[:3, :3].norm(dim=0)
            spacing = (float(lengths[flat[0]]), float(lengths[flat[1]]))
        shape = tuple(space[axis] for axis in (*([across] if across is not None else []), *flat))
        noise = CTNoise(self.spectrum, mas=self.mas, spacing_mm=spacing).draw(len(image), shape, self.seed)[:, 0]
        return (noise if across is None else noise.movedim(1, across + 1)).to(image.device)


def _across(stated: int | None, affine: Tensor | None, axes: int) -> int | None:
    """The axis of space across the slices, None of an image."""
    if axes == 2:
        return None
    if stated is not None:
        return stated % axes
    return axes - 1 if affine is None else int(affine[2, :3].abs().argmax())
