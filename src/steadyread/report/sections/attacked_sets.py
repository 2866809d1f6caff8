"""Accuracy under attack in several data sets, and why its columns do not go to 0 against the prediction."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.across_sets import SIZES, attack_at, same_size
from steadyread.metrics.reads import rank
from steadyread.report import forms
from steadyread.report.items import Figure, Fold, Heading, Item, Text, grid
from steadyread.report.marks import italic
from steadyread.report.section import section
from steadyread.report.sets import Sets, Summary, unit_of
from steadyread.report.table import Cell, Column, Form, begun, table
from steadyread.units import number_of
from steadyread.words.numbers import NONE, attack_name, digits
from steadyread.words.plain import EXACT, MERGED

Row = Mapping[str, Any]
_ACCURACY = Form(lambda row: forms.number(row["accuracy"].value if row else None) + (
    " ↓" if row and row.get("rises") else ""), beneath=lambda row: (forms.stacked().beneath or str)(
    row["accuracy"] if row else None))


@section("Accuracy under attack", of=Sets, order=2030)
def attacked_sets(sets: Sets) -> Iterator[Item]:
    """[A] Table 1 against both references, and Fig. 2."""
    s = sets.summary
    rows = {against: _rows(sets, against) for against in ("prediction", "label")}
    yield Heading("Against the prediction, as [A] attacked (Table 1)")
    if s["asked"]["prediction"]:
        yield _table(sets, rows["prediction"], "Accuracy in %: the share of attacked images whose "
                     f"prediction is the label. {italic('Smallest flip, found')}: the worst of all attacks, an "
                     "image falling at the smallest change that any of them found.")
        if any(row and row.get("rises") for side in rows.values() for _, _, cells in side for row in cells):
            yield Text("↓ marks sizes at which the figure is above that of a smaller size, as happens where each size "
                       "is tried on its own.", "note")
        yield from _floors(sets)
    else:
        yield Text("No set was attacked against the prediction.")
    yield Heading("Against the label: the standard robust accuracy")
    if s["asked"]["label"]:
        yield _table(sets, rows["label"], "Accuracy in %, as above but for the reference. [A] has no such "
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
    clean: list[Row | None] = [{"accuracy": each["discrimination"]["accuracy"]} for each in every]
    rows = [("clean", 0.0, clean)]
    rows += [(attack, size, [attack_at(each, against, attack, size) for each in every])
             for attack in sorted(tried, key=rank) for size in SIZES]
    rows += [(EXACT if exact else MERGED, size, [_at(each, against, size, exact) for each in every])
             for exact in (True, False) for size in SIZES]
    return [row for row in rows if any(row[2])]


def _at(each: Summary, against: str, size: float, exact: bool) -> Row | None:
    return next((row for row in each["at"][against]
                 if row["exact"] is exact and same_size(float(row["size"]["of_range"]), size)), None)


def _table(sets: Sets, rows: list[tuple[str, float, list[Row | None]]], above: str) -> Item:
    columns = [Column("Attack", forms.TEXT), Column("Change, of range", forms.DOSE),
               *(Column(sets.summary["titles"][name], _ACCURACY) for name in sets.each)]
    return table(columns, begun([(attack_name(attack), size, *cells) for attack, size, cells in rows]), above=above,
                 tone="snug close")


def _floors(sets: Sets) -> Iterator[Item]:
    """Where each column against the prediction stops."""
    yield Heading("Why these columns do not go to 0")
    yield Text("An attack without labels pushes each image away from the prediction. A right read is pushed to wrong, "
               "and with two classes a wrong read is pushed to the only other class, which is the right one. Where "
               "every read flips, what is left is exactly the reads that were wrong: 100 minus the clean accuracy. "
               "An accuracy of that size under attack is therefore no sign of robustness: none of these reads "
               "held. With more than two classes a wrong read need not become right, and there is no such floor.")
    columns = [Column("Set", forms.TEXT), Column("Clean, %", forms.only()), Column("100 − clean", forms.only()),
               Column("Lowest reached, %", forms.stacked()), Column("Under", forms.TEXT)]
    rows = []
    for each in sets.each.values():
        stops = each["stops"]
        under = f"{attack_name(stops['attack'])}, {digits(stops['size']['of_range'])}" if stops["size"] else NONE
        floor = stops["floor"] if stops["floor"] is not None else Cell(f"none: {len(each['classes'])} classes", "num")
        rows.append((each["title"], stops["clean"], floor, stops["lowest"], under))
    yield table(columns, rows, tone="snug")


def _every_size(each: Summary) -> Iterator[Item]:
    sides = {against: {(row["attack"], number_of(row["size"])): row for row in each["robustness"][against]["attacks"]}
             for against in ("label", "prediction")}
    keys = sorted({*sides["label"], *sides["prediction"]}, key=lambda key: (rank(key[0]), key[1]))
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
