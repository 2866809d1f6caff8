"""Splits by patient, balance and small draws: invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from steadyread.cases import Cases, Row, audit, balance, batches, fingerprint, fold, limit, relabelled, split
from steadyread.cases.case_set import beside
from steadyread.cases.splits import _class_of, _how_many
from steadyread.errors import InputRefused, UsageError
from steadyread.types import Bounds


def made(patients: list[int], labels: list[int], known: bool = True, pixels: list[int] | None = None,
         parts: list[str] | None = None) -> Cases:
    values = pixels or list(range(len(patients)))
    rows = tuple(Row(f"case-{index:04d}", f"p{patient}" if known else f"case-{index:04d}", label, str(label),
                     source=value, part=part)
                 for index, (patient, label, value, part) in enumerate(
                     zip(patients, labels, values, parts or [""] * len(patients), strict=True)))

    def load(row: Row) -> np.ndarray:
        return np.random.default_rng(row.source).integers(0, 255, (1, 12, 12), np.uint8)

    return Cases("made", rows, load, tuple(map(str, range(max(labels) + 1))), Bounds(0, 255), known)


sets = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 2)), min_size=12, max_size=90)


@settings(max_examples=80, deadline=None)
@given(drawn=sets, seed=st.integers(0, 1000))
def test_no_patient_crosses_and_order_does_not_matter(drawn: list[tuple[int, int]], seed: int) -> None:
    cases = made(*map(list, zip(*drawn, strict=True)))
    parts = split(cases, seed)
    assert [row.id for row in parts.rows] == [row.id for row in cases.rows]
    assert {row.part for row in parts.rows} <= {"train", "validation", "test"}
    assert any(row.part == "train" for row in parts.rows)
    held: dict[str, set[str]] = {}
    for row in parts.rows:
        held.setdefault(row.patient, set()).add(row.part)
    assert all(len(one) == 1 for one in held.values())
    turned = split(cases.pick(range(len(cases) - 1, -1, -1)), seed)
    assert {row.id: row.part for row in turned.rows} == {row.id: row.part for row in parts.rows}


def test_shares_and_strata() -> None:
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 400, 900).tolist()
    label_of = rng.random(400) < 0.3
    cases = split(made(patients, [int(label_of[patient]) for patient in patients]), 3)
    for part, share in (("test", 1 / 3), ("validation", 2 / 15), ("train", 8 / 15)):
        held = cases.part(part)
        assert len(held) / 900 == pytest.approx(share, abs=0.01)
        positive = np.mean([row.label for row in cases.rows])
        assert np.mean([row.label for row in held.rows]) == pytest.approx(positive, abs=0.02)


def test_the_seed_matters_and_repeats() -> None:
    cases = made(list(range(60)), [index % 2 for index in range(60)])
    drawn = [tuple(row.part for row in split(cases, seed).rows) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_official_parts_are_kept_and_validation_is_cut_from_training_by_patient() -> None:
    parts = ["train"] * 40 + ["test"] * 20
    cases = made([index // 2 for index in range(60)], [index // 2 % 2 for index in range(60)], parts=parts)
    done = split(cases, 0)
    assert [row.part for row in done.rows][40:] == ["test"] * 20
    assert len(done.part("validation")) == 8
    again = split(cases, 0, official=False)
    assert [row.part for row in again.rows][40:] != ["test"] * 20
    half = made(list(range(12)), [index % 2 for index in range(12)], parts=["train", "train", "validation"] * 4)
    assert [row.part for row in split(half, 0).rows][2::3] == ["validation"] * 4
    assert len(split(half, 0).part("test")) in (2, 3, 4)
    full = made(list(range(9)), [index % 2 for index in range(9)], parts=["train", "validation", "test"] * 3)
    assert split(full, 0).rows == full.rows


def test_duplicates_stay_together_where_patients_are_unknown() -> None:
    pixels = [index // 2 for index in range(80)]
    cases = made(list(range(80)), [index % 2 for index in range(80)], known=False, pixels=pixels)
    done = split(cases, 5)
    assert all(done.rows[index].part == done.rows[index + 1].part for index in range(0, 80, 2))
    assert {row.part for row in done.rows} == {"train", "validation", "test"}


def test_near_duplicates_stay_together_where_patients_are_unknown() -> None:
    pixels = [index // 2 for index in range(60)]
    cases = made(list(range(60)), [index % 2 for index in range(60)], known=False, pixels=pixels)

    def brightened(row: Row) -> np.ndarray:
        return (cases.load(row) * (0.8 if int(row.id[-4:]) % 2 else 1.0)).round().astype(np.float32)

    done = split(replace(cases, load=brightened), 1)
    assert all(done.rows[index].part == done.rows[index + 1].part for index in range(0, 60, 2))


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_shares_outside_0_to_1(share: float) -> None:
    with pytest.raises(UsageError, match="test_share"):
        split(made([0, 1], [0, 1]), 0, test_share=share)


def test_balance_within_each_part() -> None:
    cases = split(made(list(range(100)), [int(index % 5 == 0) for index in range(100)]), 0)
    even = balance(cases, 1)
    for part in ("train", "validation", "test"):
        assert len(set(even.part(part).counts().values())) == 1
    assert even.counts()["1"] == 20
    assert [row.id for row in even.rows] == sorted(row.id for row in even.rows)
    assert balance(cases, 1).rows == even.rows


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=4, max_size=60), n=st.integers(4, 70), seed=st.integers(0, 9))
def test_limit_draws_by_class(labels: list[int], n: int, seed: int) -> None:
    cases = made(list(range(len(labels))), labels)
    drawn = limit(cases, n, seed)
    assert len(drawn) == min(n, len(cases))
    for name, count in cases.counts().items():
        assert (drawn.counts()[name] > 0) == (count > 0)
        assert drawn.counts()[name] <= count
        assert abs(drawn.counts()[name] - count * len(drawn) / len(cases)) <= 3


def test_batches_hold_every_case_in_order_once() -> None:
    cases = made(list(range(7)), [0, 1, 0, 1, 0, 1, 1])
    held = list(batches(cases, 3))
    assert [len(batch) for _, batch, _ in held] == [3, 3, 1]
    assert [key for _, batch, _ in held for key in batch.keys] == [row.id for row in cases.rows]
    assert [label for _, _, labels in held for label in labels.tolist()] == [0, 1, 0, 1, 0, 1, 1]
    assert held[0][1].bounds == cases.bounds
    assert held[0][1].spacing_mm is None


def test_a_fingerprint_sees_pixels_labels_and_parts() -> None:
    cases = made(list(range(8)), [0, 1] * 4)
    told = {fingerprint(cases), fingerprint(made(list(range(8)), [1, 0] * 4)), fingerprint(split(cases, 0)),
            fingerprint(made(list(range(8)), [0, 1] * 4, pixels=list(range(1, 9))))}
    assert len(told) == 4
    assert fingerprint(cases) == fingerprint(made(list(range(8)), [0, 1] * 4))


def test_a_patient_of_each_class_stays_for_training_however_large_the_share() -> None:
    done = split(made([0, 1, 2, 3], [0, 1, 0, 1]), 0, test_share=0.95)
    assert done.part("train").counts() == done.part("test").counts() == {"0": 1, "1": 1}


@pytest.mark.parametrize(("sizes", "share", "taken"), [
    ([2, 2, 2, 2], 0.5, 2), ([2, 2, 2, 2], 3 / 8, 1), ([1, 9, 1], 0.4, 1), ([1, 9, 1], 0.6, 2), ([3], 0.9, 0),
    ([1, 1], 0.99, 1), ([1, 1], 0.0, 0)])
def test_as_many_patients_as_come_nearest_to_the_share(sizes: list[int], share: float, taken: int) -> None:
    """Of two as near, the fewer."""
    assert _how_many(sizes, share) == taken


def test_a_patient_of_two_classes_counts_as_the_more_frequent_and_at_a_tie_as_the_higher() -> None:
    assert _class_of(made([0] * 3, [0, 0, 1]).rows) == 0
    assert _class_of(made([0] * 4, [0, 1, 1, 0]).rows) == 1


def test_a_limit_leaves_each_class_as_near_to_its_share_as_whole_images_can() -> None:
    drawn = limit(made(list(range(16)), [0] * 10 + [1] * 5 + [2]), 9, 0)     # shares of 5.6, 2.8 and 0.6
    assert drawn.counts() == {"0": 5, "1": 3, "2": 1}


def test_folds_are_even_in_every_class_before_they_are_even_in_size() -> None:
    cases = made([0] * 10 + list(range(1, 11)), [0] * 11 + [1] * 9)
    held = [fold(cases, k, 2, 0, test_share=0.0).part("validation").counts()["1"] for k in (0, 1)]
    assert sorted(held) == [4, 5]


def test_patients_of_two_sets_are_known_where_those_of_both_are() -> None:
    one, other = made([0, 1], [0, 1]), made([0, 1], [0, 1], known=False)
    assert beside(one, one).patients_known
    assert not beside(one, other).patients_known
    assert not beside(other, one).patients_known


# folds and other labels

@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1)), min_size=60, max_size=140),
       seed=st.integers(0, 1000), of=st.integers(2, 5))
def test_each_case_outside_the_test_part_validates_once(drawn: list[tuple[int, int]], seed: int, of: int) -> None:
    cases = made(*map(list, zip(*drawn, strict=True)))
    try:
        folds = [fold(cases, k, of, seed) for k in range(of)]
    except InputRefused:
        reject()     # too few patients of a class
    tested = [row.part == "test" for row in split(cases, seed, test_share=0.2).rows]
    for one in folds:
        assert [row.part == "test" for row in one.rows] == tested
        assert [row.id for row in one.rows] == [row.id for row in cases.rows]
        held = [{row.patient for row in one.part(part).rows} for part in ("train", "validation", "test")]
        assert sum(map(len, held)) == len(set.union(*held))
        assert held[0]
    validated = [sum(one.rows[index].part == "validation" for one in folds) for index in range(len(cases))]
    assert validated == [0 if held else 1 for held in tested]
    turned = fold(cases.pick(range(len(cases) - 1, -1, -1)), 0, of, seed)
    assert {row.id: row.part for row in turned.rows} == {row.id: row.part for row in folds[0].rows}


def test_an_official_test_part_stays_the_test_part_of_every_fold() -> None:
    parts = ["test" if index % 4 == 0 else "validation" if index % 4 == 1 else "train" for index in range(80)]
    cases = made(list(range(80)), [index // 2 % 2 for index in range(80)], parts=parts)
    done = fold(cases, 1, 3, 0)
    assert [row.part == "test" for row in done.rows] == [part == "test" for part in parts]
    assert len(done.part("validation")) == 20


@pytest.mark.parametrize(("k", "of"), [(3, 3), (-1, 3), (0, 1)])
def test_a_fold_that_is_not_there(k: int, of: int) -> None:
    with pytest.raises(UsageError, match=f"got fold {k} of {of}"):
        fold(made(list(range(20)), [0, 1] * 10), k, of, 0)


def test_a_class_with_fewer_patients_than_folds() -> None:
    with pytest.raises(InputRefused, match="class '1' has 3 patients outside the test part, fewer than 4 folds"):
        fold(made(list(range(24)), [0] * 20 + [1] * 4), 0, 4, 0)


def test_other_labels_leave_the_split_as_it_is() -> None:
    cases = made(list(range(40)), [index % 2 for index in range(40)])
    ratings = [4.5 if row.label else 1.4 for row in cases.rows]
    rated = replace(cases, rows=tuple(replace(row, extras={"rating": rating})
                                      for row, rating in zip(cases.rows, ratings, strict=True)))
    two = fold(rated, 0, 4, 0)
    five = relabelled(two)
    assert [(row.id, row.part) for row in five.rows] == [(row.id, row.part) for row in two.rows]
    assert five.counts() == {"1": 20, "2": 0, "3": 0, "4": 0, "5": 20}
    with pytest.raises(InputRefused, match="no rating from 1 to 5 under 'rating'"):
        relabelled(cases)


def _grouped(sizes: list[int], parts: list[str] | None = None) -> Cases:
    """So many images of each patient; patients of two classes in turn."""
    patients = [patient for patient, size in enumerate(sizes) for _ in range(size)]
    labels = [patient % 2 for patient in patients]
    return made(patients, labels, parts=[parts[patient] for patient in patients] if parts else None)


def test_a_split_far_from_what_was_asked_is_a_warning() -> None:
    assert split(_grouped([3] * 40), 0).warnings == ()
    uneven = split(_grouped([40, 40, 2, 2]), 0)
    held = sum(row.part == "test" for row in uneven.rows)
    assert abs(held - 28) > 7
    assert uneven.warnings[0].startswith(f"{held} of 84 images are for test, where 33 % (28) were asked for")
    assert any(finding.check == "split" and finding.severity == "warning" for finding in audit(uneven))


def test_a_class_of_one_patient_is_missing_from_the_test_part_and_said() -> None:
    warnings = split(_grouped([10, 3, 10, 0, 10]), 0).warnings
    assert any("no image of 1 is for test" in text for text in warnings)
