"""Rings of spatial frequency in a slice: their power, and the nearest noise that has a given power in each."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from steadyread.threats.drawing import Field
from steadyread.threats.linf import an_image
from steadyread.types import Images, Values, stream

_EMPTY = 1e-12    # a ring with less than this share of its slice's power holds rounding: its phases are nobody's
_JUDGED = 1e-6    # the least share of its slice's power by which a ring's error is judged


@dataclass(frozen=True, eq=False)
class Rings:
    """The frequencies of a slice's half transform (rfft2), each given to a ring.

    `index` (ny, nx // 2 + 1) is the ring of each frequency, 0 for the zero frequency alone; `times` how often the
    frequency stands in the whole transform (1 or 2); `count` how many rings there are; `shape` is (ny, nx).
    """

    index: Tensor
    times: Tensor
    count: int
    shape: tuple[int, int]

    def sums(self, values: Float[Tensor, "*many ny half"]) -> Float[Tensor, "*many rings"]:
        """The sum over each ring of the whole transform."""
        flat = (values * self.times).reshape(-1, self.index.numel())
        found = flat.new_zeros(len(flat), self.count).index_add_(1, self.index.flatten(), flat)
        return found.reshape(*values.shape[:-2], self.count)

    def spread(self, values: Float[Tensor, "*many rings"]) -> Float[Tensor, "*many ny half"]:
        """One value a ring, at each of its frequencies."""
        return values[..., self.index]


@lru_cache(maxsize=256)
def rings_of(shape: tuple[int, int], spacing_mm: tuple[float, float] = (1.0, 1.0), device: str = "cpu") -> Rings:
    """Rings one frequency step wide, for slices of `shape` (ny, nx) pixels of `spacing_mm` (dy, dx).

    Ring k holds the frequencies nearest to k times the step of the shorter side, so that none is empty; ring 0 is
    the mean alone.
    """
    (ny, nx), (dy, dx) = shape, spacing_mm
    frequency = np.hypot(np.fft.fftfreq(ny, dy)[:, None], np.fft.rfftfreq(nx, dx))
    nearest = np.rint(frequency * min(ny * dy, nx * dx)).clip(min=1)
    nearest[0, 0] = 0
    present, ranks = np.unique(nearest, return_inverse=True)
    index = torch.from_numpy(ranks.reshape(frequency.shape))
    times = torch.full(index.shape, 2.0)
    times[:, 0] = 1.0
    if nx % 2 == 0:
        times[:, -1] = 1.0
    return Rings(index.to(device), times.to(device), len(present), shape)


def ring_power(noise: Float[Tensor, "*many ny nx"], rings: Rings) -> Float[Tensor, "*many rings"]:
    """Power of every slice in every ring: the sum of |DFT|^2 over the ring.

    The sum over the rings is ny nx times the sum of squares of the slice (Parseval).
    """
    return _held(torch.fft.rfft2(noise), rings)


def onto_rings(noise: Float[Tensor, "*many ny nx"], power: Float[Tensor, "*many rings"], rings: Rings
               ) -> Float[Tensor, "*many ny nx"]:
    """The nearest noise whose every slice has exactly `power` in every ring.

    The set is {p: the sum of |DFT p_z|^2 over ring r is power_r, for every slice z and ring r}, a product of
    spheres. The projection solves min |q - p|_2 over q in the set: it scales each ring of each slice (rings are
    orthogonal, and the DFT is an isometry up to a constant). It is idempotent. In a sphere's centre, a ring
    without power, every point of the sphere is equally near: such a ring gets the phases of one fixed draw of
    white noise, so that the result exists and is always the same.
    """
    spectrum = torch.fft.rfft2(noise)
    held = _held(spectrum, rings)
    empty = _empty(held)
    if bool((empty & (power > 0)).any()):
        spectrum = torch.where(rings.spread(empty), _white(rings), spectrum)
        held = _held(spectrum, rings)
    return _scaled(spectrum, power / held.clamp(min=torch.finfo(held.dtype).tiny), rings)


def steepest(gradient: Float[Tensor, "*many ny nx"], power: Float[Tensor, "*many rings"], rings: Rings
             ) -> Float[Tensor, "*many ny nx"]:
    """The noise p with `power` in every ring that maximises <gradient, p>: the exact optimum of a linear model.

    Per slice and ring it is the gradient's own part, scaled to the ring's power; the maximum is the sum over
    slices and rings of sqrt(power_r G_r) / (ny nx), with G_r the gradient's power in the ring. A ring in which
    the gradient has none stays without: any phases would do there, and those of the noise may stay. The size of the
    gradient, which with large logits is near float32's end, is taken off first.
    """
    exponent = torch.frexp(gradient.abs().amax((-2, -1), keepdim=True)).exponent
    spectrum = torch.fft.rfft2(torch.ldexp(gradient, -exponent.clamp(-120, 120)))   # exact, by a power of 2
    held = _held(spectrum, rings)
    ratio = power / held.clamp(min=torch.finfo(held.dtype).tiny)
    return _scaled(spectrum, torch.where(_empty(held), 0, ratio), rings)


@dataclass(frozen=True, eq=False)
class RingSet:
    """The noises of one spectrum on one grid: each slice has exactly its expected power in every ring.

    `power` (rings,) is the expected ring power of a random draw of 1 HU; times size^2 at any other size. Its sum
    is (ny nx)^2 times the variance of a draw. The mean's ring is among them: a patch of a scan has a mean.
    """

    rings: Rings
    power: Float[Tensor, "rings"]

    def nearest(self, noise: Images, size: Values) -> Images:
        """The nearest noise in the set, for each image's own size in HU (`onto_rings`)."""
        return onto_rings(noise, self._power(noise, size), self.rings)

    def steepest(self, gradient: Images, size: Values) -> Images:
        """The noise in the set that gains most on a straight line (`steepest`)."""
        return steepest(gradient, self._power(gradient, size), self.rings)

    def error(self, noise: Images, size: Values) -> Values:
        """The largest relative error of ring power in any slice, (n,).

        A ring that should hold less than a millionth of the slice's power is judged by that millionth: float32
        at 1000 HU leaves no more.
        """
        target = self._power(noise, size)
        least = _JUDGED * target.sum(-1, keepdim=True)
        off = (ring_power(noise, self.rings) - target).abs() / torch.maximum(target, least)
        return off.flatten(1).amax(1)

    def _power(self, like: Tensor, size: Values) -> Tensor:
        power: Tensor = an_image(size.square(), like)[..., 0] * self.power
        return power


@lru_cache(maxsize=256)
def ring_set(field: Field, device: str = "cpu") -> RingSet:
    """The set of a field's draws, on a device."""
    rings = rings_of(field.shape, field.spacing_mm)
    power = rings.sums(torch.from_numpy(field.expected_power().copy()) * (field.shape[0] * field.shape[1]))
    return RingSet(rings_of(field.shape, field.spacing_mm, device), power.to(device, torch.float32))


@lru_cache(maxsize=256)
def pooled_set(field: Field, lead: int, modulus: bool, device: str = "cpu") -> "PooledSet":
    """[B]'s set for a field; `lead` is the number of axes before the slice's two."""
    rings = rings_of(field.shape, field.spacing_mm)
    literal = torch.from_numpy(replace(field, periodic=True).expected_power().copy())
    power = literal * (field.shape[0] * field.shape[1])
    target = rings.sums(power.sqrt() if modulus else power)
    return PooledSet(target.to(device, torch.float32), modulus, lead, ring_set(field, device))


@dataclass(frozen=True, eq=False)
class PooledSet:
    """Paper [B]'s set (doi:10.1088/1361-6560/abc812, eq. 2): ring amplitude right on average over all samples.

    The mean is over the angles of a ring, all slices and all images that are projected together, so one image's
    noise depends on the others' and may hoard their power. Eq. 5 prints no modulus; the mean of complex values is
    near 0, so `modulus` takes the mean modulus. For Gaussian noise that is sqrt(pi)/2 of the root mean square, and
    the projection inflates its sigma by 1.128. Without `modulus` the root mean square is kept: the same pooling
    at the right sigma. The target is S itself, without power at 0 (there eq. 5 reads 0/0 and gives 0 here);
    `each` is what a random draw keeps slice by slice, by which errors are told.
    """

    target: Float[Tensor, "rings"]
    modulus: bool
    lead: int
    each: RingSet

    def nearest(self, noise: Tensor, size: Values) -> Tensor:
        """Eq. 5 for (*many, n, 1, *space): every ring times one factor, common to all slices and images.

        Leading axes (`*many`) are pooled each on its own. Where sizes differ, noise is pooled in units of them.
        """
        sizes, rings = size.reshape(-1, *[1] * (self.lead + 3)), self.each.rings
        spectrum = torch.fft.rfft2(noise / sizes)
        values = spectrum.abs() if self.modulus else spectrum.abs().square()
        pooled = rings.sums(values).mean(tuple(range(-self.lead - 3, -1)), keepdim=True)
        scale = self.target / pooled.clamp(min=torch.finfo(pooled.dtype).tiny)
        scale = torch.where(pooled > 0, scale, 0)
        return sizes * _scaled(spectrum, scale.square() if self.modulus else scale, rings)

    def steepest(self, gradient: Images, size: Values) -> Images:
        """The gradient itself: eq. 3 does not normalise its step."""
        return gradient

    def error(self, noise: Images, size: Values) -> Values:
        """As for a `RingSet`."""
        return self.each.error(noise, size)


def _held(spectrum: Tensor, rings: Rings) -> Tensor:
    return rings.sums(spectrum.real.square() + spectrum.imag.square())


def _empty(held: Tensor) -> Tensor:
    return held <= _EMPTY * held.sum(-1, keepdim=True)


def _scaled(spectrum: Tensor, ratio: Tensor, rings: Rings) -> Tensor:
    """The noise of a half transform, each ring's power multiplied by its `ratio`."""
    noise: Tensor = torch.fft.irfft2(spectrum * rings.spread(ratio.sqrt()), s=rings.shape)
    return noise


@lru_cache(maxsize=256)
def _white(rings: Rings) -> Tensor:
    """The transform of one fixed draw of white noise."""
    drawn = torch.randn(rings.shape, generator=stream(0, "phases of rings without power"))
    spectrum: Tensor = torch.fft.rfft2(drawn).to(rings.index.device)
    return spectrum
