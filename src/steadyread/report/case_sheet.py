"""One case of a run as a sheet of pictures: its image, the change that flips its read, and the changed image."""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from steadyread.charts import Cell, Row, Sheet, sheet
from steadyread.charts.pictures import amplification, change, picture
from steadyread.errors import InputRefused
from steadyread.metrics.case_rows import CaseRows
from steadyread.metrics.intervals import Floats
from steadyread.metrics.plan import bounds_of, class_names, threshold_of
from steadyread.metrics.reads import CT_NOISE
from steadyread.names import shown
from steadyread.pictured import Pictured, Walk
from steadyread.report.cases import ShownCases, Source, shown_cases
from steadyread.report.shareable import AS_IT_IS
from steadyread.store import Opened
from steadyread.units import Bounds
from steadyread.words.answer import size_shown
from steadyread.words.numbers import percent

_SIDE = 200.0       # units of a sheet: the longer side of a picture
_TIMES = 2.0        # of the flip, at which the pictures of a page show a change: at the flip itself the read is level


@dataclass(frozen=True, eq=False)
class _Changed:
    """A changed image (c, *space), native, with a line on its change and the probabilities (classes,) of it, NaN where
    they are not known."""

    image: Floats
    by: str
    probability: Floats


def case_sheet(opened: Opened, case_id: str) -> Sheet:
    """The case as original, change (amplified) and changed by twice its smallest flip, with what the network reads of
    either; where only CT noise was tried, with the stored draw at the highest dose that changes the read, or at the
    lowest tried. Of a volume the middle slice is shown. The case's id is in the caption alone, not in the drawing.

    `opened` is one network of one data set, or those of its folds.

    Raises:
        InputRefused: of several networks; no such case, or none of its pictures is stored.
    """
    dose = set(opened.cells[0].table["threat"].unique().to_pylist()) - {"none"} == {CT_NOISE}
    rows = opened.case_rows(dose)
    place = _place_of(rows, case_id)
    found = opened.pictures(rows, np.array([place]), dose)
    if found is None:
        raise InputRefused(_missing(opened, rows))
    pictures, walk = found
    bounds = bounds_of(opened.plan)
    names = class_names(opened.plan, 1 + max(int(rows.read.max(initial=1)), int(rows.truth.max(initial=1))))
    threshold = threshold_of(opened.plan)
    clean = pictures.image.native[0]
    changed = _redrawn(pictures, walk, int(rows.read[place]), threshold) if dose else _flipped(pictures, walk, bounds)
    before = _said(names, int(rows.read[place]), float(rows.sure[place]))
    read = _read(changed.probability, threshold)
    after = _said(names, read, float(changed.probability[read])) if read >= 0 else "read not stored"
    factor = amplification(clean, changed.image, bounds.range)
    cells = (_cell(picture(clean, bounds), "original", before),
             _cell(change(clean, changed.image, bounds), f"change × {factor:g}", changed.by),
             _cell(picture(changed.image, bounds), "changed", after, read not in (-1, int(rows.read[place]))))
    truth = f"truly {names[rows.truth[place]]}" if rows.truth[place] >= 0 else ""
    slices = "; the middle slice" if clean.ndim > 3 else ""
    return sheet("case", f"{', '.join(filter(None, (case_id, truth)))}: {before}; {changed.by}: {after}{slices}.",
                 [Row(cells, (truth,) if truth else ())])


def _place_of(rows: CaseRows, case_id: str) -> int:
    """The place of a case among the rows.

    Raises:
        InputRefused: no such case.
    """
    places = np.flatnonzero(rows.case_id == case_id)
    if len(places):
        return int(places[0])
    near = get_close_matches(case_id, rows.case_id.tolist(), 1, 0.6)
    hint = f"did you mean '{shown(near[0])}'?" if near else "the column case_id of .records has their names"
    raise InputRefused(f"no case '{shown(case_id)}' among the {len(rows.case_id)} that were judged; {hint}")


def _missing(opened: Opened, rows: CaseRows) -> str:
    """Why there is no picture of a case, and what to do."""
    if opened.picture_shape(rows.dose) is not None:
        return ("no picture of this case is stored: of a large run the most fragile, the wrong and some drawn cases "
                "have one; its numbers are in .records")
    told: ShownCases = shown_cases([Source(opened, AS_IT_IS, dose=rows.dose)])
    return told.missing


def _flipped(pictures: Pictured, walk: Walk | None, bounds: Bounds) -> _Changed:
    """The image with twice the found change, within the bounds; itself where none was found."""
    scale = float(pictures.scale[0, 0])
    clean = pictures.image.native[0]
    if not np.isfinite(scale):
        return _Changed(clean, "no change was found", _along(walk, 0.0))
    change_ = _TIMES * scale * pictures.change[0].astype(np.float64)
    size = float(np.abs(change_).max(initial=0.0))
    words = size_shown({"native": size, "unit": bounds.unit, "of_range": size / bounds.range})
    return _Changed((clean + change_).clip(bounds.low, bounds.high), f"up to ±{words}", _along(walk, _TIMES))


def _redrawn(pictures: Pictured, walk: Walk | None, read: int, threshold: float) -> _Changed:
    """The image with its stored draw at the highest dose at which that changes the read, or at the lowest."""
    clean, doses = pictures.image.native[0], len(pictures.scale[0])
    said = [_read(chance, threshold) for chance in walk.probability[0]] if walk is not None else [-1] * doses
    at = max((place for place, other in enumerate(said) if other not in (-1, read)), default=0)
    by = f"noise of {walk.at[at]:g} mAs" if walk is not None else "noise of the lowest dose"
    return _Changed(clean + pictures.scale[0, at] * pictures.change[0], by,
                    walk.probability[0, at] if walk is not None else np.full(2, np.nan))


def _along(walk: Walk | None, times: float) -> Floats:
    """The probabilities at so many times the flip; NaN where they are not stored."""
    places = np.flatnonzero(np.isclose(walk.at, times)).tolist() if walk is not None else []
    return walk.probability[0, places[0]] if walk is not None and places else np.full(2, np.nan)


def _read(probability: Floats, threshold: float) -> int:
    """The class that is read, of two by the threshold; -1 where nothing is known."""
    if not np.isfinite(probability).all():
        return -1
    return int(probability[1] > threshold) if len(probability) == 2 else int(probability.argmax())


def _said(names: list[str], read: int, sure: float) -> str:
    return f"{names[read]} {percent(sure, 0)}" if read >= 0 else "undecided"


def _cell(pixels: NDArray[np.uint8], above: str, below: str, boxed: bool = False) -> Cell:
    high, wide = pixels.shape[:2]
    per = _SIDE / max(high, wide)
    return Cell(pixels, (wide * per, high * per), (above,), (below,), boxed=boxed)
