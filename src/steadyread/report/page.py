"""One self-contained page of sections: no network, light and dark, whole without scripts, and it prints."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from steadyread._version import __version__
from steadyread.report import marks
from steadyread.report.inline import Inline, LiveCharts, colours, face
from steadyread.report.items import (
    Card,
    Cards,
    CaseBrowser,
    Command,
    Downloads,
    Figure,
    Fold,
    Grid,
    Heading,
    Item,
    Lead,
    Listing,
    Note,
    Notes,
    Strips,
    Terms,
    Text,
    Threshold,
)
from steadyread.report.scripts import Scripts
from steadyread.report.section import METHODS, Part, sections
from steadyread.report.table import Table
from steadyread.words import glossary

Drawn = Mapping[str, Inline]   # by the figure's name
STYLES = ("report.css", "answer.css", "detail.css", "browser/cases.css")      # joined in this order


@dataclass(frozen=True)
class Passage:
    """What a section says of a run: its title, its items, and the part of the page in which it stands, if any."""

    title: str
    items: tuple[Item, ...]
    part: Part | None = None

    @property
    def anchor(self) -> str:
        """By which a link finds it."""
        return marks.slug(self.title)

    @property
    def titled(self) -> bool:
        """Whether it has a heading of its own below that of its part."""
        return self.part is None or self.part.title != self.title


@dataclass(frozen=True)
class Chip:
    """A word or two in the bar: a warning to be seen on every screen, or a gate. `tone` is a class of the page's;
    `says` is the whole sentence, and `to` the anchor that it leads to."""

    words: str
    says: str
    tone: str = ""
    to: str = "answer"


SYNTHETIC = Chip("synthetic", "The images are made by a computer, not taken of patients.", "flip")
NOT_VALID = Chip("✗ not valid", "A check failed by which no number here means what it says.", "flip", "believe")
_GATES = 2     # that the bar has room for by name
_GATE = {True: "firm gate", False: "flip gate"}


@dataclass(frozen=True)
class Page:
    """A page before it is written: what stands in the browser's tab, the heading with its items, the passages of its
    sections in the order of the parts, the foot, and the chips in the bar."""

    title: str
    heading: str
    head: tuple[Item, ...]
    sections: tuple[Passage, ...]
    foot: str
    chips: tuple[Chip, ...] = ()

    @property
    def headed(self) -> bool:
        """Whether an item of the head is the main heading."""
        return any(isinstance(each, Lead) for each in self.head)

    @property
    def parts(self) -> list[tuple[Part | None, list[Passage]]]:
        """The parts that have something, each with its passages."""
        return [(part, list(passages)) for part, passages in groupby(self.sections, lambda passage: passage.part)]

    def without_pictures(self) -> "Page":
        """The page without images of patients."""
        return replace(self, head=tuple(_without_pictures(self.head)), sections=tuple(
            replace(each, items=tuple(_without_pictures(each.items))) for each in self.sections))

    def html(self, drawn: Drawn) -> str:
        """The page as one file. Everything that a user named is escaped; only our own SVG, CSS and scripts are not."""
        named = {each.name if isinstance(each, Figure) else each.figure for each in self.items
                 if isinstance(each, Figure | Lead)}
        shown = tuple(drawn[name] for name in drawn if name in named)
        page = replace(self, sections=(*self.sections, *([_downloads(shown)] if shown else [])))
        scripts = Scripts.of([*page.items, LiveCharts(shown)])
        return _template().render(page=page, drawn=drawn, css=stylesheet(), scripts=scripts, version=__version__)

    @property
    def items(self) -> Iterator[Item]:
        """Every item of the page, those within others too."""
        yield from _within(self.head)
        for passage in self.sections:
            yield from _within(passage.items)

    def markdown(self) -> str:
        """The page's words and tables as Markdown; charts and images are not in it."""
        lines = [f"# {marks.markdown(self.heading)}", ""]
        for item in self.head:
            lines += _markdown(item)
        for passage in self.sections:
            lines += [f"## {marks.markdown(passage.title)}", ""]
            for item in passage.items:
                lines += _markdown(item)
        return "\n".join([*lines, marks.markdown(f"Written by steadyread {__version__}. {self.foot}"), ""])


def _without_pictures(items: Iterable[Item]) -> Iterator[Item]:
    """The items, those with images replaced by a line that says so, also within folds and grids."""
    for item in items:
        if isinstance(item, Fold | Lead):
            yield replace(item, items=tuple(_without_pictures(item.items)))
        elif isinstance(item, Grid):
            yield replace(item, groups=tuple(tuple(_without_pictures(group)) for group in item.groups))
        else:
            yield Text("Images are left out: --no-images.", "soft") if isinstance(item, Strips) else item


@cache
def stylesheet() -> Markup:
    """The look of a page as CSS: type, colours in light and dark, and the rules of each file of `STYLES`."""
    return Markup("\n".join([face(), colours(), *map(_stored_text, STYLES)]))


def written(subjects: Sequence[object]) -> tuple[Passage, ...]:
    """Every section that has something to say of the subjects, in the order of the sections."""
    passages: dict[str, Passage] = {}
    for section in sections():
        for subject in subjects:
            if isinstance(subject, section.of):
                items = tuple(section.write(subject))
                title = f"{section.title} ({section.of.label})" if section.title in passages else section.title
                passages |= {title: Passage(title, items, section.part)} if items else {}
    return tuple(passages.values())


def chips_of(summary: Mapping[str, Any], valid: bool = True, gates: Sequence[Mapping[str, Any]] = ()
             ) -> tuple[Chip, ...]:
    """What a reader must not lose sight of on any screen: images that are made, an answer that is not `valid`, and what
    the run's `gates` came to, as gates.json holds them."""
    made = (SYNTHETIC,) if summary["synthetic"] else ()
    passed = sum(bool(gate["passed"]) for gate in gates)
    shown = ([Chip(f"{'✓' if gate['passed'] else '✗'} gate {'met' if gate['passed'] else 'not met'}: "
                   f"{gate['message']}", f"--fail-below '{gate['gate']}'", _GATE[bool(gate["passed"])])
              for gate in gates] if len(gates) <= _GATES else
             [Chip(f"{'✓' if passed == len(gates) else '✗'} {passed} of {len(gates)} gates met",
                   " ".join(str(gate["message"]) for gate in gates), _GATE[passed == len(gates)])])
    return (*made, *(() if valid else (NOT_VALID,)), *shown)


def _downloads(figures: tuple[Inline, ...]) -> Passage:
    return Passage("Figures to download", (Downloads(figures),), METHODS)


def _within(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        if isinstance(item, CaseBrowser | Fold | Lead | Threshold):
            yield from _within(item.items)
        elif isinstance(item, Grid):
            for group in item.groups:
                yield from _within(group)


def _markdown(item: Item) -> Iterator[str]:
    writer = _MARKDOWN.get(type(item))
    yield from writer(item) if writer is not None else ()


def _folded(fold: Fold) -> Iterator[str]:
    yield from (f"**{marks.markdown(fold.title)}**", "")
    for each in fold.items:
        yield from _markdown(each)


def _in_place(item: CaseBrowser | Threshold) -> Iterator[str]:
    for each in item.items:
        yield from _markdown(each)


def _side_by_side(grid: Grid) -> Iterator[str]:
    for each in (each for group in grid.groups for each in group):
        yield from _markdown(each)


def _first(lead: Lead) -> Iterator[str]:
    yield from (marks.markdown(lead.kicker), "", f"**{marks.markdown(marks.plain(lead.sentence))}**", "")
    for each in lead.items:
        yield from _markdown(each)
    yield from (marks.markdown(lead.caution), "") if lead.caution else ()


def _card(card: Card) -> str:
    note = f" ({marks.markdown(card.note)})" if card.note else ""
    return f"- **{marks.markdown(card.value)}** {marks.markdown(card.name)}{note}"


def _note(note: Note) -> str:
    check = f"**{marks.markdown(note.check)}**: " if note.check else ""
    return f"- {note.tag or note.severity}: {check}{marks.markdown(note.message)}"


# Charts and images are not in Markdown.
_MARKDOWN: dict[type[Any], Callable[[Any], Iterable[str]]] = {
    Lead: _first, CaseBrowser: _in_place, Table: lambda item: item.markdown(), Fold: _folded, Grid: _side_by_side,
    Text: lambda item: (marks.markdown(item.words), "") if item.words else (),
    Heading: lambda item: (f"### {marks.markdown(item.words)}", ""),
    Terms: lambda item: (*(f"- **{marks.markdown(term)}**: {marks.markdown(words)}" for term, words in item.pairs), ""),
    Cards: lambda item: (*map(_card, item.cards), ""),
    Notes: lambda item: (*(_note(each) for each in item.notes), ""),
    Command: lambda item: (f"{marks.markdown(item.says)} `{item.text}`", ""),
    Threshold: _in_place,
    Listing: lambda item: ("```", item.text.replace("```", "'''"), "```", "")}


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_stored_text),
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"words": marks.html, "kind": lambda item: type(item).__name__, "anchor": glossary.anchor}
    return environment.get_template("page.html.j2")


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
