"""Keras networks, `.keras` and `.h5` with their configuration: Keras 3 on torch, no TensorFlow.

The final sigmoid or softmax is taken off and the head is stated by the file, so that sizes do not saturate. The
configuration is read as data first: layers that would run code of the file's (Lambda, classes of packages) are refused
before Keras sees it. Images go in with channels last, as Keras has them.
"""

import json
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.limits import MOST_HEADER, beyond_limits
from steadyread.models.archives import archive_of, told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, whole
from steadyread.models.hdf5 import MAGIC, opened
from steadyread.models.size import Bounded

_SAVE = "save the whole network: model.save('net.h5')"
_HEADS = {("sigmoid", False): "logit", ("sigmoid", True): "logit", ("softmax", True): "logits"}
_ENDS = ("Activation", "Softmax", "Dropout", "Flatten", "Reshape", "InputLayer")
_CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda", "__lambda__", "__typespec__", "TorchModuleWrapper", "TFSMLayer",
         "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup", "TextVectorization")
_PLAIN = ("slice", "tuple", "__tuple__", "__slice__", "__ellipsis__")
_MEMBERS = {"config.json", "metadata.json", "model.weights.h5", "assets/"}


class KerasNetwork(FromFile):
    """A Keras network on torch; its images have their channels last."""

    def answered(self, images: Tensor) -> Any:
        """What the network returns without its last sigmoid or softmax."""
        return self.network(images.movedim(1, -1), training=False)


class ChannelsFirst(FromFile):
    """The same with channels first."""

    def answered(self, images: Tensor) -> Any:
        """What the network returns without its last sigmoid or softmax."""
        return self.network(images, training=False)


def _recognised(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() not in (".keras", ".h5", ".hdf5"):
        return False
    with path.open("rb") as file:
        return file.read(8) == MAGIC or zipfile.is_zipfile(file)


def _facts(path: Path) -> Facts:
    """What the configuration says.

    Raises:
        InputRefused: there is none (weights alone), or it names code to run.
    """
    config = _config(path)
    _refuse_code(path, {key: value for key, value in config.items() if key != "compile_config"})
    layers = list(_layers(config))
    first = next((shape for _, config in layers if (shape := _shape(config))), None)
    head, units = _head(layers) if layers else (None, None)
    scaled = [kind for kind, _ in layers if kind in ("Rescaling", "Normalization")]
    turned = _channels_last(layers)
    channels, size = (None, None) if first is None else (
        (first[-1], first[:-1]) if turned else (first[0], first[1:]))
    settings = {"model": {"output": head}} if head else {}
    notes = [f"its own {' and '.join(dict.fromkeys(scaled))} comes first: it takes stored values"] if scaled else []
    findings = units if head == "logit" and units and units > 1 else 0
    return Facts(settings, channels=channels, size=whole(size), notes=tuple(notes), findings=findings)


def _load(path: Path) -> nn.Module:
    """The network without its last sigmoid or softmax, on torch.

    Raises:
        InputRefused: Keras is not installed or set to another backend, or it cannot read the file.
    """
    facts = _facts(path)
    keras = _keras()
    try:
        with Bounded(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")     # Keras' advice to whoever wrote the layers
            network = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except InputRefused:
        raise
    except Exception as problem:     # it raises what it likes
        raise InputRefused(f"{path}: Keras {keras.__version__} cannot read it ({told(problem)}): a .keras file of "
                           "Keras 2 is not read by Keras 3; there " + _SAVE) from problem
    network.trainable = False
    last = _channels_last(list(_layers(_config(path))))
    return (KerasNetwork if last else ChannelsFirst)(_without_activation(keras, network, facts))


def _keras() -> Any:
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    keras = library("keras", "keras", "Keras networks are read with")
    if keras.backend.backend() != "torch":
        raise InputRefused(f"Keras was imported already and works with {keras.backend.backend()}: set KERAS_BACKEND="
                           "torch before it is imported")
    return keras


def _without_activation(keras: Any, network: Any, facts: Facts) -> Any:
    """The network without its last sigmoid or softmax, past which only the shape changes."""
    if "output" not in facts.settings.get("model", {}):
        return network
    for layer in reversed(list(_parts(network))):
        kind = type(layer).__name__
        if kind == "Softmax":
            layer.call = lambda inputs, *_, **__: inputs
            break
        if getattr(layer, "activation", None) in (keras.activations.sigmoid, keras.activations.softmax):
            layer.activation = keras.activations.linear
            break
        if kind not in _ENDS:
            break
    return network


def _parts(network: Any) -> Iterator[Any]:
    """The layers of a network in their order, those of inner networks in their place."""
    for layer in network.layers:
        if hasattr(layer, "layers"):
            yield from _parts(layer)
        else:
            yield layer


def _config(path: Path) -> Mapping[str, Any]:
    """The configuration as plain values.

    Raises:
        InputRefused: there is none, or it is none.
    """
    with path.open("rb") as file:
        text = _of_zip(path) if zipfile.is_zipfile(file) else _of_hdf5(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputRefused(f"{path}: its configuration is no JSON ({problem}): {_SAVE}") from problem
    wrong = beyond_limits(found)
    if wrong or not isinstance(found, dict):
        raise InputRefused(f"{path}: its configuration is no table: {wrong or _SAVE}")
    return found


def _of_hdf5(path: Path) -> str:
    with opened(path) as (file, _):
        text = file.attrs.get("model_config")
    if text is None:
        raise InputRefused(f"{path} holds weights alone, without the network: {_SAVE}, or rebuild the network in torch "
                           "and give it as package.module:factory")
    return text.decode() if isinstance(text, bytes) else str(text)


def _of_zip(path: Path) -> str:
    with archive_of(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if "config.json" not in members:
            raise InputRefused(f"{path} has no config.json, as a .keras file has: {_SAVE}")
        strange = [name for name in members if name not in _MEMBERS]     # assets are of layers that are code, see _CODE
        if strange or members["config.json"].file_size > MOST_HEADER:
            raise InputRefused(f"{path} holds {strange[0] if strange else 'a configuration larger than any'}, as no "
                               f".keras file does: {_SAVE}")
        if "model.weights.h5" in members:
            with archive.open("model.weights.h5") as weights, opened(path, weights):
                pass
        return archive.read("config.json").decode()


def _layers(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(class, configuration) of every layer, in their order, those of inner networks in their place."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    listed = inner if isinstance(inner, list) else inner.get("layers") if isinstance(inner, Mapping) else None
    if listed is None:
        if isinstance(config, Mapping):
            yield str(config.get("class_name")), {**config, **(inner if isinstance(inner, Mapping) else {})}
            wrapped = inner.get("layer") if isinstance(inner, Mapping) else None
            if isinstance(wrapped, Mapping):
                yield from _layers(wrapped)
        return
    for layer in listed:
        yield from _layers(layer)


def _refuse_code(path: Path, found: Any) -> None:
    """Refuses objects, however deep they lie, of which the file, or a package or file that it names, brings the code
    or the values.

    Raises:
        InputRefused: there is one.
    """
    for inner in found.values() if isinstance(found, Mapping) else found if isinstance(found, list) else ():
        _refuse_code(path, inner)
    if not isinstance(found, Mapping) or not isinstance(kind := found.get("class_name"), str):
        return
    home, named = found.get("module"), found.get("registered_name")
    if kind in _CODE or (isinstance(home, str) and home.split(".")[0] not in ("keras", "builtins")) or named not in (
            None, kind) or (home == "builtins" and kind not in _PLAIN):
        inner = found.get("config")
        name = found.get("name") or (inner.get("name") if isinstance(inner, Mapping) else inner)
        raise InputRefused(f"{path}: its layer {str(name)[:60]!r} ({kind[:60]}) is code, which is not "
                           "run from a file: rebuild the network with Keras' own layers, or load it in Python and "
                           "give the module")


def _shape(config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    for key in ("batch_input_shape", "batch_shape"):
        shape = config.get(key)
        if isinstance(shape, list | tuple) and len(shape) > 2:
            return tuple(shape[1:])
    return None


def _channels_last(layers: list[tuple[str, Mapping[str, Any]]]) -> bool:
    return "channels_first" not in {config.get("data_format") for _, config in layers}


def _head(layers: list[tuple[str, Mapping[str, Any]]]) -> tuple[str | None, int | None]:
    """What the network returns once its last activation is off, and how many values; None where it is not said.

    Several sigmoids are findings, a logit each.
    """
    units = next((config[key] for _, config in reversed(layers) for key in ("units", "filters")
                  if isinstance(config.get(key), int)), None)
    ends = []
    for kind, config in reversed(layers):
        ends.append("softmax" if kind == "Softmax" else str(config.get("activation", "")))
        if kind not in _ENDS:
            break
    last = next((name for name in ends if name in ("sigmoid", "softmax")), "")
    return _HEADS.get((last, (units or 1) > 1)), units


FORMATS.add(Format("keras", "Keras (.keras, .h5)", _recognised, _facts, _load, extra="keras", order=10))
