"""The checklists: the guidelines' own numbers, answers from the run's files alone, what is not there left open."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import fabricate
from pages import Page, run_by_hash
from steadyread import records
from steadyread.errors import InputRefused
from steadyread.findings import SOUNDNESS
from steadyread.metrics import summarise
from steadyread.metrics.summary import as_json
from steadyread.report import checklists, marks
from steadyread.report.checklists import Answer, Row, checklist_json, checklist_rows, crosswalks
from steadyread.report.crossed import checklist_markdown, folds
from steadyread.report.evidence import ROOTS
from steadyread.report.facts import FACTS
from steadyread.report.page import Page as Written
from steadyread.report.page import Passage
from steadyread.report.stored import Run, read_run
from steadyread.words.plain import with_words

HOSTILE = "</td><script>alert(1)</script> | a\n| *b* [c](d) \x01i\x02e\x03"
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
    ("near duplicates", "warning", "2 images occur twice"), ("near duplicates", "ok", "of others"),
    ("exact duplicates", "ok", "no exact duplicates"),
    ("drawn images", "note", "210 of 500 images are used, sampled by class"),
    ("unbounded attack", "ok", "PGD flips all"), ("convergence", "warning", "so few steps have not converged")]
SMALL = records.as_table(fabricate.rows(n=24) + fabricate.rows(n=16, part="validation", name="valid"))


def write(folder: Path, study: dict[str, Any] | None = None, findings: list[tuple[str, str, str]] | None = None,
          **changed: Any) -> Path:
    """A fabricated run with its study, its findings and a stored network, as a real one has them."""
    data = fabricate.plan()["data"] | {"name": "lidc", "synthetic": False} | changed.pop("data", {})
    written = fabricate.write_run(folder, changed.pop("table", SMALL), data=data, **changed)
    (folder / "study.json").write_text(json.dumps(STUDY if study is None else study))
    rows = [{"check": check, "severity": severity, "message": message, "value": None, "rows": [],
             "topic": SOUNDNESS if check in ("unbounded attack", "convergence") else ""}
            for check, severity, message in (FINDINGS if findings is None else findings)]
    (folder / "findings.json").write_text(json.dumps(rows))
    (folder / "model.safetensors").write_bytes(b"weights")
    return written


@cache
def assessed(folder: Path) -> tuple[Run, dict[str, Any]]:
    """A run that is written, with its summary."""
    run = read_run(folder)
    return run, with_words(summarise(run.table, run.plan, run.findings, run.training))


def runs_of(*folders: Path) -> dict[str, tuple[Run, dict[str, Any]]]:
    """Runs by the names of their folders."""
    return {folder.name: assessed(folder) for folder in folders}


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


def rows_of(folder: Path, **added: Any) -> dict[tuple[str, str], Row]:
    """A run's rows by guideline and number: each has an address, and cites nothing that no file holds."""
    run, summary = assessed(folder)
    found = {(filled.guide.name, row.item.number): row
             for filled in checklist_rows({"run": (run, summary | added)}) for row in filled.rows}
    plain = as_json(summary | added)
    for where, row in found.items():
        assert row.item.address.startswith("https://"), where
        assert (row.state == "open") is (not row.answers), where
        assert (row.state == "answered") is (not row.left), where
        assert row.item.asks or row.state != "answered", where
        for file, _, keys in (place.partition(": ") for answer in row.answers for place in answer.where.split("; ")):
            for key in keys.split(", "):
                assert stands(folder, plain, file, key), (where, file, key)
    return found


def tripod(rows: dict[tuple[str, str], Row]) -> dict[str, str]:
    """What a run answers to TRIPOD+AI, by number."""
    return {number: row.answers[0].text or "" for (guide, number), row in rows.items()
            if guide == "TRIPOD+AI" and row.answers}


def robust(rows: dict[tuple[str, str], Row]) -> str:
    """What a run answers to METRICS' item 17."""
    return "".join(answer.text or "" for answer in rows["METRICS", "17"].answers)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("checklists") / "full", table=fabricate.table())


@pytest.fixture(scope="module")
def rows(full: Path) -> dict[tuple[str, str], Row]:
    return rows_of(full)


def test_guidelines_are_whole(rows: dict[tuple[str, str], Row]) -> None:
    counts = Counter(guide for guide, _ in rows)
    assert counts == {"TRIPOD+AI": 52, "METRICS": 30, "CLAIM 2024": 44, "STARD-AI": 48, "FUTURE-AI": 30,
                      "ISO/IEC 24029": 22, "EU AI Act, Article 15": 11, "FDA": 23}
    assert next(iter(counts)) == "TRIPOD+AI"


def test_every_shared_sentence_can_be_filled_and_is_asked_for(rows: dict[tuple[str, str], Row]) -> None:
    shared = {name: [place for sentence in paragraph for place in sentence.places]
              for name, paragraph in checklists._shared().items()}
    asked = {place for row in rows.values() for sentence in row.item.answers for place in sentence.places}
    asked |= {place for places in shared.values() for place in places}
    assert not shared.keys() & FACTS.keys()
    assert shared.keys() | FACTS.keys() <= asked
    assert {place.partition(".")[0] for place in asked - shared.keys() - FACTS.keys()} <= ROOTS.keys()


def test_what_no_run_knows_is_open(rows: dict[tuple[str, str], Row]) -> None:
    assert {number for (guide, number), row in rows.items() if guide == "TRIPOD+AI" and row.state == "open"} == NEVER
    answered = {number for (guide, number), row in rows.items() if guide == "TRIPOD+AI" and row.state == "answered"}
    assert answered == {"12a", "12b", "12g", "15"}
    assert rows["METRICS", "17"].state == "answered"
    assert rows["TRIPOD+AI", "23a"].left == "Key groups (age, sex, origin)."
    assert rows["ISO/IEC 24029", "3: i"].left == "What the item asks: its text is not open to us."


@pytest.mark.parametrize(("number", "words"), [
    ("12c", "The network linear (classes 2, channels 1, size 64, width 0.25), 17 parameters. Training: optimiser adam, "
            "learning rate 0.002, batch 64, augmented by flips, rotations up to 20 degrees, shifts up to 3 pixels. "
            "Internal validation by one held-out part: epoch 5 of 8 was kept"),
    ("12e", "FGSM, BIM, PGD and a search for the smallest flip"),
    ("15", "Read as malignant where its probability is above 0.5, else benign."),
    ("20a", "test: 120 images of 80 patients (benign: "), ("21", "All parts together: 120 benign, 90 malignant."),
    ("22", "SHA-256 eeeeeeeeeeee…. model.safetensors of this run holds it"),
    ("23a", "120 clean images, 95 % intervals in brackets: accuracy 86.7 % (79.1 to 92.3), AUC 0."),
    ("23a", "at 1.4 HU (0.0010 of the range)")])
def test_an_answer_says_what_the_files_say(rows: dict[tuple[str, str], Row], number: str, words: str) -> None:
    assert words in tripod(rows)[number]


def test_a_dose_is_not_told_as_a_size_of_each_pixel(tmp_path: Path) -> None:
    noise = [row | {"attack": "random_ct_noise", "threat": "CTNoise", "against": "prediction", "size": 50.0,
                    "unit": "mAs"}
             for row in fabricate.rows() if row["attack"] == "fgsm"]
    found = robust(rows_of(write(tmp_path / "run", table=records.as_table([*fabricate.rows(), *noise]))))
    assert "a search for the smallest flip and CT noise" not in robust(rows_of(write(tmp_path / "other")))
    assert "CT noise, each by at most a stated size, or at a stated dose or level" in found
    assert "any pixel" not in found


def test_plan_and_records_alone_answer_less_and_invent_nothing(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    for name in ("findings.json", "training.json", "examples.npz"):
        (folder / name).unlink()
    found = rows_of(folder)
    assert tripod(found).keys() == {"5a", "8a", "9b", "10", "12a", "12c", "12e", "12f", "12g", "15", "18e", "18f",
                                    "20a", "20b", "21", "22", "23a", "24", "26"}
    said = " ".join(answer.text or "" for row in found.values() for answer in row.answers)
    assert not re.search(r"\b(None|nan|null)\b|[{}]", said.replace("None: the network", ""))
    assert "trained to tell" not in said


def test_findings_that_tell_the_whole_leave_nothing(tmp_path: Path) -> None:
    parts = "train: 30 images of 20 patients; validation: 60; test: 120"
    found = rows_of(write(tmp_path / "run", findings=[("missing files", "ok", "all 210 images are there"),
                                                      ("parts", "note", parts),
                                                      *[("one class", "error", f"network {at}") for at in range(5)]]))
    assert tripod(found)["11"] == "All 210 images are there. Nothing is imputed."
    assert f"T{parts[1:]}." in tripod(found)["21"]
    assert [found["TRIPOD+AI", number].state for number in ("11", "21", "6b")] == ["answered", "answered", "open"]
    assert found["TRIPOD+AI", "20c"].left == "Demographics and predictors."
    assert tripod(found)["26"] == "One class: network 0; network 1; network 2 (and 2 more)."


def test_given_weights_are_not_said_to_be_trained(tmp_path: Path) -> None:
    study = STUDY | {"training": None, "model": STUDY["model"] | {"weights": "theirs.pt"}}
    folder = write(tmp_path / "run", study)
    (folder / "training.json").unlink()
    found = rows_of(folder)
    assert "Evaluation of a network that was given" in tripod(found)["1"]
    assert found["TRIPOD+AI", "12a"].left == "Which images developed the model."
    for number in ("9a", "12c"):
        assert "The weights were given; the model was not developed in this run." in tripod(found)[number]
        assert "here the weights come from" in found["TRIPOD+AI", number].left
    assert {found[where].state for where in (("TRIPOD+AI", "16"), ("METRICS", "26"))} == {"open"}
    assert tripod(found)["13"].endswith("This run used no method against uneven classes.")
    assert "theirs.pt" not in str([row.answers for row in found.values()])


def test_synthetic_images_and_unknown_patients_are_named_so(tmp_path: Path) -> None:
    study = STUDY | {"data": STUDY["data"] | {"path": None}}
    made = tripod(rows_of(write(tmp_path / "made", study, data={"synthetic": True})))
    assert all("SYNTHETIC" in made[number] for number in ("5a", "23a", "26"))
    assert "anyone can make them again" in made["18e"]
    read = tripod(rows_of(write(tmp_path / "read", data={"synthetic": True})))
    assert "anyone can make them again" not in read["18e"]
    unknown = tripod(rows_of(write(tmp_path / "unknown", findings=[], data={"patients_known": False})))
    assert "test: 24 images (benign" in unknown["10"]
    assert unknown["12a"].startswith("Split by image: no patients are known.")
    assert "No patients are known" in unknown["26"]


def test_without_an_attack_robustness_is_open(tmp_path: Path) -> None:
    clean = [row for row in fabricate.rows() if row["attack"] == "clean"]
    found = rows_of(write(tmp_path / "run", table=records.as_table(clean), attacks={}))
    assert found["METRICS", "17"].state == "open"
    assert "nder attack" not in tripod(found)["12e"] + tripod(found)["23a"]


def test_hardening_is_told_as_updating_whichever_way_it_went(full: Path, tmp_path: Path) -> None:
    verdict = "Hardening made the reads less steady: 60 % before, 50 % after."
    found = rows_of(full, hardening={"verdict": verdict, "training": {"method": "trades"}})
    assert all(verdict in text for text in (tripod(found)["12f"], tripod(found)["24"], robust(found)))
    assert "hardened by TRADES" in tripod(found)["24"]
    folder = write(tmp_path / "run")
    training = json.loads((folder / "training.json").read_text()) | {"method": "pgd", "rule": "the steadiest epoch"}
    (folder / "training.json").write_text(json.dumps(training))
    itself = tripod(rows_of(folder))
    assert "Trained further by PGD adversarial training. The steadiest epoch." in itself["12c"]
    assert "was hardened by PGD adversarial training before" in itself["24"]


def test_a_stored_summary_gives_the_same(full: Path) -> None:
    run, summary = assessed(full)
    stored = json.loads(json.dumps(as_json(summary)))
    assert checklist_rows({"full": (run, stored)}) == checklist_rows(runs_of(full))


def test_several_runs_share_what_they_say_alike(full: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", STUDY | {"preparation": {"crop": 32}}, findings=[])
    rows = {row.item.number: row for row in checklist_rows(runs_of(full, other))[0].rows}
    assert [answer.runs for answer in rows["8a"].answers] == [()]
    assert [answer.runs for answer in rows["7"].answers] == [("full",), ("other",)]
    assert (rows["6b"].state, rows["6b"].answers[1].text) == ("partly", None)
    assert (rows["17"].state, rows["17"].answers) == ("open", ())
    text = checklist_markdown(runs_of(full, other))
    assert "**other**: The centre cut out (32 pixels per axis)." in text
    assert "; all of it where a run says nothing. |" in text


def test_markdown_and_json_say_the_same(full: Path) -> None:
    text, plain = checklist_markdown(runs_of(full)), checklist_json(runs_of(full))
    states = Counter(state for state in re.findall(r"\| (answered|partly|open) \|", text))
    items = [item for guide in plain["checklists"] for item in guide["items"]]
    assert states == Counter(item["state"] for item in items)
    assert sum(states.values()) == 260
    for guide in plain["checklists"]:
        assert guide["counts"] == {state: sum(item["state"] == state for item in guide["items"])
                                   for state in ("answered", "partly", "open")}
        assert f"| {guide['name']} | {len(guide['items'])} | {' | '.join(map(str, guide['counts'].values()))} |" in text
        assert guide["address"] in text
    assert all(marks.markdown(answer["text"]) in text for item in items for answer in item["answers"])


def test_what_a_user_named_stays_words(full: Path, tmp_path: Path) -> None:
    study = STUDY | {"data": STUDY["data"] | {"layout": HOSTILE}}
    folder = write(tmp_path / "run", study, findings=[(HOSTILE, "error", HOSTILE), ("data", "note", HOSTILE)],
                   data={"name": HOSTILE, "classes": [HOSTILE, "_b_"]})
    runs = {HOSTILE: assessed(folder)}
    text = checklist_markdown(runs)
    assert "<script" not in text
    for line in (line for line in text.splitlines() if line.startswith("|")):
        assert len(re.split(r"(?<!\\)\|", line)) == 7, line
    assert not re.search(r"(?<!\\)\*[be]", text)
    assert not re.search(r"(?<!\\)\[c", text)
    assert r"\_b\_" in text
    assert text.startswith("# Reporting checklists of &lt;/td&gt;&lt;script&gt;")
    folded = folds(checklist_rows(runs_of(full) | runs))
    html = Written("", "", (), (Passage("Reporting checklists", tuple(folded)),), "").html({})
    page = Page(html)
    assert Counter(tag for tag, _ in page.tags)["details"] == 8
    run_by_hash(page)
    assert "img" not in page.names
    assert "<i>e" not in html


OWN = """
name = "Our ward's list"
about = "what we ask"
address = "https://example.org/list"
source = "Ours."
order = 0
[[sections]]
name = "Network"
items = [
  {number = "1", topic = "Name", asks = "Its name", answers = [
    "The network {plan.model.name}[ in {plan.model.colour}][, read above {plan.model.threshold}].",
    "Of {plan.model.age} years."]},
  {number = "2", topic = "Kind", answers = [{says = "{identity}", cites = ["plan.model.colour", "plan.seed"]}]},
]
"""


def test_a_list_of_one_s_own_is_a_file_more(full: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "notes.md").write_text("no list")
    filled = checklist_rows(runs_of(full), crosswalks(tmp_path))
    assert [(row.item.address, row.state) for row in filled[0].rows] == [
        ("https://example.org/list", "answered"), ("https://example.org/list", "partly")]
    assert filled[0].rows[0].answers == (
        Answer("The network linear, read above 0.5.", "plan.json: model.name, model.threshold"),)
    assert filled[0].rows[1].answers[0].where == "plan.json: model.name, model.sha256, seed"
    assert "Not known here: https://example.org/list." in checklist_markdown(runs_of(full), crosswalks(tmp_path))


@pytest.mark.parametrize(("before", "after", "reason"), [
    ("{plan.model.age}", "{plans.model.age}", "'plans.model.age' is no fact"),
    ("{plan.model.age}", "{plan.model.age:years}", "'years' of 'plan.model.age' is none of the styles"),
    ("about =", "abut =", "about"), ("[[sections]]", "[[section]]", "sections"),
    ("number =", "numbr =", "numb"), ("order = 0", "order =", "line 6")])
def test_a_list_that_cannot_be_filled_is_refused(tmp_path: Path, before: str, after: str, reason: str) -> None:
    (tmp_path / "own.toml").write_text(OWN.replace(before, after, 1))
    with pytest.raises(InputRefused, match=r"own\.toml: not a crosswalk") as refused:
        crosswalks(tmp_path)
    assert reason in str(refused.value)
