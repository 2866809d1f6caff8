"""Which regions of a phantom hold noise, at which dose, and what is said where they do not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fabricate_phantom
from fabricate_phantom import SPACING, Pixels, disc_among_bars, head
from steadyread.cases.structure import not_uniform
from steadyread.cases.uniform import find_regions
from steadyread.errors import InputRefused
from steadyread.metrics.dose_law import dose_law
from steadyread.noise_measure import Measurement, measure_noise
from steadyread.threats.power import noise_power
from steadyread.threats.spectrum import Spectrum

SIGMA = Spectrum.soft().sigma_hu(100, SPACING)


def _stored(path: Path, images: Pixels, mas: object = 100.0) -> Path:
    np.savez(path, images_hu=images, spacing_mm=SPACING, mas=np.asarray(mas, float))
    return path


def _warned(found: dict[str, object]) -> set[str]:
    return {one["check"] for one in found["findings"] if one["severity"] == "warning"}


@pytest.mark.parametrize("bars_hu", [100.0, 300.0, 1500.0])
def test_a_small_disc_of_water_is_found_among_bars(tmp_path: Path, bars_hu: float) -> None:
    """Homogeneity before area: the disc is 1 % of the slice, the line patterns most of it."""
    images = disc_among_bars(8, bars_hu)
    regions = find_regions(images, (SPACING, SPACING))
    for one in regions:
        corners = [np.hypot(one.row + dy - 112, one.column + dx - 112) * SPACING
                   for dy in (0, one.side - 1) for dx in (0, one.side - 1)]
        assert max(corners) < 17      # the disc and the even wall around it
    found = measure_noise([_stored(tmp_path / "disc.npz", images)], None, tmp_path)
    assert found["sigma_hu"] == pytest.approx(SIGMA, rel=0.03)
    assert len(regions) == 8
    assert "covered" in _warned(found) <= {"covered", "uniform"}      # the latter if a region meets the edge


@pytest.mark.parametrize("difference", [False, True])
def test_a_head_without_a_uniform_part_is_refused_or_warned_of(tmp_path: Path, difference: bool) -> None:
    """Bone and cells of air are never taken; what is taken of the brain is said to hold structure."""
    found = measure_noise([_stored(tmp_path / "head.npz", head())], Measurement(difference=difference), tmp_path)
    assert found["sigma_hu"] < 1.5 * SIGMA
    assert max(found["mean_hu"]) < 60
    if not difference:
        assert "structure" in _warned(found)


def test_bone_and_air_alone_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputRefused, match="no uniform part"):
        find_regions(rng.choice([-900.0, 900.0], (2, 96, 96)).astype(np.float32), (0.5, 0.5))
    with pytest.raises(InputRefused, match="no uniform part"):
        find_regions(rng.normal(0, 400, (2, 96, 96)).astype(np.float32), (0.5, 0.5))


def test_regions_lie_where_every_slice_of_a_group_is_quiet() -> None:
    """A pattern in one slice of two groups: each group has its own noise level, and one material."""
    loud = fabricate_phantom.noise(2, mas=25)
    quiet = fabricate_phantom.noise(2, mas=400, seed=3)
    images = np.concatenate([quiet, loud])
    images[:, :100] += 300        # another material, of as much area, whose noise is no quieter
    found = find_regions(images, (SPACING, SPACING), side_mm=16, groups=[0, 0, 1, 1])
    assert {one.image for one in found} == {0, 1, 2, 3}
    assert len({one.row > 90 for one in found}) == 1
    alone = find_regions(images, (SPACING, SPACING), side_mm=16)
    assert {one.image for one in alone} == {0, 1}


def test_the_check_of_regions_knows_bars_and_edges() -> None:
    noise = fabricate_phantom.noise(1)[0, :64, :64].astype(float)
    x = np.arange(64)
    bars, wave, corner, uneven = (noise.copy() for _ in range(4))
    bars += np.where(x // 4 % 2, 60, -60)
    wave += 60 * np.sin(x)
    corner[:24, :24] += 100
    uneven[32:, 32:] *= 4
    assert not_uniform(np.stack([noise, bars, wave, corner, uneven, np.full((64, 64), 7.0)])) == [1, 2, 3, 4, 5]


def test_noise_too_loud_for_ct_and_several_materials_are_said(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(0, 300, (2, 96, 96)).astype(np.float32)
    path = _stored(tmp_path / "loud.npz", images)
    found = measure_noise([path], Measurement(rois=("0,0,32", "40,40,32")), tmp_path)
    assert "loud" in _warned(found)
    mixed = fabricate_phantom.noise(2) * 0.3
    mixed[:, :112] -= 100
    found = measure_noise([_stored(tmp_path / "mixed.npz", mixed)],
                          Measurement(rois=("0,0,32", "40,40,32", "140,40,32")), tmp_path)
    assert "material" in _warned(found)


def test_the_lowest_ring_is_doubted_where_it_peaks(tmp_path: Path) -> None:
    y, x = np.mgrid[:224, :224]
    images = fabricate_phantom.noise(2) + (12 * np.sin(y / 12) * np.sin(x / 12)).astype(np.float32)
    found = measure_noise([_stored(tmp_path / "wavy.npz", images)], Measurement(rois=("60,60,64",)), tmp_path)
    assert {"low frequencies", "structure"} <= _warned(found)


@pytest.mark.parametrize(("doses", "reference"), [
    ((50, 50, 50, 200, 200, 200), 80.0), ((60, 90, 130, 190, 260, 380), 127.1), ((200, 50), 80.0)])
@pytest.mark.parametrize("difference", [False, True])
def test_dose_and_noise_are_of_the_same_slices(tmp_path: Path, doses: tuple[int, ...], reference: float,
                                               difference: bool) -> None:
    """Modulated current: no slice is left out for its loudness, and sigma goes with mAs^-1/2."""
    images = np.concatenate([fabricate_phantom.noise(1, mas=mas, seed=seed) for seed, mas in enumerate(doses)])
    found = measure_noise([_stored(tmp_path / "modulated.npz", images, doses)],
                          Measurement(difference=difference), tmp_path)
    if not difference:
        assert found["reference_mas"] == pytest.approx(reference, rel=1e-3)
    assert found["sigma_hu"] == pytest.approx(Spectrum.soft().sigma_hu(found["reference_mas"], SPACING), rel=0.03)
    if len(doses) > 2:
        law = found["dose_law"]
        assert law["exponent"] == pytest.approx(-0.5, abs=0.03)
        assert law["low"] < law["exponent"] < law["high"]
    assert not _warned(found)
    again = Spectrum.from_csv(found["table"])
    assert again.sigma_hu(100, SPACING) == pytest.approx(SIGMA, rel=0.03)


def test_a_dose_that_the_noise_does_not_follow_is_said(tmp_path: Path) -> None:
    images = fabricate_phantom.noise(4)
    path = _stored(tmp_path / "held.npz", images, (50, 100, 200, 400))
    found = measure_noise([path], None, tmp_path)
    assert found["dose_law"]["exponent"] == pytest.approx(0, abs=0.05)
    assert "dose law" in _warned(found)
    stated = measure_noise([path], Measurement(mas=100), tmp_path)
    assert (stated["reference_mas"], stated["dose_law"]) == (100, None)
    assert "dose" in _warned(stated)
    some = measure_noise([path], Measurement(slices="1:3", mas=100), tmp_path)
    assert "from 100 to 200 mAs" in next(one["message"] for one in some["findings"] if one["check"] == "dose")


def test_the_exponent_and_its_interval() -> None:
    law = dose_law([10, 100, 1000], [8, 2.5, 0.8])
    assert law is not None
    assert law.exponent == pytest.approx(-0.5)
    assert (law.low_mas, law.high_mas) == pytest.approx((10, 1000))
    assert law.is_quantum
    x, y = np.log([10, 100, 1000]), np.log([8, 2.5, 0.8])
    rest = y - y.mean() - law.exponent * (x - x.mean())
    assert law.high - law.exponent == pytest.approx(12.7062 * np.sqrt((rest**2).sum() / ((x - x.mean())**2).sum()))
    assert dose_law([100, 100], [3, 4]) is None
    two = dose_law([10, 40], [2, 1])
    assert two is not None
    assert (two.exponent, two.is_quantum) == (pytest.approx(-0.5), None)
    assert two.as_json()["low"] is None


def test_weights_count_regions() -> None:
    rois = np.random.default_rng(0).normal(0, [[[1]], [[3]]], (2, 64, 64))
    alone = [noise_power(roi, 1.0).sigma_hu ** 2 for roi in rois]
    both = noise_power(rois, 1.0, weights=np.array([3.0, 1.0])).sigma_hu
    assert both == pytest.approx(np.sqrt((3 * alone[0] + alone[1]) / 4))


@pytest.mark.slow
def test_a_patient_is_not_taken_for_a_phantom(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    for difference in (False, True):
        found = measure_noise([shared_data("chest-ct-series")], Measurement(difference=difference, slices="0:3"),
                              tmp_path)
        assert "patient" in _warned(found)
