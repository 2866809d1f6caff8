"""Figures and images as parts of the page itself: SVG that takes the page's colours, PNG as data.

A chart is there twice: drawn, and as a declaration that a script brings to life in its place.
"""

import base64
import json
import re
import xml.etree.ElementTree as Xml
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from steadyread.charts import Chart, Sheet, look
from steadyread.charts import pictures as charts_pictures
from steadyread.charts.pictures import Pixels
from steadyread.report.scripts import Block, Script

_LARGEST_SIDE = 256
_GROUND = re.compile(rf'<rect width="[^"]*" height="[^"]*" fill="{look.PAPER}"\s*(?:/>|></rect>)')
_SIZE = re.compile(r'(<svg\b[^>]*?)\s(?:width|height)="[^"]*"')
_MOVED = re.compile(r"translate\(([-\d.]+),\s*([-\d.]+)\)")
_AREA = re.compile(r"M0(?:\.5)?,0(?:\.5)?h([\d.]+)v([\d.]+)h-")
_LEAST_SIDE = 50
_NAMES = re.compile(r'(\bid="|url\(#)')


@dataclass(frozen=True, eq=False)
class Inline:
    """A figure as a page has it: its SVG with the sentence below it, its declaration and its numbers where it is a
    chart."""

    name: str
    svg: Markup
    caption: str
    vega: str = ""        # packed
    numbers: str = ""     # packed, as CSV; "" where there are none

    @property
    def anchor(self) -> str:
        """The id of its SVG."""
        return f"{self.name.replace('_', '-')}-figure"

    @property
    def title(self) -> str:
        """The first sentence below it."""
        return self.caption.split(". ")[0].rstrip(".")


@dataclass(frozen=True)
class LiveCharts:
    """The charts of a page, brought to life by Vega where scripts run."""

    charts: tuple[Inline, ...]

    @property
    def scripts(self) -> tuple[Script, ...]:
        """Vega, and what draws by it."""
        return (Script("vendor/vega.js"), Script("browser/live.js")) if self.blocks else ()

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Declarations and numbers of the charts by the ids of their SVG."""
        values = {each.anchor: {"vega": each.vega, "csv": each.numbers} for each in self.charts if each.vega}
        return (Block("charts", values),) if values else ()


def inline(figure: Chart | Sheet, svg: str) -> Inline:
    """A figure, drawn as `svg`, as a page takes it up."""
    name = figure.name.replace("_", "-")
    if isinstance(figure, Sheet):
        return Inline(figure.name, inline_svg(svg, name, figure.caption), figure.caption)
    declared = json.dumps(_finite(figure.vega()), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Inline(figure.name, inline_svg(svg, name, figure.caption, _plot(figure, svg)), figure.caption,
                  _packed(_coloured(declared)), _packed(numbers) if (numbers := figure.csv()) else "")


def inline_svg(drawing: str, name: str, described: str, more: Mapping[str, str] | None = None) -> Markup:
    """A figure's SVG as an `<svg>` element: names made its own, colours the page's, sized by the page; `more` are
    attributes of it.

    Ink becomes `currentColor`, the ground nothing, paper and the palette CSS variables, so that it follows light and
    dark. Whoever drew it escaped every text in it.
    """
    drawing = _SIZE.sub(r"\1", _SIZE.sub(r"\1", _GROUND.sub("", drawing, count=1), count=1), count=1)
    drawing = _coloured(_NAMES.sub(rf"\g<1>{name}-", drawing))
    attributes = {"id": f"{name}-figure", "role": "img", "aria-label": described} | dict(more or {})
    stated = Markup(" ").join(Markup('{}="{}"').format(key, value) for key, value in attributes.items())
    return Markup(drawing.replace("<svg ", f"<svg {stated} ", 1))


def _coloured(text: str) -> str:
    """A drawing, or a declaration of one, in the page's colours."""
    text = text.replace(look.INK, "currentColor").replace(look.PAPER, "var(--paper)")
    for colour, value in look.PALETTE.items():
        text = text.replace(value, f"var(--{colour})")
    return text


def _finite(value: Any) -> Any:
    """A declaration with at most seven digits of each number, and null for what is none."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _plot(figure: Chart, svg: str) -> dict[str, str]:
    """Of a chart of one panel where its axes enclose what is drawn, in units of its view (left, top, right, bottom),
    and from where to where each axis goes, so that a script can lay something over it exactly."""
    panels = figure.spec["usermeta"]["panels"]
    frame = next(_frames(Xml.fromstring(svg), 0.0, 0.0), None) if len(panels) == 1 else None
    if frame is None:
        return {}
    axes = {f"data-{which}": axis for which, axis in panels[0].items() if which in "xy" and axis["domain"]}
    ends = {name: " ".join(f"{end:.7g}" for end in axis["domain"]) + " log" * axis["log"]
            for name, axis in axes.items()}
    return {"data-plot": " ".join(f"{end:g}" for end in frame)} | ends


def _frames(element: Xml.Element, x: float, y: float) -> Iterator[tuple[float, float, float, float]]:
    """The areas that axes enclose below an element whose own corner is at (x, y)."""
    moved = _MOVED.match(element.get("transform", ""))
    if moved:
        x, y = x + float(moved[1]), y + float(moved[2])
    area = _AREA.match(element.get("d", ""))
    if area and float(area[1]) > _LEAST_SIDE:
        yield x, y, x + float(area[1]), y + float(area[2])
    for part in element:
        yield from _frames(part, x, y)


@cache
def face() -> str:
    """The page's type as CSS: Inter, of any weight, the letters of Latin script."""
    font = (resources.files("steadyread.report") / "vendor" / "inter.woff2").read_bytes()
    return (f"@font-face{{font-family:Inter;font-weight:100 900;font-display:block;"
            f"src:url(data:font/woff2;base64,{base64.b64encode(font).decode()}) format('woff2')}}")


def colours() -> str:
    """The page's colours as CSS variables: light, dark where the reader's system or the page's button says so, and in
    print."""
    light, dark = (";".join(f"--{name}:{pair[at]}" for name, pair in look.THEME.items()) for at in (0, 1))
    printed = ";".join(f"--{name}:{value}" for name, value in look.PRINTED.items())
    return (f":root{{{light}}}\n@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]){{{dark}}} }}\n"
            f":root[data-theme=dark]{{{dark}}}\n"
            f"@media print {{ :root:root:root{{color-scheme:light;{light};{printed}}} }}")


def data_uri(pixels: Pixels) -> str:
    """An RGB picture (h, w, 3) as a PNG data address; sides above 256 pixels are made smaller."""
    return charts_pictures.data_uri(pixels, _LARGEST_SIDE)
