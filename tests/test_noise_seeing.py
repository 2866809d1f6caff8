"""What is stored of a network's seeing in a noise study, the masks it is judged by, and `steadyread explain`."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fabricate_pictures import Call
from steadyread import records
from steadyread.cases import Cases, Preparation, Row, open_cases, prepare, spooled
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.explain.attention import METHODS
from steadyread.jobs.folder import settle
from steadyread.jobs.job import Materials, carry_out_job
from steadyread.jobs.plan import Branch, Job, place
from steadyread.jobs.seeing import SEEN, SEEN_ARRAYS, Look, refuse_unseeable, seen_of, write_seen
from steadyread.store import Cell
from steadyread.study import keyed, read_study
from steadyread.study.noise import Seeing
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Bounds
from test_noise_study import SETTINGS, made

pytest.importorskip("captum")
SMALL = {key: value for key, value in SETTINGS.items() if key != "variants"}
NOISE = {"mas": [100.0], "test": {"random": {"draws": 2}}, "train": {}, "counted": 0, "converged": 0}
ATTENTION = {"case_id", "patient_id", "label", "prediction", "noisy_prediction", "flipped", "method", "attack",
             "overlap", "distance_mm", "inside_clean", "inside_noisy", "area_clean", "area_noisy", "mask_share",
             "rank_correlation"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("lidc"), 24)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    stated = SMALL | {"noise": NOISE | {"seeing": {"mas": 20.0, "images": 6, "shown": 2}}, "training": {
        "epochs": 1, "flips": False, "rotation_degrees": 0.0, "shift_pixels": 0.0}, "split": {"test_share": 0.4}}
    study = read_study(None, stated, keyed(data__path=str(data)))
    folder = tmp_path_factory.mktemp("run") / "out"
    settle(folder, study)
    carry_out_job(Job(Branch("", False, study, folder), Cell(folder / place(study, Cell()))), Materials())
    return folder


# masks

def test_a_nodules_mask_lies_on_its_boxs_grid(data: Path) -> None:
    cases = open_cases(data, box_mm=[3, 8, 8])
    mask = cases.mask(cases.rows[0])
    assert mask is not None
    assert mask.shape == (3, 8, 8)
    assert np.argwhere(mask).min(0).tolist() == [0, 2, 2]
    assert np.argwhere(mask).max(0).tolist() == [2, 5, 5]      # 3x4x4 voxels about the middle
    bright = cases[0].image[0].numpy() - cases[0].image[0].numpy()[mask == 0].mean()
    assert bright[mask > 0].mean() > 20


def test_a_mask_is_prepared_as_its_image_is(data: Path) -> None:
    raw = open_cases(data, box_mm=[3, 8, 8])
    ready = spooled(prepare(raw, Preparation(window=(-1000, 400), crop=(3, 4, 6))))
    mask = ready.mask(ready.rows[0])
    assert mask is not None
    assert mask.shape == tuple(ready[0].image.shape[1:]) == (3, 4, 6)
    assert mask[:, :, 1:5].all()
    assert not mask[:, :, [0, 5]].any()
    finer = prepare(raw, Preparation(spacing_mm=0.5))
    marked = finer.mask(finer.rows[0])
    assert marked is not None
    assert marked.sum() == pytest.approx(8 * 48, rel=0.2)


def test_a_mask_of_another_shape_is_refused_and_an_unknown_one_is_none(data: Path) -> None:
    raw = open_cases(data, box_mm=[3, 8, 8])
    wrong = replace(raw, mask=lambda row: np.ones((3, 8, 9), np.uint8))
    ready = prepare(wrong, Preparation(crop=4))
    with pytest.raises(InputRefused, match=r"mask has the shape \(3, 8, 9\), its image \(3, 8, 8\)"):
        ready.mask(ready.rows[0])
    with pytest.raises(InputRefused, match=r"mask has the shape \(3, 8, 9\), its image \(3, 8, 8\)"):
        seen_of(linear((3, 8, 8)), wrong.pick(range(4)), Look(Seeing(attack="random"), noise()))
    plain = prepare(pictures(), Preparation(crop=4))
    assert plain.mask(plain.rows[0]) is None


# what is stored

def noise() -> CTNoise:
    return CTNoise(Spectrum.soft(), spacing_mm=1.0)


def linear(space: tuple[int, ...]) -> Classifier:
    """Class 1 where the mean from 4 to 7 on the last two axes is 100 above -890 HU: evidence for it is bright."""
    axes = len(space)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes](1, 1, 1)
    last = nn.Linear(int(np.prod(space)), 1)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.bias.fill_(890.0)
        patch = torch.zeros(space)
        patch[..., 4:8, 4:8] = 1
        last.weight.copy_(patch.flatten()[None] / patch.sum())
        last.bias.fill_(-100.0)
    return Classifier(nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), last), Bounds(-1024, 3071, "HU"),
                      "logit", name="linear")


def pictures(count: int = 8, mask: bool = False) -> Cases:
    """Slices at -1000 HU with a patch of one sixteenth, brighter from image to image: margins from -60 to 60."""
    images = np.full((count, 1, 16, 16), -1000, np.float32)
    for at, step in enumerate(np.linspace(-60, 60, count)):
        images[at, 0, 4:8, 4:8] = -890 + 100 + step
    marked = np.zeros((16, 16), np.uint8)
    marked[4:8, 4:8] = 1
    rows = tuple(Row(f"c{at}", f"p{at // 2}", int(at >= count / 2), "", (1.0, 1.0), "test", at)
                 for at in range(count))
    found = Cases("slices", rows, lambda row: images[row.source], ("dark", "bright"), Bounds(-1024, 3071, "HU"),
                  True)
    return replace(found, mask=lambda row: marked) if mask else found


def test_rows_say_where_the_evidence_is_and_nothing_where_there_is_none() -> None:
    """All evidence for "bright" lies in the patch; there is none for "dark", which is the bias: null, not 0."""
    told, arrays = seen_of(linear((16, 16)), pictures(mask=True), Look(Seeing(attack="random", mas=1e5, shown=8),
                                                                      noise()))
    rows = [row for row in told["attention"] if row["method"] == "grad_cam"]
    assert len(rows) == 8
    assert set(rows[0]) == ATTENTION
    bright = [row for row in rows if row["prediction"] == 1]
    assert [row["case_id"] for row in bright] == ["c4", "c5", "c6", "c7"]
    assert all(row["inside_clean"] == pytest.approx(1) for row in bright)
    assert all(row["overlap"] > 0.9 and row["distance_mm"] < 0.5 for row in bright)
    assert all(row["mask_share"] == pytest.approx(1 / 16) for row in rows)
    assert all(np.isnan(row["overlap"]) for row in rows if row["prediction"] == 0)
    by_id = {name: at for at, name in enumerate(arrays["case_id"].tolist())}
    assert set(by_id) == {f"c{at}" for at in range(8)}
    shown = arrays["map_grad_cam_clean"][by_id["c7"]]
    assert (shown[4:8, 4:8] > 0).all()
    assert shown.sum() == pytest.approx(shown[4:8, 4:8].sum())
    assert arrays["map_grad_cam_clean"][by_id["c0"]].max() == 0


def test_those_that_flip_are_shown_and_one_that_stays() -> None:
    _, arrays = seen_of(linear((16, 16)), pictures(24), Look(Seeing(attack="rings", mas=100.0), noise()))
    flips = (arrays["prediction"] != arrays["noisy_prediction"]).tolist()
    assert flips == [True, True, False]
    assert arrays["label"][:2].tolist() == [0, 1]
    assert (arrays["clean_probability"] > 0.5).astype(int).tolist() == arrays["prediction"].tolist()
    assert (arrays["noisy_probability"] > 0.5).astype(int).tolist() == arrays["noisy_prediction"].tolist()
    assert not np.array_equal(arrays["clean"][0], arrays["noisy"][0])


def test_a_case_is_seen_alike_whatever_is_looked_at_besides() -> None:
    """Draws are keyed by case, so the command shows what the study measured."""
    look = Look(Seeing(attack="rings", mas=20.0), noise(), seed=3)
    whole, arrays = seen_of(linear((16, 16)), pictures(), look)
    part, few = seen_of(linear((16, 16)), pictures(), replace(look, shown=(6, 1), every=False))
    assert {row["case_id"] for row in part["attention"]} == {"c6", "c1"}
    known = {(row["case_id"], row["method"], row["attack"]): row for row in whole["attention"]}
    for row in part["attention"]:
        for key, value in known[row["case_id"], row["method"], row["attack"]].items():
            assert row[key] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True) if isinstance(
                value, float) else row[key] == value
    assert few["case_id"].tolist() == ["c6", "c1"]
    np.testing.assert_allclose(few["feature_change"], arrays["feature_change"], rtol=1e-4)


def test_the_same_settings_are_kept_and_others_looked_at_anew(tmp_path: Path) -> None:
    write_seen(linear((16, 16)), pictures(), Look(Seeing(attack="random"), noise()), tmp_path)
    stamp = (tmp_path / SEEN).stat().st_mtime_ns
    write_seen(linear((16, 16)), pictures(), Look(Seeing(attack="random"), noise()), tmp_path)
    assert (tmp_path / SEEN).stat().st_mtime_ns == stamp
    write_seen(linear((16, 16)), pictures(), Look(Seeing(attack="random", mas=50.0), noise()), tmp_path)
    assert records.read_json(tmp_path / SEEN)["mas"] == 50.0


def test_what_cannot_be_seen_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(Seeing(layer="conv9"), noise())
    with pytest.raises(UsageError, match="no convolution 'conv9'"):
        refuse_unseeable(linear((16, 16)), pictures(), look)
    refuse_unseeable(linear((16, 16)), pictures(), Look(Seeing(), noise()))
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputRefused, match="captum, which is not installed"):
        refuse_unseeable(linear((16, 16)), pictures(), Look(Seeing(), noise()))


@pytest.mark.parametrize(("stated", "told"), [
    ({"attack": "pooled"}, "seeing.attack"), ({"mas": 0}, "greater than 0"), ({"shown": 0}, "seeing.shown"),
    ({"layers": "x"}, "unknown key 'noise.seeing.layers': did you mean 'layer'"),
    ({"images": 1.5}, "seeing.images")])
def test_wrong_settings_are_named(stated, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_study(None, {"noise": {"seeing": stated}})


# a whole study, and the command

def test_a_study_stores_what_its_networks_see(run: Path) -> None:
    folder = run / "jobs/original/fold-0"
    told = records.read_json(folder / SEEN)
    assert (told["attack"], told["mas"]) == ("plausible", 20.0)
    assert (told["layer"], told["feature_layer"]) == ("features.8", "features.0")
    assert told["methods"] == list(METHODS)
    assert len(told["attention"]) == 6 * 2 * 2          # images, methods, noises
    assert {row["randomised"] for row in told["sanity"]} == {"all layers", "last layer"}
    assert len(told["features"]["ranking"]) == 3
    with np.load(folder / SEEN_ARRAYS) as held:
        assert {held[name].shape for name in ("clean", "noisy", "mask", "map_grad_cam_clean",
                                              "map_integrated_gradients_noisy")} == {(2, 3, 8, 8)}
        assert held["features_clean"].shape == (2, 3, 3, 8, 8)
        assert held["feature_change"].shape == (6, 3)
        assert held["mask"].sum() == 2 * 48
        assert (held["spacing_mm"] == 1).all()


def test_the_command_explains_named_cases(run: Path, steadyread: Call) -> None:
    named = records.read(run / "jobs/original/fold-0").to_pylist()[0]["case_id"]
    told = steadyread("explain", run, "--case", named, "--attack", "rings", "--mas", "50", "--json", "--threads", 1)
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert [one["case_id"] for one in found["cases"]] == [named]
    assert (found["attack"], found["mas"], found["fold"]) == ("rings", 50.0, 0)
    assert set(found["cases"][0]["maps"]) == set(METHODS)
    assert Path(found["folder"]) == run / "explain" / "fold-0"
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in found["pictures"])
    assert len(found["pictures"]) == 3
    assert records.read_json(run / "explain" / "fold-0" / SEEN)["attention"]


@pytest.mark.parametrize(("flags", "code", "told"), [
    (("--case", "n99"), 2, "no case 'n99' in lidc"), (("--fold", "1"), 2, "no folds"),
    (("--layer", "head.1"), 2, "it has features.0"), (("--mas", "-1"), 2, "seeing.mas"),
    (("--attack", "paper"), 2, "paper")])
def test_the_command_refuses_in_one_line(run: Path, steadyread: Call, flags, code: int, told: str) -> None:
    found = steadyread("explain", run, *flags, "--threads", 1)
    assert found.code == code
    assert told in found.err


def test_runs_of_another_kind_are_not_explained(run: Path, steadyread: Call, tmp_path: Path) -> None:
    assert "is no run" in steadyread("explain", tmp_path).err
    stated = records.read_json(run / "study.json")
    records.write_json(tmp_path / "other" / "study.json", stated | {"noise": None})
    found = steadyread("explain", tmp_path / "other")
    assert (found.code, "no run of a noise study" in found.err) == (3, True)
    records.write_json(tmp_path / "begun" / "study.json", stated)
    assert "is not trained yet" in steadyread("explain", tmp_path / "begun").err
