"""The table of a noise power spectrum: columns by their names and units, and what its comments state.

Taken is what has one meaning: commas, semicolons, tabs or spaces between the cells, decimal commas where commas
do not separate, UTF-8 or UTF-16 with a mark, units in the header. Everything else is refused in one line.
"""

import csv
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steadyread.errors import InputRefused, UsageError
from steadyread.files import regular_file

NEEDED = "frequency_per_mm and power_hu2_mm2"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST = 4 * 2**20       # bytes; a spectrum has some hundred rows
_FINEST = 5.0              # 1/mm: the Nyquist frequency of 0.1 mm pixels. More needs a stated unit
_SPELLINGS = (("²", "^2"), ("³", "^3"), ("⁻¹", "^-1"), ("⁻²", "^-2"), ("−", "-"), ("**", "^"), ("(f)", ""))
_LENGTHS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "µm": 0.001, "μm": 0.001}     # mm
_FREQUENCY = re.compile(r"(?:(?:spatial|radial) )?(?:f|fr|freq|frequency|frequencies)(?: (?P<unit>.*))?")
_POWER = re.compile(r"(?:(?:noise|radial|1d|2d|mean) )?(?:noise power spectrum|power spectrum|wiener spectrum|"
                    r"power spectral density|s|w|nps|psd|power)(?: (?P<unit>.*))?")
_PER_LENGTH = re.compile(r"(?:1|lp|cycles?|cyc|cy|c|line pairs?|inv|inverse)? ?(?:/|per|(?<=lp)|(?<=inv)) ?"
                         r"(mm|cm|m|um|µm|μm)|(mm|cm|m|um|µm|μm) ?\^? ?-1")
_HU_AREA = re.compile(r"hu ?\^?2 ?(mm|cm|m) ?\^?2|(mm|cm|m) ?\^?2 ?hu ?\^?2")
_OF_ANOTHER = re.compile(r"(std|sd|sem|se|err|error|var|low|high|lower|upper|min|max|ci|samples?|count|n|bin)\b.*")
_COMMENTS = {"reference_mas": "mas", "slice_thickness_mm": "mm"}


@dataclass(frozen=True)
class SpectrumTable:
    """Frequencies in 1/mm, ascending, powers in HU^2 mm^2, and what the file states besides.

    `reference_mas` and `slice_thickness_mm` are None where the comments do not state them or say unknown;
    `comment` is the first line of comment, "" where there is none.
    """

    frequency_per_mm: tuple[float, ...]
    power_hu2_mm2: tuple[float, ...]
    reference_mas: float | None
    slice_thickness_mm: float | None
    comment: str
    digest: str


@dataclass(frozen=True)
class _Columns:
    """Where frequency and power stand, by what each is multiplied, and whether the frequency's unit is stated."""

    places: tuple[int, int] = (0, 1)
    factors: tuple[float, float] = (1.0, 1.0)
    unit_stated: bool = False


def read_spectrum_table(path: Path) -> SpectrumTable:
    """The table in a text file.

    Raises:
        InputRefused: no such table; one line that names the file and the row.
        UsageError: a comment that states no dose or thickness that can be.
    """
    content = _content(path)
    lines = list(enumerate(_text(path, content).splitlines(), 1))
    comments = [line.lstrip("# ").strip() for _, line in lines if line.lstrip().startswith("#")]
    rows = [(number, line) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]
    cells = list(_cells(path, rows))
    _refuse_further_cells(path, cells)
    columns = _columns(path, cells, _commented_header(lines, rows))
    if cells and not any(_is_number(cell, True) for cell in cells[0][1]):
        cells = cells[1:]
    frequency, power = _values(path, cells, columns)
    if frequency and frequency[-1] > _FINEST and not columns.unit_stated:
        raise InputRefused(f"{path}: frequencies up to {frequency[-1]:g} without a unit, and CT has none above "
                           f"{_FINEST:g}/mm; name the columns {NEEDED}, or frequency_per_cm")
    if len(frequency) < 2 or not any(power):
        raise InputRefused(f"{path}: a spectrum needs two rows of frequency (1/mm) and power (HU^2 mm^2) at least, "
                           f"and a power above 0; found {len(frequency)} rows")
    stated = {name: _stated(path, comments, name, unit) for name, unit in _COMMENTS.items()}
    return SpectrumTable(tuple(frequency), tuple(power), **stated, comment=comments[0] if comments else "",
                         digest=hashlib.sha256(content).hexdigest()[:12])


def _content(path: Path) -> bytes:
    try:
        size = regular_file(path).stat().st_size
        if size > _LARGEST:
            raise InputRefused(f"{path}: {size} bytes, and a spectrum has some hundred rows")
        return path.read_bytes()
    except (InputRefused, OSError) as problem:
        raise _unreadable(path, str(problem).removeprefix(f"{path}: ")) from None


def _text(path: Path, content: bytes) -> str:
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as problem:
        raise _unreadable(path, f"{problem.reason} at byte {problem.start}; save it as UTF-8") from None
    if "\0" in text:
        raise _unreadable(path, "it holds zero bytes; save it as UTF-8")
    return text


def _unreadable(path: Path, reason: str) -> InputRefused:
    return InputRefused(f"{path}: not a readable text file of frequencies and powers ({reason})")


def _cells(path: Path, rows: Sequence[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row; what separates them is what stands in the first."""
    first = " ".join(line for _, line in rows[:2])
    mark = next((mark for mark in ";\t," if mark in first), None)
    for number, line in rows:
        try:
            found = line.split() if mark is None else next(csv.reader([line], delimiter=mark), [])
        except csv.Error as problem:
            raise InputRefused(f"{path}, row {number}: no row of a table ({problem})") from None
        yield number, [cell.strip() for cell in found]


def _refuse_further_cells(path: Path, cells: Sequence[tuple[int, list[str]]]) -> None:
    """Refuses rows of more cells than the first: a header without a name for the index, or decimal commas."""
    expected = len(cells[0][1]) if cells else 0
    for row, found in cells:
        if any(found[expected:]):
            raise InputRefused(f"{path}, row {row}: {len(found)} cells, where the first row has {expected}; give "
                               "every column a name, and separate cells by something else than decimal commas")


def _commented_header(lines: Sequence[tuple[int, str]], rows: Sequence[tuple[int, str]]) -> list[str]:
    """The cells of a comment right above the first row, where some writers put the names; [] where none is."""
    first = rows[0][0] if rows else 0
    above = next((line for number, line in reversed(lines) if number < first and line.strip()), "")
    mark = next((mark for mark in ";\t," if mark in above), None)
    return [cell.strip() for cell in above.lstrip("# ").split(mark)] if mark else []


def _columns(path: Path, cells: Sequence[tuple[int, list[str]]], above: list[str]) -> _Columns:
    """The columns by the table's own header, or by one in the comments that has both names; else the first two."""
    row, names = cells[0] if cells else (0, [])
    if names and not any(_is_number(name, True) for name in names):
        return _named(f"{path}, row {row}", names)
    if len(above) == len(names) and all(any(kind(name) for name in above) for kind in (_frequency, _power)):
        return _named(str(path), above)
    counts = [found[0] for _, found in cells if _is_number(found[0], False)]
    if len(counts) > 2 and [float(count) - float(counts[0]) for count in counts] == list(range(len(cells))):
        raise InputRefused(f"{path}: its first column counts the rows; name the columns {NEEDED} in a first line")
    return _Columns()


def _named(where: str, names: Sequence[str]) -> _Columns:
    places, factors = [], []
    for what, kind in (("frequency", _frequency), ("power", _power)):
        units = {place: unit for place, name in enumerate(names) if (unit := kind(name)) is not None}
        good = {place: unit for place, unit in units.items() if isinstance(unit, float)}
        if not units:
            raise InputRefused(f"{where}: no column of {what} among '{', '.join(names)[:200]}'; name the columns "
                               f"{NEEDED}")
        if len(good) != 1:
            wrong = next((unit for unit in units.values() if isinstance(unit, str)), None)
            problem = f"{len(good)} columns of {what}" if good else f"the unit of the {what} is '{wrong}'"
            raise InputRefused(f"{where}: {problem} in '{', '.join(names)[:200]}'; expected one, in "
                               f"{'1/mm or 1/cm' if what == 'frequency' else 'HU^2 mm^2'}")
        places.append(next(iter(good)))
        factors.append(next(iter(good.values())))
    stated = (match := _FREQUENCY.fullmatch(_plain(names[places[0]]))) is not None and bool(match["unit"])
    return _Columns((places[0], places[1]), (factors[0], factors[1]), stated)


def _frequency(name: str) -> float | str | None:
    """By what a column of frequencies is multiplied for 1/mm; its unit where that is none; None for another."""
    match = _FREQUENCY.fullmatch(_plain(name))
    if match is None or _OF_ANOTHER.fullmatch(match["unit"] or ""):
        return None
    unit = (match["unit"] or "").strip()
    if not unit:
        return 1.0
    length = _PER_LENGTH.fullmatch(unit)
    return 1 / _LENGTHS[length[1] or length[2]] if length else unit


def _power(name: str) -> float | str | None:
    """By what a column of powers is multiplied for HU^2 mm^2; its unit where that is none; None for another."""
    match = _POWER.fullmatch(_plain(name))
    if match is None:
        return name if re.fullmatch(r"(nnps|normali[sz]ed .*(nps|power|spectrum))\b.*", _plain(name)) else None
    unit = (match["unit"] or "").strip()
    if _OF_ANOTHER.fullmatch(unit):
        return None
    if not unit:
        return 1.0
    area = _HU_AREA.fullmatch(unit)
    return _LENGTHS[area[1] or area[2]] ** 2 if area else unit


def _plain(name: str) -> str:
    """A column's name in lower case, with one spelling of powers, and spaces for what only separates."""
    plain = name.lower()
    for written, meant in _SPELLINGS:
        plain = plain.replace(written, meant)
    return re.sub(r" (/|in) ", " ", " ".join(re.sub(r"[_\[\](){}·⋅×*,:]+", " ", plain).split()))


def _values(path: Path, cells: Sequence[tuple[int, list[str]]], columns: _Columns
            ) -> tuple[list[float], list[float]]:
    commas = not any("." in cell for _, row in cells for cell in row)
    frequency: list[float] = []
    power: list[float] = []
    for row, found in cells:
        f, s = _row(f"{path}, row {row}", found, columns, commas)
        if frequency and f <= frequency[-1]:
            raise InputRefused(f"{path}, row {row}: frequencies must ascend; {f:g}/mm follows {frequency[-1]:g}/mm")
        frequency.append(f)
        power.append(s)
    return frequency, power


def _row(where: str, cells: Sequence[str], columns: _Columns, commas: bool) -> tuple[float, float]:
    """One row's frequency and power."""
    found = []
    for place, factor, what in zip(columns.places, columns.factors, (
            "frequency (1/mm)", "power (HU^2 mm^2)"), strict=True):
        cell = cells[place] if place < len(cells) else ""
        if not cell:
            raise InputRefused(f"{where}: the {what} in column {place + 1} is missing")
        if not _is_number(cell, commas):
            raise InputRefused(f"{where}: the {what} in column {place + 1} is not a number: '{cell[:40]}'")
        value = float(cell.replace(",", "."))
        if value < 0:
            raise InputRefused(f"{where}: the {what} in column {place + 1} is negative: {cell[:40]}")
        found.append(value * factor)
    return found[0], found[1]


def _is_number(cell: str, commas: bool) -> bool:
    """Whether a cell is a finite number; with a decimal comma only where the table has no decimal point."""
    plain = cell.replace(",", ".") if commas else cell
    return _NUMBER.fullmatch(plain) is not None and math.isfinite(float(plain))


def _stated(path: Path, comments: Sequence[str], name: str, unit: str) -> float | None:
    """A number above 0 that a comment states, such as 'reference_mas: 100 mAs'."""
    pattern = re.compile(name.replace("_", "[ _]?") + r"\s*[:=]\s*(.*)", re.IGNORECASE)
    texts = {match[1].strip() for line in comments if (match := pattern.fullmatch(line))}
    known = {text for text in texts if text.lower() not in ("", "unknown", "none", "not known")}
    if not known:
        return None
    text = next(iter(known))
    number = re.fullmatch(f"({_NUMBER.pattern})\\s*({unit})?", text, re.IGNORECASE | re.ASCII)
    if len(known) > 1 or number is None or not 0 < float(number[1]) < math.inf:
        raise UsageError(f"{path}: '# {name}: {' and '.join(sorted(known))[:60]}' is not understood; expected one "
                         f"number above 0, in {'mAs' if unit == 'mas' else unit}")
    return float(number[1])
