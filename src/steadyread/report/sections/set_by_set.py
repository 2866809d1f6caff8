"""Every data set in short: its verdict, its hardening's, and what the checks found."""

from collections.abc import Iterator

from steadyread.metrics.across_sets import findings_of
from steadyread.report.items import Heading, Item, Note, Notes, Text
from steadyread.report.marks import code
from steadyread.report.section import section
from steadyread.report.sections.believe import checks
from steadyread.report.sets import Sets


@section("Set by set", of=Sets, order=460)
def set_by_set(sets: Sets) -> Iterator[Item]:
    """A heading a set."""
    for name, each in sets.each.items():
        yield Heading(each["title"])
        yield Text(each["verdict"])
        if each["hardening"]:
            yield Text(each["hardening"]["verdict"])
        if each["failed"]:
            yield Notes((Note("error", "A later step of this set failed", each["failed"], tag="failed"),))
        yield from checks(findings_of(each))
        yield Text(f"Its own page: {code(f'{name}/report.html')}", "soft")
