"""For every way in which networks come, a file made by its own library: assessed by the command and from Python, its
smallest flips are those of the same weights as an eager module; of a black box, what its budget of queries allows.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import HTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fabricate_pictures import SIZE, Call, pictures
from steadyread import Classifier, records, smallest_flip
from steadyread.cases import collate
from steadyread.files import SETTINGS
from steadyread.jobs.material import gather
from steadyread.networks import load_classifier
from steadyread.study.reading import checked
from test_assessment import rows_of
from test_formats import bundle_of, keras_of_torch, processor
from test_http import Reads, Server

# of the libraries that write the files
pytestmark = [pytest.mark.slow, *(pytest.mark.filterwarnings(f"ignore::{kind}") for kind in (
    "DeprecationWarning", "UserWarning", "FutureWarning"))]
GREY = ("--bounds", "0,255", "--output", "logits", "--normalise", "unit")
FACTORY = """
from torch import nn

def make(width=8):
    return nn.Sequential(nn.Conv2d(1, width, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(25 * width, 2))
"""


@dataclass
class Brought:
    """A network as it comes: what the command is given, what Python is, and the eager network with its scale."""

    flags: tuple[str, ...]
    name: str
    eager: nn.Module
    scale: tuple[float, float] = (0.0, 255.0)
    weights: str | None = None
    black_box: bool = False


def eager(width: int = 4) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, width, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(25 * width, 2)).eval()


def state_dict(folder: Path) -> Brought:
    (folder / "nets.py").write_text(FACTORY)
    torch.save({f"module.{name}": value for name, value in eager().state_dict().items()}, folder / "w.pt")
    flags = ("--model", f"{folder}/nets.py:make", "--weights", f"{folder}/w.pt", "--model-argument", "width=4", *GREY)
    return Brought(flags, f"{folder}/nets.py:make", eager(), weights=f"{folder}/w.pt")


def lightning(folder: Path) -> Brought:
    (folder / "nets.py").write_text(FACTORY)
    torch.save({"state_dict": {f"net.{name}": value for name, value in eager().state_dict().items()}, "epoch": 3,
                "pytorch-lightning_version": "2.6.6", "hyper_parameters": {"width": 4, "lr": 0.1}}, folder / "w.ckpt")
    flags = ("--model", f"{folder}/nets.py:make", "--weights", f"{folder}/w.ckpt", "--hyper-parameters", *GREY)
    return Brought(flags, f"{folder}/nets.py:make", eager(), weights=f"{folder}/w.ckpt")


def network_file(folder: Path) -> Brought:
    (folder / "nets.py").write_text(FACTORY)
    save_file(eager().state_dict(), folder / "w.safetensors")
    (folder / "net.toml").write_text('[model]\nname = "nets.py:make"\nweights = "w.safetensors"\nbounds = [0, 255]\n'
                                     'output = "logits"\nnormalise = "unit"\narguments = {width = 4}\n')
    return Brought(("--model", f"{folder}/net.toml"), f"{folder}/net.toml", eager())


def torchscript(folder: Path) -> Brought:
    torch.jit.script(eager()).save(f"{folder}/net.pt")
    return Brought(("--model", f"{folder}/net.pt", *GREY), f"{folder}/net.pt", eager())


def exported(folder: Path) -> Brought:
    images = torch.rand(2, 1, SIZE, SIZE)
    torch.export.save(torch.export.export(eager(), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)),
                      f"{folder}/net.pt2")
    return Brought(("--model", f"{folder}/net.pt2", *GREY), f"{folder}/net.pt2", eager())


def keras(suffix: str) -> Callable[[Path], Brought]:
    def made(folder: Path) -> Brought:
        library = keras_of_torch()
        library.utils.set_random_seed(2)
        network = library.Sequential([
            library.Input((SIZE, SIZE, 1)), library.layers.Conv2D(4, 3, activation="relu"),
            library.layers.GlobalAveragePooling2D(), library.layers.Dense(2, activation="softmax")])
        network.save(f"{folder}/net{suffix}")
        kernel, bias, dense, last = (torch.as_tensor(value) for value in network.get_weights())
        same = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        same.load_state_dict({"0.weight": kernel.permute(3, 2, 0, 1), "0.bias": bias, "4.weight": dense.T,
                              "4.bias": last})
        return Brought(("--model", f"{folder}/net{suffix}", "--bounds", "0,255", "--normalise", "unit"),
                       f"{folder}/net{suffix}", same.eval())

    return made


def hugging_face(folder: Path) -> Brought:
    transformers = pytest.importorskip("transformers", reason="makes the network")
    torch.manual_seed(0)
    network = transformers.ResNetForImageClassification(transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", id2label={0: "no", 1: "yes"},
        label2id={"no": 0, "yes": 1})).eval()
    last = network.classifier[-1]
    with torch.no_grad():     # the pictures must lie on both sides of the boundary
        last.weight.mul_(20)
        last.bias.sub_(network(pixel_values=-0.2 + 0.4 * torch.randn(8, 1, 32, 32).expand(8, 3, 32, 32)).logits.mean(0))
    network.save_pretrained(folder / "net")
    (folder / "net" / "preprocessor_config.json").write_text(json.dumps(processor()))

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(pixel_values=images).logits

    return Brought(("--model", f"hf:{folder}/net"), f"hf:{folder}/net", Logits().eval(), (127.5, 63.75))


def monai(folder: Path) -> Brought:
    nets = pytest.importorskip("monai.networks.nets", reason="makes the network")
    shape = {"in_shape": [1, SIZE, SIZE], "classes": 2, "channels": [4, 8], "strides": [2, 2]}
    torch.manual_seed(0)
    network = nets.Classifier(**shape).eval()
    bundle = bundle_of(folder / "net", network_def={"_target_": "monai.networks.nets.Classifier", **shape})
    told = json.loads((bundle / "configs" / "metadata.json").read_text())
    told["network_data_format"]["inputs"]["image"]["spatial_shape"] = [SIZE, SIZE]
    told["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "no", "1": "yes"}
    (bundle / "configs" / "metadata.json").write_text(json.dumps(told))
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return Brought(("--model", str(bundle), *GREY), str(bundle), network)


def onnx(folder: Path) -> Brought:
    pytest.importorskip("onnx", reason="writes the file")
    pytest.importorskip("onnxruntime", reason="reads the file")
    torch.onnx.export(eager(), (torch.rand(2, 1, SIZE, SIZE),), f"{folder}/net.onnx", dynamo=False,
                      input_names=["images"], dynamic_axes={"images": {0: "n"}})
    return Brought(("--model", f"{folder}/net.onnx", *GREY), f"{folder}/net.onnx", eager(), black_box=True)


def http(folder: Path) -> Brought:
    address = os.environ["STEADYREAD_TEST_ADDRESS"]
    return Brought(("--model", address, *GREY), address, eager(), black_box=True)


WAYS = {"state dict": state_dict, "lightning": lightning, "net.toml": network_file, "torchscript": torchscript,
        "torch.export": exported, "keras": keras(".keras"), "keras h5": keras(".h5"), "hugging face": hugging_face,
        "monai": monai, "onnx": onnx, "http": http}


@contextmanager
def served() -> Iterator[str]:
    """The eager network behind an address."""
    with Server(("127.0.0.1", 0), Reads) as server:
        assert isinstance(server, HTTPServer)
        server.net = eager()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("way", WAYS)
def test_the_flips_are_those_of_the_eager_network(way: str, steadyread: Call, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as address:
        monkeypatch.setenv("STEADYREAD_TEST_ADDRESS", address)
        brought = WAYS[way](tmp_path)
        data = pictures(tmp_path / "images", 4)
        done = steadyread("assess", "--data", data, *brought.flags, "--set", "attacks.use=[]", "--queries", 1000,
                          "--out", "run")
        assert done.code == 0, done.err
        assert ("black box, " in done.out) == brought.black_box
        found = {row["case_id"]: row["found_size"]
                 for row in rows_of(records.read(Path("run")), attack="smallest_flip", against="prediction")}
        ready = gather(checked(json.loads(Path("run", SETTINGS).read_text()), SETTINGS)).ready
        batch, _ = collate([ready[place] for place in range(len(ready))], ready.bounds)
        plain = Classifier(brought.eager, ready.bounds, "logits", brought.scale)
        reference = plain.logits(batch.images).argmax(1)
        expected = smallest_flip(plain, batch, reference).size
        arguments = {"width": 4} if brought.weights else {}
        python = load_classifier(brought.name, brought.weights, bounds=(0, 255), arguments=arguments, **(
            {"output": "logits", "normalise": "unit"} if brought.scale == (0.0, 255.0) else {}))
        from_python = smallest_flip(python, batch, reference).size
    from_command = torch.tensor([found[key] for key in batch.keys])
    assert torch.isfinite(expected).any()
    for sizes in (from_command, from_python):
        if brought.black_box:      # by Square, in 1,000 queries (1,256 in Python)
            assert ((sizes >= 0.99 * expected) & (sizes <= 4 * expected)).all(), sizes / expected
        else:
            assert torch.allclose(sizes.float(), expected, rtol=0.01), sizes / expected
