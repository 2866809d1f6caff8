"""How the networks of a noise study classify clean images, and what tells the label without a network."""

from collections.abc import Iterator

from steadyread.metrics.noise_summary import GIVEAWAYS
from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Text, grid
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.table import Column, table
from steadyread.words.noise import plus_minus

_VALUES = ("auc", "accuracy", "sensitivity", "specificity")
_COPIED = 0.8     # of the images that have copied slices in one class, from which on "nearly only" is said


@section("Classification of the clean images", of=Noise, order=505)
def clean_reads(noise: Noise) -> Iterator[Item]:
    """[B] Table 1."""
    s = noise.summary
    if not s["classification"]:
        yield Text("No read has a label.")
        return
    columns = [Column("Part", forms.TEXT), Column("Images", forms.COUNT), Column("AUC", forms.folded(1, 3)),
               *(Column(f"{name}, %", forms.folded()) for name in ("Accuracy", "Sensitivity", "Specificity"))]
    rows = [(row["part"].capitalize(), row["cases"], *(row[name] for name in _VALUES)) for row in s["classification"]]
    yield table(columns, rows, tone="snug", above=f"{noise.over_folds}, of {s['variant']}.")
    if s["without_copies"]:
        yield Text(_without_copies(noise))
    yield Text(f"Images of a part: all that any fold has in it. Sensitivity is for {noise.class_name(1)}, specificity "
               f"for {noise.class_name(0)}.", "note")
    yield grid((Heading("What gives the label away without a network"), *_giveaways(noise)), Figure("roc"))


def _without_copies(noise: Noise) -> str:
    kept = noise.summary["without_copies"]
    auc, part, first = kept["auc"], kept["part"], noise.class_name(0)
    low = f"; 95 %: {forms.interval(auc, 1, 3)}" if auc.low is not None else ""
    only = kept["labels"][0] >= _COPIED * kept["copied"]
    which = f"nearly only in {first} nodules" if only else "in images of one class more than of another"
    return (f"AUC among the {kept['cases']} {part} images without copied slices: {plus_minus(auc, 1, 3)} (mean ± SD "
            f"over folds{low}). Copies are seen {which} ({kept['labels'][0]} of the {kept['copied']} {part} images "
            f"that have them are {first}), so a network can tell the label by them without seeing tissue.")


def _giveaways(noise: Noise) -> Iterator[Item]:
    known = {name: auc for name, auc in noise.summary["giveaways"].items() if auc is not None}
    if not known:
        yield Text("Whether padding or diameter alone gives the label away was not checked.")
        return
    yield table([Column("Alone", forms.TEXT), Column("AUC", forms.only(2, 1))],
                [(words, known[name]) for name, words in GIVEAWAYS.items() if name in known],
                note="A network that sees no more than these says nothing about the tissue. 0.5 is chance.")
