"""A finished run handed to trackers of experiments, with the real libraries and nothing on a network; and its card."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fabricate
import fabricate_noise
import steadyread as library
from fabricate_pictures import Call, pictures
from steadyread import records
from steadyread.errors import Partial, UsageError
from steadyread.interop.tracker import TRACKERS, Tracked, Tracker, metrics_of
from steadyread.report import write_report
from test_cli import OWN, network

LIMITED = ("--set", "attacks.use=[]", "--set", "attacks.largest='40 grey levels'", "--limit", "6", "--threads", "1")


@pytest.fixture(name="run")
def _run(tmp_path: Path, undrawn: None) -> Path:
    """The folder of a run with its report, and settings that name a patient's folder."""
    folder = fabricate.write_run(tmp_path / "run")
    records.write_json(folder / "study.json", {
        "name": "ours", "data": {"path": "/home/anna/scans", "layout": None}, "model": {"weights": "anna/net.pt"},
        "attacks": {"epsilons": ["2.8 HU", "5.6 HU"]}, "track": ["mlflow"]})
    write_report(folder)
    return folder


@pytest.fixture(name="refusing")
def _refusing() -> Iterator[str]:
    """A tracker whose server is down."""
    def keep(_: Any, run: Tracked) -> str:
        raise ConnectionError(f"no route to the\nserver of {run.name}")

    TRACKERS.add(Tracker("refusing", "Refusing", "json", "none", keep, {}))
    yield "refusing"
    del TRACKERS._things["refusing"]


def numbers_in(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = records.read_json(run / "summary.json")["numbers"]
    return rows


def expected(run: Path) -> list[float]:
    return sorted(row[end] for row in numbers_in(run) for end in ("value", "low", "high")
                  if isinstance(row[end], int | float))


def logged(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, as W&B keeps a run: chunks in blocks of 32 KiB."""
    at, whole = 7, b""
    while at < len(content):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4:at + 6], "little"), content[at + 6]
        whole += content[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):      # whole, or its last chunk
            yield whole
            whole = b""


def test_every_finite_number_has_a_name_of_its_own(run: Path) -> None:
    found = metrics_of(numbers_in(run))
    assert sorted(found.values()) == expected(run)
    assert found["AUC low"] < found["AUC"] < found["AUC high"]
    assert "Linf/pgd/label/accuracy at 5.6 HU" in found
    whole = {name for name in found if any(other.startswith(f"{name}/") for other in found)}
    assert not whole            # a store of files keeps each in a file of its name

    row = numbers_in(run)[0]
    two = [row | {"network": "a/../b", "value": math.inf, "low": None}, row | {"network": "", "value": "inf"}]
    assert set(metrics_of(two)) == {"a_.._b/AUC high", "AUC low", "AUC high"}


def test_mlflow_keeps_numbers_settings_and_report(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'store'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "lungs")
    library.open_run(run).track("mlflow")
    client = mlflow.MlflowClient()
    (kept,) = client.search_runs([client.get_experiment_by_name("lungs").experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("ours", "FINISHED")
    assert sorted(kept.data.metrics.values()) == expected(run)
    assert kept.data.params == {"name": "ours", "data.path": "scans", "model.weights": "net.pt",
                                "attacks.epsilons": "2.8 HU, 5.6 HU"}
    assert {file.path for file in client.list_artifacts(kept.info.run_id)} == {"report.html", "summary.json"}
    artefacts = {file.name: file.read_bytes() for file in (tmp_path / "store").rglob("artifacts/*")}
    assert artefacts == {name: (run / name).read_bytes() for name in artefacts}      # which test_shareable.py reads

    with mlflow.start_run(experiment_id=kept.info.experiment_id) as active:      # the user's own, which stays open
        library.open_run(run).track("mlflow")
        assert client.get_run(active.info.run_id).data.metrics == kept.data.metrics
        assert client.get_run(active.info.run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_wandb_keeps_it_offline(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    place = Path(library.open_run(run).track("wandb"))
    assert place.name.startswith("offline-run-")
    (log,) = place.glob("*.wandb")
    summary: dict[str, Any] = {}
    for _ in range(200):       # a process of its own writes the log, and may end after the run has
        told = [wandb_internal_pb2.Record.FromString(data) for data in logged(log.read_bytes())]
        summary = {"/".join(item.nested_key) or item.key: json.loads(item.value_json)
                   for record in told for item in record.summary.update}
        if summary:
            break
        time.sleep(0.1)
    assert metrics_of(numbers_in(run)).items() <= summary.items()
    config = {item.key: json.loads(item.value_json) for record in told for item in record.run.config.update} | {
        item.key: json.loads(item.value_json) for record in told for item in record.config.update}
    assert config["data.path"] == "scans"
    entries = [entry.path for record in told for entry in record.request.log_artifact.artifact.manifest.contents] + [
        entry.path for record in told for entry in record.artifact.manifest.contents]
    assert set(entries) == {"report.html", "summary.json"}


def test_a_tracker_that_fails_loses_nothing(refusing: str, run: Path) -> None:
    with pytest.raises(Partial, match=r"Refusing did not take the run \(ConnectionError: no route to the server of"):
        library.open_run(run).track(refusing)
    with pytest.raises(UsageError, match="no tracker 'mlfow': did you mean 'mlflow'"):
        library.open_run(run).track("mlfow")


@pytest.mark.usefixtures("undrawn")
def test_a_run_is_tracked_by_flag_and_by_study(refusing: str, steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 20)
    network(tmp_path)
    command = ("assess", "--data", "images", *OWN, *LIMITED, "--out", "run")
    failed = steadyread(*command, "--track", refusing)
    assert failed.code == 4
    assert "Report: run/report.html" in failed.out
    assert failed.err.splitlines()[-1].startswith("steadyread: Refusing did not take the run (ConnectionError: no")
    assert steadyread(*command).code == 0          # the same run, whoever tracks it
    stated = json.loads((tmp_path / "run" / "study.json").read_text())
    records.write_json(tmp_path / "study.json", stated | {"track": refusing})
    with pytest.warns(library.errors.Doubt, match="Refusing did not take the run"):
        assert library.run(records.read_json(tmp_path / "study.json"), tmp_path / "run").folder == tmp_path / "run"

    wrong = steadyread(*command[:-1], "other", "--track", "mlfow")
    assert wrong.code == 2
    assert "no tracker 'mlfow'" in wrong.err
    TRACKERS.add(Tracker("absent", "Absent", "no_such_module", "none", lambda *_: "", {}))
    absent = steadyread(*command[:-1], "other", "--track", "absent")
    del TRACKERS._things["absent"]
    assert absent.code == 3
    assert not list((tmp_path / "other").glob("*.parquet"))


def test_the_model_card_is_one_of_hugging_face_s(run: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(run / "model-card.md")
    assert card.data.model_name == "linear"
    results = {result.metric_name: result for result in card.data.eval_results}
    rows = numbers_in(run)
    auc = next(row for row in rows if row["measure"] == "AUC")
    assert results["AUC"].metric_type == "roc_auc"
    assert results["AUC"].metric_value == pytest.approx(auc["value"], rel=1e-5)
    assert results["AUC"].metric_args["low"] == pytest.approx(auc["low"], rel=1e-5)
    assert (results["AUC"].dataset_name, results["AUC"].dataset_split) == ("made nodules", "test")
    robust = results["robust accuracy at 5.6 HU"]
    assert robust.metric_args.items() >= {"level": 5.6, "unit": "HU", "against": "label"}.items()
    content = card.content      # written out anew each time it is asked for
    assert not [name for name in set(records.read(run)["case_id"].to_pylist()) if name in content]
    assert hub.ModelCard(str(card)).data.eval_results == card.data.eval_results       # as it writes it again


@pytest.mark.usefixtures("undrawn")
def test_a_card_names_each_network_of_a_noise_study(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = fabricate_noise.write_study(tmp_path / "study")
    write_report(folder)
    text = (folder / "model-card.md").read_text("utf-8")
    card = hub.ModelCard(text)
    assert {result.metric_args.get("threat") for result in card.data.eval_results} >= {"CTNoise", None}
    assert text.count("- name: ") >= len({row["network"] for row in numbers_in(folder)})
