"""The same cases read twice: before and after hardening, by two networks, in two stages."""

from dataclasses import dataclass, replace

import numpy as np

from steadyread.errors import InputRefused
from steadyread.metrics.reads import Outcome, Reads

_SHOWN = 3           # cases that a message names


@dataclass(frozen=True, eq=False)
class Pair:
    """The reads of the same n cases by the same f networks, `before` and `after`, in the same order.

    `only_before` and `only_after` are how many further cases either has.
    """

    before: Reads
    after: Reads
    only_before: int = 0
    only_after: int = 0

    def labelled(self) -> "Pair":
        """The cases whose label is known, and the attacks that both sides met.

        An attack that only one side met says nothing of the difference, and would weigh on one side of it.
        """
        known = np.flatnonzero(self.before.label >= 0)
        first, second = self.before.of(known), self.after.of(known)
        met = {key_of(outcome) for outcome in first.outcomes} & {key_of(outcome) for outcome in second.outcomes}
        kept = [replace(side, outcomes=tuple(outcome for outcome in side.outcomes if key_of(outcome) in met))
                for side in (first, second)]
        return replace(self, before=kept[0], after=kept[1])


def paired(before: Reads, after: Reads) -> Pair | None:
    """The cases and folds that both have, in the order of their ids; None where no fold is in common.

    Raises:
        InputRefused: no case in common, or a case with another label, or in another part of a fold.
    """
    folds = sorted(set(before.folds) & set(after.folds))
    if not folds:
        return None
    names, first, second = np.intersect1d(before.case_id, after.case_id, assume_unique=True, return_indices=True)
    if not len(names):
        raise InputRefused(f"the reads {_said(before, 'before')} and {_said(after, 'after')} have no image in "
                           "common: assess both networks on the same data and split")
    pair = Pair(before.of(first, [before.folds.index(fold) for fold in folds]),
                after.of(second, [after.folds.index(fold) for fold in folds]),
                len(before) - len(names), len(after) - len(names))
    parts = (pair.before.part != pair.after.part) & pair.before.there & pair.after.there
    for unlike, said in ((pair.before.label != pair.after.label, "label"), (parts.any(1), "part of the split")):
        if unlike.any():
            shown = ", ".join(f"'{name}'" for name in names[unlike][:_SHOWN])
            raise InputRefused(f"{int(unlike.sum())} of {len(names)} images have another {said} in the reads "
                               f"{_said(after, 'after')} than in those {_said(before, 'before')}, such as {shown}: "
                               "assess both networks on the same data and split")
    return pair


def key_of(outcome: Outcome) -> tuple[str, ...]:
    """By what an attack at a level is the same on both sides."""
    return outcome.attack, outcome.threat, outcome.against, f"{outcome.level:.6g}"


def _said(reads: Reads, side: str) -> str:
    return f"of '{reads.variant}'" if reads.variant else f"{side} hardening"
