"""Carrying a study out: from settings to a run's folder with records, findings, examples and report.

Every step leaves a file that is written whole, and the same study in the same folder goes on where it was
stopped: a trained model and finished blocks of records are taken up, another study is refused.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyread import records, set_aside
from steadyread.assessment import Attack, assess
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.attacks.stated import stated_attacks
from steadyread.cases import Cases, audit, glance, noise_level, open_cases, split
from steadyread.checks import judged
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.files import ATTACKED, EXAMPLES, FINDINGS, IMAGES, MODEL, SETTINGS, SUMMARY, TRAINING
from steadyread.findings import Finding
from steadyread.gates import Judged, broken_checks, gate, judge, judge_noise
from steadyread.hardening import carry_out_hardening, refuse_unfit
from steadyread.jobs.examples import write_attacked, write_examples
from steadyread.jobs.folder import in_its_folder, settle, taken_up
from steadyread.jobs.material import Material, attacked_cases, gather, refuse_unnamed
from steadyread.jobs.networks import classifier_of, fitting, members_of, placed, taught_findings
from steadyread.jobs.scores import write_scores
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.intervals import clopper_pearson
from steadyread.names import folder_name
from steadyread.noise_study import carry_out_noise
from steadyread.progress import Progress, at_work, quiet
from steadyread.report import write_report
from steadyread.report.shareable import write_cases
from steadyread.study import Study, laid_over
from steadyread.study.reading import checked, reread
from steadyread.study.sections import refuse_ignored
from steadyread.training.fit import TrainingSettings
from steadyread.units import Bounds, show_size, size_in_native
from steadyread.words.numbers import counted


@dataclass(frozen=True)
class Done:
    """A finished run: its folder, what `summary.json` holds, the report, and the gates with what came of them."""

    folder: Path
    report: Path
    summary: dict[str, Any]
    gates: tuple[Judged, ...]
    set_aside: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `summary.json` holds, with the paths, the gates, and what was set aside."""
        gates = [{"gate": str(one.gate), "value": one.value, "passed": one.passed, "message": one.message}
                 for one in self.gates]
        return self.summary | {"folder": str(self.folder), "report": str(self.report), "gates": gates,
                               "set_aside": list(self.set_aside)}

    @property
    def failed(self) -> tuple[Judged, ...]:
        """The gates that were not met."""
        return tuple(judged for judged in self.gates if not judged.passed)


@dataclass(frozen=True, eq=False)
class Begun:
    """A study of which everything was checked and nothing is done: its folder, its cases, its attacks by part."""

    folder: Path
    material: Material
    attacks: dict[str, Sequence[Attack]]


def carry_out(study: Study, out: str | Path | None = None, progress: Progress = quiet, overwrite: bool = False,
              show_ids: bool = False) -> Done:
    """The whole study: data, model (trained unless weights are given), assessment, checks, report. One with a
    [noise] section is carried out over all its folds and variants.

    Args:
        out: the run's folder. If None it is `runs/<name of the study>`; where that holds another study, `-2`, `-3`
            and so on are added to the name.
        overwrite: another study in the folder is kept as `<folder>.old-1`, and this one begins anew.
        show_ids: the report names cases, patients and folders as they are. Not for sharing.

    Raises:
        UsageError, InputRefused: a setting, the data or the model is not as stated, or another process works in
            the folder.
        PlanDiffers: `out` holds another study.
        Partial: the disk is full; what was finished is kept.
    """
    return in_its_folder(lambda folder: _carried_out(study, folder, progress, show_ids), (study,), study.name, out,
                         overwrite)


def _carried_out(study: Study, folder: Path, progress: Progress, show_ids: bool) -> Done:
    refuse_ignored(study)
    if study.noise is not None:
        report = carry_out_noise(study, folder, progress, show_ids)
        summary = records.read_json(folder / SUMMARY)
        gates = (judge_noise(gate(text), summary) for text in study.gates.fail_below)
        return _done(folder, report, summary, gates)
    return finish(begin(study, folder, progress), progress, show_ids)


def harden_run(folder: str | Path, above: Sequence[Mapping[str, Any]], progress: Progress = quiet,
               show_ids: bool = False) -> Done:
    """The study of a run's folder carried out again with a hardening added: the rest is taken up as it is.

    Args:
        above: settings laid over the run's own, those of `hardening` above all.
        show_ids: as `carry_out` has it.

    Raises:
        InputRefused: no run there, or one that was stopped before its study was written.
        PlanDiffers: the run was hardened otherwise already.
    """
    folder = Path(folder)
    if not (folder / SETTINGS).is_file():
        raise InputRefused(f"{folder} is no run: it has no {SETTINGS}. Give the folder that a run has written")
    try:
        with taken_up(folder):
            return _carried_out(_with_hardening(folder, above), folder, progress, show_ids)
    except PlanDiffers as problem:
        raise PlanDiffers(f"{problem}. A run is hardened in one way: repeat it, or compare with another method or "
                          "size, --set 'hardening.compare.NAME={method=\"trades\"}'") from problem


def _with_hardening(folder: Path, above: Sequence[Mapping[str, Any]]) -> Study:
    """The study of a run's folder with further settings laid over it."""
    stated = records.read_object(folder / SETTINGS) or {}
    if "sets" in stated:
        raise InputRefused(f"{folder} holds runs of several data sets: give the folder of one of them, such as "
                           f"{folder / next(iter(stated['sets']))}")
    if stated.get("training") is not None and any("train" in settings.get("data", {}) for settings in above):
        raise UsageError(f"--data: the run {folder} was trained on images of its own, and is hardened with those: "
                         "leave it out")
    refuse_unnamed(stated, folder, next((settings["model"].get("name") for settings in reversed(above)
                                         if "model" in settings), None))
    under_noise = stated.get("noise") is not None
    for settings in above:
        if under_noise and "hardening" in settings:   # against the noise that the run is about
            settings = laid_over({key: value for key, value in settings.items() if key != "hardening"},
                                 {"noise": {"hardening": settings["hardening"]}})
        stated = laid_over(stated, settings)
    return (reread if under_noise else checked)(stated, str(folder / SETTINGS))


def begin(study: Study, folder: Path, progress: Progress = quiet) -> Begun:
    """Everything that can be refused before any training: settings, data, units, network, the folder's own run."""
    known, first = fitting(study, progress)
    attacks = attacks_of(first.study, first.ready.bounds)
    material = gather(study, progress=progress, known=known)
    refuse_unfit(material)
    settle(folder, material.study)
    return Begun(folder, material, attacks)


def finish(begun: Begun, progress: Progress = quiet, show_ids: bool = False) -> Done:
    """What was begun, to its end: network, assessment, checks, further scores, hardening, report."""
    folder, material, study = begun.folder, begun.material, begun.material.study
    classifier = placed(classifier_of(material, folder, progress), study)
    attacked = attacked_cases(material)
    table = assess(classifier, attacked, begun.attacks, against=study.attacks.against, store=folder,
                   seed=study.seed, progress=progress)
    attacked = set_aside.assessed(attacked, table)
    _write_findings(folder, material, classifier, (attacked, table), progress)
    _write_further(folder, material, classifier, (attacked, table), progress)
    write_cases(folder, material.raw.rows)
    carry_out_hardening(material, classifier, begun.attacks, folder, progress, show_ids)
    report = at_work(progress, "writing the report", lambda: write_report(folder, study.seed, show_ids))
    return _done(folder, report, records.read_json(folder / SUMMARY),
                 judged_gates(study.gates.fail_below, table, folder, study.seed))


def _done(folder: Path, report: Path, summary: dict[str, Any], gates: Iterable[Judged]) -> Done:
    """A finished run; where cases are set aside its gates say how many images they stand on."""
    aside, on = set_aside.said(folder), ""
    if aside:
        images = summary["images"] if "images" in summary else summary["parts"][summary["part"]]["cases"]
        on = f". It stands on {counted(images, 'image')}; others are set aside"
    return Done(folder, report, summary, tuple(replace(one, message=f"{one.message}{on}") for one in gates), aside)


def train(study: Study, out: str | Path | None = None, progress: Progress = quiet, overwrite: bool = False
          ) -> dict[str, Any]:
    """The study up to its trained model: what `training.json` holds, and the path of the weights.

    `out` and `overwrite` are those of `carry_out`.

    Raises:
        InputRefused: weights are given, so there is nothing to train.
    """
    if study.noise is not None:
        raise UsageError("a study of CT noise trains its networks, fold by fold, when it is carried out: "
                         "`steadyread run` does that; `train` is for studies without [noise]")
    if study.model.weights is not None:
        raise InputRefused("there is nothing to train: the study states weights; leave model.weights out")
    plain = study.model_copy(update={"hardening": None})

    def work(folder: Path) -> dict[str, Any]:
        material = begin(plain, folder, progress).material
        classifier_of(material, folder, progress)
        return {**records.read_json(folder / TRAINING), "weights": str(folder / MODEL),
                "synthetic": material.raw.synthetic}

    return in_its_folder(work, (plain,), study.name, out, overwrite)


def audit_data(path: str | Path, layout: str | None = None, seed: int = 0, out: str | Path | None = None,
               exclude: Sequence[str] = (), progress: Progress = quiet) -> dict[str, Any]:
    """The audit of a data set's raw rows as plain values, written to findings.json in `out` (runs/audit-<name>).

    `refused` says what `--strict` refuses: "" where no finding is an error and no file is missing. `exclude` are
    patterns of files to leave out.
    """
    cases = open_cases(path, layout, every_row=True, **({"exclude": tuple(exclude)} if exclude else {}))
    seen = glance(cases, progress)
    found = audit(split(cases, seed, seen=seen), progress=progress, seen=seen)
    errors = [one.check for one in found if one.severity == "error"]
    missing = f"{len(cases.missing)} rows have no file, the first: {cases.missing[0]}" if cases.missing else ""
    folder = Path(out) if out is not None else Path("runs") / f"audit-{folder_name(Path(path).resolve().stem)}"
    plain = [one.as_json() for one in found]
    records.write_json(folder / FINDINGS, plain)
    return {"data": cases.name, "images": len(cases), "findings": plain, "file": str(folder / FINDINGS),
            "refused": missing or (f"errors: {', '.join(errors)}" if errors else "")}


def attacks_of(study: Study, bounds: Bounds) -> dict[str, Sequence[Attack]]:
    """The study's attacks by part, in native units. Validation images only serve the threshold of triage."""
    stated = study.attacks
    fixed: list[Attack] = []
    sizes = _sizes(stated.epsilons or (), bounds)
    for name in stated.use:
        fixed += stated_attacks(name, stated.settings.get(name, {}), sizes, stated.loss)
    flip: list[Attack] = []
    if stated.smallest_flip:
        flip = [smallest_flip if stated.largest is None else
                partial(smallest_flip, largest=size_in_native(stated.largest, bounds))]
    for text in study.gates.fail_below:
        size = gate(text).at
        if size is not None:
            size_in_native(size, bounds)
    return {"validation": flip, "test": [*fixed, *flip]}


def _sizes(texts: Sequence[str], bounds: Bounds) -> list[float]:
    """The sizes in native units, each of them once."""
    sizes: dict[float, str] = {}
    for text in texts:
        size = size_in_native(text, bounds)
        other = next((other for known, other in sizes.items() if math.isclose(known, size, rel_tol=1e-6)), None)
        if other is not None:
            raise UsageError(f"attacks.epsilons: '{other}' and '{text}' are one size, {show_size(size, bounds)}: "
                             "state each size once")
        sizes[size] = text
    return list(sizes)


def judged_gates(stated: Sequence[str], table: pa.Table, folder: Path, seed: int) -> Iterator[Judged]:
    """Every gate against the records of a run. No robustness is passed that the checks do not believe."""
    if not stated:
        return
    plan = {"study": records.read_json(folder / SETTINGS), **records.read_json(folder / records.PLAN)}
    broken = broken_checks(records.read_json(folder / FINDINGS), table)
    for text in stated:
        judged = judge(gate(text), table, plan, seed)
        if judged.passed and broken and judged.gate.metric == "robust_accuracy":
            judged = replace(judged, passed=False, message=f"{judged.message} But this is not to be believed while "
                             f"these checks fail: {', '.join(broken)}")
        yield judged


def _write_findings(folder: Path, material: Material, classifier: Classifier, assessed: tuple[Cases, pa.Table],
                    progress: Progress) -> None:
    attacked, table = assessed
    seed = material.study.seed
    set_aside.write_findings(folder, lambda: [
        *judged(classifier, attacked.part("test"), table, seed, progress),
        *_worse_than_chance(table, material.ready.classes), *taught_findings(material, attacked),
        *_drawn(material, attacked_cases(material)), *audit(material.raw, material.ready, progress)])


def _write_further(folder: Path, material: Material, classifier: Classifier, assessed: tuple[Cases, pa.Table],
                   progress: Progress) -> None:
    """What else stands beside the records: how noisy the images are, pictures, referral scores."""
    study, (attacked, table) = material.study, assessed
    if not (folder / IMAGES).exists() and attacked[0].image.ndim == 3:
        records.write_json(folder / IMAGES, noise_level(attacked))
    for name, write in ((EXAMPLES, write_examples), (ATTACKED, write_attacked)):
        if not (folder / name).exists():
            write(classifier, attacked.part("test"), table, folder, study.seed)
    augmentation = TrainingSettings(**(study.training or {}))
    members = members_of(material, folder, progress)
    at_work(progress, "further scores", lambda: write_scores(
        classifier, attacked, folder, augmentation=augmentation, views=study.triage.views, members=members,
        seed=study.seed))


def _told(cases: Cases, part: str) -> str:
    patients = len({row.patient for row in cases.rows})
    counts = ", ".join(f"{count} {name}" for name, count in cases.counts().items())
    of = f" of {patients} patients" if cases.patients_known else ""
    return f"{part}: {len(cases)} images{of} ({counts})"


def _worse_than_chance(table: pa.Table, classes: Sequence[str]) -> Iterator[Finding]:
    """A network far below chance has most likely another order of classes than the data."""
    reads = reads_of(table, "test")
    right, made = int(reads.correct.sum()), int((reads.prediction >= 0).sum())
    if made and clopper_pearson(right, made)[1] < 1 / len(classes):
        order = ", ".join(f"{place} is {name}" for place, name in enumerate(classes))
        yield Finding("worse than chance", "error", f"{right} of {made} test images are read right, fewer "
                      f"than by chance. Does the network have the classes in the order of the data ({order})?",
                      right / made)


def _drawn(material: Material, attacked: Cases) -> Iterator[Finding]:
    """The parts by class; and what the figures leave out: images not drawn, test images not attacked."""
    yield Finding("parts", "note", "; ".join(_told(material.ready.part(part), part)
                                             for part in ("train", "validation", "test")))
    used, test = len(material.raw) + len(material.raw.unread), len(material.ready.part("test"))
    tested = len(attacked.part("test"))
    if used < material.whole:
        yield Finding("drawn images", "note", f"{used} of {material.whole} images are used, drawn by class", used)
    if tested < test:
        yield Finding("attacked images", "note", f"{tested} of {test} test images are attacked, drawn by class; "
                      "every figure speaks of these", tested)
