"""What DICOM files mark in a patient: RTSTRUCT contours, SEG segments, and the regions of SR measurement groups.

After DICOM PS3.3 C.8.8.5 and C.8.8.6 (structure set, contours), C.8.20 (segmentation) and PS3.16 TID 1410, 1411
(measurement groups). Names are those of the structure, the segment, or the tracking identifier and the finding.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.dicom_header import broken_is_refused, quiet, read_header, stored_as, whole
from steadyread.cases.marks import MOST_VOXELS
from steadyread.errors import InputRefused

_MOST_VALUES = 2**28     # of a segmentation, unpacked
_MOST_MARKED = 2**23     # voxels of all segments that are held
_GROUP, _TRACKING, _FINDING = "125007", "112039", "121071"    # code values of DCM


@dataclass(frozen=True, eq=False)
class Structure:
    """What a file marks under one name.

    Closed `outlines` (n, 3) and single `points` (n, 3) in the patient's (x, y, z) in mm (LPS), or `pixels`, as (SOP uid
    of the image, points (n, 2) by row and column from 0). `middles` says that the points are the middles of all marked
    voxels, `voxels` in number; too many are left out. `series` is the uid of the CT series, `frame` that of its frame
    of reference, `finding` what is marked, each "" where the file does not say.
    """

    name: str
    where: str
    series: str = ""
    frame: str = ""
    outlines: tuple[NDArray[np.float64], ...] = ()
    points: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    pixels: tuple[tuple[str, NDArray[np.float64]], ...] = ()
    middles: bool = False
    voxels: int = 0
    finding: str = ""


def is_marking(path: Path) -> bool:
    """Whether a file is an RTSTRUCT, a SEG or an SR, by its first bytes."""
    return stored_as(path) in _KINDS


def structures(path: Path) -> list[Structure]:
    """What a file marks, in its order; none where an SR has no measurement groups with places.

    Raises:
        InputRefused: it cannot be read, or marks nothing by the standard.
    """
    read_header(path, ("SOPClassUID",))      # refuses what is too large
    with broken_is_refused(path, "its structures cannot be read"), quiet():
        return list(_KINDS[stored_as(path)](path, whole(path)))


def _contours(path: Path, tags: Any) -> Iterator[Structure]:
    names = {int(item.ROINumber): str(item.get("ROIName", "")) for item in tags.StructureSetROISequence}
    series = next((str(each.SeriesInstanceUID) for frame in tags.get("ReferencedFrameOfReferenceSequence", [])
                   for study in frame.get("RTReferencedStudySequence", [])
                   for each in study.get("RTReferencedSeriesSequence", [])), "")
    for item in tags.get("ROIContourSequence", []):
        name = names.get(int(item.ReferencedROINumber), "")
        contours = [(str(each.get("ContourGeometricType", "")), _places(each.ContourData, 3))
                    for each in item.get("ContourSequence", [])]
        closed = tuple(places for kind, places in contours if kind != "POINT" and len(places) > 2)
        single = [places for kind, places in contours if kind == "POINT"]
        if closed or single:
            yield Structure(name, f"{path.name} ({name})", series, outlines=closed,
                            points=np.concatenate([np.empty((0, 3)), *single]))


def _segments(path: Path, tags: Any) -> Iterator[Structure]:
    counts, places = _marked(path, tags)
    series = next((str(each.SeriesInstanceUID) for each in tags.get("ReferencedSeriesSequence", [])), "")
    for item in tags.SegmentSequence:
        number, name = int(item.SegmentNumber), str(item.get("SegmentLabel", ""))
        points = places[number] if counts[number] <= MOST_VOXELS else []
        if counts[number]:
            yield Structure(name, f"{path.name} ({name})", series, middles=True, voxels=counts[number],
                            points=np.concatenate([np.empty((0, 3)), *points]))


def _marked(path: Path, tags: Any) -> tuple[Counter[int], dict[int, list[NDArray[np.float64]]]]:
    """How many voxels each segment marks, and where they are, frame by frame; not of those that mark too many."""
    values = _frames(path, tags)
    kind = str(tags.get("SegmentationType", "BINARY"))
    least = float(tags.get("MaximumFractionalValue", 1)) / 2 if kind == "FRACTIONAL" else 1
    shared = (tags.get("SharedFunctionalGroupsSequence") or [{}])[0]
    counts: Counter[int] = Counter()
    places: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for frame, own in zip(values, tags.PerFrameFunctionalGroupsSequence, strict=True):
        numbers = np.unique(frame[frame > 0]) if kind == "LABELMAP" else [int(
            _functional(own, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)]
        for number in map(int, numbers):
            chosen = frame == number if kind == "LABELMAP" else frame >= least
            counts[number] += int(chosen.sum())
            if sum(min(count, MOST_VOXELS) for count in counts.values()) > _MOST_MARKED:
                raise InputRefused(f"{path}: its segments mark more than {_MOST_MARKED:,} voxels; give those of "
                                   "lesions alone")
            if counts[number] <= MOST_VOXELS:
                places[number].append(_in_patient(np.argwhere(chosen), own, shared))
    return counts, places


def _frames(path: Path, tags: Any) -> NDArray[Any]:
    """The values of a segmentation, (frames, rows, columns)."""
    frames, rows, columns = int(tags.get("NumberOfFrames", 1) or 1), int(tags.Rows), int(tags.Columns)
    if frames * rows * columns > _MOST_VALUES:
        raise InputRefused(f"{path}: {frames} frames of {rows} x {columns} pixels; at most {_MOST_VALUES:,} values are "
                           "read")
    if tags.file_meta.TransferSyntaxUID.is_compressed and not tags.file_meta.TransferSyntaxUID.is_deflated:
        raise InputRefused(f"{path}: a compressed segmentation; decompress it first")
    return np.asarray(tags.pixel_array).reshape(frames, rows, columns)


def _functional(own: Any, shared: Any, keyword: str) -> Any:
    """The item of a functional group, a frame's own or that of all."""
    return (own.get(keyword) or shared.get(keyword))[0]


def _in_patient(pixels: NDArray[np.int64], own: Any, shared: Any) -> NDArray[np.float64]:
    """The places in mm of a frame's pixels (n, 2) by row and column, PS3.3 C.7.6.2.1.1."""
    corner = np.array(_functional(own, shared, "PlanePositionSequence").ImagePositionPatient, float)
    axes = np.array(_functional(own, shared, "PlaneOrientationSequence").ImageOrientationPatient, float)
    down, across = map(float, _functional(own, shared, "PixelMeasuresSequence").PixelSpacing)
    return np.asarray(corner + pixels[:, :1] * down * axes[3:] + pixels[:, 1:] * across * axes[:3])


def _groups(path: Path, tags: Any) -> Iterator[Structure]:
    for item in _containers(tags):
        parts = list(_below(item))
        names = {_code(part): str(part.get("TextValue", "") or _meaning(part)) for part in parts
                 if _code(part) in (_TRACKING, _FINDING)}
        name = names.get(_TRACKING) or names.get(_FINDING, "")
        spatial = [part for part in parts if part.get("ValueType") == "SCOORD3D"]
        outlines = tuple(_places(part.GraphicData, 3) for part in spatial if part.GraphicType == "POLYGON")
        points = [_middle(part, 3) for part in spatial if part.GraphicType != "POLYGON"]
        pixels = tuple((str(part.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID),
                        _middle(part, 2)[:, ::-1] - 0.5)      # counted from the corner of the first pixel, PS3.3 C.18.6
                       for part in parts if part.get("ValueType") == "SCOORD")
        frame = next((str(part.get("ReferencedFrameOfReferenceUID", "")) for part in spatial), "")
        if spatial or pixels:
            yield Structure(name, f"{path.name} ({name})", "", frame, outlines,
                            np.concatenate([np.empty((0, 3)), *points]), pixels, finding=names.get(_FINDING, ""))


def _middle(part: Any, axes: int) -> NDArray[np.float64]:
    """The middle of a graphic, (1, axes), or each of its points where it is several, (n, axes)."""
    places, kind = _places(part.GraphicData, axes), part.GraphicType
    if kind in ("POINT", "MULTIPOINT"):
        return places
    if kind == "CIRCLE":
        return places[:1]
    closed = len(places) > 1 and bool((places[0] == places[-1]).all())
    middle: NDArray[np.float64] = places[:-1 if closed else None].mean(0, keepdims=True)
    return middle


def _containers(item: Any) -> Iterator[Any]:
    """The measurement groups below a content item."""
    for part in item.get("ContentSequence", []):
        if part.get("ValueType") == "CONTAINER" and _code(part) == _GROUP:
            yield part
        else:
            yield from _containers(part)


def _below(item: Any) -> Iterator[Any]:
    for part in item.get("ContentSequence", []):
        yield part
        yield from _below(part)


def _code(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue", "")) if names else ""


def _meaning(item: Any) -> str:
    codes = item.get("ConceptCodeSequence")
    return str(codes[0].get("CodeMeaning", "")) if codes else ""


def _places(values: Any, axes: int) -> NDArray[np.float64]:
    """Numbers one after the other as points; finite ones."""
    places = np.array(values, np.float64)
    if places.size % axes or not np.isfinite(places).all():
        raise ValueError(f"{places.size} coordinates, which are no points of {axes}")
    return places.reshape(-1, axes)


# By the last parts of the uid of what a file is stored as (PS3.4 B.5).
_KINDS: dict[str, Callable[[Path, Any], Iterator[Structure]]] = {
    "481.3": _contours, "66.4": _segments, "66.7": _segments,
    **dict.fromkeys(("88.11", "88.22", "88.33", "88.34", "88.35"), _groups)}
