"""Progress: the items unchanged, plain lines now and then without a terminal, a bar on one."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from steadyread.progress import duration, progress, quiet


def ticking(step: float) -> Callable[[], float]:
    times: Iterator[float] = (step * i for i in range(10**6))
    return lambda: next(times)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_short_work_says_nothing() -> None:
    out = io.StringIO()
    assert list(progress(range(9), 9, "assessing", out, ticking(0.1))) == list(range(9))
    assert out.getvalue() == ""


def test_long_work_says_how_far_it_is_after_a_second_and_then_every_ten() -> None:
    out = io.StringIO()
    assert sum(1 for _ in progress(range(535), 535, "assessing", out, ticking(0.25))) == 535
    lines = out.getvalue().splitlines()
    assert lines[0] == "assessing: 4 of 535, about 2 min left"
    assert lines[1] == "assessing: 44 of 535, about 2 min left"
    assert lines[-1] == "assessing: 535 of 535, done in 2 min"
    assert len(lines) == 1 + (535 * 0.25 - 1) // 10 + 1


def test_a_terminal_gets_a_bar() -> None:
    out = Terminal()
    assert list(progress("abc", 3, "assessing", out)) == ["a", "b", "c"]
    assert "assessing" in out.getvalue()


def test_standard_error_is_the_one_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3), 3, "reading", clock=ticking(20.0))) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.err.startswith("reading: 1 of 3, about 40 s left")
    assert captured.out == ""


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(quiet([3, 1], 2, "x")) == [3, 1]
    assert list(progress([], 0, "x")) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "words"), [
    (0.01, "1 s"), (42.4, "42 s"), (59.7, "1 min"), (119, "2 min"), (3900, "1 h 5 min"), (7199, "2 h 0 min")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rich_is_not_imported_without_a_terminal() -> None:
    code = ("import sys, io; from steadyread.progress import progress; list(progress([1], 1, 'x', io.StringIO()));"
            "sys.exit('rich' in sys.modules or 'torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_a_label_that_changes_gets_a_line_after_each_item(out: io.StringIO) -> None:
    said = [0]

    def label() -> str:
        return f"hardening ({said[0]} % robust)"

    for item in progress((10, 20, 30), 3, label, out, ticking(1.0)):
        said[0] = item
    places = [out.getvalue().index(f"({10 * done} % robust): {done} of 3") for done in (1, 2, 3)]
    assert places == sorted(places)
