"""What a paper printed, beside the numbers of a study that repeats it and says so (`beside`)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from steadyread.metrics.across_sets import same_size, triage_row
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import OPTIMISED, PAPER, PLAUSIBLE, RANDOM, RINGS
from steadyread.metrics.triage import SMALLEST_FLIP
from steadyread.registry import ATTACKS
from steadyread.report import forms
from steadyread.report.items import Item, Text
from steadyread.report.noise import Noise
from steadyread.report.papers import Printed, paper
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import Column, Form, begun, table
from steadyread.words.numbers import score_name

_PERCENT, _SHARE = forms.mean_sd(), forms.mean_sd(1, 3)
_WITHHELD = 0.2     # of the reads, in [A] Table 2
OURS, BALANCED = "Ours", "Ours, balanced"
Values = Mapping[str, Callable[..., Estimate | None]]     # by the title of their column, what has a value by its keys


@section("Beside the paper", of=Noise, order=780)
def paper_b(noise: Noise) -> Iterator[Item]:
    """[B] Tables 1 to 5."""
    if noise.summary["beside"] == "B":
        yield from _tables("B", {
            "clean": (_SHARE, {OURS: lambda part, measure: _clean(noise, part, measure)}),
            "noise": (_PERCENT, {OURS: lambda kind, part, mas: _noise(noise, kind, part, float(mas))}),
            "variants": (_PERCENT, {OURS: lambda variant, part: _variant(noise, variant, part)}),
            "auc": (_SHARE, {OURS: lambda part, step: _round(noise, part, step)}),
            "rounds": (_PERCENT, {OURS: lambda part, step, mas: _round(noise, part, step, mas)})})


@section("Beside the paper", of=Sets, order=780)
def paper_a(sets: Sets) -> Iterator[Item]:
    """[A] Tables 1 and 2, and its text's gains by adversarial training."""
    if sets.summary["beside"] == "A":
        yield Text(f"{BALANCED}: the mean of the classes' recalls, which test parts of as many images of each class, "
                   "such as the paper's, have on average. It takes every image of the natural part.", "note")
        yield from _tables("A", {
            "clean": (forms.stacked(), {OURS: lambda name: sets.each[name]["discrimination"]["accuracy"],
                                        BALANCED: lambda name: _accuracy(sets.each[name]["balanced"], "clean", "0")}),
            "attacked": (forms.stacked(), {
                OURS: lambda name, *key: _accuracy(sets.each[name]["robustness"]["prediction"]["attacks"], *key),
                BALANCED: lambda name, *key: _accuracy(sets.each[name]["balanced"], *key)}),
            "withheld": (forms.stacked(), {
                score_name(score) if score in ATTACKS else OURS: partial(_withheld, sets, score)
                for score in (SMALLEST_FLIP, *(name for name in ATTACKS if ATTACKS[name].searches))}),
            "hardened": (forms.stacked(), {OURS: lambda name, network: _hardened(sets, name, network)})})


def _tables(name: str, ours: Mapping[str, tuple[Form, Values]]) -> Iterator[Item]:
    """A table for each of the paper's, of the values that the study has too, a column for each way to have them."""
    source = paper(name)
    tables = [shown for key, (form, of) in ours.items() if (shown := _table(name, source.tables[key], of, form))]
    if tables:
        yield Text(f"{source.cite}, doi:{source.doi}: other data, networks and attacks. What was found there, not "
                   "what should be found here; each value as it is printed, even where two of them contradict each "
                   "other.", "note")
    yield from tables


def _table(name: str, printed: Printed, of: Values, form: Form) -> Item | None:
    found = {title: {keys: value for keys in printed.values if (value := _known(way, keys))}
             for title, way in of.items()}
    found = {title: values for title, values in found.items() if values}
    rows = [(*map(_titled, keys), *(values.get(keys) for values in found.values()), theirs)
            for keys, theirs in printed.values.items() if any(keys in values for values in found.values())]
    columns = [*(Column(title, forms.TEXT) for title in printed.of), *(Column(title, form) for title in found),
               Column(f"[{name}]", forms.COUNT, tone="theirs")]
    return table(columns, begun(rows), tone="snug", above=f"[{name}] {printed.title}.") if rows else None


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


def _noise(noise: Noise, kind: str, part: str, mas: float) -> Estimate | None:
    """SAN; of optimised noise that of [B]'s own search, else of ours."""
    rows = (noise.row(attack, mas, part) for attack in ((RANDOM,) if kind == "random" else (PAPER, RINGS, PLAUSIBLE)))
    return next((row["san"] for row in rows if row), None)


def _variant(noise: Noise, variant: str, part: str) -> Estimate | None:
    row: Mapping[str, Any] = next((row for row in noise.summary["table_3"] if row["variant"] == variant), {})
    return row[part]["san"] if row.get(part) and row[part]["mas"] == 100 else None


def _round(noise: Noise, part: str, step: str, mas: str = "") -> Estimate | None:
    """AUC, or SAN at a dose under the noise that the hardening is judged by, after a round of the main method where
    that is adaptive training."""
    hardening = noise.summary.get("hardening")
    if not hardening or hardening["methods"][0]["method"] != "adaptive":
        return None
    row = next((row for row in hardening["steps"] if (row["part"], row["round"]) == (part, int(step))
                and row["attack"] == hardening["attack"] and row["attack"] in OPTIMISED), None)
    if row is None:
        return None
    found: Estimate | None = (row["cells"].get(mas) or {}).get("san") if mas else row["auc"]
    return found


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
