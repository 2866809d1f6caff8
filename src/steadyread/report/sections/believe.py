"""Whether the evaluation can be trusted: every check and what it shows, those that failed first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.findings import SOUNDNESS
from steadyread.metrics.across_sets import findings_of
from steadyread.report.items import Fold, Heading, Item, Text, notes, tiles
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import TRUST, section
from steadyread.report.sets import Sets
from steadyread.words.numbers import counted

Findings = Sequence[Mapping[str, Any]]
FIRED = ("error", "warning")


@section(TRUST.title, of=Plain, order=200)
def believe(plain: Plain) -> Iterator[Item]:
    """Those of the attacks, of the network and of the data; those of a hardened network in a fold."""
    s = plain.summary
    yield from checks(s["findings"])
    if s["undecided"]:
        yield Text(f"{s['undecided']} clean {'read is' if s['undecided'] == 1 else 'reads are'} undecided (a logit "
                   "that is not finite): counted as wrong, and withheld first.")
    if len(s["stages"]) > 1:
        yield Text(f"The records hold several stages ({', '.join(s['stages'])}); this page is about the {s['stage']} "
                   "model.")
    if plain.hardening and plain.hardening["findings"]:
        yield _folded("The hardened network", plain.hardening["findings"])


@section(TRUST.title, of=Noise, order=210)
def believe_noise(noise: Noise) -> Iterator[Item]:
    """The same of a study of CT noise."""
    yield from checks(noise.summary["findings"])
    if (noise.summary.get("hardening") or {}).get("findings"):
        yield _folded("The hardened networks", noise.summary["hardening"]["findings"])


@section(TRUST.title, of=Sets, order=200)
def believe_sets(sets: Sets) -> Iterator[Item]:
    """Every set's checks in a fold, which is open where any fired."""
    each = {summary["title"]: findings_of(summary) for summary in sets.each.values()}
    if each:
        yield Text(f"{summed([row for rows in each.values() for row in rows])}.")
    yield from (_folded(title, rows) for title, rows in each.items())


def checks(findings: Findings) -> Iterator[Item]:
    """How many passed, what fired, then a tile for each of the others."""
    if not findings:
        yield Text("No checks were run.")
        return
    yield Text(f"{summed(findings)}. An attack that fails quietly flatters a network, and so does a leak in the data: "
               "these checks try to catch both.")
    yield from _tiled(findings)


def _tiled(findings: Findings) -> Iterator[Item]:
    if fired := [each for each in findings if each["severity"] in FIRED]:
        yield notes(fired)
    groups = _grouped([each for each in findings if each["severity"] not in FIRED])
    for title, rows in groups.items():
        yield from [Heading(title)] if len(groups) > 1 else []
        yield tiles(rows)


def summed(findings: Findings) -> str:
    """`21 of 24 checks passed: 1 error, 2 warnings`; notes are no checks."""
    count = {name: sum(each["severity"] == name for each in findings) for name in ("ok", *FIRED)}
    fired = ", ".join(counted(count[name], name) for name in FIRED if count[name])
    return f"{count['ok']} of {counted(sum(count.values()), 'check')} passed{f': {fired}' if fired else ''}"


def _folded(title: str, findings: Findings) -> Fold:
    return Fold(f"{title}: {summed(findings)}", tuple(_tiled(findings)),
                any(each["severity"] in FIRED for each in findings))


def _grouped(findings: Findings) -> dict[str, list[Mapping[str, Any]]]:
    """By what they are about; those of an attack have a topic, those of networks a number or the networks' names."""
    groups: dict[str, list[Mapping[str, Any]]] = {"The attacks": [], "The networks": [], "The data": []}
    for each in findings:
        about = each.get("code") or each.get("networks") or each["check"].endswith("randomised weights")
        kind = "The attacks" if each.get("topic") == SOUNDNESS else "The networks" if about else "The data"
        groups[kind].append(each)
    return {title: rows for title, rows in groups.items() if rows}
