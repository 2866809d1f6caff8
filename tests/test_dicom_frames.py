"""DICOM in colour, and of several frames: the values that pydicom's own conversion gives, or one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadyread.cases import open_cases
from steadyread.errors import InputRefused
from test_cases_kinds import CUBE, RAMP, ct, dicom, one

pydicom = pytest.importorskip("pydicom")
SAMPLES = Path(pydicom.__file__).parent / "data"
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
MR = {"Modality": "MR", "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}


def coloured(path: Path, pixels: np.ndarray = COLOURS, shown: str = "RGB", **tags: Any) -> Path:
    """A DICOM file in colour; an ultrasound image unless said otherwise."""
    bits = 8 * pixels.dtype.itemsize
    return dicom(path, pixels[..., 0], **{
        "Modality": "US", "PixelData": pixels.tobytes(), "SamplesPerPixel": 3, "PlanarConfiguration": 0,
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1, "PhotometricInterpretation": shown, **tags})


def palette(path: Path, bits: int = 8, **tags: Any) -> Path:
    """A DICOM file whose values stand for colours of a palette."""
    entries = np.random.default_rng(1).integers(0, 2**bits, (3, 100)).astype(f"u{bits // 8}")
    lists = {f"{name}PaletteColorLookupTable{what}": value for name, data in zip(
        ("Red", "Green", "Blue"), entries, strict=True) for what, value in (
        ("Descriptor", [100, 5, bits]), ("Data", data.tobytes()))}
    return dicom(path, RAMP, **{"Modality": "US", "PhotometricInterpretation": "PALETTE COLOR", **lists, **tags})


def items(**groups: Any) -> Any:
    """A sequence of one item with these groups, each a sequence of one item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, fields in groups.items():
        inner = Dataset()
        for keyword, value in fields.items():
            setattr(inner, keyword, value)
        setattr(item, f"{name}Sequence", [inner])
    return item


def enhanced(path: Path, values: np.ndarray = CUBE, *, order: tuple[int, ...] = (2, 0, 3, 1), step: float = 2.0,
             turn: tuple[float, ...] = (1, 0, 0, 0, 1, 0), shared: Any = None, frames: Any = None, **tags: Any) -> Path:
    """A file of several frames (z, y, x), stored in another order, with functional groups."""
    normal = np.cross(turn[:3], turn[3:])
    usual = {"PixelMeasures": {"PixelSpacing": [0.7, 0.5], "SliceThickness": 1},
             "PlaneOrientation": {"ImageOrientationPatient": list(turn)},
             "PixelValueTransformation": {"RescaleSlope": 2, "RescaleIntercept": -10, "RescaleType": "US"}}
    own = [items(PlanePosition={"ImagePositionPatient": (normal * step * place).tolist()},
                 **(frames(place) if frames else {})) for place in order]
    return dicom(path, values[0], **{**MR, "NumberOfFrames": len(values), "PixelSpacing": None, "RescaleSlope": None,
        "RescaleIntercept": None, "ImagePositionPatient": None, "ImageOrientationPatient": None,
        "PixelData": values[list(order)].tobytes(), "SharedFunctionalGroupsSequence": [items(**(shared or usual))],
        "PerFrameFunctionalGroupsSequence": own, **tags})


# ---- colour

@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_three_channels_of_the_values_that_are_stored(tmp_path: Path, dtype: Any) -> None:
    pixels = COLOURS.astype(dtype) * (1 if dtype == np.uint8 else 257)
    image, cases = one(tmp_path, lambda path: coloured(path, pixels), "1.dcm")
    np.testing.assert_array_equal(image, np.moveaxis(pixels, -1, 0))
    assert (cases.bounds.high, cases.rows[0].shape) == (np.iinfo(dtype).max, (3, 12, 10))
    assert any("three colour channels: 2 of 2 images" in note for note in cases.notes)
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)).tobytes()
    image, _ = one(tmp_path, lambda path: coloured(path, pixels, PixelData=planes, PlanarConfiguration=1), "1.dcm")
    np.testing.assert_array_equal(image, np.moveaxis(pixels, -1, 0))


def test_luma_and_chroma_become_red_green_and_blue(tmp_path: Path) -> None:
    from PIL import Image

    stored = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    wanted = np.asarray(Image.fromarray(stored, "YCbCr").convert("RGB")).astype(int)
    image, _ = one(tmp_path, lambda path: coloured(path, stored, "YBR_FULL"), "1.dcm")
    assert np.abs(np.moveaxis(image, 0, -1) - wanted).max() <= 1      # either rounds in its own way


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path: Path) -> None:
    from PIL import Image

    image, cases = one(tmp_path, lambda path: coloured(path), "1.dcm", channels="grey")
    np.testing.assert_array_equal(image[0], np.asarray(Image.fromarray(COLOURS).convert("L")))
    assert cases.rows[0].shape == (1, 12, 10)
    grey = {"Modality": "US", "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    dicom(tmp_path / "b" / "1.dcm", RAMP, PixelData=RAMP.astype(np.uint8).tobytes(), **grey)
    cases = open_cases(tmp_path)
    np.testing.assert_array_equal(cases[1].image.numpy(), np.repeat(RAMP[None], 3, 0))
    assert cases.rows[1].shape == (3, 12, 10)
    assert any("1 of 2 images" in note for note in cases.notes)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_its_colours(tmp_path: Path, bits: int) -> None:
    from pydicom.pixels import apply_color_lut

    image, cases = one(tmp_path, lambda path: palette(path, bits), "1.dcm")
    tags = pydicom.dcmread(tmp_path / "a" / "1.dcm")
    np.testing.assert_array_equal(np.moveaxis(image, 0, -1), apply_color_lut(tags.pixel_array, tags))
    assert cases.bounds.high == 2**bits - 1


@pytest.mark.parametrize("name", [
    "examples_palette", "examples_rgb_color", "ExplVR_BigEnd", "SC_rgb_rle", "SC_rgb_rle_16bit", "SC_rgb_jpeg_dcmd",
    "SC_ybr_full_422_uncompressed", "SC_rgb_small_odd", "SC_rgb_gdcm_KY", "examples_jpeg2k", "SC_rgb_jpeg_gdcm",
    "SC_rgb_jpeg_dcmtk", "SC_rgb_dcmtk_+eb+cy+np"])
def test_real_colours_are_those_that_pydicom_gives(tmp_path: Path, name: str) -> None:
    from pydicom.pixels import apply_color_lut, pixel_array

    if name in ("SC_rgb_gdcm_KY", "examples_jpeg2k", "SC_rgb_jpeg_gdcm", "SC_rgb_jpeg_dcmtk", "SC_rgb_dcmtk_+eb+cy+np"):
        pytest.importorskip("openjpeg")
        pytest.importorskip("libjpeg")
    found = sorted(SAMPLES.rglob(f"{name}.dcm"))
    if not found:
        pytest.skip("this pydicom comes without its samples")
    image, cases = one(tmp_path, lambda path: path.write_bytes(found[0].read_bytes()), "1.dcm")
    tags = pydicom.dcmread(found[0])
    wanted = apply_color_lut(tags.pixel_array, tags) if "palette" in name else pixel_array(tags)
    np.testing.assert_array_equal(np.moveaxis(image, 0, -1), wanted)
    assert cases.bounds.low <= image.min() <= image.max() <= cases.bounds.high
    assert len(np.unique(image)) > 1


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: coloured(path, shown="HSV"), "PhotometricInterpretation 'HSV'; expected one of RGB"),
    (lambda path: coloured(path, SamplesPerPixel=4), "4 values a pixel"),
    (lambda path: coloured(path, PixelData=b"\0\0"), "its pixels cannot be read"),
    (lambda path: palette(path, 16, RedPaletteColorLookupTableDescriptor=[100, 5, 8]), "its tags say 0 to 255"),
    (lambda path: coloured(path, Rows=6000, Columns=6000), "expected an image of 16777216 pixels"),
    (lambda path: palette(path, RedPaletteColorLookupTableData=None), "palette is segmented or elsewhere"),
    (lambda path: palette(path, BluePaletteColorLookupTableData=None), "its pixels cannot be read"),
    (lambda path: ct(path, COLOURS[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB"), "which has no HU"),
    (lambda path: coloured(path, NumberOfFrames=3, PixelData=COLOURS.tobytes() * 3), r"cine.*data\.options\.frame")])
def test_colours_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path, make: Any, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as caught:
        one(tmp_path, make, "1.dcm")
    assert "\n" not in str(caught.value)


def test_a_window_is_nothing_for_colours(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="which has no window"):
        one(tmp_path, lambda path: coloured(path), "1.dcm", voi=True)


# ---- several frames

@pytest.mark.parametrize(("turn", "wanted"), [
    ((1, 0, 0, 0, 1, 0), CUBE), ((-1, 0, 0, 0, -1, 0), CUBE[:, ::-1, ::-1]),
    ((0, 1, 0, 0, 0, -1), CUBE[::-1, ::-1].transpose(1, 2, 0))])
def test_frames_that_say_where_they_lie_are_a_volume(tmp_path: Path, turn: Any, wanted: np.ndarray) -> None:
    image, cases = one(tmp_path, lambda path: enhanced(path, turn=turn), "1.dcm")
    np.testing.assert_array_equal(image[0], wanted * 2 - 10)
    spacing = (2.0, 0.7, 0.5) if turn[2] == turn[5] == 0 else (0.7, 0.5, 2.0)
    assert (cases.rows[0].spacing_mm, cases.rows[0].shape) == (spacing, (1, *wanted.shape))


def test_the_volume_is_that_of_the_same_slices_as_files(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    (tmp_path / "slices").mkdir()
    turn = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    normal = np.cross(turn[:3], turn[3:])
    for place, pixels in enumerate(CUBE):
        dicom(tmp_path / "slices" / f"{place}.dcm", pixels, **{
            **MR, "SOPInstanceUID": f"1.2.{place + 1}", "PixelSpacing": [0.7, 0.5],
            "InstanceNumber": place + 1, "ImageOrientationPatient": list(turn),
            "ImagePositionPatient": (normal * 2.0 * place).tolist()})
    series = itk.ImageSeriesReader()
    series.SetFileNames([str(tmp_path / "slices" / f"{place}.dcm") for place in range(4)])
    oriented = itk.DICOMOrient(series.Execute(), "LPS")
    (tmp_path / "set").mkdir()
    image, cases = one(tmp_path / "set", lambda path: enhanced(path, turn=turn), "1.dcm")
    np.testing.assert_array_equal(image[0], itk.GetArrayFromImage(oriented) * 2.0 - 10)
    np.testing.assert_allclose(cases.rows[0].spacing_mm, oriented.GetSpacing()[::-1])


def test_each_frame_has_its_own_rescaling(tmp_path: Path) -> None:
    own = {"PixelValueTransformation": {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "HU"}}
    image, cases = one(tmp_path, lambda path: enhanced(path, Modality="CT", frames=lambda place: {
        "PixelValueTransformation": {**own["PixelValueTransformation"], "RescaleIntercept": 100 * place},
        "CTExposure": {"ExposureInmAs": 50.0 * (1 + place)}}), "1.dcm")
    np.testing.assert_array_equal(image[0], CUBE + 100 * np.arange(4)[:, None, None])
    assert cases.bounds.unit == "HU"
    assert cases.rows[0].scan_mas == pytest.approx(4 / (1 / 50 + 1 / 100 + 1 / 150 + 1 / 200))


def test_a_frame_may_be_asked_for(tmp_path: Path) -> None:
    image, cases = one(tmp_path, lambda path: enhanced(path), "1.dcm", frame=3)
    np.testing.assert_array_equal(image[0], CUBE[3] * 2 - 10)
    assert (cases.rows[0].spacing_mm, cases.rows[0].shape) == ((0.7, 0.5), (1, 12 - 6, 5))
    cine = np.stack([COLOURS, COLOURS[::-1]])
    image, _ = one(tmp_path, lambda path: coloured(path, NumberOfFrames=2, PixelData=cine.tobytes()), "1.dcm", frame=2)
    np.testing.assert_array_equal(image, np.moveaxis(cine[1], -1, 0))
    with pytest.raises(InputRefused, match=r"2 frames; data\.options\.frame asks for 3"):
        open_cases(tmp_path, frame=3)


@pytest.mark.parametrize("name", ["examples_ybr_color", "SC_rgb_rle_16bit_2frame"])
def test_a_frame_of_a_real_cine_is_that_which_pydicom_gives(tmp_path: Path, name: str) -> None:
    from pydicom.pixels import pixel_array

    if name == "examples_ybr_color":
        pytest.importorskip("libjpeg")
    found = sorted(SAMPLES.rglob(f"{name}.dcm"))
    if not found:
        pytest.skip("this pydicom comes without its samples")
    image, _ = one(tmp_path, lambda path: path.write_bytes(found[0].read_bytes()), "1.dcm", frame=2)
    np.testing.assert_array_equal(np.moveaxis(image, 0, -1), pixel_array(pydicom.dcmread(found[0]), index=1))
    with pytest.raises(InputRefused, match=r"frames in one file.* \(a cine\?\): state which one"):
        open_cases(tmp_path)


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: dicom(path, RAMP, NumberOfFrames=9), r"9 frames in one file.*data\.options\.frame"),
    (lambda path: enhanced(path, order=(0, 1, 2, 2)), "no single stack of even steps"),
    (lambda path: enhanced(path, order=(0, 1, 2, 3), step=0), "no single stack"),
    (lambda path: enhanced(path, shared={"PixelMeasures": {"PixelSpacing": [1, 1]}}), "no ImageOrientationPatient"),
    (lambda path: enhanced(path, turn=(1, 0, 0, 1, 0, 0)), "differ in direction or spacing"),
    (lambda path: enhanced(path, frames=lambda place: {"PixelMeasures": {"PixelSpacing": [1 + place, 1]}}),
     "differ in direction or spacing"),
    (lambda path: enhanced(path, PixelData=b"\0\0"), "its pixels cannot be read"),
    (lambda path: enhanced(path, NumberOfFrames=5), "no ImagePositionPatient"),
    (lambda path: enhanced(path, NumberOfFrames=10**9), "1000000000 frames"),
    (lambda path: enhanced(path, NumberOfFrames=4000, Rows=4000, Columns=4000), "at most"),
    (lambda path: enhanced(path, Modality="CT"), "RescaleType is 'US'; expected HU")])
def test_frames_that_are_no_volume_are_refused_in_one_line(tmp_path: Path, make: Any, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as caught:
        one(tmp_path, make, "1.dcm")
    assert "\n" not in str(caught.value)
