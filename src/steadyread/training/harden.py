"""Hardening: a network trained further on attacked images, in stages; the epoch kept by a rule that is stated."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Unpack

import torch

from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.pgd import pgd
from steadyread.cases import Cases, limit
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.metrics.reads import LINF
from steadyread.progress import quiet
from steadyread.registry import METHODS
from steadyread.training.checkpoint import digest_of
from steadyread.training.fit import Fitted
from steadyread.training.images import PartImages
from steadyread.training.judging import examine, logits_of, validated
from steadyread.training.lessons import Recipe
from steadyread.training.loop import (
    Course,
    Merit,
    Stage,
    Standing,
    Told,
    Work,
    graduate_of,
    own_randomness,
    teach,
    trainee_of,
    weights_of,
)
from steadyread.training.settings import TrainingSettings
from steadyread.units import show_size

_JUDGE_STEPS, _JUDGE_STEP = 10, 0.25
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class HardeningSettings:
    """How a network is hardened.

    [A] (doi:10.1200/CCI.21.00170) has method="pgd", its sizes in two stages (0.001 and 0.002 of the range for CT,
    of 150 and 50 epochs); its code saves the epoch that is best on adversarial *test* images, crafted against the
    network before hardening, and then the last one over it. Here it is chosen on validation images attacked anew.

    Args:
        method: one of `steadyread.registry.METHODS` against changes of pixels: `pgd`, `trades`, `unsupervised`, `clean`
            (the control, as many epochs without any attack, judged alike), or what an installed package brings.
        epsilons: the sizes of the attacks, native units, one a stage, rising.
        epochs: of each stage; its learning-rate schedule spans them.
        steps, step: of the attack on training images; a step's length is a share of epsilon.
        share: of each batch, that is attacked.
        beta: how much the divergence weighs; `trades` and `unsupervised` only. 6 is TRADES' own, for large networks
            on 50,000 images; with 822 lung patches it cost 9 to 24 points of clean accuracy, and 1 or 2 less
            than one (measured, one seed, 206 validation images).
        clean_cost: how much accuracy on clean validation images an epoch may have lost, as a share of them.
        patience: epochs of a stage without a better one, after which the next stage begins; None for never.
        judged: at most so many validation images are attacked after each epoch, drawn by class.
        training: batch, optimiser, learning rate, schedule, loss, balance, norms and augmentation. Its epochs,
            patience and judged_by play no part.
    """

    epsilons: tuple[float, ...]
    epochs: tuple[int, ...] = (20,)
    method: str = "pgd"
    steps: int = 7
    step: float = 0.25
    share: float = 0.5
    beta: float = 6.0
    clean_cost: float = 0.02
    patience: int | None = None
    judged: int = 256
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        METHODS.named(self.method, "method", METHODS.against(LINF))
        if not self.epsilons or len(self.epochs) != len(self.epsilons):
            raise UsageError(f"epochs must be one number a stage, as epsilons; got {len(self.epochs)} of them for "
                             f"{len(self.epsilons)} epsilons")
        if list(self.epsilons) != sorted(self.epsilons):
            raise UsageError(f"epsilons must rise from stage to stage; got {', '.join(map(str, self.epsilons))}")
        above = {"epsilons": min(self.epsilons), "epochs": min(self.epochs), "judged": self.judged,
                 "steps": self.steps, "step": self.step, "share": self.share, "beta": self.beta,
                 "patience": 1 if self.patience is None else self.patience}
        for name, value in above.items():
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} must be above 0; got {value}")
        if self.share > 1 or not 0 <= self.clean_cost < 1:
            raise UsageError("share must be at most 1, clean_cost at least 0 and below 1; got "
                             f"{self.share} and {self.clean_cost}")

    def recipe(self, epsilon: float) -> Recipe:
        """How one stage teaches."""
        recipe: Recipe = METHODS[self.method].make(self, epsilon)
        return recipe


@dataclass(frozen=True, eq=False)
class _Judge:
    """The figures by which epochs are compared: on all validation images, and on some of them under attack."""

    judged: PartImages
    attacked: PartImages
    settings: HardeningSettings
    seed: int

    def __call__(self, network: Classifier) -> Told:
        logits = logits_of(network, self.judged, self.settings.training.batch)
        return {**validated(logits, self.judged, self.settings.training), "robust_accuracy": self.robust(network),
                "predicted_classes": len(torch.bincount(logits.argmax(1)).nonzero())}

    def robust(self, network: Classifier) -> float:
        """The share still read right under PGD of the last stage's size, crafted against this network."""
        everyone = torch.arange(len(self.attacked))
        out = attack(network, self.attacked.images(everyone), self.attacked.labels,
                     pgd(self.settings.epsilons[-1], _JUDGE_STEPS, _JUDGE_STEP, restarts=1), self.seed,
                     self.attacked.keys(everyone))
        lost = int((out.flipped | ~torch.isfinite(out.margin)).sum())
        return 1.0 - lost / len(everyone)


@dataclass(frozen=True)
class Rule:
    """Which epoch is kept.

    `clean` is the accuracy that it may not fall below and `robust` the one to be beaten, by the network before
    hardening; None where a training is from scratch. `silent` is the accuracy of always saying the most frequent
    class, 0 where the validation images are all of one.
    """

    clean: float | None
    robust: float | None
    silent: float

    def merit(self, told: Told) -> Merit | None:
        """Of an epoch by its figures; None for one that reads no better than by always saying the same."""
        clean, robust = told["validation_accuracy"], told["robust_accuracy"]
        if self.silent and (told["predicted_classes"] == 1 or clean <= self.silent):
            return None
        if self.clean is not None and self.robust is not None and clean >= self.clean - _ROUNDING \
                and robust > self.robust:
            return 1.0, robust, clean, -told["validation_loss"]
        return 0.0, robust + clean, robust, -told["validation_loss"]


def harden(classifier: Classifier, training: Cases, validation: Cases, settings: HardeningSettings, *,
           scratch: bool = False, **work: Unpack[Work]) -> Fitted:
    """Train a copy of the classifier's network further on attacked images; the given one is left as it is.

    Everything that `fit` says of randomness, devices and checkpoints holds here too. Neither a choice nor a
    figure depends on test images.

    Args:
        training, validation: cases of one shape, in the classifier's native units; no patient in both.
        settings: how.
        scratch: the network is untrained: it is no measure of what clean accuracy hardening may cost, so the epoch
            of the highest sum of clean and robust accuracy is kept.
        work: `seed`, `device`, `checkpoint` and `progress`, see `steadyread.training.loop.Work`.

    Returns:
        The network with the weights of the epoch kept. Where no epoch is fit to be kept, those that it began with
        (`chosen_epoch` 0), and `failed` of the history says why in one sentence. Else its stage is "hardened".

    Raises:
        InputRefused: no cases, one class only, labels or images that do not fit, or the loss diverged.
        PlanDiffers: the checkpoint is of another training.
    """
    began, seed = time.perf_counter(), work.get("seed", 0)
    taught, judged = PartImages(training, "training"), PartImages(validation, "validation")
    some = limit(validation, max(settings.judged, int((judged.counts > 0).sum())), seed)
    judge = _Judge(judged, PartImages(some, "validation"), settings, seed)
    trainee = trainee_of(classifier, taught.dims, work.get("device"))
    begin = weights_of(trainee.module)
    checkpoint = work.get("checkpoint")
    held = None if checkpoint is None else (
        checkpoint, digest_of(classifier, (taught, judged), {"hardening": asdict(settings), "seed": seed,
                                                             "scratch": scratch}))
    with own_randomness(seed, trainee.device) as generator:
        examine(trainee, taught, judged, replace(settings.training, judged_by="loss"))
        start = judge(trainee)
        last = dict(start)
        most = float(judged.counts.max()) / len(judged)
        cost = max(settings.clean_cost, 1 / len(judged))   # less than one image cannot be told
        rule = Rule(None if scratch else start["validation_accuracy"] - cost,
                    None if scratch else start["robust_accuracy"], most if most < 1 else 0.0)

        def judged_aloud(network: Classifier, _: int) -> Told:
            last.update(judge(network))
            return dict(last)

        course = Course(_stages(settings), settings.training, judged_aloud, rule.merit, settings.patience,
                        lambda: f"hardening ({_percent(last['validation_accuracy'])} clean, "
                                f"{_percent(last['robust_accuracy'])} robust)")
        opened = time.perf_counter() - began
        standing, seconds = teach(trainee, taught, course, generator, work.get("progress", quiet), held)
    failed = _failure(standing, start, scratch)
    history = {"method": settings.method, "epsilon": settings.epsilons[-1], "unit": classifier.valid.unit,
               "epsilons": list(settings.epsilons),
               "start": {name: start[name] for name in ("validation_accuracy", "robust_accuracy")},
               "rule": _rule(settings, classifier, scratch, (len(judged), len(judge.attacked))),
               "epochs": standing.epochs,
               "chosen_epoch": standing.chosen if failed is None else 0, "failed": failed,
               "settings": asdict(settings), "seed": seed, "seconds": round(opened + seconds, 2)}
    if failed is not None:
        return Fitted(graduate_of(classifier, trainee, begin), history)
    return Fitted(replace(graduate_of(classifier, trainee, standing.best), stage="hardened"), history)


def _stages(settings: HardeningSettings) -> tuple[Stage, ...]:
    both = zip(settings.epsilons, settings.epochs, strict=True)
    return tuple(Stage(settings.recipe(epsilon), epochs, {"stage": number, "epsilon": epsilon})
                 for number, (epsilon, epochs) in enumerate(both, start=1))


def _failure(standing: Standing, start: Mapping[str, Any], scratch: bool) -> str | None:
    """Why the network is left as it was, in one sentence; None where an epoch is kept."""
    if not standing.chosen:
        return (f"after none of the {len(standing.epochs)} epochs did the network read more validation images "
                "right than by giving all of them the same class, so it is left as it was: lower learning_rate or "
                "epsilon, or begin with a stage of smaller epsilon")
    kept = standing.epochs[standing.chosen - 1]
    before = start["robust_accuracy"], start["validation_accuracy"]
    if not scratch and (kept["robust_accuracy"], kept["validation_accuracy"]) < before:
        after = _percent(kept["robust_accuracy"])
        return (f"none of the {len(standing.epochs)} epochs was better than the network they began with: the best "
                f"by the rule, epoch {kept['epoch']}, reads {after} of the attacked validation images right, and "
                f"before it were {_percent(before[0])}; so it is left as it was. Train longer, or with a larger "
                "epsilon where few images flip at this one")
    return None


def _rule(settings: HardeningSettings, classifier: Classifier, scratch: bool, images: tuple[int, int]) -> str:
    judged, attacked = images
    size = show_size(settings.epsilons[-1], classifier.valid)
    robust = (f"accuracy under attack ({attacked} validation images, PGD, {_JUDGE_STEPS} steps of a quarter of "
              f"{size}, against the label, crafted against the network of that epoch)")
    both = f"the highest sum of accuracy on clean validation images and {robust}"
    if scratch:
        return f"the epoch of {both} is kept"
    return (f"the epoch of the highest {robust} is kept, of those that are more robust than the network before "
            f"hardening and whose accuracy on the {judged} clean validation images is at most "
            f"{_percent(max(settings.clean_cost, 1 / judged))} below its own; where there is none, that of the "
            "highest sum of both")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
