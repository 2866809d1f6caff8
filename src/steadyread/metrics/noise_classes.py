"""How well the networks of the folds tell the classes apart: [B] Table 1, and Table 3 beside the noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from steadyread.metrics.discrimination import (
    area_over_folds,
    class_scores,
    roc_curve,
)
from steadyread.metrics.intervals import Estimate, Flags, Floats, Ints
from steadyread.metrics.noise import attack_row
from steadyread.metrics.over_folds import share_over_folds
from steadyread.metrics.reads import PARTS, RANDOM, Reads

_RATINGS = 5


def classification(networks: Reads, seed: int = 0) -> list[dict[str, Any]]:
    """AUC, accuracy, sensitivity and specificity (class 1 and 0 of two) in each part, over the folds ([B] Table 1).

    Of more than two classes the AUC is the mean of one class against the rest. Undecided reads count as wrong and
    have no part in the AUC. Parts without labelled reads are left out.
    """
    rows = []
    for part in PARTS:
        there = networks.inside(part) & (networks.label >= 0)[:, None]
        if not there.any():
            continue
        right = np.where(there, networks.prediction == networks.label[:, None], np.nan)
        two = networks.logits.shape[2] <= 2
        recall = [np.where(networks.label[:, None] == one, right, np.nan) for one in (0, 1)]
        rows.append({"part": part, "cases": int(there.any(1).sum()), "per_fold": [int(n) for n in there.sum(0)],
                     "patients": len(np.unique(networks.patient[there.any(1)])),
                     "auc": areas(networks, part, seed), "accuracy": share_over_folds(right, networks.patient),
                     "sensitivity": share_over_folds(recall[1], networks.patient) if two else None,
                     "specificity": share_over_folds(recall[0], networks.patient) if two else None})
    return rows


def without_copies(networks: Reads, part: str, copied: NDArray[np.object_] | None,
                   seed: int = 0) -> dict[str, Any] | None:
    """The AUC among the images of a part without copied slices, and whose labels those with copies have.

    `copied` (n,) is the share of an image's slices that are copies of their neighbour, None where unknown. `labels`
    counts the images with copies by class. None where nothing is known, or no image has copies.
    """
    there = np.asarray((networks.inside(part) & (networks.label >= 0)[:, None]).any(1))
    share = np.array([np.nan if value is None else number(value) for value in copied] if copied is not None else
                     np.full(len(there), np.nan), np.float64)
    some, none = there & (share > 0), there & (share == 0)
    if not some.any() or not none.any():
        return None
    return {"part": part, "cases": int(none.sum()), "copied": int(some.sum()),
            "labels": np.bincount(networks.label[some]).tolist(), "auc": areas(networks, part, seed, none)}


def number(value: Any) -> float:
    """A cell of a table as a number; NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def areas(networks: Reads, part: str, seed: int = 0, chosen: Flags | None = None) -> Estimate:
    """The AUC of each fold's network in one part, of the `chosen` cases (n,) alone where stated.

    Five classes are taken as [B]'s ratings 1 to 5: malignant (above 3) against benign, so that the AUC stands
    beside those of two classes. Of other numbers, the mean of one class against the rest. An area of exactly 1
    or 0 in every fold has the one-sided interval of `at_the_boundary`.
    """
    kept = np.asarray((networks.inside(part) & (networks.label >= 0)[:, None]).any(1))
    if chosen is not None:
        kept &= chosen
    logits, label = rated(networks.logits[kept], networks.label[kept])
    there = networks.inside(part)[kept] & (label >= 0)[:, None]
    return area_over_folds(logits, label, there, networks.patient[kept], seed)


def rated(logits: Floats, label: Ints) -> tuple[Floats, Ints]:
    """The logits (n, f, k) and labels (n,) of which an AUC is: of [B]'s five ratings those of benign and malignant,
    with -1 for the middle one; of other numbers of classes as they are."""
    if logits.shape[2] != _RATINGS:
        return logits, label
    return (special.logsumexp(np.stack([logits[..., :2], logits[..., 3:]], axis=3), axis=2),
            np.where(label == _RATINGS // 2, -1, label > _RATINGS // 2).astype(np.int64))


def roc_curves(networks: Reads, part: str) -> list[tuple[int, Floats, Floats]]:
    """Fold, false and true positive rates of class 1, of two classes; none otherwise."""
    if networks.logits.shape[2] != 2:
        return []
    found = []
    for at, fold in enumerate(networks.folds):
        chosen = networks.inside(part)[:, at] & (networks.label >= 0)
        false, true = roc_curve(class_scores(networks.logits[chosen, at], 2)[:, 1], networks.label[chosen] == 1)
        if len(false):
            found.append((fold, false, true))
    return found


def variant_rows(variants: Sequence[Reads], mas: float, seed: int = 0) -> list[dict[str, Any]]:
    """[B] Table 3: SAN under random noise in train and test, AUC beside, of each variant at one dose."""
    rows = []
    for networks in variants:
        told = {part: attack_row(networks, RANDOM, mas, part, seed) for part in ("train", "test")}
        judged = networks.judged
        rows.append({"variant": networks.variant, "folds": len(networks.folds),
                     "classes": networks.logits.shape[2], "auc": areas(networks, judged, seed),
                     "train": told["train"], "test": told["test"]})
    return rows
