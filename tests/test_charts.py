"""Every kind of chart holds the numbers given, names its units, escapes what users named, and repeats its bytes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import altair
import numpy as np
import pytest

from steadyread.charts import (
    Axis,
    Cell,
    Chart,
    Cloud,
    Entry,
    Interval,
    Line,
    Matrix,
    Panel,
    Row,
    Rule,
    chart,
    curve,
    heat,
    histogram,
    interval,
    nothing,
    per_size,
    scatter,
    sheet,
    size_axis,
)
from steadyread.charts.look import BLUE, CROSS, INK, SERIES, VERMILION, Look
from steadyread.charts.pictures import (
    ATTENTION,
    POWER,
    amplification,
    change,
    coloured,
    mapped,
    outline,
    overlaid,
    picture,
    plane,
)
from steadyread.report.inline import inline_svg
from steadyread.units import Bounds

HU, PLAIN = Bounds(-1000, 400, "HU"), Bounds(0, 1)
HOSTILE = "</text><script>$\\frac{x$ 図 & \"'"
X = Axis("size, HU", (0.0, 4.0), second=("share of the range", 1 / 1400))
LINES = [Line("found", Look(INK), [0, 1, 2], [1, 0.5, 0.25], [0.9, 0.4, 0.1], [1, 0.6, 0.4], step=True),
         Line(HOSTILE, SERIES[0], [1, 2, 9], [0.75, np.nan, 0.5], marked=None, hollow=True),
         Line("whiskers", SERIES[1], [1, 2], [0.5, 0.6], [0.4, None], [0.6, None], band=False, marked=None)]
ROWS = [Interval("clean", 0.2, 0.1, 0.3, Look(BLUE), HOSTILE, beside=(0.15, 0.25), inner=(0.18, 0.22)),
        Interval("clean", -0.2, None, None, Look(INK), "two", words="half"),
        Interval("none", None, None, None, Look(INK))]
PANELS: dict[str, Callable[[], Panel]] = {
    "curve": lambda: curve(LINES, X, Axis("accuracy, %", percent=True), [Rule("x", 2.8, HOSTILE), Rule("y", 0.2)]),
    "curve of nothing": lambda: curve([], X, Axis("accuracy, %")),
    "curve on log axes": lambda: curve([Line("a", Look(INK), [1, 10, 100], [0.0, 0.1, 10])],
                                       Axis("dose, mAs", log=True),
                                       Axis("share", (0.01, 20), log=True), [Rule("y", 5, "5", 20, left=True)]),
    "interval": lambda: interval(ROWS, Axis("points"), [Rule("x", 0)], ("worse", "better")),
    "interval without names": lambda: interval(ROWS, Axis("AUC"), named=False, key=(Entry(HOSTILE, Look(BLUE)),)),
    "scatter": lambda: scatter([Cloud(HOSTILE, Look(BLUE), np.arange(3.0), np.arange(3.0)),
                                Cloud("wrong", Look(VERMILION, marker=CROSS), np.ones(2), np.ones(2), np.zeros(2),
                                      np.full(2, 2.0))], Axis("margin, logits"), Axis("flip, HU"), diagonal=True),
    "histogram": lambda: histogram(np.array([0.1, 3, 5, 9]), Axis("flip, HU", (0.05, 10), log=True), Axis("images")),
    "heat": lambda: heat(Matrix(np.eye(4), (0, 1), "HU²", POWER, [(0, 0, 1, 1)]), Axis("mm", (0, 4)),
                         Axis("mm", (4, 0)), 100, HOSTILE),
    "nothing": lambda: nothing(HOSTILE)}


def tables(drawn: Chart) -> dict[str, list[dict[str, Any]]]:
    """The tables of a chart of one panel."""
    return dict(drawn.spec["datasets"])


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


@pytest.mark.parametrize("kind", PANELS)
def test_a_chart_is_plain_json_and_the_same_inert_svg_each_time(kind: str) -> None:
    first, second = (chart("name", "caption", PANELS[kind]()) for _ in range(2))
    assert json.dumps(first.spec, allow_nan=False) == json.dumps(second.spec)
    altair.Chart.from_dict(dict(first.spec), validate=True)
    drawing = first.svg()
    assert drawing == second.svg()
    assert not [element for element in Xml.fromstring(drawing).iter() if element.tag.endswith("script")]
    assert set(re.findall(r"https?://[^\"]*", drawing)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_panels_beside_each_other_have_one_key_and_their_own_tables() -> None:
    drawn = chart("name", "caption", *(PANELS[kind]() for kind in ("curve", "interval", "heat", "curve")), title="all")
    words = "".join(Xml.fromstring(drawn.svg()).itertext())
    assert words.count("whiskers") == 1
    assert words.count("accuracy, %") == 2
    assert column(drawn.spec["datasets"]["1 marks"], "x") != column(drawn.spec["datasets"]["0 marks"], "x")


def test_a_curve_has_the_numbers_and_both_units() -> None:
    drawn = chart("name", "caption", PANELS["curve"]())
    data = tables(drawn)
    steps = data["steps"]
    assert (column(steps, "x"), column(steps, "y")) == ([0, 1, 2], [1, 0.5, 0.25])
    assert column(data["step_bands"], "low") == [0.9, 0.4, 0.1]
    assert column(data["whiskers"], "high") == [0.6]
    assert [row["x"] for row in data["marks"]] == [1, 1, 2]      # NaN is left out, and what lies beyond the axis
    assert {tuple(row["dash"]) for row in data["key_lines"]} == {look.dash for look in (LINES[0].look, *SERIES[:2])}
    above = next(layer for layer in drawn.spec["layer"] if layer.get("data") == {"name": "second"})["encoding"]["x"]
    assert (above["axis"]["orient"], above["scale"]["domain"]) == ("top", [0, pytest.approx(4 / 1400)])
    words = "".join(Xml.fromstring(drawn.svg()).itertext())
    for unit in ("size, HU", "share of the range", "accuracy, %", HOSTILE):
        assert unit in words


def test_axes_of_sizes_are_in_the_images_own_unit_first() -> None:
    axis = size_axis(HU, "change", (0.0, 2.8))
    assert (axis.title, axis.second, per_size(HU)) == ("change, HU", ("share of the range", 1 / 1400), 1)
    axis = size_axis(PLAIN, "change")
    assert (axis.title, axis.second, per_size(Bounds(0, 255))) == ("change, share of the range", None, 255)


def test_an_axis_holds_its_numbers() -> None:
    assert Axis("a").around([0.5, 2, np.inf]).domain == (0, pytest.approx(2.12))
    assert Axis("a").around([-1.0, 1.0]).domain == pytest.approx((-1.06, 1.06))
    low, high = Axis("a", log=True).around([0.0, 0.1, 10]).domain or (0, 0)
    assert 0 < low < 0.1 < 10 < high
    assert Axis("a").around([]).domain is not None


def test_an_interval_has_its_ends_and_a_cross_where_it_has_none() -> None:
    data = tables(chart("name", "caption", PANELS["interval"]()))
    assert [(row["low"], row["high"]) for row in data["whiskers"]] == [(0.1, 0.3)]
    assert [(row["low"], row["high"]) for row in data["inner"]] == [(0.18, 0.22)]
    assert column(data["marks"], "x") == [0.15, 0.25, 0.2, -0.2]
    assert data["marks"][-1]["shape"] == CROSS
    assert column(data["headings"], "text")[1:] == ["two"]
    assert column(data["behind"], "text") == ["half"]


def test_a_scatter_counts_all_and_shows_a_fixed_draw() -> None:
    many = np.arange(5000.0)
    panels = [scatter([Cloud("all", Look(BLUE), many, 2 * many)], Axis("x"), Axis("y")) for _ in range(2)]
    assert panels[0].tables == panels[1].tables
    assert len(panels[0].tables["marks"]) == 1200
    assert all(row["y"] == 2 * row["x"] for row in panels[0].tables["marks"])
    assert panels[0].key[0].name == "all (5000)"


def test_a_histogram_counts_every_value_once() -> None:
    rows = tables(chart("name", "caption", PANELS["histogram"]()))["bins"]
    assert sum(column(rows, "y")) == 4
    assert all(row["x"] < row["x2"] for row in rows)


def test_heat_is_true_to_scale() -> None:
    panel = heat(Matrix(np.zeros((2, 8)), (0, 1)), Axis("mm", (0, 8)), Axis("mm", (2, 0)), 100)
    assert panel.height == 25


def test_both_files_are_written_without_dates(tmp_path: Path) -> None:
    drawn = chart("curve", "caption", PANELS["curve"]())
    written, again = drawn.save(tmp_path / "a"), drawn.save(tmp_path / "b")
    assert [path.name for path in written] == ["curve.png", "curve.svg"]
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
    assert drawn.png(scale=1) != drawn.png()
    assert drawn.pdf().startswith(b"%PDF")


def test_a_sheet_is_inert_and_says_why_it_is_empty() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    drawn = sheet("name", "caption", [Row([Cell(pixels, (40, 40), (HOSTILE,), ("below",), outline(np.eye(4) > 0),
                                                boxed=True, bar=(10, HOSTILE)), Cell(None, (40, 40))], (HOSTILE,))])
    root = Xml.fromstring(drawn.svg())
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert "".join(root.itertext()).count(HOSTILE) == 3
    assert drawn.png().startswith(b"\x89PNG")
    assert "no images" in sheet("name", "caption", [], "no images").svg()


@pytest.mark.parametrize("kind", ["curve", "heat"])
def test_in_a_page_a_chart_takes_the_pages_colours_and_names_of_its_own(kind: str) -> None:
    drawing = inline_svg(chart("name", "caption", PANELS[kind]()).svg(), "one", HOSTILE)
    assert "currentColor" in drawing
    assert not re.search(r'"#(1b1f24|fdfdfc|0072b2|d55e00)"', drawing)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing))
    names = re.findall(r'\bid="([^"]+)"', drawing)
    assert used <= set(names)
    assert all(name.startswith("one-") for name in names)
    Xml.fromstring(drawing)


def test_neither_torch_nor_altair_is_needed_before_something_is_drawn() -> None:
    code = ("import sys, steadyread.charts, steadyread.metrics, steadyread.report;"
            "print(sorted({'torch', 'altair', 'vl_convert'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("shape", [(1, 32), (1, 12, 16), (3, 12, 16), (1, 5, 12, 16), (1, 12, 16, 5),
                                   (2, 4, 4, 4, 4)])
def test_images_of_every_dimension_are_shown_as_a_picture(shape: tuple[int, ...]) -> None:
    image = np.linspace(-1000, 400, int(np.prod(shape))).reshape(shape)
    shown = picture(image, HU)
    assert shown.ndim == 3
    assert shown.shape[2] == 3
    assert change(image, image + 1, HU).shape == shown.shape


def test_a_volume_shows_the_middle_slice_of_its_shortest_axis() -> None:
    volume = np.zeros((1, 12, 16, 5))
    volume[..., 2] = 1
    assert plane(volume).shape == (1, 12, 16)
    assert (plane(volume) == 1).all()


def test_the_amplification_brings_the_change_to_half_the_range() -> None:
    assert amplification(np.zeros(4), np.full(4, 5.6), 1400) == 120
    assert amplification(np.zeros(4), np.zeros(4), 1400) == 1
    shown = change(np.zeros((1, 2, 2)), np.array([[[5.6, -5.6], [0, 0]]]), HU)
    assert (shown[0, 0, 0] > shown[0, 0, 2]).all()     # higher is red
    assert (shown[0, 1, 2] > shown[0, 1, 0]).all()     # lower is blue
    assert (shown[1] > 240).all()                      # unchanged is white


@pytest.mark.parametrize("table", [POWER, ATTENTION])
def test_colour_tables_grow_lighter_evenly(table: tuple[str, ...]) -> None:
    lightness = coloured(np.linspace(0, 1, 50), table) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    steps = np.diff(np.cbrt(lightness))
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()


def test_a_window_goes_from_black_to_white() -> None:
    assert mapped(np.array([[-2000.0, -300, 400, np.nan]]), (-1000, 400))[0, :, 0].tolist() == [0, 128, 255, 0]


def test_attention_is_colour_where_it_is_and_grey_where_it_is_not() -> None:
    image, strength = np.full((2, 2), -300.0), np.array([[0.0, 1.0], [0.5, 0.0]])
    pixels = overlaid(image, strength, (-1000, 400)).astype(int)
    spread = pixels.max(-1) - pixels.min(-1)
    assert (spread[0, 0], spread[1, 1]) == (0, 0)
    assert spread[0, 1] > 100
    assert abs(pixels[0, 0, 0] - 127) <= 1


def test_the_outline_is_the_edge_of_the_mask() -> None:
    assert outline(np.zeros((3, 3), bool)) == []
    dot = np.zeros((3, 3), bool)
    dot[1, 1] = True
    assert len(outline(dot)) == 4
    assert len(outline(np.ones((3, 4), bool))) == 2 * (3 + 4)
    assert ((1.0, 1.0), (2.0, 1.0)) in outline(dot)
