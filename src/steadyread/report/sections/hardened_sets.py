"""What hardening did in each of several data sets."""

from collections.abc import Iterator
from typing import Any

from steadyread.metrics.across_sets import same_size
from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.hardening import ROBUST
from steadyread.report import forms
from steadyread.report.hardened import others_table, seeds_table
from steadyread.report.items import Figure, Fold, Heading, Item, Note, Notes, Text, grid
from steadyread.report.marks import italic, mark
from steadyread.report.section import section
from steadyread.report.sets import Sets, Summary
from steadyread.report.table import Column, Form, begun, table
from steadyread.units import number_of
from steadyread.words.hardening import method_name
from steadyread.words.numbers import digits
from steadyread.words.plain import EXACT, MERGED
from steadyread.words.sets import FAILED, OUTCOMES, listed, outcome

_TONES = {"better": "better", "worse": "worse", FAILED: "worse"}


def _named(each: Summary) -> str:
    """What became of the reads under attack, by what method, and at what size they were attacked."""
    hardening, way = each["hardening"], str(outcome(each))
    method, at = hardening["training"].get("method"), hardening["at"]
    here = not (hardening["epsilon"] and at) or same_size(number_of(hardening["epsilon"]), number_of(at))
    return "\n".join(filter(None, (
        mark(_TONES[way], OUTCOMES[way]) if way in _TONES else OUTCOMES[way],
        "" if method == "pgd" else method_name(method),
        "" if hardening["headline"] is None or hardening["headline"].exact else MERGED.lower(),
        f"attacked at {digits(at['of_range'])}" if at and not here else "")))


_NAME = Form(lambda each: str(each["title"]), tone="", beneath=_named)


@section("Before and after hardening", of=Sets, order=330)
def hardened_sets(sets: Sets) -> Iterator[Item]:
    """[A] Fig. 3, a table of all sets, and each set's other hardenings."""
    hardened = [each for each in sets.each.values() if each["hardening"] is not None]
    if not hardened:
        yield Text("No network was hardened.")
        return
    failed = tuple(Note("error", f"{each['title']}, hardening failed", each["hardening"]["failed"])
                   for each in hardened if each["hardening"]["failed"])
    if failed:
        yield Notes(failed)
    yield _table(hardened)
    yield grid(Figure("fig3"), tone=sets.panels)
    yield grid(Figure("gains"))
    yield from _every_size(sets)
    seeds = seeds_table({str(each["title"]): each["hardening"] for each in hardened})
    if seeds is not None:
        yield Heading("From other seeds")
        yield seeds
    for each in hardened:
        yield from _others(each)


def _pair(pair: Contrast | None) -> tuple[Any, ...]:
    return (pair.before, pair.after, pair.difference) if pair else (None,) * 3


def _columns(group: str = "") -> list[Column]:
    return [Column("Before", forms.stacked(), group), Column("After", forms.stacked(), group),
            Column("Difference", forms.POINTS_STACKED, group)]


def _table(hardened: list[Summary]) -> Item:
    rows = []
    for each in hardened:
        hardening = each["hardening"]
        compared = hardening["compared"]
        row = hardening["headline"]
        flips = compared["flips"] if compared and compared["flips"]["searched"] else {}
        rows.append((each, hardening["epsilon"], *_pair(row.contrast if row else None),
                     *_pair(compared["clean"] if compared else None), flips.get("larger"), flips.get("ratio")))
    columns = [Column("Set", _NAME), Column("Trained at", forms.SIZED), *_columns("Under attack, %"),
               *_columns("Clean, %"), Column("Larger, %", forms.stacked(), "Smallest flips"),
               Column("Ratio", forms.FACTOR_STACKED, "Smallest flips")]
    names = listed(sorted({method_name(each["hardening"]["training"].get("method")) for each in hardened}))
    against = " or ".join(sorted({compared["against"] for each in hardened
                                  if (compared := each["hardening"]["compared"])}))
    return table(columns, rows, tone="snug close", above=(
        f"The network of each set was trained on adversarial images ({names}), and both networks were then attacked "
        f"anew on the same test images. {italic('Under attack')}: accuracy under changes of at most the size it was "
        f"trained at, where no other is given, against the {against or 'label'}, by the smallest flips "
        f"of all attacks ({italic(MERGED.lower())}: by those tried at that size and below alone). Differences in "
        "points, after minus before, over the same resampled patients. "
        f"{italic('Larger')}: of the reads right in both, the share that takes a larger change to flip after; "
        f"{italic('ratio')}: the median of the sizes after over before. Below a set's name: what became of its reads "
        "under attack."))


def _every_size(sets: Sets) -> Iterator[Item]:
    """Against the label at each common size, from the merged flips."""
    robust = [(each, row) for each in sets.each.values() for row in (each["hardened_at"] or {}).get("label", ())
              if row.measure == ROBUST]
    by = [] if all(row.exact for _, row in robust) else [Column("By", forms.TEXT)]
    rows = [(each["title"], row.size, *([EXACT if row.exact else MERGED] if by else []),
             *_pair(row.contrast), row.contrast.gained, row.contrast.lost, row.contrast.p) for each, row in robust]
    if rows:
        columns = [Column("Set", forms.TEXT), Column("Change", forms.SIZED), *by,
                   Column("Before, %", forms.stacked()), Column("After, %", forms.stacked()),
                   Column("Difference", forms.POINTS_STACKED), Column("Gained", forms.COUNT),
                   Column("Lost", forms.COUNT), Column("p", forms.P_VALUE)]
        yield Fold("At each common size, against the label", (table(columns, begun(rows), tone="snug", note=(
            f"{italic('Gained')} and {italic('lost')} count the reads that are right only after hardening or only "
            "before; p: the sign of each patient's difference exchanged.")),))


def _others(each: Summary) -> Iterator[Item]:
    others = others_table(each["hardening"])
    if others is not None:
        yield Heading(f"{each['title']}: other hardenings of the same network")
        yield others
