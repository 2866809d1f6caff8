"""Whether noise pushes the reads or shakes them, and whether P(flip) can be trusted."""

from collections.abc import Iterator

from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Text, grid
from steadyread.report.marks import bold, mark
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.table import As, Column, begun, table
from steadyread.words.noise import architecture_said, belief_said, class_name, drift_said
from steadyread.words.numbers import digits

_FEWEST = 60     # hard pairs wanted


@section("Drift and jitter", of=Noise, order=630)
def drift(noise: Noise) -> Iterator[Item]:
    """Median drift and jitter by dose and class read, and the laws that they follow."""
    s = noise.summary
    if not s["drift"]:
        yield Text("Drift and jitter were not recorded.")
        return
    yield Text(f"{drift_said(s)} Where drift dominates, noise pushes every read of a class the same way, and another "
               "scan at that dose does not average it away; where jitter dominates, it does.")
    two = len(s["classes"]) == 2
    columns = [Column("mAs", forms.DOSE), Column("Read as", forms.TEXT), Column("Reads", forms.COUNT),
               Column("Margin", forms.DIGITS),
               *([Column("Drift of the margin", forms.DIGITS), Column(f"towards {s['classes'][1]}",
                                                                      forms.DIGITS_BESIDE)]
                 if two else [Column("Drift of the margin", forms.DIGITS_BESIDE)]),
               Column("Jitter", forms.DIGITS_BESIDE), Column("|drift| / jitter", forms.DIGITS_BESIDE)]
    rows = [(row["mas"], class_name(s, row["class"]), row["reads"], row["margin"].value,
             *((row["drift"].value, row["towards"]) if two else (row["drift"],)), row["jitter"], row["ratio"])
            for row in s["drift"]]
    yield table(columns, begun(rows), tone="snug", note=(
        "Medians over reads, in logits. Below 0, drift of the margin goes towards a flip. |drift| is corrected for its "
        "own error, read by read: √(max(0, d² − s²/K)) of the mean d and standard deviation s of K draws, since "
        "without this |drift| / jitter would be 0.67/√K with no drift at all; the signed drift is not corrected."
        f"{_laws(noise)}"))
    yield grid(Figure("drift_jitter"), (Heading("Is it the architecture?"), Text(architecture_said(s) or (
        "That cannot be told here: no network with strided convolutions was trained beside the one that pools."))))


def _laws(noise: Noise) -> str:
    laws = [f"read as {class_name(noise.summary, row['class'])}, |drift| ~ mAs{_power(row['size'].value)}, jitter ~ "
            f"mAs{_power(row['jitter'].value)}" for row in noise.summary["laws"]
            if row["size"].value is not None and row["jitter"].value is not None]
    return f" Fitted over the doses: {'; '.join(laws)}. Small noise would give −1 and −0.5." if laws else ""


def _power(exponent: float) -> str:
    return mark("sup", digits(exponent))


@section("Can P(flip) be trusted?", of=Noise, order=640)
def chance_of_flip(noise: Noise) -> Iterator[Item]:
    """P(flip) from margin, drift and jitter against the count of many draws."""
    counted = noise.summary["counted"]
    yield Text(belief_said(noise.summary))
    if not counted or not counted["pairs"]:
        return
    draws = " or ".join(map(str, counted["draws"]))
    named = Column(f"Against {' or '.join(map(str, counted['trials']))} draws counted", forms.WRAPPED)
    error = forms.share(1, 3)
    rows = [(f"Root mean square error of P(flip), {draws} draws", As(counted["rmse"], error)),
            ("The same, counting those draws", As(counted["rmse_few"], error)),
            ("Gained (above 0: P(flip) is better)", As(counted["rmse_gain"], error)),
            ("95 % intervals that hold the count, %", counted["covered"]),
            ("Hard pairs (counted P from 2 to 98 %)", As(
                (counted["pairs"], f"of {counted['all']}, {counted['images']} images"), forms.TEXTS))]
    if counted["not_normal"] is not None:
        rows.append(("Pairs whose draws do not look Gaussian, %", As(
            (forms.number(counted["not_normal"]), "counted instead"), forms.TEXTS)))
    few = f" {bold(f'Here there are fewer than {_FEWEST}.')}" if counted["pairs"] < _FEWEST else ""
    yield grid(table([named, Column("Value", forms.share())], rows, note=(
        "Most pairs of image and dose flip always or never, where one draw suffices: only hard ones are judged, at "
        f"doses near each image's critical mAs. Target: at least {_FEWEST} pairs, a smaller error than counting, 90 % "
        f"of the intervals.{few}")), Figure("counted"))
