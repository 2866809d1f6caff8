"""The filled-in checklists as items of a page, and as Markdown of their own."""

from collections.abc import Iterable, Iterator, Sequence

from steadyread.report import forms
from steadyread.report.checklists import Answer, Checklist, Crosswalk, Row, Runs, checklist_rows
from steadyread.report.items import Fold, Heading, Item, Text
from steadyread.report.marks import bold, code, italic, mark, unmarked
from steadyread.report.page import Page, Passage
from steadyread.report.table import Cell, Column, Table, table
from steadyread.report.table import Row as Line

_TONES = {"answered": "ok", "partly": "warning"}


def folds(checklists: Iterable[Checklist]) -> Iterator[Item]:
    """A fold for each checklist with its counts: the items that the run's files answer, and which are open."""
    for filled in checklists:
        guide, counts = filled.guide, filled.counts
        items: list[Item] = [Text(f"{guide.name}: {guide.about} ({guide.address}), in our own words. {guide.source} An "
                                  "answer stands only where the run's own files give it, with file and key; "
                                  f"everything else is for the author. {guide.notes}".rstrip(), "soft")]
        if (answered := [row for row in filled.rows if row.answers]):
            items.append(_narrow(answered))
        if (left := [f"{row.item.number} {row.item.topic}" for row in filled.rows if not row.answers]):
            items.append(Text(f"Open: {'; '.join(left)}.", "soft"))
        yield Fold(f"{guide.name}: {counts['answered']} of {len(filled.rows)} items answered from the run's files, "
                   f"{counts['partly']} partly, {counts['open']} open", tuple(items))


def checklist_markdown(runs: Runs, guides: Sequence[Crosswalk] = ()) -> str:
    """The checklists of one or several runs as Markdown, every item of them; what a user named is escaped."""
    checklists = checklist_rows(runs, guides)
    counts = table([Column("Checklist", forms.TEXT),
                    *(Column(title, forms.COUNT) for title in ("Items", "Answered", "Partly", "Open"))],
                   [(filled.guide.name, len(filled.rows), *filled.counts.values()) for filled in checklists])
    intro = Text("Filled in from the stored files, as far as they tell; everything else is for the author. The items "
                 "are given in our own words; their full wording is at the address.")
    title = f"Reporting checklists of {unmarked(', '.join(runs))}"
    sections = tuple(Passage(f"{filled.guide.name}: {filled.guide.about}", tuple(_whole(filled)))
                     for filled in checklists)
    return Page(title, title, (intro, counts), sections, "A guideline's own text is what counts.").markdown()


def _whole(filled: Checklist) -> Iterator[Item]:
    yield Text(" ".join(filter(None, (f"{filled.guide.address}.", filled.guide.source, filled.guide.notes))))
    for name, rows in filled.sections.items():
        yield from (Heading(name), _table(rows))


def _table(rows: Iterable[Row]) -> Table:
    columns = ("Item", "Asks", "State", "From the run's files", "For the author")
    return table([Column(title, forms.WRAPPED) for title in columns], [
        Line((*_asked(row), row.state, "\n".join(map(_answer, row.answers)), row.left)) for row in rows])


def _narrow(rows: Iterable[Row]) -> Table:
    """The same in three columns, for a page that may be a phone's."""
    return table([Column(title, forms.WRAPPED) for title in ("Item", "Asks", "From the run's files")], [
        Line((*_asked(row), "\n".join((mark(f"tag {_TONES[row.state]}", row.state), *map(_answer, row.answers),
                                       *([f"{italic('For the author:')} {row.left}"] if row.left else [])))))
        for row in rows])


def _asked(row: Row) -> tuple[Cell, str]:
    beneath = ", ".join(filter(None, (row.item.topic, row.item.marks)))
    return (Cell(row.item.number, "wrap", beneath, head=True),
            row.item.asks or f"Not known here: {row.item.address}.")


def _answer(answer: Answer) -> str:
    runs = f"{bold(', '.join(answer.runs))}: " if answer.runs else ""
    where = f" {code(answer.where)}" if answer.where else ""
    return f"{runs}{unmarked(answer.text) if answer.text is not None else italic('nothing')}{where}"
