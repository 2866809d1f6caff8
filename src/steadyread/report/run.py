"""The page of a run on one data set: every section that has something to say of it, from stored files alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from steadyread import records
from steadyread.files import FIGURES, JOBS, PAGE, SPECTRUM, SUMMARY
from steadyread.metrics.reads import CT_NOISE
from steadyread.metrics.summary import as_json
from steadyread.report import noise, plain
from steadyread.report.checklists import CHECKLIST, CHECKLIST_JSON, checklist_json
from steadyread.report.crossed import checklist_markdown
from steadyread.report.drawings import Drawing
from steadyread.report.inline import inline_svg
from steadyread.report.items import Item
from steadyread.report.networks import Networks, networks_of
from steadyread.report.noise import Noise
from steadyread.report.page import Drawn, Page, written
from steadyread.report.plain import Plain
from steadyread.report.shareable import Shareable
from steadyread.report.stored import read_network
from steadyread.store import Cell, open_cells, own_network

PICTURES = ("examples", "fig1")     # that the page shows as images of its own


@dataclass(frozen=True, eq=False)
class Told:
    """What a run's page is written of: its part under changes of any pixels, under CT noise, and its networks beside
    each other; None where it has no such part."""

    plain: Plain | None
    noise: Noise | None
    networks: Networks | None
    drawings: Mapping[str, Drawing]

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds; of a run under both threats that of noise stands under `noise`."""
        if self.plain is None:
            return dict(self.noise.summary) if self.noise else {}
        return {**self.plain.summary, **({"noise": self.noise.summary} if self.noise else {})}

    def page(self) -> Page:
        """The page."""
        subjects = [each for each in (self.plain, self.networks) if each is not None]
        whole = written([*subjects, *(noise.subjects(self.noise) if self.noise else ())])
        if self.plain is None and self.noise is not None:
            name = self.noise.summary["data"]["name"]
            return Page(f"CT noise on {name}", f"How much CT noise do reads of {name or 'these images'} stand?",
                        tuple(noise.head(self.noise)), whole, noise.FOOT)
        assert self.plain is not None
        s = self.plain.summary
        model, data = s["model"].get("name"), s["data"].get("name")
        return Page(f"{model} on {data}", f"How steady is {model or 'the model'} on {data or 'these images'}?",
                    tuple(self._head(self.plain)), whole,
                    f"{plain.FOOT} {noise.SOURCE}" if self.noise else plain.FOOT)

    def _head(self, told: Plain) -> Iterator[Item]:
        yield from plain.head(told)
        if self.noise is not None:
            yield from noise.head_beside(self.noise)


def write_report(folder: str | Path, seed: int = 0, show_ids: bool = False) -> Path:
    """Write report.html, summary.json, checklists and figures/ into a run's folder from its stored files alone.

    `seed` is that of the bootstrap and of drawn subsets: the same folder gives the same bytes. Networks that are not
    assessed yet are left out, so a run under way can be reported on. Cases and patients have pseudonyms (see
    `Shareable`), and files no folders, unless `show_ids`.

    Raises:
        InputRefused: no records there, or a stored file that is not what it should be.
        Partial: the disk is full.
    """
    place = Path(folder)
    told = told_of(place, Shareable.of(place, show_ids), seed)
    records.write_json(place / SUMMARY, as_json(told.summary))
    if told.plain is not None:
        records.write_text(place / CHECKLIST, checklist_markdown(told.plain.runs))
        records.write_json(place / CHECKLIST_JSON, checklist_json(told.plain.runs))
    records.write_text(place / PAGE, told.page().html(drawn(told.drawings.values(), place)))
    return place / PAGE


def told_of(folder: Path, shared: Shareable, seed: int = 0) -> Told:
    """What there is to tell of the run on one data set in a folder.

    Raises:
        InputRefused: no records there, or a stored file that is not what it should be.
    """
    if not (folder / JOBS).is_dir():
        only, drawings = plain.plain_of(read_network([Cell(folder)], folder, shared=shared), shared, seed)
        return Told(only, None, None, drawings)
    opened = open_cells(folder)
    cells = own_network(folder) or list(next(opened.networks()).cells)
    stated = {CT_NOISE} if opened.settings.get("noise") or (folder / SPECTRUM).exists() else set()
    threats = _threats(cells[0]) | stated
    under_changes, under_noise, drawings = None, None, {}
    if threats != {CT_NOISE}:     # also of clean reads alone
        under_changes, drawings = plain.plain_of(read_network(cells, folder, shared=shared), shared, seed)
    if CT_NOISE in threats:
        files = noise.read_noise(folder, shared)
        under_noise = noise.noise_of(files, seed, shared)
        drawings = {**noise.drawings_of(files, under_noise), **drawings}
    networks = networks_of([opened], seed) if under_changes is not None else None
    return Told(under_changes, under_noise, networks, drawings)


def drawn(drawings: Iterable[Drawing], folder: Path) -> Drawn:
    """The charts of a page, each saved in the run's folder, as the page takes them up."""
    charts = {}
    for drawing in drawings:
        svg = drawing.save(folder / FIGURES)[1].read_text("utf-8")
        if drawing.name not in PICTURES:
            charts[drawing.name] = (inline_svg(svg, drawing.name.replace("_", "-"), drawing.caption), drawing.caption)
    return charts


def _threats(cell: Cell) -> set[str]:
    """What was tried on a network, by its records."""
    return {str(threat) for threat in pc.unique(cell.table["threat"]).to_pylist()} - {"none"}
