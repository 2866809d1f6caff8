"""The reporting checklists as items of a page."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Fold, Item, Text
from steadyread.report.marks import bold, code, italic, mark
from steadyread.report.table import Band, Cell, Column, Row, table

_TONES = {"answered": "ok", "partly": "warning", "open": "note-tag"}


def folds(guides: Iterable[Mapping[str, Any]]) -> Iterator[Item]:
    """A fold for each checklist, of `checklist_rows`."""
    for guide in guides:
        counts, count = guide["counts"], guide["count"]
        rows: list[Row | Band] = []
        for part in guide["sections"]:
            rows += [Band(part["name"]), *(_row(item) for item in part["rows"])]
        marked = " D: of development, E: of evaluation." if count > 1 else ""
        yield Fold(f"{guide['name']}: {counts['answered']} of {count} {'item' if count == 1 else 'items'} answered "
                   f"from the run's files, {counts['partly']} partly, {counts['open']} open", (
            Text(f"{guide['name']} ({guide['about']}, doi:{guide['doi']}), in short words. An answer stands only where "
                 "the run's own files give it, with file and key; all else is for the author." + marked, "soft"),
            table([Column("Item", forms.TEXT), Column("Asks", forms.WRAPPED), Column("From the run's files",
                                                                                    forms.WRAPPED)], rows)))


def _row(item: Mapping[str, Any]) -> Row:
    answers = [mark(f"tag {_TONES[item['state']]}", item["state"])]
    for answer in item["answers"]:
        runs = f"{bold(', '.join(answer['runs']))}: " if answer["runs"] else ""
        where = f" {mark('under', '')}{code(answer['where'])}" if answer["where"] else ""
        answers.append(f"{runs}{answer['answer'] if answer['answer'] is not None else 'nothing'}{where}")
    if item["left"]:
        answers.append(f"{italic('For the author:')} {item['left']}")
    return Row((Cell(item["number"], "wrap", "\n".join((item["topic"], item["marks"])), head=True), item["asks"],
                Cell("\n".join(answers), "wrap")))
