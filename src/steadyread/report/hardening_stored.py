"""The hardened networks that stand in a run's folder, whatever they were hardened against, and what they did."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyread import records
from steadyread.errors import InputRefused
from steadyread.files import CONVERGENCE, FINDINGS, HARDENED, JOBS, SEEDS, SETTINGS, TRAINING
from steadyread.findings import merged
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.contrasts import UNKNOWN
from steadyread.metrics.hardened import BEFORE, Hardened, Hardenings
from steadyread.metrics.hardening import compared, headline
from steadyread.metrics.plan import bounds_of, exact_up_to, part_of, section
from steadyread.metrics.reads import Reads
from steadyread.metrics.robustness import median_flip
from steadyread.metrics.seeds import gain_of, over_seeds
from steadyread.metrics.summary import judged_by, tabled_sizes
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.report.stored import Run, findings_of, read_run
from steadyread.store import folds_in, rounds_in
from steadyread.units import Bounds, number_of, size_json
from steadyread.words.hardening import doubt_said, failure, hardening_short, hardening_verdict, partly_said

Told = dict[str, Any]
Tables = dict[int, pa.Table]
ALONE = -1     # the fold of a network without folds


def read_hardenings(folder: Path, shared: Shareable = AS_IT_IS) -> list[Hardened]:
    """The networks of a run's folder that were hardened against changes of pixels, the study's own first, with the
    reads of the part that is judged; none where there is no own one.

    Raises:
        InputRefused: a stored file that is not what it should be.
    """
    stated = (records.read_object(folder / SETTINGS) or {}).get("hardening") or {}
    compare = stated.get("compare")
    if (folder / JOBS).is_dir():      # of several networks or folds
        places = {name: folds_in(folder / HARDENED / name) for name in _asked(stated)}
    else:
        others = {path.name.removeprefix(f"{HARDENED}-"): path for path in sorted(folder.glob(f"{HARDENED}-*"))
                  if path.is_dir()}
        places = {"": {ALONE: folder / HARDENED}} | {
            name: {ALONE: path} for name, path in others.items() if compare is None or name in compare}
    found = [_read(name if at else "", folds, shared) for at, (name, folds) in enumerate(places.items())]
    known = [each if each.trainings or each.reads else None for each in found]
    return [each for each in known if each is not None] if known and known[0] is not None else []


def read_noise_hardening(folder: Path, settings: Mapping[str, Any], shared: Shareable = AS_IT_IS
                         ) -> Hardenings | None:
    """What was hardened against CT noise in a study of these `settings` (study.json), with the reads of all parts;
    None where `hardened/` holds no method.

    Networks that are not judged yet are left out, their training is told. Methods that the settings do not name
    (any more) are left out too; where they name none, all there are stand by name.

    Raises:
        InputRefused: a stored file that is not what it should be.
    """
    noise = settings.get("noise")
    stated = (noise.get("hardening") if isinstance(noise, Mapping) else None) or {}
    places = {place.name: folds_in(place) for place in sorted((folder / HARDENED).glob("*")) if place.is_dir()}
    before = _tables(places.pop(BEFORE, {}))
    others = _asked(settings.get("hardening") or {})     # stand there too in a study about both threats
    names = [name for name in _asked(stated) if name in places] if "method" in stated else [
        name for name in places if name not in others]
    methods = [_read(name, places[name], shared, noise=True, main=name == stated.get("method")) for name in names]
    if not methods:
        return None
    return Hardenings(stated, reads_of(before, variant=BEFORE) if before else None, tuple(methods))


def hardening_summary(plain: Run, hardened: Sequence[Hardened], seed: int = 0) -> Told | None:
    """What `summary["hardening"]` holds: the study's own hardening against the plain one, the others against it.

    None where there is no hardening. `verdict` is in words and `short` its first sentence, `headline` the row of
    which it and `others` speak, `at` its size, and `failed` says why a hardening is none.

    Raises:
        InputRefused: other bounds, labels or images than the plain run's.
    """
    if not hardened:
        return None
    main, bounds = hardened[0], plain.bounds
    epsilon = _epsilon(main.training)
    sizes = [*tabled_sizes(plain.reads, bounds), *([epsilon] if epsilon is not None else [])]
    found = _compared(plain_side(plain), main, sizes, seed)
    row = headline(found["rows"], epsilon) if found else None
    findings = _new_findings(plain, main)
    unit = "patient" if section(plain.plan, "data").get("patients_known") else "image"
    doubt = partly_said(main.training) + doubt_said(_doubts(main))
    seeds = seeds_summary(plain, hardened, row.size if row and row.exact else None)
    return {"compared": found, "training": main.training, "epsilon": _size(epsilon, bounds),
            "at": row.size if row else None, "headline": row, "failed": failure(main.training, found),
            "short": hardening_short(found, main.training, epsilon, unit) + doubt,
            "verdict": hardening_verdict(found, main.training, epsilon, unit) + doubt,
            "medians": {"before": _median(plain.reads, bounds, seed), "after": _median(main.reads, bounds, seed)},
            "findings": findings,
            "others": sorted((_other(main, other, row.size if row else None, bounds, seed)
                              for other in hardened[1:]), key=_by_method)} | ({"seeds": seeds} if seeds else {})


def _number(place: Path) -> int:
    return int(place.name.removeprefix("seed-"))


def seeds_summary(plain: Run, hardened: Sequence[Hardened], at: Mapping[str, Any] | None) -> Told | None:
    """What `summary["hardening"]["seeds"]` holds: the gain of every seed that was run, the study's own first, at the
    size `at` of which its hardening speaks, and their mean and range; None of one seed.

    A hardening that left the network as it was counts with what it gained, and its row says that it failed; `none`
    counts those that left no network, `unfinished` those that are not judged yet.
    """
    stated = (records.read_object(plain.folder / SETTINGS) or {}).get("seeds")
    places = sorted((plain.folder / SEEDS).glob("seed-*"), key=_number)
    places = [place for place in places if stated is None or _number(place) < stated]   # others are of an earlier study
    if not places or at is None:
        return None
    pairs = [(plain.folder, hardened[0]), *((place, next(iter(read_hardenings(place)), None)) for place in places)]
    rows, gains, none = [], [], 0
    for place, after in pairs:
        if after is None or after.reads is None or not records.has_records(place):
            none += bool(after and after.training.get("failed"))
            continue
        before = plain.reads if place == plain.folder else read_run(place).reads
        gain = gain_of(before, after.reads, number_of(at))
        if gain is not None:
            gains.append(gain)
            rows.append({"seed": int((records.read_object(place / SETTINGS) or {}).get("seed", 0)), **gain.as_json(),
                         "failed": bool(after.training.get("failed"))})
    return {"at": at, "none": none, "unfinished": len(pairs) - none - len(rows), "rows": rows,
            "gains": over_seeds(gains)} if rows else None


def _asked(stated: Mapping[str, Any]) -> list[str]:
    """The hardenings that a study names, the main one first."""
    compare = stated.get("compare")
    names = [str(stated["method"])] if stated.get("method") else []
    return list(dict.fromkeys([*names, *(compare if names and isinstance(compare, Mapping) else ())]))


def _read(name: str, folds: Mapping[int, Path], shared: Shareable, *, noise: bool = False, main: bool = False
          ) -> Hardened:
    """One hardening, its networks in their folders by fold; its rounds where it is the `main` one."""
    trainings = {fold: shared.tree(told) for fold, path in folds.items() if (told := _training(path / TRAINING))}
    last = _tables(folds)
    judged = next((path for fold, path in folds.items() if fold in last), None)
    plan = shared.tree(records.read_object(judged / records.PLAN) or {}) if judged else {}
    findings = [(fold, finding) for fold, path in folds.items() for finding in findings_of(path / FINDINGS, shared)]
    harder = {fold: told for fold, path in folds.items() if (told := records.read_object(path / CONVERGENCE))}
    rounds = tuple(reads_of(tables, variant=name) for tables in _rounds(folds, trainings, last)) if main else ()
    reads = None if not last else reads_of(last, variant=name) if noise else _judged(last, plan, name)
    return Hardened(name, reads, rounds, trainings, findings, harder, plan)


def _judged(tables: Tables, plan: Mapping[str, Any], name: str) -> Reads:
    """The reads of the part that is judged. One network alone is of the fold that its records say, as the plain one
    beside it: without folds that is none, whatever its folder is called."""
    first = next(iter(tables.values()))
    return reads_of(first if len(tables) == 1 else tables, part_of(first), None, bounds_of(plan), name)


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


def _tables(folds: Mapping[int, Path]) -> Tables:
    return {fold: records.read(path) for fold, path in folds.items() if records.has_records(path)}


def _training(path: Path) -> Told | None:
    """A training's file, whose rounds and epochs are what they should be."""
    told = records.read_object(path) or {}
    rounds = told.get("rounds")
    if not _objects(rounds) or not all(_objects(each.get("epochs")) for each in (told, *(rounds or ()))):
        raise InputRefused(f"{path}: rounds must be a list of objects, each with a list of epochs; remove it and "
                           "run the same command again")
    return told or None


def _objects(value: Any) -> bool:
    """A list of objects, or nothing."""
    return value is None or (isinstance(value, list) and all(isinstance(each, dict) for each in value))


def _compared(before: Hardened, after: Hardened, sizes: Sequence[float], seed: int) -> Told | None:
    """`compared` of two networks as far as both were searched; against the label unless that was not tried."""
    if before.reads is None or after.reads is None:
        return None
    here, there = bounds_of(before.plan), bounds_of(after.plan)
    if (here.low, here.high) != (there.low, there.high):
        raise InputRefused(f"the images of hardening '{after.name or HARDENED}' go from {there.low:g} to "
                           f"{there.high:g}, those before it from {here.low:g} to {here.high:g}: assess both networks "
                           "on the same data")
    tried = [{outcome.against for outcome in side.reads.outcomes} for side in (before, after) if side.reads]
    against = "prediction" if tried[0] & tried[1] == {"prediction"} else "label"
    return compared(before.reads, after.reads, sizes, here, seed, against=against,
                    limit=searched_by_both(before, after, against))


def searched_by_both(before: Hardened, after: Hardened, against: str) -> float:
    """The size up to which every flip was searched for in both, native units."""
    return min(exact_up_to(side.plan, side.reads, against) for side in (before, after) if side.reads)


def plain_side(plain: Run) -> Hardened:
    """The network before hardening, as the other side of a comparison."""
    return Hardened("", plain.reads, plan=plain.plan)


def _other(main: Hardened, other: Hardened, at: Mapping[str, Any] | None, bounds: Bounds, seed: int) -> Told:
    """Another hardening beside the study's own, at the size of the verdict; `difference`s are other minus own."""
    found = _compared(main, other, [number_of(at)] if at else [], seed)
    row = headline(found["rows"], None) if found else None
    return {"name": other.name, "training": other.training, "method": other.training.get("method"),
            "epsilon": _size(_epsilon(other.training), bounds),
            "doubt": _doubts(other), "chosen_epoch": other.training.get("chosen_epoch"),
            "failed": failure(other.training, found),
            "assessed": found is not None, "clean": found["clean"] if found else UNKNOWN,
            "robust": row.contrast if row else UNKNOWN,
            "median": _median(other.reads, bounds, seed)}


def _by_method(other: Mapping[str, Any]) -> tuple[str, float, str]:
    return str(other["method"] or ""), number_of(other["epsilon"]), str(other["name"])


def _median(reads: Reads | None, bounds: Bounds, seed: int) -> Told:
    """The median smallest flip of a network's own right reads, with its interval."""
    if reads is None or reads.smallest_flip("label") is None:
        return {name: size_json(math.nan, bounds) for name in ("median", "low", "high")}
    middle = median_flip(*judged_by(reads, "label"), seed)
    return {name: size_json(end, bounds) for name, end in zip(("median", "low", "high"), middle, strict=True)}


def _new_findings(plain: Run, hardened: Hardened) -> list[Told]:
    """The findings of the hardened networks that the plain one does not have too, each once, worst first."""
    known = {(each["check"], each["message"]) for each in plain.findings}
    failed = str(hardened.training.get("failed") or "")
    several = len(hardened.trainings) > 1
    return merged((f"fold {fold}" if several else "", [each]) for fold, each in hardened.findings
                  if (each["check"], each["message"]) not in known and not (failed and failed == each["message"]))


def _doubts(hardened: Hardened) -> list[str]:
    """The checks that the hardened network's evaluation failed, whether or not the plain one failed them too."""
    failed = [each["check"] for _, each in hardened.findings if each["severity"] == "error"]
    return [check for check in dict.fromkeys(failed) if check != "hardening failed"]


def _epsilon(training: Told) -> float | None:
    stated = training.get("epsilon")
    return float(stated) if isinstance(stated, int | float) and math.isfinite(stated) else None


def _size(size: float | None, bounds: Bounds) -> Told | None:
    return dict(size_json(size, bounds)) if size is not None else None
