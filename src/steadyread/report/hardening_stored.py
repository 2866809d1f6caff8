"""The hardened networks that stand in a run's folder, and what they did, compared on the same images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.errors import InputRefused
from steadyread.files import HARDENED, JOBS, SETTINGS, TRAINING
from steadyread.metrics.contrasts import UNKNOWN
from steadyread.metrics.hardening import compared
from steadyread.metrics.plan import exact_up_to
from steadyread.metrics.robustness import median_flip
from steadyread.metrics.summary import judged_by, tabled_sizes
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.report.stored import Assessed, Run, judged_of, read_network
from steadyread.store import Cell
from steadyread.units import Bounds, number_of, size_json
from steadyread.words.hardening import doubt_said, failure, hardening_short, hardening_verdict, headline

Told = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Hardened:
    """A hardened network: `name` is "" for the study's own, the key of `[hardening.compare]` for another.

    `assessed` is None where it has not been assessed (yet).
    """

    name: str
    training: Told
    assessed: Assessed | None


def read_hardenings(folder: Path, shared: Shareable = AS_IT_IS) -> list[Hardened]:
    """The hardened networks of a run's folder, the study's own first; none where it has no `hardened/`.

    Raises:
        InputRefused: a stored file that is not what it should be.
    """
    stated = (records.read_object(folder / SETTINGS) or {}).get("hardening") or {}
    if (folder / JOBS).is_dir():      # of several networks or folds
        own = str(stated.get("method") or "")
        names = {"": own, **{name: name for name in stated.get("compare") or ()}} if own else {}
        found = [_read(sorted((folder / HARDENED / place).glob("fold-*")), name, shared)
                 for name, place in names.items()]
    else:
        asked = stated.get("compare")
        others = sorted(path for path in folder.glob(f"{HARDENED}-*") if path.is_dir() and (
            asked is None or path.name.removeprefix(f"{HARDENED}-") in asked))
        found = [_read([path], path.name.removeprefix(HARDENED).removeprefix("-"), shared)
                 for path in (folder / HARDENED, *others)]
    return [one for one in found if one is not None] if found and found[0] is not None else []


def hardening_summary(plain: Assessed, hardened: Sequence[Hardened], seed: int = 0) -> Told | None:
    """What `summary["hardening"]` holds: the study's own hardening against the plain one, the others against it.

    None where there is no hardening. `verdict` is in words and `short` its first sentence, `at` the size of which
    it and `others` speak, and `failed` says why a hardening is none.

    Raises:
        InputRefused: other bounds, labels or images than the plain run's.
    """
    if not hardened:
        return None
    main, bounds = hardened[0], plain.bounds
    epsilon = _epsilon(main.training)
    sizes = [*tabled_sizes(plain.reads, bounds), *([epsilon] if epsilon is not None else [])]
    found = _compared(plain, main.assessed, sizes, seed)
    row = headline(found, epsilon) if found else None
    findings = _new_findings(plain.run, main)
    doubt = doubt_said(_doubts(main))
    return {"compared": found, "training": main.training, "epsilon": _size(epsilon, bounds),
            "at": row["size"] if row else None, "failed": failure(main.training, found),
            "short": hardening_short(found, main.training, epsilon) + doubt,
            "verdict": hardening_verdict(found, main.training, epsilon) + doubt,
            "medians": {"before": _median(plain, bounds, seed), "after": _median(main.assessed, bounds, seed)},
            "findings": findings,
            "others": sorted((_other(main, other, row["size"] if row else None, bounds, seed)
                              for other in hardened[1:]), key=_by_method)}


def _read(folders: Sequence[Path], name: str, shared: Shareable) -> Hardened | None:
    """A hardening in the folders of its networks, one a fold; of its trainings the first is told."""
    trainings = [shared.tree(records.read_object(folder / TRAINING) or {}) for folder in folders]
    cells = [Cell(folder, stage=name or HARDENED) for folder in folders if records.has_records(folder)]
    assessed = judged_of(read_network(cells, cells[0].folder, shared=shared)) if cells else None
    training: Told = next(filter(None, trainings), {})
    failed = {number: str(each["failed"]) for number, each in enumerate(trainings) if each.get("failed")}
    if len(folders) > 1 and failed:
        training = training | {"failed": "; ".join(f"in fold {number}: {why}" for number, why in failed.items())}
    return Hardened(name, _by_fold(training, trainings), assessed) if training or assessed else None


def _by_fold(training: Told, trainings: Sequence[Told]) -> Told:
    """The training of the first fold; where the others were taught another size or kept another epoch, that is told."""
    changed: Told = {}
    for key, sentence in (("epsilon", "why"), ("chosen_epoch", "rule")):
        values = [each[key] for each in trainings if isinstance(each.get(key), int | float)]
        if len(set(values)) > 1:
            unit = f" {training.get('unit')}" if key == "epsilon" and training.get("unit") else ""
            said = str(training.get(sentence) or "").rstrip(".")
            each_fold = ", ".join(f"{value:.3g}" for value in values)
            changed[sentence] = f"{said}. That is of the first fold; by fold: {each_fold}{unit}"
    return training | changed


def _compared(before: Assessed | None, after: Assessed | None, sizes: Sequence[float], seed: int) -> Told | None:
    """`compared` of two runs as far as both were searched; against the label unless that was not tried."""
    if before is None or after is None:
        return None
    here, there = before.bounds, after.bounds
    if (here.low, here.high) != (there.low, there.high):
        raise InputRefused(f"{after.run.folder}: its images go from {there.low:g} to {there.high:g}, those of "
                           f"{before.run.folder} from {here.low:g} to {here.high:g}: assess both networks on the "
                           "same data")
    tried = [{outcome.against for outcome in side.reads.outcomes} for side in (before, after)]
    against = "prediction" if tried[0] & tried[1] == {"prediction"} else "label"
    limit = min(exact_up_to(side.run.plan, side.reads, against) for side in (before, after))
    return compared(before.reads, after.reads, sizes, here, seed, against=against, limit=limit)


def _other(main: Hardened, other: Hardened, at: Mapping[str, Any] | None, bounds: Bounds, seed: int) -> Told:
    """Another hardening beside the study's own, at the size of the verdict; `difference`s are other minus own."""
    found = _compared(main.assessed, other.assessed, [number_of(at)] if at else [], seed)
    return {"name": other.name, "training": other.training, "method": other.training.get("method"),
            "epsilon": _size(_epsilon(other.training), bounds),
            "doubt": _doubts(other), "chosen_epoch": other.training.get("chosen_epoch"),
            "failed": failure(other.training, found),
            "assessed": found is not None, "clean": found["clean"] if found else UNKNOWN,
            "robust": (found["sizes"][0]["merged"] if found and found["sizes"] else None) or UNKNOWN,
            "median": _median(other.assessed, bounds, seed)}


def _by_method(other: Mapping[str, Any]) -> tuple[str, float, str]:
    return str(other["method"] or ""), number_of(other["epsilon"]), str(other["name"])


def _median(side: Assessed | None, bounds: Bounds, seed: int) -> Told:
    """The median smallest flip of a network's own right reads, with its interval."""
    if side is None or side.reads.smallest_flip("label") is None:
        return {name: size_json(math.nan, bounds) for name in ("median", "low", "high")}
    middle = median_flip(*judged_by(side.reads, "label"), seed)
    return {name: size_json(end, bounds) for name, end in zip(("median", "low", "high"), middle, strict=True)}


def _new_findings(run: Run, hardened: Hardened) -> list[Told]:
    """The findings of the hardened network's assessment that the plain one's does not have too."""
    known = {(each["check"], each["message"]) for each in run.findings}
    failed = str(hardened.training.get("failed") or "")
    return [each for each in (hardened.assessed.run.findings if hardened.assessed else ())
            if (each["check"], each["message"]) not in known and not (failed and failed == each["message"])]


def _doubts(hardened: Hardened) -> list[str]:
    """The checks that the hardened network's evaluation failed, whether or not the plain one failed them too."""
    found = hardened.assessed.run.findings if hardened.assessed else []
    return [each["check"] for each in found if each["severity"] == "error" and each["check"] != "hardening failed"]


def _epsilon(training: Told) -> float | None:
    stated = training.get("epsilon")
    return float(stated) if isinstance(stated, int | float) and math.isfinite(stated) else None


def _size(size: float | None, bounds: Bounds) -> Told | None:
    return dict(size_json(size, bounds)) if size is not None else None
