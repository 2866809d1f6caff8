"""Everything that a noise study's report prints, from its records and stored files alone (summary.json)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from steadyread._version import __version__
from steadyread.findings import merged
from steadyread.metrics import noise, noise_classes, plausibility
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.counting import convergence, counted_pairs
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.dose_fall import (
    Moments,
    added_and_effective,
    critical_doses,
    dose_fall,
    expected_share,
    moments_of,
    own_dose_fall,
)
from steadyread.metrics.drift import dose_laws, drift_rows
from steadyread.metrics.plan import class_names, section
from steadyread.metrics.reads import ORIGINAL, PARTS, RANDOM, Reads, columns_of
from steadyread.metrics.subgroups import COPIES, CRITICAL_LEVEL, subgroups

STATED_MAS = 100.0
FRAGILE = 20
SIMULATE = "simulate"     # the mode in which only the difference to the scan's own noise is inserted
# The audit's findings that stand beside every AUC of a network, in words.
GIVEAWAYS = {"padding tells the label": "Padding of the image", "copies tell the label": "Slices that are copies",
             "diameter tells the label": "Diameter of the nodule"}


@dataclass(frozen=True, eq=False)
class NoiseJob:
    """The stored files of one network: a variant on one fold. What was not stored is None."""

    variant: str
    fold: int
    plan: Mapping[str, Any]
    table: pa.Table
    findings: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Any] | None = None
    counted: Mapping[str, Any] | None = None
    convergence: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class NoiseStudy:
    """The stored files of a study: its settings, the spectrum, a row a case, the audit, and every network."""

    settings: Mapping[str, Any]
    spectrum: Mapping[str, Any] | None
    cases: Sequence[Mapping[str, Any]]
    findings: Sequence[Mapping[str, Any]]
    jobs: Sequence[NoiseJob]


def networks_by_variant(jobs: Iterable[NoiseJob]) -> dict[str, Reads]:
    """The networks of each variant in the order of [B] Table 3, the original first, others after it by name."""
    tables: dict[str, dict[int, pa.Table]] = {}
    for job in jobs:
        tables.setdefault(job.variant, {})[job.fold] = job.table
    names = sorted(tables, key=lambda name: (name != ORIGINAL, name))
    return {name: reads_of(tables[name], variant=name) for name in names}


def summarise_noise(study: NoiseStudy, networks: Mapping[str, Reads], seed: int = 0) -> dict[str, Any]:
    """The summary of a noise study: `Estimate`s inside, plain values by `summary.as_json`.

    The first variant (the original) is judged, on its test part where there is one.
    """
    variants = list(networks.values())
    main, part = variants[0], variants[0].judged
    jobs = [job for job in study.jobs if job.variant == main.variant]
    plan, moments, mas = jobs[0].plan, moments_of(main, part), stated_mas(main)
    columns = columns_of(study.cases, main.case_id)
    patients = dict(zip(main.case_id.tolist(), main.patient.tolist(), strict=True))
    told: dict[str, Any] = {
        "steadyread": __version__, "name": study.settings.get("name"), "scale": study.settings.get("scale"),
        "variant": main.variant, "variants": list(networks), "folds": list(main.folds), "part": part,
        "beside": study.settings.get("beside"),
        "doses": main.doses() or sorted({dose for _, dose in main.under}), "stated_mas": mas,
        "attacks": main.noises, "classes": class_names(plan, main.logits.shape[2]),
        "data": {"name": "", "patients_known": False} | dict(section(plan, "data")),
        "model": {"name": ""} | dict(section(plan, "model")),
        "synthetic": bool(section(plan, "data").get("synthetic")), "parts": _parts(main),
        "spectrum": study.spectrum, "findings": _findings(study),
        "giveaways": {name: _value_of(study.findings, name) for name in GIVEAWAYS},
        "classification": noise_classes.classification(main, seed),
        "without_copies": noise_classes.without_copies(main, part, columns.get(COPIES), seed)}
    told |= _attacked(main, part, (study.spectrum or {}).get("sigma_hu") or {}, seed) | _dosed(
        main, part, moments, (study.spectrum or {}).get("mode") == SIMULATE, seed)
    told |= {
        "counted": counted_pairs({job.fold: job.counted for job in jobs if job.counted}, patients),
        "convergence": convergence({job.fold: job.convergence for job in jobs if job.convergence}, patients),
        "subgroups": subgroups(main, part, mas, columns, moments, seed)
        if mas is not None else None,
        "table_3": noise_classes.variant_rows(variants, mas, seed) if mas is not None else [],
        "variant_drift": _variant_drift(variants, mas, seed),
        "fragile": _fragile(main, part, moments, mas), "samples": noise.sample_flips(main, part),
        "provenance": {key: plan.get(key) for key in ("seed", "block", "versions", "attacks")}
        | {"settings": dict(study.settings), "networks": _trained(study.jobs)}}
    return told


def stated_mas(networks: Reads) -> float | None:
    """The dose at which tables without a dose of their own speak: 100 mAs ([B] Table 3), else the nearest to it."""
    doses = networks.doses() or [mas for _, mas in networks.under]
    return nearest_to_stated(doses) if doses else None


def nearest_to_stated(doses: Iterable[float]) -> float:
    """The dose nearest to 100 mAs, on a logarithmic scale."""
    return nearest_dose(doses, STATED_MAS)


def _attacked(main: Reads, part: str, nominal_hu: Mapping[str, float], seed: int) -> dict[str, Any]:
    """Random and optimised noise: SAN and SAR, the parts of the gap, plausibility."""
    rows = noise.attack_rows(main, seed)
    trials = {row["trials"] or row["most_trials"] for row in rows if row["attack"] == RANDOM}
    most = max(trials, default=0)
    smaller = [draws for draws in (1, 5, 10, 20) if draws < most]
    return {"rows": rows, "trials": most, "zero_allows": noise.zero_allows(most) if most else None,
            "within": [{"mas": dose, "san": {str(draws): noise.san_within(main, dose, part, draws, seed=seed)
                                             for draws in smaller}} for dose in main.doses()],
            "decomposition": plausibility.decomposition(main, part, seed),
            "plausibility": plausibility.plausibility_rows(main, part, None, nominal_hu)}


def _dosed(main: Reads, part: str, moments: Moments | None, simulated: bool, seed: int) -> dict[str, Any]:
    """Drift, jitter, and how far the dose could fall; a `simulated` dose is what the scan then has."""
    told: dict[str, Any] = {"drift": drift_rows(main, part, seed), "laws": dose_laws(main, part, seed),
                            "effective": [] if simulated else added_and_effective(main, part, moments)}
    if moments is None:
        return told | {"dose_fall": None, "own_dose_fall": None, "critical": [], "expected": []}
    return told | {"dose_fall": dose_fall(moments, seed), "own_dose_fall": own_dose_fall(moments, simulated, seed),
                   "critical": critical_doses(moments, seed),
                   "expected": [{"mas": dose, "share": expected_share(moments, float(dose), seed)}
                                for dose in moments.doses]}


def _variant_drift(variants: Sequence[Reads], mas: float | None, seed: int) -> list[dict[str, Any]]:
    """Drift and jitter of every variant by predicted class, at the stated dose."""
    return [{"variant": networks.variant, **row} for networks in variants
            for row in drift_rows(networks, networks.judged, seed) if row["mas"] == mas
            and networks.logits.shape[2] == 2]


def _fragile(main: Reads, part: str, moments: Moments | None, mas: float | None) -> list[dict[str, Any]]:
    """The cases whose reads one draw changes most often: expected at the stated dose, mean over the folds."""
    if moments is None or mas is None:
        return []
    chance = moments.probability(np.array([mas]))[:, :, 0]
    critical = moments.critical(CRITICAL_LEVEL)
    under = noise.inside(main, RANDOM, mas, part)
    known = np.isfinite(chance)
    mean = np.divide(np.where(known, chance, 0).sum(1), known.sum(1), out=np.full(len(main), -1.0),
                     where=known.any(1))
    ranked = [at for at in np.argsort(-mean, kind="stable") if mean[at] > 0][:FRAGILE]
    return [{"case_id": str(main.case_id[at]), "patient_id": str(main.patient[at]), "label": int(main.label[at]),
             "predictions": [int(one) for one in main.prediction[at][known[at]]], "chance": float(mean[at]),
             "critical": _middle(critical[at][known[at]]),
             "flips": [] if under is None else [int(one) for one in under.flips[at][known[at]] if one == one],
             "trials": 0 if under is None else int(np.nanmax(under.trials))} for at in ranked]


def _parts(main: Reads) -> dict[str, dict[str, int]]:
    return {part: {"cases": int(there.any(1).sum()), "patients": len(np.unique(main.patient[there.any(1)]))}
            for part in PARTS if (there := main.inside(part)).any()}


def _findings(study: NoiseStudy) -> list[dict[str, Any]]:
    """The audit's findings, then those of the networks: the same one of several networks once, with their names."""
    return merged([("", study.findings), *((f"{job.variant}, fold {job.fold}", job.findings) for job in study.jobs)])


def _value_of(findings: Sequence[Mapping[str, Any]], check: str) -> float | None:
    value = next((one.get("value") for one in findings if one.get("check") == check), None)
    return float(value) if isinstance(value, int | float) else None


def _trained(jobs: Sequence[NoiseJob]) -> list[dict[str, Any]]:
    """Each network's training and weights, for the provenance."""
    return [{"variant": job.variant, "fold": job.fold, "sha256": section(job.plan, "model").get("sha256"),
             "parameters": section(job.plan, "model").get("parameters"),
             "chosen_epoch": (job.training or {}).get("chosen_epoch"),
             "epochs": len((job.training or {}).get("epochs", ())), "seconds": (job.training or {}).get("seconds")}
            for job in jobs]


def _middle(doses: NDArray[np.float64]) -> float:
    """The middle one, the lower of two: a mean would mix a dose with "below all" (0) or "above all" (inf)."""
    return float(np.sort(doses)[(len(doses) - 1) // 2])
