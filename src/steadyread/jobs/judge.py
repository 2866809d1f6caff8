"""The gates of a data set: what they come to, by the records of the networks that they name."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from steadyread import records, set_aside
from steadyread.checks.reading import NO_BETTER, ONE_CLASS
from steadyread.errors import UsageError
from steadyread.files import FINDINGS, GATES, SETTINGS
from steadyread.findings import VALIDITY
from steadyread.gates import ROBUST, STEADY, Gate, Judged, broken_checks, gate, judge
from steadyread.jobs.plan import Branch, cells_of, hardening_of, place
from steadyread.metrics.plan import part_of
from steadyread.store import Cell, open_cells
from steadyread.study import Study
from steadyread.words.numbers import counted


def keep_gates(branch: Branch) -> tuple[Judged, ...]:
    """What the gates of a data set come to, kept in its folder for its page; nothing is kept without gates."""
    path = branch.folder / GATES
    path.unlink(missing_ok=True)
    gates = judged_gates(branch)
    if gates:
        records.write_json(path, {"gates": [{"gate": str(each.gate), "passed": each.passed, "message": each.message}
                                            for each in gates]})
    return gates


def judged_gates(branch: Branch) -> tuple[Judged, ...]:
    """Every gate of a data set; where cases are set aside, with how many images it stands on."""
    folder, study = branch.folder, branch.study
    if not study.gates.fail_below:
        return ()
    on = ""
    if set_aside.said(folder):
        on = f". It is based on {counted(_images(folder), 'image')}; others are set aside"
    before = f"{branch.name}: " if branch.name else ""
    return tuple(replace(judged, message=f"{before}{judged.message}{on}")
                 for asked in map(gate, study.gates.fail_below) for each in _of_each(study, asked)
                 for judged in _judged(folder, study, each))


def _images(folder: Path) -> int:
    """How many images are judged, over all folds."""
    tables = [cell.table for cell in open_cells(folder).own.cells]
    return len({case for table in tables for case in table.filter(pc.field("part") == part_of(table))[
        "case_id"].to_pylist()})


def _of_each(study: Study, asked: Gate) -> list[Gate]:
    """A gate, for every finding where it names none of several."""
    return [asked] if asked.of or not study.model.findings else [replace(asked, of=name) for name in study.networks]


def _judged(folder: Path, study: Study, asked: Gate) -> Iterator[Judged]:
    """One gate. No robustness is passed that the checks do not believe."""
    places = [folder / place(study, cell) for cell in _cells(study, asked.of)]
    if not all(records.has_records(path) for path in places):
        raise UsageError(f"the gate '{asked}' cannot be judged: '{asked.of}' came to no network")
    table = pa.concat_tables([records.read(path) for path in places])
    judged = judge(asked, table, {"study": records.read_json(folder / SETTINGS),
                                  **records.read_json(places[0] / records.PLAN)}, study.seed)
    findings: list[dict[str, Any]] = [finding for path in dict.fromkeys((folder, *places))
                                      for finding in records.read_json(path / FINDINGS)
                                      if path in places or finding.get("topic") != VALIDITY]   # that of another network
    broken = list(dict.fromkeys(broken_checks(findings, table)))
    if asked.metric == STEADY:      # of draws, which need no search: but a network that always says the same is silent
        broken = [check for check in broken if check in (ONE_CLASS, NO_BETTER)]
    if judged.passed and broken and asked.metric in (ROBUST, STEADY):
        judged = replace(judged, passed=False, message=f"{judged.message}, but that cannot be trusted while "
                         f"these checks fail: {', '.join(broken)}")
    yield judged


def _cells(study: Study, name: str) -> list[Cell]:
    """The cells of a network, on every fold: the study's own, a variant, or what a hardening left."""
    plain, *hardened = cells_of(study)
    if not name or name in study.networks:
        return [cell for cell in plain if cell.network == (name or plain[0].network)]
    return [cell for step in hardened for cell in step if hardening_of(study, cell).name == name]
