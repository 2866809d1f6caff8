"""Reader of pictures listed in a CSV: `file,label[,patient,part,spacing_mm,...]`."""

import re
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

from steadyread.cases.case_set import Cases
from steadyread.cases.pictures import Channels, look_of, picture_shape, read_picture
from steadyread.cases.reader import reader
from steadyread.cases.readers.folders import in_order, part_of, refuse_two_spellings
from steadyread.cases.row import Row
from steadyread.cases.set_aside import Exclude, without_excluded
from steadyread.cases.tables import Line, has_columns, inside, is_table, read_table
from steadyread.errors import InputRefused, UsageError
from steadyread.files import as_written, entries, is_folder, is_regular, nearest
from steadyread.names import shown

_NEAREST = 20   # missing files whose nearest name is looked for
_OWN = ("file", "label", "patient", "part", "spacing_mm")
# Other names of columns that have one meaning, without what separates their words.
_ALSO = {"patient": ("patientid", "subject", "subjectid"), "part": ("split", "subset", "partition")}
# What programs write where there is no value.
_NONE = frozenset(("", "nan", "na", "n/a", "<na>", "#n/a", "null"))


def recognises(path: Path) -> bool:
    """Whether `path` is such a CSV, or a folder with at least one."""
    return bool(_tables(path))


@reader("csv", recognises=recognises, order=80, defaults={"preparation": {"size": 64}},
        looked_for="a CSV with the columns file and label, or file and a column for each finding (patient, part and "
        "spacing_mm where known), beside its files")
def read(path: Path, channels: Channels = "auto", classes: tuple[str, ...] | None = None, exclude: Exclude = ()
         ) -> Cases:
    """The cases of a CSV; its paths count from its own folder and may not leave it.

    Without a column `label` no line has one: the others may hold findings (see `cases.labels.of_finding`).
    A line whose file is not there is kept in `Cases.missing`; a line without a label, or with what programs write
    for that (nan, NA, null), is unlabelled.

    Args:
        channels: as for class folders.
        classes: the class names in order; a label beyond them is refused. By default the labels found.
        exclude: patterns of files to leave out, such as `*_overlay*`.

    Raises:
        InputRefused: a missing column, an unknown label, a path that leaves the folder, no file at all, a file with
            two labels, or labels or patients that may be one and are written in two ways.
    """
    tables = _tables(path)
    if len(tables) != 1:
        raise InputRefused(f"{path}: expected one CSV with the columns file and label, found {len(tables)}"
                           + (f" ({', '.join(table.name for table in tables)}); name the one" if tables else ""))
    table = tables[0]
    lines, renamed = _renamed(read_table(table, ("file",), _OWN))
    stated = {_plain(line.text("label")) for line in lines}
    names = tuple(map(_plain, classes)) if classes else in_order({name for name in stated if not _none(name)})
    refuse_two_spellings("labels", () if classes else names, table)
    refuse_two_spellings("patients", {_plain(line.text("patient")) for line in lines}, table)
    if len(set(names)) != len(names):
        raise UsageError(f"classes must be different names; got {', '.join(names)}")
    known = "patient" in lines[0].values
    files = [as_written(table.parent, inside(table.parent, line.text("file"), line.where)) for line in lines]
    kept, excluded = without_excluded(files, table.parent, exclude)
    left = set(kept)
    rows = [_row(line, file, names, known) for line, file in zip(lines, files, strict=True) if file in left]
    _refuse_two_labels(rows)
    here = [row for row in rows if is_regular(row.source)]
    if not here:
        raise InputRefused(f"{table}: none of its {len(rows)} files exist; the first is looked for at "
                           f"{rows[0].source}{nearest(rows[0].source)}")
    absent = [row for row in rows if not is_regular(row.source)]
    missing = tuple(f"{row.where}: no file {row.source}{nearest(row.source) if number < _NEAREST else ''}"
                    for number, row in enumerate(absent))
    look, how = look_of([row.source for row in here], channels)
    here = [replace(row, shape=(look.channels, *picture_shape(row.source))) if row.spacing_mm else row
            for row in here]
    return Cases(shown(table.parent.name if path.is_dir() else table.stem), _distinct(here),
                 lambda row: read_picture(row.source, look), names, look.bounds, known, missing,
                 (how, *excluded, *renamed, *_unlabelled(stated - set(names))))


def _tables(path: Path) -> list[Path]:
    files = [path] if is_regular(path) else entries(path) if is_folder(path) else []
    return [file for file in files if is_table(file) and has_columns(file, ("file",))]


def _row(line: Line, file: Path, classes: tuple[str, ...], known: bool) -> Row:
    name, label, patient, part = (_plain(line.text(column)) for column in ("file", "label", "patient", "part"))
    if label not in classes and not _none(label):
        raise InputRefused(f"{line.where}: unknown label '{label}'; expected one of {', '.join(classes)}")
    if known and _none(patient):
        raise InputRefused(f"{line.where}: no patient; name one in every line or drop the column")
    if part and not part_of(part):
        raise InputRefused(f"{line.where}: unknown part '{part}'; expected train, validation or test")
    spacing = line.number_in("spacing_mm") if line.text("spacing_mm") else None
    if spacing is not None and spacing <= 0:
        raise InputRefused(f"{line.where}: spacing_mm must be positive; got {spacing:g}")
    extras = {key: value for key, value in line.values.items() if key and key not in _OWN}
    return Row(name, patient if known else name, classes.index(label) if label in classes else None, label,
               None if spacing is None else (spacing, spacing), part_of(part) or "", file, line.where, extras)


def _renamed(lines: list[Line]) -> tuple[list[Line], tuple[str, ...]]:
    """The lines with columns of other names under ours, where these are not there, and a sentence on each."""
    notes = []
    for own, others in _ALSO.items():
        header = () if own in lines[0].values else tuple(lines[0].values)
        for name in [name for name in header if re.sub(r"[\W_]", "", name.casefold()) in others][:1]:
            if own != "part" or all(part_of(line.text(name)) or _none(line.text(name)) for line in lines):
                lines = [replace(line, values={own if key == name else key: value
                                               for key, value in line.values.items()}) for line in lines]
                notes.append(f"the column '{name}' is read as {own}")
    return lines, tuple(notes)


def _none(text: str) -> bool:
    return text.casefold() in _NONE


def _unlabelled(texts: set[str]) -> tuple[str, ...]:
    written = sorted(texts - {""})
    return (f"what has the label {', '.join(written)} is taken to have none",) if written else ()


def _refuse_two_labels(rows: list[Row]) -> None:
    first: dict[Path, Row] = {}
    for row in rows:
        other = first.setdefault(row.source, row)
        if row.label is not None and other.label is None:
            first[row.source] = row
        elif row.label not in (None, other.label):
            raise InputRefused(f"{row.where}: the file '{row.id}' has the label '{row.raw_label}', and "
                               f"'{other.raw_label}' in {other.where}; expected one label a file")


def _plain(text: str) -> str:
    """A name as it is shown and compared: one that is written in two ways in Unicode is one."""
    return unicodedata.normalize("NFC", shown(text))


def _distinct(rows: list[Row]) -> tuple[Row, ...]:
    """The rows, a file that is listed again told apart by a number behind its id."""
    seen: Counter[str] = Counter()
    result = []
    for row in rows:
        seen[row.id] += 1
        again = seen[row.id] > 1
        result.append(replace(row, id=f"{row.id}#{seen[row.id]}") if again else row)
    return tuple(result)
