"""The same reads by two networks, before and after: differences paired by case and fold, with tests over patients.

Every network reads the same images, and a patient has several of them, so a difference is taken read by read and
resampled, or has its sign changed, patient by patient, for all folds at once. How much another training would have
differed is told by the folds' spread, which neither interval nor p knows of.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.metrics.discrimination import class_scores, judged_classes, smaller_side, weighted_auc
from steadyread.metrics.intervals import Estimate, Flags, Floats, Ints, Scale, bootstrap, ratio
from steadyread.metrics.noise import flipped_within, inside
from steadyread.metrics.noise_classes import areas
from steadyread.metrics.over_folds import mean_over_folds, over_folds, share_over_folds, statistic_over_folds
from steadyread.metrics.paired_tests import sign_flip_test
from steadyread.metrics.pairs import Pair
from steadyread.metrics.reads import Outcome, Strings

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Flips:
    """The chance to be flipped at least once in `trials` trials of each, (n, f), NaN where either has none.

    `trials` is None where searches stopped at a flip; `made` says how many each network's cases had at most.
    """

    before: Floats
    after: Floats
    trials: int | None
    made: tuple[int, int]


def flips_of(pair: Pair, attack: str, mas: float, part: str) -> Flips | None:
    """The flips of both under one attack, at an equal number of trials.

    Of unequal K the smaller one is taken: the other's chance is that of so many of its own trials, drawn without
    replacement. None where either was not attacked, or where searches that stop at a flip had unequal K.
    """
    sides = [inside(networks, attack, mas, part) for networks in (pair.before, pair.after)]
    first, second = sides
    if first is None or second is None:
        return None
    counts = [np.unique(under.trials[under.trials > 0]) for under in (first, second)]
    made = int(counts[0].max()), int(counts[1].max())
    alike = all(len(count) == 1 for count in counts)
    if not alike and made[0] != made[1]:
        return None
    values = [_flipped(under, min(made), own) for under, own in zip((first, second), made, strict=True)]
    both = np.isfinite(values[0]) & np.isfinite(values[1])
    return Flips(np.where(both, values[0], np.nan), np.where(both, values[1], np.nan),
                 min(made) if alike else None, made)


def paired_row(before: Floats, after: Floats, patients: Strings, seed: int = 0) -> dict[str, Any]:
    """Mean over folds before and after, of values (n, f) from 0 to 1 that both have, and how they differ.

    `difference` is after minus before, with its interval over the same resampled patients; `ratio` is after /
    before (None where nothing flipped before; where nothing does after, its upper end is that of `after`, which is
    Clopper and Pearson's, over `before`); `p` is that of `sign_flip_test`, two-sided.
    """
    both = np.isfinite(before) & np.isfinite(after)
    kept = both.any(1)
    both, patients = both[kept], patients[kept]
    first, second = (np.where(both, values[kept], 0.0) for values in (before, after))
    sides = {name: _over_folds(np.where(both, values, np.nan), patients, seed)
             for name, values in (("before", first), ("after", second))}
    n, present = len(both), both.astype(np.float64)

    def contrasts(weights: Floats) -> Floats:
        whole = weights @ present
        old, new = (_known_mean(ratio(weights @ values, whole)) for values in (first, second))
        return np.stack([new - old, ratio(new, old)], axis=1)

    intervals = bootstrap(contrasts, patients, seed) if n else np.full((2, 2), np.nan)
    counts = present.sum(0)
    change = ratio(second.sum(0), counts) - ratio(first.sum(0), counts)
    spread = (second - first) / np.where(counts > 0, counts, np.inf)
    return {**sides, "cases": n, "difference": over_folds(change, intervals[0], n),
            "ratio": _ratio(sides["before"], sides["after"], intervals[1]),
            "p": sign_flip_test(spread.sum(1), patients, seed)}


def paired_areas(pair: Pair, part: str, seed: int = 0) -> dict[str, Any]:
    """AUC before and after in one part, as `noise_classes.areas`, and the paired difference, after minus before."""
    kept = np.asarray(((pair.before.part == part) & (pair.after.part == part)).any(1) & (pair.before.label >= 0))
    label, folds = pair.before.label[kept], len(pair.before.folds)
    there = ((pair.before.part == part) & (pair.after.part == part))[kept]
    scores = [[class_scores(networks.logits[kept, fold], networks.logits.shape[2]) for fold in range(folds)]
              for networks in (pair.before, pair.after)]

    def change(weights: Floats, fold: int) -> Floats:
        own = [side[fold] for side in scores]
        known = there[:, fold] & (own[0] < np.inf).all(1) & (own[1] < np.inf).all(1)
        old, new = (_area(weights[:, known], score[known], label[known]) for score in own)
        return new - old

    patients = pair.before.patient[kept]
    scale = Scale("linear", smaller_side(label, patients, judged_classes(label)) - 1)
    found = statistic_over_folds(change, folds, patients, seed, scale)
    return {"before": areas(pair.before, part, seed, kept),
            "after": areas(pair.after, part, seed, kept),
            "cases": int(kept.sum()), "difference": found}


def _flipped(under: Outcome, trials: int, own: int) -> Floats:
    return flipped_within(under, trials) if own > trials else under.known(under.flipped)


def _over_folds(values: Floats, patients: Strings, seed: int) -> Estimate:
    """A share where all values are 0 or 1, a mean of chances else."""
    known = values[np.isfinite(values)]
    whole: Flags = (known == 0) | (known == 1)
    return share_over_folds(values, patients) if whole.all() else mean_over_folds(values, patients, seed)


def _known_mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(1), known.sum(1).astype(np.float64))


def _ratio(before: Estimate, after: Estimate, interval: Floats) -> Estimate:
    if not before.value or after.value is None:
        return Estimate(None, n=before.n)
    low, high = (float(end) if np.isfinite(end) else None for end in interval)
    if after.value == 0:
        low, high = (None, None) if after.high is None else (0.0, after.high / before.value)
    return Estimate(after.value / before.value, low, high, before.n)


def _area(weights: Floats, score: Floats, label: Ints) -> Floats:
    """The AUC of class 1 of two, else the mean of one class against the rest, under each row of weights (b, n)."""
    classes = range(score.shape[1]) if score.shape[1] > 2 else range(score.shape[1] - 1, score.shape[1])
    each = [weighted_auc(weights, score[:, one], label == one) for one in classes
            if 0 < (label == one).sum() < len(label)]
    return _known_mean(np.stack(each, axis=1)) if each else np.full(len(weights), np.nan)
