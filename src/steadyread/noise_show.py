"""`steadyread noise show`: [B] Fig. A1: a given spectrum, a draw of it, and what is measured in many draws."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadyread import records
from steadyread._version import __version__
from steadyread.errors import UsageError
from steadyread.findings import Finding
from steadyread.report.noise_power_drawings import ShownNoise, shown_noise
from steadyread.threats.ct_noise import CTNoise
from steadyread.threats.power import Floats, noise_power, radial_frequency, ring_average
from steadyread.threats.spectrum import Spectrum, tube_load

PICTURE = "noise-shown"
# What a finite patch leaks from ring to ring is not the noise's fault: rings below so many frequency steps, or
# with less than this share of the largest power, are drawn and not judged.
_LOWEST, _WEAKEST = 1.5, 0.05


@dataclass(frozen=True)
class Showing:
    """On which grid noise is shown: patches of `size` pixels of `spacing_mm`, so many `draws`, from `seed`."""

    size: int = 64
    spacing_mm: float = 1.0
    draws: int = 1000
    seed: int = 0
    reference_mas: float | None = None


def show_noise(name: str, mas: Sequence[float], how: Showing | None = None, out: str | Path | None = None
               ) -> dict[str, Any]:
    """What noise of a spectrum looks like at each dose and whether draws have its power, as plain values.

    Writes noise-shown.json and the picture noise-shown.png and .svg into `out` (`runs/noise-show-<name>` if
    None). One set of draws serves all doses: their size goes with 1/sqrt(mAs).

    Args:
        name: a preset, or a CSV of frequency (1/mm) and power (HU^2 mm^2) as `noise measure` writes it.
        how: for a CSV that does not say it, `reference_mas` is the dose of its values.

    Raises:
        UsageError: an unknown preset, no doses or none above 0, a grid that cannot be.
        InputRefused: a CSV that is no spectrum.
    """
    how = how or Showing()
    doses = [tube_load(dose) for dose in mas]
    if not doses or not 8 <= how.size <= 1024 or how.draws < 2:
        raise UsageError("noise is shown at one dose or more, on 8 to 1024 pixels a side, from 2 draws or more; "
                         f"got {len(doses)} doses, {how.size} pixels, {how.draws} draws")
    spectrum = Spectrum.named(name, how.reference_mas)
    noise = CTNoise(spectrum, mas=doses[0], spacing_mm=how.spacing_mm)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drawn = noise.draw(how.draws, (how.size, how.size), how.seed)[:, 0].double().numpy()
    findings = [Finding("spectrum", "warning", str(one.message)) for one in caught]
    shown = [_at(spectrum, dose, drawn * np.sqrt(doses[0] / dose), how.spacing_mm) for dose in doses]
    folder = Path(out) if out is not None else Path("runs") / f"noise-show-{spectrum.name}"
    pictures = [str(path) for path in shown_noise(PICTURE, shown, spectrum.name).save(folder)]
    found = {"name": spectrum.name, "provenance": spectrum.provenance, "peak_per_mm": spectrum.peak_per_mm,
             "mean_per_mm": spectrum.mean_per_mm, "size_px": how.size, "spacing_mm": how.spacing_mm,
             "draws": how.draws, "seed": how.seed, "doses": [_figures(one) for one in shown],
             "findings": [finding.as_json() for finding in findings], "steadyread": __version__,
             "folder": str(folder), "pictures": pictures}
    records.write_json(folder / f"{PICTURE}.json", found)
    return found


def _at(spectrum: Spectrum, mas: float, noise: Floats, spacing_mm: float) -> ShownNoise:
    """The spectrum at a dose beside what is measured in draws. The mean is known to be 0, so no trend is taken
    off; the Hann window keeps power from leaking into the lowest rings."""
    measured = noise_power(noise, spacing_mm, detrend="none", window="hann")
    given = spectrum.power(radial_frequency(noise.shape[1:], measured.spacing_mm), mas)
    frequency, rings, _ = ring_average(given, measured.spacing_mm)
    fine = np.linspace(0, frequency[-1], 400)
    step = 1 / (noise.shape[-1] * spacing_mm)
    judged = (frequency > _LOWEST * step) & (frequency <= measured.nyquist_per_mm) & (
        rings > _WEAKEST * rings.max())
    error = np.abs(measured.power_hu2_mm2[judged] / rings[judged] - 1)
    return ShownNoise(mas, spectrum.sigma_hu(mas, spacing_mm), float(noise.std()), np.fft.fftshift(given), noise[0],
                      measured.power_2d, spacing_mm, fine, spectrum.power(fine, mas), frequency,
                      measured.power_hu2_mm2, float(error.max()) if len(error) else None)


def _figures(one: ShownNoise) -> dict[str, Any]:
    return {"mas": one.mas, "sigma_hu": one.sigma_hu, "sigma_of_draws_hu": one.sigma_of_draws_hu,
            "largest_ring_error": one.largest_ring_error}
