"""The pixels of one DICOM image: refused by their declared size before anything is unpacked, and turned into values.

After DICOM PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT) and PS3.5 annexes A and G.
"""

import importlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
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
PALETTE = "PALETTE COLOR"
_GREY = ("", "MONOCHROME1", "MONOCHROME2")
_USUAL_SCANS, _MOST_SCANNED = 16, 2**29    # a progressive JPEG of many scans is decoded as often: scans times pixels


def refuse_size(header: Header) -> None:
    """Refuses an image without extents, or larger than scanners make.

    Raises:
        InputRefused: as said.
    """
    rows, columns = header.number("Rows"), header.number("Columns")
    if not rows or not columns:
        raise InputRefused(f"{header.path}: no Rows and Columns, so no image; expected an image")
    colour = (header.number("SamplesPerPixel") or 1) > 1 or header.text("PhotometricInterpretation") == PALETTE
    most = _MOST_PIXELS // 2 if colour else _MOST_PIXELS
    if rows * columns > most:
        raise InputRefused(f"{header.path}: {rows:g} x {columns:g} pixels; expected an image of {most} pixels at most")


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
    with unread(path):
        tags = opened(path)
        stored = pixels().pixel_array(tags)
    return to_hu(Header(path, tags), stored)


def to_hu(header: Header, stored: NDArray[Any]) -> NDArray[np.float32]:
    """The values of a CT image, as they are stored, in HU.

    Raises:
        InputRefused: not to be turned into HU.
    """
    refuse_other_values(header, hu=True)
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    assert slope is not None    # refused where absent
    assert intercept is not None
    values = np.array(stored, np.float64)
    values *= slope
    values += intercept
    return values.astype(np.float32)


def to_grey(header: Header, stored: NDArray[Any], voi: bool) -> NDArray[np.float32]:
    """The values of an image, as they are stored, after its modality LUT or rescaling, and with `voi` after the first
    of its windows; white is the highest value, whatever the file calls so (MONOCHROME1).

    Raises:
        InputRefused: damaged, no grey values, or `voi` where the file states no window.
    """
    refuse_other_values(header, hu=False)
    tags = header.tags
    with unread(header.path):
        table, stored = tags.get("ModalityLUTSequence"), np.array(stored, np.float64)
        values = _from_table(stored, table[0]) if table else pixels().apply_rescale(stored, tags)
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
        return _from_table(values, table[0])
    if "WindowCenter" not in tags:
        raise InputRefused(f"{path}: no window (VOI LUT) stands in it, which data.options.voi asks for")
    return np.asarray(pixels().apply_windowing(values, tags, index=0))


def _from_table(values: NDArray[Any], table: Any) -> NDArray[np.float64]:
    return looked_up(values, table.LUTDescriptor, table.LUTData).astype(np.float64)


def looked_up(values: NDArray[Any], descriptor: Sequence[Any], data: Any) -> NDArray[Any]:
    """The values through a table (PS3.3 C.11.1.1): what lies before its first entry, or behind its last, gets that."""
    count, first = int(descriptor[0]) or 2**16, int(descriptor[1])
    entries = (np.frombuffer(data, np.uint8 if len(data) == count else "<u2") if isinstance(data, bytes)
               else np.atleast_1d(np.asarray(data, np.int64)))
    places = np.clip(np.rint(values).astype(np.int64) - first, 0, min(count, len(entries)) - 1)
    return np.asarray(entries[places])


def extent(header: Header, voi: bool) -> tuple[float, float]:
    """The lowest and the highest value that `to_grey` can give.

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


def opened(path: Path) -> Any:
    """The data set of a file with its pixels, which are known to unpack to what its tags say; within `unread`.

    Raises:
        InputRefused: no pixels, no decoder for them, or others than the tags say.
    """
    tags = whole(path)
    if "PixelData" not in tags:
        raise InputRefused(f"{path}: no pixel data; expected an image")
    if tags.file_meta.TransferSyntaxUID.is_encapsulated:
        _refuse_without_decoder(tags, path)
        count = int(tags.get("NumberOfFrames") or 1)
        frames = importlib.import_module("pydicom.encaps").generate_frames(tags.PixelData, number_of_frames=count)
        for frame in islice(frames, count):
            _refuse_other_size(tags, frame, path)
    return tags


@contextmanager
def unread(path: Path) -> Iterator[None]:
    """Turns what pydicom raises on damaged pixels into one refusal that names the file, and keeps it quiet."""
    with broken_is_refused(path, "its pixels cannot be read"), quiet():
        yield


def pixels() -> Any:
    """pydicom's functions for pixels."""
    return importlib.import_module("pydicom.pixels")


def _refuse_without_decoder(tags: Any, path: Path) -> None:
    syntax = tags.file_meta.TransferSyntaxUID
    try:
        available = pixels().get_decoder(syntax).is_available
    except RuntimeError:   # a transfer syntax that pydicom does not know
        available = False
    if not available:
        raise InputRefused(f"{path}: compressed as {syntax.name}, for which no decoder is installed: pip install "
                           "'steadyread[compressed]', or decompress the files first")


def _refuse_other_size(tags: Any, frame: bytes, path: Path) -> None:
    """Refuses a compressed frame that would unpack to others than the tags say, before it is decoded."""
    count = int(tags.Rows) * int(tags.Columns)
    if tags.file_meta.TransferSyntaxUID == _RLE:
        segments, *starts = struct.unpack_from("<16I", frame)
        starts = [*starts[:min(segments, 15)], len(frame)]
        for start, end in pairwise(starts):
            if _run_length(frame[start:end], count) > count + 1:
                raise InputRefused(f"{path}: its run lengths unpack to more than {count} pixels: taken for a "
                                   "decompression bomb and not read")
        return
    scans = frame.count(b"\xff\xda")
    if scans > _USUAL_SCANS and scans * count > _MOST_SCANNED:
        raise InputRefused(f"{path}: {scans} scans of {count} pixels, taken for a decompression bomb and not read")
    columns, rows, samples = _declared(frame)
    wanted = int(tags.get("SamplesPerPixel") or 1)
    if (columns, rows, samples) != (tags.Columns, tags.Rows, wanted):
        each = "" if samples == wanted else f" of {samples} values"
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
