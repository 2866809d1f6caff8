"""LIDC-IDRI nodules as 2D patches in HU (doi:10.1118/1.3528204): `patches.npz` beside `nodules.csv`."""

from pathlib import Path

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.operators import own_grid
from steadyread.cases.reader import reader
from steadyread.cases.row import Pixels, Row
from steadyread.cases.stored import npz_array
from steadyread.cases.tables import Line, read_table
from steadyread.errors import InputRefused, UsageError
from steadyread.files import is_regular
from steadyread.names import shown
from steadyread.types import Bounds

_RATINGS = tuple(f"malignancy_{reader}" for reader in (1, 2, 3, 4))
_COLUMNS = ("row", "nodule_id", "patient_id", "pixel_spacing_mm", *_RATINGS)
_EXTRAS = ("nodule_id", "series_uid", "manufacturer", "equivalent_diameter_px")


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with both files."""
    return is_regular(path / "patches.npz") and is_regular(path / "nodules.csv")


@reader("lidc", recognises=recognises, order=10, defaults={"preparation": {"window": (-1000.0, 400.0), "crop": 64}},
        looked_for="patches.npz and nodules.csv (LIDC-IDRI patches)")
def read(path: Path, readers: int = 2) -> Cases:
    """The nodules of the patches, int16 HU, one row each.

    A nodule is labelled where at least `readers` readers rated it (0 is no rating) and their mean is not 3:
    malignant above 3, benign below. `raw_label` is the mean.

    Raises:
        InputRefused: a missing column, a value that is no rating, or a table that does not fit the patches.
    """
    if not 1 <= readers <= 4:
        raise UsageError(f"readers must be 1 to 4; got {readers}")
    file, table = path / "patches.npz", path / "nodules.csv"
    lines = read_table(table, _COLUMNS)
    images, ids = npz_array(file, "images_hu"), np.array(npz_array(file, "nodule_id"))
    if images.ndim != 3 or images.dtype.kind not in "iuf":
        raise InputRefused(f"{file}: images_hu must be numbers of shape (n, rows, columns); "
                           f"got {images.dtype} of shape {images.shape}")
    if not len(images) == len(ids) == len(lines):
        raise InputRefused(f"{path}: {len(images)} images and {len(ids)} ids in patches.npz, {len(lines)} rows in "
                           "nodules.csv; expected as many of each")
    rows = tuple(_row(line, index, int(ids[index]), images.shape[1:], readers) for index, line in enumerate(lines))

    def load(row: Row) -> Pixels:
        return np.asarray(images[row.source][None])

    unlabelled = sum(row.label is None for row in rows)
    note = f"{unlabelled} of {len(rows)} nodules have no label: fewer than {readers} readers, or a mean rating of 3"
    return Cases(shown(path.name), rows, load, ("benign", "malignant"), Bounds(-1024.0, 3071.0, "HU"), True,
                 notes=(note,), native=own_grid)


def _row(line: Line, index: int, nodule: int, space: tuple[int, ...], readers: int) -> Row:
    where = f"{line.path.name} row {line.text('row')}"
    if line.number_in("row") != index or line.number_in("nodule_id") != nodule:
        raise InputRefused(f"{line.where}: row {line.text('row')}, nodule {line.text('nodule_id')} stands where "
                           f"patches.npz has row {index}, nodule {nodule}; the two files do not belong together")
    ratings = [value for value in (line.number_in(column) for column in _RATINGS) if value]
    if any(value not in (1, 2, 3, 4, 5) for value in ratings):
        raise InputRefused(f"{line.where}: a malignancy rating must be 1 to 5, or 0 for none; got {ratings}")
    spacing, patient = line.number_in("pixel_spacing_mm"), line.text("patient_id")
    if spacing <= 0 or not patient:
        raise InputRefused(f"{line.where}: expected a patient_id and a positive pixel_spacing_mm; "
                           f"got '{patient}' and {spacing:g}")
    mean = sum(ratings) / len(ratings) if ratings else 0.0
    label = None if len(ratings) < readers or mean == 3 else int(mean > 3)
    extras = {key: line.text(key) for key in _EXTRAS} | {"readers": len(ratings)}
    return Row(f"nodule-{nodule:04d}", patient, label, f"{mean:.3f}", (spacing, spacing), "", index, where, extras,
               (1, *space))
