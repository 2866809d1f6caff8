"""What one training step is given and what it makes of it: a batch with its labels, and a recipe for a loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from steadyread.classifier import Classifier
from steadyread.types import Batch, Labels, Logits

Loss = Literal["cross_entropy", "squared_error"]


@dataclass(frozen=True, eq=False)
class Lesson:
    """One batch of a training: images as augmented, in native units, with their labels, (n,).

    They come in random order, so that the first few of them are a random few. `generator` (on the CPU) is what a
    recipe draws from, so that the same seed gives the same training again.
    """

    batch: Batch
    labels: Labels
    generator: torch.Generator


# A training recipe: the loss of one lesson, a scalar that is differentiable in the parameters. The module is in
# training mode; a recipe may read it otherwise meanwhile, and leaves it as it was.
Recipe = Callable[[Classifier, Lesson], Tensor]


def losses_of(logits: Logits, labels: Labels, loss: Loss, reduction: Literal["mean", "none"] = "mean") -> Tensor:
    """The loss of a batch, or of each of its images, (n,).

    `squared_error` is of two classes that of the probability of class 1, of a network that ends in `Ratings` that
    of the rating. [B] eq. 1 (doi:10.1088/1361-6560/abc812) prints a sum, which Adam scales away.
    """
    if loss == "cross_entropy":
        return nn.functional.cross_entropy(logits, labels, reduction=reduction)
    # beyond two classes these are the logits of `Ratings`, in which the true one is minus the squared error
    errors = ((logits.softmax(1)[:, 1] - labels).square() if logits.shape[1] == 2 else
              -logits.gather(1, labels[:, None])[:, 0])
    return errors.mean() if reduction == "mean" else errors
