"""Numbers as words: the same figures read the same in the report, on the command line and in figures."""

from collections.abc import Mapping
from typing import Any

from steadyread.metrics.intervals import LEVEL
from steadyread.metrics.summary import queries_of
from steadyread.words.answer import answer
from steadyread.words.numbers import NONE, counted, score_name

EXACT, MERGED = "Smallest flip, found", "Merged from fixed sizes"    # rows of a table of attacks
_ALWAYS = ("smallest_flip", "margin", "entropy", "random")


def comparison(triage: Mapping[str, Any], patients_known: bool = True) -> str:
    """Whether the smallest flip and each further score of the run beat the margin, and whether the search pays; over
    images where no patients are known."""
    return " ".join(filter(None, [_flip_beside_margin(triage, patients_known), _flip_beside_gradient(triage),
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


def margin_said(triage: Mapping[str, Any], patients_known: bool = True) -> str:
    """Whether the smallest flip sorts right from wrong better than the margin, in a sentence without numbers."""
    unit = "patient" if patients_known else "image"
    if not any(row["against"] == "margin" for row in triage["differences"]):
        return "The smallest flip was not searched for on these images, so it cannot be compared with the margin."
    if triage["accuracy"].value in (0, 1):
        none = "wrong" if triage["accuracy"].value else "right"
        return f"No read is {none}, so no score can be judged by how it sorts right from wrong."
    return {"unflipped": "No read was flipped at any size that was searched, so the smallest flip orders none of them "
            "and cannot be compared with the margin.",
            None: "Whether the smallest flip sorts right from wrong better than the margin cannot be told from "
            f"{counted(triage['patients'], unit)}.",
            "yes": "The smallest flip sorts right from wrong better than the margin does.",
            "no": "The smallest flip sorts right from wrong worse than the margin, which costs nothing.",
            "alike": "There is no detectable difference between the smallest flip and the margin, which costs nothing."
            }[triage["beats_margin"]]


def _flip_beside_margin(triage: Mapping[str, Any], patients_known: bool) -> str:
    """The same with the areas and their difference, where they are compared."""
    said = margin_said(triage, patients_known)
    difference = next((row for row in triage["differences"] if row["against"] == "margin"), None)
    if difference is None or triage["accuracy"].value in (0, 1) or triage["beats_margin"] in (None, "unflipped"):
        return said
    areas = {row["score"]: row["area"].value for row in triage["rows"]}
    units = "patients" if patients_known else "images"
    interval = difference["area"]
    return (f"{said.removesuffix('.')}: area under risk-coverage {areas['smallest_flip']:.4f} against "
            f"{areas['margin']:.4f} (lower is better), difference {_signed(interval.value)}, 95 % interval "
            f"{_signed(interval.low)} to {_signed(interval.high)} over the same resampled {units}.")


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


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+z.4f}".replace("-", "−")


def with_words(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of a run with what is said of it: the verdict, and how the scores of triage compare."""
    queries = queries_of(summary["passes"])
    asked = {} if queries is None else {"black_box": f"black box, {queries:,.0f} queries a read"}
    return summary | {"triage": summary["triage"] | {"comparison": comparison(
        summary["triage"], bool(summary["data"]["patients_known"]))},
                      "verdict": answer(summary).sentence, **asked}
