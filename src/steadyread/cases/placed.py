"""Places in CT series as cases: which series a place lies in, the box about it, and the row with what the tags say."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.boxes import Box, Size
from steadyread.cases.marks import Marks
from steadyread.cases.row import Row
from steadyread.cases.stack import Found, Stack
from steadyread.errors import InputRefused
from steadyread.names import shown

_LISTED = 3      # series that a refusal names


@dataclass(frozen=True)
class SeriesBelow:
    """The CT series below a folder, and how one of them is chosen.

    Every choice raises InputRefused where not one series fits, or where that one cannot be cut from, with the reason.
    """

    root: Path
    series: Sequence[Found]

    def of(self, uid: str) -> Stack:
        """The series of a uid."""
        return self._only(lambda each: each.uid == uid, f"the uid ...{uid[-12:]}")

    def named(self, name: str) -> Stack:
        """The series whose uid ends so, or whose folder this is."""
        return self._only(lambda each: each.uid.endswith(name) or each.folder == self.root / name, f"'{shown(name)}'")

    def of_patient(self, patient: str) -> Stack:
        """The only series of a patient, by the tag or the name of a folder; of all where none is named."""
        return self._only(lambda each: not patient or patient == each.patient
                          or patient in each.folder.relative_to(self.root).parts,
                          f"the patient '{shown(patient)}'" if patient else "a place that names none")

    def with_image(self, uid: str) -> Stack:
        """The series that a slice belongs to."""
        return self._only(lambda each: each.stack is not None and uid in each.stack.uids, f"the image ...{uid[-12:]}")

    def in_frame(self, frame: str) -> Stack:
        """The only series of a frame of reference; of all where none is named."""
        return self._only(lambda each: not frame or (each.stack is not None and each.stack.frame == frame),
                          f"the frame of reference ...{frame[-12:]}")

    def _only(self, fits: Callable[[Found], bool], sought: str) -> Stack:
        fitting = [each for each in self.series if fits(each)]
        if len(fitting) != 1:
            among = fitting or self.series
            several = ", ".join(f"...{each.uid[-12:]} ({each.slices} slices)" for each in among[:_LISTED])
            raise InputRefused(f"{len(fitting)} CT series below {self.root} are those of {sought}; name one by its uid "
                               f"or folder: {several or 'there is none'}{' ...' if len(among) > _LISTED else ''}")
        if fitting[0].stack is None:
            raise InputRefused(fitting[0].problem)
        return fitting[0].stack


def about(stack: Stack, size: Size, centre: NDArray[np.float64], marks: Marks | None = None) -> Box:
    """The box about a place in voxels (z, y, x).

    Raises:
        InputRefused: the place lies outside the series.
    """
    beyond = float((np.maximum(-0.5 - centre, centre - np.array(stack.shape) + 0.5) * stack.spacing_mm).max())
    if beyond > 0:
        raise InputRefused(f"the place lies {beyond:.0f} mm outside the series ...{stack.uid[-12:]}: are its "
                           "coordinates the patient's in mm (LPS, or state coordinates = \"RAS\")?")
    return Box(size, stack, tuple(map(float, centre)), marked=marks)


def boxed(place: Callable[[], Box], size: Size, where: str) -> Box:
    """The box that is made, or one with the reason why there is none."""
    try:
        return place()
    except InputRefused as problem:
        return Box(size, None, problem=f"{where}: {problem}")


def told_doses(series: Iterable[Found]) -> tuple[str, ...]:
    """A sentence on the series whose tags contradict each other about the dose, or hold none."""
    doubts = [(each, each.stack.doubts[0]) for each in series if each.stack is not None and each.stack.doubts]
    return (f"the dose of {len(doubts)} series is doubtful, such as of ...{doubts[0][0].uid[-12:]}: {doubts[0][1]}",) \
        if doubts else ()


def row_of(name: str, label: str, where: str, box: Box, extras: Mapping[str, object]) -> Row:
    """A case, its label not numbered yet, with the columns that its series' tags and its marks fill; its own patient
    where the tags name none."""
    columns, dose, stack, patient = dict(extras), None, box.volume, name
    if isinstance(stack, Stack):
        dose, patient = stack.mas_of(box.used), shown(stack.patient) or name
        columns |= {**stack.facts, **box.facts(), "series_uid": stack.uid}
        columns |= {"exposure_mas": dose} if dose else {}
    if isinstance(box.marked, Marks):
        columns["diameter_mm"] = math.cbrt(6 * box.marked.volume_mm3 / math.pi)    # of a ball of that volume
    return Row(name, patient, None, label, (box.size.spacing_mm,) * 3, "", box, where, columns, (1, *box.size.extents),
               dose, box.beyond)
