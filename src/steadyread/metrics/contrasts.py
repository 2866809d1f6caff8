"""One number before and after, read by read: what every comparison of two networks is made of, whatever the threat.

Both networks read the same images, and a patient has several of them, so a difference is taken read by read and
resampled, or has its sign changed, patient by patient, for all folds at once. How much another training would have
differed is told by the folds' spread, which neither interval nor p knows of.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steadyread.metrics.discrimination import class_scores, judged_classes, smaller_side, weighted_auc
from steadyread.metrics.intervals import Estimate, Flags, Floats, Ints, Scale, bootstrap, ratio
from steadyread.metrics.noise import flipped_within, inside
from steadyread.metrics.noise_classes import areas, rated
from steadyread.metrics.over_folds import mean_over_folds, over_folds, share_over_folds, statistic_over_folds
from steadyread.metrics.paired_tests import sign_flip_test
from steadyread.metrics.pairs import Pair
from steadyread.metrics.reads import Outcome, Strings

_NONE = Estimate(None)


@dataclass(frozen=True)
class Contrast:
    """A mean before and after over the reads that both networks have, and how they differ.

    `difference` is after minus before and `ratio` after / before, over the same resampled patients. `gained` and
    `lost` count the reads (n times f) whose value rose and fell; `p` is that of `sign_flip_test`, two-sided. An AUC
    is of no single read: it has neither counts nor p.
    """

    before: Estimate
    after: Estimate
    difference: Estimate
    ratio: Estimate = _NONE
    gained: int = 0
    lost: int = 0
    p: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Its parts by name."""
        return dict(vars(self))


UNKNOWN = Contrast(_NONE, _NONE, _NONE)


def contrast(before: Floats, after: Floats, patients: Strings, seed: int = 0) -> Contrast:
    """The contrast of values (n, f) from 0 to 1, NaN where a network has none, of the reads that both have.

    Means are over folds (see `over_folds`). Only patients with such a read are resampled, and count as known. The
    ratio is None where nothing was there before; where nothing is after, its upper end is that of `after`, which is
    Clopper and Pearson's, over `before`.
    """
    both = np.isfinite(before) & np.isfinite(after)
    kept = both.any(1)
    both, patients = both[kept], patients[kept]
    first, second = (np.where(both, values[kept], 0.0) for values in (before, after))
    old, new = (_over_folds(np.where(both, values, np.nan), patients, seed) for values in (first, second))
    n, present = len(both), both.astype(np.float64)

    def contrasts(weights: Floats) -> Floats:
        whole = weights @ present
        means = [_known_mean(ratio(weights @ values, whole)) for values in (first, second)]
        return np.stack([means[1] - means[0], ratio(means[1], means[0])], axis=1)

    intervals = bootstrap(contrasts, patients, seed) if n else np.full((2, 2), np.nan)
    counts = present.sum(0)
    change = ratio(second.sum(0), counts) - ratio(first.sum(0), counts)
    # where all folds have as many reads the changes stay counts of reads, whose test is exact
    weighed = (second - first) * ratio(np.full(len(counts), counts.max(initial=0.0)), counts).clip(0)
    difference = over_folds(change, intervals[0], n)
    if len(counts) == 1:
        old, new, difference = (replace(each, sd=None, folds=()) for each in (old, new, difference))
    return Contrast(old, new, difference, _ratio(old, new, intervals[1]), int((second > first).sum()),
                    int((second < first).sum()), sign_flip_test(np.nansum(weighed, 1), patients, seed))


def area_contrast(pair: Pair, part: str, seed: int = 0) -> Contrast:
    """AUC before and after in one part, as `noise_classes.areas`, and the paired difference."""
    (first, label), (second, _) = (rated(networks.logits, pair.before.label) for networks in (pair.before, pair.after))
    there = (pair.before.part == part) & (pair.after.part == part)
    kept = np.asarray(there.any(1) & (label >= 0))
    label, there, folds = label[kept], there[kept], len(pair.before.folds)
    scores = [[class_scores(logits[kept, fold], logits.shape[2]) for fold in range(folds)]
              for logits in (first, second)]

    def change(weights: Floats, fold: int) -> Floats:
        sides = [side[fold] for side in scores]
        known = there[:, fold] & (sides[0] < np.inf).all(1) & (sides[1] < np.inf).all(1)
        old, new = (_area(weights[:, known], score[known], label[known]) for score in sides)
        return new - old

    patients = pair.before.patient[kept]
    scale = Scale("linear", smaller_side(label, patients, judged_classes(label)) - 1)
    return Contrast(areas(pair.before, part, seed, kept), areas(pair.after, part, seed, kept),
                    statistic_over_folds(change, folds, patients, seed, scale))


@dataclass(frozen=True, eq=False)
class Flips:
    """The chance to be flipped at least once in `trials` trials of each, (n, f), NaN where either has none.

    `trials` is None where searches stopped at a flip; `most` says how many each network's cases had at most.
    """

    before: Floats
    after: Floats
    trials: int | None
    most: tuple[int, int]


def flips_of(pair: Pair, attack: str, mas: float, part: str) -> Flips | None:
    """The flips of both under one attack, at an equal number of trials.

    Of unequal K the smaller one is taken: the other's chance is that of so many of its own trials, drawn without
    replacement. None where either was not attacked, or where searches that stop at a flip had unequal K.
    """
    first, second = (inside(networks, attack, mas, part) for networks in (pair.before, pair.after))
    if first is None or second is None:
        return None
    counts = [np.unique(under.trials[under.trials > 0]) for under in (first, second)]
    most = int(counts[0].max()), int(counts[1].max())
    alike = all(len(count) == 1 for count in counts)
    if not alike and most[0] != most[1]:
        return None
    values = [_flipped(under, min(most), own) for under, own in zip((first, second), most, strict=True)]
    both = np.isfinite(values[0]) & np.isfinite(values[1])
    return Flips(np.where(both, values[0], np.nan), np.where(both, values[1], np.nan),
                 min(most) if alike else None, most)


def flips_contrast(pair: Pair | None, attack: str, mas: float, part: str, seed: int = 0) -> Contrast | None:
    """The contrast of `flips_of`, None where it is, or without a pair."""
    flips = flips_of(pair, attack, mas, part) if pair is not None else None
    return None if pair is None or flips is None else contrast(flips.before, flips.after, pair.before.patient, seed)


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
