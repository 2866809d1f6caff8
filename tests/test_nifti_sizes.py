"""NIfTI files whose headers claim more than they hold, or more than a volume has: refused before they are read."""

import gzip
import os
import resource
import struct
from pathlib import Path

import numpy as np
import pytest

from steadyread.cases.nifti import centroid, open_volume, voxels
from steadyread.errors import InputRefused

nib = pytest.importorskip("nibabel")


def _stored(path: Path, shape: tuple[int, ...] = (6, 5, 4), kind: type = nib.Nifti1Image) -> Path:
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nib.save(kind(values, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
    return path


def _changed(path: Path, at: int, value: bytes) -> Path:
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    content[at:at + len(value)] = value
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_both_versions_are_read(tmp_path: Path, name: str, kind: type) -> None:
    volume = open_volume(_stored(tmp_path / "a.nii", kind=kind) if name == "a.nii" else _stored(
        tmp_path / name, kind=kind))
    assert volume.shape == (4, 5, 6)
    assert voxels(volume)[0, 0, 0] == 0


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_huge_shape_is_refused_unread(tmp_path: Path, name: str) -> None:
    path = _changed(_stored(tmp_path / name), 40, struct.pack("<4h", 3, 1024, 1024, 1024))
    with pytest.raises(InputRefused, match=r"1024 x 1024 x 1024 voxels needs 2147483648 bytes"):
        open_volume(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """0.6 MB that unpack to 600 MB."""
    path = _changed(_stored(tmp_path / "a.nii.gz"), 40, struct.pack("<4h", 3, 700, 700, 613))
    head = gzip.decompress(path.read_bytes())[:352]
    with gzip.open(path, "wb", 1) as file:
        file.write(head + bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match="needs 600740000 bytes"):
        open_volume(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000      # kB


@pytest.mark.parametrize(("at", "value", "said"), [
    (108, struct.pack("<f", 2e9), "begin at byte 2000000000"),
    (108, struct.pack("<f", 10), "vox offset 10 too low"),
    (108, struct.pack("<f", float("nan")), "truncated, damaged or no NIfTI"), (344, b"ni1\0", "no header of one"),
    (0, struct.pack("<i", 7), "no header of one"), (70, struct.pack("<h", 9999), "truncated, damaged or no NIfTI"),
    (40, struct.pack("<4h", 3, -5, 5, 4), "a.nii"), (40, struct.pack("<4h", 3, 60, 50, 40), "says 240352")])
def test_headers_that_cannot_be_are_refused(tmp_path: Path, at: int, value: bytes, said: str,
                                            capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputRefused, match=said) as refused:
        open_volume(_changed(_stored(tmp_path / "a.nii"), at, value))
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_what_is_no_regular_nifti_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "zero.nii.gz").symlink_to("/dev/zero")
    (tmp_path / "a.mgz").write_bytes(_stored(tmp_path / "a.nii.gz").read_bytes())
    (tmp_path / "empty.nii").touch()
    for name, said in (("pipe.nii", "a pipe; expected a regular file"), ("zero.nii.gz", "a device"),
                       ("a.mgz", "expected a NIfTI file"), ("empty.nii", "no header of one"),
                       ("nowhere.nii", "no such file"), ("x" * 300 + ".nii", "cannot be read")):
        with pytest.raises(InputRefused, match=said):
            open_volume(tmp_path / name)


def test_the_centre_of_a_mask_is_the_mean_of_its_voxels(tmp_path: Path) -> None:
    marked = np.random.default_rng(0).random((6, 5, 4)) > 0.7
    nib.save(nib.Nifti1Image(marked.astype(np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "m.nii.gz")
    mask = open_volume(tmp_path / "m.nii.gz")
    assert centroid(mask) == tuple(np.argwhere(voxels(mask) > 0).mean(0).tolist())
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.uint8), np.eye(4)), tmp_path / "e.nii.gz")
    assert centroid(open_volume(tmp_path / "e.nii.gz")) == ()
