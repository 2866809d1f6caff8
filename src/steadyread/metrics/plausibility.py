"""What makes optimised noise stronger than random noise, and whether it still looks like noise.

[B]'s optimised noise (doi:10.1088/1361-6560/abc812, eq. 5) differs from its random noise in three things: its mean
modulus lets sigma grow by 2/sqrt(pi) = 1.128 (27 % more variance), its mean over all samples lets one hoard the
power, and it is optimised. Each is measured by an attack that has it and one that has not, on the same reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steadyread.metrics.intervals import Estimate, Floats, bootstrap, estimate
from steadyread.metrics.noise import flipped_within, inside
from steadyread.metrics.over_folds import mean_over_folds
from steadyread.metrics.reads import (
    INFLATED,
    KNOWN,
    PAPER,
    PAPER_HU,
    PLAUSIBLE,
    POOLED,
    RANDOM,
    RINGS,
    Reads,
)

MEASURES = ("sigma_hu", "ring_error", "kurtosis", "largest_local_sigma_hu", "z_correlation", "deviations")
STEPS = (("variance", INFLATED, RANDOM), ("printed_rms", PAPER, POOLED), ("pooled_search", POOLED, RANDOM),
         ("paper_gap", PAPER, RANDOM), ("paper_hu_gap", PAPER_HU, RANDOM), ("own_rings", RINGS, RANDOM),
         ("own_plausible", PLAUSIBLE, RANDOM), ("piled_up", RINGS, PLAUSIBLE))


def decomposition(networks: Reads, part: str, seed: int = 0) -> list[dict[str, Any]]:
    """At each dose: SAN of every attack at one common K, and the differences that tell the parts of [B]'s gap.

    K is the smallest number of trials among the attacks there: SAN of the others is what so many of their own
    trials would give. `steps` are differences (`STEPS`: with minus without) over the same resampled patients.
    Doses with one attack only are left out.
    """
    rows = []
    for mas in sorted({mas for _, mas in networks.under}):
        found = {attack: under for attack in networks.noises
                 if (under := inside(networks, attack, mas, part)) is not None}
        if len(found) < 2:
            continue
        trials = int(min(np.nanmax(under.trials) for under in found.values()))
        within = {attack: np.where(under.trials >= trials, flipped_within(under, trials),
                                     under.known(under.flipped))
                  for attack, under in found.items()}
        rows.append({"mas": mas, "trials": trials,
                     "san": {attack: mean_over_folds(values, networks.patient, seed)
                             for attack, values in within.items()},
                     "steps": {name: _difference(within[first], within[second], networks, seed)
                               for name, first, second in STEPS if first in within and second in within}})
    return rows


def plausibility_rows(networks: Reads, part: str, doses: Sequence[float] | None = None,
                      nominal_hu: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """Median and 95th percentile, over reads, of each measure of one noise of every attack, by dose.

    The one noise is the first draw of random noise, and the worst start of the others. `sigma_hu` is
    realised before the window; `ring_error` the largest relative error of ring power in a slice; `kurtosis` in
    excess of a Gaussian's; `largest_local_sigma_hu` the largest smoothed sigma in an image; `z_correlation` between
    neighbouring slices; `deviations` how far out it lies towards the flip (`deviations_towards_flip`). None where a
    measure does not apply. `flipped_sigma` is the sigma
    of the noise of the flipped images alone, in units of the nominal one, by which pooled power that is hoarded is
    seen: `nominal_hu` by dose as the study states it, else the median of random noise's.
    """
    rows = []
    for mas in sorted({mas for _, mas in networks.under}) if doses is None else doses:
        for attack in networks.noises:
            under = inside(networks, attack, mas, part)
            if under is None:
                continue
            told = {name: _spread(under[name]) for name in MEASURES}
            told["flipped_sigma"] = _spread(np.where(under.flips > 0, under["sigma_hu"], np.nan)
                                            / _nominal(networks, part, mas, nominal_hu or {}))
            rows.append({"mas": mas, "attack": attack, "reads": int((under.trials > 0).sum()), **told,
                         "forwards": _mean(under["forwards"]), "backwards": _mean(under["backwards"])})
    order = {name: at for at, name in enumerate(KNOWN)}
    return sorted(rows, key=lambda row: (row["mas"], order.get(row["attack"], len(order))))


def _difference(first: Floats, second: Floats, networks: Reads, seed: int) -> Estimate:
    """The mean over reads of first - second, both (n, f), where both are known."""
    paired = first - second
    kept = np.asarray(np.isfinite(paired).any(1))
    if not kept.any():
        return Estimate(None)
    cases = np.nanmean(paired[kept], axis=1)

    def mean(weights: Floats) -> Floats:
        total = weights.sum(1)
        return np.asarray((weights @ cases) / np.where(total > 0, total, np.nan))

    if np.ptp(cases) == 0:      # every resample would be a copy: an interval of no width would claim to be sure
        return Estimate(float(cases[0]), n=len(cases))
    return estimate(float(cases.mean()), bootstrap(mean, networks.patient[kept], seed)[0], int(kept.sum()))


def _nominal(networks: Reads, part: str, mas: float, stated: Mapping[str, float]) -> float:
    """The nominal sigma at a dose; NaN where it is neither stated nor random noise was tried."""
    random = inside(networks, RANDOM, mas, part)
    told = None if random is None else _spread(random["sigma_hu"])
    return float(stated.get(f"{mas:g}", np.nan if told is None else told["median"]))


def _spread(values: Floats) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    median, high = np.quantile(known, [0.5, 0.95])
    return {"median": float(median), "high": float(high)}


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
