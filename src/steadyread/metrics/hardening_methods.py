"""What hardening against CT noise did: [B]'s adaptive training and every method beside it, judged alike.

[B] Algorithm 2 and Tables 4 and 5 (doi:10.1088/1361-6560/abc812): SAN under optimised noise before, and after one
and two rounds. Here every method's networks and those before meet the same attacks with the same draws, so
differences are paired (`contrasts`). A network that lost its reads is steady too: robust accuracy
(read right and not flipped) stands beside SAN, and AUC beside both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from steadyread.metrics.contrasts import Contrast, area_contrast, contrast, flips_contrast, flips_of
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.drift import drift_rows
from steadyread.metrics.hardened import (
    BEFORE,
    Hardened,
    Hardenings,
    costs_of,
    rounds_of,
    said_by_fold,
    searched_harder,
    shifts_of,
)
from steadyread.metrics.intervals import Floats
from steadyread.metrics.noise import attack_row, inside
from steadyread.metrics.noise_classes import areas
from steadyread.metrics.paired_tests import holm
from steadyread.metrics.pairs import Pair, paired
from steadyread.metrics.reads import OPTIMISED, PARTS, PLAUSIBLE, RANDOM, RINGS, Reads, noise_attack
from steadyread.metrics.verdicts import way_of

CONTROLS = ("clean", "augment")     # further training without optimised noise
_EQUAL = 0.05           # of the passes, up to which two trainings cost the same


@dataclass(frozen=True)
class Under:
    """The noise of which the verdict speaks: an attack at a dose, on the reads of one part."""

    attack: str
    mas: float
    part: str

    def contrast(self, before: Reads | None, after: Reads | None, seed: int) -> Contrast | None:
        """The reads that it changes at least once; None where either side is not there or did not meet it."""
        if before is None or after is None:
            return None
        return flips_contrast(paired(before, after), self.attack, self.mas, self.part, seed)


def summarise_methods(hardening: Hardenings, wanted_mas: float | None = None, seed: int = 0) -> dict[str, Any]:
    """Tables 4 and 5, every method against before at the stated dose, and costs.

    `Estimate`s and `Contrast`s inside. The stated dose is the one tried that is nearest to `wanted_mas`.

    Raises:
        InputRefused: a method's cases have other labels, or another split, than those before.
    """
    before, methods = hardening.before, hardening.methods
    part = before.judged if before else "test"
    under = _headline(hardening, wanted_mas, part)
    rows = [_method_row(hardening, method, under, part, seed) for method in methods]
    for row, p in zip(rows, holm([row["san"].p if row["san"] else None for row in rows]), strict=True):
        row["p_holm"], row["way"] = p, way_of(row["san"], p, lower_is_better=True)
    _set_costs(rows)
    main = methods[0].name if methods else None
    best = _best(rows, hardening, under, seed) if under else None
    compared = dict.fromkeys(filter(None, (main, best["name"] if best else None)))
    return {"main": main, "settings": dict(hardening.settings), "attack": under.attack if under else None,
            "stated_mas": under.mas if under else None, "part": part, "auc_cost": hardening.auc_cost, "methods": rows,
            "judged": before is not None, "folds": list(before.folds) if before else [],
            "steps": _step_rows(hardening, seed), "findings": _findings(methods),
            "drift": _drift(hardening, under, seed) if under else [], "best": best,
            "controls": _controls(rows, list(compared), hardening, under, seed) if under else []}


def step_networks(hardening: Hardenings) -> Iterator[tuple[str, int | None, Reads]]:
    """Before (round 0), the main method after each round, and the last networks of every other method (None)."""
    if hardening.before is not None:
        yield BEFORE, 0, hardening.before
    for place, method in enumerate(hardening.methods):
        if place == 0 and method.rounds:
            yield from ((method.name, number, networks) for number, networks in enumerate(method.rounds, 1))
        elif method.reads is not None:
            yield method.name, None, method.reads


def silent_folds(networks: Reads, part: str) -> list[int]:
    """The folds whose network says one and the same of every image of a part that has several labels."""
    silent = []
    for at, fold in enumerate(networks.folds):
        there = networks.inside(part)[:, at]
        known = networks.label[there & (networks.label >= 0)]
        if len(np.unique(known)) > 1 and len(np.unique(networks.prediction[there, at])) < 2:
            silent.append(fold)
    return silent


def _headline(hardening: Hardenings, wanted: float | None, part: str) -> Under | None:
    """The attack that is told first, and the dose: the training's optimised noise, else rings, else the rest."""
    judged = [method.reads for method in hardening.methods if method.reads is not None]
    if hardening.before is None:
        return None
    tried = [name for name in hardening.before.noises if any(name in networks.noises for networks in judged)]
    taught = noise_attack(str(hardening.settings.get("noise")))
    order = [taught if taught in OPTIMISED else RINGS, RINGS, PLAUSIBLE, *OPTIMISED, RANDOM, *tried]
    attack = next((name for name in order if name in tried), None)
    if attack is None:
        return None
    doses = hardening.before.doses(attack)
    return Under(attack, doses[0] if wanted is None else nearest_dose(doses, wanted), part)


def _set_costs(rows: Sequence[dict[str, Any]]) -> None:
    """How many times the passes of the main method each took, and whether that is about once."""
    main = rows[0]["training"]["passes"] if rows else None
    for row in rows:
        passes = row["training"]["passes"]
        row["cost"] = passes / main if passes and main else None
        row["equal_cost"] = None if row["cost"] is None else abs(row["cost"] - 1) <= _EQUAL


def _best(rows: Sequence[dict[str, Any]], hardening: Hardenings, under: Under, seed: int) -> dict[str, Any] | None:
    """The method with the lowest SAN among those whose AUC fell by no more than the cost allowed, else among all.

    It is set against the main method, or, being that, against the next. None with fewer than two that were judged
    and that read at all.
    """
    ranked = sorted((row for row in rows if row["san"] and row["san"].after.value is not None
                     and not row["silent"] and not row["failed"]), key=lambda row: row["san"].after.value)
    within = [row for row in ranked if (row["auc"].difference.value or 0.0) >= -hardening.auc_cost]
    if len(ranked) < 2:
        return None
    first = (within or ranked)[0]
    others = [row for row in ranked if row is not first]
    other = next((row for row in others if row is rows[0]), others[0])
    reads = {method.name: method.reads for method in hardening.methods}
    return {"name": first["name"], "within_cost": bool(within), "against": other["name"], "fewest": ranked[0]["name"],
            "san": under.contrast(reads[other["name"]], reads[first["name"]], seed)}


def _controls(rows: Sequence[Mapping[str, Any]], names: Sequence[str], hardening: Hardenings, under: Under, seed: int
              ) -> list[dict[str, Any]]:
    """The named methods against every control: further training without optimised noise.

    `p_holm` is Holm's over these tests. Networks of one variant only are set against each other.
    """
    kinds = {row["name"]: row for row in rows}
    reads = {method.name: method.reads for method in hardening.methods}
    compared: list[dict[str, Any]] = []
    for name in names:
        variant = kinds[name]["variant"]
        for control in (row for row in rows if row["method"] in CONTROLS and row["variant"] == variant):
            san = under.contrast(reads[control["name"]], reads[name], seed) if control["name"] != name else None
            if san is not None:
                compared.append({"name": name, "control": control["name"], "method": control["method"], "san": san})
    for row, p in zip(compared, holm([row["san"].p for row in compared]), strict=True):
        row["p_holm"], row["way"] = p, way_of(row["san"], p, lower_is_better=True)
    return compared


def _step_rows(hardening: Hardenings, seed: int) -> list[dict[str, Any]]:
    """[B] Tables 4 and 5, a row a step, part and attack: AUC, and SAN at each dose."""
    rows = []
    for name, number, networks in step_networks(hardening):
        for part in PARTS:
            if not networks.inside(part).any():
                continue
            auc = areas(networks, part, seed)
            for attack in networks.noises:
                cells = {f"{mas:g}": row for mas in networks.doses(attack)
                         if (row := attack_row(networks, attack, mas, part, seed)) is not None}
                if cells:
                    rows.append({"name": name, "round": number, "part": part, "attack": attack, "auc": auc,
                                 "folds": len(networks.folds), "cells": cells})
    return rows


def _drift(hardening: Hardenings, under: Under, seed: int) -> list[dict[str, Any]]:
    """Drift and jitter by predicted class at the stated dose, before and of every method."""
    networks = {BEFORE: hardening.before} | {method.name: method.reads for method in hardening.methods}
    rows = []
    for name, reads in networks.items():
        if reads is not None and (RANDOM, under.mas) in reads.under:
            drawn = replace(reads, outcomes=(reads.under[RANDOM, under.mas],))
            rows += [{"name": name, **row} for row in drift_rows(drawn, under.part, seed)]
    return rows


def _findings(methods: Sequence[Hardened]) -> list[dict[str, Any]]:
    """What the checks of the hardened networks found, errors first; the same one of several networks once."""
    together: dict[tuple[str, str, str], dict[str, Any]] = {}
    for method in methods:
        for fold, finding in method.findings:
            key = finding["check"], finding["severity"], finding["message"]
            row = together.setdefault(key, {**finding, "networks": [], "methods": []})
            row["networks"].append(f"{method.name}, fold {fold}")
            row["methods"] = list(dict.fromkeys([*row["methods"], method.name]))
    order = ("error", "warning", "note", "ok")
    return sorted(together.values(), key=lambda row: order.index(row["severity"]) if row["severity"] in order else 0)


def _method_row(hardening: Hardenings, method: Hardened, under: Under | None, part: str, seed: int) -> dict[str, Any]:
    """One method against before; numbers are None where it is not judged."""
    trained = list(method.trainings.values())
    row: dict[str, Any] = {
        "name": method.name, **hardening.stated(method),
        "rule": next((training.get("rule") for training in trained if training.get("rule")), None),
        "failed": said_by_fold(method.trainings, "failed"), "stopped": said_by_fold(method.trainings, "stopped"),
        "shifts": shifts_of(trained), "training": costs_of(trained), "rounds": rounds_of(trained),
        "harder": searched_harder(method.convergence), "folds": [], "silent": [], "silent_before": [], "by_round": [],
        **dict.fromkeys(("auc", "accuracy", "sensitivity", "specificity", "san", "robust", "random_draw",
                         "plausible", "trials", "missed"))}
    before, after = hardening.before_of(method), method.reads
    pair = paired(before, after) if before is not None and after is not None else None
    if before is None or pair is None:
        return row | {"auc_kept": "few", "lost_reads": False}
    row |= {"folds": list(pair.after.folds), "silent": silent_folds(pair.after, part),
            "silent_before": silent_folds(pair.before, part),
            "auc": area_contrast(pair, part, seed), **_recalls(pair, part, seed)}
    if under is not None:
        steps = pairwise((before, *method.rounds))
        rounds = [(number, under.contrast(*step, seed)) for number, step in enumerate(steps, 1)]
        row |= _attacked(pair, under, seed) | {
            "missed": _missed(pair.after, under),
            "by_round": [{"round": number, "san": san} for number, san in rounds if san is not None]}
    return row | {"auc_kept": _kept(row["auc"], hardening.auc_cost), "lost_reads": _lost(row["san"], row["robust"])}


def _attacked(pair: Pair, under: Under, seed: int) -> dict[str, Any]:
    """SAN, robust accuracy, one draw of random noise and plausible noise at one dose, before and after."""
    patients, mas, part = pair.before.patient, under.mas, under.part
    row: dict[str, Any] = {}
    if (flips := flips_of(pair, under.attack, mas, part)) is not None:
        row = {"san": contrast(flips.before, flips.after, patients, seed),
               "robust": contrast(_right(pair.before) * (1 - flips.before), _right(pair.after) * (1 - flips.after),
                                  patients, seed)}
    first, second = (inside(networks, under.attack, mas, part) for networks in (pair.before, pair.after))
    if first is not None and second is not None:
        row["trials"] = {"before": int(np.nanmax(first.trials)), "after": int(np.nanmax(second.trials)),
                         "compared": flips.trials if flips else None}
    if under.attack != PLAUSIBLE:
        row["plausible"] = flips_contrast(pair, PLAUSIBLE, mas, part, seed)
    first, second = (inside(networks, RANDOM, mas, part) for networks in (pair.before, pair.after))
    if first is not None and second is not None:
        row["random_draw"] = contrast(first.rate, second.rate, patients, seed)
    return row


def _missed(networks: Reads, under: Under) -> dict[str, int] | None:
    """Reads that other noise of the dose flips and the attack does not, though it may make that noise as well: each
    is a proven failure of its search. None where no other noise was tried there."""
    searched = inside(networks, under.attack, under.mas, under.part)
    others = [outcome for name in (RANDOM, PLAUSIBLE) if name != under.attack
              and (outcome := inside(networks, name, under.mas, under.part)) is not None]
    if searched is None or not others:
        return None
    flipped = np.any([np.nan_to_num(outcome.flips) > 0 for outcome in others], axis=0)
    known = searched.trials > 0
    return {"reads": int(known.sum()), "missed": int((known & flipped & (searched.flips == 0)).sum())}


def _recalls(pair: Pair, part: str, seed: int) -> dict[str, Any]:
    """Accuracy, and with two classes sensitivity and specificity, of the clean reads."""
    sides = [np.where(networks.inside(part), _right(networks), np.nan) for networks in (pair.before, pair.after)]
    label = pair.before.label[:, None]
    kinds = {"accuracy": label >= 0}
    if pair.before.logits.shape[2] == 2:
        kinds |= {"sensitivity": label == 1, "specificity": label == 0}
    return {name: contrast(np.where(chosen, sides[0], np.nan), np.where(chosen, sides[1], np.nan), pair.before.patient,
                           seed) for name, chosen in kinds.items()}


def _right(networks: Reads) -> Floats:
    """1 where read right, 0 where wrong or undecided, NaN where the label is unknown or the read absent."""
    return np.where(networks.known, networks.correct.astype(np.float64), np.nan)


def _kept(auc: Contrast, cost: float) -> str:
    """Whether the AUC fell by no more than `cost`: "yes" or "no" where the difference's whole interval says so."""
    difference = auc.difference
    if difference.low is None or difference.high is None:
        return "few"
    return "yes" if difference.low > -cost else "no" if difference.high < -cost else "unclear"


def _lost(san: Contrast | None, robust: Contrast | None) -> bool:
    """Fewer flips, yet not more images that are read right and stay so: the reads were lost, not made steady."""
    return bool(san and robust and robust.difference.value is not None and (san.difference.value or 0.0) < 0
                and robust.difference.value <= 0)
