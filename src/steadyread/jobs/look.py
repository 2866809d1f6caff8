"""What is looked at beside the records: pictures, further scores, counted flips, longer searches, attention."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from steadyread import records
from steadyread.assessment import name_of
from steadyread.attacks.flip_probability import estimated, margins_under_noise
from steadyread.attacks.optimised_noise import GRADIENTS, Strength, optimised_ct_noise
from steadyread.attacks.random_noise import sizes_at
from steadyread.cases import Cases, collate, limit
from steadyread.classifier import Classifier, prediction_of
from steadyread.files import ATTACKED, CONVERGENCE, COUNTED, EXAMPLES, IMAGES, NOISE_EXAMPLES
from steadyread.jobs.attacks import made, noise_of, pixel_attacks
from steadyread.jobs.examples import write_attacked, write_examples
from steadyread.jobs.image_noise import write_image_noise
from steadyread.jobs.material import Material
from steadyread.jobs.networks import members_of
from steadyread.jobs.pictures import picture_flips, picture_redraws, shown_cases
from steadyread.jobs.plan import Job, attack_seed, training_seed
from steadyread.jobs.scores import write_scores
from steadyread.jobs.seeing import Look, write_seen
from steadyread.metrics.dose import flip_probability_at
from steadyread.progress import Progress, at_work
from steadyread.study import Study
from steadyread.training.fit import TrainingSettings
from steadyread.types import Batch

_FEW = 16                        # draws of the flip probability that is judged by counting
_TARGETS = (0.1, 0.3, 0.5, 0.7, 0.9)   # P(flip) that a pair's dose is chosen for, before it is counted
_NEAR = 0.1
_HARDER = 10                     # times the steps, in the search that judges whether more would find more
_SHOWN = 4                       # examples
_LOOKED_AT = 256                 # test images, to find them among
_SEARCHED: tuple[Strength, ...] = ("rings", "plausible")
Searched = Sequence[tuple[Strength, float]]


@dataclass(frozen=True, eq=False)
class Assessed:
    """A network of a job with what was assessed: where it writes (a round of a hardening below the job's folder), its
    images, the cases that are in the records, and the records."""

    job: Job
    folder: Path
    material: Material
    classifier: Classifier
    cases: Cases
    table: pa.Table

    @property
    def test(self) -> Cases:
        """The cases for testing."""
        return self.cases.part("test")


def look_at_pixels(assessed: Assessed, progress: Progress) -> None:
    """How large the images are, their noise, pictures of attacks, and further scores of how steady each read is."""
    job, study, classifier = assessed.job, assessed.material.study, assessed.classifier
    folder = assessed.folder
    rows = tuple(row for row in assessed.cases.rows if row.part != "train")
    cases = replace(assessed.cases, rows=rows)
    if not (folder / IMAGES).exists():
        records.write_json(folder / IMAGES, {"size": list(cases[0].image.shape[1:])})
    at_work(progress, "noise in the images", lambda: write_image_noise(classifier, assessed.test, folder, study.seed))
    if not (folder / EXAMPLES).exists():
        write_examples(classifier, assessed.test, assessed.table, folder, study.seed, study.quick)
    if not study.quick and not (folder / ATTACKED).exists():      # takes as long as the flips of several images
        write_attacked(classifier, assessed.test, assessed.table, folder, study.seed)
    at_work(progress, "walking to the flips", lambda: picture_flips(
        classifier, shown_cases(assessed.cases, assessed.table), pixel_attacks(study, assessed.cases.bounds)["test"],
        folder, attack_seed(job.study, job.cell), study.quick))
    members = members_of(assessed.material, folder, training_seed(job.study, job.cell), progress)
    at_work(progress, "further scores", lambda: write_scores(
        classifier, cases, folder, augmentation=TrainingSettings(**(study.training or {})),
        views=study.triage.views, members=members, seed=study.seed))


def look_at_noise(assessed: Assessed, progress: Progress) -> None:
    """Flips that are counted, searches that go on for longer, examples, and what the network sees."""
    study, folder, classifier = assessed.job.study, assessed.folder, assessed.classifier
    asked = study.ct_noise
    if asked.counted and not (folder / COUNTED).exists():
        pairs = at_work(progress, "counting flips", lambda: list(_counted(assessed)))
        records.write_json(folder / COUNTED, {"draws": _FEW, "pairs": pairs})
    look_longer(assessed, [(strength, mas) for strength in _SEARCHED if strength in asked.test for mas in asked.mas],
                progress)
    if not (folder / NOISE_EXAMPLES).exists():
        records.write_npz(folder / NOISE_EXAMPLES, at_work(progress, "examples", partial(
            _examples, classifier, assessed.test, study)))
    shown = shown_cases(assessed.cases, assessed.table, dose=True)
    at_work(progress, "noise at each dose", lambda: picture_redraws(
        classifier, shown, noise_of(study), asked.mas, folder, attack_seed(study, assessed.job.cell)))
    if asked.seeing is not None:
        look = Look(asked.seeing, noise_of(study), attack_seed(study, assessed.job.cell))
        write_seen(classifier, assessed.test, look, folder, progress)


def look_longer(assessed: Assessed, searched: Searched, progress: Progress) -> None:
    """Whether ten times the gradients find more flips, for each kind of optimised noise at a dose."""
    path = assessed.folder / CONVERGENCE
    if assessed.job.study.ct_noise.converged and searched and not path.exists():
        rows = at_work(progress, "searching ten times harder", lambda: list(_converged(assessed, searched)))
        records.write_json(path, {"rows": rows})


def _converged(assessed: Assessed, searched: Searched) -> Iterator[dict[str, Any]]:
    study, test, classifier = assessed.job.study, assessed.test, assessed.classifier
    chosen = limit(test, max(min(study.ct_noise.converged, len(test)), len(test.classes)), study.seed)
    batch = _batch(classifier, chosen)
    reference = prediction_of(classifier.examine(batch.images))
    for strength, dose in searched:
        attacks = [optimised_ct_noise(replace(noise_of(study), mas=dose), strength, steps=steps)
                   for steps in (GRADIENTS, _HARDER * GRADIENTS)]
        found, more = (attack(classifier, batch, reference, study.seed).columns() for attack in attacks)
        flips, flips_more = found["flips"] > 0, more["flips"] > 0
        yield {"attack": f"{strength}_ct_noise", "mas": dose, "images": len(batch),
               "gradients": float(found["backwards"].max()), "flips": int(flips.sum()),
               "gradients_more": float(more["backwards"].max()), "flips_more": int(flips_more.sum()),
               "either": int((flips | flips_more).sum()), "case_ids": list(batch.keys),
               "found": flips.int().tolist(), "found_more": flips_more.int().tolist()}


def _counted(assessed: Assessed) -> Iterator[Mapping[str, Any]]:
    """Flip probabilities from 16 draws beside 1,000 counted ones, on pairs of image and dose where it is hard.

    Every pair has draws of its own, also where an image comes in several.
    """
    study, cases, classifier = assessed.job.study, assessed.cases, assessed.classifier
    asked, noise = study.ct_noise, noise_of(study)
    pairs = _hard_pairs(cases, assessed.table, asked.pairs, study.seed)
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


def _examples(classifier: Classifier, test: Cases, study: Study) -> dict[str, np.ndarray]:
    """Clean and noisy images, those that the weakest noise flips first."""
    asked = study.ct_noise
    kind = next((name for name in ("plausible", "rings") if name in asked.test), "random")
    shown: list[dict[str, Any]] = []
    for dose in sorted(asked.mas, reverse=True):
        taken = {one["case_id"] for one in shown}
        left = [at for at, row in enumerate(test.rows) if row.id not in taken]
        if len(shown) >= _SHOWN or not left:
            break
        settings = {"mas": [dose]} | ({"draws": 1} if kind == "random" else {})
        attack = next(made(kind, settings, noise_of(study), study))
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
