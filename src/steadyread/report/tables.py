"""The summary as rows of words for the page's tables and cards."""

import math
import re
from collections.abc import Mapping
from typing import Any

from steadyread.figures.examples import Example, amplification, change, picture
from steadyread.metrics.intervals import Estimate
from steadyread.report.inline import data_uri
from steadyread.units import Bounds, number_of, unit_word
from steadyread.words.numbers import NONE, attack_name, digits, percent, points, score_name, show_native
from steadyread.words.plain import flips_told

Summary = Mapping[str, Any]
_SHOWN = 9
_PICTURE_BYTES = 1_600_000
EXACT, MERGED = "Smallest flip, found", "Merged from fixed sizes"
FEW = "too few patients for an interval"
_PARTED = re.compile(r"(?<=\d) (?=(?:%|HU)(?![A-Za-z]))")


def cards(summary: Summary) -> list[dict[str, str]]:
    """The key figures: a value, what it is, and its interval."""
    found = summary["discrimination"]
    flips, reads = flips_told(summary)
    made = [_card("AUC" if found["classes"] == 2 else "AUC, macro", found["auc"], lambda value: digits(value, 3)),
            _card("clean accuracy", found["accuracy"], percent)]
    if flips["searched"]:
        median = flips["median"]
        known = 0 < number_of(median) < math.inf
        between = f"95 %: {bare(flips['low'])} to {bare(flips['high'])}" if known else ""
        between = FEW if known and math.isnan(number_of(flips["low"])) else between
        made.append({"value": bare(median), "name": f"flips half of the {reads}",
                     "note": "; ".join(filter(None, [_share_of(median), between]))})
    at = _headline(summary["robustness"]["label"]["at"])
    if at is not None and at["accuracy"].value is not None:
        how = "" if at["exact"] else ", merged from fixed sizes"
        made.append(_card(f"robust accuracy at {bare(at['size'])}{how}", at["accuracy"], percent))
    kept = next((row for row in summary["triage"]["rows"] if row["score"] == "smallest_flip"), None)
    if kept is not None and kept["accuracy"].value is not None:
        made.append(_card(f"accuracy, {percent(kept['withheld'].value, 0)} withheld", kept["accuracy"], percent))
    return made


def robust_rows(summary: Summary) -> list[dict[str, Any]]:
    """[A] Table 1 with both references side by side; last the curve of what was found as far as was searched.

    Sizes beyond it, or without a search, are named as merged from the fixed sizes.
    """
    sides = {against: {(row["attack"], row["threat"], number_of(row["size"])): row
                       for row in summary["robustness"][against]["attacks"]} for against in ("label", "prediction")}
    keys = list(dict.fromkeys([*sides["label"], *sides["prediction"]]))
    rows = [{"attack": attack_name(key[0]), "size": (sides["label"].get(key) or sides["prediction"][key])["size"],
             **{against: sides[against].get(key) for against in sides}} for key in keys]
    rows += _merged_rows(summary)
    first = None
    for row in rows:
        row["first"], first = row["attack"] != first, row["attack"]
    return rows


def _merged_rows(summary: Summary) -> list[dict[str, Any]]:
    at = {against: {(not row["exact"], number_of(row["size"])): row
                    for row in summary["robustness"][against]["at"] if row["accuracy"].value is not None}
          for against in ("label", "prediction")}
    keys = sorted({*at["label"], *at["prediction"]})
    return [{"attack": MERGED if key[0] else EXACT,
             "size": (at["label"].get(key) or at["prediction"][key])["size"],
             **{against: _exact(at[against][key]) if key in at[against] else None for against in at}}
            for key in keys]


def triage_rows(summary: Summary, bounds: Bounds) -> list[dict[str, Any]]:
    """[A] Table 2, a row a score, with the paired differences to the smallest flip beside it."""
    differences = {row["against"]: row for row in summary["triage"]["differences"]}
    return [row | {"name": score_name(row["score"]), "rule": _rule(row["score"], row["threshold"], bounds),
                   "difference": differences.get(row["score"])} for row in summary["triage"]["rows"]]


def example_rows(examples: list[Example], bounds: Bounds) -> list[dict[str, Any]]:
    """Example images as data addresses, as many as the page has room for."""
    rows: list[dict[str, Any]] = []
    room = _PICTURE_BYTES
    for example in examples[:_SHOWN]:
        pictures = [data_uri(picture(example.clean, bounds)),
                    data_uri(change(example.clean, example.adversarial, bounds)),
                    data_uri(picture(example.adversarial, bounds))]
        room -= sum(map(len, pictures))
        if room < 0:
            break
        before, after = example.says(example.clean_probabilities), example.says(example.adversarial_probabilities)
        rows.append({"case_id": example.case_id, "label": example.label, "attack": attack_name(example.attack),
                     "size": show_native(example.size, bounds), "pictures": pictures, "before": before,
                     "after": after, "flipped": before[0] != after[0],
                     "factor": f"{amplification(example.clean, example.adversarial, bounds.range):g}"})
    return rows


def interval(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """The interval alone, `79.1 to 92.3`; a dash where a value has none, empty where there is no value."""
    if found is None or found.value is None:
        return ""
    if found.low is None or found.high is None:
        return NONE
    return f"{scale * found.low:.{decimals}f} to {scale * found.high:.{decimals}f}".replace("-", "−")


def signed_interval(found: Estimate | None) -> str:
    """The interval of a difference, in points: `−2.1 to +3.4`."""
    if found is None or found.value is None:
        return ""
    if found.low is None or found.high is None:
        return NONE
    return f"{points(found.low)} to {points(found.high)}"


def flip(told: Mapping[str, Mapping[str, Any]]) -> str:
    """A median smallest flip as a share of the range; a dash where none was searched."""
    value = number_of(told["median"])
    return "none found" if value == math.inf else NONE if math.isnan(value) else digits(
        float(told["median"]["of_range"]))


def tight(text: str) -> str:
    """Words in which no number is parted from its unit at a line's end."""
    return _PARTED.sub("\u00a0", text)


def number(value: float | None, scale: float = 100.0, decimals: int = 1) -> str:
    """A number for a column whose head says the unit."""
    return NONE if value is None else f"{scale * value:.{decimals}f}".replace("-", "−")


def _card(name: str, found: Estimate, show: Any) -> dict[str, str]:
    if found.value is None:
        return {"value": NONE, "name": name, "note": "cannot be told from these images"}
    known = found.low is not None and found.high is not None
    return {"value": show(found.value), "name": name,
            "note": f"95 %: {show(found.low)} to {show(found.high)}" if known else FEW}


def _headline(at: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The tabled size nearest to 0.002 of the range, which [A] quotes in its text."""
    return min(at, key=lambda row: abs(math.log(float(row["size"]["of_range"]) / 0.002)), default=None)


def _exact(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"accuracy": row["accuracy"], "carried": row["accuracy"], "rises": False, "flipped": None}


def bare(size: Mapping[str, Any]) -> str:
    """A size in its own unit alone, or as a share of the range where there is none."""
    value = number_of(size)
    if not math.isfinite(value):
        return "none found" if value > 0 else NONE
    if not size["unit"]:
        return f"{digits(float(size['of_range']))} range"
    return f"{digits(value)} {unit_word(str(size['unit']), value)}"


def _share_of(size: Mapping[str, Any]) -> str:
    told = size["unit"] and math.isfinite(number_of(size))
    return f"{digits(float(size['of_range']))} of the range" if told else ""


def _rule(score: str, threshold: float | None, bounds: Bounds) -> str:
    """What is withheld, in words."""
    if threshold is None:
        return "drawn at random"
    if threshold == -math.inf:
        return "none: too many equal scores"
    if score == "entropy":
        return f"≥ {digits(-threshold)} nats"
    if score == "disagreement":
        return f"≥ {digits(-100 * threshold)} points of probability"
    if score == "combined":
        return f"≤ {percent(1 / (1 + math.exp(-threshold)))} chance to be right"
    if score == "smallest_flip":
        return f"≤ {show_native(threshold, bounds)}" if math.isfinite(threshold) else "all"
    if score == "gradient" and math.isfinite(threshold):    # logits over logits a unit
        return f"≤ {show_native(threshold, bounds)}"
    return f"≤ {digits(threshold)} logits"
