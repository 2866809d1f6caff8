"""Curves: lines or steps over numbers, with bands or whiskers and marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts.look import DOTTED, INK, Look, text_width
from steadyread.charts.panels import (
    HEIGHT,
    MARKS,
    REACHED,
    ROW,
    Axis,
    Entry,
    Layer,
    Panel,
    Rows,
    as_drawn,
    columns,
    layer,
    mark_columns,
)

_MARKS = 14      # at most, on a line
_ACROSS = 410    # about how many pixels a panel is wide


@dataclass(frozen=True, eq=False)
class Line:
    """A series: y by x, each with `low` and `high` where known (NaN: not there).

    `step`: y holds up to the next x. `band`: the interval is a shade, else whiskers. `marked` is how many of the last
    points have marks, None for all (thinned out), 0 for none. `joined` False leaves the marks alone.
    """

    name: str
    look: Look
    x: Sequence[float] | np.ndarray[Any, Any]
    y: Sequence[float] | np.ndarray[Any, Any]
    low: Sequence[float | None] | np.ndarray[Any, Any] = ()
    high: Sequence[float | None] | np.ndarray[Any, Any] = ()
    step: bool = False
    band: bool = True
    marked: int | None = 0
    joined: bool = True
    hollow: bool = False
    width: float = 1.9
    listed: bool = True          # in the key

    @property
    def entry(self) -> Entry:
        """How the key shows it."""
        return Entry(self.name, self.look, self.joined, self.marked != 0, self.hollow)


@dataclass(frozen=True)
class Rule:
    """A line across a panel at `at` of its "x" or "y" axis, as far as `upto` of the other, with its words."""

    along: str
    at: float
    words: str = ""
    upto: float | None = None
    colour: str = INK
    dash: tuple[float, ...] = DOTTED
    left: bool = False           # where its words stand; those of an x rule stand where there is room


def curve(lines: Sequence[Line], x: Axis, y: Axis, rules: Sequence[Rule] = (), height: int = HEIGHT,
          title: str = "") -> Panel:
    """Series over common axes; those of an axis without a domain are fitted to the numbers."""
    x = x.around([value for line in lines for value in line.x])
    y = y.around([value for line in lines for column in (line.y, line.high, line.low) for value in column
                  if value is not None])
    return Panel([*_layers(lines, x, y), *rule_layers(rules, x, y)],
                 _tables(lines, x, y) | rule_tables(rules, x, y, height), x, y,
                 tuple(line.entry for line in lines if line.listed), height, title=title)


def _layers(lines: Sequence[Line], x: Axis, y: Axis) -> list[Layer]:
    across, up = x.channel("x"), y.channel("y")
    low, high = y.channel("y", "low"), columns(y2="high:Q")
    drawn = []
    for step, name in ((False, "bands"), (True, "step_bands")):
        if any(line.band and line.step == step and len(line.low) for line in lines):
            drawn.append(layer(name).mark_area(opacity=0.15, clip=True, interpolate="step-after" if step else "linear"
                                               ).encode(x=across, y=low, **high, **columns(detail="line:N"),
                                                        **as_drawn(fill="colour")))
    drawn.append(layer("whiskers").mark_rule(opacity=0.6, strokeWidth=1.4, clip=True).encode(
        x=across, y=low, **high, **as_drawn(stroke="colour")))
    for step, name in ((False, "lines"), (True, "steps")):
        if any(line.joined and line.step == step for line in lines):
            drawn.append(layer(name).mark_line(clip=True, interpolate="step-after" if step else "linear").encode(
                x=across, y=up, **columns(detail="line:N"), strokeWidth=_widths(),
                **as_drawn(stroke="colour", strokeDash="dash")))
            drawn.append(layer(name).mark_point(**REACHED).encode(x=across, y=up))
    return [*drawn, layer("marks").mark_point(size=32, opacity=1, tooltip=ROW).encode(
        x=across, y=up, **as_drawn(**MARKS))]


def _widths() -> Any:
    import altair as alt

    return alt.StrokeWidth("width:Q", scale=None, legend=None)


def _tables(lines: Sequence[Line], x: Axis, y: Axis) -> dict[str, Rows]:
    tables: dict[str, Rows] = {name: [] for name in ("bands", "step_bands", "whiskers", "lines", "steps", "marks")}
    for at, line in enumerate(lines):
        rows = _rows(line, at, y)
        ranged = [row for row in rows if row["low"] is not None and row["high"] is not None]
        tables[("step_bands" if line.step else "bands") if line.band else "whiskers"] += ranged
        if line.joined:
            tables["steps" if line.step else "lines"] += [row | {"dash": list(line.look.dash), "width": line.width}
                                                          for row in rows]
        count = len(rows) if line.marked is None else line.marked
        last = [row for row in rows[len(rows) - count:] if _inside(row["x"], x) and _inside(row["y"], y)]
        thin = max(1, -(-len(last) // _MARKS)) if line.joined else 1
        tables["marks"] += [{**row, **mark_columns(line.look, line.hollow)} for row in last[::thin]]
    point = ("series", "x", "y", "low", "high", "colour")
    keep = {"lines": (*point, "line", "dash", "width"), "marks": (*point, "fill", "shape"),
            "bands": ("line", "x", "low", "high", "colour")}
    keep |= {"steps": keep["lines"], "step_bands": keep["bands"], "whiskers": keep["bands"]}
    return {name: [{column: row[column] for column in keep[name] if row[column] is not None} for row in rows]
            for name, rows in tables.items()}


def _rows(line: Line, at: int, y: Axis) -> Rows:
    """A series as rows of plain numbers, those without a y left out."""
    low, high = (side if len(side) else [None] * len(line.x) for side in (line.low, line.high))
    return [{"line": at, "series": line.name, "x": float(x), "y": float(value), "low": _shown(below, y),
             "high": _shown(above, y), "colour": line.look.colour}
            for x, value, below, above in zip(line.x, line.y, low, high, strict=True)
            if np.isfinite(x) and value is not None and np.isfinite(value) and (value > 0 or not y.log)]


def _shown(value: float | None, axis: Axis) -> float | None:
    """An end of an interval: none where it is not known, and on a log axis nothing below its end."""
    if value is None or not np.isfinite(value):
        return None
    return max(float(value), axis.domain[0]) if axis.log and axis.domain else float(value)


def _inside(value: float, axis: Axis) -> bool:
    low, high = axis.domain or (-np.inf, np.inf)
    room = 1e-9 * abs(high - low)
    return bool(low - room <= value <= high + room)


def rule_layers(rules: Sequence[Rule], x: Axis, y: Axis) -> list[Layer]:
    """The layers of rules and of their words."""
    if not rules:
        return []
    drawn = layer("rules").mark_rule(opacity=0.8, clip=True).encode(
        x=x.channel("x"), y=y.channel("y"), **columns(x2="x2:Q", y2="y2:Q"),
        **as_drawn(stroke="colour", strokeDash="dash"))
    words = [layer(f"rule_words_{align}").mark_text(
        align=align, baseline="bottom", dx=4 if align == "left" else -4, dy=-3, fontSize=10.5).encode(
            x=x.channel("x"), y=y.channel("y"), **columns(text="text:N")) for align in ("left", "right")]
    return [drawn, *words]


def rule_tables(rules: Sequence[Rule], x: Axis, y: Axis, height: int) -> dict[str, Rows]:
    """The tables of rules and of their words, which stand below the upper end of an x rule, one below another."""
    tables: dict[str, Rows] = {"rules": [], "rule_words_left": [], "rule_words_right": []}
    taken: list[tuple[int, float, float]] = []       # row, and from where to where
    ends = {"x": x.domain or (0.0, 1.0), "y": y.domain or (0.0, 1.0)}
    for rule in rules:
        if not _inside(rule.at, x if rule.along == "x" else y):
            continue
        other = "y" if rule.along == "x" else "x"
        low, high = ends[other][0], ends[other][1] if rule.upto is None else rule.upto
        tables["rules"].append({rule.along: rule.at, f"{rule.along}2": rule.at, other: low, f"{other}2": high,
                                "colour": rule.colour, "dash": list(rule.dash)})
        if not rule.words:
            continue
        if rule.along == "y":
            align = "left" if rule.left else "right"
            tables[f"rule_words_{align}"].append({"x": ends["x"][0 if rule.left else 1], "y": rule.at,
                                                  "text": rule.words})
        else:
            at, wide = _share(rule.at, x), (text_width(rule.words) + 10) / _ACROSS
            align = "left" if at + wide < 1 else "right"
            start = at if align == "left" else at - wide
            row = next(row for row in range(len(rules) + 1) if not any(
                row == other and start < last and first < start + wide for other, first, last in taken))
            taken.append((row, start, start + wide))
            tables[f"rule_words_{align}"].append({"x": rule.at, "text": rule.words,
                                                  "y": _at_share(1 - (17 + 14 * row) / height, y)})
    return tables if rules else {}


def _share(value: float, axis: Axis) -> float:
    low, high = axis.domain or (0.0, 1.0)
    if axis.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def _at_share(share: float, axis: Axis) -> float:
    low, high = axis.domain or (0.0, 1.0)
    return float(low * (high / low) ** share if axis.log else low + share * (high - low))
