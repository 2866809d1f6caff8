"""Data sets of other libraries: Hugging Face's in memory and on disk, medmnist's, and transforms that are noticed."""

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from fabricate_pictures import Call
from steadyread.cases import Cases, open_cases
from steadyread.cases.labels import of_finding
from steadyread.errors import InputRefused, UsageError

IMAGES = np.random.default_rng(0).integers(0, 255, (6, 5, 4), dtype=np.uint8)
LABELS = [0, 1, 0, 1, 0, 1]


class Drawn(Dataset[Any]):
    """A data set of torch with a transform of its own."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, at: int) -> Any:
        return self.transform(torch.from_numpy(IMAGES[at, None] / np.float32(255))), LABELS[at]


class MedMNIST:
    """What medmnist's data sets have."""

    def __init__(self, imgs: Any, labels: Any, transform: Any = None, split: str = "val") -> None:
        self.imgs, self.labels, self.transform, self.split = imgs, labels, transform, split
        self.info = {"label": {"1": "malignant", "0": "benign"}}

    def __len__(self) -> int:
        return len(self.imgs)

    def __getitem__(self, at: int) -> Any:
        image = Image.fromarray(self.imgs[at])
        return image if self.transform is None else self.transform(image), self.labels[at]


def same(cases: Cases, images: Any = IMAGES) -> None:
    assert [case.label for case in cases] == LABELS
    for case, image in zip(cases, images, strict=True):
        np.testing.assert_allclose(case.image.numpy(), np.reshape(image, case.image.shape), atol=1e-4)


# transforms

def test_a_random_transform_is_noticed_though_the_first_items_are_alike() -> None:
    generator = torch.Generator().manual_seed(3)

    def sometimes(image: Any) -> Any:
        return image.flip(-1) if torch.rand((), generator=generator) < 0.5 else image

    with pytest.raises(InputRefused, match=r"item \d is another image each time .* without it, as for testing"):
        Cases.from_dataset(Drawn(sometimes), bounds=(0, 1))


@pytest.mark.parametrize("normalised", [(0.5, 0.25), ([0.5], [0.25]), (torch.tensor([0.5]), 0.25)])
def test_images_already_normalised_are_noticed_and_undone(normalised: Any) -> None:
    dataset = Drawn(lambda image: (image - 0.5) / 0.25)
    with pytest.raises(InputRefused, match=r"go from -2 to .* they look normalised\. .*normalised=\(MEAN, SD\)"):
        Cases.from_dataset(dataset, bounds=(0, 1))
    same(Cases.from_dataset(dataset, bounds=(0, 1), normalised=normalised), IMAGES / 255)
    cases = Cases.from_dataset(dataset, bounds=(-1000, 400, "HU"))
    assert "look normalised" in cases.warnings[0]
    assert not Cases.from_dataset(dataset, bounds=(-2, 2)).warnings
    held = np.stack([image.numpy() for image, _ in (dataset[at] for at in range(6))])
    same(Cases.from_arrays(held, LABELS, bounds=(0, 1), normalised=normalised), IMAGES / 255)


def test_means_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="3 means and 3 deviations, the images 1 channels"):
        Cases.from_dataset(Drawn(lambda image: image), bounds=(0, 1), normalised=(0.5,) * 6)
    with pytest.raises(UsageError, match="deviations above 0"):
        Cases.from_dataset(Drawn(lambda image: image), bounds=(0, 1), normalised=(0.5, 0))


# medmnist

def test_a_data_set_of_medmnists_is_taken_as_stored() -> None:
    labels = np.array(LABELS)[:, None]
    cases = Cases.from_dataset(MedMNIST(IMAGES, labels), bounds=(0, 255))
    same(cases)
    assert cases.classes == ("benign", "malignant")
    assert not cases.warnings
    taught = Cases.from_dataset(MedMNIST(IMAGES, labels, split="train"), bounds=(0, 255))
    assert "images for training" in taught.warnings[0]
    colour = np.repeat(IMAGES[..., None], 3, axis=-1)
    assert tuple(Cases.from_dataset(MedMNIST(colour, labels), bounds=(0, 255))[0].image.shape) == (3, 5, 4)
    volumes = np.repeat(IMAGES[..., None], 7, axis=-1)
    assert tuple(Cases.from_dataset(MedMNIST(volumes, labels), bounds=(0, 255))[0].image.shape) == (1, 5, 4, 7)
    turned = MedMNIST(IMAGES, labels, transform=lambda image: np.asarray(image)[None] / np.float32(255))
    same(Cases.from_dataset(turned, bounds=(0, 1)), IMAGES / 255)
    several = MedMNIST(IMAGES, np.column_stack([1 - np.array(LABELS), LABELS]))
    same(of_finding(Cases.from_dataset(several, bounds=(0, 255)), "malignant"))


# Hugging Face

def png(image: Any) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "png")
    return stored.getvalue()


def save(folder: Path, columns: dict[str, Any] | None = None, features: Any = None, **options: Any) -> Path:
    """A folder as `save_to_disk` writes it."""
    folder.mkdir(parents=True)
    table = pa.table(columns or {"scan": [{"bytes": png(image), "path": None} for image in IMAGES], "finding": LABELS,
                                 "who": ["p", "p", "q", "q", "r", "r"]})
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(
            file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}],
                                                   "_split": None}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {
        "scan": {"_type": "Image"}, "finding": {"_type": "ClassLabel", "names": ["no", "yes"]},
        "who": {"_type": "Value"}}}))
    return folder


def test_a_folder_of_save_to_disk_is_read_without_the_library(tmp_path: Path) -> None:
    cases = open_cases(save(tmp_path / "scans"), patient_column="who")
    same(cases)
    assert cases.classes == ("no", "yes")
    assert [row.patient for row in cases.rows] == ["p", "p", "q", "q", "r", "r"]
    for part in ("train", "validation", "test"):
        save(tmp_path / "parts" / part)
    (tmp_path / "parts" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    cases = open_cases(tmp_path / "parts")
    assert [len(cases.part(part)) for part in ("train", "validation", "test")] == [6, 6, 6]
    same(cases.part("test"))


def test_what_the_library_writes_is_what_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features({"scan": datasets.Image(), "finding": datasets.ClassLabel(names=["no", "yes"])})
    columns = {"scan": [Image.fromarray(image) for image in IMAGES], "finding": LABELS}
    made = datasets.Dataset.from_dict(columns, features=features)
    made.save_to_disk(tmp_path / "one")
    parts = datasets.DatasetDict(train=made, test=made)
    parts.save_to_disk(tmp_path / "parts")
    for cases in (open_cases(tmp_path / "one"), open_cases(tmp_path / "parts").part("test"),
                  Cases.from_dataset(made, bounds=(0, 255)),
                  Cases.from_dataset(made.with_format("torch"), bounds=(0, 255)),
                  Cases.from_dataset(made.to_iterable_dataset(), bounds=(0, 255)),
                  Cases.from_dataset(parts, bounds=(0, 255)).part("test")):
        same(cases)
        assert cases.classes == ("no", "yes")


def test_the_part_for_training_is_said_to_be_that(tmp_path: Path) -> None:
    folder = save(tmp_path / "scans")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"_split": "train"}))
    cases = open_cases(folder)
    assert {row.part for row in cases.rows} == {""}
    assert "scans: these are its images for training" in cases.warnings[0]


def test_labels_that_are_declared_otherwise(tmp_path: Path) -> None:
    pictures = [{"bytes": png(image), "path": None} for image in IMAGES]
    labels = ["b", "a", "b", None, "a", "b"]
    save(tmp_path / "text", {"image": pictures, "label": labels}, {"image": {"_type": "Image"}})
    cases = open_cases(tmp_path / "text")
    assert [row.raw_label for row in cases.rows] == ["b", "a", "b", "a", "b"]
    assert cases.classes == ("a", "b")
    save(tmp_path / "none", {"scan": pictures, "finding": [0, 1, -1, 0, 1, -1]})
    assert open_cases(tmp_path / "none").counts() == {"no": 2, "yes": 2}
    with pytest.raises(InputRefused, match=r"no column 'label'; name yours by data.options.*: scan, grade"):
        open_cases(save(tmp_path / "other", {"scan": pictures, "grade": LABELS}, {"scan": {"_type": "Image"}}))
    two = {"a": {"_type": "Image"}, "b": {"_type": "Image"}}
    with pytest.raises(InputRefused, match="2 are declared as Image"):
        open_cases(save(tmp_path / "two", {"a": pictures, "b": pictures, "label": LABELS}, two))


def test_hostile_and_broken_folders_are_refused_in_one_line(tmp_path: Path, steadyread: Call) -> None:
    whole = save(tmp_path / "whole")
    data = (whole / "data-00000-of-00001.arrow").read_bytes()
    for name, broken in {"cut": data[:len(data) // 2], "other": b"no arrow at all" * 9, "empty": b""}.items():
        (save(tmp_path / name) / "data-00000-of-00001.arrow").write_bytes(broken)
    save(tmp_path / "packed", compression="zstd")
    elsewhere = [{"bytes": None, "path": "https://example.org/x.png"} for _ in IMAGES]
    save(tmp_path / "elsewhere", {"scan": elsewhere, "finding": LABELS})
    for name, state in {"climbs": {"_data_files": [{"filename": "../whole/data-00000-of-00001.arrow"}]}, "lists": [],
                        "lacks": {"_data_files": [{}]}, "none": {"_data_files": []}}.items():
        (save(tmp_path / name) / "state.json").write_text(json.dumps(state))
    for name, said in {"cut": "damaged", "other": "damaged", "empty": "damaged", "packed": "batches are compressed",
                       "elsewhere": "a path elsewhere", "climbs": "must name a file inside",
                       "lists": "expected an object in JSON", "lacks": "must name a file inside",
                       "none": "no Arrow files"}.items():
        told = steadyread("audit", tmp_path / name)
        assert told.code == 3, name
        assert said in told.err, name
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "dataset_dict.json").write_text('{"splits": ["../whole"]}')
    assert "must name a file inside" in steadyread("audit", tmp_path / "parts").err


def test_flipped_bytes_never_do_worse_than_a_refusal(tmp_path: Path) -> None:
    folder = save(tmp_path / "scans")
    file = folder / "data-00000-of-00001.arrow"
    data, random = bytearray(file.read_bytes()), np.random.default_rng(5)
    for _ in range(150):
        broken = bytearray(data)
        for place in random.integers(0, len(data), 3):
            broken[place] = int(random.integers(0, 256))
        file.write_bytes(broken)
        with suppress(InputRefused):
            [case.image for case in open_cases(folder)]
