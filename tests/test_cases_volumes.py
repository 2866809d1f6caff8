"""Nodules as volumes: the box about the mask, its orientation, its operators down to the scanner's grid."""

import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyread.cases import Cases, Preparation, Row, audit, collate, open_cases, phantom, prepare, split, spooled
from steadyread.cases.leaks import told_leaks
from steadyread.cases.operators import applied, linear, outside
from steadyread.errors import InputRefused, UsageError
from steadyread.findings import Finding
from steadyread.types import Bounds, NativeGrid

nib = pytest.importorskip("nibabel")

# LPS: the file's axes count towards left, back and head; RAS towards right, front... of NIfTI's own world
AXES = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "S": (2, 1), "I": (2, -1)}
SLOPE = (1.5, -2.0, 4.0)      # HU per mm towards the head, the back and the left


def affine_of(codes: str, spacing: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """An affine whose axes run as `codes` say and whose middle voxel lies at (10, 20, 30) mm."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (code, step) in enumerate(zip(codes, spacing, strict=True)):
        world, sign = AXES[code]
        affine[world, axis] = sign * step
    affine[:3, 3] = np.array([10, 20, 30]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def marked(shape: tuple[int, ...], voxel: tuple[int, ...] | None = None) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[tuple(voxel if voxel is not None else np.array(shape) // 2)] = 1
    return mask


def table(folder: Path, rows: list[dict[str, object]], name: str = "nodules.csv") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def nodule(index: int, rating: float = 5, **more: object) -> dict[str, object]:
    return {"patient_id": f"p{index}", "nodule_id": index, "malignancy_rating": rating, "file": f"n{index}.nii.gz",
            "seriesuid": f"1.2.{index}"} | more


def made(folder: Path, count: int = 4, shape: tuple[int, ...] = (20, 21, 9), codes: str = "LPS",
         spacing: tuple[float, ...] = (0.7, 0.7, 2.5), **more: object) -> Path:
    """A small set: ratings 1, 5, 2, 4, 1, ..., noise in HU, the mask one voxel in the middle."""
    rng = np.random.default_rng(0)
    affine = affine_of(codes, spacing, shape)
    for index in range(count):
        save(folder / "images" / f"n{index}.nii.gz", rng.integers(-1000, 400, shape).astype(np.int16), affine)
        save(folder / "masks" / f"n{index}.nii.gz", marked(shape), affine)
    table(folder, [nodule(index, (1, 5, 2, 4)[index % 4], **more) for index in range(count)])
    return folder


def one(findings: tuple[Finding, ...], check: str) -> Finding:
    found = [finding for finding in findings if finding.check == check]
    assert len(found) == 1, [finding.check for finding in findings]
    return found[0]


# the box

@pytest.mark.parametrize("codes", ["LPS", "RAS", "RPI", "SLP", "AIL"])
def test_a_ramp_in_the_patient_reads_the_same_however_the_file_lies(tmp_path: Path, codes: str) -> None:
    """Values that rise linearly with the place in the patient come out exactly, at the mask's centre of mass."""
    steps = {"L": 0.7, "R": 0.7, "P": 0.8, "A": 0.8, "S": 2.5, "I": 2.5}
    shape, spacing = (24, 25, 26), tuple(steps[code] for code in codes)
    affine = affine_of(codes, spacing, shape)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    right, front, head = np.moveaxis(voxels @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    ramp = SLOPE[0] * head + SLOPE[1] * -front + SLOPE[2] * -right
    mask = marked(shape, (11, 12, 12)) + marked(shape, (13, 12, 13))
    middle = affine[:3, :3] @ (12, 12, 12.5) + affine[:3, 3]
    save(tmp_path / "images" / "n0.nii.gz", ramp.astype(np.float32), affine)
    save(tmp_path / "masks" / "n0.nii.gz", mask, affine)
    table(tmp_path, [nodule(0)])
    case = open_cases(tmp_path, every_row=True, box_mm=(5, 8, 7))[0]
    z, y, x = np.meshgrid(*(np.arange(side) - (side - 1) / 2 for side in (5, 8, 7)), indexing="ij")
    expected = (SLOPE[0] * (middle[2] + z) + SLOPE[1] * (y - middle[1]) + SLOPE[2] * (x - middle[0]))
    np.testing.assert_allclose(case.image[0].numpy(), expected, atol=2e-3)
    assert case.native is not None
    assert case.native.spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_beyond_the_volume_the_outermost_voxel_repeats_and_is_counted(tmp_path: Path) -> None:
    cases = open_cases(made(tmp_path, shape=(30, 30, 2)), box_mm=(9, 10, 10))
    volume = nib.load(tmp_path / "images" / "n0.nii.gz").get_fdata()
    assert cases.rows[0].beyond == ((1, 3), (0, 0), (0, 0))     # the mask lies in the upper of two slices
    assert cases.rows[0].extras["padded_share"] == pytest.approx(4 / 9)
    image = cases[0].image[0].numpy()
    assert (image[0] == image[1]).all()
    assert (image[-1] == image[-2]).all()
    flat = linear(30, 15, 1 / 0.7, 10)
    rows = flat[1] @ volume[:, :, 0].T[flat[0]:flat[0] + flat[1].shape[1]]
    np.testing.assert_allclose(image[0], rows[:, flat[0]:flat[0] + flat[1].shape[1]] @ flat[1].T, atol=1e-2)
    assert "4 of 4 volumes end within their box of 9 x 10 x 10 mm" in cases.notes[1]


@pytest.mark.parametrize(("held", "centre", "step", "extent"), [
    (9, 4.2, 0.4, 32), (40, 18.7, 1.4, 24), (1, 0.0, 1.0, 5), (6, 0.0, 1.0, 4), (512, 511.0, 1.5, 8)])
def test_weights_are_linear_interpolation(held: int, centre: float, step: float, extent: int) -> None:
    start, weights = linear(held, centre, step, extent)
    places = centre + (np.arange(extent) - (extent - 1) / 2) * step
    values = np.random.default_rng(0).normal(size=held)
    np.testing.assert_allclose(weights @ values[start:start + weights.shape[1]],
                               np.interp(places, np.arange(held), values), atol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert weights.any(0).all()
    assert outside(held, centre, step, extent) == ((places < -0.5).sum(), (places > held - 0.5).sum())


@pytest.mark.parametrize("spacing_mm", [1.0, 0.5])
def test_the_grids_spacing_and_extent(tmp_path: Path, spacing_mm: float) -> None:
    cases = open_cases(made(tmp_path), box_mm=(5, 12, 12), spacing_mm=spacing_mm)
    assert cases[0].spacing_mm == (spacing_mm,) * 3
    assert tuple(cases[0].image.shape) == (1, *(round(side / spacing_mm) for side in (5, 12, 12)))
    assert tuple(open_cases(tmp_path)[0].image.shape) == (1, 32, 32, 32)


# operators

def through(native: NativeGrid, pixels: np.ndarray) -> np.ndarray:
    for axis, operator in enumerate(native.operators, 1):
        pixels = np.moveaxis(np.tensordot(operator.double().numpy(), pixels.astype(np.float64), (1, axis)), 0, axis)
    return pixels


PREPARATIONS = [Preparation(), Preparation(window=(-9e3, 9e3)), Preparation(spacing_mm=1.3), Preparation(crop=6),
                Preparation(crop=40), Preparation(size=11), Preparation(spacing_mm=0.6, crop=30, size=17)]


@pytest.mark.parametrize("preparation", PREPARATIONS, ids=repr)
@pytest.mark.parametrize("space", [(19, 24), (8, 15, 16)])
def test_operators_reproduce_the_prepared_image(space: tuple[int, ...], preparation: Preparation) -> None:
    """Where the fill is 0, the image comes from its native pixels by the operators alone."""
    pixels = np.random.default_rng(1).normal(0, 200, (1, *space)).astype(np.float32)
    spacing = (0.9, 0.7, 0.8)[-len(space):]
    grid = NativeGrid(spacing, tuple(torch.eye(extent) for extent in space))
    row = Row("one", "p", 0, "a", spacing, source=pixels, shape=pixels.shape)
    cases = Cases("made", (row,), lambda row: row.source, ("a", "b"), Bounds(0, 2000), native=lambda _: grid)
    case = prepare(cases, preparation)[0]
    assert case.native is not None
    assert case.native.spacing_mm == spacing
    np.testing.assert_allclose(through(case.native, pixels), case.image.numpy(), atol=2e-3)


@pytest.mark.parametrize("preparation", [Preparation(), Preparation(crop=(4, 20, 8)), Preparation(spacing_mm=2.0)])
def test_the_boxes_own_operators_and_the_preparations_compose(tmp_path: Path, preparation: Preparation) -> None:
    cases = open_cases(made(tmp_path, shape=(12, 12, 6)), box_mm=18)
    native_pixels = nib.load(tmp_path / "images" / "n2.nii.gz").get_fdata().T[None]
    shifted = replace(cases, bounds=Bounds(0, 1, "HU"))   # a fill of 0, as rows of zeros give
    case = spooled(prepare(shifted, preparation))[2]
    assert case.native is not None
    assert [operator.shape[1] for operator in case.native.operators] == [6, 12, 12]   # the whole volume is used
    np.testing.assert_allclose(through(case.native, native_pixels), case.image.numpy(), atol=5e-3)


def test_a_crop_beyond_the_box_counts_as_padding_and_one_within_takes_it_away(tmp_path: Path) -> None:
    cases = open_cases(made(tmp_path, shape=(30, 30, 4)), box_mm=(14, 8, 8))
    shares = [prepare(cases, Preparation(crop=crop)).rows[0].extras["padded_slices_share"]
              for crop in ((14, 8, 8), (28, 8, 8), (6, 8, 8))]
    assert cases.rows[0].extras["padded_slices_share"] == shares[0] == pytest.approx(4 / 14)
    assert shares[1:] == pytest.approx([18 / 28, 0])


def test_patches_at_the_scanners_pixels_are_their_own_grid_and_unknown_ones_have_none() -> None:
    made_up = phantom.nodules(4, 0)
    native = made_up[0].native
    assert native is not None
    assert native.spacing_mm == made_up.rows[0].spacing_mm
    assert all(torch.equal(operator, torch.eye(64)) for operator in native.operators)
    plain = replace(made_up, native=Cases("", (), made_up.load, (), made_up.bounds).native)
    assert prepare(plain, Preparation(crop=8))[0].native is None
    batch, _ = collate([plain[0], plain[1]], plain.bounds)
    assert (batch.native, batch.scan_mas) == (None, None)


# what is known of the scan

def test_a_table_of_the_scans_joins_by_series(tmp_path: Path) -> None:
    made(tmp_path / "set")
    table(tmp_path, [{"series_uid": "1.2.0", "manufacturer": "GE", "exposure_mas": "85.5"},
                     {"series_uid": "1.2.0", "manufacturer": "GE", "exposure_mas": ""},
                     {"series_uid": "1.2.1", "manufacturer": "Philips", "exposure_mas": ""}], "scans.csv")
    cases = open_cases(tmp_path / "set", box_mm=8, scan_table="../scans.csv")
    assert [row.extras["manufacturer"] for row in cases.rows] == ["GE", "Philips", "", ""]
    assert [case.scan_mas for case in (cases[0], cases[1])] == [85.5, None]
    batch, _ = collate([prepare(cases, Preparation(crop=6))[place] for place in (0, 1)], cases.bounds)
    assert batch.scan_mas == (85.5, None)
    assert batch.native is not None
    assert batch.pick(torch.tensor([1])).scan_mas == (None,)
    assert cases.notes[-1] == "the manufacturer is known of 2 of 4 nodules"


def test_ratings_make_five_classes_of_the_same_nodules(tmp_path: Path) -> None:
    made(tmp_path, 6)
    table(tmp_path, [nodule(index, rating) for index, rating in enumerate((1, 2.5, 3, 3.2, 4.5, ""))])
    two, five = (open_cases(tmp_path, box_mm=6, labels=labels) for labels in ("malignancy", "rating"))
    assert [row.id for row in two.rows] == [row.id for row in five.rows] == ["n0", "n1", "n3", "n4"]
    assert [row.label for row in two.rows] == [0, 0, 1, 1]
    assert [five.classes[row.label or 0] for row in five.rows] == ["1", "3", "3", "5"]
    assert len(open_cases(tmp_path, box_mm=6, every_row=True)) == 6


def test_few_readers_leave_a_nodule_without_a_label(tmp_path: Path) -> None:
    made(tmp_path)
    table(tmp_path, [nodule(index, (1, 5, 2, 4)[index], readers=index + 1) for index in range(4)])
    assert len(open_cases(tmp_path, box_mm=6)) == 4
    assert [row.id for row in open_cases(tmp_path, box_mm=6, readers=3).rows] == ["n2", "n3"]


# traps

def broken(folder: Path) -> None:
    """Eight more nodules, each with its own trouble."""
    shape, affine = (20, 20, 9), affine_of("LPS", (0.7, 0.7, 2.5), (20, 20, 9))
    plain = np.full(shape, -500, np.int16)
    oblique = affine.copy()
    turn = np.radians(10)
    oblique[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
                               ) @ affine[:3, :3]
    poor = np.full(shape, -500, np.float32)
    poor[10, 10, 4] = np.nan
    endless = np.full(shape, -500, np.float32)
    endless[10, 10, 4] = -np.inf
    dark = plain.copy()
    dark[:3] = -3024
    images = {4: (plain, affine), 5: (plain, affine), 6: (plain, oblique), 7: (poor, affine), 8: (dark, affine),
              9: (plain, affine), 10: (plain, affine), 12: (endless, affine)}
    for index, (values, place) in images.items():
        save(folder / "images" / f"n{index}.nii.gz", values, place)
        save(folder / "masks" / f"n{index}.nii.gz", marked(shape), place)
    (folder / "masks" / "n4.nii.gz").unlink()
    save(folder / "masks" / "n5.nii.gz", np.zeros(shape, np.uint8), affine)
    save(folder / "masks" / "n9.nii.gz", marked((20, 20, 8)), affine)
    cut = folder / "images" / "n10.nii.gz"
    cut.write_bytes(cut.read_bytes()[:60])
    table(folder, [nodule(index, 1 + 4 * (index % 2)) for index in range(13)])


@pytest.fixture(name="spoilt")
def _spoilt(tmp_path: Path) -> Cases:
    broken(made(tmp_path))
    return open_cases(tmp_path, box_mm=16, every_row=True)


def test_rows_without_a_file_or_a_mask_are_counted_and_left_out(spoilt: Cases) -> None:
    assert [text.split(":", 1)[0] for text in spoilt.missing] == [f"nodules.csv line {line}" for line in (6, 7, 13)]
    assert "masks/n4.nii.gz" in spoilt.missing[0]
    assert spoilt.missing[1].endswith("n5.nii.gz is empty")
    assert one(audit(spoilt), "missing files").value == 3


def test_what_cannot_be_read_is_named_by_the_audit_and_refused_by_a_run(spoilt: Cases) -> None:
    findings = audit(spoilt)
    assert one(findings, "unreadable images").rows == ("n6", "n9", "n10")
    assert one(findings, "non-finite pixels").rows == ("n7", "n12")
    ids = [row.id for row in spoilt.rows]
    for name, told in (("n6", "oblique to the patient's \\(by 10 degrees\\)"), ("n9", "the mask has the shape"),
                       ("n10", "truncated, damaged or no NIfTI"), ("n7", "NaN or infinite pixels")):
        with pytest.raises(InputRefused, match=told):
            spoilt[ids.index(name)]


def test_values_below_the_scanners_range_are_raised_and_counted(spoilt: Cases) -> None:
    assert any(note.startswith("2 of 10 volumes hold values below -1024 HU") for note in spoilt.notes)
    dark = spoilt[[row.id for row in spoilt.rows].index("n8")]
    assert float(dark.image.min()) == -1024


@pytest.mark.parametrize(("options", "told"), [
    ({"box_mm": 0}, "box_mm must be positive, in mm; got 0"),
    ({"box_mm": (5, -1, 5)}, "box_mm must be positive, in mm; got -1"),
    ({"box_mm": (5, 5)}, "one value or three"), ({"spacing_mm": -1.0}, "spacing_mm must be positive"),
    ({"labels": "size"}, "labels must be malignancy or rating; got 'size'"),
    ({"readers": 0}, "readers must be 1 to 4"), ({"readers": "two"}, "readers must be 1 to 4; got two"),
    ({"spacing_mm": float("nan")}, "spacing_mm must be positive"), ({"box_mm": "big"}, "box_mm must be positive"),
    ({"box": 3}, "has no option 'box'")])
def test_options_out_of_range(tmp_path: Path, options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_cases(made(tmp_path), **options)


def test_a_number_of_readers_needs_the_column(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no column 'readers'"):
        open_cases(made(tmp_path), readers=2)


@pytest.mark.parametrize(("changed", "told"), [
    ({"malignancy_rating": 7}, "malignancy_rating must be 1 to 5"),
    ({"malignancy_rating": "high"}, "must be a number"),
    ({"patient_id": ""}, "no patient_id"), ({"file": "../n0.nii.gz"}, "must name a file inside"),
    ({"exposure_mas": "-3"}, "exposure_mas must be a positive number"), ({"file": ""}, "must name a file inside")])
def test_wrong_values_name_their_line(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    made(tmp_path)
    table(tmp_path, [nodule(0), nodule(1) | changed])
    with pytest.raises(InputRefused, match=f"nodules.csv line 3.*{told}"):
        open_cases(tmp_path, box_mm=8)


def test_lacking_columns_tables_and_volumes(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(InputRefused, match="no such file"):
        open_cases(tmp_path, scan_table="nowhere.csv")
    table(tmp_path, [{"patient": "x"}], "scans.csv")
    with pytest.raises(InputRefused, match="no column 'series_uid'"):
        open_cases(tmp_path, scan_table="scans.csv")
    table(tmp_path, [{"series_uid": "1", "manufacturer": name} for name in ("GE", "Philips")], "scans.csv")
    with pytest.raises(InputRefused, match=r"csv line 3: 'Philips' as manufacturer of a series that has 'GE'"):
        open_cases(tmp_path, scan_table="scans.csv")
    table(tmp_path, [{"malignancy_rating": 1, "file": "n0.nii.gz"}])
    with pytest.raises(InputRefused, match="no column 'patient_id'"):
        open_cases(tmp_path)
    table(tmp_path, [nodule(77)])
    with pytest.raises(InputRefused, match=r"none of its 1 volumes can be read; the first: .*n77"):
        open_cases(tmp_path)


def test_without_nibabel_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputRefused, match=r"pip install 'steadyread\[medical\]'"):
        open_cases(tmp_path)


# what padding and size tell

def test_the_audit_says_what_padding_and_diameter_tell(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for index in range(40):
        thick = int(rng.integers(4, 7)) + 4 * (index % 2)
        affine = affine_of("LPS", (0.8, 0.8, 1.0), (12, 12, thick))
        noise = rng.integers(-1000, 400, (12, 12, thick)).astype(np.int16)
        save(tmp_path / "images" / f"n{index}.nii.gz", noise, affine)
        save(tmp_path / "masks" / f"n{index}.nii.gz", marked((12, 12, thick)), affine)
        rows.append(nodule(index, 1 + 4 * (index % 2), diameter_mm=float(rng.normal(8, 2))))
    table(tmp_path, rows)
    cases = open_cases(tmp_path, box_mm=(12, 6, 6))
    findings = audit(cases, prepare(cases, Preparation(window=(-1000, 400))))
    padding = one(findings, "padding tells the label")
    assert (padding.severity, padding.value, len(padding.rows)) == ("warning", 1.0, 40)
    assert "prepared images: padded" in padding.message
    diameter = one(findings, "diameter tells the label")
    assert diameter.severity in ("ok", "note")
    assert diameter.value is not None
    assert 0.5 <= diameter.value < 0.8
    thin = one(audit(cases, prepare(cases, Preparation(crop=(3, 6, 6)))), "padding tells the label")
    assert (thin.severity, thin.value, thin.rows) == ("ok", 0.5, ())


# real data

@pytest.mark.slow
def test_lidc_volumes(shared_data: Callable[[str], Path]) -> None:
    folder, patches = shared_data("lidc-nodules-3d"), shared_data("lidc-patches-2d")
    cases = open_cases(folder, box_mm=(5, 24, 24), scan_table=patches / "nodules.csv")
    assert cases.counts() == {"benign": 377, "malignant": 253}
    assert len({row.patient for row in cases.rows}) == 415
    assert len(cases.missing) == 2
    assert sum(bool(row.extras["manufacturer"]) for row in cases.rows) == 629
    assert any(note.startswith("9 of 994 volumes hold values below -1024") for note in cases.notes)
    figures = {finding.check: finding.value for finding in told_leaks(cases, "boxes")}
    assert figures["padding tells the label"] == pytest.approx(0.558, abs=0.005)
    assert figures["copies tell the label"] == pytest.approx(0.662, abs=0.005)
    assert figures["diameter tells the label"] == pytest.approx(0.907, abs=0.005)
    assert min(float(str(row.extras["diameter_mm"])) for row in cases.rows) >= 3     # [B] takes none below
    case = split(cases, 0)[0]
    assert (tuple(case.image.shape), case.spacing_mm) == ((1, 5, 24, 24), (1.0, 1.0, 1.0))
    padded = {finding.check: finding.value for finding in told_leaks(open_cases(folder), "boxes")}
    assert padded["padding tells the label"] == pytest.approx(0.873, abs=0.005)


@pytest.mark.slow
def test_a_real_box_comes_from_its_volume_by_its_operators(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("lidc-nodules-3d")
    cases = open_cases(folder, box_mm=(32, 160, 160))      # so large that every voxel is used
    for index in (77, 411):
        case, row = cases[index], cases.rows[index]
        image = nib.as_closest_canonical(nib.load(row.source.volume.file))    # towards right, front, head
        pixels = np.flip(np.asarray(image.dataobj), (0, 1)).T[None]
        assert case.native is not None
        np.testing.assert_allclose(applied(pixels.clip(-1024), [one.numpy() for one in case.native.operators]),
                                   case.image.numpy(), atol=1e-3)
