"""P(flip) from moments, critical doses and how far the dose could fall: against exact answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special, stats

import fabricate_noise as made
from steadyread.attacks.flip_probability import estimated
from steadyread.errors import UsageError
from steadyread.metrics import dose, dose_fall
from steadyread.metrics.aligned import reads_of

DOSES = np.array([10.0, 50.0, 100.0, 200.0, 500.0])


def lawful(n: int = 300, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Margins, drifts and jitters that follow the laws exactly."""
    random = np.random.default_rng(seed)
    return (np.abs(random.normal(0, 2, n)), random.normal(-8, 6, (n, 1)) / DOSES,
            random.uniform(1, 6, (n, 1)) / np.sqrt(DOSES))


def test_the_interval_covers_as_often_as_it_says_and_beats_counting() -> None:
    random = np.random.default_rng(1)
    distance = random.normal(1, 1, 3000)
    margins = 0.7 * (distance[:, None] + random.normal(size=(3000, 16)))
    probability, low, high, mean, sd = dose.flip_probability_of(margins)
    true = special.ndtr(-distance)
    covered = (low <= true) & (true <= high)
    assert 0.94 < covered.mean() < 0.96
    np.testing.assert_allclose(mean, margins.mean(1))
    np.testing.assert_allclose(sd, margins.std(1, ddof=1))
    assert (low <= probability).all()
    assert (probability <= high).all()
    counted = (margins < 0).mean(1)
    assert np.sqrt(np.mean((probability - true) ** 2)) < 0.85 * np.sqrt(np.mean((counted - true) ** 2))


@pytest.mark.parametrize("draws", [2, 4, 16, 200])
@pytest.mark.parametrize("distance", [-3.0, -0.2, 0.0, 1.5, 8.0])
def test_the_interval_inverts_the_noncentral_t(draws: int, distance: float) -> None:
    _, low, high = dose.flip_probability_from(distance, 1.0, draws)
    for end, tail in ((low, 0.025), (high, 0.975)):
        if 1e-12 < end < 1 - 1e-12:
            true = -special.ndtri(float(end)) * np.sqrt(draws)
            assert stats.nct.cdf(np.sqrt(draws) * distance, draws - 1, true) == pytest.approx(tail, abs=2e-3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])     # of the variance, that is known
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_a_known_part_sharpens_the_probability_and_keeps_the_coverage(share: float, distance: float) -> None:
    random = np.random.default_rng(4)
    along, rest = random.normal(size=(2, 4000, 16))
    margins = distance + np.sqrt(share) * along + np.sqrt(1 - share) * rest
    found = dose.flip_probability_along(margins, 3 * along, np.full(4000, 9.0))
    true, plain = special.ndtr(-distance), dose.flip_probability_of(margins)
    assert ((found[1] <= true) & (true <= found[2])).mean() > 0.94
    errors = [np.sqrt(np.mean((one[0] - true) ** 2)) for one in (found, plain)]
    assert errors[0] < (1.1, 0.95, 0.55)[(0.1, 0.5, 0.9).index(share)] * errors[1]


def test_where_the_known_part_is_all_there_is_the_probability_is_exact() -> None:
    along = np.random.default_rng(5).normal(size=(3, 8))
    probability, low, high, mean, sd = dose.flip_probability_along(1.5 + 2 * along, along, np.ones(3))
    np.testing.assert_allclose([probability, low, high], special.ndtr(-0.75))
    np.testing.assert_allclose(mean, 1.5)
    np.testing.assert_allclose(sd, 2.0)


def test_without_a_known_part_it_is_that_of_the_draws_alone() -> None:
    margins = np.array([np.arange(6.0), np.ones(6), [*range(5), np.nan]])
    along, nothing = np.random.default_rng(6).normal(size=(3, 6)), np.zeros(3)
    np.testing.assert_array_equal(dose.flip_probability_along(margins, along, nothing),
                                  dose.flip_probability_of(margins))
    found = dose.flip_probability_along(margins, along, np.ones(3))
    np.testing.assert_array_equal([one[1:] for one in found],
                                  [one[1:] for one in dose.flip_probability_of(margins)])


def test_a_known_part_that_does_not_fit_is_refused() -> None:
    for margins, along, variance in ((np.ones((2, 3)), np.ones((2, 3)), np.ones(2)),
                                     (np.ones((2, 8)), np.ones((2, 7)), np.ones(2)),
                                     (np.ones((2, 8)), np.ones((2, 8)), np.ones(3))):
        with pytest.raises(UsageError, match="at least 4 draws"):
            dose.flip_probability_along(margins, along, variance)


def test_flipping_the_sign_of_the_margin_mirrors_the_probability() -> None:
    margins = np.random.default_rng(2).normal(0.4, 1, (50, 8))
    one, other = dose.flip_probability_of(margins), dose.flip_probability_of(-margins)
    np.testing.assert_allclose(one[0], 1 - other[0])
    np.testing.assert_allclose(one[1], 1 - other[2], atol=1e-9)


def test_draws_that_agree_or_are_not_finite() -> None:
    probability, low, high, _, _ = dose.flip_probability_of([[1, 1, 1.0], [-2, -2, -2], [1, 2, np.nan]])
    assert probability[:2].tolist() == low[:2].tolist() == high[:2].tolist() == [0, 1]
    assert np.isnan([probability[2], low[2], high[2]]).all()


def test_counting_is_the_share_with_its_exact_interval() -> None:
    probability, low, high, _, _ = dose.flip_probability_of(np.ones((1, 50)), counted=True)
    assert (probability[0], low[0]) == (0, 0)
    assert high[0] == pytest.approx(0.0711, abs=1e-4)


def test_normality_is_uniform_on_gaussians_and_small_on_others() -> None:
    random = np.random.default_rng(3)
    p = dose.normality(random.normal(5, 0.2, (4000, 16)))
    assert 0.035 < (p < 0.05).mean() < 0.065
    assert (dose.normality(random.exponential(size=(500, 50))) < 0.01).mean() > 0.95
    assert dose.normality(np.ones((2, 20))).tolist() == [1, 1]
    assert np.isnan(dose.normality(np.ones((2, 4)))).all()


def test_moments_follow_the_laws_at_doses_that_were_not_tried() -> None:
    _, drift, jitter = lawful()
    asked = np.array([3.0, 10.0, 30.0, 77.0, 500.0, 2000.0])
    shift, shake = dose.moments_at(asked, DOSES, drift, jitter)
    np.testing.assert_allclose(shift, drift[:, :1] * 10 / asked, rtol=1e-12)
    np.testing.assert_allclose(shake, jitter[:, :1] * np.sqrt(10 / asked), rtol=1e-12)


def test_moments_meet_those_of_the_doses_tried_whatever_the_law() -> None:
    random = np.random.default_rng(4)
    drift, jitter = random.normal(size=(7, 5)), random.uniform(1, 2, (7, 5))
    shift, shake = dose.moments_at(DOSES, DOSES, drift, jitter)
    np.testing.assert_allclose(shift, drift)
    np.testing.assert_allclose(shake, jitter)


def test_the_critical_dose_is_where_the_probability_crosses() -> None:
    margin, drift, jitter = lawful()
    for level in dose.LEVELS:
        found = dose.critical_mas(margin, DOSES, drift, jitter, level)
        inside = (found > 0) & np.isfinite(found)
        assert inside.sum() > 30
        at = dose.flip_probability_at(found[inside][:, None], margin[inside], DOSES, drift[inside], jitter[inside])
        np.testing.assert_allclose(at, level, rtol=1e-6)
        every = dose.flip_probability_at(np.geomspace(10, 500, 300), margin, DOSES, drift, jitter)
        assert ((found == 0) == (every <= level).all(1)).mean() > 0.99
        assert (np.isinf(found) == (every[:, -1] > level)).all()


@pytest.mark.parametrize("doses", [[50, 10], [0, 10], [10, 10]])
def test_doses_out_of_order_are_refused(doses: list[float]) -> None:
    with pytest.raises(UsageError, match="ascending"):
        dose.moments_at([20], doses, np.ones((1, 2)), np.ones((1, 2)))


def test_power_laws_and_effective_doses() -> None:
    assert dose.power_law(DOSES, 3 * DOSES**-0.5) == pytest.approx((3, -0.5))
    assert np.isnan(dose.power_law(DOSES, np.zeros(5))).all()
    assert dose.effective_mas(100, 500) == pytest.approx(83.33, abs=0.01)
    assert np.isnan(dose.effective_mas(np.nan, 500))


def test_the_dose_falls_as_far_as_the_population_allows() -> None:
    """At the told dose the share of changed reads is the stated one, and the true curve lies in the band."""
    settings = made.Made(cases=200, patients=150, folds=2, draws=64)
    main = reads_of({fold: made.job_table(settings, fold=fold) for fold in range(2)}, variant="original")
    moments = dose_fall.moments_of(main, "test")
    assert moments is not None
    fall = dose_fall.dose_fall(moments)
    for share, found in fall["dose_of_share"].items():
        if 0 < found.value < np.inf:
            at = dose_fall.expected_share(moments, found.value)
            assert at.value == pytest.approx(float(share), rel=0.05)
            assert found.low <= found.value <= found.high
    told = [made.network(settings, "original", fold) for fold in range(2)]
    true = []
    for one in told:
        chosen, away = one["part"] == "test", np.where(one["logit"] > 0, 1, -1)
        middle = (away * (one["logit"] + one["drift"]))[chosen]
        true.append(special.ndtr(-middle / one["jitter"][chosen]).mean())
    assert dose_fall.expected_share(moments, 100.0).value == pytest.approx(np.mean(true), rel=0.1)


def test_a_scans_own_dose_gives_the_share_of_it_that_may_go() -> None:
    settings = made.Made(cases=120, folds=1, scan_mas=150.0)
    main = reads_of({0: made.job_table(settings)}, variant="original")
    moments = dose_fall.moments_of(main, "test")
    assert moments is not None
    told = dose_fall.own_dose_fall(moments)
    assert told is not None
    assert (np.diff(told["mean"]) < 0).all()
    simulated = dose_fall.own_dose_fall(moments, simulated=True)
    assert simulated is not None
    assert (simulated["mean"] > told["mean"]).all()     # of these records: r m_0 is less than m_0 r / (1 - r)
    effective = dose_fall.added_and_effective(main, "test", moments)
    assert all(0 < row["effective"] < row["mas"] for row in effective)
    assert dose_fall.own_dose_fall(replace(moments, scan_mas=moments.scan_mas * np.nan)) is None


def shapes() -> dict[str, object]:
    """Margins of mean 0 and SD 1 that are not Gaussian, as functions of a generator and a shape."""
    return {"Gaussian": lambda random, size: random.normal(size=size),
            "logistic": lambda random, size: random.logistic(size=size) / (np.pi / np.sqrt(3)),
            "t of 5": lambda random, size: random.standard_t(5, size) / np.sqrt(5 / 3),
            "chi2 of 4, flips in the long tail": lambda random, size: (4 - random.chisquare(4, size)) / np.sqrt(8),
            "exponential, flips in the short tail": lambda random, size: random.exponential(size=size) - 1,
            "exponential, flips in the long tail": lambda random, size: 1 - random.exponential(size=size)}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), list(zip(shapes(), (0.94, 0.92, 0.90, 0.78, 0.80, 0.79), strict=True)))
def test_the_interval_of_a_probability_under_margins_of_other_shapes(name: str, least: float) -> None:
    """The figures of docs/ct-noise.md: conditional on a near-Gaussian margin, and how far it bears others."""
    random = np.random.default_rng(8)
    long = np.sort(shapes()[name](random, 1_000_000))
    covered = {}
    for probability in (0.3, 0.1, 0.03, 0.01):
        margins = shapes()[name](random, (4000, 1, 16)) - long[int(probability * len(long))]
        told = estimated(torch.zeros(4000), torch.from_numpy(margins))
        covered[probability] = float(((told.low <= probability) & (probability <= told.high)).double().mean())
    print(f"{name}: " + ", ".join(f"{share:.2f} at {probability:g}" for probability, share in covered.items()))
    assert np.mean(list(covered.values())) > least


def test_a_doubtful_shape_widens_the_interval_and_never_narrows_it() -> None:
    random = np.random.default_rng(9)
    margins = random.exponential(size=(500, 1, 16)) - 0.05
    told = estimated(torch.zeros(500), torch.from_numpy(margins))
    gaussian, counted = (dose.flip_probability_of(margins, counted=counted) for counted in (False, True))
    widened = told.widened.numpy()
    assert 0.3 < widened.mean() < 0.9
    assert not (widened & ~told.normal.numpy()).any()
    assert (told.low.numpy() <= np.minimum(gaussian[1], counted[1]))[widened].all()
    assert (told.high.numpy() >= np.maximum(gaussian[2], counted[2]))[widened].all()
    np.testing.assert_allclose(told.probability.numpy()[widened], gaussian[0][widened])


def test_one_gaussian_sample_in_ten_is_doubted_by_each_moment_and_what_does_not_vary_never() -> None:
    random = np.random.default_rng(10)
    assert 0.11 < dose.shape_doubted(random.normal(size=(20000, 16))).mean() < 0.17
    assert not dose.shape_doubted(np.ones((3, 16))).any()
    spiked = np.zeros((1, 16))
    spiked[0, 0] = 1.0
    assert dose.shape_doubted(spiked).all()


def test_between_doses_the_lawful_part_is_held_and_the_rest_is_straight_in_log_mas() -> None:
    """At the geometric mean of two doses, drift x mAs and jitter x sqrt(mAs) are the plain means of theirs."""
    drift, jitter = np.array([[-2.0, -1.0]]), np.array([[1.0, 0.5]])
    at, shakes = dose.moments_at(np.array([20.0]), np.array([10.0, 40.0]), drift, jitter)
    assert at[0, 0] == pytest.approx((-2 * 10 - 1 * 40) / 2 / 20)
    assert shakes[0, 0] == pytest.approx((1 * np.sqrt(10) + 0.5 * np.sqrt(40)) / 2 / np.sqrt(20))
    below, above = dose.moments_at(np.array([5.0, 160.0]), np.array([10.0, 40.0]), drift, jitter)[0][0]
    assert (below, above) == (pytest.approx(-2 * 10 / 5), pytest.approx(-1 * 40 / 160))
