"""What the documents show is run: the Python in them, and the commands that they name."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pictures import IMAGES, THEMES, state
from steadyread.cli import main
from steadyread.study import read_studies
from test_assessment import made_cases, made_classifier

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))      # carried out by test_tutorials.py


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documents_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = {"module": nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), "truth": [0, 1, 0],
             "volumes": torch.rand(3, 1, 4, 4, 4) * 1400 - 1000, "classifier": made_classifier(),
             "cases": made_cases(12)}
    for block in (block for block in blocks(page, "python") if not block.startswith("# ward/")):   # test_extending.py's
        exec(compile(block, page.name, "exec"), known)
    assert "runs" not in capsys.readouterr().err


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_every_link_and_command_of_the_documents_exists(page, capsys):
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for command in set(re.findall(r"(?:^    |`)steadyread ([a-z]\w*)", text, re.MULTILINE)):
        assert main([command, "--help"]) == 0, command
    for target in set(re.findall(r"(?:^    |`)make (\w+)", text, re.MULTILINE)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    assert "FIGURES" not in text
    capsys.readouterr()


def test_the_study_that_the_guide_shows_is_one(tmp_path):
    (block,) = (block for block in blocks(ROOT / "docs" / "guide.md", "toml") if "[sets." in block)
    (tmp_path / "two.toml").write_text(block)
    study = read_studies(tmp_path / "two.toml")
    assert set(study.sets) == {"first", "second"}
    for own in study.sets.values():
        assert own.threats == ("Linf", "CTNoise")
        assert own.hardening is not None
        assert own.split.folds == 2


def test_every_test_that_the_table_of_the_papers_names_is_there():
    named = re.findall(r"`(?:(test_\w+\.py)(?:::)?)?(test_\w+)?`", (ROOT / "docs" / "papers.md").read_text("utf-8"))
    file = ""
    for module, test in named:
        file = module or file
        source = (ROOT / "tests" / file).read_text("utf-8")
        assert not test or f"def {test}(" in source, f"{file}::{test}"
    assert len(named) > 40


@pytest.mark.parametrize("name", ["oncology.md", "results.md"])
def test_every_table_of_figures_states_the_date_of_the_code_that_made_it(name):
    text = (ROOT / "docs" / name).read_text("utf-8")
    text = text[text.index("## What came out" if name == "oncology.md" else "# "):]
    parts = [part for part in re.split(r"^#+ ", text, flags=re.MULTILINE)
             if re.search(r"^\|[ :-]*--", part, re.MULTILINE)]
    assert len(parts) >= 2
    for part in parts:
        head, *_ = part.split("\n|", 1)
        assert re.search(r"\b\d{1,2} [A-Z][a-z]+ 2026\b", head), part[:60]


def test_every_table_of_measured_figures_says_of_which_code_it_is() -> None:
    """On the page of CT noise: whatever table holds numbers, in the lines just above it."""
    pieces = (ROOT / "docs" / "ct-noise.md").read_text().split("\n\n")
    tables = [(above, block) for above, block in pairwise(pieces) if block.lstrip().startswith("|") and re.search(
        r"\d \||\d\*? \|", block)]
    assert len(tables) >= 7
    for above, block in tables:
        assert re.search(r"code\s+of\s+\d+\s+\w+\s+\d{4}", above), block.splitlines()[0]


def test_the_pictures_of_the_readme_are_of_the_page_as_it_is_drawn_now():
    for theme in THEMES:
        told = Image.open(IMAGES / f"answer-{theme}.png").text["drawn-by"]
        assert told == state(), "the first screen is drawn otherwise than in the README's pictures: run `make pictures`"
