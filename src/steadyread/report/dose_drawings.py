"""Panels that a noise study and its hardening share: SAR curves, shares of reads by dose, and how they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts import Axis, Line, Panel, curve, nothing
from steadyread.charts.look import BLUE, DASHED, DOTTED, GREEN, INK, ORANGE, PURPLE, VERMILION, Look
from steadyread.metrics.intervals import Estimate

DOSE_LOOKS = (Look(VERMILION), Look(ORANGE, DASHED, "triangle-down"), Look(GREEN, (7, 3, 2, 3), "triangle-up"),
              Look(BLUE, DOTTED, "square"), Look(PURPLE, (9, 2, 2, 2), "diamond"), Look(INK, (10, 3), "cross"))


@dataclass(frozen=True)
class DoseLine:
    """One line of a dose curve: shares at doses."""

    name: str
    mas: Sequence[float]
    share: Sequence[Estimate]


def sar_panel(curves: Sequence[tuple[str, Mapping[str, Any], Look]], title: str = "") -> Panel:
    """The share of samples whose SAR exceeds each level, a line a (name, `sar_curve`, look); the band is the range
    over the folds.
    """
    if not curves:
        return nothing("no attack with a SAR was run here")
    lines = []
    for name, found, look in curves:
        mean = np.append(found["mean"][:-1], found["mean"][-2])     # none exceeds 100 %: draw no fall there
        least, most = (found["least"], found["most"]) if found["folds"] > 1 else ((), ())
        lines.append(Line(name, look, found["levels"], mean, least, most, step=True))
    top = 1.06 * max(float(np.max(found["most"])) for _, found, _ in curves) or 1.0
    return curve(lines, Axis("SAR exceeded, % of the draws", (0, 1), percent=True),
                 Axis("samples, %", (0, min(1.005, top)), percent=True), title=title)


def share_by_dose(lines: Sequence[tuple[DoseLine, Look]], title: str = "", bands: bool = True) -> Panel:
    """The share of reads changed by the dose of the noise, 95 % as bands or as whiskers; marks of one dose stand a
    little beside each other where they have whiskers.
    """
    doses = sorted({mas for line, _ in lines for mas in line.mas})
    if not doses:
        return nothing("no noise has been tried")
    drawn = []
    for at, (line, look) in enumerate(lines):
        known = [(mas, share) for mas, share in zip(line.mas, line.share, strict=True) if share.value is not None]
        aside = 1.0 if bands else 1.03 ** (at - (len(lines) - 1) / 2)
        drawn.append(Line(line.name, look, [mas * aside for mas, _ in known],
                          [float(share.value or 0) for _, share in known], [share.low for _, share in known],
                          [share.high for _, share in known], band=bands, marked=None))
    return curve(drawn, dose_axis(doses), Axis("reads changed, %", percent=True), title=title)


def dose_axis(doses: Sequence[float], ticks: Sequence[float] = (), room: float = 1.2) -> Axis:
    """A logarithmic axis of mAs with `ticks`, or the doses tried."""
    kept: list[float] = []
    for dose in ticks or doses:
        if not kept or dose / kept[-1] > (doses[-1] / doses[0] * room * room) ** 0.06:
            kept.append(dose)
    return Axis("dose of the noise, mAs", (doses[0] / room, doses[-1] * room), log=True, ticks=tuple(kept))
