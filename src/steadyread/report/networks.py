"""Every network of a run beside the others: each data set, network, stage and round under every threat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from steadyread.metrics.plan import bounds_of
from steadyread.metrics.reads import CT_NOISE, RANDOM
from steadyread.metrics.tidy import ALL, LINF, Number, numbers_of
from steadyread.report.cards import QUOTED
from steadyread.store import Cell, Opened
from steadyread.units import Bounds

REFERENCE_MAS = 100.0     # the dose nearest to which networks are compared, as [B] Table 3 does


@dataclass(frozen=True, eq=False)
class Network:
    """The numbers of one network, or of those of its folds, of one stage; `folds` counts them."""

    cell: Cell
    folds: int
    bounds: Bounds
    numbers: tuple[Number, ...]

    def number(self, measure: str, threat: str = "", attack: str = "", level: float | None = None) -> Number | None:
        """One of them: against the label where that was tried; None where it was not measured."""
        known = [each for each in self.numbers if (each.measure, each.threat) == (measure, threat)
                 and attack in ("", each.attack) and level in (None, each.level)]
        return next((each for each in known if each.against != "prediction"), known[0] if known else None)

    def levels(self, measure: str, threat: str, attack: str) -> list[float]:
        """The levels at which a measure is known."""
        return sorted({each.level for each in self.numbers if each.level is not None
                       and (each.measure, each.threat, each.attack) == (measure, threat, attack)})


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of a run, those of one data set or of several."""

    label: ClassVar[str] = "networks"
    networks: tuple[Network, ...]

    @property
    def threats(self) -> list[str]:
        """Under what they were assessed."""
        return [threat for threat in (LINF, CT_NOISE) if any(
            each.threat == threat for network in self.networks for each in network.numbers)]

    @property
    def sets(self) -> list[str]:
        """The data sets, in their order."""
        return list(dict.fromkeys(network.cell.data for network in self.networks))

    @property
    def folded(self) -> bool:
        """Whether any has several folds."""
        return any(network.folds > 1 for network in self.networks)

    @property
    def told_elsewhere(self) -> bool:
        """Whether the sections of one threat tell of every one of them: nothing is to be set side by side then."""
        if len(self.sets) > 1 or len(self.threats) > 1:
            return False
        several = len({network.cell.network for network in self.networks}) > 1
        return self.threats == [CT_NOISE] or not (several or self.folded)


def networks_of(opened: Sequence[Opened], seed: int = 0) -> Networks:
    """The networks of runs, each with all its numbers."""
    made = []
    for run in opened:
        for network in run.networks():
            plan = network.plan
            made.append(Network(network.cells[0], len(network.cells), bounds_of(plan),
                                tuple(numbers_of(network.reads(), plan, seed))))
    return Networks(tuple(made))


def quoted(network: Network) -> float | None:
    """The size nearest to the one that [A] quotes, in native units, at which the robust accuracy is known."""
    sizes = network.levels("robust_accuracy", LINF, ALL)
    return min(sizes, key=lambda size: abs(size / network.bounds.range - QUOTED), default=None)


def compared_dose(network: Network) -> float | None:
    """The dose nearest to the one that networks are compared at."""
    doses = network.levels("changed_by_one_draw", CT_NOISE, RANDOM)
    return min(doses, key=lambda dose: abs(dose - REFERENCE_MAS), default=None)
