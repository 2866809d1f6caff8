"""A threshold of triage with a guarantee: at most so many errors among the reads that are kept.

Thresholds are tested one after another in an order fixed beforehand, each at the full level, up to the first that
fails (fixed-sequence testing, as Learn then Test has it, arXiv:2110.01052). The bound of each is binomial, as in
Geifman and El-Yaniv (arXiv:1705.08500), who share the level out among a grid, so that 20 thresholds need twice the
patients.
"""

from typing import Any

import numpy as np
from scipy import stats

from steadyread.metrics.intervals import Estimate, Floats, Ints, clopper_pearson, share
from steadyread.metrics.reads import Reads
from steadyread.metrics.triage import Scored, scores


def guarantee(validation: Reads | None, test: Reads, score: str, alpha: float, delta: float = 0.05,
              seed: int = 0) -> dict[str, Any]:
    """A threshold whose error among the kept is at most `alpha` with confidence 1 - `delta`.

    The bound needs independent reads, so one a patient is drawn from the validation images: it speaks of a random
    image of a random patient, not of all images. The steadiest of them are judged in the steps of `kept_steps`.
    Those above a step's threshold are draws of the reads above it; where the error falls as the score rises, the
    first threshold with too many errors passes with a chance of at most delta. The images must be new to the
    network: those that chose the epoch to keep flatter it. There is none for `combined`, which has seen their
    labels. `threshold` is None where nothing passes: an error too many among the steadiest, or fewer than
    `least_patients`, which would be needed without a single error.
    """
    answer: dict[str, Any] = {"score": score, "alpha": alpha, "delta": delta, "threshold": None, "bound": None,
                              "coverage": Estimate(None), "error": Estimate(None), "validation_images": 0}
    answer["least_patients"] = int(np.ceil(np.log(delta) / np.log1p(-alpha)))
    if validation is None:
        return answer
    scored = scores(validation)
    if score not in scored.score:
        return answer
    single = _one_a_patient(scored, seed)
    values, wrong = scored.score[score][single], scored.wrong[single]
    answer["validation_images"] = len(values)
    passed = None
    for step in kept_steps(len(values), alpha, delta):
        threshold = threshold_keeping(values, int(step))
        kept = values > threshold
        bound = float(clopper_pearson(wrong[kept].sum(), kept.sum(), 1 - 2 * delta)[1])
        if bound > alpha:
            break
        passed = {"threshold": threshold, "bound": bound}
    if passed is None:
        return answer
    tested = scores(test)
    held = tested.score[score] > passed["threshold"] if score in tested.score else np.zeros(len(tested.wrong), bool)
    return answer | passed | {"coverage": share(held, tested.patient),
                              "error": share(tested.wrong[held], tested.patient[held])}


def kept_steps(n: int, alpha: float, delta: float) -> Ints:
    """How many of n reads are kept at each step: the fewest that may hold 0 errors, 1 error, 2 and so on.

    No number between two of these may hold more errors than the lower one, so testing it would only add a chance to
    fail. They depend on nothing that was observed, as an order fixed beforehand must.
    """
    kept = np.arange(1, n + 1)
    reached = stats.binom.ppf(delta, kept, alpha)
    allowed = np.where(stats.binom.cdf(reached, kept, alpha) <= delta, reached, reached - 1)
    return np.asarray(kept[np.diff(allowed, prepend=-1.0) > 0], np.int64)


def threshold_keeping(values: Floats, count: int) -> float:
    """The highest threshold above which at least so many of the values (n,) lie; -inf where ties leave no other."""
    lowest = np.sort(values)[len(values) - count]
    below = values[values < lowest]
    return float(below.max()) if len(below) else -np.inf


def _one_a_patient(scored: Scored, seed: int) -> Ints:
    """Indices of one read a patient, drawn at random."""
    shuffled = np.random.default_rng(seed).permutation(len(scored.wrong))
    _, first = np.unique(scored.patient[shuffled], return_index=True)
    return np.sort(shuffled[first])
