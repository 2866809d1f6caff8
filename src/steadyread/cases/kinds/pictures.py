"""Pictures: PNG, JPEG, TIFF and others that Pillow reads, of 8 or 16 bits or of real numbers."""

from collections.abc import Sequence
from pathlib import Path

from steadyread.cases.kind import HU, Asked, Images, Known, in_unit, kind
from steadyread.cases.pictures import SUFFIXES, look_of, picture_shape, read_picture
from steadyread.errors import InputRefused


@kind("pictures", title="pictures", endings=SUFFIXES, order=10)
def images(files: Sequence[Path], asked: Asked) -> Images:
    """Pictures with the values that they store, in one depth; see `cases.pictures`.

    Raises:
        InputRefused: not one can be read, or 8 bits are said to hold HU.
    """
    look, how = look_of(files, asked.channels)
    if asked.unit == HU.unit and look.bits == 8:
        raise InputRefused(f"{files[0].parent}: pictures of 8 bits hold no HU but what a window left of them: leave "
                           "data.options.unit out, sizes are then in grey levels")

    def known(file: Path, spaced: bool) -> Known:
        return Known((look.channels, *picture_shape(file)) if spaced else None)

    return Images(in_unit(look.bounds, asked.unit), lambda file: read_picture(file, look), known, (how,))
