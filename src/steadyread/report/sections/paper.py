"""What a paper printed, beside the numbers of a study that repeats it and says so (`beside`)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from steadyread.metrics.across_sets import same_size, triage_row
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import one_attack
from steadyread.metrics.reads import OPTIMISED, PAPER, PLAUSIBLE, RANDOM, RINGS, noise_attack
from steadyread.metrics.triage import SMALLEST_FLIP
from steadyread.registry import ATTACKS
from steadyread.report import forms
from steadyread.report.items import Item, Text
from steadyread.report.noise import Noise
from steadyread.report.papers import Printed, paper
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import Cell, Column, Form, begun, table
from steadyread.words.noise import short_name
from steadyread.words.numbers import score_name

_PERCENT, _SHARE = forms.mean_sd(), forms.mean_sd(1, 3)
_WITHHELD = 0.2     # of the reads, in [A] Table 2
OURS, BALANCED = "Ours", "Ours, balanced"
Values = Mapping[str, Callable[..., Estimate | None]]     # by the title of their column, what has a value by its keys
_QUOTED = Cell("as printed", "soft")


@dataclass(frozen=True)
class _Side:
    """Our side of one of the paper's tables: how its values are shown, the values, and what is said of them."""

    form: Form
    of: Values
    said: str = ""


@section("Beside the paper", of=Noise, order=780)
def paper_b(noise: Noise) -> Iterator[Item]:
    """[B] Tables 1 to 5."""
    if noise.summary["beside"] == "B":
        rows = noise.summary["rows"]
        searched = next((attack for attack in (PAPER, RINGS, PLAUSIBLE) if any(
            row["attack"] == attack for row in rows)), PAPER)
        yield from _tables("B", {
            "clean": _Side(_SHARE, {OURS: lambda part, measure: _clean(noise, part, measure)}),
            **{name: _by_one_attack([((row["part"], f"{row['mas']:g}"), row) for row in rows
                                     if row["attack"] == attack])
               for name, attack in (("random", RANDOM), ("optimised", searched))},
            "variants": _Side(_PERCENT, {OURS: lambda variant, part: _variant(noise, variant, part)}),
            **_by_round(noise.summary.get("hardening"))})


@section("Beside the paper", of=Sets, order=780)
def paper_a(sets: Sets) -> Iterator[Item]:
    """[A] Tables 1 and 2, and its text's gains by adversarial training."""
    if sets.summary["beside"] == "A":
        yield Text(f"{BALANCED}: the mean of the classes' recalls, which is the average accuracy on test parts with as "
                   "many images of each class, such as the paper's. It uses every image of the natural part.", "note")
        yield from _tables("A", {
            "clean": _Side(forms.stacked(), {OURS: lambda name: sets.each[name]["discrimination"]["accuracy"],
                                             BALANCED: lambda name: _accuracy(
                                                 sets.each[name]["balanced"], "clean", "0")}),
            "attacked": _Side(forms.stacked(), {
                OURS: lambda name, *key: _accuracy(sets.each[name]["robustness"]["prediction"]["attacks"], *key),
                BALANCED: lambda name, *key: _accuracy(sets.each[name]["balanced"], *key)}),
            "withheld": _Side(forms.stacked(), {
                score_name(score) if score in ATTACKS else OURS: partial(_withheld, sets, score)
                for score in (SMALLEST_FLIP, *(name for name in ATTACKS if ATTACKS[name].searches))}),
            "hardened": _Side(forms.stacked(), {OURS: lambda name, network: _hardened(sets, name, network)})})


def _tables(name: str, ours: Mapping[str, _Side]) -> Iterator[Item]:
    """A table for each of the paper's, of the values that the study has too, a column for each way to have them."""
    source = paper(name)
    tables = [shown for key, side in ours.items() if (shown := _table(name, source.tables[key], side))]
    if tables:
        yield Text(f"{source.cite}, doi:{source.doi}: other data, networks and attacks. What was found there, not "
                   "what should be found here; each value as it is printed, even where two of them contradict each "
                   "other.", "note")
    yield from tables


def _table(name: str, printed: Printed, ours: _Side) -> Item | None:
    found = {title: {keys: value for keys in printed.values if (value := _known(way, keys))}
             for title, way in ours.of.items()}
    found = {title: values for title, values in found.items() if values}
    rows = [(*map(_titled, keys), *(_QUOTED if keys[0] in printed.quoted else values.get(keys)
                                    for values in found.values()), theirs)
            for keys, theirs in printed.values.items()
            if keys[0] in printed.quoted or any(keys in values for values in found.values())]
    columns = [*(Column(title, forms.TEXT) for title in printed.of), *(Column(title, ours.form) for title in found),
               Column(f"[{name}]", forms.COUNT, tone="theirs")]
    return table(columns, begun(rows), tone="snug",
                 above=f"[{name}] {printed.title}.{ours.said}") if found else None


def _titled(key: str) -> str:
    """A key of the paper's tables as reports write it."""
    return ATTACKS.title(key) if key in ATTACKS else key.replace("_", " ")


def _known(of: Callable[..., Estimate | None], keys: tuple[str, ...]) -> Estimate | None:
    try:
        value = of(*keys)
    except KeyError:        # a data set that the study does not have
        return None
    return value if value is not None and value.value is not None else None


def _clean(noise: Noise, part: str, measure: str) -> Estimate | None:
    return next((row[measure] for row in noise.summary["classification"] if row["part"] == part), None)


def _by_one_attack(rows: Sequence[tuple[tuple[str, ...], Mapping[str, Any]]], how: str = "") -> _Side:
    """SAN by the keys of each row, all of one attack, which is named with its K."""
    attack = one_attack([row for _, row in rows])
    held = {keys: row["san"] for keys, row in rows}
    trials = dict.fromkeys(row["trials"] or row["most_trials"] for _, row in rows)
    said = f" Ours: {how}{short_name(attack)}, K = {' and '.join(map(str, trials))}." if attack else ""
    return _Side(_PERCENT, {OURS: lambda *keys: held.get(keys)}, said)


def _variant(noise: Noise, variant: str, part: str) -> Estimate | None:
    row: Mapping[str, Any] = next((row for row in noise.summary["table_3"] if row["variant"] == variant), {})
    return row[part]["san"] if row.get(part) and row[part]["mas"] == 100 else None


def _by_round(hardening: Mapping[str, Any] | None) -> dict[str, _Side]:
    """AUC, and SAN by [B]'s own search where the networks were judged by it, else by the noise that is told first,
    before and after each round of the main method where that is adaptive training."""
    if not hardening or hardening["methods"][0]["method"] != "adaptive":
        return {}
    steps = [step for step in hardening["steps"] if step["round"] is not None]
    tried = {step["attack"] for step in steps} & set(OPTIMISED)
    attack = next((each for each in (PAPER, hardening["attack"]) if each in tried), None)
    rows = [((step["part"], str(step["round"]), mas), cell) for step in steps if step["attack"] == attack
            for mas, cell in step["cells"].items()]
    areas = {(step["part"], str(step["round"])): step["auc"] for step in steps}
    taught = hardening["methods"][0]["training"]["noise"]
    how = f"taught by {short_name(noise_attack(taught))}, judged by " if taught else ""
    return {"auc": _Side(_SHARE, {OURS: lambda *keys: areas.get(keys)}), "rounds": _by_one_attack(rows, how)}


def _accuracy(rows: Sequence[Mapping[str, Any]], attack: str, size: str) -> Estimate | None:
    return next((row["accuracy"] for row in rows if row["attack"] == attack
                 and same_size(float(row["size"]["of_range"]), float(size))), None)


def _withheld(sets: Sets, score: str, name: str, reads: str) -> Estimate | None:
    each = sets.each[name]
    if not same_size(each["triage"]["share"], _WITHHELD):
        return None
    row = triage_row(each, score)
    if row is None:
        return None
    found: Estimate = each["triage"]["accuracy"] if reads == "all" else row["accuracy" if reads == "kept" else "change"]
    return found


def _hardened(sets: Sets, name: str, network: str) -> Estimate | None:
    """Under PGD of 0.002 of the range against the prediction, the size at which [A]'s text tells the gain."""
    rows = (row.contrast for row in (sets.each[name]["hardened_at"] or {}).get("prediction", ())
            if row.size and row.attack == "pgd" and same_size(row.size["of_range"], 0.002))
    return next((getattr(contrast, network) for contrast in rows), None)
