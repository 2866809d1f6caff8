"""Tables that come with images: CSV rows with their line, and paths that stay inside their folder."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from steadyread.errors import InputRefused


@dataclass(frozen=True)
class Line:
    """One line of a table: its number in the file (the header is line 1) and its values by column."""

    path: Path
    number: int
    values: dict[str, str]

    @property
    def where(self) -> str:
        """The line as messages name it."""
        return f"{self.path.name} line {self.number}"

    def text(self, column: str) -> str:
        """The value of a column, without the space around it; "" where the line has none."""
        return self.values.get(column, "").strip()

    def number_in(self, column: str) -> float:
        """The value of a column as a finite number.

        Raises:
            InputRefused: it is none.
        """
        try:
            value = float(self.text(column))
        except ValueError:
            value = float("nan")
        if not -1e300 < value < 1e300:
            raise InputRefused(f"{self.where}: column '{column}' must be a number; got '{self.text(column)}'")
        return value


def header_of(path: Path) -> tuple[str, ...]:
    """The column names of a CSV, () where it has none or is no text."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return tuple(name.strip() for name in next(csv.reader(file), []))
    except (OSError, csv.Error):
        return ()


def read_table(path: Path, columns: tuple[str, ...]) -> list[Line]:
    """The lines of a CSV that must have `columns`.

    Raises:
        InputRefused: not there, no text, a missing column, or no lines.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            lacking = [name for name in columns if name not in reader.fieldnames]
            if lacking:
                raise InputRefused(f"{path}: no column '{lacking[0]}'; expected {', '.join(columns)} and got "
                                   f"{', '.join(reader.fieldnames) or 'an empty file'}")
            lines = [Line(path, reader.line_num, {key: value for key, value in values.items()
                                                  if isinstance(key, str) and isinstance(value, str)})
                     for values in reader]
    except FileNotFoundError:
        raise InputRefused(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputRefused(f"{path}: cannot be read as CSV text in UTF-8 ({problem})") from None
    if not lines:
        raise InputRefused(f"{path}: the table has a header and no rows")
    return lines


def inside(folder: Path, name: str, where: str) -> Path:
    """`name` under `folder`, which it may not leave.

    Raises:
        InputRefused: an absolute path, or one with '..'.
    """
    plain = PurePosixPath(name.replace("\\", "/"))
    climbs = plain.is_absolute() or ".." in plain.parts or re.match(r"[A-Za-z]:", name) is not None
    if not plain.parts or climbs or "\0" in name:
        raise InputRefused(f"{where}: the path '{name}' must name a file inside {folder}; "
                           "an empty path, an absolute one or one with '..' is refused")
    return folder / plain
