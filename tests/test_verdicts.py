"""What may be said of a difference, whichever way it went."""

import pytest

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.verdicts import verdict, way_of_chances, way_of_reads

UP, DOWN = Estimate(0.2, 0.1, 0.3), Estimate(-0.2, -0.3, -0.1)
WIDE, BARE = Estimate(0.2, -0.1, 0.5), Estimate(0.2)


@pytest.mark.parametrize(("difference", "p", "said"), [
    (UP, None, "better"), (DOWN, None, "worse"), (WIDE, None, "alike"), (BARE, None, "few"),
    (Estimate(None), 0.0, "few"), (UP, 0.049, "better"), (UP, 0.05, "alike"),
    (WIDE, 0.001, "alike"), (Estimate(0.0, 0.0, 0.0), None, "alike")])
def test_a_way_is_said_where_interval_and_test_say_it(difference: Estimate, p: float | None, said: str) -> None:
    assert verdict(difference, p) == said
    assert verdict(difference, p, changed=False) == ("few" if difference.value is None else "same")
    turned = {"better": "worse", "worse": "better"}
    assert verdict(difference, p, lower_is_better=True) == turned.get(said, said)


def test_a_ratio_is_judged_around_one() -> None:
    assert [verdict(Estimate(value, value / 1.5, value * 1.5), nothing=1.0) for value in (0.5, 1.2, 2.0)] == [
        "worse", "alike", "better"]
    assert verdict(Estimate(1.0, 1.0, 1.2), nothing=1.0) == "alike"


def test_rows_of_reads_and_of_chances() -> None:
    assert way_of_reads({"difference": UP, "p": 0.01, "gained": 9, "lost": 0}) == "better"
    assert way_of_reads({"difference": Estimate(0.0), "p": 1.0, "gained": 0, "lost": 0}) == "same"
    assert way_of_chances({"difference": DOWN, "p": 0.3}, 0.01) == "better"
    assert way_of_chances({"difference": DOWN, "p": 0.3}, None) == way_of_chances(None, 0.01) == "few"
    assert way_of_chances({"difference": Estimate(0.0, folds=(0.0, 0.0)), "p": 1.0}, 1.0) == "same"
    assert way_of_chances({"difference": Estimate(0.0, -0.1, 0.1, folds=(0.1, -0.1)), "p": 1.0}, 1.0) == "alike"
