"""Figures and images as parts of the page itself: SVG that takes the page's colours, PNG as data."""

import re

from markupsafe import Markup

from steadyread.charts import look
from steadyread.charts import pictures as charts_pictures
from steadyread.charts.pictures import Pixels

_LARGEST_SIDE = 256
_GROUND = re.compile(rf'<rect width="[^"]*" height="[^"]*" fill="{look.PAPER}"\s*(?:/>|></rect>)')
_SIZE = re.compile(r'(<svg\b[^>]*?)\s(?:width|height)="[^"]*"')
_NAMES = re.compile(r'(\bid="|href="#|url\(#)')


def inline_svg(drawing: str, name: str, described: str) -> Markup:
    """A figure's SVG as an `<svg>` element: names made its own, colours the page's, sized by the page.

    Ink becomes `currentColor`, the ground nothing, paper and the palette CSS variables, so that it follows light and
    dark. Whoever drew it escaped every text in it.
    """
    drawing = _SIZE.sub(r"\1", _SIZE.sub(r"\1", _GROUND.sub("", drawing, count=1), count=1), count=1)
    drawing = _NAMES.sub(rf"\g<1>{name}-", drawing)
    drawing = drawing.replace(look.INK, "currentColor").replace(look.PAPER, "var(--paper)")
    for colour, value in look.PALETTE.items():
        drawing = drawing.replace(value, f"var(--{colour})")
    label = Markup.escape(described)
    return Markup(drawing.replace("<svg ", f'<svg id="{name}-figure" role="img" aria-label="{label}" ', 1))


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
