"""Networks of timm by their names, `timm:resnet18` with weights of its own, and folders as timm writes them to share.

What images go through is read from timm's configuration of the network (`pretrained_cfg`), or of the folder's. Nothing
is fetched.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.factories import library_network
from steadyread.models.format import FORMATS, Facts, Format, FromFile, table_of, trained_on
from steadyread.models.loading import fill
from steadyread.models.size import refuse_unstored

_FITS = {"center": "cut", "squash": "squash", "border": "pad"}
_INTERPOLATIONS = {"bicubic": "cubic", "bilinear": "linear", "nearest": "nearest"}
_WEIGHTS = "model.safetensors"


def _recognised(path: Path) -> bool:
    config = path / "config.json"
    return path.is_dir() and config.is_file() and "architecture" in table_of(config)


def _facts(source: Path | str) -> Facts:
    """What the configuration says, of a folder or of the network that has the name.

    Raises:
        InputRefused: timm does not know the network, or is not installed.
    """
    if isinstance(source, str):
        return _of_config(_configuration(source), ())
    config = table_of(source / "config.json")
    names = config.get("label_names")
    return _of_config({**_configuration(str(config["architecture"])), **(config.get("pretrained_cfg") or {})},
                      tuple(map(str, names)) if isinstance(names, list) else ())


def _configuration(name: str) -> Mapping[str, Any]:
    timm = _timm()
    try:
        return dict(timm.get_pretrained_cfg(name).to_dict())
    except Exception as problem:
        raise InputRefused(f"timm {timm.__version__} knows no network '{name[:80]}'{_near(timm, name)}") from problem


def _near(timm: Any, name: str) -> str:
    near = timm.list_models(f"*{name[:6]}*")[:3]
    return f"; it has {', '.join(near)}" if near else ""


def _of_config(config: Mapping[str, Any], classes: tuple[str, ...]) -> Facts:
    channels, *size = config.get("input_size") or (3, 224, 224)
    fit = _FITS.get(str(config.get("crop_mode", "center")))
    prepared = {"size": list(size), "fit": fit or "cut", "central": float(config.get("crop_pct") or 1),
                "interpolation": _INTERPOLATIONS.get(str(config.get("interpolation")), "linear")}
    if prepared["fit"] != "cut":
        del prepared["central"]
    notes = ("its scale and size are those that timm's own weights of it were trained with",)
    return trained_on(config.get("mean") or [0.0] * channels, config.get("std") or [1.0] * channels, prepared,
                      Facts(classes=classes, channels=channels, size=tuple(size), notes=notes))


def _load(path: Path) -> nn.Module:
    """The network of a folder, with its weights.

    Raises:
        InputRefused: there are none, or they do not fit.
    """
    _facts(path)     # timm would fetch the configuration of a name that is an address
    config = table_of(path / "config.json")
    if not (path / _WEIGHTS).is_file():
        raise InputRefused(f"{path} has no {_WEIGHTS}")
    arguments = dict(config.get("model_args") or {}) | {
        key: config[key] for key in ("num_classes", "global_pool") if key in config}
    name = str(config["architecture"])
    make = partial(_factory(name), **arguments)
    try:
        refuse_unstored(make, path / _WEIGHTS, path)
        network = make()
    except InputRefused:
        raise
    except Exception as problem:
        raise InputRefused(f"{path}: timm cannot make '{name[:80]}' so: {told(problem)}") from problem
    fill(network, path / _WEIGHTS, name)
    return FromFile(network)


def _factory(name: str) -> Callable[..., nn.Module]:
    timm = _timm()
    return partial(library_network, partial(timm.create_model, name), ("pretrained", "pretrained_cfg",
                   "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"))


def _timm() -> Any:
    return library("timm", "timm", "Networks of timm's are made by")


FORMATS.add(Format("timm", "a network of timm's by its name (timm:resnet18), or its folder", _recognised, _facts, _load,
                   extra="timm", order=22, factory=_factory))
