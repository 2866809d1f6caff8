"""Training recipes: the plain loss, and three that teach a network to read attacked images as it reads clean ones.

The images of a step are attacked within the step, as the recipe's `craft` says (`steadyread.training.crafts`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.training.crafts import Craft
from steadyread.training.lessons import Lesson, Loss, losses_of
from steadyread.types import Batch, Images, Values


@dataclass(frozen=True)
class Clean:
    """The loss of the images as they are."""

    loss: Loss = "cross_entropy"

    def __call__(self, classifier: Classifier, lesson: Lesson) -> Tensor:
        """The mean loss of the batch."""
        return losses_of(classifier.logits(lesson.batch.images), lesson.labels, self.loss)


@dataclass(frozen=True)
class Adversarial:
    """A share of each batch is replaced by attacked images, taught with their labels.

    [A] (doi:10.1200/CCI.21.00170) teaches half of each batch attacked and half clean, by its text; a share of 1 is
    Madry's training (arXiv:1706.06083), which is what [A]'s code calls. The attack climbs the cross-entropy
    against the label, whatever the network is taught by. For two classes its gradient has the sign of the logit
    margin's, and a network in training is never so sure that it vanishes; for more classes it is Madry's choice,
    which pushes towards all other classes at once.

    Args:
        craft: how an image is attacked.
        share: of each batch, that is attacked.
        loss: that is taught.
    """

    craft: Craft
    share: float = 0.5
    loss: Loss = "cross_entropy"

    def __call__(self, classifier: Classifier, lesson: Lesson) -> Tensor:
        """The mean loss of the batch, attacked and clean images alike."""
        part, labels = _first(lesson, self.share)
        attacked = self.craft(classifier, part, lambda logits: losses_of(logits, labels, "cross_entropy", "none"),
                              lesson.generator)
        taught = torch.cat([attacked, lesson.batch.images[len(part):]])
        return losses_of(classifier.logits(taught), lesson.labels, self.loss)


@dataclass(frozen=True)
class _Parted:
    """Attacked images taught to be read as clean ones are: what parts the two predictions is made small.

    Args:
        craft: how an image is attacked; what it climbs is the divergence.
        beta: how much the divergence weighs.
        share: of each batch, that is attacked.
        loss: that is taught on clean images.
    """

    craft: Craft
    beta: float = 6.0
    share: float = 0.5
    loss: Loss = "cross_entropy"

    def _attacked(self, classifier: Classifier, lesson: Lesson) -> tuple[Images, Tensor]:
        """The attacked share of the batch, and the log-probabilities (m, k) of the same images as they are."""
        part, _ = _first(lesson, self.share)
        own = _read(classifier, part.images)
        attacked = self.craft(classifier, part, lambda logits: divergence(own, logits.log_softmax(1)),
                              lesson.generator)
        return attacked, own


@dataclass(frozen=True)
class Trades(_Parted):
    """TRADES (arXiv:1901.08573): the loss of the clean images, and `beta` times how far attacked ones part.

    The second term is the Kullback-Leibler divergence from the prediction of the clean image to that of the
    attacked one, which the attack makes as large as it can; labels play no part in it. Gradients flow through both
    predictions, as in the authors' code. Two things are otherwise: the attack starts anywhere in the ball (theirs
    within 0.001 of the image), and the divergence is taken over a share of each batch, so that methods can be
    compared at equal cost; a share of 1 is theirs. Attacked and clean images go through the network together.
    """

    def __call__(self, classifier: Classifier, lesson: Lesson) -> Tensor:
        """The mean loss of all clean images and beta times the mean divergence of the attacked share."""
        attacked, _ = self._attacked(classifier, lesson)
        many = len(attacked)
        logits = classifier.logits(torch.cat([attacked, lesson.batch.images]))
        told = logits.log_softmax(1)
        parted = divergence(told[many:2 * many], told[:many])
        return losses_of(logits[many:], lesson.labels, self.loss) + self.beta * parted.mean()


@dataclass(frozen=True)
class Unsupervised(_Parted):
    """Adversarial training in which attacked images need no label (arXiv:1905.13725, UAT-OT).

    The clean share of each batch is taught with its labels. Of the rest, labels are not looked at (but where a
    training is balanced, images are drawn by them): the network reads such an image, that prediction is held (no
    gradient flows through it), and the attacked image is taught to give it again; the attack makes the divergence
    from it as large as it can. The prediction is that of evaluation mode, which the attack needs too.
    """

    def __call__(self, classifier: Classifier, lesson: Lesson) -> Tensor:
        """The mean loss of the clean images and beta times the mean divergence of the attacked ones."""
        attacked, own = self._attacked(classifier, lesson)
        many = len(attacked)
        logits = classifier.logits(torch.cat([attacked, lesson.batch.images[many:]]))
        parted = self.beta * divergence(own, logits[:many].log_softmax(1)).mean()
        if many == len(lesson.batch):
            return parted
        return losses_of(logits[many:], lesson.labels[many:], self.loss) + parted


def divergence(held: Tensor, other: Tensor) -> Values:
    """Kullback-Leibler divergence of each image, (n,), from log-probabilities (n, k) `held` to those of `other`.

    A class that `held` rules out (-inf) adds nothing.
    """
    ruled_out = held.isneginf()
    held, other = held.masked_fill(ruled_out, 0.0), other.masked_fill(ruled_out, 0.0)
    return nn.functional.kl_div(other, held, reduction="none", log_target=True).sum(1)


def _first(lesson: Lesson, share: float) -> tuple[Batch, Tensor]:
    """The first images of a batch, which come in random order, and their labels: at least one of them."""
    if not 0 < share <= 1:
        raise UsageError(f"share must be above 0 and at most 1; got {share}")
    many = max(1, int(share * len(lesson.batch) + 0.5))
    return lesson.batch.pick(torch.arange(many)), lesson.labels[:many]


def _read(classifier: Classifier, images: Images) -> Tensor:
    """The network's log-probabilities of the images as they are, (n, k), in evaluation mode, held."""
    with classifier.frozen(), torch.no_grad():
        return classifier.logits(images).log_softmax(1)
