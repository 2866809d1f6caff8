"""The report: one inert, self-contained file from stored files alone, with every part of the plan in it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fabricate
from pages import HOSTILE, Page, refuse_outside, run_by_hash
from steadyread import records
from steadyread.charts import look as style
from steadyread.errors import InputRefused
from steadyread.metrics.plan import bounds_of
from steadyread.report import write_report
from steadyread.report.referral import rule
from steadyread.report.stored import read_run
from steadyread.units import Bounds


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fabricate.write_run(tmp_path_factory.mktemp("runs") / "plain")
    write_report(folder)
    return folder


def page_of(folder: Path, **changed: Any) -> Page:
    return Page(write_report(fabricate.write_run(folder, **changed)).read_text())


def test_the_page_needs_nothing_from_outside_and_runs_nothing(run: Path) -> None:
    text = (run / "report.html").read_text()
    page = refuse_outside(text)
    assert page.policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; ")
    assert len(text) < 3_000_000


def test_drawings_follow_light_and_dark_and_share_no_names(run: Path) -> None:
    text = (run / "report.html").read_text()
    page = Page(text)
    drawings = re.findall(r"<svg\b.*?</svg>", text, re.DOTALL)
    assert len(drawings) >= 7
    for drawing in drawings:
        assert "currentColor" in drawing
        assert style.INK not in drawing
        assert style.PAPER not in drawing
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing))
        assert used <= set(re.findall(r'\bid="([^"]+)"', drawing))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")


@pytest.mark.usefixtures("undrawn")
def test_fixed_attacks_of_few_patients_in_another_unit_are_not_called_exact(tmp_path: Path) -> None:
    rows = [row | ({"size": 0.0} if row["size"] == 1.4 else {}) for row in fabricate.rows(n=60, patients=5)
            if row["attack"] in ("clean", "pgd")]
    text = page_of(tmp_path / "run", case_table=records.as_table(rows), unit="grey level").text
    for words in ("Merged from fixed sizes", "too few patients for an interval", "has not been searched",
                  "thresholds were chosen on the same images"):
        assert words in text, words
    assert "Smallest flip, found" not in text
    assert "HU" not in text


def test_figures_and_summary_are_written_beside(run: Path) -> None:
    names = {path.name for path in (run / "figures").iterdir()}
    for name in ("accuracy_label", "accuracy_prediction", "smallest_flips", "roc", "risk_coverage", "triage",
                 "score_scatter", "examples", "training"):
        assert {f"{name}.png", f"{name}.svg"} <= names
    summary = json.loads((run / "summary.json").read_text())
    assert summary["verdict"].startswith("Half of the correct reads")
    assert summary["robustness"]["label"]["curve"]["images"] == 120


def test_the_same_folder_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / run.name)
    (folder / "figures").mkdir()
    for name in ("of_an_earlier_report.svg", "of_an_earlier_report.png", "mine.png"):
        (folder / "figures" / name).write_bytes(b"")
    again = write_report(folder)
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "mine.png", *(path.name for path in (run / "figures").iterdir())}
    assert again.read_bytes() == (run / "report.html").read_bytes()
    assert (again.parent / "summary.json").read_bytes() == (run / "summary.json").read_bytes()


def test_whatever_a_user_named_is_inert(tmp_path: Path) -> None:
    patient = '"><img src=x onerror=alert(2)>'
    rows = [row | {"case_id": f"{HOSTILE}{row['case_id']}", "patient_id": f"{patient}{row['patient_id']}"}
            for row in fabricate.rows(n=30)]
    changed = fabricate.plan()
    changed["data"] |= {"name": HOSTILE, "classes": [HOSTILE, "<b onclick=alert(3)>"]}
    changed["model"] |= {"name": "<svg onload=alert(4)>"}
    folder = fabricate.write_run(tmp_path / "run", records.as_table(rows), data=changed["data"],
                                 model=changed["model"], attacks=[HOSTILE], study={"out": HOSTILE})
    np.savez(folder / "examples.npz", **fabricate.examples(case_id=HOSTILE))
    (folder / "findings.json").write_text(json.dumps([
        {"check": HOSTILE, "severity": HOSTILE, "message": HOSTILE, "value": None, "rows": [HOSTILE]}]))
    page = Page(write_report(folder, show_ids=True).read_text())
    run_by_hash(page)
    assert all((attributes.get("src") or "data:").startswith("data:") for _, attributes in page.tags)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("alert(1)") > 5


@pytest.mark.usefixtures("undrawn")
def test_plan_and_records_are_enough(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    for name in ("findings.json", "examples.npz", "training.json"):
        (folder / name).unlink()
    text = Page(write_report(folder).read_text()).text
    assert "No checks were run." in text
    assert "No example images were stored." in text
    assert "epochs" not in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("settings", "expected"), [
    ({"classes": 10}, "macro one against the rest"), ({"against": ("label",)}, "was not searched for on these images"),
    ({"slope": 1e-6}, "No correct read could be flipped")])
def test_other_tables_have_a_page_too(settings: dict[str, Any], expected: str, tmp_path: Path) -> None:
    page = page_of(tmp_path / "run", case_table=fabricate.table(**settings), **(
        {"classes": settings["classes"]} if "classes" in settings else {}))
    assert expected in page.text


def test_a_margin_over_its_gradient_is_in_the_images_own_unit() -> None:
    """Logits over logits a unit: on a linear network the smallest flip itself."""
    shown = [rule(score, 2.8, Bounds(-1000, 400, "HU")) for score in ("gradient", "smallest_flip", "margin")]
    assert shown == ["≤ 2.8 HU"] * 2 + ["≤ 2.8 logits"]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("examples.npz", b"PK\x03\x04 broken", "examples.npz is not a readable npz"),
    ("findings.json", b'{"a": 1}', "must hold a list of findings"), ("plan.json", b"[1]", "one JSON object"),
    ("plan.json", b"{", "not whole JSON")])
def test_a_damaged_file_is_refused_by_name(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    (folder / name).write_bytes(content)
    with pytest.raises(InputRefused, match=message):
        write_report(folder)


def test_examples_of_pickled_objects_or_missing_arrays_are_refused(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    arrays = fabricate.examples()
    np.savez(folder / "examples.npz", **arrays | {"case_id": np.array([{}, {}, {}], dtype=object)})
    with pytest.raises(InputRefused, match=r"examples\.npz is not a readable npz of plain arrays"):
        write_report(folder)
    np.savez(folder / "examples.npz", clean=arrays["clean"])
    with pytest.raises(InputRefused, match="missing: adversarial"):
        write_report(folder)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no records"):
        write_report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_many_large_examples_stay_within_the_page(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    random = np.random.default_rng(0)
    stored = fabricate.examples()
    many = {name: np.repeat(array, 8, axis=0) for name, array in stored.items()}
    many |= {name: random.uniform(-1000, 400, (24, 3, 300, 280)) for name in ("clean", "adversarial")}
    np.savez(folder / "examples.npz", **many)
    assert write_report(folder).stat().st_size < 3_000_000


def test_the_report_never_loads_torch(run: Path) -> None:
    code = (f"import sys; from pathlib import Path; from steadyread.charts import panels;"
            f"from steadyread.report import write_report; panels.png = lambda *_: b'';"
            f"write_report(Path({str(run)!r})); print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("data", [None, 1, [], {"bounds": [0, [[]]]}, {"bounds": ["0", "1"]}, {"bounds": [0, None]},
                                  {"bounds": [0, 1, 2]}, {"bounds": "01"}, {"bounds": {"0": 1}}, {"classes": 2}])
def test_a_plan_whose_data_are_none_is_refused_in_a_line(data: object, tmp_path: Path) -> None:
    run = fabricate.write_run(tmp_path / "run", fabricate.table(n=20))
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"data": data}))
    with pytest.raises(InputRefused, match=r"plan\.json: data\.bounds must be \[low, high\]"):
        bounds_of(read_run(run).plan)
