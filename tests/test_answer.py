"""The first screen: the images' own noise against truth, what a failed check does to the answer, one value."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fabricate
from pages import Page
from steadyread import Classifier
from steadyread.cases import Cases
from steadyread.errors import InputRefused
from steadyread.findings import VALIDITY
from steadyread.jobs.image_noise import DRAWS, noise_sd, write_image_noise
from steadyread.metrics.image_noise import image_noise
from steadyread.metrics.intervals import Estimate
from steadyread.report import write_report
from steadyread.report.run import told_of
from steadyread.report.several import several_chart
from steadyread.report.shareable import AS_IT_IS
from steadyread.units import number_of
from steadyread.words.answer import answer

SD = 12.0


def noisy(shape: tuple[int, ...], below: np.ndarray | float = 0.0, seed: int = 0) -> np.ndarray:
    return below + np.random.default_rng(seed).normal(0, SD, (1, *shape))


@pytest.mark.parametrize("shape", [(4000,), (64, 64), (24, 32, 32)])
def test_the_sd_of_white_noise_is_found_in_any_dimension(shape: tuple[int, ...]) -> None:
    assert noise_sd(noisy(shape), -1000, 400) == pytest.approx(SD, rel=0.08)


def test_slopes_edges_padding_and_clipped_values_hardly_matter() -> None:
    y, x = np.mgrid[:64, :64]
    disc = 300.0 * (np.hypot(x - 32, y - 32) < 12)
    assert noise_sd(noisy((64, 64), 3.0 * x + 2.0 * y + disc), -1000, 900) == pytest.approx(SD, rel=0.15)
    padded = noisy((64, 64))
    padded[..., :24] = -1000.0
    assert noise_sd(padded, -1000, 400) == pytest.approx(SD, rel=0.1)
    padded[..., :24] = 7.0
    assert noise_sd(padded, -1000, 400) == pytest.approx(SD, rel=0.1)
    assert noise_sd(noisy((64, 64)).round(), -1000, 400) == pytest.approx(SD, rel=0.1)


@pytest.mark.parametrize("grey", [1.0, 1 / 255])
@pytest.mark.parametrize("sd", [1.0, 1.2, 1.5, 2.0])
def test_noise_of_a_grey_level_or_two_is_told_finer_than_the_levels(sd: float, grey: float) -> None:
    levels = np.rint(100 + np.random.default_rng(1).normal(0, sd, (1, 128, 128)))
    assert noise_sd(grey * levels, 0, 255 * grey) == pytest.approx(grey * math.sqrt(sd**2 + 1 / 12), rel=0.06)


@pytest.mark.parametrize("image", [np.zeros((1, 32, 32)), np.full((1, 4, 4), 3.0),
                                   np.where(np.hypot(*(np.mgrid[:28, :28] - 14)) < 3, 200.0, 0.0)[None]])
def test_where_most_is_plain_background_no_noise_is_claimed(image: np.ndarray) -> None:
    assert math.isnan(noise_sd(image, 0, 255))


class Linear(nn.Module):
    def __init__(self, pixels: int) -> None:
        super().__init__()
        weight = torch.randn(pixels, generator=torch.Generator().manual_seed(3))
        self.register_buffer("weight", weight / weight.norm())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(images)), images.flatten(1) @ self.weight], dim=1)


def material(n: int = 60) -> tuple[Classifier, Cases]:
    images = torch.randn(n, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * SD
    classifier = Classifier(Linear(256), (-1000, 400), "logits")
    labels = (classifier.logits(images).argmax(1)).tolist()
    return classifier, Cases.from_arrays(images.numpy(), labels, bounds=(-1000, 400),
                                         ids=[f"c{at:03d}" for at in range(n)])


def test_the_reads_that_white_noise_changes_are_those_that_it_must(tmp_path: Path) -> None:
    """Of a linear network a draw changes a read with the chance Phi(-margin / sd)."""
    classifier, cases = material()
    stored = json.loads(write_image_noise(classifier, cases, tmp_path).read_text())
    margin = torch.stack([classifier.margins(cases[at].image[None], torch.tensor([cases.rows[at].label]))[0]
                          for at in range(len(cases))])
    chance = torch.special.ndtr(-margin.double() / stored["sd"])
    spread = float((chance * (1 - chance)).sum().div(DRAWS).sqrt()) / len(cases)
    assert stored["sd"] == pytest.approx(SD, rel=0.1)
    assert abs(np.mean(stored["changed"]) / DRAWS - float(chance.mean())) < 4 * spread
    assert stored["right"] == [DRAWS - changed for changed in stored["changed"]]


def test_draws_are_the_cases_own_and_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    classifier, cases = material()
    for place, some in (("all", cases), ("few", cases.pick(range(20, 40)))):
        (tmp_path / place).mkdir()
        path = write_image_noise(classifier, some, tmp_path / place, seed=5)
        content = path.read_bytes()
        assert write_image_noise(classifier, some, tmp_path / place, seed=6).read_bytes() == content
    whole, few = (json.loads((tmp_path / place / "image_noise.json").read_text()) for place in ("all", "few"))
    assert whole["case_id"][20:40] == few["case_id"]
    near = np.abs(np.array(whole["changed"][20:40]) - few["changed"])     # of another SD, by the same draws
    assert near.max() <= 2


def stored_noise(folder: Path, sd: float = 12.0, changed: int = 1) -> dict[str, Any]:
    ids = sorted({row["case_id"] for row in fabricate.rows()})
    found = {"sd": sd, "low": 0.8 * sd, "high": 1.2 * sd, "images": len(ids), "draws": 8, "case_id": ids,
             "changed": [changed] * len(ids), "right": [8 - changed] * len(ids)}
    (folder / "image_noise.json").write_text(json.dumps(found))
    return found


def test_card_sentence_and_summary_say_one_value(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    (folder / "findings.json").write_text("[]")
    stored_noise(folder)
    text = write_report(folder).read_text()
    page, summary = Page(text), json.loads((folder / "summary.json").read_text())
    half = re.search(r"more than ([\d.]+) HU\.", summary["verdict"])
    assert half is not None
    median = summary["robustness"]["label"]["smallest_flip"]["median"]["native"]
    assert float(half[1]) == pytest.approx(median, rel=0.05)
    assert page.text.count(f"{half[1]} HU") >= 2
    assert "12.5 % of all reads" in page.text
    assert "white" in page.text
    handle = json.loads(re.findall(r'id="answer-curve">(.*?)</script>', text)[0])
    assert handle["start"] == pytest.approx(median)
    assert handle["accuracy"] == sorted(handle["accuracy"], reverse=True)
    assert summary["image_noise"]["changed"]["value"] == 0.125


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("finding", "replaced"), [
    ({"severity": "error"}, True), ({"severity": "warning"}, False), ({"severity": "warning", "topic": VALIDITY}, True),
    ({"severity": "ok", "topic": VALIDITY}, False), ({"severity": "error", "rows": ["case-0003"]}, True),
    ({"severity": "error", "rows": ["valid-0003"]}, False)])
def test_a_check_without_which_no_number_counts_replaces_the_answer(tmp_path: Path, finding: dict[str, Any],
                                                                   replaced: bool) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    (folder / "findings.json").write_text(json.dumps([
        {"check": "no gradients here", "message": "of 48 images", "value": None, "rows": []} | finding]))
    stored_noise(folder)
    page = Page(write_report(folder).read_text())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["verdict"] == "No valid result: “no gradients here” failed.") is replaced
    assert ("Half of the correct reads" in page.text) is not replaced
    assert [each["check"] for each in summary["invalid"]] == ["no gradients here"] * replaced
    chips = [attributes["href"] for _, attributes in page.tags if (attributes.get("class") or "").startswith("chip")]
    assert ("✗ not valid" in page.text) is ("#believe" in chips) is replaced


@pytest.mark.parametrize("changed", [{"sd": 0}, {"sd": "12"}, {"changed": [1]}, {"case_id": 3}, {"draws": None}])
def test_a_damaged_file_of_the_noise_is_named_with_what_to_do(tmp_path: Path, changed: dict[str, Any]) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    (folder / "image_noise.json").write_text(json.dumps(stored_noise(folder) | changed))
    with pytest.raises(InputRefused, match=r"image_noise.json must hold .*remove it"):
        told_of(folder, AS_IT_IS)


def test_noise_of_other_images_says_nothing_of_these(tmp_path: Path) -> None:
    reads = told_of(fabricate.write_run(tmp_path / "run"), AS_IT_IS).plain
    assert reads is not None
    found = stored_noise(tmp_path)
    assert image_noise([found | {"case_id": [f"x{name}" for name in found["case_id"]]}], reads.run.reads,
                       reads.run.plan) is None
    twice = image_noise([found, found | {"sd": 14.0}], reads.run.reads, reads.run.plan)
    assert twice is not None
    assert twice.sd == 13.0
    assert number_of(twice.as_json(reads.bounds)["sd"]) == 13.0


def across(*rows: dict[str, Any], kind: str = "set") -> dict[str, Any]:
    plain = {"place": "here", "after": None, "unit": "HU", "range": 1400.0, "noise": None, "way": None, "invalid": []}
    return {"kind": kind, "checks": {"ok": 3, "error": 0, "warning": 0}, "rows": [
        plain | {"title": f"set {at}"} | row | {"median": Estimate(row["median"], 1.0, 9.0, 40)}
        for at, row in enumerate(rows)]}


def test_over_several_the_smallest_is_by_noise_where_all_is_known_and_hardening_is_counted_once() -> None:
    two = ({"median": 4.0, "noise": 2.0, "way": "alike"}, {"median": 6.0, "noise": 20.0, "way": "better"})
    told = answer({"across": across(*two)})
    assert told.sentence == "Half of the correct reads in set 1 flip under changes of 6.0 HU, the smallest of all sets."
    assert told.context.endswith("Hardening made the reads steadier in 1 of 2 sets.")
    assert "overlap" not in told.context      # 0.45 of its own noise at most, and 0.5 at least
    told = answer({"across": across(*(row | {"noise": None} for row in two), kind="finding")})
    assert told.sentence.startswith("Half of the correct reads of set 0 flip under changes of 4.0 HU")
    assert "by share of the range; the intervals of the smallest two overlap." in told.context
    failed = {"invalid": [{"check": "zero gradients", "message": "of 48", "severity": "error"}]}
    told = answer({"across": across(two[0] | failed, two[1])})
    assert "in set 1" in told.sentence
    assert told.sentence.endswith("the smallest of all valid sets.")
    assert told.context.startswith("No valid result in set 0: “zero gradients” failed.")
    assert not answer({"across": across(two[0] | failed, two[1] | failed)}).valid
    assert answer({"across": across({"median": math.inf}, {"median": None})}).number == ""


def test_every_row_of_several_leads_to_its_part_of_the_page() -> None:
    drawn = several_chart(across({"median": 4.0, "after": Estimate(8.0, 7.0, 9.0, 40), "place": "set-a"},
                                 {"median": math.inf, "place": "set-b"}))
    assert drawn is not None
    assert set(re.findall(r'xlink:href="([^"]*)"', drawn.svg())) == {"#set-a", "#set-b"}
    assert "half never flipped" in drawn.svg()
    nothing = across({"median": None}, {"median": None})
    assert several_chart({**nothing, "rows": [row | {"median": Estimate(None)} for row in nothing["rows"]]}) is None
