"""Which reads to leave to a human, in several data sets: the smallest flip beside the margin, which is free."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.across_sets import triage_row
from steadyread.metrics.triage import MARGIN, RANDOM, SMALLEST_FLIP
from steadyread.report import forms
from steadyread.report.items import Figure, Fold, Heading, Item, Text, grid
from steadyread.report.marks import bold
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import Column, begun, table
from steadyread.words.numbers import NONE, digits, percent, score_name

Values = Mapping[str, Any]


@section("Triage: which reads to leave to a human", of=Sets, order=2070)
def triage_sets(sets: Sets) -> Iterator[Item]:
    """[A] Table 2, and every score beside the margin."""
    if not sets.each:
        yield Text("No reads with a label to sort.")
        return
    yield _table(sets)
    yield Heading("Does any score beat what is free?")
    yield Text("Each interval stands for itself: of twenty such comparisons one leaves out 0 by chance.", "soft")
    yield Text(f"{sets.summary['beside_margin']} The area under risk-coverage is the mean error over all shares kept: "
               "lower is better, and no single threshold decides it.")
    yield grid(Figure("scores"))
    yield Fold("Every score in every set", (_scores(sets),))


def _table(sets: Sets) -> Item:
    s = sets.summary
    flip, margin = "Smallest flip", "Margin, free"
    columns = [Column("Set", forms.TEXT), Column("All reads", forms.stacked()),
               Column("Withheld, %", forms.only(), flip), Column("Up to,\nof range", forms.COUNT, flip),
               Column("Kept", forms.stacked(), flip), Column("Change", forms.POINTS_STACKED, flip),
               Column("Withheld, %", forms.only(), margin), Column("Kept", forms.stacked(), margin),
               Column("Change", forms.POINTS_STACKED, margin)]
    rows = []
    for each in sets.each.values():
        marked = " *" if each["triage"]["chosen_on"] == "test" and "validation" in s["chosen_on"] else ""
        flips, free = (triage_row(each, score) or {} for score in (SMALLEST_FLIP, MARGIN))
        rows.append((f"{each['title']}{marked}", each["triage"]["accuracy"], flips.get("withheld"),
                     _threshold(flips, each["range"]), flips.get("accuracy"), flips.get("change"),
                     *(free.get(key) for key in ("withheld", "accuracy", "change"))))
    return table(columns, rows, tone="snug close", above=(
        f"Accuracy in % on clean images when about {percent(s['withheld'], 0)} of the reads are withheld, "
        "those with the smallest flips; and the same by the margin of the clean read, which costs nothing. "
        f"{_chosen(s['chosen_on'])}"))


def _chosen(parts: list[str]) -> str:
    if "validation" not in parts:
        return bold("There are no validation images: thresholds were seen on the very images they are judged on, as in "
                    "[A], so these gains are too good.")
    but = (", but for sets marked *, which have none: there they were seen on the very images they are judged on, as "
           "in [A], so these gains are too good") if "test" in parts else ""
    return f"Thresholds are chosen on validation images, so that the share withheld here may be another{but}."


def _threshold(row: Values, whole: float) -> str:
    """The smallest flip's threshold as a share of the range."""
    threshold = row.get("threshold")
    if threshold is None:
        return NONE
    return "none" if threshold == float("-inf") else digits(float(threshold) / float(whole))


def _scores(sets: Sets) -> Item:
    differences = {(row["set"], row["score"]): row["area"] for row in sets.summary["scores"]}
    rows = [(each["title"], score_name(row["score"]), row["area"], differences.get((name, row["score"])))
            for name, each in sets.each.items() for row in each["triage"]["rows"] if row["score"] != RANDOM]
    columns = [Column("Set", forms.TEXT), Column("Score", forms.TEXT),
               Column("Area under risk-coverage", forms.stacked(1, 4)),
               Column("Minus that of the margin", forms.signed_stacked(1, 4))]
    return table(columns, begun(rows), tone="snug",
                 note="With two classes entropy orders the reads as the margin does.")
