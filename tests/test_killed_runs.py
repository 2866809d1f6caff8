"""Runs of every kind that are killed, again and again: the same command goes on and ends as if it never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nibabel")

from fabricate import write_run
from golden_rows import HARDENING, KINDS, NODULES, PICTURES, digests, material, small
from steadyread.jobs.run import carry_out
from steadyread.report import write_report
from steadyread.stored import report_run
from steadyread.study import Settings, laid_over, read_studies

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs fork and /proc")]
TINY = laid_over(PICTURES, {"attacks": {"use": ["fgsm"]}, "triage": {"members": 0, "views": 0}})
STUDIES: dict[str, Settings] = {
    "plain": laid_over(TINY, {"triage": {"members": 1}}),
    "hardened": laid_over(TINY, {"hardening": HARDENING}),
    "noise": laid_over(NODULES, {"noise": {
        "mas": [100.0], "test": {"random": {"draws": 2}}, "train": {}, "counted": 0, "converged": 2,
        "hardening": {"epochs": 1, "rounds": 2, "judged": {"test": {"rings": {"steps": 2}}},
                      "compare": {"drift": {"method": "drift", "draws": 2}}}}}),
    "sets": laid_over(TINY, {"name": "sets", "sets": {"one": {}, "two": {"data": {"path": "others"}}}}),
    "combined": KINDS["combined"]}
LIVES = 6
COMMAND = [sys.executable, "-m", "steadyread", "run", "study.toml", "--threads", "2", "--out"]


def killed(work: Callable[[], Any], after: int) -> bool:
    """Whether the work, in a process of its own, was killed at its nth fsync rather than done: with a temporary
    file written and not in its place yet (odd), or in its place just now (even)."""
    process = os.fork()
    if process == 0:
        real, count = os.fsync, 0

        def counted(handle: int) -> None:
            nonlocal count
            count += 1
            if count == after:
                os.kill(os.getpid(), signal.SIGKILL)
            real(handle)

        try:
            os.fsync = counted
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(process, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a run, but for how long things took, which pages tell too."""
    return {str(path.relative_to(folder)): None if path.suffix in (".html", ".md") else _content(path)
            for path in folder.rglob("*") if path.is_file()}


def _content(path: Path) -> Any:
    content = path.read_bytes()
    return _timeless(json.loads(content)) if path.suffix == ".json" else content


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key != "seconds"}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", STUDIES)
def test_a_run_killed_at_random_writes_goes_on_and_ends_the_same(kind: str, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small(monkeypatch)
    material(tmp_path)
    study, real, writes = read_studies(None, STUDIES[kind]), os.fsync, list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (writes.append(handle), real(handle)))
        carry_out(study, "whole")
    chance, kills = random.Random(kind), 0
    for _ in range(LIVES):
        kills += killed(lambda: carry_out(study, "run"), chance.randint(2, len(writes) // 3))
    carry_out(study, "run")
    assert kills >= 3
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()
                               if inner is not None) + "}"
    return json.dumps(value)


def _children(process: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[:1]
    except OSError:
        return False


def _workers(process: int) -> list[int]:
    return [child for child in _children(process) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def interruptible() -> None:
    """Ctrl-C reaches a process that was begun in the background too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@cache
def whole(kind: str, folder: Path) -> dict[str, Any]:
    """What a study ends in that nothing stopped."""
    study_file(kind, folder)
    done = subprocess.run([*COMMAND, "whole"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return digests(folder / "whole")


def study_file(kind: str, folder: Path) -> None:
    """A study of a kind with its images, whose training takes long enough to be stopped in."""
    material(folder)
    stated = laid_over(STUDIES[kind], {"training": {"epochs": 8}})
    (folder / "study.toml").write_text("".join(f"{key} = {_toml(value)}\n" for key, value in stated.items()))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a study of a kind ends in, carried out once."""
    base = tmp_path_factory.mktemp("wholes")

    def of(kind: str) -> dict[str, Any]:
        (base / kind).mkdir(exist_ok=True)
        return whole(kind, base / kind)

    return of


@pytest.mark.xdist_group("ended side by side")
@pytest.mark.parametrize(("kind", "end", "awaited"), [
    ("sets", "parent", "**/checkpoint.pt"), ("sets", "child", "**/records/part-*"),
    ("sets", "interrupt", "**/model.safetensors")])
def test_processes_side_by_side_that_are_ended_leave_no_orphan_and_go_on(kind: str, end: str, awaited: str,
                                                                         tmp_path: Path, wholes: Any) -> None:
    study_file(kind, tmp_path)
    with subprocess.Popen([*COMMAND, end], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, preexec_fn=interruptible) as process:
        while process.poll() is None and not (list((tmp_path / end).glob(awaited)) and _workers(process.pid)):
            time.sleep(0.01)
        below = _children(process.pid)
        os.kill(_workers(process.pid)[0] if end == "child" else process.pid,
                signal.SIGINT if end == "interrupt" else signal.SIGKILL)
        _, err = process.communicate()
    assert process.returncode == {"parent": -signal.SIGKILL, "interrupt": 130, "child": 4}[end], err
    until = time.monotonic() + 60
    while any(map(_alive, below)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [child for child in below if _alive(child)]
    done = subprocess.run([*COMMAND, end], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, unstopped = digests(tmp_path / end), wholes(kind)
    assert (found["keys"], {name: each.get("rows") for name, each in found["rows"].items()}) == (
        unstopped["keys"], {name: each.get("rows") for name, each in unstopped["rows"].items()})
    assert not [path for path in (tmp_path / end).rglob("*")
                if path.name.startswith(".") or path.name == "checkpoint.pt"]


@pytest.mark.usefixtures("undrawn")
def test_a_report_killed_while_it_is_written_is_written_whole_the_next_time(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_report(run)
    whole = contents(run)
    for after in (2, 9, len(list((run / "figures").iterdir())) + 1):
        assert killed(lambda: write_report(run), after)
        left = {name: content for name, content in contents(run).items() if not name.endswith(".tmp")}
        assert left == whole    # no file was ever half there
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        report_run("run")
    assert contents(run) == whole
