"""Can P(flip) be trusted: set against counting many draws, where it is hard; and is the search converged."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steadyread.metrics.intervals import Estimate, Flags, Floats, bootstrap, clopper_pearson, estimate, share

HARD = (0.02, 0.98)        # of the counted P(flip), between which a pair is judged
PAIRS_WANTED, COVERAGE_WANTED, FOUND_WANTED = 60, 0.90, 0.95
_COLUMNS = ("mas", "counted_flips", "counted_trials", "probability", "low", "high", "few_flips")


def counted_pairs(stored: Mapping[int, Mapping[str, Any]], patients: Mapping[str, str]) -> dict[str, Any] | None:
    """The pairs of image and dose of all folds, judged where the counted P(flip) lies within `HARD`.

    `rmse` is that of our estimate, `rmse_few` of counting the same few draws, each against the count of many;
    `covered` the share of 95 % intervals that hold the count. Intervals over patients. None without pairs.
    """
    held = [{"fold": fold, "draws": told.get("draws"), **pair} for fold, told in sorted(stored.items())
            for pair in told.get("pairs", ())]
    if not held:
        return None
    columns = {name: np.array([_number(pair.get(name)) for pair in held]) for name in _COLUMNS}
    draws = np.array([_number(pair["draws"]) for pair in held])
    patient = np.array([patients.get(str(pair.get("case_id")), str(pair.get("case_id"))) for pair in held], str)
    counted = columns["counted_flips"] / columns["counted_trials"]
    few = columns["few_flips"] / draws
    hard = (counted >= HARD[0]) & (counted <= HARD[1]) & np.isfinite(columns["probability"])
    inside = (columns["low"] <= counted) & (counted <= columns["high"])
    wrong, wrong_few = columns["probability"] - counted, few - counted
    abnormal = [found for pair in held if (found := _abnormal(pair)) is not None]
    return {"all": len(held), "pairs": int(hard.sum()), "images": len({str(held[at]["case_id"])
                                                                         for at in np.flatnonzero(hard)}),
            "draws": sorted({int(count) for count in draws if np.isfinite(count)}),
            "trials": sorted({int(count) for count in columns["counted_trials"] if np.isfinite(count)}),
            "rmse": _rmse(wrong[hard], patient[hard]), "rmse_few": _rmse(wrong_few[hard], patient[hard]),
            "rmse_gain": _gain(wrong, wrong_few, hard & np.isfinite(wrong_few), patient),
            "covered": share(inside[hard], patient[hard]),
            "dose_quartiles": np.quantile(columns["mas"][hard], [0.25, 0.5, 0.75]).tolist() if hard.any() else None,
            "not_normal": float(np.mean(abnormal)) if abnormal else None,
            "points": {"counted": counted[hard], "probability": columns["probability"][hard],
                       "low": columns["low"][hard], "high": columns["high"][hard], "few": few[hard],
                       "mas": columns["mas"][hard]}}


def convergence(stored: Mapping[int, Mapping[str, Any]],
                patients: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The share of the flips found with ten times the gradients that each search finds too, folds together.

    An attack each: its `rows` by dose, and the `worst` of them, by which it is judged, since the doses at which
    everything flips would hide one at which the search fails. `found` has an interval over patients where the cases
    are named, else Clopper and Pearson's. None of those without a flip of the longer search is the worst.
    """
    rows = [{"attack": told.get("attack", "")} | dict(row) for _, told in sorted(stored.items())
            for row in told.get("rows", ())]
    made = []
    for attack in dict.fromkeys(str(row["attack"]) for row in rows):
        own = [row for row in rows if row["attack"] == attack]
        doses = [_found(mas, [row for row in own if row["mas"] == mas], patients or {})
                 for mas in sorted({row["mas"] for row in own})]
        known = [row for row in doses if row["found"].value is not None]
        made.append({"attack": attack, "rows": doses,
                     "worst": min(known, key=lambda row: (row["found"].value, row["mas"])) if known else None})
    return made


def _found(mas: float, rows: Sequence[Mapping[str, Any]], patients: Mapping[str, str]) -> dict[str, Any]:
    images, flips, more = (int(sum(row[name] for row in rows)) for name in ("images", "flips", "flips_more"))
    both = int(sum(row["both"] if "both" in row else row["flips"] + row["flips_more"] - row["either"]
                   for row in rows))
    if all("case_ids" in row for row in rows):
        pairs = [(flip, patients.get(str(case), str(case))) for row in rows
                 for case, flip, longer in zip(row["case_ids"], row["found"], row["found_more"], strict=True)
                 if longer]
        found = share([bool(flip) for flip, _ in pairs], [patient for _, patient in pairs])
    else:
        low, high = clopper_pearson(both, more)
        found = Estimate(both / more, float(low), float(high), more) if more else Estimate(None)
    return {"mas": mas, "images": images, "flips": flips, "flips_more": more, "both": both, "found": found,
            "gradients": _only(rows, "gradients"), "gradients_more": _only(rows, "gradients_more")}


def _abnormal(pair: Mapping[str, Any]) -> bool | None:
    """Whether the few draws did not look Gaussian; None where that was not told."""
    return None if pair.get("normal") is None else not pair["normal"]


def _only(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return max(float(row[name]) for row in rows)


def _rmse(wrong: Floats, patients: np.ndarray[Any, np.dtype[np.str_]]) -> Estimate:
    if not len(wrong) or not np.isfinite(wrong).all():
        return Estimate(None, n=len(wrong))
    interval = bootstrap(lambda weights: _root(weights, wrong), patients)[0]
    return estimate(float(np.sqrt(np.mean(wrong**2))), interval, len(wrong))


def _gain(wrong: Floats, wrong_few: Floats, chosen: Flags,
          patients: np.ndarray[Any, np.dtype[np.str_]]) -> Estimate:
    """RMSE of counting few minus ours, above 0 where ours is better, over the same resampled patients."""
    if not chosen.any():
        return Estimate(None)
    ours, few = wrong[chosen], wrong_few[chosen]
    value = float(np.sqrt(np.mean(few**2)) - np.sqrt(np.mean(ours**2)))
    interval = bootstrap(lambda weights: _root(weights, few) - _root(weights, ours), patients[chosen])[0]
    return estimate(value, interval, int(chosen.sum()))


def _root(weights: Floats, wrong: Floats) -> Floats:
    total = weights.sum(1)
    return np.asarray(np.sqrt((weights @ wrong**2) / np.where(total > 0, total, np.nan)))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
