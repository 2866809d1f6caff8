"""NET.toml beside the weights: what was stated once is read by every way in, and flags and studies stand above it."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

from fabricate_pictures import Call, pictures
from steadyread import flags
from steadyread.errors import InputRefused, UsageError
from steadyread.files import NETWORK
from steadyread.networks import inspected, load_classifier
from steadyread.study import Model, keyed, read_study
from steadyread.study.network_file import network_text
from test_cli import OWN, network

QUICK = ("--set", "attacks.use=[]", "--set", "attacks.largest='40 grey levels'", "--json")
NET = """
[model]
name = "networks.py:linear"
weights = "linear.pt"
bounds = [0, 255]
output = "logit"
threshold = 0.4
claimed = {accuracy = 0.934}

[preparation]
size = 12
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "nets").mkdir()
    network(tmp_path / "nets")
    (tmp_path / "nets" / "net.toml").write_text(NET)
    return tmp_path / "nets" / "net.toml"


def read(net: Path, **flags: object):
    return read_study(None, keyed(model__name=str(net), **flags))


def test_its_paths_begin_at_its_own_folder_and_what_is_stated_besides_stands_above_it(net: Path) -> None:
    study = read(net, model__threshold=0.6, preparation__fit="squash", model__claimed={"auc": 0.9})
    assert (study.model.name, study.model.weights) == (f"{net.parent}/networks.py:linear", f"{net.parent}/linear.pt")
    assert (study.model.threshold, study.model.bounds) == (0.6, (0, 255))
    assert (study.preparation.size, study.preparation.fit) == (12, "squash")
    assert study.model.claimed == {"accuracy": 0.934, "auc": 0.9}
    assert read(net, model__weights="other.pt").model.weights == "other.pt"


@pytest.mark.parametrize(("text", "message"), [
    ("[attacks]\nuse = []\n", r"\[model\] and \[preparation\]; got 'attacks'"), ("name = 'vgg16'\n", "got 'name'"),
    ("[preparation]\nsize = 3\n", r"no table \[model\]"), ("[model]\nname = 'other.toml'\n", "another such file"),
    ("[model]\nweight = 'x'\n", r"net.toml: unknown key 'model.weight': did you mean"),
    ("[model]\nclaimed = {accuracy = 93.4}\n", "model.claimed.accuracy"), ("[model", "not TOML")])
def test_what_is_no_network_is_refused_in_one_line(text: str, message: str, net: Path) -> None:
    net.write_text(text)
    with pytest.raises(InputRefused, match=message):
        read(net)


def test_a_file_that_is_not_there_is_named_with_the_nearest(net: Path, steadyread: Call) -> None:
    (net.parent / "images").mkdir()
    for command in (("assess",), ("assess", "--quick"), ("check",)):      # in the same words
        found = steadyread(*command, "--data", net.parent / "images", "--model", net.with_name("nett.toml"))
        assert (found.code, found.err.splitlines()[-1]) == (2, (
            f"steadyread: --model: no file {net.with_name('nett.toml')}; did you mean 'net.toml'?")), command
    with pytest.raises(UsageError, match=r"model.name: no file .*other.toml"):
        read(net.with_name("other.toml"))
    with pytest.raises(UsageError, match=r"no file .*nett.toml; did you mean 'net.toml'"):
        inspected(str(net.with_name("nett.toml")))


@pytest.mark.parametrize(("flags", "named"), [((), True), (("--normalise", "unit"), False)])
def test_what_is_stated_already_is_not_asked_for(flags: tuple[str, ...], named: bool, net: Path, steadyread: Call,
                                                 tmp_path: Path) -> None:
    data = pictures(tmp_path / "images")
    found = steadyread("check", "--data", data, "--model", f"{net.parent}/networks.py:linear", "--weights",
                       net.parent / "linear.pt", "--bounds", "0,255", *flags)
    assert found.code == 2
    assert "give --output HEAD" in found.err
    assert ("and --normalise" in found.err) is named


@pytest.mark.parametrize("values", [
    {"name": "a\"b\n\x7f", "arguments": {"width": 0.25, "more kinds": [1, [2, True]], "inner": {"ü": "é"}}},
    {"normalise": (0.5, 0.25, 0.1, 1e-9), "bounds": (-1000.0, 400.0), "claimed": {"accuracy": 0.9}},
    {"classes": ("no\x85\u202e", "yes \U0001f600\U000e0001"), "channels": 3, "unit": "HU"}])
def test_every_value_comes_back_as_it_was_written(values: dict[str, object]) -> None:
    model = Model(**({"weights": "w.pt"} | values))
    stated = tomllib.loads(network_text(model))["model"]
    assert Model(**stated) == model


def test_python_reads_it_too_and_inspect_runs_no_factory(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought = load_classifier(net)
    assert (brought.output, brought.threshold, brought.valid.high) == ("logit", 0.4, 255)
    assert load_classifier(net, output="logits", threshold=0.5, arguments={}).threshold == 0.5
    monkeypatch.setattr("steadyread.networks.load_classifier_module", None)
    found = inspected(str(net))
    assert (found["output"], found["claimed"]) == ("logit", {"accuracy": 0.934})
    assert "not to look at it" in found["notes"][-1]
    assert found["problem"] is None
    assert tomllib.loads(found["file"])["model"]["claimed"] == {"accuracy": 0.934}


def test_the_images_must_have_the_unit_and_the_channels_that_it_states(net: Path, steadyread: Call) -> None:
    pictures(net.parent / "images", 8)
    net.write_text(NET.replace("threshold = 0.4", 'unit = "HU"'))
    found = steadyread("assess", "--data", net.parent / "images", "--model", net, *QUICK)
    assert (found.code, "the network takes HU" in found.err) == (3, True)


def test_a_run_writes_one_by_which_the_same_run_is_made_again(net: Path, steadyread: Call, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 8)
    first = steadyread("assess", "--data", images, "--model", "nets/net.toml", *QUICK, "--out", "first")
    assert first.code == 0, first.err
    stated = tomllib.loads(Path("first", NETWORK).read_text("utf-8"))
    assert (stated["model"]["name"], stated["model"]["weights"]) == ("../nets/networks.py:linear", "../nets/linear.pt")
    assert (stated["model"]["unit"], stated["model"]["claimed"]) == ("grey level", {"accuracy": 0.934})
    again = steadyread("assess", "--data", images, "--model", f"first/{NETWORK}", *QUICK, "--out", "again")
    assert again.code == 0, again.err
    one, two = (json.loads(each.out) for each in (first, again))
    assert one["robustness"] == two["robustness"]


def test_weights_of_ours_are_a_network_by_themselves(tmp_path: Path) -> None:
    from steadyread.models.loading import load_classifier_module, save_weights

    module = load_classifier_module("narrow_vgg", classes=2, channels=1, size=16)
    save_weights(module, tmp_path / "net.safetensors", {"model": "narrow_vgg", "output": "logits", "bounds": [0, 255],
                                                        "arguments": {"classes": 2, "channels": 1, "size": 16}})
    study = read(tmp_path / "net.safetensors")
    assert (study.model.weights, "name" in study.model.model_fields_set) == (str(tmp_path / "net.safetensors"), False)
    images = torch.rand((2, 1, 16, 16)) * 255
    brought = load_classifier(tmp_path / "net.safetensors")
    assert torch.allclose(brought.logits(images), module(images))


def test_flags_hand_arguments_to_a_factory() -> None:
    flag = flags.ARGUMENTS
    assert flag.value(["width=0.5", "norm=true", "kinds=[1, 2]", "name=a b"]) == {
        "width": 0.5, "norm": True, "kinds": [1, 2], "name": "a b"}
    with pytest.raises(UsageError, match="--model-argument takes NAME=VALUE"):
        flag.value(["width"])


def test_a_missing_network_is_refused_before_torch_is_imported(steadyread: Call, monkeypatch: pytest.MonkeyPatch
                                                               ) -> None:
    monkeypatch.setattr("steadyread.models.format.source_of", None)
    found = steadyread("assess", "--data", ".", "--model", "net.keras", *OWN[4:])
    assert (found.code, "no file net.keras" in found.err) == (2, True)
