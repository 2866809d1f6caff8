"""One row a case: what one network, or the fold that tests the case, read, and how little changes it."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from steadyread.metrics.choosing import Shown, chosen
from steadyread.metrics.dose_fall import moments_of
from steadyread.metrics.intervals import Flags, Floats, Ints
from steadyread.metrics.reads import UNDECIDED, Reads, Strings, decided

HALF = 0.5      # of the draws of CT noise, which change the read below a case's critical dose


@dataclass(frozen=True, eq=False)
class CaseRows:
    """The judged cases, n of them, a value each: `truth` and `read` are classes, -1 where unknown or undecided; `sure`
    the network's probability of its read; `flip` the size of the smallest change found that changes the read (native
    units), or the dose (mAs) below which half the draws of CT noise do, not finite where there is none; `fold` the one
    whose network is told of, -1 without folds, and `network` its place among those of the reads."""

    case_id: Strings
    patient: Strings
    truth: Ints
    read: Ints
    sure: Floats
    flip: Floats
    fold: Ints
    network: Ints
    dose: bool = False

    @property
    def wrong(self) -> Flags:
        """Whether a case was read wrongly before anything was changed."""
        found: Flags = (self.truth >= 0) & (self.truth != self.read)
        return found

    def shown(self, most: Shown) -> Ints:
        """The places of the cases that are shown with pictures: under CT noise the fragile ones are those of a high
        dose."""
        return chosen(self.case_id.tolist(), -self.flip if self.dose else self.flip, self.wrong, most)


def case_rows(reads: Reads, threshold: float = 0.5, dose: bool = False) -> CaseRows:
    """The rows of one network, or of those of its folds: each case by the first fold that has it in the judged part.

    `threshold` is that by which the logits of two classes are shifted; under CT noise (`dose`) flips are doses.
    """
    part = reads.judged
    inside = reads.inside(part) if reads.inside(part).any() else reads.there
    case = np.flatnonzero(inside.any(1))
    network = inside[case].argmax(1)
    folds = np.array(reads.folds, np.int64)[network] if len(reads.folds) > 1 else np.full(len(case), -1)
    read = reads.prediction[case, network]
    return CaseRows(reads.case_id[case], reads.patient[case], reads.label[case], read,
                    _sure(reads.logits[case, network], read, threshold),
                    (_doses(reads, part) if dose else _sizes(reads))[case, network], folds, network, dose)


def _sure(logits: Floats, read: Ints, threshold: float) -> Floats:
    """The probability of each read (n,), the shift by a threshold undone; NaN where undecided."""
    found = np.full(len(logits), np.nan)
    known = (read != UNDECIDED) & decided(logits)
    own = logits[known]
    if logits.shape[1] == 2:
        own = own + np.array([0.0, special.logit(threshold)])
    found[known] = special.softmax(own, axis=1)[np.arange(len(own)), read[known]]
    return found


def _sizes(reads: Reads) -> Floats:
    """The smallest flip of each read (n, f): against the prediction where that was searched; against the label only
    those of right reads are known."""
    found = reads.smallest_flip("prediction")
    if found is not None:
        return np.where(found.present & (reads.prediction != UNDECIDED), found.found, np.nan)
    found = reads.smallest_flip("label")
    return np.full(reads.there.shape, np.nan) if found is None else np.where(
        found.present & reads.correct, found.found, np.nan)


def _doses(reads: Reads, part: str) -> Floats:
    """The dose of each read (n, f) below which half of its draws change it: the highest dose tried where that one does
    already, NaN where not even the lowest does."""
    moments = moments_of(reads, part)
    if moments is None:
        return np.full(reads.there.shape, np.nan)
    critical = moments.critical(HALF)
    return np.where(critical > 0, np.minimum(critical, moments.doses[-1]), np.nan)
