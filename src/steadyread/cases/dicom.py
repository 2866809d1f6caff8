"""CT slices from DICOM files: rescaled to HU, sorted along their normal, and refused where they do not fit.

After DICOM PS3.3 C.7.6.2 (image plane), C.8.2.1 (CT image) and C.11.1 (modality lookup). What the tags say of
dose and kernel is handed on as what it is: entries that scanners, and those who copied the files, got wrong
before.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.dicom_header import Header, doses, facts, read_header
from steadyread.cases.dicom_pixels import in_hu, refuse_other_values, refuse_size
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
        refuse_unreadable(header, spacing_mm is not None)
    ordered, positions = in_order(chosen, spacing_mm is not None)
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
        why = "not a DICOM file" if header is None else why_other(header)
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


def why_other(header: Header) -> str | None:
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
            raise UsageError(f"{told}: {len(fitting)} series uids end in '{series}'; there are {listed(groups)}")
        return groups[fitting[0]], []
    if len(groups) == 1:
        return headers, []
    kinds = {tuple(header.text(keyword) for keyword in _SHARED) for header in headers}
    if len(kinds) > 1 or len({_position(header) for header in headers}) < len(headers):
        raise InputRefused(f"{told} holds {len(groups)} series: {listed(groups)}; choose one with --series and "
                           "the end of its uid")
    message = (f"slices of {len(groups)} series uids are taken as one stack: study, scanner, kernel, kVp and "
               "thickness agree and no two lie at one position; if they are not one scan choose with --series")
    return headers, [Finding("series", "warning", message, len(groups))]


def listed(groups: dict[str, list[Header]]) -> str:
    return "; ".join(f"...{uid[-12:]} ({len(held)} slices, kernel {held[0].text('ConvolutionKernel') or 'unknown'}"
                     f", '{held[0].text('SeriesDescription')}')" for uid, held in sorted(groups.items()))


def refuse_unreadable(header: Header, spacing_stated: bool) -> None:
    """Refuses what cannot be turned into HU on a known grid."""
    refuse_size(header)
    spacing = header.numbers("PixelSpacing")
    if not spacing_stated and (len(spacing) != 2 or min(spacing) <= 0):
        raise InputRefused(f"{header.path}: PixelSpacing must be two positive numbers; got "
                           f"'{header.text('PixelSpacing')}': state it with --spacing MM")
    refuse_other_values(header, hu=True)


def in_order(headers: list[Header], spacing_stated: bool) -> tuple[list[Header], tuple[float, ...] | None]:
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
        images[place] = in_hu(header.path)
    return images
