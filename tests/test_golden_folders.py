"""Reports of whole run folders: numbers to 1e-12 and words letter for letter as they were last meant to be.

What differs on purpose is written anew by `python tests/golden_folders.py`.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from golden_folders import KINDS, said, stored


def differences(before: object, now: object, at: str = "") -> Iterator[str]:
    """Where two trees of plain values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            if key in now and key in before:
                yield from differences(before[key], now[key], f"{at}/{key}")
            else:
                yield f"{at}/{key}: {'is new' if key in now else 'is gone'}"
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from differences(old, new, f"{at}[{place}]")
    elif not alike(before, now):
        yield f"{at}: {before!r}, now {now!r}"


def alike(before: object, now: object) -> bool:
    """Equal, and floats to twelve digits."""
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=1e-12, abs_tol=1e-14)
    return before == now


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", KINDS)
def test_a_report_says_what_it_said(kind: str, tmp_path: Path) -> None:
    changed = list(differences(stored(kind), said(KINDS[kind](tmp_path / kind))))
    assert not changed, "\n".join([f"{len(changed)} differences", *changed[:20]])


def test_a_difference_in_the_thirteenth_digit_or_in_one_letter_is_told_apart() -> None:
    before = {"a": [1.0, {"b": "half of them"}], "c": None}
    assert not list(differences(before, {"a": [1.0 + 1e-14, {"b": "half of them"}], "c": None}))
    assert list(differences(before, {"a": [1.0 + 1e-11, {"b": "half of then"}]})) == [
        "/a[0]: 1.0, now 1.00000000001", "/a[1]/b: 'half of them', now 'half of then'", "/c: is gone"]
