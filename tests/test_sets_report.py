"""The report of several data sets: its figures by hand, its words whichever way they fall, and an inert page."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fabricate_sets as made
from fabricate_sets import FIVE, Made
from pages import HOSTILE, Page, refuse_outside, unscripted
from steadyread.charts.examples import attacked_grid
from steadyread.charts.look import BLUE, INK, VERMILION
from steadyread.errors import InputRefused
from steadyread.metrics.fragility import Alike, fragility, tally, way_of
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.summary import as_json
from steadyread.report import write_report
from steadyread.report.page import Chip
from steadyread.report.run import text_of, told_of
from steadyread.report.sets_drawings import Difference, forest, steadiness
from steadyread.report.sets_stored import read_sets
from steadyread.report.sets_summary import summarise_sets
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.units import Bounds
from steadyread.words.sets import CLEAN, fragility_answer, outcome

SMALL = {"images": 36, "patients": 36}
BOUNDS = Bounds(0.0, 1000.0, "grey level")
TWO = {"lung_ct": Made(0.4, unit="HU", hardened=0.15, others={"pgd-0.001": 0.35, "trades": 0.12}, images=50,
                       patients=40, spread=0.5, views=4.0, failed="equal: the disk was slow"),
       "x_ray": Made(0.05, 10, hardened=0.1, equal=None, images=50, patients=40, attacked=False)}


def told(folder: Path, sets: Mapping[str, Made]) -> tuple[dict[str, Any], str, str]:
    """The summary, the page's words without its drawings, and the Markdown of made sets."""
    return pages(made.write_sets(folder, sets))


def pages(folder: Path) -> tuple[dict[str, Any], str, str]:
    """The same of a folder that stands."""
    run = told_of(folder, AS_IT_IS)
    page = run.page()
    return run.summary, Page(page.html({})).text, page.markdown()


def answers(found: Mapping[str, Any]) -> str:
    return " ".join(each["answer"] for each in found["answers"])


def steady(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value, low, high, 50)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made.write_sets(tmp_path_factory.mktemp("sets") / "two", TWO)).parent


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    sets = {name: replace(one, images=36, patients=36, others={}) for name, one in FIVE.items()}
    return told(tmp_path_factory.mktemp("sets") / "five", sets)




def test_medians_ratios_and_ranks_at_equal_conditions() -> None:
    found = np.array([np.arange(1, 52)]).ravel().astype(float)
    patients = np.arange(51).astype(str)
    made_of = {"a": (2.0, True), "b": (1.0, False), "c": (4.0, False)}
    sets = [Alike(name, found * scale, patients, BOUNDS, Estimate(0.9), medical)
            for name, (scale, medical) in made_of.items()]
    told_ = fragility(sets)
    rows = {row["name"]: row for row in told_["rows"]}
    assert {name: row["of_range"].value for name, row in rows.items()} == {"a": 0.052, "b": 0.026, "c": 0.104}
    assert rows["a"]["median"]["native"] == 52.0
    assert {name: row["rank"]["rank"] for name, row in rows.items()} == {"a": 2, "b": 1, "c": 3}
    ratios = {pair["other"]: pair["ratio"] for pair in told_["pairs"]}
    assert ratios["b"].value == 2.0
    assert ratios["c"].value == 0.5
    assert way_of(ratios["b"]) == "less"
    assert way_of(ratios["c"]) == "more"
    assert tally(told_["pairs"]) == {"more": 1, "less": 1, "alike": 0, "few": 0}
    assert fragility(sets[::-1])["rows"][::-1] == told_["rows"]      # the order of the sets tells nothing
    names = {"a": "a", "b": "b", "c": "c"}
    assert "may be any of" not in fragility_answer(told_, names)
    close = fragility([replace(one, found=found * (1 + place / 50)) for place, one in enumerate(sets)])
    assert "the first could be any of a, b and c." in fragility_answer(close, names)


def test_sets_of_as_many_patients_are_not_drawn_alike() -> None:
    found, patients = np.arange(1, 61).astype(float), np.arange(60).astype(str)
    pair = fragility([Alike("one", found, patients, BOUNDS, Estimate(1.0), True),
                      Alike("other", found, patients, BOUNDS, Estimate(1.0), False)])["pairs"]
    ratio = pair[0]["ratio"]
    assert ratio.value == 1.0
    assert ratio.low < 0.9 < 1.1 < ratio.high
    assert way_of(ratio) == "alike"


@pytest.mark.parametrize(("found", "of_range", "low"), [
    (np.full(40, np.inf), math.inf, math.inf), (np.zeros(0), None, None), (np.arange(1.0, 6.0), None, None)])
def test_none_flipped_none_right_and_few_patients_are_ordinary(found: np.ndarray, of_range: float | None,
                                                               low: float | None) -> None:
    sets = [Alike("one", found, np.arange(len(found)).astype(str), BOUNDS, Estimate(None), True),
            Alike("other", np.arange(1.0, 41.0), np.arange(40).astype(str), BOUNDS, Estimate(1.0), False)]
    told_ = fragility(sets)
    row = told_["rows"][0]
    assert (row["of_range"].value, row["of_range"].low) == (of_range, low)
    json.dumps(as_json(told_), allow_nan=False)
    assert fragility_answer(told_ | {"rows": told_["rows"]}, {"one": "one", "other": "other"})


def test_half_the_slope_is_twice_the_flip(tmp_path: Path) -> None:
    found, _, _ = told(tmp_path, {"set": Made(0.3, hardened=0.15, equal=None, images=80, patients=80)})
    one = found["sets"]["set"]
    assert one["hardening"]["compared"]["flips"]["larger"].value == 1.0
    assert one["hardening"]["compared"]["flips"]["ratio"].value == pytest.approx(2.0)
    rows = {round(row.size["of_range"], 6): row.contrast for row in one["hardened_at"]["label"] if row.attack == "all"}
    assert rows[0.004].after.value == rows[0.002].before.value
    assert rows[0.002].after.value == rows[0.001].before.value


def test_the_page_needs_nothing_from_outside_and_its_tables_scroll(whole: Path) -> None:
    text = (whole / "report.html").read_text()
    page, text = refuse_outside(text), unscripted(text)
    assert text.count("<table") == text.count('<div class="scroll" tabindex="0"><table')
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert ">None<" not in text
    assert not re.search(r"\bnan\b", text)


def test_what_is_written_beside_the_page(whole: Path) -> None:
    drawn = {path.stem for path in (whole / "figures").glob("*.svg")}
    assert drawn == {"fig1", "fig2_label", "fig2_prediction", "fig3", "gains", "rows", "scores",
                     "steadiness_of_range"}
    assert drawn == {path.stem for path in (whole / "figures").glob("*.png")}
    assert unscripted((whole / "report.html").read_text()).count("<svg") == len(drawn) - 1
    found = json.loads((whole / "summary.json").read_text())
    assert list(found["sets"]) == ["lung_ct", "x_ray"]
    assert found["sets"]["lung_ct"]["hardening"]["others"][1]["name"] == "trades"
    assert found["verdict"].startswith("Half of the correct reads")
    assert (whole / "checklist.md").read_text().startswith("# Reporting checklists of lung ct, x ray")


def test_the_same_folder_gives_the_same_figures(whole: Path) -> None:
    run = told_of(whole, Shareable.of(whole))
    assert json.dumps(as_json(run.summary), sort_keys=True) == json.dumps(
        json.loads((whole / "summary.json").read_text()), sort_keys=True)
    text = (whole / "report.md").read_text()
    assert text_of(run.page()) == text


def test_every_table_of_the_markdown_is_whole(five: tuple[dict[str, Any], str, str]) -> None:
    blocks = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", five[2], re.MULTILINE)]
    assert len(blocks) >= 9
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block}
        assert len(widths) == 1, block[:3]
        assert re.fullmatch(r"\|( -+:? \|)+", block[1]), block[1]
    assert "None |" not in five[2]


@pytest.mark.parametrize(("sets", "sentence", "absent"), [
    ({"lung_ct": Made(0.1, hardened=0.6, equal=None, **SMALL)}, "Hardening made the reads less steady in lung ct (",
     "made the reads steadier in"),
    ({"lung_ct": Made(training={"failed": "every epoch read one class only"}, validation=False, **SMALL)},
     "Every epoch read one class only. No gain is", "Hardening made"),
    ({"lung_ct": Made(images=8, patients=8, hardened=0.02), "mnist": Made(0.05, 10, images=8, patients=8)},
     "There are too few patients to tell what hardening did", "steadier in lung ct"),
    ({"lung_ct": Made(hardened=None, equal=None, against=("label",), synthetic=True, attacked=False, **SMALL)},
     "Against the label", "Does hardening help?"),
])
def test_nothing_is_claimed_that_the_reads_do_not_show(tmp_path: Path, sets: dict[str, Made], sentence: str,
                                                       absent: str) -> None:
    found, text, plain = told(tmp_path, sets)
    assert sentence in text
    assert absent not in text
    json.dumps(as_json(found), allow_nan=False)
    assert "None |" not in plain


def test_reads_that_never_flip_and_networks_that_never_err(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(hardened=None, **SMALL)})
    for place in (folder / "lung_ct", folder / "lung_ct" / "equal"):
        made.change_rows(place, lambda row: row | {
            "prediction": row["label"], "reference": row["label"], "flips": 0,
            "found_size": math.inf if row["attack"] == "smallest_flip" else row["found_size"]})
    _, text, plain = pages(folder)
    for said in ("In lung ct fewer than half could be flipped within the sizes searched.",
                 "No read is wrong in any set, so no score can be judged", "none found"):
        assert said in text, said
    assert "Half of the correct reads" not in text
    assert not re.search(r"\binf\b", plain)


def test_a_better_clean_accuracy_is_no_steadier_network(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(equal=None, **SMALL)})
    made.change_rows(folder / "lung_ct" / "hardened", lambda row: row | (
        {"prediction": row["label"]} if row["attack"] == "clean" else {"attack": "of_one_side"}))
    found, text, _ = pages(folder)
    assert outcome(found["sets"]["lung_ct"]) == CLEAN
    assert found["sets"]["lung_ct"]["hardening"]["compared"]["clean"].gained
    assert "steadier in" not in text


def test_what_the_checks_found_stands_by_set_and_errors_above_all(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(**SMALL)})
    (folder / "lung_ct" / "equal" / "findings.json").write_text(json.dumps([
        {"check": "silent", "severity": "error", "message": "no gradient anywhere"}]))
    found, text, _ = pages(folder)
    doubted = found["answers"][0]       # before any number that it takes back
    assert "lung ct (equal conditions, silent)" in doubted["answer"]
    top = text[text.rindex("Can these evaluations be trusted?"):text.index("Accuracy under attack")]
    assert "equal conditions, silent : no gradient anywhere" in top
    assert text.count("no gradient anywhere") == 1
    assert text.count("hardened network, near duplicates") == 1
    (folder / "lung_ct" / "equal" / "findings.json").unlink()
    for place_ in ("lung_ct", "lung_ct/hardened"):
        (folder / place_ / "findings.json").write_text("[]")
    found = summarise_sets(read_sets(folder))
    assert all(each["question"] != doubted["question"] for each in found["answers"])


def test_chips_of_several_sets_count_the_gates_of_all(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(**SMALL), "brain": Made(**SMALL)})
    for name, passed in (("lung_ct", [True]), ("brain", [False])):
        (folder / name / "gates.json").write_text(json.dumps({"gates": [
            {"gate": "auc=0.8", "passed": each, "message": f"AUC in {name}."} for each in passed]}))
    assert [(chip.words, chip.tone) for chip in told_of(folder, AS_IT_IS).page().chips] == [
        ("✓ gate met: AUC in lung_ct.", "firm gate"), ("✗ gate not met: AUC in brain.", "flip gate")]
    (folder / "brain" / "gates.json").write_text(json.dumps({"gates": [
        {"gate": "auc=0.8", "passed": each, "message": f"{each}."} for each in (True, False)]}))
    assert told_of(folder, AS_IT_IS).page().chips == (Chip("✗ 2 of 3 gates met", "AUC in lung_ct. True. False.",
                                                           "flip gate"),)


def test_images_at_equal_conditions_have_their_size_with_folds_too(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(hardened=None, **SMALL)})
    equal, whole = folder / "lung_ct/equal", tmp_path / "whole"
    equal.rename(whole)
    (equal / "jobs/original").mkdir(parents=True)
    whole.rename(equal / "jobs/original/fold-0")
    assert read_sets(folder).sets[0].equal_images == {"size": [32, 32]}


def test_sets_without_records_say_why(tmp_path: Path) -> None:
    found, text, plain = told(tmp_path, {
        "lung_ct": Made(failed="no folder lidc | here", records=False), "mnist": Made(records=False),
        "x_ray": Made(equal=None, **SMALL)})
    assert list(found["sets"]) == ["x_ray"]
    assert found["absent"]["lung_ct"] == "no folder lidc | here"
    for said in ("no folder lidc | here", "it has not been assessed yet", "lung ct", "x ray"):
        assert said in text, said
    assert "no folder lidc \\| here" in plain
    nothing, text, _ = told(tmp_path / "none", {"lung_ct": Made(failed="no folder", records=False)})
    assert nothing["answers"][0]["answer"] == "No data set has been assessed."
    assert "no folder" in text
    assert write_report(tmp_path / "none").exists()


def test_names_from_users_are_escaped(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(failed=HOSTILE, **SMALL)}, HOSTILE)
    plan = json.loads((folder / "lung_ct" / "plan.json").read_text())
    plan["data"]["classes"] = ["benign", HOSTILE]
    plan["model"]["name"] = HOSTILE + "|*x*"
    (folder / "lung_ct" / "plan.json").write_text(json.dumps(plan))
    page = told_of(folder, AS_IT_IS).page()
    text = page.html({})
    assert "<script>alert" not in text
    assert text.count("&lt;script") >= 4
    plain = re.sub(r"^```$.*?^```$", "", page.markdown(), flags=re.DOTALL | re.MULTILINE)   # but for code as it is
    assert "<script" not in plain
    assert "\\|\\*x\\*" in plain


@pytest.mark.parametrize(("name", "content"), [
    ("study.json", "[]"), ("study.json", "{"), ("study.json", '{"sets": {}}'), ("study.json", '{"name": "x"}'),
    ("study.json", '{"sets": {"../x": {}}}'), ("lung_ct/failed.json", "3"), ("lung_ct/images.json", "[]"),
    ("lung_ct/attacked.npz", "none"), ("lung_ct/equal/images.json", "[]")])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, name: str, content: str) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(images=12, patients=12)})
    (folder / name).write_text(content)
    with pytest.raises(InputRefused, match=re.escape(name.rpartition("/")[2])):
        read_sets(folder)


def test_attacked_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = made.write_sets(tmp_path, {"lung_ct": Made(images=12, patients=12)})
    arrays = made.attacked(Made())
    for wrong in ({"attack": arrays["attack"][:3]}, {"case_id": arrays["case_id"][:1]},
                  {"probabilities": arrays["probabilities"][:, :, 0]}):
        np.savez(folder / "lung_ct" / "attacked.npz", **(arrays | wrong))
        with pytest.raises(InputRefused, match=r"attacked\.npz"):
            read_sets(folder)
    with pytest.raises(InputRefused, match=r"study\.json"):
        read_sets(tmp_path / "nowhere")


def test_figures_of_nothing_say_so() -> None:
    assert "no attacked images" in attacked_grid([]).svg()
    assert "no set has reads" in str(steadiness([("set", Estimate(None), None)]).tables)
    assert "nothing to compare" in str(forest([], "points", ("worse", "better"), 1).tables)


def test_a_forest_draws_what_is_sure_and_what_is_not() -> None:
    rows = [Difference("one", "better", steady(-0.2, -0.3, -0.1)),
            Difference("one", "worse", steady(0.2, 0.1, 0.3)),
            Difference("two", "alike", steady(0.0, -0.1, 0.1)),
            Difference("two", "few", steady(0.1, None, None))]
    marks = forest(rows, "area", ("better", "worse"), -1).tables["marks"]
    assert [row["colour"] for row in marks] == [BLUE, VERMILION, INK, INK]
    assert len({row["shape"] for row in marks}) == 4
    never = steadiness([("held", Estimate(math.inf, math.inf, math.inf), None),
                        ("other", steady(0.1, 0.05, 0.2), True)])
    assert [row["text"] for row in never.tables["names"]] == ["other", "held"]
    assert "half never flipped" in str(never.tables)
