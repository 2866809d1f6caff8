"""MONAI bundles: a folder with `configs/` and `models/`. The network is made of its `network_def`, read as data.

`monai.bundle.load` and its `$` expressions run code of the bundle's, so neither is used: the target must be a network
of `monai.networks.nets`, its arguments plain values (or `@` references to such).
"""

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, table_of, whole
from steadyread.models.loading import fill
from steadyread.models.monai_steps import Read, read_steps
from steadyread.models.size import refuse_unstored

_CONFIGS = ("inference.json", "train.json", "evaluate.json")
_WEIGHTS = ("model.pt", "model.safetensors")
_HOME = "monai.networks.nets."


def _recognised(path: Path) -> bool:
    return path.is_dir() and (path / "configs" / "metadata.json").is_file()


def _facts(path: Path) -> Facts:
    """The channels and sizes of the input, and the names of the classes, as metadata.json has them; how values are
    scaled, the axes and the grid, as its transforms have them.

    Raises:
        InputRefused: there is no network_def, or it is more than data.
    """
    _network_def(path)
    formats = table_of(path / "configs" / "metadata.json").get("network_data_format", {})
    given: dict[str, Any] = next(iter(formats.get("inputs", {}).values()), {})
    returned: dict[str, Any] = next(iter(formats.get("outputs", {}).values()), {})
    named = returned.get("channel_def") or {}
    classes = tuple(str(named[key]) for key in sorted(named, key=lambda key: int(key) if str(key).isdigit() else 0))
    channels = given.get("num_channels")
    value_range, size = given.get("value_range"), whole(given.get("spatial_shape"))
    read = _prepared(path, _axes(path, size))
    notes = [f"by its metadata it takes values of {value_range}"] if value_range and not read.settings else []
    prepared, differs = read.settings.get("preparation", {}), read.differs
    if size and "spacing_mm" in prepared and not {"crop", "size"} & set(prepared):
        differs += ("none of its transforms brings images to one size, and here they are cut and resized to that of "
                    f"its metadata, {' x '.join(map(str, size))}",)
    return Facts(read.settings, classes=classes, channels=channels if isinstance(channels, int) else None,
                 size=size, notes=tuple(notes), differs=differs)


def _axes(path: Path, shape: tuple[int, ...] | None) -> int | None:
    """The axes of space of the images, by the metadata or the network's arguments."""
    stated = _network_def(path)[1].get("spatial_dims")
    return len(shape) if shape else stated if isinstance(stated, int) else None


def _prepared(path: Path, axes: int | None) -> Read:
    """What is done to the images before the network, by the first file that says anything of it."""
    configs = (table_of(path / "configs" / name) for name in _CONFIGS)
    return next((read for config in configs if (read := read_steps(config, axes)) is not None), Read({}, ()))


def _load(path: Path) -> FromFile:
    """The network with the bundle's weights.

    Raises:
        InputRefused: MONAI is not installed, the network is none of its own, or the weights do not fit.
    """
    target, arguments = _network_def(path)
    nets = library("monai.networks.nets", "monai", f"{path}: bundles of MONAI's are read with")
    make = getattr(nets, target, None)
    if not (isinstance(make, type) and issubclass(make, nn.Module)):
        raise InputRefused(f"{path}: {target} is no network of {_HOME[:-1]}, and no other code is run: make it "
                           "in Python and give the module, or name a factory, package.module:factory")
    if "pretrained" in inspect.signature(make).parameters:      # it would be fetched from elsewhere
        arguments["pretrained"] = False
    weights = next((path / "models" / name for name in _WEIGHTS if (path / "models" / name).is_file()), None)
    if weights is None:
        raise InputRefused(f"{path} has no models/model.pt")
    refuse_unstored(partial(make, **arguments), weights, path)
    try:
        network = make(**arguments)
    except Exception as problem:
        raise InputRefused(f"{path}: {target} cannot be made so: {told(problem)}") from problem
    fill(network, weights, target)
    return FromFile(network)


def _network_def(path: Path) -> tuple[str, dict[str, Any]]:
    """The name of the network's class and its arguments."""
    for name in _CONFIGS:
        config = table_of(path / "configs" / name)
        if isinstance(stated := config.get("network_def"), Mapping):
            target = str(stated.get("_target_", stated.get("_name_", "")))
            plain = {key: _plain(value, config, f"{path}/configs/{name}") for key, value in stated.items()
                     if not (key.startswith("_") and key.endswith("_"))}
            return target.removeprefix(_HOME), plain
    raise InputRefused(f"{path} has no network_def in configs/ ({', '.join(_CONFIGS)}), as JSON: write one, or give "
                       "the network as package.module:factory")


def _plain(value: Any, config: Mapping[str, Any], where: str, depth: int = 4) -> Any:
    """A value as data; a reference to another key of the file as that.

    Raises:
        InputRefused: it is an expression, or makes an object.
    """
    if isinstance(value, str) and value.startswith("@") and value[1:] in config and depth:
        return _plain(config[value[1:]], config, where, depth - 1)
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise InputRefused(f"{where}: {value[:60]!r} is an expression, which is not evaluated: write the value")
    if isinstance(value, Mapping):
        raise InputRefused(f"{where}: the network's arguments hold a table, which may make any object: write plain "
                           "values")
    return [_plain(each, config, where, depth) for each in value] if isinstance(value, list) else value


FORMATS.add(Format("monai", "a MONAI bundle", _recognised, _facts, _load, extra="monai", order=25))
