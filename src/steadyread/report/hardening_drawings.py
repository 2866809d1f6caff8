"""The figures of a hardening: [A] Fig. 3, the flips before and after, the training, and other sizes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from steadyread.charts import (
    Axis,
    Chart,
    Cloud,
    Entry,
    Line,
    Panel,
    Rule,
    chart,
    curve,
    nothing,
    per_size,
    scatter,
    size_axis,
)
from steadyread.charts.look import BLUE, DASHED, DOTTED, GREEN, INK, PLUS, VERMILION, Look
from steadyread.charts.panels import log_ticks
from steadyread.metrics.hardening import pair_of_networks
from steadyread.metrics.intervals import Estimate, Floats
from steadyread.metrics.plan import exact_up_to
from steadyread.report.accuracy_drawings import Side, Trained, before_and_after, side_of
from steadyread.report.drawings import training_drawing
from steadyread.report.hardened import trained_sizes
from steadyread.report.hardening_stored import Hardened
from steadyread.report.stored import Assessed
from steadyread.units import Bounds, number_of, unit_word
from steadyread.words.numbers import show_size_json


def hardening_drawings(plain: Assessed, hardened: Sequence[Hardened], told: Mapping[str, Any]) -> list[Chart]:
    """What there is to draw of `told` (`hardening_summary`): at least one epoch, one comparison, or two sizes."""
    made = []
    main, compared, bounds = hardened[0].assessed, told["compared"], plain.bounds
    if main is not None and compared is not None:
        epsilon = number_of(told["epsilon"]) if told["epsilon"] else None
        both = sides(plain, main, compared["against"])
        made += [chart("before_after",
                       "Accuracy by the size of the change before and after hardening ([A] Fig. 3), each network "
                       "attacked anew. Bands: 95 % at each size.",
                       before_and_after(*both, bounds, compared["against"], epsilon)),
                 chart("flips_before_after",
                       "The smallest flip of each image that both networks read right. Above the diagonal it "
                       "takes a larger change after hardening; never: no flip found.",
                       flips_before_and_after(np.asarray(compared["flips"]["before"]),
                                              np.asarray(compared["flips"]["after"]), bounds))]
    if told["training"].get("epochs"):
        made.append(training_drawing("hardening", told["training"], bounds))
    sizes = trained_sizes(told)
    if len(sizes) > 1:
        robust = next(row["merged"] for row in compared["sizes"] if row["size"] == told["at"])
        made.append(chart("training_sizes",
                          "By the size of change in PGD training: accuracy on clean images, and under changes of "
                          f"at most {show_size_json(told['at'])}. Dotted: before hardening. Hollow: failed.",
                          by_training_size(sizes, compared["clean"].before, robust.before, bounds)))
    return made


def sides(before: Assessed, after: Assessed, against: str = "label") -> tuple[Side, Side]:
    """Both networks on the images and attacks that they share, each curve as far as both were searched."""
    pair = pair_of_networks(before.reads, after.reads)
    limit = min(exact_up_to(side.run.plan, reads, against)
                for side, reads in ((before, pair.before), (after, pair.after)))
    return side_of(pair.before, against, limit), side_of(pair.after, against, limit)


def flips_before_and_after(before: Floats, after: Floats, bounds: Bounds) -> Panel:
    """The smallest flip after by that before, image by image, on log axes; above the diagonal it grew.

    Images without a flip stand in a strip of their own.
    """
    usable = (before > 0) & (after > 0)
    x, y = before[usable] / per_size(bounds), after[usable] / per_size(bounds)
    known = np.concatenate([x[np.isfinite(x)], y[np.isfinite(y)]])
    if not len(known):
        return nothing("no read that is right in both was flipped")
    low, high = float(known.min()) / 1.3, float(known.max()) * 1.3
    never_x, never_y = bool(np.isinf(x).any()), bool(np.isinf(y).any())
    strip, end = high * (high / low) ** 0.06, high * (high / low) ** 0.12
    rules = [Rule(along, high, "never flipped before" if along == "x" else "never flipped after", left=along == "y")
             for along, never in (("x", never_x), ("y", never_y)) if never]
    clouds = [Cloud(name, look, np.where(np.isinf(x), strip, x)[of], np.where(np.isinf(y), strip, y)[of])
              for name, look, of in (("larger after", Look(BLUE), y > x),
                                     ("smaller after", Look(VERMILION, marker="triangle-down"), y < x),
                                     ("alike", Look(INK, marker=PLUS), x == y))]
    unit = f"{unit_word(bounds.unit)} ({bounds.range:g} is the range)" if bounds.unit else "share of the range"
    ticks = log_ticks(low, high)
    across, up = (Axis(f"smallest flip {when}, {unit}", (low, end if never else high), True, ticks=ticks)
                  for when, never in (("before", never_x), ("after", never_y)))
    return scatter(clouds, across, up, rules, diagonal=True)


def by_training_size(hardened: Sequence[Trained], clean: Estimate, robust: Estimate, bounds: Bounds) -> Panel:
    """[A]'s warning, drawn: too small a training size gains little, too large a one teaches nothing.

    Clean accuracy and accuracy under attack by the size of training; `clean` and `robust` are those of the network
    before, as level lines. Hollow marks: hardenings that failed.
    """
    shown = sorted((network for network in hardened if network.epsilon > 0), key=lambda network: network.epsilon)
    if not shown:
        return nothing("no hardening to compare with")
    x = [network.epsilon / per_size(bounds) for network in shown]
    lines, rules, levels = [], [], []
    for name, values, level, look in (
            ("clean", [network.clean for network in shown], clean, Look(GREEN)),
            ("under attack", [network.robust for network in shown], robust, Look(BLUE, DASHED, "square"))):
        lines.append(Line(name, look, x, [_number(value.value) for value in values], [value.low for value in values],
                          [value.high for value in values], band=False, marked=None))
        failed = [at for at, network in enumerate(shown) if network.failed]
        lines.append(Line(name, look, [x[at] for at in failed], [_number(values[at].value) for at in failed],
                          marked=None, joined=False, hollow=True, listed=False))
        if level.value is not None:
            rules.append(Rule("y", level.value, colour=look.colour))
            levels.append(Entry(f"{name}, before: {100 * level.value:.1f} %", Look(look.colour, DOTTED), mark=False))
    axis = size_axis(bounds, "size of change in training", (x[0] / 1.35, x[-1] * 1.35), log=True)
    panel = curve(lines, axis, Axis("accuracy, %", (0, 1.04), percent=True), rules)
    return replace(panel, key=(*panel.key, *levels))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
