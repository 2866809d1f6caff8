"""A chart: panels of marks declared in Vega-Lite, drawn without a browser and without a network."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyread.charts import live
from steadyread.charts.look import PAPER, STROKES, Look, config, text_width
from steadyread.names import shown
from steadyread.records import write_text, write_whole
from steadyread.units import Bounds, unit_word

Rows = list[dict[str, Any]]
Layer = Any                      # an altair chart; altair is imported where a panel is declared
WIDTH, HEIGHT = 480, 250         # of a chart of one panel in pixels: the whole, and what its axes enclose
NARROW = 370                     # to which such a chart can be laid out with its letters as they are, on a phone
_WIDE = 820                      # of several panels beside each other
_LINE = 17                       # of text
_VEGA_LITE = "6.4"
_TAG, _LIVE = re.compile(r"<[^<>]*>"), re.compile(r' (?:class|role|pointer-events|aria-[a-z]+)="[^"]*"')
ROW: dict[str, str] = {"content": "data"}     # where pointed at, a live mark says what its row holds
REACHED: dict[str, Any] = {"size": 200, "opacity": 0, "tooltip": ROW}     # a mark that is only there to be pointed at
_BASE = "https://vega.github.io/vega-datasets/#"     # which vl-convert sets before a link within the page
_CLIP = re.compile(r'(\bid="|url\(#)(clip\d+)')


@dataclass(frozen=True)
class Axis:
    """What an axis measures, with its unit; `domain` None spans the data from 0.

    `percent` shows shares times 100. `second` = (title, factor) adds an axis on top whose values are times `factor`.
    """

    title: str
    domain: tuple[float, float] | None = None
    log: bool = False
    percent: bool = False
    ticks: tuple[float, ...] = ()
    second: tuple[str, float] | None = None
    grid: bool = True

    def around(self, values: Sequence[float], room: float = 1.06) -> "Axis":
        """This axis with a domain: from 0 (or the lowest below it) to a little above the finite `values`; a log
        axis from a little below them.
        """
        if self.domain is not None:
            return self
        known = [float(value) for value in values if np.isfinite(value) and (value > 0 or not self.log)] or [1.0]
        low, high = min(known), max(known)
        if self.log:
            return replace(self, domain=(low / room, high * room))
        low = min(0.0, low)
        return replace(self, domain=(low * room, (high if high > low else low + 1) * room))

    def channel(self, which: str, column: str = "", **other: Any) -> Any:
        """The position channel `which` ("x" or "y") of a column of numbers; `other` is for Vega-Lite's axis."""
        import altair as alt

        low, high = self.domain or (0.0, 1.0)
        ticks = self.ticks or (log_ticks(low, high) if self.log else ())
        shown: dict[str, Any] = {"labelExpr": f"format({'100*' if self.percent else ''}datum.value, '.5~g')",
                                 "grid": self.grid, "tickCount": 6}
        if ticks:
            shown["values"] = [tick for tick in ticks if low <= tick * 1.0001 and tick * 0.9999 <= high]
        return (alt.X if which == "x" else alt.Y)(
            field=column or which, type="quantitative", title=self.title or None, axis=alt.Axis(**shown | other),
            scale=alt.Scale(domain=[low, high], nice=False, zero=False, type="log" if self.log else "linear"))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Round values of a log axis: 1 of each decade over more than two, else 1, 2, 5, or as many as make two."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(np.arange(1, 10, 0.2).round(1))):
        ticks = [float(f"{step}e{power}") for power in decades for step in steps]
        kept = tuple(tick for tick in ticks if low * 0.999 <= tick <= high * 1.001)
        if len(kept) > 1 and (len(steps) > 1 or high / low > 200):
            return kept
    return low, high


def size_axis(bounds: Bounds, what: str, domain: tuple[float, float] | None = None, log: bool = False) -> Axis:
    """An axis of sizes of change: in the images' own unit with shares of the range on top, or, where no unit is
    known, in shares alone (see `shown_sizes`).
    """
    if not bounds.unit:
        return Axis(f"{what}, share of the range", domain, log)
    return Axis(f"{what}, {unit_word(bounds.unit)}", domain, log, second=("share of the range", 1 / bounds.range))


def per_size(bounds: Bounds) -> float:
    """What native sizes are divided by for a `size_axis`: 1 where a unit is known, else the range."""
    return 1.0 if bounds.unit else bounds.range


@dataclass(frozen=True)
class Entry:
    """A series in the key above a panel: its line, its mark (None for neither), filled or hollow."""

    name: str
    look: Look
    line: bool = True
    mark: bool = True
    hollow: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """Layers over common axes. `height` is what the axes enclose, `left` and `right` the room of what
    stands beside it."""

    layers: Sequence[Layer]
    tables: Mapping[str, Rows]
    x: Axis
    y: Axis | None
    key: tuple[Entry, ...] = ()
    height: int = HEIGHT
    left: int = 52
    right: int = 4
    title: str = ""


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart by its plain Vega-Lite declaration, with its file name and the sentence that stands below it (and for
    it, where it is not seen).
    """

    name: str
    caption: str
    spec: Mapping[str, Any] = field(repr=False)

    def svg(self) -> str:
        """The chart as SVG: text stays text, the same bytes for the same numbers."""
        import vl_convert

        return _settled(vl_convert.vegalite_to_svg(live.still(self.spec), vl_version=_VEGA_LITE, allowed_base_urls=[]))

    def vega(self) -> dict[str, Any]:
        """The chart as a Vega declaration, whose marks say their rows where they are pointed at."""
        import vl_convert

        return dict(vl_convert.vegalite_to_vega(dict(self.spec), vl_version=_VEGA_LITE))

    def csv(self) -> str:
        """The numbers of the chart, a row a point; "" where it is an image."""
        return live.csv_of(self.spec)

    def _repr_svg_(self) -> str:
        return self.svg()

    def png(self, scale: float = 2) -> bytes:
        """The chart as PNG, `scale` pixels a unit."""
        return png(self.svg(), scale)

    def pdf(self) -> bytes:
        """The chart as PDF."""
        return pdf(self.svg())

    def save(self, folder: Path, painted: bool = True) -> tuple[Path, Path]:
        """As `save`, under its own name."""
        return save(self, folder, self.name, painted)


def _settled(svg: str) -> str:
    """A drawing without what only a live one needs, its clips numbered from 0 whatever was drawn before."""
    numbers: dict[str, str] = {}
    svg = _TAG.sub(lambda tag: _LIVE.sub("", tag.group()), svg).replace(_BASE, "#")
    return _CLIP.sub(lambda found: found.group(1) + numbers.setdefault(found.group(2), f"clip{len(numbers)}"), svg)


def png(svg: str, scale: float = 2) -> bytes:
    """A drawing of ours as PNG, `scale` pixels a unit."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(svg, scale=scale))


def pdf(svg: str) -> bytes:
    """A drawing of ours as PDF."""
    import vl_convert

    return bytes(vl_convert.svg_to_pdf(svg))


def save(figure: Any, folder: Path, name: str, painted: bool = True) -> tuple[Path, Path]:
    """Write NAME.png and NAME.svg of a `Chart` or a `Sheet` into `folder`, the same bytes for the same numbers; the
    drawing alone where nothing is to be `painted`, and no older picture beside it.

    Raises:
        Partial: the disk is full.
        InputRefused: the folder cannot be written.
    """
    picture, drawing = folder / f"{name}.png", folder / f"{name}.svg"
    svg = figure.svg()
    if painted:
        write_whole(picture, png(svg))
    else:
        picture.unlink(missing_ok=True)
    write_text(drawing, svg)
    return picture, drawing


def chart(name: str, caption: str, *panels: Panel, columns: int = 3, widths: Sequence[int] = (), title: str = ""
          ) -> Chart:
    """One panel, or several in rows of `columns`, each `widths` wide, below a title and one key (the longest of the
    panels').
    """
    spec = _alone(panels[0]) if len(panels) == 1 else _beside(panels, min(columns, len(panels)), widths)
    aside = max(panels[0].left - 52, 0) // 8      # names may be drawn in a wider font than they were measured in
    padding = {"left": 4 + aside, "right": 6, "top": 4, "bottom": 4}
    heading = {"title": {"text": title, "anchor": "start", "fontSize": 13, "offset": 12}} if title else {}
    return Chart(name, caption, drawable({"$schema": f"https://vega.github.io/schema/vega-lite/v{_VEGA_LITE}.json",
                                          "config": config(), "padding": padding} | heading | spec))


def drawable(value: Any) -> Any:
    """A declaration whose texts can stand in SVG: control characters of a name are written as escapes."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {key: drawable(inner) for key, inner in value.items()}
    return [drawable(inner) for inner in value] if isinstance(value, list | tuple) else value


def _alone(panel: Panel) -> dict[str, Any]:
    """A panel that is as wide as every other, whatever stands beside it."""
    above = _key_rows(panel.key, NARROW - panel.left)
    below = 46 if panel.x.title else 26
    return _layered(panel, above, "") | {"usermeta": _measured([panel]), "width": WIDTH,
                                         "autosize": {"type": "fit", "contains": "padding"},
                                         "height": panel.height + len(above) * _LINE + _top(panel) + below}


def _measured(panels: Sequence[Panel]) -> dict[str, Any]:
    """What the axes of each panel measure; an upright axis without a title is mere room."""
    axes = [{"x": panel.x, "y": panel.y} if panel.y and panel.y.title else {"x": panel.x} for panel in panels]
    return {"panels": [{"title": panel.title} | {
        which: {"title": axis.title, "percent": axis.percent, "log": axis.log, "domain": list(axis.domain or ())}
        for which, axis in each.items()} for panel, each in zip(panels, axes, strict=True)]}


def _beside(panels: Sequence[Panel], count: int, widths: Sequence[int]) -> dict[str, Any]:
    """Panels in rows of `count`."""
    gap = 8 + max(panel.left + panel.right for panel in panels[1:])
    wide = [widths[at % len(widths)] if widths else (_WIDE - panels[0].left - gap * (count - 1)) // count
            for at in range(len(panels))]
    key = max((panel.key for panel in panels), key=len)
    above = _key_rows(key, sum(wide[:count]) + gap * (count - 1))
    parts = [_layered(panel, above if at == 0 else [], f"{at} ") | {"width": wide[at], "height": panel.height}
             for at, panel in enumerate(panels)]
    tables = {name: rows for part in parts for name, rows in part.pop("datasets").items()}
    return {"concat": parts, "usermeta": _measured(panels), "columns": count, "bounds": "flush", "datasets": tables,
            "autosize": "pad",
            "spacing": {"row": 58 + max(_top(panel) for panel in panels), "column": gap}}


def nothing(message: str) -> Panel:
    """An empty panel that says why it is empty."""
    words = layer("words").mark_text(fontSize=12, opacity=0.75).encode(**columns(text="text:N"))
    return Panel([pixels(words)], {"words": [{"text": message, "x": WIDTH // 2, "y": 32}]}, Axis(""), None, height=64)


def layer(table: str) -> Layer:
    """A layer of the rows of a table of its panel, to be given a mark and channels."""
    import altair as alt

    return alt.Chart(alt.NamedData(table))


def columns(**stated: str | list[str]) -> dict[str, Any]:
    """Channels of columns stated as "name:kind". Where text is left to altair, it goes through all of its classes for
    each channel, which takes longer than to draw.
    """
    import altair as alt

    kinds: dict[str, Any] = {"x2": alt.X2, "y2": alt.Y2, "text": alt.Text, "detail": alt.Detail, "url": alt.Url,
                             "href": alt.Href, "tooltip": alt.Tooltip}
    return {to: [kinds[to](name) for name in names] if isinstance(names, list) else kinds[to](names)
            for to, names in stated.items()}


def as_drawn(**columns: str) -> dict[str, Any]:
    """Channels whose values stand in the table as they are drawn (colours, shapes, dashes): channel=column."""
    import altair as alt

    kinds = {"stroke": alt.Stroke, "fill": alt.Fill, "shape": alt.Shape, "color": alt.Color,
             "strokeDash": alt.StrokeDash}
    return {to: kinds[to](field=column, type="nominal", scale=None, legend=None) for to, column in columns.items()}


def mark_columns(look: Look, hollow: bool = False) -> dict[str, str]:
    """The columns `colour`, `fill` and `shape` of a mark."""
    fill = "transparent" if look.marker in STROKES else PAPER if hollow else look.colour
    return {"colour": look.colour, "shape": look.marker, "fill": fill}


MARKS = {"stroke": "colour", "fill": "fill", "shape": "shape"}


def _top(panel: Panel) -> int:
    return (34 if panel.x.second else 0) + (20 if panel.title else 0)


def _layered(panel: Panel, above: Sequence[Sequence[tuple[float, Entry]]], prefix: str) -> dict[str, Any]:
    """A panel's declaration with its tables, its second axis, its title and the key above."""
    tables, around = dict(panel.tables), []
    if panel.x.second and panel.x.domain:
        title, factor = panel.x.second
        low, high = (end * factor for end in panel.x.domain)
        axis = replace(panel.x, title=title, domain=(low, high), grid=False, ticks=(), second=None)
        around.append(layer("second").mark_point(opacity=0).encode(x=axis.channel("x", orient="top", tickCount=4)))
        tables["second"] = [{"x": high}]
    if panel.title:
        around.append(pixels(layer("title").mark_text(align="left", fontWeight="bold", fontSize=12)).encode(
            **columns(text="text:N")))
        tables["title"] = [{"x": 0, "y": -9 - (34 if panel.x.second else 0), "text": panel.title}]
    if above:
        around += _key_layers()
        tables |= _key_tables(above, _top(panel))
    main = {"layer": [_declared(part, prefix) for part in panel.layers]}
    named = {prefix + name: rows for name, rows in tables.items()}
    if not around:
        return main | {"datasets": named}
    return {"layer": [main, *(_declared(part, prefix) for part in around)], "datasets": named,
            "resolve": {"scale": {"x": "independent", "y": "independent"}}}


def _declared(part: Layer, prefix: str) -> dict[str, Any]:
    """A layer as plain values, its table's name behind `prefix`. Whether it is valid Vega-Lite is a test's matter:
    it is the same for all numbers, and to look each time would take longer than drawing.
    """
    declared: dict[str, Any] = part.to_dict(validate=False)
    mark, table = declared["mark"], declared["data"]["name"]
    named = {"name": live.named(mark, table, prefix)} if "tooltip" in mark else {}
    return named | {"mark": mark, "encoding": declared["encoding"], "data": {"name": prefix + table}}


def pixels(drawn: Layer) -> Layer:
    """A layer whose positions are pixels from the upper left corner of the axes."""
    import altair as alt

    return drawn.encode(x=alt.X("x:Q", scale=None, axis=None), y=alt.Y("y:Q", scale=None, axis=None))


def _key_layers() -> list[Layer]:
    lines = layer("key_lines").mark_line().encode(
        **as_drawn(stroke="colour", strokeDash="dash"), **columns(detail="series:N"))
    marks = layer("key_marks").mark_point(size=32, opacity=1).encode(**as_drawn(**MARKS))
    names = layer("key_names").mark_text(align="left", baseline="middle").encode(**columns(text="text:N"))
    return [pixels(part) for part in (lines, marks, names)]


def _key_tables(above: Sequence[Sequence[tuple[float, Entry]]], top: int) -> dict[str, Rows]:
    lines: Rows = []
    marks: Rows = []
    names: Rows = []
    for at, row in enumerate(above):
        y = 5 - top - _LINE * (len(above) - at)
        for x, entry in row:
            if entry.line:
                lines += [{"series": entry.name, "x": x + end, "y": y, "colour": entry.look.colour,
                           "dash": list(entry.look.dash)} for end in (0, 26)]
            if entry.mark:
                marks.append({"x": x + 13, "y": y, **mark_columns(entry.look, entry.hollow)})
            names.append({"x": x + 32, "y": y, "text": entry.name})
    return {"key_lines": lines, "key_marks": marks, "key_names": names}


def _key_rows(key: Sequence[Entry], width: float) -> list[list[tuple[float, Entry]]]:
    """The key's entries with their x, in as many rows as they need."""
    rows: list[list[tuple[float, Entry]]] = []
    x = np.inf
    for entry in key:
        room = 50 + text_width(entry.name)
        if x + room > width + 14:
            rows.append([])
            x = 0.0
        rows[-1].append((x, entry))
        x += room
    return rows
