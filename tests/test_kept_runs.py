"""What a run's folder keeps: damage is seen and never overwritten, and a failure is only what came to nothing."""

import errno
import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from safetensors.torch import load_file, save_file

import fabricate_noise
from fabricate import table, write_run
from fabricate_pictures import Call, pictures
from golden_rows import undrawn
from steadyread import checks, records
from steadyread.errors import InputRefused, Partial, PlanDiffers, SteadyreadError
from steadyread.folder_lock import LOCK, locked, sweep
from steadyread.jobs import networks
from steadyread.jobs.folder import taken_up
from steadyread.jobs.material import Material
from steadyread.jobs.run import carry_out, harden_run
from steadyread.models.loading import read_card, read_state, save_weights, trained_state
from steadyread.study import Study
from steadyread.study.reading import checked

STUDY = {
    "name": "kept", "data": {"path": "images"}, "preparation": {"size": 12},
    "model": {"arguments": {"width": 0.05, "norm": True, "convolutions": [1, 1, 1, 1, 1]}},
    "training": {"epochs": 1, "batch": 16}, "triage": {"members": 1},
    "attacks": {"use": ["fgsm"], "epsilons": ["0.05 range"]},
    "hardening": {"epsilon": "0.05 range", "epochs": 1, "steps": 1}}
WEIGHTS = ("model.safetensors", "members/1/model.safetensors", "hardened/model.safetensors")


def study(**above: object) -> Study:
    return checked(STUDY | above, "kept")


def bare(patch: pytest.MonkeyPatch) -> None:
    """No pages, which have tests of their own, and few images for the checks."""
    undrawn(patch)
    patch.setattr(checks, "SAMPLE", 4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a whole run of them, hardened and with a member."""
    folder = tmp_path_factory.mktemp("finished")
    pictures(folder / "images", 32)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bare(patch)
        carry_out(study(), "run")
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to work in."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    bare(monkeypatch)
    return tmp_path


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("damage", ["a bit", "cut off", "empty"])
def test_damaged_weights_are_refused_and_nothing_is_overwritten(here: Path, weights: str, damage: str) -> None:
    path = here / "run" / weights
    if damage == "a bit":
        flip(path, path.stat().st_size - 9)
    else:
        path.write_bytes(path.read_bytes()[:1000 if damage == "cut off" else 0])
    if weights.startswith("members"):
        (here / "run" / "scores.parquet").unlink()
    before = contents(here / "run")
    with pytest.raises(InputRefused, match=rf"{weights} (is damaged|cannot be read)"):
        carry_out(study(), "run")
    assert {name: content for name, content in contents(here / "run").items()
            if name in before and before[name] != content} == {}


def test_damaged_hardened_weights_are_one_line_and_exit_3(here: Path, steadyread: Call) -> None:
    flip(here / "run" / "hardened" / "model.safetensors", -9)
    before = (here / "run" / "hardened" / "training.json").read_bytes()
    told = steadyread("harden", "run", "--epsilon", "0.05 range", "--epochs", 1, "--threads", 1)
    assert told.code == 3
    assert "hardened/model.safetensors is damaged" in told.err
    assert (here / "run" / "hardened" / "training.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["gone", "another run's", "a failed run's"])
def test_the_history_of_another_hardening_is_refused_and_nothing_is_overwritten(here: Path, damage: str) -> None:
    path = here / "run" / "hardened" / "training.json"
    told = json.loads(path.read_text())
    path.unlink()
    if damage == "another run's":
        records.write_json(path, told | {"epsilon": 2 * told["epsilon"]})
    elif damage == "a failed run's":
        records.write_json(path, told | {"epsilon": None, "failed": "no size was found"})
    before = contents(here / "run" / "hardened")
    with pytest.raises(InputRefused, match=r"hardened/training.json is not that of the network beside it"):
        carry_out(study(), "run")
    assert contents(here / "run" / "hardened") == before


@pytest.mark.parametrize("name", ["plan.json", "findings.json", "training.json", "examples.npz",
                                  "records/part-*.parquet"])
@pytest.mark.parametrize("damage", ["cut off", "empty", "a bit"])
@pytest.mark.usefixtures("undrawn")
def test_a_damaged_piece_of_a_run_is_refused_by_name_and_stays(steadyread: Call, name: str, damage: str) -> None:
    path = next(write_run(Path("run"), table(n=20)).glob(name))
    if damage == "a bit":
        flip(path, 0)
    else:
        path.write_bytes(path.read_bytes()[:100 if damage == "cut off" else 0])
    before = contents(Path("run"))
    for command in ("report", "triage") if name.startswith("records") else ("report",):
        told = steadyread(command, "run")
        assert (told.code, told.err.count(str(path))) == (3, 1), told
        assert contents(Path("run")) == before


def test_triage_of_a_noise_study_says_what_it_lacks(steadyread: Call) -> None:
    study = fabricate_noise.Made(cases=20, patients=20, folds=1, doses=(100.0,), draws=4, starts=2)
    fabricate_noise.write_study(Path("run"), study)
    told = steadyread("triage", "run")
    assert (told.code, "has no smallest flips" in told.err) == (3, True)


def test_a_flipped_bit_anywhere_in_weights_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(torch.nn.Linear(3, 2), path, {"model": "own", "training_digest": "a"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        with pytest.raises(InputRefused, match=r"damaged|cannot be read"):
            trained_state(path, "a")
    path.write_bytes(whole)
    assert set(trained_state(path, "a")) == {"weight", "bias"}


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    network, written = torch.nn.Linear(3, 2), set()
    for number in range(8):    # the library's own order differs from one to the next
        save_weights(network, tmp_path / f"{number}.safetensors", {"model": "own", "classes": ["gut", "bösartig"]})
        written.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(written) == 1
    assert read_card(tmp_path / "0.safetensors") == {"model": "own", "classes": ["gut", "bösartig"]}
    assert set(load_file(tmp_path / "0.safetensors")) == {"weight", "bias"}


def test_weights_of_other_makers_and_of_before_the_digest_are_read(tmp_path: Path) -> None:
    tensors = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    for name, metadata in (("theirs", None), ("pytorch", {"format": "pt"}),
                           ("before", {"card": '{"training_digest": "a"}'})):
        save_file(tensors, tmp_path / f"{name}.safetensors", metadata)
        assert set(read_state(tmp_path / f"{name}.safetensors")) == set(tensors)
    assert set(trained_state(tmp_path / "before.safetensors", "a")) == set(tensors)


def test_another_version_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("steadyread.models.seal.running_versions", lambda: {"steadyread": "0.0.1", "torch": "1.0"})
        save_weights(torch.nn.Linear(3, 2), path, {"training_digest": "a"})
    with caplog.at_level(logging.WARNING, "steadyread"):
        trained_state(path, "a")
    assert len(caplog.messages) == 1
    assert "written by steadyread 0.0.1, running is" in caplog.messages[0]
    assert "torch 1.0, running is" in caplog.messages[0]


def test_a_finished_run_of_other_versions_is_taken_up_and_says_so(here: Path, caplog: pytest.LogCaptureFixture
                                                                  ) -> None:
    path = here / "run" / "plan.json"
    plan = json.loads(path.read_text())
    plan["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(plan))
    with caplog.at_level(logging.WARNING, "steadyread"):
        carry_out(study(), "run")
    assert [text for text in caplog.messages if "torch is" in text] == [
        f"steadyread: run was computed with other versions: torch is 1.0 there and {torch.__version__} now"]
    next((here / "run" / "records").iterdir()).unlink()   # two versions in one table
    with pytest.raises(PlanDiffers, match=r"versions\.torch"):
        carry_out(study(), "run")


def test_damaged_records_are_computed_anew_and_that_is_said(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = records.read(here / "run")
    part = next((here / "run" / "records").iterdir())
    flip(part, 100)
    with caplog.at_level(logging.WARNING, "steadyread"):
        carry_out(study(), "run")
    assert any(part.name in text and "damaged" in text for text in caplog.messages)
    assert records.read(here / "run").equals(before)


HOLDER = """
import sys, time
from pathlib import Path
from steadyread.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """Another process that works in the folder until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_folder_is_one_processes_and_free_when_that_ends_or_is_killed(here: Path, steadyread: Call) -> None:
    for end in ("killed", "ended"):
        with holder(here / "run") as other:
            for command in (("harden", "run", "--epsilon", "0.05 range"), ("report", "run")):
                told = steadyread(*command)
                assert told.code == 3
                assert f"run is being worked in by another process (pid {other.pid})" in told.err
            (other.kill if end == "killed" else other.stdin.close)()  # type: ignore[union-attr]
            other.wait()
        with locked(here / "run"):
            pass
        assert not (here / "run" / LOCK).exists()


def test_a_lock_leaves_no_folder_that_stays_empty_and_may_be_taken_twice(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"), locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK).read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_said_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    def refused(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with caplog.at_level(logging.WARNING, "steadyread"), locked(tmp_path):
        pass
    assert len(caplog.messages) == 1
    assert "knows no locks (No locks available)" in caplog.messages[0]


def test_leftovers_of_killed_runs_are_swept_where_nobody_works_and_nothing_else(tmp_path: Path) -> None:
    ours = (".study.json.123.tmp", "figures/.a.svg.9.tmp", "hardened/.model.safetensors.77.tmp",
            "jobs/original/fold-0/checkpoint.pt")
    kept = ("notes.tmp", ".hidden.tmp", "figures/a.svg", "checkpoint.pt", "busy/.plan.json.5.tmp",
            "jobs/original/fold-0/model.safetensors")
    for name in (*ours, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with holder(tmp_path / "busy") as other:
        sweep(tmp_path)
        other.kill()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        *kept, f"busy/{LOCK}"}


def test_another_plan_in_the_default_folder_goes_to_a_numbered_one_and_is_taken_up_there(
        here: Path, caplog: pytest.LogCaptureFixture) -> None:
    (here / "runs").mkdir()
    (here / "run").rename(here / "runs" / "kept")
    before = contents(here / "runs" / "kept")
    other = study(seed=1, hardening=None, triage={}, attacks={"use": [], "epsilons": []})
    with caplog.at_level(logging.WARNING, "steadyread"):
        assert carry_out(other).folder == Path("runs/kept-2")
    assert len(caplog.messages) == 1
    assert "seed is 0 there and 1 now" in caplog.messages[0]
    assert caplog.messages[0].endswith("this run goes to runs/kept-2")
    assert contents(here / "runs" / "kept") == before
    second = contents(here / "runs" / "kept-2")
    assert carry_out(other).folder == Path("runs/kept-2")
    assert contents(here / "runs" / "kept-2").keys() == second.keys()
    assert carry_out(study()).folder == Path("runs/kept")
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["kept", "kept-2"]


def test_other_data_of_the_same_settings_leave_the_old_run_whole(here: Path) -> None:
    (here / "runs").mkdir()
    (here / "run").rename(here / "runs" / "kept")
    before = contents(here / "runs" / "kept")
    pictures(here / "more", 30)
    other = {"data": {"path": "more"}, "hardening": None, "triage": {}}
    assert carry_out(study(**other)).folder == Path("runs/kept-2")
    assert contents(here / "runs" / "kept") == before


def test_a_stated_folder_with_another_plan_is_refused_or_kept_aside(here: Path, steadyread: Call) -> None:
    before = contents(here / "run")
    (here / "other.toml").write_text('seed = 1\n[data]\npath = "images"\n[preparation]\nsize = 12\n[training]\n'
                                     "epochs = 1\n[model.arguments]\nwidth = 0.05\nnorm = true\n"
                                     "convolutions = [1, 1, 1, 1, 1]\n")
    command = ("train", "--study", "other.toml", "--out", "run", "--threads", 1)
    told = steadyread(*command)
    assert told.code == 3
    assert "seed is 0 there and 1 now" in told.err
    assert "--overwrite, which keeps it as run.old-1" in told.err
    assert contents(here / "run") == before
    for _ in range(2):   # the second goes on with the new one
        assert steadyread(*command, "--overwrite").code == 0
        aside = contents(here / "run.old-1")
        assert {here / "run" / path.relative_to(here / "run.old-1"): aside[path] for path in aside} == before
    assert json.loads((here / "run" / "study.json").read_text())["seed"] == 1
    assert not (here / "run.old-2").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, Partial), (errno.EROFS, InputRefused)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_a_disk_that_is_full_or_read_only_at_any_write_loses_nothing(
        here: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[SteadyreadError], share: float
        ) -> None:
    real, done = os.fsync, []

    def counted(handle: int) -> None:
        done.append(handle)
        if len(done) > wanted:
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", counted)
    wanted = 10_000
    carry_out(study(), "whole")
    whole, wanted = records.read(here / "whole"), int(share * len(done))
    done.clear()
    with pytest.raises(kind):
        carry_out(study(), "again")
    assert not [path for path in here.rglob(".*") if path.is_file()]
    wanted = 10_000
    carry_out(study(), "again")
    assert records.read(here / "again").equals(whole)


def test_what_the_users_code_prints_leaves_stdout_to_results(tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    with taken_up(tmp_path / "run"):
        print("from forward")
    assert capsys.readouterr() == ("", "from forward\n")


@pytest.mark.parametrize("content", [b"[1, 2]", b'{"name": "\xe9"}', b"", b"\xff\xfe{\0", b'{"name"', b"[" * 10**5])
def test_a_damaged_study_of_a_run_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(InputRefused, match=r"study\.json"):
        harden_run(tmp_path, [])


def test_weights_of_an_earlier_version_are_taken_up() -> None:
    """They carry a digest of what they were trained by, which keys that studies have got since must not change."""
    begun = checked({"data": {"path": "images"}, "model": {"name": "small_cnn"}, "training": {"epochs": 3}}, "kept")
    digest = networks._digest_of_training(cast(Material, SimpleNamespace(study=begun, digest="of the images")), 7)
    assert digest == "d22e0bd8e6b810b60f3ad333a40642dfe813e7f5abb56d5a835057deec2198b3"
