"""MONAI bundles: a folder with `configs/` and `models/`. The network is made of its `network_def`, read as data.

`monai.bundle.load` and its `$` expressions run code of the bundle's, so neither is used: the target must be a network
of `monai.networks.nets`, its arguments plain values (or `@` references to such).
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, table_of, whole
from steadyread.models.loading import fill
from steadyread.models.size import refuse_unstored

_CONFIGS = ("inference.json", "train.json", "evaluate.json")
_WEIGHTS = ("model.pt", "model.safetensors")
_HOME = "monai.networks.nets."
_MODES = {"area": {"interpolation": "area"}, "nearest": {"interpolation": "nearest"},     # of Resize
          "bilinear": {"interpolation": "plain"}, "trilinear": {"interpolation": "plain"}}


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
    value_range, settings = given.get("value_range"), _prepared(path)
    notes = [f"by its metadata it takes values of {value_range}"] if value_range and not settings else []
    return Facts(settings, classes=classes, channels=channels if isinstance(channels, int) else None,
                 size=whole(given.get("spatial_shape")), notes=tuple(notes))


def _prepared(path: Path) -> dict[str, Any]:
    """The axes, the spacing, the cut or size, the window and the scale of the transforms that the network's images go
    through, as settings: those of plain values, of the first file that has any."""
    for name in _CONFIGS:
        steps = {target.removesuffix("d"): step for target, step in _steps(table_of(path / "configs" / name))}
        model: dict[str, Any] = {}
        preparation: dict[str, Any] = {}
        ends = _numbers(steps.get("ScaleIntensityRange", {}), "a_min", "a_max", "b_min", "b_max")
        if ends and ends[0] < ends[1] and ends[2] < ends[3]:
            deviation = (ends[1] - ends[0]) / (ends[3] - ends[2])
            model["normalise"] = [ends[0] - ends[2] * deviation, deviation]
            model |= {"window": ends[:2]} if steps["ScaleIntensityRange"].get("clip") is True else {}
        spacing = steps.get("Spacing", {}).get("pixdim")
        if isinstance(spacing, list) and len(set(map(str, spacing))) == 1 and _numbers({"mm": spacing[0]}, "mm"):
            preparation["spacing_mm"] = float(spacing[0])
        preparation |= _extents(steps)
        axes = steps.get("Orientation", {}).get("axcodes")
        data = {"options": {"orientation": axes}} if isinstance(axes, str) and len(axes) == 3 else {}
        told = {"model": model, "preparation": preparation, "data": data}
        if any(told.values()):
            return {key: stated for key, stated in told.items() if stated}
    return {}


def _extents(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How images come to the size that the network takes: cut and filled about their centre, or each axis resized."""
    for step, key in (("ResizeWithPadOrCrop", "spatial_size"), ("CenterSpatialCrop", "roi_size")):
        if extents := whole(_listed(steps.get(step, {}).get(key))):
            return {"crop": list(extents)}
    resize = steps.get("Resize", {})
    if (extents := whole(_listed(resize.get("spatial_size")))) and resize.get("size_mode", "all") == "all":
        return {"size": list(extents), "fit": "squash"} | _MODES.get(str(resize.get("mode", "area")), {})
    return {}


def _listed(stated: Any) -> list[Any] | None:
    return stated if isinstance(stated, list) else None


def _steps(config: Any, depth: int = 8) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every step of a configuration with the name of its class, at whatever depth."""
    inner = config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ()
    if isinstance(config, Mapping) and isinstance(config.get("_target_"), str):
        yield config["_target_"].rpartition(".")[2], config
    for each in inner if depth else ():
        yield from _steps(each, depth - 1)


def _numbers(step: Mapping[str, Any], *keys: str) -> list[float]:
    """The values of these keys, [] unless all are finite numbers."""
    values = [float(value) for value in map(step.get, keys) if isinstance(value, int | float) and math.isfinite(value)]
    return values if len(values) == len(keys) else []


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
