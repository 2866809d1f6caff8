"""Scatter: a mark a case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts.curve import Rule, rule_layers, rule_tables
from steadyread.charts.look import DOTTED, INK, Look
from steadyread.charts.panels import MARKS, ROW, Axis, Entry, Panel, as_drawn, columns, layer, mark_columns

Numbers = np.ndarray[Any, Any]
_MOST = 1200     # marks drawn


@dataclass(frozen=True, eq=False)
class Cloud:
    """A group of cases: y by x, with the ends of an interval of y where there are any."""

    name: str
    look: Look
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None


def scatter(clouds: Sequence[Cloud], x: Axis, y: Axis, rules: Sequence[Rule] = (), diagonal: bool = False,
            seed: int = 0, height: int = 300) -> Panel:
    """Groups of cases over common axes; the key has their numbers. At most 1200 marks drawn from `seed` are shown."""
    x = x.around(np.concatenate([cloud.x for cloud in clouds]).tolist())
    y = y.around(np.concatenate([cloud.y for cloud in clouds]).tolist())
    total = sum(len(cloud.x) for cloud in clouds)
    shown = np.zeros(total, bool)
    shown[np.random.default_rng(seed).permutation(total)[:_MOST]] = True
    marks, whiskers, start = [], [], 0
    for cloud in clouds:
        kept = np.flatnonzero(shown[start:start + len(cloud.x)])
        start += len(cloud.x)
        marks += [{"series": cloud.name, "x": float(cloud.x[at]), "y": float(cloud.y[at]), **mark_columns(cloud.look)}
                  for at in kept]
        if cloud.low is not None and cloud.high is not None:
            whiskers += [{"x": float(cloud.x[at]), "low": float(cloud.low[at]), "high": float(cloud.high[at]),
                          "colour": cloud.look.colour} for at in kept]
    tables = {"marks": marks, "whiskers": whiskers, "ends": _ends(x, y)} | rule_tables(rules, x, y, height)
    layers = rule_layers(rules, x, y)
    if diagonal:
        layers.append(layer("ends").mark_line(strokeDash=list(DOTTED), strokeWidth=1, opacity=0.8, clip=True).encode(
            x=x.channel("x"), y=y.channel("y"), **as_drawn(stroke="colour")))
    layers += [layer("whiskers").mark_rule(opacity=0.35).encode(
        x=x.channel("x"), y=y.channel("y", "low"), **columns(y2="high:Q"), **as_drawn(stroke="colour")),
        layer("marks").mark_point(size=22, opacity=0.65, tooltip=ROW).encode(
            x=x.channel("x"), y=y.channel("y"), **as_drawn(**MARKS))]
    key = tuple(Entry(f"{cloud.name} ({len(cloud.x)})", cloud.look, line=False) for cloud in clouds if len(cloud.x))
    return Panel(layers, tables, x, y, key, height)


def _ends(x: Axis, y: Axis) -> list[dict[str, Any]]:
    """The line of equal values, as far as both axes have it."""
    low = max((x.domain or (0.0,))[0], (y.domain or (0.0,))[0])
    high = min((x.domain or (0.0, 1.0))[1], (y.domain or (0.0, 1.0))[1])
    return [{"x": end, "y": end, "colour": INK} for end in (low, high)]
