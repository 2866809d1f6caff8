"""A study's cases: read, drawn, split, prepared, with every setting filled in that the data decide."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from steadyread.cases import (
    READERS,
    Cases,
    balance,
    beside,
    fingerprint,
    in_order,
    limit,
    of_finding,
    open_cases,
    phantom,
    relabelled,
    split,
    spooled,
)
from steadyread.cases import fold as folded
from steadyread.cases.opening import recognised
from steadyread.cases.readable import readable
from steadyread.errors import InputRefused, NoClasses, UsageError
from steadyread.files import file_or_folder
from steadyread.jobs.cards import refuse_unstated, settings_of
from steadyread.jobs.ready import first_readable, ready_for
from steadyread.models import loading as models
from steadyread.models.loading import read_card
from steadyread.progress import Progress, at_work, quiet
from steadyread.study import Study, completed
from steadyread.study.defaults import SYNTHETIC
from steadyread.units import unit_word

_COLOURS = {1: "grey", 3: "colour"}     # how pictures are read for a network that takes so many channels
_VALIDATION = 0.2    # share of data.train, where the study states none


@dataclass(frozen=True, eq=False)
class Material:
    """A study with every default filled in, and its cases: `raw` as read, `ready` as the network sees them.

    `whole` is how many images the data set has, before any draw; `taught` are the ids of those of data.train, or of
    those for training that come with given weights' test images.
    """

    study: Study
    raw: Cases
    ready: Cases
    whole: int
    taught: frozenset[str] = frozenset()

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
    def assessed(self) -> Cases:
        """What a run assesses: images that given weights are hardened with, which may be told later, have no part
        in it."""
        if self.study.model.weights is None:
            return self.ready
        return replace(self.ready, rows=tuple(row for row in self.ready.rows if row.id not in self.taught))

    @property
    def channels(self) -> int:
        """Of the images, as the network sees them."""
        return int(self.ready[0].image.shape[0])


def refuse_absent(study: Study) -> None:
    """What can be refused before any image is read: data, network and weights that are not there.

    Raises:
        InputRefused, UsageError: as said.
    """
    for path in (study.data.path, study.data.train):
        if path is not None:
            file_or_folder(Path(path).expanduser())
    models.refuse_absent(study.model.name, study.model.weights)
    if study.model.pretrained is not None:
        models.existing(Path(study.model.pretrained))


@dataclass(frozen=True, eq=False)
class Listed:
    """A study's data set as it is listed, with every setting that this decides; no image is read for it.

    `kept` says that given weights were trained on these very images, whose split is kept.
    """

    asked: Study
    study: Study
    layout: str
    raw: Cases
    kept: bool = False

    @property
    def labelled(self) -> Cases:
        """The images with their labels: those of the study's one finding, where it has any."""
        model = self.asked.model
        return of_finding(self.raw, model.assessed[0], model.findings) if model.findings else self.raw

    @property
    def first(self) -> Material:
        """The first two images that can be read, as they would be without any draw and split."""
        cases = self.labelled
        return Material(*ready_for(self.study, self.asked, cases.pick(first_readable(cases))), len(cases))


def listed(study: Study) -> Listed:
    """The study's data set, listed: what the layout, the classes and the card of given weights decide is filled in.

    Raises:
        UsageError, InputRefused: no such data, or something else than is stated; weights that do not say enough of
            themselves.
    """
    facts = study.model.facts()
    colours = {"channels": _COLOURS[facts.channels]} if facts.channels in _COLOURS else {}
    layout, raw = _opened(study, colours | facts.settings.get("data", {}).get("options", {}))
    card = read_card(study.model.weights) if study.model.weights is not None and not study.model.whole else None
    if study.model.weights is not None and card is None:
        refuse_unstated(study, facts, raw.bounds)
    told = settings_of(card, study, raw) if card else facts.stated
    raw = replace(raw, notes=(*raw.notes, *(f"{study.model.title}: {each}" for each in facts.differs)))
    raw = raw if study.model.findings else in_order(raw, facts.classes, bool(study.model.classes))
    return Listed(study, _completed(study, layout, told), layout, raw, "split" in told)


def _completed(study: Study, layout: str, told: Mapping[str, Any]) -> Study:
    """The study with what its layout and a card decide. A card's network is only sketched, its memory not taken.

    Raises:
        InputRefused: the card asks for what cannot be.
    """
    try:
        whole = completed(study, layout, told)
        if told and whole.model.built_in:
            models.sketched(whole.model.name, whole.model.arguments)
    except UsageError as problem:
        if not told:
            raise
        raise InputRefused(f"{study.model.weights}: the card beside the weights: {problem}") from problem
    return whole


def gather(study: Study, fold: int | None = None, labels: str = "class", progress: Progress = quiet,
           known: Listed | None = None) -> Material:
    """Reads, draws, splits and prepares the cases, and fills in what the study leaves open.

    Cases whose image cannot be read are left out, and named in `unread` of `raw` and `ready`.
    `fold` is one of the study's cross-validation; `labels` = "rating" teaches the readers' rating on that split;
    `known` is the data set where it is listed already.
    """
    known = listed(study) if known is None else known
    stated, raw = known.study, known.labelled
    seed, whole = _seed_of_split(stated), len(raw)
    if stated.data.limit is not None:
        raw = limit(raw, stated.data.limit, seed)
    taught = _taught(stated, known.layout, raw, seed)
    taken, given = raw, study.model.weights is not None and study.hardening is not None
    raw = at_work(progress, f"splitting {len(raw)} images", lambda: _parted(taken, taught, known, fold, seed))
    _refuse_crossing(raw)
    raw = relabelled(raw) if labels == "rating" else raw
    if stated.split.balance:
        raw = balance(raw, seed)
    stated, raw, ready = ready_for(known.study, known.asked, raw)
    raw, ready = readable(raw, spooled(ready), progress)
    learnt = [row for row in taken.rows if row.part == "train" and given] if taught is None else taught.rows
    return Material(stated, raw, ready, whole, frozenset(row.id for row in learnt))


def _parted(raw: Cases, taught: Cases | None, known: Listed, fold: int | None, seed: int) -> Cases:
    """Training, validation and test parts by patient; with a `fold`, that one validates. The images of data.train,
    `taught`, have their parts already, and the others are then for testing."""
    study, asked = known.study, known.study.split
    given = (study.model.weights is not None and not known.kept
             and not (study.keeps_for_hardening and asked.test_share < 1))
    if given:
        raw = _given(raw, study, seed)
    elif taught is not None:
        raw = _for_testing(raw, asked.official)
    raw = raw if taught is None else beside(raw, taught)
    if fold is not None and asked.folds is not None:
        return folded(raw, fold, asked.folds, seed, asked.test_share, asked.official or taught is not None)
    if given or taught is not None:
        return raw
    return split(raw, seed, asked.test_share, asked.validation_share, asked.official)


def _given(raw: Cases, study: Study, seed: int) -> Cases:
    """With given weights images without a part are for testing, but for the share of validation images that is
    asked for, by which the threshold of triage is chosen."""
    asked = study.split
    share = min(asked.test_share, 1 - asked.validation_share)
    if share == 1:
        tested = _for_testing(raw, asked.official)
        if not len(tested.part("test")):
            raise InputRefused(f"{raw.name}: all of its images are in parts for training or validation, none for "
                               "testing: state split.official = false to assess them all")
        if study.hardening is not None and study.data.train is None and len(tested.part("train")):
            return split(tested, seed, 0.0, asked.validation_share or _VALIDATION)
        return tested
    parted = split(raw, seed, share, 0.0, asked.official)
    if any(row.part == "validation" for row in parted.rows):
        return parted
    return replace(parted, rows=tuple(replace(row, part="validation" if row.part == "train" else row.part)
                                      for row in parted.rows))


def _for_testing(raw: Cases, official: bool = True) -> Cases:
    """The cases, those without a part of their own for testing."""
    return replace(raw, rows=tuple(replace(row, part=(row.part if official else "") or "test") for row in raw.rows))


def _taught(study: Study, layout: str, raw: Cases, seed: int) -> Cases | None:
    """The images of data.train, split into training and validation; None where there are none."""
    if study.data.train is None:
        return None
    own = sum(row.part == "train" for row in raw.rows)
    if own:
        raise InputRefused(f"{study.data.path}: {own} of its images are for training already, so data.train "
                           f"({study.data.train}) would mix two sets: leave it out, or keep only test images there")
    model = study.model
    cases = open_cases(Path(study.data.train).expanduser(), layout, bool(model.findings), **study.data.options)
    if model.findings:
        cases = of_finding(cases, model.assessed[0], model.findings)
    if cases.classes != raw.classes or cases.bounds != raw.bounds:
        raise InputRefused(f"{study.data.train}: images of {', '.join(cases.classes)} from {cases.bounds.low:g} to "
                           f"{cases.bounds.high:g} {unit_word(cases.bounds.unit)}, where {study.data.path} has "
                           f"{', '.join(raw.classes)} from {raw.bounds.low:g} to {raw.bounds.high:g} "
                           f"{unit_word(raw.bounds.unit)}: both must have the same classes and range")
    _refuse_shared(study, raw, cases)
    if study.data.limit is not None:
        cases = limit(cases, study.data.limit, seed)
    parted = split(cases, seed, 0.0, study.split.validation_share or _VALIDATION)
    known = cases.patients_known
    return replace(parted, rows=tuple(
        replace(row, id=f"train/{row.id}", patient=row.patient if known else f"train/{row.patient}")
        for row in parted.rows if row.part != "test"))


def _refuse_shared(study: Study, raw: Cases, taught: Cases) -> None:
    """Images of data.train of patients whose images are tested."""
    tested, learnt = ({row.patient for row in cases.rows} for cases in (raw, taught))
    if raw.patients_known and taught.patients_known and tested & learnt:
        raise InputRefused(f"{study.data.train}: {len(tested & learnt)} of its {len(learnt)} patients have images in "
                           f"{study.data.path} too, such as {min(tested & learnt)}: what is learnt from a patient must "
                           "not be tested on them, so give images of others to learn from")


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


def refuse_untaught(material: Material) -> None:
    """Refuses to harden a network without images for training and validation.

    Raises:
        InputRefused: as said.
    """
    missing = [name for part, name in (("train", "training"), ("validation", "validation"))
               if not len(material.ready.part(part))]
    if len(missing) == 2:
        raise InputRefused(f"{material.raw.name}: no training images to harden with: a run of given weights "
                           "tests all of its images. Give others: harden RUN --data TRAIN, or train = "
                           "\"TRAIN\" in the [data] of a study")
    if missing:
        raise InputRefused(f"{material.raw.name}: no {missing[0]} images to harden with: add some to the data, or "
                           "assess a folder of test images alone in another --out folder, and harden that RUN with "
                           "--data TRAIN")


def attacked_cases(material: Material) -> Cases:
    """The validation and test cases that are attacked; of either part at most `attacks.limit`, drawn by class."""
    test, validation = material.ready.part("test"), material.assessed.part("validation")
    most = material.study.attacks.limit or len(test)
    if len(test):
        test = limit(test, most, material.seed, every=not material.study.quick)
    if len(validation):
        least = 0 if material.study.quick else len(validation.classes)
        validation = limit(validation, max(min(most, len(test)), least), material.seed, every=bool(least))
    return replace(test, rows=validation.rows + test.rows)


def _opened(study: Study, usual: Mapping[str, Any]) -> tuple[str, Cases]:
    """The layout and its cases; `usual` options stand below those that are stated, where the reader takes them."""
    if study.data.path is None:
        return SYNTHETIC, phantom.nodules(study.data.synthetic, _seed_of_split(study))
    path, layout, options = Path(study.data.path).expanduser(), study.data.layout, study.data.options
    if usual:
        with suppress(InputRefused):     # said when it is opened
            taken = (READERS[layout] if layout is not None and layout in READERS else recognised(path, options)).options
            options = {key: value for key, value in usual.items() if key in taken} | options
    try:
        cases = open_cases(path, layout, bool(study.model.findings), **options)
    except NoClasses as problem:
        if study.model.weights is None:
            raise
        raise NoClasses(f"{problem}. For a network of several findings with a column each, name them: "
                        "model.findings") from problem
    return layout or recognised(path, study.data.options).name, cases


def _seed_of_split(study: Study) -> int:
    return study.seed if study.split.seed is None else study.split.seed
