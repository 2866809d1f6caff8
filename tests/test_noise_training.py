"""Hardening against CT noise: what is taught, what is stored and found again, and a weakness that goes away."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from steadyread import records
from steadyread.attacks.optimised_noise import optimised_ct_noise
from steadyread.attacks.paper_noise import PaperCTNoise
from steadyread.attacks.random_noise import random_ct_noise
from steadyread.cases import Cases, Row, collate
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.threats import CTNoise, Spectrum
from steadyread.threats.rings import ring_set
from steadyread.training.crafts import NoiseSteps
from steadyread.training.drift import DriftCorrection, fit_drift
from steadyread.training.lessons import Lesson
from steadyread.training.noise_harden import Rule, harden_under_noise
from steadyread.training.noise_settings import NoiseHardeningSettings
from steadyread.training.perturbed import Hunt, enlarged, hunted, replayed
from steadyread.training.settings import TrainingSettings
from steadyread.types import Batch, Bounds

BOUNDS = Bounds(-1024.0, 3071.0, "HU")
NOISE = CTNoise(Spectrum.soft())
SIDE = 12
HUNT = Hunt(NOISE, (50.0, 200.0), steps=4)
QUIET = TrainingSettings(batch=16, learning_rate=3e-3, weight_decay=0.0, schedule="constant", flips=False,
                         rotation_degrees=0.0, shift_pixels=0.0, max_norm=None)


def lumps(n: int, seed: int = 0, part: str = "train") -> Cases:
    """Malignant ones are 200 HU brighter in the middle, which no noise of these doses undoes."""
    chance = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = chance.normal(-700, 20, (n, 1, SIDE, SIDE)).astype(np.float32)
    pixels[labels == 1, :, 3:9, 3:9] += 200
    rows = tuple(Row(f"{part}-{seed}-{i}", f"p{seed}-{i}", int(label), str(label), (1.0, 1.0), part, i)
                 for i, label in enumerate(labels))
    return Cases("lumps", rows, lambda row: pixels[row.source], ("benign", "malignant"), BOUNDS)


def weak(planted: float = 1.0) -> Classifier:
    """Reads the middle's brightness, and just as much a fine pattern that says nothing of the label."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 1))
    signal, pattern = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE)
    signal[3:9, 3:9] = 1.0
    pattern[::4], pattern[2::4] = 1.0, -1.0
    pattern[:, 3:9] = 0.0
    with torch.no_grad():
        module[1].weight.copy_((signal / 36 + planted * pattern / 5).reshape(1, -1))
        module[1].bias.zero_()
    return Classifier(module, BOUNDS, "logit", normalise=lambda x: (x + 600 - 100 * signal.mean()) / 50)


def settings(**told: Any) -> NoiseHardeningSettings:
    return NoiseHardeningSettings(**({"noise": NOISE, "mas": (50.0, 200.0), "training": QUIET} | told))


def flipped(classifier: Classifier, cases: Cases, mas: float = 100.0) -> float:
    batch, _ = collate([cases[at] for at in range(len(cases))], BOUNDS)
    reference = prediction_of(classifier.examine(batch.images))
    found = optimised_ct_noise(replace(NOISE, mas=mas))(classifier, batch, reference, 9).columns()
    return float((found["flips"] > 0).float().mean())


def weights(classifier: Classifier) -> Tensor:
    return torch.cat([value.flatten() for value in classifier.module.state_dict().values()])


# what is taught

def lesson(n: int = 10, repeated: bool = False) -> Lesson:
    cases = lumps(n)
    batch, labels = collate([cases[0 if repeated else at] for at in range(n)], BOUNDS)
    return Lesson(batch, labels, torch.Generator().manual_seed(3))


def climbed(logits: Tensor) -> Tensor:
    return logits[:, 1]


@pytest.mark.parametrize("steps", [0, 3])
def test_noise_in_a_batch_has_the_sigma_of_its_dose(steps: int) -> None:
    given = lesson(40)
    images = NoiseSteps(NOISE, (100.0,), steps)(weak(), given.batch, climbed, given.generator)
    noise = (images - given.batch.images)[:, 0]
    assert float(noise.std()) == pytest.approx(NOISE.sigma_hu(100.0), rel=0.1)
    if steps:   # optimised noise keeps the power of every ring of every image
        rings = ring_set(NOISE._field((SIDE, SIDE), (1.0, 1.0)), "cpu")
        size = torch.full((40,), NOISE.sigma_hu(100.0))
        assert float(rings.error(noise[:, None], size).max()) < 1e-3


def test_doses_are_drawn_for_each_image_and_all_of_them() -> None:
    given = lesson(60)
    images = NoiseSteps(NOISE, (10.0, 1000.0), 0)(weak(), given.batch, climbed, given.generator)
    sigma = (images - given.batch.images).flatten(1).std(1)
    strong = sigma > (NOISE.sigma_hu(10.0) * NOISE.sigma_hu(1000.0)) ** 0.5
    assert 15 < int(strong.sum()) < 45


def test_an_image_twice_in_a_batch_gets_two_noises() -> None:
    given = lesson(4, repeated=True)
    images = NoiseSteps(NOISE, (100.0,), 0)(weak(), given.batch, climbed, given.generator)
    assert len({image.numpy().tobytes() for image in images}) == 4


def test_steps_in_a_batch_raise_what_is_climbed_and_cost_what_is_said() -> None:
    network, given = weak(), lesson(20)
    craft = NoiseSteps(NOISE, (100.0,), 4)
    images = craft(network, given.batch, climbed, given.generator)
    assert (network.passes.forwards, network.passes.backwards) == (80, 80)
    drawn = NoiseSteps(NOISE, (100.0,), 0)(network, given.batch, climbed, torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert bool((network.logits(images)[:, 1] > network.logits(drawn)[:, 1]).all())


@pytest.mark.parametrize("wrong", [{"mas": ()}, {"mas": (0.0,)}, {"steps": -1}])
def test_noise_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="noise in training needs"):
        NoiseSteps(**({"noise": NOISE, "mas": (100.0,), "steps": 2} | wrong))


# what is found and stored

@pytest.mark.parametrize("kind", ["rings", "plausible", "random", "paper"])
def test_found_noises_are_replayed_bit_for_bit(kind: Any, tmp_path: Path) -> None:
    cases, network = lumps(70), weak()
    hunt = Hunt(NOISE, (1.0, 1000.0), kind, starts=2, steps=3, seed=4)
    found = hunted(network, cases, hunt, tmp_path)
    assert found.attacks == 70 * 2 * 2
    assert 0 < len(found.perturbations) < found.attacks
    for block in (0, 1):
        images = replayed(network, cases, hunt, block)
        assert np.array_equal(images.numpy(), np.load(tmp_path / f"perturbed-{block:05d}.npy"))
    assert {one.block for one in found.perturbations} == {0, 1}
    assert len({one.sha256 for one in found.perturbations}) == len(found.perturbations)


def test_the_papers_own_noise_is_hunted_as_the_paper_has_it(tmp_path: Path) -> None:
    """[B]'s Algorithm 1 with its 10 iterations, in steps of the network's window, pooled over a block of images."""
    cases, network = lumps(20), weak()
    hunt = Hunt(NOISE, (100.0,), "paper", window_hu=(-900.0, 100.0), seed=3)
    assert (hunt.gradients, Hunt(NOISE, (100.0,), "rings").gradients) == (10, 20)
    found = hunted(network, cases, hunt, tmp_path)
    assert records.read_json(tmp_path / "hunt.json")["window_hu"] == [-900.0, 100.0]
    batch, _ = collate([cases[at] for at in range(20)], BOUNDS)
    reads = prediction_of(network.examine(batch.images))
    printed = PaperCTNoise(replace(NOISE, mas=100.0, projection="paper"), starts=1, window_hu=(-900.0, 100.0))
    flips = printed(network, batch, reads, 3).columns()["flips"]
    assert [one.case_id for one in found.perturbations] == [
        key for key, flipped in zip(batch.keys, flips.tolist(), strict=True) if flipped]


def test_what_joins_flips_the_read_and_has_its_cases_label(tmp_path: Path) -> None:
    cases, network = lumps(40), weak()
    found = hunted(network, cases, HUNT, tmp_path)
    whole = enlarged(cases, [found])
    assert [row.id for row in whole.rows[:40]] == [row.id for row in cases.rows]
    assert len(whole) == 40 + len(found.perturbations)
    assert len({row.id for row in whole.rows}) == len(whole)
    known = {row.id: row for row in cases.rows}
    clean, _ = collate([cases[at] for at in range(40)], BOUNDS)
    reads = dict(zip(clean.keys, prediction_of(network.examine(clean.images)).tolist(), strict=True))
    for at, one in enumerate(found.perturbations, start=40):
        assert whole.rows[at].label == known[one.case_id].label
        assert whole.rows[at].patient == known[one.case_id].patient
        image = whole[at].image[None]
        assert int(prediction_of(network.examine(image))[0]) != reads[one.case_id]
        noise = image - torch.from_numpy(cases.load(known[one.case_id]))
        assert float(noise.std()) == pytest.approx(NOISE.sigma_hu(one.mas), rel=0.05)


def test_lost_images_are_made_again_and_others_refused(tmp_path: Path) -> None:
    cases, network = lumps(40), weak()
    hunted(network, cases, HUNT, tmp_path)
    file = tmp_path / "perturbed-00000.npy"
    held = file.read_bytes()
    file.unlink()
    hunted(network, cases, HUNT, tmp_path)
    assert file.read_bytes() == held
    told = records.read_json(tmp_path / "perturbed-00000.json")
    told["perturbations"][0]["sha256"] = "0" * 64
    records.write_json(tmp_path / "perturbed-00000.json", told)
    file.unlink()
    with pytest.raises(InputRefused, match="other noises are found"):
        hunted(network, cases, HUNT, tmp_path)


def test_a_hunt_of_another_network_or_seed_is_refused(tmp_path: Path) -> None:
    cases = lumps(20)
    hunted(weak(), cases, HUNT, tmp_path)
    with pytest.raises(PlanDiffers, match="network differ"):
        hunted(weak(2.0), cases, HUNT, tmp_path)
    with pytest.raises(PlanDiffers, match="seed differ"):
        hunted(weak(), cases, replace(HUNT, seed=1), tmp_path)


def test_test_images_are_refused_everywhere(tmp_path: Path) -> None:
    leaking = replace(lumps(20), rows=(*lumps(20).rows, *lumps(2, part="test").rows))
    for method in ("adaptive", "fresh", "clean"):
        with pytest.raises(InputRefused, match="of the test part"):
            harden_under_noise(weak(), leaking, lumps(10, 1), settings(method=method, epochs=1), tmp_path / method)
    with pytest.raises(InputRefused, match="of the test part"):
        fit_drift(weak(), leaking, NOISE, [100.0], 2)


# what comes of it

@pytest.mark.parametrize("method", ["adaptive", "fresh"])
def test_a_planted_weakness_goes_away(method: Any, tmp_path: Path) -> None:
    network, unseen = weak(), lumps(60, 7, "test")
    asked = settings(method=method, epochs=20, steps=4, auc_cost=0.02)
    found = harden_under_noise(network, lumps(48), lumps(24, 1, "validation"), asked, tmp_path)
    assert flipped(network, unseen) > 0.8
    assert flipped(found.classifier, unseen) < 0.2
    assert found.classifier.stage == "hardened"
    with torch.no_grad():
        labels = torch.tensor([row.label for row in unseen.rows])
        batch, _ = collate([unseen[at] for at in range(60)], BOUNDS)
        assert float((found.classifier.logits(batch.images).argmax(1) == labels).float().mean()) == 1.0


def test_rounds_end_where_nothing_flips(tmp_path: Path) -> None:
    steady = weak(0.0)
    found = harden_under_noise(steady, lumps(20), lumps(10, 1, "validation"), settings(), tmp_path)
    assert found.rounds == ()
    assert "no noise changed the read" in found.history["stopped"]
    assert found.history["failed"] == found.history["stopped"]
    assert torch.equal(weights(found.classifier), weights(steady))


def test_a_round_that_loses_too_much_auc_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rule, "holds", lambda self, told: False)
    network = weak()
    found = harden_under_noise(network, lumps(20), lumps(10, 1, "validation"), settings(epochs=1), tmp_path)
    assert "not kept" in found.history["stopped"]
    assert torch.equal(weights(found.classifier), weights(network))


@pytest.mark.parametrize("method", ["adaptive", "fresh", "augment", "clean"])
def test_a_budget_is_spent_to_an_epoch(method: Any, tmp_path: Path) -> None:
    asked = settings(method=method, budget=4000, mas=(100.0,), steps=2)
    told = harden_under_noise(weak(), lumps(40), lumps(10, 1, "validation"), asked, tmp_path).history
    an_epoch = max(one["taught"] for one in told["rounds"]) * asked.passes_an_image
    assert abs(told["passes"] - 4000 * len(told["rounds"]) / asked.rounds_held) <= an_epoch * len(told["rounds"])


class Cut(Exception):
    """A process that dies."""


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_hardening_that_is_cut_off_goes_on_bit_for_bit(after: int, tmp_path: Path) -> None:
    """Cut amid the hunt of either round, amid its epochs, and between."""
    def cut(items: Any, total: int, label: Any) -> Any:
        for item in items:
            seen.append(item)
            if len(seen) > after:
                raise Cut
            yield item

    def run(folder: Path, **work: Any) -> Tensor:
        asked = settings(epochs=2, mas=(100.0,))
        return weights(harden_under_noise(weak(), lumps(70), lumps(16, 1, "validation"), asked, folder,
                                          **work).classifier)

    seen: list[Any] = []
    with pytest.raises(Cut):
        run(tmp_path / "cut", progress=cut)
    whole = run(tmp_path / "whole")
    assert torch.equal(run(tmp_path / "cut"), whole)
    assert torch.equal(run(tmp_path / "cut"), whole)     # and a finished one is taken up


def test_the_epoch_kept_is_the_steadiest_that_reads_as_well() -> None:
    def told(auc: float, steady: float) -> dict[str, float]:
        return {"validation_auc": auc, "validation_steady": steady}

    rule = Rule(0.89, 0.85)
    assert rule.merit({"validation_auc": 0.9}) is None
    order = [told(0.70, 0.3), told(0.88, 0.9), told(0.89, 0.2), told(0.93, 0.4), told(0.90, 0.5)]
    merits = [rule.merit(one) or () for one in order]
    assert merits == sorted(merits)


@pytest.mark.parametrize(("wrong", "told"), [
    ({"method": "magic"}, "known are pgd, clean, adaptive, fresh, augment"), ({"mas": ()}, "mas must be a dose"),
    ({"mas": (-1.0,)}, "mas must be above 0"), ({"share": 1.5}, "share at most 1"),
    ({"method": "pgd"}, "epsilon is stated"), ({"budget": 0}, "budget must be above 0")])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        settings(**wrong)


# drift

class Squares(nn.Module):
    """z = a + b mean(x^2): noise of sigma moves it by b sigma^2, whatever the image, but for its jitter."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))

    def forward(self, images: Tensor) -> Tensor:
        return self.offset + (images / 100).square().mean((1, 2, 3))


def flat(n: int) -> tuple[Cases, Batch]:
    rows = tuple(Row(f"f{i}", f"p{i}", 0, "0", (1.0, 1.0), "train", i) for i in range(n))
    cases = Cases("flat", rows, lambda row: np.zeros((1, 32, 32), np.float32), ("benign", "malignant"), BOUNDS)
    return cases, collate([cases[at] for at in range(n)], BOUNDS)[0]


@pytest.mark.parametrize("mas", [10.0, 100.0])
def test_the_drift_is_that_of_the_closed_form(mas: float) -> None:
    cases, _ = flat(8)
    (found,) = fit_drift(Classifier(Squares(-5.0), BOUNDS, "logit"), cases, NOISE, [mas], 40)
    assert found.reads == (8 * 40, 0)
    assert found.towards[0] == pytest.approx((NOISE.sigma_hu(mas) / 100) ** 2, rel=0.02)
    assert found.towards[1] == 0.0


def test_what_drift_flips_is_read_right_again_once_corrected() -> None:
    cases, batch = flat(8)
    drift = (NOISE.sigma_hu(10.0) / 100) ** 2
    network = Classifier(Squares(-0.6 * drift), BOUNDS, "logit")
    (found,) = fit_drift(network, cases, NOISE, [10.0], 20)
    # what crosses is read as malignant, so the drift of that class is the one that is taken off
    corrected = DriftCorrection(10.0, (found.towards[1], found.towards[1]), found.reads).corrected(network)
    reference = torch.zeros(8, dtype=torch.int64)
    attack = random_ct_noise(NOISE, [10.0], 20)
    plain, mended = (attack(one, batch, reference, 5)[0].columns()["flips"] for one in (network, corrected))
    assert int(plain.sum()) == 160
    assert int(mended.sum()) == 0
    assert network.module.offset.grad is None


def test_three_classes_have_no_drift_correction() -> None:
    cases, _ = flat(4)
    module = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 3))
    with pytest.raises(InputRefused, match="of networks of two classes"):
        fit_drift(Classifier(module, BOUNDS, "logits"), cases, NOISE, [10.0], 2)
