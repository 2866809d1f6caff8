"""Folders whose names may be no classes, and what stands beside classes unread: refused or said, never guessed."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import audit, open_cases
from steadyread.errors import InputRefused


def save(folder: Path, *places: str) -> Path:
    for number, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 6), np.uint8)).save(folder / place)
    return folder


def each(tops: str, names: str = "a b", top: str = "") -> tuple[str, ...]:
    return tuple(f"{top}{first}/{name}/{first}.png" for first in tops.split() for name in names.split())


@pytest.mark.parametrize("places", [
    each("train_1 test_1"), each("fold1 fold2"), each("x y z", "a b c"), (*each("p1 p2"), "p3/a/1.png"),
    ("train_1/a/1.png", "train_1/b/1.png", "test_1/a/1.png", "test_1/c/1.png"),
    ("set1-train/1.png", "set1-test/2.png")])
def test_folders_that_may_be_folds_or_parts_are_no_classes(tmp_path: Path, places: tuple[str, ...]) -> None:
    save(tmp_path, *places)
    with pytest.raises(InputRefused, match=r"not clear which folders are the classes.*data\.layout = folders"):
        open_cases(tmp_path)
    tops = {place.removeprefix("train/").split("/")[0] for place in places}
    assert set(open_cases(tmp_path, layout="folders").classes) == tops


@pytest.mark.parametrize("places", [
    ("a/p1/1.png", "a/p2/1.png", "b/p3/1.png", "b/p4/1.png"), each("a b", "images"), each("a b", "train test"),
    ("a/images/1.png", "b/imgs/1.png"), ("test positive/1.png", "test negative/1.png"),
])
def test_classes_with_folders_of_their_own_are_classes(tmp_path: Path, places: tuple[str, ...]) -> None:
    save(tmp_path, *places)
    assert set(open_cases(tmp_path).classes) == {place.split("/")[0] for place in places}


@pytest.mark.parametrize("wrapped", ["dataset/images/", "dataset/v1/images/", "x/y/z/"])
def test_several_folders_around_a_data_set_are_passed(tmp_path: Path, wrapped: str) -> None:
    save(tmp_path, *(place for part in ("train", "test") for place in each(part, top=wrapped)))
    cases = open_cases(tmp_path)
    assert (cases.classes, {row.part for row in cases.rows}) == (("a", "b"), {"train", "test"})


def test_one_folder_around_all_names_what_may_be_meant(tmp_path: Path) -> None:
    save(tmp_path, "set/a/1.png", "set/b/1.png")
    with pytest.raises(InputRefused, match=f"if its sub-folders are the classes, give {tmp_path}/set"):
        open_cases(tmp_path)
    save(tmp_path / "two", "images/1.png", "masks/1.png")
    with pytest.raises(InputRefused, match=r"one class only \(images\).*1 pictures are left out as masks"):
        open_cases(tmp_path / "two")


def test_a_class_that_training_lacks_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cats/1.png", "test/dog/1.png")
    told = {finding.check: finding for finding in audit(open_cases(tmp_path))}
    assert told["classes without training images"].severity == "error"
    assert "cats (1)" in told["classes without training images"].message
    assert "cat (1)" in told["classes without test images"].message
    arrays = {f"{part}_{kind}": value for part, label in (("train", 1), ("test", 2)) for kind, value in (
        ("images", np.zeros((2, 6, 6), np.uint8)), ("labels", np.array([0, label])))}
    np.savez(tmp_path / "x.npz", **arrays, train_patients=np.arange(2))
    cases = open_cases(tmp_path / "x.npz")
    assert "arrays that are not read: train_patients" in cases.notes
    assert any("2 (1)" in found.message and found.severity == "error" for found in audit(cases))


def test_folders_without_pictures_are_named(tmp_path: Path) -> None:
    save(tmp_path, "a/1.png", "b/2.png", "top.png", "b_mask/x/1.png")
    for place in ("empty", "zipped", "bare", "__MACOSX"):
        (tmp_path / place).mkdir()
    (tmp_path / "zipped/c.zip").write_bytes(b"PK")
    (tmp_path / "bare/scan").write_bytes(b"x")
    notes = " | ".join(open_cases(tmp_path, exclude="b_mask").notes)
    for words in ("bare/ holds no picture that can be read and is no class: 1 without ending",
                  "empty/ holds no picture", "it is empty", "1 .zip",
                  "1 pictures stand beside the folders, such as top.png"):
        assert words in notes
    assert "MACOSX" not in notes
    assert "b_mask/ holds" not in notes


@pytest.mark.parametrize("ending", ["jfif", "jpe", "ppm", "pnm", "pbm", "dib", "apng"])
def test_every_ending_of_a_format_that_is_read(tmp_path: Path, ending: str) -> None:
    save(tmp_path, "a/1.png", "b/2.png")
    Image.new("1" if ending == "pbm" else "L", (6, 6), 1).save(tmp_path / f"b/3.{ending}")
    cases = open_cases(tmp_path)
    assert cases.counts() == {"a": 1, "b": 2}
    assert cases[2].image.shape == (1, 6, 6)


@pytest.mark.parametrize("mask", ["x_lung_mask", "x_bbox", "xmask", "x-gradcam", "x bounding box"])
def test_masks_of_any_kind_are_left_out(tmp_path: Path, mask: str) -> None:
    save(tmp_path, "a/x.png", f"a/{mask}.png", "b/y.png", "b/unmasked.png", "b/lgt.png", "b/l.png")
    cases = open_cases(tmp_path)
    assert cases.counts() == {"a": 1, "b": 4}
    assert "1 pictures are left out as masks" in cases.notes[1]


@pytest.mark.parametrize(("place", "data"), [
    ("set/labels.csv.gz", gzip.compress(b"image,dx\n1.png,m\n2.png,b\n", mtime=0)),
    ("set/list.csv.gz", gzip.compress(b"1;m\n2;b\n", mtime=0)), ("labels.csv", b"image,dx\n1.png,m\n2.png,b\n"),
    ("set/all.yaml", b"m: [1.png]\nb: [2.png]\n")])
def test_a_table_of_any_kind_is_never_overruled_by_folders(tmp_path: Path, place: str, data: bytes) -> None:
    save(tmp_path, "set/batch1/1.png", "set/batch2/2.png")
    (tmp_path / place).write_bytes(data)
    with pytest.raises(InputRefused, match=r"is not understood, and may say what they are"):
        open_cases(tmp_path / "set")
    assert open_cases(tmp_path / "set", layout="folders").classes == ("batch1", "batch2")


@pytest.mark.parametrize(("place", "data"), [
    ("people.csv", b"name\nAnn\n"), ("set/pictures.zip", b"PK\3\4 1.png 2.png"),
    ("set/IM1", b"\0" * 128 + b"DICM 1 2"), ("set/LICENSE", b"all rights\n"),
    ("set/broken.csv.gz", b"\x1f\x8b\x08no"),
])
def test_what_says_nothing_of_pictures_stops_nothing(tmp_path: Path, place: str, data: bytes) -> None:
    save(tmp_path, "set/batch1/1.png", "set/batch2/2.png")
    (tmp_path / place).write_bytes(data)
    assert open_cases(tmp_path / "set").classes == ("batch1", "batch2")


def test_two_npz_are_not_asked_for_what_they_hold(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, train_images=np.zeros((2, 6, 6), np.uint8), train_labels=np.array([0, 1]))
    with pytest.raises(InputRefused, match=r"one npz, here are 2: name the one, such as .*a\.npz"):
        open_cases(tmp_path)
    assert len(open_cases(tmp_path / "a.npz")) == 2
