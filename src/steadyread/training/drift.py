"""Drift correction: what noise of a dose does to a margin on average, taken off again. No network is trained.

Noise pushes reads of a class to one side (their drift, see `steadyread.metrics.drift`). Where the dose of an
image's noise is known, as it is of a scan, that push can be told from training images and taken off the logit. It
helps against the push alone: jitter stays, and so does what an optimised noise makes of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from steadyread.attacks.random_noise import noisy_reads, sizes_at
from steadyread.cases import Cases
from steadyread.cases.batching import batches
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused
from steadyread.threats import CTNoise
from steadyread.types import Images

_TOGETHER = 64   # training images whose draws are made at once


@dataclass(frozen=True)
class DriftCorrection:
    """The mean drift towards class 1, in logits, at one dose: of noisy images read as class 0, and as class 1.

    `reads` counts the draws that each mean is taken over; 0 where no noisy image was read so, and the drift is 0.
    """

    mas: float
    towards: tuple[float, float]
    reads: tuple[int, int]

    def corrected(self, classifier: Classifier) -> Classifier:
        """The classifier of images with noise of that dose: each logit less the drift of what it says."""
        module = _Corrected(classifier, torch.tensor(self.towards)).to(classifier.device)
        return replace(classifier, module=module, normalise=None, output="logit", threshold=0.5)


class _Corrected(nn.Module):
    """z - towards[z > 0], where z is the logit of class 1 over class 0."""

    towards: Tensor

    def __init__(self, classifier: Classifier, towards: Tensor) -> None:
        super().__init__()
        self.inner = classifier.module   # so that the weights count among those of this module
        self.classifier = classifier
        self.register_buffer("towards", towards)

    def forward(self, images: Images) -> Tensor:
        z = _towards(self.classifier.logits(images))
        return z - self.towards[(z > 0).long()]


def fit_drift(classifier: Classifier, training: Cases, noise: CTNoise, mas: Sequence[float], draws: int,
              seed: int = 0) -> tuple[DriftCorrection, ...]:
    """The corrections at each dose, from so many draws of random noise on every training image.

    The class is that of the noisy read, since no other is known when a noisy image is read.

    Raises:
        InputRefused: test cases among them, or a network of more than two classes.
    """
    for row in training.rows:
        if row.part == "test":
            raise InputRefused(f"{training.name}: case '{row.id}' is of the test part, which no correction may "
                               "see: give training cases only")
    total = torch.zeros(len(mas), 2, dtype=torch.float64)
    reads = torch.zeros(len(mas), 2, dtype=torch.int64)
    for _, loaded, _ in batches(training, _TOGETHER):
        batch = classifier.batch(loaded)
        with classifier.frozen(), torch.no_grad():
            z = _towards(classifier.logits(batch.images))
            sizes, ones = sizes_at(noise, mas, batch), torch.ones(len(batch), dtype=torch.int64, device=z.device)
            for found in noisy_reads(classifier, batch, ones, noise, sizes, range(draws), seed):
                noisy = _towards(found.logits)
                moved, said = (noisy - z[:, None]).double().cpu(), (noisy > 0).cpu()
                each = torch.stack([~said, said], 2)                     # images x doses x classes
                total += (moved[..., None] * each).sum(0)
                reads += each.sum(0)
    mean = total / reads.clamp(min=1)
    return tuple(DriftCorrection(float(dose), (float(each[0]), float(each[1])), (int(count[0]), int(count[1])))
                 for dose, each, count in zip(mas, mean, reads, strict=True))


def _towards(logits: Tensor) -> Tensor:
    """The logit of class 1 over class 0, from logits (..., 2)."""
    if logits.shape[-1] != 2:
        raise InputRefused(f"a drift correction is of networks of two classes; this one has {logits.shape[-1]}")
    return logits[..., 1] - logits[..., 0]
