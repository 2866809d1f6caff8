"""The case browser of a page, in a real browser: all it offers by mouse and by keys, and what names can do to it."""

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from browsing import Browser, browser, saved
from fabricate_cases import DOSES, Kind, made_cases
from pages import Page as Parsed
from pages import run_by_hash
from steadyread.report.case_data import Walk, opened
from steadyread.report.cases import ShownCases
from steadyread.report.page import Page, written

pytestmark = pytest.mark.slow

N = 24
Open = Callable[..., AbstractContextManager[Any]]
HOSTILE = made_cases("grey").id[2]
PICTURE = "canvas => canvas.toDataURL()"
SLIDE = "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }"
POINT = """row => {
  const block = JSON.parse(document.getElementById("case-data").textContent), nothing = () => {};
  const [x, y] = caseScatter(block, nothing, nothing, new AbortController().signal).points[row];
  const { width, height } = document.querySelector(".case-scatter").getBoundingClientRect();
  return { x: 52 + x * (width - 66), y: 16 + y * (height - 60) };
}"""


@cache
def html(*kinds: Kind, n: int = N, bare: bool = False) -> str:
    """A page of made cases, a data set for each kind; `bare` without pictures."""
    blocks = [replace(made_cases(kind, n), set=f"{kind} <b>" if len(kinds) > 1 else "") for kind in kinds]
    if bare:
        blocks = [replace(each, pixels=None, walk=None, pictured=np.full(n, -1)) for each in blocks]
    return Page("made", "How steady?", (), written([ShownCases(tuple(blocks))]), "").html({})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def show(chromium: Browser, tmp_path) -> Iterator[Open]:
    """Opens a page of made cases; at the end nothing may have been asked for, and nothing gone wrong."""
    def open_(*kinds: Kind, hash_: str = "", n: int = N, bare: bool = False, **more: Any
              ) -> AbstractContextManager[Any]:
        return chromium.open(saved(tmp_path, "page", html(*kinds or ("grey",), n=n, bare=bare)) + hash_, **more)

    yield open_
    chromium.check()


def chip(page: Any, name: str) -> Any:
    return page.get_by_role("group", name="Which cases").get_by_role("button", name=name)


def rows(page: Any) -> list[int]:
    return [int(row) for row in page.eval_on_selector_all("[data-row]", "all => all.map(row => row.dataset.row)")]


def words(place: Any) -> str:
    """What a place says, with plain spaces and signs."""
    return place.inner_text().replace("\u202f", " ").replace("−", "-")


def says(page: Any) -> str:
    return words(page.locator(".case-says"))


def title(page: Any) -> str:
    return page.locator(".case-viewer h3").inner_text()


def seen(canvas: Any) -> np.ndarray:
    """What a canvas shows, (h, w, 3)."""
    address = canvas.evaluate(PICTURE)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"))


def hover(page: Any, column: int, row: int, side: int, pane: int = 0) -> list[str]:
    """The values that the three images show when the cursor is over a pixel."""
    canvas = page.locator(".case-pane canvas").nth(pane)
    box = canvas.bounding_box()
    canvas.hover(position={"x": (column + 0.5) / side * box["width"], "y": (row + 0.5) / side * box["height"]})
    return [words(each) for each in page.locator(".case-value").all()]


def move_slider(page: Any, value: int) -> None:
    page.locator(".case-range input").first.evaluate(SLIDE, value)


def test_chips_count_and_choose_and_follow_the_handle(show: Open) -> None:
    cases = made_cases()
    with show() as page:
        assert says(page) == f"{N} of {N}: every case."
        assert chip(page, "Wrong").inner_text() == "Wrong 1"
        chip(page, "Wrong").click()
        assert rows(page) == [1]
        assert page.locator(".case-list [aria-selected=true], .case-list .chosen").count() == 1   # it moves there
        assert chip(page, "Wrong").get_attribute("aria-pressed") == "true"
        chip(page, "Missed malignant").press("Enter")
        assert rows(page) == [1]
        size = float(np.sort(cases.flip)[5])
        page.evaluate("size => document.dispatchEvent(new CustomEvent('steadyread:handle', {detail: {size}}))",
                      size + 1e-4)
        assert words(chip(page, "Flipped at")).endswith(" HU 6")
        chip(page, "Flipped at").click()
        assert sorted(rows(page)) == sorted(np.argsort(cases.flip)[:6].tolist())
        chip(page, "Wrong").click()
        assert page.locator(".case-list").evaluate("frame => frame.scrollTop") == 0
        chip(page, "Steadiest").click()
        assert N - 5 in rows(page)       # of which no flip was found
        chip(page, "Sure but fragile").click()
        assert says(page).startswith("0 of 24: at least 90 % sure, and flipped by less than the noise in the images")


def test_what_triage_refers_is_a_chip_of_its_own(show: Open) -> None:
    with show() as page:
        assert not chip(page, "Referred").is_visible()
        page.evaluate("document.dispatchEvent(new CustomEvent('steadyread:threshold', "
                      "{detail: {ids: ['C-00000003', 'C-00000007', 'else'], score: 'Margin', threshold: '< 0.3'}}))")
        assert chip(page, "Referred").inner_text() == "Referred 2"
        chip(page, "Referred").click()
        assert rows(page) == [3, 7]
        assert says(page) == "2 of 24: referred to a reader: margin < 0.3."


def test_a_case_is_chosen_and_a_box_drawn_in_the_scatter_by_mouse(show: Open) -> None:
    with show() as page:
        page.evaluate("document.addEventListener('steadyread:case', event => { window.chosen = event.detail.id; })")
        scatter = page.locator(".case-scatter")
        scatter.click(position=page.evaluate(POINT, 0))
        assert title(page) == page.evaluate("window.chosen") == "C-00000000"
        page.evaluate("document.dispatchEvent(new CustomEvent('steadyread:case', {detail: {id: 'C-00000005'}}))")
        assert title(page) == "C-00000005"       # as triage's list asks for
        low, high = page.evaluate(POINT, 0), page.evaluate(POINT, 3)
        frame = scatter.bounding_box()
        page.mouse.move(frame["x"] + low["x"] - 8, frame["y"] + low["y"] + 8)
        page.mouse.down()
        page.mouse.move(frame["x"] + high["x"] + 1, frame["y"] + high["y"] - 1, steps=3)
        page.mouse.up()
        assert set(rows(page)) >= {0, 1, 2, 3}
        assert len(rows(page)) < 8
        assert says(page).endswith(", in the box.")
        page.get_by_role("button", name="Box ✕").click()
        assert says(page).startswith("24 of 24")


def test_the_scatter_is_used_by_keys_alone(show: Open) -> None:
    with show() as page:
        scatter = page.locator(".case-scatter")
        before = title(page)
        scatter.press("ArrowLeft")
        assert title(page) != before
        scatter.press("Shift+ArrowLeft")
        scatter.press("Shift+ArrowDown")
        assert 0 < len(rows(page)) < N
        scatter.press("Escape")
        assert says(page).startswith("24 of 24")


def test_rows_are_chosen_and_sorted_and_found(show: Open) -> None:
    with show() as page:
        page.locator("[data-row='9']").click()
        assert title(page) == "C-00000009"
        assert page.url.endswith("#case=C-00000009")
        assert page.locator("[aria-current=true]").inner_text() == "C-00000009"
        page.locator("[data-row='9'] button").press("ArrowDown")
        assert title(page) == "C-00000010"
        page.keyboard.press("Home")
        assert title(page) == "C-00000000"
        page.keyboard.press("ArrowRight")      # the next case, wherever the focus is
        assert title(page) == "C-00000001"
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowRight")
        page.get_by_role("button", name="Previous case").click()
        assert title(page) == "C-00000000"
        page.get_by_role("button", name="Case", exact=True).click()
        page.get_by_role("button", name="Case", exact=True).click()
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("Case")
        ids = page.locator("tbody th button").all_inner_texts()
        assert ids == sorted(ids, reverse=True)
        page.get_by_label("Find a case").fill("p-00000003")
        assert sorted(rows(page)) == [6, 7]


def test_a_list_of_thousands_holds_only_the_rows_that_are_seen(show: Open) -> None:
    with show(n=5000, bare=True) as page:
        assert len(rows(page)) < 40
        page.locator("tbody th button").first.press("End")
        assert title(page) == "C-00004999" or title(page) == "C-00004995"
        assert rows(page)[-1] == int(title(page)[2:])
        assert len(rows(page)) < 40
        assert page.locator(".case-list table").get_attribute("aria-rowcount") == "5001"
        assert "This file contains no images" in page.locator(".case-absent").inner_text()


@pytest.mark.parametrize("kind", ["grey", "colour", "volume"])
def test_the_viewer_shows_the_values_that_were_packed(show: Open, kind: Kind) -> None:
    cases = made_cases(kind)
    packed = opened(cases.as_json())
    side = packed.images.shape[-1]
    with show(kind, hash_="#case=C-00000007") as page:
        image, change = packed.images[7], packed.changes[7]
        if kind == "volume":
            page.get_by_role("slider", name="Slice").evaluate(SLIDE, 2)
            image, change = image[:, 1], change[:, 1]
        before, moved, after = hover(page, 5, 3, side)
        unit = "HU" if kind != "colour" else "grey levels"
        assert before == f"{' '.join(f'{value:g}' for value in image[:, 3, 5])} {unit}"
        assert [float(value) for value in moved.removesuffix(unit).split()] == pytest.approx(change[:, 3, 5], rel=0.06)
        assert [float(value) for value in after.removesuffix(unit).split()] == pytest.approx(
            (image + change)[:, 3, 5], abs=0.06)


def test_the_slider_goes_from_nothing_to_twice_the_flip(show: Open) -> None:
    cases = made_cases()
    with show(hash_="#case=C-00000004") as page:
        output, canvases = page.locator(".case-range output").first, page.locator(".case-pane canvas")
        assert words(output) == "2.5 HU: flips here"
        move_slider(page, 0)
        assert words(output) == "0 HU"
        assert (seen(canvases.nth(2)) == seen(canvases.first)).all()
        assert not seen(canvases.nth(1)).any()            # black where nothing changed
        page.locator(".case-range input").first.press("End")
        assert words(output) == f"{2 * cases.flip[4]:.1f} HU: flipped"
        assert (seen(canvases.nth(2)) != seen(canvases.first)).any()
        assert seen(canvases.nth(1)).any()
        assert page.locator(".case-panes figcaption").nth(2).inner_text().split("\n")[-1].startswith("✕ malignant")
        page.locator(".case-range input").first.press("ArrowLeft")          # the slider's own key, not the next case
        assert title(page) == "C-00000004"
        assert "malignant" in page.locator(".case-range input").first.get_attribute("aria-valuetext")


def test_of_several_classes_the_one_flipped_to_is_named(chromium: Browser, tmp_path) -> None:
    cases = made_cases()
    assert cases.walk is not None
    chance = np.stack([cases.walk.probability[..., 0], cases.walk.probability[..., 1] * 0.9,
                       cases.walk.probability[..., 1] * 0.1], -1)
    three = replace(cases, classes=("round", "<i>lobed</i>", "spiky"), walk=replace(cases.walk, probability=chance))
    page_ = Page("made", "How steady?", (), written([ShownCases((three,))]), "").html({})
    with chromium.open(saved(tmp_path, "three", page_) + "#case=C-00000004") as page:
        page.locator(".case-range input").first.press("End")
        assert words(page.locator(".case-panes figcaption").nth(2)).split("\n")[-1].startswith("✕ <i>lobed</i> ")
        assert page.locator(".case-walk .line").count() == 2
        assert chip(page, "Missed").count() == 0
    chromium.check()


def test_blink_shows_the_original_in_place_of_the_changed(show: Open) -> None:
    with show(hash_="#case=C-00000004") as page:
        shows = """name => {
          const canvases = [...document.querySelectorAll(".case-pane canvas")];
          const [original, , changed] = canvases.map(each => each.toDataURL());
          const label = document.querySelectorAll(".case-panes figcaption b")[2].textContent;
          return label === name && (original === changed) === (name === "Original");
        }"""
        page.locator(".case-viewer h3").press("b")
        assert page.get_by_role("button", name="Blink").get_attribute("aria-pressed") == "true"
        page.wait_for_function(shows, arg="Original")
        page.wait_for_function(shows, arg="Changed")
        page.wait_for_function(shows, arg="Original")
        page.keyboard.press("b")
        assert page.evaluate(shows, "Changed")


def test_windows_by_preset_drag_and_range(show: Open) -> None:
    image = opened(made_cases().as_json()).images[4, 0]
    with show(hash_="#case=C-00000004") as page:
        canvas, window = page.locator(".case-pane canvas").first, page.get_by_label("Window")

        def grey() -> np.ndarray:
            return seen(canvas)[..., 0].astype(float)

        assert np.abs(grey() - (image + 1000) / 1400 * 255).max() <= 1
        window.select_option(label="lung, −1350 to 150\u202fHU")
        assert np.abs(grey() - np.clip((image + 1350) / 1500 * 255, 0, 255)).max() <= 1
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 10, box["y"] + 90, steps=2)
        page.mouse.up()
        assert window.evaluate("select => select.selectedOptions[0].textContent") == "own"
        width, level = page.get_by_label("Width"), page.get_by_label("Level")
        assert float(width.input_value()) < 1400
        assert float(level.input_value()) > -600
        width.press("Home")
        assert set(np.unique(grey())) <= {0, 255} or float(width.input_value()) > 1
        canvas.dblclick()
        assert np.abs(grey() - (image + 1000) / 1400 * 255).max() <= 1


def test_the_viewer_is_dark_on_either_page_and_the_scatter_follows(show: Open) -> None:
    with show(color_scheme="light") as page:
        viewer, scatter = page.locator(".case-viewer"), page.locator(".case-scatter")
        ground = "element => getComputedStyle(element).backgroundColor"
        light, drawn = viewer.evaluate(ground), scatter.evaluate(PICTURE)
        page.locator("#theme").click()
        assert viewer.evaluate(ground) == light == "rgb(11, 13, 16)"
        assert scatter.evaluate(PICTURE) != drawn


def test_a_link_opens_its_case_and_names_run_nothing(show: Open) -> None:
    with show(hash_=f"#case={quote(HOSTILE)}") as page:
        assert page.locator(".case-viewer h3").evaluate("title => title.textContent") == HOSTILE
        assert page.locator("[aria-current=true]").get_attribute("title") == HOSTILE
        assert page.locator(".case-browser img").count() == 0
        assert page.evaluate("document.activeElement.tagName") == "H3"
        page.evaluate("location.hash = '#case=C-00000011'")
        page.wait_for_function("document.querySelector('.case-viewer h3').textContent === 'C-00000011'")
        page.evaluate("location.hash = '#case=%E0%A4%A<b>'")
        page.wait_for_function("document.querySelector('.case-says').textContent.startsWith('There is no case')")
        assert title(page) == "C-00000011"
    assert HOSTILE not in html("grey")
    run_by_hash(Parsed(html("grey")))


def test_noise_is_redrawn_at_each_dose(show: Open) -> None:
    packed = opened(made_cases("dose").as_json())
    with show("dose", hash_="#case=C-00000007") as page:
        slider, output = page.get_by_label("Dose of the scan"), page.locator(".case-range output").first
        assert words(output).startswith("10 mAs")
        for stop in range(1, len(DOSES)):
            _, moved, _ = hover(page, 5, 3, 24)
            assert float(moved.removesuffix(" HU")) == pytest.approx(packed.changes[7, stop - 1, 0, 3, 5], rel=0.06)
            slider.press("ArrowLeft")
            assert words(output).startswith(f"{DOSES[stop]:g} mAs")
        assert "flip at" in page.locator(".case-walk").evaluate("chart => chart.textContent")


def test_one_dose_at_which_nothing_flips_is_one_stop_and_no_size(chromium: Browser, tmp_path) -> None:
    cases = made_cases("dose")
    assert cases.walk is not None
    assert cases.pixels is not None
    assert cases.pixels.scale is not None
    one = replace(cases, flip=np.full(N, np.nan), walk=Walk((10.0,), cases.walk.probability[:, :1]),
                  pixels=replace(cases.pixels, scale=cases.pixels.scale[:, :1]))
    with chromium.open(saved(tmp_path, "one", Page("made", "How steady?", (), written([ShownCases((one,))]), "").html({
            })) + "#case=C-00000004") as page:
        assert words(chip(page, "Flipped")) == "Flipped 0"
        assert page.get_by_label("Dose of the scan").is_disabled()
        assert words(page.locator(".case-range output").first).startswith("10 mAs")
        assert "NaN" not in page.locator("#case-browser").evaluate("place => place.textContent")
    chromium.check()


def test_values_are_read_by_keys_and_slices_turned(show: Open) -> None:
    image = opened(made_cases("volume").as_json()).images[7, 0]
    with show("volume", hash_="#case=C-00000007") as page:
        images = page.get_by_role("group", name="Images")
        images.press("ArrowUp")
        assert words(page.locator(".case-range output").nth(1)) == "4 of 8"
        images.press("Shift+ArrowRight")
        assert words(page.locator("[aria-live=polite]").last).startswith(
            f"Column 11, row 10: Original {image[3, 10, 11]:g} HU, Change")


def test_several_data_sets_are_chosen_and_links_find_theirs(show: Open) -> None:
    with show("grey", "colour") as page:
        page.get_by_label("Data set").select_option(label="colour <b>")
        page.wait_for_function("document.querySelector('.case-marks').textContent.includes('grey level')")
        assert says(page).startswith("24 of 24")
        assert page.locator(".case-browser").count() == 1


def test_cases_without_a_picture_or_a_flip_say_so(show: Open) -> None:
    with show(hash_=f"#case=C-{N - 1:08d}") as page:
        assert "not in this file" in page.locator(".case-absent").inner_text()
        assert not page.locator(".case-panes").is_visible()
        page.evaluate(f"location.hash = '#case=C-{N - 5:08d}'")
        page.wait_for_function("!document.querySelector('.case-panes').hidden")
        assert page.locator(".case-range input").first.is_disabled()
        assert "no change was found" in page.locator(".case-range output").first.inner_text()


@pytest.mark.parametrize("width", [420, 820])
def test_nothing_is_cut_on_a_narrow_screen(show: Open, width: int) -> None:
    with show(width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        cut = """selector => [...document.querySelectorAll(selector)].filter(each => each.offsetParent
          && (each.scrollWidth > each.clientWidth + 1 || each.getBoundingClientRect().right > innerWidth)).length"""
        places = "[data-row]:not(:has([title*=script])) > *, .case-chips > *, .case-viewer, .case-list"
        assert page.evaluate(cut, places) == 0


def test_without_scripts_there_is_a_table_and_a_sentence(show: Open) -> None:
    with show(scripts=False, width=420) as page:
        table = page.locator(".case-still table").bounding_box()
        assert table["x"] + table["width"] <= 420
        assert page.get_by_text("With scripts, every case of this page can be looked at here").is_visible()
        assert page.locator(".case-still tbody tr").count() == 12
        assert not page.locator("#case-browser").is_visible()
    with show() as page:
        assert not page.locator(".case-still").is_visible()
        page.emulate_media(media="print")
        assert page.locator(".case-still table").is_visible()
        assert not page.locator(".case-list").is_visible()


def test_the_change_has_its_own_colours_and_says_how_far_they_reach(show: Open) -> None:
    """However small a change, its largest is told apart from none at the flip; one scale for all is a button away."""
    cases = made_cases()
    with show() as page:
        flip = cases.flip[list(cases.id).index(title(page))]
        change = page.locator(".case-pane canvas").nth(1)
        assert seen(change).max(-1).min() > 200
        ends = page.locator(".case-ends")
        assert float(words(ends).split("\n")[-1].lstrip("+")) == pytest.approx(flip, rel=0.06)
        move_slider(page, 50)
        assert 80 < seen(change).max(-1).min() < 150
        move_slider(page, 200)
        assert float(words(ends).split("\n")[-1].lstrip("+")) == pytest.approx(2 * flip, rel=0.06)
        page.get_by_role("button", name="Same colours for all").click()
        move_slider(page, 50)
        assert seen(change).max(-1).max() < 80
