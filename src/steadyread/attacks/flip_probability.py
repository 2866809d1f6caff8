"""The probability that noise of a given dose flips a read, from a few draws: beyond counting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steadyread.attacks.headlines import of_probability
from steadyread.attacks.random_noise import DOSES, noisy_reads, sizes_at
from steadyread.attacks.recipe import checked_reference, in_chunks
from steadyread.attacks.slopes import clean_margins
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.metrics.dose import (
    DOUBTED,
    flip_probability_along,
    flip_probability_of,
    linear_share,
    normality,
    shape_doubted,
)
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels

FEWEST = 8        # draws, below which nothing can be said of normality
_VOUCHED = 0.9    # share of the variance that is linear in the noise, beyond which the rest's shape does not matter


@dataclass(frozen=True, eq=False, repr=False)
class FlipProbability:
    """Probability of a flip under noise, each field (n, doses), on the CPU.

    `low` and `high` are a 95 % interval, conditional on a near-Gaussian margin: where the margin under noise is
    skewed or heavy-tailed in a way that so few draws do not show, it holds the truth less often (docs/ct-noise.md
    has the figures; `rare_flip_probability` assumes nothing). `drift` is the mean margin under noise less the clean
    one, `jitter` its standard deviation, in logits, both as estimated with the gradient's help. `flips` were
    counted among the draws. Where `normal` is False the margin does not look Gaussian and `probability` is the
    counted share with its Clopper-Pearson interval; where `widened`, its shape is doubtful
    (`metrics.dose.shape_doubted`) and the interval holds that of the counted share too.
    """

    probability: Float[Tensor, "n d"]
    low: Float[Tensor, "n d"]
    high: Float[Tensor, "n d"]
    drift: Float[Tensor, "n d"]
    jitter: Float[Tensor, "n d"]
    flips: Int[Tensor, "n d"]
    normal: Bool[Tensor, "n d"]
    widened: Bool[Tensor, "n d"]

    def __repr__(self) -> str:
        return of_probability(self, self.probability)


@dataclass(frozen=True, eq=False)
class Linear:
    """What noise does to the margin's linear part, the clean gradient times the noise, at each image's sizes.

    `along` is that of each draw; its mean over all noises is 0 and `variance` is exact.
    """

    along: Float[Tensor, "n d draws"]
    variance: Float[Tensor, "n d"]


def flip_probability(classifier: Classifier, images: Images | Batch, reference: Labels, noise: CTNoise,
                     mas: Sequence[float] = DOSES, draws: int = 16, seed: int = 0) -> FlipProbability:
    """P(flip) = Phi(-(margin + drift) / jitter) of every image at every dose, from a few common draws.

    Under CT noise the margin of one image is close to Gaussian, so mean and standard deviation see rare flips,
    which counting 0 of 50 calls none. What the noise does along the margin's clean gradient, whose mean and
    variance are known from the spectrum, serves as a control variate (`flip_probability_along`): exact where the
    margin is linear. On our nets of patches and nodules 16 draws then err 0.9 to 1.2 times as much as counting 50,
    and 1.1 to 1.6 times without. Where no gradient reaches the image, mean and deviation of the draws alone serve.

    It takes `draws` forward passes per image and dose, and one forward and one backward per image.

    Args:
        images: (n, 1, *space) in HU, inside the classifier's bounds.
        reference: (n,) the class that must be lost: the prediction or the label.
        mas: the doses.
        draws: of noise an image; at least 8.

    Raises:
        InputRefused: images or reference are not as described, or no noise of that dose can be drawn for them.
        UsageError: too few draws, or a dose that is not positive.
    """
    if draws < FEWEST:
        raise UsageError(f"flip_probability needs at least {FEWEST} draws; got {draws}")
    batch = classifier.batch(images)
    reference = checked_reference(reference, batch)

    def told(part: Batch, lost: Labels) -> FlipProbability:
        return estimated(*with_linear_part(classifier, part, lost, noise, sizes_at(noise, mas, part), draws, seed))

    estimates = FlipProbability(**in_chunks(told, batch, reference))
    classifier.tell_doubts()
    return estimates


def estimated(clean: Float[Tensor, "n"], margins: Float[Tensor, "n d draws"], linear: Linear | None = None
              ) -> FlipProbability:
    """The flip probabilities that margins under noise tell, beside the clean ones; exacter with the linear part."""
    clean, margins = clean.double().cpu(), margins.double().cpu()
    drawn, flips = margins.numpy(), (margins < 0).sum(2)
    vouched = np.asarray(linear is not None and linear_share(drawn, linear.along.cpu()) > _VOUCHED)
    normal = vouched | (normality(drawn) >= DOUBTED)
    counted = flip_probability_of(drawn, counted=True)[:3]
    *told, mean, sd = (flip_probability_of(drawn) if linear is None else
                       flip_probability_along(drawn, linear.along.cpu(), linear.variance.cpu()))
    widened = normal & ~vouched & shape_doubted(drawn)
    ends = (np.where(widened, np.minimum(told[1], counted[1]), told[1]),
            np.where(widened, np.maximum(told[2], counted[2]), told[2]))
    probability, low, high = (torch.from_numpy(np.where(normal, gaussian, other))
                              for gaussian, other in zip((told[0], *ends), counted, strict=True))
    return FlipProbability(probability, low, high, torch.from_numpy(mean) - clean[:, None], torch.from_numpy(sd),
                           flips, torch.from_numpy(normal), torch.from_numpy(widened))


def margins_under_noise(classifier: Classifier, batch: Batch, reference: Labels, noise: CTNoise,
                        sizes: Float[Tensor, "n d"], draws: int, seed: int
                        ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n d draws"]]:
    """The clean margins, and those under each draw at each image's own sizes (see `sizes_at`)."""
    with classifier.frozen(), torch.no_grad():
        clean = margin_of(classifier.logits(batch.images), reference)
        reads = noisy_reads(classifier, batch, reference, noise, sizes, range(draws), seed)
        under = [found.margin for found in reads]
    return clean, torch.stack(under, dim=2)


def with_linear_part(classifier: Classifier, batch: Batch, reference: Labels, noise: CTNoise,
                     sizes: Float[Tensor, "n d"], draws: int, seed: int
                     ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n d draws"], Linear]:
    """As `margins_under_noise`, with what each draw does along the clean gradient."""
    with classifier.frozen():
        clean, gradient = clean_margins(classifier, batch, reference)
        under, along = [], []
        for found in noisy_reads(classifier, batch, reference, noise, sizes, range(draws), seed):
            under.append(found.margin)
            along.append((found.noise * gradient).flatten(1).sum(1)[:, None] * sizes)
    variance = noise.variance_along(batch, gradient)[:, None] * sizes.double().cpu()**2
    return clean, torch.stack(under, dim=2), Linear(torch.stack(along, dim=2), variance)
