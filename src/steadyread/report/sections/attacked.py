"""Accuracy under attack, a row an attack and a column a size: of one data set, or of several."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Figure, Fold, Item, Text, grid
from steadyread.report.marks import mark, term
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import As, Column, Table, begun, table
from steadyread.words.numbers import attack_name, digits, percent
from steadyread.words.plain import EXACT, MERGED
from steadyread.words.sets import listed

SIDES = ("label", "prediction")
_BESIDE = 6     # columns of a table for which there is room beside a chart
Summary = Mapping[str, Any]


@section("Accuracy under attack", of=Plain, order=420)
def attacked(plain: Plain) -> Iterator[Item]:
    """[A] Table 1, and Fig. 2."""
    yield from _sides({"": plain.summary}, "accuracy")


@section("Accuracy under attack", of=Sets, order=440)
def attacked_sets(sets: Sets) -> Iterator[Item]:
    """The same of every set."""
    if sets.each:
        yield from _sides({each["title"]: each for each in sets.each.values()}, "fig2", sets.panels)


def _sides(each: Mapping[str, Summary], figure: str, tone: str = "figures") -> Iterator[Item]:
    """Against the label; what was tried against the prediction in a fold, or alone."""
    tried = [side for side in SIDES if any(_rows(summary, side) for summary in each.values())]
    if not tried:
        size = " of a stated size" if any(summary.get("other_axes") for summary in each.values()) else ""
        yield Text(f"No attack{size} has been run on these images.")
    for at, side in enumerate(tried):
        figures, numbers = Figure(f"{figure}_{side}"), _table(each, side)
        beside = "" in each and len(numbers.columns) <= _BESIDE
        items = (*((grid(figures, numbers),) if beside else (grid(figures, tone=tone), numbers)),
                 *((Text(_floor(each), "note"),) if side == "prediction" else ()))
        if at:
            yield Fold("Against the prediction, as in [A]", items)
        else:
            yield from items


def _rows(summary: Summary, side: str) -> dict[str, dict[float, Mapping[str, Any]]]:
    """Every attack with what it left right at each size; last what was found at most, as far as was searched, and
    beyond it, or without a search, merged from the fixed sizes."""
    found = summary["robustness"][side]
    rows: dict[str, dict[float, Mapping[str, Any]]] = {}
    for row in found["attacks"]:
        rows.setdefault(attack_name(row["attack"]), {})[_share(row)] = row
    for row in found["at"]:
        if row["accuracy"].value is not None:
            rows.setdefault(EXACT if row["exact"] else MERGED, {})[_share(row)] = row
    return rows


def _share(row: Mapping[str, Any]) -> float:
    return float(digits(float(row["size"]["of_range"]), 6))


def _table(each: Mapping[str, Summary], side: str) -> Table:
    several, rows = "" not in each, {title: _rows(summary, side) for title, summary in each.items()}
    sizes = {at: row["size"] for attacks in rows.values() for cells in attacks.values() for at, row in cells.items()}
    if several:      # what only some sets were tried at stands on their own pages
        tried = [set().union(*attacks.values()) for attacks in rows.values() if attacks]
        common = set.intersection(*tried)
        sizes = {at: size for at, size in sizes.items() if at in common} or sizes
    columns = [*([Column("Set", forms.TEXT)] if several else []), Column("Attack", forms.TEXT),
               *(Column(_head(sizes[at], several), forms.stacked()) for at in sorted(sizes))]
    values = [(*([_with_clean(title, each[title])] if several else []), attack,
               *(_cell(cells.get(at)) for at in sorted(sizes)))
              for title, attacks in rows.items() for attack, cells in attacks.items()]
    cells = [row for attacks in rows.values() for found in attacks.values() for row in found.values()]
    merged = f" {term('Merged')} from fixed sizes: by all attacks together." if any(
        MERGED in attacks for attacks in rows.values()) else ""
    carried = f" {term('Carried')} is given where it differs." if any(map(_carried, cells)) else ""
    small = "" if several or not next(iter(sizes.values()))["unit"] else " (below it the share of the range)"
    clean = "" if several else f" Unchanged: {percent(each['']['discrimination']['accuracy'].value)}."
    return table(columns, begun(values) if several else values, tone="snug close", above=(
        f"Images read right, %, against the {side}, by the largest {term('change')} of any pixel{small}.{clean}{merged}"
        f"{carried}"))


def _with_clean(title: str, summary: Summary) -> str:
    return f"{title} {mark('under', 'unchanged ' + percent(summary['discrimination']['accuracy'].value))}"


def _head(size: Mapping[str, Any], several: bool) -> str:
    """A size as a head: in its unit, its share of the range beneath; of sets of unlike units the share alone."""
    return f"{forms.of_range(size)} of range" if several or not size["unit"] else (
        f"{forms.sized(size)} {mark('under', forms.of_range(size))}")


def _carried(row: Mapping[str, Any]) -> str:
    """What is left where flips at smaller sizes stand at larger ones, where that is another number."""
    value, carried = (forms.number(row[key].value) if key in row else "" for key in ("accuracy", "carried"))
    return f"carried {carried}" if carried not in ("", value) else ""


def _cell(row: Mapping[str, Any] | None) -> Any:
    if row is None or not _carried(row):
        return row and row["accuracy"]
    return As(row["accuracy"], replace(forms.stacked(), beneath=lambda found: (
        f"{forms.interval(found)}\n{_carried(row)}")))


def _floor(each: Mapping[str, Summary]) -> str:
    """Why accuracies against the prediction level off."""
    clean = {title: summary["discrimination"]["accuracy"].value for title, summary in each.items()
             if summary["discrimination"]["classes"] == 2}
    stops = [f"100 − {round(100 * value, 1)} = {percent(1 - value)}{f' in {title}' if title else ''}"
             for title, value in clean.items() if value is not None]
    stop = f"with two classes the accuracy stops at {listed(stops)}, however large the change" if stops else (
        "the accuracy need not go to 0")
    return ("Every image is pushed away from what the model said of it, so a read that was wrong is pushed to right: "
            f"{stop}. Paper [A] (doi:10.1200/CCI.21.00170) attacks this way. Against the label the floor is 0.")
