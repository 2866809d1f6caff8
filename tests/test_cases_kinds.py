"""Every kind of image file gives the values that it stores, or is refused in one line: folders and tables alike."""

import bz2
import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import Cases, open_cases
from steadyread.errors import InputRefused, UsageError
from test_dicom import write_slice

RAMP = np.arange(12 * 10, dtype=np.int16).reshape(12, 10)
CUBE = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)      # (z, y, x) towards head, back and left


def nrrd(path: Path, values: np.ndarray, encoding: str = "raw", **fields: str) -> Path:
    """An NRRD file of an array whose first axis runs slowest."""
    data = values.tobytes()
    packed = {"raw": data, "gzip": gzip.compress(data), "bzip2": bz2.compress(data)}[encoding]
    kind = {"i2": "short", "u1": "uchar", "f4": "float"}[values.dtype.str[1:]]
    stated = {"type": kind, "dimension": str(values.ndim), "sizes": " ".join(map(str, values.shape[::-1])),
              "encoding": encoding, "endian": "big" if values.dtype.str[0] == ">" else "little", **fields}
    path.write_bytes(b"NRRD0004\n# made\n" + "".join(f"{key.replace('_', ' ')}: {value}\n" for key, value in
                                                     stated.items()).encode() + b"\n" + packed)
    return path


def nifti(path: Path, values: np.ndarray, affine: Any = None, **header: Any) -> Path:
    """A NIfTI file of an array (x, y, z)."""
    nib = pytest.importorskip("nibabel")
    image = nib.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine)
    if header:
        image.header.set_slope_inter(header["slope"], header["inter"])
    nib.save(image, path)
    return path


def dicom(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """A DICOM file of one frame; a mammogram unless said otherwise."""
    usual = {"Modality": "MG", "RescaleSlope": None, "RescaleIntercept": None, "BitsStored": 12, "HighBit": 11,
             "PixelRepresentation": 0}
    return write_slice(path.parent, 0, pixels, name=path.name, **{**usual, **tags})


def ct(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """A DICOM file of a CT slice."""
    return write_slice(path.parent, 0, pixels, name=path.name, **tags)


def one(tmp_path: Path, make: Callable[[Path], object], name: str, **options: Any) -> tuple[np.ndarray, Cases]:
    """What is read of a file that stands in both of two classes."""
    for label in "ab":
        (tmp_path / label).mkdir(exist_ok=True)
        make(tmp_path / label / name)
    cases = open_cases(tmp_path, **options)
    image = cases[0].image.numpy()
    np.testing.assert_array_equal(image, cases[1].image.numpy())
    return image, cases


def npy(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, values)


@pytest.mark.parametrize(("name", "make", "wanted"), [
    ("1.npy", npy(RAMP), RAMP), ("1.npy", npy(np.asfortranarray(RAMP.astype(">f8"))), RAMP),
    ("1.npy", npy(CUBE.reshape(6, 5, 4).repeat(2, 2)), CUBE.reshape(6, 5, 4).repeat(2, 2)),
    ("1.nii", lambda path: nifti(path, CUBE.T), CUBE), ("1.nii.gz", lambda path: nifti(path, CUBE.T), CUBE),
    ("1.nii.gz", lambda path: nifti(path, RAMP.T[:, :, None]), RAMP),
    ("1.nrrd", lambda path: nrrd(path, CUBE), CUBE), ("1.nrrd", lambda path: nrrd(path, CUBE, "gzip"), CUBE),
    ("1.nrrd", lambda path: nrrd(path, CUBE.astype(">f4"), "gzip"), CUBE),
    ("1.nrrd", lambda path: nrrd(path, CUBE.astype(">i2")), CUBE),
    ("1.nrrd", lambda path: nrrd(path, CUBE, "bzip2"), CUBE), ("1.nrrd", lambda path: nrrd(path, RAMP), RAMP),
    ("1.dcm", lambda path: dicom(path, RAMP), RAMP), ("1.2.3.45", lambda path: dicom(path, RAMP), RAMP),
    ("1.dcm", lambda path: ct(path, RAMP), RAMP - 1024),
    ("1.tif", lambda path: Image.fromarray(RAMP.astype(np.float32)).save(path), RAMP),
    ("1.png", lambda path: Image.fromarray(RAMP.astype(np.uint16) * 500).save(path), RAMP.astype(np.int64) * 500)])
def test_a_kind_gives_the_values_that_it_stores(tmp_path: Path, name: str, make: Any, wanted: np.ndarray) -> None:
    image, cases = one(tmp_path, make, name)
    np.testing.assert_array_equal(image, wanted[None])
    assert cases.bounds.low <= image.min() <= image.max() <= cases.bounds.high
    (tmp_path / "list.csv").write_text(f"file,label\na/{name},a\nb/{name},b\n")
    listed = open_cases(tmp_path / "list.csv")
    np.testing.assert_array_equal(listed[1].image.numpy(), image)
    assert (listed.bounds, listed.rows[0].shape) == (cases.bounds, cases.rows[0].shape)


def test_colour_stands_first_and_grey_becomes_colour_where_asked(tmp_path: Path) -> None:
    last = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    np.testing.assert_array_equal(one(tmp_path, npy(last), "1.npy")[0], np.moveaxis(last, -1, 0))
    first = np.moveaxis(last, -1, 0)
    np.testing.assert_array_equal(one(tmp_path, npy(first), "1.npy")[0], first)
    image, cases = one(tmp_path, npy(RAMP), "1.npy", channels="colour")
    np.testing.assert_array_equal(image, np.repeat(RAMP[None], 3, 0))
    assert cases.rows[0].shape == (3, 12, 10)
    with pytest.raises(InputRefused, match="channels"):
        one(tmp_path, npy(np.zeros((4, 9, 9))), "1.npy")


@pytest.mark.parametrize(("axes", "wanted"), [
    ("SPL", CUBE), ("IAR", CUBE[::-1, ::-1, ::-1]), ("LPS", CUBE.T), ("RAS", CUBE.T[::-1, ::-1]),
    ("stored", CUBE.T)])
def test_volumes_are_turned_as_asked(tmp_path: Path, axes: str, wanted: np.ndarray) -> None:
    nib = pytest.importorskip("nibabel")
    image, _ = one(tmp_path, lambda path: nifti(path, CUBE.T), "1.nii", orientation=axes)
    np.testing.assert_array_equal(image[0], wanted)
    if axes != "stored":
        turn = nib.orientations.ornt_transform(nib.io_orientation(np.diag([-1.0, -1.0, 1.0, 1.0])),
                                               nib.orientations.axcodes2ornt(axes))
        np.testing.assert_array_equal(image[0], nib.orientations.apply_orientation(CUBE.T, turn))
    for folder in "ab":
        (tmp_path / folder / "1.nii").unlink()
    placed = {"space": "left-posterior-superior", "space_directions": "(0.5,0,0) (0,0.7,0) (0,0,2)"}
    image, cases = one(tmp_path, lambda path: nrrd(path, CUBE, **placed), "1.nrrd", orientation=axes)
    np.testing.assert_array_equal(image[0], wanted)
    spacing = {letter: step for letters, step in (("SI", 2.0), ("PA", 0.7), ("LR", 0.5)) for letter in letters}
    assert cases.rows[0].spacing_mm == ((0.5, 0.7, 2.0) if axes == "stored" else tuple(spacing[axis] for axis in axes))


def test_volumes_of_mri_may_lean_and_bring_their_scaling(tmp_path: Path) -> None:
    lean = np.diag([-1.0, -1.0, 1.0, 1.0])
    lean[:3, :3] = [[-0.98, 0.17, 0], [-0.17, -0.98, 0], [0, 0, 1]]
    image, cases = one(tmp_path, lambda path: nifti(path, CUBE.T, lean, slope=0.5, inter=-7), "1.nii")
    np.testing.assert_allclose(image[0], CUBE * 0.5 - 7)
    assert (cases.bounds.low, cases.bounds.high) == (-7, 119 / 2 - 7)
    assert any("state model.bounds" in note for note in cases.notes)


@pytest.mark.parametrize(("values", "bounds"), [
    (np.eye(9, dtype=bool), (0, 1)), (np.eye(9, dtype=np.uint8), (0, 255)), (np.eye(9) / 2, (0, 1)),
    (np.eye(9) * 7 - 2, (-2, 5)), (np.full((9, 9), 3.0), (3, 4))])
def test_the_range_is_that_of_the_type_or_of_the_values(tmp_path: Path, values: np.ndarray, bounds: Any) -> None:
    _, cases = one(tmp_path, npy(values), "1.npy")
    assert (cases.bounds.low, cases.bounds.high) == bounds


@pytest.mark.parametrize("unit", ["HU", "SUV"])
def test_a_unit_may_be_stated(tmp_path: Path, unit: str) -> None:
    values = np.array([[-3000, -1000], [40, 3000]], np.int16)
    image, cases = one(tmp_path, npy(values), "1.npy", unit=unit)
    low, high = (-1024, 3071) if unit == "HU" else (-3000, 3000)
    assert (cases.bounds.low, cases.bounds.high, cases.bounds.unit) == (low, high, unit)
    np.testing.assert_array_equal(image[0], np.maximum(values, low))


def test_pictures_of_eight_bits_hold_no_hu(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="hold no HU"):
        one(tmp_path, lambda path: Image.fromarray(RAMP.astype(np.uint8)).save(path), "1.png", unit="HU")


# ---- DICOM

def test_white_is_high_whatever_the_file_says_but_hu_are_hu(tmp_path: Path) -> None:
    image, cases = one(tmp_path, lambda path: dicom(path, RAMP, PhotometricInterpretation="MONOCHROME1"), "1.dcm")
    np.testing.assert_array_equal(image[0], 4095 - RAMP)
    assert cases.bounds.high == 4095
    assert any("2 of 2 are MONOCHROME1" in note for note in cases.notes)
    image, _ = one(tmp_path, lambda path: ct(path, RAMP, PhotometricInterpretation="MONOCHROME1"), "1.dcm")
    np.testing.assert_array_equal(image[0], RAMP - 1024)


def test_signed_values_and_a_rescaling_keep_their_sign(tmp_path: Path) -> None:
    tags = {"Modality": "MR", "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleSlope": 2,
            "RescaleIntercept": 1}
    image, cases = one(tmp_path, lambda path: dicom(path, RAMP - 60, **tags), "1.dcm")
    np.testing.assert_array_equal(image[0], (RAMP - 60) * 2 + 1)
    assert (cases.bounds.low, cases.bounds.high) == (-65535, 65535)


def _lut(kind: str, bits: int, values: list[int]) -> dict[str, Any]:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.LUTDescriptor = [len(values), 0, bits]
    table.add_new(0x00283006, "US", values)
    return {f"{kind}LUTSequence": Sequence([table])}


def test_a_modality_lut_is_applied_and_a_window_only_where_asked(tmp_path: Path) -> None:
    lut = _lut("Modality", 10, [1023 - 8 * at for at in range(128)])
    image, cases = one(tmp_path, lambda path: dicom(path, RAMP, **lut), "1.dcm")
    np.testing.assert_array_equal(image[0], 1023 - 8 * RAMP)
    assert cases.bounds.high == 1023
    window = {"WindowCenter": [60, 999], "WindowWidth": [21, 9]}
    image, _ = one(tmp_path, lambda path: dicom(path, RAMP, **window), "1.dcm")
    np.testing.assert_array_equal(image[0], RAMP)
    image, cases = one(tmp_path, lambda path: dicom(path, RAMP, **window), "1.dcm", voi=True)
    np.testing.assert_allclose(image[0].reshape(-1),
                               np.clip((RAMP.reshape(-1) - 59.5) / 20 + 0.5, 0, 1) * 4095, atol=1e-3)
    assert (cases.bounds.unit, cases.bounds.high) == ("grey level", 4095)
    with pytest.raises(InputRefused, match="no window"):
        one(tmp_path, lambda path: dicom(path, RAMP), "1.dcm", voi=True)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_compressed_pixels_are_those_that_were_compressed(tmp_path: Path, syntax: str) -> None:
    """JPEG 2000 by its own encoder; lossless JPEG and JPEG-LS as far as they say their size."""
    from pydicom.encaps import encapsulate

    openjpeg = pytest.importorskip("openjpeg")
    if syntax.endswith("90"):
        pixels = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint16)
        frame = openjpeg.encode(pixels, photometric_interpretation=2, bits_stored=12)
        held = encapsulate([frame])
        image, _ = one(tmp_path, lambda path: dicom(path, pixels, syntax=syntax, PixelData=held), "1.dcm")
        np.testing.assert_array_equal(image[0], pixels)
    marker = {"70": 0xC3, "80": 0xF7, "90": None}[syntax[-2:]]
    sizes = struct.pack(">HH8IH", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1)
    huge = (b"\xff\x4f\xff\x51" + sizes + b"\x0b\1\1" if marker is None else
            b"\xff\xd8\xff" + struct.pack(">BHBHHB", marker, 11, 12, 60000, 60000, 1) + b"\0\x11\0")
    for label in "ab":
        (tmp_path / label).mkdir(exist_ok=True)
        dicom(tmp_path / label / "1.dcm", RAMP, syntax=syntax, PixelData=encapsulate([huge + bytes(200)]))
    with pytest.raises(InputRefused, match="its compressed pixels are 60000 x 60000; its tags say 10 x 12"):
        open_cases(tmp_path)[0]


def test_a_mammogram_has_no_hu(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="MG holds no HU"):
        one(tmp_path, lambda path: dicom(path, RAMP), "1.dcm", unit="HU")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["RLE", "jp2klossless", "jpeg_ls_lossless"])
def test_a_real_slice_is_the_same_however_it_is_compressed(tmp_path: Path, name: str) -> None:
    for library in ("openjpeg", "libjpeg"):
        pytest.importorskip(library)
    files = Path(pytest.importorskip("pydicom").__file__).parent / "data" / "test_files"     # its own samples
    plain, packed = files / "MR_small.dcm", files / f"MR_small_{name}.dcm"
    if not (plain.is_file() and packed.is_file()):
        pytest.skip("this pydicom comes without its samples")
    wanted, _ = one(tmp_path, lambda path: path.write_bytes(plain.read_bytes()), "1.dcm")
    image, cases = one(tmp_path, lambda path: path.write_bytes(packed.read_bytes()), "1.dcm")
    np.testing.assert_array_equal(image, wanted)
    assert (image.shape, cases.rows[0].extras["modality"]) == ((1, 64, 64), "MR")
    assert len(np.unique(image)) > 100


def test_patients_and_spacing_come_of_the_tags(tmp_path: Path) -> None:
    for label in "ab":
        _made(tmp_path / label)
        ct(tmp_path / label / "1.dcm", RAMP, PatientID=f"p{label}")
        ct(tmp_path / label / "2.dcm", RAMP + 1, PatientID="both")
    cases = open_cases(tmp_path)
    assert [row.patient for row in cases.rows] == ["pa", "both", "pb", "both"]
    assert cases.patients_known
    assert (cases.rows[0].spacing_mm, cases.rows[0].scan_mas) == ((0.5, 0.6), 100)
    assert cases[0].native is not None
    (tmp_path / "b" / "2.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"broken")
    cases = open_cases(tmp_path)      # one broken file: set aside when it is read
    assert [row.patient for row in cases.rows] == ["pa", "both", "pb", "b/2.dcm"]
    assert any("1 images name none" in note for note in cases.notes)
    with pytest.raises(InputRefused, match=r"2\.dcm"):
        cases[3]
    dicom(tmp_path / "b" / "2.dcm", RAMP)
    with pytest.raises(InputRefused, match=r"several modalities \(3 CT, 1 MG\)"):
        open_cases(tmp_path)


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
@pytest.mark.parametrize("value", [0, 7])
def test_volumes_that_unpack_to_many_pieces_are_read_whole(encoding: str, value: int, tmp_path: Path) -> None:
    values = np.full((33, 256, 257), value, np.uint8)      # some kilobytes for two megabytes
    values[-1, -1, -3:] = 1, 2, 3
    image, _ = one(tmp_path, lambda path: nrrd(path, values, encoding), "1.nrrd")
    np.testing.assert_array_equal(image[0], values)


# ---- what is refused

def _objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _claims(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", 118) + b"{'descr': '<f8', 'fortran_order': False, 'shape': "
                     b"(1000000, 1000000), }".ljust(117) + b"\n")


def _bomb(path: Path) -> None:
    nrrd(path, RAMP)
    head = path.read_bytes().split(b"\n\n")[0].replace(b"encoding: raw", b"encoding: gzip")
    path.write_bytes(head + b"\n\n" + gzip.compress(bytes(2**28)))


@pytest.mark.parametrize(("name", "make", "words"), [
    ("1.npy", _objects, "Python objects"), ("1.npy", _claims, "at most"),
    ("1.npy", npy(np.zeros((3, 3), complex)), "real numbers"), ("1.npy", npy(np.zeros(9)), "shape"),
    ("1.npy", npy(np.array([[np.nan, 1.0]] * 3)), "NaN"),
    ("1.tif", lambda path: Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(path), "NaN"),
    ("1.nrrd", _bomb, "bytes of voxels"), ("1.nrrd", lambda path: nrrd(path, RAMP, type="block"), "'block'"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, sizes="99999 99999"), "at most"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, sizes="10 13"), "bytes of voxels"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, sizes="12000 9000"), "648000000 bytes; at most"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, byte_skip=10**12), "after 1000000000000 bytes and 0 lines"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, line_skip=10**12), "after 0 bytes and 1000000000000 lines"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, line_skip=10**6), "bytes of voxels"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, encoding="raw", data_file="../../secret.raw"), "must name a file inside"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, data_file="/etc/hostname"), "must name a file inside"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, data_file="LIST"), "several files"),
    ("1.nrrd", lambda path: nrrd(path, RAMP, data_file="absent.raw"), "no such file"),
    ("1.dcm", lambda path: path.write_bytes(b"none"), "not a DICOM file")])
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, make: Any, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as caught:
        one(tmp_path, make, name)
    assert "\n" not in str(caught.value)


def test_a_detached_header_reads_the_file_beside_it_and_no_link_out(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        nrrd(path, CUBE, data_file="cube.raw")
        path.write_bytes(path.read_bytes().split(b"\n\n")[0] + b"\n\n")
        (path.parent / "cube.raw").write_bytes(CUBE.tobytes())

    np.testing.assert_array_equal(one(tmp_path, make, "1.nhdr")[0][0], CUBE)
    for label in "ab":
        (tmp_path / label / "cube.raw").rename(tmp_path / f"{label}.raw")
        (tmp_path / label / "cube.raw").symlink_to(tmp_path / f"{label}.raw")
    with pytest.raises(InputRefused, match="expected a file beside it"):
        open_cases(tmp_path)[0]


# ---- tables and paths

def _table(tmp_path: Path, text: str, name: str = "list.csv") -> Path:
    for at, place in enumerate(("x/p1_a.png", "x/p1_b.png", "y/p2_a.png")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 9 * at, np.uint8)).save(tmp_path / place)
    (tmp_path / name).write_text(text)
    return tmp_path / name


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_columns_of_any_name(tmp_path: Path, separator: str) -> None:
    text = "Image Index,Finding,who,fold,label\np1_a,0,A,train,z\np1_b.png,1,A,val,z\ny/p2_a.png,1,B,test,z\n"
    table = _table(tmp_path, text.replace(",", separator), "meta.tsv" if separator == "\t" else "meta.csv")
    names = {"file_column": "image index", "label_column": "Finding ", "patient_column": "who", "part_column": "fold"}
    for place in (table, tmp_path):
        cases = open_cases(place, **names)
        assert [(row.label, row.patient, row.part) for row in cases.rows] == [
            (0, "A", "train"), (1, "A", "validation"), (1, "B", "test")]
        assert cases.classes == ("0", "1")
        assert any("2 of 3 files are found by their name" in note for note in cases.notes)
    assert open_cases(table, **names, classes=("no", "yes")).counts() == {"no": 1, "yes": 2}
    with pytest.raises(InputRefused, match="expected the columns file and Finding; it has Image Index, Finding"):
        open_cases(table, label_column="Finding")


def test_files_may_lie_in_a_folder_that_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _table(tmp_path, "")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "list.csv"
    table.write_text(f"file,label\nx/p1_a.png,0\n{tmp_path}/y/p2_a.png,1\n")
    monkeypatch.chdir(tmp_path)
    for root in (".", str(tmp_path)):
        assert len(open_cases(table, root=root)) == 2
    with pytest.raises(InputRefused, match=r"data\.options\.root: .*/pics is no folder"):
        open_cases(table, root="pics")
    table.write_text("file,label\nx/p1_a.png,0\n../secret.png,1\n")
    with pytest.raises(InputRefused, match="is refused"):
        open_cases(table, root=".")
    (tmp_path / "z").mkdir()
    (tmp_path / "x" / "p1_a.png").rename(tmp_path / "z" / "p2_a.png")
    table.write_text("file,label\nx/p1_b.png,0\np2_a,1\n")
    with pytest.raises(InputRefused, match=r"'p2_a' may be y/p2_a\.png or z/p2_a\.png"):
        open_cases(table, root=".")


def test_patients_by_a_pattern_of_the_path(tmp_path: Path) -> None:
    _table(tmp_path, "file,label\nx/p1_a.png,0\nx/p1_b.png,1\ny/p2_a.png,1\n")
    for options in ({}, {"layout": "folders"}):
        cases = open_cases(tmp_path, **options, patient_pattern=r"/p(\d+)_")
        assert [row.patient for row in cases.rows] == ["1", "1", "2"]
        assert cases.patients_known
    for pattern, words in ((r"p\d+", "one group"), ("(p", "no regular expression")):
        with pytest.raises(UsageError, match=words):
            open_cases(tmp_path, patient_pattern=pattern)
    with pytest.raises(InputRefused, match=r"y/p2_a\.png: .* finds no patient"):
        open_cases(tmp_path, patient_pattern="(p1)")
