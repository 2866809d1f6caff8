"""Networks of several runs on the same cases: on which, every difference, and how they were compared."""

from collections.abc import Iterator

from steadyread.report import forms
from steadyread.report.compared import Comparison
from steadyread.report.items import Figure, Item, Text
from steadyread.report.section import section
from steadyread.report.table import Column, table


@section("How they differ", of=Comparison, order=405)
def differences(found: Comparison) -> Iterator[Item]:
    """The key differences drawn."""
    yield Figure("gained")


@section("Every difference", of=Comparison, order=410)
def every(found: Comparison) -> Iterator[Item]:
    """Each number that both have."""
    yield found.differences(every=True)


@section("How they were compared", of=Comparison, order=810)
def how(found: Comparison) -> Iterator[Item]:
    """Pairing, intervals, multiplicity, and which networks these are."""
    yield Text(f"Every network read the same {found.on}, matched by id and by a digest of the pixels. A difference "
               "is taken case by case and resampled patient by patient, so that what makes a case hard for all cancels "
               f"out. {found.multiplicity} Smallest flips are compared on the reads that are right in both networks.")
    yield table([Column("Network", forms.TEXT), Column("Run", forms.TEXT), Column("Stage", forms.TEXT),
                 Column("Folds", forms.COUNT), Column("SHA-256 of the network", forms.TEXT)],
                [(entry.name, entry.folder.name, entry.network.stage, entry.network.folds,
                  (entry.sha256 or "")[:16]) for entry in found.entries])
