"""Heat: a matrix of numbers in colour over two axes with units, with its scale beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts.look import ORANGE
from steadyread.charts.panels import Axis, Layer, Panel, columns, layer, pixels
from steadyread.charts.pictures import GREY, data_uri, mapped


@dataclass(frozen=True, eq=False)
class Matrix:
    """Numbers (rows, columns), the first row uppermost, in colours of `table` from `levels` low to high.

    `unit` names the scale beside it, "" for none. `squares` (left, top, side) in units of the axes are outlined.
    """

    values: np.ndarray[Any, Any]
    levels: tuple[float, float]
    unit: str = ""
    table: tuple[str, ...] = GREY
    squares: Sequence[tuple[float, float, float, float]] = ()


def heat(matrix: Matrix, x: Axis, y: Axis, width: int, title: str = "") -> Panel:
    """A matrix `width` pixels wide and true to scale over axes that have a domain; y grows as its domain says."""
    (left, right), (bottom, top) = x.domain or (0.0, 1.0), y.domain or (0.0, 1.0)
    height = round(width * abs(top - bottom) / abs(right - left))
    shown = mapped(matrix.values, matrix.levels, matrix.table)
    shown = shown.repeat(max(1, -(-width // shown.shape[1])), 1).repeat(max(1, -(-height // shown.shape[0])), 0)
    layers = [_image("image", width, height),
              layer("squares").mark_rect(fillOpacity=0, stroke=ORANGE, strokeWidth=1.6, opacity=1).encode(
                  x=x.channel("x", grid=False), y=y.channel("y", grid=False), **columns(x2="x2:Q", y2="y2:Q"))]
    corner = (left, bottom, left, bottom)     # keeps both axes where there is no square
    tables: dict[str, list[dict[str, Any]]] = {
        "image": [{"x": 0, "y": 0, "url": data_uri(shown)}],
        "squares": [{"x": a, "y": b, "x2": c, "y2": d} for a, b, c, d in [*matrix.squares] or [corner]]}
    if matrix.unit:
        scale = mapped(np.linspace(1, 0, 64)[:, None], (0, 1), matrix.table)
        layers += [_image("scale", 10, height), pixels(layer("scale_words").mark_text(
            align="left", baseline="middle", fontSize=10)).encode(**columns(text="text:N"))]
        tables["scale"] = [{"x": width + 8, "y": 0, "url": data_uri(scale)}]
        words = ((0, matrix.levels[1]), (height / 2, sum(matrix.levels) / 2), (height, matrix.levels[0]))
        tables["scale_words"] = [{"x": width + 22, "y": at,
                                  "text": f"{level:{'.0f' if abs(level) >= 100 else '.3g'}}".replace("-", "−")}
                                 for at, level in words]
        tables["scale_words"].append({"x": width + 8, "y": -11, "text": matrix.unit})
    return Panel(layers, tables, x, y, height=height, right=62 if matrix.unit else 4, title=title)


def _image(table: str, width: int, height: int) -> Layer:
    return pixels(layer(table).mark_image(width=width, height=height, aspect=False, align="left", baseline="top")
                  ).encode(**columns(url="url:N"))
