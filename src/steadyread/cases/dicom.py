"""CT slices from DICOM files: rescaled to HU, sorted along their normal, and refused where they do not fit.

After DICOM PS3.3 C.7.6.2 (image plane), C.8.2.1 (CT image) and C.11.1 (modality lookup). What the tags say of
dose and kernel is handed on as what it is: entries that scanners, and those who copied the files, got wrong
before.
"""

import importlib
import io
import os
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from steadyread.cases.dicom_header import Header, broken_is_refused, doses, facts, quiet, read_header, whole
from steadyread.cases.series import Series, refuse_many_values
from steadyread.errors import InputRefused, UsageError
from steadyread.files import files_below, is_folder, regular_file
from steadyread.findings import Finding

_ALIKE = 1e-3   # of a direction cosine, and relative of a pixel spacing
# What slices of several series uids must share to be one stack.
_SHARED = ("StudyInstanceUID", "Manufacturer", "ManufacturerModelName", "SeriesDescription", "ConvolutionKernel",
           "KVP", "SliceThickness")
_ONE_GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
_ONE_SETTING = ("ConvolutionKernel", "KVP", "SliceThickness")
_MOST_PIXELS = 4096**2    # of a slice; scanners make 512 x 512 to 2048 x 2048
_RLE = "1.2.840.10008.1.2.5"


def read_dicom(paths: Sequence[Path], series: str | None = None, slices: slice = slice(None),
               spacing_mm: float | None = None) -> Series:
    """One CT series from folders (searched whole) and files.

    Slices of several series uids are taken as one stack where they agree in study, scanner and settings and
    no two lie at one position (with a warning); else one must be chosen.

    Args:
        series: a series uid or its ending.
        slices: which of the slices, counted along the normal, are read.
        spacing_mm: of the pixels, whatever the files say.

    Raises:
        InputRefused: nothing there, no CT slices, several series, or slices that do not belong together; one
            line that names the file.
        UsageError: no such series.
    """
    told = str(paths[0]) if len(paths) == 1 else f"the {len(paths)} files and folders"
    headers, passed = _headers(paths, told)
    chosen, findings = _one_stack(headers, series, told)
    for header in chosen:
        _refuse_unreadable(header, spacing_mm is not None)
    ordered, positions = _in_order(chosen, spacing_mm is not None)
    kept, places = ordered[slices], None if positions is None else positions[slices]
    if not kept:
        raise InputRefused(f"{told}: --slices leaves none of its {len(ordered)} slices")
    if passed:
        findings.append(Finding("files", "note", f"{passed} files passed over: no DICOM, or no CT slices", passed))
    load, doubts = doses(kept)
    # the distance of the rows first, PS3.3 10.7.1.1
    rows, columns = kept[0].numbers("PixelSpacing") if spacing_mm is None else (spacing_mm, spacing_mm)
    name = paths[0].resolve().stem if len(paths) == 1 else kept[0].path.resolve().parent.name
    return Series(name, _images(kept, told), (rows, columns), places, load,
                  tuple(header.path.name for header in kept), facts(kept), (*findings, *doubts))


def _headers(paths: Sequence[Path], told: str) -> tuple[list[Header], int]:
    """The CT slices among the files, and how many other files there were."""
    slices: list[Header] = []
    others: list[str] = []
    for path in _files(paths):
        header = read_header(path)
        why = "not a DICOM file" if header is None else _why_other(header)
        if header is not None and why is None:
            slices.append(header)
        else:
            others.append(f"{path.name}: {why}")
    if not slices:
        of = f" among {len(others)} files" if len(others) > 1 else ""
        raise InputRefused(f"{told}: no CT slices{of} ({others[0]}); expected the DICOM files of a series, or an "
                           "npz")
    return slices, len(others)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if is_folder(path):
            inside = list(files_below(path))
            if not inside:
                raise InputRefused(f"{path}: the folder holds no files; expected the DICOM files of a series")
            yield from inside
        elif os.path.lexists(path):
            yield regular_file(path)
        else:
            raise InputRefused(f"{path}: no such file or folder; expected the DICOM files of a series, or an npz")


def _why_other(header: Header) -> str | None:
    """Why a DICOM file is no CT slice, None where it is one."""
    if header.text("Modality") != "CT":
        return f"modality {header.text('Modality') or 'not stated'}, not CT"
    return "a localizer, not a slice" if "LOCALIZER" in header.text("ImageType").upper() else None


def _one_stack(headers: list[Header], series: str | None, told: str) -> tuple[list[Header], list[Finding]]:
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.text("SeriesInstanceUID")].append(header)
    if series is not None:
        fitting = [uid for uid in groups if uid.endswith(series)]
        if len(fitting) != 1:
            raise UsageError(f"{told}: {len(fitting)} series uids end in '{series}'; there are {_listed(groups)}")
        return groups[fitting[0]], []
    if len(groups) == 1:
        return headers, []
    kinds = {tuple(header.text(keyword) for keyword in _SHARED) for header in headers}
    if len(kinds) > 1 or len({_position(header) for header in headers}) < len(headers):
        raise InputRefused(f"{told} holds {len(groups)} series: {_listed(groups)}; choose one with --series and "
                           "the end of its uid")
    message = (f"slices of {len(groups)} series uids are taken as one stack: study, scanner, kernel, kVp and "
               "thickness agree and no two lie at one position; if they are not one scan choose with --series")
    return headers, [Finding("series", "warning", message, len(groups))]


def _listed(groups: dict[str, list[Header]]) -> str:
    return "; ".join(f"...{uid[-12:]} ({len(held)} slices, kernel {held[0].text('ConvolutionKernel') or 'unknown'}"
                     f", '{held[0].text('SeriesDescription')}')" for uid, held in sorted(groups.items()))


def _refuse_unreadable(header: Header, spacing_stated: bool) -> None:
    """Refuses what cannot be turned into HU on a known grid."""
    spacing, rows, columns = header.numbers("PixelSpacing"), header.number("Rows"), header.number("Columns")
    if not rows or not columns:
        problem = "no Rows and Columns, so no image; expected a CT slice"
    elif rows * columns > _MOST_PIXELS:
        problem = f"{rows:g} x {columns:g} pixels; expected a CT slice, of {_MOST_PIXELS} pixels at most"
    elif not spacing_stated and (len(spacing) != 2 or min(spacing) <= 0):
        problem = (f"PixelSpacing must be two positive numbers; got '{header.text('PixelSpacing')}': state it with "
                   "--spacing MM")
    else:
        _refuse_other_values(header)
        return
    raise InputRefused(f"{header.path}: {problem}")


def _refuse_other_values(header: Header) -> None:
    """Refuses values that are no grey ones, or not said to be HU."""
    kind, shown = header.text("RescaleType"), header.text("PhotometricInterpretation")
    if (header.number("NumberOfFrames") or 1) > 1 or (header.number("SamplesPerPixel") or 1) > 1:
        problem = "several frames or colours in one file; expected one grey slice a file (convert enhanced CT)"
    elif kind not in ("", "HU"):
        problem = f"RescaleType is '{kind}'; expected HU"
    elif not header.number("RescaleSlope") or header.number("RescaleIntercept") is None:
        problem = "no RescaleSlope and RescaleIntercept, so its values cannot be turned into HU"
    elif shown not in ("", "MONOCHROME1", "MONOCHROME2"):    # which is dark is the display's matter: HU are HU
        problem = f"PhotometricInterpretation is '{shown}'; expected MONOCHROME2"
    else:
        return
    raise InputRefused(f"{header.path}: {problem}")


def _in_order(headers: list[Header], spacing_stated: bool) -> tuple[list[Header], tuple[float, ...] | None]:
    """The slices by position along their normal. One slice alone may lie anywhere."""
    if len(headers) == 1:
        place = _position(headers[0])
        return headers, None if place is None else (place,)
    placed = []
    for header in headers:
        _refuse_unlike(headers[0], header, spacing_stated)
        place = _position(header)
        if place is None:
            raise InputRefused(f"{header.path}: no ImagePositionPatient and ImageOrientationPatient, so the slices "
                               "cannot be put in order; name one file alone")
        placed.append((place, header))
    placed.sort(key=lambda pair: (pair[0], str(pair[1].path)))
    for (place, header), (other, following) in pairwise(placed):
        if other - place < _ALIKE:
            raise InputRefused(f"{header.path} and {following.path.name} lie at one position ({place:.5g} mm); "
                               "expected one slice a position: name the files of one pass")
    return [header for _, header in placed], tuple(place for place, _ in placed)


def _refuse_unlike(first: Header, header: Header, spacing_stated: bool) -> None:
    """Refuses another size, pixel spacing, orientation or setting than the first slice's."""
    for keyword in _ONE_SETTING:
        asked, got = first.text(keyword), header.text(keyword)
        alike = asked == got or header.numbers(keyword) == first.numbers(keyword) != ()
        if asked and got and not alike:
            raise InputRefused(f"{header.path}: {keyword} is '{got}', in {first.path.name} '{asked}'; expected one "
                               "setting in a series: name the files of one")
    for keyword in _ONE_GEOMETRY:
        if spacing_stated and keyword == "PixelSpacing":
            continue
        wanted, came = np.asarray(first.numbers(keyword)), np.asarray(header.numbers(keyword))
        most = _ALIKE * (wanted if keyword == "PixelSpacing" else 1.0)
        if wanted.shape != came.shape or (np.abs(wanted - came) > most).any():
            raise InputRefused(f"{header.path}: {keyword} is {header.text(keyword) or 'absent'}, in "
                               f"{first.path.name} {first.text(keyword) or 'absent'}; expected one geometry in a "
                               "series")


def _position(header: Header) -> float | None:
    """The place along the slices' normal in mm, PS3.3 C.7.6.2."""
    place, axes = header.numbers("ImagePositionPatient"), header.numbers("ImageOrientationPatient")
    if len(place) != 3 or len(axes) != 6:
        return None
    return round(float(np.dot(np.cross(axes[:3], axes[3:]), place)), 4)


def _images(headers: Sequence[Header], told: str) -> NDArray[np.float32]:
    """All slices in HU, (slices, rows, columns).

    Raises:
        InputRefused: more than can be measured at once, or a slice that cannot be read.
    """
    rows, columns = (int(headers[0].numbers(keyword)[0]) for keyword in ("Rows", "Columns"))
    refuse_many_values(told, "series", (len(headers), rows, columns))
    images = np.empty((len(headers), rows, columns), np.float32)
    for place, header in enumerate(headers):
        images[place] = _pixels(header)
    return images


def _pixels(header: Header) -> NDArray[np.float32]:
    """One slice in HU, (rows, columns)."""
    with broken_is_refused(header.path, "its pixels cannot be read"), quiet():
        tags = whole(header.path)
        if "PixelData" not in tags:
            raise InputRefused(f"{header.path}: no pixel data; expected a CT slice")
        _refuse_without_decoder(tags, header.path)
        _refuse_runs(tags, header.path)
        _refuse_other_size(tags, header.path)
        stored = np.array(tags.pixel_array, np.float64)
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    assert slope is not None    # refused before where absent
    assert intercept is not None
    stored *= slope
    stored += intercept
    return stored.astype(np.float32)


def _refuse_other_size(tags: Any, path: Path) -> None:
    """Refuses a compressed picture that is larger than the slice, before it is decoded."""
    syntax = tags.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == _RLE:
        return
    frame = next(importlib.import_module("pydicom.encaps").generate_frames(tags.PixelData, number_of_frames=1))
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
            size = picture.size
    except UnidentifiedImageError:   # JPEG-LS
        return
    if size != (tags.Columns, tags.Rows):
        raise InputRefused(f"{path}: its compressed pixels are {size[0]} x {size[1]}; its tags say "
                           f"{tags.Columns} x {tags.Rows}")


def _refuse_runs(tags: Any, path: Path) -> None:
    """Refuses run lengths (PS3.5 annex G) that unpack to more than the slice has, before they are."""
    if tags.file_meta.TransferSyntaxUID != _RLE:
        return
    pixels = int(tags.Rows) * int(tags.Columns)
    frame = next(importlib.import_module("pydicom.encaps").generate_frames(tags.PixelData, number_of_frames=1))
    count, *starts = struct.unpack_from("<16I", frame)
    starts = [*starts[:min(count, 15)], len(frame)]
    for start, end in pairwise(starts):
        if _run_length(frame[start:end], pixels) > pixels + 1:
            raise InputRefused(f"{path}: its run lengths unpack to more than {pixels} pixels: taken for a "
                               "decompression bomb and not read")


def _run_length(packed: bytes, most: int) -> int:
    """How many bytes a segment unpacks to, counted until they are more than `most`."""
    length = at = 0
    while at < len(packed) and length <= most + 1:
        code = packed[at]
        length += 0 if code == 128 else code + 1 if code < 128 else 257 - code
        at += code + 2 if code < 128 else 1 if code == 128 else 2
    return length


def _refuse_without_decoder(tags: Any, path: Path) -> None:
    syntax = tags.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    try:
        available = importlib.import_module("pydicom.pixels").get_decoder(syntax).is_available
    except RuntimeError:   # a transfer syntax that pydicom does not know
        available = False
    if not available:
        raise InputRefused(f"{path}: compressed as {syntax.name}, for which no decoder is installed: pip install "
                           "pylibjpeg pylibjpeg-openjpeg pylibjpeg-libjpeg, or decompress the files first")
