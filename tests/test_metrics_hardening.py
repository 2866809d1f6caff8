"""Before and after hardening: exact counts on hand-made reads, exact sizes on a linear model, the right words."""

import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

import fabricate
from steadyread import records
from steadyread.errors import InputRefused
from steadyread.metrics import Estimate, Outcome, Reads, reads_of
from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.hardening import ROBUST, Compared, compared, headline
from steadyread.metrics.robustness import robust_curve
from steadyread.metrics.summary import as_json
from steadyread.metrics.verdicts import way_of
from steadyread.units import Bounds
from steadyread.words.hardening import (
    failure,
    flips_said,
    hardening_short,
    hardening_verdict,
    under_attack,
)

HU = Bounds(-1000, 400, "HU")
INF = np.inf


def hand(right: list[int], found: list[float] | None = None, patients: int = 0, label: int = 0) -> Reads:
    """Reads of two classes, all of one label: `right` is 1 where the clean read is; flips where `found` says."""
    n = len(right)
    correct = np.array(right, bool)
    outcomes = ()
    if found is not None:
        size = np.where(correct, found, 0.0)
        outcomes = (Outcome("smallest_flip", "Linf", "label", float("nan"), np.ones((n, 1)),
                            np.isfinite(size)[:, None].astype(float), np.full((n, 1), 1 - label), size[:, None]),)
    return fabricate.one_network(np.array([f"case-{place:03d}" for place in range(n)]),
                 np.array([f"patient-{place % (patients or n):03d}" for place in range(n)]), np.full(n, label),
                 np.where(correct, label, 1 - label), np.zeros((n, 2)), outcomes)


def linear(**settings: Any) -> Reads:
    return reads_of(records.as_table(fabricate.rows(**settings)), "test", "plain", HU)


def robust(found: dict[str, Any], size: float) -> Contrast:
    """The contrast of the robust accuracy at a size."""
    row = next(row for row in found["rows"] if row.measure == ROBUST and row.size["native"] == size)
    return cast(Contrast, row.contrast)


def test_the_counts_are_those_of_a_hand() -> None:
    row = compared(hand([1] * 12 + [0] * 8), hand([1] * 10 + [0] * 2 + [1] * 5 + [0] * 3), [], HU)["clean"]
    assert (row.before.value, row.after.value) == (0.6, 0.75)
    assert row.difference.value == pytest.approx(0.15)
    assert (row.gained, row.lost) == (5, 2)
    assert row.p == pytest.approx(2 * (1 + 7 + 21) / 128)     # at most 2 of 7 heads, or at least 5


def test_half_the_slope_doubles_every_smallest_flip() -> None:
    before, after = linear(slope=0.5, largest=1e6), linear(slope=0.25, largest=1e6)
    found = compared(before, after, [1.4, 2.8, 5.6], HU)
    flips = found["flips"]
    assert np.allclose(flips["after"], 2 * flips["before"])
    assert (flips["larger"].value, flips["smaller"].value, flips["ties"]) == (1.0, 0.0, 0)
    assert flips["ratio"].value == pytest.approx(2)
    assert flips["p"] == pytest.approx(0.5 ** (flips["images"] - 1))
    held = {size: robust(found, size) for size in (1.4, 2.8, 5.6)}
    assert held[5.6].after.value == held[2.8].before.value
    assert held[2.8].after.value == held[1.4].before.value


def test_a_merged_row_is_the_difference_of_the_two_curves() -> None:
    before, after = linear(slope=0.4, spread=0.5), linear(slope=0.15, spread=0.7)
    found = compared(before, after, [0.7, 1.4, 2.8, 5.6, 20.0], HU)
    for size in (0.7, 1.4, 2.8, 5.6, 20.0):
        merged = robust(found, size)
        sides = [robust_curve(reads, "label").at(size) for reads in (before, after)]
        assert [merged.before.value, merged.after.value] == [side.value for side in sides]
        assert merged.difference.value == pytest.approx(sides[1].value - sides[0].value)
        assert merged.gained - merged.lost == round(120 * merged.difference.value)
        assert merged.difference.low <= merged.difference.value <= merged.difference.high


def test_swapping_before_and_after_swaps_the_answer() -> None:
    first, second = linear(slope=0.4, spread=0.5), linear(slope=0.15, spread=0.7)
    there, back = compared(first, second, [2.8], HU), compared(second, first, [2.8], HU)
    one, other = robust(there, 2.8), robust(back, 2.8)
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert (one.gained, one.lost, one.p) == (other.lost, other.gained, other.p)
    assert there["flips"]["larger"].value == back["flips"]["smaller"].value


def test_a_paired_interval_is_narrower_than_one_of_two_groups() -> None:
    row = robust(compared(linear(slope=0.4), linear(slope=0.35), [2.8], HU), 2.8)
    apart = np.hypot(row.before.high - row.before.low, row.after.high - row.after.low)
    assert row.difference.high - row.difference.low < 0.6 * apart


def test_images_are_matched_by_id_whatever_their_order_and_number() -> None:
    rows = fabricate.rows(slope=0.1)
    fewer = [row for row in rows if row["case_id"] > "case-0019"]
    whole, part = linear(slope=0.25), reads_of(records.as_table(fewer[::-1]), "test", None, HU)
    found = compared(whole, part, [2.8], HU)
    assert (found["images"], found["only_before"], found["only_after"]) == (100, 20, 0)
    assert found["clean"].gained == found["clean"].lost == 0
    assert found["flips"]["larger"].value == 1.0


def test_other_labels_are_refused_with_the_images_named() -> None:
    reads = linear()
    other = replace(reads, label=np.where(np.arange(120) == 7, 1 - reads.label, reads.label))
    with pytest.raises(InputRefused, match=r"1 of 120 images have another label.*'case-0007'"):
        compared(reads, other, [], HU)


def test_no_common_image_and_no_common_fold_are_refused() -> None:
    reads = linear()
    with pytest.raises(InputRefused, match="no image in common"):
        compared(reads, linear(name="other"), [], HU)
    with pytest.raises(InputRefused, match=r"folds \(-1,\) and \(0, 1\), which have none in common"):
        compared(reads, in_folds(0.1), [], HU)


def in_folds(slope: float) -> Reads:
    """The reads of two alike networks, a fold each."""
    rows = fabricate.rows(slope=slope)
    return reads_of(records.as_table([row | {"fold": fold} for fold in range(2) for row in rows]), "test", None, HU)


def test_two_folds_of_alike_networks_tell_what_one_tells_but_test_by_patients() -> None:
    """The networks of two folds read the same images: their changes are no further evidence."""
    alone, both = (compared(before, after, [2.8], HU) for before, after in (
        (linear(slope=0.25), linear(slope=0.1)), (in_folds(0.25), in_folds(0.1))))
    first, second = (robust(found, 2.8) for found in (alone, both))
    assert second.gained == 2 * first.gained > 0
    assert both["images"] == alone["images"] == 120
    assert second.difference.value == pytest.approx(first.difference.value)
    assert (second.difference.low, second.difference.high) == pytest.approx(
        (first.difference.low, first.difference.high))
    assert second.p >= first.p


def test_images_without_a_label_are_left_out() -> None:
    reads = hand([1, 1, 0, 0], [1.0, 2.0, 0.0, 0.0])
    known = replace(reads, label=np.array([0, -1, 0, -1]))
    assert compared(known, known, [], HU)["images"] == 2
    none = replace(reads, label=np.full(4, -1))
    found = compared(none, none, [1.0], HU)
    assert found["images"] == 0
    assert found["clean"].difference.value is None
    assert way_of(found["clean"]) == "few"


def test_an_undecided_read_is_wrong() -> None:
    before = hand([1, 1, 1, 1])
    after = replace(before, prediction=np.array([0, 0, -1, 0])[:, None])
    assert compared(before, after, [], HU)["clean"].lost == 1


def test_an_attack_that_one_network_met_alone_weighs_on_neither() -> None:
    every = linear(slope=0.25)
    kept = tuple(outcome for outcome in every.outcomes if outcome.attack == "fgsm")
    found = compared(replace(every, outcomes=kept), every, [5.6], HU)
    assert robust(found, 5.6).difference.value == 0
    assert [(row.attack, row.exact) for row in found["rows"]] == [("", True), ("fgsm", True), ("all", False)]
    assert found["flips"]["searched"] is False
    assert found["flips"]["images"] == 0
    assert flips_said(found["flips"]) is None


def test_beyond_the_search_only_tried_sizes_are_told() -> None:
    before, after = linear(slope=0.4, largest=3.0), linear(slope=0.1, largest=3.0)
    told = compared(before, after, [2.0, 4.0, 5.6], HU, limit=3.0)["rows"]
    assert [(row.size["native"], row.exact) for row in told if row.measure == ROBUST] == [(2.0, True), (5.6, False)]


def test_every_fixed_attack_of_a_size_has_its_row() -> None:
    before, after = linear(slope=0.4), linear(slope=0.2)
    found = compared(before, after, [2.8], HU)
    assert [row.attack for row in found["rows"]] == ["", "fgsm", "bim", "pgd", "all"]
    for each in found["rows"][1:4]:
        outcome = next(one for one in before.fixed("label") if (one.attack, one.level) == (each.attack, 2.8))
        assert each.contrast.before.value == np.mean(outcome.prediction == before.labels)
        assert each.contrast.before.value >= robust(found, 2.8).before.value


def test_an_attack_on_some_images_is_judged_on_those() -> None:
    """And by their patients: where few were attacked, there is no interval."""
    whole = linear()
    some = replace(whole, outcomes=tuple(
        outcome.within(np.arange(120)[:, None] < 50) if outcome.attack == "pgd" else outcome
        for outcome in whole.outcomes))
    rows = {row.attack: row.contrast for row in compared(whole, some, [2.8], HU)["rows"]}
    assert rows["pgd"].difference.n == rows["pgd"].before.n == 50
    assert rows["fgsm"].before.n == 120
    few = replace(whole, outcomes=tuple(outcome.within(np.arange(120)[:, None] < 5) for outcome in whole.outcomes))
    for row in compared(few, few, [2.8], HU)["rows"][1:]:
        assert row.contrast.difference.low is None


def test_flips_that_were_never_found() -> None:
    before = hand([1] * 12, [1.0, 2.0, 4.0, INF, INF, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    after = hand([1] * 12, [2.0, 1.0, INF, 4.0, INF, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1.0])
    flips = compared(before, after, [1.5], HU)["flips"]
    assert (flips["larger"].value, flips["smaller"].value, flips["ties"]) == (8 / 12, 2 / 12, 2)
    assert flips["ratio"].n == 11     # neither network lets the fifth flip: it has no ratio
    assert flips["ratio"].value == 3
    steady = compared(before, hand([1] * 12, [INF] * 12), [1.5], HU)["flips"]
    assert steady["ratio"].value == INF
    assert steady["medians"]["after"]["native"] == "inf"
    assert "most were no longer flipped" in str(flips_said(steady))
    assert json.loads(json.dumps(as_json(steady)))["ratio"]["value"] == "inf"


def test_flips_are_of_the_reads_that_both_get_right() -> None:
    found = compared(hand([1, 1, 0, 0], [1.0, 2.0, 0, 0]), hand([1, 0, 1, 0], [3.0, 0, 5.0, 0]), [], HU)["flips"]
    assert (found["before"].tolist(), found["after"].tolist()) == ([1.0], [3.0])


def test_against_the_prediction_a_wrong_read_may_be_pushed_to_right() -> None:
    reads = linear()
    row = robust(compared(reads, reads, [1e5], HU, against="prediction", limit=1e6), 1e5)
    assert row.before.value == pytest.approx(1 - reads.correct.mean())


def test_too_few_patients_have_no_interval() -> None:
    found = compared(hand([1] * 10 + [0] * 10, patients=4), hand([1] * 20, patients=4), [], HU)
    assert found["clean"].difference.low is None
    assert way_of(found["clean"]) == "few"


def row(value: float | None, low: float | None, high: float | None, p: float, gained: int = 9, lost: int = 3
        ) -> Contrast:
    return Contrast(Estimate(0.5), Estimate(0.5 + (value or 0)), Estimate(value, low, high, 100), gained=gained,
                    lost=lost, p=p)


@pytest.mark.parametrize(("given", "expected"), [
    (row(0.2, 0.1, 0.3, 0.001), "better"), (row(-0.2, -0.3, -0.1, 0.001), "worse"),
    (row(0.02, -0.1, 0.1, 0.7), "alike"), (row(0.05, 0.01, 0.1, 0.12), "alike"),
    (row(0.0, 0.0, 0.0, 1, 0, 0), "same"), (row(0.2, None, None, 0.01), "few"),
    (row(None, None, None, 1.0), "few"), (row(0.1, -0.1, 0.2, 0.01), "alike")])
def test_a_gain_is_one_where_interval_and_test_both_say_so(given: Contrast, expected: str) -> None:
    assert way_of(given) == expected
    told = under_attack(Compared(ROBUST, given, size={"native": 2.8, "unit": "HU", "of_range": 0.002}), "40 patients")
    assert ("steadier:" in told and "cannot" not in told) == (expected == "better")
    assert ("less steady" in told) == (expected == "worse")


@pytest.mark.parametrize(("after", "begins"), [
    ([1.0] * 100, "Hardening changed nothing here"),
    ([0.5] * 60 + [3.0] * 40, "Hardening made the reads less steady")])
def test_the_verdict_is_right_where_hardening_did_nothing_or_harm(after: list[float], begins: str) -> None:
    found = compared(hand([1] * 100, [1.0] * 100), hand([1] * 100, after), [0.7], HU)
    told = hardening_verdict(found, {"chosen_epoch": 2}, 0.7)
    assert told.startswith(begins)
    assert "steadier" not in told


def test_a_failure_is_never_a_success() -> None:
    found = compared(hand([1] * 50, [1.0] * 50), hand([1] * 50, [9.0] * 50), [2.0], HU)
    told = hardening_verdict(found, {"failed": "every epoch read all images as one class"}, 2.0)
    assert told == "Every epoch read all images as one class. No gain is claimed."
    kept = hardening_verdict(found, {"chosen_epoch": 0}, 2.0)
    assert "there is no gain" in kept
    assert "steadier" not in kept
    assert hardening_short(None, {}) == "The hardened network has not been assessed yet."


def test_a_network_that_says_one_class_has_not_been_hardened() -> None:
    before = replace(hand([1] * 20), label=np.arange(20) % 2, prediction=np.arange(20)[:, None] % 2)
    silent = replace(before, prediction=np.ones((20, 1), np.int64))
    found = compared(before, silent, [], HU)
    assert found["classes"] == {"label": 2, "before": 2, "after": 1}
    assert "one and the same class" in str(failure({}, found))
    assert failure({}, compared(before, before, [], HU)) is None


def test_the_headline_is_the_training_s_own_size_else_the_largest() -> None:
    found = compared(linear(), linear(slope=0.1), [1.4, 2.8, 5.6], HU)
    rows = [headline(found["rows"], size) for size in (2.8, 3.0, None)]
    assert [row.size["native"] for row in rows if row and row.size] == [2.8, 5.6, 5.6]
    assert headline(compared(hand([1]), hand([1]), [], HU)["rows"], 2.8) is None


def test_a_network_that_said_one_class_before_has_not_stopped_reading() -> None:
    said = [failure(None, {"classes": {"label": 2, "before": before, "after": 1}}) or "" for before in (2, 1)]
    assert "has stopped reading" in said[0]
    assert "stopped" not in said[1]
    assert "before hardening and after it" in said[1]
    assert failure(None, {"classes": {"label": 1, "before": 1, "after": 1}}) is None
