"""Reader of images listed in a table: `file,label[,patient,part,spacing_mm,...]`, by these names or stated ones."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from steadyread.cases.case_set import Cases
from steadyread.cases.imaged import imaged
from steadyread.cases.kind import Asked
from steadyread.cases.reader import reader
from steadyread.cases.readers.folders import in_order, is_image, part_of, refuse_two_spellings
from steadyread.cases.row import Row
from steadyread.cases.set_aside import without_excluded
from steadyread.cases.tables import Line, has_columns, header_of, inside, is_table, read_table
from steadyread.errors import InputRefused, UsageError
from steadyread.files import as_written, entries, files_below, is_folder, is_regular, nearest
from steadyread.names import shown

_NEAREST = 20   # missing files whose nearest name is looked for
_OWN = ("file", "label", "patient", "part", "spacing_mm")
# Other names of columns that have one meaning, without what separates their words.
_ALSO = {"patient": ("patientid", "subject", "subjectid"), "part": ("split", "subset", "partition")}
# What programs write where there is no value.
_NONE = frozenset(("", "nan", "na", "n/a", "<na>", "#n/a", "null"))


@dataclass(frozen=True)
class Columns:
    """What can be stated of a table.

    Args:
        file_column, label_column, patient_column, part_column: how its columns are called, where not file, label,
            patient and part.
        root: the folder that its files are in; the table's own unless stated.
        classes: the class names in order; another label is refused. By default the labels found. Where all labels are
            numbers from 0, they count these names.
    """

    file_column: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    part_column: str | None = None
    root: str | None = None
    classes: tuple[str, ...] | None = None

    @property
    def stated(self) -> dict[str, str]:
        """The columns that are called otherwise, by our name."""
        names = {own: getattr(self, f"{own}_column") for own in _OWN[:4]}
        return {own: name.strip() for own, name in names.items() if name is not None}

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be there, as the table calls them."""
        return tuple(({"file": "file"} | self.stated).values())


def recognises(path: Path) -> bool:
    """Whether `path` is such a table, or a folder with at least one."""
    return bool(_tables(path, ("file",)))


def possible(path: Path) -> bool:
    """Whether `path` is a table, or a folder with one, whatever its columns are called."""
    return bool(_tables(path, ()))


@reader("csv", recognises=recognises, order=80, defaults={"preparation": {"size": 64}}, takes=(Asked, Columns),
        looked_for="a CSV with the columns file and label, or file and a column for each finding (patient, part and "
        "spacing_mm where known), beside its files", possible=possible)
def read(path: Path, asked: Asked, columns: Columns) -> Cases:
    """The cases of a table; its paths count from its own folder, or `root`, and may not leave it. A name without a
    folder, with its ending or without, may be that of the only such file at any depth below.

    Without a column `label` no line has one: the others may hold findings (see `cases.labels.of_finding`).
    A line whose file is not there is kept in `Cases.missing`; a line without a label, or with what programs write
    for that (nan, NA, null), is unlabelled.

    Raises:
        InputRefused: a missing column, an unknown label, a path that leaves the folder, no file at all, a file with
            two labels, or labels or patients that may be one and are written in two ways.
    """
    table = _table(path, columns)
    lines, renamed = _renamed(read_table(table, columns.needed, _OWN), columns)
    stated = {_plain(line.text("label")) for line in lines}
    names, place_of = _classes(stated, columns.classes)
    refuse_two_spellings("labels", () if columns.classes else names, table)
    refuse_two_spellings("patients", {_plain(line.text("patient")) for line in lines}, table)
    root = table.parent if columns.root is None else Path(columns.root).expanduser().resolve()
    if columns.root is not None and not is_folder(root):
        raise InputRefused(f"data.options.root: {root} is no folder{nearest(root)}")
    files, searched = _located(lines, root)
    kept, excluded = without_excluded(files, root, asked.exclude)
    left = set(kept)
    rows = [_row(line, file, names, place_of) for line, file in zip(lines, files, strict=True) if file in left]
    _refuse_two_labels(rows)
    here = [row for row in rows if is_regular(row.source)]
    if not here:
        raise InputRefused(f"{table}: none of its {len(rows)} files exist; the first is looked for at "
                           f"{rows[0].source}{nearest(rows[0].source)}")
    absent = [row for row in rows if not is_regular(row.source)]
    missing = tuple(f"{row.where}: no file {row.source}{nearest(row.source) if number < _NEAREST else ''}"
                    for number, row in enumerate(absent))
    cases = imaged(shown(table.parent.name if path.is_dir() else table.stem), _distinct(here), names, root, asked)
    return replace(cases, missing=missing, notes=(
        *cases.notes, *excluded, *renamed, *searched, *_unlabelled({text for text in stated if _none(text)})))


def _table(path: Path, columns: Columns) -> Path:
    tables = _tables(path, columns.needed)
    if len(tables) == 1:
        return tables[0]
    if is_regular(path) and is_table(path):
        raise InputRefused(f"{path}: expected the columns {' and '.join(columns.needed)}; it has "
                           f"{', '.join(header_of(path)[:12]) or 'none'}: name yours with data.options.file_column and "
                           "data.options.label_column")
    names = f" ({', '.join(table.name for table in tables)}); name the one" if tables else ""
    raise InputRefused(f"{path}: expected one CSV with the columns {' and '.join(columns.needed)}, found {len(tables)}"
                       f"{names}")


def _tables(path: Path, columns: Sequence[str]) -> list[Path]:
    files = [path] if is_regular(path) else entries(path) if is_folder(path) else []
    return [file for file in files if is_table(file) and has_columns(file, columns)]


def _classes(stated: set[str], asked: tuple[str, ...] | None) -> tuple[tuple[str, ...], Callable[[str], int | None]]:
    """The class names, and which of them a label means: None for none, -1 for one that is unknown.

    Raises:
        UsageError: two of the same name.
    """
    labels = {text for text in stated if not _none(text)}
    names = tuple(map(_plain, asked)) if asked else in_order(labels)
    if len(set(names)) != len(names):
        raise UsageError(f"classes must be different names; got {', '.join(names)}")
    places = {name: place for place, name in enumerate(names)}
    if asked and labels and all(re.fullmatch(r"\d+(\.0*)?", text) for text in labels) and not labels & places.keys():
        places = {text: int(float(text)) for text in labels if float(text) < len(names)}
    return names, lambda label: None if _none(label) else places.get(label, -1)


def _located(lines: Sequence[Line], root: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Each line's file, and a sentence on those that are found by their name alone."""
    @cache
    def below() -> dict[str, list[Path]]:
        named: dict[str, list[Path]] = defaultdict(list)
        for file in files_below(root) if is_folder(root) else ():
            for name in {file.name, file.stem.removesuffix(".nii")} if is_image(file) else ():
                named[name].append(file)
        return named

    files, found = [], 0
    for line in lines:
        name = line.text("file")
        if Path(name).is_relative_to(root.absolute()):
            name = str(Path(name).relative_to(root.absolute()))
        file = as_written(root, inside(root, name, line.where))
        if file.parent == root and not is_regular(file):
            alike = below().get(file.name, ())
            if len(alike) > 1:
                raise InputRefused(f"{line.where}: '{name}' may be {alike[0].relative_to(root)} or "
                                   f"{alike[1].relative_to(root)}: write the path from {root}")
            found += len(alike)
            file = alike[0] if alike else file
        files.append(file)
    return files, (f"{found} of {len(files)} files are found by their name, in a folder below or with an ending that "
                   "the table leaves out",) if found else ()


def _row(line: Line, file: Path, classes: tuple[str, ...], place_of: Callable[[str], int | None]) -> Row:
    name, label, patient, part = (_plain(line.text(column)) for column in ("file", "label", "patient", "part"))
    place = place_of(label)
    if place == -1:
        raise InputRefused(f"{line.where}: unknown label '{label}'; expected one of {', '.join(classes)}")
    known = "patient" in line.values
    if known and _none(patient):
        raise InputRefused(f"{line.where}: no patient; name one in every line or drop the column")
    if part and not part_of(part):
        raise InputRefused(f"{line.where}: unknown part '{part}'; expected train, validation or test")
    spacing = line.number_in("spacing_mm") if line.text("spacing_mm") else None
    if spacing is not None and spacing <= 0:
        raise InputRefused(f"{line.where}: spacing_mm must be positive; got {spacing:g}")
    extras = {key: value for key, value in line.values.items() if key and key not in _OWN}
    return Row(name, patient if known else "", place, label,
               None if spacing is None else (spacing, spacing), part_of(part) or "", file, line.where, extras)


def _renamed(lines: list[Line], columns: Columns) -> tuple[list[Line], tuple[str, ...]]:
    """The lines with columns of other names under ours, those that are stated and known ones where ours are not there,
    and a sentence on each of the latter."""
    notes, names = [], columns.stated
    lines = [replace(line, values={**{key: value for key, value in line.values.items()
                                      if key not in names and key not in names.values()},
                                   **{own: line.values[name] for own, name in names.items()}}) for line in lines]
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
