"""MetaImage files give the values and axes that ITK reads in them, or are refused in one line."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadyread.cases import open_cases
from steadyread.errors import InputRefused
from test_cases_kinds import CUBE, RAMP, one

TYPES = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "u4": "UINT", "i8": "LONG_LONG",
         "u8": "ULONG_LONG", "f4": "FLOAT", "f8": "DOUBLE"}


def metaimage(path: Path, values: np.ndarray, *, channels: int = 1, data: bytes | None = None, **fields: Any) -> Path:
    """A MetaImage file of an array whose first axis runs slowest, and whose last are its channels."""
    extents = values.shape[:-1] if channels > 1 else values.shape
    stated = {"ObjectType": "Image", "NDims": len(extents), "BinaryData": True,
              "BinaryDataByteOrderMSB": values.dtype.str[0] == ">", "DimSize": " ".join(map(str, extents[::-1])),
              **({"ElementNumberOfChannels": channels} if channels > 1 else {}),
              "ElementType": f"MET_{TYPES[values.dtype.str[1:]]}", **fields}
    name = stated.pop("ElementDataFile", "LOCAL")
    text = "".join(f"{key} = {value}\n" for key, value in stated.items() if value is not None)
    held = values.tobytes() if data is None else data
    path.write_bytes(f"{text}ElementDataFile = {name}\n".encode() + (held if name == "LOCAL" else b""))
    if name not in ("LOCAL", "LIST") and "/" not in name and "%" not in name:
        (path.parent / name).write_bytes(held)
    return path


def packed(path: Path, values: np.ndarray, pack: Callable[[bytes], bytes] = zlib.compress, **fields: Any) -> Path:
    """The same, packed."""
    return metaimage(path, values, data=pack(values.tobytes()), CompressedData=True, **fields)


@pytest.mark.parametrize("dtype", [*TYPES, ">i2", ">f8"])
def test_numbers_of_every_type_are_read(tmp_path: Path, dtype: str) -> None:
    image, cases = one(tmp_path, lambda path: metaimage(path, CUBE.astype(dtype)), "1.mha")
    np.testing.assert_array_equal(image[0], CUBE)
    assert cases.rows[0].spacing_mm is None      # not said, though ITK takes 1 mm


@pytest.mark.parametrize(("name", "make", "wanted"), [
    ("1.mha", lambda path: metaimage(path, RAMP), RAMP), ("1.mha", lambda path: packed(path, CUBE), CUBE),
    ("1.mha", lambda path: packed(path, CUBE, gzip.compress), CUBE),
    ("1.mha", lambda path: metaimage(path, CUBE, HeaderSize=-1), CUBE),
    ("1.mhd", lambda path: metaimage(path, CUBE, ElementDataFile="1.raw"), CUBE),
    ("1.mhd", lambda path: packed(path, CUBE, ElementDataFile="1.zraw"), CUBE),
    ("1.mhd", lambda path: metaimage(path, CUBE, ElementDataFile="other.raw", HeaderSize=8,
                                     data=b"8 bytes." + CUBE.tobytes()), CUBE)])
def test_values_stand_in_the_file_or_beside_it(tmp_path: Path, name: str, make: Any, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(one(tmp_path, make, name)[0][0], wanted)


def test_values_beside_a_header_are_no_image_left_out(tmp_path: Path) -> None:
    _, cases = one(tmp_path, lambda path: metaimage(path, CUBE, ElementDataFile="1.raw"), "1.mhd")
    assert not any("left out" in note for note in cases.notes)


def test_colours_stand_first(tmp_path: Path) -> None:
    for colours in (np.arange(60, dtype=np.uint8).reshape(4, 5, 3), np.arange(180, dtype=np.uint8).reshape(3, 4, 5, 3)):
        image, cases = one(tmp_path, lambda path: metaimage(path, colours, channels=3), "1.mha")  # noqa: B023
        np.testing.assert_array_equal(image, np.moveaxis(colours, -1, 0))
        assert cases.rows[0].shape == image.shape


@pytest.mark.parametrize("turn", [
    (1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, 1, 0, 0, 0, -1), (0, 0, 1, 1, 0, 0, 0, -1, 0),
    (0.98, 0.2, 0, -0.2, 0.98, 0, 0, 0, 1)])
@pytest.mark.parametrize("axes", ["SPL", "RAS", "LPS", "AIR"])
@pytest.mark.parametrize("name", ["1.mha", "1.mhd"])
def test_itk_reads_and_turns_the_same(tmp_path: Path, turn: tuple[float, ...], axes: str, name: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    values = np.random.default_rng(0).integers(-1024, 3000, (4, 6, 5)).astype(np.int16)
    written = itk.GetImageFromArray(values)
    written.SetSpacing((0.5, 0.7, 2.0))
    written.SetOrigin((-30.0, 12.5, 800.0))
    lengths = np.linalg.norm(np.reshape(turn, (3, 3)), axis=0)
    written.SetDirection((np.reshape(turn, (3, 3)) / lengths).ravel().tolist())

    def make(path: Path) -> None:
        itk.WriteImage(written, str(path), axes == "LPS")

    image, cases = one(tmp_path, make, name, orientation=axes)
    # DICOMOrient names where each axis runs to, x first; arrays count their axes the other way round
    oriented = itk.DICOMOrient(itk.ReadImage(str(tmp_path / "a" / name)), axes[::-1])
    np.testing.assert_array_equal(image[0], itk.GetArrayFromImage(oriented))
    np.testing.assert_allclose(cases.rows[0].spacing_mm, oriented.GetSpacing()[::-1])


@pytest.mark.parametrize(("fields", "wanted"), [
    ({}, None), ({"ElementSize": "1 2 3"}, (3, 2, 1)), ({"ElementSpacing": "4 5 6", "ElementSize": "1 2 3"}, (6, 5, 4)),
    ({"ElementSpacing": "0 5 6"}, None)])
def test_the_spacing_is_what_is_stated(tmp_path: Path, fields: dict[str, str], wanted: Any) -> None:
    _, cases = one(tmp_path, lambda path: metaimage(path, CUBE, **fields), "1.mha")
    assert cases.rows[0].spacing_mm == wanted
    _, cases = one(tmp_path, lambda path: metaimage(path, CUBE, **fields), "1.mha", unit="HU")
    assert cases.bounds.unit == "HU"


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.write_bytes(b"none"), "not a MetaImage file"),
    (lambda path: path.write_bytes(b"NDims = 3\n"), "no ElementDataFile"),
    (lambda path: path.write_bytes(b"Comment = " + b"a" * 10**6), "no ElementDataFile"),
    (lambda path: metaimage(path, CUBE, DimSize=None), "states no DimSize"),
    (lambda path: metaimage(path, CUBE, NDims=2), "2 axes and the sizes 5 6 4"),
    (lambda path: metaimage(path, CUBE, DimSize="5 6 x"), "truncated, damaged"),
    (lambda path: metaimage(path, CUBE, DimSize="-5 -6 4"), "axes of space"),
    (lambda path: metaimage(path, CUBE, DimSize="60000 60000 60000"), "at most"),
    (lambda path: metaimage(path, CUBE, DimSize="5 6 5"), "bytes of voxels"),
    (lambda path: metaimage(path, CUBE, ElementType="MET_OTHER"), "'MET_OTHER'"),
    (lambda path: metaimage(path, CUBE, ObjectType="Tube"), "'Tube'"),
    (lambda path: metaimage(path, CUBE, BinaryData=False), "store it as binary data"),
    (lambda path: metaimage(path, CUBE, ElementNumberOfChannels=2, DimSize="5 6 2"), "three colours"),
    (lambda path: metaimage(path, CUBE, ElementToIntensityFunctionSlope=2), "states a scaling"),
    (lambda path: metaimage(path, CUBE, TransformMatrix="1 0 0 1"), "store it anew"),
    (lambda path: metaimage(path, CUBE, TransformMatrix=" ".join("0" * 9)), "no matrix of directions"),
    (lambda path: metaimage(path, CUBE, TransformMatrix="1 0 0 1 0 0 0 0 1"), "oblique"),
    (lambda path: metaimage(path, CUBE, ElementDataFile="LIST"), "several files"),
    (lambda path: metaimage(path, CUBE, ElementDataFile="slice%03d.raw 1 4 1"), "several files"),
    (lambda path: metaimage(path, CUBE, ElementDataFile="../../secret.raw"), "must name a file inside"),
    (lambda path: metaimage(path, CUBE, ElementDataFile="/etc/hostname"), "must name a file inside"),
    (lambda path: metaimage(path, CUBE, ElementDataFile="1.raw", HeaderSize=10**12), "after 1000000000000 bytes"),
    (lambda path: metaimage(path, CUBE, CompressedData=True), "truncated, damaged"),
    (lambda path: metaimage(path, CUBE, CompressedData=True, data=zlib.compress(bytes(2**28))), "bytes of voxels")])
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, make: Any, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as caught:
        one(tmp_path, make, "1.mha")
    assert "\n" not in str(caught.value)


def test_values_may_not_be_linked_from_elsewhere(tmp_path: Path) -> None:
    one(tmp_path, lambda path: metaimage(path, CUBE, ElementDataFile="1.raw"), "1.mhd")
    for label in "ab":
        (tmp_path / label / "1.raw").rename(tmp_path / f"{label}.raw")
        (tmp_path / label / "1.raw").symlink_to(tmp_path / f"{label}.raw")
    with pytest.raises(InputRefused, match="expected a file beside it"):
        open_cases(tmp_path)[0]
