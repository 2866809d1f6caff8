"""One run among several data sets: its accuracies at common sizes, where they must stop, which scores beat what.

The common sizes are those of [A] Table 1 (doi:10.1200/CCI.21.00170), shares of the range. Where a set was not
attacked at one of them, the smallest flips tell the accuracy there all the same, as far as they were searched for.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.paired_tests import holm
from steadyread.metrics.reads import Reads
from steadyread.metrics.robustness import robust_curve
from steadyread.metrics.triage import RANDOM, SMALLEST_FLIP
from steadyread.metrics.verdicts import verdict
from steadyread.units import Bounds, number_of, size_json

Summary = Mapping[str, Any]
SIZES = (0.001, 0.002, 0.004, 0.006)     # shares of the range
_SAME = 1e-4     # two sizes that differ by less than this share of them are one


def at_common_sizes(reads: Reads, against: str, limit: float, bounds: Bounds) -> list[dict[str, Any]]:
    """The accuracy at each size of [A] Table 1 from the merged smallest flips, searched for up to `limit` (native).

    A size beyond `limit` that no attack tried has no row. `exact` is False where only fixed sizes were merged.
    """
    curve = robust_curve(reads, against)
    tried = [outcome.level for outcome in reads.fixed(against)]
    rows: list[dict[str, Any]] = []
    for share in SIZES:
        size = share * bounds.range
        exact = size <= limit * (1 + _SAME)
        if exact or any(same_size(one, size) for one in tried):
            rows.append({"size": size_json(size, bounds), "accuracy": curve.at(size), "exact": exact})
    return [row for row in rows if row["accuracy"].value is not None]


def same_size(one: float, other: float) -> bool:
    """Whether two sizes are one but for rounding."""
    return math.isclose(one, other, rel_tol=_SAME)


def attack_at(summary: Summary, against: str, attack: str, of_range: float) -> dict[str, Any] | None:
    """A run's row of accuracy under an attack at a share of the range; None where it was not tried."""
    return next((row for row in summary["robustness"][against]["attacks"]
                 if row["attack"] == attack and same_size(float(row["size"]["of_range"]), of_range)), None)


def where_it_stops(summary: Summary) -> dict[str, Any]:
    """How low attacks away from the prediction came, and where they must stop with two classes.

    `floor` is 1 minus the clean accuracy with two classes, None with more; `lowest` the smallest accuracy under any
    fixed attack against the prediction with its `attack` and `size`, None where there is none.
    """
    clean = summary["discrimination"]["accuracy"].value
    rows = [row for row in summary["robustness"]["prediction"]["attacks"] if row["accuracy"].value is not None]
    worst: dict[str, Any] | None = min(rows, key=lambda row: (row["accuracy"].value, number_of(row["size"])),
                                       default=None)
    floor = 1 - clean if clean is not None and len(summary["classes"]) == 2 else None
    lowest: Estimate = worst["accuracy"] if worst else Estimate(None)
    return {"clean": clean, "floor": floor, "lowest": lowest, "attack": worst["attack"] if worst else None,
            "size": worst["size"] if worst else None}


def way_of_area(difference: Estimate, p: float | None) -> str:
    """Which way an area under risk-coverage minus the margin's went, by Holm's `p`; "few" without one."""
    return "few" if p is None else verdict(difference, p, lower_is_better=True)


def scores_by_set(sets: Mapping[str, Summary]) -> list[dict[str, Any]]:
    """Each score's area minus the margin's in each set: a row a score and set, scores in one order for all sets.

    `perfect` marks sets without a wrong read, in which no score can be judged; `p_holm` is Holm's over all others.
    """
    names = list(dict.fromkeys(row["score"] for one in sets.values()
                               for row in one["triage"]["differences_to_margin"]))
    names.sort(key=lambda name: name != SMALLEST_FLIP)     # a stable sort: the others keep their order
    rows = []
    for name in names:
        for key, one in sets.items():
            found = next((row for row in one["triage"]["differences_to_margin"] if row["score"] == name), None)
            if found is not None:
                perfect = one["triage"]["accuracy"].value == 1
                rows.append({"score": name, "set": key, "area": found["area"], "perfect": perfect,
                             "p": None if perfect else found["p"]})
    return [row | {"p_holm": p, "way": way_of_area(row["area"], p)}
            for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def findings_of(one: Summary) -> list[dict[str, Any]]:
    """The findings of a set's network, then those that only its hardened one and that at equal conditions have."""
    hardened = [row | {"check": f"hardened network, {row['check']}"}
                for row in (one["hardening"] or {}).get("findings") or ()]
    return [*one["findings"], *hardened,
            *(row | {"check": f"equal conditions, {row['check']}"} for row in one["equal_findings"])]


def triage_row(summary: Summary, score: str) -> Mapping[str, Any] | None:
    """One score's row of a run's triage; None where it has no such score or nothing to sort."""
    rows: Sequence[Mapping[str, Any]] = summary["triage"]["rows"]
    return next((row for row in rows if row["score"] == score and row["score"] != RANDOM), None)
