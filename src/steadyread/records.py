"""The table of records: one row is a case under an attack of a size. Append-only, and safe against a crash.

A run's folder holds `plan.json` (what was asked for) and `records/`, one Parquet part a block of cases.
Each file is written whole: under a temporary name, synced, then renamed. A part carries the digest of
its own bytes in its name, so that a flipped bit anywhere is seen. One writer a folder.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from steadyread.errors import InputRefused, PlanDiffers, unwritable
from steadyread.limits import MOST_ROWS, MOST_UNPACKED
from steadyread.progress import note
from steadyread.whole_files import TEMPORARY, Parts, intact
from steadyread.whole_files import read_json as read_json
from steadyread.whole_files import read_npz as read_npz
from steadyread.whole_files import read_object as read_object
from steadyread.whole_files import write_json as write_json
from steadyread.whole_files import write_npz as write_npz
from steadyread.whole_files import write_text as write_text
from steadyread.whole_files import write_whole as write_whole

SCHEMA = pa.schema([
    ("case_id", pa.string()), ("patient_id", pa.string()), ("data", pa.string()), ("part", pa.string()),
    ("fold", pa.int32()), ("model", pa.string()), ("stage", pa.string()), ("label", pa.int32()),
    ("against", pa.string()), ("reference", pa.int32()), ("attack", pa.string()), ("threat", pa.string()),
    ("size", pa.float64()), ("unit", pa.string()), ("trials", pa.int32()), ("flips", pa.int32()),
    ("found_size", pa.float64()), ("flips_rounded", pa.int32()),
    ("prediction", pa.int32()), ("logits", pa.list_(pa.float32())),
    ("margin", pa.float32()), ("drift", pa.float32()), ("jitter", pa.float32()), ("sigma_hu", pa.float32()),
    ("ring_error", pa.float32()), ("kurtosis", pa.float32()), ("largest_local_sigma_hu", pa.float32()),
    ("z_correlation", pa.float32()), ("deviations", pa.float32()), ("scan_mas", pa.float32()),
    ("forwards", pa.int32()), ("backwards", pa.int32()), ("seed", pa.int64()), ("model_sha256", pa.string()),
    ("data_sha256", pa.string()), ("version", pa.string())])
_ADDED = frozenset({"deviations"})   # since 0.1: null in the records of runs before

PLAN = "plan.json"
PARTS = "records"
_LEFTOVER = re.compile(r"\..+\.\d+" + re.escape(TEMPORARY))
_SHOWN = 4   # differences of two plans that a message names


@dataclass(frozen=True)
class Finished:
    """Which blocks are done, and which parts were found damaged and removed (their blocks are not done)."""

    blocks: frozenset[int]
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """A run's folder whose plan is on disk and agreed. Make one with `open_store`."""

    folder: Path

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.folder / PARTS

    def write_part(self, block: int, rows: Sequence[Mapping[str, object]] | pa.Table) -> Path:
        """Write the rows of one block as one part, in place of one before. Columns that no row names are null.

        Raises:
            Partial: the disk is full. Nothing half-written stays; the finished parts are kept.
        """
        return _parts(self.folder).write(block, _content(as_table(rows)))

    def rows_of(self, block: int) -> pa.Table:
        """The rows of a finished block."""
        path = next(path for number, path in _parts(self.folder) if number == block)
        table = _intact(path)
        if table is None:
            raise InputRefused(f"{path} is damaged: run the same command again, which computes that part anew")
        return table

    def finished_blocks(self) -> Finished:
        """Blocks whose part is intact. Damaged parts, which is said, and second parts of a block are removed."""
        done: set[int] = set()
        damaged = []
        for block, path in _parts(self.folder):
            if _intact(path) is None:
                damaged.append(path.name)
                path.unlink()
                note(f"{path} is damaged (its content does not fit the digest in its name): removed, to be "
                     "computed anew")
            elif block in done:
                path.unlink()
            else:
                done.add(block)
        return Finished(frozenset(done), tuple(damaged))


def open_store(folder: str | Path, plan: Mapping[str, Any], blocks: int | None = None) -> Store:
    """A store for the records of `plan`: a new folder, or one that holds this very plan's records already.

    Where all its `blocks` are there, other versions that computed them are merely said: nothing is added to them.

    Raises:
        PlanDiffers: the folder holds another plan's records; the differing keys are named with both values.
        InputRefused: the folder cannot be written, or its plan cannot be read.
        Partial: the disk is full.
    """
    store = Store(Path(folder))
    wanted = json.loads(_canonical(plan))
    try:
        store.parts.mkdir(parents=True, exist_ok=True)
        for place in (store.folder, store.parts):
            remove_leftovers(place)
    except OSError as problem:
        raise unwritable(store.folder, problem) from problem
    path = store.folder / PLAN
    if path.exists():
        there = read_json(path)
        if blocks is not None and len({block for block, _ in _parts(store.folder)}) >= blocks:
            there = _of_these_versions(store.folder, there, wanted)
        _refuse_another_plan(store.folder, there, wanted)
        return store
    if any(_parts(store.folder)):
        raise InputRefused(f"{store.folder} holds records but no {PLAN} to tell what they are of: put it "
                           "back, or choose another --out folder")
    write_whole(path, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())
    return store


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder, those of `write_whole` alone."""
    for path in folder.glob(f".*{TEMPORARY}"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def read(folder: str | Path) -> pa.Table:
    """All rows of a run in the columns of `SCHEMA`, by block and then in the order written.

    Raises:
        InputRefused: no records there, a damaged part, or columns of another version.
    """
    return pa.concat_tables(table for _, table in read_parts(folder))


def read_parts(folder: str | Path) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a run as they are read, block by block, with the block's number: all rows of a case stand in one.

    Raises:
        InputRefused: as `read`, when that block is reached.
    """
    last, rows = -1, 0
    for block, path in _parts(Path(folder)):
        table = _intact(path)
        if table is None:
            raise InputRefused(f"{path} is damaged (its content does not fit the digest in its name): "
                               "run the same command again, which computes that part anew")
        if block == last:
            continue
        last, rows = block, rows + len(table)
        if rows > MOST_ROWS:
            raise InputRefused(f"{folder} has more than {MOST_ROWS:,} rows of records, which no run has")
        yield block, table
    if last < 0:
        raise InputRefused(f"no records in {folder}: expected {PARTS}/part-*.parquet there; give the folder of a "
                           "run, or run the command that began it again")


def table_in(content: bytes, path: Path) -> pa.Table:
    """The table of a Parquet file's bytes. Its sizes are believed only within what a run can hold.

    Raises:
        InputRefused: more rows or bytes than that.
        OSError, pa.ArrowException: no whole Parquet file.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    except UnicodeDecodeError as problem:   # in the name of a column
        raise pa.ArrowInvalid(str(problem)) from problem
    groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
    rows, size = sum(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
    if rows > MOST_ROWS or size > MOST_UNPACKED:
        raise InputRefused(f"{path} is no file of a run: it would unpack to {rows:,} rows and {size:,} bytes")
    table = file.read()
    table.validate(full=True)   # text that is no UTF-8, lists that end before they begin
    return table


def as_table(rows: Sequence[Mapping[str, object]] | pa.Table) -> pa.Table:
    """Rows as a table in the columns of `SCHEMA`; a column that a row does not name is null.

    Raises:
        KeyError: a row names a column that there is not.
    """
    if isinstance(rows, pa.Table):
        return rows.select(SCHEMA.names).cast(SCHEMA)
    unknown = {key for row in rows for key in row} - set(SCHEMA.names)
    if unknown:
        raise KeyError(f"a record has no column {', '.join(sorted(unknown))}")
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def has_records(folder: Path) -> bool:
    """Whether a folder has a plan and a part of records at least."""
    return (folder / PLAN).exists() and any((folder / PARTS).glob("part-*.parquet"))


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _parts(folder: Path) -> Parts:
    """The parts of a run by block."""
    return Parts(folder / PARTS, "parquet")


def _intact(path: Path) -> pa.Table | None:
    """A part's table, or None where its bytes are not those that were written."""
    content = intact(path)
    try:
        table = None if content is None else table_in(content, path)
    except (OSError, pa.ArrowException):   # Arrow raises OSError for a broken page
        return None
    if table is not None and not table.schema.equals(SCHEMA):
        if table.schema.equals(pa.schema([column for column in SCHEMA if column.name not in _ADDED])):
            return pa.table([table[column.name] if column.name in table.column_names else
                             pa.nulls(len(table), column.type) for column in SCHEMA], schema=SCHEMA)
        raise InputRefused(f"{path} has other columns than this version of steadyread writes: read it with the "
                           "version named in plan.json, or choose another --out folder")
    return table


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _of_these_versions(folder: Path, there: Any, wanted: Any) -> Any:
    """The plan there with the running versions, which is said where they are others."""
    changed = "; ".join(f"{key.removeprefix('versions.')} is {old} there and {new} now"
                        for key, old, new in _differences(there, wanted, "") if key.startswith("versions."))
    if not changed:
        return there
    note(f"{folder} was computed with other versions: {changed}")
    return there | {"versions": wanted["versions"]}


def _refuse_another_plan(folder: Path, there: Any, wanted: Any) -> None:
    if _canonical(there) == _canonical(wanted):
        return
    differences = [f"{key} is {_short(old)} there and {_short(new)} now"
                   for key, old, new in _differences(there, wanted, "")]
    more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    raise PlanDiffers(f"{folder} holds the records of another plan: {'; '.join(differences[:_SHOWN])}{more}")


_ABSENT = object()


def _differences(there: Any, wanted: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """The dotted keys under which two plans differ, with both values."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name in sorted(there.keys() | wanted.keys()):
            dotted = f"{key}.{name}" if key else str(name)
            yield from _differences(there.get(name, _ABSENT), wanted.get(name, _ABSENT), dotted)
    elif there is _ABSENT or wanted is _ABSENT or _canonical(there) != _canonical(wanted):
        yield key or "the plan", there, wanted


def _short(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
