"""What hardening the network did: the same images before and after, and beside other hardenings."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.files import JOBS
from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.summary import as_json
from steadyread.report import forms
from steadyread.report.hardened import hardening_cards, others_table, sizes_said, training_terms
from steadyread.report.items import Cards, Figure, Fold, Heading, Item, Listing, Terms, Text, grid, notes
from steadyread.report.marks import code, italic, mark
from steadyread.report.plain import Plain, failed
from steadyread.report.section import section
from steadyread.report.table import Column, begun, table
from steadyread.words.numbers import attack_name
from steadyread.words.plain import EXACT, MERGED

Told = Mapping[str, Any]


@section("Before and after hardening", of=Plain, order=500)
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
    if found["compared"] and not (plain.run.folder / JOBS).is_dir():
        yield Text(f"The hardened network has a page of its own in {code('hardened/report.html')}.", "soft")


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
    yield grid(*map(Figure, ("before_after", "flips_before_after", "hardening", "training_sizes")))
    sizes = sizes_said(found, plain.bounds)
    if sizes:
        yield Text("[A] warns that too small a size in training limits the gain, and too large a one keeps the network "
                   f"from learning at all. {sizes}", "note")
    unit = [Column(plain.unit, forms.NATIVE)] if plain.unit else []
    columns = [Column("Attack", forms.TEXT), Column(f"Change,\n{mark('keep', 'of range')}", forms.OF_RANGE), *unit,
               Column("Before", forms.share()), Column("After", forms.share()), Column("Difference", forms.POINTS),
               Column("Gained", forms.COUNT), Column("Lost", forms.COUNT), Column("p", forms.P_VALUE)]
    rows = [(attack, size, *([size] if unit else []), row.before, row.after, row.difference, row.gained,
             row.lost, row.p) for attack, size, row in _compared_rows(found["compared"])]
    yield table(columns, begun(rows), tone="snug", above=(
        f"Accuracy in %, against the {found['compared']['against']}; the difference in points, after minus before, "
        f"over the same resampled patients. {italic('Gained')} and {italic('lost')} count the reads that are right "
        "only after hardening or only before. p: the sign of each patient's difference exchanged, two-sided (McNemar's "
        "exact test where each has one image). A gain is called one only where interval and p both say so."))


def _compared_rows(pair: Told) -> Iterator[tuple[str, Told | None, Contrast]]:
    """Clean, then each attack and size, last the smallest flips over all attacks."""
    yield "Clean", None, pair["clean"]
    for name, threat in dict.fromkeys((row["attack"], row["threat"]) for at in pair["sizes"] for row in at["attacks"]):
        yield from ((attack_name(name), at["size"], row["accuracy"]) for at in pair["sizes"] for row in at["attacks"]
                    if (row["attack"], row["threat"]) == (name, threat))
    for exact in (True, False):
        yield from ((EXACT if exact else MERGED, at["size"], at["merged"]) for at in pair["sizes"]
                    if at["merged"] is not None and at["exact"] is exact)


def _others(plain: Plain, found: Told) -> Iterator[Item]:
    others = others_table(found, plain.unit)
    if others is None:
        return
    yield Heading("Other hardenings of the same network")
    yield others
    came_to_nothing = [other for other in found["others"] if other["failed"]]
    if came_to_nothing:
        yield notes([{"severity": "error", "check": other["name"].replace("_", " "), "message": other["failed"]}
                     for other in came_to_nothing])
