"""Where real data lies, if it does, and one thread a process so that timings of others are left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

torch.set_num_threads(1)  # small tensors: a second thread waits more than it works, above all on a busy machine


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """The folder of a real data set beside the project, or a skip that says it is not there."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            pytest.skip(f"real data not here: {name} (looked in the folder shared/data beside the project)")
        return folder

    return find
