"""Histogram: how many cases lie in each bin."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from steadyread.charts.curve import Rule, rule_layers, rule_tables
from steadyread.charts.look import BLUE, PAPER
from steadyread.charts.panels import HEIGHT, ROW, Axis, Panel, as_drawn, columns, layer


def histogram(values: np.ndarray[Any, Any], x: Axis, y: Axis, rules: Sequence[Rule] = (), bins: int = 24,
              title: str = "") -> Panel:
    """Counts of `values` in `bins` of equal width on the axis (of equal ratio on a log one)."""
    low, high = (x := x.around(values.tolist())).domain or (0.0, 1.0)
    counts, edges = np.histogram(values, np.geomspace(low, high, bins + 1) if x.log
                                 else np.linspace(low, high, bins + 1))
    y = y.around([*counts.tolist(), 1.0], 1.25)      # room for the words of a rule
    rows = [{"x": float(left), "x2": float(right), "y": int(count), "zero": 0, "colour": BLUE}
            for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True) if count]
    bars = layer("bins").mark_bar(opacity=0.8, stroke=PAPER, strokeWidth=1, tooltip=ROW).encode(
        x=x.channel("x"), y=y.channel("y"), **columns(x2="x2:Q", y2="zero:Q"),
        **as_drawn(fill="colour"))
    return Panel([bars, *rule_layers(rules, x, y)], {"bins": rows} | rule_tables(rules, x, y, HEIGHT), x, y,
                 title=title)
