"""Balanced accuracy: the mean of the recalls, which drawn balanced parts have in expectation."""

import numpy as np
import pytest

import fabricate
from steadyread.checks.reading import no_better
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.balanced import balanced_accuracy, balanced_under_attack
from steadyread.metrics.intervals import share
from steadyread.metrics.robustness import accuracy_under_attack


def drawn(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.25).astype(np.int64)
    return random.random(n) < np.where(label == 1, 0.6, 0.9), label, (np.arange(n) // 2).astype(str)


def test_it_is_the_mean_of_drawn_balanced_parts() -> None:
    right, label, patients = drawn()
    random, fewest = np.random.default_rng(1), np.bincount(label).min()
    parts = [np.concatenate([random.permutation(np.flatnonzero(label == one))[:fewest] for one in (0, 1)])
             for _ in range(2000)]
    means = [right[part].mean() for part in parts]
    found = balanced_accuracy(right, label, patients)
    assert found.value == pytest.approx(np.mean(means), abs=4 * np.std(means) / np.sqrt(len(means)))
    assert found.value != pytest.approx(right.mean(), abs=0.03), "the natural accuracy is another"
    part = parts[0]
    one = share(right[part], patients[part])
    assert found.high - found.low < one.high - one.low, "a drawn part throws images away"


def test_with_one_class_it_is_the_share_and_with_balanced_ones_its_value() -> None:
    right, label, patients = drawn()
    only = label == 0
    assert balanced_accuracy(right[only], label[only], patients[only]) == share(right[only], patients[only])
    even = np.concatenate([np.flatnonzero(label == one)[:40] for one in (0, 1)])
    assert balanced_accuracy(right[even], label[even], patients[even]).value == pytest.approx(right[even].mean())


def test_classes_that_are_read_alike_in_every_patient_tell_no_more_than_one_of_them() -> None:
    right, _, _ = drawn(60)
    patients, label = np.tile(np.arange(60).astype(str), 2), np.repeat([0, 1], 60)
    found = balanced_accuracy(np.tile(right, 2), label, patients)
    one = share(right, patients[:60])
    assert (found.value, found.low, found.high) == pytest.approx((one.value, one.low, one.high))
    apart = balanced_accuracy(np.tile(right, 2), label, np.arange(120).astype(str))
    assert apart.high - apart.low < 0.8 * (found.high - found.low), "of other patients they are twice as many"


@pytest.mark.parametrize(("ill", "well", "finding"), [
    (15, 466, False), (18, 380, False), (0, 475, True), (1, 450, True)])
def test_a_network_that_finds_a_rare_class_is_better_than_one_class(ill: int, well: int, finding: bool) -> None:
    """Of 25 ill and 475 well: 481 right reads are no more than 475, and 15 of the ill are found."""
    label = np.repeat([1, 0], [25, 475])
    right = np.concatenate([np.arange(25) < ill, np.arange(475) < well])
    assert bool(list(no_better(right, label, np.arange(500).astype(str)))) == finding


def test_a_class_that_is_all_right_leaves_an_interval_and_nothing_leaves_none() -> None:
    right, label, patients = drawn(40)
    found = balanced_accuracy(np.ones_like(right), label, patients)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 0.95
    assert balanced_accuracy(right[:0], label[:0], patients[:0]).value is None


def test_under_attack_it_stands_beside_the_natural_one() -> None:
    reads = reads_of(fabricate.table(), "test")
    rows = list(balanced_under_attack(reads, "label"))
    natural = accuracy_under_attack(reads, "label")
    assert rows[0]["attack"] == "clean"
    assert [(row["attack"], row["level"]) for row in rows[1:]] == [(row["attack"], row["size"]) for row in natural]
    label = reads.labels[:, 0]
    outcome = reads.fixed("label")[-1]
    recalls = [np.mean(outcome.prediction[label == one, 0] == one) for one in (0, 1)]
    assert rows[-1]["accuracy"].value == pytest.approx(np.mean(recalls))
