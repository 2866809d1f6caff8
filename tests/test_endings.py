"""How commands end: every exit code, one line of stderr, and text of the data that cannot act."""

import csv
import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import steadyread.stored
from fabricate import table, write_run
from fabricate_pictures import Call
from steadyread import console, records
from steadyread.cli import main
from steadyread.errors import PipeClosed
from steadyread.names import cell, one_line, shown


def raising(problem: BaseException) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise problem

    return call


def noted() -> Exception:
    problem = ZeroDivisionError("division\nby zero \x1b[31m")
    problem.add_note("case 'pictures/7.png'")
    return problem


@pytest.mark.parametrize(("problem", "code", "said"), [
    (KeyError("x"), 70, "unforeseen KeyError: 'x'"),
    (noted(), 70, "division by zero \\x1b[31m (case 'pictures/7.png'; "),
    (RecursionError("too deep"), 70, "unforeseen RecursionError"),
    (SystemExit(0), 70, "unforeseen SystemExit"),
    (MemoryError(), 4, "memory ran out"),
    (PermissionError(errno.EACCES, "Permission denied", "there/x.csv"), 3, "there/x.csv: Permission denied"),
    (NotADirectoryError(errno.ENOTDIR, "Not a directory", b"\xe9.png"), 3, "\\xe9.png: Not a directory"),
    (OSError(errno.ENOSPC, "No space left on device", "big.npz"), 4, "no room to write big.npz"),
    (OSError(errno.ENOSPC, "No space left on device"), 4, "no room to write anything: No space"),
    (OSError(errno.EIO, "Input/output error"), 70, "unforeseen OSError"),
    (KeyboardInterrupt(), 130, "interrupted"),
])
def test_whatever_is_raised_ends_in_its_code_and_one_line(problem: BaseException, code: int, said: str,
                                                          monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(steadyread.stored, "report_run", raising(problem))
    assert main(["report", "run"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("steadyread: ")
    assert told.err.count("\n") == 1
    assert said in told.err


def test_debug_shows_the_traceback_before_the_line(monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(steadyread.stored, "report_run", raising(KeyError("x")))
    assert main(["--debug", "report", "run"]) == 70
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.splitlines()[-1].startswith("steadyread: unforeseen KeyError: 'x'")
    assert main(["report", "run"]) == 70     # and the next command is without it again
    assert "Traceback" not in capsys.readouterr().err


def test_a_full_stdout_is_partial(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["--version"]) == 4
    assert "stdout cannot be written: No space left on device" in capsys.readouterr().err


def test_a_closed_pipe_is_not_a_missed_gate(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    ends = [os.pipe(), os.pipe()]
    for reading, _ in ends:
        os.close(reading)
    with os.fdopen(ends[0][1], "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(PipeClosed):
            console.say({"a": 1}, True, iter)   # type: ignore[arg-type]
    with os.fdopen(ends[1][1], "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["--help"]) == 141
    assert capsys.readouterr().err == ("steadyread: stdout was closed before everything was printed; files that "
                                       "were written are whole\n")


@pytest.mark.parametrize(("shell", "code"), [("--help | true", 141), ("--version > /dev/full", 4),
                                             ("--version >&-", 0), ("nothing 2> /dev/full", 2)])
def test_nothing_is_added_when_the_interpreter_ends(shell: str, code: int) -> None:
    told = subprocess.run(["bash", "-c", f"'{sys.executable}' -m steadyread {shell}; exit ${{PIPESTATUS[0]}}"],
                          capture_output=True, text=True)
    assert told.returncode in (code, 0 if code == 141 else code)   # a short text may be read before the pipe closes
    assert told.stderr.count("\n") <= 1
    assert "Exception ignored" not in told.stderr


def test_a_folder_that_is_a_file_is_refused(steadyread: Call, tmp_path: Path) -> None:
    write_run(tmp_path / "run", table(n=20))
    (tmp_path / "file").write_text("")
    assert steadyread("report", "run", "--out", "file").code == 3
    assert steadyread("triage", "run", "--out", "file").code == 3
    assert steadyread("report", "file").code == 3
    assert steadyread("triage", "file").code == 3


NOBODY = 65534     # root may write anywhere


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("command", ["report"])
def test_a_folder_that_may_not_be_written_is_refused(command: str, steadyread: Call,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as here:      # pytest's own folders are closed to anybody else
        monkeypatch.chdir(here)
        run = write_run(Path("run"), table(n=20))
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        for path, mode in ((Path(), 0o755), (run / records.PARTS, 0o555), (run, 0o555)):
            path.chmod(mode)
        process = os.fork()
        if process == 0:
            right = False
            try:
                if os.geteuid() == 0:
                    os.setuid(NOBODY)
                told = steadyread(command, "run")
                right = told.code == 3 and told.err.startswith("steadyread: cannot write run")
            finally:
                os._exit(0 if right else 1)
        assert os.waitpid(process, 0)[1] == 0
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
        run.chmod(0o755)
        (run / records.PARTS).chmod(0o755)
        monkeypatch.undo()


@pytest.mark.parametrize(("text", "safe"), [
    ("plain, Ω ü 中", "plain, Ω ü 中"), ("\x1b[31mred", "\\x1b[31mred"), ("a\u202egnp.exe", "a\\u202egnp.exe"),
    ("\udce9.png", "\\xe9.png"), ("a\x9b31m", "a\\x9b31m"), ("two\nlines\r", "two\\x0alines\\x0d"),
    ("line\u2028end\x00\x7f", "line\\u2028end\\x00\\x7f"), ("می\u200cخواهم", "می\u200cخواهم")])
def test_text_of_the_data_is_shown_and_never_acts(text: str, safe: str) -> None:
    assert shown(text) == safe
    assert shown(safe) == safe
    assert one_line(f" {text} \n next") == f"{shown(' '.join(text.split()))} next"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_what_a_spreadsheet_would_compute_has_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{shown(text)}"
    assert cell(f"a{text}") == f"a{shown(text)}"


def test_names_that_act_stay_text_in_every_output(steadyread: Call, tmp_path: Path) -> None:
    evil = "=cmd|'/c calc'!A0\x1b]0;title\x07"
    made = table(n=40).to_pylist()
    for row in made:
        row["case_id"] = f"{evil}{row['case_id']}"
    run = write_run(tmp_path / "run", records.as_table(made))
    plan = json.loads((run / "plan.json").read_text())
    plan["data"]["classes"] = ["\x1b[31mbenign", "malignant\u202e"]
    (run / "plan.json").write_text(json.dumps(plan))
    told = steadyread("report", "run")
    assert told.code == 0, told.err
    assert "Classes: 0 is \\x1b[31mbenign, 1 is malignant\\u202e." in told.out
    assert steadyread("triage", "run").code == 0
    for name in ("report.html", "summary.json", "triage.csv", "checklist.md"):
        text = (run / name).read_text()
        assert not set(text) & set("\x1b\x07\u202e"), name
    rows = list(csv.DictReader((run / "triage.csv").read_text().splitlines()))
    assert rows[0]["case_id"].startswith("'=cmd|'/c calc'!A0\\x1b]0;title\\x07")
    assert float(rows[0]["margin"]) is not None
