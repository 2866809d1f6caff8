"""The summary of several data sets as rows for its page: [A] Tables 1 and 2 with the paper's figures, and ours."""

from collections.abc import Mapping
from typing import Any

from steadyread.metrics import published_oncology as paper
from steadyread.metrics.across_sets import attack_at, findings_of, same_size, triage_row
from steadyread.metrics.fragility import way_of
from steadyread.metrics.reads import rank
from steadyread.metrics.triage import MARGIN, RANDOM, SMALLEST_FLIP
from steadyread.report.hardened import other_rows
from steadyread.report.sets_cells import rank_said, size_said, unit_said
from steadyread.units import number_of
from steadyread.words.hardening import headline, method_name
from steadyread.words.numbers import NONE, attack_name, digits, score_name
from steadyread.words.plain import EXACT, MERGED
from steadyread.words.sets import FAILED, KEPT, UNREAD, outcome

Summary = Mapping[str, Any]
Row = dict[str, Any]
_OUTCOMES = {"better": "steadier", "worse": "less steady", "alike": "no difference told", "same": "unchanged",
             "few": "too few patients", FAILED: "failed", KEPT: "start kept", UNREAD: "not assessed"}
_RATIOS = {"more": "the medical set", "less": "the everyday set", "alike": "cannot be told",
           "few": "too few patients"}


def cards(found: Summary) -> list[dict[str, str]]:
    """The key figures over all sets: how many, how fragile, what hardening and the smallest flip gained."""
    sets = found["sets"]
    whole = len(found["titles"])
    made = [{"value": f"{len(sets)}" if len(sets) == whole else f"{len(sets)} of {whole}",
             "name": "data set assessed" if len(sets) == whole == 1 else "data sets assessed", "note": ""}]
    rows = [row for row in fragility_rows(found) if row["of_range"].value is not None]
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        made.append({"value": digits(first["of_range"].value),
                     "name": f"of the range flips half of the reads in {first['title']} at equal conditions",
                     "note": f"the most fragile; in {last['title']} {digits(last['of_range'].value)}"})
    ways = [told for one in sets.values() if (told := outcome(one)) is not None]
    if ways:
        made.append({"value": f"{ways.count('better')} of {len(ways)}",
                     "name": "networks made steadier by hardening", "note": _told_count(ways)})
    flips = [row for row in found["scores"] if row["score"] == SMALLEST_FLIP and not row["perfect"]]
    if flips:
        beaten = sum(row["way"] == "better" for row in flips)
        lost = sum(row["way"] == "worse" for row in flips)
        made.append({"value": f"{beaten} of {len(flips)}",
                     "name": "sets in which the smallest flip sorts reads better than the free margin",
                     "note": f"worse in {lost}"})
    return made


def set_rows(found: Summary) -> list[Row]:
    """The sets as they were run, a row each; those without records have a reason instead."""
    rows = []
    for name, title in found["titles"].items():
        one = found["sets"].get(name)
        if one is None:
            rows.append({"title": title, "why": found["absent"][name], "one": None})
            continue
        noise = one["images_noise"] or {}
        rows.append({"title": title, "why": None, "one": one, "size": size_said(noise.get("size")),
                     "range": f"{one['range']:g} {unit_said(one)}".strip(), "classes": len(one["classes"]),
                     "paper": found["paper"]["columns"].get(name)})
    return rows


def table_1(found: Summary, against: str) -> list[Row]:
    """[A] Table 1 against one reference: an attack and size a row; a cell a set with ours and the paper's figure.

    Last the accuracies from the smallest flips. The paper's stand against the prediction only, as it attacked.
    """
    sets: Mapping[str, Summary] = found["sets"]
    printed = {name: paper.column_of(name) if against == "prediction" else None for name in sets}
    rows: list[Row] = [{"attack": "Clean", "size": None, "cells": [
        {"ours": one["discrimination"]["accuracy"], "rises": False, "has_paper": printed[name] is not None,
         "paper": column.baseline if (column := printed[name]) else None} for name, one in sets.items()]}]
    for attack in _attacks(found, against):
        for size in paper.SIZES:
            cells = [_cell(attack_at(one, against, attack, size), printed[name], (attack, size))
                     for name, one in sets.items()]
            if any(cell["ours"] is not None or cell["paper"] is not None for cell in cells):
                rows.append({"attack": attack_name(attack), "size": size, "cells": cells})
    for exact in (True, False):
        for size in paper.SIZES:
            cells = [_cell(_at(one, against, size, exact), printed[name], ("", size))
                     for name, one in sets.items()]
            if any(cell["ours"] is not None for cell in cells):
                rows.append({"attack": EXACT if exact else MERGED, "size": size, "cells": cells})
    return _marked(rows, "attack")


def floor_rows(found: Summary) -> list[Row]:
    """Where each column against the prediction stops: the paper's, computed from its figures, and ours."""
    rows = []
    for name, one in found["sets"].items():
        stops, column = one["stops"], paper.column_of(name)
        rows.append({"title": one["title"], "clean": stops["clean"], "floor": stops["floor"],
                     "lowest": stops["lowest"], "attack": attack_name(stops["attack"]) if stops["attack"] else NONE,
                     "size": stops["size"], "classes": len(one["classes"]), "paper": column,
                     "above": column.above if column else None})
    return rows


def all_sizes(found: Summary) -> list[Row]:
    """Every attack and size of a set against both references, a table each; for sets that tried any."""
    made = []
    for one in found["sets"].values():
        sides = {against: {(row["attack"], number_of(row["size"])): row
                           for row in one["robustness"][against]["attacks"]} for against in ("label", "prediction")}
        keys = sorted({*sides["label"], *sides["prediction"]}, key=lambda key: (_order(key[0]), key[1]))
        rows = [{"attack": attack_name(key[0]),
                 "size": (sides["label"].get(key) or sides["prediction"][key])["size"],
                 **{against: sides[against].get(key) for against in sides}} for key in keys]
        if rows:
            made.append({"title": one["title"], "unit": unit_said(one), "rows": _marked(rows, "attack")})
    return made


def table_2(found: Summary) -> list[Row]:
    """[A] Table 2 a set: accuracy of all, of those kept by smallest flip and by margin, and the paper's figures."""
    rows = []
    for name, one in found["sets"].items():
        flips, margin = triage_row(one, SMALLEST_FLIP), triage_row(one, MARGIN)
        rows.append({"title": one["title"], "everyone": one["triage"]["accuracy"], "flips": flips, "margin": margin,
                     "chosen_on": one["triage"]["chosen_on"], "images": one["triage"]["images"],
                     "threshold": _of_range(flips, one), "paper": paper.TABLE_2.get(paper.key_of(name))})
    return rows


def fragility_rows(found: Summary) -> list[Row]:
    """The sets at equal conditions, the most fragile first by share of the range."""
    told = found["fragility"]
    if told is None:
        return []
    facts = {row["name"]: row for row in told["conditions"]}
    rows = sorted(told["rows"], key=lambda row: (row["of_range"].value is None, row["of_range"].value or 0.0))
    return [row | {"title": found["titles"][row["name"]], "facts": facts[row["name"]],
                   "size": size_said(facts[row["name"]]["size"]), "unit": unit_said(row),
                   "kind": {True: "medical", False: "everyday", None: NONE}[row["medical"]],
                   "rank": rank_said(row["ranks"]["of_range"]), "noise_rank": rank_said(row["ranks"]["in_noise"])}
            for row in rows]


def pair_rows(found: Summary) -> list[Row]:
    """Every medical set beside every everyday one on both yardsticks: the ratio of their medians, and who it says
    is the more fragile."""
    told = found["fragility"]
    if told is None:
        return []
    rows: dict[tuple[str, str], Row] = {}
    for pair in told["pairs"]:
        row = rows.setdefault((pair["one"], pair["other"]), {
            "one": found["titles"][pair["one"]], "other": found["titles"][pair["other"]], "of_range": None,
            "in_noise": None})
        row[pair["yardstick"]] = {"ratio": pair["ratio"], "said": _RATIOS[way_of(pair["ratio"])]}
    return list(rows.values())


def hardening_rows(found: Summary) -> list[Row]:
    """A hardened set a row: size of training, clean accuracy and accuracy under attack before and after, flips."""
    rows = []
    for one in found["sets"].values():
        told = one["hardening"]
        if told is None:
            continue
        compared = told["compared"]
        row = headline(compared, number_of(told["at"])) if compared and told["at"] else None
        ended, method = str(outcome(one)), told["training"].get("method")
        rows.append({"title": one["title"], "method_said": "" if method == "pgd" else method_name(method),
                     "epsilon": told["epsilon"], "unit": unit_said(one), "at": told["at"], "failed": told["failed"],
                     "clean": compared["clean"] if compared else None, "robust": row["merged"] if row else None,
                     "flips": compared["flips"] if compared else None,
                     "trained_here": not (told["epsilon"] and told["at"]) or same_size(
                         number_of(told["epsilon"]), number_of(told["at"])),
                     "outcome": _OUTCOMES[ended],
                     "outcome_class": {"better": "better", "worse": "worse", FAILED: "worse"}.get(ended, "")})
    return rows


def paper_gain_rows(found: Summary) -> list[Row]:
    """PGD at 0.002 of the range before and after hardening, pushed from the prediction as [A]; its own beside.

    Where PGD was not tried there on both networks, `attack` says that the smallest flips tell it.
    """
    rows = []
    for name, one in found["sets"].items():
        at = next((row for row in (one["hardened_at"] or {}).get("prediction", ())
                   if same_size(float(row["size"]["of_range"]), paper.HARDENED_AT)), None)
        pgd = next((row for row in at["attacks"] if row["attack"] == "pgd"), None) if at else None
        ours, gain = pgd or (at["merged"] if at else None), paper.GAINS.get(paper.key_of(name))
        if ours is not None:
            rows.append({"title": one["title"], "ours": ours, "attack": "PGD" if pgd else "smallest flip",
                         "paper": gain, "true_gain": round(gain.after - gain.before, 1) if gain else None})
    return rows


def sizes_hardened(found: Summary) -> list[Row]:
    """Accuracy against the label at each size of [A] Table 1 before and after hardening, from the merged flips."""
    rows = []
    for one in found["sets"].values():
        held = [row for row in (one["hardened_at"] or {}).get("label", ()) if row["merged"] is not None]
        rows += [{"title": one["title"], "size": row["size"], "unit": unit_said(one), "row": row["merged"],
                  "exact": row["exact"]} for row in held]
    return _marked(rows, "title")


def others_by_set(found: Summary) -> list[Row]:
    """The hardenings that were compared, a table a set that has any."""
    return [{"title": one["title"], "unit": unit_said(one), "at": one["hardening"]["at"], "rows": rows}
            for one in found["sets"].values() if one["hardening"] and (rows := other_rows(one["hardening"]))]


def score_rows(found: Summary) -> list[Row]:
    """The area under risk-coverage of each score in each set, and that score minus the margin."""
    differences = {(row["set"], row["score"]): row for row in found["scores"]}
    rows = [{"title": one["title"], "score": score_name(row["score"]), "area": row["area"],
             "difference": differences.get((name, row["score"]))}
            for name, one in found["sets"].items() for row in one["triage"]["rows"] if row["score"] != RANDOM]
    return _marked(rows, "title")


def finding_rows(found: Summary) -> list[Row]:
    """The errors and warnings of every set, and how many checks passed."""
    made = []
    for name, one in found["sets"].items():
        rows = findings_of(one)
        open_ = [row for row in rows if row["severity"] not in ("note", "ok")]
        notes = [row for row in rows if row["severity"] == "note"]
        passed = sum(row["severity"] == "ok" for row in rows)
        made.append({"name": name, "title": one["title"], "open": open_,
                     "errors": [row for row in open_ if row["severity"] == "error"], "notes": notes,
                     "passed": passed, "failed": one["failed"], "verdict": one["verdict"],
                     "hardened": (one["hardening"] or {}).get("verdict")})
    return made


def _told_count(ways: list[str]) -> str:
    return "; ".join(f"{_OUTCOMES[way_]}: {ways.count(way_)}" for way_ in dict.fromkeys(ways) if way_ != "better")


def _attacks(found: Summary, against: str) -> list[str]:
    """The attacks of Table 1 in its order, then any others that were tried at its sizes."""
    tried = {row["attack"] for one in found["sets"].values() for row in one["robustness"][against]["attacks"]}
    return [*paper.ATTACKS, *sorted(tried - set(paper.ATTACKS), key=rank)]


def _order(attack: str) -> tuple[int, str]:
    return (paper.ATTACKS.index(attack) if attack in paper.ATTACKS else len(paper.ATTACKS), attack)


def _at(one: Summary, against: str, size: float, exact: bool) -> Mapping[str, Any] | None:
    return next((row for row in one["at"][against]
                 if row["exact"] is exact and same_size(float(row["size"]["of_range"]), size)), None)


def _cell(row: Mapping[str, Any] | None, column: paper.Column | None, at: tuple[str, float]) -> Row:
    return {"ours": row["accuracy"] if row is not None else None, "rises": bool(row and row.get("rises")),
            "has_paper": column is not None, "paper": column.at(*at) if column is not None and at[0] else None}


def _of_range(row: Mapping[str, Any] | None, one: Summary) -> str:
    """The smallest flip's threshold as a share of the range."""
    threshold = row["threshold"] if row is not None else None
    if threshold is None:
        return NONE
    if threshold == float("-inf"):
        return "none"
    return digits(float(threshold) / float(one["range"]))


def _marked(rows: list[Row], key: str) -> list[Row]:
    """The rows with `first` where the value of a column differs from that of the row above."""
    last = None
    for row in rows:
        row["first"], last = row[key] != last, row[key]
    return rows


