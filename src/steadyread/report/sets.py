"""A study of several data sets: its summary, and its report, from stored files alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from steadyread.metrics.across_sets import findings_of
from steadyread.metrics.reads import CT_NOISE, ORIGINAL
from steadyread.metrics.triage import SMALLEST_FLIP
from steadyread.report.answer import counts_of, lead, trust
from steadyread.report.cases import ShownCases
from steadyread.report.checklists import Runs
from steadyread.report.drawings import Drawing
from steadyread.report.items import Card, Cards, Fold, Item, Note, Notes, Terms, Text
from steadyread.report.marks import bold
from steadyread.report.networks import Networks
from steadyread.report.page import Page, chips_of, written
from steadyread.report.papers import paper
from steadyread.report.referral import Referral
from steadyread.report.sets_drawings import sets_drawings
from steadyread.report.sets_stored import StoredSets, read_sets
from steadyread.report.sets_summary import summarise_sets
from steadyread.report.several import ROWS, across_of, several_chart, several_lead
from steadyread.report.shareable import Shareable
from steadyread.store import PLAIN
from steadyread.units import Bounds, unit_word
from steadyread.words.answer import Answer, across_answer
from steadyread.words.numbers import digits, percent
from steadyread.words.sets import OUTCOMES, listed, outcome

Summary = Mapping[str, Any]
FOOT = ("A measurement of networks, not a medical device: it must not decide on anyone's care. "
        f"[A]: {paper('A').cite}, doi:{paper('A').doi}.")
CHECKLISTS = "Reporting checklists"


@dataclass(frozen=True, eq=False)
class Sets:
    """A study of several data sets: its stored files and its summary, as `sets_summary.summarise_sets` has it."""

    label: ClassVar[str] = "data sets"
    stored: StoredSets
    summary: Summary

    @property
    def each(self) -> Mapping[str, Summary]:
        """The summaries of the sets that were assessed, by name."""
        sets: Mapping[str, Summary] = self.summary["sets"]
        return sets

    @property
    def bounds(self) -> Mapping[str, Bounds]:
        """The bounds of each assessed set's images, by title."""
        return {each.title: run.bounds for each, run in self.stored.assessed.values()}

    @property
    def referrals(self) -> Mapping[str, Referral]:
        """Which reads of each assessed set to refer, by title."""
        return {one.title: one.plain.referral for one in self.stored.sets
                if one.plain is not None and one.plain.referral is not None}

    @property
    def panels(self) -> str:
        """The class of charts with a panel a set."""
        count = len(self.each)
        return f"panels {'broad' if count > 2 else 'pair' if count == 2 else 'one'}"

    @property
    def runs(self) -> Runs:
        """Every assessed set's run with its summary, by title, for the checklists."""
        return {each.title: (run, self.each[name]) for name, (each, run) in self.stored.assessed.items()}


def unit_of(each: Summary) -> str:
    """The unit of a set's images in a column's head."""
    return unit_word(str(each["unit"]))


def fragile_rows(summary: Summary) -> list[Summary]:
    """The sets at equal conditions, the most fragile first by share of the range."""
    rows = summary["fragility"]["rows"] if summary["fragility"] else []
    return sorted(rows, key=lambda row: (row["of_range"].value is None, row["of_range"].value or 0.0))


def sets_of(folder: Path, shared: Shareable, networks: Networks, seed: int = 0) -> tuple[Sets, dict[str, Drawing]]:
    """A study of several data sets, and its charts by name; each set has its own pseudonyms unless it is `shared` as
    it is.

    Raises:
        InputRefused: no such study there, or a stored file that is not what it should be.
    """
    stored = read_sets(folder, not shared.secret, seed)
    summary = summarise_sets(stored, seed)
    each = summary["sets"]
    ways = {name: way for name, own in each.items() if (way := outcome(own)) is not None}
    across = across_of(networks, {name: own["title"] for name, own in each.items()}, ways,
                       lambda network: each[network.cell.data]["invalid"])
    alone = [own["verdict"] for own in each.values()]
    summary |= {"across": across, "verdict": across_answer(across).sentence if across else
                " ".join(alone) or "No data set has been assessed yet."}
    drawn = several_chart(across) if across else None
    return Sets(stored, summary), sets_drawings(stored, summary) | ({ROWS: drawn} if drawn else {})


def page_of(sets: Sets, networks: Networks, cases: ShownCases, gates: Sequence[Mapping[str, Any]] = ()) -> Page:
    """The page of several data sets."""
    s, count = sets.summary, len(sets.summary["titles"])
    return Page(s["name"] or "several data sets",
                f"How steady are the reads of {'one data set' if count == 1 else f'{count} data sets'}?",
                tuple(head(sets, networks)), written([sets, networks, cases]), FOOT,
                chips_of(s, not s["across"] or across_answer(s["across"]).valid, gates))


def head(sets: Sets, networks: Networks) -> Iterator[Item]:
    """What stands above every section: the answer over all sets, those that are missing, key figures, and the questions
    with their answers in a fold."""
    s = sets.summary
    scale = [f"scale “{s['scale']}”"] if s["scale"] else []
    kicker = " · ".join([s["name"] or "A study of several data sets", *scale, ", ".join(s["titles"].values())])
    if s["across"] is not None:
        yield several_lead(s["across"], kicker)
    else:
        yield lead(Answer(s["verdict"]), kicker, [])
    if s["absent"]:
        yield Notes(tuple(Note("error", s["titles"][name], why, tag="missing") for name, why in s["absent"].items()))
    if sets.each:
        checks = counts_of(row for each in sets.each.values() for row in findings_of(each))
        yield Cards((*set_cards(s), trust(checks)), "facts")
    yield Fold("The questions and their answers in words", (Terms((
        *((each["question"], each["answer"]) for each in s["answers"]), *_under_noise(networks, s["titles"])),
        "answers"),))
    if s["synthetic"]:
        named = listed([s["titles"][name] for name in s["synthetic"]])
        yield Text(f"{bold('SYNTHETIC')} The images of {named} are made by a computer, not taken of patients. "
                   f"Nothing said of {'it' if len(s['synthetic']) == 1 else 'them'} tells how a model reads "
                   "real ones.", "banner")


def _under_noise(networks: Networks, titles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What CT noise does to the plain network of each set, where it was tried."""
    said = []
    for each in networks.networks:
        found = each.headline(CT_NOISE) if (each.cell.stage, each.cell.network) == (PLAIN, ORIGINAL) else None
        if found is not None:
            said.append(f"{percent(found.estimate.value)} of the reads in {titles.get(each.cell.data, each.cell.data)} "
                        f"at {found.level:g} mAs")
    if said:
        yield "How many reads does CT noise change?", f"One draw of it changes {'; '.join(said)}."


def set_cards(summary: Summary) -> Iterator[Card]:
    """The key figures over all sets: how many, how fragile, what hardening and the smallest flip gained."""
    count, whole = len(summary["sets"]), len(summary["titles"])
    yield Card(f"{count}" if count == whole else f"{count} of {whole}",
               "data set assessed" if count == whole == 1 else "data sets assessed")
    rows = [row for row in fragile_rows(summary) if row["of_range"].value is not None]
    if len(rows) > 1:
        (first, least), (last, most) = ((summary["titles"][row["name"]], digits(row["of_range"].value))
                                        for row in (rows[0], rows[-1]))
        yield Card(least, f"of the range flips half of the reads in {first} at equal conditions",
                   f"the smallest median; in {last} {most}")
    ways = [way for each in summary["sets"].values() if (way := outcome(each)) is not None]
    if ways:
        others = (f"{OUTCOMES[way]}: {ways.count(way)}" for way in dict.fromkeys(ways) if way != "better")
        yield Card(f"{ways.count('better')} of {len(ways)}", "networks made steadier by hardening", "; ".join(others))
    flips = [row["way"] for row in summary["scores"] if row["score"] == SMALLEST_FLIP and not row["perfect"]]
    if flips:
        yield Card(f"{flips.count('better')} of {len(flips)}",
                   "sets in which the smallest flip sorts reads better than the free margin",
                   f"worse in {flips.count('worse')}")
