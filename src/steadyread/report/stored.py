"""What a run's folder holds: plan, records, findings, examples, training. No model is needed, nor loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from steadyread import records
from steadyread.charts.examples import Attacked, Example, NoiseExample
from steadyread.errors import InputRefused
from steadyread.files import EXAMPLES, FINDINGS, IMAGE_NOISE, SETTINGS, TRAINING
from steadyread.findings import merged
from steadyread.metrics import Reads, reads_of
from steadyread.metrics.plan import bounds_of, class_names, part_of, stages_of
from steadyread.metrics.reads import ORIGINAL
from steadyread.metrics.validity import invalidating
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.store import Cell, findings_in
from steadyread.units import Bounds

_EXAMPLES = ("clean", "adversarial", "case_id", "label", "attack", "size", "clean_probabilities",
             "adversarial_probabilities")
_NOISY = ("clean", "noisy", "case_id", "label", "attack", "mas", "clean_probability", "noisy_probability")
_ATTACKED = ("images", "probabilities", "case_id", "label", "size", "attack")
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True, eq=False)
class Run:
    """The stored files of one run, read. Findings stand worst first; `invalid` are those by which no number means what
    it says, `image_noise` what is known of the noise in the images of each fold."""

    folder: Path
    plan: dict[str, Any]
    table: pa.Table
    findings: list[dict[str, Any]]
    training: dict[str, Any] | None
    examples: list[Example]
    invalid: list[dict[str, Any]] = field(default_factory=list)
    image_noise: tuple[dict[str, Any], ...] = ()

    @property
    def bounds(self) -> Bounds:
        """The images' bounds."""
        return bounds_of(self.plan)

    @cached_property
    def reads(self) -> Reads:
        """The reads that it is judged by."""
        stage = next(iter(stages_of(self.table)), None)
        return reads_of(self.table, part_of(self.table), stage, self.bounds)


def read_run(folder: Path, classes: tuple[str, ...] = (), shared: Shareable = AS_IT_IS) -> Run:
    """A run's folder. Settings, findings, training and examples may be absent; plan and records may not.

    All but the records is as it is `shared`.

    Raises:
        InputRefused: no plan or records there, or a file that is not what it should be.
    """
    return read_network([Cell(folder)], folder, classes, shared)


def read_network(cells: Sequence[Cell], folder: Path, classes: tuple[str, ...] = (), shared: Shareable = AS_IT_IS
                 ) -> Run:
    """One network, or those of its folds, of the run in a folder: records of all, with what the first says of itself.

    Findings are those of the cells and of the run, each once with its folds; the settings are the run's.

    Raises:
        InputRefused: no plan or records there, or a file that is not what it should be.
    """
    first, settings = cells[0], records.read_object(folder / SETTINGS)
    plan = ({"name": settings.get("name"), "study": settings} if settings is not None else {}) | first.plan
    model: dict[str, Any] = plan.get("model") or {}
    if model.get("name") == ORIGINAL:      # among several networks; here it is called as the study calls it
        named = ((plan.get("study") or {}).get("model") or {}).get("name")
        plan["model"] = model | {"name": named or "the network"}
    names = classes or tuple(class_names(plan, 0))
    tables = [cell.table for cell in cells]
    places = {cell.folder: f"fold {cell.fold}" if len(cells) > 1 else "" for cell in cells}
    places.setdefault(folder, "")
    findings = merged((name, findings_in(place / FINDINGS)) for place, name in places.items())
    table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")
    shown = next((cell.folder for cell in cells if (cell.folder / EXAMPLES).exists()), first.folder)
    return Run(folder, shared.tree(plan), table, [shared.finding(each) for each in findings],
               shared.tree(first.content(TRAINING)),
               [replace(one, case_id=shared.case(one.case_id)) for one in read_examples(shown / EXAMPLES, names)],
               [shared.finding(each) for each in invalidating(findings, table)],
               tuple(_image_noise(cell.folder / IMAGE_NOISE) for cell in cells if (cell.folder / IMAGE_NOISE).exists()))


def _image_noise(path: Path) -> dict[str, Any]:
    """What is stored of the noise in a network's images.

    Raises:
        InputRefused: it is not as `jobs.image_noise` writes it.
    """
    stored = records.read_object(path) or {}
    numbers = [stored.get(name) for name in ("sd", "low", "high", "draws")]
    columns = [stored.get(name) for name in ("case_id", "changed", "right")]
    if not all(isinstance(each, int | float) and each > 0 for each in numbers) or not all(
            isinstance(each, list) and len(each) == len(columns[0] or ()) for each in columns) or not all(
            isinstance(each, int) for column in columns[1:] for each in column or ()):
        raise InputRefused(f"{path} must hold sd, low, high and draws above 0, and case_id, changed and right of one "
                           "length: remove it, or run the same command again, which makes it anew")
    return stored


def read_examples(path: Path, classes: Sequence[str]) -> list[Example]:
    """The stored example images, none where there is no file.

    Raises:
        InputRefused: not an npz, an array missing, or arrays of different lengths.
    """
    arrays = _arrays(path, _EXAMPLES)
    return [Example(str(arrays["case_id"][row]), class_name(arrays["label"][row], classes),
                    str(arrays["attack"][row]), float(arrays["size"][row]), arrays["clean"][row],
                    arrays["adversarial"][row], arrays["clean_probabilities"][row],
                    arrays["adversarial_probabilities"][row], tuple(classes))
            for row in range(len(arrays["clean"]))] if arrays else []


def read_noise_examples(path: Path, classes: Sequence[str], fold: int) -> list[NoiseExample]:
    """The same under CT noise, by the network of a fold."""
    arrays = _arrays(path, _NOISY)
    return [NoiseExample(str(arrays["case_id"][row]), class_name(arrays["label"][row], classes),
                         str(arrays["attack"][row]), float(arrays["mas"][row]), fold,
                         arrays["clean"][row].astype(np.float64), arrays["noisy"][row].astype(np.float64),
                         float(arrays["clean_probability"][row]), float(arrays["noisy_probability"][row]))
            for row in range(len(arrays["clean"]))] if arrays else []


def read_attacked(path: Path, classes: Sequence[str]) -> list[Attacked]:
    """The images of [A] Fig. 1, n under each of k attacks; none where there is no file.

    Raises:
        InputRefused: not an npz, an array missing, or arrays that do not fit each other.
    """
    arrays = _arrays(path, _ATTACKED, apart=1)
    if not arrays:
        return []
    images, says, attacks = (arrays[name] for name in ("images", "probabilities", "attack"))
    if images.ndim < 4 or says.ndim != 3 or attacks.ndim != 1 or not images.shape[1] == says.shape[1] == len(attacks):
        raise InputRefused(f"{path} must hold {', '.join(_ATTACKED)} of n images under as many attacks; it holds "
                           f"{ {name: array.shape for name, array in arrays.items()} }: remove it or run the study "
                           "again")
    return [Attacked(str(arrays["case_id"][row]), class_name(arrays["label"][row], classes),
                     float(arrays["size"][row]), tuple(map(str, attacks)), images[row].astype(np.float64),
                     says[row].astype(np.float64), tuple(classes)) for row in range(len(images))]


def _arrays(path: Path, names: Sequence[str], apart: int = 0) -> Arrays:
    """Those arrays of an npz; none where there is no file. All but the last `apart` must be of one length."""
    if not path.exists():
        return {}
    stored = records.read_npz(path)
    missing = [name for name in names if name not in stored]
    arrays = {name: stored[name] for name in names if name in stored}
    lengths = {name: len(arrays[name]) for name in names[:len(names) - apart] if name in arrays}
    if missing or len(set(lengths.values())) > 1:
        raise InputRefused(f"{path} must hold {', '.join(names)} of one length; "
                           + (f"missing: {', '.join(missing)}" if missing else f"lengths {lengths}"))
    return arrays


def findings_of(path: Path, shared: Shareable = AS_IT_IS) -> list[dict[str, Any]]:
    """A stored list of findings as they are `shared`, the worst first."""
    return [shared.finding(each) for each in findings_in(path)]


def class_name(label: Any, classes: Sequence[str]) -> str:
    """The class of a stored label, which is a number, or its name already."""
    text = str(label)
    return classes[int(text)] if text.isdigit() and int(text) < len(classes) else text
