"""Networks on the same cases, number by number: what differs, over the same patients, and which way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from steadyread.errors import InputRefused
from steadyread.metrics.contrasts import Contrast, area_contrast
from steadyread.metrics.hardening import ACCURACY, CHANGED, ROBUST, Compared, compared, pair_of_networks
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.paired_tests import holm
from steadyread.metrics.plan import Plan, bounds_of, exact_up_to
from steadyread.metrics.reads import ALL, LINF, OPTIMISED, RANDOM, Reads
from steadyread.metrics.summary import tabled_sizes
from steadyread.metrics.tidy import ABOVE, AUC, QUOTED, QUOTED_MAS, area_name, near
from steadyread.metrics.verdicts import Verdict, verdict
from steadyread.units import number_of

COLUMNS = ("threat", "attack", "against", "level", "unit", "measure", "before", "after", "difference", "low", "high",
           "p", "verdict", "n")
RATIO = "smallest_flip_ratio"
_LOWER = (CHANGED,)      # measures of which less is better


@dataclass(frozen=True)
class Change:
    """One number of two networks on the same cases: both values, and `difference`, after minus before (of `RATIO`,
    the median of after / before). `p` is of no difference, None where it is not tested; `corrected` the same after
    Holm, where several are told together. `changed` says whether any read differs. The other columns are those of
    `tidy.Number`."""

    measure: str
    difference: Estimate
    before: float | None = None
    after: float | None = None
    p: float | None = None
    changed: bool = True
    threat: str = ""
    attack: str = ""
    against: str = ""
    level: float | None = None
    unit: str = ""
    corrected: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Which way it went, by the corrected p where there is one."""
        return verdict(self.difference, self.p if self.corrected is None else self.corrected, changed=self.changed,
                       lower_is_better=self.measure in _LOWER, nothing=1.0 if self.measure == RATIO else 0.0)

    def row(self) -> dict[str, Any]:
        """The columns of `COLUMNS`."""
        found = self.difference
        ends = {"difference": found.value, "low": found.low, "high": found.high, "n": found.n}
        return {name: ends[name] if name in ends else getattr(self, name) for name in COLUMNS}


@dataclass(frozen=True, eq=False)
class Side:
    """One network of a comparison: its reads of the judged part, and its plan."""

    name: str
    reads: Reads
    plan: Plan


def refuse_other_bounds(names: Sequence[str], plans: Sequence[Plan]) -> None:
    """Nothing where the images of all networks have the bounds of the first one's.

    Raises:
        InputRefused: they have not.
    """
    here, *others = map(bounds_of, plans)
    for name, there in zip(names[1:], others, strict=True):
        if (here.low, here.high) != (there.low, there.high):
            raise InputRefused(f"the images of {names[0]} go from {here.low:g} to {here.high:g}, those of {name} from "
                               f"{there.low:g} to {there.high:g}: assess the networks on the same data")


def changes(before: Side, after: Side, seed: int = 0) -> list[Change]:
    """A change for each number that both have: AUC, accuracy, accuracy under each attack that both met, the reads that
    CT noise changes, and the smallest flips of the reads that are right in both.

    Raises:
        InputRefused: no image or fold in common, or labels that differ.
    """
    here = bounds_of(before.plan)
    limit = min(exact_up_to(side.plan, side.reads, "label") for side in (before, after))
    found = compared(before.reads, after.reads, tabled_sizes(before.reads, here), here, seed, limit=limit)
    pair = pair_of_networks(before.reads, after.reads)
    area = area_contrast(pair, pair.before.judged, seed)
    known = area.before.value is not None and area.after.value is not None
    return [*([_of_contrast(area_name(before.reads, before.plan), area)] if known else []),
            *(_of_row(row) for row in found["rows"] if row.exact or row.measure != ROBUST), *_smallest_flips(found)]


def _of_contrast(measure: str, found: Contrast, **where: Any) -> Change:
    changed = bool(found.gained or found.lost) or (measure in (AUC, ABOVE) and found.before.value != found.after.value)
    return Change(measure, found.difference, found.before.value, found.after.value, found.p, changed, **where)


def _of_row(row: Compared) -> Change:
    where = {} if row.size is None else {
        "threat": row.threat, "attack": row.attack, "against": row.against, "level": row.size["native"],
        "unit": row.size["unit"]}
    return _of_contrast(row.measure, row.contrast, **where)


def _smallest_flips(found: Mapping[str, Any]) -> Iterator[Change]:
    flips = found["flips"]
    if flips["searched"] and flips["images"]:
        before, after = (number_of(flips["medians"][side]) for side in ("before", "after"))
        yield Change(RATIO, replace(flips["ratio"], n=flips["images"]), before, after, flips["p"],
                     flips["ties"] < flips["images"], LINF, ALL, found["against"],
                     unit=str(flips["medians"]["before"]["unit"]))


def key_changes(found: Sequence[Change], plan: Plan) -> list[Change]:
    """Those that speak for all: AUC, accuracy, the robust one and the smallest flips, and the reads that random and the
    worst CT noise change, each at the level nearest to the one that the papers quote."""
    size = QUOTED * bounds_of(plan).range
    under = [each for each in found if each.measure == CHANGED]
    tried = {each.attack for each in under}
    worst = next((attack for attack in reversed(OPTIMISED) if attack in tried), "")
    chosen = [next((each for each in found if each.measure == measure and not each.attack), None)
              for measure in (AUC, ABOVE, ACCURACY)]
    chosen.append(near([each for each in found if (each.measure, each.attack) == (ROBUST, ALL)], size))
    chosen += [each for each in found if each.measure == RATIO]
    chosen += [near([each for each in under if each.attack == attack], QUOTED_MAS) for attack in (RANDOM, worst)]
    return [each for each in chosen if each is not None]


def corrected(several: Sequence[Sequence[Change]]) -> list[list[Change]]:
    """Changes told together, of several networks: each p after Holm over all of them in which any read differs."""
    values = iter(holm([each.p if each.changed else None for found in several for each in found]))
    return [[replace(each, corrected=next(values)) for each in found] for found in several]
