"""Reports that may leave the house: no case's id, no patient's, no folder of the machine, unless asked for."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fabricate
import fabricate_noise as noise
import fabricate_noise_hardening as noise_hardening
import fabricate_seen as seen
import fabricate_sets as sets
from fabricate_pictures import Call, pictures
from steadyread import records
from steadyread.report.shareable import Shareable, read_cases
from steadyread.stored import report_run, triage_run
from test_hardening_report import harden

SHARED = ("*.html", "*.md", "summary.json", "figures/*")
KNOWN = {"LIDC-IDRI-0001": "P", "7": "P", "benign/Doe-1.png": "C", "Doe": "P"}
FOUND = Shareable(b"secret", KNOWN, ("Doe-like",), ("/home/some one/my data",))
P1, P7, CASE, DOE = (FOUND.patient("LIDC-IDRI-0001"), FOUND.patient("7"), FOUND.case("benign/Doe-1.png"),
                     FOUND.patient("Doe"))


def everything(folder: Path) -> str:
    """All that may be shared of a run, with the files' names; pictures as far as they hold text."""
    return "\n".join(f"{path.name}\n{path.read_bytes().decode('latin-1')}" for pattern in SHARED
                     for path in sorted(folder.glob(pattern)))


def renamed(folder: Path) -> Path:
    """A made run with ids as hospitals have them, in every file that has ids."""
    for path in folder.rglob("part-*.parquet"):
        table = records.table_in(path.read_bytes(), path)
        rows = [row | {"case_id": f"Doe^{row['case_id']}", "patient_id": f"MRN^{row['patient_id']}"}
                for row in table.to_pylist()]
        path.unlink()
        records.Store(path.parent.parent).write_part(0, rows)
    for path in folder.rglob("*.npz"):
        arrays = records.read_npz(path)
        for name, before in (("case_id", "Doe^"), ("feature_case_id", "Doe^"), ("feature_patient_id", "MRN^")):
            if name in arrays:
                arrays[name] = np.array([f"{before}{one}" for one in arrays[name]])
        records.write_npz(path, arrays)
    for path in (*folder.rglob("seen.json"), *folder.rglob("findings.json"), *folder.rglob("co*.json")):
        text = path.read_text("utf-8").replace('"case-', '"Doe^case-').replace('"p-', '"MRN^p-')
        path.write_text(text)
    for path in folder.rglob("cases.csv"):
        path.write_text(path.read_text("utf-8").replace("case-", "Doe^case-").replace(",p-", ",MRN^p-"))
    for path in folder.rglob("findings.json"):
        held = [{"check": "exact duplicates", "severity": "warning", "value": 1.0,
                 "message": f"the first: Doe^case-0003 (1) = Doe^unread; {folder}/x/Doe^9.png and Doe^case-0004",
                 "rows": ["Doe^case-0003 = Doe^unread"]},
                {"check": "dominant patient", "severity": "warning", "value": 0.5, "rows": ["MRN^p-001"],
                 "message": "60 of 120 images are of one of 4 patients, MRN^p-001: the results are largely his"}]
        path.write_text(json.dumps([*json.loads(path.read_text("utf-8")), *held]))
    return folder


def hardened(folder: Path) -> Path:
    """A plain run, hardened, of which a class is called like a case."""
    data = fabricate.plan()["data"] | {"classes": ["benign", "case-0001-like"]}
    fabricate.write_run(folder, data=data, study={"data": {"path": str(folder / "x/list.csv")}})
    harden(folder, fabricate.rows(slope=0.1))
    return folder


def ct_noise(folder: Path) -> Path:
    """A study of CT noise with everything that it may have."""
    made = noise.Made(cases=40, patients=30, doses=(50.0, 100.0), draws=10, starts=5)
    noise.write_study(folder, made)
    noise_hardening.add_hardened(folder, study=made)
    seen.write_seen(folder / "jobs/original/fold-0", seen.Seen(cases=24, patients=20, features=4, shown=2))
    return folder


def several(folder: Path) -> Path:
    """A study of two data sets."""
    small = {"images": 36, "patients": 36}
    return sets.write_sets(folder, {"lung_ct": sets.Made(hardened=0.15, **small),
                                    "mnist": sets.Made(0.05, 10, **small)})


@pytest.mark.parametrize(("text", "shown"), [
    ("patient LIDC-IDRI-0001 holds 30 %", f"patient {P1} holds 30 %"), ("LIDC-IDRI-00011", "LIDC-IDRI-00011"),
    ("patient 7 holds 7 %", f"patient {P7} holds 7 %"), ("7 of 70", "7 of 70"),
    ("the first: benign/Doe-1.png (malignant)", f"the first: {CASE} (malignant)"),
    ("40 Doe-like, 60 Doe", f"40 Doe-like, 60 {DOE}"),
    ("masks are left out, such as benign/Roe-2_mask.png; state", "masks are left out, such as a picture; state"),
    ("/home/someone/data/benign/Doe-1.png: cannot be read", f"{CASE}: cannot be read"),
    ("row 3: no file /home/some one/my data/x.csv", "row 3: no file x.csv"),
    ("in /home/some one/my data", "in my data"),
    (r"C:\Users\me\x.csv is empty", "x.csv is empty"), ("/home/someone/run 3", "run 3"),
    ("8/255, 0.5 and/or https://doi.org/10.1/x", "8/255, 0.5 and/or https://doi.org/10.1/x")])
def test_ids_and_folders_are_taken_out_and_nothing_else(text: str, shown: str) -> None:
    assert FOUND.tree({"message": text}) == {"message": shown}
    assert Shareable().tree({"message": text}) == {"message": text}


def test_what_stands_as_an_id_is_one_and_settings_stay() -> None:
    told = FOUND.tree({"patient_id": "2", "case_id": "2", "n": 7, "rows": ("7",), "class": "Doe", "path": "/a/b"})
    assert told == {"patient_id": FOUND.patient("2"), "case_id": FOUND.case("2"), "n": 7, "rows": ("7",),
                    "class": "Doe", "path": "b"}
    assert FOUND.case("2") != FOUND.patient("2")


def test_the_rows_of_a_finding_are_found_in_its_message_however_short() -> None:
    told = FOUND.finding({"check": "patients", "message": "2 of 9 patients stand in more than one part, such as 2",
                          "rows": ["2", "9"]})
    assert told["message"] == f"2 of 9 patients stand in more than one part, such as {FOUND.patient('2')}"
    assert told["rows"] == [FOUND.patient("2"), FOUND.patient("9")]


def test_pseudonyms_follow_neither_the_ids_nor_another_run() -> None:
    names = [f"{at:03d}" for at in range(50)]
    one, other = ([Shareable(secret).patient(name) for name in names] for secret in (b"one", b"other"))
    assert len({*one, *other}) == 100
    assert one != sorted(one)
    assert np.argsort(one).tolist() != np.argsort(other).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("make", [hardened, ct_noise, several])
def test_no_id_stands_in_what_is_shared_figures_among_it(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = renamed(make(tmp_path / "run"))
    shown = report_run(folder, show_ids=True)
    assert "Doe^case-" in everything(folder)
    assert any("Doe^case-" in path.read_text("utf-8") for path in folder.glob("figures/*.svg")) or make is several
    told = report_run(folder)
    assert not [line for line in everything(folder).splitlines() if "Doe^" in line or "MRN^" in line]
    assert str(tmp_path) not in everything(folder)
    for key in ("robustness", "triage", "rows", "critical", "scores"):     # not a digit moves
        assert told.get(key) == shown.get(key)


@pytest.mark.slow
def test_a_class_named_like_a_case_keeps_its_name(tmp_path: Path) -> None:
    folder = hardened(tmp_path / "run")
    report_run(folder)
    assert "case-0001-like" in (folder / "report.html").read_text("utf-8")


def test_triage_maps_back(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    names = {row["case_id"]: row["patient_id"] for row in report_run(folder)["fragile"]}
    triage_run(folder)
    with (folder / "triage.csv").open() as lines:
        rows = {row["case_in_report"]: row for row in csv.DictReader(lines)}
    assert {case: rows[case]["patient_in_report"] for case in names} == names
    assert {rows[case]["case_id"][:5] for case in names} == {"case-"}


@pytest.mark.slow
def test_a_run_keeps_the_key_of_its_report(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 30)
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name},Doe-{at:03d}"
             for at, path in enumerate(sorted((tmp_path / "images").rglob("*.png")))]
    (tmp_path / "list.csv").write_text("\n".join(["file,label,patient", *lines]))
    command = ("demo", "--data", tmp_path / "list.csv", "--epochs", 1, "--threads", 1, "--out",
               tmp_path / "run", "--set", "attacks.use=[]", "--set",
               "attacks.largest='8 grey levels'", "--set", "preparation.size=12",
               "--set", "model.name='narrow_vgg'")
    assert steadyread(*command).code == 0
    for held in ("Doe-", "images/", str(tmp_path)):
        assert held not in everything(tmp_path / "run")
    before = json.loads((tmp_path / "run/summary.json").read_text())
    key = {row["patient_in_report"]: row["patient_id"] for row in read_cases(tmp_path / "run/cases.csv")}
    assert len(key) == 30
    assert steadyread("report", tmp_path / "run", "--show-ids").code == 0
    shown = json.loads((tmp_path / "run/summary.json").read_text())
    assert [key[row["patient_id"]] for row in before["fragile"]] == [row["patient_id"] for row in shown["fragile"]]
    assert before["robustness"] == shown["robustness"]
    assert "Doe-" in everything(tmp_path / "run")
