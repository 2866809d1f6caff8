"""Where real data lies, if it does, and one thread a process so that timings of others are left alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fabricate_pictures import Call, Told
from pages import lay_out_alone
from steadyread import progress
from steadyread.charts.panels import png
from steadyread.cli import main

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


@pytest.fixture(autouse=True, scope="session")
def _painted_small() -> Iterator[None]:
    """Pictures of figures have an eighth of their size: painting them in full is a quarter of a report's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steadyread.charts.panels.png", lambda svg, scale=2: png(svg, scale / 8))
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are laid out and saved as nothing."""
    lay_out_alone(monkeypatch)


@pytest.fixture
def steadyread(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command in a folder of its own; a refusal must be one line on stderr that says who speaks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "PACE", (600.0, 600.0))   # a busy machine must not change what is printed

    def call(*argv: object) -> Told:
        threads = torch.get_num_threads()
        code = main([str(part) for part in argv])
        torch.set_num_threads(threads)
        out, err = capsys.readouterr()
        if code in (2, 3):
            assert out == ""
            *before, refusal = err.splitlines()
            assert refusal.startswith("steadyread: ")
            assert all(line.startswith("steadyread: reading ") for line in before)
            err = refusal + "\n"
        return Told(code, out, err)

    return call
