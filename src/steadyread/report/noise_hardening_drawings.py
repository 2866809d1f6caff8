"""Every figure of hardening against CT noise, with the sentence that stands below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts import Axis, Chart, Interval, Line, Panel, Rule, chart, curve, interval, nothing
from steadyread.charts.look import BLUE, DASHED, GREEN, INK, ORANGE, SERIES, SOLID, VERMILION, Look
from steadyread.metrics import published
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import sar_curve
from steadyread.metrics.noise_hardening import BEFORE, step_networks
from steadyread.metrics.noise_hardening_methods import HardenedMethod, NoiseHardening
from steadyread.metrics.reads import OPTIMISED, RANDOM
from steadyread.report.dose_drawings import DoseLine, sar_panel, share_by_dose
from steadyread.report.drawings import Drawing
from steadyread.words.noise_hardening import hardened_name, step_name, under

Found = Mapping[str, Any]
_SAR_MAS = 50.0          # [B] Fig. 11
_COURSES = 7             # trainings that a figure can tell apart
_FEWEST_TRIALS = 5       # of an attack, for whose SAR a curve says anything


_STEPS = (Look(INK, DASHED), Look(ORANGE, (7, 3, 2, 3), "triangle-up"), Look(VERMILION, SOLID, "square"), *SERIES[3:6])
_BEST = Look(BLUE, (1, 1.5), "diamond")     # the line that is no round
_PAPER = ("square", "diamond", "triangle-up")


@dataclass(frozen=True)
class Judged:
    """One method, or the networks before: SAN, robust accuracy and AUC, and whether it can be trusted."""

    name: str
    san: Estimate | None
    robust: Estimate | None
    auc: Estimate | None
    doubtful: bool = False


@dataclass(frozen=True)
class Course:
    """A training by epoch, over all its rounds: the mean over folds of shares and AUC, NaN where not judged."""

    name: str
    epochs: Sequence[float]
    steady: Sequence[float]
    auc: Sequence[float]
    rounds: Sequence[float] = ()     # the epochs after which a new round began


def noise_hardening_drawings(hardening: NoiseHardening, found: Found) -> dict[str, Drawing]:
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


def _sar(hardening: NoiseHardening, found: Found) -> Chart:
    """[B] Fig. 11, at 50 mAs or the nearest dose, of the attack that is told; random noise where its K is small."""
    attack = _with_sar(hardening, str(found["attack"]))
    best = found["best"]["name"] if found["best"] else None
    mas = _nearest(hardening, attack)
    parts: dict[str, list[tuple[str, Any]]] = {}
    for part in dict.fromkeys((found["part"], "train")):
        curves = [(step_name(name, number, found), sar) for name, number, networks in step_networks(hardening)
                  if (number is not None or name in (best, found["main"])) and mas is not None
                  and (sar := sar_curve(networks, attack, mas, part))]
        if curves:
            parts[part] = curves
    kind = "random noise" if attack == RANDOM else "optimised noise"
    panels = [sar_panel([(name, sar, look) for (name, sar), look in zip(curves, _looks(
        [name for name, _ in curves], found), strict=True)], f"{part}, {curves[0][1]['mas']:g} mAs")
        for part, curves in parts.items()]
    return chart("hardened_sar",
                 f"[B] Fig. 11: the share of samples whose SAR exceeds a level under {kind}, before and after; "
                 "shaded: range over the folds. Where a curve meets the left axis is SAN.",
                 *panels or [nothing("no attack with a SAR was run before and after")])


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
        rows = [Judged(BEFORE, first["san"].before, first["robust"].before, first["auc"].before)]
        rows += [Judged(hardened_name(row["name"]), row["san"].after, row["robust"].after,
                        row["auc"].after, bool(row["silent"] or row["failed"])) for row in judged]
    noise = under(found) if found["attack"] else "noise"
    return chart("hardened_methods",
                 f"Every method judged alike, {noise}: mean over the folds, 95 % intervals over patients. "
                 "Dashed: before; dotted: half the flips of before. Hollow: failed, or stopped reading.",
                 *methods_forest(rows, noise.split(" (")[0]))


def methods_forest(rows: Sequence[Judged], noise: str) -> list[Panel]:
    """SAN, robust accuracy and AUC of every method with 95 % intervals; the first row is the networks before.

    Vermilion in the SAN's panel: half of what it was before. Hollow: a method that failed or stopped reading.
    """
    if len(rows) < 2:
        return [nothing("no method was judged beside the networks before")]
    panels = []
    for name, words in (("san", f"flipped by {noise}, %"), ("robust", "right and not flipped, %"), ("auc", "AUC")):
        values = [getattr(row, name) or Estimate(None) for row in rows]
        colour = GREEN if name == "robust" else BLUE
        lines = [Interval(row.name, value.value, value.low, value.high, Look(INK if at == 0 else colour),
                          hollow=row.doubtful) for at, (row, value) in enumerate(zip(rows, values, strict=True))]
        before = values[0].value
        rules = [] if before is None else [Rule("x", before, dash=DASHED)]
        if before is not None and name == "san":
            rules.append(Rule("x", before / 2, colour=VERMILION))
        panels.append(interval(lines, _around(words, lines) if name == "auc" else Axis(words, percent=True), rules,
                               named=name == "san"))
    return panels


def _around(words: str, lines: Sequence[Interval]) -> Axis:
    """An axis just around the numbers, which are far from 0."""
    ends = [float(end) for line in lines for end in (line.value, line.low, line.high) if end is not None] or [0.5, 1.0]
    room = 0.06 * (max(ends) - min(ends)) + 1e-3
    return Axis(words, (min(ends) - room, max(ends) + room))


def _doses(found: Found) -> Chart:
    """SAN by dose before, after each round and of the best method, the paper's Table 5 beside."""
    best = found["best"]["name"] if found["best"] else None
    steps = [step for step in found["steps"] if (step["attack"], step["part"]) == (found["attack"], found["part"])
             and (step["round"] is not None or step["name"] in (best, found["main"]))]
    lines = [DoseLine(step_name(step["name"], step["round"], found), [float(mas) for mas in step["cells"]],
                      [cell["san"] for cell in step["cells"].values()]) for step in steps]
    looks = _looks([line.name for line in lines], found)
    if lines and found["attack"] in OPTIMISED:
        tried = set(lines[0].mas)
        printed = [_printed(rounds, name, [mas for mas in published.DOSES if mas in tried], found["part"])
                   for rounds, name in ((0, "[B] before"), (2, "[B] two rounds"))]
        lines += [line for line in printed if line.mas]
        looks += [Look(INK, marker=marker) for marker in _PAPER]
    noise = under(found).split(" at ")[0] if found["attack"] else "noise"
    return chart("hardened_doses",
                 f"Reads changed by {noise}, by dose, with 95 % intervals over patients. Hollow: [B] Tables "
                 "4 and 5, other data, network and spectrum.",
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


def _printed(rounds: int, name: str, doses: Sequence[float], part: str) -> DoseLine:
    told = [(mas, printed) for mas in doses if (printed := published.adapted_san_printed(part, rounds, mas))]
    return DoseLine(name, [mas for mas, _ in told],
                    [Estimate(one.mean / 100, sd=one.sd / 100) for _, one in told], paper=True)


def _with_sar(hardening: NoiseHardening, attack: str) -> str:
    """The attack itself where it made enough trials for a SAR, else random noise."""
    made = [float(np.nanmax(under_.trials)) for (name, _), under_ in
            (hardening.before.under.items() if hardening.before else ()) if name == attack]
    return attack if made and max(made) >= _FEWEST_TRIALS else RANDOM


def _nearest(hardening: NoiseHardening, attack: str) -> float | None:
    doses = hardening.before.doses(attack) if hardening.before else []
    return nearest_dose(doses, _SAR_MAS) if doses else None


def _judged_mas(hardening: NoiseHardening) -> float | None:
    """The dose at which trainings judged their epochs, where the first of them says so."""
    trained = next((one for method in hardening.methods for one in method.trainings.values()), {})
    stated = (trained.get("settings") or {}).get("judged_mas")
    return float(stated) if isinstance(stated, int | float) else None


def _course(method: HardenedMethod) -> Course:
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
