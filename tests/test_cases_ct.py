"""Cubes from CT series in DICOM: about points and about what other files mark, where they lie, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabricate_ct import (
    CORONAL,
    PRONE,
    TURNED,
    UPRIGHT,
    hu_at,
    item,
    write_contours,
    write_groups,
    write_marking,
    write_segments,
    write_series,
)
from steadyread.cases import Cases, open_cases
from steadyread.cases.operators import applied
from steadyread.cases.stack import series_among
from steadyread.errors import InputRefused, UsageError

pytest.importorskip("pydicom")


def write_points(folder: Path, points: Any, header: str = "x,y,z,label", **columns: Any) -> Path:
    """A table of points, malignant and benign in turn, with further columns."""
    lines = [",".join([header, *columns])]
    for at, point in enumerate(points):
        values = [*(f"{value:.3f}" for value in point), ("malignant", "benign")[at % 2],
                  *(str(value[at]) for value in columns.values())]
        lines.append(",".join(values))
    (folder / "points.csv").write_text("\n".join(lines) + "\n")
    return folder


def middle(axes: tuple[float, ...], count: int = 24, step: float = 2.0) -> Any:
    """The middle of a made series."""
    across, down = np.array(axes[:3]), np.array(axes[3:])
    return np.array([-10, 5, -20]) + across * 12 + down * 15 + np.cross(across, down) * step * (count - 1) / 2


def moved(point: Any, x: float, y: float, z: float) -> Any:
    """A place so many mm from another."""
    return np.add(point, (x, y, z))


def places_about(point: Any, extents: tuple[int, ...], spacing: float) -> Any:
    """The patient's coordinates (z, y, x, 3) of a cube's points."""
    z, y, x = np.indices(extents)
    offsets = [(index - (extent - 1) / 2) * spacing for index, extent in zip((x, y, z), extents[::-1], strict=True)]
    return point + np.stack(offsets, axis=-1)


@pytest.mark.parametrize("axes", [UPRIGHT, PRONE, TURNED, CORONAL, (-1, 0, 0, 0, 1, 0)])
@pytest.mark.parametrize(("box", "spacing"), [(8, 1.0), ((5, 6, 7), 1.0), (4, 0.5)])
def test_a_cube_shows_what_lies_at_its_places(tmp_path: Path, axes: Any, box: Any, spacing: float) -> None:
    write_series(tmp_path / "scan", axes)
    points = [middle(axes), moved(middle(axes), 1.3, -0.4, 0.9)]
    cases = open_cases(write_points(tmp_path, points), box_mm=box, spacing_mm=spacing)
    for case, point in zip(cases, points, strict=True):
        wanted = hu_at(places_about(point, tuple(case.image.shape[1:]), spacing))
        np.testing.assert_allclose(case.image[0].numpy(), wanted, atol=0.05)      # stored in steps of 1/32 HU
        assert case.spacing_mm == (spacing,) * 3


@pytest.mark.parametrize("axes", [UPRIGHT, PRONE])
def test_a_cube_is_what_simpleitk_resamples(tmp_path: Path, axes: Any) -> None:
    values = np.random.default_rng(0).normal(0, 200, (24, 40, 36))
    write_series(tmp_path / "scan", axes, values=values)
    points = [middle(axes), moved(middle(axes), 2.21, -1.7, 3.3)]
    _compared(open_cases(write_points(tmp_path, points), box_mm=9), points, 1.0)


def test_a_cube_of_a_real_series_is_what_simpleitk_resamples(shared_data: Callable[[str], Path], tmp_path: Path
                                                              ) -> None:
    (tmp_path / "scan").symlink_to(shared_data("chest-ct-series"))
    points = [(20.3, -110.0, -120.0), (-60.0, -150.5, -130.2)]
    cases = open_cases(write_points(tmp_path, points), spacing_mm=1.0)
    assert tuple(cases[0].image.shape) == (1, 32, 32, 32)
    _compared(cases, points, 1.0)
    assert cases.rows[0].patient == "C3N-00247"
    assert cases.rows[0].extras["convolution_kernel"] == "B70f"
    assert 130 < (cases.rows[0].scan_mas or 0) < 200


def _compared(cases: Cases, points: Any, spacing: float) -> None:
    itk = pytest.importorskip("SimpleITK")
    stack = cases.rows[0].source.volume
    files = itk.ImageSeriesReader()
    files.SetFileNames([str(file) for file in stack.files])
    scan = itk.Cast(files.Execute(), itk.sitkFloat32)
    for case, point in zip(cases, points, strict=True):
        grid = itk.Image(list(case.image.shape[:0:-1]), itk.sitkFloat32)
        grid.SetSpacing([spacing] * 3)
        grid.SetOrigin([value - (extent - 1) / 2 * spacing for value, extent in
                        zip(point, case.image.shape[:0:-1], strict=True)])
        wanted = itk.GetArrayFromImage(itk.Resample(scan, grid, itk.Transform(), itk.sitkLinear, -5000.0))
        np.testing.assert_allclose(case.image[0].numpy(), wanted.clip(-1024), atol=0.1)


def test_a_case_has_the_tags_and_the_tables_columns(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", Exposure=lambda place: 50 + place)
    points = [middle(UPRIGHT), middle(UPRIGHT)]
    write_points(tmp_path, points, id=["a", "b"], part=["train", "test"], texture=["3", "5"])
    cases = open_cases(tmp_path, box_mm=4)
    row = cases.rows[1]
    assert [(each.id, each.patient, each.part, each.raw_label) for each in cases.rows] == [
        ("a", "P1", "train", "malignant"), ("b", "P1", "test", "benign")]
    assert cases.classes == ("benign", "malignant")
    assert {name: row.extras[name] for name in ("kvp", "ctdivol_mgy", "convolution_kernel", "slice_thickness_mm",
                                                "slice_spacing_mm", "pixel_spacing_mm", "texture", "manufacturer")} == {
        "kvp": 120, "ctdivol_mgy": 4, "convolution_kernel": "B30", "slice_thickness_mm": 2, "slice_spacing_mm": 2,
        "pixel_spacing_mm": pytest.approx(0.7), "texture": "5", "manufacturer": "ACME"}
    touched = [50 + place for place in range(24) if abs(place - 11.5) * 2 < 3.5]
    assert row.scan_mas == pytest.approx(len(touched) / sum(1 / mas for mas in touched)) == row.extras["exposure_mas"]


def test_doses_that_the_tags_contradict_are_told(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", XRayTubeCurrent=300, ExposureTime=1000)
    cases = open_cases(write_points(tmp_path, [middle(UPRIGHT)] * 2), box_mm=4)
    assert cases.rows[0].scan_mas == pytest.approx(300)
    (told,) = (note for note in cases.notes if "the dose of 1 series is doubtful" in note)
    assert "current x time is 300 mAs" in told


def test_a_cube_comes_from_its_series_by_its_operators(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0, 200, (24, 40, 36))
    write_series(tmp_path / "scan", values=values)
    cases = open_cases(write_points(tmp_path, [middle(UPRIGHT)] * 2), box_mm=(60, 50, 50))    # every voxel is used
    native = cases[0].native
    assert native is not None
    assert native.spacing_mm == pytest.approx((2.0, 0.8, 0.7))
    resampled = applied(values[None], [each.numpy() for each in native.operators])
    np.testing.assert_allclose(resampled, cases[0].image.numpy(), atol=0.05)
    assert cases.rows[0].beyond is not None
    assert all(map(all, cases.rows[0].beyond))


def test_points_choose_their_series(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_series(tmp_path / f"p{number}" / "scan", count=12, SeriesInstanceUID=f"1.2.{number}7",
                     PatientID=f"P{number}", KVP=100 + number)
    points = [middle(UPRIGHT, 12)] * 4
    cases = open_cases(write_points(tmp_path, points, header="coordX,coordY,coordZ,class",
                                    seriesuid=["1.2.17", "27", "p3/scan", "37"]), box_mm=4)
    assert [row.extras["kvp"] for row in cases.rows] == [101, 102, 103, 103]
    cases = open_cases(write_points(tmp_path, points, patient=["P1", "P2", "p3", "P3"]), box_mm=4)
    assert [row.extras["kvp"] for row in cases.rows] == [101, 102, 103, 103]
    assert [row.patient for row in cases.rows] == ["P1", "P2", "p3", "P3"]
    write_points(tmp_path, points)
    assert {row.extras["kvp"] for row in open_cases(tmp_path, series="27", box_mm=4).rows} == {102}
    with pytest.raises(InputRefused, match=r"csv line 2: 3 CT series .* a place that names none; .*\(12 slices\)"):
        open_cases(tmp_path, box_mm=4)
    with pytest.raises(InputRefused, match=r"line 2: 0 CT series below .* are those of '99'"):
        open_cases(tmp_path, series="99")


def test_coordinates_of_other_worlds_and_places_outside(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    here = middle(UPRIGHT)
    cases = open_cases(write_points(tmp_path, [here * [-1, -1, 1]] * 2), coordinates="RAS", box_mm=4)
    assert cases[0].image.mean().item() == pytest.approx(hu_at(here), abs=0.05)
    cases = open_cases(write_points(tmp_path, [here, here, moved(here, 0, 0, 90)]), box_mm=4)
    assert cases.patients_known
    assert any("1 of 3 cubes cannot be read, the first: points.csv line 4: the place lies 66 mm outside" in note
               for note in cases.notes)
    with pytest.raises(InputRefused, match=r"line 4: the place lies 66 mm outside the series .*coordinates = \"RAS\""):
        cases[2]
    with pytest.raises(UsageError, match="'LPS' or 'RAS'; got 'voxel'"):
        open_cases(tmp_path, coordinates="voxel")


def test_a_table_may_lie_elsewhere_and_name_its_columns_itself(tmp_path: Path) -> None:
    write_series(tmp_path / "images" / "scan")
    (tmp_path / "tables").mkdir()
    write_points(tmp_path / "tables", [middle(UPRIGHT)] * 2, header="x,y,z,diagnosis", who=["a", "b"])
    stated = {"root": "../images", "label_column": "diagnosis", "patient_column": "who", "series": "1.2.3"}
    cases = open_cases(tmp_path / "tables" / "points.csv", box_mm=4, **stated)
    assert [(row.patient, row.raw_label) for row in cases.rows] == [("a", "malignant"), ("b", "benign")]
    with pytest.raises(InputRefused, match=r"no column 'label'; it has x, y, z, diagnosis, who: name yours"):
        open_cases(tmp_path / "tables", root="../images", series="1.2.3", coordinates="LPS")


@pytest.mark.parametrize(("tags", "told"), [
    ({"ImagePositionPatient": lambda place: [-10, 5, 2 * place + 2 * (place > 9)]}, "4 mm to .*slices are missing"),
    ({"ImagePositionPatient": lambda place: [-10, 5, 2 * place + max(0, place - 15) * 0.5]}, "the spacing is mixed"),
    ({"ImagePositionPatient": lambda place: [-10, 5 + 0.3 * place, -20 + 2 * place]},
     "gantry was tilted: the slices shift sideways by up to 6.9 mm"),
    ({"ImageOrientationPatient": [1, 0, 0, 0, 0.9848, 0.1736]}, "gantry was tilted"),
    ({"axes": (1, 0, 0, 0, 0.9848, 0.1736)}, "oblique to the patient's"),
    ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "one position|perpendicular"),
    ({"PixelSpacing": lambda place: [0.8, 0.75 if place == 4 else 0.7]}, "PixelSpacing is 0.8/0.75.*one geometry"),
    ({"RescaleSlope": None}, "no RescaleSlope and RescaleIntercept"),
    ({"ConvolutionKernel": lambda place: "B70" if place == 3 else "B30"}, "expected one setting"),
    ({"count": 1}, "one slice"), ({"Modality": "MR"}, "there is none")])
def test_series_that_no_cube_can_be_cut_from_are_refused(tmp_path: Path, tags: dict[str, Any], told: str) -> None:
    write_series(tmp_path / "scan", **tags)
    with pytest.raises(InputRefused, match=told) as refusal:
        open_cases(write_points(tmp_path, [middle(UPRIGHT)] * 2), box_mm=4)
    assert "\n" not in str(refusal.value)


def test_a_series_beside_a_broken_file_may_lack_it(tmp_path: Path) -> None:
    write_series(tmp_path / "one")
    write_series(tmp_path / "two", SeriesInstanceUID="1.2.4")
    path = tmp_path / "one" / "024.dcm"
    path.write_bytes(path.read_bytes()[:400])
    points = [middle(UPRIGHT)] * 3
    cases = open_cases(write_points(tmp_path, points, series=["two", "two", "one"]), box_mm=4)
    assert cases[0].image.isfinite().all()
    with pytest.raises(InputRefused, match=r"024.dcm"):
        cases[2]
    path.unlink()
    other = write_marking(tmp_path / "one" / "other.dcm", "SR")
    other.write_bytes(other.read_bytes()[:-3])        # no slice, whatever it holds
    assert open_cases(tmp_path, box_mm=4)[2].image.isfinite().all()


@pytest.mark.parametrize(("text", "told"), [
    ("x,y,z,label\n1,2,here,a\n", "column 'z' must be a number"), ("x,y,z,label\n", "no rows"),
    ("x,y,z,label,part\n1,2,3,a,all\n", "unknown part 'all'")])
def test_tables_that_say_something_else(tmp_path: Path, text: str, told: str) -> None:
    write_series(tmp_path / "scan", count=3)
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(InputRefused, match=told):
        open_cases(tmp_path)


@pytest.mark.parametrize(("options", "told"), [
    ({"box_mm": 0}, "box_mm must be positive"), ({"box_mm": 9999}, "points; at most"),
    ({"spacing_mm": "fine"}, "spacing_mm: .*valid number"), ({"spacing_mm": -1}, "positive"),
    ({"box_mm": (5, 5)}, "one value or three")])
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_cases(write_points(tmp_path, [middle(UPRIGHT)] * 2), **options)


# what other files mark

def ring(middle_mm: Any, radius: float, count: int = 60) -> Any:
    """A circle in one slice."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.asarray(middle_mm) + radius * np.column_stack([np.cos(turn), np.sin(turn), 0 * turn])


def test_contours_give_the_middle_and_the_mask_of_a_structure(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    near = np.array([0.5, 20.2, 2.0])      # in the slice 11; the neighbours lie 2 mm beside
    ball = [ring(moved(near, 0, 0, z), np.sqrt(36 - z**2)) for z in (-4, -2, 0, 2, 4)]
    hollow = [ring(moved(near, 2, 1, 0), 6), ring(moved(near, 2, 1, 0), 3)]
    write_contours(tmp_path / "rt.dcm", {"Malignant 1": ball, "benign_02": hollow, "Body": [ring(near, 9)]})
    cases = open_cases(tmp_path, box_mm=16)
    assert cases.classes == ("Body", "Malignant", "benign")
    assert [row.extras["structure"] for row in cases.rows] == ["Malignant 1", "benign_02", "Body"]
    cases = open_cases(tmp_path, box_mm=16, classes=("benign", "malignant"))
    assert [(row.id, row.label) for row in cases.rows] == [("rt.dcm#1", 1), ("rt.dcm#2", 0)]
    for row, place in zip(cases.rows, (near, moved(near, 2, 1, 0)), strict=True):
        stack = row.source.volume
        found = stack.first_mm + np.array(row.source.centre) @ stack.steps_mm
        np.testing.assert_allclose(found, place, atol=0.1)
    diameter = cases.rows[0].extras["diameter_mm"]
    assert diameter == pytest.approx(12, abs=0.3)
    mask = cases.mask(cases.rows[1])
    assert mask is not None
    assert mask.shape == (16, 16, 16)
    assert not mask[:, 8, 8].any()                    # the hole
    assert mask[7:9].sum() == pytest.approx(2 * np.pi * (36 - 9), rel=0.15)


def test_segments_and_measurement_groups_mark_too(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    frames = np.zeros((2, 3, 40, 36), bool)
    frames[0, :, 10:14, 20:23] = True
    frames[1, 1, 30:33, 5:8] = True
    write_segments(tmp_path / "seg.dcm", ["malignant", "benign"], frames, (-10, 5, -20 + 10 * 2))
    cases = open_cases(tmp_path, box_mm=6)
    assert [(row.raw_label, row.patient) for row in cases.rows] == [("malignant", "P1"), ("benign", "P1")]
    np.testing.assert_allclose([row.source.centre for row in cases.rows], [(11, 11.5, 21), (11, 31, 6)])
    mask = cases.mask(cases.rows[0])
    assert mask is not None
    assert mask.sum() == pytest.approx(6 * 4 * 0.8 * 3 * 0.7, rel=0.35)
    (tmp_path / "seg.dcm").unlink()
    point = item(ValueType="SCOORD3D", GraphicType="POINT", GraphicData=[0.5, 20.2, 2.0],
                 ReferencedFrameOfReferenceUID="1.2.9")
    flat = item(ValueType="SCOORD", GraphicType="CIRCLE", GraphicData=[6.5, 31.5, 9.5, 31.5], ContentSequence=[
        item(ValueType="IMAGE", ReferencedSOPSequence=[item(ReferencedSOPInstanceUID="1.2.3.12")])])
    write_groups(tmp_path / "sr.dcm", [("Lesion 1", "malignant", point), ("Lesion 2", "benign", flat)])
    cases = open_cases(tmp_path, box_mm=6, classes=("benign", "malignant"))
    assert [row.label for row in cases.rows] == [1, 0]
    np.testing.assert_allclose(cases.rows[0].source.centre, (11, 19, 15), atol=1e-4)
    np.testing.assert_allclose(cases.rows[1].source.centre, (11, 31, 6))
    assert open_cases(tmp_path, box_mm=6).classes == ("benign", "malignant")


def test_structures_too_large_for_a_cube_leave_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("marks", "structures"):
        monkeypatch.setattr(f"steadyread.cases.{module}.MOST_VOXELS", 100)
    write_series(tmp_path / "scan")
    rings = {name: [ring((0, 20, 2), radius)] for name, radius in (("a", 2), ("b", 3), ("body", 9))}
    write_contours(tmp_path / "rt.dcm", rings)
    frames = np.zeros((2, 1, 40, 36), bool)
    frames[0, :, 10:14, 20:23], frames[1, :, 5:30, 5:30] = True, True
    write_segments(tmp_path / "seg.dcm", ["c", "lung"], frames, (-10, 5, 0))
    cases = open_cases(tmp_path, box_mm=4)
    assert [row.raw_label for row in cases.rows if not row.source.problem] == ["a", "b", "c"]
    assert any("2 of 5 cubes cannot be read" in note and "more than 100 voxels" in note for note in cases.notes)


def test_structures_are_of_the_class_that_their_name_has_as_a_word(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    names = ("Malignant_1", "GTV benign2", "non-malignant", "Not benign", "benign or malignant", "malignantlike", "x")
    write_contours(tmp_path / "rt.dcm", {name: [ring((0, 20, 2), 3)] for name in names})
    cases = open_cases(tmp_path, box_mm=4, classes=("benign", "malignant"))
    assert [(row.extras["structure"], row.raw_label) for row in cases.rows] == [
        ("Malignant_1", "malignant"), ("GTV benign2", "benign")]
    assert "5 structures are of none of these classes, such as 'non-malignant', and left out" in cases.notes
    cases = open_cases(tmp_path, box_mm=4, classes=("malignant", "non-malignant"))
    assert [row.raw_label for row in cases.rows] == ["malignant", "non-malignant", "malignant"]


def test_marks_without_a_place_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    rings = {"benign": [ring((0, 20, 2), 4)], "malignant": [ring((0, 20, 4), 4)]}
    write_contours(tmp_path / "rt.dcm", rings, series="1.2.555")
    with pytest.raises(InputRefused, match=r"rt.dcm \(benign\): 0 CT series .*1.2.555"):
        open_cases(tmp_path)
    with pytest.raises(InputRefused, match=r"nothing is marked .* that is one of spots"):
        open_cases(tmp_path, classes=("spots",))
    write_contours(tmp_path / "rt.dcm", rings | {"odd": [np.array([[1.0, 2, 3], [4, 5, np.nan]])]})
    with pytest.raises(InputRefused, match=r"rt.dcm: its structures cannot be read"):
        open_cases(tmp_path)
    points = {name: [np.array([[0.0, 20, z]])] for name, z in (("a", 2), ("b", 4))}
    write_contours(tmp_path / "rt.dcm", points, kind="POINT")
    assert [row.source.centre[0] for row in open_cases(tmp_path, box_mm=4).rows] == pytest.approx([11, 12])


def test_headers_are_read_without_pixels(tmp_path: Path) -> None:
    (series,) = series_among(write_series(tmp_path / "scan", PixelData=b"\0\0").iterdir())
    assert series.stack is not None
    with pytest.raises(InputRefused, match="pixels cannot be read"):
        series.stack.part((slice(0, 2), slice(0, 3), slice(0, 3)))
