"""SAN, SAR, their intervals over patients, the parts of the gap, subgroups and the rest: against exact answers."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fabricate_noise as made
from steadyread import records
from steadyread.errors import InputRefused
from steadyread.metrics import counting, dose_fall, noise, plausibility
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.dose import nearest_dose
from steadyread.metrics.drift import dose_laws, drift_rows
from steadyread.metrics.intervals import clopper_pearson, share
from steadyread.metrics.noise_classes import areas, classification, roc_curves, variant_rows, without_copies
from steadyread.metrics.noise_summary import nearest_to_stated
from steadyread.metrics.over_folds import mean_over_folds, share_over_folds, statistic_over_folds
from steadyread.metrics.reads import PAPER, PLAUSIBLE, RANDOM, RINGS, Outcome, Reads, columns_of
from steadyread.metrics.subgroups import UNKNOWN, _binned, subgroups
from steadyread.metrics.tidy import ABOVE, AUC, numbers_of

SETTINGS = made.Made()


@pytest.fixture(scope="module")
def tables() -> dict[int, pa.Table]:
    return {fold: made.job_table(SETTINGS, fold=fold) for fold in range(SETTINGS.folds)}


@pytest.fixture(scope="module")
def main(tables: dict[int, pa.Table]) -> Reads:
    return reads_of(tables, variant="original")


def test_networks_hold_what_the_records_say(main: Reads, tables: dict[int, pa.Table]) -> None:
    assert main.folds == (0, 1)
    assert len(main) == SETTINGS.cases
    assert main.noises[0] == RANDOM
    assert main.doses() == list(made.DOSES)
    row = next(row for row in tables[1].to_pylist() if row["attack"] == RINGS and row["size"] == 50.0)
    at = main.case_id.tolist().index(row["case_id"])
    under = main.under[RINGS, 50.0]
    assert under.flips[at, 1] == row["flips"]
    assert under["ring_error"][at, 1] == pytest.approx(row["ring_error"])
    assert main.part[at, 1] == row["part"]
    assert main.judged == "test"
    told = made.network(SETTINGS, "original", 1)
    np.testing.assert_allclose(main.margin[:, 1], np.abs(told["logit"]))


def test_the_order_of_the_rows_does_not_matter(main: Reads, tables: dict[int, pa.Table]) -> None:
    shuffled = {fold: table.take(np.random.default_rng(fold).permutation(table.num_rows))
                for fold, table in reversed(tables.items())}
    other = reads_of(shuffled, variant="original")
    assert other.case_id.tolist() == main.case_id.tolist()
    np.testing.assert_array_equal(other.under[RANDOM, 100.0].flips, main.under[RANDOM, 100.0].flips)


def test_noise_without_a_clean_row_is_refused(tables: dict[int, pa.Table]) -> None:
    rows = [row for row in tables[0].to_pylist() if row["case_id"] != "case-0000" or row["attack"] != "clean"]
    with pytest.raises(InputRefused, match="'case-0000' have no clean row"):
        reads_of({0: records.as_table(rows)}, variant="original")


def test_san_and_sar_are_counts_of_the_rows(main: Reads, tables: dict[int, pa.Table]) -> None:
    row = noise.attack_row(main, RANDOM, 50.0, "test")
    assert row is not None
    for fold, table in tables.items():
        kept = [one for one in table.to_pylist()
                if (one["attack"], one["size"], one["part"]) == (RANDOM, 50.0, "test")]
        assert row["san"].folds[fold] == pytest.approx(np.mean([one["flips"] > 0 for one in kept]))
        assert row["one_draw"].folds[fold] == pytest.approx(np.mean([one["flips"] / 50 for one in kept]))
    assert row["trials"] == 50
    assert row["san"].value == pytest.approx(np.mean(row["san"].folds))
    assert row["san"].sd == pytest.approx(np.std(row["san"].folds, ddof=1))
    assert row["san"].low < row["san"].value < row["san"].high
    assert noise.attack_row(main, "no_such_noise", 50.0, "test") is None


def test_a_sar_curve_begins_at_san_and_falls(main: Reads) -> None:
    curve = noise.sar_curve(main, RANDOM, 10.0, "test")
    row = noise.attack_row(main, RANDOM, 10.0, "test")
    assert curve is not None
    assert row is not None
    assert curve["mean"][0] == pytest.approx(row["san"].value)
    assert (np.diff(curve["mean"]) <= 1e-12).all()
    assert curve["mean"][-1] == 0
    assert (curve["least"] <= curve["mean"]).all()
    assert (curve["mean"] <= curve["most"]).all()


def test_san_at_a_smaller_k_is_that_of_all_choices_of_so_many_draws() -> None:
    flips = np.array([0, 1, 3, 6])
    under = _under(flips, 6)
    for draws in (1, 2, 4, 6):
        exact = [np.mean([any(one < count for one in chosen) for chosen in combinations(range(6), draws)])
                 for count in flips]
        np.testing.assert_allclose(noise.flipped_within(under, draws)[:, 0], exact, atol=1e-12)
    assert np.isnan(noise.flipped_within(under, 7)).all()


def test_no_flip_in_fifty_draws_still_allows_seven_per_cent(main: Reads) -> None:
    assert noise.zero_allows(50) == pytest.approx(0.0711, abs=1e-4)
    told = noise.sample_flips(main, "test")
    assert told["intervals"]["50"][0, 1] == pytest.approx(0.0711, abs=1e-4)
    case, flips = next(iter(told["flips"]["10"].items()))
    at = main.case_id.tolist().index(case)
    assert flips == main.under[RANDOM, 10.0].flips[at].astype(int).tolist()


def test_one_fold_gives_the_interval_of_a_plain_share() -> None:
    random = np.random.default_rng(0)
    flags, patients = random.random(90) < 0.2, np.array([f"p{at // 2}" for at in range(90)])
    ours, plain = share_over_folds(flags[:, None].astype(float), patients), share(flags, patients)
    assert (ours.value, ours.low, ours.high) == pytest.approx((plain.value, plain.low, plain.high))
    assert ours.sd is None


def test_folds_that_agree_are_no_more_sure_than_one() -> None:
    flags, patients = (np.arange(80) < 12).astype(float), np.arange(80).astype(str)
    one, four = (share_over_folds(np.repeat(flags[:, None], folds, 1), patients) for folds in (1, 4))
    assert four.low <= one.low
    assert one.high <= four.high
    assert (one.low, one.high) == pytest.approx((four.low, four.high), rel=0.02)
    assert four.sd == 0


def test_folds_that_err_on_other_cases_are_surer_than_one() -> None:
    random = np.random.default_rng(0)
    flags, patients = (random.random((200, 4)) < 0.2).astype(float), np.arange(200).astype(str)
    one, four = share_over_folds(flags[:, :1], patients), share_over_folds(flags, patients)
    pooled = share(flags.ravel() > 0, np.repeat(patients, 4))
    assert four.high - four.low < 0.6 * (one.high - one.low)
    assert (four.value, four.low, four.high) == pytest.approx((pooled.value, pooled.low, pooled.high))


def test_nothing_flipped_leaves_room_for_a_flip() -> None:
    none = np.zeros((60, 3))
    patients = np.arange(60).astype(str)
    for found in (share_over_folds(none, patients), mean_over_folds(none, patients)):
        assert (found.value, found.low) == (0, 0)
        assert found.high == pytest.approx(float(clopper_pearson(0, 60)[1]), rel=0.03)


def test_absent_cases_have_no_part_in_a_fold() -> None:
    values = np.full((20, 2), np.nan)
    values[:10, 0], values[10:, 1] = 1.0, 0.0
    found = share_over_folds(values, np.arange(20).astype(str))
    assert found.folds == (1, 0)
    assert found.value == 0.5
    empty = share_over_folds(np.full((4, 2), np.nan), np.arange(4).astype(str))
    assert empty.value is None
    assert empty.folds == (None, None)


def test_the_bootstrap_mean_resamples_patients_once_for_all_folds() -> None:
    random = np.random.default_rng(1)
    values, patients = random.random((100, 3)), np.arange(100).astype(str)
    mean = mean_over_folds(values, patients)
    general = statistic_over_folds(lambda weights, fold: weights @ values[:, fold] / weights.sum(1), 3, patients)
    assert (mean.low, mean.high) == pytest.approx((general.low, general.high))
    assert mean.high - mean.low == pytest.approx(3.92 * values.mean(1).std() / 10, rel=0.1)


def test_the_gap_falls_into_its_parts(main: Reads) -> None:
    rows = plausibility.decomposition(main, "test")
    assert [row["mas"] for row in rows] == list(made.DOSES)
    for row in rows:
        assert row["trials"] == SETTINGS.starts
        steps, san = row["steps"], row["san"]
        assert steps["paper_gap"].value == pytest.approx(san[PAPER].value - san[RANDOM].value)
        assert steps["paper_gap"].value == pytest.approx(steps["printed_rms"].value + steps["pooled_search"].value)
        assert steps["piled_up"].value == pytest.approx(san[RINGS].value - san[PLAUSIBLE].value)
    assert rows[0]["steps"]["own_rings"].low > 0


def test_plausibility_names_what_does_not_apply() -> None:
    flat = reads_of({0: made.job_table(made.Made(volumes=False, folds=1))}, variant="original")
    rows = {row["attack"]: row for row in plausibility.plausibility_rows(flat, "test", [100.0])}
    assert rows[RINGS]["z_correlation"] is None
    assert rows[PAPER]["ring_error"] is None
    assert rows[RINGS]["kurtosis"]["median"] > 3 > rows[RANDOM]["kurtosis"]["high"]
    assert rows[RANDOM]["sigma_hu"]["median"] == pytest.approx(made.SIGMA_100, rel=0.01)


def test_drift_is_told_by_class_and_goes_one_way(main: Reads) -> None:
    rows = drift_rows(main, "test")
    assert {row["class"] for row in rows} == {0, 1}
    for row in rows:
        assert row["towards"].value > 0
        assert np.sign(row["drift"].value) == (1 if row["class"] == 1 else -1)
        assert row["jitter"].value == pytest.approx(SETTINGS.jitter * np.sqrt(100 / row["mas"]), rel=0.25)
    for law in dose_laws(main, "test"):
        assert law["size"].value == pytest.approx(-1, abs=0.15)
        assert law["jitter"].value == pytest.approx(-0.5, abs=0.05)


def test_classification_is_that_of_each_fold(main: Reads) -> None:
    rows = {row["part"]: row for row in classification(main)}
    assert set(rows) == {"train", "validation", "test"}
    chosen = main.inside("test")[:, 0]
    score, positive = main.logits[chosen, 0, 1], main.label[chosen] == 1
    wins = np.mean(score[positive][:, None] > score[~positive])
    assert rows["test"]["auc"].folds[0] == pytest.approx(wins)
    assert rows["test"]["accuracy"].folds[0] == pytest.approx(
        np.mean(main.prediction[chosen, 0] == main.label[chosen]))
    assert [fold for fold, _, _ in roc_curves(main, "test")] == [0, 1]


def test_five_classes_are_judged_as_ratings() -> None:
    five = reads_of({0: made.job_table(made.Made(folds=1), "five_class")}, variant="five_class")
    assert five.logits.shape[2] == 5
    assert areas(five, "test").value > 0.8
    plan = {"data": {"bounds": [-1000, 400], "unit": "HU", "classes": ["1", "2", "3", "4", "5"]}}
    told = {number.measure: number.estimate for number in numbers_of(five, plan)}
    assert told[ABOVE] == areas(five, "test")
    assert AUC not in told      # which would be the mean of one class against the rest
    row = variant_rows([five], 100.0)[0]
    assert row["classes"] == 5
    assert row["test"]["san"].value is not None


def test_counting_judges_hard_pairs_only() -> None:
    stored = {0: made.counted(SETTINGS, 0), 1: made.counted(SETTINGS, 1)}
    told = counting.counted_pairs(stored, {})
    assert told is not None
    assert told["pairs"] < told["all"]
    assert told["rmse"].value < told["rmse_few"].value
    assert told["rmse_gain"].value == pytest.approx(told["rmse_few"].value - told["rmse"].value)
    assert told["covered"].value > 0.85
    assert ((told["points"]["counted"] >= 0.02) & (told["points"]["counted"] <= 0.98)).all()
    assert counting.counted_pairs({}, {}) is None
    assert counting.counted_pairs({0: {"draws": 16, "pairs": []}}, {}) is None


def test_hoarded_power_is_seen_in_the_noise_of_the_flipped() -> None:
    networks = reads_of({0: made.job_table(made.Made(folds=1))}, variant="original")
    under = networks.under[PAPER, 100.0]
    under["sigma_hu"][under.flips > 0] = 3 * made.SIGMA_100
    rows = {row["attack"]: row for row in plausibility.plausibility_rows(networks, "test", [100.0],
                                                                          {"100": made.SIGMA_100})}
    assert rows[PAPER]["flipped_sigma"]["median"] == pytest.approx(3)
    assert rows[RINGS]["flipped_sigma"]["median"] == pytest.approx(1, rel=0.01)


def test_where_nothing_differs_there_is_no_interval_of_no_width() -> None:
    same = reads_of({0: made.job_table(made.Made(folds=1, attacks=(RANDOM,)))}, variant="original")
    alike = replace(same, outcomes=(*same.outcomes, *(replace(same.under[RANDOM, mas], attack=PLAUSIBLE)
                                                      for mas in made.DOSES)))
    found = plausibility.decomposition(alike, "test")[0]["steps"]["own_plausible"]
    assert (found.value, found.low, found.high) == (0, None, None)
    always = dose_fall.median_dose(np.zeros(60), np.arange(60).astype(str))
    assert (always.value, always.low, always.high) == (0, None, None)


def test_drift_is_corrected_for_the_error_of_its_own_mean() -> None:
    random = np.random.default_rng(0)
    draws = 10
    networks = reads_of({0: made.job_table(made.Made(folds=1, cases=400, patients=400))}, variant="original")
    margins = random.normal(0, 0.3, (400, 1, draws))
    under = networks.under[RANDOM, 100.0]
    under.trials[:], under["drift"][:], under["jitter"][:] = draws, margins.mean(2), margins.std(2, ddof=1)
    for row in (row for row in drift_rows(networks, "test") if row["mas"] == 100.0):
        assert row["ratio"].value < 0.1     # 0.6745 / sqrt(10) = 0.21 as it stands
    under["drift"][:] += 1.0
    assert all(row["size"].value == pytest.approx(1.0, abs=0.05)
               for row in drift_rows(networks, "test") if row["mas"] == 100.0)


def test_convergence_counts_patients_once_and_names_the_worst_dose() -> None:
    def row(mas: float, found: list[int]) -> dict[str, Any]:
        return {"attack": PLAUSIBLE, "mas": mas, "images": 40, "gradients": 20, "flips": sum(found),
                "gradients_more": 200, "flips_more": 40, "either": 40, "found": found, "found_more": [1] * 40,
                "case_ids": [f"case-{at}" for at in range(40)]}

    rows = [row(10.0, [1] * 40), row(100.0, [1] * 30 + [0] * 10)]
    one, three = (counting.convergence({fold: {"rows": rows} for fold in range(folds)}) for folds in (1, 3))
    assert one[0]["worst"]["mas"] == three[0]["worst"]["mas"] == 100.0
    assert three[0]["worst"]["found"].value == 0.75
    assert three[0]["worst"]["images"] == 120
    apart = [each[0]["worst"]["found"].high - each[0]["worst"]["found"].low for each in (one, three)]
    assert apart[1] == pytest.approx(apart[0], rel=0.1)


def test_copies_are_left_out_of_the_area_beside(main: Reads) -> None:
    share_ = np.where(main.label == 1, 0.0, np.where(np.arange(len(main)) % 3 == 0, 0.4, 0.0)).astype(object)
    found = without_copies(main, "test", share_)
    assert found is not None
    assert found["labels"] == [found["copied"]]
    assert found["cases"] + found["copied"] == main.inside("test").any(1).sum()
    assert found["auc"].value != areas(main, "test").value
    assert without_copies(main, "test", None) is None
    assert without_copies(main, "test", np.zeros(len(main)).astype(object)) is None


@pytest.mark.parametrize("told", [{"both": 18}, {"either": 22}])
def test_convergence_is_the_share_of_the_longer_searchs_flips(told: dict[str, int]) -> None:
    row = {"mas": 100.0, "images": 60, "gradients": 20, "flips": 20, "gradients_more": 200, "flips_more": 20} | told
    found = counting.convergence({0: {"attack": RINGS, "rows": [row]}, 1: {"attack": RINGS, "rows": [row]}})
    assert [one["attack"] for one in found] == [RINGS]
    assert found[0]["worst"]["found"].value == pytest.approx(0.9)
    assert found[0]["rows"][0]["images"] == 120
    assert counting.convergence({}) == []


def test_subgroups_are_a_partition_with_their_numbers(main: Reads) -> None:
    told = made.population(SETTINGS)
    cases = [{"case_id": name, "manufacturer": maker, "diameter_mm": size, "rating": rating,
              "slice_spacing_mm": (1.25, 2.5, "3")[at % 3]}
             for at, (name, maker, size, rating) in enumerate(zip(
                 told["case_id"], told["maker"], told["diameter"], told["rating"], strict=True))]
    found = subgroups(main, "test", 100.0, columns_of(cases, main.case_id), None)
    rows = found["rows"]
    assert rows[0]["group"] == "all"
    assert found["missing"] == ["readers", "copied slices"]
    slices = [row["group"] for row in rows if row["kind"] == "slice spacing"]
    assert slices == ["up to 1.25 mm", "1.25 to 2.5 mm", "above 2.5 mm"]
    assert found["looks"] == len(rows) - 1
    for kind in ("manufacturer", "diameter", "rating"):
        assert sum(row["cases"] for row in rows if row["kind"] == kind) == rows[0]["cases"]
    makers = [row["group"] for row in rows if row["kind"] == "manufacturer"]
    assert makers[-1] == UNKNOWN
    one = next(row for row in rows if row["group"] == "SIEMENS")
    chosen = np.isin(main.case_id, told["case_id"][told["maker"] == "SIEMENS"])[:, None] & main.inside("test")
    under = main.under[RANDOM, 100.0]
    assert one["expected"].folds[0] == pytest.approx(under.rate[:, 0][chosen[:, 0]].mean())
    others = main.inside("test") & ~chosen
    assert one["rest"].value == pytest.approx(under.rate[chosen].mean() - under.rate[others].mean())


def _under(flips: np.ndarray, trials: int) -> Outcome:
    """Flips (n,) of so many trials in one fold, and nothing else known."""
    shape = (len(flips), 1)
    return Outcome(RANDOM, "CTNoise", "prediction", 100.0, np.full(shape, float(trials)),
                   flips[:, None].astype(float), np.full(shape, -1), np.full(shape, np.inf))


@pytest.mark.parametrize(("n", "kth"), [(1, 1), (19, 1), (20, 1), (21, 2), (30, 2), (39, 2), (40, 2), (41, 3)])
def test_sar5_is_that_of_the_next_whole_sample_where_a_twentieth_is_none(n: int, kth: int) -> None:
    """Never more than the share that the samples reach or exceed: ceil, not floor."""
    rates = np.arange(n) / n
    assert noise.sar_reached(rates) == rates[n - kth]
    assert np.mean(rates >= noise.sar_reached(rates)) >= 0.05


@pytest.mark.parametrize(("doses", "nearest"), [
    ((50, 180), 180), ((60, 150), 150), ((10, 100, 500), 100), ((50, 200), 50), ((30, 500), 30), ((25, 390), 390)])
def test_the_nearest_dose_is_by_ratio(doses: tuple[float, ...], nearest: float) -> None:
    """180 is 1.8 times 100 and 50 half of it; of two as near the lower is taken."""
    assert nearest_dose(doses, 100) == nearest_to_stated(doses) == nearest


def test_a_diameter_at_an_edge_belongs_to_the_larger_group() -> None:
    """Lung-RADS has 6 mm in "6 to below 8"; what is no number is unknown."""
    values = np.array([5.9, 6.0, 8.0, 15.0, None, "wide", float("nan")], dtype=object)
    assert _binned(values, (6.0, 8.0, 15.0), "mm")[:, 0].tolist() == [
        "below 6 mm", "6 to 8 mm", "8 to 15 mm", "15 mm and more", UNKNOWN, UNKNOWN, UNKNOWN]
