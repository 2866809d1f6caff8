"""LIDC-IDRI nodules as volumes in HU (doi:10.1118/1.3528204): NIfTI `images/` and `masks/` beside `nodules.csv`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from steadyread.cases.boxes import LOW_HU, OF_NODULES, Box, Size, cases_of, told_beyond
from steadyread.cases.case_set import Cases
from steadyread.cases.labels import Rated
from steadyread.cases.nifti import centroid, nibabel, open_volume, voxels
from steadyread.cases.rated_patches import Patch, of_nodule, rated_patches
from steadyread.cases.reader import reader
from steadyread.cases.row import Row
from steadyread.cases.tables import Line, has_columns, header_of, inside, read_table
from steadyread.errors import InputRefused
from steadyread.files import is_folder, is_regular

_COLUMNS = ("patient_id", "nodule_id", "malignancy_rating", "file")
_SERIES = ("series_uid", "seriesuid")
_SCAN = ("manufacturer", "manufacturer_model", "convolution_kernel", "kvp", "slice_thickness_mm", "exposure_mas")
_GRADES = ("diameter_mm", "subtlety", "internalstructure", "calcification", "sphericity", "margin", "lobulation",
           "spiculation", "texture")


@dataclass(frozen=True)
class _Asked:
    """The reader's options, checked."""

    size: Size
    rated: Rated
    scans: Mapping[str, Mapping[str, str]]
    patches: Mapping[str, Sequence[Patch]] | None


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with both folders and the table."""
    here = is_folder(path / "images") and is_folder(path / "masks")
    return here and has_columns(path / "nodules.csv", ("malignancy_rating", "file"))


@reader("lidc-3d", recognises=recognises, order=20, defaults=OF_NODULES,
        looked_for="images/, masks/ and nodules.csv with malignancy_rating and file (LIDC-IDRI volumes)")
def read(path: Path, box_mm: float | Sequence[float] = 32.0, spacing_mm: float = 1.0, readers: int = 1,
         labels: Literal["malignancy", "rating"] = "malignancy", scan_table: Path | str | None = None,
         ratings: Path | str | None = None) -> Cases:
    """A box around each nodule, (1, z, y, x) in HU: z towards the head, y the back, x the patient's left.

    The box is centred at the mean place of the mask's voxels (a listed centre may be off) and read by plain
    linear interpolation ([B], doi:10.1088/1361-6560/abc812, says "interpolated" and no more), also where the
    scanner's pixels are finer than `spacing_mm`: a filter besides would take more of the noise away. What lies
    beyond the volume repeats its outermost voxel; `extras` say how much of the box that is (`padded_share`).
    Values below -1024 HU (padding outside the field of view) are raised to it, and counted in a note.

    A nodule is labelled where at least `readers` readers saw it and its `malignancy_rating` is not 3 ([B]):
    malignant above 3, benign below. `raw_label` is the rating. It is the table's own, a consensus, which in the
    published crops behaves like the most frequent rating; or the mean of the readers' ratings, as in [B], where
    `ratings` says who has these: a nodule of which they are not known then has no label.

    Args:
        box_mm: the box's sides, one value or (z, y, x); [B]'s is 32. Crops thinner than that want a thinner box.
        spacing_mm: of the grid that the box is read on.
        labels: "rating" gives five classes "1" to "5", the rating rounded, for the same nodules.
        scan_table: a CSV with series_uid from which each scan's manufacturer, exposure_mas and the like are
            taken; a relative path counts from `path`.
        ratings: a folder of LIDC patches (patches.npz and nodules.csv) with each reader's rating. A nodule's are those
            of the patches of its series whose middle lies in its mask (`cases.rated_patches`), and their mean is its
            rating. "" is none; a relative path counts from `path`.

    Raises:
        InputRefused: a missing column, a value that is no rating, no volume at all, nibabel not installed.
        UsageError: an option that is out of range.
    """
    size, rule = Size.of(box_mm, spacing_mm), Rated.of(labels, readers)
    nibabel()
    table = path / "nodules.csv"
    lines = read_table(table, _COLUMNS)
    if readers > 1 and not ratings and "readers" not in lines[0].values:
        raise InputRefused(f"{table}: no column 'readers', which readers={readers} asks for; leave readers out")
    asked = _Asked(size, rule, {} if scan_table is None else _scans(path / Path(scan_table).expanduser()),
                   rated_patches(path / Path(ratings).expanduser()) if ratings else None)
    rows: list[Row] = []
    missing: list[str] = []
    clamped = 0
    for line in lines:
        image, mask = (inside(path / folder, line.text("file"), line.where) for folder in ("images", "masks"))
        lacking = next((file for file in (image, mask) if not is_regular(file)), None)
        own = (asked.patches or {}).get(_series(line), ())
        box, below, found = (Box(asked.size, None), False, []) if lacking else _box(image, mask, asked.size, own)
        if lacking or not (box.problem or box.centre):
            missing.append(f"{line.where}: " + (f"no file {lacking}" if lacking else f"the mask {mask} is empty"))
            continue
        clamped += below
        rows.append(_row(line, box, asked, found))
    if not rows:
        raise InputRefused(f"{table}: none of its {len(lines)} volumes can be read; the first: {missing[0]}")

    return cases_of(path.name, rows, asked.rated.classes, missing, _notes(rows, asked, clamped, scan_table is not None))


def _scans(table: Path) -> dict[str, dict[str, str]]:
    """What a table says of each series, by its uid."""
    series = next((name for name in _SERIES if name in header_of(table)), _SERIES[0])
    scans: dict[str, dict[str, str]] = {}
    for line in read_table(table, (series,)):
        held = scans.setdefault(line.text(series), {})
        for name in _SCAN:
            value = line.text(name)
            if value and held.setdefault(name, value) != value:
                raise InputRefused(f"{line.where}: '{value}' as {name} of a series that has '{held[name]}' above; "
                                   f"mend {table}")
    return scans


def _box(image: Path, mask: Path, size: Size, patches: Sequence[Patch]) -> tuple[Box, bool, list[Patch]]:
    """The box about the nodule, whether its volume has values below the scanner's range, and the patches of it."""
    try:
        volume, marked = open_volume(image), open_volume(mask)
        if marked.shape != volume.shape or not np.allclose(marked.affine, volume.affine, atol=1e-3):
            raise InputRefused(f"{mask}: the mask has the shape {marked.shape} or a place other than those of its "
                               f"volume, {volume.shape}; resample it to the volume's grid")
        box, values = Box(size, volume, centroid(marked), marked=marked), voxels(volume)
        found = of_nodule(patches, values, voxels(marked) > 0) if patches else []
        return box, bool((values < LOW_HU).any()), found
    except InputRefused as problem:
        return Box(size, None, problem=str(problem)), False, []


def _rated(line: Line, asked: _Asked, found: Sequence[Patch]) -> tuple[float, int | None, dict[str, object]]:
    """The rating (0 is none), how many gave it, and what else is told of it: the table's own, or the readers' mean."""
    rating = line.number_in("malignancy_rating") if line.text("malignancy_rating") else 0.0
    if rating and not 1 <= rating <= 5:
        raise InputRefused(f"{line.where}: malignancy_rating must be 1 to 5, or empty for none; got {rating:g}")
    seen = int(line.number_in("readers")) if line.text("readers") else None
    if asked.patches is None:
        return rating, seen, {}
    given = [each for patch in found for each in patch.ratings]
    return sum(given) / len(given) if given else 0.0, len(given), {
        "table_rating": rating, "table_readers": seen, "patches": "|".join(patch.nodule for patch in found)}


def _series(line: Line) -> str:
    return next((line.text(name) for name in _SERIES if line.text(name)), "")


def _row(line: Line, box: Box, asked: _Asked, found: Sequence[Patch]) -> Row:
    patient = line.text("patient_id")
    if not patient:
        raise InputRefused(f"{line.where}: no patient_id; name one in every line")
    series, (rating, seen, joined) = _series(line), _rated(line, asked, found)
    facts = dict(asked.scans.get(series, {})) | {name: line.text(name) for name in _SCAN if line.text(name)}
    extras: dict[str, object] = {"nodule_id": line.text("nodule_id"), "series_uid": series, "rating": rating,
                                 "readers": seen, **joined, "manufacturer": facts.pop("manufacturer", "")}
    dose = _positive(line, facts.pop("exposure_mas", ""))
    extras |= facts | {name: line.number_in(name) for name in _GRADES if line.text(name)}
    extras |= box.facts()
    name = line.text("file").removesuffix(".gz").removesuffix(".nii")
    return Row(name, patient, asked.rated.label(rating, seen), f"{rating:g}", (asked.size.spacing_mm,) * 3, "", box,
               f"{line.where} ({line.text('file')})", extras, (1, *asked.size.extents), dose, box.beyond)


def _positive(line: Line, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise InputRefused(f"{line.where}: exposure_mas must be a positive number of mAs, or empty; got '{text}'")
    return value


def _notes(rows: Sequence[Row], asked: _Asked, clamped: int, joined: bool) -> list[str]:
    notes = [asked.rated.told(rows), told_beyond(rows, asked.size)]
    if clamped:
        notes.append(f"{clamped} of {len(rows)} volumes hold values below {LOW_HU:g} HU (padding outside the field "
                     "of view), which are raised to it")
    if asked.patches is not None:
        notes.append(_told_joined(rows, asked))
    if joined:
        known = sum(bool(row.extras["manufacturer"]) for row in rows)
        notes.append(f"the manufacturer is known of {known} of {len(rows)} nodules")
    return notes


def _told_joined(rows: Sequence[Row], asked: _Asked) -> str:
    """How many nodules' ratings are known, and how they stand to the table's."""
    known = [row for row in rows if row.extras["patches"]]
    several = sum("|" in str(row.extras["patches"]) for row in known)
    used = Counter(name for row in known for name in str(row.extras["patches"]).split("|"))
    twice = sum(count > 1 for count in used.values())
    other = sum(row.extras["table_readers"] not in (None, row.extras["readers"]) for row in known)
    theirs = [asked.rated.label(float(str(row.extras["table_rating"])), None) for row in known]
    both = [own.label != label for own, label in zip(known, theirs, strict=True) if None not in (own.label, label)]
    return (f"the readers' ratings are known of {len(known)} of {len(rows)} nodules, by the place of {len(used)} "
            f"patches (nodules of several patches: {several}, patches of several nodules: {twice}; another number of "
            f"readers than the table's: {other}). By their mean {sum(row.label is not None for row in known)} of these "
            f"have a label, by the table's rating {sum(label is not None for label in theirs)}; by both {len(both)}, "
            f"and {sum(both)} of them another")
