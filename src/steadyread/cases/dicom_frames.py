"""DICOM files of several frames: one of them as an image, or all as a volume where they say where each lies.

After PS3.3 C.7.6.16 (functional groups of enhanced objects): what all frames share, and what each has of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.dicom_colour import is_colour
from steadyread.cases.dicom_header import Header, broken_is_refused, pydicom, quiet
from steadyread.cases.dicom_pixels import opened, pixels, to_grey, to_hu, unread
from steadyread.cases.orientation import squeezed, turned
from steadyread.cases.row import Pixels
from steadyread.cases.stored import refuse_large
from steadyread.errors import InputRefused

_PER_FRAME, _SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
# Of functional groups: what is taken, under the name that it has in a file of one frame.
_TAKEN = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"), "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",), "CTExposureSequence": ("ExposureInmAs",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    "CTXRayDetailsSequence": ("KVP",), "CTReconstructionSequence": ("ConvolutionKernel",)}
_NAMES = {"ExposureInmAs": "Exposure"}
_MOST = 4096            # frames of one file
_ALIKE, _EVEN, _SIDEWAYS_MM = 1e-3, 0.02, 0.1    # of directions and spacings, of steps, of slices that shift
_TO_RIGHT_FRONT_HEAD = np.array([[-1.0], [-1.0], [1.0]])
_WHICH = "state which one is the image by data.options.frame (from 1), or convert it"


@dataclass(frozen=True, eq=False)
class Volume:
    """A file whose frames are the slices of one volume.

    `frames` are their headers in the order of the file, `places` where each is among the slices. `order` and `flips`
    turn (slices, rows, columns) into the axes asked for, of which `shape` and `spacing_mm` are.
    """

    frames: tuple[Header, ...]
    places: tuple[int, ...]
    order: tuple[int, ...]
    flips: tuple[int, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]


def frames_of(header: Header) -> int:
    """How many frames a file has."""
    return int(header.number("NumberOfFrames") or 1)


def one_frame(header: Header, asked: int | None) -> int | None:
    """Which frame, from 0, is the image of a file: the only one, or the one `asked` for, from 1; None where several are
    to be one volume.

    Raises:
        InputRefused: there is no such frame.
    """
    count = frames_of(header)
    if asked is not None and not 1 <= asked <= count:
        raise InputRefused(f"{header.path}: it has {count} frames; data.options.frame asks for {asked}, counted from 1")
    return None if asked is None and count > 1 else (asked or 1) - 1


def of_frame(header: Header, number: int) -> Header:
    """The header of one frame as if it were a file of its own: what the functional groups say of it stands in it.

    Raises:
        InputRefused: the groups are damaged.
    """
    if frames_of(header) == 1 and _PER_FRAME not in header.tags and _SHARED not in header.tags:
        return header
    with broken_is_refused(header.path, "what it says of its frames cannot be read"), quiet():
        left = [pydicom().tag.Tag(keyword) for keyword in (_PER_FRAME, _SHARED, "PixelData")]
        tags = pydicom().Dataset({tag: header.tags.get_item(tag) for tag in header.tags.keys() if tag not in left})  # noqa: SIM118
        for groups in (header.tags.get(_SHARED) or ())[:1], (header.tags.get(_PER_FRAME) or ())[number:number + 1]:
            for group, keywords in _TAKEN.items():
                for item in (groups[0].get(group) or ())[:1] if groups else ():
                    for keyword in (keyword for keyword in keywords if keyword in item):
                        setattr(tags, _NAMES.get(keyword, keyword), item[keyword].value)
        tags.NumberOfFrames = 1
        return Header(header.path, tags)


def volume_of(header: Header, axes: str) -> Volume:
    """The volume that the frames of a file are the slices of, with axes such as SPL.

    Raises:
        InputRefused: they do not say where they lie, or are not one stack of even steps; too large.
    """
    count, path = frames_of(header), header.path
    if count > _MOST or is_colour(header) or _PER_FRAME not in header.tags:
        raise InputRefused(f"{path}: {count} frames in one file, which do not say where each lies, so they are no "
                           f"volume (a cine?): {_WHICH}")
    bits = header.number("BitsAllocated") or 16
    refuse_large(path, (count, *_rows_columns(header)), np.dtype(f"u{4 if bits > 16 else 2}"))
    frames = tuple(of_frame(header, number) for number in range(count))
    corners = np.array([_numbers(frame, "ImagePositionPatient", 3) for frame in frames])
    turns, spacings = (np.array([_numbers(frame, name, size) for frame in frames]) for name, size in (
        ("ImageOrientationPatient", 6), ("PixelSpacing", 2)))
    along_row, along_column = turns[0, :3], turns[0, 3:]
    if not (np.allclose(turns, turns[0], atol=_ALIKE) and np.allclose(spacings, spacings[0], rtol=_ALIKE)
            and spacings.min() > 0 and np.allclose([along_row @ along_row, along_column @ along_column,
                                                    along_row @ along_column], [1, 1, 0], atol=1e-2)):
        raise InputRefused(f"{path}: its {count} frames differ in direction or spacing, so they are no volume: "
                           f"{_WHICH}")
    normal = np.cross(along_row, along_column)
    step, places = _stacked(header, corners, normal)
    directions = np.column_stack([normal, along_column, along_row]) * _TO_RIGHT_FRONT_HEAD
    order, flips = turned(directions, str(path), axes, True)
    sizes, steps = (count, *_rows_columns(header)), (step, *spacings[0].tolist())
    extents = [sizes[axis] for axis in order]
    return Volume(frames, places, order, flips, tuple(squeezed(extents, extents)),
                  squeezed([steps[axis] for axis in order], extents))


def in_volume(header: Header, volume: Volume, hu: bool, voi: bool) -> Pixels:
    """The values of a volume, in HU or grey, each frame after its own rescaling.

    Raises:
        InputRefused: damaged, or as for a file of one frame.
    """
    values = np.empty((len(volume.frames), *_rows_columns(header)), np.float32)
    with unread(header.path):
        stored = pixels().iter_pixels(opened(header.path))
        for place, frame, pixel in zip(volume.places, volume.frames, stored, strict=True):
            values[place] = to_hu(frame, pixel) if hu else to_grey(frame, pixel, voi)
    return np.flip(values.transpose(volume.order), volume.flips).reshape(volume.shape)


def in_frame(header: Header, number: int) -> tuple[Header, NDArray[Any]]:
    """One frame as it is stored, and its header.

    Raises:
        InputRefused: damaged.
    """
    with unread(header.path):
        tags = opened(header.path)
        return of_frame(Header(header.path, tags), number), pixels().pixel_array(tags, index=number)


def _stacked(header: Header, corners: NDArray[np.float64], normal: NDArray[np.float64]
             ) -> tuple[float, tuple[int, ...]]:
    """The step from slice to slice, and the place of each frame among them."""
    moved = corners - corners[0]
    along = moved @ normal
    ordered = np.argsort(along, kind="stable")
    steps = np.diff(along[ordered])
    step = float(along.max() - along.min()) / (len(along) - 1)
    sideways = float(np.linalg.norm(moved - np.outer(along, normal), axis=1).max())
    if not step > 0 or np.abs(steps - step).max() > max(_EVEN * step, 1e-3) or sideways > _SIDEWAYS_MM:
        raise InputRefused(f"{header.path}: its {len(along)} frames are no single stack of even steps (from "
                           f"{steps.min():.4g} to {steps.max():.4g} mm; several volumes, times or echoes?): {_WHICH}")
    places = np.empty(len(along), int)
    places[ordered] = np.arange(len(along))
    return step, tuple(places.tolist())


def _rows_columns(header: Header) -> tuple[int, int]:
    return int(header.number("Rows") or 0), int(header.number("Columns") or 0)


def _numbers(frame: Header, keyword: str, count: int) -> Sequence[float]:
    found = frame.numbers(keyword)
    if len(found) != count:
        raise InputRefused(f"{frame.path}: several frames, of which one or more state no {keyword}, so they are no "
                           f"volume: {_WHICH}")
    return found
