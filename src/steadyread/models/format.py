"""What a network comes in: a file, a folder or a name of other people's, each read by a file in `models/formats`.

    --model net.keras        --model hf:FOLDER        --model net.onnx
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from steadyread.errors import InputRefused, UsageError
from steadyread.files import NETWORKS, nearest, refuse_absent_network
from steadyread.limits import MOST_HEADER
from steadyread.models.archives import told
from steadyread.models.memory import bounded
from steadyread.registry import LAST, Registry

Settings = Mapping[str, Any]
_AT_A_TIME = 2**22     # values of images that a black box is asked about together


@dataclass(frozen=True)
class Facts:
    """What a network's own files say of it; what the user states stands above it.

    `settings` are keys of a study, such as {"model": {"output": "logit"}}, without the size. `classes` are the names of
    the columns that it returns, () where it names none. `channels` and `size` (one number an axis) are those of the
    images that it takes, None where any will do or nothing says. `notes` are sentences about what the files leave open,
    `differs` about what of its own preparation of images cannot be followed.
    `findings` says how many findings it returns, each with a sigmoid of its own (0: it is of classes); where the files
    name them, the names are among the settings.
    """

    settings: Settings = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    channels: int | None = None
    size: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    findings: int = 0
    differs: tuple[str, ...] = ()

    @property
    def stated(self) -> Settings:
        """The settings, the size of the images among them."""
        if self.size is None:
            return self.settings
        return {**self.settings, "preparation": {"size": list(self.size), **self.settings.get("preparation", {})}}


@dataclass(frozen=True)
class Format:
    """A way in which networks come. `extra` is what must be installed, as `pip install 'steadyread[extra]'`.

    `recognises` says whether a path is of this kind by its name and first bytes; `facts` reads what its files say,
    as data; `load` makes the network, which runs no code of the file's. Where it is found by an `address` instead,
    both are given that as text. With a `factory` it knows networks by their names too, `format:NAME`, which `facts` is
    given as text then; their weights come apart.
    """

    name: str
    title: str
    recognises: Callable[[Path], bool]
    facts: Callable[[Any], Facts]
    load: Callable[[Any], nn.Module]
    extra: str = ""
    order: float = LAST
    address: bool = False
    factory: Callable[[str], Callable[..., nn.Module]] | None = None

    def place(self, text: str) -> Any:
        """What `facts` and `load` are given: the path, or the address."""
        return text if self.address else Path(text).expanduser()

    def facts_of(self, source: Any) -> Facts:
        """What the files say.

        Raises:
            InputRefused: they cannot be read, would run code, or hold values of other kinds than they must.
        """
        with _values_refused(source):
            return self.facts(source)


def whole(sides: Sequence[Any] | None) -> tuple[int, ...] | None:
    """Extents of images, where there are some and all are numbers."""
    return tuple(sides) if sides and all(isinstance(side, int) for side in sides) else None


class FromFile(nn.Module):
    """A network that a file brought, with so many bytes `stored`, by which its memory is bounded. Its `digest` stands
    in its `repr`, and so in that of the records.

    Args:
        network: what answers images (n, c, *space).
        batch: the number of images that it takes at a time, where that is fixed: the last are filled up to it.
    """

    digest, stored = "", 0

    def __init__(self, network: Any, batch: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.batch = batch

    def forward(self, images: Tensor) -> Any:
        """What the network answers.

        Raises:
            InputRefused: it asks for more memory than any such network.
        """
        with bounded(images, self.stored):
            return self.answered(images) if self.batch is None else self._in_batches(images, self.batch)

    def _in_batches(self, images: Tensor, batch: int) -> Tensor:
        pieces = []
        for start in range(0, len(images), batch):
            piece = images[start:start + batch]
            missing = batch - len(piece)
            whole = torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])]) if missing else piece
            pieces.append(self.answered(whole)[:len(piece)])
        return torch.cat(pieces)

    def answered(self, images: Tensor) -> Any:
        """What the network answers to as many images as it takes."""
        return self.network(images)

    def extra_repr(self) -> str:
        """The digest."""
        return f"sha256={self.digest}"


def in_arrays(function: Callable[[Any], Any], whole: bool = False) -> Callable[[Tensor], Tensor]:
    """A function of float32 arrays as one of tensors, through which no gradient comes: a black box. It is given no more
    than some millions of values at a time, unless the `whole` batch must stay together."""
    def answered(images: Tensor) -> Tensor:
        given = np.ascontiguousarray(images.detach().cpu().numpy(), np.float32)
        most = len(given) if whole else max(1, _AT_A_TIME // max(1, math.prod(given.shape[1:])))
        rows = [function(given[start:start + most]) for start in range(0, len(given), most)]
        return torch.from_numpy(np.concatenate(rows)).to(images.device)

    return answered


def loaded(known: Format, source: str) -> nn.Module:
    """The network of a file, a folder or an address, in evaluation mode, with its digest.

    Raises:
        InputRefused: it cannot be read, or would run code.
    """
    place = known.place(source)
    with _values_refused(place):
        module = known.load(place)
    if isinstance(module, FromFile):
        module.digest, module.stored = digest_of(place), stored_of(place)
    return module.eval()


@contextmanager
def _values_refused(source: Any) -> Iterator[None]:
    """Turns what Python raises on text for a number, a list for a table and the like into a refusal."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
        raise InputRefused(f"{source}: what its configuration holds cannot be understood ({told(problem)}): damaged, "
                           "or written by hand?") from problem


def digest_of(path: Path | str) -> str:
    """SHA-256 over a file, or over the names and contents of a folder's files; over an address as it stands."""
    digest = hashlib.sha256()
    if isinstance(path, str):
        return hashlib.sha256(path.encode()).hexdigest()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() if path.is_dir() else b"")
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def stored_of(path: Path | str) -> int:
    """The bytes of a file, or of a folder's files; 0 of an address."""
    if isinstance(path, str):
        return 0
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def trained_on(mean: Sequence[float], deviation: Sequence[float], prepared: Settings, facts: Facts) -> Facts:
    """The facts of a classifier that was trained on pictures of 0 to 1, less `mean`, over `deviation`: in grey levels
    of 0 to 255, with how the pictures are `prepared` before."""
    scale = [255 * float(value) for value in (*mean, *deviation)]
    return replace(facts, settings={"model": {"bounds": [0.0, 255.0], "output": "logits", "normalise": scale},
                                    "preparation": prepared})


FORMATS: Registry[Format] = Registry("format of networks", "steadyread.models.formats")


def source_of(model: str) -> tuple[str, str] | None:
    """(format, path) of a network that is a file, a folder or `format:path`; None where it is a name of ours or a
    factory.

    Raises:
        UsageError: the format is there and the path is not, or nothing knows the file.
    """
    before, _, rest = model.partition(":")
    if rest.startswith("//"):
        known = next((known for known in FORMATS.values() if known.address and before.startswith(known.name)), None)
        return None if known is None else (known.name, model)
    if rest and before in FORMATS:
        if FORMATS[before].factory is not None and not Path(rest).expanduser().is_dir():
            return None
        if not Path(rest).expanduser().exists():
            raise UsageError(f"model.name: {rest} is not there{nearest(Path(rest))}")
        return before, rest
    refuse_absent_network(model)
    path = Path(model).expanduser()
    if not (path.exists() and (path.is_dir() or path.suffix)):
        return None
    for known in FORMATS.values():
        if known.recognises(path):
            return known.name, str(path)
    raise UsageError(f"model.name: {model} " + (
        f"is Python: name the function or class in it that makes the network, {model}:NAME" if path.suffix == ".py" else
        f"is a {'folder' if path.is_dir() else 'file'} in no known format; the known ones are "
        f"{', '.join(each.title for each in FORMATS.values())}. A state dict goes with its network: name it as "
        f"package.module:factory or file.py:factory, and give model.weights {model}"))


def placed(model: str, folder: Path) -> str:
    """A network's name where paths begin at `folder`: of a file or folder, `format:path` or `file.py:factory`."""
    before, colon, rest = model.partition(":")
    if before.endswith(".py"):
        return f"{folder / Path(before).expanduser()}{colon}{rest}"
    if colon:
        ours = before in FORMATS and not rest.startswith("//")
        return f"{before}:{folder / Path(rest).expanduser()}" if ours else model
    path = folder / Path(model).expanduser()
    return str(path) if path.exists() or path.suffix.lower() in NETWORKS else model


def library_of(model: str) -> tuple[Format, str] | None:
    """The format and the name of a network that is one of a library's, `timm:NAME`; None of another.

    Raises:
        UsageError: the name is an address or a path, from which the library would fetch or read one.
    """
    before, _, name = model.partition(":")
    known = FORMATS[before] if name and before in FORMATS else None
    if known is None or known.factory is None:
        return None
    if not name.replace(".", "").replace("-", "").isidentifier():
        raise UsageError(f"model.name: '{name[:80]}' is no name of a network of a library's: letters, digits, '_', '.'")
    return known, name


def table_of(path: Path) -> dict[str, Any]:
    """A JSON file of a table; {} where it is not there or none, so that another format may know it.

    Raises:
        InputRefused: it is larger than any.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > MOST_HEADER:
        raise InputRefused(f"{path} is larger than any such file ({path.stat().st_size:,} bytes)")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
