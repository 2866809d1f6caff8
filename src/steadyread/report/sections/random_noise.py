"""How many reads random noise changes, at each dose."""

from collections.abc import Iterator, Sequence
from typing import Any

from steadyread.metrics.reads import RANDOM
from steadyread.report import forms
from steadyread.report.items import Figure, Item, Text, grid
from steadyread.report.marks import term
from steadyread.report.noise import Noise, Summary
from steadyread.report.section import section
from steadyread.report.table import Band, Cell, Column, Row, table
from steadyread.words.numbers import percent


@section("Random noise", of=Noise, order=600)
def random_noise(noise: Noise) -> Iterator[Item]:
    """[B] Table 2, random noise: train and the judged part; [B] Figs 7 and 8."""
    s = noise.summary
    within = {row["mas"]: row["san"] for row in s["within"]}
    judged = [mas for mas in s["doses"] if noise.row(RANDOM, mas, noise.part)]
    if not judged:
        yield Text("Random noise was not tried.")
        return
    draws = list(within.get(judged[0], {}))[1:]
    rows: list[Row | Band] = [_row(noise, mas, noise.part, [within[mas].get(k) for k in draws]) for mas in judged]
    trained = [mas for mas in s["doses"] if noise.row(RANDOM, mas, "train")]
    if trained and noise.part != "train":
        rows += [Band("Train"), *(_row(noise, mas, "train", [Cell("")] * len(draws)) for mas in trained)]
    yield table(_columns(noise, draws), rows, tone="snug", above=(
        f"Reads changed, %: mean ± SD over folds, of {s['variant']}; common draws over the doses."), note=(
        f"Once in K: {term('SAN')}, had only that many of the {s['trials']} draws been made.{_allowed(s)}"))
    yield grid(*map(Figure, ("sar_random_test", "sar_random_train")))


def _allowed(s: Summary) -> str:
    return "" if s["zero_allows"] is None else (
        f" No flip in {s['trials']} draws is still compatible with a {term('SAR')} of {percent(s['zero_allows'])}.")


def _columns(noise: Noise, draws: Sequence[str]) -> list[Column]:
    once, one_draw = f"{noise.part.capitalize()}, at least once in {noise.summary['trials']}", "In one draw"
    return [Column("mAs", forms.DOSE), Column("SAN", forms.folded(), once),
            Column("Rate", forms.folded(), one_draw), *(Column(k, forms.only(), "Once in K =") for k in draws),
            Column("SAR5, %", forms.mean_sd())]


def _row(noise: Noise, mas: float, part: str, within: Sequence[Any]) -> Row:
    row = noise.row(RANDOM, mas, part) or {}
    return Row((mas, row["san"], row["one_draw"], *within, row["sar5"]))
