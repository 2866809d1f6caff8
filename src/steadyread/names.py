"""Names that strangers gave - of files, classes, patients - as text that any output takes."""

import re
import unicodedata

# Control characters, the ones that reverse or hide text, and halves of characters: what a file name that is no
# UTF-8 is held as (PEP 383). A terminal obeys the first, and no file in UTF-8 can hold the last.
_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_SUSPECT = re.compile(r"[^ -~]")
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_LONGEST_NAME = 200   # bytes; file systems take 255
_JOINERS = "\u200c\u200d"   # part of words in Persian and in Indian scripts


def shown(name: str, kept: str = "") -> str:
    r"""The name with what cannot be shown written as an escape: the byte 0xE9 of a Latin-1 name as ``\xe9``.

    Everything else, and what is in `kept`, stays as it is, so the function may be applied twice. It is for showing
    and for ids; a file is opened by its own name.
    """
    return _SUSPECT.sub(lambda mark: _escape(mark[0]) if _unshown(mark[0]) and mark[0] not in kept else mark[0],
                        name)


def one_line(problem: object) -> str:
    """A message on one line that can be printed anywhere."""
    return shown(" ".join(str(problem).split()))


def in_json(text: str) -> str:
    """JSON with the same characters escaped within its strings in JSON's own way: it reads back as it was."""
    return _SUSPECT.sub(lambda mark: _json_escape(mark[0]) if _unshown(mark[0]) and mark[0] != "\n" else mark[0],
                        text)


def cell(text: str) -> str:
    """A text cell of a CSV. What a spreadsheet would compute begins with an apostrophe, which it hides."""
    safe = shown(text)
    return f"'{safe}" if text.startswith(_FORMULA) else safe


def _unshown(mark: str) -> bool:
    return unicodedata.category(mark) in _UNSHOWN and mark not in _JOINERS


def _json_escape(mark: str) -> str:
    pair = mark.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pair[at:at + 4]}" for at in range(0, len(pair), 4))


def folded(name: str) -> str:
    """The letters and digits of a name, by which it is known again in another spelling."""
    return "".join(mark for mark in name.casefold() if mark.isalnum())


def folder_name(name: str) -> str:
    """The name as that of a folder or a study: of letters, digits, spaces, dots and dashes, "_" for the rest.

    It neither begins with a dot nor is longer than what a file system takes, with room for what is put after it.
    """
    plain = re.sub(r"[^\w. -]", "_", shown(name))
    plain = re.sub(r"^[. ]+", lambda dots: "_" * len(dots[0]), plain)
    while len(plain.encode()) > _LONGEST_NAME:
        plain = plain[:-1]
    return plain or "_"


def _escape(mark: str) -> str:
    code = ord(mark)
    if 0xDC80 <= code <= 0xDCFF:   # a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
