"""Every figure of the page of several data sets, with the sentence that stands below it."""

from collections.abc import Mapping
from typing import Any

from steadyread.figures import AttackPoints
from steadyread.figures.across_sets import (
    BeforeAfter,
    UnderAttack,
    attacked_grid,
    before_and_after_panels,
    under_attack,
)
from steadyread.figures.set_forests import Difference, Steady, forest, steadiness
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.robustness import robust_curve
from steadyread.metrics.summary import thinned
from steadyread.metrics.verdicts import way_of_reads
from steadyread.report.drawings import Drawing
from steadyread.report.hardening_drawings import sides
from steadyread.report.sets_stored import StoredSets
from steadyread.report.stored import Assessed
from steadyread.units import number_of
from steadyread.words.hardening import headline
from steadyread.words.numbers import attack_name, score_name

Summary = Mapping[str, Any]
_STEPS = 300     # of a drawn curve
_REFERENCES = {"label": "Pushed away from the true label, so that the accuracy goes to 0.",
               "prediction": "Pushed away from the prediction as in [A]: with two classes the accuracy stops at "
                             "100 minus the clean one (dotted)."}


def sets_drawings(stored: StoredSets, found: Summary) -> dict[str, Drawing]:
    """All figures by name; those of which there is nothing to show are left out."""
    made = [*(_under_attack(stored, found, against) for against in ("label", "prediction")), _attacked(stored),
            _before_after(stored, found), *_steadiness(found), _gains(found), _scores(found)]
    return {drawing.name: drawing for drawing in made if drawing is not None}


def _under_attack(stored: StoredSets, found: Summary, against: str) -> Drawing | None:
    panels = [_panel(plain, found["sets"][name], against) for name, (_, plain) in stored.assessed.items()]
    panels = [one for one in panels if one.attacks or (one.curve.n and one.curve.end > 0)]
    if not panels:
        return None
    return Drawing(f"fig2_{against}", under_attack(panels, against),
                   f"Accuracy by the size of the change, a panel a set, each on its own scale ([A] Fig. 2). "
                   f"{_REFERENCES[against]}")


def _panel(plain: Assessed, one: Summary, against: str) -> UnderAttack:
    rows = one["robustness"][against]["attacks"]
    points = [AttackPoints(attack_name(name), [number_of(row["size"]) for row in rows if row["attack"] == name],
                           [row["accuracy"].value for row in rows if row["attack"] == name])
              for name in dict.fromkeys(row["attack"] for row in rows)]
    curve = robust_curve(plain.reads, against).until(one["robustness"][against]["curve"]["up_to"])
    return UnderAttack(one["title"], plain.bounds, thinned(curve, _STEPS), points,
                       one["stops"]["floor"] if against == "prediction" else None)


def _attacked(stored: StoredSets) -> Drawing | None:
    rows = [(one.title, one.attacked[0], plain.bounds) for one, plain in stored.assessed.values() if one.attacked]
    if not rows:
        return None
    return Drawing("fig1", attacked_grid(rows), "One image of each set, clean and under each attack ([A] Fig. 1).")


def _before_after(stored: StoredSets, found: Summary) -> Drawing | None:
    panels = []
    for name, (one, plain) in stored.assessed.items():
        told = found["sets"][name]["hardening"]
        main = one.hardened[0].assessed if one.hardened else None
        if told is not None and main is not None and told["compared"] is not None:
            before, after = sides(plain, main, told["compared"]["against"])
            panels.append(BeforeAfter(one.title, plain.bounds, before, after,
                                      number_of(told["epsilon"]) if told["epsilon"] else None))
    against = {found["sets"][name]["hardening"]["compared"]["against"] for name in found["sets"]
               if (found["sets"][name]["hardening"] or {}).get("compared")}
    if not panels:
        return None
    reference = " or ".join(sorted(against))
    return Drawing("fig3", before_and_after_panels(panels, reference),
                   "Accuracy by the size of the change before and after hardening, a panel a set ([A] Fig. 3), "
                   f"each network attacked anew, against the {reference}. Bands: 95 % at each size.")


def _steadiness(found: Summary) -> list[Drawing]:
    if found["fragility"] is None:
        return []
    rows = found["fragility"]["rows"]
    made = []
    for yardstick, axis, words in (
            ("of_range", "median smallest flip, share of the range", "as a share of the range of valid values"),
            ("in_noise", "median smallest flip, SDs of the finest scale", "in SDs of the images' finest scale")):
        shown = [Steady(found["titles"][row["name"]], row[yardstick], row["medical"]) for row in rows]
        if any(one.median.value is not None for one in shown):
            made.append(Drawing(f"steadiness_{yardstick}", steadiness(shown, axis),
                                f"The change that flips half of the right reads at equal conditions, {words}. "
                                "Round: medical sets; square: everyday ones. Lines: 95 % intervals over patients."))
    return made


def _gains(found: Summary) -> Drawing | None:
    rows = []
    for one in found["sets"].values():
        told = one["hardening"]
        if told is None or told["compared"] is None:
            continue
        row = headline(told["compared"], number_of(told["at"])) if told["at"] else None
        if row is not None:
            rows.append(_difference(one["title"], "under attack", row["merged"]))
        rows.append(_difference(one["title"], "clean", told["compared"]["clean"]))
    if not rows:
        return None
    axis = "accuracy after minus before hardening, points"
    return Drawing("gains", forest(rows, axis, ("worse", "better"), 1, 100),
                   "What hardening gained under attack, at the sizes of the table, and what it cost on clean "
                   "images; after minus before, on the same images. Lines: 95 % intervals over patients; in colour "
                   "where McNemar's test says so too.")


def _difference(group: str, name: str, row: Mapping[str, Any]) -> Difference:
    """A paired row, as sure as the words are of it."""
    return Difference(group, name, row["difference"], way_of_reads(row) in ("better", "worse"))


def _scores(found: Summary) -> Drawing | None:
    rows = [Difference(score_name(name), found["titles"][row["set"]], row["area"])
            for name in dict.fromkeys(row["score"] for row in found["scores"])
            for row in found["scores"] if row["score"] == name and not row["perfect"] and not _same(row["area"])]
    if not rows:
        return None
    return Drawing("scores", forest(rows, "area under risk-coverage minus that of the margin",
                                    ("better than the margin", "worse"), -1),
                   "Each score beside the free margin, a line a set, over the same resampled patients: left of 0 "
                   "it sorts right from wrong better. Lines: 95 % intervals; a cross: too few patients for one.")


def _same(area: Estimate) -> bool:
    """Whether a score orders the reads as the margin does, as entropy with two classes: nothing to draw."""
    return area.value == area.low == area.high == 0
