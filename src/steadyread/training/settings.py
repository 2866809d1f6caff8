"""How a network is trained: the one place where its settings and their defaults stand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from steadyread.errors import UsageError
from steadyread.training.augment import PerAxis
from steadyread.training.lessons import Loss

Optimiser = Literal["adam", "sgd"]
Schedule = Literal["one_cycle", "constant"]
JudgedBy = Literal["loss", "auc"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is fitted. The defaults train a narrow VGG on 64x64 lung patches in about a minute.

    Paper [A] (doi:10.1200/CCI.21.00170) has optimiser="sgd", learning_rate=2e-4 (medical images),
    weight_decay=0, schedule="constant" (its decay of 1e-6 a step is negligible), shift_pixels=0, and stops
    early.

    Paper [B] (doi:10.1088/1361-6560/abc812) has loss="squared_error", learning_rate=1e-5, epochs=500, batch=64,
    weight_decay=0, schedule="constant", max_norm=None, flips=False, rotation_degrees=15, shift_pixels=5, and
    keeps the epoch of the "best validation performance" (of which figure, it does not say).

    Args:
        epochs: at most this many passes over the training cases.
        optimiser: `adam` (with decoupled weight decay, arXiv:1711.05101) or `sgd` (Nesterov momentum).
        learning_rate: the highest of the schedule.
        schedule: `one_cycle` (15 % of the steps rising, then a cosine to zero; arXiv:1708.07120) or `constant`.
        loss: `cross_entropy` over the logits, which for the output "logit" or "probability" is binary
            cross-entropy (its logits are 0 and z); or `squared_error`, of two classes that of the probability
            of class 1 ([B] eq. 1), of a network that ends in `Ratings` that of the rating.
        judged_by: which epoch is kept: that of the lowest validation `loss`, or that of the highest validation
            `auc` (of equal ones, the one with the lower loss).
        patience: epochs without a better one after which training stops; None for never.
        balance: every class is drawn equally often, and weighs the same in the validation loss.
        max_norm: largest Euclidean norm of the weights into a hidden dense unit ([A]: 2); None for none.
        flips, rotation_degrees, shift_pixels: see `steadyread.training.augment`; numbers, or one number an axis.
    """

    epochs: int = 60
    batch: int = 64
    optimiser: Optimiser = "adam"
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: Schedule = "one_cycle"
    loss: Loss = "cross_entropy"
    judged_by: JudgedBy = "loss"
    patience: int | None = None
    balance: bool = True
    max_norm: float | None = 2.0
    flips: bool = True
    rotation_degrees: PerAxis = 20.0
    shift_pixels: PerAxis = 3.0

    def __post_init__(self) -> None:
        for name in ("rotation_degrees", "shift_pixels"):
            if isinstance(getattr(self, name), Sequence):
                object.__setattr__(self, name, tuple(getattr(self, name)))   # a list, as TOML has it
        self._refuse_what_is_out_of_range()

    def _refuse_what_is_out_of_range(self) -> None:
        for name, known in (("optimiser", Optimiser), ("schedule", Schedule), ("loss", Loss),
                            ("judged_by", JudgedBy)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(f"{name} must be one of {', '.join(get_args(known))}; got '{getattr(self, name)}'")
        for name in ("epochs", "batch", "learning_rate", "patience", "max_norm"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} must be above 0; got {value}")
        for name in ("weight_decay", "momentum", "rotation_degrees", "shift_pixels"):
            stated = np.atleast_1d(getattr(self, name))
            if not (np.isfinite(stated).all() and (stated >= 0).all()):
                raise UsageError(f"{name} must be at least 0; got {getattr(self, name)}")
