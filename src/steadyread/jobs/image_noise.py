"""The noise that the images carry, and how many reads random noise as large changes; found changes are set against it.

The SD is estimated from differences of neighbouring pixels, image by image, as the median of their absolute value over
that of a Gaussian (Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425), so that edges weigh little. Fine texture
counts as noise, and of noise that is smooth over several pixels, as CT noise is, only the fine part is seen.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steadyread import records
from steadyread.attacks.cost import BLOCK
from steadyread.attacks.recipe import chunks
from steadyread.cases import Cases, batches
from steadyread.classifier import Classifier, prediction_of
from steadyread.files import IMAGE_NOISE
from steadyread.types import Batch, stream

DRAWS, MOST = 8, 400      # of noise for an image; images that are looked at
_GAUSSIAN = 0.6745        # median absolute value of a Gaussian of SD 1
_ALIKE = 1e-6             # of the range, by which equal differences differ where whole numbers were divided
_LEAST, _SHARE = 64, 0.25     # differences that an estimate needs, and as a share of all that the image has


def noise_sd(image: NDArray[np.floating], low: float, high: float) -> float:
    """The SD of the noise in an image (c, *space), native units; NaN where it cannot be told.

    Left out are differences that touch `low` or `high`, where values are clipped, and those of padding, where all
    neighbours are equal. Where these are most of the image, what is left is edges and no noise.
    """
    corners = _corners(np.asarray(image, np.float64))
    inside = np.all((corners > low) & (corners < high), axis=0) & (np.ptp(corners, axis=0) > 0)
    signs = np.array([1.0, -1.0, -1.0, 1.0] if len(corners) == 4 else [1.0, -2.0, 1.0])
    differences = np.tensordot(signs / np.linalg.norm(signs), corners, axes=1)[inside]
    if len(differences) < max(_LEAST, _SHARE * inside.size):
        return float("nan")
    return _middle(np.abs(differences), _ALIKE * (high - low)) / _GAUSSIAN


def _middle(sizes: NDArray[np.float64], alike: float) -> float:
    """The median; among sizes that are `alike`, as differences of whole numbers are, as far between those on either
    side as half of all sizes lie: else an SD of 1.2 grey levels would be told as 1.5."""
    middle = float(np.median(sizes))
    below, above = sizes[sizes < middle - alike], sizes[sizes > middle + alike]
    ties = len(sizes) - len(below) - len(above)
    if middle <= alike or not ties or not len(above):
        return middle
    lower, upper = (float(below.max()) + middle) / 2 if len(below) else 0.0, (middle + float(above.min())) / 2
    return lower + (upper - lower) * (len(sizes) / 2 - len(below)) / ties


def _corners(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pixels of every square of two by two in a slice, (4, ...); of a line those of every three, (3, ...)."""
    if image.ndim == 2:
        return np.stack([image[..., :-2], image[..., 1:-1], image[..., 2:]])
    return np.stack([image[..., :-1, :-1], image[..., 1:, :-1], image[..., :-1, 1:], image[..., 1:, 1:]])


def write_image_noise(classifier: Classifier, cases: Cases, folder: Path, seed: int = 0) -> Path | None:
    """Stores the SD of the noise in test images, and of each how many of `DRAWS` draws of white noise of that SD change
    its read. None where no noise can be told; a file that is there is kept.

    At most `MOST` images are looked at, chosen by a hash of their id. Draws are keyed by seed and case. `sd` is the
    median over the images, `low` and `high` are the 10th and the 90th percentile.
    """
    path = folder / IMAGE_NOISE
    if path.exists():
        return path
    chosen = cases.pick(sorted(sorted(range(len(cases)), key=lambda place: hashlib.blake2b(
        f"{seed}\x1f{cases.rows[place].id}".encode(), digest_size=8).digest())[:MOST]))
    valid = cases.bounds
    levels = np.array([noise_sd(chosen[place].image.numpy(), valid.low, valid.high) for place in range(len(chosen))])
    known = levels[np.isfinite(levels)]
    if 2 * len(known) < len(levels) or not len(known) or not np.median(known) > 0:
        return None
    low, sd, high = (float(value) for value in np.percentile(known, (10, 50, 90)))
    ids: list[str] = []
    changed: list[int] = []
    right: list[int] = []
    with classifier.frozen(), torch.no_grad():
        for _, batch, labels in batches(chosen, BLOCK):
            some = classifier.batch(batch)
            truth = labels.to(some.images.device)
            for places in chunks(some):
                flips, correct = _under_noise(classifier, some.pick(places), truth[places], sd, seed)
                changed += flips.tolist()
                right += correct.tolist()
            ids += batch.keys
    records.write_json(path, {"sd": sd, "low": low, "high": high, "images": len(known), "draws": DRAWS,
                              "case_id": ids, "changed": changed, "right": right})
    return path


def _under_noise(classifier: Classifier, batch: Batch, labels: Tensor, sd: float, seed: int) -> tuple[Tensor, Tensor]:
    """Of each image (n,) how many draws change its read, -1 where it has none, and how many are read right."""
    clean = prediction_of(classifier.logits(batch.images))
    changed, right = torch.zeros_like(clean), torch.zeros_like(clean)
    for draw in range(DRAWS):
        noise = torch.stack([torch.randn(batch.images.shape[1:], generator=stream(seed, f"image noise of {key}", draw))
                             for key in batch.keys]).to(batch.images)
        noisy = (batch.images + sd * noise).clamp(batch.bounds.low, batch.bounds.high)
        read = prediction_of(classifier.logits(noisy))
        changed, right = changed + (read != clean), right + ((read == labels) & (labels >= 0))
    return torch.where(clean >= 0, changed, -1), right
