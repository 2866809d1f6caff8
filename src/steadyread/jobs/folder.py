"""A run's folder: where it is, who works in it, and whose settings it holds."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from steadyread import records
from steadyread.errors import PlanDiffers, UsageError, unwritable
from steadyread.files import CHECKPOINT, HARDENED, JOBS, MODEL, ROUND, SEEN, SETTINGS, is_regular
from steadyread.folder_lock import LOCK, locked, sweep
from steadyread.jobs.plan import folds_of, place
from steadyread.progress import note
from steadyread.store import Cell
from steadyread.study import Study
from steadyread.study.reading import checked
from steadyread.study.sections import Under

T = TypeVar("T")

# What a run may go on with otherwise than it was begun; and what may be added to a run that was begun without it, and
# then holds as soon as it has begun. Where it is left out later, it stays as it was.
_FREE = ("gates", "name", "device", "data.path", "model.weights", "model.only", "beside", "track", "seeds")
_ADDED = ("data.train", "hardening", "noise.hardening", "noise.seeing")
_HARDENINGS: tuple[Under, ...] = ("hardening", "noise.hardening")


def in_its_folder(work: Callable[[Path], T], studies: Iterable[Study], name: str, out: str | Path | None = None,
                  overwrite: bool = False) -> T:
    """The work, in the folder of a run of that name: `out`, or `runs/NAME`.

    Where that holds a run of other settings, nothing of it is lost. With `overwrite` it is kept as NAME.old-1 (-2,
    ...), and the work begins anew; else, without `out`, the work goes to NAME-2 (-3, ...). Either is said.

    Raises:
        PlanDiffers: `out` holds another run.
        UsageError: the folder lies in the data of one of the studies.
        InputRefused: another process works there.
    """
    first = folder_of(name, out)
    for number in count(1):
        folder = first if number == 1 or overwrite else first.with_name(f"{first.name}-{number}")
        for study in studies:
            _refuse_within(folder, study)
        try:
            with taken_up(folder, overwrite):
                return work(folder)
        except PlanDiffers as problem:
            if overwrite and number == 1:
                continue
            if overwrite or out is not None:
                raise PlanDiffers(f"{problem}. Give another --out folder, repeat the settings that began that run, "
                                  f"or add --overwrite, which keeps it as {folder.name}.old-1") from problem
            note(f"{problem}. It is left as it is; this run goes to "
                 f"{first.with_name(f'{first.name}-{number + 1}')}")
    raise AssertionError("counting never ends")


@contextmanager
def taken_up(folder: Path, overwrite: bool = False) -> Iterator[None]:
    """Within, the folder is locked. It is swept first; and stays as it was where it turns out to hold another plan,
    or is moved aside then with `overwrite`. What the user's code prints goes to stderr: stdout is for results."""
    with locked(folder), redirect_stdout(sys.stderr):
        sweep(folder)
        settings = {path: path.read_bytes() for path in folder.rglob(SETTINGS) if is_regular(path)}
        try:
            yield
        except PlanDiffers:
            for path, content in settings.items():
                if path.read_bytes() != content:
                    records.write_whole(path, content)
            if overwrite:
                _move_aside(folder)
            raise


def _move_aside(folder: Path) -> None:
    names = (folder.with_name(f"{folder.name}.old-{number}") for number in count(1))
    aside = next(path for path in names if not path.exists())
    try:
        folder.rename(aside)
    except OSError as problem:
        raise unwritable(aside, problem) from problem
    with suppress(OSError):
        (aside / LOCK).unlink()
    note(f"the run in {folder} has other settings: it is kept as {aside}")


def folder_of(name: str, out: str | Path | None) -> Path:
    """Where a run of that name goes."""
    return Path(out) if out is not None else Path("runs") / name.replace(" ", "-")


def _refuse_within(folder: Path, study: Study) -> None:
    """The results must not lie among the images."""
    data = None if study.data.path is None else Path(study.data.path).expanduser().resolve()
    if data is not None and folder.resolve().is_relative_to(data):
        raise UsageError(f"--out {folder} lies in the data {study.data.path}, whose next reader would take the "
                         "results for images: give another folder")


def settle(folder: Path, study: Study) -> None:
    """Write the settings beside the run, or refuse the folder of another study before any work is done."""
    path, wanted = folder / SETTINGS, study.model_dump(mode="json")
    begun = any((folder / name).exists() for name in (MODEL, CHECKPOINT, records.PLAN, JOBS))
    if path.exists() and begun:
        held = records.read_json(path)
        for key in _ADDED:
            if _at(wanted, key) is None:
                _put(wanted, key, _at(held, key))
        _refuse_other(folder, study, held, wanted)
    records.write_json(path, wanted)


def _refuse_other(folder: Path, study: Study, held: Any, wanted: Mapping[str, Any]) -> None:
    """Settings that differ from those that began the run, but for those that change none of its results."""
    there, now = _with_defaults(held), dict(flat(json.loads(json.dumps(wanted))))
    begun = [key for key in _ADDED if _has_begun(folder, study, key, held)]
    free = (*_FREE, *(f"{key}.compare" for key in _HARDENINGS), *(key for key in _ADDED if key not in begun))
    differing = [key for key in sorted(there.keys() | now.keys()) if there.get(key) != now.get(key)
                 and not any(key == one or key.startswith(f"{one}.") for one in free)]
    for section in _HARDENINGS:
        for name, stated in (_at(wanted, f"{section}.compare") or {}).items():
            before = (_at(held, f"{section}.compare") or {}).get(name)
            if before != stated and _any_of(folder, study, Cell(stage=name)):
                key = f"{section}.compare.{name}"
                there[key], now[key] = before, stated
                differing.append(key)
    if differing:
        told = "; ".join(f"{key} is {json.dumps(there.get(key))} there and {json.dumps(now.get(key))} now"
                         for key in differing[:4])
        raise PlanDiffers(f"{folder} holds the run of other settings: {told}")


def _with_defaults(held: Any) -> dict[str, Any]:
    """The values of stored settings by their keys, with the defaults of keys that there were not yet."""
    stated = dict(flat(held))
    with suppress(UsageError):
        return dict(flat(checked(held, SETTINGS).model_dump(mode="json"))) | stated
    return stated


def _has_begun(folder: Path, study: Study, key: str, held: Any) -> bool:
    """Whether what may be added to a run has begun there with the settings that it `held`."""
    if key == "data.train":
        return any(next(folder.rglob(name), None) for name in (MODEL, CHECKPOINT)) or _has_begun(
            folder, study, "noise.hardening", held)
    if key == "noise.seeing":
        return any((folder / place(study, Cell(fold=fold)) / SEEN).exists() for fold in folds_of(study))
    method = str((_at(held, key) or {}).get("method"))
    return _any_of(folder, study, Cell(stage=HARDENED if study.alone else method))


def _any_of(folder: Path, study: Study, cell: Cell) -> bool:
    """Whether a hardening has begun on any fold."""
    places = [folder / place(study, replace(cell, fold=fold)) for fold in folds_of(study)]
    return any((path / name).exists() for path in places for name in (MODEL, CHECKPOINT, records.PLAN, f"{ROUND}-1"))


def _at(settings: Any, key: str) -> Any:
    """The value at a dotted key, None where there is none on the way."""
    for name in key.split("."):
        settings = (settings or {}).get(name)
    return settings


def _put(settings: Any, key: str, value: Any) -> None:
    *way, last = key.split(".")
    section = _at(settings, ".".join(way)) if way else settings
    if section is not None:
        section[last] = value


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in nested tables, by dotted keys."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


