"""A few images beside their attacked selves, stored with the records so that the report never needs the model."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from steadyread import records
from steadyread.attacks.blind import reached
from steadyread.attacks.search import Search, climb
from steadyread.cases import Cases, collate
from steadyread.classifier import Classifier
from steadyread.files import ATTACKED, EXAMPLES
from steadyread.threats import Linf
from steadyread.types import Batch, Images, Labels, Logits, Values

_RANKS = (0.1, 0.25, 0.4, 0.6, 0.75, 0.9)  # from fragile to steady, among the correct reads
_TWO = (0.3, 0.5)
_TYPICAL = (0.4, 0.6)      # those of a first look, one of either class
_FGSM = Search(steps=1, step=1.0, stop_at_flip=False)
_BIM = Search(steps=10, step=0.1, stop_at_flip=False)
_PGD = Search(steps=40, step=0.1, stop_at_flip=False)


def write_examples(classifier: Classifier, cases: Cases, table: pa.Table, folder: Path, seed: int = 0,
                   hurried: bool = False) -> Path | None:
    """Stores test images from fragile to steady, each attacked by PGD at twice its own smallest flip; for a first look
    (`hurried`) two typical ones, by BIM's ten steps.

    Twice, because at the smallest flip itself the two classes are level: the pictures are to show how sure the
    network is of the wrong answer a little further on ([A] Fig. 1). None where no read was flipped.
    """
    found = _pictured(classifier, cases, table, _TYPICAL if hurried else _RANKS)
    if found is None:
        return None
    batch, labels, logits, sizes = found
    adversarial, attacked = _attacked(classifier, batch, logits, sizes, (_BIM if hurried else _PGD, seed))
    path = folder / EXAMPLES
    records.write_npz(path, {
        "clean": batch.images.cpu().numpy(), "adversarial": adversarial.cpu().numpy(),
        "case_id": np.array(batch.keys), "label": labels.numpy(),
        "attack": np.array(["bim" if hurried else "pgd"] * len(sizes)),
        "size": sizes.cpu().numpy(), "clean_probabilities": classifier.probabilities(logits).cpu().numpy(),
        "adversarial_probabilities": classifier.probabilities(attacked).cpu().numpy()})
    return path


def write_attacked(classifier: Classifier, cases: Cases, table: pa.Table, folder: Path, seed: int = 0
                   ) -> Path | None:
    """Stores two test images under FGSM, PGD and BIM of one size, for [A] Fig. 1. None where no read was flipped.

    `images` (n, 4, channels, *space) and `probabilities` (n, 4, classes) stand in the order clean, FGSM, PGD, BIM.
    Each image is attacked at twice its own smallest flip; the iterate of the lowest margin is shown.
    """
    found = _pictured(classifier, cases, table, _TWO)
    if found is None:
        return None
    batch, labels, logits, sizes = found
    made = [(batch.images, logits)] + [_attacked(classifier, batch, logits, sizes, (search, seed))
                                       for search in (_FGSM, _PGD, _BIM)]
    path = folder / ATTACKED
    records.write_npz(path, {
        "images": torch.stack([images for images, _ in made], 1).cpu().numpy(),
        "probabilities": torch.stack([classifier.probabilities(one) for _, one in made], 1).cpu().numpy(),
        "attack": np.array(["clean", "fgsm", "pgd", "bim"]), "case_id": np.array(batch.keys),
        "label": labels.numpy(), "size": sizes.cpu().numpy()})
    return path


def _pictured(classifier: Classifier, cases: Cases, table: pa.Table, ranks: tuple[float, ...]
              ) -> tuple[Batch, Labels, Logits, Values] | None:
    """The chosen images, their labels, their clean logits, and twice their smallest flips; None where nothing was
    flipped, or no gradient reaches the images, which PGD climbs."""
    place_of = {row.id: place for place, row in enumerate(cases.rows)}
    chosen = [(name, size) for name, size in _chosen(table, ranks) if name in place_of]
    if not chosen:
        return None
    loaded, labels = collate([cases[place_of[name]] for name, _ in chosen], classifier.valid)
    batch = classifier.batch(loaded)
    if not reached(classifier, batch.images):
        return None
    sizes = torch.tensor([2 * size for _, size in chosen], device=batch.images.device)
    return batch, labels, classifier.examine(batch.images), sizes


def _attacked(classifier: Classifier, batch: Batch, logits: Logits, sizes: Values, how: tuple[Search, int]
              ) -> tuple[Images, Logits]:
    """The images attacked away from their prediction, each at its own size, with their logits."""
    out = climb(classifier, batch, logits.argmax(1), Linf(0.0), how[0], sizes, how[1])
    return out.images, out.logits


def _chosen(table: pa.Table, ranks: tuple[float, ...]) -> list[tuple[str, float]]:
    """Case ids and smallest flips at fixed ranks among the correctly read test images of each class in turn."""
    wanted = ((pc.field("attack") == "smallest_flip") & (pc.field("part") == "test")
              & (pc.field("reference") == pc.field("label")) & (pc.field("found_size") > 0))
    rows = table.filter(wanted).sort_by([("found_size", "ascending"), ("case_id", "ascending")]).to_pylist()
    seen: dict[str, tuple[int, float]] = {row["case_id"]: (row["label"], row["found_size"]) for row in rows
                                          if np.isfinite(row["found_size"])}
    if not seen:
        return []
    labels = sorted({label for label, _ in seen.values()})
    found = []
    for at, rank in enumerate(ranks):
        same = [(name, size) for name, (label, size) in seen.items() if label == labels[at % len(labels)]]
        found.append(same[int(rank * (len(same) - 1))])
    return list(dict.fromkeys(found))
