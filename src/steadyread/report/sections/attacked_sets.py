"""Accuracy under attack in several data sets, the paper's own beside, and why its columns do not go to 0."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics import published_oncology as published
from steadyread.metrics.across_sets import attack_at, same_size
from steadyread.metrics.reads import rank
from steadyread.report import forms
from steadyread.report.items import Figure, Fold, Heading, Item, Text, grid
from steadyread.report.marks import italic, mark
from steadyread.report.section import section
from steadyread.report.sets import THEIRS, Sets, Summary, unit_of
from steadyread.report.table import Cell, Column, Form, begun, table
from steadyread.units import number_of
from steadyread.words.numbers import NONE, attack_name, digits
from steadyread.words.plain import EXACT, MERGED

Row = Mapping[str, Any]
_OURS = Form(lambda row: forms.number(row["accuracy"].value if row else None) + (
    " ↓" if row and row.get("rises") else ""), beneath=lambda row: (forms.stacked().beneath or str)(
    row["accuracy"] if row else None))


@section("Accuracy under attack", of=Sets, order=2030)
def attacked_sets(sets: Sets) -> Iterator[Item]:
    """[A] Table 1 against both references, and Fig. 2."""
    s, paper = sets.summary, bool(sets.printed)
    rows = {against: _rows(sets, against) for against in ("prediction", "label")}
    yield Heading("Against the prediction, as [A] attacked (Table 1)")
    if s["asked"]["prediction"]:
        own = " In grey italics the paper's own Table 1." if paper else ""
        yield _table(sets, rows["prediction"], "prediction", "Accuracy in %: the share of attacked images whose "
                     f"prediction is the label.{own} {italic('Smallest flip, found')}: the worst of all attacks, an "
                     "image falling at the smallest change that any of them found.")
        if any(row and row.get("rises") for side in rows.values() for _, _, cells in side for row in cells):
            yield Text("↓ marks sizes at which the figure is above that of a smaller size, as happens where each size "
                       "is tried on its own.", "note")
        yield from _floors(sets)
    else:
        yield Text("No set was attacked against the prediction.")
    yield Heading("Against the label: the standard robust accuracy")
    if s["asked"]["label"]:
        yield _table(sets, rows["label"], "label", "Accuracy in %, as above but for the reference. [A] has no such "
                     "figures.")
    else:
        yield Text("No set was attacked against the label.")
    every = [item for each in sets.each.values() for item in _every_size(each)]
    if every:
        yield Fold("Every size that was tried, both references", tuple(every))
    yield grid(Figure("fig2_label"), Figure("fig2_prediction"), tone=sets.panels)


def _rows(sets: Sets, against: str) -> list[tuple[str, float, list[Row | None]]]:
    """An attack and size a row, a cell a set; last the accuracies from the smallest flips."""
    every = list(sets.each.values())
    tried = {row["attack"] for each in every for row in each["robustness"][against]["attacks"]}
    attacks = [*published.ATTACKS, *sorted(tried - set(published.ATTACKS), key=rank)]
    clean: list[Row | None] = [{"accuracy": each["discrimination"]["accuracy"]} for each in every]
    rows = [("clean", 0.0, clean)]
    rows += [(attack, size, [attack_at(each, against, attack, size) for each in every])
             for attack in attacks for size in published.SIZES]
    rows += [(EXACT if exact else MERGED, size, [_at(each, against, size, exact) for each in every])
             for exact in (True, False) for size in published.SIZES]
    columns = [published.column_of(name) if against == "prediction" else None for name in sets.each]
    return [row for row in rows if any(row[2]) or any(column and column.at(*row[:2]) for column in columns)]


def _at(each: Summary, against: str, size: float, exact: bool) -> Row | None:
    return next((row for row in each["at"][against]
                 if row["exact"] is exact and same_size(float(row["size"]["of_range"]), size)), None)


def _table(sets: Sets, rows: list[tuple[str, float, list[Row | None]]], against: str, above: str) -> Item:
    beside = against == "prediction"
    columns = [Column("Attack", forms.TEXT), Column("Change, of range", forms.DOSE)]
    papers = []
    for name in sets.each:
        title = sets.summary["titles"][name]
        columns.append(Column("ours", _OURS, title) if beside else Column(title, _OURS))
        papers.append(published.column_of(name) if beside else None)
        columns += [Column("[A]", forms.theirs(2), title)] if papers[-1] else []
    values = []
    for attack, size, cells in rows:
        line: list[Any] = [attack_name(attack), size]
        for paper, cell in zip(papers, cells, strict=True):
            own = [] if paper is None else [paper.baseline if attack == "clean" else paper.at(attack, size)]
            line += [cell, *own]
        values.append(line)
    return table(columns, begun(values), above=above, tone="snug close")


def _floors(sets: Sets) -> Iterator[Item]:
    """Where each column against the prediction stops: the paper's, computed from its values, and ours."""
    own = ("The paper's MRI column ends at 6.36 with a baseline of 93.64, its mammogram column at 23.57 with 76.43. "
           if sets.printed else "")
    yield Heading("Why these columns do not go to 0")
    yield Text("An attack without labels pushes each image away from the prediction. A right read is pushed to wrong, "
               "and with two classes a wrong read is pushed to the only other class, which is the right one. Where "
               "every read flips, what is left is exactly the reads that were wrong: 100 minus the clean accuracy. "
               f"{own}An accuracy of that size under attack is therefore no sign of robustness: none of these reads "
               "held. With more than two classes a wrong read need not become right, and there is no such floor.")
    theirs = [Column(title, forms.theirs(2), mark("theirs", THEIRS))
              for title in ("Baseline", "100 − baseline", "Lowest", "Above that") if sets.printed]
    columns = [Column("Set", forms.TEXT), Column("Clean, %", forms.only(), "Ours"),
               Column("100 − clean", forms.only(), "Ours"), Column("Lowest reached, %", forms.stacked(), "Ours"),
               Column("Under", forms.TEXT, "Ours"), *theirs]
    rows = []
    for name, each in sets.each.items():
        stops, paper = each["stops"], published.column_of(name)
        under = f"{attack_name(stops['attack'])}, {digits(stops['size']['of_range'])}" if stops["size"] else NONE
        beside = (None,) * 4 if paper is None else (
            paper.baseline, paper.floor if paper.classes == 2 else None, paper.lowest, paper.above)
        floor = stops["floor"] if stops["floor"] is not None else Cell(f"none: {len(each['classes'])} classes", "num")
        rows.append((each["title"], stops["clean"], floor, stops["lowest"], under, *(beside if theirs else ())))
    yield table(columns, rows, tone="snug")


def _every_size(each: Summary) -> Iterator[Item]:
    sides = {against: {(row["attack"], number_of(row["size"])): row for row in each["robustness"][against]["attacks"]}
             for against in ("label", "prediction")}
    keys = sorted({*sides["label"], *sides["prediction"]}, key=lambda key: (_order(key[0]), key[1]))
    if not keys:
        return
    unit = unit_of(each)
    columns = [Column("Attack", forms.TEXT), Column("Change,\nof range", forms.OF_RANGE),
               *([Column(unit, forms.NATIVE)] if unit else []), Column("Against the label, %", forms.share()),
               Column("Against the prediction, %", forms.share())]
    rows = []
    for key in keys:
        both = [sides[against].get(key) for against in sides]
        size = next(row for row in both if row)["size"]
        rows.append((attack_name(key[0]), size, *([size] if unit else []),
                     *(row["accuracy"] if row else None for row in both)))
    yield Heading(each["title"])
    yield table(columns, begun(rows), tone="snug")


def _order(attack: str) -> tuple[int, str]:
    return (published.ATTACKS.index(attack) if attack in published.ATTACKS else len(published.ATTACKS), attack)
