"""Which data set is the most fragile, all else equal; and, beside [A], whether medical ones are."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.fragility import way_of
from steadyread.metrics.intervals import Estimate
from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Text, grid
from steadyread.report.section import section
from steadyread.report.sections.data_sets import size
from steadyread.report.sets import Sets, fragile_rows, unit_of
from steadyread.report.table import Column, Form, table
from steadyread.words.numbers import NONE, factor
from steadyread.words.sets import conditions_said, listed

_KINDS = {True: "medical", False: "everyday", None: NONE}
_RATIOS = {"more": "the medical set", "less": "the everyday set", "alike": "cannot be told",
           "few": "too few patients"}
_NATIVE = Form(lambda row: forms.native(row["median"]), beneath=unit_of)


@section("Which set is the most fragile, all else equal?", of=Sets, order=450)
def fragility(sets: Sets) -> Iterator[Item]:
    """The sets at equal conditions, by share of the range; nothing where none was run so."""
    s = sets.summary
    if not s["fragility"]:
        return
    conditions = conditions_said(s["fragility"]["conditions"])
    equal = f": {conditions}" if conditions else ""
    yield Text(f"Each set was run once more at equal conditions{equal}. What still differs: the numbers of classes and "
               "training images, and how hard the task is.")
    if not s["fragility"]["rows"]:
        yield Text("No smallest flips were searched for at equal conditions.")
        return
    yield _table(sets)
    yield grid(Figure("steadiness_of_range"))
    yield from _pairs(sets)


def _table(sets: Sets) -> Item:
    s = sets.summary
    facts = {row["name"]: row for row in s["fragility"]["conditions"]}
    columns = [Column("Set", forms.TEXT), Column("Kind", forms.TEXT), Column("Right reads", forms.COUNT),
               Column("Accuracy,\n%", forms.stacked()), Column("Half flip at,\nof range", forms.DIGITS_STACKED),
               Column("Rank", forms.COUNT), Column("Native", _NATIVE), Column("Size", forms.COUNT),
               Column("Classes", forms.COUNT)]
    rows = [(s["titles"][row["name"]], _KINDS[row["medical"]], row["images"], row["accuracy"], row["of_range"],
             _rank(row["rank"]), row, size(facts[row["name"]]["size"]), facts[row["name"]]["classes"])
            for row in fragile_rows(s)]
    absent = listed([s["titles"][name] for name in s["fragility"]["missing"]])
    missing = f"Not run at equal conditions: {absent}." if absent else ""
    return table(columns, rows, note=missing, tone="snug close", above=(
        "Smallest flips of the reads that are right, against the label. Rank 1 is the most fragile; its interval is "
        "that of the rank over the same resampled patients. Each interval holds on its own: of twenty, about one "
        "misses the truth."))


def _rank(rank: Mapping[str, Any] | None) -> str:
    """`2 (1 to 3)`; a dash without a rank."""
    if rank is None:
        return NONE
    return f"{rank['rank']}" + (f" ({rank['low']} to {rank['high']})" if rank["low"] is not None else "")


def _pairs(sets: Sets) -> Iterator[Item]:
    """Every medical set beside every everyday one."""
    titles, pairs = sets.summary["titles"], sets.summary["fragility"]["pairs"]
    if not pairs:
        return
    columns = [Column("Medical", forms.TEXT, head=True), Column("Everyday", forms.TEXT, head=True),
               Column("Ratio", Form(_ratio)), Column("More fragile", Form(_fragile, tone=""))]
    rows = [(titles[pair["one"]], titles[pair["other"]], pair["ratio"], pair["ratio"]) for pair in pairs]
    yield Heading("Medical sets beside everyday ones")
    yield table(columns, rows, tone="snug", above=(
        "The median smallest flip of the medical set over that of the everyday one: below 1 the medical one is the "
        "more fragile. Intervals from both sets' own resampled patients."))


def _ratio(ratio: Estimate | None) -> str:
    """`2.4 (2.1 to 2.8)`."""
    if ratio is None or ratio.value is None:
        return NONE
    within = "" if ratio.low is None or ratio.high is None else f" ({forms.between(ratio, factor)})"
    return f"{factor(ratio.value)}{within}"


def _fragile(ratio: Estimate | None) -> str:
    return NONE if ratio is None else _RATIOS[way_of(ratio)]
