"""A case on which the network or its reader fails is set aside and named; the others finish, it is tried anew."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fabricate_pictures import Call, pictures
from steadyread import checks, records
from steadyread.assessment import assess
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, audit, spooled
from steadyread.cases.readable import readable
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, Partial
from steadyread.set_aside import case_by_case
from test_assessment import made_cases, made_classifier

ATTACKS = [smallest_flip, fgsm(0.05)]
BAD = (3, 70, 71)   # of 90: one in the first block of 64, two in the second


class Picky(nn.Module):
    """A network that fails on images whose first pixel is one of some values."""

    def __init__(self, inner: nn.Module, refused: list[float], problem: type[Exception] = ValueError) -> None:
        super().__init__()
        self.inner, self.refused, self.problem = inner, refused, problem

    def forward(self, images: Tensor) -> Tensor:
        for value in self.refused:
            if bool((images.flatten(1)[:, 0] == value).any()):
                raise self.problem("no lung was found")
        return self.inner(images)  # type: ignore[no-any-return]


def picky(cases: Cases, places: tuple[int, ...], problem: type[Exception] = ValueError) -> Classifier:
    plain = made_classifier()
    refused = [float(cases[place].image.flatten()[0]) for place in places]
    return replace(plain, module=Picky(plain.module, refused, problem))


def rows(table: Any, names: set[str] | None = None) -> list[dict[str, Any]]:
    """The rows of those cases, without what tells one network's module from another's."""
    found = table.drop_columns(["model_sha256", "data_sha256"]).to_pylist()
    key = ("case_id", "attack", "against", "size")
    return sorted((row for row in found if names is None or row["case_id"] in names),
                  key=lambda row: [str(row[name]) for name in key])


def test_cases_on_which_the_network_fails_are_named_and_the_others_are_assessed_as_ever(tmp_path: Path) -> None:
    cases = made_cases()
    bad = {cases.rows[place].id for place in BAD}
    table = assess(picky(cases, BAD), cases, ATTACKS, store=tmp_path)
    assert set(pc.unique(table["case_id"]).to_pylist()) == {row.id for row in cases.rows} - bad
    assert records.read_json(tmp_path / "set_aside.json") == dict.fromkeys(sorted(bad),
                                                                           "ValueError: no lung was found")
    whole = rows(assess(made_classifier(), cases, ATTACKS), {row.id for row in cases.rows} - bad)
    for one, other in zip(rows(table), whole, strict=True):
        assert (one["case_id"], one["prediction"], one["flips"]) == (
            other["case_id"], other["prediction"], other["flips"])
        assert (one["found_size"] or 0) == pytest.approx(other["found_size"] or 0, rel=1e-3)   # other blocks, last bits


def test_the_same_call_tries_those_again_and_nothing_else(tmp_path: Path) -> None:
    cases = made_cases()
    network = picky(cases, BAD)
    assess(network, cases, ATTACKS, store=tmp_path)
    before = sorted(path.name for path in (tmp_path / "records").iterdir())
    spent = network.passes.forwards
    assess(network, cases, ATTACKS, store=tmp_path)
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == before
    assert network.passes.forwards - spent < 50     # a look at the first images, and the three
    network.module.refused.pop()   # type: ignore[union-attr, operator] # mended: the last fails no more
    table = assess(network, cases, ATTACKS, store=tmp_path)
    assert set(records.read_json(tmp_path / "set_aside.json")) == {"case-003", "case-070"}
    assert rows(table, {"case-071"})
    assert len(rows(table)) == len(cases.rows[2:]) * (1 + len(ATTACKS)) * 2
    network.module.refused.clear()   # type: ignore[union-attr, operator]
    assert len(assess(network, cases, ATTACKS, store=tmp_path)) == len(cases) * (1 + len(ATTACKS)) * 2
    assert not (tmp_path / "set_aside.json").exists()


def test_a_network_that_fails_on_every_case_is_an_error() -> None:
    cases = made_cases(20)
    with pytest.raises(InputRefused, match=r"model failed on an image of shape .*: ValueError: no lung was found"):
        assess(picky(cases, tuple(range(20))), cases, ATTACKS)


def test_an_attack_that_fails_on_every_case_is_an_error() -> None:
    def attack(*_: object) -> Tensor:
        raise KeyError("steps")

    with pytest.raises(InputRefused, match="none of the first 20 images could be assessed; 'case-000': KeyError"):
        assess(made_classifier(), made_cases(20), [attack])


@pytest.mark.parametrize("problem", [MemoryError, torch.OutOfMemoryError, Partial, KeyboardInterrupt])
def test_what_is_no_cases_fault_goes_through(problem: type[Exception], tmp_path: Path) -> None:
    cases = made_cases(30)
    with pytest.raises(problem):
        assess(picky(cases, (20,), problem), cases, ATTACKS, store=tmp_path)
    assert not (tmp_path / "set_aside.json").exists()


def test_what_steadyread_refuses_of_the_network_is_no_cases_fault() -> None:
    cases = made_cases(30)
    outside = replace(cases, load=lambda row: cases.load(row) + 9 * (row.source == 7))
    with pytest.raises(InputRefused, match="outside the stated bounds"):
        assess(made_classifier(), outside, ATTACKS)


def test_cases_are_sought_by_halves() -> None:
    calls = []

    def work(held: Any) -> list[int]:
        calls.append(len(held))
        if 5 in held:
            raise ValueError("five")
        return list(held)

    done, failed = case_by_case(work, range(64))
    assert sorted(done) == [at for at in range(64) if at != 5]
    assert [(case, str(problem)) for case, problem in failed] == [(5, "five")]
    assert len(calls) == 1 + 2 * 6


def broken(cases: Cases, bad: set[int], problem: type[Exception] = OSError) -> Cases:
    def load(row: Any) -> Any:
        if row.source in bad:
            raise problem("cut off")
        return cases.load(row)

    return replace(cases, load=load)


def test_images_that_cannot_be_read_or_are_no_numbers_are_left_out_and_named() -> None:
    cases = made_cases(30)
    spoilt = replace(cases, load=lambda row: cases.load(row) * (np.nan if row.source == 9 else 1))
    raw = broken(spoilt, {0, 4})
    left, ready = readable(raw, spooled(raw))
    assert [row.source for row in left.rows] == [at for at in range(30) if at not in (0, 4, 9)]
    assert left.rows == ready.rows
    assert left.unread["case-004"] == "OSError: cut off"
    assert "NaN" in left.unread["case-009"]
    named = next(one for one in audit(left) if one.check == "images set aside")
    assert named.severity == "warning"
    assert named.rows == ("case-000", "case-004", "case-009")
    assert named.message.startswith("3 of 30 images cannot be read and are left out; the first: case-000: OSError")
    table = assess(made_classifier(), raw, [fgsm(0.05)])
    assert len(pc.unique(table["case_id"])) == 27


def test_a_reader_that_fails_on_every_image_is_an_error_as_is_an_image_that_cannot_be_prepared() -> None:
    cases = made_cases(30)
    with pytest.raises(OSError, match="cut off"):
        readable(broken(cases, set(range(30))))
    with pytest.raises(ValueError, match="cut off"):
        readable(cases, broken(cases, {3}, ValueError))
    with pytest.raises(Partial):
        readable(broken(cases, {3}, Partial))


NETWORK = """
import torch
from torch import nn

class Linear(nn.Sequential):
    def forward(self, images):
        if bool(((images[:, 0, 0, 0] - 0.77).abs() + (images[:, 0, 0, 1] - 2.01).abs() < 1e-4).any()):
            raise IndexError("index 7 is out of bounds")
        return super().forward(images)

def linear():
    return Linear(nn.Flatten(), nn.Linear(144, 1))
"""


@pytest.mark.usefixtures("undrawn")
def test_broken_pictures_and_cases_leave_a_report_of_the_others_and_exit_4(
        steadyread: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SAMPLE", 4)
    pictures(tmp_path / "images", 24)
    cut, odd = tmp_path / "images" / "no" / "000.png", tmp_path / "images" / "yes" / "001.png"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:60])
    pixels = np.asarray(Image.open(odd)).copy()
    pixels[0, :2] = 77, 201
    Image.fromarray(pixels).save(odd)
    (tmp_path / "picky.py").write_text(NETWORK)
    weight = torch.full((12, 12), -0.02)
    weight[4:-4, 4:-4] = 0.16
    torch.save({"1.weight": weight.reshape(1, -1), "1.bias": torch.tensor([-2.0])}, tmp_path / "picky.pt")
    command = ("assess", "--data", "images", "--model", "picky:linear", "--weights", "picky.pt", "--bounds",
               "0,255", "--output", "logit", "--normalise", "0,100", "--set", 'attacks.use=["fgsm"]', "--epsilon",
               "0.01 range", "--threads", 1, "--out", "run")
    for _ in range(2):
        told = steadyread(*command)
        assert told.code == 4, told
        assert "1 of 24 images cannot be read and are left out; the first: images/no/000.png" in told.err
        assert "1 case is set aside" in told.err
        assert "yes/001" in told.err
        assert "IndexError: index 7 is out of bounds" in told.err
        assert "Report:" in told.out
    found = {one["check"] for one in json.loads((tmp_path / "run" / "findings.json").read_text())}
    assert {"images set aside", "cases set aside"} <= found
    assert "cases set aside" in (tmp_path / "run" / "report.html").read_text()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["images"] == json.loads((tmp_path / "run" / "plan.json").read_text())["data"]["parts"]["test"][
        "images"] - 1
    told = steadyread(*command, "--json", "--fail-below", "accuracy=0")
    assert len(json.loads(told.out)["set_aside"]) == 2
    assert json.loads(told.out)["gates"][0]["message"].endswith(
        f" {summary['images']} images; others are set aside")
