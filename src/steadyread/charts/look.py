"""The common look: Okabe-Ito colours (safe for colour-blind readers), each with its own line and marker.

Text, axes and grid have the colour `INK` and the ground `PAPER`, which a page may exchange for its own (light or dark).
"""

from dataclasses import dataclass
from typing import Any

INK, PAPER = "#1b1f24", "#fdfdfc"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
PALETTE = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "vermilion": VERMILION, "purple": PURPLE, "sky": SKY}
SOLID: tuple[float, ...] = (1, 0)
DASHED: tuple[float, ...] = (7, 4)
DOTTED: tuple[float, ...] = (2, 3)
CROSS, PLUS, TICK = "M-1,-1L1,1M-1,1L1,-1", "M-1.2,0H1.2M0,-1.2V1.2", "M0,-1V1"   # drawn as strokes
STROKES = (CROSS, PLUS, TICK)
FONT, TEXT = "sans-serif", 11.5


@dataclass(frozen=True)
class Look:
    """How a series is drawn: colour, dashes (pixels drawn, left out) and marker (a name of Vega's, or an SVG path).

    All three differ between series, so that a chart reads in black and white too.
    """

    colour: str
    dash: tuple[float, ...] = SOLID
    marker: str = "circle"


SERIES = (Look(VERMILION, DASHED), Look(GREEN, (7, 3, 2, 3), "triangle-up"), Look(BLUE, DOTTED, "square"),
          Look(PURPLE, (9, 2, 2, 2, 2, 2), "diamond"), Look(ORANGE, (4, 2), "triangle-down"),
          Look(SKY, (1, 1.5), "cross"), Look(INK, (10, 3), CROSS))


def config() -> dict[str, Any]:
    """The theme as the `config` of a Vega-Lite declaration."""
    axis = {f"{part}Color": INK for part in ("domain", "tick", "label", "title", "grid")}
    return {
        "background": PAPER, "font": FONT, "aria": False,
        "view": {"stroke": None}, "title": {"color": INK},
        "axis": axis | {"gridOpacity": 0.12, "gridWidth": 0.8, "labelFontSize": 11, "titleFontSize": TEXT,
                        "titleFontWeight": "normal", "titlePadding": 7, "labelOverlap": "greedy", "tickSize": 4,
                        "labelSeparation": 12, "labelFlush": False, "titleLimit": 700},
        "text": {"fill": INK, "fontSize": 11}, "line": {"strokeWidth": 1.9}, "point": {"strokeWidth": 1.3},
        "rule": {"stroke": INK},
    }


def text_width(text: str) -> float:
    """About how many pixels a text of 11 pixels takes in a wide font, as a page may have it."""
    return sum(3.8 if letter in "iljtfrI.,:;'|()[] " else 10.5 if letter in "mwMW%@" else 8.2 if letter.isupper()
               else 7.0 for letter in text)
