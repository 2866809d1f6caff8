"""Studies: keys checked one by one, flags over keys over the layout's defaults, and the project's own files."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from steadyread.cases import READERS
from steadyread.errors import InputRefused, UsageError
from steadyread.models.loading import save_weights
from steadyread.names import folder_name
from steadyread.registry import ATTACKS
from steadyread.study import (
    completed,
    keyed,
    laid_over,
    override,
    read_studies,
    read_study,
    with_epsilons,
)
from steadyread.study.reading import reread
from steadyread.training.fit import TrainingSettings
from steadyread.units import Bounds, size_in_native

STUDIES = sorted((Path(__file__).resolve().parents[1] / "studies").glob("*.toml"))


def _written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_projects_studies_are_valid(path: Path) -> None:
    found = read_studies(path)
    assert found.name == path.stem
    for study in found.studies:
        whole = completed(study, str(study.data.layout))
        assert whole.training is not None
        assert completed(whole, str(study.data.layout)) == whole


@pytest.mark.parametrize(("text", "told"), [
    ("[data]\npaht = 'x'", "unknown key 'data.paht': did you mean 'path'?"),
    ("[training]\nepoch = 3", "unknown key 'training.epoch': did you mean 'epochs'?"),
    ("[attacks.settings.pgd]\nrestart = 3", "unknown key 'attacks.settings.pgd.restart': did you mean 'restarts'?"),
    ("[attacks]\nuse = ['pdg']", "no attack 'pdg': did you mean 'pgd'?"),
    ("[attacks]\nepsilons = [0.002]", "the size '0.002' has no unit: write '0.002 range'"),
    ("[attacks]\nepsilons = ['two range']", "a positive number with its unit, such as '0.002 range', or '8/255'"),
    ("[attacks]\nagainst = 'truth'", "attacks.against: input should be 'label', 'prediction' or 'both'; got"),
    ("[attacks]\nuse = []\nsmallest_flip = false", "nothing to try"),
    ("[model]\nbounds = [1, 0]", "model.bounds must be LOW,HIGH"),
    ("[training]\nepochs = 'many'", "training.epochs: expected a whole number; got"),
    ("[attacks]\nepsilons = '8/255'", 'attacks.epsilons: expected a list, such as ["8/255"]'),
    ("[attacks]\nepsilons = ['3%']", "a per cent of what is not clear: write '0.03 range'"),
    ("[training]\nepochs = 0", "epochs must be above 0; got 0"), ("[data", "is not TOML")])
def test_a_wrong_key_or_value_is_named(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        read_study(_written(tmp_path, text))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_flags_stand_above_keys_above_defaults(tmp_path: Path) -> None:
    path = _written(tmp_path, "seed = 3\n[preparation]\ncrop = 48\n[training]\nepochs = 7")
    study = completed(read_study(path, keyed(seed=4, data__limit=None), override("training.batch=16")), "lidc")
    assert study.name == "mine"
    assert study.seed == 4
    assert study.data.limit is None
    assert study.preparation.crop == 48
    assert study.preparation.window == (-1000, 400)     # from the layout's defaults
    assert study.training == asdict(TrainingSettings(epochs=7, batch=16))


@pytest.mark.parametrize(("text", "found"), [
    ("attacks.settings.pgd.steps=20", {"attacks": {"settings": {"pgd": {"steps": 20}}}}),
    ("attacks.against=label", {"attacks": {"against": "label"}}),
    ("attacks.use=['fgsm']", {"attacks": {"use": ["fgsm"]}}),
    ("attacks.largest = 0.1 range", {"attacks": {"largest": "0.1 range"}}),
])
def test_any_key_can_be_set_on_the_command_line(text: str, found: dict[str, Any]) -> None:
    assert override(text) == found


@pytest.mark.parametrize("text", ["seed", "=3", "a b=3"])
def test_what_is_no_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        override(text)


def test_tables_merge_and_values_replace() -> None:
    assert laid_over({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 1}


def test_a_network_of_the_users_own_gets_images_as_they_are() -> None:
    study = read_study(None, keyed(model__name="mine:net", model__weights="w.pt"))
    whole = completed(study, "lidc")
    assert whole.preparation.window is None
    assert whole.preparation.crop is None
    assert whole.training is None
    assert whole.model.normalise == "none"


@pytest.mark.parametrize(("bounds", "sizes"), [
    (Bounds(0, 255, "grey level"), [1, 2, 4, 8]),
    (Bounds(0, 65535, "grey level"), [65.535, 131.07, 262.14, 393.21]),
    (Bounds(-1000, 400, "HU"), [1.4, 2.8, 5.6, 8.4])])
def test_sizes_not_stated_are_whole_grey_levels_of_8_bit_pictures(bounds: Bounds, sizes: list[float]) -> None:
    stated = with_epsilons(completed(read_study(), "folders"), bounds)
    assert [size_in_native(size, bounds) for size in stated.attacks.epsilons or ()] == pytest.approx(sizes)
    fixed = read_study(None, keyed(attacks__epsilons=["3 HU"]))
    assert with_epsilons(fixed, bounds) == fixed


@pytest.mark.parametrize(("text", "told"), [
    ("threats = ['CTNoise']\n[noise]\n[attacks]\nepsilons = ['2 HU']", "add 'Linf' to threats"),
    ("threats = ['Linf']\n[noise]", "threats must name CTNoise where there is a [noise] section"),
    ("threats = ['Linf', 'CTNoise']", "threats must name CTNoise where there is a [noise] section, and only there"),
    ("[noise]\n[triage]\nwithhold = 0.1", "a study about CT noise alone has none"),
    ("[noise]\n[attacks]\nagainst = 'label'", "against label and prediction both: leave it out"),
    ("[noise.hardening]\n[hardening]\n[hardening.compare.adaptive]", "another hardening of the study has that name"),
    ("[hardening.compare.hardened]", "hardening.compare.hardened: that name is the study's own"),
    ("[hardening.compare.plain]", "hardening.compare.plain: that name is the study's own"),
    ("[hardening.compare.before]", "hardening.compare.before: that name is the study's own"),
    ("[noise.hardening.compare.plain]", "noise.hardening.compare.plain: that name is the study's own"),
    ("[noise.hardening.compare.pgd]\nmethod = 'pgd'\n[hardening]", "is the name of a hardening in [noise.hardening]"),
    ("[noise]\n[split]\nfolds = 3\nvalidation_share = 0.1", "split.validation_share is not used with split.folds"),
    ("[data]\nlayout = 'lidc'", "there is none: state data.path"),
    ("[data.options]\nchannels = 'grey'", "there is none: state data.path"),
    ("[gates]\nfail_below = ['steady_reads@100 mAs=0.9']", "for studies of CT noise"),
    ("[noise]\n[gates]\nfail_below = ['robust_accuracy@2 HU=0.9']", "has no robust_accuracy"),
    ("[noise]\n[gates]\nfail_below = ['steady_reads@70 mAs=0.9']", "tried at; these are: 10, 50, 100, 200, 500"),
    ("[noise.test.rings]\n[gates]\nfail_below = ['steady_reads@50 mAs=0.9']", "these are: none mAs"),
    ("[attacks]\nsmallest_flip = false\n[gates]\nfail_below = ['kept_accuracy=0.9']", "needs the smallest flips"),
    ("[attacks]\nsmallest_flip = false\nlargest = '2 HU'", "attacks.largest is how far"),
    ("[data]\npath = 'a'\ntrain = 'b'\n[split]\ntest_share = 0.2", "split.test_share is not used with data.train"),
    ("[equal.hardening]\n[sets.one]", "[equal.hardening] is not carried out"),
    ("[equal]\n[sets.one.equal.gates]\nfail_below = ['auc=0.5']", "[equal.gates] is not carried out"),
])
def test_what_would_be_ignored_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        read_studies(_written(tmp_path, text))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", ["synthetic", *READERS])
def test_every_layouts_defaults_are_valid(layout: str) -> None:
    whole = completed(read_study(), layout)
    assert whole.model.normalise == "symmetric"
    assert with_epsilons(whole, Bounds(0, 255, "grey level")).attacks.epsilons
    assert set(whole.attacks.use) <= set(ATTACKS)


def test_toml_larger_than_any_study_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"")
    os.truncate(tmp_path / "s.toml", 2**40)
    with pytest.raises(InputRefused, match="larger than 256 KiB, which no study is"):
        read_study(tmp_path / "s.toml")


@pytest.mark.parametrize("text", [".".join("a" * 50_000) + " = 1", "[" + ".".join(["'a'"] * 50_000) + "]",
                                  "x = {" + " . ".join("a" * 50_000) + " = 1}"])
def test_keys_of_thousands_of_parts_are_refused_before_they_are_parsed(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(UsageError, match="a key is nested more than 64 deep"):
        read_study(tmp_path / "s.toml")


@pytest.mark.parametrize("text", ["seed = " + "9" * 5000, "a = " + "[" * 5000, "x" * 50 + "\0"])
def test_toml_that_no_parser_takes_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"odd\.toml is not TOML") as refused:
        read_study(path)
    assert "\n" not in str(refused.value)
    assert isinstance(override("a=" + text)["a"], str)      # bare text, for the section to refuse
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InputRefused, match="a pipe; expected a regular file"):
        read_study(tmp_path / "pipe.toml")


@pytest.mark.parametrize(("text", "told"), [
    ("[model.arguments]\nx" + ".x" * 5000 + " = 1", "is nested more than 64 deep"),
    ("seed = " + str(2**70), "seed must be a whole number of at most 63 bits; got one of 71"),
    ("seed = " + str(2**60), "seed: input should be less than or equal to 9007199254740991"),
    ("seed = -1", "seed: input should be greater than or equal to 0"),
    ("[training]\nlearning_rate = inf", "training.learning_rate must be a finite number; got inf"),
    ("[data.options]\nx = [1, -inf]", "data.options.x must be a finite number"),
    ("model.name = [" + "'vgg16'," * 500 + "]", "'vgg16', ")])
def test_values_beyond_any_study_are_one_short_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_study(path)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["model.arguments.x=nan", "seed=" + str(2**70), "a" + ".b" * 3000 + "=1"])
def test_values_of_flags_beyond_any_study_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--set: .* (finite number|63 bits|64 deep)"):
        override(text)


@pytest.mark.parametrize("name", ["..", "../up", "a/b", "/tmp/x", "a\x1b[1m", "x" * 300, "a\\b"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name: a study's name is that of its folder"):
        read_study(None, {"name": name})


@pytest.mark.parametrize(("stem", "name"), [("my study (1)", "my study _1_"), ("..", "__"), ("épée", "épée"),
                                            (".x", "_x"), ("ü" * 300, "ü" * 100)])
def test_a_name_from_a_files_is_made_a_folders(stem: str, name: str, tmp_path: Path) -> None:
    assert folder_name(stem) == name
    if len(stem) < 100:
        (tmp_path / f"{stem}.toml").write_text("")
        assert read_study(tmp_path / f"{stem}.toml").name == folder_name(Path(f"{stem}.toml").stem)


def test_a_study_that_begins_with_a_mark_of_its_encoding_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbfseed = 7\n")   # as Notepad writes it
    assert read_study(tmp_path / "mine.toml").seed == 7
    for content in ("seed = 7\n".encode("utf-16"), b"# \xe9\nseed = 7\n"):
        (tmp_path / "mine.toml").write_bytes(content)
        with pytest.raises(InputRefused, match="not UTF-8 text"):
            read_study(tmp_path / "mine.toml")


def test_a_tracker_named_twice_tracks_once() -> None:
    assert read_study(None, {"track": ["mlflow", "wandb", "mlflow"]}).track == ("mlflow", "wandb")


@pytest.mark.parametrize("noise", [{}, {"noise": {"spectrum": "soft"}}])
def test_a_head_that_was_stated_is_still_stated_when_a_study_is_read_again(noise: dict[str, Any], tmp_path: Path
                                                                          ) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    save_file(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.safetensors")      # without a card of ours
    for weights in ("w.pt", "w.safetensors"):
        model = {"name": "net:make", "weights": str(tmp_path / weights), "output": "logits"}
        study = read_study(None, {"data": {"path": "x"}, "model": model} | noise)
        assert "output" in reread(study.model_dump(mode="json"), "study.json").model.model_fields_set


def test_a_head_that_the_weights_own_card_says_is_read_from_there_again(tmp_path: Path) -> None:
    save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors", {"model": "nodule_cnn", "output": "logit"})
    study = read_study(None, {"model": {"name": str(tmp_path / "w.safetensors")}, "noise": {"spectrum": "soft"}})
    assert study.model.says_its_head
    assert "output" not in reread(study.model_dump(mode="json"), "study.json").model.model_fields_set


def test_a_head_that_was_stated_above_the_card_stands_when_a_study_of_pixels_is_read_again(tmp_path: Path) -> None:
    save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors", {"model": "nodule_cnn", "output": "logit"})
    study = read_study(None, {"model": {"name": str(tmp_path / "w.safetensors"), "output": "logits"}})
    assert "output" in reread(study.model_dump(mode="json"), "study.json").model.model_fields_set
