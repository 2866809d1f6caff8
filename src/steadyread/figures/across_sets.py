"""Several data sets side by side: [A] Figs 1 to 3 (doi:10.1200/CCI.21.00170) with a panel a set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.ticker import FuncFormatter, MaxNLocator

from steadyread.figures.examples import picture
from steadyread.figures.hardening import Side, draw_before_and_after, legend_of
from steadyread.figures.robustness import AttackPoints
from steadyread.figures.style import INK, SERIES, grid, look, nothing, panel, percent_axis
from steadyread.metrics.intervals import Floats
from steadyread.metrics.robustness import Curve
from steadyread.units import Bounds, unit_word
from steadyread.words.numbers import attack_name, digits

_LOOKS = {"FGSM": SERIES[0], "BIM": SERIES[1], "PGD": SERIES[2]}
_DOTTED = (0, (2, 3))
_COLUMNS, _WIDE, _HIGH = 3, 3.55, 3.05     # panels a row, and the size of one in inches


@dataclass(frozen=True, eq=False)
class Attacked:
    """One image under several attacks of one size ([A] Fig. 1).

    `attacks` (k,) are their names with "clean" among them, `images` (k, c, *space) native, `probabilities`
    (k, classes).
    """

    case_id: str
    label: str
    size: float
    attacks: tuple[str, ...]
    images: Floats
    probabilities: Floats
    classes: tuple[str, ...]

    def says(self, place: int) -> tuple[str, float | None]:
        """The most probable class of one of the images with its probability; None where undecided."""
        told = self.probabilities[place]
        if not len(told) or not np.isfinite(told).all():
            return "undecided", None
        best = int(np.argmax(told))
        return (self.classes[best] if best < len(self.classes) else str(best)), float(told[best])


@dataclass(frozen=True, eq=False)
class UnderAttack:
    """A panel of [A] Fig. 2: one set's network. `floor` is where its accuracy must stop, None without one."""

    title: str
    bounds: Bounds
    curve: Curve
    attacks: Sequence[AttackPoints]
    floor: float | None = None


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """A panel of [A] Fig. 3: one set's network before and after hardening at `epsilon` (native)."""

    title: str
    bounds: Bounds
    before: Side
    after: Side
    epsilon: float | None = None


def under_attack(panels: Sequence[UnderAttack], against: str) -> Figure:
    """[A] Fig. 2: accuracy by the size of the change, a panel a set, each on its own scale."""
    with look():
        shown = [one for one in panels if one.attacks or _exact(one.curve)]
        if not shown:
            return _empty("no attack has been run")
        figure, axes = _panels(len(shown))
        for place, (panel_, one) in enumerate(zip(axes, shown, strict=True)):
            _draw_under_attack(panel_, one)
            _dress(panel_, (place, len(shown)), one.title, one.bounds, against)
        entries = {name: handle for each in axes for handle, name in zip(*each.get_legend_handles_labels(),
                                                                         strict=True)}
        figure.legend(list(entries.values()), list(entries), loc="outside upper left", ncols=5, handlelength=2.8)
    return figure


def before_and_after_panels(panels: Sequence[BeforeAfter], against: str = "label") -> Figure:
    """[A] Fig. 3: accuracy before and after hardening, a panel a set, each on its own scale."""
    with look():
        held = [one for one in panels if one.before.attacks or one.after.attacks or _exact(one.before.curve)
                or _exact(one.after.curve)]
        if not held:
            return _empty("no hardened network has been attacked")
        figure, axes = _panels(len(held))
        for place, (panel_, one) in enumerate(zip(axes, held, strict=True)):
            draw_before_and_after(panel_, one.before, one.after, one.bounds, one.epsilon)
            _dress(panel_, (place, len(held)), one.title, one.bounds, against)
        most = max(held, key=lambda one: len(one.before.attacks) + _exact(one.before.curve))
        handles, names = legend_of(most.before, most.after)
        figure.legend(handles, names, loc="outside upper left", ncols=5, handlelength=2.8,
                      handler_map={tuple: HandlerTuple(ndivide=None, pad=0.35)})
    return figure


def attacked_grid(rows: Sequence[tuple[str, Attacked, Bounds]]) -> Figure:
    """[A] Fig. 1: a row an image (its set's title, the image, its bounds): clean, then under each attack."""
    with look():
        if not rows:
            figure, (axes,) = panel(5.3, 1.6)
            nothing(axes, "no attacked images were stored")
            return figure
        columns = max(len(one.attacks) for _, one, _ in rows)
        figure, _ = panel(1.75 * columns, 2.15 * len(rows), rows=0)
        for row, (title, one, bounds) in enumerate(rows):
            for place, name in enumerate(one.attacks):
                axes = figure.add_subplot(len(rows), columns, columns * row + place + 1)
                axes.imshow(picture(one.images[place], bounds), interpolation="nearest")
                axes.set_title(f"{attack_name(name)}\n{_said(one, place)}", fontsize=8.5, fontweight="normal",
                               loc="center")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_frame_on(False)
                if place == 0:
                    axes.set_ylabel(f"{title[:24]}\n{digits(one.size / bounds.range)} of the range", fontsize=8.5)
    return figure


def _draw_under_attack(axes: Axes, one: UnderAttack) -> None:
    right = _right_end(one)
    curve, span = one.curve, one.bounds.range
    if _exact(curve):
        last = min(max(right, float(curve.sizes[-1]) / span), curve.end / span)
        x = np.append(curve.sizes / span, last)
        low, high = (np.append(side, side[-1]) for side in (curve.low, curve.high))
        axes.fill_between(x, low, high, step="post", color=INK, alpha=0.13, linewidth=0)
        axes.step(x, np.append(curve.accuracy, curve.accuracy[-1]), where="post", color=INK, linewidth=1.8,
                  label="every size, as found (95 % at each size)")
    spare = iter(SERIES[3:] * 9)
    for points in one.attacks:
        shown = _LOOKS.get(points.name) or next(spare)
        lead = ([0.0], [float(curve.accuracy[0])]) if curve.n else ([], [])
        axes.plot([*lead[0], *(size / span for size in points.sizes)], [*lead[1], *points.accuracy],
                  label=points.name, markeredgecolor="none", markersize=4.4, linewidth=1.5, color=shown.colour,
                  linestyle=shown.line, marker=shown.marker, markevery=slice(len(lead[0]), None))
    if one.floor is not None:
        axes.axhline(one.floor, color=INK, linewidth=0.9, linestyle=_DOTTED, alpha=0.8, label="100 − clean")
    axes.set_xlim(0, right)
    axes.set_ylim(0, 1.02)
    percent_axis(axes)
    grid(axes)


def _right_end(one: UnderAttack) -> float:
    """How far the x axis goes: to the attacks' sizes and to where nine flips of ten are done, where neither is more
    than three times the other; and past half of the flips, of which the headline speaks.
    """
    tried = 1.05 * max((size for points in one.attacks for size in points.sizes), default=0.0)
    reach = float(np.quantile(one.curve.sizes[1:], 0.9)) if len(one.curve.sizes) > 1 else 0.0
    both = tried > 0 and reach > 0
    end = max(min(tried, 3 * reach), min(reach, 3 * tried)) if both else max(tried, reach)
    return max(end, 1.08 * one.curve.half_way, 1e-9 * one.bounds.range) / one.bounds.range


def _exact(curve: Curve) -> bool:
    return curve.n > 0 and curve.end > 0


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, up to three in a row."""
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure, _ = panel(max(_WIDE * columns, 4.6), _HIGH * rows + 0.35, rows=0)
    figure.set_layout_engine("constrained", hspace=0.05)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(count)]


def _dress(axes: Axes, place: tuple[int, int], title: str, bounds: Bounds, against: str) -> None:
    """Title and labels of one of several panels: what all share is said once a row or a column."""
    at, count = place
    columns = min(_COLUMNS, count)
    native = f" (1 = {bounds.range:g} {unit_word(bounds.unit, bounds.range)})" if bounds.unit else ""
    axes.set_title(f"{chr(65 + at) if at < 26 else at + 1}  {title[:30]}", fontsize=10)
    if at % columns == 0:
        axes.set_ylabel(f"accuracy, %, against the {against}", fontsize=8.5)
    axes.set_xlabel(f"change, share of the range{native}", fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 4, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _empty(message: str) -> Figure:
    figure, (axes,) = panel(5.3, 1.6)
    nothing(axes, message)
    return figure


def _said(one: Attacked, place: int) -> str:
    name, probability = one.says(place)
    return name[:18] if probability is None else f"{name[:18]}, {100 * probability:.1f} %"
