"""Reader of pictures listed in a CSV: `file,label[,patient,part,spacing_mm,...]`."""

import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

from steadyread.cases.case_set import Cases, Row
from steadyread.cases.folders import in_order, part_of
from steadyread.cases.pictures import Channels, look_of, picture_shape, read_picture
from steadyread.cases.set_aside import Exclude, without_excluded
from steadyread.cases.tables import Line, has_columns, inside, is_table, read_table
from steadyread.errors import InputRefused, UsageError
from steadyread.files import as_written, entries, is_folder, is_regular, nearest
from steadyread.names import shown

_NEAREST = 20   # missing files whose nearest name is looked for
_OWN = ("file", "label", "patient", "part", "spacing_mm")
LOOKED_FOR = "a CSV with the columns file and label (patient, part and spacing_mm where known), beside its files"


def recognises(path: Path) -> bool:
    """Whether `path` is such a CSV, or a folder with at least one."""
    return bool(_tables(path))


def read(path: Path, channels: Channels = "auto", classes: tuple[str, ...] | None = None, exclude: Exclude = ()
         ) -> Cases:
    """The cases of a CSV; its paths count from its own folder and may not leave it.

    A line whose file is not there is kept in `Cases.missing`; a line without a label is unlabelled.

    Args:
        channels: as for class folders.
        classes: the class names in order; a label beyond them is refused. By default the labels found.
        exclude: patterns of files to leave out, such as `*_overlay*`.

    Raises:
        InputRefused: a missing column, an unknown label, a path that leaves the folder, no file at all.
    """
    tables = _tables(path)
    if len(tables) != 1:
        raise InputRefused(f"{path}: expected one CSV with the columns file and label, found {len(tables)}"
                           + (f" ({', '.join(table.name for table in tables)}); name the one" if tables else ""))
    table = tables[0]
    lines = read_table(table, ("file", "label"), _OWN)
    present = in_order({_plain(line.text("label")) for line in lines} - {""})
    names = tuple(map(_plain, classes)) if classes else present
    if len(set(names)) != len(names):
        raise UsageError(f"classes must be different names; got {', '.join(names)}")
    known = "patient" in lines[0].values
    files = [as_written(table.parent, inside(table.parent, line.text("file"), line.where)) for line in lines]
    kept, excluded = without_excluded(files, table.parent, exclude)
    left = set(kept)
    rows = [_row(line, file, names, known) for line, file in zip(lines, files, strict=True) if file in left]
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
                 lambda row: read_picture(row.source, look), names, look.bounds, known, missing, (how, *excluded))


def _tables(path: Path) -> list[Path]:
    files = [path] if is_regular(path) else entries(path) if is_folder(path) else []
    return [file for file in files if is_table(file) and has_columns(file, ("file", "label"))]


def _row(line: Line, file: Path, classes: tuple[str, ...], known: bool) -> Row:
    name, label, patient, part = (_plain(line.text(column)) for column in ("file", "label", "patient", "part"))
    if label and label not in classes:
        raise InputRefused(f"{line.where}: unknown label '{label}'; expected one of {', '.join(classes)}")
    if known and not patient:
        raise InputRefused(f"{line.where}: no patient; name one in every line or drop the column")
    if part and not part_of(part):
        raise InputRefused(f"{line.where}: unknown part '{part}'; expected train, validation or test")
    spacing = line.number_in("spacing_mm") if line.text("spacing_mm") else None
    if spacing is not None and spacing <= 0:
        raise InputRefused(f"{line.where}: spacing_mm must be positive; got {spacing:g}")
    extras = {key: value for key, value in line.values.items() if key and key not in _OWN}
    return Row(name, patient if known else name, classes.index(label) if label else None, label,
               None if spacing is None else (spacing, spacing), part_of(part) or "", file, line.where, extras)


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
