"""Tables of a noise power spectrum as scanners' owners keep them: names, units, separators, comments."""

import codecs
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyread.cases.case_set import Cases
from steadyread.cases.row import Row
from steadyread.errors import InputRefused, SteadyreadError, UsageError
from steadyread.jobs.begin import other_thickness
from steadyread.jobs.run import carry_out
from steadyread.study import read_study
from steadyread.threats import CTNoise, Spectrum
from steadyread.threats.spectrum import ThicknessWarning
from steadyread.types import Batch, Bounds

Write = Callable[[str | bytes], Path]
FREQUENCY = np.arange(0, 0.71, 0.05)
POWER = 1000 * FREQUENCY * np.exp(-((FREQUENCY / 0.3) ** 2.2))
SIGMA = Spectrum("same", "", 100.0, tuple(FREQUENCY), tuple(POWER)).sigma_hu(100)
MARK = "# reference_mas: 100\n"


@pytest.fixture
def table(tmp_path: Path) -> Write:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "s.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
    return write


def _rows(frequency: float = 1.0, power: float = 1.0, between: str = ",", before: str = "") -> str:
    return "".join(f"{before.format(place)}{f * frequency:.6f}{between}{s * power:.6f}\n"
                   for place, (f, s) in enumerate(zip(FREQUENCY, POWER, strict=True)))


@pytest.mark.parametrize("header", [
    "f,S", "frequency_per_mm,power_hu2_mm2", "Frequency (1/mm),NPS (HU^2 mm^2)", "spatial frequency [mm-1],nps",
    "f / (lp/mm),S(f)"])
def test_columns_go_by_their_names_in_1_per_mm(table: Write, header: str) -> None:
    assert Spectrum.from_csv(table(f"{MARK}{header}\n{_rows()}")).sigma_hu(100) == pytest.approx(SIGMA, rel=1e-4)


@pytest.mark.parametrize("header", ["f (1/cm),S", "frequency_per_cm,NPS", "f cm^-1,S"])
def test_frequencies_in_1_per_cm_are_turned(table: Write, header: str) -> None:
    found = Spectrum.from_csv(table(f"{MARK}{header}\n{_rows(10)}"))
    assert found.sigma_hu(100) == pytest.approx(SIGMA, rel=1e-4)
    assert found.frequency_per_mm[-1] == pytest.approx(0.7)


def test_powers_in_other_areas_are_turned(table: Write) -> None:
    for header, factor in (("f,NPS (HU2cm2)", 0.01), ("f_per_m,S [HU^2 m^2]", 1e-6)):
        frequency = 1000.0 if "per_m," in header else 1.0
        found = Spectrum.from_csv(table(f"{MARK}{header}\n{_rows(frequency, factor)}"))
        assert found.sigma_hu(100) == pytest.approx(SIGMA, rel=1e-2)      # of the six digits that are written


@pytest.mark.parametrize(("header", "before"), [("i,f,S", "{},"), ("kernel,f (1/mm),S", "B30f,")])
def test_other_columns_are_passed_over(table: Write, header: str, before: str) -> None:
    found = Spectrum.from_csv(table(f"{MARK}{header}\n{_rows(before=before)}"))
    assert found.sigma_hu(100) == pytest.approx(SIGMA, rel=1e-4)
    turned = "".join(f"{s:.6f},{f:.6f},3\n" for f, s in zip(FREQUENCY, POWER, strict=True))
    found = Spectrum.from_csv(table(f"{MARK}S,f,power_std\n{turned}"))
    assert found.sigma_hu(100) == pytest.approx(SIGMA, rel=1e-4)


@pytest.mark.parametrize("content", [
    MARK + "f;S\n" + _rows(between=";"), MARK + "f\tS\n" + _rows(between="\t"),
    MARK + "f;S\n" + _rows(between=";").replace(".", ","), MARK + "f S\n" + _rows(between=" "),
    MARK + "\n\n" + _rows().replace("\n", "\r\n"), codecs.BOM_UTF8 + (MARK + "f,S\n" + _rows()).encode(),
    (MARK + "f,S\n" + _rows()).encode("utf-16"), MARK + "# f (1/cm), S\n" + _rows(10),
    "# Reference mAs: 100 mAs\n" + _rows()])
def test_ways_of_writing_one_table(table: Write, content: str | bytes) -> None:
    assert Spectrum.from_csv(table(content)).sigma_hu(100) == pytest.approx(SIGMA, rel=1e-4)


@pytest.mark.parametrize(("content", "said"), [
    ("x,y\n" + _rows(), "no column of frequency among 'x, y'; name the columns frequency_per_mm and power_hu2_mm2"),
    ("f,y\n" + _rows(), "no column of power among 'f, y'"),
    ("f,nNPS (mm^2)\n" + _rows(), "the unit of the power is 'nNPS"),
    ("f,S (HU^2 mm)\n" + _rows(), "the unit of the power is"),
    ("f (1/pixel),S\n" + _rows(), "the unit of the frequency is '1/pixel'"),
    (_rows(before="{},"), "its first column counts the rows"),
    ("f,S\n" + _rows(before="{},"), "row 2: 3 cells, where the first row has 2"),
    ("f,S\n" + _rows().replace(".", ","), "row 2: 4 cells"),
    ('f,S\n0,0\n0.1,"1,234.5"\n', "is not a number: '1,234.5'"),
    ("f,S\n0,0\n0.2,5\n0.1,4\n", "row 4: frequencies must ascend"), ("f,S\n0,0\n0.1,nan\n", "not a number: 'nan'"),
    ("f,S\n0,0\n0.1,1e300\n0.2,1e300\n", "no scanner has"), ("f,S\n0,0\n0.1," + "9" * 200000 + "\n", "row 3"),
    ("\0\0\0f,S\n", "zero bytes; save it as UTF-8"), ("f,S\n" + _rows() + "x" * 5 * 2**20, "some hundred rows")])
def test_what_has_no_one_meaning_is_refused_in_one_line(table: Write, content: str, said: str) -> None:
    with pytest.raises(InputRefused, match=said) as refused:
        Spectrum.from_csv(table(content), 100)
    assert "s.csv" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(("comment", "said"), [
    ("# reference_mas: unknown", "at which dose was it measured"),
    ("# reference_mas: 100 mA", "expected one number above 0, in mAs"), ("# reference_mas: -5", "above 0"),
    ("# reference_mas: 100\n# reference_mas: 200", "100 and 200"),
    ("# reference_mas: 100\n# slice_thickness_mm: thick", "slice_thickness_mm: thick")])
def test_comments_that_state_no_dose_are_told_in_one_line(table: Write, comment: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        Spectrum.from_csv(table(f"{comment}\nf,S\n{_rows()}"))
    assert "\n" not in str(refused.value)


def test_names_of_spectra(table: Write, tmp_path: Path) -> None:
    path = table(f"{MARK}f,S\n{_rows()}")
    text = path.rename(tmp_path / "s.TXT")
    assert Spectrum.named(str(text)).reference_mas == 100
    assert Spectrum.named("lung") == Spectrum.lung()
    with pytest.raises(UsageError, match="leave reference_mas out"):
        Spectrum.named("soft", 100)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "zero.csv", "nowhere.csv", "", "a\0b", "x" * 5000):
        with pytest.raises(UsageError, match="the presets are soft, lung"):
            Spectrum.named(str(tmp_path / name))
        with pytest.raises(SteadyreadError, match="not a readable text file"):
            Spectrum.from_csv(tmp_path / name, 100)


def test_the_thickness_of_the_measured_slices_is_kept_and_compared(table: Write) -> None:
    """A spectrum of 5 mm slices on slices of 1 mm is sqrt(5) = 2.24 times too weak."""
    spectrum = Spectrum.from_csv(table(f"{MARK}# slice_thickness_mm: 5 mm\nf,S\n{_rows()}"))
    assert spectrum.slice_thickness_mm == 5
    assert spectrum.other_thickness(5.2) is None
    assert "2.24 times too weak" in str(spectrum.other_thickness(1.0))
    assert "1.41 times too strong" in str(spectrum.other_thickness(10.0))
    batch = Batch(torch.zeros(1, 1, 3, 16, 16), ("a",), Bounds(-1024, 3071, "HU"), ((1.0, 0.8, 0.8),))
    noise = CTNoise(spectrum)
    with pytest.warns(ThicknessWarning, match="measured on slices of 5 mm and is used on slices of 1 mm"):
        noise.start(batch, torch.ones(1), 0, 0)
    flat = Batch(torch.zeros(1, 1, 16, 16), ("a",), Bounds(-1024, 3071, "HU"), ((0.8, 0.8),))
    noise.start(flat, torch.ones(1), 0, 0)        # warnings are errors: nothing is said in 2D


@pytest.mark.parametrize(("spacing", "extras", "value"), [
    ((1.0, 0.7, 0.7), {}, 1.0), ((0.7, 0.7), {"slice_thickness_mm": "1.25"}, 1.25), ((0.7, 0.7), {}, None),
    ((0.7, 0.7), {"slice_thickness_mm": "thin", "slice_spacing_mm": 2.5}, 2.5), (None, {}, None)])
def test_a_study_is_told_of_another_thickness(spacing: tuple[float, ...] | None, extras: dict[str, object],
                                              value: float | None) -> None:
    spectrum = Spectrum("s", "", 100.0, tuple(FREQUENCY), tuple(POWER), 5.0)
    rows = tuple(Row(str(place), "p", 0, "0", spacing, "", None, "", extras) for place in range(3))
    cases = Cases("c", rows, lambda row: np.zeros((1, 8, 8)), ("a", "b"), Bounds(-1024, 3071, "HU"), True)
    found = list(other_thickness(CTNoise(spectrum), cases))
    assert [one.value for one in found] == ([] if value is None else [value])
    assert not list(other_thickness(CTNoise(Spectrum.soft()), cases))


@pytest.mark.parametrize(("stated", "said"), [
    ({"mas": [True]}, "expected a dose of 0.001 to 100000 mAs"), ({"mas": [10, 10]}, "names a dose twice"),
    ({"mas": [-1]}, "greater than 0"), ({"mas": list(range(1, 102))}, "at most 100 items"),
    ({"spacing_mm": 1e-300}, "greater than or equal to 0.01"), ({"pairs": 10**9}, "less than or equal to 1000000"),
    ({"test": {"random": {"mas": [True]}}}, "must be doses in mAs"),
    ({"test": {"rings": {"mas": [5, 5]}}}, "each once"), ({"hardening": {"mas": [1e-320]}}, "expected a dose"),
    ({"spectrum": ["a"]}, "expected text")])
def test_noise_settings_that_cannot_be_are_one_line(stated: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_study(None, {"name": "x", "noise": stated})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", ["", "a\0b", "mine.csv"])
def test_a_spectrum_that_is_not_there_is_said_before_data_are_read(name: str, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    study = read_study(None, {"name": "x", "noise": {"spectrum": name}, "data": {"path": "nowhere"}})
    with pytest.raises(UsageError, match="there is no spectrum"):
        carry_out(study, tmp_path / "run")
    assert not (tmp_path / "run").exists()
