"""Records of CT noise as aligned arrays: the networks of a variant's folds side by side, case by fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from steadyread.errors import InputRefused
from steadyread.metrics.intervals import Flags, Floats, Ints
from steadyread.metrics.plan import stages_of
from steadyread.metrics.reads import CT_NOISE, Strings, decided

ORIGINAL = "original"
RANDOM, INFLATED = "random_ct_noise", "inflated_ct_noise"
POOLED, PAPER, PAPER_HU = "pooled_ct_noise", "paper_ct_noise", "paper_hu_ct_noise"
RINGS, PLAUSIBLE = "rings_ct_noise", "plausible_ct_noise"
KNOWN = (RANDOM, INFLATED, POOLED, PAPER, PAPER_HU, RINGS, PLAUSIBLE)
OPTIMISED = KNOWN[2:]
PARTS = ("train", "validation", "test")
_NOISE = ("trials", "flips", "drift", "jitter", "sigma_hu", "ring_error", "kurtosis", "largest_local_sigma_hu",
          "z_correlation", "forwards", "backwards", "scan_mas")
Key = tuple[str, float]      # attack, mAs


@dataclass(frozen=True, eq=False)
class UnderNoise:
    """What one attack at one dose did to each case in each fold, every array (n, f), NaN where there is no row.

    `trials` draws or starts were counted, `flips` of them changed the prediction. `drift` and `jitter` are of the
    clean prediction's margin, in logits; sigmas in HU; see `records` for the rest.
    """

    trials: Floats
    flips: Floats
    drift: Floats
    jitter: Floats
    sigma_hu: Floats
    ring_error: Floats
    kurtosis: Floats
    largest_local_sigma_hu: Floats
    z_correlation: Floats
    forwards: Floats
    backwards: Floats
    scan_mas: Floats

    @property
    def flipped(self) -> Floats:
        """1 where at least one trial flipped, 0 where none did, NaN where there is no row."""
        return np.where(self.trials > 0, (self.flips > 0).astype(np.float64), np.nan)

    @property
    def rate(self) -> Floats:
        """The share of trials that flipped: [B]'s SAR, eq. 8."""
        found: Floats = np.divide(self.flips, self.trials, out=np.full(self.flips.shape, np.nan),
                                  where=self.trials > 0)
        return found


@dataclass(frozen=True, eq=False)
class Networks:
    """The reads of n cases by the f networks of one variant's folds.

    `part` (n, f) is "" where a fold has no clean read of the case; `label` (n,) is -1 where unknown, `prediction`
    (n, f) -1 where undecided or absent; `margin` (n, f) is of the clean prediction, `logits` (n, f, k), NaN where
    absent. `under` holds the noise by attack and dose.
    """

    variant: str
    folds: tuple[int, ...]
    case_id: Strings
    patient: Strings
    label: Ints
    part: Strings
    prediction: Ints
    margin: Floats
    logits: Floats
    under: Mapping[Key, UnderNoise] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.case_id)

    def inside(self, part: str) -> Flags:
        """Where a fold has the case in that part, (n, f)."""
        chosen: Flags = self.part == part
        return chosen

    @property
    def judged(self) -> str:
        """The part that is judged: test where there is one, else the first that has reads."""
        return next((part for part in ("test", "validation", "train") if self.inside(part).any()), "test")

    def doses(self, attack: str = RANDOM) -> list[float]:
        """The doses at which an attack was tried, ascending."""
        return sorted(mas for name, mas in self.under if name == attack)

    @property
    def attacks(self) -> list[str]:
        """The attacks tried, as the paper goes, those not known to this version last."""
        names = {name for name, _ in self.under}
        return [name for name in KNOWN if name in names] + sorted(names - set(KNOWN))


def networks_of(variant: str, tables: Mapping[int, pa.Table]) -> Networks:
    """The networks of a variant from the records of each fold.

    Of several stages the first of plain, hardened is taken. Rows of noise are those against the prediction.

    Raises:
        InputRefused: noise rows of a case without its clean row.
    """
    folds = tuple(sorted(tables))
    chosen = [_plain_stage(tables[fold]) for fold in folds]
    clean = [_clean(table) for table in chosen]
    names = np.unique(np.concatenate([np.zeros(0, str), *(_strings(table, "case_id") for table in clean)]))
    shape = (len(names), len(folds))
    width = max((_width(table) for table in clean), default=0)
    patient = np.full(len(names), "", dtype=object)
    label = np.full(len(names), -1, np.int64)
    part, prediction = np.full(shape, "", dtype=object), np.full(shape, -1, np.int64)
    margin, logits = np.full(shape, np.nan), np.full((*shape, width), np.nan)
    for at, table in enumerate(clean):
        rows = np.searchsorted(names, _strings(table, "case_id"))
        patient[rows], label[rows] = _strings(table, "patient_id"), _numbers(table, "label", -1).astype(np.int64)
        part[rows, at] = _strings(table, "part")
        prediction[rows, at] = _numbers(table, "prediction", -1).astype(np.int64)
        logits[rows, at] = _logits(table, width)
        margin[rows, at] = _margins(logits[rows, at], prediction[rows, at])
    under: dict[Key, dict[str, Floats]] = {}
    for at, table in enumerate(chosen):
        _fill(under, table, names, part[:, at], (*shape, at))
    return Networks(variant, folds, names, patient.astype(str), label, part.astype(str), prediction, margin, logits,
                    {key: UnderNoise(**arrays) for key, arrays in sorted(under.items())})


def _fill(under: dict[Key, dict[str, Floats]], table: pa.Table, names: Strings, part: NDArray[np.object_],
          place: tuple[int, int, int]) -> None:
    """Put one fold's noise rows into the arrays of their attack and dose."""
    n, folds, at = place
    noise = table.filter(pc.and_(pc.equal(table["threat"], CT_NOISE), pc.and_(
        pc.equal(table["against"], "prediction"), pc.not_equal(table["attack"], "clean"))))
    if not noise.num_rows:
        return
    cases = _strings(noise, "case_id")
    rows = np.minimum(np.searchsorted(names, cases), max(len(names) - 1, 0))
    lost = (names[rows] != cases) | (part[rows] == "") if len(names) else np.ones(len(cases), bool)
    if lost.any():
        raise InputRefused(f"the records of '{cases[lost][0]}' have no clean row beside the noise's rows: run the "
                           "same command again, which completes them")
    attack, mas = _strings(noise, "attack"), _numbers(noise, "size", np.nan)
    values = {name: _numbers(noise, name, np.nan) for name in _NOISE}
    for key in sorted(set(zip(attack.tolist(), mas.tolist(), strict=True))):
        chosen = (attack == key[0]) & (mas == key[1])
        arrays = under.setdefault(key, {name: np.full((n, folds), np.nan) for name in _NOISE})
        for name in _NOISE:
            arrays[name][rows[chosen], at] = values[name][chosen]


def _plain_stage(table: pa.Table) -> pa.Table:
    stages = stages_of(table)
    return table.filter(pc.equal(table["stage"], stages[0])) if len(stages) > 1 else table


def _clean(table: pa.Table) -> pa.Table:
    """One clean row a case: the one against the prediction where there are two."""
    clean = table.filter(pc.equal(table["attack"], "clean"))
    sides = set(pc.unique(clean["against"]).to_pylist())
    return clean.filter(pc.equal(clean["against"], "prediction")) if "prediction" in sides else clean


def _margins(logits: Floats, prediction: Ints) -> Floats:
    """The logit of the prediction minus the best other, (n,); NaN where undecided."""
    known = (prediction >= 0) & (prediction < logits.shape[1]) & decided(logits)
    found = np.full(len(logits), np.nan)
    if known.any():
        own = np.take_along_axis(logits[known], prediction[known][:, None], axis=1)[:, 0]
        others = logits[known].copy()
        np.put_along_axis(others, prediction[known][:, None], -np.inf, axis=1)
        found[known] = own - others.max(1)
    return found


def _width(table: pa.Table) -> int:
    return int(pc.max(pc.list_value_length(table["logits"])).as_py() or 0)


def _logits(table: pa.Table, width: int) -> Floats:
    filled = np.full((table.num_rows, width), np.nan)
    for row, values in enumerate(table["logits"].to_pylist()):
        if values:
            filled[row, : len(values)] = values
    return filled


def _strings(table: pa.Table, column: str) -> Strings:
    return np.asarray(pc.fill_null(table[column], "").to_numpy(zero_copy_only=False), dtype=str)


def _numbers(table: pa.Table, column: str, absent: float) -> Floats:
    return np.asarray(pc.fill_null(table[column].cast(pa.float64()), absent).to_numpy(), np.float64)


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
