"""Weights & Biases: written offline below WANDB_DIR, to be sent by `wandb sync`, unless the user has stated a mode
(WANDB_MODE=online, or `wandb online`); where a run is active, in that one."""

import os
from typing import Any

from steadyread.interop.tracker import TRACKERS, Tracked, Tracker

# What it would keep of the machine, the user's code and what is printed.
_NOTHING_ELSE = {"console": "off", "silent": True, "disable_git": True, "save_code": False, "x_disable_meta": True,
                 "x_disable_stats": True, "x_disable_machine_info": True, "x_save_requirements": False}


def keep(wandb: Any, run: Tracked) -> str:
    """Numbers as the summary of a run, settings as its config, files as an artefact."""
    active = wandb.run
    settings = wandb.Settings(**{key: value for key, value in _NOTHING_ELSE.items()
                                 if key in wandb.Settings.model_fields})
    stated = "mode" in wandb.setup().settings.model_fields_set
    into = active or wandb.init(project=os.environ.get("WANDB_PROJECT", "steadyread"), name=run.name,
                                mode=None if stated else "offline", settings=settings)
    code = 1
    try:
        into.config.update(dict(run.settings), allow_val_change=True)
        into.summary.update(dict(run.numbers))
        artefact = wandb.Artifact(f"steadyread-{into.id}", type="report")
        for file in run.files:
            artefact.add_file(str(file))
        into.log_artifact(artefact)
        code = 0
    finally:
        if active is None:
            into.finish(exit_code=code)
    return f"run {into.id}" if active else f"{into.dir.removesuffix('/files')}"


TRACKERS.add(Tracker("wandb", "Weights & Biases", "wandb", "wandb", keep, {"WANDB_ERROR_REPORTING": "false"},
                     order=20))
