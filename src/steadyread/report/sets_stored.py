"""What the folder of a study of several data sets holds: each set's run, hardened networks and equal run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.charts.examples import Attacked
from steadyread.errors import InputRefused
from steadyread.files import ATTACKED, EQUAL, FAILED, IMAGES, SETTINGS
from steadyread.metrics.hardened import Hardened
from steadyread.metrics.plan import class_names
from steadyread.report.plain import Plain, plain_of
from steadyread.report.shareable import Shareable
from steadyread.report.stored import Run, read_attacked, read_network
from steadyread.store import cells_of, open_cells


@dataclass(frozen=True, eq=False)
class StoredSet:
    """One set's stored files.

    `plain` is None where there are no records; `failed` is why the set, or a later step of it, failed. `images` and
    `equal_images` tell how large the prepared images are.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    failed: str | None
    plain: Plain | None = None
    attacked: tuple[Attacked, ...] = ()
    images: Mapping[str, Any] | None = None
    equal: Run | None = None
    equal_images: Mapping[str, Any] | None = None

    @property
    def hardened(self) -> tuple[Hardened, ...]:
        """Its hardened networks."""
        return self.plain.hardened if self.plain is not None else ()

    @property
    def title(self) -> str:
        """The name as it is shown."""
        return self.name.replace("_", " ")

    @property
    def why(self) -> str:
        """Why there is nothing to tell of this set, for one without records."""
        return self.failed or "it has not been assessed yet: there are no records of it"


@dataclass(frozen=True, eq=False)
class StoredSets:
    """A study of several data sets: its settings, and every set in the order of the study."""

    folder: Path
    study: Mapping[str, Any]
    sets: tuple[StoredSet, ...]

    @property
    def assessed(self) -> dict[str, tuple[StoredSet, Run]]:
        """The sets that have records, by name, each with what was assessed."""
        return {one.name: (one, one.plain.run) for one in self.sets if one.plain is not None}


def read_sets(folder: Path, show_ids: bool = True, seed: int = 0) -> StoredSets:
    """The folder of a study of several data sets. Only its study.json must be there.

    Each set has its own pseudonyms unless the report is to `show_ids`.

    Raises:
        InputRefused: no such study, or a stored file that is not what it should be.
    """
    study = records.read_object(folder / SETTINGS)
    stated = study.get("sets") if study is not None else None
    if study is None or not isinstance(stated, Mapping) or not stated:
        raise InputRefused(f"{folder / SETTINGS} must name the data sets of a study ('sets'): give the folder of a "
                           "study of several data sets, or run the command that began it again")
    for name in stated:
        if Path(str(name)).name != name:
            raise InputRefused(f"{folder / SETTINGS}: a data set's name is the name of its folder; got {name!r}")
    return StoredSets(folder, Shareable.of(folder, show_ids).tree(study), tuple(
        _read(folder / name, name, settings, Shareable.of(folder / name, show_ids), seed)
        for name, settings in stated.items()))


def _read(folder: Path, name: str, settings: Any, shared: Shareable, seed: int) -> StoredSet:
    told = shared.tree(records.read_object(folder / FAILED))
    failed = None if told is None else str(told.get("reason") or "for no reason that was written down")
    stated = shared.tree(settings) if isinstance(settings, Mapping) else {}
    if not cells_of(folder):
        return StoredSet(name, folder, stated, failed)
    cells, equal = open_cells(folder).own.cells, folder / EQUAL
    alike = open_cells(equal).own.cells if cells_of(equal) else ()
    run = read_network(cells, folder, shared=shared)
    attacked = read_attacked(cells[0].folder / ATTACKED, class_names(run.plan, 0))
    return StoredSet(name, folder, stated, failed, plain_of(run, shared, seed),
                     tuple(replace(each, case_id=shared.case(each.case_id)) for each in attacked),
                     cells[0].content(IMAGES), read_network(alike, equal, shared=shared) if alike else None,
                     alike[0].content(IMAGES) if alike else None)
