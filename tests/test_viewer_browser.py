"""The viewer in a real browser: filter, open, mark, kill, reload, a wrong address."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from browsing import browser
from fabricate import write_run
from fabricate_cases import write_shown

pytestmark = pytest.mark.slow


def viewing(run: Path) -> tuple[subprocess.Popen[str], str]:
    """A viewer at work, and its address."""
    process = subprocess.Popen([sys.executable, "-m", "steadyread", "view", str(run), "--no-browser", "--show-ids",
                                "--reader", "Ada"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        return process, said.readline().split()[1]


def until(page: Any, holds: str) -> None:
    """Waits for something in the page; what waits there itself would need what its policy forbids."""
    for _ in range(1200):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(holds)


def rows(page: Any, count: int) -> list[str]:
    """The table once so many cases pass."""
    until(page, f"document.querySelector('.case-says')?.textContent.startsWith('{count} of')")
    page.wait_for_selector("[data-place]")
    return [text.split("\n")[0].split("\t")[0] for text in page.locator("[data-place]").all_inner_texts()]


def test_a_case_is_filtered_opened_and_marked_and_the_mark_survives_a_kill(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    process, address = viewing(run)
    try:
        with browser() as seen:
            with seen.open(address, offline=False) as page:
                page.set_default_timeout(30_000)
                assert len(rows(page, 120)) > 5
                page.fill("[aria-label='Filter Case']", "-0007")
                assert rows(page, 1) == ["case-0007"]
                page.click("[data-place]")
                until(page, "document.querySelector('.said')?.textContent.includes('cannot be asked')")
                assert "case-0007" in page.inner_text(".case-viewer")
                page.click("[data-word=refer]")
                page.fill(".marking textarea", "spiculated <b>?")
                until(page, "document.querySelector('.marks span')?.textContent.startsWith('Kept')")
                assert page.evaluate("location.hash") == "#case=case-0007"
                page.goto(f"{address[:-4]}xxx/")
                assert "Refused" in page.inner_text("body")
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert [text for text in seen.wrong if "403" not in text] == []
            process, address = viewing(run)
            with seen.open(f"{address}#case=case-0007", offline=False) as page:
                page.set_default_timeout(30_000)
                until(page, "document.querySelector('.marking textarea')?.value === 'spiculated <b>?'")
                assert page.get_attribute("[data-word=refer]", "aria-pressed") == "true"
                page.click("button:has-text('Marked')")
                assert rows(page, 1) == ["case-0007"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def heads(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(".table-frame th").all_inner_texts()]


def test_a_volume_stands_in_planes_and_its_table_fits(tmp_path: Path) -> None:
    """What is important is not cut at 1280; further columns are asked for, and then the first stays in sight."""
    write_shown(tmp_path / "run", "volume")
    process, address = viewing(tmp_path / "run")
    fits = "(frame => frame.scrollWidth - frame.clientWidth)(document.querySelector('.table-frame'))"
    try:
        with browser() as seen, seen.open(address, offline=False) as page:
            page.set_default_timeout(30_000)
            rows(page, 120)
            page.wait_for_selector(".planes figcaption")
            assert heads(page) == ["Case", "Truth", "Read as", "Sure", "Flips at (HU)", "Mark"]
            assert page.evaluate(fits) <= 0
            page.click(".columns summary")
            for name in ("Patient", "Note"):
                page.click(f".columns button:has-text('{name}')")
            assert heads(page)[1] == "Patient"
            page.set_viewport_size({"width": 420, "height": 900})
            until(page, "document.querySelector('.table-frame.more-right')")
            page.locator(".table-frame").evaluate("frame => { frame.scrollLeft = 100; }")
            until(page, "document.querySelector('.table-frame.more-left')")
            box, first = (page.locator(each).bounding_box() for each in (".table-frame", "[data-place] td >> nth=0"))
            assert abs(first["x"] - box["x"]) < 2
            planes = page.locator(".plane canvas")
            before = [each.evaluate("canvas => canvas.toDataURL()") for each in planes.all()]
            page.locator(".case-tools select").first.select_option(index=1)      # of the viewer, for the planes too
            assert all(each.evaluate("canvas => canvas.toDataURL()") != was
                       for each, was in zip(planes.all(), before, strict=True))
            assert "Axial 5 of 8" in page.inner_text(".planes")
            planes.first.press("PageDown")
            assert "Axial 6 of 8" in page.inner_text(".planes")
            assert seen.wrong == []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
