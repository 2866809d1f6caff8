"""The networks side by side: data sets, networks, folds and stages under every threat of the study."""

from collections.abc import Iterator

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise_hardening import BEFORE
from steadyread.metrics.reads import CT_NOISE, RANDOM
from steadyread.metrics.tidy import ALL, LINF
from steadyread.report import forms
from steadyread.report.items import Item
from steadyread.report.networks import Network, Networks, compared_dose, quoted
from steadyread.report.section import section
from steadyread.report.table import Column, Form, begun, table
from steadyread.units import unit_word
from steadyread.words.numbers import NONE, digits

_AGAIN = f" {BEFORE.capitalize()}: the network that was hardened, judged again by the draws of the hardened ones."


@section("The networks side by side", of=Networks, order=150)
def networks(found: Networks) -> Iterator[Item]:
    """A row a network and stage: clean, under changes of any pixels, under noise."""
    if found.told_elsewhere:
        return
    several = len(found.sets) > 1
    columns = [*([Column("Set", forms.TEXT)] if several else []), Column("Network", forms.TEXT, head=True),
               Column("Stage", forms.TEXT), *([Column("Folds", forms.COUNT)] if found.folded else []),
               Column("AUC", forms.stacked(1, 3), "Clean"), Column("Accuracy, %", forms.stacked(), "Clean")]
    if LINF in found.threats:
        columns += [Column("Half flip at", _SIZE, "Any pixels changed"),
                    Column("Robust accuracy, %", _AT_SIZE, "Any pixels changed")]
    if CT_NOISE in found.threats:
        columns.append(Column("Reads changed by one draw, %", _AT_DOSE, "CT noise"))
    rows = []
    for network in found.networks:
        cell = network.cell
        stage = f"{cell.stage}, round {cell.round}" if cell.round else cell.stage
        rows.append((*([cell.data.replace("_", " ")] if several else []), cell.network.replace("_", " "), stage,
                     *([network.folds] if found.folded else []), _estimate(network, "AUC"),
                     _estimate(network, "accuracy"), *([network, network] if LINF in found.threats else []),
                     *([network] if CT_NOISE in found.threats else [])))
    again = any(network.cell.stage == BEFORE for network in found.networks)
    yield table(columns, begun(rows), tone="snug", above="Every network of the study that has records. Sizes are the "
                "largest change of any one pixel; reads are right or wrong by the label, and changed by noise where "
                "the prediction is another than that of the clean image.",
                note=f"Intervals are 95 %, over patients{'; of several folds together' if found.folded else ''}. A "
                f"dash: not judged under that threat.{_AGAIN if again else ''}")


def _estimate(network: Network, measure: str) -> Estimate | None:
    found = network.number(measure)
    return found.estimate if found is not None else None


def _median(network: Network) -> str:
    found = network.number("median_smallest_flip", LINF)
    if found is None or found.estimate.value is None:
        return NONE
    unit = unit_word(found.unit, found.estimate.value) or "units"
    return f"{digits(found.estimate.value)} {unit}"


def _median_between(network: Network) -> str:
    found = network.number("median_smallest_flip", LINF)
    if found is None or found.estimate.low is None or found.estimate.high is None:
        return ""
    return f"{digits(found.estimate.low)} to {digits(found.estimate.high)}"


def _robust(network: Network) -> Estimate | None:
    size = quoted(network)
    found = network.number("robust_accuracy", LINF, ALL, size) if size is not None else None
    return found.estimate if found is not None else None


def _robust_where(network: Network) -> str:
    size, found = quoted(network), _robust(network)
    if size is None or found is None:
        return ""
    return f"{forms.interval(found)}\nat {digits(size)} {unit_word(network.bounds.unit, size) or 'units'}"


def _noisy(network: Network) -> Estimate | None:
    dose = compared_dose(network)
    found = network.number("changed_by_one_draw", CT_NOISE, RANDOM, dose) if dose is not None else None
    return found.estimate if found is not None else None


def _noisy_where(network: Network) -> str:
    dose, found = compared_dose(network), _noisy(network)
    return "" if dose is None or found is None else f"{forms.interval(found)}\nat {dose:g} mAs"


def _share(found: Estimate | None) -> str:
    return forms.number(found.value if found is not None else None)


_SIZE = Form(_median, beneath=_median_between)
_AT_SIZE = Form(lambda network: _share(_robust(network)), beneath=_robust_where)
_AT_DOSE = Form(lambda network: _share(_noisy(network)), beneath=_noisy_where)
