"""Images are prepared as MONAI's own transforms do it, where a network asks for that."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from steadyread.cases import Cases, Preparation, prepare
from steadyread.cases.geometry import matrices, shaped
from steadyread.errors import UsageError

monai = pytest.importorskip("monai.transforms", reason="what is compared with")
data = pytest.importorskip("monai.data", reason="what is compared with")
WINDOW = (-1000.0, 400.0)
SHAPES = [((24, 21, 9), (0.7, 0.8, 2.5)), ((9, 30, 31), (1.25, 0.5, 0.5)), ((7, 8, 2), (1.0005, 0.9991, 3.0)),
          ((4, 5, 40), (0.5, 0.5, 0.45))]


def scaled(clip: bool = True) -> Any:
    return monai.ScaleIntensityRange(*WINDOW, 0, 1, clip=clip)


def theirs(steps: Sequence[Any], image: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.float32]:
    """An image in HU through MONAI's transforms, one of which scales the window to 0 to 1, and back in HU."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-31.5, 12.0, 5.25)
    seen: NDArray[np.float32] = monai.Compose(steps)(data.MetaTensor(image[None], affine=affine)).numpy()
    return seen * (WINDOW[1] - WINDOW[0]) + WINDOW[0]


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "spacing": (lambda: (monai.Spacing(1.0), scaled()), {}),
    "corners": (lambda: (monai.Spacing(1.0, align_corners=True), scaled()), {}),
    "an axis each": (lambda: (monai.Spacing((1.5, 0.75, 2)), scaled()), {"spacing_mm": (1.5, 0.75, 2.0)}),
    "clipped first": (lambda: (scaled(), monai.Spacing(1.0)), {"clip": "first"}),
    "filled once scaled": (lambda: (monai.Spacing(1.0), scaled(), monai.ResizeWithPadOrCrop((14, 15, 16))),
                           {"crop": (14, 15, 16), "fill": -1000.0}),
    "filled in HU": (lambda: (monai.Spacing(1.0), monai.ResizeWithPadOrCrop(13), scaled()), {"crop": 13, "fill": 0.0}),
    "never filled": (lambda: (monai.Spacing(1.0), monai.CenterSpatialCrop((14, 9, 12)), scaled()),
                     {"crop": (14, 9, 12), "fill": "never"}),
    "cut and resized": (lambda: (monai.Spacing(1.0), monai.CenterSpatialCrop(11), scaled(), monai.Resize((8, 9, 10))),
                        {"crop": 11, "fill": "never", "size": (8, 9, 10), "fit": "squash", "interpolation": "area",
                         "clip": "resampled"}),
    "resized, then clipped": (lambda: (monai.Spacing(1.0), monai.Resize((16, 12, 10), mode="trilinear"), scaled()),
                              {"size": (16, 12, 10), "fit": "squash", "interpolation": "plain"})}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
def test_volumes_are_what_monai_makes_of_them(way: str, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    steps, stated = WAYS[way]
    image = np.random.default_rng(0).uniform(-1500, 1500, shape).astype(np.float32)
    usual: dict[str, Any] = {"window": WINDOW, "spacing_mm": 1.0, "resample": "monai"}
    asked = Preparation(**(usual | stated))
    np.testing.assert_allclose(shaped(image[None], spacing, asked, -1024.0), theirs(steps(), image, spacing), atol=0.01)


def test_the_operators_below_an_image_are_what_was_done_to_it() -> None:
    image = np.random.default_rng(1).uniform(-1000, 400, (9, 30, 31)).astype(np.float32)
    asked = Preparation(spacing_mm=1.0, crop=(14, 13, 16), resample="monai", fill=0.0)
    by_axis = matrices(image.shape, (1.25, 0.5, 0.5), asked)
    np.testing.assert_allclose(np.einsum("ai,bj,ck,ijk->abc", *by_axis, image),
                               shaped(image[None], (1.25, 0.5, 0.5), asked, -1024.0)[0], atol=0.01)


@pytest.mark.parametrize("wrong", [{"resample": "itk"}, {"clip": "never"}, {"clip": "first"}, {"fill": float("nan")}])
def test_other_ways_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        prepare(Cases.from_arrays(np.zeros((2, 1, 4, 4)), [0, 1], bounds=(0, 1)), Preparation(crop=4, **wrong))
