"""Which tensors of a weights file are a network's, whatever stands around them or before their names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from steadyread.errors import InputRefused
from steadyread.files import refuse_stand_in
from steadyread.progress import note

Shapes = Mapping[str, Sequence[int]]
SAVE = "save a state dict: torch.save(model.state_dict(), 'weights.pt')"
_NESTED = ("state_dict", "model_state_dict", "model", "net")   # where checkpoints keep theirs, the likeliest first
_WRAPPERS = ("module.", "_orig_mod.")                          # what DataParallel and compile put before names
_AVERAGED = ("ema", "shadow", "swa", "avg", "averag", "teacher", "momentum")   # beside the weights, not instead
_DEPTH = 4
_HEAD = 512                                                    # bytes that tell what a file is
_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".tar")


class _Kind(NamedTuple):
    """What a file is that begins with `magic` at the byte `at`, where its name ends as one of `under`."""

    at: int
    magic: bytes
    words: str
    under: tuple[str, ...]


_ANY = (*_TORCH, ".safetensors")
_KINDS = (
    _Kind(0, b"\x1f\x8b", "packed by gzip: unpack it with gunzip first", _ANY),
    *(_Kind(0, magic, "an archive: unpack it first", _ANY)
      for magic in (b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")),
    _Kind(8, b'{"', "a safetensors file under another name: rename it to end in .safetensors", _TORCH),
    _Kind(0, b"\x08", f"no state dict, but as ONNX graphs begin: from PyTorch {SAVE}", _TORCH),
    _Kind(0, b"\x89HDF", "an HDF5 file, as Keras writes: convert it to a PyTorch state dict", _ANY),
    _Kind(4, b"TFL3", "a TensorFlow Lite model: convert it to a PyTorch state dict", _ANY),
    _Kind(0, b"GGUF", "a GGUF file, which is not read: convert it to a PyTorch state dict", _ANY),
    _Kind(0, b"PK\3\4", "a zip archive, as torch.save writes: rename it to end in .pt", (".safetensors",)))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Tensors that have the names of a network once `prefix` is taken off them; `where` they are in the file."""

    where: str
    tensors: dict[str, Tensor]
    outside: tuple[str, ...]

    @property
    def averaged(self) -> bool:
        """Whether its place says that it is an average over a training, or another network's."""
        return any(word in self.where.lower() for word in _AVERAGED)

    def equals(self, other: "_Fit") -> bool:
        """The same values."""
        return self.tensors.keys() == other.tensors.keys() and all(
            torch.equal(value, other.tensors[name]) for name, value in self.tensors.items())


def state_for(content: object, path: Path, wanted: Shapes | None = None) -> dict[str, Tensor]:
    """The state dict in what a weights file holds: by a network's own names and shapes where these are `wanted`.

    It may lie in dictionaries (a checkpoint's), under a prefix (`module.`, `_orig_mod.`, Lightning's `model.`, any
    other), or lack one that the network has. What is left out of the file is said. Where nothing has the names, the
    likeliest dictionary as it is.

    Raises:
        InputRefused: no dictionary of names and tensors there, or several that would do.
    """
    candidates = [(where, tensors) for where, tensors in _dictionaries(content, "", _DEPTH, set()) if tensors]
    if not candidates:
        raise InputRefused(f"{path} is no state dict (names and tensors); {SAVE}")
    if wanted is None:
        return _unwrapped(candidates[0][1])
    fits = [fit for where, tensors in candidates for fit in _fits(where, tensors, wanted)]
    if not fits:
        return _unwrapped(candidates[0][1])
    chosen = _chosen(fits, path, wanted)
    if chosen.outside:
        note(f"{path}: {len(chosen.outside)} tensors beside the network's are left out (first "
             f"'{chosen.outside[0]}')")
    return chosen.tensors


def refuse_no_weights(path: Path) -> None:
    """Nothing where a file may be weights.

    Raises:
        InputRefused: it cannot be read, is empty, stands for a file that was not fetched, or is a web page or other
            text.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as problem:
        raise InputRefused(f"{path}: cannot be read ({problem.strerror})") from None
    refuse_stand_in(path, head, "weights")
    suffix = path.suffix.lower()
    kind = next((kind for kind in _KINDS if head[kind.at:].startswith(kind.magic)), None)
    if kind is not None and suffix in kind.under:
        raise InputRefused(f"{path} is {kind.words}")


def _dictionaries(content: object, where: str, depth: int, seen: set[int]
                  ) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary's own tensors, the likeliest places first; one that stands in many places once."""
    if not isinstance(content, Mapping) or depth == 0 or id(content) in seen:
        return
    seen.add(id(content))
    yield where, {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    inner = [str(name) for name, value in content.items() if isinstance(value, Mapping)]
    ranks = {name: _NESTED.index(name) if name in _NESTED else len(_NESTED) for name in inner}
    by_name = {str(name): value for name, value in content.items()}
    for name in sorted(inner, key=ranks.__getitem__):
        yield from _dictionaries(by_name[name], f"{where}{name}/", depth - 1, seen)


def _fits(where: str, tensors: dict[str, Tensor], wanted: Shapes) -> Iterator[_Fit]:
    """Every way to read the tensors as those that are wanted: as they are, less or plus a prefix, or both."""
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    if not needed:
        return
    for added in _prefixes_of(needed):
        core = [name.removeprefix(added) for name in needed]
        ends = [name for name in tensors if name == core[0] or name.endswith(f".{core[0]}")]
        prefixes = [name.removesuffix(core[0]) for name in ends]
        fitting = [prefix for prefix in prefixes if all(prefix + name in tensors for name in core)]
        if "" in fitting:
            fitting = [""]
        if added and any(fitting):   # other names altogether may be another network's
            fitting = [prefix for prefix in fitting if all(
                tuple(tensors[prefix + name].shape) == tuple(wanted[added + name]) for name in core)]
        for prefix in fitting:
            yield _Fit(where + prefix, {added + name.removeprefix(prefix): value for name, value in tensors.items()
                                        if name.startswith(prefix)},
                       tuple(name for name in tensors if not name.startswith(prefix)))
        if fitting:
            return


def _prefixes_of(names: Sequence[str]) -> Iterable[str]:
    """"" and every longer prefix that ends in a dot and that all names share."""
    longer = accumulate(f"{part}." for part in names[0].split(".")[:-1])
    return ["", *takewhile(lambda prefix: all(name.startswith(prefix) for name in names), longer)]


def _chosen(fits: Sequence[_Fit], path: Path, wanted: Shapes) -> _Fit:
    """The one of several that has the shapes too, is no average, or equals the others."""
    def shaped(fit: _Fit) -> bool:
        return all(tuple(fit.tensors[name].shape) == tuple(wanted[name]) for name in wanted if name in fit.tensors)

    likely = [fit for fit in fits if shaped(fit)] or list(fits)
    plain = [fit for fit in likely if not fit.averaged] or likely
    first, others = plain[0], [fit for fit in likely if fit is not plain[0] and not fit.equals(plain[0])]
    names = ", ".join(f"'{fit.where}'" for fit in [first, *others])
    if any(fit in plain for fit in others):
        raise InputRefused(f"{path} holds several weights that fit this network ({names}): save the ones that are "
                           f"meant alone, torch.save(checkpoint[...], 'weights.pt')")
    if others:
        note(f"{path} holds several weights that fit ({names}): those of '{first.where}' are taken; to assess the "
             "others, save them as a state dict of their own")
    return first


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while True:
        for prefix in _WRAPPERS:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                break
        else:
            return tensors
