"""How well the network tells the classes apart on clean images."""

from collections.abc import Iterator

from steadyread.report import forms
from steadyread.report.items import Figure, Fold, Item, grid
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.table import As, Column, table


@section("Discrimination on clean images", of=Plain, order=500)
def discrimination(plain: Plain) -> Iterator[Item]:
    """AUC, accuracy, sensitivity and specificity or recalls, and the counts."""
    s, d = plain.summary, plain.summary["discrimination"]
    binary = d["classes"] == 2
    rows = [("AUC" if binary else "AUC, macro one against the rest", d["auc"], 1.0, 3),
            ("Accuracy, %", d["accuracy"], 100.0, 1)]
    if binary:
        rows += [(f"Sensitivity ({s['classes'][1]}), %", d["sensitivity"], 100.0, 1),
                 (f"Specificity ({s['classes'][0]}), %", d["specificity"], 100.0, 1)]
    else:
        rows += [(f"Recall of {s['classes'][at]}, %", found, 100.0, 1) for at, found in enumerate(d["recall"])]
    values = table([Column("Measure", forms.TEXT), Column("Value", forms.share()), Column("Images", forms.COUNT)],
                   [(name, As(found, forms.share(scale, decimals)), found.n) for name, found, scale, decimals in rows])
    counts = table([Column("Label", forms.TEXT),
                    *(Column(f"read as {name}", forms.COUNT) for name in s["classes"][:d["classes"]])],
                   [(s["classes"][at], *row) for at, row in enumerate(d["confusion"])], tone="snug")
    yield grid((values, Fold("Counts: label by prediction", (counts,), open=binary)), Figure("roc"))
