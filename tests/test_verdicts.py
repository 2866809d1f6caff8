"""What may be said of a difference, whichever way it went."""

import pytest

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.verdicts import verdict, way_of

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


def test_rows_of_shares_and_of_chances() -> None:
    def row(difference: Estimate, p: float | None, gained: int = 9, lost: int = 0) -> Contrast:
        return Contrast(Estimate(0.5), Estimate(0.5), difference, gained=gained, lost=lost, p=p)

    assert way_of(row(UP, 0.01)) == "better"
    assert way_of(row(UP, 0.01), lower_is_better=True) == "worse"
    assert way_of(row(DOWN, 0.3), 0.01, lower_is_better=True) == "better"
    assert way_of(row(Estimate(0.0), 1.0, 0)) == "same"
    assert way_of(row(Estimate(0.0, -0.1, 0.1), 1.0, 1, 1)) == "alike"    # other reads, as many
    assert way_of(None) == way_of(row(Estimate(None), 1.0)) == "few"
