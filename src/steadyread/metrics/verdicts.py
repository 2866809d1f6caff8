"""Which way a difference went: decided here, for every pair of networks, stages, scores and data sets."""

from typing import Literal

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.intervals import LEVEL, Estimate

Verdict = Literal["same", "better", "worse", "alike", "few"]
ALPHA = round(1 - LEVEL, 9)     # of a test beside the interval, which must speak as the interval does


def verdict(difference: Estimate, p: float | None = None, *, changed: bool = True, lower_is_better: bool = False,
            nothing: float = 0.0) -> Verdict:
    """What may be said of a difference (or, with `nothing` = 1, of a ratio) with its 95 % interval over patients.

    "better" and "worse" where the interval leaves out `nothing`, and `p`, where a test was made, is below 0.05:
    with few changed reads either alone is too sure. "same" where no read `changed`, "few" where too few patients
    allow an interval, "alike" where no difference was detected.
    """
    if difference.value is None:
        return "few"
    if not changed:
        return "same"
    if difference.low is None or difference.high is None:
        return "few"
    if (p is not None and p >= ALPHA) or difference.low <= nothing <= difference.high:
        return "alike"
    return "better" if (difference.value < nothing) == lower_is_better else "worse"


def way_of(row: Contrast | None, p: float | None = None, *, lower_is_better: bool = False) -> Verdict:
    """Which way a contrast went, by its own p where none corrected for others is given; "few" without one."""
    if row is None:
        return "few"
    return verdict(row.difference, row.p if p is None else p, changed=bool(row.gained or row.lost),
                   lower_is_better=lower_is_better)
