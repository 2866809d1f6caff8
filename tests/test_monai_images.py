"""Images are prepared as MONAI's own transforms do it, where a network asks for that."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from steadyread.cases import Cases, Preparation, prepare
from steadyread.cases.geometry import matrices, shaped
from steadyread.errors import UsageError
from steadyread.jobs.material import gather, listed
from steadyread.models.format import FORMATS
from steadyread.study import keyed, read_study

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


RANGE = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1,
         "clip": True}
READ: list[dict[str, Any]] = [{"_target_": "LoadImaged", "keys": ["image", "label"], "reader": "NibabelReader"},
                              {"_target_": "EnsureChannelFirstd", "keys": "image"}]
TURN = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
SPACE = {"_target_": "monai.transforms.Spacingd", "keys": ["image", "label"], "pixdim": "@pixdim",
         "mode": ["bilinear", "nearest"]}
PAD = {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [14, 15, 16]}
CUT = {"_target_": "CenterSpatialCropd", "keys": "image", "roi_size": [6, 7, 5]}
RESIZE = {"_target_": "Resized", "keys": "image", "spatial_size": [9, 8, 10]}
BUNDLES: dict[str, list[dict[str, Any]]] = {
    "spacing, window, pad": [TURN, SPACE, RANGE, PAD],
    "pad before the window": [TURN, SPACE, PAD, RANGE],
    "symmetric, filled with 0": [TURN, SPACE, RANGE | {"b_min": -1}, PAD],
    "filled with what is stated": [TURN, SPACE, PAD | {"value": -900}, RANGE],
    "window first": [TURN, RANGE, SPACE, CUT],
    "an axis each": [TURN, SPACE | {"pixdim": [1.5, 0.75, 2]}, RANGE, CUT],
    "as it is stored": [SPACE | {"pixdim": [1.5, 0.75]}, RANGE, CUT],
    "cut, then resized": [TURN, SPACE, CUT, RANGE, RESIZE],
    "resized": [TURN, RESIZE | {"mode": "trilinear"}, RANGE]}


def bundle(folder: Path, steps: list[dict[str, Any]], **metadata: Any) -> Path:
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    told = {"network_data_format": {"inputs": {"image": {"num_channels": 1} | metadata}}}
    (folder / "configs" / "metadata.json").write_text(json.dumps(told))
    (folder / "configs" / "inference.json").write_text(json.dumps({
        "pixdim": [1, 1, 1], "network_def": {"_target_": "DenseNet121", "spatial_dims": 3},
        "preprocessing": {"_target_": "Compose", "transforms": [*READ, *steps]},
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "keys": "pred"}]}}))
    return folder


def volumes(folder: Path) -> list[Path]:
    """Two volumes each in two classes, whose axes lie another way than RAS."""
    nibabel = pytest.importorskip("nibabel", reason="writes NIfTI")
    affine = np.array([[0, 0, 2.5, -31.5], [-0.7, 0, 0, 12], [0, 0.8, 0, 5], [0, 0, 0, 1]])
    for at in range(4):
        path = folder / "ab"[at % 2] / f"{at}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(at).integers(-1024, 1500, (24 - at, 21, 9)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return sorted(folder.rglob("*.nii.gz"))


def by_monai(steps: list[dict[str, Any]], file: Path) -> NDArray[np.float32]:
    """A file through MONAI's own transforms, to 0 to 1."""
    made = [getattr(monai, step["_target_"].rpartition(".")[2])(
        **{key: [1, 1, 1] if value == "@pixdim" else value for key, value in step.items() if key != "_target_"},
        allow_missing_keys=True) for step in [*READ, *steps]]
    seen: NDArray[np.float32] = monai.Compose(made)({"image": str(file)})["image"].numpy()
    return seen


@pytest.mark.parametrize("way", BUNDLES)
@pytest.mark.filterwarnings("ignore")     # MONAI's own, of its readers and Orientation
def test_a_bundles_images_are_what_its_transforms_make_of_them(way: str, tmp_path: Path) -> None:
    files = volumes(tmp_path / "images")
    folder = bundle(tmp_path / "net", BUNDLES[way])
    study = read_study(None, keyed(data__path=str(tmp_path / "images"), data__options={"unit": "HU"},
                                   model__name=str(folder), model__bounds=WINDOW, model__output="logits"))
    found = gather(study)
    scale: Any = found.study.model.normalise
    mean, deviation = scale
    seen = {Path(case.id).name: (case.image - mean) / deviation for case in map(found.ready.__getitem__, range(4))}
    for file in files:
        np.testing.assert_allclose(seen[file.name], by_monai(BUNDLES[way], file), atol=5e-5)      # 0.07 HU


@pytest.mark.parametrize(("steps", "said"), [
    ([SPACE, TURN], "comes before its Orientation"),
    ([TURN, SPACE | {"mode": 3}], "mode = 3"),
    ([TURN, SPACE | {"padding_mode": ["zeros", "zeros"]}], "padding_mode = zeros"),
    ([TURN, SPACE | {"pixdim": "$1"}], "expression"),
    ([TURN, SPACE | {"pixdim": [1, 1, -1]}], "no positive pixdim"),
    ([TURN, PAD, SPACE], "in the order Orientation, ResizeWithPadOrCrop, Spacing"),
    ([TURN, SPACE, SPACE], "more than once"),
    ([TURN, PAD | {"mode": "edge"}], "mode = edge"),
    ([TURN, RANGE | {"b_min": 0.5}, PAD], "outside the values that it clips to"),
    ([TURN, RANGE, SPACE], "noise of a scan"),
    ([TURN, RESIZE | {"mode": "nearest"}], "mode = nearest"),
    ([TURN, RESIZE | {"spatial_size": [4, 4, -1]}], "no size of positive numbers"),
    ([TURN, PAD, CUT], "to no one size"),
    ([TURN, {"_target_": "NormalizeIntensityd", "keys": "image"}], "NormalizeIntensity is not followed")])
def test_what_cannot_be_followed_is_said(steps: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    volumes(tmp_path / "images")
    folder = bundle(tmp_path / "net", steps)
    assert any(said in told for told in FORMATS["monai"].facts_of(folder).differs)
    study = read_study(None, keyed(data__path=str(tmp_path / "images"), data__options={"unit": "HU"},
                                   model__name=str(folder), model__bounds=WINDOW, model__output="logits"))
    assert any(said in note for note in listed(study).raw.notes)


def test_pictures_and_volumes_of_no_one_size_are_said(tmp_path: Path) -> None:
    assert "columns before rows" in FORMATS["monai"].facts_of(bundle(tmp_path / "a", [RANGE], spatial_shape=[16, 16])
                                                              ).differs[0]
    facts = FORMATS["monai"].facts_of(bundle(tmp_path / "b", [TURN, SPACE], spatial_shape=[16, 16, 16]))
    assert "none of its transforms brings images to one size" in facts.differs[0]


def test_a_training_files_random_transforms_are_left_out(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "net", [])
    random = {"_target_": "RandFlipd", "keys": "image"}
    (folder / "configs" / "train.json").write_text(json.dumps({"train": [TURN, random], "validate": [TURN, CUT]}))
    facts = FORMATS["monai"].facts_of(folder)
    assert (facts.settings["preparation"]["crop"], facts.differs) == ([6, 7, 5], ())
