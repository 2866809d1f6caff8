"""A preparation of the user's own: what the network sees is what it gives, and sizes stay in stored units."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fabricate_pictures import Call, pictures
from steadyread.cases import Cases, Preparation, prepare
from steadyread.cases.transform import scale_of, transform_of
from steadyread.errors import InputRefused, UsageError
from steadyread.study import read_study
from steadyread.types import Bounds

GREY = Bounds(0, 255, "grey level")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 20)).astype(np.float32)
CODE = """
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

def halved(image):
    return image[:, ::2, ::2]

def normalised(image: Tensor) -> Tensor:
    small = interpolate(image[None], (8, 8), mode="bilinear", antialias=True)[0]
    return (small / 255 - torch.tensor([0.4])[:, None, None]) / torch.tensor([0.2])[:, None, None]

def shuffled(image):
    return image[:, :, ::np.random.choice([-1, 1])]

def equalised(image):
    return (image - image.mean()) / (image.std() + 1e-6)

VALUE = 3
"""


def cases() -> Cases:
    return Cases.from_arrays(IMAGES, [0, 1, 0], bounds=GREY, spacing_mm=(1.0, 1.0))


def test_a_geometric_transform_leaves_values_alone() -> None:
    ready = prepare(cases(), Preparation(transform=lambda image: image[:, ::2, ::-1]))
    np.testing.assert_array_equal(ready[1].image.numpy(), IMAGES[1][:, ::2, ::-1])
    assert (ready.bounds, ready[1].spacing_mm, ready[1].native) == (GREY, None, None)


def test_the_scale_of_a_transform_is_undone() -> None:
    def given(image: Tensor) -> Tensor:
        return ((image / 255).repeat(3, 1, 1) - 0.5) / torch.tensor([0.25, 0.5, 1.0])[:, None, None]

    scale = scale_of(given, (1, 16, 20), GREY)
    np.testing.assert_allclose(scale.mean, [127.5] * 3, rtol=1e-5)
    np.testing.assert_allclose(scale.deviation, [63.75, 127.5, 255], rtol=1e-5)
    ready = prepare(cases(), Preparation(transform=given))
    np.testing.assert_allclose(ready[2].image.numpy(), IMAGES[2].repeat(3, 0), atol=1e-3)


def test_a_window_within_a_transform_is_found_within_the_window() -> None:
    def windowed(image: np.ndarray) -> np.ndarray:
        return np.clip((image + 1000) / 1400, 0, 1)

    hu = Cases.from_arrays(IMAGES * 12 - 1024, [0, 1, 0], bounds=(-1024, 3071, "HU"))
    with pytest.raises(InputRefused, match=r"does not scale values evenly over -1024 to 3071 .* state the window"):
        prepare(hu, Preparation(transform=windowed))[0]
    ready = prepare(hu, Preparation(transform=windowed, window=(-1000, 400)))
    np.testing.assert_allclose(ready[0].image.numpy(), np.clip(IMAGES[0] * 12 - 1024, -1000, 400), atol=1e-2)


def test_what_rounds_to_whole_values_is_a_scale_and_padding_is_none() -> None:
    def padded(image: np.ndarray) -> np.ndarray:
        return np.pad(image.astype(np.uint8), ((0, 0), (2, 2), (0, 0)))

    assert scale_of(padded, (1, 16, 20), GREY).is_none(GREY)


@pytest.mark.parametrize(("transform", "words"), [
    (lambda image: image[:, :, ::np.random.default_rng().choice([-1, 1])] + np.random.default_rng().normal(),
     "another image each time"),
    (lambda image: (image - image.mean()) / (image.std() + 1), "does not scale values evenly"),
    (lambda image: 255 - image, "does not scale values evenly"), (lambda image: image.unsqueeze(0), "annotate"),
    (lambda image: image.ravel(), r"got the shape \(320,\)"), (lambda image: None, "shape"),
    (lambda image: 1 / 0, "ZeroDivisionError")])
def test_what_is_no_preparation_is_refused(transform: Callable[[np.ndarray], object], words: str) -> None:
    with pytest.raises(InputRefused, match=words) as caught:
        prepare(cases(), Preparation(transform=transform))[0]
    assert "\n" not in str(caught.value)


def _equalised(image: np.ndarray) -> np.ndarray:
    """A histogram evened out as Pillow and OpenCV do: an image of one value stays as it is."""
    values, places, counts = np.unique(image, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    return image if len(values) == 1 else (255 * below / below[-1])[places].reshape(image.shape).round()


def test_what_evens_out_a_histogram_is_no_scale() -> None:
    assert scale_of(_equalised, (1, 16, 20), GREY).is_none(GREY)     # on images of one value
    dim = Cases.from_arrays(np.floor(IMAGES / 3 + IMAGES**2 / 800), [0, 1, 0], bounds=GREY)
    with pytest.raises(InputRefused, match=r"more than a scale: of the same image at half its height, \d\d % of"):
        prepare(dim, Preparation(transform=_equalised))[0]
    assert prepare(dim, Preparation(transform=_equalised, unit="rank"))[0].image.max() == 255


def test_rounding_padding_and_resizing_are_a_scale() -> None:
    def usual(image: Tensor) -> Tensor:
        small = torch.nn.functional.interpolate(image[None], (9, 11), mode="bicubic", antialias=True)[0]
        return torch.nn.functional.pad(small.round().clamp(0, 255) / 127.5 - 1, (1, 1, 0, 2), value=0.3)

    ready = prepare(cases(), Preparation(transform=usual))
    assert ready[0].image.shape == (1, 11, 13)
    assert 0 <= float(ready[0].image.min()) < float(ready[0].image.max()) <= 255.001


def test_values_changed_by_another_rule_are_told_in_a_unit_of_their_own() -> None:
    ready = prepare(cases(), Preparation(transform=lambda image: np.sqrt(image), unit="root"))
    np.testing.assert_allclose(ready[0].image.numpy(), np.sqrt(IMAGES[0]))
    assert ready.bounds.unit == "root"
    with pytest.raises(UsageError, match="there is none"):
        prepare(cases(), Preparation(unit="root"))


def test_code_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "prep.py").write_text(CODE)
    assert transform_of(f"{tmp_path}/prep.py:halved")(IMAGES[0]).shape == (1, 8, 10)
    wrong = {f"{tmp_path}/prep.py:halve": "did you mean 'halved'", f"{tmp_path}/prep.py:VALUE": "a value",
             "os:system": "not called", "prep.py": "file.py:name", f"{tmp_path}/no.py:x": "no file"}
    for name, words in wrong.items():
        with pytest.raises(UsageError, match=words):
            transform_of(name)


def test_a_size_of_the_layout_is_not_added_to_a_transform() -> None:
    from steadyread.study.defaults import completed

    study = read_study(None, {"preparation": {"transform": "prep.py:halved"}})
    assert completed(study, "folders").preparation.size is None


NETWORK = """
from torch import nn

def wanting_eight():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))

def make_net():
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64, 1))
"""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


@pytest.fixture
def assess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steadyread: Call) -> Callable[..., object]:
    monkeypatch.chdir(tmp_path)
    pictures(Path("images"), 12)
    Path("prep.py").write_text(CODE)
    Path("net.py").write_text(NETWORK)
    torch.manual_seed(0)
    torch.save({"1.weight": torch.randn(1, 64), "1.bias": torch.zeros(1)}, "net.pt")
    return lambda *more, out="run": steadyread(
        "assess", "--data", "images", "--model", "net.py:wanting_eight", "--weights", "net.pt", "--bounds", "0,255",
        "--output", "logit", "--set", "attacks.use=[]", "--set", "attacks.epsilons=[]", "--out", out, *more)


@pytest.mark.slow
def test_flips_are_those_of_the_same_preparation_stated(assess: Callable[..., object]) -> None:
    from steadyread import open_run

    own = assess("--transform", "prep.py:normalised", out="own")
    assert own.code == 0, own.err
    stated = assess("--size", "8", "--fit", "squash", "--normalise", "102,51", out="stated")
    assert stated.code == 0, stated.err
    flips = [np.array([row["found_size"] for row in open_run(name).records.to_pylist()
                       if row["attack"].startswith("smallest")]) for name in ("own", "stated")]
    assert len(flips[0]) >= 12
    text = Path("own/net.toml").read_text()
    assert 'transform = "../prep.py:normalised"' in text
    again = assess("--transform", "prep.py:normalised", "--normalise", "102,51", out="again")
    assert again.code == 0, again.err


@pytest.mark.parametrize(("name", "words"), [
    ("shuffled", "another image each time"), ("equalised", "state preparation.unit"), ("no", "has no 'no'")])
def test_the_command_line_refuses_in_one_line(assess: Callable[..., object], name: str, words: str) -> None:
    found = assess("--transform", f"prep.py:{name}")
    assert found.code == (2 if name == "no" else 3)
    assert words in found.err


def test_a_scale_that_is_stated_twice_is_refused(assess: Callable[..., object]) -> None:
    found = assess("--transform", "prep.py:normalised", "--normalise", "unit")
    assert (found.code, "leave one of them out" in found.err) == (3, True)


@pytest.mark.slow
def test_the_commands_of_the_page_on_images_do_as_it_says(assess: Callable[..., object], steadyread: Call) -> None:
    from steadyread import open_run

    Path("prepare.py").write_text("def prepared(image):\n    return image[:, ::2, ::2] / 255\n")
    weights = torch.load("net.pt")
    torch.save({key.replace("1.", "2."): value for key, value in weights.items()}, "net.pt")
    files = sorted(Path("images").rglob("*.png"))
    Path("Data_Entry.csv").write_text("Image Index,Finding,Patient ID\n" + "".join(
        f"{file.name},{file.parent.name},p{at}\n" for at, file in enumerate(files)))
    commands = [shlex.split(text.replace("\\\n", " "))[1:] for text in re.findall(
        r"^    (steadyread (?:.*\\\n)*.*)$", PAGE.read_text(), re.MULTILINE)]
    assert len(commands) == 2
    for at, command in enumerate(commands):
        done = steadyread(*command, "--limit", "4", "--set", "attacks.use=[]", "--set", "attacks.epsilons=[]",
                          "--out", f"run{at}")
        assert done.code == 0, done.err
        Path("Data_Entry.csv").unlink(missing_ok=True)      # beside the images it may say other than their folders
    patients = {row["patient_id"] for row in open_run("run0").records.to_pylist()}
    assert len(patients) == 4
    assert patients <= {f"p{at}" for at in range(12)}


def test_a_folder_that_names_code_or_an_address_uses_none_unnamed(tmp_path: Path) -> None:
    from steadyread.jobs.cards import refuse_unnamed

    stated = {"model": {"name": "vgg16"}, "preparation": {"transform": "evil.py:run"}}
    with pytest.raises(InputRefused, match=r"run the code of evil\.py:run"):
        refuse_unnamed(stated, tmp_path, None)
    refuse_unnamed(stated, tmp_path, None, "evil.py:run")
    sent = {"model": {"name": "http", "weights": "http://evil.example/read"}}
    with pytest.raises(InputRefused, match=r"would send images to http://evil\.example/read"):
        refuse_unnamed(sent, tmp_path, None)
    refuse_unnamed(sent, tmp_path, "http")
