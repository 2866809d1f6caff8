"""Distances of attention maps: exact on maps that can be drawn by hand, and invariant where they must be."""

import numpy as np
import pytest

from steadyread.errors import InputRefused
from steadyread.metrics.attention_shift import (
    area,
    centre_distance_mm,
    mask_share,
    overlap,
    rank_correlation,
    share_inside,
)

SPACES = [(10, 10), (5, 6, 10)]


def spots(space: tuple[int, ...], *places: tuple[int, ...]) -> np.ndarray:
    """A map an argument: one voxel of 1."""
    made = np.zeros((len(places), *space))
    for row, place in enumerate(places):
        made[row, *place] = 1.0
    return made


@pytest.mark.parametrize("space", SPACES)
def test_a_map_is_all_itself(space: tuple[int, ...]) -> None:
    maps = np.random.default_rng(0).random((4, *space))
    np.testing.assert_allclose(overlap(maps, maps), 1)
    np.testing.assert_allclose(centre_distance_mm(maps, maps, [1.0] * len(space)), 0, atol=1e-12)
    np.testing.assert_allclose(rank_correlation(maps, maps), 1)
    np.testing.assert_allclose(rank_correlation(maps, 1 - maps), -1)


def test_the_overlap_is_a_count_of_voxels() -> None:
    one = np.arange(100.0).reshape(1, 10, 10) + 1                      # the strongest tenth is the last row
    other = one.copy()
    other[0, 9, :4] = 0.5                                              # four of its ten are gone
    np.testing.assert_allclose(overlap(one, other), 0.6)
    np.testing.assert_allclose(overlap(one, one[:, ::-1]), 0)


def test_unrelated_maps_share_the_tenth_of_their_tenths() -> None:
    one, other = np.random.default_rng(2).random((2, 50, 40, 40))
    assert overlap(one, other).mean() == pytest.approx(0.1, abs=0.005)


def test_voxels_that_tie_belong_to_the_tenth_in_part_and_zeros_never() -> None:
    even = np.ones((1, 10, 10))
    np.testing.assert_allclose(overlap(even, even), 1)
    half = np.where(np.arange(10)[:, None] < 5, 1.0, 0.0)[None] * even
    np.testing.assert_allclose(overlap(even, half), 0.5)               # 50 voxels of 0.1, of ten in all
    np.testing.assert_allclose(overlap(spots((10, 10), (0, 0)), spots((10, 10), (0, 1))), 0)
    np.testing.assert_allclose(overlap(spots((10, 10), (0, 0)), spots((10, 10), (0, 0))), 1)


def test_centres_are_apart_in_millimetres() -> None:
    one, other = spots((5, 8, 8), (0, 0, 0), (2, 2, 2)), spots((5, 8, 8), (2, 3, 6), (2, 2, 2))
    found = centre_distance_mm(one, other, (1.5, 4 / 3, 2.0))
    np.testing.assert_allclose(found, [13.0, 0.0])                     # 3, 4 and 12 mm
    each = centre_distance_mm(one, other, np.array([[1.5, 4 / 3, 2.0], [9.0, 9.0, 9.0]]))
    np.testing.assert_allclose(each, found)


def test_the_share_inside_a_mask() -> None:
    maps = np.zeros((3, 4, 4))
    maps[:, 0, 0], maps[:, 3, 3] = 3.0, 1.0
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[0, 0, 0] = masks[1, :2] = 1                                  # the third is not known
    np.testing.assert_allclose(share_inside(maps, masks), [0.75, 0.75, np.nan])
    np.testing.assert_allclose(mask_share(masks), [1 / 16, 0.5, np.nan])
    np.testing.assert_allclose(share_inside(np.ones((2, 4, 4)), masks[:2]), mask_share(masks[:2]))


def test_the_area_of_half_of_the_attention() -> None:
    assert area(np.ones((1, 10, 10)))[0] == pytest.approx(0.5)
    assert area(spots((10, 10), (3, 3)))[0] == pytest.approx(0.005)    # half of one voxel of a hundred
    two = spots((10, 10), (3, 3)) + spots((10, 10), (7, 7))
    assert area(two)[0] == pytest.approx(0.01)
    assert area(two, mass=1.0)[0] == pytest.approx(0.02)


def test_a_map_of_zeros_tells_nothing() -> None:
    maps = np.stack([np.zeros((4, 4)), np.eye(4), np.eye(4)])
    other = np.stack([np.eye(4), np.zeros((4, 4)), np.eye(4)])
    masks = np.ones((3, 4, 4))
    for found in (overlap(maps, other), centre_distance_mm(maps, other, (1, 1)), rank_correlation(maps, other)):
        assert np.isnan(found).tolist() == [True, True, False]
    assert np.isnan(share_inside(maps, masks)).tolist() == [True, False, False]
    assert np.isnan(area(maps)).tolist() == [True, False, False]
    assert np.isnan(rank_correlation(np.ones((1, 4, 4)), maps[1:2])).all()      # alike everywhere: no ranks


def test_no_images_give_no_figures() -> None:
    none = np.zeros((0, 4, 4))
    for found in (overlap(none, none), centre_distance_mm(none, none, (1, 1)), rank_correlation(none, none),
                  share_inside(none, none), area(none), mask_share(none)):
        assert found.shape == (0,)


@pytest.mark.parametrize("told", [overlap, rank_correlation, share_inside])
def test_two_grids_are_refused(told: object) -> None:
    with pytest.raises(InputRefused, match=r"\(2, 4, 4\).*\(2, 4, 5\)"):
        told(np.ones((2, 4, 4)), np.ones((2, 4, 5)))     # type: ignore[operator]


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_negative_and_infinite_maps_are_refused(wrong: float) -> None:
    maps = np.ones((1, 4, 4))
    maps[0, 0, 0] = wrong
    for told in (overlap, rank_correlation):
        with pytest.raises(InputRefused, match="not negative"):
            told(maps, np.ones((1, 4, 4)))
    with pytest.raises(InputRefused, match="not negative"):
        area(maps)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), np.ones((3, 2))])
def test_a_spacing_that_is_none_is_refused(spacing: object) -> None:
    with pytest.raises(InputRefused, match="one an axis"):
        centre_distance_mm(np.ones((2, 4, 4)), np.ones((2, 4, 4)), spacing)     # type: ignore[arg-type]
