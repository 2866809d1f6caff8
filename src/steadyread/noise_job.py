"""One network of a study of CT noise, from its fold of the data to its records: trained, read, attacked, judged."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from steadyread import records, set_aside
from steadyread.assessment import Attack, assess, name_of
from steadyread.attacks.flip_probability import estimated, margins_under_noise
from steadyread.attacks.optimised_noise import GRADIENTS, Strength, optimised_ct_noise
from steadyread.attacks.random_noise import RandomCTNoise, sizes_at
from steadyread.cases import Cases, collate, limit
from steadyread.checks import silent
from steadyread.classifier import Classifier, prediction_of
from steadyread.files import CONVERGENCE, COUNTED, JOBS, NOISE_EXAMPLES
from steadyread.jobs.material import Material, gather
from steadyread.jobs.networks import classifier_of, placed
from steadyread.jobs.seeing import Look, write_seen
from steadyread.metrics.dose import flip_probability_at
from steadyread.progress import Progress, at_work, quiet
from steadyread.records import write_json
from steadyread.study import Settings, Study
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Batch

ORIGINAL = "original"
_FEW = 16                        # draws of the flip probability that is judged by counting
_TARGETS = (0.1, 0.3, 0.5, 0.7, 0.9)   # P(flip) that a pair's dose is chosen for, before it is counted
_NEAR = 0.1
_HARDER = 10                     # times the steps, in the search that judges whether more would find more
_SHOWN = 4                       # examples
_LOOKED_AT = 256                 # test images, to find them among


@dataclass(frozen=True)
class Job:
    """A variant of the study's network on one fold; `fold` is None without cross-validation."""

    variant: str = ORIGINAL
    fold: int | None = None

    def __str__(self) -> str:
        return self.variant if self.fold is None else f"{self.variant}, fold {self.fold}"

    def folder(self, run: Path) -> Path:
        """Where it writes."""
        return run / JOBS / self.variant / f"fold-{self.fold or 0}"

    def draws(self, study: Study) -> int:
        """The seed of its noise: another for every fold, the same for all variants, which are compared."""
        return study.seed + 1_000_003 * (self.fold or 0)

    def seed(self, study: Study) -> int:
        """Of its weights and its training: another for every network, so that they vary as trainings do."""
        told = f"{study.seed} {self.variant} {self.fold or 0}".encode()
        return int.from_bytes(hashlib.blake2b(told, digest_size=4).digest(), "big") >> 1


def jobs_of(study: Study) -> list[Job]:
    """The study's own network on every fold, then each variant's."""
    folds = range(study.split.folds) if study.split.folds else (None,)
    return [Job(variant, fold) for variant in (ORIGINAL, *study.variants) for fold in folds]


def material_of(study: Study, job: Job, progress: Progress = quiet) -> Material:
    """The cases of the job's fold, with the settings of its variant."""
    variant = study.variants.get(job.variant)
    if variant is None:
        return gather(study, job.fold, progress=progress)
    stated = variant.arguments if variant.arguments is not None else {"variant": job.variant}
    told: dict[str, Any] = {"arguments": study.model.arguments | stated}
    if variant.output is not None:
        told["output"] = variant.output
    own = study.model_copy(update={"model": study.model.model_copy(update=told)})
    return gather(own, job.fold, variant.labels, progress)


def carry_out_job(study: Study, job: Job, run: Path, progress: Progress = quiet) -> dict[str, Any]:
    """Everything of one network, into its own folder; what is there already is taken up. Returns which it was."""
    folder, noise = job.folder(run), noise_of(study)
    material = material_of(study, job, progress)
    classifier = network_of(study, job, material, run, progress)
    cases = part_by_part(material.assessed)
    table = assess(classifier, cases, attacks_of(study, job, noise), against="both", store=folder,
                   seed=job.draws(study), progress=progress)
    cases = set_aside.assessed(cases, table)
    set_aside.write_findings(folder, lambda: silent(table))
    if job.variant == ORIGINAL:
        test = cases.part("test")
        asked = study.ct_noise
        if asked.counted and not (folder / COUNTED).exists():
            pairs = at_work(progress, "counting flips", lambda: list(_counted(classifier, cases, table, study)))
            write_json(folder / COUNTED, {"draws": _FEW, "pairs": pairs})
        strengths: tuple[Strength, ...] = ("rings", "plausible")
        searched = [(strength, mas) for strength in strengths if strength in asked.test for mas in asked.mas]
        if asked.converged and searched and not (folder / CONVERGENCE).exists():
            write_json(folder / CONVERGENCE, at_work(progress, "searching ten times harder", lambda: converged(
                classifier, test, study, noise, searched)))
        if not (folder / NOISE_EXAMPLES).exists():
            records.write_npz(folder / NOISE_EXAMPLES, at_work(progress, "examples", lambda: _examples(
                classifier, test, study, noise)))
        if asked.seeing is not None:
            write_seen(classifier, test, Look(asked.seeing, noise, job.draws(study)), folder, progress)
    return {"variant": job.variant, "fold": job.fold}


def network_of(study: Study, job: Job, material: Material, run: Path, progress: Progress = quiet) -> Classifier:
    """The network of a job, trained or taken up from its folder."""
    found = classifier_of(material, job.folder(run), progress, job.seed(study))
    return placed(replace(found, name=job.variant), study)


def part_by_part(cases: Cases) -> Cases:
    """The cases sorted by part: [B]'s attack pools the images of a block, and those are of one part then."""
    return replace(cases, rows=tuple(sorted(cases.rows, key=lambda row: row.part)))


def noise_of(study: Study) -> CTNoise:
    """The noise that the study states."""
    asked = study.ct_noise
    spectrum = Spectrum.named(asked.spectrum, asked.reference_mas)
    return CTNoise(spectrum, spacing_mm=asked.spacing_mm, domain=asked.domain, mode=asked.mode)


def attacks_of(study: Study, job: Job, noise: CTNoise) -> dict[str, Sequence[Attack]]:
    """What is tried on each part of the job's cases."""
    asked = study.ct_noise
    stated = {"test": asked.test, "train": asked.train} if job.variant == ORIGINAL else {
        "test": asked.variants, "train": asked.variants}
    return attacks_stated(study, stated, noise)


def attacks_stated(study: Study, stated: Mapping[str, Mapping[str, Settings]], noise: CTNoise
                   ) -> dict[str, Sequence[Attack]]:
    """The attacks of each part, from their names and settings in the study."""
    return {part: [attack for name, settings in held.items() for attack in _made(name, settings, noise, study)]
            for part, held in stated.items()}


def _made(name: str, settings: Settings, noise: CTNoise, study: Study) -> Iterator[Attack]:
    asked = study.ct_noise
    rest = dict(settings)
    doses = asked.mas
    mas = tuple(float(dose) for dose in rest.pop("mas", doses))
    if name in ("random", "inflated"):
        yield RandomCTNoise(noise, mas, inflated=name == "inflated", **rest)
        return
    window = study.model.window or (study.model.bounds or (-1000.0, 400.0))
    for dose in mas:
        yield optimised_ct_noise(replace(noise, mas=dose), cast(Strength, name), window_hu=window, **rest)


def _counted(classifier: Classifier, cases: Cases, table: pa.Table, study: Study) -> Iterator[Mapping[str, Any]]:
    """Flip probabilities from 16 draws beside 1,000 counted ones, on pairs of image and dose where it is hard.

    Every pair has draws of its own, also where an image comes in several.
    """
    asked, noise = study.ct_noise, noise_of(study)
    pairs = _hard_pairs(cases, table, asked.pairs, study.seed)
    if not pairs:
        return
    batch = _batch(classifier, cases.pick([place for place, _ in pairs]))
    reference = prediction_of(classifier.examine(batch.images))
    sizes = torch.cat([sizes_at(noise, (dose,), batch.pick(torch.tensor([at])))
                       for at, (_, dose) in enumerate(pairs)])
    own = replace(batch, keys=tuple(f"{key} at {dose} mAs"
                                    for key, (_, dose) in zip(batch.keys, pairs, strict=True)))
    few = estimated(*margins_under_noise(classifier, own, reference, noise, sizes, _FEW, study.seed + 1))
    _, many = margins_under_noise(classifier, own, reference, noise, sizes, asked.counted, study.seed + 2)
    for at, (_, dose) in enumerate(pairs):
        yield {"case_id": batch.keys[at], "mas": dose, "counted_flips": int((many[at] < 0).sum()),
               "counted_trials": asked.counted, "few_flips": int(few.flips[at, 0]),
               "normal": bool(few.normal[at, 0]),
               **{name: float(getattr(few, name)[at, 0])
                  for name in ("probability", "low", "high", "drift", "jitter")}}


def _hard_pairs(cases: Cases, table: pa.Table, wanted: int, seed: int) -> list[tuple[int, float]]:
    """Places of cases, each with a dose at which the study's own draws put P(flip) near a target.

    As many images as there are before any comes twice. Doses lie within those of the study, to a tenth of a mAs.
    """
    read = table.select(["case_id", "attack", "against", "size", "drift", "jitter", "margin"]).to_pylist()
    rows = [row for row in read if row["against"] == "prediction"]
    clean = {row["case_id"]: row["margin"] for row in rows if row["attack"] == "clean"}
    found = {(row["case_id"], row["size"]): row for row in rows if row["attack"] == "random_ct_noise"}
    doses = sorted({dose for _, dose in found})
    if len(doses) < 2:
        return []
    places = [place for place, row in enumerate(cases.rows) if all((row.id, dose) in found for dose in doses)]
    names = [cases.rows[place].id for place in places]
    moments = ([[found[name, dose][which] for dose in doses] for name in names] for which in ("drift", "jitter"))
    tried = np.geomspace(doses[0], doses[-1], 200)
    chances = np.nan_to_num(flip_probability_at(tried, [clean[name] for name in names], doses, *moments), nan=-1)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(places))
    pairs = []
    for turn in range(len(_TARGETS)):
        for count, at in enumerate(order):
            target = _TARGETS[(turn + count) % len(_TARGETS)]
            nearest = int(np.abs(chances[at] - target).argmin())
            if abs(chances[at, nearest] - target) < _NEAR:
                pairs.append((places[at], round(float(tried[nearest]), 1)))
    return list(dict.fromkeys(pairs))[:wanted]


def converged(classifier: Classifier, test: Cases, study: Study, noise: CTNoise,
              searched: Sequence[tuple[Strength, float]]) -> dict[str, Any]:
    """Whether ten times the gradients find more flips, for each kind of optimised noise at a dose."""
    asked = study.ct_noise
    chosen = limit(test, max(min(asked.converged, len(test)), len(test.classes)), study.seed)
    batch = _batch(classifier, chosen)
    reference = prediction_of(classifier.examine(batch.images))
    rows = []
    for strength, dose in searched:
        attacks = [optimised_ct_noise(replace(noise, mas=dose), strength, steps=steps)
                   for steps in (GRADIENTS, _HARDER * GRADIENTS)]
        found, more = (one(classifier, batch, reference, study.seed).columns() for one in attacks)
        flips, flips_more = found["flips"] > 0, more["flips"] > 0
        rows.append({"attack": f"{strength}_ct_noise", "mas": dose, "images": len(batch),
                     "gradients": float(found["backwards"].max()), "flips": int(flips.sum()),
                     "gradients_more": float(more["backwards"].max()), "flips_more": int(flips_more.sum()),
                     "either": int((flips | flips_more).sum()), "case_ids": list(batch.keys),
                     "found": flips.int().tolist(), "found_more": flips_more.int().tolist()})
    return {"rows": rows}


def _examples(classifier: Classifier, test: Cases, study: Study, noise: CTNoise) -> dict[str, np.ndarray]:
    """Clean and noisy images, those that the weakest noise flips first."""
    asked = study.ct_noise
    kind = next((name for name in ("plausible", "rings") if name in asked.test), "random")
    shown: list[dict[str, Any]] = []
    for dose in sorted(asked.mas, reverse=True):
        taken = {one["case_id"] for one in shown}
        left = [at for at, row in enumerate(test.rows) if row.id not in taken]
        if len(shown) >= _SHOWN or not left:
            break
        attack = next(_made(kind, {"mas": [dose]} | ({"draws": 1} if kind == "random" else {}), noise, study))
        shown += _flipped(classifier, test.pick(left[:_LOOKED_AT]), attack, dose, study.seed)
    shown = shown[:_SHOWN]
    return {name: np.array([one[name] for one in shown]) for name in (
        "clean", "noisy", "case_id", "label", "mas", "attack", "clean_probability", "noisy_probability")}


def _flipped(classifier: Classifier, cases: Cases, attack: Any, dose: float, seed: int) -> list[dict[str, Any]]:
    """What stands in the examples of each image that the attack flips."""
    batch = _batch(classifier, cases)
    logits = classifier.examine(batch.images)
    outcome = attack(classifier, batch, prediction_of(logits), seed)
    found = outcome[0] if isinstance(outcome, tuple) else outcome
    columns = found.columns()
    clean, noisy = (classifier.probabilities(each)[:, 1].tolist() for each in (logits, columns["logits"]))
    return [{"clean": batch.images[at, 0].cpu().numpy(), "noisy": found.images[at, 0].cpu().numpy(),
             "case_id": cases.rows[at].id, "label": int(cases.rows[at].label or 0), "mas": dose,
             "attack": name_of(attack), "clean_probability": clean[at], "noisy_probability": noisy[at]}
            for at in (columns["flips"] > 0).nonzero()[:, 0].tolist()]


def _batch(classifier: Classifier, cases: Cases) -> Batch:
    batch, _ = collate([cases[place] for place in range(len(cases))], cases.bounds)
    return classifier.batch(batch)
