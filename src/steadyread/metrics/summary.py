"""Everything a report prints, from records and plan alone, as one nested dictionary (summary.json)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread._version import __version__
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.calibration import calibration
from steadyread.metrics.combination import COMBINED
from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.discrimination import discrimination
from steadyread.metrics.guarantee import guarantee
from steadyread.metrics.hardening import Compared
from steadyread.metrics.intervals import Estimate, Floats, share
from steadyread.metrics.plan import (
    Plan,
    attacks_of,
    bounds_of,
    class_count,
    class_names,
    exact_up_to,
    part_of,
    section,
    share_to_withhold,
    stages_of,
    threshold_of,
)
from steadyread.metrics.reads import Reads, decided, rank
from steadyread.metrics.robustness import (
    Curve,
    accuracy_on_other_axes,
    accuracy_under_attack,
    median_flip,
    merged_found_size,
    robust_curve,
)
from steadyread.metrics.triage import RANDOM, SMALLEST_FLIP, triage
from steadyread.units import Bounds, size_json

REFERENCES = ("label", "prediction")
FRAGILE = 20
ALPHAS = (0.05, 0.1)
_STEPS = 500


def summarise(table: pa.Table, plan: Plan, findings: Sequence[Mapping[str, Any]] = (),
              training: Mapping[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    """The summary of one run: `Estimate`s inside, plain values by `as_json`.

    Judged is the test part where there is one, else all images; of several stages the first of plain,
    hardened (the others are named under `stages`).

    Raises:
        InputRefused: the plan has no bounds, or attacks' rows without their clean row.
    """
    bounds = bounds_of(plan)
    stages = stages_of(table)
    part, stage = part_of(table), stages[0] if stages else None
    reads = reads_of(table, part, stage, bounds)
    validation = reads_of(table, "validation", stage, bounds) if part == "test" else None
    elsewhere = validation if validation is not None and len(validation) else None
    classes = class_count(plan, reads)
    triaged = triage(reads, elsewhere, share_to_withhold(plan), seed)
    otherwise = accuracy_on_other_axes(reads)
    names = [row["score"] for row in triaged["rows"] if row["score"] not in (RANDOM, COMBINED)]
    return {
        "steadyread": __version__, "name": plan.get("name"), "part": part or "all", "stage": stage,
        "stages": stages, "images": int(reads.there.any(1).sum()), "folds": len(reads.folds),
        "patients": len(np.unique(reads.patient)),
        "undecided": int(np.sum(reads.there & (reads.prediction < 0))),
        "synthetic": bool(section(plan, "data").get("synthetic")),
        "data": {"name": "", "patients_known": False} | dict(section(plan, "data")),
        "model": {"name": ""} | dict(section(plan, "model")),
        "classes": class_names(plan, classes), "range": bounds.range, "unit": bounds.unit,
        "discrimination": discrimination(reads, classes, seed),
        "calibration": calibration(reads, elsewhere, threshold_of(plan), seed).as_json(),
        "robustness": {against: robustness(reads, against, plan, seed) for against in REFERENCES},
        "triage": triaged,
        "guarantees": [guarantee(elsewhere, reads, name, alpha, seed=seed)
                       for alpha in ALPHAS for name in names],
        "fragile": _fragile(reads, bounds),
        "passes": _passes(table, part, stage), "training": training,
        "findings": [dict(finding) for finding in findings],
        "provenance": {key: plan.get(key) for key in ("seed", "block", "against", "versions", "study")}
        | {"attacks": attacks_of(plan)},
    } | ({"other_axes": otherwise} if otherwise else {})


def as_json(value: Any) -> Any:
    """Plain values for JSON: NaN is null, infinity "inf" or "-inf", arrays are lists."""
    if isinstance(value, Estimate | Contrast | Compared):
        return as_json(value.as_json())
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def thinned(curve: Curve, most: int = _STEPS) -> Curve:
    """At most so many of a curve's steps, its first and last among them; those kept are exact."""
    if len(curve.sizes) <= most:
        return curve
    kept = np.unique(np.linspace(0, len(curve.sizes) - 1, most).round().astype(int))
    return replace(curve, sizes=curve.sizes[kept], accuracy=curve.accuracy[kept], low=curve.low[kept],
                   high=curve.high[kept])


def judged_by(reads: Reads, against: str) -> tuple[Floats, np.ndarray[Any, np.dtype[np.str_]]]:
    """The smallest flips that a median speaks of, with their patients: correct reads, or decided ones.

    Against the label a wrong read has nothing to flip; against the prediction every read has.
    """
    merged = merged_found_size(reads, against)
    chosen = merged.present & (reads.correct if against == "label" else reads.prediction >= 0)
    return merged.found[chosen], reads.patients[chosen]


def tabled_sizes(reads: Reads, bounds: Bounds) -> list[float]:
    """The sizes of the tables: every size tried, else those of [A] Table 1 (0.001 to 0.006 of the range)."""
    tried = {outcome.level for outcome in reads.outcomes
             if outcome.fixed and outcome.level > 0 and outcome.threat == "Linf"}
    return sorted(tried) or [share_ * bounds.range for share_ in (0.001, 0.002, 0.004, 0.006)]


def robustness(reads: Reads, against: str, plan: Plan, seed: int = 0) -> dict[str, Any]:
    """The accuracy under each attack at each size, at the tabled sizes and as a curve, and the smallest flips: against
    the label or the prediction."""
    bounds = bounds_of(plan)
    rows = accuracy_under_attack(reads, against)
    for row in rows:
        row["size"] = size_json(row["size"], bounds)
    limit = exact_up_to(plan, reads, against)
    merged = robust_curve(reads, against)
    exact = merged.until(limit)
    curve = thinned(exact)
    found, patients = judged_by(reads, against)
    middle = median_flip(found, patients, seed)
    return {
        "attacks": rows,
        "at": _at_sizes(merged, limit, reads, against, bounds),
        "curve": {"sizes": curve.sizes, "accuracy": curve.accuracy, "low": curve.low, "high": curve.high,
                  "images": curve.n, "steps": len(exact.sizes), "up_to": limit},
        "smallest_flip": {
            "searched": reads.smallest_flip(against) is not None, "images": len(found),
            "searched_up_to": size_json(limit, bounds) if 0 < limit < math.inf else None,
            "median": size_json(middle[0], bounds),
            "low": size_json(middle[1], bounds), "high": size_json(middle[2], bounds),
            "never": share(np.isinf(found), patients), "rounded": smallest_flips_rounded(reads, against),
            "improved_by_fixed_sizes": merged_found_size(reads, against).improved},
    }


def smallest_flips_rounded(reads: Reads, against: str) -> Estimate | None:
    """The share of the smallest flips that stand once the image is rounded to whole stored values; None where the
    images are of other values or nothing flipped."""
    search = reads.smallest_flip(against)
    if search is None:
        return None
    rounded = search["flips_rounded"]
    told = np.isfinite(rounded) & (search.found > 0)
    return share(rounded[told] > 0, reads.patients[told]) if told.any() else None


def _at_sizes(merged: Curve, limit: float, reads: Reads, against: str, bounds: Bounds) -> list[dict[str, Any]]:
    """The accuracy at the tabled sizes: `exact` up to `limit`, else merged from the fixed sizes that were tried."""
    tried, limit = {outcome.level for outcome in reads.fixed(against)}, limit * (1 + 1e-6)
    return [{"size": size_json(size, bounds), "accuracy": merged.at(size), "exact": size <= limit}
            for size in tabled_sizes(reads, bounds) if size <= limit or size in tried]


def _fragile(reads: Reads, bounds: Bounds) -> list[dict[str, Any]]:
    """The reads with the smallest flips against the prediction: cases a human should read, each once."""
    merged = merged_found_size(reads, "prediction")
    found = np.where(merged.present, merged.found, np.inf)
    least = found.argmin(1)            # of the networks of several folds the one that flips first
    places = np.stack([np.arange(len(found)), least], axis=1)[np.isfinite(found.min(1))]
    ranked = places[np.argsort(found[tuple(places.T)], kind="stable")][:FRAGILE].tolist()
    return [{"case_id": str(reads.case_id[case]), "patient_id": str(reads.patient[case]),
             "label": int(reads.label[case]), "prediction": int(reads.prediction[case, network]),
             "probability": _probability(reads.logits[case, network], int(reads.prediction[case, network])),
             "size": size_json(float(merged.found[case, network]), bounds)} for case, network in ranked]


def _probability(logits: Floats, of: int) -> float | None:
    """The softmax probability of one class; None for an undecided read."""
    if of < 0 or not decided(logits[None])[0]:
        return None
    raised = np.exp(logits - logits.max())
    return float(raised[of] / raised.sum())


def queries_of(passes: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean forward passes of the search for the smallest flip, where it was one without a single gradient: the network
    is a black box. None where it is none, or was not searched."""
    row = next((row for row in passes if row["attack"] == SMALLEST_FLIP), None)
    return row["forwards"] if row is not None and row["backwards"] == 0 else None


def _passes(table: pa.Table, part: str | None, stage: str | None) -> list[dict[str, Any]]:
    """Mean passes of each attack, forwards and backwards, over the judged images that it was tried on.

    Of one reference: against the label and against the prediction one search serves both.
    """
    for column, wanted in (("part", part), ("stage", stage)):
        table = table if wanted is None else table.filter(pc.equal(table[column], wanted))
    sides = pc.unique(table["against"]).to_pylist()
    table = table.filter(pc.equal(table["against"], "prediction" if "prediction" in sides else "label"))
    grouped = table.filter(pc.greater(table["forwards"], 0)).group_by("attack").aggregate([
        ("forwards", "mean"), ("backwards", "mean"), ("case_id", "count")])
    rows = sorted(grouped.to_pylist(), key=lambda row: rank(row["attack"]))
    return [{"attack": row["attack"], "forwards": row["forwards_mean"], "backwards": row["backwards_mean"],
             "rows": row["case_id_count"]} for row in rows]
