"""A study read from TOML, with every flag of the command line laid over one of its keys."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from steadyread.errors import InputRefused, UsageError
from steadyread.files import refuse_absent_network, regular_file
from steadyread.limits import MOST_DEPTH, beyond_limits
from steadyread.models.format import placed
from steadyread.names import folder_name
from steadyread.registry import nearest
from steadyread.study.section import Settings, in_words, laid_over
from steadyread.study.sections import Study

_OUTSIDE = ("name", "scale", "scales", "sets", "equal")   # what stands outside of a set's own study
# What the runs at equal conditions leave out.
_NOT_ALIKE = ("hardening", "triage", "gates", "noise.hardening", "seeds")
_OF_A_NETWORK = ("model", "preparation")      # the tables of a network's own file
_LARGEST = 2**18
_APART, _DOT = re.compile(r"[={},\[\]\n]"), re.compile(r"[\w\"'-][ \t]*\.(?=[ \t]*[\w\"'-])")
_SET = re.compile(r"[A-Za-z0-9][\w-]*")


def read_study(path: str | Path | None = None, *overrides: Mapping[str, Any]) -> Study:
    """The study in a TOML file (an empty one if None), with `overrides`, nested like the file, laid over it.

    Where it states a `scale`, the table [scales.NAME] comes between the file and the overrides.

    Raises:
        InputRefused: no such file, or not TOML.
        UsageError: an unknown key (with the nearest known one), or a value that does not fit its key; a file of
            several data sets.
    """
    found = read_studies(path, *overrides)
    if found.sets:
        raise UsageError(f"{path} is a study of several data sets ({', '.join(found.sets)}): `steadyread run` "
                         "carries it out")
    return found


def read_studies(path: str | Path | None = None, *overrides: Mapping[str, Any]) -> Study:
    """As `read_study`, where a file with tables [sets.NAME] is a study of several data sets.

    Each set's table is laid over what stands outside of it; what the command line says comes last, for every set.
    With a table [equal] each set is read once more, with that table (and the set's own [sets.NAME.equal]) over it.
    """
    stated: Settings = {} if path is None else _toml(Path(path))
    if path is not None:
        stated.setdefault("name", folder_name(Path(path).stem))
    for above in overrides:
        stated = laid_over(stated, above)
    where = str(path) if path is not None else "the settings"
    scales = stated.pop("scales", {})
    if stated.get("scale") is not None:
        stated = _scaled(stated, scales, where, overrides)
    return checked(stated, where) if "sets" not in stated else _several(stated, where, overrides)


def _several(stated: Settings, where: str, overrides: tuple[Mapping[str, Any], ...]) -> Study:
    """A study for each of [sets.NAME], and one for each at the equal conditions of [equal]."""
    tables, equal = stated.pop("sets"), stated.pop("equal", None)
    if not isinstance(tables, Mapping) or {isinstance(one, Mapping) for one in tables.values()} != {True}:
        raise UsageError(f"{where}: [sets.NAME] must be a table for each data set")
    if equal is not None and not isinstance(equal, Mapping):
        raise UsageError(f"{where}: [equal] must be a table")
    studies, alike = {}, {}
    for name, table in tables.items():
        if not _SET.fullmatch(name):
            raise UsageError(f"{where}: a data set's name is of letters, digits, '_' and '-'; got '{name}'")
        whole = laid_over(stated, table)
        own = whole.pop("equal", {})
        studies[name] = checked(_topped(whole | {"name": name}, overrides), f"{where}, [sets.{name}]")
        if equal is not None:
            over = _topped(_alike(whole, laid_over(equal, own), where), overrides)
            for key in _NOT_ALIKE:
                over = _without(over, key)
            alike[name] = checked(over | {"name": name}, f"{where}, [equal] on [sets.{name}]")
    name = str(stated.get("name", "sets"))
    return checked({"name": name}, where).model_copy(update={
        "scale": stated.get("scale"), "sets": studies, "equal": alike})


def _alike(whole: Settings, equal: Settings, where: str) -> Settings:
    """A set's study with the equal conditions over it."""
    for key in _NOT_ALIKE:
        if _without(equal, key) != equal:
            raise UsageError(f"{where}: [equal.{key}] is not carried out, as runs at equal conditions are "
                             "only compared: state it outside of [equal]")
    return laid_over(whole, equal)


def _without(stated: Mapping[str, Any], key: str) -> Settings:
    """The settings without a dotted key."""
    first, _, rest = key.partition(".")
    inner = stated.get(first)
    if rest:
        return {**stated, first: _without(inner, rest)} if isinstance(inner, Mapping) else dict(stated)
    return {name: value for name, value in stated.items() if name != first}


def _topped(stated: Settings, overrides: tuple[Mapping[str, Any], ...]) -> Settings:
    for above in overrides:
        stated = laid_over(stated, {key: value for key, value in above.items() if key not in _OUTSIDE})
    return stated


def _scaled(stated: Settings, scales: Any, where: str, overrides: tuple[Mapping[str, Any], ...]) -> Settings:
    """The study with the table of its scale over it, and what the command line says over both.

    A scale that is like another but for something names that as its own `scale`, over which its table then lies; and in
    `drop` the dotted keys of what it has not.
    """
    name: object = stated["scale"]
    chain: list[Mapping[str, Any]] = []
    while name is not None:
        if not isinstance(scales, Mapping) or not isinstance(scales.get(str(name)), Mapping):
            known = f": it has {', '.join(scales)}" if scales else ""
            raise UsageError(f"{where}: no table [scales.{name}] for the scale '{name}'{known}")
        if scales[str(name)] in chain:
            raise UsageError(f"{where}: [scales.{name}] names itself as the scale that it is like: leave that out")
        chain.insert(0, scales[str(name)])
        name = chain[0].get("scale")
    for table in chain:
        dropped = table.get("drop", [])
        if not isinstance(dropped, list) or not all(isinstance(key, str) for key in dropped):
            raise UsageError(f"{where}: drop in a [scales.NAME] must be a list of keys, such as [\"noise.hardening\"]; "
                             f"got {dropped!r}")
        for key in dropped:
            stated = _without(stated, key)
        stated = laid_over(stated, {key: value for key, value in table.items() if key not in ("scale", "drop")})
    for above in overrides:
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
            return _within_limits(tomllib.loads(f"{key} = {written}"), "--set")
        except (ValueError, RecursionError):
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


def _toml(path: Path, of: str = "study") -> Settings:
    try:
        if path.exists() and regular_file(path).stat().st_size > _LARGEST:
            raise InputRefused(f"{path}: larger than {_LARGEST >> 10} KiB, which no {of} is")
        text = path.read_text("utf-8-sig")
        if any(len(_DOT.findall(part)) > MOST_DEPTH for part in _APART.split(text)):   # tomllib would take hours
            raise UsageError(f"{path}: a key is nested more than {MOST_DEPTH} deep")
        return _within_limits(tomllib.loads(text), str(path))
    except InputRefused as problem:
        raise InputRefused(f"cannot read the {of} {problem}") from None
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8 text"
        raise InputRefused(f"cannot read the {of} {path}: {reason}") from problem
    except (ValueError, RecursionError) as problem:     # numbers of thousands of digits, tables nested without end
        raise UsageError(f"{path} is not TOML: {' '.join(str(problem).split())[:200]}") from problem


def _within_limits(stated: Settings, where: str) -> Settings:
    """The same settings, before anything walks through them."""
    if wrong := beyond_limits(stated):
        raise UsageError(f"{where}: {wrong}")
    return stated


def reread(held: Mapping[str, Any], where: str) -> Study:
    """A study from what was stored of it whole.

    Of pixels it was stored with everything filled in, and stands as it is. Under noise it was stored as it was asked
    for: values that are the defaults of their sections count as not stated, so that what the data and the network's
    files decide is filled in again as it was the first time. But a head that no file says was stated, be it the
    default.
    """
    study = checked(held, where)
    if study.noise is None:
        return study
    stated = study.model_dump(mode="json", exclude_defaults=True)
    if study.model.weights is not None and not study.model.says_its_head:
        stated = laid_over(stated, {"model": {"output": study.model.output}})
    return checked(stated, where)


def checked(stated: Mapping[str, Any], where: str) -> Study:
    """The study of one data set, as it is stated.

    Raises:
        UsageError: a key that there is not, or a value that does not fit its key.
    """
    for key in ("sets", "equal"):
        if key in stated:
            raise UsageError(f"{where}: unknown key '{key}': [sets.NAME] and [equal] stand at the top of a study of "
                             "several data sets")
    try:
        return Study.model_validate(_with_network(_within_limits(dict(stated), where)))
    except ValidationError as problem:
        raise UsageError(f"{where}: {_first(problem)}") from problem


def _with_network(stated: Settings) -> Settings:
    """The study with what a network's own file states (model.name = "NET.toml") under it.

    Raises:
        UsageError: no such file.
        InputRefused: not TOML, or it states what is no network's.
    """
    model = stated.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    if not isinstance(name, str) or not name.endswith(".toml"):
        return stated
    refuse_absent_network(name)
    path = Path(name).expanduser()
    try:
        network = _of_a_network(path)
    except UsageError as problem:      # the file is the input, and what it says is refused
        raise InputRefused(f"the network's file {problem}") from problem
    own = {key: value for key, value in stated["model"].items() if key != "name"}
    return laid_over(network, {**stated, "model": own})


def _of_a_network(path: Path) -> Settings:
    """The tables of a network's file, their relative paths beginning at its own folder."""
    network = _toml(path, "network's file")
    strange = [key for key in network if key not in _OF_A_NETWORK] or [
        key for key in ("model", *network) if not isinstance(network.get(key), Mapping)]
    if strange:
        raise UsageError(f"{path}: expected the tables [model] and [preparation]; got '{strange[0]}'"
                         if strange[0] in network else f"{path} has no table [model]")
    network["model"] = _beside(path.parent, network["model"])
    transform = network.get("preparation", {}).get("transform")
    if isinstance(transform, str) and transform.partition(":")[0].endswith(".py"):
        network["preparation"]["transform"] = placed(transform, path.parent)
    if str(network["model"].get("name", "")).endswith(".toml"):
        raise UsageError(f"{path}: its model.name is another such file, {network['model']['name']}: name the network")
    checked(network, str(path))     # by itself first, so that what is wrong is said to stand there
    return network


def _beside(folder: Path, model: Mapping[str, Any]) -> Settings:
    """[model] with its relative paths beginning at `folder`."""
    paths = {key: str(folder / Path(model[key]).expanduser()) for key in ("weights", "pretrained")
             if isinstance(model.get(key), str) and "://" not in model[key]}
    name = model.get("name")
    if isinstance(name, str) and ("weights" not in model or name.partition(":")[0].endswith(".py")):
        paths["name"] = placed(name, folder)
    return {**model, **paths}


def _first(problem: ValidationError) -> str:
    """The first complaint of pydantic, in the user's own words; an unknown key goes before others."""
    found = sorted(problem.errors(), key=lambda one: one["type"] != "extra_forbidden")[0]
    place = [str(part) for part in found["loc"]]
    if found["type"] == "extra_forbidden":
        return f"unknown key '{'.'.join(place)}'{nearest(place[-1], _keys_at(place[:-1]))}"
    return in_words(problem)


def _keys_at(place: list[str]) -> list[str]:
    """The keys of a section, whose annotation may be `Section | None` or `dict[str, Section]`."""
    section: Any = Study
    for part in place:
        if part in section.model_fields:   # else the user's own name of a table, such as a variant's
            stated = section.model_fields[part].annotation
            section = next((one for one in (stated, *get_args(stated)) if hasattr(one, "model_fields")), Study)
    return list(section.model_fields)


