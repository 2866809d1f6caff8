"""Accuracy under attack, by attack and size, with both references side by side: of one data set, or of several."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.report import forms
from steadyread.report.items import Figure, Item, Text, grid
from steadyread.report.marks import italic
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import Cell, Column, Form, begun, table
from steadyread.units import number_of
from steadyread.words.numbers import NONE, attack_name, percent
from steadyread.words.plain import EXACT, MERGED
from steadyread.words.sets import listed

SIDES = ("label", "prediction")
Told = Mapping[str, Any]
_ABSENT = Cell(NONE, "num")
_CARRIED = Form(lambda row: forms.number(row["carried"].value) + (" ↓" if row["rises"] else ""))


@section("Accuracy under attack", of=Plain, order=420)
def attacked(plain: Plain) -> Iterator[Item]:
    """[A] Table 1, and Fig. 2."""
    yield from _accuracies({"": plain.summary}, plain.unit)
    yield grid(Figure("accuracy_label"), Figure("accuracy_prediction"))


@section("Accuracy under attack", of=Sets, order=440)
def attacked_sets(sets: Sets) -> Iterator[Item]:
    """The same of every set."""
    if sets.each:
        yield from _accuracies({each["title"]: each for each in sets.each.values()}, "")
        yield grid(Figure("fig2_label"), Figure("fig2_prediction"), tone=sets.panels)


def _accuracies(each: Mapping[str, Told], unit: str) -> Iterator[Item]:
    """The table of data sets by title, in whose column a single one stands without."""
    rows = {title: robust_rows(summary) for title, summary in each.items()}
    if any(rows.values()):
        yield _table(each, rows, unit)
        told = [row for several in rows.values() for row in several]
        if any(row["prediction"] for row in told):
            yield Text(_floor(each, told), "note")
    else:
        size = " of a stated size" if any(summary.get("other_axes") for summary in each.values()) else ""
        yield Text(f"No attack{size} has been run on these images.")


def robust_rows(summary: Told) -> list[dict[str, Any]]:
    """Every attack at every size with both references; last the curve of what was found as far as was searched.

    Sizes beyond it, or without a search, are named as merged from the fixed sizes.
    """
    sides = {side: {(row["attack"], row["threat"], number_of(row["size"])): row
                    for row in summary["robustness"][side]["attacks"]} for side in SIDES}
    keys = list(dict.fromkeys([*sides["label"], *sides["prediction"]]))
    return [*({"attack": attack_name(key[0]), "size": (sides["label"].get(key) or sides["prediction"][key])["size"],
               **{side: sides[side].get(key) for side in SIDES}} for key in keys), *_merged(summary)]


def _merged(summary: Told) -> Iterator[dict[str, Any]]:
    at = {side: {(not row["exact"], number_of(row["size"])): row
                 for row in summary["robustness"][side]["at"] if row["accuracy"].value is not None} for side in SIDES}
    for key in sorted({*at["label"], *at["prediction"]}):
        yield {"attack": MERGED if key[0] else EXACT,
               "size": (at["label"].get(key) or at["prediction"][key])["size"],
               **{side: {"accuracy": at[side][key]["accuracy"], "carried": at[side][key]["accuracy"], "rises": False}
                  if key in at[side] else None for side in SIDES}}


def _table(each: Mapping[str, Told], rows: Mapping[str, list[dict[str, Any]]], unit: str) -> Item:
    several = "" not in each
    merged = (f" {italic(MERGED)}: an image falls where any attack flipped it by so much or less; between these sizes "
              "nothing was searched." if any(row["attack"] == MERGED for told in rows.values() for row in told) else "")
    columns = [*([Column("Set", forms.TEXT)] if several else []), Column("Attack", forms.TEXT),
               Column("Change,\nof range", forms.OF_RANGE)]
    columns += [Column(unit, forms.NATIVE)] if unit else []
    for group in ("Against the label", "Against the prediction, as [A]"):
        columns += [Column("%", forms.share(), group), Column("Carried", _CARRIED, group)]
    values = [(*([title] if several else []), row["attack"], row["size"], *([row["size"]] if unit else []),
               *(value for side in SIDES for value in _side(row[side])))
              for title, summary in each.items() for row in [_clean(summary), *rows[title]]]
    return table(columns, begun(values), above="Accuracy in %: the share of attacked images whose prediction is the "
                 f"label. {italic('Carried')} lets a flip at a smaller size stand at every larger one.{merged}")


def _clean(summary: Told) -> dict[str, Any]:
    clean: Estimate = summary["discrimination"]["accuracy"]
    side = {"accuracy": clean, "carried": clean, "rises": False}
    return {"attack": "Clean", "size": None, "label": side, "prediction": side}


def _side(row: Told | None) -> tuple[Any, Any]:
    return (None, _ABSENT) if row is None else (row["accuracy"], row)


def _floor(each: Mapping[str, Told], rows: list[dict[str, Any]]) -> str:
    """Why accuracies against the prediction level off."""
    clean = {title: summary["discrimination"]["accuracy"].value for title, summary in each.items()
             if summary["discrimination"]["classes"] == 2}
    stops = [f"100 − {round(100 * value, 1)} = {percent(1 - value)}{f' in {title}' if title else ''}"
             for title, value in clean.items() if value is not None]
    words = ("Against the prediction, every image is pushed away from what the model said of it, so a read that was "
             "wrong is pushed to right. ")
    if stops:
        words += (f"With two classes the accuracy therefore stops at {listed(stops)}, however large the change. Paper "
                  "[A] (doi:10.1200/CCI.21.00170) attacks this "
                  "way, which is why its accuracies level off at 100 minus the baseline (MRI 93.64 → 6.36 %, "
                  "mammography 76.43 → 23.57 %). Against the label the floor is 0. ")
    else:
        words += ("So the accuracy need not go to 0, however large the change. Paper [A] (doi:10.1200/CCI.21.00170) "
                  "attacks this way. Against the label the floor is 0. ")
    if any(row[side] and row[side]["rises"] for row in rows for side in SIDES):
        words += ("↓ marks sizes at which the plain figure is above that of a smaller size, as happens where each size "
                  "is tried on its own.")
    return words
