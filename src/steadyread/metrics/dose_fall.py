"""How far could the dose fall: expected share of reads changed by dose, and each read's critical mAs.

From margin, drift and jitter of every read at the doses tried (see `dose`): the expected share of changed reads is
the mean of P(flip), the flip rate of one draw at any dose, those not tried among them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.metrics.dose import LEVELS, critical_mas, effective_mas, flip_probability_at
from steadyread.metrics.intervals import Estimate, Flags, Floats, bootstrap, ratio, weighted_median
from steadyread.metrics.noise import inside
from steadyread.metrics.over_folds import over_folds
from steadyread.metrics.reads import RANDOM, Reads, Strings

SHARES = (0.01, 0.05)       # of reads changed, for which the dose is told
_POINTS = 61                # of mAs, at which curves are told
_QUANTILES = (0.25, 0.75, 0.95)
_ENDLESS = 1e9              # mAs that stand for "above the highest dose" while quantiles are taken
_LOWEST_SHARE = 0.05        # of a scan's own dose, down to which the curve of its dose goes


@dataclass(frozen=True, eq=False)
class Moments:
    """Margin (n, f), drift and jitter (n, f, d) of the reads of one part at the doses tried, NaN where absent."""

    doses: Floats
    patient: Strings
    margin: Floats
    drift: Floats
    jitter: Floats
    scan_mas: Floats

    @property
    def known(self) -> Flags:
        """Where margin and the moments at every dose are known, (n, f)."""
        found: Flags = (np.isfinite(self.margin) & np.isfinite(self.drift).all(2) & np.isfinite(self.jitter).all(2))
        return found

    def probability(self, mas: Floats) -> Floats:
        """P(flip) at any dose: `mas` (m,) or a dose a case (n, m); answers (n, f, m)."""
        cases, folds = self.margin.shape
        asked = np.broadcast_to(mas, (cases, mas.shape[-1]))
        return np.stack([flip_probability_at(asked, self.margin[:, fold], self.doses, self.drift[:, fold],
                                             self.jitter[:, fold]) for fold in range(folds)], axis=1)

    def critical(self, level: float) -> Floats:
        """Each read's critical mAs, (n, f), NaN where unknown."""
        return np.stack([critical_mas(self.margin[:, fold], self.doses, self.drift[:, fold], self.jitter[:, fold],
                                      level) for fold in range(self.margin.shape[1])], axis=1)


def moments_of(networks: Reads, part: str) -> Moments | None:
    """The moments under random noise in one part; None where no dose has them."""
    found = [(mas, under) for mas in networks.doses()
             if (under := inside(networks, RANDOM, mas, part)) is not None and np.isfinite(under["jitter"]).any()]
    if not found:
        return None
    scan = np.concatenate([under["scan_mas"] for _, under in found], axis=1)
    own = np.where(np.isfinite(scan).any(1), np.nanmax(np.where(np.isfinite(scan), scan, -np.inf), axis=1), np.nan)
    moments = Moments(np.array([mas for mas, _ in found]), networks.patient,
                      np.where(networks.inside(part), networks.margin, np.nan),
                      np.stack([under["drift"] for _, under in found], axis=2),
                      np.stack([under["jitter"] for _, under in found], axis=2), own)
    return moments if moments.known.any() else None


def dose_fall(moments: Moments, seed: int = 0) -> dict[str, Any]:
    """The expected share of reads changed by the dose of the added noise, and the dose at which it is 1 % and 5 %.

    The curve has the mean over folds with its interval over patients, and least and most of the folds. The dose
    of a share is 0 where fewer reads change even at the lowest dose tried, inf where more do at the highest.
    """
    scale = np.geomspace(moments.doses[0], moments.doses[-1], _POINTS)
    every = moments.probability(scale)
    curve = _averaged(every, moments.patient, seed)
    at = {f"{share:g}": _dose_of_share(every, scale, share, moments.patient, seed) for share in SHARES}
    return {"mas": scale, **curve, "dose_of_share": at, "reads": int(moments.known.sum()),
            "cases": int(moments.known.any(1).sum())}


def own_dose_fall(moments: Moments, simulated: bool = False, seed: int = 0) -> dict[str, Any] | None:
    """The expected share of reads changed by the share of its own dose that each scan would keep.

    A scan at m_0 taken at r m_0 instead has the noise of m = m_0 r / (1 - r) more (1/m_eff = 1/m_0 + 1/m), or where
    doses are `simulated` is a scan at m = r m_0: known only where the scan's own dose is. Beyond the doses tried
    the laws of drift and jitter are taken on. None where fewer than half of the cases have a dose.
    """
    known = np.isfinite(moments.scan_mas) & moments.known.any(1)
    if not known.any() or known.sum() < moments.known.any(1).sum() / 2:
        return None
    kept = np.linspace(_LOWEST_SHARE, 0.99, _POINTS)
    picked = Moments(moments.doses, moments.patient[known], moments.margin[known], moments.drift[known],
                     moments.jitter[known], moments.scan_mas[known])
    every = picked.probability(picked.scan_mas[:, None] * (kept if simulated else kept / (1 - kept)))
    at = {f"{share:g}": _dose_of_share(every, kept, share, picked.patient, seed) for share in SHARES}
    return {"kept": kept, **_averaged(every, picked.patient, seed), "kept_at_share": at, "cases": int(known.sum()),
            "median_scan_mas": float(np.median(picked.scan_mas))}


def critical_doses(moments: Moments, seed: int = 0) -> list[dict[str, Any]]:
    """The distribution of the critical mAs for each level of P(flip): quartiles over reads, and the shares whose
    critical dose lies below the doses tried (0), or above (inf)."""
    rows = []
    for level in LEVELS:
        found = moments.critical(level)
        known = ~np.isnan(found)
        values = found[known]
        patients = np.broadcast_to(moments.patient[:, None], found.shape)[known]
        rows.append({"level": level, "reads": len(values), "median": median_dose(values, patients, seed),
                     **{f"quantile_{share:g}": _quantile(values, share) for share in _QUANTILES},
                     "below": float(np.mean(values == 0)) if len(values) else None,
                     "above": float(np.mean(np.isinf(values))) if len(values) else None})
    return rows


def median_dose(values: Floats, patients: Strings, seed: int = 0) -> Estimate:
    """The median of critical doses (r,), of which 0 and inf are values, with its interval over patients."""
    if not len(values):
        return Estimate(None)
    return _dose_estimate(_quantile(values, 0.5), bootstrap(
        lambda weights: weighted_median(weights, np.minimum(values, _ENDLESS)), patients, seed)[0], len(values))


def critical_curve(moments: Moments, level: float) -> dict[str, Any]:
    """The share of reads whose critical mAs for a level of P(flip) lies at or above each dose, over the folds."""
    scale = np.geomspace(moments.doses[0], moments.doses[-1], _POINTS)
    found = moments.critical(level)
    known = ~np.isnan(found)
    shares = np.array([[np.sum(found[known[:, fold], fold] >= mas) / max(int(known[:, fold].sum()), 1)
                        for mas in scale] for fold in range(found.shape[1]) if known[:, fold].any()])
    return {"level": level, "mas": scale, "mean": shares.mean(0), "least": shares.min(0), "most": shares.max(0)}


def added_and_effective(networks: Reads, part: str, moments: Moments | None) -> list[dict[str, Any]]:
    """For every dose added, the median dose that the scan then has, over the cases whose own dose is known."""
    scan = moments.scan_mas if moments is not None else np.full(len(networks), np.nan)
    there = networks.inside(part).any(1)
    known = np.isfinite(scan) & there
    rows = []
    for mas in networks.doses():
        found = effective_mas(scan[known], mas)
        rows.append({"mas": mas, "effective": float(np.median(found)) if known.any() else None,
                     "known": int(known.sum()), "cases": int(there.sum())})
    return rows


def expected_share(moments: Moments, mas: float, seed: int = 0) -> Estimate:
    """The expected share of reads changed at one dose, with its interval over patients."""
    every = moments.probability(np.array([mas]))
    folds = np.array([float(np.nanmean(column)) if np.isfinite(column).any() else np.nan
                      for column in every[:, :, 0].T])
    interval = _averaged(every, moments.patient, seed)
    return over_folds(folds, np.array([interval["low"][0], interval["high"][0]]), int(moments.known.any(1).sum()))


def _averaged(every: Floats, patients: Strings, seed: int) -> dict[str, Floats]:
    """Mean over folds of the mean over cases (m,), with its interval, from P(flip) (n, f, m)."""
    known = np.asarray(np.isfinite(every).all(2))
    folds = np.stack([every[chosen, fold].mean(0) for fold, chosen in enumerate(known.T) if chosen.any()])
    mean, cases = _by_case(every)
    interval = bootstrap(lambda weights: _weighted(weights, mean), patients[cases], seed)
    return {"mean": folds.mean(0), "low": interval[:, 0], "high": interval[:, 1], "least": folds.min(0),
            "most": folds.max(0)}


def _by_case(every: Floats) -> tuple[Floats, Flags]:
    """P(flip) of each case, mean over the folds that know it, (c, m), and which cases those are."""
    known = np.asarray(np.isfinite(every).all(2))
    cases = np.asarray(known.any(1))
    total = np.where(known[:, :, None], every, 0.0).sum(1)[cases]
    return np.asarray(total / known.sum(1)[cases][:, None]), cases


def _weighted(weights: Floats, values: Floats) -> Floats:
    total = weights.sum(1)
    return np.asarray((weights @ values) / np.where(total > 0, total, np.nan)[:, None])


def _dose_of_share(every: Floats, scale: Floats, share: float, patients: Strings, seed: int) -> Estimate:
    """Where the share of changed reads falls to `share`; 0 and inf as in `dose_fall`."""
    mean, cases = _by_case(every)
    value = _crossing(mean.mean(0)[None], scale, share)[0]
    drawn = bootstrap(lambda weights: np.minimum(_crossing(_weighted(weights, mean), scale, share), _ENDLESS),
                      patients[cases], seed)[0]
    return _dose_estimate(float(value), drawn, int(cases.sum()))


def _dose_estimate(value: float, interval: Floats, n: int) -> Estimate:
    """An estimate whose ends may be inf; an interval that resampling could not give, or of no width, is None."""
    ends = [None if np.isnan(end) else float("inf") if end > _ENDLESS / 1e4 else float(end) for end in interval]
    if ends[0] == ends[1]:
        ends = [None, None]
    return Estimate(value, ends[0], ends[1], n)


def _crossing(curves: Floats, scale: Floats, share: float) -> Floats:
    """The largest dose (b,) at which curves (b, m) exceed `share`, by log dose between points; 0, inf outside."""
    over = np.asarray(curves > share)
    last = curves.shape[1] - 1 - np.argmax(over[:, ::-1], axis=1)
    after = np.minimum(last + 1, curves.shape[1] - 1)
    rows = np.arange(len(curves))
    here, there = curves[rows, last], curves[rows, after]
    part = ratio(here - share, here - there)
    logs = np.log(scale)
    found = np.exp(logs[last] + np.nan_to_num(part) * (logs[after] - logs[last]))
    return np.where(over.any(1), np.where(last == curves.shape[1] - 1, np.inf, found), 0.0)


def _quantile(values: Floats, share: float) -> float:
    """The smallest value that so large a share does not exceed; inf and 0 are values."""
    ranked = np.sort(values)
    return float(ranked[max(int(np.ceil(share * len(ranked))) - 1, 0)]) if len(ranked) else float("nan")
