"""What to type after a run."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

Found = Mapping[str, Any]
_FACTORY = re.compile(r"[^:]+:[A-Za-z_][\w.]*")


def harden_command(found: Found, folder: str) -> str:
    """To harden the network of a run in a folder, by the run's summary; "" where it is, or cannot be: several data
    sets, a first look, or one of a network's findings."""
    if "sets" in found or found.get("first_look") or found.get("hardening") or _finding(found):
        return ""
    given = "dose_fall" not in found and found.get("training") is None
    return f"steadyread harden {shlex.quote(folder)}{_code(found)}{' --data TRAINING_IMAGES' if given else ''}"


def triage_command(found: Found, folder: str, more: str = "") -> str:
    """To list the reads for a human, with `more` flags; "" where only noise was tried."""
    if "dose_fall" in found or found.get("first_look"):
        return ""
    finding = _finding(found)
    network = f" --network {shlex.quote(finding)}" if finding else ""
    return f"steadyread triage {shlex.quote(folder)}{network}{more}"


def _code(found: Found) -> str:
    """The flag by which the code of a run's network, file.py:name or package.module:name, is trusted; "" of others."""
    name = str((found.get("model") or {}).get("name") or "")
    return f" --model {shlex.quote(name)}" if _FACTORY.fullmatch(name) else ""


def _finding(found: Found) -> str:
    """Which of a network's findings a run's page is about, if any."""
    classes = list(found.get("classes") or [])
    return str(classes[1]) if len(classes) == 2 and classes[0] == f"no {classes[1]}" else ""
