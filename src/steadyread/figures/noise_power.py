"""Noise power spectra: one that was measured, and [B] Fig. A1 (given, drawn, measured in the draws)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from steadyread.figures.style import BLUE, GREEN, INK, ORANGE, VERMILION, grid, look, nothing, panel
from steadyread.metrics.intervals import Floats

_POWER = "power, HU² mm²"
_MAP = "cividis"     # even in grey and for colour-blind readers


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


def measured_power(found: MeasuredPower) -> Figure:
    """The slice and its regions, the 2-D spectrum, and the radial one with its peak and mean, and 95 % at each
    frequency.
    """
    with look():
        figure, _ = panel(11.6, 3.7, rows=0)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.18, 1.45))
        _draw_slice(left, found)
        _draw_plane(figure, middle, found.power_2d, found.spacing_mm)
        middle.set_title("noise power, 2-D")
        _draw_radial(right, found)
        for axes in (left, middle):
            axes.set_anchor("N")      # titles in one line, whatever each panel's height
        figure.suptitle(found.title, x=0.008, ha="left", fontsize=11, fontweight="bold")
    return figure


def shown_noise(shown: Sequence[ShownNoise], name: str) -> Figure:
    """[B] Fig. A1, a row a dose: given spectrum, one draw (one grey scale for all), measured, and both radially."""
    with look():
        if not shown:
            figure, (axes,) = panel(5.3, 1.6)
            nothing(axes, "no dose was asked for")
            return figure
        figure, _ = panel(11.8, 0.75 + 2.05 * len(shown), rows=0)
        grey = 3 * max(one.sigma_hu for one in shown)
        every = figure.subplots(len(shown), 4, squeeze=False, width_ratios=(1, 1, 1, 1.3))
        for place, (row, one) in enumerate(zip(every, shown, strict=True)):
            top = float(max(one.given_2d.max(), one.measured_2d.max()))
            spacing = (one.spacing_mm, one.spacing_mm)
            _draw_plane(figure, row[0], one.given_2d, spacing, top)
            _draw_draw(figure, row[1], one, grey)
            _draw_plane(figure, row[2], one.measured_2d, spacing, top)
            _draw_both(row[3], one)
            for axes, title in zip(row, ("given spectrum", "one draw", "measured in the draws", "radially"),
                                   strict=True):
                axes.set_anchor("N")
                axes.set_title(title if place == 0 else "")
                axes.set_xlabel(axes.get_xlabel() if place == len(shown) - 1 else "")
            row[0].annotate(f"{one.mas:g} mAs", (-0.52, 0.5), xycoords="axes fraction", rotation=90, va="center",
                            ha="center", fontweight="bold")
        figure.suptitle(f"{name}, {shown[0].spacing_mm:.3g} mm pixels", x=0.008, ha="left", fontsize=11,
                        fontweight="bold")
    return figure


def _draw_slice(axes: Axes, found: MeasuredPower) -> None:
    """The slice in mm, windowed around its regions so that noise is seen."""
    rows, columns = found.slice_hu.shape
    dy, dx = found.spacing_mm
    inside = [found.slice_hu[row:row + side, column:column + side] for row, column, side in found.squares]
    level = float(np.median([float(one.mean()) for one in inside])) if inside else 0.0
    half = max(8 * found.sigma_hu, 20.0)
    axes.imshow(found.slice_hu, cmap="gray", vmin=level - half, vmax=level + half, interpolation="nearest",
                extent=(0, columns * dx, rows * dy, 0))
    for row, column, side in found.squares:
        axes.add_patch(Rectangle((column * dx, row * dy), side * dx, side * dy, fill=False, edgecolor=ORANGE,
                                 linewidth=1.1))
    axes.set_title(f"{found.slice_name}: {len(found.squares)} region{'' if len(found.squares) == 1 else 's'}")
    axes.set_xlabel("mm")
    axes.set_ylabel("mm")


def _draw_plane(figure: Figure, axes: Axes, power: Floats, spacing_mm: tuple[float, float],
                top: float | None = None) -> None:
    """A 2-D spectrum over its frequencies, with its scale."""
    rows, columns = power.shape
    reach: list[float] = []
    for count, width in ((columns, spacing_mm[1]), (rows, spacing_mm[0])):
        step = 1 / (count * width)       # a sample's square is drawn around its frequency
        reach += [(-(count // 2) - 0.5) * step, ((count - 1) // 2 + 0.5) * step]
    shown = axes.imshow(power, cmap=_MAP, vmin=0, vmax=top, interpolation="nearest", origin="lower",
                        extent=(reach[0], reach[1], reach[2], reach[3]))
    axes.set_xlabel("frequency x, 1/mm")
    axes.set_ylabel("frequency y, 1/mm")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_tick_params(labelsize=8)
    _scale(figure, axes, shown, _POWER)


def _draw_draw(figure: Figure, axes: Axes, one: ShownNoise, grey: float) -> None:
    rows, columns = (count * one.spacing_mm for count in one.draw_hu.shape)
    shown = axes.imshow(one.draw_hu, cmap="gray", vmin=-grey, vmax=grey, interpolation="nearest",
                        extent=(0, columns, rows, 0))
    axes.set_xlabel("mm")
    axes.set_ylabel("mm")
    _scale(figure, axes, shown, "HU")


def _scale(figure: Figure, axes: Axes, shown: Any, label: str) -> None:
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label(label, fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _draw_radial(axes: Axes, found: MeasuredPower) -> None:
    frequency, power = found.frequency_per_mm, found.power_hu2_mm2
    half = 1.96 * found.relative_error * power
    axes.fill_between(frequency, np.maximum(power - half, 0), power + half, color=BLUE, alpha=0.2, linewidth=0,
                      label="95 % at each frequency")
    axes.plot(frequency, power, color=BLUE, marker="o", markersize=3.2)
    for at, line, colour, word in ((found.peak_per_mm, "--", VERMILION, "peak"),
                                   (found.mean_per_mm, ":", GREEN, "mean")):
        axes.axvline(at, color=colour, linestyle=line, linewidth=1.5, label=f"{word} {at:.2f}/mm")
    axes.set_xlim(0, 0.5 / max(found.spacing_mm))     # the Nyquist frequency; the corners beyond hold few samples
    axes.set_ylim(0, 1.3 * float(power.max()))     # room for the legend
    axes.set_title(f"radial average: σ = {found.sigma_hu:.2f} HU")
    axes.set_xlabel("frequency, 1/mm")
    axes.set_ylabel(_POWER)
    grid(axes, "both")
    axes.legend(loc="upper right")


def _draw_both(axes: Axes, one: ShownNoise) -> None:
    axes.plot(one.curve_per_mm, one.curve_hu2_mm2, color=INK, label=f"given, σ = {one.sigma_hu:.1f} HU")
    axes.plot(one.ring_per_mm, one.ring_hu2_mm2, color=VERMILION, linestyle="none", marker="o", markersize=3.4,
              label=f"measured, σ = {one.sigma_of_draws_hu:.1f} HU")
    axes.set_xlim(0, float(one.curve_per_mm[-1]))
    axes.set_ylim(0, 1.32 * max(float(one.curve_hu2_mm2.max()), float(one.ring_hu2_mm2.max())))
    axes.set_xlabel("frequency, 1/mm")
    axes.set_ylabel(_POWER)
    grid(axes, "both")
    axes.legend(loc="upper right", fontsize=8.5)
