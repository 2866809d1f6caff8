"""Noise power spectra: one that was measured, and [B] Fig. A1 (given, drawn, measured in the draws)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.charts import Axis, Chart, Line, Matrix, Panel, Rule, chart, curve, heat, nothing
from steadyread.charts.look import BLUE, DASHED, GREEN, INK, VERMILION, Look
from steadyread.charts.pictures import POWER
from steadyread.metrics.intervals import Floats

_UNIT = "HU² mm²"
_SIDE, _CURVE = 190, 250       # width of a matrix and of a curve in pixels


@dataclass(frozen=True, eq=False)
class MeasuredPower:
    """What is drawn of a measurement: a slice (y, x) in HU with the squares (row, column, side) that were taken of
    it, the 2-D spectrum with its zero in the middle, and the ring averages with their relative standard error."""

    title: str
    slice_hu: NDArray[np.float32]
    slice_name: str
    squares: Sequence[tuple[int, int, int]]
    spacing_mm: tuple[float, float]
    power_2d: Floats
    frequency_per_mm: Floats
    power_hu2_mm2: Floats
    relative_error: Floats
    sigma_hu: float
    peak_per_mm: float
    mean_per_mm: float


@dataclass(frozen=True, eq=False)
class ShownNoise:
    """One dose of [B] Fig. A1: given and measured spectra, 2-D (zero in the middle) and radial, and one draw."""

    mas: float
    sigma_hu: float
    sigma_of_draws_hu: float
    given_2d: Floats
    draw_hu: Floats
    measured_2d: Floats
    spacing_mm: float
    curve_per_mm: Floats
    curve_hu2_mm2: Floats
    ring_per_mm: Floats
    ring_hu2_mm2: Floats
    largest_ring_error: float | None


def measured_power(name: str, found: MeasuredPower) -> Chart:
    """The slice and its regions, the 2-D spectrum, and the radial one with its peak and mean, and 95 % at each
    frequency.
    """
    plane = _spectrum(found.power_2d, found.spacing_mm, "noise power, 2-D")
    return chart(name, found.title, _slice(found), plane, _radial(found, plane.height),
                 widths=(_SIDE, _SIDE, _CURVE), title=found.title)


def shown_noise(name: str, shown: Sequence[ShownNoise], spectrum: str) -> Chart:
    """[B] Fig. A1, a row a dose: given spectrum, one draw (one grey scale for all), measured, and both radially."""
    if not shown:
        return chart(name, "", nothing("no dose was asked for"))
    grey = 3 * max(dose.sigma_hu for dose in shown)
    panels = []
    for dose in shown:
        top = float(max(dose.given_2d.max(), dose.measured_2d.max()))
        spacing = (dose.spacing_mm, dose.spacing_mm)
        at = f"{dose.mas:g} mAs: "
        rows, columns = (count * dose.spacing_mm for count in dose.draw_hu.shape)
        panels += [_spectrum(dose.given_2d, spacing, f"{at}given", top),
                   heat(Matrix(dose.draw_hu, (-grey, grey), "HU"), Axis("mm", (0, columns)), Axis("mm", (rows, 0)),
                        _SIDE, f"{at}one draw"),
                   _spectrum(dose.measured_2d, spacing, f"{at}measured in the draws", top), _both(dose, at)]
    title = f"{spectrum}, {shown[0].spacing_mm:.3g} mm pixels"
    return chart(name, title, *panels, columns=4, widths=(_SIDE, _SIDE, _SIDE, _CURVE), title=title)


def _slice(found: MeasuredPower) -> Panel:
    """The slice in mm, windowed around its regions so that noise is seen."""
    rows, columns = found.slice_hu.shape
    down, across = found.spacing_mm
    inside = [found.slice_hu[row:row + side, column:column + side] for row, column, side in found.squares]
    level = float(np.median([float(square.mean()) for square in inside])) if inside else 0.0
    half = max(8 * found.sigma_hu, 20.0)
    squares = [(column * across, row * down, (column + side) * across, (row + side) * down)
               for row, column, side in found.squares]
    return heat(Matrix(found.slice_hu, (level - half, level + half), squares=squares),
                Axis("mm", (0, columns * across)), Axis("mm", (rows * down, 0)), _SIDE,
                f"{found.slice_name}: {len(squares)} region{'' if len(squares) == 1 else 's'}")


def _spectrum(power: Floats, spacing_mm: tuple[float, float], title: str, top: float | None = None) -> Panel:
    """A 2-D spectrum over its frequencies, a sample's square around each, with its scale."""
    ends: list[tuple[float, float]] = []
    for count, width in zip(power.shape, spacing_mm, strict=True):
        step = 1 / (count * width)
        ends.append(((-(count // 2) - 0.5) * step, ((count - 1) // 2 + 0.5) * step))
    levels = (0.0, float(power.max()) if top is None else top)
    return heat(Matrix(power[::-1], levels, _UNIT, POWER), Axis("frequency x, 1/mm", ends[1]),
                Axis("frequency y, 1/mm", ends[0]), _SIDE, title)


def _radial(found: MeasuredPower, height: int) -> Panel:
    frequency, power = found.frequency_per_mm, found.power_hu2_mm2
    half = 1.96 * found.relative_error * power
    lines = [Line("radial average, 95 % at each frequency", Look(BLUE), frequency, power,
                  np.maximum(power - half, 0), power + half, marked=None)]
    rules = [Rule("x", at, f"{word} {at:.2f}/mm", colour=colour, dash=dash)
             for at, word, colour, dash in ((found.peak_per_mm, "peak", VERMILION, DASHED),
                                            (found.mean_per_mm, "mean", GREEN, (2.0, 3.0)))]
    # up to the Nyquist frequency: the corners beyond hold few samples
    return curve(lines, _frequency(0.5 / max(found.spacing_mm)), _power(power, 1.3), rules, height,
                 f"radial average: σ = {found.sigma_hu:.2f} HU")


def _both(dose: ShownNoise, at: str) -> Panel:
    lines = [Line("given", Look(INK), dose.curve_per_mm, dose.curve_hu2_mm2),
             Line("measured in the draws", Look(VERMILION), dose.ring_per_mm, dose.ring_hu2_mm2, joined=False,
                  marked=None)]
    top = np.concatenate([dose.curve_hu2_mm2, dose.ring_hu2_mm2])
    return curve(lines, _frequency(float(dose.curve_per_mm[-1])), _power(top, 1.1), height=_SIDE,
                 title=f"{at}σ {dose.sigma_hu:.1f} HU given, {dose.sigma_of_draws_hu:.1f} measured")


def _frequency(end: float) -> Axis:
    return Axis("frequency, 1/mm", (0.0, end))


def _power(values: Any, room: float) -> Axis:
    return Axis(f"power, {_UNIT}", (0.0, room * float(np.max(values)) or 1.0))
