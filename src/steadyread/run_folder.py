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
CHECKPOINT, MEMBERS, HARDENED, EQUAL = "checkpoint.pt", "members", "hardened", "equal"
IMAGES, FAILED = "images.json", "failed.json"

# What a run may go on with otherwise than it was begun; each hardening that is compared has a folder of its own.
_FREE = ("gates", "name", "device", "data.path", "model.weights", "hardening.compare")


def folder_of(name: str, out: str | Path | None) -> Path:
    """Where a run of that name goes."""
    return Path(out) if out is not None else Path("runs") / name.replace(" ", "-")


def settle(folder: Path, study: Study) -> None:
    """Write the settings beside the run, or refuse the folder of another study before any work is done."""
    path, wanted = folder / SETTINGS, study.model_dump(mode="json")
    begun = any((folder / name).exists() for name in (MODEL, CHECKPOINT, records.PLAN, JOBS))
    data = None if study.data.path is None else Path(study.data.path).expanduser().resolve()
    if data is not None and folder.resolve().is_relative_to(data):
        raise UsageError(f"--out {folder} lies in the data {study.data.path}, whose next reader would take the "
                         "results for images: give another folder")
    if path.exists() and begun:
        _refuse_other(folder, records.read_json(path), wanted)
        if wanted["hardening"] is None:
            return   # what was begun keeps its settings; a hardening may be added to it
    records.write_json(path, wanted)


def _refuse_other(folder: Path, held: Any, wanted: Mapping[str, Any]) -> None:
    """Settings that differ from those that began the run, but for those that change none of its results."""
    there, now = dict(_flat(held)), dict(_flat(json.loads(json.dumps(wanted))))
    hardened = wanted["hardening"] is not None and any(
        (folder / HARDENED / name).exists() for name in (MODEL, CHECKPOINT))
    differing = [f"hardening.compare.{name}" for name, stated in _compared(wanted).items()
                 if (folder / f"{HARDENED}-{name}" / MODEL).exists() and _compared(held).get(name) != stated]
    differing += [key for key in sorted(there.keys() | now.keys()) if there.get(key) != now.get(key)
                 and not key.startswith(_FREE) and (hardened or not key.startswith("hardening"))]
    if differing:
        for key in differing:
            if key.startswith("hardening.compare."):
                name = key.removeprefix("hardening.compare.")
                there[key], now[key] = _compared(held).get(name), _compared(wanted).get(name)
        told = "; ".join(f"{key} is {json.dumps(there.get(key))} there and {json.dumps(now.get(key))} now"
                         for key in differing[:4])
        raise PlanDiffers(f"{folder} holds the run of other settings: {told}. Give another --out folder, or "
                          "repeat the settings that began this one")


def _compared(settings: Any) -> Mapping[str, Any]:
    """The further hardenings of a study, as plain settings by name."""
    found: Mapping[str, Any] = ((settings or {}).get("hardening") or {}).get("compare") or {}
    return found


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


