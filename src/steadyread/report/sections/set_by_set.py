"""Every data set in short: its verdict, and its hardening's."""

from collections.abc import Iterator

from steadyread.report.items import Heading, Item, Note, Notes, Text
from steadyread.report.marks import code, slug
from steadyread.report.section import section
from steadyread.report.sets import Sets


@section("Set by set", of=Sets, order=460)
def set_by_set(sets: Sets) -> Iterator[Item]:
    """A heading a set."""
    for name, each in sets.each.items():
        yield Heading(each["title"], f"set-{slug(each['title'])}")
        yield Text(each["verdict"])
        if each["hardening"]:
            yield Text(each["hardening"]["verdict"])
        if each["failed"]:
            yield Notes((Note("error", "A later step of this set failed", each["failed"], tag="failed"),))
        yield Text(f"Its own page: {code(f'{name}/report.html')}", "soft")
