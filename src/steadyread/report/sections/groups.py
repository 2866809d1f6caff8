"""Which reads random noise changes: by what is known of each case, and case by case."""

from collections.abc import Iterator
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Text, grid
from steadyread.report.marks import code, italic
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.table import Cell, Column, begun, table
from steadyread.words.noise import class_name, group_rows, kind_name


@section("Who is fragile?", of=Noise, order=660)
def groups(noise: Noise) -> Iterator[Item]:
    """Flips by scanner, size and more, and the cases that a human should read."""
    rows, known = group_rows(noise.summary), noise.summary["subgroups"]
    missing = ", ".join(map(kind_name, known["missing"])) if known else ""
    if len(rows) > 1:
        yield from _groups(noise, rows, missing)
    else:
        yield Text("Nothing is known about the cases by which they could be grouped"
                   f"{f' ({missing})' if missing else ''}.")
    yield Heading("Cases a human should read")
    yield from _cases(noise)


def _groups(noise: Noise, rows: list[dict[str, Any]], missing: str) -> Iterator[Item]:
    known = noise.summary["subgroups"]
    yield Text(f"Reads changed by random noise at {noise.dose} by what is known of each case: [B] names the scanner as "
               f"what it could not look into. {known['looks']} groups are looked at, so about "
               f"{max(1, round(known['looks'] * 0.05))} of the differences would seem real by chance alone: each "
               "interval holds on its own, not all at once.")
    columns = [Column("By", forms.TEXT), Column("Group", forms.TEXT), Column("Cases", forms.COUNT),
               Column("Patients", forms.COUNT), Column(f"Once in {known['trials']}, %", forms.share()),
               Column("In one draw, %", forms.share()), Column("Minus others", forms.signed()),
               Column("Critical mAs (5 %)", forms.COUNT)]
    values = [(row["said"], row["name"], row["cases"], row["patients"], row["san"], row["expected"],
               row["rest"] or Cell("", span=2), noise.critical(row["critical"] and row["critical"].value))
              for row in rows]
    how = "expected from margin, drift and jitter" if known["expected_from"] == "moments" else "counted"
    yield table(columns, begun(values), tone="snug", note=(
        f"Mean over folds. {italic('In one draw')}: {how}. {italic('Minus others')} in points. Groups by prediction "
        "and by right or wrong differ from fold to fold, so a case may be in both. A group may be fragile simply "
        f"because it is hard: its margins are small.{f' Not known: {missing}.' if missing else ''}"))
    yield grid(Figure("subgroups"), tone="figures wide")


def _cases(noise: Noise) -> Iterator[Item]:
    s = noise.summary
    if not s["fragile"]:
        yield Text(f"One draw at {noise.dose} is expected to change no read." if s["expected"] else
                   "None can be named without drift and jitter.")
        return
    yield Text(f"The {len(s['fragile'])} {noise.part} cases whose read one draw at {noise.dose} changes most often, "
               "mean over the folds.", "soft")
    columns = [Column("#", forms.COUNT), Column("Case", forms.TEXT, head=True), Column("Patient", forms.TEXT),
               Column("Label", forms.TEXT), Column("Read as", forms.TEXT), Column("P(flip), %", forms.only()),
               Column("Critical mAs (5 %), middle fold", forms.COUNT),
               Column(f"Flips of {s['fragile'][0]['trials']}, by fold", forms.TEXT)]
    yield table(columns, [(at, code(row["case_id"]), code(row["patient_id"]),
                           class_name(s, row["label"]) if row["label"] >= 0 else "unknown",
                           " / ".join(class_name(s, number) for number in dict.fromkeys(row["predictions"])),
                           row["chance"], noise.critical(row["critical"]), ", ".join(map(str, row["flips"])))
                          for at, row in enumerate(s["fragile"], 1)], tone="snug")
