"""The findings of a network of several, side by side."""

from collections.abc import Iterator

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import LINF
from steadyread.report import forms
from steadyread.report.items import Item
from steadyread.report.networks import Networks
from steadyread.report.section import section
from steadyread.report.sections.networks import HALF, headline_form
from steadyread.report.table import Column, Form, table


@section("Finding by finding", of=Networks, order=405)
def by_finding(found: Networks) -> Iterator[Item]:
    """A row a finding: its images, its threshold, how it is told, and how small a change flips it."""
    if not found.findings:
        return
    columns = [Column("Finding", forms.TEXT, head=True), Column("Images", forms.COUNT), Column("with it", forms.COUNT),
               Column("Threshold", _THRESHOLD), Column("AUC", forms.stacked(1, 3)),
               *(Column(f"{name}, %", forms.stacked()) for name in ("Accuracy", "Sensitivity", "Specificity")),
               *([Column("Half flip at", HALF), Column("Robust accuracy, %", headline_form(found, LINF))]
                 if LINF in found.threats else [])]
    rows = []
    for finding in found.findings:
        numbers = [finding.estimate(name) for name in ("AUC", "accuracy", "sensitivity", "specificity")]
        rows.append((finding.title, *(0 if each is None else each.n for each in numbers[1:3]),
                     finding.estimate("threshold"), *numbers, *([finding, finding] if LINF in found.threats else [])))
    rest = "" if any(found.sets) or len(rows) == 1 else (
        f" What follows is about {found.findings[0].title} unless it is by finding.")
    yield table(columns, rows, tone="snug", above="Each finding is a network of its own here: the same weights, one of "
                "their values, its own labels and threshold. Images for which a finding is not known are left out of "
                "its row, and each finding was searched for its own smallest flips.",
                note="Intervals are 95 %, over patients, each on its own: one in twenty misses the truth, and "
                f"of many findings the best and the worst stand out a little by chance.{rest}")


def _threshold(estimate: Estimate | None) -> str:
    return forms.number(None if estimate is None else estimate.value, 1, 2)


_THRESHOLD = Form(_threshold)
