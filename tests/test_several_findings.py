"""Networks of several findings: each finding is a view of the network, with its own labels and its own threshold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import steadyread
from steadyread import Cases, Classifier, open_cases
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import of_finding
from steadyread.checks import Stated, believed, preflight
from steadyread.checks.classes import finding_order
from steadyread.checks.sample import class_order, sampled
from steadyread.cli import main
from steadyread.errors import InputRefused, UsageError
from steadyread.gates import gate
from steadyread.jobs.judge import _of_each
from steadyread.progress import quiet
from steadyread.study import read_study

NAMES = ("Effusion", "Mass", "Pleural Thickening")
SIDE = 8


def weights() -> tuple[torch.Tensor, torch.Tensor]:
    """Of a linear network of three findings on images of 0 to 255, read from parts that do not meet."""
    places = torch.zeros(3, 1, SIDE, SIDE)
    places[0, 0, :3, :3], places[1, 0, 5:, 5:], places[2, 0, :3, 5:] = 1, 1, 1
    return places.flatten(1) / 60, torch.full((3,), -9 * 130 / 60)


def network() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
    with torch.no_grad():
        for value, given in zip(net[1].parameters(), weights(), strict=True):
            value.copy_(given)
    return net


def chests(count: int = 40) -> tuple[torch.Tensor, np.ndarray]:
    """Grey images (n, 1, side, side) and which findings each has (n, 3)."""
    draw = np.random.default_rng(0)
    present = (draw.random((count, 3)) < 0.4).astype(int)
    images = draw.normal(122, 20, (count, 1, SIDE, SIDE))
    for finding, (rows, columns) in enumerate(((slice(0, 3),) * 2, (slice(5, 8),) * 2, (slice(0, 3), slice(5, 8)))):
        images[:, 0, rows, columns] += 16 * present[:, finding, None, None]
    return torch.from_numpy(images.clip(0, 255).round()).float(), present


def table(folder: Path, head: str, lines: list[str]) -> Path:
    images, _ = chests(len(lines))
    for at, line in enumerate(lines):
        Image.fromarray(images[at, 0].numpy().astype(np.uint8)).save(folder / line.split(",")[0])
    (folder / "table.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder / "table.csv"


def labels(cases: Cases, name: str, findings: tuple[str, ...] = ()) -> dict[str, int | None]:
    return {row.id: row.label for row in of_finding(cases, name, findings).rows}


def test_every_finding_has_its_own_exact_flips_and_its_own_threshold() -> None:
    images, _ = chests()
    whole = Classifier(network(), (0, 255), "logit", findings={"Effusion": 0.3, "Mass": 0.5, "Pleural Thickening": 0.9})
    plane, bias = weights()
    for place, (name, threshold) in enumerate(whole.thresholds.items()):
        view = whole.of(name)
        margin = images.flatten(1) @ plane[place] + bias[place] - np.log(threshold / (1 - threshold))
        reference = view.logits(images).argmax(1)
        assert torch.equal(reference, (margin > 0).long())
        found = smallest_flip(view, view.batch(images), reference, 0).size
        assert torch.allclose(found, margin.abs() / plane[place].abs().sum(), rtol=2e-3)


def test_a_network_of_findings_is_read_one_by_one() -> None:
    whole = Classifier(network(), (0, 255), "logit", findings=NAMES)
    with pytest.raises(UsageError, match=r"classifier\.of\('Effusion'\)"):
        whole.logits(chests(2)[0])
    with pytest.raises(UsageError, match="did you mean 'Effusion'"):
        whole.of("Efusion")
    with pytest.raises(InputRefused, match="3 values an image, and 2 findings"):
        Classifier(network(), (0, 255), "logit", findings=NAMES[:2]).of("Mass").logits(chests(2)[0])
    with pytest.raises(UsageError, match="logit or probability"):
        Classifier(network(), (0, 255), "logits", findings=NAMES)
    with pytest.raises(InputRefused, match=r"model\.findings"):
        Classifier(network(), (0, 255), "logit").logits(chests(2)[0])


def test_labels_stand_in_a_column_for_each_finding(tmp_path: Path) -> None:
    cases = open_cases(table(tmp_path, "file,Effusion,pleural_thickening", [
        "a.png,1,0", "b.png,0.0,1.0", "c.png,,-1", "d.png,1,"]), every_row=True)
    assert labels(cases, "Effusion", NAMES) == {"a.png": 1, "b.png": 0, "d.png": 1}
    thickening = of_finding(cases, "Pleural Thickening", NAMES)
    assert {row.id: row.label for row in thickening.rows} == {"a.png": 0, "b.png": 1}
    assert thickening.classes == ("no Pleural Thickening", "Pleural Thickening")
    assert "not known of 2 of 4 images" in thickening.notes[-1]
    assert not thickening.rows[0].extras       # labels of other findings are nothing to group images by


def test_labels_stand_in_one_column_by_name(tmp_path: Path) -> None:
    cases = open_cases(table(tmp_path, "file,label", [
        "a.png,Effusion|Mass", "b.png,No Finding", "c.png,Pleural_Thickening", "d.png,"]), every_row=True)
    assert labels(cases, "Mass") == {"a.png": 1, "b.png": 0, "c.png": 0}
    assert labels(cases, "Pleural Thickening", NAMES) == {"a.png": 0, "b.png": 0, "c.png": 1}
    with pytest.raises(InputRefused, match=r"no label that names 'Masss' between .: did you mean 'Mass'"):
        of_finding(cases, "Masss")


def test_labels_without_names_are_in_the_order_of_the_findings(tmp_path: Path) -> None:
    _, present = chests(6)
    pixels = np.zeros((6, SIDE, SIDE), np.uint8)
    np.savez(tmp_path / "chest.npz", test_images=pixels, test_labels=present)
    cases = open_cases(tmp_path / "chest.npz", every_row=True)
    assert list(labels(cases, "Mass", NAMES).values()) == present[:, 1].tolist()
    with pytest.raises(InputRefused, match="nothing says of which class"):
        open_cases(tmp_path / "chest.npz")


@pytest.mark.parametrize(("lines", "said"), [
    (["a.png,1", "b.png,2"], "must be 1, 0, or nothing"), (["a.png,0", "b.png,0"], "none have it"),
    (["a.png,1", "b.png,-1"], "all have it")])
def test_labels_that_say_nothing_of_a_finding_are_refused(lines: list[str], said: str, tmp_path: Path) -> None:
    cases = open_cases(table(tmp_path, "file,Mass", lines), every_row=True)
    with pytest.raises(InputRefused, match=said):
        of_finding(cases, "Mass")


@pytest.mark.parametrize(("stated", "said"), [
    ({"findings": ["Mass", "mass"]}, "names one finding twice"),
    ({"findings": ["../Mass"]}, "that of a folder"),
    ({"findings": ["Mass"], "only": ["Effusion"]}, r"model\.only: no finding 'Effusion'"),
    ({"findings": ["Mass"], "threshold": {"Masss": 0.3}}, r"model\.threshold: no finding 'Masss'"),
    ({"findings": ["Mass"], "threshold": 1.5}, "less than 1"),
    ({"findings": ["Mass"], "output": "logits"}, "logit or probability"),
    ({"findings": ["Mass"], "weights": None}, "would be trained")])
def test_findings_that_cannot_be_are_refused(stated: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_study(None, {"data": {"path": "x"}, "model": {"name": "net:make", "weights": "w.pt"} | stated})


def test_a_gate_without_a_name_is_of_every_finding() -> None:
    study = read_study(None, {"data": {"path": "x"}, "gates": {"fail_below": ["auc=0.8", "Mass:auc=0.9"]}, "model": {
        "name": "net:make", "weights": "w.pt", "findings": list(NAMES), "only": ["Mass", "Effusion"]}})
    assert study.networks == ("Mass", "Effusion")
    assert [str(each) for each in _of_each(study, gate("auc=0.8"))] == ["Mass:auc=0.8", "Effusion:auc=0.8"]
    assert [str(each) for each in _of_each(study, gate("Mass:auc=0.9"))] == ["Mass:auc=0.9"]
    with pytest.raises(UsageError, match="no network or hardening 'Nodule'"):
        read_study(None, {"data": {"path": "x"}, "gates": {"fail_below": ["Nodule:auc=0.9"]}, "model": {
            "name": "net:make", "weights": "w.pt", "findings": list(NAMES)}})


@pytest.mark.filterwarnings("ignore::steadyread.errors.Doubt")
def test_an_assessment_has_a_network_for_each_finding() -> None:
    images, present = chests()
    told = present.astype(float)
    told[:4, 1] = -1
    found = steadyread.assess(Classifier(network(), (0, 255), "logit"), (images, told), smallest_flip, bounds=(0, 255),
                              findings=list(NAMES))
    accuracy = {row["network"]: (row["value"], row["n"]) for row in found.summary().rows
                if row["measure"] == "accuracy"}
    plane, bias = weights()
    read = (images.flatten(1) @ plane.T + bias > 0).numpy()
    assert accuracy == {name: (pytest.approx((read[known, at] == present[known, at]).mean()), len(read[known]))
                        for at, (name, known) in enumerate(zip(NAMES, (slice(None), slice(4, None), slice(None)),
                                                               strict=True))}
    assert found.select(network="Mass").triage().rows
    named = steadyread.assess(Classifier(network(), (0, 255), "logit", findings=NAMES), (images, told), smallest_flip,
                              bounds=(0, 255), findings=["Mass"])
    assert {row["network"] for row in named.summary().rows} == {"Mass"}


@pytest.mark.slow
def test_a_run_over_all_findings_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    _, present = chests()
    data = table(tmp_path, "file,patient,Effusion,Mass,Pleural_Thickening", [
        f"{at:02d}.png,p{at},{','.join(map(str, row))}" for at, row in enumerate(present.tolist())])
    (tmp_path / "net_of_findings.py").write_text(
        f"from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear({SIDE**2}, 3))\n")
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    words = ["assess", "--data", str(data), "--model", "net_of_findings.py:make", "--weights", "weights.pt", "--bounds",
             "0,255", "--output", "logit", "--findings", ",".join(NAMES), "--threshold", "Mass=0.3", "--set",
             "attacks.use=[]", "--size", str(SIDE), "--out", "run"]
    assert main([*words, "--fail-below", "accuracy=0.99", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert {row["network"] for row in summary["numbers"]} == set(NAMES)
    assert [gate["gate"] for gate in summary["gates"]] == [f"{name}:accuracy=0.99" for name in NAMES]
    assert main(words) == 0                                     # finished work is taken up
    assert json.loads(Path("run/jobs/Mass/fold-0/plan.json").read_text())["model"]["threshold"] == 0.3
    assert json.loads(Path("run/study.json").read_text())["model"]["threshold"] == {"Mass": 0.3}
    capsys.readouterr()
    assert main(["triage", "run"]) == 3
    assert "the findings Effusion, Mass, Pleural Thickening: name one" in capsys.readouterr().err
    assert main(["triage", "run", "--network", "Mass", "--json"]) == 0
    reads = [row["n"] for row in summary["numbers"] if (row["network"], row["measure"]) == ("Mass", "accuracy")]
    assert json.loads(capsys.readouterr().out)["images"] == reads[0]
    page = Path("run/report.html").read_text()
    assert all(f'<h3 class="title">{title}</h3>' in page for title in (
        "Finding by finding", "Calibration by finding", "Triage by finding"))
    assert main([*words, "--finding", "Mass"]) == 0              # fewer of them, or more, are the same run
    assert main([*words, "--finding", "Mass", "--fail-below", "Effusion:auc=0.5"]) == 2
    assert "no finding 'Effusion' is assessed" in capsys.readouterr().err
    assert main([*words[:-1], "other", "--finding", "Nodule"]) == 2
    assert "--finding: no finding 'Nodule'" in capsys.readouterr().err
    main(["check", *words[1:-2], "--json"])
    checked = json.loads(capsys.readouterr().out)
    assert (checked["networks"], checked["classes"]) == (list(NAMES), [])
    assert main(words) == 0
    capsys.readouterr()
    main(["check", "--data", str(data), "--model", "run/net.toml", "--json"])     # what the run wrote says it all
    assert json.loads(capsys.readouterr().out)["findings"] == checked["findings"]


@pytest.mark.filterwarnings("ignore::steadyread.errors.Doubt")
def test_findings_named_in_another_order_are_noticed_and_chance_is_not() -> None:
    images, present = chests(160)
    order = ("Mass", "Effusion", "Pleural Thickening")
    whole = Classifier(network(), (0, 255), "logit", findings=order)
    labelled = Cases.from_arrays(images, present[:, [1, 0, 2]], bounds=(0, 255), findings=order)
    told = {name: next(each for each in preflight(whole.of(name), of_finding(labelled, name, order),
                                                  Stated(findings=3)).findings if each.code == "SR404")
            for name in order}
    assert {name: each.severity for name, each in told.items()} == {
        "Mass": "error", "Effusion": "error", "Pleural Thickening": "ok"}
    assert "value 2, stated to be of Effusion, with" in told["Mass"].message
    draw = np.random.default_rng(1)      # labels that no value knows anything of
    for number in range(20):
        chance = Cases.from_arrays(images, draw.integers(0, 2, (160, 3)), bounds=(0, 255), findings=NAMES)
        own = sampled(Classifier(network(), (0, 255), "logit", findings=NAMES).of("Mass"),
                      of_finding(chance, "Mass", NAMES), Stated(findings=3), seed=number)
        assert own is not None
        assert [each.severity for each in finding_order(own)] == ["ok"]


def test_the_rules_are_corrected_for_the_number_of_findings() -> None:
    images, present = chests()
    labelled = of_finding(Cases.from_arrays(images, 1 - present, bounds=(0, 255), findings=NAMES), "Mass", NAMES)
    view = Classifier(network(), (0, 255), "logit", findings=NAMES).of("Mass")
    p = {}
    for count in (1, 4):
        found = sampled(view, labelled, Stated(findings=count))
        assert found is not None
        other = class_order(found)[1]
        assert other is not None
        p[count] = other.p
    assert p[4] == pytest.approx(4 * p[1])


@pytest.mark.filterwarnings("ignore::steadyread.errors.Doubt")
def test_an_example_is_planted_in_a_view_of_a_layer_of_several_findings() -> None:
    images, present = chests(12)
    cases = Cases.from_arrays(images, present, bounds=(0, 255), findings=NAMES)
    view = Classifier(network(), (0, 255), "logit", findings=NAMES).of("Mass")
    found = believed(view, of_finding(cases, "Mass", NAMES))
    planted = next(each for each in found if each.check == "planted example")
    assert "adversarial examples planted" in planted.message


@pytest.mark.slow
def test_a_finding_of_one_kind_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str],
                                                    caplog: pytest.LogCaptureFixture) -> None:
    images, present = chests()
    present[:, 2] = 0
    found = steadyread.assess(Classifier(network(), (0, 255), "logit", findings=NAMES), (images, present),
                              smallest_flip, bounds=(0, 255), progress=quiet, quick=True)
    assert {row["network"] for row in found.summary().rows} == {"Effusion", "Mass"}
    assert "'Pleural Thickening' none have it" in caplog.text
    with pytest.raises(InputRefused, match="none have it"):
        steadyread.assess(Classifier(network(), (0, 255), "logit", findings=NAMES), (images, present),
                          smallest_flip, bounds=(0, 255), findings=["Pleural Thickening"])
    data = table(tmp_path, "file,Effusion,Mass,Pleural_Thickening", [
        f"{at:02d}.png,{','.join(map(str, row))}" for at, row in enumerate(present.tolist())])
    (tmp_path / "net_of_three.py").write_text(
        f"from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear({SIDE**2}, 3))\n")
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    words = ["--data", str(data), "--model", "net_of_three.py:make", "--weights", "weights.pt", "--bounds", "0,255",
             "--output", "logit", "--findings", ",".join(NAMES)]
    main(["check", *words, "--json"])
    checked = json.loads(capsys.readouterr().out)
    assert checked["networks"] == ["Effusion", "Mass"]
    assert [each["networks"] for each in checked["findings"] if each["check"] == "finding left out"] == [
        ["Pleural Thickening"]]
    assert main(["assess", *words, "--quick", "--out", "run", "--json"]) == 0
    assert {row["network"] for row in json.loads(capsys.readouterr().out)["numbers"]} == {"Effusion", "Mass"}
    assert "none have it" in Path("run/report.html").read_text()
    assert "only" not in Path("run/net.toml").read_text()     # of other images it may be assessed
    assert main(["assess", *words, "--quick", "--out", "gated", "--fail-below", "Pleural Thickening:auc=0.5"]) == 2
    assert main(["assess", *words, "--finding", "Pleural Thickening", "--out", "named"]) == 3
