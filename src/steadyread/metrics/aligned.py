"""Records into aligned arrays: tables of rows, of one network or of those of several folds, as `Reads`."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread.errors import InputRefused
from steadyread.metrics.intervals import Floats, Ints
from steadyread.metrics.plan import stages_of
from steadyread.metrics.reads import CT_NOISE, UNDECIDED, Outcome, Reads, Strings
from steadyread.units import Bounds

SCORES = "scores.parquet"     # further scores of a run's reads, beside its records
SCORED = b"steadyread"        # the key of that file's metadata: of which networks, images and settings
_SCORE = "score "    # before a further score's name, in a table with such columns
_ROUNDING = 1e-5     # of a size: what float32 arithmetic may add to a stated one
_MEASURED = ("drift", "jitter", "sigma_hu", "ring_error", "kurtosis", "largest_local_sigma_hu", "z_correlation",
             "deviations", "forwards", "backwards", "scan_mas", "flips_rounded")


def with_scores(table: pa.Table, scores: pa.Table) -> pa.Table:
    """Records with the further scores of their images beside them, as `reads_of` takes them up.

    `scores` has a case_id, a part, and one column a score, as scores.parquet. Where its metadata names the network
    that was scored, the records of other networks get none.
    """
    told = json.loads((scores.schema.metadata or {}).get(SCORED, b"{}"))
    named, known = (pc.binary_join_element_wise(pc.fill_null(held["case_id"], ""), pc.fill_null(held["part"], ""),
                                                "\x1f") for held in (table, scores))
    place = pc.index_in(named, value_set=known)
    if "model" in told:
        place = pc.if_else(pc.equal(table["model_sha256"], told["model"]), place, None)
    for name in scores.column_names:
        if name not in ("case_id", "part"):
            table = table.append_column(_SCORE + name, pc.take(scores[name].cast(pa.float64()), place))
    return table


def reads_of(tables: pa.Table | Mapping[int, pa.Table], part: str | None = None, stage: str | None = None,
             bounds: Bounds | None = None, variant: str = "") -> Reads:
    """The reads in a table of records, whose column `fold` names the networks, or in one table a fold.

    Args:
        part: train, validation or test; all of them if None.
        stage: the first of plain, hardened that each table has if None.
        bounds: say how coarsely float32 holds the images: a change above its stated size by no more than that
            coarseness is one of the stated size.

    Raises:
        InputRefused: an attack's row names a case that has no clean row.
    """
    by_fold = _by_fold(tables) if isinstance(tables, pa.Table) else dict(sorted(tables.items()))
    chosen = [_chosen(table, part, stage) for table in by_fold.values()]
    clean = [_clean(table) for table in chosen]
    ids = [_strings(table, "case_id") for table in clean]
    names = np.unique(np.concatenate([np.zeros(0, str), *ids]))
    shape, width = (len(names), len(chosen)), max((_width(table) for table in clean), default=0)
    patient, label = np.full(len(names), "", object), np.full(len(names), UNDECIDED, np.int64)
    there, parts = np.zeros(shape, bool), np.full(shape, "", object)
    prediction, logits = np.full(shape, UNDECIDED, np.int64), np.full((*shape, width), np.nan)
    scores: dict[str, Floats] = {}
    for at, (table, cases) in enumerate(zip(clean, ids, strict=True)):
        rows = np.searchsorted(names, cases)
        patient[rows], label[rows] = _strings(table, "patient_id"), _integers(table, "label")
        there[rows, at], parts[rows, at] = True, _strings(table, "part")
        prediction[rows, at], logits[rows, at] = _integers(table, "prediction"), _logits(table, width)
        for name in (name for name in table.column_names if name.startswith(_SCORE)):
            scores.setdefault(name.removeprefix(_SCORE), np.full(shape, np.nan))[rows, at] = _floats(table, name)
    base = Reads(names, patient.astype(str), label, tuple(by_fold), there, parts.astype(str), prediction, logits,
                 scores=scores, variant=variant)
    ulp = float(np.spacing(np.float32(max(abs(bounds.low), abs(bounds.high))))) if bounds else 0.0
    outcomes: dict[tuple[str, str, str, str], Outcome] = {}
    for at, table in enumerate(chosen):
        _fill(outcomes, table, base, at, ulp)
    return replace(base, outcomes=tuple(outcomes[key] for key in sorted(outcomes)))


def _by_fold(table: pa.Table) -> dict[int, pa.Table]:
    folds = _integers(table, "fold")
    each = np.unique(folds).tolist()
    return {fold: table.filter(pa.array(folds == fold)) for fold in each} if len(each) > 1 else \
        {each[0] if each else UNDECIDED: table}


def _chosen(table: pa.Table, part: str | None, stage: str | None) -> pa.Table:
    if part is not None:
        table = table.filter(pc.equal(table["part"], part))
    stages = [stage] if stage is not None else stages_of(table)[:1]
    return table.filter(pc.equal(table["stage"], stages[0])) if stages else table


def _clean(table: pa.Table) -> pa.Table:
    """One clean row a case: the one against the prediction where there are two."""
    clean = table.filter(pc.equal(table["attack"], "clean"))
    if "prediction" in pc.unique(clean["against"]).to_pylist():
        clean = clean.filter(pc.equal(clean["against"], "prediction"))
    _, first = np.unique(_strings(clean, "case_id"), return_index=True)
    return clean.take(pa.array(first))


def _fill(outcomes: dict[tuple[str, str, str, str], Outcome], table: pa.Table, base: Reads, at: int,
          ulp: float) -> None:
    """Put one network's attacked rows into the arrays of their attack and level."""
    native = next(iter(pc.unique(table.filter(pc.equal(table["attack"], "clean"))["unit"]).to_pylist()), None) or ""
    table = table.filter(pc.not_equal(table["attack"], "clean"))
    cases = _strings(table, "case_id")
    place = np.minimum(np.searchsorted(base.case_id, cases), max(len(base) - 1, 0))
    lost = (base.case_id[place] != cases) | ~base.there[place, at] if len(base) else np.ones(len(cases), bool)
    if lost.any():
        raise InputRefused(f"the records of '{cases[lost][0]}' have no clean row beside the attacks' rows: run the "
                           "same command again, which completes them")
    rows = _Rows(table, place)
    group = np.array(["\x1f".join(parts) for parts in zip(
        *(rows.named[name] for name in ("attack", "threat", "against")), rows.level.astype(str), strict=True)], str)
    for name in np.unique(group):
        chosen = np.flatnonzero(group == name)
        key = tuple(name.split("\x1f"))
        if key not in outcomes:
            outcomes[key] = _empty(rows, int(chosen[0]), base.there.shape, native)
        rows.put(outcomes[key], chosen, base, at, ulp)


class _Rows:
    """The attacked rows of one network as columns."""

    def __init__(self, table: pa.Table, place: Ints) -> None:
        self.place = place
        self.named = {name: _strings(table, name) for name in ("attack", "threat", "against")}
        self.unit = _strings(table, "unit")
        self.level, self.found = _floats(table, "size"), _floats(table, "found_size")
        self.prediction, self.reference = _integers(table, "prediction"), _integers(table, "reference")
        self.counts = {name: _floats(table, name) for name in ("trials", "flips")}
        self.measured = {name: values for name in _MEASURED if name in table.column_names
                         and np.isfinite(values := _floats(table, name)).any()}

    def put(self, outcome: Outcome, rows: Ints, base: Reads, at: int, ulp: float) -> None:
        """Write some rows, all of one attack and level, into the column of their network."""
        flipped = self.prediction[rows] != self.reference[rows]
        rows = rows[np.argsort(flipped, kind="stable")]      # a flip stands over a failure
        flipped, place = np.sort(flipped), self.place[rows]
        outcome.prediction[place, at] = self.prediction[rows]
        for name, values in self.measured.items():
            if np.isfinite(values[rows]).any():
                grid = outcome.measured.setdefault(name, np.full(base.there.shape, np.nan))
                grid[place, at] = values[rows]
        if outcome.threat == CT_NOISE:
            outcome.trials[place, at], outcome.flips[place, at] = (self.counts[name][rows] for name in self.counts)
            return
        found, level = self.found[rows], self.level[rows]
        if not outcome.fixed:      # what is no search of ours may tell the size of a change that flipped nothing
            found = np.where(np.isnan(found) | ~(flipped | (outcome.attack == "smallest_flip")), np.inf, found)
            flipped = np.isfinite(found)
        else:
            found = np.where(flipped, _realised(found, level, ulp), np.inf)
        unread = base.prediction[place, at] == UNDECIDED
        outcome.trials[place, at] = 1.0
        outcome.flips[place, at] = flipped | unread
        outcome.found[place, at] = np.where(unread, 0.0, found)


def _empty(rows: _Rows, first: int, shape: tuple[int, ...], native: str) -> Outcome:
    attack, threat, against = (str(rows.named[name][first]) for name in ("attack", "threat", "against"))
    level = float("nan") if attack == "smallest_flip" else float(rows.level[first])
    return Outcome(attack, threat, against, level, np.full(shape, np.nan), np.full(shape, np.nan),
                   np.full(shape, UNDECIDED, np.int64), np.full(shape, np.inf), {},
                   "" if rows.unit[first] == native else str(rows.unit[first]))


def _realised(found: Floats, size: Floats, ulp: float) -> Floats:
    """The realised change, (n,): the stated size where none is told or it is above that by rounding only."""
    rounded = (found > size) & (found <= size * (1 + _ROUNDING) + ulp)
    return np.asarray(np.where(np.isnan(found) | rounded, size, found))


def _width(table: pa.Table) -> int:
    return int(pc.max(pc.list_value_length(table["logits"])).as_py() or 0)


def _logits(table: pa.Table, width: int) -> Floats:
    lengths = pc.fill_null(pc.list_value_length(table["logits"]), 0).to_numpy()
    filled = np.full((table.num_rows, width), np.nan)
    filled[np.arange(width) < lengths[:, None]] = pc.list_flatten(table["logits"]).to_numpy()
    return filled


def _strings(table: pa.Table, column: str) -> Strings:
    return np.asarray(pc.fill_null(table[column], "").to_numpy(zero_copy_only=False), dtype=str)


def _integers(table: pa.Table, column: str) -> Ints:
    return np.asarray(pc.fill_null(table[column].cast(pa.int64()), UNDECIDED).to_numpy(), np.int64)


def _floats(table: pa.Table, column: str) -> Floats:
    return np.asarray(table[column].cast(pa.float64()).to_numpy(), np.float64)
