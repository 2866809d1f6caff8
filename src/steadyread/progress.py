"""Time left on long work: bars on a terminal, where finished work leaves a line with its time; else a plain line now
and then."""

import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from steadyread.errors import Doubt
from steadyread.names import shown
from steadyread.terminal import is_clever, screen_of

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task

T = TypeVar("T")
# What the work is called; a function is called after each item, and what it says then is said then.
Label = str | Callable[[], str]
# Seconds from the beginning of work to its first line, and between lines.
Pace = tuple[float, float]
PACE: Pace = (0.7, 30.0)


def note(message: str) -> None:
    """One line that a person should read and that stops nothing, on standard error (logger "steadyread")."""
    logging.getLogger("steadyread").warning("steadyread: %s", shown(message))


class _OnStderr(logging.Handler):
    """Notes as lines of standard error, which part no word on a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            print("\n".join(screen_of(sys.stderr).wrapped(record.getMessage())), file=sys.stderr, flush=True)


@contextmanager
def doubts_noted() -> Iterator[None]:
    """Within, notes are lines of standard error, and what is warned of as a `Doubt` is noted, each once; other
    warnings are as before."""
    usual, logging.lastResort = logging.lastResort, _OnStderr(logging.WARNING)     # where nobody else listens
    try:
        with _doubts():
            yield
    finally:
        logging.lastResort = usual


@contextmanager
def _doubts() -> Iterator[None]:
    with warnings.catch_warnings():
        shown_before = warnings.showwarning

        def said(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, Doubt):
                note(str(message))
            else:
                shown_before(message, category, *where, **more)

        warnings.showwarning = said
        warnings.simplefilter("once", Doubt)
        yield


class Progress(Protocol):
    """What long work is handed to report how far it is: `progress` or `quiet`."""

    def __call__(self, items: Iterable[T], total: int, label: Label) -> Iterator[T]:
        """The items one by one, unchanged."""
        ...


def quiet(items: Iterable[T], total: int, label: Label) -> Iterator[T]:
    """The items, and not a word: the library's default."""
    return iter(items)


def progress(items: Iterable[T], total: int, label: Label, out: TextIO | None = None, pace: Pace | None = None
             ) -> Iterator[T]:
    """The items, with the time left on `out` (standard error if None).

    A bar where `out` is a terminal, and a line with a tick and its time once the work is done; else a plain line when
    the work has begun and one at most every thirty seconds, whether an item is done by then or not. Nothing stays of
    work that ends in less than a second. A label that is a function gets a line of its own after each item, bar or not.
    """
    stream = sys.stderr if out is None else out
    if is_clever(stream):
        return _bar(items, total, label, stream, (pace or PACE)[0])
    return _lines(items, total, label, stream, pace or PACE)


@dataclass(frozen=True)
class Named:
    """Progress that says of which work it is, where several go on side by side."""

    told: Progress
    name: str

    def __call__(self, items: Iterable[T], total: int, label: Label) -> Iterator[T]:
        """The items, one by one."""
        return self.told(items, total, (lambda: f"{self.name}: {label()}") if callable(label) else
                         f"{self.name}: {label}")


def lines(items: Iterable[T], total: int, label: Label) -> Iterator[T]:
    """As `progress`, in plain lines always: of work side by side, bars would overwrite each other."""
    return _lines(items, total, label, sys.stderr, PACE)


def at_work(progress: Progress, label: str, work: Callable[[], T]) -> T:
    """What `work` returns; that it goes on is said as of one item."""
    def whole() -> Iterator[T]:
        yield work()

    (answer,) = progress(whole(), 1, label)
    return answer


def in_pieces(progress: Progress, pieces: Mapping[T, int], label: str) -> Iterator[T]:
    """The pieces of some work, one by one; what is counted are the items in them, so many in each."""
    ticks = iter(progress(range(total := sum(pieces.values())), total, label))
    next(ticks, None)      # the first has begun
    for piece, size in pieces.items():
        yield piece
        for _ in range(size):
            next(ticks, None)


_LIVE: list["Bars"] = []      # what draws the bars of the work under way, if any does


@contextmanager
def _bars(out: TextIO) -> Iterator["Bars"]:
    """What draws bars on the terminal: one for all work that goes on at a time, each within the other."""
    if _LIVE:
        yield _LIVE[0]
        return
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Line(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(_drawn(task, out), no_wrap=True, overflow="crop")

    with Bars(Line(), console=Console(file=out), transient=True) as bars:
        _LIVE.append(bars)
        try:
            yield bars
        finally:
            _LIVE.clear()


def _drawn(task: "Task", out: TextIO) -> str:
    """A bar as one line: the label, cut where there is no room, how many are done, the time left, or so far."""
    screen, total, elapsed = screen_of(out), int(task.total or 1), task.elapsed or 0.0
    count = f" {int(task.completed)}/{total}" if total > 1 else ""
    left = f" {duration(task.time_remaining)} left" if task.time_remaining else (
        f" {duration(elapsed)}" if elapsed >= 1 else "")
    behind = f" {screen.bar(task.completed / total, 12)}{count}{left}" if total > 1 else f" ...{left}"
    room = (screen.width or 80) - 1 - len(behind)
    label = task.description if len(task.description) <= room else f"{task.description[:room - 1]}…"
    return f"{label}{behind}"


def _bar(items: Iterable[T], total: int, label: Label, out: TextIO, short: float) -> Iterator[T]:
    began, done, screen = time.monotonic(), 0, screen_of(out)
    with _bars(out) as bars:
        task = bars.add_task(_told(label), total=total)

        def stay(first: str, text: str) -> None:
            for line in screen.wrapped(text, first):
                bars.console.print(line, highlight=False, markup=False, no_wrap=True, crop=False)

        try:
            for item in items:
                yield item
                done += 1
                bars.update(task, completed=done, description=_told(label))
                if callable(label):
                    stay("", f"{_told(label)}: {done} of {total}")
        finally:
            bars.remove_task(task)
        took = time.monotonic() - began
        if done and took >= short:
            stay(f"{screen.sign('✓')} ", f"{_told(label)}: {f'{done} in ' if total > 1 else ''}{duration(took)}")


@dataclass
class _Stage:
    """Work under way: its name, how many items it has, when it began, how many are done, whether it was said."""

    label: Label
    total: int
    began: float
    done: int = 0
    said: bool = False

    def line(self) -> str:
        """How far it is."""
        label, elapsed = _told(self.label), time.monotonic() - self.began
        if not self.said and not self.done:
            return f"{label} ..." if self.total == 1 else f"{label}: {self.total} to do"
        if self.total == 1:
            return f"{label}: {duration(elapsed)} so far"
        if not self.done:
            return f"{label}: 0 of {self.total}, {duration(elapsed)} so far"
        left = elapsed / self.done * (self.total - self.done)
        return f"{label}: {self.done} of {self.total}, about {duration(left)} left"


@contextmanager
def _spoken(stage: _Stage, out: TextIO, pace: Pace) -> Iterator[None]:
    """Within, a thread says how far the stage is, at its pace, however long one item takes."""
    ended = threading.Event()

    def speak() -> None:
        wait, then = pace
        while not ended.wait(wait):
            print(stage.line(), file=out, flush=True)
            stage.said, wait = True, then

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _lines(items: Iterable[T], total: int, label: Label, out: TextIO, pace: Pace) -> Iterator[T]:
    stage = _Stage(label, total, time.monotonic())
    with _spoken(stage, out, pace):
        for item in items:
            yield item
            stage.done += 1
            if callable(label) and stage.done < total:
                print(stage.line(), file=out, flush=True)
                stage.said = True
    if stage.said and stage.done:
        count = "" if total == 1 else f"{stage.done} of {total}, "
        print(f"{_told(label)}: {count}done in {duration(time.monotonic() - stage.began)}", file=out, flush=True)


def _told(label: Label) -> str:
    return shown(label if isinstance(label, str) else label())


def duration(seconds: float) -> str:
    """A duration in words: "40 s", "2 min", "1 h 5 min"."""
    if round(seconds) < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
