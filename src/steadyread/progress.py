"""Time left on long work: a bar on a terminal, a plain line now and then where there is none."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TextIO, TypeVar

T = TypeVar("T")
# What the work is called; a function is called after each item, and what it says then is said then.
Label = str | Callable[[], str]
_FIRST_S, _EVERY_S = 1.0, 10.0


def note(message: str) -> None:
    """One line that a person should read and that stops nothing, on standard error (logger "steadyread")."""
    logging.getLogger("steadyread").warning("steadyread: %s", message)


class Progress(Protocol):
    """What long work is handed to report how far it is: `progress` or `quiet`."""

    def __call__(self, items: Iterable[T], total: int, label: Label) -> Iterator[T]:
        """The items one by one, unchanged."""
        ...


def quiet(items: Iterable[T], total: int, label: Label) -> Iterator[T]:
    """The items, and not a word: the library's default."""
    return iter(items)


def progress(items: Iterable[T], total: int, label: Label, out: TextIO | None = None,
             clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
    """The items, with the time left on `out` (standard error if None).

    A bar where `out` is a terminal; else one plain line after a second and then at most every ten, and nothing
    for work that ends sooner. A label that is a function gets a line of its own after each item, bar or not.
    """
    stream = sys.stderr if out is None else out
    if stream.isatty():
        return _bar(items, total, label, stream)
    return _lines(items, total, label, stream, clock)


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
    return _lines(items, total, label, sys.stderr, time.monotonic)


def _bar(items: Iterable[T], total: int, label: Label, out: TextIO) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(file=out), transient=True) as bar:
        task = bar.add_task(_told(label), total=total)
        for done, item in enumerate(items, start=1):
            yield item
            bar.update(task, advance=1, description=_told(label))
            if callable(label):
                bar.console.print(f"{_told(label)}: {done} of {total}", highlight=False, markup=False)


def _lines(items: Iterable[T], total: int, label: Label, out: TextIO, clock: Callable[[], float]) -> Iterator[T]:
    began = clock()
    first = said = began - _EVERY_S + _FIRST_S
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = clock()
        if (callable(label) or now - said >= _EVERY_S) and done < total:
            left = (now - began) / done * (total - done)
            print(f"{_told(label)}: {done} of {total}, about {duration(left)} left", file=out, flush=True)
            said = now
    if said > first:
        print(f"{_told(label)}: {done} of {total}, done in {duration(clock() - began)}", file=out, flush=True)


def _told(label: Label) -> str:
    return label if isinstance(label, str) else label()


def duration(seconds: float) -> str:
    """A duration in words: "40 s", "2 min", "1 h 5 min"."""
    if round(seconds) < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
