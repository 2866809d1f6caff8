"""What a network sees, in sentences that are right whichever way the values fell."""

from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.seeing import random_attack
from steadyread.metrics.seeing_reads import method_name
from steadyread.metrics.verdicts import verdict
from steadyread.words.noise import short_name
from steadyread.words.numbers import counted, digits, p_shown, percent, points

Summary = Mapping[str, Any]
Row = Mapping[str, Any]
_AREA = {"up": "a larger area", "down": "a smaller area", "none": "no detectably larger area"}
_INSIDE = {"up": "less of it beyond the nodule", "down": "more of it beyond the nodule",
           "none": "not detectably more of it beyond the nodule"}
_STABLE = 0.9      # rank correlation of two halves, from which on a ranking is called the same


def area_said(summary: Summary, method: str) -> tuple[str, str]:
    """Whether attention covers another area of the flipped reads' images, and lies beyond the nodule: in words, then
    the numbers."""
    rows = {row["measure"]: row for row in summary["paired"] if row["read_as"] is None
            and (row["method"], row["attack"], row["group"]) == (method, summary["attack"], "flipped")}
    area, inside = rows.get("area"), rows.get("inside")
    if area is None:
        return f"{method_name(method)}: no read flipped whose maps could be compared.", ""
    second = f"the share inside the nodule goes from {_change(inside)}" if inside else "no mask is known"
    numbers = (f"On {area['reads']} flipped reads of {area['patients']} patients the part of the image that holds "
               f"half of the attention goes from {_change(area)}; {second}.")
    ways = way(area), way(inside) if inside else ""
    words = "too few patients to tell" if "few" in ways else (
        _AREA[ways[0]] + (f"; {_INSIDE[ways[1]]}" if ways[1] else ""))
    return f"{method_name(method)}: {words}.", numbers + _beside_steady(against(summary, method, summary["attack"]))


def way(row: Row) -> str:
    """Which way a paired change went: up, down, none, or few where too few patients allow an interval.

    A way is told where the interval leaves out 0 and Holm's p is below 0.05.
    """
    name = verdict(row["difference"], 1.0 if row["p_holm"] is None else row["p_holm"])
    return {"better": "up", "worse": "down", "alike": "none"}.get(name, name)


def moved_said(summary: Summary, method: str) -> str:
    """How far the maps move under the study's noise and under random noise, and on flipped reads against steady."""
    moved = {row["attack"]: row for row in summary["shift"] if (row["method"], row["group"]) == (method, "all")
             and row["overlap"].value is not None}
    main, plain = moved.get(summary["attack"]), moved.get(random_attack(summary))
    if main is None:
        return f"{method_name(method)}: no maps could be compared."
    beside = "" if plain is None else (f"; under random noise of the same dose {percent(plain['overlap'].value, 0)} "
                                       f"and {digits(plain['distance_mm'].value)} mm")
    return (f"{method_name(method)}: the strongest tenths of the clean and the noisy map share "
            f"{percent(main['overlap'].value, 0)} (median; {main['reads'] - main['none']} reads), their centres lie "
            f"{digits(main['distance_mm'].value)} mm apart{beside}. {_flipped_said(summary, method)}")


def ranking_said(summary: Summary) -> str:
    """How far apart the features' changes are, and whether their ranking is one of the images."""
    rows = [row for row in summary["features"] if row["ranked"] and row["ratio"].value is not None]
    if not rows:
        return "No feature's change could be measured."
    random = [ratio for row in rows if (ratio := over_middle(row["random"])) is not None]
    anew = f", with weights drawn anew {_range(random)} times" if random else ""
    halves = [row["agreement"].value for row in rows if row["agreement"].value is not None]
    stable = "is nearly the same in" if min(halves, default=0) >= _STABLE else "differs between"
    ranking = f" The ranking {stable} two halves of the patients (rank correlation {_range(halves)})." if halves else ""
    return (f"The most changed feature changes {_range([row['ratio'].value for row in rows])} times as much as the "
            f"middle one ({counted(len(rows), 'network')}, {rows[0]['images']} images of {rows[0]['patients']} "
            f"patients){anew}.{ranking}")


def against(summary: Summary, method: str, attack: str) -> dict[str, Estimate]:
    """Flipped minus steady by measure."""
    return {row["measure"]: row["difference"] for row in summary["against"]
            if (row["method"], row["attack"]) == (method, attack)}


def class_said(number: int | None, classes: Sequence[str]) -> str:
    """A class's name; its number where it has none."""
    return classes[number] if number is not None and 0 <= number < len(classes) else f"class {number}"


def over_middle(ranked: Sequence[float]) -> float | None:
    """The largest over the middle one of values from the largest down."""
    if not ranked:
        return None
    middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    return ranked[0] / middle if middle > 0 else None


def _beside_steady(differences: Mapping[str, Estimate]) -> str:
    """How much more both change than on steady reads; empty where too few patients tell."""
    each = [f"{name} {points(difference.value)} ({_interval(difference)[2:]})"
            for measure, name in (("area_change", "area"), ("inside_change", "share"))
            if (difference := differences.get(measure)) is not None and _interval(difference)]
    return "" if not each else (" Beyond what the same noise does to reads of the same class and fold that do not flip "
                                f"(medians): {', '.join(each)}.")


def _change(row: Row) -> str:
    """`23.6 % to 16.6 %`, the difference with its interval, the folds' where they disagree, and Holm's p."""
    difference: Estimate = row["difference"]
    folds = [value for value in difference.folds if value is not None]
    apart = f"; folds {', '.join(map(points, folds))}" if min(folds) < 0 < max(folds) else ""
    return (f"{percent(row['clean'].value)} to {percent(row['noisy'].value)} ({points(difference.value)} points"
            f"{_interval(difference)}{apart}; {_p(row['p_holm'])})")


def _flipped_said(summary: Summary, method: str) -> str:
    """Whether flipped reads' maps move more than steady ones'."""
    row = next((row for row in summary["against"] if (row["method"], row["attack"], row["measure"]) == (
        method, summary["attack"], "overlap") and row["difference"].value is not None), None)
    if row is None:
        return "Flipped and steady reads cannot be compared."
    if not _interval(row["difference"]):
        return "Too few patients to set flipped reads against steady ones."
    how = {"up": "less", "down": "more"}.get(way(row), "neither more nor less, as far as these data show,")
    return (f"Under {short_name(summary['attack'])} noise they move {how} on reads that flip than on reads of the "
            f"same class and fold that do not (overlap {points(row['difference'].value)} points"
            f"{_interval(row['difference'])}; {_p(row['p_holm'])}).")


def _interval(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return ""
    return f"; 95 %: {points(difference.low)} to {points(difference.high)}"


def _range(values: Sequence[float]) -> str:
    low, high = digits(min(values)), digits(max(values))
    return low if low == high else f"{low} to {high}"


def _p(p: float | None) -> str:
    shown = p_shown(p)
    return f"p\u00a0{'' if shown.startswith('<') else '= '}{shown} after Holm".replace("= ", "=\u00a0")
