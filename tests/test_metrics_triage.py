"""Triage: thresholds from validation images, risk-coverage, paired differences, and the guarantee."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

import fabricate
from steadyread import records
from steadyread.metrics import Reads, guarantee, reads_of, risk_coverage, scores, threshold_for, triage
from steadyread.metrics.across_sets import way_of_area
from steadyread.metrics.aligned import SCORES
from steadyread.metrics.combination import COMBINED, combination_of, fitted, logistic, normal_scores
from steadyread.metrics.guarantee import kept_steps, threshold_keeping
from steadyread.metrics.intervals import clopper_pearson
from steadyread.metrics.paired_tests import holm
from steadyread.metrics.summary import as_json, summarise
from steadyread.metrics.triage import area, generalised_area, rank_correlation, with_combined
from steadyread.report import write_report
from steadyread.store import read_records
from steadyread.stored import triage_run
from steadyread.words.plain import comparison


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
    assert told["least_patients"] == 59
    assert told["threshold"] is None


def test_the_rank_correlation_of_little_or_constant_scores_is_none() -> None:
    assert rank_correlation(np.arange(2.0), np.arange(2.0)) is None
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None
    assert rank_correlation(np.array([1, 2, np.inf]), np.array([1.0, 2, 3])) == pytest.approx(1)


def test_where_no_read_was_flipped_nothing_is_said_of_how_the_smallest_flip_sorts() -> None:
    told = triage(reads_of(records.as_table(fabricate.rows(largest=0.0)), "test"), None)
    assert told["beats_margin"] == "unflipped"
    assert comparison(told) == ("No read was flipped at any size that was searched, so the smallest flip orders "
                                "none of them and cannot be compared with the margin.")
    some = triage(reads_of(records.as_table(fabricate.rows(largest=1.0)), "test"), None)
    assert 0 < sum(row["withheld"].value for row in some["rows"] if row["score"] == "smallest_flip") < 1
    assert some["beats_margin"] in ("yes", "no", "alike")


def judged() -> pa.Table:
    """120 test images and 150 for validation, of which enough are read wrong to combine scores."""
    return records.as_table(fabricate.rows() + fabricate.rows(n=150, part="validation", seed=5, name="valid"))


def told_by(reads: Reads, noise: float, seed: int) -> np.ndarray:
    """A score (n,) of one network that knows right from wrong, but for so much noise."""
    return reads.correct[:, 0] + noise * np.random.default_rng(seed).normal(size=len(reads))


def further(reads: Reads, *noise: float, seed: int = 0) -> Reads:
    """The reads with further scores a, b, ... of so much noise each."""
    return replace(reads, scores={"abcd"[place]: told_by(reads, size, 17 * seed + place)[:, None]
                                  for place, size in enumerate(noise)})


@cache
def many() -> tuple[Reads, Reads]:
    """600 test and 600 validation reads, each of a patient of its own, of a piecewise linear network."""
    made = [reads_of(records.as_table(fabricate.rows(n=600, patients=600, part=part, seed=seed, spread=0.8,
                                                     against=("prediction",))), part)
            for seed, part in enumerate(("test", "validation"))]
    return made[0], made[1]


def test_further_scores_leave_what_was_told_without_them_as_it_is() -> None:
    test, validation = reads_of(judged(), "test"), reads_of(judged(), "validation")
    without, told = triage(test, validation), triage(further(test, 0.5, 2.0), further(validation, 0.5, 2.0, seed=1))
    assert without["combined"] is None
    assert [row["score"] for row in without["differences_to_margin"]] == ["smallest_flip", "entropy"]
    flip, entropy = without["differences_to_margin"]      # of two classes entropy is the margin: nothing to test
    assert entropy["p"] is None
    assert way_of_area(entropy["area"], entropy["p"]) == "same"
    assert flip["p_holm"] == flip["p"]
    rows = {row["score"]: row for row in told["rows"]}
    assert list(rows) == ["smallest_flip", "margin", "entropy", "a", "b", "combined", "random"]
    assert [rows[row["score"]] for row in without["rows"]] == without["rows"]
    differences = {row["against"]: row for row in told["differences"]}
    assert [differences[row["against"]] for row in without["differences"]] == without["differences"]
    assert told["differences_to_margin"][:2] == without["differences_to_margin"]
    assert all(told[key] == without[key] for key in ("share", "images", "accuracy", "rank_correlation",
                                                     "beats_margin", "chosen_on", "validation_images"))
    assert comparison(told).startswith(comparison(without))


def test_the_difference_to_the_margin_is_of_the_areas_over_the_same_resamples() -> None:
    test, validation = parts()
    same = scores(test).score["margin"][:, None]
    worst = replace(test, scores={"same": same * 3 + 1, "reverse": -same, "best": test.correct * 1.0})
    told = triage(worst, validation)
    areas = {row["score"]: row["area"] for row in told["rows"]}
    found = {row["score"]: row["area"] for row in told["differences_to_margin"]}
    assert "margin" not in found
    assert "random" not in found
    for name, one in found.items():
        if name in areas:
            assert one.value == pytest.approx(areas[name].value - areas["margin"].value)
    flip = next(row["area"] for row in told["differences"] if row["against"] == "margin")
    assert found["smallest_flip"] == flip
    assert "same" not in areas     # the validation reads have none to choose a threshold on
    alone = triage(worst, None)
    found = {row["score"]: row["area"] for row in alone["differences_to_margin"]}
    assert (found["same"].value, found["same"].low, found["same"].high) == (0, 0, 0)
    assert found["best"].high < 0 < found["reverse"].low
    assert alone["combined"]["why"].endswith("no validation reads to fit that on.")


def test_a_score_that_a_labelled_read_lacks_is_no_score() -> None:
    test, _ = parts()
    values = told_by(test, 1, 0)[:, None]
    values[3] = np.nan
    lacking = replace(test, scores={"views": values, "members": np.full((len(test), 1), np.nan)})
    assert list(scores(lacking).score) == ["smallest_flip", "margin", "entropy"]
    label = test.label.copy()
    label[3] = -1
    unlabelled = replace(lacking, label=label)
    assert list(scores(unlabelled).score) == ["smallest_flip", "margin", "entropy", "views"]
    assert len(scores(unlabelled).score["views"]) == len(test) - 1


def test_logistic_regression_is_at_the_minimum_with_its_own_gradient() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(80, 3))
    right = random.random(80) < 1 / (1 + np.exp(-(features @ [1.0, -2.0, 0.0] + 0.5)))

    def loss(parameters: np.ndarray, penalty: float) -> float:
        signed = np.where(right, 1, -1) * (features @ parameters[:-1] + parameters[-1])
        return float(np.log1p(np.exp(-signed)).sum() + penalty / 2 * np.square(parameters[:-1]).sum())

    for penalty in (0.1, 1.0, 30.0):
        found = np.append(*logistic(features, right, penalty))
        assert np.abs(optimize.approx_fprime(found, loss, 1e-7, penalty)).max() < 1e-4
        other = optimize.minimize(loss, np.zeros(4), (penalty,), method="Nelder-Mead",
                                  options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-12})
        np.testing.assert_allclose(found, other.x, atol=1e-4)


def test_logistic_regression_without_penalty_gives_the_log_odds_of_a_table() -> None:
    """A feature of two values: the weight is the log odds ratio, the intercept the log odds where it is 0."""
    feature = np.repeat([0.0, 0.0, 1.0, 1.0], [30, 10, 45, 5])[:, None]
    right = np.repeat([True, False, True, False], [30, 10, 45, 5])
    weights, intercept = logistic(feature, right, 1e-9)
    assert intercept == pytest.approx(math.log(30 / 10), abs=1e-4)
    assert weights[0] == pytest.approx(math.log(45 / 5) - math.log(30 / 10), abs=1e-4)
    assert logistic(np.zeros((90, 1)), right) == (pytest.approx([0.0]), pytest.approx(math.log(75 / 15), abs=1e-5))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0, 1e6, np.inf]), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_feature_is_monotone_standard_and_the_same_on_any_scale(values: list[float]) -> None:
    score = np.array(values)
    level = normal_scores(score)(score)
    order = np.argsort(score, kind="stable")
    assert (np.diff(level[order]) >= 0).all()
    if np.ptp(np.minimum(score, 1e9)) > 0:
        assert level.mean() == pytest.approx(0, abs=1e-9)
        assert level.std() == pytest.approx(1)
    else:
        assert (level == 0).all()
    stretched = np.log1p(score) * 3 - 5
    np.testing.assert_allclose(normal_scores(stretched)(stretched), level, atol=1e-9)
    beyond = normal_scores(score)(np.array([-1e9, -np.inf, np.inf]))
    assert beyond.tolist() == [level.min(), level.min(), level.max()]


def test_two_scores_that_each_know_half_are_better_combined() -> None:
    test, validation = many()
    told = triage(further(test, 0.6, 0.6), further(validation, 0.6, 0.6, seed=1))
    areas = {row["score"]: row["area"].value for row in told["rows"]}
    assert areas["combined"] < min(areas[name] for name in areas if name != "combined") - 0.002
    assert {row["score"]: row["area"] for row in told["differences_to_margin"]}["combined"].high < 0
    assert "All combined sorts right from wrong better than the margin: difference −0.0" in comparison(told)
    rule = told["combined"]
    assert rule["why"] is None
    assert (rule["reads"], rule["wrong"]) == (600, int((~validation.correct).sum()))
    weights = {name: one["weight"] for name, one in rule["features"].items()}
    assert min(weights["a"], weights["b"]) > 1
    assert set(weights) == {"smallest_flip", "margin", "entropy", "a", "b"}


def test_a_combination_of_noise_does_not_pass_for_better_than_the_margin() -> None:
    test, validation = many()
    told = triage(further(test, 1e6), further(validation, 1e6, seed=1))
    found = {row["score"]: row["area"] for row in told["differences_to_margin"]}
    assert found["a"].low > 0
    assert found["combined"].low < 0 < found["combined"].high
    assert " a sorts right from wrong worse than the margin: difference +0." in comparison(told)
    assert "There is no detectable difference from the margin for all combined" in comparison(told)


def test_the_combination_sees_no_label_of_a_test_read() -> None:
    test, validation = (further(reads, 0.8, 0.8, seed=at) for at, reads in enumerate(many()))
    spoilt = replace(test, label=np.where(test.label == 0, 1, 0))
    one, other = triage(test, validation), triage(spoilt, validation)
    assert as_json(one["combined"]) == as_json(other["combined"])
    rows = [next(row for row in told["rows"] if row["score"] == COMBINED) for told in (one, other)]
    assert rows[0]["threshold"] == rows[1]["threshold"]
    rule = combination_of(one["combined"])
    values = [with_combined(scores(reads), rule).score[COMBINED] for reads in (test, spoilt)]
    np.testing.assert_array_equal(values[0], values[1])


def test_with_few_wrong_or_few_right_validation_reads_nothing_is_combined_and_the_summary_says_why() -> None:
    test, validation = (further(reads, 0.8, seed=at) for at, reads in enumerate(many()))
    wrong = np.flatnonzero(~validation.correct[:, 0])
    for spared in (9, 10):
        label = validation.label.copy()
        label[wrong[spared:]] = validation.prediction[wrong[spared:], 0]
        told = triage(test, replace(validation, label=label))
        assert (COMBINED in {row["score"] for row in told["rows"]}) is (spared == 10)
        assert (told["combined"]["features"] is None) is (spared == 9)
        if spared == 9:
            assert told["combined"]["why"] in comparison(told)
            assert "10 wrong and 10 right validation reads" in told["combined"]["why"]
            assert "there are 9 wrong and 591 right" in told["combined"]["why"]
            assert combination_of(told["combined"]) is None
    score = {"margin": np.arange(100.0)}
    assert fitted(score, np.arange(100) < 91)[0] is None
    assert fitted(score, np.arange(100) < 90)[0] is not None


def test_an_undecided_read_is_left_out_of_the_fit_and_withheld_first() -> None:
    test, validation = (further(reads, 0.8, seed=at) for at, reads in enumerate(many()))
    lost = np.arange(600) < 5
    unread = replace(validation, prediction=np.where(lost[:, None], -1, validation.prediction))
    told = triage(test, unread)
    kept = replace(validation, label=np.where(lost, -1, validation.label))
    assert as_json(told["combined"]) == as_json(triage(test, kept)["combined"])
    rule = combination_of(told["combined"])
    values = with_combined(scores(replace(test, prediction=np.where(lost[:, None], -1, test.prediction))), rule)
    assert (values.score[COMBINED][:5] == -np.inf).all()
    assert np.isfinite(values.score[COMBINED][5:]).all()


def test_the_rule_in_the_summary_is_the_combination() -> None:
    test, validation = (further(reads, 0.8, seed=at) for at, reads in enumerate(many()))
    told = triage(test, validation)["combined"]
    stored = combination_of(json.loads(json.dumps(as_json(told))))
    made = combination_of(told)
    assert made is not None
    assert stored is not None
    np.testing.assert_array_equal(made(scores(test).score), stored(scores(test).score))
    assert with_combined(scores(replace(test, scores={})), made).score.keys() == scores(parts()[0]).score.keys()


def write_scores_file(folder: Path, *names: str) -> None:
    """scores.parquet for the records in a folder."""
    reads = reads_of(records.read(folder))
    part = ["validation" if case.startswith("valid") else "test" for case in reads.case_id]
    columns = {name: told_by(reads, 0.7, place) for place, name in enumerate(names)}
    pq.write_table(pa.table({"case_id": reads.case_id.tolist(), "part": part, **columns}), folder / SCORES)


def listed(folder: Path) -> list[list[str]]:
    return list(csv.reader((folder / "triage.csv").read_text().splitlines()))


def test_a_run_with_scores_shows_them_in_its_report_list_and_summary(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run", judged())
    triage_run(folder)
    plain = listed(folder)
    write_scores_file(folder, "views", "members", "disagreement")
    told = triage_run(folder)
    rows = listed(folder)
    assert rows[0] == [*plain[0][:-1], "views", "members", "disagreement", "combined", "withheld"]
    assert [[*row[:7], row[-1]] for row in rows] == plain
    page = write_report(folder).read_text()
    for name in ("Mean over views", "Mean over networks", "Disagreement", "All combined"):
        assert page.count(name) >= 4     # two tables and two figures
    assert "% chance to be right" in page
    assert "Each score minus the margin" in page
    assert f"fitted on {told['combined']['reads']} validation reads" in page
    assert json.loads((folder / "summary.json").read_text())["triage"]["combined"] == told["combined"]
    summary = summarise(read_records(folder), fabricate.plan())
    guaranteed = {one["score"] for one in summary["guarantees"]}
    assert guaranteed == {"smallest_flip", "margin", "entropy", "views", "members", "disagreement"}
    assert guarantee(reads_of(read_records(folder), "validation"), parts()[0], COMBINED, 0.3)["threshold"] is None


@pytest.mark.parametrize("right", [True, False])
def test_the_area_of_reads_that_are_all_right_or_all_wrong_is_as_sure_as_the_error(right: bool) -> None:
    random = np.random.default_rng(0)
    for patients, bound in ((40, float(clopper_pearson(0, 40)[1])), (9, None)):
        reads = fabricate.reads_with(random.random(80), np.full(80, not right), np.arange(80) % patients)
        found = next(row["area"] for row in triage(reads, None)["rows"] if row["score"] == "margin")
        assert found.value == float(not right)
        ends = (found.low, found.high) if right else (found.high, found.low)
        if bound is None:
            assert ends == (None, None)
        else:
            assert ends == (float(not right), pytest.approx(bound if right else 1 - bound))


def test_few_patients_with_a_wrong_read_make_the_area_less_sure() -> None:
    random = np.random.default_rng(0)
    margin, patients = random.random(200), np.arange(200) % 100
    width = []
    for crowd in (3, 30):
        wrong = np.isin(patients, np.arange(crowd)) & (np.arange(200) < 100 if crowd == 30 else True)
        reads = fabricate.reads_with(margin, wrong, patients)
        found = next(row["area"] for row in triage(reads, None)["rows"] if row["score"] == "margin")
        width.append(special.logit(found.high) - special.logit(found.low))
    assert width[0] > 3 * width[1]


def test_the_steps_are_the_fewest_reads_that_may_hold_an_error_more() -> None:
    for alpha, delta in ((0.05, 0.05), (0.1, 0.05), (0.2, 0.1)):
        steps = kept_steps(300, alpha, delta)
        for errors, step in enumerate(steps):
            assert stats.binom.cdf(errors, step, alpha) <= delta < stats.binom.cdf(errors, step - 1, alpha)
    assert kept_steps(100, 0.05, 0.05).tolist() == [59, 93]
    assert kept_steps(58, 0.05, 0.05).tolist() == kept_steps(0, 0.05, 0.05).tolist() == []


def test_the_threshold_keeps_ties_together_and_at_least_as_many_as_asked() -> None:
    values = np.array([5.0, 4, 3, 3, 3, 2, np.inf, -np.inf])
    assert [(values > threshold_keeping(values, count)).sum() for count in range(1, 9)] == [1, 2, 3, 6, 6, 6, 7, 7]


def judged_by_order(errors: Sequence[int], n: int = 100) -> dict[str, Any]:
    """The guarantee at 5 % of n single reads, of which those at these places are wrong, the steadiest first."""
    wrong = np.isin(np.arange(n), errors)
    reads = fabricate.reads_with(np.arange(n, 0, -1.0), wrong, np.arange(n))
    return guarantee(reads, reads, "margin", 0.05)


def test_the_guarantee_goes_as_far_as_the_steps_pass_in_order() -> None:
    assert judged_by_order([])["coverage"].value == 0.93          # 59, then 93 reads; no step lies beyond
    assert judged_by_order([70])["coverage"].value == 0.93        # one error may be among 93
    assert judged_by_order([70, 80])["coverage"].value == 0.59
    assert judged_by_order([58])["threshold"] is None             # 93 with one error would pass, but come second
    assert judged_by_order([59])["bound"] == pytest.approx(0.0499, abs=1e-4)
    assert judged_by_order([], 58)["threshold"] is None
    assert judged_by_order([], 59)["coverage"].value == 1


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0, np.inf]), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_the_area_under_generalised_risk_is_the_mean_share_of_reads_kept_and_wrong(
        reads: list[tuple[float, bool]]) -> None:
    """Trapezia between distinct scores, and a weight is a copy."""
    score, wrong = (np.array(column) for column in zip(*reads, strict=True))
    coverage, risk = [0.0], [0.0]
    for value in sorted(set(score.tolist()), reverse=True):
        coverage.append(float((score >= value).mean()))
        risk.append(float((wrong & (score >= value)).mean()))
    one = np.ones((1, len(score)))
    assert generalised_area(one, score, wrong)[0] == pytest.approx(np.trapezoid(risk, coverage))
    assert generalised_area(3 * one, score, wrong)[0] == pytest.approx(np.trapezoid(risk, coverage))


def test_differences_to_the_margin_are_corrected_for_how_many_there_are() -> None:
    test, validation = many()
    told = triage(further(test, 0.3, 3.0), further(validation, 0.3, 3.0, seed=1))
    rows = told["differences_to_margin"]
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])
    best = next(row for row in rows if row["score"] == "a")
    assert best["p"] < best["p_holm"] < 0.05
    tested = sum(row["p"] is not None for row in rows)
    assert tested == len(rows) - 1          # all but entropy
    assert f"after Holm for {tested} scores" in comparison(told)
    doubtful = [row | {"p_holm": 0.06} for row in rows]
    assert "better" not in comparison(told | {"differences_to_margin": doubtful}).partition(". ")[2]
