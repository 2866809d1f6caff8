"""Every figure of the report, from the reads and the summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from steadyread import figures
from steadyread.figures import AttackPoints, Example, RiskLine, TriageBar
from steadyread.figures.hardening_training import hardening_curve
from steadyread.metrics import Reads, risk_coverage, scores
from steadyread.metrics.combination import combination_of
from steadyread.metrics.discrimination import class_scores
from steadyread.metrics.robustness import robust_curve
from steadyread.metrics.summary import judged_by, thinned
from steadyread.metrics.triage import RANDOM, SMALLEST_FLIP, Scored, with_combined
from steadyread.units import Bounds, number_of
from steadyread.words.numbers import attack_name, digits, score_name

Summary = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its file name and the sentence that stands below it (and for it, where it is not seen)."""

    name: str
    figure: Figure
    caption: str


def drawings(reads: Reads, summary: Summary, examples: list[Example], bounds: Bounds) -> dict[str, Drawing]:
    """All figures by name; each tells in words where it has nothing to show."""
    scored = with_combined(scores(reads), combination_of(summary["triage"]["combined"]))
    made = [*(_accuracy(reads, summary, against, bounds) for against in ("label", "prediction")),
            _histogram(reads, summary, bounds), _roc(reads, summary), *_triage(scored, summary, bounds),
            Drawing("examples", figures.examples(examples, bounds), "Clean, change amplified, attacked.")]
    training = summary.get("training")
    if training and training.get("epochs"):
        made.append(training_drawing("training", training, bounds))
    return {drawing.name: drawing for drawing in made}


def training_drawing(name: str, training: Summary, bounds: Bounds) -> Drawing:
    """How the epochs of a training went; those of a hardening with the accuracy under attack."""
    if "method" not in training:
        return Drawing(name, figures.training_curve(training["epochs"], training.get("chosen_epoch")),
                       "Loss by epoch, and what the validation images said of it.")
    largest = training.get("epsilon")
    at = f" of {digits(largest / bounds.range)} of the range" if isinstance(largest, int | float) else ""
    return Drawing(name, hardening_curve(training, bounds),
                   f"Validation images read right, clean and under PGD{at} against the network of that epoch.")


def _accuracy(reads: Reads, summary: Summary, against: str, bounds: Bounds) -> Drawing:
    rows = summary["robustness"][against]["attacks"]
    points = [AttackPoints(attack_name(name),
                           [number_of(row["size"]) for row in rows if row["attack"] == name],
                           [row["accuracy"].value for row in rows if row["attack"] == name])
              for name in dict.fromkeys(row["attack"] for row in rows)]
    exact = robust_curve(reads, against).until(summary["robustness"][against]["curve"]["up_to"])
    curve = thinned(exact, 300)
    clean = summary["discrimination"]["accuracy"].value
    binary = against == "prediction" and len(summary["classes"]) == 2 and clean is not None
    drawn = figures.accuracy_curve(curve, points, bounds, against, 1 - clean if binary else None)
    said = {"label": "Pushed away from the true label: the standard robust accuracy, which goes to 0.",
            "prediction": "Pushed away from the prediction, as paper [A] does: wrong reads are pushed to right."}
    return Drawing(f"accuracy_{against}", drawn, f"Accuracy by the size of the change. {said[against]}")


def _histogram(reads: Reads, summary: Summary, bounds: Bounds) -> Drawing:
    against = "label" if summary["robustness"]["label"]["smallest_flip"]["searched"] else "prediction"
    found, _ = judged_by(reads, against)
    if not summary["robustness"][against]["smallest_flip"]["searched"]:
        return Drawing("smallest_flips", figures.smallest_flip_histogram(found[:0], bounds),
                       "No smallest flip has been searched.")
    which = "correct reads" if against == "label" else "all reads"
    return Drawing("smallest_flips", figures.smallest_flip_histogram(found, bounds),
                   f"The smallest flips of {which} ({len(found)} images), on a logarithmic axis.")


def _roc(reads: Reads, summary: Summary) -> Drawing:
    known = reads.known
    made = class_scores(reads.logits[known], len(summary["classes"]))
    drawn = figures.roc(made, reads.labels[known], summary["classes"], summary["discrimination"]["auc"])
    return Drawing("roc", drawn, "Receiver operating characteristic of the clean reads.")


def _triage(scored: Scored, summary: Summary, bounds: Bounds) -> list[Drawing]:
    found = summary["triage"]
    n = len(scored.wrong)
    lines = [RiskLine(score_name(row["score"]),
                      *risk_coverage(scored.score.get(row["score"], np.zeros(n)), scored.wrong))
             for row in found["rows"]]
    bars = [TriageBar(score_name(row["score"]), row["accuracy"], row["withheld"].value) for row in found["rows"]
            if row["score"] != RANDOM]
    flips = scored.score.get(SMALLEST_FLIP, np.full(n, np.inf))
    return [Drawing("risk_coverage", figures.risk_coverage(lines, found["share"]),
                    "Error among the reads that are kept, steadiest first. Lower is better."),
            Drawing("triage", figures.triage_bars(bars, found["accuracy"]),
                    "Accuracy among the kept reads, by the score that chose them."),
            Drawing("score_scatter", figures.score_scatter(flips, scored.score["margin"], scored.wrong, bounds),
                    "Smallest flip against margin: where the cloud is a line, one tells no more than the other.")]
