"""CT series from DICOM files and npz: what they hold, and what is refused, in one line that names the file."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from steadyread.cases.dicom import read_dicom
from steadyread.cases.series import read_npz, slice_range
from steadyread.errors import InputRefused, UsageError

pydicom = pytest.importorskip("pydicom")


def write_slice(folder: Path, number: int = 0, pixels: Any = None, **tags: Any) -> Path:
    """A CT slice at 2 mm x number along z; `tags` replaces some, None leaves one out."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    stored = np.full((16, 20), 1000 + number, np.int16) if pixels is None else np.asarray(pixels, np.int16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{number + 1}"
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    path = folder / tags.pop("name", f"{99 - number:03d}.dcm")    # sorted by name they run backwards
    given: dict[str, Any] = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"1.2.3.{number + 1}", "Modality": "CT",
        "SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "SeriesDescription": "water",
        "Manufacturer": "ACME", "ManufacturerModelName": "One", "ConvolutionKernel": "B30", "KVP": 120,
        "SliceThickness": 2.0, "Exposure": 100, "XRayTubeCurrent": 200, "ExposureTime": 500,
        "PixelSpacing": [0.5, 0.6],
        "ImagePositionPatient": [0, 0, 2.0 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "Rows": stored.shape[0], "Columns": stored.shape[1], "SamplesPerPixel": 1, "BitsAllocated": 16,
        "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME2",
        "RescaleSlope": 1, "RescaleIntercept": -1024, "PixelData": stored.tobytes()}
    held = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in (given | tags).items():
        if value is not None:
            setattr(held, keyword, value)
    held.save_as(path, enforce_file_format=True)
    return path


def _series(folder: Path, count: int = 3, **tags: Any) -> Path:
    for number in range(count):
        write_slice(folder, number, **tags)
    return folder


def test_slices_come_in_hu_and_in_order(tmp_path: Path) -> None:
    _series(tmp_path)
    write_slice(tmp_path, 3, RescaleSlope=2, RescaleIntercept=-2000, Exposure=80, XRayTubeCurrent=160)
    (tmp_path / "DICOMDIR.txt").write_text("passed over")
    found = read_dicom([tmp_path])
    np.testing.assert_array_equal(found.images_hu[:, 0, 0], [-24, -23, -22, 6])
    assert found.images_hu.shape == (4, 16, 20)
    assert found.images_hu.dtype == np.float32
    assert found.spacing_mm == (0.5, 0.6)
    assert found.positions_mm == (0, 2, 4, 6)
    assert found.slice_names == ("099.dcm", "098.dcm", "097.dcm", "096.dcm")
    assert found.mas == (100, 100, 100, 80)
    assert found.mean_mas == pytest.approx(4 / (3 / 100 + 1 / 80))
    assert found.facts == {"manufacturer": "ACME", "model": "One", "kernel": "B30", "kvp": 120,
                           "slice_thickness_mm": 2, "series_uids": ["1.2.3"]}
    assert [(one.check, one.severity) for one in found.findings] == [("files", "note"), ("dose", "note")]
    found.refuse_gaps()


def test_a_tilted_stack_is_sorted_along_its_normal(tmp_path: Path) -> None:
    for number, y in enumerate((4.0, 0.0, 2.0)):      # coronal: the normal is -y
        write_slice(tmp_path, number, ImageOrientationPatient=[1, 0, 0, 0, 0, 1], ImagePositionPatient=[0, y, 0])
    assert read_dicom([tmp_path]).positions_mm == (-4, -2, 0)


@pytest.mark.parametrize(("tags", "said"), [
    ({"PixelSpacing": [0.5, 0.7]}, "PixelSpacing is 0.5/0.7"),
    ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "ImageOrientationPatient is"),
    ({"ImageOrientationPatient": None}, "ImageOrientationPatient is absent"),
    ({"pixels": np.zeros((16, 16))}, "Columns is 16"),
    ({"ImagePositionPatient": None}, "cannot be put in order"),
    ({"ImagePositionPatient": [0, 0, 2]}, "lie at one position"),
    ({"RescaleType": "US"}, "RescaleType is 'US'; expected HU"),
    ({"RescaleSlope": None}, "no RescaleSlope"),
    ({"PixelSpacing": None}, "PixelSpacing must be two positive numbers; got ''"),
    ({"Rows": None, "Columns": None, "PixelData": None}, "no Rows and Columns"),
    ({"PixelData": None}, "no pixel data"),
    ({"PixelData": b"\0\0"}, "pixels cannot be read"),
    ({"NumberOfFrames": 2}, "several frames"),
    ({"SamplesPerPixel": 3}, "several frames or colours")])
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, tags: dict[str, Any], said: str) -> None:
    _series(tmp_path)
    write_slice(tmp_path, 3, name="odd.dcm", **tags)
    with pytest.raises(InputRefused, match=said) as refusal:
        read_dicom([tmp_path])
    assert "odd.dcm" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_compressed_file_without_a_decoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    monkeypatch.setattr("pydicom.pixels.get_decoder", lambda syntax: SimpleNamespace(is_available=False))
    write_slice(tmp_path, syntax=JPEGLSLossless, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    with pytest.raises(InputRefused, match=r"099\.dcm: compressed as JPEG-LS .* no decoder is installed: pip"):
        read_dicom([tmp_path])


def test_missing_slices_are_named_where_neighbours_count(tmp_path: Path) -> None:
    for number in (0, 1, 2, 5, 6, 7, 8):
        write_slice(tmp_path, number)
    found = read_dicom([tmp_path])
    with pytest.raises(InputRefused, match=r"6 mm between 097.dcm and 094.dcm, 2 mm elsewhere.*--slices 3:7"):
        found.refuse_gaps()
    read_dicom([tmp_path], slices=slice_range("3:7")).refuse_gaps()
    with pytest.raises(InputRefused, match="one slice only"):
        read_dicom([tmp_path], slices=slice_range("3:4")).refuse_gaps()


def test_series_of_one_scan_are_one_stack_and_others_are_chosen(tmp_path: Path) -> None:
    _series(tmp_path, 2)
    write_slice(tmp_path, 2, SeriesInstanceUID="1.2.44")
    found = read_dicom([tmp_path])
    assert len(found) == 3
    assert [one.check for one in found.findings if one.severity == "warning"] == ["series"]
    assert len(read_dicom([tmp_path], series="44")) == 1
    write_slice(tmp_path, 3, SeriesInstanceUID="1.2.55", ConvolutionKernel="B70")
    with pytest.raises(InputRefused, match=r"holds 3 series: .*1.2.3 \(2 slices, kernel B30, 'water'\)"):
        read_dicom([tmp_path])
    with pytest.raises(UsageError, match="0 series uids end in '9'"):
        read_dicom([tmp_path], series="9")


def test_localizers_and_other_modalities_are_passed_over(tmp_path: Path) -> None:
    _series(tmp_path, 2)
    write_slice(tmp_path, 2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_slice(tmp_path, 3, Modality="MR")
    found = read_dicom([tmp_path])
    assert len(found) == 2
    assert found.findings[0].value == 2
    with pytest.raises(InputRefused, match="modality MR, not CT"):
        read_dicom([tmp_path / "096.dcm"])


@pytest.mark.parametrize(("tags", "mas", "severity"), [
    ({}, 100, None),
    ({"Exposure": None}, 100, None),
    ({"Exposure": None, "ExposureInuAs": 90000}, 90, "note"),
    ({"Exposure": 70}, 70, "note"),                          # effective mAs of a pitch
    ({"Exposure": 14}, 100, "warning"),
    ({"Exposure": None, "ExposureTime": None}, None, "warning"),
    ({"Exposure": 0, "XRayTubeCurrent": 0}, None, "warning")])
def test_the_dose_is_read_with_care(tmp_path: Path, tags: dict[str, Any], mas: float | None, severity: str | None
                                    ) -> None:
    write_slice(tmp_path, **tags)
    found = read_dicom([tmp_path])
    assert found.mas == (mas,)
    assert found.mean_mas == mas
    assert [one.severity for one in found.findings] == ([severity] if severity else [])


def test_folders_without_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no such file or folder"):
        read_dicom([tmp_path / "nowhere"])
    with pytest.raises(InputRefused, match="holds no files"):
        read_dicom([tmp_path])
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputRefused, match=r"no CT slices \(a.txt: not a DICOM file\)"):
        read_dicom([tmp_path])
    whole = write_slice(tmp_path).read_bytes()
    (tmp_path / "099.dcm").write_bytes(whole[:300])
    with pytest.raises(InputRefused, match=r"099\.dcm|a\.txt"):
        read_dicom([tmp_path])


def test_an_absent_library_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slice(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputRefused, match=r"pip install 'steadyread\[medical\]'"):
        read_dicom([tmp_path])


def test_npz_stacks(tmp_path: Path) -> None:
    stack = np.arange(2 * 4 * 5, dtype=np.int16).reshape(2, 4, 5)
    np.savez(tmp_path / "one.npz", anything=stack, spacing_mm=[2.0, 0.5, 0.6], mas=[50.0, 100.0])
    found = read_npz(tmp_path / "one.npz", offset=10)
    np.testing.assert_array_equal(found.images_hu, stack - 10.0)
    assert found.spacing_mm == (0.5, 0.6)
    assert found.mas == (50, 100)
    assert read_npz(tmp_path / "one.npz", slices=slice(1, 2)).mas == (100,)
    np.savez(tmp_path / "two.npz", a=stack, b=stack)
    with pytest.raises(InputRefused, match=r"2 arrays of three axes \(a, b\).*--array"):
        read_npz(tmp_path / "two.npz")
    assert read_npz(tmp_path / "two.npz", "b").spacing_mm is None
    for name, held in {"flat": np.zeros(4), "text": np.array([[["x"]]]), "gap": np.full((1, 4, 4), np.nan)}.items():
        np.savez(tmp_path / f"{name}.npz", **{name: held})
        with pytest.raises(InputRefused, match=f"{name}.npz"):
            read_npz(tmp_path / f"{name}.npz", name)
    np.savez(tmp_path / "odd.npz", a=stack, spacing_mm=[0.0])
    with pytest.raises(InputRefused, match="'spacing_mm' must be positive"):
        read_npz(tmp_path / "odd.npz")
    np.savez(tmp_path / "doses.npz", a=stack, mas=[1.0, 2.0, 3.0])
    with pytest.raises(InputRefused, match="one a slice; got 3 values"):
        read_npz(tmp_path / "doses.npz")


@pytest.mark.parametrize("text", ["x", "1", "1:2:3", "a:b"])
def test_slice_ranges(text: str) -> None:
    assert slice_range("2:") == slice(2, None)
    assert slice_range(None) == slice(None)
    with pytest.raises(UsageError, match="FIRST:END"):
        slice_range(text)


@pytest.mark.parametrize(("name", "slices", "kernel"), [
    ("ct-phantoms/ge-water", 2, "STANDARD"), ("ct-phantoms/philips-kernel-UB-1mm", 20, "UB"),
    ("chest-ct-series", 40, "B70f")])
def test_real_series(shared_data: Callable[[str], Path], name: str, slices: int, kernel: str) -> None:
    found = read_dicom([shared_data(name)])
    assert found.images_hu.shape == (slices, 512, 512)
    assert found.facts["kernel"] == kernel
    found.refuse_gaps()
    warned = {one.check for one in found.findings if one.severity == "warning"}
    assert warned == ({"series", "dose"} if slices == 2 else set())
