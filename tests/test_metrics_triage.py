"""Triage: thresholds from validation images, risk-coverage, paired differences, and the guarantee."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fabricate
from steadyread import records
from steadyread.metrics import Reads, guarantee, reads_of, risk_coverage, scores, threshold_for, triage
from steadyread.metrics.triage import area, rank_correlation
from steadyread.metrics.wording import comparison


def parts(**settings_: Any) -> tuple[Reads, Reads]:
    table = fabricate.table(**settings_)
    return reads_of(table, "test"), reads_of(table, "validation")


def test_the_threshold_withholds_what_was_asked() -> None:
    score = np.arange(50.0)
    assert (score <= threshold_for(score, 0.2)).mean() == pytest.approx(0.2)
    assert threshold_for(np.full(10, np.inf)) == -np.inf
    assert threshold_for(np.zeros(0)) == -np.inf
    ties = np.array([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.inf])
    assert (ties <= threshold_for(ties, 0.2)).mean() == pytest.approx(0.3)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0, np.inf]), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_the_area_is_the_mean_risk_and_a_weight_is_a_copy(reads: list[tuple[float, bool]]) -> None:
    score, wrong = (np.array(column) for column in zip(*reads, strict=True))
    coverage, risk = risk_coverage(score, wrong)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(wrong.mean())
    assert area(np.ones((1, len(score))), score, wrong)[0] == pytest.approx(risk.mean())
    weights = np.arange(len(score)) % 3
    copied = risk_coverage(np.repeat(score, weights), np.repeat(wrong, weights))[1]
    if weights.sum():
        assert area(weights[None].astype(float), score, wrong)[0] == pytest.approx(copied.mean())


def test_a_constant_score_is_as_good_as_chance() -> None:
    wrong = np.array([True, False, False, False])
    assert area(np.ones((1, 4)), np.zeros(4), wrong)[0] == pytest.approx(0.25)


def test_on_one_linear_model_the_smallest_flip_is_the_margin() -> None:
    told = triage(*parts())
    rows = {row["score"]: row for row in told["rows"]}
    assert told["chosen_on"] == "validation"
    assert told["beats_margin"] == "alike"
    assert told["rank_correlation"] == pytest.approx(1, abs=1e-3)
    assert rows["smallest_flip"]["threshold"] == pytest.approx(rows["margin"]["threshold"] / 0.25, rel=1e-4)
    assert rows["margin"]["accuracy"].value > told["accuracy"].value == rows["random"]["accuracy"].value
    assert rows["random"]["area"].value == pytest.approx(1 - told["accuracy"].value)
    difference = {row["against"]: row for row in told["differences"]}
    assert difference["margin"]["area"].value == pytest.approx(0, abs=1e-3)
    assert difference["random"]["area"].high < 0


def test_without_validation_images_the_threshold_is_seen_and_said() -> None:
    test, _ = parts()
    assert triage(test, None)["chosen_on"] == "test"
    assert guarantee(None, test, "margin", 0.2)["threshold"] is None


def test_the_label_gives_no_score() -> None:
    test, validation = parts(against=("label",))
    told = triage(test, validation)
    assert [row["score"] for row in told["rows"]] == ["margin", "entropy", "random"]
    assert told["beats_margin"] is None
    assert told["rank_correlation"] is None


def test_the_score_is_the_searchs_alone_on_every_part() -> None:
    rows = fabricate.rows(n=20)
    case = next(row["case_id"] for row in rows if row["attack"] == "clean")
    for row in rows:
        if row["case_id"] == case and row["attack"] == "pgd":
            row.update(prediction=1 - row["reference"], flips=1, found_size=0.01)
    with_pgd = scores(reads_of(records.as_table(rows)))
    alone = scores(reads_of(records.as_table([row for row in rows if row["attack"] in ("clean", "smallest_flip")])))
    assert np.array_equal(with_pgd.score["smallest_flip"], alone.score["smallest_flip"])


def test_one_patient_gives_no_verdict() -> None:
    reads = reads_of(records.as_table(fabricate.rows(n=40, patients=1, spread=0.8)))
    told = triage(reads, None)
    assert told["beats_margin"] is None
    assert "cannot be told from 1 patient." in comparison(told)


def test_chance_has_no_interval_of_its_gain() -> None:
    row = next(row for row in triage(*parts())["rows"] if row["score"] == "random")
    assert (row["change"].value, row["change"].low) == (0, None)


def test_undecided_reads_are_withheld_first() -> None:
    rows = fabricate.rows(n=20)
    for row in rows:
        if row["case_id"] == "case-0007":
            row.update(prediction=-1, logits=[float("nan")] * 2, reference=-1)
    scored = scores(reads_of(records.as_table(rows)))
    assert all(values[7] == -np.inf for values in scored.score.values())
    assert scored.wrong[7]


@pytest.mark.parametrize("slope", [1e-6, 1e4])
def test_all_and_none_robust(slope: float) -> None:
    told = triage(*parts(slope=slope))
    assert told["accuracy"].value is not None
    kept = {row["score"]: row for row in told["rows"]}
    assert kept["margin"]["accuracy"].value >= told["accuracy"].value
    if slope < 1:
        assert kept["smallest_flip"]["threshold"] == -np.inf
        assert kept["smallest_flip"]["withheld"].value == 0


def test_no_reads() -> None:
    told = triage(reads_of(records.as_table([])), None)
    assert told["accuracy"].value is None
    assert told["beats_margin"] is None


def test_the_guarantee_holds_the_error_on_fresh_images() -> None:
    made = fabricate.rows(n=3000, patients=3000, against=("prediction",), name="valid", part="validation", seed=9)
    fresh = fabricate.rows(n=3000, patients=3000, against=("prediction",))
    validation, test = reads_of(records.as_table(made)), reads_of(records.as_table(fresh))
    told = guarantee(validation, test, "margin", 0.05)
    assert told["bound"] <= 0.05
    assert told["error"].value <= 0.05
    assert told["coverage"].value > 0.5
    assert guarantee(validation, test, "margin", 0.001)["threshold"] is None
    assert guarantee(validation, test, "unknown", 0.05)["threshold"] is None


def test_the_guarantee_counts_patients_not_images() -> None:
    rows = fabricate.rows(n=400, patients=40, part="validation")
    told = guarantee(reads_of(records.as_table(rows)), parts()[0], "margin", 0.05)
    assert told["validation_images"] == 40
    assert told["least_patients"] == 117
    assert told["threshold"] is None


def test_the_rank_correlation_of_little_or_constant_scores_is_none() -> None:
    assert rank_correlation(np.arange(2.0), np.arange(2.0)) is None
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None
    assert rank_correlation(np.array([1, 2, np.inf]), np.array([1.0, 2, 3])) == pytest.approx(1)
