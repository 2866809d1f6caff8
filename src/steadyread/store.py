"""A run's folder opened: which networks stand where, and their reads by data set, network, stage and fold.

Everything that varies is a value of a column: a plain run is one data set, one network, one fold, the stage plain.
The report, the command line and Python all read a run through `open_cells`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa

from steadyread import records
from steadyread.errors import InputRefused, UsageError, first_line
from steadyread.files import (
    EQUAL,
    FINDINGS,
    HARDENED,
    IMAGE_NOISE,
    JOBS,
    ROUND,
    SETTINGS,
    is_folder,
    nearest,
    regular_file,
)
from steadyread.findings import by_severity, merged
from steadyread.metrics.aligned import SCORES, reads_of, with_scores
from steadyread.metrics.case_rows import CaseRows, case_rows
from steadyread.metrics.intervals import Ints
from steadyread.metrics.plan import bounds_of, part_of, threshold_of
from steadyread.metrics.reads import ORIGINAL, Reads
from steadyread.pictured import FLIPS, REDRAWS, Pictured, Walk, open_pictures, read_walk, shape_of

PLAIN = "plain"
_COLUMNS = {"data", "network", "stage", "fold", "round"}
_ALIKE = ", equal conditions"     # after the name of a set that was run so
_FOLD, _ROUND = re.compile(r"fold-(\d+)"), re.compile(rf"{ROUND}-(\d+)")


@dataclass(frozen=True)
class Cell:
    """One network of one data set, to be assessed or assessed: `data` is "" where a run has one set, `stage` is plain,
    the name of a hardening, or "before" (the plain network judged as the hardened ones are); `round` counts the rounds
    of a hardening from 1 (0: its last network), `fold` is None without folds. `folder` is where its files are."""

    folder: Path = field(default=Path(), compare=False)
    data: str = ""
    network: str = ORIGINAL
    stage: str = PLAIN
    fold: int | None = None
    round: int = 0

    def __str__(self) -> str:
        parts = (self.data, self.network, self.stage if self.hardened else "",
                 "" if self.fold is None else f"fold {self.fold}", f"round {self.round}" if self.round else "")
        return ", ".join(filter(None, parts))

    @property
    def finding(self) -> bool:
        """Whether it is one finding of a network of several: its classes are called by it."""
        data = self.plan.get("data")
        return isinstance(data, Mapping) and data.get("classes") == [f"no {self.network}", self.network]

    @property
    def hardened(self) -> bool:
        """Whether it is of another stage than plain."""
        return self.stage != PLAIN

    @property
    def begun(self) -> "Cell":
        """The plain network that it begins with."""
        return Cell(data=self.data, network=self.network, fold=self.fold)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What the records depend on.

        Raises:
            InputRefused: not a JSON object.
        """
        plan = records.read_json(self.folder / records.PLAN)
        if not isinstance(plan, dict):
            raise InputRefused(f"{self.folder / records.PLAN} must hold one JSON object; it holds a "
                               f"{type(plan).__name__}")
        return plan

    @cached_property
    def table(self) -> pa.Table:
        """The records, with the further scores of the reads beside them where there are some.

        Raises:
            InputRefused: no records there, or a file that is not what it should be.
        """
        return read_records(self.folder)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What the checks said of it, the worst first."""
        return findings_in(self.folder / FINDINGS)

    def content(self, name: str) -> dict[str, Any] | None:
        """The JSON object in one of its files, such as training.json; None where there is no such file.

        Raises:
            InputRefused: not a JSON object.
        """
        return records.read_object(self.folder / name)


@dataclass(frozen=True, eq=False)
class Opened:
    """A run's folder with all cells that have records, in a stable order."""

    folder: Path
    settings: Mapping[str, Any]
    cells: tuple[Cell, ...]

    def select(self, **where: Any) -> "Opened":
        """The cells with these values, such as `stage="plain"`, `network="strided"`, `set="lung_ct"`.

        Raises:
            UsageError: no such column.
        """
        wanted = {"data" if name == "set" else name: value for name, value in where.items()}
        unknown = wanted.keys() - _COLUMNS
        if unknown:
            raise UsageError(f"select by set, network, stage, fold or round; got {', '.join(sorted(unknown))}")
        return replace(self, cells=tuple(cell for cell in self.cells if all(
            getattr(cell, name) == value for name, value in wanted.items())))

    @property
    def own(self) -> "Opened":
        """The plain network of the study's own, or those of its folds; where there is none, the first that there is."""
        own = self.select(network=ORIGINAL, stage=PLAIN)
        return own if own.cells else next(self.networks())

    def networks(self) -> Iterator["Opened"]:
        """The cells of each data set, network and stage: one network, or one a fold.

        A fold that needed fewer rounds of a hardening keeps its last network in those that it went without.
        """
        keys = dict.fromkeys((cell.data, cell.network, cell.stage, cell.round) for cell in self.cells)
        for data, network, stage, number in keys:
            alike = self.select(data=data, network=network, stage=stage)
            own = {cell.fold: cell for cell in alike.cells if cell.round == number}
            last = {cell.fold: replace(cell, round=number) for cell in alike.cells if not cell.round}
            yield replace(self, cells=tuple((last | own)[fold] for fold in sorted(last | own, key=lambda at: at or 0)))

    @property
    def plan(self) -> Mapping[str, Any]:
        """The plan of the first cell, with the study's settings."""
        return {"name": self.settings.get("name"), "study": self.settings} | self.cells[0].plan

    @property
    def image_noise(self) -> float | None:
        """The SD of the noise in the images in native units, the median over folds; None where none was measured."""
        stored = [(cell.content(IMAGE_NOISE) or {}).get("sd") for cell in self.cells]
        known = [float(sd) for sd in stored if isinstance(sd, int | float) and sd > 0]
        return median(known) if known else None

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What the checks said of the networks, and the audit of their images: each once, the worst first."""
        places = {cell.folder: str(cell) if len(self.cells) > 1 else "" for cell in self.cells}
        for cell in self.cells:
            places.setdefault(folder_of(self.folder, cell.data), cell.data)
        return merged((name, findings_in(place / FINDINGS)) for place, name in places.items())

    def reads(self, part: str | None = None, **where: Any) -> Reads:
        """The reads of one network, or of those of its folds: n cases by f networks. `part` is the one that is judged
        if None; `where` selects as `select` does.

        Raises:
            InputRefused: the cells are of several networks, or of images of other bounds.
        """
        if where:
            return self.select(**where).reads(part)
        several = {(cell.data, cell.network, cell.stage, cell.round) for cell in self.cells}
        if len(several) != 1:
            raise InputRefused(f"reads are those of one network; these are of {len(several)}: select one")
        bounds = {(found.low, found.high): found for found in (bounds_of(cell.plan) for cell in self.cells)}
        if len(bounds) > 1:
            raise InputRefused(f"{self.folder}: its folds have images of other bounds: {', '.join(map(str, bounds))}")
        tables = {cell.fold or 0: cell.table for cell in self.cells}
        first = next(iter(tables.values()))
        return reads_of(tables if len(tables) > 1 else first, part or part_of(first), None,
                        next(iter(bounds.values())), next(iter(several))[1])


    def case_rows(self, dose: bool = False) -> CaseRows:
        """What one network, or that of the fold which tests the case, read of each judged case, and how large a change
        flips it; or under CT noise, below which `dose`.

        Raises:
            InputRefused: as `reads` has it.
        """
        return case_rows(self.reads(), threshold_of(self.cells[0].plan), dose)

    def picture_shape(self, dose: bool = False) -> tuple[int, ...] | None:
        """The shape (c, *space) of the first stored picture; None where there is none."""
        return next((shape for cell in self.cells if (shape := shape_of(cell.folder, _kind(dose))) is not None), None)

    def pictures(self, rows: CaseRows, places: Ints, dose: bool = False) -> tuple[Pictured, Walk | None] | None:
        """The stored pictures of the cases at these places of the rows, in their order as far as there are any, and
        what the network says along the way, NaN of a case where it is not known; None where there are none."""
        several: list[Pictured] = []
        walks: list[Walk] = []
        bounds, kind = bounds_of(self.cells[0].plan), _kind(dose)
        for at, cell in enumerate(sorted(self.cells, key=lambda cell: cell.fold or 0)):
            own = rows.case_id[places[rows.network[places] == at]].tolist()
            some = open_pictures(cell.folder, kind, bounds, own) if own else None
            if some is not None and (not several or several[0].alike(some)):
                several.append(some)
                walk = read_walk(cell.folder, kind)
                walks += [] if walk is None else [walk.of(some.id)]
        if not several:
            return None
        pictures, walk = Pictured.joined(several, bounds).of(rows.case_id[places].tolist()), Walk.joined(walks)
        return pictures, None if walk is None else walk.of(pictures.id)


def _kind(dose: bool) -> str:
    return REDRAWS if dose else FLIPS


def run_folder(folder: str | Path) -> Path:
    """The folder of a run, which is there.

    Raises:
        InputRefused: it is not.
    """
    root = Path(folder)
    if not is_folder(root):
        raise InputRefused(f"no such folder: {root}{nearest(root)}; give that of a run")
    return root


def open_cells(folder: str | Path) -> Opened:
    """A run's folder with every network that has records there, whatever kind of study it is of.

    Raises:
        InputRefused: none has.
    """
    root = run_folder(folder)
    cells = cells_of(root)
    if not cells:
        raise InputRefused(f"no records in {root}: give the folder of a run, or run the command that began it again")
    return Opened(root, records.read_object(root / SETTINGS) or {}, cells)


def seed_of(folder: Path) -> int:
    """The seed of a run, by which its intervals are resampled, so that whoever reads the run has the same ones."""
    settings = records.read_object(folder / SETTINGS) or {}
    sets = settings.get("sets")
    study = next(iter(sets.values()), {}) if isinstance(sets, Mapping) else settings
    plans = (cell.plan for cell in cells_of(folder)[:1])
    return int(study["seed"] if "seed" in study else next(plans, {}).get("seed", 0))


def refuse_several_sets(folder: Path, settings: object) -> None:
    """For what is done with the run of one data set.

    Raises:
        InputRefused: the folder holds several.
    """
    if isinstance(settings, Mapping) and "sets" in settings:
        raise InputRefused(f"{folder} holds runs of several data sets: give the folder of one of them, such as "
                           f"{folder / next(iter(settings['sets']))}")


def read_records(folder: Path) -> pa.Table:
    """The records of a network, with the further scores of its reads beside them where it has scores.parquet.

    Raises:
        InputRefused: no records there, or a file that is not what it should be.
    """
    table, path = records.read(folder), folder / SCORES
    if not path.exists():
        return table
    try:
        return with_scores(table, records.table_in(regular_file(path).read_bytes(), path))
    except (OSError, ValueError, KeyError, pa.ArrowException) as problem:
        raise InputRefused(f"{path} must be a whole Parquet file with case_id, part and a number a score "
                           f"({first_line(problem)}): remove it, or run the same command again, which "
                           "computes it anew") from problem


def findings_in(path: Path) -> list[dict[str, Any]]:
    """A stored list of findings, each with every field, the worst first; empty where there is no file.

    Raises:
        InputRefused: not a list of findings.
    """
    found = records.read_json(path) if path.exists() else []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InputRefused(f"{path} must hold a list of findings; remove it or run the assessment again")
    return by_severity({"check": "", "severity": "note", "message": "", "value": None, "rows": ()} | each
                       for each in found)


def cells_of(folder: Path) -> tuple[Cell, ...]:
    """Every network that has records in a run's folder; none where nothing is assessed yet."""
    sets = (records.read_object(folder / SETTINGS) or {}).get("sets")
    return tuple(_of_sets(folder, sets) if isinstance(sets, Mapping) else _of_set(folder, ""))


def _of_sets(root: Path, sets: Iterable[str]) -> Iterator[Cell]:
    for name in sets:
        yield from _of_set(root / name, name)
        yield from _of_set(root / name / EQUAL, data_of(name, True))


def data_of(name: str, equal: bool) -> str:
    """What a data set of several is called in cells: another name at equal conditions."""
    return f"{name}{_ALIKE}" if equal else name


def folder_of(root: Path, data: str) -> Path:
    """The folder of a data set of a run, by its name in cells."""
    name = data.removesuffix(_ALIKE)
    return root / name if name == data else root / name / EQUAL


def _of_set(folder: Path, data: str) -> Iterator[Cell]:
    """The cells of one data set, wherever a study puts them: the plain networks first."""
    if records.has_records(folder):
        yield Cell(folder, data)
        yield from (Cell(place, data, stage=place.name.removeprefix(f"{HARDENED}-"))
                    for place in sorted(folder.glob(f"{HARDENED}*")) if records.has_records(place))
    model = (records.read_object(folder / SETTINGS) or {}).get("model")
    named = (model.get("findings") if isinstance(model, Mapping) else None) or ()
    for network in _in_order(folder / JOBS, named or (ORIGINAL,)):
        yield from (Cell(place, data, network.name, fold=fold) for fold, place in folds_in(network).items()
                    if records.has_records(place))
    for method in _in_order(folder / HARDENED):
        begun = _begins(folder, method.name)
        for fold, place in folds_in(method).items():
            yield from [Cell(place, data, begun, method.name, fold)] if records.has_records(place) else ()
            yield from (Cell(inner, data, begun, method.name, fold, number)
                        for number, inner in rounds_in(place).items())


def _begins(folder: Path, method: str) -> str:
    """The network that a hardening begins with, as the settings have it: those of [hardening] with the study's own."""
    own: Any = ((records.read_object(folder / SETTINGS) or {}).get("noise") or {}).get("hardening") or {}
    others: Any = own.get("compare") or {}
    variant = str(own.get("variant") or ORIGINAL)
    if method in ("before", own.get("method")):
        return variant
    return str(others[method].get("variant") or variant) if method in others else ORIGINAL


def _in_order(folder: Path, named: Sequence[str] = (ORIGINAL,)) -> list[Path]:
    """The folders of networks or methods, those `named` first, in their order: the study's own network, or its
    findings."""
    return sorted((place for place in folder.glob("*") if place.is_dir()), key=lambda place: (
        named.index(place.name) if place.name in named else len(named), place.name))


def folds_in(folder: Path) -> dict[int, Path]:
    """The folders of a network's folds, with records or without, by number."""
    return dict(sorted((number, place) for place, number in _numbered(folder, _FOLD)))


def rounds_in(folder: Path) -> dict[int, Path]:
    """The folders of the rounds of a hardening that have records, by number."""
    return {number: place for place, number in _numbered(folder, _ROUND) if records.has_records(place)}


def _numbered(folder: Path, name: re.Pattern[str]) -> Iterator[tuple[Path, int]]:
    """The folders that have such a name, with its number, in the order of their names."""
    for place in sorted(folder.glob("*")):
        number = name.fullmatch(place.name)
        if number and place.is_dir():
            yield place, int(number[1])
