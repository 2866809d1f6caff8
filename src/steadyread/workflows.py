"""The commands as functions: a study carried out, a network hardened, data audited, reads left to a human."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from steadyread.assessed import Assessment, open_run, watched
from steadyread.cases import Cases, open_cases, split
from steadyread.cases.audit import audit as audit_cases
from steadyread.cases.audit import of_one_class
from steadyread.checks import SECONDS, Preflight, Stated, preflight
from steadyread.checks.classes import refuse_unknown_claims
from steadyread.classifier import Classifier
from steadyread.errors import Doubt, HeadRefused, InputRefused, TrainingFailed, UsageError
from steadyread.findings import Finding
from steadyread.frames import Frame
from steadyread.jobs.preflight import seconds_of
from steadyread.jobs.run import carry_out
from steadyread.progress import Progress
from steadyread.study import Study, read_studies
from steadyread.suitability import refuse_unsuited
from steadyread.training.epsilon import useful_epsilons
from steadyread.training.harden import HardeningSettings
from steadyread.training.harden import harden as harden_network
from steadyread.units import size_in_native
from steadyread.views import views_of


def run(study: str | Path | Study | Mapping[str, Any], out: str | Path | None = None, *,
        data_root: str | Path | None = None, overwrite: bool = False, show_ids: bool = False,
        images: bool = True, progress: Progress | None = None) -> Assessment:
    """A whole study, as `steadyread run` carries it out: of one data set or several, under every threat it states.

    Args:
        study: a TOML file, its content as a mapping, or a study that was read.
        out: the run's folder; `runs/NAME` if None. Finished work there is kept.
        data_root: the folder that relative data paths start from.
        overwrite: another study in the folder is kept beside it, and this one begins anew.
        show_ids, images: whether the report names cases and patients as they are, and shows images of patients.

    Raises:
        UsageError, InputRefused: a setting, the data or the model is not as stated.
        PlanDiffers: `out` holds another study.
        Partial: the disk is full; what was finished is kept.
    """
    stated = read_studies(None, study) if isinstance(study, Mapping) else (
        study if isinstance(study, Study) else read_studies(study))
    told, root = progress or watched(), None if data_root is None else Path(data_root)
    done = carry_out(stated.rooted(root), out, told, overwrite, show_ids, images=images)
    for reason in done.untracked:
        warnings.warn(reason, Doubt, stacklevel=2)
    return open_run(done.folder)


def harden(classifier: Classifier, data: object, epsilon: str = "auto", *, seed: int = 0,
           progress: Progress | None = None, settings: Mapping[str, Any] | None = None, **known: Any) -> Classifier:
    """A copy of the classifier, trained further on attacked images; the given one is left as it is.

    Args:
        data: images to learn from, see `assess`: those of the part `train`, all where no parts are stated. Images of
            the part `test` are left out where there are others. Where no image is of the part `validation`, a fifth of
            the patients choose the epoch.
        epsilon: the size of the attacks with its unit, such as "2.8 HU" or "0.002 range"; "auto": that which flips half
            of the training images.
        settings: of `training.harden.HardeningSettings`, such as {"method": "trades", "epochs": (10,)}.
        known: what else is known of the images, see `Cases.from_arrays`.

    Raises:
        TrainingFailed: no epoch is fit to be kept; the message says why.
        InputRefused, UsageError: images, labels or settings that do not fit.
    """
    cases = Cases.of(data, **known)
    if {row.part for row in cases.rows} == {"test"}:      # as where no parts are stated
        cases = replace(cases, rows=tuple(replace(row, part="train") for row in cases.rows))
    if not len(cases.part("train")):
        raise InputRefused(f"{cases.name}: no image is of the part train, and those of the part test are not learnt "
                           "from: state parts")
    if not len(cases.part("validation")):
        cases = split(cases, seed, test_share=0.0)
    training, validation = cases.part("train"), cases.part("validation")
    size = (useful_epsilons(classifier, training, seed=seed).median if epsilon == "auto"
            else size_in_native(epsilon, cases.bounds))
    unknown = set(settings or ()) - {field.name for field in fields(HardeningSettings)}
    if unknown:
        raise UsageError(f"settings: no {', '.join(sorted(unknown))}; HardeningSettings has "
                         + ", ".join(field.name for field in fields(HardeningSettings)))
    fitted = harden_network(classifier, training, validation, HardeningSettings(**{"epsilons": (size,), **(
        settings or {})}), seed=seed, progress=progress or watched())
    if fitted.history["failed"] is not None:
        raise TrainingFailed(str(fitted.history["failed"]))
    return fitted.classifier


def audit(data: object, **known: Any) -> tuple[Finding, ...]:
    """What a data set holds that would spoil a study, worst first: of a path, or of whatever `assess` takes."""
    if isinstance(data, str | Path):
        return audit_cases(open_cases(data, every_row=True, **known))
    return audit_cases(Cases.of(data, **known))


def check(classifier: Classifier, data: object, *, claimed: Mapping[str, float] | None = None, seed: int = 0,
          seconds: float = SECONDS, progress: Progress | None = None, **known: Any) -> Preflight:
    """The commonest mistakes in what is stated about a network, found by forward passes alone, as `steadyread check`
    does: scale, channels, head, order of classes, threshold, repetition, precision, images that it was trained on.

    Args:
        data: see `assess`, without bounds those of the classifier; images of the part `validation` judge the threshold.
        claimed: metrics with the values that are claimed for them: accuracy, auc, sensitivity, specificity.
        seconds: of forward passes, at most, which several findings share.
        known: what else is known of the images, see `Cases.from_arrays`.

    Raises:
        InputRefused, UsageError: images that do not fit the network, or an unknown metric.
    """
    refuse_unknown_claims(claimed or {})
    found = {}
    views = views_of(classifier, data, known)
    for name, view, cases in views:
        with suppress(HeadRefused):      # a rule says so, and what to do
            refuse_unsuited(view, cases)
        found[name] = preflight(view, cases, Stated(claimed or {}, findings=len(views)), seed=seed,
                                seconds=seconds_of(len(views), seconds), progress=progress or watched())
    return Preflight.of(found, [] if len(views) > 1 else of_one_class(views[0][2]))


def triage(found: Assessment | str | Path, withhold: float | None = None) -> Frame:
    """Which reads to leave to a human: what each score would catch, withholding a share of the reads."""
    return (found if isinstance(found, Assessment) else open_run(found)).triage(withhold)
