"""Robust accuracy on fabricated records of an exact linear model, and on the corners of the tables."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fabricate
from steadyread import records, registry
from steadyread.errors import InputRefused
from steadyread.metrics import accuracy_under_attack, merged_found_size, reads_of, share, step_curve
from steadyread.metrics.robustness import accuracy_on_other_axes, median_flip, robust_curve
from steadyread.units import Bounds


def reads(rows: list[dict[str, Any]] | None = None, **settings_: Any) -> Any:
    return reads_of(records.as_table(rows if rows is not None else fabricate.rows(**settings_)))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("against", ["label", "prediction"])
def test_the_exact_curve_is_the_linear_models_answer(classes: int, against: str) -> None:
    found = reads(classes=classes)
    label, logits = fabricate.margins(120, classes, 0)
    two = np.sort(logits, axis=1)[:, -2:]
    smallest, right = (two[:, 1] - two[:, 0]) / 0.25, logits.argmax(1) == label
    curve = robust_curve(found, against)
    for size in (0.0, 1.0, 3.3, 10.0):
        expected = right & (smallest > size)
        if against == "prediction" and classes == 2:
            expected |= ~right & (smallest <= size)
        if against == "prediction" and classes == 4:
            second = np.argsort(logits, axis=1)[:, -2]
            expected |= (second == label) & (smallest <= size)
        assert curve.at(size).value == pytest.approx(expected.mean())


@pytest.mark.parametrize("against", ["label", "prediction"])
def test_the_curve_lies_at_or_below_every_attack(against: str) -> None:
    found = reads(n=200)
    curve = robust_curve(found, "label")
    for row in accuracy_under_attack(found, "label"):
        assert curve.at(row["size"]).value <= row["carried"].value <= row["accuracy"].value
    flips = merged_found_size(found, against).found
    for outcome in found.fixed(against):
        assert (flips[outcome.flipped] <= outcome.level).all()


def test_against_the_prediction_two_classes_stop_at_one_minus_clean() -> None:
    found = reads(slope=100.0)
    clean = found.correct.mean()
    assert robust_curve(found, "prediction").at(70).value == pytest.approx(1 - clean)
    assert robust_curve(found, "label").at(70).value == 0
    rows = accuracy_under_attack(found, "prediction")
    assert rows[-1]["accuracy"].value == pytest.approx(1 - clean)


def test_what_a_fixed_attack_found_is_merged_and_told() -> None:
    rows = fabricate.rows(n=20, against=("label",))
    right = [row["case_id"] for row in rows if row["attack"] == "clean" and not row["flips"]]
    for row in rows:
        if row["case_id"] == right[0] and row["attack"] == "smallest_flip":
            row["found_size"] = np.inf
        if row["case_id"] == right[0] and row["attack"] == "pgd" and row["size"] == 8.4:
            row.update(prediction=1 - row["reference"], flips=1, found_size=8.4000005)
    found = reads(rows)
    merged = merged_found_size(found, "label")
    assert merged.found[found.case_id == right[0]] == [8.4]   # never above the stated size by float32's rounding
    assert merged.improved == pytest.approx(1 / 20)


@pytest.mark.parametrize(("change", "counted", "on_the_lung"), [
    (8.40001, 8.4, 8.4), (8.40015, 8.40015, 8.4), (16.8, 16.8, 16.8), (7.0, 7.0, 7.0)])
def test_an_attack_that_oversteps_its_size_is_credited_at_the_size_it_took(change: float, counted: float,
                                                                          on_the_lung: float) -> None:
    rows = [row for row in fabricate.rows(n=20, against=("label",)) if row["attack"] in ("clean", "pgd")]
    case = next(row["case_id"] for row in rows if row["attack"] == "clean" and not row["flips"])
    for row in rows:
        if row["case_id"] == case and row["attack"] == "pgd":
            hit = row["size"] == 8.4
            row.update(prediction=1 - row["label"] if hit else row["label"], flips=int(hit), found_size=change)
    found = reads(rows)
    assert merged_found_size(found, "label").found[found.case_id == case] == [counted]
    coarse = reads_of(records.as_table(rows), bounds=Bounds(-1024, 3071, "HU"))     # float32 steps by 0.00024
    assert merged_found_size(coarse, "label").found[coarse.case_id == case] == [on_the_lung]


def test_a_curve_says_nothing_beyond_its_end() -> None:
    curve = robust_curve(reads(), "label")
    cut = curve.until(5.0)
    assert cut.at(5.0) == curve.at(5.0)
    assert cut.at(5.1).value is None
    assert cut.sizes.max() <= 5.0


def test_a_flip_at_a_smaller_size_carries_to_larger_ones() -> None:
    rows = fabricate.rows(n=30, against=("label",))
    case = next(row["case_id"] for row in rows if row["attack"] == "clean" and not row["flips"])
    for row in rows:
        if row["case_id"] == case and row["attack"] == "fgsm":
            flips = row["size"] == 1.4
            row.update(prediction=row["reference"] if not flips else 1 - row["reference"], flips=int(flips))
    found = [row for row in accuracy_under_attack(reads(rows), "label") if row["attack"] == "fgsm"]
    assert found[-1]["carried"].value == pytest.approx(found[-1]["accuracy"].value - 1 / 30)
    carried = [row["carried"].value for row in found]
    assert carried == sorted(carried, reverse=True)


def test_a_rise_with_the_size_is_marked() -> None:
    rows = fabricate.rows(n=10, against=("label",))
    for row in rows:
        if row["attack"] == "fgsm":
            row["prediction"] = 1 - row["label"] if row["size"] < 5 else row["label"]
    found = [row["rises"] for row in accuracy_under_attack(reads(rows), "label") if row["attack"] == "fgsm"]
    assert found == [False, False, True, True]


@pytest.mark.parametrize(("slope", "value"), [(1e-6, "clean"), (1e4, 0.0)])
def test_all_robust_and_none_robust(slope: float, value: float | str) -> None:
    found = reads(slope=slope)
    expected = found.correct.mean() if value == "clean" else value
    assert robust_curve(found, "label").at(1.4).value == pytest.approx(expected)
    assert merged_found_size(found, "label").improved == 0


def test_an_undecided_read_is_no_read() -> None:
    rows = fabricate.rows(n=12)
    for row in rows:
        if row["case_id"] == "case-0003":
            row.update(prediction=-1, logits=[float("nan")] * 2, margin=float("nan"),
                       reference=row["label"] if row["against"] == "label" else -1)
    found = reads(rows)
    assert merged_found_size(found, "prediction").found[3] == 0
    assert not found.correct[3]
    assert robust_curve(found, "label").at(0).value == pytest.approx(found.correct.mean())


def test_no_rows_and_no_attacks() -> None:
    empty = reads([])
    assert len(empty) == 0
    assert robust_curve(empty, "label").at(1).value is None
    assert accuracy_under_attack(empty, "label") == []
    clean = reads([row for row in fabricate.rows(n=5) if row["attack"] == "clean"])
    assert merged_found_size(clean, "label").improved is None
    assert robust_curve(clean, "label").n == 0
    assert accuracy_under_attack(clean, "prediction") == []


def test_an_attack_without_its_clean_row_is_refused() -> None:
    rows = [row for row in fabricate.rows(n=3) if row["attack"] != "clean" or row["case_id"] != "case-0001"]
    with pytest.raises(InputRefused, match=r"case-0001.*no clean row"):
        reads(rows)


def test_the_order_of_rows_does_not_matter() -> None:
    rows = fabricate.rows(n=25)
    one, other = reads(rows), reads(rows[::-1])
    assert np.array_equal(one.case_id, other.case_id)
    assert np.array_equal(robust_curve(one, "label").accuracy, robust_curve(other, "label").accuracy)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0, np.inf]), st.booleans(), st.booleans(),
                          st.integers(0, 4)), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_the_step_curve_and_its_band_equal_a_share_at_each_size(images: list[tuple[Any, ...]]) -> None:
    found, before, after, patients = (np.array(column) for column in zip(*images, strict=True))
    curve = step_curve(found, before, after, patients.astype(str))
    for size in (0.0, 0.4, 0.5, 1.5, 2.0, 9.0):
        expected = share(np.where(found <= size, after, before), patients)
        ours = curve.at(size)
        assert ours.value == pytest.approx(expected.value)
        assert [ours.low, ours.high] == pytest.approx([expected.low, expected.high], abs=1e-7)


def test_the_median_smallest_flip() -> None:
    found = np.array([*range(1, 12), np.inf])
    assert median_flip(found, np.arange(12).astype(str))[0] == 6
    assert median_flip(found, (np.arange(12) % 9).astype(str))[0] == 6
    assert np.isnan(median_flip(found, (np.arange(12) % 9).astype(str))[1:]).all()      # too few patients
    assert np.isnan(median_flip(found[:9], np.arange(9).astype(str))).all()             # half of nine reads
    assert median_flip(np.full(40, np.inf), np.arange(40).astype(str)) == (np.inf, np.inf, np.inf)
    assert np.isnan(median_flip(np.zeros(0), np.zeros(0, str))).all()


@pytest.mark.parametrize(("stronger", "ordered"), [("larger", [1.4, 5.6]), ("smaller", [5.6, 1.4])])
def test_levels_in_another_unit_are_no_sizes(monkeypatch: pytest.MonkeyPatch, stronger: Any, ordered: list[float]
                                             ) -> None:
    monkeypatch.setattr(registry, "THREATS", registry.Registry("threat"))
    monkeypatch.setattr("steadyread.metrics.reads.THREATS", registry.THREATS)
    registry.THREATS.add(registry.Axis("Sharpness", "sharpness", "lp/mm", stronger))
    plain = fabricate.rows()
    turned = [row | {"attack": "blur", "threat": "Sharpness", "unit": "lp/mm"} for row in plain
              if row["attack"] == "pgd" and row["size"] in ordered]
    both, without = reads(plain + turned), reads(plain)
    for against in ("label", "prediction"):
        assert accuracy_under_attack(both, against) == accuracy_under_attack(without, against)
        assert robust_curve(both, against).accuracy.tolist() == robust_curve(without, against).accuracy.tolist()
        rows = [row for row in accuracy_on_other_axes(both) if row["against"] == against]
        assert [(row["level"], row["unit"]) for row in rows] == [(level, "lp/mm") for level in ordered]
        known = {row["size"]: row["accuracy"] for row in accuracy_under_attack(without, against)
                 if row["attack"] == "pgd"}
        assert [row["accuracy"] for row in rows] == [known[level] for level in ordered]
    assert accuracy_on_other_axes(without) == []
