"""A network of other people's as a classifier: what its files say of it, what is stated besides, and a look at it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from steadyread.classifier import Classifier, Normalise
from steadyread.errors import UsageError
from steadyread.heads import Output
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, digest_of, source_of
from steadyread.models.loading import load_classifier_module
from steadyread.units import Bounds

_LARGEST = 2**26    # values of an image that is made to try a network
_SIDE = 64      # pixels an axis, where nothing says how large the images are


def load_classifier(model: str | Path, weights: str | Path | None = None, *,
                    bounds: Bounds | tuple[float, float] | None = None, output: Output | None = None,
                    normalise: Normalise = None, threshold: float = 0.5, arguments: Mapping[str, Any] | None = None
                    ) -> Classifier:
    """A classifier of a file or folder that holds a network, or of a factory and weights.

        load_classifier("net.keras", bounds=(0, 255), normalise="unit")
        load_classifier("net.py:make_net", "net.pt", bounds=(0, 255), output="logit", normalise="unit")

    Args:
        model: a path (Keras, Hugging Face, ONNX, TorchScript; see `FORMATS`), `format:path`, `package.module:factory`,
            `file.py:factory`, or a built-in name.
        weights: of a factory, as safetensors or a state dict.
        bounds, output, normalise, threshold: as of `Classifier`; what the network's own files say where None.
        arguments: handed to a factory.

    Raises:
        UsageError: no such network, or neither its files nor you say what is needed.
        InputRefused: it cannot be read, or would run code of the file's.
    """
    name, path, facts = _source(str(model), weights)
    said = facts.settings.get("model", {})
    known = {"bounds": bounds or said.get("bounds"), "output": output or said.get("output")}
    missing = [key for key, value in known.items() if value is None]
    if missing:
        raise UsageError(f"{model} does not say its {' and '.join(missing)}: give {', '.join(missing)}")
    module = load_classifier_module(name, path, **(arguments or {}))
    scale: Any = said.get("normalise") if normalise is None else normalise
    stated = known["bounds"]
    return Classifier(module, stated if isinstance(stated, Bounds) else Bounds(*stated), cast(Output, known["output"]),
                      scale, threshold, name=Path(str(path)).stem if path and name in FORMATS else name)


def _source(model: str, weights: str | Path | None) -> tuple[str, str | Path | None, Facts]:
    """(name or format, weights, what the files say) of a network as it is named."""
    source = source_of(model) if weights is None else None
    if source is None:
        return model, weights, Facts()
    return *source, FORMATS[source[0]].facts(Path(source[1]).expanduser())


def inspected(model: str) -> dict[str, Any]:
    """What a file or folder of a network is, as plain values: its format, input, head as far as it is known, classes,
    parameters, whether gradients reach the image, its digest, and the command to go on with.

    Raises:
        UsageError: there is no such file, or it is of no format that is known.
        InputRefused: it cannot be read, or would run code of the file's.
    """
    name, path, facts = _source(model, None)
    if path is None:
        raise UsageError(f"{model} is no file or folder of a network; known are "
                         + ", ".join(known.title for known in FORMATS.values()))
    module = load_classifier_module(name, path)
    said = facts.settings.get("model", {})
    values, gradients, problem = _tried(module, facts)
    command = ["steadyread", "assess", "--data", "IMAGES", "--model", model]
    command += [word for key, flag, shown in (("bounds", "--bounds", "LO,HI"), ("output", "--output", "HEAD"),
                                              ("normalise", "--normalise", "HOW")) if key not in said
                for word in (flag, shown)]
    return {"model": model, "format": FORMATS[name].title, "sha256": digest_of(Path(path).expanduser()),
            "channels": facts.channels, "size": list(facts.size) if facts.size else None,
            "output": said.get("output"), "normalise": said.get("normalise"), "bounds": said.get("bounds"),
            "classes": list(facts.classes), "values": values,
            "parameters": sum(value.numel() for value in module.parameters()) or None, "gradients": gradients,
            "problem": problem, "notes": list(facts.notes), "command": " ".join(command)}


def _tried(module: torch.nn.Module, facts: Facts) -> tuple[int | None, bool | None, str | None]:
    """How many values an image gets, whether gradients reach it, and what went wrong: tried on one image of noise."""
    kernel = next((value for value in module.parameters() if value.ndim >= 3), None)
    axes = 2 if kernel is None else kernel.ndim - 2
    channels = facts.channels or (3 if kernel is None else kernel.shape[1])
    if channels * math.prod(facts.size or (_SIDE,) * axes) > _LARGEST:
        return None, None, f"it asks for images of {facts.size} pixels, which is not tried"
    image = torch.rand((1, channels, *(facts.size or (_SIDE,) * axes)), generator=torch.Generator().manual_seed(0))
    try:
        with torch.enable_grad():
            returned = module(image.requires_grad_())
            raw = returned if isinstance(returned, torch.Tensor) else next(iter(
                returned.values() if isinstance(returned, Mapping) else returned))
            gradient = torch.autograd.grad(raw.sum(), image)[0] if raw.requires_grad else torch.zeros(1)
    except Exception as problem:      # a network raises what it likes
        return None, None, told(problem) if facts.size else None
    return int(raw.reshape(1, -1).shape[1]), bool(gradient.abs().sum() > 0), None
