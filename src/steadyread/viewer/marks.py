"""What readers say of cases: agree, disagree or refer, and a note, in one SQLite file beside the run.

Each mark is a row of its own and none is ever changed: the last one of a reader on a case counts. A row is on disk
before its answer is given, so that a kill between two marks loses neither.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unicodedata import category

from steadyread.errors import InputRefused, UsageError, unwritable
from steadyread.files import READERS_MARKS, regular_file
from steadyread.limits import MOST_UNPACKED
from steadyread.names import shown

WORDS = ("agree", "disagree", "refer")
LONGEST_NOTE, LONGEST_READER = 2000, 60     # letters
_TYPED = "\n\r\t"         # of the control characters, those that a note may hold
_TABLE = ("CREATE TABLE marks (number INTEGER PRIMARY KEY, at TEXT NOT NULL, reader TEXT NOT NULL, "
          "network TEXT NOT NULL, case_id TEXT NOT NULL, word TEXT NOT NULL, note TEXT NOT NULL)")
_PATIENCE = 5.0         # seconds that another writer is waited for


@dataclass(frozen=True)
class Mark:
    """What a reader says of a case of a network: one of `WORDS` or "", and a note; `at` is the time in UTC."""

    case_id: str
    network: str
    reader: str
    word: str = ""
    note: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        if self.word not in ("", *WORDS):
            raise UsageError(f"a mark is {', '.join(WORDS)} or none; got '{shown(self.word)[:40]}'")
        if len(self.note) > LONGEST_NOTE:
            raise UsageError(f"a note has at most {LONGEST_NOTE:,} letters; got {len(self.note):,}")
        if not 0 < len(self.reader.strip()) <= LONGEST_READER:
            raise UsageError(f"a reader's name has 1 to {LONGEST_READER} letters; got {len(self.reader.strip())}")


class Marks:
    """The marks of a run. Nothing is written before the first one; several viewers may have the same file open."""

    def __init__(self, folder: Path) -> None:
        """Of the run in a folder.

        Raises:
            InputRefused: what stands there is no file of marks.
        """
        self.path = folder / READERS_MARKS
        self._lock = threading.Lock()
        self._held: sqlite3.Connection | None = None
        if self.path.exists():
            if regular_file(self.path).stat().st_size > MOST_UNPACKED:
                raise InputRefused(f"{self.path} is larger than any file of marks: move it away")
            with self._file():
                pass

    @property
    def writable(self) -> bool:
        """Whether a mark can be kept here."""
        return os.access(self.path if self.path.exists() else self.path.parent, os.W_OK)

    def put(self, mark: Mark) -> Mark:
        """Keeps a mark; it is on disk when this returns, with its time.

        Raises:
            UsageError: its note or the reader's name holds what is no text.
            InputRefused, Partial: the folder cannot be written, or is full.
        """
        _refuse_untyped("a note", mark.note, _TYPED)
        _refuse_untyped("a reader's name", mark.reader)
        timed = Mark(mark.case_id, mark.network, mark.reader.strip(), mark.word, mark.note,
                     datetime.now(UTC).isoformat(timespec="milliseconds"))
        with self._file() as file:
            file.execute("INSERT INTO marks (at, reader, network, case_id, word, note) VALUES (?, ?, ?, ?, ?, ?)",
                         (timed.at, timed.reader, timed.network, timed.case_id, timed.word, timed.note))
        return timed

    def last(self, reader: str | None = None) -> list[Mark]:
        """The mark that counts of each reader on each case of each network, in the order in which they were made;
        those that were taken back are left out.

        Raises:
            InputRefused: the file is damaged.
        """
        if not self.path.exists():
            return []
        with self._file() as file:
            rows = file.execute("SELECT case_id, network, reader, word, note, at FROM marks WHERE number IN (SELECT "
                                "max(number) FROM marks GROUP BY reader, network, case_id) ORDER BY number").fetchall()
        marks = [Mark(*map(str, row)) for row in rows]
        return [mark for mark in marks if (mark.word or mark.note) and reader in (None, mark.reader)]

    def of(self, reader: str, network: str) -> Mapping[str, Mark]:
        """The marks of one reader on the cases of one network, by case."""
        return {mark.case_id: mark for mark in self.last(reader) if mark.network == network}

    def close(self) -> None:
        """Lets go of the file; what SQLite keeps beside it is folded in."""
        with self._lock:
            if self._held is not None:
                self._held.close()
            self._held = None

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._held = self._held or _opened(self.path)
                yield self._held
            except sqlite3.OperationalError as problem:
                raise unwritable(self.path, _as_system(problem)) from problem
            except sqlite3.DatabaseError as problem:
                raise _no_marks(self.path, str(problem)) from problem


def _refuse_untyped(what: str, text: str, typed: str = "") -> None:
    """Control characters but for those that are `typed`, and halves of a pair, which are no text.

    Raises:
        UsageError: there is one.
    """
    strange = next((letter for letter in text if category(letter) in ("Cc", "Cs") and letter not in typed), None)
    if strange is not None:
        raise UsageError(f"{what} is text that can be typed{', with tabs and line ends' if typed else ''}; got the "
                         f"control character U+{ord(strange):04X}: take it out")


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that writes each statement by itself.

    Raises:
        InputRefused: the file holds anything but our own table: views and triggers are code.
    """
    file = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        file.execute("PRAGMA trusted_schema = OFF")
        held = file.execute("SELECT type, sql FROM sqlite_master").fetchall()
        if [(kind, " ".join((sql or "").split())) for kind, sql in held] not in ([], [("table", _TABLE)]):
            raise _no_marks(path, "it holds other tables")
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        file.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    except BaseException:
        file.close()
        raise
    return file


def _no_marks(path: Path, why: str) -> InputRefused:
    return InputRefused(f"{path} is no file of marks ({why}): move it away, and the viewer begins a new one")


def _as_system(problem: sqlite3.OperationalError) -> OSError:
    """What SQLite says, as an error of the system, by which a full disk is known."""
    full = problem.sqlite_errorcode == sqlite3.SQLITE_FULL
    return OSError(errno.ENOSPC if full else errno.EACCES, str(problem))
