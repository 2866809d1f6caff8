"""The command line from outside: what a person types, what comes back, and what is refused with which code."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fabricate_pictures import SIZE, Call, pictures
from steadyread import records
from steadyread.cli import main

NETWORKS = """
import torch
from torch import nn

def linear(outputs=1):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, outputs))

class Training(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.dense = nn.BatchNorm2d(1), nn.Linear(144, 2)
        self.train()
    def forward(self, images):
        return self.dense(self.norm(images).flatten(1))

def softmax():
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 2), nn.Softmax(1))
"""


def network(folder: Path, outputs: int = 1) -> Path:
    """A linear network that reads the middle, as a module of the user's and a state dict."""
    (folder / "networks.py").write_text(NETWORKS)
    weight = torch.full((1, SIZE, SIZE), -0.02)
    weight[:, 4:-4, 4:-4] = 0.16
    state = {"1.weight": weight.reshape(1, -1).repeat(outputs, 1), "1.bias": torch.full((outputs,), -2.0)}
    if outputs == 2:
        state["1.weight"][0] *= -1
        state["1.bias"][0] *= -1
    torch.save(state, folder / "linear.pt")
    return folder / "linear.pt"


OWN = ("--model", "networks:linear", "--weights", "linear.pt", "--bounds", "0,255", "--output", "logit")
QUICK = ("--set", 'attacks.use=["fgsm"]', "--epsilon", "0.01 range", "--threads", "1", "--normalise", "0,100")


def test_assess_a_network_of_ones_own(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    network(tmp_path)
    told = steadyread("assess", "--data", "images", *OWN, *QUICK, "--limit", 24)
    assert told.code == 0, told.err
    assert "24 test images" in told.out
    assert "unattacked" in told.out
    assert "Report: runs/assess-images-linear/report.html" in told.out
    run = tmp_path / "runs" / "assess-images-linear"
    for name in ("plan.json", "study.json", "findings.json", "examples.npz", "summary.json", "report.html"):
        assert (run / name).is_file(), name
    again = steadyread("assess", "--data", "images", *OWN, *QUICK, "--limit", 24, "--json")
    assert again.code == 0
    found = json.loads(again.out)
    assert found["report"] == "runs/assess-images-linear/report.html"
    assert found["images"] == 24


@pytest.mark.usefixtures("undrawn")
def test_a_gate_not_met_is_exit_1_after_the_results(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    network(tmp_path)
    command = ("assess", "--data", "images", *OWN, *QUICK, "--limit", 16, "--out", "run")
    met = steadyread(*command, "--fail-below", "accuracy=0.1")
    assert met.code == 0
    assert "Gate met" in met.out
    failed = steadyread(*command, "--fail-below", "robust_accuracy@0.9 range=0.5", "--fail-below", "accuracy=0.1")
    assert failed.code == 1
    assert "Report: run/report.html" in failed.out
    assert failed.err.startswith("steadyread: robust accuracy at")
    assert "below 0.5" in failed.err


@pytest.mark.slow
def test_triage_and_report_need_only_the_folder(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    weights = network(tmp_path)
    assert steadyread("assess", "--data", "images", *OWN, *QUICK, "--limit", 24, "--out", "run").code == 0
    weights.unlink()
    shutil.rmtree(tmp_path / "images")
    triaged = steadyread("triage", "run", "--withhold", "0.25", "--json")
    assert triaged.code == 0
    found = json.loads(triaged.out)
    assert found["share"] == 0.25
    lines = (tmp_path / "run" / "triage.csv").read_text().splitlines()
    assert lines[0] == (
        "case_id,patient_id,case_in_report,patient_in_report,prediction,smallest_flip,margin,gradient,withheld")
    assert len(lines) == 1 + 24
    withheld = [line.endswith("yes") for line in lines[1:]]
    assert withheld == sorted(withheld, reverse=True)
    first = (tmp_path / "run" / "report.html").read_bytes()
    (tmp_path / "run" / "report.html").unlink()
    told = steadyread("report", "run")
    assert told.code == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == first
    assert steadyread("report", "run", "--out", "elsewhere").out.endswith("Report: elsewhere/report.html\n")
    assert (tmp_path / "elsewhere" / "report.html").read_bytes() == first
    assert steadyread("triage", "run").out.startswith("Withholding 20 % of 24 reads")


@pytest.mark.slow
def test_train_then_assess_from_the_weights_alone(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 90)
    shape = ("--set", "model.arguments.width=0.05", "--size", SIZE, "--epochs", 2, "--threads", 1)
    told = steadyread("train", "--data", "images", *shape)
    assert told.code == 0, told.err
    weights = "runs/train-images/model.safetensors"
    assert f"Weights: {weights}\n" in told.out
    before = (tmp_path / weights).stat().st_mtime_ns
    assert steadyread("train", "--data", "images", *shape).code == 0
    assert (tmp_path / weights).stat().st_mtime_ns == before     # taken up, not trained again
    other = steadyread("train", "--data", "images", *shape, "--seed", 1)
    assert other.code == 0
    assert "Weights: runs/train-images-2/model.safetensors\n" in other.out   # the first is left as it is
    assert (tmp_path / weights).stat().st_mtime_ns == before
    told = steadyread("assess", "--data", "images", "--weights", weights, *QUICK[:6], "--limit", 8, "--json",
                      "--out", "run")
    assert told.code == 0, told.err
    whole = steadyread("run", study(tmp_path), "--data-root", tmp_path, "--limit", 8, "--out", "whole", "--json",
                       "--threads", 1)
    assert whole.code == 0, whole.err
    assert json.loads(whole.out)["model"]["sha256"] == json.loads(told.out)["model"]["sha256"]
    # the very split of the training: no image that was learnt from is tested
    assert attacked("run") == attacked("whole")
    assert not [one for one in json.loads(told.out)["findings"]
                if one["check"].startswith("taught") and one["severity"] != "ok"]
    # the same images under another name are known again
    (tmp_path / "images").rename(tmp_path / "moved")
    told = steadyread("assess", "--data", "moved", "--weights", weights, *QUICK[:6], "--set", "split.seed=5",
                      "--json", "--out", "moved-run")
    taught = [one for one in json.loads(told.out)["findings"] if one["check"] == "taught images"]
    assert taught[0]["severity"] == "error"


def attacked(run: str) -> set[tuple[str, str]]:
    table = records.read(run)
    return set(zip(table["part"].to_pylist(), table["case_id"].to_pylist(), strict=True))


def study(folder: Path) -> Path:
    path = folder / "mine.toml"
    path.write_text('[data]\npath = "images"\n[preparation]\nsize = 12\n[model]\narguments = { width = 0.05 }\n'
                    '[training]\nepochs = 2\n[attacks]\nuse = ["fgsm"]\nepsilons = ["2.55 grey level"]\n')
    return path


@pytest.mark.usefixtures("undrawn")
def test_another_plan_in_the_same_folder_is_refused_with_the_difference(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    network(tmp_path)
    command = ("assess", "--data", "images", *OWN, *QUICK, "--limit", 16, "--out", "run")
    assert steadyread(*command).code == 0
    told = steadyread(*command, "--threshold", "0.6")
    assert told.code == 3
    assert "model.threshold is 0.5 there and 0.6 now" in told.err
    pictures(tmp_path / "images", 62)
    told = steadyread(*command)
    assert told.code == 3
    assert "data" in told.err


def test_audit_names_missing_files_and_strict_refuses_them(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(tmp_path.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("\n".join(["file,label", *lines, "images/yes/gone.png,yes"]))
    told = steadyread("audit", "list.csv")
    assert told.code == 0
    assert "gone.png" in told.out
    assert (tmp_path / "runs" / "audit-list" / "findings.json").is_file()
    found = json.loads(steadyread("audit", "list.csv", "--json").out)
    assert any(one["check"] == "missing files" and one["value"] == 1 for one in found["findings"])
    strict = main(["audit", "list.csv", "--strict"])
    assert strict == 3


def test_a_column_that_is_not_there_is_answered_with_the_flags_of_the_command(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 8)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    (tmp_path / "list.csv").write_text("\n".join(["file,diagnosis", *(f"{name},a" for name in files)]))
    network(tmp_path)
    told = steadyread("assess", "--data", "list.csv", *OWN)
    assert "expected a column 'label', or yours by name: --label-column; it has diagnosis" in told.err
    assert told.err.endswith("name them: --findings\n")
    for command in ("demo", "train"):      # which have no network of findings
        told = steadyread(command, "--data", "list.csv")
        assert told.code == 3
        assert "--label-column" in told.err
        assert "findings" not in told.err


def test_version_and_help(steadyread: Call) -> None:
    assert steadyread("--version").out.startswith("steadyread 0.")
    told = steadyread("--help")
    assert told.code == 0
    for command in ("demo", "run", "train", "assess", "triage", "report", "audit", "check"):
        assert command in told.out
        assert "--json" in steadyread(command, "--help").out


def test_help_imports_no_torch() -> None:
    heavy = ("torch", "numpy", "pyarrow", "pydantic", "altair", "vl_convert")
    code = ("import sys, typer\nfrom steadyread.cli import app, main\nmain(['--help'])\n"
            f"assert not set({heavy}) & set(sys.modules)\n"
            "for name in typer.main.get_command(app).commands: main([name, '--help'])\n"
            f"assert not set({heavy}) & set(sys.modules) - {{'pydantic'}}")     # which newer typers read flags with
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(("argv", "told"), [
    (("asses",), "No such command 'asses'"),
    (("demo", "--epoch", "3"), "No such option: --epoch"),
    (("assess", "--data", "images"), "assess needs a trained network: give --weights"),
    (("assess", "--data", "images", *OWN[:4], "--bounds", "0"), "--bounds takes two numbers, LO,HI"),
    (("assess", "--data", "images", *OWN, "--epsilon", "2 HU"), "the images have 'grey levels'"),
    (("assess", "--data", "images", *OWN, "--fail-below", "robust_accuracy=0.5"), "needs a size"),
    (("assess", "--data", "images", *OWN, "--set", "attacks.pgd.steps=3"), "unknown key 'attacks.pgd'"),
    (("assess", "--data", "images", *OWN, "--normalise", "a,b"), "--normalise takes none"),
    (("assess", "--data", "images", "--model", "vgg17", *OWN[2:]), "did you mean 'vgg16'?"),
    (("assess", "--data", "images", *OWN[:4]), "give --bounds LO,HI ("),
    (("assess", "--data", "images", *OWN, "--out", "images/run"), "lies in the data"),
    (("assess", "--data", "images", *OWN[:6], "--output", "logitz"), "--output: input should be 'logit'"),
    (("assess", "--data", "images", *OWN, "--set", "seed"), "--set takes KEY=VALUE"),
])
def test_usage_is_exit_2(argv: tuple[str, ...], told: str, steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 12)
    network(tmp_path)
    found = steadyread(*argv)
    assert found.code == 2
    assert told in found.err


def spoil_truncated_pngs(folder: Path) -> None:
    for path in (folder / "images").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])


def spoil_emptied(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()


def spoil_three_classes(folder: Path) -> None:
    shutil.copytree(folder / "images" / "yes", folder / "images" / "zebra")


def spoil_pickled_module(folder: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), folder / "linear.pt")


def spoil_no_weights(folder: Path) -> None:
    (folder / "linear.pt").unlink()


def spoil_nan_weights(folder: Path) -> None:
    torch.save({"1.weight": torch.full((1, 144), torch.nan), "1.bias": torch.zeros(1)}, folder / "linear.pt")


@pytest.mark.parametrize(("spoil", "told"), [
    (spoil_emptied, "images: the folder is empty"),
    (spoil_truncated_pngs, "not a whole, readable picture"),
    (spoil_three_classes, "the data has 3 classes (no, yes, zebra), the model returns 2"),
    (spoil_pickled_module, "save a state dict"),
    (spoil_no_weights, "no weights file linear.pt"),
    (spoil_nan_weights, "NaN or infinite"),
])
def test_bad_images_and_weights_are_refused(spoil: Callable[[Path], None], told: str, steadyread: Call,
                                            tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    network(tmp_path)
    spoil(tmp_path)
    found = steadyread("assess", "--data", "images", *OWN, *QUICK)
    assert found.code == 3, found
    assert told in found.err


@pytest.mark.parametrize(("flags", "told"), [
    (("--bounds", "0,1"), "outside the stated bounds 0 to 1"),
    (("--output", "logits"), "the output 'logits' means a shape of (n, classes)"),
    (("--crop", "10"), "the model does not take images of shape (1, 10, 10)"),
    (("--spacing", "0.5"), "no pixel spacing is known"),
])
def test_what_does_not_fit_the_stated_classifier_is_refused(flags: tuple[str, str], told: str, steadyread: Call,
                                                            tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    network(tmp_path)
    found = steadyread("assess", "--data", "images", *OWN, *QUICK, *flags)
    assert found.code == 3, found
    assert told in found.err


@pytest.mark.usefixtures("undrawn")
def test_a_network_in_training_mode_is_handled(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    network(tmp_path)
    sys.path.insert(0, str(tmp_path))
    try:
        sys.modules.pop("networks", None)
        import networks  # type: ignore[import-not-found]

        torch.save(networks.Training().state_dict(), tmp_path / "training.pt")
    finally:
        sys.path.remove(str(tmp_path))
    command = ("assess", "--data", "images", "--model", "networks:Training", "--weights", "training.pt",
               "--bounds", "0,255", "--output", "logits", *QUICK)
    assert steadyread(*command, "--out", "one").code == 0
    assert steadyread(*command, "--out", "other").code == 0
    assert records.read("one").equals(records.read("other"))


def command(folder: Path, out: str) -> list[str]:
    return [sys.executable, "-m", "steadyread", "assess", "--data", "images", *OWN, "--out", out, "--threads", "1",
            "--normalise", "0,100", "--epsilon", "0.01 range", "--epsilon", "0.02 range"]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_rows(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 260)
    network(tmp_path)
    assert subprocess.run(command(tmp_path, "whole"), cwd=tmp_path, capture_output=True).returncode == 0
    whole = records.read(tmp_path / "whole")
    assert len(list((tmp_path / "whole" / "records").iterdir())) > 3
    for wanted in (0, 1, 3):   # killed as soon as so many parts are there
        process = subprocess.Popen(command(tmp_path, "killed"), cwd=tmp_path, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        parts = tmp_path / "killed" / "records"
        while process.poll() is None and not (parts.exists() and len(list(parts.glob("part-*"))) >= wanted):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    told = subprocess.run(command(tmp_path, "killed"), cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert records.read(tmp_path / "killed").equals(whole)
    assert (tmp_path / "killed" / "report.html").is_file()


def test_an_interrupt_is_130_and_says_that_it_goes_on(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 400)
    network(tmp_path)
    process = subprocess.Popen(command(tmp_path, "run"), cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while process.poll() is None and not (tmp_path / "run" / "plan.json").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err.endswith("run the same command again to continue\n")
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_full_disk_is_partial_and_goes_on(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    network(tmp_path)

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))

    full = subprocess.run(command(tmp_path, "run"), cwd=tmp_path, capture_output=True, text=True,
                          preexec_fn=small_files, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert full.returncode == 4, full.stderr
    assert "no room to write" in full.stderr
    assert "Traceback" not in full.stderr
    told = subprocess.run(command(tmp_path, "run"), cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.usefixtures("undrawn")
def test_a_refused_first_try_does_not_block_the_corrected_one(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    network(tmp_path)
    wrong = steadyread("assess", "--data", "images", *OWN[:4], "--bounds", "0,1", "--output", "logit", *QUICK)
    assert wrong.code == 3
    assert "0,255 for 8-bit" in wrong.err
    assert steadyread("assess", "--data", "images", *OWN, *QUICK).code == 0


@pytest.mark.usefixtures("undrawn")
def test_no_robustness_gate_is_met_while_a_check_fails(steadyread: Call, tmp_path: Path) -> None:
    """A network whose gradient is cut off looks steady to gradient attacks, and must not pass for it."""
    pictures(tmp_path / "images", 24)
    network(tmp_path)
    (tmp_path / "blind_networks.py").write_text(NETWORKS + """
class Blind(nn.Sequential):
    def forward(self, images):
        return super().forward((images * 4).round() / 4 + 0 * images)

def blind():
    return Blind(nn.Flatten(), nn.Linear(144, 1))
""")
    told = steadyread("assess", "--data", "images", "--model", "blind_networks:blind", *OWN[2:], *QUICK,
                      "--fail-below", "robust_accuracy@0.001 range=0.01")
    assert told.code == 1
    assert "cannot be trusted" in told.out
    assert "zero gradients" in told.out
