"""What can be refused is refused before the images are read, in the words of who reads it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fabricate_pictures import Call, pictures
from steadyread.cli import app
from steadyread.jobs import material
from steadyread.options import in_flags
from test_cli import OWN, QUICK, network
from test_house import PACKAGE

BEFORE_LISTING = [
    (("--weights", "none.pt"), "none.pt"), (("--weights", "networks.py"), "expected weights as .safetensors"),
    (("--model", "networks:liner"), "did you mean 'linear'?"), (("--model", "nowhere:linear"), "no module named"),
    (("--fail-below", "robust=0.5"), "no gate on 'robust'"), (("--epsilon", "8"), "has no unit"),
    (("--set", "attacks.epsilon=['8/255']"), "did you mean 'epsilons'?"),
]
BEFORE_READING = [
    (("--limit", "1"), "limit must be at least 2, one image per class; got 1"),
    (("--epsilon", "5 HU"), "the images have 'grey levels'"),
    (("--fail-below", "robust_accuracy@5 HU=0.5"), "the images have 'grey levels'"),
    (("--crop", "8"), "the model does not take images of shape (1, 8, 8)"),
    (("--set", "model.arguments.outputs=3", "--weights", "three.pt", "--output", "logits"), "the model returns 3"),
]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pictures(tmp_path / "images", 24)
    network(tmp_path, outputs=3).rename(tmp_path / "three.pt")
    network(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("flags", "told"), BEFORE_LISTING)
def test_what_is_not_there_is_refused_before_the_images_are_listed(
        flags: tuple[str, ...], told: str, there: Path, steadyread: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "open_cases", lambda *_, **__: pytest.fail("the images were listed"))
    refused = steadyread("assess", "--data", "images", *OWN, *QUICK, *flags)
    assert refused.code in (2, 3)
    assert told in refused.err
    assert not (there / "runs").exists()


@pytest.mark.parametrize(("flags", "told"), BEFORE_READING)
def test_what_does_not_fit_is_refused_before_the_images_are_split_and_read(
        flags: tuple[str, ...], told: str, there: Path, steadyread: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "split", lambda *_, **__: pytest.fail("the images were split"))
    monkeypatch.setattr(material, "spooled", lambda *_, **__: pytest.fail("the images were read"))
    refused = steadyread("assess", "--data", "images", *OWN, *QUICK, *flags)
    assert refused.code in (2, 3)
    assert told in refused.err


def test_every_set_is_looked_for_before_the_first_is_read(there: Path, steadyread: Call,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (there / "two.toml").write_text("[sets.one.data]\npath = 'images'\n[sets.two.data]\npath = 'nowhere'\n")
    monkeypatch.setattr(material, "open_cases", lambda *_, **__: pytest.fail("the images were listed"))
    refused = steadyread("run", "two.toml")
    assert refused.code == 3
    assert "two: nowhere: no such file or folder" in refused.err


@pytest.mark.parametrize("command", ["assess", "run"])
def test_a_file_that_is_not_there_is_refused_before_torch_is_imported(command: str, tmp_path: Path) -> None:
    flags = ("none.toml",) if command == "run" else ("--data", "nowhere")
    weights = ("--weights", "none.pt") if command == "assess" else ()
    code = ("import sys; from steadyread.cli import main; code = main(sys.argv[1:]);"
            "print('torch' in sys.modules); sys.exit(code)")
    found = subprocess.run([sys.executable, "-c", code, command, *flags, *weights], cwd=tmp_path, text=True,
                           capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (3, "False\n")
    assert found.stderr.startswith("steadyread: ")
    assert found.stderr.count("\n") == 1


def test_messages_name_the_flag_of_the_command_and_the_key_of_a_study(there: Path, steadyread: Call) -> None:
    asked = steadyread("assess", "--data", "images", "--weights", "linear.pt", "--model", "networks:linear")
    assert "give --bounds LO,HI (0,255 is the range of these images), --output HEAD (logit, logits, " in asked.err
    assert "and --normalise (" in asked.err
    (there / "own.toml").write_text("[data]\npath = 'images'\n[model]\nname = 'networks:linear'\n"
                                    "weights = 'linear.pt'\n")
    asked = steadyread("run", "own.toml")
    assert "give model.bounds LO,HI (0,255 is the range of these images), model.output HEAD (logit" in asked.err
    assert "--" not in asked.err


@pytest.mark.parametrize(("message", "known", "said"), [
    ("state model.name = vgg16", {"--model"}, "state --model vgg16"), ("data.path.", {"--data"}, "--data."),
    ("'data.layout'", {"--layout"}, "'data.layout'"), ("x.data.path", {"--data"}, "x.data.path"),
    ("data.path and data.train", {"--data", "--test-data"}, "--test-data and --data")])
def test_a_key_becomes_the_flag_that_the_command_has(message: str, known: set[str], said: str) -> None:
    assert in_flags(message, known) == said


# Modules that work for one command alone, whose messages may name its flags.
OF_ONE_COMMAND = {"comparing": "compare", "report/sections/commands": "triage", "viewer/serving": "view",
                  "noise_explain": "explain", "networks": "assess", "jobs/preflight": "check",
                  "models/formats/hugging_face": "assess", "models/formats/torchvision": "assess", **dict.fromkeys(
    ("noise_measure", "cases/series", "cases/dicom", "cases/dicom_header", "cases/uniform", "cases/structure"),
    "noise measure")}
EVERYWHERE = ("harden RUN --data", "steadyread --debug", "--fail-below", "then --model net.toml",
              "steadyread assess --weights")


def _messages(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_every_flag_that_a_message_names_is_one_of_its_command() -> None:
    named = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if module in ("cli", "options", "flags", "words/commands"):     # each names its commands
            continue
        command = typer.main.get_command(app)
        for name in OF_ONE_COMMAND.get(module, "run").split():
            command = command.commands[name]
        known = {flag for parameter in command.params for flag in parameter.opts}
        for text in _messages(path):
            for always in EVERYWHERE:
                text = text.replace(always, "")
            flags = re.findall(r"(?<!var\()--[a-z][a-z-]*", text)     # no names of a style sheet
            named += len(flags)
            assert set(flags) <= known | {"--help"}, f"{module}: {text}"
    assert named > 20


@pytest.mark.parametrize("command", ["report", "triage"])
def test_a_folder_that_is_not_there_is_no_run(command: str, tmp_path: Path, steadyread: Call) -> None:
    refused = steadyread(command, str(tmp_path / "nowhere"))
    assert refused.code == 3
    assert f"no such folder: {tmp_path / 'nowhere'}" in refused.err
    assert not (tmp_path / "nowhere").exists()
