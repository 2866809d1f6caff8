"""DICOM images in colour as red, green and blue: after PS3.3 C.7.6.3.1.2 (photometric interpretations) and C.7.9
(palettes)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.colours import luma
from steadyread.cases.dicom_header import Header, broken_is_refused
from steadyread.cases.dicom_pixels import PALETTE, looked_up, unread
from steadyread.errors import InputRefused

# What pydicom and its decoders turn into red, green and blue.
_READ = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_DEEPEST = 16
_CHANNELS = ("Red", "Green", "Blue")


def is_colour(header: Header) -> bool:
    """Whether an image is one of several colours."""
    return (header.number("SamplesPerPixel") or 1) > 1 or header.text("PhotometricInterpretation") == PALETTE


def colour_extent(header: Header) -> tuple[float, float]:
    """The lowest and the highest value of a channel.

    Raises:
        InputRefused: colours that are not read, or the tags do not say.
    """
    shown, samples = header.text("PhotometricInterpretation"), header.number("SamplesPerPixel") or 1
    if shown not in (*_READ, PALETTE) or samples != (1 if shown == PALETTE else 3):
        raise InputRefused(f"{header.path}: {samples:g} values a pixel, of PhotometricInterpretation '{shown}'; "
                           f"expected one of {', '.join(_READ)} or {PALETTE}: convert it")
    with broken_is_refused(header.path, "its tags do not say which values it holds"):
        if shown == PALETTE:
            _refuse_segmented(header)
            bits = int(header.tags.RedPaletteColorLookupTableDescriptor[2])
        else:
            bits = int(header.tags.BitsStored)
    if not 1 <= bits <= _DEEPEST:
        raise InputRefused(f"{header.path}: {bits} bits a channel; expected 8 or 16: convert it")
    return 0.0, float(2**bits - 1)


def to_colour(header: Header, stored: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """The values of an image, as pydicom gives them, (channels, rows, columns); one channel is their luma.

    Raises:
        InputRefused: damaged, or colours that are not read.
    """
    _, high = colour_extent(header)
    with unread(header.path):
        if header.text("PhotometricInterpretation") == PALETTE:
            tables = [(header.tags[f"{name}PaletteColorLookupTableDescriptor"].value,
                       header.tags[f"{name}PaletteColorLookupTableData"].value) for name in _CHANNELS]
            colours = np.stack([looked_up(stored, *table) for table in tables])
        else:
            colours = np.moveaxis(stored, -1, 0)
    if not 0 <= int(colours.min()) <= int(colours.max()) <= high:
        raise InputRefused(f"{header.path}: it holds the values {colours.min()} to {colours.max()}; its tags say 0 to "
                           f"{high:g}: it is damaged, or its tags are")
    return np.asarray(luma(colours)[None] if channels == 1 else colours, np.float32)


def _refuse_segmented(header: Header) -> None:
    if "RedPaletteColorLookupTableData" not in header.tags:
        raise InputRefused(f"{header.path}: its palette is segmented or elsewhere, which is not read; convert the "
                           "image to RGB")
