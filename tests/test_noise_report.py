"""A noise study's page: inert and whole, with every part in it, and in words where a part is absent."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fabricate_noise as made
from fabricate_noise import noise_page
from pages import HOSTILE, Page, refuse_outside, run_by_hash, unscripted
from steadyread import terminal
from steadyread.errors import InputRefused
from steadyread.metrics.summary import as_json
from steadyread.report import write_report
from steadyread.report.inline import inline
from steadyread.report.noise import read_noise
from steadyread.report.run import told_of
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.result import run_lines
from steadyread.store import open_cells

SMALL = made.Made(cases=60, patients=40, folds=1, doses=(10.0, 100.0), draws=20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = made.Made(cases=100, patients=70, folds=2, variants=("original", "strided", "five_class"))
    return write_report(made.write_study(tmp_path_factory.mktemp("runs") / "ct_noise", settings)).parent


def test_the_page_needs_nothing_from_outside_and_runs_nothing(whole: Path) -> None:
    refuse_outside((whole / "report.html").read_text())


def test_the_figures_are_there_and_in_the_page(whole: Path) -> None:
    drawn = {path.stem for path in (whole / "figures").glob("*.svg")}
    assert drawn == {path.stem for path in (whole / "figures").glob("*.png")}
    assert drawn >= {"sar_random_test", "sar_random_train", "doses", "dose_fall", "critical", "drift_jitter",
                     "counted", "plausibility", "roc", "spectrum", "subgroups", "variants", "examples"}
    assert unscripted((whole / "report.html").read_text()).count("<svg") == len(drawn) - 1


def test_the_same_folder_gives_the_same_bytes(whole: Path) -> None:
    run = told_of(whole, Shareable.of(whole))
    again = json.dumps(as_json(run.summary), sort_keys=True)
    assert again == json.dumps(as_json(json.loads((whole / "summary.json").read_text())), sort_keys=True)
    for name in ("dose_fall", "subgroups"):
        assert run.drawings[name].svg() == (whole / "figures" / f"{name}.svg").read_text()


def test_the_command_line_says_the_same(whole: Path) -> None:
    found = noise_page(whole)[1]
    stored = json.loads((whole / "summary.json").read_text())
    more = {"numbers": stored["numbers"], "report": "report.html"}
    assert list(run_lines(stored | more)) == list(run_lines(found | more))


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"attacks": ()}, "No optimised noise was tried."),
    ({"attacks": ("random_ct_noise",), "counted": False, "converged": False, "spectrum": False, "examples": False,
      "facts": False, "train": False}, "P(flip) was not checked against counting many draws here"),
    ({"attacks": ("rings_ct_noise",), "volumes": False, "makers": (), "examples": False},
     "Random noise was not tried."),
    ({"cases": 8, "patients": 8, "doses": (50.0,), "draws": 1, "scan_mas": 120.0, "mode": "simulate"},
     "of reads changed by one draw at 50 mAs")])
def test_what_is_absent_is_said_on_the_page_and_in_every_figure(tmp_path: Path, changed: dict[str, Any],
                                                                sentence: str) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, **({"cases": 30} | changed)))
    run = told_of(folder, AS_IT_IS)
    assert sentence in Page(run.page().html({})).text
    assert list(terminal.lines(run_lines(run.summary | {"report": "report.html"})))
    json.dumps(as_json(run.summary), allow_nan=False)
    for name, drawing in run.drawings.items():
        assert drawing.svg()
        assert drawing.caption, name


def test_a_study_under_way_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, folds=3, variants=("original", "deeper")))
    shutil.rmtree(folder / "jobs/original/fold-1/records")
    (folder / "jobs/deeper/fold-0/plan.json").unlink()
    for name in ("study.json", "cases.csv", "findings.json"):
        (folder / name).unlink()
    run = read_noise(open_cells(folder))
    assert [(job.variant, job.fold) for job in run.study.jobs] == [
        ("deeper", 1), ("deeper", 2), ("original", 0), ("original", 2)]
    page, found = noise_page(folder)
    assert found["folds"] == [0, 2]
    assert "No checks" not in page     # the networks' own are there


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no records"):
        write_report(tmp_path)


@pytest.mark.parametrize(("name", "content"), [("study.json", "[]"), ("spectrum.json", "3"),
                                               ("findings.json", "{}"), ("study.json", "{"),
                                               ("cases.csv", "case,label\na,1\n")])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, name: str, content: str) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, cases=20, attacks=()))
    (folder / name).write_text(content)
    with pytest.raises(InputRefused, match=name):
        read_noise(open_cells(folder))


def test_a_file_of_examples_that_is_none_is_named(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, cases=20, attacks=()))
    place = folder / "jobs/original/fold-0/noise_examples.npz"
    place.write_bytes(b"none")
    with pytest.raises(InputRefused, match="noise_examples"):
        read_noise(open_cells(folder))
    np.savez(place, **(made.examples(SMALL) | {"mas": np.zeros(1)}))
    with pytest.raises(InputRefused, match="of one length"):
        read_noise(open_cells(folder))
    np.savez(place, **{name: values[:0] for name, values in made.examples(SMALL).items()})
    assert read_noise(open_cells(folder)).examples == []


def test_names_from_users_are_escaped(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, makers=(HOSTILE, "GE"), cases=40))
    plan = folder / "jobs/original/fold-0/plan.json"
    told = json.loads(plan.read_text())
    told["data"] |= {"name": HOSTILE, "classes": ["benign", HOSTILE]}
    plan.write_text(json.dumps(told))
    told = told_of(folder, AS_IT_IS)
    charts = {name: told.drawings[name] for name in ("subgroups", "drift_jitter")}
    text = told.page().html({name: inline(chart, chart.svg()) for name, chart in charts.items()})
    run_by_hash(Page(text))
    assert text.count("&lt;script") > 5


def test_no_torch_is_needed() -> None:
    code = "import sys, steadyread.report.noise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
