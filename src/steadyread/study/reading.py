"""A study read from TOML, with every flag of the command line laid over one of its keys."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from steadyread.errors import InputRefused, UsageError
from steadyread.study.sections import Settings, Study, nearest


def read_study(path: str | Path | None = None, *overrides: Mapping[str, Any]) -> Study:
    """The study in a TOML file (an empty one if None), with `overrides`, nested like the file, laid over it.

    Where it states a `scale`, the table [scales.NAME] comes between the file and the overrides.

    Raises:
        InputRefused: no such file, or not TOML.
        UsageError: an unknown key (with the nearest known one), or a value that does not fit its key.
    """
    stated: Settings = {} if path is None else _toml(Path(path))
    if path is not None:
        stated.setdefault("name", Path(path).stem)
    for above in overrides:
        stated = laid_over(stated, above)
    where = str(path) if path is not None else "the settings"
    scales = stated.pop("scales", {})
    if stated.get("scale") is not None:
        stated = _scaled(stated, scales, where, overrides)
    return checked(stated, where)


def _scaled(stated: Settings, scales: Any, where: str, overrides: tuple[Mapping[str, Any], ...]) -> Settings:
    """The study with the table of its scale over it, and what the command line says over both."""
    name = str(stated["scale"])
    if not isinstance(scales, Mapping) or name not in scales:
        known = f": it has {', '.join(scales)}" if scales else ""
        raise UsageError(f"{where}: no table [scales.{name}] for the scale '{name}'{known}")
    for above in (scales[name], *overrides):
        stated = laid_over(stated, above)
    return stated


def override(text: str) -> Settings:
    """One `key=value` as the command line's --set takes it: a dotted key and a TOML value (or bare text).

    Raises:
        UsageError: no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes KEY=VALUE, such as attacks.settings.pgd.steps=20; got '{text}'")
    for written in (value, json.dumps(value.strip())):
        try:
            return tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
    raise UsageError(f"--set takes KEY=VALUE with a dotted key; got '{text}'")


def keyed(**flags: Any) -> Settings:
    """Flags as nested settings: `data__path=...` is data.path; those that are None are left out."""
    nested: Settings = {}
    for flag, value in flags.items():
        if value is None:
            continue
        for part in reversed(flag.split("__")):
            value = {part: value}
        nested = laid_over(nested, value)
    return nested


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """`above` over `below`, tables merged, everything else replaced."""
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        merged[key] = laid_over(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return merged


def _toml(path: Path) -> Settings:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8 text"
        raise InputRefused(f"cannot read the study {path}: {reason}") from problem
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{path} is not TOML: {problem}") from problem


def checked(stated: Mapping[str, Any], where: str) -> Study:
    try:
        return Study.model_validate(stated)
    except ValidationError as problem:
        raise UsageError(f"{where}: {_first(problem)}") from problem


def _first(problem: ValidationError) -> str:
    """The first complaint of pydantic, in the user's own words; an unknown key goes before others."""
    found = sorted(problem.errors(), key=lambda one: one["type"] != "extra_forbidden")[0]
    place = [str(part) for part in found["loc"]]
    if found["type"] == "extra_forbidden":
        return f"unknown key '{'.'.join(place)}'{nearest(place[-1], _keys_at(place[:-1]))}"
    message = found["msg"][0].lower() + found["msg"][1:]
    return f"{'.'.join(part for part in place if '[' not in part)}: {message}; got {found['input']!r}"


def _keys_at(place: list[str]) -> list[str]:
    """The keys of a section, whose annotation may be `Section | None` or `dict[str, Section]`."""
    section: Any = Study
    for part in place:
        if part in section.model_fields:   # else the user's own name of a table, such as a variant's
            stated = section.model_fields[part].annotation
            section = next((one for one in (stated, *get_args(stated)) if hasattr(one, "model_fields")), Study)
    return list(section.model_fields)


