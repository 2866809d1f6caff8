"""Networks in other people's formats give the eager network's logits and flips, and run no code of the file's."""

import io
import json
import resource
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fabricate_pictures import Call, pictures
from steadyread import Bounds, Classifier, smallest_flip
from steadyread.console import network_lines
from steadyread.errors import InputRefused, UsageError
from steadyread.jobs.cards import with_findings
from steadyread.jobs.material import listed
from steadyread.models.format import FORMATS, source_of
from steadyread.networks import inspected, load_classifier
from steadyread.study import keyed, read_study

# of the libraries that write the files
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in (
    "DeprecationWarning", "UserWarning", "FutureWarning")]


class Net(nn.Module):
    """Two classes of grey images of 16 x 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2)
        self.head = nn.Linear(4 * 49, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.stem(images)).flatten(1))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((6, 1, 16, 16), generator=torch.Generator().manual_seed(1))


def sizes(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    reference = classifier.logits(images).argmax(1)
    return smallest_flip(classifier, classifier.batch(images), reference, 0).size


def same_flips(path: Path, net: nn.Module, images: torch.Tensor) -> None:
    eager = Classifier(net, Bounds(0, 1), "logits")
    brought = load_classifier(path, bounds=(0, 1), output="logits")
    assert torch.allclose(brought.logits(images), eager.logits(images), atol=1e-5)
    assert torch.allclose(sizes(brought, images), sizes(eager, images), rtol=0.01)


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_torchscript_gives_the_flips_of_the_eager_network(how: str, net: Net, images: torch.Tensor, tmp_path: Path
                                                          ) -> None:
    made = torch.jit.script(net) if how == "scripted" else torch.jit.trace(net, images[:1])
    made.save(str(tmp_path / "net.pt"))
    assert source_of(str(tmp_path / "net.pt")) == ("torchscript", str(tmp_path / "net.pt"))
    same_flips(tmp_path / "net.pt", net, images)


@pytest.mark.parametrize(("last", "values", "output"), [(nn.Sigmoid(), 1, "probability"), (nn.Softmax(1), 3,
                                                        "probabilities"), (nn.Sigmoid(), 3, None)])
def test_a_last_sigmoid_or_softmax_is_known_by_looking(last: nn.Module, values: int, output: str | None, tmp_path: Path
                                                       ) -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(64 * 64, values), last).eval()
    torch.jit.trace(module, torch.zeros(1, 1, 64, 64)).save(str(tmp_path / "net.pt"))
    found = inspected(str(tmp_path / "net.pt"))
    assert (found["ends"] or None, f"--output {output or 'HEAD'}" in found["command"]) == (output, True)


@pytest.mark.parametrize("batch", ["any", "two"])
def test_an_exported_program_gives_the_flips_of_the_eager_network(batch: str, net: Net, images: torch.Tensor,
                                                                  tmp_path: Path) -> None:
    shapes = ({0: torch.export.Dim.DYNAMIC},) if batch == "any" else None
    torch.export.save(torch.export.export(net, (images[:2],), dynamic_shapes=shapes), str(tmp_path / "net.pt2"))
    same_flips(tmp_path / "net.pt2", net, images[:5])


def test_sample_inputs_that_would_run_code_are_not_unpickled(net: Net, images: torch.Tensor, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net, (images[:2],)), str(tmp_path / "net.pt2"))
    marker = tmp_path / "ran"
    evil = io.BytesIO()
    torch.save(_Evil(marker), evil)
    with zipfile.ZipFile(tmp_path / "net.pt2") as own, zipfile.ZipFile(tmp_path / "evil.pt2", "w") as other:
        for member in own.infolist():
            other.writestr(member.filename, evil.getvalue() if "sample_inputs" in member.filename
                           else own.read(member))
    same_flips(tmp_path / "evil.pt2", net, images)
    assert not marker.exists()


@pytest.mark.parametrize(("old", "new"), [
    ('"use_pickle": false', '"use_pickle": true'),
    ("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default"),
    ("torch.ops.aten.relu.default", "torch._inductor.codecache.os.system"),
    ("torch.ops.aten.relu.default", "torchx.serialization.os.system"),
    ('{"as_tensor": {"name": "relu"}}', '{"as_operator": "torch.serialization.os.system"}'),
    ('"path_name": "weight_0"', '"path_name": "opaque_obj_0"'),
    ('"name": "images"', '"name": "images=__import__(\'os\').getpid()"'),      # becomes Python source
    ('{"as_int": 16}', '{"as_expr": {"expr_str": "9**9**9**9"}}'),
    ('{"as_int": 16}', '{"as_expr": {"expr_str": "' + "1" * 60 + '!"}}'),
    ("builtins.tuple", "collections.defaultdict")])
def test_an_exported_program_that_does_more_is_refused(old: str, new: str, net: Net, images: torch.Tensor,
                                                       tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net, (images[:2],)), str(tmp_path / "net.pt2"))
    with zipfile.ZipFile(tmp_path / "net.pt2") as own, zipfile.ZipFile(tmp_path / "evil.pt2", "w") as other:
        for member in own.infolist():
            other.writestr(member.filename, own.read(member).replace(old.encode(), new.encode()))
    with pytest.raises(InputRefused, match=r"pickles|more than arithmetic|is no (name|size)|does not take"):
        load_classifier(tmp_path / "evil.pt2", bounds=(0, 1), output="logits")


def test_torchscript_that_reads_files_is_refused_before_it_runs(tmp_path: Path) -> None:
    class Reader(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) + torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8)

    torch.jit.script(Reader()).save(str(tmp_path / "net.pt"))
    with pytest.raises(InputRefused, match="from_file"):
        load_classifier(tmp_path / "net.pt", bounds=(0, 1), output="logits")


@pytest.mark.parametrize(("old", "new"), [(b"torch.relu(", b"^relu("), (b"torch.relu(", b"ops.prim.PythonOp("),
                                          (b"torch.relu(", b"ops.os.system("), (b"torch.relu(", b"__import__(")])
def test_torchscript_whose_source_calls_python_is_refused(old: bytes, new: bytes, net: Net, tmp_path: Path) -> None:
    torch.jit.script(net).save(str(tmp_path / "net.pt"))
    with zipfile.ZipFile(tmp_path / "net.pt") as own, zipfile.ZipFile(tmp_path / "evil.pt", "w") as other:
        sources = [own.read(member) for member in own.infolist() if member.filename.endswith(".py")]
        assert any(old in source for source in sources)
        for member in own.infolist():
            content = own.read(member)
            other.writestr(member, content.replace(old, new) if member.filename.endswith(".py") else content)
    with pytest.raises(InputRefused, match=r"cannot be read as TorchScript|more than arithmetic"):
        load_classifier(tmp_path / "evil.pt", bounds=(0, 1), output="logits")


class _Saves(nn.Module):
    """Writes a file while it is loaded."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.place, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        torch.save(torch.zeros(1), state[0])
        self.place, self.training = state

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_torchscript_that_acts_while_it_is_loaded_is_refused_unread(tmp_path: Path) -> None:
    torch.jit.script(_Saves(str(tmp_path / "ran"))).save(str(tmp_path / "net.pt"))
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(InputRefused, match="__setstate__"):
        load_classifier(tmp_path / "net.pt", bounds=(0, 1), output="logits")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_a_cut_off_archive_is_refused_in_one_line(name: str, net: Net, images: torch.Tensor, tmp_path: Path) -> None:
    if name == "net.pt2":
        torch.export.save(torch.export.export(net, (images[:2],)), str(tmp_path / name))
    else:
        torch.jit.script(net).save(str(tmp_path / name))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:100] + whole[140:])
    with pytest.raises(InputRefused, match="cannot be read"):
        load_classifier(tmp_path / name, bounds=(0, 1), output="logits")


def test_onnx_is_a_black_box_with_the_same_answers(net: Net, images: torch.Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="writes the file")
    pytest.importorskip("onnxruntime", reason="reads the file")
    torch.onnx.export(net, (images[:2],), str(tmp_path / "net.onnx"), dynamo=False, input_names=["images"])
    brought = load_classifier(tmp_path / "net.onnx", bounds=(0, 1), output="logits")
    assert torch.allclose(brought.logits(images[:5]), net(images[:5]), atol=1e-5)    # of a file made for two at a time
    assert inspected(str(tmp_path / "net.onnx"))["gradients"] is False


def onnx_of(path: Path, node: tuple[str, list[str]], initializer: object) -> Path:
    """An ONNX file that adds what a node makes of a constant to two values an image."""
    helper = pytest.importorskip("onnx", reason="writes the file").helper
    pytest.importorskip("onnxruntime", reason="reads the file")
    values = [helper.make_tensor_value_info(name, 1, ["n", 2, 1, 1]) for name in ("images", "logits")]
    graph = helper.make_graph([helper.make_node(node[0], node[1], ["made"]),
                               helper.make_node("ReduceSum", ["made"], ["sum"], keepdims=0),
                               helper.make_node("Add", ["images", "sum"], ["logits"])],
                              "net", values[:1], values[1:], [initializer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("last", "columns", "stated", "findings"), [
    (["Softmax"], 2, "probabilities", 0), (["Sigmoid"], 1, "probability", 0), (["Relu"], 2, "", 0),
    (["Sigmoid", "Identity"], 5, "probability", 5)])
def test_onnx_states_the_head_that_its_graph_ends_in(last: list[str], columns: int, stated: str, findings: int,
                                                     tmp_path: Path) -> None:
    helper = pytest.importorskip("onnx", reason="writes the file").helper
    pytest.importorskip("onnxruntime", reason="reads the file")
    names = ["images", *(f"value{at}" for at in range(len(last)))]
    nodes = [helper.make_node(kind, [names[at]], [names[at + 1]]) for at, kind in enumerate(last)]
    ends = [helper.make_tensor_value_info(name, 1, ["n", columns]) for name in (names[0], names[-1])]
    model = helper.make_model(helper.make_graph(nodes, "net", ends[:1], ends[1:]),
                              opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    facts = FORMATS["onnx"].facts_of(tmp_path / "net.onnx")
    assert (facts.settings.get("model", {}).get("output", ""), facts.findings) == (stated, findings)


@pytest.mark.parametrize("place", ["values.bin", "../values.bin", "/tmp/values.bin"])
def test_onnx_reads_no_other_file(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx", reason="writes the file")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for folder in (tmp_path, tmp_path / "inner"):
        (folder / "values.bin").write_bytes(bytes(16))
    values = onnx.TensorProto(name="values", dims=[2, 2], data_type=1, data_location=1)
    for key, value in (("location", place), ("offset", "0"), ("length", "16")):
        values.external_data.add(key=key, value=value)
    with pytest.raises(InputRefused, match="external data is not read"):
        load_classifier(onnx_of(Path("net.onnx"), ("Identity", ["values"]), values), bounds=(0, 1), output="logits")


@pytest.mark.parametrize("count", [250_000_000, 10**10])
def test_onnx_that_asks_for_more_memory_than_a_network_takes_is_refused(count: int, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="writes the file")
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [1], [count])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match="onnxruntime"):
        load_classifier(onnx_of(tmp_path / "net.onnx", ("ConstantOfShape", ["shape"]), shape), bounds=(0, 1),
                        output="logits").logits(torch.zeros(1, 2, 1, 1))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000     # kB


def test_members_that_lead_out_of_a_keras_file_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(a_keras_file(tmp_path / "net.keras"), "a") as archive:
        archive.writestr("assets/../../outside.txt", "x")
    with pytest.raises(InputRefused, match=r"holds assets/\.\./\.\./outside.txt"):
        load_classifier(tmp_path / "net.keras", bounds=(0, 1))
    assert not list(tmp_path.parent.glob("outside*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_keras_gives_its_own_probabilities_without_the_last_sigmoid(name: str, tmp_path: Path) -> None:
    keras = keras_of_torch()
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
                                keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, activation="sigmoid")])
    network.save(tmp_path / name)
    images = torch.rand((5, 3, 16, 16))
    brought = load_classifier(tmp_path / name, bounds=(0, 1))
    assert brought.output == "logit"
    theirs = torch.as_tensor(network(images.movedim(1, -1), training=False)).flatten()
    assert torch.allclose(brought.probabilities(brought.logits(images))[:, 1], theirs, atol=1e-6)
    found = inspected(str(tmp_path / name))
    assert (found["channels"], found["size"], found["gradients"]) == (3, [16, 16], True)


@pytest.mark.slow
def test_keras_code_and_weights_alone_are_refused(tmp_path: Path) -> None:
    keras = keras_of_torch()
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    network.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.weights.h5").rename(tmp_path / "weights.h5")
    with pytest.raises(InputRefused, match="weights alone"):
        load_classifier(tmp_path / "weights.h5", bounds=(0, 1), output="logits")
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2),
                      keras.layers.Dense(2)]).save(tmp_path / "net.h5")
    with pytest.raises(InputRefused, match="is code"):
        load_classifier(tmp_path / "net.h5", bounds=(0, 1), output="logits")


@pytest.mark.slow
@pytest.mark.parametrize("end", ["Softmax", "Activation", "Flatten", "Dropout", "linear", "nested"])
def test_keras_last_softmax_is_taken_off_wherever_it_stands(end: str, tmp_path: Path) -> None:
    keras = keras_of_torch()
    layers = keras.layers
    ends = {"Softmax": [layers.Dense(3), layers.Softmax()],
            "Activation": [layers.Dense(3), layers.Activation("softmax")],
            "Flatten": [layers.Dense(3, activation="softmax"), layers.Flatten()],
            "Dropout": [layers.Dense(3, activation="softmax"), layers.Dropout(0.5)],
            "linear": [layers.Dense(3, activation="softmax"), layers.Activation("linear")],
            "nested": [keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])]}
    network = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(),
                                *ends[end]])
    network.save(tmp_path / "net.keras")
    images = torch.rand((5, 1, 16, 16))
    brought = load_classifier(tmp_path / "net.keras", bounds=(0, 1))
    theirs = torch.as_tensor(network(images.movedim(1, -1), training=False))
    assert torch.allclose(brought.logits(images).softmax(1), theirs, atol=1e-6)


def a_keras_file(path: Path, edit=None, weights=None) -> Path:
    """A network of no weights as Keras writes it, with a changed configuration or weights."""
    layers = [{"module": "keras.layers", "class_name": "Flatten", "config": {"name": "flat"}, "registered_name": None},
              {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
               "config": {"name": "head", "units": 2, "activation": "softmax"}}]
    if edit:
        edit(layers[1])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"module": "keras", "class_name": "Sequential",
                                                    "config": {"layers": layers}}))
        if weights:
            archive.writestr("model.weights.h5", weights)
    return path


@pytest.mark.parametrize("edit", [
    lambda layer: layer["config"].update(activation={"class_name": "__lambda__", "config": {"value": "4w=="}}),
    lambda layer: layer["config"].update(kernel_initializer={"module": "os", "class_name": "system", "config": "x"}),
    lambda layer: layer["config"].update(layer={"class_name": "Bidirectional", "config": {
        "backward_layer": {"class_name": "Lambda", "config": {}}}}),
    lambda layer: layer.update(registered_name="Custom>Dense"),
    lambda layer: layer.update(class_name="TorchModuleWrapper")])
def test_code_is_found_however_deep_it_lies_in_a_keras_network(edit, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="is code"):
        FORMATS["keras"].facts(a_keras_file(tmp_path / "net.keras", edit))


@pytest.mark.parametrize(("harm", "message"), [("link", "link to elsewhere"), ("claim", "claims")])
def test_keras_weights_that_lead_elsewhere_or_claim_too_much_are_refused(harm: str, message: str, tmp_path: Path
                                                                         ) -> None:
    h5py = pytest.importorskip("h5py", reason="writes the weights")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        if harm == "link":
            file["layers"] = h5py.ExternalLink("/etc/other.h5", "/")
        else:
            file.create_dataset("head", shape=(10**4, 10**4), dtype="f4", chunks=(1000, 1000), compression="gzip")
    weights = (tmp_path / "weights.h5").read_bytes()
    with pytest.raises(InputRefused, match=message):
        FORMATS["keras"].facts(a_keras_file(tmp_path / "net.keras", weights=weights))


def keras_of_torch():
    import os

    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras", reason="writes and reads the file")


def processor(**stated: object) -> dict[str, object]:
    return {"do_resize": True, "size": {"height": 32, "width": 32}, "resample": 3, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.25, 0.25, 0.25]} | stated


def folder_of(path: Path, config: dict[str, object] | None = None, **stated: object) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "resnet", "id2label": {"0": "no", "1": "yes"}}
                                                 | (config or {})))
    (path / "preprocessor_config.json").write_text(json.dumps(processor(**stated)))
    (path / "model.safetensors").write_bytes(b"")
    return path


@pytest.mark.parametrize(("stated", "prepared"), [
    ({}, {"size": [32, 32], "fit": "squash", "interpolation": "cubic"}),
    ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
     {"size": [224, 224], "fit": "shorter", "central": 0.875, "interpolation": "cubic"}),
    ({"size": {"shortest_edge": 224}, "crop_pct": 0.875},
     {"size": [224, 224], "fit": "shorter", "central": 0.875, "interpolation": "cubic"}),
    ({"size": 224, "crop_pct": 0.875},
     {"size": [224, 224], "fit": "shorter", "central": 0.875, "interpolation": "cubic"}),
    ({"size": 224}, {"size": [224, 224], "fit": "squash", "interpolation": "cubic"}),
    ({"size": {"shortest_edge": 384}, "crop_pct": 0.875},
     {"size": [384, 384], "fit": "squash", "interpolation": "cubic"})])
def test_what_hugging_face_does_to_images_is_read_from_its_json(stated: dict[str, object], prepared: object,
                                                                tmp_path: Path) -> None:
    facts = FORMATS["hf"].facts(folder_of(tmp_path / "net", **stated))
    assert facts.settings["preparation"] == prepared
    assert facts.settings["model"]["normalise"] == pytest.approx([127.5] * 3 + [63.75] * 3)
    assert facts.classes == ("no", "yes")
    assert not facts.notes
    other = FORMATS["hf"].facts(folder_of(tmp_path / "lanczos", **(stated | {"resample": 1})))
    assert "filter 1, which is not had: linear" in other.notes[0]
    assert other.settings["preparation"]["interpolation"] == "linear"


def test_folders_that_name_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="auto_map"):
        load_classifier(folder_of(tmp_path / "net", {"auto_map": {"AutoModel": "evil.Net"}}))
    with pytest.raises(InputRefused, match="may be an address: give the network's name, --model timm:NAME"):
        load_classifier(folder_of(tmp_path / "timm", {"model_type": "timm_wrapper", "architecture": "hf-hub:evil/net"}))


def test_hugging_face_names_the_findings_of_a_network_of_several(tmp_path: Path) -> None:
    facts = FORMATS["hf"].facts(folder_of(tmp_path / "net", {
        "problem_type": "multi_label_classification", "id2label": {"0": "Mass", "10": "Nodule/Mass", "2": "Effusion"}}))
    assert facts.settings["model"]["output"] == "logit"
    assert facts.settings["model"]["findings"] == ["Mass", "Effusion", "Nodule_Mass"]
    assert (facts.classes, facts.findings) == ((), 3)


@pytest.mark.parametrize("names", [{"0": "Mass", "1": "mass"}, {"0": "original", "1": "Mass"}])
def test_findings_of_a_file_that_cannot_be_told_apart_are_refused(names: dict[str, str], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "net", {"problem_type": "multi_label_classification", "id2label": names})
    with pytest.raises(InputRefused, match=r"findings that cannot stand.*State model\.findings"):
        with_findings(read_study(None, keyed(model__name=str(folder))))


@pytest.mark.slow
def test_keras_sigmoids_are_findings_a_logit_each(tmp_path: Path) -> None:
    keras = keras_of_torch()
    network = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(),
                                keras.layers.Dense(3, activation="sigmoid")])
    network.save(tmp_path / "net.keras")
    with pytest.raises(UsageError, match="returns 3 findings"):
        with_findings(read_study(None, keyed(model__name=str(tmp_path / "net.keras"))))
    brought = load_classifier(tmp_path / "net.keras", bounds=(0, 1), findings=("a", "b", "c"), threshold={"b": 0.3})
    images = torch.rand((5, 1, 16, 16))
    theirs = torch.as_tensor(network(images.movedim(1, -1), training=False))
    for place, name in enumerate("abc"):
        view = brought.of(name)
        assert torch.allclose(view.probabilities(view.logits(images))[:, 1], theirs[:, place], atol=1e-6)


@pytest.mark.parametrize(("config", "steps"), [
    ({"id2label": 5}, {}), ({"num_channels": [3]}, {}), ({}, {"rescale_factor": 0}), ({}, {"image_mean": ["x"]}),
    ({}, {"resample": None})])
def test_values_of_another_kind_in_a_folder_are_refused_in_one_line(config: dict[str, object],
                                                                    steps: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="what its configuration holds cannot be understood") as caught:
        read_study(None, keyed(model__name=str(folder_of(tmp_path / "net", config, **steps)))).model.facts()
    assert "\n" not in str(caught.value)


def bundle_of(path: Path, **config: object) -> Path:
    (path / "configs").mkdir(parents=True)
    (path / "models").mkdir()
    told = {"inputs": {"image": {"num_channels": 1, "spatial_shape": [16, 16]}},
            "outputs": {"pred": {"channel_def": {"0": "benign", "1": "malignant"}}}}
    (path / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": told}))
    (path / "configs" / "inference.json").write_text(json.dumps(config))
    return path


def test_a_monai_bundle_gives_the_flips_of_the_eager_network(images: torch.Tensor, tmp_path: Path) -> None:
    nets = pytest.importorskip("monai.networks.nets", reason="makes the network")
    shape = {"in_shape": [1, 16, 16], "classes": 2, "channels": [4, 8], "strides": [2, 2]}
    eager = nets.Classifier(**shape).eval()
    stated = {"_target_": "Classifier", **shape, "classes": "@classes"}
    folder = bundle_of(tmp_path / "net", network_def=stated, classes=2)
    torch.save(eager.state_dict(), folder / "models" / "model.pt")
    assert inspected(str(folder))["classes"] == ["benign", "malignant"]
    same_flips(folder, eager, images)


def test_a_bundle_says_its_window_and_its_grid(tmp_path: Path) -> None:
    folder = bundle_of(tmp_path / "net", network_def={"_target_": "DenseNet121"}, preprocessing={
        "_target_": "Compose", "transforms": [
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 1.5]},
            {"_target_": "monai.transforms.ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400,
             "b_min": -1.0, "b_max": 1.0, "clip": True}]})
    assert FORMATS["monai"].facts_of(folder).settings == {
        "model": {"normalise": [-300.0, 700.0], "window": [-1000.0, 400.0]},
        "preparation": {"spacing_mm": 1.5, "resample": "monai"}}
    spoilt = bundle_of(tmp_path / "other", network_def={"_target_": "DenseNet121"}, preprocessing=[
        {"_target_": "ScaleIntensityRange", "a_min": "$-1000", "a_max": 400, "b_min": 0, "b_max": 1},
        {"_target_": "Spacing", "pixdim": [1, 1, 2]}, {"_target_": "Orientation", "axcodes": "$'RAS'"},
        {"_target_": "ResizeWithPadOrCrop", "spatial_size": "@size"}, {"_target_": "Resize", "spatial_size": 24}])
    facts = FORMATS["monai"].facts_of(spoilt)
    assert facts.settings == {}
    assert {told.split()[1] for told in facts.differs} >= {"ScaleIntensityRange", "Spacing", "Orientation",
                                                           "ResizeWithPadOrCrop", "Resize"}


@pytest.mark.parametrize(("step", "prepared"), [
    ({"_target_": "ResizeWithPadOrCropd", "spatial_size": [24, 24, 8]},
     {"crop": [24, 24, 8], "size": None, "resample": "monai", "fill": 0.0}),
    ({"_target_": "CenterSpatialCropd", "roi_size": [24, 24, 8]},
     {"crop": [24, 24, 8], "size": None, "resample": "monai", "fill": "never"}),
    ({"_target_": "Resized", "spatial_size": [24, 24, 8]},
     {"size": [24, 24, 8], "fit": "squash", "interpolation": "area"}),
    ({"_target_": "Resized", "spatial_size": [24, 24, 8], "mode": "trilinear"},
     {"size": [24, 24, 8], "fit": "squash", "interpolation": "plain"}),
    ({"_target_": "Resized", "spatial_size": [24, 24, 8], "size_mode": "longest"}, {})])
def test_a_bundle_says_how_its_images_come_to_their_size(step: dict[str, object], prepared: dict[str, object],
                                                         tmp_path: Path) -> None:
    folder = bundle_of(tmp_path / "net", network_def={"_target_": "DenseNet121"}, preprocessing=[step])
    assert FORMATS["monai"].facts_of(folder).settings.get("preparation", {}) == prepared


def test_ct_that_does_not_say_its_unit_is_answered_with_what_to_state(tmp_path: Path, steadyread: Call) -> None:
    nibabel, nets = (pytest.importorskip(name) for name in ("nibabel", "monai.networks.nets"))
    shape = {"in_shape": [1, 16, 16], "classes": 2, "channels": [4, 8], "strides": [2, 2]}
    folder = bundle_of(tmp_path / "net", network_def={"_target_": "Classifier", **shape}, preprocessing=[
        {"_target_": "ScaleIntensityRanged", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1, "clip": True}])
    torch.save(nets.Classifier(**shape).state_dict(), folder / "models" / "model.pt")
    for at in range(12):
        path = tmp_path / "images" / ("benign", "malignant")[at % 2] / f"{at}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(at).uniform(-1024, 900, (16, 16, 1)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    assert "--bounds -1000,400" in inspected(str(folder))["command"]
    asked = ("check", "--data", tmp_path / "images", "--model", folder, "--bounds=-1000,400", "--output", "logits")
    found = steadyread(*asked)
    assert (found.code, "of CT state --unit HU, and values are clipped to the bounds" in found.err) == (3, True)
    assert steadyread(*asked, "--unit", "HU").code in (0, 1)


def test_volumes_are_turned_as_the_bundle_says_unless_it_is_stated(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="reads NIfTI")
    folder = bundle_of(tmp_path / "net", network_def={"_target_": "DenseNet121"}, preprocessing=[
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}])
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "images" / name / "1.nii")
    for stated, axes in (({}, (2, 3, 4)), ({"data__options": {"orientation": "SPL"}}, (4, 3, 2))):
        study = read_study(None, keyed(data__path=str(tmp_path / "images"), model__name=str(folder),
                                       model__bounds=[0, 24], model__output="logits", **stated))
        assert listed(study).raw[0].image.shape == (1, *axes)


@pytest.mark.parametrize("stated", [{"_target_": "DenseNet121", "in_channels": "$__import__('os').getpid()"},
                                    {"_target_": "DenseNet121", "in_channels": {"_target_": "builtins.open"}}])
def test_a_bundle_that_would_run_code_is_refused(stated: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"not evaluated|plain values"):
        load_classifier(bundle_of(tmp_path / "net", network_def=stated), bounds=(0, 1), output="logits")


@pytest.mark.parametrize(("library", "network"), [
    ("transformers", {"model_type": "vit", "hidden_size": 40_000, "num_attention_heads": 4, "num_hidden_layers": 1}),
    ("monai.networks.nets", {"_target_": "DenseNet121", "spatial_dims": 3, "in_channels": 1, "out_channels": 2,
                             "init_features": 20_000}),
    ("monai.networks.nets", {"_target_": "SwinUNETR", "in_channels": 1, "out_channels": 2, "feature_size": 12_000})])
def test_a_folder_that_asks_for_a_network_larger_than_its_weights_is_refused(
        library: str, network: dict[str, object], tmp_path: Path) -> None:
    pytest.importorskip(library, reason="makes the network")
    folder = tmp_path / "net"
    if library == "transformers":
        save_file({"weight": torch.zeros(1)}, folder_of(folder, network) / "model.safetensors")
    else:
        torch.save({"weight": torch.zeros(1)}, bundle_of(folder, network_def=network) / "models" / "model.pt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match=r"asks for a network of [\d,]+ values, and [\d,]+ bytes of weights"):
        load_classifier(folder, bounds=(0, 1), output="logits")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000     # kB


def test_a_bundle_of_another_packages_network_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("monai.networks.nets", reason="makes the network")
    with pytest.raises(InputRefused, match="is no network of"):
        load_classifier(bundle_of(tmp_path / "net", network_def={"_target_": "os.system"}), bounds=(0, 1),
                        output="logits")


def test_what_no_format_knows_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"0000TFL3")
    with pytest.raises(UsageError, match=r"in no known format; the known ones are Keras"):
        source_of(str(tmp_path / "net.tflite"))
    with pytest.raises(UsageError, match="is not there"):
        source_of("hf:nowhere")
    with pytest.raises(UsageError, match=r"no file .*ned.tflite; did you mean 'net.tflite'"):
        source_of(str(tmp_path / "ned.tflite"))
    assert source_of("vgg16") is None
    assert source_of("package.module:factory") is None


def test_a_python_file_names_a_factory(net: Net, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("from torch import nn\nSIZE = 4\n")
    (tmp_path / "nets_of_mine.py").write_text("from beside import SIZE, nn\n\n\ndef make():\n"
                                              "    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 2))\n")
    found = load_classifier(f"{tmp_path / 'nets_of_mine.py'}:make", bounds=(0, 1), output="logits")
    assert found.logits(torch.zeros(1, 1, 2, 2)).shape == (1, 2)
    assert str(tmp_path) not in sys.path


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return Path.touch, (self.marker,)


def test_every_format_says_what_it_needs() -> None:
    assert {known.extra for known in FORMATS.values()} <= {"", "keras", "hf", "onnx", "monai", "timm"}
    assert np.isfinite([known.order for known in FORMATS.values()]).all()


@pytest.mark.slow
def test_a_folder_of_hugging_faces_gives_the_flips_of_the_eager_network(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="makes the network")
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic",
                                       id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1})
    torch.manual_seed(0)
    network = transformers.ResNetForImageClassification(config).eval()
    network.save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(processor()))
    images = 255 * torch.rand((4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    brought = load_classifier(tmp_path / "net")
    eager = Classifier(lambda images: network(pixel_values=images).logits, Bounds(0, 255), "logits", (127.5, 63.75))
    assert torch.allclose(brought.logits(images), eager.logits(images), atol=1e-4)
    assert torch.allclose(sizes(brought, images), sizes(eager, images), rtol=0.01)
    network.resnet.save_pretrained(tmp_path / "net")      # without the classifier, which transformers would draw
    with pytest.raises(InputRefused, match="has no weights for"):
        load_classifier(tmp_path / "net", bounds=(0, 255), output="logits")


def test_grey_pictures_are_read_in_colour_for_a_network_of_three_channels(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)).eval()
    torch.export.save(torch.export.export(network, (torch.rand(2, 3, 16, 16),)), str(tmp_path / "net.pt2"))
    study = read_study(None, keyed(data__path=str(tmp_path / "images"), model__name=str(tmp_path / "net.pt2"),
                                   model__bounds=[0, 255], model__output="logits"))
    assert (study.model.name, study.model.weights) == ("exported", str(tmp_path / "net.pt2"))
    first = listed(study).first
    assert tuple(first.ready[0].image.shape) == (3, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "old", "new"), [
    ("net.h5", '"units": 8', '"units": 200000'), ("net.h5", '"units": 8', '"units": 300000000'),
    ("net.keras", '"kernel_size": [3, 3]', '"kernel_size": [20000, 20000]')])
def test_keras_layers_that_multiply_to_more_than_is_stored_are_refused(name: str, old: str, new: str, tmp_path: Path
                                                                       ) -> None:
    keras = keras_of_torch()
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, padding="same"), keras.layers.Flatten(),
                      keras.layers.Dense(8), keras.layers.Dense(8)]).save(tmp_path / name)
    if name == "net.h5":
        h5py = pytest.importorskip("h5py", reason="changes the file")
        with h5py.File(tmp_path / name, "r+") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace(old, new)
    else:
        with zipfile.ZipFile(tmp_path / name) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for each, content in members.items():
                archive.writestr(each, content.replace(old.encode(), new.encode()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match=r"asks for a network of [\d,]+ values"):
        load_classifier(tmp_path / name, bounds=(0, 1), output="logits")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000     # kB


@pytest.mark.parametrize(("channels", "size", "line"), [
    (3, [64, 48], "Takes images of 3 channels, 64 x 48."),
    (None, [8], "Takes images of 8; its files do not state their channels."),
    (1, None, "Takes images of 1 channel; its files do not state their size."),
    (None, None, "Takes images; its files do not state their channels and size.")])
def test_inspect_does_not_say_that_any_image_will_do_where_nothing_states_it(
        channels: int | None, size: list[int] | None, line: str, net: Net, tmp_path: Path) -> None:
    torch.jit.script(net).save(str(tmp_path / "net.pt"))
    found = inspected(str(tmp_path / "net.pt")) | {"channels": channels, "size": size}
    assert line in list(network_lines(found))
def test_weights_alone_say_what_their_tensors_hold_and_how_to_go_on(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    torch.save(module.state_dict(), tmp_path / "b.pth")
    found = inspected(str(tmp_path / "b.pth"))
    assert (found["parameters"], found["channels"], found["values"]) == (146, 3, 2)
    assert found["notes"][:2] == ["first layer: 0.weight, 4 x 3 x 3 x 3", "last layer: 2.weight, 2 x 16"]
    assert f"--model FILE.py:FUNCTION --weights {tmp_path / 'b.pth'} --bounds LO,HI" in found["command"]


def test_code_is_inspected_by_its_weights_and_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("raise SystemExit('run')")
    torch.save(nn.Linear(16, 2).state_dict(), tmp_path / "b.pth")
    found = inspected(f"{tmp_path}/net.py:make", tmp_path / "b.pth")
    assert found["notes"][-1].endswith("is run by check and assess, and not to look at it")
    assert f"--model {tmp_path}/net.py:make --weights {tmp_path / 'b.pth'}" in found["command"]
    with pytest.raises(UsageError, match="add --weights FILE"):
        inspected(f"{tmp_path}/net.py:make")
    with pytest.raises(UsageError, match=r"net.py is Python: name the function or class"):
        inspected(f"{tmp_path}/net.py")
