"""The tags of a DICOM file, read so that an odd value is an absent one, and what they say of dose and kernel."""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.findings import Finding

# What a file may have: 4096 x 4096 pixels of 16 bits are 32 MiB, 340 slices of 512 x 512 in one file 170.
_LARGEST = 192 * 2**20
_CHUNK = 2**20
_DEFLATED = "1.2.840.10008.1.2.1.99"
_ITEMS, _MOST_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"), 20_000   # each becomes a data set in memory
_MOST_TAGS = 20_000
_DESCRIBING, _MOST_DESCRIBED = (0x0008, 0x0018, 0x0020, 0x0028), 2**20   # groups that are read, bytes of a value
_PIXELS, _UNDEFINED = (0x7FE00008, 0x7FE00009, 0x7FE00010), 0xFFFFFFFF
_GROUPS = (0x0002, 0x0008)    # with which a data set begins
# A number, with its unit behind it where someone wrote that too.
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?:mm|mas|ma|ms|kvp?|hu)?\s*", re.I | re.ASCII)
_STORED, _HEAD = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(\d+(?:\.\d+)*)"), 1024
_DOSES_AGREE = 1.1    # ratio of the exposure tag and current x time that needs no word
_PITCH = 2.0          # ratio that a pitch explains (the tag then has effective mAs); beyond, one of them is wrong


@dataclass(frozen=True, eq=False)
class Header:
    """A file and its tags (a pydicom data set without the pixels)."""

    path: Path
    tags: Any

    def text(self, keyword: str) -> str:
        """A tag as text, several values joined by "/", "" where it is absent."""
        try:
            with quiet():
                value = self.tags.get(keyword)
        except Exception:  # pydicom turns values when they are asked for, and raises many kinds on odd ones
            return ""
        many = not isinstance(value, str) and isinstance(value, Sequence)
        return "" if value is None else "/".join(map(str, value)).strip() if many else str(value).strip()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The values of a tag as finite numbers, () where it is absent or holds others."""
        parts = [_NUMBER.fullmatch(part) for part in self.text(keyword).split("/")]
        values = tuple(float(part[1]) for part in parts if part is not None)
        return values if len(values) == len(parts) and np.isfinite(values).all() else ()

    def number(self, keyword: str) -> float | None:
        """The one value of `numbers`, None where there is none, or several that differ."""
        values = set(self.numbers(keyword))
        return values.pop() if len(values) == 1 else None

    def positive(self, keyword: str) -> float | None:
        """The number of a tag where it is above 0."""
        value = self.number(keyword)
        return value if value is not None and value > 0 else None


def read_header(path: Path, keywords: Sequence[str] | None = None) -> Header | None:
    """The tags of a file without its pixels, None where it is no DICOM file; of these `keywords` only, where stated.

    A data set without the preamble of PS3.10 (128 bytes and DICM) is read too, as older programs wrote it.

    Raises:
        InputRefused: a DICOM file that cannot be read whole or would unpack to more than a slice can have, or
            pydicom is not installed.
    """
    pydicom()
    with broken_is_refused(path, "a DICOM file that cannot be read whole"), quiet(), path.open("rb") as file:
        start = file.read(_CHUNK // 16)
        if start[128:132] != b"DICM" and not _begins_a_data_set(start):
            return None
        _refuse_large(path, file)
        file.seek(0)
        return Header(path, _tags(path, file, False, keywords))


def stored_as(path: Path) -> str:
    """What a file says that it is in its first bytes: the uid of its storage class (PS3.4 B.5) behind
    1.2.840.10008.5.1.4.1.1., such as 2 for CT; "" where it says nothing or cannot be opened."""
    try:
        with path.open("rb") as file:
            found = _STORED.search(file.read(_HEAD))
    except OSError:
        return ""
    return "" if found is None else found[1].decode()


def whole(path: Path) -> Any:
    """The data set of a file with its pixels, its transfer syntax stated where the file leaves that out.

    Raises:
        pydicom's and other exceptions: a damaged file.
    """
    with path.open("rb") as file:
        tags = _tags(path, file, True)
    if "TransferSyntaxUID" not in tags.file_meta:
        implicit, little = tags.original_encoding
        names = pydicom().uid
        tags.file_meta.TransferSyntaxUID = (
            names.ImplicitVRLittleEndian if implicit else names.ExplicitVRLittleEndian if little
            else names.ExplicitVRBigEndian)
    return tags


@contextmanager
def broken_is_refused(path: Path, problem: str) -> Iterator[None]:
    """Turns what pydicom raises on damaged files into one refusal that names the file."""
    try:
        yield
    except InputRefused:
        raise
    except Exception as broken:  # pydicom and its decoders raise many kinds
        raise InputRefused(f"{path}: {problem} ({said(broken)})") from None


def doses(headers: Sequence[Header]) -> tuple[tuple[float | None, ...], list[Finding]]:
    """mAs a slice, and what makes it doubtful.

    The Exposure tag (0018,1152), or ExposureInuAs, counts; where there is none, or none that a pitch reconciles
    with it (effective mAs are mAs over pitch), tube current x exposure time.
    """
    tags = [header.positive("Exposure") or _thousandth(header.positive("ExposureInuAs")) for header in headers]
    made = [_product(header) for header in headers]
    ratios = [max(tag / product, product / tag) if tag and product else 1.0
              for tag, product in zip(tags, made, strict=True)]
    taken = tuple(product if tag is None or ratio > _PITCH else tag
                  for tag, product, ratio in zip(tags, made, ratios, strict=True))
    worst = int(np.argmax(ratios))
    findings = []
    if ratios[worst] > _DOSES_AGREE:
        wrong = ratios[worst] > _PITCH
        findings.append(Finding("dose", "warning" if wrong else "note", (
            f"{headers[worst].path.name}: the Exposure tag says {tags[worst]:g} mAs, current x time is "
            f"{made[worst]:.4g} mAs; the {'latter' if wrong else 'former'} is taken"
            f"{'' if wrong else ' (effective mAs, as a pitch makes them)'}: state --mas if you know better"),
            taken[worst]))
    known = [dose for dose in taken if dose is not None]
    if len(known) < len(taken):
        findings.append(Finding("dose", "warning", f"the tags of {len(taken) - len(known)} slices hold no dose "
                                "(Exposure, or current and time): state it with --mas"))
    elif max(known) > _DOSES_AGREE * min(known):
        findings.append(Finding("dose", "note", f"the tube load varies from {min(known):g} to {max(known):g} mAs "
                                "over the slices; the dose is that of the slices whose regions are taken"))
    return taken, findings


def facts(headers: Sequence[Header]) -> dict[str, object]:
    """What the tags say of scanner and settings, as the first slice has it; `of_patient` where they hold an age."""
    first = headers[0]
    return {"manufacturer": first.text("Manufacturer"), "model": first.text("ManufacturerModelName"),
            "kernel": first.text("ConvolutionKernel"), "kvp": first.number("KVP"),
            "slice_thickness_mm": first.number("SliceThickness"),
            "series_uids": sorted({header.text("SeriesInstanceUID") for header in headers}),
            **({"of_patient": True} if any(header.text("PatientAge") for header in headers) else {})}


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom warns of every value that bends the standard; what matters here is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def said(problem: BaseException) -> str:
    """An exception in one line."""
    return " ".join(str(problem).split())[:200] or type(problem).__name__


def pydicom() -> Any:
    """The library. InputRefused where it is not installed."""
    return library("pydicom", "medical", "DICOM files are read with")


def _begins_a_data_set(start: bytes) -> bool:
    """Whether bytes are an element of one of the first groups: tag, and a VR or the length of a short value."""
    if len(start) < 8:
        return False
    for order in "<>":
        group, _, length = struct.unpack(f"{order}HHI", start[:8])
        if group in _GROUPS and ((start[4:6].isalpha() and start[4:6].isupper()) or length <= _CHUNK):
            return True
    return False


def _refuse_large(path: Path, file: IO[bytes]) -> None:
    """Refuses what is larger than a slice can be, as it is or once inflated (PS3.5 A.5), or holds more items."""
    size = path.stat().st_size
    if size > _LARGEST:
        raise InputRefused(f"{path}: {size} bytes; expected one image a file, of {_LARGEST} bytes at most")
    size, items, before = 0, 0, b""
    for piece in _pieces(file):
        size += len(piece)
        items += sum((before + piece).count(item) - before.count(item) for item in _ITEMS)
        before = piece[-3:]
        if size > _LARGEST:
            raise InputRefused(f"{path}: its deflated data unpack to more than {_LARGEST} bytes, which no image "
                               "has: taken for a decompression bomb and not read")
        if items > _MOST_ITEMS:
            raise InputRefused(f"{path}: it holds more than {_MOST_ITEMS} items of sequences, which no image has")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """What follows the meta information as pydicom finds it, inflated where that says so."""
    reader = pydicom().filereader
    file.seek(0)
    reader.read_preamble(file, force=True)
    syntax = reader._read_file_meta_info(file).get("TransferSyntaxUID")
    if syntax != _DEFLATED:
        while piece := file.read(_CHUNK):
            yield piece
        return
    reader._read_command_set_elements(file)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    while not stream.eof and (packed := stream.unconsumed_tail or file.read(_CHUNK)):
        yield stream.decompress(packed, _CHUNK)


def _tags(path: Path, file: IO[bytes], pixels: bool, keywords: Sequence[str] | None = None) -> Any:
    """The data set of a file, refused while it is read where it has more, or larger, tags than a slice."""
    place = count()

    def enough(tag: int, _: str | None, length: int) -> bool:
        if next(place) > _MOST_TAGS or (tag >> 16 in _DESCRIBING and _MOST_DESCRIBED < length < _UNDEFINED):
            raise InputRefused(f"{path}: it holds more tags, or larger ones, than the description of a slice has")
        return not pixels and tag in _PIXELS

    kept = None if keywords is None else [pydicom().tag.Tag(keyword) for keyword in keywords]
    return pydicom().filereader.read_partial(file, enough, force=True, specific_tags=kept)


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _product(header: Header) -> float | None:
    """Tube current (mA) x exposure time (ms) in mAs."""
    current, time = header.positive("XRayTubeCurrent"), header.positive("ExposureTime")
    return current * time / 1000 if current and time else None
