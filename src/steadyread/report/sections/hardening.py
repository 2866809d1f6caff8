"""What hardening the network did: the same images before and after, and beside other hardenings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.hardening import CHANGED, ROBUST, Compared
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.summary import as_json
from steadyread.report import forms
from steadyread.report.hardened import hardening_cards, others_table, seeds_table, training_terms
from steadyread.report.items import Cards, Figure, Fold, Heading, Item, Listing, Terms, Text, grid, notes
from steadyread.report.marks import italic
from steadyread.report.plain import Plain, failed
from steadyread.report.section import section
from steadyread.report.sections.believe import FIRED
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
    fired = [each for each in found["findings"] if each["severity"] in FIRED]
    if fired:
        yield Text("Checks of the hardened network that did not pass:", "above")
        yield notes(fired)
    if found["compared"]:
        yield grid(Figure("before_after"), Figure("flips_before_after"))
        yield Fold("Before and after, size by size", tuple(_before_after(plain, found)))
    if (seeds := seeds_table({"": found})) is not None:
        yield Heading("From other seeds")
        yield seeds
    if others := tuple(_others(found)):
        yield Fold("Other hardenings of the same network", others)
    if terms := (*training_terms(found["training"], plain.bounds), *_compared(plain, found)):
        yield Fold("How it was hardened", (Terms(terms), grid(Figure("hardening")), *_settings(found["training"])))


def _settings(training: Told) -> Iterator[Item]:
    if training.get("settings"):
        yield Listing(json.dumps(as_json(training["settings"]), indent=2, ensure_ascii=False))


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
            "the hardening or its choices; this run does not know which images the given weights were trained "
            "on") + "."
    if pair["only_before"] or pair["only_after"]:
        words += f" Left out: {pair['only_before']} images read before only, {pair['only_after']} after only."
    yield "Compared", words


def _before_after(plain: Plain, found: Told) -> Iterator[Item]:
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
        "exact test where each has one image). A gain is claimed only where interval and p both show it."))
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


def _others(found: Told) -> Iterator[Item]:
    others = others_table(found)
    if others is None:
        return
    yield grid(Figure("hardenings"))
    yield others
    failed_ones = [{"severity": "error", "check": other["name"].replace("_", " "), "message": other["failed"]}
                   for other in found["others"] if other["failed"]]
    if failed_ones:
        yield notes(failed_ones)
