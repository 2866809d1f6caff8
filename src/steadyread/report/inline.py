"""Figures and images as parts of the page itself: SVG that takes the page's colours, PNG as data."""

import base64
import io
import re

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from steadyread.figures import style

_LARGEST_SIDE = 256
_HEAD = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
_SIZE = re.compile(r'(<svg\b[^>]*?)\s(?:width|height)="[^"]*"', re.DOTALL)
_NAMES = re.compile(r'(\bid="|href="#|url\(#)')


def inline_svg(drawing: str, name: str, described: str) -> Markup:
    """A figure's SVG as an `<svg>` element: names made its own, colours the page's, sized by the page.

    Ink becomes `currentColor`, the ground nothing, the palette CSS variables, so that it follows light and
    dark. Matplotlib escapes every text in it.
    """
    drawing = _DROPPED.sub("", _HEAD.sub("", drawing))
    drawing = _SIZE.sub(r"\1", _SIZE.sub(r"\1", drawing, count=1), count=1)
    drawing = _NAMES.sub(rf"\g<1>{name}-", drawing)
    drawing = drawing.replace(f"fill: {style.PAPER}", "fill: none").replace(style.INK, "currentColor")
    for colour, value in style.PALETTE.items():
        drawing = drawing.replace(value, f"var(--{colour})")
    label = Markup.escape(described)
    return Markup(drawing.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """An RGB picture (h, w, 3) as a PNG data address; sides above 256 pixels are made smaller."""
    image = Image.fromarray(pixels)
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
