"""Runs beside each other on the same cases: `steadyread compare RUN RUN`, `steadyread.compare(...)`, and an
assessment's `compare`."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadyread import records
from steadyread.errors import Doubt, InputRefused, UsageError
from steadyread.files import MARKS, SETTINGS, TRAINING
from steadyread.frames import Frame, frame
from steadyread.metrics.comparison import COLUMNS, Side, changes, corrected, key_changes, refuse_other_bounds
from steadyread.metrics.hardened import BEFORE
from steadyread.metrics.plan import bounds_of, section
from steadyread.metrics.reads import ORIGINAL, Reads
from steadyread.metrics.tidy import numbers_of
from steadyread.names import folder_name
from steadyread.registry import nearest
from steadyread.report.compared import Comparison, Entry
from steadyread.report.networks import Network
from steadyread.store import PLAIN, Cell, Opened, open_cells, refuse_several_sets, seed_of
from steadyread.words.sets import listed


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that is to be compared, before its cases are known to be the others': its name and its cells."""

    name: str
    opened: Opened
    hollow: bool = False


def compare(*runs: str | Path, network: str | None = None, by_id: bool = False, seed: int | None = None) -> "Compared":
    """Networks of finished runs on the same cases, each beside the first: for each run its own network, and those
    hardened from it.

    Args:
        runs: folders of runs, of any kind; of one data set each.
        network: which network of the runs: a finding, or a variant; the study's own if None.
        by_id: cases are paired by their id alone, also where their pixels differ, as of images that were prepared
            otherwise for each network.
        seed: by which intervals are resampled; that of the first run if None.

    Raises:
        InputRefused: no run there, several data sets in one, or no image in common.
        UsageError: fewer than two networks, or none of that name.
    """
    candidates = [each for run, name in zip(runs, _names(runs), strict=True)
                  for each in _candidates(Path(run), name, network)]
    if len(candidates) < 2:
        raise UsageError("compare takes two runs or more, or one with a hardened network; got "
                         f"{', '.join(map(str, runs)) or 'none'}")
    return Compared(comparison_of(candidates, seed_of(Path(runs[0])) if seed is None else seed, by_id))


@dataclass(frozen=True, repr=False)
class Compared:
    """What came of a comparison."""

    comparison: Comparison

    def differences(self, every: bool = False) -> Frame:
        """A row a difference to the first network: the key ones with p after Holm, or every one."""
        name = "all_differences" if every else "differences"
        columns = ("network", "than", *COLUMNS, *(() if every else ("p_holm",)))
        return frame(columns, self.comparison.summary()[name], ("network", "measure", "attack", "level", "unit",
                                                                 "difference", "low", "high", "verdict"))

    def summary(self) -> Mapping[str, Any]:
        """What summary.json holds."""
        return self.comparison.summary()

    def report(self, path: str | Path) -> Path:
        """Writes the page, summary.json and figures into a folder, and returns the page.

        Raises:
            UsageError: the folder is that of a run.
            Partial: the disk is full.
        """
        folder = Path(path)
        if (folder / SETTINGS).exists() or (folder / records.PLAN).exists():
            raise UsageError(f"--out: {folder} is the folder of a run, whose report would be lost: give another")
        return self.comparison.write(folder)

    def __repr__(self) -> str:
        found = self.comparison
        return "\n".join([found.answer.sentence, "", *found.beside().lines(), "", *found.differences().lines()])

    def _repr_html_(self) -> str:
        from markupsafe import escape

        found = self.comparison
        return f"<p><b>{escape(found.answer.sentence)}</b></p>{found.beside().html()}{found.differences().html()}"


def folder_for(runs: Sequence[str | Path]) -> Path:
    """The folder of a comparison where none is stated."""
    return Path("runs") / folder_name(f"compare-{'-'.join(_names(runs))}")


def _names(runs: Sequence[str | Path]) -> list[str]:
    """What runs are called: their folders, with as much of the path as tells them apart."""
    paths = [Path(run).resolve().parts for run in runs]
    for length in range(1, max(map(len, paths), default=1) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"the same run is named twice: {', '.join(map(str, runs))}")


def _candidates(folder: Path, name: str, network: str | None) -> Iterator[Candidate]:
    """The plain network of a run, and those hardened from it, the last of their rounds; a hardening that failed left
    the plain network as it was, and is none of its own."""
    refuse_several_sets(folder, records.read_object(folder / SETTINGS) if folder.is_dir() else None)
    opened = open_cells(folder).select(round=0)
    names = list(dict.fromkeys(cell.network for cell in opened.cells))
    if network is not None and network not in names:
        raise UsageError(f"--network: {folder} has no network '{network}'{nearest(network, names)}")
    wanted = network or (ORIGINAL if ORIGINAL in names else names[0])
    if network is None and len(names) > 1 and opened.cells[0].finding:
        raise InputRefused(f"{folder} has the findings {', '.join(names)}: name one of them by --network")
    own = opened.select(network=wanted)
    called = name if wanted == ORIGINAL else f"{name} {wanted}"
    stages = [stage for stage in dict.fromkeys(cell.stage for cell in own.cells) if stage != BEFORE and not all(
        (records.read_object(cell.folder / TRAINING) or {}).get("failed") for cell in own.select(stage=stage).cells)]
    for stage in stages:
        yield Candidate(called if stage == PLAIN else f"{called}, {'' if stage.startswith('hard') else 'hardened by '}"
                        f"{stage}", own.select(stage=stage), stage == PLAIN and len(stages) > 1)


def comparison_of(candidates: Sequence[Candidate], seed: int = 0, by_id: bool = False) -> Comparison:
    """The comparison of networks with the first among them, on the cases that all have.

    Raises:
        InputRefused: images of other bounds, no image in common, or labels that differ.
    """
    names, notes = same_cases(candidates, by_id)
    sides = [Side(each.name, _kept(each.opened.reads(), names), each.opened.plan) for each in candidates]
    first, *others = sides
    every = [changes(first, other, seed) for other in others]
    keys = corrected([key_changes(found, first.plan) for found in every])
    cells = [each.opened.cells[0] for each in candidates]
    known = all(section(cell.plan, "data").get("patients_known") for cell in cells)
    judged = first.reads.there.any(1)
    entries = [Entry(each.name, each.opened.folder, _network(each, side, cell, seed), each.hollow)
               for each, side, cell in zip(candidates, sides, cells, strict=True)]
    data = section(cells[0].plan, "data")
    return Comparison(tuple(entries), tuple(map(tuple, every)), tuple(map(tuple, keys)), int(judged.sum()),
                      len(np.unique(first.reads.patient[judged])) if known else None, str(data.get("name", "")),
                      bool(data.get("synthetic")), notes)


def _network(candidate: Candidate, side: Side, cell: Cell, seed: int) -> Network:
    return Network(cell, len(candidate.opened.cells), side.reads.judged, bounds_of(side.plan),
                   tuple(numbers_of(side.reads, side.plan, seed)), image_noise=candidate.opened.image_noise)


def _kept(reads: Reads, names: frozenset[str] | None) -> Reads:
    return reads if names is None else reads.of(np.flatnonzero([str(name) in names for name in reads.case_id]))


def same_cases(candidates: Sequence[Candidate], by_id: bool = False) -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """The ids of the cases that all have (None: every one), and what is to be known of them.

    Cases are the same by id and by the digest of their pixels. Where a run keeps no digests of single images, by id
    alone, which is warned of as a `Doubt` unless the digests of all images agree.

    Raises:
        InputRefused: images of other bounds, no id is in all, or none of them with the same pixels.
    """
    refuse_other_bounds([each.name for each in candidates], [each.opened.plan for each in candidates])
    first, *others = candidates
    ids = [set(map(str, each.opened.reads().case_id)) for each in candidates]
    common = set.intersection(*ids)
    second = others[0].name if len(others) == 1 else "the others"
    if not common:
        raise InputRefused(f"{first.name} and {second} have no image in common, by their ids: assess the networks on "
                           "the same data and split")
    if not _other_images(candidates):
        return (None if all(each == common for each in ids) else frozenset(common)), ()
    marks = [_marks(each.opened) for each in candidates]
    if by_id or not all(marks):
        warnings.warn("the images of the assessments are not the same ones, by their digests: those of one id are "
                      "taken as one, which holds where one is a part of the other, and of no two data sets", Doubt,
                      stacklevel=4)
        return frozenset(common), (f"Paired by id alone: {counted_of(common, ids)}.",)
    same = {name for name in common if len({each.get(name) for each in marks}) == 1}
    if not same:
        raise InputRefused(f"{first.name} and {second} have {len(common)} ids in common, and no image of them has the "
                           "same pixels: they are of other data, or were prepared otherwise; by_id (--by-id) pairs "
                           "them by id all the same")
    unlike = f"; {len(common) - len(same)} more have other pixels and are left out" if len(same) < len(common) else ""
    whole = not unlike and all(each == common for each in ids)
    return frozenset(same), () if whole else (f"Compared are the {counted_of(same, ids)}{unlike}.",)


def _other_images(candidates: Sequence[Candidate]) -> bool:
    """Whether the digests of all images leave it open that a run has other ones than the first: networks of one run
    have the same, and so have runs of which a fold has."""
    held: dict[Path, set[str]] = {}
    for each in candidates:
        held.setdefault(each.opened.folder, set()).update(
            str(section(cell.plan, "data").get("sha256")) for cell in each.opened.cells)
    first, *others = held.values()
    return not all(first & each for each in others)


def counted_of(names: set[str], ids: Sequence[set[str]]) -> str:
    """How many cases are in all: `40 images that all have (of 60 and 40)`."""
    return f"{len(names)} images that all have (of {listed([str(len(each)) for each in ids])})"


def _marks(opened: Opened) -> dict[str, str]:
    """The digests of single images; none where a network keeps none."""
    found: dict[str, str] = {}
    for cell in opened.cells:
        held = cell.content(MARKS)
        if held is None:
            return {}
        found |= {str(name): str(mark) for name, mark in held.items()}
    return found


def compared_rows(before: Opened, after: Opened, seed: int = 0, by_id: bool = False) -> list[dict[str, Any]]:
    """A row (`comparison.COLUMNS`) for each number that both have. Warns of `Doubt` where the images may not be the
    same ones.

    Raises:
        InputRefused: several networks on either side, no image in common, or images of other bounds.
    """
    candidates = [Candidate(str(side.folder), side) for side in (before, after)]
    names, _ = same_cases(candidates, by_id)
    sides = [Side(each.name, _kept(each.opened.reads(), names), each.opened.plan) for each in candidates]
    return [change.row() for change in changes(sides[0], sides[1], seed)]
