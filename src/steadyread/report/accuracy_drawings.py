"""Accuracy by the size of the change, as [A] Figs 2 and 3 have it, for one network, two networks, and sets of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from steadyread.charts import Axis, Entry, Line, Panel, Rule, curve, nothing, per_size, size_axis
from steadyread.charts.look import BLUE, DASHED, INK, SERIES, SOLID, VERMILION, Look
from steadyread.metrics import Reads
from steadyread.metrics.robustness import Curve, accuracy_under_attack, robust_curve
from steadyread.metrics.summary import thinned
from steadyread.units import Bounds
from steadyread.words.numbers import attack_name

STEPS = 300     # of a drawn curve
AFTER, BEFORE = Look(BLUE, SOLID), Look(VERMILION, DASHED)
_LOOKS = {"FGSM": SERIES[0], "BIM": SERIES[1], "PGD": SERIES[2]}
_MARKERS = {"FGSM": "circle", "BIM": "triangle-up", "PGD": "square"}
_SPARE = ("triangle-down", "diamond", "cross", "triangle-right", "triangle-left")
_FOUND = "every size, as found (95 % at each size)"


@dataclass(frozen=True)
class AttackPoints:
    """The accuracy under one attack at several sizes (native units)."""

    name: str
    sizes: Sequence[float]
    accuracy: Sequence[float]


@dataclass(frozen=True, eq=False)
class Side:
    """One network under attack: the curve at every size (not drawn where it ends at 0), and the attacks."""

    curve: Curve
    attacks: Sequence[AttackPoints]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.attacks and not self.exact

    @property
    def exact(self) -> bool:
        """Whether the curve is drawn."""
        return self.curve.n > 0 and self.curve.end > 0


def side_of(reads: Reads, against: str, limit: float) -> Side:
    """A network's reads under every attack, with its curve up to `limit` (native)."""
    rows = [row for row in accuracy_under_attack(reads, against) if row["accuracy"].value is not None]
    points = [AttackPoints(attack_name(name), [row["size"] for row in rows if row["attack"] == name],
                           [row["accuracy"].value for row in rows if row["attack"] == name])
              for name in dict.fromkeys(row["attack"] for row in rows)]
    return Side(thinned(robust_curve(reads, against).until(limit), STEPS), points)


def under_attack(side: Side, bounds: Bounds, against: str, floor: float | None = None, title: str = "") -> Panel:
    """[A] Fig. 2: each attack at its sizes, and the step curve of what was found, with its band (95 % at each size,
    not of the whole curve), as far as it goes (`Curve.end`).

    `floor` (two classes, against the prediction) is where the accuracy must stop: 1 minus the clean one.
    """
    if not side.curve.n and not side.attacks:
        return nothing("no attack has been run")
    right = reach([side], bounds)
    lines = list(_found(side, bounds, right, Look(INK), _FOUND))
    spare = iter(SERIES[3:] * 9)
    lines += [_attack(points, side, bounds, _LOOKS.get(points.name) or next(spare)) for points in side.attacks]
    words = "" if floor is None or title else f"100 − clean = {100 * floor:.1f} %"
    rules = [Rule("y", floor, words)] if floor is not None else []
    return curve(lines, *_axes(bounds, right, against, title), rules, title=title)


def before_and_after(before: Side, after: Side, bounds: Bounds, against: str, epsilon: float | None = None,
                     title: str = "") -> Panel:
    """[A] Fig. 3: both networks on the same images, each attack by its marker, hollow before and filled after.

    `epsilon` is the size that the training used (native).
    """
    if before.empty and after.empty:
        return nothing("no attack has been run on both networks")
    right = reach([before, after], bounds, epsilon)
    names = dict.fromkeys(points.name for side in (before, after) for points in side.attacks)
    spare = iter(_SPARE * (1 + len(names) // len(_SPARE)))
    markers = {name: _MARKERS.get(name) or next(spare) for name in names}
    lines: list[Line] = []
    for side, look, which in ((before, BEFORE, "before"), (after, AFTER, "after")):
        lines += _found(side, bounds, right, look, which)
        lines += [replace(_attack(points, side, bounds, replace(look, marker=markers[points.name])), width=0.9,
                          hollow=side is before) for points in side.attacks]
    key = [Entry(which, look, mark=False) for which, look in (("before", BEFORE), ("after", AFTER))]
    key += [Entry(name, Look(INK, marker=marker), line=False) for name, marker in markers.items()]
    rules = [Rule("x", epsilon / per_size(bounds), "" if title else "size of training")] if epsilon else []
    drawn = curve(lines, *_axes(bounds, right, against, title), rules, title=title)
    return replace(drawn, key=tuple(key))


def _axes(bounds: Bounds, right: float, against: str, title: str) -> tuple[Axis, Axis]:
    what = "change of a pixel" if title else "largest change of a pixel"
    return (size_axis(bounds, what, (0.0, right / per_size(bounds))),
            Axis(f"accuracy, % (against the {against})", (0.0, 1.02), percent=True))


def _found(side: Side, bounds: Bounds, right: float, look: Look, name: str) -> Iterator[Line]:
    """The curve of what was found, drawn to where it is known."""
    if side.exact:
        steps = side.curve
        last = min(max(right, float(steps.sizes[-1])), steps.end)
        y, low, high = (np.append(column, column[-1]) for column in (steps.accuracy, steps.low, steps.high))
        yield Line(name, look, np.append(steps.sizes, last) / per_size(bounds), y, low, high, step=True)


def _attack(points: AttackPoints, side: Side, bounds: Bounds, look: Look) -> Line:
    """An attack's points, joined from the clean accuracy on."""
    x, y = [size / per_size(bounds) for size in points.sizes], list(points.accuracy)
    if side.curve.n:
        x, y = [0.0, *x], [float(side.curve.accuracy[0]), *y]
    return Line(points.name, look, x, y, marked=len(points.sizes))


def reach(sides: Sequence[Side], bounds: Bounds, epsilon: float | None = None) -> float:
    """How far the x axis goes (native): past every attack's sizes and the training's, to where nine flips of ten are
    done where that is not much further, and past half of the flips, of which the headline speaks.
    """
    tried = [size for side in sides for points in side.attacks for size in points.sizes]
    tried += [1.25 * epsilon] if epsilon is not None else []
    ends = [1.08 * max(tried)] if tried else []
    for side in sides:
        if len(side.curve.sizes) > 1 and side.curve.n:
            most = float(np.quantile(side.curve.sizes[1:], 0.9))
            ends += [min(most, 3 * max(tried)) if tried else most, 1.08 * side.curve.half_way]
    if not ends:
        ends = [side.curve.end for side in sides if 0 < side.curve.end < np.inf]
    return float(max([*ends, 1e-9 * bounds.range]))
