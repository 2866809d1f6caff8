"""Guidelines, crossed with what a run's own files say: filled in as far as they know, the rest left to the author.

A guideline is a TOML file in `crosswalks/`: name, address, the source that it follows, and items in our own
words, each with sentences whose places the run's files fill in (`evidence`, `facts`, `sentences.toml`). A tool that
fills in what it measured saves an author's time and errors of copying; one that guessed the rest would cost both.
So an answer names the file and the key where it stands, and what is not in the run is shown as open.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, get_args

from steadyread.errors import InputRefused
from steadyread.registry import Registry
from steadyread.report.evidence import (
    FINDING_STYLES,
    PLACE,
    ROOTS,
    STYLES,
    Fact,
    Sentence,
    evidence_of,
    places_named,
    sentences,
)
from steadyread.report.facts import FACTS
from steadyread.report.stored import Run

CHECKLIST, CHECKLIST_JSON = "checklist.md", "checklist.json"
State = Literal["answered", "partly", "open"]
Runs = Mapping[str, tuple[Run, Mapping[str, Any]]]
_UNREAD = "what the item asks: its text is not open to us"


@dataclass(frozen=True)
class Item:
    """One item of a guideline; `asks` is empty where only its heading is open to us.

    `marks` say when it applies, `left` what no run can say, for the author to add where the run answers the rest.
    """

    number: str
    section: str
    topic: str
    address: str
    asks: str = ""
    marks: str = ""
    left: str = ""
    answers: tuple[Sentence, ...] = ()


@dataclass(frozen=True)
class Crosswalk:
    """A guideline: its name as it is cited, what it is for, its address, the `source` that its items follow, `notes`
    (what its items' marks mean, what it does not show), and its place among the others."""

    name: str
    about: str
    address: str
    source: str
    items: tuple[Item, ...]
    notes: str = ""
    order: int = 100


CROSSWALKS: Registry[Crosswalk] = Registry("checklist")


@dataclass(frozen=True)
class Answer:
    """What runs say to an item: `text` (None for nothing) and `where`, file and key ("plan.json: data.name").

    `runs` names those that say so; none are named where there is one run or all say the same.
    """

    text: str | None
    where: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """An item with its answers; it is `answered` where every run answers it whole."""

    item: Item
    state: State
    answers: tuple[Answer, ...]
    left: str


@dataclass(frozen=True)
class Checklist:
    """A guideline filled in."""

    guide: Crosswalk
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many items are answered, partly answered and open."""
        return {state: sum(row.state == state for row in self.rows) for state in get_args(State)}

    @property
    def sections(self) -> dict[str, list[Row]]:
        """The rows by section, in their order."""
        names = dict.fromkeys(row.item.section for row in self.rows)
        return {name: [row for row in self.rows if row.item.section == name] for name in names}


def crosswalks(folder: Traversable) -> tuple[Crosswalk, ...]:
    """The guidelines of a folder of TOML files, in their order.

    Raises:
        InputRefused: a file that is no crosswalk: what is missing, or a place that nothing can fill.
    """
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return tuple(sorted((_crosswalk(file) for file in files), key=lambda guide: (guide.order, guide.name)))


def checklist_rows(runs: Runs, guides: Sequence[Crosswalk] = ()) -> list[Checklist]:
    """The guidelines (ours, unless others are given) filled in from one or several runs with their summaries.

    A summary is what `metrics.summarise` gives (with `hardening` where the run has it), or summary.json as read.
    """
    evidence = [evidence_of(run, summary, FACTS, _shared()) for run, summary in runs.values()]
    return [Checklist(guide, tuple(_row(item, list(runs), [run.paragraph(item.answers) for run in evidence])
                                   for item in guide.items)) for guide in guides or _ours()]


def checklist_json(runs: Runs, guides: Sequence[Crosswalk] = ()) -> dict[str, Any]:
    """The same as plain values."""
    return {"runs": list(runs), "checklists": [
        {"name": filled.guide.name, "about": filled.guide.about, "address": filled.guide.address,
         "source": filled.guide.source, "notes": filled.guide.notes, "counts": filled.counts,
         "items": [{key: value for key, value in asdict(row.item).items() if key != "answers"}
                   | {"state": row.state, "answers": [asdict(answer) for answer in row.answers], "left": row.left}
                   for row in filled.rows]}
        for filled in checklist_rows(runs, guides)]}


def _row(item: Item, names: Sequence[str], facts: Sequence[Fact | None]) -> Row:
    known = [fact for fact in facts if fact is not None and fact.text]
    if not known:
        return Row(item, "open", (), "Everything.")
    lefts = dict.fromkeys([item.left, *(fact.left for fact in known), "" if item.asks else _UNREAD])
    left = [*filter(None, lefts), *(["all of it where a run says nothing"] if len(known) < len(facts) else [])]
    shared: dict[tuple[str | None, str], list[str]] = {}
    for name, fact in zip(names, facts, strict=True):
        spoken = fact is not None and fact.text
        shared.setdefault((fact.text, places_named(fact.where)) if fact and spoken else (None, ""), []).append(name)
    answers = tuple(Answer(text, where, tuple(whose) if len(shared) > 1 else ())
                    for (text, where), whose in shared.items())
    return Row(item, "partly" if left else "answered", answers, sentences(["; ".join(left)]))


def crosswalk(file: Traversable) -> Crosswalk:
    """Registers the guideline of a TOML file, so that every run's checklists have it.

    Raises:
        InputRefused: the file is no crosswalk.
        UsageError: its name is taken.
    """
    return CROSSWALKS.add(_crosswalk(file))


@cache
def _ours() -> tuple[Crosswalk, ...]:
    for guide in crosswalks(resources.files("steadyread.report") / "crosswalks"):
        CROSSWALKS.add(guide)
    return tuple(CROSSWALKS.values())


@cache
def _shared() -> Mapping[str, tuple[Sentence, ...]]:
    entries = tomllib.loads(_stored_text("sentences.toml"))
    return {name: tuple(map(_sentence, paragraph)) for name, paragraph in entries.items()}


def _crosswalk(file: Traversable) -> Crosswalk:
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
        items = tuple(_item(entry, section, entries["address"])
                      for section in entries.pop("sections") for entry in section["items"])
        _check(sentence for item in items for sentence in item.answers)
        return Crosswalk(items=items, **entries)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputRefused(f"{file}: not a crosswalk of a guideline ({problem}); it has a name, about, address, "
                           "source and sections of items, each with number, topic, asks and answers") from problem


def _item(entry: Mapping[str, Any], section: Mapping[str, Any], address: str) -> Item:
    stated = {"address": section.get("address", address), "section": section["name"], **entry}
    return Item(**stated | {"answers": tuple(map(_sentence, entry.get("answers", ())))})


def _sentence(entry: str | Mapping[str, Any]) -> Sentence:
    """A template alone, or a table of a `Sentence`'s fields; `when` and `cites` may be one or several."""
    if isinstance(entry, str):
        return Sentence(entry)
    listed = {key: (value,) if isinstance(value, str) else tuple(value)
              for key, value in entry.items() if key in ("when", "cites")}
    return Sentence(**{**entry, **listed})


def _check(answers: Iterable[Sentence]) -> None:
    """Refuses a place that nothing can fill and a style that there is not."""
    for sentence in answers:
        for place in sentence.places:
            if place not in FACTS and place not in _shared() and place.partition(".")[0] not in ROOTS:
                raise ValueError(f"'{place}' is no fact, and no path that begins with {', '.join(ROOTS)}")
        for place, style in PLACE.findall(sentence.says):
            known = FINDING_STYLES if place.startswith("findings.") else tuple(STYLES)
            if style not in known:
                raise ValueError(f"'{style}' of '{place}' is none of the styles {', '.join(filter(None, known))}")


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
