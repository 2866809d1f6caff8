"""Dot and whisker: an estimate a line with its interval, in groups below their headings (a forest)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steadyread.charts.curve import Rule, rule_layers, rule_tables
from steadyread.charts.look import CROSS, TICK, Look, text_width
from steadyread.charts.panels import MARKS, ROW, Axis, Entry, Panel, Rows, as_drawn, columns, layer, mark_columns

_STEP, _LONGEST = 21, 34
_ROOM = 240      # about what a narrow drawing's axis is wide


@dataclass(frozen=True)
class Interval:
    """A value with its interval on the line `name` below the heading `group`; several may share a line.

    `inner` is a narrower range around the value, `beside` are single values (of folds) drawn as ticks, `words` stand
    behind the mark. Without an interval the mark is a cross, unless the look says otherwise by `plain`.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    look: Look
    group: str = ""
    hollow: bool = False
    inner: tuple[float, float] | None = None
    beside: tuple[float, ...] = ()
    words: str = ""
    plain: bool = False
    link: str = ""               # where its name leads


def interval(rows: Sequence[Interval], x: Axis, rules: Sequence[Rule] = (), ways: tuple[str, str] | None = None,
             key: tuple[Entry, ...] = (), named: bool = True, title: str = "") -> Panel:
    """Estimates from the top down; `ways` says what lies left and right of 0, `named` whether lines have names."""
    x = x.around([value for row in rows for value in (row.value, row.low, row.high, *row.beside, *(row.inner or ()))
                  if value is not None])
    lines, headings = _lines(rows)
    y = Axis("", (len(lines) + len(headings) - 0.4, -0.6))
    height = _STEP * (len(lines) + len(headings)) + 8
    ends = x.domain or (0.0, 1.0)
    tables = _tables(rows, lines, x) | rule_tables(rules, x, y, height)
    layers = [layer("zone").mark_point(opacity=0).encode(x=x.channel("x"), y=_hidden(y)), *rule_layers(rules, x, y)]
    for name, thick, opacity in (("whiskers", 2.2, 0.85), ("inner", 6, 0.5)):
        layers.append(layer(name).mark_rule(strokeWidth=thick, opacity=opacity, clip=True).encode(
            x=x.channel("low"), y=_hidden(y), **columns(x2="high:Q"), **as_drawn(stroke="colour")))
    layers.append(layer("marks").mark_point(size=46, opacity=1, tooltip=ROW).encode(
        x=x.channel("x"), y=_hidden(y), **as_drawn(**MARKS)))
    layers.append(layer("behind").mark_text(align="left", dx=8, baseline="middle", fontSize=10.5).encode(
        x=x.channel("x"), y=_hidden(y), **columns(text="text:N")))
    layers.append(layer("ahead").mark_text(align="right", dx=-8, baseline="middle", fontSize=10.5).encode(
        x=x.channel("x"), y=_hidden(y), **columns(text="text:N")))
    tables["zone"] = [{"x": ends[0], "y": 0}]
    if named:
        links = {row.name: row.link for row in rows if row.link}
        layers += _name_layers(y, bool(links))
        tables |= {"names": [{"y": at, "text": _cut(name), **({"href": links[name]} if name in links else {})}
                             for (_, name), at in lines.items()],
                   "headings": [{"y": at, "text": _cut(name)} for name, at in headings.items()]}
    if ways:
        layers += _way_layers(x, y)
        tables |= {f"way_{side}": [{"x": ends[at], "y": -0.6, "text": text}] for at, (side, text) in enumerate(
            (("left", f"← {ways[0]}"), ("right", f"{ways[1]} →")))}
    longest = max((text_width(_cut(name)) for name in (*(name for _, name in lines), *headings)), default=0.0)
    return Panel(layers, tables, x, y, key, height + (16 if ways else 0), int(longest) + 18 if named else 12,
                 title=title)


def _lines(rows: Sequence[Interval]) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Where each line and each heading stands, from the top."""
    lines: dict[tuple[str, str], int] = {}
    headings: dict[str, int] = {}
    for row in rows:
        if row.group and row.group not in headings:
            headings[row.group] = len(lines) + len(headings)
        lines.setdefault((row.group, row.name), len(lines) + len(headings))
    return lines, headings


def _tables(rows: Sequence[Interval], lines: dict[tuple[str, str], int], x: Axis) -> dict[str, Rows]:
    ends = x.domain or (0.0, 1.0)
    tables: dict[str, Rows] = {"whiskers": [], "inner": [], "marks": [], "behind": [], "ahead": []}
    sharing = {line: [row for row in rows if (row.group, row.name) == line] for line in lines}
    for line, here in sharing.items():
        for at, row in enumerate(here):
            if row.value is None:
                continue
            y = lines[line] + (0.34 * (at - (len(here) - 1) / 2) if len(here) > 1 else 0)
            colour = {"y": y, "colour": row.look.colour}
            known = row.low is not None and row.high is not None
            if known:
                tables["whiskers"].append(colour | {"low": _within(row.low, ends), "high": _within(row.high, ends)})
            if row.inner:
                tables["inner"].append(colour | dict(zip(("low", "high"), row.inner, strict=True)))
            ticks = mark_columns(replace(row.look, marker=TICK))
            tables["marks"] += [{"series": _full(row), "x": value, "y": y, **ticks} for value in row.beside]
            look = row.look if known or row.plain else Look(row.look.colour, marker=CROSS)
            tables["marks"].append({"series": _full(row), "x": _within(row.value, ends), "y": y, "low": row.low,
                                    "high": row.high, **mark_columns(look, row.hollow)})
            if row.words:
                low, high = (pick(_within(end, ends) for end in (row.value, end or row.value))
                             for pick, end in ((min, row.low), (max, row.high)))
                ahead = _crowded(row.words, low, high, x)
                tables["ahead" if ahead else "behind"].append({"x": low if ahead else high, "y": y, "text": row.words})
    for mark in tables["marks"]:
        mark |= {side: None for side in ("low", "high") if not np.isfinite(mark.get(side) or 0)}
    return tables


def _crowded(words: str, low: float, high: float, x: Axis) -> bool:
    """Whether words have no room behind the end of an interval, and more ahead of it."""
    first, last = x.domain or (0.0, 1.0)
    at, until = ((np.log(end / first) / np.log(last / first) if x.log else (end - first) / (last - first))
                 for end in (low, high))
    return bool(text_width(words) > _ROOM * (1 - until) and at > 1 - until)


def _within(value: float | None, ends: tuple[float, float]) -> float:
    return float(np.clip(0.0 if value is None else value, *ends))


def _full(row: Interval) -> str:
    return ", ".join(filter(None, (row.group, row.name)))


def _hidden(y: Axis) -> object:
    import altair as alt

    return alt.Y("y:Q", axis=None, scale=alt.Scale(domain=list(y.domain or ()), nice=False, zero=False))


def _name_layers(y: Axis, linked: bool) -> list[object]:
    import altair as alt

    pixel: Any = alt.XValue      # untyped in altair
    return [layer(name).mark_text(align="right", baseline="middle", fontSize=11, fontWeight=weight).encode(
        x=pixel(-9), y=_hidden(y),
        **columns(text="text:N", **({"href": "href:N"} if linked and name == "names" else {})))
        for name, weight in (("names", "normal"), ("headings", "bold"))]


def _way_layers(x: Axis, y: Axis) -> list[object]:
    return [layer(f"way_{side}").mark_text(align=side, baseline="bottom", dy=-4, fontSize=10.5).encode(
        x=x.channel("x"), y=_hidden(y), **columns(text="text:N")) for side in ("left", "right")]


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else name[:_LONGEST - 1] + "…"
