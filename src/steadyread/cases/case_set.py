"""A set of cases: rows that are cheap to hold, and one function that reads a row's pixels when asked."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from steadyread.errors import InputRefused
from steadyread.types import Bounds, Case, NativeGrid

Pixels = NDArray[Any]
NOTHING: Mapping[str, object] = MappingProxyType({})
UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one image without reading it.

    `label` is the class index, None where the labelling rule gives none; `raw_label` is what the data set
    itself says. `shape` is (channels, *space) where known without decoding; `spacing_mm` has one value an
    axis of space. `source` is whatever the loader needs; `where` names the row for messages. `scan_mas` is the
    dose that a CT was taken at, None where unknown. `beyond` counts the image's pixels that lie beyond the scan
    (padding), at either end of each axis of space; None where that is unknown.
    """

    id: str
    patient: str
    label: int | None
    raw_label: str
    spacing_mm: tuple[float, ...] | None = None
    part: str = ""
    source: Any = None
    where: str = ""
    extras: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    shape: tuple[int, ...] | None = None
    scan_mas: float | None = None
    beyond: tuple[tuple[int, int], ...] | None = None


def unknown_grid(row: Row) -> NativeGrid | None:
    """No grid: what `Cases.native` says where a reader does not know the scanner's."""
    return None


def unknown_mask(row: Row) -> Pixels | None:
    """No mask: what `Cases.mask` says where a reader does not know what an image shows where."""
    return None


@dataclass(frozen=True, eq=False)
class Cases(torch.utils.data.Dataset[Case]):
    """A map-style dataset of `Case`: pixels are read when a case is, never held.

    Args:
        name: what the report calls the data.
        rows: one `Row` a case.
        load: reads a row's pixels, (channels, *space) in native units.
        classes: the names of labels 0, 1, ...
        bounds: the native range of the pixels, with its unit.
        patients_known: False where each image counts as its own patient.
        missing: one message for each row of the data set whose file is not there.
        unread: why the image of a case cannot be read, by id; such cases are not among the rows.
        notes: what a reader decided that a person should know (grey or colour, rows set aside).
        synthetic: True for made images, to be said wherever they are shown.
        native: the scanner's grid below a row's image, made when asked; None where it is unknown.
        fold: of a cross-validation, which one this is.
        mask: where in a row's image the finding lies that it is labelled for, (*space) of the image, 0 outside;
            read when asked, None where it is unknown.
        warnings: what came out otherwise than asked, such as a split.
    """

    name: str
    rows: tuple[Row, ...]
    load: Callable[[Row], Pixels]
    classes: tuple[str, ...]
    bounds: Bounds
    patients_known: bool = False
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    native: Callable[[Row], NativeGrid | None] = unknown_grid
    fold: int | None = None
    mask: Callable[[Row], Pixels | None] = unknown_mask
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Case:
        """The case at `index`; an unlabelled one (see `open_cases(every_row=True)`) has the label -1.

        Raises:
            InputRefused: the pixels cannot be read, or are not all finite.
        """
        row = self.rows[index]
        pixels = self.load(row)
        refuse_non_finite(pixels, row)
        image = torch.from_numpy(np.array(pixels, dtype=np.float32, order="C"))
        label = UNLABELLED if row.label is None else row.label
        return Case(row.id, image, label, row.patient, row.spacing_mm, row.part, row.extras, self.native(row),
                    row.scan_mas)

    def pick(self, indices: Iterable[int]) -> "Cases":
        """The cases at `indices`, in that order."""
        return replace(self, rows=tuple(self.rows[int(index)] for index in indices))

    def part(self, name: str) -> "Cases":
        """The cases of the part train, validation or test; none where the set has no such part."""
        return replace(self, rows=tuple(row for row in self.rows if row.part == name))

    @classmethod
    def from_arrays(cls, images: object, labels: object, **stated: Any) -> "Cases":
        """Cases of images in memory: see `cases.given.from_arrays`; `bounds` must be stated."""
        from steadyread.cases.given import from_arrays

        return from_arrays(images, labels, **stated)

    @classmethod
    def from_dataset(cls, dataset: Any, **stated: Any) -> "Cases":
        """Cases of a torch data set or loader: see `cases.given.from_dataset`; `bounds` must be stated."""
        from steadyread.cases.given import from_dataset

        return from_dataset(dataset, **stated)

    def labelled(self) -> "Cases":
        """The cases that have a label."""
        return replace(self, rows=tuple(row for row in self.rows if row.label is not None))

    def counts(self) -> dict[str, int]:
        """How many cases each class has, in the order of the classes."""
        found = dict.fromkeys(self.classes, 0)
        for row in self.rows:
            if row.label is not None:
                found[self.classes[row.label]] += 1
        return found


def beside(first: Cases, second: Cases) -> Cases:
    """The cases of two sets, each read by its own reader; name, classes and bounds are those of the first."""
    sets = (first, second)
    rows = tuple(replace(row, source=(place, row)) for place, cases in enumerate(sets) for row in cases.rows)
    return replace(first, rows=rows, load=lambda row: sets[row.source[0]].load(row.source[1]),
                   native=lambda row: sets[row.source[0]].native(row.source[1]),
                   mask=lambda row: sets[row.source[0]].mask(row.source[1]),
                   patients_known=first.patients_known and second.patients_known,
                   missing=first.missing + second.missing, notes=first.notes + second.notes,
                   warnings=first.warnings + second.warnings)


def refuse_non_finite(pixels: Pixels, row: Row) -> None:
    """Refuses an image with pixels that are no numbers.

    Raises:
        InputRefused: NaN or infinite pixels, with the row and how many.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int(np.size(pixels) - np.isfinite(pixels).sum())
        raise InputRefused(f"{row.where or row.id}: case '{row.id}' has {count} NaN or infinite pixels; "
                           "mend or drop that image")


def fingerprint(cases: Cases) -> str:
    """SHA-256 over every case's id, patient, label, part and pixels (read one at a time)."""
    digest = hashlib.sha256()
    for row in cases.rows:
        pixels = np.ascontiguousarray(cases.load(row))
        told = (row.id, row.patient, row.label, row.part, pixels.shape, pixels.dtype.str)
        digest.update(repr(told).encode())
        digest.update(pixels.data)
    return digest.hexdigest()


def image_marks(cases: Cases) -> tuple[str, ...]:
    """A short digest of each case's pixels (48 bits), by which an image is known again under another name."""
    marks = []
    for row in cases.rows:
        pixels = np.ascontiguousarray(cases.load(row))
        told = repr((pixels.shape, pixels.dtype.str)).encode()
        marks.append(hashlib.sha256(told + pixels.tobytes()).hexdigest()[:12])
    return tuple(marks)


def patient_marks(cases: Cases) -> tuple[str, ...]:
    """A short digest of each case's patient, which names nobody; none where patients are not known."""
    if not cases.patients_known:
        return ()
    return tuple(hashlib.sha256(row.patient.encode()).hexdigest()[:12] for row in cases.rows)
