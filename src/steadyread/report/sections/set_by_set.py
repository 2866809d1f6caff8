"""Every data set in short: its verdict, its hardening's, and what the checks found."""

from collections.abc import Iterator

from steadyread.metrics.across_sets import findings_of
from steadyread.report.items import Fold, Heading, Item, Note, Notes, Text, notes
from steadyread.report.marks import code
from steadyread.report.section import section
from steadyread.report.sets import Sets, Summary
from steadyread.words.numbers import counted

_NAMED = 6     # images that a finding names


@section("Set by set", of=Sets, order=2090)
def set_by_set(sets: Sets) -> Iterator[Item]:
    """A heading a set."""
    for name, each in sets.each.items():
        yield Heading(each["title"])
        yield Text(each["verdict"])
        if each["hardening"]:
            yield Text(each["hardening"]["verdict"])
        if each["failed"]:
            yield Notes((Note("error", "A later step of this set failed", each["failed"], tag="failed"),))
        yield from _checks(each)
        yield Text(f"Its own page: {code(f'{name}/report.html')}", "soft")


def _checks(each: Summary) -> Iterator[Item]:
    rows = findings_of(each)
    open_ = [row for row in rows if row["severity"] not in ("note", "ok")]
    remarks = [row for row in rows if row["severity"] == "note"]
    passed = len(rows) - len(open_) - len(remarks)
    if open_:
        yield notes(open_, _NAMED)
    else:
        yield Text("No check of this set's evaluation gave an error or a warning." if passed else
                   "No checks were run.", "soft")
    if remarks or passed:
        also = f", {counted(len(remarks), 'note')}" if remarks else ""
        yield Fold(f"{counted(passed, 'check')} passed{also}", (
            notes(remarks, _NAMED) if remarks else Text("They are told on the set's own page.", "soft"),))
