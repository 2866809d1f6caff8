"""The tutorials are carried out, from the first line to the last: their Python, and the commands that they show."""

import re
import shlex
from pathlib import Path

import pytest

from steadyread.cli import main

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs" / "tutorials").glob("*.md"))
NEEDS = {"keras-pictures": ("keras", "h5py"), "monai-dicom": ("monai.transforms", "pydicom")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:NvImgCodec")     # of MONAI, where a decoder of NVIDIA's is not there
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")     # of Keras, as it saves an .h5
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_is_carried_out(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    for name in NEEDS.get(page.stem, ()):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for python, command in re.findall(r"```python\n(.*?)```|^    (steadyread [^\n]*)$", page.read_text("utf-8"),
                                      re.DOTALL | re.MULTILINE):
        if python:
            exec(compile(python, page.name, "exec"), known)
        else:
            assert main(shlex.split(command)[1:]) == 0, command
