"""One job: its images, its network trained or taken up or hardened, assessed, checked, looked at, into its folder."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from steadyread import records, set_aside
from steadyread.assessment import Against, assess
from steadyread.cases import Cases, audit
from steadyread.checks import judged, silent, united
from steadyread.classifier import Classifier
from steadyread.files import EXAMPLES, ROUND, SETTINGS
from steadyread.findings import Finding
from steadyread.folder_lock import locked
from steadyread.jobs.attacks import ByPart, Corrected, attacks_on, cases_on, corrected, judged_of
from steadyread.jobs.examples import write_examples
from steadyread.jobs.harden import failed, hardened, taught_size
from steadyread.jobs.look import Assessed, look_at_noise, look_at_pixels, look_longer
from steadyread.jobs.material import Listed, Material, attacked_cases, gather
from steadyread.jobs.networks import Fitting, classifier_of, placed, write_network_file
from steadyread.jobs.plan import Job, attack_seed, hardening_of, training_seed
from steadyread.jobs.preflight import findings_before
from steadyread.jobs.quick import tell_time
from steadyread.metrics.reads import ORIGINAL
from steadyread.progress import Progress, quiet
from steadyread.store import Cell
from steadyread.study import NoiseHardening, Study
from steadyread.threats.spectrum import SpectrumWarning


@dataclass(eq=False)
class Materials:
    """The images that were gathered last, which the next job in this process may need again; a copy in another
    process begins with none. `fitted` is what a first look has listed and loaded already."""

    fitted: Fitting | None = None
    held: tuple[Study, Cell, Material] | None = None

    def of(self, study: Study, cell: Cell, progress: Progress = quiet, known: Listed | None = None) -> Material:
        """The cases of a cell's fold, with the settings of its variant; `known` is the data set as it is listed."""
        if self.held is None or self.held[0] is not study or self.held[1] != cell.begun:
            self.held = (study, cell.begun, material_of(study, cell, progress, known))
        return self.held[2]

    def __reduce__(self) -> tuple[type["Materials"], tuple[()]]:
        return Materials, ()


def material_of(study: Study, cell: Cell, progress: Progress = quiet, known: Listed | None = None) -> Material:
    """The cases of a cell's fold, with the settings of its variant."""
    variant = study.variants.get(cell.network)
    return gather(study_of(study, cell), cell.fold, variant.labels if variant else "class", progress,
                  None if variant else known)


def study_of(study: Study, cell: Cell) -> Study:
    """The study of a cell's network alone: one finding of several, or with the settings of its variant."""
    variant = study.variants.get(cell.network)
    if variant is None:
        return study.of(cell.network)
    stated = variant.arguments if variant.arguments is not None else {"variant": cell.network}
    told: dict[str, Any] = {"arguments": study.model.arguments | stated}
    if variant.output is not None:
        told["output"] = variant.output
    return study.model_copy(update={"model": study.model.model_copy(update=told)})


def network_of(study: Study, cell: Cell, material: Material, folder: Path, progress: Progress = quiet) -> Classifier:
    """The plain network of a cell, trained or taken up from its `folder`, where it works."""
    found = classifier_of(material, folder, progress, training_seed(study, cell))
    return placed(found if study.alone or study.model.findings else replace(found, name=cell.network), study)


def carry_out_job(job: Job, materials: Materials, progress: Progress = quiet) -> None:
    """Everything of one cell, into its own folder; what is there already is taken up. What the user's code prints
    goes to stderr."""
    with locked(job.folder), redirect_stdout(sys.stderr), _told_once(job.study):
        material = materials.of(job.study, job.cell, progress)
        plain = network_of(job.study, job.cell, material, job.folder_of(job.cell.begun), progress)
        if job.cell.hardened:
            _carry_out_hardened(job, material, plain, progress)
            return
        if job.branch.repeat:
            _assessed(job, job.folder, material, plain, attacks_on(job.study, job.cell, material), progress)
            return
        before = (findings_before(material, plain, job.folder, progress, len(job.study.networks))
                  if job.study.alone or material.study.model.weights is not None else [])
        assessed = _assessed(job, job.folder, material, plain, attacks_on(job.study, job.cell, material), progress)
        set_aside.write_findings(job.folder, lambda: [
            *united(before, _of_network(assessed, progress)),
            *(findings_of_images(material, progress) if job.study.alone or job.study.model.findings else ())])
        if job.cell.network not in job.study.variants and job.study.linf:
            look_at_pixels(assessed, progress)
        if job.cell.network == ORIGINAL and job.study.noise is not None:
            look_at_noise(assessed, progress)


@contextmanager
def _told_once(study: Study) -> Iterator[None]:
    """What the grid does not hold of the spectrum is said once, as a finding."""
    if study.noise is None:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectrumWarning)
        yield


def _assessed(job: Job, folder: Path, material: Material, classifier: Classifier, attacks: ByPart,
              progress: Progress) -> Assessed:
    """The records of a network of a job. Those hardened against noise, and what they are compared with, are judged by
    other draws than those by which the plain network was."""
    study, cell = job.study, job.cell
    asked = hardening_of(study, cell) if cell.hardened else None
    compared = asked is not None and not asked.main
    against: Against = "both" if study.noise is not None else "label" if compared else study.attacks.against
    seed = attack_seed(study, cell) + (1 if asked is not None and asked.under == "noise.hardening" else 0)
    write_network_file(material, folder)
    cases = cases_on(study, cell, material, [part for part, several in attacks.items() if several])
    if not study.quick and not records.has_records(folder):
        tell_time(classifier, cases, attacks, progress)
    table = assess(classifier, cases, attacks, against=against, store=folder, seed=seed, progress=progress)
    return Assessed(job, folder, material, classifier, set_aside.assessed(cases, table), table)


def _carry_out_hardened(job: Job, material: Material, plain: Classifier, progress: Progress) -> None:
    """A hardened network judged, and before it the networks of its rounds."""
    study, cell, asked = job.study, job.cell, hardening_of(job.study, job.cell)
    beside_own = asked.under == "hardening" and not asked.main
    epsilon = taught_size(job) if beside_own else None
    if beside_own and epsilon is None:
        return     # the study's own hardening came to nothing, and there is nothing to compare with
    found = hardened(job, material, plain, progress)
    if found is None:
        return
    if asked.main and study.alone:
        records.write_json(job.folder / SETTINGS, material.study.model_dump(mode="json") | {
            "name": f"{study.name}, hardened"})
    attacks = attacks_on(study, cell, material, found.epsilon if asked.main else epsilon)
    if found.corrections:
        attacks = corrected(attacks, found.corrections)
    for number, network in enumerate(found.rounds, start=1):
        _judged(job, job.folder / f"{ROUND}-{number}", material, network, attacks, progress)
    last = _judged(job, job.folder, material, found.classifier, attacks, progress)
    if asked.main and study.linf and not job.branch.repeat and not (job.folder / EXAMPLES).exists():
        write_examples(last.classifier, last.test, last.table, job.folder, study.seed)


def _judged(job: Job, folder: Path, material: Material, classifier: Classifier, attacks: ByPart, progress: Progress
            ) -> Assessed:
    """A hardened network with its records, its findings and, under noise, a longer search."""
    assessed = _assessed(job, folder, material, classifier, attacks, progress)
    if job.branch.repeat:
        return assessed
    set_aside.write_findings(folder, lambda: [
        *failed(folder, job.study, job.cell), *_of_network(assessed, progress),
        *(audit(material.raw, material.ready) if material.taught and job.study.alone and
          hardening_of(job.study, job.cell).main else ())])
    if job.study.noise is not None and not isinstance(next(iter(attacks["test"]), None), Corrected):
        own = job.study.noise.hardening or NoiseHardening()
        named = own.whole.get(job.cell.stage, own)
        if "rings" in judged_of(job.study, job.cell).test:
            look_longer(assessed, [("rings", named.judged_mas)], progress)
    return assessed


def _of_network(assessed: Assessed, progress: Progress) -> Iterator[Finding]:
    """Whether the assessment is to be believed: what the checks say, or where only noise was tried, whether the
    network is silent."""
    if "Linf" in pc.unique(assessed.table["threat"]).to_pylist():
        study = assessed.material.study
        yield from judged(assessed.classifier, assessed.test, assessed.table, study.seed, progress, study.quick)
    else:
        yield from silent(assessed.table)


def findings_of_images(material: Material, progress: Progress = quiet, drawn: bool = True) -> Iterator[Finding]:
    """What there is to say of the images: the parts by class and what is not `drawn` of them, and the audit."""
    yield from _drawn(material, attacked_cases(material)) if drawn else ()
    yield from audit(material.raw, material.ready, progress)


def _told(cases: Cases, part: str) -> str:
    patients = len({row.patient for row in cases.rows})
    counts = ", ".join(f"{count} {name}" for name, count in cases.counts().items())
    of = f" of {patients} patients" if cases.patients_known else ""
    return f"{part}: {len(cases)} images{of} ({counts})"


def _drawn(material: Material, attacked: Cases) -> Iterator[Finding]:
    """The parts by class; and what the figures leave out: images not drawn, test images not attacked."""
    yield Finding("parts", "note", "; ".join(_told(material.ready.part(part), part)
                                             for part in ("train", "validation", "test")))
    used, test = len(material.raw) + len(material.raw.unread), len(material.ready.part("test"))
    tested = len(attacked.part("test"))
    if used < material.whole:
        yield Finding("drawn images", "note", f"{used} of {material.whole} images are used, sampled by class", used)
    if tested < test:
        yield Finding("attacked images", "note", f"{tested} of {test} test images are attacked, sampled by class; "
                      "every figure speaks of these", tested)
