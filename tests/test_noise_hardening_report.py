"""The page's section of hardening against noise: inert and whole, in words where something is absent."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import fabricate_noise_hardening as made
from fabricate_noise import noise_page
from fabricate_noise_hardening import Method
from pages import HOSTILE, Page, refuse_outside
from steadyread import records
from steadyread.errors import InputRefused
from steadyread.metrics.summary import as_json
from steadyread.report import write_report
from steadyread.report.hardening_drawings import noise_hardening_drawings
from steadyread.report.hardening_stored import read_noise_hardening
from steadyread.report.noise import read_noise
from steadyread.store import open_cells

ALL = (Method("adaptive", (1.5, 2.5), "adaptive"), Method("fresh"), Method("mute", silent=True),
       Method("pgd", (0.4,), wrong=0.4, starts=3), Method("clean", (1.0,), folds=(0,), passes=60_000),
       Method("late", failed="the loss was not a number in epoch 3"))


SMALL = replace(made.STUDY, cases=60, patients=54, doses=(100.0,))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made.write_hardened(tmp_path_factory.mktemp("runs") / "ct_noise", ALL)
    write_report(folder)
    return folder


def test_the_figures_are_there_and_in_the_page(whole: Path) -> None:
    names = {path.stem for path in (whole / "figures").glob("hardened_*.svg")}
    assert names == {"hardened_sar", "hardened_doses", "hardened_methods", "hardened_validation"}
    text = (whole / "report.html").read_text()
    refuse_outside(text)
    for name in names:
        assert f'id="{name.replace("_", "-")}-' in text


def test_the_same_folder_gives_the_same_numbers(whole: Path) -> None:
    stored = json.loads((whole / "summary.json").read_text())["hardening"]
    again = noise_page(whole)[1]["hardening"]
    assert json.dumps(as_json(again), sort_keys=True) == json.dumps(as_json(stored), sort_keys=True)


def test_a_study_without_hardening_has_no_section(tmp_path: Path) -> None:
    folder = made.write_hardened(tmp_path, made.METHODS[1:], SMALL)
    shutil.rmtree(folder / "hardened")
    page, summary = noise_page(folder)
    assert "hardening" not in summary
    assert "Hardening against noise" not in page
    (folder / "hardened/before/fold-0").mkdir(parents=True)
    assert "hardening" not in noise_page(folder)[1]


@pytest.mark.parametrize(("gone", "sentences"), [
    (("before",), ("networks before have not been judged yet", "what changed its read joins the training set")),
    (("adaptive/fold-0/records", "adaptive/fold-1/records", "adaptive/fold-0/round-1", "adaptive/fold-1/round-1"),
     ("after adaptive training have not been judged yet", "Trained, not judged (yet): adaptive training")),
    (("adaptive/fold-0/round-1", "adaptive/fold-1/round-1", "adaptive/fold-0/training.json",
      "adaptive/fold-1/training.json", "fresh/fold-0/training.json", "fresh/fold-1/training.json"),
     ("made the reads less steady", "are attacked anew by noise, against"))])
def test_a_study_under_way_is_told_as_far_as_it_is(tmp_path: Path, gone: tuple[str, ...],
                                                   sentences: tuple[str, ...]) -> None:
    folder = made.write_hardened(tmp_path, made.METHODS, SMALL)
    for name in gone:
        place = folder / "hardened" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    page, summary = noise_page(folder)
    text, found = Page(page).text, summary["hardening"]
    for words in sentences:
        assert words in text, words
    json.dumps(as_json(found), allow_nan=False)
    hardening = read_noise_hardening(folder, open_cells(folder).settings)
    assert hardening is not None
    for drawing in noise_hardening_drawings(hardening, found).values():
        assert drawing.svg()
        assert drawing.caption


def test_a_fold_that_needed_fewer_rounds_keeps_its_last_network(tmp_path: Path) -> None:
    folder = made.write_hardened(tmp_path, made.METHODS, SMALL)
    shutil.rmtree(folder / "hardened/adaptive/fold-1/round-1")
    path = folder / "hardened/adaptive/fold-1/training.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"rounds": told["rounds"][:1], "stopped": "No attack found a flip."}))
    hardening = read_noise_hardening(folder, open_cells(folder).settings)
    assert hardening is not None
    assert [one.folds for one in hardening.methods[0].rounds] == [(0, 1), (0, 1)]
    last = hardening.methods[0].reads
    assert last is not None
    first = hardening.methods[0].rounds[0].under["rings_ct_noise", 100.0].flips
    np.testing.assert_array_equal(first[:, 1], last.under["rings_ct_noise", 100.0].flips[:, 1])
    assert "Stopped (fold 1): No attack found a flip." in Page(noise_page(folder)[0]).text
    kept = {cell.round: network.reads() for network in open_cells(folder).select(stage="adaptive").networks()
            for cell in network.cells[:1]}
    for number, reads in ((1, hardening.methods[0].rounds[0]), (0, last)):
        assert kept[number].folds == reads.folds
        np.testing.assert_array_equal(kept[number].logits, reads.logits[(reads.part == "test").any(1)])


def test_folds_that_are_hardened_stand_beside_one_that_keeps_the_network_before(tmp_path: Path) -> None:
    """Where a training failed there is no hardened network: the records of that fold are of the one before."""
    folder = made.write_hardened(tmp_path, made.METHODS, SMALL)
    store = records.Store(folder / "hardened/adaptive/fold-0")
    table = records.read(store.folder)
    stage = pa.array(["hardened"] * len(table), table.schema.field("stage").type)
    shutil.rmtree(store.parts)
    store.parts.mkdir()
    store.write_part(0, table.set_column(table.schema.get_field_index("stage"), "stage", stage))
    last = next(open_cells(folder).select(stage="adaptive", round=0).networks()).reads()
    assert last.there.all(1).sum() == (last.part[:, 0] == "test").sum() > 0


def test_methods_that_the_study_no_longer_names_are_left_out(tmp_path: Path) -> None:
    folder = made.write_hardened(tmp_path, ALL[:2], SMALL)
    path = folder / "study.json"
    settings = json.loads(path.read_text())
    settings["noise"]["hardening"]["compare"] = {}
    path.write_text(json.dumps(settings))
    assert [row["name"] for row in noise_page(folder)[1]["hardening"]["methods"]] == ["adaptive"]
    settings["noise"]["hardening"] = None
    path.write_text(json.dumps(settings))
    assert [row["name"] for row in noise_page(folder)[1]["hardening"]["methods"]] == ["adaptive", "fresh"]
    settings["hardening"] = {"method": "adaptive", "compare": {"fresh": {}}}     # against changes of pixels
    path.write_text(json.dumps(settings))
    assert "hardening" not in noise_page(folder)[1]


def test_a_network_that_was_not_trained_is_told_as_that(tmp_path: Path) -> None:
    folder = made.write_hardened(tmp_path, (made.METHODS[0], Method("other", (0.5,))), SMALL)
    path = folder / "study.json"
    settings = json.loads(path.read_text())
    settings["noise"]["hardening"]["compare"]["other"] = {"method": "none", "variant": "strided"}
    path.write_text(json.dumps(settings))
    for fold in (0, 1):
        (folder / f"hardened/other/fold-{fold}/training.json").unlink()
    page, summary = noise_page(folder)
    found = summary["hardening"]
    assert (found["methods"][1]["method"], found["methods"][1]["cost"]) == ("none", None)
    assert "No training: the network as it is. Starts from the network “Strided convolutions”." in Page(page).text


@pytest.mark.parametrize(("content", "said"), [("[]", "training.json"), ('{"rounds": {}}', "list of objects"),
                                               ('{"rounds": [{"epochs": 3}]}', "list of epochs")])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, content: str, said: str) -> None:
    folder = made.write_hardened(tmp_path, made.METHODS[1:], replace(SMALL, cases=20, folds=1))
    (folder / "hardened/fresh/fold-0/training.json").write_text(content)
    with pytest.raises(InputRefused, match=said):
        read_noise(open_cells(folder))


def test_names_from_users_are_escaped(tmp_path: Path) -> None:
    folder = made.write_hardened(tmp_path, (replace(made.METHODS[1], failed=HOSTILE),),
                                 replace(SMALL, cases=20, folds=1))
    text = noise_page(folder)[0]
    assert "<script>alert" not in text
    assert "&lt;script" in text
