"""Whether another architecture stands noise better."""

from collections.abc import Iterator
from typing import Any

from steadyread.report import forms
from steadyread.report.items import Figure, Item, Text, grid
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.table import Column, table
from steadyread.words.noise import variant_name


@section("Architectures", of=Noise, order=670)
def architectures(noise: Noise) -> Iterator[Item]:
    """[B] Table 3, with drift over jitter by class read."""
    s = noise.summary
    if len(s["table_3"]) < 2:
        yield Text(f"Only {s['variant']} was trained: nothing to compare.")
        return
    train, test, ratio = "Train, %", "Test, %", "|drift| / jitter, read as"
    columns = [Column("Network", forms.TEXT), Column("Folds", forms.COUNT), Column("AUC", forms.mean_sd(1, 3)),
               Column("SAN", forms.mean_sd(), train), Column("SAN", forms.folded(), test),
               Column("One draw, %", forms.mean_sd()),
               *(Column(noise.class_name(number), forms.DIGITS, ratio) for number in (0, 1))]
    five = "" if all(row["classes"] != 5 for row in s["table_3"]) else (
        "Five classes: the prediction is one of the ratings 1 to 5, so a change from 1 to 2 is a flip; its AUC is of "
        "rated above 3.")
    yield table(columns, [_row(noise, row) for row in s["table_3"]], tone="snug", above=(
        f"Random noise at {noise.dose}: SAN, mean ± SD over folds, and the AUC of the clean images. "
        "A network that barely flips may only be one that "
        "says the same of everything: read SAN beside AUC."), note=five)
    yield grid(Figure("variants"))


def _row(noise: Noise, row: dict[str, Any]) -> tuple[Any, ...]:
    ratio = {drift["class"]: drift["ratio"].value for drift in noise.summary["variant_drift"]
             if drift["variant"] == row["variant"]}
    train, test = row["train"] or {}, row["test"] or {}
    return (variant_name(row["variant"]), row["folds"], row["auc"], train.get("san"), test.get("san"),
            test.get("one_draw"), ratio.get(0), ratio.get(1))
