"""What is known of one image without reading it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

Pixels = NDArray[Any]
NOTHING: Mapping[str, object] = MappingProxyType({})


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
