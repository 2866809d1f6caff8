"""The tags of a DICOM file, read so that an odd value is an absent one, and what they say of dose and kernel."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadyread.cases.medical import library
from steadyread.errors import InputRefused
from steadyread.findings import Finding

# What pydicom raises on damaged files.
BROKEN = (OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError, EOFError)
_DOSES_AGREE = 1.1    # ratio of the exposure tag and current x time that needs no word
_PITCH = 2.0          # ratio that a pitch explains (the tag then has effective mAs); beyond, one of them is wrong


@dataclass(frozen=True, eq=False)
class Header:
    """A file and its tags (a pydicom data set without the pixels)."""

    path: Path
    tags: Any

    def text(self, keyword: str) -> str:
        """A tag as text, several values joined by "/", "" where it is absent."""
        with quiet():
            value = self.tags.get(keyword)
        many = not isinstance(value, str) and isinstance(value, Sequence)
        return "" if value is None else "/".join(map(str, value)).strip() if many else str(value).strip()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The values of a tag as finite numbers, () where it is absent or holds others."""
        try:
            values = [float(part) for part in self.text(keyword).split("/")]
        except ValueError:
            return ()
        return tuple(values) if np.isfinite(values).all() else ()

    def number(self, keyword: str) -> float | None:
        """The first of `numbers`, None where there is none."""
        return next(iter(self.numbers(keyword)), None)

    def positive(self, keyword: str) -> float | None:
        """The number of a tag where it is above 0."""
        value = self.number(keyword)
        return value if value is not None and value > 0 else None


def read_header(path: Path) -> Header | None:
    """The tags of a file without its pixels, None where it is no DICOM file.

    Raises:
        InputRefused: a DICOM file that cannot be read whole, or pydicom is not installed.
    """
    library = pydicom()
    try:
        with quiet(), path.open("rb") as file:
            return Header(path, library.dcmread(file, stop_before_pixels=True))
    except library.errors.InvalidDicomError:
        return None
    except BROKEN as problem:
        raise InputRefused(f"{path}: a DICOM file that cannot be read whole ({said(problem)})") from None


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
    """The first line of an exception."""
    return str(problem).splitlines()[0] if str(problem) else type(problem).__name__


def pydicom() -> Any:
    """The library. InputRefused where it is not installed."""
    return library("pydicom", "DICOM files")


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _product(header: Header) -> float | None:
    """Tube current (mA) x exposure time (ms) in mAs."""
    current, time = header.positive("XRayTubeCurrent"), header.positive("ExposureTime")
    return current * time / 1000 if current and time else None
