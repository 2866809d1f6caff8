"""The audit finds what was planted, and nothing where nothing is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from steadyread.cases import Cases, Preparation, Row, audit, phantom, prepare
from steadyread.cases.leaks import strongest
from steadyread.errors import InputRefused
from steadyread.findings import Finding
from steadyread.types import Bounds


def made(images: list[np.ndarray], labels: list[int | None] | None = None, **columns: list[str]) -> Cases:
    labels = labels or [index % 2 for index in range(len(images))]
    patients = columns.get("patients", [f"p{index}" for index in range(len(images))])
    rows = tuple(Row(f"case-{index:03d}", patients[index], label,
                     columns["ratings"][index] if "ratings" in columns else str(label), (0.7,) * (image.ndim - 1),
                     columns["parts"][index] if "parts" in columns else "", image, shape=image.shape)
                 for index, (image, label) in enumerate(zip(images, labels, strict=True)))
    return Cases("made", rows, lambda row: row.source, ("benign", "malignant"), Bounds(-1024, 3071, "HU"), True)


def pictures(n: int, space: tuple[int, ...] = (24, 24), seed: int = 0) -> list[np.ndarray]:
    noise = np.random.default_rng(seed).normal(0, 300, (n, 1, *space))
    smooth = gaussian_filter(noise, (0, 0) + (1.0,) * len(space))
    return list(np.clip(smooth - 500, -1000, 1000).astype(np.float32))


def one(findings: tuple[Finding, ...], check: str) -> Finding:
    found = [finding for finding in findings if finding.check == check]
    assert len(found) == 1, [finding.check for finding in findings]
    return found[0]


def leak(findings: tuple[Finding, ...], name: str) -> Finding:
    return next(finding for finding in findings if finding.check == "label leak" and name in finding.message)


@pytest.mark.parametrize("space", [(40,), (24, 24), (12, 16, 16)])
def test_a_clean_set_has_no_warning(space: tuple[int, ...]) -> None:
    assert {finding.severity for finding in audit(made(pictures(60, space)))} <= {"ok", "note"}


def test_exact_duplicates_with_conflicts_and_across_parts() -> None:
    images = pictures(40)
    images[7], images[9], images[20] = images[3], images[3], images[11]
    parts = ["train"] * 20 + ["test"] * 20
    findings = audit(made(images, parts=parts))
    assert one(findings, "exact duplicates").rows == ("case-003 = case-007 = case-009", "case-011 = case-020")
    across = one(findings, "exact duplicates across parts")
    assert (across.severity, across.rows) == ("error", ("case-011 = case-020",))
    torn = one(findings, "exact duplicates with conflicting labels")
    assert (torn.severity, torn.rows) == ("error", ("case-011 = case-020",))


def test_different_ratings_of_unlabelled_rows_conflict_too() -> None:
    images = pictures(24)
    images[5] = images[4]
    labels: list[int | None] = [None if index in (4, 5) else index % 2 for index in range(24)]
    ratings = ["2.5" if index == 4 else "3.0" for index in range(24)]
    torn = one(audit(made(images, labels, ratings=ratings)), "exact duplicates with conflicting labels")
    assert (torn.severity, torn.rows) == ("warning", ("case-004 = case-005",))


@pytest.mark.parametrize("change", [lambda image: image * 0.8 + 30, lambda image: image + np.float32(0.5),
                                    lambda image: np.repeat(np.repeat(image, 2, 1), 2, 2),
                                    lambda image: np.round(image / 40) * 40])
def test_near_duplicates(change: Callable[[np.ndarray], np.ndarray]) -> None:
    images = pictures(40)
    images[31] = change(images[2]).astype(np.float32)
    findings = audit(made(images, parts=["train"] * 20 + ["test"] * 20))
    assert one(findings, "exact duplicates").severity == "ok"
    assert one(findings, "near duplicates").rows == ("case-002 = case-031",)
    assert one(findings, "near duplicates across parts").severity == "warning"


def test_patients_on_both_sides() -> None:
    patients = [f"p{index % 15}" for index in range(40)]
    finding = one(audit(made(pictures(40), patients=patients, parts=["train"] * 36 + ["test"] * 4)), "patients")
    assert (finding.severity, len(finding.rows)) == ("error", 4)


def test_a_leak_by_size_is_gone_after_a_fixed_crop() -> None:
    rng = np.random.default_rng(1)
    images = [rng.normal(0, 100, (1, side, side)).astype(np.float32)
              for side in (rng.integers(20, 30) + 4 * (index % 2) for index in range(120))]
    cases = made(images)
    findings = audit(cases, prepare(cases, Preparation(crop=16)))
    size = leak(findings, "raw images: image size")
    assert size.severity == "warning"
    assert size.value is not None
    assert 0.75 < size.value < 0.95
    assert leak(findings, "raw images: extent in mm").severity == "warning"
    assert leak(findings, "prepared images: image size").severity == "ok"


def test_copied_slices_of_thin_volumes_are_a_leak() -> None:
    rng = np.random.default_rng(2)
    images = []
    for index in range(80):
        thick = int(rng.integers(4, 9)) + 3 * (index % 2)
        before = (16 - thick) // 2
        volume = rng.normal(0, 100, (1, thick, 12, 12)).astype(np.float32)
        images.append(np.pad(volume, ((0, 0), (before, 16 - thick - before), (0, 0), (0, 0)), mode="edge"))
    cases = made(images)
    findings = audit(cases, prepare(cases, Preparation(crop=(4, 12, 12))))
    copied = leak(findings, "raw images: the share of border slices that are copies")
    assert copied.severity == "warning"
    assert copied.value is not None
    assert copied.value > 0.85
    assert leak(findings, "prepared images: image size").severity == "ok"
    assert "border slices that are copies" in leak(findings, "prepared images: image size").message


def test_constant_padding_is_a_leak() -> None:
    images = pictures(80)
    for index, image in enumerate(images):
        image[:, :, :2 + index % 3 + 3 * (index % 2)] = -1024
    assert leak(audit(made(images)), "padding or plain background").severity == "warning"


def test_constant_non_finite_unreadable_and_missing_images_are_findings_not_crashes() -> None:
    images = pictures(30)
    images[4][:] = 5
    images[5][0, 0, 0] = np.nan
    images[6][0, 0, 0] = 4000
    cases = made(images)

    def load(row: Row) -> np.ndarray:
        if row.id == "case-008":
            raise InputRefused("case-008.png: cut")
        return row.source

    findings = audit(replace(cases, load=load, missing=("list.csv line 3: no file x.png",)))
    assert one(findings, "constant images").rows == ("case-004",)
    assert one(findings, "non-finite pixels").rows == ("case-005",)
    assert one(findings, "pixels outside the bounds").rows == ("case-006",)
    assert one(findings, "unreadable images").rows == ("case-008",)
    assert one(findings, "missing files").rows == ("list.csv line 3: no file x.png",)
    assert findings[0].severity == "error"


def test_class_counts() -> None:
    labels: list[int | None] = [1] * 3 + [0] * 40 + [None]
    finding = one(audit(made(pictures(44), labels)), "class counts")
    assert finding.severity == "warning"
    assert "40 benign, 3 malignant, 1 without a label" in finding.message


def test_the_phantom_passes_its_audit() -> None:
    assert {finding.severity for finding in audit(phantom.nodules(200, 0))} <= {"ok", "note"}


def test_an_audit_of_nothing_readable_ends_in_findings() -> None:
    def load(row: Row) -> np.ndarray:
        raise InputRefused("gone")

    assert one(audit(replace(made(pictures(12)), load=load)), "unreadable images").value == 12


@pytest.mark.parametrize(("most", "part", "named"), [(12, "test", True), (7, "test", False), (12, "train", False)])
def test_a_patient_who_holds_a_large_share_of_a_part_is_named(most: int, part: str, named: bool) -> None:
    patients = ["rich"] * most + [f"p{index}" for index in range(28)]
    findings = audit(made(pictures(most + 28), patients=patients, parts=[part] * (most + 28)))
    found = [finding for finding in findings if finding.check == "dominant patient"]
    assert [(finding.severity, finding.rows, finding.value) for finding in found] == (
        [("warning", ("rich",), 12 / 40)] if named else [])


def test_a_leak_stands_on_patients_and_not_on_their_many_images() -> None:
    """One patient of each class, all of whose pictures have one size, tell nothing of sizes and classes."""
    images = [picture for space, seed in (((24, 24), 0), ((24, 30), 1)) for picture in pictures(20, space, seed)]
    labels = [0] * 20 + [1] * 20
    few = audit(made(images, labels, patients=["a"] * 20 + ["b"] * 20))
    many = audit(made(images, labels))
    assert leak(few, "image size in pixels").value == leak(many, "image size in pixels").value == 1
    assert leak(few, "image size in pixels").severity == "ok"
    assert leak(many, "image size in pixels").severity == "warning"


def test_bounds_of_another_depth_are_doubted() -> None:
    cases = phantom.nodules(20, 0)
    low, high = cases.bounds.low, cases.bounds.high
    narrow = replace(cases, bounds=Bounds(low, low + 256 * (high - low)))
    findings = {finding.check: finding for finding in audit(cases, narrow)}
    assert findings["range of the pixels"].severity == "warning"
    assert "are the bounds those of these images?" in findings["range of the pixels"].message
    assert {finding.check: finding for finding in audit(cases)}["range of the pixels"].severity == "ok"


@pytest.mark.parametrize(("classes", "deviations"), [(2, 1.96), (3, 3.0)])
@pytest.mark.parametrize("each", [1, 3])
def test_how_sure_a_leak_is_goes_by_patients_and_by_how_many_classes_were_tried(classes: int, deviations: float,
                                                                               each: int) -> None:
    """Hanley and McNeil's standard error of an AUC of 0.82 from 5 patients and the others."""
    values = np.repeat([9.0, 8, 7, 6, 1, 5, 4, 3, 2, 0] + ([1.5, 5.5, 6.5, 2.5, 4.5] if classes == 3 else []), each)
    labels = np.repeat([1] * 5 + [0] * 5 + ([2] * 5 if classes == 3 else []), each)
    patients = np.repeat(np.arange(5 * classes), each).astype(str)
    found = strongest(values, labels, ("a", "b", "c")[:classes], patients)
    assert found is not None
    area, others = found.auc, 5 * (classes - 1)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    square = area * (1 - area) + 4 * (first - area**2) + (others - 1) * (second - area**2)
    assert found.tells == "b"
    assert found.lowest == pytest.approx(area - deviations * (square / (5 * others))**0.5)


@pytest.mark.parametrize(("low", "high", "severity"), [(0, 255, "ok"), (0, 200, "ok"), (-1000, 400, "warning"),
                                                       (0, 256, "warning"), (-1, 1, "warning")])
def test_bounds_beyond_what_a_picture_can_hold_are_doubted(low: int, high: int, severity: str) -> None:
    stored = replace(made([np.random.default_rng(seed).integers(0, 256, (1, 9, 9)).astype(np.uint8)
                           for seed in range(4)]), bounds=Bounds(0, 255, "grey level"))
    found = one(audit(stored, replace(stored, bounds=Bounds(low, high, "grey level"))), "range of the pixels")
    assert found.severity == severity
    assert ("reaches beyond 0 to 255" in found.message) == (severity == "warning")


def test_images_of_one_class_are_an_error() -> None:
    told = one(audit(made(pictures(6), [0] * 6)), "class counts")
    assert told.severity == "error"
    assert "all 6 images are of one class" in told.message
