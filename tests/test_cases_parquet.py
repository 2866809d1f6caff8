"""Parquet files of Hugging Face's hub give the pictures that `datasets` reads in them, or are refused in one line."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from steadyread.cases import open_cases
from steadyread.errors import InputRefused

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 9, 8), dtype=np.uint8)
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["no", "yes", "never"], "_type": "ClassLabel"}}


def encoded(pixels: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def shard(path: Path, numbers: Any = range(12), features: Any = FEATURES, label: Any = None, stored: Any = None,
          **written: Any) -> Path:
    """A Parquet file of some of the pictures, labelled in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = [encoded(PICTURES[number]) for number in numbers] if stored is None else stored
    pictures = pa.array([{"bytes": data, "path": f"{number}.png"} for number, data in zip(numbers, held, strict=True)],
                        pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": pictures, "label": [number % 2 for number in numbers] if label is None else label,
                      "who": [f"p{number // 2}" for number in numbers]})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **{"row_group_size": 5, **written})
    return path


@pytest.mark.parametrize("written", [{}, {"compression": "zstd"}, {"compression": "none", "use_dictionary": False},
                                     {"data_page_version": "2.0", "write_page_checksum": True}])
def test_a_file_gives_its_pictures_and_classes(tmp_path: Path, written: dict[str, Any]) -> None:
    cases = open_cases(shard(tmp_path / "train-00000-of-00001.parquet", **written), patient_column="who")
    np.testing.assert_array_equal(np.stack([cases[at].image.numpy()[0] for at in range(12)]), PICTURES)
    np.testing.assert_array_equal(cases[7].image.numpy()[0], PICTURES[7])      # in any order
    assert cases.classes == ("no", "yes", "never")
    assert [(row.label, row.patient, row.part) for row in cases.rows[:3]] == [
        (0, "p0", "train"), (1, "p0", "train"), (0, "p1", "train")]
    assert cases.rows[3].id == "train/000003"


def test_datasets_writes_and_reads_the_same(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.Dataset.from_dict({"image": [{"bytes": encoded(pixels), "path": None} for pixels in PICTURES],
                                       "label": [at % 2 for at in range(12)]}, features=features)
    (tmp_path / "data").mkdir()
    made.to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    cases = open_cases(tmp_path)
    again = datasets.Dataset.from_parquet(str(tmp_path / "data" / "test-00000-of-00001.parquet"),
                                          cache_dir=str(tmp_path / "cache"))
    assert [row.label for row in cases.rows] == again["label"][:]
    for at, item in enumerate(again):
        np.testing.assert_array_equal(cases[at].image.numpy()[0], np.asarray(item["image"]))


@pytest.mark.parametrize("names", [
    ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001-0a1b.parquet"),
    ("train/0000.parquet", "train/0001.parquet", "test/0000.parquet"), ("train.parquet", None, "val.parquet")])
def test_parts_are_those_of_the_files(tmp_path: Path, names: Any) -> None:
    for name, numbers in zip(names, (range(5), range(5, 9), range(9, 12)), strict=True):
        if name:
            shard(tmp_path / name, numbers)
    cases = open_cases(tmp_path)
    train, test = [row for row in cases.rows if row.part == "train"], [row for row in cases.rows if row.part != "train"]
    assert len(train) == (9 if names[1] else 5)
    assert len(test) == 3
    np.testing.assert_array_equal(cases.load(train[-1])[0], PICTURES[len(train) - 1])
    np.testing.assert_array_equal(cases.load(test[0])[0], PICTURES[9])
    if names[1] and "of-00002" in names[1]:
        (tmp_path / names[1]).unlink()
        assert any("1 of 2 files of train are here" in note for note in open_cases(tmp_path).notes)


def test_columns_are_told_by_their_types_where_nothing_declares_them(tmp_path: Path) -> None:
    words = ["b", "a"] * 6
    cases = open_cases(shard(tmp_path / "all.parquet", features=None, label=words))
    assert cases.classes == ("a", "b")
    assert [row.raw_label for row in cases.rows] == words
    table = pq.read_table(tmp_path / "all.parquet")
    plain = table.set_column(0, "scan", table.column("image").combine_chunks().field("bytes"))
    pq.write_table(plain.rename_columns(["scan", "finding", "who"]), tmp_path / "all.parquet")
    cases = open_cases(tmp_path / "all.parquet", file_column="scan", label_column="finding")
    np.testing.assert_array_equal(cases[3].image.numpy()[0], PICTURES[3])


def _truncated(path: Path) -> None:
    path.write_bytes(shard(path).read_bytes()[:-30])


def _overwritten(path: Path) -> None:
    data = bytearray(shard(path, compression="none", use_dictionary=False, write_statistics=False,
                           write_page_checksum=True).read_bytes())
    data[data.index(b"IHDR") + 20] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.write_bytes(b"PAR1"), "no Parquet file"), (_truncated, "no Parquet file"),
    (_overwritten, "truncated, damaged"),
    (lambda path: path.write_bytes(b"PAR1" + bytes(60) + (40).to_bytes(4, "little") + b"PAR1"), "truncated, damaged"),
    (lambda path: shard(path, features={"label": FEATURES["label"]}, stored=None), None),
    (lambda path: shard(path, stored=[None] * 12), "no picture stands there"),
    (lambda path: shard(path, stored=[b"none"] * 12), "row 0: .*picture"),
    (lambda path: shard(path, stored=[bytes(2**27 + 1)] + [b""] * 11, compression="zstd"), "a page of 134"),
    (lambda path: shard(path, stored=[bytes(2**26 + 10**6)] + [b""] * 11, compression="zstd"), "decompression bomb"),
    (lambda path: shard(path, stored=[bytes(10**6)] * 12, compression="zstd"), "picture"),
    (lambda path: shard(path, label=[[1, 2]] * 12), "expected one value a row"),
    (lambda path: pq.write_table(pa.table({"label": [0, 1]}), path), "no column 'image'")])
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, make: Any, words: str | None) -> None:
    make(tmp_path / "train.parquet")
    if words is None:
        assert len(open_cases(tmp_path / "train.parquet")) == 12
        return
    with pytest.raises(InputRefused, match=words) as caught:
        open_cases(tmp_path / "train.parquet")
    assert "\n" not in str(caught.value)


def test_a_dictionary_that_repeats_one_picture_fills_no_disk(tmp_path: Path) -> None:
    """One picture told 400 times: 80 MB of 0.2."""
    held = [np.random.default_rng(0).bytes(2 * 10**5)] * 400
    shard(tmp_path / "train.parquet", [0] * 400, stored=held, row_group_size=400)
    assert (tmp_path / "train.parquet").stat().st_size < 3 * 10**5
    with pytest.raises(InputRefused, match=r"its pictures claims .* decompression bomb"):
        open_cases(tmp_path / "train.parquet")


def test_files_of_one_set_have_one_schema_and_known_parts(tmp_path: Path) -> None:
    shard(tmp_path / "train-00000-of-00002.parquet")
    shard(tmp_path / "train-00001-of-00002.parquet", features=None, label=["a"] * 12)
    with pytest.raises(InputRefused, match="its columns differ"):
        open_cases(tmp_path)
    shard(tmp_path / "train-00001-of-00002.parquet").rename(tmp_path / "unsupervised-00000-of-00001.parquet")
    with pytest.raises(InputRefused, match="unknown part 'unsupervised'"):
        open_cases(tmp_path)
    shard(tmp_path / "unsupervised-00000-of-00001.parquet").rename(tmp_path / "other.parquet")
    with pytest.raises(InputRefused, match=r"other\.parquet: of no part"):
        open_cases(tmp_path)


def test_other_parquet_files_are_no_data_set(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [0, 1]}), tmp_path / "records.parquet")
    with pytest.raises(InputRefused, match=r"no known layout.*pictures in a column"):
        open_cases(tmp_path)
