"""DICOM images of one frame: CT in HU, and CR, DX, MG, MR and others in what their modality LUT or rescaling gives."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from steadyread.cases.dicom_header import Header, doses, facts, read_header
from steadyread.cases.dicom_pixels import extent, in_grey, in_hu, refuse_other_values, refuse_size
from steadyread.cases.kind import HU, Asked, Images, Known, every, in_unit, kind
from steadyread.cases.row import Pixels
from steadyread.errors import InputRefused
from steadyread.units import Bounds

_FACTS = ("manufacturer", "model", "kernel", "kvp", "slice_thickness_mm")


@kind("dicom", title="DICOM images", endings=(".dcm", ".dicom", ".ima"), order=20,
      begins=lambda head: head[128:132] == b"DICM")
def images(files: Sequence[Path], asked: Asked) -> Images:
    """DICOM images, one frame a file, (1, rows, columns).

    CT is in HU by its rescaling. What is not CT has the values that its modality LUT or rescaling gives, white the
    highest whatever the file says (MONOCHROME1); a window (VOI LUT) is applied only where `voi` asks for it. Patients,
    pixel spacing (that of the detector where there is no other) and the dose of CT come from the tags.

    Raises:
        InputRefused: not one can be read, or CT among others.
    """
    headers = _some(files)
    modalities = Counter(header.text("Modality") or "unknown" for header in headers)
    if "CT" in modalities and len(modalities) > 1:
        mixed = ", ".join(f"{count} {name}" for name, count in modalities.most_common())
        raise InputRefused(f"{files[0].parent}: images of several modalities ({mixed}), whose values have no scale in "
                           "common; give one modality")
    hu = "CT" in modalities and not asked.voi
    if asked.unit == HU.unit and not hu:
        raise InputRefused(f"{files[0].parent}: {', '.join(modalities)} holds no HU, which is the unit of CT without a "
                           "window: leave data.options.unit out")

    def read(file: Path) -> Pixels:
        header = _header(file)
        refuse_size(header)
        refuse_other_values(header, hu)
        return (in_hu(file) if hu else in_grey(header, asked.voi))[None]

    def known(file: Path, _: bool) -> Known:
        header = _header(file)
        refuse_size(header)
        said = {"modality": header.text("Modality"), **{key: facts([header])[key] for key in _FACTS}}
        shape = (1, *(int(header.number(name) or 0) for name in ("Rows", "Columns")))
        return Known(shape, _spacing(header), header.text("PatientID"), doses([header])[0][0] if hu else None,
                     {key: value for key, value in said.items() if value})

    if hu:
        return Images(HU, read, known, (f"CT, read in HU; what lies below {HU.low:g} HU is raised to it",))
    ends = [extent(header, asked.voi) for header in headers]
    bounds = Bounds(min(low for low, _ in ends), max(high for _, high in ends), "grey level")
    return Images(in_unit(bounds, asked.unit), read, known, tuple(_notes(headers, ends, asked)))


def _notes(headers: Sequence[Header], ends: Sequence[tuple[float, float]], asked: Asked) -> list[str]:
    notes = [f"{', '.join(sorted({header.text('Modality') or 'unknown' for header in headers}))}, read "
             + ("through the first window that each file states" if asked.voi else "as stored, without a window")]
    dark = sum(header.text("PhotometricInterpretation") == "MONOCHROME1" for header in headers)
    if dark:
        notes.append(f"{dark} of {len(headers)} are MONOCHROME1 and turned, so that white is the highest value")
    several = Counter(ends)
    if len(several) > 1:
        ranges = ", ".join(f"{low:g} to {high:g} in {count}" for (low, high), count in several.most_common(4))
        notes.append(f"the ranges that they state differ ({ranges}): the same grey may stand for different brightness")
    return notes


def _some(files: Sequence[Path]) -> list[Header]:
    """The headers of some of the files.

    Raises:
        InputRefused: not one can be read.
    """
    headers, first = [], None
    for file in every(files):
        try:
            header = _header(file)
            extent(header, False)
            headers.append(header)
        except InputRefused as problem:
            first = first or problem
    if first is not None and not headers:
        raise first
    return headers


def _header(file: Path) -> Header:
    header = read_header(file)
    if header is None:
        raise InputRefused(f"{file}: not a DICOM file")
    return header


def _spacing(header: Header) -> tuple[float, ...] | None:
    """The distance of rows and of columns (PS3.3 10.7.1.1), in the patient or else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = header.numbers(keyword)
        if len(spacing) == 2 and min(spacing) > 0:
            return spacing
    return None
