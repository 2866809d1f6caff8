"""Data sets of Hugging Face's as `save_to_disk` leaves them: Arrow files with pictures in them, a folder a part.

Read with Arrow alone: no code of the data set is run, nothing is fetched, and `datasets` need not be installed.
"""

import json
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from steadyread.cases.case_set import Cases
from steadyread.cases.data_sets import told_taught
from steadyread.cases.hub import Named, Part, cases_of
from steadyread.cases.reader import reader
from steadyread.cases.tables import inside
from steadyread.errors import InputRefused
from steadyread.files import is_regular, regular_file
from steadyread.names import one_line, shown

_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"
_LARGEST = 2**24         # bytes of a JSON file
_BROKEN = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error,
           RecursionError)


def recognises(path: Path) -> bool:
    """Whether `path` is a folder that `save_to_disk` wrote."""
    return is_regular(path / _PARTS) or (is_regular(path / _STATE) and is_regular(path / _INFO))


@reader("hugging-face", recognises=recognises, order=65, defaults={"preparation": {"size": 64}}, takes=(Named,),
        looked_for="dataset_info.json and Arrow files (a data set of Hugging Face's saved by save_to_disk)")
def read(path: Path, named: Named) -> Cases:
    """The cases of a data set saved by `save_to_disk`, one or several by part (train, validation, test).

    Raises:
        InputRefused: damaged or compressed Arrow files, no such column, or pictures that are not in the files.
    """
    parts = _parts(path)
    taught = not parts[0].name and str(_json(path / _STATE).get("_split")).startswith("train")
    return cases_of(path, parts, named, (told_taught(shown(path.name)),) if taught else ())


def _parts(path: Path) -> list[Part]:
    if is_regular(path / _PARTS):
        names = _json(path / _PARTS).get("splits")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputRefused(f"{path / _PARTS}: 'splits' must name the parts; got {names!r}")
        parts = [_part(name, inside(path, name, _PARTS)) for name in names]
    else:
        parts = [_part("", path)]
    return parts


def _names(table: pa.Table, folder: Path) -> tuple[str, ...]:
    try:
        return tuple(table.column_names)
    except ValueError:
        raise InputRefused(f"{folder}: the names of its columns are damaged") from None


def _values(table: pa.Table, folder: Path, column: str) -> list[Any]:
    """A column's values. InputRefused where they are damaged."""
    try:
        found: list[Any] = table.column(column).to_pylist()
    except _BROKEN as problem:
        raise InputRefused(f"{folder}: the column '{column}' is damaged ({one_line(problem)[:100]})") from None
    return found


def _pictures(table: pa.Table, folder: Path, column: str) -> Callable[[int], bytes | None]:
    """A column's pictures, as they are stored. InputRefused where it has none."""
    try:
        held = pc.struct_field(table.column(column), "bytes").cast(pa.large_binary())
    except _BROKEN:
        raise InputRefused(f"{folder}: the column '{column}' holds no pictures, or is damaged") from None
    return lambda at: held[at].as_py()


def _part(name: str, folder: Path) -> Part:
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
        return Part(shown(name), folder, _names(table, folder), features, partial(_values, table, folder),
                    partial(_pictures, table, folder))
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
