"""Runs that are killed while they write, again and again: the same command goes on and ends as if it never was."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fabricate import write_run
from fabricate_pictures import pictures
from steadyread import records
from steadyread.jobs.run import carry_out
from steadyread.report import shareable, write_report
from steadyread.stored import report_run
from steadyread.study.reading import checked
from test_kept_runs import bare, study
from test_noise_study import SETTINGS, made

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
LONGER = 5   # writes by which each life is longer than the one before
NOISE = {**{key: SETTINGS[key] for key in ("name", "model", "training")},
         "split": {"test_share": 0.3}, "noise": {
             "mas": [100.0], "test": {"random": {"draws": 2}}, "train": {}, "counted": 0, "converged": 2,
             "hardening": {"epochs": 2, "rounds": 2, "judged": {"test": {"rings": {}}},
                           "compare": {"drift": {"method": "drift", "draws": 2}}}}}


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
    """Every file of a run, but for how long things took."""
    return {str(path.relative_to(folder)): _content(path) for path in folder.rglob("*") if path.is_file()}


def _content(path: Path) -> Any:
    content = path.read_bytes()
    return _timeless(json.loads(content)) if path.suffix == ".json" else content


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key != "seconds"}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def stubbed(folder: Path, *_: object) -> Path:
    records.write_json(folder / "summary.json", {})
    return folder / "report.html"


@pytest.mark.parametrize("kind", ["plain", "noise"])
def test_a_hardening_killed_every_few_writes_goes_on_and_ends_bit_for_bit_the_same(
        kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bare(monkeypatch)
    monkeypatch.setattr(shareable.secrets, "token_hex", lambda: "0" * 64)     # of both runs' pseudonyms
    torch.set_num_threads(1)
    if kind == "plain":
        pictures(tmp_path / "images", 32)
        stated = study()
    else:
        pytest.importorskip("nibabel")
        made(tmp_path / "images", 24)
        stated = checked(NOISE | {"data": {**SETTINGS["data"], "path": "images"}}, "killed")
    carry_out(stated, "whole")
    kills = 0
    while killed(lambda: carry_out(stated, "run"), 1 + LONGER * kills):
        kills += 1
        assert kills < 20      # each life adds to what is finished
    assert kills >= 4
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


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
