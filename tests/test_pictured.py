"""The pictures beside the records: what is kept of a block, what a kill or a flipped bit costs, and what is exact."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyread import picturing, records
from steadyread.assessment import Against, assess
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.metrics.choosing import Shown, chosen
from steadyread.pictured import FLIPS, Walk, open_pictures, parts_of, pictured_ids, read_part, read_walk
from steadyread.units import Bounds
from steadyread.whole_files import npz
from test_assessment import made_cases, made_classifier, rows_of
from test_killed_runs import killed
from test_set_aside import picky

ATTACKS = [smallest_flip, pgd(0.05, restarts=1)]


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for _, path in parts_of(folder, FLIPS)}


@pytest.mark.parametrize("against", ["both", "label"])
def test_each_case_of_the_judged_part_has_its_image_and_the_change_that_flips_it(
        tmp_path: Path, against: Against) -> None:
    cases, classifier = made_cases(), made_classifier()
    table = assess(classifier, cases, ATTACKS, against=against, store=tmp_path / "run")
    assert table.equals(assess(classifier, cases, ATTACKS, against=against))       # pictures change no row
    test = cases.part("test")
    found = open_pictures(tmp_path / "run", FLIPS, cases.bounds, [row.id for row in test.rows])
    assert found is not None
    assert found.id == tuple(row.id for row in test.rows)
    native, changes = found.image.native, found.change * found.scale[..., None, None]
    sizes = {row["case_id"]: row for row in rows_of(table, attack="smallest_flip",
                                                    against="label" if against == "label" else "prediction")}
    wrong = 0
    for at, row in enumerate(test.rows):
        assert np.abs(native[at] - test[at].image.numpy()).max() <= 8 / 65_535
        told = sizes[row.id]
        if against == "label" and told["found_size"] == 0:     # wrong to begin with: its clean image
            assert np.isnan(found.scale[at]).all()
            wrong += 1
            continue
        assert np.abs(changes[at]).max() == pytest.approx(told["found_size"], rel=1e-5)
        margin = classifier.margins(test[at].image[None] + torch.tensor(changes[at][None], dtype=torch.float32),
                                    torch.tensor([told["reference"]]))
        assert abs(float(margin.detach())) < 0.01         # on the boundary, to the steps of 8 bits
    assert (wrong > 0) == (against == "label")


def test_a_block_whose_pictures_are_lost_or_damaged_is_as_finished_as_before(tmp_path: Path) -> None:
    cases, classifier, run = made_cases(), made_classifier(), tmp_path / "run"
    table = assess(classifier, cases, ATTACKS, store=run)
    whole = bytes_in(run)
    first, second = sorted(run.joinpath(FLIPS).iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"\1")
    parts = {path.name: path.stat().st_mtime_ns for path in (run / records.PARTS).iterdir()}
    assert assess(classifier, cases, ATTACKS, store=run).equals(table)
    assert parts == {path.name: path.stat().st_mtime_ns for path in (run / records.PARTS).iterdir()}
    assert pictured_ids(run, FLIPS) == set()
    next((run / records.PARTS).glob("part-00001*")).unlink()     # computed anew, with its pictures
    assert assess(classifier, cases, ATTACKS, store=run).equals(table)
    assert pictured_ids(run, FLIPS) == {row.id for row in cases.rows[64:]}
    assert bytes_in(run).keys() < whole.keys()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_assessment_goes_on_to_the_same_pictures(tmp_path: Path) -> None:
    cases, classifier, run = made_cases(), made_classifier(), tmp_path / "run"
    assess(classifier, cases, ATTACKS, store=tmp_path / "whole")
    lives = 1
    while killed(lambda: assess(classifier, cases, ATTACKS, store=run), lives):
        lives += 1
    assert lives > 4
    assert bytes_in(run) == bytes_in(tmp_path / "whole")
    assert records.read(run).equals(records.read(tmp_path / "whole"))


def test_a_block_keeps_the_most_fragile_the_wrong_and_some_drawn_within_its_room(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, classifier, run = made_cases(), made_classifier(), tmp_path / "run"
    monkeypatch.setattr(picturing, "ROOM", 2 * 12 * 3 * 36)      # 12 of each of the two blocks
    table = assess(classifier, cases, ATTACKS, store=run)
    clean = {row["case_id"]: row for row in rows_of(table, attack="clean", against="label")}
    size = {row["case_id"]: row["found_size"] for row in rows_of(table, attack="smallest_flip", against="prediction")}
    for block, path in parts_of(run, FLIPS):
        part = read_part(path)
        assert part is not None
        assert len(part) == 12
        there = [row.id for row in cases.rows[64 * block:64 * (block + 1)] if row.part == "test"]
        fragile = sorted(there, key=lambda name: size[name])[:4]
        assert set(fragile) <= set(part.id)
        assert sum(clean[name]["flips"] for name in set(part.id) - set(fragile)) >= 6
    for path in run.joinpath(FLIPS).iterdir():
        path.unlink()
    next((run / records.PARTS).glob("part-00001*")).unlink()
    monkeypatch.setattr(picturing, "ROOM", 2 * 3 * 36 - 1)      # none fits: no picture, and a whole run
    assert assess(classifier, cases, ATTACKS, store=run).equals(table)
    assert pictured_ids(run, FLIPS) == set()


def test_whole_numbers_are_exact_and_volumes_keep_every_slice(tmp_path: Path) -> None:
    cases = made_cases(12)
    pixels = np.random.default_rng(3).integers(-1000, 401, (12, 1, 3, 4, 3)).astype("f4")
    cases = replace(cases, load=lambda row: pixels[row.source], bounds=Bounds(-1000, 400, "HU"))
    classifier = replace(made_classifier(), bounds=Bounds(-1000, 400, "HU"))
    assess(classifier, cases, [partial(smallest_flip, largest=100.0)], store=tmp_path / "run")
    found = open_pictures(tmp_path / "run", FLIPS, cases.bounds)
    assert found is not None
    assert found.image.scale == 1
    assert (found.image.native == pixels[[row.source for row in cases.rows if row.part == "test"]]).all()


def test_hostile_parts_are_no_pictures(tmp_path: Path) -> None:
    good = {"id": np.array(["a", "b"]), "image": np.zeros((2, 1, 3, 3), np.int16),
            "change": np.zeros((2, 1, 3, 3), np.int8), "scale": np.ones((2, 1)), "level": np.array([1.0, 0.0])}
    parts = parts_of(tmp_path, FLIPS)
    part = read_part(parts.write(0, npz(good)))
    assert part is not None
    assert part.id == ("a", "b")
    bad = ({"image": np.zeros((2, 1, 3, 3), np.int64)}, {"change": np.zeros((2, 1, 3, 2), np.int8)},
           {"id": np.array(["a"])}, {"id": np.zeros(2)}, {"level": np.array([1.0, np.nan])}, {"scale": np.ones(2)})
    for block, wrong in enumerate(bad, 1):
        assert read_part(parts.write(block, npz(good | wrong))) is None, wrong
    assert read_part(parts.write(0, b"PK")) is None
    huge = parts.write(0, npz(good | {"more": np.zeros(2**29, np.int8)}))
    assert huge.stat().st_size < 2**20
    assert read_part(huge) is None
    (tmp_path / FLIPS / "walk.npz").write_bytes(b"no npz")
    assert read_walk(tmp_path, FLIPS) is None
    assert open_pictures(tmp_path, FLIPS, Bounds(0, 1)) is None


def test_a_walk_is_read_for_the_cases_asked_for(tmp_path: Path) -> None:
    chance = np.random.default_rng(0).random((2, 3, 2)).astype(np.float32).astype(float)
    Walk(("a", "b"), np.array([0.0, 1.0, 2.0]), chance).write(tmp_path, FLIPS)
    walk = read_walk(tmp_path, FLIPS)
    assert walk is not None
    found = walk.of(["b", "c"])
    assert (found.probability[0] == chance[1]).all()
    assert np.isnan(found.probability[1]).all()


def test_those_shown_of_a_whole_are_among_those_shown_of_its_parts() -> None:
    random = np.random.default_rng(0)
    ids, size, wrong = [f"case {at}" for at in range(900)], random.lognormal(0, 1, 900), random.random(900) < 0.4
    shown = chosen(ids, size, wrong, Shown())
    assert len(shown) == 300
    assert set(np.argsort(size)[:100]) <= set(shown)
    assert wrong[shown].sum() >= 150
    among = {int(place[at]) for place in np.array_split(random.permutation(900), 2)
             for at in chosen([ids[one] for one in place], size[place], wrong[place], Shown())}
    assert set(shown) <= among
    assert len(chosen(ids[:350], size[:350], wrong[:350], Shown())) == 350
    assert len(chosen(ids, size, wrong, Shown().within(7))) == 7
    assert len(chosen(ids, np.full(900, np.nan), wrong, Shown())) == 200


def test_a_case_that_was_set_aside_and_is_tried_again_joins_the_pictures_of_its_block(tmp_path: Path) -> None:
    cases, run = made_cases(), tmp_path / "run"
    with_bad = picky(cases, (70, 71))
    assess(with_bad, cases, ATTACKS, store=run)
    there = {row.id for row in cases.rows if row.part == "test"}
    assert there - pictured_ids(run, FLIPS) == {"case-070", "case-071"}
    with_bad.module.refused.clear()  # type: ignore[operator, union-attr]
    assess(with_bad, cases, ATTACKS, store=run)
    assert pictured_ids(run, FLIPS) == there
    assert len(list(parts_of(run, FLIPS))) == 2
