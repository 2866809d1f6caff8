"""A set of cases: rows that are cheap to hold, and one function that reads a row's pixels when asked."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, Unpack

import numpy as np
import torch

from steadyread.cases.data_sets import of_dataset
from steadyread.cases.given import Known, Valid, of_arrays
from steadyread.cases.row import Pixels, Row
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds, Case, NativeGrid

UNLABELLED = -1


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
    def from_arrays(cls, images: object, labels: object, *, bounds: Valid, **known: Unpack[Known]) -> Self:
        """Cases of images that are in memory.

        Args:
            images: (n, c, *space) in native units; grey ones may be (n, h, w), and colour may stand last, (n, h, w, 3).
            labels: one class index an image, (n,).
            bounds: the valid native values, (low, high), (low, high, unit) or `Bounds`.
            known: patients, classes, parts, ids, spacing_mm, channels, name: see `cases.given.Known`.

        Raises:
            InputRefused, UsageError: not as stated here.
        """
        return cls(**of_arrays(images, labels, bounds, known))

    @classmethod
    def from_dataset(cls, dataset: Any, *, bounds: Valid, **known: Unpack[Known]) -> Self:
        """Cases of a torch data set or loader. Its items are (image, label, ...), or a mapping with an image and a
        label by their usual names, or `Case`s; images are tensors, arrays or pictures in native units, as its
        transforms leave them. A data set of Hugging Face's declares its columns itself, and its `DatasetDict` its
        parts; one of medmnist's without a transform is taken as stored.

        Every item is read once for its label; its image is read again when it is assessed, unless the set can only be
        gone through (then all images are held). Of a loader the data set is taken, in its own order, unless the loader
        puts batches together in a way of its own. The other arguments are those of `from_arrays`; classes are the data
        set's own (`classes`) unless stated.

        Raises:
            InputRefused: items of another kind; an image that is another one each time it is read, as one is that is
                augmented at random; negative values where the bounds have none, as normalised images have (state
                `normalised`).
        """
        return cls(**of_dataset(dataset, bounds, known))

    @classmethod
    def of(cls, data: object, *, bounds: Valid | None = None, **known: Unpack[Known]) -> "Cases":
        """Cases of whatever a caller has: `Cases` as they are, (images, labels), or a torch data set or loader.

        Raises:
            UsageError: no bounds for images that bring none, or bounds beside cases that have them.
        """
        if isinstance(data, Cases):
            stated = [*known, *(["bounds"] if bounds is not None else [])]
            if stated:
                raise UsageError(f"{', '.join(stated)}: these cases say that themselves; leave it out")
            return data
        if bounds is None:
            raise UsageError("bounds: state the valid values of the images, such as bounds=(-1000, 400, 'HU') or "
                             "(0, 1)")
        if isinstance(data, tuple | list) and len(data) == 2:
            return cls.from_arrays(data[0], data[1], bounds=bounds, **known)
        if hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
            return cls.from_dataset(data, bounds=bounds, **known)
        raise UsageError("data must be Cases, (images, labels), or a torch Dataset or DataLoader; got "
                         f"{type(data).__name__}")

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


@dataclass(frozen=True)
class Fingerprints:
    """By what images are known again: a SHA-256 over all, and a short one of each case's pixels (48 bits) by its id."""

    whole: str
    marks: Mapping[str, str]


def fingerprints(cases: Cases) -> Fingerprints:
    """Those of the cases: over every case's id, patient, label, part and pixels (read one at a time)."""
    digest, marks = hashlib.sha256(), {}
    for row in cases.rows:
        pixels = np.ascontiguousarray(cases.load(row))
        told = (row.id, row.patient, row.label, row.part, pixels.shape, pixels.dtype.str)
        digest.update(repr(told).encode())
        digest.update(pixels.data)
        marks[row.id] = _mark(pixels)
    return Fingerprints(digest.hexdigest(), marks)


def fingerprint(cases: Cases) -> str:
    """That over all of the cases."""
    return fingerprints(cases).whole


def image_marks(cases: Cases) -> tuple[str, ...]:
    """A short digest of each case's pixels (48 bits), by which an image is known again under another name."""
    return tuple(_mark(np.ascontiguousarray(cases.load(row))) for row in cases.rows)


def _mark(pixels: Pixels) -> str:
    told = repr((pixels.shape, pixels.dtype.str)).encode()
    return hashlib.sha256(told + pixels.tobytes()).hexdigest()[:12]


def patient_marks(cases: Cases) -> tuple[str, ...]:
    """A short digest of each case's patient, which names nobody; none where patients are not known."""
    if not cases.patients_known:
        return ()
    return tuple(hashlib.sha256(row.patient.encode()).hexdigest()[:12] for row in cases.rows)
