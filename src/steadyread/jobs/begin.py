"""What is settled before any training: everything that can be refused, whose folder it is, what the report needs."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steadyread import records
from steadyread.cases import Cases, collate
from steadyread.cases.labels import refuse_unlabelled
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.files import FINDINGS, JOBS, SPECTRUM
from steadyread.findings import Finding
from steadyread.jobs.attacks import noise_of, noise_tried, pixel_attacks
from steadyread.jobs.folder import settle
from steadyread.jobs.harden import typed_sizes
from steadyread.jobs.job import Materials, findings_of_images
from steadyread.jobs.labelled import left_out
from steadyread.jobs.material import Material, attacked_cases, refuse_untaught
from steadyread.jobs.networks import fitting, untrained, write_network_file
from steadyread.jobs.plan import cells_of, hardenings_of
from steadyread.jobs.seeing import Look, refuse_unseeable
from steadyread.metrics.noise_summary import nearest_to_stated
from steadyread.models.loading import load_classifier_module
from steadyread.progress import Progress, at_work, note, quiet
from steadyread.report.shareable import write_cases
from steadyread.study import Hardening, NoiseHardening, Study
from steadyread.threats import CTNoise
from steadyread.threats.spectrum import SpectrumWarning, ThicknessWarning
from steadyread.types import Batch
from steadyread.units import size_in_native
from steadyread.words.numbers import counted

_MEASURED = 64   # images whose sigma under the noise stands for all


def begin(study: Study, folder: Path, materials: Materials, progress: Progress = quiet) -> None:
    """Everything of a study of one data set that can be refused before any training: settings, data, units, networks,
    the folder's own run. Then what stands beside all of its networks: settings, cases, spectrum, findings.

    Raises:
        UsageError, InputRefused: a setting, the data or a network is not as stated.
        PlanDiffers: the folder holds another study.
    """
    noise = noise_of(study) if study.noise is not None else None
    cell = cells_of(study)[0][0]
    fitted = materials.fitted or fitting(study.of(cell.network), progress)
    known, first = fitted.known, fitted.first
    refuse_unlabelled(known.raw, study.model.assessed, study.model.findings)
    if study.linf:
        pixel_attacks(first.study, first.ready.bounds)
    if noise is not None:
        _refuse_unfit_noise(study, first, noise)
    _refuse_unfit_variants(study, first)
    material = materials.of(study, cell, progress, known)
    if noise is not None:
        _refuse_doses(study, material.ready, noise)
    _refuse_unfit_hardening(study, material)
    if noise is None:
        settle(folder, _of_all_findings(study, material.study, study.model.only))
    elif study.model.weights is not None:     # with them all is assessed, also once a hardening is added
        settle(folder, study.model_copy(update={"split": first.study.split}))
    else:
        settle(folder, study)
    if noise is not None:
        at_work(progress, "looking at images and noise", lambda: _write_spectrum(folder, study, material, noise))
    _write_findings(folder, study, material, noise, known.raw)
    write_cases(folder, known.raw.rows if study.model.findings else material.raw.rows)
    if study.model.findings:      # each of them has a file of its own beside its records
        write_network_file(replace(material, study=_of_all_findings(study, material.study, ())), folder)


def _of_all_findings(asked: Study, whole: Study, only: tuple[str, ...]) -> Study:
    """A study with everything filled in, of the findings that are `only` assessed; of all where there are none."""
    own = {"only": only, "threshold": asked.model.threshold}
    return whole.model_copy(update={"model": whole.model.model_copy(update=own)}) if asked.model.findings else whole


def _searches(study: Study, material: Material) -> str:
    """What several findings cost: each is a search of its own on every image."""
    count, images = len(study.networks), len(attacked_cases(material))
    return (f"{counted(count, 'finding')}, each searched on its own, on about {counted(images, 'image')}: "
            f"{count * images:,} smallest flips in all. model.only takes some of them, attacks.limit fewer images")


def _refuse_unfit_noise(study: Study, material: Material, noise: CTNoise) -> None:
    """Images that are not in HU, and a look at what cannot be seen."""
    if material.ready.bounds.unit != "HU":
        raise InputRefused(f"CT noise is in HU, and the images of {material.raw.name} are not said to be: are "
                           "they? Then read them with a layout that says so (lidc, lidc-3d)")
    seeing = study.ct_noise.seeing
    if seeing is not None:
        refuse_unseeable(untrained(material, study.seed), material.ready, Look(seeing, noise))


def _refuse_unfit_variants(study: Study, material: Material) -> None:
    """Variants that cannot be made, and those under noise that are not compared at one dose: the one nearest to
    100 mAs that the study's own network sees."""
    model = material.study.model
    for name, variant in study.variants.items():
        stated = variant.arguments if variant.arguments is not None else {"variant": name}
        load_classifier_module(model.name, None, **(model.arguments | stated))
    if study.noise is None or not study.variants or "random" not in study.noise.test:
        return
    own, theirs = (tried.get("random", {}).get("mas", study.noise.mas)
                   for tried in (study.noise.test, study.noise.variants))
    dose = nearest_to_stated(own)
    if "random" not in study.noise.variants or dose not in theirs:
        raise UsageError(f"variants are compared under random noise at {dose:g} mAs: state noise.variants.random "
                         "with that dose among its mas, or leave the variants out")


def _refuse_doses(study: Study, ready: Cases, noise: CTNoise) -> None:
    """Doses and attacks that the images leave no room for."""
    asked = study.ct_noise
    tried = [(attack, settings) for attacks in (asked.test, asked.train, asked.variants)
             for attack, settings in attacks.items()]
    batch = _hardest(ready)
    for dose in sorted({dose for _, settings in tried for dose in settings.get("mas", asked.mas)}):
        noise.size_of(dose, batch)
    if any(attack not in ("random", "inflated") for attack, _ in tried):
        list(noise.allowed(batch))


def _hardest(cases: Cases) -> Batch:
    """The case whose own dose leaves least room, as a batch: the one that `simulate` would refuse first."""
    known = [row.scan_mas if row.scan_mas is not None else 0.0 for row in cases.rows]
    batch, _ = collate([cases[known.index(min(known))]], cases.bounds)
    return batch


def _refuse_unfit_hardening(study: Study, material: Material) -> None:
    """What a hardening would stumble over after the training: an unknown variant, a size in another unit, optimised
    noise where noise is only drawn, no images to learn from."""
    hardenings = list(hardenings_of(study))
    for cell, asked in hardenings:
        if isinstance(asked.how, Hardening):
            typed_sizes(asked.how, material.ready.bounds)
        else:
            _refuse_unfit_noise_hardening(study, material, asked.name, asked.how)
        drawn = {"random", "inflated"} >= set().union(*map(set, noise_tried(study, cell).values())) if (
            study.noise is not None) else True
        if not drawn and study.ct_noise.domain == "native" and isinstance(asked.how, Hardening):
            raise UsageError(f"hardening '{asked.name}': hardened networks are judged by optimised noise, which is "
                             "searched on the images' own grid, and the study's domain is 'native': state "
                             "noise.hardening.judged.test with random noise alone, or domain grid")
    if hardenings:
        refuse_untaught(material)


def _refuse_unfit_noise_hardening(study: Study, material: Material, name: str, asked: NoiseHardening) -> None:
    if asked.variant not in ("original", *study.variants):
        raise UsageError(f"noise.hardening '{name}': no variant '{asked.variant}' in this study; it has original"
                         + "".join(f", {known}" for known in study.variants))
    if asked.method == "pgd" and asked.epsilon != "auto":
        size_in_native(asked.epsilon, material.ready.bounds)
    if study.ct_noise.domain == "native" and asked.method not in ("drift", "none"):
        raise UsageError(f"noise.hardening '{name}': epochs are chosen by optimised noise, which is searched "
                         "on the images' own grid, and the study's domain is 'native': use method drift, or "
                         "domain grid")
    if asked.method == "drift" and len(material.ready.classes) != 2:
        raise UsageError(f"noise.hardening '{name}': a drift correction is of networks of two classes; these "
                         f"have {len(material.ready.classes)}")


def _write_spectrum(folder: Path, study: Study, material: Material, noise: CTNoise) -> None:
    """What the report needs of the noise beside the records.

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


def _write_findings(folder: Path, study: Study, material: Material, noise: CTNoise | None, raw: Cases) -> None:
    """What there is to say of the images and the noise, whichever the network; of several findings each has its own
    labels and says that itself, but for those that are left out."""
    if study.alone:
        return
    if study.model.findings:
        left = left_out(raw, study.model.findings, study.model.assessed)
        records.write_json(folder / FINDINGS, [finding.as_json() for finding in left])
        note(_searches(study, material))
        return
    found = [*(() if noise is None else (*cut_off(noise, material.ready), *other_thickness(noise, material.ready))),
             *findings_of_images(material, drawn=study.linf or study.attacks.limit is not None)]
    records.write_json(folder / FINDINGS, [finding.as_json() for finding in found])


def cut_off(noise: CTNoise, cases: Cases) -> Iterator[Finding]:
    """What the images' grid does not hold of the spectrum, as a finding."""
    batch, _ = collate([cases[0]], cases.bounds)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        noise.start(batch, torch.ones(1), 0, 0)
    for one in caught:
        if issubclass(one.category, SpectrumWarning) and one.category is not ThicknessWarning:
            yield Finding("spectrum beyond the grid", "warning", str(one.message))


def other_thickness(noise: CTNoise, cases: Cases) -> Iterator[Finding]:
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
