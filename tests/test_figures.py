"""Every figure draws ordinary, hostile and no data, the same bytes each time, and touches nothing global."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from matplotlib.figure import Figure

import fabricate
from steadyread import figures
from steadyread.figures import AttackPoints, Example, RiskLine, TriageBar
from steadyread.figures.examples import amplification, change, picture, plane
from steadyread.metrics import Estimate, step_curve
from steadyread.units import Bounds

HU, PLAIN = Bounds(-1000, 400, "HU"), Bounds(0, 1)
HOSTILE = "</text><script>$\\frac{x$ 図 & \""
NONE = np.zeros(0)
CURVE = step_curve(np.array([0.0, 2.0, 3.0, np.inf]), np.array([False, True, True, True]), np.zeros(4, bool),
                   np.arange(4).astype(str))
EMPTY = step_curve(NONE, NONE.astype(bool), NONE.astype(bool), NONE.astype(str))


def example(case_id: str = "case-1", shape: tuple[int, ...] = (1, 16, 16)) -> Example:
    clean = np.linspace(-1000, 400, int(np.prod(shape))).reshape(shape)
    return Example(case_id, "benign", "pgd", 5.6, clean, clean + 5.6, np.array([0.9, 0.1]), np.array([0.2, 0.8]),
                   ("benign", "malignant"))


DRAWN: dict[str, Callable[[], Figure]] = {
    "curve": lambda: figures.accuracy_curve(CURVE, [AttackPoints("FGSM", [1.4, 2.8], [0.7, 0.6])], HU),
    "curve of the prediction": lambda: figures.accuracy_curve(CURVE, [], PLAIN, "prediction", 0.25),
    "curve of an unknown attack": lambda: figures.accuracy_curve(EMPTY, [AttackPoints(HOSTILE, [1.0], [0.5])], HU),
    "no curve": lambda: figures.accuracy_curve(EMPTY, [], HU),
    "histogram": lambda: figures.smallest_flip_histogram(np.array([0, 0.1, 3, 5, 9, np.inf]), HU),
    "histogram of one": lambda: figures.smallest_flip_histogram(np.array([2.0]), PLAIN),
    "histogram of none": lambda: figures.smallest_flip_histogram(NONE, HU),
    "histogram of robust": lambda: figures.smallest_flip_histogram(np.full(4, np.inf), HU),
    "examples": lambda: figures.examples([example(), example(HOSTILE, (1, 5, 24, 24))], HU),
    "examples of none": lambda: figures.examples([], HU),
    "risk": lambda: figures.risk_coverage([RiskLine("Margin", np.array([0.5, 1]), np.array([0, 0.5]))]),
    "risk of none": lambda: figures.risk_coverage([RiskLine("Margin", NONE, NONE)]),
    "bars": lambda: figures.triage_bars([TriageBar("Margin", Estimate(0.9, 0.8, 0.95, 40), 0.2)], Estimate(0.85)),
    "bars of none": lambda: figures.triage_bars([TriageBar("Margin", Estimate(None), None)], Estimate(None)),
    "scatter": lambda: figures.score_scatter(np.arange(1.0, 2000), np.arange(1999.0), np.arange(1999) % 5 == 0, HU),
    "scatter of none": lambda: figures.score_scatter(np.full(3, np.inf), np.ones(3), np.zeros(3, bool), HU),
    "training": lambda: figures.training_curve([{"epoch": 1, "train_loss": 0.5, "validation_auc": None}], 1),
    "training of none": lambda: figures.training_curve([]),
    "roc": lambda: figures.roc(np.stack([-np.arange(6.0), np.arange(6.0)], 1), np.arange(6) % 2, ["a", HOSTILE],
                               Estimate(0.6, 0.4, 0.8, 6)),
    "roc of ten": lambda: figures.roc(np.eye(10), np.arange(10), [str(k) for k in range(10)], Estimate(1.0)),
    "roc of one class": lambda: figures.roc(np.ones((3, 2)), np.ones(3, int), ["a", "b"], Estimate(None)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_valid_svg_each_time(name: str) -> None:
    first, second = figures.svg(DRAWN[name]()), figures.svg(DRAWN[name]())
    assert first == second
    root = Xml.fromstring(first)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert "<dc:date>" not in first


def test_text_stays_text() -> None:
    drawing = figures.svg(DRAWN["curve"]())
    assert ">HU<" in drawing
    assert "share of the range<" in drawing


def test_both_files_are_written_without_dates(tmp_path: Path) -> None:
    written = figures.save(DRAWN["curve"](), tmp_path / "a", "curve")
    again = figures.save(DRAWN["curve"](), tmp_path / "b", "curve")
    assert [path.name for path in written] == ["curve.png", "curve.svg"]
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_figures_and_metrics_load_neither_torch_nor_pyplot() -> None:
    code = ("import sys, steadyread.figures, steadyread.metrics, steadyread.report;"
            "print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("shape", [(1, 32), (1, 12, 16), (3, 12, 16), (1, 5, 12, 16), (1, 12, 16, 5),
                                   (2, 4, 4, 4, 4)])
def test_images_of_every_dimension_are_shown_as_a_picture(shape: tuple[int, ...]) -> None:
    image = np.linspace(-1000, 400, int(np.prod(shape))).reshape(shape)
    shown = picture(image, HU)
    assert shown.ndim == 3
    assert shown.shape[2] == 3
    assert change(image, image + 1, HU).shape == shown.shape


def test_a_volume_shows_the_middle_slice_of_its_shortest_axis() -> None:
    volume = np.zeros((1, 12, 16, 5))
    volume[..., 2] = 1
    assert plane(volume).shape == (1, 12, 16)
    assert (plane(volume) == 1).all()


def test_the_amplification_brings_the_change_to_half_the_range() -> None:
    assert amplification(np.zeros(4), np.full(4, 5.6), 1400) == 120
    assert amplification(np.zeros(4), np.zeros(4), 1400) == 1
    shown = change(np.zeros((1, 2, 2)), np.array([[[5.6, -5.6], [0, 0]]]), HU)
    assert (shown[0, 0, 0] > shown[0, 0, 2]).all()     # higher is red
    assert (shown[0, 1, 2] > shown[0, 1, 0]).all()     # lower is blue
    assert (shown[1] > 240).all()                      # unchanged is white


def test_the_fixture_draws_real_examples() -> None:
    stored = fabricate.examples()
    assert picture(stored["clean"][0], HU).shape == (32, 32, 3)
