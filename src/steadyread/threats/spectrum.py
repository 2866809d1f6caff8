"""The noise power spectrum of a scanner: which frequencies CT noise has, and how much of each at what dose.

A spectrum is radial and one table, whatever it came from: S(f) in HU^2 mm^2 at a reference tube load, linear
between the table's frequencies and zero beyond the last. Definitions as in ICRU Report 87
(doi:10.1093/jicru/nds002): sigma^2 is the integral of S over the band that a pixel grid holds.
"""

import hashlib
import math
import warnings
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadyread.errors import InputRefused, UsageError
from steadyread.files import is_regular
from steadyread.threats.power import noise_power, pixel_spacing, radial_frequency
from steadyread.threats.spectrum_table import read_spectrum_table

Floats = NDArray[np.float64]

_FIELD = 512            # pixels a side of the field over which a sigma is integrated
_REFERENCE_MM = 0.7     # the presets' reference grid: a chest field of 358 mm over 512 pixels
_FALL = 2.2             # c in S = a f exp(-(f/b)^c); 2.1 to 2.4 fit the theory of filtered backprojection
_THICKNESSES_AGREE = 1.1
_LEAST_HU2, _MOST_HU2 = 1e-6, 1e8      # of a spectrum's variance at its reference dose
_TABLE = np.linspace(0.0, 2.5, 1001)    # 1/mm, up to the Nyquist frequency of 0.2 mm pixels
PRESETS = {"soft": (0.25, 11.7, 17.66, "mediastinal"), "lung": (0.6, 25.2, 37.96, "lung")}


class SpectrumWarning(UserWarning):
    """A spectrum and a pixel grid do not fit each other; what was done about it is in the message."""


class ThicknessWarning(SpectrumWarning):
    """A spectrum was measured on slices of another thickness than it is used on."""


@dataclass(frozen=True, repr=False)
class Spectrum:
    """S(f), radial, in HU^2 mm^2 at `reference_mas`; at another dose S ~ 1/mAs, so that sigma ~ 1/sqrt(mAs).

    The law is that of quantum noise. At very low dose electronic noise breaks it upwards, which is not modelled.

    Args:
        provenance: where the numbers come from, in one line for the reports.
        frequency_per_mm: ascending from 0.
        power_hu2_mm2: the table's values; linear between, zero beyond the last frequency.
        slice_thickness_mm: of the slices it was measured on, None where unknown: S ~ 1/thickness.

    Raises:
        InputRefused: frequencies that do not ascend from 0, negative or non-finite values, no power at all.
        UsageError: a dose that is not a positive number.
    """

    name: str
    provenance: str
    reference_mas: float
    frequency_per_mm: tuple[float, ...] = field(repr=False)
    power_hu2_mm2: tuple[float, ...] = field(repr=False)
    slice_thickness_mm: float | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """Short, and another for another table: it stands in the plan of every run."""
        table = repr((self.frequency_per_mm, self.power_hu2_mm2)).encode()
        digest = hashlib.sha256(table).hexdigest()[:16]
        return f"Spectrum({self.name}, {self.provenance}; {self.reference_mas:g} mAs, sha256 {digest})"

    def __post_init__(self) -> None:
        tube_load(self.reference_mas)
        frequency, power = (np.asarray(values, float) for values in (self.frequency_per_mm, self.power_hu2_mm2))
        told = f"the spectrum '{self.name}'"
        if frequency.ndim != 1 or frequency.shape != power.shape or len(frequency) < 2:
            raise InputRefused(f"{told} needs as many powers as frequencies, two at least; got shapes "
                               f"{frequency.shape} and {power.shape}")
        if not (np.isfinite(frequency).all() and frequency[0] == 0 and (np.diff(frequency) > 0).all()):
            raise InputRefused(f"{told} needs frequencies (1/mm) that ascend from 0")
        if not (np.isfinite(power).all() and (power >= 0).all() and power.any()):
            raise InputRefused(f"{told} needs powers (HU^2 mm^2) of at least 0, not all of them 0")
        if not _LEAST_HU2 < self.whole_variance_hu2 < _MOST_HU2:
            raise InputRefused(f"{told} has a sigma of {math.sqrt(self.whole_variance_hu2):.3g} HU at its "
                               "reference dose, which no scanner has; are its powers in HU^2 mm^2?")

    def __hash__(self) -> int:
        """Cheap, since spectra are the keys of caches; equality still compares the whole table."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.reference_mas, self.power_hu2_mm2))

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        return np.asarray(self.frequency_per_mm, float), np.asarray(self.power_hu2_mm2, float)

    def power(self, frequency_per_mm: ArrayLike, mas: float) -> Floats:
        """S at these frequencies (1/mm, any shape) and this dose, in HU^2 mm^2."""
        frequency, power = self._table
        scale = self.reference_mas / tube_load(mas)
        found: Floats = np.interp(np.abs(np.asarray(frequency_per_mm, float)), frequency, power, right=0.0) * scale
        return found

    def sigma_hu(self, mas: float, spacing_mm: float | tuple[float, float] = 1.0) -> float:
        """The standard deviation, in HU, of noise on a grid of these pixels ((dy, dx) or one value, mm).

        It is the root of the integral of S over the grid's band (a 512x512 DFT grid): power above the Nyquist
        frequency is not there, and nothing is scaled up for it.
        """
        return math.sqrt(_variance(self, pixel_spacing(spacing_mm)) * self.reference_mas / tube_load(mas))

    @property
    def peak_per_mm(self) -> float:
        """The table's frequency of the largest S(f), the radial curve."""
        frequency, power = self._table
        return float(frequency[power.argmax()])

    @property
    def mean_per_mm(self) -> float:
        """The integral of f S(f) over that of S(f), along the radial curve and over the whole table. (The mean
        over the plane, which weights by a further f, is higher; a grid holds less than the whole table.)"""
        frequency, power = self._table
        return float(np.trapezoid(frequency * power, frequency) / np.trapezoid(power, frequency))

    def warn_where_cut(self, spacing_mm: float | tuple[float, float]) -> None:
        """Warns (`SpectrumWarning`) where this grid and this spectrum do not fit each other: the table ends
        below the grid's Nyquist frequency, or its peak and most of its power lie above it."""
        for told in _misfits(self, pixel_spacing(spacing_mm)):
            warnings.warn(told, SpectrumWarning, stacklevel=3)

    def other_thickness(self, thickness_mm: float) -> str | None:
        """What to say where noise is drawn on slices of another thickness than the spectrum was measured on: noise
        goes with 1/sqrt(thickness). None where both agree within 10 %, or the spectrum's is not known."""
        own = self.slice_thickness_mm
        if own is None or max(own, thickness_mm) <= _THICKNESSES_AGREE * min(own, thickness_mm):
            return None
        wrong = math.sqrt(max(own, thickness_mm) / min(own, thickness_mm))
        return (f"the spectrum '{self.name}' was measured on slices of {own:.3g} mm and is used on slices of "
                f"{thickness_mm:.3g} mm: noise goes with 1/sqrt(thickness), so it is {wrong:.3g} times too "
                f"{'weak' if own > thickness_mm else 'strong'} (it is not scaled); measure slices as thick as the "
                "study's")

    def warn_where_other_thickness(self, thickness_mm: float | None) -> None:
        """Warns (`ThicknessWarning`) of what `other_thickness` says; an unknown thickness (None) says nothing."""
        told = None if thickness_mm is None else self.other_thickness(thickness_mm)
        if told is not None:
            warnings.warn(told, ThicknessWarning, stacklevel=3)

    @cached_property
    def whole_variance_hu2(self) -> float:
        """sigma^2 at the reference dose on a grid fine enough for the whole table: the integral of 2 pi f S df."""
        frequency, power = self._table
        with np.errstate(over="ignore"):
            return float(np.trapezoid(2 * np.pi * frequency * power, frequency))

    @classmethod
    def soft(cls) -> "Spectrum":
        """A mediastinal (soft) kernel, 11.7 HU at 250 mAs on 0.7 mm pixels."""
        return _preset("soft")

    @classmethod
    def lung(cls) -> "Spectrum":
        """A lung (sharp) kernel, 25.2 HU at 250 mAs on 0.7 mm pixels. A 1 mm grid cannot hold its peak."""
        return _preset("lung")

    @classmethod
    def preset(cls, name: str) -> "Spectrum":
        """`soft` or `lung`. UsageError for another name."""
        if name not in PRESETS:
            raise UsageError(f"the spectrum presets are {', '.join(PRESETS)}; there is no '{name}'")
        return _preset(name)

    @classmethod
    def named(cls, name: str, reference_mas: float | None = None) -> "Spectrum":
        """A preset, or the spectrum of a table (`from_csv`) at `reference_mas`, else as the table says.

        Raises:
            UsageError: no such preset or file, a dose for a preset, or the dose of a table is not known.
            InputRefused: a file that is no table of a spectrum.
        """
        if name in PRESETS:
            if reference_mas is not None:
                raise UsageError(f"the spectrum '{name}' has a dose of its own, {_preset(name).reference_mas:g} "
                                 "mAs: leave reference_mas out, which is for a table")
            return _preset(name)
        path = Path(name)
        if not is_regular(path):
            raise UsageError(f"there is no spectrum '{name[:200]}': the presets are {', '.join(PRESETS)}, and no "
                             "CSV of that name is here (`steadyread noise measure` writes one)")
        return cls.from_csv(path, reference_mas)

    @classmethod
    def from_csv(cls, path: str | Path, reference_mas: float | None = None) -> "Spectrum":
        """A spectrum from a table of frequencies, ascending, and powers.

        The header names the columns, such as frequency_per_mm and power_hu2_mm2, f (1/cm) and S, with or without
        units; without a header they are f in 1/mm and S in HU^2 mm^2. Further columns, empty lines and lines that
        start with # are passed over. Where the first frequency is above 0, S(0) = 0 is put before it, as filtered
        backprojection has it.

        `reference_mas` is the dose it was measured at; where None the file says so in `# reference_mas: 100`. The
        thickness of the slices it was measured on stands in `# slice_thickness_mm: 5`.

        Raises:
            InputRefused: one line that names the file and the row.
            UsageError: the dose is not known.
        """
        path = Path(path)
        table = read_spectrum_table(path)
        if reference_mas is None and table.reference_mas is None:
            raise UsageError(f"{path}: at which dose was it measured? State reference_mas (noise.reference_mas), "
                             "or have a line '# reference_mas: 100' in the file")
        mas = tube_load(table.reference_mas or 0 if reference_mas is None else reference_mas)
        told = f"{path.name} (sha256 {table.digest}), {mas:g} mAs"
        told = f"{table.comment}; {told}" if table.comment.startswith("measured") else told
        try:
            return cls(path.stem, f"the user's table {told}", mas,
                       *_from_zero(table.frequency_per_mm, table.power_hu2_mm2), table.slice_thickness_mm)
        except InputRefused as problem:
            raise InputRefused(f"{path}: {problem}") from None

    @classmethod
    def measured(cls, rois_hu: ArrayLike, spacing_mm: float | tuple[float, float], mas: float,
                 name: str = "measured") -> "Spectrum":
        """The radial average of regions' noise power, `rois_hu` (n, ny, nx) of a uniform phantom at `mas`.

        A plane is taken off each region and S(0) = 0. The shape is measured under a Hann window, without which
        power leaks from the strong frequencies into the weak and is drawn there; the magnitude without one, since
        all pixels tell it. See `steadyread.threats.power.noise_power`.
        """
        found, shape = noise_power(rois_hu, spacing_mm), noise_power(rois_hu, spacing_mm, window="hann")
        dy, dx = found.spacing_mm
        told = (f"measured: {found.rois} regions of {found.power_2d.shape[0]}x{found.power_2d.shape[1]} pixels of "
                f"{dy:.3g}x{dx:.3g} mm, sigma {found.sigma_hu:.3g} HU at {mas:g} mAs")
        power = shape.power_hu2_mm2 * (found.sigma_hu / shape.sigma_hu) ** 2
        return cls(name, told, float(mas), *_from_zero(shape.frequency_per_mm, power))


def tube_load(mas: float) -> float:
    """A dose in mAs, as it came. UsageError unless it is a positive number."""
    if not 0 < mas < math.inf:
        raise UsageError(f"a dose is a number of mAs above 0; got {mas:g}")
    return float(mas)


@lru_cache(maxsize=4096)
def _variance(spectrum: Spectrum, spacing: tuple[float, float]) -> float:
    """HU^2 at the reference dose: sum(S) / (Nx dx Ny dy), over one quarter of the plane by symmetry."""
    radius = radial_frequency((_FIELD, _FIELD), spacing)[:_FIELD // 2 + 1, :_FIELD // 2 + 1]
    weight = np.full(_FIELD // 2 + 1, 2.0)
    weight[[0, -1]] = 1.0     # the frequencies 0 and Nyquist are there once, all others with both signs
    power = spectrum.power(radius, spectrum.reference_mas)
    return float(weight @ power @ weight / (_FIELD**2 * spacing[0] * spacing[1]))


@lru_cache(maxsize=4096)
def _misfits(spectrum: Spectrum, spacing: tuple[float, float]) -> tuple[str, ...]:
    """What to warn of. Figures are rounded, so that many grids of about one size give one line."""
    told = []
    last, finest, coarsest = spectrum.frequency_per_mm[-1], 0.5 / min(spacing), 0.5 / max(spacing)
    if last < finest * (1 - 1e-9):
        told.append(f"the spectrum '{spectrum.name}' ends at {last:.3g}/mm, below the Nyquist frequency "
                    f"{finest:.2g}/mm of {min(spacing):.2g} mm pixels: taken as zero from there")
    held = _variance(spectrum, spacing) / spectrum.whole_variance_hu2
    if spectrum.peak_per_mm > coarsest and held < 0.5:
        told.append(f"the spectrum '{spectrum.name}' peaks at {spectrum.peak_per_mm:.2g}/mm, above the Nyquist "
                    f"frequency {coarsest:.2g}/mm of {max(spacing):.2g} mm pixels: such a grid holds "
                    f"{100 * held:.0f} % of its power, and the noise is as much weaker (it is not scaled up)")
    return tuple(told)


@lru_cache(maxsize=len(PRESETS))
def _preset(name: str) -> Spectrum:
    peak, sigma, published, kernel = PRESETS[name]
    shape = _TABLE * np.exp(-((_TABLE / (peak * _FALL ** (1 / _FALL))) ** _FALL))
    told = (f"S = a f exp(-(f/b)^{_FALL}), sigma {sigma} HU at 250 mAs on a {_FIELD}x{_FIELD} field of "
            f"{_REFERENCE_MM} mm pixels: from {published} HU in the trachea at 110 mAs, 120 kVp, {kernel} kernel, "
            f"filtered backprojection (Pontana et al. 2015), times sqrt(110/250). The peak at {peak}/mm is our "
            "choice from published ranges for such kernels; the slice thickness is not told in the source's "
            "abstract, and sigma goes as 1/sqrt of it")
    bare = Spectrum(name, told, 250.0, tuple(_TABLE.tolist()), tuple(shape.tolist()))
    scale = sigma**2 / bare.sigma_hu(250.0, _REFERENCE_MM) ** 2    # `a`, solved here once
    return Spectrum(name, told, 250.0, bare.frequency_per_mm, tuple((shape * scale).tolist()))


def _from_zero(frequency: ArrayLike, power: ArrayLike) -> tuple[tuple[float, ...], tuple[float, ...]]:
    frequency, power = np.asarray(frequency, float), np.asarray(power, float)
    if len(frequency) and frequency[0] > 0:
        frequency, power = np.concatenate([[0.0], frequency]), np.concatenate([[0.0], power])
    return tuple(frequency.tolist()), tuple(power.tolist())
