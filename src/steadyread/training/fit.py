"""Fitting a network to cases: seeded, augmented in batches, the epoch kept that is best on validation images."""

import time
from dataclasses import asdict, dataclass
from typing import Any, Unpack

from torch import nn

from steadyread.cases import Cases
from steadyread.classifier import Classifier
from steadyread.progress import quiet
from steadyread.training.checkpoint import digest_of
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
from steadyread.training.recipes import Clean
from steadyread.training.settings import TrainingSettings

__all__ = ["Fitted", "TrainingSettings", "fit"]


@dataclass(frozen=True)
class Fitted:
    """A classifier with the weights of the best epoch, and what `training.json` holds."""

    classifier: Classifier
    history: dict[str, Any]

    @property
    def module(self) -> nn.Module:
        """The fitted network, in evaluation mode."""
        return self.classifier.module


def fit(classifier: Classifier, training: Cases, validation: Cases, settings: TrainingSettings | None = None,
        **work: Unpack[Work]) -> Fitted:
    """Fit a copy of the classifier's network to the labels of cases; the given one is left as it is.

    The same seed, number of threads and device give the same weights again, also where it was killed and went on
    from its checkpoint; the caller's random state is left alone. A two-class threshold plays no part in the
    training.

    Args:
        training, validation: cases of one shape, in the classifier's native units; no patient in both.
        settings: how; the defaults of `TrainingSettings` if None.
        work: `seed`, `device`, `checkpoint` and `progress`, see `steadyread.training.loop.Work`.

    Raises:
        InputRefused: no cases, one class only, labels or images that do not fit, or the loss diverged.
        PlanDiffers: the checkpoint is of another training.
    """
    settings, seed = settings or TrainingSettings(), work.get("seed", 0)
    began = time.perf_counter()
    taught, judged = PartImages(training, "training"), PartImages(validation, "validation")
    trainee = trainee_of(classifier, taught.dims, work.get("device"))
    checkpoint = work.get("checkpoint")
    held = None if checkpoint is None else (
        checkpoint, digest_of(classifier, (taught, judged), {"settings": asdict(settings), "seed": seed}))

    def figures(network: Classifier, _: int) -> Told:
        return validated(logits_of(network, judged, settings.batch), judged, settings)

    def merit(told: Told) -> Merit:
        return told["validation_auc"] if settings.judged_by == "auc" else 0.0, -told["validation_loss"]

    course = Course((Stage(Clean(settings.loss), settings.epochs),), settings, figures, merit, settings.patience,
                    "training, epoch")
    with own_randomness(seed, trainee.device) as generator:
        examine(trainee, taught, judged, settings)
        opened = time.perf_counter() - began
        standing, seconds = teach(trainee, taught, course, generator, work.get("progress", quiet), held)
    history = {"epochs": standing.epochs, "chosen_epoch": standing.chosen, "seconds": round(opened + seconds, 2),
               "settings": asdict(settings), "seed": seed}
    return Fitted(graduate_of(classifier, trainee, standing.best), history)
