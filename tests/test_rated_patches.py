"""The readers' ratings of LIDC nodules, joined to volumes by the place of their patches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steadyread.cases import open_cases
from steadyread.errors import InputRefused
from test_cases_volumes import made, nib, table


def patches(folder: Path, of: list[tuple[str, int, tuple[int, ...], int]], prone: bool = False) -> None:
    """LIDC patches cut from `set/images`: for each the series, the nodule's file, ratings, and an offset in HU."""
    images, rows = [], []
    for row, (series, index, ratings, offset) in enumerate(of):
        values = np.asarray(nib.load(folder / "set" / "images" / f"n{index}.nii.gz").dataobj)
        middle = np.array(values.shape) // 2
        part = values[middle[0] - 4:middle[0] + 5, middle[1] - 4:middle[1] + 5, middle[2]]
        rows_of = part.T + offset           # rows towards the back, columns towards the left
        images.append(rows_of[::-1, ::-1] if prone else rows_of)
        given = dict(zip((f"malignancy_{reader}" for reader in (1, 2, 3, 4)), (*ratings, 0, 0, 0, 0)[:4], strict=True))
        rows.append({"row": row, "nodule_id": 100 + row, "patient_id": "p", "series_uid": series,
                     "pixel_spacing_mm": 0.7, **given})
    table(folder / "patches", rows)
    np.savez(folder / "patches" / "patches.npz", images_hu=np.array(images, np.int16),
             nodule_id=np.array([row["nodule_id"] for row in rows]))


def test_the_mean_of_the_readers_ratings_is_of_the_patches_that_lie_in_the_nodule(tmp_path: Path) -> None:
    """By series and pixels, up to the zero of HU; several patches of one nodule are taken together."""
    made(tmp_path / "set", 5, readers=4)
    patches(tmp_path, [("1.2.0", 0, (5, 4, 5), 0), ("1.2.0", 0, (4,), 24),      # one nodule in two patches
                       ("1.2.1", 1, (3, 3, 2, 4), 0),                           # a mean of 3: no label
                       ("1.2.2", 2, (2, 1, 1, 2), 0), ("1.2.2", 3, (5, 5, 5, 5), 0),    # the latter of another volume
                       ("1.9", 3, (5, 5), 0)])                                  # of another series
    cases = open_cases(tmp_path / "set", box_mm=6, ratings="../patches", every_row=True)
    assert [row.extras["rating"] for row in cases.rows] == [4.5, 3.0, 1.5, 0.0, 0.0]
    assert [row.label for row in cases.rows] == [1, None, 0, None, None]
    assert [row.extras["readers"] for row in cases.rows] == [4, 4, 4, 0, 0]
    assert [row.extras["patches"] for row in cases.rows] == ["100|101", "102", "103", "", ""]
    assert [row.extras["table_rating"] for row in cases.rows] == [1, 5, 2, 4, 1]
    assert cases.notes[-1] == (
        "the readers' ratings are known of 3 of 5 nodules, by the place of 4 patches (nodules of several patches: 1, "
        "patches of several nodules: 0; another number of readers than the table's: 0). By their mean 2 of these have "
        "a label, by the table's rating 3; by both 2, and 1 of them another")
    rated = open_cases(tmp_path / "set", box_mm=6, ratings="../patches", labels="rating")
    assert [rated.classes[row.label or 0] for row in rated.rows] == ["5", "2"]
    assert len(open_cases(tmp_path / "set", box_mm=6, ratings="")) == 5     # none: the table's own


def test_a_scan_of_a_patient_who_lay_prone_has_its_rows_the_other_way(tmp_path: Path) -> None:
    made(tmp_path / "set", 2)
    patches(tmp_path, [("1.2.0", 0, (5, 4), 0), ("1.2.1", 1, (2, 1), 24)], prone=True)
    cases = open_cases(tmp_path / "set", box_mm=6, ratings="../patches")
    assert [row.extras["rating"] for row in cases.rows] == [4.5, 1.5]


def test_a_patch_of_one_value_is_found_nowhere_and_ratings_are_a_folder_of_patches(tmp_path: Path) -> None:
    made(tmp_path / "set", 2)
    patches(tmp_path, [("1.2.0", 0, (5,), 0), ("1.2.1", 1, (5,), 0)])
    np.savez(tmp_path / "patches" / "patches.npz", images_hu=np.zeros((2, 9, 9), np.int16), nodule_id=[100, 101])
    with pytest.raises(InputRefused, match="0 labelled images"):
        open_cases(tmp_path / "set", box_mm=6, ratings="../patches")
    with pytest.raises(InputRefused, match=r"expected a folder with patches.npz and nodules.csv.*data.options.ratings"):
        open_cases(tmp_path / "set", box_mm=6, ratings="../set")


@pytest.mark.slow
def test_the_readers_of_lidc_nodules_are_those_of_their_patches(shared_data: Callable[[str], Path]) -> None:
    """One to one: no patch lies in two nodules, and the number of readers is nearly always the table's."""
    cases = open_cases(shared_data("lidc-nodules-3d"), box_mm=(5, 24, 24), ratings=shared_data("lidc-patches-2d"))
    assert cases.counts() == {"benign": 443, "malignant": 399}
    assert cases.notes[-1] == (
        "the readers' ratings are known of 988 of 994 nodules, by the place of 1056 patches (nodules of several "
        "patches: 65, patches of several nodules: 0; another number of readers than the table's: 6). By their mean 842 "
        "of these have a label, by the table's rating 626; by both 574, and 33 of them another")
