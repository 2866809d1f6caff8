"""A whole study of CT noise with hardenings on a small made data set: what is written, resumed, added, refused."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from pages import lay_out_alone
from steadyread import records
from steadyread.cases import image_marks, open_cases
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.jobs import run as run_module
from steadyread.jobs.plan import cells_of, hardening_of, place
from steadyread.jobs.run import carry_out, harden_run
from steadyread.models.loading import load_classifier_module, load_saved, save_weights
from steadyread.store import Cell
from steadyread.study import Study, laid_over
from steadyread.study.reading import checked
from test_noise_study import SETTINGS, made

pytest.importorskip("nibabel")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("noise hardening")]      # one run is looked at by all
JUDGED = {"test": {"random": {"draws": 3}, "rings": {"starts": 2}}}
HARDENING = {
    "method": "adaptive", "epochs": 1, "rounds": 2, "judged": JUDGED | {"train": {"rings": {"steps": 3}}},
    "judged_compared": JUDGED,
    "compare": {"fresh": {"method": "fresh", "steps": 1}, "drift": {"method": "drift", "draws": 3},
                "strided": {"method": "none", "variant": "strided"}}}
PLAIN = laid_over(SETTINGS, {"noise": {"mas": [1, 100], "counted": 0, "converged": 4}}) | {
    "variants": {"strided": {}}}


def stated(data: Path, **hardening: Any) -> Study:
    told = laid_over(PLAIN, {"data": {"path": str(data)}, "noise": {"hardening": hardening or HARDENING}})
    told["noise"]["test"] = {"random": {"draws": 3}}
    told["noise"]["train"] = {}
    return checked(told, "the test")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("lidc"), 32)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "hardened"
    with pytest.MonkeyPatch.context() as patch:
        lay_out_alone(patch)
        carry_out(stated(data), folder)
    return folder


def rows(folder: Path, attack: str) -> list[dict[str, Any]]:
    table = records.read(folder)
    return table.filter(pc.equal(table["attack"], attack)).to_pylist()


def test_every_hardening_and_fold_is_a_cell(data: Path) -> None:
    study = stated(data)
    _, first, then = cells_of(study)
    assert [(cell.stage, cell.fold, hardening_of(study, cell).main) for cell in first] == [
        ("adaptive", 0, True), ("adaptive", 1, True), ("before", 0, False), ("before", 1, False)]
    assert [cell.stage for cell in then] == ["fresh", "fresh", "drift", "drift", "strided", "strided"]
    begun = cells_of(stated(data, method="fresh", variant="strided"))[1]
    assert {(cell.stage, cell.network) for cell in begun} == {("fresh", "strided"), ("before", "strided")}
    assert place(study, Cell(fold=1, stage="fresh")) == Path("hardened/fresh/fold-1")


def test_all_networks_are_judged_alike_on_the_same_images(run: Path) -> None:
    keys = [{(row["case_id"], attack, row["size"], row["trials"], row["seed"])
             for attack in ("clean", "random_ct_noise", "rings_ct_noise")
             for row in rows(run / "hardened" / name / "fold-1", attack)
             if row["part"] == "test" and row["against"] == "prediction"}
            for name in ("before", "adaptive", "fresh", "drift", "strided")]
    assert keys[0]
    assert all(each == keys[0] for each in keys)
    assert {row["part"] for row in rows(run / "hardened/adaptive/fold-0", "rings_ct_noise")} == {"train", "test"}
    assert {row["part"] for row in rows(run / "hardened/fresh/fold-0", "rings_ct_noise")} == {"test"}


def test_before_is_the_studys_own_network(run: Path) -> None:
    own, before, drift, after = (
        records.read_json(run / place / "fold-0" / "plan.json")["model"]["sha256"] for place in (
            "jobs/original", "hardened/before", "hardened/drift", "hardened/fresh"))
    assert own == before == drift != after
    assert {row["stage"] for row in rows(run / "hardened/before/fold-0", "clean")} == {"plain"}
    assert {row["stage"] for row in rows(run / "hardened/fresh/fold-0", "clean")} == {"hardened"}


def test_each_round_of_the_studys_own_hardening_is_judged(run: Path) -> None:
    for fold in (0, 1):
        place = run / f"hardened/adaptive/fold-{fold}"
        told = records.read_json(place / "training.json")
        rounds = [one["round"] for one in told["rounds"]]
        assert rounds == [1, 2] or told["stopped"]
        assert told["passes"] == sum(one["passes_attack"] + one["passes_training"] for one in told["rounds"])
        for one, after in pairwise(told["rounds"]):
            assert after["taught"] == one["taught"] + after["found"]
        judged = [number for number in (1, 2) if (place / f"round-{number}" / "plan.json").exists()]
        assert judged == ([1] if len(rounds) == 2 and not told["stopped"] else [])
        assert rows(place, "rings_ct_noise")


def test_what_it_is_compared_with_costs_as_much(run: Path) -> None:
    own, fresh = (records.read_json(run / "hardened" / name / "fold-0" / "training.json") for name in (
        "adaptive", "fresh"))
    assert fresh["budget"] == own["passes"]
    assert abs(fresh["passes"] - own["passes"]) <= fresh["rounds"][0]["taught"] * 3


def test_a_drift_correction_changes_noisy_reads_alone(run: Path) -> None:
    before, drift = (run / "hardened" / name / "fold-0" for name in ("before", "drift"))
    clean = [sorted((row["case_id"], row["against"], tuple(row["logits"])) for row in rows(folder, "clean")
                    if row["part"] == "test") for folder in (before, drift)]
    assert clean[0] == clean[1]
    shifts = records.read_json(drift / "training.json")["shifts"]
    worst = [{(row["case_id"], row["size"]): row["logits"][1] for row in rows(folder, "random_ct_noise")
              if row["part"] == "test" and row["against"] == "prediction"} for folder in (before, drift)]
    moved = {key: worst[0][key] - worst[1][key] for key in worst[0].keys() & worst[1].keys()}
    assert moved
    for (_, mas), by in moved.items():
        assert min(abs(by - shift) for shift in shifts[repr(mas)]) < 1e-4


def test_each_is_searched_ten_times_as_long_besides(run: Path) -> None:
    for name in ("before", "adaptive", "fresh"):
        (row,) = records.read_json(run / "hardened" / name / "fold-0" / "convergence.json")["rows"]
        assert (row["attack"], row["mas"]) == ("rings_ct_noise", 100.0)
        assert row["gradients_more"] >= row["gradients"]
        assert row["flips_more"] >= row["flips"] - 1
    assert not (run / "hardened/drift/fold-0/convergence.json").exists()


@pytest.mark.usefixtures("undrawn")
def test_what_is_finished_is_taken_up(run: Path, data: Path) -> None:
    held = {path: path.read_bytes() for path in run.glob("hardened/**/*") if path.is_file()}
    carry_out(stated(data), run)
    assert {path: path.read_bytes() for path in run.glob("hardened/**/*") if path.is_file()} == held


def test_other_settings_of_what_is_there_are_refused(run: Path, data: Path) -> None:
    with pytest.raises(PlanDiffers, match=r"noise\.hardening\.rounds is 2 there and 3 now"):
        carry_out(stated(data, **(HARDENING | {"rounds": 3})), run)
    other = laid_over(HARDENING, {"compare": {"fresh": {"steps": 2}}})
    with pytest.raises(PlanDiffers, match=r"noise\.hardening\.compare\.fresh is"):
        carry_out(stated(data, **other), run)


@pytest.mark.usefixtures("undrawn")
def test_a_hardening_is_added_to_a_finished_run(data: Path, tmp_path: Path) -> None:
    """As `steadyread harden RUN --method ...` does."""
    told = laid_over(PLAIN, {"data": {"path": str(data)}}) | {"variants": {}}
    study = checked(told, "the test")
    carry_out(study, tmp_path / "run")
    weights = (tmp_path / "run/jobs/original/fold-0/model.safetensors").read_bytes()
    harden_run(tmp_path / "run", [{"hardening": {"method": "augment", "epochs": 2, "judged": JUDGED}}])
    assert (tmp_path / "run/jobs/original/fold-0/model.safetensors").read_bytes() == weights
    training = records.read_json(tmp_path / "run/hardened/augment/fold-1/training.json")
    assert len(training["rounds"][0]["epochs"]) == 2
    carry_out(study, tmp_path / "run")       # the study as it was keeps what was added
    assert json.loads((tmp_path / "run/study.json").read_text())["noise"]["hardening"]["method"] == "augment"


def test_a_run_of_given_weights_is_hardened_with_images_given_then(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the noise that it was assessed with, on all of its images and on those alone."""

    def write(folder: Path, *_: object, **__: object) -> Path:
        records.write_json(folder / "summary.json", {})
        return folder

    monkeypatch.setattr(run_module, "write_report", write)
    tested, others = made(tmp_path / "tested", 12), made(tmp_path / "others", 32, patients="q")
    mine, theirs = (set(image_marks(open_cases(place, "lidc-3d", **PLAIN["data"]["options"])))
                    for place in (tested, others))
    arguments = {"size": [3, 8, 8], "width": 0.05}
    save_weights(load_classifier_module("nodule_cnn", None, seed=0, **arguments), tmp_path / "w.safetensors", {
        "model": "nodule_cnn", "arguments": arguments, "output": "logit", "normalise": "symmetric",
        "window": [-1000, 400], "taught": {"images": sorted(mine)[:3], "patients": []}})
    below = {key: value for key, value in PLAIN.items() if key not in ("training", "split", "variants", "model")}
    study = checked(laid_over(below, {
        "data": {"path": str(tested)}, "model": {"weights": str(tmp_path / "w.safetensors")},
        "noise": {"test": {"random": {"draws": 3}}, "train": {"random": {"draws": 3}}}}), "the test")
    run = carry_out(study, tmp_path / "run").folder
    job = run / "jobs/original/fold-0"
    assert [(one["severity"], one["value"]) for one in records.read_json(job / "findings.json")
            if one["check"] == "taught images"] == [("error", 3 / 12)]
    parts = {path: path.read_bytes() for path in (job / "records").iterdir()}
    hardening = {"hardening": {"method": "fresh", "steps": 1, "epochs": 1, "judged": JUDGED}}
    with pytest.raises(InputRefused, match=r"no training images to harden with.*harden RUN --data TRAIN"):
        harden_run(run, [hardening])
    with pytest.raises(InputRefused, match="what is learnt from a patient must not be tested on them"):
        harden_run(run, [hardening, {"data": {"train": str(tested)}}])
    harden_run(run, [hardening, {"data": {"train": str(others)}}])
    carry_out(study, run)                 # the study as it was keeps what was added
    assert {path: path.read_bytes() for path in (job / "records").iterdir()} == parts
    for path in (job, run / "hardened/before/fold-0", run / "hardened/fresh/fold-0"):
        assert set(records.read(path)["case_id"].to_pylist()) == {f"n{index}" for index in range(12)}
    card = load_saved(run / "hardened/fresh/fold-0/model.safetensors")[1]
    assert set(card["taught"]["images"]) == theirs


@pytest.mark.parametrize(("told", "said"), [
    ({"method": "magic"}, "noise.hardening.method"),
    ({"variant": "wider"}, "no variant 'wider' in this study; it has original, strided"),
    ({"compare": {"before": {}}}, "noise.hardening.compare.before: that name is the study's own"),
    ({"compare": {"x": {"round": 2}}}, "unknown key 'noise.hardening.compare.x.round': did you mean 'rounds'"),
    ({"compare": {"x": {"share": 3}}}, "noise.hardening.compare.x.share"),
    ({"method": "fresh", "rounds": 3}, "noise.hardening.rounds is for method adaptive, and the method is 'fresh'"),
    ({"compare": {"x": {"method": "clean", "epsilon": "5 HU"}}}, "compare.x.epsilon is for method pgd"),
    ({"method": "pgd", "epsilon": "0.5 mGy"}, "unit")])
def test_what_cannot_be_is_said_before_any_training(data: Path, tmp_path: Path, told: dict[str, Any], said: str
                                                    ) -> None:
    with pytest.raises(UsageError) as problem:
        carry_out(stated(data, **told), tmp_path / "run")
    assert said in str(problem.value)
    assert not (tmp_path / "run").exists()


def test_optimised_noise_is_not_searched_on_the_scanners_grid(data: Path, tmp_path: Path) -> None:
    told = laid_over(PLAIN, {"data": {"path": str(data)}, "noise": {"domain": "native", "hardening": HARDENING}})
    told["noise"]["test"] = told["noise"]["variants"] = {"random": {"draws": 2}}
    with pytest.raises(UsageError, match="domain is 'native'"):
        carry_out(checked(told, "the test"), tmp_path / "run")
