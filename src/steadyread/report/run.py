"""The page of a run: every section that has something to say of it, from stored files alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from steadyread import records
from steadyread.charts import Sheet
from steadyread.charts.examples import Attacked, Example, NoiseExample
from steadyread.charts.seeing import Shown
from steadyread.files import FIGURES, GATES, PAGE, SETTINGS, SPECTRUM, SUMMARY, TEXT
from steadyread.metrics.reads import CT_NOISE
from steadyread.metrics.summary import as_json
from steadyread.metrics.validity import invalidating
from steadyread.report import noise, plain
from steadyread.report.answer import ANSWER
from steadyread.report.cases import FINDINGS, SETS, THREATS, ShownCases, Source, shown_cases
from steadyread.report.checklists import CHECKLIST, CHECKLIST_JSON, Runs, checklist_json
from steadyread.report.crossed import checklist_markdown
from steadyread.report.drawings import Drawing
from steadyread.report.inline import inline
from steadyread.report.items import Item
from steadyread.report.model_card import MODEL_CARD, model_card
from steadyread.report.networks import Networks, networks_of
from steadyread.report.noise import Noise
from steadyread.report.noise_drawings import DOSES
from steadyread.report.page import Drawn, Page, chips_of, written
from steadyread.report.plain import Plain
from steadyread.report.referral import LIST, listed
from steadyread.report.sets import CHECKLISTS, Sets, page_of, sets_of
from steadyread.report.several import ROWS, across_of
from steadyread.report.shareable import AS_IT_IS, Shareable, secret_of
from steadyread.report.stored import read_network
from steadyread.store import PLAIN, Cell, Opened, cells_of, open_cells
from steadyread.words.answer import answer
from steadyread.words.noise import noise_answer

PICTURES = ("examples", "fig1")     # that the page shows as images of its own
LEADING = (ANSWER, ROWS, DOSES)      # charts of the answer, of which a page has the first that there is


@dataclass(frozen=True, eq=False)
class Told:
    """What a run's page is written of: its part under changes of any pixels, under CT noise, its data sets where it
    has several (None where it has no such part), its networks beside each other, the `sources` of the cases that it
    shows, with `images` or without, and what its `gates` came to; all as it is `shared`."""

    plain: Plain | None
    noise: Noise | None
    networks: Networks
    sources: Sequence[Source]
    drawings: Mapping[str, Drawing]
    sets: Sets | None = None
    shared: Shareable = AS_IT_IS
    images: bool = True
    gates: Sequence[Mapping[str, Any]] = ()
    of: str = SETS

    @cached_property
    def cases(self) -> ShownCases:
        """The cases that the page shows."""
        return shown_cases(self.sources, self.images, of=self.of)

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds, with every number as a row of `numbers`; of a run under both threats that of noise
        stands under `noise`."""
        first, *others = (each for each in (self.sets, self.plain, self.noise) if each is not None)
        return {**first.summary, **({"noise": self.noise.summary} if self.noise and others else {}),
                "numbers": self.numbers}

    @property
    def numbers(self) -> list[dict[str, Any]]:
        """Every number of every network as one row of `metrics.tidy.COLUMNS`."""
        names = {each.where["set"] for each in self.networks.networks}
        called = {name: self.shared.text(name) for name in names}
        return [row | {"set": called[row["set"]]} for row in self.networks.rows]

    @property
    def runs(self) -> Runs | None:
        """The runs by name, as checklists take them; None where only noise was tried."""
        whole = self.sets or self.plain
        return whole.runs if whole is not None else None

    def page(self) -> Page:
        """The page."""
        return self._whole() if self.images else self._whole().without_pictures()

    def _whole(self) -> Page:
        if self.sets is not None:
            return page_of(self.sets, self.networks, self.cases, self.gates)
        whole = written([*([self.plain] if self.plain else []), self.networks, self.cases,
                         *(noise.subjects(self.noise) if self.noise else ())])
        if self.plain is None and self.noise is not None:
            name = self.noise.summary["data"]["name"]
            return Page(f"CT noise on {name}", f"How much CT noise do reads of {name or 'these images'} stand?",
                        tuple(noise.head(self.noise)), whole, noise.FOOT,
                        chips_of(self.noise.summary, noise_answer(self.noise.summary).valid, self.gates))
        assert self.plain is not None
        s = self.plain.summary
        model, data = s["model"].get("name"), s["data"].get("name")
        return Page(f"{model} on {data}", f"How steady is {model or 'the model'} on {data or 'these images'}?",
                    tuple(self._head(self.plain)), whole,
                    f"{plain.FOOT} {noise.SOURCE}" if self.noise else plain.FOOT,
                    chips_of(s, answer(s).valid, self.gates))

    def _head(self, told: Plain) -> Iterator[Item]:
        yield from plain.head(told)
        if self.noise is not None:
            yield from noise.head_beside(self.noise)


def write_report(folder: str | Path, seed: int = 0, show_ids: bool = False, images: bool = True,
                 painted: bool = True) -> Path:
    """Write report.html, summary.json, model-card.md, checklists and figures/ into a run's folder from its
    stored files alone; of several data sets report.md too.

    `seed` is that of the bootstrap and of drawn subsets: the same folder gives the same bytes. Networks that are not
    assessed yet are left out, so a run under way can be reported on. Cases and patients have pseudonyms (see
    `Shareable`), and files no folders, unless `show_ids`. Without `images` no image is in any of the files. Figures are
    `painted` as PNG beside their SVG.

    Raises:
        InputRefused: no records there, or a stored file that is not what it should be.
        Partial: the disk is full.
    """
    place = Path(folder)
    told = told_of(place, Shareable.of(place, show_ids), seed, images)
    page, runs = told.page(), told.runs
    records.write_json(place / SUMMARY, as_json(told.summary))
    if told.sets is not None:
        records.write_text(place / TEXT, text_of(page))
    if told.networks.networks:
        records.write_text(place / MODEL_CARD, model_card(told.networks, page, told.shared))
    if told.plain is not None and told.plain.referral is not None:
        records.write_text(place / LIST, listed(told.plain.run.reads, told.plain.summary["triage"],
                                                Shareable(secret_of(place))))
    if runs is not None:
        records.write_text(place / CHECKLIST, checklist_markdown(runs))
        records.write_json(place / CHECKLIST_JSON, checklist_json(runs))
    records.write_text(place / PAGE, page.html(drawn_in(told.drawings.values(), place, painted)))
    return place / PAGE


def text_of(page: Page) -> str:
    """The page as Markdown without its checklists, which have files of their own."""
    return replace(page, sections=tuple(each for each in page.sections if each.title != CHECKLISTS)).markdown()


def told_of(folder: Path, shared: Shareable, seed: int = 0, images: bool = True) -> Told:
    """What there is to tell of the run in a folder, with images of patients or without.

    Raises:
        InputRefused: no records there, or a stored file that is not what it should be.
    """
    if "sets" in (records.read_object(folder / SETTINGS) or {}):
        networks = networks_of([open_cells(folder)] if cells_of(folder) else [], seed)
        sets, charts = sets_of(folder, shared, networks, seed)
        sources = list(_of_sets(sets, not shared.secret))
        return Told(None, None, networks, sources, _with(charts, images), sets, shared, images,
                    [gate for each, _ in sets.stored.assessed.values() for gate in _gates_of(each.folder, shared)])
    opened = open_cells(folder)
    cells, networks = opened.own.cells, networks_of([opened], seed)
    stated = {CT_NOISE} if opened.settings.get("noise") or (folder / SPECTRUM).exists() else set()
    threats = _threats(cells[0]) | stated
    under_changes, under_noise, drawings, beside = None, None, {}, frozenset[str]()
    if threats != {CT_NOISE}:     # also of clean reads alone
        under_changes = plain.plain_of(read_network(cells, folder, shared=shared), shared, seed, across_of(
            networks, invalid=lambda network: [shared.finding(each) for each in invalidating(
                network.cell.findings, network.cell.table)]), networks.referrals(opened, shared))
        drawings, beside = plain.drawings_of(under_changes), _cases_of(under_changes.run.examples)
    if CT_NOISE in threats:
        files = noise.read_noise(opened, shared)
        under_noise = noise.noise_of(files, seed, shared)
        drawings = {**noise.drawings_of(files, under_noise), **drawings}
        beside |= _cases_of(under_noise.examples, files.seen.shown if files.seen else ())
    names = {each.cell.network: each.title for each in networks.findings}
    of, sources = _of_one(opened, shared, names, (under_changes is not None, under_noise is not None), beside)
    return Told(under_changes, under_noise, networks, sources, _with(drawings, images), shared=shared, images=images,
                gates=_gates_of(folder, shared), of=of)


def _of_one(opened: Opened, shared: Shareable, findings: Mapping[str, str], threats: tuple[bool, bool],
            beside: frozenset[str]) -> tuple[str, list[Source]]:
    """What the cases of one data set are chosen by, and those of each: its findings (titles by network), the study's
    own first, or what it was tried under (changes of any pixels, CT noise)."""
    own = opened.own
    if len(findings) > 1:
        several = sorted((each for each in opened.select(stage=PLAIN).networks() if each.cells[0].finding),
                         key=lambda each: each.cells[0].network != own.cells[0].network)
        return FINDINGS, [Source(each, shared, findings[each.cells[0].network], beside=beside) for each in several]
    changes, noise = threats
    names = ("any pixels", "CT noise") if changes and noise else ("", "")
    return THREATS, [Source(own, shared, name, dose, beside) for name, dose, tried in zip(
        names, (False, True), threats, strict=True) if tried]


def _gates_of(folder: Path, shared: Shareable) -> list[dict[str, Any]]:
    """What the gates of a run came to, as kept; none where none was asked for."""
    kept = (records.read_object(folder / GATES) or {}).get("gates")
    return [{"gate": shared.text(str(each.get("gate"))), "passed": bool(each.get("passed")),
             "message": shared.text(str(each.get("message")))} for each in kept if isinstance(each, dict)
            ] if isinstance(kept, list) else []


def _of_sets(sets: Sets, show_ids: bool) -> Iterator[Source]:
    """The network of each data set that was assessed, whose pseudonyms are its own."""
    for stored, run in sets.stored.assessed.values():
        own = open_cells(stored.folder).own
        yield Source(own, Shareable.of(stored.folder, show_ids), stored.title, _threats(own.cells[0]) == {CT_NOISE},
                     _cases_of(stored.attacked, run.examples))


def _cases_of(*several: Iterable[Example | NoiseExample | Attacked | Shown]) -> frozenset[str]:
    """The cases of which images are shown, as they are named."""
    return frozenset(each.case_id for examples in several for each in examples)


def _with(drawings: Mapping[str, Drawing], images: bool) -> Mapping[str, Drawing]:
    """The drawings, without those that show images of patients unless such are wanted."""
    return {name: each for name, each in drawings.items() if images or not isinstance(each, Sheet)}


def drawn_in(drawings: Iterable[Drawing], folder: Path, painted: bool = True) -> Drawn:
    """The charts of a page, each saved in the run's folder, as the page takes them up.

    What an earlier report drew and this one does not is removed: it shows other numbers than the page.
    """
    charts, saved = {}, set()
    for drawing in drawings:
        _, drawn = drawing.save(folder / FIGURES, painted)
        saved.add(drawn)
        svg = drawn.read_text("utf-8")
        if drawing.name not in PICTURES:
            charts[drawing.name] = inline(drawing, svg)
    for old in set((folder / FIGURES).glob("*.svg")) - saved:
        if old.with_suffix(".png").is_file():      # a pair, as only a report saves them
            old.unlink()
            old.with_suffix(".png").unlink()
    return charts


def _threats(cell: Cell) -> set[str]:
    """What was tried on a network, by its records."""
    return {str(threat) for threat in pc.unique(cell.table["threat"]).to_pylist()} - {"none"}
