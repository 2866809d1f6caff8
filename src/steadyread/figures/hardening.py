"""Before and after hardening: [A] Fig. 3 with the curves of what was found, and the smallest flips image by image.

Colour is the network (vermilion before, blue after), marker the attack; before is dashed and hollow, after solid
and filled, so that it reads in black and white too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from steadyread.figures.robustness import AttackPoints
from steadyread.figures.style import (
    BLUE,
    INK,
    PAPER,
    VERMILION,
    grid,
    look,
    native_axis,
    nothing,
    panel,
    percent_axis,
)
from steadyread.metrics.intervals import Floats
from steadyread.metrics.robustness import Curve
from steadyread.units import Bounds

BEFORE, AFTER = VERMILION, BLUE
_DASHED: Any = (0, (4, 2))
DOTTED: Any = (0, (2, 3))
_LINES: tuple[tuple[str, Any], ...] = ((BEFORE, _DASHED), (AFTER, "-"))
_MARKERS = {"FGSM": "o", "BIM": "^", "PGD": "s"}
_SPARE = "DvPX*"
_POINTS = 2500       # images that a scatter shows


@dataclass(frozen=True, eq=False)
class Side:
    """One network under attack: the curve at every size (not drawn where it ends at 0), and the attacks."""

    curve: Curve
    attacks: Sequence[AttackPoints]


def before_and_after(before: Side, after: Side, bounds: Bounds, epsilon: float | None = None,
                     against: str = "label") -> Figure:
    """[A] Fig. 3: accuracy by the size of the change, of both networks on the same images.

    `epsilon` is the size that the training used (native).
    """
    with look():
        figure, (axes,) = panel(5.3, 4.1)
        if not draw_before_and_after(axes, before, after, bounds, epsilon):
            nothing(axes, "no attack has been run on both networks")
            return figure
        axes.set_ylabel(f"accuracy, % (against the {against})")
        native_axis(axes, bounds)
        handles, names = legend_of(before, after, epsilon)
        figure.legend(handles, names, loc="outside lower center", ncols=3, columnspacing=1.4, handlelength=2.6,
                      handler_map={tuple: HandlerTuple(ndivide=None, pad=0.35)})
    return figure


def draw_before_and_after(axes: Axes, before: Side, after: Side, bounds: Bounds,
                          epsilon: float | None = None) -> bool:
    """Both networks into axes whose x is the share of the range; False where there is nothing to draw.

    Call it within `look()`. Neither labels nor legend are set: `legend_of` has the latter's entries.
    """
    if not any(side.attacks or _exact(side.curve) for side in (before, after)):
        return False
    right = _right_end(before, after, bounds, epsilon)
    for side, (colour, line) in zip((before, after), _LINES, strict=True):
        _draw_curve(axes, side.curve, bounds, right, (colour, line))
        for points, marker in _marked(before, after, side):
            _draw_attack(axes, points, side.curve, bounds, (colour, marker, side is after))
    if epsilon is not None and epsilon <= right * bounds.range:
        axes.axvline(epsilon / bounds.range, color=INK, linewidth=0.9, linestyle=DOTTED)
    axes.set_xlim(0, right)
    axes.set_ylim(0, 1.02)
    percent_axis(axes)
    grid(axes)
    return True


def legend_of(before: Side, after: Side, epsilon: float | None = None) -> tuple[list[Any], list[str]]:
    """The legend's handles and names: the two networks, then an attack an entry in both of its forms.

    Draw it with `HandlerTuple(ndivide=None)` for tuples.
    """
    band = any(_exact(side.curve) for side in (before, after))
    handles: list[Any] = [Line2D([], [], color=colour, linestyle=line) for colour, line in _LINES]
    names = [f"{which}, every size, as found" if band else which for which in ("before", "after")]
    for points, marker in _marked(before, after, before):
        handles.append(tuple(Line2D([], [], color=colour, linestyle="none", **mark(colour, marker, filled))
                             for colour, filled in ((BEFORE, False), (AFTER, True))))
        names.append(points.name)
    if epsilon is not None:
        handles.append(Line2D([], [], color=INK, linewidth=0.9, linestyle=DOTTED))
        names.append("size of training")
    return handles, names


def flip_scatter(before: Floats, after: Floats, bounds: Bounds, seed: int = 0) -> Figure:
    """The smallest flip after by that before, image by image, on log axes; above the diagonal it grew.

    Images without a flip stand in a strip of their own. At most 2500 drawn images are shown.
    """
    with look():
        figure, (axes,) = panel(5.3, 4.1)
        usable = np.flatnonzero((before > 0) & (after > 0))
        counts = [int(np.sum(which)) for which in (after > before, after < before, after == before)]
        if not np.isfinite(np.concatenate([before[usable], after[usable]])).any():
            nothing(axes, "no read that is right in both was flipped")
            return figure
        if len(usable) > _POINTS:
            usable = np.sort(np.random.default_rng(seed).choice(usable, _POINTS, replace=False))
        x, y = before[usable] / bounds.range, after[usable] / bounds.range
        known = np.concatenate([x[np.isfinite(x)], y[np.isfinite(y)]])
        low, high = known.min() / 1.3, known.max() * 1.3
        never = np.isinf(x).any() or np.isinf(y).any()
        strip = high * (high / low) ** 0.09     # where the unflipped ones stand
        end = high * (high / low) ** 0.15 if never else high
        shown_x, shown_y = np.where(np.isinf(x), strip, x), np.where(np.isinf(y), strip, y)
        kinds = ((y > x, AFTER, "o", "larger after"), (y < x, BEFORE, "x", "smaller after"),
                 (x == y, INK, "+", "alike"))
        for (flags, colour, marker, name), count in zip(kinds, counts, strict=True):
            if flags.any():
                line: dict[str, Any] = ({"linewidths": 0, "alpha": 0.6} if marker == "o"
                                        else {"linewidths": 1.1, "alpha": 0.85})
                axes.scatter(shown_x[flags], shown_y[flags], s=17, c=colour, marker=marker, **line,
                             label=f"{name} ({count})")
        axes.plot([low, high], [low, high], color=INK, linewidth=0.9, linestyle=DOTTED)
        _draw_strips(axes, high, strip, (bool(np.isinf(x).any()), bool(np.isinf(y).any())))
        axes.set_ylabel("smallest flip after, share of the range")
        axes.set_xscale("log")      # before the second axis, which takes its scale from here
        axes.set_yscale("log")
        native_axis(axes, bounds)
        axes.set_xlabel("smallest flip before, share of the range")
        _log_axes(axes, (low, high, end), bounds)
        figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3, columnspacing=1.4)
    return figure


def _draw_strips(axes: Axes, edge: float, middle: float, never: tuple[bool, bool]) -> None:
    """The strips of the images that were not flipped before (right) and after (above), where there are any."""
    if never[0]:
        axes.axvline(edge, color=INK, linewidth=0.7, alpha=0.35)
        axes.annotate("never", (middle, 0), xycoords=("data", "axes fraction"), xytext=(0, -5.5),
                      textcoords="offset points", ha="center", va="top", fontsize=9)
    if never[1]:
        axes.axhline(edge, color=INK, linewidth=0.7, alpha=0.35)
        axes.annotate("never", (0, middle), xycoords=("axes fraction", "data"), xytext=(-5.5, 0),
                      textcoords="offset points", ha="right", va="center", fontsize=9)


def _exact(curve: Curve) -> bool:
    return curve.n > 0 and curve.end > 0


def _draw_curve(axes: Axes, curve: Curve, bounds: Bounds, right: float, shown: tuple[str, Any]) -> None:
    if not _exact(curve):
        return
    colour, line = shown
    last = min(max(right, float(curve.sizes[-1]) / bounds.range), curve.end / bounds.range)
    x = np.append(curve.sizes / bounds.range, last)
    low, high = (np.append(side, side[-1]) for side in (curve.low, curve.high))
    axes.fill_between(x, low, high, step="post", color=colour, alpha=0.16, linewidth=0)
    axes.step(x, np.append(curve.accuracy, curve.accuracy[-1]), where="post", color=colour, linestyle=line,
              linewidth=1.9)


def _draw_attack(axes: Axes, points: AttackPoints, curve: Curve, bounds: Bounds, shown: tuple[str, str, bool]
                 ) -> None:
    """An attack's marks, thinly joined from the clean accuracy on."""
    colour, marker, filled = shown
    x, y = [size / bounds.range for size in points.sizes], list(points.accuracy)
    lead_x, lead_y = ([0.0, *x], [float(curve.accuracy[0]), *y]) if curve.n else (x, y)
    axes.plot(lead_x, lead_y, color=colour, linewidth=0.9, alpha=0.55, linestyle="-" if filled else _DASHED)
    axes.plot(x, y, linestyle="none", zorder=3, **mark(colour, marker, filled))


def mark(colour: str, marker: str, filled: bool) -> dict[str, Any]:
    """Keywords of a marker, filled or hollow."""
    return {"marker": marker, "markersize": 5.2, "markerfacecolor": colour if filled else PAPER,
            "markeredgecolor": colour, "markeredgewidth": 1.2}


def _marked(before: Side, after: Side, side: Side) -> Iterator[tuple[AttackPoints, str]]:
    """A side's attacks, each with the marker that it has on both sides."""
    names = dict.fromkeys(points.name for which in (before, after) for points in which.attacks)
    spare = iter(_SPARE * (1 + len(names) // len(_SPARE)))
    markers = {name: _MARKERS.get(name) or next(spare) for name in names}
    yield from ((points, markers[points.name]) for points in side.attacks)


def _right_end(before: Side, after: Side, bounds: Bounds, epsilon: float | None) -> float:
    """How far the x axis goes: past the attacks' sizes and the training's, and to where most flips are."""
    tried = [size for side in (before, after) for points in side.attacks for size in points.sizes]
    tried += [1.25 * epsilon] if epsilon is not None else []
    ends = [1.08 * max(tried)] if tried else []
    for curve in (before.curve, after.curve):
        if len(curve.sizes) > 1 and curve.end > 0:
            reach = float(np.quantile(curve.sizes[1:], 0.9))
            ends += [min(reach, 3 * max(tried)) if tried else reach, 1.08 * curve.half_way]
    return max([*ends, 1e-9 * bounds.range]) / bounds.range


def _log_axes(axes: Axes, ends: tuple[float, float, float], bounds: Bounds) -> None:
    """Equal log axes from the first to the third of `ends`, with ticks up to the second."""
    low, high, end = ends
    axes.set_xlim(low, end)
    axes.set_ylim(low, end)
    locator = LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0))
    for axis, unit in ((axes.xaxis, 1.0), (axes.yaxis, 1.0), *((above.xaxis, bounds.range)
                                                              for above in axes.child_axes)):
        ticks = np.asarray(locator.tick_values(low * unit, high * unit))
        axis.set_major_locator(FixedLocator(list(ticks[(ticks >= low * unit) & (ticks <= high * unit)])))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    grid(axes, "both")
