"""The figures of a hardening: before and after by size and by dose, and its trainings.

As [A] Fig. 3 (doi:10.1200/CCI.21.00170) and [B] Fig. 11 (doi:10.1088/1361-6560/abc812).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts import (
    Axis,
    Chart,
    Cloud,
    Interval,
    Line,
    Panel,
    Rule,
    chart,
    curve,
    interval,
    nothing,
    per_size,
    scatter,
)
from steadyread.charts.look import (
    BLUE,
    DASHED,
    GREEN,
    INK,
    ORANGE,
    PLUS,
    SERIES,
    SOLID,
    VERMILION,
    Look,
)
from steadyread.charts.panels import log_ticks
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.hardened import BEFORE, Hardened, Hardenings
from steadyread.metrics.hardening import pair_of_networks
from steadyread.metrics.hardening_methods import step_networks
from steadyread.metrics.intervals import Estimate, Floats
from steadyread.metrics.noise import sar_curve
from steadyread.metrics.plan import exact_up_to
from steadyread.metrics.reads import PAPER, RANDOM
from steadyread.report.accuracy_drawings import Side, before_and_after, side_of
from steadyread.report.dose_drawings import DoseLine, sar_panel, share_by_dose
from steadyread.report.drawings import Drawing, training_drawing
from steadyread.report.hardening_stored import plain_side
from steadyread.report.stored import Run
from steadyread.units import Bounds, number_of, unit_word
from steadyread.words.hardening import hardened_name, sized, step_name, under
from steadyread.words.noise import noise_name

Found = Mapping[str, Any]
_SAR_MAS = 50.0          # [B] Fig. 11
_COURSES = 7             # trainings that a figure can tell apart
_MEASURED = ("san", "robust", "auc")
_FEWEST_TRIALS = 5       # of an attack, for whose SAR a curve says anything
_STEPS = (Look(INK, DASHED), Look(ORANGE, (7, 3, 2, 3), "triangle-up"), Look(VERMILION, SOLID, "square"), *SERIES[3:6])
_BEST = Look(BLUE, (1, 1.5), "diamond")     # the line that is no round


def hardening_drawings(plain: Run, hardened: Sequence[Hardened], told: Found) -> list[Chart]:
    """What there is to draw of `told` (`hardening_summary`): at least one epoch, one comparison, or two sizes."""
    made = []
    main, compared, bounds = hardened[0], told["compared"], plain.bounds
    if compared is not None:
        epsilon = number_of(told["epsilon"]) if told["epsilon"] else None
        both = sides(plain_side(plain), main, compared["against"])
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
    if compared is not None and told["headline"] is not None and told["others"]:
        made.append(_hardenings(told))
    return made


def sides(before: Hardened, after: Hardened, against: str = "label") -> tuple[Side, Side]:
    """Two assessed networks on the images and attacks that they share, each curve as far as both were searched."""
    assert before.reads is not None
    assert after.reads is not None
    pair = pair_of_networks(before.reads, after.reads)
    limit = min(exact_up_to(side.plan, reads, against)
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


def _hardenings(told: Found) -> Chart:
    """The study's own hardening and those that it is compared with, under attack and on clean images."""
    robust, clean = told["headline"].contrast, told["compared"]["clean"]
    rows = [Judged(BEFORE, (robust.before, clean.before)),
            Judged("this study's", (robust.after, clean.after), bool(told["failed"]))]
    rows += [Judged(hardened_name(other["name"]), (other["robust"].after, other["clean"].after), bool(other["failed"]))
             for other in told["others"]]
    return chart("hardenings", f"Accuracy of each hardening under {sized(told['headline'])} and on clean images, 95 % "
                 "intervals over patients; of the others under the attacks alone that this study's own met too. "
                 "Dashed: before. Hollow: failed.",
                 *methods_forest(rows, (Measure("right under attack, %", BLUE), Measure("right, clean, %", GREEN))))


@dataclass(frozen=True)
class Judged:
    """One method, or the networks before: its measures, None where it has none, and whether it can be trusted."""

    name: str
    values: tuple[Estimate | None, ...]
    doubtful: bool = False


@dataclass(frozen=True)
class Measure:
    """A panel of a forest: what its axis says and its colour; a share stands on an axis in percent."""

    words: str
    colour: str
    share: bool = True


@dataclass(frozen=True)
class Course:
    """A training by epoch, over all its rounds: the mean over folds of shares and AUC, NaN where not judged."""

    name: str
    epochs: Sequence[float]
    steady: Sequence[float]
    auc: Sequence[float]
    rounds: Sequence[float] = ()     # the epochs after which a new round began


def noise_hardening_drawings(hardening: Hardenings, found: Found) -> dict[str, Drawing]:
    """All figures by name; each tells in words where it has nothing to show."""
    first = [found["main"], found["best"]["name"] if found["best"] else None]
    shown = sorted(hardening.methods, key=lambda method: method.name not in first)
    courses = [course for method in shown if len((course := _course(method)).epochs) > 1][:_COURSES]
    made = [_sar(hardening, found), _forest(found), _doses(found),
            chart("hardened_validation",
                  "Validation images by epoch, mean over the folds that got so far; dotted: where a further "
                  "round of the method of that colour begins.",
                  *validation_course(courses, _judged_mas(hardening)))]
    return {drawing.name: drawing for drawing in made}


def _sar(hardening: Hardenings, found: Found) -> Chart:
    """[B] Fig. 11, at 50 mAs or the nearest dose: of the attack that is told, random noise where its K is small, and of
    [B]'s own where the networks were judged by it. A panel is of one attack."""
    told, own = _with_sar(hardening, str(found["attack"])), _with_sar(hardening, PAPER)
    panels = []
    for attack in dict.fromkeys((told, *([own] if own == PAPER else []))):
        for part in dict.fromkeys((found["part"], "train")):
            curves = _sar_curves(hardening, found, attack, part)
            panels += [sar_panel([(name, sar, look) for (name, sar), look in zip(curves, _looks(
                [name for name, _ in curves], found), strict=True)],
                f"{part}, {noise_name(attack)}, {curves[0][1]['mas']:g} mAs")] if curves else []
    return chart("hardened_sar",
                 "[B] Fig. 11: the share of samples whose SAR exceeds a level under noise, before and after; "
                 "shaded: range over the folds. Where a curve meets the left axis is SAN.",
                 *panels or [nothing("no attack with a SAR was run before and after")])


def _sar_curves(hardening: Hardenings, found: Found, attack: str, part: str) -> list[tuple[str, Any]]:
    """By name, of the networks before and after each round, and of the main and the best method."""
    best = found["best"]["name"] if found["best"] else None
    mas = _nearest(hardening, attack)
    return [(step_name(name, number, found), sar) for name, number, networks in step_networks(hardening)
            if (number is not None or name in (best, found["main"])) and mas is not None
            and (sar := sar_curve(networks, attack, mas, part))]


def _looks(names: Sequence[str], found: Found) -> list[Look]:
    """How each step is drawn; the best method, where it is not the main one, in blue."""
    best = found["best"]["name"] if found["best"] else None
    beside = step_name(best, None, found) if best and best != found["main"] else None
    return [_BEST if name == beside else _STEPS[at % len(_STEPS)] for at, name in enumerate(names)]


def _forest(found: Found) -> Chart:
    judged = [row for row in found["methods"] if row["san"]]
    rows = []
    if judged:
        first = judged[0]
        rows = [Judged(BEFORE, tuple(first[name].before for name in _MEASURED))]
        rows += [Judged(hardened_name(row["name"]), tuple(row[name].after for name in _MEASURED),
                        bool(row["silent"] or row["failed"])) for row in judged]
    noise = under(found) if found["attack"] else "noise"
    measures = (Measure(f"flipped by {noise.split(' (')[0]}, %", BLUE), Measure("right and not flipped, %", GREEN),
                Measure("AUC", BLUE, share=False))
    return chart("hardened_methods",
                 f"Every method judged alike, {noise}: mean over the folds, 95 % intervals over patients. "
                 "Dashed: before. Hollow: failed, or stopped reading.", *methods_forest(rows, measures))


def methods_forest(rows: Sequence[Judged], measures: Sequence[Measure]) -> list[Panel]:
    """The measures of every method with 95 % intervals, a panel each; the first row is the networks before.

    Hollow: a method that failed or stopped reading.
    """
    if len(rows) < 2:
        return [nothing("no method was judged beside the networks before")]
    panels = []
    for at, measure in enumerate(measures):
        values = [row.values[at] or Estimate(None) for row in rows]
        lines = [Interval(row.name, value.value, value.low, value.high, Look(INK if row is rows[0] else measure.colour),
                          hollow=row.doubtful) for row, value in zip(rows, values, strict=True)]
        before = values[0].value
        axis = Axis(measure.words, percent=True) if measure.share else _around(measure.words, lines)
        panels.append(interval(lines, axis, [] if before is None else [Rule("x", before, dash=DASHED)], named=at == 0))
    return panels


def _around(words: str, lines: Sequence[Interval]) -> Axis:
    """An axis just around the numbers, which are far from 0."""
    ends = [float(end) for line in lines for end in (line.value, line.low, line.high) if end is not None] or [0.5, 1.0]
    room = 0.06 * (max(ends) - min(ends)) + 1e-3
    return Axis(words, (min(ends) - room, max(ends) + room))


def _doses(found: Found) -> Chart:
    """SAN by dose before, after each round and of the best method."""
    best = found["best"]["name"] if found["best"] else None
    steps = [step for step in found["steps"] if (step["attack"], step["part"]) == (found["attack"], found["part"])
             and (step["round"] is not None or step["name"] in (best, found["main"]))]
    lines = [DoseLine(step_name(step["name"], step["round"], found), [float(mas) for mas in step["cells"]],
                      [cell["san"] for cell in step["cells"].values()]) for step in steps]
    looks = _looks([line.name for line in lines], found)
    noise = under(found).split(" at ")[0] if found["attack"] else "noise"
    return chart("hardened_doses",
                 f"Reads changed by {noise}, by dose, with 95 % intervals over patients.",
                 share_by_dose(list(zip(lines, looks, strict=False)), bands=False))


def validation_course(courses: Sequence[Course], mas: float | None = None) -> list[Panel]:
    """Validation images that are right and not flipped, and AUC, by epoch of training; epoch 0 is the start."""
    known = [course for course in courses if len(course.epochs) > 1]
    if not known:
        return [nothing("no epoch of hardening was recorded")]
    under_ = f" at {mas:g} mAs" if mas is not None else ""
    last = max(course.epochs[-1] for course in known)
    panels = []
    for name, words in (("steady", f"right and not flipped{under_}, %"), ("auc", "AUC of the validation images")):
        lines = [Line(course.name, look, course.epochs, getattr(course, name), marked=None)
                 for course, look in zip(known, SERIES * 9, strict=False)]
        rules = [Rule("x", begun + 0.5, colour=line.look.colour) for course, line in zip(known, lines, strict=True)
                 for begun in course.rounds]
        low = float(np.nanmin([*np.concatenate([np.asarray(line.y, float) for line in lines]), 1.0]))
        axis = Axis(words, percent=True) if name == "steady" else Axis(words, (low - 0.02, 1.01))
        panels.append(curve(lines, Axis("epoch (0: the network before)", (-0.3, last + 0.3)), axis, rules))
    return panels


def _with_sar(hardening: Hardenings, attack: str) -> str:
    """The attack itself where it made enough trials for a SAR, else random noise."""
    made = [float(np.nanmax(under_.trials)) for (name, _), under_ in
            (hardening.before.under.items() if hardening.before else ()) if name == attack]
    return attack if made and max(made) >= _FEWEST_TRIALS else RANDOM


def _nearest(hardening: Hardenings, attack: str) -> float | None:
    doses = hardening.before.doses(attack) if hardening.before else []
    return nearest_dose(doses, _SAR_MAS) if doses else None


def _judged_mas(hardening: Hardenings) -> float | None:
    """The dose at which trainings judged their epochs, where the first of them says so."""
    trained = next((one for method in hardening.methods for one in method.trainings.values()), {})
    stated = (trained.get("settings") or {}).get("judged_mas")
    return float(stated) if isinstance(stated, int | float) else None


def _course(method: Hardened) -> Course:
    """Epochs of all rounds one after another: at each, the mean over the folds that got so far."""
    folds = [_epochs(training) for training in method.trainings.values()]
    longest = max((len(rows) for rows in folds), default=0)
    told = {key: [_mean([rows[at].get(key) for rows in folds if len(rows) > at]) for at in range(longest)]
            for key in ("validation_steady", "validation_auc")}
    first = next((training.get("rounds") or [] for training in method.trainings.values()), [])
    begun = np.cumsum([len(one.get("epochs") or []) for one in first])[:-1]
    return Course(hardened_name(method.name), list(range(longest)), told["validation_steady"],
                  told["validation_auc"], [float(value) for value in begun])


def _epochs(training: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = [row for one in training.get("rounds") or () for row in one.get("epochs") or ()]
    return [training.get("start") or {}, *rows] if rows else []


def _mean(values: Sequence[Any]) -> float:
    known = [float(value) for value in values if isinstance(value, int | float)]
    return float(np.mean(known)) if known else float("nan")
