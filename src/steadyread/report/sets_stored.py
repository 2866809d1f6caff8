"""What the folder of a study of several data sets holds: each set's run, hardened networks and equal run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyread import records
from steadyread.charts.examples import Attacked
from steadyread.errors import InputRefused
from steadyread.files import ATTACKED, EQUAL, FAILED, IMAGES, SETTINGS
from steadyread.metrics.hardened import Hardened
from steadyread.report.hardening_stored import read_hardenings
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.report.stored import Assessed, Run, assessed_of, class_name
from steadyread.store import own_network

_ARRAYS = ("images", "probabilities", "attack", "case_id", "label", "size")


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
    plain: Assessed | None = None
    hardened: tuple[Hardened, ...] = ()
    attacked: tuple[Attacked, ...] = ()
    images: Mapping[str, Any] | None = None
    equal: Assessed | None = None
    equal_images: Mapping[str, Any] | None = None
    shared: Shareable = AS_IT_IS

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
    def assessed(self) -> dict[str, tuple[StoredSet, Assessed]]:
        """The sets that have records, by name, each with what was assessed."""
        return {one.name: (one, one.plain) for one in self.sets if one.plain is not None}


def read_sets(folder: Path, show_ids: bool = True) -> StoredSets:
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
        _read(folder / name, name, settings, Shareable.of(folder / name, show_ids))
        for name, settings in stated.items()))


def _read(folder: Path, name: str, settings: Any, shared: Shareable) -> StoredSet:
    told = shared.tree(records.read_object(folder / FAILED))
    failed = None if told is None else str(told.get("reason") or "for no reason that was written down")
    stated = shared.tree(settings) if isinstance(settings, Mapping) else {}
    plain = assessed_of(folder, shared)
    if plain is None:
        return StoredSet(name, folder, stated, failed)
    equal, first = folder / EQUAL, own_network(folder)[0].folder
    return StoredSet(name, folder, stated, failed, plain, tuple(read_hardenings(folder, shared)),
                     tuple(replace(one, case_id=shared.case(one.case_id))
                           for one in read_attacked(first / ATTACKED, _classes(plain.run))),
                     records.read_object(first / IMAGES), assessed_of(equal, shared),
                     records.read_object(equal / IMAGES), shared)


def read_attacked(path: Path, classes: tuple[str, ...]) -> tuple[Attacked, ...]:
    """The images of [A] Fig. 1, none where there is no file.

    Raises:
        InputRefused: not an npz, an array missing, or arrays that do not fit each other.
    """
    if not path.exists():
        return ()
    stored = records.read_npz(path)
    arrays = {name: stored[name] for name in _ARRAYS if name in stored}
    shapes = {name: array.shape for name, array in arrays.items()}
    if set(arrays) != set(_ARRAYS) or not _fit(arrays):
        raise InputRefused(f"{path} must hold {', '.join(_ARRAYS)} of n images under as many attacks; it holds "
                           f"{shapes}: remove it or run the study again")
    return tuple(Attacked(str(arrays["case_id"][row]), class_name(arrays["label"][row], classes),
                          float(arrays["size"][row]), tuple(map(str, arrays["attack"])),
                          arrays["images"][row].astype(np.float64), arrays["probabilities"][row].astype(np.float64),
                          classes) for row in range(len(arrays["images"])))


def _fit(arrays: Mapping[str, np.ndarray]) -> bool:
    images, said = arrays["images"], arrays["probabilities"]
    count = len(arrays["attack"]) if arrays["attack"].ndim == 1 else -1
    return (images.ndim >= 4 and said.ndim == 3 and images.shape[1] == said.shape[1] == count
            and len({len(arrays[name]) for name in _ARRAYS if name != "attack"}) == 1)


def _classes(run: Run) -> tuple[str, ...]:
    stated = run.plan.get("data")
    return tuple(str(name) for name in stated.get("classes", ())) if isinstance(stated, Mapping) else ()
