"""Every figure of the page of several data sets, with the sentence that stands below it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steadyread.charts import Axis, Chart, Interval, Panel, Rule, chart, interval, nothing
from steadyread.charts.examples import attacked_grid
from steadyread.charts.look import BLUE, INK, VERMILION, Look
from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.verdicts import way_of
from steadyread.report.accuracy_drawings import before_and_after, under_attack
from steadyread.report.drawings import Drawing, summarised_side
from steadyread.report.hardening_drawings import sides
from steadyread.report.hardening_stored import plain_side
from steadyread.report.sets_stored import StoredSets
from steadyread.units import number_of
from steadyread.words.numbers import score_name

Summary = Mapping[str, Any]
_REFERENCES = {"label": "Pushed away from the true label, so that the accuracy goes to 0.",
               "prediction": "Pushed away from the prediction as in [A]: with two classes the accuracy stops at "
                             "100 minus the clean one (dotted)."}
_KINDS = {True: Look(VERMILION), False: Look(BLUE, marker="square"), None: Look(INK, marker="diamond")}


@dataclass(frozen=True)
class Difference:
    """A row of a forest: a difference with its interval, below the heading `group`.

    `sure` says whether it is one; None where its interval alone decides.
    """

    group: str
    name: str
    difference: Estimate
    sure: bool | None = None


def sets_drawings(stored: StoredSets, found: Summary) -> dict[str, Drawing]:
    """All figures by name; those of which there is nothing to show are left out."""
    made: list[Drawing | None] = [*(_under_attack(stored, found, against) for against in ("label", "prediction")),
                                  _attacked(stored), _before_after(stored, found), *_steadiness(found), _gains(found),
                                  _scores(found)]
    return {drawing.name: drawing for drawing in made if drawing is not None}


def lettered(titles: Sequence[str]) -> list[str]:
    """The titles of panels beside each other: `A  Chest`."""
    return [f"{chr(65 + at) if at < 26 else at + 1}  {title[:30]}" for at, title in enumerate(titles)]


def _under_attack(stored: StoredSets, found: Summary, against: str) -> Chart | None:
    shown = []
    for name, (_, plain) in stored.assessed.items():
        summary = found["sets"][name]
        side = summarised_side(plain.reads, summary["robustness"], against)
        if not side.empty:
            shown.append((summary, side, plain.bounds))
    panels = [under_attack(side, bounds, against, _floor(summary) if against == "prediction" else None, title)
              for title, (summary, side, bounds) in zip(lettered([summary["title"] for summary, _, _ in shown]), shown,
                                                        strict=True)]
    return chart(f"fig2_{against}", "Accuracy by the size of the change, a panel a set, each on its own scale "
                 f"([A] Fig. 2). {_REFERENCES[against]}", *panels) if panels else None


def _floor(summary: Summary) -> float | None:
    """Where the accuracy against the prediction must stop with two classes."""
    clean = summary["discrimination"]["accuracy"].value
    return 1 - clean if clean is not None and len(summary["classes"]) == 2 else None


def _attacked(stored: StoredSets) -> Drawing | None:
    rows = [(one.title, one.attacked[0], plain.bounds) for one, plain in stored.assessed.values() if one.attacked]
    return attacked_grid(rows) if rows else None


def _before_after(stored: StoredSets, found: Summary) -> Chart | None:
    shown = []
    for name, (one, plain) in stored.assessed.items():
        told = found["sets"][name]["hardening"]
        main = one.hardened[0] if one.hardened else None
        if told is not None and main is not None and told["compared"] is not None:
            shown.append((one.title, plain.bounds, sides(plain_side(plain), main, told["compared"]["against"]), told))
    references = {(summary["hardening"] or {}).get("compared", {})["against"] for summary in found["sets"].values()
                  if (summary["hardening"] or {}).get("compared")}
    if not shown:
        return None
    reference = " or ".join(sorted(references))
    panels = [before_and_after(*both, bounds, reference, number_of(told["epsilon"]) if told["epsilon"] else None, title)
              for title, (_, bounds, both, told) in zip(lettered([title for title, *_ in shown]), shown, strict=True)]
    return chart("fig3", "Accuracy by the size of the change before and after hardening, a panel a set ([A] Fig. 3), "
                 f"each network attacked anew, against the {reference}. Bands: 95 % at each size.", *panels)


def _steadiness(found: Summary) -> list[Chart]:
    if found["fragility"] is None:
        return []
    rows = found["fragility"]["rows"]
    kinds = "Round: medical sets; square: everyday ones. " if found["fragility"]["pairs"] else ""
    shown = [(found["titles"][row["name"]], row["of_range"], row["medical"]) for row in rows]
    return [] if all(median.value is None for _, median, _ in shown) else [
        chart("steadiness_of_range", "The change that flips half of the right reads at equal conditions, as a share of "
              f"the range of valid values. {kinds}Lines: 95 % intervals over patients.", steadiness(shown))]


def steadiness(sets: Sequence[tuple[str, Estimate, bool | None]]) -> Panel:
    """The median smallest flip of each set (its title, the median, whether it is medical; None where nobody said so)
    on a log axis, the most fragile on top; an arrow where most never flip.
    """
    told = sorted((row for row in sets if row[1].value is not None), key=lambda row: row[1].value or 0.0)
    known = [float(value) for _, median, _ in told for value in (median.value, median.low, median.high)
             if value is not None and math.isfinite(value) and value > 0]
    if not known:
        return nothing("no set has reads that were flipped")
    low, high = min(known) / 1.6, max(known) * 1.6
    rows = []
    for title, median, medical in told:
        never = math.isinf(median.value or 0.0)
        look = Look(_KINDS[medical].colour, marker="triangle-right") if never else _KINDS[medical]
        rows.append(Interval(title, min(median.value or 0.0, high), median.low, median.high, look, plain=True,
                             words="half never flipped" if never else ""))
    never = any(row.words for row in rows)
    ends = (low, high * (high / low) ** 0.3 if never else high)
    return interval(rows, Axis("median smallest flip, share of the range", ends, log=True))


def forest(rows: Sequence[Difference], axis: str, ways: tuple[str, str], better: int, scale: float = 1.0) -> Panel:
    """Differences with their 95 % intervals around 0, grouped; blue better, vermilion worse, ink where not sure.

    `axis` labels the x axis, on which differences are times `scale`; `ways` says what lies left and right of 0;
    `better` is -1 where below 0 is better, else 1. A cross: too few patients for an interval.
    """
    told = [row for row in rows if row.difference.value is not None]
    if not told:
        return nothing("nothing to compare")
    return interval([_difference_row(row, better, scale) for row in told], Axis(axis), [Rule("x", 0.0)], ways)


def _difference_row(row: Difference, better: int, scale: float) -> Interval:
    value, low, high = (None if end is None else scale * end
                        for end in (row.difference.value, row.difference.low, row.difference.high))
    look = Look(INK, marker="diamond")
    if low is not None and high is not None and value is not None and (
            low > 0 or high < 0 if row.sure is None else row.sure):
        look = Look(BLUE) if value * better > 0 else Look(VERMILION, marker="square")
    return Interval(row.name, value, low, high, look, row.group)


def _gains(found: Summary) -> Chart | None:
    rows = []
    for one in found["sets"].values():
        told = one["hardening"]
        if told is None or told["compared"] is None:
            continue
        if told["headline"] is not None:
            rows.append(_difference(one["title"], "under attack", told["headline"].contrast))
        rows.append(_difference(one["title"], "clean", told["compared"]["clean"]))
    if not rows:
        return None
    return chart("gains",
                 "What hardening gained under attack, at the sizes of the table, and what it cost on clean "
                 "images; after minus before, on the same images. Lines: 95 % intervals over patients; in colour "
                 "where the test of the difference says so too.",
                 forest(rows, "accuracy after minus before hardening, points", ("worse", "better"), 1, 100))


def _difference(group: str, name: str, row: Contrast) -> Difference:
    """A paired row, as sure as the words are of it."""
    return Difference(group, name, row.difference, way_of(row) in ("better", "worse"))


def _scores(found: Summary) -> Chart | None:
    rows = [Difference(score_name(name), found["titles"][row["set"]], row["area"])
            for name in dict.fromkeys(row["score"] for row in found["scores"])
            for row in found["scores"] if row["score"] == name and not row["perfect"] and not _same(row["area"])]
    if not rows:
        return None
    return chart("scores",
                 "Each score beside the free margin, a line a set, over the same resampled patients: left of 0 "
                 "it sorts right from wrong better. Lines: 95 % intervals; a cross: too few patients for one.",
                 forest(rows, "area under risk-coverage minus that of the margin",
                        ("better than the margin", "worse"), -1))


def _same(area: Estimate) -> bool:
    """Whether a score orders the reads as the margin does, as entropy with two classes: nothing to draw."""
    return area.value == area.low == area.high == 0
