"""Numbers as words: the same figures read the same in the report, on the command line and in figures."""

import math
from collections.abc import Mapping
from typing import Any

from steadyread.metrics.intervals import FEWEST, LEVEL, Estimate
from steadyread.units import Bounds, unit_word

Size = dict[str, float | str | None]
NONE = "–"
_ATTACKS = {"fgsm": "FGSM", "bim": "BIM", "pgd": "PGD", "apgd": "APGD", "clean": "Clean",
            "smallest_flip": "Smallest flip"}
_SCORES = {"smallest_flip": "Smallest flip", "margin": "Margin", "entropy": "Entropy", "random": "Random",
           "views": "Mean over views", "members": "Mean over networks",
           "disagreement": "Disagreement", "combined": "All combined",
           "gradient": "Margin over its gradient"}
_ALWAYS = ("smallest_flip", "margin", "entropy", "random")


def digits(value: float, significant: int = 2) -> str:
    """A number to so many significant digits, zeros kept: 9.8, 0.0070, 140. A true minus sign."""
    if not math.isfinite(value):
        return "none found" if value > 0 else NONE
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -6:
        return f"{value:.{significant - 1}e}".replace("-", "−")
    decimals = max(0, significant - 1 - exponent)
    return f"{value:.{decimals}f}".replace("-", "−")


def show_native(size: float, bounds: Bounds) -> str:
    """A size in native units for a sentence: `9.8 HU (0.0070 of the range)`."""
    if not math.isfinite(size):
        return "none found"
    share = f"{digits(size / bounds.range)} of the range"
    return f"{digits(size)} {unit_word(bounds.unit, size)} ({share})" if bounds.unit else share


def size_json(size: float, bounds: Bounds) -> Size:
    """A size as plain values: native, its unit, and the share of the range. "inf" where none was found."""
    if math.isnan(size):
        return {"native": None, "unit": bounds.unit, "of_range": None}
    if math.isinf(size):
        return {"native": "inf", "unit": bounds.unit, "of_range": "inf"}
    return {"native": size, "unit": bounds.unit, "of_range": size / bounds.range}


def number_of(size: Mapping[str, Any] | None) -> float:
    """The native value of `size_json`'s answer; NaN for null."""
    native = size.get("native") if size else None
    return float(native) if native is not None else math.nan


def show_size_json(size: Mapping[str, Any] | None) -> str:
    """`show_native` of a stored size."""
    value = number_of(size)
    if size is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "none found"
    share = f"{digits(float(size['of_range']))} of the range"
    return f"{digits(value)} {unit_word(str(size['unit']), value)} ({share})" if size["unit"] else share


def counted(number: int, name: str) -> str:
    """`1 patient`, `40 patients`."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def percent(value: float | None, decimals: int = 1) -> str:
    """A share as `86.2 %`."""
    return NONE if value is None else f"{100 * value:.{decimals}f} %".replace("-", "−")


def attack_name(name: str) -> str:
    """An attack's name as the literature writes it."""
    return _ATTACKS.get(name, name.replace("_", " "))


def score_name(name: str) -> str:
    """A triage score's name."""
    return _SCORES.get(name, name.replace("_", " "))


def verdict(summary: Mapping[str, Any]) -> str:
    """One sentence in plain words for the top of the report and the command line."""
    if not summary["images"]:
        return "Nothing has been assessed yet."
    flips, reads = flips_told(summary)
    if flips["searched"] and flips["images"]:
        return _of_flips(flips, reads)
    rows = summary["robustness"]["label"]["attacks"] or summary["robustness"]["prediction"]["attacks"]
    if rows:
        worst = min(rows, key=lambda row: (row["accuracy"].value if row["accuracy"].value is not None else 2,
                                           number_of(row["size"])))
        return _of_worst(worst, _value(summary["discrimination"]["accuracy"]))
    if flips["searched"]:
        return "No read is correct, so there is none to flip."
    return (f"{percent(_value(summary['discrimination']['accuracy']))} of the clean reads are correct; "
            "no attack has been run yet.")


def _of_worst(worst: Mapping[str, Any], clean: float | None) -> str:
    """The accuracy under the worst attack, as a fall only where the printed numbers fall."""
    attack = (f"Under {attack_name(worst['attack'])} with changes of at most {show_size_json(worst['size'])} the "
              "accuracy")
    before, after = percent(clean), percent(_value(worst["accuracy"]))
    if before == after:
        return f"{attack} is {after}, the same as without an attack."
    if clean is None or worst["accuracy"].value is None or worst["accuracy"].value > clean:
        return f"{attack} is {after}; without an attack it is {before}."
    return f"{attack} falls from {before} to {after}."


def comparison(triage: Mapping[str, Any]) -> str:
    """Whether the smallest flip and each further score of the run beat the margin, and whether the search pays."""
    return " ".join(filter(None, [_flip_beside_margin(triage), _flip_beside_gradient(triage),
                                  _further_beside_margin(triage)]))


def _flip_beside_gradient(triage: Mapping[str, Any]) -> str:
    """Whether the search adds anything to the one gradient that it begins with; "" where that was not scored."""
    row = next((row for row in triage["differences"] if row["against"] == "gradient"), None)
    alike = triage["gradient_correlation"]
    if row is None or alike is None or row["area"].high is None or triage["accuracy"].value in (None, 0, 1):
        return ""
    area = row["area"]
    told = ("The margin over the L1 norm of its gradient, which takes one gradient, has rank correlation "
            f"{alike:.3f} with the smallest flip; ".replace("-", "−"))
    interval = f"{_signed(area.value)}, 95 % interval {_signed(area.low)} to {_signed(area.high)}"
    if area.high < 0:
        return f"{told}the search sorts right from wrong better than that (difference {interval})."
    return f"{told}the search does not sort right from wrong better than that (difference {interval})."


def _flip_beside_margin(triage: Mapping[str, Any]) -> str:
    difference = next((row for row in triage["differences"] if row["against"] == "margin"), None)
    if difference is None:
        return "The smallest flip was not searched on these images, so it cannot be set against the margin."
    if triage["accuracy"].value == 1:
        return "No read is wrong, so no score can be judged by how it sorts right from wrong."
    if triage["accuracy"].value == 0:
        return "No read is right, so no score can be judged by how it sorts right from wrong."
    if triage["beats_margin"] == "unflipped":
        return ("No read was flipped at any size that was searched, so the smallest flip orders none of them and "
                "cannot be set against the margin.")
    if triage["beats_margin"] is None:
        return ("Whether the smallest flip sorts right from wrong better than the margin cannot be told from "
                f"{counted(triage['patients'], 'patient')}.")
    areas = {row["score"]: row["area"].value for row in triage["rows"]}
    said = {"yes": "The smallest flip sorts right from wrong better than the margin does",
            "no": "The smallest flip sorts right from wrong worse than the margin, which costs nothing",
            "alike": "No difference can be told between the smallest flip and the margin, which costs nothing"
            }[triage["beats_margin"]]
    interval = difference["area"]
    return (f"{said}: area under risk-coverage {areas['smallest_flip']:.4f} against {areas['margin']:.4f} "
            f"(lower is better), difference {_signed(interval.value)}, 95 % interval {_signed(interval.low)} to "
            f"{_signed(interval.high)} over the same resampled patients.")


def _further_beside_margin(triage: Mapping[str, Any]) -> str:
    """A sentence for each further score that differs from the margin, one for those that do not; "" without any."""
    rows = [row for row in triage["differences_to_margin"]
            if row["score"] not in _ALWAYS and row["area"].high is not None]   # None: too few patients to tell
    if not rows or triage["accuracy"].value in (None, 0, 1):
        return ""
    said, alike = [], []
    for row in rows:
        name, area = score_name(row["score"]), row["area"]
        if row["p_holm"] is None or row["p_holm"] >= 1 - LEVEL:
            alike.append(f"{name[0].lower()}{name[1:]} ({_signed(area.value)})")
        else:
            how = "better" if area.value < 0 else "worse"
            said.append(f"{name} sorts right from wrong {how} than the margin: difference {_signed(area.value)}, "
                        f"95 % interval {_signed(area.low)} to {_signed(area.high)}{_after_holm(row, triage)}.")
    if alike:
        listed = alike[0] if len(alike) == 1 else f"{', '.join(alike[:-1])} and {alike[-1]}"
        said.append(f"No difference from the margin can be told for {listed}.")
    why = (triage["combined"] or {}).get("why")
    return " ".join([*said, *([why] if why else [])])


def _after_holm(row: Mapping[str, Any], triage: Mapping[str, Any]) -> str:
    """`, p = 0.003 after Holm for 4 scores`, where there are several."""
    count = sum(one["p"] is not None for one in triage["differences_to_margin"])
    p = row["p_holm"]
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f", {shown} after Holm for {count} scores" if count > 1 else ""


def flips_told(summary: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The smallest flips that are quoted, and whose they are: correct reads', else (against the prediction) all."""
    found = summary["robustness"]
    if found["prediction"]["smallest_flip"]["searched"] and not found["label"]["smallest_flip"]["searched"]:
        return found["prediction"]["smallest_flip"], "reads"
    return found["label"]["smallest_flip"], "correct reads"


def _of_flips(flips: Mapping[str, Any], reads: str) -> str:
    median = number_of(flips["median"])
    if flips["images"] < FEWEST:
        some = reads if flips["images"] > 1 else reads[:-1]
        return (f"Only {flips['images']} {some} could be attacked, too few to say by how large a change half "
                "of such reads flip.")
    if math.isfinite(median):
        return f"Half of the {reads} flip by a change of {show_size_json(flips['median'])} or less."
    share = 1 - (flips["never"].value or 0.0)
    limit = flips["searched_up_to"]
    within = f" by a change of up to {show_size_json(limit)}" if limit else ""
    if share == 0:
        return f"No {reads[:-1]} could be flipped{within}."
    return f"Fewer than half of the {reads} ({percent(share)}) could be flipped{within}."


def _value(found: Estimate | None) -> float | None:
    return found.value if found is not None else None


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+z.4f}".replace("-", "−")
