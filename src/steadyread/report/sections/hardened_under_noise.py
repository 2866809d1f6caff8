"""What hardening against CT noise did: before and after, round by round, and method by method."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.noise import one_attack
from steadyread.metrics.reads import KNOWN, ORIGINAL, PARTS
from steadyread.report import forms
from steadyread.report.items import Figure, Fold, Item, Note, Notes, Terms, Text, grid, notes
from steadyread.report.marks import bold
from steadyread.report.noise import NoiseHardening
from steadyread.report.section import section
from steadyread.report.table import Cell, Column, Form, Table, begun, table
from steadyread.words.hardening import (
    hardened_name,
    lost_said,
    method_said,
    silent_said,
    step_name,
    under,
    undercounted_said,
    unequal_said,
)
from steadyread.words.noise import class_name, noise_name, starts_said, variant_name
from steadyread.words.numbers import NONE, counted, digits

Values = Mapping[str, Any]
_READS = (("accuracy", "Accuracy, %"), ("sensitivity", "Sensitivity, %"), ("specificity", "Specificity, %"),
          ("random_draw", "Random, one draw, %"), ("plausible", "Plausible, once in K, %"))
_BLANK = Cell("")
_AUC = forms.change(1, 3)


@section("Hardening against noise", of=NoiseHardening, order=340)
def hardened_under_noise(hardening: NoiseHardening) -> Iterator[Item]:
    """Every method beside the networks before; in folds how each teaches, and round by round as [B] Tables 4 and 5."""
    s = hardening.summary
    yield from (Text(words) for words in s["said"].values() if words)
    open_ = notes([each for each in s["findings"] if each["severity"] in ("error", "warning")])
    if warnings := (*(Note("warning", "", words) for words in _warnings(s)), *open_.notes):
        yield Notes(warnings)
    judged = [row for row in s["methods"] if row["auc"]]
    if unjudged := [hardened_name(row["name"]) for row in s["methods"] if row not in judged]:
        yield Text(f"Trained, not judged (yet): {', '.join(unjudged)}.", "soft")
    first: Values = next((row for row in s["methods"] if row["san"]), {})
    before = {name: pair.before for name, pair in first.items() if isinstance(pair, Contrast)}
    if judged:
        yield grid(Figure("hardened_methods"), tone="figures wide")
        yield from _by_method(s, judged, before)
    yield Fold("How each method trains", (Terms(tuple(
        (hardened_name(row["name"]), " ".join(_teaching(s, row))) for row in s["methods"])),))
    if by_step := tuple(_by_step(s)):
        yield Fold("Round by round", by_step)
    if judged:
        yield Fold("Reads of clean images, other noises, and what it cost", (_reads_table(judged, before),
                                                                              _cost_table(judged)))
    if s["drift"]:
        yield _drift(hardening)
    if any(row["rounds"] for row in s["methods"]):
        yield _trainings(s)


def _warnings(s: Values) -> Iterator[str]:
    """What takes a method's values back; the first that a reader must see."""
    for row in s["methods"]:
        name = f"“{hardened_name(row['name'])}”"
        yield from (f"{name} failed ({_folds(folds)}): {text}" for text, folds in _together(row["failed"]).items())
        if row["silent"]:
            yield silent_said(row, len(row["folds"]))
        elif row["lost_reads"]:
            yield lost_said(row)
        yield from filter(None, (undercounted_said(row), unequal_said(row)))
        if row["folds"] and set(s["folds"]) - set(row["folds"]):
            yield f"{name} is judged on {_folds(row['folds'])} alone, before and after."


def _together(sentences: Sequence[Values]) -> dict[str, list[int]]:
    """The folds of each sentence."""
    folds: dict[str, list[int]] = {}
    for each in sentences:
        folds.setdefault(str(each["said"]), []).append(each["fold"])
    return folds


def _folds(folds: Sequence[int]) -> str:
    return f"fold{'' if len(folds) == 1 else 's'} {', '.join(map(str, folds))}"


def _teaching(s: Values, row: Values) -> Iterator[str]:
    """How a method teaches."""
    yield method_said(row)
    yield from (f"Stopped ({_folds(folds)}): {text}" for text, folds in _together(row["stopped"]).items())
    if row["shifts"]:
        shifts = "; ".join(f"{float(mas):g} mAs: {_logits(shift)}" for mas, shift in row["shifts"].items())
        yield f"Taken off the logit of reads as class 0 and as class 1, mean over folds: {shifts}."
    if row["variant"] and row["variant"] != (s["settings"].get("variant") or ORIGINAL):
        yield f"Starts from the network “{variant_name(row['variant'])}”."


def _logits(values: Any) -> str:
    each = values if isinstance(values, list) else [values]
    return " and ".join(digits(float(value)) if isinstance(value, int | float) else NONE for value in each)


def _by_step(s: Values) -> Iterator[Item]:
    """A table for each attack and part, as [B] Tables 4 and 5."""
    main, others = list(_step_tables(s, True)), tuple(_step_tables(s, False))
    if not main and not others:
        return
    variant = f" ({s['settings']['variant']})" if s["settings"].get("variant") else ""
    yield from main
    yield Text(f"Each method is judged by its last network, the main one by that of every round. Before: the study's "
               f"own networks{variant}, judged again by these same attacks and draws. Noise that a search does not "
               "find is not noise that a network withstands.", "note")
    yield grid(Figure("hardened_doses"))
    yield grid(Figure("hardened_sar"), tone="figures wide")
    yield from others


def _step_tables(s: Values, main: bool) -> Iterator[Table]:
    attacks = [attack for attack in {step["attack"] for step in s["steps"]} if (attack == s["attack"]) is main]
    for attack in sorted(attacks, key=lambda name: (KNOWN.index(name) if name in KNOWN else len(KNOWN), name)):
        for part in (s["part"], *(part for part in PARTS if part != s["part"])):
            steps = [step for step in s["steps"] if (step["attack"], step["part"]) == (attack, part)]
            if len(steps) > 1 or (steps and main):
                yield _step_table(s, steps)


def _step_table(s: Values, steps: Sequence[Values]) -> Table:
    """SAN of each step at each dose."""
    attack = one_attack(cell for step in steps for cell in step["cells"].values())
    doses = sorted({float(mas) for step in steps for mas in step["cells"]})
    uneven = len({step["folds"] for step in steps}) > 1
    rows = []
    for step in steps:
        cells = {float(mas): cell["san"] for mas, cell in step["cells"].items()}
        rows.append((step_name(step["name"], step["round"], s), *([step["folds"]] if uneven else []), step["auc"],
                     *map(cells.get, doses)))
    trials = sorted({starts_said(cell).replace("start", "trial") for step in steps for cell in step["cells"].values()})
    return table([Column("Network", forms.TEXT), *([Column("Folds", forms.COUNT)] if uneven else []),
                  Column("AUC", forms.mean_sd(1, 3)), *(Column(f"{mas:g} mAs", forms.mean_sd()) for mas in doses)],
                 rows, tone="snug", above=f"SAN in {steps[0]['part']} under {noise_name(attack)}, %: mean "
                 f"± SD over folds. {', '.join(trials)}.")


def _by_method(s: Values, judged: Sequence[Values], before: Values) -> Iterator[Item]:
    noise = under(s) if s["attack"] else "noise"
    yield _flip_table(s, judged, before, noise)
    cost, best = f"{s['auc_cost']:g}", s["best"]
    among = "" if not best else f"{bold('Bold')}: the fewest flips " + (
        f"among those whose AUC fell by no more than {cost}" if best["within_cost"] else
        f"; none kept its AUC within {cost}") + ", picked on these same images, so a little flattered. "
    yield Text(f"{among}Right and not flipped is against the label: a network that has lost its reads flips rarely and "
               "is rarely right. Intervals and p say how these networks would vary on other patients; the spread over "
               "folds says how much another training would differ.", "note")


def _pair(title: str, form: Form, scale: float = 100, decimals: int = 1) -> list[Column]:
    """The mean after, and its difference from before."""
    return [Column("Mean", forms.only(decimals, scale), title), Column("Difference", form, title)]


def _of_pair(pair: Contrast | None) -> tuple[Any, Any]:
    return (pair.after, pair.difference) if pair else (None, None)


def _flip_table(s: Values, judged: Sequence[Values], before: Values, noise: str) -> Item:
    best = s["best"]["name"] if s["best"] else None
    columns = [Column("Method", forms.TEXT), *_pair("Flipped (SAN), %", forms.POINTS_STACKED),
               Column("p (Holm)", forms.P_VALUE), Column("After / before", forms.DIGITS_STACKED),
               *_pair("Right and not flipped, %", forms.POINTS_STACKED),
               *_pair("AUC", _AUC, 1, 3)]
    rows: list[Sequence[Any]] = [("before", before.get("san"), *[_BLANK] * 3, before.get("robust"), _BLANK,
                                  before.get("auc"), _BLANK)]
    for row in judged:
        name = hardened_name(row["name"])
        rows.append((bold(name) if row["name"] == best else name, *_of_pair(row["san"]), row["p_holm"],
                     row["san"].ratio if row["san"] else None, *_of_pair(row["robust"]),
                     *_of_pair(row["auc"])))
    return table(columns, rows, tone="snug", above=(
        f"{s['part'].capitalize()} images, {noise}: mean over folds, and the difference from before (AUC apart, in "
        "points), its 95 % interval over the same resampled patients below it. Each method is compared with the "
        "networks that it started from, on its own folds. p: the sign of each patient's difference exchanged, "
        f"two-sided, corrected (Holm) for the {counted(sum(row['p_holm'] is not None for row in judged), 'method')}."))


def _reads_table(judged: Sequence[Values], before: Values) -> Item:
    columns = [Column("Method", forms.TEXT),
               *(column for _, title in _READS for column in _pair(title, forms.POINTS_STACKED))]
    return table(columns, [
        ("before", *(value for name, _ in _READS for value in (before.get(name), _BLANK))),
        *((hardened_name(row["name"]), *(value for name, _ in _READS for value in _of_pair(row[name])))
          for row in judged)], tone="snug close")


def _cost_table(judged: Sequence[Values]) -> Item:
    columns = [Column("Method", forms.TEXT), Column("10 × the gradients", forms.COUNT), Column("Missed", forms.COUNT),
               Column("Passes, thousands", Form(_passes, beneath=_cost))]
    return table(columns, [(hardened_name(row["name"]), _harder(row["harder"]),
                            row["missed"]["missed"] if row["missed"] else NONE, row) for row in judged], note=(
        "10 × the gradients: reads flipped by one search from one start, and by one with ten times the gradients, of "
        "the reads tried. Missed: reads that random or plausible noise of the dose flips and the search of the first "
        "table, which may make that noise too, does not. Passes: images through the network, forwards and backwards, "
        "mean over folds; below them, how many times the main method's. Methods compare fairly at equal cost."))


def _harder(search: Values | None) -> str:
    return f"{search['flips']} → {search['flips_more']} of {search['images']}" if search else NONE


def _passes(row: Values) -> str:
    passes = row["training"]["passes"]
    return NONE if passes is None else f"{passes / 1000:,.0f}"


def _cost(row: Values) -> str:
    return "" if row["cost"] is None else f"{digits(row['cost'])} ×, {row['training']['epochs'] or 0:.0f} epochs"


def _drift(hardening: NoiseHardening) -> Item:
    s, two = hardening.summary, len(hardening.classes) == 2
    columns = [Column("Network", forms.TEXT), Column("Read as", forms.TEXT), Column("Reads", forms.COUNT),
               Column("Margin", forms.DIGITS),
               Column(f"Drift{f' towards {hardening.classes[1]}' if two else ''}", forms.DIGITS_BESIDE),
               Column("Jitter", forms.DIGITS_BESIDE), Column("|drift| / jitter", forms.DIGITS_BESIDE)]
    rows = [(hardened_name(row["name"]), class_name({"classes": hardening.classes}, row["class"]), row["reads"],
             row["margin"].value, row["towards"] or row["drift"], row["jitter"], row["ratio"]) for row in s["drift"]]
    return Fold("Drift and jitter before and after", (table(columns, begun(rows), tone="snug", note=(
        f"Random noise at {s['stated_mas']:g} mAs, {s['part']} images; medians over the reads, in logits.")),))


def _trainings(s: Values) -> Item:
    """What each round of each method did, the main one's SAN against the round before beside."""
    def kept_and_last(name: str, scale: float, decimals: int) -> Form:
        return Form(lambda epoch: forms.number(epoch[name], scale, decimals),
                    beneath=lambda epoch: forms.number(epoch[f"last_{name}"], scale, decimals))

    columns = [Column("Method", forms.TEXT), Column("Round", forms.COUNT),
               *(Column(title, forms.only(0, 1)) for title in ("Attacks", "Found", "Training set then")),
               Column("Epoch kept, by fold", forms.COUNT),
               Column("Validation AUC", kept_and_last("validation_auc", 1, 3)),
               Column("Validation right and not flipped, %", kept_and_last("validation_steady", 100, 1)),
               Column("SAN against the round before, points", forms.POINTS_STACKED)]
    rows = []
    for row in s["methods"]:
        san = {each["round"]: each["san"].difference for each in row["by_round"] if each["san"]}
        rows += [(hardened_name(row["name"]), each["round"], each["attacked"], each["found"], each["taught"],
                  ", ".join(NONE if epoch is None else str(epoch) for epoch in each["chosen"]), each, each,
                  san.get(each["round"])) for each in row["rounds"]]
    rule = next((row["rule"] for row in s["methods"] if row["rule"]), None)
    main = s["methods"][0]["name"].replace("_", " ")
    kept = f" Kept, of {main}: {rule}. The others by the same rule." if rule else ""
    return Fold("What the trainings did, round by round", (
        table(columns, begun(rows), tone="snug", note="Means over the folds, of the epoch kept and below of the last "
              f"one.{kept}"), grid(Figure("hardened_validation"), tone="figures wide")))
