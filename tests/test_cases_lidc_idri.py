"""LIDC-IDRI as it is published: the readers' drawings become nodules, and these cubes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabricate_ct import UPRIGHT, hu_at, write_readings, write_series
from steadyread.cases import Cases, open_cases
from steadyread.cases.marks import inside_outlines
from steadyread.errors import InputRefused, UsageError

pytest.importorskip("pydicom")
SERIES = "1.3.6.1.4.1.14519.5.2.1.6279.6001.1"


def square(top: int, left: int, side: int) -> list[tuple[int, int]]:
    """The outline of a square, the pixels beside those of `side` by `side`."""
    along = range(side + 1)
    across = [(top - 1, left - 1 + at) for at in along], [(top + side, left + side - at) for at in along]
    down = [(top - 1 + at, left + side) for at in along], [(top + side - at, left - 1) for at in along]
    return [*across[0], *down[0], *across[1], *down[1]]


def rated(malignancy: int, **others: int) -> dict[str, int]:
    return {"subtlety": 4, "internalStructure": 1, "malignancy": malignancy, **others}


def made(folder: Path, sessions: Any, patient: str = "LIDC-IDRI-0001", **series: Any) -> Path:
    """One patient's folder in the collection's layout."""
    place = folder / patient / "01-01-2000-30178" / "3000566.000000-03192"
    write_series(place, SeriesInstanceUID=SERIES, PatientID=patient, **series)
    write_readings(place / "069.xml", sessions, SERIES)
    return folder


FIRST = [(rated(5), [(at, square(10, 12, 4), True) for at in (9, 10, 11)]),
         (rated(1, subtlety=2), [(16, square(30, 25, 3), True)])]
SECOND = [(rated(4), [(at, square(11, 12, 4), True) for at in (10, 11)])]
THIRD = [({}, [(5, [(5, 5)], True)]), (rated(2), [(16, square(31, 25, 3), True), (17, square(31, 25, 3), True)])]


def test_drawings_that_share_a_voxel_are_one_nodule(tmp_path: Path) -> None:
    cases = open_cases(made(tmp_path, [FIRST, SECOND, THIRD, []]), box_mm=8)
    assert [(row.patient, row.raw_label, row.label, row.extras["readers"]) for row in cases.rows] == [
        ("LIDC-IDRI-0001", "4.5", 1, 2), ("LIDC-IDRI-0001", "1.5", 0, 2)]
    assert [row.extras["subtlety"] for row in cases.rows] == [4, 3]
    both = cases.rows[0].source
    # at least one of the two: three slices of 4 x 4, and the row below in two
    assert both.marked.values.sum() == 3 * 16 + 2 * 4
    rows = np.repeat([10, 11, 12, 13, 14], [12, 12, 12, 12, 8])
    assert both.centre == pytest.approx(((9 * 16 + 10 * 20 + 11 * 20) / 56, rows.mean(), 13.5))
    place = np.array([-10, 5, -20]) + np.array(both.centre)[::-1] * [0.7, 0.8, 2.0]
    assert cases[0].image.mean().item() == pytest.approx(hu_at(place), abs=0.05)
    volume = 56 * 0.7 * 0.8 * 2
    assert cases.rows[0].extras["diameter_mm"] == pytest.approx((6 * volume / np.pi) ** (1 / 3))
    assert {"kvp", "exposure_mas", "convolution_kernel", "slice_spacing_mm"} <= set(cases.rows[0].extras)


def test_a_voxel_needs_half_of_the_readers(tmp_path: Path) -> None:
    drawn = [[(rated(malignancy), [(10, square(10, left, 4), True)])]
             for malignancy, left in ((5, 10), (4, 10), (5, 11), (1, 13))]
    cases = open_cases(made(tmp_path, [*drawn[:3], [*drawn[3], (rated(2), [(3, square(20, 20, 3), True)])]]), box_mm=6)
    assert cases.rows[1].raw_label == "3.75"
    marked = cases.rows[1].source.marked
    # of four readers two are needed: columns 10 to 13 by the first two, 14 by the third and the fourth
    assert (marked.corner, marked.values.shape) == ((10, 10, 10), (1, 4, 5))
    assert marked.values.all()


def test_holes_and_nodules_without_an_inside(tmp_path: Path) -> None:
    hollow = [(10, square(10, 10, 8), True), (10, square(13, 13, 2), False)]
    speck = [(5, [(20, 20), (20, 21), (21, 21), (21, 20)], True)]
    cases = open_cases(made(tmp_path, [[(rated(5), hollow), (rated(1), speck)]]), box_mm=6)
    benign, malignant = cases.rows
    assert malignant.source.marked.values.sum() == 64 - 4
    assert benign.source.centre == (5, 20.5, 20.5)
    assert benign.source.marked.values.sum() == 4


def test_few_readers_a_rating_of_three_and_five_classes(tmp_path: Path) -> None:
    middle = [(rated(3), [(20, square(5, 5, 3), True)])]
    folder = made(tmp_path, [[*FIRST, *middle], SECOND, THIRD])
    assert len(open_cases(folder, every_row=True)) == 3
    assert len(open_cases(folder)) == 2
    assert [row.raw_label for row in open_cases(folder, readers=2).rows] == ["4.5", "1.5"]
    with pytest.raises(InputRefused, match="0 labelled images"):
        open_cases(folder, readers=3)
    assert open_cases(folder, labels="rating").classes == ("1", "2", "3", "4", "5")
    with pytest.raises(UsageError, match="readers must be 1 to 4"):
        open_cases(folder, readers=5)


def test_the_xml_may_lie_elsewhere_and_series_may_be_absent(tmp_path: Path) -> None:
    root = made(tmp_path / "manifest" / "LIDC-IDRI", [FIRST, SECOND]).parent
    (file,) = root.rglob("069.xml")
    (tmp_path / "xml" / "157").mkdir(parents=True)
    file.rename(tmp_path / "xml" / "157" / "158.xml")
    write_readings(tmp_path / "xml" / "other.xml", [FIRST], "1.2.99")
    write_readings(tmp_path / "xml" / "chest.xml", [FIRST], "1.2.98", root="IdriReadMessage")
    with pytest.raises(InputRefused, match=r"no readers' XML .*LIDC-XML-only.*data.options.xml"):
        open_cases(root)
    cases = open_cases(root, xml=str(tmp_path / "xml"))
    assert len(cases) == 2
    assert "the CT series of 1 of 2 readers' files are not here" in cases.notes
    (tmp_path / "xml" / "157" / "158.xml").unlink()
    with pytest.raises(InputRefused, match="none of its 1 CT series"):
        open_cases(root, xml=str(tmp_path / "xml"))


def test_two_files_about_one_series_are_one_where_they_are_copies_and_none_where_they_differ(tmp_path: Path) -> None:
    folder = made(tmp_path, [FIRST, SECOND])
    (file,) = folder.rglob("069.xml")
    (tmp_path / "copy.xml").write_bytes(file.read_bytes())
    assert len(open_cases(tmp_path)) == 2
    write_readings(tmp_path / "copy.xml", [FIRST], SERIES)
    with pytest.raises(InputRefused, match=r"two readers' files are about its series, .*differ"):
        open_cases(tmp_path)


def test_a_series_that_cannot_be_cut_from_is_missing_with_its_reason(tmp_path: Path) -> None:
    made(tmp_path, [FIRST, SECOND])
    place = tmp_path / "LIDC-IDRI-0002" / "scan"
    write_series(place, SeriesInstanceUID="1.2.4", ImagePositionPatient=lambda at: [0, 0, 2.0 * at + 2 * (at > 9)])
    write_readings(place / "1.xml", [FIRST], "1.2.4")
    cases: Cases = open_cases(tmp_path)
    assert len(cases) == 2
    assert len(cases.missing) == 1
    assert cases.missing[0].startswith("LIDC-IDRI-0002: ")
    assert "slices are missing" in cases.missing[0]
    assert cases.missing[0].endswith("2 drawings are left out")
    next(tmp_path.rglob("069.xml")).unlink()
    write_readings(tmp_path / "LIDC-IDRI-0001" / "1.xml", [[(rated(5), [(90, square(5, 5, 3), True)])]], SERIES)
    with pytest.raises(InputRefused, match=r"that a reader drew in is not in the series"):
        open_cases(tmp_path)


@pytest.mark.parametrize(("text", "told"), [
    ("<LidcReadMessage><readingSession>", "damaged readers' XML"),
    ("<LidcReadMessage>" + "<a/>" * 2**22, "larger than 16 MiB"),
    ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><LidcReadMessage>&b;</LidcReadMessage>', "defines entities"),
    ("<LidcReadMessage><SeriesInstanceUid>1</SeriesInstanceUid><readingSession><unblindedReadNodule><characteristics>"
     "<malignancy>high</malignancy></characteristics></unblindedReadNodule></readingSession></LidcReadMessage>",
     "could not convert"),
    ("<LidcReadMessage><SeriesInstanceUid>1</SeriesInstanceUid><readingSession><unblindedReadNodule><characteristics>"
     "<malignancy>4</malignancy></characteristics><roi><edgeMap><xCoord>1e9</xCoord><yCoord>3</yCoord></edgeMap></roi>"
     "</unblindedReadNodule></readingSession></LidcReadMessage>", "lies in no image")])
def test_damaged_and_hostile_xml_is_refused(tmp_path: Path, text: str, told: str) -> None:
    made(tmp_path, [FIRST, SECOND])
    (tmp_path / "LIDC-IDRI-0001" / "odd.xml").write_text(text)
    with pytest.raises(InputRefused, match=told) as refusal:
        open_cases(tmp_path)
    assert "odd.xml" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_more_drawings_than_any_series_has_are_refused_before_they_are_compared(tmp_path: Path) -> None:
    made(tmp_path, [[FIRST[0]] * 1025])
    with pytest.raises(InputRefused, match=r"readers drew 1,025 nodules in the series"):
        open_cases(tmp_path)


def test_an_outline_that_crosses_rows_without_end_is_refused() -> None:
    rows = np.tile([0.0, 511.0], 20_000)
    with pytest.raises(InputRefused, match="voxels are marked"):
        inside_outlines([np.column_stack([np.zeros_like(rows), rows, np.arange(len(rows)) % 512])], (1, 512, 512))


def test_prone_series_have_the_same_nodules(tmp_path: Path) -> None:
    upright = open_cases(made(tmp_path / "a", [FIRST, SECOND], axes=UPRIGHT), box_mm=8)
    prone = open_cases(made(tmp_path / "b", [FIRST, SECOND], axes=(-1, 0, 0, 0, -1, 0), corner=(10, 40, -20)), box_mm=8)
    for cases in (upright, prone):
        stack = cases.rows[1].source.volume
        place = stack.first_mm + np.array(cases.rows[1].source.centre) @ stack.steps_mm
        assert cases[1].image.mean().item() == pytest.approx(hu_at(place), abs=0.05)
    assert sorted(row.source.marked.values.sum() for row in prone.rows) == sorted(
        row.source.marked.values.sum() for row in upright.rows)
