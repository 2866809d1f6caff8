"""Folders as Hugging Face's `save_pretrained` writes them: `config.json`, `preprocessor_config.json`, safetensors.

What the images go through is read from the JSON, so that nothing need be stated. Code that a folder names
(`auto_map`, `trust_remote_code`) is never run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, table_of
from steadyread.models.size import refuse_unstored
from steadyread.names import folder_name

_RESAMPLING = {0: "nearest", 2: "linear", 3: "cubic"}     # Pillow's numbers
_UNCROPPED = 384       # pixels from which images are resized whole where crop_pct is stated (ConvNeXt)


class HuggingFace(FromFile):
    """The logits of an image classifier of transformers."""

    def answered(self, images: Tensor) -> Tensor:
        """Logits (n, k)."""
        logits: Tensor = self.network(pixel_values=images).logits
        return logits


def _recognised(path: Path) -> bool:
    config = path / "config.json"
    return path.is_dir() and config.is_file() and "model_type" in table_of(config)


def _facts(path: Path) -> Facts:
    """What config.json and preprocessor_config.json say, as settings in grey levels of 0 to 255.

    Raises:
        InputRefused: it names code to run, or has no safetensors.
    """
    config, steps = table_of(path / "config.json"), table_of(path / "preprocessor_config.json")
    if "auto_map" in config or "auto_map" in steps:
        raise InputRefused(f"{path} names code of its own (auto_map), which is not run: load the network in Python and "
                           "give the module, or name a factory, package.module:factory")
    if config.get("model_type") == "timm_wrapper":
        raise InputRefused(f"{path} names a network of timm's, which may be an address: give the network's name, "
                           "--model timm:NAME, and the folder's .safetensors as --weights")
    if not any(path.glob("*.safetensors")):
        raise InputRefused(f"{path} has no .safetensors: save it again, model.save_pretrained(FOLDER)")
    names = config.get("id2label") or {}
    classes = tuple(str(names[key]) for key in sorted(names, key=_number))
    findings = len(classes) if config.get("problem_type") == "multi_label_classification" else 0
    model: dict[str, Any] = {"output": "logit" if findings or len(classes) == 1 else "logits", "bounds": [0.0, 255.0]}
    channels = int(config.get("num_channels", 3))
    notes = _notes(steps)
    if steps:
        model["normalise"] = _scale(steps, channels)
    prepared = _prepared(steps, config)
    size = prepared.get("size")
    settings: dict[str, Any] = {"model": model}
    if prepared:
        settings["preparation"] = prepared
    named = classes if any(name != f"LABEL_{at}" for at, name in enumerate(classes)) else ()
    if findings and named:
        model["findings"] = [folder_name(name) for name in named]
    return Facts(settings, () if findings else named, channels, tuple(size) if size else None, tuple(notes),
                 findings)


def _load(path: Path) -> nn.Module:
    """The network, as transformers makes it from the folder alone.

    Raises:
        InputRefused: transformers is not installed, or cannot make it.
    """
    _facts(path)
    transformers = library("transformers", "hf", f"{path}: folders of Hugging Face's are read with")
    kind, alone = transformers.AutoModelForImageClassification, {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(str(path), **alone)
        refuse_unstored(partial(kind.from_config, config, trust_remote_code=False), path, path)
        with _without_bars(transformers.utils.logging):
            network, loading = kind.from_pretrained(str(path), use_safetensors=True, output_loading_info=True, **alone)
    except InputRefused:
        raise
    except Exception as problem:      # it raises what it likes
        raise InputRefused(f"{path}: transformers cannot make an image classifier of it: {told(problem)}"
                           ) from problem
    if missing := sorted(loading["missing_keys"]):      # transformers draws them at random
        raise InputRefused(f"{path} has no weights for {len(missing)} of its parts (first {missing[0]!r}): save the "
                           "whole classifier, model.save_pretrained(FOLDER)")
    return HuggingFace(network)


def _notes(steps: Mapping[str, Any]) -> list[str]:
    """What the processor leaves open, or does by a rule that `Preparation` has not."""
    if not steps:
        return ["no preprocessor_config.json: its scale and size are not known"]
    known = steps.get("resample", 2) in _RESAMPLING
    return [] if known else [f"it resizes by Pillow's filter {steps['resample']}, which is not had: linear is taken"]


@contextmanager
def _without_bars(logging: Any) -> Iterator[None]:
    """Its progress bars, which would stand between our lines, are off meanwhile."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _scale(steps: Mapping[str, Any], channels: int) -> list[float]:
    """All means and then all deviations of what the processor takes off, in grey levels."""
    factor = float(steps.get("rescale_factor", 1 / 255)) if steps.get("do_rescale", True) else 1.0
    mean, deviation = ([0.0], [1.0]) if not steps.get("do_normalize", True) else (
        _each(steps.get("image_mean", 0.0)), _each(steps.get("image_std", 1.0)))
    mean, deviation = (values * channels if len(values) == 1 else values for values in (mean, deviation))
    return [*(value / factor for value in mean), *(value / factor for value in deviation)]


def _prepared(steps: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The steps of a processor as those of `Preparation`."""
    size = _sides(steps.get("size")) if steps.get("do_resize", bool(steps.get("size"))) else None
    cropped = _sides(steps.get("crop_size")) if steps.get("do_center_crop") else None
    interpolation = _RESAMPLING.get(int(steps.get("resample", 2)), "linear")
    if size is None:
        own = config.get("image_size")
        return {"size": [own, own]} if isinstance(own, int) else {}
    stated = steps["size"]    # a number alone is ConvNeXt's shorter side, and both sides to the others
    shortest = "shortest_edge" in stated if isinstance(stated, Mapping) else "crop_pct" in steps
    whole = "crop_pct" in steps and size[0] >= _UNCROPPED
    if cropped is None and (whole or not shortest):
        return {"size": list(size), "fit": "squash", "interpolation": interpolation}
    taken = cropped or size
    share = min(1.0, taken[0] / size[0], taken[1] / size[1])
    if "crop_pct" in steps and cropped is None:
        share = min(1.0, float(steps["crop_pct"] or 1.0))
    return {"size": list(taken), "fit": "shorter" if shortest else "squash", "central": share,
            "interpolation": interpolation}


def _sides(stated: Any) -> tuple[int, int] | None:
    """Rows and columns that a processor names in one of its ways."""
    if isinstance(stated, int):
        return stated, stated
    if isinstance(stated, Mapping):
        if "shortest_edge" in stated:
            return int(stated["shortest_edge"]), int(stated["shortest_edge"])
        if "height" in stated and "width" in stated:
            return int(stated["height"]), int(stated["width"])
    return None


def _each(stated: Any) -> list[float]:
    return [float(value) for value in stated] if isinstance(stated, Sequence) else [float(stated)]


def _number(key: str) -> int:
    return int(key) if str(key).isdigit() else 0


FORMATS.add(Format("hf", "a folder of Hugging Face's", _recognised, _facts, _load, extra="hf", order=20))
