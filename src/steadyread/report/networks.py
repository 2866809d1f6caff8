"""Every network of a run beside the others: each data set, network, stage and round under every threat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.plan import bounds_of, class_names, section, share_to_withhold
from steadyread.metrics.reads import CT_NOISE, LINF
from steadyread.metrics.tidy import ABOVE, AUC, Number, headline, numbers_of
from steadyread.metrics.triage import triage
from steadyread.report.referral import Referral, referral_of
from steadyread.report.shareable import Shareable
from steadyread.store import PLAIN, Cell, Opened
from steadyread.units import Bounds

_LISTED = 4_000      # reads of all findings on a page, by each score


@dataclass(frozen=True, eq=False)
class Network:
    """The numbers of one network, or of those of its folds, of one stage; `folds` counts them. `part` is the one that
    is judged. `triage` is that of a finding, with smallest flips to go by; `image_noise` the SD of the noise in the
    images (native units), where it is known."""

    cell: Cell
    folds: int
    part: str
    bounds: Bounds
    numbers: tuple[Number, ...]
    triage: Mapping[str, Any] | None = None
    image_noise: float | None = None

    @property
    def title(self) -> str:
        """Its name, with that of its data set where there are several."""
        return ", ".join(filter(None, (self.cell.data.replace("_", " "), self.cell.network.replace("_", " "))))

    @property
    def finding(self) -> bool:
        """Whether it is one finding of a network of several."""
        return self.cell.finding

    @property
    def stage(self) -> str:
        """Its stage, with the round where it has one."""
        return f"{self.cell.stage}, round {self.cell.round}" if self.cell.round else self.cell.stage

    @property
    def where(self) -> dict[str, str]:
        """The columns that say which network a number is of."""
        name = self.cell.data or str(section(self.cell.plan, "data").get("name", ""))
        return {"set": name, "network": self.cell.network, "stage": self.stage, "part": self.part}

    def number(self, measure: str, threat: str = "") -> Number | None:
        """A measure without a level: against the label where that was tried; None where it was not measured. The AUC of
        ratings is that of those above 3."""
        named = (measure, ABOVE) if measure == AUC else (measure,)
        known = [each for each in self.numbers if each.measure in named and each.threat == threat
                 and each.level is None]
        return next((each for each in known if each.against != "prediction"), known[0] if known else None)

    def estimate(self, measure: str, threat: str = "") -> Estimate | None:
        """A measure without a level, as its estimate."""
        found = self.number(measure, threat)
        return found.estimate if found is not None else None

    def headline(self, threat: str, beside: "Sequence[Network]" = ()) -> Number | None:
        """The number that speaks for a threat, at a level that the networks `beside` it have too."""
        return headline(self.numbers, threat, self.bounds, [other.numbers for other in beside])


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of a run, those of one data set or of several."""

    label: ClassVar[str] = "networks"
    networks: tuple[Network, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every number of every network as one row of `metrics.tidy.COLUMNS`."""
        return [number.row(network.where) for network in self.networks for number in network.numbers]

    @property
    def threats(self) -> list[str]:
        """Under what they were assessed."""
        return [threat for threat in (LINF, CT_NOISE) if any(
            each.threat == threat for network in self.networks for each in network.numbers)]

    @property
    def sets(self) -> list[str]:
        """The data sets, in their order."""
        return list(dict.fromkeys(network.cell.data for network in self.networks))

    def headline(self, network: Network, threat: str) -> Number | None:
        """The number of a network that speaks for a threat, at a level that all networks of its data set have."""
        return network.headline(threat, [other for other in self.networks if other.cell.data == network.cell.data])

    @property
    def folded(self) -> bool:
        """Whether any has several folds."""
        return any(network.folds > 1 for network in self.networks)

    @property
    def findings(self) -> list[Network]:
        """The findings of a network of several."""
        return [network for network in self.networks if network.finding]

    def referrals(self, opened: Opened, shared: Shareable) -> dict[str, Referral]:
        """Which reads of each finding to refer, that of the run's own first; none where there are no two of them."""
        sorted_by = {each.cell.network: each for each in self.findings
                     if each.triage and each.cell.stage == PLAIN and not each.cell.round}
        found = {}
        for run in opened.select(stage=PLAIN).networks() if len(sorted_by) > 1 else ():
            one = sorted_by.get(run.cells[0].network)
            if one is not None and one.triage is not None:
                found[one.title] = referral_of(run.reads(), one.triage, class_names(run.plan, 0), one.bounds, shared,
                                               _LISTED // len(sorted_by))
        own = sorted_by.get(opened.own.cells[0].network)
        known = [(title, each) for title, each in found.items() if each is not None]
        return dict(sorted(known, key=lambda each: own is None or each[0] != own.title))

    @property
    def told_elsewhere(self) -> bool:
        """Whether the sections of one threat tell of every one of them: nothing is to be set side by side then."""
        if any(self.sets) or len(self.threats) > 1:
            return False
        several = len({network.cell.network for network in self.networks}) > 1
        return self.threats == [CT_NOISE] or not (several or self.folded)


def networks_of(opened: Sequence[Opened], seed: int = 0) -> Networks:
    """The networks of runs, each with all its numbers."""
    made = []
    for run in opened:
        for network in run.networks():
            plan, reads, cell = network.plan, network.reads(), network.cells[0]
            validation = network.reads("validation") if reads.judged == "test" else None
            elsewhere = validation if validation is not None and len(validation) else None
            sorted_by = triage(reads, elsewhere, share_to_withhold(plan), seed) if (
                cell.finding and reads.smallest_flip("prediction") is not None) else None
            made.append(Network(cell, len(network.cells), reads.judged, bounds_of(plan),
                                tuple(numbers_of(reads, plan, seed, elsewhere)), sorted_by, network.image_noise))
    return Networks(tuple(made))
