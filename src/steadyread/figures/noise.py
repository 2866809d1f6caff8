"""How many reads CT noise changes: [B] Figs 7 and 8, dose curves, drift and jitter, critical doses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from steadyread.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
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
from steadyread.words.noise import mas as said_mas

Rows = Sequence[Mapping[str, Any]]
DOSE_LOOKS = (Look(VERMILION, "-", "o"), Look(ORANGE, "--", "v"), Look(GREEN, "-.", "^"), Look(BLUE, ":", "s"),
              Look(PURPLE, (0, (5, 1, 1, 1)), "D"), Look(INK, (0, (6, 2)), "X"))
_LEVEL_LOOKS = (Look(VERMILION, "-", "o"), Look(BLUE, "--", "s"), Look(GREEN, "-.", "^"))


@dataclass(frozen=True)
class DoseLine:
    """One line of a dose curve: shares at doses, Estimate each, or the paper's printed (mean, SD) in %."""

    name: str
    mas: Sequence[float]
    share: Sequence[Estimate]
    paper: bool = False


def sar_curves(curves: Rows, title: str = "") -> Figure:
    """The share of samples whose SAR exceeds each level, a line a dose; the band is the range over the folds."""
    with look():
        figure, (axes,) = panel(4.9, 3.5)
        if not curves:
            nothing(axes, "no attack with a SAR was run here")
            return figure
        for curve, shown in zip(curves, DOSE_LOOKS * 9, strict=False):
            levels = np.asarray(curve["levels"])
            if curve["folds"] > 1:
                axes.fill_between(levels, curve["least"], curve["most"], step="post", color=shown.colour,
                                  alpha=0.16, linewidth=0)
            mean = np.append(curve["mean"][:-1], curve["mean"][-2])     # none exceeds 100 %: draw no fall there
            axes.step(levels, mean, where="post", color=shown.colour, linestyle=shown.line,
                      label=f"{curve['mas']:g} mAs")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.38 * max(float(np.max(curve["most"])) for curve in curves) or 1.0)   # room for the names
        axes.set_xlabel("SAR exceeded, % of the draws")
        axes.set_ylabel("samples, %")
        percent_axis(axes)
        percent_axis(axes, "x")
        grid(axes, "both")
        axes.legend(loc="upper right", title=title, title_fontsize=9, alignment="left", ncols=3, columnspacing=1.2)
    return figure


def dose_curve(lines: Sequence[DoseLine], trials: int) -> Figure:
    """The share of reads changed by the dose of the noise; the paper's own points are hollow."""
    with look():
        figure, (axes,) = panel(5.3, 3.9)
        if not lines:
            nothing(axes, "no noise has been tried")
            return figure
        for line, shown in zip(lines, SERIES * 9, strict=False):
            known = [(mas, one) for mas, one in zip(line.mas, line.share, strict=True) if one.value is not None]
            if known:
                _dose_line(axes, line, known, INK if line.paper else shown.colour, shown)
        dose_axis(axes, sorted({mas for line in lines for mas in line.mas}))
        axes.set_xlabel("dose of the noise, mAs")
        axes.set_ylabel("reads changed, %")
        axes.set_ylim(0, None)
        percent_axis(axes)
        grid(axes)
        axes.legend(loc="best", title=f"K = {trials} random draws" if trials else None, title_fontsize=9,
                    alignment="left")
    return figure


def drift_and_jitter(rows: Rows, classes: Sequence[str]) -> Figure:
    """Median |drift| (filled) and jitter (hollow) by dose and predicted class, with 95 % intervals; axes log."""
    with look():
        figure, (axes,) = panel(5.3, 3.9)
        known = [row for row in rows if row["size"] is not None and row["size"].value and row["jitter"].value]
        if not known:
            nothing(axes, "drift and jitter were not recorded")
            return figure
        for one, shown in zip(sorted({row["class"] for row in known}), (SERIES[2], SERIES[0], *SERIES[3:]),
                              strict=False):
            held = [row for row in known if row["class"] == one]
            name = classes[one] if 0 <= one < len(classes) else str(one)
            for figure_of, line, fill, said in (("size", "-", shown.colour, "|drift|"),
                                                ("jitter", ":", "none", "jitter")):
                doses = [row["mas"] for row in held]
                axes.plot(doses, [row[figure_of].value for row in held], color=shown.colour, linestyle=line,
                          marker=shown.marker, markerfacecolor=fill, label=f"{said}, read as {name[:14]}")
                _band(axes, doses, [row[figure_of] for row in held], shown.colour)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        dose_axis(axes, sorted({row["mas"] for row in known}))
        axes.set_xlabel("dose of the noise, mAs")
        axes.set_ylabel("median over the reads, logits")
        grid(axes)
        axes.legend(loc="best")
    return figure


def critical_doses(curves: Rows) -> Figure:
    """The share of reads whose P(flip) exceeds a level at a dose: those whose critical mAs is that or more."""
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        if not curves:
            nothing(axes, "critical doses need drift and jitter, which were not recorded")
            return figure
        for curve, shown in zip(curves, _LEVEL_LOOKS, strict=False):
            scale = np.asarray(curve["mas"])
            axes.fill_between(scale, curve["least"], curve["most"], color=shown.colour, alpha=0.16, linewidth=0)
            axes.plot(scale, curve["mean"], color=shown.colour, linestyle=shown.line,
                      label=f"P(flip) above {100 * curve['level']:g} %")
        dose_axis(axes, _ticks(curves[0]["mas"]))
        axes.set_xlabel("dose of the noise, mAs")
        axes.set_ylabel("reads with a higher critical mAs, %")
        axes.set_ylim(0, None)
        percent_axis(axes)
        grid(axes)
        axes.legend(loc="upper right")
    return figure


def dose_fall(fall: Mapping[str, Any] | None, counted: Rows) -> Figure:
    """The expected share of reads changed at any dose, its 95 % band over patients, and what was counted.

    Lines at 1 % and 5 % end at the dose at which the curve crosses them.
    """
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        if fall is None:
            nothing(axes, "needs drift and jitter, which were not recorded")
            return figure
        scale = np.asarray(fall["mas"])
        if np.isfinite(fall["low"]).all():
            axes.fill_between(scale, fall["low"], fall["high"], color=INK, alpha=0.14, linewidth=0)
        axes.plot(scale, fall["mean"], color=INK, label="expected, any dose (95 % at each dose)")
        known = [row for row in counted if row["one_draw"] is not None and row["one_draw"].value]
        if known:
            axes.plot([row["mas"] for row in known], [row["one_draw"].value for row in known], color=VERMILION,
                      linestyle="none", marker="o", label="counted, mean SAR")
        axes.set_yscale("log")
        top = max(0.2, 1.3 * float(np.nanmax(fall["mean"])))
        floor = max(1e-4, min(0.005, 0.6 * max(float(np.nanmin(fall["mean"])), 1e-6)))
        axes.set_ylim(floor, top)
        for text, found in fall["dose_of_share"].items():
            _crossing(axes, float(text), found, (float(scale[0]), float(scale[-1])))
        dose_axis(axes, _ticks(scale))
        axes.set_xlabel("dose of the noise, mAs")
        axes.set_ylabel("reads changed by one draw, %")
        percent_axis(axes)
        axes.yaxis.set_minor_formatter(NullFormatter())
        grid(axes)
        axes.legend(loc="upper right")
    return figure


def dose_axis(axes: Axes, doses: Sequence[float]) -> None:
    """A logarithmic axis of mAs with the doses tried as its ticks."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(doses)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(doses[0] / 1.18, doses[-1] * 1.18)


def _ticks(scale: Any) -> list[float]:
    """Round doses within a scale."""
    low, high = float(scale[0]), float(scale[-1])
    round_ = [value * 10.0**power for power in range(-2, 6) for value in (1, 2, 5)]
    inside = [tick for tick in round_ if low * 0.999 <= tick <= high * 1.001]
    return inside if len(inside) > 1 else [low, high] if high > low else [low]


def _dose_line(axes: Axes, line: DoseLine, known: list[tuple[float, Estimate]], colour: str, shown: Look) -> None:
    doses, values = [mas for mas, _ in known], [float(one.value or 0) for _, one in known]
    if line.paper:
        axes.errorbar(doses, values, yerr=[one.sd or 0 for _, one in known], color=colour, linestyle="none",
                      marker=shown.marker, markerfacecolor="none", capsize=2, linewidth=0.8, alpha=0.75,
                      label=line.name)
        return
    axes.plot(doses, values, color=colour, linestyle=shown.line, marker=shown.marker, label=line.name)
    _band(axes, doses, [one for _, one in known], colour)


def _band(axes: Axes, doses: Sequence[float], values: Sequence[Estimate], colour: str) -> None:
    if all(one.low is not None and one.high is not None for one in values):
        axes.fill_between(doses, [float(one.low or 0) for one in values], [float(one.high or 0) for one in values],
                          color=colour, alpha=0.14, linewidth=0)


def _crossing(axes: Axes, share: float, found: Estimate, ends: tuple[float, float]) -> None:
    low, high = axes.get_ylim()
    if found.value is None or not low < share < high:
        return
    inside = 0 < found.value < np.inf
    right = found.value if inside else (ends[0] if found.value == 0 else ends[1])
    axes.plot([ends[0] / 1.18, right], [share, share], color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
    if inside:
        axes.plot([right, right], [low, share], color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
    axes.annotate(f"{100 * share:g} %: {said_mas(found.value, ends[1], ends[0])}", (ends[0], share), xytext=(2, -3),
                  textcoords="offset points", va="top", fontsize=8.5)
