"""The seal of a weights file of ours: a digest by which damage is seen, and the versions that wrote it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steadyread._version import __version__
from steadyread.errors import InputRefused
from steadyread.progress import note

CARD, VERSIONS, SEAL = "card", "versions", "sha256"
# What a card's keys hold, those that anything is done with.
_KINDS = {"model": str, "arguments": dict, "output": str, "preparation": dict, "split": dict, "taught": dict,
          "training_digest": str}
_TAUGHT = ("images", "patients")


def running_versions() -> dict[str, str]:
    """Of what decides how weights come about: steadyread and torch."""
    return {"steadyread": __version__, "torch": str(torch.__version__)}


def sealed(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What stands beside the tensors of a file: the card, the running versions, and a digest over everything."""
    told = {CARD: json.dumps(dict(card), sort_keys=True), VERSIONS: json.dumps(running_versions())}
    return told | {SEAL: _digest(told, tensors)}


def whole_card(card: object, path: Path) -> dict[str, Any]:
    """A card whose values are of the kinds that ours have. What they mean is judged where they are used.

    Raises:
        InputRefused: another kind.
    """
    if not isinstance(card, dict):
        raise _strange(path, "a table of settings", card)
    for key, kind in _KINDS.items():
        if key in card and not isinstance(card[key], kind):
            raise _strange(path, f"{key} as {'text' if kind is str else 'a table'}", card[key])
    for key in _TAUGHT:
        marks = card.get("taught", {}).get(key, [])
        if not isinstance(marks, list) or not all(isinstance(mark, str) for mark in marks):
            raise _strange(path, f"taught.{key} as a list of text", marks)
    return card


def _strange(path: Path, wanted: str, came: object) -> InputRefused:
    return InputRefused(f"{path}: the card beside the weights is none of steadyread's: expected {wanted}, got "
                        f"{repr(came)[:80]}; state the network yourself, with the weights alone")


def refuse_broken(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Nothing where the content fits its digest; nor for a file of another maker, which has none.

    Raises:
        InputRefused: it does not fit, or the digest is gone.
    """
    ours = metadata.keys() & {CARD, VERSIONS, SEAL}
    if not ours or metadata.keys() == {CARD}:   # the latter as steadyread wrote them before it sealed its files
        return
    if metadata.get(SEAL) != _digest({key: value for key, value in metadata.items() if key != SEAL}, tensors):
        raise damaged(path)


def damaged(path: Path) -> InputRefused:
    """What to raise where a file is not as it was written."""
    return InputRefused(f"{path} is damaged (its content does not fit the digest written with it); nothing was "
                        "overwritten: put the file back from a copy, or remove it to have it computed again")


def note_versions(path: Path, stored: object) -> None:
    """Say in one line where a file was written by other versions than those running; they may not be known."""
    if not isinstance(stored, Mapping):
        return
    changed = [f"{name} {stored[name]}, running is {version}" for name, version in running_versions().items()
               if stored.get(name) not in (None, version)]
    if changed:
        note(f"{path} was written by {'; '.join(changed)}")


def _digest(told: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over what stands beside the tensors, and over their names, shapes, types and bytes."""
    digest = hashlib.sha256(json.dumps(dict(told), sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\x1f{name}\x1f{tuple(value.shape)}\x1f{value.dtype}\x1f".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
