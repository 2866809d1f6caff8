"""A section of the report: one file with its question, its numbers and its words, found by standing in `sections/`.

    @section("What do the reads cost?", of=Plain, order=450)
    def costs(plain: Plain) -> Iterator[Item]:
        yield Text(...)

The order says where on the page, and with that in which of its `PARTS`; `of` is what it is written from, and a run that
has no such thing has no such section. Other people's packages bring theirs by the entry-point group of
`steadyread.registry`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from steadyread.registry import Registry
from steadyread.report.items import Item


class Subject(Protocol):
    """What sections are written from; `label` tells sections of one title on one page apart."""

    label: ClassVar[str]


@dataclass(frozen=True)
class Part:
    """A part of the page: its anchor, the word of its link, its heading, below which order sections belong to it, and
    whether each of them is a fold."""

    name: str
    link: str
    title: str
    until: float
    folded: bool = False


CASES = Part("cases", "Cases", "Case by case", 200)
TRUST = Part("believe", "Trust", "Can this evaluation be trusted?", 300)
ACTION = Part("do", "What to do", "What to do", 400)
DETAIL = Part("detail", "Detail", "In detail", 800, folded=True)
METHODS = Part("methods", "Methods", "Methods and provenance", float("inf"), folded=True)
PARTS = (CASES, TRUST, ACTION, DETAIL, METHODS)
T = TypeVar("T", bound=Subject)
Written = Callable[[T], Iterable[Item]]


@dataclass(frozen=True)
class Section:
    """`write` gives the items of one subject of the type `of`; none, and the section is left out."""

    title: str
    of: type[Any]
    order: float
    write: Callable[[Any], Iterable[Item]]

    @property
    def name(self) -> str:
        """The function's full name."""
        return f"{self.write.__module__}.{self.write.__name__}"

    @property
    def part(self) -> Part:
        """The part of the page in which it stands."""
        return next(part for part in PARTS if self.order < part.until)


SECTIONS: Registry[Section] = Registry("section", "steadyread.report.sections")


def section(title: str, *, of: type[T], order: float) -> Callable[[Written[T]], Written[T]]:
    """Registers a function as the section of that title."""
    def registered(write: Written[T]) -> Written[T]:
        SECTIONS.add(Section(title, of, order, write))
        return write

    return registered


def sections() -> list[Section]:
    """Every section in its order: those of `sections/`, and those of installed packages."""
    return list(SECTIONS.values())
