"""The common look: Okabe-Ito colours (safe for colour-blind readers), each with its own line and marker.

Text, axes and grid have the colour `INK` and the ground `PAPER`, which a page may exchange for its own (light or dark).
"""

from dataclasses import dataclass
from typing import Any

INK, PAPER = "#1b1f24", "#fdfdfc"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
PALETTE = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "vermilion": VERMILION, "purple": PURPLE, "sky": SKY}
# What a page takes in their stead, in light and in dark; all but `line` can be told from the ground (3:1), and what
# words are set in can be read on it (4.5:1).
THEME = {"paper": ("#fdfdfc", "#14171a"), "card": ("#f4f4f1", "#1e2226"), "ink": ("#1b1f24", "#e6e7e8"),
         "soft": ("#5b636d", "#a2a9b1"), "line": ("#d9dad6", "#363c42"), "edge": ("#868b90", "#7d858d"),
         "link": ("#00598a", "#8ccaf0"), "steady": ("#12619b", "#6fb9f2"), "flipped": ("#b8400a", "#ff9a66"),
         "blue": ("#12619b", "#6fb9f2"), "orange": ("#b27a00", "#e8ad35"), "green": ("#00875f", "#2fc79b"),
         "vermilion": ("#b8400a", "#ff9a66"), "purple": ("#a8578a", "#dc9cc0"), "sky": ("#2f8cc4", "#9ad7f7")}
PRINTED = {"paper": "#ffffff", "ink": "#000000", "soft": "#444444", "link": "#000000"}
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
