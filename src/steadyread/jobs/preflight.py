"""What the rules say of a study's network before any attack: kept in its folder, or alone."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.cases.audit import left_out
from steadyread.checks import SECONDS, Preflight, Stated, preflight, told
from steadyread.checks.classes import refuse_unknown_claims
from steadyread.classifier import Classifier
from steadyread.errors import HeadRefused, UsageError
from steadyread.files import PREFLIGHT
from steadyread.findings import Finding
from steadyread.jobs.cards import with_findings
from steadyread.jobs.labelled import of_labelled
from steadyread.jobs.material import Listed, Material, gather, listed, refuse_absent
from steadyread.jobs.networks import classifier_of, device_of, placed
from steadyread.jobs.quick import HURRIED
from steadyread.models.loading import read_card
from steadyread.progress import Progress, at_work, quiet
from steadyread.study import Study
from steadyread.suitability import refuse_unsuited

_MOST = 2_000    # images of a data set that are read for a look alone
_LEAST = 5.0     # seconds of the look at each of several findings


def stated_of(material: Material, findings: int = 1) -> Stated:
    """What a study states of its network and its images; one of so many of its findings is looked at."""
    study = material.study
    given = study.model.weights is not None
    card = read_card(study.model.weights) if study.model.weights is not None and not study.model.whole else None
    taught = (card or {}).get("taught")
    return Stated(study.model.claimed, material.raw, study.preparation.preparation(), study.model.window,
                  taught if isinstance(taught, Mapping) else {}, not given, findings)


def seconds_of(findings: int, most: float = SECONDS) -> float:
    """How long the look at each of so many findings may take, which share the time."""
    return max(most / findings, min(most, _LEAST))


def findings_before(material: Material, classifier: Classifier, folder: Path, progress: Progress, findings: int = 1
                    ) -> list[Finding]:
    """What the rules say of a network, or of one of so many of its findings, before it is attacked; said aloud, and
    kept in the folder for a run that goes on."""
    path = folder / PREFLIGHT
    if not path.exists():
        found = preflight(classifier, material.ready, stated_of(material, findings), seed=material.study.seed,
                          seconds=HURRIED if material.study.quick else seconds_of(findings), progress=progress)
        told(found)
        records.write_json(path, [each.as_json() for each in found.findings])
    return [Finding(**{**each, "rows": tuple(each.get("rows") or ())}) for each in records.read_json(path)]


def check_study(study: Study, progress: Progress = quiet) -> dict[str, Any]:
    """The rules before any attack, alone, as plain values: of a study of one data set with given weights.

    Raises:
        UsageError, InputRefused: something is not there or cannot be used, or there is no trained network.
    """
    if study.sets or study.model.weights is None:
        raise UsageError("check looks at one given network: give --model FILE, or --weights FILE, and one data set")
    refuse_absent(study)
    study, left = of_labelled(with_findings(study))
    device_of(study)
    refuse_unknown_claims(study.model.claimed)
    found, names = {}, study.model.assessed or ("",)
    for name in names:
        own = study.of(name)
        known = at_work(progress, f"listing the images of {study.data.path}", partial(listed, own))
        if name == names[0]:      # before the others are read
            first = known.first
            with suppress(HeadRefused):     # a rule says so, and what to do
                refuse_unsuited(placed(classifier_of(first, Path()), first.study), first.ready)
        material = gather(own, progress=progress, known=_drawn(known))
        classifier = placed(classifier_of(material, Path()), material.study)
        found[name] = preflight(classifier, material.ready, stated_of(material, len(names)), seed=material.study.seed,
                                seconds=seconds_of(len(names)), progress=progress)
    several, left = list(study.model.assessed), [*left, *left_out(material.raw)]
    return {"data": material.raw.name, "model": material.study.model.title, "networks": several,
            "classes": [] if several else list(material.ready.classes), **Preflight.of(found, left).as_json()}


def _drawn(known: Listed) -> Listed:
    """The data set with no more images than a look needs."""
    data = known.study.data
    if data.limit is not None or len(known.raw) <= max(_MOST, len(known.raw.classes)):
        return known
    return replace(known, study=known.study.model_copy(update={"data": data.model_copy(update={"limit": _MOST})}))
