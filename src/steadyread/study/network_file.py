"""What is stated of a network, written as a file that may stand beside its weights: `--model NET.toml` reads it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steadyread.names import shown
from steadyread.study.model import Model
from steadyread.study.sections import Preparing

_ALWAYS = ("name", "weights", "bounds", "output", "normalise")     # of [model], whatever their defaults
_OPEN = {"bounds": "[LOW, HIGH]", "output": '"logit", "logits", "probability" or "probabilities"',
         "normalise": '"none", "unit", "symmetric", "imagenet" or [MEAN, SD]'}


def network_text(model: Model, preparation: Preparing | None = None, unsaid: tuple[str, ...] = ()) -> str:
    """The tables [model] and [preparation] as TOML. Keys that are `unsaid` stand there as comments, to be filled in.

    A path that is not UTF-8 has no form in TOML: such a file is refused when it is read.
    """
    usual = model.model_dump(mode="json", exclude_defaults=True, exclude={"pretrained"})
    always = {key: value for key, value in model.model_dump(mode="json", include=set(_ALWAYS)).items()
              if value is not None}
    lines = ["[model]", *_keys({key: value for key, value in (always | usual).items() if key not in unsaid}),
             *(f"# {key} = {_OPEN[key]}" for key in unsaid)]
    prepared = {} if preparation is None else preparation.model_dump(mode="json", exclude_defaults=True)
    if prepared:
        lines += ["", "[preparation]", *_keys(prepared)]
    return "\n".join([*lines, ""])


def beside(path: str, folder: Path) -> str:
    """A path as it reads from a file in `folder`, also that of `file.py:factory`; an address stays as it is."""
    file, colon, factory = path.partition(":") if ".py:" in path else (path, "", "")
    if "://" in path:
        return path
    return f"{os.path.relpath(Path(file).expanduser().resolve(), folder.resolve())}{colon}{factory}"


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
    """A text as TOML, whose escapes are those of JSON; what cannot be shown is escaped as well."""
    return "".join(mark if shown(mark) == mark else f"\\U{ord(mark):08x}"
                   for mark in json.dumps(value, ensure_ascii=False))
