"""Real data where present: counts, labels, splits, and the duplicates that are known to be there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from steadyread.cases import Preparation, audit, open_cases, prepare, split

Find = Callable[[str], Path]
pytestmark = pytest.mark.slow


def test_lidc_patches(shared_data: Find) -> None:
    cases = open_cases(shared_data("lidc-patches-2d"))
    assert cases.counts() == {"benign": 963, "malignant": 578}
    assert cases.patients_known
    done = split(cases, 0)
    held = [{row.patient for row in done.part(part).rows} for part in ("train", "validation", "test")]
    assert sum(map(len, held)) == len(set.union(*held))
    assert len(done.part("test")) / len(done) == pytest.approx(1 / 3, abs=0.02)
    case = prepare(cases, Preparation(window=(-1000, 400), spacing_mm=0.7, crop=48))[0]
    assert (tuple(case.image.shape), case.spacing_mm) == ((1, 48, 48), (0.7, 0.7))


def test_the_audit_finds_the_known_duplicates_of_lidc(shared_data: Find) -> None:
    cases = open_cases(shared_data("lidc-patches-2d"), every_row=True)
    assert len(cases) == 2680
    findings = {finding.check: finding for finding in audit(cases)}
    pairs = ((13, 15), (125, 128), (257, 258), (302, 303), (2444, 2445), (2449, 2452))
    expected = tuple(f"nodule-{first:04d} = nodule-{second:04d}" for first, second in pairs)
    assert findings["exact duplicates"].rows == expected
    assert findings["exact duplicates with conflicting labels"].rows == expected


def test_brain_mri(shared_data: Find) -> None:
    cases = open_cases(shared_data("brain-mri"))
    assert cases.counts() == {"no": 98, "yes": 155}
    assert {case.image.shape[0] for case in cases.pick(range(0, 253, 25))} == {1}
    findings = audit(split(cases, 0))
    by_check = {finding.check: finding for finding in findings}
    assert len(by_check["exact duplicates"].rows) == 22
    assert "exact duplicates across parts" not in by_check
    assert "near duplicates across parts" not in by_check


def test_mini_mias(shared_data: Find) -> None:
    cases = open_cases(shared_data("mini-mias"))
    assert cases.counts() == {"benign": 68, "malignant": 51}
    assert tuple(cases[0].image.shape) == (1, 240, 240)
    assert len(cases.notes) == 4


def test_controls(shared_data: Find) -> None:
    digits = open_cases(shared_data("mnist"))
    assert (len(digits.part("train")), len(digits.part("test"))) == (60000, 10000)
    assert list(digits.part("test").counts().values())[:3] == [980, 1135, 1032]
    assert float(digits[0].image.max()) > 200
    pictures = open_cases(shared_data("cifar-10"))
    assert (len(pictures.part("train")), len(pictures.part("test"))) == (8000, 2000)
    assert pictures.classes[0] == "airplane"
    assert tuple(pictures[0].image.shape) == (3, 32, 32)
