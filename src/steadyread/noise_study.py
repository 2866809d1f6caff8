"""A study of CT noise carried out: every variant and fold an independent job that resumes, then one report."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steadyread import records
from steadyread.cases import Cases, audit, collate
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.files import FINDINGS, JOBS, SPECTRUM
from steadyread.findings import Finding
from steadyread.jobs.folder import settle
from steadyread.jobs.material import Material
from steadyread.jobs.networks import fitting, taught_findings, untrained
from steadyread.jobs.seeing import Look, refuse_unseeable
from steadyread.metrics.noise_summary import nearest_to_stated
from steadyread.models.loading import load_classifier_module
from steadyread.noise_hardening import (
    HardeningJob,
    carry_out_hardening_job,
    hardening_jobs,
    refuse_unfit_hardening,
)
from steadyread.noise_job import Job, carry_out_job, jobs_of, material_of, noise_of
from steadyread.progress import Named, Progress, at_work, lines, quiet
from steadyread.report import write_report as write_noise_report
from steadyread.report.shareable import write_cases
from steadyread.study import Study
from steadyread.threats import CTNoise
from steadyread.threats.spectrum import SpectrumWarning, ThicknessWarning
from steadyread.types import Batch
from steadyread.workers import side_by_side, workers_for

_MEASURED = 64   # images whose sigma under the noise stands for all


def carry_out_noise(study: Study, folder: Path, progress: Progress = quiet, show_ids: bool = False) -> Path:
    """Every network of the study trained and assessed under CT noise, and the report over all of them.

    Jobs run side by side, one process each, as many as there are threads (one after another on a GPU). Finished
    jobs are kept: the same study in the same folder goes on where it was stopped.

    Raises:
        UsageError, InputRefused: a setting, the data or the model is not as stated.
        PlanDiffers: the folder holds another study.
        Partial: the disk is full; what was finished is kept.
    """
    jobs, noise = jobs_of(study), noise_of(study)
    _, first = fitting(study, progress)
    _refuse_unfit(study, first, noise)
    material = material_of(study, jobs[0], progress)
    _refuse_doses(study, material.ready, noise)
    refuse_unfit_hardening(study, material)
    if study.model.weights is not None:     # with them all is assessed, also once a hardening is added
        settle(folder, study.model_copy(update={"split": first.study.split}))
    else:
        settle(folder, study)
    at_work(progress, "looking at images and noise", lambda: _write_facts(folder, study, material, noise))
    for _ in progress(_finished(_job, study, jobs, folder, progress), len(jobs), "networks"):
        pass
    # first those whose cost the others are given
    for several in hardening_jobs(study):
        for _ in progress(_finished(_hardening, study, several, folder, progress), len(several), "hardenings"):
            pass
    return at_work(progress, "writing the report", lambda: write_noise_report(folder, study.seed, show_ids))


def _finished(work: Callable[..., Any], study: Study, jobs: Sequence[Any], folder: Path, progress: Progress
              ) -> Iterator[Any]:
    told = lines if progress is not quiet and workers_for(len(jobs)) > 1 else progress
    for _, done in side_by_side(work, [(study, job, folder, Named(told, str(job))) for job in jobs]):
        yield done


def _job(study: Study, job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    with _told_once():
        return carry_out_job(study, job, folder, progress)


def _hardening(study: Study, job: HardeningJob, folder: Path, progress: Progress) -> str:
    with _told_once():
        return carry_out_hardening_job(study, job, folder, progress)


@contextmanager
def _told_once() -> Iterator[None]:
    """What the grid does not hold of the spectrum is said once, as a finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectrumWarning)
        yield


def _refuse_unfit(study: Study, material: Material, noise: CTNoise) -> None:
    """What a job would stumble over after its training, said before any: images, networks, what is compared."""
    ready, asked = material.ready, study.ct_noise
    if ready.bounds.unit != "HU":
        raise InputRefused(f"CT noise is in HU, and the images of {material.raw.name} are not said to be: are "
                           "they? Then read them with a layout that says so (lidc, lidc-3d)")
    model = material.study.model
    for name, variant in study.variants.items():
        stated = variant.arguments if variant.arguments is not None else {"variant": name}
        load_classifier_module(model.name, None, **(model.arguments | stated))
    _refuse_unseen_variants(study)
    if asked.seeing is not None:
        refuse_unseeable(untrained(material, study.seed), ready, Look(asked.seeing, noise))


def _refuse_doses(study: Study, ready: Cases, noise: CTNoise) -> None:
    """Doses and attacks that the images leave no room for."""
    asked = study.ct_noise
    tried = [(attack, settings) for held in (asked.test, asked.train, asked.variants)
             for attack, settings in held.items()]
    batch = _hardest(ready)
    for dose in sorted({dose for _, settings in tried for dose in settings.get("mas", asked.mas)}):
        noise.size_of(dose, batch)
    if any(attack not in ("random", "inflated") for attack, _ in tried):
        list(noise.allowed(batch))


def _refuse_unseen_variants(study: Study) -> None:
    """Variants are compared at one dose: the one nearest to 100 mAs that the study's own network sees."""
    asked = study.ct_noise
    if not study.variants or "random" not in asked.test:
        return
    own, theirs = (held.get("random", {}).get("mas", asked.mas) for held in (asked.test, asked.variants))
    stated = nearest_to_stated(own)
    if "random" not in asked.variants or stated not in theirs:
        raise UsageError(f"variants are compared under random noise at {stated:g} mAs: state noise.variants.random "
                         "with that dose among its mas, or leave the variants out")


def _hardest(cases: Cases) -> Batch:
    """The case whose own dose leaves least room, as a batch: the one that `simulate` would refuse first."""
    known = [row.scan_mas if row.scan_mas is not None else 0.0 for row in cases.rows]
    batch, _ = collate([cases[known.index(min(known))]], cases.bounds)
    return batch


def _write_facts(folder: Path, study: Study, material: Material, noise: CTNoise) -> None:
    """What the report needs of the data and the noise beside the records.

    Raises:
        PlanDiffers: the folder's jobs were begun with another spectrum.
    """
    asked, spectrum = study.ct_noise, noise.spectrum
    some = [material.ready[place] for place in range(min(len(material.ready), _MEASURED))]
    batch, _ = collate(some, material.ready.bounds)
    told: dict[str, Any] = {
        "name": spectrum.name, "provenance": spectrum.provenance, "reference_mas": spectrum.reference_mas,
        "peak_per_mm": spectrum.peak_per_mm, "mean_per_mm": spectrum.mean_per_mm,
        "frequency_per_mm": list(spectrum.frequency_per_mm), "power_hu2_mm2": list(spectrum.power_hu2_mm2),
        "sigma_hu": {f"{mas:g}": float(noise.image_sigma_hu(mas, batch).median()) for mas in asked.mas},
        "domain": noise.domain, "mode": noise.mode,
        "grid_mm": asked.spacing_mm or (some[0].spacing_mm or (1.0,))[-1]}
    if noise.domain == "native":
        told["sigma_native_hu"] = {f"{mas:g}": float(noise.size_of(mas, batch).median()) for mas in asked.mas}
    begun = (folder / SPECTRUM).exists() and (folder / JOBS).exists()
    if begun and records.read_json(folder / SPECTRUM)["power_hu2_mm2"] != told["power_hu2_mm2"]:
        raise PlanDiffers(f"{folder} was begun with another spectrum under the name '{spectrum.name}'")
    records.write_json(folder / SPECTRUM, told)
    found = [*_cut_off(noise, batch), *_other_thickness(noise, material.ready),
             *taught_findings(material, material.ready), *audit(material.raw, material.ready)]
    records.write_json(folder / FINDINGS, [one.as_json() for one in found])
    write_cases(folder, material.raw.rows)


def _cut_off(noise: CTNoise, batch: Batch) -> Iterator[Finding]:
    """What the images' grid does not hold of the spectrum, as a finding."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        noise.start(batch.pick(torch.tensor([0])), torch.ones(1), 0, 0)
    for one in caught:
        if issubclass(one.category, SpectrumWarning) and one.category is not ThicknessWarning:
            yield Finding("spectrum beyond the grid", "warning", str(one.message))


def _other_thickness(noise: CTNoise, cases: Cases) -> Iterator[Finding]:
    """Whether the spectrum was measured on slices as thick as the study's, as a finding: the slices on which noise
    is drawn, or in 2D those that the tables state."""
    known = [thickness for thickness in (_thickness(noise, cases, place) for place in range(len(cases)))
             if thickness is not None]
    told = noise.spectrum.other_thickness(float(np.median(known))) if known else None
    if told is not None:
        yield Finding("slice thickness", "warning", told, float(np.median(known)))


def _thickness(noise: CTNoise, cases: Cases, place: int) -> float | None:
    row = cases.rows[place]
    if noise.domain == "grid" and row.spacing_mm is not None and len(row.spacing_mm) > 2:
        return row.spacing_mm[-3]
    for name in ("slice_thickness_mm", "slice_spacing_mm"):
        try:
            stated = float(str(row.extras.get(name, "")))
        except ValueError:
            continue
        if 0 < stated < math.inf:
            return stated
    return None
