"""Perturbed training images that changed a network's read: searched once, stored as seeds, taught from disk.

The search is deterministic: the same network, images and seeds in the same blocks give the same noise, bit for
bit. So what is kept of a found perturbation is its seed and a digest of its image; the images themselves lie in
files that are only there to be taught from, and are made again where they are lost.
"""

import hashlib
import io
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from steadyread import records
from steadyread.assessment import model_digest
from steadyread.attacks.optimised_noise import GRADIENTS, ITERATIONS, OF_PAPER, optimised_ct_noise
from steadyread.attacks.random_noise import RandomCTNoise
from steadyread.cases import Cases, collate, fingerprint
from steadyread.cases.row import Pixels, Row
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.files import HUNT
from steadyread.progress import Progress, in_pieces, quiet
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels

Kind = Literal["rings", "plausible", "pooled", "paper", "paper_hu", "random"]
_BLOCK = 64         # images searched together: part of what a perturbation is, since a batch's size moves last bits
_SEEDS = 1_000_003  # seeds of further starts lie so far apart that no study's own seeds meet them


@dataclass(frozen=True)
class Hunt:
    """How training images are searched for perturbations that change their read.

    Args:
        noise: spectrum, domain and mode of the noise.
        mas: the doses; each image is attacked at every one of them.
        kind: optimised noise, ours (`rings`, `plausible`) or [B]'s Algorithm 1 (`paper`, `paper_hu`, `pooled`), whose
            power is pooled over the images of a block; or `random` draws.
        starts: attacks on each image at each dose. [B] (doi:10.1088/1361-6560/abc812, section 2.6): one.
        steps: gradients of an attack; None for as many as it has by itself (ours 20, [B]'s 10).
        window_hu: of the network, in units of which [B]'s `paper` and `pooled` take their steps.
        seed: of every draw.
    """

    noise: CTNoise
    mas: tuple[float, ...]
    kind: Kind = "rings"
    starts: int = 1
    steps: int | None = None
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.mas or min(self.mas) <= 0 or self.starts < 1 or (self.steps is not None and self.steps < 1):
            raise UsageError("a hunt needs doses above 0, and starts and steps of at least 1; got "
                             f"{', '.join(f'{mas:g}' for mas in self.mas) or 'no dose'}, {self.starts} and "
                             f"{self.steps}")

    @property
    def gradients(self) -> int:
        """Of one attack."""
        return self.steps or (ITERATIONS if self.kind in OF_PAPER else GRADIENTS)


@dataclass(frozen=True)
class Perturbation:
    """One that was found: the case, the dose, the seed and block of its search, and the digest of its image."""

    case_id: str
    mas: float
    seed: int
    block: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Found:
    """What a hunt came to: so many attacks, of so many passes through the network, and what changed a read."""

    folder: Path
    attacks: int
    passes: int
    perturbations: tuple[Perturbation, ...]


def hunted(classifier: Classifier, cases: Cases, hunt: Hunt, folder: Path, progress: Progress = quiet) -> Found:
    """Attacks every case, and keeps in `folder` the noises that changed the network's read.

    Each block of cases writes its images (.npy, float32), then its seeds and digests (.json). A hunt that was cut
    off goes on with the next block; a finished one is taken up, and lost images are made again from their seeds.

    Raises:
        InputRefused: a test case among them; images made again are others than those that were found.
        PlanDiffers: a hunt of another network, of other cases or settings lies there.
        Partial: the disk is full.
    """
    for row in cases.rows:
        if row.part == "test":
            raise InputRefused(f"{cases.name}: case '{row.id}' is of the test part, which no training may see: "
                               "give training cases only")
    _settle(classifier, cases, hunt, folder)
    blocks = range(-(-len(cases) // _BLOCK))
    left = [block for block in blocks if not _finished(folder, block)]
    for block in in_pieces(progress, {block: min(_BLOCK, len(cases) - block * _BLOCK) for block in left},
                           "searching the noise of cases"):
        images, told = _searched(classifier, cases, hunt, block)
        path = _file(folder, block, "json")
        if path.exists() and records.read_json(path)["perturbations"] != told["perturbations"]:
            raise InputRefused(f"{path}: searched anew, other noises are found than are written there (another "
                               "machine, torch or number of threads?): remove the folder to begin again")
        buffer = io.BytesIO()
        np.save(buffer, images.numpy())
        records.write_whole(_file(folder, block, "npy"), buffer.getvalue())
        records.write_json(path, told)
    found = [records.read_json(_file(folder, block, "json")) for block in blocks]
    return Found(folder, sum(one["attacks"] for one in found), sum(one["passes"] for one in found),
                 tuple(Perturbation(**told) for one in found for told in one["perturbations"]))


def replayed(classifier: Classifier, cases: Cases, hunt: Hunt, block: int) -> Images:
    """The perturbed images of one block once more, (m, c, *space) in HU, from seeds alone."""
    return _searched(classifier, cases, hunt, block)[0]


def enlarged(cases: Cases, hunts: list[Found]) -> Cases:
    """The cases, and after them what the hunts found, each under a name of its own with its case's true label.

    Pixels are read from the hunts' files as they are asked for, so memory stays flat.

    Raises:
        InputRefused: a file that does not hold what was found.
    """
    known = {row.id: row for row in cases.rows}
    rows: list[Row] = list(cases.rows)
    held: dict[str, tuple[Pixels, int]] = {}
    for number, found in enumerate(hunts, start=1):
        for block, several in groupby(found.perturbations, lambda one: one.block):
            images = np.load(_file(found.folder, block, "npy"), mmap_mode="r")
            for at, one in enumerate(several):
                if at >= len(images) or hashlib.sha256(images[at].tobytes()).hexdigest() != one.sha256:
                    raise InputRefused(f"{_file(found.folder, block, 'npy')} does not hold the images that were "
                                       "found: remove it, and the same command makes it again")
                name = f"{one.case_id} under noise {number}.{block}.{at}"
                held[name] = (images, at)
                rows.append(replace(known[one.case_id], id=name))

    def load(row: Row) -> Pixels:
        if row.id not in held:
            return cases.load(row)
        images, at = held[row.id]
        return np.asarray(images[at])

    return replace(cases, rows=tuple(rows), load=load)


def _settle(classifier: Classifier, cases: Cases, hunt: Hunt, folder: Path) -> None:
    """Whose hunt the folder holds is written down, or agreed."""
    told = {"noise": repr(hunt.noise), "mas": list(hunt.mas), "kind": hunt.kind, "starts": hunt.starts,
            "steps": hunt.gradients, "seed": hunt.seed, "network": model_digest(classifier.module),
            "cases": fingerprint(cases)}
    if hunt.kind in OF_PAPER:
        told["window_hu"] = list(hunt.window_hu)
    path = folder / HUNT
    if path.exists() and (there := records.read_json(path)) != told:
        differing = ", ".join(sorted(key for key in told if there.get(key) != told[key]))
        raise PlanDiffers(f"{path} is of another search ({differing} differ)")
    records.write_json(path, told)


def _finished(folder: Path, block: int) -> bool:
    """Whether a block's seeds are there, and its images."""
    return all(_file(folder, block, kind).exists() for kind in ("json", "npy"))


def _file(folder: Path, block: int, kind: str) -> Path:
    return folder / f"perturbed-{block:05d}.{kind}"


def _searched(classifier: Classifier, cases: Cases, hunt: Hunt, block: int) -> tuple[Images, dict[str, Any]]:
    """One block's images that changed the read, start by start and dose by dose, and what is written of them."""
    chosen = cases.pick(range(block * _BLOCK, min((block + 1) * _BLOCK, len(cases))))
    batch, _ = collate([chosen[place] for place in range(len(chosen))], classifier.valid)
    batch = classifier.batch(batch)
    with classifier.frozen(), torch.no_grad():
        reference = prediction_of(classifier.logits(batch.images))
    decided = (reference >= 0).nonzero()[:, 0]
    batch, reference = batch.pick(decided), reference[decided]
    images: list[Tensor] = [batch.images[:0].cpu()]
    told: list[Perturbation] = []
    passes = len(batch)
    for start in range(hunt.starts):
        seed = hunt.seed + _SEEDS * start
        for mas in hunt.mas:
            noisy, flips, spent = _attacked(classifier, batch, reference, (hunt, mas, seed))
            passes += spent
            images.append(noisy[flips].cpu())
            told += [Perturbation(batch.keys[place], mas, seed, block, _digest(noisy[place]))
                     for place in flips.nonzero()[:, 0].tolist()]
    return torch.cat(images), {"attacks": len(batch) * hunt.starts * len(hunt.mas), "passes": passes,
                               "perturbations": [asdict(one) for one in told]}


def _attacked(classifier: Classifier, batch: Batch, reference: Labels, how: tuple[Hunt, float, int]
              ) -> tuple[Images, Tensor, int]:
    """One attack on every image of a batch: the noisy images, which of them changed their read, the passes."""
    hunt, mas, seed = how
    noise = replace(hunt.noise, mas=mas)
    if hunt.kind == "random":
        outcome: Any = RandomCTNoise(noise, (mas,), 1)(classifier, batch, reference, seed)[0]
    else:
        search = optimised_ct_noise(noise, hunt.kind, steps=hunt.gradients, iterations=hunt.gradients,
                                    window_hu=hunt.window_hu)
        outcome = search(classifier, batch, reference, seed)
    columns = outcome.columns()
    return outcome.images, columns["flips"] > 0, int((columns["forwards"] + columns["backwards"]).sum())


def _digest(image: Tensor) -> str:
    return hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()


