"""Hardening against CT noise: [B] Fig. 11 by round, every method beside the networks before, training by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steadyread.figures.noise import DoseLine, dose_axis
from steadyread.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    SERIES,
    VERMILION,
    Look,
    grid,
    look,
    nothing,
    panel,
    percent_axis,
)
from steadyread.metrics.intervals import Estimate

Curve = Mapping[str, Any]
STEP_LOOKS = (Look(INK, "--", "o"), Look(ORANGE, "-.", "^"), Look(VERMILION, "-", "s"), *SERIES[3:6])
_BEST = Look(BLUE, (0, (1, 1)), "D")
_DOTTED: Any = (0, (2, 3))


@dataclass(frozen=True)
class Judged:
    """One method, or the networks before: SAN, robust accuracy and AUC, and whether it may be believed."""

    name: str
    san: Estimate | None
    robust: Estimate | None
    auc: Estimate | None
    doubtful: bool = False


@dataclass(frozen=True)
class Course:
    """A training by epoch, over all its rounds: the mean over folds of shares and AUC, NaN where not judged."""

    name: str
    epochs: Sequence[float]
    steady: Sequence[float]
    auc: Sequence[float]
    rounds: Sequence[float] = ()     # the epochs after which a new round began


def sar_by_step(parts: Sequence[tuple[str, Sequence[tuple[str, Curve]]]], best: str | None = None) -> Figure:
    """[B] Fig. 11: the share of samples whose SAR exceeds each level, before and after each round, a panel a part.

    The band is the range over the folds. `best` names the line that is no round, drawn in blue.
    """
    shown = [(part, curves) for part, curves in parts if curves]
    with look():
        if not shown:
            figure, (axes,) = panel(5.3, 2.2)
            nothing(axes, "no attack with a SAR was run before and after")
            return figure
        figure, _ = panel(4.1 * len(shown), 3.6, rows=0)
        top = max(float(np.max(curve["most"])) for _, curves in shown for _, curve in curves)
        for column, (part, curves) in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), column + 1)
            for (name, curve), step in zip(curves, STEP_LOOKS * 9, strict=False):
                _sar_line(axes, name, curve, _BEST if name == best else step)
            axes.set_title(f"{part}, {curves[0][1]['mas']:g} mAs")
            axes.set_xlim(0, 1)
            axes.set_ylim(0, min(1.0, 1.08 * top) or 1.0)
            axes.set_xlabel("SAR exceeded, %")
            axes.set_ylabel("samples, %" if column == 0 else "")
            percent_axis(axes)
            percent_axis(axes, "x")
            grid(axes, "both")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, columnspacing=1.4, handlelength=2.6)
    return figure


def doses_by_step(lines: Sequence[DoseLine], best: str | None = None) -> Figure:
    """SAN by dose before, after each round and of the best method, with 95 % intervals; the paper's are hollow.

    Marks of one dose stand a little beside each other.
    """
    with look():
        figure, (axes,) = panel(5.3, 4.1)
        doses = sorted({mas for line in lines for mas in line.mas})
        if not doses:
            nothing(axes, "no noise has been tried before and after")
            return figure
        papers = 0
        for at, line in enumerate(lines):
            shown = _BEST if line.name == best else STEP_LOOKS[at % len(STEP_LOOKS)]
            papers += line.paper
            _dose_line(axes, line, Look(INK, "none", "sD^"[papers - 1]) if line.paper else shown,
                       1.03 ** (at - (len(lines) - 1) / 2))
        dose_axis(axes, doses)
        axes.set_xlim(doses[0] / 1.25, doses[-1] * 1.25)
        axes.set_xlabel("dose of the noise, mAs")
        axes.set_ylabel("reads changed, %")
        axes.set_ylim(0, None)
        percent_axis(axes)
        grid(axes)
        figure.legend(loc="outside lower center", ncols=2, columnspacing=1.4, handlelength=2.6)
    return figure


def methods_forest(rows: Sequence[Judged], noise: str) -> Figure:
    """SAN, robust accuracy and AUC of every method with 95 % intervals; the first row is the networks before.

    Dotted in the SAN's panel: half of what it was before. Hollow: a method that failed or stopped reading.
    """
    with look():
        if len(rows) < 2:
            figure, (axes,) = panel(5.3, 1.8)
            nothing(axes, "no method was judged beside the networks before")
            return figure
        figure, _ = panel(8.2, 1.1 + 0.34 * len(rows), rows=0)
        for column, (name, said) in enumerate((("san", f"flipped by {noise}, %"),
                                               ("robust", "right and not flipped, %"), ("auc", "AUC"))):
            axes = figure.add_subplot(1, 3, column + 1)
            values = [getattr(row, name) for row in rows]
            for at, (row, found) in enumerate(zip(rows, values, strict=True)):
                _whisker(axes, found, at, INK if at == 0 else (GREEN if name == "robust" else BLUE), row.doubtful)
            before = values[0].value if values[0] else None
            if before is not None:
                axes.axvline(before, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), alpha=0.6)
                if name == "san":
                    axes.axvline(before / 2, color=VERMILION, linewidth=1.1, linestyle=_DOTTED)
            axes.set_yticks(range(len(rows)), [row.name for row in rows] if column == 0 else [""] * len(rows))
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_xlabel(said)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
            if name != "auc":
                axes.set_xlim(0, None)
                percent_axis(axes, "x")
            grid(axes, "x")
    return figure


def validation_course(courses: Sequence[Course], mas: float | None = None) -> Figure:
    """Validation images that are right and not flipped, and AUC, by epoch of training; epoch 0 is the start."""
    with look():
        known = [course for course in courses if len(course.epochs) > 1]
        if not known:
            figure, (axes,) = panel(5.3, 2.2)
            nothing(axes, "no epoch of hardening was recorded")
            return figure
        figure, _ = panel(8.2, 3.7, rows=0)
        under = f" at {mas:g} mAs" if mas is not None else ""
        for column, (name, said) in enumerate((("steady", f"right and not flipped{under}, %"),
                                               ("auc", "AUC of the validation images"))):
            axes = figure.add_subplot(1, 2, column + 1)
            for course, shown in zip(known, SERIES * 9, strict=False):
                x, y = np.asarray(course.epochs, float), np.asarray(getattr(course, name), float)
                there = np.isfinite(y)
                axes.plot(x[there], y[there], **shown.line_style(), markersize=3.2, label=course.name,
                          markevery=max(1, int(there.sum()) // 10))
                for begun in course.rounds:
                    axes.axvline(begun + 0.5, color=shown.colour, linewidth=0.9, linestyle=_DOTTED)
            axes.set_xlabel("epoch (0: the network before)")
            axes.set_ylabel(said)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
            if name == "steady":
                axes.set_ylim(0, None)
                percent_axis(axes)
            grid(axes)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, columnspacing=1.4, handlelength=2.6)
    return figure


def _sar_line(axes: Axes, name: str, curve: Curve, shown: Look) -> None:
    levels = np.asarray(curve["levels"])
    if curve["folds"] > 1:
        axes.fill_between(levels, curve["least"], curve["most"], step="post", color=shown.colour, alpha=0.13,
                          linewidth=0)
    mean = np.append(curve["mean"][:-1], curve["mean"][-2])     # none exceeds 100 %: draw no fall there
    axes.step(levels, mean, where="post", color=shown.colour, linestyle=shown.line, label=name)


def _dose_line(axes: Axes, line: DoseLine, shown: Look, aside: float) -> None:
    known = [(mas, one) for mas, one in zip(line.mas, line.share, strict=True) if one.value is not None]
    x, values = [mas * aside for mas, _ in known], [float(one.value or 0) for _, one in known]
    for place, (_, one) in zip(x, known, strict=True):
        low, high = (one.low, one.high) if not line.paper else (
            values[x.index(place)] - (one.sd or 0), values[x.index(place)] + (one.sd or 0))
        if low is not None and high is not None:
            axes.plot([place, place], [low, high], color=shown.colour, linewidth=1.1, alpha=0.55)
    axes.plot(x, values, **shown.line_style(), markerfacecolor=PAPER if line.paper else shown.colour,
              alpha=0.75 if line.paper else 1.0, label=line.name)


def _whisker(axes: Axes, found: Estimate | None, place: float, colour: str, hollow: bool) -> None:
    if found is None or found.value is None:
        return
    if found.low is not None and found.high is not None:
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=1.6, alpha=0.7)
    axes.plot(found.value, place, color=colour, marker="o" if found.low is not None else "x", markersize=5,
              markerfacecolor=PAPER if hollow else colour, clip_on=False)
