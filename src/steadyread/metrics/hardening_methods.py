"""What hardening against CT noise did: [B]'s adaptive training and every method beside it, judged alike.

[B] Algorithm 2 and Tables 4 and 5 (doi:10.1088/1361-6560/abc812): SAN under optimised noise before, and after one
and two rounds. Here every method's networks and those before meet the same attacks with the same draws, so
differences are paired (`contrasts`). A network that lost its reads is steady too: robust accuracy
(read right and not flipped) stands beside SAN, and AUC beside both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from steadyread.metrics.reads import OPTIMISED, PARTS, PLAUSIBLE, RANDOM, RINGS, Reads
from steadyread.metrics.verdicts import way_of

Judged = tuple[str | None, float | None, str]     # attack, mAs, part
CONTROLS = ("clean", "augment")     # further training without optimised noise
_EQUAL = 0.05           # of the passes, up to which two trainings cost the same
_ATTACK_OF = {"rings": RINGS, "plausible": PLAUSIBLE, "random": RANDOM}


def summarise_methods(hardening: Hardenings, wanted_mas: float | None = None,
                              seed: int = 0) -> dict[str, Any]:
    """Tables 4 and 5, every method against before at the stated dose, and costs.

    `Estimate`s inside. The stated dose is the one tried that is nearest to `wanted_mas`.

    Raises:
        InputRefused: a method's cases have other labels, or another split, than those before.
    """
    attack, mas = _headline(hardening, wanted_mas)
    part = hardening.before.judged if hardening.before else "test"
    rows = [_method_row(hardening, method, (attack, mas, part), seed) for method in hardening.methods]
    for row, p in zip(rows, holm([row["san"].p if row["san"] else None for row in rows]), strict=True):
        row["p_holm"] = p
        row["way"] = way_of(row["san"], p, lower_is_better=True)
    _set_costs(rows)
    found: dict[str, Any] = {
        "main": hardening.methods[0].name if hardening.methods else None, "settings": dict(hardening.settings),
        "attack": attack, "stated_mas": mas, "part": part, "auc_cost": hardening.auc_cost, "methods": rows,
        "judged": hardening.before is not None, "folds": list(hardening.before.folds) if hardening.before else [],
        "steps": _step_rows(hardening, seed), "findings": _findings(hardening.methods),
        "drift": _drift(hardening, mas, part, seed)}
    found["best"] = _best(found, hardening, (attack, mas, part), seed)
    found["controls"] = _controls(found, hardening, (attack, mas, part), seed)
    return found


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
    told = []
    for at, fold in enumerate(networks.folds):
        there = networks.inside(part)[:, at]
        known = networks.label[there & (networks.label >= 0)]
        if len(np.unique(known)) > 1 and len(np.unique(networks.prediction[there, at])) < 2:
            told.append(fold)
    return told


def _headline(hardening: Hardenings, wanted: float | None) -> tuple[str | None, float | None]:
    """The attack that is told first, and the dose: the training's optimised noise, else rings, else the rest."""
    judged = [method.reads for method in hardening.methods if method.reads is not None]
    if hardening.before is None or not judged:
        return None, None
    tried = [name for name in hardening.before.noises if any(name in one.noises for one in judged)]
    own = _ATTACK_OF.get(str(hardening.settings.get("noise")))
    order = [own if own in OPTIMISED else RINGS, RINGS, PLAUSIBLE, *OPTIMISED, RANDOM, *tried]
    attack = next((name for name in order if name in tried), None)
    if attack is None:
        return None, None
    doses = hardening.before.doses(attack)
    if wanted is None:
        return attack, doses[0]
    return attack, nearest_dose(doses, wanted)


def _set_costs(rows: Sequence[dict[str, Any]]) -> None:
    """How many times the passes of the main method each took, and whether that is about once."""
    own = rows[0]["training"]["passes"] if rows else None
    for row in rows:
        passes = row["training"]["passes"]
        row["cost"] = passes / own if passes and own else None
        row["equal_cost"] = None if row["cost"] is None else abs(row["cost"] - 1) <= _EQUAL


def _best(found: Mapping[str, Any], hardening: Hardenings, judged: Judged,
          seed: int) -> dict[str, Any] | None:
    """The method with the lowest SAN among those whose AUC fell by no more than the cost allowed, else among all.

    It is set against the main method, or, being that, against the next. None with fewer than two that were judged
    and that read at all.
    """
    attack, mas, part = judged
    ranked = sorted((row for row in found["methods"] if row["san"] and row["san"].after.value is not None
                     and not row["silent"] and not row["failed"]), key=lambda row: row["san"].after.value)
    within = [row for row in ranked if (row["auc"].difference.value or 0.0) >= -found["auc_cost"]]
    if len(ranked) < 2 or attack is None or mas is None:
        return None
    first = (within or ranked)[0]
    others = [row for row in ranked if row is not first]
    other = next((row for row in others if row["name"] == found["main"]), others[0])
    held = {method.name: method.reads for method in hardening.methods}
    one, two = held[other["name"]], held[first["name"]]
    pair = paired(one, two) if one and two else None
    return {"name": first["name"], "within_cost": bool(within), "against": other["name"],
            "fewest": ranked[0]["name"],
            "san": flips_contrast(pair, attack, mas, part, seed)}


def _controls(found: Mapping[str, Any], hardening: Hardenings, judged: Judged, seed: int
              ) -> list[dict[str, Any]]:
    """The main method and the best one against every control: further training without optimised noise.

    `p_holm` is Holm's over these tests. Networks of one variant only are set against each other.
    """
    attack, mas, part = judged
    kinds = {row["name"]: row for row in found["methods"]}
    held = {method.name: method for method in hardening.methods}
    best = found["best"]["name"] if found["best"] else None
    rows = []
    for name in dict.fromkeys(filter(None, (found["main"], best))):
        for control in (row["name"] for row in found["methods"] if row["method"] in CONTROLS):
            one, two = held[control], held[name]
            if control == name or kinds[control]["variant"] != kinds[name]["variant"] or attack is None \
                    or mas is None or one.reads is None or two.reads is None:
                continue
            san = flips_contrast(paired(one.reads, two.reads), attack, mas, part, seed)
            if san is not None:
                rows.append({"name": name, "control": control, "method": kinds[control]["method"], "san": san})
    for row, p in zip(rows, holm([row["san"].p for row in rows]), strict=True):
        row["p_holm"], row["way"] = p, way_of(row["san"], p, lower_is_better=True)
    return rows


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


def _drift(hardening: Hardenings, mas: float | None, part: str, seed: int) -> list[dict[str, Any]]:
    """Drift and jitter by predicted class at the stated dose, before and of every method."""
    held = [(BEFORE, hardening.before), *((method.name, method.reads) for method in hardening.methods)]
    rows = []
    for name, networks in held:
        if networks is not None and mas is not None and (RANDOM, mas) in networks.under:
            one = replace(networks, outcomes=(networks.under[RANDOM, mas],))
            rows += [{"name": name, **row} for row in drift_rows(one, part, seed)]
    return rows


def _findings(methods: Sequence[Hardened]) -> list[dict[str, Any]]:
    """What the checks of the hardened networks found, errors first; the same one of several networks once."""
    held: dict[tuple[str, str, str], dict[str, Any]] = {}
    for method in methods:
        for fold, finding in method.findings:
            one = {"check": "", "severity": "note", "message": "", "rows": ()} | dict(finding)
            told = held.setdefault((one["check"], one["severity"], one["message"]),
                                   one | {"networks": [], "methods": []})
            told["networks"].append(f"{method.name}, fold {fold}")
            told["methods"] = list(dict.fromkeys([*told["methods"], method.name]))
    order = ("error", "warning", "note", "ok")
    return sorted(held.values(), key=lambda one: order.index(one["severity"]) if one["severity"] in order else 0)


def _method_row(hardening: Hardenings, method: Hardened, judged: Judged, seed: int) -> dict[str, Any]:
    """One method against before; figures are None where it is not judged."""
    attack, mas, part = judged
    trained = list(method.trainings.values())
    row: dict[str, Any] = {
        "name": method.name, **hardening.stated(method),
        "rule": next((one.get("rule") for one in trained if one.get("rule")), None),
        "failed": said_by_fold(method.trainings, "failed"), "stopped": said_by_fold(method.trainings, "stopped"),
        "shifts": shifts_of(trained),
        "trained": sorted(method.trainings), "training": costs_of(trained), "folds": [], "silent": [],
        "silent_before": [],
        "rounds": rounds_of(trained), "by_round": [], "begins": None, "missed": None,
        "harder": searched_harder(method.convergence),
        **dict.fromkeys(("auc", "accuracy", "sensitivity", "specificity", "san", "robust", "random", "random_draw",
                         "plausible", "trials"))}
    before, after = hardening.before_of(method), method.reads
    pair = paired(before, after) if before is not None and after is not None else None
    if before is None or pair is None:
        return row | {"halved": "few", "auc_kept": "few", "lost_reads": False}
    row |= {"folds": list(pair.after.folds), "silent": silent_folds(pair.after, part),
            "silent_before": silent_folds(pair.before, part),
            "auc": area_contrast(pair, part, seed), "begins": pair.before.variant} | _recalls(pair, part, seed)
    if attack is not None and mas is not None:
        row |= _attacked(pair, attack, mas, part, seed) | {"missed": _missed(pair.after, attack, mas, part)}
        row["by_round"] = _by_round(before, method, judged, seed)
    return row | {"halved": _halved(row["san"]), "auc_kept": _kept(row["auc"], hardening.auc_cost),
                  "lost_reads": _lost(row["san"], row["robust"])}


def _attacked(pair: Pair, attack: str, mas: float, part: str, seed: int) -> dict[str, Any]:
    """SAN, robust accuracy and one draw of random noise at one dose, before and after."""
    patients = pair.before.patient
    told: dict[str, Any] = {}
    if (flips := flips_of(pair, attack, mas, part)) is not None:
        told = {"san": contrast(flips.before, flips.after, patients, seed),
                "robust": contrast(_right(pair.before) * (1 - flips.before), _right(pair.after) * (1 - flips.after),
                                   patients, seed)}
    sides = [inside(networks, attack, mas, part) for networks in (pair.before, pair.after)]
    if sides[0] is not None and sides[1] is not None:
        told["trials"] = {"before": int(np.nanmax(sides[0].trials)), "after": int(np.nanmax(sides[1].trials)),
                          "compared": flips.trials if flips else None}
    for name, other in (("random", RANDOM), ("plausible", PLAUSIBLE)):
        if other != attack and (row := flips_contrast(pair, other, mas, part, seed)) is not None:
            told[name] = row
    draws = [inside(networks, RANDOM, mas, part) for networks in (pair.before, pair.after)]
    if draws[0] is not None and draws[1] is not None:
        told["random_draw"] = contrast(draws[0].rate, draws[1].rate, patients, seed)
    return told


def _missed(networks: Reads, attack: str, mas: float, part: str) -> dict[str, int] | None:
    """Reads that other noise of the dose flips and the attack does not, though it may make that noise as well: each
    is a proven failure of its search. None where no other noise was tried there."""
    own = inside(networks, attack, mas, part)
    others = [under for name, dose in networks.under if name in (RANDOM, PLAUSIBLE) and name != attack
              and dose == mas and (under := inside(networks, name, mas, part)) is not None]
    if own is None or not others:
        return None
    flipped = np.any([np.nan_to_num(under.flips) > 0 for under in others], axis=0)
    known = own.trials > 0
    return {"reads": int(known.sum()), "missed": int((known & flipped & (own.flips == 0)).sum())}


def _by_round(before: Reads, method: Hardened, judged: Judged, seed: int) -> list[dict[str, Any]]:
    """SAN after each round against that before it."""
    attack, mas, part = judged
    rows = []
    for number, (first, second) in enumerate(pairwise((before, *method.rounds)), 1):
        row = None if attack is None or mas is None else flips_contrast(paired(first, second), attack, mas, part, seed)
        if row is not None:
            rows.append({"round": number, "san": row})
    return rows


def _recalls(pair: Pair, part: str, seed: int) -> dict[str, Any]:
    """Accuracy, and with two classes sensitivity and specificity, of the clean reads."""
    sides = [np.where(networks.inside(part), _right(networks), np.nan) for networks in (pair.before, pair.after)]
    label = pair.before.label[:, None]
    told = {"accuracy": contrast(sides[0], sides[1], pair.before.patient, seed)}
    if pair.before.logits.shape[2] == 2:
        for name, one in (("sensitivity", 1), ("specificity", 0)):
            first, second = (np.where(label == one, side, np.nan) for side in sides)
            told[name] = contrast(first, second, pair.before.patient, seed)
    return told


def _right(networks: Reads) -> Floats:
    """1 where read right, 0 where wrong or undecided, NaN where the label is unknown or the read absent."""
    there = (networks.label >= 0)[:, None] & (networks.part != "")
    return np.where(there, (networks.prediction == networks.label[:, None]).astype(np.float64), np.nan)


def _halved(san: Contrast | None) -> str:
    """Whether SAN is at most half of what it was: "yes" or "no" where the ratio's whole interval says so."""
    if san is None or san.ratio.low is None or san.ratio.high is None:
        return "few"
    return "yes" if san.ratio.high < 0.5 else "no" if san.ratio.low > 0.5 else "unclear"


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
