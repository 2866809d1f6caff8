"""Reads as aligned arrays: n cases by f networks, clean and after each attack at each level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.metrics.intervals import Flags, Floats, Ints
from steadyread.registry import ATTACKS, LAST, THREATS

Strings = NDArray[np.str_]
UNDECIDED = -1
LINF, ALL = "Linf", "all"     # the threat of changes of pixels; all of its attacks merged
CT_NOISE = "CTNoise"          # the threat whose levels are doses, not sizes of a change
ORIGINAL = "original"
RANDOM, INFLATED = "random_ct_noise", "inflated_ct_noise"
POOLED, PAPER, PAPER_HU = "pooled_ct_noise", "paper_ct_noise", "paper_hu_ct_noise"
RINGS, PLAUSIBLE = "rings_ct_noise", "plausible_ct_noise"
KNOWN = (RANDOM, INFLATED, POOLED, PAPER, PAPER_HU, RINGS, PLAUSIBLE)
OPTIMISED = KNOWN[2:]
PARTS = ("train", "validation", "test")
Dose = tuple[str, float]      # attack, mAs
_NOTHING: Mapping[str, Floats] = MappingProxyType({})


def noise_attack(name: str) -> str:
    """The attack of the records that a study calls `rings`, `paper` and so on."""
    return f"{name}_ct_noise"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attack at one level did to each case in each network, every array (n, f), aligned with `Reads`.

    `level` is that of the threat's axis (the largest change in native units, or mAs), in `unit` ("" for that of the
    images); NaN for a search for the smallest. Of `trials` (draws, starts; NaN where there is no row) `flips` changed
    the prediction from the reference. `prediction` is that of the returned image, `found` the realised largest change
    in native units: the stated size where it exceeds that by rounding only, inf where no flip was found. An undecided
    read is no read: any change flips it. `measured` holds what else was recorded of the returned image or its noise,
    by the names of `records`, NaN where it was not.
    """

    attack: str
    threat: str
    against: str
    level: float
    trials: Floats
    flips: Floats
    prediction: Ints
    found: Floats
    measured: dict[str, Floats] = field(default_factory=dict)
    unit: str = ""

    def __getitem__(self, name: str) -> Floats:
        """What was measured under that name, (n, f)."""
        return self.measured[name] if name in self.measured else np.full(self.trials.shape, np.nan)

    @property
    def fixed(self) -> bool:
        """Whether it was tried at a stated level (the smallest flip was not)."""
        return bool(np.isfinite(self.level))

    @property
    def present(self) -> Flags:
        """Where there is a row, (n, f)."""
        tried: Flags = self.trials > 0
        return tried

    @property
    def flipped(self) -> Flags:
        """Where at least one trial flipped, (n, f)."""
        once: Flags = self.flips > 0
        return once

    @property
    def rate(self) -> Floats:
        """The share of trials that flipped, NaN where there is no row: [B]'s SAR, eq. 8."""
        found: Floats = np.divide(self.flips, self.trials, out=np.full(self.flips.shape, np.nan),
                                  where=self.present)
        return found

    def known(self, values: Flags | Floats) -> Floats:
        """Values (n, f) where there is a row, NaN elsewhere."""
        return np.where(self.present, values, np.nan)

    def of(self, rows: Ints | Flags | tuple[NDArray[Any], ...]) -> "Outcome":
        """The same of some cases, or of some cases and networks."""
        return replace(self, trials=self.trials[rows], flips=self.flips[rows], prediction=self.prediction[rows],
                       found=self.found[rows],
                       measured={name: values[rows] for name, values in self.measured.items()})

    def within(self, chosen: Flags) -> "Outcome":
        """The same with no row outside of the `chosen` reads (n, f)."""
        def only(values: Floats) -> Floats:
            return np.where(chosen, values, np.nan)

        return replace(self, trials=only(self.trials), flips=only(self.flips),
                       measured={name: only(values) for name, values in self.measured.items()})


@dataclass(frozen=True, eq=False)
class Reads:
    """The clean reads of n cases by f networks (the folds of one variant) with what every attack made of them.

    `label` (n,) is -1 where unknown. `there` (n, f) says which network read which case, `part` as what ("" where it
    did not); `prediction` (n, f) is -1 where undecided or absent, `logits` (n, f, k) NaN where absent. `scores` are
    further ones of how steady each read is (n, f), higher for steadier and NaN where a read has none. The order is
    that of the case ids, so that no number depends on the order of the work.
    """

    case_id: Strings
    patient: Strings
    label: Ints
    folds: tuple[int, ...]
    there: Flags
    part: Strings
    prediction: Ints
    logits: Floats
    outcomes: tuple[Outcome, ...] = ()
    scores: Mapping[str, Floats] = field(default_factory=lambda: _NOTHING)
    variant: str = ""

    def __len__(self) -> int:
        return len(self.case_id)

    @property
    def patients(self) -> Strings:
        """The patient of each read, (n, f)."""
        return np.broadcast_to(self.patient[:, None], self.there.shape)

    @property
    def labels(self) -> Ints:
        """The label of each read, (n, f)."""
        return np.broadcast_to(self.label[:, None], self.there.shape)

    @property
    def known(self) -> Flags:
        """Where there is a read of a case whose label is known, (n, f)."""
        return self.there & (self.labels >= 0)

    @property
    def correct(self) -> Flags:
        """Where the clean read is right, (n, f)."""
        right: Flags = self.known & (self.prediction == self.labels)
        return right

    @cached_property
    def margin(self) -> Floats:
        """The logit of the clean prediction minus the best other, (n, f); NaN where undecided or absent."""
        k = self.logits.shape[-1]
        return margins(self.logits.reshape(-1, k), self.prediction.ravel()).reshape(self.there.shape)

    def inside(self, part: str) -> Flags:
        """Where a network has the case in that part, (n, f)."""
        chosen: Flags = self.there & (self.part == part)
        return chosen

    @property
    def judged(self) -> str:
        """The part that is judged: test where there is one, else the first that has reads."""
        return next((part for part in ("test", "validation", "train") if self.inside(part).any()), "test")

    def smallest_flip(self, against: str) -> Outcome | None:
        """The search for the smallest flip, where one was recorded."""
        return next((outcome for outcome in self.outcomes
                     if outcome.attack == "smallest_flip" and outcome.against == against), None)

    def searches(self, against: str) -> list[Outcome]:
        """Other searches for a size of each image's own, that a study was asked to set beside the smallest flip."""
        return [outcome for outcome in self.outcomes if outcome.against == against and outcome.attack in ATTACKS
                and ATTACKS[outcome.attack].searches]

    def fixed(self, against: str) -> list[Outcome]:
        """The attacks of sizes in the images' unit, by attack (FGSM, BIM, PGD, others), then size."""
        chosen = [outcome for outcome in self.outcomes if outcome.fixed and outcome.against == against
                  and outcome.threat != CT_NOISE and not outcome.unit]
        return sorted(chosen, key=lambda outcome: (*rank(outcome.attack), outcome.level))

    def otherwise(self, against: str) -> list[Outcome]:
        """The attacks of levels in another unit (CT noise apart), by attack, then from weak to strong."""
        def strength(outcome: Outcome) -> float:
            falls = outcome.threat in THREATS and THREATS[outcome.threat].stronger == "smaller"
            return -outcome.level if falls else outcome.level

        chosen = [outcome for outcome in self.outcomes if outcome.fixed and outcome.against == against
                  and outcome.threat != CT_NOISE and outcome.unit]
        return sorted(chosen, key=lambda outcome: (*rank(outcome.attack), strength(outcome)))

    @cached_property
    def under(self) -> Mapping[Dose, Outcome]:
        """The CT noise against the prediction, by attack and mAs."""
        chosen = {(outcome.attack, outcome.level): outcome for outcome in self.outcomes
                  if outcome.threat == CT_NOISE and outcome.against == "prediction"}
        return dict(sorted(chosen.items()))

    def doses(self, attack: str = RANDOM) -> list[float]:
        """The doses at which CT noise of an attack was tried, ascending."""
        return sorted(mas for name, mas in self.under if name == attack)

    @property
    def noises(self) -> list[str]:
        """The kinds of CT noise tried, as the paper goes, those not known to this version last."""
        names = {name for name, _ in self.under}
        return [name for name in KNOWN if name in names] + sorted(names - set(KNOWN))

    def of(self, cases: Ints | Flags, networks: Sequence[int] | None = None) -> "Reads":
        """The reads of some cases by all networks, or by those at some places."""
        rows: Any = cases if networks is None else np.ix_(cases, np.asarray(networks, np.int64))
        return replace(
            self, case_id=self.case_id[cases], patient=self.patient[cases], label=self.label[cases],
            folds=self.folds if networks is None else tuple(self.folds[at] for at in networks),
            there=self.there[rows], part=self.part[rows], prediction=self.prediction[rows],
            logits=self.logits[rows],
            outcomes=tuple(outcome.of(rows) for outcome in self.outcomes),
            scores={name: score[rows] for name, score in self.scores.items()})


def rank(attack: str) -> tuple[float, str]:
    """Where an attack stands in tables: by its order (FGSM, BIM, PGD as in the paper), then by name."""
    return (ATTACKS[attack].order if attack in ATTACKS else LAST, attack)


def decided(logits: Floats) -> Flags:
    """Where the two highest of the logits (n, k) are finite, (n,), as `classifier.decided` has it.

    A class at -inf is ruled out; NaN, +inf or fewer than two classes left make no read.
    """
    if logits.shape[1] < 2:
        return np.zeros(len(logits), dtype=bool)
    return np.asarray(np.isfinite(np.partition(logits, -2, axis=1)[:, -2:]).all(1))   # NaN is sorted above +inf


def margins(logits: Floats, prediction: Ints) -> Floats:
    """The logit of the prediction minus the best other, (n,), of logits (n, k); NaN where undecided."""
    known = (prediction >= 0) & (prediction < logits.shape[1]) & decided(logits)
    found = np.full(len(logits), np.nan)
    if known.any():
        own = np.take_along_axis(logits[known], prediction[known][:, None], axis=1)[:, 0]
        others = logits[known].copy()
        np.put_along_axis(others, prediction[known][:, None], -np.inf, axis=1)
        found[known] = own - others.max(1)
    return found


def columns_of(cases: Sequence[Mapping[str, Any]], names: Strings) -> dict[str, NDArray[np.object_]]:
    """What is known of the named cases, column by column (n,), None where nothing is."""
    known = {str(row.get("case_id", "")): row for row in cases}
    columns = dict.fromkeys(key for row in cases for key in row)
    return {column: np.array([_told(known.get(str(name), {}).get(column)) for name in names] + [None],
                             dtype=object)[:-1] for column in columns}


def _told(value: Any) -> Any:
    """A cell of a table; empty text, "unknown" and the like are None."""
    text = "" if value is None else str(value).strip()
    return None if text.lower() in ("", "nan", "none", "unknown") else value
