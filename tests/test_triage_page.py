"""Which reads to refer: steps that are right; in a browser the handle, the list that it fills, and what is copied."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fabricate
import steadyread
from browsing import Browser, browser
from fabricate_sets import Made, write_sets
from steadyread import Classifier
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.metrics.reads import Reads
from steadyread.metrics.triage import scores, triage
from steadyread.progress import quiet
from steadyread.registry import ATTACKS, METHODS
from steadyread.report import write_report
from steadyread.report.bibliography import Source
from steadyread.report.marks import slug
from steadyread.report.referral import LIST, Referral, listed, referral_of
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.report.stored import read_run
from test_several_findings import NAMES, chests, network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fabricate.write_run(tmp_path_factory.mktemp("triage") / "run", fabricate.table(spread=0.5))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def sorted_reads(run: Path) -> tuple[Reads, dict[str, Any], Referral]:
    stored = read_run(run)
    found = triage(stored.reads, None, 0.2, 0)
    referral = referral_of(stored.reads, found, ["benign", "malignant"], stored.bounds, AS_IT_IS)
    assert referral is not None
    return stored.reads, found, referral


def test_every_step_counts_what_its_threshold_refers(sorted_reads: tuple[Reads, dict[str, Any], Referral]) -> None:
    reads, found, referral = sorted_reads
    scored = scores(reads)
    chosen = {row["score"]: row for row in found["rows"]}
    for each in referral.scores:
        score = scored.score[each.score]
        counts = [step.referred for step in each.steps]
        assert counts == sorted(set(counts))
        for step in each.steps:
            kept = score > step.threshold
            assert (step.referred, step.caught) == (int((~kept).sum()), int(scored.wrong[~kept].sum()))
            assert step.error.value == pytest.approx(float(scored.wrong[kept].mean()))
        assert each.steps[each.chosen].referred == len(score) - chosen[each.score]["kept"]
        assert np.all(np.diff(score[each.order]) >= 0)      # all reads of so small a run are on the page
    ids = [read.case for read in referral.reads]
    assert len(ids) == len(set(ids)) == referral.count


def test_a_run_without_searches_is_listed_by_the_margin(run: Path) -> None:
    stored = read_run(run)
    reads = replace(stored.reads, outcomes=())
    rows = list(csv.DictReader(io.StringIO(listed(reads, triage(reads, None, 0.2, 0), None))))
    margins = [float(row["margin"]) for row in rows]
    assert margins == sorted(margins)
    assert {row["smallest_flip"] for row in rows} == {""}
    assert sum(row["withheld"] == "yes" for row in rows) == pytest.approx(0.2 * len(rows), abs=1)


def test_the_report_writes_the_list(run: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((run / LIST).read_text())))
    shared = Shareable.of(run)
    assert rows
    assert all(shared.case(row["case_id"]) == row["case_in_report"] for row in rows)


@pytest.mark.parametrize("maker", [*ATTACKS.values(), *METHODS.values()], ids=lambda maker: maker.name)
def test_every_method_with_a_doi_can_be_cited(maker: Any) -> None:
    if maker.doi:
        entry = Source(maker.title, maker.doi).bibtex()
        assert "author = {" in entry
        assert f"doi = {{{maker.doi}}}" in entry
        assert entry.count("{") == entry.count("}")


def test_a_method_whose_paper_is_unknown_is_cited_by_its_name() -> None:
    entry = Source("Theirs} @string{x", "10.1/y").bibtex()
    assert "title = {Theirs @stringx}" in entry
    assert entry.count("{") == entry.count("}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium: Browser, run: Path) -> Iterator[Any]:
    with chromium.open((run / "report.html").as_uri(), accept_downloads=True) as opened:
        yield opened
    chromium.check()


@pytest.mark.xdist_group("browser")
def test_the_handle_fills_the_list(page: Any) -> None:
    page.evaluate("""window.told = []; document.addEventListener("steadyread:threshold", (e) => told.push(e.detail));
        document.addEventListener("steadyread:case", (e) => told.push(e.detail))""")
    handle, rows = page.get_by_label("How many reads to refer"), page.locator(".threshold tbody tr")
    before = rows.count()
    assert f"Refer {before} of" in page.locator(".threshold [role=status]").inner_text()
    handle.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    more = rows.count()
    assert more > before
    assert page.evaluate("told.at(-1).score") == "Smallest flip"
    assert page.evaluate("told.at(-1).ids.length") == more
    chart = page.locator("svg.referral")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 1, box["y"] + 10)
    page.mouse.up()
    assert rows.count() == 0
    assert "Refer none" in page.locator(".threshold [role=status]").inner_text()
    page.get_by_label("Refer by").select_option(label="Margin")
    assert rows.count() > 0
    case = rows.first.locator("a")
    case.click()
    assert page.evaluate("told.at(-1).id") == case.inner_text()
    assert page.evaluate("location.hash") == f"#case={case.inner_text()}"
    with page.expect_download() as download:
        page.locator("a[download]", has_text=LIST).click()
    listed_rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["case"] for row in listed_rows] == [each.inner_text() for each in rows.locator("a").all()]


@pytest.fixture(scope="module")
def of_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = {"lung_ct": Made(), "brain": Made(images=70, slope=0.5)}
    return write_report(write_sets(tmp_path_factory.mktemp("triage") / "sets", made))


@pytest.fixture(scope="module")
def of_findings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triage") / "findings"
    images, present = chests()
    found = steadyread.assess(Classifier(network(), (0, 255), "logit", findings=NAMES), (images, present),
                              smallest_flip, bounds=(0, 255), progress=quiet, quick=True)
    return found.report(folder)


@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize(("which", "of", "names"), [("of_sets", "Data set", ["lung ct", "brain"]),
                                                    ("of_findings", "Finding", list(NAMES))])
def test_of_several_a_reader_chooses_whose_reads_to_refer(
        chromium: Browser, request: pytest.FixtureRequest, which: str, of: str, names: list[str]) -> None:
    with chromium.open(request.getfixturevalue(which).as_uri(), accept_downloads=True) as page:
        chooser, rows = page.locator(".threshold").get_by_label(of), page.locator(".threshold tbody tr")
        assert chooser.locator("option").all_inner_texts() == names
        told = page.locator(".threshold [role=status]")
        first = told.inner_text()
        page.evaluate("""window.told = [];
            document.addEventListener("steadyread:threshold", (event) => told.push(event.detail))""")
        chooser.select_option(label=names[1])
        assert told.count() == page.locator("svg.referral").count() == 1
        assert told.inner_text() != first
        assert page.evaluate("told.at(-1).set") == names[1]
        page.get_by_label("How many reads to refer").fill("40")
        rows.first.locator("a").click()
        case = rows.first.locator("a").inner_text()
        page.locator(".case-head h3", has_text=case).wait_for()     # the browser of cases goes along
        assert page.locator(".case-sets").inner_text().startswith(of)
        assert page.locator(".case-sets option:checked").inner_text() == names[1]
        assert page.locator(".case-chips button", has_text="Referred").inner_text().split()[-1] == str(rows.count())
        with page.expect_download() as download:
            page.locator(".threshold a[download]").click()
        assert download.value.suggested_filename == f"triage-{slug(names[1])}.csv"
    chromium.check()


@pytest.mark.xdist_group("browser")
def test_a_command_is_copied_from_a_file(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    command = page.locator(".command").first
    command.get_by_role("button", name="Copy").click()
    command.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == command.locator("code").inner_text()


@pytest.mark.xdist_group("browser")
def test_a_term_says_what_it_means_to_the_keyboard_too(page: Any) -> None:
    term = page.locator("a.term").first
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    term.focus()
    shown = page.evaluate("(term) => getComputedStyle(term, '::after').content", term.element_handle())
    assert len(shown) > 40 or "attr(" in shown
    assert page.locator(term.get_attribute("href")).count() == 1


@pytest.mark.xdist_group("browser")
def test_no_table_is_cut_at_any_width(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    for width in (1280, 820, 420):
        page.set_viewport_size({"width": width, "height": 900})
        cut = page.evaluate("""[...document.querySelectorAll(".scroll:not(.list)")].filter(
            (each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.textContent.slice(0, 80))""")
        assert not cut, width
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.xdist_group("browser")
def test_the_list_stands_without_scripts_too(chromium: Browser, run: Path) -> None:
    with chromium.open((run / "report.html").as_uri(), scripts=False) as page:
        assert page.locator(".threshold table tbody tr").count() > 0
        assert page.locator(".threshold svg").count() == 1
