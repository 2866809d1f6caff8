"""One method of hardening against CT noise beside the networks before it: flips, reads, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from steadyread.metrics.contrasts import Contrast, area_contrast, contrast, flips_contrast, flips_of
from steadyread.metrics.intervals import Floats
from steadyread.metrics.noise import inside
from steadyread.metrics.pairs import Pair, paired
from steadyread.metrics.reads import ORIGINAL, PLAUSIBLE, RANDOM, Reads

AUC_COST = 0.01         # what a study that does not say allows hardening to cost
Training = Mapping[str, Any]
Judged = tuple[str | None, float | None, str]     # attack, mAs, part


@dataclass(frozen=True, eq=False)
class HardenedMethod:
    """The networks of one method after hardening, None where none is judged yet, and after each recorded round.

    `trainings` holds training.json by fold, also of folds whose training failed; `findings` those of each network;
    `convergence` by fold what ten times the gradients find.
    """

    name: str
    networks: Reads | None
    rounds: tuple[Reads, ...] = ()
    trainings: Mapping[int, Training] = field(default_factory=dict)
    findings: Sequence[tuple[int, Mapping[str, Any]]] = ()
    convergence: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NoiseHardening:
    """What was hardened: the study's settings of it, the networks before, and every method, the main one first."""

    settings: Mapping[str, Any]
    before: Reads | None
    methods: tuple[HardenedMethod, ...]

    def before_of(self, method: HardenedMethod) -> Reads | None:
        """The networks that a method began with: those of its variant as they are; None where the study judged none
        of them so. One that is not trained at all is set against the study's own."""
        kind, own = _stated(self.settings, method.name, list(method.trainings.values())).values()
        if kind == "none" or own in (None, self.settings.get("variant") or ORIGINAL):
            return self.before
        for one in self.methods:
            told = _stated(self.settings, one.name, list(one.trainings.values()))
            if one is not method and told["method"] == "none" and told["variant"] == own:
                return one.networks
        return None


def silent_folds(networks: Reads, part: str) -> list[int]:
    """The folds whose network says one and the same of every image of a part that has several labels."""
    told = []
    for at, fold in enumerate(networks.folds):
        there = networks.inside(part)[:, at]
        known = networks.label[there & (networks.label >= 0)]
        if len(np.unique(known)) > 1 and len(np.unique(networks.prediction[there, at])) < 2:
            told.append(fold)
    return told


def method_row(hardening: NoiseHardening, method: HardenedMethod,
                judged: Judged, seed: int) -> dict[str, Any]:
    """One method against before; figures are None where it is not judged."""
    attack, mas, part = judged
    trained = list(method.trainings.values())
    row: dict[str, Any] = {
        "name": method.name, **_stated(hardening.settings, method.name, trained),
        "rule": next((one.get("rule") for one in trained if one.get("rule")), None),
        "failed": _told(method.trainings, "failed"), "stopped": _told(method.trainings, "stopped"),
        "shifts": _shifts(trained),
        "trained": sorted(method.trainings), "training": _training(trained), "folds": [], "silent": [],
        "silent_before": [],
        "rounds": _round_rows(trained), "by_round": [], "begins": None, "missed": None,
        "harder": _harder(method.convergence),
        **dict.fromkeys(("auc", "accuracy", "sensitivity", "specificity", "san", "robust", "random", "random_draw",
                         "plausible", "trials"))}
    before, after = hardening.before_of(method), method.networks
    pair = paired(before, after) if before is not None and after is not None else None
    if before is None or pair is None:
        return row | {"halved": "few", "auc_kept": "few", "lost_reads": False}
    row |= {"folds": list(pair.after.folds), "silent": silent_folds(pair.after, part),
            "silent_before": silent_folds(pair.before, part),
            "auc": area_contrast(pair, part, seed), "begins": pair.before.variant} | _recalls(pair, part, seed)
    if attack is not None and mas is not None:
        row |= _attacked(pair, attack, mas, part, seed) | {"missed": _missed(pair.after, attack, mas, part)}
        row["by_round"] = _by_round(before, method, judged, seed)
    return row | {"halved": _halved(row["san"]), "auc_kept": _kept(row["auc"], auc_cost(hardening)),
                  "lost_reads": _lost(row["san"], row["robust"])}


def _attacked(pair: Pair, attack: str, mas: float, part: str, seed: int) -> dict[str, Any]:
    """SAN, robust accuracy and one draw of random noise at one dose, before and after."""
    patients = pair.before.patient
    told: dict[str, Any] = {}
    if (flips := flips_of(pair, attack, mas, part)) is not None:
        told = {"san": contrast(flips.before, flips.after, patients, seed),
                "robust": contrast(_right(pair.before) * (1 - flips.before), _right(pair.after) * (1 - flips.after),
                                   patients, seed)}
    sides = [inside(networks, attack, mas, part) for networks in (pair.before, pair.after)]
    if sides[0] is not None and sides[1] is not None:
        told["trials"] = {"before": int(np.nanmax(sides[0].trials)), "after": int(np.nanmax(sides[1].trials)),
                          "compared": flips.trials if flips else None}
    for name, other in (("random", RANDOM), ("plausible", PLAUSIBLE)):
        if other != attack and (row := flips_contrast(pair, other, mas, part, seed)) is not None:
            told[name] = row
    draws = [inside(networks, RANDOM, mas, part) for networks in (pair.before, pair.after)]
    if draws[0] is not None and draws[1] is not None:
        told["random_draw"] = contrast(draws[0].rate, draws[1].rate, patients, seed)
    return told


def _missed(networks: Reads, attack: str, mas: float, part: str) -> dict[str, int] | None:
    """Reads that other noise of the dose flips and the attack does not, though it may make that noise as well: each
    is a proven failure of its search. None where no other noise was tried there."""
    own = inside(networks, attack, mas, part)
    others = [under for name, dose in networks.under if name in (RANDOM, PLAUSIBLE) and name != attack
              and dose == mas and (under := inside(networks, name, mas, part)) is not None]
    if own is None or not others:
        return None
    flipped = np.any([np.nan_to_num(under.flips) > 0 for under in others], axis=0)
    known = own.trials > 0
    return {"reads": int(known.sum()), "missed": int((known & flipped & (own.flips == 0)).sum())}


def _by_round(before: Reads, method: HardenedMethod, judged: Judged,
              seed: int) -> list[dict[str, Any]]:
    """SAN after each round against that before it."""
    attack, mas, part = judged
    rows = []
    for number, (first, second) in enumerate(pairwise((before, *method.rounds)), 1):
        row = None if attack is None or mas is None else flips_contrast(paired(first, second), attack, mas, part, seed)
        if row is not None:
            rows.append({"round": number, "san": row})
    return rows


def _recalls(pair: Pair, part: str, seed: int) -> dict[str, Any]:
    """Accuracy, and with two classes sensitivity and specificity, of the clean reads."""
    sides = [np.where(networks.inside(part), _right(networks), np.nan) for networks in (pair.before, pair.after)]
    label = pair.before.label[:, None]
    told = {"accuracy": contrast(sides[0], sides[1], pair.before.patient, seed)}
    if pair.before.logits.shape[2] == 2:
        for name, one in (("sensitivity", 1), ("specificity", 0)):
            first, second = (np.where(label == one, side, np.nan) for side in sides)
            told[name] = contrast(first, second, pair.before.patient, seed)
    return told


def _right(networks: Reads) -> Floats:
    """1 where read right, 0 where wrong or undecided, NaN where the label is unknown or the read absent."""
    there = (networks.label >= 0)[:, None] & (networks.part != "")
    return np.where(there, (networks.prediction == networks.label[:, None]).astype(np.float64), np.nan)


def _halved(san: Contrast | None) -> str:
    """Whether SAN is at most half of what it was: "yes" or "no" where the ratio's whole interval says so."""
    if san is None or san.ratio.low is None or san.ratio.high is None:
        return "few"
    return "yes" if san.ratio.high < 0.5 else "no" if san.ratio.low > 0.5 else "unclear"


def _kept(auc: Contrast, cost: float) -> str:
    """Whether the AUC fell by no more than `cost`: "yes" or "no" where the difference's whole interval says so."""
    difference = auc.difference
    if difference.low is None or difference.high is None:
        return "few"
    return "yes" if difference.low > -cost else "no" if difference.high < -cost else "unclear"


def _lost(san: Contrast | None, robust: Contrast | None) -> bool:
    """Fewer flips, yet not more images that are read right and stay so: the reads were lost, not made steady."""
    return bool(san and robust and robust.difference.value is not None and (san.difference.value or 0.0) < 0
                and robust.difference.value <= 0)


def auc_cost(hardening: NoiseHardening) -> float:
    stated = hardening.settings.get("auc_cost")
    return float(stated) if isinstance(stated, int | float) else AUC_COST


def _stated(settings: Mapping[str, Any], name: str, trained: Sequence[Training]) -> dict[str, Any]:
    """The kind of a method and the variant that it began with: as its training says, else as the study does."""
    compare = settings.get("compare")
    other = compare.get(name) if isinstance(compare, Mapping) else None
    held = [*trained, other if isinstance(other, Mapping) else {}, settings]
    return {key: next((str(one[key]) for one in held if one.get(key)), None) for key in ("method", "variant")}


def _shifts(trained: Sequence[Training]) -> dict[str, list[float | None]]:
    """By dose, the mean over folds of what is taken off the logits of reads as class 0, and as class 1."""
    doses = dict.fromkeys(str(mas) for one in trained for mas in one.get("shifts") or {})
    held = {mas: [one["shifts"][mas] for one in trained if mas in (one.get("shifts") or {})] for mas in doses}
    return {mas: [_mean([_number(pair[side]) for pair in pairs]) for side in (0, 1)] for mas, pairs in held.items()}


def _harder(convergence: Mapping[int, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The flips that a search finds and that one with ten times the gradients finds, folds together."""
    rows = [row for told in convergence.values() for row in told.get("rows", ())]
    if not rows:
        return None
    return {"mas": rows[0]["mas"], "gradients": max(row["gradients_more"] for row in rows)} | {
        name: int(sum(row[name] for row in rows)) for name in ("images", "flips", "flips_more")}


def _told(trainings: Mapping[int, Training], key: str) -> list[dict[str, Any]]:
    return [{"fold": fold, "said": str(one[key])} for fold, one in sorted(trainings.items()) if one.get(key)]


def _training(trained: Sequence[Training]) -> dict[str, Any]:
    """What the training cost: means over the folds that say so."""
    epochs = [float(sum(len(one.get("epochs") or ()) for one in told.get("rounds") or ())) for told in trained]
    costs = {name: _mean([_number(one.get(name)) for one in trained]) for name in ("passes", "budget", "seconds")}
    held = [one["settings"] for one in trained if isinstance(one.get("settings"), Mapping)]
    stated: Mapping[str, Any] = next(iter(held), {})
    return costs | {
        "epochs": _mean(epochs), "noise": next((one.get("noise") for one in trained if one.get("noise")), None),
        "mas": next((one.get("mas") for one in trained if one.get("mas")), None),
        "share": stated.get("share"), "starts": stated.get("starts")}


def _round_rows(trained: Sequence[Training]) -> list[dict[str, Any]]:
    """What each round did: means over the folds, and the epochs that were chosen."""
    most = max((len(one.get("rounds") or ()) for one in trained), default=0)
    rows = []
    for at in range(most):
        own = [one["rounds"][at] for one in trained if len(one.get("rounds") or ()) > at]
        last = [one["epochs"][-1] for one in own if one.get("epochs")]
        chosen = [(one.get("epochs") or [])[one["chosen_epoch"] - 1] for one in own
                  if 0 < (one.get("chosen_epoch") or 0) <= len(one.get("epochs") or [])]
        rows.append({"round": at + 1, "folds": len(own), "chosen": [one.get("chosen_epoch") for one in own]}
                    | {name: _mean([_number(one.get(name)) for one in own])
                       for name in ("attacked", "found", "taught")}
                    | {name: _mean([_number(one.get(name)) for one in chosen])
                       for name in ("validation_auc", "validation_steady")}
                    | {f"last_{name}": _mean([_number(one.get(name)) for one in last])
                       for name in ("validation_auc", "validation_steady")})
    return rows


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
