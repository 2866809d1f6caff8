"""A table is declared once: HTML, Markdown, lines and CSV say the same, and nothing in a cell can end it."""

import csv
import io

import pytest

from pages import HOSTILE, Page, run_by_hash
from steadyread.metrics.intervals import Estimate
from steadyread.report import forms, marks
from steadyread.report.items import Text
from steadyread.report.page import Page as Written
from steadyread.report.page import Passage
from steadyread.report.section import sections
from steadyread.report.table import As, Band, Cell, Column, Row, Table, begun, table

FOUND = Estimate(0.8333, 0.7, 0.91, 120)


def made(name: str = "PGD") -> Table:
    rows = [Band("Test"), *begun([(name, 1.4, FOUND, FOUND), (name, 2.8, Estimate(None), FOUND)]),
            Row(("none", Cell("not searched", span=4)))]
    return table([Column("Attack", forms.TEXT), Column("HU", forms.DIGITS), Column("Right, %", forms.share(), "Label"),
                  Column("Stacked, %", forms.stacked(), "Label")], rows, above=f"Above {marks.italic('it')}",
                 note="Below")


def test_every_writer_has_every_cell() -> None:
    page, lines = Page(str(made().html())).text, "\n".join(made().lines())
    markdown, rows = "\n".join(made().markdown()), list(csv.reader(io.StringIO(made().csv())))
    for words in ("Attack", "HU", "95 % interval", "PGD", "83.3", "70.0 to 91.0", "1.4", "2.8", "Test", "not searched"):
        assert words in page
        assert words in lines
        assert words in markdown
    assert rows[0] == ["Attack", "HU", "Label: Right, %", "Label: Right, %, low", "Label: Right, %, high",
                       "Label: Stacked, %", "Label: Stacked, %, low", "Label: Stacked, %, high"]
    assert rows[1][:5] == ["PGD", "1.4", "0.8333", "0.7", "0.91"]
    assert rows[2][2:5] == ["", "", ""]
    assert "*it*" in markdown
    assert "<i>it</i>" in str(made().html())


def test_every_row_is_as_wide_as_the_head() -> None:
    whole = made()
    assert whole.width == 5 == len(whole.titles)
    for row in whole.body:
        if not isinstance(row, Band):
            assert sum(cell.span for cell in row) == whole.width
    assert sum(head.across for head in whole.head[0]) == whole.width
    assert all(len(row) == whole.width for row in whole.texts())


def test_names_of_a_user_are_words_in_every_writer() -> None:
    page = Page(str(made(HOSTILE).html()))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    lines = list(made(HOSTILE + "|`x`\n| a |").markdown())
    assert {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")} == {6}
    assert marks.html(marks.bold("\x01b\x02<b>\x03")) == "<b>b&lt;b&gt;</b>"


def test_a_value_may_have_a_form_and_a_row_a_class_of_its_own() -> None:
    values = [Row(("AUC", As(FOUND, forms.share(1, 3))), False, "theirs"), ("Right", FOUND)]
    mixed = table([Column("Of", forms.TEXT), Column("Value", forms.share())], values)
    assert list(mixed.texts()) == [["AUC", "0.833", "0.700 to 0.910"], ["Right", "83.3", "70.0 to 91.0"]]
    assert [tag["class"] for name, tag in Page(str(mixed.html())).tags if name == "tr" and tag] == ["theirs", "first"]
    assert len({line.partition(",")[2] for line in mixed.csv().splitlines()[1:]}) == 1


@pytest.mark.parametrize(("estimate", "texts"), [
    (FOUND, ("83.3", "70.0 to 91.0")), (Estimate(0.5), ("50.0", "–")), (Estimate(0.5, 0.5, 0.5), ("50.0", "–")),
    (Estimate(None), ("–", "")), (None, ("–", ""))])
def test_a_dash_stands_where_there_is_no_interval(estimate: Estimate | None, texts: tuple[str, str]) -> None:
    assert tuple(cell.text for cell in Column("", forms.share()).cells(estimate, head=False)) == texts
    assert "None" not in "".join(cell.text + cell.beneath for cell in Column("", forms.change()).cells(estimate, False))


def test_a_value_that_is_shared_by_rows_stands_in_the_first() -> None:
    rows = begun([("a", 1), ("a", 2), ("b", 3)])
    assert [(row.values[0], row.begins) for row in rows] == [("a", True), ("", False), ("b", True)]


def test_sections_are_found_in_their_order_and_have_titles_of_their_own() -> None:
    known = sections()
    assert [each.order for each in known] == sorted(each.order for each in known)
    keys = [(each.of, each.title) for each in known]
    assert len(set(keys)) == len(keys) > 10


@pytest.mark.parametrize("words", ["plain", HOSTILE, "a | b * c"])
def test_a_page_is_the_same_words_in_html_and_markdown(words: str) -> None:
    page = Written("t", "Heading", (Text(words, "verdict"),), (Passage("Section", (Text("inside"), made())),), "Foot.")
    assert Page(page.html({})).text.count(" inside ") == 1
    assert "## Section" in page.markdown()
    run_by_hash(Page(page.html({})))
    assert "<script" not in page.markdown()
