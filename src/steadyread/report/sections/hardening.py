"""What hardening the network did: the same images before and after, and beside other hardenings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.hardening import CHANGED, ROBUST, Compared
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.summary import as_json
from steadyread.report import forms
from steadyread.report.hardened import hardening_cards, others_table, training_terms
from steadyread.report.items import Cards, Figure, Fold, Heading, Item, Listing, Terms, Text, grid, notes
from steadyread.report.marks import italic
from steadyread.report.plain import Plain, failed
from steadyread.report.section import section
from steadyread.report.table import Column, begun, table
from steadyread.words.noise import noise_name
from steadyread.words.numbers import attack_name
from steadyread.words.plain import EXACT, MERGED

Told = Mapping[str, Any]


@section("Before and after hardening", of=Plain, order=330)
def hardening(plain: Plain) -> Iterator[Item]:
    """[A] Fig. 3, with intervals of the differences; nothing where the run hardened no network."""
    found = plain.hardening
    if found is None:
        return
    yield failed(found["failed"]) if found["failed"] else Text(found["verdict"], "told")
    cards = tuple(hardening_cards(found))
    if cards:
        yield Cards(cards)
    yield from _checks(found)
    terms = training_terms(found["training"], plain.bounds)
    yield Terms((*terms, *_compared(plain, found)))
    if found["compared"]:
        yield from _before_after(plain, found)
    elif terms:
        yield grid(Figure("hardening"))
    yield from _others(plain, found)
    if found["training"].get("settings"):
        yield Fold("Settings of the hardening", (Listing(json.dumps(as_json(found["training"]["settings"]), indent=2,
                                                                    ensure_ascii=False)),))


def _checks(found: Told) -> Iterator[Item]:
    """Whether the hardened network's evaluation can be trusted."""
    open_ = [each for each in found["findings"] if each["severity"] != "ok"]
    passed = len(found["findings"]) - len(open_)
    if open_:
        of_these = f" {passed} of its checks passed; these did not:" if passed else ""
        yield Text(f"Can the hardened network's evaluation be trusted?{of_these}", "above")
        yield notes(open_)
    elif passed:
        yield Text(f"Every check of the hardened network's evaluation passed ({passed}).", "soft")


def _compared(plain: Plain, found: Told) -> Iterator[tuple[str, str]]:
    """Which images stand on both sides."""
    pair = found["compared"]
    if not pair:
        return
    words = (f"{pair['images']} images of {pair['patients']} "
             f"{'patients' if plain.summary['data']['patients_known'] else 'cases'}, read by both networks; each is "
             "attacked anew, by the same attacks.")
    if plain.summary["part"] == "test":
        words += " Test images took no part in " + (
            "training or choosing" if plain.summary["training"] else
            "the hardening or its choices; which images the given weights were trained on, this run does not "
            "know") + "."
    if pair["only_before"] or pair["only_after"]:
        words += f" Left out: {pair['only_before']} images read before only, {pair['only_after']} after only."
    yield "Compared", words


def _before_after(plain: Plain, found: Told) -> Iterator[Item]:
    yield grid(*map(Figure, ("before_after", "flips_before_after", "hardening", "hardenings")))
    columns = [Column("Attack", forms.TEXT), forms.size_column("Change", plain.unit),
               Column("Before", forms.share()), Column("After", forms.share()), Column("Difference", forms.POINTS),
               Column("Gained", forms.COUNT), Column("Lost", forms.COUNT), Column("p", forms.P_VALUE)]
    pairs: Sequence[Compared] = found["compared"]["rows"]
    rows = [(_attack(row), row.size, *_sides(row.contrast), row.contrast.gained,
             row.contrast.lost, row.contrast.p) for row in pairs if row.measure != CHANGED]
    yield table(columns, begun(rows), tone="snug", above=(
        f"Accuracy in %, against the {found['compared']['against']}; the difference in points, after minus before, "
        f"over the same resampled patients. {italic('Gained')} and {italic('lost')} count the reads that are right "
        "only after hardening or only before. p: the sign of each patient's difference exchanged, two-sided (McNemar's "
        "exact test where each has one image). A gain is called one only where interval and p both say so."))
    yield from _under_noise(pairs)


def _attack(row: Compared) -> str:
    return (EXACT if row.exact else MERGED) if row.measure == ROBUST else attack_name(row.attack or "clean")


def _sides(row: Contrast) -> tuple[Estimate, Estimate, Estimate]:
    return row.before, row.after, row.difference


def _under_noise(pairs: Sequence[Compared]) -> Iterator[Item]:
    """What CT noise does to the reads before and after, in a study of both threats."""
    rows = [(noise_name(row.attack), (row.size or {})["native"], *_sides(row.contrast), row.contrast.p)
            for row in pairs if row.measure == CHANGED]
    if rows:
        yield table([Column("CT noise", forms.TEXT), Column("mAs", forms.DOSE), Column("Before", forms.share()),
                     Column("After", forms.share()), Column("Difference", forms.POINTS), Column("p", forms.P_VALUE)],
                    begun(rows), tone="snug", above="Reads that CT noise changes at least once, in %, by the same "
                    "draws before and after; fewer are steadier.")


def _others(plain: Plain, found: Told) -> Iterator[Item]:
    others = others_table(found)
    if others is None:
        return
    yield Heading("Other hardenings of the same network")
    yield others
    came_to_nothing = [other for other in found["others"] if other["failed"]]
    if came_to_nothing:
        yield notes([{"severity": "error", "check": other["name"].replace("_", " "), "message": other["failed"]}
                     for other in came_to_nothing])
