"""What hardening against CT noise did: [B]'s adaptive training and every method beside it, judged alike.

[B] Algorithm 2 and Tables 4 and 5 (doi:10.1088/1361-6560/abc812): SAN under optimised noise before, and after one
and two rounds. Here every method's networks and those before meet the same attacks with the same draws, so
differences are paired (`contrasts`). A network that lost its reads is steady too: robust accuracy
(read right and not flipped) stands beside SAN, and AUC beside both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from steadyread.metrics.contrasts import flips_contrast
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.drift import drift_rows
from steadyread.metrics.noise import attack_row
from steadyread.metrics.noise_classes import areas
from steadyread.metrics.noise_hardening_methods import (
    HardenedMethod,
    Judged,
    NoiseHardening,
    auc_cost,
    method_row,
)
from steadyread.metrics.paired_tests import holm
from steadyread.metrics.pairs import paired
from steadyread.metrics.reads import OPTIMISED, PARTS, PLAUSIBLE, RANDOM, RINGS, Reads
from steadyread.metrics.verdicts import way_of

BEFORE = "before"
CONTROLS = ("clean", "augment")     # further training without optimised noise
_EQUAL = 0.05           # of the passes, up to which two trainings cost the same
_ATTACK_OF = {"rings": RINGS, "plausible": PLAUSIBLE, "random": RANDOM}


def summarise_noise_hardening(hardening: NoiseHardening, wanted_mas: float | None = None,
                              seed: int = 0) -> dict[str, Any]:
    """Tables 4 and 5, every method against before at the stated dose, and costs.

    `Estimate`s inside. The stated dose is the one tried that is nearest to `wanted_mas`.

    Raises:
        InputRefused: a method's cases have other labels, or another split, than those before.
    """
    attack, mas = _headline(hardening, wanted_mas)
    part = hardening.before.judged if hardening.before else "test"
    rows = [method_row(hardening, method, (attack, mas, part), seed) for method in hardening.methods]
    for row, p in zip(rows, holm([row["san"].p if row["san"] else None for row in rows]), strict=True):
        row["p_holm"] = p
        row["way"] = way_of(row["san"], p, lower_is_better=True)
    _set_costs(rows)
    found: dict[str, Any] = {
        "main": hardening.methods[0].name if hardening.methods else None, "settings": dict(hardening.settings),
        "attack": attack, "stated_mas": mas, "part": part, "auc_cost": auc_cost(hardening), "methods": rows,
        "judged": hardening.before is not None, "folds": list(hardening.before.folds) if hardening.before else [],
        "steps": _step_rows(hardening, seed), "findings": _findings(hardening.methods),
        "drift": _drift(hardening, mas, part, seed)}
    found["best"] = _best(found, hardening, (attack, mas, part), seed)
    found["controls"] = _controls(found, hardening, (attack, mas, part), seed)
    return found


def step_networks(hardening: NoiseHardening) -> Iterator[tuple[str, int | None, Reads]]:
    """Before (round 0), the main method after each round, and the last networks of every other method (None)."""
    if hardening.before is not None:
        yield BEFORE, 0, hardening.before
    for place, method in enumerate(hardening.methods):
        if place == 0 and method.rounds:
            yield from ((method.name, number, networks) for number, networks in enumerate(method.rounds, 1))
        elif method.networks is not None:
            yield method.name, None, method.networks


def _headline(hardening: NoiseHardening, wanted: float | None) -> tuple[str | None, float | None]:
    """The attack that is told first, and the dose: the training's optimised noise, else rings, else the rest."""
    judged = [method.networks for method in hardening.methods if method.networks is not None]
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


def _best(found: Mapping[str, Any], hardening: NoiseHardening, judged: Judged,
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
    held = {method.name: method.networks for method in hardening.methods}
    one, two = held[other["name"]], held[first["name"]]
    pair = paired(one, two) if one and two else None
    return {"name": first["name"], "within_cost": bool(within), "against": other["name"],
            "fewest": ranked[0]["name"],
            "san": flips_contrast(pair, attack, mas, part, seed)}


def _controls(found: Mapping[str, Any], hardening: NoiseHardening, judged: Judged, seed: int
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
                    or mas is None or one.networks is None or two.networks is None:
                continue
            san = flips_contrast(paired(one.networks, two.networks), attack, mas, part, seed)
            if san is not None:
                rows.append({"name": name, "control": control, "method": kinds[control]["method"], "san": san})
    for row, p in zip(rows, holm([row["san"].p for row in rows]), strict=True):
        row["p_holm"], row["way"] = p, way_of(row["san"], p, lower_is_better=True)
    return rows


def _step_rows(hardening: NoiseHardening, seed: int) -> list[dict[str, Any]]:
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


def _drift(hardening: NoiseHardening, mas: float | None, part: str, seed: int) -> list[dict[str, Any]]:
    """Drift and jitter by predicted class at the stated dose, before and of every method."""
    held = [(BEFORE, hardening.before), *((method.name, method.networks) for method in hardening.methods)]
    rows = []
    for name, networks in held:
        if networks is not None and mas is not None and (RANDOM, mas) in networks.under:
            one = replace(networks, outcomes=(networks.under[RANDOM, mas],))
            rows += [{"name": name, **row} for row in drift_rows(one, part, seed)]
    return rows


def _findings(methods: Sequence[HardenedMethod]) -> list[dict[str, Any]]:
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
