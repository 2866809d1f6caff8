"""Which reads to leave to a human: scores that sort right from wrong, and what a threshold of each costs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Text, grid
from steadyread.report.marks import bold
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.table import Cell, Column, Form, table
from steadyread.units import Bounds
from steadyread.words.numbers import digits, percent, score_name, show_native

Told = Mapping[str, Any]
_GENERALISED = Form(lambda found: forms.number(found.value, 1, 4))


@section("Triage: which reads to leave to a human", of=Plain, order=600)
def triage(plain: Plain) -> Iterator[Item]:
    """[A] Table 2, the areas, the scores beside the margin, and thresholds with a guarantee."""
    found = plain.summary["triage"]
    if not found["rows"] or not found["images"]:
        yield Text("No reads with a label to sort.")
        return
    alike = found["rank_correlation"]
    correlation = f" Rank correlation of smallest flip and margin: {forms.number(alike, 1, 2)}." if alike is not None \
        else ""
    yield Text(f"{found['comparison']}{correlation}")
    yield _kept(found, plain.bounds)
    yield _areas(found)
    if found["combined"]:
        yield _beside_margin(found)
    yield grid(*map(Figure, ("risk_coverage", "score_scatter", "triage")), Text(_note(plain), "note"))
    yield Heading("With a guarantee")
    yield _guarantees(plain)


def rule(score: str, threshold: float | None, bounds: Bounds) -> str:
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


def _kept(found: Told, bounds: Bounds) -> Item:
    chosen = (f"Thresholds chosen on {found['validation_images']} validation images, applied to {found['images']} "
              "others."
              if found["chosen_on"] == "validation" else
              bold("No validation images: thresholds were seen on the very images they are judged on, as in [A], so "
                   "these gains are too good."))
    columns = [Column("Score", forms.TEXT), Column("Withheld where it is", forms.TEXT),
               Column("Share, %", forms.only()), Column("Kept, % right", forms.share()),
               Column("Gain, points", forms.signed())]
    return table(columns, [(score_name(row["score"]), rule(row["score"], row["threshold"], bounds), row["withheld"],
                            row["accuracy"], row["change"]) for row in found["rows"]],
                 above=f"Accuracy among the kept reads when about {percent(found['share'], 0)} are withheld. {chosen}")


def _areas(found: Told) -> Item:
    differences = {row["against"]: row for row in found["differences"]}
    group = "Smallest flip minus this score"
    columns = [Column("Score", forms.TEXT), Column("AURC", forms.share(1, 4)), Column("AUGRC", _GENERALISED)]
    if differences:
        columns += [Column("Kept, points", forms.signed(), group), Column("AURC", forms.signed(1, 4), group)]
    return table(columns, [(score_name(row["score"]), row["area"], row["generalised_area"],
                            *_minus(differences.get(row["score"]), bool(differences))) for row in found["rows"]],
                 above="How well each score sorts right from wrong, whatever share is withheld, and the smallest flip "
                 "minus that score over the same resampled patients (better: above 0 in points, below 0 in AURC).")


def _minus(row: Told | None, wanted: bool) -> Sequence[Any]:
    if not wanted:
        return ()
    return (None, None) if row is None else (row["accuracy"], row["area"])


def _beside_margin(found: Told) -> Item:
    why = found["combined"]["why"] or (
        "All combined: a logistic regression of right against wrong on the ranks of all the other scores, fitted on "
        f"{found['combined']['reads']} validation reads ({found['combined']['wrong']} wrong) and on nothing else; its "
        "threshold is chosen on those same reads, so it has no row below, where a guarantee would need others.")
    return table([Column("Score", forms.TEXT), Column("AURC minus margin's", forms.signed(1, 4))],
                 [(score_name(row["score"]), row["area"]) for row in found["differences_to_margin"]],
                 above="Each score minus the margin, which is free, in AURC over the same resampled patients (better: "
                 "below 0). Each interval stands alone.",
                 note="Mean over views: the mean margin of the clean prediction over augmented views of the image, as "
                 "in training. Mean over networks: its mean margin over networks that were trained alike from other "
                 f"seeds; disagreement: the standard deviation of its probability over them. {why}")


def _note(plain: Plain) -> str:
    found = plain.summary["triage"]
    entropy = " With two classes entropy orders reads as margin does." \
        if plain.summary["discrimination"]["classes"] == 2 else ""
    return (f"All {found['images']} reads: {percent(found['accuracy'].value)} right. AURC is the area under "
            "risk-coverage, the mean error over all shares kept, and AUGRC (arXiv:2407.01032) counts the errors kept "
            f"as a share of all reads: lower is better.{entropy} The smallest flip used here is the one against the "
            "prediction: the one against the label knows the answer.")


def _guarantees(plain: Plain) -> Item:
    flattered = ("The validation images also chose the epoch of the model trained here, so they flatter it a little. "
                 if plain.summary["training"] else "")
    folds = plain.summary["folds"]
    by = "" if folds == 1 else (f", read by one of the {folds} folds' networks at random, and is no bound for any one "
                                "of these")
    columns = [Column("Limit, %", Form(lambda limit: f"{100 * limit:g}")), Column("Score", forms.TEXT, head=True),
               Column("Kept here, %", forms.share()), Column("Error here, %", forms.share())]
    return table(columns, [(row["alpha"], score_name(row["score"]),
                            *((row["coverage"], row["error"]) if row["threshold"] is not None else (_beyond(row),)))
                           for row in plain.summary["guarantees"]],
                 above="A threshold whose error among the kept is at most the limit, with 95 % confidence (binomial "
                 "bound on validation images, one drawn per patient, so it speaks of a random image of a random "
                 f"patient{by}; thresholds tested in a fixed order, arXiv:2110.01052). {flattered}The statements hold "
                 "one at a time, not jointly.")


def _beyond(row: Told) -> Cell:
    """Why a limit has no threshold."""
    if not row["validation_images"]:
        why = "no validation images"
    elif row["validation_images"] < row["least_patients"]:
        why = (f"{row['validation_images']} validation patients; {row['least_patients']} are needed even without one "
               "error")
    else:
        why = "too many errors among the steadiest reads"
    return Cell(f"not within reach: {why}", "wrap", span=4)
