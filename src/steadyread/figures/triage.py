"""What withholding buys: risk against coverage, accuracy among the kept, and the scores side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from steadyread.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SERIES,
    SKY,
    VERMILION,
    Look,
    grid,
    look,
    nothing,
    panel,
)
from steadyread.figures.style import percent_axis as percent_axis_of
from steadyread.metrics.intervals import Estimate, Flags, Floats
from steadyread.units import Bounds, unit_word

_LOOKS = {"Smallest flip": Look(INK, "-", "o"), "Margin": Look(BLUE, "--", "s"), "Entropy": Look(ORANGE, ":", "^"),
          "Random": Look(GREEN, "-.", "D"), "Mean over views": Look(PURPLE, (0, (5, 1, 1, 1)), "v"),
          "Mean over networks": Look(SKY, "--", "P"), "Disagreement": Look(SKY, ":", "X"),
          "All combined": Look(VERMILION, "-", "*")}
_POINTS = 1200
_STEPS = 250


@dataclass(frozen=True, eq=False)
class RiskLine:
    """The error among the kept at every coverage under one score."""

    name: str
    coverage: Floats
    risk: Floats


@dataclass(frozen=True)
class TriageBar:
    """Accuracy among the reads that one score keeps, and the share that it withholds."""

    name: str
    accuracy: Estimate
    withheld: float | None


def risk_coverage(lines: Sequence[RiskLine], share_withheld: float = 0.2) -> Figure:
    """Error among the kept reads, by the share that is kept; the lower the better."""
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        if not any(len(line.coverage) for line in lines):
            nothing(axes, "no reads with a label")
            return figure
        spare = iter(SERIES[3:] * 9)
        for line in lines:
            shown = _LOOKS.get(line.name) or next(spare)
            kept = np.unique(np.linspace(0, len(line.coverage) - 1, _STEPS).round().astype(int))
            axes.plot(line.coverage[kept], line.risk[kept], label=line.name, markeredgecolor="none",
                      **shown.line_style(), markevery=(len(kept) // 10, max(1, len(kept) // 5)))
        axes.axvline(1 - share_withheld, color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
        axes.annotate(f"{100 * share_withheld:g} % withheld", (1 - share_withheld, 0.99), xytext=(-4, 0), va="top",
                      ha="right", xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8.5)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(0.02, 1.12 * max(float(line.risk.max()) for line in lines if len(line.risk))))
        axes.set_xlabel("reads kept, steadiest first, %")
        axes.set_ylabel("error among the kept, %")
        percent_axis_of(axes)
        percent_axis_of(axes, "x")
        grid(axes)
        axes.legend(loc="best")
    return figure


def triage_bars(bars: Sequence[TriageBar], everyone: Estimate) -> Figure:
    """Accuracy among the kept under each score with its 95 % interval, against the accuracy of all reads."""
    with look():
        figure, (axes,) = panel(5.3, 1.1 + 0.45 * max(2, len(bars)))
        told = [bar for bar in bars if bar.accuracy.value is not None]
        if not told:
            nothing(axes, "no reads with a label")
            return figure
        if everyone.value is not None:
            axes.axvline(everyone.value, color=INK, linewidth=0.9, linestyle=(0, (2, 3)),
                         label=f"all reads, {100 * everyone.value:.1f} %")
        for place, bar in enumerate(reversed(told)):
            shown = _LOOKS.get(bar.name, SERIES[3])
            value = float(bar.accuracy.value or 0.0)
            low = value if bar.accuracy.low is None else bar.accuracy.low
            high = value if bar.accuracy.high is None else bar.accuracy.high
            axes.plot([low, high], [place, place], color=shown.colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot([value], [place], marker=shown.marker, color=shown.colour, markersize=7,
                      markeredgecolor="none")
        axes.set_yticks(range(len(told)), [bar.name for bar in reversed(told)])
        axes.set_ylim(-0.6, len(told) - 0.4)
        axes.set_xlabel("accuracy among the kept, % (95 % interval)")
        percent_axis_of(axes, "x")
        grid(axes, "x")
        if everyone.value is not None:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return figure


def score_scatter(found: Floats, margin: Floats, wrong: Flags, bounds: Bounds, seed: int = 0) -> Figure:
    """Smallest flip by margin, right and wrong reads apart. At most 1200 drawn images are shown."""
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        usable = np.flatnonzero(np.isfinite(found) & (found > 0) & np.isfinite(margin))
        if not len(usable):
            nothing(axes, "no read was flipped")
            return figure
        if len(usable) > _POINTS:
            usable = np.sort(np.random.default_rng(seed).choice(usable, _POINTS, replace=False))
        right, missed = usable[~wrong[usable]], usable[wrong[usable]]
        axes.scatter(margin[right], found[right] / bounds.range, s=16, c=BLUE, marker="o", linewidths=0, alpha=0.6,
                     label=f"right ({len(right)})")
        axes.scatter(margin[missed], found[missed] / bounds.range, s=22, c=VERMILION, marker="x", linewidths=1.1,
                     label=f"wrong ({len(missed)})")
        axes.set_xlabel("margin, logits")
        unit = f" (1 = {bounds.range:g} {unit_word(bounds.unit, bounds.range)})" if bounds.unit else ""
        axes.set_ylabel(f"smallest flip, share of the range{unit}")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        grid(axes, "both")
        axes.legend(loc="upper left")
    return figure
