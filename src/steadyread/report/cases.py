"""The cases that a page shows: which of a run's stored pictures go into it, and under which names."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from steadyread.metrics.case_rows import CaseRows
from steadyread.metrics.choosing import Shown
from steadyread.metrics.intervals import Ints
from steadyread.metrics.plan import bounds_of, class_names, section, threshold_of
from steadyread.pictured import Pictured, Walk, room_of
from steadyread.report import case_data
from steadyread.report.case_data import CaseData, Pixels, axis_of, coded, for_a_page, windows_of
from steadyread.report.shareable import Shareable
from steadyread.store import Opened
from steadyread.words.numbers import counted

SETS, FINDINGS, THREATS = "Data set", "Finding", "Change"      # what a reader chooses among
ROOM = 8_000_000           # letters of all pictures of a page
_UNPACKED = 2**25          # bytes of a data set's pictures before they are deflated
_ROWS = 5_000              # cases in all tables; of more, those that have pictures, or would have
_LETTERS = 4 / 3           # of base64, for a byte


@dataclass(frozen=True, eq=False)
class ShownCases:
    """The cases of a page, a block a data set, or a block a finding or a threat of one (`of`, as the reader who chooses
    is told). `images` says whether pictures were asked for, `stored` whether any are stored with the run, `beside`
    which cases (as they are named) have images elsewhere in the page, by block."""

    label: ClassVar[str] = "cases"
    blocks: tuple[CaseData, ...]
    images: bool = True
    stored: bool = True
    beside: tuple[frozenset[str], ...] = ()
    of: str = SETS

    def as_json(self) -> dict[str, Any]:
        """What stands in the page: one block, or the blocks of several data sets under `sets`."""
        blocks = [block.as_json() for block in self.blocks]
        return blocks[0] if len(blocks) == 1 else {
            "version": case_data.VERSION, "of": self.of, "sets": blocks}

    @property
    def contains(self) -> str:
        """The sentence on what of patients is in the file."""
        beside = self.beside or [frozenset[str]()] * len(self.blocks)
        held = [(block, block.pictured_ids | more) for block, more in zip(self.blocks, beside, strict=True)]
        if self.of != SETS:     # the same images in every block
            known = {case: patient for block in self.blocks for case, patient in zip(
                block.id, block.patient, strict=True)}
            first = replace(self.blocks[0], id=list(known), patient=list(known.values()))
            held = [(first, frozenset().union(*(names for _, names in held)))]
        images = sum(len(names) for _, names in held) if self.images else 0
        patients = sum(block.patients_of(names) for block, names in held)
        if not images:
            return "This file contains no images." if self.images else "This file contains no images: --no-images."
        made = [block.synthetic for block in self.blocks]
        if all(made):
            return f"This file contains {counted(images, 'image')}, made by a computer."
        of = f" of {counted(patients, 'patient')}" if all(block.patients_known for block in self.blocks) else ""
        return f"This file contains {counted(images, 'image')}{of}{', some made by a computer' if any(made) else ''}."

    @property
    def missing(self) -> str:
        """Why there are no pictures where some were asked for, and what to do; "" where there are some."""
        if not self.images or self.stored:
            return ""
        if all(block.axis.kind == "flip" and np.isnan(block.flip).all() for block in self.blocks):
            return "Pictures of the cases come with the search for smallest flips, which this run did without."
        return ("The pictures of the cases are not stored with this run, as in one by an earlier version. Run the "
                "command that began it once more, in the same folder: finished work is taken up, and the pictures are "
                "added.")


@dataclass(frozen=True, eq=False)
class Source:
    """One network of one data set, or those of its folds, whose cases are shown: under CT noise (`dose`), or under
    changes of any pixels; with its pseudonyms, and where there are several what tells it from the others. `beside` are
    the cases, as they are named there, of which the page has images elsewhere."""

    opened: Opened
    shared: Shareable
    name: str = ""
    dose: bool = False
    beside: frozenset[str] = frozenset()


def shown_cases(sources: Sequence[Source], images: bool = True, room: int = ROOM, of: str = SETS) -> ShownCases:
    """The cases of each source, which are `of` several data sets, findings or threats.

    All cases have pictures where there are at most 350; else the 100 most fragile, the wrong ones (150 at most) and 50
    drawn; fewer where those take more than `room` letters, which are shared among the sources.

    Raises:
        InputRefused: a stored file that is not what it should be.
    """
    blocks, stored = [], not images
    for source in sources:
        rows = source.opened.case_rows(source.dose)
        found = _pictures(source.opened, rows, source.dose, room // len(sources)) if images else None
        stored = stored or found is not None
        blocks.append(_block(source, rows, _ROWS // len(sources), *(found if found is not None else (None, None))))
    return ShownCases(tuple(blocks), images, stored, tuple(source.beside for source in sources), of)


def _pictures(opened: Opened, rows: CaseRows, dose: bool, room: int) -> tuple[Pictured, Walk | None] | None:
    """The pictures that have room, and the walk."""
    shape = opened.picture_shape(dose)
    if shape is None:
        return None
    most = Shown().within(max(1, _UNPACKED // room_of(shape)))
    while True:
        found = opened.pictures(rows, rows.shown(most), dose)
        if found is None:
            return None
        pictures = replace(found[0], image=for_a_page(found[0].image, bounds_of(opened.plan)))
        walk = case_data.levels(np.zeros(0) if found[1] is None else found[1].of(pictures.id).probability)
        letters = _LETTERS * (len(pictures) * room_of(shape) + walk.nbytes)      # at most
        if letters > room:
            letters = _LETTERS * sum(len(zlib.compress(values.tobytes())) for values in (
                coded(pictures.image.values), pictures.change, walk))
        if letters <= room or len(pictures) <= 1:
            return pictures, found[1]
        most = Shown().within(max(1, min(int(0.97 * len(pictures) * room / letters), len(pictures) - 1)))


def _block(source: Source, rows: CaseRows, most: int, pictures: Pictured | None, walk: Walk | None) -> CaseData:
    """The rows in the order of how fragile they are, with the pictures of some; of more than `most` those alone."""
    plan, shared = source.opened.plan, source.shared
    bounds, data = bounds_of(plan), section(plan, "data")
    place = {} if pictures is None else {case: at for at, case in enumerate(pictures.id)}
    order = _order(rows, shared)
    if len(order) > most:
        kept = place if place else set(rows.case_id[rows.shown(Shown())].tolist())     # the same without pictures
        order = np.array([at for at in order if rows.case_id[at] in kept], np.int64)
    ids = rows.case_id[order].tolist()
    if pictures is not None:      # in the order of the rows, too
        pictures = pictures.of(ids)
        walk = walk.of(pictures.id) if walk is not None else None
        place = {case: at for at, case in enumerate(pictures.id)}
    last = max(int(rows.read.max(initial=1)), int(rows.truth.max(initial=1)))
    return CaseData(
        axis_of(rows.dose, bounds), tuple(class_names(plan, 1 + last)), bounds,
        [shared.case(case) for case in ids], [shared.patient(str(patient)) for patient in rows.patient[order]],
        rows.truth[order], rows.read[order], rows.sure[order], rows.flip[order], rows.fold[order],
        np.array([place.get(case, -1) for case in ids], np.int64), len(rows.case_id), len(set(rows.patient.tolist())),
        windows_of(bounds, None if pictures is None else pictures.image), _pixels(pictures, rows.dose),
        None if walk is None else case_data.Walk(tuple(walk.at.tolist()), walk.probability),
        threshold_of(plan), None if source.dose else source.opened.image_noise, source.name,
        bool(data.get("synthetic")), bool(data.get("patients_known")))


def _pixels(pictures: Pictured | None, dose: bool) -> Pixels | None:
    return None if pictures is None else Pixels(pictures.image, pictures.change, pictures.scale if dose else None)


def _order(rows: CaseRows, shared: Shareable) -> Ints:
    """The most fragile first; those alike, and those of which nothing is known, in the order of their pseudonyms, which
    tells nothing of the ids."""
    key = np.where(np.isnan(rows.flip), np.inf, -rows.flip if rows.dose else rows.flip)
    names = [shared.case(str(case)) for case in rows.case_id]
    return np.array(sorted(range(len(names)), key=lambda at: (key[at], names[at])), np.int64)
