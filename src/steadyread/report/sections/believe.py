"""Whether the evaluation can be trusted: what the checks and the audit found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.metrics.across_sets import findings_of
from steadyread.report.items import Fold, Heading, Item, Text, notes
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sections.terms import noise_terms
from steadyread.report.sets import Sets
from steadyread.words.sets import believed_said


@section("Can this evaluation be trusted?", of=Plain, order=200)
def believe(plain: Plain) -> Iterator[Item]:
    """The findings, those that passed behind a fold."""
    s = plain.summary
    yield from checks(s["findings"])
    if s["undecided"]:
        yield Text(f"{s['undecided']} clean {'read is' if s['undecided'] == 1 else 'reads are'} undecided (a logit "
                   "that is not finite): counted as wrong, and withheld first.")
    if len(s["stages"]) > 1:
        yield Text(f"The records hold several stages ({', '.join(s['stages'])}); this page is of the {s['stage']} "
                   "model.")


@section("Can this evaluation be trusted?", of=Noise, order=210)
def believe_noise(noise: Noise) -> Iterator[Item]:
    """The findings, and how to read the terms of a study of CT noise."""
    yield from checks(noise.summary["findings"])
    yield Heading("How to read the terms")
    yield noise_terms(noise)


@section("Can these evaluations be trusted?", of=Sets, order=200)
def believe_sets(sets: Sets) -> Iterator[Item]:
    """The errors of all sets."""
    errors = [row | {"check": f"{each['title']}, {row['check']}"}
              for each in sets.each.values() for row in findings_of(each) if row["severity"] == "error"]
    if errors:
        yield notes(errors)
    if sets.each:
        yield Text(believed_said(sets.each))


def checks(findings: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """What did not pass, and what passed behind a fold."""
    passed = [each for each in findings if each["severity"] == "ok"]
    open_ = [each for each in findings if each["severity"] != "ok"]
    if open_:
        yield notes(open_)
    else:
        yield Text("Every check passed." if passed else "No checks were run.")
    if passed:
        yield Fold(f"{len(passed)} {'check' if len(passed) == 1 else 'checks'} passed", (notes(passed),))
