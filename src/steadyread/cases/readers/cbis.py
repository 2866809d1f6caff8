"""CBIS-DDSM (doi:10.1038/sdata.2017.177) as users hold it: case descriptions, and the crops as pictures."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from steadyread.cases.case_set import Cases
from steadyread.cases.kind import Channels
from steadyread.cases.pictures import SUFFIXES, look_of, read_picture
from steadyread.cases.reader import reader
from steadyread.cases.row import Row
from steadyread.cases.set_aside import Exclude, without_excluded
from steadyread.cases.tables import Line, has_columns, inside, read_table
from steadyread.errors import InputRefused
from steadyread.files import entries, is_folder, is_regular
from steadyread.names import shown

_PATH = "cropped image file path"
_COLUMNS = ("patient_id", "pathology", _PATH)
_LABELS = {"BENIGN": 0, "BENIGN_WITHOUT_CALLBACK": 0, "MALIGNANT": 1}
_EXTRAS = ("abnormality type", "abnormality id", "left or right breast", "image view", "assessment", "subtlety")
_INFO = "dicom_info.csv"
LOOKED_FOR = "mass_ or calc_case_description_train_ or test_set.csv, here or in csv/ (CBIS-DDSM)"


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with a case description."""
    return bool(_tables(path))


@reader("cbis-ddsm", recognises=recognises, order=30, defaults={"preparation": {"size": 96}},
        looked_for=LOOKED_FOR)
def read(path: Path, channels: Channels = "grey", exclude: Exclude = ()) -> Cases:
    """The lesions of the case descriptions; the part is train or test by the CSV's name.

    MALIGNANT is malignant, BENIGN and BENIGN_WITHOUT_CALLBACK are benign. The CSVs name DICOM files
    (`Mass-Training_P_00001_LEFT_CC_1/<study>/<series>/000000.dcm`); the picture (png, jpg, ...) of each is
    looked for, in this order and here, in images/ and in jpeg/, at

    1. the same path with the picture's ending,
    2. `Mass-Training_P_00001_LEFT_CC_1.png`, or the only picture directly in a folder of that name,
    3. the `image_path` of dicom_info.csv for that PatientID whose SeriesDescription is `cropped images`,
    4. the only picture in the folder named after the series (`jpeg/<series>/1-001.jpg`).

    The crops follow the lesions' outlines, so their size tells something of the label: see the audit.

    Args:
        channels: as for class folders.
        exclude: patterns of pictures to leave out.

    Raises:
        InputRefused: another pathology, a path that leaves the folder, no picture at all.
    """
    tables = _tables(path)
    if not tables:
        raise InputRefused(f"{path}: expected {LOOKED_FOR}")
    listed = _listed_crops(path)
    rows: list[Row] = []
    missing: list[str] = []
    seen: Counter[str] = Counter()
    for table in tables:
        part = "test" if "test" in table.name.lower() else "train" if "train" in table.name.lower() else ""
        for line in read_table(table, _COLUMNS):
            told = PurePosixPath(line.text(_PATH).replace("\\", "/"))
            inside(path, line.text(_PATH), line.where)
            file = next(_candidates(path, told, listed), None)
            if file is None:
                missing.append(f"{line.where}: no picture for {told}")
                continue
            seen[told.parts[0]] += 1
            again = f"#{seen[told.parts[0]]}" if seen[told.parts[0]] > 1 else ""
            rows.append(_row(line, f"{told.parts[0]}{again}", part, file))
    if not rows:
        raise InputRefused(f"{path}: none of the {len(missing)} cropped images exist as a picture; the first: "
                           f"{missing[0]}. Looked for the same path ending in {', '.join(SUFFIXES)}, here, in "
                           "images/ and in jpeg/")
    kept, excluded = without_excluded([row.source for row in rows], path, exclude)
    left = set(kept)
    rows = [row for row in rows if row.source in left]
    look, how = look_of(kept, channels)
    return Cases(shown(path.name), tuple(rows), lambda row: read_picture(row.source, look), ("benign", "malignant"),
                 look.bounds, True, tuple(missing), (how, *excluded))


def _tables(path: Path) -> list[Path]:
    return [table for folder in (path, path / "csv") if is_folder(folder) for table in entries(folder)
            if table.suffix == ".csv" and has_columns(table, _COLUMNS)]


def _row(line: Line, name: str, part: str, file: Path) -> Row:
    pathology, patient = line.text("pathology"), line.text("patient_id")
    if pathology not in _LABELS:
        raise InputRefused(f"{line.where}: unknown pathology '{pathology}'; expected one of {', '.join(_LABELS)}")
    if not patient:
        raise InputRefused(f"{line.where}: no patient_id")
    extras = {key: line.text(key) for key in _EXTRAS if line.text(key)}
    return Row(shown(name), patient, _LABELS[pathology], pathology, None, part, file, line.where, extras)


def _candidates(path: Path, told: PurePosixPath, listed: dict[str, Path]) -> Iterator[Path]:
    """The pictures that may be meant, likeliest first."""
    name = told.parts[0]
    folders = [folder for folder in (path, path / "images", path / "jpeg") if is_folder(folder)]
    for stem in (told.with_suffix("").as_posix(), name):
        yield from (file for folder in folders for suffix in SUFFIXES
                    if is_regular(file := folder / f"{stem}{suffix}"))
    yield from _only_picture(folders, name)
    if name in listed:
        yield listed[name]
    if len(told.parts) > 2:
        yield from _only_picture(folders, told.parts[-2])


def _only_picture(folders: list[Path], name: str) -> Iterator[Path]:
    for folder in folders:
        if is_folder(folder / name):
            held = [file for file in entries(folder / name) if file.suffix.lower() in SUFFIXES and is_regular(file)]
            if len(held) == 1:
                yield held[0]


def _listed_crops(path: Path) -> dict[str, Path]:
    """The crops that dicom_info.csv names, by PatientID, where there is such a table."""
    table = next((folder / _INFO for folder in (path, path / "csv") if is_regular(folder / _INFO)), None)
    if table is None:
        return {}
    found: dict[str, Path] = {}
    for line in read_table(table, ("PatientID", "SeriesDescription", "image_path")):
        if line.text("SeriesDescription") == "cropped images":
            place = line.text("image_path").removeprefix("CBIS-DDSM/")
            file = inside(path, place, line.where)
            if is_regular(file):
                found[line.text("PatientID")] = file
    return found
