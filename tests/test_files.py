"""The doors through which files come in: regular files only, every folder once, any name shown."""

import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import open_cases
from steadyread.cases.tables import header_of
from steadyread.cli import main
from steadyread.errors import InputRefused, UsageError
from steadyread.files import files_below, is_folder, is_regular, regular_file
from steadyread.names import folder_name, shown
from steadyread.records import read_json, write_json
from steadyread.study import read_study

FOREIGN = os.fsdecode(b"caf\xe9.png")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))


@pytest.mark.parametrize(("make", "kind"), [
    (os.mkfifo, "a pipe"), (_socket, "a socket"), (Path.mkdir, "a folder"),
    (lambda path: path.symlink_to("/dev/zero"), "a device"), (lambda path: path.symlink_to(path), "cannot be read"),
    (lambda path: path.symlink_to("nowhere"), "no such file")])
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    path = tmp_path / "x.png"
    make(path)
    assert not is_regular(path)
    with pytest.raises(InputRefused, match=kind):
        regular_file(path)


def test_a_link_to_a_regular_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    assert regular_file(tmp_path / "link") == tmp_path / "link"
    assert is_folder(tmp_path)


@pytest.mark.parametrize("name", ["x" * 3000, "a\0b", "x/" * 3000])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    assert not is_regular(tmp_path / name)
    assert not is_folder(tmp_path / name)
    with pytest.raises(InputRefused):
        regular_file(tmp_path / name)


@pytest.mark.parametrize(("there", "asked"), [
    ("Scan.PNG", "scan.png"), ("n1.nii", "n1.nii.gz"), ("n1.nii.gz", "n1.nii"), ("cafe\u0301.png", "caf\u00e9.png"),
    ("mammogram_0012.png", "mamogram_0012.png")])
def test_a_file_that_is_not_there_is_told_with_the_nearest_name(tmp_path: Path, there: str, asked: str) -> None:
    (tmp_path / there).write_bytes(b"1")
    (tmp_path / "other.txt").write_bytes(b"1")
    with pytest.raises(InputRefused, match=r"no such file; did you mean '.*'\?") as caught:
        regular_file(tmp_path / asked)
    assert there in str(caught.value)
    with pytest.raises(InputRefused, match=r"no such file$"):
        regular_file(tmp_path / "quite-another")


def test_every_folder_is_visited_once(tmp_path: Path) -> None:
    inner = tmp_path / "data" / "a" / "deep"
    inner.mkdir(parents=True)
    for name in ("a/1", "a/deep/2", "a/.hidden", "3"):
        (tmp_path / "data" / name).write_bytes(b"1")
    (inner / "up").symlink_to("..")
    (inner / "again").symlink_to("..")
    (tmp_path / "data" / "0").symlink_to("a")         # would be read first, and as another class
    (tmp_path / "data" / "top").symlink_to(tmp_path)
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b" / "4").write_bytes(b"1")
    (outside / "b" / "round").symlink_to("..")
    (tmp_path / "data" / "x").symlink_to(outside)
    (tmp_path / "data" / "y").symlink_to(outside / "b")
    unfollowed: list[Path] = []
    assert [path.relative_to(tmp_path / "data").as_posix() for path in files_below(tmp_path / "data", unfollowed)] \
        == ["3", "a/1", "a/deep/2", "x/b/4"]
    assert sorted(path.name for path in unfollowed) == ["0", "again", "round", "top", "up", "y"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"none: cannot be listed"):
        list(files_below(tmp_path / "none"))


@pytest.mark.parametrize(("name", "safe"), [
    (FOREIGN, "caf\\xe9.png"), ("café 日本 (1).png", "café 日本 (1).png"), ("a\x1b[31m\n", "a\\x1b[31m\\x0a"),
    ("\u202egnp.exe", "\\u202egnp.exe"), ("\ud800", "\\ud800"), ("plain", "plain"),
    ("می\u200cخواهم", "می\u200cخواهم")])
def test_any_name_can_be_shown(name: str, safe: str) -> None:
    assert shown(name) == safe
    assert shown(safe) == safe
    safe.encode()


def test_settings_and_json_carry_any_file_name(tmp_path: Path) -> None:
    study = read_study(None, {"data": {"path": FOREIGN}, "model": {"weights": FOREIGN}})
    assert (study.data.path, study.model_dump(mode="json")["model"]["weights"]) == (FOREIGN, FOREIGN)
    with pytest.raises(UsageError, match=r"data\.path"):
        read_study(None, {"data": {"path": 3}})
    write_json(tmp_path / "x.json", {"path": FOREIGN})
    assert read_json(tmp_path / "x.json") == {"path": FOREIGN}


def test_a_command_on_names_that_are_no_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path(os.fsdecode(b"donn\xe9es (1)"))
    for number in range(6):
        image = place / os.fsdecode((b"b\xe9nin", b"mal\x1b[31min")[number % 2]) / f"{number}{FOREIGN}"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)).save(image)
    assert main(["audit", str(place)]) == 0
    assert "class counts: 3 b\\xe9nin, 3 mal\\x1b[31min" in capsys.readouterr().out
    assert (tmp_path / "runs" / "audit-donn_xe9es _1_" / "findings.json").exists()
    assert main(["audit", str(place), "--json"]) == 0
    json.loads(capsys.readouterr().out)
    assert main(["audit", str(place / FOREIGN)]) == 3
    assert "caf\\xe9.png: no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "plain"), [("archive (1)", "archive _1_"), ("epoch=9-step=1", "epoch_9-step_1"),
                                             (FOREIGN, "caf_xe9.png"), ("", "_")])
def test_any_name_gives_a_folder_name(name: str, plain: str) -> None:
    assert folder_name(name) == plain


def test_what_may_not_be_read_is_told_so_and_not_taken_for_absent(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """As root sees it: a folder that may not be entered, files and tables that may not be opened."""
    stat, tables = Path.stat, ("list.csv", "nodules.csv")

    def closed(path: Path, **options: bool) -> os.stat_result:
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", closed)
    monkeypatch.setattr(os, "access", lambda path, _: not Path(path).name.endswith(("denied.png", *tables)))
    for look in (is_regular, is_folder, regular_file):
        with pytest.raises(InputRefused, match=r"closed/x\.png: cannot be read \(Permission denied\)"):
            look(tmp_path / "closed" / "x.png")
    for name in ("denied.png", *tables):
        (tmp_path / name).write_text("file,label\n")
        with pytest.raises(InputRefused, match=rf"{name}: cannot be read \(Permission denied\)"):
            header_of(tmp_path / name)
    assert header_of(tmp_path / "absent.csv") == ()


NOBODY = 65534     # root may read anything


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_class_whose_folder_is_closed_is_not_left_out(mode: int) -> None:
    with tempfile.TemporaryDirectory() as here:      # pytest's own folders are closed to anybody else
        Path(here).chmod(0o755)
        for name in "abc":
            (Path(here) / name).mkdir()
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(Path(here) / name / "x.png")
        open_cases(here)
        (Path(here) / "b").chmod(mode)
        process = os.fork()
        if process == 0:
            told = ""
            try:
                if os.geteuid() == 0:
                    os.setuid(NOBODY)
                open_cases(here)
            except InputRefused as refusal:
                told = str(refusal)
            finally:
                os._exit(0 if "Permission denied" in told else 1)
        assert os.waitpid(process, 0)[1] == 0
        (Path(here) / "b").chmod(0o755)


def test_folders_spelled_in_another_way_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "Data" / "Images").mkdir(parents=True)
    (tmp_path / "Data" / "Images" / "Scan.PNG").write_bytes(b"1")
    with pytest.raises(InputRefused, match=r"did you mean '.*/Data/Images/Scan\.PNG'\?"):
        regular_file(tmp_path / "data" / "images" / "scan.png")
    with pytest.raises(InputRefused, match=r"no such file$"):
        regular_file(tmp_path / "nothing" / "like" / "it.png")
