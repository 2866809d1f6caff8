"""A whole study of CT noise on a small made data set: folds, variants, resuming, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golden_rows import nodules as made
from pages import lay_out_alone
from steadyread import records
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.files import COUNTED
from steadyread.jobs.job import material_of
from steadyread.jobs.plan import cells_of, place
from steadyread.jobs.run import carry_out
from steadyread.metrics.reads import ORIGINAL
from steadyread.store import Cell
from steadyread.study import Study, completed, keyed, read_study
from steadyread.study.sections import Gates

pytest.importorskip("nibabel")
SETTINGS = {
    "name": "small", "data": {"layout": "lidc-3d", "options": {"box_mm": [3, 8, 8]}},
    "split": {"test_share": 0.3, "folds": 2},
    "model": {"name": "nodule_cnn", "output": "logit", "arguments": {"width": 0.05}},
    "training": {"epochs": 2, "flips": False, "rotation_degrees": 0.0, "shift_pixels": 0.0},
    "noise": {"mas": [10.0, 100.0], "test": {"random": {"draws": 8}, "rings": {}},
              "train": {"random": {"draws": 8}},
              "variants": {"random": {"draws": 8, "mas": [100.0]}}, "counted": 30, "pairs": 4, "converged": 4},
    "variants": {"five_class": {"labels": "rating", "output": "logits"}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("lidc"))


@pytest.fixture(scope="module")
def study(data: Path) -> Study:
    return read_study(None, SETTINGS, keyed(data__path=str(data)))


@pytest.fixture(scope="module")
def run(study: Study, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        lay_out_alone(patch)
        return carry_out(study, tmp_path_factory.mktemp("run") / "out").folder


def test_all_jobs_judge_the_same_test_images(study: Study) -> None:
    parts = [material_of(study, job).ready for job in cells_of(study)[0]]
    tested = {tuple(row.id for row in each.part("test").rows) for each in parts}
    assert len(tested) == 1
    assert tested.pop()
    for each in parts:
        patients = {part: {row.patient for row in each.part(part).rows} for part in ("train", "validation", "test")}
        assert patients["test"].isdisjoint(patients["train"] | patients["validation"])


def test_a_run_holds_every_row(run: Path, study: Study) -> None:
    for job in cells_of(study)[0]:
        rows = records.read(run / place(study, job)).to_pylist()
        assert {row["fold"] for row in rows} == {job.fold}
        assert {row["model"] for row in rows} == {job.network}
        noisy = [row for row in rows if row["threat"] == "CTNoise"]
        assert {row["unit"] for row in noisy} == {"mAs"}
        assert {row["attack"] for row in noisy} == (
            {"random_ct_noise", "rings_ct_noise"} if job.network == ORIGINAL else {"random_ct_noise"})
        random = [row for row in noisy if row["attack"] == "random_ct_noise" and row["against"] == "prediction"]
        assert {row["trials"] for row in random} == {8}
        assert all(np.isfinite(row["drift"]) and row["jitter"] > 0 for row in random)
    assert (run / "report.html").exists()
    listed = list(csv.DictReader((run / "cases.csv").read_text().splitlines()))
    assert len(listed) == 40
    assert "diameter_mm" in listed[0]


def test_optimised_noise_flips_at_least_what_random_noise_does(run: Path, study: Study) -> None:
    rows = records.read(run / place(study, Cell(network=ORIGINAL, fold=0))).to_pylist()
    for mas in (10.0, 100.0):
        flipped = {attack: {row["case_id"] for row in rows if row["attack"] == attack and row["size"] == mas
                            and row["part"] == "test" and row["against"] == "prediction" and row["flips"]}
                   for attack in ("random_ct_noise", "rings_ct_noise")}
        assert len(flipped["rings_ct_noise"]) >= len(flipped["random_ct_noise"])


@pytest.mark.usefixtures("undrawn")
def test_the_same_study_goes_on_where_it_was_stopped(run: Path, study: Study) -> None:
    part = next(((run / place(study, Cell(network=ORIGINAL, fold=0))) / "records").glob("part-*"))
    before = part.read_bytes()
    part.unlink()
    ((run / place(study, Cell(network=ORIGINAL, fold=1))) / COUNTED).unlink()
    weights = (run / place(study, Cell(network="five_class", fold=0))) / "model.safetensors"
    stamp = weights.stat().st_mtime_ns
    carry_out(study, run)
    assert part.read_bytes() == before
    assert ((run / place(study, Cell(network=ORIGINAL, fold=1))) / COUNTED).exists()
    assert weights.stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_a_gate_on_steady_reads_is_judged(run: Path, study: Study) -> None:
    done = carry_out(study.model_copy(update={"gates": Gates(fail_below=(
        "steady_reads@100 mAs=0", "steady_reads@10 mAs=1", "auc=0.01"))}), run)
    least, most, area = done.gates
    assert area.passed
    assert 0 <= (most.value or 0) <= (least.value or 0) <= 1
    # so short a training may leave a network that says the same of every image
    assert least.passed or "one class" in least.message
    with pytest.raises(UsageError, match="these are: 10, 100 mAs"):
        carry_out(study.model_copy(update={"gates": Gates(fail_below=("steady_reads@70 mAs=0.5",))}), run)


@pytest.mark.usefixtures("undrawn")
def test_a_spectrum_that_the_grid_cuts_off_is_a_finding(study: Study, tmp_path: Path) -> None:
    table = tmp_path / "sharp.csv"
    table.write_text("# reference_mas: 100\n0,0\n0.5,10\n0.9,300\n1.2,1\n")
    asked = read_study(None, {key: value for key, value in SETTINGS.items() if key != "variants"}, {
        "noise": {"spectrum": str(table)}, "training": {"epochs": 1}}, keyed(data__path=study.data.path))
    asked = asked.model_copy(update={"noise": asked.noise.model_copy(update={
        "test": {"random": {"draws": 2}}, "train": {}, "counted": 0, "converged": 0})})
    run = carry_out(asked, tmp_path / "out").folder
    checks = [one["check"] for one in json.loads((run / "findings.json").read_text())]
    assert checks.count("spectrum beyond the grid") == 1
    assert "sharp" in (run / "report.html").read_text()


def test_a_counted_pair_has_both_estimates(run: Path, study: Study) -> None:
    found = json.loads(((run / place(study, Cell(network=ORIGINAL, fold=0))) / COUNTED).read_text())
    assert found["draws"] == 16
    for pair in found["pairs"]:
        assert 0 <= pair["counted_flips"] <= pair["counted_trials"] == 30
        assert pair["low"] <= pair["probability"] <= pair["high"]


@pytest.mark.parametrize(("stated", "told"), [
    ({"noise": {"mode": "simulate"}}, "the scan's own is not known"),
    ({"noise": {"domain": "native"}}, "noise is drawn only"),
    ({"noise": {"spectrum": "soft.csv"}}, "soft.csv"),
    ({"noise": {"spectrum": "harsh"}}, "soft"),
    ({"variants": {"broader": {}}}, "broader"),
    ({"noise": {"variants": {"random": {"mas": [10.0]}}}}, "compared under random noise at 100 mAs"),
])
def test_what_cannot_work_is_said_before_any_training(study: Study, tmp_path: Path, stated, told: str) -> None:
    asked = read_study(None, SETTINGS, stated, keyed(data__path=study.data.path))
    with pytest.raises((InputRefused, UsageError), match=told):
        carry_out(asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_native_noise_is_weaker_on_the_images_grid(study: Study, tmp_path: Path) -> None:
    only = {"noise": {"domain": "native", "counted": 0, "converged": 0}, "split": {"folds": None}}
    stated = {key: value for key, value in SETTINGS.items() if key != "variants"}
    asked = read_study(None, stated, only, keyed(data__path=study.data.path))
    asked = asked.model_copy(update={"noise": asked.noise.model_copy(update={
        "test": {"random": {"draws": 2}}, "train": {}})})
    run = carry_out(asked, tmp_path / "out").folder
    told = json.loads((run / "spectrum.json").read_text())
    assert told["sigma_native_hu"].keys() == told["sigma_hu"].keys()
    assert all(told["sigma_hu"][mas] <= told["sigma_native_hu"][mas] * 1.01 for mas in told["sigma_hu"])


@pytest.mark.slow
def test_another_spectrum_under_the_same_name_is_refused(study: Study, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("frequency_per_mm,power_hu2_mm2\n0,0\n0.3,100\n0.8,1\n")
    stated = {key: value for key, value in SETTINGS.items() if key != "variants"}
    asked = read_study(None, stated, {"noise": {"spectrum": str(table), "reference_mas": 100.0}},
                       keyed(data__path=study.data.path))
    asked = asked.model_copy(update={"noise": asked.noise.model_copy(update={
        "test": {"random": {"draws": 2}}, "train": {}, "counted": 0, "converged": 0})})
    run = carry_out(asked, tmp_path / "out").folder
    before = (run / "spectrum.json").read_text()
    table.write_text("frequency_per_mm,power_hu2_mm2\n0,0\n0.3,400\n0.8,4\n")
    with pytest.raises(PlanDiffers, match="another spectrum"):
        carry_out(asked, run)
    assert (run / "spectrum.json").read_text() == before


def test_grey_levels_are_asked_about(tmp_path: Path) -> None:
    from PIL import Image
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            Image.fromarray(np.random.default_rng(index).integers(0, 255, (16, 16), np.uint8)).save(
                tmp_path / name / f"{index}.png")
    study = read_study(None, {"noise": {}, "preparation": {"size": 16}}, keyed(data__path=str(tmp_path)))
    with pytest.raises(InputRefused, match="CT noise is in HU"):
        carry_out(study, tmp_path.parent / "grey")


@pytest.mark.parametrize(("stated", "told"), [
    ({"noise": {"test": {"ring": {}}}}, "no attack 'ring': did you mean 'rings'"),
    ({"noise": {"test": {"random": {"draw": 5}}}}, "unknown key 'noise.test.random.draw': did you mean 'draws'"),
    ({"noise": {"test": {"random": {"draws": "many"}}}}, "whole number of at least 1; got 'many'"),
    ({"noise": {"test": {"rings": {"mas": []}}}}, "must be doses in mAs"),
    ({"noise": {}, "variants": {"original": {}}}, "give the variant another name"),
    ({"noise": {}, "variants": {"..": {}}}, "should match pattern"),
    ({"model": {"window": [400, -1000]}}, "model.window must be LOW,HIGH")])
def test_wrong_settings_are_named(stated, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_study(None, stated)


def test_the_papers_scale_trains_as_the_paper_does() -> None:
    path = Path(__file__).resolve().parents[1] / "studies" / "ct_noise.toml"
    paper, laptop = (completed(read_study(path, keyed(scale=scale)), "lidc-3d") for scale in ("paper", "laptop"))
    assert paper.training is not None
    wanted = {"epochs": 500, "batch": 64, "learning_rate": 1e-5, "schedule": "constant", "weight_decay": 0.0,
              "loss": "squared_error", "flips": False, "rotation_degrees": 15.0, "shift_pixels": 5.0, "balance": True,
              "optimiser": "adam", "judged_by": "auc", "patience": None}
    assert {key: paper.training[key] for key in wanted} == wanted
    assert (paper.split.folds, laptop.split.folds) == (10, 3)
    assert (paper.split.test_share, laptop.split.test_share) == (0.2, 0.2)
    assert (paper.model.arguments["width"], laptop.model.arguments["width"]) == (1.0, 0.25)
    assert paper.noise is not None
    assert paper.noise.hardening is not None
    own = paper.noise.hardening.whole["adaptive"]
    assert (own.noise, own.rounds, own.epochs, own.starts) == ("paper", 2, 10, 1)
    for tried in (paper.noise.test, paper.noise.train, own.judged.test, own.judged.train):
        assert {settings.get("draws", settings.get("starts")) for settings in tried.values()} == {50}
        assert "paper" in tried
    assert paper.data.options["box_mm"] == 32
    assert paper.data.options["ratings"]
    thin = completed(read_study(path, keyed(scale="paper_thin")), "lidc-3d")
    assert (thin.scale, thin.data.options["box_mm"], thin.data.options["ratings"]) == (
        "paper_thin", [5, 24, 24], paper.data.options["ratings"])
    assert thin.training == paper.training | {"rotation_degrees": (15.0, 0.0, 0.0), "shift_pixels": (1.0, 5.0, 5.0)}


def test_a_scale_lies_over_the_file_and_under_the_flags(tmp_path: Path) -> None:
    path = tmp_path / "scaled.toml"
    path.write_text('seed = 1\nscale = "small"\n[training]\nepochs = 5\n[scales.small]\ntraining.epochs = 2\n'
                    '[scales.large]\ntraining.epochs = 9\n')
    assert read_study(path).training == {"epochs": 2}
    assert read_study(path, keyed(scale="large")).training == {"epochs": 9}
    assert read_study(path, keyed(training__epochs=3)).training == {"epochs": 3}
    with pytest.raises(UsageError, match="it has small, large"):
        read_study(path, keyed(scale="huge"))


def test_a_scale_may_be_like_another_but_for_something(tmp_path: Path) -> None:
    path = tmp_path / "scaled.toml"
    path.write_text('[scales.large]\ntraining = { epochs = 9, batch = 4 }\n[scales.larger]\nscale = "large"\n'
                    'training.epochs = 20\n[scales.loop]\nscale = "loop"\n[scales.lost]\nscale = "nowhere"\n')
    larger = read_study(path, keyed(scale="larger"))
    assert (larger.scale, larger.training) == ("larger", {"epochs": 20, "batch": 4})
    path.write_text(path.read_text() + '[noise]\nmas = [5]\n[noise.hardening]\n[scales.bare]\nscale = "larger"\n'
                    'drop = ["noise.hardening", "training.batch"]\n[scales.wrong]\ndrop = "noise"\n')
    bare = read_study(path, keyed(scale="bare"))
    assert (bare.training, bare.ct_noise.mas, bare.ct_noise.hardening) == ({"epochs": 20}, (5,), None)
    with pytest.raises(UsageError, match=r"drop in a .* must be a list of keys"):
        read_study(path, keyed(scale="wrong"))
    with pytest.raises(UsageError, match=r"\[scales.loop\] names itself"):
        read_study(path, keyed(scale="loop"))
    with pytest.raises(UsageError, match=r"no table \[scales.nowhere\]"):
        read_study(path, keyed(scale="lost"))
