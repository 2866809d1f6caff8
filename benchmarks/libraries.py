"""Importing the other libraries, two of which ask for torchvision and visdom without needing either here."""

import importlib
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

# Asked for by adv-lib (a perceptual distance, a plot) and secml-torch (transforms); no attack here touches them.
_UNUSED = ("torchvision", "torchvision.models", "torchvision.transforms", "torchvision.datasets",
           "torchvision.utils", "visdom")


class _Absent(ModuleType):
    """Stands in for a package that is not there, or that does not load beside this torch."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class NotInstalled(Exception):
    """A library is not there."""


def needed(module: str) -> Any:
    """A module of another library.

    Raises:
        NotInstalled: the library is not there.
    """
    found = library(module)
    if found is None:
        raise NotInstalled(module.split(".")[0])
    return found


def shortened(failed: Exception, length: int = 60) -> str:
    """What a library raised, for a cell of a table."""
    if isinstance(failed, NotInstalled):
        return "not installed"
    words = " ".join(str(failed).split())
    return f"{type(failed).__name__}: {words[:length] + '...' if len(words) > length else words or '(no message)'}"


def library(module: str) -> ModuleType | None:
    """A module of another library, None where the library is not installed.

    What stands in for absent packages does so while it is imported: others are not to take them for the real ones.
    """
    made = [name for name in _UNUSED if _stand_in(name)]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is not None and module.startswith(missing.name.split(".")[0]):
            return None
        raise
    finally:
        for name in made:
            del sys.modules[name]


def _stand_in(name: str) -> bool:
    if name in sys.modules:
        return False
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError):   # RuntimeError: a torchvision built for another torch
        sys.modules[name] = _Absent(name)
        return True
    return False
