"""What a network sees, in sentences that are right whichever way the values fell."""

from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.seeing import random_attack
from steadyread.metrics.seeing_reads import method_name
from steadyread.metrics.verdicts import verdict
from steadyread.words.noise import short_name
from steadyread.words.numbers import digits, p_shown, percent, points

Found = Mapping[str, Any]
_AS_THERE = ("up", "down")       # area and share inside the nodule, as [B] saw them
_SHORT = {("up", "down"): "as [B] says", ("down", "up"): "the other way round",
          ("up", "none"): "a larger area only", ("none", "down"): "beyond the nodule only",
          ("down", "none"): "a smaller area", ("none", "up"): "less beyond the nodule",
          ("up", "up"): "a larger area, but less beyond the nodule",
          ("down", "down"): "a smaller area, but more beyond the nodule",
          ("none", "none"): "no change that could be told"}
_AREA = {"up": "a larger area", "down": "a smaller area", "none": "no larger area that could be told"}
_INSIDE = {"up": "less of it beyond the nodule", "down": "more of it beyond the nodule",
           "none": "no more of it beyond the nodule that could be told"}
_HELD = ("[B]'s claim is not confirmed", "half of [B]'s claim is confirmed", "[B]'s claim is confirmed")
_STABLE = 0.9      # rank correlation of two halves, from which on a ranking is called the same


def claim_said(found: Found, method: str, classes: Sequence[str] = ()) -> tuple[str, str]:
    """[B] Fig. 10's claim, a larger area beyond the nodule, on the flipped reads: the verdict, then the figures."""
    name = method_name(method)
    held = [row for row in found["paired"]
            if (row["method"], row["attack"], row["group"]) == (method, found["attack"], "flipped")]
    told = {row["measure"]: row for row in held if row["read_as"] is None}
    if "area" not in told:
        return f"{name}: no read flipped whose maps could be compared.", ""
    row, inside = told["area"], told.get("inside")
    by_class = {number: {one["measure"]: one for one in held if one["read_as"] == number}
                for number in sorted({one["read_as"] for one in held if one["read_as"] is not None})}
    second = f"the share inside the nodule goes from {_change(inside)}" if inside else "no mask is known"
    figures = (f"On {row['reads']} flipped reads of {row['patients']} patients the part of the image that holds "
               f"half of the attention goes from {_change(row)}; {second}.")
    return (f"{name}: {_verdict(told, by_class, classes)}.",
            figures + (_by_class(by_class, classes) if len(by_class) > 1 and inside else "")
            + _beside_steady(against(found, method, found["attack"])))


def way(row: Found) -> str:
    """Which way a paired change went: up, down, none, or few where too few patients allow an interval.

    A way is told where the interval leaves out 0 and Holm's p is below 0.05.
    """
    way = verdict(row["difference"], 1.0 if row["p_holm"] is None else row["p_holm"])
    return {"better": "up", "worse": "down", "alike": "none"}.get(way, way)


def moved_said(found: Found, method: str) -> str:
    """How far the maps move under the study's noise and under random noise, and on flipped reads against steady."""
    main = _shift(found, method, found["attack"], "all")
    if main is None or main["overlap"].value is None:
        return f"{method_name(method)}: no maps could be compared."
    said = (f"{method_name(method)}: the strongest tenths of the clean and the noisy map share "
            f"{percent(main['overlap'].value, 0)} (median; {main['reads'] - main['none']} reads), their centres "
            f"lie {digits(main['distance_mm'].value)} mm apart")
    other = random_attack(found)
    plain = _shift(found, method, other, "all") if other else None
    if plain is not None and plain["overlap"].value is not None:
        said += (f"; under random noise of the same dose {percent(plain['overlap'].value, 0)} and "
                 f"{digits(plain['distance_mm'].value)} mm")
    return f"{said}. {_flipped_said(found, method)}"


def ranking_said(found: Found) -> str:
    """How far apart the features' changes are, and whether their ranking is one of the images."""
    rows = [row for row in found["features"] if row["ranked"] and row["ratio"].value is not None]
    if not rows:
        return "No feature's change could be measured."
    ratios = [row["ratio"].value for row in rows]
    said = (f"The most changed feature changes {_range(ratios)} times as much as the middle one "
            f"({_networks(len(rows))}, {rows[0]['images']} images of {rows[0]['patients']} patients)")
    drawn = [ratio for row in rows if (ratio := over_middle(row["random"])) is not None]
    if drawn:
        said += f", with weights drawn anew {_range(drawn)} times"
    agreed = [row["agreement"].value for row in rows if row["agreement"].value is not None]
    if not agreed:
        return f"{said}."
    how = "is nearly the same in" if min(agreed) >= _STABLE else "differs between"
    return f"{said}. The ranking {how} two halves of the patients (rank correlation {_range(agreed)})."


def causes_said(found: Found) -> str:
    """Whether the images that flip are those whose most changed feature changes most; empty where unknown."""
    told = found["feature_flips"]
    if told is None or told["difference"].value is None:
        return ""
    difference = told["difference"]
    if difference.low is None:
        return "Whether images that flip are those whose most changed feature changes most: too few to tell."
    numbers = (f"{points(difference.value)} % of its median change; 95 %: {points(difference.low)} to "
               f"{points(difference.high)}")
    if difference.low <= 0 <= difference.high:
        return ("[B] supposes that such features make reads flip. That cannot be seen here: in how much random "
                "noise changes the most changed feature, no difference can be told between the images that flip "
                f"under the study's own noise and those that do not ({numbers}).")
    more = "more" if difference.value > 0 else "less"
    agrees = "which fits" if difference.value > 0 else "which does not fit"
    return ("In images that flip under the study's own noise, random noise changes the most changed feature "
            f"{more} than in those that do not ({numbers}), {agrees} [B]'s supposition that such features make "
            "reads flip; it does not prove a cause.")


def _verdict(told: Mapping[str, Found], by_class: Mapping[int, Mapping[str, Found]],
             classes: Sequence[str]) -> str:
    """[B]'s sentence, a larger area and beyond the nodule, held against both figures; by class where these part."""
    area, inside = way(told["area"]), way(told["inside"]) if "inside" in told else "unknown"
    ways = {class_said(number, classes): _ways(one) for number, one in by_class.items()}
    held = [name for name, one in ways.items() if one == _AS_THERE]
    if held and (area, inside) != _AS_THERE:
        against = [name for name, (one, other) in ways.items() if one == "down" or other == "up"]
        return f"[B]'s claim is confirmed for reads as {' and '.join(held)}, and " + (
            f"not for reads as {' and '.join(against)}" if against else "cannot be told for the others")
    if "few" in (area, inside):
        return "too few patients to tell whether [B]'s claim holds"
    said = _AREA[area]
    if inside != "unknown":
        said += f", {'but' if (area == 'up') != (inside == 'down') else 'and'} {_INSIDE[inside]}"
    count = (area == "up") + (inside == "down")
    if area == "down" or inside == "up":
        return f"[B]'s claim does not hold: {said}"
    return f"{_HELD[count]}: {said}"


def _by_class(by_class: Mapping[int, Mapping[str, Found]], classes: Sequence[str]) -> str:
    """Both changes of the flipped reads of each class, in short."""
    each = [f"read as {class_said(number, classes)} ({told['area']['reads']} reads) "
            f"{points(told['area']['difference'].value)} and {points(told['inside']['difference'].value)}, "
            f"{_SHORT.get(_ways(told), 'too few patients to tell')}"
            for number, told in by_class.items() if {"area", "inside"} <= told.keys()]
    return f" In points of area and share, by class: {'; '.join(each)}."


def against(found: Found, method: str, attack: str) -> dict[str, Estimate]:
    """Flipped minus steady by measure."""
    return {row["measure"]: row["difference"] for row in found["against"]
            if (row["method"], row["attack"]) == (method, attack)}


def _beside_steady(against: Mapping[str, Estimate]) -> str:
    """How much more both change than on steady reads; empty where too few patients tell."""
    told = [(said, held) for name, said in (("area_change", "area"), ("inside_change", "share"))
            if (held := against.get(name)) is not None and held.low is not None and held.high is not None]
    if not told:
        return ""
    each = [f"{said} {points(held.value)} (95 %: {points(held.low)} to {points(held.high)})" for said, held in told]
    return (" Beyond what the same noise does to reads of the same class and fold that do not flip (medians): "
            f"{', '.join(each)}.")


def _ways(told: Mapping[str, Found]) -> tuple[str, str]:
    """The ways of area and share inside, `few` where one is not known."""
    area, inside = (way(told[name]) if name in told else "few" for name in ("area", "inside"))
    return area, inside


def class_said(number: int | None, classes: Sequence[str]) -> str:
    return classes[number] if number is not None and 0 <= number < len(classes) else f"class {number}"


def _change(row: Found) -> str:
    """`23.6 % to 16.6 %`, the difference with its interval, the folds' where they disagree, and Holm's p."""
    difference: Estimate = row["difference"]
    sides = [percent(row[side].value) for side in ("clean", "noisy")]
    interval = f"; 95 %: {points(difference.low)} to {points(difference.high)}" if difference.low is not None and \
        difference.high is not None else ""
    known = [one for one in difference.folds if one is not None]
    apart = f"; folds {', '.join(points(one) for one in known)}" if min(known) < 0 < max(known) else ""
    return (f"{' to '.join(sides)} ({points(difference.value)} points{interval}{apart}; "
            f"p\u00a0{_p(row['p_holm'])} after Holm)")


def _flipped_said(found: Found, method: str) -> str:
    """Whether flipped reads' maps move more than steady ones'."""
    difference = against(found, method, found["attack"]).get("overlap")
    if difference is None or difference.value is None:
        return "Flipped and steady reads cannot be compared."
    if difference.low is None or difference.high is None:
        return "Too few patients to set flipped reads against steady ones."
    p = next(row["p_holm"] for row in found["against"] if (row["method"], row["attack"], row["measure"]) == (
        method, found["attack"], "overlap"))
    how = {"better": "less", "worse": "more"}.get(verdict(difference, 1.0 if p is None else p),
                                                  "neither more nor less, as far as these data show,")
    return (f"Under {short_name(found['attack'])} noise they move {how} on reads that flip than on reads of the "
            f"same class and fold that do not (overlap {points(difference.value)} points; 95 %: "
            f"{points(difference.low)} to {points(difference.high)}; p\u00a0{_p(p)} after Holm).")


def _shift(found: Found, method: str, attack: str, group: str) -> Found | None:
    return next((row for row in found["shift"]
                 if (row["method"], row["attack"], row["group"]) == (method, attack, group)), None)


def over_middle(ranked: Sequence[float]) -> float | None:
    """The largest over the middle one of values from the largest down."""
    if not ranked:
        return None
    count = len(ranked)
    middle = (ranked[(count - 1) // 2] + ranked[count // 2]) / 2
    return ranked[0] / middle if middle > 0 else None


def _range(values: Sequence[float]) -> str:
    ends = [digits(end) for end in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _networks(count: int) -> str:
    return f"{count} {'network' if count == 1 else 'networks'}"


def _p(p: float | None) -> str:
    told = p_shown(p)
    return told if told.startswith("<") else f"=\u00a0{told}"
