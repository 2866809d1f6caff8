"""Training: seeded, learns what can be learnt, keeps the best epoch, leaves the caller's things alone."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from fabricate_training import BOUNDS, QUICK, accuracy, classifier, spots
from steadyread.cases import Cases, Preparation, limit, open_cases, prepare, split
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.models.loading import load_classifier_module
from steadyread.models.nodule import Ratings, nodule_cnn
from steadyread.training import images as part_images
from steadyread.training.augment import augmented, moved
from steadyread.training.fit import Fitted, TrainingSettings, fit


@pytest.mark.parametrize(("outputs", "output", "classes"), [
    (2, "logits", 2), (1, "logit", 2), (1, "probability", 2), (2, "probabilities", 2), (3, "logits", 3)])
def test_every_head_learns(outputs: int, output: str, classes: int) -> None:
    training, validation = spots(90, 1, classes), spots(45, 2, classes)
    found = fit(classifier(outputs, output), training, validation, replace(QUICK, epochs=8))
    assert accuracy(found.classifier, spots(90, 3, classes)) > 0.9
    assert found.history["epochs"][-1]["validation_auc"] > 0.95
    assert found.classifier.output == output


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_both_optimisers_and_schedules_learn(optimiser: str, schedule: str) -> None:
    settings = replace(QUICK, optimiser=optimiser, schedule=schedule, epochs=6, batch=8)
    found = fit(classifier(), spots(120, 1), spots(60, 2), settings)
    assert accuracy(found.classifier, spots(60, 3)) > 0.9


def test_the_history_is_what_training_json_holds_and_the_best_epoch_is_the_one_kept() -> None:
    validation = spots(60, 2)
    found = fit(classifier(), spots(60, 1), validation, QUICK, seed=4)
    epochs = found.history["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4]
    assert set(epochs[0]) == {"epoch", "train_loss", "validation_loss", "validation_auc", "validation_accuracy",
                              "seconds"}
    chosen = found.history["chosen_epoch"]
    losses = [epoch["validation_loss"] for epoch in epochs]
    assert losses[chosen - 1] == min(losses)
    assert epochs[chosen - 1]["validation_accuracy"] == pytest.approx(accuracy(found.classifier, validation))
    images = torch.stack([case.image for case in map(validation.__getitem__, range(60))])
    with torch.no_grad():
        told = found.classifier.logits(images).softmax(1)[range(60), [row.label for row in validation.rows]]
    assert float(-told.log().mean()) == pytest.approx(min(losses), rel=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, two, three = (fit(classifier(norm=True), spots(50, 1), spots(20, 2), QUICK, seed=seed).module.state_dict()
                       for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["0.weight"], three["0.weight"])


def test_what_the_caller_has_is_left_alone() -> None:
    given = classifier(norm=True)
    before = copy.deepcopy(given.module.state_dict())
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    found = fit(given, spots(50, 1), spots(20, 2), QUICK)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in given.module.state_dict().items())
    assert given.module.training
    assert given.passes.forwards == 0
    assert not found.module.training
    assert all(parameter.grad is None for parameter in found.module.parameters())


def test_images_on_disk_give_the_same_as_images_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    held = fit(classifier(), spots(50, 1), spots(20, 2), QUICK)
    monkeypatch.setattr(part_images, "_HELD_BYTES", 1)
    streamed = fit(classifier(), spots(50, 1), spots(20, 2), QUICK)
    assert all(torch.equal(a, b) for a, b in zip(held.module.state_dict().values(),
                                                 streamed.module.state_dict().values(), strict=True))


def test_patience_stops_early() -> None:
    settings = replace(QUICK, epochs=60, patience=2, learning_rate=0.03, schedule="constant")
    history = fit(classifier(), spots(50, 1), spots(20, 2), settings).history
    assert len(history["epochs"]) < 60
    assert len(history["epochs"]) == history["chosen_epoch"] + 2


def test_dense_weights_are_held_to_their_norm() -> None:
    settings = replace(QUICK, max_norm=0.5, learning_rate=0.03)
    norms = []
    for largest in (0.5, None):
        found = fit(classifier(), spots(50, 1), spots(20, 2), replace(settings, max_norm=largest)).module
        hidden = next(layer for layer in found if isinstance(layer, nn.Linear))
        norms.append(float(hidden.weight.detach().norm(dim=1).max()))
    assert norms[0] <= 0.5 + 1e-6
    assert norms[1] > 0.5


def test_classes_are_drawn_equally_often_when_balanced() -> None:
    few = spots(120, 1).pick([i for i in range(120) if i % 2 == 0 or i % 12 == 1])
    taught = part_images.PartImages(few, "training")
    assert taught.counts.tolist() == [60, 10]
    drawn = torch.multinomial(taught.weights, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    assert float(taught.labels[drawn].float().mean()) == pytest.approx(0.5, abs=0.02)


def test_a_last_image_alone_is_no_batch_of_its_own() -> None:
    assert [len(chunk) for chunk in part_images.chunks(torch.arange(33), 16)] == [16, 17]
    assert [len(chunk) for chunk in part_images.chunks(torch.arange(34), 16)] == [16, 16, 2]
    assert [len(chunk) for chunk in part_images.chunks(torch.arange(1), 16)] == [1]


# losses, and which epoch is kept

def both(found: Fitted, cases: Cases) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of cases, read by the fitted classifier."""
    with found.classifier.frozen(), torch.no_grad():
        logits = found.classifier.logits(torch.stack([cases[i].image for i in range(len(cases))]))
    return logits, torch.tensor([row.label for row in cases.rows])


@pytest.mark.parametrize(("outputs", "output"), [(1, "logit"), (2, "logits"), (1, "probability")])
def test_the_squared_error_is_that_of_the_probability(outputs: int, output: str) -> None:
    validation = spots(60, 2)
    settings = replace(QUICK, loss="squared_error", epochs=6)
    found = fit(classifier(outputs, output), spots(90, 1), validation, settings)
    logits, labels = both(found, validation)
    expected = ((logits[:, 1] - logits[:, 0]).sigmoid() - labels).square().mean()
    kept = found.history["epochs"][found.history["chosen_epoch"] - 1]
    assert kept["validation_loss"] == pytest.approx(float(expected), rel=1e-4)
    assert kept["validation_auc"] > 0.9


def rated(seed: int = 0) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 1), Ratings(3))
    return Classifier(net, BOUNDS, "logits", normalise=(-700.0, 300.0))


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_ratings_are_learnt_by_their_squared_error(loss: str) -> None:
    validation = spots(60, 2, 3)
    settings = replace(QUICK, loss=loss, epochs=8, balance=False)
    found = fit(rated(), spots(90, 1, 3), validation, settings)
    logits, labels = both(found, validation)
    kept = found.history["epochs"][found.history["chosen_epoch"] - 1]
    assert kept["validation_accuracy"] > 0.6
    if loss == "squared_error":
        squares = -logits[torch.arange(60), labels]
        assert kept["validation_loss"] == pytest.approx(float(squares.mean()), rel=1e-4)


def test_the_epoch_of_the_best_auc_is_kept_where_asked() -> None:
    settings = replace(QUICK, judged_by="auc", epochs=8, learning_rate=0.03, schedule="constant")
    history = fit(classifier(), spots(50, 1), spots(30, 2), settings).history
    merits = [(epoch["validation_auc"], -epoch["validation_loss"]) for epoch in history["epochs"]]
    assert merits[history["chosen_epoch"] - 1] == max(merits)


# volumes

def balls(n: int, seed: int) -> Cases:
    """Volumes of 3x12x12: the spots above in the middle slice."""
    flat = spots(n, seed)
    return replace(flat, load=lambda row: np.stack([np.full((1, 12, 12), -800, np.float32), flat.load(row),
                                                    np.full((1, 12, 12), -800, np.float32)], axis=1))


class Watched(nn.Module):
    """A network of volumes that notes whether its weights lay channels last while it read."""

    seen: ClassVar[set[bool]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.net = nodule_cnn(size=(3, 12, 12), width=1 / 8, norm=True)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        self.seen.add(self.net.features[4].weight.is_contiguous(memory_format=torch.channels_last_3d))
        read: torch.Tensor = self.net(volumes)
        return read


def test_volumes_are_learnt_alike_again_and_lie_as_before_afterwards() -> None:
    torch.manual_seed(0)
    given = Classifier(Watched(), BOUNDS, "logit", normalise=(-700.0, 300.0))
    Watched.seen.clear()
    settings = replace(QUICK, epochs=3, learning_rate=3e-3, rotation_degrees=(15.0, 5.0, 0.0),
                       shift_pixels=(0.5, 1.0, 1.0))
    one, two = (fit(given, balls(80, 1), balls(40, 2), settings) for _ in range(2))
    assert Watched.seen == {True}
    assert all(torch.equal(a, b) for a, b in zip(one.module.state_dict().values(), two.module.state_dict().values(),
                                                 strict=True))
    assert all(parameter.is_contiguous() for parameter in one.module.parameters())
    assert one.history["epochs"][-1]["validation_auc"] > 0.9
    assert one.history["settings"]["shift_pixels"] == (0.5, 1.0, 1.0)


# refusals

def test_losses_that_do_not_fit_the_labels_are_refused() -> None:
    with pytest.raises(UsageError, match=r'"squared_error" is for two classes or for ratings .* ratings = 3'):
        fit(classifier(3), spots(30, 1, 3), spots(15, 2, 3), replace(QUICK, loss="squared_error"))
    with pytest.raises(InputRefused, match=r"ratings from 1 to 3; the data have 2 classes \(a, b\): label them"):
        fit(rated(), spots(30, 1), spots(15, 2), QUICK)
    with pytest.raises(InputRefused, match="needs validation cases of two classes"):
        fit(classifier(), spots(30, 1), spots(20, 2).pick(range(0, 20, 2)), replace(QUICK, judged_by="auc"))


def test_a_loss_that_is_not_finite_is_told() -> None:
    settings = replace(QUICK, learning_rate=1e30, optimiser="sgd", schedule="constant", max_norm=None)
    with pytest.raises(InputRefused, match=r"diverged in epoch 1 .*learning_rate .*1e\+30"):
        fit(classifier(), spots(50, 1), spots(20, 2), settings)


def test_cases_that_cannot_be_learnt_from_are_refused() -> None:
    train, validation = spots(20, 1), spots(10, 2)
    one_class = train.pick(range(0, 20, 2))
    unlabelled = replace(train, rows=(replace(train.rows[0], label=None), *train.rows[1:]))
    outside = replace(train, load=lambda row: train.load(row) + 2000)
    wide = replace(train, load=lambda row: np.zeros((1, 12, 12 + row.source % 2), np.float32))
    for cases, told in ((train.pick([]), "no training cases"), (one_class, r"of one class \(a\)"),
                        (unlabelled, "1 of 20 training cases have no label"), (outside, "outside the stated"),
                        (wide, "crop or resize"), (spots(30, 1, 3), "3 classes; the network has 2 outputs")):
        with pytest.raises(InputRefused, match=told):
            fit(classifier(), cases, validation, QUICK)
    with pytest.raises(InputRefused, match="no validation cases"):
        fit(classifier(), train, validation.pick([]), QUICK)


@pytest.mark.parametrize("wrong", [
    {"epochs": 0}, {"learning_rate": math.nan}, {"optimiser": "lion"}, {"schedule": "steps"}, {"loss": "hinge"},
    {"shift_pixels": (1.0, -2.0, 0.0)}, {"patience": 0}, {"rotation_degrees": -5.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TrainingSettings(**wrong)  # type: ignore[arg-type]


# augmentation

def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_nothing_asked_nothing_done() -> None:
    images = torch.rand(3, 1, 8, 8)
    assert augmented(images, generator(), flips=False, rotation_degrees=0, shift_pixels=0) is images


@pytest.mark.parametrize("shape", [(16, 2, 9, 14), (16, 1, 4, 7, 10)])
def test_flips_are_exact_and_all_four_come(shape: tuple[int, ...]) -> None:
    images = torch.rand(1, *shape[1:]).expand(shape)
    turned = augmented(images, generator(), flips=True, rotation_degrees=0, shift_pixels=0)
    ways = [images[0], images[0].flip(-1), images[0].flip(-2), images[0].flip(-1, -2)]
    met = [next(i for i, way in enumerate(ways) if torch.allclose(one, way, atol=1e-5)) for one in turned]
    assert set(met) == {0, 1, 2, 3}


def test_values_stay_in_the_images_own_range_and_shape() -> None:
    images = torch.rand(20, 1, 15, 21) * 1400 - 1000
    turned = augmented(images, generator(), flips=True, rotation_degrees=20, shift_pixels=3)
    assert turned.shape == images.shape
    assert float(turned.min()) >= float(images.min()) - 1e-2
    assert float(turned.max()) <= float(images.max()) + 1e-2


@pytest.mark.parametrize(("height", "width"), [(41, 41), (41, 81)])
def test_a_rotation_keeps_a_disc_a_disc(height: int, width: int) -> None:
    """The centre disc of an image, also of one with unequal sides, is the same after any rotation."""
    y, x = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    disc = torch.sigmoid(8 - (x**2 + y**2).float().sqrt()).expand(10, 1, height, width)
    turned = augmented(disc, generator(), flips=True, rotation_degrees=180, shift_pixels=0)
    assert float((turned - disc).abs().max()) < 0.08


def test_a_rotation_fills_with_the_nearest_edge_pixel_as_the_code_of_paper_a() -> None:
    """Keras' fill_mode "nearest", which is linear between pixels and repeats the edge, is scipy's mode "nearest"."""
    image = torch.rand(1, 1, 21, 17, generator=generator())
    turned = moved(image, lambda rows: torch.full((rows, 1), 0.9), flips=False, rotation_degrees=20,
                   shift_pixels=0)[0, 0]
    angle = 0.8 * np.radians(20)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.array([10.0, 8.0])
    wanted = ndimage.affine_transform(image[0, 0].numpy(), matrix, centre - matrix @ centre, order=1, mode="nearest")
    assert np.abs(turned.numpy() - wanted).max() < 1e-4
    other = ndimage.affine_transform(image[0, 0].numpy(), matrix, centre - matrix @ centre, order=1, mode="constant")
    assert np.abs(turned.numpy() - other).max() > 0.1


def test_a_shift_moves_by_at_most_what_was_asked() -> None:
    images = torch.zeros(200, 1, 21, 21)
    images[:, :, 10, 10] = 1
    turned = augmented(images, generator(), flips=False, rotation_degrees=0, shift_pixels=3)[:, 0]
    pixels = torch.arange(21) - 10.0
    places = torch.stack([(turned.sum(1) * pixels).sum(1), (turned.sum(2) * pixels).sum(1)])
    assert 2.5 < float(places.abs().max()) <= 3.001


def test_draws_depend_on_the_generator_alone() -> None:
    images = torch.rand(4, 1, 9, 9)
    one, two = (augmented(images, generator(), flips=True, rotation_degrees=20, shift_pixels=2) for _ in range(2))
    assert torch.equal(one, two)


# real images

@pytest.mark.slow
def test_a_narrow_vgg_learns_real_nodules(shared_data: Callable[[str], Path]) -> None:
    """A few epochs on LIDC patches: far better than chance (the full setting is measured, not tested)."""
    patches = limit(open_cases(shared_data("lidc-patches-2d")), 400, 0)
    cases = split(prepare(patches, Preparation(window=(-1000.0, 400.0), crop=32)), 0)
    given = Classifier(load_classifier_module("narrow_vgg", size=32), cases.bounds, "logits",
                       normalise=(-300.0, 700.0))
    found = fit(given, cases.part("train"), cases.part("validation"), TrainingSettings(epochs=10, batch=16))
    assert found.history["epochs"][-1]["validation_auc"] > 0.75
