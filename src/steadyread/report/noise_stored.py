"""What the folder of a noise study holds, read: settings, spectrum, cases, audit, and every network's files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from steadyread import records
from steadyread.charts.examples import NoiseExample
from steadyread.errors import InputRefused
from steadyread.files import (
    CASES,
    CONVERGENCE,
    COUNTED,
    FINDINGS,
    JOBS,
    NOISE_EXAMPLES,
    SETTINGS,
    SPECTRUM,
    TRAINING,
)
from steadyread.metrics.noise_summary import NoiseJob, NoiseStudy
from steadyread.report.shareable import AS_IT_IS, Shareable, read_cases
from steadyread.report.stored import class_name, findings_of
from steadyread.store import folds_in

_ARRAYS = ("clean", "noisy", "case_id", "label", "attack", "mas", "clean_probability", "noisy_probability")


@dataclass(frozen=True, eq=False)
class NoiseRun:
    """The stored files of a study of CT noise, with its example images."""

    folder: Path
    study: NoiseStudy
    examples: list[NoiseExample]


def read_noise_run(folder: Path, shared: Shareable = AS_IT_IS) -> NoiseRun:
    """A study's folder. All but the records and the plan of one network may be absent.

    All but the records, and what is joined with them, is as it is `shared`.

    A network whose records are not there yet is left out, so that a study under way can be looked at.

    Raises:
        InputRefused: no network with records, or a file that is not what it should be.
    """
    networks = [place for place in sorted((folder / JOBS).glob("*")) if place.is_dir()]
    jobs = [_job(network.name, fold, place, shared) for network in networks for fold, place in folds_in(network).items()
            if records.has_records(place)]
    if not jobs:
        raise InputRefused(f"no network's records in {folder}: expected jobs/VARIANT/fold-NUMBER/records there; "
                           "give the folder of a noise study, or run the command that began it again")
    study = NoiseStudy(shared.tree(records.read_object(folder / SETTINGS) or {}),
                       shared.tree(records.read_object(folder / SPECTRUM)), read_cases(folder / CASES),
                       findings_of(folder / FINDINGS, shared), jobs)
    shown = {(one.case_id, one.attack, one.mas): one for job in reversed(jobs)
             for one in reversed(_examples(folder / JOBS / job.variant / f"fold-{job.fold}" / NOISE_EXAMPLES, job))}
    return NoiseRun(folder, study, [replace(one, case_id=shared.case(one.case_id))
                                    for one in reversed(shown.values())])


def _job(variant: str, fold: int, place: Path, shared: Shareable) -> NoiseJob:
    plan = records.read_object(place / records.PLAN)
    return NoiseJob(variant, fold, shared.tree(plan or {}), records.read(place),
                    findings_of(place / FINDINGS, shared), shared.tree(records.read_object(place / TRAINING)),
                    records.read_object(place / COUNTED), records.read_object(place / CONVERGENCE))


def _examples(path: Path, job: NoiseJob) -> list[NoiseExample]:
    if not path.exists():
        return []
    stored = records.read_npz(path)
    arrays = {name: stored[name] for name in _ARRAYS if name in stored}
    lengths = {name: len(array) for name, array in arrays.items()}
    if set(arrays) != set(_ARRAYS) or len(set(lengths.values())) > 1:
        raise InputRefused(f"{path} must hold {', '.join(_ARRAYS)} of one length; it holds {lengths}")
    classes = [str(name) for name in job.plan.get("data", {}).get("classes", ())]
    return [NoiseExample(str(arrays["case_id"][row]), class_name(arrays["label"][row], classes),
                         str(arrays["attack"][row]), float(arrays["mas"][row]), job.fold,
                         arrays["clean"][row].astype(np.float64), arrays["noisy"][row].astype(np.float64),
                         float(arrays["clean_probability"][row]), float(arrays["noisy_probability"][row]))
            for row in range(lengths["clean"])]
