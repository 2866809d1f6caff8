"""Our noise, data and classifiers as other libraries know such things, with the real libraries where they are there."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from steadyread import CTNoise, Linf, Spectrum, pgd
from steadyread.cases import Cases
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.interop.maite import (
    AttackAugmentation,
    MaiteDataset,
    MaiteModel,
    ThreatAugmentation,
    cases_of,
    classifier_of,
)
from steadyread.types import Bounds

HU = Bounds(-1000, 400, "HU")
IMAGES = (np.random.default_rng(0).random((6, 1, 16, 16)) * 1000 - 800).astype(np.float32)
LABELS = [0, 1, 0, 1, 0, 1]


# MONAI

@pytest.fixture(name="noised")
def _noised() -> Any:
    pytest.importorskip("monai.transforms")
    from steadyread.interop.monai import RandCTNoised

    return RandCTNoised


def volume(spacing: tuple[float, ...], *shape: int) -> Any:
    """A volume of 0 HU as MONAI has it, (1, *shape) with its affine."""
    from monai.data import MetaTensor

    return MetaTensor(torch.zeros(1, *shape), affine=torch.diag(torch.tensor([*spacing, 1.0])))


def test_the_monai_transform_adds_noise_of_the_dose_and_the_images_own_spacing(noised: Any) -> None:
    made = noised("image", prob=1.0, mas=50)({"image": volume((0.7, 0.7, 2.5), 64, 64, 20), "label": 1})
    assert made["label"] == 1
    assert type(made["image"]).__name__ == "MetaTensor"
    noise = made["image"].as_tensor()[0]
    assert float(noise.std()) == pytest.approx(Spectrum.soft().sigma_hu(50, 0.7), rel=0.03)
    flat = noise.reshape(-1, 20).T      # slices lie along the last axis, and are independent
    assert float(torch.corrcoef(flat).fill_diagonal_(0).abs().max()) < 0.1
    along = float(torch.corrcoef(torch.stack([noise[:-1].flatten(), noise[1:].flatten()]))[0, 1])
    assert along > 0.2                  # in a slice neighbours are not
    first = volume((0.7, 0.7, 2.5), 20, 64, 64)        # slices along the first axis, as the affine says
    first.affine = first.affine[:, [2, 1, 0, 3]]
    flat = noised("image", prob=1.0, mas=50)({"image": first})["image"].as_tensor()[0].flatten(1)
    assert float(torch.corrcoef(flat).fill_diagonal_(0).abs().max()) < 0.1


def test_the_monai_transform_follows_the_state_and_the_probability(noised: Any) -> None:
    data = {"image": volume((0.7, 0.7, 1.0), 16, 16, 4)}
    first, again = (noised("image", prob=1.0).set_random_state(7)(data)["image"] for _ in range(2))
    torch.testing.assert_close(first.as_tensor(), again.as_tensor(), rtol=0, atol=0)
    other = noised("image", prob=1.0).set_random_state(8)(data)["image"]
    assert not torch.equal(first.as_tensor(), other.as_tensor())
    assert not noised("image", prob=0.0)(data)["image"].as_tensor().any()
    transform = noised("image", prob=1.0, mas=(10, 100)).set_random_state(1)
    doses = []
    for _ in range(20):
        transform(data)
        doses.append(transform.mas)
    assert 10 <= min(doses) < 25
    assert 45 < max(doses) <= 100
    flat = noised("image", prob=1.0, spacing_mm=0.7)({"image": np.zeros((3, 16, 16), np.int16)})["image"]
    assert flat.dtype == torch.float32
    assert float(torch.corrcoef(flat.reshape(3, -1))[0, 1].abs()) < 0.3     # channels are slices of their own


@pytest.mark.parametrize(("image", "told"), [
    (torch.zeros(1, 8, 8), "spacing is not known"), (torch.rand(1, 8, 8), r"added in HU; the image goes from .* to "),
    (torch.zeros(8, 8), "with channels")])
def test_the_monai_transform_refuses_what_is_no_image_in_hu(noised: Any, image: torch.Tensor, told: str) -> None:
    with pytest.raises(InputRefused, match=told):
        noised("image", prob=1.0)({"image": image})
    with pytest.raises(UsageError, match="mas must be a dose"):
        noised("image", mas=(100, 10))
    with pytest.raises(UsageError, match="no spectrum"):
        noised("image", spectrum="sharpest")


def test_the_monai_transform_stands_in_a_pipeline(noised: Any) -> None:
    from monai.data import DataLoader, Dataset
    from monai.transforms import Compose, EnsureChannelFirstd, ScaleIntensityRanged

    steps = Compose([EnsureChannelFirstd("image", channel_dim="no_channel"), noised("image", prob=1.0, spacing_mm=0.7),
                     ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True)]).set_random_state(0)
    items = [{"image": image[0], "label": label} for image, label in zip(IMAGES, LABELS, strict=True)]
    loader = DataLoader(Dataset(items, steps), batch_size=3)
    batch = next(iter(loader))
    assert batch["image"].shape == (3, 1, 16, 16)
    assert 0 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1


# nrtk

def test_the_nrtk_perturber_is_one_and_keeps_type_and_boxes() -> None:
    nrtk = pytest.importorskip("nrtk.interfaces")
    from steadyread.interop.nrtk import CTNoisePerturber

    perturber = CTNoisePerturber(mas=50, spacing_mm=0.7, seed=3)
    assert isinstance(perturber, nrtk.PerturbImage)
    image = np.full((64, 64), -500, np.int16)
    noisy, boxes = perturber(image=image, boxes=[("box", {"nodule": 1.0})])
    assert noisy.dtype == np.int16
    assert boxes == [("box", {"nodule": 1.0})]
    assert float(noisy.std()) == pytest.approx(Spectrum.soft().sigma_hu(50, 0.7), rel=0.1)
    assert (image == -500).all()
    assert not np.array_equal(perturber(image=image)[0], noisy)         # another one at each call
    again = CTNoisePerturber.from_config(perturber.get_config())
    np.testing.assert_array_equal(again(image=image)[0], noisy)
    static = CTNoisePerturber(seed=3, is_static=True)
    np.testing.assert_array_equal(static(image=image)[0], static(image=image)[0])
    assert perturber(image=image[..., None].astype(np.float32))[0].shape == (64, 64, 1)
    edge = np.full((8, 8), np.iinfo(np.int16).max, np.int16)
    assert (perturber(image=edge)[0] > 32000).all()
    with pytest.raises(InputRefused, match="got uint8"):
        perturber(image=image.astype(np.uint8))


# MAITE

def made_cases() -> Cases:
    return Cases.from_arrays(IMAGES, LABELS, bounds=HU, classes=["benign", "malignant"], ids=list("uvwxyz"),
                             name="ward", spacing_mm=(0.7, 0.7))


def made_classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), HU, "logits", normalise="unit", name="net")


def test_protocols_of_maite_are_met() -> None:
    maite = pytest.importorskip("maite.protocols.image_classification")
    dataset, model = MaiteDataset(made_cases()), MaiteModel(made_classifier(), ["benign", "malignant"])
    assert isinstance(dataset, maite.Dataset)
    assert isinstance(model, maite.Model)
    assert isinstance(ThreatAugmentation(Linf(10.0), HU), maite.Augmentation)
    assert isinstance(AttackAugmentation(made_classifier(), pgd(10.0)), maite.Augmentation)
    predict = pytest.importorskip("maite.tasks").predict
    rows, _ = predict(model=model, dataset=dataset, batch_size=2)
    assert np.concatenate([np.stack(batch) for batch in rows]).shape == (6, 2)


def test_data_and_networks_go_to_maite_and_back() -> None:
    cases, classifier = made_cases(), made_classifier()
    dataset = MaiteDataset(cases)
    assert dataset.metadata == {"id": "ward", "index2label": {0: "benign", 1: "malignant"}}
    image, target, known = dataset[1]
    assert (image.shape, target.tolist(), known["id"], known["spacing_mm"]) == ((1, 16, 16), [0, 1], "v", (0.7, 0.7))
    assert len(list(dataset)) == 6
    back = cases_of(dataset, bounds=HU)
    assert (back.name, back.classes) == ("ward", ("benign", "malignant"))
    assert [(row.id, row.label) for row in back.rows] == list(zip("uvwxyz", LABELS, strict=True))
    np.testing.assert_array_equal(back[3].image, cases[3].image)
    model = MaiteModel(classifier)
    rows = np.stack(model([image for image, _, _ in dataset]))
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    again = classifier_of(model, bounds=HU)
    np.testing.assert_allclose(again.logits(torch.from_numpy(IMAGES)).softmax(1).numpy(), rows, atol=1e-5)
    assert again.name == "net"


def test_threats_and_attacks_are_augmentations_keyed_by_id() -> None:
    dataset, classifier = MaiteDataset(made_cases()), made_classifier()
    items = [dataset[at] for at in range(6)]
    batch = tuple(map(list, zip(*items, strict=True)))
    noise = ThreatAugmentation(CTNoise(Spectrum.soft(), mas=50), HU, seed=4)
    images, targets, known = noise(batch)      # type: ignore[arg-type]
    assert targets is batch[1]
    assert {each["augmentation"] for each in known} == {"steadyread-CTNoise"}
    changed = np.stack(images) - IMAGES
    assert changed.std() == pytest.approx(Spectrum.soft().sigma_hu(50, 0.7), rel=0.15)
    alone = noise(tuple([part[2]] for part in batch))[0][0]     # type: ignore[arg-type]
    np.testing.assert_array_equal(alone, images[2])
    small = ThreatAugmentation(Linf(10.0), HU, size=3.0)(batch)[0]      # type: ignore[arg-type]
    assert 0 < np.abs(np.stack(small) - IMAGES).max() <= 3.001
    attacked, _, told = AttackAugmentation(classifier, pgd(20.0))(batch)    # type: ignore[arg-type]
    assert 0 < np.abs(np.stack(attacked) - IMAGES).max() <= 20.001
    flipped = classifier.logits(torch.from_numpy(np.stack(attacked))).argmax(1).numpy() != LABELS
    assert [each["flipped"] for each in told] == flipped.tolist()
