"""Rows that name a file each, as cases: of one kind, with what the files say of themselves."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from steadyread.cases.case_set import Cases, unknown_grid
from steadyread.cases.kind import HU, Asked, Images, Kind, Known, ending, kind_of
from steadyread.cases.operators import own_grid
from steadyread.cases.row import Pixels, Row
from steadyread.errors import InputRefused, UsageError
from steadyread.names import shown


def imaged(name: str, rows: Sequence[Row], classes: tuple[str, ...], root: Path, asked: Asked) -> Cases:
    """Cases of rows whose `source` is the file of an image each; a patient that is not known yet is "".

    All files are of one kind (`cases.kinds`), which gives the range of values and what else the files say.

    Raises:
        InputRefused: no known kind, or several; no image that can be read; a path without its patient.
        UsageError: a wrong pattern.
    """
    known = _one_kind([row.source for row in rows], root)
    images = known.images([row.source for row in rows], asked)
    colour = asked.channels == "colour"
    whole, known_patients, told = _patients([_completed(row, images, colour) for row in rows], root, asked)
    return Cases(name, whole, partial(_load, images, colour), classes, images.bounds, known_patients,
                 notes=(*images.notes, *told),
                 native=own_grid if images.bounds.unit == HU.unit else unknown_grid)


def _one_kind(files: Sequence[Path], root: Path) -> Kind:
    kinds = {file: kind_of(file) for file in files}
    unknown = next((file for file, known in kinds.items() if known is None), None)
    if unknown is not None:
        raise InputRefused(f"{unknown}: no kind of image that is read here ({ending(unknown) or 'no ending'}); convert "
                           "it, or leave it out")
    counts = Counter(known.title for known in kinds.values() if known)
    if len(counts) > 1:
        mixed = ", ".join(f"{count} {title}" for title, count in counts.most_common())
        raise InputRefused(f"{root}: images of several kinds ({mixed}), whose values have no scale in common: leave "
                           "all but one out with data.options.exclude, or convert them")
    return next(known for known in kinds.values() if known)


def _completed(row: Row, images: Images, colour: bool) -> tuple[Row, str]:
    """The row with what its file says, and the patient that it names."""
    try:
        known = images.known(row.source, row.spacing_mm is not None)
    except InputRefused:       # said again when the image is read, and set aside
        known = Known()
    shape = known.shape
    if colour and shape is not None and shape[0] == 1:
        shape = (3, *shape[1:])
    spacing = row.spacing_mm[:1] * (len(shape) - 1) if row.spacing_mm and shape else row.spacing_mm or known.spacing_mm
    return replace(row, shape=shape, spacing_mm=spacing, scan_mas=known.scan_mas,
                   extras={**known.extras, **row.extras} if known.extras else row.extras), known.patient


def _load(images: Images, colour: bool, row: Row) -> Pixels:
    pixels = images.read(row.source)
    if images.bounds.unit == HU.unit:     # padding outside the field of view; -inf stays, to be refused
        pixels = np.where(np.isfinite(pixels) & (pixels < HU.low), HU.low, pixels).astype(np.float32)
    return np.repeat(pixels, 3, axis=0) if colour and len(pixels) == 1 else pixels


def _patients(rows: Sequence[tuple[Row, str]], root: Path, asked: Asked
              ) -> tuple[tuple[Row, ...], bool, tuple[str, ...]]:
    """The rows with their patients, whether these are known, and a sentence on where they come from."""
    plain = [row for row, _ in rows]
    stated, tagged = any(row.patient for row in plain), [shown(patient) for _, patient in rows]
    if asked.patient_pattern is not None:
        if stated:
            raise UsageError("data.options: patient_pattern and a column of patients both say who is who; state one")
        pattern = _pattern(asked.patient_pattern)
        names, how = [_matched(row.source, root, pattern) for row in plain], "found in the paths by patient_pattern"
    elif stated:
        return tuple(plain), True, ()
    elif len(set(tagged) - {""}) > 1:
        names, how = [tag or row.id for row, tag in zip(plain, tagged, strict=True)], "as the files' own tags say"
        how += f"; {tagged.count('')} images name none and are taken as one each" if "" in tagged else ""
    else:
        return tuple(replace(row, patient=row.id) for row in plain), False, ()
    named = tuple(replace(row, patient=name) for row, name in zip(plain, names, strict=True))
    return named, True, (f"{len(set(names))} patients, {how}",)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as problem:
        raise UsageError(f"data.options.patient_pattern is no regular expression ({problem}): {text!r}") from None
    if pattern.groups != 1:
        raise UsageError(f"data.options.patient_pattern must have one group in parentheses, which is the patient, such "
                         f"as 'patient_(\\d+)'; got {text!r}, with {pattern.groups}")
    return pattern


def _matched(file: Path, root: Path, pattern: re.Pattern[str]) -> str:
    place = shown(file.relative_to(root).as_posix())
    match = pattern.search(place)
    if match is None or not match[1]:
        raise InputRefused(f"{place}: data.options.patient_pattern {pattern.pattern!r} finds no patient in this path; "
                           "expected one in each")
    return match[1]
