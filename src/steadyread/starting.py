"""How a command begins: what it names is there, it says so, and torch is imported."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steadyread.errors import InputRefused
from steadyread.files import file_or_folder, is_regular
from steadyread.progress import note


def begin(flags: Mapping[str, Any], study: Path | None = None) -> None:
    """The first line, before torch is imported, which takes seconds.

    Raises:
        InputRefused: a file that the command names is not there.
    """
    if study is not None and not is_regular(study):
        raise InputRefused(f"cannot read the study {study}: no such file")
    if flags.get("data__path") is not None:
        file_or_folder(Path(flags["data__path"]).expanduser())
    weights = flags.get("model__weights")
    if weights is not None and not is_regular(Path(weights)):
        raise InputRefused(f"no weights file {weights}")
    note(f"reading {study or flags.get('data__path') or 'SYNTHETIC nodules'}")


def use_threads(threads: int | None) -> None:
    """Threads that wait asleep: spinning ones halve the speed of a machine that is shared."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads or cores or 1)
