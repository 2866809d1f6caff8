"""npz files hold what was stored, all of it, under the names that they were stored by."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from steadyread.cases import open_cases
from steadyread.errors import InputRefused

RANDOM = np.random.default_rng(0)


def arrays(shape: tuple[int, ...] = (4, 8, 8), **changes: np.ndarray) -> dict[str, np.ndarray]:
    held = {f"{part}_images": RANDOM.integers(0, 256, shape, np.uint8) for part in ("train", "val", "test")}
    return held | {f"{part}_labels": np.arange(shape[0]) % 2 for part in ("train", "val", "test")} | changes


@pytest.mark.parametrize("name", [f"{part}_{kind}" for part in ("train", "val", "test")
                                  for kind in ("images", "labels")])
def test_a_changed_byte_of_a_stored_member_is_refused(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "toy.npz", **arrays((40, 20, 20)))
    data = bytearray((tmp_path / "toy.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "toy.npz") as archive:
        info = archive.getinfo(f"{name}.npy")
    data[info.header_offset + info.file_size + 20] ^= 1
    (tmp_path / "toy.npz").write_bytes(data)
    with pytest.raises(InputRefused, match=f"(array '{name}' is not what was stored|Bad CRC-32 for file '{name})"):
        open_cases(tmp_path)


@pytest.mark.parametrize("old", [b"val_images", b"val_labels"])
@pytest.mark.parametrize("where", ["directory", "member", "both"])
def test_a_damaged_name_drops_no_part(tmp_path: Path, old: bytes, where: str) -> None:
    np.savez(tmp_path / "toy.npz", **arrays())
    data = (tmp_path / "toy.npz").read_bytes()
    first, last = data.index(old), data.rindex(old)
    for at in {"directory": (last,), "member": (first,), "both": (first, last)}[where]:
        data = data[:at] + b"vbl" + data[at + 3:]
    (tmp_path / "toy.npz").write_bytes(data)
    with pytest.raises(InputRefused, match=r"toy\.npz"):
        open_cases(tmp_path)


def test_an_empty_part_is_none(tmp_path: Path) -> None:
    empty = {"val_images": np.zeros((0, 8, 8), np.uint8), "val_labels": np.zeros((0, 1), np.uint8)}
    np.savez(tmp_path / "toy.npz", **arrays(**empty))
    cases = open_cases(tmp_path)
    assert ({row.part for row in cases.rows}, len(cases)) == ({"train", "test"}, 8)
    np.savez(tmp_path / "toy.npz", **{name: values[:0] for name, values in arrays().items()})
    with pytest.raises(InputRefused, match="all its parts are empty"):
        open_cases(tmp_path)


@pytest.mark.parametrize(("shape", "seen"), [
    ((4, 8, 9, 1), (1, 8, 9)), ((4, 1, 8, 9), (1, 8, 9)), ((4, 8, 9, 3), (3, 8, 9)),
    ((4, 8, 8, 8, 1), (1, 8, 8, 8)), ((4, 6, 7, 8), (1, 6, 7, 8))])
def test_shapes_of_one_meaning(tmp_path: Path, shape: tuple[int, ...], seen: tuple[int, ...]) -> None:
    held = arrays(shape)
    np.savez(tmp_path / "toy.npz", **held)
    cases = open_cases(tmp_path)
    assert tuple(cases[0].image.shape) == seen == cases.rows[0].shape
    assert sorted(cases[0].image.flatten().tolist()) == sorted(held["train_images"][0].ravel().tolist())


@pytest.mark.parametrize("shape", [(4, 3, 28, 28), (4, 28, 28, 4), (4, 28, 28, 2)])
def test_shapes_of_two_meanings(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "toy.npz", **arrays(shape))
    with pytest.raises(InputRefused, match="channels or"):
        open_cases(tmp_path)


def test_arrays_that_are_not_read_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", **arrays(), weights=np.zeros(3))
    assert open_cases(tmp_path).notes == ("arrays that are not read: weights",)


@pytest.mark.parametrize("changes", [{"val_images": np.full((4, 8, 8), np.nan)}, {"val_labels": np.array([{}] * 4)},
                                     {"val_labels": np.array(list("abcd"))}, {"val_images": np.zeros((4, 8), "O")},
                                     {"val_labels": np.zeros((0,), np.uint8)}])
def test_arrays_of_another_type(tmp_path: Path, changes: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "toy.npz", **arrays(**changes))
    with pytest.raises(InputRefused, match=f"{next(iter(changes))}"):
        open_cases(tmp_path)


def test_millions_of_images_in_few_bytes_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "toy.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("train_images", (3_000_000, 1, 1)), ("train_labels", (3_000_000,))):
            member = io.BytesIO()
            np.save(member, np.zeros(shape, np.uint8))
            archive.writestr(f"{name}.npy", member.getvalue())
    with pytest.raises(InputRefused, match="3000000 images; at most 1000000"):
        open_cases(tmp_path)


def _entries(data: bytes) -> list[int]:
    """Where the entries of a zip's directory begin."""
    return [at for at in range(len(data)) if data.startswith(b"PK\1\2", at)]


def test_a_comment_that_swallows_the_next_entry_drops_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", **arrays())
    data = bytearray((tmp_path / "toy.npz").read_bytes())
    third, fourth, fifth, *_ = _entries(data)[2:]
    data[third + 32:third + 34] = (fifth - fourth).to_bytes(2, "little")
    (tmp_path / "toy.npz").write_bytes(data)
    with pytest.raises(InputRefused, match=r"toy\.npz: .*its directory does not list all of its members"):
        open_cases(tmp_path)


@pytest.mark.parametrize("gone", [0, 2, 5])
def test_a_member_that_the_directory_does_not_list_is_missed(tmp_path: Path, gone: int) -> None:
    """Also where the last record counts one less, as if it had never been there."""
    np.savez(tmp_path / "toy.npz", **arrays())
    data = (tmp_path / "toy.npz").read_bytes()
    begins, end = _entries(data), data.rindex(b"PK\5\6")
    begins.append(end)
    size, start = begins[-1] - begins[0] - (begins[gone + 1] - begins[gone]), begins[0]
    for count in (5, 6):
        record = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, start, 0)
        (tmp_path / "toy.npz").write_bytes(data[:begins[gone]] + data[begins[gone + 1]:end] + record)
        with pytest.raises(InputRefused, match="does not list all"):
            open_cases(tmp_path)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", **arrays())
    data = bytearray((tmp_path / "toy.npz").read_bytes())
    first, second = _entries(data)[:2]
    data[second + 42:second + 46] = data[first + 42:first + 46]
    (tmp_path / "toy.npz").write_bytes(data)
    with pytest.raises(InputRefused, match=r"toy\.npz: .*overlap"):
        open_cases(tmp_path)


def test_more_members_than_any_file_has_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", **arrays())
    data = (tmp_path / "toy.npz").read_bytes()
    first, end = _entries(data)[0], data.rindex(b"PK\5\6")
    for count, size in ((60_000, 60_000 * 46), (0xFFFF, 0xFFFFFFFF), (6, 2**23)):
        record = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, first, 0)
        (tmp_path / "toy.npz").write_bytes(data[:end] + bytes(size if size < 2**24 else 0) + record)
        with pytest.raises(InputRefused, match=r"toy\.npz: .*more than 10,000 members"):
            open_cases(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", **arrays())
    with zipfile.ZipFile(tmp_path / "toy.npz", "a") as archive:
        archive.writestr("train_images.npy", archive.read("val_images.npy"))
    with pytest.raises(InputRefused, match=r"toy\.npz: .*two of its members have one name"):
        open_cases(tmp_path)


@pytest.mark.parametrize("counted", [True, False])
def test_the_record_of_archives_beyond_4_gb_is_read(counted: bool, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Other writers than Python's leave the count to it altogether."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    np.savez(tmp_path / "toy.npz", **arrays())
    data = (tmp_path / "toy.npz").read_bytes()
    assert data[-98:-94] == b"PK\6\6"
    (tmp_path / "toy.npz").write_bytes(data if counted else data[:-14] + b"\xff" * 12 + data[-2:])
    assert len(open_cases(tmp_path)) == 12


def test_other_ways_to_write_an_archive_are_read(tmp_path: Path) -> None:
    """To a pipe (sizes stand after the members), with something before and after it, and with an extra field."""
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    piped = Pipe()
    with zipfile.ZipFile(piped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays().items():
            member, buffer = zipfile.ZipInfo(f"{name}.npy"), io.BytesIO()
            member.extra = bytes((1, 80, 4, 0, 0, 0, 0, 0))
            np.save(buffer, values)
            archive.writestr(member, buffer.getvalue())
    for data in (piped.getvalue(), b"#!shebang\n" * 9 + piped.getvalue(), piped.getvalue() + bytes(40)):
        (tmp_path / "toy.npz").write_bytes(data)
        assert len(open_cases(tmp_path)) == 12


def test_a_file_that_becomes_shorter_is_refused_when_next_looked_at(tmp_path: Path) -> None:
    """A map would read zeros within the last page, and the process would be killed beyond it."""
    np.savez(tmp_path / "toy.npz", **arrays((4, 100, 100)))
    cases = open_cases(tmp_path)
    assert cases.load(cases.rows[0]).any()
    os.truncate(tmp_path / "toy.npz", 100)
    with pytest.raises(InputRefused, match=r"toy\.npz: has become shorter since it was opened"):
        cases.load(cases.rows[0])
