"""Images as pictures: RGB pixels (h, w, 3) from native units, in grey or by a colour table of our own."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[Any]
Pixels = NDArray[np.uint8]
Window = tuple[float, float]
Outline = list[tuple[tuple[float, float], tuple[float, float]]]
# Stops at equal steps; lightness grows evenly in the first two, so that they read in grey and to colour-blind readers.
POWER = ("#0b1f3a", "#27507c", "#5f8295", "#a8a784", "#f3d668")
ATTENTION = ("#33126b", "#83218c", "#c8446d", "#ef8a4b", "#f8e25c")
CHANGE = ("#06396b", "#4a9bd0", "#ffffff", "#ea8550", "#8f2a00")
GREY = ("#000000", "#ffffff")
_STRONGEST = 0.78     # how opaque attention is at its strongest; it fades to nothing at 0


def coloured(share: Floats, table: Sequence[str]) -> Floats:
    """Shares (...,) from 0 to 1 as the colours of a table, RGB (..., 3) from 0 to 1."""
    stops = np.array([[int(stop[at:at + 2], 16) / 255 for at in (1, 3, 5)] for stop in table])
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(share, places, stops[:, channel]) for channel in range(3)], -1)


def mapped(plane_: Floats, window: Window, table: Sequence[str] = GREY) -> Pixels:
    """A plane (h, w) as RGB, from the first colour of the table at the window's lower end to the last at its upper."""
    low, high = window
    share = np.nan_to_num((plane_ - low) / ((high - low) or 1.0)).clip(0, 1)
    return np.asarray((255 * coloured(share, table)).round(), np.uint8)


def picture(image: Floats, bounds: Any) -> Pixels:
    """An image (c, *space) in native units as RGB, the bounds going from black to white."""
    flat = np.nan_to_num((plane(image) - bounds.low) / bounds.range).clip(0, 1)
    colours = flat if flat.shape[0] == 3 else np.repeat(flat[:1], 3, axis=0)
    return np.asarray((colours * 255).round().transpose(1, 2, 0), np.uint8)


def change(clean: Floats, adversarial: Floats, bounds: Any) -> Pixels:
    """The amplified change as RGB: blue lower, white unchanged, red higher."""
    factor = amplification(clean, adversarial, bounds.range)
    difference = plane(np.asarray(adversarial, np.float64) - clean).mean(0) / bounds.range
    return mapped(0.5 + factor * np.nan_to_num(difference), (0, 1), CHANGE)


def amplification(clean: Floats, adversarial: Floats, span: float) -> float:
    """The factor that brings the largest change to half of `span`, rounded down to two digits; 1 for none."""
    largest = float(np.nan_to_num(np.abs(np.asarray(adversarial, np.float64) - clean)).max(initial=0.0))
    if largest == 0:
        return 1.0
    factor = 0.5 * span / largest
    unit = 10.0 ** (np.floor(np.log10(factor)) - 1)
    return float(f"{np.floor(factor / unit) * unit:.6g}")


def plane(image: Floats) -> Floats:
    """The two dimensions that are shown, (c, h, w): a volume's middle slice along its shortest axis.

    A line (c, n) is drawn as a band an eighth as high as it is long.
    """
    if image.ndim == 2:
        return np.repeat(image[:, None, :], max(1, image.shape[1] // 8), axis=1)
    while image.ndim > 3:
        axis = int(np.argmin(image.shape[1:])) + 1
        image = np.take(image, image.shape[axis] // 2, axis=axis)
    return image


def middle(image: Floats) -> Floats:
    """The middle axial slice of a volume (z, y, x); a slice is itself."""
    return image[image.shape[0] // 2] if image.ndim == 3 else image


def overlaid(image: Floats, strength: Floats, window: Window) -> Pixels:
    """A slice in HU as RGB with `strength` (h, w) from 0 to 1 in colour over it, nothing at 0."""
    low, high = window
    grey = np.nan_to_num((image - low) / (high - low)).clip(0, 1)[..., None]
    share = np.nan_to_num(strength).clip(0, 1)
    opaque = (_STRONGEST * share**0.7)[..., None]
    return np.asarray((255 * ((1 - opaque) * grey + opaque * coloured(share, ATTENTION))).round(), np.uint8)


def outline(mask: NDArray[np.bool_]) -> Outline:
    """The edges of the pixels of a mask (h, w), as pairs of (x, y) in pixels; nothing for an empty one."""
    inside = np.pad(mask.astype(bool), 1)
    down, across = inside[1:, 1:-1] != inside[:-1, 1:-1], inside[1:-1, 1:] != inside[1:-1, :-1]
    level = [((float(x), float(y)), (float(x + 1), float(y))) for y, x in np.argwhere(down)]
    return level + [((float(x), float(y)), (float(x), float(y + 1))) for y, x in np.argwhere(across)]


def data_uri(pixels: Pixels, side: int | None = None) -> str:
    """RGB pixels as a PNG data address, made smaller where a side is above `side` pixels."""
    image = Image.fromarray(pixels)
    if side is not None:
        image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
