"""Which reads to leave to a human, threshold by threshold: what a page's handle moves along, and triage.csv."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from steadyread.metrics.combination import combination_of
from steadyread.metrics.intervals import Estimate, Floats, Ints, share
from steadyread.metrics.reads import Reads
from steadyread.metrics.summary import as_json
from steadyread.metrics.triage import FREE, RANDOM, SMALLEST_FLIP, Scored, scores, with_combined
from steadyread.names import cell
from steadyread.registry import ATTACKS
from steadyread.report.shareable import IN_REPORT, Shareable
from steadyread.units import Bounds, unit_word
from steadyread.words.numbers import NONE, digits, percent, score_name

LIST = "triage.csv"
_STEPS = 100       # thresholds on a page, from no read referred to all but a hundredth
_LISTED = 2_000    # reads on a page: the first that each score refers
Triage = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """A threshold of a score: how many reads are `referred` at it, how many of these are wrong (`caught`), the error
    among those kept, and the threshold in words."""

    threshold: float
    says: str
    referred: int
    caught: int
    error: Estimate


@dataclass(frozen=True, eq=False)
class Sorted:
    """The reads by one score: its steps, which of them is the one chosen, and the first reads that it refers, as places
    in `Referral.reads`."""

    score: str
    steps: tuple[Step, ...]
    chosen: int
    order: Ints


@dataclass(frozen=True)
class Read:
    """A read as the list names it."""

    case: str
    patient: str
    truth: str
    read: str
    sure: str
    flip: str
    fold: str


@dataclass(frozen=True, eq=False)
class Referral:
    """All that a page's handle needs: the scores, and the reads that any of them refers among its first; of `count`
    reads `wrong` are wrong."""

    count: int
    wrong: int
    scores: tuple[Sorted, ...]
    reads: tuple[Read, ...]
    folded: bool = False

    def as_json(self) -> dict[str, Any]:
        """The block of the page, columns rather than rows."""
        return {"version": 2, "count": self.count, "wrong": self.wrong, "file": LIST, "scores": [
            {"score": each.score, "title": score_name(each.score), "chosen": each.chosen, "order": each.order.tolist(),
             "threshold": [as_json(step.threshold) for step in each.steps],
             "says": [step.says for step in each.steps], "referred": [step.referred for step in each.steps],
             "caught": [step.caught for step in each.steps],
             "error": [[_rounded(end) for end in (step.error.value, step.error.low, step.error.high)]
                       for step in each.steps]} for each in self.scores],
            "reads": {name: [getattr(read, name) for read in self.reads]
                      for name in Read.__annotations__ if name != "fold" or self.folded}}

    def first(self, most: int) -> list[Read]:
        """The first reads that the first score refers at the threshold that was chosen."""
        by = self.scores[0]
        return [self.reads[at] for at in by.order[:min(most, by.steps[by.chosen].referred)]]


def referral_of(reads: Reads, found: Triage, classes: list[str], bounds: Bounds, shared: Shareable,
                most: int = _LISTED) -> Referral | None:
    """What the handle of a page moves along, with `most` reads by each score; None where no read has a label."""
    scored = _scored(reads, found)
    chosen = {row["score"]: row["threshold"] for row in found["rows"] if row["score"] != RANDOM}
    if not len(scored.wrong) or not chosen:
        return None
    orders = {name: np.argsort(scored.score[name], kind="stable") for name in chosen}
    shown = np.unique(np.concatenate([order[:most] for order in orders.values()]))
    patients = np.unique(scored.patient, return_inverse=True)[1]      # as numbers: told apart a hundred times
    by = tuple(replace(_sorted(scored, patients, name, orders[name], threshold, bounds),
                       order=np.searchsorted(shown, orders[name][:most])) for name, threshold in chosen.items())
    folded = len(reads.folds) > 1
    return Referral(len(scored.wrong), int(scored.wrong.sum()), by,
                    tuple(_listed(scored, shown, classes, bounds, shared)), folded)


def _scored(reads: Reads, found: Triage) -> Scored:
    return with_combined(scores(reads), combination_of(found["combined"]))


def _sorted(scored: Scored, patients: Ints, name: str, order: Ints, chosen: float, bounds: Bounds) -> Sorted:
    score, n = scored.score[name], len(order)
    ranked = score[order]
    shares = (round(at * n / _STEPS) for at in range(1, _STEPS))
    thresholds = sorted({-math.inf, *(float(ranked[count - 1]) for count in shares if count), float(chosen)})
    steps = {int(np.sum(score <= at)): at for at in thresholds}      # of thresholds that refer the same one is left
    made = tuple(_step(scored, patients, name, at, bounds) for count, at in sorted(steps.items()) if count < n)
    at = int(np.argmin([abs(step.referred - int(np.sum(score <= chosen))) for step in made])) if made else 0
    return Sorted(name, made, at, order)


def _step(scored: Scored, patients: Ints, name: str, threshold: float, bounds: Bounds) -> Step:
    kept = scored.score[name] > threshold
    return Step(threshold, rule(name, threshold, bounds), int(np.sum(~kept)), int(np.sum(scored.wrong[~kept])),
                share(scored.wrong[kept], patients[kept]))


def _listed(scored: Scored, shown: Ints, classes: list[str], bounds: Bounds, shared: Shareable) -> Iterator[Read]:
    reads, flips = scored.reads, scored.score.get(SMALLEST_FLIP)
    for at, (case, network) in zip(shown, np.argwhere(scored.chosen)[shown].tolist(), strict=True):
        read = int(reads.prediction[case, network])
        sure = float(special.softmax(reads.logits[case, network])[read]) if read >= 0 else None
        yield Read(shared.case(str(reads.case_id[case])), shared.patient(str(reads.patient[case])),
                   classes[int(reads.label[case])], classes[read] if read >= 0 else "undecided", percent(sure),
                   NONE if flips is None else _sized(float(flips[at]), bounds), str(reads.folds[network]))


def _sized(flip: float, bounds: Bounds) -> str:
    """`2.8 HU`, or of images without a unit `0.0020 of range`."""
    if not bounds.unit or not math.isfinite(flip):
        return f"{digits(flip / bounds.range)} of range" if math.isfinite(flip) else digits(flip)
    return f"{digits(flip)} {unit_word(bounds.unit, flip)}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def rule(score: str, threshold: float | None, bounds: Bounds) -> str:
    """What is referred, in words."""
    if threshold is None:
        return "drawn at random"
    if threshold == -math.inf:
        return "none: too many equal scores"
    if score == "entropy":
        return f"≥ {digits(-threshold)} nats"
    if score == "disagreement":
        return f"≥ {digits(-100 * threshold)} points of probability"
    if score == "combined":
        return f"≤ {percent(1 / (1 + math.exp(-threshold)))} chance to be right"
    if score == SMALLEST_FLIP or score in ATTACKS:
        return f"≤ {_sized(threshold, bounds)}" if math.isfinite(threshold) else "all"
    if score == "gradient" and math.isfinite(threshold):    # logits over logits a unit
        return f"≤ {_sized(threshold, bounds)}"
    return f"≤ {digits(threshold)} logits"


def listed(reads: Reads, found: Triage, shared: Shareable | None) -> str:
    """Every read with its scores and whether the smallest flip (the margin, where none was searched) withholds it, the
    most fragile first; and what its case and patient are called in the run's report, where it has one."""
    scored = _scored(reads, found)
    by = next(row for row in found["rows"] if row["score"] in (SMALLEST_FLIP, FREE[0]))
    sizes, margins, score = scored.score.get(SMALLEST_FLIP), scored.score["margin"], scored.score[by["score"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    further = [name for name in scored.score if name not in (SMALLEST_FLIP, *FREE)]
    of_folds = ["fold"] if len(reads.folds) > 1 else []
    writer.writerow(["case_id", "patient_id", *IN_REPORT, "prediction", "smallest_flip", "margin", *further,
                     "withheld", *of_folds])
    chosen = np.argwhere(scored.chosen)
    for at in np.argsort(score, kind="stable"):
        case, network = chosen[at]
        names = str(reads.case_id[case]), str(reads.patient[case])
        called = (shared.case(names[0]), shared.patient(names[1])) if shared else ("", "")
        writer.writerow([*map(cell, names), *called, int(reads.prediction[case, network]), _number(sizes, at),
                         _number(margins, at), *(_number(scored.score[name], at) for name in further),
                         "yes" if score[at] <= by["threshold"] else "no",
                         *([reads.folds[network]] if of_folds else [])])
    return text.getvalue()


def _number(values: Floats | None, at: int) -> str:
    return "" if values is None else f"{values[at]:.6g}"
