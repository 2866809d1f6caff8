"""Balanced accuracy: the mean of the classes' recalls, which test parts with as many of each class have on average.

[A] (doi:10.1200/CCI.21.00170) judges balanced test parts, so that guessing reads half of them right; natural ones have
another floor. A balanced part that is drawn throws images away and adds the draw's chance; the mean of recalls takes
every image, and has no draw.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from steadyread.metrics.intervals import Estimate, Flags, Floats, Ints, share
from steadyread.metrics.reads import Reads, Strings


def balanced_accuracy(right: Flags, label: Ints, patients: Strings) -> Estimate:
    """The mean over classes of the share of images that are `right`, (n,) each, with its interval over patients.

    The classes' intervals are those of `share`; the mean's ends are as far from it as those of theirs together, over
    their number (MOVER, with what correlates; Zou and Donner 2008, doi:10.1002/sim.3095), which stays honest where a
    class is all right or all wrong. Recalls correlate by the patients who have images of several classes. Classes
    without images have no part in it.
    """
    known = np.unique(label)
    each = [share(right[label == one], patients[label == one]) for one in known]
    if not each:
        return Estimate(None)
    value, low, high = (np.array([getattr(one, name) for one in each], np.float64) for name in ("value", "low", "high"))
    middle, alike = float(value.mean()), _correlation(right, np.searchsorted(known, label), value, patients)
    below, above = (max(0.0, float(away @ alike @ away)) ** 0.5 / len(each) for away in (value - low, high - value))
    return Estimate(middle, max(0.0, middle - below), min(1.0, middle + above), len(label))


def _correlation(right: Flags, of: Ints, recall: Floats, patients: Strings) -> Floats:
    """The correlation (k, k) of the classes' recalls over patients; 0 with one that does not vary. `of` (n,) are the
    places of the images' classes."""
    _, codes = np.unique(patients, return_inverse=True)
    sums = np.zeros((len(recall), codes.max() + 1))
    np.add.at(sums, (of, codes), right - recall[of])
    together = sums @ sums.T
    spread = np.sqrt(np.diag(together))
    scale = np.outer(spread, spread)
    correlated: Floats = np.divide(together, scale, out=np.zeros_like(together), where=scale > 1e-12)
    np.fill_diagonal(correlated, 1.0)
    return correlated


def balanced_under_attack(reads: Reads, against: str) -> Iterator[dict[str, Any]]:
    """The balanced accuracy of the clean reads (`attack` is "clean", `level` 0), then under each attack at each level
    in native units, on its own as [A] has it."""
    yield {"attack": "clean", "level": 0.0, "accuracy": _balanced(reads.prediction, reads.known, reads)}
    for outcome in reads.fixed(against):
        yield {"attack": outcome.attack, "level": outcome.level,
               "accuracy": _balanced(outcome.prediction, outcome.present & reads.known, reads)}


def _balanced(prediction: Ints, judged: Flags, reads: Reads) -> Estimate:
    label = reads.labels[judged]
    return balanced_accuracy(prediction[judged] == label, label, reads.patients[judged])
