"""Studies of several data sets, and hardening from the command line: what is done, kept, compared and refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import torch

import fabricate_sets
from fabricate_pictures import Call, pictures
from fabricate_sets import Made
from steadyread import checks, open_run, records
from steadyread.errors import UsageError
from steadyread.models.vgg import vgg16
from steadyread.study import read_studies, read_study
from steadyread.study.hardening import Hardening

COMMON = """
[model]
arguments = { width = 0.05, norm = true, convolutions = [1, 1, 1, 1, 1], dropout = 0.0 }
[training]
epochs = 2
batch = 16
[attacks]
use = ["pgd"]
epsilons = ["0.01 range", "0.1 range"]
settings.pgd = { restarts = 1, steps = 4 }
[hardening]
epsilon = "0.05 range"
epochs = 2
steps = 2
[equal]
preparation = { size = 8 }
attacks = { use = [], epsilons = [] }
"""
PLAIN = COMMON[:COMMON.index("[hardening]")]
ONE = '[sets.one]\ndata = { path = "one", layout = "folders" }\n'
TWO = ('[sets.two]\ntraining.epochs = 3\n[sets.two.data]\npath = "two"\n'
       '[sets.two.hardening.compare]\nfree = { method = "unsupervised" }\n')


@pytest.fixture(autouse=True)
def _few_images_for_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks have tests of their own; here they only take time."""
    monkeypatch.setattr(checks, "SAMPLE", 4)


def _study(folder: Path, text: str = COMMON + ONE + TWO, images: int = 32) -> Path:
    for name in ("one", "two"):
        pictures(folder / name, images)
    path = folder / "both.toml"
    path.write_text(text)
    return path


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_a_file_of_sets_is_one_study_each_with_the_common_keys_below(tmp_path: Path) -> None:
    found = read_studies(_study(tmp_path), {"attacks": {"limit": 7}})
    assert list(found.sets) == ["one", "two"]
    assert [one.training and one.training["epochs"] for one in found.sets.values()] == [2, 3]
    assert {one.attacks.limit for one in found.studies} == {7}
    assert found.equal["two"].preparation.size == 8
    assert found.equal["two"].hardening is None
    assert found.sets["two"].name == "two"
    hardening = found.sets["two"].hardening
    assert hardening is not None
    assert hardening.compared["free"].method == "unsupervised"
    assert hardening.compared["free"].epsilon == "0.05 range"
    with pytest.raises(UsageError, match="several data sets"):
        read_study(tmp_path / "both.toml")


@pytest.mark.parametrize(("text", "told"), [
    ("[sets.one.trainig]\nepochs = 3", r"\[sets.one\]: unknown key 'trainig'"),
    ("[sets.'a b']\nseed = 1", "a data set's name is of letters"), ("sets = 3", "must be a table for each data set"),
    ("[hardening]\nepsilon = 0.05", "has no unit"),
    ("[hardening]\nepsilon = ['0.01 range', '0.02 range']\nepochs = [1, 2, 3]",
     "one number or one a stage; got 3 for 2"),
    ("[hardening.compare.soft]\nepsilons = '1 range'", "unknown key 'hardening.compare.soft.epsilons'"),
    ("[hardening.training]\nepoch = 3", "unknown key 'hardening.training.epoch'"),
    ("[model]\nweights = 'a.pt'\npretrained = 'b.pt'", "state one"),
    ("[model]\nweights = 'a.pt'\n[triage]\nmembers = 2", "no training to repeat")])
def test_what_a_study_of_sets_or_a_hardening_may_not_say(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(UsageError, match=told):
        read_studies(tmp_path / "wrong.toml")


def test_stages_pair_sizes_with_epochs() -> None:
    assert Hardening(epsilon="1 range", epochs=3).stages == (("1 range", 3),)
    assert Hardening(epsilon=("1 range", "2 range"), epochs=3).stages == (("1 range", 3), ("2 range", 3))
    assert Hardening(epsilon=("1 range", "2 range"), epochs=(3, 4)).stages == (("1 range", 3), ("2 range", 4))
    assert Hardening().stages == (("auto", 15),)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_the_whole_study_is_carried_out_compared_and_taken_up_again(steadyread: Call, tmp_path: Path) -> None:
    study = _study(tmp_path)
    told = steadyread("run", study, "--data-root", tmp_path, "--out", "out", "--threads", 1)
    assert told.code == 0, told.err
    assert "Report:" in told.out
    for name in ("one", "two"):
        stages = [set(records.read(tmp_path / "out" / name / place)["stage"].to_pylist())
                  for place in ("", "hardened")]
        assert stages == [{"plain"}, {"hardened"}]
        assert (tmp_path / "out" / name / "equal" / "plan.json").exists()
        assert _summary(tmp_path / "out" / name)["hardening"]["compared"]["images"] > 0
        assert (tmp_path / "out" / name / "images.json").exists()
        assert not list((tmp_path / "out" / name).rglob("checkpoint.pt"))
    compared = records.read(tmp_path / "out" / "two" / "hardened-free")
    assert {"pgd", "smallest_flip"} <= set(pc.unique(compared["attack"]).to_pylist())
    sets = _summary(tmp_path / "out")["sets"]
    assert len(sets) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    assert len(before) == 7
    again = steadyread("run", study, "--data-root", tmp_path, "--out", "out", "--threads", 1)
    assert again.code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    other = steadyread("run", study, "--data-root", tmp_path, "--out", "out", "--set", "hardening.steps=3")
    assert other.code == 3
    assert "one: " in other.err
    assert "hardening.steps is 2 there and 3 now" in other.err


@pytest.mark.parametrize(("text", "told"), [
    (COMMON + ONE + TWO.replace('path = "two"', 'path = "three"'), "two: "),
    (COMMON + ONE + TWO + '[sets.two.attacks]\nepsilons = ["0.5 HU"]\n',
     "two: the size '0.5 HU' has the unit 'HU', the images have 'grey levels'"),
    (COMMON.replace("0.05 range", "0.5 HU") + ONE, "one: the size '0.5 HU' has the unit 'HU'"),
    (COMMON + ONE + TWO.replace("path", "paht"), "unknown key 'data.paht'"),
    (COMMON.replace("[model]", '[model]\npretrained = "other.pt"') + ONE, "VGG16 of full width"),
])
def test_what_is_wrong_is_said_before_any_training(text: str, told: str, steadyread: Call, tmp_path: Path) -> None:
    torch.save(vgg16(width=0.1, size=16).state_dict(), tmp_path / "other.pt")
    found = steadyread("run", _study(tmp_path, text), "--data-root", tmp_path, "--out", "out")
    assert found.code == 3
    assert told in found.err
    assert not list((tmp_path / "out").rglob("*.safetensors"))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_set_that_is_missing_does_not_stop_the_others_with_keep_going(steadyread: Call, tmp_path: Path) -> None:
    study = _study(tmp_path, PLAIN + ONE + '[sets.two]\ndata.path = "three"\n')
    told = steadyread("run", study, "--data-root", tmp_path, "--out", "out", "--keep-going", "--threads", 1)
    assert told.code == 4
    assert "1 of 2 data sets failed: two: " in told.err
    assert "three" in json.loads((tmp_path / "out" / "two" / "failed.json").read_text())["reason"]
    assert "three" in (tmp_path / "out" / "report.html").read_text()
    pictures(tmp_path / "three", 32)
    assert steadyread("run", study, "--data-root", tmp_path, "--out", "out", "--threads", 1).code == 0
    assert not (tmp_path / "out" / "two" / "failed.json").exists()


def test_parts_that_share_patients_are_refused(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "one")
    files = sorted((tmp_path / "one").rglob("*.png"))
    lines = [f"{file.relative_to(tmp_path / 'one')},{file.parent.name},p{at // 2},{('train', 'test')[at % 2]}"
             for at, file in enumerate(files)]
    (tmp_path / "one" / "list.csv").write_text("file,label,patient,part\n" + "\n".join(lines) + "\n")
    told = steadyread("demo", "--data", "one", "--out", "out")
    assert told.code == 3
    assert "30 of 30 patients stand in more than one of the set's own parts" in told.err
    assert "split.official = false" in told.err


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_finished_run_is_hardened_in_its_own_folder(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "one", 32)
    settings = ("--set", "model.arguments={width=0.05, norm=true, convolutions=[1,1,1,1,1]}",
                "--set", "preparation.size=12", "--set", 'attacks.use=["fgsm"]', "--threads", 1)
    assert steadyread("demo", "--data", "one", "--epochs", 4, "--out", "run", *settings).code == 0
    plain = _summary(tmp_path / "run")
    assert plain.get("hardening") is None
    told = steadyread("harden", "run", "--epsilon", "auto", "--epochs", 2, "--threads", 1)
    assert told.code == 0, told.err
    training = json.loads((tmp_path / "run" / "hardened" / "training.json").read_text())
    assert training["useful"]["low"] <= training["epsilon"] <= training["useful"]["high"]
    assert _summary(tmp_path / "run")["hardening"]["training"]["why"] == training["why"]
    assert _summary(tmp_path / "run")["discrimination"] == plain["discrimination"]
    other = steadyread("harden", "run", "--epsilon", "3 grey level", "--threads", 1)
    assert other.code == 3
    assert "hardening.epsilon" in other.err
    wrong = steadyread("harden", "run", "--data", "one")
    assert wrong.code == 2
    assert "--data: the run" in wrong.err
    elsewhere = steadyread("harden", "run", "--epsilon", "auto", "--out", "elsewhere")
    assert elsewhere.code == 2
    assert "hardened in its own folder" in elsewhere.err
    assert steadyread("harden", "nowhere").code == 3


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_comparison_may_be_added_to_a_run_but_not_changed(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "one", 32)
    (tmp_path / "one.toml").write_text(COMMON[:COMMON.index("[equal]")] + '[data]\npath = "one"\n')
    command = ("run", tmp_path / "one.toml", "--data-root", tmp_path, "--out", "run", "--threads", 1)
    soft, softer = ('hardening.compare.soft={method="unsupervised", beta=1.0}',
                    'hardening.compare.soft={method="unsupervised", beta=2.0}')
    assert steadyread(*command).code == 0
    assert steadyread(*command, "--set", soft).code == 0
    others = _summary(tmp_path / "run")["hardening"]["others"]
    assert [one["name"] for one in others] == ["soft"]
    changed = steadyread(*command, "--set", softer)
    assert changed.code == 3
    assert "hardening.compare.soft" in changed.err
    assert steadyread(*command).code == 0
    assert _summary(tmp_path / "run")["hardening"]["others"] == []


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_hardening_that_comes_to_nothing_is_a_failure_of_the_hardening_alone(steadyread: Call, tmp_path: Path
                                                                              ) -> None:
    pictures(tmp_path / "one", 32)
    (tmp_path / "one.toml").write_text(COMMON[:COMMON.index("[equal]")] + '[data]\npath = "one"\n')
    told = steadyread("run", tmp_path / "one.toml", "--data-root", tmp_path, "--out", "run", "--threads", 1,
                      "--set", "hardening.training={learning_rate=1e38, optimiser='sgd', schedule='constant'}")
    assert told.code == 0
    assert "diverged" in _summary(tmp_path / "run")["hardening"]["failed"]
    assert "hardening failed" in (tmp_path / "run" / "report.html").read_text()


def test_triage_takes_every_data_set_of_a_run_or_those_named(steadyread: Call, tmp_path: Path) -> None:
    folder = fabricate_sets.write_sets(tmp_path / "run", {"lung_ct": Made(equal=None), "x_ray": Made(0.05, equal=None)})
    told = steadyread("triage", folder, "--json")
    assert told.code == 0, told.err
    found = json.loads(told.out)["sets"]
    assert list(found) == ["lung_ct", "x_ray"]
    alone = json.loads(steadyread("triage", folder / "x_ray", "--json").out)
    assert alone == found["x_ray"]
    assert (folder / "lung_ct" / "triage.csv").is_file()
    rows = open_run(folder).triage(0.2)
    assert set(rows.column("set")) == {"lung_ct", "x_ray"}
    told = steadyread("triage", folder, "--set", "x_ray", "--out", "handed")
    assert told.out.startswith("x ray\nWithholding 20 %")
    assert [path.parent.name for path in (tmp_path / "handed").rglob("triage.csv")] == ["x_ray"]
    wrong = steadyread("triage", folder, "--set", "x_rax")
    assert wrong.code == 2
    assert "no data set 'x_rax': did you mean 'x_ray'?" in wrong.err
    assert steadyread("triage", folder / "x_ray", "--set", "x_ray").code == 2
