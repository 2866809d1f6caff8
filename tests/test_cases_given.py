"""Cases of arrays and of torch data sets: what a program already holds."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from steadyread.cases import Cases
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds, Case

IMAGES = np.random.default_rng(0).integers(0, 255, (6, 1, 5, 4)).astype(np.float32)
LABELS = [0, 1, 0, 1, 2, 0]


class Items(Dataset[Any]):
    """A data set of whatever it is given."""

    classes = ("none", "benign", "malignant")

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        made = self.items[at]
        return made() if callable(made) else made


class Flow(IterableDataset[Any]):
    """Items that can only be gone through."""

    def __iter__(self) -> Any:
        return iter(zip(torch.from_numpy(IMAGES), LABELS, strict=True))


def same(cases: Cases, images: Any = IMAGES) -> None:
    assert [case.label for case in cases] == LABELS
    for case, image in zip(cases, images, strict=True):
        np.testing.assert_array_equal(case.image.numpy(), image)
    assert {row.part for row in cases.rows} == {"test"}
    assert len({row.id for row in cases.rows}) == len(cases)


@pytest.mark.parametrize("data", [
    TensorDataset(torch.from_numpy(IMAGES), torch.tensor(LABELS)),
    Items(list(zip(IMAGES, LABELS, strict=True))),
    Items([{"image": image, "label": label, "path": "x"} for image, label in zip(IMAGES, LABELS, strict=True)]),
    Items([(Image.fromarray(image[0].astype(np.uint8)), label) for image, label in zip(IMAGES, LABELS, strict=True)]),
    Items([Case(str(at), torch.from_numpy(image), LABELS[at], "p") for at, image in enumerate(IMAGES)]),
    DataLoader(TensorDataset(torch.from_numpy(IMAGES), torch.tensor(LABELS)), batch_size=4, shuffle=True),
    Flow(), DataLoader(Flow(), batch_size=4),
    DataLoader(TensorDataset(torch.from_numpy(IMAGES), torch.tensor(LABELS)), batch_size=4,
               collate_fn=lambda batch: {"x": torch.stack([each[0] for each in batch]),
                                         "y": torch.stack([each[1] for each in batch])})])
def test_whatever_kind_of_data_set_gives_its_images_and_labels(data: Any) -> None:
    same(Cases.from_dataset(data, bounds=(0, 255)))


def test_arrays_with_all_that_is_known_of_them() -> None:
    cases = Cases.from_arrays(IMAGES, LABELS, bounds=(-1000, 400, "HU"), patients=[7, 7, 8, 8, 9, 9],
                              classes=["a", "b", "c"], ids=list("uvwxyz"), spacing_mm=(0.7, 0.7), name="scans")
    same(cases)
    assert cases.bounds == Bounds(-1000, 400, "HU")
    assert cases.patients_known
    assert [row.patient for row in cases.rows] == ["7", "7", "8", "8", "9", "9"]
    assert cases.counts() == {"a": 3, "b": 2, "c": 1}
    assert (cases[5].id, cases[5].spacing_mm) == ("z", (0.7, 0.7))
    assert Cases.from_dataset(Items(list(zip(IMAGES, LABELS, strict=True))), bounds=(0, 1)).classes == Items.classes


@pytest.mark.parametrize(("shape", "channels", "case"), [
    ((6, 5, 4), None, (1, 5, 4)), ((6, 5, 4, 3), None, (3, 5, 4)), ((6, 3, 5, 4), None, (3, 5, 4)),
    ((6, 1, 5, 4, 7), None, (1, 5, 4, 7)), ((6, 8, 5, 4), "first", (8, 5, 4)), ((6, 8, 5, 4), "none", (1, 8, 5, 4))])
def test_where_channels_stand(shape: tuple[int, ...], channels: Any, case: tuple[int, ...]) -> None:
    images = np.zeros(shape)
    cases = Cases.from_arrays(images, LABELS, bounds=(0, 1), channels=channels)
    assert tuple(cases[0].image.shape) == case == cases.rows[0].shape
    read = Cases.from_dataset(Items(list(zip(images, LABELS, strict=True))), bounds=(0, 1), channels=channels)
    assert tuple(read[0].image.shape) == case


@pytest.mark.parametrize(("stated", "message"), [
    ({"images": np.zeros((6, 8, 5, 4))}, "may be 8 channels, or volumes of one"),
    ({"labels": [0, 1]}, r"one class index per image, shape \(6,\)"),
    ({"labels": [0.5] * 6}, "no whole number"), ({"classes": ["a", "b"]}, "a label is 2, and there are 2 classes"),
    ({"patients": [1, 2]}, "patients: 6 are needed"), ({"ids": ["a"] * 6}, "'a' is there more than once"),
    ({"parts": "val"}, "must be one of train, validation, test; got 'val'"), ({"bounds": (1, 0)}, "LOW below HIGH")])
def test_what_does_not_fit_is_refused(stated: dict[str, Any], message: str) -> None:
    whole = {"images": IMAGES, "labels": LABELS, "bounds": (0, 255)} | stated
    with pytest.raises((InputRefused, UsageError), match=message):
        Cases.from_arrays(**whole)


@pytest.mark.parametrize(("items", "message"), [
    ([], "is empty"), ([3, 4], r"must be \(image, label\)"),
    ([{"pixels": 1}], "needs an image and a label; it has pixels"),
    ([("scan.png", 0)], "must be a tensor, an array or a picture; got str"),
    ([(np.zeros((1, 2, 2)), 0), (np.zeros((1, 3, 2)), 1)], "several shapes"),
    ([lambda: (np.random.default_rng().random((1, 2, 2)), 0)], "another image each time it is read")])
def test_items_of_another_kind_are_refused(items: list[Any], message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        Cases.from_dataset(Items(items), bounds=(0, 1))
