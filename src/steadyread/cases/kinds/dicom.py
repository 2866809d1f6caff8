"""DICOM images: CT in HU, CR, DX, MG, MR and others in what their modality LUT or rescaling gives, and colour; of one
frame, or of several that are one volume."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steadyread.cases.dicom_colour import colour_extent, is_colour, to_colour
from steadyread.cases.dicom_frames import in_frame, in_volume, of_frame, one_frame, volume_of
from steadyread.cases.dicom_header import Header, doses, facts, read_header
from steadyread.cases.dicom_pixels import extent, refuse_size, to_grey, to_hu
from steadyread.cases.kind import HU, Asked, Images, Known, every, in_unit, kind
from steadyread.cases.row import Pixels
from steadyread.cases.series import harmonic_mean
from steadyread.errors import InputRefused
from steadyread.units import Bounds

_FACTS = ("manufacturer", "model", "kernel", "kvp", "slice_thickness_mm")


@kind("dicom", title="DICOM images", endings=(".dcm", ".dicom", ".ima"), order=20,
      begins=lambda head: head[128:132] == b"DICM")
def images(files: Sequence[Path], asked: Asked) -> Images:
    """DICOM images, (channels, rows, columns), or (1, *space) of a file whose frames are the slices of a volume.

    CT is in HU by its rescaling. What is not CT has the values that its modality LUT or rescaling gives, white the
    highest whatever the file says (MONOCHROME1); a window (VOI LUT) is applied only where `voi` asks for it. Colour is
    red, green and blue; a grey image among others has three equal channels. Patients, pixel spacing (that of the
    detector where there is no other) and the dose of CT come from the tags.

    Raises:
        InputRefused: not one can be read, or CT among others.
    """
    looks = _some(files, asked)
    modalities = Counter(look.modality for look in looks)
    if "CT" in modalities and len(modalities) > 1:
        mixed = ", ".join(f"{count} {name}" for name, count in modalities.most_common())
        raise InputRefused(f"{files[0].parent}: images of several modalities ({mixed}), whose values have no scale in "
                           "common; give one modality")
    hu = "CT" in modalities and not asked.voi
    if asked.unit == HU.unit and not hu:
        raise InputRefused(f"{files[0].parent}: {', '.join(modalities)} holds no HU, which is the unit of CT without a "
                           "window: leave data.options.unit out")
    channels = 3 if any(look.colour for look in looks) and not hu and asked.channels != "grey" else 1

    def read(file: Path) -> Pixels:
        header = _header(file)
        refuse_size(header)
        _refuse_unscaled(header, hu, asked.voi)
        number = one_frame(header, asked.frame)
        if number is None:
            values = in_volume(header, volume_of(header, asked.orientation), hu, asked.voi)[None]
        else:
            frame, stored = in_frame(header, number)
            values = (to_colour(frame, stored, channels) if is_colour(frame)
                      else to_hu(frame, stored)[None] if hu else to_grey(frame, stored, asked.voi)[None])
        return np.repeat(values, channels, axis=0) if len(values) < channels else values

    def known(file: Path, _: bool) -> Known:
        header = _header(file)
        refuse_size(header)
        number = one_frame(header, asked.frame)
        volume = volume_of(header, asked.orientation) if number is None else None
        frames = (of_frame(header, number or 0),) if volume is None else volume.frames
        said = {"modality": header.text("Modality"), **{key: facts(frames)[key] for key in _FACTS}}
        shape = tuple(int(header.number(name) or 0) for name in ("Rows", "Columns")) if volume is None else volume.shape
        return Known((channels, *shape), _spacing(frames[0]) if volume is None else volume.spacing_mm,
                     header.text("PatientID"), _dose(frames) if hu else None,
                     {key: value for key, value in said.items() if value})

    if hu:
        return Images(HU, read, known, (f"CT, read in HU; what lies below {HU.low:g} HU is raised to it",))
    bounds = Bounds(min(look.ends[0] for look in looks), max(look.ends[1] for look in looks), "grey level")
    return Images(in_unit(bounds, asked.unit), read, known, tuple(_notes(looks, asked, channels)))


@dataclass(frozen=True)
class _Look:
    """What one file says of its values: hundreds are held at once."""

    modality: str
    ends: tuple[float, float]
    dark: bool
    colour: bool


def _look(file: Path, asked: Asked) -> _Look:
    header = _header(file)
    number = one_frame(header, asked.frame)
    colour = is_colour(header)
    frames = volume_of(header, asked.orientation).frames if number is None else (of_frame(header, number),)
    ends = [colour_extent(frame) if colour else extent(frame, asked.voi) for frame in frames]
    return _Look(header.text("Modality") or "unknown", (min(low for low, _ in ends), max(high for _, high in ends)),
                 header.text("PhotometricInterpretation") == "MONOCHROME1", colour)


def _refuse_unscaled(header: Header, hu: bool, voi: bool) -> None:
    if is_colour(header) and (hu or voi):
        raise InputRefused(f"{header.path}: an image in colour, which has no {'HU' if hu else 'window'}: leave it "
                           f"out with data.options.exclude{'' if hu else ', or leave data.options.voi out'}")


def _dose(frames: Sequence[Header]) -> float | None:
    found = doses(frames)[0]
    return found[0] if len(found) == 1 else harmonic_mean(found)


def _notes(looks: Sequence[_Look], asked: Asked, channels: int) -> Iterator[str]:
    yield (f"{', '.join(sorted({look.modality for look in looks}))}, read "
           + ("through the first window that each file states" if asked.voi else "as stored, without a window"))
    dark, coloured = sum(look.dark for look in looks), sum(look.colour for look in looks)
    if dark:
        yield f"{dark} of {len(looks)} are MONOCHROME1 and turned, so that white is the highest value"
    if coloured:
        how = "one grey channel" if channels == 1 else "three colour channels"
        yield f"read as {how}: {coloured} of {len(looks)} images looked at are stored in colour"
    several = Counter(look.ends for look in looks)
    if len(several) > 1:
        ranges = ", ".join(f"{low:g} to {high:g} in {count}" for (low, high), count in several.most_common(4))
        yield f"the ranges that they state differ ({ranges}): the same grey may stand for different brightness"


def _some(files: Sequence[Path], asked: Asked) -> list[_Look]:
    """What some of the files say.

    Raises:
        InputRefused: not one can be read.
    """
    looks, first = [], None
    for file in every(files):
        try:
            looks.append(_look(file, asked))
        except InputRefused as problem:
            first = first or problem
    if first is not None and not looks:
        raise first
    return looks


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
