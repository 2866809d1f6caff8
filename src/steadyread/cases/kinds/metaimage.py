"""MetaImage volumes and images (`.mha`, and `.mhd` beside its `.raw` or `.zraw`), as ITK and its users write them
(itk.org/Wiki/ITK/MetaIO/Documentation)."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.kind import Asked, Images, kind
from steadyread.cases.stored import refuse_large
from steadyread.cases.voxel_files import Grid, Lines, Placed, beside, images_of, placed, values
from steadyread.errors import InputRefused
from steadyread.files import regular_file

_MOST_HEADER = 2**16
_DATA = "elementdatafile"      # the last field: what follows its line are values, or nothing
_TYPES = {"met_char": "i1", "met_uchar": "u1", "met_short": "i2", "met_ushort": "u2", "met_int": "i4", "met_uint": "u4",
          "met_long": "i4", "met_ulong": "u4", "met_long_long": "i8", "met_ulong_long": "u8", "met_float": "f4",
          "met_double": "f8"}
_TRUE = ("true", "t", "1")
_TO_RIGHT_FRONT_HEAD = np.array([[-1.0], [-1.0], [1.0]])     # from ITK's world towards left, back and head


@dataclass(frozen=True)
class _Header:
    """A file's fields by their names in small letters, and where its values begin."""

    file: Path
    fields: dict[str, str]
    begins: int

    def numbers(self, *names: str) -> tuple[float, ...]:
        """The numbers of the first of these fields that is there; () where none is."""
        text = next((self.fields[name] for name in names if name in self.fields), "")
        return tuple(float(word) for word in text.split())

    def whole(self, name: str, usual: int) -> int:
        """The whole number of a field."""
        return int(self.fields.get(name, usual))

    def true(self, *names: str, usual: str = "false") -> bool:
        """Whether the first of these fields that is there is true."""
        return next((self.fields[name] for name in names if name in self.fields), usual).lower() in _TRUE

    @property
    def sizes(self) -> tuple[int, ...]:
        """Channels where there are several, then voxels along each axis, the one that runs fastest first."""
        channels, extents = self.whole("elementnumberofchannels", 1), self.fields["dimsize"].split()
        return (*((channels,) if channels != 1 else ()), *(int(word) for word in extents))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a value."""
        high_first = self.true("binarydatabyteordermsb", "elementbyteordermsb")
        return np.dtype((">" if high_first else "<") + _TYPES[self.fields["elementtype"].lower()])


@kind("metaimage", title="MetaImage volumes", endings=(".mha", ".mhd"), order=45)
def images(files: Sequence[Path], asked: Asked) -> Images:
    """MetaImage volumes, (channels, *space) with the axes that `orientation` states; an axis of one voxel is none.
    As in ITK the axes run towards the left, the back and the head where the file states no directions.

    Raises:
        InputRefused: not one can be read.
    """
    return images_of(files, asked, _read_header, _placed, _values)


def _read_header(file: Path) -> _Header:
    with regular_file(file).open("rb") as stream:
        start = stream.read(_MOST_HEADER)
    fields: dict[str, str] = {}
    at = 0
    while _DATA not in fields:
        end = start.find(b"\n", at)
        line = start[at:end if end >= 0 else len(start)].decode("latin-1")
        name, equals, value = line.partition("=")
        if line.strip() and not equals:
            raise InputRefused(f"{file}: not a MetaImage file (expected lines of NAME = VALUE)")
        fields[name.strip().lower()] = value.strip()
        at = end + 1
        if end < 0:
            break
    if _DATA not in fields:
        raise InputRefused(f"{file}: its MetaImage header has no ElementDataFile within {_MOST_HEADER} bytes")
    header = _Header(file, fields, at)
    _refuse_other(header)
    return header


def _refuse_other(header: _Header) -> None:
    """Refuses what is no array of plain numbers, or too large, by the header alone."""
    fields, file = header.fields, header.file
    lacking = next((name for name in ("NDims", "DimSize", "ElementType") if name.lower() not in fields), None)
    if lacking:
        raise InputRefused(f"{file}: its MetaImage header states no {lacking}")
    if fields.get("objecttype", "Image").lower() != "image":
        raise InputRefused(f"{file}: a MetaImage file of the ObjectType '{fields['objecttype']}'; expected Image")
    if fields["elementtype"].lower() not in _TYPES:
        raise InputRefused(f"{file}: MetaImage values of the type '{fields['elementtype']}'; expected plain numbers, "
                           "such as MET_SHORT")
    if not header.true("binarydata", usual="true"):
        raise InputRefused(f"{file}: its values are written out as text (BinaryData = False); store it as binary data")
    if header.numbers("elementtointensityfunctionslope") not in ((), (1.0,)) or \
            header.numbers("elementtointensityfunctionoffset") not in ((), (0.0,)):
        raise InputRefused(f"{file}: it states a scaling (ElementToIntensityFunctionSlope and Offset), which ITK "
                           "passes over and others apply: scale the values and store it anew without")
    axes = len(fields["dimsize"].split())
    if axes != header.whole("ndims", 0) or axes not in (2, 3) or min(header.sizes) < 1:
        raise InputRefused(f"{file}: a MetaImage file of {fields['ndims']} axes and the sizes {fields['dimsize']}; "
                           "expected two or three axes of space")
    refuse_large(file, header.sizes, header.dtype)


def _placed(header: _Header, axes: str) -> Placed:
    """How the array lies, by its directions and spacing. Where only a size of voxels is stated, ITK takes that."""
    channels = (0,) if header.whole("elementnumberofchannels", 1) != 1 else ()
    count = len(header.sizes) - len(channels)
    spacing = header.numbers("elementspacing", "elementsize")
    matrix = np.array(header.numbers("transformmatrix", "rotation", "orientation") or np.eye(count).ravel(), np.float64)
    if len(spacing) not in (0, count) or matrix.size != count**2:
        raise InputRefused(f"{header.file}: its ElementSpacing or TransformMatrix has other numbers than {count} axes "
                           "need; store it anew")
    vectors = matrix.reshape(count, count).T      # a line of the file is the direction of an axis
    lengths = np.linalg.norm(vectors, axis=0)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise InputRefused(f"{header.file}: its TransformMatrix is no matrix of directions; store it anew")
    spread = ((0.0,) * len(channels) + spacing) if spacing else ()
    directions = vectors * _TO_RIGHT_FRONT_HEAD if count == 3 else None
    return placed(Grid(header.sizes, channels, directions, spread), axes, f"{header.file}: MetaImage")


def _values(header: _Header) -> NDArray[Any]:
    name, skip = header.fields[_DATA], header.whole("headersize", 0)
    local = name.upper() == "LOCAL"      # whose header ends where it ends, whatever size it states
    stored = (Lines(header.file, header.begins, 0, min(0, skip)) if local
              else Lines(beside(header.file, name), 0, 0, skip))
    decoder = zlib.decompressobj(47) if header.true("compresseddata") else None      # of zlib or gzip, as in ITK
    return values(header.file, stored, math.prod(header.sizes), header.dtype, decoder)
