"""Crops, grids and windows: exact where they must be, the same code in one to three dimensions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from steadyread.cases import Cases, Preparation, Row, audit, prepare, spooled
from steadyread.cases.geometry import box, centre_crop, matrices, resample, shaped
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds


def made(image: np.ndarray, spacing: tuple[float, ...] | None = None, known: bool = True) -> Cases:
    row = Row("one", "p", 0, "a", spacing, source=image, shape=image.shape if known else None)
    return Cases("made", (row,), lambda row: row.source, ("a", "b"), Bounds(-1024, 3071, "HU"))


@pytest.mark.parametrize(("held", "extent"), [(71, 64), (8, 4), (9, 4), (8, 5), (9, 5), (4, 8), (5, 8), (6, 6)])
def test_the_centre_stays_the_centre(held: int, extent: int) -> None:
    image = np.zeros((1, held, held), np.int16)
    image[0, held // 2, held // 2] = 7
    cropped = centre_crop(image, (extent, extent), -1)
    assert cropped[0, extent // 2, extent // 2] == 7
    assert cropped.dtype == image.dtype
    assert (cropped == -1).sum() == max(0, extent**2 - held**2)


def test_a_box_beyond_the_image_is_all_fill() -> None:
    assert (box(np.ones((1, 4, 4)), (10, -20), (3, 3), 5) == 5).all()


@pytest.mark.parametrize("space", [(17,), (12, 17), (9, 12, 17)])
@pytest.mark.parametrize("size", [5, 9, 30])
def test_a_constant_image_stays_constant(space: tuple[int, ...], size: int) -> None:
    image = np.full((2, *space), 255.0, np.float32)
    result = shaped(image, None, Preparation(size=size), 0.0)
    assert result.shape == (2, *[size] * len(space))
    assert result.max() <= 255
    np.testing.assert_allclose(result, 255, rtol=1e-6)


@pytest.mark.parametrize(("extents", "size"), [((31, 17), (16, 9)), ((16, 16), (40, 23)), ((64, 50), (7, 50))])
def test_resizing_is_torchs_antialiased_bilinear(extents: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(3, *extents)).astype(np.float32)
    step = tuple(old / new for old, new in zip(extents, size, strict=True))
    expected = torch.nn.functional.interpolate(torch.from_numpy(image)[None], size, mode="bilinear", antialias=True)
    np.testing.assert_allclose(resample(image, size, step), expected[0].numpy(), atol=1e-5)


def test_what_a_size_cuts_off_is_noted_once_for_all_images() -> None:
    wide, square, tall = (Row(name, name, 0, "a", None, source=np.zeros((1, *space)), shape=(1, *space))
                          for name, space in (("wide", (20, 40)), ("square", (30, 30)), ("tall", (40, 30))))
    cases = Cases("made", (wide, square, tall), lambda row: row.source, ("a", "b"), Bounds(0, 255), notes=("grey",))
    first, cut = prepare(cases, Preparation(size=10)).notes
    assert first == "grey"
    assert "2 of 3 images lose up to 50 % of their pixels, at the ends of the longer sides" in cut
    for kept in (Preparation(crop=10), Preparation(crop=(20, 40), size=(10, 20)), Preparation()):
        assert prepare(cases, kept).notes == ("grey",)
    assert cut in [finding.message for finding in audit(cases, prepare(cases, Preparation(size=10)))]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_ramp_resampled_to_a_spacing_keeps_its_slope(axes: int) -> None:
    ramp = np.broadcast_to(np.arange(41, dtype=np.float32), (1, *[5] * (axes - 1), 41)).copy()
    spacing = (1.0,) * (axes - 1) + (0.5,)
    case = prepare(made(ramp, spacing), Preparation(spacing_mm=1.0))[0]
    line = case.image.reshape(-1, case.image.shape[-1])[0]
    assert case.image.shape[-1] == round(41 * 0.5)
    assert case.spacing_mm == (1.0,) * axes
    np.testing.assert_allclose(np.diff(line.numpy())[2:-2], 2.0, atol=1e-4)
    assert float(line.mean()) == pytest.approx(20.0, abs=1e-4)


def test_a_disc_of_5_mm_is_one_size_whatever_the_scanners_grid() -> None:
    areas = []
    for spacing in (0.4, 0.7, 0.95):
        axis = (np.arange(120) - 59.5) * spacing
        disc = (np.hypot(axis[:, None], axis[None, :]) < 5).astype(np.float32)[None] * 100
        case = prepare(made(disc, (spacing, spacing)), Preparation(spacing_mm=0.5, crop=32))[0]
        assert case.image.shape == (1, 32, 32)
        areas.append(float(case.image.clamp(0, 100).sum()) / 100 * 0.25)
    np.testing.assert_allclose(areas, np.pi * 25, rtol=0.03)


def test_the_window_becomes_the_bounds_and_clips_last() -> None:
    image = np.array([[[-2000.0, -1000.0], [0.0, 3000.0]]], np.float32)
    cases = prepare(made(image), Preparation(window=(-1000, 400)))
    assert (cases.bounds.low, cases.bounds.high, cases.bounds.unit) == (-1000, 400, "HU")
    assert cases[0].image.flatten().tolist() == [-1000, -1000, 0, 400]


def test_resizing_cuts_to_the_targets_proportions_first() -> None:
    image = np.zeros((1, 20, 40), np.float32)
    image[0, :, 10:30] = 100
    case = prepare(made(image, (1.0, 1.0)), Preparation(size=10))[0]
    assert (case.image == 100).all()
    assert case.spacing_mm == (2.0, 2.0)


def test_values_outside_the_bounds_are_kept_for_the_classifier_to_refuse() -> None:
    image = np.full((1, 9, 9), 5000.0, np.float32)
    assert (prepare(made(image), Preparation(size=4))[0].image > 4999).all()


def test_spacing_after_a_resize_of_unknown_extent_is_unknown() -> None:
    image = np.zeros((1, 9, 9), np.float32)
    assert prepare(made(image, (0.7, 0.7), known=False), Preparation(crop=5))[0].spacing_mm == (0.7, 0.7)
    assert prepare(made(image, (0.7, 0.7), known=False), Preparation(size=5))[0].spacing_mm is None


def test_preparations_chain_and_tuples_name_axes() -> None:
    image = np.random.default_rng(1).normal(size=(1, 12, 30, 30)).astype(np.float32)
    cases = prepare(made(image, (2.5, 0.7, 0.7)), Preparation(spacing_mm=(2.5, 1.0, 1.0)))
    case = prepare(cases, Preparation(crop=(5, 16, 16)))[0]
    assert case.image.shape == (1, 5, 16, 16)
    assert case.spacing_mm == (2.5, 1.0, 1.0)
    row = prepare(cases, Preparation(crop=(5, 16, 16))).rows[0]
    assert row.shape == (1, 5, 16, 16)


@settings(max_examples=60, deadline=None)
@given(held=st.integers(1, 40), extent=st.integers(1, 40), axes=st.integers(1, 3), seed=st.integers(0, 99))
def test_resampling_never_leaves_the_images_own_range(held: int, extent: int, axes: int, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(1, *[held] * axes)).astype(np.float32)
    result = shaped(image, None, Preparation(size=extent), float(image.min()))
    assert result.shape == (1, *[extent] * axes)
    assert image.min() <= result.min()
    assert result.max() <= image.max()


def test_spooled_cases_are_the_same_and_read_once() -> None:
    reads = []

    def load(row: Row) -> np.ndarray:
        reads.append(row.id)
        return np.full((1, 3, 3), row.source, np.float32)

    rows = tuple(Row(f"{number}", "p", 0, "a", source=number) for number in range(4))
    cases = Cases("made", rows, load, ("a", "b"), Bounds(0, 9))
    held = spooled(cases)
    reads.clear()
    for _ in range(3):
        assert [float(case.image.mean()) for case in held] == [0, 1, 2, 3]
    assert [float(case.image.mean()) for case in held.pick([3, 1])] == [3, 1]
    assert sorted(reads) == ["0", "1", "2", "3"]


def test_spooled_cases_refuse_another_shape() -> None:
    rows = tuple(Row(f"{number}", "p", 0, "a", source=number) for number in (3, 4))
    cases = spooled(Cases("made", rows, lambda row: np.zeros((1, row.source)), ("a", "b"), Bounds(0, 9)))
    with pytest.raises(InputRefused, match="resize"):
        cases[1]


@pytest.mark.parametrize("preparation", [
    Preparation(size=10**9), Preparation(crop=9000), Preparation(crop=(10**6, 1)), Preparation(spacing_mm=1e-5),
    Preparation(spacing_mm=5e-324), Preparation(size=(8192, 8192), crop=(8192, 16385))])
def test_images_larger_than_any_are_refused_before_they_are_made(preparation: Preparation) -> None:
    with pytest.raises(InputRefused, match=r"images of 16x16 pixels would become \d+x\d+: at most 8192 per axis"):
        shaped(np.zeros((1, 16, 16), np.float32), (1.0, 1.0), preparation, 0.0)


@pytest.mark.parametrize(("interpolation", "pillow"), [("linear", Image.BILINEAR), ("cubic", Image.BICUBIC)])
@pytest.mark.parametrize("size", [(24, 30), (90, 70)])
def test_it_interpolates_as_pillow_does(interpolation: str, pillow: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (47, 61)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(image, "F").resize(size[::-1], pillow))
    ours = shaped(image[None], None, Preparation(size=size, fit="squash", interpolation=interpolation), 0.0)[0]
    inside = np.clip(theirs, 0, image.max())      # ours keeps to the image's own range, fill included
    np.testing.assert_allclose(ours, inside, atol=1e-3)


@pytest.mark.parametrize(("interpolation", "mode"), [("plain", "bilinear"), ("nearest", "nearest-exact")])
def test_without_antialiasing_it_interpolates_as_torch_does(interpolation: str, mode: str) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (1, 47, 61)).astype(np.float32)
    how = {"align_corners": False} if mode == "bilinear" else {}
    theirs = torch.nn.functional.interpolate(torch.from_numpy(image)[None], (24, 30), mode=mode, **how)[0].numpy()
    ours = shaped(image, None, Preparation(size=(24, 30), fit="squash", interpolation=interpolation), 0.0)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_what_becomes_of_other_proportions() -> None:
    image = np.tile(np.arange(40, dtype=np.float32), (20, 1))[None]     # columns 0 to 39
    cut, pad, squash = (shaped(image, None, Preparation(size=10, **how), -1.0)[0] for how in (
        {}, {"fit": "pad"}, {"fit": "squash"}))
    assert 9 < cut[5].min() < cut[5].max() < 30
    assert (pad[0] == -1).all()
    assert squash[5, 0] < 2
    assert squash[5, -1] > 37


@pytest.mark.parametrize("shape", [(47, 61), (61, 47), (300, 301), (64, 100)])
@pytest.mark.parametrize(("size", "central"), [(32, 0.875), (33, 0.9), (32, 1.0)])
def test_the_shorter_side_is_resized_and_the_centre_taken_as_torchvision_does(shape: tuple[int, int], size: int,
                                                                                central: float) -> None:
    """Resize(int(size / central)), CenterCrop(size), by their definitions and torch's own antialiased resampling."""
    image = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, *shape)).astype(np.float32))
    short = int(size / central + 1e-9)
    sides = [short if side == min(shape) else int(short * side / min(shape)) for side in shape]
    resized = torch.nn.functional.interpolate(image[None], sides, mode="bilinear", antialias=True)[0]
    top, left = (round((side - size) / 2.0) for side in sides)
    theirs = resized[:, top:top + size, left:left + size].numpy()
    asked = Preparation(size=size, fit="shorter", central=central)
    np.testing.assert_allclose(shaped(image.numpy(), None, asked, 0.0), theirs, atol=2e-3)
    by_axis = matrices(shape, None, asked)
    np.testing.assert_allclose(np.einsum("ai,bj,ij->ab", *by_axis, image[0].numpy()), theirs[0], atol=2e-3)


@pytest.mark.parametrize("shape", [(47, 61), (61, 46), (9, 100)])
def test_it_pads_and_crops_as_monai_does(shape: tuple[int, int]) -> None:
    monai = pytest.importorskip("monai.transforms")
    image = np.random.default_rng(0).uniform(0, 255, (1, *shape)).astype(np.float32)
    for mode, ours in (("bilinear", "plain"), ("area", "area")):
        longest = monai.Compose([monai.Resize(32, "longest", mode=mode), monai.SpatialPad((32, 32))])(image)
        padded = Preparation(size=32, fit="pad", interpolation=ours)
        np.testing.assert_allclose(shaped(image, None, padded, 0.0), longest, atol=2e-3)
        every = monai.Resize((24, 40), mode=mode)(image)
        squashed = Preparation(size=(24, 40), fit="squash", interpolation=ours)
        np.testing.assert_allclose(shaped(image, None, squashed, 0.0), every, atol=2e-3)
    sides = tuple(min(side, 31) for side in shape)
    np.testing.assert_array_equal(shaped(image, None, Preparation(crop=sides), 0.0),
                                  monai.CenterSpatialCrop(sides)(image))


def test_ways_that_there_are_not_are_refused() -> None:
    for wrong in ({"fit": "stretch"}, {"interpolation": "lanczos"}, {"central": 0.0}, {"central": 0.5}):
        with pytest.raises(UsageError):
            prepare(made(np.zeros((1, 4, 4))), Preparation(size=4, **wrong))


def test_a_crop_leaves_the_spacing_exactly_as_it_is() -> None:
    cases = Cases.from_arrays(np.zeros((2, 1, 71, 71)), [0, 1], bounds=(0, 1), spacing_mm=(0.7, 0.7))
    assert prepare(cases, Preparation(crop=48)).rows[0].spacing_mm == (0.7, 0.7)
