"""What a network in training comes to on the validation cases, and what it cannot be trained on at all."""

from typing import Any

import numpy as np
import torch

from steadyread.classifier import Classifier, decided
from steadyread.errors import InputRefused, UsageError
from steadyread.metrics.discrimination import class_scores, weighted_auc
from steadyread.models.nodule import Ratings
from steadyread.training.images import PartImages, chunks
from steadyread.training.lessons import losses_of
from steadyread.training.settings import TrainingSettings
from steadyread.types import Logits


@torch.no_grad()
def logits_of(trainee: Classifier, judged: PartImages, batch: int) -> Logits:
    """The logits of every validation image, on the CPU. Leaves the module in evaluation mode."""
    trainee.module.eval()
    return torch.cat([trainee.logits(judged.images(chosen).to(trainee.device)).float().cpu()
                      for chosen in chunks(torch.arange(len(judged)), batch)])


def validated(logits: Logits, judged: PartImages, settings: TrainingSettings) -> dict[str, Any]:
    """Loss, AUC (one class against the rest, averaged beyond two) and accuracy on the validation cases."""
    losses = losses_of(logits, judged.labels, settings.loss, "none")
    weights = judged.weights if settings.balance else torch.ones(len(judged))
    scores, labels = class_scores(logits.double().numpy(), logits.shape[1]), judged.labels.numpy()
    asked = [1] if logits.shape[1] == 2 else range(logits.shape[1])
    areas = [float(weighted_auc(np.ones((1, len(labels))), scores[:, one], labels == one)[0])
             for one in asked if 0 < (labels == one).sum() < len(labels)]
    return {"validation_loss": float((losses * weights).sum() / weights.sum()),
            "validation_auc": float(np.mean(areas)) if areas and bool(decided(logits).all()) else None,
            "validation_accuracy": float((logits.argmax(1) == judged.labels).float().mean())}


def examine(trainee: Classifier, taught: PartImages, judged: PartImages, settings: TrainingSettings) -> None:
    """Refuse labels and images that the network cannot be fitted to, before any work is done.

    Raises:
        InputRefused, UsageError: one class only, images outside the bounds, labels or a loss that do not fit.
    """
    present = (taught.counts > 0).nonzero()[:, 0].tolist()
    if len(present) < 2:
        named = taught.classes[present[0]] if present[0] < len(taught.classes) else present[0]
        raise InputRefused(f"all {len(taught)} training cases are of one class ({named}); at least two are needed")
    for part in (taught, judged):
        for chosen in chunks(torch.arange(len(part)), settings.batch):
            trainee.batch(part.images(chosen), part.keys(chosen))
    if settings.judged_by == "auc" and int((judged.counts > 0).sum()) < 2:
        raise InputRefused('judged_by = "auc" needs validation cases of two classes at least; they are all of one')
    trainee.module.eval()
    with torch.no_grad():
        classes = trainee.logits(taught.images(torch.tensor([0])).to(trainee.device)).shape[1]
    highest = int(max(taught.labels.max(), judged.labels.max()))
    if highest >= classes:
        raise InputRefused(f"the labels go up to {highest}, so there are {highest + 1} classes; the network has "
                           f"{classes} outputs: make it with as many classes as the data")
    rated = any(isinstance(layer, Ratings) for layer in trainee.module.modules())
    if rated and len(taught.classes) != classes:
        raise InputRefused(f"the network predicts ratings from 1 to {classes}; the data have {len(taught.classes)} "
                           f"classes ({', '.join(taught.classes)}): label them by their rating")
    if settings.loss == "squared_error" and classes > 2 and not rated:
        raise UsageError('loss = "squared_error" is for two classes or for ratings (nodule_cnn with ratings = '
                         f'{classes}); this network has {classes} classes: use "cross_entropy"')
