"""How well the clean reads tell the classes apart: AUC, accuracy, sensitivity, specificity, recall."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from steadyread.metrics.intervals import (
    FEWEST,
    Estimate,
    Flags,
    Floats,
    Ints,
    Scale,
    bootstrap,
    clopper_pearson,
    estimate,
    ratio,
    share,
)
from steadyread.metrics.over_folds import statistic_over_folds
from steadyread.metrics.reads import Reads, Strings


def discrimination(reads: Reads, classes: int, seed: int = 0) -> dict[str, Any]:
    """Figures of the clean reads with a label, with 95 % intervals over patients.

    Two classes: `auc`, `sensitivity` (of class 1) and `specificity`. More: `auc` is the macro mean of one
    class against the rest; of several folds the mean of theirs. Always `accuracy`, `recall` per class, `confusion`
    [label][prediction] and the number of `undecided` reads, which count as wrong and have no part in the AUC.
    """
    known = reads.known
    label, prediction, patient = reads.labels[known], reads.prediction[known], reads.patients[known]
    recall = [share(prediction[label == one] == one, patient[label == one]) for one in range(classes)]
    confusion = [[int(np.sum((label == own) & (prediction == read))) for read in range(classes)]
                 for own in range(classes)]
    return {"images": int(known.any(1).sum()), "patients": len(np.unique(patient)), "classes": classes,
            "undecided": int(np.sum(prediction < 0)),
            "accuracy": share(prediction == label, patient),
            "auc": area_under_curve(class_scores(reads.logits[known], classes), label, patient, seed)
            if len(reads.folds) == 1 else area_over_folds(reads.logits, reads.label, known, reads.patient, seed),
            "sensitivity": recall[1] if classes == 2 else None,
            "specificity": recall[0] if classes == 2 else None,
            "recall": recall, "confusion": confusion}


def class_scores(logits: Floats, classes: int) -> Floats:
    """log p - log(1 - p) of each class, (n, classes): orders as the probability does, without saturating.

    -inf for a class that is ruled out; some class has NaN or +inf where the read is undecided.
    """
    if logits.shape[1] < 2 or not len(logits):
        return np.full((len(logits), classes), np.nan)
    with np.errstate(invalid="ignore"):
        return np.stack([logits[:, one] - special.logsumexp(np.delete(logits, one, axis=1), axis=1)
                         for one in range(min(classes, logits.shape[1]))], axis=1)


def area_under_curve(scores: Floats, label: Ints, patient: Strings, seed: int = 0) -> Estimate:
    """The AUC (ties count half) with its interval; None where fewer than two classes are there.

    `scores` (n, classes). Beyond two classes, the mean over those classes that have images of one class
    against the rest. An area of exactly 1 or 0, of which every resample is a copy, has the one-sided interval
    of `at_the_boundary`; fewer than 10 patients have none. Else it is t of the smaller side's patients, on the
    logit scale: quantiles of resamples are too narrow for tens of patients.
    """
    decided = (scores < np.inf).all(1) if scores.shape[1] else np.zeros(len(scores), bool)
    scores, label, patient = scores[decided], label[decided], patient[decided]
    judged = [one for one in range(scores.shape[1]) if 0 < np.sum(label == one) < len(label)]
    if not judged:
        return Estimate(None, n=len(label))
    if scores.shape[1] == 2:
        judged = [1]

    def statistic(weights: Floats) -> Floats:
        each = np.stack([weighted_auc(weights, scores[:, one], label == one) for one in judged])
        return ratio(np.nansum(each, axis=0), np.isfinite(each).sum(0))

    value = statistic(np.ones((1, len(label))))[0]
    if value in (0, 1):
        return estimate(value, at_the_boundary(float(value), label, patient, judged), len(label))
    scale = Scale("logit", smaller_side(label, patient, judged) - 1)
    return estimate(value, bootstrap(statistic, patient, seed, scales=(scale,))[0], len(label))


def area_over_folds(logits: Floats, label: Ints, there: Flags, patient: Strings, seed: int = 0) -> Estimate:
    """The AUC of each fold's network, and their mean with its interval: logits of unlike networks are on unlike
    scales, and must not be ranked together.

    `logits` (n, f, k), `label` (n,), `there` (n, f) the reads that count, `patient` (n,). Beyond two classes, the mean
    of one class against the rest. An area of exactly 1 or 0 in every fold has the one-sided interval of
    `at_the_boundary`.
    """
    read = there.any(1)
    logits, label, there, patient = logits[read], label[read], there[read], patient[read]
    folds, classes = logits.shape[1:]
    scores = [class_scores(logits[:, fold], classes) for fold in range(folds)]

    def area(weights: Floats, fold: int) -> Floats:
        score = scores[fold]
        known = there[:, fold] & (score < np.inf).all(1)
        judged = range(score.shape[1]) if score.shape[1] > 2 else range(score.shape[1] - 1, score.shape[1])
        each = [weighted_auc(weights[:, known], score[known, one], label[known] == one) for one in judged
                if 0 < (label[known] == one).sum() < known.sum()]
        if not each:
            return np.full(len(weights), np.nan)
        stacked = np.stack(each)
        return ratio(np.nansum(stacked, axis=0), np.isfinite(stacked).sum(0).astype(np.float64))

    carry = smaller_side(label, patient, judged_classes(label))
    found = statistic_over_folds(area, folds, patient, seed, Scale("logit", carry - 1))
    if found.value in (0.0, 1.0):
        judged = [1] if classes == 2 else judged_classes(label)
        return found.within(at_the_boundary(found.value, label, patient, judged))
    return found


def judged_classes(label: Ints) -> list[int]:
    """The classes that have images, where there are others: those of which an AUC can be told."""
    present: list[int] = np.unique(label[label >= 0]).tolist()
    return present if len(present) > 1 else []


def smaller_side(label: Ints, patient: Strings, judged: Sequence[int]) -> int:
    """Patients with an image of a class, or with one of another, whichever are fewer; least over the classes."""
    sides = (side for one in judged for side in (label == one, label != one))
    return min((len(np.unique(patient[side])) for side in sides), default=0)


def at_the_boundary(value: float, label: Ints, patient: Strings, judged: list[int]) -> tuple[float, float]:
    """The interval of an AUC of exactly 1 (or 0): one-sided, of Clopper and Pearson.

    Of m patients with a positive image and m others with a negative one, each pair is ordered rightly: m
    independent draws, all won, bound the chance of one at 0.025^(1/m) from below. m is the smaller number of
    patients of the two sides, at most half of all, and the least over the classes `judged`. NaN below 10 patients.
    """
    patients = len(np.unique(patient))
    if patients < FEWEST:
        return float("nan"), float("nan")
    pairs = min(smaller_side(label, patient, judged), patients // 2)
    low, high = clopper_pearson(value * pairs, pairs)
    return float(low), float(high)


def weighted_auc(weights: Floats, score: Floats, positive: Flags) -> Floats:
    """The AUC under each row of `weights` (b, n): P(positive above negative), ties counting half.

    NaN where a row holds one class only.
    """
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    above = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    below = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    pairs = above.sum(1) * below.sum(1)
    won = (above * (np.cumsum(below, axis=1) - below / 2)).sum(1)
    return ratio(won, pairs)


def roc_curve(score: Floats, positive: Flags) -> tuple[Floats, Floats]:
    """False and true positive rates at every distinct threshold, from (0, 0) to (1, 1); ties move together.

    Empty where one of the two classes has no image.
    """
    known = score < np.inf   # neither NaN nor +inf, which undecided reads have
    score, positive = score[known], positive[known]
    if not positive.any() or positive.all():
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-score, kind="stable")
    last = np.append(score[order][1:] != score[order][:-1], True)
    true = np.cumsum(positive[order])[last] / positive.sum()
    false = np.cumsum(~positive[order])[last] / (~positive).sum()
    return np.append(0.0, false), np.append(0.0, true)
