"""Pictures keep the values that they store, or are refused: depth, polarity, orientation, false ones."""

import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steadyread.cases import audit, open_cases
from steadyread.cases.pictures import Look, look_of, picture_shape, read_picture
from steadyread.errors import InputRefused

RAMP = np.arange(24 * 20, dtype=np.uint16).reshape(24, 20)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, samples: np.ndarray, colour: int, further: bytes = b"") -> Path:
    """A PNG of 16 bits per channel: colour type 0 grey, 2 colour, 4 grey and alpha, 6 colour and alpha."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + further + chunk(b"IDAT", zlib.compress(rows))
                     + chunk(b"IEND", b""))
    return path


def tiff(path: Path, pixels: np.ndarray, photometric: int, bits: int = 16, order: str = "<") -> Path:
    """An uncompressed TIFF of one strip, its samples side by side."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(f"{order}u2").tobytes() if bits == 16 else pixels.tobytes()
    tags = [(256, 4, pixels.shape[1]), (257, 4, pixels.shape[0]), (258, 3, bits), (259, 3, 1),
            (262, 3, photometric), (273, 4, 8), (277, 3, samples), (278, 4, pixels.shape[0]), (279, 4, len(data)),
            (284, 3, 1)]
    if samples > 1:
        tags[2] = (258, 3, samples)
    entries = b"".join(struct.pack(f"{order}HHI", tag, kind, samples if tag == 258 else 1)
                       + (struct.pack(f"{order}H2x", value) if kind == 3 and not (tag == 258 and samples > 1)
                          else struct.pack(f"{order}I", 8 + len(data) if tag == 258 else value))
                       for tag, kind, value in tags)
    bit_list = struct.pack(f"{order}{samples}H", *[bits] * samples) if samples > 1 else b""
    mark = b"II" if order == "<" else b"MM"
    path.write_bytes(mark + struct.pack(f"{order}HI", 42, 8 + len(data) + len(bit_list)) + data + bit_list
                     + struct.pack(f"{order}H", len(tags)) + entries + bytes(4))
    return path


def read(path: Path) -> tuple[np.ndarray, str, float]:
    look, how = look_of([path])
    pixels = read_picture(path, look)
    assert picture_shape(path) == pixels.shape[1:]
    return pixels, how, look.bounds.high


@pytest.mark.parametrize(("colour", "channels"), [(4, 2), (6, 4)])
def test_sixteen_bits_with_transparency_are_never_cut_to_eight(tmp_path: Path, colour: int, channels: int) -> None:
    path = png(tmp_path / "x.png", np.tile(RAMP[:, :, None] * 100, (1, 1, channels)), colour)
    with pytest.raises(InputRefused, match="16 bits per channel with"):
        read(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_sixteen_bits(tmp_path: Path, order: str) -> None:
    pixels, _, high = read(tiff(tmp_path / "x.tif", RAMP * 130, 1, order=order))
    np.testing.assert_array_equal(pixels, RAMP[None] * 130)
    assert high == 65535


DEEP = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_colour_of_sixteen_bits_keeps_them_all(tmp_path: Path, order: str) -> None:
    for path in (png(tmp_path / "c.png", DEEP, 2), tiff(tmp_path / "c.tif", DEEP, 2, order=order)):
        pixels, how, high = read(path)
        np.testing.assert_array_equal(pixels, np.moveaxis(DEEP, -1, 0))
        assert (pixels.dtype, high) == (np.uint16, 65535)
        assert "three colour channels" in how
        grey = read_picture(path, Look(1, 16))[0]
        np.testing.assert_allclose(grey, DEEP @ [0.299, 0.587, 0.114], atol=1.5)
    equal = np.repeat(DEEP[:, :, :1], 3, 2)
    pixels, how, _ = read(png(tmp_path / "e.png", equal, 2))
    np.testing.assert_array_equal(pixels[0], equal[..., 0])       # grey that is stored as colour
    with pytest.raises(InputRefused, match="16 bits per channel with transparency"):
        read(png(tmp_path / "t.png", DEEP, 2, chunk(b"tRNS", bytes(6))))


@pytest.mark.parametrize("written", [{"compression": "zlib", "predictor": True}, {"compression": "zlib"},
                                     {"byteorder": ">", "compression": "zlib"}, {"tile": (16, 16)}])
def test_packed_and_tiled_colour_of_sixteen_bits_is_what_tifffile_wrote(tmp_path: Path, written: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "c.tif", DEEP, photometric="rgb", **written)
    np.testing.assert_array_equal(read(tmp_path / "c.tif")[0], np.moveaxis(DEEP, -1, 0))
    tifffile.imwrite(tmp_path / "p.tif", np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(InputRefused, match="in planes of their own"):
        read(tmp_path / "p.tif")


def test_white_is_high_at_every_depth(tmp_path: Path) -> None:
    dark = np.clip(RAMP, 0, 255).astype(np.uint8)
    eight, _, _ = read(tiff(tmp_path / "8.tif", dark, 0, 8))
    sixteen, _, _ = read(tiff(tmp_path / "16.tif", dark * np.uint16(257), 0))
    np.testing.assert_array_equal(eight[0], 255 - dark)
    np.testing.assert_array_equal(sixteen[0], (255 - dark) * np.uint16(257))


@pytest.mark.parametrize(("kind", "maxval"), [(b"P5", 4095), (b"P2", 4095), (b"P5", 1023), (b"P5", 500),
                                              (b"P2", 500), (b"P5", 65535), (b"P2", 65535)])
def test_pgm_keeps_stored_values(tmp_path: Path, kind: bytes, maxval: int) -> None:
    body = RAMP.astype(">u2").tobytes() if kind == b"P5" else b" ".join(b"%d" % value for value in RAMP.ravel())
    (tmp_path / "x.pgm").write_bytes(kind + b" # a comment 7 7\n20 24\n%d\n" % maxval + body)
    pixels, _, high = read(tmp_path / "x.pgm")
    np.testing.assert_array_equal(pixels[0], RAMP)
    assert (pixels.dtype, high) == (np.uint16, maxval)


@pytest.mark.parametrize("data", [
    b"P5 3 1 15\n\0\7", b"P5 0 1 15\n", b"P5 3 1 70000\n\0\0\0\0\0\0", b"P2 3 1 15\n1 2 x",
    b"P5 3 1 15\n\0\7\1P5 3 1 15\n\0\7\1", b"P5"])
def test_pgm_that_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pgm").write_bytes(data)
    with pytest.raises(InputRefused, match=r"x\.pgm"):
        read(tmp_path / "x.pgm")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_pictures_are_turned_as_they_say(tmp_path: Path, orientation: int, ending: str) -> None:
    stored = np.repeat(np.repeat(np.array([[10, 90, 170], [250, 130, 50]], np.uint8), 8, 0), 8, 1)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"x.{ending}"
    Image.fromarray(stored).save(path, exif=exif, **({"quality": 100} if ending == "jpg" else {}))
    pixels, how, _ = read(path)
    upright = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
               6: np.rot90(stored, -1), 7: stored[::-1, ::-1].T, 8: np.rot90(stored)}[orientation]
    np.testing.assert_allclose(pixels[0].astype(float), upright, atol=3)
    assert ("1 of 1 are turned" in how) == (orientation > 1)


def test_twelve_bits_in_sixteen_are_said(tmp_path: Path) -> None:
    pixels, how, high = read(png(tmp_path / "x.png", RAMP[:, :, None] * 8, 0))
    np.testing.assert_array_equal(pixels[0], RAMP * 8)
    assert (high, f"largest value is {RAMP.max() * 8} of 65535" in how) == (65535, True)


def test_what_is_transparent_is_laid_over_black_at_every_depth(tmp_path: Path) -> None:
    deep = png(tmp_path / "deep.png", RAMP[:, :, None] * 130, 0, chunk(b"tRNS", struct.pack(">H", 1300)))
    assert read(deep)[0][0, 0, 9:12].tolist() == [1170, 0, 1430]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([200, 200, 200, 90, 90, 90])
    palette.save(tmp_path / "p.png", transparency=0)
    pixels, how, _ = read(tmp_path / "p.png")
    assert (pixels.tolist(), "1 of 1 are transparent" in how) == ([[[0, 90]]], True)
    Image.merge("LA", [Image.new("L", (2, 1), 200), Image.new("L", (2, 1), 128)]).save(tmp_path / "la.png")
    assert read(tmp_path / "la.png")[0].tolist() == [[[100, 100]]]


@pytest.mark.parametrize(("mode", "ending"), [("CMYK", "jpg"), ("CMYK", "tif"), ("1", "png"), ("1", "tif"),
                                              ("YCbCr", "jpg")])
def test_other_modes(tmp_path: Path, mode: str, ending: str) -> None:
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(tmp_path / f"x.{ending}")
    assert read(tmp_path / f"x.{ending}")[0].min() >= 253


def test_interlaced_and_profiled_pictures_keep_their_values(tmp_path: Path) -> None:
    plain = np.random.default_rng(0).integers(0, 256, (9, 7), np.uint8)
    Image.fromarray(plain).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + data[33:])
    np.testing.assert_array_equal(read(tmp_path / "x.png")[0][0], plain)


@pytest.mark.parametrize("part", ["length", "pixel", "crc"])
def test_a_png_is_held_to_its_check_sums(tmp_path: Path, part: str) -> None:
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "x.png", compress_level=0)
    data = bytearray((tmp_path / "x.png").read_bytes())
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4:at], "big")
    data[{"length": at - 1, "pixel": at + 60, "crc": at + 4 + length}[part]] ^= 2
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(InputRefused, match=r"x\.png"):
        read(tmp_path / "x.png")


def _gif(path: Path) -> None:
    Image.new("L", (4, 4)).save(path, "GIF")


def _many_frames(path: Path) -> None:
    """Thousands of directories that each follow the last, of one strip."""
    _frames(path)
    content = path.read_bytes()
    first = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[first:first + 2], "little")
    directory, chain = content[first:first + 2 + 12 * count], b""
    for _ in range(4_000):
        chain += directory + (len(content) + len(chain) + len(directory) + 4).to_bytes(4, "little")
    end = first + len(directory)
    path.write_bytes(content[:end] + len(content).to_bytes(4, "little") + content[end + 4:] + chain)


def _tiles(path: Path) -> None:
    """12 x 12 pixels in a tile of 32768 x 32768."""
    tags = {256: 12, 257: 12, 258: 8, 259: 1, 262: 1, 277: 1, 322: 32768, 323: 32768, 324: 8, 325: 144}
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4))


def _large(path: Path) -> None:
    Image.new("L", (4, 4)).save(path, "PNG")
    os.truncate(path, 2**31)


def _frames(path: Path) -> None:
    Image.new("L", (4, 4)).save(path, "TIFF", save_all=True, append_images=[Image.new("L", (4, 4), 9)])


def _endless_postscript(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{ } loop\nshowpage\n")


def _bomb(mode: str, side: int, kind: str = "PNG") -> Callable[[Path], None]:
    return lambda path: Image.new(mode, (side, side)).save(path, kind)


def _declared(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8191, 8191, 8, 6, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""))


def _scans(path: Path) -> None:
    out = io.BytesIO()
    Image.new("L", (3000, 3000)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    at = data.index(b"\xff\xda")
    path.write_bytes(data[:-2] + data[at:-2] * 300 + b"\xff\xd9")


@pytest.mark.parametrize("make", [_gif, _frames, _many_frames, _tiles, _large, _endless_postscript, _declared,
                                  _scans, os.mkfifo, _bomb("1", 9000), lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_picture_is_refused_unread_and_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "x.png"
    make(path)
    began = time.process_time()
    with pytest.raises(InputRefused, match=r"x\.png"):
        read(path)
    with pytest.raises(InputRefused):
        read_picture(path, Look())
    assert time.process_time() - began < 1


def test_the_bounds_of_a_set_are_those_of_its_values(tmp_path: Path) -> None:
    for name, value in (("a", 4000), ("b", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.pgm").write_bytes(b"P5 2 1 4095\n" + np.array([value, 0], ">u2").tobytes())
    cases = open_cases(tmp_path)
    assert (cases.bounds.high, cases[0].image.flatten().tolist()) == (4095, [4000, 0])
    assert {found.check: found.severity for found in audit(cases)}["pixels outside the bounds"] == "ok"


@pytest.mark.parametrize(("data", "words"), [
    (b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS pointer"),
    (b"<!doctype html><p>Log in", "is a web page, not a picture"), (b"Not Found at all", "is text, not a picture")])
def test_what_stands_for_a_picture_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(InputRefused, match=words) as caught:
        read(tmp_path / "x.png")
    assert str(caught.value).count("x.png") == 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_stretched_and_said(tmp_path: Path, bits: int) -> None:
    packed = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0))
    packed += chunk(b"IDAT", zlib.compress(b"\0" + b"\x1b" * bits)) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    pixels, how, high = read(tmp_path / "x.png")
    assert (high, "1 of 1 are stored with 1, 2 or 4 bits" in how) == (255, True)
    first = {1: [0, 0, 0, 255], 2: [0, 85, 170, 255], 4: [17, 187, 17, 187]}[bits]
    assert pixels[0, 0, :4].tolist() == first
    Image.new("L", (8, 8), 9).save(tmp_path / "y.png")
    assert "bits a pixel" not in read(tmp_path / "y.png")[1]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_opaque_is_not_transparent(tmp_path: Path, mode: str) -> None:
    Image.new("L", (4, 4), 90).convert(mode).save(tmp_path / "x.png")
    assert "transparent" not in read(tmp_path / "x.png")[1]
    assert read(tmp_path / "x.png")[0].max() == 90
