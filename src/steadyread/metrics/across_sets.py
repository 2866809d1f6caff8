"""One run among several data sets: which scores beat the margin, and what its checks found."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.paired_tests import holm
from steadyread.metrics.triage import RANDOM, SMALLEST_FLIP
from steadyread.metrics.verdicts import verdict

Summary = Mapping[str, Any]
SIZES = (0.001, 0.002, 0.004, 0.006)     # shares of the range
_SAME = 1e-4     # two sizes that differ by less than this share of them are one


def same_size(one: float, other: float) -> bool:
    """Whether two sizes are one but for rounding."""
    return math.isclose(one, other, rel_tol=_SAME)


def way_of_area(difference: Estimate, p: float | None) -> str:
    """Which way an area under risk-coverage minus the margin's went, by Holm's `p`; "few" without one, "same" of a
    score that sorts the reads just as the margin does."""
    if difference.value == difference.low == difference.high == 0:
        return "same"
    return "few" if p is None else verdict(difference, p, lower_is_better=True)


def scores_by_set(sets: Mapping[str, Summary]) -> list[dict[str, Any]]:
    """Each score's area minus the margin's in each set: a row a score and set, scores in one order for all sets.

    `perfect` marks sets without a wrong read, in which no score can be judged; `p_holm` is Holm's over all others that
    differ from the margin.
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
