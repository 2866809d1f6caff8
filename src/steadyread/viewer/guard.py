"""Who may ask the viewer: this machine alone, by an address that nobody can guess, from a page of its own."""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HERE = ("127.0.0.1", "localhost", "[::1]")     # names of this machine; any other in Host is a rebound one's
_PATIENCE = 30.0      # seconds in which a browser that was started comes
MOST_BODY = 2**16                               # bytes of a question
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; "
           "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
            "cache-control": "no-store", "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin"}
_RAW = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


def token() -> str:
    """A new secret, of 128 bits."""
    return secrets.token_urlsafe(16)


@dataclass
class Guard:
    """An application behind an address that begins with a secret; whatever comes otherwise is answered with 403.

    `once` is another secret, which leads to the address a single time: it is what a browser is started with, whose
    arguments every user of the machine may read; it is good for half a minute.
    """

    app: App
    secret: str
    once: str = field(default_factory=token)
    until: float = field(default_factory=lambda: monotonic() + _PATIENCE)     # which `once` leads anywhere

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] != "http":
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = [*scope["path"].split("/"), ""][1]
        if not _from_here(headers.get(b"host", "")):
            await _answer(send, 403, "Refused: the viewer answers 127.0.0.1 and localhost alone.")
        elif self.once and monotonic() < self.until and secrets.compare_digest(given.encode(), self.once.encode()):
            self.once = ""
            await _answer(send, 303, "", [(b"location", f"/{self.secret}/".encode())])
        elif not secrets.compare_digest(given.encode(), self.secret.encode()):
            await _answer(send, 403, "Refused: open the whole address that `steadyread view` printed. It holds a "
                          "secret, another one each time the viewer is started.")
        elif _unfit(scope["method"], headers):
            await _answer(send, 415, "Refused: questions are JSON, of a page of this address, and short.")
        else:
            await self.app({**scope, "root_path": f"/{self.secret}"}, receive, _guarded(send))


def _from_here(host: str) -> bool:
    """Whether a request was sent to a name of this machine, at whatever port it is forwarded from."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower() in HERE


def _unfit(method: str, headers: dict[bytes, str]) -> bool:
    if headers.get(b"sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    if method in ("GET", "HEAD"):
        return False
    length = headers.get(b"content-length", "")
    return (headers.get(b"content-type", "").split(";")[0] != "application/json" or not length.isdecimal()
            or int(length) > MOST_BODY)


def _guarded(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_RAW]
        await send(message)

    return sent


async def _answer(send: Send, status: int, text: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    content = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(content)).encode())]
    await _guarded(send)({"type": "http.response.start", "status": status, "headers": [*headers, *(more or [])]})
    await send({"type": "http.response.body", "body": content})
