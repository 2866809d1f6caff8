"""How a command ends: an exit code, and what went wrong on one line of stderr."""

import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from steadyread.errors import (
    FULL,
    InputRefused,
    Partial,
    PipeClosed,
    PlanDiffers,
    SteadyreadError,
    Unforeseen,
    UsageError,
    unwritable,
)
from steadyread.names import one_line
from steadyread.terminal import screen_of

INTERRUPTED = 130
_LONGEST = 300   # letters of a message that is not ours
_OURS = str(Path(__file__).parent)


@dataclass
class Debugging:
    """Whether `--debug` was given: typer's callback says so, and the end of the command reads it."""

    on: bool = False


def exit_code_of(command: Callable[[Debugging], Any], words: Callable[[str], str] = str) -> int:
    """Runs a command to its end; whatever it raises becomes a code and a line, put in the command's own `words`."""
    debugging = Debugging()
    _show_whatever_comes()
    try:
        code = command(debugging)
        _flush()
    except BaseException as problem:
        return _said(problem, debugging, words)
    return _interrupted() if code == INTERRUPTED else int(code or 0)   # typer turns Ctrl-C into that code


def printed(text: str) -> None:
    """Text on stdout, now.

    Raises:
        Partial: what stdout leads to is full.
        PipeClosed: nobody reads it any more.
    """
    try:
        print(text, flush=True)
    except OSError as problem:
        _let_go_of_stdout()
        raise _unprinted(problem) from problem


def _flush() -> None:
    try:
        if sys.stdout is not None:   # a closed stdout is none
            sys.stdout.flush()
    except OSError as problem:
        _let_go_of_stdout()
        raise _unprinted(problem) from problem


def _unprinted(problem: OSError) -> SteadyreadError:
    if isinstance(problem, BrokenPipeError):
        return PipeClosed("stdout was closed before everything was printed; files that were written are whole")
    return Partial(f"stdout cannot be written: {problem.strerror or problem}. Files that were written are whole; "
                   "make room, or write elsewhere, and run the same command again")


def _let_go_of_stdout() -> None:
    """What is still in its buffer cannot be written: let the interpreter not stumble over that at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _show_whatever_comes() -> None:
    """A file name that is not UTF-8, or a terminal that knows only ASCII: shown by its escape, never a failure."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _said(problem: BaseException, debugging: Debugging, words: Callable[[str], str]) -> int:
    if isinstance(problem, KeyboardInterrupt | typer.Abort):
        return _interrupted()
    if hasattr(problem, "format_message"):   # typer's own, about flags
        of = getattr(problem, "ctx", None)
        if of is not None and type(problem).__name__ == "NoArgsIsHelpError":
            _complain(of.get_help(), whole=True)
        else:
            _complain(f"{problem.format_message()} (see {of.command_path if of else 'steadyread'} --help)")
        return int(getattr(problem, "exit_code", UsageError.exit_code))
    known = understood(problem)
    if debugging.on:
        with suppress(OSError):
            traceback.print_exception(problem)
    _complain(known if isinstance(known, PlanDiffers) else words(str(known)))   # which speaks of stored settings
    return known.exit_code


def understood(problem: BaseException) -> SteadyreadError:
    """Any exception as one of ours: those of the file system by what they say, the rest as unforeseen."""
    if isinstance(problem, SteadyreadError):
        return problem
    if isinstance(problem, SystemExit) and isinstance(problem.__context__, BrokenPipeError):
        _let_go_of_stdout()      # click ends so with 1, the code of a missed gate
        return _unprinted(problem.__context__)
    if isinstance(problem, MemoryError):
        return Partial(f"memory ran out{_place_of(problem)}. What was finished is kept: free some, or take smaller "
                       "or fewer images, and run the same command again")
    if isinstance(problem, OSError) and (problem.filename is not None or problem.errno in FULL):
        return _of_system(problem)
    return Unforeseen(f"unforeseen {type(problem).__name__}: {_short(problem)}{_place_of(problem)}. What was "
                      "finished is kept; `steadyread --debug ...` shows the whole traceback")


def _of_system(problem: OSError) -> SteadyreadError:
    name = "anything" if problem.filename is None else os.fsdecode(problem.filename)
    if problem.errno in FULL:
        return unwritable(name, problem)
    return InputRefused(f"cannot read or write {name}: {problem.strerror or type(problem).__name__}")


def _short(problem: BaseException) -> str:
    text = one_line(problem) or "no message"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _place_of(problem: BaseException) -> str:
    """Where in our code, and what was at work there as far as notes on the exception say."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename.startswith(_OURS)]
    where = [f"{Path(frames[-1].filename).name} line {frames[-1].lineno}"] if frames else []
    notes = [*getattr(problem, "__notes__", ()), *where]
    return f" ({'; '.join(notes)})" if notes else ""


def _interrupted() -> int:
    _complain("interrupted; what was finished is kept: run the same command again to continue")
    return INTERRUPTED


def _complain(message: object, whole: bool = False) -> None:
    """On stderr: a message as one line, wrapped on a terminal, or a `whole` text as it is."""
    text = str(message) if whole else "\n".join(screen_of(sys.stderr).wrapped(f"steadyread: {one_line(message)}"))
    with suppress(OSError):   # where stderr cannot be written either, the code alone must do
        print(text, file=sys.stderr, flush=True)
