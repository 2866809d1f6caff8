"""The cases of a page as one block of data, which its scripts and the viewer read: a row a case, pictures of some.

Pixels are deflated integers in base64, in the order (case, channel, *space). Images of 16 bits are row-differenced
along the last axis, wrapping; a difference d is stored as 2d or, below 0, as -2d - 1, first the lower bytes of all of
them, then the higher ones, which takes a fifth less than the numbers as they are:

    code = bytes[at] | bytes[half + at] << 8;  d = (code >>> 1) ^ -(code & 1);  value = (value + d) << 16 >> 16
"""

import base64
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadyread.errors import InputRefused
from steadyread.metrics.intervals import Floats, Ints
from steadyread.pictured import STEPS, Whole
from steadyread.units import Bounds, unit_word

VERSION = 1
CASE_DATA = "case-data"      # the id of the block in the page
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)     # of noise the second takes less
_MOST = 65_535               # a probability of 1
_CT_WINDOWS = (("lung", -1350.0, 150.0), ("soft tissue", -160.0, 240.0), ("bone", -500.0, 1300.0))
_ENDS = (1, 99)              # per cent of the pixels, which a window leaves out below and above
_LEAST_WINDOW = 0.9          # of the range; a window wider than that shows what the whole range does
_SHADES = 4096               # of the range, which are told apart in images that are not of whole numbers


@dataclass(frozen=True)
class Axis:
    """What a case is moved along: the size of a change of any pixel (`flip`), or the dose of CT noise (`dose`).

    Sizes are native; a script that shows them multiplies by `per`. `log` says how they are spread.
    """

    title: str
    unit: str
    kind: Literal["flip", "dose"] = "flip"
    per: float = 1.0
    log: bool = True


@dataclass(frozen=True)
class Window:
    """What is shown from black to white, native values."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Walk:
    """What the network says along the way: `probability` (p, k, classes) of the p pictured cases at the k values `at`,
    which are multiples of the case's own flip along the found change, or doses (mAs) of which one redraw is stored."""

    at: tuple[float, ...]
    probability: Floats


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pictures of p cases: `image` and, as int8, `change`, both (p, c, *space). A change is in 1/127 of the case's
    flip; under CT noise it is one draw, which is common to the doses, in steps of `scale` (p, doses) native units."""

    image: Whole
    change: NDArray[np.int8]
    scale: Floats | None = None


@dataclass(frozen=True, eq=False)
class CaseData:
    """The cases of one network of one data set, n in all, a value each: `id` and `patient` as the page may name them,
    `truth` and `read` the classes (-1 unknown or undecided), `sure` the probability of the read, `flip` the size (or
    the mAs) that changes the read, NaN or inf where none was found, `fold` that tests it (-1 without folds),
    `pictured` the place in `pixels` and `walk`, -1 without a picture.

    `total`, `patients` and `images` count what was assessed, which may be more than the rows here. `noise` is the SD of
    the noise in these images, native units. `positive` is the class that is searched for, None where there are several.
    """

    axis: Axis
    classes: tuple[str, ...]
    bounds: Bounds
    id: Sequence[str]
    patient: Sequence[str]
    truth: Ints
    read: Ints
    sure: Floats
    flip: Floats
    fold: Ints
    pictured: Ints
    total: int
    patients: int
    windows: tuple[Window, ...] = ()
    pixels: Pixels | None = None
    walk: Walk | None = None
    threshold: float = 0.5
    noise: float | None = None
    set: str = ""
    synthetic: bool = False
    patients_known: bool = True

    @property
    def positive(self) -> int | None:
        """The class that is searched for: the second of two."""
        return 1 if len(self.classes) == 2 else None

    @property
    def pictured_ids(self) -> frozenset[str]:
        """The cases with a picture."""
        return frozenset(name for name, at in zip(self.id, self.pictured, strict=True) if at >= 0)

    def patients_of(self, ids: Collection[str]) -> int:
        """How many patients so many cases are of; those that are not in the table are of one each."""
        known = dict(zip(self.id, self.patient, strict=True))
        return len({known.get(name, f"of {name}") for name in ids})

    def as_json(self) -> dict[str, Any]:
        """The block as plain values; see the module for the pixels."""
        shown = self.pictured_ids
        block: dict[str, Any] = {
            "version": VERSION, "axis": asdict(self.axis), "classes": list(self.classes), "positive": self.positive,
            "threshold": self.threshold, "bounds": [self.bounds.low, self.bounds.high],
            "unit": unit_word(self.bounds.unit), "noise": self.noise,
            "windows": [asdict(each) for each in self.windows], "set": self.set,
            "synthetic": self.synthetic, "patients_known": self.patients_known,
            "total": self.total, "patients": self.patients, "images": len(shown),
            "patients_pictured": self.patients_of(shown), "cases": self._rows()}
        if self.pixels is not None:
            image, change = self.pixels.image, self.pixels.change
            block |= {"shape": list(image.values.shape[2:]), "channels": image.values.shape[1], "pixels": {
                "image": {"type": "int16", "scale": image.scale, "offset": image.offset,
                          "data": packed(coded(image.values))},
                "change": {"type": "int8", "data": packed(change),
                           **({} if self.pixels.scale is None else {
                               "scale": [_numbers(row) for row in self.pixels.scale]})}}}
        if self.walk is not None:
            block["walk"] = {"at": list(self.walk.at), "probability": packed(levels(self.walk.probability))}
        return block

    def _rows(self) -> dict[str, list[Any]]:
        """The columns of the table; what is no number is null."""
        return {"id": list(self.id), "patient": list(self.patient), "truth": _whole(self.truth),
                "read": _whole(self.read), "sure": _numbers(self.sure), "flip": _numbers(self.flip),
                "fold": _whole(self.fold), "pictured": self.pictured.tolist()}


def for_a_page(image: Whole, bounds: Bounds) -> Whole:
    """Images in steps that a page has room for: whole numbers as they are; others of HU in whole HU, and others in
    1/4096 of the range."""
    return image if image.scale == 1 else Whole.of(image.native, bounds, 1.0 if bounds.unit == "HU" else
                                                   bounds.range / _SHADES)


def axis_of(dose: bool, bounds: Bounds) -> Axis:
    """What the cases of a network are moved along: under CT noise alone the `dose`."""
    if dose:
        return Axis("dose of the noise", "mAs", "dose")
    return Axis("largest change of any pixel", unit_word(bounds.unit))


def windows_of(bounds: Bounds, image: Whole | None = None) -> tuple[Window, ...]:
    """The windows offered: the whole range; of CT those that a radiologist knows, as far as these images reach into
    them; of other images all but the darkest and the brightest hundredth of the pixels, where that is less."""
    full = Window("full", bounds.low, bounds.high)
    if bounds.unit == "HU":
        return full, *(Window(*known) for known in _CT_WINDOWS
                       if 2 * (min(known[2], bounds.high) - max(known[1], bounds.low)) >= known[2] - known[1])
    if image is None or not image.values.size:
        return (full,)
    low, high = (float(end) for end in np.percentile(image.values, _ENDS) * image.scale + image.offset)
    narrow = 0 < high - low < _LEAST_WINDOW * bounds.range
    return (full, Window(f"{_ENDS[0]} to {_ENDS[1]} %", low, high)) if narrow else (full,)


def levels(probability: Floats) -> NDArray[np.uint16]:
    """Probabilities as the block has them."""
    return np.rint(np.clip(np.nan_to_num(probability), 0, 1) * _MOST).astype(np.uint16)


def packed(values: NDArray[Any]) -> str:
    """Integers, little-endian, deflated by whichever strategy takes least, in base64."""
    content = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(min((_deflated(content, strategy) for strategy in _STRATEGIES), key=len)).decode()


def _deflated(content: bytes, strategy: int) -> bytes:
    squeezed = zlib.compressobj(9, strategy=strategy)
    return squeezed.compress(content) + squeezed.flush()


def coded(values: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Images of 16 bits as the block has them: (2, n), the lower bytes of the differences and the higher ones."""
    steps = values.copy()
    steps[..., 1:] -= values[..., :-1]
    code = ((steps << 1) ^ (steps >> 15)).astype("<i2")
    return np.ascontiguousarray(code).view(np.uint8).reshape(-1, 2).T


def decoded(code: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.int16]:
    """What `coded` coded."""
    both = code[0].astype(np.int32) | code[1].astype(np.int32) << 8
    steps = ((both >> 1) ^ -(both & 1)).astype(np.int16).reshape(tuple(shape))
    return np.cumsum(steps, axis=-1, dtype=np.int16)


def unpacked(text: str, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """What `packed` packed.

    Raises:
        InputRefused: it is of another size, or not deflated.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        opener = zlib.decompressobj()
        content = opener.decompress(base64.b64decode(text, validate=True), size + 1)
    except (ValueError, zlib.error) as problem:
        raise InputRefused(f"pixels must be deflated bytes in base64 ({problem})") from problem
    if len(content) != size:
        raise InputRefused(f"pixels of shape {tuple(shape)} must be {size:,} bytes; got "
                           f"{'more' if len(content) > size else f'{len(content):,}'}")
    return np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).reshape(tuple(shape))


@dataclass(frozen=True, eq=False)
class Opened:
    """The arrays of a block as a script has them: images (p, c, *space), changes at the flip (p, c, *space) or at each
    dose (p, doses, c, *space), both in native units, and probabilities (p, k, classes)."""

    images: Floats
    changes: Floats
    probability: Floats


def opened(block: Mapping[str, Any]) -> Opened:
    """The pictures of a block, opened as a script does.

    Raises:
        InputRefused: pixels of another size than the block states.
    """
    cases, pixels, walk = block["cases"], block["pixels"], block.get("walk")
    pictured = np.asarray(cases["pictured"])
    space = (int((pictured >= 0).sum()), block["channels"], *block["shape"])
    whole = decoded(unpacked(pixels["image"]["data"], "uint8", (2, math.prod(space))), space)
    images = pixels["image"]["offset"] + pixels["image"]["scale"] * whole.astype(np.float64)
    change = unpacked(pixels["change"]["data"], "int8", space).astype(np.float64)
    if "scale" in pixels["change"]:
        step = np.asarray(pixels["change"]["scale"])
        changes = change[:, None] * step.reshape(*step.shape, *[1] * (change.ndim - 1))
    else:
        flips = np.zeros(len(change))
        for size, at in zip(cases["flip"], pictured, strict=True):
            flips[at] = (size or 0.0) if at >= 0 else flips[at]
        changes = change / STEPS * flips.reshape(-1, *[1] * (change.ndim - 1))
    chance = (unpacked(walk["probability"], "uint16", (space[0], len(walk["at"]), len(block["classes"]))) / _MOST
              if walk else np.zeros((space[0], 0, len(block["classes"]))))
    return Opened(images, changes, chance)


def _whole(values: Ints) -> list[int | None]:
    return [None if value < 0 else int(value) for value in values]


def _numbers(values: ArrayLike) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in np.asarray(values).tolist()]
