"""Tiny real runs of every kind of study: the same rows, weights and files as in `golden/rows.json`."""

import json
from pathlib import Path

import pytest

pytest.importorskip("nibabel")
pytest.importorskip("captum")

from golden_rows import GOLDEN, KINDS, carried_out, differing, digests, here, material, small

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_real_run_has_the_golden_rows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small(monkeypatch)
    material(tmp_path)
    stored, found = json.loads(GOLDEN.read_text())[kind], digests(carried_out(KINDS[kind], Path("run")))
    assert differing(stored["keys"], found["keys"]) == []
    if stored["on"] != here():
        pytest.skip(f"which rows there are is as it was; what they hold is compared on {stored['on']} alone")
    assert differing(stored["rows"], found["rows"]) == []
