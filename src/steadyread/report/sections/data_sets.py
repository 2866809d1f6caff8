"""The data sets of a study: how large they are, and which network reads them."""

from collections.abc import Iterator
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Item, Text
from steadyread.report.section import section
from steadyread.report.sets import Sets, unit_of
from steadyread.report.table import Cell, Column, Form, table
from steadyread.words.numbers import NONE

_COUNT = Form(lambda each: str(each["images"]), beneath=lambda each: str(each["part"]))
_NETWORK = Form(lambda model: str(model["name"]), tone="", beneath=lambda model: (
    f"{model['parameters']:,} parameters" if "parameters" in model else ""))


@section("The data sets", of=Sets, order=400)
def data_sets(sets: Sets) -> Iterator[Item]:
    """A set a row; a reason for those without records."""
    titles = ("Patients", "Classes", "Size", "Range")
    columns = [Column("Set", forms.TEXT), Column("Images", _COUNT), *(Column(title, forms.COUNT) for title in titles),
               Column("Network", _NETWORK)]
    yield table(columns, [_row(sets, name) for name in sets.summary["titles"]], tone="snug")
    yield Text("Each set is split by patient where its patients are known; where they are not, an image counts as a "
               "patient of its own and intervals may be too narrow.", "note")


def size(sides: Any) -> str:
    """`64 × 64`; a dash where it is not known."""
    return "\u00a0×\u00a0".join(map(str, sides)) if isinstance(sides, list | tuple) and sides else NONE


def _row(sets: Sets, name: str) -> tuple[Any, ...]:
    title, each = sets.summary["titles"][name], sets.each.get(name)
    if each is None:
        return title, Cell(f"Not here: {sets.summary['absent'][name]}", "wrap", span=6)
    return (title, each, each["patients"] if each["data"]["patients_known"] else "unknown",
            len(each["classes"]), size(each["size"]), f"{each['range']:g} {unit_of(each)}".strip(), each["model"])
