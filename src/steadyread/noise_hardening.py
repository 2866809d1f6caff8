"""The networks of a noise study hardened against its noise, each judged by the same noise as it was before."""

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from steadyread import records, set_aside
from steadyread.assessment import Attack, assess, model_digest, name_of
from steadyread.attacks.optimised_noise import Strength
from steadyread.attacks.random_noise import RandomCTNoise
from steadyread.checks import silent
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import InputRefused, PlanDiffers, TrainingFailed, UsageError
from steadyread.files import CHECKPOINT, CONVERGENCE, HARDENED, MODEL, ROUND, TRAINING
from steadyread.jobs.material import Material, refuse_untaught
from steadyread.jobs.networks import card_of, device_of
from steadyread.models.loading import read_state, save_weights, trained_state
from steadyread.noise_job import (
    Job,
    attacks_stated,
    converged,
    material_of,
    network_of,
    noise_of,
    part_by_part,
)
from steadyread.progress import Progress, at_work, quiet
from steadyread.study import NoiseHardening, Study
from steadyread.study.noise_hardening import BEFORE
from steadyread.training.checkpoint import remove_checkpoint
from steadyread.training.drift import DriftCorrection, fit_drift
from steadyread.training.epsilon import useful_epsilons
from steadyread.training.fit import TrainingSettings
from steadyread.training.noise_harden import NoiseHardened, harden_under_noise
from steadyread.training.noise_settings import NoiseHardeningSettings
from steadyread.types import Batch, Labels
from steadyread.units import size_in_native


@dataclass(frozen=True)
class HardeningJob:
    """One hardening of a study on one fold: `before` is the network as it is, `main` the study's own hardening."""

    name: str
    fold: int | None = None
    main: bool = False

    def __str__(self) -> str:
        return f"hardening {self.name}" if self.fold is None else f"hardening {self.name}, fold {self.fold}"

    def folder(self, run: Path) -> Path:
        """Where it writes."""
        return run / HARDENED / self.name / f"fold-{self.fold or 0}"


def hardening_jobs(study: Study) -> tuple[list[HardeningJob], list[HardeningJob]]:
    """Those that are independent, and those whose cost is that of the study's own hardening, which come after."""
    asked = study.ct_noise.hardening
    if asked is None:
        return [], []
    folds: Sequence[int | None] = range(study.split.folds) if study.split.folds else (None,)
    own = [HardeningJob(asked.method, fold, True) for fold in folds]
    before = [HardeningJob(BEFORE, fold) for fold in folds]
    return own + before, [HardeningJob(name, fold) for name in asked.compare for fold in folds]


def refuse_unfit_hardening(study: Study, material: Material) -> None:
    """What a hardening would stumble over, said before any training.

    Raises:
        UsageError: an unknown variant, a size in another unit, optimised noise where noise is only drawn.
    """
    asked = study.ct_noise.hardening
    if asked is None:
        return
    for name, one in asked.whole.items():
        _refuse_one(study, material, name, one)
    refuse_untaught(material)


def _refuse_one(study: Study, material: Material, name: str, one: NoiseHardening) -> None:
    if one.variant not in ("original", *study.variants):
        raise UsageError(f"noise.hardening '{name}': no variant '{one.variant}' in this study; it has original"
                         + "".join(f", {known}" for known in study.variants))
    if one.method == "pgd" and one.epsilon != "auto":
        size_in_native(one.epsilon, material.ready.bounds)
    if study.ct_noise.domain == "native" and one.method not in ("drift", "none"):
        raise UsageError(f"noise.hardening '{name}': epochs are chosen by optimised noise, which is searched "
                         "on the images' own grid, and the study's domain is 'native': use method drift, or "
                         "domain grid")
    if one.method == "drift" and len(material.ready.classes) != 2:
        raise UsageError(f"noise.hardening '{name}': a drift correction is of networks of two classes; these "
                         f"have {len(material.ready.classes)}")


def carry_out_hardening_job(study: Study, job: HardeningJob, run: Path, progress: Progress = quiet) -> str:
    """One hardening into its folder, judged; what is there already is taken up. Returns its name."""
    asked = study.ct_noise.hardening
    if asked is None:
        raise UsageError("the study has no noise.hardening; state one")
    own = asked.whole.get(job.name, asked.model_copy(update={"method": "none", "variant": "original"}))
    base = Job(own.variant, job.fold)
    material = material_of(study, base, progress)
    classifier = network_of(study, base, material, run, progress)
    noise, folder, draws = noise_of(study), job.folder(run), base.draws(study)
    attacks = attacks_stated(study, {"test": own.judged.test, "train": own.judged.train}, noise)
    harder: tuple[Strength, float] | None = (
        ("rings", own.judged_mas) if study.ct_noise.converged and "rings" in own.judged.test else None)
    judging = _Judging(material, study, attacks, harder, draws + 1, progress)   # other draws than the study's own
    if own.method == "none":
        judging.judge(classifier, folder)
    elif own.method == "drift":
        corrections = _corrections(study, own, material, classifier, folder)
        judging.with_attacks(corrections).judge(replace(classifier, stage="hardened"), folder)
    else:
        hardened = _tried(study, own, (material, classifier), job, run, progress)
        if hardened is None:
            return job.name
        if job.main:
            for number, network in enumerate(hardened.rounds[:-1], start=1):
                judging.judge(network, folder / f"{ROUND}-{number}")
        judging.judge(hardened.classifier, folder)
    return job.name


@dataclass(frozen=True, eq=False)
class _Judging:
    """By what hardened networks are judged; `harder` is the noise that is searched ten times as long besides."""

    material: Material
    study: Study
    attacks: dict[str, Sequence[Attack]]
    harder: tuple[Strength, float] | None
    seed: int
    progress: Progress

    def judge(self, classifier: Classifier, folder: Path) -> None:
        """Records and findings of one network."""
        cases = part_by_part(self.material.ready)
        parts = {part for part, held in self.attacks.items() if held} | {"test"}
        cases = replace(cases, rows=tuple(row for row in cases.rows if row.part in parts))
        table = assess(classifier, cases, self.attacks, against="both", store=folder, seed=self.seed,
                       progress=self.progress)
        cases = set_aside.assessed(cases, table)
        set_aside.write_findings(folder, lambda: silent(table))
        if self.harder is not None and not (folder / CONVERGENCE).exists():
            harder = [self.harder]
            records.write_json(folder / CONVERGENCE, at_work(self.progress, "searching ten times harder", lambda: (
                converged(classifier, cases.part("test"), self.study, noise_of(self.study), harder))))

    def with_attacks(self, corrections: Sequence[DriftCorrection]) -> "_Judging":
        """The same attacks, each against the network as corrected for its dose."""
        known = {one.mas: one for one in corrections}
        attacks: dict[str, Sequence[Attack]] = {
            part: [Corrected(one, known[_dose(one)]) for attack in held for one in _one_dose_each(attack)]
            for part, held in self.attacks.items()}
        return replace(self, attacks=attacks, harder=None)


@dataclass(frozen=True)
class Corrected:
    """An attack at one dose against the network whose drift is corrected for that dose.

    The reference is the read of the clean image, to which no noise was added and nothing is corrected.
    """

    attack: Any
    correction: DriftCorrection

    @property
    def name(self) -> str:
        """As it stands in the records."""
        return name_of(self.attack)

    @property
    def size(self) -> Any:
        """The dose."""
        return self.attack.size

    @property
    def threat(self) -> Any:
        """What the attack may do."""
        return self.attack.threat

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> Any:
        found = self.attack(self.correction.corrected(classifier), batch, reference, seed)
        if not isinstance(self.attack, RandomCTNoise):
            return found
        with classifier.frozen(), torch.no_grad():    # drift is told from the margin that was not corrected
            clean = margin_of(classifier.logits(batch.images), reference)
        return tuple(replace(one, clean=clean) for one in found)


def _one_dose_each(attack: Any) -> Iterator[Any]:
    """An attack of several doses as one of each; its draws are common to the doses, and stay what they are."""
    if isinstance(attack, RandomCTNoise):
        yield from (replace(attack, mas=(mas,)) for mas in attack.mas)
    else:
        yield attack


def _dose(attack: Any) -> float:
    return float(attack.size[0] if isinstance(attack.size, tuple) else attack.size)


def _tried(study: Study, own: NoiseHardening, begin: tuple[Material, Classifier], job: HardeningJob, run: Path,
           progress: Progress) -> NoiseHardened | None:
    """The hardened network; None where the training came to nothing, which is written down as a failure of this
    hardening and not of the study. Anything else that goes wrong is no result, and is raised."""
    try:
        return _hardened(study, own, begin, job, run, progress)
    except TrainingFailed as problem:
        folder = job.folder(run)
        for left in folder.glob(f"{ROUND}-*/{CHECKPOINT}"):
            remove_checkpoint(left)     # from there it would come to nothing again
        records.write_json(folder / TRAINING, {"name": job.name, "method": own.method, "variant": own.variant,
                                               "passes": 0, "budget": None, "rounds": [], "failed": str(problem)})
        return None


def _hardened(study: Study, own: NoiseHardening, begin: tuple[Material, Classifier], job: HardeningJob, run: Path,
              progress: Progress) -> NoiseHardened:
    """The hardened network and those of its rounds, trained here or taken up."""
    (material, classifier), folder = begin, job.folder(run)
    budget = None if job.main or own.epochs is not None else _spent(study, job, run)
    asked = own.model_dump(mode="json", exclude={"compare", "judged", "judged_compared"})
    digest = hashlib.sha256(json.dumps([asked, budget, study.training, repr(noise_of(study)), study.seed,
                                        model_digest(classifier.module), material.digest]).encode()).hexdigest()
    if (folder / MODEL).exists():
        return _taken_up(replace(classifier, name=job.name), folder, digest)
    settings = _settings(study, own, material, classifier, budget)
    training, validation = (material.ready.part(part) for part in ("train", "validation"))
    found = harden_under_noise(replace(classifier, name=job.name), training, validation, settings, folder,
                               device=device_of(study), seed=Job(own.variant, job.fold).seed(study),
                               progress=progress)
    records.write_json(folder / TRAINING, found.history | {"name": job.name, "variant": own.variant,
                                                           "settings": asked, "epsilon": settings.epsilon})
    save_weights(found.classifier.module, folder / MODEL, card_of(material, digest) | {"hardening": asked})
    return found


def _taken_up(classifier: Classifier, folder: Path, digest: str) -> NoiseHardened:
    """A finished hardening from its folder.

    Raises:
        InputRefused: its weights, or those of a round, are damaged.
        PlanDiffers: it is of another network, of other data or settings.
    """
    trained_state(folder / MODEL, digest)
    told = records.read_object(folder / TRAINING) or {}
    rounds = tuple(_with_weights(classifier, folder / f"{ROUND}-{one['round']}" / MODEL)
                   for one in told.get("rounds", ()) if one["kept"])
    return NoiseHardened(rounds[-1] if rounds else classifier, rounds, told)


def _with_weights(classifier: Classifier, path: Path) -> Classifier:
    module = copy.deepcopy(classifier.module)
    module.load_state_dict(read_state(path))
    return replace(classifier, module=module, stage=HARDENED)


def _settings(study: Study, own: NoiseHardening, material: Material, classifier: Classifier, budget: int | None
              ) -> NoiseHardeningSettings:
    if own.method in ("drift", "none"):
        raise UsageError(f"noise.hardening.method '{own.method}' teaches nothing")
    epsilon = None
    if own.method == "pgd":
        epsilon = (useful_epsilons(classifier, material.ready.part("train"), seed=study.seed).median
                   if own.epsilon == "auto" else size_in_native(own.epsilon, material.ready.bounds))
    stated = own.model_dump(include={"method", "rounds", "starts", "epochs", "steps", "share", "auc_cost",
                                     "auc_stop", "judged_mas"})
    training = (study.training or {}) | own.training
    return NoiseHardeningSettings(**stated, noise=noise_of(study), mas=own.mas or study.ct_noise.mas,
                                  kind=own.noise, epsilon=epsilon, budget=budget,
                                  training=TrainingSettings(**training))


def _spent(study: Study, job: HardeningJob, run: Path) -> int | None:
    """The passes that the study's own hardening took on this fold; None where it took none."""
    asked = study.ct_noise.hardening
    if asked is None or asked.method in ("drift", "none"):
        return None
    path = HardeningJob(asked.method, job.fold).folder(run) / TRAINING
    if not path.exists():
        raise InputRefused(f"{path} is not there, by whose passes the cost of '{job.name}' is set: run the study's "
                           "own hardening first")
    return int(records.read_json(path)["passes"]) or None


def _corrections(study: Study, own: NoiseHardening, material: Material, classifier: Classifier, folder: Path
                 ) -> tuple[DriftCorrection, ...]:
    """The drift corrections of every dose that is judged, fitted here or taken up."""
    doses = tuple(sorted({float(mas) for part in (own.judged.test, own.judged.train) for stated in part.values()
                          for mas in stated.get("mas", study.ct_noise.mas)}))
    path, begin = folder / TRAINING, model_digest(classifier.module)
    if path.exists():
        told = records.read_json(path)
        if (told["begin"], told["draws"], sorted(map(float, told["shifts"]))) != (begin, own.draws, list(doses)):
            raise PlanDiffers(f"{path} is of another network, other doses or draws")
        return tuple(DriftCorrection(float(mas), tuple(told["shifts"][mas]), tuple(told["reads"][mas]))
                     for mas in told["shifts"])
    training = material.ready.part("train")
    found = fit_drift(classifier, training, noise_of(study), doses, own.draws, study.seed)
    records.write_json(path, {
        "name": folder.parent.name, "method": "drift", "variant": own.variant, "begin": begin, "draws": own.draws,
        "passes": len(training) * (1 + own.draws * len(doses)), "budget": None, "rounds": [], "failed": None,
        "shifts": {repr(one.mas): list(one.towards) for one in found},
        "reads": {repr(one.mas): list(one.reads) for one in found}, "mas": list(doses)})
    return found
