"""Every number of a run as one row: of which data set, network and stage, under which threat and attack at which
level, what was measured, and its interval."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from steadyread.metrics.calibration import calibration
from steadyread.metrics.discrimination import discrimination
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import attack_rows
from steadyread.metrics.noise_classes import areas
from steadyread.metrics.plan import Plan, bounds_of, class_count, class_names, threshold_of
from steadyread.metrics.reads import ALL, CT_NOISE, LINF, RANDOM, Reads
from steadyread.metrics.robustness import accuracy_on_other_axes
from steadyread.metrics.summary import robustness
from steadyread.units import Bounds, number_of

COLUMNS = ("set", "network", "stage", "part", "threat", "attack", "against", "level", "unit", "measure", "value", "low",
           "high", "n")


# The AUC, of several classes the mean of one against the rest; of [B]'s five ratings that of 4 and 5 against 1 and 2.
AUC, ABOVE = "AUC", "AUC_above_3"
_RATINGS = ["1", "2", "3", "4", "5"]
QUOTED = 0.002           # of the range: the size that [A] quotes in its text
QUOTED_MAS = 100.0       # the dose at which [B] Table 3 compares networks
# The measure and the attack that speak for a threat where one number must do.
_SPEAKING = {LINF: ("robust_accuracy", ALL), CT_NOISE: ("changed_by_one_draw", RANDOM)}


@dataclass(frozen=True)
class Number:
    """One number. `level` is on the threat's axis, in `unit` (the images' own for Linf, mAs for CT noise), None where
    there is none; of a measure that is itself a size, `unit` is that of the value."""

    measure: str
    estimate: Estimate
    threat: str = ""
    attack: str = ""
    against: str = ""
    level: float | None = None
    unit: str = ""

    def row(self, where: Mapping[str, Any]) -> dict[str, Any]:
        """A row of `COLUMNS`, with the set, network, stage and part that it is of."""
        found = self.estimate
        return {**where, "threat": self.threat, "attack": self.attack, "against": self.against, "level": self.level,
                "unit": self.unit, "measure": self.measure, "value": found.value, "low": found.low, "high": found.high,
                "n": found.n}


def headline(numbers: Sequence[Number], threat: str, bounds: Bounds, others: Sequence[Sequence[Number]] = ()
             ) -> Number | None:
    """The number that speaks for a threat: at the level nearest to the one that the papers quote, against the label
    where that was tried; None where the threat was not tried. Where it stands beside the numbers of `others`, at a
    level that they have too, if there is any."""
    quoted = QUOTED * bounds.range if threat == LINF else QUOTED_MAS
    chosen = _speaking(numbers, threat)
    for theirs in filter(None, (_speaking(each, threat) for each in others)):
        chosen = [each for each in chosen if any(math.isclose(each.level or 0, one.level or 0, rel_tol=1e-6)
                                                 for one in theirs)] or chosen
    return near(chosen, quoted)


class Levelled(Protocol):
    """What stands at a level of a threat's axis, if at any."""

    @property
    def level(self) -> float | None:
        """The level."""
        ...


L = TypeVar("L", bound=Levelled)


def near(several: Iterable[L], quoted: float) -> L | None:
    """The one whose level is nearest to another by ratio; None where there is none."""
    return min(several, key=lambda each: abs(math.log((each.level or quoted) / quoted)), default=None)


def _speaking(numbers: Sequence[Number], threat: str) -> list[Number]:
    """What may speak for a threat, against the label where that was tried."""
    known = [each for each in numbers if each.level and (each.measure, each.attack) == _SPEAKING.get(threat)]
    return [each for each in known if each.against != "prediction"] or known


def area_name(reads: Reads, plan: Plan) -> str:
    """The measure of the area under the ROC curve of reads: that of ratings where their classes are 1 to 5."""
    return ABOVE if class_names(plan, class_count(plan, reads)) == _RATINGS else AUC


def numbers_of(reads: Reads, plan: Plan, seed: int = 0, validation: Reads | None = None) -> Iterator[Number]:
    """The numbers of the reads of one part by the networks of one stage, clean ones first; `validation` are those by
    which another threshold would be chosen."""
    found = discrimination(reads, class_count(plan, reads), seed)
    area = Number(AUC, found["auc"]) if area_name(reads, plan) == AUC else Number(ABOVE, areas(
        reads, reads.judged, seed))
    yield from (area, *(Number(name, found[name]) for name in ("accuracy", "sensitivity", "specificity")
                        if found[name] is not None))
    stated = calibration(reads, validation, threshold_of(plan), seed).numbers()
    yield from (Number(name, each) for name, each in stated.items())
    for against in ("label", "prediction"):
        yield from _under_changes(reads, against, plan, seed)
    for row in attack_rows(reads, seed):
        for measure, name in (("changed_at_least_once", "san"), ("changed_by_one_draw", "one_draw")):
            if row["part"] == reads.judged and row[name] is not None:
                yield Number(measure, row[name], CT_NOISE, row["attack"], "prediction", row["mas"], "mAs")


def _under_changes(reads: Reads, against: str, plan: Plan, seed: int) -> Iterator[Number]:
    found, unit = robustness(reads, against, plan, seed), bounds_of(plan).unit
    for row in found["attacks"]:
        yield Number("accuracy", row["accuracy"], row["threat"], row["attack"], against, number_of(row["size"]), unit)
    for row in (row for row in accuracy_on_other_axes(reads) if row["against"] == against):
        yield Number("accuracy", row["accuracy"], row["threat"], row["attack"], against, row["level"], row["unit"])
    flips = found["smallest_flip"]
    if not flips["searched"]:
        return
    for row in (row for row in found["at"] if row["exact"]):
        yield Number("robust_accuracy", row["accuracy"], LINF, ALL, against, number_of(row["size"]), unit)
    middle, low, high = (number_of(flips[end]) for end in ("median", "low", "high"))
    median = Estimate(None if math.isnan(middle) else middle, n=flips["images"]).within((low, high))
    yield Number("median_smallest_flip", median, LINF, ALL, against, None, unit)
    yield Number("never_flipped", flips["never"], LINF, ALL, against)
