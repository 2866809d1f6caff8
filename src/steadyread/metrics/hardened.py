"""Hardened networks as they stand in a run: which there are, what they began with, and what their trainings say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steadyread.metrics.reads import ORIGINAL, Reads

BEFORE = "before"
AUC_COST = 0.01         # what a study that does not say allows hardening to cost
Training = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Hardened:
    """The networks of one hardening, whatever it hardens against.

    `name` is the study's word for it, "" for the own one of a run of one network. `reads` are those after it, a
    network a fold, None where none is judged yet; `rounds` those after each recorded round. `trainings` holds
    training.json by fold, also of folds whose training failed; `findings` those of each network; `convergence` by
    fold what ten times the gradients find; `plan` is that of the first fold.
    """

    name: str
    reads: Reads | None
    rounds: tuple[Reads, ...] = ()
    trainings: Mapping[int, Training] = field(default_factory=dict)
    findings: Sequence[tuple[int, Mapping[str, Any]]] = ()
    convergence: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def training(self) -> dict[str, Any]:
        """The training of the first fold in which it did not fail, if any; where others were taught another size or
        kept another epoch, that is told too. `failed` is why, where it failed in every fold, and `partly` where it
        failed in some."""
        said = [each for each in self.trainings.values() if each]
        told = dict(next((each for each in said if not each.get("failed")), said[0] if said else {}))
        if len(self.trainings) < 2:
            return told
        failed = [f"in fold {fold}: {each['failed']}" for fold, each in self.trainings.items() if each.get("failed")]
        whole = {key: value for key, value in told.items() if key != "failed"} | _otherwise(told, said)
        if not failed:
            return whole
        every = len(failed) == len(self.trainings)
        return whole | {"failed" if every else "partly": "; ".join(failed), "folds_failed": [
            len(failed), len(self.trainings)]}


@dataclass(frozen=True, eq=False)
class Hardenings:
    """What was hardened: the study's settings of it, the networks before, and every method, the main one first."""

    settings: Mapping[str, Any]
    before: Reads | None
    methods: tuple[Hardened, ...]

    def before_of(self, method: Hardened) -> Reads | None:
        """The networks that a method began with: those of its variant as they are; None where the study judged none
        of them so. One that is not trained at all is set against the study's own."""
        kind, variant = self.stated(method).values()
        if kind == "none" or variant in (None, self.settings.get("variant") or ORIGINAL):
            return self.before
        for other in self.methods:
            if other is not method and self.stated(other) == {"method": "none", "variant": variant}:
                return other.reads
        return None

    def stated(self, method: Hardened) -> dict[str, str | None]:
        """The kind of a method and the variant that it began with: as its training says, else as the study does."""
        compare = self.settings.get("compare")
        other = compare.get(method.name) if isinstance(compare, Mapping) else None
        sources = [*method.trainings.values(), other if isinstance(other, Mapping) else {}, self.settings]
        return {key: next((str(each[key]) for each in sources if each.get(key)), None)
                for key in ("method", "variant")}

    @property
    def auc_cost(self) -> float:
        """How much AUC hardening may cost."""
        stated = self.settings.get("auc_cost")
        return float(stated) if isinstance(stated, int | float) else AUC_COST


def _otherwise(first: Training, trainings: Sequence[Training]) -> dict[str, Any]:
    """The sentences that say by what size was taught and which epoch kept, where folds differ in it from the `first`
    that is told of."""
    changed: dict[str, Any] = {}
    for key, sentence in (("epsilon", "why"), ("chosen_epoch", "rule")):
        values = [each[key] for each in trainings if isinstance(each.get(key), int | float)]
        if len(set(values)) > 1:
            unit = f" {first.get('unit')}" if key == "epsilon" and first.get("unit") else ""
            said = str(first.get(sentence) or "").rstrip(".")
            of = "the first fold" if first is trainings[0] or first == trainings[0] else "one fold"
            changed[sentence] = (f"{said}. That is of {of}; by fold: "
                                 f"{', '.join(f'{value:.3g}' for value in values)}{unit}")
    return changed


def shifts_of(trained: Sequence[Training]) -> dict[str, list[float | None]]:
    """By dose, the mean over folds of what is taken off the logits of reads as class 0, and as class 1."""
    doses = dict.fromkeys(str(mas) for one in trained for mas in one.get("shifts") or {})
    held = {mas: [one["shifts"][mas] for one in trained if mas in (one.get("shifts") or {})] for mas in doses}
    return {mas: [_mean([_number(pair[side]) for pair in pairs]) for side in (0, 1)] for mas, pairs in held.items()}


def searched_harder(convergence: Mapping[int, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The flips that a search finds and that one with ten times the gradients finds, folds together."""
    rows = [row for told in convergence.values() for row in told.get("rows", ())]
    if not rows:
        return None
    return {"mas": rows[0]["mas"], "gradients": max(row["gradients_more"] for row in rows)} | {
        name: int(sum(row[name] for row in rows)) for name in ("images", "flips", "flips_more")}


def said_by_fold(trainings: Mapping[int, Training], key: str) -> list[dict[str, Any]]:
    """What the trainings say under a key, by fold."""
    return [{"fold": fold, "said": str(one[key])} for fold, one in sorted(trainings.items()) if one.get(key)]


def costs_of(trained: Sequence[Training]) -> dict[str, Any]:
    """What the training cost: means over the folds that say so."""
    epochs = [float(sum(len(one.get("epochs") or ()) for one in told.get("rounds") or ())) for told in trained]
    costs = {name: _mean([_number(one.get(name)) for one in trained]) for name in ("passes", "budget", "seconds")}
    held = [one["settings"] for one in trained if isinstance(one.get("settings"), Mapping)]
    stated: Mapping[str, Any] = next(iter(held), {})
    return costs | {
        "epochs": _mean(epochs), "noise": next((one.get("noise") for one in trained if one.get("noise")), None),
        "mas": next((one.get("mas") for one in trained if one.get("mas")), None),
        "share": stated.get("share"), "starts": stated.get("starts")}


def rounds_of(trained: Sequence[Training]) -> list[dict[str, Any]]:
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
