"""What Python users get: assessments of whatever they hold, opened runs, comparisons, and the commands as functions."""

import csv
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import fabricate
import fabricate_noise
import fabricate_noise_hardening
import steadyread
from steadyread import Assessment, Cases, Classifier, records, workflows
from steadyread.errors import Doubt, InputRefused, PlanDiffers, TrainingFailed, UsageError
from steadyread.frames import Frame, frame
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import LINF
from steadyread.metrics.tidy import COLUMNS, Number, headline
from steadyread.noise_explain import explain_run
from steadyread.report.run import told_of
from steadyread.report.shareable import AS_IT_IS
from steadyread.stored import triage_run
from steadyread.training.fit import TrainingSettings
from steadyread.units import Bounds
from test_hardening_report import harden as add_hardened

CLASSES, SIDE = ("benign", "malignant"), 6


def images(count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images in 0 to 1, the label of each by a plane through them, and the plane's normal (side * side,)."""
    draw = torch.Generator().manual_seed(seed)
    pixels, plane = torch.rand(count, 1, SIDE, SIDE, generator=draw), torch.randn(SIDE * SIDE, generator=draw)
    score = pixels.flatten(1) @ plane
    return pixels, (score > score.median()).long(), plane


def linear(plane: torch.Tensor, pixels: torch.Tensor, name: str = "plane") -> Classifier:
    """A network whose smallest flip is |margin| / ||2 plane||_1."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))
    middle = (pixels.flatten(1) @ plane).median()
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([-plane, plane]))
        net[1].bias.copy_(torch.tensor([middle, -middle]))
    return Classifier(net, (0, 1), "logits", name=name)


@pytest.fixture(scope="module")
def found() -> Assessment:
    pixels, labels, plane = images()
    return steadyread.assess(linear(plane, pixels), (pixels, labels), bounds=(0, 1), classes=CLASSES)


def test_an_assessment_has_every_number_as_a_row(found: Assessment) -> None:
    pixels, _, plane = images()
    summary = found.summary()
    assert summary.columns == COLUMNS
    assert all(tuple(row) == COLUMNS for row in summary)
    assert summary.where(measure="accuracy", attack="")[0]["value"] == pytest.approx(1.0, abs=0.02)
    margin = (2 * (pixels.flatten(1) @ plane - (pixels.flatten(1) @ plane).median())).abs()
    true = torch.sort(margin / (2 * plane).abs().sum()).values
    (median,) = summary.where(measure="median_smallest_flip", against="prediction")
    assert median["value"] == pytest.approx(float(true[(len(true) - 1) // 2]), rel=0.02)
    (robust,) = summary.where(measure="robust_accuracy", against="prediction", level=0.004)
    assert robust["value"] == pytest.approx(float((true > 0.004).float().mean()), abs=0.02)
    assert summary.to_arrow().column_names == list(COLUMNS)
    assert len(list(csv.DictReader(io.StringIO(summary.to_csv())))) == len(summary)


def test_it_shows_its_headline_short_and_as_html(found: Assessment) -> None:
    shown, page = repr(found), found._repr_html_()
    assert shown.startswith("Assessment of plane on arrays")
    assert len(shown.splitlines()) < 15
    assert max(map(len, shown.splitlines())) < 200
    assert "tensor" not in shown
    assert "<table" in page
    assert "median smallest flip" in page or "median_smallest_flip" in page


def test_findings_figures_page_records_and_triage(found: Assessment, tmp_path: Path) -> None:
    assert any(each.check == "images" for each in found.findings)
    assert [each.severity for each in found.findings] == sorted(
        (each.severity for each in found.findings), key=("error", "warning", "note", "ok").index)
    page = found.report(tmp_path / "report")
    assert "plane · arrays · " in page.read_text()
    assert "<svg" in found.plot("roc").svg()
    assert found.plot("roc")._repr_svg_() == found.plot("roc").svg()
    assert found.plot("roc").spec["$schema"].endswith(".json")
    assert found.plot() is found.plot("answer")
    case = str(found.records["case_id"][0])
    assert found.show(case)._repr_svg_().count("<image ") == 3
    with pytest.raises(UsageError, match="no chart 'rock'; this run has"):
        found.plot("rock")
    assert {"set", "network", "stage", "case_id", "size"} < set(found.records.column_names)
    withheld = steadyread.triage(found, 0.2)
    assert withheld.where(score="margin")[0]["withheld"] == pytest.approx(0.2, abs=0.02)


def test_a_store_goes_on_and_opens_again_with_the_same_numbers(tmp_path: Path) -> None:
    pixels, labels, plane = images(24)
    settings: dict[str, Any] = {"bounds": (0, 1), "store": tmp_path / "run", "seed": 5,
                                "attacks": [steadyread.fgsm(0.01), steadyread.smallest_flip]}
    first = steadyread.assess(linear(plane, pixels), TensorDataset(pixels, labels), **settings)
    again = steadyread.assess(linear(plane, pixels), TensorDataset(pixels, labels), **settings)
    opened = steadyread.open_run(tmp_path / "run")
    assert first.summary().rows == again.summary().rows == opened.summary().rows
    assert opened.report().read_bytes() == first.report().read_bytes()
    with pytest.raises(PlanDiffers):
        steadyread.assess(linear(plane, pixels), TensorDataset(pixels, labels), **settings | {"seed": 1})
    with pytest.raises(InputRefused, match="no records in"):
        steadyread.open_run(tmp_path)


def test_what_would_be_misread_without_a_word_is_refused() -> None:
    pixels, labels, plane = images(6)
    network, given = linear(plane, pixels), (pixels, labels)
    with pytest.raises(UsageError, match=r"must be a steadyread\.Classifier.*got Linear"):
        steadyread.assess(nn.Linear(2, 2), given, bounds=(0, 1))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="made for 0 to 1, and the images are stated to be 0 to 255"):
        steadyread.assess(network, given, bounds=(0, 255))
    for data in (given, TensorDataset(pixels, labels)):
        with pytest.raises(UsageError, match="patient: not known of images"):
            steadyread.assess(network, data, bounds=(0, 1), patient=list("aabbcc"))


@pytest.mark.parametrize("what", [triage_run, explain_run])
def test_what_is_done_with_one_run_is_refused_of_several_data_sets(tmp_path: Path, what: Any) -> None:
    records.write_json(tmp_path / "study.json", {"sets": {"first": {"seed": 0, "noise": {}}}})
    with pytest.raises(InputRefused, match=r"several data sets: give the folder of one of them, such as .*first"):
        what(tmp_path)


def test_two_networks_are_compared_on_the_same_images(found: Assessment) -> None:
    """Twice the weights move nothing; a plane of another direction reads worse."""
    pixels, labels, plane = images()
    twice = steadyread.assess(linear(2 * plane, pixels), (pixels, labels), [steadyread.smallest_flip], bounds=(0, 1))
    rows = found.compare(twice)
    assert set(rows.where(measure="robust_accuracy").column("verdict")) == {"same"}
    assert set(rows.where(measure="robust_accuracy").column("difference")) == {0.0}
    draw = torch.Generator().manual_seed(3)
    other = steadyread.assess(linear(plane + 2 * torch.randn(SIDE * SIDE, generator=draw), pixels), (pixels, labels),
                              [steadyread.smallest_flip], bounds=(0, 1))
    (clean,) = found.compare(other).where(measure="accuracy")
    assert clean["verdict"] == "worse"
    assert clean["difference"] == pytest.approx(clean["after"] - clean["before"])
    assert clean["low"] < clean["difference"] < clean["high"] < 0


def test_stages_of_a_run_are_selected_and_compared(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run", fabricate.table(spread=0.5))
    add_hardened(run, fabricate.rows(slope=0.1, spread=0.6))
    opened = steadyread.open_run(run)
    assert set(opened.summary().column("stage")) == {"plain", "hardened"}
    rows = opened.compare(opened.select(stage="hardened"))
    assert set(rows.where(level=5.6, attack="all").column("verdict")) == {"better"}
    assert rows.where(measure="smallest_flip_ratio")[0]["difference"] > 1
    hardened = opened.select(stage="hardened")
    kept = [steadyread.triage(each, 0.2).where(score="smallest_flip")[0]["accuracy"]
            for each in (opened, hardened, run / "hardened")]
    assert kept[0] != kept[1] == kept[2]
    assert opened.findings[0].check == "near duplicates"
    assert "case-0001" not in repr(opened)
    with pytest.raises(UsageError, match=r"nothing of .*it has \(set, network, stage\)"):
        opened.select(stage="hard")
    with pytest.raises(UsageError, match="select by set, network, stage, fold or round; got colour"):
        opened.select(colour="red")


def test_images_of_other_bounds_are_not_compared(found: Assessment) -> None:
    pixels, labels, _ = images()
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))
    wider = steadyread.assess(Classifier(net, (0, 2), "logits"), (2 * pixels, labels), [steadyread.fgsm(0.01)],
                              bounds=(0, 2))
    with pytest.raises(InputRefused, match=r"go from 0 to 1, those of .* from 0 to 2"):
        found.compare(wider)


def test_a_hardening_stands_by_the_network_that_it_began_with(tmp_path: Path) -> None:
    """And a run of several sets has the findings that stand beside all of the networks of each."""
    run = fabricate_noise_hardening.write_hardened(tmp_path / "one")
    path = run / "study.json"
    settings = json.loads(path.read_text())
    settings["noise"]["hardening"]["variant"] = "strided"
    path.write_text(json.dumps(settings))
    known = {(cell.stage, cell.network) for cell in steadyread.open_run(run).opened.cells}
    assert {("plain", "original"), ("before", "strided"), ("adaptive", "strided")} <= known
    (tmp_path / "study.json").write_text(json.dumps({"sets": {"one": {}}}))
    stored = json.loads((run / "findings.json").read_text())
    assert stored
    assert {each["check"] for each in stored} <= {each.check for each in steadyread.open_run(tmp_path).findings}
    (run / "jobs/original/fold-1/findings.json").write_text(json.dumps([
        {"check": "one class", "severity": "error", "message": "silent"}]))
    assert "Error: one class (one, original, fold 1): silent" in repr(steadyread.open_run(tmp_path))


def test_a_noise_study_opens_with_doses_as_levels_over_its_folds(tmp_path: Path) -> None:
    study = fabricate_noise.Made(cases=30, patients=30, folds=2, doses=(50.0, 100.0), draws=20, starts=2, seed=4)
    fabricate_noise.write_study(tmp_path / "run", study)
    assert steadyread.open_run(tmp_path / "run").seed == 4
    summary = steadyread.open_run(tmp_path / "run").summary()
    rows = summary.where(measure="changed_by_one_draw", attack="random_ct_noise", network="original")
    assert [(row["level"], row["unit"]) for row in rows] == [(50.0, "mAs"), (100.0, "mAs")]
    assert rows[0]["value"] > rows[1]["value"]


def test_a_network_is_hardened_or_the_failure_is_said() -> None:
    pixels, labels, plane = images(80)
    cases = Cases.from_arrays(pixels, labels, bounds=(0, 1))
    settings = {"epochs": (3,), "steps": 2, "judged": 20}
    hardened = steadyread.harden(linear(plane, pixels), cases, "0.01 range", settings=settings)
    assert hardened.stage == "hardened"
    wrong = Cases.from_arrays(pixels, 1 - labels, bounds=(0, 1))
    with pytest.raises(TrainingFailed, match="after none of the 3 epochs"):
        steadyread.harden(linear(plane, pixels), wrong, "0.01 range",
                          settings=settings | {"training": TrainingSettings(learning_rate=1e-9)})
    with pytest.raises(UsageError, match="no epoch; HardeningSettings has epsilons"):
        steadyread.harden(linear(plane, pixels), cases, "0.01 range", settings={"epoch": 3})


def test_nothing_is_learnt_from_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases whose parts are stated are hardened with their training images, of which a fifth choose the epoch."""
    pixels, labels, plane = images(60)
    parts = ["train"] * 40 + ["test"] * 20
    learnt: list[set[str]] = []

    def harden(classifier: Any, training: Cases, validation: Cases, *_: Any, **known: Any) -> Any:
        learnt.append({row.id for row in (*training.rows, *validation.rows)})
        return SimpleNamespace(history={"failed": None}, classifier=classifier)

    monkeypatch.setattr(workflows, "harden_network", harden)
    steadyread.harden(linear(plane, pixels), (pixels, labels), "0.01 range", bounds=(0, 1), parts=parts)
    steadyread.harden(linear(plane, pixels), (pixels, labels), "0.01 range", bounds=(0, 1))
    assert [len(ids) for ids in learnt] == [40, 60]
    assert learnt[0] == {f"{at:04d}" for at in range(40)}
    with pytest.raises(InputRefused, match="no image is of the part train"):
        steadyread.harden(linear(plane, pixels), (pixels, labels), "0.01 range", bounds=(0, 1),
                          parts=["validation"] * 40 + ["test"] * 20)


def test_data_are_audited_wherever_they_are() -> None:
    pixels, labels, _ = images(12)
    pixels[3] = pixels[4]
    found = steadyread.audit((pixels, labels), bounds=(0, 1))
    assert any("duplicate" in each.check for each in found)


@pytest.mark.parametrize(("data", "stated", "message"), [
    (Cases.from_arrays(np.zeros((2, 1, 3, 3)), [0, 1], bounds=(0, 1)), {"bounds": (0, 1)},
     "bounds: these cases say that themselves"),
    (3, {"bounds": (0, 1)}, "data must be Cases")])
def test_what_is_missing_or_said_twice_is_refused(data: Any, stated: dict[str, Any], message: str) -> None:
    pixels, _, plane = images(4)
    with pytest.raises(UsageError, match=message):
        steadyread.assess(linear(plane, pixels), data, **stated)


def test_bounds_are_the_classifiers_where_there_is_one() -> None:
    with pytest.raises(UsageError, match="bounds: state the valid values"):
        steadyread.audit((np.zeros((2, 1, 3, 3)), [0, 1]))
    pixels, labels, plane = images(4)
    one, other = (steadyread.assess(linear(plane, pixels), (pixels, labels), **stated)
                  for stated in ({}, {"bounds": (0, 1)}))
    assert one.records.column("found_size").equals(other.records.column("found_size"))


def test_a_frame_prints_short_and_marks_what_is_not_known() -> None:
    rows = frame(("name", "value"), [{"name": f"n{at}", "value": value} for at, value in enumerate(
        [1.23456, math.inf, math.nan, None, *range(30)])])
    shown = repr(rows).splitlines()
    assert len(shown) == 22
    assert shown[1].split() == ["n0", "1.235"]
    assert shown[2].endswith("none found")
    assert shown[-1] == "14 more rows"
    assert repr(Frame((), ())) == "no rows"
    assert len(rows.where(name="n3")) == 1


@pytest.mark.parametrize("attacks", [["pgd"], {"test": [0.01]}])
def test_what_is_no_attack_is_refused_before_any_work(attacks: Any) -> None:
    pixels, labels, plane = images(4)
    with pytest.raises(UsageError, match=r"attacks are functions such as pgd\(5\.6\)"):
        steadyread.assess(linear(plane, pixels), (pixels, labels), attacks, bounds=(0, 1))


def test_triage_over_folds_lists_each_read_with_its_fold(tmp_path: Path) -> None:
    for fold in range(2):
        rows = [row | {"fold": fold} for row in fabricate.rows(slope=0.2 + 0.1 * fold)]
        fabricate.write_run(tmp_path / "run" / "jobs" / "original" / f"fold-{fold}", records.as_table(rows))
    found = steadyread.open_run(tmp_path / "run").triage(0.2)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "run" / "triage.csv").read_text())))
    alone = steadyread.open_run(tmp_path / "run" / "jobs" / "original" / "fold-0").triage(0.2)
    assert found.columns == alone.columns
    assert {line["fold"] for line in lines} == {"0", "1"}
    assert len(lines) == 2 * len({line["case_id"] for line in lines})


def test_other_images_under_the_same_ids_are_refused(found: Assessment) -> None:
    _, labels, plane = images()
    pixels = images(seed=5)[0]
    other = steadyread.assess(linear(plane, pixels), (pixels, labels), [steadyread.fgsm(0.01)], bounds=(0, 1))
    with pytest.raises(InputRefused, match="60 ids in common, and no image of them has the same pixels"):
        found.compare(other)
    with pytest.warns(Doubt, match="not the same ones, by their digests"):
        assert len(found.compare(other, by_id=True))


def test_one_number_speaks_for_a_threat_at_the_level_that_the_papers_quote() -> None:
    """0.002 of the range, and 100 mAs: the nearest by ratio; against the label where both were tried."""
    found = [Number("robust_accuracy", Estimate(level), LINF, "all", against, level, "HU")
             for against in ("prediction", "label") for level in (2.0, 5.6, 28.0)]
    found += [Number("changed_by_one_draw", Estimate(0.1), "CTNoise", "random_ct_noise", "prediction", dose, "mAs")
              for dose in (10.0, 60.0, 150.0)]
    bounds = Bounds(-1000, 400, "HU")
    size, dose = (headline(found, threat, bounds) for threat in (LINF, "CTNoise"))
    assert size is not None
    assert dose is not None
    assert (size.level, size.against, dose.level) == (2.0, "label", 150.0)
    assert headline(found, "kernel", bounds) is None


def test_networks_side_by_side_are_set_against_each_other_at_a_level_that_all_have() -> None:
    def robust(*levels: float) -> list[Number]:
        return [Number("robust_accuracy", Estimate(level), LINF, "all", "label", level, "HU") for level in levels]

    bounds, own, other = Bounds(-1000, 400, "HU"), robust(1.4, 2.8, 11.2), robust(11.2 * (1 + 1e-9))
    assert headline(own, LINF, bounds).level == 2.8
    assert headline(own, LINF, bounds, [own, other]).level == 11.2
    assert headline(own, LINF, bounds, [robust(5.6)]).level == 2.8      # none in common: its own
    assert headline(own, LINF, bounds, [[]]).level == 2.8               # not judged under the threat


def test_what_python_users_assess_has_its_pictures(found: Assessment) -> None:
    block = told_of(found.folder, AS_IT_IS).cases.as_json()
    assert block["images"] == block["total"] > 0
    assert len(block["walk"]["at"]) == 21


def test_labels_that_count_from_one_are_refused_with_the_reason() -> None:
    pixels, labels, plane = images(4)
    with pytest.raises(InputRefused, match="labels count from 0, and these from 1"):
        steadyread.assess(linear(plane, pixels), (pixels, np.asarray(labels) + 1), bounds=(0, 1))
