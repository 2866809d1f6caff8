"""TRIPOD+AI and METRICS item 17, filled in as far as a run's own files know, the rest left open for the author.

A tool that fills in what it measured saves an author's time and errors of copying; one that guessed the rest would
cost both. So an answer names the file and the key where it stands, and what is not in the run is shown as open.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from steadyread.report.checklist_items import ITEMS, METRICS, TRIPOD, Asked, Guideline
from steadyread.report.checklist_known import Known, Said, known_of, sentences
from steadyread.report.checklist_methods import METHODS, Answers
from steadyread.report.checklist_results import RESULTS, ROBUSTNESS
from steadyread.report.stored import Run

CHECKLIST = "checklist.md"
State = Literal["answered", "partly", "open"]
Runs = Mapping[str, tuple[Run, Mapping[str, Any]]]
_ANSWERS: Mapping[Guideline, Mapping[str, Answers]] = {TRIPOD: {**METHODS, **RESULTS}, METRICS: ROBUSTNESS}
_MARKED = re.compile(r"([\\`*\[\]|~$])|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True)
class Item:
    """One item of a checklist with what a run answers; `answer` is None where it knows nothing of it.

    `where` names file and key of every fact ("plan.json: data.name, seed; findings.json: patients"), `left` what
    the author must add ("" for nothing), `marks` are TRIPOD+AI's D (development) and E (evaluation).
    """

    guideline: Guideline
    number: str
    section: str
    topic: str
    marks: str
    asks: str
    answer: str | None = None
    where: str = ""
    left: str = ""

    @property
    def state(self) -> State:
        """How far the run answers it."""
        return "open" if self.answer is None else "partly" if self.left else "answered"


def checklist(run: Run, summary: Mapping[str, Any]) -> list[Item]:
    """All items of both checklists, in their order, for one run and its summary.

    `summary` is what `metrics.summarise` gives (with `hardening` where the run has it), or summary.json as read.
    """
    known = known_of(run, summary)
    return [_item(guideline, asked, known) for guideline, items in ITEMS.items() for asked in items]


def checklist_rows(runs: Runs) -> list[dict[str, Any]]:
    """The checklists of one or several runs as rows, a dictionary each checklist, for the page and for Markdown.

    `name`, `about`, `doi`, `count`, `counts` (by state) and `sections` of `rows`: `number`, `topic`, `marks`,
    `asks`, `state` (answered where it is so of every run), `answers`, and what is `left` to the author. An answer
    that several runs share stands there once, with the `runs` that it is of: none are named where there is one run
    or all say the same.
    """
    found = {name: checklist(run, summary) for name, (run, summary) in runs.items()}
    columns = list(zip(*found.values(), strict=True))
    made = []
    for guideline, items in ITEMS.items():
        rows = [_row(list(found), column) for column in columns if column[0].guideline == guideline]
        names = dict.fromkeys(asked.section for asked in items)
        made.append({"name": guideline.name, "about": guideline.about, "doi": guideline.doi, "count": len(rows),
                     "counts": {state: sum(row["state"] == state for row in rows)
                                for state in ("answered", "partly", "open")},
                     "sections": [{"name": name, "rows": [row for row in rows if row["section"] == name]}
                                  for name in names]})
    return made


def checklist_markdown(runs: Runs) -> str:
    """The checklists of one or several runs as Markdown, a table a section; what a user named is escaped."""
    return _template().render(checklists=checklist_rows(runs), runs=list(runs))


def _item(guideline: Guideline, asked: Asked, known: Known) -> Item:
    answers = _ANSWERS[guideline].get(asked.number)
    said = [one for one in answers(known) if one.words or one.left] if answers is not None else []
    words = " ".join(one.words for one in said if one.words)
    if not words:
        return Item(guideline, asked.number, asked.section, asked.topic, asked.marks, asked.asks)
    left = dict.fromkeys(filter(None, [asked.left, *(one.left for one in said)]))
    return Item(guideline, asked.number, asked.section, asked.topic, asked.marks, asked.asks, words, _where(said),
                "; ".join(left))


def _where(said: Iterable[Said]) -> str:
    """Every file once, with its keys: "plan.json: data.name, seed; records: label"."""
    keys: dict[str, dict[str, None]] = {}
    for place in (place for one in said for place in one.where):
        file, _, key = place.partition(": ")
        keys.setdefault(file, {}).update(dict.fromkeys(key.split(", ")))
    return "; ".join(f"{file}: {', '.join(held)}" if any(held) else file for file, held in keys.items())


def _row(names: Sequence[str], column: Sequence[Item]) -> dict[str, Any]:
    first = column[0]
    states = {item.state for item in column}
    return {"number": first.number, "section": first.section, "topic": first.topic, "marks": first.marks,
            "asks": first.asks, "state": first.state if len(states) == 1 else "partly",
            "answers": list(_shared(names, column)) if states != {"open"} else [], "left": _left(column)}


def _shared(names: Sequence[str], column: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """Each answer once, with the runs that give it."""
    given: dict[tuple[str | None, str], list[str]] = {}
    for name, item in zip(names, column, strict=True):
        given.setdefault((item.answer, item.where), []).append(name)
    for (answer, where), whose in given.items():
        yield {"runs": whose if len(given) > 1 else [], "answer": answer, "where": where}


def _left(column: Sequence[Item]) -> str:
    """What is left to the author, over all runs, each thing once."""
    opened = [item for item in column if item.answer is None]
    if len(opened) == len(column):
        return "Everything."
    things = dict.fromkeys(thing for item in column if item.left for thing in item.left.split("; "))
    return sentences(["; ".join([*things, *(["all of it where a run says nothing"] if opened else [])])])


def _escaped(text: str) -> str:
    """Text for a cell of a Markdown table: nothing in it is mark-up, a link or the end of the cell."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKED.sub(lambda match: "\\" + match.group(0), flat)


@cache
def _template() -> Template:
    environment = Environment(autoescape=False, undefined=StrictUndefined, loader=FunctionLoader(_stored_text),
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["cell"] = _escaped
    return environment.get_template("checklist.md.j2")


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
