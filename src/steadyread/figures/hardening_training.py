"""How a hardening went: its validation images by epoch, and what came of other sizes of training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from steadyread.figures.hardening import AFTER, DOTTED, mark
from steadyread.figures.style import GREEN, INK, VERMILION, grid, look, native_axis, nothing, panel, percent_axis
from steadyread.metrics.intervals import Estimate, Floats
from steadyread.units import Bounds
from steadyread.words.numbers import digits


@dataclass(frozen=True)
class Trained:
    """A hardening by its training size (native): clean accuracy, and accuracy under attack at one common size."""

    epsilon: float
    clean: Estimate
    robust: Estimate
    failed: bool = False


def hardening_curve(training: Mapping[str, Any], bounds: Bounds) -> Figure:
    """Clean and robust accuracy of the validation images by epoch from the start on, the stages and the choice."""
    with look():
        figure, (axes,) = panel(5.3, 4.0)
        epochs: Sequence[Mapping[str, Any]] = training.get("epochs") or ()
        start: Mapping[str, Any] = training.get("start") or {}
        rows = ([{**start, "epoch": 0}] if start else []) + list(epochs)
        if not epochs:
            nothing(axes, "no epoch of hardening has been trained")
            return figure
        _draw_stages(axes, epochs, bounds)
        for key, name, colour, line, marker in (("validation_accuracy", "clean", GREEN, "-", "o"),
                                                ("robust_accuracy", "under attack", AFTER, "--", "s")):
            drawn = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
            if drawn:
                axes.plot(*zip(*drawn, strict=True), color=colour, linestyle=line, marker=marker, markersize=3.6,
                          markeredgecolor="none", markevery=max(1, len(drawn) // 14), label=name)
        silent = [row for row in epochs if row.get("predicted_classes") == 1]
        if silent:
            axes.plot([row["epoch"] for row in silent], [row["validation_accuracy"] for row in silent], "x",
                      color=VERMILION, markersize=6, markeredgewidth=1.4, label="one class for every image")
        chosen = training.get("chosen_epoch")
        if chosen is not None:
            axes.axvline(chosen, color=INK, linewidth=1.0, linestyle=DOTTED,
                         label=f"kept, epoch {chosen}" if chosen else "kept: the start")
        axes.set_xlim(rows[0]["epoch"] - 0.35, rows[-1]["epoch"] + 0.35)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("epoch (0: the network it started from)" if start else "epoch")
        axes.set_ylabel("validation images right, %")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        percent_axis(axes)
        grid(axes)
        figure.legend(loc="outside lower center", ncols=4, columnspacing=1.4, handlelength=2.4)
    return figure


def by_training_size(hardened: Sequence[Trained], clean: Estimate, robust: Estimate, bounds: Bounds) -> Figure:
    """[A]'s warning, drawn: too small a training size gains little, too large a one teaches nothing.

    Clean accuracy and accuracy under attack by the size of training; `clean` and `robust` are those of the network
    before, as level lines. Hollow marks: hardenings that failed.
    """
    with look():
        figure, (axes,) = panel(5.3, 4.0)
        shown = sorted((one for one in hardened if one.epsilon > 0), key=lambda one: one.epsilon)
        if not shown:
            nothing(axes, "no hardening to compare with")
            return figure
        x = np.array([one.epsilon / bounds.range for one in shown])
        for name, side, level, colour, line, marker in (
                ("clean", [one.clean for one in shown], clean, GREEN, "-", "o"),
                ("under attack", [one.robust for one in shown], robust, AFTER, "--", "s")):
            _draw_estimates(axes, x, side, (colour, line, name))
            for filled in (True, False):
                told = [(place, each.value) for place, one, each in zip(x, shown, side, strict=True)
                        if each.value is not None and one.failed is not filled]
                axes.plot([place for place, _ in told], [value for _, value in told], linestyle="none",
                          **mark(colour, marker, filled))
            if level.value is not None:
                axes.axhline(level.value, color=colour, linewidth=1.0, linestyle=DOTTED,
                             label=f"{name}, before: {100 * level.value:.1f}")
        axes.set_xscale("log")
        axes.set_xlim(x[0] / 1.35, x[-1] * 1.35)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("accuracy, %")
        percent_axis(axes)
        grid(axes)
        native_axis(axes, bounds)
        axes.xaxis.set_major_locator(FixedLocator(list(_apart(x))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: digits(value)))
        axes.set_xlabel("size of change in training, share of the range")
        for above in axes.child_axes:
            above.xaxis.set_minor_locator(NullLocator())
        figure.legend(loc="outside lower center", ncols=2, columnspacing=1.4, handlelength=2.4)
    return figure


def _draw_stages(axes: Axes, epochs: Sequence[Mapping[str, Any]], bounds: Bounds) -> None:
    """A shade for every other stage, and its size where there are several."""
    stages = list(dict.fromkeys(row.get("stage") for row in epochs))
    if len(stages) < 2:
        return
    for place, stage in enumerate(stages):
        own = [row for row in epochs if row.get("stage") == stage]
        first, last = own[0]["epoch"] - 0.5, own[-1]["epoch"] + 0.5
        if place % 2:
            axes.axvspan(first, last, color=INK, alpha=0.06, linewidth=0)
        if own[0].get("epsilon") is not None:
            size = digits(own[0]["epsilon"] / bounds.range)
            axes.annotate(f"stage {place + 1}: {size}", (first, 0.015), xytext=(3, 0), textcoords="offset points",
                          xycoords=("data", "axes fraction"), fontsize=8)


def _draw_estimates(axes: Axes, x: Floats, told: Sequence[Estimate], shown: tuple[str, Any, str]) -> None:
    """A line through the estimates, their intervals as bars."""
    colour, line, name = shown
    axes.plot(x, [np.nan if one.value is None else one.value for one in told], color=colour, linestyle=line,
              label=name)
    for place, one in zip(x, told, strict=True):
        if one.low is not None and one.high is not None:
            axes.plot([place, place], [one.low, one.high], color=colour, linewidth=1.3, alpha=0.6,
                      solid_capstyle="butt")


def _apart(x: Floats) -> Iterator[float]:
    """The places whose labels do not touch, from the first on."""
    room, last = (np.log(x[-1] / x[0]) or 1.0) * 0.11, -np.inf
    for place in x:
        if np.log(place) - last >= room:
            last = float(np.log(place))
            yield float(place)
