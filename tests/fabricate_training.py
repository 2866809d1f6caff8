"""Small things to train on: squares in noise, and networks that learn them in a second."""

import numpy as np
import torch
from torch import nn

from steadyread.cases import Cases, Row
from steadyread.classifier import Classifier
from steadyread.training.fit import TrainingSettings
from steadyread.types import Bounds

BOUNDS = Bounds(-1000.0, 400.0, "HU")
QUICK = TrainingSettings(epochs=4, batch=16, learning_rate=1e-2, weight_decay=0.0)


def spots(n: int, seed: int, classes: int = 2, side: int = 12) -> Cases:
    """Squares in noise whose size is the class."""
    chance = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = chance.normal(-800, 60, (n, 1, side, side)).astype(np.float32)
    for place, label in enumerate(labels):
        reach = 1 + 2 * label
        row, column = chance.integers(side // 2 - 1, side // 2 + 1, 2)
        pixels[place, 0, row - reach // 2:row + reach // 2 + 1, column - reach // 2:column + reach // 2 + 1] = 0
    rows = tuple(Row(f"{seed}-{i}", f"p{seed}-{i}", int(label), str(label), None, "train", i)
                 for i, label in enumerate(labels))
    return Cases("spots", rows, lambda row: np.clip(pixels[row.source], -1000, 400), tuple("abc"[:classes]), BOUNDS)


def classifier(outputs: int = 2, output: str = "logits", seed: int = 0, norm: bool = False) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU(), nn.Flatten(),
                            nn.Dropout(0.2), nn.Linear(400, 8), nn.ReLU(), nn.Linear(8, outputs))
        if output == "probability":
            net.append(nn.Sigmoid())
        if output == "probabilities":
            net.append(nn.Softmax(1))
    return Classifier(net, BOUNDS, output, normalise=(-700.0, 300.0))  # type: ignore[arg-type]


def accuracy(found: Classifier, cases: Cases) -> float:
    images = torch.stack([cases[i].image for i in range(len(cases))])
    with found.frozen(), torch.no_grad():
        right = found.logits(images).argmax(1) == torch.tensor([row.label for row in cases.rows])
    return float(right.float().mean())
