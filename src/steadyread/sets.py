"""A study of several data sets carried out: each set a run of its own, then one report over all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from steadyread import records, set_aside
from steadyread.errors import InputRefused, Partial, PlanDiffers, SteadyreadError
from steadyread.files import EQUAL, FAILED, SETTINGS, SUMMARY
from steadyread.gates import Judged
from steadyread.jobs.folder import in_its_folder, taken_up
from steadyread.jobs.material import refuse_absent
from steadyread.progress import Named, Progress, at_work, lines, quiet
from steadyread.report.sets import write_sets_report
from steadyread.running import begin, finish
from steadyread.study import Sets, Study
from steadyread.workers import side_by_side, workers_for


@dataclass(frozen=True)
class SetsDone:
    """A finished study of several sets: its folder, its report, what `summary.json` holds, and the gates."""

    folder: Path
    report: Path
    summary: dict[str, Any]
    gates: tuple[Judged, ...]
    failures: Mapping[str, str]
    set_aside: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `summary.json` holds, with the paths, the gates, why sets failed, and what was set aside."""
        gates = [{"gate": str(one.gate), "value": one.value, "passed": one.passed, "message": one.message}
                 for one in self.gates]
        return self.summary | {"folder": str(self.folder), "report": str(self.report), "gates": gates,
                               "failures": dict(self.failures), "set_aside": list(self.set_aside)}

    @property
    def failed(self) -> tuple[Judged, ...]:
        """The gates that were not met."""
        return tuple(judged for judged in self.gates if not judged.passed)


def carry_out_sets(sets: Sets, out: str | Path | None = None, progress: Progress = quiet, keep_going: bool = False,
                   overwrite: bool = False, show_ids: bool = False) -> SetsDone:
    """Every data set's study, those at equal conditions after them, and the report over all.

    Everything is checked before any network is trained. The sets' runs go side by side, one process each, as many
    as there are threads (one after another on a GPU). Finished work is kept: the same study in the same folder goes
    on where it was stopped.

    Args:
        out, overwrite: the folder, and what becomes of another study's run there, see `carry_out`.
        keep_going: a set that is refused or fails is written down with its reason, and the others go on.
        show_ids: as `carry_out` has it.

    Raises:
        UsageError, InputRefused: a setting, a data set or a model is not as stated (the set is named).
        PlanDiffers: the folder holds another study.
        Partial: the disk is full; what was finished is kept.
    """
    studies = (*sets.studies.values(), *sets.equal.values())
    return in_its_folder(lambda folder: _carried_out(sets, folder, progress, keep_going, show_ids), studies,
                         sets.name, out, overwrite)


def _carried_out(sets: Sets, folder: Path, progress: Progress, keep_going: bool, show_ids: bool) -> SetsDone:
    _refuse_other(folder, sets)
    failures: dict[str, str] = {}
    for name, study in (*sets.studies.items(), *sets.equal.items()):
        try:
            refuse_absent(study)
        except SteadyreadError as problem:
            _note(folder / name, name, problem, failures, keep_going)
    works = [*_begun(sets.studies, folder, "", failures, keep_going, progress),
             *_begun(sets.equal, folder, EQUAL, failures, keep_going, progress)]
    if not works:
        raise InputRefused("no data set could be begun: " + "; ".join(failures.values()))
    records.write_json(folder / SETTINGS, sets.as_json())
    told = lines if progress is not quiet and workers_for(len(works)) > 1 else progress
    calls = [(work.study, work.folder, Named(told, work.name), show_ids) for work in works]
    judged: list[Judged] = []
    for at, done in told(side_by_side(_finished, calls), len(calls), "data sets"):
        name = works[at].name
        if isinstance(done, SteadyreadError):
            what = f"{name} at equal conditions" if works[at].folder.name == EQUAL else name
            _note(folder / name, what, done, failures, keep_going)
        else:
            judged += [replace(one, message=f"{name}: {one.message}") for one in done]
    seed = next(iter(sets.studies.values())).seed
    report = at_work(progress, "writing the report", lambda: write_sets_report(folder, seed, show_ids))
    aside = tuple(f"{work.name}: {text}" for work in works if work.folder.name != EQUAL
                  for text in set_aside.said(work.folder))
    return SetsDone(folder, report, records.read_json(folder / SUMMARY), tuple(judged), failures, aside)


@dataclass(frozen=True)
class _Work:
    """One run of a set: the set's name, its study, its folder."""

    name: str
    study: Study
    folder: Path


def _begun(studies: Mapping[str, Study], folder: Path, below: str, failures: dict[str, str], keep_going: bool,
           progress: Progress) -> Iterator[_Work]:
    """Each set's study checked as far as can be without training; those refused are noted, or stop everything."""
    for name, study in studies.items():
        if name in failures:
            continue
        try:
            with taken_up(folder / name / below):
                begin(study, folder / name / below, Named(progress, name))
        except SteadyreadError as problem:
            _note(folder / name, name, problem, failures, keep_going)
        else:
            (folder / name / FAILED).unlink(missing_ok=True)
            yield _Work(name, study, folder / name / below)


def _finished(study: Study, folder: Path, progress: Progress, show_ids: bool
              ) -> tuple[Judged, ...] | SteadyreadError:
    """One run to its end, in whatever process: its gates, or why it failed."""
    try:
        with taken_up(folder):
            return finish(begin(study, folder, progress), progress, show_ids).gates
    except Partial:
        raise
    except SteadyreadError as problem:
        return problem
    except torch.OutOfMemoryError as problem:
        return InputRefused(f"no memory left on the device ({str(problem).splitlines()[0]}): take smaller batches")


def _note(folder: Path, name: str, problem: SteadyreadError, failures: dict[str, str], keep_going: bool) -> None:
    """Write down why a set failed, or say so and stop."""
    reason = " ".join(str(problem).split())
    if not keep_going or isinstance(problem, Partial | PlanDiffers):
        raise type(problem)(f"{name}: {reason}") from problem
    failures[name] = f"{name}: {reason}"
    records.write_json(folder / FAILED, {"reason": reason})


def _refuse_other(folder: Path, sets: Sets) -> None:
    """The folder of another study is refused; each set settles its own settings."""
    path, wanted = folder / SETTINGS, sets.as_json()
    if path.exists():
        held = records.read_json(path)
        if not isinstance(held, dict) or "sets" not in held:
            raise PlanDiffers(f"{folder} holds another study")
        if held.get("scale") != wanted["scale"] or list(held["sets"]) != list(wanted["sets"]):
            scale = f"scale {held['scale']}" if held.get("scale") else "no scale"
            raise PlanDiffers(f"{folder} holds the study of other sets or another scale ({scale}; sets "
                              f"{', '.join(held['sets'])})")
