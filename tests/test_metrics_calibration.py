"""Calibration against scikit-learn, against the equations that define it, and against simulations of known truth."""

import numpy as np
import pytest
from scipy import special, stats

import fabricate
from steadyread import records
from steadyread.metrics import reads_of
from steadyread.metrics.calibration import (
    Calibration,
    Said,
    bins_of,
    calibration,
    hosmer_lemeshow,
    logistic,
    said_of,
    spiegelhalter,
    youden,
)
from steadyread.metrics.reads import Reads
from steadyread.report.sections.calibration import verdict

MEAN, SPREAD = -0.5, 1.5      # of the stated logits


def stated(rng: np.random.Generator, count: int, slope: float = 1.0, shift: float = 0.0, images: int = 1) -> Said:
    """Stated logits of patients with some images each, whose true logit is shift + slope x stated."""
    whose = np.repeat(np.arange(count // images), images)
    common = np.repeat(rng.normal(size=count // images), images) if images > 1 else np.zeros(count)
    part = 0.6 if images > 1 else 0.0
    logit = MEAN + SPREAD * (np.sqrt(part) * common + np.sqrt(1 - part) * rng.normal(size=count))
    event = rng.random(count) < special.expit(shift + slope * logit)
    return Said(special.expit(logit)[:, None], event[:, None], whose.astype(str))


def reads(said: Said, threshold: float = 0.5) -> Reads:
    """The same as reads whose logits are shifted by a threshold, as those of the records are."""
    chance, event = said.chance[:, 0], said.event[:, 0]
    logits = np.stack([np.zeros(len(chance)), special.logit(chance) - special.logit(threshold)], 1)[:, None]
    return Reads(np.arange(len(chance)).astype(str), said.patient, event.astype(np.int64), (0,),
                 np.ones((len(chance), 1), bool), np.full((len(chance), 1), "test"),
                 logits.argmax(2).astype(np.int64), logits)


def found(said: Said, validation: Said | None = None) -> Calibration:
    return calibration(reads(said), None if validation is None else reads(validation))


def test_slope_brier_score_and_bins_are_those_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="gives the reference")
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    said = stated(np.random.default_rng(0), 300, 0.6, 0.4)
    chance, event = said.chance[:, 0], said.event[:, 0]
    told = found(said)
    theirs = linear.LogisticRegression(C=1e12, tol=1e-10).fit(special.logit(chance)[:, None], event)
    assert told.slope.value == pytest.approx(theirs.coef_[0, 0], rel=1e-5)
    assert told.brier.value == pytest.approx(brier_score_loss(event, chance))
    seen, means = calibration_curve(event, chance, n_bins=10, strategy="quantile")
    assert [each.seen.value for each in told.bins] == pytest.approx(list(seen))
    assert [each.stated for each in told.bins] == pytest.approx(list(means))


def test_the_intercept_makes_stated_and_seen_events_as_many() -> None:
    said = stated(np.random.default_rng(1), 200, 0.7, -0.8)
    told = found(said)
    assert told.intercept.value is not None
    assert special.expit(special.logit(said.chance) + told.intercept.value).sum() == pytest.approx(said.event.sum())


def test_spiegelhalters_z_is_its_formula_and_that_between_patients_where_they_repeat() -> None:
    said = stated(np.random.default_rng(2), 150, 0.5)
    chance, event = said.chance[:, 0], said.event[:, 0]
    by_hand = (np.sum((event - chance) * (1 - 2 * chance))
               / np.sqrt(np.sum((1 - 2 * chance) ** 2 * chance * (1 - chance))))
    z, p = spiegelhalter(said)
    assert z == pytest.approx(by_hand)
    assert p == pytest.approx(2 * stats.norm.sf(abs(by_hand)))
    twice = Said(np.repeat(said.chance, 2, 0), np.repeat(said.event, 2, 0), np.repeat(said.patient, 2))
    again, _ = spiegelhalter(twice)
    assert again is not None
    assert 0.5 * abs(by_hand) < abs(again) < 1.1 * abs(by_hand)      # copies are no further evidence


def test_the_threshold_of_the_highest_youden_index_is_found_for_weights_as_for_copies() -> None:
    rng = np.random.default_rng(3)
    said = stated(rng, 60)
    chance, event = np.round(said.chance[:, 0], 1), said.event[:, 0]
    weights = rng.integers(0, 3, (4, 60)).astype(float)
    values = np.unique(chance)
    for row, threshold in zip(weights, youden(weights, chance, event), strict=True):
        copied, true = np.repeat(chance, row.astype(int)), np.repeat(event, row.astype(int))
        index = [(copied[true] > cut).mean() + (copied[~true] <= cut).mean() for cut in (values[1:] + values[:-1]) / 2]
        assert (copied[true] > threshold).mean() + (copied[~true] <= threshold).mean() == pytest.approx(max(index))


def test_what_validation_would_choose_is_judged_on_other_reads() -> None:
    said, validation = (stated(np.random.default_rng(seed), 200) for seed in (4, 5))
    told = found(said, validation)
    assert told.chosen is not None
    chosen = told.chosen.threshold.value
    assert chosen == youden(np.ones((1, 200)), validation.chance[:, 0], validation.event[:, 0])[0]
    assert told.chosen.sensitivity.value == pytest.approx((said.chance[said.event] > chosen).mean())
    assert told.chosen.specificity.value == pytest.approx((said.chance[~said.event] <= chosen).mean())
    assert told.chosen.threshold.low is not None
    assert told.chosen.threshold.low <= chosen <= told.chosen.threshold.high
    assert found(said).chosen is None


def test_the_shift_by_a_threshold_is_undone() -> None:
    said = stated(np.random.default_rng(6), 100)
    assert said_of(reads(said, 0.2), 0.2).chance == pytest.approx(said.chance)
    assert calibration(reads(said, 0.2), None, 0.2).threshold == 0.2


def test_a_certain_read_that_is_wrong_is_counted_and_not_left_out() -> None:
    sure = Said(np.full((40, 1), 0.5), (np.arange(40) < 5)[:, None], np.arange(40).astype(str))
    known = reads(sure)
    logits = np.stack([np.zeros(40), np.full(40, 300.0)], 1)[:, None]      # a sigmoid of exactly 1 in double precision
    told = calibration(Reads(known.case_id, known.patient, known.label, (0,), known.there, known.part,
                             np.ones((40, 1), np.int64), logits), None)
    assert told.brier.value == pytest.approx(35 / 40, rel=1e-5)
    assert told.ece.value == pytest.approx(35 / 40, abs=0.01)
    assert told.ece.low is not None
    assert told.ece.low > 0.5
    assert told.z is not None
    assert told.z > 100


def test_of_more_classes_the_prediction_is_judged() -> None:
    known = reads_of(records.as_table(fabricate.rows(n=120, classes=4)))
    told = calibration(known, None)
    chance = special.softmax(known.logits[:, 0], axis=1).max(1)
    assert told.top
    assert told.threshold is None
    assert told.brier.value == pytest.approx(np.mean((chance - (known.prediction[:, 0] == known.label)) ** 2))


def test_nothing_is_said_where_nothing_can_be() -> None:
    nothing = calibration(reads_of(records.as_table([])), None)
    assert set(nothing.numbers()) <= {"threshold"}
    assert (nothing.bins, nothing.z) == ((), None)
    parted = Said(np.linspace(0.1, 0.9, 40)[:, None], (np.arange(40) >= 20)[:, None], np.arange(40).astype(str))
    assert found(parted).slope.value is None           # events that the probability parts have no slope
    few = Said(parted.chance[10:25], parted.event[10:25], parted.patient[10:25])
    assert bins_of(few) == []
    assert found(few).ece.value is None
    one = stated(np.random.default_rng(7), 90, images=30)
    assert found(one).slope.low is None                # three patients
    assert logistic(np.ones((5, 1)), np.ones(5, bool), np.zeros(5)) is None


def test_copies_of_a_fold_change_no_figure_and_no_interval() -> None:
    said = stated(np.random.default_rng(8), 120, 0.7)
    twice = Said(np.tile(said.chance, 2), np.tile(said.event, 2), said.patient)
    one = reads(said)
    both = Reads(one.case_id, one.patient, one.label, (0, 1), np.tile(one.there, 2), np.tile(one.part, 2),
                 np.tile(one.prediction, 2), np.tile(one.logits, (1, 2, 1)))
    assert said_of(both).chance == pytest.approx(twice.chance)
    for name, value in calibration(one, None).numbers().items():
        other = calibration(both, None).numbers()[name]
        if name.startswith("spiegelhalter"):     # of one fold the variance is that of the probabilities themselves
            continue
        assert other.value == pytest.approx(value.value), name
        assert (other.low, other.high) == (pytest.approx(value.low), pytest.approx(value.high)), name


def test_true_probabilities_are_not_told_from_true_ones_more_often_than_chance() -> None:
    rng = np.random.default_rng(9)
    p = [(hosmer_lemeshow(said.chance[:, 0], said.event[:, 0], said.patient), spiegelhalter(said)[1])
         for said in (stated(rng, 150) for _ in range(200))]
    assert (np.array(p, float) < 0.05).mean(0) == pytest.approx(0.05, abs=0.04)


def test_one_verdict_in_twenty_is_wrong_of_true_probabilities_and_few_of_too_sure_ones() -> None:
    rng = np.random.default_rng(11)
    true, sure = (np.mean(["not calibrated" in verdict(found(stated(rng, 200, slope)).as_json()) for _ in range(100)])
                  for slope in (1.0, 0.5))
    assert true <= 0.1
    assert sure > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("count", "images"), [(100, 1), (400, 1), (300, 3)])
@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.6, 0.0), (1.0, -0.7), (0.5, 0.5)])
def test_intervals_hold_the_truth(count: int, images: int, slope: float, shift: float) -> None:
    logit = MEAN + SPREAD * stats.norm.ppf((np.arange(50_000) + 0.5) / 50_000)
    chance, true = special.expit(logit), special.expit(shift + slope * logit)
    error = np.abs((true - chance).reshape(10, -1).mean(1)).mean()
    held = {"ece": error, "slope": slope, "brier": np.mean(true * (1 - chance) ** 2 + (1 - true) * chance**2)}
    rng, inside = np.random.default_rng(10), dict.fromkeys(held, 0)
    for _ in range(120):
        told = found(stated(rng, count, slope, shift, images))
        for name, truth in held.items():
            known = getattr(told, name)
            inside[name] += known.low is not None and known.low <= truth <= known.high
    assert min(inside.values()) / 120 > 0.88, inside
