"""Networks of several runs on the same cases: paired by id and pixels, one correction over all, one page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fabricate
import fabricate_noise_hardening
import steadyread
from fabricate_pictures import Call
from pages import Page, refuse_outside
from steadyread import Classifier, records
from steadyread.comparing import compare, folder_for
from steadyread.errors import Doubt, InputRefused, UsageError
from steadyread.metrics.comparison import RATIO, Change, corrected
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.paired_tests import holm
from steadyread.words.compared import compared_answer
from test_hardening_report import harden


def run(folder: Path, slope: float = 0.25, **changed: Any) -> Path:
    """A run of which every smallest flip goes by the slope; logits, and so accuracy and AUC, are alike."""
    return fabricate.write_run(folder, fabricate.table(spread=0.5, slope=slope), **changed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first = run(folder / "first")
    harden(first, fabricate.rows(slope=0.1, spread=0.5))
    return first, run(folder / "other", slope=0.125)


def test_a_hardening_that_failed_is_no_network_of_its_own(runs: tuple[Path, Path], tmp_path: Path) -> None:
    alone = run(tmp_path / "alone")
    harden(alone, fabricate.rows(), failed="no epoch was better")
    assert [entry.name for entry in compare(alone, runs[1]).comparison.entries] == ["alone", "other"]
    with pytest.raises(UsageError, match="two runs or more"):
        compare(alone)


def test_half_the_slope_takes_twice_the_change(runs: tuple[Path, Path]) -> None:
    found = compare(*runs)
    names = [entry.name for entry in found.comparison.entries]
    assert names == ["first", "first, hardened", "other"]
    assert [entry.hollow for entry in found.comparison.entries] == [True, False, False]
    rows = {(row["network"], row["measure"]): row for row in found.differences()}
    ratio = rows["other", RATIO]
    assert ratio["difference"] == pytest.approx(2.0)
    assert ratio["verdict"] == "better"
    assert ratio["after"] == pytest.approx(2 * ratio["before"])
    for measure in ("accuracy", "AUC"):
        assert rows["other", measure]["difference"] == 0
        assert rows["other", measure]["verdict"] == "same"
        assert rows["other", measure]["p_holm"] is None      # nothing to test, nothing to correct for
    robust = rows["other", "robust_accuracy"]
    assert robust["low"] < robust["difference"] < robust["high"]
    tested = [row for row in found.differences() if row["p_holm"] is not None]
    assert [row["p_holm"] for row in tested] == pytest.approx(holm([row["p"] for row in tested]))
    assert f"over the {len(tested)} differences" in found.comparison.multiplicity
    assert len(found.differences(every=True)) > len(found.differences())
    assert found.comparison.answer.sentence == "Of the other 2 networks 2 are steadier than first."
    assert "first, hardened" in repr(found)


def test_from_the_command_line_and_python_it_is_the_same(runs: tuple[Path, Path], steadyread: Call, tmp_path: Path
                                                         ) -> None:
    told = steadyread("compare", *runs, "--out", "both", "--json")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert found["differences"] == json.loads(json.dumps(compare(*runs).summary()["differences"]))
    page = (tmp_path / "both" / "report.html").read_text()
    refuse_outside(page)
    assert found["answer"] in Page(page).text
    assert {row["network"] for row in json.loads((tmp_path / "both" / "summary.json").read_text())["numbers"]} == {
        "first", "first, hardened", "other"}
    assert steadyread("compare", *runs, "--out", "again", "--seed", 3).code == 0
    assert (tmp_path / "again" / "figures" / "steadiness.svg").is_file()


def test_noise_and_its_hardening_are_compared_in_one_run(tmp_path: Path) -> None:
    folder = fabricate_noise_hardening.write_hardened(tmp_path / "noise")
    found = compare(folder)
    changed = [row for row in found.differences() if row["measure"] == "changed_at_least_once"]
    assert {row["unit"] for row in changed} == {"mAs"}
    assert {row["attack"] for row in changed} >= {"random_ct_noise"}
    for row in changed:      # fewer changed reads are better
        assert row["verdict"] in ("few", "alike", "same", "better" if row["difference"] < 0 else "worse")
    assert found.comparison.page().html({})


def test_only_the_cases_of_all_are_compared(tmp_path: Path) -> None:
    whole, part = run(tmp_path / "whole"), fabricate.write_run(
        tmp_path / "part", records.as_table(fabricate.rows(n=60, spread=0.5)))
    found = compare(whole, part)
    assert found.comparison.images == 60
    assert all(row["n"] <= 60 for row in found.summary()["numbers"])


@pytest.fixture(scope="module")
def assessed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of real assessments: of some images, of the same with ten changed, and of others."""
    draw, folder = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("assessed")
    pixels, labels = torch.rand(40, 1, 4, 4, generator=draw), torch.arange(40) % 2
    changed = pixels.clone()
    changed[:10] = torch.rand(10, 1, 4, 4, generator=draw)
    torch.manual_seed(0)
    network = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (0, 1), "logits")
    for name, images in (("some", pixels), ("changed", changed), ("others", 1 - pixels)):
        steadyread.assess(network, (images, labels), [steadyread.smallest_flip], bounds=(0, 1), store=folder / name)
    return {name: folder / name for name in ("some", "changed", "others")}


def test_images_with_other_pixels_are_left_out_or_refused(assessed: dict[str, Path]) -> None:
    found = compare(assessed["some"], assessed["changed"])
    assert found.comparison.images == 30
    assert "10 more have other pixels and are left out" in found.comparison.notes[0]
    with pytest.raises(InputRefused, match="40 ids in common, and no image of them has the same pixels"):
        compare(assessed["some"], assessed["others"])
    with pytest.warns(Doubt, match="not the same ones"):
        assert compare(assessed["some"], assessed["others"], by_id=True).comparison.images == 40


@pytest.mark.parametrize(("argv", "code", "told"), [
    (("one",), 2, "compare takes two runs or more, or one with a hardened network; got one"),
    (("one", "one"), 2, "the same run is named twice"),
    (("one", "nowhere"), 3, "no such folder: nowhere"),
    (("one", "unlike"), 3, "one and unlike have no image in common, by their ids"),
    (("one", "grey"), 3, "the images of one go from -1000 to 400, those of grey from 0 to 1400"),
    (("one", "two", "--network", "x"), 2, "--network: one has no network 'x'"),
    (("one", "two", "--out", "two"), 2, "--out: two is the folder of a run"),
    (("one", "sets"), 3, "sets holds runs of several data sets: give the folder of one of them")])
def test_what_cannot_be_compared_is_one_line(argv: tuple[str, ...], code: int, told: str, steadyread: Call,
                                             tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two")
    run(tmp_path / "grey", unit="grey level")
    fabricate.write_run(tmp_path / "unlike", records.as_table(fabricate.rows(name="scan")))
    records.write_json(tmp_path / "sets" / "study.json", {"sets": {"first": {"seed": 0}}})
    found = steadyread("compare", *argv)
    assert found.code == code
    assert told in found.err


def test_runs_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    assert folder_for(["runs/a", "runs/b"]) == Path("runs/compare-a-b")
    assert folder_for([tmp_path / "x" / "run", tmp_path / "y" / "run"]).name == "compare-x_run-y_run"


def test_a_sentence_says_no_more_than_the_test() -> None:
    def answer(*of: Any) -> str:
        return compared_answer(*of).sentence

    def ratio(value: float, low: float, high: float, p: float) -> Change:
        return Change(RATIO, Estimate(value, low, high, 90), 1.0, value, p)

    sure, unsure = ratio(2.0, 1.5, 2.5, 0.001), ratio(1.4, 1.01, 1.9, 0.04)
    assert answer("a", ["b"], [[unsure]]).startswith("Reads of b take 1.4 times")
    both = corrected([[sure], [unsure], [ratio(1.2, 0.9, 1.5, 0.3)]])
    assert [found[0].verdict for found in both] == ["better", "alike", "alike"]
    assert answer("a", ["b", "c", "d"], both) == (
        "Of the other 3 networks 1 is steadier than a, 2 are not detectably different.")
    assert answer("a", ["b"], [[ratio(np.inf, 2.0, np.inf, 0.001)]]).startswith("Most reads of b were never flipped")
    assert len(answer("a", ["b", "c", "d"], both).split()) <= 20
    random, worst = (Change("changed_at_least_once", Estimate(value, value - 0.1, value + 0.1, 90), 0.4, 0.4 + value,
                            0.001, attack=name, level=100.0, unit="mAs")
                     for name, value in (("random_ct_noise", 0.0), ("plausible_ct_noise", -0.3)))
    assert answer("a", ["b"], [[random, worst]]).startswith("Plausible CT noise of 100 mAs changes 10.0 % of the reads "
                                                            "of b and 40.0 %")
    assert answer("a", ["b", "c"], [[random, worst], [random]]).endswith("from a under random CT noise.")
