"""A network that answers at an address: a black box, asked over HTTP. `--model http://HOST:PORT/PATH`.

Images go there as one `POST` of an `.npy` file, float32 of the shape (n, channels, *space), after `normalise`. The
answer is an `.npy` file or JSON (`{"outputs": [[...], ...]}`, or the list alone) with one row an image. A server that
answers 415 to `.npy` is sent JSON, `{"images": [...]}`. The environment's STEADYREAD_AUTHORIZATION, where it is set,
goes along as the header Authorization. Sizes and times are bounded, and no redirection is followed.
"""

import io
import json
import math
import os
import time
from http.client import HTTPException
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from steadyread.errors import InputRefused, Partial, SteadyreadError
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, in_arrays

Arrays = npt.NDArray[Any]
_NPY, _JSON = "application/x-npy", "application/json"
_SECONDS = 60.0            # to wait for an answer to begin or go on
_WHOLE = 300.0             # seconds for all of it
_PAUSES = (1.0, 4.0)       # seconds before it is asked again
_BYTES = 2**24             # of an answer
_BUSY = (429, 502, 503, 504)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class _Stay(request.HTTPRedirectHandler):
    """No redirection is followed: the images go where the user says, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """None: it is an error."""


class Endpoint:
    """What answers at an address. `json` after it has refused `.npy`; `known` once it has answered."""

    def __init__(self, address: str) -> None:
        self.address, self.json, self.known = address, False, False
        near = urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
        self.opener = request.build_opener(_Stay, *([request.ProxyHandler({})] if near else []))

    def __call__(self, images: Arrays) -> Arrays:
        """Its answers to images (n, c, *space).

        Raises:
            InputRefused: it does not answer, or with something else than a row an image.
            Partial: it has answered before, and does not any longer.
        """
        try:
            kind, content = self._asked(images)
            rows = _of_npy(content) if content.startswith(np.lib.format.MAGIC_PREFIX) else _of_json(content)
        except SteadyreadError:
            raise
        except (ValueError, RecursionError, KeyError, TypeError) as problem:
            raise InputRefused(f"{self.address} answered with what is neither .npy nor JSON of outputs ({kind[:60]}): "
                               f"{told(problem)}") from problem
        if rows.ndim not in (1, 2) or len(rows) != len(images):
            raise InputRefused(f"{self.address} answered with the shape {rows.shape}; expected a row for each of "
                               f"{len(images)} images")
        self.known = True
        return rows.astype(np.float32)

    def _asked(self, images: Arrays) -> tuple[str, bytes]:
        """The kind and the content of the answer."""
        for pause in (*_PAUSES, None):
            try:
                return self._sent(images)
            except HTTPError as problem:
                with problem:
                    if problem.code == 415 and not self.json:
                        self.json = True
                        return self._asked(images)
                    if problem.code not in _BUSY or pause is None:
                        raise self._failed(f"answered {problem.code} {problem.reason}: "
                                           + _line(problem.read(400))) from problem
            except (URLError, OSError, HTTPException) as problem:
                if pause is None or not self.known:
                    raise self._failed(told(problem)) from problem
            time.sleep(pause or 0)
        raise AssertionError("the last try returns or raises")

    def _sent(self, images: Arrays) -> tuple[str, bytes]:
        headers = {"Content-Type": _JSON if self.json else _NPY, "Accept": f"{_NPY}, {_JSON}"}
        if "STEADYREAD_AUTHORIZATION" in os.environ:
            headers["Authorization"] = os.environ["STEADYREAD_AUTHORIZATION"]
        body = json.dumps({"images": images.tolist()}).encode() if self.json else _as_npy(images)
        with self.opener.open(request.Request(self.address, body, headers), timeout=_SECONDS) as answer:
            content, until = bytearray(), time.monotonic() + _WHOLE
            while piece := answer.read1(2**16):
                content += piece
                if len(content) > _BYTES:
                    raise InputRefused(f"{self.address} answered with more than {_BYTES >> 20} MB")
                if time.monotonic() > until:
                    raise TimeoutError(f"no end of its answer within {_WHOLE:g} s")
            return str(answer.headers.get("Content-Type", "")), bytes(content)

    def _failed(self, why: str) -> SteadyreadError:
        if self.known:
            return Partial(f"{self.address} answers no longer ({why}). What was finished is kept: run the same command "
                           "again once it does")
        return InputRefused(f"{self.address} does not answer ({why}): is the network served there, and does it take "
                            f"{_NPY} or {_JSON}?")


def _line(content: bytes) -> str:
    return " ".join(content.decode("utf-8", "replace").split())[:200] or "no text"


def _as_npy(images: Arrays) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(images, np.float32), allow_pickle=False)
    return file.getvalue()


def _of_npy(content: bytes) -> Arrays:
    """The numbers of an `.npy` file, whose header is not believed beyond what is there."""
    file = io.BytesIO(content)
    shape, by_columns, kind = _HEADERS[np.lib.format.read_magic(file)](file)
    if kind.kind not in "fiub" or math.prod(shape) * kind.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of {kind} and the shape {shape} in {len(content) - file.tell()} bytes")
    return np.frombuffer(content, kind, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def _of_json(content: bytes) -> Arrays:
    found = json.loads(content)
    return np.asarray(found["outputs"] if isinstance(found, dict) else found, np.float32)


def _checked(address: str) -> str:
    """The address.

    Raises:
        InputRefused: it is none, or has a password in it.
    """
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or any(not mark.isprintable() or mark.isspace() for mark in address):
        raise InputRefused(f"{address} is no address: expected http://HOST:PORT/PATH")
    if parts.username is not None or parts.password is not None:
        raise InputRefused(f"http://...@{parts.hostname}: a name and a password in the address would stand in the "
                           "records: set STEADYREAD_AUTHORIZATION in the environment, such as 'Bearer TOKEN'")
    return address


def _facts(address: str) -> Facts:
    """Nothing but that little is known.

    Raises:
        InputRefused: no address.
    """
    _checked(address)
    return Facts(notes=("its head, its scale and its size are not known", "the digest is that of the address: what "
                        "answers there may change"))


def _load(address: str) -> FromFile:
    return FromFile(in_arrays(Endpoint(_checked(address))))


FORMATS.add(Format("http", "a network that answers at an address (http://)", lambda _: False, _facts, _load, order=60,
                   address=True))
