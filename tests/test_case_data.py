"""The cases of a page: what is packed into the block is what a script opens."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fabricate_cases import DOSES, Kind, made_cases
from steadyread.errors import InputRefused
from steadyread.pictured import Whole
from steadyread.report.case_data import opened, packed, unpacked, windows_of
from steadyread.units import Bounds

HU = Bounds(-1000, 400, "HU")


@pytest.mark.parametrize("kind", ["grey", "colour", "volume", "dose"])
def test_a_block_opens_as_it_was(kind: Kind) -> None:
    cases = made_cases(kind)
    assert cases.pixels is not None
    assert cases.walk is not None
    block = json.loads(json.dumps(cases.as_json(), allow_nan=False))
    found = opened(block)
    assert (found.images == cases.pixels.image.native).all()      # whole numbers, exact
    there = cases.pictured >= 0
    if kind == "dose":
        assert cases.pixels.scale is not None
        each = cases.pixels.change[:, None] * cases.pixels.scale.reshape(-1, len(DOSES), 1, 1, 1)
        assert np.allclose(found.changes, each, rtol=1e-5)
    else:
        largest = np.abs(found.changes).reshape(len(found.changes), -1).max(1)
        assert np.allclose(largest, np.nan_to_num(cases.flip[there]), rtol=1e-5)
    assert np.abs(found.probability - cases.walk.probability).max() <= 0.5 / 65_535 + 1e-12
    assert block["cases"]["id"] == list(cases.id)
    assert block["images"] == there.sum() == block["total"] / 2 - 4
    assert [size is None for size in block["cases"]["flip"]] == np.isnan(cases.flip).tolist()
    assert cases.as_json() == made_cases(kind).as_json()


@pytest.mark.parametrize(("low", "high"), [(-1024, 3071), (0, 255), (0, 65_535), (-40_000, 20_000)])
def test_whole_numbers_of_16_bits_are_exact(low: int, high: int) -> None:
    pixels = np.random.default_rng(0).integers(low, high + 1, (2, 1, 9, 7))
    pixels.flat[:2] = low, high
    whole = Whole.of(pixels, Bounds(low, high))
    assert whole.scale == 1
    assert (whole.native == pixels).all()


def test_other_images_are_within_half_a_step_of_the_range() -> None:
    pixels = np.random.default_rng(0).uniform(-1000, 400, (2, 1, 9, 7))
    whole = Whole.of(pixels, HU)
    assert np.abs(whole.native - pixels).max() <= 1400 / 65_535 / 2 * (1 + 1e-9)
    again = Whole.of(whole.native, HU)      # as a page does with what was stored
    assert (again.values == whole.values).all()


def test_differences_wrap_and_no_block_says_less_than_it_holds() -> None:
    pixels = np.array([[[[-32_768, 32_767, -32_768]]]])
    cases = made_cases("grey", 5)
    assert cases.pixels is not None
    block = replace(cases, pixels=replace(cases.pixels, image=Whole.of(pixels, HU), change=np.zeros(
        (1, 1, 1, 3), np.int8))).as_json()
    assert (opened(block).images == pixels).all()
    for shape in ((1, 1, 1, 2), (1, 1, 1, 4)):
        with pytest.raises(InputRefused, match="must be"):
            unpacked(packed(pixels.astype(np.int16)), "int16", shape)
    with pytest.raises(InputRefused, match="deflated"):
        unpacked("AAAA", "int8", (2,))


def test_windows_are_those_that_the_images_reach_into() -> None:
    assert [window.name for window in windows_of(HU)] == ["full", "lung", "soft tissue", "bone"]
    assert [window.name for window in windows_of(Bounds(-160, 240, "HU"))] == ["full", "soft tissue"]
    eight = Bounds(0, 255, "grey level")
    dark = Whole.of(np.arange(100).reshape(1, 1, 10, 10), eight)
    assert [window.name for window in windows_of(eight, dark)] == ["full", "1 to 99 %"]
    assert [window.name for window in windows_of(eight, Whole.of(np.full((1, 1, 2, 2), 7), eight))] == ["full"]
