"""Tables that come with images: CSV rows with their line, and paths that stay inside their folder."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from steadyread.errors import InputRefused
from steadyread.files import is_regular, regular_file

SUFFIXES = (".csv", ".tsv", ".tab")
_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"sep=(.)$")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_HEAD, _LARGEST = 2**16, 2**26
_MOST_LINES, _MOST_CELLS = 10**6, 10**7


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


def is_table(path: Path) -> bool:
    """Whether a file's name ends as those of tables in text do."""
    return path.suffix.lower() in SUFFIXES


def header_of(path: Path, known: Iterable[str] = ()) -> tuple[str, ...]:
    """The column names of a table, () where it has none or is no text; `known` are names that it may have.

    Raises:
        InputRefused: it is there and may not be read.
    """
    if not is_regular(path):
        return ()
    regular_file(path)
    try:
        return tuple(name.strip() for name in _opening(_text(path, whole=False), known)[1])
    except (InputRefused, csv.Error):
        return ()


def has_columns(path: Path, columns: Iterable[str]) -> bool:
    """Whether a table has these columns, in capitals or not."""
    columns = tuple(columns)
    present = {name.casefold() for name in header_of(path, columns)}
    return all(name.casefold() in present for name in columns)


def read_table(path: Path, columns: tuple[str, ...], further: tuple[str, ...] = ()) -> list[Line]:
    """The lines of a table that must have `columns`; a name counts in capitals or not.

    Commas, semicolons, tabs or bars between the values, whichever make most columns of the header; UTF-8, or
    UTF-16 with its mark.

    Args:
        further: names of columns that may be there, under which they are then found.

    Raises:
        InputRefused: not there, no text, a missing or repeated column, more values than columns, or no lines.
    """
    text = _text(path)
    try:
        mark, header = _opening(text, (*columns, *further))
        lines = text.count("\n")
        if lines > _MOST_LINES or lines * len(header) > _MOST_CELLS:
            raise InputRefused(f"{path}: {lines:,} lines of {len(header)} columns; at most {_MOST_LINES:,} lines "
                               f"and {_MOST_CELLS:,} values are read: divide the table")
        rows = csv.reader(io.StringIO(text), delimiter=mark, skipinitialspace=True)
        numbered = [(rows.line_num, values) for values in rows if any(map(str.strip, values))]
    except csv.Error as problem:
        raise InputRefused(f"{path}: cannot be read as CSV text in UTF-8 ({problem})") from None
    if _SEPARATOR.match(text.split("\n", 1)[0]):
        numbered = numbered[1:]
    names = _names(path, numbered[0][1] if numbered else [], columns, further)
    read = [Line(path, number, dict(zip(names, _fitted(values, names, path, number), strict=True)))
             for number, values in numbered[1:]]
    if not read:
        raise InputRefused(f"{path}: the table has a header and no rows")
    return read


def _names(path: Path, header: list[str], columns: tuple[str, ...], further: tuple[str, ...]) -> list[str]:
    """The header, its known names spelled as this package does.

    Raises:
        InputRefused: a missing column, or one that stands twice.
    """
    spelled = {name.casefold(): name for name in (*columns, *further)}
    names = [spelled.get(name.strip().casefold(), name.strip()) for name in header]
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise InputRefused(f"{path}: no column '{lacking[0]}'; expected {', '.join(columns)} and got "
                           f"{', '.join(names) or 'an empty file'}")
    name, count = Counter(name for name in names if name).most_common(1)[0]
    if count > 1:
        raise InputRefused(f"{path}: the column '{name}' stands {count} times; keep one of them")
    return names


def _fitted(values: list[str], names: list[str], path: Path, number: int) -> list[str]:
    """The values of one line, as many as there are columns.

    Raises:
        InputRefused: more values than columns, so that none can be told from the next.
    """
    beyond = [value for value in values[len(names):] if value.strip()]
    if beyond:
        raise InputRefused(f"{path.name} line {number}: {len(values)} values for {len(names)} columns; "
                           "put values that hold the separator in quotes")
    return values[:len(names)] + [""] * (len(names) - len(values))


def _opening(text: str, known: Iterable[str]) -> tuple[str, list[str]]:
    """The separator of a table, and its header. Excel's own first line `sep=;` says the former."""
    head = text.split("\n", 2)
    stated = _SEPARATOR.match(head[0])
    first = head[1] if stated and len(head) > 1 else head[0]
    marks = stated[1] if stated else _DELIMITERS
    headers = {mark: next(csv.reader([first], delimiter=mark, skipinitialspace=True), []) for mark in marks}
    asked = {name.casefold() for name in known}
    mark = max(headers, key=lambda mark: (len(asked & {name.strip().casefold() for name in headers[mark]}),
                                          len(headers[mark])))
    return mark, headers[mark]


def _text(path: Path, whole: bool = True) -> str:
    """The text of a table, or of its beginning, where what cannot be decoded is passed over.

    Raises:
        InputRefused: no regular file, too large, or not text.
    """
    try:
        large = whole and regular_file(path).stat().st_size > _LARGEST
        with regular_file(path).open("rb") as file:
            data = b"" if large else file.read(_LARGEST if whole else _HEAD)
    except OSError as problem:
        raise InputRefused(f"{path}: cannot be read ({problem.strerror})") from None
    if large:
        raise InputRefused(f"{path}: larger than {_LARGEST >> 20} MiB, which no table of images is")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding, "strict" if whole else "replace")
    except UnicodeDecodeError as problem:
        raise InputRefused(f"{path}: cannot be read as CSV text in UTF-8 ({problem.reason} at byte "
                           f"{problem.start}); save it as CSV in UTF-8") from None
    if whole and "\0" in text:
        raise InputRefused(f"{path}: holds zero bytes, which CSV text in UTF-8 has not; save it as CSV in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
