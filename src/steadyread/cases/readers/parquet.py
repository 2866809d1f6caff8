"""Data sets as Hugging Face's hub keeps them: Parquet files with pictures in them, `data/train-00000-of-00001.parquet`.

Read with Arrow alone: no code of the data set is run and nothing is fetched.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyread.cases.case_set import Cases
from steadyread.cases.hub import Named, Part, cases_of
from steadyread.cases.parquet_pages import largest_page, refuse_footer
from steadyread.cases.reader import reader
from steadyread.cases.readers.folders import part_of
from steadyread.cases.stored import broken_is_refused, refuse_bomb, refuse_many
from steadyread.errors import InputRefused
from steadyread.files import entries, is_folder, is_regular, regular_file
from steadyread.names import one_line, shown

_ENDING, _MAGIC = ".parquet", b"PAR1"
_SHARD = re.compile(r"(?P<part>.+?)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?")
_HELD, _MOST_TOGETHER = 2**25, 1024       # bytes and rows that are held at once
_MOST_TOLD = 2**27        # bytes of labels, or of patients


@dataclass(frozen=True)
class _File:
    """One Parquet file: its part, and how its columns are stored and declared."""

    path: Path
    part: str
    schema: pa.Schema
    features: Mapping[str, Any]


def recognises(path: Path) -> bool:
    """Whether `path` is a Parquet file, or a folder of some with pictures in them."""
    if is_regular(path):
        return path.suffix.lower() == _ENDING and _begins(path)
    first = next((file for file in _files(path) if _begins(file)), None) if is_folder(path) else None
    try:
        return first is not None and any(map(_of_pictures, _opened(first, "").schema.types))
    except InputRefused:
        return False


@reader("parquet", recognises=recognises, order=66, defaults={"preparation": {"size": 64}}, takes=(Named,),
        looked_for="Parquet files with pictures in a column, as Hugging Face's hub keeps them (train-*.parquet, also "
        "in data/, or in train/ and test/)")
def read(path: Path, named: Named) -> Cases:
    """The cases of Parquet files, by part (train, validation, test) where their names or folders say so.

    Pictures are copied once into a nameless temporary file (in the folder that TMPDIR names), and read from there.

    Raises:
        InputRefused: damaged files, or of other columns than the first; no such column; an unknown part.
    """
    paths = [path] if is_regular(path) else _files(path)
    files = [_opened(file, _part(file, path)) for file in paths]
    parts = sorted({file.part for file in files}, key=lambda name: (not name.startswith("train"), name))
    if len(parts) > 1 and "" in parts:
        odd = next(file.path for file in files if not file.part)
        raise InputRefused(f"{odd}: of no part, where other files are of {', '.join(filter(None, parts))}: move it "
                           "away")
    cases = cases_of(path, [_part_of(name, [file for file in files if file.part == name]) for name in parts], named)
    return replace(cases, notes=(*cases.notes, *_lacking(paths)))


def _files(path: Path) -> list[Path]:
    """The Parquet files of a folder, of its `data/`, and of its folders named as parts."""
    top = entries(path)
    below = [each for folder in top if is_folder(folder) and (folder.name == "data" or part_of(folder.name))
             for each in entries(folder)]
    return [file for file in (*top, *below) if file.suffix.lower() == _ENDING and is_regular(file)]


def _begins(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == _MAGIC


def _part(file: Path, root: Path) -> str:
    """The part that a file's name or folder says, "" where neither does."""
    shard = _SHARD.fullmatch(file.stem)
    if shard is not None:
        return shard["part"]
    names = (file.stem, *((file.parent.name,) if file.parent != root and file != root else ()))
    return next((name for name in names if part_of(name)), "")


def _lacking(files: Sequence[Path]) -> Iterator[str]:
    """A sentence on each part of which files are missing."""
    shards = [match for match in (_SHARD.fullmatch(file.stem) for file in files) if match is not None]
    for part in sorted({shard["part"] for shard in shards}):
        here = {int(shard["number"]) for shard in shards if shard["part"] == part}
        count = max(int(shard["count"]) for shard in shards if shard["part"] == part)
        if len(here) < count:
            yield f"{len(here)} of {count} files of {shown(part)} are here, and no more is read"


def _opened(path: Path, part: str) -> _File:
    with _named(path):
        refuse_footer(regular_file(path))
        with pq.ParquetFile(path, memory_map=True) as file:
            refuse_many(path, file.metadata.num_rows)
            return _File(path, part, file.schema_arrow, _features(file.schema_arrow))


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """What the columns are declared as, for the hub or by their types: a struct with bytes is a picture."""
    stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    info = stated.get("info") if isinstance(stated, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    if isinstance(features, dict) and features:
        return features
    return {field.name: {"_type": "Image"} for field in schema if _of_pictures(field.type)}


def _of_pictures(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(
        kind.field(at).name == "bytes" and _is_bytes(kind.field(at).type) for at in range(kind.num_fields))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _part_of(name: str, files: Sequence[_File]) -> Part:
    first = files[0]
    other = next((file for file in files if not file.schema.equals(first.schema)), None)
    if other is not None:
        raise InputRefused(f"{other.path}: its columns differ from those of {first.path.name}; give one data set")
    place = first.path if len(files) == 1 else first.path.parent
    return Part(shown(name), place, tuple(first.schema.names), first.features, partial(_values, files),
                partial(_pictures, files))


def _values(files: Sequence[_File], column: str) -> list[Any]:
    kind = _type(files[0], column)
    if pa.types.is_nested(kind):
        raise InputRefused(f"{files[0].path}: the column '{shown(column)}' holds {kind}; expected one value a row")
    values, size = list[Any](), 0
    for file in files:
        for batch in _batches(file, column):
            size += batch.nbytes
            if size > _MOST_TOLD:
                raise InputRefused(f"{file.path}: the column '{shown(column)}' holds more than {_MOST_TOLD} bytes, "
                                   "which are no names")
            with _named(file.path):
                values += batch.column(0).to_pylist()
    return values


def _pictures(files: Sequence[_File], column: str) -> Callable[[int], bytes | None]:
    """The pictures of a column, copied into a nameless file."""
    kind = _type(files[0], column)
    if not (_of_pictures(kind) or _is_bytes(kind)):
        raise InputRefused(f"{files[0].path}: the column '{shown(column)}' holds no pictures, but {kind}")
    ends = [0]
    with tempfile.TemporaryFile() as temporary:     # the map outlives the open file
        for file in files:
            before = ends[-1]
            for batch in _batches(file, column if _is_bytes(kind) else f"{column}.bytes"):
                with _named(file.path):
                    held = batch.column(0) if _is_bytes(kind) else pc.struct_field(batch.column(0), "bytes")
                    for stored in held:
                        ends.append(ends[-1] + temporary.write(stored.as_buffer() or b""))
                refuse_bomb(file.path, "its pictures", ends[-1] - before, file.path.stat().st_size)
        temporary.flush()
        copied = np.memmap(temporary, np.uint8, "r") if ends[-1] else np.empty(0, np.uint8)
    return lambda at: copied[ends[at]:ends[at + 1]].tobytes() or None


def _type(file: _File, column: str) -> pa.DataType:
    with _named(file.path):
        return file.schema.field(column).type


def _batches(file: _File, column: str) -> Iterator[pa.RecordBatch]:
    """A column in batches of some megabytes, known to unpack to no more.

    Raises:
        InputRefused: damaged, or larger than it looks.
    """
    with _named(file.path), pq.ParquetFile(file.path, memory_map=True, page_checksum_verification=True) as held:
        largest = largest_page(file.path, column)
        rows, together = 0, max(1, min(_MOST_TOGETHER, _HELD // largest))
        for batch in held.iter_batches(together, columns=[column], use_threads=False):
            rows += batch.num_rows
            yield batch
        if rows != held.metadata.num_rows:
            raise InputRefused(f"{file.path}: {rows} rows, where it says {held.metadata.num_rows}: it is damaged")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what Arrow raises on damaged files into one refusal that names the file."""
    with broken_is_refused(path):
        try:
            yield
        except pa.ArrowException as problem:
            raise ValueError(one_line(problem)[:100]) from None
