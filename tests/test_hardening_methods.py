"""Before and after hardening against noise: exact answers on hand-made networks, and words right either way."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from steadyread.metrics.contrasts import area_contrast, contrast, flips_of
from steadyread.metrics.hardened import Hardened, Hardenings, searched_harder
from steadyread.metrics.hardening import ACCURACY, CHANGED, compared, headline
from steadyread.metrics.hardening_methods import silent_folds, step_networks, summarise_methods
from steadyread.metrics.paired_tests import holm, sign_flip_test
from steadyread.metrics.pairs import paired
from steadyread.metrics.reads import PLAUSIBLE, RINGS, Outcome, Reads
from steadyread.units import Bounds
from steadyread.words.hardening import hardening_words, silent_said, undercounted_said

CASES, FOLDS = 60, 3


def networks(name: str, flipped: float = 0.5, wrong: float = 0.1, trials: int = 4, *, cases: int = CASES,
             folds: int = FOLDS, attack: str = RINGS) -> Reads:
    """Test cases of two classes, two to a patient; the first `flipped` share flip in half of the trials, the last
    `wrong` share are read wrong."""
    at = np.arange(cases)
    label = at % 2
    prediction = np.where(at >= cases * (1 - wrong), 1 - label, label)
    logit = np.where(prediction == 1, 2.0, -2.0) + 0.01 * at
    shape = (cases, folds)
    count = np.where(at < flipped * cases, max(trials // 2, 1), 0)
    outcomes = tuple(Outcome(attack, "CTNoise", "prediction", mas, np.full(shape, float(trials)),
                             np.repeat(count[:, None], folds, 1).astype(float), np.full(shape, -1),
                             np.full(shape, np.inf), {"drift": np.full(shape, -0.1), "jitter": np.full(shape, 0.2)})
                     for mas in (50.0, 100.0))
    logits = np.repeat(np.stack([np.zeros(cases), logit], axis=1)[:, None], folds, 1)
    return Reads(np.array([f"c{one:03d}" for one in at]), np.array([f"p{one // 2:03d}" for one in at]), label,
                 tuple(range(folds)), np.ones(shape, bool), np.full(shape, "test", dtype="<U10"),
                 np.repeat(prediction[:, None], folds, 1), logits, outcomes, variant=name)


def training(name: str = "adaptive", **changed: Any) -> dict[str, Any]:
    return {"name": name, "method": name, "passes": 1000, "rule": "as stated", "failed": None, "stopped": None,
            "rounds": [{"round": 1, "attacked": 10, "found": 4, "taught": 14, "chosen_epoch": 1, "epochs": [
                {"epoch": 1, "validation_auc": 0.8, "validation_steady": 0.5}]}]} | changed


def method(after: Reads, *rounds: Reads, **changed: Any) -> Hardened:
    told = training(after.variant, **changed)
    return Hardened(after.variant, after, rounds, dict.fromkeys(after.folds, told))


def summary(*methods: Hardened, before: Reads | None = None, **settings: Any) -> dict[str, Any]:
    told = {"method": methods[0].name, "noise": "rings", "auc_cost": 0.01} | settings
    found = summarise_methods(Hardenings(told, before or networks("before", 0.6), methods), 100.0)
    return found | hardening_words(found)


def test_a_hardening_is_never_set_against_a_network_that_it_did_not_begin_with() -> None:
    before, after = networks("before", 0.6), networks("fresh", 0.2)
    strided, control = method(after, variant="strided"), method(networks("as_it_is", 0.4), method="none",
                                                                variant="strided")
    assert Hardenings({}, before, (method(after),)).before_of(method(after)) is before
    assert Hardenings({"variant": "strided"}, before, (strided,)).before_of(strided) is before
    assert Hardenings({}, before, (strided, control)).before_of(strided) is control.reads
    assert Hardenings({}, before, (strided,)).before_of(strided) is None


def test_the_sign_flip_test_is_that_of_a_hand() -> None:
    values = np.array([1.0, 2.0, -0.5, 3.0])
    patients = np.array(["a", "b", "c", "d"])
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=4)]
    assert sign_flip_test(values, patients) == np.mean(np.array(sums) >= 5.5 - 1e-9)
    assert sign_flip_test(np.ones(4), patients) == 2 / 16
    assert sign_flip_test(np.ones(4), np.array(["a", "a", "b", "b"])) == 2 / 4     # patients, not images
    assert sign_flip_test(np.array([1.0, -1.0]), np.array(["a", "a"])) == 1.0
    assert sign_flip_test(np.zeros(0), np.zeros(0, str)) == 1.0


def test_drawn_signs_agree_with_counted_ones() -> None:
    patients = np.arange(14).astype(str)
    values = np.r_[np.full(9, 0.3), np.full(5, -0.3)]
    exact = np.mean([abs(sum(signs)) >= 4 for signs in product((-1, 1), repeat=14)])
    assert sign_flip_test(values, patients) == pytest.approx(exact, abs=0.012)
    assert sign_flip_test(values / 0.3, patients) == pytest.approx(exact, rel=1e-12)      # counts: not drawn
    assert sign_flip_test(np.full(200, 0.3), np.arange(200).astype(str)) == pytest.approx(1 / 20_001)


def test_with_one_read_a_patient_it_is_mcnemar_s() -> None:
    values = np.r_[np.ones(5), np.full(2, -1.0)]
    for copies, images in ((1, "abcdefg"), (2, "aabbccddeeffgg")):     # two alike reads of each say no more
        p = sign_flip_test(np.repeat(values, copies), np.array(list(images)))
        assert p == pytest.approx(2 * (1 + 7 + 21) / 128)     # at most 2 of 7 heads, or at least 5


def test_holm_is_that_of_a_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_paired_row_has_the_counts_of_a_hand() -> None:
    before = np.array([[1, 1], [1, 0], [0, 0], [1, np.nan]], float)
    after = np.array([[0, 1], [0, 0], [0, 1], [np.nan, 1]], float)
    row = contrast(before, after, np.array(["a", "b", "c", "d"]))
    assert (row.difference.n, row.before.folds, row.after.folds) == (3, (2 / 3, 1 / 3), (0.0, 2 / 3))
    assert row.difference.folds == (pytest.approx(-2 / 3), pytest.approx(1 / 3))
    assert row.difference.value == pytest.approx(-1 / 6)
    assert row.ratio.value == pytest.approx((1 / 3) / (1 / 2))
    assert row.difference.low is None     # four patients


def test_no_flips_after_still_have_an_upper_end() -> None:
    row = contrast(np.ones((40, 1)), np.zeros((40, 1)), np.arange(40).astype(str))
    assert (row.ratio.value, row.ratio.low) == (0.0, 0.0)
    assert row.ratio.high == pytest.approx(1 - 0.025 ** (1 / 40))
    none = contrast(np.zeros((40, 1)), np.zeros((40, 1)), np.arange(40).astype(str))
    assert none.ratio.value is None
    assert none.p == 1.0


def test_pairs_are_matched_by_case_and_fold() -> None:
    before, after = networks("before"), networks("after")
    order = np.random.default_rng(0).permutation(CASES)
    shuffled = replace(after.of(order), folds=(2, 5, 0))
    pair = paired(before, shuffled)
    assert pair is not None
    assert pair.before.folds == pair.after.folds == (0, 2)
    np.testing.assert_array_equal(pair.before.case_id, pair.after.case_id)
    flips = flips_of(pair, RINGS, 100.0, "test")
    assert flips is not None
    np.testing.assert_array_equal(flips.before, flips.after)
    assert paired(before, replace(after, folds=(7, 8, 9))) is None


def test_unequal_trials_are_compared_at_the_smaller_number() -> None:
    pair = paired(networks("before", 0.5, trials=4), networks("after", 0.5, trials=2))
    assert pair is not None
    flips = flips_of(pair, RINGS, 100.0, "test")
    assert flips is not None
    assert (flips.trials, flips.most) == (2, (4, 2))
    assert flips.before[0, 0] == pytest.approx(1 - 1 / 6)      # 2 of 4 flip: 2 drawn, both of the other 2
    assert flips.after[0, 0] == 1.0
    row = summary(method(networks("adaptive", 0.3, trials=2)))["methods"][0]
    assert row["trials"] == {"before": 4, "after": 2, "compared": 2}


def test_searches_that_stop_at_a_flip_need_the_same_number() -> None:
    def stopping(name: str, most: float) -> Reads:
        told = networks(name)
        under = told.under[RINGS, 100.0]
        trials = np.where(under.flips > 0, 1.0, most)
        one = replace(under, trials=trials, flips=np.minimum(under.flips, 1))
        return replace(told, outcomes=(one,))

    alike = paired(stopping("before", 4.0), stopping("after", 4.0))
    other = paired(stopping("before", 4.0), stopping("after", 6.0))
    assert alike is not None
    assert other is not None
    flips = flips_of(alike, RINGS, 100.0, "test")
    assert flips is not None
    assert flips.trials is None
    assert flips.before.mean() == 0.5
    assert flips_of(other, RINGS, 100.0, "test") is None
    assert flips_of(alike, PLAUSIBLE, 100.0, "test") is None


def test_the_areas_are_paired() -> None:
    pair = paired(networks("before", wrong=0.1), networks("after", wrong=0.4))
    assert pair is not None
    row = area_contrast(pair, "test")
    assert row.difference.value == pytest.approx(row.after.value - row.before.value)
    assert row.difference.high < 0
    same = area_contrast(replace(pair, after=pair.before), "test")
    assert same.difference.value == 0.0


def test_the_areas_of_ratings_are_paired_as_malignant_against_benign() -> None:
    random = np.random.default_rng(0)
    sides = [replace(networks(name), label=np.arange(CASES) % 5, logits=random.normal(size=(CASES, FOLDS, 5)) + (
        gain * np.eye(5)[np.arange(CASES) % 5][:, None])) for name, gain in (("before", 2.0), ("after", 0.5))]
    pair = paired(*sides)
    assert pair is not None
    row = area_contrast(pair, "test")
    assert row.difference.value == pytest.approx(row.after.value - row.before.value)
    assert row.difference.low <= row.difference.value <= row.difference.high


def test_changes_by_noise_stand_beside_changes_of_pixels() -> None:
    """A network hardened on attacked images may be met by the noise of the study too."""
    found = compared(networks("", 0.6), networks("pgd", 0.2), [2.8], Bounds(-1000, 400, "HU"))
    assert [(row.measure, row.threat, row.size and row.size["native"]) for row in found["rows"]] == [
        (ACCURACY, "", None), (CHANGED, "CTNoise", 50.0), (CHANGED, "CTNoise", 100.0)]
    assert found["rows"][1].contrast.difference.value == pytest.approx(-0.4)
    assert headline(found["rows"], 2.8) is None


def test_fewer_flips_are_steadier() -> None:
    found = summary(method(networks("adaptive", 0.1)))
    row = found["methods"][0]
    assert row["san"].before.value == pytest.approx(0.6)
    assert row["san"].after.value == pytest.approx(0.1)
    assert (row["way"], row["auc_kept"]) == ("better", "yes")
    assert "made the reads steadier: 10.0 % of the test reads" in found["verdict"]
    assert "That is 0.17 times as many as before (95 %: " in found["verdict"]
    assert found["best"] is None


def test_a_harm_is_a_harm_round_by_round() -> None:
    rounds = networks("adaptive", 0.6), networks("adaptive", 0.9)
    found = summary(method(rounds[1], *rounds), before=networks("before", 0.3))
    assert found["methods"][0]["way"] == "worse"
    assert "made the reads less steady: 90.0 %" in found["verdict"]
    assert [row["san"].difference.value for row in found["methods"][0]["by_round"]] == pytest.approx([0.3, 0.3])
    steps = step_networks(Hardenings({}, networks("before"), (method(rounds[1], *rounds),)))
    assert [(name, number) for name, number, _ in steps] == [("before", 0), ("adaptive", 1), ("adaptive", 2)]


def test_few_patients_tell_nothing() -> None:
    found = summary(method(networks("adaptive", 0.2, cases=8)), before=networks("before", 0.6, cases=8))
    assert found["methods"][0]["way"] == "few"
    assert "cannot be told from so few patients" in found["verdict"]


def test_lost_reads_are_not_steadiness() -> None:
    found = summary(method(networks("adaptive", 0.2, wrong=0.75)))
    row = found["methods"][0]
    assert row["san"].after.value < row["san"].before.value
    assert row["robust"].after.value <= row["robust"].before.value
    assert row["lost_reads"]
    assert row["auc_kept"] == "no"
    assert "the reads were lost, not made steadier" in found["verdict"]


def test_a_silent_network_is_named_and_never_the_best() -> None:
    silent = networks("fresh", 0.0)
    silent = replace(silent, prediction=np.ones_like(silent.prediction))
    assert silent_folds(silent, "test") == [0, 1, 2]
    assert silent_folds(replace(silent, label=np.ones_like(silent.label)), "test") == []
    found = summary(method(networks("adaptive", 0.3)), method(silent), method(networks("clean", 0.55)))
    assert found["methods"][1]["silent"] == [0, 1, 2]
    assert found["best"]["name"] == "adaptive"
    main = summary(method(replace(silent, variant="adaptive")))
    assert "It has stopped reading" in main["verdict"]
    assert main["methods"][0]["silent_before"] == []
    before = main["methods"][0] | {"silent_before": [0, 1, 2]}
    assert "It did so before, and its steadiness is worth nothing" in silent_said(before, 3)
    assert "has stopped reading" in silent_said(before | {"silent_before": [0]}, 3)


def test_the_best_is_the_steadiest_that_kept_its_auc() -> None:
    found = summary(method(networks("adaptive", 0.4)), method(networks("fresh", 0.1)),
                    method(networks("pgd", 0.0, wrong=0.5)))
    best = found["best"]
    assert (best["name"], best["against"], best["fewest"]) == ("fresh", "adaptive", "pgd")
    assert best["san"].difference.value == pytest.approx(-0.3)
    assert "“fresh” leaves the fewest flips (10.0 %" in found["verdict"]
    assert "“pgd” leaves fewer (0.0 %" in found["verdict"]
    none = summary(method(networks("adaptive", 0.4, wrong=0.3)), method(networks("fresh", 0.1, wrong=0.3)))
    assert none["best"]["within_cost"] is False
    assert "No method kept its AUC within 0.01" in none["verdict"]


def test_p_is_corrected_for_the_methods() -> None:
    methods = [method(networks(name, share)) for name, share in (("adaptive", 0.5), ("fresh", 0.1), ("clean", 0.6))]
    rows = summary(*methods)["methods"]
    assert rows[0]["p_holm"] == pytest.approx(min(1.0, 2 * rows[0]["san"].p))
    assert rows[1]["p_holm"] == pytest.approx(3 * rows[1]["san"].p)
    assert rows[2]["p_holm"] == 1.0


def test_errors_of_the_checks_take_the_figures_back() -> None:
    one = replace(method(networks("adaptive", 0.1)), findings=[
        (0, {"check": "zero gradients", "severity": "error", "message": "all are 0"}),
        (1, {"check": "zero gradients", "severity": "error", "message": "all are 0"})])
    found = summary(one)
    assert "cannot be trusted while these checks of the hardened network fail: zero gradients" in found["verdict"]
    assert found["findings"][0]["networks"] == ["adaptive, fold 0", "adaptive, fold 1"]


@pytest.mark.parametrize(("flips", "more", "told"), [(10, 11, False), (10, 20, True), (2, 4, False), (0, 3, True)])
def test_a_network_that_is_only_hard_to_search_is_told_of(flips: int, more: int, told: bool) -> None:
    row = {"images": 60, "flips": flips, "flips_more": more, "gradients_more": 200, "mas": 100.0}
    said = undercounted_said({"name": "fresh", "harder": searched_harder({0: {"rows": [row]}, 1: {"rows": []}})})
    assert ("undercounted" in said) is told
    assert searched_harder({}) is None
