"""Patches of LIDC-IDRI nodules with each reader's rating, and which of them is of which nodule of a volume.

Their tables name the series and no place in it. The place is in the pixels: a patch's middle lies in the nodule of
which it is, and what surrounds it there stands voxel by voxel in the volume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from steadyread.cases.stored import npz_array
from steadyread.cases.tables import Line, read_table
from steadyread.errors import InputRefused
from steadyread.files import is_regular

_RATINGS = tuple(f"malignancy_{reader}" for reader in (1, 2, 3, 4))
_COLUMNS = ("row", "nodule_id", "patient_id", "pixel_spacing_mm", *_RATINGS)
_REACH = 2          # pixels each way about a patch's middle that must be the volume's

Images = NDArray[Any]


@dataclass(frozen=True)
class Patch:
    """One patch as it joins a volume: its nodule in its own table, who rated it how, and the pixels of its middle."""

    nodule: str
    ratings: tuple[int, ...]
    middle: Images


def is_patches(path: Path) -> bool:
    """Whether `path` is a folder with patches and their table."""
    return is_regular(path / "patches.npz") and is_regular(path / "nodules.csv")


def stored_patches(path: Path, further: tuple[str, ...] = ()) -> tuple[list[Line], Images]:
    """The table's lines and the images, int16 HU, one for each line; the columns of `further` must be there too.

    Raises:
        InputRefused: a missing column, or a table that does not fit the patches.
    """
    file, table = path / "patches.npz", path / "nodules.csv"
    lines = read_table(table, (*_COLUMNS, *further))
    images, ids = npz_array(file, "images_hu"), np.array(npz_array(file, "nodule_id"))
    if images.ndim != 3 or images.dtype.kind not in "iuf":
        raise InputRefused(f"{file}: images_hu must be numbers of shape (n, rows, columns); "
                           f"got {images.dtype} of shape {images.shape}")
    if not len(images) == len(ids) == len(lines):
        raise InputRefused(f"{path}: {len(images)} images and {len(ids)} ids in patches.npz, {len(lines)} rows in "
                           "nodules.csv; expected as many of each")
    for index, line in enumerate(lines):
        if line.number_in("row") != index or line.number_in("nodule_id") != int(ids[index]):
            raise InputRefused(f"{line.where}: row {line.text('row')}, nodule {line.text('nodule_id')} stands where "
                               f"patches.npz has row {index}, nodule {int(ids[index])}; the two files do not belong "
                               "together")
    return lines, images


def ratings_of(line: Line) -> tuple[int, ...]:
    """The readers' ratings in a line of the table.

    Raises:
        InputRefused: one is no rating.
    """
    ratings = [value for value in (line.number_in(column) for column in _RATINGS) if value]
    if any(value not in (1, 2, 3, 4, 5) for value in ratings):
        raise InputRefused(f"{line.where}: a malignancy rating must be 1 to 5, or 0 for none; got {ratings}")
    return tuple(map(int, ratings))


def rated_patches(path: Path) -> Mapping[str, list[Patch]]:
    """The patches of a folder by the uid of their series.

    Raises:
        InputRefused: no such folder, or one of other files.
    """
    if not is_patches(path):
        raise InputRefused(f"{path}: expected a folder with patches.npz and nodules.csv, the readers' ratings of LIDC "
                           "nodules; name it in data.options.ratings, or leave that out for the table's own rating")
    lines, images = stored_patches(path, ("series_uid",))
    if min(images.shape[1:]) <= 2 * _REACH:
        raise InputRefused(f"{path}: patches of {images.shape[1]} x {images.shape[2]} pixels; at least "
                           f"{2 * _REACH + 1} each way are needed to find them in their volumes")
    rows, columns = (slice(extent // 2 - _REACH, extent // 2 + _REACH + 1) for extent in images.shape[1:])
    found: dict[str, list[Patch]] = {}
    for line, image in zip(lines, images, strict=True):
        found.setdefault(line.text("series_uid"), []).append(
            Patch(line.text("nodule_id"), ratings_of(line), np.asarray(image[rows, columns], np.float32)))
    return found


def of_nodule(patches: Sequence[Patch], volume: Images, marked: Images) -> list[Patch]:
    """Those of the patches whose middle is one of the `marked` voxels of a volume, both (z, y, x).

    The voxels about it must be the patch's up to one number, as tables of different origin turn what a scanner
    stored into HU by different zeros. Patches lie as the scan's rows and columns run, volumes as the patient does, who
    may have lain prone: a patch is looked for mirrored along either too. One of a single value is found nowhere.
    """
    known = [patch for patch in patches if np.ptp(patch.middle) > 0]
    if not known or not marked.any():
        return []
    edge = np.pad(volume.astype(np.float32), ((0, 0), (_REACH, _REACH), (_REACH, _REACH)), constant_values=np.nan)
    about = sliding_window_view(edge, (2 * _REACH + 1,) * 2, axis=(1, 2))
    places = np.argwhere(marked)
    steps = about[..., _REACH, _REACH + 1][marked] - about[..., _REACH, _REACH][marked]
    return [patch for patch in known if any(
        _stands(middle, about, places[steps == _step(middle)])
        for turned in (patch.middle, patch.middle[::-1]) for middle in (turned, turned[:, ::-1]))]


def _step(middle: Images) -> float:
    """What a patch's middle has to the next pixel of its row, by which most places are ruled out."""
    return float(middle[_REACH, _REACH + 1] - middle[_REACH, _REACH])


def _stands(middle: Images, about: Images, places: Images) -> bool:
    """Whether a patch's middle is what is about one of these places, up to one number."""
    there = about[tuple(places.T)]
    return bool((there - middle == (there - middle)[:, :1, :1]).all((1, 2)).any())
