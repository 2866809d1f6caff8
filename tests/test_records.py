"""Records: whole or not at all, damage seen, a crash at any moment harmless, another plan refused by name."""

import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyread import records
from steadyread.errors import InputRefused, Partial, PlanDiffers
from steadyread.records import SCHEMA, open_store
from steadyread.whole_files import Parts

PLAN = {"name": "try", "seed": 0, "data": {"name": "lidc", "bounds": [-1000.0, 400.0]}, "attacks": ["fgsm"]}
BLOCKS = 12

WRITER = """
import os, signal, sys
from steadyread.records import open_store
folder, plan, kill_at = sys.argv[1], {"seed": 3}, int(sys.argv[2])
calls = 0
def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
os.fsync = counted(os.fsync)          # temporary file written, and again after the rename
os.rename, os.replace = counted(os.rename), counted(os.replace)
store = open_store(folder, plan)
done = store.finished_blocks().blocks
for block in range(12):
    if block not in done:
        store.write_part(block, [{"case_id": f"{block}-{i}", "attack": "pgd", "size": block + i / 7, "seed": 3,
                                  "logits": [block * 0.1, i * 0.3]} for i in range(5)])
        print(block, flush=True)
"""


def rows(block: int, n: int = 5) -> list[dict[str, object]]:
    return [{"case_id": f"{block}-{i}", "attack": "pgd", "size": block + i / 7, "seed": 3,
             "logits": [block * 0.1, i * 0.3]} for i in range(n)]


def expected() -> list[dict[str, object]]:
    return records.as_table([row for block in range(BLOCKS) for row in rows(block)]).to_pylist()


@pytest.fixture
def store(tmp_path: Path) -> records.Store:
    return open_store(tmp_path / "run", PLAN)


def test_rows_come_back_by_block_in_the_order_written_with_nulls_where_unnamed(store: records.Store) -> None:
    for block in (2, 0, 1):
        store.write_part(block, rows(block))
    table = records.read(store.folder)
    assert table.schema.equals(SCHEMA)
    assert table["case_id"].to_pylist() == [row["case_id"] for block in range(3) for row in rows(block)]
    assert table["drift"].null_count == len(table)
    assert table["logits"].to_pylist()[6] == pytest.approx([0.1, 0.3])


def test_the_same_rows_make_the_same_bytes(store: records.Store, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other", PLAN)
    assert store.write_part(4, rows(4)).name == other.write_part(4, rows(4)).name


def test_a_block_without_rows_is_a_block_that_is_done(store: records.Store) -> None:
    store.write_part(0, [])
    assert store.finished_blocks().blocks == {0}
    assert len(records.read(store.folder)) == 0
    assert records.read(store.folder).schema.equals(SCHEMA)


def test_a_column_that_there_is_not_is_a_mistake(store: records.Store) -> None:
    with pytest.raises(KeyError, match="epsilon"):
        store.write_part(0, [{"epsilon": 1.0}])


@pytest.mark.parametrize("share", [i / 9 for i in range(10)])
def test_one_flipped_bit_anywhere_is_seen_and_its_block_not_done(store: records.Store, share: float) -> None:
    for block in range(3):
        store.write_part(block, rows(block, 50))
    path = sorted(store.parts.iterdir())[1]
    content = bytearray(path.read_bytes())
    content[round(share * (len(content) - 1))] ^= 1 << random.Random(share).randrange(8)
    path.write_bytes(content)
    with pytest.raises(InputRefused, match=r"part-00001.*damaged.*same command"):
        records.read(store.folder)
    found = open_store(store.folder, PLAN).finished_blocks()
    assert found.blocks == {0, 2}
    assert found.damaged == (path.name,)
    store.write_part(1, rows(1, 50))
    assert records.read(store.folder)["case_id"].to_pylist() == [
        row["case_id"] for block in range(3) for row in rows(block, 50)]


def test_a_truncated_or_empty_part_is_damage_too(store: records.Store) -> None:
    for block, keep in ((0, 0), (1, 100)):
        path = store.write_part(block, rows(block))
        path.write_bytes(path.read_bytes()[:keep])
    found = store.finished_blocks()
    assert found.blocks == frozenset()
    assert len(found.damaged) == 2
    assert list(store.parts.iterdir()) == []


def test_pages_carry_checksums_of_their_own(store: records.Store) -> None:
    """A part renamed to its damaged content's digest is still found out, by the page's checksum."""
    path = store.write_part(0, rows(0, 400))
    content = bytearray(path.read_bytes())
    names = pq.read_metadata(path).row_group(0).column(0)
    content[names.data_page_offset + names.total_compressed_size // 2] ^= 1
    path.unlink()
    forged = Parts(store.parts, "parquet").write(0, bytes(content))
    assert store.finished_blocks().damaged == (forged.name,)


def test_a_second_part_of_a_block_is_dropped_and_foreign_files_are_left_alone(store: records.Store) -> None:
    store.write_part(0, rows(0))
    store.write_part(0, rows(0, 7))
    (store.parts / "part-notes.txt").write_text("mine")
    before = records.read(store.folder)
    assert store.finished_blocks().blocks == {0}
    assert records.read(store.folder).equals(before)
    assert len(list(store.parts.glob("*.parquet"))) == 1
    assert (store.parts / "part-notes.txt").exists()


def test_columns_of_another_version_are_refused_and_kept(store: records.Store) -> None:
    content = records._content(pa.table({"case_id": ["a"]}))
    path = Parts(store.parts, "parquet").write(0, content)
    with pytest.raises(InputRefused, match="other columns"):
        records.read(store.folder)
    assert path.exists()


@pytest.mark.parametrize("folder", ["nothing", "empty", "begun"])
def test_no_records_are_refused_with_what_was_looked_for(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    open_store(tmp_path / "begun", PLAN)
    with pytest.raises(InputRefused, match=r"expected records/part-\*\.parquet"):
        records.read(tmp_path / folder)


# the plan

def test_the_same_plan_goes_on_whatever_the_order_of_its_keys(store: records.Store) -> None:
    store.write_part(0, rows(0))
    again = open_store(store.folder, dict(reversed(PLAN.items())))
    assert again.finished_blocks().blocks == {0}


@pytest.mark.parametrize(("change", "told"), [
    ({"seed": 1}, "seed is 0 there and 1 now"),
    ({"data": {"name": "lidc", "bounds": [0.0, 400.0]}},
     r"data.bounds is \[-1000.0, 400.0\] there and \[0.0, 400.0\] now"),
    ({"data": {"bounds": [-1000.0, 400.0]}}, 'data.name is "lidc" there and absent now'),
    ({"block": 32}, "block is absent there and 32 now"),
    ({"attacks": ["fgsm", "pgd"], "seed": 7}, r'attacks is \["fgsm"\] there and .*; seed is 0 there and 7 now'),
])
def test_another_plan_is_refused_and_the_differences_named(store: records.Store, change: dict[str, object],
                                                           told: str) -> None:
    with pytest.raises(PlanDiffers, match=told) as refused:
        open_store(store.folder, {**PLAN, **change})
    assert "\n" not in str(refused.value)
    assert open_store(store.folder, PLAN)


def test_many_differences_are_counted_not_poured_out(store: records.Store) -> None:
    with pytest.raises(PlanDiffers, match="and 6 more"):
        open_store(store.folder, {**PLAN, **{f"key{i}": "x" * 1000 for i in range(10)}})


def test_a_broken_or_missing_plan_is_refused(store: records.Store) -> None:
    store.write_part(0, rows(0))
    (store.folder / "plan.json").write_text('{"seed": ')
    with pytest.raises(InputRefused, match=r"plan\.json is not whole JSON"):
        open_store(store.folder, PLAN)
    (store.folder / "plan.json").unlink()
    with pytest.raises(InputRefused, match=r"records but no plan\.json"):
        open_store(store.folder, PLAN)


def test_leftovers_of_a_crash_are_cleared_and_foreign_files_are_not(store: records.Store) -> None:
    for place in (store.folder, store.parts):
        (place / ".part-00003-0123456789abcdef.parquet.123.tmp").write_bytes(b"half")
        (place / "notes.tmp").write_text("mine")
    open_store(store.folder, PLAN)
    assert sorted(path.name for path in store.parts.iterdir()) == ["notes.tmp"]
    assert (store.folder / "notes.tmp").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRefused, match=r"cannot write .*file"):
        open_store(tmp_path / "file" / "run", PLAN)


# a crash, a full disk

def run_writer(script: Path, folder: Path, kill_at: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(folder), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_killed_at_an_exact_point_and_resumed_has_the_rows_of_an_unbroken_run(tmp_path: Path, kill_at: int) -> None:
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    with run_writer(script, tmp_path / "run", kill_at) as first:
        first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    with run_writer(script, tmp_path / "run", -1) as second:
        second.communicate(timeout=60)
    assert second.returncode == 0
    assert records.read(tmp_path / "run").to_pylist() == expected()
    assert not list((tmp_path / "run").rglob("*.tmp"))


@pytest.mark.skipif(os.name != "posix", reason="needs a file size limit")
def test_a_full_disk_keeps_what_is_done_and_leaves_nothing_half_written(store: records.Store) -> None:
    """A limit on the size of files makes the kernel itself refuse the write half-way, as a full disk does."""
    store.write_part(0, rows(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(Partial, match=r"no room to write .*part-00001.*kept.*same command"):
            store.write_part(1, [{"case_id": os.urandom(16).hex()} for _ in range(2000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.finished_blocks() == records.Finished(frozenset({0}))
    assert len(list(store.parts.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_on_the_device_is_told_as_such(store: records.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: real(
        Path("/dev/full") if path.name.endswith(".tmp") else path, *a, **k))
    with pytest.raises(Partial, match="No space left on device") as refused:
        store.write_part(0, rows(0))
    assert refused.value.exit_code == 4
    assert store.finished_blocks().blocks == frozenset()


# small files

def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "a.bin"
    records.write_whole(path, b"old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        records.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1


def test_json_takes_numpy_and_has_no_infinity(tmp_path: Path) -> None:
    value = {"a": np.float32(0.5), "b": np.arange(2), "c": math.inf, "d": (Path("x"), True, None), 3: np.int64(4)}
    records.write_json(tmp_path / "v.json", value)
    assert json.loads((tmp_path / "v.json").read_text()) == {
        "a": 0.5, "b": [0, 1], "c": None, "d": ["x", True, None], "3": 4}
    with pytest.raises(InputRefused, match="no such file"):
        records.read_json(tmp_path / "none.json")


def test_npz_holds_plain_arrays_only(tmp_path: Path) -> None:
    arrays = {"clean": np.ones((2, 1, 3, 3), np.float32), "case_id": np.array(["a", "b"])}
    records.write_npz(tmp_path / "x.npz", arrays)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert found["clean"].shape == (2, 1, 3, 3)
        assert found["case_id"].tolist() == ["a", "b"]
    with pytest.raises(TypeError, match="case_id"):
        records.write_npz(tmp_path / "x.npz", {"case_id": np.array(["a", None], object)})


@pytest.mark.parametrize(("text", "told"), [
    ("[" * 100_000, "not whole JSON"), ('{"a":' * 900 + "1" + "}" * 900, "nested more than 64 deep"),
    ('{"a": 1e999}', "a must be a finite number"), ('{"a": NaN}', "a must be a finite number"),
    (f'{{"a": {{"b": [{2**70}]}}}}', "a.b must be a whole number of at most 63 bits"),
    ('{"a": ' + "9" * 5000 + "}", "not whole JSON"), ("\udc80", "not whole JSON")])
def test_json_that_no_run_holds_is_refused_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputRefused, match=told) as refused:
        records.read_json(tmp_path / "plan.json")
    assert len(str(refused.value)) < 400


def test_json_larger_than_any_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "summary.json").open("wb") as file:
        file.truncate(33 * 2**20)
    with pytest.raises(InputRefused, match="larger than any file of a run"):
        records.read_json(tmp_path / "summary.json")
    with pytest.raises(InputRefused, match="a folder; expected a regular file"):
        records.read_json(tmp_path)


def test_json_of_more_values_than_any_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(b"[" + b"{}," * 2_000_001 + b"{}]")
    with pytest.raises(InputRefused, match="larger than any file of a run"):
        records.read_json(tmp_path / "plan.json")


@pytest.mark.parametrize("damaged", ["text", "column"])
def test_a_table_whose_text_is_no_utf_8_is_damaged(damaged: str, tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"name_of_it": ["value_of_it"]}), sink, compression="none", use_dictionary=False,
                   store_schema=False)
    content = sink.getvalue().to_pybytes().replace(*{"text": (b"value_of_it", b"value_of_\xf2\xf2"),
                                                     "column": (b"name_of_it", b"name_of_\xf2\xf2")}[damaged])
    with pytest.raises(pa.ArrowInvalid):
        records.table_in(content, tmp_path / "scores.parquet")


def test_a_part_that_is_a_pipe_is_refused_unread(store: records.Store) -> None:
    os.mkfifo(store.parts / "part-00000-0123456789abcdef.parquet")
    with pytest.raises(InputRefused, match="a pipe; expected a regular file"):
        records.read(store.folder)


def test_an_npz_that_unpacks_to_more_than_any_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb, \
            bomb.open("a.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (2**29,)})
        for _ in range(512):
            member.write(bytes(2**20))
    with pytest.raises(InputRefused, match="it would unpack to 536,8"):
        records.read_npz(tmp_path / "bomb.npz")


def test_json_and_text_are_written_so_that_nothing_acts(tmp_path: Path) -> None:
    value = {"a\x1b": "\x9b31m \u202e \udce9 \n Ω", "é": [1]}
    records.write_json(tmp_path / "a.json", value)
    written = (tmp_path / "a.json").read_text("utf-8")
    assert not set(written) & set("\x1b\x9b\u202e\udce9")
    assert "Ω" in written
    assert records.read_json(tmp_path / "a.json") == value
    records.write_text(tmp_path / "a.txt", "Ω\t\x1b\n\udce9")
    assert (tmp_path / "a.txt").read_bytes() == "Ω\t\\x1b\n\\xe9".encode()


@pytest.mark.parametrize(("rows", "told"), [(40, "it would unpack to 40 rows"), (20, "more than 30 rows")])
def test_records_of_more_rows_than_any_run_has_are_refused(rows: int, told: str, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_ROWS", 30)
    store = open_store(tmp_path, {"seed": 0})
    for block in range(2):
        store.write_part(block, [{"case_id": str(row)} for row in range(rows)])
    with pytest.raises(InputRefused, match=told):
        records.read(tmp_path)


def test_records_that_may_not_be_listed_are_not_taken_for_none(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    open_store(tmp_path, {"seed": 0}).write_part(0, [{"case_id": "a"}])
    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputRefused, match=r"records: cannot be listed \(Permission denied\)"):
        records.read(tmp_path)


def test_an_array_that_a_files_directory_has_lost_is_missed(tmp_path: Path) -> None:
    records.write_npz(tmp_path / "x.npz", {"a": np.arange(3), "b": np.arange(4), "c": np.arange(5)})
    data = bytearray((tmp_path / "x.npz").read_bytes())
    first, second, third = (at for at in range(len(data)) if data.startswith(b"PK\1\2", at))
    data[first + 32:first + 34] = (third - second).to_bytes(2, "little")
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(InputRefused, match=r"x\.npz .*does not list all of its members"):
        records.read_npz(tmp_path / "x.npz")


def test_records_from_before_a_column_was_added_are_read_with_it_empty(store: records.Store) -> None:
    before = records.as_table(rows(0)).drop_columns(["deviations"])
    sink = pa.BufferOutputStream()
    pq.write_table(before, sink, write_page_checksum=True)
    Parts(store.parts, "parquet").write(0, sink.getvalue().to_pybytes())
    found = records.read(store.folder)
    assert found.schema.equals(records.SCHEMA)
    assert found["deviations"].null_count == len(before)
    assert found["case_id"].to_pylist() == before["case_id"].to_pylist()


def test_records_with_other_columns_are_refused(store: records.Store) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(records.as_table(rows(0)).drop_columns(["margin"]), sink, write_page_checksum=True)
    Parts(store.parts, "parquet").write(0, sink.getvalue().to_pybytes())
    with pytest.raises(InputRefused, match="other columns"):
        records.read(store.folder)
