"""Data sets of Hugging Face's as `save_to_disk` leaves them: Arrow files with pictures in them, a folder a part.

Read with Arrow alone: no code of the data set is run, nothing is fetched, and `datasets` need not be installed.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from steadyread.cases.case_set import Cases
from steadyread.cases.data_sets import told_taught
from steadyread.cases.kind import Channels
from steadyread.cases.pictures import Embedded, look_of, read_picture
from steadyread.cases.reader import reader
from steadyread.cases.readers.folders import in_order, part_of
from steadyread.cases.row import Row
from steadyread.cases.tables import inside
from steadyread.errors import InputRefused
from steadyread.files import is_regular, regular_file
from steadyread.names import one_line, shown

_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"
_LARGEST = 2**24         # bytes of a JSON file
_LOOKED_AT = 256         # pictures by which grey is told from colour
_BROKEN = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error,
           RecursionError)


@dataclass(frozen=True, eq=False)
class _Part:
    """One Arrow table: its name, the folder's, and what its columns are declared as."""

    name: str
    folder: Path
    table: pa.Table
    features: Mapping[str, Any]

    def values(self, column: str) -> list[Any]:
        """A column's values. InputRefused where they are damaged."""
        try:
            found: list[Any] = self.table.column(column).to_pylist()
        except _BROKEN as problem:
            raise InputRefused(f"{self.folder}: the column '{column}' is damaged ({one_line(problem)[:100]})") from None
        return found

    def pictures(self, column: str) -> pa.ChunkedArray:
        """A column's pictures, as they are stored. InputRefused where it has none."""
        try:
            return pc.struct_field(self.table.column(column), "bytes").cast(pa.large_binary())
        except _BROKEN:
            raise InputRefused(f"{self.folder}: the column '{column}' holds no pictures, or is damaged") from None


def recognises(path: Path) -> bool:
    """Whether `path` is a folder that `save_to_disk` wrote."""
    return is_regular(path / _PARTS) or (is_regular(path / _STATE) and is_regular(path / _INFO))


@reader("hugging-face", recognises=recognises, order=65, defaults={"preparation": {"size": 64}},
        looked_for="dataset_info.json and Arrow files (a data set of Hugging Face's saved by save_to_disk)")
def read(path: Path, file_column: str | None = None, label_column: str | None = None,
         patient_column: str | None = None, channels: Channels = "auto") -> Cases:
    """The cases of a data set saved by `save_to_disk`, one or several by part (train, validation, test).

    Args:
        file_column: the column of the pictures. By default the only one declared as such.
        label_column: that of the classes. By default the only one declared as such (`ClassLabel`), else `label`.
        patient_column: that of patients. By default each image is its own patient.
        channels: as for class folders.

    Raises:
        InputRefused: damaged or compressed Arrow files, no such column, or pictures that are not in the files.
    """
    parts = _parts(path)
    image = _column(parts[0], file_column, "Image", "image")
    label = _column(parts[0], label_column, "ClassLabel", "label")
    declared = parts[0].features.get(label)
    names = declared.get("names") if isinstance(declared, Mapping) else None
    values = [[_text(value, names) for value in part.values(label)] for part in parts]
    classes = tuple(map(shown, names)) if names else in_order({value for texts in values for value in texts if value})
    rows: list[Row] = []
    for number, (part, texts) in enumerate(zip(parts, values, strict=True)):
        patients = part.values(_column(part, patient_column, "", "")) if patient_column else None
        for at, text in enumerate(texts):
            name = f"{part.name}/{at:06d}" if part.name else f"{at:06d}"
            rows.append(Row(name, shown(str(patients[at])) if patients else name,
                            classes.index(text) if text in classes else None, text, None, part_of(part.name) or "",
                            (number, at), f"{part.folder.name} row {at}"))
    if not rows:
        raise InputRefused(f"{path}: the data set is empty")
    pictures = [part.pictures(image) for part in parts]

    def picture(row: Row) -> Embedded:
        number, at = row.source
        stored = pictures[number][at].as_py()
        if not stored:
            raise InputRefused(f"{row.where}: no picture stands there, but a path elsewhere; save the data set again "
                               "by save_to_disk, which takes the pictures in")
        return Embedded(stored, row.where)

    taught = not parts[0].name and str(_json(path / _STATE).get("_split")).startswith("train")
    warnings = (told_taught(shown(path.name)),) if taught else ()
    look, how = look_of([picture(row) for row in rows[::max(1, len(rows) // _LOOKED_AT)]], channels)
    return Cases(shown(path.name), tuple(rows), lambda row: read_picture(picture(row), look), classes, look.bounds,
                 patient_column is not None, notes=(how,), warnings=warnings)


def _parts(path: Path) -> list[_Part]:
    if is_regular(path / _PARTS):
        names = _json(path / _PARTS).get("splits")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputRefused(f"{path / _PARTS}: 'splits' must name the parts; got {names!r}")
        parts = [_part(name, inside(path, name, _PARTS)) for name in names]
    else:
        parts = [_part("", path)]
    wrong = next((part.name for part in parts if part.name and not part_of(part.name)), None)
    if wrong is not None:
        raise InputRefused(f"{path}: unknown part '{shown(wrong)}'; expected train, validation or test")
    return parts


def _text(value: object, names: Sequence[str] | None) -> str:
    """A label as text, "" for none (-1 where classes are declared)."""
    if names and isinstance(value, int):
        return shown(names[value]) if 0 <= value < len(names) else ""
    return "" if value is None else shown(str(value))


def _column(part: _Part, name: str | None, kind: str, usual: str) -> str:
    """The column of this name, or the only one that is declared as of a kind, or the usual one."""
    columns = _names(part)
    declared = [each for each, feature in part.features.items() if isinstance(feature, Mapping)
                and feature.get("_type") == kind and each in columns]
    chosen = name or (declared[0] if len(declared) == 1 else usual)
    if chosen not in columns:
        many = f"; {len(declared)} are declared as {kind}" if len(declared) > 1 else ""
        raise InputRefused(f"{part.folder}: no column '{shown(chosen)}'{many}; name yours by data.options.file_column, "
                           f"label_column or patient_column: {', '.join(map(shown, columns))}")
    return chosen


def _names(part: _Part) -> list[str]:
    try:
        return list(part.table.column_names)
    except ValueError:
        raise InputRefused(f"{part.folder}: the names of its columns are damaged") from None


def _part(name: str, folder: Path) -> _Part:
    files = _json(folder / _STATE).get("_data_files")
    features = _json(folder / _INFO).get("features")
    if not isinstance(files, list) or not isinstance(features, Mapping):
        raise InputRefused(f"{folder}: {_STATE} must list '_data_files', and {_INFO} declare 'features'")
    tables = []
    for entry in files:
        stated = entry.get("filename") if isinstance(entry, Mapping) else None
        file = regular_file(inside(folder, str(stated or ""), _STATE))
        try:
            _refuse_compressed(file)
            tables.append(pa.ipc.open_stream(pa.memory_map(str(file))).read_all())
        except _BROKEN as problem:
            raise InputRefused(f"{file}: cut off, damaged or no Arrow stream ({one_line(problem)[:100]})") from None
    try:
        table = pa.concat_tables(tables)
        table.validate(full=True)        # what points outside its file would be read
        return _Part(shown(name), folder, table, features)
    except _BROKEN:
        raise InputRefused(f"{folder}: it has no Arrow files, or damaged ones, or their columns differ") from None


def _refuse_compressed(file: Path) -> None:
    """Refuses compressed batches, which `save_to_disk` never writes, before they are unpacked: Arrow would give them
    whatever memory they declare."""
    with pa.memory_map(str(file)) as source:
        for message in pa.ipc.MessageReader.open_stream(source):
            if message.type not in ("schema", "record batch"):
                raise ValueError(f"it holds a {message.type}, as no save_to_disk writes")
            if message.type == "record batch" and _compressed(message.metadata.to_pybytes()):
                raise ValueError("its batches are compressed; save the data set again by save_to_disk")


def _compressed(message: bytes) -> bool:
    """Whether a batch's header (flatbuffers: tables of 16-bit offsets into a record) has a field for compression."""
    root = struct.unpack_from("<I", message)[0]
    header = root + _field(message, root, 2)
    batch = header + struct.unpack_from("<I", message, header)[0]
    return _field(message, batch, 3) != 0


def _field(message: bytes, table: int, number: int) -> int:
    """Where in a table a field stands, 0 where it has none."""
    offsets = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, offsets)[0]
    place = 4 + 2 * number
    return int(struct.unpack_from("<H", message, offsets + place)[0]) if place < size else 0


def _json(file: Path) -> dict[str, Any]:
    try:
        if regular_file(file).stat().st_size > _LARGEST:
            raise InputRefused(f"{file}: larger than {_LARGEST >> 20} MiB, which no such file is")
        found = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as problem:
        raise InputRefused(f"{file}: no readable JSON ({one_line(problem)[:100]})") from None
    if not isinstance(found, dict):
        raise InputRefused(f"{file}: expected an object in JSON; got {type(found).__name__}")
    return found
