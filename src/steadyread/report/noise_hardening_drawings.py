"""Every figure of hardening against CT noise, with the sentence that stands below it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steadyread.figures import noise_hardening as hardened
from steadyread.figures.noise import DoseLine
from steadyread.figures.noise_hardening import Course, Judged
from steadyread.metrics import published
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import sar_curve
from steadyread.metrics.noise_hardening import BEFORE, step_networks
from steadyread.metrics.noise_hardening_methods import HardenedMethod, NoiseHardening
from steadyread.metrics.reads import OPTIMISED, RANDOM
from steadyread.report.drawings import Drawing
from steadyread.words.noise_hardening import hardened_name, step_name, under

Found = Mapping[str, Any]
_SAR_MAS = 50.0          # [B] Fig. 11
_COURSES = 7             # trainings that a figure can tell apart
_FEWEST_TRIALS = 5       # of an attack, for whose SAR a curve says anything


def noise_hardening_drawings(hardening: NoiseHardening, found: Found) -> dict[str, Drawing]:
    """All figures by name; each tells in words where it has nothing to show."""
    first = [found["main"], found["best"]["name"] if found["best"] else None]
    shown = sorted(hardening.methods, key=lambda method: method.name not in first)
    courses = [course for method in shown if len((course := _course(method)).epochs) > 1][:_COURSES]
    made = [_sar(hardening, found), _forest(found), _doses(found),
            Drawing("hardened_validation", hardened.validation_course(courses, _judged_mas(hardening)),
                    "Validation images by epoch, mean over the folds that got so far; dotted: where a further "
                    "round of the method of that colour begins.")]
    return {drawing.name: drawing for drawing in made}


def _sar(hardening: NoiseHardening, found: Found) -> Drawing:
    """[B] Fig. 11, at 50 mAs or the nearest dose, of the attack that is told; random noise where its K is small."""
    attack = _with_sar(hardening, str(found["attack"]))
    best = found["best"]["name"] if found["best"] else None
    mas = _nearest(hardening, attack)
    parts: list[tuple[str, list[tuple[str, Any]]]] = []
    for part in (found["part"], "train"):
        curves = [(step_name(name, number, found), curve) for name, number, networks in step_networks(hardening)
                  if (number is not None or name in (best, found["main"])) and mas is not None
                  and (curve := sar_curve(networks, attack, mas, part))]
        if curves and part not in [name for name, _ in parts]:
            parts.append((part, curves))
    kind = "random noise" if attack == RANDOM else "optimised noise"
    return Drawing("hardened_sar", hardened.sar_by_step(parts, _beside(found)),
                   f"[B] Fig. 11: the share of samples whose SAR exceeds a level under {kind}, before and after; "
                   "shaded: range over the folds. Where a curve meets the left axis is SAN.")


def _beside(found: Found) -> str | None:
    """The name of the best method, where it is not the main one."""
    best = found["best"]["name"] if found["best"] else None
    return step_name(best, None, found) if best and best != found["main"] else None


def _forest(found: Found) -> Drawing:
    judged = [row for row in found["methods"] if row["san"]]
    rows = []
    if judged:
        first = judged[0]
        rows = [Judged(BEFORE, first["san"]["before"], first["robust"]["before"], first["auc"]["before"])]
        rows += [Judged(hardened_name(row["name"]), row["san"]["after"], row["robust"]["after"],
                        row["auc"]["after"], bool(row["silent"] or row["failed"])) for row in judged]
    noise = under(found) if found["attack"] else "noise"
    return Drawing("hardened_methods", hardened.methods_forest(rows, noise.split(" (")[0]),
                   f"Every method judged alike, {noise}: mean over the folds, 95 % intervals over patients. "
                   "Dashed: before; dotted: half the flips of before. Hollow: failed, or stopped reading.")


def _doses(found: Found) -> Drawing:
    """SAN by dose before, after each round and of the best method, the paper's Table 5 beside."""
    best = found["best"]["name"] if found["best"] else None
    steps = [step for step in found["steps"] if (step["attack"], step["part"]) == (found["attack"], found["part"])
             and (step["round"] is not None or step["name"] in (best, found["main"]))]
    lines = [DoseLine(step_name(step["name"], step["round"], found), [float(mas) for mas in step["cells"]],
                      [cell["san"] for cell in step["cells"].values()]) for step in steps]
    if lines and found["attack"] in OPTIMISED:
        tried = set(lines[0].mas)
        lines += [_printed(rounds, name, [mas for mas in published.DOSES if mas in tried], found["part"])
                  for rounds, name in ((0, "[B] before"), (2, "[B] two rounds"))]
        lines = [line for line in lines if line.mas]
    noise = under(found).split(" at ")[0] if found["attack"] else "noise"
    return Drawing("hardened_doses", hardened.doses_by_step(lines, _beside(found)),
                   f"Reads changed by {noise}, by dose, with 95 % intervals over patients. Hollow: [B] Tables "
                   "4 and 5, other data, network and spectrum.")


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
