"""Records as aligned arrays: one entry an image for its clean read and for each attack on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from steadyread.errors import InputRefused
from steadyread.metrics.intervals import Flags, Floats, Ints
from steadyread.units import Bounds

Strings = NDArray[np.str_]
UNDECIDED = -1
SCORES = "scores.parquet"     # further scores of a run's reads, beside its records
SCORED = b"steadyread"        # the key of that file's metadata: of which networks, images and settings
CT_NOISE = "CTNoise"     # whose sizes are doses: `noise_reads` takes those rows
_SCORE = "score "    # before a further score's name, in a table with such columns
_NO_SCORES: Mapping[str, Floats] = MappingProxyType({})
_ROUNDING = 1e-5     # of a size: what float32 arithmetic may add to a stated one


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attack of one size did to each image, aligned with `Reads`.

    `present` says where there is a row; `found` is the realised largest change in native units, the stated size
    where it exceeds that by rounding only (inf where no flip was found); `flipped` where the returned image's
    prediction is not the reference. An undecided read is no read: it counts as flipped. `rounded` says where a flip
    stands once the image is rounded to whole stored values (1 or 0, NaN where that was not asked).
    """

    attack: str
    threat: str
    against: str
    size: float
    present: Flags
    prediction: Ints
    flipped: Flags
    found: Floats
    rounded: Floats | None = None

    @property
    def fixed(self) -> bool:
        """Whether it was tried at a stated size (the smallest flip was not)."""
        return bool(np.isfinite(self.size))


@dataclass(frozen=True, eq=False)
class Reads:
    """The clean reads of n images with what every attack made of them.

    `label` is -1 where unknown, `prediction` -1 where undecided; `logits` (n, k). `scores` are further ones of how
    steady each read is (n,), higher for steadier and NaN where a read has none. The order is that of the case ids,
    so that no number depends on the order of the work.
    """

    case_id: Strings
    patient: Strings
    label: Ints
    prediction: Ints
    logits: Floats
    outcomes: tuple[Outcome, ...] = ()
    scores: Mapping[str, Floats] = field(default_factory=lambda: _NO_SCORES)

    def __len__(self) -> int:
        return len(self.case_id)

    @property
    def known(self) -> Flags:
        """Where the label is known, (n,)."""
        return self.label >= 0

    @property
    def correct(self) -> Flags:
        """Where the clean read is right, (n,)."""
        right: Flags = self.known & (self.prediction == self.label)
        return right

    def smallest_flip(self, against: str) -> Outcome | None:
        """The search for the smallest flip, where one was recorded."""
        return next((outcome for outcome in self.outcomes
                     if outcome.attack == "smallest_flip" and outcome.against == against), None)

    def fixed(self, against: str) -> list[Outcome]:
        """The attacks of stated sizes, by attack (FGSM, BIM, PGD, others), then size."""
        chosen = [outcome for outcome in self.outcomes if outcome.fixed and outcome.against == against]
        return sorted(chosen, key=lambda outcome: (*rank(outcome.attack), outcome.size))


def rank(attack: str) -> tuple[int, str]:
    """Where an attack stands in tables: FGSM, BIM, PGD as in the paper, then the others by name."""
    known = ("fgsm", "bim", "pgd")
    return (known.index(attack) if attack in known else len(known), attack)


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


def reads_of(table: pa.Table, part: str | None = None, stage: str | None = None,
             bounds: Bounds | None = None) -> Reads:
    """The reads of one part (train, validation, test) and stage; None takes all of them.

    `bounds` say how coarsely float32 holds the images: a change above its stated size by no more than that
    coarseness is one of the stated size. Rows of CT noise are left out: their size is a dose, not a change.

    Raises:
        InputRefused: an attack's row names an image that has no clean row.
    """
    if part is not None:
        table = table.filter(pc.equal(table["part"], part))
    if stage is not None:
        table = table.filter(pc.equal(table["stage"], stage))
    keys = _keys(table)
    attacks = _strings(table, "attack")
    clean = np.flatnonzero(attacks == "clean")
    names, first = np.unique(keys[clean], return_index=True)
    rows = clean[first]
    base = Reads(case_id=_strings(table, "case_id")[rows], patient=_strings(table, "patient_id")[rows],
                 label=_integers(table, "label")[rows], prediction=_integers(table, "prediction")[rows],
                 logits=_logits(table, rows), scores={name.removeprefix(_SCORE): _floats(table, name)[rows]
                                                      for name in table.column_names if name.startswith(_SCORE)})
    attacked = np.flatnonzero((attacks != "clean") & (_strings(table, "threat") != CT_NOISE))
    place = np.searchsorted(names, keys[attacked])
    lost = (place >= len(names)) | (names[np.minimum(place, max(len(names) - 1, 0))] != keys[attacked]
                                    if len(names) else np.ones(len(attacked), bool))
    if lost.any():
        case = _strings(table, "case_id")[attacked[lost][0]]
        raise InputRefused(f"the records of '{case}' have no clean row beside the attacks' rows: run the same "
                           "command again, which completes them")
    ulp = float(np.spacing(np.float32(max(abs(bounds.low), abs(bounds.high))))) if bounds else 0.0
    outcomes = _outcomes(table, attacked, place, base, ulp)
    return replace(base, outcomes=outcomes)


def _outcomes(table: pa.Table, rows: Ints, place: Ints, base: Reads, ulp: float) -> tuple[Outcome, ...]:
    columns = {name: _strings(table, name)[rows] for name in ("attack", "threat", "against")}
    size = _floats(table, "size")[rows]
    prediction, reference = _integers(table, "prediction")[rows], _integers(table, "reference")[rows]
    found = _floats(table, "found_size")[rows]
    rounded = _floats(table, "flips_rounded")[rows] if "flips_rounded" in table.column_names else None
    group = np.array(["\x1f".join(parts) for parts in zip(
        columns["attack"], columns["threat"], columns["against"], size.astype(str), strict=True)], dtype=str)
    made = []
    for name in np.unique(group):
        at = np.flatnonzero(group == name)
        at = at[np.argsort(prediction[at] != reference[at], kind="stable")]   # a flip stands over a failure
        where, chosen = place[at], at[0]
        whole = {key: np.full(len(base), fill) for key, fill in (("prediction", UNDECIDED), ("found", np.inf))}
        present = np.zeros(len(base), bool)
        flipped = np.zeros(len(base), bool)
        present[where] = True
        whole["prediction"][where] = prediction[at]
        flipped[where] = prediction[at] != reference[at]
        searched = columns["attack"][chosen] == "smallest_flip"
        realised = found[at] if searched else _realised(found[at], size[at], ulp)
        whole["found"][where] = np.where(flipped[where] | searched, realised, np.inf)
        if searched:
            whole["found"] = np.where(np.isnan(whole["found"]), np.inf, whole["found"])
            flipped = present & np.isfinite(whole["found"])
        unread = present & (base.prediction == UNDECIDED)
        whole["found"][unread], flipped[unread] = 0.0, True
        kept = None
        if rounded is not None:
            kept = np.full(len(base), np.nan)
            kept[where] = rounded[at]
        made.append(Outcome(str(columns["attack"][chosen]), str(columns["threat"][chosen]),
                            str(columns["against"][chosen]), float("nan") if searched else float(size[chosen]),
                            present, whole["prediction"].astype(np.int64), flipped, whole["found"], kept))
    return tuple(made)


def _realised(found: Floats, size: Floats, ulp: float) -> Floats:
    """The realised change, (n,): the stated size where none is told or it is above that by rounding only."""
    rounded = (found > size) & (found <= size * (1 + _ROUNDING) + ulp)
    return np.asarray(np.where(np.isnan(found) | rounded, size, found))


def _keys(table: pa.Table) -> Strings:
    """One key an image and fold (each fold's network reads the image anew)."""
    folds = _integers(table, "fold")
    cases = _strings(table, "case_id")
    if not len(folds) or (folds == folds[0]).all():
        return cases
    return np.array([f"{case}\x1f{fold}" for case, fold in zip(cases, folds, strict=True)], dtype=str)


def decided(logits: Floats) -> Flags:
    """Where the two highest of the logits (n, k) are finite, (n,), as `classifier.decided` has it.

    A class at -inf is ruled out; NaN, +inf or fewer than two classes left make no read.
    """
    if logits.shape[1] < 2:
        return np.zeros(len(logits), dtype=bool)
    return np.asarray(np.isfinite(np.partition(logits, -2, axis=1)[:, -2:]).all(1))   # NaN is sorted above +inf


def _logits(table: pa.Table, rows: Ints) -> Floats:
    lists = table["logits"].take(pa.array(rows)).to_pylist()
    width = max((len(values) for values in lists if values is not None), default=0)
    filled = np.full((len(lists), width), np.nan)
    for row, values in enumerate(lists):
        if values:
            filled[row, : len(values)] = values
    return filled


def _strings(table: pa.Table, column: str) -> Strings:
    return np.array(["" if value is None else value for value in table[column].to_pylist()], dtype=str)


def _integers(table: pa.Table, column: str) -> Ints:
    values = pc.fill_null(table[column].cast(pa.int64()), UNDECIDED)
    return np.asarray(values.to_numpy(), np.int64)


def _floats(table: pa.Table, column: str) -> Floats:
    return np.asarray(table[column].cast(pa.float64()).to_numpy(), np.float64)
