"""CT series in DICOM with places in them: cubes about the points of a table, or about what RTSTRUCT, SEG or SR mark."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from steadyread.cases.boxes import Box, Size, cases_of, told_beyond
from steadyread.cases.case_set import Cases
from steadyread.cases.marks import Points, inside_outlines, marked, refuse_many
from steadyread.cases.placed import SeriesBelow, about, boxed, row_of, told_doses
from steadyread.cases.reader import reader
from steadyread.cases.readers.folders import in_order, part_of
from steadyread.cases.row import Row
from steadyread.cases.set_aside import without_excluded
from steadyread.cases.stack import Stack, series_among
from steadyread.cases.structures import Structure, is_marking, structures
from steadyread.cases.tables import Line, header_of, is_table, read_table
from steadyread.errors import InputRefused
from steadyread.files import entries, files_below, is_folder, is_regular
from steadyread.names import shown

# The columns of a table of points, each with other names that it may have (LUNA16's among them).
_COLUMNS = {"x": ("x_mm", "coordx"), "y": ("y_mm", "coordy"), "z": ("z_mm", "coordz"), "label": ("class",),
            "series": ("seriesuid", "series_uid", "seriesinstanceuid"),
            "patient": ("patient_id", "patientid", "subject"), "part": ("split",), "id": ("nodule_id",)}
_AXES = ("x", "y", "z")
_NEEDED = (*_AXES, "label")
_DICOM = ("", ".dcm", ".dicom", ".ima")
_AXIAL = (0, 1, 2)
_LETTER = r"[^\W\d_]"


@dataclass(frozen=True)
class Cut:
    """What can be stated of the cubes.

    Args:
        box_mm: a cube's sides, one value or (z, y, x).
        spacing_mm: of the grid that it is read on.
        classes: the class names in order. Structures are of the class that their name or finding has as a word, in
            capitals or not; those with none, with several or with a denied one (`non-malignant`) are left out.
        coordinates: of a table: `LPS` (x to the patient's left, y to the back: DICOM, ITK) or `RAS`.
        series: which series, where a table names none and there are several: its uid or the end of it.
        root: the folder of the DICOM files, absolute or from the table's own, which it is unless stated.
        label_column, patient_column, part_column: how a table's columns are called, where not label, patient and part.
        exclude: patterns of files and folders to leave out.
    """

    box_mm: float | tuple[float, ...] = 32.0
    spacing_mm: float = 1.0
    classes: tuple[str, ...] | None = None
    coordinates: Literal["LPS", "RAS"] = "LPS"
    series: str | None = None
    root: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    part_column: str | None = None
    exclude: str | tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """Of the cubes. UsageError where they have none."""
        return Size.of(self.box_mm, self.spacing_mm)

    def column(self, header: Sequence[str], own: str) -> str | None:
        """By which name a table has one of our columns, None where it has none."""
        stated = getattr(self, f"{own}_column", None)
        known = (own, *_COLUMNS[own]) if stated is None else (stated.casefold(),)
        return next((name for name in header if name.casefold() in known), None)


def recognises(path: Path) -> bool:
    """Whether `path` is a table of points, or a folder with one or with an RTSTRUCT, SEG or SR file below it."""
    return bool(_tables(path, _NEEDED)) or (is_folder(path) and any(map(is_marking, _dicom(path))))


@reader("ct", recognises=recognises, order=60, defaults={"preparation": {"window": (-1000.0, 400.0)}},
        looked_for="DICOM series with a CSV of points (x, y, z, label), or RTSTRUCT, SEG or SR files", takes=(Cut,),
        possible=lambda path: bool(_tables(path, _AXES)))
def read(path: Path, cut: Cut) -> Cases:
    """A cube about each point, (1, z, y, x) in HU: z towards the head, y the back, x the patient's left.

    A cube is centred at its point and read by plain linear interpolation, see `Box`; an even number of points along an
    axis lies about it evenly. The points are the lines of a table (x, y, z in the patient's mm), or, where there is no
    table, the middles of what RTSTRUCT, SEG and SR files mark. The columns kvp, exposure_mas (the dose of the mean
    noise of the slices that a cube touches), ctdivol_mgy, convolution_kernel, slice_thickness_mm, slice_spacing_mm and
    pixel_spacing_mm come from the tags; a table's further columns are carried along.

    A label is the table's, or the structure's name without a number behind it (of an SR the finding, where it has one).

    Raises:
        InputRefused: a missing column, nothing marked, or no cube that can be read, with the first one's reason:
            slices that are missing or unevenly spaced, a tilted gantry, values without rescaling, several series
            without a choice.
        UsageError: an option that is out of range.
    """
    tables = _tables(path, _AXES)
    if len(tables) > 1:
        raise InputRefused(f"{path}: {len(tables)} tables of points ({', '.join(table.name for table in tables)}); "
                           "name the one")
    root = (path if is_folder(path) else path.parent) / Path(cut.root or "").expanduser()
    files, excluded = without_excluded(list(_dicom(root)), root, cut.exclude)
    marking = () if tables else tuple(file for file in files if is_marking(file))
    known = SeriesBelow(root, series_among(sorted(set(files).difference(marking))))
    others: list[str] = []
    rows = list(_of_table(tables[0], known, cut) if tables else _of_structures(marking, known, cut, others))
    if not rows:
        raise InputRefused(f"{path}: nothing is marked in its {len(marking)} RTSTRUCT, SEG and SR files"
                           + (f" that is one of {', '.join(cut.classes)}" if cut.classes else ""))
    problems = [row for row in rows if row.source.problem]
    if len(problems) == len(rows):
        raise InputRefused(problems[0].source.problem)
    names = cut.classes or in_order({row.raw_label for row in rows if row.raw_label})
    unknown = next((row for row in rows if row.raw_label and row.raw_label not in names), None)
    if unknown is not None:
        raise InputRefused(f"{unknown.where}: unknown label '{unknown.raw_label}'; expected one of {', '.join(names)}")
    rows = [replace(row, label=names.index(row.raw_label) if row.raw_label else None) for row in rows]
    notes = [told_beyond(rows, cut.size), *excluded, *told_doses(known.series)]
    if problems:
        notes.append(f"{len(problems)} of {len(rows)} cubes cannot be read, the first: {problems[0].source.problem}")
    if others:
        notes.append(f"{len(others)} structures are of none of these classes, such as '{others[0]}', and left out")
    return replace(cases_of(shown(root.name), rows, names, (), notes),
                   patients_known=all(row.patient != row.id for row in rows if not row.source.problem))


def _of_table(table: Path, known: SeriesBelow, cut: Cut) -> Iterator[Row]:
    size = cut.size
    for line in _lines(table, cut):
        point = np.array([line.number_in(axis) for axis in _AXES]) * ((-1, -1, 1) if cut.coordinates == "RAS" else 1)
        patient, part = shown(line.text("patient")), line.text("part")
        if part and not part_of(part):
            raise InputRefused(f"{line.where}: unknown part '{part}'; expected train, validation or test")
        name = line.text("series") or cut.series

        def placed(name: str | None = name, patient: str = line.text("patient"), point: Points = point) -> Box:
            stack = known.named(name) if name else known.of_patient(patient)
            return about(stack, size, stack.voxel(point[None])[0])

        extras = {key: value for key, value in line.values.items() if key and key not in _COLUMNS}
        row = row_of(shown(line.text("id")) or f"{table.stem}-{line.number}", shown(line.text("label")), line.where,
                     boxed(placed, size, line.where), extras)
        yield replace(row, patient=patient or row.patient, part=part_of(part) or "")


def _of_structures(files: Sequence[Path], known: SeriesBelow, cut: Cut, others: list[str]) -> Iterator[Row]:
    """The structures that are of a class; the names of the `others` are added there."""
    size = cut.size
    for file in files:
        for number, structure in enumerate(structures(file), 1):
            label = _class_of(structure, cut.classes)
            if label is None:
                others.append(shown(structure.name))
            else:
                def placed(structure: Structure = structure) -> Box:
                    return _box_of(structure, _series_of(structure, known, cut.series), size)

                yield row_of(f"{shown(file.relative_to(known.root).as_posix())}#{number}", label, structure.where,
                             boxed(placed, size, structure.where), {"structure": shown(structure.name)})


def _series_of(structure: Structure, known: SeriesBelow, series: str | None) -> Stack:
    if structure.series:
        return known.of(structure.series)
    if structure.pixels:
        return known.with_image(structure.pixels[0][0])
    return known.named(series) if series else known.in_frame(structure.frame)


def _box_of(structure: Structure, stack: Stack, size: Size) -> Box:
    """The box about the middle of what is marked: of the voxels inside, or of the points where none is."""
    refuse_many(structure.voxels)
    voxels = stack.voxel(structure.points) if len(structure.points) else np.empty((0, 3))
    outlines = [stack.voxel(outline) for outline in structure.outlines]
    for uid, pixels in structure.pixels:
        if uid not in stack.uids:
            raise InputRefused(f"it marks the image ...{uid[-12:]}, which is not in the series ...{stack.uid[-12:]}")
        voxels = np.concatenate([voxels, stack.pixel(stack.uids[uid], pixels)])
    if outlines and stack.order != _AXIAL:
        raise InputRefused("outlines are read in axial series only; give the axial series")
    places = np.rint(voxels).astype(np.int64) if structure.middles else inside_outlines(outlines, stack.shape)
    marks = marked(places, stack.shape, stack.spacing_mm)
    points = voxels if len(voxels) else np.concatenate(outlines)
    centre = np.array(marks.centre) if marks is not None and not structure.middles else points.mean(0)
    return about(stack, size, centre, marks)


def _class_of(structure: Structure, classes: Sequence[str] | None) -> str | None:
    """The class that a structure's name or finding means, None where it is none of them, several, or a denied one."""
    if classes is None:
        return shown(structure.finding or re.sub(r"[\W_]*\d+$", "", structure.name).strip()) or None
    text = f"{structure.name} {structure.finding}".casefold()
    words = {each: rf"(?<!{_LETTER}){re.escape(each.casefold())}(?!{_LETTER})" for each in classes}
    named = [each for each, word in words.items() if re.search(word, text)]
    named = [each for each in named if not any(each.casefold() in other.casefold() for other in named if other != each)]
    denied = len(named) == 1 and re.search(rf"(?<!{_LETTER})(non|not|no)[\W_]+{words[named[0]]}", text)
    return named[0] if len(named) == 1 and not denied else None


def _lines(table: Path, cut: Cut) -> list[Line]:
    """The lines of a table, its columns under our names."""
    header = header_of(table)
    names = {name: own for own in _COLUMNS if (name := cut.column(header, own)) is not None}
    lines = read_table(table, tuple(name for name, own in names.items() if own in _NEEDED))
    if "label" not in names.values():
        raise InputRefused(f"{table}: no column '{cut.label_column or 'label'}'; it has {', '.join(header[:12])}: name "
                           "yours with data.options.label_column")
    return [replace(line, values={names.get(key, key): value for key, value in line.values.items()}) for line in lines]


def _tables(path: Path, needed: Sequence[str]) -> list[Path]:
    """The tables at `path` that have these of our columns, and no files as tables of images have."""
    files = [path] if is_regular(path) else entries(path) if is_folder(path) else []
    headers = {file: header_of(file) for file in files if is_table(file)}
    return [file for file, header in headers.items() if all(Cut().column(header, own) for own in needed)
            and not any(name.casefold() == "file" for name in header)]


def _dicom(folder: Path) -> Iterator[Path]:
    """The files below a folder whose name may be that of a DICOM file."""
    yield from (file for file in files_below(folder) if file.name.upper() != "DICOMDIR" and (
        file.suffix.lower() in _DICOM or re.fullmatch(r"[\d.]+", file.name)))     # a name may be a uid
