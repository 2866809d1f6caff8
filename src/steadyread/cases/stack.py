"""CT series as volumes whose slices are read when asked: what cubes about places in a patient are cut from."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.dicom import in_order, refuse_unreadable, why_other
from steadyread.cases.dicom_header import Header, doses, read_header, stored_as
from steadyread.cases.dicom_pixels import in_hu
from steadyread.cases.orientation import turned
from steadyread.cases.row import Pixels
from steadyread.cases.series import harmonic_mean
from steadyread.errors import InputRefused

_EVEN, _EVEN_MM = 0.01, 0.02     # by which the steps between slices may differ: a share, and what rounding makes
_SIDEWAYS_MM = 0.1               # by which the slices of an upright gantry may shift
_CT = "2"                        # of a file's storage class
_MISSING = 1.5                   # times the usual step: a slice is missing
# What is kept of a slice's header: thousands are held at once.
_KEPT = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "ImageType", "PatientID",
         "Manufacturer", "ManufacturerModelName", "SeriesDescription", "ConvolutionKernel", "KVP", "SliceThickness",
         "Exposure", "ExposureInuAs", "XRayTubeCurrent", "ExposureTime", "CTDIvol", "Rows", "Columns", "PixelSpacing",
         "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "RescaleType",
         "PhotometricInterpretation", "NumberOfFrames", "SamplesPerPixel", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class Stack:
    """A CT series known by its headers.

    The array (z, y, x) that `part` reads runs towards the head, the back and the patient's left. In DICOM's patient
    coordinates (x, y, z) in mm `first_mm` is the middle of its first voxel, and a row of `steps_mm` (3, 3) leads to the
    next one along each axis. `order` and `flips` turn (slices, rows, columns) into it, `files` being sorted along the
    slices' normal. `frame` is the uid of the frame of reference, `uids` are those of the slices (SOP), `mas` their
    doses, None where unknown. `facts` are the columns of a case that the tags fill, `doubts` what speaks against the
    doses.
    """

    uid: str
    frame: str
    patient: str
    files: tuple[Path, ...]
    uids: Mapping[str, int]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    first_mm: NDArray[np.float64]
    steps_mm: NDArray[np.float64]
    order: tuple[int, ...]
    flips: tuple[int, ...]
    mas: tuple[float | None, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def voxel(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """The places (n, 3) in voxels along (z, y, x) of points (n, 3) in the patient's (x, y, z) in mm (LPS)."""
        return np.asarray(np.linalg.solve(self.steps_mm.T, (points_mm - self.first_mm).T).T, np.float64)

    def pixel(self, slices: int, rows_columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The places (n, 3) in voxels along (z, y, x) of points (n, 2) of one slice: its row and column, from 0."""
        places = np.column_stack([np.full(len(rows_columns), float(slices)), rows_columns])[:, list(self.order)]
        for axis in self.flips:
            places[:, axis] = self.shape[axis] - 1 - places[:, axis]
        return places

    def part(self, used: tuple[slice, ...]) -> Pixels:
        """The HU of a part; only the slices that it touches are read.

        Raises:
            InputRefused: a slice that cannot be read or has changed.
        """
        slices, rows, columns = self._in_file(used)
        whole = tuple(self.shape[self.order.index(axis)] for axis in (1, 2))
        read = []
        for file in self.files[slices]:
            pixels = in_hu(file)
            if pixels.shape != whole:
                raise InputRefused(f"{file}: {pixels.shape} pixels, and {whole} when the series was looked at")
            read.append(pixels[rows, columns])
        return np.flip(np.stack(read).transpose(self.order), self.flips)

    def mas_of(self, used: tuple[slice, ...]) -> float | None:
        """The dose of the mean noise power of a part, None where one of its slices has none."""
        return harmonic_mean(self.mas[self._in_file(used)[0]])

    def _in_file(self, used: tuple[slice, ...]) -> tuple[slice, slice, slice]:
        """A part as slices, rows and columns of the files."""
        turned_back = [slice(held - part.stop, held - part.start) if axis in self.flips else part
                       for axis, (held, part) in enumerate(zip(self.shape, used, strict=True))]
        first, second, third = (turned_back[self.order.index(axis)] for axis in range(3))
        return first, second, third


@dataclass(frozen=True)
class Found:
    """A CT series that was found: its uid, patient, folder and number of slices, and its stack or why it has none."""

    uid: str
    patient: str
    folder: Path
    slices: int
    stack: Stack | None
    problem: str = ""


def series_among(files: Iterable[Path]) -> list[Found]:
    """The CT series among files. One with a file beside it that cannot be read may lack that slice: it has no stack.

    Raises:
        InputRefused: pydicom is not installed.
    """
    groups: dict[str, list[Header]] = defaultdict(list)
    broken: dict[Path, str] = {}
    for path in files:
        try:
            header = read_header(path, _KEPT)
        except InputRefused as problem:
            if stored_as(path) in ("", _CT):      # nothing else could be one of the slices
                broken[path.parent] = str(problem)
            continue
        if header is None or why_other(header) is not None:
            continue
        if uid := header.text("SeriesInstanceUID"):
            groups[uid].append(header)
        else:
            broken[path.parent] = f"{path}: a CT slice without SeriesInstanceUID: damaged? Get it again"
    return [_found(uid, headers, broken) for uid, headers in groups.items()]


def _found(uid: str, headers: Sequence[Header], broken: Mapping[Path, str]) -> Found:
    first = headers[0]
    problem = next((broken[header.path.parent] for header in headers if header.path.parent in broken), "")
    stack = None
    try:
        stack = None if problem else stack_of(headers)
    except InputRefused as refused:
        problem = str(refused)
    return Found(uid, first.text("PatientID"), first.path.parent, len(headers), stack, problem)


def stack_of(headers: Sequence[Header]) -> Stack:
    """The stack of a series' headers.

    Raises:
        InputRefused: one slice, slices that are missing, unevenly spaced, tilted or unlike, or that cannot be turned
            into HU.
    """
    for header in headers:
        refuse_unreadable(header, False)
    ordered, positions = in_order(list(headers), False)
    first = ordered[0]
    if positions is None or len(ordered) < 2:
        raise InputRefused(f"{first.path}: the series has one slice with a place; cubes need two or more")
    step = _step(ordered, positions)
    corners = np.array([header.numbers("ImagePositionPatient") for header in ordered])
    axes = np.array(first.numbers("ImageOrientationPatient"))
    along_row, along_column = axes[:3], axes[3:]
    if not np.allclose([along_row @ along_row, along_column @ along_column, along_row @ along_column], [1, 1, 0],
                       atol=1e-2):
        raise InputRefused(f"{first.path}: ImageOrientationPatient must be two perpendicular directions; got "
                           f"{axes.tolist()}")
    normal = np.cross(along_row, along_column)
    _refuse_tilted(first.path, corners, normal)
    directions = np.column_stack([normal, along_column, along_row])
    order, flips = turned(directions * [[-1], [-1], [1]], str(first.path))     # towards right, front and head
    sizes = (len(ordered), *(int(first.numbers(keyword)[0]) for keyword in ("Rows", "Columns")))
    steps = (step, *first.numbers("PixelSpacing"))
    # the array's first voxel is the files' last one along the axes that are flipped
    steps_mm = np.array([directions[:, axis] * steps[axis] * (-1 if place in flips else 1)
                         for place, axis in enumerate(order)])
    first_mm = corners[0] - sum((sizes[order[place]] - 1) * steps_mm[place] for place in flips)
    mas, findings = doses(ordered)
    return Stack(
        first.text("SeriesInstanceUID"), first.text("FrameOfReferenceUID"), first.text("PatientID"),
        tuple(header.path for header in ordered),
        {header.text("SOPInstanceUID"): place for place, header in enumerate(ordered)},
        tuple(sizes[axis] for axis in order), tuple(steps[axis] for axis in order), first_mm, steps_mm, order, flips,
        mas, _facts(ordered), tuple(each.message for each in findings if each.severity == "warning"))


def _step(ordered: Sequence[Header], positions: Sequence[float]) -> float:
    steps = np.diff(positions)
    usual = float(np.median(steps))
    wrong = np.flatnonzero(np.abs(steps - usual) > max(_EVEN * usual, _EVEN_MM))
    if len(wrong):
        at = int(wrong[0])
        told = ("slices are missing: get the whole series" if (steps[wrong] > _MISSING * usual).all() else
                "the spacing is mixed: expected one scan of even steps, resample it or leave it out")
        raise InputRefused(f"{ordered[at].path}: {steps[at]:.4g} mm to {ordered[at + 1].path.name}, {usual:.4g} mm "
                           f"elsewhere; {told}")
    return float(positions[-1] - positions[0]) / (len(positions) - 1)


def _refuse_tilted(path: Path, corners: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    moved = corners - corners[0]
    sideways = float(np.linalg.norm(moved - np.outer(moved @ normal, normal), axis=1).max())
    if sideways > _SIDEWAYS_MM:
        raise InputRefused(f"{path}: the gantry was tilted: the slices shift sideways by up to {sideways:.1f} mm; "
                           "resample the series to an upright grid first")


def _facts(headers: Sequence[Header]) -> dict[str, object]:
    """The columns of a case that the tags fill, by the names that the volumes' table has for them."""
    first = headers[0]
    doses = [dose for header in headers if (dose := header.positive("CTDIvol")) is not None]
    facts = {"manufacturer": first.text("Manufacturer"), "manufacturer_model": first.text("ManufacturerModelName"),
             "convolution_kernel": first.text("ConvolutionKernel"), "kvp": first.number("KVP"),
             "slice_thickness_mm": first.number("SliceThickness"),
             "ctdivol_mgy": round(sum(doses) / len(doses), 4) if doses else None}    # modulated along the patient
    return {name: value for name, value in facts.items() if value not in (None, "")}
