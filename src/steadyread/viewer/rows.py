"""The cases of one network as rows, read in the background: the first are there at once, the others when they are."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread import records
from steadyread.errors import SteadyreadError
from steadyread.metrics.aligned import SCORES, reads_of, with_scores
from steadyread.metrics.case_rows import case_rows
from steadyread.metrics.intervals import Ints
from steadyread.metrics.plan import attacks_of, bounds_of, class_names, section, threshold_of
from steadyread.metrics.reads import CT_NOISE
from steadyread.report.shareable import Shareable
from steadyread.store import Cell
from steadyread.units import unit_word
from steadyread.words.numbers import score_name

RIGHT, WRONG, UNDECIDED = "right", "wrong", "undecided"
PATIENCE = 2.0       # seconds
_FIRST = 1           # blocks in the first batch; each later batch doubles what is there
EMPTY = pa.schema([*((name, pa.string()) for name in ("case_id", "case", "patient", "truth", "read", "verdict")),
                   ("sure", pa.float64()), ("flip", pa.float64())]).empty_table()


@dataclass(frozen=True)
class Read:
    """How far the rows are read: the rows so far, whether that is all, and what went wrong."""

    table: pa.Table | None = None
    whole: bool = False
    problem: str = ""


@dataclass(eq=False)
class Rows:
    """The cases of a network that are judged, a row each, in the order of the records.

    Columns: `case_id`; `case` and `patient` as they are shown; `truth` and `read` (classes' names), `verdict` (right or
    wrong, null where the truth is unknown), `sure` and `flip` as `metrics.case_rows` has them, one for each further
    score, and `logits` and the `block` of the records.
    """

    cell: Cell
    shared: Shareable
    _read: Read = field(default_factory=Read)
    _begun: bool = False
    _news: threading.Condition = field(default_factory=threading.Condition)

    def read(self, more_than: int = -1, seconds: float = PATIENCE) -> Read:
        """What is read by now; waits so long for more rows than `more_than`, or for the end. The first question begins
        it, in a thread that does not keep the process alive."""
        with self._news:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._go, daemon=True, name="rows").start()
            self._news.wait_for(lambda: self._read.whole or bool(self._read.problem) or (
                self._read.table is not None and self._read.table.num_rows > more_than), seconds)
            return self._read

    @cached_property
    def expected(self) -> int | None:
        """How many rows there will be, by the plan."""
        part = section(section(section(self.cell.plan, "data"), "parts"), "test").get("images")
        return int(part) if isinstance(part, int) and part > 0 else None

    @property
    def dose(self) -> bool:
        """Whether cases are moved along the dose of CT noise; no network was searched for smallest flips then."""
        tried = attacks_of(self.cell.plan)
        return bool(tried) and all(f"threat={CT_NOISE}(" in text for text in tried)

    @property
    def unit(self) -> str:
        """The unit of `flip`."""
        return "mAs" if self.dose else unit_word(bounds_of(self.cell.plan).unit)

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return class_names(self.cell.plan, 2)

    def _go(self) -> None:
        try:
            for table in self._batches():
                self._tell(Read(table))
            self._tell(Read(self._read.table, whole=True))
        except SteadyreadError as problem:
            self._tell(Read(self._read.table, problem=str(problem)))
        except Exception as problem:      # of a file that is not what it should be: said, and the server goes on
            self._tell(Read(self._read.table, problem=f"the records in {self.cell.folder} cannot be read: {problem}"))

    def _tell(self, read: Read) -> None:
        with self._news:
            self._read = read
            self._news.notify_all()

    def _batches(self) -> Iterator[pa.Table]:
        """All rows so far, again and again; each time there are twice as many blocks."""
        scores, part = self._scores(), "test" if self.expected else None
        table: pa.Table | None = None
        waiting: list[pa.Table] = []
        done = 0
        for block, rows in records.read_parts(self.cell.folder):
            waiting.append(rows.append_column("block", pa.array(np.full(len(rows), block))))
            if len(waiting) >= max(_FIRST, done):
                table = self._joined(table, waiting, scores, part)
                done, waiting = done + len(waiting), []
                if table is not None:
                    yield table
        table = self._joined(table, waiting, scores, part) if waiting else table
        yield EMPTY if table is None else table

    def _joined(self, table: pa.Table | None, blocks: list[pa.Table], scores: pa.Table | None, part: str | None
                ) -> pa.Table | None:
        held = pa.concat_tables(blocks)
        held = held if part is None else held.filter(pc.equal(held["part"], part))
        if not len(held):
            return table
        held = held if scores is None else with_scores(held, scores)
        rows = cases_in(held, self.cell.plan, self.shared, self.dose)
        return rows if table is None else pa.concat_tables([table, rows], promote_options="default")

    def _scores(self) -> pa.Table | None:
        path = self.cell.folder / SCORES
        return records.table_in(path.read_bytes(), path) if path.exists() else None


def cases_in(table: pa.Table, plan: Mapping[str, object], shared: Shareable, dose: bool) -> pa.Table:
    """The cases of a table of records, a row each; see `Rows`."""
    reads = reads_of(table, bounds=bounds_of(plan))
    rows = case_rows(reads, threshold_of(plan), dose)
    place = np.searchsorted(reads.case_id, rows.case_id)
    names, logits = class_names(plan, max(reads.logits.shape[2], 2)), reads.logits[place, rows.network]
    patients = {name: shared.patient(name) for name in np.unique(rows.patient).tolist()}
    ids = pa.array(rows.case_id.tolist(), pa.string())
    known = (rows.truth >= 0) & (rows.read >= 0)
    scores = {score_name(name).lower(): pa.array(score[place, rows.network], from_pandas=True)
              for name, score in reads.scores.items()}
    return pa.table({
        "case_id": ids, "case": pa.array([shared.case(name) for name in rows.case_id.tolist()], pa.string()),
        "patient": pa.array([patients[name] for name in rows.patient.tolist()], pa.string()),
        "truth": _named(rows.truth, names, None), "read": _named(rows.read, names, UNDECIDED),
        "verdict": pa.array(np.where(rows.wrong, WRONG, RIGHT).tolist(), pa.string(), mask=~known),
        "sure": pa.array(rows.sure, from_pandas=True), "flip": pa.array(rows.flip, from_pandas=True), **scores,
        "logits": pa.array(logits.tolist(), pa.list_(pa.float64())),
        "block": pc.take(table["block"], pc.index_in(ids, value_set=table["case_id"].combine_chunks()))})


def _named(values: Ints, names: list[str], unknown: str | None) -> pa.Array:
    """Classes by name."""
    known = (values >= 0) & (values < len(names))
    return pa.array(np.array([*names, unknown], object)[np.where(known, values, len(names))], pa.string())
