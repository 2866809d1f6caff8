"""mini-MIAS: lesions cut out of the mammograms by the data base's own table (Suckling et al. 1994)."""

import re
from collections import Counter
from pathlib import Path

from steadyread.cases.case_set import Cases
from steadyread.cases.geometry import box
from steadyread.cases.pictures import SUFFIXES, Look, read_picture
from steadyread.cases.reader import reader
from steadyread.cases.row import Pixels, Row
from steadyread.cases.set_aside import Exclude, without_excluded
from steadyread.errors import InputRefused, UsageError
from steadyread.files import entries, is_folder, is_regular, regular_file
from steadyread.names import shown
from steadyread.types import Bounds

# The data base: digitised at 50 micron, reduced to 200 micron a pixel, clipped or padded to 1024 x 1024.
_SPACING = 0.2
_SIDE = 1024
_LARGEST = 2**24   # bytes of its table that are read
_ENTRY = re.compile(r"^(mdb(\d{3}))\s+([FGD])\s+([A-Z]{4})\b\s*(?:([BM])\b)?\s*(.*)$")
_TABLES = ("lesions.txt", "Info.txt", "info.txt", "INFO.txt")
LOOKED_FOR = "lesions.txt or Info.txt beside mdb001.jpg (png, pgm) ..., here or in images/ (mini-MIAS)"


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with the table of lesions."""
    return _table(path) is not None


@reader("mini-mias", recognises=recognises, order=40, defaults={"preparation": {"size": 64}},
        looked_for=LOOKED_FOR)
def read(path: Path, box_mm: float = 48.0, follow_lesion: bool = False, exclude: Exclude = ()) -> Cases:
    """The lesions with coordinates, benign or malignant, one grey channel of 0..255.

    Each is cut as a square of `box_mm` around its centre (48 mm: 240 pixels, wider than 95 % of the
    lesions). The box is the same for every lesion on purpose: one that follows the radius shows the
    lesion's size in its own size, or in its sharpness once resized, and so tells the label (the size of
    such boxes alone: AUC 0.65). What lies beyond the picture is filled with black; the audit says how much
    that tells. x counts from the left, y from the **bottom**: row = 1024 - y. mdb(2k-1) and mdb(2k) are
    the two breasts of one woman.

    Args:
        box_mm: the side of the box.
        follow_lesion: cut squares of the lesion's own diameter instead (at least 32 pixels), to show the leak.
        exclude: patterns of pictures to leave out.

    Raises:
        InputRefused: a line that is no entry, a picture of another size, no picture at all.
    """
    if not 0 < box_mm <= _SIDE * _SPACING:
        raise UsageError(f"box_mm must lie above 0 and be at most {_SIDE * _SPACING:g}; got {box_mm:g}")
    table = _table(path)
    if table is None:
        raise InputRefused(f"{path}: expected {LOOKED_FOR}")
    entries, without = _entries(table)
    pictures = _pictures(path, exclude)
    rows, missing, seen = [], [], Counter[str]()
    for where, name, letter, x, y, radius, kind in entries:
        seen[name] += 1
        file = pictures.get(name)
        if file is None:
            missing.append(f"{where}: no picture {name} ({', '.join(SUFFIXES)}) in {path} or its images/")
            continue
        side = max(32, 2 * radius) if follow_lesion else round(box_mm / _SPACING)
        corner = (_SIDE - y - side // 2, x - side // 2)
        woman = (int(name[3:]) + 1) // 2
        rows.append(Row(f"{name}/{seen[name]}", f"woman-{woman:03d}", int(letter == "M"), letter,
                        (_SPACING, _SPACING), "", (file, corner, side), where,
                        {"radius_px": radius, "kind": kind}, (1, side, side)))
    if not rows:
        raise InputRefused(f"{path}: none of the {len(entries)} lesions of {table.name} has its picture; "
                           f"expected {LOOKED_FOR}")
    notes = tuple(f"{where}: the lesion has no coordinates and cannot be cut out" for where in without)
    return Cases(shown(path.name), tuple(rows), _load, ("benign", "malignant"), Bounds(0.0, 255.0, "grey level"),
                 True, tuple(missing), notes)


def _load(row: Row) -> Pixels:
    file, corner, side = row.source
    pixels = read_picture(file, Look(1, 8))
    if pixels.shape[1:] != (_SIDE, _SIDE):
        raise InputRefused(f"{file}: expected {_SIDE} x {_SIDE} pixels, to which the table's coordinates refer; "
                           f"got {' x '.join(map(str, pixels.shape[1:]))}")
    return box(pixels, corner, (side, side), 0)


def _table(path: Path) -> Path | None:
    return next((path / name for name in _TABLES if is_regular(path / name) and any(
        map(_ENTRY.match, _lines(path / name)))), None)


def _lines(table: Path) -> list[str]:
    with regular_file(table).open("rb") as file:
        return file.read(_LARGEST).decode("utf-8", "replace").splitlines()


def _entries(table: Path) -> tuple[list[tuple[str, str, str, int, int, int, str]], list[str]]:
    """Lesions with coordinates as (where, name, B or M, x, y, radius, kind), and lesions without any."""
    entries, without = [], []
    for number, line in enumerate(_lines(table), 1):
        match = _ENTRY.match(line.strip())
        where = f"{table.name} line {number}"
        if match is None:
            if line.startswith("mdb"):
                raise InputRefused(f"{where}: expected 'mdbNNN tissue class [B|M x y radius]'; "
                                   f"got '{line.strip()}'")
            continue
        name, _, _, kind, letter, rest = match.groups()
        if kind == "NORM":
            continue
        if letter is None:
            raise InputRefused(f"{where}: the lesion of {name} is neither B (benign) nor M (malignant)")
        values = rest.split()
        if len(values) == 3 and all(value.isdecimal() and len(value) < 6 for value in values):
            x, y, radius = map(int, values)
            if not (x < _SIDE and y <= _SIDE and 0 < radius < _SIDE):
                raise InputRefused(f"{where}: the lesion lies at {x}, {y} with the radius {radius}, not in "
                                   f"{_SIDE} x {_SIDE} pixels")
            entries.append((where, name, letter, x, y, radius, kind))
        else:
            without.append(f"{where} ({name})")
    return entries, without


def _pictures(path: Path, exclude: Exclude) -> dict[str, Path]:
    folders = [folder for folder in (path / "images", path) if is_folder(folder)]
    found = [file for folder in folders for file in entries(folder)
             if file.stem.startswith("mdb") and file.suffix.lower() in SUFFIXES and is_regular(file)]
    return {file.stem: file for file in without_excluded(found, path, exclude)[0]} if found else {}
