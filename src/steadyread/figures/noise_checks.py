"""Figures by which a noise study is judged: P(flip) counted, plausibility, ROC, spectrum, groups, variants."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from steadyread.figures.discrimination import rate_axes
from steadyread.figures.noise import DOSE_LOOKS
from steadyread.figures.style import (
    BLUE,
    INK,
    SERIES,
    VERMILION,
    grid,
    look,
    nothing,
    panel,
    percent_axis,
)
from steadyread.metrics.intervals import Estimate, Floats
from steadyread.metrics.published import variant_printed
from steadyread.words.noise import noise_name, variant_name

Rows = Sequence[Mapping[str, Any]]
_NAMED = 6       # folds, beyond which a legend does not name each
_MEASURES = (("largest_local_sigma_hu", "largest local sigma, HU"), ("kurtosis", "excess kurtosis"),
             ("z_correlation", "correlation along z"))


def counted_against_estimated(points: Mapping[str, Floats] | None, draws: str = "16") -> Figure:
    """P(flip) from a few draws with its 95 % interval against the count of many, a point a pair that is hard."""
    with look():
        figure, (axes,) = panel(4.6, 4.3)
        if points is None or not len(points["counted"]):
            nothing(axes, "no pairs were counted")
            return figure
        rate_axes(axes)
        counted = points["counted"]
        holds = (points["low"] <= counted) & (counted <= points["high"])
        for chosen, colour, marker, said in ((holds, BLUE, "o", "interval holds the count"),
                                             (~holds, VERMILION, "s", "interval misses it")):
            if chosen.any():
                axes.vlines(counted[chosen], points["low"][chosen], points["high"][chosen], color=colour,
                            alpha=0.35, linewidth=1)
                axes.plot(counted[chosen], points["probability"][chosen], color=colour, linestyle="none",
                          marker=marker, markersize=3.5, label=f"{said} ({int(chosen.sum())})")
        for limits in (axes.set_xlim, axes.set_ylim):
            limits(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel("flips counted, % of many draws")
        axes.set_ylabel(f"P(flip) estimated from {draws} draws, %")
        percent_axis(axes)
        percent_axis(axes, "x")
        grid(axes, "both")
        axes.legend(loc="upper left", fontsize=8.5)
    return figure


def plausibility(rows: Rows) -> Figure:
    """Median (mark) to 95th percentile (line's end) of each measure, an attack a line, at one dose."""
    with look():
        measures = [(name, said) for name, said in _MEASURES if any(row[name] for row in rows)]
        if not rows or not measures:
            figure, (axes,) = panel(5.3, 2.2)
            nothing(axes, "nothing was measured of the noise")
            return figure
        figure, _ = panel(7.6, 0.75 + 0.36 * len(rows), rows=0)
        for column, (name, said) in enumerate(measures):
            axes = figure.add_subplot(1, len(measures), column + 1)
            for at, row in enumerate(rows):
                found = row[name]
                if found:
                    shown = SERIES[at % len(SERIES)]
                    axes.plot([found["median"], found["high"]], [at, at], color=shown.colour, linewidth=2.2,
                              alpha=0.6)
                    axes.plot(found["median"], at, color=shown.colour, marker=shown.marker)
            axes.set_yticks(range(len(rows)), [noise_name(row["attack"]) for row in rows] if column == 0
                            else [""] * len(rows))
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_xlabel(said)
            axes.tick_params(axis="y", length=0)
            if name != "largest_local_sigma_hu":
                axes.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
            else:
                axes.set_xlim(0, None)
            grid(axes, "x")
    return figure


def fold_rocs(curves: Sequence[tuple[int, Floats, Floats]], area: Estimate | None) -> Figure:
    """The receiver operating characteristic of each fold's network."""
    with look():
        figure, (axes,) = panel(4.6, 4.3)
        if not curves:
            nothing(axes, "one class only, or more than two: no curve")
            return figure
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
        for fold, false, true in curves:
            shown = SERIES[fold % len(SERIES)]
            axes.plot(false, true, color=shown.colour, linestyle=shown.line, linewidth=1.3,
                      label=f"fold {fold}" if len(curves) <= _NAMED else None)
        if len(curves) > _NAMED:
            axes.plot([], [], color=INK, linewidth=1.3, label=f"{len(curves)} folds")
        title = "" if area is None or area.value is None else f"AUC {area.value:.3f}" + (
            f" ± {area.sd:.3f}" if area.sd is not None else "")
        axes.legend(loc="lower right", title=title, title_fontsize=9, alignment="left")
    return figure


def spectrum(told: Mapping[str, Any] | None, doses: Sequence[float]) -> Figure:
    """The power of the noise at each dose, with the sigma that it gives on the grid."""
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        if told is None or not doses:
            nothing(axes, "no spectrum was stored")
            return figure
        frequency, power = (np.asarray(told[name]) for name in ("frequency_per_mm", "power_hu2_mm2"))
        for mas, shown in zip(doses, DOSE_LOOKS * 9, strict=False):
            sigma = told["sigma_hu"].get(f"{mas:g}")
            axes.plot(frequency, power * told["reference_mas"] / mas, color=shown.colour, linestyle=shown.line,
                      label=f"{mas:g} mAs" + (f": {sigma:.1f} HU" if sigma is not None else ""))
        spacing = told.get("grid_mm")
        if isinstance(spacing, int | float) and spacing > 0 and 0.5 / spacing < frequency[-1]:
            axes.axvline(0.5 / spacing, color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.7)
            axes.annotate("Nyquist of the\nimage's grid ", (0.5 / spacing, 0.03), xytext=(-3, 0), ha="right",
                          xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8.5)
        lowest = power.max() / 100 * min(doses) / max(doses)
        axes.set_xlim(0, 1.6 * float(frequency[power >= lowest].max()))   # room for the legend beside the curves
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        top = float(power.max() * told["reference_mas"] / min(doses))
        bottom = float(power.max() * told["reference_mas"] / max(doses))
        axes.set_ylim(bottom / 100, top * 1.6)
        axes.set_xlabel("spatial frequency, 1/mm")
        axes.set_ylabel("noise power, HU² mm²")
        grid(axes)
        axes.legend(loc="upper right", title="sigma on the grid", title_fontsize=9, alignment="left")
    return figure


def forest(rows: Rows, mas: float) -> Figure:
    """SAN and expected flip rate of each group, with 95 % intervals; dashed lines at the value of all cases."""
    with look():
        if len(rows) < 2:
            figure, (axes,) = panel(5.3, 1.8)
            nothing(axes, "nothing is known of the cases to group them by")
            return figure
        places, names, heads = _places(rows)
        figure, _ = panel(7.6, 0.8 + 0.235 * (max(places) + 1), rows=0)
        for column, (name, said) in enumerate((("san", "at least once in K, %"), ("expected", "in one draw, %"))):
            axes = figure.add_subplot(1, 2, column + 1)
            for place, row in zip(places, rows, strict=True):
                _whisker(axes, row[name], place, INK if not row["kind"] else BLUE)
            whole = rows[0][name]
            if whole is not None and whole.value is not None:
                axes.axvline(whole.value, color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.6)
            axes.set_yticks([*places, *heads], [*names, *heads.values()] if column == 0 else [""] * (
                len(places) + len(heads)))
            for label in axes.get_yticklabels()[len(places):]:
                label.set_fontweight("bold")
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(max(places) + 0.6, -0.6)
            axes.set_xlim(0, None)
            axes.set_xlabel(f"reads changed {said}")
            percent_axis(axes, "x")
            grid(axes, "x")
    return figure


def variants(rows: Rows) -> Figure:
    """SAN of each variant's test reads, mean and SD over folds, the paper's own beside it (hollow)."""
    with look():
        known = [row for row in rows if row["test"] and row["test"]["san"].value is not None]
        if not known:
            figure, (axes,) = panel(5.3, 1.8)
            nothing(axes, "no network was tried with random noise at this dose")
            return figure
        figure, (axes,) = panel(5.6, 1.1 + 0.34 * len(known))
        for at, row in enumerate(known):
            san, printed = row["test"]["san"], variant_printed(row["variant"])
            axes.errorbar(san.value, at - 0.12, xerr=san.sd or 0, color=BLUE, marker="o", linestyle="none",
                          capsize=2, label="ours" if at == 0 else None)
            if printed:
                axes.errorbar(printed[1].mean / 100, at + 0.16, xerr=printed[1].sd / 100, color=INK, marker="s",
                              markerfacecolor="none", linestyle="none", capsize=2, linewidth=0.8, alpha=0.75,
                              label="[B] Table 3" if at == 0 else None)
        axes.set_yticks(range(len(known)), [variant_name(row["variant"]) for row in known])
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_xlim(0, None)
        axes.set_xlabel(f"test reads changed at least once at {known[0]['test']['mas']:g} mAs, %")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        grid(axes, "x")
        axes.legend(loc="best")
    return figure


def _places(rows: Rows) -> tuple[list[int], list[str], dict[int, str]]:
    """The height of each row, its name with the number of cases, and the heads between the groups."""
    places: list[int] = []
    heads: dict[int, str] = {}
    at, kind = 0, ""
    for row in rows:
        if row["kind"] != kind:
            kind = row["kind"]
            heads[at] = kind[0].upper() + kind[1:]
            at += 1
        places.append(at)
        at += 1
    return places, [f"{row.get('name') or row['group']} ({row['cases']})" for row in rows], heads


def _whisker(axes: Axes, found: Estimate | None, place: float, colour: str) -> None:
    if found is None or found.value is None:
        return
    if found.low is not None and found.high is not None:
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=1.6, alpha=0.7)
    axes.plot(found.value, place, color=colour, marker="o" if found.low is not None else "x", markersize=4.5)
