"""Names that strangers gave - of files, classes, patients - as text that any output takes."""

import re
import unicodedata

# Control characters, the ones that reverse or hide text, and halves of characters: what a file name that is no
# UTF-8 is held as (PEP 383). A terminal obeys the first, and no file in UTF-8 can hold the last.
_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"   # part of words in Persian and in Indian scripts


def shown(name: str) -> str:
    r"""The name with what cannot be shown written as an escape: the byte 0xE9 of a Latin-1 name as ``\xe9``.

    Everything else stays as it is, so the function may be applied twice. It is for showing and for ids; a file is
    opened by its own name.
    """
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escape(mark) if unicodedata.category(mark) in _UNSHOWN and mark not in _JOINERS else mark
                   for mark in name)


def folder_name(name: str) -> str:
    """The name as that of a folder or a study: of letters, digits, spaces, dots and dashes, "_" for the rest."""
    return re.sub(r"[^\w. -]", "_", shown(name)) or "_"


def _escape(mark: str) -> str:
    code = ord(mark)
    if 0xDC80 <= code <= 0xDCFF:   # a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
