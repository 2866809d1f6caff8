"""Further scores of how steady a read is, for choosing the reads that a human takes.

The margin of the clean read is free, and orders reads as well as the smallest flip does. These cost passes: one
gradient, for the margin over its L1 norm, which is the smallest flip where the network is linear about the image;
the mean margin over augmented views of the image (test-time augmentation; Wang et al. 2019,
doi:10.1016/j.neucom.2019.01.103), and the mean and the spread of the margin over networks that were trained alike
from other seeds (deep ensembles; Lakshminarayanan et al. 2017, arXiv:1612.01474).
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from steadyread import records
from steadyread._version import __version__
from steadyread.assessment import model_digest
from steadyread.attacks.cost import BLOCK
from steadyread.cases import Cases, batches
from steadyread.cases.case_set import fingerprint
from steadyread.classifier import Classifier, decided, margin_of
from steadyread.errors import InputRefused, NoGradient, UsageError
from steadyread.files import regular_file
from steadyread.metrics.aligned import SCORED, SCORES
from steadyread.metrics.triage import GRADIENT
from steadyread.training.augment import Draw, PerAxis, moved
from steadyread.training.fit import TrainingSettings
from steadyread.types import Batch, Labels, Values, stream

FURTHER = (GRADIENT, "views", "members", "disagreement")


class Motion(TypedDict):
    """How far a view may be from its image."""

    flips: bool
    rotation_degrees: PerAxis
    shift_pixels: PerAxis


@dataclass(frozen=True)
class Views:
    """So many augmented views of each image, drawn from `seed`."""

    count: int
    seed: int
    augmentation: TrainingSettings

    @property
    def motion(self) -> Motion:
        """The part of the augmentation that moves an image."""
        held = self.augmentation
        return {"flips": held.flips, "rotation_degrees": held.rotation_degrees, "shift_pixels": held.shift_pixels}

    @property
    def differ(self) -> bool:
        """Whether there are views, and they are not the image itself."""
        held = self.augmentation
        moved_at_all = held.flips or bool(np.any(held.rotation_degrees)) or bool(np.any(held.shift_pixels))
        return self.count > 0 and moved_at_all

    def as_json(self) -> dict[str, Any]:
        """The views as plain values."""
        return {"views": self.count, "seed": self.seed, **self.motion}


def write_scores(classifier: Classifier, cases: Cases, folder: str | Path, *, augmentation: TrainingSettings,
                 views: int = 16, members: Sequence[Classifier] = (), seed: int = 0) -> Path:
    """Writes scores.parquet, a row a case: its case_id and part, and the scores of `FURTHER`, higher for steadier.

    Each is of the class that the given network predicts for the clean image:

    - `gradient`: its margin over the L1 norm of the margin's gradient, one backward pass; null in every row where
      the network lets no gradient through;
    - `views`: the mean of its margin in logits (which is that in log-probabilities) over augmented views;
    - `members`: the mean of that margin over the given network and the `members`;
    - `disagreement`: minus the standard deviation of its probability over those networks (not of the margin, whose
      spread grows with its size, so that sure reads would seem the least steady).

    A score that was not asked for is null in every row; so is `views` where the augmentation moves nothing, since
    each view would be the image itself. An undecided read, or one with a view or a network that is undecided, has
    -inf. A file of the same networks, images and settings is kept; any other, or a damaged one, is replaced.

    Args:
        augmentation: whose flips, rotations and shifts make the views: those that the network was trained with.
        seed: of the views. Their draws are keyed by (seed, case id, view), so that a case has the same views alone,
            in any batch and in any order, and 16 views begin with the 8 of a shorter run.

    Raises:
        InputRefused: no cases, images that do not fit the networks, or networks of different classes.
        UsageError: fewer than 0 views, or augmentation of images that are neither 2D nor 3D.
    """
    if views < 0:
        raise UsageError(f"the number of views must be at least 0; got {views}")
    if not len(cases):
        raise InputRefused("no cases to score")
    path = Path(folder) / SCORES
    networks, asked = (classifier, *members), Views(views, seed, augmentation)
    stated = json.dumps({"version": __version__, "data": fingerprint(cases), **asked.as_json(),
                         "model": model_digest(classifier.module),
                         "members": [model_digest(one.module) for one in members]}, sort_keys=True).encode()
    if _kept(path, stated):
        return path
    found: dict[str, list[float]] = {name: [] for name in FURTHER}
    with ExitStack() as held:
        for network in networks:
            held.enter_context(network.frozen())
        held.enter_context(torch.no_grad())
        for _, batch, _ in batches(cases, BLOCK):
            for name, values in _scores(networks, batch, asked).items():
                found[name] += values.tolist()
    columns = {name: pa.array(values, pa.float64()) if values else pa.nulls(len(cases), pa.float64())
               for name, values in found.items()}
    table = pa.table({"case_id": pa.array([row.id for row in cases.rows], pa.string()),
                      "part": pa.array([row.part for row in cases.rows], pa.string()), **columns})
    records.write_whole(path, _content(table.replace_schema_metadata({SCORED: stated})))
    return path


def own_draws(keys: Sequence[str], seed: int, view: int) -> Draw:
    """The draws of one view of a batch, each image's from its own stream, keyed by (seed, case id, view)."""
    streams = [stream(seed, f"view of {key}", view) for key in keys]
    return lambda rows: torch.stack([torch.rand(rows, generator=one) for one in streams], dim=1)


def _scores(networks: Sequence[Classifier], batch: Batch, asked: Views) -> dict[str, Values]:
    """The scores of one batch that were asked for, (n,) each."""
    placed = networks[0].batch(batch)
    logits = networks[0].logits(placed.images)
    reference, read = logits.argmax(1), decided(logits)
    found = _over_gradient(networks[0], placed, reference)
    if asked.differ:
        found["views"] = _over_views(networks[0], placed, reference, asked)
    if len(networks) > 1:
        found |= _over_networks(networks, batch, logits, reference)
    return {name: torch.where(values.isfinite() & read, values, -torch.inf) for name, values in found.items()}


def _over_gradient(classifier: Classifier, batch: Batch, reference: Labels) -> dict[str, Values]:
    """The margin of `reference` over the L1 norm of its gradient, (n,): native units. None without a gradient."""
    with torch.enable_grad():
        images = batch.images.detach().clone().requires_grad_(True)
        margin = classifier.margins(images, reference)
        try:
            gradient = classifier.gradient(margin.sum(), images)
        except NoGradient:
            return {}
    norm = gradient.double().flatten(1).abs().sum(1)
    return {GRADIENT: margin.detach().double() / norm.clamp(min=torch.finfo(torch.float32).tiny)}


def _over_views(classifier: Classifier, batch: Batch, reference: Labels, asked: Views) -> Values:
    """The mean margin of `reference` over the views of each image, (n,)."""
    total = torch.zeros(len(batch), dtype=torch.float64, device=batch.images.device)
    for view in range(asked.count):
        images = moved(batch.images, own_draws(batch.keys, asked.seed, view), **asked.motion)
        total += margin_of(classifier.logits(images), reference)
    return total / asked.count


def _over_networks(networks: Sequence[Classifier], batch: Batch, logits: Tensor, reference: Labels
                   ) -> dict[str, Values]:
    """Mean margin of `reference` and minus the spread of its probability over the networks, (n,) each.

    `logits` are those of the first network.
    """
    margins, probabilities = [], []
    for network in networks:
        own = logits if network is networks[0] else network.logits(network.batch(batch).images)
        if own.shape[1] != logits.shape[1]:
            raise InputRefused(f"a further network has {own.shape[1]} classes, the first has {logits.shape[1]}: "
                               "compare networks that were trained on the same classes")
        asked = reference.to(own.device)
        margins.append(margin_of(own, asked).double().to(logits.device))
        chance = network.probabilities(own.double()).gather(1, asked[:, None])[:, 0]
        probabilities.append(chance.to(logits.device))
    return {"members": torch.stack(margins).mean(0),
            "disagreement": -torch.stack(probabilities).std(0, correction=1)}


def _kept(path: Path, stated: bytes) -> bool:
    """Whether a whole file of these very networks, images and settings is there."""
    try:
        table = records.table_in(regular_file(path).read_bytes(), path)
    except (InputRefused, OSError, pa.ArrowException):
        return False
    return (table.schema.metadata or {}).get(SCORED) == stated


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content
