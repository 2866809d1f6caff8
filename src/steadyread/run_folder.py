"""A run's folder: where it is, and whose settings it holds."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.errors import PlanDiffers, UsageError
from steadyread.report.noise_stored import JOBS
from steadyread.study import Study

MODEL, TRAINING, FINDINGS, SETTINGS = "model.safetensors", "training.json", "findings.json", "study.json"


def folder_of(study: Study, out: str | Path | None) -> Path:
    """Where a run goes."""
    return Path(out) if out is not None else Path("runs") / study.name.replace(" ", "-")


def settle(folder: Path, study: Study) -> None:
    """Write the settings beside the run, or refuse the folder of another study before any work is done."""
    path, wanted = folder / SETTINGS, study.model_dump(mode="json")
    begun = any((folder / name).exists() for name in (MODEL, records.PLAN, JOBS))
    data = None if study.data.path is None else Path(study.data.path).expanduser().resolve()
    if data is not None and folder.resolve().is_relative_to(data):
        raise UsageError(f"--out {folder} lies in the data {study.data.path}, whose next reader would take the "
                         "results for images: give another folder")
    if path.exists() and begun:
        there = dict(_flat(records.read_json(path)))
        now = dict(_flat(json.loads(json.dumps(wanted))))
        differing = [key for key in sorted(there.keys() | now.keys()) if there.get(key) != now.get(key)
                     and key.split(".")[0] not in ("gates", "name") and key not in ("data.path", "model.weights")]
        if differing:
            told = "; ".join(f"{key} is {json.dumps(there.get(key))} there and {json.dumps(now.get(key))} now"
                             for key in differing[:4])
            raise PlanDiffers(f"{folder} holds the run of other settings: {told}. Give another --out folder, or "
                              "repeat the settings that began this one")
        return
    records.write_json(path, wanted)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


