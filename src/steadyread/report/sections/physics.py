"""The noise and the dose: the spectrum, what each dose does to an image, and how far the dose could fall."""

from collections.abc import Iterator
from typing import Any

from steadyread.metrics.reads import RANDOM
from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Text, grid
from steadyread.report.marks import italic, mark
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.table import Column, Form, table
from steadyread.words.noise import fall_said
from steadyread.words.numbers import digits, percent

_EFFECTIVE = f"m{mark('sub', 'eff')}"


@section("For physicists: the noise and the dose", of=Noise, order=610)
def physics(noise: Noise) -> Iterator[Item]:
    """The spectrum and sigma of the noise, effective doses, and critical doses."""
    yield grid(tuple(Text(words) for words in _spectrum(noise)), Figure("spectrum"))
    if noise.summary["doses"]:
        yield _doses(noise)
    yield Heading("How far could the dose fall?")
    if noise.summary["dose_fall"]:
        yield from _fall(noise)
    else:
        yield Text("Critical doses need the drift and jitter of random noise, which were not recorded.")


def size(value: str | float | list[Any]) -> str:
    """Lengths in mm as they were set: `32`, `5 × 24 × 24`."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, int | float) else " × ".join(
        map(str, value))


def _spectrum(noise: Noise) -> Iterator[str]:
    spectrum = noise.summary["spectrum"]
    if not spectrum:
        yield "No spectrum was stored with this study."
        return
    yield (f"Spectrum “{spectrum['name']}” at {spectrum['reference_mas']:g} mAs: {spectrum['provenance']}. Its peak "
           f"lies at {spectrum['peak_per_mm']:.2f} /mm, its mean at {spectrum['mean_per_mm']:.2f} /mm (of the radial "
           "profile).")
    yield f"{_grid(spectrum)} {_mode(noise)}"
    low, high = (f"{end:g}".replace("-", "−") for end in noise.window)
    yield (f"Noise is added in HU and never clipped; the network's window of {low} to {high} HU comes after. At very "
           "low dose electronic noise would add more than this law says.")


def _grid(spectrum: dict[str, Any]) -> str:
    if spectrum["domain"] == "native":
        return ("Noise is drawn on each scan's own grid and resampled with the image's own operator, which lowers "
                "sigma and correlates neighbouring slices.")
    of_mm = f" of {size(spectrum['grid_mm'])} mm" if spectrum.get("grid_mm") else ""
    return (f"Noise is drawn on the image's grid{of_mm}, slices independent, as in [B]; a scanner's, resampled with "
            "the image, would be weaker and correlated along z.")


def _mode(noise: Noise) -> str:
    if noise.simulated:
        return ("Only the difference from the scan's own noise is inserted, so that the image has the noise of the "
                "stated dose.")
    unknown = "" if _effective(noise) else (
        " No scan's own mAs is known here, so the dose that a noisy image really has cannot be told; it is lower "
        "than the dose added.")
    scan, added = (f"1/m{mark('sub', name)}" for name in ("scan", "added"))
    return (f"It is {italic('added')} to the noise that the scan has already, as in [B]: 1/{_EFFECTIVE} = {scan} + "
            f"{added}.{unknown}")


def _effective(noise: Noise) -> dict[float, float]:
    """The dose that a scan then has, by the dose added, where any scan's own is known."""
    return {row["mas"]: row["effective"] for row in noise.summary["effective"] if row["effective"] is not None}


def _doses(noise: Noise) -> Item:
    """A dose a row: its sigma, the median dose that the scans then have, and the share of reads changed."""
    s, spectrum = noise.summary, noise.summary["spectrum"] or {}
    sigma, native = spectrum.get("sigma_hu", {}), spectrum.get("sigma_native_hu") or {}
    realised = {row["mas"]: row["sigma_hu"] for row in s["plausibility"] if row["attack"] == RANDOM}
    effective = _effective(noise)
    expected = {row["mas"]: row["share"] for row in s["expected"]}
    columns = [Column(f"mAs {'simulated' if noise.simulated else 'added'}", forms.DOSE),
               Column(f"σ{' on the image’s grid' if native else ''}, HU", forms.only(1, 1)),
               *([Column("σ on the scanner’s grid, HU", forms.only(1, 1))] if native else []),
               Column("σ realised, HU", forms.only(1, 1)),
               *([Column("Scan then has, mAs", forms.DIGITS)] if effective else []),
               Column("Reads changed by one draw, %", forms.folded())]
    rows = [(mas, sigma.get(f"{mas:g}"), *([native.get(f"{mas:g}")] if native else []),
             (realised.get(mas) or {}).get("median"), *([effective.get(mas)] if effective else []),
             expected.get(mas)) for mas in s["doses"]]
    then_has = "" if not effective else (
        f"{italic('Scan then has')}: the median {_EFFECTIVE} over the {s['effective'][0]['known']} of "
        f"{s['effective'][0]['cases']} images whose scan's own mAs is known. ")
    return table(columns, rows, note=f"σ realised: median over the images, before the window. {then_has}Reads "
                 "changed: expected from margin, drift and jitter, mean ± SD over folds.")


def _fall(noise: Noise) -> Iterator[Item]:
    s = noise.summary
    yield Text(f"{fall_said(s)} {_of_own_dose(noise)}".strip())
    critical = Form(noise.critical)
    columns = [Column("P(flip) above", Form(lambda level: f"{100 * level:g} %", tone="")),
               Column("Median critical mAs", Form(lambda dose: noise.critical(dose.value),
                                                  beside=lambda dose: forms.between(dose, noise.critical))),
               Column("Quartiles", Form(lambda ends: ", ".join(map(noise.critical, ends)))),
               Column("95th percentile", critical), Column("Not above it at any dose, %", forms.only()),
               Column("Still above it at the highest, %", forms.only())]
    yield table(columns, [(row["level"], row["median"], (row["quantile_0.25"], row["quantile_0.75"]),
                           row["quantile_0.95"], row["below"], row["above"]) for row in s["critical"]], tone="snug",
                note=f"{s['dose_fall']['reads']} reads ({s['dose_fall']['cases']} images, each by every fold's "
                f"network). Searched between {s['doses'][0]:g} and {s['doses'][-1]:g} mAs, the doses tried; between "
                "two of them drift × mAs and jitter × √mAs are taken as linear in log mAs.")
    yield grid(Figure("dose_fall"), Figure("critical"))


def _of_own_dose(noise: Noise) -> str:
    fall = noise.summary["own_dose_fall"]
    if not fall:
        return ""
    left = "; ".join(f"{100 * float(share):g} % of reads change once {_left(kept.value)}"
                     for share, kept in sorted(fall["kept_at_share"].items()))
    return (f"Of a scan's own dose (median {digits(fall['median_scan_mas'])} mAs, {fall['cases']} images): {left}. "
            "This takes the preset's mAs for the scan's own, which is true only for the scanner, kernel and slice "
            "thickness of the preset.")


def _left(share: float | None) -> str:
    if share == 0:
        return "less than 5 % of it is left"
    return "any of it is missing" if share is not None and share > 1 else f"{percent(share, 0)} of it is left"
