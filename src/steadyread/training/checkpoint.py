"""A training's state on disk after each epoch, so that one that is killed goes on as if it had not been."""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from steadyread import records
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, PlanDiffers, first_line
from steadyread.files import regular_file
from steadyread.models.archives import torch_archive
from steadyread.models.seal import VERSIONS, note_versions, running_versions
from steadyread.training.images import PartImages

_DIGEST = 32  # bytes
_FORMAT = 2   # of the file, and of what the state means to the loop that goes on with it


def digest_of(begin: Classifier, parts: tuple[PartImages, PartImages], told: Mapping[str, Any]) -> str:
    """SHA-256 over what a training depends on.

    That is: the network and the weights it begins with, how images reach it (tried on one of them), the images with
    their labels in their order, and `told`: settings, seed. Device and threads are left out, in whose favour only
    the last bits differ.
    """
    facts = {"format": _FORMAT, "output": begin.output, "bounds": [begin.valid.low, begin.valid.high]} | dict(told)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    digest.update(repr(begin.module).encode())   # dropout, for one, stands in no weight
    for name, value in begin.module.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    seen = begin.normalised(parts[0].images(torch.tensor([0])).to(begin.device))
    digest.update(seen.detach().cpu().contiguous().numpy().data)
    for part in parts:
        digest.update(part.digest().encode())
    return digest.hexdigest()


def write_checkpoint(path: Path, digest: str, state: Mapping[str, Any]) -> None:
    """Write the state whole, or leave the one before it as it is.

    Raises:
        Partial: the disk is full.
        InputRefused: the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"digest": digest, "state": dict(state), VERSIONS: running_versions()}, buffer)
    content = buffer.getvalue()
    records.write_whole(path, content + hashlib.sha256(content).digest())


def read_checkpoint(path: Path, digest: str) -> dict[str, Any] | None:
    """The state to go on from; None where no training was under way. What a kill left half-written is removed.

    Raises:
        PlanDiffers: it is of another training.
        InputRefused: it cannot be read, or is damaged: its last bytes are the digest of those before.
    """
    records.remove_leftovers(path.parent)
    if not path.exists():
        return None
    regular_file(path)
    try:
        content = memoryview(path.read_bytes())
        if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
            raise ValueError("its content does not fit the digest written with it")
        held = torch_archive(path, content[:-_DIGEST])
        if not isinstance(held, dict):
            raise TypeError("it holds no state")
        of, state = held["digest"], dict(held["state"])
    except Exception as problem:   # torch raises what it likes for a file that is none of its own
        raise InputRefused(f"{path} cannot be read as the state of a training ({first_line(problem)}): "
                           "remove it to train from the start") from problem
    if of != digest:
        raise PlanDiffers(f"{path} is of a training on other data, from other weights or with other settings")
    note_versions(path, held.get(VERSIONS))
    return state


def remove_checkpoint(path: Path) -> None:
    """The training is finished and its weights are kept: its state is of no more use."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def random_states(generator: torch.Generator, device: torch.device) -> dict[str, Any]:
    """The states of every generator that a training draws from: its own, and torch's (for dropout)."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"generator": generator.get_state(), "torch": torch.random.get_rng_state(), "cuda": cuda}


def restore_random_states(states: Mapping[str, Any], generator: torch.Generator, device: torch.device) -> None:
    """Puts them back. A training begun on the CPU goes on on a GPU with the GPU's own draws, and the reverse."""
    generator.set_state(states["generator"])
    torch.random.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
