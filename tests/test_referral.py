"""Further scores of a read: exact on linear networks, the same alone and in a batch, kept whole on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from steadyread import records
from steadyread.assessment import assess
from steadyread.cases import Cases, Row
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.jobs.scores import FURTHER, own_draws, write_scores
from steadyread.metrics import reads_of
from steadyread.metrics.aligned import SCORES
from steadyread.store import read_records
from steadyread.training.fit import TrainingSettings
from steadyread.types import Bounds

BOUNDS = Bounds(0.0, 1.0)
STILL = TrainingSettings(flips=False, rotation_degrees=0.0, shift_pixels=0.0)
FLIPS = replace(STILL, flips=True)
ALL = TrainingSettings()
SHAPE = (1, 6, 8)


class Linear(nn.Module):
    """Logits of images by stated weights (k, pixels); an image whose first pixel is 0 gets NaN."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.dense = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.dense.weight.copy_(weight)
            self.dense.bias.copy_(bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return self.dense(flat) + torch.where(flat[:, :1] < 0.005, torch.nan, 0.0)


def linear(classes: int = 3, seed: int = 0, even: bool = False, shape: tuple[int, ...] = SHAPE) -> Classifier:
    """A linear classifier; `even` ones weigh all pixels alike, so that no flip changes a logit."""
    random = torch.Generator().manual_seed(seed)
    count = int(np.prod(shape))
    weight = torch.randn(classes, 1 if even else count, generator=random).expand(classes, count) / count**0.5
    return Classifier(Linear(weight, torch.randn(classes, generator=random)), BOUNDS, "logits")


def made(n: int = 20, shape: tuple[int, ...] = SHAPE, part: str = "test", constant: bool = False) -> Cases:
    random = np.random.default_rng(n)
    pixels = random.uniform(0.01, 1, (n, *shape)).astype(np.float32)
    if constant:
        pixels = np.broadcast_to(pixels[(slice(None), *(slice(1) for _ in shape))], pixels.shape)
    rows = tuple(Row(f"{part}-{i:03d}", f"p{i}", i % 3, str(i % 3), None, part, i) for i in range(n))
    return Cases("made", rows, lambda row: pixels[row.source], ("a", "b", "c"), BOUNDS)


def images_of(cases: Cases) -> torch.Tensor:
    return torch.stack([cases[place].image for place in range(len(cases))])


def margins(classifier: Classifier, images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits = classifier.logits(images).double()
    own = logits.gather(1, reference[:, None])[:, 0]
    return own - logits.scatter(1, reference[:, None], -torch.inf).amax(1)


def scores_of(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    assert table.column_names == ["case_id", "part", *FURTHER]
    return {name: table[name].cast(pa.float64()).to_numpy() for name in FURTHER}


def predicted(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return classifier.logits(images).argmax(1)


def test_views_are_the_mean_margin_over_the_flipped_images(tmp_path: Path) -> None:
    """Worked out anew: which of the four mirror images a view is stands in the image's own draws."""
    network, cases = linear(), made()
    images = images_of(cases)
    reference = predicted(network, images)
    expected = np.zeros(len(cases))
    for view in range(5):
        drawn = own_draws([row.id for row in cases.rows], 7, view)
        drawn(3)
        mirrored = [image.flip([-1] if along[0] < 0.5 else []).flip([-2] if along[1] < 0.5 else [])
                    for image, along in zip(images, drawn(2).T, strict=True)]
        expected += margins(network, torch.stack(mirrored), reference).numpy() / 5
    found = scores_of(write_scores(network, cases, tmp_path, augmentation=FLIPS, views=5, seed=7))
    np.testing.assert_allclose(found["views"], expected, atol=1e-5)
    assert np.abs(found["views"] - margins(network, images, reference).numpy()).max() > 0.05


@pytest.mark.parametrize("shape", [SHAPE, (2, 5, 6, 7)])
def test_views_of_what_no_view_changes_are_the_margin(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Constant images under every motion, and any image under flips where all pixels weigh alike."""
    for folder, network, cases, settings in (
            ("constant", linear(shape=shape), made(shape=shape, constant=True), ALL),
            ("even", linear(shape=shape, even=True), made(shape=shape), FLIPS)):
        images = images_of(cases)
        expected = margins(network, images, predicted(network, images)).numpy()
        path = write_scores(network, cases, tmp_path / folder, augmentation=settings, views=3)
        np.testing.assert_allclose(scores_of(path)["views"], expected, atol=1e-5)


def test_members_are_the_mean_margin_and_the_spread_of_the_first_networks_prediction(tmp_path: Path) -> None:
    network, others, cases = linear(), [linear(seed=1), linear(seed=2)], made()
    images = images_of(cases)
    reference = predicted(network, images)
    several = np.stack([margins(one, images, reference).numpy() for one in (network, *others)])
    found = scores_of(write_scores(network, cases, tmp_path, augmentation=ALL, views=0, members=others))
    np.testing.assert_allclose(found["members"], several.mean(0), atol=1e-5)
    with torch.no_grad():
        chances = [one.logits(images).softmax(1).gather(1, reference[:, None])[:, 0] for one in (network, *others)]
    np.testing.assert_allclose(found["disagreement"], -torch.stack(chances).numpy().std(0, ddof=1), atol=1e-5)
    assert several[1:].min() < 0     # another network may read it otherwise
    assert np.isnan(found["views"]).all()


@pytest.mark.parametrize("shape", [SHAPE, (1, 4, 6, 6)])
def test_a_case_has_the_same_value_alone_in_a_batch_and_in_any_order(tmp_path: Path, shape: tuple[int, ...]
                                                                     ) -> None:
    network, cases = linear(shape=shape), made(70, shape)

    def views(chosen: Cases, seed: int = 0) -> np.ndarray:
        return scores_of(write_scores(network, chosen, tmp_path, augmentation=ALL, views=4, seed=seed))["views"]

    several = views(cases)
    order = np.random.default_rng(0).permutation(70)
    np.testing.assert_allclose(views(cases.pick(order)), several[order], atol=1e-5)
    for place in (0, 63, 64, 69):
        assert views(cases.pick([place]))[0] == pytest.approx(several[place], abs=1e-5)
    assert np.abs(views(cases, seed=1) - several).min() > 0


def test_draws_are_bit_equal_alone_and_another_for_each_case_view_and_seed() -> None:
    several = own_draws(["one", "two", "three"], 0, 3)
    alone = own_draws(["two"], 0, 3)
    for rows in (3, 2):     # as a view draws them, from one stream
        assert torch.equal(several(rows)[:, 1:2], alone(rows))
    drawn = [tuple(own_draws([key], seed, view)(2)[:, 0].tolist())
             for key in ("one", "two") for seed in (0, 1) for view in (0, 1)]
    assert len(set(drawn)) == 8


def test_where_no_view_moves_or_none_is_asked_for_there_is_no_such_score(tmp_path: Path) -> None:
    for name, settings, views in (("still", STILL, 4), ("none", ALL, 0)):
        path = write_scores(linear(), made(), tmp_path / name, augmentation=settings, views=views)
        assert all(pq.read_table(path)[score].null_count == 20 for score in FURTHER if score != "gradient")


def test_an_undecided_read_and_one_with_an_undecided_view_or_network_come_first(tmp_path: Path) -> None:
    cases = made(6)
    pixels = {row.id: cases.load(row).copy() for row in cases.rows}
    pixels["test-000"][0, 0, 0] = 0                  # undecided as it is
    pixels["test-001"][0, 0, -1] = 0                 # undecided in a view mirrored along x
    spoilt = replace(cases, load=lambda row: pixels[row.id])
    found = scores_of(write_scores(linear(), spoilt, tmp_path, augmentation=FLIPS, views=8,
                                   members=[linear(seed=1)]))
    assert (found["views"][:2] == -np.inf).all()
    assert np.isfinite(found["views"][2:]).all()
    assert found["members"][0] == found["disagreement"][0] == -np.inf
    assert np.isfinite(found["members"][1:]).all()


def test_a_whole_file_is_kept_and_any_other_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(records, "write_whole", lambda path, content: (
        written.append(path), path.parent.mkdir(exist_ok=True), path.write_bytes(content)))
    asked = {"augmentation": FLIPS, "views": 2}
    path = write_scores(linear(), made(), tmp_path, **asked)
    first = path.read_bytes()
    assert write_scores(linear(), made(), tmp_path, **asked) == tmp_path / SCORES
    assert len(written) == 1
    path.write_bytes(first[:len(first) // 2])        # cut short
    write_scores(linear(), made(), tmp_path, **asked)
    assert path.read_bytes() == first
    for network, cases, changed in ((linear(seed=1), made(), {}), (linear(), made(21), {}),
                                    (linear(), made(), {"views": 3}), (linear(), made(), {"seed": 1}),
                                    (linear(), made(), {"augmentation": ALL}),
                                    (linear(), made(), {"members": [linear(seed=3)]})):
        before = len(written)
        write_scores(network, cases, tmp_path, **asked | changed)
        assert len(written) == before + 1


def test_networks_are_left_as_they_were_found(tmp_path: Path) -> None:
    def noisy(seed: int) -> Classifier:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5),
                                   nn.Linear(72, 3))
        return Classifier(module.train(), BOUNDS, "logits")

    networks = [noisy(0), noisy(1)]
    before = [{name: value.clone() for name, value in one.module.state_dict().items()} for one in networks]
    state = torch.random.get_rng_state()
    write_scores(networks[0], made(), tmp_path, augmentation=ALL, views=2, members=networks[1:])
    assert torch.equal(state, torch.random.get_rng_state())
    for one, held in zip(networks, before, strict=True):
        assert one.module.training
        assert all(parameter.requires_grad for parameter in one.module.parameters())
        assert all(torch.equal(value, held[name]) for name, value in one.module.state_dict().items())


def test_the_scores_stand_beside_the_records_of_their_network(tmp_path: Path) -> None:
    network, cases = linear(), made()
    assess(network, cases, [], store=tmp_path)
    plain = read_records(tmp_path)
    assert reads_of(plain).scores == {}
    found = scores_of(write_scores(network, cases.pick(reversed(range(20))), tmp_path, augmentation=FLIPS, views=2))
    reads = reads_of(read_records(tmp_path), "test")
    np.testing.assert_array_equal(reads.scores["views"][:, 0], found["views"][::-1])
    assert np.isnan(reads.scores["members"]).all()
    write_scores(linear(seed=1), cases, tmp_path, augmentation=FLIPS, views=2)
    assert np.isnan(reads_of(read_records(tmp_path)).scores["views"]).all()


@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1"])
def test_a_spoilt_file_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    assess(linear(), made(), [], store=tmp_path)
    (tmp_path / SCORES).write_bytes(content)
    with pytest.raises(InputRefused, match=r"scores\.parquet must be a whole Parquet file .* remove it"):
        read_records(tmp_path)
    pq.write_table(pa.table({"case_id": ["test-000"], "views": [1.0]}), tmp_path / SCORES)
    with pytest.raises(InputRefused, match="case_id, part and a number a score"):
        read_records(tmp_path)
    pq.write_table(pa.table({"case_id": ["test-000"], "part": ["test"], "views": ["high"]}), tmp_path / SCORES)
    with pytest.raises(InputRefused, match="a number a score"):
        read_records(tmp_path)


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 0; got -1"):
        write_scores(linear(), made(), tmp_path, augmentation=ALL, views=-1)
    with pytest.raises(InputRefused, match="no cases"):
        write_scores(linear(), made().pick([]), tmp_path, augmentation=ALL)
    with pytest.raises(InputRefused, match="2 classes, the first has 3"):
        write_scores(linear(), made(), tmp_path, augmentation=ALL, members=[linear(2)])
    with pytest.raises(UsageError, match="these are 1D"):
        write_scores(linear(shape=(1, 9)), made(shape=(1, 9)), tmp_path, augmentation=ALL)
    assert not (tmp_path / SCORES).exists()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_margin_over_its_gradient_is_the_flip_of_a_linear_network(tmp_path: Path, classes: int) -> None:
    """With more classes, that towards the best other one."""
    network, cases = linear(classes), made()
    images = images_of(cases)
    with torch.no_grad():
        best = network.logits(images).topk(2, dim=1)
        weight = network.module.dense.weight.double()
    norm = (weight[best.indices[:, 0]] - weight[best.indices[:, 1]]).abs().sum(1)
    found = scores_of(write_scores(network, cases, tmp_path, augmentation=STILL, views=0))
    margin = (best.values[:, 0] - best.values[:, 1]).double()
    np.testing.assert_allclose(found["gradient"], margin / norm, rtol=1e-4)
    assert np.isnan(found["views"]).all()


class Stepped(Linear):
    """Its input is detached, so that no gradient reaches the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.detach())


def test_a_network_without_gradients_has_no_such_score_and_one_of_zeros_is_steady(tmp_path: Path) -> None:
    cases = made()
    blind = replace(linear(), module=Stepped(torch.ones(3, 48), torch.zeros(3)))
    assert np.isnan(scores_of(write_scores(blind, cases, tmp_path / "blind", augmentation=FLIPS))["gradient"]).all()
    flat = replace(linear(), module=Linear(torch.zeros(3, 48), torch.arange(3.0)))
    found = scores_of(write_scores(flat, cases, tmp_path / "flat", augmentation=FLIPS))["gradient"]
    assert (np.isfinite(found) & (found > 1e30)).all()
