"""What a page rests on: the source of every method that it used, and the entries to cite them by."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from steadyread.registry import ATTACKS, METHODS, Makers
from steadyread.report import forms
from steadyread.report.bibliography import Source, software
from steadyread.report.items import Fold, Item, Listing
from steadyread.report.marks import doi
from steadyread.report.noise import Noise, Seeing
from steadyread.report.papers import paper
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import Column, table

Summary = Mapping[str, Any]
_GUARANTEE = Source("Thresholds with a guarantee", "10.48550/arXiv.2110.01052")
_AUGRC = Source("AUGRC", "10.48550/arXiv.2407.01032")
_CALIBRATION = Source("Expected calibration error", "10.48550/arXiv.1909.10155")
_SEEING = (Source("Grad-CAM", "10.48550/arXiv.1610.02391"), Source("Integrated gradients", "10.48550/arXiv.1703.01365"),
           Source("Maps of randomised weights", "10.48550/arXiv.1810.03292"))


@section("Methods and their sources", of=Plain, order=850)
def plain_sources(plain: Plain) -> Iterator[Item]:
    """Those of the attacks, of triage, of calibration and of the hardening."""
    yield from _cited(_under_changes(plain.summary))


@section("Methods and their sources", of=Sets, order=850)
def set_sources(sets: Sets) -> Iterator[Item]:
    """The same of all sets."""
    yield from _cited(source for summary in sets.each.values() for source in _under_changes(summary))


@section("Methods and their sources", of=Noise, order=855)
def noise_sources(noise: Noise) -> Iterator[Item]:
    """Those of the noise and its search."""
    yield from _cited((Source("CT noise, random and optimised [B]", paper("B").doi), *_of(METHODS, [
        row["method"] for row in (noise.summary.get("hardening") or {}).get("methods", ())])))


@section("Sources of the maps", of=Seeing, order=856)
def seeing_sources(_: Seeing) -> Iterator[Item]:
    """Those of what a network looks at."""
    yield from _cited(_SEEING)


def _under_changes(summary: Summary) -> Iterator[Source]:
    yield Source("Attacks and triage by the smallest flip [A]", paper("A").doi)
    rows = [*(row for side in summary["robustness"].values() for row in side["attacks"]),
            *(summary.get("other_axes") or ())]
    yield from _of(ATTACKS, [str(row["attack"]) for row in rows])
    if summary["triage"]["rows"]:
        yield _AUGRC
    if summary["guarantees"]:
        yield _GUARANTEE
    if "ece" in summary["calibration"]:
        yield _CALIBRATION
    hardening = summary.get("hardening")
    if hardening:
        yield from _of(METHODS, [each.get("method") for each in (hardening["training"], *hardening["others"])])


def _of(makers: Makers, names: Iterable[str | None]) -> Iterator[Source]:
    known = [makers[name] for name in names if name is not None and name in makers]
    yield from (Source(maker.title, maker.doi) for maker in known if maker.doi)


def _cited(sources: Iterable[Source]) -> Iterator[Item]:
    """A row a method, then every entry once."""
    each = list(dict.fromkeys(sources))
    yield table([Column("Method", forms.TEXT), Column("Source", forms.WRAPPED), Column("DOI", forms.TEXT)],
                [(source.name, source.paper, doi(source.doi)) for source in each])
    entries = {source.doi: source.bibtex() for source in reversed(each)}
    yield Fold("BibTeX", (Listing("\n\n".join([software(), *reversed(entries.values())]), copied=True),))
