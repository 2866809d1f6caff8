"""A kind of image: how files of one sort hold an image each, found by standing in `kinds/`.

    @kind("nrrd", title="NRRD", endings=(".nrrd", ".nhdr"))
    def images(files: Sequence[Path], asked: Asked) -> Images:
        ...
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from steadyread.cases.row import NOTHING, Pixels
from steadyread.errors import InputRefused
from steadyread.registry import LAST, Registry
from steadyread.units import Bounds

Channels = Literal["auto", "grey", "colour"]
_HEAD = 512    # bytes that tell what a file without an ending is
_LOOKED_AT, _MOST_VALUES = 256, 2**28      # files of a set, and values in all, by which it is judged
HU = Bounds(-1024.0, 3071.0, "HU")


@dataclass(frozen=True)
class Asked:
    """What can be stated of the images of a folder or a table, whatever kind they are.

    Args:
        channels: `grey`, `colour`, or `auto` (of pictures grey where nine in ten of those looked at are; colour of
            DICOM images where one is stored so; one grey channel of anything else). A grey image read as colour has
            three equal channels.
        exclude: patterns of files and folders to leave out, such as `*_overlay*`.
        patient_pattern: a regular expression with one group, looked for in each file's path below the folder: what
            the group matches is the patient.
        unit: of the stored values, such as HU, where the files do not say.
        frame: which frame of a DICOM file that holds several is its image, from 1. By default all of them are one
            volume where the file says where each lies.
        voi: DICOM images are shown through the first window that each states: its unit is then the grey level.
        orientation: where the axes of a volume point to, slices first: towards the head, the back and the left of
            the patient (SPL) unless stated, as in RAS; `stored` leaves them as the file has them.
    """

    channels: Channels = "auto"
    exclude: str | tuple[str, ...] = ()
    patient_pattern: str | None = None
    unit: str | None = None
    voi: bool = False
    frame: int | None = None
    orientation: str = "SPL"


@dataclass(frozen=True)
class Known:
    """What a file says of its image without its pixels: see `Row` for each."""

    shape: tuple[int, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    patient: str = ""
    scan_mas: float | None = None
    extras: Mapping[str, object] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True)
class Images:
    """The images of files of one kind.

    `read` gives one as (channels, *space) in the unit of `bounds`, the range of them all. `known` is what a file says
    of its image; its shape may be left out where the pixels' spacing is not `spaced`, stated by a table.
    `notes` are what a person should know of how they are read.
    """

    bounds: Bounds
    read: Callable[[Path], Pixels]
    known: Callable[[Path, bool], Known]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """How files of one kind are told by their `endings`, or where they have none by the bytes that they begin with, and
    are opened. `title` is the word for them in messages."""

    name: str
    title: str
    endings: tuple[str, ...]
    images: Callable[[Sequence[Path], Asked], Images]
    begins: Callable[[bytes], bool] | None = None
    order: float = LAST


Opened = Callable[[Sequence[Path], Asked], Images]
KINDS: Registry[Kind] = Registry("kind of image", "steadyread.cases.kinds")


def kind(name: str, *, title: str, endings: tuple[str, ...], begins: Callable[[bytes], bool] | None = None,
         order: float = LAST) -> Callable[[Opened], Opened]:
    """Registers a function as what opens files of one kind.

    Raises:
        UsageError: the name is taken.
    """
    def registered(images: Opened) -> Opened:
        KINDS.add(Kind(name, title, endings, images, begins, order))
        return images

    return registered


def ending(file: Path) -> str:
    """How a file's name ends, in small letters: that of a packed volume is `.nii.gz`."""
    name = file.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else file.suffix.lower()


def kind_of(file: Path) -> Kind | None:
    """The kind of image that a file is by its ending, or where it has none (`IM0001`, `1.2.840.1`) by its beginning;
    None where it is none."""
    suffix = ending(file)
    by_name = next((known for known in KINDS.values() if suffix in known.endings), None)
    if by_name is not None or not (suffix == "" or suffix[1:].isdecimal()):
        return by_name
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    return next((known for known in KINDS.values() if known.begins is not None and known.begins(head)), None)


def every(files: Sequence[Path]) -> Sequence[Path]:
    """At most 256 of the files, evenly spaced, by which a set is judged."""
    return files[::max(1, -(-len(files) // _LOOKED_AT))]


def in_unit(bounds: Bounds, unit: str | None) -> Bounds:
    """The range where a user states the unit: that of scanners in HU, else what it was."""
    return bounds if unit is None else HU if unit == HU.unit else Bounds(bounds.low, bounds.high, unit)


def range_of(files: Sequence[Path], read: Callable[[Path], Pixels], unit: str | None) -> tuple[Bounds, tuple[str, ...]]:
    """The range of arrays that do not state it, and a sentence on it: that of HU, of 8 bits, of 0 to 1, or of the
    values in those of the files that are looked at.

    Raises:
        InputRefused: not one of them can be read.
    """
    if unit == HU.unit:
        return HU, ()
    kinds, ends, values, first = set[np.dtype[np.generic]](), list[float](), 0, None
    for file in every(files):
        try:
            pixels = read(file)
        except InputRefused as problem:
            first = first or problem
            continue
        kinds.add(pixels.dtype)
        ends += _ends(pixels)
        values += pixels.size
        del pixels      # before the next is read: either may take half a gigabyte
        if values > _MOST_VALUES:
            break
    if first is not None and not kinds:
        raise first
    if kinds == {np.dtype(np.uint8)}:
        return Bounds(0.0, 255.0, unit or "grey level"), ()
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    if low >= 0 and high <= 1:
        return Bounds(0.0, 1.0, unit or ""), ()
    high = high if low < high else low + 1
    return Bounds(low, high, unit or ""), (
        f"the range is that of the values looked at, {low:g} to {high:g}: state model.bounds for another",)


def _ends(pixels: Pixels) -> list[float]:
    """The lowest and the highest finite value, found without a copy: a volume may take half a gigabyte."""
    if pixels.dtype.kind != "f":
        return [float(pixels.min()), float(pixels.max())]
    finite = np.isfinite(pixels)
    if not finite.any():
        return []
    return [float(np.min(pixels, where=finite, initial=np.inf)), float(np.max(pixels, where=finite, initial=-np.inf))]
