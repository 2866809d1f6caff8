"""Kinds of chart: each a function of numbers that gives a panel; `chart` makes a Vega-Lite declaration of panels.

`sheet` lays out pictures. Nothing here imports altair or the renderer before something is drawn.
"""

from steadyread.charts.curve import Line, Rule, curve
from steadyread.charts.heat import Matrix, heat
from steadyread.charts.histogram import histogram
from steadyread.charts.interval import Interval, interval
from steadyread.charts.panels import (
    Axis,
    Chart,
    Entry,
    Panel,
    chart,
    nothing,
    per_size,
    save,
    size_axis,
)
from steadyread.charts.scatter import Cloud, scatter
from steadyread.charts.sheet import Cell, Row, Sheet, sheet

__all__ = ["Axis", "Cell", "Chart", "Cloud", "Entry", "Interval", "Line", "Matrix", "Panel", "Row", "Rule", "Sheet",
           "chart", "curve", "heat", "histogram", "interval", "nothing", "per_size", "save", "scatter", "sheet",
           "size_axis"]
