"""A training that is killed goes on as if it had not been: the same weights and history, bit for bit."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fabricate_training import QUICK, classifier, spots
from steadyread.errors import InputRefused, PlanDiffers
from steadyread.progress import Progress, quiet
from steadyread.training.fit import Fitted, fit
from steadyread.training.harden import HardeningSettings, harden

HERE = Path(__file__).parent
SETTINGS = replace(QUICK, epochs=5)
HARDENING = HardeningSettings(epsilons=(30.0, 60.0), epochs=(2, 3), steps=3, training=QUICK)


def fitted(checkpoint: Path | None, progress: Progress = quiet) -> Fitted:
    return fit(classifier(norm=True), spots(50, 1), spots(20, 2), SETTINGS, seed=2, checkpoint=checkpoint,
               progress=progress)


def hardened(checkpoint: Path | None) -> Fitted:
    return harden(classifier(norm=True), spots(50, 1), spots(20, 2), HARDENING, seed=2, checkpoint=checkpoint)


TRAININGS: dict[str, Callable[[Path | None], Fitted]] = {"fit": fitted, "harden": hardened}
# Where the process kills itself: at a step of the optimiser amid an epoch (each has four), when the state is
# written beside the one before but not in its place, and when it is just in its place.
MOMENTS = ("step 2", "step 7", "write 1", "written 1", "step 3", "write 2")
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from steadyread.training import loop
import test_training_checkpoint as tests

def deadly(call, wanted, after=False):
    seen = 0
    def called(*given, **named):
        nonlocal seen
        seen += 1
        if seen == wanted and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        call(*given, **named)
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
    return called

for kind in tests.TRAININGS:
    tests.TRAININGS[kind](None)   # what torch imports at the first step is then there for every child
    path = Path(sys.argv[1]) / kind / "checkpoint.pt"
    for moment in tests.MOMENTS:
        child = os.fork()
        if child == 0:
            what, wanted = moment.split()
            if what == "step":
                torch.optim.AdamW.step = deadly(torch.optim.AdamW.step, int(wanted))
            elif what == "write":
                Path.replace = deadly(Path.replace, int(wanted))
            else:
                loop.write_checkpoint = deadly(loop.write_checkpoint, int(wanted), after=True)
            tests.TRAININGS[kind](path)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(kind, moment, code, path.exists(), len(list(path.parent.glob(".*.tmp"))), sep=",", flush=True)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a kind of training, in which it was begun and killed at every moment."""
    folder = tmp_path_factory.mktemp("killed")
    told = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=HERE, capture_output=True, text=True,
                          check=True).stdout
    expected = [f"{kind},{moment},-9,{place > 0},{int(moment.startswith('write '))}"
                for kind in TRAININGS for place, moment in enumerate(MOMENTS)]
    assert told.splitlines() == expected
    return folder


def seen(history: dict[str, Any]) -> dict[str, Any]:
    """A history without what the clock said."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history["epochs"]]
    return {key: value for key, value in history.items() if key != "seconds"} | {"epochs": rows}


def alike(one: Fitted, other: Fitted) -> bool:
    states = zip(one.module.state_dict().values(), other.module.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in states)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks processes")
@pytest.mark.parametrize("kind", TRAININGS)
def test_killed_at_any_moment_and_begun_again_it_ends_the_same(kind: str, killed: Path) -> None:
    whole, resumed = TRAININGS[kind](None), TRAININGS[kind](killed / kind / "checkpoint.pt")
    assert alike(whole, resumed)
    assert seen(resumed.history) == seen(whole.history)
    # nothing half-written; the state stays until the weights are kept, so that a kill before that loses no epoch
    assert [path.name for path in (killed / kind).iterdir()] == ["checkpoint.pt"]
    assert alike(whole, TRAININGS[kind](killed / kind / "checkpoint.pt"))


class Stopped(Exception):
    pass


def stopped(path: Path, after: int = 2) -> None:
    """A training that stops after so many epochs and leaves its state."""

    def stop(items: Any, total: int, label: Any) -> Any:
        for done, item in enumerate(items):
            if done == after:
                raise Stopped
            yield item

    with pytest.raises(Stopped):
        fitted(path, stop)


def test_it_goes_on_where_it_was_and_counts_all_seconds(tmp_path: Path) -> None:
    path, asked = tmp_path / "checkpoint.pt", []
    stopped(path, after=3)

    def heard(items: Any, total: int, label: Any) -> Any:
        for item in items:
            asked.append((item, total))
            yield item

    state = torch.load(path, weights_only=True)["state"]
    found = fitted(path, heard)
    assert asked == [(4, 2), (5, 2)]
    assert found.history["seconds"] >= round(state["seconds"], 2) > 0
    assert found.history["seconds"] >= sum(row["seconds"] for row in state["standing"]["epochs"])


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    stopped(path)
    train, validation = spots(50, 1), spots(20, 2)
    relabelled = replace(train, rows=(replace(train.rows[0], label=1), *train.rows[1:]))
    brighter = replace(validation, load=lambda row: validation.load(row) + (row.source == 3))
    given, other = classifier(norm=True), classifier(norm=True, seed=1)
    for changed in ((given, relabelled, validation, SETTINGS, 2), (given, train, brighter, SETTINGS, 2),
                    (given, train, validation, replace(SETTINGS, batch=17), 2),
                    (other, train, validation, SETTINGS, 2), (given, train, validation, SETTINGS, 3),
                    (replace(given, normalise=(-700.0, 301.0)), train, validation, SETTINGS, 2)):
        with pytest.raises(PlanDiffers, match="of a training on other data, from other weights or with other set"):
            fit(*changed[:4], seed=changed[4], checkpoint=path)
    with pytest.raises(PlanDiffers):
        hardened(path)
    assert alike(fitted(path), fitted(None))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b'{"epochs": []}'])
def test_a_state_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(InputRefused, match=r"checkpoint\.pt cannot be read as the state of a training .* remove"):
        fitted(path)


def test_a_state_is_data_and_never_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    buffer = io.BytesIO()
    torch.save({"digest": "x", "state": {}, "code": print}, buffer)
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.raises(InputRefused, match="cannot be read as the state"):
        fitted(path)


def test_a_flipped_bit_anywhere_in_a_state_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    stopped(path)
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        with pytest.raises(InputRefused, match="does not fit the digest"):
            fitted(path)
    path.write_bytes(whole)
    assert alike(fitted(path), fitted(None))


def test_without_a_checkpoint_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fitted(None)
    assert list(tmp_path.iterdir()) == []
