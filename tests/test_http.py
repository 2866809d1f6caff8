"""A network behind an address: asked over HTTP, within bounds, and refused in one line where it does not answer."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fabricate_pictures import Call, pictures
from steadyread import Classifier, smallest_flip
from steadyread.attacks.smallest_flip import Effort
from steadyread.errors import InputRefused, Partial
from steadyread.models.formats import http
from steadyread.networks import inspected, load_classifier

SIDE = 12


@pytest.fixture(scope="module")
def net() -> nn.Module:
    made = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2)).eval()
    weight = torch.full((SIDE, SIDE), -0.02)
    weight[4:-4, 4:-4] = 0.16
    with torch.no_grad():
        made[1].weight.copy_(torch.stack([weight.flatten(), -weight.flatten()]))
        made[1].bias.zero_()
    return made


class Server(HTTPServer):
    """A network served; `way` is what it does with a request."""

    way = "npy"
    net: nn.Module
    asked = 0
    credentials: str | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/read"


class Reads(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.asked += 1
        self.server.credentials = self.headers.get("Authorization")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, way = self.headers["Content-Type"], self.server.way
        if way == "json" and "npy" in kind:
            return self.answer(415, b"")
        if way in ("404", "503", "302"):
            return self.answer(int(way), b"no such\nnetwork", Location="http://127.0.0.1:9/other")
        images = torch.tensor(json.loads(body)["images"]) if "json" in kind else torch.from_numpy(
            np.load(io.BytesIO(body)))
        with torch.no_grad():
            rows = self.server.net(images.float()).numpy()
        if way == "npy":
            file = io.BytesIO()
            np.save(file, rows)
            return self.answer(200, file.getvalue())
        answers = {"short": rows[:0].tolist(), "json": {"outputs": rows.tolist()}, "list": rows.tolist(),
                   "words": {"label": "cat"}, "ragged": [[1], [1, 2]]}
        claim = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 2)}"
        return self.answer(200, {"huge": b"0" * (http._BYTES + 9), "claim": claim.ljust(127) + b"\n"}.get(
            way) or json.dumps(answers[way]).encode())

    def answer(self, code: int, content: bytes, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "_PAUSES", (0.0, 0.0))
    with Server(("127.0.0.1", 0), Reads) as server:
        server.net = net
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def images_of(count: int) -> torch.Tensor:
    return torch.rand((count, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("way", ["npy", "json", "list"])
def test_the_answers_are_those_of_the_network_however_they_come(way: str, served: Server, net: nn.Module,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    served.way = way
    monkeypatch.setattr("steadyread.models.format._AT_A_TIME", SIDE * SIDE * 2)      # two images at a time
    monkeypatch.setenv("STEADYREAD_AUTHORIZATION", "Bearer abc")
    brought = load_classifier(served.address, bounds=(0, 1), output="logits")
    assert torch.allclose(brought.logits(images_of(5)), net(images_of(5)), atol=1e-5)
    assert served.credentials == "Bearer abc"
    assert served.asked == 3 + (way == "json")


def test_its_smallest_flips_are_near_the_networks_own_within_a_budget(served: Server, net: nn.Module) -> None:
    images = images_of(4)
    eager, brought = Classifier(net, (0, 1), "logits"), load_classifier(served.address, bounds=(0, 1), output="logits")
    reference = eager.logits(images).argmax(1)
    exact = smallest_flip(eager, images, reference).size
    found = smallest_flip(brought, images, reference, effort=Effort(queries=400))
    assert ((found.size >= 0.999 * exact) & (found.size <= 3 * exact)).all(), found.size / exact
    assert (found.forwards <= 409).all()


@pytest.mark.parametrize(("way", "message"), [
    ("404", "answered 404 .*no such network"), ("302", "answered 302"), ("503", "answered 503"),
    ("short", r"shape \(0,\)"), ("words", "neither .npy nor JSON"), ("ragged", "neither .npy nor JSON"),
    ("huge", "more than 16 MB"), ("claim", "neither .npy nor JSON")])
def test_what_is_no_answer_is_refused_in_one_line(way: str, message: str, served: Server) -> None:
    served.way = way
    brought = load_classifier(served.address, bounds=(0, 1), output="logits")
    with pytest.raises(InputRefused, match=message) as refused:
        brought.logits(images_of(2))
    assert "\n" not in str(refused.value)
    assert served.asked == (3 if way == "503" else 1)


def test_an_answer_that_does_not_end_is_refused(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_WHOLE", -1.0)
    with pytest.raises(InputRefused, match="no end of its answer"):
        load_classifier(served.address, bounds=(0, 1), output="logits").logits(images_of(2))


def test_one_that_answers_no_longer_leaves_what_is_done(served: Server) -> None:
    brought = load_classifier(served.address, bounds=(0, 1), output="logits")
    brought.logits(images_of(2))
    served.way = "503"
    with pytest.raises(Partial, match="run the same command again"):
        brought.logits(images_of(2))


@pytest.mark.parametrize("address", ["http://", "http://a b/", "http://me:secret@host/read", "http://host:99999/"])
def test_what_is_no_address_is_refused_and_no_password_is_kept(address: str) -> None:
    with pytest.raises(InputRefused, match=r"no address|STEADYREAD_AUTHORIZATION") as refused:
        load_classifier(address, bounds=(0, 1), output="logits")
    assert "secret" not in str(refused.value)


@pytest.mark.slow
def test_the_command_says_that_it_is_a_black_box_and_how_often_it_asked(served: Server, steadyread: Call,
                                                                      tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 8)
    stated = ("--data", images, "--bounds", "0,255", "--output", "logits", "--normalise", "unit", "--queries", 60,
              "--set", "attacks.use=[]", "--limit", 4, "--out", "run", "--threads", 1)
    refused = steadyread("assess", "--model", f"http://127.0.0.1:{served.server_port + 1}/", *stated)
    assert (refused.code, "does not answer" in refused.err) == (3, True)
    done = steadyread("assess", "--model", served.address, *stated)
    assert done.code == 0, done.err
    page = Path("run/report.html").read_text("utf-8")
    assert "queries a read" in done.out
    assert "black box, " in page[:page.index("<h2")]
    again = steadyread("assess", "--data", images, "--model", "run/net.toml", *stated[8:-4], "--out", "again")
    assert again.code == 0, again.err
    served.server_close()
    found = inspected(served.address)
    assert (found["gradients"], "does not answer" in found["problem"]) == (None, True)
