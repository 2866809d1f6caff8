"""MLflow: in the store of MLFLOW_TRACKING_URI (or `mlflow.set_tracking_uri`) and the experiment of
MLFLOW_EXPERIMENT_NAME (or `mlflow.set_experiment`); where a run is active, in that one."""

import os
import time
from typing import Any

from steadyread.interop.tracker import TRACKERS, Tracked, Tracker

_AT_ONCE = 100      # settings that a server takes in one batch; of numbers it takes more
_LONGEST = 500      # letters of a setting that every version takes


def keep(mlflow: Any, run: Tracked) -> str:
    """Numbers as metrics, settings as parameters, files as artefacts of a run; nothing of the machine is added.

    A run that was begun here is marked as failed where something is not taken.
    """
    client, active = mlflow.MlflowClient(), mlflow.active_run()
    if active is not None:
        _log(mlflow.entities, client, active.info.run_id, run)
        return f"run {active.info.run_id}"
    begun = client.create_run(_experiment(client), run_name=run.name).info.run_id
    status = "FAILED"
    try:
        _log(mlflow.entities, client, begun, run)
        status = "FINISHED"
    finally:
        client.set_terminated(begun, status)
    return f"run {begun}"


def _experiment(client: Any) -> str:
    """The experiment that the user has stated, by its id or name; the default one where none is."""
    stated = os.environ.get("MLFLOW_EXPERIMENT_ID")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    known = None if stated else client.get_experiment_by_name(name)
    return str(stated or (known.experiment_id if known is not None else client.create_experiment(name)))


def _log(entities: Any, client: Any, into: str, run: Tracked) -> None:
    now = int(time.time() * 1000)
    settings = [entities.Param(key, value[:_LONGEST]) for key, value in run.settings.items()]
    numbers = [entities.Metric(key, value, now, 0) for key, value in run.numbers.items()]
    for at in range(0, len(settings), _AT_ONCE):
        client.log_batch(into, params=settings[at:at + _AT_ONCE])
    for at in range(0, len(numbers), _AT_ONCE):
        client.log_batch(into, metrics=numbers[at:at + _AT_ONCE])
    for file in run.files:
        client.log_artifact(into, str(file))


TRACKERS.add(Tracker("mlflow", "MLflow", "mlflow", "mlflow", keep, {"MLFLOW_DISABLE_TELEMETRY": "true"}, order=10))
