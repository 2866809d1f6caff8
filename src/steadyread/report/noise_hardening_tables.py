"""What hardening against CT noise did, as rows of words for a noise study's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics import published
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import KNOWN, OPTIMISED, ORIGINAL, PARTS
from steadyread.words.noise import noise_name, starts_said, variant_name
from steadyread.words.noise_hardening import (
    hardened_name,
    lost_said,
    method_said,
    silent_said,
    step_name,
    under,
    undercounted_said,
    unequal_said,
)
from steadyread.words.numbers import NONE, digits, percent, points

Found = Mapping[str, Any]
Rows = list[dict[str, Any]]
_HALVED = {"yes": "yes", "no": "no", "unclear": "unclear", "few": NONE}


def hardening_page_rows(found: Found | None) -> dict[str, Any]:
    """Every table of the section, empty where nothing was hardened."""
    if found is None:
        return {}
    return {"cards": _cards(found), "warnings": _warnings(found), "terms": _terms(found), "steps": _steps(found),
            "methods": _methods(found), "before": _before(found), "rounds": _rounds(found),
            "rule": next((row["rule"] for row in found["methods"] if row["rule"]), None), "drift": _drift(found),
            "noise": under(found) if found["attack"] else "noise", "unjudged": _unjudged(found)}


def _cards(found: Found) -> list[dict[str, str]]:
    """The main method's figures, and the best one's where that is another."""
    rows = {row["name"]: row for row in found["methods"] if row["san"] and row["san"]["after"].value is not None}
    best = found["best"]["name"] if found["best"] else found["main"]
    made = []
    for name in dict.fromkeys(str(name) for name in (found["main"], best) if name in rows):
        row = rows[name]
        made.append({"value": f"{100 * row['san']['before'].value:.0f}→{percent(row['san']['after'].value, 0)}",
                     "name": f"flipped by {under(found)}, {hardened_name(name)}",
                     "note": _change(row["san"]["difference"])})
        if row["robust"] and row["robust"]["after"].value is not None:
            made.append({"value": percent(row["robust"]["after"].value), "name": "right and not flipped by it, "
                         f"{hardened_name(name)}", "note": _change(row["robust"]["difference"])})
        if row["auc"] and row["auc"]["after"].value is not None:
            change = row["auc"]["difference"]
            made.append({"value": f"{row['auc']['after'].value:.3f}", "name": f"AUC, {hardened_name(name)}",
                         "note": f"{signed(change.value, 1, 3)} from before"
                                 f"{'' if change.low is None else f', 95 %: {signed_interval(change, 1, 3)}'}"})
    return made


def _warnings(found: Found) -> list[str]:
    """What takes a method's figures back, in sentences; the first that a reader must see."""
    said = []
    for row in found["methods"]:
        said += [f"“{hardened_name(row['name'])}” failed ({_folds(folds)}): {text}"
                 for text, folds in _together(row["failed"]).items()]
        if row["silent"]:
            said.append(silent_said(row, len(row["folds"])))
        if row["lost_reads"] and not row["silent"]:
            said.append(lost_said(row))
        if undercounted := undercounted_said(row):
            said.append(undercounted)
        if unequal := unequal_said(row):
            said.append(unequal)
        missing = [fold for fold in found["folds"] if fold not in row["folds"]]
        if row["folds"] and missing:
            said.append(f"“{hardened_name(row['name'])}” is judged on {_folds(row['folds'])} alone, before "
                        "and after.")
    return said


def _together(told: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """The folds of each sentence."""
    held: dict[str, list[int]] = {}
    for one in told:
        held.setdefault(str(one["said"]), []).append(one["fold"])
    return held


def _folds(folds: Sequence[int]) -> str:
    return f"fold{'' if len(folds) == 1 else 's'} {', '.join(map(str, folds))}"


def _terms(found: Found) -> list[tuple[str, str]]:
    """Each method and how it teaches."""
    told, own = [], found["settings"].get("variant") or ORIGINAL
    for row in found["methods"]:
        words = [method_said(row)]
        words += [f"Stopped ({_folds(folds)}): {text}" for text, folds in _together(row["stopped"]).items()]
        if row["shifts"]:
            words.append("Taken off the logit of reads as class 0 and as class 1, mean over folds: " + "; ".join(
                f"{float(mas):g} mAs: {_numbers(shift)}" for mas, shift in row["shifts"].items()) + ".")
        if row["variant"] and row["variant"] != own:
            words.append(f"Begins with the network “{variant_name(row['variant'])}”.")
        told.append((hardened_name(row["name"]), " ".join(words)))
    return told


def _steps(found: Found) -> list[dict[str, Any]]:
    """[B] Tables 4 and 5: a table for each attack and part; the paper's own rows beside optimised noise."""
    tables = []
    order = sorted({step["attack"] for step in found["steps"]},
                   key=lambda name: (name != found["attack"], KNOWN.index(name) if name in KNOWN else len(KNOWN)))
    for attack in order:
        for part in (found["part"], *(one for one in PARTS if one != found["part"])):
            steps = [step for step in found["steps"] if (step["attack"], step["part"]) == (attack, part)]
            if len(steps) > 1 or (steps and attack == found["attack"]):
                tables.append({"attack": noise_name(attack), "part": part, "first": attack == found["attack"],
                               "doses": sorted({float(mas) for step in steps for mas in step["cells"]}),
                               "rows": _step_rows(steps, found, attack), "trials": _trials(steps)})
    return tables


def _step_rows(steps: Sequence[Mapping[str, Any]], found: Found, attack: str) -> Rows:
    rows: Rows = []
    for step in steps:
        printed = published.adapted_printed(step["part"], step["round"]) if step["round"] is not None \
            and attack in OPTIMISED and attack == found["attack"] else None
        cells = {float(mas): cell["san"] for mas, cell in step["cells"].items()}
        rows.append({"name": step_name(step["name"], step["round"], found), "folds": step["folds"],
                     "auc": step["auc"], "cells": cells, "paper": printed, "other": step["round"] is None,
                     "paper_cells": dict(zip(published.DOSES, printed.san, strict=True)) if printed else {}})
    return rows


def _trials(steps: Sequence[Mapping[str, Any]]) -> str:
    """K of all steps in words: one where it is one."""
    held = {starts_said(cell).replace("starts", "trials").replace("start", "trial")
            for step in steps for cell in step["cells"].values()}
    return ", ".join(sorted(held))


def _methods(found: Found) -> Rows:
    """The comparison at the stated dose, a method a row."""
    best = found["best"]["name"] if found["best"] else None
    return [row | {"said": hardened_name(row["name"]), "best": row["name"] == best,
                   "halved_said": "silent" if row["silent"] else "reads lost" if row["lost_reads"]
                   else _HALVED[row["halved"]],
                   "passes_said": NONE if row["training"]["passes"] is None
                   else f"{row['training']['passes'] / 1000:,.0f}",
                   "harder_said": NONE if not row["harder"] else f"{row['harder']['flips']} → "
                   f"{row['harder']['flips_more']} of {row['harder']['images']}",
                   "missed_said": NONE if not row["missed"] else f"{row['missed']['missed']}",
                   "cost_said": "" if row["cost"] is None else f"{digits(row['cost'])} ×, "
                   f"{row['training']['epochs'] or 0:.0f} epochs"}
            for row in found["methods"] if row["auc"]]


def _before(found: Found) -> dict[str, Any]:
    """The figures before, of the first method that is judged: the others' are the same where folds and K are."""
    row = next((row for row in found["methods"] if row["san"]), None)
    return {name: told["before"] for name, told in row.items() if isinstance(told, dict) and "difference" in told} \
        if row else {}


def _unjudged(found: Found) -> list[str]:
    return [hardened_name(row["name"]) for row in found["methods"] if not row["auc"]]


def _rounds(found: Found) -> Rows:
    """What each round of each method did, the main one's SAN against the round before beside."""
    rows: Rows = []
    for row in found["methods"]:
        by_round = {one["round"]: one["san"] for one in row["by_round"]}
        for one in row["rounds"]:
            chosen = [NONE if number is None else str(number) for number in one["chosen"]]
            rows.append(one | {"name": hardened_name(row["name"]), "first": one["round"] == 1,
                               "chosen_said": ", ".join(chosen), "san": by_round.get(one["round"])})
    return rows


def _drift(found: Found) -> Rows:
    names = [row["name"] for row in found["drift"]]
    return [row | {"said": hardened_name(row["name"]), "first": at == 0 or names[at - 1] != row["name"]}
            for at, row in enumerate(found["drift"])]


def signed(value: float | None, scale: float = 100.0, decimals: int = 1) -> str:
    """A difference with its sign: `+4.1`, `−0.006`."""
    return points(None if value is None else scale * value / 100, decimals)


def signed_interval(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """The interval of a difference, both ends with their signs; empty without a value, a dash without any."""
    if found is None or found.value is None:
        return ""
    if found.low is None or found.high is None:
        return NONE
    return f"{signed(found.low, scale, decimals)} to {signed(found.high, scale, decimals)}"


def _change(found: Estimate) -> str:
    interval = "" if found.low is None else f", 95 %: {signed_interval(found)}"
    return f"{signed(found.value)} points{interval}"


def _numbers(values: Any) -> str:
    held = values if isinstance(values, list) else [values]
    return " and ".join(digits(float(value)) if isinstance(value, int | float) else NONE for value in held)
