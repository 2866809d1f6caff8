"""Networks: the shapes of paper [A], any width and size; and ways in that refuse clearly and run no code."""

import argparse
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from steadyread.errors import InputRefused, UsageError
from steadyread.models.loading import (
    fill,
    load_classifier_module,
    load_saved,
    read_card,
    read_state,
    save_weights,
)
from steadyread.models.vgg import vgg16
from steadyread.networks import load_classifier
from steadyread.study import keyed, read_study

FACTORIES = """
import torch
from torch import nn

def net(classes=2, features=4):
    first = nn.Linear(16, features)
    return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(features), nn.Linear(features, classes))

class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

def wrapped():
    return Wrapped()

def kind():
    return Wrapped

def ends():
    raise SystemExit("no GPU")

ready = net()

def function():
    print("made here")
    return lambda images: ready(images)

def broken():
    raise ValueError("no such dataset")

def nothing():
    return None

answer = 42
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a user's own module in it."""
    (tmp_path / "bring_your_own.py").write_text(FACTORIES)
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "wrong_syntax.py").write_text("def net(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "bring_your_own", raising=False)
    return tmp_path


# the network

def test_vgg16_is_that_of_paper_a() -> None:
    with torch.device("meta"):
        net = vgg16(2, 3, size=224)
    convolutions = [layer for layer in net.features if isinstance(layer, nn.Conv2d)]
    dense = [layer for layer in net.head if isinstance(layer, nn.Linear)]
    assert [layer.out_channels for layer in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in net.features) == 5
    assert [(layer.in_features, layer.out_features) for layer in dense] == [
        (512 * 7 * 7, 4096), (4096, 1024), (1024, 2)]
    assert sum(isinstance(layer, nn.Dropout) for layer in net.head) == 2


def test_the_narrow_one_is_named_and_has_five_normalised_convolutions() -> None:
    net = load_classifier_module("narrow_vgg", classes=3, size=48)
    convolutions = [layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions == [16, 32, 64, 128, 128]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()) == 5
    assert net(torch.rand(2, 1, 48, 48)).shape == (2, 3)


@pytest.mark.parametrize("size", [28, (20, 45), 1])
@pytest.mark.parametrize("norm", [False, True])
def test_any_size_of_image(size: int | tuple[int, int], norm: bool) -> None:
    net = vgg16(3, width=1 / 32, size=size, norm=norm).eval()
    sides = (size, size) if isinstance(size, int) else size
    logits = net(torch.rand(2, 1, *sides))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


def test_grey_images_are_repeated_inside() -> None:
    net = vgg16(2, 3, width=1 / 16, size=16).eval()
    grey = torch.rand(2, 1, 16, 16, requires_grad=True)
    assert torch.allclose(net(grey), net(grey.repeat(1, 3, 1, 1)), atol=1e-6)
    assert torch.autograd.grad(net(grey).sum(), grey)[0].shape == grey.shape


def test_the_start_keeps_the_size_of_signals_through_thirteen_layers() -> None:
    """Before training, spread of the features is of the order of the images' own, neither gone nor blown up."""
    torch.manual_seed(0)
    net = vgg16(2, width=0.25, size=64).eval()
    images = torch.randn(8, 1, 64, 64)
    with torch.no_grad():
        spread = float(net.features(images).std())
    assert 0.1 < spread < 10


@pytest.mark.parametrize(("images", "told"), [
    (torch.zeros(1, 1, 30, 32), "made for images of 32x32 pixels; got 30x32"),
    (torch.zeros(1, 2, 32, 32), r"made for 1 channel\(s\); the images have 2")])
def test_other_images_are_refused(images: torch.Tensor, told: str) -> None:
    with pytest.raises(InputRefused, match=told):
        vgg16(2, size=32, width=1 / 32)(images)


@pytest.mark.parametrize("wrong", [
    {"classes": 1}, {"channels": 0}, {"size": 0}, {"size": (3, 3, 3)}, {"width": 0.0}, {"width": 50.0},
    {"convolutions": (1, 1)}, {"convolutions": (1, 1, 0, 1, 1)}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        vgg16(**wrong)  # type: ignore[arg-type]


# the ways in

def test_a_built_in_name_and_the_same_seed_give_the_same_network_and_leave_randomness_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = load_classifier_module("vgg16", classes=3, width=1 / 32, size=32, seed=5)
    two = load_classifier_module("vgg16", classes=3, width=1 / 32, size=32, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not one.training


def test_a_factory_of_the_current_folder(here: Path) -> None:
    assert load_classifier_module("bring_your_own:net", features=7)[1].out_features == 7
    assert str(here) not in sys.path


@pytest.mark.parametrize(("model", "refusal", "told"), [
    ("vgg61", UsageError, r"did you mean 'vgg16'\?.*package\.module:factory"),
    ("bring_your_own", UsageError, "no network named"), ("not_there:net", UsageError, "no module named 'not_there'"),
    ("needs_more:net", InputRefused, "needs the module 'a_package_that_is_not_there'"),
    ("wrong_syntax:net", InputRefused, "importing wrong_syntax failed: SyntaxError"),
    ("bring_your_own:nett", UsageError, r"has no 'nett': did you mean 'net'\?"),
    ("bring_your_own:broken", InputRefused, "failed: ValueError: no such dataset"),
    ("bring_your_own:nothing", InputRefused, r"must return a torch\.nn\.Module or .*; it returned a NoneType"),
    ("bring_your_own:ends", InputRefused, "failed: SystemExit: no GPU")])
def test_a_network_that_cannot_be_made_is_refused(here: Path, model: str, refusal: type[Exception],
                                                  told: str) -> None:
    with pytest.raises(refusal, match=told) as refused:
        load_classifier_module(model)
    assert "\n" not in str(refused.value)


def test_a_network_that_stands_in_the_module_is_taken_as_a_copy(here: Path) -> None:
    found = load_classifier_module("bring_your_own:ready")
    original = sys.modules["bring_your_own"].ready
    assert same(found, original)
    assert found is not original
    with pytest.raises(UsageError, match="features"):
        load_classifier_module("bring_your_own:ready", features=3)


def test_a_factory_may_return_a_function_and_what_it_prints_is_no_result(
        here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = load_classifier_module("bring_your_own:function")
    assert found(torch.rand(2, 16)).shape == (2, 2)
    assert not found.training
    assert capsys.readouterr() == ("", "made here\n")


def test_arguments_that_a_factory_does_not_take_are_refused(here: Path) -> None:
    with pytest.raises(UsageError, match=r"colour.*it takes"):
        load_classifier_module("bring_your_own:net", colour="red")


# weights

@pytest.fixture
def trained(here: Path) -> nn.Module:
    return load_classifier_module("bring_your_own:net", seed=9)


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("way", ["plain", "deep", "compiled", "half"])
def test_state_dicts_as_people_save_them(here: Path, trained: nn.Module, way: str) -> None:
    state = trained.state_dict()
    stored: object = {
        "plain": state, "state_dict": {"state_dict": state, "epoch": 3}, "model": {"model": state, "optimizer": {}},
        "deep": {"state_dict": {"model": state}}, "half": {name: value.half() for name, value in state.items()},
        "parallel": {f"module.{name}": value for name, value in state.items()},
        "compiled": {f"module._orig_mod.{name}": value for name, value in state.items()}}[way]
    torch.save(stored, here / "w.pt")
    found = load_classifier_module("bring_your_own:net", here / "w.pt")
    assert same(found, trained) or (way == "half" and found[1].weight.dtype == torch.float32)


def test_safetensors(here: Path, trained: nn.Module) -> None:
    save_file(trained.state_dict(), here / "w.safetensors")
    assert same(load_classifier_module("bring_your_own:net", here / "w.safetensors"), trained)
    assert read_card(here / "w.safetensors") is None


def test_a_pickled_module_is_refused_and_never_run(here: Path, trained: nn.Module) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (here / "ran",))

    torch.save(trained, here / "whole.pt")
    (here / "trap.pt").write_bytes(pickle.dumps(Trap()))
    torch.save({"state_dict": Trap()}, here / "trap.pth")
    for name in ("whole.pt", "trap.pt", "trap.pth"):
        with pytest.raises(InputRefused, match=r"torch\.save\((model\.state_dict\(\)|checkpoint\['state_dict'\])"):
            load_classifier_module("bring_your_own:net", here / name)
    assert not (here / "ran").exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_a_truncated_file_is_refused(here: Path, trained: nn.Module, suffix: str, keep: float) -> None:
    path = here / f"w.{suffix}"
    torch.save(trained.state_dict(), path) if suffix == "pt" else save_file(trained.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[:int(keep * len(content))])
    with pytest.raises(InputRefused, match=r"w\..*cut off") as refused:
        load_classifier_module("bring_your_own:net", path)
    assert "\n" not in str(refused.value)


def test_weights_that_do_not_fit_name_the_first_keys(here: Path, trained: nn.Module) -> None:
    state = trained.state_dict()
    torch.save({("wrong.weight" if name == "1.weight" else name): value for name, value in state.items()},
               here / "names.pt")
    told = r"1 missing \(first '1\.weight'\); 1 unexpected \(first 'wrong\.weight'\)"
    with pytest.raises(InputRefused, match=told):
        load_classifier_module("bring_your_own:net", here / "names.pt")
    torch.save(state, here / "shape.pt")
    with pytest.raises(InputRefused, match=r"'1\.weight' has the shape \(4, 16\), expected \(9, 16\)"):
        load_classifier_module("bring_your_own:net", here / "shape.pt", features=9)
    torch.save({**state, "1.bias": torch.full((4,), torch.nan)}, here / "nan.pt")
    with pytest.raises(InputRefused, match=r"'1\.bias' has NaN"):
        load_classifier_module("bring_your_own:net", here / "nan.pt")


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def others(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value + 1 for name, value in state.items()}


@pytest.mark.parametrize(("stored", "said"), [
    (lambda state: {"state_dict": prefixed(state, "model."), "epoch": 9, "optimizer_states": [{}]}, ""),
    (lambda state: {"state_dict": prefixed(state, "model.") | {"loss.weight": torch.ones(2)}}, "loss.weight"),
    (lambda state: prefixed(state, "net."), ""), (lambda state: {"state_dict_ema": prefixed(state, "module.")}, ""),
    (lambda state: prefixed(state, "module.") | {"n_averaged": torch.tensor(5)}, "n_averaged"),
    (lambda state: {"ema": others(state), "model": state, "args": {"lr": 0.1}}, "those of 'model/' are taken"),
    (lambda state: prefixed(state, "model.") | prefixed(others(state), "ema_model."), "of 'model.' are taken"),
    (lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, ""),
    (lambda state: {name: value for name, value in state.items() if not name.endswith("tracked")}, "")])
def test_a_state_dict_is_found_by_the_networks_names(
        here: Path, trained: nn.Module, caplog: pytest.LogCaptureFixture,
        stored: Callable[[dict[str, torch.Tensor]], object], said: str) -> None:
    torch.save(stored(trained.state_dict()), here / "w.ckpt")
    assert same(load_classifier_module("bring_your_own:net", here / "w.ckpt"), trained)
    assert (said in caplog.text) if said else not caplog.records


@pytest.mark.parametrize(("table", "taken"), [
    ({"features": 4, "lr": 0.1}, {"features": 4}), ({"lr": 1}, {}), (None, "no table hyper_parameters"),
    ({"features": {1}}, "no plain value")])
def test_the_hyper_parameters_of_a_checkpoint_are_handed_to_the_factory_where_asked(
        table: object, taken: dict[str, int] | str, here: Path, trained: nn.Module) -> None:
    torch.save({"state_dict": trained.state_dict(), "hyper_parameters": table}, here / "w.ckpt")
    stated = keyed(model__name="bring_your_own:net", model__weights=str(here / "w.ckpt"), model__bounds=[0, 1],
                   model__hyper_parameters=True)
    if isinstance(taken, dict):
        assert read_study(None, stated).model.facts().settings["model"] == {"arguments": taken}
        found = load_classifier("bring_your_own:net", here / "w.ckpt", bounds=(0, 1), output="logits",
                                hyper_parameters=True, arguments={"features": 4})
        assert same(found.module, trained)
        return
    with pytest.raises(InputRefused, match=taken):
        read_study(None, stated).model.facts()


def test_hyper_parameters_that_are_objects_are_named_and_never_made(here: Path, trained: nn.Module) -> None:
    torch.save({"state_dict": trained.state_dict(), "hyper_parameters": argparse.Namespace(lr=1)}, here / "w.ckpt")
    with pytest.raises(InputRefused, match=r"argparse\.Namespace.*checkpoint\['state_dict'\]"):
        load_classifier_module("bring_your_own:net", here / "w.ckpt")
    torch.save(trained, here / "whole.pt")
    with pytest.raises(InputRefused, match=r"Sequential.*load it in Python and save a state dict"):
        load_classifier_module("bring_your_own:net", here / "whole.pt")


def test_a_network_that_wraps_the_one_whose_weights_they_are(here: Path, trained: nn.Module) -> None:
    torch.save(prefixed(trained.state_dict(), "module."), here / "w.pt")
    found = load_classifier_module("bring_your_own:wrapped", here / "w.pt")
    assert same(found.inner.net, trained)


def test_several_weights_that_fit_are_refused_and_named(here: Path, trained: nn.Module) -> None:
    state = trained.state_dict()
    torch.save(prefixed(state, "student.") | prefixed(others(state), "expert."), here / "w.pt")
    with pytest.raises(InputRefused, match=r"several weights that fit this network \('student\.', 'expert\.'\)"):
        load_classifier_module("bring_your_own:net", here / "w.pt")
    torch.save(prefixed(state, "student.") | prefixed(state, "expert."), here / "same.pt")
    assert same(load_classifier_module("bring_your_own:net", here / "same.pt"), trained)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize(("content", "told"), [
    (b"", "is empty"), (POINTER, "is a Git LFS pointer.*git lfs pull"),
    (b"/annex/objects/SHA256E-s1--ab.pt\n", "git annex get"),
    (b"\n<!DOCTYPE html>\n<html><head><title>404</title>", "is a web page"),
    (b"Invalid username or password.", "is text, not weights; it begins 'Invalid username or password")])
def test_a_file_that_stands_for_weights_says_what_it_is(here: Path, suffix: str, content: bytes, told: str) -> None:
    (here / f"w.{suffix}").write_bytes(content)
    with pytest.raises(InputRefused, match=told) as refused:
        load_classifier_module("bring_your_own:net", here / f"w.{suffix}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("suffix", "content", "told"), [
    ("pt", b"\x1f\x8b\x08" + b"\0" * 20, "packed by gzip: unpack"), ("pth", b"BZh91AY&SY\0\0", "an archive"),
    ("pt", b"\x08\x07\x12\x07pytorch\x1a\x052.0.0\xff", "ONNX"), ("pt", b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    ("safetensors", b"PK\3\4\0\0\xff", r"rename it to end in \.pt")])
def test_weights_of_another_kind_are_named_by_their_first_bytes(here: Path, suffix: str, content: bytes, told: str
                                                                ) -> None:
    (here / f"w.{suffix}").write_bytes(content)
    with pytest.raises(InputRefused, match=told):
        load_classifier_module("bring_your_own:net", here / f"w.{suffix}")


@pytest.mark.parametrize(("name", "content", "told"), [
    ("w.h5", b"", r"expected weights as \.safetensors"), ("none.pt", None, "no weights file"),
    ("w.pt", {"epoch": 3}, "no state dict"), ("w.pt", [1, 2], "no state dict"), ("w.pt", {}, "no state dict")])
def test_files_that_are_no_weights_are_refused(here: Path, name: str, content: object, told: str) -> None:
    if isinstance(content, bytes):
        (here / name).write_bytes(content)
    elif content is not None:
        torch.save(content, here / name)
    with pytest.raises(InputRefused, match=told):
        read_state(here / name)


# the card

CARD = {"model": "vgg16", "arguments": {"classes": 2, "width": 1 / 32, "size": [32, 32]}, "output": "logits",
        "bounds": [-1000.0, 400.0], "unit": "HU", "classes": ["benign", "malignant"]}


def test_a_network_comes_back_from_its_file_alone(tmp_path: Path) -> None:
    net = load_classifier_module("vgg16", **CARD["arguments"], seed=3).to(  # type: ignore[arg-type]
        memory_format=torch.channels_last)
    save_weights(net, tmp_path / "model.safetensors", CARD)
    assert read_card(tmp_path / "model.safetensors") == CARD
    found, card = load_saved(tmp_path / "model.safetensors")
    assert card == CARD
    assert same(found, net)


def test_a_card_never_imports_what_a_stranger_wrote(here: Path, trained: nn.Module) -> None:
    save_weights(trained, here / "m.safetensors", {"model": "bring_your_own:net", "arguments": {}})
    with pytest.raises(InputRefused, match=r"not built in: if you trust that code, give model.name = bring"):
        load_saved(here / "m.safetensors")
    assert same(load_saved(here / "m.safetensors", "bring_your_own:net")[0], trained)


def test_weights_without_a_card_ask_for_the_network(here: Path, trained: nn.Module) -> None:
    torch.save(trained.state_dict(), here / "w.pt")
    assert read_card(here / "w.pt") is None
    with pytest.raises(InputRefused, match=r"give model[.]name"):
        load_saved(here / "w.pt")
    with pytest.raises(InputRefused, match="no weights file"):
        read_card(here / "none.safetensors")
    with pytest.raises(InputRefused, match=r"W[.]PT; did you mean 'w.pt'"):
        read_card(here / "W.PT")


class Own(nn.Linear):
    """Takes its weights in its own way, as quantised layers do."""

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: object) -> None:
        raise KeyError(f"{prefix}scale")


def test_weights_that_a_module_does_not_take_are_refused(tmp_path: Path) -> None:
    torch.save(Own(2, 2).state_dict(), tmp_path / "own.pt")
    with pytest.raises(InputRefused, match=r"own\.pt does not fit the network 'own': KeyError: 'scale'"):
        fill(Own(2, 2), tmp_path / "own.pt", "own")
