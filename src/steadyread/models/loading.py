"""The ways in for a network: a built-in name or the user's own factory, and weights that are data, never code."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as as_safetensors
from torch import Tensor, nn

from steadyread import records
from steadyread.errors import InputRefused, PlanDiffers, UsageError
from steadyread.files import is_regular, nearest
from steadyread.limits import MOST_PARAMETERS, beyond_limits
from steadyread.models.archives import metadata_of, stored_values, tensors_and_metadata, told, torch_archive
from steadyread.models.factories import BUILT_IN, current_folder_importable, factory_of, listed_arguments, made_by
from steadyread.models.format import FORMATS, loaded
from steadyread.models.seal import CARD, VERSIONS, damaged, note_versions, refuse_broken, sealed, whole_card
from steadyread.models.states import SAVE, Shapes, refuse_no_weights, state_for
from steadyread.progress import note

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar")


def load_classifier_module(model: str, weights: str | Path | None = None, *, seed: int = 0,
                           **arguments: Any) -> nn.Module:
    """A module in evaluation mode on the CPU.

    Args:
        model: `vgg16`, `narrow_vgg`, `package.module:factory` (looked for in the current folder too),
            `file.py:factory`, or a format of `FORMATS`.
        weights: a `.safetensors` file, or a `.pt`/`.pth` state dict; None leaves it as the factory made it. Of a
            format the file or folder that holds the whole network.
        seed: of the factory's random weights. The caller's own random state is left alone.
        arguments: handed to the factory.

    Raises:
        UsageError: no such name, module or factory, or arguments that the factory does not take.
        InputRefused: the factory failed, or the weights cannot be read or do not fit.
    """
    if model in FORMATS and weights is not None:
        with torch.random.fork_rng(devices=[]):
            return loaded(FORMATS[model], str(weights))
    state = None
    if model in BUILT_IN:   # what a stranger's card asks for is compared with what the file holds before it is made
        shapes = sketched(model, arguments)
        state = None if weights is None else _fitting(shapes, Path(weights), model)
    with current_folder_importable(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = made_by(model, factory_of(model), arguments)
    if weights is not None:
        fill(module, Path(weights), model, state)
    return module.eval()


def sketched(model: str, arguments: Mapping[str, Any]) -> Shapes:
    """The names and shapes of a built-in network, without the memory that it would take.

    Raises:
        UsageError: it has no such arguments, or would have more parameters than `steadyread.limits` allows.
        InputRefused: it cannot be made so.
    """
    with torch.device("meta"):
        state = made_by(model, BUILT_IN[model], arguments).state_dict()
    count = sum(value.numel() for value in state.values())
    if count > MOST_PARAMETERS:
        raise UsageError(f"the network '{model}' with {listed_arguments(arguments)} would have {count:,} parameters, "
                         f"more than {MOST_PARAMETERS:,}: make it smaller, or bring your own as package.module:factory")
    return {name: value.shape for name, value in state.items()}


def refuse_absent(model: str, weights: str | Path | None = None) -> None:
    """Before anything else is read: are a network and its weights there, and of a kind that is known?

    Raises:
        UsageError: no such name, module or factory.
        InputRefused: importing it failed; no such file, or one of another kind.
    """
    if model in FORMATS:
        return
    with current_folder_importable():
        factory_of(model)
    if weights is not None:
        _refuse_other_kinds(Path(weights))
        existing(Path(weights))


def save_weights(module: nn.Module, path: str | Path, card: Mapping[str, Any]) -> None:
    """Write the weights as safetensors with `card` beside them in the same file, whole or not at all.

    The card tells what is needed to use the network again: `model` and `arguments` (for
    `load_saved`), and whatever else the caller states (preparation, bounds, unit, output, classes,
    normalise, threshold, training data), as plain JSON values. The running versions and a digest over everything
    are written too; the digest is checked whenever the weights are read.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    records.write_whole(path, _in_order(as_safetensors(tensors, metadata=sealed(card, tensors))))


def _in_order(content: bytes) -> bytes:
    """A safetensors file whose text stands in the order of its keys, which the library leaves to a hash table: the
    same training gives the same bytes."""
    body = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:body])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[body:]


def read_card(path: str | Path) -> dict[str, Any] | None:
    """The card stored beside the weights; None where the file is of another maker or format.

    Raises:
        InputRefused: no such file, or not safetensors in spite of its name.
    """
    if Path(path).suffix.lower() != ".safetensors" and (Path(path).is_dir() or not _may_be_weights(Path(path))):
        return None      # a format of other people's
    path = existing(Path(path))
    if path.suffix.lower() != ".safetensors":
        return None
    text = metadata_of(path).get(CARD)
    return None if text is None else whole_card(stored_values(text, path), path)


def load_saved(path: str | Path, model: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a file written by `save_weights`, and its card.

    A card may come from a stranger: it can name a built-in network, never code to import. For a
    network of the user's own, `model` states the factory.

    Raises:
        InputRefused: no card there, or it names a factory and `model` is None.
    """
    card = read_card(path)
    if card is None or "model" not in card:
        raise InputRefused(f"{path} does not say which network it is for: give model.name too")
    name = model or card["model"]
    if model is None and name not in BUILT_IN:
        raise InputRefused(f"{path} is for the network '{name}', which is not built in: if you trust that code, "
                           f"give model.name = {name}")
    return load_classifier_module(name, path, **card.get("arguments", {})), card


def hyper_parameters(path: Path, model: str) -> dict[str, Any]:
    """Of the plain values that Lightning keeps beside its weights as `hyper_parameters`, those that a factory takes.

    Raises:
        InputRefused: there are none, or they are more than plain values.
    """
    stored = torch_archive(existing(path)) if path.suffix.lower() != ".safetensors" else None
    table = stored.get("hyper_parameters") if isinstance(stored, Mapping) else None
    if not isinstance(table, Mapping):
        raise InputRefused(f"{path} has no table hyper_parameters beside its weights, as Lightning writes: state "
                           "model.arguments")
    with current_folder_importable():
        takes = inspect.signature(factory_of(model)).parameters.values()
    every = any(each.kind is each.VAR_KEYWORD for each in takes)
    taken = {str(name): value for name, value in table.items() if every or name in {each.name for each in takes}}
    for name, value in taken.items():
        if not isinstance(value, str | int | float | list | dict | None) or beyond_limits({name: value}):
            raise InputRefused(f"{path}: its hyper-parameter {name[:80]!r} is no plain value "
                               f"({type(value).__name__}): state model.arguments")
    left = ", ".join(str(name)[:80] for name in table if name not in taken)
    note(f"{path}: its hyper-parameters {', '.join(taken) or '(none)'} are handed to {model}"
         + (f"; not {left[:200]}" if left else ""))
    return taken


def fill(module: nn.Module, weights: Path, name: str, read: dict[str, Tensor] | None = None) -> None:
    """Put the weights of a file (`read` already, or not yet) into a module of the same names and shapes.

    Raises:
        InputRefused: names or shapes differ (the first are named), or a value is not finite.
    """
    if read is None or name not in BUILT_IN:
        shapes = {key: value.shape for key, value in module.state_dict().items() if isinstance(value, Tensor)}
        read = _fitting(shapes, weights, name, read)
    for key, value in module.state_dict().items():
        if key in read and read[key].is_complex() and isinstance(value, Tensor) and not value.is_complex():
            raise InputRefused(f"{weights}: {key!r} holds complex numbers, where the network '{name}' has real "
                               "ones: save it as float32")
    try:
        module.load_state_dict(read, strict=False)
    except Exception as problem:   # of a module that takes its weights its own way (a quantised one)
        raise InputRefused(f"{weights} does not fit the network '{name}': {told(problem)}") from problem


def _fitting(shapes: Shapes, weights: Path, name: str, read: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state in a file that has the names and shapes of a network, and finite values."""
    state = read_state(weights, shapes) if read is None else read
    wanted = {key: shape for key, shape in shapes.items()
              if key in state or not key.endswith("num_batches_tracked")}
    refuse_misfit(weights, f"the network '{name}'", {key: value.shape for key, value in state.items()}, wanted,
                  ("state the network that these weights are of",
                   "check the network's arguments (classes, channels, size, width)"))
    for key, value in state.items():
        refuse_not_finite(weights, key, value)
    return state


def read_state(path: Path, wanted: Shapes | None = None) -> dict[str, Tensor]:
    """Names and tensors of a weights file, read as data: a pickled module is refused unopened.

    `wanted` are the names and shapes of a network, by which its state dict is found in the file (see `state_for`).

    Raises:
        InputRefused: no such file, another format, cut off, damaged, or more than a state dict.
    """
    _refuse_other_kinds(path)
    path = existing(path)
    if path.suffix.lower() == ".safetensors":
        return state_for(_whole_safetensors(path)[0], path, wanted)
    return state_for(torch_archive(path), path, wanted)


def holds_weights_alone(model: str) -> bool:
    """Whether a network's name is that of a file of weights that no format knows as a whole network, and that does not
    say which of ours it is for."""
    path = Path(model).expanduser()
    if not (path.is_file() and _may_be_weights(path)) or any(known.recognises(path) for known in FORMATS.values()):
        return False
    return "model" not in (read_card(path) or {})


def trained_state(path: Path, training_digest: str) -> dict[str, Tensor]:
    """The weights that a training of that digest left in a run's folder, to be taken up.

    Raises:
        InputRefused: they are damaged.
        PlanDiffers: they are of another training.
    """
    state, metadata = _whole_safetensors(path)
    if CARD not in metadata:
        raise damaged(path)
    if stored_values(metadata[CARD], path).get("training_digest") != training_digest:
        raise PlanDiffers(f"{path} was trained on other data or with other settings")
    note_versions(path, stored_values(metadata.get(VERSIONS, "{}"), path))
    return state


def _whole_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file and what stands beside them, refused where damaged."""
    tensors, metadata = tensors_and_metadata(path)
    refuse_broken(path, metadata, tensors)
    return tensors, metadata


def refuse_misfit(path: Path, network: str, found: Shapes, wanted: Shapes, advice: tuple[str, str]) -> None:
    """Nothing where the names and shapes of a file are those that a network wants.

    Raises:
        InputRefused: they differ. The first names or the first shape are told, with the advice for names or that
            for shapes.
    """
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    if missing or unexpected:
        parts = [f"{len(names)} {what} (first {', '.join(repr(name[:80]) for name in names[:3])})"
                 for names, what in ((missing, "missing"), (unexpected, "unexpected")) if names]
        raise InputRefused(f"{path} does not fit {network}: of its {len(wanted)} names {'; '.join(parts)}: "
                           f"{advice[0]}")
    for name, shape in found.items():
        if tuple(shape) != tuple(wanted[name]):
            raise InputRefused(f"{path} does not fit {network}: {name!r} has the shape {tuple(shape)}, expected "
                               f"{tuple(wanted[name])}: {advice[1]}")


def refuse_not_finite(path: Path, name: str, value: Tensor) -> None:
    """Nothing where every value is a plain, finite number.

    Raises:
        InputRefused: one is not.
    """
    short = value.is_floating_point() and value.element_size() < 2   # eight bits and fewer, without arithmetic
    if value.layout != torch.strided or value.is_meta or value.is_quantized or short:
        raise InputRefused(f"{path}: {name!r} holds no plain numbers ({value.dtype}, {value.layout}): save it as "
                           "float32")
    if value.numel() and not bool(torch.isfinite(value).all()):
        raise InputRefused(f"{path}: {name!r} has NaN or infinite values; the training diverged, or the file is "
                           "damaged")


def _may_be_weights(path: Path) -> bool:
    return path.name.lower().endswith(_SUFFIXES)


def _refuse_other_kinds(path: Path) -> None:
    if not _may_be_weights(path):
        raise InputRefused(f"{path}: expected weights as .safetensors, .pt or .pth; {SAVE}")


def existing(path: Path) -> Path:
    """The path of a file that is there and may be weights.

    Raises:
        InputRefused: it is not, or cannot be (see `refuse_no_weights`).
    """
    if not is_regular(path):
        raise InputRefused(f"no weights file {path}{nearest(path)}")
    refuse_no_weights(path)
    return path
