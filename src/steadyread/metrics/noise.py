"""SAN and SAR: how many reads noise changes at least once in K draws, and how often each, by dose and attack.

Paper [B] (doi:10.1088/1361-6560/abc812), section 2.7: SAN is the number of samples flipped at least once in K, here
their share; SAR, eq. 8, the share of the K that flipped one sample. SAN grows with K, so K stands beside it, with
the flip rate of a single draw (the mean SAR) and SAN at a smaller K, as drawn from the same K without replacement.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from steadyread.metrics.intervals import Estimate, Floats, clopper_pearson
from steadyread.metrics.over_folds import mean_over_folds, over_folds, share_over_folds
from steadyread.metrics.reads import RANDOM, Outcome, Reads

SAR_SHARE = 0.05
_LEVELS = 101       # of SAR, 0 to 100 %, at which curves are told


def one_attack(rows: Iterable[Mapping[str, Any]]) -> str:
    """The attack of a table's rows, "" of none: no table mixes two, which would be this package's own mistake."""
    attacks = {str(row["attack"]) for row in rows}
    if len(attacks) > 1:
        raise RuntimeError(f"one table of several attacks: {', '.join(sorted(attacks))}")
    return next(iter(attacks), "")


def attack_row(networks: Reads, attack: str, mas: float, part: str, seed: int = 0) -> dict[str, Any] | None:
    """SAN, flip rate at K = 1 and SAR5 of one attack at one dose in one part; None where it was not tried there.

    `trials` is K, None where it differs between cases: such searches stopped at a flip, and their SAR means
    nothing. Every figure is `Estimate`.
    """
    under = inside(networks, attack, mas, part)
    if under is None:
        return None
    counted = under.trials[under.trials > 0]
    alike = len(np.unique(counted)) == 1
    rate, patients = under.rate, networks.patient
    return {"attack": attack, "mas": mas, "part": part, "trials": int(counted[0]) if alike else None,
            "most_trials": int(counted.max()), "cases": int(np.isfinite(rate).any(1).sum()),
            "san": share_over_folds(under.known(under.flipped), patients),
            "one_draw": mean_over_folds(rate, patients, seed) if alike else None,
            "sar5": _sar5(rate) if alike else None}


def inside(networks: Reads, attack: str, mas: float, part: str) -> Outcome | None:
    """What an attack at a dose did in one part, all else NaN; None where it was not tried there."""
    found = networks.under.get((attack, mas))
    if found is None:
        return None
    chosen = networks.inside(part) & (found.trials > 0)
    if not chosen.any():
        return None
    return found.within(chosen)


def attack_rows(networks: Reads, seed: int = 0) -> list[dict[str, Any]]:
    """`attack_row` of every attack, dose and part that was tried."""
    rows = [attack_row(networks, attack, mas, part, seed) for part in ("train", "validation", "test")
            for attack in networks.noises for mas in networks.doses(attack)]
    return [row for row in rows if row is not None]


def sar_reached(rates: ArrayLike, share: float = SAR_SHARE) -> float:
    """The SAR that so many of the samples (n,) reach or exceed: the k-th largest, k = ceil(share n)."""
    known = np.sort(np.asarray(rates, np.float64))
    known = known[np.isfinite(known)][::-1]
    return float(known[max(int(np.ceil(share * len(known) - 1e-9)), 1) - 1]) if len(known) else float("nan")


def sar_curve(networks: Reads, attack: str, mas: float, part: str) -> dict[str, Any] | None:
    """[B] Figs 7, 8: the share of samples whose SAR exceeds each level, mean, least and most over the folds."""
    under = inside(networks, attack, mas, part)
    if under is None or len(np.unique(under.trials[under.trials > 0])) != 1:
        return None
    levels = np.linspace(0, 1, _LEVELS)
    shares = []
    for rates in under.rate.T:
        known = np.sort(rates[np.isfinite(rates)])
        if len(known):
            shares.append(1 - np.searchsorted(known, levels + 1e-9, side="right") / len(known))
    folds = np.stack(shares)
    return {"attack": attack, "mas": mas, "part": part, "levels": levels, "mean": folds.mean(0),
            "least": folds.min(0), "most": folds.max(0), "folds": len(folds)}


def flipped_within(under: Outcome, draws: int) -> Floats:
    """The chance that at least one of `draws` of the K trials flips, drawn without replacement, (n, f).

    1 - C(K - flips, draws) / C(K, draws): SAN at a smaller K, without running it. NaN where K is smaller.
    """
    with np.errstate(invalid="ignore"):
        missed = under.trials - under.flips
        none = np.exp(_log_choose(missed, draws) - _log_choose(under.trials, draws))
    found = np.where(missed < draws, 1.0, 1 - none)
    return np.where(under.trials >= draws, found, np.nan)


def san_within(networks: Reads, mas: float, part: str, draws: int, attack: str = RANDOM,
               seed: int = 0) -> Estimate | None:
    """SAN had only so many draws been made; None where fewer were, or none at that dose."""
    under = inside(networks, attack, mas, part)
    if under is None or not np.isfinite(found := flipped_within(under, draws)).any():
        return None
    return mean_over_folds(found, networks.patient, seed)


def zero_allows(trials: int) -> float:
    """The SAR that no flip in so many trials still allows (Clopper and Pearson): 0 of 50 allows 7.1 %."""
    return float(clopper_pearson(0, trials)[1])


def sample_flips(networks: Reads, part: str, attack: str = RANDOM) -> dict[str, Any]:
    """Each sample's flips of K, by dose and case, one number a fold (None where the fold has no such read).

    `intervals` gives the SAR's 95 % interval (Clopper and Pearson) for every number of flips of each K.
    """
    flips: dict[str, dict[str, list[int | None]]] = {}
    counts: set[int] = set()
    for mas in networks.doses(attack):
        under = inside(networks, attack, mas, part)
        if under is None:
            continue
        there = under.trials > 0
        counts |= {int(count) for count in np.unique(under.trials[there])}
        flips[f"{mas:g}"] = {str(networks.case_id[case]): [int(one) if known else None for one, known in
                                                           zip(under.flips[case], there[case], strict=True)]
                             for case in np.flatnonzero(there.any(1))}
    return {"attack": attack, "part": part, "trials": sorted(counts), "flips": flips,
            "intervals": {str(count): np.stack(clopper_pearson(np.arange(count + 1), count), axis=1)
                          for count in sorted(counts)}}


def row_of(rows: list[dict[str, Any]], attack: str, mas: float | None, part: str) -> Mapping[str, Any] | None:
    """The row of an attack, dose and part among `attack_rows`."""
    return next((row for row in rows if (row["attack"], row["mas"], row["part"]) == (attack, mas, part)), None)


def _sar5(rates: Floats) -> Estimate:
    folds = np.array([sar_reached(column) for column in rates.T])
    return over_folds(folds, np.full(2, np.nan), int(np.isfinite(rates).any(1).sum()))


def _log_choose(total: Floats, chosen: int) -> Floats:
    """log C(total, chosen); NaN where fewer are there."""
    found = special.gammaln(total + 1) - special.gammaln(chosen + 1) - special.gammaln(total - chosen + 1)
    return np.where(total >= chosen, found, np.nan)
