"""Figures set by set on one axis: medians at equal conditions, and forests of differences with their intervals."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from steadyread.figures.style import BLUE, INK, VERMILION, Look, grid, look, nothing, panel
from steadyread.metrics.intervals import Estimate

_DOTTED = (0, (2, 3))
_LOOKS = {True: Look(VERMILION, "-", "o"), False: Look(BLUE, "-", "s"), None: Look(INK, "-", "D")}


@dataclass(frozen=True)
class Steady:
    """A set at equal conditions: the median smallest flip on one yardstick. `medical` None where nobody said so."""

    title: str
    median: Estimate
    medical: bool | None = None


@dataclass(frozen=True)
class Difference:
    """A row of a forest: a difference with its interval, below the heading `group`.

    `sure` says whether it is one; None where its interval alone decides.
    """

    group: str
    name: str
    difference: Estimate
    sure: bool | None = None


def steadiness(sets: Sequence[Steady], yardstick: str) -> Figure:
    """The median smallest flip of each set on a log axis, the most fragile on top; an arrow where most never flip.

    `yardstick` labels the axis. Medical sets are round and vermilion, everyday ones square and blue.
    """
    with look():
        told = sorted((one for one in sets if one.median.value is not None),
                      key=lambda one: one.median.value or 0.0)
        figure, (axes,) = panel(5.3, 1.25 + 0.38 * max(2, len(told)))
        known = [float(value) for one in told for value in (one.median.value, one.median.low, one.median.high)
                 if value is not None and math.isfinite(value) and value > 0]
        if not known:
            nothing(axes, "no set has reads that were flipped and this yardstick")
            return figure
        low, high = min(known) / 1.6, max(known) * 1.6
        for place, one in enumerate(reversed(told)):
            _draw_steady(axes, place, one, high)
        axes.set_xscale("log")
        axes.set_xlim(low, high * (1.6 if any(math.isinf(one.median.value or 0.0) for one in told) else 1.0))
        axes.set_yticks(range(len(told)), [one.title for one in reversed(told)])
        axes.set_ylim(-0.6, len(told) - 0.4)
        axes.set_xlabel(yardstick)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        grid(axes, "x")
    return figure


def forest(rows: Sequence[Difference], axis: str, ways: tuple[str, str], better: int, scale: float = 1.0) -> Figure:
    """Differences with their 95 % intervals around 0, grouped; blue better, vermilion worse, ink where not sure.

    `axis` labels the x axis, on which differences are times `scale`; `ways` says what lies left and right of 0;
    `better` is -1 where below 0 is better, else 1. A cross: too few patients for an interval.
    """
    with look():
        told = [row for row in rows if row.difference.value is not None]
        lines = list(_lines(told))
        figure, (axes,) = panel(5.3, 1.3 + 0.245 * max(3, len(lines)))
        if not told:
            nothing(axes, "nothing to compare")
            return figure
        axes.axvline(0, color=INK, linewidth=0.9, linestyle=_DOTTED)
        for place, row in lines:
            if row is not None:
                _draw_difference(axes, -place, row, better, scale)
        axes.set_yticks([-place for place, _ in lines])
        ticks = axes.set_yticklabels([_line_name(lines, place) for place, _ in lines])
        for tick, (_, row) in zip(ticks, lines, strict=True):
            tick.set_fontweight("bold" if row is None else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-len(lines) + 0.4, 0.6)
        axes.set_xlabel(axis)
        for side, words, align in ((0.0, f"← {ways[0]}", "left"), (1.0, f"{ways[1]} →", "right")):
            axes.annotate(words, (side, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
                          ha=align, va="bottom", fontsize=8.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        grid(axes, "x")
    return figure


def _lines(rows: Sequence[Difference]) -> Iterator[tuple[int, Difference | None]]:
    """The lines of a forest from the top: None for a heading, one a group."""
    place, group = 0, None
    for row in rows:
        if row.group and row.group != group:
            yield place, None
            place, group = place + 1, row.group
        yield place, row
        place += 1


def _line_name(lines: Sequence[tuple[int, Difference | None]], place: int) -> str:
    row = lines[place][1]
    if row is not None:
        return row.name
    below = lines[place + 1][1]
    return below.group if below is not None else ""


def _draw_difference(axes: Axes, height: int, row: Difference, better: int, scale: float) -> None:
    told = row.difference
    value = scale * float(told.value or 0.0)
    if told.low is None or told.high is None:
        axes.plot([value], [height], marker="x", color=INK, markersize=6, markeredgewidth=1.4)
        return
    sure = (told.low > 0 or told.high < 0) if row.sure is None else row.sure
    colour = (BLUE if value * better > 0 else VERMILION) if sure else INK
    marker = ("o" if value * better > 0 else "s") if sure else "D"
    axes.plot([scale * told.low, scale * told.high], [height, height], color=colour, linewidth=2.0,
              solid_capstyle="butt")
    axes.plot([value], [height], marker=marker, color=colour, markersize=5.5, markeredgecolor="none")


def _draw_steady(axes: Axes, height: int, one: Steady, high: float) -> None:
    shown = _LOOKS[one.medical]
    value = float(one.median.value or 0.0)
    ends = [high if one.median.high is None or math.isinf(one.median.high) else one.median.high,
            min(value, high) if one.median.low is None else min(one.median.low, high)]
    if one.median.low is not None and one.median.high is not None:
        axes.plot([ends[1], ends[0]], [height, height], color=shown.colour, linewidth=2.2, solid_capstyle="butt")
    if math.isinf(value):
        axes.annotate("half never flipped", (high, height), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=8)
        axes.plot([high], [height], marker=">", color=shown.colour, markersize=7, markeredgecolor="none")
        return
    axes.plot([value], [height], marker=shown.marker, color=shown.colour, markersize=7, markeredgecolor="none")


