"""`noise measure` and `noise show` as a user has them: files, figures, printed lines, refusals."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadyread.cases.structure import not_uniform
from steadyread.cases.uniform import Region, cut, find_regions
from steadyread.cli import main
from steadyread.errors import InputRefused, SteadyreadError, UsageError
from steadyread.noise_measure import Measurement, measure_noise
from steadyread.noise_show import Showing, show_noise
from steadyread.threats.ct_noise import CTNoise
from steadyread.threats.spectrum import Spectrum

Pixels = NDArray[np.float32]
SPACING = 0.8


@pytest.fixture(scope="module")
def phantom() -> Pixels:
    """Four slices of a disc of water in air, with a bone ring, a cupping of 6 HU and noise of `soft` at 100 mAs."""
    noise = CTNoise(Spectrum.soft(), mas=100.0, spacing_mm=SPACING).draw(4, (160, 160), seed=1)[:, 0].numpy()
    y, x = np.mgrid[:160, :160] - 79.5
    radius = np.hypot(y, x)
    shape = np.where(radius < 60, 6 * (radius / 60) ** 2, np.where(radius < 66, 900.0, -1000.0))
    held: Pixels = (shape + np.where(radius < 66, noise, 0)).astype(np.float32)
    return held


@pytest.fixture
def stored(tmp_path: Path, phantom: Pixels) -> Path:
    path = tmp_path / "phantom.npz"
    np.savez(path, images_hu=phantom, spacing_mm=SPACING, mas=100.0)
    return path


def _clear_of(region: Region, reach: float) -> bool:
    """Whether all corners lie within `reach` of the disc's middle."""
    corners = [(region.row + dy - 79.5, region.column + dx - 79.5)
               for dy in (0, region.side - 1) for dx in (0, region.side - 1)]
    return max(np.hypot(*corner) for corner in corners) < reach


def test_regions_lie_in_the_water_and_do_not_overlap(phantom: Pixels) -> None:
    found = find_regions(phantom, (SPACING, SPACING))
    assert len(found) >= 12
    assert all(_clear_of(region, 60) for region in found)
    for image in range(4):
        taken = np.zeros((160, 160), int)
        for one in found:
            if one.image == image:
                taken[one.row:one.row + one.side, one.column:one.column + one.side] += 1
        assert taken.max() == 1
        assert taken.sum() > 0.25 * np.pi * 60**2
    assert not not_uniform(cut(phantom, found))


def test_regions_of_pairs_are_clear_in_both(phantom: Pixels) -> None:
    other = phantom.copy()
    other[1, 70:74, :] += 300        # a rod in the second slice only
    found = find_regions(other, (SPACING, SPACING), side_mm=16, together=2)
    near = [one for one in found if one.row < 74 and one.row + one.side > 70]
    assert {one.image for one in found} == {0, 1, 2}
    assert not [one for one in near if one.image < 2]
    assert [one for one in near if one.image == 2]


def test_structure_is_told_from_noise(phantom: Pixels) -> None:
    clean = phantom[0, 60:92, 60:92].astype(float)
    edge, ramp, dot, still = clean.copy(), clean.copy(), clean.copy(), np.zeros((32, 32))
    edge[16:] += 120
    ramp += np.linspace(0, 200, 32)
    dot[10, 10] += 400
    still[12:20, 12:20] = 500
    assert not_uniform(np.stack([clean, edge, ramp, dot, still])) == [1, 2, 3, 4]


def test_no_uniform_part_is_refused(phantom: Pixels) -> None:
    with pytest.raises(InputRefused, match="no uniform part of at least"):
        find_regions(np.full((2, 64, 64), -1000, np.float32), (1.0, 1.0))
    with pytest.raises(UsageError, match="expected 12 to 160 pixels"):
        find_regions(phantom, (SPACING, SPACING), side_mm=3)


@pytest.mark.parametrize("difference", [False, True])
def test_a_measured_spectrum_is_the_one_drawn(stored: Path, tmp_path: Path, difference: bool) -> None:
    """Round trip: draw `soft`, measure it, read the table again: the same sigma and mean frequency."""
    found = measure_noise([stored], Measurement(difference=difference), tmp_path / "out")
    soft = Spectrum.soft()
    assert found["sigma_hu"] == pytest.approx(soft.sigma_hu(100, SPACING), rel=0.06)
    assert found["reference_mas"] == 100
    again = Spectrum.from_csv(found["table"], found["reference_mas"])
    assert again.sigma_hu(100, SPACING) == pytest.approx(found["sigma_hu"], rel=0.03)
    assert again.mean_per_mm == pytest.approx(found["mean_per_mm"], rel=0.05)
    assert again.mean_per_mm == pytest.approx(soft.mean_per_mm, rel=0.1)
    assert {one["severity"] for one in found["findings"]} <= {"note"}
    written = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert written["provenance"] == found["provenance"]
    assert len(written["regions"]) == found["regions"]
    assert (tmp_path / "out" / "noise-power.png").read_bytes().startswith(b"\x89PNG")
    assert "HU² mm²" in (tmp_path / "out" / "noise-power.svg").read_text()


def test_structure_shared_by_slices_is_pointed_out(tmp_path: Path, phantom: Pixels) -> None:
    texture = 25 * np.sin(np.arange(160) / 1.2)[None] * np.sin(np.arange(160) / 1.2)[:, None]
    np.savez(tmp_path / "lines.npz", images_hu=phantom + texture.astype(np.float32), spacing_mm=SPACING, mas=100.0)
    alone = measure_noise([tmp_path / "lines.npz"], Measurement(), tmp_path / "a")
    apart = measure_noise([tmp_path / "lines.npz"], Measurement(difference=True), tmp_path / "b")
    assert apart["sigma_hu"] == pytest.approx(Spectrum.soft().sigma_hu(100, SPACING), rel=0.06)
    assert alone["sigma_hu"] > 1.1 * apart["sigma_hu"]
    assert [one["check"] for one in alone["findings"] if one["severity"] == "warning"] == ["structure"]
    assert "--difference" in alone["findings"][0]["message"]


def test_stated_regions_are_taken_and_doubted(stored: Path, tmp_path: Path) -> None:
    found = measure_noise([stored], Measurement(rois=("64,64,32", "3,64,32"), slices="0:2", mas=70), tmp_path)
    assert (found["regions"], found["side_px"], found["reference_mas"]) == (4, 32, 70)
    warned = [one for one in found["findings"] if one["check"] == "uniform"]
    assert warned[0]["value"] == 2
    assert warned[0]["rows"] == ("images_hu[0] 3,64", "images_hu[1] 3,64")


@pytest.mark.parametrize(("how", "problem"), [
    (Measurement(rois=("0,0",)), "--roi takes ROW,COLUMN,SIZE"), (Measurement(rois=("1,1,0",)), "is empty"),
    (Measurement(rois=("150,0,32",)), "leave the image of 160 x 160 pixels"),
    (Measurement(rois=("0,0,32", "0,40,16")), "got the sides 16, 32"),
    (Measurement(rois=("0,0,8",)), "one value and no noise"), (Measurement(mas=-1), "above 0; got -1"),
    (Measurement(side_mm=0), "expected 12 to 160 pixels"),
    (Measurement(slices="0:1", difference=True), "one slice only"), (Measurement(slices="9:"), "leaves none"),
    (Measurement(array="other"), "no array 'other'")])
def test_settings_that_cannot_be_are_refused(stored: Path, tmp_path: Path, how: Measurement, problem: str) -> None:
    with pytest.raises(SteadyreadError, match=problem):
        measure_noise([stored], how, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_dose_or_spacing_is_said(tmp_path: Path, phantom: Pixels) -> None:
    np.savez(tmp_path / "bare.npz", images_hu=phantom)
    with pytest.raises(InputRefused, match="state it with --spacing"):
        measure_noise([tmp_path / "bare.npz"], None, tmp_path)
    found = measure_noise([tmp_path / "bare.npz"], Measurement(spacing_mm=SPACING), tmp_path)
    assert [one["check"] for one in found["findings"]] == ["dose"]
    with pytest.raises(UsageError, match=r"noise[.]reference_mas"):
        Spectrum.named(found["table"])
    assert Spectrum.named(found["table"], 120).reference_mas == 120


def test_what_is_shown_agrees_with_what_is_given(tmp_path: Path) -> None:
    found = show_noise("soft", [10, 50, 100], Showing(size=48, draws=400), tmp_path)
    for one in found["doses"]:
        assert one["sigma_of_draws_hu"] == pytest.approx(one["sigma_hu"], rel=0.01)
        assert one["largest_ring_error"] < 0.05
        assert one["sigma_hu"] * np.sqrt(one["mas"]) == pytest.approx(found["doses"][0]["sigma_hu"] * np.sqrt(10))
    assert not found["findings"]
    assert (tmp_path / "noise-shown.png").is_file()


def test_commands_print_lines_or_json(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["noise", "measure", str(stored), "--difference", "--out", out]) == 0
    lines = capsys.readouterr().out
    assert "sigma" in lines
    assert f"Spectrum: {out}/noise.csv" in lines
    assert main(["noise", "show", f"{out}/noise.csv", "--mas", "100", "--size", "32", "--draws", "50", "--out",
                 out]) == 0
    assert "100 mAs" in capsys.readouterr().out
    small = ["--size", "16", "--draws", "5"]
    assert main(["noise", "show", "soft", "--mas", "5,50", *small, "--out", out, "--json"]) == 0
    assert [one["mas"] for one in json.loads(capsys.readouterr().out)["doses"]] == [5, 50]


@pytest.mark.parametrize(("words", "code", "said"), [
    (["show", "hard"], 2, "the presets are soft, lung"), (["show", "soft", "--mas", "-10"], 2, "above 0; got -10"),
    (["show", "soft", "--mas", "ten"], 2, "--mas takes numbers"),
    (["measure", "nowhere"], 3, "no such file or folder"), (["measure", "a.npz", "b.npz"], 2, "one npz at a time"),
    (["measure", "nowhere", "--array", "a"], 2, "--array and --offset are for npz")])
def test_refusals_are_one_line(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noise", *words]) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_ge_water_is_measured_as_it_comes(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    source = shared_data("ct-phantoms/ge-water")
    found = measure_noise([source], Measurement(difference=True), tmp_path)
    assert found["sigma_hu"] == pytest.approx(4.3, abs=0.3)      # over the whole phantom; 4.5 in its middle
    assert found["mean_2d_per_mm"] == pytest.approx(0.41, abs=0.01)
    assert found["regions"] >= 15
    assert max(map(abs, found["mean_hu"])) < 5
    assert {one["check"] for one in found["findings"] if one["severity"] == "warning"} == {"series", "dose"}
    single = measure_noise([source], Measurement(rois=("192,192,128",), mas=245), tmp_path)
    assert [one["check"] for one in single["findings"]] == ["series", "shared noise"]


def test_simulated_doses_are_measured(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("ct-phantoms") / "simulated-fbp-doses.npz"
    product = []
    for dose in (10, 100):
        how = Measurement(side_mm=24, slices="0:6", array=f"dose_{dose:03d}", offset=1000, spacing_mm=0.7,
                          mas=dose)
        product.append(measure_noise([source], how, tmp_path)["sigma_hu"] * np.sqrt(dose))
    assert product[0] == pytest.approx(product[1], rel=0.02)


def test_philips_objects_are_found_in_air(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """A head of air with plastic pieces of 17 mm: the pieces are found, their edges and the skull are not."""
    pytest.importorskip("pydicom")
    found = {kernel: measure_noise([shared_data(f"ct-phantoms/philips-kernel-{kernel}-1mm")],
                                   Measurement(slices="0:2", side_mm=8), tmp_path) for kernel in ("UB", "YA")}
    assert found["YA"]["mean_per_mm"] == pytest.approx(0.56, abs=0.08)
    assert found["YA"]["sigma_hu"] > 5 * found["UB"]["sigma_hu"]
    for one in found.values():
        assert 85 < min(one["mean_hu"]) < max(one["mean_hu"]) < 115


@pytest.mark.parametrize(("scale", "mas", "checks"), [
    (1.0, 100.0, set()), (2.0, 0.1, {"scale in HU", "dose range"})])
def test_a_scale_or_dose_that_cannot_well_be_is_said(tmp_path: Path, phantom: Pixels, scale: float, mas: float,
                                                     checks: set[str]) -> None:
    """Slope 2 for 1 on stored values of water, 1024, with the intercept -1024: water comes out at 1024 HU."""
    np.savez(tmp_path / "x.npz", images_hu=scale * (phantom + 1024) - 1024, spacing_mm=SPACING, mas=mas)
    found = measure_noise([tmp_path / "x.npz"], Measurement(rois=("64,64,32",)), tmp_path)
    told = {one["check"]: one["message"] for one in found["findings"]}
    assert set(told) & {"scale in HU", "dose range"} == checks
    assert "scale in HU" not in checks or re.search(r"10[12]\d HU, far from water", told["scale in HU"])
