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

_KINDS = {True: "medical", False: "everyday", None: NONE}
_RATIOS = {"more": "the medical set", "less": "the everyday set", "alike": "cannot be told",
           "few": "too few patients"}
_NATIVE = Form(lambda row: forms.native(row["median"]), beneath=unit_of)


@section("Which set is the most fragile, all else equal?", of=Sets, order=2050)
def fragility(sets: Sets) -> Iterator[Item]:
    """The sets at equal conditions, on both yardsticks; nothing where none was run so."""
    s = sets.summary
    if not s["fragility"]:
        return
    equal = f": {s['equal_said']}" if s["equal_said"] else ""
    yield Text(f"Each set was run once more at equal conditions{equal}. What still differs: how many classes and "
               "training images there are, and how hard the task is.")
    if not s["fragility"]["rows"]:
        yield Text("No smallest flips were searched at equal conditions.")
        return
    yield _table(sets)
    yield grid(Figure("steadiness_of_range"), Figure("steadiness_in_noise"))
    yield from _pairs(sets)


def _table(sets: Sets) -> Item:
    s = sets.summary
    facts = {row["name"]: row for row in s["fragility"]["conditions"]}
    columns = [Column("Set", forms.TEXT), Column("Kind", forms.TEXT), Column("Right reads", forms.COUNT),
               Column("Accuracy,\n%", forms.stacked()), Column("Half flip at,\nof range", forms.DIGITS_STACKED),
               Column("Rank", forms.COUNT), Column("Native", _NATIVE), Column("Finest\nscale, SD", forms.DIGITS),
               Column("Half flip,\nin those SDs", forms.DIGITS_STACKED), Column("Rank", forms.COUNT),
               Column("Size", forms.COUNT), Column("Classes", forms.COUNT)]
    rows = [(s["titles"][row["name"]], _KINDS[row["medical"]], row["images"], row["accuracy"], row["of_range"],
             _rank(row["ranks"]["of_range"]), row, row["noise"], row["in_noise"], _rank(row["ranks"]["in_noise"]),
             size(facts[row["name"]]["size"]), facts[row["name"]]["classes"]) for row in fragile_rows(s)]
    missing = f"Not run at equal conditions: {s['missing_said']}." if s["fragility"]["missing"] else ""
    return table(columns, rows, note=missing, tone="snug close", above=(
        "Smallest flips of the reads that are right, against the label. Rank 1 is the most fragile; its interval is "
        "that of the rank over the same resampled patients. The SD of what is finest in the images stands for their "
        "noise; it holds their fine structure too, more of it the more an image was shrunk, so nothing is concluded "
        "from it. An image drawn on an even ground has none. Each interval stands for itself: of twenty such "
        "comparisons one leaves out 0 by chance."))


def _rank(rank: Mapping[str, Any] | None) -> str:
    """`2 (1 to 3)`; a dash without a rank."""
    if rank is None:
        return NONE
    return f"{rank['rank']}" + (f" ({rank['low']} to {rank['high']})" if rank["low"] is not None else "")


def _pairs(sets: Sets) -> Iterator[Item]:
    """Every medical set beside every everyday one on both yardsticks."""
    ratios: dict[tuple[str, str], dict[str, Estimate]] = {}
    for pair in sets.summary["fragility"]["pairs"]:
        ratios.setdefault((pair["one"], pair["other"]), {})[pair["yardstick"]] = pair["ratio"]
    if not ratios:
        return
    titles = sets.summary["titles"]
    columns = [Column("Medical", forms.TEXT, head=True), Column("Everyday", forms.TEXT, head=True)]
    for group in ("By share of the range", "In SDs of the finest scale"):
        columns += [Column("Ratio", Form(_ratio), group), Column("More fragile", Form(_fragile, tone=""), group)]
    rows = [(*(titles[name] for name in names),
             *(pair.get(yardstick) for yardstick in ("of_range", "in_noise") for _ in range(2)))
            for names, pair in ratios.items()]
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
