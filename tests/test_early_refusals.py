"""What can be refused is refused before the images are read."""

from pathlib import Path

import pytest

from fabricate_pictures import Call, pictures
from steadyread import material
from test_cli import OWN, QUICK, network

BEFORE_LISTING = [
    (("--weights", "none.pt"), "none.pt"), (("--weights", "networks.py"), "expected weights as .safetensors"),
    (("--model", "networks:liner"), "did you mean 'linear'?"), (("--model", "nowhere:linear"), "no module named"),
    (("--fail-below", "robust=0.5"), "no gate on 'robust'"), (("--epsilon", "8"), "has no unit"),
    (("--set", "attacks.epsilon=['8/255']"), "did you mean 'epsilons'?"),
]
BEFORE_READING = [
    (("--limit", "1"), "limit must be at least 2, one image per class; got 1"),
    (("--epsilon", "5 HU"), "the images have 'grey level'"),
    (("--fail-below", "robust_accuracy@5 HU=0.5"), "the images have 'grey level'"),
    (("--crop", "8"), "the model does not take images of shape (1, 8, 8)"),
    (("--set", "model.arguments.outputs=3", "--weights", "three.pt", "--output", "logits"), "the model returns 3"),
]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pictures(tmp_path / "images", 24)
    network(tmp_path, outputs=3).rename(tmp_path / "three.pt")
    network(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("flags", "told"), BEFORE_LISTING)
def test_what_is_not_there_is_refused_before_the_images_are_listed(
        flags: tuple[str, ...], told: str, there: Path, steadyread: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "open_cases", lambda *_, **__: pytest.fail("the images were listed"))
    refused = steadyread("assess", "--data", "images", *OWN, *QUICK, *flags)
    assert refused.code in (2, 3)
    assert told in refused.err
    assert not (there / "runs").exists()


@pytest.mark.parametrize(("flags", "told"), BEFORE_READING)
def test_what_does_not_fit_is_refused_before_the_images_are_split_and_read(
        flags: tuple[str, ...], told: str, there: Path, steadyread: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "split", lambda *_, **__: pytest.fail("the images were split"))
    monkeypatch.setattr(material, "spooled", lambda *_, **__: pytest.fail("the images were read"))
    refused = steadyread("assess", "--data", "images", *OWN, *QUICK, *flags)
    assert refused.code in (2, 3)
    assert told in refused.err


def test_every_set_is_looked_for_before_the_first_is_read(there: Path, steadyread: Call,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (there / "two.toml").write_text("[sets.one.data]\npath = 'images'\n[sets.two.data]\npath = 'nowhere'\n")
    monkeypatch.setattr(material, "open_cases", lambda *_, **__: pytest.fail("the images were listed"))
    refused = steadyread("run", "two.toml")
    assert refused.code == 3
    assert "two: nowhere: no such file or folder" in refused.err
