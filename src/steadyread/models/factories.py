"""Factories of networks: built-in ones, and functions and classes of the user's, by their names."""

import copy
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from steadyread.errors import InputRefused, SteadyreadError, UsageError
from steadyread.files import is_regular, nearest
from steadyread.models.archives import told
from steadyread.models.format import library_of
from steadyread.models.functions import as_module
from steadyread.models.nodule import nodule_cnn
from steadyread.models.vgg import narrow_vgg, vgg16

BUILT_IN: Mapping[str, Callable[..., nn.Module]] = {"vgg16": vgg16, "narrow_vgg": narrow_vgg,
                                                    "nodule_cnn": nodule_cnn}


def listed_arguments(arguments: Mapping[str, Any]) -> str:
    """Arguments as they are typed, for messages."""
    text = ", ".join(f"{name} = {value}" for name, value in arguments.items()) or "no arguments"
    return text if len(text) <= 200 else f"{text[:200]}..."


def factory_of(model: str) -> Callable[..., object]:
    """What makes a network of that name.

    Raises:
        UsageError: no such name, module or factory, or what is no factory of networks.
        InputRefused: importing it failed.
    """
    if model in BUILT_IN:
        return BUILT_IN[model]
    library = library_of(model)
    if library is not None and library[0].factory is not None:
        return library[0].factory(library[1])
    place, _, name = model.partition(":")
    if not place or not name:
        near = difflib.get_close_matches(model, BUILT_IN, n=1)
        meant = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(BUILT_IN)}."
        raise UsageError(f"no network named '{model}': {meant} Your own is package.module:factory")
    found = _found(place, name)
    if isinstance(found, nn.Module):   # a network as it stands in the module
        return partial(copy.deepcopy, found)
    if not _makes_networks(found):
        raise UsageError(f"{model} is {_what(found)}, not a function or class that makes a network: not called")
    return cast("Callable[..., object]", found)


def code_of(name: str, key: str) -> object:
    """What `file.py:name` or `package.module:name` names, of a package that is not Python's own. Importing runs code.

    Raises:
        UsageError: no such file, module or name; it begins with the `key` that states it.
        InputRefused: importing it failed.
    """
    place, _, inner = name.partition(":")
    if not place or not inner:
        raise UsageError(f"{key} is file.py:name or package.module:name; got '{name}'")
    if place.partition(".")[0] in sys.stdlib_module_names and not place.endswith(".py"):
        raise UsageError(f"{key}: {name} is of Python's own library, which is not called")
    with current_folder_importable():
        return _found(place, inner)


def _found(place: str, name: str) -> object:
    found: object = _imported(place)
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            raise UsageError(f"{place} has no '{name}'" + (f": did you mean '{near[0]}'?" if near else ""))
        found = getattr(found, part)
    return found


def library_network(make: Callable[..., nn.Module], fetched: Sequence[str], **arguments: Any) -> nn.Module:
    """A network that a library makes, without weights.

    Raises:
        UsageError: one of its arguments, `fetched`, would have it read weights from elsewhere.
    """
    for name in fetched:
        if arguments.get(name):
            raise UsageError(f"model.arguments: {name} would read weights from elsewhere, which is not done: give "
                             "model.weights")
    return make(**arguments)


def _makes_networks(found: object) -> bool:
    """Whether calling it may be what the user means: a class of networks, or a function in Python of a package that
    is not Python's own (`os:system` and `subprocess:run` are never called)."""
    if isinstance(found, type):
        return issubclass(found, nn.Module)
    package = str(getattr(getattr(found, "func", found), "__module__", None)).split(".")[0]
    in_c = type(found).__name__ == "builtin_function_or_method"
    return callable(found) and not in_c and package not in sys.stdlib_module_names


def _what(found: object) -> str:
    if isinstance(found, type) or inspect.isroutine(found):
        return f"the {'class' if isinstance(found, type) else 'function'} {found.__module__}.{found.__qualname__}"
    return f"a {type(found).__name__}"


def _imported(place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _of_file(Path(place).expanduser())
        return importlib.import_module(place)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{place}.".startswith(f"{problem.name}."):
            raise InputRefused(f"importing {place} failed: it needs the module '{problem.name}', which is not "
                               "installed") from problem
        raise UsageError(f"no module named '{place}' (looked in this Python's packages and in {Path.cwd()})"
                         ) from problem
    except SteadyreadError:
        raise
    except (Exception, SystemExit) as problem:
        raise InputRefused(f"importing {place} failed: {told(problem)}") from problem


def _of_file(path: Path) -> ModuleType:
    """A Python file as a module of the name that it has; its own folder is looked in for what it imports.

    Raises:
        UsageError: it is not there.
    """
    if not is_regular(path):
        raise UsageError(f"no file {path}{nearest(path)}")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        sys.modules.setdefault(path.stem, module)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def made_by(model: str, factory: Callable[..., object], arguments: Mapping[str, Any]) -> nn.Module:
    """The network that a factory makes with these arguments.

    Raises:
        UsageError: arguments that it does not take.
        InputRefused: it failed, or returned what is no network.
    """
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as problem:
        raise UsageError(f"the network '{model}' was given {', '.join(arguments) or 'no arguments'}: {problem}; "
                         f"it takes {inspect.signature(factory)}") from problem
    except ValueError:
        pass   # a factory written in C has no signature to check
    try:
        module = factory(**arguments)
    except SteadyreadError:
        raise
    except (Exception, SystemExit) as problem:
        raise InputRefused(f"the factory {model} failed: {told(problem)}") from problem
    if isinstance(module, type):
        raise InputRefused(f"the factory {model} must return a network; it returned the class {module.__name__}: "
                           f"return {module.__name__}(...)")
    if not callable(module):
        raise InputRefused(f"the factory {model} must return a torch.nn.Module or a function of the images; it "
                           f"returned a {type(module).__name__}")
    return as_module(module)


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """An installed command does not look for modules in the folder that it is called from; users expect it.

    What the user's code prints meanwhile goes to stderr: stdout is for results.
    """
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        with suppress(ValueError):
            sys.path.remove(here)

