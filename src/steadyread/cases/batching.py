"""Cases into batches."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from steadyread.cases.case_set import Cases
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Batch, Bounds, Case, Labels, alike

T = TypeVar("T")


def collate(cases: Sequence[Case], bounds: Bounds) -> tuple[Batch, Labels]:
    """Cases of one shape as a batch with its labels (n,).

    Raises:
        InputRefused: images of different shapes.
    """
    if not cases:
        raise UsageError("a batch needs at least one case")
    first = cases[0]
    other = next((case for case in cases if case.image.shape != first.image.shape), None)
    if other is not None:
        raise InputRefused(f"case '{other.id}' has the shape {tuple(other.image.shape)}, case '{first.id}' "
                           f"{tuple(first.image.shape)}; {alike(first.image.shape, other.image.shape)}")
    spacing = tuple(case.spacing_mm for case in cases)
    batch = Batch(torch.stack([case.image for case in cases]), tuple(case.id for case in cases), bounds,
                  spacing if any(spacing) else None, _told(tuple(case.native for case in cases)),
                  _told(tuple(case.scan_mas for case in cases)))
    return batch, torch.tensor([case.label for case in cases], dtype=torch.int64)


def _told(values: tuple[T | None, ...]) -> tuple[T | None, ...] | None:
    """The values, or None where none is known."""
    return values if any(value is not None for value in values) else None


def batches(cases: Cases, size: int) -> Iterator[tuple[list[Case], Batch, Labels]]:
    """The cases in order, `size` at a time, read as they are needed."""
    if size < 1:
        raise UsageError(f"a batch needs at least one case; got a size of {size}")
    for start in range(0, len(cases), size):
        held = [cases[index] for index in range(start, min(start + size, len(cases)))]
        yield held, *collate(held, cases.bounds)
