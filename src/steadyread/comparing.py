"""Two networks on the same images, number by number: what differs, over the same patients, and which way."""

import warnings
from collections.abc import Iterator
from typing import Any

from steadyread.errors import Doubt, InputRefused
from steadyread.metrics.contrasts import Contrast, flips_contrast
from steadyread.metrics.hardening import compared
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.pairs import Pair, paired
from steadyread.metrics.plan import bounds_of, exact_up_to
from steadyread.metrics.reads import CT_NOISE, Reads
from steadyread.metrics.summary import tabled_sizes
from steadyread.metrics.tidy import ALL, LINF
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
    pair = paired(*sides)
    rows = list(_under_changes(sides, (before, after), seed))
    return [*rows, *(_under_noise(pair.labelled(), seed) if pair is not None else ())]


def _under_changes(sides: tuple[Reads, Reads], runs: tuple[Opened, Opened], seed: int) -> Iterator[dict[str, Any]]:
    bounds = bounds_of(runs[0].plan)
    limit = min(exact_up_to(run.plan, reads, "label") for run, reads in zip(runs, sides, strict=True))
    found = compared(*sides, tabled_sizes(sides[0], bounds), bounds, seed, limit=limit)
    yield _row("accuracy", found["clean"])
    for at in found["sizes"]:
        where = {"level": at["size"]["native"], "unit": bounds.unit, "against": found["against"]}
        for row in at["attacks"]:
            yield _row("accuracy", row["accuracy"], threat=row["threat"], attack=row["attack"], **where)
        if at["merged"] is not None and at["exact"]:
            yield _row("robust_accuracy", at["merged"], threat=LINF, attack=ALL, **where)
    flips = found["flips"]
    if flips["searched"] and flips["images"]:
        ratio: Estimate = flips["ratio"]
        yield {"measure": "smallest_flip_ratio", "threat": LINF, "attack": ALL, "against": found["against"],
               "difference": ratio.value, "low": ratio.low, "high": ratio.high, "p": flips["p"], "n": flips["images"],
               "verdict": verdict(ratio, flips["p"], nothing=1.0)}


def _under_noise(pair: Pair, seed: int) -> Iterator[dict[str, Any]]:
    part = pair.before.judged
    for attack, mas in pair.before.under:
        row = flips_contrast(pair, attack, mas, part, seed) if (attack, mas) in pair.after.under else None
        if row is not None:
            yield _row("changed_at_least_once", row, threat=CT_NOISE, attack=attack, against="prediction", level=mas,
                       unit="mAs")


def _row(measure: str, row: Contrast, **where: Any) -> dict[str, Any]:
    difference = row.difference
    return {"measure": measure, "before": row.before.value, "after": row.after.value,
            "difference": difference.value, "low": difference.low, "high": difference.high, "p": row.p,
            "verdict": way_of(row, lower_is_better=measure == "changed_at_least_once"), "n": difference.n, **where}
