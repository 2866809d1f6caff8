"""Which reads to withhold for a human: by the smallest flip ([A] Table 2), and by what is free.

[A] (doi:10.1200/CCI.21.00170) drops the 20 % most sensitive *test* images by a threshold seen on the test
set. Here the threshold is chosen on validation images, and the score is set against the margin and the
entropy of the clean read, which cost nothing, and against further scores that a run may have. A read is withheld
where its score is at or below the threshold.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special, stats

from steadyread.metrics.combination import COMBINED, Combination, fitted
from steadyread.metrics.discrimination import weighted_auc
from steadyread.metrics.intervals import (
    FEWEST,
    QUANTILES,
    Estimate,
    Flags,
    Floats,
    Scale,
    bootstrap,
    clopper_pearson,
    estimate,
    ratio,
    share,
    weighted_mean,
)
from steadyread.metrics.paired_tests import holm, t_test
from steadyread.metrics.reads import Reads, decided
from steadyread.metrics.verdicts import verdict

SMALLEST_FLIP = "smallest_flip"
RANDOM = "random"
MARGIN = "margin"
GRADIENT = "gradient"     # the margin over the L1 norm of its gradient: `referral` writes it
FREE = (MARGIN, "entropy")
SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of m labelled clean reads, (m,) each, higher for steadier ones, and which reads are wrong.

    `chosen` (n, f) says which of `reads` they are, case by case.
    """

    score: dict[str, Floats]
    wrong: Flags
    reads: Reads
    chosen: Flags

    @property
    def patient(self) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
        """The patients of the scored reads, (n,)."""
        return self.reads.patients[self.chosen]


def scores(reads: Reads) -> Scored:
    """Every score of the labelled reads: smallest flip (where searched), margin, entropy, and further ones.

    The smallest flip is the one against the *prediction*: against the label it is 0 for every wrong read,
    which gives the answer away. It is the search's own finding, without those of other attacks: validation
    images have searches alone, and a threshold is only good for the score it was chosen on. Another search, such as
    [A]'s, is a score of its own. Further scores
    are those of `Reads.scores` that every one of these reads has. An undecided read scores -inf and is withheld
    first.
    """
    searched = reads.smallest_flip("prediction")
    chosen = reads.known & (searched.present if searched is not None else True)
    found: dict[str, Floats] = {}
    if searched is not None:
        found[SMALLEST_FLIP] = searched.found[chosen]
    found |= {other.attack: other.found[chosen] for other in reads.searches("prediction")
              if other.present[chosen].all()}
    logits = reads.logits[chosen]
    sure = decided(logits) & (reads.prediction[chosen] >= 0)
    found["margin"], found["entropy"] = _margin(logits), _negative_entropy(logits)
    found |= {name: values[chosen] for name, values in reads.scores.items() if not np.isnan(values[chosen]).any()}
    return Scored({name: np.where(sure, values, -np.inf) for name, values in found.items()},
                  ~reads.correct[chosen], reads, chosen)


def with_combined(scored: Scored, combination: Combination | None) -> Scored:
    """The same reads with the score `combined` as well, where there is a combination and they have what it takes.

    A read with any score of -inf has that.
    """
    if combination is None or not combination.features.keys() <= scored.score.keys():
        return scored
    lowest = np.min([scored.score[name] for name in combination.features], axis=0)
    values = np.where(lowest > -np.inf, combination(scored.score), -np.inf)
    return replace(scored, score=scored.score | {COMBINED: values})


def threshold_for(score: Floats, share_withheld: float = SHARE) -> float:
    """The threshold that withholds (score <= threshold) a share as near to the wanted one as ties allow.

    -inf (withhold none) where that is nearest, as when more than twice the share are equally steady.
    """
    if not len(score):
        return -np.inf
    values, counts = np.unique(score, return_counts=True)
    reached = np.append(0.0, np.cumsum(counts) / len(score))
    return float(np.append(-np.inf, values)[np.argmin(np.abs(reached - share_withheld))])


def risk_coverage(score: Floats, wrong: Flags) -> tuple[Floats, Floats]:
    """Error among the kept k/n steadiest reads, (coverage, risk) for k = 1 to n.

    Reads of equal score are kept in a random order; their expected error is drawn.
    """
    n = len(score)
    order = np.argsort(-score, kind="stable")
    ranked, missed = score[order], wrong[order].astype(np.float64)
    _, group = np.unique(-ranked, return_inverse=True)
    mean = np.bincount(group, missed) / np.maximum(np.bincount(group), 1) if n else missed
    kept = np.arange(1, n + 1)
    return kept / max(n, 1), np.cumsum(mean[group] if n else missed) / kept


def area(weights: Floats, score: Floats, wrong: Flags) -> Floats:
    """The area under the risk-coverage curve under each row of whole `weights` (b, n): mean risk over k.

    Equal scores in expectation, in closed form: over k from w0+1 to w1 the sum of (e0 + (k - w0) r) / k.
    """
    if not len(score):
        return np.full(len(weights), np.nan)
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    drawn = np.add.reduceat(weights[:, order], starts, axis=1)
    missed = np.add.reduceat(weights[:, order] * wrong[order], starts, axis=1)
    reached = np.cumsum(drawn, axis=1)
    before, errors = reached - drawn, np.cumsum(missed, axis=1) - missed
    rate = np.divide(missed, drawn, out=np.zeros_like(missed), where=drawn > 0)
    harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, int(reached[:, -1].max()) + 1)))
    span = harmonic[reached.astype(np.int64)] - harmonic[before.astype(np.int64)]
    total = reached[:, -1]
    return ratio((rate * drawn + (errors - rate * before) * span).sum(1), total)


def generalised_area(weights: Floats, score: Floats, wrong: Flags) -> Floats:
    """The area under generalised risk (AUGRC; Traub et al. 2024, arXiv:2407.01032) under each row of `weights`.

    Generalised risk is the share of all reads that are kept *and* wrong, so that no read weighs more for being
    kept early, as it does in `area`. Equal scores in expectation. With the accuracy a and the AUC of telling right
    reads from wrong by the score it is (1 - AUC) a (1 - a) + (1 - a)^2 / 2.
    """
    if not len(score):
        return np.full(len(weights), np.nan)
    total, missed = weights.sum(1), weights @ wrong
    right = total - missed
    lost = (1 - np.nan_to_num(weighted_auc(weights, score, ~wrong), nan=1.0)) * missed * right
    return ratio(lost + missed**2 / 2, total**2)


def triage(test: Reads, validation: Reads | None, share_withheld: float = SHARE,
           seed: int = 0) -> dict[str, Any]:
    """[A] Table 2 for every score, with the honest comparison.

    Thresholds come from `validation`; without one they are seen on the test images as in [A], and
    `chosen_on` says so. Each row has the threshold, the share withheld, the accuracy among the kept and its
    change, the area under risk-coverage, and that under generalised risk; `differences` are smallest flip minus the
    other score, and `differences_to_margin` each other score minus the margin, paired over the same resampled
    patients, with the p of no difference and `p_holm`, Holm's over these scores. `random` is exact: its expected
    accuracy is the accuracy of all.

    Where the reads have further scores, `combined` tells of the combination of all of them, which only sees the
    validation reads: its rule, or `why` there is none. It is None where there are no further scores.
    """
    scored = scores(test)
    elsewhere = scores(validation) if validation is not None and validation.known.any() else None
    combination, told = _combination(scored, elsewhere)
    scored = with_combined(scored, combination)
    elsewhere = with_combined(elsewhere, combination) if elsewhere is not None else None
    base = scored if elsewhere is None else elsewhere
    thresholds = {name: threshold_for(base.score[name], share_withheld)
                  for name in scored.score if name in base.score}
    kept = {name: scored.score[name] > threshold for name, threshold in thresholds.items()}
    names = list(kept)
    everyone = share(~scored.wrong, scored.patient)
    intervals = _resampled(scored, kept, seed)
    rows = [_row(scored, name, thresholds[name], kept[name], intervals[name]) for name in names]
    if names:
        rows.append({"score": RANDOM, "threshold": None, "withheld": Estimate(share_withheld), "kept": None,
                     "accuracy": everyone, "change": Estimate(0.0), "area": intervals[RANDOM]["area"],
                     "generalised_area": intervals[RANDOM]["generalised_area"]})
    return {"share": share_withheld, "chosen_on": "test" if elsewhere is None else "validation",
            "validation_images": 0 if elsewhere is None else len(elsewhere.wrong), "images": len(scored.wrong),
            "patients": len(np.unique(scored.patient)), "accuracy": everyone, "rows": rows,
            "differences": _differences(intervals), "differences_to_margin": _to_margin(scored, intervals),
            "combined": told,
            "rank_correlation": rank_correlation(scored.score.get(SMALLEST_FLIP), scored.score["margin"]),
            "gradient_correlation": rank_correlation(scored.score.get(SMALLEST_FLIP), scored.score.get(GRADIENT)),
            "beats_margin": _beats(scored, intervals, "margin")}


def rank_correlation(one: Floats | None, other: Floats | None) -> float | None:
    """Spearman's; inf is a value like others. None for fewer than three images, or a constant or absent score."""
    if one is None or other is None or len(one) < 3:
        return None
    ranks = np.stack([stats.rankdata(one), stats.rankdata(other)])
    if not (np.ptp(ranks, axis=1) > 0).all():
        return None
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def _row(scored: Scored, name: str, threshold: float, kept: Flags,
         found: dict[str, Estimate]) -> dict[str, Any]:
    return {"score": name, "threshold": threshold, "withheld": share(~kept, scored.patient),
            "kept": int(kept.sum()), "accuracy": share(~scored.wrong[kept], scored.patient[kept]),
            "change": found["change"], "area": found["area"], "generalised_area": found["generalised_area"]}


def _resampled(scored: Scored, kept: dict[str, Flags], seed: int) -> dict[str, dict[str, Estimate]]:
    """For each score its change in accuracy and its area, the smallest flip's minus these ("less_..."), and its
    area minus the margin's ("over_margin").

    Of areas t has `_carried_by` less one for freedom.
    """
    names = [*kept, RANDOM]
    n = len(scored.wrong)
    carry = _carried_by(scored) - 1
    area_, difference = Scale("logit", carry), Scale("linear", carry)
    constant = np.zeros(n)

    def statistic(weights: Floats) -> Floats:
        overall = weighted_mean(weights, ~scored.wrong)
        columns = []
        for name in names:
            flags = kept.get(name, np.ones(n, bool))
            columns.append(weighted_mean(weights[:, flags], ~scored.wrong[flags]) - overall)
            columns += [under(weights, scored.score.get(name, constant), scored.wrong)
                        for under in (area, generalised_area)]
        if SMALLEST_FLIP in names:
            first = names.index(SMALLEST_FLIP) * 3
            columns += [columns[first + side] - columns[3 * place + side]
                        for place in range(len(names)) for side in (0, 1)]
        if MARGIN in names:
            free = columns[names.index(MARGIN) * 3 + 1]
            columns += [columns[3 * place + 1] - free for place in range(len(names))]
        return np.stack(columns, axis=1)

    values = statistic(np.ones((1, n)))[0]
    flips, margins = (len(names) * (name in names) for name in (SMALLEST_FLIP, MARGIN))
    scales = [*[QUANTILES, area_, area_] * len(names), *[QUANTILES, difference] * flips, *[difference] * margins]
    intervals = bootstrap(statistic, scored.patient, seed, scales=scales)
    told = iter([estimate(value, interval, n) for value, interval in zip(values, intervals, strict=True)])
    made: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    for keys, wanted in ((("change", "area", "generalised_area"), True),
                         (("less_change", "less_area"), SMALLEST_FLIP in names),
                         (("over_margin",), MARGIN in names)):
        for name in names if wanted else ():
            made[name] |= {key: next(told) for key in keys}
    if carry < 0 or scored.wrong.all():
        made = {name: one | {"area": _without_contrast(scored, 1.0),
                             "generalised_area": _without_contrast(scored, 0.5)} for name, one in made.items()}
    return made


def _without_contrast(scored: Scored, most: float) -> Estimate:
    """The area where every read is right (0), or every one wrong (`most`), of which each resample is a copy.

    Its interval is that of the error over so many independent patients: the area of a score that sorts no better
    than chance. None for too few patients.
    """
    n, patients = len(scored.wrong), len(np.unique(scored.patient))
    if not n:
        return Estimate(None)
    value = most * float(scored.wrong[0])
    if patients < FEWEST:
        return Estimate(value, n=n)
    return estimate(value, most * np.array(clopper_pearson(patients * scored.wrong[0], patients)), n)


def _differences(intervals: dict[str, dict[str, Estimate]]) -> list[dict[str, Any]]:
    """Smallest flip minus each other score, in accuracy among the kept and in area."""
    return [{"against": name, "accuracy": found["less_change"], "area": found["less_area"]}
            for name, found in intervals.items() if "less_area" in found and name != SMALLEST_FLIP]


def _to_margin(scored: Scored, intervals: dict[str, dict[str, Estimate]]) -> list[dict[str, Any]]:
    """Each other score minus the margin, in area: below 0 where it sorts right from wrong better."""
    freedom = _carried_by(scored) - 1
    areas = {name: found["over_margin"] for name, found in intervals.items()
             if "over_margin" in found and name not in (MARGIN, RANDOM)}
    tests = [t_test(found, freedom) for found in areas.values()]
    return [{"score": name, "area": found, "p": p, "p_holm": corrected}
            for (name, found), p, corrected in zip(areas.items(), tests, holm(tests), strict=True)]


def _carried_by(scored: Scored) -> int:
    """The patients who tell one area from another: those with a wrong read."""
    return len(np.unique(scored.patient[scored.wrong]))


def _combination(scored: Scored, elsewhere: Scored | None) -> tuple[Combination | None, dict[str, Any] | None]:
    """All scores that both parts have in one, fitted on the validation reads, and what is told of it.

    Other searches for a smallest flip are left out, which are there to be set beside ours. (None, None) where there are
    no further scores to combine with what every run has.
    """
    others = {one.attack for one in scored.reads.searches("prediction")}
    if scored.score.keys() <= {SMALLEST_FLIP, *FREE, GRADIENT, *others}:
        return None, None
    made: Combination | None = None
    why: str | None = "The scores are not combined: there are no validation reads to fit that on."
    if elsewhere is not None:
        common = {name: values for name, values in elsewhere.score.items() if name in scored.score
                  and name not in others}
        made, why = fitted(common, elsewhere.wrong)
    nothing = dict.fromkeys(("reads", "wrong", "penalty", "intercept", "features"))
    return made, {"why": why, **(nothing if made is None else made.as_json())}


def _beats(scored: Scored, intervals: dict[str, dict[str, Estimate]], other: str) -> str | None:
    """"yes", "no" (the other is better) or "alike", by whether the paired interval of the areas holds 0.

    "unflipped" where the search flipped none of the reads, which it then leaves without an order; None where there
    is no interval: nothing was searched, or too few patients.
    """
    difference = intervals.get(other, {}).get("less_area", Estimate(None))
    flipped = bool(np.isfinite(scored.score.get(SMALLEST_FLIP, np.zeros(1))).any())
    return {"better": "yes", "worse": "no", "alike": "alike", "same": "unflipped"}.get(
        verdict(difference, changed=flipped, lower_is_better=True))


def _margin(logits: Floats) -> Floats:
    """The best logit minus the second, (n,)."""
    if logits.shape[1] < 2:
        return np.full(len(logits), np.nan)
    two = np.partition(logits, -2, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        return np.asarray(two[:, 1] - two[:, 0])


def _negative_entropy(logits: Floats) -> Floats:
    """The sum of p log p of the softmax, (n,): 0 for a sure read."""
    if logits.shape[1] < 2:
        return np.full(len(logits), np.nan)
    with np.errstate(invalid="ignore"):
        log = special.log_softmax(logits, axis=1)
        return np.asarray(np.sum(np.exp(log) * np.maximum(log, np.finfo(np.float64).min), axis=1))
