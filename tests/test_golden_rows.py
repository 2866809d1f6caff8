"""Tiny real runs of every kind of study: the same rows, weights and files as in `golden/rows.json`."""

import json
from pathlib import Path

import pytest

pytest.importorskip("nibabel")
pytest.importorskip("captum")

from golden_rows import GOLDEN, KINDS, differing, digests, here, material, small
from steadyread import hardening, noise_study, records, running, sets
from steadyread.running import carry_out
from steadyread.sets import carry_out_sets
from steadyread.study import Sets, Settings, read_studies

pytestmark = pytest.mark.slow


def carried_out(settings: Settings, folder: Path) -> Path:
    """The study into the folder, without its pages."""

    def page(folder: Path, *_: object) -> Path:
        records.write_json(folder / "summary.json", {"images": 0})
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        for room, name in ((running, "write_report"), (hardening, "write_report"),
                           (noise_study, "write_noise_report"), (sets, "write_sets_report")):
            patch.setattr(room, name, page)
        study = read_studies(None, settings)
        return (carry_out_sets(study, folder) if isinstance(study, Sets) else carry_out(study, folder)).folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_real_run_has_the_golden_rows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small(monkeypatch)
    material(tmp_path)
    stored, found = json.loads(GOLDEN.read_text())[kind], digests(carried_out(KINDS[kind], Path("run")))
    assert differing(stored["keys"], found["keys"]) == []
    if stored["on"] == here():
        assert differing(stored["rows"], found["rows"]) == []
