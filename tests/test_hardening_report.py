"""The report's section on hardening: every part from stored files alone, and never a success that is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fabricate
from pages import HOSTILE, Page, refuse_outside, run_by_hash
from steadyread import records
from steadyread.charts import Panel
from steadyread.errors import InputRefused
from steadyread.metrics import Estimate, step_curve
from steadyread.metrics.hardened import Hardened
from steadyread.metrics.summary import as_json
from steadyread.report import write_report
from steadyread.report.accuracy_drawings import AttackPoints, Side, before_and_after, reach
from steadyread.report.drawings import hardening_course
from steadyread.report.hardening_drawings import Judged, Measure, flips_before_and_after, methods_forest
from steadyread.report.hardening_stored import read_hardenings
from steadyread.report.networks import Networks
from steadyread.report.plain import plain_of
from steadyread.report.run import Told
from steadyread.report.shareable import AS_IT_IS
from steadyread.report.stored import read_run
from steadyread.units import Bounds
from steadyread.words.hardening import failure, partly_said

HU, PLAIN = Bounds(-1000, 400, "HU"), Bounds(0, 1)
NONE = np.zeros(0)


def history(**changed: Any) -> dict[str, Any]:
    """What a hardening leaves in training.json: two stages of four epochs."""
    epochs = [{"epoch": epoch, "stage": 1 + epoch // 5, "epsilon": 1.4 if epoch < 5 else 2.8, "seconds": 2.0,
               "train_loss": 1 / epoch, "validation_loss": 1 / epoch, "validation_auc": 0.9,
               "validation_accuracy": 0.86, "robust_accuracy": 0.7 - 0.3 / epoch, "predicted_classes": 2}
              for epoch in range(1, 9)]
    return {"method": "pgd", "epsilon": 2.8, "unit": "HU", "epsilons": [1.4, 2.8], "why": "half of them flip there",
            "useful": {"low": 0.7, "median": 2.8, "high": 9.8, "images": 200}, "failed": None, "chosen_epoch": 6,
            "start": {"validation_accuracy": 0.88, "robust_accuracy": 0.3}, "rule": "the best under attack",
            "epochs": epochs, "settings": {"steps": 7}, "seed": 0, "seconds": 16.0} | changed


def harden(run: Path, rows: list[dict[str, Any]], name: str = "hardened", **changed: Any) -> Path:
    """A hardened network's folder beside a fabricated run."""
    folder = fabricate.write_run(run / name, records.as_table([row | {"stage": "hardened"} for row in rows]))
    (folder / "training.json").write_text(json.dumps(history(**changed)))
    (folder / "findings.json").write_text("[]")
    return folder


def told(run: Path) -> dict[str, Any]:
    """A run's summary as `write_report` makes it, as plain values; the page is written, without its drawings."""
    plain = plain_of(read_run(run), AS_IT_IS)
    (run / "report.html").write_text(Told(plain, None, Networks(()), (), {}).page().html({}))
    found: dict[str, Any] = as_json(plain.summary)
    return found


def section(run: Path) -> str:
    """The words of the section alone."""
    text = (run / "report.html").read_text()
    start = text.index('<h3 class="title">Before and after hardening</h3>')
    return Page(text[start:text.index("</section>", start)]).text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fabricate.write_run(tmp_path_factory.mktemp("runs") / "run", fabricate.table(spread=0.5))
    harden(folder, fabricate.rows(slope=0.1, spread=0.6))
    harden(folder, fabricate.rows(slope=0.2, spread=0.5), "hardened-small", epsilon=0.7, epsilons=[0.7])
    harden(folder, fabricate.rows(slope=0.25, spread=0.5), "hardened-too_large", epsilon=28.0, epsilons=[28.0],
           failed="every epoch read all images as one class", chosen_epoch=0)
    harden(folder, fabricate.rows(slope=0.12, spread=0.6), "hardened-trades", method="trades")
    write_report(folder)
    return folder


def test_the_figures_are_written_and_in_the_page(run: Path) -> None:
    names = {path.stem for path in (run / "figures").iterdir()}
    assert {"before_after", "flips_before_after", "hardening", "hardenings"} <= names
    text = (run / "report.html").read_text()
    for words in ("([A] Fig. 3)", "Above the diagonal", "under PGD of 0.0020 of the range", "Hollow: failed"):
        assert words in text


def test_the_page_stays_inert_and_whole(run: Path) -> None:
    refuse_outside((run / "report.html").read_text())


def test_a_run_without_hardening_has_no_trace_of_it(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    (run / "hardened-other").mkdir()
    assert "hardening" not in told(run)
    assert "ardening" not in Page((run / "report.html").read_text()).text


def test_a_failed_hardening_is_an_error_and_no_success(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    harden(run, fabricate.rows(slope=0.05), failed="no epoch learnt", chosen_epoch=0)
    assert told(run)["hardening"]["verdict"] == "No epoch learnt. No gain is claimed."
    text = (run / "report.html").read_text()
    assert text.count('<li class="error"><span class="tag">error</span><div><b>hardening failed</b>') == 2
    assert "steadier" not in Page(text).text
    assert "need a larger change" not in Page(text).text


def test_a_gain_is_doubted_while_the_evaluation_s_checks_fail(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    folder = harden(run, fabricate.rows(slope=0.05))
    known = json.loads((run / "findings.json").read_text())
    (folder / "findings.json").write_text(json.dumps([*known, {
        "check": "zero gradients", "severity": "error", "message": "40 % of the gradients are 0", "rows": []}]))
    found = told(run)["hardening"]
    assert [one["check"] for one in found["findings"]] == ["zero gradients"]     # not those of the plain run again
    for words in (found["short"], found["verdict"]):
        assert words.endswith("cannot be trusted while these checks of the hardened network fail: zero gradients.")
    assert "40 % of the gradients are 0" in section(run)


def test_a_size_beyond_the_search_is_told_as_what_was_tried(tmp_path: Path) -> None:
    searched = {"attacks": {"test": ["FGSM(epsilon=1.4)", "smallest_flip(largest=1.0)"]}}
    run = fabricate.write_run(tmp_path / "run", **searched)
    for folder in (harden(run, fabricate.rows(slope=0.1)),
                   harden(run, fabricate.rows(slope=0.2), "hardened-small", epsilon=0.7, epsilons=[0.7])):
        (folder / "plan.json").write_text(json.dumps(fabricate.plan(**searched)))
    assert told(run)["hardening"]["headline"]["exact"] is False
    text = section(run)
    assert "changes of at most" not in text
    assert "robust accuracy at 2.8 HU, merged from fixed sizes" in text


def test_a_hardening_that_has_not_been_assessed_says_so(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    (run / "hardened").mkdir()
    (run / "hardened" / "training.json").write_text(json.dumps(history()))
    assert told(run)["hardening"]["compared"] is None
    assert "has not been assessed yet" in section(run)


def test_whatever_a_training_says_is_inert(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    harden(run, fabricate.rows(slope=0.1), method=HOSTILE, why=HOSTILE, rule=HOSTILE, settings={HOSTILE: HOSTILE})
    harden(run, fabricate.rows(slope=0.1), "hardened-<b onclick=alert(2)>", failed=HOSTILE, method=HOSTILE)
    told(run)
    page = Page((run / "report.html").read_text())
    run_by_hash(page)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("alert(1)") > 4


def test_what_does_not_fit_the_plain_run_is_refused(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    folder = harden(run, fabricate.rows(seed=9))
    with pytest.raises(InputRefused, match="another label in the reads after hardening"):
        told(run)
    harden(run, fabricate.rows(name="other"))
    for part in sorted((folder / records.PARTS).iterdir())[:-1]:
        part.unlink()
    (folder / "plan.json").write_text(json.dumps(fabricate.plan(unit="grey level")))
    with pytest.raises(InputRefused, match="assess both networks on the same data"):
        told(run)


CURVE = step_curve(np.array([0.0, 2.0, 3.0, np.inf]), np.array([False, True, True, True]), np.zeros(4, bool),
                   np.arange(4).astype(str))
EMPTY = step_curve(NONE, NONE.astype(bool), NONE.astype(bool), NONE.astype(str))
POINTS = [AttackPoints("FGSM", [1.4, 2.8], [0.7, 0.6]), AttackPoints(HOSTILE, [1.4], [0.5])]


def words(panel: Panel) -> str:
    """All that a panel's tables say, and its key."""
    return " ".join(str(row.get("text", "")) for rows in panel.tables.values() for row in rows) + " ".join(
        entry.name for entry in panel.key)


def test_figures_without_numbers_say_so() -> None:
    assert "no attack has been run" in words(before_and_after(Side(EMPTY, []), Side(EMPTY, []), HU, "label", 2.8))
    for flips in (NONE, np.full(3, np.inf)):
        assert "no read that is right in both was flipped" in words(flips_before_and_after(flips, flips, HU))
    assert "no epoch of hardening" in words(hardening_course({}, HU))
    assert "no method was judged" in words(methods_forest([Judged("before", (None,))], [Measure("AUC", "blue")])[0])


def test_the_curves_are_drawn_where_they_are() -> None:
    panel = before_and_after(Side(CURVE, POINTS), Side(CURVE, POINTS[:1]), HU, "label", 2.8)
    steps = panel.tables["steps"]
    assert [row["x"] for row in steps[:3]] == pytest.approx(CURVE.sizes)
    assert [row["y"] for row in steps[:3]] == pytest.approx(CURVE.accuracy)
    assert len({(row["colour"], tuple(row["dash"])) for row in steps}) == 2
    assert panel.tables["rules"][0]["x"] == 2.8
    assert [entry.name for entry in panel.key] == ["before", "after", "FGSM", HOSTILE]
    assert (panel.x.domain or (0, 0))[1] == reach([Side(CURVE, POINTS)] * 2, HU, 2.8) > CURVE.half_way
    ended = before_and_after(Side(EMPTY, POINTS), Side(CURVE.until(0), POINTS), PLAIN, "label")
    assert not ended.tables["steps"]


def test_a_flip_that_was_never_found_stands_beyond_all_others() -> None:
    panel = flips_before_and_after(np.array([1.0, 2.0, 0.0]), np.array([3.0, np.inf, 1.0]), PLAIN)
    heights = sorted(row["y"] for row in panel.tables["marks"])
    assert heights[0] == 3.0
    assert 3.0 < heights[1] < (panel.y.domain or (0, 0))[1]
    assert "never flipped after" in words(panel)


def test_a_training_that_reads_one_class_and_one_that_failed_are_marked() -> None:
    silent = [epoch | {"predicted_classes": 1} for epoch in history()["epochs"]]
    course = hardening_course(history(epochs=silent, chosen_epoch=0), HU)
    assert "one class for every image" in words(course)
    assert "kept: the start" in words(course)
    assert "stage 2: 2.8 HU" in words(hardening_course(history(), HU))
    rows = [Judged("before", (Estimate(0.3, 0.2, 0.4),)), Judged("small", (Estimate(0.8, 0.7, 0.9),)),
            Judged("large", (Estimate(0.5, 0.4, 0.6),), True)]
    (panel,) = methods_forest(rows, [Measure("right, %", "blue")])
    hollow = [row["x"] for row in panel.tables["marks"] if row["fill"] != row["colour"]]
    assert hollow == [0.5]


def test_sizes_and_epochs_of_other_folds_are_told_beside_those_of_the_first(tmp_path: Path) -> None:
    """With sizes that are found from the smallest flips, every fold is taught its own."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "jobs").mkdir()
    (run / "study.json").write_text(json.dumps({"hardening": {"method": "pgd"}}))
    rows = fabricate.rows(slope=0.1)
    for fold, size in enumerate((2.8, 4.2)):
        folder = fabricate.write_run(run / "hardened" / "pgd" / f"fold-{fold}", records.as_table(
            [row | {"stage": "hardened", "fold": fold} for row in rows]))
        (folder / "training.json").write_text(json.dumps(history(epsilon=size, why="found")))
    (only,) = read_hardenings(run)
    assert only.training["epsilon"] == 2.8
    assert only.training["why"].startswith("found. That is of the first fold; by fold: 2.8, 4.2")
    assert only.reads is not None
    assert only.reads.folds == (0, 1)


@pytest.mark.parametrize("failing", [(0,), (0, 1)])
def test_a_hardening_that_failed_in_some_folds_is_told_with_its_numbers(failing: tuple[int, ...]) -> None:
    trainings = {fold: history(chosen_epoch=3) | ({"failed": "nothing was learnt", "chosen_epoch": 0}
                                                  if fold in failing else {}) for fold in (0, 1)}
    told = Hardened("pgd", None, trainings=trainings).training
    assert ("failed" in told) is (len(failing) == 2)
    said = partly_said(told)
    if len(failing) == 1:
        assert told["chosen_epoch"] == 3
        assert said.startswith(" In 1 of 2 folds it failed")
        assert "in fold 0: nothing was learnt" in said
    else:
        assert said == ""
        assert "in fold 1: nothing was learnt" in failure(told, None)


def test_a_network_without_folds_has_none_whatever_its_folder_is_called(tmp_path: Path) -> None:
    """As the plain one beside it, in a run that is about CT noise too."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "study.json").write_text(json.dumps({"hardening": {"method": "pgd"}}))
    fabricate.write_run(tmp_path / "hardened" / "pgd" / "fold-0", records.as_table(fabricate.rows(slope=0.1)))
    (only,) = read_hardenings(tmp_path)
    assert only.reads is not None
    assert only.reads.folds == (-1,)
