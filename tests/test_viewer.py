"""The viewer's server: who may ask, what rows it gives, what it keeps of readers, and how it ends."""

import csv
import io
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from fabricate import rows, table, write_run
from fabricate_pictures import Call
from steadyread import records
from steadyread.errors import InputRefused, UsageError
from steadyread.viewer.app import application
from steadyread.viewer.guard import Guard
from steadyread.viewer.marks import Mark, Marks
from steadyread.viewer.serving import export
from steadyread.viewer.shown import Shown, shown_of

HERE = "http://127.0.0.1:8000"


class Asker:
    """A page of the viewer: it has the address with the secret."""

    def __init__(self, shown: Shown) -> None:
        self.guard = Guard(application(shown), "secret")
        self.client = TestClient(self.guard, HERE, follow_redirects=False)

    def __call__(self, name: str, status: int = 200, **question: Any) -> Any:
        answer = self.client.post(f"/secret/{name}", json=question)
        assert answer.status_code == status, answer.text
        return answer.json()

    def cases(self, column: str = "case", **question: Any) -> list[Any]:
        """A column of the rows that a question brings, from whole records."""
        while not self("rows", count=0, more_than=2**40)["whole"]:
            pass
        answer = self("rows", **question)
        at = [each["name"] for each in answer["columns"]].index(column)
        return [row[at] for row in answer["rows"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("viewer") / "run")


@pytest.fixture
def asker(run: Path) -> Iterator[Asker]:
    shown = shown_of([run], "reader", show_ids=True)
    yield Asker(shown)
    shown.close()
    for file in run.glob("marks.sqlite*"):
        file.unlink()


@pytest.mark.parametrize("path", ["/", "/wrong/", "/secre/", "/secret2/", "//secret/", "/static/viewer.js",
                                  "/Secret/rows"])
def test_without_the_secret_nothing_is_told(asker: Asker, path: str) -> None:
    answer = asker.client.get(path)
    assert answer.status_code == 403
    assert "secret" not in answer.text.replace("a secret", "")


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8000", 200), ("localhost:9999", 200), ("LOCALHOST", 200), ("[::1]:1", 200), ("evil.example", 403),
    ("127.0.0.1.evil.example:8000", 403), ("", 403), ("127.0.0.1:8000@evil.example", 403), ("10.0.0.1:8000", 403)])
def test_a_name_that_was_rebound_to_this_machine_is_refused(asker: Asker, host: str, status: int) -> None:
    assert asker.client.get("/secret/", headers={"host": host}).status_code == status


def test_what_another_page_may_send_without_asking_is_refused(asker: Asker) -> None:
    as_json = {"content-type": "application/json"}
    for headers in ({"content-type": "text/plain"}, as_json | {"sec-fetch-site": "cross-site"}):
        assert asker.client.post("/secret/state", content="{}", headers=headers).status_code == 415
    assert asker.client.get("/secret/marks.csv", headers={"sec-fetch-site": "same-site"}).status_code == 415
    large = json.dumps({"note": "x" * 2**17})
    assert asker.client.post("/secret/state", content=large, headers=as_json).status_code == 415


def test_every_answer_has_the_strict_policy_and_none_opens_to_others(asker: Asker) -> None:
    for path in ("/secret/", "/secret/static/viewer.js", "/secret/static/..%2fapp.py", "/other/"):
        answer = asker.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in answer.headers
        assert (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")


def test_a_browser_is_led_to_the_address_once(asker: Asker) -> None:
    once = f"/{asker.guard.once}"
    answer = asker.client.get(once)
    assert (answer.status_code, answer.headers["location"]) == (303, "/secret/")
    assert [asker.client.get(path).status_code for path in (once, "/")] == [403, 403]


def test_rows_are_those_of_the_records_by_any_column(asker: Asker) -> None:
    assert asker("state")["networks"][0]["expected"] == 120
    every = asker.cases(count=500)
    assert len(set(every)) == 120
    flips = asker.cases("flip", count=500, sort="flip")
    known = [flip for flip in flips if flip != "never"]
    assert known == sorted(known)
    assert asker.cases("flip", count=500, sort="flip", down=True) == flips[::-1] or len(set(flips)) < len(flips)
    assert asker.cases(sort="sure", first=100, count=50) == asker.cases(sort="sure", count=500)[100:]
    smallest = {row["case_id"]: row["found_size"] for row in rows() if row["attack"] == "smallest_flip"
                and row["against"] == "prediction"}
    shown = dict(zip(every, asker.cases("flip", count=500), strict=True))
    assert all(np.isclose(shown[name], size) for name, size in smallest.items() if np.isfinite(size))


def test_filters_hold_together_and_count_what_passes(asker: Asker) -> None:
    wrong = {"column": "verdict", "among": ["wrong"]}
    sure = {"column": "sure", "least": 0.7, "most": 0.95}
    asker.cases()
    both = asker("rows", filters=[wrong, sure], count=500)
    alone = [set(asker.cases(filters=[each], count=500)) for each in (wrong, sure)]
    assert {row[0] for row in both["rows"]} == alone[0] & alone[1]
    assert both["passing"] == len(both["rows"]) > 0
    assert asker.cases(filters=[{"column": "case", "text": "-0007"}], count=9) == ["case-0007"]
    assert asker.cases(filters=[{"column": "*", "text": "CASE-0008"}], count=9) == ["case-0008"]
    assert len(asker("points")["places"]) == 120
    assert len(asker("points", filters=[wrong])["passing"]) == len(alone[0])


@pytest.mark.parametrize("question", [
    {"sort": "nothing"}, {"filters": [{"column": "nothing"}]}, {"filters": "x"}, {"filters": [7]}, {"count": 501},
    {"count": -1}, {"first": "0"}, {"networks": [1]}, {"networks": []}, {"networks": [True]}, {"networks": "0"},
    {"filters": [{"column": "sure", "least": "x"}]}, {"filters": [{"column": "read", "among": "x"}]}])
def test_what_is_no_question_gets_a_line(asker: Asker, question: dict[str, Any]) -> None:
    asker.cases()
    assert len(asker("rows", 400, **question)["problem"]) > 20


@pytest.mark.parametrize("body", ["", "[]", "{", "[" * 50_000, '{"networks": [NaN]}'])
def test_what_is_no_json_gets_a_line(asker: Asker, body: str) -> None:
    answer = asker.client.post("/secret/rows", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["problem"]


def test_case_of_a_run_whose_network_is_gone_is_shown_as_far_as_it_is_stored(asker: Asker) -> None:
    asker.cases()
    found = asker("case", network=0, place=3)
    assert found["block"]["cases"]["id"] == ["case-0003"]
    assert "pixels" not in found["block"]
    assert found["said"].startswith("The network cannot be asked: ")
    assert asker("attention", network=0, place=3) == {}
    assert "study.json" in asker("ask", 409, network=0, place=3, size=2.0)["problem"]
    for size in (1401, 9999, 1e300):
        told = asker("ask", 400, network=0, place=3, size=size)["problem"]
        assert told.startswith("a change is of at most 1400 HU, the whole range of valid values; got ")
    for place in (-1, 120, "3", True, None):
        assert asker("case", 400, network=0, place=place)["problem"]


def test_pseudonyms_are_shown_unless_ids_are_asked_for(run: Path) -> None:
    asker = Asker(shown_of([run], "reader"))
    asker.cases()
    told = json.dumps([asker("rows", count=500), asker("points"), asker("case", network=0, place=1)])
    assert "case-0" not in told
    assert not re.search(r"test-\d", told)
    name = asker.cases(count=1)[0]
    assert name.startswith("C-")
    assert asker("rows", case=name)["places"] == [0]
    assert asker("rows", case="case-0000")["places"] == []


def test_marks_are_kept_found_taken_back_and_exported(asker: Asker, run: Path, tmp_path: Path) -> None:
    asker.cases()
    asker("mark", network=0, place=4, word="disagree", note="=1+1\nsecond line")
    asker("mark", network=0, place=5, word="refer")
    asker("mark", network=0, place=5, word="agree", reader="other")
    marked = [{"column": "mark", "among": ["agree", "disagree", "refer"]}]
    assert asker.cases(filters=marked) == ["case-0004", "case-0005"]
    assert asker.cases("mark", filters=marked, reader="other") == ["agree"]
    asker("mark", network=0, place=5)
    assert asker.cases(filters=marked) == ["case-0004"]
    page = asker.client.get("/secret/marks.csv")
    assert page.headers["content-disposition"].startswith("attachment")
    assert len(page.text.splitlines()) == 3
    assert "'=1+1" in page.text
    assert "2 marks" in export([run], tmp_path / "marks.csv")
    assert (tmp_path / "marks.csv").read_text().startswith("run,network,case_id,")
    for wrong in ({"word": "maybe"}, {"note": "x" * 2001}, {"reader": "x" * 61}, {"word": 7}):
        assert asker("mark", 400, **{"network": 0, "place": 1} | wrong)["problem"]


@pytest.mark.parametrize(("wrong", "told"), [
    ({"note": "a\0b"}, "a note .* U\\+0000: take it out"), ({"note": "\x1b[31m"}, "U\\+001B"),
    ({"note": "\x85"}, "U\\+0085"),
    ({"word": "refer", "reader": "a\nb"}, "a reader's name .* U\\+000A")])
def test_what_is_no_text_is_kept_in_no_mark(wrong: dict[str, str], told: str, asker: Asker) -> None:
    asker.cases()
    assert re.search(told, asker("mark", 400, network=0, place=1, **wrong)["problem"])
    asker("mark", network=0, place=1, note="one line\r\nand\tanother")
    assert asker("mark", network=0, place=1)["word"] == ""


def test_a_note_that_was_kept_with_a_control_character_is_still_read(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    kept = marks.put(Mark("case", "net", "reader", "", "a"))
    with sqlite3.connect(marks.path) as file:
        file.execute("UPDATE marks SET note = ?", ("a\0b",))
    assert marks.last() == [replace(kept, note="a\0b")]
    with pytest.raises(UsageError, match=r"U\+D800"):
        marks.put(Mark("case", "net", "reader", "", "\ud800"))
    marks.close()


def test_exported_marks_have_the_names_of_their_own_data_set(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (write_run(tmp_path / name) / "salt.txt").write_text(name)
        (tmp_path / name / "cases.csv").write_text(f"case_id,patient_id\ncase-0003,patient of {name}\n")
    (tmp_path / "study.json").write_text(json.dumps({"sets": {"one": {}, "two": {}}}))
    shown = shown_of([tmp_path], "reader")
    assert [each.cell.data for each in shown.networks] == ["one", "two"]
    for each in shown.networks:
        each.marks.put(Mark("case-0003", each.name, "reader", "refer"))
    lines = list(csv.DictReader(io.StringIO(shown.exported())))
    shown.close()
    assert [line["patient_id"] for line in lines] == ["patient of one", "patient of two"]
    for line, each in zip(lines, shown.networks, strict=True):
        assert each.shared.case("case-0003") in line.values()


def test_runs_are_paired_by_their_cases(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first")
    turned = records.as_table(rows(slope=0.5)[::-1])
    second = write_run(tmp_path / "second", turned)
    asker = Asker(shown_of([first, second], "reader", show_ids=True))
    assert asker("state")["start"] == [0, 1]
    asker("rows", networks=[1], more_than=2**40)
    asker.cases()
    both = asker("rows", networks=[0, 1], sort="flip 1", count=500)
    names = [each["name"] for each in both["columns"]]
    pairs = [(row[names.index("flip")], row[names.index("flip 1")]) for row in both["rows"]]
    assert all(np.isclose(one, 2 * other) for one, other in pairs if "never" not in (one, other))
    case = asker("case", network=1, of=0, place=7)
    assert case["block"]["cases"]["id"] == [asker.cases(first=7, count=1)[0]]
    asker("mark", network=0, place=7, word="agree")
    assert (first / "marks.sqlite").exists()
    assert not (second / "marks.sqlite").exists()


def test_damaged_part_is_said_and_what_came_before_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    more = records.Store(folder).write_part(1, records.as_table(rows(name="more")))
    more.write_bytes(more.read_bytes()[:-9])
    asker = Asker(shown_of([folder], "reader", show_ids=True))
    answer = asker("rows", more_than=2**40)
    assert "is damaged" in answer["problem"]
    assert answer["read"] == 120


@pytest.mark.parametrize("content", [b"no data base", b"", None])
def test_file_that_is_none_of_marks_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "marks.sqlite"
    if content is None:
        with sqlite3.connect(path) as file:
            file.execute("CREATE VIEW marks AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) "
                         "SELECT x FROM n")
        file.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    if content == b"":      # of a viewer that was killed before its first mark
        assert Marks(tmp_path).last() == []
        return
    with pytest.raises(InputRefused, match="no file of marks"):
        Marks(tmp_path)
    assert path.read_bytes() == before


def test_marks_survive_a_kill_between_any_two(tmp_path: Path) -> None:
    code = ("import sys; from pathlib import Path; from steadyread.viewer.marks import *\n"
            f"marks = Marks(Path({str(tmp_path)!r}))\n"
            "for at in range(100_000):\n"
            "    marks.put(Mark(f'case {at}', '', 'reader', 'refer')); print(at, flush=True)\n")
    for turn in (1, 7, 40):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(turn)]
        process.send_signal(signal.SIGKILL)
        process.wait()
        told += [int(line) for line in process.stdout.read().split()]
        process.stdout.close()
        kept = {mark.case_id for mark in Marks(tmp_path).last()}
        assert kept >= {f"case {at}" for at in told}


def test_mark_is_one_of_three_words() -> None:
    with pytest.raises(UsageError, match="agree, disagree, refer"):
        Mark("case", "", "reader", "yes")


def test_command_gives_its_address_and_ends_at_ctrl_c(run: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "steadyread", "view", str(run), "--no-browser"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"127\.0\.0\.1:(\d+)/([\w-]{20,})/", line)
    assert found is not None, line
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as asked:
        asked.sendall(f"GET /{found[2]}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert asked.recv(12).endswith(b"200")
    refused = subprocess.run([sys.executable, "-m", "steadyread", "view", str(run), "--port", found[1]], text=True,
                             capture_output=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"steadyread: port {found[1]} cannot be had")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_refusals_are_one_line(steadyread: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for folder, words in (("nowhere", "no such folder"), ("empty", "no run in empty")):
        refused = steadyread("view", folder, "--no-browser")
        assert (refused.code, words in refused.err) == (3, True)
    write_run(tmp_path / "run", table())
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    refused = steadyread("view", "run", "--no-browser")
    assert (refused.code, "pip install 'steadyread[viewer]'" in refused.err) == (3, True)
    done = steadyread("view", "run", "--export", "marks.csv")
    assert (done.code, done.out) == (0, "marks.csv: 0 marks\n")
