"""What was stored of where networks look, as aligned arrays: attention rows of every fold, n cases by f folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from steadyread.metrics.intervals import Flags, Floats
from steadyread.metrics.reads import Strings
from steadyread.metrics.seeing_features import FeatureChange

Group = Literal["all", "flipped", "steady"]
GROUPS: tuple[Group, ...] = ("all", "flipped", "steady")
TESTED = GROUPS[1:]
MEASURES = ("overlap", "distance_mm", "rank_correlation", "inside_clean", "inside_noisy", "area_clean",
            "area_noisy")
CHANGES = ("inside", "area")       # from clean to noisy, as noisy minus clean
_METHODS = {"grad_cam": "Grad-CAM", "integrated_gradients": "Integrated gradients"}


@dataclass(frozen=True, eq=False)
class SeenFold:
    """What was stored of one fold's network: seen.json, and the changes of its features on all test images."""

    fold: int
    told: Mapping[str, Any]
    features: FeatureChange


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention rows of one method under one noise: n cases by f folds, NaN where a read has no figure."""

    method: str
    attack: str
    case_id: Strings
    patient: Strings
    flipped: Floats
    prediction: Floats
    mask_share: Floats
    values: Mapping[str, Floats]

    def inside(self, group: Group) -> Flags:
        """The reads (n, f) of a group."""
        if group == "all":
            return np.isfinite(self.flipped)
        return np.asarray(self.flipped == (1.0 if group == "flipped" else 0.0))


def method_name(method: str) -> str:
    """A method's name as the literature writes it."""
    return _METHODS.get(method, method.replace("_", " "))


def attack_key(attack: str) -> str:
    """A noise's name as the records have it: `plausible` is `plausible_ct_noise`."""
    return attack if attack.endswith("_ct_noise") else f"{attack}_ct_noise"


def attention_of(seen: Sequence[SeenFold], main: str) -> list[Attention]:
    """The attention of each method under each noise, the study's own noise first."""
    rows = [(at, row) for at, one in enumerate(seen) for row in one.told["attention"]]
    keys = dict.fromkeys((str(row["method"]), attack_key(str(row.get("attack") or main))) for _, row in rows)
    attacks = sorted({attack for _, attack in keys}, key=lambda name: (name != main, name))
    return [_attention([(at, row) for at, row in rows if str(row["method"]) == method
                        and attack_key(str(row.get("attack") or main)) == attack], method, attack, len(seen))
            for attack in attacks for method, other in keys if other == attack]


def _attention(rows: Sequence[tuple[int, Mapping[str, Any]]], method: str, attack: str, folds: int) -> Attention:
    patients = {str(row["case_id"]): str(row["patient_id"]) for _, row in rows}
    names = sorted(patients)
    place = {name: at for at, name in enumerate(names)}
    fields = ("flipped", "prediction", "mask_share", *MEASURES)
    held = {name: np.full((len(names), folds), np.nan) for name in fields}
    for fold, row in rows:
        for name in fields:
            value = row.get(name)
            held[name][place[str(row["case_id"])], fold] = np.nan if value is None else float(value)
    changes = {f"{name}_change": held[f"{name}_noisy"] - held[f"{name}_clean"] for name in CHANGES}
    return Attention(method, attack, np.array(names, str), np.array([patients[name] for name in names], str),
                     held.pop("flipped"), held.pop("prediction"), held.pop("mask_share"), held | changes)
