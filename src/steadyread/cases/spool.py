"""Prepared pixels kept in a nameless file, so that epochs do not decode and resample again."""

import os
import tempfile
from dataclasses import replace

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.readable import NO_CASE
from steadyread.cases.row import Pixels, Row
from steadyread.errors import InputRefused, Partial
from steadyread.types import alike


def spooled(cases: Cases) -> Cases:
    """The same cases, each read once, at its first use, and from a nameless temporary file afterwards.

    Memory stays flat: the file is mapped, not held. It lies in the folder that TMPDIR names and is gone
    with the process.

    Raises:
        InputRefused: images of different shapes (when such a one is read).
        Partial: no room for the file.
    """
    if not cases.rows:
        return cases
    shape = _shape(cases)
    with tempfile.TemporaryFile() as temporary:  # the map outlives the open file
        _reserve(temporary.fileno(), 4 * len(cases) * int(np.prod(shape)))
        held = np.memmap(temporary, np.float32, "w+", 0, (len(cases), *shape))
    places = {row.id: place for place, row in enumerate(cases.rows)}
    read = np.zeros(len(cases), bool)

    def load(row: Row) -> Pixels:
        place = places[row.id]
        if not read[place]:
            pixels = cases.load(row)
            if pixels.shape != shape:
                raise InputRefused(f"{row.where or row.id}: shape {pixels.shape}, where the first image has "
                                   f"{shape}; {alike(shape, pixels.shape)}")
            held[place] = pixels
            read[place] = True
        return np.asarray(held[place])

    return replace(cases, load=load)


def _shape(cases: Cases) -> tuple[int, ...]:
    """Of the first image that can be read; where none can, what the first raises."""
    first: Exception | None = None
    for row in cases.rows:
        try:
            return tuple(cases.load(row).shape)
        except NO_CASE:
            raise
        except Exception as problem:   # of a reader of the user's own; `readable` names them
            first = first or problem
    raise first or InputRefused("no images")


def _reserve(file: int, size: int) -> None:
    """Room on the disk now: writing into a map of a file without room kills the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as problem:
        raise Partial(f"no room for {size:,} bytes of images in {tempfile.gettempdir()} ({problem.strerror}): "
                      "make room, or let TMPDIR name another folder, and run the same command again") from problem
