"""Which label an image gets: tables beside folders, parts beside classes, masks among images, links in circles."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import Cases, open_cases
from steadyread.errors import InputRefused, UsageError

LINES = "file,label\nbatch1/x.png,mal\nbatch1/z.png,ben\nbatch2/y.png,ben\nbatch2/w.png,mal\n"
RIGHT = {"batch1/x.png": "mal", "batch1/z.png": "ben", "batch2/y.png": "ben", "batch2/w.png": "mal"}


def save(*paths: Path | str) -> None:
    for number, path in enumerate(paths):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 6), np.uint8)).save(path)


def batches(folder: Path) -> Path:
    save(*(folder / name for name in RIGHT))
    return folder


def labels(cases: Cases) -> dict[str, str]:
    return {row.id: row.raw_label for row in cases.rows}


@pytest.mark.parametrize(("name", "data"), [
    ("labels.csv", LINES.replace(",", ";").encode()), ("labels.csv", LINES.replace(",", "\t").encode()),
    ("labels.csv", LINES.encode("utf-16")), ("labels.csv", ("sep=;\n" + LINES.replace(",", ";")).encode()),
    ("labels.csv", LINES.replace("\n", "\r\n").encode() + b",\r\n"), ("labels.tsv", LINES.replace(",", "\t").encode())])
def test_a_table_of_one_meaning_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    (batches(tmp_path) / name).write_bytes(data)
    assert labels(open_cases(tmp_path)) == RIGHT


@pytest.mark.parametrize(("name", "data", "words"), [
    ("labels.csv", LINES.replace("file,label", "image,class").encode(), ("image, class", "file and label")),
    ("meta.csv", LINES.replace("file,label", "id,dx").replace(".png", "").encode(), ("id, dx",)),
    ("labels.csv", LINES.encode("utf-16")[2:], ("(not text in UTF-8)", "file and label")),
    ("list.txt", LINES.replace(",", " ").encode(), ("list.txt",)),
    ("all.json", LINES.replace(",", '": "').encode(), ("all.json",)),
    ("batch1/labels.csv", b"name;kind\nx.png;mal\n", ("name, kind",))])
def test_a_table_that_is_not_understood_is_never_overruled_by_folders(tmp_path: Path, name: str, data: bytes,
                                                                      words: tuple[str, ...]) -> None:
    (batches(tmp_path) / name).write_bytes(data)
    with pytest.raises(InputRefused) as caught:
        open_cases(tmp_path)
    for word in (name, "data.layout = folders", *words):
        assert word in str(caught.value)
    assert open_cases(tmp_path, layout="folders").classes == ("batch1", "batch2")


def test_tables_of_other_things_are_said_not_to_be_read(tmp_path: Path) -> None:
    (batches(tmp_path) / "scanners.csv").write_text("scanner,kvp\nA,120\n")
    (tmp_path / "README.txt").write_text("x.png is the first\n")
    cases = open_cases(tmp_path)
    assert "1 tables are not read, such as scanners.csv" in cases.notes
    assert cases.classes == ("batch1", "batch2")


@pytest.mark.parametrize(("text", "words"), [
    ("file,label,label\nbatch1/x.png,a,b\n", "'label' stands 2 times"),
    ("file,label,Label\nbatch1/x.png,a,b\n", "'label' stands 2 times"),
    ("file,label,age,age\nbatch1/x.png,a,1,2\n", "'age' stands 2 times"),
    ("file,label\nbatch1/x,1.png,a\n", "line 2: 3 values for 2 columns"),
    ("file,label\n" + "x" * 3000 + ".png,a\n", "none of its 1 files exist"),
])
def test_tables_of_two_meanings_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (batches(tmp_path) / "list.csv").write_text(text)
    with pytest.raises(InputRefused, match=words):
        open_cases(tmp_path)


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing"), ("train_set", "test-set"),
                                   ("TRAIN", "valid")])
def test_a_folder_beside_parts_is_no_class(tmp_path: Path, names: tuple[str, str]) -> None:
    save(*(tmp_path / part / name / f"{part}.png" for part in names for name in "ab"),
         tmp_path / "extra" / "a" / "5.png", tmp_path / "more" / "6.png")
    cases = open_cases(tmp_path)
    assert cases.classes == ("a", "b")
    assert {row.part for row in cases.rows} == {"train", "validation" if names[1] == "valid" else "test"}
    assert [note.split(" are left out")[0] for note in cases.notes[1:]] == ["1 pictures in extra/",
                                                                            "1 pictures in more/"]


@pytest.mark.parametrize("places", [("train/1.png", "other/2.png"), ("train/1.png", "test/2.png"),
                                    ("test/1.png", "test/a/2.png", "train/a/3.png")])
def test_a_part_that_holds_pictures_directly_is_refused(tmp_path: Path, places: tuple[str, ...]) -> None:
    save(*(tmp_path / place for place in places))
    with pytest.raises(InputRefused, match="one sub-folder a class"):
        open_cases(tmp_path)


def test_parts_within_classes_and_below_a_folder_that_holds_all(tmp_path: Path) -> None:
    save(*(tmp_path / "one" / name / part / "1.png" for part in ("train", "test") for name in "ab"))
    cases = open_cases(tmp_path / "one")
    assert [(row.raw_label, row.part) for row in cases.rows] == [("a", "test"), ("a", "train"), ("b", "test"),
                                                                 ("b", "train")]
    save(tmp_path / "one" / "b" / "2.png")
    with pytest.raises(InputRefused, match=r"2\.png: stands in no part"):
        open_cases(tmp_path / "one")
    save(*(tmp_path / "two" / "inner" / part / name / "1.png" for part in ("train", "test") for name in "ab"))
    assert open_cases(tmp_path / "two").classes == ("a", "b")


MASKED = [
    ("a/x.png", "a/x_mask.png"), ("a/x (1).png", "a/x (1)_mask.png", "a/x (1)_mask_1.png"),
    ("a/x.png", "a/x_seg.png"), ("a/x.png", "a/x_segmentation.png"), ("a/x.png", "a/x-GT.png"),
    ("a/x.jpg", "a/x_label.png"),
    ("a/x_image.png", "a/x_mask.png"), ("a/x.png", "a/mask_x.png"), ("a/images/x.png", "a/masks/x.png"),
    ("a/images/x.png", "a/labels/other.png"), ("a/imgs/x.png", "a/gt/x.png"), ("a/x.png", "a/annotations/x.png"),
    ("a/x.png", "a/Ground Truth/x.png"), ("a/x.png", "mask/x.png"),
]


@pytest.mark.parametrize("places", MASKED)
def test_masks_are_left_out_with_a_note(tmp_path: Path, places: tuple[str, ...]) -> None:
    other = "b/images/y.png" if places[0].count("/") > 1 else "b/y.png"
    save(*(tmp_path / place for place in (*places, other, other.replace("b/", "c/"))))
    cases = open_cases(tmp_path)
    assert [row.id for row in cases.rows] == [places[0], other, other.replace("b/", "c/")]
    assert cases.classes == ("a", "b", "c")
    assert f"{len(places) - 1} pictures are left out as masks" in cases.notes[1]


def test_images_and_masks_above_the_classes(tmp_path: Path) -> None:
    save(*(tmp_path / kind / name / "1.png" for kind in ("images", "masks") for name in "ab"))
    cases = open_cases(tmp_path)
    assert (cases.classes, [row.id for row in cases.rows]) == (("a", "b"), ["images/a/1.png", "images/b/1.png"])


def test_classes_of_people_with_and_without_a_mask_are_classes(tmp_path: Path) -> None:
    save(*(tmp_path / name / f"{number}.png" for name in ("mask", "no_mask") for number in range(3)))
    assert open_cases(tmp_path).classes == ("mask", "no_mask")
    save(tmp_path / "only" / "a" / "1_mask.png", tmp_path / "only" / "b" / "1_mask.png")
    assert len(open_cases(tmp_path / "only")) == 2


@pytest.mark.parametrize(("exclude", "left"), [
    ("*_ov.png", ["a/1.png", "b/1.png", "b/thumbs/2.png"]), (["*_ov*", "thumbs"], ["a/1.png", "b/1.png"]),
    ("b/thumbs", ["a/1.png", "a/1_ov.png", "b/1.png"]), ("b/thumbs/*", ["a/1.png", "a/1_ov.png", "b/1.png"])])
def test_what_is_excluded(tmp_path: Path, exclude: str | list[str], left: list[str]) -> None:
    save(*(tmp_path / name for name in ("a/1.png", "a/1_ov.png", "b/1.png", "b/thumbs/2.png")))
    cases = open_cases(tmp_path, exclude=exclude)
    assert [row.id for row in cases.rows] == left
    assert f"{4 - len(left)} of 4 pictures are left out by exclude" in cases.notes[1]
    with pytest.raises(InputRefused, match="none is left"):
        open_cases(tmp_path, exclude="*.png")
    with pytest.raises(UsageError, match=r"data\.options\.exclude: .* got \[3\]"):
        open_cases(tmp_path, exclude=[3])


def test_a_csv_may_be_thinned_by_exclude(tmp_path: Path) -> None:
    (batches(tmp_path) / "list.csv").write_text(LINES)
    assert list(labels(open_cases(tmp_path, exclude="x.*"))) == list(RIGHT)[1:]


def test_links_in_a_circle_make_no_images(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    for name in ("up", "again"):
        (tmp_path / "a" / name).symlink_to("..")
    (tmp_path / "0").symlink_to("b")
    cases = open_cases(tmp_path)
    assert labels(cases) == {"a/1.png": "a", "b/2.png": "b"}
    assert any("3 links lead to folders that are read anyway" in note for note in cases.notes)


def test_a_class_stored_as_other_images_does_not_vanish(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    (tmp_path / "b" / "3.webp").write_bytes(b"x")
    assert any("1 .webp" in note for note in open_cases(tmp_path).notes)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "4.webp").write_bytes(b"x")
    with pytest.raises(InputRefused, match=r"c: holds no picture that can be read .* 1 \.webp"):
        open_cases(tmp_path)
    (tmp_path / "c" / "4.webp").rename(tmp_path / "c" / "4.dcm")
    with pytest.raises(InputRefused, match=r"several kinds \(2 pictures, 1 DICOM images\)"):
        open_cases(tmp_path)
    assert open_cases(tmp_path, exclude="c").classes == ("a", "b")


@pytest.mark.parametrize(("name", "data", "words"), [
    ("1.dcm", b"", ("1 .dcm", "sub-folder")), ("IM0001", bytes(128) + b"DICM", ("1 without ending", "sub-folder")),
    ("data.zip", b"", ("Unpack",)), ("1.nii.gz", b"", ("1 .nii.gz", "sub-folder")),
    ("labels.csv", b"image,class\n1,2\n", ("image, class", "file and label"))])
def test_an_unknown_layout_says_what_was_found(tmp_path: Path, name: str, data: bytes,
                                                     words: tuple[str, ...]) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputRefused) as caught:
        open_cases(tmp_path)
    message = str(caught.value).removeprefix(str(tmp_path))
    assert "no known layout; found 1 " in message
    assert len(message) < 240
    for word in words:
        assert word in message


def test_pictures_without_class_folders_are_told_where_to_go(tmp_path: Path) -> None:
    save(tmp_path / "1.png", tmp_path / "2.png")
    with pytest.raises(InputRefused, match=r"found 2 \.png\. Class folders hold"):
        open_cases(tmp_path)


def test_missing_files_are_said_before_one_class_only(tmp_path: Path) -> None:
    save(tmp_path / "x.png")
    (tmp_path / "list.csv").write_text("file,label\nx.png,a\nY.png,b\n")
    save(tmp_path / "y.png")
    with pytest.raises(InputRefused, match=r"1 files are missing, .*; did you mean 'y\.png'\?.*one class only"):
        open_cases(tmp_path)


def test_accents_composed_in_two_ways_are_one_name(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    save(tmp_path / apart / "1.png", tmp_path / "b" / "2.png", tmp_path / composed / "3.png")
    assert open_cases(tmp_path).classes == ("b", composed)
    lines = f"file,label\n{composed}.png,{apart}\nb/2.png,b\n{apart}.jpg,{composed}\n"
    (tmp_path / "list.csv").write_text(lines, "utf-8")
    save(tmp_path / f"{apart}.png", tmp_path / f"{composed}.jpg")
    cases = open_cases(tmp_path)
    assert (cases.missing, cases.classes, len(cases)) == ((), ("b", composed), 3)


def test_file_names_that_are_no_utf_8(tmp_path: Path) -> None:
    foreign = os.fsdecode(b"caf\xe9")
    save(tmp_path / foreign / f"{foreign}.png", tmp_path / "b" / "2.png")
    cases = open_cases(tmp_path)
    assert (cases.classes, cases.rows[1].id) == (("b", "caf\\xe9"), "caf\\xe9/caf\\xe9.png")
    assert cases[1].image.shape == (1, 6, 6)


def test_a_pipe_among_pictures_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    os.mkfifo(tmp_path / "a" / "3.png")
    os.mkfifo(tmp_path / "labels.csv")
    os.mkfifo(tmp_path / "x.npz")
    os.mkfifo(tmp_path / "batches.meta.txt")
    (tmp_path / "b" / "4.png").symlink_to("/dev/zero")
    assert list(labels(open_cases(tmp_path))) == ["a/1.png", "b/2.png"]
    with pytest.raises(InputRefused, match="a pipe"):
        open_cases(tmp_path / "labels.csv")
    with pytest.raises(InputRefused, match="a device"):
        open_cases("/dev/zero")


@pytest.mark.parametrize(("rows", "words"), [
    (("x.png,ben", "y.png,Ben"), ("labels 'Ben' and 'ben'", "two ways")),
    (("x.png,0", "y.png,1", "z.png,0.0"), ("'0' and '0.0'",)),
    (("x.png,1", "y.png,0", "z.png,01"), ("'01' and '1'",)),
    (("x.png,True", "y.png,FALSE", "z.png,False"), ("'FALSE' and 'False'",)),
    (("x.png,ben ign", "y.png,ben_ign"), ("'ben ign' and 'ben_ign'",)),
    (("x.png,ben", "y.png,mal", "./x.png,mal"), ("line 4", "'./x.png'", "'mal'", "'ben' in labels.csv line 2")),
])
def test_labels_written_in_two_ways_are_no_two_classes(tmp_path: Path, rows: tuple[str, ...], words: tuple[str, ...]
                                                       ) -> None:
    save(*(tmp_path / f"{name}.png" for name in "xyz"))
    (tmp_path / "labels.csv").write_text("\n".join(("file,label", *rows)))
    with pytest.raises(InputRefused) as refused:
        open_cases(tmp_path)
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize("none", ["", "nan", "NaN", "NA", "<NA>", "null"])
def test_a_label_that_is_none_is_no_class(tmp_path: Path, none: str) -> None:
    save(*(tmp_path / f"{name}.png" for name in "xyz"))
    (tmp_path / "labels.csv").write_text(f'file, label\nx.png, "ben"\ny.png, mal\nz.png, {none}\n')
    cases = open_cases(tmp_path)
    assert labels(cases) == {"x.png": "ben", "y.png": "mal"}
    assert cases.classes == ("ben", "mal")
    assert any(none in note for note in cases.notes)


def test_columns_of_patients_and_parts_under_other_names(tmp_path: Path) -> None:
    save(*(tmp_path / f"{name}.png" for name in "xyz"))
    table = tmp_path / "labels.csv"
    table.write_text("file,label,PatientID,split\nx.png,ben,7,train\ny.png,mal,8,Test\nz.png,mal,8,test\n")
    cases = open_cases(tmp_path)
    assert [(row.patient, row.part) for row in cases.rows] == [("7", "train"), ("8", "test"), ("8", "test")]
    assert {"the column 'PatientID' is read as patient", "the column 'split' is read as part"} <= set(cases.notes)
    table.write_text("file,label,split\nx.png,ben,0\ny.png,mal,1\n")     # folds are no parts
    assert [row.extras["split"] for row in open_cases(tmp_path).rows] == ["0", "1"]


@pytest.mark.parametrize(("patients", "words"), [(("7", "007"), "'007' and '7'"), (("7", "7.0"), "'7' and '7.0'"),
                                                 (("p1", "P1"), "'P1' and 'p1'"), (("7", "nan"), "no patient")])
def test_patients_written_in_two_ways_are_no_two(tmp_path: Path, patients: tuple[str, str], words: str) -> None:
    save(tmp_path / "x.png", tmp_path / "y.png")
    rows = zip(("x.png,ben", "y.png,mal"), patients, strict=True)
    (tmp_path / "labels.csv").write_text("\n".join(("file,label,patient", *map(",".join, rows))))
    with pytest.raises(InputRefused, match=words):
        open_cases(tmp_path)


@pytest.mark.parametrize("places", [("train/ben", "train/mal", "test/Ben", "test/mal"), ("0", "00", "1", "2"),
                                    ("ben", "ben ", "mal", "x")])
def test_folders_written_in_two_ways_are_no_two_classes(tmp_path: Path, places: tuple[str, ...]) -> None:
    save(*(tmp_path / place / f"{number}.png" for number, place in enumerate(places)))
    with pytest.raises(InputRefused, match="two ways"):
        open_cases(tmp_path)


@pytest.mark.parametrize("other", ["labelsTr", "lesion_masks", "bin", "SegmentationClass", "1st_manual"])
@pytest.mark.parametrize("place", ["{}/{}.png", "{}/x/{}.png", "a/{}/{}.png"])
def test_what_stands_beside_images_is_no_class(tmp_path: Path, other: str, place: str) -> None:
    save(*(tmp_path / place.format(kind, number) for kind in ("images", other) for number in range(2)),
         *([tmp_path / "b/images/y.png"] if place.startswith("a/") else []))
    with pytest.raises(InputRefused, match=rf"{other}: stands beside images/.*exclude"):
        open_cases(tmp_path)


def test_a_class_called_mask_among_classes_numbered_alike_is_no_mask(tmp_path: Path) -> None:
    save(*(tmp_path / kind / f"{number}.png" for kind in ("mask", "no_mask", "wrong") for number in range(3)))
    assert open_cases(tmp_path).counts() == {"mask": 3, "no_mask": 3, "wrong": 3}


def test_signed_pictures_of_8_bits_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a/1.png", tmp_path / "b/2.png")
    Image.fromarray(np.full((6, 6), 200, np.uint8)).save(tmp_path / "b/3.tif", tiffinfo={339: 2})
    cases = open_cases(tmp_path)
    with pytest.raises(InputRefused, match="signed values of 8 bits"):
        [cases[place] for place in range(3)]
