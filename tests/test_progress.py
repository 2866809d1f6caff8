"""Progress: the items unchanged, plain lines now and then without a terminal, a bar on one."""

import io
import threading
from collections.abc import Iterator

import pytest

from steadyread.progress import at_work, in_pieces, progress, quiet

AT_ONCE = (1e-4, 1e-4)   # instead of a second, and thirty


class Heard(io.StringIO):
    """A stream on which one can wait for the next line."""

    def __init__(self) -> None:
        super().__init__()
        self.spoken = threading.Event()

    def flush(self) -> None:
        self.spoken.set()

    def after(self, text: str) -> bool:
        """Waits until that text was written."""
        while text not in self.getvalue():
            self.spoken.clear()
            assert text in self.getvalue() or self.spoken.wait(60)
        return True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_short_work_says_nothing() -> None:
    out = io.StringIO()
    assert list(progress(range(9), 9, "assessing", out)) == list(range(9))
    assert out.getvalue() == ""


def test_long_work_says_that_it_has_begun_and_how_far_it_is_whatever_one_item_takes() -> None:
    out = Heard()

    def items() -> Iterator[int]:
        assert out.after("assessing: 3 to do\nassessing: 0 of 3, 1 s so far\n")
        yield 1
        assert out.after("assessing: 1 of 3, about 1 s left\n")
        yield from (2, 3)

    assert list(progress(items(), 3, "assessing", out, AT_ONCE)) == [1, 2, 3]
    assert out.getvalue().endswith("assessing: 3 of 3, done in 1 s\n")


def test_work_without_items_is_said_too() -> None:
    out = Heard()

    def heard(items: Iterator[str], total: int, label: str) -> Iterator[str]:
        return progress(items, total, label, out, AT_ONCE)

    assert at_work(heard, "reading the images",
                   lambda: out.after("reading the images ...\nreading the images: 1 s so far\n"))
    assert out.getvalue().endswith("reading the images: done in 1 s\n")
    assert at_work(quiet, "reading", lambda: 7) == 7


def test_lines_are_thirty_seconds_apart() -> None:
    out = Heard()
    list(progress((out.after("reading ...\n") for _ in range(1)), 1, "reading", out, (1e-4, 30.0)))
    assert out.getvalue().splitlines() == ["reading ...", "reading: done in 1 s"]


def test_a_terminal_gets_a_bar() -> None:
    out = Terminal()
    assert list(progress("abc", 3, "assessing", out)) == ["a", "b", "c"]
    assert "assessing" in out.getvalue()


def test_standard_error_is_the_one_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    said = iter(("first", "second", "third"))
    assert list(progress(range(3), 3, lambda: next(said))) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.err.startswith("first: 1 of 3, about 1 s left")
    assert captured.out == ""


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_a_label_that_changes_gets_a_line_after_each_item(out: io.StringIO) -> None:
    said = [0]

    def label() -> str:
        return f"hardening ({said[0]} % robust)"

    for item in progress((10, 20, 30), 3, label, out):
        said[0] = item
    places = [out.getvalue().index(f"({10 * done} % robust): {done} of 3") for done in (1, 2, 3)]
    assert places == sorted(places)


def test_work_within_work_leaves_a_line_each_with_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "50")
    out = Terminal()
    for fold in progress(range(2), 2, "networks", out, (0.0, 30.0)):
        assert list(progress("abc", 3, f"assessing images of fold {fold}, which has a long name", out, (0.0, 30.0)))
    text = out.getvalue()
    assert text.count("✓ assessing images of fold") == 2
    assert text.index("✓ assessing") < text.index("✓ networks: 2 in 1 s")
    assert all(len(line) <= 50 for line in text.replace("\r", "\n").split("\n") if "\x1b" not in line)


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    assert list(progress("abc", 3, "assessing", out)) == ["a", "b", "c"]
    assert out.getvalue() == ""


def test_of_work_in_pieces_the_items_are_counted() -> None:
    counted: list[int] = []

    def heard(items: Iterator[int], total: int, label: str) -> Iterator[int]:
        assert (total, label) == (7, "assessing images")
        for item in items:
            counted.append(item)
            yield item

    pieces = in_pieces(heard, {"first": 4, "second": 3}, "assessing images")
    done = [(piece, len(counted) - 1) for piece in pieces]       # with the items done before a piece begins
    assert done == [("first", 0), ("second", 4)]
    assert len(counted) == 7
