"""Given weights: all is assessed but what has another part; images to harden with may come from elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fabricate_pictures import Call, pictures
from steadyread import records
from steadyread.cases import fingerprint, image_marks, open_cases
from steadyread.errors import InputRefused, UsageError
from steadyread.jobs import cards, material
from steadyread.jobs import run as running
from steadyread.jobs.material import attacked_cases, gather
from steadyread.models.loading import load_classifier_module, save_weights
from steadyread.noise_explain import explain_run
from steadyread.study import Study, keyed, read_study
from test_cli import OWN, network

QUICK = ("--set", "attacks.use=[]", "--set", "attacks.largest='40 grey levels'")


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network(tmp_path)
    monkeypatch.chdir(tmp_path)


def stated(folder: Path, **flags: object) -> Study:
    return read_study(None, keyed(**({"data__path": str(folder), "model__name": "networks:linear",
                                      "model__weights": "linear.pt", "model__bounds": [0, 255],
                                      "model__output": "logit"} | flags)))


def counts(study: Study) -> dict[str, int]:
    there = gather(study)
    return {part: len(there.ready.part(part)) for part in ("train", "validation", "test")}


def test_all_images_without_a_part_are_assessed(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 30)
    assert counts(stated(images)) == {"train": 0, "validation": 0, "test": 30}


def test_validation_images_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 30)
    assert counts(stated(images, split__validation_share=0.2)) == {"train": 0, "validation": 6, "test": 24}
    assert counts(stated(images, split__test_share=0.8)) == {"train": 0, "validation": 6, "test": 24}


def test_parts_that_are_there_stay(tmp_path: Path) -> None:
    for part, count in (("train", 20), ("test", 12)):
        pictures(tmp_path / "images" / part, count)
    assert counts(stated(tmp_path / "images")) == {"train": 20, "validation": 0, "test": 12}
    (tmp_path / "images" / "test").rename(tmp_path / "images" / "val")
    with pytest.raises(InputRefused, match="none for testing"):
        gather(stated(tmp_path / "images"))
    assert counts(stated(tmp_path / "images", split__official=False))["test"] == 32


def test_a_network_to_be_hardened_keeps_images_for_it_unless_others_are_given(tmp_path: Path) -> None:
    images, others = pictures(tmp_path / "images", 30), pictures(tmp_path / "others", 40)
    assert counts(stated(images, hardening={})) == {"train": 16, "validation": 4, "test": 10}
    study = stated(images, hardening={}, data__train=str(others))
    assert counts(study) == {"train": 32, "validation": 8, "test": 30}
    there = gather(study)
    assert {row.part for row in attacked_cases(there).rows} == {"test"}
    assert {row.id for row in there.ready.part("test").rows} == {row.id for row in open_cases(images).rows}
    named = next(at for at, row in enumerate(there.ready.rows) if row.part == "train")
    row = there.ready.rows[named]
    other = next(case for case in open_cases(others).rows if f"train/{case.id}" == row.id)
    assert (there.raw[named].image.numpy() == open_cases(others).load(other)).all()


def test_official_training_images_without_validation_are_hardened_with_and_never_assessed(tmp_path: Path) -> None:
    for part, count in (("train", 40), ("test", 12)):
        pictures(tmp_path / "images" / part, count)
    plain, hardened = (stated(tmp_path / "images", split__test_share=1.0, split__validation_share=0.0, **more)
                       for more in ({}, {"hardening": {}}))   # as a run's own study.json has it
    assert counts(plain) == {"train": 40, "validation": 0, "test": 12}
    assert counts(hardened) == {"train": 32, "validation": 8, "test": 12}
    there, before = gather(hardened), gather(plain)
    material.refuse_untaught(there)
    assert {row.part for row in attacked_cases(there).rows} == {"test"}
    assert fingerprint(attacked_cases(there)) == fingerprint(attacked_cases(before))


def test_a_study_may_learn_from_other_images_than_it_tests(tmp_path: Path) -> None:
    images, others = pictures(tmp_path / "images", 30), pictures(tmp_path / "others", 40)
    study = read_study(None, keyed(data__path=str(images), data__train=str(others)))
    assert counts(study) == {"train": 32, "validation": 8, "test": 30}
    assert {row.part for row in attacked_cases(gather(study)).rows} == {"validation", "test"}


def test_images_to_learn_from_must_be_of_the_same_kind(tmp_path: Path) -> None:
    images, others = pictures(tmp_path / "images", 30), pictures(tmp_path / "others", 40)
    (others / "yes").rename(others / "maybe")
    with pytest.raises(InputRefused, match="both must have the same classes and range"):
        gather(stated(images, data__train=str(others)))
    pictures(tmp_path / "parts" / "train", 20)
    pictures(tmp_path / "parts" / "test", 20)
    with pytest.raises(InputRefused, match="would mix two sets"):
        gather(stated(tmp_path / "parts", data__train=str(others)))


@pytest.mark.slow
def test_a_run_of_given_weights_is_hardened_with_images_given_then(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 30)
    pictures(tmp_path / "others", 40)
    first = steadyread("assess", "--data", "images", *OWN, *QUICK, "--out", "run", "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["images"] == 30
    refused = steadyread("harden", "run", *OWN[:2], "--epsilon", "2 grey levels", "--epochs", 1)
    assert refused.code == 3
    assert "harden RUN --data TRAIN" in refused.err
    done = steadyread("harden", "run", *OWN[:2], "--data", "others", "--epsilon", "2 grey levels", "--epochs", 1,
                      "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"] == 30
    assert len(set(records.read(tmp_path / "run/hardened")["case_id"].to_pylist())) == 30
    again = steadyread("assess", "--data", "images", *OWN, *QUICK, "--out", "run", "--json")
    assert again.code == 0, again.err


def test_images_to_assess_may_stand_beside_those_to_harden_with(steadyread: Call, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "images", 30)
    pictures(tmp_path / "others", 40)
    seen: list[Study] = []

    def carry_out(study: Study, *_: object) -> None:
        seen.append(study)
        raise InputRefused("seen")

    monkeypatch.setattr(running, "carry_out", carry_out)
    steadyread("harden", "--data", "others", "--test-data", "images", *OWN, "--epsilon", "2 grey levels")
    assert counts(seen[0]) == {"train": 32, "validation": 8, "test": 30}
    refused = steadyread("harden", "--test-data", "images", *OWN)
    assert (refused.code, "give --data too" in refused.err) == (2, True)


def test_a_card_of_other_images_of_the_same_name_and_number_splits_nothing(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 30)
    taught = replace(open_cases(images), rows=open_cases(images).rows[:20])
    card = {"model": "vgg16", "arguments": {}, "split": {"test_share": 1 / 3}, "limit": None,
            "data": {"name": "images", "images": 30}, "taught": {"images": image_marks(taught), "patients": []}}
    for pixel, kept in ((0, True), (1, False)):
        for path in sorted(images.rglob("*.png")) if pixel else ():
            pixels = np.asarray(Image.open(path)).copy()
            pixels[0, 0] ^= pixel
            Image.fromarray(pixels).save(path)
        study = stated(images, model__name="vgg16", model__weights="none.safetensors")
        assert ("split" in cards.settings_of(card, study, open_cases(images))) is kept


def test_a_study_of_noise_assesses_all_images_too_unless_it_hardens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors", {"model": "vgg16", "output": "logits"})
    given = {"data__synthetic": 40, "preparation__crop": 16, "model__weights": "w.safetensors"}
    assert counts(read_study(None, keyed(**given, noise={}))) == {"train": 0, "validation": 0, "test": 40}
    hardened = counts(read_study(None, keyed(**given, noise={"hardening": {}})))
    assert min(hardened.values()) > 0
    assert sum(hardened.values()) == 40


def test_code_that_a_run_of_a_stranger_names_is_run_only_where_it_is_named_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    code = tmp_path / "planted.py"
    code.write_text("open('opened', 'w').close()\ndef net():\n    pass\n")
    for noise in (None, {}):
        records.write_json(run / "study.json", {"model": {"name": "planted:net"}, "noise": noise})
        with pytest.raises(InputRefused, match=r"if you trust it, give model\.name = planted:net"):
            running.harden_run(run, [{"hardening": {}}])
    with pytest.raises(InputRefused, match=r"if you trust it, give model\.name = planted:net"):
        explain_run(run)
    assert not (tmp_path / "opened").exists()
    with pytest.raises(InputRefused, match="must return"):
        running.harden_run(run, [{"model": {"name": "planted:net"}}])
    assert (tmp_path / "opened").exists()


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "os:abort", "shutil:rmtree", "builtins:exit",
                                  "argparse:ArgumentParser", "torch:Tensor"])
def test_what_cannot_make_a_network_is_never_called(name: str) -> None:
    with pytest.raises(UsageError, match="not a function or class that makes a network"):
        load_classifier_module(name)
