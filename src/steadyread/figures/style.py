"""The common look: Okabe-Ito colours (safe for colour-blind readers), each with its own line and marker.

Figures are built from `matplotlib.figure.Figure` directly, so nothing global is touched and no display is
needed. Text, axes and grid have the colour `INK` and the ground `PAPER`, which a page may exchange for its
own (light or dark).
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter

from steadyread.records import write_text, write_whole
from steadyread.units import Bounds, unit_word

INK, PAPER = "#1b1f24", "#fdfdfc"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
PALETTE = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "vermilion": VERMILION, "purple": PURPLE, "sky": SKY}
FORMATS: tuple[Literal["png"], Literal["svg"]] = ("png", "svg")
_LOOK: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"], "font.size": 9.5,
    "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 9.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.axisbelow": True,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9, "legend.frameon": False,
    "lines.linewidth": 1.7, "lines.markersize": 5, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "figure.facecolor": PAPER,
    "axes.facecolor": "none", "savefig.facecolor": PAPER, "svg.fonttype": "none", "svg.hashsalt": "steadyread",
    "text.parse_math": False, "figure.dpi": 100, "savefig.dpi": 160,
}


@dataclass(frozen=True)
class Look:
    """How one series is drawn: colour, line and marker all differ, so that it prints in black and white."""

    colour: str
    line: str | tuple[int, tuple[float, ...]]
    marker: str

    def line_style(self) -> dict[str, Any]:
        """Keywords of `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker}


SERIES = (Look(VERMILION, "--", "o"), Look(GREEN, "-.", "^"), Look(BLUE, ":", "s"),
          Look(PURPLE, (0, (5, 1, 1, 1)), "D"),
          Look(ORANGE, (0, (3, 1)), "v"), Look(SKY, (0, (1, 1)), "P"), Look(INK, (0, (6, 2)), "X"))


@contextmanager
def look() -> Iterator[None]:
    """The common settings, for the time of building or saving a figure."""
    with mpl.rc_context(_LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)   # a case id in another script
        yield


def panel(width: float = 5.3, height: float = 3.7, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in inches with so many axes below each other, laid out so that no label is cut."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, 1, number + 1) for number in range(rows)]


def grid(axes: Axes, which: Literal["x", "y", "both"] = "y") -> None:
    """A faint grid behind the data."""
    axes.grid(True, axis=which, color=INK, alpha=0.12, linewidth=0.7)


def percent_axis(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Shares, shown in per cent."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))


def native_axis(axes: Axes, bounds: Bounds) -> None:
    """A second x axis in the images' own unit above one in shares of the range, where a unit is known."""
    axes.set_xlabel("largest change of a pixel, share of the range")
    if bounds.unit:
        above = axes.secondary_xaxis("top", functions=(lambda share: np.asarray(share) * bounds.range,
                                                       lambda native: np.asarray(native) / bounds.range))
        above.set_xlabel(unit_word(bounds.unit), labelpad=5)
        above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        above.xaxis.set_minor_formatter(NullFormatter())


def nothing(axes: Axes, message: str) -> None:
    """An empty panel that says why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", transform=axes.transAxes, color=INK, alpha=0.75)


def _settle(figure: Figure) -> None:
    """Lay a figure out once; each saving would do it anew."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def svg(figure: Figure) -> str:
    """The figure as SVG: text stays text, no date, the same bytes for the same numbers."""
    buffer = io.BytesIO()
    with look():
        _settle(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.png and NAME.svg into `folder`, the same bytes for the same numbers.

    Raises:
        Partial: the disk is full.
        InputRefused: the folder cannot be written.
    """
    picture, drawing = folder / f"{name}.png", folder / f"{name}.svg"
    buffer = io.BytesIO()
    with look():
        _settle(figure)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_whole(picture, buffer.getvalue())
    write_text(drawing, svg(figure))
    return picture, drawing
