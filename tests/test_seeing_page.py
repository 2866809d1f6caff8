"""What a network sees, on the page: every part there, the sentences right whichever way, bad files named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fabricate_noise as noise
import fabricate_seen as made
from pages import HOSTILE, refuse_outside
from steadyread.charts.seeing import attention, features, most_changed, planes, slices
from steadyread.errors import InputRefused
from steadyread.metrics.seeing import summarise_seeing
from steadyread.metrics.seeing_features import FeatureChange
from steadyread.metrics.seeing_reads import SeenFold
from steadyread.report import noise as report_noise
from steadyread.report import write_report
from steadyread.report.noise import Seeing
from steadyread.report.sections.seeing import seeing
from steadyread.report.seeing_drawings import attention_shift, draw_seen, ranking, sanity, seeing_drawings
from steadyread.report.seeing_stored import read_seen, read_seen_run, read_shown
from steadyread.words.seeing import area_said

CLASSES = ("benign", "malignant")
STUDY = noise.Made(cases=40, patients=30, folds=2, doses=(100.0,), draws=10, attacks=("random_ct_noise",),
                   counted=False, converged=False)
SMALL = made.Seen(cases=24, patients=20, features=4, space=(3, 8, 8), spacing=(3.0, 3.0, 3.0), shown=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = noise.write_study(tmp_path_factory.mktemp("runs") / "seeing", STUDY)
    for fold in range(2):
        made.write_seen(folder / f"jobs/original/fold-{fold}", made.Seen(fold=fold))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_noise, "noise_drawings", lambda *_: {})      # the others' figures have their own tests
        return write_report(folder).parent


def told(one: made.Seen, **changed: Any) -> dict[str, Any]:
    """The summary of one made network, some of seen.json changed."""
    held = made.arrays(one)
    change = FeatureChange(one.fold, held["feature_case_id"], held["feature_patient_id"], held["feature_change"])
    found = summarise_seeing([SeenFold(one.fold, made.told(one) | changed, change)])
    assert found is not None
    return found


def test_the_figures_and_numbers_are_stored(whole: Path) -> None:
    drawn = {path.stem for path in (whole / "figures").glob("*.svg")}
    names = {"seeing_slices", "seeing_attention", "seeing_features", "seeing_ranking", "seeing_shift",
             "seeing_sanity"}
    assert names <= drawn
    page = (whole / "report.html").read_text()
    refuse_outside(page)
    assert all(f'id="{name.replace("_", "-")}-' in page for name in names)
    summary = json.loads((whole / "summary.json").read_text())
    assert {one["check"] for one in summary["findings"]} >= {"Grad-CAM maps of randomised weights"}


def test_a_study_that_did_not_look_has_no_such_section(tmp_path: Path) -> None:
    folder = noise.write_study(tmp_path, replace(STUDY, folds=1, cases=20, examples=False))
    assert read_seen_run(folder) is None
    place = folder / "jobs/original/fold-0"
    made.write_seen(place, SMALL)
    (place / "seen.npz").unlink()                       # a network under way
    assert read_seen_run(folder) is None
    made.write_seen(folder / "jobs/deeper/fold-0", SMALL)      # only the study's own network is looked into
    assert read_seen_run(folder) is None


@pytest.mark.parametrize(("moved", "grown", "words"), [
    (3.0, 1.6, "a larger area; more of it beyond the nodule"),
    (0.0, 0.6, "a smaller area; less of it beyond the nodule"),
    (0.0, 1.0, "no detectably larger area")])
def test_the_area_is_told_by_its_numbers(moved: float, grown: float, words: str) -> None:
    found = told(replace(SMALL, cases=40, patients=40, moved_mm=moved, grown=grown))
    assert words in area_said(found, "grad_cam")[0]


@pytest.mark.parametrize("changed", [{"flat": 24}, {"flips": 0.0}, {"cases": 6, "patients": 6}, {"features": 1},
                                     {"masks": False, "attacks": ("plausible_ct_noise",)}])
def test_words_and_figures_stand_without_their_numbers(changed: dict[str, Any]) -> None:
    found = told(replace(SMALL, **changed))
    assert not {"None", "nan"} & set(" ".join(map(str, seeing(Seeing(found, CLASSES, "test", False)))).split())
    for drawing in seeing_drawings(found, [], (-1000, 400)).values():
        assert drawing.svg()
        assert drawing.caption


def test_figures_of_nothing_say_so() -> None:
    for empty in (slices("a", "", [], (-1000.0, 400.0)), attention("a", "", [], (-1000.0, 400.0)),
                  features("a", "", None)):
        assert "were stored" in empty.svg() or "was stored" in empty.svg()
    for panel in (ranking([]), *attention_shift(None), sanity(None)):
        assert panel.tables["words"]


@pytest.mark.parametrize("space", [(3, 8, 10), (9, 12)])
def test_named_cases_are_drawn_into_a_folder(tmp_path: Path, space: tuple[int, ...]) -> None:
    one = replace(SMALL, space=space, spacing=(2.0, 1.0, 0.5)[-len(space):], shown=1)
    held = made.arrays(one)
    held["case_id"] = np.array([f"../{HOSTILE}"])
    kept = {name: value for name, value in held.items() if not name.startswith("feature_")}
    np.savez(tmp_path / "seen.npz", **kept)
    pictures = draw_seen(tmp_path / "seen.npz", tmp_path / "explain", classes=CLASSES)
    assert [path.stem.rsplit("-", 1)[1] for path in pictures] == ["slices", "attention", "features"]
    for path in pictures:
        assert path.parent == tmp_path / "explain"
        assert path.with_suffix(".svg").exists()
        assert "<script" not in path.with_suffix(".svg").read_text()
        assert np.asarray(Image.open(path)).std() > 5
    assert {path.name for path in tmp_path.iterdir()} == {"seen.npz", "explain"}


def test_slices_go_through_the_middle_and_have_their_size_in_mm() -> None:
    image = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    axial, coronal, sagittal = planes(image, (2.0, 1.0, 0.5))
    assert (axial.size_mm, coronal.size_mm, sagittal.size_mm) == ((4.0, 2.5), (6.0, 2.5), (6.0, 4.0))
    for plane in (axial, coronal, sagittal):
        assert image[1, 2, 2] in plane.values
    np.testing.assert_array_equal(axial.values, image[1])
    np.testing.assert_array_equal(coronal.values[0], image[-1, 2])      # the head is up
    assert planes(image[0], (1.0, 1.0))[0].size_mm == (4.0, 5.0)


def test_the_most_changed_features_are_boxed(tmp_path: Path) -> None:
    shown = read_shown(made.write_seen(tmp_path, made.Seen(features=32, shown=1)) / "seen.npz")[0]
    assert most_changed(shown).tolist() == [31, 30, 29, 28]
    silent = replace(shown, change=np.where(np.arange(32) > 1, np.nan, shown.change))
    assert most_changed(silent).tolist() == [1, 0]
    drawn = features("a", "", replace(silent, features_clean=shown.features_clean[:, :1, :6, :6],
                                      features_noisy=shown.features_noisy[:, :1, :6, :6]))
    assert drawn.svg().count(": silent") == 30


def test_flips_are_those_of_the_stored_rows(tmp_path: Path) -> None:
    place = made.write_seen(tmp_path, SMALL)
    seen = read_seen(place, 3)
    assert seen is not None
    shown = read_shown(place / "seen.npz", 3, CLASSES, seen.told)
    assert [(one.label, one.flipped, one.fold) for one in shown] == [("benign", True, 3), ("malignant", True, 3)]
    steady = {**seen.told, "attention": [row | {"flipped": False} for row in seen.told["attention"]]}
    assert [one.flipped for one in read_shown(place / "seen.npz", 3, CLASSES, steady)] == [False, False]
    assert list(shown[0].maps) == list(made.METHODS)


@pytest.mark.parametrize(("changed", "named"), [
    ({"attention": None}, "attention missing"), ({"mas": "100"}, "mas missing"),
    ({"attention": [{"case_id": "a"}]}, "row 0 of attention"), ({"attention": [3]}, "row 0 of attention"),
    ({"sanity": [{"method": "grad_cam"}]}, "row 0 of sanity"),
    ({"sanity": [{"method": "grad_cam", "randomised": "all layers", "correlations": ["a"]}]}, "numbers or null")])
def test_a_seen_json_that_is_none_is_named(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    place = made.write_seen(tmp_path, SMALL)
    (place / "seen.json").write_text(json.dumps(made.told(SMALL) | changed))
    with pytest.raises(InputRefused, match=rf"seen\.json.*{named}"):
        read_seen(place, 0)


@pytest.mark.parametrize(("changed", "named"), [
    ({"clean": np.zeros((2, 3, 8, 9))}, "one shape"), ({"mask": np.zeros((2, 8, 8))}, "one shape"),
    ({"spacing_mm": np.ones((2, 2))}, "spacing an axis"), ({"mas": np.ones(1)}, "a row an image"),
    ({"change": np.ones((2, 3))}, "a change a feature")])
def test_a_seen_npz_that_does_not_fit_is_named(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    np.savez(tmp_path / "seen.npz", **(made.arrays(SMALL) | changed))
    with pytest.raises(InputRefused, match=rf"seen\.npz.*{named}"):
        read_shown(tmp_path / "seen.npz")


def test_a_seen_npz_that_lacks_something_is_named(tmp_path: Path) -> None:
    place = made.write_seen(tmp_path, SMALL)
    held = made.arrays(SMALL)
    np.savez(place / "seen.npz", **{name: value for name, value in held.items() if name != "feature_change"})
    with pytest.raises(InputRefused, match="lacks feature_change"):
        read_seen(place, 0)
    np.savez(place / "seen.npz", **(held | {"feature_change": np.ones((3, 4))}))
    with pytest.raises(InputRefused, match="a row an image"):
        read_seen(place, 0)
    np.savez(place / "seen.npz", **{name: value for name, value in held.items() if name != "noisy"})
    with pytest.raises(InputRefused, match="lacks noisy"):
        read_shown(place / "seen.npz")
    (place / "seen.npz").write_bytes(b"none")
    with pytest.raises(InputRefused, match="not a readable npz"):
        read_shown(place / "seen.npz")


def test_names_from_users_are_escaped(tmp_path: Path, whole: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    place = folder / "jobs/original/fold-0/seen.json"
    stored = json.loads(place.read_text())
    place.write_text(json.dumps(stored | {"layer": HOSTILE, "measure": HOSTILE, "target": HOSTILE}))
    text = noise.noise_page(folder)[0]
    assert "<script>alert" not in text
    assert text.count("&lt;script") >= 3
