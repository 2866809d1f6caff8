"""Paper [B]'s Algorithm 1 as printed: its step, its projection, its stopping rule, and its counts."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from steadyread.attacks.optimised_noise import optimised_ct_noise
from steadyread.attacks.paper_noise import PaperCTNoise
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import UsageError
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Batch, Bounds

BOUNDS = Bounds(-1024.0, 3071.0, "HU")
PAPER = CTNoise(Spectrum.soft(), mas=100, spacing_mm=1.0, projection="paper")
SHAPES = [(20, 20), (3, 16, 20)]


def _linear(shape: tuple[int, ...], scale: float = 2e-4, outputs: int = 1) -> Classifier:
    module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs, bias=False))
    layer = module[1]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(4)))
    return Classifier(module, BOUNDS, "logit" if outputs == 1 else "logits")


def _batch(n: int, shape: tuple[int, ...]) -> Batch:
    images = 100 * torch.randn(n, 1, *shape, generator=torch.Generator().manual_seed(6))
    return Batch(images, tuple(f"case {place}" for place in range(n)), BOUNDS)


def _by_hand(classifier: Classifier, batch: Batch, noise: Tensor, step: float, size: float) -> Tensor:
    """Eq. 3 and 5, slice by slice and ring by ring, with the sigmoid's derivative written out."""
    layer = classifier.module[1]  # type: ignore[index]
    weight = layer.weight.detach().reshape(batch.images.shape[1:])
    clean, noisy = (torch.sigmoid((weight * images).flatten(1).sum(1)) for images in (
        batch.images, batch.images + noise))
    slope = 2 * (noisy - clean) * noisy * (1 - noisy)
    half = noise + step * slope.reshape(-1, *[1] * (noise.ndim - 1)) * weight
    ny, nx = noise.shape[-2:]
    frequency = (torch.fft.fftfreq(ny)[:, None].square() + torch.fft.fftfreq(nx).square()).sqrt()
    ring = torch.round(frequency * min(ny, nx)).clamp(min=1)
    ring[0, 0] = 0
    spectrum = PAPER.spectrum
    s_of_f = torch.from_numpy(spectrum.power(frequency.numpy().astype("f8"), 100.0)).float()
    target = (s_of_f * ny * nx).sqrt()
    whole = torch.fft.fft2(half)
    for one in ring.unique():
        here = ring == one
        mean = whole[..., here].abs().mean()
        whole[..., here] *= target[here].mean() / mean
    return torch.fft.ifft2(whole).real


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("unit", "factor"), [("window", 1400.0**2), ("HU", 1.0)])
def test_one_iteration_is_eq_3_and_5(shape: tuple[int, ...], unit: str, factor: float) -> None:
    classifier, batch = _linear(shape), _batch(7, shape)
    attack = PaperCTNoise(PAPER, unit, starts=1, iterations=1)  # type: ignore[arg-type]
    found = attack(classifier, batch, prediction_of(classifier.examine(batch.images)), 3)
    size = PAPER.size_of(100, batch)
    expected = _by_hand(classifier, batch, PAPER.start(batch, size, 3, 0), factor, float(size[0]))
    assert torch.allclose(found.images - batch.images, expected, atol=0.05)


def test_sigma_is_inflated_and_pooling_at_the_right_rms_is_not() -> None:
    """With a step of 0: 2 / sqrt(pi) for the mean modulus, 1 for `pooled`."""
    shape = (3, 24, 24)
    classifier, batch = _linear(shape), _batch(40, shape)
    reference = prediction_of(classifier.examine(batch.images))
    for projection, ratio in (("paper", 2 / math.sqrt(math.pi)), ("pooled", 1.0)):
        noise = replace(PAPER, projection=projection)  # type: ignore[arg-type]
        columns = PaperCTNoise(noise, starts=2, step=0.0)(classifier, batch, reference, 0).columns()
        sigma = float(columns["sigma_hu"].square().mean().sqrt())
        assert sigma == pytest.approx(ratio * PAPER.sigma_hu(100), rel=0.01)
        assert (columns["ring_error"] > 0.5).all()


def test_stops_where_the_noise_of_the_block_settles() -> None:
    """A step of 0: the first projection moves the noise, the second does not."""
    classifier, batch = _linear((20, 20)), _batch(5, (20, 20))
    reference = prediction_of(classifier.examine(batch.images))
    columns = PaperCTNoise(PAPER, starts=3, step=0.0)(classifier, batch, reference, 0).columns()
    assert (columns["backwards"] == 2 * 3).all()
    assert (columns["forwards"] == 1 + 2 * 3 + 3).all()
    columns = PaperCTNoise(PAPER, starts=3, iterations=4, tolerance=0.0)(classifier, batch, reference, 0).columns()
    assert (columns["backwards"] == 4 * 3).all()


def test_flips_are_those_of_the_last_noise_of_each_start() -> None:
    shape = (3, 16, 20)
    classifier, batch = _linear(shape, 2e-3), _batch(20, shape)
    reference = prediction_of(classifier.examine(batch.images))
    found = PaperCTNoise(PAPER, starts=6)(classifier, batch, reference, 0)
    columns = found.columns()
    each = [PaperCTNoise(PAPER, starts=starts)(classifier, batch, reference, 0).columns()["flips"]
            for starts in (1, 5)]
    assert (columns["trials"] == 6).all()
    assert 0 < columns["flips"].sum() < 6 * 20
    assert ((columns["flips"] - each[1] >= 0) & (columns["flips"] - each[1] <= 1)).all()
    assert each[0].max() <= 1
    assert torch.equal(columns["flips"] > 0, columns["margin"] < 0)
    assert torch.allclose(classifier.margins(found.images, reference).detach(), columns["margin"], atol=1e-4)


def test_starts_do_not_depend_on_how_many_share_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 16, 20)
    classifier, batch = _linear(shape, 2e-3), _batch(9, shape)
    reference = prediction_of(classifier.examine(batch.images))
    attack = PaperCTNoise(PAPER, starts=5)
    together = attack(classifier, batch, reference, 0).columns()
    monkeypatch.setattr("steadyread.attacks.paper_noise._AT_ONCE", {"cpu": 4})
    apart = attack(classifier, batch, reference, 0).columns()
    assert torch.allclose(together["margin"], apart["margin"], atol=1e-3)
    assert torch.equal(together["backwards"], apart["backwards"])


def test_the_block_is_pooled_as_in_the_paper() -> None:
    """The one stated exception to 'the same alone and in a batch'."""
    classifier, batch = _linear((20, 20), 2e-3), _batch(10, (20, 20))
    reference = prediction_of(classifier.examine(batch.images))
    attack, place = PaperCTNoise(PAPER, starts=1), torch.tensor([0])
    together = attack(classifier, batch, reference, 0).columns()["sigma_hu"]
    alone = attack(classifier, batch.pick(place), reference[place], 0).columns()["sigma_hu"]
    assert abs(float(together[0] - alone[0])) > 0.1


def test_more_classes_than_two() -> None:
    classifier, batch = _linear((20, 20), outputs=4), _batch(6, (20, 20))
    reference = prediction_of(classifier.examine(batch.images))
    columns = PaperCTNoise(PAPER, starts=2, iterations=3)(classifier, batch, reference, 0).columns()
    assert columns["logits"].shape == (6, 4)
    assert torch.isfinite(columns["margin"]).all()


def test_names_and_sizes_of_the_records() -> None:
    named = {strength: optimised_ct_noise(PAPER, strength) for strength in (  # type: ignore[arg-type]
        "rings", "plausible", "pooled", "paper", "paper_hu")}
    assert {strength: attack.name for strength, attack in named.items()} == {
        strength: f"{strength}_ct_noise" for strength in named}
    assert {(attack.size, attack.threat.unit, type(attack.threat).__name__) for attack in named.values()} == {
        (100, "mAs", "CTNoise")}


def test_the_defaults_are_those_of_algorithm_1() -> None:
    """[B] section 2.2.2: K = 50 starts, 10 iterations, a step of 1, ended where the noise changes by 0.1 %."""
    made = optimised_ct_noise(PAPER, "paper")
    assert isinstance(made, PaperCTNoise)
    assert (PaperCTNoise(PAPER).starts, made.iterations, made.step, made.tolerance) == (50, 10, 1.0, 1e-3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="'paper' or 'pooled'"):
        PaperCTNoise(replace(PAPER, projection="slice"))
    with pytest.raises(UsageError, match="step's unit"):
        PaperCTNoise(PAPER, "cm")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="starts must be at least 1"):
        PaperCTNoise(PAPER, starts=0)
