"""How far stated probabilities are true: reads that are said with 80 % should be right in 80 % of cases.

Of two classes (and of a finding) the probability is that of class 1; of more that of the predicted class, and what it
is held against is whether the read is right (top-label). Other figures than those of `discrimination`: a network may
sort cases well and state probabilities that mean nothing.

- Expected calibration error: the mean over bins of as many reads each of |share of events - mean probability|. Chance
  alone makes it larger than 0, so what it adds is taken off, as Kumar et al. 2019 have it (arXiv:1909.10155): the mean
  of |d + noise| less |d|, with the noise of each bin's own patients. Its interval begins at 0 where Hosmer and
  Lemeshow's chi-squared over the bins does not tell the probabilities from true ones (doi:10.1080/03610928008827941).
- Brier score: the mean of (probability - event)^2 (doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2).
- Slope and intercept of logistic recalibration (Cox 1958, doi:10.1093/biomet/45.3-4.562): the slope of events on the
  logit of the probability (below 1: too sure), and the intercept where that slope is held at 1 (below 0: probabilities
  too high), as Van Calster et al. 2016 have it (doi:10.1016/j.jclinepi.2015.12.005).
- Spiegelhalter's z (1986, doi:10.1002/sim.4780050506), whose variance is that between patients where a patient has
  several images or there are several folds.

Intervals go over patients: those of errors, slopes and intercepts by what each patient adds to them (sandwich), with
Student's t of the patients that carry them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special, stats

from steadyread.metrics.discrimination import smaller_side
from steadyread.metrics.intervals import (
    FEWEST,
    LEVEL,
    Estimate,
    Flags,
    Floats,
    Ints,
    bootstrap,
    ratio,
    share,
)
from steadyread.metrics.over_folds import mean_over_folds, over_folds
from steadyread.metrics.reads import Reads, Strings, decided

BINS, FEWEST_IN_BIN = 10, 10
_SUREST = 1e-7      # probabilities beyond are taken for it or 1 less it, so that their logit is finite
_STEPS, _SMALL, _STEEPEST = 50, 1e-10, 1e3     # of Newton's method; slopes beyond are of events that are parted


@dataclass(frozen=True)
class Bin:
    """Reads of like probability: their number, mean probability, and share of events with its interval."""

    reads: int
    stated: float
    seen: Estimate


@dataclass(frozen=True)
class Chosen:
    """The threshold of the highest Youden index (sensitivity + specificity - 1; doi:10.1002/1097-0142(1950)3:1<32)
    among validation reads, and what it gives on the reads that are judged."""

    threshold: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Calibration:
    """The figures of a network's probabilities. `top` says that they are of the predicted class, `base` is the Brier
    score of saying the share of events of every case; z and p are Spiegelhalter's. `threshold` is the network's own
    (None beyond two classes), `chosen` what validation reads would choose (None without any)."""

    top: bool
    images: int
    ece: Estimate
    brier: Estimate
    base: float | None
    slope: Estimate
    intercept: Estimate
    z: float | None
    p: float | None
    bins: tuple[Bin, ...]
    threshold: float | None
    chosen: Chosen | None

    def numbers(self) -> dict[str, Estimate]:
        """The figures by the names of measures; those without a value left out."""
        found = {"ece": self.ece, "brier": self.brier, "calibration_slope": self.slope,
                 "calibration_intercept": self.intercept, "spiegelhalter_z": Estimate(self.z, n=self.images),
                 "spiegelhalter_p": Estimate(self.p, n=self.images), "threshold": Estimate(self.threshold)}
        if self.chosen is not None:
            found |= {f"youden_{name}": getattr(self.chosen, name)
                      for name in ("threshold", "sensitivity", "specificity")}
        return {name: each for name, each in found.items() if each.value is not None}

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values, estimates as they are."""
        return {"top": self.top, "images": self.images, "base": self.base, **self.numbers(),
                "bins": [{"reads": each.reads, "stated": each.stated, "seen": each.seen} for each in self.bins]}


@dataclass(frozen=True, eq=False)
class Said:
    """Probabilities (n, f), NaN where there is no read, with the events (n, f) that they are of, and patients (n,)."""

    chance: Floats
    event: Flags
    patient: Strings

    @property
    def known(self) -> Flags:
        """Where there is a read with a label, (n, f)."""
        return np.isfinite(self.chance)

    @property
    def patients(self) -> Strings:
        """The patient of each read, (n, f)."""
        return np.broadcast_to(self.patient[:, None], self.chance.shape)


def calibration(reads: Reads, validation: Reads | None, threshold: float = 0.5, seed: int = 0) -> Calibration:
    """The calibration of the clean reads with a label; `threshold` is that by which the logits of two classes are
    shifted, `validation` are the reads by which another would be chosen."""
    said, top = said_of(reads, threshold), reads.logits.shape[2] > 2
    known = said.known
    squares = np.where(known, (said.chance - said.event) ** 2, np.nan)
    rate = float(said.event[known].mean()) if known.any() else None
    z, p = spiegelhalter(said)
    return Calibration(
        top, int(known.any(1).sum()), _expected_error(said), _of_one(mean_over_folds(squares, said.patient, seed)),
        None if rate is None else rate * (1 - rate), *_recalibrated(said), z, p, tuple(bins_of(said)),
        None if top else threshold, None if top or validation is None else _chosen(
            said, said_of(validation, threshold), seed))


def said_of(reads: Reads, threshold: float = 0.5) -> Said:
    """The stated probabilities of reads, the shift by a threshold undone."""
    n, folds, classes = reads.logits.shape
    logits = reads.logits.reshape(n * folds, classes)
    usable = (reads.known & (reads.prediction >= 0)).ravel() & decided(logits)
    chance, event = np.full(n * folds, np.nan), np.zeros(n * folds, bool)
    label, prediction, kept = reads.labels.ravel(), reads.prediction.ravel(), logits[usable]
    if classes == 2:
        chance[usable] = special.expit(kept[:, 1] - kept[:, 0] + special.logit(threshold))
        event[usable] = label[usable] == 1
    elif classes > 2:
        chance[usable] = special.softmax(kept, axis=1)[np.arange(len(kept)), prediction[usable]]
        event[usable] = label[usable] == prediction[usable]
    chance = np.clip(chance, _SUREST, 1 - _SUREST)
    return Said(chance.reshape(n, folds), event.reshape(n, folds), reads.patient)


def bins_of(said: Said, most: int = BINS) -> list[Bin]:
    """The reads of all folds in bins of as many each (equal probabilities stay together), at most one for each ten;
    none of fewer than twenty."""
    known = said.known
    chance, event, patients = said.chance[known], said.event[known], said.patients[known]
    place = _places(chance, most)
    return [Bin(int(inside.sum()), float(chance[inside].mean()), share(event[inside], patients[inside]))
            for number in np.unique(place) if (inside := place == number).any()] if len(place) else []


def _places(chance: Floats, most: int = BINS) -> Ints:
    """The bin of each read; empty where they are too few for two bins."""
    count = min(most, len(chance) // FEWEST_IN_BIN)
    if count < 2:
        return np.zeros(0, np.int64)
    edges = np.unique(np.quantile(chance, np.arange(1, count) / count))
    return np.searchsorted(edges, chance, side="left").astype(np.int64)


def _expected_error(said: Said) -> Estimate:
    """The expected calibration error, what chance adds taken off, with its interval."""
    values, influence, told_apart = [], np.zeros(len(said.patient)), False
    for fold in range(said.chance.shape[1]):
        known = said.known[:, fold]
        read = said.chance[known, fold], said.event[known, fold], said.patient[known]
        value, own = _error_of(*read)
        values.append(value)
        influence[known] += own
        told_apart |= hosmer_lemeshow(*read) < (1 - LEVEL) / said.chance.shape[1]
    found = _estimated(np.array(values), influence, said, (0.0, 1.0))
    return found if told_apart or found.low is None else replace(found, low=0.0)


def hosmer_lemeshow(chance: Floats, event: Flags, patient: Strings) -> float:
    """The p of true probabilities that the bins of one network have: by the variance that these let expect or, where it
    is larger and a patient has several reads, by that between patients. 1 without bins."""
    place, squares, bins = _places(chance), 0.0, 0
    for number in np.unique(place):
        inside = place == number
        off = event[inside] - chance[inside]
        _, codes = np.unique(patient[inside], return_inverse=True)
        spread = float(np.sum(chance[inside] * (1 - chance[inside])))
        if codes.max() + 1 < len(codes):
            spread = max(spread, float(np.sum(np.bincount(codes, off) ** 2)))
        squares, bins = squares + (float(off.sum() ** 2 / spread) if spread > 0 else 0.0), bins + 1
    return float(stats.chi2.sf(squares, bins)) if bins else 1.0


def _error_of(chance: Floats, event: Flags, patient: Strings) -> tuple[float, Floats]:
    """The error of one network, and what each read adds to it beyond the mean, (n,)."""
    place = _places(chance)
    if not len(place):
        return np.nan, np.zeros(len(chance))
    total, influence = 0.0, np.zeros(len(chance))
    for number in np.unique(place):
        inside = place == number
        off = event[inside] - chance[inside]
        gap, weight = float(off.mean()), float(inside.mean())
        spread = _deviation((off - gap) / len(off), patient[inside])
        total += weight * (2 * abs(gap) - _folded_mean(gap, spread))
        influence[inside] = np.sign(gap) * (off - gap) * weight / len(off)
    return max(total, 0.0), influence


def _folded_mean(mean: float, deviation: float) -> float:
    """The mean of |x|, x normal."""
    if deviation <= 0:
        return abs(mean)
    at = mean / deviation
    return float(deviation * np.sqrt(2 / np.pi) * np.exp(-at**2 / 2) + mean * special.erf(at / np.sqrt(2)))


def _recalibrated(said: Said) -> tuple[Estimate, Estimate]:
    """Slope, and intercept at the slope 1, of the logistic regression of events on the logit of the probability."""
    folds = said.chance.shape[1]
    values, influence = np.full((2, folds), np.nan), np.zeros((2, len(said.patient)))
    for fold in range(folds):
        known = said.known[:, fold]
        score = special.logit(said.chance[known, fold])
        for row, design, offset in ((0, np.stack([np.ones(len(score)), score], 1), np.zeros(len(score))),
                                    (1, np.ones((len(score), 1)), score)):
            found = logistic(design, said.event[known, fold], offset)
            if found is not None:
                values[row, fold] = found[0][-1]
                influence[row, known] += found[1][:, -1]
    slope, intercept = (_estimated(values[row], influence[row], said) for row in range(2))
    return slope, intercept


def logistic(design: Floats, event: Flags, offset: Floats) -> tuple[Floats, Floats] | None:
    """The coefficients (k,) of a logistic regression on a design (n, k) beside an offset (n,), and what each case adds
    to them (n, k); None where they are not finite, as of events that the design parts."""
    at = np.zeros(design.shape[1])
    if not len(design) or event.all() or not event.any():
        return None
    for _ in range(_STEPS):
        mean = special.expit(design @ at + offset)
        information = design.T @ (design * (mean * (1 - mean))[:, None])
        if np.linalg.cond(information) > 1 / _SMALL:
            return None
        scores = np.linalg.solve(information, (design * (event - mean)[:, None]).T).T
        step = scores.sum(0)
        at = at + step * min(1.0, 5 / max(np.abs(step).max(), _SMALL))
        if np.abs(step).max() < _SMALL:
            return np.asarray(at), np.asarray(scores)
        if np.abs(at).max() > _STEEPEST:
            return None
    return None


def spiegelhalter(said: Said) -> tuple[float | None, float | None]:
    """Spiegelhalter's z and its two-sided p: how far the Brier score is from what the probabilities themselves let
    expect. Above 0: too sure."""
    known = said.known
    chance, event, patients = said.chance[known], said.event[known], said.patients[known]
    off = (event - chance) * (1 - 2 * chance)
    names, codes = np.unique(patients, return_inverse=True)
    alone = len(names) == len(patients)
    spread = float(np.sum((1 - 2 * chance) ** 2 * chance * (1 - chance))) if alone else float(
        np.sum(np.bincount(codes, off) ** 2)) if len(off) else 0.0
    if spread <= 0 or (not alone and len(names) < FEWEST):
        return None, None
    z = float(off.sum() / np.sqrt(spread))
    return z, float(2 * (stats.norm.sf(abs(z)) if alone else stats.t.sf(abs(z), len(names) - 1)))


def _chosen(said: Said, validation: Said, seed: int) -> Chosen | None:
    """The threshold of each fold's validation reads, and what these give on the reads that are judged."""
    folds = said.chance.shape[1]
    if validation.chance.shape[1] != folds:
        return None
    thresholds = np.array([youden(np.ones((1, int(known.sum()))), validation.chance[known, fold],
                                  validation.event[known, fold])[0]
                           for fold, known in enumerate(validation.known.T)])
    if not np.isfinite(thresholds).all():
        return None
    interval = np.full(2, np.nan)
    if folds == 1:
        known = validation.known[:, 0]
        interval = bootstrap(lambda weights: youden(weights, validation.chance[known, 0], validation.event[known, 0]),
                             validation.patient[known], seed)[0]
    above, known = np.greater(said.chance, thresholds[None]), said.known
    with_event, without = known & said.event, known & ~said.event
    return Chosen(_of_one(over_folds(thresholds, interval, int(validation.known.any(1).sum()))),
                  share(above[with_event], said.patients[with_event]), share(~above[without], said.patients[without]))


def youden(weights: Floats, chance: Floats, event: Flags) -> Floats:
    """The threshold half-way between two probabilities above which sensitivity + specificity is highest, under each row
    of weights (b, n); NaN where a row holds events, or others, alone."""
    order = np.argsort(chance, kind="stable")
    ranked = chance[order]
    last = np.flatnonzero(ranked[1:] > ranked[:-1])
    if not len(last):
        return np.full(len(weights), np.nan)
    below_with = np.cumsum(weights[:, order] * event[order], axis=1)
    below_without = np.cumsum(weights[:, order] * ~event[order], axis=1)
    whole = below_with[:, -1] * below_without[:, -1]
    index = _share_of(below_without, last) - _share_of(below_with, last)
    middles = (ranked[last] + ranked[last + 1]) / 2
    return np.where(whole > 0, middles[np.nan_to_num(index, nan=-2).argmax(1)], np.nan)


def _share_of(summed: Floats, places: Ints) -> Floats:
    """Sums (b, n) at some places as shares of the last, NaN where that is 0."""
    return ratio(summed[:, places], np.broadcast_to(summed[:, -1:], (len(summed), len(places))))


def _estimated(values: Floats, influence: Floats, said: Said, within: tuple[float, float] = (-np.inf, np.inf)
               ) -> Estimate:
    """The mean over folds with its interval: t times the deviation of what patients add in all folds, within bounds."""
    known = np.asarray(said.known.any(1))
    patients = len(np.unique(said.patient[known]))
    found = over_folds(values, np.full(2, np.nan), int(known.sum()))
    if found.value is None or patients < FEWEST:
        return _of_one(found)
    deviation = _deviation(influence[known], said.patient[known]) / int(np.isfinite(values).sum())
    if deviation <= 0:
        return _of_one(found)
    events = np.asarray(said.event.any(1))[known].astype(np.int64)
    freedom = max(1, min(patients, smaller_side(events, said.patient[known], [1])) - 1)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * deviation
    return _of_one(found.within(np.clip([found.value - reach, found.value + reach], *within)))


def _deviation(parts: Floats, patients: Strings) -> float:
    """The standard deviation of a sum of parts (n,), those of a patient together; 0 of fewer than two patients."""
    _, codes = np.unique(patients, return_inverse=True)
    sums = np.bincount(codes, parts)
    count = len(sums)
    return float(np.sqrt(count / (count - 1) * np.sum((sums - sums.mean()) ** 2))) if count > 1 else 0.0


def _of_one(found: Estimate) -> Estimate:
    """An estimate over folds; of a single one without them."""
    return replace(found, folds=(), sd=None) if len(found.folds) < 2 else found


def chart_rows(bins: Sequence[Mapping[str, Any]]) -> list[dict[str, float | None]]:
    """The bins of a summary as a tidy table: stated and seen shares, the interval, and how many reads."""
    return [{"stated": each["stated"], "seen": each["seen"].value, "low": each["seen"].low, "high": each["seen"].high,
             "reads": each["reads"]} for each in bins]
