"""What is asked of rows: which, in what order, from where; any column can be filtered and sorted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread.errors import UsageError
from steadyread.names import shown

HIDDEN = ("case_id", "logits", "block")     # columns that are neither shown nor asked for
ANY = "*"            # a filter by text of whichever column
MOST = 500           # rows of an answer
_MOST_FILTERS = 20


@dataclass(frozen=True)
class Filter:
    """What a value of a column must be: text that contains `text`, one of `among`, or a number between two."""

    column: str
    text: str = ""
    among: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    @classmethod
    def of(cls, stated: object) -> "Filter":
        """Of plain values.

        Raises:
            UsageError: they are none.
        """
        if not isinstance(stated, Mapping) or not set(stated) <= {"column", "text", "among", "least", "most"}:
            raise UsageError("a filter has a column, and text, among, least or most")
        among = stated.get("among", [])
        if not isinstance(among, Sequence) or isinstance(among, str):
            raise UsageError("a filter's among is a list of texts")
        return cls(str(stated.get("column", "")), str(stated.get("text", "")), tuple(map(str, among)),
                   *(_number(stated.get(end), end) for end in ("least", "most")))

    def of_rows(self, table: pa.Table) -> pa.ChunkedArray:
        """Where it holds, a truth value a row."""
        if self.column == ANY:
            found = [pc.fill_null(pc.match_substring(column, self.text, ignore_case=True), False)
                     for name, column in zip(table.column_names, table.columns, strict=True)
                     if name not in HIDDEN and pa.types.is_string(column.type)]
            return reduce(pc.or_, found)
        values = table[self.column]
        held = pc.is_valid(values)
        if pa.types.is_string(values.type):
            if self.among:
                held = pc.or_(pc.and_(held, pc.is_in(values, value_set=pa.array(self.among))),
                              pc.and_(pc.is_null(values), "" in self.among))
            if self.text:
                held = pc.and_(held, pc.fill_null(pc.match_substring(values, self.text, ignore_case=True), False))
            return held
        for end, fits in ((self.least, pc.greater_equal), (self.most, pc.less_equal)):
            if end is not None:
                held = pc.and_(held, pc.fill_null(fits(values, end), False))
        return held


@dataclass(frozen=True)
class Question:
    """Which rows are wanted: those that pass all filters, by a column (records' order if ""), some of them."""

    filters: tuple[Filter, ...] = ()
    sort: str = ""
    down: bool = False
    first: int = 0
    count: int = 100

    @classmethod
    def of(cls, stated: object) -> "Question":
        """Of plain values.

        Raises:
            UsageError: they are none.
        """
        if not isinstance(stated, Mapping):
            raise UsageError("a question is an object of filters, sort, down, first and count")
        filters = stated.get("filters", [])
        if not isinstance(filters, list) or len(filters) > _MOST_FILTERS:
            raise UsageError(f"filters are a list of at most {_MOST_FILTERS}")
        first, count = (_number(stated.get(key, usual), key) or 0 for key, usual in (("first", 0), ("count", 100)))
        if not (0 <= first < 2**53 and 0 <= count <= MOST):
            raise UsageError(f"first is a row's place, count at most {MOST}; got {first:g} and {count:g}")
        return cls(tuple(map(Filter.of, filters)), str(stated.get("sort", "")), stated.get("down") is True, int(first),
                   int(count))

    def places(self, table: pa.Table) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The places of the rows that pass, in the order asked for; nulls stand last, equals in the records' order.

        Raises:
            UsageError: no such column.
        """
        for name in (*(each.column for each in self.filters), *([self.sort] if self.sort else [])):
            if name not in (ANY, *(offered := [each for each in table.column_names if each not in HIDDEN])):
                raise UsageError(f"no column '{shown(name)[:40]}'; there are {', '.join(offered)}")
        places = pa.array(np.arange(table.num_rows))
        for each in self.filters:
            mask = each.of_rows(table)
            table, places = table.filter(mask), places.filter(mask)
        if self.sort:
            keyed = pa.table({"value": table[self.sort], "place": places})
            order = pc.sort_indices(keyed, sort_keys=[("value", "descending" if self.down else "ascending"),
                                                      ("place", "ascending")])
            places = places.take(order)
        return np.asarray(places.to_numpy(), np.int64)


@dataclass(frozen=True)
class Column:
    """A column as it is offered: a `number`, a `choice` among few texts, or `text`."""

    name: str
    title: str
    kind: Literal["number", "choice", "text"]
    unit: str = ""
    among: tuple[str, ...] = ()
    network: int = 0


def plain(table: pa.Table) -> list[list[Any]]:
    """Rows as JSON has them: NaN is null, and infinity the text "never"."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "never" if value == math.inf else value if math.isfinite(value) else None
    return value


def _number(value: object, name: str) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
        return None if value is None else float(value)
    raise UsageError(f"{name} is a number; got {str(value)[:40]!r}")
