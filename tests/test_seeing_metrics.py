"""What is counted of attention and features: exact on made maps, honest with few patients, by class and fold."""

from typing import Any

import numpy as np
import pytest

import fabricate_seen as made
from steadyread.metrics.reads import PLAUSIBLE, RANDOM
from steadyread.metrics.seeing import (
    against_rows,
    mean_change_p,
    paired_rows,
    shift_rows,
    summarise_seeing,
    with_holm,
)
from steadyread.metrics.seeing_features import FeatureChange, feature_rows
from steadyread.metrics.seeing_reads import SeenFold, attention_of
from steadyread.metrics.seeing_sanity import sanity_findings, sanity_rows

ROW = {"case_id": "a", "patient_id": "p", "label": 0, "prediction": 0, "noisy_prediction": 1, "flipped": True,
       "method": "grad_cam", "attack": "plausible", "overlap": 0.5, "distance_mm": 1.0, "rank_correlation": 0.4,
       "inside_clean": 0.6, "inside_noisy": 0.4, "area_clean": 0.2, "area_noisy": 0.3, "mask_share": 0.1}


def seen(*folds: list[dict[str, Any]], sanity: list[dict[str, Any]] | None = None) -> list[SeenFold]:
    """Folds of attention rows, each given as what differs from ROW, with one feature that changes by 1."""
    empty = FeatureChange(0, np.array(["a"]), np.array(["p"]), np.ones((1, 1)))
    told = {"attack": "plausible", "mas": 100.0, "layer": "l", "feature_layer": "f", "measure": "", "target": "",
            "methods": ["grad_cam"], "sanity": sanity or []}
    return [SeenFold(fold, told | {"attention": [ROW | row for row in rows]}, empty)
            for fold, rows in enumerate(folds)]


def many(n: int = 40, patients: int = 40, **changed: Any) -> list[dict[str, Any]]:
    """Rows of n cases, every other flipped."""
    return [{"case_id": f"c{at:03d}", "patient_id": f"p{at % patients}", "flipped": at % 2 == 0}
            | {name: value(at) if callable(value) else value for name, value in changed.items()} for at in range(n)]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    folds = [made.Seen(fold=fold, cases=60, patients=45) for fold in range(2)]
    told = summarise_seeing([SeenFold(one.fold, made.told(one), _features(one)) for one in folds])
    assert told is not None
    return told


def _features(one: made.Seen) -> FeatureChange:
    held = made.arrays(one)
    return FeatureChange(one.fold, held["feature_case_id"], held["feature_patient_id"], held["feature_change"])


def _row(rows: list[dict[str, Any]], **named: Any) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in named.items()))


def test_medians_are_of_each_fold_and_then_averaged() -> None:
    one, = attention_of(seen(many(overlap=0.2), many(overlap=lambda at: 0.6 if at % 2 == 0 else 0.8)), PLAUSIBLE)
    flipped, steady = (_row(shift_rows(one), group=group) for group in ("flipped", "steady"))
    assert flipped["overlap"].folds == (0.2, 0.6)
    assert flipped["overlap"].value == pytest.approx(0.4)
    assert steady["overlap"].value == pytest.approx(0.5)
    assert (flipped["reads"], flipped["cases"], flipped["patients"]) == (40, 20, 20)


def test_flipped_is_set_against_steady_of_the_same_class_and_fold() -> None:
    """Class 1 has an overlap of 0.9 and flips mostly, class 0 one of 0.1: within each, nothing differs."""
    rows = many(200, 50, prediction=lambda at: int(at % 5 > 0), flipped=lambda at: at % 10 in (0, 1, 2, 3, 4, 6),
                overlap=lambda at: 0.9 if at % 5 else 0.1)
    one, = attention_of(seen(rows), PLAUSIBLE)
    difference = _row(against_rows(one), measure="overlap")["difference"]
    assert difference.value == pytest.approx(0)
    assert difference.low == pytest.approx(0)
    moved = [row | {"overlap": row["overlap"] - (0.05 if row["flipped"] else 0)} for row in rows]
    one, = attention_of(seen(moved), PLAUSIBLE)
    assert _row(against_rows(one), measure="overlap")["difference"].value == pytest.approx(-0.05)


def test_a_paired_change_is_noisy_minus_clean_with_its_reads() -> None:
    one, = attention_of(seen(many(), many()), PLAUSIBLE)
    row = _row(paired_rows(one), group="flipped", measure="inside", read_as=None)
    assert row["difference"].value == pytest.approx(-0.2)
    assert (row["clean"].value, row["noisy"].value) == (pytest.approx(0.6), pytest.approx(0.4))
    assert (row["reads"], row["cases"], row["patients"]) == (40, 20, 20)
    assert row["p"] < 1e-3
    assert {one["read_as"] for one in paired_rows(one) if one["group"] == "flipped"} == {None, 0}


def test_what_goes_both_ways_by_class_is_told_by_class() -> None:
    rows = many(80, 80, prediction=lambda at: at // 2 % 2,
                inside_noisy=lambda at: 0.5 + 0.02 * (at % 3) if at // 2 % 2 else 0.7 - 0.02 * (at % 3))
    one, = attention_of(seen(rows), PLAUSIBLE)
    tests = with_holm(paired_rows(one))
    each = {row["read_as"]: row for row in tests if (row["group"], row["measure"]) == ("flipped", "inside")}
    assert each[0]["difference"].value > 0.05
    assert each[1]["difference"].value < -0.05
    assert abs(each[None]["difference"].value) < 0.02
    assert each[0]["p_holm"] < 0.05 < each[None]["p_holm"]


def test_a_patient_flips_signs_as_a_whole() -> None:
    """Ten patients of 20 equal changes each are ten independent changes, not 200."""
    patients = np.repeat([f"p{at}" for at in range(10)], 20)
    change = np.repeat([1, 1, 1, 1, 1, 1, 1, -1, -1, -1], 20).astype(float)[:, None]
    whole = mean_change_p(change, patients)
    alone = mean_change_p(change, np.array([f"c{at}" for at in range(200)]))
    assert whole > 0.2                  # 7 of 10 by the sign test: 0.34
    assert alone < 0.001
    assert mean_change_p(np.hstack([change, change]), patients) == pytest.approx(whole)


def test_holm_leaves_out_the_rows_of_all_reads() -> None:
    given = (("all", 0.001), ("flipped", 0.01), ("steady", 0.04))
    rows = with_holm([{"group": group, "p": p} for group, p in given])
    assert [row["p_holm"] for row in rows] == [None, 0.02, 0.04]


def test_few_patients_give_no_interval() -> None:
    one, = attention_of(seen(many(12, 6)), PLAUSIBLE)
    assert _row(shift_rows(one), group="flipped")["overlap"].low is None
    few = [row | {"flipped": at < 4} for at, row in enumerate(many(40))]
    one, = attention_of(seen(few), PLAUSIBLE)
    difference = _row(against_rows(one), measure="distance_mm")["difference"]
    assert difference.value == pytest.approx(0)
    assert difference.low is None


def test_maps_of_zeros_and_unknown_masks_are_counted_and_left_out() -> None:
    none: dict[str, Any] = dict.fromkeys(("overlap", "distance_mm", "rank_correlation", "area_noisy"))
    rows = [row | (none if at < 5 else {}) for at, row in enumerate(many())]
    one, = attention_of(seen([row | {"inside_clean": None, "inside_noisy": None, "mask_share": None}
                              for row in rows]), PLAUSIBLE)
    row = _row(shift_rows(one), group="all")
    assert (row["reads"], row["none"], row["mask_share"]) == (40, 5, None)
    assert _row(shift_rows(one), group="all")["inside_clean"].value is None
    assert {row["measure"] for row in paired_rows(one)} == {"area"}
    assert _row(paired_rows(one), group="all")["reads"] == 35


def test_no_flips_leave_the_rest_standing() -> None:
    told = summarise_seeing(seen(many(flipped=False)))
    assert told is not None
    assert _row(told["shift"], group="flipped")["reads"] == 0
    assert all(row["difference"].value is None for row in told["against"])
    assert {row["group"] for row in told["paired"]} == {"all", "steady"}


def test_the_made_shift_is_found(found: dict[str, Any]) -> None:
    """Blobs of flipped reads move by 3 mm and spread; of steady reads a third of it, under random noise a tenth."""
    for method in made.METHODS:
        flipped, steady = (_row(found["shift"], method=method, attack=PLAUSIBLE, group=group)
                           for group in ("flipped", "steady"))
        plain = _row(found["shift"], method=method, attack=RANDOM, group="all")
        assert flipped["distance_mm"].value > 2 * steady["distance_mm"].value > plain["distance_mm"].value
        assert flipped["overlap"].value < steady["overlap"].value < plain["overlap"].value
        area = _row(found["paired"], method=method, attack=PLAUSIBLE, group="flipped", measure="area", read_as=None)
        inside = _row(found["paired"], method=method, attack=PLAUSIBLE, group="flipped", measure="inside",
                      read_as=None)
        assert area["difference"].low > 0 > inside["difference"].high
        assert area["p_holm"] < 0.05
        difference = _row(found["against"], method=method, attack=PLAUSIBLE, measure="overlap")["difference"]
        assert difference.high < 0


@pytest.mark.parametrize(("level", "verdict", "severity"), [(0.1, "depends", "ok"), (0.2, "depends", "ok"),
                                                            (0.35, "partly", "note"), (0.8, "hardly", "warning")])
def test_maps_that_do_not_change_with_the_weights_are_warned_of(level: float, verdict: str, severity: str) -> None:
    rows = [{"method": "grad_cam", "randomised": "all layers", "correlations": [level - 0.05, level, None,
                                                                               level + 0.05]},
            {"method": "grad_cam", "randomised": "last layer", "correlations": [0.9]}]
    told = sanity_rows(seen([{}], [{}], sanity=rows))
    assert (told[0]["verdict"], told[0]["maps"], told[0]["networks"]) == (verdict, 6, 2)
    finding, = sanity_findings(told)
    assert finding["severity"] == severity
    assert f"{level:.2f}" in finding["message"]


def test_the_noisiest_feature_is_ranked_first_and_the_silent_left_out(found: dict[str, Any]) -> None:
    for row in found["features"]:
        assert row["ranked"][0]["feature"] == 15
        assert [one["feature"] for one in row["ranked"]][-1] == 0
        assert row["ratio"].value == pytest.approx(16 / 8.5, rel=0.1)
        assert row["agreement"].value > 0.95
    change = np.tile([[1.0, np.nan, 3.0, 2.0]], (30, 1))
    change[:10, 3] = np.nan                            # silent on a third of the images: it stays
    row, = feature_rows([FeatureChange(0, np.arange(30).astype(str), np.arange(30).astype(str), change)])
    assert [one["feature"] for one in row["ranked"]] == [2, 3, 0]
    assert (row["features"], row["silent"], row["ratio"].value) == (4, 1, 1.5)
