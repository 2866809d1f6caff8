"""Numbers as words: the same figures read the same in the report, on the command line and in figures."""

import math
from collections.abc import Mapping
from typing import Any

from steadyread.metrics.intervals import FEWEST, LEVEL, Estimate
from steadyread.metrics.summary import queries_of
from steadyread.units import number_of
from steadyread.words.numbers import NONE, attack_name, counted, digits, percent, score_name, show_size_json

EXACT, MERGED = "Smallest flip, found", "Merged from fixed sizes"    # rows of a table of attacks
_ALWAYS = ("smallest_flip", "margin", "entropy", "random")


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
    if otherwise := summary.get("other_axes"):
        worst = min((row for row in otherwise if row["against"] == otherwise[0]["against"]),
                    key=lambda row: row["accuracy"].value if row["accuracy"].value is not None else 2)
        return _of_worst(worst, _value(summary["discrimination"]["accuracy"]))
    return (f"{percent(_value(summary['discrimination']['accuracy']))} of the clean reads are correct; "
            "no attack has been run yet.")


def _of_worst(worst: Mapping[str, Any], clean: float | None) -> str:
    """The accuracy under the worst attack, as a fall only where the printed numbers fall."""
    level = (f"with changes of at most {show_size_json(worst['size'])}" if "size" in worst
             else f"of {digits(worst['level'])} {worst['unit']}")
    attack = f"Under {attack_name(worst['attack'])} {level} the accuracy"
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
            "alike": "There is no detectable difference between the smallest flip and the margin, which costs nothing"
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
        said.append(f"There is no detectable difference from the margin for {listed}.")
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


def with_words(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of a run with what is said of it: the verdict, and how the scores of triage compare."""
    queries = queries_of(summary["passes"])
    asked = {} if queries is None else {"black_box": f"black box, {queries:,.0f} queries a read"}
    return summary | {"triage": summary["triage"] | {"comparison": comparison(summary["triage"])},
                      "verdict": verdict(summary), **asked}
