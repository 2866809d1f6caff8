"""What stops a gate: errors that bear on the images that are judged, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest

import fabricate
import fabricate_noise
from steadyread import records
from steadyread.gates import _shown, broken_checks, gate, judge
from steadyread.jobs.judge import judged_gates, keep_gates
from steadyread.jobs.plan import Branch
from steadyread.report import write_report
from steadyread.study import Study


def table() -> Any:
    """Test images case-0000 to case-0009 of patients test-0 to test-4, and validation images of others."""
    return records.as_table(fabricate.rows(n=10, patients=5)
                            + fabricate.rows(n=10, patients=5, part="validation", name="valid"))


def error(*rows: str, check: str = "some check", severity: str = "error") -> dict[str, Any]:
    return {"check": check, "severity": severity, "message": "", "value": None, "rows": list(rows)}


@pytest.mark.parametrize(("rows", "stops"), [
    ((), True), (("case-0003",), True), (("valid-0003",), False), (("train-7 = valid-0003",), False),
    (("train-1 = train-2", "valid-0001 = case-0009"), True), (("test-4",), True), (("validation-4",), False)])
def test_only_an_error_that_bears_on_a_judged_image_stops_a_gate(rows: tuple[str, ...], stops: bool) -> None:
    assert broken_checks([error(*rows)], table()) == (["some check"] if stops else [])


def test_warnings_stop_nothing_and_each_error_is_named() -> None:
    findings = [error("case-0001", severity="warning"), error("case-0001", check="one"), error(check="two")]
    assert broken_checks(findings, table()) == ["one", "two"]


def test_without_a_test_part_every_image_is_judged() -> None:
    whole = records.as_table(fabricate.rows(n=10, part="validation", name="valid"))
    assert broken_checks([error("valid-0003")], whole) == ["some check"]
    assert broken_checks([error("case-0003")], whole) == []


def test_an_id_that_holds_an_equals_sign_is_found() -> None:
    rows = [row | {"case_id": f"a = {row['case_id']}"} for row in fabricate.rows(n=3)]
    assert broken_checks([error("a = case-0001")], records.as_table(rows)) == ["some check"]


def test_a_gate_is_met_at_its_own_value_and_not_just_below() -> None:
    """Of ten reads, so many are right that the accuracy is a tenth without rounding."""
    judged = table()
    accuracy = judge(gate("accuracy=0"), judged, fabricate.plan()).value
    assert accuracy is not None
    assert judge(gate(f"accuracy={accuracy}"), judged, fabricate.plan()).passed
    assert not judge(gate(f"accuracy={accuracy + 1e-9}"), judged, fabricate.plan()).passed


@pytest.mark.parametrize(("found", "said"), [
    (0.94996, "0.94996"), (0.95, "0.9500"), (0.95004, "0.9500"), (0.9, "0.9000")])
def test_a_figure_that_rounds_to_its_limit_is_shown_on_its_own_side(found: float, said: str) -> None:
    assert _shown(found, 0.95) == said


@pytest.mark.parametrize(("check", "passed"), [("one class", False), ("optimisation gap", True)])
def test_a_silent_network_is_not_steady(check: str, passed: bool, tmp_path: Path) -> None:
    """A read that never changes under noise is worth nothing of a network that says the same of every image."""
    made = fabricate_noise.Made(cases=30, patients=30, folds=2, doses=(100.0,), draws=10, starts=2)
    run = fabricate_noise.write_study(tmp_path / "run", made)
    for name in ("jobs/original/fold-0", "jobs/original/fold-1"):
        (run / name / "findings.json").write_text(json.dumps([
            {"check": check, "severity": "error", "message": name, "rows": []}]))
    (run / "findings.json").write_text("[]")
    study = Study.model_validate({"noise": {}, "split": {"folds": 2}, "gates": {
        "fail_below": ["steady_reads@100 mAs=0.01"]}})
    (judged,) = judged_gates(Branch("", False, study, run))
    assert judged.passed is passed
    assert judged.message.count(check) == (not passed)      # of two folds, once


def test_what_gates_came_to_stands_in_the_bar_of_the_page(tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run")
    (run / "study.json").write_text("{}")
    study = Study.model_validate({"gates": {"fail_below": ["accuracy=0.1", "auc=0.999"]}})
    met, missed = keep_gates(Branch("", False, study, run))
    assert (met.passed, missed.passed) == (True, False)
    page = write_report(run).read_text()
    assert f'✓ gate met: {met.message}</a>' in page
    assert f'✗ gate not met: {missed.message}</a>' in page
    assert "below 0.999" in missed.message
    keep_gates(Branch("", False, study.model_copy(update={"gates": study.gates.model_copy(
        update={"fail_below": ()})}), run))
    assert "gate not met" not in write_report(run).read_text()


def test_no_gate_on_robustness_is_met_by_a_network_no_better_than_one_class() -> None:
    told = [error(check="no better than one class", severity="warning") | {"topic": "validity"},
            error(check="few images", severity="warning") | {"topic": "attack"}]
    assert broken_checks(told, table()) == ["no better than one class"]
