"""The pixels of one DICOM image: refused by their declared size before anything is unpacked, and turned into values.

After DICOM PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT) and PS3.5 annexes A and G.
"""

import importlib
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.dicom_header import Header, broken_is_refused, quiet, whole
from steadyread.errors import InputRefused

_MOST_PIXELS = 2**25    # 512 x 512 of CT to 4800 x 6000 of mammography
_RLE = "1.2.840.10008.1.2.5"
# Markers of JPEG that begin a frame (ITU-T T.81 B.1.1.3, and T.87's of JPEG-LS), with height, width and components;
# of JPEG 2000 the codestream and its size (T.800 A.5).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))      # markers without a length
_CODESTREAM = b"\xff\x4f\xff\x51"
_BOXES = 4096       # bytes in which the codestream begins, where boxes stand before it
_GREY = ("", "MONOCHROME1", "MONOCHROME2")


def refuse_size(header: Header) -> None:
    """Refuses an image without extents, or larger than scanners make.

    Raises:
        InputRefused: as said.
    """
    rows, columns = header.number("Rows"), header.number("Columns")
    if not rows or not columns:
        raise InputRefused(f"{header.path}: no Rows and Columns, so no image; expected an image")
    if rows * columns > _MOST_PIXELS:
        raise InputRefused(f"{header.path}: {rows:g} x {columns:g} pixels; expected an image of {_MOST_PIXELS} pixels "
                           "at most")


def refuse_other_values(header: Header, hu: bool) -> None:
    """Refuses values that are no grey ones, or where `hu` is asked for not said to be HU.

    Raises:
        InputRefused: as said.
    """
    kind, shown = header.text("RescaleType"), header.text("PhotometricInterpretation")
    if (header.number("NumberOfFrames") or 1) > 1 or (header.number("SamplesPerPixel") or 1) > 1:
        problem = "several frames or colours in one file; expected one grey image a file (convert it)"
    elif shown not in _GREY:
        problem = f"PhotometricInterpretation is '{shown}'; expected MONOCHROME2"
    elif hu and kind not in ("", "HU"):
        problem = f"RescaleType is '{kind}'; expected HU"
    elif hu and (not header.number("RescaleSlope") or header.number("RescaleIntercept") is None):
        problem = "no RescaleSlope and RescaleIntercept, so its values cannot be turned into HU"
    else:
        return
    raise InputRefused(f"{header.path}: {problem}")


def in_hu(path: Path) -> NDArray[np.float32]:
    """A CT image in HU, (rows, columns). Which end is dark is the display's matter: HU are HU.

    Raises:
        InputRefused: damaged, too large, or not to be turned into HU.
    """
    tags, stored = _stored(path)
    header = Header(path, tags)
    refuse_other_values(header, hu=True)
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    assert slope is not None    # refused where absent
    assert intercept is not None
    stored *= slope
    stored += intercept
    return stored.astype(np.float32)


def in_grey(header: Header, voi: bool) -> NDArray[np.float32]:
    """An image after its modality LUT or rescaling, (rows, columns), and with `voi` after the first of its windows;
    white is the highest value, whatever the file calls so (MONOCHROME1).

    Raises:
        InputRefused: damaged, too large, or `voi` where the file states no window.
    """
    tags, stored = _stored(header.path)
    with broken_is_refused(header.path, "its pixels cannot be read"), quiet():
        pixels = importlib.import_module("pydicom.pixels")
        table = tags.get("ModalityLUTSequence")
        values = _looked_up(stored, table[0]) if table else pixels.apply_rescale(stored, tags)
        if voi:
            values = _windowed(values, tags, header.path)
        low, high = _extent(tags, voi)
    if tags.get("PhotometricInterpretation") == "MONOCHROME1":
        values = low + high - np.asarray(values, np.float64)
    return np.asarray(values, np.float32)


def _windowed(values: NDArray[Any], tags: Any, path: Path) -> NDArray[Any]:
    """The values through the first window of the file: its table where it has one."""
    table = tags.get("VOILUTSequence")
    if table:
        return _looked_up(values, table[0])
    if "WindowCenter" not in tags:
        raise InputRefused(f"{path}: no window (VOI LUT) stands in it, which data.options.voi asks for")
    return np.asarray(importlib.import_module("pydicom.pixels").apply_windowing(values, tags, index=0))


def _looked_up(values: NDArray[Any], table: Any) -> NDArray[np.float64]:
    """The values through a table (PS3.3 C.11.1.1): what lies before its first entry, or behind its last, gets that."""
    count, first = int(table.LUTDescriptor[0]) or 2**16, int(table.LUTDescriptor[1])
    data = table.LUTData
    entries = (np.frombuffer(data, np.uint8 if len(data) == count else "<u2") if isinstance(data, bytes)
               else np.atleast_1d(np.asarray(data, np.int64)))
    places = np.clip(np.rint(values).astype(np.int64) - first, 0, min(count, len(entries)) - 1)
    return np.asarray(entries[places], np.float64)


def extent(header: Header, voi: bool) -> tuple[float, float]:
    """The lowest and the highest value that `in_grey` can give.

    Raises:
        InputRefused: the tags do not say.
    """
    with broken_is_refused(header.path, "its tags do not say which values it holds"), quiet():
        return _extent(header.tags, voi)


def _extent(tags: Any, voi: bool) -> tuple[float, float]:
    bits, signed = int(tags.BitsStored), bool(tags.get("PixelRepresentation", 0))
    if not 1 <= bits <= 32:
        raise ValueError(f"BitsStored is {bits}")
    tables = [tags.get("ModalityLUTSequence"), tags.get("VOILUTSequence") if voi else None]
    widths = [int(table[0].LUTDescriptor[2]) for table in tables if table]
    if widths:
        return 0.0, float(2**widths[-1] - 1)
    low, high = (-2**(bits - 1), 2**(bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(tags.get("RescaleSlope", 1) or 1), float(tags.get("RescaleIntercept", 0) or 0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _stored(path: Path) -> tuple[Any, NDArray[np.float64]]:
    """The tags and the values as they are stored, (rows, columns)."""
    with broken_is_refused(path, "its pixels cannot be read"), quiet():
        tags = whole(path)
        if "PixelData" not in tags:
            raise InputRefused(f"{path}: no pixel data; expected an image")
        if tags.file_meta.TransferSyntaxUID.is_encapsulated:
            _refuse_without_decoder(tags, path)
            _refuse_other_size(tags, path)
        return tags, np.array(tags.pixel_array, np.float64)


def _refuse_without_decoder(tags: Any, path: Path) -> None:
    syntax = tags.file_meta.TransferSyntaxUID
    try:
        available = importlib.import_module("pydicom.pixels").get_decoder(syntax).is_available
    except RuntimeError:   # a transfer syntax that pydicom does not know
        available = False
    if not available:
        raise InputRefused(f"{path}: compressed as {syntax.name}, for which no decoder is installed: pip install "
                           "'steadyread[compressed]', or decompress the files first")


def _refuse_other_size(tags: Any, path: Path) -> None:
    """Refuses compressed pixels that would unpack to others than the tags say, before they are decoded."""
    pixels = int(tags.Rows) * int(tags.Columns)
    frame = next(importlib.import_module("pydicom.encaps").generate_frames(tags.PixelData, number_of_frames=1))
    if tags.file_meta.TransferSyntaxUID == _RLE:
        count, *starts = struct.unpack_from("<16I", frame)
        starts = [*starts[:min(count, 15)], len(frame)]
        for start, end in pairwise(starts):
            if _run_length(frame[start:end], pixels) > pixels + 1:
                raise InputRefused(f"{path}: its run lengths unpack to more than {pixels} pixels: taken for a "
                                   "decompression bomb and not read")
        return
    columns, rows, samples = _declared(frame)
    if (columns, rows, samples) != (tags.Columns, tags.Rows, 1):
        each = "" if samples == 1 else f" of {samples} values"
        raise InputRefused(f"{path}: its compressed pixels are {columns} x {rows}{each}; its tags say {tags.Columns} x "
                           f"{tags.Rows}")


def _declared(frame: bytes) -> tuple[int, int, int]:
    """Columns, rows and components of a JPEG, JPEG-LS or JPEG 2000 picture, read from its header."""
    codestream = frame.find(_CODESTREAM, 0, _BOXES)
    if not frame.startswith(b"\xff\xd8") and codestream >= 0:
        across, down, left, top = struct.unpack_from(">4I", frame, codestream + 8)
        return across - left, down - top, struct.unpack_from(">H", frame, codestream + 40)[0]
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAMES:
            rows, columns, samples = struct.unpack_from(">HHB", frame, at + 5)
            return columns, rows, samples
        at += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + int.from_bytes(frame[at + 2:at + 4], "big")
    raise ValueError("its compressed picture states no size")


def _run_length(packed: bytes, most: int) -> int:
    """How many bytes a segment unpacks to, counted until they are more than `most`."""
    length = at = 0
    while at < len(packed) and length <= most + 1:
        code = packed[at]
        length += 0 if code == 128 else code + 1 if code < 128 else 257 - code
        at += code + 2 if code < 128 else 1 if code == 128 else 2
    return length
