"""What a viewer shows: the networks of one run or several, their cases as rows, the marks, and what is at hand."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread.errors import UsageError
from steadyread.files import CASES
from steadyread.names import cell as csv_cell
from steadyread.report.shareable import IN_REPORT, Shareable, read_cases
from steadyread.store import Cell, folder_of, open_cells
from steadyread.viewer.marks import WORDS, Mark, Marks
from steadyread.viewer.questions import HIDDEN, Column, Question
from steadyread.viewer.rows import EMPTY, PATIENCE, RIGHT, UNDECIDED, WRONG, Rows
from steadyread.viewer.stored_pictures import StoredPictures

if TYPE_CHECKING:
    from steadyread.viewer.at_hand import AtHand

BESIDE = ("read", "sure", "flip")      # columns of a further network, beside those of the first
MOST_BESIDE = 4     # networks
MOST_POINTS = 3000
EXPORTED = ("run", "network", "case_id", "patient_id", *IN_REPORT, "reader", "mark", "note", "at")
_TITLES = {"read": "Read as", "flip": "Flips at"}     # of other columns, their names


@dataclass(eq=False)
class Network:
    """A network of a run, with its cases and the marks of the run. `name` is that within its run."""

    run: Path
    cell: Cell
    title: str
    rows: Rows
    marks: Marks
    shared: Shareable
    trusted: str | None = None

    @property
    def name(self) -> str:
        """By which marks know it; "" where its run has one network."""
        return str(self.cell)

    @property
    def place(self) -> Path:
        """The folder of its data set."""
        return place_of(self.run, self.cell)

    @cached_property
    def stored(self) -> StoredPictures:
        """The pictures that its assessment kept."""
        return StoredPictures(self.cell.folder, self.rows.dose)

    def spacing(self, row: Mapping[str, Any]) -> list[float] | None:
        """The spacing of the pixels of a case in mm, where its image is at hand already."""
        return self.hand.spacing(row["case_id"]) if "hand" in self.__dict__ else None

    @cached_property
    def hand(self) -> "AtHand":
        """The network and its images, where they are at hand. Imports torch."""
        from steadyread.viewer.at_hand import AtHand

        return AtHand(self.place, self.cell, self.trusted)


@dataclass(eq=False)
class Shown:
    """The networks of the runs that are shown, who looks at them, and the places of those that are shown first."""

    networks: Sequence[Network]
    reader: str
    start: Sequence[int] = (0,)
    _joined: dict[tuple[int, ...], tuple[tuple[int, ...], pa.Table]] = field(default_factory=dict)

    def network(self, at: object) -> Network:
        """The network at that place.

        Raises:
            UsageError: there is none.
        """
        if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < len(self.networks):
            raise UsageError(f"a network is a number from 0 to {len(self.networks) - 1}; got {str(at)[:20]!r}")
        return self.networks[at]

    def table(self, places: Sequence[int], reader: str) -> pa.Table:
        """The rows of the first of these networks so far, beside them what the others read of the same cases, and the
        marks of a reader."""
        first, *others = [self.network(at) for at in places]
        tables = [each.rows.read(seconds=0.0).table for each in (first, *others)]
        if tables[0] is None:
            return _marked(EMPTY, {})
        counts = tuple(-1 if each is None else each.num_rows for each in tables)
        held = self._joined.get(tuple(places))
        if held is None or held[0] != counts:
            held = counts, _beside(tables[0], list(zip(places[1:], tables[1:], strict=True)))
            self._joined[tuple(places)] = held
        return _marked(held[1], first.marks.of(reader, first.name))

    def answer(self, question: Question, places: Sequence[int], reader: str) -> tuple[pa.Table, list[int], int]:
        """The rows asked for, their places among those of the first network, and how many rows pass in all."""
        table = self.table(places, reader)
        passing = question.places(table)
        wanted = passing[question.first:question.first + question.count]
        return table.take(pa.array(wanted)), wanted.tolist(), len(passing)

    def sample(self, question: Question, places: Sequence[int], reader: str) -> tuple[pa.Table, list[int], list[int]]:
        """Rows spread over all, for a scatter, their places, and the places of those of them that pass."""
        table = self.table(places, reader)
        count = table.num_rows
        spread = np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_POINTS)).astype(np.int64))
        passing = question.places(table)
        return table.take(pa.array(spread)), spread.tolist(), np.intersect1d(spread, passing).tolist()

    def columns(self, places: Sequence[int], table: pa.Table) -> list[Column]:
        """The columns of a table of these networks, as they are offered."""
        return [self._column(name, table, places) for name in table.column_names if name not in HIDDEN]

    def _column(self, name: str, table: pa.Table, places: Sequence[int]) -> Column:
        base, _, number = name.partition(" ") if name.split(" ")[0] in BESIDE else (name, "", "")
        of = int(number) if number.isdecimal() else places[0]
        rows = self.network(of).rows
        among = {"truth": tuple(rows.classes), "read": (*rows.classes, UNDECIDED), "verdict": (RIGHT, WRONG),
                 "mark": WORDS}
        kind: Literal["number", "choice", "text"] = "choice" if base in among else (
            "text" if pa.types.is_string(table[name].type) else "number")
        return Column(name, _TITLES.get(base, base.capitalize()), kind, rows.unit if base == "flip" else "",
                      among.get(base, ()), of)

    def row(self, network: Network, place: object, first: Network | None = None) -> pa.Table:
        """The row of the case at a place among the rows of a network, or among those of the `first` one.

        Raises:
            UsageError: there is none.
        """
        table = network.rows.read().table
        if first is not None:
            name = self.row(first, place)["case_id"][0]
            table = network.rows.read(2**53, PATIENCE).table     # all of them
            place = None if table is None else pc.index(table["case_id"], name).as_py()
            if place == -1:
                raise UsageError(f"{network.title} has not read this case")
        if table is None or not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < table.num_rows:
            raise UsageError(f"no row {str(place)[:20]} among those read so far")
        return table.slice(place, 1)

    def exported(self) -> str:
        """The marks of all readers as CSV, those of each run in the order in which they were made."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(EXPORTED)
        patients = {place: _patients(place) for place in {each.place for each in self.networks}}
        for run, first in {each.run: each for each in reversed(self.networks)}.items():
            marked = {each.name: each for each in self.networks if each.run == run}
            for mark in first.marks.last():
                network = marked.get(mark.network, first)     # its own data set has its patients and pseudonyms
                patient = patients[network.place].get(mark.case_id, "")
                writer.writerow([csv_cell(value) for value in (
                    run.name, mark.network, mark.case_id, patient, network.shared.case(mark.case_id),
                    network.shared.patient(patient), mark.reader, mark.word, mark.note, mark.at)])
        return text.getvalue()

    def close(self) -> None:
        """Lets go of the files of marks."""
        for network in self.networks:
            network.marks.close()


def place_of(run: Path, cell: Cell) -> Path:
    """The folder of a cell's data set in a run."""
    return folder_of(run, cell.data) if cell.data else run


def shown_of(folders: Sequence[Path], reader: str, show_ids: bool = False, trusted: str | None = None) -> Shown:
    """The networks of runs, those of the first run first. Their rows are not read yet.

    `trusted` is the name of a network that is not built in, whose code may be run.

    Raises:
        InputRefused: no records there, or a file that is not what it should be.
    """
    several = len({folder.resolve() for folder in folders}) > 1
    networks: list[Network] = []
    start = []
    for run in dict.fromkeys(folder.resolve() for folder in folders):
        opened, marks = open_cells(run), Marks(run)
        cells = [cell for cell in opened.cells if not cell.round]
        own = opened.own.cells[0]
        start.append(len(networks) + cells.index(own) if own in cells else len(networks))
        for cell in cells:
            shared = Shareable.of(place_of(run, cell), show_ids)
            title = ": ".join(filter(None, (run.name if several else "", str(cell) if len(cells) > 1 else "")))
            networks.append(Network(run, cell, title or run.name, Rows(cell, shared), marks, shared, trusted))
    return Shown(networks, reader, start[:MOST_BESIDE])


def _beside(first: pa.Table, others: Sequence[tuple[int, pa.Table | None]]) -> pa.Table:
    """The rows of a network with what others read of the same cases, null where they did not."""
    for at, table in others:
        if table is None:
            continue
        place = pc.index_in(first["case_id"], value_set=table["case_id"].combine_chunks())
        for name in (name for name in BESIDE if name in table.column_names):
            first = first.append_column(f"{name} {at}", pc.take(table[name], place))
    return first


def _marked(table: pa.Table, marks: Mapping[str, Mark]) -> pa.Table:
    place = pc.index_in(table["case_id"], value_set=pa.array(list(marks), pa.string()))
    for name, values in (("mark", [mark.word or None for mark in marks.values()]),
                         ("note", [mark.note or None for mark in marks.values()])):
        table = table.append_column(name, pc.take(pa.array(values, pa.string()), place))
    return table


def _patients(folder: Path) -> Mapping[str, str]:
    """The patient of each case, by the run's own table."""
    return {line["case_id"]: line.get("patient_id", "") for line in read_cases(folder / CASES)}
