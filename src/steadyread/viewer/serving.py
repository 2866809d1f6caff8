"""The viewer's process: a port of this machine, its address in the first line, and a clean end at Ctrl-C."""

import getpass
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from steadyread.ending import printed
from steadyread.errors import InputRefused, UsageError
from steadyread.extras import library
from steadyread.files import HARDENED, JOBS, SETTINGS, is_folder, nearest
from steadyread.viewer.guard import HERE, Guard, token
from steadyread.viewer.marks import LONGEST_READER
from steadyread.words.numbers import counted

_GRACE = 1      # seconds for requests under way when it ends


@dataclass(frozen=True)
class Viewing:
    """How runs are shown: at which port (a free one if None), to which reader, in a browser that is opened or not, with
    ids or pseudonyms; `model` repeats the name of a network that is not built in, whose code is then trusted."""

    port: int | None = None
    reader: str = ""
    browser: bool = True
    show_ids: bool = False
    model: str | None = None


def serve(folders: Sequence[Path], how: Viewing) -> None:
    """Shows runs until it is interrupted, which is its ordinary end.

    Raises:
        InputRefused: no run there, or the extra is not installed.
        UsageError: the port is in use, or may not be had.
    """
    for folder in folders:
        _refuse_absent(folder)
    uvicorn = library("uvicorn", "viewer", "the viewer is served with")
    library("starlette.applications", "viewer", "the viewer is served with")
    with _bound(how.port) as listener:
        port, secret = listener.getsockname()[1], token()
        printed(f"Open http://{HERE[0]}:{port}/{secret}/ (on this machine alone; Ctrl-C ends it)")
        from steadyread.viewer.app import application
        from steadyread.viewer.shown import shown_of

        shown = shown_of(folders, how.reader or _who(), how.show_ids, how.model)
        guard = Guard(application(shown), secret)
        if how.browser and _has_screen():
            threading.Thread(target=_open, args=(f"http://{HERE[0]}:{port}/{guard.once}",), daemon=True).start()
        server = uvicorn.Server(uvicorn.Config(
            guard, log_level="error", access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=_GRACE))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            shown.close()


def export(folders: Sequence[Path], path: Path, show_ids: bool = False) -> str:
    """Writes the marks of all readers of some runs as CSV; returns what there is to say of it.

    Raises:
        InputRefused: no run there, or no marks in any.
    """
    from steadyread import records
    from steadyread.viewer.shown import shown_of

    for folder in folders:
        _refuse_absent(folder)
    shown = shown_of(folders, "", show_ids)
    try:
        count = sum(len(marks.last()) for marks in {each.run: each.marks for each in shown.networks}.values())
        records.write_text(path, shown.exported())
    finally:
        shown.close()
    return f"{path}: {counted(count, 'mark')}"


def _refuse_absent(folder: Path) -> None:
    """What is no run, said before anything heavy is imported.

    Raises:
        InputRefused: as said.
    """
    if not is_folder(folder):
        raise InputRefused(f"no such folder: {folder}{nearest(folder)}; give that of a run")
    if not any((folder / name).exists() for name in (SETTINGS, "plan.json", JOBS, HARDENED)):
        raise InputRefused(f"no run in {folder}: give the folder that a run of steadyread has written, such as "
                           "runs/demo")


def _bound(port: int | None) -> socket.socket:
    """A socket at a port of this machine alone.

    Raises:
        UsageError: it cannot be had.
    """
    listener = socket.socket()
    if os.name == "posix":      # elsewhere this lets two servers share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HERE[0], port or 0))
    except OSError as problem:
        listener.close()
        raise UsageError(f"port {port} cannot be had ({problem.strerror}): give another --port, or leave it out for "
                         "a free one") from problem
    listener.listen(128)
    return listener


def _who() -> str:
    """The name under which somebody works here."""
    try:
        return getpass.getuser()[:LONGEST_READER]
    except (OSError, KeyError, ImportError):
        return "reader"


def _has_screen() -> bool:
    """Whether a browser would have somewhere to show itself: one in a terminal would take that over."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(address: str) -> None:
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
