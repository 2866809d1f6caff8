"""The receiver operating characteristic of the clean reads."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadyread.figures.style import INK, SERIES, grid, look, nothing, panel, percent_axis
from steadyread.metrics.discrimination import roc_curve
from steadyread.metrics.intervals import Estimate, Floats, Ints
from steadyread.words.numbers import digits


def roc(scores: Floats, label: Ints, classes: Sequence[str], area: Estimate) -> Figure:
    """True by false positive rate. Two classes: class 1. More: each class against the rest.

    `scores` (n, classes) as `class_scores` gives them.
    """
    with look():
        figure, (axes,) = panel(4.6, 4.3)
        shown = [1] if len(classes) == 2 else list(range(min(len(classes), scores.shape[1])))
        curves = [(classes[one], roc_curve(scores[:, one], label == one)) for one in shown if scores.shape[1] > one]
        curves = [(name, rates) for name, rates in curves if len(rates[0])]
        if not curves:
            nothing(axes, "one class only: no curve")
            return figure
        rate_axes(axes)
        for place, (name, (false, true)) in enumerate(curves):
            style = SERIES[place % len(SERIES)]
            colour, line = (INK, "-") if len(curves) == 1 else (style.colour, style.line)
            axes.plot(false, true, color=colour, linestyle=line, label=_short(name),
                      linewidth=1.8 if len(curves) == 1 else 1.3)
        axes.legend(loc="lower right", title=_title(area))
    return figure


def rate_axes(axes: Axes) -> None:
    """True against false positive rates, with the line of chance."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("false positive rate, %")
    axes.set_ylabel("true positive rate, %")
    percent_axis(axes)
    percent_axis(axes, "x")
    grid(axes, "both")


def _title(area: Estimate) -> str:
    if area.value is None:
        return ""
    interval = f" ({digits(area.low, 3)} to {digits(area.high, 3)})" if area.low and area.high else ""
    return f"AUC {digits(area.value, 3)}{interval}"


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"
