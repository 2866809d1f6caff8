"""Every kind of study carried out for real with tiny networks, and digests of all that it computes.

`rows` holds of each file what was computed, column by column: equal bit for bit on the processor and with the
torch that `on` names. `keys` holds which rows there are (case, network, stage, attack, level, seed): so anywhere.

    cd tests && python golden_rows.py [KIND ...]     writes them anew
"""

import csv
import hashlib
import json
import platform
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from fabricate_pictures import pictures
from steadyread import checks, records
from steadyread.jobs import run
from steadyread.models.loading import load_classifier_module, save_weights
from steadyread.report import shareable
from steadyread.study import Settings, laid_over, read_studies

GOLDEN = Path(__file__).parent / "golden" / "rows.json"
KEYS = ("case_id", "patient_id", "data", "part", "fold", "model", "stage", "label", "against", "attack", "threat",
        "size", "unit", "seed")
_UNTOLD = {"versions", "version", "seconds", "topic"}
_DRAWN = ("records", "figures", "flips", "redraws")      # folders whose files have tests of their own
_NOT_COMPUTED = {"study.json", "salt.txt", "summary.json", "report.html", "report.md", "image_noise.json",
                 "marks.json"}

VGG = {"arguments": {"width": 0.05, "norm": True, "convolutions": [1, 1, 1, 1, 1]}}
PICTURES: Settings = {
    "name": "pictures", "data": {"path": "images"}, "preparation": {"size": 12}, "model": VGG,
    "training": {"epochs": 1, "batch": 16}, "triage": {"members": 1, "views": 2},
    "attacks": {"use": ["fgsm", "pgd"], "epsilons": ["0.05 range"], "limit": 8, "settings": {"pgd": {"steps": 2}}}}
HARDENING: Settings = {"epsilon": "0.05 range", "epochs": 1, "steps": 1, "compare": {
    "soft": {"method": "trades"}, "control": {"method": "clean", "scratch": True}}}
NODULES: Settings = {
    "name": "nodules", "data": {"path": "nodules", "layout": "lidc-3d", "options": {"box_mm": [3, 8, 8]}},
    "split": {"test_share": 0.3, "folds": 2},
    "model": {"name": "nodule_cnn", "output": "logit", "arguments": {"width": 0.05}},
    "training": {"epochs": 2, "flips": False, "rotation_degrees": 0.0, "shift_pixels": 0.0}}
NOISE: Settings = {
    "mas": [1.0, 100.0], "test": {"random": {"draws": 3}, "rings": {}, "plausible": {"steps": 2, "mas": [100.0]}},
    "train": {"random": {"draws": 2}}, "variants": {"random": {"draws": 2, "mas": [100.0]}},
    "counted": 20, "pairs": 3, "converged": 4, "seeing": {"mas": 20.0, "images": 6, "shown": 2}}
JUDGED = {"test": {"random": {"draws": 2}, "rings": {"steps": 2}}}
NOISE_HARDENING: Settings = {
    "method": "adaptive", "epochs": 1, "rounds": 2, "steps": 3,
    "judged": JUDGED | {"train": {"random": {"draws": 2}}},
    "judged_compared": JUDGED, "compare": {
        "fresh": {"method": "fresh", "steps": 1}, "drift": {"method": "drift", "draws": 3},
        "pixels": {"method": "pgd", "epsilon": "20 HU", "steps": 1},
        "strided": {"method": "none", "variant": "strided"}}}

KINDS: dict[str, Settings] = {
    "plain": PICTURES,
    "hardened": laid_over(PICTURES, {"hardening": HARDENING, "triage": {"members": 0, "views": 0}}),
    "weights": {"name": "weights", "data": {"path": "images"}, "preparation": {"size": 12},
                "model": {"weights": "given.safetensors"}, "attacks": {"use": [], "epsilons": [], "limit": 12}},
    "sets": laid_over(PICTURES, {
        "name": "sets", "triage": {"members": 0, "views": 0}, "sets": {
            "one": {"hardening": {"epsilon": "0.05 range", "epochs": 1, "steps": 1}},
            "two": {"data": {"path": "others"}, "training": {"epochs": 2}}},
        "equal": {"preparation": {"size": 8}, "attacks": {"use": [], "epsilons": []}}}),
    "noise": laid_over(NODULES, {"noise": NOISE, "variants": {
        "strided": {}, "five_class": {"labels": "rating", "output": "logits"}}}),
    "noise_hardened": laid_over(NODULES, {
        "noise": laid_over(NOISE, {"counted": 0, "converged": 4, "hardening": NOISE_HARDENING}) | {
            "seeing": None, "test": {"random": {"draws": 2}}, "train": {}},
        "variants": {"strided": {}}}),
    "folds": laid_over(NODULES, {
        "attacks": {"use": ["fgsm"], "epsilons": ["5 HU"], "limit": 8}, "variants": {"strided": {}},
        "hardening": {"epsilon": "5 HU", "epochs": 1, "steps": 1, "compare": {"control": {"method": "clean"}}}}),
    "combined": laid_over(NODULES, {
        "name": "combined", "attacks": {"use": ["fgsm"], "epsilons": ["5 HU"]}, "split": {"folds": None},
        "noise": {"mas": [1.0, 100.0], "test": {"random": {"draws": 2}}, "counted": 0, "converged": 0},
        "hardening": {"epsilon": "5 HU", "epochs": 1, "steps": 1},
        "sets": {"one": {}, "two": {"data": {"path": "more"}}}}),
}


def nodules(folder: Path, count: int = 40, patients: str = "p") -> Path:
    """Bright blobs are malignant, dim ones benign; one nodule a patient."""
    rng = np.random.default_rng(ord(patients) - ord("p"))
    rows = []
    for index in range(count):
        rating = (1, 5, 2, 4)[index % 4]
        image = rng.normal(-800, 30, (12, 12, 5))
        image[4:8, 4:8, 1:4] += 60 * rating
        mask = np.zeros(image.shape, np.uint8)
        mask[4:8, 4:8, 1:4] = 1
        name = f"n{index}.nii.gz"
        for kind, values in (("images", image.astype(np.int16)), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])), folder / kind / name)
        rows.append({"patient_id": f"{patients}{index}", "nodule_id": index, "malignancy_rating": rating,
                     "file": name, "seriesuid": f"1.{index}", "diameter_mm": 4 + rating})
    with (folder / "nodules.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def material(folder: Path) -> None:
    """The images and weights that the studies name, in the folder that they are carried out in."""
    pictures(folder / "images", 48)
    pictures(folder / "others", 40)
    nodules(folder / "nodules")
    nodules(folder / "more", 32, "q")
    arguments = VGG["arguments"] | {"classes": 2, "channels": 1, "size": 12}
    save_weights(load_classifier_module("vgg16", None, seed=0, **arguments), folder / "given.safetensors", {
        "model": "vgg16", "arguments": arguments, "output": "logits", "normalise": "symmetric",
        "taught": {"images": [], "patients": []}})


def small(patch: pytest.MonkeyPatch) -> None:
    """Few images for the checks, one secret, one thread."""
    patch.setattr(checks, "SAMPLE", 4)
    patch.setattr(shareable.secrets, "token_hex", lambda: "0" * 64)     # of the pseudonyms
    torch.set_num_threads(1)


def here() -> str:
    """What the last bits of a row depend on: numpy and torch choose what they compute with by the processor's model."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.findall(r"^(?:vendor_id|cpu family|model)\s*: (.*)$", told, re.MULTILINE)[:3]
    model = " ".join(found) or platform.machine()
    return (f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, numpy {np.__version__}, "
            f"processor {model}")


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Of a run's folder: which rows there are, and what was computed, file by file."""
    stores = sorted(path.parent for path in folder.rglob(records.PLAN))
    tables = {str(place.relative_to(folder)): records.read(place) for place in stores}
    keys = {name: _digest(json.dumps(table.select(KEYS).to_pydict())) for name, table in tables.items()}
    # `deviations` came after most of the digests, and has exact values of its own (test_improbability.py)
    computed = {name: {"rows": _columns(table.drop_columns(["version", "deviations"]))}
                for name, table in tables.items()}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in _NOT_COMPUTED and path.parent.name not in _DRAWN:
            told = _told(path)
            if told is not None:
                computed.setdefault(str(path.parent.relative_to(folder)), {})[path.name] = told
    return {"keys": keys, "rows": computed}


def _told(path: Path) -> Any:
    """What a file holds, without words, and what differs from run to run."""
    if path.suffix == ".json":
        return _digest(json.dumps(_timeless(json.loads(path.read_bytes())), sort_keys=True))
    if path.suffix == ".npz":
        return _arrays(records.read_npz(path))
    if path.suffix == ".safetensors":
        return _arrays({name: value.numpy() for name, value in load_file(path).items()})
    if path.suffix == ".parquet":
        return _columns(pq.read_table(path))
    return _digest(path.read_bytes()) if path.suffix == ".csv" else None


def _arrays(held: Mapping[str, np.ndarray]) -> str:
    return _digest(*(name.encode() + held[name].tobytes() for name in sorted(held)))


def _columns(table: pa.Table) -> dict[str, str]:
    return {name: _digest(repr(table[name].to_pylist())) for name in table.column_names
            if table[name].null_count < len(table)}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _UNTOLD}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
    return digest.hexdigest()[:8]


def undrawn(patch: pytest.MonkeyPatch) -> None:
    """No pages, which have tests of their own."""

    def page(folder: Path, *_: object, **__: object) -> Path:
        records.write_json(folder / "summary.json", {"images": 0})
        return folder / "report.html"

    patch.setattr(run, "write_report", page)


def carried_out(settings: Settings, folder: Path) -> Path:
    """The study into the folder, without its pages."""
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        return run.carry_out(read_studies(None, settings), folder).folder


def write(kinds: Iterable[str]) -> None:
    """The digests of some kinds anew, the others as they are."""
    stored: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            small(patch)
            material(Path(place))
            stored[kind] = {"on": here()} | digests(carried_out(KINDS[kind], Path("run")))
        lines = (f"{json.dumps(kind)}: {json.dumps(stored[kind], sort_keys=True)}" for kind in sorted(stored))
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def differing(stored: Mapping[str, Any], found: Mapping[str, Any], place: str = "") -> list[str]:
    """The places at which two trees of digests differ."""
    told = []
    for key in sorted(stored.keys() | found.keys()):
        one, other, where = stored.get(key), found.get(key), f"{place}/{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            told += differing(one, other, where)
        elif one != other:
            told.append(f"{where}: {'new' if one is None else 'gone' if other is None else 'differs'}")
    return told


if __name__ == "__main__":
    write(sys.argv[1:] or KINDS)
