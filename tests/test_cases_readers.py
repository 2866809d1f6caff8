"""Every reader on small files that the tests make."""

import csv
import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import Cases, open_cases
from steadyread.errors import InputRefused


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def medmnist(path: Path, space: tuple[int, ...], compressed: bool = True) -> dict[str, np.ndarray]:
    held = {}
    for number, short in enumerate(("train", "val", "test")):
        held[f"{short}_images"] = noise(4 + number, *space, seed=number)
        held[f"{short}_labels"] = np.arange(4 + number, dtype=np.uint8)[:, None] % 2
    (np.savez_compressed if compressed else np.savez)(path, **held)
    return held


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(("space", "shape"), [((9, 7), (1, 9, 7)), ((9, 7, 3), (3, 9, 7)),
                                              ((5, 6, 7), (1, 5, 6, 7)), ((5, 6, 7, 3), (3, 5, 6, 7))])
def test_medmnist_keeps_pixels_parts_and_channels(tmp_path: Path, space: tuple[int, ...], shape: tuple[int, ...],
                                                  compressed: bool) -> None:
    held = medmnist(tmp_path / "toy.npz", space, compressed)
    cases = open_cases(tmp_path)
    assert (len(cases), cases.name, cases.classes) == (15, "toy", ("0", "1"))
    assert [len(cases.part(part)) for part in ("train", "validation", "test")] == [4, 5, 6]
    assert not cases.patients_known
    case = cases.part("validation")[2]
    expected = held["val_images"][2]
    expected = np.moveaxis(expected, -1, 0) if shape[0] == 3 else expected[None]
    assert case.id == "validation/000002"
    assert tuple(case.image.shape) == shape
    np.testing.assert_array_equal(case.image.numpy(), expected)


@pytest.mark.parametrize("compressed", [True, False])
def test_pixels_are_mapped_not_held(tmp_path: Path, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(
        tmp_path / "toy.npz", train_images=noise(400, 200, 200), train_labels=np.arange(400, dtype=np.uint8) % 2)
    tracemalloc.start()
    cases = open_cases(tmp_path)
    for case in cases:
        assert case.image.shape == (1, 200, 200)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 6 * 2**20


def write_idx(path: Path, values: np.ndarray, packed: bool) -> None:
    data = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


@pytest.mark.parametrize("packed", [True, False])
def test_idx(tmp_path: Path, packed: bool) -> None:
    images = noise(6, 5, 4)
    for short, count in (("train", 6), ("t10k", 3)):
        write_idx(tmp_path / f"{short}-images-idx3-ubyte", images[:count], packed)
        write_idx(tmp_path / f"{short}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3, packed)
    cases = open_cases(tmp_path)
    assert (len(cases.part("train")), len(cases.part("test")), cases.classes) == (6, 3, ("0", "1", "2"))
    np.testing.assert_array_equal(cases.part("test")[2].image.numpy(), images[2:3])
    assert cases.part("test")[2].label == 2


def test_cifar_binary(tmp_path: Path) -> None:
    records = noise(5, 3073)
    records[:, 0] = [0, 1, 2, 1, 0]
    (tmp_path / "data_batch_1.bin").write_bytes(records[:3].tobytes())
    (tmp_path / "test_batch.bin").write_bytes(records[3:].tobytes())
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\nship\n\n")
    cases = open_cases(tmp_path)
    assert cases.classes == ("cat", "dog", "ship")
    assert [row.raw_label for row in cases.rows] == ["cat", "dog", "ship", "dog", "cat"]
    np.testing.assert_array_equal(cases.part("test")[0].image.numpy(), records[3, 1:].reshape(3, 32, 32))


def save(path: Path, pixels: np.ndarray, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def test_class_folders_of_mixed_modes_are_read_as_one_grey_channel(tmp_path: Path) -> None:
    pixels = noise(20, 30)
    for mode in ("L", "RGB", "RGBA", "LA", "P", "1"):
        save(tmp_path / "yes" / f"{mode}.png", pixels, mode)
    save(tmp_path / "no" / "a.jpg", pixels, "RGB")
    save(tmp_path / "no" / "b.jpg", pixels, "CMYK")
    Image.fromarray(pixels).save(tmp_path / "no" / "really_a_png.jpg", "PNG")
    cases = open_cases(tmp_path)
    assert cases.classes == ("no", "yes")
    assert "one grey channel" in cases.notes[0]
    assert {tuple(case.image.shape) for case in cases} == {(1, 20, 30)}
    images = {case.id: case.image.numpy()[0] for case in cases}
    for exact in ("yes/L.png", "yes/RGB.png", "yes/RGBA.png", "yes/LA.png", "yes/P.png", "no/really_a_png.jpg"):
        np.testing.assert_array_equal(images[exact], pixels)


def test_colour_folders_keep_three_channels_unless_grey_is_asked(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise(8, 9, 3)).save(tmp_path / name)
    assert tuple(open_cases(tmp_path)[0].image.shape) == (3, 8, 9)
    assert tuple(open_cases(tmp_path, channels="grey")[0].image.shape) == (1, 8, 9)


def test_class_folders_keep_official_parts(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        for name in ("cat", "dog"):
            save(tmp_path / part / name / "1.png", noise(5, 5))
    cases = open_cases(tmp_path)
    assert cases.classes == ("cat", "dog")
    assert [row.part for row in cases.rows] == ["test", "test", "train", "train", "validation", "validation"]
    assert cases.rows[0].id == "test/cat/1.png"


def test_csv_with_patients_parts_spacing_and_missing_files(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "img" / f"{number}.png", noise(6, 8, seed=number))
    write_csv(tmp_path / "list.csv", ["file", "label", "patient", "part", "spacing_mm", "scanner"],
              [["img/0.png", "10", "p1", "train", 0.5, "A"], ["img/1.png", "9", "p1", "train", 0.5, "A"],
               ["img/2.png", "", "p2", "test", 0.5, "B"], ["img/9.png", "9", "p3", "val", 0.5, "B"],
               ["img/3.png", "10", "p3", "val", 0.5, "B"]])
    cases = open_cases(tmp_path)
    assert (len(cases), cases.classes, cases.patients_known) == (3, ("9", "10"), True)
    assert cases.missing == (f"list.csv line 5: no file {tmp_path}/img/9.png",)
    last = cases[2]
    assert (last.patient, last.part, last.spacing_mm, last.label) == ("p3", "validation", (0.5, 0.5), 1)
    assert cases[0].extras == {"scanner": "A"}
    raw = open_cases(tmp_path / "list.csv", every_row=True)
    assert (len(raw), raw.rows[2].label, raw[2].label) == (4, None, -1)


def test_a_file_listed_twice_has_two_ids(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"{number}.png", noise(6, 8, seed=number))
    write_csv(tmp_path / "list.csv", ["file", "label"], [["0.png", "a"], ["1.png", "b"], ["0.png", "a"]])
    assert [row.id for row in open_cases(tmp_path).rows] == ["0.png", "1.png", "0.png#2"]


def lidc(path: Path, ratings: list[tuple[int, ...]], images: np.ndarray | None = None) -> Path:
    images = np.arange(len(ratings) * 36, dtype=np.int16).reshape(-1, 6, 6) - 900 if images is None else images
    np.savez_compressed(path / "patches.npz", images_hu=images, nodule_id=np.arange(len(ratings)) + 1)
    write_csv(path / "nodules.csv", ["row", "nodule_id", "patient_id", "pixel_spacing_mm",
                                     *(f"malignancy_{reader}" for reader in (1, 2, 3, 4))],
              [[row, row + 1, f"P{row // 2}", 0.5 + row / 10, *values] for row, values in enumerate(ratings)])
    return path


RATINGS = [(5, 4, 0, 0), (1, 2, 3, 0), (3, 3, 0, 0), (5, 0, 0, 0), (2, 4, 0, 0), (3, 4, 3, 3), (0, 0, 0, 0)]


def test_lidc_labels_by_the_mean_of_two_readers(tmp_path: Path) -> None:
    cases = open_cases(lidc(tmp_path, RATINGS))
    found = [(row.id, row.label) for row in cases.rows]
    assert found == [("nodule-0001", 1), ("nodule-0002", 0), ("nodule-0006", 1)]
    raw = open_cases(tmp_path, every_row=True)
    assert [row.label for row in raw.rows] == [1, 0, None, None, None, 1, None]
    assert raw.rows[1].raw_label == "2.000"
    assert (raw.bounds.low, raw.bounds.high, raw.bounds.unit) == (-1024, 3071, "HU")
    assert raw[1].spacing_mm == (0.6, 0.6)
    assert raw[1].image[0, 0, 0] == 36 - 900
    assert [row.label for row in open_cases(tmp_path, readers=1).rows] == [1, 0, 1, 1]


def mias(path: Path, table: str) -> np.ndarray:
    pixels = noise(1024, 1024)
    for number in (1, 2, 3):
        save(path / "images" / f"mdb{number:03d}.png", pixels, "RGB")
    (path / "lesions.txt").write_text("PATH BG CLASS SEVERITY X Y RADIUS\n" + table)
    return pixels


MIAS = ("mdb001 G CIRC B 535 425 197\nmdb002 G CIRC M 10 1000 9\nmdb003 D NORM \nmdb003 F CIRC B 500 168 26\n"
        "mdb003 F CIRC B\nmdb003 D CALC M *NOTE 3* \nmdb007 F MISC M 500 500 20\n")


def test_mias_counts_rows_from_the_bottom_and_pads_with_black(tmp_path: Path) -> None:
    pixels = mias(tmp_path, MIAS)
    cases = open_cases(tmp_path)
    assert [row.id for row in cases.rows] == ["mdb001/1", "mdb002/1", "mdb003/1"]
    assert [row.patient for row in cases.rows] == ["woman-001", "woman-001", "woman-002"]
    assert (len(cases.notes), len(cases.missing)) == (2, 1)
    image = cases[0].image[0].numpy()
    assert (image.shape, cases[0].spacing_mm) == ((240, 240), (0.2, 0.2))
    row, column = 1024 - 425, 535
    np.testing.assert_array_equal(image, pixels[row - 120:row + 120, column - 120:column + 120])
    corner = cases[1].image[0].numpy()
    assert not corner[:96].any()
    assert not corner[:, :110].any()
    np.testing.assert_array_equal(corner[96:, 110:], pixels[:24 + 120, :10 + 120])


def test_mias_boxes_that_follow_the_lesion(tmp_path: Path) -> None:
    mias(tmp_path, MIAS)
    cases = open_cases(tmp_path, follow_lesion=True)
    assert [case.image.shape[-1] for case in cases] == [394, 32, 52]


CBIS = ["patient_id", "breast density", "abnormality type", "pathology", "image file path",
        "cropped image file path"]


def cbis(path: Path, layout: str) -> Cases:
    (path / "csv").mkdir()
    rows = {"train": [("P_00001", "MALIGNANT"), ("P_00002", "BENIGN")],
            "test": [("P_00003", "BENIGN_WITHOUT_CALLBACK"), ("P_00004", "MALIGNANT")]}
    listed = []
    for part, held in rows.items():
        lines = []
        for number, (patient, pathology) in enumerate(held):
            name = f"Mass-{'Training' if part == 'train' else 'Test'}_{patient}_LEFT_CC_1"
            series = f"1.3.{part}.{number}"
            told = f"{name}/1.3.6/{series}/000000.dcm\n"
            lines.append([patient, 3, "mass", pathology, "x.dcm", told])
            file = path / {"path": told.strip().replace(".dcm", ".png"), "name": f"images/{name}.jpg",
                           "series": f"jpeg/{series}/1-001.jpg", "listed": f"jpeg/{series}/1-002.jpg"}[layout]
            save(file, noise(10, 12, seed=number))
            if layout == "listed":
                save(file.with_name("1-001.jpg"), noise(10, 12, seed=9))
                listed += [[name, "cropped images", f"CBIS-DDSM/jpeg/{series}/1-002.jpg"],
                           [name, "ROI mask images", f"CBIS-DDSM/jpeg/{series}/1-001.jpg"]]
        write_csv(path / "csv" / f"mass_case_description_{part}_set.csv", CBIS, lines)
    if listed:
        write_csv(path / "csv" / "dicom_info.csv", ["PatientID", "SeriesDescription", "image_path"], listed)
    return open_cases(path)


@pytest.mark.parametrize("layout", ["path", "name", "series", "listed"])
def test_cbis_finds_the_crops_where_users_hold_them(tmp_path: Path, layout: str) -> None:
    cases = cbis(tmp_path, layout)
    assert [(row.patient, row.label, row.part) for row in cases.rows] == [
        ("P_00003", 0, "test"), ("P_00004", 1, "test"), ("P_00001", 1, "train"), ("P_00002", 0, "train")]
    assert cases.rows[0].raw_label == "BENIGN_WITHOUT_CALLBACK"
    assert (tuple(cases[0].image.shape), cases.missing) == ((1, 10, 12), ())
    assert layout != "listed" or all(row.source.name == "1-002.jpg" for row in cases.rows)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "data_batch_1.bin"])
def test_a_mapped_file_that_becomes_shorter_is_refused(name: str, tmp_path: Path) -> None:
    if name.endswith("bin"):
        (tmp_path / name).write_bytes(bytes(3073) + b"\1" + bytes(3072))
    else:
        write_idx(tmp_path / name, np.ones((2, 8, 8), np.uint8), False)
        write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(2, dtype=np.uint8), False)
    cases = open_cases(tmp_path)
    assert type(cases.load(cases.rows[1])) is np.ndarray
    os.truncate(tmp_path / name, 50)
    with pytest.raises(InputRefused, match=f"{name}: has become shorter since it was opened"):
        cases.load(cases.rows[1])
