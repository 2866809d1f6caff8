"""What a fold's network sees, read back: seen.json (attention, sanity) and seen.npz (features, shown images)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyread import records
from steadyread.charts.seeing import Shown
from steadyread.errors import InputRefused
from steadyread.files import JOBS, SEEN, SEEN_ARRAYS
from steadyread.metrics.reads import ORIGINAL
from steadyread.metrics.seeing_features import FeatureChange
from steadyread.metrics.seeing_reads import MEASURES, SeenFold, attack_key
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.report.stored import class_name
from steadyread.store import folds_in

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
_TOLD = {"attack": str, "mas": int | float, "layer": str, "feature_layer": str, "measure": str, "target": str,
         "methods": list, "attention": list, "sanity": list}
_ROW = ("case_id", "patient_id", "flipped", "method", *MEASURES[:5])
_FIGURES = ("flipped", "prediction", "mask_share", *MEASURES)
_SANE = ("method", "randomised", "correlations")
_SHOWN = ("case_id", "label", "attack", "mas", "clean_probability", "noisy_probability", "clean", "noisy", "mask",
          "spacing_mm", "features_clean", "features_noisy", "change")
_CHANGE = ("feature_case_id", "feature_patient_id", "feature_change")
_IMAGES = ("clean", "noisy", "mask")
_AGAIN = "remove it and run the study again"


@dataclass(frozen=True, eq=False)
class SeenRun:
    """What the original network of every fold sees, with the images that are shown."""

    folds: list[SeenFold]
    shown: list[Shown]


def read_seen_run(run: Path, classes: Sequence[str] = (), shared: Shareable = AS_IT_IS) -> SeenRun | None:
    """All that is stored in a study's folder; None where it did not look.

    Raises:
        InputRefused: a file that is not what it should be.
    """
    folds = [(place, seen) for fold, place in folds_in(run / JOBS / ORIGINAL).items()
             if (seen := read_seen(place, fold))]
    if not folds:
        return None
    return SeenRun([seen for _, seen in folds],
                   [one for place, seen in folds
                    for one in read_shown(place / SEEN_ARRAYS, seen.fold, classes, seen.told, shared)])


def read_seen(place: Path, fold: int) -> SeenFold | None:
    """What is stored of the network in the folder `place`; None where the study did not look.

    Raises:
        InputRefused: a file that is not what it should be, or one without the other.
    """
    told_at, arrays_at = place / SEEN, place / SEEN_ARRAYS
    if not told_at.exists() or not arrays_at.exists():
        return None       # a network under way: the second file comes after the first
    told = _checked(records.read_json(told_at), told_at)
    arrays = records.read_npz(arrays_at)
    missing = [name for name in _CHANGE if name not in arrays]
    if missing:
        raise InputRefused(f"{arrays_at} must hold {', '.join(_CHANGE)}; it lacks {', '.join(missing)}: {_AGAIN}")
    change = arrays["feature_change"].astype(np.float64)
    cases, patients = (arrays[name].astype(str) for name in _CHANGE[:2])
    if change.ndim != 2 or not len(change) == len(cases) == len(patients):
        raise InputRefused(f"{arrays_at}: feature_change must have a row an image, as feature_case_id "
                           f"({len(cases)}) and feature_patient_id ({len(patients)}), and a column a feature; it "
                           f"is {change.shape}: {_AGAIN}")
    return SeenFold(fold, told, FeatureChange(fold, cases, patients, change))


def read_shown(stored: Path, fold: int | None = None, classes: Sequence[str] = (),
               seen: Mapping[str, Any] | None = None, shared: Shareable = AS_IT_IS) -> list[Shown]:
    """The shown images of a seen.npz; `seen` (seen.json) tells which of them flipped, `shared` their names.

    Raises:
        InputRefused: no readable npz of these arrays, of one length and with images of one shape.
    """
    arrays = records.read_npz(stored)
    missing = [name for name in _SHOWN if name not in arrays]
    if missing:
        raise InputRefused(f"{stored} must hold {', '.join(_SHOWN)}; it lacks {', '.join(missing)}: {_AGAIN}")
    maps = [name for name in arrays if name.startswith("map_")]
    shapes = {name: arrays[name].shape for name in (*_IMAGES, *maps)}
    if len(set(shapes.values())) > 1 or arrays["clean"].ndim not in (3, 4):
        raise InputRefused(f"{stored}: images, masks and maps must have one shape (images, y, x) or (images, z, y, "
                           f"x); it holds {shapes}: {_AGAIN}")
    wanted = dict.fromkeys(_SHOWN[:6], shapes["clean"][:1]) | {
        "spacing_mm": (shapes["clean"][0], len(shapes["clean"]) - 1),
        "features_noisy": arrays["features_clean"].shape, "change": arrays["features_clean"].shape[:2]}
    wrong = {name: arrays[name].shape for name, shape in wanted.items() if arrays[name].shape != shape}
    if wrong or len(arrays["change"]) != len(arrays["clean"]):
        raise InputRefused(f"{stored}: expected a row an image in every array, here {len(arrays['clean'])}, with a "
                           f"spacing an axis and a change a feature; got {wrong or arrays['change'].shape}: "
                           f"{_AGAIN}")
    flips = _flips(seen)
    shown = [_shown(arrays, row, fold, classes, flips) for row in range(len(arrays["clean"]))]
    return [replace(one, case_id=shared.case(one.case_id)) for one in shown]


def _shown(arrays: Arrays, row: int, fold: int | None, classes: Sequence[str],
           flips: Mapping[tuple[str, str], bool]) -> Shown:
    case, attack = str(arrays["case_id"][row]), attack_key(str(arrays["attack"][row]))
    clean, noisy = (float(arrays[name][row]) for name in ("clean_probability", "noisy_probability"))
    crossed = (clean >= 0.5) != (noisy >= 0.5) if np.isfinite([clean, noisy]).all() else None
    spacing = np.nan_to_num(np.asarray(arrays["spacing_mm"][row], np.float64), nan=1.0)
    return Shown(case, class_name(arrays["label"][row], classes), attack, float(arrays["mas"][row]), fold,
                 flips.get((case, attack), crossed),
                 arrays["clean"][row].astype(np.float64), arrays["noisy"][row].astype(np.float64), clean, noisy,
                 np.asarray(arrays["mask"][row]) > 0, tuple(spacing.tolist()),
                 arrays["features_clean"][row].astype(np.float64),
                 arrays["features_noisy"][row].astype(np.float64), arrays["change"][row].astype(np.float64),
                 {name: (arrays[f"map_{name}_clean"][row].astype(np.float64),
                         arrays[f"map_{name}_noisy"][row].astype(np.float64)) for name in _methods(arrays)})


def _methods(arrays: Arrays) -> list[str]:
    """The methods of which both maps are there."""
    named = [name.removeprefix("map_").removesuffix("_clean") for name in arrays
             if name.startswith("map_") and name.endswith("_clean")]
    return [name for name in named if f"map_{name}_noisy" in arrays]


def _flips(seen: Mapping[str, Any] | None) -> dict[tuple[str, str], bool]:
    rows = seen["attention"] if seen else ()
    main = str(seen["attack"]) if seen else ""
    return {(str(row["case_id"]), attack_key(str(row.get("attack") or main))): bool(row["flipped"]) for row in rows}



def _checked(told: Any, path: Path) -> dict[str, Any]:
    """seen.json with all its keys, every row with its own, and numbers where numbers are."""
    if not isinstance(told, dict):
        raise InputRefused(f"{path} must hold one JSON object; it holds a {type(told).__name__}: {_AGAIN}")
    wrong = [name for name, kind in _TOLD.items() if not isinstance(told.get(name), kind)]
    if wrong:
        raise InputRefused(f"{path}: {', '.join(wrong)} missing or not of its kind: {_AGAIN}")
    for table, names in (("attention", _ROW), ("sanity", _SANE)):
        for at, row in enumerate(told[table]):
            lacking = [name for name in names if not isinstance(row, dict) or name not in row]
            if lacking:
                raise InputRefused(f"{path}: row {at} of {table} must have {', '.join(names)}; it lacks "
                                   f"{', '.join(lacking)}: {_AGAIN}")
            figures = row["correlations"] if table == "sanity" else [row.get(name) for name in _FIGURES]
            if not isinstance(figures, list) or not all(isinstance(one, int | float | None) for one in figures):
                raise InputRefused(f"{path}: row {at} of {table} must hold numbers or null; it holds {figures!r}: "
                                   f"{_AGAIN}")
    return told
