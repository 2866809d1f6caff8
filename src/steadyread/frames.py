"""A small table of plain rows, as Python users get it: it prints short, shows as HTML in a notebook, and goes on to
pandas, Arrow or CSV."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from steadyread.report import forms
from steadyread.report.table import Column, Form, Table, table
from steadyread.words.numbers import NONE

_SHOWN = 20


@dataclass(frozen=True, repr=False)
class Frame:
    """Rows of the same columns, each a mapping. `shown` are the columns that are printed, all if empty."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    shown: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self.rows[at]

    def where(self, **values: Any) -> "Frame":
        """The rows with these values: `where(measure="robust_accuracy", threat="Linf")`."""
        return Frame(self.columns, tuple(row for row in self.rows if all(row[name] == value for name, value in
                                                                         values.items())), self.shown)

    def column(self, name: str) -> list[Any]:
        """The values of a column."""
        return [row[name] for row in self.rows]

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`."""
        import pyarrow as pa

        return pa.table({name: pa.array(self.column(name)) for name in self.columns})

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`; pandas must be installed."""
        return self.to_arrow().to_pandas()

    def to_csv(self) -> str:
        """The rows as CSV, numbers unrounded."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def table(self, most: int = _SHOWN) -> Table:
        """The first rows as they are shown; columns in which nothing stands are left out."""
        names = [name for name in self.shown or self.columns if any(row[name] not in (None, "") for row in self.rows)]
        numeric = {name for name in names if any(isinstance(row[name], int | float) for row in self.rows)}
        more = f"{len(self) - most} more rows" if len(self) > most else ""
        return table([Column(name.replace("_", " "), _NUMBER if name in numeric else forms.TEXT) for name in names],
                     [tuple(row[name] if row[name] is not None else "" for name in names) for row in self.rows[:most]],
                     note=more)

    def __repr__(self) -> str:
        if not self.rows:
            return "no rows"
        shown = self.table()
        return "\n".join([*shown.lines(), *([shown.note] if shown.note else [])])

    def _repr_html_(self) -> str:
        return str(self.table().html())


def frame(columns: Sequence[str], rows: Sequence[dict[str, Any]], shown: Sequence[str] = ()) -> Frame:
    """A `Frame` of plain sequences; what a row lacks is None."""
    return Frame(tuple(columns), tuple({name: row.get(name) for name in columns} for row in rows), tuple(shown))


def _number(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return NONE
    return "none found" if math.isinf(value) else f"{value:.4g}".replace("-", "−")


_NUMBER = Form(_number)
