"""What is asked of the network on the way to each flip and at each dose, exact on a linear one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fabricate_pictures import Call
from golden_rows import KINDS, material, small
from steadyread import records
from steadyread.assessment import assess
from steadyread.attacks.random_noise import RandomCTNoise, noisy_reads, sizes_at
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, collate
from steadyread.classifier import Classifier, prediction_of
from steadyread.jobs.pictures import ALONG, picture_flips, picture_redraws, shown_cases
from steadyread.jobs.run import carry_out
from steadyread.metrics.choosing import Shown
from steadyread.pictured import FLIPS, REDRAWS, open_pictures, parts_of, pictured_ids, read_walk
from steadyread.report.run import told_of
from steadyread.report.shareable import AS_IT_IS
from steadyread.study import read_studies
from steadyread.threats import CTNoise, Spectrum
from steadyread.units import Bounds
from test_assessment import made_cases, made_classifier

NOISE = CTNoise(Spectrum.soft(), spacing_mm=1.0)


def walked(folder: Path, cases: Cases, classifier: Classifier | None = None) -> Cases:
    """A run of those cases with its walk; returns those shown."""
    used = classifier or made_classifier()
    shown = shown_cases(cases, assess(used, cases, [smallest_flip], store=folder))
    picture_flips(used, shown, [smallest_flip], folder, 0)
    return shown


def test_a_walk_goes_from_the_clean_read_over_its_flip_to_twice_that(tmp_path: Path) -> None:
    cases, classifier = made_cases(), made_classifier()
    shown = walked(tmp_path, cases)
    walk = read_walk(tmp_path, FLIPS)
    assert walk is not None
    assert set(walk.id) == {row.id for row in cases.part("test").rows}
    batch, _ = collate([shown[at] for at in range(len(shown))], cases.bounds)
    logits = classifier.examine(batch.images).double()
    read = prediction_of(logits)[:, None].numpy()
    margin = (logits.gather(1, torch.tensor(read)) - logits.gather(1, torch.tensor(1 - read))).numpy()
    own = np.take_along_axis(walk.of(batch.keys).probability, read[..., None], 2)[..., 0]
    exact = 1 / (1 + np.exp(-margin * (1 - np.array(ALONG))))     # a linear margin falls in proportion
    inside = np.abs(batch.images.numpy()).reshape(len(batch), -1).max(1) < 3     # of the bounds, at every size
    assert inside.sum() > 20
    assert np.abs(own - exact)[inside].max() < 1e-3
    assert walk.at.tolist() == list(ALONG)


def test_a_walk_is_written_once_and_anew_where_other_cases_are_shown(tmp_path: Path) -> None:
    shown = walked(tmp_path, made_cases())
    path = tmp_path / FLIPS / "walk.npz"
    path.touch()
    before = path.stat().st_mtime_ns
    picture_flips(made_classifier(), shown, [smallest_flip], tmp_path, 0)
    assert path.stat().st_mtime_ns == before
    picture_flips(made_classifier(), shown.pick(range(5)), [smallest_flip], tmp_path, 0)
    walk = read_walk(tmp_path, FLIPS)
    assert walk is not None
    assert len(walk.id) == 5


def test_flips_whose_pictures_are_lost_are_searched_once_more_to_the_same_pictures(tmp_path: Path) -> None:
    cases = made_cases()
    shown = walked(tmp_path, cases)
    names = [row.id for row in cases.part("test").rows]
    before, said = open_pictures(tmp_path, FLIPS, cases.bounds, names), read_walk(tmp_path, FLIPS)
    for path in (tmp_path / FLIPS).iterdir():
        path.unlink()
    picture_flips(made_classifier(), shown, [smallest_flip], tmp_path, 0)
    after, again = open_pictures(tmp_path, FLIPS, cases.bounds, names), read_walk(tmp_path, FLIPS)
    assert before is not None
    assert after is not None
    assert said is not None
    assert again is not None
    assert after.id == before.id
    assert (after.change == before.change).all()
    assert np.allclose(after.scale, before.scale, equal_nan=True)
    assert np.abs(again.of(names).probability - said.of(names).probability).max() < 1e-6


def test_without_a_search_nothing_is_pictured(tmp_path: Path) -> None:
    cases = made_cases()
    table = assess(made_classifier(), cases, [], store=tmp_path)
    picture_flips(made_classifier(), shown_cases(cases, table), [], tmp_path, 0)
    assert read_walk(tmp_path, FLIPS) is None
    assert pictured_ids(tmp_path, FLIPS) == set()


class Narrow(nn.Module):
    """A network that fails on images beyond a largest value."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.most = inner, 1e9

    def forward(self, images: Tensor) -> Tensor:
        if float(images.amax()) > self.most:
            raise ValueError("no lung was found")
        return self.inner(images)  # type: ignore[no-any-return]


def test_a_case_on_whose_way_the_network_fails_has_no_walk_and_the_others_have(tmp_path: Path) -> None:
    cases, plain = made_cases(), made_classifier()
    module = Narrow(plain.module)
    classifier = replace(plain, module=module)
    shown = shown_cases(cases, assess(classifier, cases, [smallest_flip], store=tmp_path))
    module.most = 2.8      # of few images
    picture_flips(classifier, shown, [smallest_flip], tmp_path, 0)
    walk = read_walk(tmp_path, FLIPS)
    assert walk is not None
    failed = np.isnan(walk.probability).all((1, 2))
    assert 0 < failed.sum() < len(failed)
    assert np.isfinite(walk.probability[~failed]).all()


def test_the_draw_at_each_dose_is_the_first_by_which_the_reads_were_tried(tmp_path: Path) -> None:
    low, high = -1024.0, 3071.0
    cases, rng = made_cases(20), np.random.default_rng(0)
    pixels = np.rint(rng.normal(0, 40, (20, 1, 12, 12))).astype("f4")
    cases = replace(cases, load=lambda row: pixels[row.source], bounds=Bounds(low, high, "HU"))
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(144, 2)), Bounds(low, high, "HU"), "logits",
                            normalise=(0.0, 100.0))
    table = assess(classifier, cases, [RandomCTNoise(NOISE, (100.0, 10.0), draws=4)], store=tmp_path, seed=3)
    shown = shown_cases(cases, table, dose=True)
    picture_redraws(classifier, shown, NOISE, (100.0, 10.0), tmp_path, 3)
    batch, _ = collate([shown[at] for at in range(len(shown))], cases.bounds)
    found, walk = open_pictures(tmp_path, REDRAWS, cases.bounds, batch.keys), read_walk(tmp_path, REDRAWS)
    assert found is not None
    assert walk is not None
    assert (found.image.native == batch.images.numpy()).all()
    with torch.no_grad():
        first = next(noisy_reads(classifier, batch, torch.zeros(len(batch), dtype=torch.long), NOISE, sizes_at(
            NOISE, (10.0, 100.0), batch), [0], 3))
    noise = found.change[:, None] * found.scale[..., None, None, None]
    exact = (first.images - batch.images[:, None]).numpy()
    assert np.abs(noise - exact).max() <= np.abs(exact).max() / 127
    chance = classifier.probabilities(first.logits.flatten(0, 1)).reshape(len(batch), 2, 2).numpy()
    assert walk.at.tolist() == [10.0, 100.0]
    assert np.abs(walk.of(batch.keys).probability - chance).max() < 0.02
    before = {path.name: path.stat().st_mtime_ns for _, path in parts_of(tmp_path, REDRAWS)}
    picture_redraws(classifier, shown, NOISE, (100.0, 10.0), tmp_path, 3)
    assert before == {path.name: path.stat().st_mtime_ns for _, path in parts_of(tmp_path, REDRAWS)}


def test_many_cases_are_walked_for_those_shown_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyread.jobs.pictures.Shown", lambda: Shown(5, 4, 3, 12))
    shown = walked(tmp_path, made_cases(150))
    assert len(shown) == 12
    walk = read_walk(tmp_path, FLIPS)
    assert walk is not None
    assert set(walk.id) == {row.id for row in shown.rows}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["weights", "noise", "combined"])
def test_a_real_run_has_its_pictures_and_once_more_where_they_were_lost(
        kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steadyread: Call, undrawn: None) -> None:
    small(monkeypatch)
    material(tmp_path)
    run = carry_out(read_studies(None, KINDS[kind]), Path("run")).folder
    block = told_of(run, AS_IT_IS).cases.as_json()
    blocks = block.get("sets", [block])
    for each in blocks:
        assert each["axis"]["kind"] == ("dose" if kind == "noise" else "flip")
        assert each["images"] == each["total"] > 0
        assert each["walk"]["at"] == (list(ALONG) if kind != "noise" else each["walk"]["at"])
    lost = [path for name in (FLIPS, REDRAWS) for path in run.rglob(f"{name}/*")]
    assert lost
    for path in lost:
        path.unlink()
    assert told_of(run, AS_IT_IS).cases.missing
    carry_out(read_studies(None, KINDS[kind]), Path("run"))
    again = told_of(run, AS_IT_IS).cases.as_json()
    assert [each["pixels"] for each in again.get("sets", [again])] == [each["pixels"] for each in blocks]
    assert not records.read_object(run / "set_aside.json")
