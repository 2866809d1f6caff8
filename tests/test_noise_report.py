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
from pages import HOSTILE, Page, refuse_outside
from steadyread.errors import InputRefused
from steadyread.metrics.summary import as_json
from steadyread.report import write_report
from steadyread.report.inline import inline_svg
from steadyread.report.noise import drawings_of, noise_of, read_noise
from steadyread.report.noise_stored import read_noise_run
from steadyread.report.run import told_of
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.words.noise import noise_run_lines

SMALL = made.Made(cases=60, patients=40, folds=1, doses=(10.0, 100.0), draws=20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = made.Made(cases=100, patients=70, folds=2, variants=("original", "strided", "five_class"))
    return write_report(made.write_study(tmp_path_factory.mktemp("runs") / "ct_noise", settings)).parent


def test_both_sigmas_of_a_noise_of_the_scanner_are_shown(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, cases=20, attacks=("random_ct_noise",)))
    path = folder / "spectrum.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"domain": "native", "sigma_native_hu": {"10": 77.7, "100": 24.6}}))
    text = Page(noise_page(folder)[0]).text
    assert "σ on the image’s grid, HU" in text
    assert "77.7" in text


def test_the_page_needs_nothing_from_outside_and_runs_nothing(whole: Path) -> None:
    refuse_outside((whole / "report.html").read_text())


def test_the_figures_are_there_and_in_the_page(whole: Path) -> None:
    drawn = {path.stem for path in (whole / "figures").glob("*.svg")}
    assert drawn == {path.stem for path in (whole / "figures").glob("*.png")}
    assert drawn >= {"sar_random_test", "sar_random_train", "doses", "dose_fall", "critical", "drift_jitter",
                     "counted", "plausibility", "roc", "spectrum", "subgroups", "variants", "examples"}
    assert (whole / "report.html").read_text().count("<svg") == len(drawn) - 1


def test_the_same_folder_gives_the_same_bytes(whole: Path) -> None:
    shared = Shareable.of(whole)
    files = read_noise(whole, shared)
    noise = noise_of(files, shared=shared)
    again = json.dumps(as_json(noise.summary), sort_keys=True)
    assert again == json.dumps(as_json(json.loads((whole / "summary.json").read_text())), sort_keys=True)
    drawings = drawings_of(files, noise)
    for name in ("dose_fall", "subgroups"):
        assert drawings[name].svg() == (whole / "figures" / f"{name}.svg").read_text()


def test_the_summary_is_plain_json_with_every_interval(whole: Path) -> None:
    found = json.loads((whole / "summary.json").read_text())
    row = next(row for row in found["rows"] if (row["attack"], row["mas"], row["part"])
               == ("random_ct_noise", 100.0, "test"))
    assert set(row["san"]) == {"value", "low", "high", "n", "sd", "folds"}
    assert len(row["san"]["folds"]) == 2
    assert found["dose_fall"]["dose_of_share"]["0.05"]["value"] > 0
    assert found["giveaways"]["diameter tells the label"] == 0.87


def test_the_command_line_says_the_same(whole: Path) -> None:
    found = noise_page(whole)[1]
    text = "\n".join(noise_run_lines(found))
    assert found["verdict"] in text
    stored = json.loads((whole / "summary.json").read_text())
    assert "\n".join(noise_run_lines(stored)) == text
    assert "Report: here" in "\n".join(noise_run_lines(stored | {"report": "here"}))
    assert "sigma, HU" in text
    assert "warning: diameter tells the label" in text
    assert found["verdict"] in Page((whole / "report.html").read_text()).text.replace("\u00a0", " ")


@pytest.mark.parametrize(("changed", "sentences"), [
    ({"attacks": ("random_ct_noise",), "counted": False, "converged": False, "spectrum": False, "examples": False},
     ("No optimised noise was tried.", "P(flip) was not checked against counting many draws here",
      "No spectrum was stored with this study.", "No example images were stored.")),
    ({"attacks": ("rings_ct_noise",), "converged": False},
     ("Random noise was not tried.", "Random noise has not been tried", "Drift and jitter were not recorded.",
      "None can be named without drift and jitter.",
      "Whether more gradients would find more flips was not checked.")),
    ({"attacks": ()}, ("No optimised noise was tried.", "Random noise was not tried.")),
    ({"volumes": False, "makers": ()},
     ("there is no correlation along z", "Nothing is known of: manufacturer.",
      "Only original was trained: nothing to compare.", "no network with strided convolutions was trained",
      "No scan's own mAs is known here")),
    ({"facts": False, "train": False},
     ("Nothing is known of: manufacturer, diameter, number of readers, rating, copied slices, slice spacing.",
      "Test, at least once in 20")),
    ({"scan_mas": 120.0}, ("Scan then has, mAs", "Of a scan's own dose")),
    ({"scan_mas": 120.0, "mode": "simulate"}, ("mAs simulated", "Of a scan's own dose")),
    ({"doses": (50.0,), "draws": 1}, ("Noise of 50 mAs changes", "Drift and jitter were not recorded.")),
    ({"cases": 8, "patients": 8, "doses": (50.0,)}, ("too few patients for an interval", "at least once in 20")),
])
def test_what_is_absent_is_said_in_words(tmp_path: Path, changed: dict[str, Any],
                                         sentences: tuple[str, ...]) -> None:
    page, found = noise_page(made.write_study(tmp_path, replace(SMALL, **changed)))
    text = Page(page).text
    for words in sentences:
        assert words in text, words
    assert list(noise_run_lines(found))
    json.dumps(as_json(found), allow_nan=False)


@pytest.mark.parametrize("changed", [{"attacks": ()}, {"attacks": ("rings_ct_noise",), "examples": False},
                                     {"spectrum": False, "counted": False, "doses": (10.0,), "facts": False}])
def test_every_figure_stands_without_its_numbers(tmp_path: Path, changed: dict[str, Any]) -> None:
    files = read_noise(made.write_study(tmp_path, replace(SMALL, cases=30, **changed)))
    drawings = drawings_of(files, noise_of(files))
    assert len(drawings) >= 11
    for name, drawing in drawings.items():
        assert drawing.svg()
        assert drawing.caption, name


def test_a_study_under_way_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, folds=3, variants=("original", "deeper")))
    shutil.rmtree(folder / "jobs/original/fold-1/records")
    (folder / "jobs/deeper/fold-0/plan.json").unlink()
    for name in ("study.json", "cases.csv", "findings.json"):
        (folder / name).unlink()
    run = read_noise_run(folder)
    assert [(job.variant, job.fold) for job in run.study.jobs] == [
        ("deeper", 1), ("deeper", 2), ("original", 0), ("original", 2)]
    page, found = noise_page(folder)
    assert found["folds"] == [0, 2]
    assert "No checks" not in page     # the networks' own are there


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no such file"):
        write_report(tmp_path)


@pytest.mark.parametrize(("name", "content"), [("study.json", "[]"), ("spectrum.json", "3"),
                                               ("findings.json", "{}"), ("study.json", "{"),
                                               ("cases.csv", "case,label\na,1\n")])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, name: str, content: str) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, cases=20, attacks=()))
    (folder / name).write_text(content)
    with pytest.raises(InputRefused, match=name):
        read_noise_run(folder)


def test_a_file_of_examples_that_is_none_is_named(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, cases=20, attacks=()))
    place = folder / "jobs/original/fold-0/noise_examples.npz"
    place.write_bytes(b"none")
    with pytest.raises(InputRefused, match="noise_examples"):
        read_noise_run(folder)
    np.savez(place, **(made.examples(SMALL) | {"mas": np.zeros(1)}))
    with pytest.raises(InputRefused, match="of one length"):
        read_noise_run(folder)
    np.savez(place, **{name: values[:0] for name, values in made.examples(SMALL).items()})
    assert read_noise_run(folder).examples == []


def test_names_from_users_are_escaped(tmp_path: Path) -> None:
    folder = made.write_study(tmp_path, replace(SMALL, makers=(HOSTILE, "GE"), cases=40))
    plan = folder / "jobs/original/fold-0/plan.json"
    told = json.loads(plan.read_text())
    told["data"] |= {"name": HOSTILE, "classes": ["benign", HOSTILE]}
    plan.write_text(json.dumps(told))
    told = told_of(folder, AS_IT_IS)
    charts = {name: told.drawings[name] for name in ("subgroups", "drift_jitter")}
    text = told.page().html({name: (inline_svg(chart.svg(), name, chart.caption), "")
                             for name, chart in charts.items()})
    assert "<script" not in text
    assert text.count("&lt;script") > 5


def test_no_torch_is_needed() -> None:
    code = "import sys, steadyread.report.noise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
