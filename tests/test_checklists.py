"""The checklists: the guidelines' own numbers, answers from the run's files alone, what is not there left open."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined

import fabricate
from pages import Page
from steadyread import records
from steadyread.metrics import summarise
from steadyread.metrics.summary import as_json
from steadyread.report.checklist_items import METRICS, METRICS_ITEMS, TRIPOD, TRIPOD_ITEMS
from steadyread.report.checklists import Item, checklist, checklist_markdown, checklist_rows
from steadyread.report.stored import Run, read_run
from steadyread.words.plain import with_words

HOSTILE = "</td><script>alert(1)</script> | a\n| *b* [c](d)"
# Collins et al. 2024, table 2: 27 items, their parts, and which are of development (D) or of evaluation (E) alone.
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab",
         27: "abc"}
DEVELOPMENT = {"9a", "12a", "12b", "12c", "15", "22", "27a", "27b"}
EVALUATION = {"12f", "12g", "20c", "24"}
# What no run can know: people, places, money, ethics, and what it all means.
NEVER = {"2", "3a", "3b", "3c", "5b", "6a", "6c", "8b", "8c", "9c", "12d", "14", "17", "18a", "18b", "18c", "18d",
         "19", "23b", "25", "27a", "27b", "27c"}
STUDY: dict[str, Any] = {
    "name": "nodules", "seed": 3,
    "data": {"path": "somewhere/lidc", "layout": "lidc", "options": {}, "limit": 500, "synthetic": 1000},
    "preparation": {"window": [-1000.0, 400.0], "spacing_mm": 0.7, "crop": 64, "size": None},
    "split": {"test_share": 0.3333, "validation_share": 0.2, "official": True, "balance": False, "seed": None},
    "model": {"name": "vgg16", "weights": None, "pretrained": None, "bounds": None, "normalise": "symmetric",
              "window": None, "arguments": {"classes": 2, "channels": 1, "size": 64, "width": 0.25}},
    "training": {"epochs": 8, "batch": 64, "optimiser": "adam", "learning_rate": 0.002, "balance": True,
                 "flips": True, "rotation_degrees": 20.0, "shift_pixels": 3.0, "patience": None}}
FINDINGS = [
    ("class counts", "note", "120 benign, 90 malignant"),
    ("patients", "ok", "150 patients, 210 images; no patient in two parts"),
    ("missing files", "warning", "2 of 212 rows have no file or no mask and are left out; the first: a.npy"),
    ("data", "note", "31 of 243 nodules have no label: fewer than 2 readers"),
    ("data", "note", "read as one grey channel"),
    ("near duplicates", "warning", "2 images occur twice"), ("exact duplicates", "ok", "no exact duplicates"),
    ("drawn images", "note", "210 of 500 images are used, drawn by class"),
    ("unbounded attack", "ok", "PGD flips all"), ("convergence", "warning", "so few steps have not converged")]


SMALL = records.as_table(fabricate.rows(n=24) + fabricate.rows(n=16, part="validation", name="valid"))


def write(folder: Path, study: dict[str, Any] | None = None, findings: list[tuple[str, str, str]] | None = None,
          **changed: Any) -> Path:
    """A fabricated run with its study, its findings and a stored network, as a real one has them."""
    data = fabricate.plan()["data"] | {"name": "lidc", "synthetic": False} | changed.pop("data", {})
    written = fabricate.write_run(folder, changed.pop("table", SMALL), data=data, **changed)
    (folder / "study.json").write_text(json.dumps(STUDY if study is None else study))
    told = [{"check": check, "severity": severity, "message": message, "value": None, "rows": []}
            for check, severity, message in (FINDINGS if findings is None else findings)]
    (folder / "findings.json").write_text(json.dumps(told))
    (folder / "model.safetensors").write_bytes(b"weights")
    return written


def stands(folder: Path, summary: dict[str, Any], file: str, key: str) -> bool:
    """Whether a file of the run holds the key that an answer names."""
    if not key:
        return (folder / file).is_file()
    if file == "records":
        return key in records.SCHEMA.names
    held = summary if file == "summary.json" else json.loads((folder / file).read_text())
    if file == "findings.json":
        return key in [each["check"] for each in held]
    for name in key.split("."):
        if name not in held:
            return False
        held = held[name]
    return True


def told_of(folder: Path, **added: Any) -> dict[str, Item]:
    """The items of a run by number (METRICS' is "M17"), each answer with a file and a key that are there."""
    run, summary = assessed(folder)
    items, told = checklist(run, summary | added), as_json(summary | added)
    for item in items:
        assert (item.answer is None) is (not item.where), item.number
        for file, _, keys in (place.partition(": ") for place in item.where.split("; ") if place):
            for key in keys.split(", "):
                assert stands(folder, told, file, key), (item.number, file, key)
    return {("M" if item.guideline == METRICS else "") + item.number: item for item in items}


@cache
def assessed(folder: Path) -> tuple[Run, dict[str, Any]]:
    """A run that is written, with its summary."""
    run = read_run(folder)
    return run, with_words(summarise(run.table, run.plan, run.findings, run.training))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("checklists") / "full", table=fabricate.table())


@pytest.fixture(scope="module")
def items(full: Path) -> dict[str, Item]:
    return told_of(full)


def test_items_are_those_of_the_guideline() -> None:
    numbers = [f"{number}{part}" for number in range(1, 28) for part in PARTS.get(number, "") or [""]]
    assert [item.number for item in TRIPOD_ITEMS] == numbers
    assert len(numbers) == 52
    marks = {item.number: item.marks for item in TRIPOD_ITEMS}
    assert {number for number in marks if marks[number] == "D"} == DEVELOPMENT
    assert {number for number in marks if marks[number] == "E"} == EVALUATION
    assert set(marks.values()) == {"D", "E", "D;E"}
    assert [item.number for item in METRICS_ITEMS] == ["17"]
    assert (TRIPOD.doi, METRICS.doi) == ("10.1136/bmj-2023-078378", "10.1186/s13244-023-01572-w")


def test_what_no_run_knows_is_open(items: dict[str, Item]) -> None:
    assert {number for number, item in items.items() if item.state == "open"} == NEVER
    assert {(items[number].answer, items[number].where, items[number].left) for number in NEVER} == {(None, "", "")}


@pytest.mark.parametrize(("number", "words"), [
    ("1", "a network is trained to tell benign and malignant apart, then evaluated"),
    ("5a", "The data set lidc, read as lidc."), ("6b", "31 of 243 nodules have no label"),
    ("7", "Resampled to 0.7 mm an axis, then the centre cut out (64 pixels an axis), then values clipped to −1000 "
          "to 400 HU. Read as one grey channel. Checked, and nothing found: exact duplicates. Near duplicates: 2 "),
    ("8a", "benign, malignant"), ("9a", "All pixels of the prepared image (64 pixels an axis, 1 channel)"),
    ("9b", "valid values −1000 to 400 HU"), ("10", "210 of 500 images are used"),
    ("11", "2 of 212 rows have no file"),
    ("12a", "in two parts. Drawn with seed 3: 33.3 % for testing, 20.0 % of the rest for validation"),
    ("12b", "Valid values are scaled to −1 to 1."),
    ("12c", "The network linear (classes = 2, channels = 1, size = 64, width = 0.25), 17 parameters. Training: "
            "optimiser adam, learning rate 0.002, batch 64, augmented by flips, rotations up to 20 degrees, shifts "
            "up to 3 pixels. Internal validation by one held-out part: epoch 5 of 8 was kept"),
    ("12e", "accuracy, AUC, sensitivity, specificity, with 95 % intervals over patients"),
    ("12e", "FGSM, BIM, PGD and a search for the smallest flip"), ("12g", "SHA-256 eeeeeeeeeeee…"),
    ("13", "Class counts: 120 benign, 90 malignant. In training every class is drawn equally often"),
    ("15", "Read as malignant where its probability is above 0.5, else benign."), ("16", "Both are parts of lidc"),
    ("18f", "torch 2.13.0, seed 0; every setting stands in study.json"),
    ("20a", "test: 120 images of 80 patients (benign: "), ("21", "All parts together: 120 benign, 90 malignant."),
    ("22", "model.safetensors of this run holds it"),
    ("23a", "120 clean images, 95 % intervals in brackets: accuracy 86.7 % (79.1 to 92.3), AUC 0."),
    ("23a", "at 1.4 HU (0.0010 of the range)"), ("24", "without recalibration"),
    ("26", "Near duplicates: 2 images occur twice. Convergence: so few steps have not converged."),
    ("M17", "Half of the correct reads flip by a change of"),
    ("M17", "1 of 2 checks that the attacks are sound were passed. Convergence: so few")])
def test_an_answer_says_what_the_files_say(items: dict[str, Item], number: str, words: str) -> None:
    assert words in (items[number].answer or "")


def test_what_the_run_answers_in_part_is_left_to_the_author(items: dict[str, Item]) -> None:
    answered = {number for number, item in items.items() if item.state == "answered"}
    assert answered == {"12a", "12b", "12g", "15", "M17"}
    assert items["23a"].left == "key groups (age, sex, origin)"
    assert items["11"].left == "why these data are missing"
    assert items["13"].left == "why"
    assert all(item.left for item in items.values() if item.state == "partly")


def test_plan_and_records_alone_answer_less_and_invent_nothing(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    for name in ("findings.json", "training.json", "examples.npz"):
        (folder / name).unlink()
    found = told_of(folder)
    known = {number for number, item in found.items() if item.answer is not None}
    assert known == {"5a", "8a", "9b", "10", "12a", "12c", "12e", "12f", "12g", "15", "18e", "18f", "20a", "20b",
                     "21", "22", "23a", "24", "26", "M17"}
    said = " ".join(item.answer or "" for item in found.values()).replace("None: the network", "")
    assert not re.search(r"\b(None|nan|null)\b", said)
    assert "trained to tell" not in said


def test_nothing_is_missing_where_nothing_is(tmp_path: Path) -> None:
    found = told_of(write(tmp_path / "run", findings=[("missing files", "ok", "all 210 images are there")]))
    assert found["11"].answer == "All 210 images are there. Nothing is imputed."
    assert found["11"].state == "answered"
    assert found["6b"].state == "open"


def test_parts_that_a_finding_tells_answer_who_trained_the_network(tmp_path: Path) -> None:
    told = "train: 30 images of 20 patients; validation: 60; test: 120"
    found = told_of(write(tmp_path / "run", findings=[*FINDINGS, ("parts", "note", told)]))
    assert found["21"].state == "answered"
    assert f"T{told[1:]}." in (found["21"].answer or "")
    assert found["20c"].left == "demographics and predictors"


def test_given_weights_are_not_said_to_be_trained(tmp_path: Path) -> None:
    study = STUDY | {"training": None, "model": STUDY["model"] | {"weights": "theirs.pt"}}
    folder = write(tmp_path / "run", study)
    (folder / "training.json").unlink()
    found = told_of(folder)
    assert "Evaluation of a network that was given" in (found["1"].answer or "")
    assert "which images developed the model this run does not know" in (found["12a"].answer or "")
    for number in ("9a", "12c"):
        assert "The weights were given; the model was not developed in this run." in (found[number].answer or "")
        assert "from where the weights come from" in found[number].left
    assert found["16"].answer is None
    assert (found["13"].answer or "").endswith("This run used no method against uneven classes.")
    assert "theirs.pt" not in str(found)


def test_synthetic_images_are_named_so(tmp_path: Path) -> None:
    study = STUDY | {"data": STUDY["data"] | {"path": None}}
    found = told_of(write(tmp_path / "made", study, data={"synthetic": True}))
    for number in ("5a", "23a", "26"):
        assert "SYNTHETIC" in (found[number].answer or "")
    assert "anyone can make them again" in (found["18e"].answer or "")
    read = told_of(write(tmp_path / "read", data={"synthetic": True}))
    assert "anyone can make them again" not in (read["18e"].answer or "")


def test_unknown_patients_are_not_counted(tmp_path: Path) -> None:
    found = told_of(write(tmp_path / "run", findings=[], data={"patients_known": False}))
    assert "test: 24 images (benign" in (found["10"].answer or "")
    assert (found["12a"].answer or "").startswith("Divided by image: no patients are known.")
    assert "No patients are known" in (found["26"].answer or "")


def test_without_an_attack_robustness_is_open(tmp_path: Path) -> None:
    rows = [row for row in fabricate.rows() if row["attack"] == "clean"]
    found = told_of(write(tmp_path / "run", table=records.as_table(rows), attacks={}))
    assert found["M17"].state == "open"
    assert "Under attack" not in (found["12e"].answer or "")
    assert "under attack" not in (found["23a"].answer or "")


def test_hardening_is_told_as_updating_whichever_way_it_went(full: Path) -> None:
    verdict = "Hardening made the reads less steady: 60 % before, 50 % after."
    found = told_of(full, hardening={"verdict": verdict, "training": {"method": "trades"}})
    for number in ("12f", "24", "M17"):
        assert verdict in (found[number].answer or "")
    assert "hardened by TRADES" in (found["24"].answer or "")


def test_a_hardened_network_s_own_run_says_that_it_was_hardened(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    training = json.loads((folder / "training.json").read_text()) | {"method": "pgd", "rule": "the steadiest epoch"}
    (folder / "training.json").write_text(json.dumps(training))
    found = told_of(folder)
    assert "Trained further by PGD adversarial training. The steadiest epoch." in (found["12c"].answer or "")
    assert "was hardened by PGD adversarial training before" in (found["24"].answer or "")


def test_a_stored_summary_gives_the_same(full: Path, items: dict[str, Item]) -> None:
    run, summary = assessed(full)
    assert checklist(run, json.loads(json.dumps(as_json(summary)))) == list(items.values())


@pytest.mark.parametrize("classes", [2, 10])
def test_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    changed, rows = fabricate.plan(classes=classes), fabricate.rows(n=30, classes=classes)
    found = told_of(write(tmp_path / "run", table=records.as_table(rows), data=changed["data"]))
    rule = "malignant where its probability" if classes == 2 else "the class with the highest probability"
    assert rule in (found["15"].answer or "")
    assert ("macro AUC" in (found["12e"].answer or "")) is (classes > 2)


def runs_of(*folders: Path) -> dict[str, tuple[Run, dict[str, Any]]]:
    """Runs by the names of their folders."""
    return {folder.name: assessed(folder) for folder in folders}


def test_rows_count_every_item_once(full: Path) -> None:
    tripod, metrics = checklist_rows(runs_of(full))
    assert (tripod["count"], metrics["count"]) == (52, 1)
    assert sum(tripod["counts"].values()) == 52
    assert [section["name"] for section in tripod["sections"]] == [
        "Title and abstract", "Introduction", "Methods", "Open science", "Patient and public involvement",
        "Results", "Discussion"]
    assert sum(len(section["rows"]) for section in tripod["sections"]) == 52


def test_several_runs_share_what_they_say_alike(full: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", STUDY | {"preparation": {"crop": 32}}, findings=[])
    rows = {row["number"]: row for section in checklist_rows(runs_of(full, other))[0]["sections"]
            for row in section["rows"]}
    assert [one["runs"] for one in rows["8a"]["answers"]] == [[]]
    assert [one["runs"] for one in rows["7"]["answers"]] == [["full"], ["other"]]
    assert (rows["6b"]["state"], rows["6b"]["answers"][1]["answer"]) == ("partly", None)
    assert (rows["17"]["state"], rows["17"]["answers"]) == ("open", [])
    text = checklist_markdown(runs_of(full, other))
    assert "**other**: The centre cut out (32 pixels an axis)." in text
    assert "; all of it where a run says nothing. |" in text


def test_markdown_is_whole_tables_whatever_a_user_named(tmp_path: Path) -> None:
    study = STUDY | {"data": STUDY["data"] | {"layout": HOSTILE}}
    folder = write(tmp_path / "run", study, findings=[(HOSTILE, "error", HOSTILE), ("data", "note", HOSTILE)],
                   data={"name": HOSTILE, "classes": [HOSTILE, "_b_"]})
    text = checklist_markdown({HOSTILE: runs_of(folder)["run"]})
    assert "<script" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len([line for line in table if line.startswith("| **")]) == 53
    for line in table:
        assert len(re.split(r"(?<!\\)\|", line)) == 6, line
    assert not re.search(r"(?<!\\)\*b", text)
    assert not re.search(r"(?<!\\)\[c", text)
    assert r"\_b\_" in text
    assert text.startswith("# Reporting checklists of &lt;/td&gt;&lt;script&gt;")


def test_markdown_leaves_a_gap_for_the_author(full: Path) -> None:
    text = checklist_markdown(runs_of(full))
    assert re.search(r"\| \*\*17\*\* Ethical approval \(D;E\) \| [^|]+ \| \*open\* \| Everything\. \|", text)
    assert "52 items, parts counted singly: 4 answered, 25 partly, 23 open." in text
    assert "1 item: 1 answered, 0 partly, 0 open." in text
    assert "doi:10.1136/bmj-2023-078378" in text
    assert text == checklist_markdown(runs_of(full))


def test_html_rows_are_folded_and_inert(full: Path, tmp_path: Path) -> None:
    hostile = write(tmp_path / "run", findings=[(HOSTILE, "error", HOSTILE)],
                    data={"name": HOSTILE, "classes": [HOSTILE, "b"]})
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              loader=PackageLoader("steadyread.report", ""))
    runs = runs_of(full) | {HOSTILE: runs_of(hostile)["run"]}
    text = environment.get_template("checklist.html.j2").render(checklists=checklist_rows(runs))
    page = Page(text)
    counted = Counter(tag for tag, _ in page.tags)
    assert counted["details"] == counted["table"] == 2
    assert counted["tr"] == 2 + 8 + 53
    assert not {"script", "img", "a"} & page.names
    assert "For the author" in text
    assert "&lt;script&gt;" in text
