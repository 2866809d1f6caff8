"""What a section of the report is made of; the page, Markdown and the terminal each write every kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from steadyread.findings import remedied, titled
from steadyread.report.case_data import CASE_DATA
from steadyread.report.inline import Inline, data_uri
from steadyread.report.marks import slug
from steadyread.report.referral import Referral
from steadyread.report.scripts import CASES, COPY, DOWNLOADS, HANDLE, TRIAGE, Block, Script
from steadyread.report.table import Table


@dataclass(frozen=True)
class Text:
    """A paragraph. `tone` is a class of the page's: above, note, soft, told, kicker, verdict, banner."""

    words: str
    tone: str = ""


@dataclass(frozen=True)
class Heading:
    """A title within a section; `anchor` is by which a link finds it."""

    words: str
    anchor: str = ""


GLOSSARY = "terms glossary"     # whose terms others on the page lead to


@dataclass(frozen=True)
class Terms:
    """Terms with what is said of each. `tone` is a class of the page's."""

    pairs: tuple[tuple[str, str], ...]
    tone: str = "terms"


@dataclass(frozen=True)
class Card:
    """A key figure: a value, what it is, and its interval; `to` the part of the page that tells more."""

    value: str
    name: str
    note: str = ""
    to: str = ""


@dataclass(frozen=True)
class Cards:
    """Key figures side by side."""

    cards: tuple[Card, ...]
    tone: str = ""


@dataclass(frozen=True)
class Note:
    """A finding: how grave, which check, what it says, and what it names; `tag` where another word stands before it."""

    severity: str
    check: str
    message: str
    rows: str = ""
    networks: str = ""
    tag: str = ""

    @property
    def sign(self) -> str:
        """What stands before it on a tile, so that no colour is needed."""
        return {"ok": "✓", "note": "i", "warning": "!"}.get(self.severity, "✕")


@dataclass(frozen=True)
class Notes:
    """Findings: `findings` below each other, `tiles` beside each other."""

    notes: tuple[Note, ...]
    tone: str = "findings"


@dataclass(frozen=True)
class Figure:
    """A chart of the run, by its name; nothing where the run has no such chart."""

    name: str


@dataclass(frozen=True)
class Picture:
    """An image with its words: its name, and what the network says of it."""

    address: str
    alt: str
    says: str = ""
    below: str = ""
    tone: str = ""
    name: str = ""

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], alt: str, says: str = "", below: str = "", **more: str) -> "Picture":
        """Of an RGB picture (h, w, 3)."""
        return cls(data_uri(pixels), alt, says, below, **more)


@dataclass(frozen=True)
class Strip:
    """Images side by side under one caption."""

    pictures: tuple[Picture, ...]
    caption: str


@dataclass(frozen=True)
class Strips:
    """Strips of images, as many beside each other as fit. `tone` is a class of the page's."""

    strips: tuple[Strip, ...]
    tone: str = "examples"


@dataclass(frozen=True)
class Listing:
    """Settings as they are, or entries to be `copied`."""

    text: str
    copied: bool = False
    scripts: ClassVar[tuple[Script, ...]] = (COPY,)
    blocks: ClassVar[tuple[Block, ...]] = ()


@dataclass(frozen=True)
class Command:
    """A command to copy, and what it does."""

    text: str
    says: str
    scripts: ClassVar[tuple[Script, ...]] = (COPY,)
    blocks: ClassVar[tuple[Block, ...]] = ()


@dataclass(frozen=True, eq=False)
class Threshold:
    """Which reads to refer, along a handle, by data set or finding (`of` says which) where there are several; `items`
    stand in its place where scripts are off, and in other forms."""

    referrals: Mapping[str, Referral]
    items: "tuple[Item, ...]"
    of: str = ""
    scripts: ClassVar[tuple[Script, ...]] = (TRIAGE,)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All that the handle moves along."""
        return (Block("triage-data", {"of": self.of, "each": [
            referral.as_json() | ({"name": name, "file": f"triage-{slug(name)}.csv"} if name else {"name": ""})
            for name, referral in self.referrals.items()]}),)


@dataclass(frozen=True)
class Fold:
    """Items that open at a click."""

    title: str
    items: "tuple[Item, ...]"
    open: bool = False


@dataclass(frozen=True)
class Grid:
    """Items side by side where there is room: each a group of its own. `tone` is a class of the page's."""

    groups: "tuple[tuple[Item, ...], ...]"
    tone: str = "figures"


@dataclass(frozen=True)
class Lead:
    """What a page says first: a `sentence` (the page's main heading), the items below it, the name of the chart beside
    it with the data of its `handle`, and a `caution` how to take it. Not `valid`: a check failed, as the sentence says.
    """

    kicker: str
    sentence: str
    items: "tuple[Item, ...]" = ()
    figure: str = ""
    handle: Block | None = None
    caution: str = ""
    valid: bool = True

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What the handle needs."""
        return (self.handle,) if self.handle else ()

    @property
    def scripts(self) -> tuple[Script, ...]:
        """That of the handle."""
        return (HANDLE,) if self.handle else ()


@dataclass(frozen=True, eq=False)
class CaseBrowser:
    """Every case to look at: chips, scatter, list and viewer, which scripts draw from the `block` of `case_data`; where
    scripts are off, and in print, the `items`."""

    block: Mapping[str, Any]
    items: "tuple[Item, ...]"

    @property
    def pictured(self) -> bool:
        """Whether there are images to look at, which then stand nowhere else on the screen."""
        return any(each.get("pixels") for each in self.block.get("sets", (self.block,)))

    @property
    def scripts(self) -> tuple[Script, ...]:
        """Those of the browser, in their order."""
        return CASES

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The cases."""
        return (Block(CASE_DATA, self.block),)


@dataclass(frozen=True)
class Downloads:
    """Figures of the page as files: numbers, where there are any, and drawing."""

    figures: tuple[Inline, ...]
    scripts: ClassVar[tuple[Script, ...]] = (DOWNLOADS,)
    blocks: ClassVar[tuple[Block, ...]] = ()      # the numbers are those of the live charts


Item = (CaseBrowser | Lead | Text | Heading | Terms | Cards | Notes | Figure | Strips | Listing | Table | Fold | Grid
        | Command | Threshold | Downloads)


def grid(*groups: "Item | Sequence[Item]", tone: str = "figures") -> Grid:
    """A `Grid` of single items and of groups of items."""
    return Grid(tuple(tuple(group) if isinstance(group, Sequence) else (group,) for group in groups), tone)


def notes(findings: Iterable[Mapping[str, Any]], most: int = 12) -> Notes:
    """Stored findings below each other; of what each names the first so many."""
    return Notes(tuple(Note(str(each["severity"]), titled(each), remedied(each), *_named(each, most))
                       for each in findings))


def tiles(findings: Iterable[Mapping[str, Any]], most: int = 6) -> Notes:
    """The same beside each other, the number of the rule apart."""
    return Notes(tuple(Note(str(each["severity"]), f"{each['check'][:1].upper()}{each['check'][1:]}", remedied(each),
                            *_named(each, most), tag=str(each.get("code") or "")) for each in findings), "tiles")


def _named(finding: Mapping[str, Any], most: int) -> tuple[str, str]:
    return _first(finding.get("rows") or (), most, ", "), _first(finding.get("networks") or (), 6, "; ")


def _first(names: Sequence[Any], most: int, between: str) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(map(str, names[:most])) + rest


def within_room(strips: Iterable[Strip], room: int = 1_600_000) -> list[Strip]:
    """The first strips, as many as the page has room for, in letters of their addresses."""
    shown = []
    for strip in strips:
        room -= sum(len(each.address) for each in strip.pictures)
        if room < 0:
            break
        shown.append(strip)
    return shown
