"""Sheets: pictures in rows with words around them, as one drawing; text stays text and follows light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from steadyread.charts.look import FONT, INK, PAPER, VERMILION
from steadyread.charts.panels import pdf, png, save
from steadyread.charts.pictures import Outline, Pixels, data_uri
from steadyread.names import shown

_LINE, _GAP = 14, 8


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture `size` = (width, height) units large, None for an empty place, with lines of words above and below.

    `edges` are drawn over it in pixels of the picture; `boxed` frames it; `bar` = (units, words) is a scale in its
    lower left corner.
    """

    pixels: Pixels | None
    size: tuple[float, float]
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    edges: Outline = field(default_factory=list)
    boxed: bool = False
    bar: tuple[float, str] | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """Cells beside each other, with lines of words along their left side."""

    cells: Sequence[Cell]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sheet:
    """A drawing of pictures by its SVG, with its file name and the sentence that stands below it."""

    name: str
    caption: str
    markup: str = field(repr=False)

    def svg(self) -> str:
        """The sheet as SVG, the same bytes for the same pictures."""
        return self.markup

    def _repr_svg_(self) -> str:
        return self.markup

    def png(self, scale: float = 2) -> bytes:
        """The sheet as PNG, `scale` pixels a unit."""
        return png(self.markup, scale)

    def pdf(self) -> bytes:
        """The sheet as PDF."""
        return pdf(self.markup)

    def save(self, folder: Path, painted: bool = True) -> tuple[Path, Path]:
        """As `charts.save`, under its own name."""
        return save(self, folder, self.name, painted)


def sheet(name: str, caption: str, rows: Sequence[Row], empty: str = "", strip: Cell | None = None) -> Sheet:
    """Rows of pictures one below another; `empty` says why there is none. `strip` stands below them all (a scale)."""
    if not rows:
        return Sheet(name, caption, _whole([_words(240, 36, (empty,), anchor="middle")], 480, 64))
    parts: list[str] = []
    left = 6 + _LINE * max(len(row.beside) for row in rows)
    y, wide = 4.0, 0.0
    for row in [*rows, *([Row([strip])] if strip else [])]:
        above = _LINE * max(len(cell.above) for cell in row.cells)
        high = max(cell.size[1] for cell in row.cells)
        x = float(left)
        for cell in row.cells:
            parts += _cell(cell, x, y + above, high)
            x += cell.size[0] + _GAP
        parts += [_words(11 + _LINE * at, y + above + high / 2, (line,), turned=True)
                  for at, line in enumerate(row.beside)]
        wide = max(wide, x)
        y += above + high + _LINE * max(len(cell.below) for cell in row.cells) + _GAP
    return Sheet(name, caption, _whole(parts, wide, y + 2))


def _cell(cell: Cell, x: float, y: float, high: float) -> list[str]:
    wide, tall = cell.size
    middle = x + wide / 2
    parts = [_words(middle, y - _LINE * len(cell.above) + 10, cell.above, "middle", bold=cell.boxed)]
    if cell.pixels is not None:
        parts.append(f'<image x="{x:g}" y="{y:g}" width="{wide:g}" height="{tall:g}" preserveAspectRatio="none" '
                     f'image-rendering="optimizeSpeed" style="image-rendering:pixelated" '
                     f'href="{data_uri(cell.pixels)}"/>')
        parts += _edges(cell, x, y, cell.pixels.shape)
    if cell.boxed:
        parts.append(f'<rect x="{x - 2:g}" y="{y - 2:g}" width="{wide + 4:g}" height="{tall + 4:g}" fill="none" '
                     f'stroke="{VERMILION}" stroke-width="2"/>')
    if cell.bar:
        length, words = cell.bar
        at = f"M{x + 6:g},{y + tall - 6:g}h{length:g}"
        parts += [f'<path d="{at}" stroke="#000000" stroke-width="4"/><path d="{at}" stroke="#ffffff" '
                  'stroke-width="2"/>',
                  f'<text x="{x + 6:g}" y="{y + tall - 11:g}" font-size="9" fill="#ffffff" stroke="#000000" '
                  f'stroke-width="2" paint-order="stroke">{escape(shown(words))}</text>']
    return [*parts, _words(middle, y + high + 12, cell.below, "middle")]


def _edges(cell: Cell, x: float, y: float, shape: Sequence[int]) -> list[str]:
    if not cell.edges:
        return []
    across, down = cell.size[0] / shape[1], cell.size[1] / shape[0]
    path = "".join(f"M{x + a * across:.2f},{y + b * down:.2f}L{x + c * across:.2f},{y + d * down:.2f}"
                   for (a, b), (c, d) in cell.edges)
    return [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'
            for colour, thick in (("#000000", 2.6), ("#ffffff", 1.2))]


def _words(x: float, y: float, lines: Sequence[str], anchor: str = "middle", turned: bool = False,
           bold: bool = False) -> str:
    colour = f'fill="{VERMILION}" font-weight="bold"' if bold else f'fill="{INK}"'
    places = [f'transform="translate({x:g},{y:g}) rotate(-90)"' if turned else f'x="{x:g}" y="{y + _LINE * at:g}"'
              for at in range(len(lines))]
    return "".join(f'<text {place} text-anchor="{anchor}" {colour}>{escape(shown(line))}</text>'
                   for place, line in zip(places, lines, strict=True) if line)


def _whole(parts: Sequence[str], wide: float, high: float) -> str:
    size = f'width="{wide:g}" height="{high:g}" viewBox="0 0 {wide:g} {high:g}"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" font-size="10.5">'
            f'<rect width="{wide:g}" height="{high:g}" fill="{PAPER}"/>{"".join(parts)}</svg>')
