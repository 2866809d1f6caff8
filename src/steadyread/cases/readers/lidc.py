"""LIDC-IDRI nodules as 2D patches in HU (doi:10.1118/1.3528204): `patches.npz` beside `nodules.csv`."""

from pathlib import Path

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.operators import own_grid
from steadyread.cases.rated_patches import is_patches, ratings_of, stored_patches
from steadyread.cases.reader import reader
from steadyread.cases.row import Pixels, Row
from steadyread.cases.tables import Line
from steadyread.errors import InputRefused, UsageError
from steadyread.names import shown
from steadyread.types import Bounds

_EXTRAS = ("nodule_id", "series_uid", "manufacturer", "equivalent_diameter_px")


@reader("lidc", recognises=is_patches, order=10, defaults={"preparation": {"window": (-1000.0, 400.0), "crop": 64}},
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
    lines, images = stored_patches(path)
    rows = tuple(_row(line, index, images.shape[1:], readers) for index, line in enumerate(lines))

    def load(row: Row) -> Pixels:
        return np.asarray(images[row.source][None])

    unlabelled = sum(row.label is None for row in rows)
    note = f"{unlabelled} of {len(rows)} nodules have no label: fewer than {readers} readers, or a mean rating of 3"
    return Cases(shown(path.name), rows, load, ("benign", "malignant"), Bounds(-1024.0, 3071.0, "HU"), True,
                 notes=(note,), native=own_grid)


def _row(line: Line, index: int, space: tuple[int, ...], readers: int) -> Row:
    ratings = ratings_of(line)
    spacing, patient = line.number_in("pixel_spacing_mm"), line.text("patient_id")
    if spacing <= 0 or not patient:
        raise InputRefused(f"{line.where}: expected a patient_id and a positive pixel_spacing_mm; "
                           f"got '{patient}' and {spacing:g}")
    mean = sum(ratings) / len(ratings) if ratings else 0.0
    label = None if len(ratings) < readers or mean == 3 else int(mean > 3)
    extras = {key: line.text(key) for key in _EXTRAS} | {"readers": len(ratings)}
    return Row(f"nodule-{int(line.number_in('nodule_id')):04d}", patient, label, f"{mean:.3f}", (spacing, spacing), "",
               index, f"{line.path.name} row {line.text('row')}", extras, (1, *space))
