"""LIDC-IDRI as it is published (doi:10.7937/K9/TCIA.2015.LO9QL9SX): CT series in DICOM and the four readers' XML."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from steadyread.cases.boxes import OF_NODULES, Size, cases_of, told_beyond
from steadyread.cases.case_set import Cases
from steadyread.cases.labels import Rated
from steadyread.cases.lidc_xml import Drawn, Nodule, drawings, nodules
from steadyread.cases.marks import marked
from steadyread.cases.placed import about, row_of, told_doses
from steadyread.cases.reader import reader
from steadyread.cases.row import Row
from steadyread.cases.set_aside import Exclude, without_excluded
from steadyread.cases.stack import Found, Stack, series_among
from steadyread.errors import InputRefused
from steadyread.files import entries, files_below, is_folder
from steadyread.names import shown

_PATIENT = re.compile(r"LIDC-IDRI-\d{4}")
_DEEP, _FEW = 3, 20      # folders above those of the patients, as download programs make them, and what is in one


def recognises(path: Path) -> bool:
    """Whether `path` is a patient's folder of LIDC-IDRI, or leads to them."""
    return is_folder(path) and (bool(_PATIENT.fullmatch(path.name)) or _leads(path, _DEEP))


def _leads(path: Path, deep: int) -> bool:
    inner = entries(path)
    return any(_PATIENT.fullmatch(each.name) for each in inner) or (
        deep > 1 and len(inner) <= _FEW and any(is_folder(each) and _leads(each, deep - 1) for each in inner))


@reader("lidc-idri", recognises=recognises, order=25, defaults=OF_NODULES,
        looked_for="LIDC-IDRI-0001/ and so on, with DICOM series and the readers' XML below them")
def read(path: Path, box_mm: float | Sequence[float] = 32.0, spacing_mm: float = 1.0, readers: int = 1,
         labels: Literal["malignancy", "rating"] = "malignancy", xml: Path | str | None = None, exclude: Exclude = ()
         ) -> Cases:
    """A cube about each nodule of 3 mm and more, (1, z, y, x) in HU: z towards the head, y the back, x the left.

    Drawings of several readers are one nodule where they share a voxel; the nodule is what at least half of them drew,
    and the cube's middle that of its voxels (see `lidc_xml.nodules`, and `Box` for how it is read). The rating is the
    mean of the readers' malignancy; a nodule is labelled where at least `readers` readers drew it and it is not 3
    ([B], doi:10.1088/1361-6560/abc812): malignant above 3, benign below. `raw_label` is the rating; the columns have
    the other ratings' means, the diameter of a ball of the nodule's volume, and what the tags say. The headers of all
    slices are read at the start: some minutes for the whole collection.

    Args:
        box_mm: the cube's sides, one value or (z, y, x).
        spacing_mm: of the grid that it is read on.
        readers: fewer than these give no label.
        labels: "rating" gives five classes "1" to "5", the rating rounded, for the same nodules.
        xml: the folder of the readers' files, where they are not below `path`; a relative one counts from there.
        exclude: patterns of files and folders to leave out.

    Raises:
        InputRefused: no readers' files, or none that a series belongs to; no nodule whose series can be cut from.
        UsageError: an option that is out of range.
    """
    size, rated = Size.of(box_mm, spacing_mm), Rated.of(labels, readers)
    files, excluded = without_excluded(list(files_below(path)), path, exclude)
    elsewhere = [] if xml is None else list(files_below(path / Path(xml).expanduser()))
    drawn, doubled = _drawn([file for file in (*files, *elsewhere) if file.suffix.lower() == ".xml"], path)
    series = {each.uid: each for each in series_among(file for file in files if file.suffix.lower() != ".xml")}
    here = [uid for uid in drawn if uid in series]
    if not here and not any(uid in series for uid in doubled):
        raise InputRefused(f"{path}: none of its {len(series)} CT series is one of the {len(drawn)} that the XML is "
                           "about")
    rows: list[Row] = []
    missing = [f"{_patient(series[uid])}: {problem}" for uid, problem in doubled.items() if uid in series]
    for uid in here:
        try:
            rows += _rows(series[uid], drawn[uid], size, rated)
        except InputRefused as problem:
            missing.append(f"{_patient(series[uid])}: {problem}; {len(drawn[uid])} drawings are left out")
    if not rows:
        raise InputRefused(missing[0] if missing else f"{path}: no nodule of 3 mm or more is drawn in its series")
    notes = [rated.told(rows), told_beyond(rows, size), *excluded, *told_doses(series[uid] for uid in here)]
    if len(here) < len(drawn):
        notes.append(f"the CT series of {len(drawn) - len(here)} of {len(drawn)} readers' files are not here")
    return cases_of(shown(path.name), rows, rated.classes, missing, notes)


def _drawn(files: Sequence[Path], path: Path) -> tuple[dict[str, list[Drawn]], dict[str, str]]:
    """What readers drew, by the uid of the series; and what to say of series of which two files say different things.
    Copies of one file are one."""
    drawn: dict[str, list[Drawn]] = {}
    said_in: dict[str, Path] = {}
    doubled: dict[str, str] = {}
    for file in files:
        uid, nodules = drawings(file)
        other = said_in.setdefault(uid, file)
        if uid and other is not file and other.read_bytes() != file.read_bytes():
            doubled[uid] = (f"two readers' files are about its series, {shown(other.name)} and {shown(file.name)}, and "
                            "differ: leave one out (data.options.exclude)")
        drawn.setdefault(uid, nodules)
    drawn.pop("", None)       # chest X-rays, and XML of other kinds
    drawn = {uid: nodules for uid, nodules in drawn.items() if uid not in doubled}
    if not drawn and not doubled:
        raise InputRefused(f"{path}: no readers' XML (LidcReadMessage) below it; it is published beside the images, as "
                           "LIDC-XML-only: unpack that and name its folder by data.options.xml")
    return drawn, doubled


def _rows(series: Found, drawn: Sequence[Drawn], size: Size, rated: Rated) -> list[Row]:
    """The nodules of a series. InputRefused where it cannot be cut from."""
    if series.stack is None:
        raise InputRefused(series.problem)
    patient = _patient(series)
    return [replace(_row(f"{patient}-{series.uid[-6:]}-{number}", nodule, series.stack, size, rated), patient=patient)
            for number, nodule in enumerate(nodules(drawn, series.stack), 1)]


def _patient(series: Found) -> str:
    return next((part for part in series.folder.parts if _PATIENT.fullmatch(part)), shown(series.patient))


def _row(name: str, nodule: Nodule, stack: Stack, size: Size, rated: Rated) -> Row:
    marks = marked(nodule.voxels, stack.shape, stack.spacing_mm)
    box = about(stack, size, np.array(nodule.voxels.mean(0)), marks)
    rating = nodule.grades.get("malignancy", 0.0)
    extras = {"nodule_id": name, "rating": rating, "readers": nodule.readers,
              **{grade: value for grade, value in nodule.grades.items() if grade != "malignancy"}}
    row = row_of(name, f"{rating:g}", name, box, extras)
    return replace(row, label=rated.label(rating, nodule.readers))
