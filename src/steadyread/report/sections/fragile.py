"""The cases that a human should read: those that the smallest change flips."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Item, Text
from steadyread.report.marks import code
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.table import Column, table


@section("Cases a human should read", of=Plain, order=150)
def fragile(plain: Plain) -> Iterator[Item]:
    """The most fragile reads, right or wrong."""
    s, unit = plain.summary, plain.unit
    if not s["fragile"]:
        yield Text("No read was flipped.")
        return
    searched = s["robustness"]["prediction"]["smallest_flip"]["searched"]
    name = "Smallest flip" if searched else "Smallest change tried that flips"
    columns = [Column("#", forms.COUNT), Column("Case", forms.TEXT), Column("Patient", forms.TEXT),
               Column("Label", forms.TEXT), Column("Read as", forms.TEXT), Column("Probability, %", forms.only()),
               Column(f"{name},\nof range", forms.OF_RANGE), *([Column(unit, forms.NATIVE)] if unit else [])]
    yield Text(f"The {len(s['fragile'])} reads that the smallest change flips, right or wrong.", "soft")
    yield table(columns, [(at, code(row["case_id"]), code(row["patient_id"]), *_classes(row, s["classes"]),
                           row["probability"], row["size"], *([row["size"]] if unit else []))
                          for at, row in enumerate(s["fragile"], 1)])


def _classes(row: Mapping[str, Any], classes: list[str]) -> tuple[str, str]:
    """The label and the prediction by name."""
    label, read = row["label"], row["prediction"]
    wrong = " (wrong)" if label >= 0 and label != read else ""
    return (classes[label] if label >= 0 else "unknown", f"{classes[read] if read >= 0 else 'undecided'}{wrong}")
