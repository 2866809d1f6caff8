"""Made CT series whose HU are known at every place of the patient, and files that mark places in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOW = np.array([2.0, -1.5, 3.0])     # HU per mm along the patient's x, y and z (LPS)
UPRIGHT, PRONE = (1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0)
CORONAL, TURNED = (1, 0, 0, 0, 0, -1), (0, 1, 0, 1, 0, 0)
_SLOPE = 2**-5          # HU a stored value


def hu_at(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The HU of the flow at places (..., 3) of the patient."""
    return np.asarray(points_mm @ FLOW)


def write_series(folder: Path, axes: Sequence[float] = UPRIGHT, count: int = 24, step: float = 2.0,
                 values: Any = None, corner: Sequence[float] = (-10, 5, -20), **tags: Any) -> Path:
    """A series of 40 x 36 pixels of 0.7 x 0.8 mm that shows the flow, or `values` (slices, rows, columns) in HU.

    `tags` replaces some, None leaves one out; a function gives each slice its own.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True, exist_ok=True)
    across, down = np.array(axes[:3], float), np.array(axes[3:], float)
    rows, columns = np.mgrid[:40, :36]
    for place in range(count):
        at = np.array(corner, float) + np.cross(across, down) * step * place
        given = {name: value(place) if callable(value) else value for name, value in tags.items()}
        place_mm = np.array(given.get("ImagePositionPatient", at), float)
        image = hu_at(place_mm + rows[..., None] * 0.8 * down + columns[..., None] * 0.7 * across
                      ) if values is None else values[place]
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{place + 1}"
        path = folder / f"{count - place:03d}.dcm"        # sorted by name they run backwards
        held = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        known: dict[str, Any] = {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"{given.get('SeriesInstanceUID', '1.2.3')}.{place + 1}",
            "Modality": "CT", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.9", "PatientID": "P1",
            "Manufacturer": "ACME", "ConvolutionKernel": "B30", "KVP": 120, "SliceThickness": 2.0, "Exposure": 100,
            "CTDIvol": 4.0, "PixelSpacing": [0.8, 0.7], "ImagePositionPatient": list(at),
            "ImageOrientationPatient": list(axes), "Rows": image.shape[0], "Columns": image.shape[1],
            "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1,
            "PhotometricInterpretation": "MONOCHROME2", "RescaleSlope": _SLOPE, "RescaleIntercept": 0,
            "PixelData": np.rint(image / _SLOPE).astype(np.int16).tobytes()}
        for keyword, value in (known | given).items():
            if value is not None:
                setattr(held, keyword, value)
        held.save_as(path, enforce_file_format=True)
    return folder


def write_marking(path: Path, kind: str, **content: Any) -> Path:
    """A file of a kind of its own (RTSTRUCT, SEG, SR) with this content."""
    from pydicom import uid
    from pydicom.dataset import FileDataset, FileMetaDataset

    stored = {"RTSTRUCT": uid.RTStructureSetStorage, "SEG": uid.SegmentationStorage,
              "SR": uid.Comprehensive3DSRStorage}[kind]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = stored, uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    held.SOPClassUID, held.Modality = stored, kind
    for keyword, value in content.items():
        setattr(held, keyword, value)
    held.save_as(path, enforce_file_format=True)
    return path


def item(**content: Any) -> Any:
    """An item of a sequence."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for keyword, value in content.items():
        setattr(made, keyword, value)
    return made


def write_contours(path: Path, structures: dict[str, list[NDArray[np.float64]]], series: str = "1.2.3", kind: str =
                   "CLOSED_PLANAR") -> Path:
    """An RTSTRUCT with named structures, each some contours (n, 3) in mm."""
    inner = item(SeriesInstanceUID=series)
    frame = item(FrameOfReferenceUID="1.2.9", RTReferencedStudySequence=[item(RTReferencedSeriesSequence=[inner])])
    return write_marking(
        path, "RTSTRUCT", ReferencedFrameOfReferenceSequence=[frame],
        StructureSetROISequence=[item(ROINumber=at, ROIName=name) for at, name in enumerate(structures, 1)],
        ROIContourSequence=[item(ReferencedROINumber=at, ContourSequence=[
            item(ContourGeometricType=kind, NumberOfContourPoints=len(points),
                 ContourData=[round(float(value), 4) for value in points.ravel()]) for points in contours])
            for at, contours in enumerate(structures.values(), 1)])


def write_segments(path: Path, names: Sequence[str], frames: NDArray[np.bool_], corner: Sequence[float]) -> Path:
    """A SEG on pixels of 0.8 x 0.7 mm with a segment a name, `frames` (segments, slices, rows, columns), 2 mm apart."""
    flat = frames.reshape(-1, *frames.shape[2:])
    bits = np.packbits(flat.ravel(), bitorder="little").tobytes()
    own = [item(SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment + 1)],
                PlanePositionSequence=[item(ImagePositionPatient=[corner[0], corner[1], corner[2] + 2.0 * place])])
           for segment in range(len(names)) for place in range(frames.shape[1])]
    shared = item(PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=2.0)],
                  PlaneOrientationSequence=[item(ImageOrientationPatient=list(UPRIGHT))])
    return write_marking(
        path, "SEG", SegmentationType="BINARY", Rows=flat.shape[1], Columns=flat.shape[2], NumberOfFrames=len(flat),
        SamplesPerPixel=1, BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0,
        PhotometricInterpretation="MONOCHROME2", PixelData=bits + b"\0" * (len(bits) % 2),
        ReferencedSeriesSequence=[item(SeriesInstanceUID="1.2.3")],
        SegmentSequence=[item(SegmentNumber=at, SegmentLabel=name) for at, name in enumerate(names, 1)],
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=own)


def write_groups(path: Path, groups: Sequence[tuple[str, str, Any]]) -> Path:
    """An SR with measurement groups: (tracking identifier, finding, content items of the place)."""
    def named(code: str, **content: Any) -> Any:
        return item(ConceptNameCodeSequence=[item(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning="x")],
                    **content)

    containers = [named("125007", ValueType="CONTAINER", ContentSequence=[
        named("112039", ValueType="TEXT", TextValue=tracking),
        named("121071", ValueType="CODE", ConceptCodeSequence=[item(CodeValue="1", CodingSchemeDesignator="99X",
                                                                    CodeMeaning=finding)]), place])
        for tracking, finding, place in groups]
    measured = named("126010", ValueType="CONTAINER", ContentSequence=containers)
    return write_marking(path, "SR", ContentSequence=[measured])


def write_readings(path: Path, sessions: Sequence[Sequence[tuple[dict[str, int], Sequence[Any]]]],
                   series: str = "1.2.3", root: str = "LidcReadMessage") -> Path:
    """The readers' XML of LIDC-IDRI: for each reader the nodules, each its ratings and outlines, an outline being the
    number of its slice, its pixels by row and column, and whether what is inside belongs to the nodule."""
    def roi(place: int, pixels: Any, belongs: bool) -> str:
        edges = "".join(f"<edgeMap><xCoord>{column}</xCoord><yCoord>{row}</yCoord></edgeMap>" for row, column in pixels)
        return (f"<roi><imageZposition>{place * 2.0} </imageZposition><imageSOP_UID>{series}.{place + 1}</imageSOP_UID>"
                f"<inclusion>{'TRUE' if belongs else 'FALSE'}</inclusion>{edges}</roi>")

    def nodule(grades: dict[str, int], outlines: Sequence[Any]) -> str:
        rated = "".join(f"<{name}>{value}</{name}>" for name, value in grades.items())
        rated = f"<characteristics>{rated}</characteristics>" if rated else ""
        return (f"<unblindedReadNodule><noduleID>n</noduleID>{rated}"
                f"{''.join(roi(*outline) for outline in outlines)}</unblindedReadNodule>")

    read = "".join(f"<readingSession><annotationVersion>3.12</annotationVersion>"
                   f"{''.join(nodule(*each) for each in session)}<nonNodule><nonNoduleID>x</nonNoduleID></nonNodule>"
                   "</readingSession>" for session in sessions)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://www.nih.gov" uid="1.3">'
                    "<ResponseHeader><Version>1.7</Version>"
                    f"<SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>{read}</{root}>")
    return path
