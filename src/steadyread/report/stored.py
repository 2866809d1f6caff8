"""What a run's folder holds: plan, records, findings, examples, training. No model is needed, nor loaded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyread import records
from steadyread.charts.examples import Example
from steadyread.errors import InputRefused
from steadyread.files import EXAMPLES, FINDINGS, SETTINGS, TRAINING, regular_file
from steadyread.metrics import Reads, reads_of
from steadyread.metrics.aligned import SCORES, with_scores
from steadyread.metrics.plan import bounds_of, class_names, part_of, stages_of
from steadyread.metrics.reads import ORIGINAL
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.store import Cell, own_network
from steadyread.units import Bounds

_EXAMPLE_ARRAYS = ("clean", "adversarial", "case_id", "label", "attack", "size", "clean_probabilities",
                   "adversarial_probabilities")
_SEVERITIES = ("error", "warning", "note", "ok")


@dataclass(frozen=True, eq=False)
class Run:
    """The stored files of one run, read. Findings stand worst first."""

    folder: Path
    plan: dict[str, Any]
    table: pa.Table
    findings: list[dict[str, Any]]
    training: dict[str, Any] | None
    examples: list[Example]


@dataclass(frozen=True, eq=False)
class Assessed:
    """A run with the reads that it is judged by."""

    run: Run
    reads: Reads

    @property
    def bounds(self) -> Bounds:
        """The images' bounds."""
        return bounds_of(self.run.plan)


def assessed_of(folder: Path, shared: Shareable = AS_IT_IS) -> Assessed | None:
    """A run on one data set with the reads it is judged by, None where it has no records (yet)."""
    cells = own_network(folder)
    return judged_of(read_network(cells, folder, shared=shared)) if cells else None


def judged_of(run: Run) -> Assessed:
    """A run with the reads it is judged by."""
    stage = next(iter(stages_of(run.table)), None)
    return Assessed(run, reads_of(run.table, part_of(run.table), stage, bounds_of(run.plan)))


def read_run(folder: Path, classes: tuple[str, ...] = (), shared: Shareable = AS_IT_IS) -> Run:
    """A run's folder. Settings, findings, training and examples may be absent; plan and records may not.

    All but the records is as it is `shared`.

    Raises:
        InputRefused: no plan or records there, or a file that is not what it should be.
    """
    return read_network([Cell(folder)], folder, classes, shared)


def read_network(cells: Sequence[Cell], folder: Path, classes: tuple[str, ...] = (), shared: Shareable = AS_IT_IS
                 ) -> Run:
    """One network, or those of its folds, of the run in a folder: records of all, with what the first says of itself.

    Findings are those of the cells and of the run, each once; the settings are the run's.

    Raises:
        InputRefused: no plan or records there, or a file that is not what it should be.
    """
    first, settings = cells[0], _optional(folder / SETTINGS)
    plan = ({"name": settings.get("name"), "study": settings} if isinstance(settings, dict) else {}) | first.plan
    model: dict[str, Any] = plan.get("model") or {}
    if model.get("name") == ORIGINAL:      # among several networks; here it is called as the study calls it
        named = ((plan.get("study") or {}).get("model") or {}).get("name")
        plan["model"] = model | {"name": named or "the network"}
    names = classes or tuple(class_names(plan, 0))
    tables = [read_records(cell.folder) for cell in cells]
    places = dict.fromkeys((*(cell.folder for cell in cells), folder))
    findings = {(each["check"], each["message"]): each for place in places
                for each in findings_of(place / FINDINGS, shared)}
    shown = next((cell.folder for cell in cells if (cell.folder / EXAMPLES).exists()), first.folder)
    return Run(folder, shared.tree(plan), tables[0] if len(tables) == 1 else pa.concat_tables(
        tables, promote_options="default"), worst_first(findings.values()),
        shared.tree(_optional(first.folder / TRAINING)),
        [replace(one, case_id=shared.case(one.case_id)) for one in read_examples(shown / EXAMPLES, names)])


def read_records(folder: Path) -> pa.Table:
    """A run's records, with the further scores of its reads beside them where it has scores.parquet.

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
                           f"({str(problem).splitlines()[0]}): remove it, or run the same command again, which "
                           "computes it anew") from problem


def read_examples(path: Path, classes: tuple[str, ...]) -> list[Example]:
    """The stored example images, none where there is no file.

    Raises:
        InputRefused: not an npz, an array missing, or arrays of different lengths.
    """
    if not path.exists():
        return []
    stored = records.read_npz(path)
    missing = [name for name in _EXAMPLE_ARRAYS if name not in stored]
    arrays = {name: stored[name] for name in _EXAMPLE_ARRAYS if name in stored}
    lengths = {name: len(array) for name, array in arrays.items()}
    if missing or len(set(lengths.values())) > 1:
        raise InputRefused(f"{path} must hold {', '.join(_EXAMPLE_ARRAYS)} of one length; "
                           + (f"missing: {', '.join(missing)}" if missing else f"lengths {lengths}"))
    return [Example(str(arrays["case_id"][row]), class_name(arrays["label"][row], classes),
                    str(arrays["attack"][row]), float(arrays["size"][row]), arrays["clean"][row],
                    arrays["adversarial"][row], arrays["clean_probabilities"][row],
                    arrays["adversarial_probabilities"][row], classes)
            for row in range(lengths["clean"])]


def findings_of(path: Path, shared: Shareable = AS_IT_IS) -> list[dict[str, Any]]:
    """A stored list of findings, each with every field, the worst first; empty where there is no file."""
    found = [] if (stored := _optional(path)) is None else stored
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InputRefused(f"{path} must hold a list of findings; remove it or run the assessment again")
    known = [{"check": "", "severity": "note", "message": "", "value": None, "rows": ()} | shared.finding(each)
             for each in found]
    return worst_first(known)


def worst_first(findings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(findings, key=lambda each: _SEVERITIES.index(each["severity"])
                  if each["severity"] in _SEVERITIES else 0)


def _optional(path: Path) -> Any:
    return records.read_json(path) if path.exists() else None


def class_name(label: Any, classes: Sequence[str]) -> str:
    """The class of a stored label, which is a number, or its name already."""
    text = str(label)
    return classes[int(text)] if text.isdigit() and int(text) < len(classes) else text
