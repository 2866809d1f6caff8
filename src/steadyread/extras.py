"""Libraries of extras, which not everybody needs: imported where they are used."""

import importlib
from typing import Any

from steadyread.errors import InputRefused


def library(module: str, extra: str, use: str) -> Any:
    """A module of an extra's; `use` says what is done with it, such as "DICOM files are read with".

    Raises:
        InputRefused: it is not installed, or does not work here.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputRefused(f"{use} {module.partition('.')[0]}, which is not installed: "
                           f"pip install 'steadyread[{extra}]'") from None
    except Exception as problem:      # of a library that was built for another torch, say
        why = " ".join(str(problem).split())[:120]
        raise InputRefused(f"{use} {module.partition('.')[0]}, which is installed and does not import here "
                           f"({type(problem).__name__}: {why}): install the build that fits this torch") from problem
