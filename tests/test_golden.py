"""Golden rows: what every registered attack does to one fixed small network, kept so that no change goes unseen.

`python tests/test_golden.py` prints the rows anew, for a change that is meant.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from steadyread.assessment import name_of
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.classifier import Classifier
from steadyread.registry import ATTACKS
from steadyread.types import Batch, Bounds

GOLDEN = Path(__file__).with_name("golden_rows.json")
BOUNDS = Bounds(-1000.0, 400.0, "HU")


def fixed_classifier():
    """Weights from numpy's oldest generator, whose numbers never change."""
    rng = np.random.RandomState(12)
    module = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                           nn.Linear(125, 3))
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.from_numpy(rng.normal(0, 0.4, tuple(value.shape))))
    return Classifier(module, BOUNDS, "logits", normalise=(-300.0, 700.0))


def fixed_batch():
    rng = np.random.RandomState(13)
    images = torch.from_numpy(rng.uniform(-1000, 400, (6, 1, 10, 10)).astype("f4"))
    return Batch(images, tuple(f"golden-{i}" for i in range(6)), BOUNDS)


def rows():
    classifier, batch = fixed_classifier(), fixed_batch()
    with torch.no_grad():
        reference = classifier.logits(batch.images).argmax(1)
    found = {}
    made = (maker.make([30.0, 60.0] if maker.searches else 60.0) for maker in ATTACKS.values())
    for attack in [*made, smallest_flip]:
        outcome = attack(classifier, classifier.batch(batch), reference, 5)
        size = (outcome.images - batch.images).flatten(1).abs().amax(1)
        found[name_of(attack)] = {"margin": outcome.margin.tolist(), "size": size.tolist(),
                                  "forwards": outcome.forwards.tolist(), "backwards": outcome.backwards.tolist()}
    return found


@pytest.fixture(scope="module")
def now():
    return rows()


@pytest.mark.parametrize("name", [*ATTACKS, "smallest_flip"])
def test_every_registered_attack_has_its_golden_row(name, now):
    kept = json.loads(GOLDEN.read_text())[name]
    assert now[name]["size"] == pytest.approx(kept["size"], rel=2e-3)
    if name != "smallest_flip":  # its margins are those of a boundary, where the last bits rule
        assert now[name]["margin"] == pytest.approx(kept["margin"], rel=1e-3, abs=1e-3)
        assert now[name]["forwards"] == kept["forwards"]
        assert now[name]["backwards"] == kept["backwards"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.write_text(json.dumps(rows(), indent=1) + "\n")
