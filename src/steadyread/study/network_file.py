"""What is stated of a network, written as a file that may stand beside its weights: `--model NET.toml` reads it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steadyread.study.model import Model
from steadyread.study.sections import Preparing

_ALWAYS = ("name", "weights", "bounds", "output", "normalise")     # of [model], whatever their defaults
_OPEN = {"bounds": "[LOW, HIGH]", "output": '"logit", "logits", "probability" or "probabilities"',
         "normalise": '"none", "unit", "symmetric", "imagenet" or [MEAN, SD]'}


def network_text(model: Model, preparation: Preparing | None = None, unsaid: tuple[str, ...] = ()) -> str:
    """The tables [model] and [preparation] as TOML. Keys that are `unsaid` stand there as comments, to be filled in."""
    usual = model.model_dump(mode="json", exclude_defaults=True, exclude={"pretrained"})
    always = {key: value for key, value in model.model_dump(mode="json", include=set(_ALWAYS)).items()
              if value is not None}
    lines = ["[model]", *_keys({key: value for key, value in (always | usual).items() if key not in unsaid}),
             *(f"# {key} = {_OPEN[key]}" for key in unsaid)]
    prepared = {} if preparation is None else preparation.model_dump(mode="json", exclude_defaults=True)
    if prepared:
        lines += ["", "[preparation]", *_keys(prepared)]
    return "\n".join([*lines, ""])


def beside(weights: str, folder: Path) -> str:
    """A path of weights as it reads from a file in `folder`; an address stays as it is."""
    if "://" in weights:
        return weights
    return os.path.relpath(Path(weights).expanduser().resolve(), folder.resolve())


def _keys(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None)


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else _text(name)


def _value(value: Any) -> str:
    """A plain value as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(_keys(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A text as TOML, whose escapes are those of JSON but for letters beyond 16 bits and for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
