"""Nominal 95 % intervals hold the truth in 95 % of simulated data sets of patients with several images each.

`make coverage` prints each coverage; docs/concepts.md quotes them. The tolerance is the lower 0.1 % bound of a
binomial share of 0.95 in so many data sets.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from scipy import special, stats

from fabricate import reads_with
from steadyread.metrics.balanced import balanced_accuracy
from steadyread.metrics.discrimination import area_under_curve, weighted_auc
from steadyread.metrics.guarantee import guarantee
from steadyread.metrics.intervals import Estimate, resamples, share
from steadyread.metrics.over_folds import share_over_folds
from steadyread.metrics.robustness import median_flip
from steadyread.metrics.triage import MARGIN, area, triage

pytestmark = pytest.mark.slow
REPEATS = 300
AUC_SHIFT = 2.4      # between classes, of scores with a deviation of sqrt(2): an AUC of 0.885
AUC = float(stats.norm.cdf(AUC_SHIFT / 2))
Drawn = Callable[[np.random.Generator, int], Estimate]


def patients_of(random: np.random.Generator, count: int) -> np.ndarray:
    """The patient of each image: one to six images of each of so many patients."""
    return np.repeat(np.arange(count), random.integers(1, 7, count))


def of_share(random: np.random.Generator, count: int) -> Estimate:
    """A share of 0.8 that differs between patients as a beta distribution of (2, 0.5)."""
    patients = patients_of(random, count)
    return share(random.random(len(patients)) < random.beta(2, 0.5, count)[patients], patients)


def of_balance(random: np.random.Generator, count: int) -> Estimate:
    """Recalls of 0.75 and 0.5, which differ between patients, of classes of 70 and 30 %."""
    patients = patients_of(random, count)
    label = (random.random(count) < 0.3).astype(np.int64)[patients]
    chance = np.where(label == 0, random.beta(6, 2, count)[patients], random.beta(3, 3, count)[patients])
    return balanced_accuracy(random.random(len(patients)) < chance, label, patients.astype(str))


def of_balance_within(random: np.random.Generator, count: int) -> Estimate:
    """Recalls of 0.7 and 0.5 that rise and fall together, of patients who have three images of each class."""
    patients, label = np.repeat(np.arange(count), 6), np.tile([0, 0, 0, 1, 1, 1], count)
    ease = random.random(count)[patients]
    own = random.random(len(patients)) < 0.1
    return balanced_accuracy(np.where(own, random.random(len(patients)), ease) < np.where(label == 0, 0.7, 0.5),
                             label, patients.astype(str))


def of_folds(folds: int) -> Drawn:
    """The share of 0.8 that so many networks read right, which err on other images of a patient."""
    def drawn(random: np.random.Generator, count: int) -> Estimate:
        patients = np.arange(count)
        flags = random.random((count, folds)) < random.beta(8, 2, count)[:, None]
        return share_over_folds(flags.astype(np.float64), patients.astype(str))

    return drawn


def images_of(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients, labels by patient, and a score half of whose variance lies between patients."""
    patients = patients_of(random, count)
    label = (random.random(count) < 0.4)[patients].astype(np.int64)
    return patients, label, (AUC_SHIFT * label + random.normal(size=count)[patients]
                             + random.normal(size=len(patients)))


def of_auc(random: np.random.Generator, count: int) -> Estimate:
    """The AUC of such a score."""
    patients, label, score = images_of(random, count)
    return area_under_curve(np.stack([-score, score], 1), label, patients.astype(str))


def scored(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients, score and wrong reads, whose log odds fall with the score."""
    patients = patients_of(random, count)
    ease, trouble = (0.7 * random.normal(size=count)[patients] for _ in range(2))
    score = ease + random.normal(size=len(patients))
    return patients, score, random.random(len(patients)) < special.expit(-2 - 1.2 * score + trouble)


@cache
def drawn_areas(count: int) -> list[tuple[Estimate, Estimate]]:
    """The area by the margin, and its difference to a noisy score's, as a run reports them, of each data set."""
    random = np.random.default_rng(count)
    return [triaged(random, count) for _ in range(REPEATS)]


@cache
def true_areas() -> tuple[float, float]:
    """The area under risk-coverage by the score, and by the score with noise, from many patients."""
    _, score, wrong = scored(np.random.default_rng(5), 400_000)
    noisy = score + np.random.default_rng(6).normal(size=len(score))
    one = np.ones((1, len(score)))
    return float(area(one, score, wrong)[0]), float(area(one, noisy, wrong)[0])


def triaged(random: np.random.Generator, count: int) -> tuple[Estimate, Estimate]:
    """Both figures of one data set."""
    patients, score, wrong = scored(random, count)
    margin = np.exp(score)                            # a margin is above 0; only the order counts
    reads = reads_with(margin, wrong, patients, {"noisy": score + random.normal(size=len(score))})
    told = triage(reads, None)
    return (next(row["area"] for row in told["rows"] if row["score"] == MARGIN),
            next(row["area"] for row in told["differences_to_margin"] if row["score"] == "noisy"))


def of_median(random: np.random.Generator, count: int) -> Estimate:
    """The median of values half of whose variance lies between patients."""
    patients = patients_of(random, count)
    value, low, high = median_flip(random.normal(size=count)[patients] + random.normal(size=len(patients)),
                                   patients.astype(str))
    return Estimate(value, low, high)


def held(told: Sequence[Estimate], truth: float, name: str) -> None:
    """The coverage printed, and not below what chance explains."""
    inside = [one.low <= truth <= one.high for one in told if one.low is not None and one.high is not None]
    coverage, least = float(np.mean(inside)), stats.binom.ppf(0.001, len(inside), 0.95) / len(inside)
    print(f"\n{name}: {coverage:.3f} of {len(inside)} data sets", end="")
    assert len(inside) > 0.9 * REPEATS
    assert coverage >= least
    assert coverage < 1.0


@pytest.mark.parametrize(("name", "drawn", "truth", "count"), [
    ("share", of_share, 0.8, 20), ("share", of_share, 0.8, 60),
    ("balanced accuracy", of_balance, 0.625, 20), ("balanced accuracy", of_balance, 0.625, 60),
    ("balanced accuracy, classes within patients", of_balance_within, 0.6, 20),
    ("balanced accuracy, classes within patients", of_balance_within, 0.6, 60),
    ("AUC", of_auc, AUC, 20), ("AUC", of_auc, AUC, 36), ("AUC", of_auc, AUC, 120),
    ("share, 3 folds", of_folds(3), 0.8, 20), ("share, 10 folds", of_folds(10), 0.8, 60),
    ("median", of_median, 0.0, 20), ("median", of_median, 0.0, 60)], ids=lambda value: str(value)[:12])
def test_the_interval_holds_the_truth(name: str, drawn: Drawn, truth: float, count: int) -> None:
    random = np.random.default_rng(count)
    held([drawn(random, count) for _ in range(REPEATS)], truth, f"{name}, {count} patients")


@pytest.mark.parametrize("count", [20, 120])
def test_quantiles_of_resamples_as_they_are_hold_an_auc_less_often(count: int) -> None:
    """Why areas take t on the logit scale."""
    random, inside = np.random.default_rng(count), []
    for _ in range(REPEATS):
        patients, label, score = images_of(random, count)
        drawn = np.concatenate([weighted_auc(weights, score, label == 1) for weights in resamples(patients)])
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        inside.append(low <= AUC <= high)
    print(f"\nAUC by quantiles as they are, {count} patients: {np.mean(inside):.3f} of {REPEATS} data sets", end="")
    assert np.mean(inside) < 0.95


@pytest.mark.parametrize("count", [20, 60])
@pytest.mark.parametrize(("held", "low", "high"), [(0.2, 0.91, 0.96), (0.3, 0.88, 0.95), (0.5, 0.70, 0.87)])
def test_one_patient_with_many_images_spoils_the_interval_of_a_share(count: int, held: float, low: float,
                                                                     high: float) -> None:
    """Which a finding says, from a fifth of the images on."""
    random, inside, repeats = np.random.default_rng(count), [], 2000
    for _ in range(repeats):
        images = random.integers(1, 7, count)
        images[0] = round(held / (1 - held) * images[1:].sum())
        patients = np.repeat(np.arange(count), images)
        told = share(random.random(len(patients)) < random.beta(2, 0.5, count)[patients], patients)
        inside.append(told.low <= 0.8 <= told.high)
    print(f"\nshare, {count} patients of whom one holds {held:.0%} of the images: {np.mean(inside):.3f} of "
          f"{repeats} data sets", end="")
    assert low < np.mean(inside) < high


@pytest.mark.parametrize("count", [20, 60])
def test_the_intervals_of_triage_hold_the_truth(count: int) -> None:
    areas, differences = zip(*drawn_areas(count), strict=True)
    ours, theirs = true_areas()
    held(areas, ours, f"area under risk-coverage, {count} patients")
    held(differences, theirs - ours, f"paired difference of areas, {count} patients")


@pytest.mark.parametrize(("alpha", "slope", "least"), [(0.05, 5.0, 0.9), (0.1, 3.0, 0.9), (0.1, 1.0, 0.4)])
def test_the_guarantee_is_broken_as_seldom_as_it_says_and_is_within_reach(alpha: float, slope: float,
                                                                          least: float) -> None:
    """100 patients with one to six images each, by the true error of a random image above the threshold.

    About a tenth of the reads are wrong; the score tells them well, less well and poorly.
    """
    random, broken, reached = np.random.default_rng(3), 0, 0
    many_scores = np.sort(np.random.default_rng(4).normal(size=200_000))[::-1]
    error = np.cumsum(risk(many_scores, slope)) / np.arange(1, 200_001)
    repeats = 1000
    for _ in range(repeats):
        patients = patients_of(random, 100)
        share_of = np.sqrt(0.5)
        score = share_of * random.normal(size=100)[patients] + share_of * random.normal(size=len(patients))
        reads = reads_with(np.exp(score), random.random(len(patients)) < risk(score, slope), patients)
        threshold = guarantee(reads, reads, MARGIN, alpha)["threshold"]
        if threshold is not None:
            reached += 1
            kept = np.searchsorted(-many_scores, -np.log(threshold) if threshold > 0 else np.inf)
            broken += bool(error[max(kept, 1) - 1] > alpha)
    print(f"\nguarantee of {alpha:.0%} from 100 patients: a threshold in {reached / repeats:.0%}, "
          f"broken in {broken / repeats:.1%}", end="")
    assert broken <= stats.binom.ppf(0.999, repeats, 0.05)
    assert reached / repeats >= least


def risk(score: np.ndarray, slope: float) -> np.ndarray:
    """The chance that a read of this score is wrong."""
    return np.asarray(special.expit(-2.2 * np.sqrt(1 + slope**2 / 4) - slope * score))
