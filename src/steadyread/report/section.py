"""A section of the report: one file with its question, its numbers and its words, found by standing in `sections/`.

    @section("What do the reads cost?", of=Plain, order=450)
    def costs(plain: Plain) -> Iterator[Item]:
        yield Text(...)

The order says where on the page; `of` is what it is written from, and a run that has no such thing has no such
section. Packages of others give theirs by the entry-point group `steadyread`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol, TypeVar

from steadyread.report.items import Item

GROUP = "steadyread"


class Subject(Protocol):
    """What sections are written from; `label` tells sections of one title on one page apart."""

    label: ClassVar[str]


T = TypeVar("T", bound=Subject)
Written = Callable[[T], Iterable[Item]]


@dataclass(frozen=True)
class Section:
    """`write` gives the items of one subject of the type `of`; none, and the section is left out."""

    title: str
    of: type[Any]
    order: int
    write: Callable[[Any], Iterable[Item]]

    @property
    def name(self) -> str:
        """Under which it can be asked for."""
        return self.write.__name__


_KNOWN: dict[str, Section] = {}


def section(title: str, *, of: type[T], order: int) -> Callable[[Written[T]], Written[T]]:
    """Registers a function as the section of that title."""
    def registered(write: Written[T]) -> Written[T]:
        _KNOWN[f"{write.__module__}.{write.__name__}"] = Section(title, of, order, write)
        return write

    return registered


def sections() -> list[Section]:
    """Every section in its order: those of `sections/`, and those of installed packages."""
    _discovered()
    return sorted(_KNOWN.values(), key=lambda each: each.order)


@cache
def _discovered() -> None:
    package = importlib.import_module("steadyread.report.sections")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for entry in entry_points(group=GROUP):
        entry.load()
