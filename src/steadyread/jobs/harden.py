"""Networks hardened: trained on attacked images or against noise, or taken up from where they were trained before."""

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from steadyread import records
from steadyread.assessment import model_digest
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, PlanDiffers, TrainingFailed
from steadyread.files import CHECKPOINT, HARDENED, MODEL, ROUND, TRAINING
from steadyread.findings import Finding
from steadyread.jobs.attacks import noise_of, window_of
from steadyread.jobs.material import Material
from steadyread.jobs.networks import card_of, device_of, placed, taken_up, untrained
from steadyread.jobs.plan import Job, hardening_of, hardenings_of, training_seed
from steadyread.models.loading import read_card, read_state, save_weights, trained_state
from steadyread.progress import Progress
from steadyread.store import Cell
from steadyread.study import Hardening, NoiseHardening, Study
from steadyread.training.checkpoint import remove_checkpoint
from steadyread.training.drift import DriftCorrection, fit_drift
from steadyread.training.epsilon import Useful, useful_epsilons
from steadyread.training.fit import TrainingSettings
from steadyread.training.harden import HardeningSettings, harden
from steadyread.training.noise_harden import NoiseHardened, harden_under_noise
from steadyread.training.noise_settings import NoiseHardeningSettings
from steadyread.units import Bounds, show_size, size_in_native


@dataclass(frozen=True, eq=False)
class Hardened:
    """A hardened network; `rounds` are those that came before it, and `corrections` what else its reads need.

    `epsilon` is the size of change that was taught last, in native units, where any was.
    """

    classifier: Classifier
    epsilon: float | None = None
    rounds: tuple[Classifier, ...] = ()
    corrections: tuple[DriftCorrection, ...] = ()


@dataclass(frozen=True)
class Stages:
    """The sizes at which a network is hardened, in native units, and how they were come by."""

    epsilons: tuple[float, ...]
    why: str
    useful: Useful | None


def hardened(job: Job, material: Material, classifier: Classifier, progress: Progress) -> Hardened | None:
    """The network of a job as its hardening leaves it, beginning with the plain `classifier`.

    None where the training came to nothing (it diverged, or no size was found to train with): that is written down
    as a failure of the hardening, not of the run. Anything else that goes wrong, such as damaged weights, is no
    result, and is raised.
    """
    asked, folder = hardening_of(material.study, job.cell).how, job.folder
    try:
        if isinstance(asked, Hardening):
            return _against_pixels(job, material, classifier, asked, progress)
        if asked.method == "none":
            return Hardened(classifier)
        if asked.method == "drift":
            corrections = _corrections(job, material, classifier, asked)
            return Hardened(replace(classifier, stage=HARDENED), corrections=corrections)
        return _against_noise(job, material, classifier, asked, progress)
    except TrainingFailed as problem:
        for left in (folder / CHECKPOINT, *folder.glob(f"{ROUND}-*/{CHECKPOINT}")):
            remove_checkpoint(left)     # from there it would come to nothing again
        told = {"epsilon": None, "epochs": [], "chosen_epoch": 0} if isinstance(asked, Hardening) else {
            "name": job.cell.stage, "variant": asked.variant, "passes": 0, "budget": None, "rounds": []}
        records.write_json(folder / TRAINING, told | {"method": asked.method, "failed": str(problem)})
        return None


def failed(folder: Path, study: Study, cell: Cell) -> Iterator[Finding]:
    """Why a hardening on attacked images is none, as a finding."""
    told = records.read_object(folder / TRAINING) or {}
    if told.get("failed") and hardening_of(study, cell).under == "hardening":
        yield Finding("hardening failed", "error", str(told["failed"]))


def typed_sizes(asked: Hardening, bounds: Bounds) -> tuple[float, ...]:
    """The sizes of the stages, native units; none where they are to be found.

    Raises:
        UsageError, InputRefused: a size in another unit, or sizes that do not rise.
    """
    if asked.epsilon == "auto":
        return ()
    sizes = tuple(size_in_native(text, bounds) for text, _ in asked.stages)
    if list(sizes) != sorted(sizes):
        raise InputRefused("hardening.epsilon: the sizes of the stages must rise; got "
                           + ", ".join(text for text, _ in asked.stages))
    return sizes


def _against_pixels(job: Job, material: Material, classifier: Classifier, asked: Hardening, progress: Progress
                    ) -> Hardened:
    """The network trained on attacked images, here or before."""
    study, folder, seed = material.study, job.folder, training_seed(job.study, job.cell)
    digest = _digest(material, classifier, asked, seed)
    name = classifier.name if job.study.alone else job.cell.stage
    if (folder / MODEL).exists():
        found, epsilon = taken_up(material, folder / MODEL, digest), _epsilon_of(folder)
    else:
        stages = _stages(material, classifier, asked)
        begin = untrained(material, seed) if asked.scratch else classifier
        fitted = harden(begin, material.ready.part("train"), material.ready.part("validation"),
                        _pixel_settings(asked, stages), seed=seed, checkpoint=folder / CHECKPOINT,
                        device=device_of(study), progress=progress, scratch=asked.scratch)
        useful = None if stages.useful is None else {
            name: getattr(stages.useful, name) for name in ("low", "median", "high", "images")}
        told = {"epsilon": stages.epsilons[-1], "unit": material.ready.bounds.unit, "why": stages.why,
                "useful": useful}
        records.write_json(folder / TRAINING, fitted.history | told)
        save_weights(fitted.module, folder / MODEL, card_of(material, digest) | {
            "hardening": asked.model_dump(mode="json", exclude={"compare"}) | told})
        remove_checkpoint(folder / CHECKPOINT)
        found, epsilon = fitted.classifier, stages.epsilons[-1]
    return Hardened(placed(replace(found, name=name, stage=HARDENED), study), epsilon)


def taught_size(job: Job) -> float | None:
    """The size that the study's own hardening on attacked images taught, of which every claim speaks; None where
    it came to nothing, or there is none."""
    for main, asked in hardenings_of(job.study):
        if asked.main and isinstance(asked.how, Hardening):
            folder = job.folder_of(replace(main, fold=job.cell.fold))
            return _epsilon_of(folder) if (folder / MODEL).exists() else None
    return None


def _epsilon_of(folder: Path) -> float:
    """The size that the hardened network of a folder learnt last, by the card beside its weights.

    Raises:
        InputRefused: its training.json, which the report goes by, tells of another training or is gone.
    """
    card = (read_card(folder / MODEL) or {}).get("hardening", {})
    told = records.read_object(folder / TRAINING) or {}
    if any(told.get(key) != card.get(key) for key in ("epsilon", "unit", "why")):
        raise InputRefused(f"{folder / TRAINING} is not that of the network beside it (damaged, gone, or another "
                           f"run's); nothing was overwritten: put it back from a copy, or remove {MODEL} there to "
                           "have both computed again")
    return float(card["epsilon"])


def _stages(material: Material, classifier: Classifier, asked: Hardening) -> Stages:
    """The sizes as typed, in native units; or found from the smallest flips of the training images."""
    bounds = material.ready.bounds
    sizes = typed_sizes(asked, bounds)
    if sizes:
        return Stages(sizes, "stated in the study: " + ", then ".join(show_size(size, bounds) for size in sizes),
                      None)
    found = useful_epsilons(classifier, material.ready.part("train"), seed=material.study.seed)
    return Stages((found.median,), found.why, found)


def _pixel_settings(asked: Hardening, stages: Stages) -> HardeningSettings:
    stated = asked.model_dump(include={"method", "steps", "step", "share", "beta", "clean_cost", "patience",
                                       "judged"})
    return HardeningSettings(**stated, epsilons=stages.epsilons, epochs=tuple(count for _, count in asked.stages),
                             training=TrainingSettings(**asked.training))


def _digest(material: Material, classifier: Classifier, asked: Hardening, seed: int) -> str:
    """SHA-256 over what the hardened weights depend on; the plain network's own digest tells its data."""
    told = {"hardening": asked.model_dump(mode="json", exclude={"compare"}), "seed": seed,
            "begin": model_digest(classifier.module), "data": material.digest}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _against_noise(job: Job, material: Material, classifier: Classifier, own: NoiseHardening, progress: Progress
                   ) -> Hardened:
    """The network trained against noise and those of its rounds, trained here or before."""
    study, folder = job.study, job.folder
    budget = None if _own(job) or own.epochs is not None else _spent(job)
    asked = own.model_dump(mode="json", exclude={"compare", "judged", "judged_compared"})
    digest = hashlib.sha256(json.dumps([asked, budget, study.training, repr(noise_of(study)), study.seed,
                                        model_digest(classifier.module), material.digest]).encode()).hexdigest()
    begin = replace(classifier, name=job.cell.stage)
    if (folder / MODEL).exists():
        found = _rounds_taken_up(begin, folder, digest)
    else:
        settings = _noise_settings(job, own, material, classifier, budget)
        training, validation = (material.ready.part(part) for part in ("train", "validation"))
        found = harden_under_noise(begin, training, validation, settings, folder, device=device_of(study),
                                   seed=training_seed(study, job.cell), progress=progress)
        records.write_json(folder / TRAINING, found.history | {
            "name": job.cell.stage, "variant": own.variant, "settings": asked, "epsilon": settings.epsilon})
        save_weights(found.classifier.module, folder / MODEL, card_of(material, digest) | {"hardening": asked})
    return Hardened(found.classifier, rounds=found.rounds[:-1] if _own(job) else ())


def _own(job: Job) -> bool:
    return hardening_of(job.study, job.cell).main


def _rounds_taken_up(classifier: Classifier, folder: Path, digest: str) -> NoiseHardened:
    """A finished hardening against noise from its folder.

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


def _noise_settings(job: Job, own: NoiseHardening, material: Material, classifier: Classifier, budget: int | None
                    ) -> NoiseHardeningSettings:
    study, epsilon = job.study, None
    if own.method == "pgd":
        epsilon = (useful_epsilons(classifier, material.ready.part("train"), seed=study.seed).median
                   if own.epsilon == "auto" else size_in_native(own.epsilon, material.ready.bounds))
    stated = own.model_dump(include={"method", "rounds", "starts", "epochs", "steps", "share", "auc_cost",
                                     "auc_stop", "judged_mas"})
    return NoiseHardeningSettings(**stated, noise=noise_of(study), mas=own.mas or study.ct_noise.mas,
                                  kind=own.noise, window_hu=window_of(study), epsilon=epsilon, budget=budget,
                                  training=TrainingSettings(**(study.training or {}) | own.training))


def _spent(job: Job) -> int | None:
    """The passes that the study's own hardening took on this fold; None where it took none."""
    asked = job.study.ct_noise.hardening
    if asked is None or asked.method in ("drift", "none"):
        return None
    main = Cell(network=asked.variant, stage=asked.method, fold=job.cell.fold)
    path = job.folder_of(main) / TRAINING
    if not path.exists():
        raise InputRefused(f"{path} is not there, by whose passes the cost of '{job.cell.stage}' is set: run the "
                           "study's own hardening first")
    return int(records.read_json(path)["passes"]) or None


def _corrections(job: Job, material: Material, classifier: Classifier, own: NoiseHardening
                 ) -> tuple[DriftCorrection, ...]:
    """The drift corrections of every dose that is judged, fitted here or taken up."""
    study, path, begin = job.study, job.folder / TRAINING, model_digest(classifier.module)
    doses = tuple(sorted({float(mas) for part in (own.judged.test, own.judged.train) for stated in part.values()
                          for mas in stated.get("mas", study.ct_noise.mas)}))
    if path.exists():
        told = records.read_json(path)
        if (told["begin"], told["draws"], sorted(map(float, told["shifts"]))) != (begin, own.draws, list(doses)):
            raise PlanDiffers(f"{path} is of another network, other doses or draws")
        return tuple(DriftCorrection(float(mas), tuple(told["shifts"][mas]), tuple(told["reads"][mas]))
                     for mas in told["shifts"])
    training = material.ready.part("train")
    found = fit_drift(classifier, training, noise_of(study), doses, own.draws, study.seed)
    told = {"name": job.cell.stage, "method": "drift", "variant": own.variant, "begin": begin, "draws": own.draws,
            "passes": len(training) * (1 + own.draws * len(doses)), "budget": None, "rounds": [], "failed": None,
            "shifts": {repr(one.mas): list(one.towards) for one in found},
            "reads": {repr(one.mas): list(one.reads) for one in found}, "mas": list(doses)}
    records.write_json(path, told)
    return found
