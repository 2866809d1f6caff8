"""`steadyread noise measure`: the noise power spectrum of a phantom series, as table, picture and figures."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyread import records
from steadyread._version import __version__
from steadyread.cases.dicom import read_dicom
from steadyread.cases.series import Series, harmonic_mean, read_npz, slice_range
from steadyread.cases.structure import Material, covered_share, not_uniform, of_all
from steadyread.cases.uniform import Floats, Region, cut, find_regions
from steadyread.charts import Chart
from steadyread.errors import InputRefused, UsageError
from steadyread.findings import Finding, worst_first
from steadyread.metrics.dose_law import QUANTUM, DoseLaw, dose_law
from steadyread.names import shown as safe
from steadyread.report.noise_power_drawings import MeasuredPower, measured_power
from steadyread.threats.power import Detrend, PowerEstimate, Window, noise_power, pixel_spacing, without_trend
from steadyread.threats.spectrum import tube_load

TABLE, SETTINGS, PICTURE = "noise.csv", "noise.json", "noise-power"
# Ratios below which neighbours share something: of sigma with differences to that without, of the mean frequencies.
_SHARED, _LOWER = 0.95, 0.97
_LEAST_MAS, _MOST_MAS = 1.0, 2000.0   # of a slice of CT; beyond them a tag has another unit
_DOSES_AGREE = 1.05    # ratio of the doses over which sigma is regressed on them
_WIDE = 1.5            # ratio of the doses from which a law other than quantum noise's changes the figures
_LAW_OFF = 0.1         # by which the exponent may differ from -1/2 before it needs a word


@dataclass(frozen=True)
class Measurement:
    """How noise is measured.

    `rois` are "ROW,COLUMN,SIZE" in pixels (upper left pixel and side), found where none are given; `side_mm` is
    the side of those that are found. `difference` takes each slice less the next, over the root of 2. `slices`
    is "FIRST:END", counted from 0. `mas` and `spacing_mm` override what the files say. `array` and `offset`
    are for npz, `series` (the end of a series uid) is for DICOM.
    """

    difference: bool = False
    rois: tuple[str, ...] = ()
    side_mm: float | None = None
    slices: str | None = None
    detrend: Detrend = "plane"
    taper: Window = "none"
    mas: float | None = None
    spacing_mm: float | None = None
    array: str | None = None
    offset: float = 0.0
    series: str | None = None


def measure_noise(sources: Sequence[str | Path], how: Measurement | None = None, out: str | Path | None = None
                  ) -> dict[str, Any]:
    """The noise power spectrum of a series, as plain values.

    Writes noise.csv (which `Spectrum.from_csv` reads), noise.json (all of it) and the picture noise-power.png
    and .svg into `out` (`runs/noise-<name>` if None).

    Args:
        sources: one npz, or DICOM files and folders of one series.

    Raises:
        InputRefused: what is there is no CT series, or holds no uniform part; one line that names the file.
        UsageError: a setting that cannot be.
    """
    how = how or Measurement()
    if how.mas is not None:
        tube_load(how.mas)
    if how.spacing_mm is not None:
        pixel_spacing(how.spacing_mm)
    series = _opened([Path(source) for source in sources], how)
    spacing = _spacing(series, how)
    if how.difference:
        series.refuse_gaps()
    regions = _stated(series, how) if how.rois else find_regions(
        series.images_hu, spacing, how.side_mm, 2 if how.difference else 1, series.dose_groups())
    rois = cut(series.images_hu, regions, how.difference)
    images, regions_of = np.unique([one.image for one in regions], return_counts=True)
    power = noise_power(rois, spacing, how.detrend, how.taper,
                        1 / regions_of[np.searchsorted(images, [one.image for one in regions])])
    doses = _doses(series, images.tolist(), how)
    mas, law = harmonic_mean(doses), _law(regions, rois, doses, how)
    findings = worst_first([*_of_tags(series, doses, how), *_of_dose(series, regions, law, how),
                            *_of_regions(series, regions, rois, power, how)])
    folder = Path(out) if out is not None else Path("runs") / f"noise-{series.name}"
    found = {"name": series.name, **_figures(power, rois, regions), "reference_mas": mas,
             "dose_law": None if law is None else law.as_json(), **series.facts,
             "slices": len(series), "spacing_mm": list(spacing), "mean_hu": _means(series, regions),
             "difference": how.difference, "detrend": how.detrend, "taper": how.taper, "steadyread": __version__,
             "findings": [finding.as_json() for finding in findings], "folder": str(folder),
             "table": str(folder / TABLE)}
    found["provenance"] = provenance(found)
    records.write_text(folder / TABLE, _table(power, found))
    records.write_json(folder / SETTINGS, found | {
        "regions": [[one.image, one.row, one.column, one.side] for one in regions],
        "frequency_per_mm": power.frequency_per_mm.tolist(), "power_hu2_mm2": power.power_hu2_mm2.tolist()})
    found["pictures"] = [str(path) for path in _drawn(series, regions, power, found).save(folder)]
    return found


def provenance(found: dict[str, Any]) -> str:
    """Where a measured spectrum comes from, in one line for the reports."""
    scanner = " ".join(str(found.get(key) or "") for key in ("manufacturer", "model")).strip()
    said = [scanner, f"kernel {found['kernel']}" if found.get("kernel") else "",
            f"{found['kvp']:g} kVp" if found.get("kvp") else "",
            f"{found['slice_thickness_mm']:g} mm slices" if found.get("slice_thickness_mm") else "",
            f"{found['reference_mas']:.4g} mAs" if found["reference_mas"] else "dose not known"]
    dy, dx = found["spacing_mm"]
    trend = {"none": "", "mean": ", less the mean", "plane": ", less a plane",
             "quadratic": ", less a quadratic surface"}[found["detrend"]]
    how = "differences of neighbouring slices" if found["difference"] else "single slices"
    regions = f"{found['regions']} region{'' if found['regions'] == 1 else 's'}"
    return (f"measured on {found['name']} ({', '.join(part for part in said if part)}): {regions} of "
            f"{found['side_px']}x{found['side_px']} pixels of {dy:.3g}x{dx:.3g} mm, {how}{trend}; "
            f"sigma {found['sigma_hu']:.3g} HU")


def _opened(paths: list[Path], how: Measurement) -> Series:
    if not paths:
        raise UsageError("name a folder of DICOM files, or an npz")
    slices = slice_range(how.slices)
    if any(path.suffix.lower() == ".npz" for path in paths):
        if len(paths) > 1:
            raise UsageError(f"one npz at a time; got {len(paths)} files and folders")
        if how.series:
            raise UsageError("--series chooses among DICOM series; an npz has arrays: use --array")
        return read_npz(paths[0], how.array, how.offset, slices)
    if how.array or how.offset:
        raise UsageError("--array and --offset are for npz files; DICOM files say what their values are")
    return read_dicom(paths, how.series, slices, how.spacing_mm)


def _spacing(series: Series, how: Measurement) -> tuple[float, float]:
    spacing = how.spacing_mm if how.spacing_mm is not None else series.spacing_mm
    if spacing is None:
        raise InputRefused(f"{series.name}: its pixel spacing is not known, and the spectrum is in mm; state it "
                           "with --spacing MM")
    return pixel_spacing(spacing)


def _stated(series: Series, how: Measurement) -> list[Region]:
    """The stated regions in every slice (or pair), refused where they leave the image."""
    rows, columns = series.images_hu.shape[1:]
    squares = []
    for text in how.rois:
        try:
            row, column, side = (int(part) for part in text.split(","))
        except ValueError:
            raise UsageError("--roi takes ROW,COLUMN,SIZE in whole pixels (the upper left pixel and the side), "
                             f"such as 176,270,32; got '{text}'") from None
        if side < 1:
            raise UsageError(f"--roi {text}: the region is empty; its SIZE must be 1 pixel at least")
        if row < 0 or column < 0 or row + side > rows or column + side > columns:
            raise UsageError(f"--roi {text}: rows {row} to {row + side}, columns {column} to {column + side} leave "
                             f"the image of {rows} x {columns} pixels")
        squares.append((row, column, side))
    sides = sorted({side for _, _, side in squares})
    if len(sides) > 1:
        raise UsageError(f"regions of one size are averaged; got the sides {', '.join(map(str, sides))}")
    return [Region(image, *square) for image in range(len(series) - how.difference) for square in squares]


def _doses(series: Series, images: Sequence[int], how: Measurement) -> list[float | None]:
    """The dose of each slice (or pair) that has regions: the stated one, or its own (of a pair, the dose of the
    mean power of both). Slices count alike, so that the harmonic mean is the dose of the measured power."""
    if how.mas is not None:
        return [how.mas] * len(images)
    together = 2 if how.difference else 1
    return [harmonic_mean(series.mas[image:image + together]) for image in images]


def _law(regions: Sequence[Region], rois: Floats, doses: Sequence[float | None], how: Measurement
         ) -> DoseLaw | None:
    """How sigma goes with dose over the slices that have regions, None where they have one dose or unknown ones."""
    known = [dose for dose in doses if dose is not None]
    if len(known) < len(doses) or max(known) < _DOSES_AGREE * min(known):
        return None
    variance = without_trend(rois, how.detrend).var((1, 2))
    images = np.array([one.image for one in regions])
    return dose_law(known, [np.sqrt(variance[images == image].mean()) for image in np.unique(images)])


def _of_dose(series: Series, regions: Sequence[Region], law: DoseLaw | None, how: Measurement) -> list[Finding]:
    """Whether the slices that were taken stand for the series, and sigma goes with their dose as it should."""
    told = []
    used, count = len({one.image for one in regions}), len(series) - how.difference
    if used < count:
        kind = "pairs of slices" if how.difference else "slices"
        told.append(Finding("slices", "note", f"regions lie in {used} of the {count} {kind}; dose and noise are "
                            "theirs", used))
    if law is not None and law.is_quantum is not True and abs(law.exponent - QUANTUM) > _LAW_OFF:
        wide = law.high_mas > _WIDE * law.low_mas
        told.append(Finding("dose law", "warning" if wide else "note", (
            f"sigma goes with mAs^{law.exponent:.2f} over the slices ({law.low_mas:.4g} to {law.high_mas:.4g} "
            "mAs), not with mAs^-0.5: the phantom's size, the tags or the reconstruction change along them; "
            "measure slices of one dose (--slices) before scaling to another"), law.exponent))
    known = [dose for dose in series.mas if dose is not None]
    if how.mas is not None and known and max(known) >= _DOSES_AGREE * min(known):
        told.append(Finding("dose", "warning", f"one dose is stated (--mas {how.mas:g}), and the tags vary from "
                            f"{min(known):g} to {max(known):g} mAs over the slices: take slices of one dose "
                            "(--slices)", how.mas))
    return told


def _of_tags(series: Series, doses: Sequence[float | None], how: Measurement) -> list[Finding]:
    """What the files leave open; a stated dose answers all that they say of theirs."""
    told = [finding for finding in series.findings if how.mas is None or finding.check != "dose"]
    if harmonic_mean(doses) is None and not any(finding.check == "dose" for finding in told):
        told.append(Finding("dose", "warning", "the dose is not known, so the spectrum holds for this scan only: "
                            "state it with --mas"))
    strange = [dose for dose in doses if dose is not None and not _LEAST_MAS <= dose <= _MOST_MAS]
    if strange:
        told.append(Finding("dose range", "warning", f"the dose is {strange[0]:g} mAs; a slice of CT takes "
                            f"{_LEAST_MAS:g} to {_MOST_MAS:g} mAs: is the tag in another unit? State it with --mas",
                            strange[0]))
    if series.facts.get("of_patient"):
        told.append(Finding("patient", "warning", "the tags hold a patient's age: tissue has structure that counts "
                            "as noise; measure a phantom scanned with the same settings"))
    thick, places = series.facts.get("slice_thickness_mm"), series.positions_mm
    if how.difference and isinstance(thick, float) and places is not None:
        step = float(np.median(np.diff(places)))
        if step < 0.99 * thick:
            told.append(Finding("overlap", "warning", f"slices of {thick:g} mm every {step:.4g} mm overlap and "
                                "share noise, which differences take away: the spectrum is too low", step))
    return told


def _of_regions(series: Series, regions: list[Region], rois: Floats, power: PowerEstimate, how: Measurement
                ) -> list[Finding]:
    """Whether the regions hold noise and nothing else."""
    told = []
    wrong = not_uniform(rois)
    if wrong:
        names = tuple(f"{series.slice_names[regions[place].image]} {regions[place].row},{regions[place].column}"
                      for place in wrong)
        told.append(Finding("uniform", "warning", f"{len(wrong)} of {len(regions)} regions hold more than noise (a "
                            f"trend, an edge, a structure, or none at all), such as {names[0]}", len(wrong), names))
    covered = None if how.rois else covered_share(series.images_hu, regions)
    told += of_all(power, Material(cut(series.images_hu, regions).mean((1, 2)), covered))
    paired = [one for one in regions if one.image + 1 < len(series)]
    if paired:
        both = [*paired, *(replace(one, image=one.image + 1) for one in paired)]
        alone, apart = (noise_power(cut(series.images_hu, places, difference), power.spacing_mm, how.detrend)
                        for places, difference in ((both, False), (paired, True)))
        told += _of_neighbours(alone, apart, how.difference)
    return told


def _of_neighbours(alone: PowerEstimate, apart: PowerEstimate, difference: bool) -> list[Finding]:
    """What single slices and differences of neighbours, in the same regions, say of each other. Structure that
    slices share has low frequencies; noise that they share has the frequencies of noise."""
    ratio = apart.sigma_hu / alone.sigma_hu
    if ratio >= _SHARED:
        return []
    said = f"sigma is {alone.sigma_hu:.3g} HU in single slices and {apart.sigma_hu:.3g} HU from differences: "
    if alone.mean_per_mm < _LOWER * apart.mean_per_mm:
        return [Finding("structure", "note" if difference else "warning", said + (
            "neighbours share structure of low frequency, which single slices count as noise" + (
                "" if difference else ": use --difference")), ratio)]
    return [Finding("shared noise", "warning" if difference else "note", said + (
        "neighbours share noise, or structure as fine as it (their spectra have one shape); of the former "
        "(overlapping slices, spiral interpolation) differences lose a part"), ratio)]


def _figures(power: PowerEstimate, rois: Floats, regions: list[Region]) -> dict[str, Any]:
    side = regions[0].side
    each = rois.std((1, 2))
    return {"sigma_hu": power.sigma_hu, "sigma_range_hu": [float(each.min()), float(each.max())],
            "peak_per_mm": power.peak_per_mm, "mean_per_mm": power.mean_per_mm,
            "mean_2d_per_mm": power.mean_2d_per_mm, "nyquist_per_mm": power.nyquist_per_mm,
            "step_per_mm": 1 / (side * min(power.spacing_mm)), "regions": power.rois, "side_px": side,
            "side_mm": side * max(power.spacing_mm)}


def _means(series: Series, regions: list[Region]) -> list[float]:
    """The smallest and the largest mean of a region in HU."""
    each = cut(series.images_hu, regions).mean((1, 2))
    return [float(each.min()), float(each.max())]


def _table(power: PowerEstimate, found: dict[str, Any]) -> str:
    """Frequency and power with their provenance as comments, as `Spectrum.from_csv` reads them."""
    text = io.StringIO()
    mas = f"{found['reference_mas']:.6g}" if found["reference_mas"] else "unknown"
    thick = found.get("slice_thickness_mm")
    text.write(f"# {safe(found['provenance'])}\n# reference_mas: {mas}\n")
    text.write(f"# slice_thickness_mm: {thick:.6g}\n" if thick else "")
    text.write(f"# steadyread {__version__}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frequency_per_mm", "power_hu2_mm2", "samples"])
    writer.writerows([f"{frequency:.6g}", f"{value:.6g}", count] for frequency, value, count in
                     zip(power.frequency_per_mm, power.power_hu2_mm2, power.samples, strict=True))
    return text.getvalue()


def _drawn(series: Series, regions: list[Region], power: PowerEstimate, found: dict[str, Any]) -> Chart:
    """The slice with the most regions, the 2-D spectrum and the radial one."""
    images = [one.image for one in regions]
    shown = max(set(images), key=lambda image: (images.count(image), -abs(image - len(series) // 2), -image))
    squares = tuple((one.row, one.column, one.side) for one in regions if one.image == shown)
    # half of a real field's samples are independent: the others are their conjugates
    spread = 1 / np.sqrt(power.rois * np.maximum(power.samples / 2, 1))
    title = " ".join(str(found.get(key) or "") for key in ("manufacturer", "model", "kernel")).strip()
    dose = f"{found['reference_mas']:.3g} mAs" if found["reference_mas"] else ""
    return measured_power(PICTURE, MeasuredPower(
        ", ".join(part for part in (title or series.name, dose) if part), series.images_hu[shown],
        series.slice_names[shown], squares, power.spacing_mm, power.power_2d, power.frequency_per_mm,
        power.power_hu2_mm2, spread, power.sigma_hu, power.peak_per_mm, power.mean_per_mm))
