"""Every figure of the report, from the reads and the summary."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from steadyread.charts import (
    Axis,
    Chart,
    Cloud,
    Entry,
    Interval,
    Line,
    Panel,
    Rule,
    Sheet,
    chart,
    curve,
    histogram,
    interval,
    nothing,
    per_size,
    scatter,
    size_axis,
)
from steadyread.charts.examples import Example, examples
from steadyread.charts.look import (
    BLUE,
    CROSS,
    DASHED,
    DOTTED,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SERIES,
    SKY,
    VERMILION,
    Look,
)
from steadyread.metrics import Reads, risk_coverage, scores
from steadyread.metrics.calibration import chart_rows
from steadyread.metrics.combination import combination_of
from steadyread.metrics.discrimination import class_scores, roc_curve
from steadyread.metrics.intervals import Estimate, Flags, Floats
from steadyread.metrics.robustness import robust_curve
from steadyread.metrics.summary import judged_by, thinned
from steadyread.metrics.triage import RANDOM, SMALLEST_FLIP, Scored, with_combined
from steadyread.report.accuracy_drawings import STEPS, AttackPoints, Side, under_attack
from steadyread.units import Bounds, number_of, unit_word
from steadyread.words.numbers import attack_name, digits, score_name

Summary = Mapping[str, Any]
Drawing = Chart | Sheet
_SCORES = {"Smallest flip": Look(INK), "Margin": Look(BLUE, DASHED, "square"),
           "Entropy": Look(ORANGE, DOTTED, "triangle-up"), "Random": Look(GREEN, (7, 3, 2, 3), "diamond"),
           "Mean over views": Look(PURPLE, (9, 2, 2, 2), "triangle-down"),
           "Mean over networks": Look(SKY, (4, 2), "cross"), "Disagreement": Look(SKY, (1, 2), CROSS),
           "All combined": Look(VERMILION, (12, 3), "triangle-right")}
_RATES = 250     # points of a drawn curve


def drawings(reads: Reads, summary: Summary, shown: list[Example], bounds: Bounds) -> dict[str, Drawing]:
    """All figures by name; each tells in words where it has nothing to show."""
    scored = with_combined(scores(reads), combination_of(summary["triage"]["combined"]))
    made: list[Drawing] = [*(_accuracy(reads, summary, against, bounds) for against in ("label", "prediction")),
                           _histogram(reads, summary, bounds), _roc(reads, summary), _reliability(summary),
                           *_triage(scored, summary, bounds), examples(shown, bounds)]
    training = summary.get("training")
    if training and training.get("epochs"):
        made.append(training_drawing("training", training, bounds))
    return {drawing.name: drawing for drawing in made}


def points_of(rows: Sequence[Summary]) -> list[AttackPoints]:
    """The accuracy under each attack by size, from a summary's rows."""
    return [AttackPoints(attack_name(name), [number_of(row["size"]) for row in rows if row["attack"] == name],
                         [row["accuracy"].value for row in rows if row["attack"] == name])
            for name in dict.fromkeys(row["attack"] for row in rows)]


def summarised_side(reads: Reads, robustness: Summary, against: str) -> Side:
    """A network under attack as its summary has it: curve and points against one reference."""
    exact = robust_curve(reads, against).until(robustness[against]["curve"]["up_to"])
    return Side(thinned(exact, STEPS), points_of(robustness[against]["attacks"]))


def _accuracy(reads: Reads, summary: Summary, against: str, bounds: Bounds) -> Chart:
    clean = summary["discrimination"]["accuracy"].value
    binary = against == "prediction" and len(summary["classes"]) == 2 and clean is not None
    drawn = under_attack(summarised_side(reads, summary["robustness"], against), bounds, against,
                         1 - clean if binary else None)
    pushed = {"label": "Pushed away from the true label: the standard robust accuracy, which goes to 0.",
              "prediction": "Pushed away from the prediction, as paper [A] does: wrong reads are pushed to right."}
    return chart(f"accuracy_{against}", f"Accuracy by the size of the change. {pushed[against]}", drawn)


def _histogram(reads: Reads, summary: Summary, bounds: Bounds) -> Chart:
    against = "label" if summary["robustness"]["label"]["smallest_flip"]["searched"] else "prediction"
    flips, _ = judged_by(reads, against)
    if not summary["robustness"][against]["smallest_flip"]["searched"]:
        return chart("smallest_flips", "No smallest flip has been searched.", smallest_flips(flips[:0], bounds))
    which = "correct reads" if against == "label" else "all reads"
    return chart("smallest_flips", f"The smallest flips of {which} ({len(flips)} images), on a logarithmic axis.",
                 smallest_flips(flips, bounds))


def smallest_flips(flips: Floats, bounds: Bounds) -> Panel:
    """How many images flip first at which size, on a log axis. 0 (wrong unattacked) and inf are told in words."""
    shown = flips[np.isfinite(flips) & (flips > 0)] / per_size(bounds)
    if not len(shown):
        return nothing("no image was flipped" if len(flips) else "no smallest flip has been searched")
    low = float(shown.min())
    middle = float(np.sort(flips)[(len(flips) - 1) // 2])
    rules = [Rule("x", middle / per_size(bounds), f"half of the images: {show_size(middle, bounds)}")] if (
        0 < middle < np.inf) else []
    never, before = float(np.isinf(flips).mean()), int(np.sum(flips == 0))
    beside = [f"never flipped: {100 * never:.1f} %"] + ([f"wrong before any change: {before}"] if before else [])
    axis = size_axis(bounds, "smallest flip", (low * 0.97, max(float(shown.max()), low * 1.5) * 1.03), log=True)
    return histogram(shown, axis, Axis("images"), rules, title="; ".join(beside))


def _roc(reads: Reads, summary: Summary) -> Chart:
    classes = summary["classes"]
    shown = [1] if len(classes) == 2 else list(range(len(classes)))
    rates: dict[str, tuple[Floats, Floats]] = {}
    for place, fold in enumerate(reads.folds):
        known = reads.known[:, place]
        by_class, labels = class_scores(reads.logits[known, place], len(classes)), reads.label[known]
        of = f", fold {fold}" if len(reads.folds) > 1 else ""
        rates |= {f"{classes[at]}{of}": roc_curve(by_class[:, at], labels == at) for at in shown
                  if by_class.shape[1] > at}
    area: Estimate = summary["discrimination"]["auc"]
    title = f"AUC {digits(area.value, 3)}" if area.value is not None else ""
    if area.value is not None and area.low and area.high:
        title += f" ({digits(area.low, 3)} to {digits(area.high, 3)})"
    return chart("roc", "Receiver operating characteristic of the clean reads.", roc(rates, title))


def roc(rates: Mapping[str, tuple[Floats, Floats]], title: str = "", empty: str = "one class only: no curve"
        ) -> Panel:
    """True by false positive rates, a line a name, and the line of chance."""
    known = {name: pair for name, pair in rates.items() if len(pair[0])}
    if not known:
        return nothing(empty)
    lines = [Line("", Look(INK, DOTTED), [0, 1], [0, 1], width=1, listed=False)]
    for at, (name, (false, true)) in enumerate(known.items()):
        look = SERIES[at % len(SERIES)] if len(known) > 1 else Look(INK)
        lines.append(Line(name if len(name) <= 24 else name[:23] + "…", look, false, true,
                          width=1.9 if len(known) == 1 else 1.4))
    return curve(lines, Axis("false positive rate, %", (0, 1.005), percent=True),
                 Axis("true positive rate, %", (0, 1.005), percent=True), height=380, title=title)


def reliability(rows: Sequence[Mapping[str, float | None]], top: bool) -> Panel:
    """Share of events by stated probability, a mark a bin with its interval, and the line of true probabilities."""
    if not rows:
        return nothing("too few reads for two bins")
    columns = {name: np.array([row[name] for row in rows], np.float64) for name in ("stated", "seen", "low", "high")}
    marks = Line("", Look(BLUE), columns["stated"], columns["seen"], columns["low"], columns["high"], band=False,
                 joined=False, marked=None, listed=False)
    said, seen = ("stated probability to be right, %", "reads that are right, %") if top else (
        "stated probability, %", "reads with it, %")
    return curve([Line("", Look(INK, DOTTED), [0, 1], [0, 1], width=1, listed=False), marks],
                 Axis(said, (0, 1.005), percent=True), Axis(seen, (0, 1.005), percent=True), height=380)


def _reliability(summary: Summary) -> Chart:
    found = summary["calibration"]
    return chart("reliability", "Stated probabilities and what came true, in bins of as many reads each, with 95 % "
                 "intervals over patients. True probabilities lie on the line.",
                 reliability(chart_rows(found["bins"]), found["top"]))


def _triage(scored: Scored, summary: Summary, bounds: Bounds) -> list[Drawing]:
    triage = summary["triage"]
    n = len(scored.wrong)
    lines = {score_name(row["score"]): risk_coverage(scored.score.get(row["score"], np.zeros(n)), scored.wrong)
             for row in triage["rows"]}
    kept = {score_name(row["score"]): row["accuracy"] for row in triage["rows"] if row["score"] != RANDOM}
    flips = scored.score.get(SMALLEST_FLIP, np.full(n, np.inf))
    return [chart("risk_coverage", "Error among the reads that are kept, steadiest first. Lower is better.",
                  risk_by_coverage(lines, triage["share"])),
            chart("triage", "Accuracy among the kept reads, by the score that chose them.",
                  accuracy_kept(kept, triage["accuracy"])),
            chart("score_scatter",
                  "Smallest flip against margin: where the cloud is a line, one tells no more than the other.",
                  flips_by_margin(flips, scored.score["margin"], scored.wrong, bounds))]


def risk_by_coverage(lines: Mapping[str, tuple[Floats, Floats]], withheld: float) -> Panel:
    """Error among the kept reads, by the share that is kept, a line a score; the lower the better."""
    if not any(len(coverage) for coverage, _ in lines.values()):
        return nothing("no reads with a label")
    spare = iter(SERIES[3:] * 9)
    drawn = []
    for name, (coverage, risk) in lines.items():
        kept = np.unique(np.linspace(0, len(coverage) - 1, _RATES).round().astype(int))
        drawn.append(Line(name, _SCORES.get(name) or next(spare), coverage[kept], risk[kept], marked=None))
    top = max(0.02, 1.12 * max(float(risk.max()) for _, risk in lines.values() if len(risk)))
    return curve(drawn, Axis("reads kept, steadiest first, %", (0, 1), percent=True),
                 Axis("error among the kept, %", (0, top), percent=True),
                 [Rule("x", 1 - withheld, f"{100 * withheld:g} % withheld")])


def accuracy_kept(kept: Mapping[str, Estimate], everyone: Estimate) -> Panel:
    """Accuracy among the kept under each score with its 95 % interval, against the accuracy of all reads."""
    rows = [Interval(name, value.value, value.low, value.high, _SCORES.get(name, SERIES[3]))
            for name, value in kept.items() if value.value is not None]
    if not rows:
        return nothing("no reads with a label")
    values = [float(value) for row in rows for value in (row.value, row.low, row.high, everyone.value)
              if value is not None]
    room = 0.06 * (max(values) - min(values)) + 1e-3
    axis = Axis("accuracy among the kept, % (95 % interval)", (min(values) - room, max(values) + room), percent=True)
    if everyone.value is None:
        return interval(rows, axis)
    key = (Entry(f"all reads, {100 * everyone.value:.1f} %", Look(INK, DOTTED), mark=False),)
    return interval(rows, axis, [Rule("x", everyone.value)], key=key)


def flips_by_margin(flips: Floats, margin: Floats, wrong: Flags, bounds: Bounds) -> Panel:
    """Smallest flip by margin, right and wrong reads apart."""
    usable = np.isfinite(flips) & (flips > 0) & np.isfinite(margin)
    if not usable.any():
        return nothing("no read was flipped")
    sizes = flips / per_size(bounds)
    unit = f"{unit_word(bounds.unit)} ({bounds.range:g} is the range)" if bounds.unit else "share of the range"
    return scatter([Cloud(name, look, margin[usable & of], sizes[usable & of]) for name, look, of in (
        ("right", Look(BLUE), ~wrong), ("wrong", Look(VERMILION, marker=CROSS), wrong))],
        Axis("margin, logits"), Axis(f"smallest flip, {unit}"))


def training_drawing(name: str, training: Summary, bounds: Bounds) -> Chart:
    """How the epochs of a training went; those of a hardening with the accuracy under attack."""
    if "method" not in training:
        return chart(name, "Loss by epoch, and what the validation images said of it.",
                     *training_curves(training["epochs"], training.get("chosen_epoch")), columns=1, widths=(410,))
    largest = training.get("epsilon")
    at = f" of {digits(largest / bounds.range)} of the range" if isinstance(largest, int | float) else ""
    return chart(name, f"Validation images read right, clean and under PGD{at} against the network of that epoch.",
                 hardening_course(training, bounds))


def training_curves(epochs: Sequence[Summary], chosen: int | None = None) -> list[Panel]:
    """Loss of training and validation, and AUC and accuracy on validation images, by epoch."""
    if not epochs:
        return [nothing("not trained here")]
    last = max(row["epoch"] for row in epochs)
    panels = []
    for title, series in (("loss", (("train_loss", "training", Look(BLUE)),
                                    ("validation_loss", "validation", Look(VERMILION, DASHED, "square")))),
                          ("validation images, %", (("validation_auc", "AUC", Look(GREEN, marker="triangle-up")),
                                                    ("validation_accuracy", "accuracy",
                                                     Look(PURPLE, DASHED, "square"))))):
        lines = [Line(words, look, *_by_epoch(epochs, key), marked=None) for key, words, look in series]
        low = min((float(value) for line in lines for value in line.y), default=0.0)
        share = title != "loss"
        rules = [Rule("x", chosen, f"chosen, epoch {chosen}" if not share else "")] if chosen is not None else []
        panels.append(curve(lines, Axis("epoch" if share else "", (0.5, last + 0.5)),
                            Axis(title, (min(low, 0.95) - 0.02, 1.01) if share else None, percent=share), rules,
                            height=165))
    both = {entry.name: entry for panel in panels for entry in panel.key}
    return [replace(panel, key=tuple(both.values())) for panel in panels]


def hardening_course(training: Summary, bounds: Bounds) -> Panel:
    """Clean and robust accuracy of the validation images by epoch from the start on, the stages and the choice."""
    epochs: Sequence[Summary] = training.get("epochs") or ()
    start: Summary = training.get("start") or {}
    rows = ([{**start, "epoch": 0}] if start else []) + list(epochs)
    if not epochs:
        return nothing("no epoch of hardening has been trained")
    silent = [row for row in epochs if row.get("predicted_classes") == 1]
    lines = [Line(words, look, *_by_epoch(rows, key), marked=None) for key, words, look in (
        ("validation_accuracy", "clean", Look(GREEN)),
        ("robust_accuracy", "under attack", Look(BLUE, DASHED, "square")))]
    if silent:
        lines.append(Line("one class for every image", Look(VERMILION, marker=CROSS),
                          *_by_epoch(silent, "validation_accuracy"), joined=False, marked=None))
    chosen = training.get("chosen_epoch")
    rules = _stage_rules(epochs, bounds)
    if chosen is not None:
        rules.append(Rule("x", chosen, f"kept, epoch {chosen}" if chosen else "kept: the start", colour=BLUE))
    return curve(lines, Axis("epoch (0: the network it started from)" if start else "epoch",
                             (rows[0]["epoch"] - 0.35, rows[-1]["epoch"] + 0.35)),
                 Axis("validation images right, %", (0, 1.02 + 0.07 * len(rules)), percent=True,
                      ticks=(0, 0.2, 0.4, 0.6, 0.8, 1)), rules)


def _stage_rules(epochs: Sequence[Summary], bounds: Bounds) -> list[Rule]:
    """Where each stage begins, with its size, where there are several."""
    stages = list(dict.fromkeys(row.get("stage") for row in epochs))
    firsts = [next(row for row in epochs if row.get("stage") == stage) for stage in stages]
    return [Rule("x", row["epoch"] - 0.5, f"stage {at + 1}" + (
        f": {show_size(row['epsilon'], bounds)}" if row.get("epsilon") is not None else ""))
        for at, row in enumerate(firsts)] if len(stages) > 1 else []


def show_size(size: float, bounds: Bounds) -> str:
    """A size on a chart: in the images' own unit, or as a share of the range where none is known."""
    value = size / per_size(bounds)
    return f"{digits(value)} {unit_word(bounds.unit, value)}" if bounds.unit else digits(value)


def _by_epoch(rows: Sequence[Summary], key: str) -> tuple[list[float], list[float]]:
    known = [row for row in rows if row.get(key) is not None]
    return [row["epoch"] for row in known], [float(row[key]) for row in known]
