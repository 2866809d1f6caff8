"""Networks of several runs on the same cases: what the page of a comparison is written from, and the page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from steadyread import records
from steadyread._version import __version__
from steadyread.charts import Axis, Chart, Interval, chart, interval
from steadyread.charts.look import BLUE, Look
from steadyread.files import PAGE, SUMMARY
from steadyread.metrics.comparison import RATIO, Change
from steadyread.metrics.hardening import CHANGED
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.plan import section
from steadyread.metrics.reads import CT_NOISE, LINF
from steadyread.metrics.summary import as_json
from steadyread.report import forms
from steadyread.report.answer import lead
from steadyread.report.drawings import Drawing
from steadyread.report.items import Figure, Item, Text
from steadyread.report.networks import Network, Networks
from steadyread.report.page import SYNTHETIC, Page, written
from steadyread.report.plain import FOOT
from steadyread.report.run import drawn_in
from steadyread.report.sections.networks import HALF, area_shown, headline_form
from steadyread.report.sets_drawings import Difference, forest
from steadyread.report.table import Column, Form, Table, begun, table
from steadyread.units import unit_word
from steadyread.words.answer import Answer
from steadyread.words.compared import VERDICTS, compared_answer
from steadyread.words.noise import short_name
from steadyread.words.numbers import NONE, attack_name, counted, digits, factor, p_shown

_MEASURES = {"AUC_above_3": "AUC of ratings above 3", "robust_accuracy": "accuracy under any change",
             RATIO: "smallest flip, ratio", CHANGED: "changed"}


@dataclass(frozen=True, eq=False)
class Entry:
    """A network of a comparison: its name, its run's folder, and its numbers on the common cases. `hollow`: it is one
    before hardening that stands beside it hardened."""

    name: str
    folder: Path
    network: Network
    hollow: bool = False

    @property
    def noise(self) -> float | None:
        """The SD of the noise in the images, native units, where it is known."""
        return self.network.image_noise

    @property
    def sha256(self) -> str | None:
        """The digest of the network, of the first of its folds."""
        found = section(self.network.cell.plan, "model").get("sha256")
        return None if found is None else str(found)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Networks on the same cases, the first of which the others are compared with. `changes` holds for each other
    network every change, `keys` those that speak for all, with p after Holm over all of these; `notes` what is to be
    known of the cases."""

    label: ClassVar[str] = "comparison"
    entries: tuple[Entry, ...]
    changes: tuple[tuple[Change, ...], ...]
    keys: tuple[tuple[Change, ...], ...]
    images: int
    patients: int | None
    data: str
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    @property
    def others(self) -> tuple[Entry, ...]:
        """All but the first."""
        return self.entries[1:]

    @property
    def networks(self) -> Networks:
        """Their numbers, as the sections of networks take them."""
        return Networks(tuple(entry.network for entry in self.entries))

    @property
    def answer(self) -> Answer:
        """What the page says first."""
        return compared_answer(self.entries[0].name, [entry.name for entry in self.others], self.keys)

    @property
    def tested(self) -> int:
        """How many differences were tested together."""
        return sum(each.corrected is not None for found in self.keys for each in found)

    @property
    def multiplicity(self) -> str:
        """How the p values are to be read."""
        holm = f"p after Holm over the {self.tested} differences tested here" if self.tested > 1 else "p"
        return f"{holm}, two-sided, patients as units; the AUC has no test, its interval decides."

    @property
    def on(self) -> str:
        """Which cases: `40 images of 30 patients`."""
        return f"{counted(self.images, 'image')} " + (
            "(patients unknown)" if self.patients is None else f"of {counted(self.patients, 'patient')}")

    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return {"steadyread": __version__, "answer": self.answer.sentence, "data": self.data, "images": self.images,
                "patients": self.patients, "synthetic": self.synthetic, "notes": list(self.notes),
                "multiplicity": self.multiplicity,
                "entries": [{"name": entry.name, "run": entry.folder.name, "noise": entry.noise,
                             "model_sha256": entry.sha256, **entry.network.where}
                            for entry in self.entries],
                "differences": [{"network": entry.name, "than": self.entries[0].name, **each.row(),
                                 "p_holm": each.corrected}
                                for entry, found in zip(self.others, self.keys, strict=True) for each in found],
                "all_differences": [{"network": entry.name, "than": self.entries[0].name, **each.row()} for entry, found
                                    in zip(self.others, self.changes, strict=True) for each in found],
                "numbers": [number.row(entry.network.where | {"network": entry.name}) for entry in self.entries
                            for number in entry.network.numbers]}

    def beside(self) -> Table:
        """A row a network: clean, under changes of any pixels, under noise."""
        found = self.networks
        columns = [Column("Network", forms.TEXT), Column("AUC", forms.stacked(1, 3)),
                   Column("Accuracy, %", forms.stacked())]
        if LINF in found.threats:
            columns += [Column("Half flip at", HALF), Column("Robust accuracy, %", headline_form(found, LINF))]
            columns += [Column("In units of the noise", _IN_NOISE)] if any(each.noise for each in self.entries) else []
        if CT_NOISE in found.threats:
            columns.append(Column("Reads changed by one draw, %", headline_form(found, CT_NOISE)))
        rows = [self._row(entry, found.threats) for entry in self.entries]
        return table(columns, rows, tone="snug")

    def _row(self, entry: Entry, threats: Sequence[str]) -> tuple[Any, ...]:
        network = entry.network
        sizes = [network, network, *([entry] if any(each.noise for each in self.entries) else [])]
        return (entry.name, area_shown(network), network.estimate("accuracy"), *(sizes if LINF in threats else []),
                *([network] if CT_NOISE in threats else []))

    def differences(self, every: bool = False) -> Table:
        """A row a difference: the key ones, or every one."""
        rows = [(entry.name, *_shown(change, every)) for entry, found in zip(
            self.others, self.changes if every else self.keys, strict=True) for change in found]
        return table([Column("Network", forms.TEXT, head=True), *self._columns(every)], begun(rows), tone="snug",
                     note="p of each alone, not corrected: for looking, not for concluding." if every
                     else self.multiplicity)

    def each_different(self) -> list[Table]:
        """The key differences of each network to the first, each a narrow table of its own."""
        columns = [Column("", forms.TEXT), Column("difference", Form(_difference_between)),
                   Column("p, Holm" if self.tested > 1 else "p", Form(p_shown)), Column("verdict", forms.TEXT)]
        return [table(columns, [(change_said(change), change, change.corrected, VERDICTS[change.verdict])
                                for change in found], above=f"{entry.name}, minus {self.entries[0].name}")
                for entry, found in zip(self.others, self.keys, strict=True)]

    def _columns(self, every: bool) -> list[Column]:
        return [Column("Of what", forms.TEXT), Column(f"{self.entries[0].name} to it", Form(_both)),
                Column("Difference", Form(_difference, beside=_between)),
                Column("p" if every else "p, Holm", Form(p_shown)), Column("Verdict", forms.TEXT)]

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """Its charts by name."""
        drawn = [self._steadiness(), self._noise(), self._gained()]
        return {each.name: each for each in drawn if each is not None}

    def _steadiness(self) -> Chart | None:
        found = [(entry, entry.network.estimate("median_smallest_flip", LINF)) for entry in self.entries]
        known = [(entry, median) for entry, median in found if median is not None and median.value is not None]
        by_noise = all(entry.noise for entry, _ in known)
        scaled = [(entry, _times(median, 1 / entry.noise if by_noise and entry.noise else 1.0))
                  for entry, median in known]
        ends = [end for _, median in scaled for end in (median.value, median.low, median.high)
                if end is not None and 0 < end < math.inf]
        if not ends:
            return None
        low, high = min(ends) / 1.4, max(ends) * 1.4
        rows = [_dot(entry, median, high) for entry, median in scaled]
        unit = "standard deviations of the images' noise" if by_noise else (
            unit_word(known[0][0].network.bounds.unit) or "native units")
        return chart("steadiness", "The change of any pixel that flips half of the right reads. Hollow: before "
                     "hardening. Lines: 95 % intervals over patients.",
                     interval(rows, Axis(f"median smallest flip, {unit}", (low, high * 1.1), log=True)))

    def _noise(self) -> Chart | None:
        found = [(entry, self.networks.headline(entry.network, CT_NOISE)) for entry in self.entries]
        told = [(entry, number) for entry, number in found if number is not None and number.estimate.value is not None]
        if not told:
            return None
        rows = [_dot(entry, _times(number.estimate, 100.0), math.inf) for entry, number in told]
        return chart("changed", f"The reads that one draw of CT noise changes at {told[0][1].level:g} mAs. Hollow: "
                     "before hardening. Lines: 95 % intervals over patients.",
                     interval(rows, Axis("reads changed by one draw, %")))

    def _gained(self) -> Chart | None:
        rows = [Difference(change_said(change), entry.name, change.difference, change.verdict in ("better", "worse"))
                for entry, found in zip(self.others, self.keys, strict=True) for change in found
                if change.measure not in (RATIO, CHANGED)]
        if not rows:
            return None
        first = self.entries[0].name
        return chart("gained", f"Minus {first}, on the same cases. Lines: 95 % intervals over patients; in colour "
                     "where the corrected test says so too.",
                     forest(sorted(rows, key=lambda row: row.group), f"minus {first}, points", ("worse", "better"), 1,
                            100))

    def page(self) -> Page:
        """The page."""
        title = f"{self.entries[0].name} beside {', '.join(entry.name for entry in self.others)}"
        return Page(title, f"Which of {len(self.entries)} networks is the steadier?", tuple(self._head()),
                    written([self]), FOOT, (SYNTHETIC,) if self.synthetic else ())

    def _head(self) -> Iterator[Item]:
        drawn = [name for name in ("steadiness", "changed") if name in self.drawings]
        notes = [Text(note, "note") for note in self.notes]
        yield lead(self.answer, f"{self.data} · {self.on}", notes, drawn[0] if drawn else "")
        yield from map(Figure, drawn[1:])
        yield self.beside()
        yield self.differences()

    def write(self, folder: Path) -> Path:
        """Writes report.html, summary.json and figures/ into a folder, and returns the page.

        Raises:
            Partial: the disk is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        records.write_json(folder / SUMMARY, as_json(self.summary()))
        records.write_text(folder / PAGE, self.page().html(drawn_in(self.drawings.values(), folder)))
        return folder / PAGE


def _shown(change: Change, every: bool) -> tuple[Any, ...]:
    """The cells of a difference."""
    return (change_said(change), change, change, change.p if every else change.corrected, VERDICTS[change.verdict])


def change_said(change: Change) -> str:
    """What a change is of."""
    name = _MEASURES.get(change.measure, change.measure)
    if change.level is None:
        return name
    at = f"{digits(change.level)} {unit_word(change.unit, change.level) or 'units'}"
    if change.threat == CT_NOISE:
        return f"{name}, {short_name(change.attack)} noise, {at}"
    return f"{name}, up to {at}" if change.attack == "all" else f"{name} under {attack_name(change.attack)} at {at}"


def _both(change: Change) -> str:
    if change.measure == RATIO:
        unit = unit_word(change.unit, change.after or 0.0)
        ends = [NONE if end is None else digits(end) for end in (change.before, change.after)]
        return f"{ends[0]} to {ends[1]}{f' {unit}' if unit else ''}"
    scale, decimals = (1.0, 3) if change.measure.startswith("AUC") else (100.0, 1)
    return f"{forms.number(change.before, scale, decimals)} to {forms.number(change.after, scale, decimals)}"


def _difference(change: Change) -> str:
    if change.measure == RATIO:
        return f"× {factor(change.difference.value)}"
    return _signed(change, change.difference.value)


def _signed(change: Change, value: float | None) -> str:
    scale, decimals = (1.0, 3) if change.measure.startswith("AUC") else (100.0, 1)
    return f"{'+' if value is not None and value > 0 else ''}{forms.number(value, scale, decimals)}"


def _difference_between(change: Change) -> str:
    ends = _between(change)
    return _difference(change) if ends in ("", NONE) else f"{_difference(change)} ({ends})"


def _between(change: Change) -> str:
    if change.verdict == "same":
        return NONE
    show = factor if change.measure == RATIO else (lambda end: _signed(change, end))
    return forms.between(change.difference, show)


def _dot(entry: Entry, found: Estimate, most: float) -> Interval:
    """A network's row of a chart; what goes beyond `most` ends there."""
    never = found.value == math.inf
    look = Look(BLUE, marker="triangle-right") if never else Look(BLUE)
    value, low, high = (None if end is None else min(end, most) for end in (found.value, found.low, found.high))
    return Interval(entry.name, value, low, high, look, hollow=entry.hollow, plain=True,
                    words="half never flipped" if never else "", link="#every-difference")


def _times(found: Estimate, scale: float) -> Estimate:
    value, low, high = (None if end is None else scale * end for end in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.n)


def _in_noise(entry: Entry) -> str:
    median = entry.network.estimate("median_smallest_flip", LINF)
    if median is None or median.value is None or not entry.noise:
        return NONE
    return f"{digits(median.value / entry.noise)} SD"


_IN_NOISE = Form(_in_noise)
