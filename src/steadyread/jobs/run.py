"""A study carried out: its plan worked off, every job an independent piece that resumes, then one report.

Every step leaves a file that is written whole, and the same study in the same folder goes on where it was stopped:
trained networks and finished blocks of records are taken up, another study is refused.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from steadyread import records, set_aside
from steadyread.errors import InputRefused, Partial, PlanDiffers, SteadyreadError, UsageError, first_line
from steadyread.files import FAILED, MODEL, PAGE, SETTINGS, SUMMARY, TRAINING
from steadyread.folder_lock import locked
from steadyread.gates import Judged
from steadyread.interop.tracker import TRACKERS
from steadyread.jobs.attacks import noise_of
from steadyread.jobs.begin import begin
from steadyread.jobs.cards import refuse_unnamed, with_findings
from steadyread.jobs.folder import in_its_folder, taken_up
from steadyread.jobs.job import Materials, carry_out_job, network_of
from steadyread.jobs.judge import keep_gates
from steadyread.jobs.labelled import of_labelled
from steadyread.jobs.material import refuse_absent
from steadyread.jobs.plan import Branch, Job, branches_of, jobs_of
from steadyread.jobs.quick import first_look
from steadyread.jobs.track import untracked
from steadyread.metrics.reads import LINF
from steadyread.progress import Named, Progress, at_work, lines, note, quiet
from steadyread.registry import METHODS
from steadyread.report import write_report
from steadyread.store import refuse_several_sets
from steadyread.study import Study, laid_over
from steadyread.study.reading import reread
from steadyread.study.sections import refuse_ignored
from steadyread.workers import side_by_side, workers_for

T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """A finished run: its folder, the report, what `summary.json` holds, the gates with what came of them, why data
    sets failed, what was set aside, why trackers do not have the run, and of a first look what a whole run would
    take."""

    folder: Path
    report: Path
    summary: dict[str, Any]
    gates: tuple[Judged, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    set_aside: tuple[str, ...] = ()
    first_look: str = ""
    untracked: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `summary.json` holds, with the rest as plain values."""
        gates = [{"gate": str(one.gate), "value": one.value, "passed": one.passed, "message": one.message}
                 for one in self.gates]
        return self.summary | {"folder": str(self.folder), "report": str(self.report), "gates": gates,
                               "failures": dict(self.failures), "set_aside": list(self.set_aside),
                               "untracked": list(self.untracked),
                               **({"first_look": self.first_look} if self.first_look else {})}

    @property
    def failed(self) -> tuple[Judged, ...]:
        """The gates that were not met."""
        return tuple(judged for judged in self.gates if not judged.passed)


def carry_out(study: Study, out: str | Path | None = None, progress: Progress = quiet,
              overwrite: bool = False, show_ids: bool = False, keep_going: bool = False, images: bool = True) -> Done:
    """The whole study: every network of every data set trained (unless weights are given), hardened, assessed and
    checked; then the report over all of them.

    Everything is checked before any network is trained. Jobs run side by side, one process each, as many as there are
    threads (one after another on a GPU).

    Args:
        out: the run's folder. If None it is `runs/<name of the study>`; where that holds another study, `-2`, `-3`
            and so on are added to the name.
        overwrite: another study in the folder is kept as `<folder>.old-1`, and this one begins anew.
        show_ids: the report names cases, patients and folders as they are. Not for sharing.
        keep_going: a data set of several that is refused or fails is written down with its reason, and the others
            go on.
        images: whether the report shows images of patients.

    Raises:
        UsageError, InputRefused: a setting, the data or the model is not as stated (of several data sets the set is
            named), or another process works in the folder.
        PlanDiffers: `out` holds another study.
        Partial: the disk is full; what was finished is kept.
    """
    study = study.of_each(with_findings)
    for own in study.studies:
        refuse_ignored(own)
    study = study.of_each(_labelled)
    look = first_look(study, progress)
    if look.told:
        note(look.told)
    done = in_its_folder(lambda folder: _Running(look.study, folder, progress, keep_going, materials=Materials(
        look.fitted)).done(show_ids, images), look.study.studies, look.study.name, out, overwrite)
    return replace(done, first_look=look.told)


def _labelled(study: Study) -> Study:
    """The study without the findings whose labels say nothing, which is said aloud."""
    study, left = of_labelled(study)
    for each in left:
        note(f"{each.check}: {each.message}")
    return study


def harden_run(folder: str | Path, above: Sequence[Mapping[str, Any]], progress: Progress = quiet,
               show_ids: bool = False, images: bool = True) -> Done:
    """The study of a run's folder carried out again with a hardening added: the rest is taken up as it is.

    Args:
        above: settings laid over the run's own, those of `hardening` above all.
        show_ids, images: as `carry_out` has them.

    Raises:
        InputRefused: no run there, or one that was stopped before its study was written.
        PlanDiffers: the run was hardened otherwise already.
    """
    folder = Path(folder)
    if not (folder / SETTINGS).is_file():
        raise InputRefused(f"{folder} is no run: it has no {SETTINGS}. Give the folder that a run has written")
    try:
        with taken_up(folder):
            return _Running(_with_hardening(folder, above), folder, progress).done(show_ids, images)
    except PlanDiffers as problem:
        raise PlanDiffers(f"{problem}. A run is hardened in one way: repeat it, or compare with another method or "
                          "size, --set 'hardening.compare.NAME={method=\"trades\"}'") from problem


def _with_hardening(folder: Path, above: Sequence[Mapping[str, Any]]) -> Study:
    """The study of a run's folder with further settings laid over it."""
    stated = records.read_object(folder / SETTINGS) or {}
    refuse_several_sets(folder, stated)
    if stated.get("training") is not None and any("train" in settings.get("data", {}) for settings in above):
        raise UsageError(f"--data: the run {folder} was trained on images of its own, and is hardened with those: "
                         "leave it out")
    refuse_unnamed(stated, folder, *(next((settings[section].get(key) for settings in reversed(above)
                                           if section in settings), None)
                                     for section, key in (("model", "name"), ("preparation", "transform"))))
    for settings in above:
        stated = laid_over(stated, _against_what_it_is_about(stated, settings))
    return reread(stated, str(folder / SETTINGS))


def _against_what_it_is_about(stated: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of `hardening` as those of `noise.hardening`, where the run is about noise: alone, or where the method
    is one against noise."""
    hardening = settings.get("hardening")
    alone = "Linf" not in (stated.get("threats") or ())
    against_noise = hardening is not None and hardening.get("method", "pgd") not in METHODS.against(LINF)
    if stated.get("noise") is None or hardening is None or not (alone or against_noise):
        return settings
    return laid_over({key: value for key, value in settings.items() if key != "hardening"},
                     {"noise": {"hardening": hardening}})


def train(study: Study, out: str | Path | None = None, progress: Progress = quiet, overwrite: bool = False
          ) -> dict[str, Any]:
    """The study up to its trained networks: what `training.json` of the first holds, the path of its weights, and
    under `networks` the weights of all.

    `out` and `overwrite` are those of `carry_out`.

    Raises:
        InputRefused: weights are given, so there is nothing to train.
    """
    if any(own.model.weights is not None for own in study.studies):
        raise InputRefused("there is nothing to train: the study states weights; leave model.weights out")

    def work(folder: Path) -> dict[str, Any]:
        running = _Running(study.of_each(_unhardened), folder, progress)
        running.begin()
        jobs = jobs_of(running.branches)[0]
        running.work(_trained, jobs, "networks")
        first = jobs[0].folder
        material = running.materials.of(jobs[0].study, jobs[0].cell, progress)
        return {**records.read_json(first / TRAINING), "weights": str(first / MODEL),
                "networks": {str(job) or job.cell.network: str(job.folder / MODEL) for job in jobs},
                "synthetic": material.raw.synthetic}

    return in_its_folder(work, study.studies, study.name, out, overwrite)


def _unhardened(study: Study) -> Study:
    noise = study.noise if study.noise is None else study.noise.model_copy(update={"hardening": None})
    return study.model_copy(update={"hardening": None, "noise": noise, "seeds": 1})


@dataclass(eq=False)
class _Running:
    """A study on its way: the data sets that are begun and have not failed, and why the others have."""

    study: Study
    folder: Path
    progress: Progress
    keep_going: bool = False
    branches: list[Branch] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    materials: Materials = field(default_factory=Materials)

    def done(self, show_ids: bool = False, images: bool = True) -> Done:
        """The study to its end."""
        track = self.study.studies[0].track
        for name in track:      # before anything takes hours
            TRACKERS[name].library()
        self.begin()
        # one after another, a data set is carried to its end: its images are read once for all of its networks
        alone = workers_for(len(self.branches)) == 1
        for branches in [[branch] for branch in self.branches] if alone else [list(self.branches)]:
            for number, step in enumerate(jobs_of(branches)):
                jobs = [job for job in step if job.branch in self.branches]
                self.work(carry_out_job, jobs, "networks" if number == 0 else "hardenings")
        gates = self.work(partial(_reported, show_ids, images), self.branches, "reports")
        if self.study.sets:
            at_work(self.progress, "writing the report",
                    lambda: write_report(self.folder, self.study.studies[0].seed, show_ids, images))
        aside = tuple(f"{branch.name}: {text}" if branch.name else text for branch in self.branches
                      if not branch.equal and not branch.repeat
                      for text in set_aside.said(branch.folder))
        reasons = at_work(self.progress, f"handing the run to {', '.join(track)}",
                          lambda: untracked(self.folder, track, show_ids)) if track else ()
        return Done(self.folder, self.folder / PAGE, records.read_json(self.folder / SUMMARY),
                    tuple(gate for judged in gates for gate in judged), self.failures, aside,
                    untracked=reasons)

    def begin(self) -> None:
        """Everything that can be refused before any training."""
        if self.study.sets:
            _refuse_other(self.folder, self.study)
        self.branches = branches_of(self.study, self.folder)
        for branch in self.branches:
            self._ended(branch, _attempted(branch.name, _unread, branch.study))
        for branch in self.branches:
            if branch.name in self.failures:
                continue
            self._ended(branch, _attempted(branch.name, _begun, branch, self.materials, self.progress))
            if branch.name and branch.name not in self.failures:
                (self.folder / branch.name / FAILED).unlink(missing_ok=True)
        if not self.branches:
            raise InputRefused("no data set could be begun: " + "; ".join(self.failures.values()))
        if self.study.sets:
            records.write_json(self.folder / SETTINGS, self.study.as_json())

    def work(self, work: Callable[..., T], pieces: Sequence[Any], label: str) -> list[T]:
        """The work on every piece, a job or a data set, side by side: what it returned, in their order. A data set
        that fails is left out from then on."""
        aloud = lines if self.progress is not quiet and workers_for(len(pieces)) > 1 else self.progress
        branches = [piece.branch if isinstance(piece, Job) else piece for piece in pieces]
        calls = [(branch.name, work, piece, self.materials, Named(aloud, str(piece)) if str(piece) else aloud)
                 for branch, piece in zip(branches, pieces, strict=True)]
        ended: Iterator[tuple[int, T | SteadyreadError]] = side_by_side(_attempted, calls)
        answers: dict[int, T] = {}
        for at, answer in self.progress(ended, len(pieces), label) if len(pieces) > 1 else ended:
            self._ended(branches[at], answer)
            if not isinstance(answer, SteadyreadError):
                answers[at] = answer
        return [answers[at] for at in sorted(answers)]

    def _ended(self, branch: Branch, answer: object) -> None:
        """Why a data set failed, where that is the answer: written down, or said, and then everything stops."""
        if not isinstance(answer, SteadyreadError):
            return
        reason = " ".join(str(answer).split())
        if not self.keep_going or isinstance(answer, Partial | PlanDiffers):
            raise type(answer)(f"{branch.data}: {reason}") from answer
        self.failures[branch.name] = f"{branch.data}: {reason}"
        records.write_json(self.folder / branch.name / FAILED, {"reason": reason})
        self.branches = [other for other in self.branches if other.data != branch.data]


def _attempted(name: str, work: Callable[..., T], *of: Any) -> T | SteadyreadError:
    """What the work returns, in whatever process; of a data set with a name, why it failed."""
    try:
        return work(*of)
    except Partial:
        raise
    except SteadyreadError as problem:
        if not name:
            raise
        return problem
    except torch.OutOfMemoryError as problem:
        if not name:
            raise
        return InputRefused(f"no memory left on the device ({first_line(problem)}): take smaller batches")


def _unread(study: Study) -> None:
    """What can be refused before any image is read."""
    if study.noise is not None:
        noise_of(study)
    refuse_absent(study)


def _begun(branch: Branch, materials: Materials, progress: Progress) -> None:
    with taken_up(branch.folder):
        begin(branch.study, branch.folder, materials, Named(progress, branch.name) if branch.name else progress)


def _trained(job: Job, materials: Materials, progress: Progress) -> None:
    with locked(job.folder), redirect_stdout(sys.stderr):
        network_of(job.study, job.cell, materials.of(job.study, job.cell, progress), job.folder, progress)


def _reported(show_ids: bool, images: bool, branch: Branch, _: Materials, progress: Progress
              ) -> tuple[Judged, ...]:
    """The gates of a data set, whose page is written."""
    folder, seed = branch.folder, branch.study.seed
    if branch.repeat:      # told on the page of the first seed
        return ()
    with locked(folder):
        try:
            return keep_gates(branch)
        finally:
            at_work(progress, "writing the report", lambda: write_report(
                folder, seed, show_ids, images, painted=not branch.study.quick))


def _refuse_other(folder: Path, sets: Study) -> None:
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
