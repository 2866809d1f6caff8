"""AUC and friends against brute force, with ties, one class, and several."""

import numpy as np
import pytest
from scipy import special

import fabricate
from steadyread import records
from steadyread.metrics import discrimination, reads_of, roc_curve
from steadyread.metrics.discrimination import area_over_folds, area_under_curve, class_scores, weighted_auc


def brute_auc(score: np.ndarray, positive: np.ndarray) -> float:
    above, below = score[positive][:, None], score[~positive][None]
    return float(((above > below) + 0.5 * (above == below)).mean())


def test_the_auc_counts_ties_half_and_weights_as_copies() -> None:
    random = np.random.default_rng(0)
    score, positive = random.integers(0, 6, 40).astype(float), random.random(40) < 0.4
    weights = random.integers(0, 3, (5, 40)).astype(float)
    assert weighted_auc(np.ones((1, 40)), score, positive)[0] == pytest.approx(brute_auc(score, positive))
    for row in weights:
        copies = np.repeat(np.arange(40), row.astype(int))
        assert weighted_auc(row[None], score, positive)[0] == pytest.approx(
            brute_auc(score[copies], positive[copies]))


def test_two_classes() -> None:
    found = reads_of(records.as_table(fabricate.rows(n=150)))
    told = discrimination(found, 2)
    score, label = found.logits[:, 0, 1] - found.logits[:, 0, 0], found.label
    assert told["auc"].value == pytest.approx(brute_auc(score, label == 1))
    assert told["auc"].low < told["auc"].value < told["auc"].high
    assert told["sensitivity"].value == pytest.approx((found.prediction[label == 1] == 1).mean())
    assert told["specificity"].value == pytest.approx((found.prediction[label == 0] == 0).mean())
    assert np.sum(told["confusion"]) == 150


def test_several_classes_mean_one_against_the_rest() -> None:
    found = reads_of(records.as_table(fabricate.rows(n=150, classes=4)))
    told = discrimination(found, 4)
    made = class_scores(found.logits[:, 0], 4)
    assert told["auc"].value == pytest.approx(np.mean([brute_auc(made[:, k], found.label == k) for k in range(4)]))
    assert told["sensitivity"] is None
    assert len(told["recall"]) == 4


def test_one_class_has_no_auc_and_an_empty_table_nothing() -> None:
    rows = [row | {"label": 1} for row in fabricate.rows(n=20)]
    told = discrimination(reads_of(records.as_table(rows)), 2)
    assert told["auc"].value is None
    assert told["specificity"].value is None
    assert told["accuracy"].value is not None
    nothing = discrimination(reads_of(records.as_table([])), 2)
    assert nothing["accuracy"].value is None
    assert nothing["images"] == 0


def test_one_lonely_positive_gives_resamples_of_one_class() -> None:
    rows = fabricate.rows(n=30, patients=30)
    for row in rows:
        row["label"] = int(row["case_id"] == "case-0004")
    told = discrimination(reads_of(records.as_table(rows)), 2)
    assert told["auc"].low is not None


@pytest.mark.parametrize("right", [True, False])
def test_an_auc_of_one_or_zero_is_as_sure_as_its_smaller_side(right: bool) -> None:
    label = (np.arange(50) >= 38).astype(int)
    score = np.where(label == right, 1.0, -1.0)
    found = area_under_curve(np.stack([-score, score], 1), label, np.arange(50).astype(str))
    bound = 0.025 ** (1 / 12)                          # 12 patients with a positive image
    assert found.value == float(right)
    assert (found.low, found.high) == (pytest.approx((bound, 1.0) if right else (0.0, 1 - bound)))


@pytest.mark.parametrize(("images", "patients"), [(40, 1), (6, 6)])
def test_few_patients_have_no_interval_of_the_auc(images: int, patients: int) -> None:
    label = np.arange(images) % 2
    score = label + 0.6 * (np.arange(images) < 2)
    found = area_under_curve(np.stack([-score, score], 1), label, (np.arange(images) % patients).astype(str))
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_saturated_logits_still_order() -> None:
    logits = np.array([[0.0, 90.0], [0.0, 95.0], [0.0, -400.0]])
    assert np.array_equal(np.argsort(class_scores(logits, 2)[:, 1]), [2, 0, 1])


def test_the_roc_moves_ties_together_and_ends_at_one() -> None:
    false, true = roc_curve(np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, False, True, False]))
    assert false.tolist() == [0, 0.5, 1]
    assert true.tolist() == [0, 0.5, 1]
    assert len(roc_curve(np.ones(3), np.ones(3, bool))[0]) == 0


def test_the_interval_of_the_auc_is_t_of_the_smaller_side_on_the_logit_scale() -> None:
    random = np.random.default_rng(3)
    patients = np.repeat(np.arange(60), 2)
    wide = []
    for positive in (30, 6):
        label = (patients < positive).astype(np.int64)
        score = 1.5 * label + random.normal(size=120)
        found = area_under_curve(np.stack([-score, score], 1), label, patients.astype(str))
        low, middle, high = special.logit([found.low, found.value, found.high])
        assert middle == pytest.approx((low + high) / 2)
        wide.append(high - low)
    assert wide[1] > wide[0]


def test_networks_of_several_folds_are_not_ranked_together() -> None:
    """Two networks order every image rightly, the one by logits a hundred times those of the other and shifted."""
    label = np.repeat([0, 1], 15)
    score = label + np.linspace(0, 0.9, 30)
    logits = np.zeros((30, 2, 2))
    logits[:, 0, 1], logits[:, 1, 1] = score, 100 * score + 500
    patients, there = np.arange(30).astype(str), np.ones((30, 2), bool)
    found = area_over_folds(logits, label, there, patients)
    alone = area_under_curve(class_scores(logits[:, 0], 2), label, patients)
    assert found.folds == (1.0, 1.0)
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
    further = np.append(label, np.full(5, -1))       # images without a label count for nothing
    named = area_over_folds(np.append(logits, logits[:5], axis=0), further, np.ones((35, 2), bool) & (further >= 0)[
        :, None], np.arange(35).astype(str))
    assert named == found
    there[:15, 1] = False       # a fold that saw one class alone tells nothing
    assert area_over_folds(logits, label, there, patients).folds == (1.0, None)


def test_three_classes_that_every_fold_tells_apart_have_the_bound_of_one_fold() -> None:
    label = np.tile([0, 1, 2], 12)
    logits = np.repeat((10.0 * np.eye(3)[label])[:, None], 2, axis=1)
    patients = np.arange(36).astype(str)
    found = area_over_folds(logits, label, np.ones((36, 2), bool), patients)
    alone = area_under_curve(class_scores(logits[:, 0], 3), label, patients)
    assert alone.low is not None
    assert (found.value, found.low, found.high, found.n) == (1.0, alone.low, alone.high, 36)
