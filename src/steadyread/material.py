"""A study's cases: read, drawn, split, prepared, with every setting filled in that the data decide."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from steadyread.cases import (
    LAYOUTS,
    Cases,
    balance,
    fingerprint,
    limit,
    open_cases,
    phantom,
    prepare,
    relabelled,
    split,
    spooled,
)
from steadyread.cases import fold as folded
from steadyread.errors import InputRefused, UsageError
from steadyread.models.loading import BUILT_IN, read_card
from steadyread.study import Study, completed, with_epsilons
from steadyread.units import Bounds

SYNTHETIC = "synthetic"


@dataclass(frozen=True, eq=False)
class Material:
    """A study with every default filled in, and its cases: `raw` as read, `ready` as the network sees them.

    `whole` is how many images the data set has, before any draw.
    """

    study: Study
    raw: Cases
    ready: Cases
    whole: int

    @property
    def seed(self) -> int:
        """What the split and the draws are made with."""
        return _seed_of_split(self.study)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what a network may learn from: the images that are not for testing, with their labels."""
        rows = tuple(row for row in self.ready.rows if row.part != "test")
        return fingerprint(replace(self.ready, rows=rows))

    @property
    def channels(self) -> int:
        """Of the images, as the network sees them."""
        return int(self.ready[0].image.shape[0])


def gather(study: Study, fold: int | None = None, labels: str = "class") -> Material:
    """Reads, draws, splits and prepares the cases, and fills in what the study leaves open.

    `fold` is one of the study's cross-validation; `labels` = "rating" teaches the readers' rating on that split.
    """
    layout, raw = _opened(study)
    whole = len(raw)
    card = read_card(study.model.weights) if study.model.weights is not None else None
    if study.model.weights is not None and card is None:
        _refuse_unstated(study)
    stated = completed(study, layout, _of_card(card, study, raw) if card else {})
    seed = _seed_of_split(stated)
    if stated.data.limit is not None:
        raw = limit(raw, stated.data.limit, seed)
    raw = _parted(raw, stated, fold, seed)
    _refuse_crossing(raw)
    raw = relabelled(raw) if labels == "rating" else raw
    if stated.training is None and not any(row.part == "validation" for row in raw.rows):
        raw = replace(raw, rows=tuple(replace(row, part="validation" if row.part == "train" else row.part)
                                      for row in raw.rows))
    if stated.split.balance:
        raw = balance(raw, seed)
    if "window" not in study.preparation.model_fields_set:
        stated = _windowed(stated, raw.bounds)
    ready = prepare(raw, stated.preparation.preparation())
    if stated.model.bounds is not None:
        ready = replace(ready, bounds=Bounds(*stated.model.bounds, ready.bounds.unit))
    ready = spooled(ready)
    return Material(with_epsilons(_shaped(stated, ready), ready.bounds), raw, ready, whole)


def _parted(raw: Cases, study: Study, fold: int | None, seed: int) -> Cases:
    """Training, validation and test parts by patient; with a `fold`, that one validates."""
    asked = study.split
    if fold is None or asked.folds is None:
        return split(raw, seed, asked.test_share, asked.validation_share, asked.official)
    return folded(raw, fold, asked.folds, seed, asked.test_share, asked.official)


def _refuse_crossing(raw: Cases) -> None:
    """Official parts that share patients: what is learnt from one would be tested on the other."""
    if not raw.patients_known:
        return
    parts: dict[str, set[str]] = {}
    for row in raw.rows:
        parts.setdefault(row.patient, set()).add(row.part)
    crossing = sorted(patient for patient, held in parts.items() if len(held) > 1)
    if crossing:
        raise InputRefused(f"{raw.name}: {len(crossing)} of {len(parts)} patients stand in more than one of the "
                           f"set's own parts, such as {crossing[0]}: split by patient, split.official = false")


def _refuse_unstated(study: Study) -> None:
    """Weights that say nothing of themselves: what they were made for must be stated, not guessed."""
    missing = [flag for flag, there in (
        ("--data", study.data.path is not None), ("--bounds LO,HI", "bounds" in study.model.model_fields_set),
        ("--output HEAD", "output" in study.model.model_fields_set)) if not there]
    if missing:
        raise UsageError(f"the weights {study.model.weights} do not say what they were made for: give "
                         f"{', '.join(missing)} (and --normalise, where the network wants other values than the "
                         "images hold)")


def attacked_cases(material: Material) -> Cases:
    """The validation and test cases that are attacked; of either part at most `attacks.limit`, drawn by class."""
    test, validation = material.ready.part("test"), material.ready.part("validation")
    most = material.study.attacks.limit or len(test)
    if len(test):
        test = limit(test, most, material.seed)
    if len(validation):
        validation = limit(validation, max(min(most, len(test)), len(validation.classes)), material.seed)
    return replace(test, rows=validation.rows + test.rows)


def _opened(study: Study) -> tuple[str, Cases]:
    if study.data.path is None:
        return SYNTHETIC, phantom.nodules(study.data.synthetic, _seed_of_split(study))
    path = Path(study.data.path).expanduser()
    cases = open_cases(path, study.data.layout, **study.data.options)
    found = study.data.layout or next(layout.name for layout in LAYOUTS.values() if layout.recognises(path))
    return found, cases


def _of_card(card: Mapping[str, Any], study: Study, raw: Cases) -> dict[str, Any]:
    """What a model of ours says of itself, as settings; its split too where it was trained on these very data.

    Raises:
        InputRefused: it names code to import, which a stranger's file must not choose.
    """
    named = card.get("model")
    if named not in BUILT_IN and "name" not in study.model.model_fields_set:
        raise InputRefused(f"{study.model.weights} is for the network '{named}', which is not built in: if you "
                           f"trust that code, give --model {named}")
    settings = {"model": {"name": named} | {key: card[key] for key in (
        "arguments", "output", "normalise", "threshold", "window") if key in card}}
    if "preparation" in card:
        settings["preparation"] = card["preparation"]
    if card.get("data") == {"name": raw.name, "images": len(raw)}:
        settings["split"] = card["split"]
        settings["data"] = {"limit": card["limit"]}
    return settings


def _windowed(study: Study, bounds: Bounds) -> Study:
    """Bounds in HU narrower than the scanner's are a window: values are clipped to it, as a reader's screen does.

    Grey levels are left alone: there, pixels outside the stated bounds mean that the bounds are wrong.
    """
    stated = study.model.bounds
    if stated is None or bounds.unit != "HU":
        return study
    preparing = study.preparation.model_copy(update={"window": stated})
    return study.model_copy(update={"preparation": preparing})


def _shaped(study: Study, cases: Cases) -> Study:
    """What a built-in network must know of the images, unless stated: classes, channels and size."""
    factory = BUILT_IN.get(study.model.name)
    if factory is None or not len(cases):
        return study
    shape = tuple(cases[0].image.shape)
    known = {"classes": len(cases.classes), "channels": shape[0],
             "size": shape[1] if len(set(shape[1:])) == 1 else list(shape[1:])}
    takes = signature(factory).parameters
    arguments = {key: value for key, value in known.items() if key in takes} | study.model.arguments
    return study.model_copy(update={"model": study.model.model_copy(update={"arguments": arguments})})


def _seed_of_split(study: Study) -> int:
    return study.seed if study.split.seed is None else study.split.seed
