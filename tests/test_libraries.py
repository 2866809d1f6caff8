"""Networks of timm and torchvision by their names: what images go through is theirs, the weights come apart, nothing
is fetched. Where the libraries do not import (a torchvision that was built for another torch), what can be seen without
them is seen on a stand-in, and the rest is skipped with the reason.
"""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from steadyread import Classifier, smallest_flip
from steadyread.errors import InputRefused, UsageError
from steadyread.jobs.cards import refuse_unnamed
from steadyread.models.format import FORMATS, loaded
from steadyread.networks import inspected, load_classifier
from steadyread.study import keyed, read_study

CONFIG = {"input_size": (3, 24, 20), "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center",
          "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.1)}


class Tiny(nn.Module):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.stem(images)).mean((2, 3)))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timm of one network."""
    timm = ModuleType("timm")
    timm.__dict__.update(
        __version__="1.0", create_model=lambda name, **arguments: Tiny(**arguments),
        get_pretrained_cfg=lambda name: SimpleNamespace(to_dict=lambda: CONFIG) if name == "tiny" else None,
        list_models=lambda pattern: ["tiny"])
    monkeypatch.setitem(sys.modules, "timm", timm)


@pytest.mark.usefixtures("stand_in")
def test_a_network_of_timms_needs_only_its_name_and_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Tiny(2).eval()
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "w.pt")
    study = read_study(None, keyed(model__name="timm:tiny", model__weights=str(tmp_path / "w.pt")))
    facts = study.model.facts()
    assert facts.stated["preparation"] == {"size": [24, 20], "fit": "cut", "central": 0.875, "interpolation": "cubic"}
    brought = load_classifier("timm:tiny", tmp_path / "w.pt", arguments={"num_classes": 2})
    images = 255 * torch.rand((2, 3, 24, 20))
    scaled = (images / 255 - torch.tensor(CONFIG["mean"])[:, None, None]) / torch.tensor(CONFIG["std"])[:, None, None]
    assert torch.allclose(brought.logits(images), network(scaled), atol=1e-4)


@pytest.mark.usefixtures("stand_in")
def test_a_folder_of_timms_is_a_whole_network(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text(json.dumps({
        "architecture": "tiny", "num_classes": 2, "label_names": ["no", "yes"],
        "pretrained_cfg": {"crop_mode": "squash"}}))
    with pytest.raises(InputRefused, match=r"no model.safetensors"):
        load_classifier(tmp_path / "net")
    network = Tiny(2).eval()
    save_file(network.state_dict(), tmp_path / "net" / "model.safetensors")
    study = read_study(None, keyed(model__name=str(tmp_path / "net")))
    assert (study.model.name, study.model.facts().classes) == ("timm", ("no", "yes"))
    assert study.model.facts().stated["preparation"]["fit"] == "squash"
    assert inspected(str(tmp_path / "net"))["values"] == 2
    assert load_classifier(tmp_path / "net").logits(torch.zeros(1, 3, 24, 20)).shape == (1, 2)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("timm:hf-hub:someone/net", {}, "is no name of a network"),
    ("timm:https://host/net", {}, "is no name of a network"),
    ("timm:tiny", {"pretrained": True}, "pretrained would read weights from elsewhere"),
    ("timm:tiny", {"checkpoint_path": "w.pt"}, "checkpoint_path would read"), ("timm:tinny", {}, "it has tiny")])
def test_nothing_is_fetched_and_unknown_names_are_refused(name: str, arguments: dict[str, Any], message: str,
                                                         tmp_path: Path) -> None:
    torch.save(Tiny().state_dict(), tmp_path / "w.pt")
    with pytest.raises((InputRefused, UsageError), match=message):
        load_classifier(name, tmp_path / "w.pt", arguments=arguments)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("stated", "message"), [
    ({"architecture": "tiny", "num_classes": 10**10}, "asks for a network of 50,000,000,112 values"),
    ({"architecture": "hf-hub:someone/net"}, "knows no network 'hf-hub:someone/net'"),
    ({"architecture": "tiny", "model_args": {"checkpoint_path": "w.pt"}}, "checkpoint_path would read")])
def test_a_folder_of_timms_fetches_nothing_and_takes_no_more_than_it_stores(stated: dict[str, Any], message: str,
                                                                            tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(stated))
    save_file(Tiny(2).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises((InputRefused, UsageError), match=message):
        loaded(FORMATS["timm"], str(tmp_path))


@pytest.mark.usefixtures("stand_in")
def test_to_look_at_a_name_needs_weights() -> None:
    with pytest.raises(UsageError, match="has no weights of its own: steadyread assess --model timm:tiny"):
        inspected("timm:tiny")


def test_a_librarys_network_is_no_code_of_a_strangers_run(tmp_path: Path) -> None:
    refuse_unnamed({"model": {"name": "timm:tiny"}}, tmp_path, None)
    with pytest.raises(InputRefused, match="would import and run"):
        refuse_unnamed({"model": {"name": "tim:tiny"}}, tmp_path, None)


def test_a_library_that_does_not_import_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(InputRefused, match=r"does not import here \(RuntimeError: operator torchvision::nms"):
        FORMATS["torchvision"].facts("resnet18")


def there(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as problem:
        pytest.skip(f"{name} does not import here: {type(problem).__name__}: {str(problem)[:100]}")


@pytest.mark.slow
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_network_of_the_library_itself_has_the_flips_of_the_eager_one(library: str, tmp_path: Path) -> None:
    package = there("timm" if library == "timm" else "torchvision.models")
    torch.manual_seed(0)
    network = (package.create_model("resnet10t", num_classes=2) if library == "timm"
               else package.get_model("squeezenet1_1", num_classes=2)).eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    name = "timm:resnet10t" if library == "timm" else "torchvision:squeezenet1_1"
    brought = load_classifier(name, tmp_path / "w.pt", arguments={"num_classes": 2})
    images = 255 * torch.rand((3, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    scale = FORMATS[library].facts(name.partition(":")[2]).settings["model"]["normalise"]
    eager = Classifier(network, (0, 255), "logits", scale)
    assert torch.allclose(brought.logits(images), eager.logits(images), atol=1e-4)
    reference = eager.logits(images).argmax(1)
    sizes = [smallest_flip(each, each.batch(images), reference, 0).size for each in (brought, eager)]
    assert torch.allclose(*sizes, rtol=0.01)
