"""Made cases as a page has them, and pictures beside the records of a made run.

    python fabricate_cases.py grey|colour|volume|dose > cases.json        # the block of data alone
    python fabricate_cases.py grey|colour|volume|dose|sets FOLDER         # a whole run, with its report
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from steadyread.metrics.plan import bounds_of
from steadyread.pictured import FLIPS, REDRAWS, Pictured, Whole, parts_of
from steadyread.pictured import Walk as StoredWalk
from steadyread.report.case_data import Axis, CaseData, Pixels, Walk, windows_of
from steadyread.store import open_cells
from steadyread.units import Bounds

Kind = Literal["grey", "colour", "volume", "dose"]
SHAPES = {"grey": (1, 24, 24), "colour": (3, 24, 24), "volume": (1, 8, 20, 20), "dose": (1, 24, 24)}
DOSES = (10.0, 50.0, 100.0, 200.0)


def made_images(kind: Kind, n: int, random: np.random.Generator) -> np.ndarray:
    """Noise around a round spot, (n, *shape): whole HU, or grey levels of colour."""
    shape = SHAPES[kind]
    far = sum((np.arange(side).reshape(-1, *[1] * (len(shape) - 2 - at)) - side / 2) ** 2
              for at, side in enumerate(shape[1:])) ** 0.5
    spot = np.broadcast_to(far < min(shape[1:]) / 3, shape)
    low, high, deviation = (40, 150, 12) if kind == "colour" else (-800, 40, 30)
    bounds = (0, 255) if kind == "colour" else (-1000, 400)
    return np.rint(random.normal(low + (high - low) * spot, deviation, (n, *shape))).clip(*bounds)


def made_cases(kind: Kind = "grey", n: int = 24, seed: int = 0) -> CaseData:
    """n cases of which the last four have no picture, one was wrong, one never flipped; one id holds markup."""
    random = np.random.default_rng(seed)
    bounds = Bounds(0, 255, "grey level") if kind == "colour" else Bounds(-1000, 400, "HU")
    pictured = np.arange(n)
    pictured[-4:] = -1
    count = n - 4
    images = Whole.of(made_images(kind, count, random), bounds)
    truth, flip = np.arange(n) % 2, np.sort(random.lognormal(1.5, 0.7, n))
    read = truth.copy()
    read[1] = 1 - read[1]
    flip[count - 1] = np.nan
    sure = 0.5 + 0.5 * np.clip(np.nan_to_num(flip, nan=30) / 30, 0.01, 0.98)
    if kind == "dose":
        flip = np.clip(100 / flip, 10, 200)
        at: tuple[float, ...] = DOSES
        scale: np.ndarray | None = np.tile(0.25 * (100 / np.array(DOSES)) ** 0.5, (count, 1))
        change = np.clip(random.normal(0, 40, (count, *SHAPES[kind])), -127, 127).astype(np.int8)
        steep = sure[:count, None] - 0.4 * (10 / np.array(at)) ** 0.5
        axis = Axis("dose of the scan", "mAs", "dose")
    else:
        at, scale = tuple(np.round(np.linspace(0, 2, 21), 1).tolist()), None
        change = np.where(random.random((count, *SHAPES[kind])) < 0.5, -127, 127).astype(np.int8)
        steep = 1 / (1 + np.exp(-np.log(sure[:count] / (1 - sure[:count]))[:, None] * (1 - np.array(at))))
        axis = Axis("largest change of any pixel", "grey levels" if kind == "colour" else "HU")
    chance = np.where((read[:count, None, None] == np.arange(2)), steep[..., None], 1 - steep[..., None])
    ids = [f"C-{at:08d}" for at in range(n)]
    ids[2] = "</script><img src=x onerror=alert(1)>\u2028"
    return CaseData(axis, ("benign", "malignant"), bounds, ids, [f"P-{at // 2:08d}" for at in range(n)], truth, read,
                    sure, flip, np.full(n, -1), pictured, 2 * n, n, windows_of(bounds, images),
                    Pixels(images, change, scale), Walk(at, chance), noise=None if kind == "colour" else 10.9)


def write_pictures(folder: Path, kind: Kind = "grey", most: int | None = None) -> None:
    """Pictures of the judged cases, or of the `most` first of them, beside the records of every network of a made run
    of one data set: their flips by the records, or under CT noise a draw."""
    opened, random = open_cells(folder), np.random.default_rng(0)
    for cell in opened.cells:
        one = replace(opened, cells=(cell,))
        rows, dose = one.case_rows(kind == "dose"), kind == "dose"
        ids = tuple(rows.case_id[:most].tolist())
        sure, read, flip = rows.sure[:most], rows.read[:most], rows.flip[:most]
        images = Whole.of(made_images(kind, len(ids), random), bounds_of(cell.plan))
        sign = np.where(random.random((len(ids), *SHAPES[kind])) < 0.5, -1, 1)
        if dose:
            at = np.array(one.reads().doses() or DOSES)
            change = np.clip(sign * random.normal(0, 40, sign.shape), -127, 127).astype(np.int8)
            scale = np.tile(0.25 * (100 / at) ** 0.5, (len(ids), 1))
            margin = np.log(sure / (1 - sure))[:, None] - 2 * (10 / at) ** 0.5
        else:
            at, change = np.round(np.linspace(0, 2, 21), 1), (127 * sign).astype(np.int8)
            found = np.isfinite(flip)
            change[~found] = 0
            scale = np.where(found, flip / 127, np.nan)[:, None]
            margin = np.log(sure / (1 - sure))[:, None] * np.where(found[:, None], 1 - at, 1)
        own = 1 / (1 + np.exp(-margin))
        classes = one.reads().logits.shape[2]
        rest = (1 - own[..., None]) / (classes - 1)
        chance = np.where(read[:, None, None] == np.arange(classes), own[..., None], rest)
        kept = REDRAWS if dose else FLIPS
        parts_of(cell.folder, kept).write(0, Pictured(ids, images, change, scale).as_npz())
        StoredWalk(ids, at, chance).write(cell.folder, kept)


def write_shown(folder: Path, kind: str) -> Path:
    """A made run of one kind with its pictures and its report; returns the page."""
    from fabricate import plan, table, write_run
    from fabricate_noise import write_study
    from fabricate_sets import Made, write_sets
    from steadyread.report import write_report

    if kind == "dose":
        write_study(folder)
    elif kind == "sets":
        write_sets(folder, {"lung_ct": Made(), "brain": Made()})
        for name in ("lung_ct", "brain"):
            write_pictures(folder / name)
        return write_report(folder)
    else:
        unit = {"unit": "grey level", "bounds": [0.0, 255.0]} if kind == "colour" else {}
        write_run(folder, table(), data=plan()["data"] | unit)
    write_pictures(folder, kind)  # type: ignore[arg-type]
    return write_report(folder)


if __name__ == "__main__":
    asked, place = [*sys.argv[1:], "grey"][0], sys.argv[2:]
    print(write_shown(Path(place[0]), asked) if place else
          json.dumps(made_cases(asked).as_json()))  # type: ignore[arg-type]
