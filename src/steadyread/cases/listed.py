"""Reader of pictures listed in a CSV: `file,label[,patient,part,spacing_mm,...]`."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from steadyread.cases.case_set import Cases, Row
from steadyread.cases.folders import PARTS, in_order
from steadyread.cases.pictures import Channels, look_of, picture_shape, read_picture
from steadyread.cases.tables import Line, header_of, inside, read_table
from steadyread.errors import InputRefused, UsageError

_OWN = ("file", "label", "patient", "part", "spacing_mm")
LOOKED_FOR = "a CSV with the columns file and label (patient, part and spacing_mm where known), beside its files"


def recognises(path: Path) -> bool:
    """Whether `path` is such a CSV, or a folder with at least one."""
    return bool(_tables(path))


def read(path: Path, channels: Channels = "auto", classes: tuple[str, ...] | None = None) -> Cases:
    """The cases of a CSV; its paths count from its own folder and may not leave it.

    A line whose file is not there is kept in `Cases.missing`; a line without a label is unlabelled.

    Args:
        channels: as for class folders.
        classes: the class names in order; a label beyond them is refused. By default the labels found.

    Raises:
        InputRefused: a missing column, an unknown label, a path that leaves the folder, no file at all.
    """
    tables = _tables(path)
    if len(tables) != 1:
        raise InputRefused(f"{path}: expected one CSV with the columns file and label, found {len(tables)}"
                           + (f" ({', '.join(table.name for table in tables)}); name the one" if tables else ""))
    table = tables[0]
    lines = read_table(table, ("file", "label"))
    names = classes or in_order({line.text("label") for line in lines} - {""})
    if len(set(names)) != len(names):
        raise UsageError(f"classes must be different names; got {', '.join(names)}")
    known = "patient" in lines[0].values
    files = [inside(table.parent, line.text("file"), line.where) for line in lines]
    rows = [_row(line, file, names, known) for line, file in zip(lines, files, strict=True)]
    here = [row for row in rows if row.source.is_file()]
    if not here:
        raise InputRefused(f"{table}: none of its {len(rows)} files exist; the first is looked for at {files[0]}")
    missing = tuple(f"{row.where}: no file {row.source}" for row in rows if not row.source.is_file())
    look, how = look_of([row.source for row in here], channels)
    here = [replace(row, shape=(look.channels, *picture_shape(row.source))) if row.spacing_mm else row
            for row in here]
    return Cases(table.parent.name if path.is_dir() else table.stem, _distinct(here),
                 lambda row: read_picture(row.source, look), names, look.bounds, known, missing, (how,))


def _tables(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.glob("*.csv"))
    found = [table for table in found if table.suffix.lower() == ".csv"]
    return [table for table in found if {"file", "label"} <= set(header_of(table))]


def _row(line: Line, file: Path, classes: tuple[str, ...], known: bool) -> Row:
    name, label, patient, part = (line.text(column) for column in ("file", "label", "patient", "part"))
    if label and label not in classes:
        raise InputRefused(f"{line.where}: unknown label '{label}'; expected one of {', '.join(classes)}")
    if known and not patient:
        raise InputRefused(f"{line.where}: no patient; name one in every line or drop the column")
    if part and part.lower() not in PARTS:
        raise InputRefused(f"{line.where}: unknown part '{part}'; expected train, validation or test")
    spacing = line.number_in("spacing_mm") if line.text("spacing_mm") else None
    if spacing is not None and spacing <= 0:
        raise InputRefused(f"{line.where}: spacing_mm must be positive; got {spacing:g}")
    extras = {key: value for key, value in line.values.items() if key not in _OWN}
    return Row(name, patient if known else name, classes.index(label) if label else None, label,
               None if spacing is None else (spacing, spacing), PARTS[part.lower()] if part else "", file,
               line.where, extras)


def _distinct(rows: list[Row]) -> tuple[Row, ...]:
    """The rows, a file that is listed again told apart by a number behind its id."""
    seen: Counter[str] = Counter()
    result = []
    for row in rows:
        seen[row.id] += 1
        again = seen[row.id] > 1
        result.append(replace(row, id=f"{row.id}#{seen[row.id]}") if again else row)
    return tuple(result)
