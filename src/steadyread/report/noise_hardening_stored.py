"""The networks that were hardened against CT noise, as they stand in `hardened/` of a noise study's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyread import records
from steadyread.errors import InputRefused
from steadyread.files import CONVERGENCE, FINDINGS, HARDENED, TRAINING
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.noise_hardening import BEFORE
from steadyread.metrics.noise_hardening_methods import HardenedMethod, NoiseHardening
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.report.stored import findings_of
from steadyread.store import folds_in, rounds_in

Tables = dict[int, pa.Table]


def read_noise_hardening(folder: Path, settings: Mapping[str, Any], shared: Shareable = AS_IT_IS
                         ) -> NoiseHardening | None:
    """What was hardened in a study of these `settings` (study.json); None where `hardened/` holds no method.

    Networks that are not judged yet are left out, their training is told. Methods that the settings do not name
    (any more) are left out too.

    Raises:
        InputRefused: a stored file that is not what it should be.
    """
    noise = settings.get("noise")
    stated = (noise.get("hardening") if isinstance(noise, Mapping) else None) or {}
    places = {place.name: place for place in sorted((folder / HARDENED).glob("*")) if place.is_dir()}
    methods = [_method(places[name], name == str(stated.get("method")), shared)
               for name in _order(stated, list(places))]
    if not methods:
        return None
    before = _tables(places[BEFORE]) if BEFORE in places else {}
    return NoiseHardening(stated, reads_of(before, variant=BEFORE) if before else None, tuple(methods))


def _order(stated: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The main method, then the others as the study names them; by name where it says nothing."""
    compare = stated.get("compare")
    if "method" not in stated:
        return [name for name in names if name != BEFORE]
    asked = [str(stated["method"]), *(compare if isinstance(compare, Mapping) else ())]
    return [name for name in dict.fromkeys(asked) if name in names and name != BEFORE]


def _method(place: Path, main: bool, shared: Shareable) -> HardenedMethod:
    folds = folds_in(place)
    trainings = {fold: shared.tree(told) for fold, path in folds.items() if (told := _training(path / TRAINING))}
    last = _tables(place)
    findings = [(fold, finding) for fold, path in folds.items() for finding in findings_of(path / FINDINGS, shared)]
    by_round = _rounds(folds, trainings, last) if main else []
    harder = {fold: told for fold, path in folds.items() if (told := records.read_object(path / CONVERGENCE))}
    return HardenedMethod(place.name, reads_of(last, variant=place.name) if last else None,
                          tuple(reads_of(tables, variant=place.name) for tables in by_round), trainings, findings,
                          harder)


def _rounds(folds: Mapping[int, Path], trainings: Mapping[int, Mapping[str, Any]], last: Tables) -> list[Tables]:
    """The records after each round, by fold: a fold that needed fewer rounds keeps its last network's."""
    own = {fold: rounds_in(place) for fold, place in folds.items()}
    made = {fold: sum(one.get("kept", True) for one in trainings.get(fold, {}).get("rounds") or ())
            for fold in folds}
    most = max([*made.values(), *(number for rounds in own.values() for number in rounds)], default=0)
    told = []
    for number in range(1, most + 1):
        tables = {fold: records.read(own[fold][number]) for fold in folds if number in own[fold]}
        tables |= {fold: table for fold, table in last.items() if fold not in tables and number >= made[fold]}
        if tables:
            told.append(tables)
    return told


def _tables(place: Path) -> Tables:
    return {fold: records.read(path) for fold, path in folds_in(place).items() if records.has_records(path)}


def _training(path: Path) -> dict[str, Any] | None:
    """A training's file, whose rounds and epochs are what they should be."""
    told = records.read_object(path)
    rounds = _stated(told or {}, "rounds")
    if not _listed(rounds) or not all(_listed(_stated(one, "epochs")) for one in rounds):
        raise InputRefused(f"{path}: rounds must be a list of objects, each with a list of epochs; remove it and "
                           "run the same command again")
    return told


def _stated(told: Mapping[str, Any], name: str) -> Any:
    found = told.get(name)
    return [] if found is None else found


def _listed(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
