"""A network of other people's as a classifier: what its files say of it, what is stated besides, and a look at it."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from steadyread.classifier import Classifier, Normalise
from steadyread.errors import SteadyreadError, UsageError
from steadyread.heads import Output, ending_of
from steadyread.jobs.cards import model_of_card
from steadyread.jobs.networks import classifier_for
from steadyread.models.archives import told
from steadyread.models.factories import BUILT_IN
from steadyread.models.format import FORMATS, Facts, digest_of, library_of
from steadyread.models.loading import holds_weights_alone, load_classifier_module, read_card, read_state
from steadyread.study import Model, Study, keyed, laid_over, read_study
from steadyread.study.network_file import network_text
from steadyread.study.sections import Preparing
from steadyread.units import Bounds

_LARGEST = 2**26    # values of an image that is made to try a network
_SIDE = 64      # pixels an axis, where nothing says how large the images are
_STATED = {"bounds": "LO,HI", "output": "HEAD", "normalise": "HOW"}


def load_classifier(model: str | Path, weights: str | Path | None = None, *,
                    bounds: Bounds | tuple[float, float] | None = None, output: Output | None = None,
                    normalise: Normalise = None, threshold: float | Mapping[str, float] | None = None,
                    arguments: Mapping[str, Any] | None = None, **more: Any) -> Classifier:
    """A classifier of a file or folder that holds a network, of a factory and weights, or of a file that describes one.

        load_classifier("net.keras", bounds=(0, 255), normalise="unit")
        load_classifier("net.py:make_net", "net.pt", bounds=(0, 255), output="logit", normalise="unit")
        load_classifier("runs/assess-images-net/net.toml")

    Args:
        model: a path (Keras, Hugging Face, ONNX, TorchScript; see `FORMATS`), `format:path`, `package.module:factory`,
            `file.py:factory`, a built-in name, or NET.toml, whose [preparation] is left to the images' reader.
        weights: of a factory, as safetensors or a state dict.
        bounds, output, normalise, threshold: as of `Classifier`; what the network's own files say where None. Of a
            network of several findings the threshold may be a table of one for each.
        arguments: handed to a factory.
        more: further keys of a study's [model], such as window=(-1000, 400), hyper_parameters=True or
            findings=("Effusion", "Mass").

    Raises:
        UsageError: no such network, or neither its files nor you say what is needed.
        InputRefused: it cannot be read, or would run code of the file's.
    """
    limits = bounds if isinstance(bounds, Bounds) or bounds is None else Bounds(*bounds)
    study = _stated(model, model__weights=None if weights is None else str(weights), model__output=output,
                    model__bounds=None if limits is None else [limits.low, limits.high], model__threshold=threshold,
                    model__arguments=dict(arguments or {}) or None,
                    **{f"model__{key}": value for key, value in more.items()})
    known = _completed(study.model)
    missing = [key for key in ("bounds", "output") if key not in known.model_fields_set]
    if missing:
        raise UsageError(f"{model} does not say its {' and '.join(missing)}: give {', '.join(missing)}")
    assert known.bounds is not None
    made = classifier_for(known, limits or Bounds(*known.bounds, known.unit or ""), known.weights)
    return made if normalise is None else replace(made, normalise=normalise)


def _stated(model: str | Path, **more: Any) -> Study:
    """The study that a network's name, and what is stated besides, come to."""
    return read_study(None, keyed(model__name=str(model), **more))


def _completed(stated: Model) -> Model:
    """[model] with what the network's files say under what is stated."""
    card = read_card(stated.weights) if stated.weights is not None and not stated.whole else None
    said = (stated.facts().settings.get("model", {}) if card is None else
            model_of_card(card, stated) | {key: card[key] for key in ("bounds", "unit") if key in card})
    return Model.model_validate(laid_over(said, stated.model_dump(exclude_unset=True)))


def inspected(model: str, weights: str | Path | None = None) -> dict[str, Any]:
    """What a network is, as plain values: its format, input, head as far as it is known, classes, parameters, whether
    gradients reach the image, its digest, the command to go on with, and a file that says all of it.

    Args:
        model: a file or folder that holds a network, or weights alone, whose tensors are told; or code, with `weights`.

    Raises:
        UsageError: there is no such file, or it is of no format that is known.
        InputRefused: it cannot be read, or would run code of the file's.
    """
    if weights is None and holds_weights_alone(model):
        return _weights_alone(Path(model).expanduser())
    study = _stated(model, model__hyper_parameters=False,    # to ask for them imports the factory
                    model__weights=None if weights is None else str(weights))
    if library_of(study.model.name) is not None and study.model.weights is None:
        raise UsageError(f"{model} has no weights of its own: steadyread assess --model {model} --weights FILE, or "
                         "write both into a NET.toml and inspect that")
    if study.model.weights is None and ":" in model:
        raise UsageError(f"{model} is code, which is not run to look at it: add --weights FILE to see what its weights "
                         "hold")
    if study.model.weights is None:
        raise UsageError(f"{model} is no file or folder of a network; known are "
                         + ", ".join(known.title for known in FORMATS.values()))
    known, facts = _completed(study.model), study.model.facts()
    code = not known.whole and known.name not in BUILT_IN and library_of(known.name) is None
    seen = _told_of(Path(str(known.weights))) if code else {"notes": []}
    prepared = Preparing.model_validate(laid_over(facts.stated.get("preparation", {}), study.preparation.model_dump(
        exclude_unset=True)))
    unsaid = tuple(key for key in _STATED if key not in known.model_fields_set)
    command = ["steadyread", "assess", "--data", "IMAGES", "--model", model,
               *(() if weights is None else ("--weights", str(weights)))]
    tried = _tried(known, facts)
    shown = _STATED | ({"output": tried["ends"]} if tried["ends"] else {}) | (
        {"bounds": f"{known.window[0]:g},{known.window[1]:g}"} if known.window else {})
    command += [word for key in unsaid for word in (f"--{key}", shown[key])]
    command += ["--findings", "A,B,..."] if facts.findings and not known.findings else []
    place = FORMATS[known.name].place(str(known.weights)) if known.whole else Path(str(known.weights)).expanduser()
    size = facts.size or ((prepared.size,) if isinstance(prepared.size, int) else prepared.size)
    return {"model": model, "format": FORMATS[known.name].title if known.whole else f"the network {known.name}",
            "sha256": digest_of(place), "channels": facts.channels,
            "size": list(size) if size else None, **{key: value if key not in unsaid else None for key, value in (
                known.model_dump(mode="json", include={*_STATED, "threshold", "findings", "claimed"}).items())},
            "classes": list(facts.classes), **tried, **seen, "notes": [*facts.notes, *facts.differs, *seen["notes"], *(
                [f"the code, {known.name}, is run by check and assess, and not to look at it"] if code else [])],
            "command": " ".join(command), "file": network_text(known.model_copy(update={
                "classes": facts.classes, "channels": facts.channels}), prepared, unsaid)}


def _weights_alone(path: Path) -> dict[str, Any]:
    """As `inspected`, of a state dict without the code of its network."""
    told_of = _told_of(path)
    told_of["notes"].append("the function or class that makes the network has to be named: FILE.py:FUNCTION, or "
                            "package.module:factory")
    return told_of | {"model": str(path), "format": "weights of a PyTorch network, without its code",
                             "sha256": digest_of(path), **dict.fromkeys((*_STATED, "size", "threshold", "findings",
                                                                         "claimed", "gradients", "problem")),
                             "classes": [], "ends": "", "command": shlex.join([
                                 "steadyread", "check", "--data", "IMAGES", "--model", "FILE.py:FUNCTION", "--weights",
                                 str(path), *(word for key, shown in _STATED.items() for word in (f"--{key}", shown))]),
                             "file": network_text(Model(name="FILE.py:FUNCTION", weights=str(path)),
                                                  unsaid=tuple(_STATED))}


def _told_of(path: Path) -> dict[str, Any]:
    """What the tensors of a state dict say of its network."""
    state = read_state(path)
    kernels = [value for value in state.values() if value.ndim >= 3]
    layers = [(name, value) for name, value in state.items() if value.ndim >= 2]
    notes = [f"{which} layer: {name}, {' x '.join(map(str, value.shape))}"
             for which, (name, value) in zip(("first", "last"), (layers[:1] + layers[-1:]), strict=False)]
    return {"parameters": sum(value.numel() for value in state.values()) or None,
            "channels": int(kernels[0].shape[1]) if kernels else None,
            "values": int(layers[-1][1].shape[0]) if layers and layers[-1][1].ndim == 2 else None,
            "notes": notes}


def _tried(model: Model, facts: Facts) -> dict[str, Any]:
    """Parameters, how many values an image gets, whether gradients reach it, whether it ends in probabilities, and what
    went wrong: tried on one image of noise. The code of a network of the user's is not run to look at it."""
    nothing = {"parameters": None, "values": None, "gradients": None, "ends": ""}
    if not model.whole and model.name not in BUILT_IN and library_of(model.name) is None:
        return nothing | {"problem": None}
    module = load_classifier_module(model.name, model.weights, **model.arguments)
    known = nothing | {"parameters": sum(value.numel() for value in module.parameters()) or None}
    kernel = next((value for value in module.parameters() if value.ndim >= 3), None)
    axes = 2 if kernel is None else kernel.ndim - 2
    channels = facts.channels or (3 if kernel is None else kernel.shape[1])
    if channels * math.prod(facts.size or (_SIDE,) * axes) > _LARGEST:
        return known | {"problem": f"it asks for images of {facts.size} pixels, which is not tried"}
    image = torch.rand((1, channels, *(facts.size or (_SIDE,) * axes)), generator=torch.Generator().manual_seed(0))
    try:
        with torch.enable_grad():
            returned = module(image.requires_grad_())
            raw = returned if isinstance(returned, torch.Tensor) else next(iter(
                returned.values() if isinstance(returned, Mapping) else returned))
            gradient = torch.autograd.grad(raw.sum(), image)[0] if raw.requires_grad else torch.zeros(1)
    except Exception as problem:      # a network raises what it likes
        return known | {"problem": told(problem) if facts.size or isinstance(problem, SteadyreadError) else None}
    values = int(raw.reshape(1, -1).shape[1])
    ends = {"sigmoid": "probability" * (values == 1), "softmax": "probabilities" * (values > 1)}.get(ending_of(raw), "")
    return known | {"values": values, "gradients": bool(gradient.abs().sum() > 0), "ends": ends, "problem": None}
