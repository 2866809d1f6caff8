"""Two networks on the same images, number by number: what differs, over the same patients, and which way."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.errors import Doubt, InputRefused
from steadyread.metrics.hardening import CHANGED, ROBUST, Compared, compared
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.plan import bounds_of, exact_up_to
from steadyread.metrics.reads import ALL, LINF
from steadyread.metrics.summary import tabled_sizes
from steadyread.metrics.verdicts import verdict, way_of
from steadyread.store import Opened

COMPARED = ("threat", "attack", "against", "level", "unit", "measure", "before", "after", "difference", "low", "high",
            "p", "verdict", "n")


def compared_rows(before: Opened, after: Opened, seed: int = 0) -> list[dict[str, Any]]:
    """A row (`COMPARED`) for each number that both have. Warns of `Doubt` where the images are not the same ones.

    Raises:
        InputRefused: several networks on either side, no image in common, or images of other bounds.
    """
    sides = before.reads(), after.reads()
    here, there = (bounds_of(run.plan) for run in (before, after))
    if (here.low, here.high) != (there.low, there.high):
        raise InputRefused(f"the images of {before.folder} go from {here.low:g} to {here.high:g}, those of "
                           f"{after.folder} from {there.low:g} to {there.high:g}: assess both networks on the same "
                           "data")
    digests = [{(cell.plan.get("data") or {}).get("sha256") for cell in run.cells} for run in (before, after)]
    if digests[0] != digests[1]:
        warnings.warn("the images of the two assessments are not the same ones, by their digests: those of one id are "
                      "taken as one, which holds where one is a part of the other, and of no two data sets", Doubt,
                      stacklevel=4)
    bounds = bounds_of(before.plan)
    limit = min(exact_up_to(run.plan, reads, "label") for run, reads in zip((before, after), sides, strict=True))
    found = compared(*sides, tabled_sizes(sides[0], bounds), bounds, seed, limit=limit)
    return [*(_row(row) for row in found["rows"] if row.exact or row.measure != ROBUST), *_smallest_flips(found)]


def _smallest_flips(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    flips = found["flips"]
    if flips["searched"] and flips["images"]:
        ratio: Estimate = flips["ratio"]
        yield {"measure": "smallest_flip_ratio", "threat": LINF, "attack": ALL, "against": found["against"],
               "difference": ratio.value, "low": ratio.low, "high": ratio.high, "p": flips["p"], "n": flips["images"],
               "verdict": verdict(ratio, flips["p"], nothing=1.0)}


def _row(row: Compared) -> dict[str, Any]:
    found = row.contrast
    where = {} if row.size is None else {
        "threat": row.threat, "attack": row.attack, "against": row.against, "level": row.size["native"],
        "unit": row.size["unit"]}
    return {"measure": row.measure, "before": found.before.value, "after": found.after.value,
            "difference": found.difference.value, "low": found.difference.low, "high": found.difference.high,
            "p": found.p, "verdict": way_of(found, lower_is_better=row.measure == CHANGED), "n": found.difference.n,
            **where}
