"""What noise does to where a network looks: attention on clean and noisy images, from every fold's stored rows.

A patient has several nodules, and the folds judge the same images. So every figure is that of each fold's network,
averaged over the folds, and its interval resamples whole patients for all folds at once. Flipped is set against
steady within each fold and class read: networks spread attention differently, evidence for one class lies elsewhere
than that for another, and one of them flips more often; the p of that difference is the bootstrap's, with Holm's
correction over all of them. The paired change from clean to noisy is tested by flipping the signs of whole
patients' changes, with Holm's correction over one noise's tests.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from steadyread.metrics.intervals import (
    FEWEST,
    Estimate,
    Flags,
    Floats,
    by_t,
    ratio,
    resamples,
    weighted_mean,
    weighted_median,
)
from steadyread.metrics.over_folds import statistic_over_folds
from steadyread.metrics.paired_tests import holm, sign_flip_test
from steadyread.metrics.reads import RANDOM, Strings
from steadyread.metrics.seeing_features import feature_rows
from steadyread.metrics.seeing_reads import (
    CHANGES,
    GROUPS,
    MEASURES,
    TESTED,
    Attention,
    SeenFold,
    attack_key,
    attention_of,
)
from steadyread.metrics.seeing_sanity import alike_rows, sanity_findings, sanity_rows

Statistic = Callable[[Floats, int, Flags], Floats]     # of weights, a fold and the images kept
COMPARED = ("overlap", "distance_mm", "inside_change", "area_change")


def summarise_seeing(seen: Sequence[SeenFold], seed: int = 0) -> dict[str, Any] | None:
    """Everything that is printed of attention and features; None where nothing was stored."""
    if not seen:
        return None
    first = seen[0].told
    main = attack_key(str(first["attack"]))
    held = attention_of(seen, main)
    sanity = sanity_rows(seen)
    paired = [row for attack in dict.fromkeys(one.attack for one in held)
              for row in with_holm([found for one in held if one.attack == attack
                                    for found in paired_rows(one, seed, attack == main)])]
    return {"attack": main, "mas": first["mas"], "layer": first["layer"], "feature_layer": first["feature_layer"],
            "measure": first["measure"], "target": first["target"], "layer_grid": first.get("layer_grid"),
            "folds": [one.fold for one in seen],
            "methods": list(dict.fromkeys(one.method for one in held)),
            "images": len({name for one in held for name in one.case_id.tolist()}),
            "patients": len({name for one in held for name in one.patient.tolist()}),
            "shift": [row for one in held for row in shift_rows(one, seed)],
            "against": _all_tested([row for one in held for row in against_rows(one, seed)]), "paired": paired,
            "sanity": sanity, "alike": alike_rows(held), "findings": sanity_findings(sanity),
            "features": [row | {"random": _random_weights(one.told)} for one in seen
                         for row in feature_rows([one.features], seed)]}


def shift_rows(one: Attention, seed: int = 0) -> list[dict[str, Any]]:
    """A group a row: how many reads, and the median of every measure."""
    rows = []
    for group in GROUPS:
        chosen = one.inside(group)
        told = {name: median_over_folds(one.values[name], chosen, one.patient, seed) for name in MEASURES}
        cases = chosen.any(1)
        mask = one.mask_share[chosen]
        rows.append({"method": one.method, "attack": one.attack, "group": group, "reads": int(chosen.sum()),
                     "cases": int(cases.sum()), "patients": len(np.unique(one.patient[cases])),
                     "mask_share": float(np.nanmedian(mask)) if np.isfinite(mask).any() else None,
                     "none": int((chosen & np.isnan(one.values["overlap"])).sum()), **told})
    return rows


def against_rows(one: Attention, seed: int = 0) -> list[dict[str, Any]]:
    """Flipped minus steady: the difference of the medians of each measure, within each fold and class read."""
    return [{"method": one.method, "attack": one.attack, "measure": name,
             "difference": difference_over_folds(one, one.values[name], seed),
             "p": difference_p(one, one.values[name], seed)}
            for name in COMPARED if np.isfinite(one.values[name]).any()]


def paired_rows(one: Attention, seed: int = 0, by_class: bool = True) -> list[dict[str, Any]]:
    """Noisy minus clean of each read, mean over the reads of a group, with its sign-flip p over patients.

    The groups, and `by_class` of the flipped and the steady reads those of each class that the network read on the
    clean image (`read_as`, else None): evidence for two classes may move two ways.
    """
    chosen: list[tuple[str, int | None, Flags]] = []
    for group in GROUPS:
        inside = one.inside(group)
        chosen.append((group, None, inside))
        told = inside & np.isfinite(one.prediction)
        numbers = np.unique(one.prediction[told]) if by_class and group in TESTED else ()
        chosen += [(group, int(number), np.asarray(inside & (one.prediction == number))) for number in numbers]
    return [_paired(one, name, inside, seed) | {"group": group, "read_as": number}
            for name in CHANGES for group, number, inside in chosen
            if np.isfinite(one.values[f"{name}_change"][inside]).any()]


def _paired(one: Attention, name: str, inside: Flags, seed: int) -> dict[str, Any]:
    change = np.where(inside, one.values[f"{name}_change"], np.nan)
    reads = np.isfinite(change)
    cases = reads.any(1)
    sides = {side: np.where(reads, one.values[f"{name}_{side}"], np.nan) for side in ("clean", "noisy")}
    return {"method": one.method, "attack": one.attack, "measure": name, "reads": int(reads.sum()),
            "cases": int(cases.sum()), "patients": len(np.unique(one.patient[cases])),
            **{side: mean_over_folds(values, one.patient, seed) for side, values in sides.items()},
            "difference": mean_over_folds(change, one.patient, seed),
            "p": mean_change_p(change, one.patient, seed)}


def median_over_folds(values: Floats, chosen: Flags, patients: Strings, seed: int = 0) -> Estimate:
    """The median of the chosen `values` (n, f) of each fold, averaged over folds; a bootstrap over patients."""
    there = chosen & np.isfinite(values)
    return _over(lambda weights, fold, kept: _median(weights, values[kept, fold], there[kept, fold]), there,
                 patients, seed)


def difference_over_folds(one: Attention, values: Floats, seed: int = 0) -> Estimate:
    """Median of the flipped reads' `values` (n, f) minus that of the steady ones', within each fold and class read.

    Classes are averaged by how many flipped reads they have; one without reads of both kinds is left out. No
    interval unless both kinds come from `FEWEST` patients.
    """
    sides, difference = _flipped_less_steady(one, values)
    found = _over(difference, sides[0] | sides[1], one.patient, seed)
    if _too_few(one, sides):
        return found.within((np.nan, np.nan))
    return found


def difference_p(one: Attention, values: Floats, seed: int = 0) -> float | None:
    """Two-sided p of that difference being 0, from the bootstrap over patients: twice the smaller share of
    resamples on either side of 0. None where there is no interval. How steady a read was before any noise is not
    held fixed.
    """
    sides, difference = _flipped_less_steady(one, values)
    kept: Flags = np.asarray((sides[0] | sides[1]).any(1))
    if _too_few(one, sides):
        return None
    folds = range(values.shape[1])
    drawn = np.concatenate([_known_mean(np.stack([difference(weights, fold, kept) for fold in folds], 1))
                            for weights in resamples(one.patient[kept], seed)])
    drawn = drawn[np.isfinite(drawn)]
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    share_ = min(1.0, 2 * (1 + beyond) / (1 + len(drawn)))
    return by_t(share_, len(np.unique(one.patient[kept])))


def _flipped_less_steady(one: Attention, values: Floats) -> tuple[list[Flags], Statistic]:
    """The flipped and the steady reads (n, f) with a value, and the difference of one fold's medians."""
    told = np.isfinite(values) & np.isfinite(one.prediction)
    sides = [one.inside(group) & told for group in TESTED]
    classes = [one.prediction == number for number in np.unique(one.prediction[told])]

    def difference(weights: Floats, fold: int, kept: Flags) -> Floats:
        total, whole = np.zeros(len(weights)), np.zeros(len(weights))
        for each in classes:
            inside = [(side & each)[kept, fold] for side in sides]
            first, second = (_median(weights, values[kept, fold], side) for side in inside)
            share = np.where(np.isfinite(first - second), weights[:, inside[0]].sum(1), 0.0)
            total += share * np.nan_to_num(first - second)
            whole += share
        return ratio(total, whole)

    return sides, difference


def _too_few(one: Attention, sides: Sequence[Flags]) -> bool:
    return min(len(np.unique(one.patient[side.any(1)])) for side in sides) < FEWEST


def _known_mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(1), known.sum(1).astype(np.float64))


def mean_change_p(change: Floats, patients: Strings, seed: int = 0) -> float:
    """Two-sided p of a mean change (n, f) of 0, the mean that is printed: over a fold's reads, then over folds.

    The changes of all nodules and folds of a patient flip their signs together (see `sign_flip_test`).
    """
    present = np.isfinite(change)
    counts = present.sum(0)
    weight = np.maximum(counts, 1) * max(int((counts > 0).sum()), 1)
    shares = np.where(present, change, 0.0) / weight
    return sign_flip_test(shares.sum(1), patients, seed)


def with_holm(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with Holm's p as `p_holm`, over all tests but those of all reads together, which are told only."""
    corrected = holm([float(row["p"]) if row["group"] in TESTED else None for row in rows])
    return [dict(row) | {"p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _all_tested(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with Holm's p as `p_holm`, over all of them."""
    return [dict(row) | {"p_holm": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def _random_weights(told: Mapping[str, Any]) -> list[float]:
    """The median changes of the same features of a network whose weights are drawn anew, largest first."""
    held = (told.get("features") or {}).get("median_change_of_weights_drawn_anew") or ()
    return sorted((float(value) for value in held if value is not None), reverse=True)


def random_attack(found: Mapping[str, Any]) -> str | None:
    """Plain random noise, where attention was measured under it beside the study's own."""
    attacks = {row["attack"] for row in found["shift"]}
    return RANDOM if RANDOM in attacks and found["attack"] != RANDOM else None


def mean_over_folds(values: Floats, patients: Strings, seed: int = 0) -> Estimate:
    """The mean of `values` (n, f) of each fold, averaged over folds; they may be negative, as shares are not."""
    there = np.isfinite(values)

    def mean(weights: Floats, fold: int, kept: Flags) -> Floats:
        inside = there[kept, fold]
        return weighted_mean(weights[:, inside], values[kept, fold][inside])

    return _over(mean, there, patients, seed)


def _over(statistic: Statistic, there: Flags, patients: Strings,
          seed: int) -> Estimate:
    """`statistic_over_folds` of the images with any read (n, f), so that `n` and the patients are theirs."""
    kept: Flags = np.asarray(there.any(1))
    return statistic_over_folds(lambda weights, fold: statistic(weights, fold, kept), there.shape[1],
                                patients[kept], seed)


def _median(weights: Floats, values: Floats, inside: Flags) -> Floats:
    return weighted_median(weights[:, inside], values[inside])
