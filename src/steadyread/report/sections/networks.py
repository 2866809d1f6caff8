"""The networks side by side: data sets, networks, folds and stages under every threat of the study."""

from collections.abc import Iterator
from dataclasses import replace

from steadyread.metrics.hardened import BEFORE
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import CT_NOISE, LINF
from steadyread.metrics.tidy import AUC
from steadyread.report import forms
from steadyread.report.items import Item
from steadyread.report.networks import Network, Networks
from steadyread.report.section import section
from steadyread.report.table import As, Column, Form, begun, table
from steadyread.units import unit_word
from steadyread.words.numbers import NONE, digits

_AGAIN = f" {BEFORE.capitalize()}: the network that was hardened, judged again by the draws of the hardened ones."


@section("The networks side by side", of=Networks, order=410)
def networks(found: Networks) -> Iterator[Item]:
    """A row a network and stage: clean, under changes of any pixels, under noise."""
    if found.told_elsewhere or found.findings:
        return
    several, kinds = any(found.sets), len({network.cell.network for network in found.networks}) > 1
    columns = [*([Column("Set", forms.TEXT)] if several else []),
               *([Column("Network", forms.TEXT, head=True)] if kinds else []),
               Column("Stage", forms.TEXT, head=not kinds), *([Column("Folds", forms.COUNT)] if found.folded else []),
               Column("AUC", forms.stacked(1, 3), "Clean"), Column("Accuracy, %", forms.stacked(), "Clean")]
    if LINF in found.threats:
        columns += [Column("Half flip at", HALF, "Any pixels changed"),
                    Column("Robust accuracy, %", headline_form(found, LINF), "Any pixels changed")]
    if CT_NOISE in found.threats:
        columns.append(Column("Reads changed by one draw, %", headline_form(found, CT_NOISE), "CT noise"))
    rows = []
    for network in found.networks:
        cell = network.cell
        rows.append((*([cell.data.replace("_", " ")] if several else []),
                     *([cell.network.replace("_", " ")] if kinds else []), network.stage,
                     *([network.folds] if found.folded else []), area_shown(network),
                     network.estimate("accuracy"), *([network, network] if LINF in found.threats else []),
                     *([network] if CT_NOISE in found.threats else [])))
    again = any(network.cell.stage == BEFORE for network in found.networks)
    noisy = ", and changed by noise where the prediction differs from that of the clean image" \
        if CT_NOISE in found.threats else ""
    yield table(columns, begun(rows), tone="snug", above="Every network of the study that has records. Sizes are the "
                f"largest change of any one pixel; reads are right or wrong by the label{noisy}.",
                note=f"Intervals are 95 %, over patients{'; of several folds together' if found.folded else ''}. A "
                f"dash: not judged under that threat.{_AGAIN if again else ''}")


def area_shown(network: Network) -> As | Estimate | None:
    """The AUC, of ratings with what it is of."""
    found = network.number(AUC)
    form = forms.stacked(1, 3)
    beneath = form.beneath or str
    return None if found is None else found.estimate if found.measure == AUC else As(found.estimate, replace(
        form, beneath=lambda value: f"{beneath(value)}\nratings above 3"))


def _median(network: Network) -> str:
    found = network.estimate("median_smallest_flip", LINF)
    return NONE if found is None or found.value is None else _sized(found.value, network.bounds.unit)


def _median_between(network: Network) -> str:
    found = network.estimate("median_smallest_flip", LINF)
    return "" if found is None or found.low is None else forms.between(found, digits)


def _sized(level: float, unit: str) -> str:
    return f"{digits(level)} {unit_word(unit, level) or 'units'}"


def headline_form(networks: Networks, threat: str) -> Form:
    """The number that speaks for a threat, its interval and level beneath."""
    def value(network: Network) -> str:
        found = networks.headline(network, threat)
        return forms.number(found.estimate.value if found is not None else None)

    def beneath(network: Network) -> str:
        found = networks.headline(network, threat)
        return "" if found is None or found.level is None else (
            f"{forms.interval(found.estimate)}\nat {_sized(found.level, found.unit)}")

    return Form(value, beneath=beneath)


HALF = Form(_median, beneath=_median_between)
