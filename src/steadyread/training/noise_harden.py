"""Hardening against CT noise: paper [B]'s adaptive training, and what it is compared with, at equal cost."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import torch

from steadyread import records
from steadyread.attacks.optimised_noise import optimised_ct_noise
from steadyread.cases import Cases, limit
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused
from steadyread.files import CHECKPOINT, MODEL, ROUND, TRAINING
from steadyread.models.loading import save_weights, trained_state
from steadyread.progress import quiet
from steadyread.training.checkpoint import digest_of, remove_checkpoint
from steadyread.training.images import PartImages
from steadyread.training.judging import examine, logits_of, validated
from steadyread.training.loop import (
    Course,
    Merit,
    Stage,
    Told,
    Work,
    graduate_of,
    own_randomness,
    teach,
    trainee_of,
)
from steadyread.training.noise_settings import NoiseHardeningSettings
from steadyread.training.perturbed import Found, enlarged, hunted

_JUDGE_STEPS = 10     # gradients on each validation image
_JUDGED_EPOCHS = 12   # at most so many epochs of a round are judged under noise, evenly spread, the last among them
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class NoiseHardened:
    """The network after each round, and what `training.json` holds.

    `classifier` is the hardened network: the last of `rounds`, or the one that the hardening began with where no
    round was of use.
    """

    classifier: Classifier
    rounds: tuple[Classifier, ...]
    history: dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """Which epoch of a round is kept, and whether the round is.

    Of the epochs judged under noise whose validation AUC is at least `lowest_auc`, the one with the most validation
    images read right and steady; where there is none, that of the highest sum of that share and the AUC. A round of
    `adaptive` is kept where its epoch's AUC is at least `stop_auc`.
    """

    lowest_auc: float
    stop_auc: float

    def holds(self, told: Told) -> bool:
        """Whether a round with that epoch is kept."""
        return bool((told["validation_auc"] or 0.0) >= self.stop_auc - _ROUNDING)

    def merit(self, told: Told) -> Merit | None:
        """Of an epoch by its figures; None for one that was not judged under noise."""
        steady, auc = told.get("validation_steady"), told["validation_auc"] or 0.0
        if steady is None:
            return None
        within = auc >= self.lowest_auc - _ROUNDING
        return (1.0, steady, auc) if within else (0.0, steady + auc, auc)


@dataclass(frozen=True, eq=False)
class _School:
    """What all rounds share."""

    training: Cases
    judged: PartImages
    attacked: PartImages
    settings: NoiseHardeningSettings
    rule: Rule
    work: Work

    @property
    def seed(self) -> int:
        return self.work.get("seed", 0)

    def figures(self, network: Classifier) -> Told:
        """On the clean validation images."""
        training = self.settings.training
        return validated(logits_of(network, self.judged, training.batch), self.judged, training)

    def steady(self, network: Classifier) -> float:
        """The share of validation images read right that one optimised noise of `judged_mas` does not flip."""
        settings, lost = self.settings, 0
        search = optimised_ct_noise(replace(settings.noise, mas=settings.judged_mas), "rings", steps=_JUDGE_STEPS)
        for chosen in torch.split(torch.arange(len(self.attacked)), settings.training.batch):
            batch = network.batch(self.attacked.batch(chosen))
            found = search(network, batch, self.attacked.labels[chosen].to(network.device), self.seed).columns()
            lost += int(((found["flips"] > 0) | ~torch.isfinite(found["margin"])).sum())
        return 1.0 - lost / len(self.attacked)


def harden_under_noise(classifier: Classifier, training: Cases, validation: Cases,
                       settings: NoiseHardeningSettings, folder: Path, **work: Unpack[Work]) -> NoiseHardened:
    """Teach a copy of the classifier's network to stand CT noise; the given one is left as it is.

    Every round keeps in a folder of its own what it has come to: the perturbations found, then the state after each
    epoch, then its weights. A training that is cut off at any point goes on from there, and ends with the same
    weights. Neither a choice nor a figure depends on test images.

    A round keeps the epoch that `Rule` says. Rounds end early where no noise flips a training image any more, or
    with one whose validation AUC is more than `auc_stop` below that of the network that the hardening began with:
    that round is not kept. A method of one round keeps it in any case.

    Args:
        training, validation: cases of one shape in HU; no patient in both.
        settings: how.
        folder: for the folders of the rounds, round-1 and so on.
        work: `seed`, `device` and `progress`, see `steadyread.training.loop.Work`; checkpoints lie in `folder`.

    Raises:
        InputRefused: test cases, no cases, one class only, images that do not fit, or the loss diverged.
        PlanDiffers: the folder holds another training.
    """
    began = time.perf_counter()
    school, start = _opened(classifier, training, validation, settings, work)
    standing, networks, told = classifier, [], []
    hunts: list[Found] = []
    stopped = None
    for number in range(1, settings.rounds_held + 1):
        place = folder / f"{ROUND}-{number}"
        if settings.method == "adaptive":
            hunts.append(hunted(standing, training, settings.hunt(school.seed + number), place,
                                work.get("progress", quiet)))
            if not hunts[-1].perturbations:
                told.append({"round": number, **_hunt_told(hunts[-1]), "taught": 0, "passes_training": 0,
                             "epochs": [], "chosen_epoch": 0, "kept": False})
                stopped = f"in round {number} no noise changed the read of a training image"
                break
        after, one = _round(school, standing, hunts, place)
        told.append({"round": number, **one, "kept": True})
        if settings.method == "adaptive" and not school.rule.holds(one["epochs"][one["chosen_epoch"] - 1]):
            told[-1]["kept"] = False
            stopped = (f"after round {number} the validation AUC was more than {settings.auc_stop:g} below the "
                       "first network's, so that round is not kept")
            break
        standing = replace(after, stage="hardened")
        networks.append(standing)
    history = {"method": settings.method, "noise": settings.kind, "mas": list(settings.mas),
               "passes": sum(one["passes_attack"] + one["passes_training"] for one in told),
               "budget": settings.budget, "rule": _said(school), "start": start, "rounds": told,
               "stopped": stopped, "failed": None if networks else stopped or "no round was taught",
               "settings": settings.told(), "seed": school.seed,
               "seconds": round(time.perf_counter() - began, 2)}
    return NoiseHardened(standing, tuple(networks), history)


def _opened(classifier: Classifier, training: Cases, validation: Cases, settings: NoiseHardeningSettings, work: Work
            ) -> tuple[_School, Told]:
    """The school, and the figures of the network that the hardening begins with."""
    for cases in (training, validation):
        leaked = next((row for row in cases.rows if row.part == "test"), None)
        if leaked is not None:
            raise InputRefused(f"{cases.name}: case '{leaked.id}' is of the test part, which no training may see: "
                               "give training and validation cases only")
    judged = PartImages(validation, "validation")
    if int((judged.counts > 0).sum()) < 2:
        raise InputRefused(f"{validation.name}: all {len(judged)} validation cases are of one class, and epochs "
                           "are chosen by their AUC: at least two are needed")
    some = limit(validation, max(settings.judged, int((judged.counts > 0).sum())), work.get("seed", 0))
    school = _School(training, judged, PartImages(some, "validation"), settings, Rule(0.0, 0.0), work)
    trainee = trainee_of(classifier, judged.dims, work.get("device"))
    # the images as they are: noise takes them beyond their bounds, and the network's window comes after it
    examine(trainee, PartImages(training, "training"), judged, replace(settings.training, judged_by="loss"))
    start = {**school.figures(trainee), "validation_steady": school.steady(trainee)}
    auc = start["validation_auc"] or 0.0
    return replace(school, rule=Rule(auc - settings.auc_cost, auc - settings.auc_stop)), start


def _round(school: _School, standing: Classifier, hunts: list[Found], place: Path) -> tuple[Classifier, Told]:
    """The network after one round, trained here or taken up, and the round's history."""
    settings = school.settings
    found = enlarged(school.training, hunts)
    taught = PartImages(found, "training", held=not hunts, as_they_are=len(found) - len(school.training))
    spent = hunts[-1].passes if hunts else 0
    epochs = settings.epochs_for(len(taught), spent)
    digest = digest_of(standing, (taught, school.judged), {"settings": settings.told(), "epochs": epochs,
                                                           "seed": school.seed, "lowest": school.rule.lowest_auc})
    trainee = trainee_of(standing, taught.dims, school.work.get("device"))
    if (place / MODEL).exists():
        state = trained_state(place / MODEL, digest)
        told: Told = records.read_json(place / TRAINING)
        return graduate_of(standing, trainee, state), told
    course = Course((Stage(settings.recipe, epochs),), settings.training, _judge(school, epochs), school.rule.merit,
                    None, f"{settings.method}, epoch")
    with own_randomness(school.seed, trainee.device) as generator:
        stood, seconds = teach(trainee, taught, course, generator, school.work.get("progress", quiet),
                               (place / CHECKPOINT, digest))
    told = {**_hunt_told(hunts[-1] if hunts else None), "taught": len(taught),
            "passes_training": round(len(stood.epochs) * len(taught) * settings.passes_an_image),
            "epochs": stood.epochs, "chosen_epoch": stood.chosen, "seconds": round(seconds, 2)}
    after = graduate_of(standing, trainee, stood.best)
    records.write_json(place / TRAINING, told)
    save_weights(after.module, place / MODEL, {"training_digest": digest})
    remove_checkpoint(place / CHECKPOINT)
    return after, told


def _hunt_told(found: Found | None) -> Told:
    """What the history of a round says of its hunt."""
    if found is None:
        return {"attacked": 0, "found": 0, "passes_attack": 0}
    return {"attacked": found.attacks, "found": len(found.perturbations), "passes_attack": found.passes}


def _judge(school: _School, epochs: int) -> Callable[[Classifier, int], Told]:
    """What is looked at after an epoch: the clean validation images, and at times noise on them."""
    every = -(-epochs // _JUDGED_EPOCHS)

    def figures(network: Classifier, epoch: int) -> Told:
        told = school.figures(network)
        if (epochs - epoch) % every == 0:
            told["validation_steady"] = school.steady(network)
        return told

    return figures


def _said(school: _School) -> str:
    """The rule, as a sentence."""
    settings = school.settings
    return (f"of the epochs judged under noise (at most {_JUDGED_EPOCHS} a round) whose AUC on "
            f"{len(school.judged)} validation images is at most {settings.auc_cost:g} below that of the network "
            f"before hardening, the one with the most of {len(school.attacked)} validation images read right and "
            f"not flipped by one optimised noise of {settings.judged_mas:g} mAs ({_JUDGE_STEPS} gradients, against "
            "the network of that epoch); where there is none, that of the highest sum of this share and the AUC")
