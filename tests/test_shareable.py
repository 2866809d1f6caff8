"""Pages and summaries that may leave the house: no patient's id, no folder of the machine, unless asked for."""

import json
from pathlib import Path

import pytest

import fabricate
import fabricate_noise as noise
from fabricate_pictures import Call, pictures
from steadyread.report.shareable import Shareable
from steadyread.stored import report_run

SHARED = ("report.html", "summary.json", "checklist.md")


def everything(folder: Path) -> str:
    return "\n".join((folder / name).read_text("utf-8") for name in SHARED if (folder / name).exists())


@pytest.mark.parametrize(("text", "shown"), [
    ("patient LIDC-IDRI-0001 holds 30 %", "patient P1 holds 30 %"),
    ("LIDC-IDRI-0001/slice-3.png", "P1/slice-3.png"), ("LIDC-IDRI-00011", "LIDC-IDRI-00011"),
    ("patient 7 holds 7 %", "patient P2 holds 7 %"), ("7 of 70", "7 of 70"),
    ("row 3: no file /home/someone/data/x.png", "row 3: no file x.png"), ("/home/someone/run 3", "run 3"),
    ("8/255, 0.5 and/or https://doi.org/10.1/x", "8/255, 0.5 and/or https://doi.org/10.1/x")])
def test_patients_and_folders_are_taken_out_and_nothing_else(text: str, shown: str) -> None:
    assert Shareable(("LIDC-IDRI-0001", "7")).tree({"message": text}) == {"message": shown}


def test_what_stands_as_a_patient_is_one_and_numbers_stay() -> None:
    told = Shareable(("1", "2")).tree({"patient_id": "2", "n": 2, "rows": ("2",), "value": 2.0})
    assert told == {"patient_id": "P2", "n": 2, "rows": ("2",), "value": 2.0}


def test_a_report_names_no_patient_and_no_folder(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 30)
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name},Doe-{at:03d}"
             for at, path in enumerate(sorted((tmp_path / "images").rglob("*.png")))]
    (tmp_path / "list.csv").write_text("\n".join(["file,label,patient", *lines]))
    done = steadyread("demo", "--data", tmp_path / "list.csv", "--epochs", 1, "--out", tmp_path / "run", "--set",
                      "attacks.use=[]", "--set", "attacks.largest='8 grey levels'", "--set", "preparation.size=12",
                      "--set", "model.name='narrow_vgg'")
    assert done.code == 0, done.err
    assert "Doe-" not in everything(tmp_path / "run")
    assert str(tmp_path) not in everything(tmp_path / "run")
    before = json.loads((tmp_path / "run/summary.json").read_text())
    steadyread("report", tmp_path / "run", "--show-ids")
    shown = json.loads((tmp_path / "run/summary.json").read_text())
    assert {row["patient_id"][:4] for row in shown["fragile"]} == {"Doe-"}
    assert before["robustness"] == shown["robustness"]
    steadyread("triage", tmp_path / "run")
    assert "Doe-" in (tmp_path / "run/triage.csv").read_text()


def test_reports_of_noise_and_hardening_share_no_patient(tmp_path: Path) -> None:
    study = noise.write_study(tmp_path / "noise", noise.Made(cases=40, patients=30, doses=(100.0,), draws=10,
                                                             attacks=("random_ct_noise",)))
    plain = fabricate.write_run(tmp_path / "plain", fabricate.table())
    for folder, patient in ((study, "p-0"), (plain, "test-1")):
        report_run(folder)
        assert f'"{patient}' not in everything(folder)
        assert f">{patient}" not in everything(folder)
        report_run(folder, show_ids=True)
        assert f">{patient}" in everything(folder)
