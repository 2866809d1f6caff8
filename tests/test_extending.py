"""A package of one's own: `docs/extending.md`, file by file, carried out by the command line as if installed."""

import html
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from steadyread import records

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
REFUSED = """
import sys
from steadyread.errors import UsageError
from steadyread.study import override, read_study
for stated in sys.argv[1:]:
    try:
        read_study(None, override(stated))
    except UsageError as problem:
        print(problem)
"""
BROKEN = 'raise ImportError("no module that it needs")\n'


def installed(site: Path) -> dict[str, str]:
    """Writes the page's package and its entry points below `site`; gives every file of the page by its name."""
    files = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    (site / "ward").mkdir(parents=True)
    for name in (name for name in files if name.startswith("ward/")):
        (site / name).write_text(files[name])
    project = tomllib.loads(files["pyproject.toml"])["project"]
    (site / "broken_plug.py").write_text(BROKEN)
    for name, entries in ((project["name"], project["entry-points"]["steadyread"]),
                          ("broken", {"broken": "broken_plug"})):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[steadyread]", *(f"{key} = {value}" for key, value in
                                                                           entries.items()), ""]))
    return files


def scans(folder: Path, n: int = 60) -> None:
    """What the page's reader reads: two scans a patient, the ill ones brighter in the middle."""
    rng = np.random.default_rng(0)
    images = rng.normal(110, 25, (n, 12, 12))
    images[1::2, 4:8, 4:8] += 60
    folder.mkdir()
    np.save(folder / "scans.npy", images.clip(0, 255).round().astype(np.uint8))
    (folder / "reports.txt").write_text("".join(f"p{at // 2} {('well', 'ill')[at % 2]}\n" for at in range(n)))


def python(place: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A process of its own, in which the package is installed."""
    found = subprocess.run(
        [sys.executable, *arguments], cwd=place, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(place / "site"), str(ROOT / "src")])})
    assert found.returncode == code, found.stderr
    return found


def steadyread(place: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command line in such a process."""
    return python(place, "-W", "error", "-m", "steadyread", *arguments, code=code)


def words_of(page: Path) -> str:
    """What a page says."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.read_text("utf-8"))).split())


@pytest.mark.slow
def test_a_package_of_one_s_own_is_seen_everywhere(tmp_path: Path) -> None:
    files = installed(tmp_path / "site")
    scans(tmp_path / "scans")
    (tmp_path / "study.toml").write_text(files["study.toml"])
    assert "Usage" in steadyread(tmp_path, "--help").stdout

    done = steadyread(tmp_path, "run", "study.toml", "--out", "run", "--threads", "1")
    assert "Accuracy under Worst contrast, against the label" in done.stdout
    assert done.stderr.count("the plug-in 'broken' of the package broken cannot be used: ImportError: no module") == 1
    rows = records.read(tmp_path / "run").to_pylist()
    changed = {(row["attack"], row["threat"], row["size"], row["unit"]) for row in rows if row["attack"] == "contrast"}
    assert changed == {("contrast", "Contrast", 20.0, "%"), ("contrast", "Contrast", 60.0, "%")}
    settings = json.loads((tmp_path / "run" / "study.json").read_text())
    assert settings["training"]["flips"] is False
    assert json.loads((tmp_path / "run" / "hardened" / "training.json").read_text())["method"] == "noisy"
    findings = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert [each["topic"] for each in findings if each["check"] == "mirrored"] == ["soundness"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    label = [row for row in summary["other_axes"] if row["against"] == "label"]
    assert [(row["level"], row["accuracy"]["n"]) for row in label] == [(20.0, 12), (60.0, 12)]

    (line,) = map(json.loads, (tmp_path / "logbook.jsonl").read_text().splitlines())
    assert line["files"] == ["report.html", "summary.json"]
    assert line["run"] == "study"

    for folder in ("run", "run again"):
        page = words_of(tmp_path / "run" / "report.html")
        for words in ("Accuracy under other changes", "Worst contrast contrast 20 %", "training on noisy images",
                      "mirrored", "What our ward asks", "12 reads were judged on our ward's images.",
                      "Ward list: what our ward asks"):
            assert words in page, (folder, words)
        steadyread(tmp_path, "report", "run")

    found = json.loads(steadyread(tmp_path, "audit", "scans", "--layout", "ward", "--json").stdout)
    assert (found["data"], found["images"]) == ("our ward", 60)
    assert json.loads(steadyread(tmp_path, "audit", "scans", "--json").stdout)["data"] == "our ward"
    for place in ("a/1.digits", "b/2.digits"):
        (tmp_path / "digits" / place).parent.mkdir(parents=True)
        (tmp_path / "digits" / place).write_text("0123\n4567\n")
    assert json.loads(steadyread(tmp_path, "audit", "digits", "--json").stdout)["images"] == 2
    (tmp_path / "net.scores").write_text(json.dumps({"weights": [[0.0] * 144, [0.01] * 144]}))
    told = steadyread(tmp_path, "inspect", "net.scores").stdout
    assert "linear scores (.scores)" in told
    assert "Returns logits (2 values per image)." in told
    assessed = steadyread(tmp_path, "assess", "--data", "scans", "--model", "net.scores", "--bounds", "0,255",
                          "--limit", "4", "--threads", "1", "--json").stdout
    assert json.loads(assessed)["classes"] == ["well", "ill"]
    assert "no layout 'wards': did you mean 'ward'?" in steadyread(
        tmp_path, "audit", "scans", "--layout", "wards", code=2).stderr
    wrong = {'attacks.use=["contrasd"]': "attacks: no attack 'contrasd': did you mean 'contrast'?",
             "attacks.settings.contrast.level=[1]":
                 "unknown key 'attacks.settings.contrast.level': did you mean 'levels'?",
             'hardening.method="noise"': "hardening.method: no hardening method 'noise': did you mean 'noisy'?"}
    told = python(tmp_path, "-W", "ignore", "-c", REFUSED, *wrong).stdout
    assert told.splitlines() == list(wrong.values())
