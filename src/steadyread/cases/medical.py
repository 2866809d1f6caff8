"""The libraries for medical files, which not everybody needs: imported where they are used."""

import importlib
from typing import Any

from steadyread.errors import InputRefused


def library(name: str, reads: str) -> Any:
    """The module `name`, which reads what `reads` says.

    Raises:
        InputRefused: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputRefused(f"{reads} are read with {name}, which is not installed: "
                           "pip install 'steadyread[medical]'") from None
