"""Bad data is refused in one line that names the file, the row or the key."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import READERS, Preparation, collate, open_cases, phantom, prepare
from steadyread.errors import InputRefused, UsageError


def save(path: Path, shape: tuple[int, ...] = (8, 8), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)
    return path


def refusal(act: Callable[[], object], *words: str, kind: type[Exception] = InputRefused) -> None:
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def read_all(path: Path, **options: object) -> None:
    for case in open_cases(path, **options):
        assert case.image.ndim >= 3


def test_missing_empty_and_unknown_folders(tmp_path: Path) -> None:
    refusal(lambda: open_cases(tmp_path / "none"), "none", "no such")
    refusal(lambda: open_cases(tmp_path), "empty")
    (tmp_path / "readme.txt").write_text("hello")
    refusal(lambda: open_cases(tmp_path), "found 1 .txt", "class folders", "MedMNIST")
    refusal(lambda: open_cases(tmp_path / "readme.txt"), "found 1 .txt")
    refusal(lambda: open_cases(tmp_path, layout="dicom"), "dicom", "lidc", kind=UsageError)


@pytest.mark.parametrize("layout", list(READERS))
def test_a_named_layout_that_is_not_there(tmp_path: Path, layout: str) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    refusal(lambda: open_cases(tmp_path, layout=layout), layout, READERS[layout].looked_for)
    refusal(lambda: open_cases(tmp_path / "readme.txt", layout=layout), layout)


def test_unknown_options_and_double_layouts(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png")
    refusal(lambda: open_cases(tmp_path, chanels="grey"), "chanels", "channels", kind=UsageError)
    refusal(lambda: open_cases(tmp_path, channels="green"), "green", kind=UsageError)
    refusal(lambda: READERS.add(READERS["lidc"]), "lidc", kind=UsageError)


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "C:\\out.png", ""])
def test_csv_paths_that_climb_out(tmp_path: Path, name: str) -> None:
    save(tmp_path / "1.png")
    (tmp_path / "list.csv").write_text(f"file,label\n1.png,a\n{name},b\n")
    refusal(lambda: open_cases(tmp_path), "list.csv line 3", name)


def test_csv_without_any_file_or_column_or_with_an_unknown_label(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("file,label\n1.png,a\n2.png,b\n")
    refusal(lambda: open_cases(tmp_path), "none of its 2 files", "1.png")
    save(tmp_path / "1.png")
    refusal(lambda: open_cases(table, classes=("a", "c")), "line 3", "'b'", "a, c")
    table.write_text("file,diagnosis\n1.png,a\n")
    refusal(lambda: open_cases(table, layout="csv"), "column 'label'")
    table.write_text("file,label,patient\n1.png,a,\n")
    refusal(lambda: open_cases(table), "line 2", "no patient")
    table.write_text("file,label,spacing_mm\n1.png,a,wide\n")
    refusal(lambda: open_cases(table), "line 2", "spacing_mm", "wide")
    table.write_bytes("file,label\n1.png,caf\xe9\n".encode("latin-1"))
    refusal(lambda: open_cases(table), "list.csv", "UTF-8")


@pytest.mark.parametrize("text", ["file,label\n" + "a,b\n" * 1_000_001, "file,label\n" + "\n" * 1_000_001,
                                  "file,label" + ",c" * 10_000 + "\n" + "a,b\n" * 1000])
def test_tables_larger_than_any_are_refused_before_they_are_parsed(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    refusal(lambda: open_cases(tmp_path, "csv"), "at most 1,000,000 lines and 10,000,000 values are read")


def test_a_table_of_one_endless_line_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label\n")
    os.truncate(tmp_path / "list.csv", 2**40)
    refusal(lambda: open_cases(tmp_path, "csv"), "larger than 64 MiB")


def test_truncated_and_false_pictures_are_refused_when_read(tmp_path: Path) -> None:
    whole = save(tmp_path / "a" / "whole.png", (64, 64))
    data = whole.read_bytes()
    (tmp_path / "b").mkdir()
    for name, content in (("cut.png", data[:len(data) // 2]), ("head.png", data[:20]), ("none.png", b""),
                          ("text.png", b"not a picture")):
        bad = tmp_path / "b" / name
        bad.write_bytes(content)
        refusal(lambda: read_all(tmp_path), f"b/{name}", "picture" if content else "is empty")
        bad.unlink()
    jpeg = tmp_path / "b" / "cut.jpg"
    Image.open(whole).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:-300])
    refusal(lambda: read_all(tmp_path), "cut.jpg")


def test_mixed_depths_and_floating_point_pictures(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(np.full((8, 8), 300, np.uint16)).save(tmp_path / "b" / "deep.png")
    refusal(lambda: read_all(tmp_path), "1.png", "16")
    (tmp_path / "b" / "deep.png").unlink()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "b" / "f.tif")
    refusal(lambda: read_all(tmp_path), "1.png", "32")


def test_class_folders_at_two_depths(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "all" / "b" / "1.png")
    refusal(lambda: open_cases(tmp_path), "all", "deeper")


def arrays(path: Path, **changes: np.ndarray) -> Path:
    held = {"train_images": np.zeros((4, 6, 6), np.uint8), "train_labels": np.array([0, 1, 0, 1])} | changes
    np.savez_compressed(path / "toy.npz", **held)
    return path


@pytest.mark.parametrize(("changes", "words"), [
    ({"train_images": np.zeros((4, 6, 6), np.float32)}, ("train_images", "uint8", "float32")),
    ({"train_images": np.zeros((4, 6), np.uint8)}, ("train_images", "(4, 6)")),
    ({"train_images": np.array([{}, 1, 2, 3], object)}, ("train_images", "Python objects")),
    ({"train_labels": np.zeros(3, np.uint8)}, ("train_labels", "(3,)")),
    ({"train_labels": np.array([0, 1, -1, 0])}, ("train_labels row 2", "-1"))])
def test_npz_of_wrong_content(tmp_path: Path, changes: dict[str, np.ndarray], words: tuple[str, ...]) -> None:
    refusal(lambda: open_cases(arrays(tmp_path, **changes)), "toy.npz", *words)


def test_npz_bombs_and_headers_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "toy.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("train_images.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False,
                                                          "shape": (80, 1024, 1024)})
            for _ in range(80):
                member.write(bytes(2**20))
        with archive.open("train_labels.npy", "w") as member:
            np.lib.format.write_array(member, np.zeros(80, np.uint8))
    refusal(lambda: open_cases(path), "train_images", "bomb")
    with zipfile.ZipFile(path, "w") as archive, archive.open("train_images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False,
                                                      "shape": (10**6, 10**6)})
        member.write(bytes(100))
    refusal(lambda: open_cases(path), "train_images", "holds 100")


def idx(path: Path, head: bytes, body: bytes, pack: bool = True) -> Path:
    data = head + body
    (path / f"train-images-idx3-ubyte{'.gz' if pack else ''}").write_bytes(gzip.compress(data) if pack else data)
    (path / "train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 2, 0, 1)))
    return path


SHAPE = bytes((0, 0, 8, 3)) + (2).to_bytes(4, "big") + (3).to_bytes(4, "big") * 2


@pytest.mark.parametrize("pack", [True, False])
def test_idx_that_does_not_hold_what_it_declares(tmp_path: Path, pack: bool) -> None:
    read_all(idx(tmp_path, SHAPE, bytes(range(18)), pack))
    for body in (bytes(17), bytes(19)):
        refusal(lambda body=body: open_cases(idx(tmp_path, SHAPE, body, pack)), "train-images", "18")
    refusal(lambda: open_cases(idx(tmp_path, b"\0\0\x0d\x03" + SHAPE[4:], bytes(72), pack)), "magic", "0x00000d03")


def test_idx_cut_bombed_and_without_its_pair(tmp_path: Path) -> None:
    file = idx(tmp_path, SHAPE, bytes(range(18))) / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-12])
    refusal(lambda: open_cases(tmp_path), "train-images-idx3-ubyte.gz")
    idx(tmp_path, bytes((0, 0, 8, 3)) + (10**6).to_bytes(4, "big") + (1000).to_bytes(4, "big") * 2, b"")
    refusal(lambda: open_cases(tmp_path), "bomb")
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    refusal(lambda: open_cases(idx(tmp_path, SHAPE, bytes(18)).parent / "gone"), "gone")


def lidc(path: Path, images: np.ndarray, table: str | None = None) -> Path:
    np.savez(path / "patches.npz", images_hu=images, nodule_id=np.arange(len(images)))
    head = "row,nodule_id,patient_id,pixel_spacing_mm,malignancy_1,malignancy_2,malignancy_3,malignancy_4\n"
    lines = "".join(f"{row},{row},P{row},0.7,{1 + 4 * (row % 2)},{1 + 4 * (row % 2)},0,0\n"
                    for row in range(len(images)))
    (path / "nodules.csv").write_text(head + lines if table is None else table)
    return path


def test_pixels_that_are_not_finite_are_refused_with_their_row(tmp_path: Path) -> None:
    images = np.zeros((4, 6, 6), np.float32)
    images[2, 1, 1], images[3, 0, 0] = np.nan, np.inf
    cases = open_cases(lidc(tmp_path, images))
    assert cases[1].image.shape == (1, 6, 6)
    refusal(lambda: cases[2], "nodules.csv row 2", "nodule-0002", "NaN")
    refusal(lambda: prepare(cases, Preparation(crop=4, size=8))[2], "nodule-0002", "NaN")
    refusal(lambda: cases[3], "nodule-0003", "infinite")
    refusal(lambda: prepare(cases, Preparation(window=(-1000, 400)))[3], "nodule-0003", "infinite")


def test_lidc_tables_that_do_not_fit(tmp_path: Path) -> None:
    images = np.zeros((2, 6, 6), np.int16)
    head = "row,nodule_id,patient_id,pixel_spacing_mm,malignancy_1,malignancy_2,malignancy_3,malignancy_4\n"
    good = "0,0,P0,0.7,1,1,0,0\n"
    for line, words in (("1,7,P1,0.7,5,5,0,0\n", ("line 3", "nodule 7")), ("1,1,P1,0.7,9,5,0,0\n", ("rating", "9")),
                        ("1,1,P1,x,5,5,0,0\n", ("pixel_spacing_mm", "'x'")), ("", ("1 rows", "2 images"))):
        refusal(lambda line=line: open_cases(lidc(tmp_path, images, head + good + line)), *words)
    refusal(lambda: open_cases(lidc(tmp_path, images, "row,nodule_id\n0,0\n")), "patient_id")
    refusal(lambda: open_cases(lidc(tmp_path, images.reshape(2, 36))), "images_hu", "(2, 36)")


def test_mias_entries_and_pictures_that_do_not_fit(tmp_path: Path) -> None:
    table = tmp_path / "Info.txt"
    table.write_text("mdb001 G CIRC B 500 500 30\nmdb002 G CIRC M 500 500 30\n")
    refusal(lambda: open_cases(tmp_path), "none of the 2 lesions")
    for number in (1, 2):
        save(tmp_path / f"mdb00{number}.pgm", (512, 512))
    refusal(lambda: read_all(tmp_path), "mdb001.pgm", "512 x 512")
    table.write_text("mdb001 G CIRC B 500 500 30\nmdb002 what\n")
    refusal(lambda: open_cases(tmp_path), "Info.txt line 2", "what")
    table.write_text("mdb001 G CIRC X 500 500 30\nmdb002 G CIRC M 500 500 30\n")
    refusal(lambda: open_cases(tmp_path), "Info.txt line 1", "neither")


def test_cbis_with_another_pathology_or_no_pictures(tmp_path: Path) -> None:
    table = tmp_path / "mass_case_description_train_set.csv"
    head = "patient_id,pathology,cropped image file path\n"
    table.write_text(head + "P_1,BENIGN,M_P_1/1/2/0.dcm\n")
    refusal(lambda: open_cases(tmp_path), "none of the 1 cropped images", "M_P_1")
    save(tmp_path / "M_P_1.png")
    table.write_text(head + "P_1,UNSURE,M_P_1/1/2/0.dcm\n")
    refusal(lambda: open_cases(tmp_path), "line 2", "UNSURE", "MALIGNANT")
    table.write_text(head + "P_1,BENIGN,../M_P_1/1/2/0.dcm\n")
    refusal(lambda: open_cases(tmp_path), "line 2", "'..'")


def test_images_of_two_shapes_make_no_batch(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", (8, 8))
    save(tmp_path / "b" / "1.png", (8, 9))
    cases = open_cases(tmp_path)
    refusal(lambda: collate(list(cases), cases.bounds), "b/1.png", "(1, 8, 9)", "resize")
    refusal(lambda: collate([], cases.bounds), "at least one", kind=UsageError)


@pytest.mark.parametrize("bad", [Preparation(crop=0), Preparation(size=-1), Preparation(spacing_mm=0.0),
                                 Preparation(window=(5, 5)), Preparation(crop=(1, 2, 3))])
def test_preparations_without_sense(bad: Preparation) -> None:
    refusal(lambda: prepare(phantom.nodules(2, 0), bad), kind=UsageError)
