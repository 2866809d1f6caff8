"""DICOM files as they are found: without a preamble, with units in their numbers, larger than they look."""

import io
import os
import resource
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadyread.cases.dicom import read_dicom
from steadyread.errors import InputRefused
from steadyread.noise_measure import Measurement, measure_noise
from test_dicom import write_slice

pydicom = pytest.importorskip("pydicom")
DEFLATED = "1.2.840.10008.1.2.1.99"


def _noisy(tmp_path: Path, **tags: Any) -> Path:
    return write_slice(tmp_path, pixels=1024 + np.random.default_rng(0).normal(0, 20, (64, 64)).round(), **tags)


def _bare(path: Path, **written: Any) -> Path:
    """The file's data set alone: no preamble, no meta information."""
    tags = pydicom.dcmread(path)
    bare = pydicom.Dataset({element.tag: element for element in tags})
    if not written["little_endian"]:
        bare.PixelData = np.frombuffer(bare.PixelData, "<i2").astype(">i2").tobytes()
    pydicom.dcmwrite(path, bare, enforce_file_format=False, **written)
    assert path.read_bytes()[:2] == (b"\x08\x00" if written["little_endian"] else b"\x00\x08")
    return path


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_a_data_set_without_a_preamble_is_read(tmp_path: Path, implicit: bool, little: bool) -> None:
    path = write_slice(tmp_path, Exposure=70)
    wanted = read_dicom([path])
    found = read_dicom([_bare(path, implicit_vr=implicit, little_endian=little)])
    np.testing.assert_array_equal(found.images_hu, wanted.images_hu)
    assert (found.spacing_mm, found.mas) == (wanted.spacing_mm, wanted.mas)


def test_a_missing_transfer_syntax_is_made_up_from_the_data(tmp_path: Path) -> None:
    path = write_slice(tmp_path)
    whole = path.read_bytes()
    at = whole.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(whole[at + 6:at + 8], "little")
    group = whole.index(b"\x02\x00\x00\x00UL")
    size = int.from_bytes(whole[group + 8:group + 12], "little") - 8 - length
    counted = whole[:group + 8] + size.to_bytes(4, "little") + whole[group + 12:at]
    path.write_bytes(counted + whole[at + 8 + length:])
    np.testing.assert_array_equal(read_dicom([path]).images_hu, np.full((1, 16, 20), -24.0))


def test_a_stated_spacing_stands_for_a_missing_one(tmp_path: Path) -> None:
    path = _noisy(tmp_path, PixelSpacing=None)
    with pytest.raises(InputRefused, match="got '': state it with --spacing MM"):
        measure_noise([path], None, tmp_path / "out")
    found = measure_noise([path], Measurement(spacing_mm=0.7, rois=("0,0,64",)), tmp_path / "out")
    assert found["sigma_hu"] == pytest.approx(20, rel=0.03)
    assert found["spacing_mm"] == [0.7, 0.7]
    write_slice(tmp_path, 1, pixels=np.zeros((64, 64)), PixelSpacing=[0.5, 0.5])
    assert read_dicom([tmp_path], spacing_mm=0.7).spacing_mm == (0.7, 0.7)


@pytest.mark.parametrize(("keyword", "vr", "text", "value"), [
    ("PixelSpacing", "LO", "0.7 mm\\0.8mm", (0.7, 0.8)), ("SliceThickness", "LO", "5 mm", 5.0),
    ("KVP", "SH", "120 kV", 120.0), ("Exposure", "LO", "70 mAs", 70.0), ("KVP", "DS", "80\\140", None),
    ("SliceThickness", "DS", "2\\2", 2.0), ("KVP", "LO", "high", None), ("SliceThickness", "LO", "", None)])
def test_numbers_with_their_unit_are_numbers(tmp_path: Path, keyword: str, vr: str, text: str, value: Any) -> None:
    path = write_slice(tmp_path, XRayTubeCurrent=None, **{keyword: None})
    tags = pydicom.dcmread(path)
    tags.add_new(keyword, vr, text.split("\\") if "\\" in text else text)
    tags.save_as(path)
    found = read_dicom([path])
    known = {"PixelSpacing": found.spacing_mm, "SliceThickness": found.facts["slice_thickness_mm"],
             "KVP": found.facts["kvp"], "Exposure": found.mas[0]}
    assert known[keyword] == value


@pytest.mark.parametrize(("tags", "said"), [
    ({"RescaleSlope": 0}, "no RescaleSlope"), ({"RescaleSlope": [1, 2]}, "no RescaleSlope"),
    ({"RescaleIntercept": None}, "no RescaleSlope and RescaleIntercept"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "expected MONOCHROME2"),
    ({"Rows": 40000, "Columns": 40000}, "40000 x 40000 pixels; expected an image"),
    ({"ConvolutionKernel": "B70"}, "ConvolutionKernel is 'B70', in 099.dcm 'B30'"),
    ({"KVP": 80}, "KVP is '80"), ({"SliceThickness": 5}, "SliceThickness is '5")])
def test_what_makes_no_stack_of_hu_is_refused_by_name(tmp_path: Path, tags: dict[str, Any], said: str) -> None:
    write_slice(tmp_path)
    write_slice(tmp_path, 1, name="odd.dcm", **tags)
    with pytest.raises(InputRefused, match=said) as refusal:
        read_dicom([tmp_path])
    assert "odd.dcm" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_thickness_and_position_leave_one_slice_readable(tmp_path: Path) -> None:
    path = write_slice(tmp_path, SliceThickness=None, ImagePositionPatient=None)
    found = read_dicom([path])
    assert (found.facts["slice_thickness_mm"], found.positions_mm) == (None, None)


def _packed(*codes: bytes) -> bytes:
    """One frame of two run-length segments (PS3.5 annex G)."""
    starts = [64, 64 + len(codes[0])]
    return np.array([2, *starts, *[0] * 13], "<u4").tobytes() + b"".join(codes)


def test_run_lengths_are_counted_before_they_are_unpacked(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    row = bytes([257 - 20, 4]) * 16                   # 16 rows of 20 equal bytes
    honest = write_slice(tmp_path, syntax="1.2.840.10008.1.2.5", PixelData=encapsulate([_packed(row, row)]))
    assert read_dicom([honest]).images_hu[0, 0, 0] == 4 * 257 - 1024
    bomb = write_slice(tmp_path, syntax="1.2.840.10008.1.2.5",
                       PixelData=encapsulate([_packed(row, b"\x81\0" * 2**22)]))
    with pytest.raises(InputRefused, match="run lengths unpack to more than 320 pixels"):
        read_dicom([bomb])


def test_deflated_files_are_inflated_in_bounds(tmp_path: Path) -> None:
    """130 kB that would be 200 MB: refused while its length is counted."""
    path = write_slice(tmp_path, syntax=DEFLATED)
    assert read_dicom([path]).images_hu[0, 0, 0] == -24
    content = path.read_bytes()
    at = 132 + 12 + int.from_bytes(content[140:144], "little")
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    data = zlib.decompress(content[at:], -zlib.MAX_WBITS)
    packed = stream.compress(data) + b"".join(stream.compress(bytes(2**20)) for _ in range(193)) + stream.flush()
    path.write_bytes(content[:at] + packed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match=r"unpack to more than .* decompression bomb"):
        read_dicom([path])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000      # kB
    path.write_bytes(content[:at] + b"\xff" * 40)
    with pytest.raises(InputRefused, match="cannot be read whole"):
        read_dicom([path])


@pytest.mark.parametrize("hidden", ["behind a long meta element", "without a preamble"])
def test_deflated_data_are_found_wherever_pydicom_finds_them(hidden: str, tmp_path: Path) -> None:
    path = write_slice(tmp_path, syntax=DEFLATED)
    content = path.read_bytes()
    at = 132 + 12 + int.from_bytes(content[140:144], "little")
    long = b"\2\0\1\0OB\0\0" + (70_000).to_bytes(4, "little") + bytes(70_000) if "meta" in hidden else b""
    group = b"\2\0\0\0UL\4\0" + (at - 144 + len(long)).to_bytes(4, "little")
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = b"".join(stream.compress(bytes(2**20)) for _ in range(193)) + stream.flush()
    path.write_bytes((content[:132] if "meta" in hidden else b"") + group + long + content[144:at] + packed)
    with pytest.raises(InputRefused, match=r"unpack to more than .* decompression bomb"):
        read_dicom([path])


@pytest.mark.parametrize("added", [
    b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * 20_001 + b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"".join(b"\x09\0" + tag.to_bytes(2, "little") + b"LO\0\0" for tag in range(0x1000, 0x1000 + 20_001)),
    b"\x08\0\x08\0UC\0\0" + (2**21).to_bytes(4, "little") + b"A\\" * 2**20])
def test_more_tags_than_a_slice_has_are_refused_before_they_are_held(added: bytes, tmp_path: Path) -> None:
    path = write_slice(tmp_path)
    content = path.read_bytes()
    at = 132 + 12 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[:at] + added + content[at:])
    with pytest.raises(InputRefused, match="it holds more"):
        read_dicom([path])


def test_a_compressed_picture_larger_than_its_slice_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    from PIL import Image
    from pydicom.encaps import encapsulate

    large = io.BytesIO()
    Image.new("L", (4000, 30)).save(large, "JPEG")
    path = write_slice(tmp_path, syntax="1.2.840.10008.1.2.4.50", PixelData=encapsulate([large.getvalue()]))
    with pytest.raises(InputRefused, match="its compressed pixels are 4000 x 30; its tags say 20 x 16"):
        read_dicom([path])


def test_a_series_of_more_than_can_be_measured_is_cut_by_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                ) -> None:
    monkeypatch.setattr("steadyread.cases.series._MOST_VALUES", 16 * 20 - 1)
    path = write_slice(tmp_path)
    with pytest.raises(InputRefused, match=r"series holds 320 values in 1 slices; .* take fewer with --slices"):
        read_dicom([path])


def test_an_npz_of_more_than_can_be_measured_is_cut_by_slices(tmp_path: Path) -> None:
    """140 MB of zeros that pack to 0.1 MB would be half a gigabyte and more as numbers."""
    from steadyread.cases.series import read_npz

    np.savez(tmp_path / "many.npz", a=np.zeros((130, 1024, 1024), np.uint8))
    with pytest.raises(InputRefused, match="take fewer with --slices"):
        read_npz(tmp_path / "many.npz")
    assert read_npz(tmp_path / "many.npz", slices=slice(0, 2), offset=1).images_hu.max() == -1


def test_pipes_devices_and_circles_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "zero.dcm").symlink_to("/dev/zero")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "again").symlink_to(".")
    for name in ("pipe.dcm", "zero.dcm"):
        with pytest.raises(InputRefused, match="expected a regular file"):
            read_dicom([tmp_path / name])
    with pytest.raises(InputRefused, match="holds no files"):
        read_dicom([tmp_path])
    write_slice(tmp_path)
    assert len(read_dicom([tmp_path])) == 1
    (tmp_path / "gone.dcm").symlink_to("nowhere")
    with pytest.raises(InputRefused, match="no such file"):
        read_dicom([tmp_path / "gone.dcm"])
    os.truncate(write_slice(tmp_path, 1), 2**30)      # sparse: one slice has no gigabyte
    with pytest.raises(InputRefused, match="expected one image a file"):
        read_dicom([tmp_path])
