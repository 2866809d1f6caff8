"""How far noise moves attention: flipped reads beside steady ones, and the maps beside those of random weights."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadyread.figures.style import BLUE, INK, ORANGE, VERMILION, grid, look, nothing, panel, percent_axis
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.seeing_reads import method_name
from steadyread.metrics.seeing_sanity import DEPENDS, HARDLY
from steadyread.words.noise import short_name

Found = Mapping[str, Any]
_LOOKS = {"flipped": (VERMILION, "o"), "steady": (BLUE, "s")}
_PANELS = (("shift", "overlap", "overlap of the\nstrongest tenths, %"),
           ("shift", "distance_mm", "distance of the\ncentres, mm"),
           ("paired", "area", "area of half the attention:\nnoisy minus clean, points"),
           ("paired", "inside", "attention in the nodule:\nnoisy minus clean, points"))


def attention_shift(found: Found | None) -> Figure:
    """Four measures of the shift: medians (left two) and mean changes (right two) with 95 % intervals."""
    with look():
        rows = [row for row in found["shift"] if row["group"] in _LOOKS and row["reads"]] if found else []
        shown = [one for one in _PANELS if _told(found, one)] if found else []
        if found is None or not rows or not shown:
            figure, (axes,) = panel(5.3, 1.8)
            nothing(axes, "attention was not measured")
            return figure
        names = {(row["method"], row["attack"]): f"{method_name(row['method'])},\n{short_name(row['attack'])}"
                 for row in rows}
        figure, _ = panel(1.6 + 2.05 * len(shown), 1.25 + 0.62 * len(names), rows=0)
        every = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (table, measure, said) in zip(every, shown, strict=True):
            _panel(axes, found, table, measure, list(names))
            axes.set_xlabel(said)
            axes.set_yticks(range(len(names)), list(names.values()) if axes is every[0] else [""] * len(names))
        handles = [axes.plot([], [], color=colour, marker=marker, linewidth=1.6)[0]
                   for colour, marker in _LOOKS.values()]
        figure.legend(handles, ["reads that flipped", "reads that did not"], loc="outside upper center", ncols=2)
    return figure


def _told(found: Found, one: tuple[str, str, str]) -> bool:
    table, measure, _ = one
    return any(row[measure].value is not None for row in found["shift"]) if table == "shift" else any(
        row["measure"] == measure for row in found["paired"])


def _panel(axes: Axes, found: Found, table: str, measure: str, keys: Sequence[tuple[str, str]]) -> None:
    for at, (method, attack) in enumerate(keys):
        for offset, (group, (colour, marker)) in zip((-0.16, 0.16), _LOOKS.items(), strict=True):
            value = _figure(found, table, measure, (method, attack, group))
            if value is not None and value.value is not None:
                if value.low is not None and value.high is not None:
                    axes.plot([value.low, value.high], [at + offset] * 2, color=colour, linewidth=1.8, alpha=0.7)
                known = [one for one in value.folds if one is not None]
                if len(known) > 1:
                    axes.plot(known, [at + offset] * len(known), color=colour, linestyle="none", marker="|",
                              markersize=6, alpha=0.6)
                axes.plot(value.value, at + offset, color=colour, marker=marker,
                          markerfacecolor=colour if value.low is not None else "none")
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    if table == "shift":
        axes.set_xlim(0, 1 if measure == "overlap" else None)
    else:
        axes.axvline(0, color=INK, linewidth=0.9, alpha=0.6)
    if measure != "distance_mm":
        percent_axis(axes, "x")
    grid(axes, "x")


def _figure(found: Found, table: str, measure: str, key: tuple[str, str, str]) -> Estimate | None:
    for row in found[table]:
        if (row["method"], row["attack"], row["group"]) == key and row.get("measure", measure) == measure:
            value: Estimate = row[measure if table == "shift" else "difference"]
            return value
    return None


def sanity(found: Found | None) -> Figure:
    """Rank correlation of the maps with those of random weights, and of clean with noisy maps, a line a kind."""
    with look():
        lines = _lines(found) if found else []
        if not lines:
            figure, (axes,) = panel(5.3, 1.8)
            nothing(axes, "maps of random weights were not made")
            return figure
        figure, (axes,) = panel(6.2, 0.95 + 0.31 * len(lines))
        for at, (_, row, colour, marker) in enumerate(lines):
            axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.2, alpha=0.7)
            axes.plot([row["quartile_1"], row["quartile_3"]], [at, at], color=colour, linewidth=4.5, alpha=0.45,
                      solid_capstyle="butt")
            axes.plot(row["median"], at, color=colour, marker=marker)
        for level in (DEPENDS, HARDLY):
            axes.axvline(level, color=INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.6)
        axes.axvline(0, color=INK, linewidth=0.8, alpha=0.4)
        axes.set_yticks(range(len(lines)), [f"{said} ({row['maps']})" for said, row, _, _ in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(min(-0.3, *(row["low"] for _, row, _, _ in lines)) - 0.05, 1.02)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("rank correlation of two maps")
        grid(axes, "x")
    return figure


def _lines(found: Found) -> list[tuple[str, Found, str, str]]:
    """What is compared, its quantiles, colour and marker: by method, random weights first, then noise."""
    lines = []
    for method in found["methods"]:
        lines += [(f"{method_name(method)}: {row['randomised']} drawn anew", row, ORANGE, "D")
                  for row in found["sanity"] if row["method"] == method and row["median"] is not None]
        lines += [(f"{method_name(method)}: clean, and {short_name(row['attack'])} noise", row, BLUE, "o")
                  for row in found["alike"] if row["method"] == method and row["median"] is not None]
    return lines
