"""Which pages are written of a run, and what its gates come to: per data set, by its stored files alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyread import records, set_aside
from steadyread.files import FINDINGS, HARDENED, SETTINGS, SUMMARY
from steadyread.gates import CLEAN, ROBUST, STEADY, Judged, broken_checks, gate, judge, judge_noise
from steadyread.jobs.plan import Branch, Cell, folds_of, place
from steadyread.report import write_report
from steadyread.report.noise_page import write_noise_report
from steadyread.study import Study
from steadyread.words.numbers import counted


def write_reports(folder: Path, study: Study, show_ids: bool = False) -> Path:
    """The pages of a data set's run: that of its noise or of its attacks on pixels, and where it is about both, the
    second of each network."""
    seed = study.seed
    if study.alone:
        if records.has_records(folder / HARDENED):
            write_report(folder / HARDENED, seed, show_ids)
        return write_report(folder, seed, show_ids)
    if study.noise is None:
        return write_report(folder, seed, show_ids)
    if study.linf:
        for fold in folds_of(study):
            write_report(folder / place(study, Cell(fold=fold)), seed, show_ids)
    return write_noise_report(folder, seed, show_ids)


def judged_gates(branch: Branch) -> tuple[Judged, ...]:
    """Every gate of a data set; where cases are set aside, with how many images it stands on."""
    folder, study = branch.folder, branch.study
    if not study.gates.fail_below:
        return ()
    on = ""
    if set_aside.said(folder):
        summary = records.read_json(folder / SUMMARY)
        images = summary["images"] if "images" in summary else summary["parts"][summary["part"]]["cases"]
        on = f". It stands on {counted(images, 'image')}; others are set aside"
    before = f"{branch.name}: " if branch.name else ""
    return tuple(replace(judged, message=f"{before}{judged.message}{on}") for judged in _judged(folder, study))


def _judged(folder: Path, study: Study) -> Iterator[Judged]:
    """The gates of the study's own network. No robustness is passed that the checks do not believe."""
    places = [folder / place(study, Cell(fold=fold)) for fold in folds_of(study)]
    table = pa.concat_tables([records.read(path) for path in places])
    plan = {"study": records.read_json(folder / SETTINGS), **records.read_json(places[0] / records.PLAN)}
    findings: list[dict[str, Any]] = [finding for path in dict.fromkeys((folder, *places))
                                      for finding in records.read_json(path / FINDINGS)]
    broken = broken_checks(findings, table)
    for asked in map(gate, study.gates.fail_below):
        if asked.metric == STEADY or (not study.linf and asked.metric in CLEAN):
            yield judge_noise(asked, records.read_json(folder / SUMMARY))
            continue
        judged = judge(asked, table, plan, study.seed)
        if judged.passed and broken and asked.metric == ROBUST:
            judged = replace(judged, passed=False, message=f"{judged.message} But this is not to be believed while "
                             f"these checks fail: {', '.join(broken)}")
        yield judged
