"""A few images beside their attacked selves, stored with the records so that the report never needs the model."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from steadyread import records
from steadyread.attacks.recipes import Recipe
from steadyread.attacks.search import Search
from steadyread.cases import Cases, collate
from steadyread.classifier import Classifier
from steadyread.threats import Linf

EXAMPLES = "examples.npz"
_RANKS = (0.1, 0.25, 0.4, 0.6, 0.75, 0.9)  # from fragile to steady, among the correct reads


def write_examples(classifier: Classifier, cases: Cases, table: pa.Table, folder: Path, seed: int = 0
                   ) -> Path | None:
    """Stores test images from fragile to steady, each attacked by PGD at twice its own smallest flip.

    Twice, because at the smallest flip itself the two classes are level: the pictures are to show how sure the
    network is of the wrong answer a little further on ([A] Fig. 1). None where no read was flipped.
    """
    chosen = _chosen(table)
    place_of = {row.id: place for place, row in enumerate(cases.rows)}
    chosen = [(name, size) for name, size in chosen if name in place_of]
    if not chosen:
        return None
    batch, labels = collate([cases[place_of[name]] for name, _ in chosen], classifier.valid)
    batch = classifier.batch(batch)
    logits = classifier.examine(batch.images)
    sizes = torch.tensor([2 * size for _, size in chosen], device=batch.images.device)
    adversarial = torch.cat([
        Recipe("pgd", Linf(float(size)), Search(steps=40, step=0.1, stop_at_flip=False))(
            classifier, batch.pick(torch.tensor([place], device=sizes.device)), logits.argmax(1)[place:place + 1],
            seed).images for place, size in enumerate(sizes)])
    with classifier.frozen(), torch.no_grad():
        attacked = classifier.logits(adversarial)
    path = folder / EXAMPLES
    records.write_npz(path, {
        "clean": batch.images.cpu().numpy(), "adversarial": adversarial.cpu().numpy(),
        "case_id": np.array(batch.keys), "label": labels.numpy(), "attack": np.array(["pgd"] * len(chosen)),
        "size": sizes.cpu().numpy(), "clean_probabilities": classifier.probabilities(logits).cpu().numpy(),
        "adversarial_probabilities": classifier.probabilities(attacked).cpu().numpy()})
    return path


def _chosen(table: pa.Table) -> list[tuple[str, float]]:
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
    for at, rank in enumerate(_RANKS):
        same = [(name, size) for name, (label, size) in seen.items() if label == labels[at % len(labels)]]
        found.append(same[int(rank * (len(same) - 1))])
    return list(dict.fromkeys(found))
