"""The noise of a CT scan at a given dose: coloured, Gaussian, in HU, before the window."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from steadyread.errors import InputRefused, UsageError
from steadyread.threats.drawing import Field
from steadyread.threats.linf import an_image
from steadyread.threats.plausible import PlausibleSet, plausibility, plausible_set
from steadyread.threats.power import pixel_spacing
from steadyread.threats.rings import PooledSet, RingSet, pooled_set, ring_set
from steadyread.threats.spectrum import Spectrum, tube_load
from steadyread.threats.threat import Threat, threat
from steadyread.types import Batch, Images, NativeGrid, Values

Projection = Literal["slice", "paper", "pooled", "plausible"]
Domain = Literal["grid", "native"]
Mode = Literal["add", "simulate"]
NoiseSet = RingSet | PlausibleSet | PooledSet
_NARROW_HU = 100.0      # no scan's values span less: such bounds are those of a window's output


@threat
@dataclass(frozen=True)
class CTNoise(Threat):
    """Noise of a scan's spectrum, added to the image in HU and never clipped; the classifier windows later.

    `size`, one value an image, is the nominal standard deviation in HU (`size_of` gives it for a dose). Draws
    scale with it, so one draw serves all doses. A slice is the last two axes; slices are independent.

    Args:
        spectrum: S(f) of the scanner.
        mas: the dose, for `draw` and where none is given to `size_of`.
        spacing_mm: (dy, dx) or one value; the images' own where None. In `native` the scanner's counts.
        projection: what an optimised noise must keep: `slice` the power of every ring of every slice; `plausible`
            besides what random draws look like; `paper` and `pooled` [B]'s pooled power (see `PooledSet`).
        domain: `grid` draws on the image's own grid, as paper [B] did; `native` on the scanner's, and
            resamples as the image was: noise then is weaker and correlated along z, as it is in such images.
        mode: `add` puts the noise of a scan at that dose on top of the image's own, as [B] did (see
            `steadyread.metrics.dose.effective_mas`); `simulate` only what is missing to that dose.
        periodic: [B]'s formula without the larger field: opposite edges correlate, the mean is exactly 0.
    """

    spectrum: Spectrum
    mas: float = 100.0
    spacing_mm: float | tuple[float, float] | None = None
    projection: Projection = "slice"
    domain: Domain = "grid"
    mode: Mode = "add"
    periodic: bool = False
    holds_zero: ClassVar[bool] = False
    title: ClassVar[str] = "CT noise"
    unit: ClassVar[str | None] = "mAs"
    stronger: ClassVar[Literal["larger", "smaller"]] = "smaller"

    def __post_init__(self) -> None:
        tube_load(self.mas)
        if self.spacing_mm is not None:
            pixel_spacing(self.spacing_mm)
        for name, words in (("projection", Projection), ("domain", Domain), ("mode", Mode)):
            if getattr(self, name) not in get_args(words):
                raise UsageError(f"{name} is one of {', '.join(get_args(words))}; got '{getattr(self, name)}'")

    def draw(self, n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
        """n independent noises of a scan at `mas`, (n, 1, *shape) in HU, on pixels of `spacing_mm`.

        Raises:
            UsageError: no spacing is stated, a shape that is neither 2D nor 3D, `native` (which needs images).
        """
        if self.spacing_mm is None or self.domain == "native":
            raise UsageError("draw needs spacing_mm, and domain='grid': noise on a scanner's native grid is made "
                             "for images that bring that grid (start)")
        if len(shape) not in (2, 3) or min(shape) < 1 or n < 1:
            raise UsageError(f"draw needs n of at least 1 and a shape (y, x) or (z, y, x); got {n} and {shape}")
        field = self._field(shape, pixel_spacing(self.spacing_mm))
        self.spectrum.warn_where_cut(field.spacing_mm)
        noise = field.draw([str(place) for place in range(n)], tuple(shape[:-2]), seed, 0)
        return noise.mul_(self.sigma_hu(self.mas, field.spacing_mm))[:, None]

    def sigma_hu(self, mas: float, spacing_mm: float | tuple[float, float] = 1.0) -> float:
        """The nominal standard deviation in HU of a scan's noise at this dose, on pixels of this spacing."""
        return self.spectrum.sigma_hu(mas, spacing_mm)

    def size_of(self, mas: float, batch: Batch) -> Values:
        """The size (n,) in HU that each image has at this dose, on the images' device.

        In `native` it is the sigma on the native grid; on the image's own it is smaller (`image_sigma_hu`).

        Raises:
            UsageError: a dose that is not a positive number.
            InputRefused: images not in HU, an unknown spacing or grid; in `simulate` an unknown dose of the
                scan, or one that is not above `mas`.
        """
        refuse_other_units(batch)
        rest = [1.0 if self.mode == "add" else self._missing(mas, batch, place) for place in range(len(batch))]
        sizes = [self.sigma_hu(mas, spacing) * math.sqrt(share)
                 for spacing, share in zip(self._spacings(batch), rest, strict=True)]
        return torch.tensor(sizes, dtype=torch.float32, device=batch.images.device)

    def image_sigma_hu(self, mas: float, batch: Batch) -> Values:
        """The standard deviation (n,) in HU that the noise has on each image's own grid, over all its voxels,
        exactly: `size_of`, and in `native` less what resampling takes."""
        size = self.size_of(mas, batch)
        if self.domain == "grid":
            return size
        shares = [self._share(native_grid(batch, place), spacing)
                  for place, spacing in enumerate(self._spacings(batch))]
        return size * torch.tensor(shares, dtype=size.dtype, device=size.device).sqrt()

    def covariance_with(self, batch: Batch, weights: Images) -> Float[Tensor, "n 1 *space"]:
        """The covariance of a noise of 1 HU in each pixel with the sum of `weights` times that noise.

        Image by image, exact, float64 on the CPU.

        Noise is linear in white noise: no draw is needed for what a linear function makes of it.
        """
        moved = []
        for place, spacing in enumerate(self._spacings(batch)):
            operators = native_grid(batch, place).operators if self.domain == "native" else ()
            native = resampled(weights[place, 0].double().cpu(), tuple(operator.T for operator in operators))
            moved.append(resampled(self._field(tuple(native.shape), spacing).covariance_with(native), operators))
        return torch.stack(moved)[:, None]

    def variance_along(self, batch: Batch, weights: Images) -> Values:
        """The variance (n,) of the sum of `weights` times noise of a size of 1 HU, image by image, exactly."""
        return (weights.double().cpu() * self.covariance_with(batch, weights)).flatten(1).sum(1)

    def start(self, batch: Batch, size: Values, seed: int, draw: int) -> Tensor:
        """Random noise of this size for each image, in HU, from the image's own stream."""
        refuse_other_units(batch)
        spacings = self._spacings(batch)
        for spacing in dict.fromkeys(spacings):
            self.spectrum.warn_where_cut(spacing)
        for thickness in dict.fromkeys(self._between_slices(batch)):
            self.spectrum.warn_where_other_thickness(thickness)
        noise = (self._on_grid if self.domain == "grid" else self._native)(batch, spacings, seed, draw)
        noise = noise[:, None].to(batch.images)
        return noise.mul_(an_image(size, noise))

    def render(self, batch: Batch, delta: Tensor) -> Images:
        """x + delta, in HU. Not clipped: the classifier's window does that, as on the image itself."""
        return batch.images + delta

    def climb(self, batch: Batch, delta: Tensor, gradient: Tensor, step: float, size: Values) -> Tensor:
        """`delta` moved by `step` times the noise of this size that gains most on a straight line.

        On product of spheres (`RingSet`) that noise is the gradient with the power of each ring of each slice set
        to what is allowed there: all rings turn towards the gradient alike, whatever the spectrum.
        """
        moved = torch.empty_like(delta)
        for places, allowed in self.allowed(batch):
            moved[places] = delta[places] + step * allowed.steepest(gradient[places], size[places])
        return moved

    def project(self, batch: Batch, delta: Tensor, size: Values) -> Tensor:
        """The nearest allowed noise of exactly this size: see `RingSet`, `PlausibleSet` and `PooledSet`."""
        moved = torch.empty_like(delta)
        for places, allowed in self.allowed(batch):
            moved[places] = allowed.nearest(delta[places], size[places])
        return moved

    def allowed(self, batch: Batch) -> Iterator[tuple[Tensor, NoiseSet]]:
        """What an optimised noise must keep, by `projection`: places in the batch, and the set of their grid.

        Raises:
            InputRefused: `native`, where noise is drawn only.
        """
        for places, _, kept in self._grids(batch):
            yield places, kept

    def _grids(self, batch: Batch) -> Iterator[tuple[Tensor, tuple[float, ...], NoiseSet]]:
        """Grid by grid: the places of its images, its spacing in mm, and the set that its noise keeps to."""
        if self.domain == "native":
            raise InputRefused("optimised noise is searched on the images' own grid, slice by slice; in domain "
                               "'native' noise is drawn only: use domain 'grid', or leave out optimised noise")
        shape, device = tuple(batch.images.shape[2:]), batch.images.device
        known = batch.spacing_mm or (None,) * len(batch)
        grids = [(*(whole[:-2] if whole is not None else spacing[:1] * len(shape[:-2])), *spacing)
                 for spacing, whole in zip(self._spacings(batch), known, strict=True)]
        for grid in dict.fromkeys(grids):
            places = [place for place, other in enumerate(grids) if other == grid]
            field = self._field(shape, (grid[-2], grid[-1]))
            yield (torch.tensor(places, device=device), grid,
                   _set(self.projection, field, shape[:-2], grid, str(device)))

    def likeness(self, batch: Batch, noise: Images, size: Values) -> dict[str, Values]:
        """The figures by which a noise of these sizes is judged, (n,) each: `plausibility`, and `ring_error`, the
        largest relative error of ring power in any slice, against that expected of a random draw."""
        parts = [(at, plausibility(noise[at], grid) | {"ring_error": kept.error(noise[at], size[at])})
                 for at, grid, kept in self._grids(batch)]
        order = torch.cat([places for places, _ in parts]).argsort()
        return {name: torch.cat([told[name] for _, told in parts])[order] for name in parts[0][1]}

    def _field(self, shape: tuple[int, ...], spacing: tuple[float, float]) -> Field:
        return Field(self.spectrum, (shape[-2], shape[-1]), spacing, self.periodic)

    def _on_grid(self, batch: Batch, spacings: list[tuple[float, float]], seed: int, draw: int) -> Tensor:
        shape = tuple(batch.images.shape[2:])
        noise = torch.empty(len(batch), *shape)
        for spacing in dict.fromkeys(spacings):
            places = [place for place, other in enumerate(spacings) if other == spacing]
            keys = [batch.keys[place] for place in places]
            drawn = self._field(shape, spacing).draw(keys, shape[:-2], seed, draw)
            if len(places) == len(batch):
                return drawn
            noise[places] = drawn
        return noise

    def _native(self, batch: Batch, spacings: list[tuple[float, float]], seed: int, draw: int) -> Tensor:
        """Each image on its own, since each has its own grid and operators."""
        made = []
        for place, (key, spacing) in enumerate(zip(batch.keys, spacings, strict=True)):
            operators = native_grid(batch, place).operators
            shape = tuple(operator.shape[1] for operator in operators)
            noise = self._field(shape, spacing).draw([key], shape[:-2], seed, draw)[0]
            made.append(resampled(noise, operators))
        return torch.stack(made)

    def _share(self, native: NativeGrid, spacing: tuple[float, float]) -> float:
        """What resampling leaves of the variance, mean over the image."""
        *along_z, along_y, along_x = (operator.cpu().double().numpy() for operator in native.operators)
        field = self._field((along_y.shape[1], along_x.shape[1]), spacing)
        slices = [float((operator**2).sum(1).mean()) for operator in along_z]     # none in 2D
        return math.prod(slices) * field.variance_after((along_y, along_x))

    def _spacings(self, batch: Batch) -> list[tuple[float, float]]:
        """(dy, dx) of the grid that each image's noise is drawn on."""
        if self.domain == "native":
            return [in_plane(native_grid(batch, place).spacing_mm) for place in range(len(batch))]
        if self.spacing_mm is not None:
            return [pixel_spacing(self.spacing_mm)] * len(batch)
        known = batch.spacing_mm or (None,) * len(batch)
        for key, spacing in zip(batch.keys, known, strict=True):
            if spacing is None:
                raise InputRefused(f"{key}: its pixel spacing is not known, and CT noise depends on it: give it "
                                   "with the images or state spacing_mm")
        return [in_plane(spacing) for spacing in known if spacing is not None]

    def _between_slices(self, batch: Batch) -> list[float | None]:
        """What counts as the thickness of each image's slices: their distance in mm, None in 2D."""
        known: list[tuple[float, ...] | None] = [native_grid(batch, place).spacing_mm for place in range(len(batch))
                                                 ] if self.domain == "native" else list(batch.spacing_mm or ())
        return [whole[-3] if whole is not None and len(whole) > 2 else None for whole in known]

    def _missing(self, mas: float, batch: Batch, place: int) -> float:
        """The share of sigma^2(mas) that is not in the scan yet: 1 - mas / m0."""
        own = batch.scan_mas[place] if batch.scan_mas is not None else None
        if own is None or not own > tube_load(mas):
            told = ("is not known: give it with the images (exposure_mas in the table), or use mode 'add'"
                    if own is None else f"is {own:g} mAs: use a lower dose, or mode 'add'")
            raise InputRefused(f"{batch.keys[place]}: a scan at {mas:g} mAs can be simulated from one at a higher "
                               f"dose only, and the scan's own {told}")
        return 1 - mas / own


def _set(projection: Projection, field: Field, lead: tuple[int, ...], grid: tuple[float, ...], device: str
         ) -> NoiseSet:
    if projection == "plausible":
        return plausible_set(field, lead, grid, device)
    if projection == "slice":
        return ring_set(field, device)
    return pooled_set(field, len(lead), projection == "paper", device)


def in_plane(spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    """(dy, dx) of a spacing with one value an axis."""
    return pixel_spacing((spacing_mm[-2], spacing_mm[-1]))


def native_grid(batch: Batch, place: int) -> NativeGrid:
    """The scanner's grid below one image. InputRefused where it is not known."""
    native = batch.native[place] if batch.native is not None else None
    if native is None:
        raise InputRefused(f"{batch.keys[place]}: domain 'native' needs the scanner's own spacing and the operator "
                           "by which the image came from it, which are not known: use domain 'grid'")
    return native


def resampled(noise: Tensor, operators: tuple[Tensor, ...]) -> Tensor:
    """An array on the native grid, (*old), brought to the image's, (*new), each axis by its own matrix."""
    for axis, operator in enumerate(operators):
        noise = torch.movedim(torch.tensordot(operator.to(noise), noise, dims=([1], [axis])), 0, axis)
    return noise


def refuse_other_units(batch: Batch) -> None:
    """InputRefused unless the images are stated to be in HU, over a range that HU can have."""
    bounds, channels = batch.bounds, batch.images.shape[1]
    if channels != 1 or batch.images.ndim not in (4, 5):
        raise InputRefused("CT noise is for images of one channel in HU, (n, 1, y, x) or (n, 1, z, y, x); these "
                           f"are {tuple(batch.images.shape)}")
    if bounds.unit != "HU":
        stated = f"the unit '{bounds.unit}'" if bounds.unit else "no unit"
        raise InputRefused(f"CT noise is added in HU; the images have {stated} and bounds {bounds.low:g} to "
                           f"{bounds.high:g}. Are they HU? Then state it: Bounds({bounds.low:g}, {bounds.high:g}, "
                           "'HU'). If they are windowed, give them before the window")
    if bounds.range < _NARROW_HU:
        raise InputRefused(f"CT noise is added in HU; the images' bounds {bounds.low:g} to {bounds.high:g} HU span "
                           f"less than {_NARROW_HU:g} HU. Are they windowed or scaled? Give them before the window")
