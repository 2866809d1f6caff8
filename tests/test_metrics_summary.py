"""The summary is strict JSON for every table, its verdict plain, and its gates judged from the exact curve."""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fabricate
from steadyread import records
from steadyread.errors import UsageError
from steadyread.gates import gate, judge
from steadyread.metrics import reads_of, summarise
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.robustness import robust_curve, step_curve
from steadyread.metrics.summary import as_json
from steadyread.report.accuracy_drawings import AttackPoints, Side, reach
from steadyread.units import Bounds, size_json
from steadyread.words.answer import answer
from steadyread.words.plain import with_words
from steadyread.words.sets import flips_answer


def table_without(*attacks: str, **settings: Any) -> pa.Table:
    return records.as_table([row for row in fabricate.rows(**settings) if row["attack"] not in attacks])


TABLES = {
    "ordinary": fabricate.table, "empty": lambda: records.as_table([]),
    "one image": lambda: records.as_table(fabricate.rows(n=1)),
    "ten classes": lambda: fabricate.table(classes=10),
    "clean only": lambda: table_without("fgsm", "bim", "pgd", "smallest_flip", n=10),
    "no search": lambda: table_without("smallest_flip", n=20),
    "search only": lambda: table_without("fgsm", "bim", "pgd", n=20),
    "label only": lambda: fabricate.table(against=("label",)),
    "prediction only": lambda: fabricate.table(against=("prediction",)),
    "all robust": lambda: fabricate.table(slope=1e-6), "none robust": lambda: fabricate.table(slope=1e4),
    "one patient": lambda: records.as_table(fabricate.rows(n=20, patients=1)),
    "one class": lambda: records.as_table([row | {"label": 0} for row in fabricate.rows(n=20)]),
    "all wrong": lambda: records.as_table([row | {"label": 1 - row["prediction"]} for row in fabricate.rows(n=9)
                                           if row["attack"] == "clean"]),
    "training part": lambda: records.as_table(fabricate.rows(n=20, part="train")),
    "no labels": lambda: records.as_table([row | {"label": None} for row in fabricate.rows(
        n=20, against=("prediction",))]),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_gives_strict_json_and_a_verdict(name: str) -> None:
    found = with_words(summarise(TABLES[name](), fabricate.plan(classes=10 if name == "ten classes" else 2)))
    text = json.dumps(as_json(found), allow_nan=False)
    told = answer(found)
    assert json.loads(text)["verdict"] == told.sentence
    assert told.number in told.sentence
    assert len(told.sentence.split()) <= 20
    assert len(re.findall(r"\d+(?:\.\d+)?", told.sentence)) <= 1
    assert "nan" not in told.sentence


def test_never_flipped_is_the_word_inf_in_json() -> None:
    told = as_json(summarise(TABLES["all robust"](), fabricate.plan()))
    flips = told["robustness"]["label"]["smallest_flip"]
    assert flips["median"] == {"native": "inf", "unit": "HU", "of_range": "inf"}
    assert flips["never"]["value"] == 1
    assert told["fragile"] == []


def test_a_fragile_case_is_named_once_over_folds() -> None:
    """By the network that flips it first."""
    each = [fabricate.rows(slope=slope) for slope in (0.25, 0.1)]
    folds = records.as_table([row | {"fold": fold} for fold, rows in enumerate(each) for row in rows])
    alone, both = (summarise(table, fabricate.plan())["fragile"] for table in (records.as_table(each[0]), folds))
    assert [row["case_id"] for row in both] == list(dict.fromkeys(row["case_id"] for row in both))
    assert both[0]["size"]["native"] <= alone[0]["size"]["native"]


def test_the_fragile_cases_are_the_smallest_flips() -> None:
    told = summarise(fabricate.table(), fabricate.plan())["fragile"]
    sizes = [row["size"]["native"] for row in told]
    assert len(sizes) == 20
    assert sizes == sorted(sizes)


def test_only_the_test_part_is_judged() -> None:
    told = summarise(fabricate.table(), fabricate.plan())
    assert (told["part"], told["images"], told["triage"]["validation_images"]) == ("test", 120, 60)


def test_one_stage_is_judged_and_the_others_named() -> None:
    hardened = [row | {"stage": "hardened"} for row in fabricate.rows(n=30)]
    told = summarise(records.as_table(hardened + fabricate.rows(n=20)), fabricate.plan())
    assert (told["stage"], told["stages"], told["images"]) == ("plain", ["plain", "hardened"], 20)


def test_passes_count_one_reference_and_the_judged_part() -> None:
    told = {row["attack"]: row for row in summarise(fabricate.table(), fabricate.plan())["passes"]}
    assert told["smallest_flip"]["rows"] == 120
    only = summarise(fabricate.table(against=("label",)), fabricate.plan())
    wrong = 120 * (1 - only["discrimination"]["accuracy"].value)
    assert only["passes"][-1]["rows"] == pytest.approx(120 - wrong)     # these need no search


def test_only_what_was_searched_is_called_exact() -> None:
    near = fabricate.plan(attacks=["smallest_flip(largest=5.0)"])
    told = summarise(fabricate.table(), near)["robustness"]["label"]
    assert [row["exact"] for row in told["at"]] == [True, True, False, False]
    assert told["curve"]["sizes"].max() <= told["curve"]["up_to"] == 5.0
    without = summarise(TABLES["no search"](), fabricate.plan())["robustness"]["label"]
    assert [row["exact"] for row in without["at"]] == [False] * 4
    assert without["curve"]["sizes"].tolist() == [0]
    assert summarise(TABLES["clean only"](), fabricate.plan())["robustness"]["label"]["at"] == []
    sizes = [row["size"]["native"] for row in summarise(TABLES["search only"](), near)["robustness"]["label"]["at"]]
    assert sizes == pytest.approx([1.4, 2.8])


@pytest.mark.parametrize(("text", "shown"), [("robust_accuracy@0.002 range=0.5", "robust_accuracy@0.002 range=0.5"),
                                             (" auc = 0.8 ", "auc=0.8"), ("kept_accuracy=0.9", "kept_accuracy=0.9"),
                                             ("robust_accuracy @ 5.6 HU = 0.1", "robust_accuracy@5.6 HU=0.1")])
def test_a_gate_is_read(text: str, shown: str) -> None:
    assert str(gate(text)) == shown


@pytest.mark.parametrize(("text", "message"), [
    ("auc", "a gate is a figure and its least value"), ("acuracy=0.8", "did you mean 'accuracy'"),
    ("robust_accuracy=0.5", "needs a size"), ("auc@0.1 range=0.5", "has none"), ("auc=80", "between 0 and 1"),
    ("auc=good", "between 0 and 1"), ("robust_accuracy@0.002=0.5", "no unit"),
    ("robust_accuracy@0 range=0.5", "positive number"), ("robust_accuracy@1e999 HU=0.5", "positive number"),
    ("", "a gate is a figure")])
def test_a_gate_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gate(text)


def test_without_a_search_a_gate_between_sizes_is_judged_by_the_next_larger() -> None:
    table, plan = TABLES["no search"](), fabricate.plan()
    curve = robust_curve(reads_of(table, "test"), "label")
    told = judge(gate("robust_accuracy@3 HU=0"), table, plan)
    assert told.value == curve.at(5.6).value < curve.at(3.0).value
    assert "5.6 HU (0.0040 of the range), the next larger size tried" in told.message
    assert judge(gate(f"robust_accuracy@3 HU={curve.at(3.0).value}"), table, plan).passed is False
    tried = judge(gate("robust_accuracy@0.002 range=0"), table, plan)
    assert tried.value == curve.at(2.8).value
    assert "merged from fixed sizes, at that size" in tried.message
    beyond = judge(gate("robust_accuracy@7 HU=0"), fabricate.table(),
                   fabricate.plan(attacks=["smallest_flip(largest=5.0)"]))
    assert "8.4 HU" in beyond.message


def test_the_gate_on_kept_reads_withholds_what_the_study_states() -> None:
    table = fabricate.table()
    plans = [fabricate.plan(study={"triage": {"withhold": share}}) for share in (0.2, 0.5)]
    a_fifth, a_half = (judge(gate("kept_accuracy=0"), table, plan).value for plan in plans)
    assert a_half > a_fifth


def test_gates_are_judged_from_the_exact_curve() -> None:
    table, plan = fabricate.table(), fabricate.plan()
    exact = robust_curve(reads_of(table, "test"), "label").at(0.0037 * 1400).value
    told = judge(gate(f"robust_accuracy@0.0037 range={exact:.3f}"), table, plan)
    assert told.value == pytest.approx(exact)
    assert judge(gate("robust_accuracy@5.18 HU=0"), table, plan).value == pytest.approx(exact)
    assert judge(gate("robust_accuracy@0.0037 range=0.99"), table, plan).passed is False
    assert judge(gate("auc=0.5"), table, plan).passed
    assert judge(gate("kept_accuracy=0.5"), table, plan).passed
    assert "below 0.999" in judge(gate("specificity=0.999"), table, plan).message


@pytest.mark.parametrize(("text", "table", "message"), [
    ("robust_accuracy@0.06 range=0.5", "ordinary", "beyond the largest"),
    ("robust_accuracy@5 mm=0.5", "ordinary", "has the unit 'mm'"),
    ("robust_accuracy@0.002 range=0.5", "clean only", "cannot be judged"),
    ("robust_accuracy@0.02 range=0.5", "no search", "beyond the largest"),
    ("auc=0.5", "one class", "cannot be judged"), ("kept_accuracy=0.5", "label only", "cannot be judged")])
def test_a_gate_that_cannot_be_judged_is_refused(text: str, table: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        judge(gate(text), TABLES[table](), fabricate.plan())


def attacked(clean: float, worst: float) -> dict[str, Any]:
    """As much of a summary as the verdict takes: no search, one attack."""
    size = size_json(1.4, Bounds(-1000, 400, "HU"))
    attacks = [{"attack": "pgd", "size": size, "accuracy": Estimate(worst)}]
    nothing = {"attacks": [], "smallest_flip": {"searched": False, "images": 0}}
    return {"images": 20, "discrimination": {"accuracy": Estimate(clean)},
            "robustness": {"label": nothing | {"attacks": attacks}, "prediction": nothing}}


@pytest.mark.parametrize(("n", "half"), [(1, False), (2, False), (9, False), (10, True)])
def test_half_of_the_correct_reads_is_not_said_of_two(n: int, half: bool) -> None:
    flips = {"searched": True, "images": n, "median": size_json(1.4, Bounds(0, 1400, "HU")),
             "never": Estimate(0.0), "searched_up_to": None}
    summary = attacked(0.5, 0.1)
    summary["robustness"]["label"]["smallest_flip"] = flips
    assert answer(summary).sentence.startswith("Half of the correct reads") is half
    titled = {"one": "One set"}
    assert ("Half of the correct reads" in flips_answer({"one": summary}, titled)) is half
    assert ("too few" in flips_answer({"one": summary}, titled)) is not half


def test_the_drawn_curve_reaches_the_headline() -> None:
    """Attacks were tried at small sizes only, and most reads flip far beyond them."""
    bounds = Bounds(0, 1000)
    curve = step_curve(np.r_[np.arange(1.0, 11), np.linspace(50, 51, 40)], np.ones(50, bool), np.zeros(50, bool),
                       np.arange(50).astype(str))
    assert curve.half_way == pytest.approx(50, abs=0.5)
    assert reach([Side(curve, [AttackPoints("PGD", [1.0, 8.0], [0.98, 0.8])])], bounds) > curve.half_way
    for flips in (np.full(5, np.inf), np.zeros(0)):
        right = np.ones(len(flips), bool)
        assert step_curve(flips, right, ~right, np.arange(len(flips)).astype(str)).half_way == 0
