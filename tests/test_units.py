"""Sizes as people type them."""

import pytest

from steadyread.errors import UsageError
from steadyread.gates import gate
from steadyread.units import Bounds, show_size, size_in_native, unit_of

GREY, HU, NONE = Bounds(0, 255, "grey level"), Bounds(-1000, 400, "HU"), Bounds(0, 1)


@pytest.mark.parametrize(("text", "bounds", "native"), [
    ("8/255", GREY, 8), ("8 / 255", GREY, 8), ("8/255 range", GREY, 8), ("4/255", NONE, 4 / 255), ("1/1400", HU, 1),
    ("2 grey levels", GREY, 2), ("2 grey level", GREY, 2), ("1/2 grey level", GREY, 0.5), ("0.002 range", HU, 2.8),
    ("5.6 hu", HU, 5.6), ("1e-3 range", NONE, 1e-3)])
def test_a_size_with_its_unit_is_read(text: str, bounds: Bounds, native: float) -> None:
    assert size_in_native(text, bounds) == pytest.approx(native)


@pytest.mark.parametrize("text", ["8", "8/0", "/255", "8/", "0/255", "8/255/2", "-1 HU", "nan HU", "inf HU", "",
                                  "8 HU", "1.2.3 range"])
def test_what_has_no_one_meaning_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"'0\.002 range', '2 grey levels', or '8/255'"):
        size_in_native(text, GREY)


def test_a_bare_fraction_is_of_the_range_in_gates_too() -> None:
    assert unit_of("8/255") == "range"
    assert gate("robust_accuracy@8/255=0.5").at == "8/255"


@pytest.mark.parametrize(("unit", "several"), [("grey level", "grey levels"), ("HU", "HU"), ("mm", "mm")])
def test_grey_levels_have_a_plural_and_other_units_none(unit: str, several: str) -> None:
    bounds = Bounds(0, 255, unit)
    assert show_size(1, bounds) == f"0.003922 range (1 {unit})"
    assert show_size(2, bounds) == f"0.007843 range (2 {several})"
