"""The report in a real browser, from disk: it draws at any width, whole and without scripts."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fabricate import write_run
from steadyread.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--hide-scrollbars", "--disable-component-update", "--disable-sync"]


def browse(page: Path, profile: Path, *flags: str) -> str:
    """What Chromium prints when it opens a page from disk."""
    done = subprocess.run([str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *flags, page.as_uri()],
                          capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "run"
    write_run(folder)
    return write_report(folder)


@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_draws_in_a_browser(page, tmp_path, width):
    picture = tmp_path / "page.png"
    browse(page, tmp_path / "profile", f"--window-size={width},3000", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("L"))
    rows = (pixels < 100).any(axis=1)  # rows with dark ink
    assert rows.mean() > 0.2
    assert rows[:300].any()


def test_the_document_is_whole_and_its_figures_are_inside(page, tmp_path):
    found = browse(page, tmp_path / "profile", "--dump-dom")
    assert "Can this evaluation be trusted?" in found
    assert found.count("<svg") >= 4
