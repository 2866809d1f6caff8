"""The synthetic nodules: said to be so, each from its own stream, learnable and not trivial."""

import numpy as np
import pytest
import torch

from steadyread.cases import phantom
from steadyread.errors import UsageError


def test_it_says_that_it_is_synthetic() -> None:
    cases = phantom.nodules(12, 0)
    assert cases.synthetic
    assert "SYNTHETIC" in cases.name
    assert all("synthetic" in row.id and "synthetic" in row.patient for row in cases.rows)


def test_an_image_depends_on_its_seed_and_index_only() -> None:
    few, many = phantom.nodules(6, 4), phantom.nodules(60, 4)
    for index in (5, 0, 3):
        assert torch.equal(few[index].image, many[index].image)
        assert few.rows[index] == many.rows[index]
    assert not torch.equal(phantom.nodules(6, 5)[0].image, few[0].image)


def test_classes_patients_and_values() -> None:
    cases = phantom.nodules(60, 1)
    assert cases.counts() == {"benign": 30, "malignant": 30}
    assert len({row.patient for row in cases.rows}) == 50
    images = torch.stack([case.image for case in cases])
    assert images.shape == (60, 1, 64, 64)
    assert images.min() >= -1024
    assert -900 < float(images[:, :, :, :].median()) < -750
    assert float(images[:, :, 28:36, 28:36].mean(dim=(1, 2, 3)).median()) + 200 > 0
    assert cases[0].spacing_mm == (0.7, 0.7)
    assert phantom.nodules(2, 0, size=48)[1].image.shape == (1, 48, 48)


def test_malignant_nodules_reach_further_but_not_always() -> None:
    cases = phantom.nodules(300, 2)
    axis = (np.arange(64) - 31.5) * 0.7
    ring = np.hypot(axis[:, None], axis[None, :])
    ring = (ring > 8) & (ring < 11)
    share = np.array([float((case.image.numpy()[0][ring] > -650).mean()) for case in cases])
    labels = np.array([row.label for row in cases.rows])
    wins = (share[labels == 1][:, None] > share[labels == 0][None, :]).mean()
    assert 0.6 < wins < 0.95


@pytest.mark.parametrize(("n", "size"), [(1, 64), (10, 16)])
def test_too_few_or_too_small(n: int, size: int) -> None:
    with pytest.raises(UsageError, match="phantom"):
        phantom.nodules(n, 0, size)
