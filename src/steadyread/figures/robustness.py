"""[A] Fig. 2 with the curve of what was found, and the histogram of smallest flips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from steadyread.figures.style import (
    BLUE,
    INK,
    SERIES,
    VERMILION,
    Look,
    grid,
    look,
    native_axis,
    nothing,
    panel,
    percent_axis,
)
from steadyread.metrics.intervals import Floats
from steadyread.metrics.robustness import Curve
from steadyread.units import Bounds, unit_word
from steadyread.words.numbers import digits

_LOOKS = {"FGSM": SERIES[0], "BIM": SERIES[1], "PGD": SERIES[2]}


@dataclass(frozen=True)
class AttackPoints:
    """The accuracy under one attack at several sizes (native units)."""

    name: str
    sizes: Sequence[float]
    accuracy: Sequence[float]


def accuracy_curve(curve: Curve, attacks: Sequence[AttackPoints], bounds: Bounds, against: str = "label",
                   floor: float | None = None) -> Figure:
    """Accuracy by the size of the change: each attack at its sizes, and the step curve of what was found, with its
    band (95 % at each size, not of the whole curve).

    The curve is drawn as far as it goes (`Curve.end`); of one that ends at 0 only the clean accuracy is used.

    `floor` (two classes, against the prediction) is where the accuracy must stop: 1 minus the clean one.
    """
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        if not curve.n and not attacks:
            nothing(axes, "no attack has been run")
            return figure
        right = _right_end(curve, attacks, bounds)
        _draw_curve(axes, curve, bounds, right)
        spare = iter(SERIES[3:] * 9)
        for points in attacks:
            shown = _LOOKS.get(points.name) or next(spare)
            _draw_points(axes, points, shown, curve, bounds)
        if floor is not None:
            axes.axhline(floor, color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
            axes.annotate(f"100 − clean = {100 * floor:.1f} %", (0.995, floor), xycoords=("axes fraction", "data"),
                          xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8.5)
        axes.set_xlim(0, right)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel(f"accuracy, % (against the {against})")
        percent_axis(axes)
        grid(axes)
        native_axis(axes, bounds)
        axes.legend(loc="best")
    return figure


def smallest_flip_histogram(found: Floats, bounds: Bounds, bins: int = 24) -> Figure:
    """How many images flip first at which size, on a log axis. 0 (wrong unattacked) and inf are told in words."""
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        shown = found[np.isfinite(found) & (found > 0)] / bounds.range
        never, before = float(np.isinf(found).mean()) if len(found) else 0.0, int(np.sum(found == 0))
        if not len(shown):
            nothing(axes, "no image was flipped" if len(found) else "no smallest flip has been searched")
            return figure
        low, high = shown.min(), max(shown.max(), shown.min() * 1.5)
        axes.hist(shown, bins=list(np.geomspace(low * 0.97, high * 1.03, bins + 1)), color=BLUE, alpha=0.75,
                  edgecolor="none", rwidth=0.93)
        axes.set_xscale("log")
        middle = float(np.sort(found)[(len(found) - 1) // 2]) / bounds.range
        if 0 < middle < np.inf:
            size = middle * bounds.range
            native = f" = {digits(size)} {unit_word(bounds.unit, size)}" if bounds.unit else ""
            axes.axvline(middle, color=VERMILION, linestyle="--", linewidth=1.4)
            axes.annotate(f"half of the images\n{digits(middle)}{native}", (middle, 0.97), xytext=(6, 0), va="top",
                          xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8.5)
        words = [f"never flipped: {100 * never:.1f} %"] + ([f"wrong before any change: {before}"] if before else [])
        axes.text(0.01, 0.97, "\n".join(words), transform=axes.transAxes, va="top", fontsize=8.5)
        axes.set_ylabel("images")
        axes.set_ylim(0, 1.25 * axes.get_ylim()[1])      # room for the words above the bars
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        grid(axes)
        native_axis(axes, bounds)
    return figure


def _draw_curve(axes: Axes, curve: Curve, bounds: Bounds, right: float) -> None:
    if not curve.n or curve.end <= 0:
        return
    last = min(max(right, float(curve.sizes[-1]) / bounds.range), curve.end / bounds.range)
    x = np.append(curve.sizes / bounds.range, last)
    low, high = (np.append(side, side[-1]) for side in (curve.low, curve.high))
    axes.fill_between(x, low, high, step="post", color=INK, alpha=0.13, linewidth=0)
    axes.step(x, np.append(curve.accuracy, curve.accuracy[-1]), where="post", color=INK, linewidth=1.9,
              label="every size, as found (95 % at each size)")


def _draw_points(axes: Axes, points: AttackPoints, shown: Look, curve: Curve, bounds: Bounds) -> None:
    """An attack's points, joined from the clean accuracy on."""
    x = [size / bounds.range for size in points.sizes]
    y = list(points.accuracy)
    if curve.n:
        x, y = [0.0, *x], [float(curve.accuracy[0]), *y]
    axes.plot(x, y, label=points.name, markeredgecolor="none", **shown.line_style(),
              markevery=slice(1 if curve.n else 0, None))


def _right_end(curve: Curve, attacks: Sequence[AttackPoints], bounds: Bounds) -> float:
    """How far the x axis goes: past every attack's sizes, to where nine flips of ten are done, or half at least."""
    tried = [size for points in attacks for size in points.sizes]
    ends = [1.08 * max(tried)] if tried else []
    if curve.n and len(curve.sizes) > 1:
        reach = float(np.quantile(curve.sizes[1:], 0.9))
        ends += [min(reach, 3 * max(tried)) if tried else reach, 1.08 * curve.half_way]
    if not ends and 0 < curve.end < np.inf:
        ends = [curve.end]
    return max([*ends, 1e-9 * bounds.range]) / bounds.range
