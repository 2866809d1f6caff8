"""The probability that noise of a given dose flips a read, from a few draws: beyond counting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steadyread.attacks.random_noise import DOSES, noisy_reads, sizes_at
from steadyread.attacks.recipes import checked_reference, chunks
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.metrics.dose import DOUBTED, flip_probability_of, normality
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels

FEWEST = 8        # draws, below which nothing can be said of normality


@dataclass(frozen=True, eq=False)
class FlipProbability:
    """Probability of a flip under noise, each field (n, doses), on the CPU.

    `low` and `high` are a 95 % interval. `drift` is the mean margin under noise less the clean one, `jitter` its
    standard deviation, in logits. `flips` were counted among the draws. Where `normal` is False the margin does not
    look Gaussian and `probability` is the counted share with its Clopper-Pearson interval.
    """

    probability: Float[Tensor, "n d"]
    low: Float[Tensor, "n d"]
    high: Float[Tensor, "n d"]
    drift: Float[Tensor, "n d"]
    jitter: Float[Tensor, "n d"]
    flips: Int[Tensor, "n d"]
    normal: Bool[Tensor, "n d"]


def flip_probability(classifier: Classifier, images: Images | Batch, reference: Labels, noise: CTNoise,
                     mas: Sequence[float] = DOSES, draws: int = 16, seed: int = 0) -> FlipProbability:
    """P(flip) = Phi(-(margin + drift) / jitter) of every image at every dose, from a few common draws.

    Under CT noise the margin of one image is close to Gaussian, so mean and standard deviation see rare flips,
    which counting 0 of 50 calls none. The interval is that of the noncentral t distribution.

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
    parts = []
    for places in chunks(batch):
        part = batch.pick(places)
        parts.append(margins_under_noise(classifier, part, reference[places], noise, sizes_at(noise, mas, part),
                                         draws, seed))
    return estimated(torch.cat([clean for clean, _ in parts]), torch.cat([margins for _, margins in parts]))


def estimated(clean: Float[Tensor, "n"], margins: Float[Tensor, "n d draws"]) -> FlipProbability:
    """The flip probabilities that margins under noise tell, beside the clean ones."""
    clean, margins = clean.double().cpu(), margins.double().cpu()
    drawn, flips = margins.numpy(), (margins < 0).sum(2)
    normal = normality(drawn) >= DOUBTED
    told, counted = (flip_probability_of(drawn, counted=each)[:3] for each in (False, True))
    probability, low, high = (torch.from_numpy(np.where(normal, one, other))
                              for one, other in zip(told, counted, strict=True))
    return FlipProbability(probability, low, high, margins.mean(2) - clean[:, None], margins.std(2), flips,
                           torch.from_numpy(normal))


def margins_under_noise(classifier: Classifier, batch: Batch, reference: Labels, noise: CTNoise,
                        sizes: Float[Tensor, "n d"], draws: int, seed: int
                        ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n d draws"]]:
    """The clean margins, and those under each draw at each image's own sizes (see `sizes_at`)."""
    with classifier.frozen(), torch.no_grad():
        clean = margin_of(classifier.logits(batch.images), reference)
        reads = noisy_reads(classifier, batch, reference, noise, sizes, range(draws), seed)
        under = [found.margin for found in reads]
    return clean, torch.stack(under, dim=2)
