"""The cases that a page shows: of a run's pictures those that have room, under pseudonyms, and no others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fabricate
from fabricate_cases import Kind, write_pictures
from fabricate_noise import Made as MadeNoise
from fabricate_noise import write_study
from fabricate_pictures import Call
from fabricate_sets import Made, write_sets
from steadyread import open_run, records
from steadyread.errors import InputRefused
from steadyread.pictured import FLIPS, Walk, read_walk
from steadyread.report.case_data import opened
from steadyread.report.case_sheet import case_sheet
from steadyread.report.cases import FINDINGS, ShownCases, Source, shown_cases
from steadyread.report.run import told_of
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.store import open_cells
from steadyread.stored import report_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = fabricate.write_run(tmp_path / "run")
    write_pictures(folder)
    return folder


def shown(folder: Path, images: bool = True, show_ids: bool = False, dose: bool = False, **more: int) -> ShownCases:
    return shown_cases([Source(open_cells(folder).own, Shareable.of(folder, show_ids), dose=dose)], images, **more)


def test_what_the_network_says_along_the_way_takes_room_too(run: Path) -> None:
    """Of a thousand classes it is more than the pixels: fewer cases are pictured, and the page keeps to its room."""
    stored, room = read_walk(run, FLIPS), 300_000
    assert stored is not None
    assert shown(run, room=room).as_json()["images"] == 120
    at = np.linspace(0, 2, 2001)
    chance = np.random.default_rng(0).random((len(stored.id), len(at), 2))
    Walk(stored.id, at, chance).write(run, FLIPS)
    block = shown(run, room=room).as_json()
    assert 1 < block["images"] < 60
    letters = [block["pixels"]["image"]["data"], block["pixels"]["change"]["data"], block["walk"]["probability"]]
    assert 0.5 * room < sum(map(len, letters)) <= room


def test_a_page_has_every_case_of_a_small_run_the_most_fragile_first(run: Path) -> None:
    found = shown(run, show_ids=True)
    block, table = found.as_json(), records.read(run).to_pylist()
    flips = {row["case_id"]: row for row in table if row["attack"] == "smallest_flip"
             and row["against"] == "prediction" and row["part"] == "test"}
    cases = block["cases"]
    assert block["total"] == block["images"] == len(flips) == 120
    sizes = [np.inf if size is None else size for size in cases["flip"]]
    assert sizes == sorted(sizes)
    for name, size, truth, read in zip(*(cases[key] for key in ("id", "flip", "truth", "read")), strict=True):
        row = flips[name]
        assert truth == row["label"]
        assert read == row["reference"]
        assert size is None if np.isinf(row["found_size"]) else size == pytest.approx(row["found_size"], rel=1e-5)
    pictures = opened(block)
    largest = np.abs(pictures.changes).reshape(120, -1).max(1)
    assert np.allclose(largest, [size or 0 for size in cases["flip"]], rtol=1e-5)
    own = pictures.probability[np.arange(120)[:, None], np.arange(21), np.array(cases["read"])[:, None]]
    assert np.allclose(own[:, 0], cases["sure"], atol=1e-4)
    assert found.contains == "This file contains 120 images, made by a computer."


def test_names_are_pseudonyms_and_tell_no_order(run: Path) -> None:
    cases = shown(run).as_json()["cases"]
    key = Shareable.of(run)
    assert set(cases["id"]) == {key.case(f"case-{at:04d}") for at in range(120)}
    assert all(name.startswith("P-") for name in cases["patient"])
    assert shown(run).as_json() == shown(run).as_json()


def test_without_pictures_the_table_stays_and_is_told_what_to_do(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    found = shown(folder)
    assert found.blocks[0].pixels is None
    assert len(found.as_json()["cases"]["id"]) == 120
    assert "once more" in found.missing
    write_pictures(folder, most=7)
    found = shown(folder)
    assert found.missing == ""
    assert len(found.blocks[0].pictured_ids) == 7
    assert shown(folder, images=False).missing == ""


def test_a_run_that_searched_no_flips_is_not_sent_to_do_it_again(tmp_path: Path) -> None:
    rows = [row for row in fabricate.rows(n=20) if row["attack"] != "smallest_flip"]
    found = shown(fabricate.write_run(tmp_path / "run", records.as_table(rows)))
    assert "did without" in found.missing


def test_images_stay_out_of_the_report_where_they_are_not_wanted(run: Path, undrawn: None) -> None:
    page = run / "report.html"
    report_run(run)
    assert '="data:image/png' in page.read_text()
    found = told_of(run, AS_IT_IS, images=False).cases
    assert found.contains == "This file contains no images: --no-images."
    assert "pixels" not in found.as_json()
    report_run(run, images=False)
    text = page.read_text()
    assert '="data:image' not in text
    assert not (run / "figures" / "examples.png").exists()


def test_the_commands_leave_images_out(run: Path, steadyread: Call, undrawn: None) -> None:
    assert steadyread("report", run, "--no-images").code == 0
    assert 'src="data:image' not in (run / "report.html").read_text()
    assert steadyread("report", run).code == 0
    assert 'src="data:image' in (run / "report.html").read_text()


def test_large_runs_show_so_many_as_have_room_and_rows_of_pictures_alone(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fabricate.write_run(tmp_path / "run", records.as_table(fabricate.rows(n=900, patients=500)))
    write_pictures(folder)
    found = shown(folder)
    cases = found.as_json()["cases"]
    assert len(cases["id"]) == 900
    assert cases["pictured"][:100] == list(range(100))       # the most fragile
    wrong = [at >= 0 for truth, read, at in zip(*(cases[key] for key in ("truth", "read", "pictured")), strict=True)
             if truth != read]
    assert len(wrong) < 150
    assert all(wrong)
    pictured = len(found.blocks[0].pictured_ids)
    assert 200 < pictured <= 100 + len(wrong) + 50
    few = shown(folder, room=100_000)
    assert 30 < len(few.blocks[0].pictured_ids) < 200
    assert len(json.dumps(few.as_json()["pixels"])) < 105_000
    monkeypatch.setattr("steadyread.report.cases._ROWS", 800)
    assert len(shown(folder).as_json()["cases"]["id"]) == pictured
    bare = shown(folder, images=False)
    assert bare.blocks[0].id == shown(folder).blocks[0].id
    assert bare.contains == "This file contains no images: --no-images."


@pytest.mark.parametrize("kind", ["colour", "volume"])
def test_volumes_carry_every_slice_and_colour_its_channels(tmp_path: Path, kind: Kind) -> None:
    data = fabricate.plan()["data"] | {"unit": "grey level", "bounds": [0.0, 255.0]} if kind == "colour" else None
    folder = fabricate.write_run(tmp_path / "run", **({"data": data} if data else {}))
    write_pictures(folder, kind)
    block = shown(folder).as_json()
    assert (block["channels"], block["shape"]) == ((3, [24, 24]) if kind == "colour" else (1, [8, 20, 20]))
    assert opened(block).images.shape == (120, block["channels"], *block["shape"])
    assert block["windows"][0]["name"] == "full"


def test_each_case_of_folds_is_shown_by_the_fold_that_tests_it(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "run", MadeNoise(folds=2, draws=8, examples=False))
    write_pictures(folder, "dose")
    found = shown(folder, dose=True)
    block, own = found.as_json(), open_cells(folder).own
    reads = own.reads()
    network = {fold: at for at, fold in enumerate(reads.folds)}
    rows = {Shareable.of(folder).case(str(name)): at for at, name in enumerate(reads.case_id)}
    assert block["axis"]["kind"] == "dose"
    assert block["walk"]["at"] == own.reads().doses()
    for name, fold, read in zip(block["cases"]["id"], block["cases"]["fold"], block["cases"]["read"], strict=True):
        assert reads.part[rows[name], network[fold]] == reads.judged
        assert reads.prediction[rows[name], network[fold]] == read
    assert opened(block).changes.shape[1] == len(block["walk"]["at"])
    fragile = [dose for dose in block["cases"]["flip"] if dose is not None]
    assert fragile == sorted(fragile, reverse=True)


def test_several_data_sets_share_the_room_and_have_their_own_pseudonyms(tmp_path: Path) -> None:
    folder = write_sets(tmp_path / "run", {"lung_ct": Made(unit="HU"), "brain": Made(classes=3)})
    for name in ("lung_ct", "brain"):
        (folder / name / "salt.txt").write_text(name)
        write_pictures(folder / name)
    found = told_of(folder, Shareable.of(folder)).cases
    block = found.as_json()
    assert [each["set"] for each in block["sets"]] == ["lung ct", "brain"]
    assert [each["images"] for each in block["sets"]] == [90, 90]
    assert not set(block["sets"][0]["cases"]["id"]) & set(block["sets"][1]["cases"]["id"])
    sources = [Source(open_cells(folder / name).own, AS_IT_IS, name) for name in ("lung_ct", "brain")]
    few = shown_cases(sources, room=100_000)
    assert sum(len(json.dumps(each.as_json()["pixels"])) for each in few.blocks) < 110_000


@pytest.mark.parametrize("name", ["</script><b>", "\u2028", "a" * 300, "=cmd", "../../x"])
def test_hostile_ids_pass_as_text(tmp_path: Path, name: str) -> None:
    rows = fabricate.rows(n=12)
    for row in rows:
        row["case_id"] = f"{name}{row['case_id']}"
    folder = fabricate.write_run(tmp_path / "run", records.as_table(rows))
    write_pictures(folder)
    block = json.loads(json.dumps(shown(folder, show_ids=True).as_json()))
    assert set(block["cases"]["id"]) == {row["case_id"] for row in rows}
    assert block["images"] == 12


def test_a_damaged_part_costs_its_pictures_and_no_more(run: Path) -> None:
    part = next((run / FLIPS).glob("part-*.npz"))
    part.write_bytes(part.read_bytes()[:100])
    (run / FLIPS / "walk.npz").write_bytes(b"")
    found = shown(run)
    assert found.missing
    assert len(found.as_json()["cases"]["id"]) == 120


def test_what_is_in_the_file_is_said_in_one_sentence(run: Path) -> None:
    found = shown(run)
    real = replace(found.blocks[0], synthetic=False)
    assert ShownCases((real,)).contains == "This file contains 120 images of 80 patients."
    assert ShownCases((replace(real, patients_known=False),)).contains == "This file contains 120 images."
    assert ShownCases((real, found.blocks[0])).contains == (
        "This file contains 240 images of 160 patients, some made by a computer.")
    assert ShownCases((real, real), of=FINDINGS).contains == "This file contains 120 images of 80 patients."
    assert ShownCases((real, real), of=FINDINGS).as_json()["of"] == "Finding"
    assert ShownCases(()).contains == "This file contains no images."
    names = found.blocks[0].id
    bare = replace(real, pictured=np.full(120, -1), pixels=None, walk=None)
    assert ShownCases((bare,), beside=(frozenset([*names[:2], "C-ELSEWHERE"]),)).contains == (
        f"This file contains 3 images of {1 + len({*real.patient[:2]})} patients.")
    assert ShownCases((bare,), False, beside=(frozenset(names),)).contains == (
        "This file contains no images: --no-images.")


def test_images_elsewhere_in_the_page_are_counted(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")        # examples alone, of an earlier version
    assert told_of(folder, Shareable.of(folder)).cases.contains == "This file contains 3 images, made by a computer."


@pytest.mark.parametrize("kind", ["grey", "volume"])
def test_a_case_of_an_opened_run_is_three_pictures_with_both_reads(tmp_path: Path, kind: Kind) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    write_pictures(folder, kind)
    rows = open_cells(folder).case_rows()
    place = int(np.flatnonzero(np.isfinite(rows.flip) & (rows.flip > 0) & ~rows.wrong)[0])
    name, classes = str(rows.case_id[place]), fabricate.plan()["data"]["classes"]
    found = open_run(folder).show(name)
    drawn = found._repr_svg_()
    assert drawn.count("<image ") == 3
    assert f"{classes[rows.read[place]]} {100 * rows.sure[place]:.0f} %" in drawn
    assert f">{classes[1 - rows.read[place]]} " in drawn      # twice the flip reads the other class
    assert name in found.caption
    assert name not in drawn


def test_a_case_under_noise_is_shown_with_a_stored_draw(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "run", MadeNoise(folds=2, draws=8, examples=False))
    write_pictures(folder, "dose")
    own = open_cells(folder).own
    found = case_sheet(own, str(own.case_rows(dose=True).case_id[0]))
    assert found.markup.count("<image ") == 3
    assert "noise of " in found.markup


def test_a_case_that_is_not_there_or_has_no_picture_is_refused_in_a_line(tmp_path: Path) -> None:
    folder = fabricate.write_run(tmp_path / "run")
    ids = open_cells(folder).case_rows().case_id.tolist()
    with pytest.raises(InputRefused, match="not stored with this run"):
        open_run(folder).show(ids[0])
    write_pictures(folder, most=7)
    with pytest.raises(InputRefused, match=f"did you mean '{ids[0]}'"):
        open_run(folder).show(f"{ids[0]}x")
    with pytest.raises(InputRefused, match="no picture of this case"):
        open_run(folder).show(ids[-1])
