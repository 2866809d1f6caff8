"""Accuracy under changes whose levels are no sizes of a pixel: a table of every attack at every level."""

from collections.abc import Iterator

from steadyread.metrics.intervals import Estimate
from steadyread.registry import THREATS
from steadyread.report import forms
from steadyread.report.items import Item
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.table import Column, begun, table
from steadyread.words.numbers import attack_name, digits


@section("Accuracy under other changes", of=Plain, order=430)
def other_axes(plain: Plain) -> Iterator[Item]:
    """From weak to strong, with both references side by side."""
    rows: dict[tuple[str, str, float, str], dict[str, Estimate]] = {}
    for row in plain.summary.get("other_axes", ()):
        sides = rows.setdefault((row["attack"], row["threat"], row["level"], row["unit"]), {})
        sides[row["against"]] = row["accuracy"]
    if rows:
        columns = [Column("Attack", forms.TEXT), Column("Change", forms.TEXT), Column("Level", forms.TEXT),
                   *(Column("%", forms.share(), f"Against the {side}") for side in ("label", "prediction"))]
        yield table(columns, begun([
            (attack_name(attack), THREATS[threat].title if threat in THREATS else threat, f"{digits(level)} {unit}",
             sides.get("label"), sides.get("prediction"))
            for (attack, threat, level, unit), sides in rows.items()]),
            above="Accuracy in %: the share of changed images whose prediction is the label, at each level on its own.")
