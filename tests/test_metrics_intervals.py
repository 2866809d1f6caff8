"""Intervals: exact where exactness is known, wider where patients have several images, never NaN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from scipy.stats import binomtest

from steadyread.metrics.intervals import (
    Scale,
    bootstrap,
    by_t,
    clopper_pearson,
    share,
    tails,
    weighted_mean,
    weighted_median,
)


@given(n=st.integers(1, 60), data=st.data())
@settings(max_examples=40, deadline=None)
def test_clopper_pearson_equals_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    theirs = binomtest(k, n).proportion_ci(method="exact")
    assert np.allclose(np.ravel(clopper_pearson(k, n)), [theirs.low, theirs.high], atol=1e-9)


def test_none_of_fifty_still_allows_seven_per_cent() -> None:
    assert float(clopper_pearson(0, 50)[1]) == pytest.approx(0.0711, abs=1e-4)


def test_no_trials_tell_nothing() -> None:
    assert [float(side) for side in clopper_pearson(0, 0)] == [0, 1]


def test_a_share_of_single_image_patients_is_clopper_pearson() -> None:
    flags = np.arange(40) < 13
    found = share(flags, np.arange(40))
    low, high = clopper_pearson(13, 40)
    assert (found.value, found.n) == (13 / 40, 40)
    assert (found.low, found.high) == (pytest.approx(float(low)), pytest.approx(float(high)))


def test_copies_of_the_same_patients_add_no_certainty() -> None:
    flags, patients = np.arange(40) < 13, np.arange(40)
    once, thrice = share(flags, patients), share(np.tile(flags, 3), np.tile(patients, 3))
    assert thrice.low == pytest.approx(once.low, abs=0.01)
    assert thrice.high == pytest.approx(once.high, abs=0.01)


@pytest.mark.parametrize("flag", [True, False])
def test_all_right_or_all_wrong_is_as_sure_as_there_are_patients(flag: bool) -> None:
    found = share(np.full(60, flag), np.arange(60) // 3)
    low, high = clopper_pearson(20 * flag, 20)
    assert found.low == pytest.approx(float(low), abs=0.02)
    assert found.high == pytest.approx(float(high), abs=0.02)


def test_one_patient_tells_nothing_and_none_gives_none() -> None:
    found = share([True, False, True], ["a", "a", "a"])
    assert (found.low, found.high) == (0, 1)
    assert share([], []).value is None


def test_the_bootstrap_draws_patients_and_repeats_itself() -> None:
    values = np.random.default_rng(0).normal(size=60)
    patients = np.arange(60) // 6
    whole = bootstrap(lambda weights: weighted_mean(weights, values), patients, seed=1)[0]
    single = bootstrap(lambda weights: weighted_mean(weights, values), np.arange(60), seed=1)[0]
    again = bootstrap(lambda weights: weighted_mean(weights, values), patients, seed=1)[0]
    assert np.array_equal(whole, again)
    assert not np.array_equal(whole, single)
    assert single[0] < values.mean() < single[1]


def test_an_interval_without_values_is_nan() -> None:
    assert np.isnan(bootstrap(lambda weights: np.full(len(weights), np.nan), np.arange(5))).all()
    assert np.isnan(bootstrap(lambda weights: weighted_mean(weights, []), [])).all()


def test_the_weighted_median_is_the_lower_middle_and_knows_infinity() -> None:
    weights = np.array([[1.0, 1, 1, 1], [1, 0, 0, 3], [0, 0, 0, 0]])
    found = weighted_median(weights, [4.0, 1.0, 2.0, np.inf])
    assert found[0] == 2
    assert found[1] == np.inf
    assert np.isnan(found[2])


@pytest.mark.parametrize(("patients", "spread", "known"), [(9, 1.0, False), (10, 1.0, True), (29, 0.0, False),
                                                           (30, 0.0, True)])
def test_few_patients_or_few_who_all_agree_give_no_interval(patients: int, spread: float, known: bool) -> None:
    values, of = np.arange(4.0 * patients) * spread, np.repeat(np.arange(patients), 4)
    found = bootstrap(lambda weights: weighted_mean(weights, values), of)
    assert np.isfinite(found).all() == known


def test_the_quantiles_of_few_patients_lie_further_out_as_t_asks_for() -> None:
    """Of a normal sample's mean, resamples deviate by sd sqrt((n - 1) / n): the quantiles then are those of t."""
    for patients in (5, 20, 60):
        low, high = tails(patients)
        resampled = stats.norm.ppf(high) * np.sqrt((patients - 1) / patients)
        assert resampled == pytest.approx(stats.t.ppf(0.975, patients - 1))
        assert low == pytest.approx(1 - high)
        assert by_t(2 * low, patients) == pytest.approx(0.05)
    assert tails(10**7) == pytest.approx((0.025, 0.975), abs=1e-6)
    assert (tails(1), by_t(0.2, 1)) == ((0.0, 1.0), 1.0)


def test_an_interval_by_deviation_is_symmetric_on_its_scale_and_wider_with_less_freedom() -> None:
    values, patients = np.random.default_rng(0).beta(8, 2, 40), np.arange(40)

    def interval(*scale: Scale) -> np.ndarray:
        return bootstrap(lambda weights: weighted_mean(weights, values), patients, scales=scale)[0]

    linear, logit = interval(Scale("linear")), interval(Scale("logit"))
    assert linear.mean() == pytest.approx(values.mean())
    assert special.logit(logit).mean() == pytest.approx(special.logit(values.mean()))
    reach = values.std() / np.sqrt(40) * stats.t.ppf(0.975, 39)
    assert np.ptp(linear) / 2 == pytest.approx(reach, rel=0.05)
    few = interval(Scale("linear", 3))
    assert np.ptp(few) / np.ptp(linear) == pytest.approx(stats.t.ppf(0.975, 3) / stats.t.ppf(0.975, 39))
    np.testing.assert_array_equal(interval(Scale("linear", 400)), linear)
    assert np.ptp(interval(Scale("linear", 0))) == pytest.approx(np.ptp(interval(Scale("linear", 1))))


def test_each_value_has_its_own_scale_and_an_end_has_no_logit() -> None:
    values = np.random.default_rng(0).random(30)
    found = bootstrap(lambda weights: np.stack([weighted_mean(weights, values), weights.mean(1) * 0], 1),
                      np.arange(30), scales=(Scale("linear"), Scale("logit")))
    assert found[0].mean() == pytest.approx(values.mean())
    assert np.isnan(found[1]).all()


def test_patients_who_are_more_alike_than_chance_add_no_certainty_beyond_their_images() -> None:
    """One image right and one wrong in nearly every patient: the share hardly varies between them."""
    flags = np.tile([True, False], 20)
    flags[1] = True
    found, (low, high) = share(flags, np.arange(40) // 2), clopper_pearson(21, 40)
    assert found.low <= float(low)
    assert found.high >= float(high)


@pytest.mark.parametrize("turned", [False, True])
def test_a_value_near_an_end_keeps_its_width_on_the_logit_scale(turned: bool) -> None:
    """Nearer to the end than half a pair of ten patients: the resamples must not all be taken for that."""
    values = np.ones(10)
    values[0] = 0.95
    values = 1 - values if turned else values
    scales = (Scale("logit"),)
    low, high = bootstrap(lambda weights: weighted_mean(weights, values), np.arange(10), scales=scales)[0]
    assert low < values.mean() < high
    assert special.logit(high) - special.logit(low) > 1
